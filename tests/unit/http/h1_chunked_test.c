/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Chunked bodies, in any pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "http/h1.h"

struct outcome {
    enum rc rc;
    enum h1_error error;
    size_t consumed;
    struct sb data;
};

/* Decodes the message in pieces of `first` and then `step` bytes, each in memory of exactly its
 * size. */
static void decode(struct str in, size_t first, size_t step, uint32_t flags, struct outcome *o)
{
    struct h1_chunked c;
    h1_chunked_init(&c, flags);
    size_t at = 0;
    size_t piece = first;
    o->rc = RC_AGAIN;
    while (o->rc == RC_AGAIN && at < in.len) {
        piece = piece < in.len - at ? piece : in.len - at;
        char *copy = xmalloc(piece);
        memcpy(copy, in.ptr + at, piece);
        size_t taken = 0;
        do {
            size_t used = 0;
            struct str data;
            o->rc = h1_chunked_next(&c, (struct str){copy + taken, piece - taken}, &used, &data);
            taken += used;
            assert_true(taken <= piece);
            assert_int_equal(o->rc == RC_OK, data.len > 0);
            sb_put(&o->data, data);
        } while (o->rc == RC_OK);
        at += taken;
        piece = step;
        free(copy);
    }
    o->consumed = at;
    o->error = c.error;
}

struct expectation {
    const char *in;
    const char *data;
    enum rc rc; /* RC_EOF: whole; RC_AGAIN: not yet; else refused with: */
    enum h1_error error;
    size_t left; /* bytes that follow the body */
};

static void check(const struct expectation *e, uint32_t flags)
{
    struct str in = str_of(e->in);
    for (size_t split = 0; split <= in.len; split++) {
        char buf[256];
        struct outcome o = {.data = sb_of(buf, sizeof buf)};
        decode(in, split == 0 ? 1 : split, split == 0 ? 1 : in.len, flags, &o);
        if (o.rc != e->rc || o.error != e->error) {
            fail_msg("split %zu of %s: %s, %s", split, e->in, rc_text(o.rc),
                     h1_error_text(o.error));
        }
        if (e->rc == RC_EOF) {
            assert_int_equal(o.consumed, in.len - e->left);
        }
        if (!str_eq(sb_str(&o.data), str_of(e->data))) {
            fail_msg("split %zu of %s: %.*s", split, e->in, STR_ARG(sb_str(&o.data)));
        }
    }
}

