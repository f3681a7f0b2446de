/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What codecs cost through a chain: nanoseconds a byte of text, and for gzip the ratio to zlib in a
 * bare loop (same level, same pieces, buffers made once) and to libdeflate on the whole body.
 *
 *   codec_bench [BYTES ...]      without: bodies of 2 KiB, 30 KiB and 1 MiB
 *
 * Rounds of all ways in turn; the median of the rounds' ratios, so that other work of the machine
 * falls on all alike.  States are kept between bodies, as on a loop under traffic. */
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sema.h"
#include "filter/chain.h"
#include "filter/states.h"
#include "run/run.h"

enum { ROUNDS = 31, PIECE = 32 * 1024, ROUND_BYTES = 1 << 20 };

struct bench {
    struct str text, packed; /* packed: by what is to be measured */
    struct filter_states *states;
    char *out;
    size_t out_cap;
    int level;
};

static uint64_t cpu_ns(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Words with a few numbers between them: compresses to about a third, as pages do. */
static struct str text_of(size_t len)
{
    static const char *const words[] = {
        "the ",  "cache ",   "<div class=\"item\">", "</div>\n", "a body ",
        "is a ", "file ",    "descriptor ",          "<a href=", "request",
        "of ",   "filters, "};
    struct rng rng = {1};
    char *ptr = xmalloc(len + 64);
    for (size_t at = 0; at < len;) {
        at += (size_t)(rng_below(&rng, 4) == 0
                           ? sprintf(ptr + at, "%u ", (unsigned)rng_below(&rng, 100000))
                           : sprintf(ptr + at, "%s", words[rng_below(&rng, ARRAY_SIZE(words))]));
    }
    return (struct str){ptr, len};
}

/* ---- through a chain ---- */

struct flow {
    struct str in;
    char *out;
    size_t len;
};

static enum rc source(void *arg, void *dst, size_t bytes, size_t *got)
{
    struct flow *flow = arg;
    *got = flow->in.len < bytes ? flow->in.len : bytes;
    memcpy(dst, flow->in.ptr, *got);
    flow->in = (struct str){flow->in.ptr + *got, flow->in.len - *got};
    return *got == 0 ? RC_EOF : RC_OK;
}

static size_t by_chain(const struct bench *b, const char *name, struct str in)
{
    struct plan_step step = {.filter = filter_find(FILTER_VFP, str_of(name))};
    struct plan plan = {.steps = &step, .steps_count = 1};
    struct filter_notes notes = {.error = ""};
    struct filter_env env = {.notes = &notes,
                             .states = b->states,
                             .body_len = in.len,
                             .expand_floor_bytes = 8 << 20,
                             .expand_ratio_max = 250,
                             .gzip_level = b->level,
                             .gzip_memlevel = 8,
                             .brotli_quality = (unsigned)b->level,
                             .zstd_level = (unsigned)b->level};
    struct flow flow = {.in = in, .out = b->out};
    struct chain *chain;
    CHECK(chain_new(&plan, 0, 1, &env, &chain, NULL) == RC_OK);
    size_t got;
    enum rc rc;
    do {
        rc = chain_pull(chain, source, &flow, b->out + flow.len, b->out_cap - flow.len, &got);
        flow.len += got;
    } while (rc == RC_OK);
    CHECK(rc == RC_EOF);
    chain_free(&chain);
    return flow.len;
}

static size_t chain_gzip(const struct bench *b)
{
    return by_chain(b, "gzip", b->text);
}
static size_t chain_gunzip(const struct bench *b)
{
    return by_chain(b, "gunzip", b->packed);
}
static size_t chain_test(const struct bench *b)
{
    return by_chain(b, "testgunzip", b->packed);
}
static size_t chain_brotli(const struct bench *b)
{
    return by_chain(b, "brotli", b->text);
}
static size_t chain_unbrotli(const struct bench *b)
{
    return by_chain(b, "unbrotli", b->packed);
}
static size_t chain_zstd(const struct bench *b)
{
    return by_chain(b, "zstd", b->text);
}
static size_t chain_unzstd(const struct bench *b)
{
    return by_chain(b, "unzstd", b->packed);
}

/* ---- bare ---- */

static size_t zlib_gzip(const struct bench *b)
{
    z_stream z = {.next_out = (Bytef *)b->out, .avail_out = (unsigned)b->out_cap};
    CHECK(deflateInit2(&z, b->level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    int rc = Z_OK;
    for (size_t at = 0; rc != Z_STREAM_END; at += PIECE) {
        size_t len = at < b->text.len ? b->text.len - at : 0;
        len = len < PIECE ? len : PIECE;
        z.next_in = (Bytef *)(uintptr_t)(b->text.ptr + at);
        z.avail_in = (unsigned)len;
        rc = deflate(&z, at + len == b->text.len ? Z_FINISH : Z_NO_FLUSH);
        CHECK(rc >= 0);
    }
    size_t made = z.total_out;
    CHECK(deflateEnd(&z) == Z_OK);
    return made;
}

static size_t zlib_gunzip(const struct bench *b)
{
    z_stream z = {.next_out = (Bytef *)b->out, .avail_out = (unsigned)b->out_cap};
    CHECK(inflateInit2(&z, 31) == Z_OK);
    int rc = Z_OK;
    for (size_t at = 0; rc != Z_STREAM_END; at += PIECE) {
        size_t len = b->packed.len - at < PIECE ? b->packed.len - at : PIECE;
        z.next_in = (Bytef *)(uintptr_t)(b->packed.ptr + at);
        z.avail_in = (unsigned)len;
        rc = inflate(&z, Z_NO_FLUSH);
        CHECK(rc >= 0);
    }
    size_t made = z.total_out;
    CHECK(inflateEnd(&z) == Z_OK);
    return made;
}

static size_t whole_gzip(const struct bench *b)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(b->level);
    size_t made = libdeflate_gzip_compress(c, b->text.ptr, b->text.len, b->out, b->out_cap);
    libdeflate_free_compressor(c);
    CHECK(made > 0);
    return made;
}

static size_t whole_gunzip(const struct bench *b)
{
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    size_t made;
    CHECK(libdeflate_gzip_decompress(d, b->packed.ptr, b->packed.len, b->out, b->out_cap, &made) ==
          LIBDEFLATE_SUCCESS);
    libdeflate_free_decompressor(d);
    return made;
}

/* ---- measuring ---- */

typedef size_t way_fn(const struct bench *b);
enum { WAYS_MAX = 3 };

static const struct subject {
    const char *name;
    int level;
    way_fn *pack; /* makes what is opened; NULL: text goes in */
    way_fn *ways[WAYS_MAX];
} subjects[] = {
    {"gzip -1", 1, NULL, {chain_gzip, zlib_gzip, whole_gzip}},
    {"gzip -6", 6, NULL, {chain_gzip, zlib_gzip, whole_gzip}},
    {"gunzip", 6, zlib_gzip, {chain_gunzip, zlib_gunzip, whole_gunzip}},
    {"testgunzip", 6, zlib_gzip, {chain_test, zlib_gunzip}},
    {"brotli -5", 5, NULL, {chain_brotli}},
    {"unbrotli", 5, chain_brotli, {chain_unbrotli}},
    {"zstd -3", 3, NULL, {chain_zstd}},
    {"unzstd", 3, chain_zstd, {chain_unzstd}},
};

static int by_size(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, by_size);
    return values[ROUNDS / 2];
}

static void measure(struct bench *b, const struct subject *subject)
{
    static double ns[WAYS_MAX][ROUNDS], ratio[WAYS_MAX][ROUNDS];
    char *packed = NULL;
    b->level = subject->level;
    if (subject->pack != NULL) {
        size_t len = subject->pack(b);
        packed = xmalloc(len);
        memcpy(packed, b->out, len);
        b->packed = (struct str){packed, len};
    }
    size_t made = subject->ways[0](b);
    unsigned bodies = 1 + (unsigned)(ROUND_BYTES / b->text.len / (subject->pack == NULL ? 4 : 1));
    unsigned ways = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (ways = 0; ways < WAYS_MAX && subject->ways[ways] != NULL; ways++) {
            (void)subject->ways[ways](b); /* the one before has left the caches to it */
            uint64_t begin = cpu_ns();
            for (unsigned n = 0; n < bodies; n++) {
                (void)subject->ways[ways](b);
            }
            ns[ways][round] = (double)(cpu_ns() - begin) / bodies / (double)b->text.len;
        }
        for (unsigned way = 1; way < ways; way++) {
            ratio[way][round] = ns[0][round] / ns[way][round];
        }
    }
    printf("%-11s %8zu %6.2f ns/byte", subject->name, b->text.len, median(ns[0]));
    if (subject->pack == NULL) {
        printf("  to %4.1f %%", 100.0 * (double)made / (double)b->text.len);
    } else {
        printf("             ");
    }
    if (ways > 1) {
        printf("  %.2f of zlib", median(ratio[1]));
    }
    if (ways > 2) {
        printf("  %.2f of libdeflate", median(ratio[2]));
    }
    printf("\n");
    free(packed);
    b->packed = STR_NONE;
}

