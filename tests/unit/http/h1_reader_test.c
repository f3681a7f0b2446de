/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bodies: whatever the pieces in which they come, the content is the same and ends where it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/h1_reader.h"

enum { OUT_MAX = 256 };

struct outcome {
    enum rc rc;
    size_t consumed;
    size_t direct; /* of the content, what was read straight to its place */
    size_t len;
    char out[OUT_MAX + 1];
};

/* Reads `in` as from a peer that ends the stream after it: `step` bytes a read, `room` of dst. */
static void run(struct h1_body body, struct str in, size_t step, size_t room, struct outcome *o)
{
    struct h1_reader r;
    h1_reader_init(&r, &body, 0);
    size_t at = 0;
    size_t fill = 0;
    *o = (struct outcome){.rc = RC_OK};
    while (o->rc == RC_OK) {
        size_t got = 0;
        size_t used = 0;
        struct str have = {in.ptr + at, fill - at};
        o->rc = h1_reader_take(&r, have, &used, o->out + o->len, room, &got);
        at += used;
        o->len += got;
        if (o->rc != RC_AGAIN) {
            continue;
        }
        assert_int_equal(at, fill);
        o->rc = RC_OK;
        size_t left = in.len - fill;
        if (left == 0) {
            o->rc = h1_reader_end(&r);
            continue;
        }
        size_t most = h1_reader_direct(&r, room);
        if (most > 0) {
            got = most < step ? most : step;
            got = got < left ? got : left;
            memcpy(o->out + o->len, in.ptr + fill, got);
            h1_reader_took(&r, got);
            o->len += got;
            o->direct += got;
            at = fill += got;
        } else {
            fill += step < left ? step : left;
        }
    }
    o->consumed = at;
    assert_true(o->len <= OUT_MAX);
}

static void assert_body(struct h1_body body, struct str in, enum rc rc, const char *out,
                        size_t consumed)
{
    for (size_t step = 1; step <= in.len + 1; step++) {
        for (size_t room = 1; room <= 20; room += 3) {
            struct outcome o;
            run(body, in, step, room, &o);
            assert_int_equal(o.rc, rc);
            assert_string_equal(o.out, out);
            assert_int_equal(o.consumed, consumed);
        }
    }
}

static void a_length_ends_where_it_says(void **state)
{
    (void)state;
    const struct h1_body body = {.framing = H1_BODY_LENGTH, .bytes = 5};
    for (size_t step = 1; step < 9; step++) {
        struct outcome o;
        run(body, STR("helloGET"), step, 3, &o);
        assert_int_equal(o.rc, RC_EOF);
        assert_string_equal(o.out, "hello");
        /* What comes behind is neither read nor taken. */
        assert_int_equal(o.consumed, 5);
        assert_int_equal(o.direct, 5);
    }
    assert_body(body, STR("hell"), RC_RESET, "hell", 4);
    assert_body(body, STR(""), RC_RESET, "", 0);
}

static void chunks_are_put_together(void **state)
{
    (void)state;
    const struct h1_body body = {.framing = H1_BODY_CHUNKED};
    struct str in = STR("5\r\nhello\r\nC;x=y\r\n, all of you\r\n0\r\n\r\n");
    assert_body(body, in, RC_EOF, "hello, all of you", in.len);
    in = STR("3\r\nabc\r\n0\r\nA: b\r\nC-D: e\r\n\r\n");
    assert_body(body, in, RC_EOF, "abc", in.len);
    assert_body(body, STR("3\r\nab"), RC_RESET, "ab", 5);
    assert_body(body, STR("3\r\nabc\r\n0\r\n"), RC_RESET, "abc", 11);
}

static void chunks_leave_what_follows(void **state)
{
    (void)state;
    const struct h1_body body = {.framing = H1_BODY_CHUNKED};
    struct str in = STR("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n");
    struct outcome o;
    run(body, in, in.len, 8, &o);
    assert_int_equal(o.rc, RC_EOF);
    assert_string_equal(o.out, "abc");
    assert_int_equal(o.consumed, 13);
}

