/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bodies of requests: sent once as they come, or kept and sent as often as one likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "engine/req_body.h"
#include "support/run_fiber.h"

enum { FIELDS = 16 };

/* A client that sends `size` bytes in pieces, and then perhaps breaks off. */
struct client {
    struct request req;
    struct transport transport;
    struct arena arena;
    char mem[8192];
    size_t size;
    size_t sent;
    size_t piece;
    enum rc end;
};

static char byte_at(size_t i)
{
    return (char)('a' + i % 23);
}

static enum rc give(struct request *req, void *buf, size_t bytes, size_t *got)
{
    struct client *c = req->transport_arg;
    size_t n = c->size - c->sent;
    n = n < c->piece ? n : c->piece;
    n = n < bytes ? n : bytes;
    if (n == 0) {
        return c->end;
    }
    for (size_t i = 0; i < n; i++) {
        ((char *)buf)[i] = byte_at(c->sent + i);
    }
    c->sent += n;
    *got = n;
    return RC_OK;
}

static struct client *client_new(size_t size, bool is_length_known)
{
    struct client *c = xcalloc(1, sizeof *c);
    arena_init(&c->arena, c->mem, sizeof c->mem);
    c->size = size;
    c->piece = 1000;
    c->end = RC_EOF;
    c->transport.body = give;
    c->req = (struct request){
        .transport = &c->transport,
        .transport_arg = c,
        .arena = &c->arena,
        .http = http_new(&c->arena, FIELDS),
        .has_body = true,
        .is_body_length_known = is_length_known,
        .body_bytes = is_length_known ? size : 0,
    };
    assert_non_null(c->req.http);
    return c;
}

static void client_free(struct client **client)
{
    req_body_free(&(*client)->req);
    XFREE(*client);
}

/* Sends the body somewhere; how many bytes there were, all of them right. */
static enum rc send_all(struct client *c, size_t *sent)
{
    char buf[700];
    struct req_body_at at = {0};
    *sent = 0;
    for (;;) {
        char *ptr = NULL;
        size_t got = 0;
        enum rc rc = req_body_next(&c->req, &at, buf, sizeof buf, &ptr, &got);
        if (rc != RC_OK) {
            return rc;
        }
        assert_true(got > 0);
        for (size_t i = 0; i < got; i++) {
            assert_int_equal(ptr[i], byte_at(*sent + i));
        }
        *sent += got;
    }
}

static void as_it_comes(void *arg)
{
    (void)arg;
    struct client *c = client_new(100000, true);
    size_t sent = 0;
    assert_true(req_body_can_be_sent(&c->req));
    assert_int_equal(send_all(c, &sent), RC_EOF);
    assert_int_equal(sent, 100000);
    assert_false(req_body_can_be_sent(&c->req));
    assert_int_equal(send_all(c, &sent), RC_INVALID);
    assert_int_equal(sent, 0);
    assert_int_equal(req_body_keep(&c->req, 1000000), RC_INVALID);
    client_free(&c);
}

static void kept(void *arg)
{
    (void)arg;
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 400000};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (int known = 0; known < 2; known++) {
            struct client *c = client_new(sizes[i], known != 0);
            assert_int_equal(req_body_keep(&c->req, sizes[i]), RC_OK);
            assert_int_equal(req_body_keep(&c->req, 0), RC_OK);
            assert_true(req_body_is_kept(&c->req));
            assert_true(c->req.is_body_length_known);
            assert_int_equal(c->req.body_bytes, sizes[i]);
            if (known == 0) {
                uint64_t told = UINT64_MAX;
                assert_int_equal(str_to_u64(http_get(c->req.http, HDR_CONTENT_LENGTH), &told),
                                 RC_OK);
                assert_int_equal(told, sizes[i]);
            }
            for (unsigned round = 0; round < 3; round++) {
                size_t sent = 0;
                assert_int_equal(send_all(c, &sent), RC_EOF);
                assert_int_equal(sent, sizes[i]);
                assert_true(req_body_can_be_sent(&c->req));
            }
            client_free(&c);
        }
    }
}

static void too_long(void *arg)
{
    (void)arg;
    size_t sent = 0;
    /* What says beforehand that it is too long is not read, and lost as well: the connection ends.
     */
    struct client *c = client_new(5000, true);
    assert_int_equal(req_body_keep(&c->req, 4999), RC_LIMIT);
    assert_int_equal(c->sent, 0);
    assert_false(req_body_can_be_sent(&c->req));
    client_free(&c);
    /* What turns out to be is lost, and read no further than need be. */
    c = client_new(50000, false);
    assert_int_equal(req_body_keep(&c->req, 4999), RC_LIMIT);
    assert_true(c->sent < 7000);
    assert_false(req_body_is_kept(&c->req));
    assert_false(req_body_can_be_sent(&c->req));
    assert_int_equal(send_all(c, &sent), RC_INVALID);
    client_free(&c);
}

static void broken_off(void *arg)
{
    (void)arg;
    size_t sent = 0;
    struct client *c = client_new(5000, true);
    c->end = RC_RESET;
    assert_int_equal(req_body_keep(&c->req, 10000), RC_RESET);
    assert_false(req_body_can_be_sent(&c->req));
    assert_int_equal(send_all(c, &sent), RC_INVALID);
    client_free(&c);
    c = client_new(5000, false);
    c->end = RC_MALFORMED;
    assert_int_equal(send_all(c, &sent), RC_MALFORMED);
    assert_int_equal(sent, 5000);
    assert_false(req_body_can_be_sent(&c->req));
    client_free(&c);
}

static void none(void *arg)
{
    (void)arg;
    struct client *c = client_new(0, false);
    c->req.has_body = false;
    assert_int_equal(req_body_keep(&c->req, 0), RC_OK);
    assert_false(req_body_is_kept(&c->req));
    assert_true(req_body_can_be_sent(&c->req));
    client_free(&c);
}

#define ON_FIBER(name, fn)                                                                         \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run_once(fn, NULL);                                                                        \
    }
ON_FIBER(a_body_is_sent_once, as_it_comes)
ON_FIBER(a_kept_body_is_sent_again, kept)
ON_FIBER(a_long_body_is_not_kept, too_long)
ON_FIBER(a_broken_body_is_not_sent, broken_off)
ON_FIBER(no_body_is_no_trouble, none)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_is_sent_once),     cmocka_unit_test(a_kept_body_is_sent_again),
        cmocka_unit_test(a_long_body_is_not_kept), cmocka_unit_test(a_broken_body_is_not_sent),
        cmocka_unit_test(no_body_is_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