/* ---- on a loop, whose timer the kept states have ---- */

struct job {
    struct post post;
    sem_t ended;
    int argc;
    char **argv;
};

static void all(struct post *post, struct loop *loop)
{
    struct job *job = CONTAINER_OF(post, struct job, post);
    static const size_t usual[] = {2 << 10, 30 << 10, 1 << 20};
    int count = job->argc > 1 ? job->argc - 1 : (int)ARRAY_SIZE(usual);
    struct bench b = {.states = filter_states_new(64 << 20, loop)};
    for (int n = 0; n < count; n++) {
        b.text = text_of(job->argc > 1 ? strtoul(job->argv[n + 1], NULL, 0) : usual[n]);
        b.out_cap = b.text.len * 2 + 4096;
        b.out = xmalloc(b.out_cap);
        for (unsigned s = 0; s < ARRAY_SIZE(subjects); s++) {
            measure(&b, &subjects[s]);
        }
        free(b.out);
        free((char *)(uintptr_t)b.text.ptr);
    }
    filter_states_free(&b.states);
    sema_post(&job->ended);
}

int main(int argc, char **argv)
{
    struct run_conf conf = {.loops = 1, .offload_threads = 1, .fibers_max = 8};
    struct run *run = run_new(&conf);
    struct job job = {.post.fn = all, .argc = argc, .argv = argv};
    sema_init(&job.ended);
    enum rc rc = run_start(run);
    CHECK(rc == RC_OK);
    loop_post(run_loop(run, 0), &job.post);
    sema_wait(&job.ended);
    run_stop(run);
    run_free(&run);
    return 0;
}
