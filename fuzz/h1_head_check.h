/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What must be true of every head that the HTTP/1 parsers were given.  The first byte of an input
 * says how strict to be ('s' strict, 'v' as Varnish, 'h' with https, 't' with tight limits), the
 * rest is the message. */
#ifndef FUZZ_H1_HEAD_CHECK_H
#define FUZZ_H1_HEAD_CHECK_H

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "http/h1.h"

typedef enum rc head_parse_fn(struct http *h, char *buf, size_t len, size_t seen,
                              const struct h1_limits *limits, struct h1_head *head);
typedef void head_build_fn(struct sb *sb, const struct http *h);

enum { HEAD_MAX_HDR = 16, HEAD_TEXT_MAX = 16384 };

/* One parse, and its result written again. */
struct head_run {
    struct http_hdr table[HEAD_MAX_HDR];
    struct http h;
    struct h1_head head;
    enum rc rc;
    char *buf;
    struct sb text;
};

static inline struct h1_limits head_limits(char mode)
{
    struct h1_limits limits = h1_limits_default;
    if (mode == 's') {
        limits.flags = 0;
    } else if (mode == 'h') {
        limits.flags |= H1_HTTPS_SCHEME;
    } else if (mode == 't') {
        limits.head_bytes = 96;
        limits.start_bytes = 40;
        limits.hdr_bytes = 20;
    }
    return limits;
}

static inline void head_end(struct head_run *run)
{
    XFREE(run->buf);
    XFREE(run->text.ptr);
    free(run);
}

static inline void head_check_fields(const struct http *h)
{
    CHECK(h->count <= h->cap);
    for (unsigned i = 0; i < h->count; i++) {
        struct str value = h->hdr[i].value;
        CHECK(http_is_token(h->hdr[i].name));
        CHECK(http_is_value(value));
        CHECK(value.ptr != NULL);
        CHECK(str_trim(value).len == value.len);
        CHECK(h->hdr[i].id == http_hdr_id(h->hdr[i].name));
        CHECK(http_has(h, (enum http_hdr_id)h->hdr[i].id));
    }
    CHECK(http_count(h, HDR_HOST) <= 1);
    CHECK(http_count(h, HDR_CONTENT_LENGTH) <= 1);
}

/* Parses msg in steps of `step` bytes, in memory of exactly the bytes that have arrived. */
static inline struct head_run *head_feed(head_parse_fn *parse, head_build_fn *build, struct str msg,
                                         size_t step, const struct h1_limits *limits)
{
    struct head_run *run = xcalloc(1, sizeof *run);
    http_init(&run->h, run->table, HEAD_MAX_HDR);
    run->rc = RC_AGAIN;
    for (size_t len = 0, seen = 0; run->rc == RC_AGAIN && seen < msg.len; seen = len) {
        len = step < msg.len - seen ? seen + step : msg.len;
        char *moved = xmalloc(len);
        if (seen > 0) {
            memcpy(moved, run->buf, seen);
        }
        memcpy(moved + seen, msg.ptr + seen, len - seen);
        free(run->buf);
        run->buf = moved;
        run->rc = parse(&run->h, moved, len, seen, limits, &run->head);
        CHECK(run->rc == RC_OK || run->h.count == 0);
        CHECK(run->head.consumed <= len);
    }
    run->text = sb_of(xmalloc(HEAD_TEXT_MAX), HEAD_TEXT_MAX);
    if (run->rc == RC_OK) {
        CHECK(run->head.consumed > 0);
        head_check_fields(&run->h);
        build(&run->text, &run->h);
        CHECK(!run->text.overflow);
        CHECK(run->text.len <= h1_build_bytes(&run->h));
    } else {
        CHECK(run->rc == RC_AGAIN || run->rc == h1_error_rc(run->head.error));
    }
    return run;
}

static inline void head_check_same(const struct head_run *a, const struct head_run *b)
{
    CHECK(a->rc == b->rc);
    CHECK(a->head.error == b->head.error);
    CHECK(a->head.consumed == b->head.consumed);
    CHECK(a->head.conn == b->head.conn);
    CHECK(a->head.body.framing == b->head.body.framing);
    CHECK(a->head.body.bytes == b->head.body.bytes);
    CHECK(str_eq(sb_str(&a->text), sb_str(&b->text)));
}

/* What was accepted is regular: written again it passes as strictly as can be, and is the same. */
static inline void head_check_regular(head_parse_fn *parse, head_build_fn *build,
                                      const struct head_run *run, uint32_t flags)
{
    struct h1_limits limits = h1_limits_default;
    limits.flags = H1_NO_HOST | (flags & (H1_ANY_URL | H1_HTTPS_SCHEME));
    struct head_run *again = head_feed(parse, build, sb_str(&run->text), HEAD_TEXT_MAX, &limits);
    CHECK(again->rc == RC_OK);
    CHECK(again->head.consumed == run->text.len);
    CHECK(str_eq(sb_str(&again->text), sb_str(&run->text)));
    CHECK(again->head.body.framing == run->head.body.framing);
    CHECK(again->head.conn == run->head.conn);
    head_end(again);
}

/* All of it, for one input; the caller ends the run. */
static inline struct head_run *head_check(head_parse_fn *parse, head_build_fn *build,
                                          const uint8_t *data, size_t size)
{
    /* A line feed at the end: a verdict on a line falls when the line is whole. */
    char mode = size > 0 ? (char)data[0] : 'v';
    size_t len = size > 0 ? size : 1;
    char *text = xmalloc(len);
    if (size > 1) {
        memcpy(text, data + 1, size - 1);
    }
    text[len - 1] = '\n';
    struct str msg = {text, len};
    struct h1_limits limits = head_limits(mode);
    struct head_run *whole = head_feed(parse, build, msg, len, &limits);
    const size_t steps[] = {1, 2 + len % 13};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct head_run *split = head_feed(parse, build, msg, steps[i], &limits);
        head_check_same(whole, split);
        head_end(split);
    }
    if (whole->rc == RC_OK) {
        head_check_regular(parse, build, whole, limits.flags);
    }
    free(text);
    return whole;
}

#endif