static const struct expectation cases[] = {
    {"0\r\n\r\n", "", RC_EOF, 0, 0},
    {"3\r\nabc\r\n0\r\n\r\nGET", "abc", RC_EOF, 0, 3},
    {"a\r\n0123456789\r\n0000000000000001\r\nx\r\n000\r\n\r\n", "0123456789x", RC_EOF, 0, 0},
    {"3;a=b;c=\"d\t\"\r\nabc\r\n0;z\r\n\r\n", "abc", RC_EOF, 0, 0},
    {"1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n", "a", RC_EOF, 0, 0},
    {"3\r\nabc\r\n0\r\n\r", "abc", RC_AGAIN, 0, 0},
    {"3\r\nab", "ab", RC_AGAIN, 0, 0},
    {"\r\n0\r\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {" 0\r\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {";a\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"-1\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"+1\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"0x1\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1_0\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"g\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1\na\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1\r\r\na", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1;a\nb\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1\r\na\n0\r\n\r\n", "a", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1\r\nab\r\n0\r\n\r\n", "a", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1\r\na0\r\n\r\n", "a", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"1\r\na\rX0\r\n\r\n", "a", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
    {"7fffffffffffffff\r\na", "a", RC_AGAIN, 0, 0},
    {"8000000000000000\r\na", "", RC_TOO_LONG, H1_ERR_CHUNK_TOO_LONG, 0},
    {"ffffffffffffffff\r\na", "", RC_TOO_LONG, H1_ERR_CHUNK_TOO_LONG, 0},
    {"10000000000000000\r\na", "", RC_TOO_LONG, H1_ERR_CHUNK_TOO_LONG, 0},
    {"00000000000000001\r\na", "", RC_TOO_LONG, H1_ERR_CHUNK_TOO_LONG, 0},
    {"0\r\nX y: z\r\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_NAME, 0},
    {"0\r\n: z\r\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_NAME, 0},
    {"0\r\n X: z\r\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_NAME, 0},
    {"0\r\nX: \x7f\r\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_VALUE, 0},
    {"0\r\nX: y\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_VALUE, 0},
    {"0\r\nX\r\n\r\n", "", RC_MALFORMED, H1_ERR_BAD_NAME, 0},
    {"0\r\n\n", "", RC_MALFORMED, H1_ERR_BAD_NAME, 0},
    {"0\r\n\r\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0},
};

static void bodies_end_where_they_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check(&cases[i], 0);
        check(&cases[i], H1_VARNISH);
    }
}

static void blanks_behind_a_size_are_tolerated_when_asked(void **state)
{
    (void)state;
    struct expectation e = {"1 \t\r\na\r\n0 ;b\r\n\r\n", "a", RC_EOF, 0, 0};
    check(&e, H1_CHUNK_BLANKS);
    e = (struct expectation){e.in, "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0};
    check(&e, 0);
    e = (struct expectation){"1 1\r\n", "", RC_MALFORMED, H1_ERR_BAD_CHUNK, 0};
    check(&e, H1_CHUNK_BLANKS);
}

/* Feeds `times` copies of a text; returns the first verdict that is neither OK nor AGAIN. */
static enum rc feed_many(struct h1_chunked *c, struct str text, unsigned times)
{
    enum rc rc = RC_AGAIN;
    for (unsigned i = 0; i < times; i++) {
        struct str rest = text;
        while (rest.len > 0) {
            size_t used = 0;
            struct str data;
            rc = h1_chunked_next(c, rest, &used, &data);
            if (rc != RC_OK && rc != RC_AGAIN) {
                return rc;
            }
            rest = (struct str){rest.ptr + used, rest.len - used};
        }
    }
    return rc;
}

static void what_nobody_reads_is_bounded(void **state)
{
    (void)state;
    struct h1_chunked c;
    h1_chunked_init(&c, 0);
    /* ";" counts too; each chunk brings two bytes of extension. */
    assert_int_equal(feed_many(&c, STR("1;x\r\na\r\n"), H1_EXT_MAX / 2), RC_AGAIN);
    assert_int_equal(feed_many(&c, STR("1;x\r\na\r\n"), 1), RC_TOO_LONG);
    assert_int_equal(c.error, H1_ERR_EXT_TOO_LONG);
    /* The verdict sticks. */
    assert_int_equal(feed_many(&c, STR("0\r\n\r\n"), 1), RC_TOO_LONG);
    h1_chunked_init(&c, 0);
    assert_int_equal(feed_many(&c, STR("0\r\n"), 1), RC_AGAIN);
    assert_int_equal(feed_many(&c, STR("a:\r\n"), H1_TRAILER_MAX), RC_TOO_LONG);
    assert_int_equal(c.error, H1_ERR_TRAILER_TOO_LONG);
}

static void data_can_be_taken_elsewhere(void **state)
{
    (void)state;
    struct h1_chunked c;
    h1_chunked_init(&c, 0);
    assert_int_equal(h1_chunked_due(&c), 0);
    assert_int_equal(feed_many(&c, STR("64\r\n"), 1), RC_AGAIN);
    assert_int_equal(h1_chunked_due(&c), 100);
    h1_chunked_took(&c, 60);
    h1_chunked_took(&c, 40);
    assert_int_equal(h1_chunked_due(&c), 0);
    assert_int_equal(feed_many(&c, STR("\r\n0\r\n\r\n"), 1), RC_EOF);
}

static void what_is_encoded_decodes_to_the_same(void **state)
{
    (void)state;
    struct rng r = {.state = 7};
    for (int i = 0; i < 200; i++) {
        char plain[512];
        char wire[2048];
        char back[512];
        struct sb sb = sb_of(wire, sizeof wire);
        size_t len = (size_t)rng_below(&r, sizeof plain);
        for (size_t k = 0; k < len; k++) {
            plain[k] = (char)rng_u64(&r);
        }
        for (size_t at = 0; at < len;) {
            size_t run = 1 + (size_t)rng_below(&r, len - at);
            char head[H1_CHUNK_HEAD_MAX];
            sb_add(&sb, head, h1_chunk_head(head, run));
            sb_add(&sb, plain + at, run);
            sb_lit(&sb, H1_CHUNK_TAIL);
            at += run;
        }
        sb_lit(&sb, H1_CHUNK_END);
        if (sb.overflow) {
            continue;
        }
        struct outcome o = {.data = sb_of(back, sizeof back)};
        decode(sb_str(&sb), 1 + (size_t)rng_below(&r, 50), 1 + (size_t)rng_below(&r, 50), 0, &o);
        assert_int_equal(o.rc, RC_EOF);
        assert_int_equal(o.data.len, len);
        assert_memory_equal(back, plain, len);
    }
    char head[H1_CHUNK_HEAD_MAX];
    assert_int_equal(h1_chunk_head(head, UINT64_MAX), H1_CHUNK_HEAD_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_end_where_they_say),
        cmocka_unit_test(blanks_behind_a_size_are_tolerated_when_asked),
        cmocka_unit_test(what_nobody_reads_is_bounded),
        cmocka_unit_test(data_can_be_taken_elsewhere),
        cmocka_unit_test(what_is_encoded_decodes_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
