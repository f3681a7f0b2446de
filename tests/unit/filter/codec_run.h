/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Runs bodies through codecs, cut in all kinds of ways. */
#ifndef TESTS_UNIT_FILTER_CODEC_RUN_H
#define TESTS_UNIT_FILTER_CODEC_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "filter/chain.h"
#include "filter/codecs_priv.h"

struct bytes {
    char *ptr;
    size_t len, cap;
};

static inline void bytes_add(struct bytes *b, const void *ptr, size_t len)
{
    if (len > b->cap - b->len) {
        b->cap = (b->cap + len) * 2;
        b->ptr = xrealloc(b->ptr, b->cap);
    }
    if (len > 0) {
        memcpy(b->ptr + b->len, ptr, len);
        b->len += len;
    }
}

static inline void bytes_free(struct bytes *b)
{
    free(b->ptr);
    *b = (struct bytes){NULL, 0, 0};
}

enum { CODECS_MAX = 8 };

/* One way to run: which codecs, pushed or pulled, and how large the pieces are at most. */
struct way {
    const struct codec *codecs[CODECS_MAX];
    const void *args[CODECS_MAX];
    bool is_push;
    size_t in_max, out_max; /* 0: any; else pieces of 1 to so many bytes, by the dice */
    uint64_t seed;
    bool late_end; /* the end comes alone, after the last bytes */
    bool drops;    /* what comes out is only counted */
    struct filter_env env;
    /* and what came of it */
    struct filter_notes notes;
    struct bytes out;
    uint64_t out_bytes;
    struct rng rng;
    const char *in;
    size_t in_len;
    char log[512];
};

static inline size_t way_piece(struct way *way, size_t max, size_t len)
{
    size_t piece = max == 0 ? len : 1 + rng_below(&way->rng, max);
    return piece < len ? piece : len;
}

static inline void way_take(struct way *way, const void *ptr, size_t len)
{
    way->out_bytes += len;
    if (!way->drops) {
        bytes_add(&way->out, ptr, len);
    }
}

static inline enum rc way_sink(void *arg, const void *ptr, size_t len)
{
    assert_true(len > 0);
    way_take(arg, ptr, len);
    return RC_OK;
}

static inline enum rc way_source(void *arg, void *dst, size_t bytes, size_t *got)
{
    struct way *way = arg;
    *got = way_piece(way, way->in_max, way->in_len < bytes ? way->in_len : bytes);
    if (*got > 0) {
        memcpy(dst, way->in, *got);
    }
    way->in += *got;
    way->in_len -= *got;
    return *got == 0 ? RC_EOF : RC_OK;
}

static inline void way_log(void *arg, unsigned tag, struct str text)
{
    struct way *way = arg;
    (void)tag;
    size_t len = strlen(way->log);
    (void)snprintf(way->log + len, sizeof way->log - len, "%.*s\n", STR_ARG(text));
}

static inline enum rc way_pull(struct way *way, struct chain *chain)
{
    enum { PULL_MAX = 100000 };
    char *buf = xmalloc(PULL_MAX);
    enum rc rc;
    do {
        size_t room = way_piece(way, way->out_max, PULL_MAX), got = 12345;
        rc = chain_pull(chain, way_source, way, buf, room, &got);
        assert_true(got <= room);
        assert_true((rc == RC_OK) == (got > 0));
        way_take(way, buf, got);
    } while (rc == RC_OK);
    free(buf);
    assert_int_equal(chain_is_done(chain), rc == RC_EOF);
    return rc == RC_EOF ? RC_OK : rc;
}

static inline enum rc way_push(struct way *way, struct chain *chain)
{
    enum rc rc = RC_OK;
    bool is_end = false;
    while (rc == RC_OK && !is_end) {
        size_t len = way_piece(way, way->in_max, way->in_len);
        is_end = len == way->in_len && (!way->late_end || len == 0);
        /* A copy that is gone afterwards: what is kept of it is found. */
        char *copy = xmalloc(len + 1);
        memcpy(copy, way->in, len);
        rc = chain_push(chain, copy, len, is_end, way_sink, way);
        free(copy);
        way->in += len;
        way->in_len -= len;
    }
    if (rc == RC_OK) {
        assert_true(chain_is_done(chain));
    }
    return rc;
}