static void a_large_chunk_goes_straight_to_its_place(void **state)
{
    (void)state;
    const struct h1_body body = {.framing = H1_BODY_CHUNKED};
    struct outcome o;
    run(body, STR("10\r\n0123456789abcdef\r\n0\r\n\r\n"), 4, 16, &o);
    assert_int_equal(o.rc, RC_EOF);
    assert_string_equal(o.out, "0123456789abcdef");
    assert_int_equal(o.direct, 16);
}

static void what_ends_with_the_stream_is_whole_then(void **state)
{
    (void)state;
    assert_body((struct h1_body){.framing = H1_BODY_EOF}, STR("all of it"), RC_EOF, "all of it", 9);
    assert_body((struct h1_body){.framing = H1_BODY_EOF}, STR(""), RC_EOF, "", 0);
    assert_body((struct h1_body){.framing = H1_BODY_NONE}, STR("GET"), RC_EOF, "", 0);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        enum rc rc;
        enum h1_error error;
    } bad[] = {
        {STR_INIT("x\r\n"), RC_MALFORMED, H1_ERR_BAD_CHUNK},
        {STR_INIT("1\r\nabc"), RC_MALFORMED, H1_ERR_BAD_CHUNK},
        {STR_INIT("0\r\nA B: c\r\n\r\n"), RC_MALFORMED, H1_ERR_BAD_NAME},
        {STR_INIT("11111111111111111\r\n"), RC_TOO_LONG, H1_ERR_CHUNK_TOO_LONG},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const struct h1_body body = {.framing = H1_BODY_CHUNKED};
        struct h1_reader r;
        h1_reader_init(&r, &body, 0);
        char out[16];
        size_t used = 0;
        size_t got = 0;
        size_t at = 0;
        enum rc rc = RC_OK;
        while (rc == RC_OK) {
            struct str rest = {bad[i].in.ptr + at, bad[i].in.len - at};
            rc = h1_reader_take(&r, rest, &used, out, sizeof out, &got);
            at += used;
        }
        assert_int_equal(rc, bad[i].rc);
        assert_int_equal(h1_reader_error(&r), bad[i].error);
    }
    const struct h1_body refused = {.framing = H1_BODY_ERROR, .error = H1_ERR_BAD_LENGTH};
    struct h1_reader r;
    h1_reader_init(&r, &refused, 0);
    size_t used;
    size_t got;
    char out[4];
    assert_int_equal(h1_reader_take(&r, STR("abc"), &used, out, sizeof out, &got), RC_MALFORMED);
    assert_int_equal(h1_reader_error(&r), H1_ERR_BAD_LENGTH);
}

/* Trailers are read and dropped, within a limit. */
static void trailers_have_a_limit(void **state)
{
    (void)state;
    const struct h1_body body = {.framing = H1_BODY_CHUNKED};
    struct h1_reader r;
    h1_reader_init(&r, &body, 0);
    char out[16];
    size_t used = 0;
    size_t got = 0;
    assert_int_equal(h1_reader_take(&r, STR("0\r\n"), &used, out, sizeof out, &got), RC_AGAIN);
    enum rc rc = RC_AGAIN;
    size_t taken = 0;
    while (rc == RC_AGAIN) {
        rc = h1_reader_take(&r, STR("Name: value\r\n"), &used, out, sizeof out, &got);
        taken += used;
    }
    assert_int_equal(rc, RC_TOO_LONG);
    assert_int_equal(h1_reader_error(&r), H1_ERR_TRAILER_TOO_LONG);
    assert_true(taken < 2 * (size_t)H1_TRAILER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_ends_where_it_says),
        cmocka_unit_test(chunks_are_put_together),
        cmocka_unit_test(chunks_leave_what_follows),
        cmocka_unit_test(a_large_chunk_goes_straight_to_its_place),
        cmocka_unit_test(what_ends_with_the_stream_is_whole_then),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(trailers_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