/* RC_OK: way->out is what came out; free it with bytes_free. */
static inline enum rc way_run(struct way *way, const void *in, size_t len)
{
    struct filter filters[CODECS_MAX];
    struct plan_step steps[CODECS_MAX];
    char names[CODECS_MAX][8];
    unsigned count = 0;
    for (; count < CODECS_MAX && way->codecs[count] != NULL; count++) {
        (void)snprintf(names[count], sizeof names[count], "step%u", count);
        filters[count] = (struct filter){.name = str_of(names[count]), .codec = way->codecs[count]};
        steps[count] = (struct plan_step){.filter = &filters[count], .arg = way->args[count]};
    }
    struct plan plan = {.steps = steps, .steps_count = count};
    way->in = in;
    way->in_len = len;
    way->rng = (struct rng){way->seed + 1};
    way->out = (struct bytes){NULL, 0, 0};
    way->out_bytes = 0;
    way->notes = (struct filter_notes){.error = ""};
    way->log[0] = '\0';
    way->env.notes = &way->notes;
    way->env.log = way_log;
    way->env.log_arg = way;
    struct chain *chain;
    enum rc rc = chain_new(&plan, 0, count, &way->env, &chain, NULL);
    if (rc != RC_OK) {
        return rc;
    }
    rc = way->is_push ? way_push(way, chain) : way_pull(way, chain);
    if (rc == RC_OK) {
        assert_null(chain_failed(chain).ptr);
    } else {
        assert_non_null(chain_failed(chain).ptr);
        assert_true(way->notes.error[0] != '\0');
        bytes_free(&way->out);
    }
    chain_free(&chain);
    return rc;
}

#define WAY_ENV                                                                                    \
    {                                                                                              \
        .body_len = SIZE_MAX, .gzip_level = 6, .gzip_memlevel = 8, .brotli_quality = 5,            \
        .zstd_level = 3, .buffer_bytes_max = 1 << 22                                               \
    }

/* The same in many ways: pushed and pulled, in large pieces and byte by byte.  Each must end with
 * `rc`, and, if that is RC_OK, with these bytes. */
static inline void way_all(const struct way *like, const void *in, size_t len, enum rc rc,
                           const void *out, size_t out_len)
{
    static const size_t sizes[] = {0, 1, 2, 7, 100, 5000};
    for (unsigned n = 0; n < 2 * 6 * 6; n++) {
        struct way way = *like;
        way.is_push = n % 2 == 0;
        way.in_max = sizes[n / 2 % 6];
        way.out_max = sizes[n / 12];
        way.late_end = n % 3 == 0;
        way.seed = n;
        if (len + out_len > 200000 && (way.in_max == 1 || way.out_max == 1)) {
            continue;
        }
        enum rc got = way_run(&way, in, len);
        if (got != rc) {
            fail_msg("%s in_max %zu out_max %zu: %s (%s)", way.is_push ? "push" : "pull",
                     way.in_max, way.out_max, rc_text(got), way.notes.error);
        }
        if (rc == RC_OK) {
            assert_int_equal(way.out.len, out_len);
            assert_true(out_len == 0 || memcmp(way.out.ptr, out, out_len) == 0);
        }
        bytes_free(&way.out);
    }
}

/* Text that compresses somewhat, and is the same for the same seed. */
static inline struct bytes text_of(size_t len, uint64_t seed)
{
    struct rng rng = {seed + 1};
    struct bytes b = {xmalloc(len + 1), 0, len + 1};
    while (b.len < len) {
        static const char words[] = "<p class=text>the cache keeps a body and its file</p>\n";
        size_t at = rng_below(&rng, sizeof words - 2), n = 1 + rng_below(&rng, 12);
        for (; n > 0 && b.len < len; n--) {
            b.ptr[b.len++] =
                rng_below(&rng, 40) == 0 ? (char)rng_u64(&rng) : words[at++ % (sizeof words - 1)];
        }
    }
    return b;
}

/* One codec, or two, over a whole body at once; it must do. */
static inline struct bytes made_by(const struct codec *first, const struct codec *second,
                                   const void *in, size_t len)
{
    struct way way = {.codecs = {first, second}, .env = WAY_ENV};
    enum rc rc = way_run(&way, in, len);
    if (rc != RC_OK) {
        fail_msg("%s: %s", rc_text(rc), way.notes.error);
    }
    return way.out;
}

#endif
