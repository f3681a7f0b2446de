/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Heads: what is accepted and in which form, what is refused and with which words. Each message is
 * parsed whole, byte by byte and at each split, and must fare the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "http/h1.h"

enum { MAX_HDR = 8, TEXT_MAX = 4096 };

struct fixture {
    struct http_hdr table[MAX_HDR];
    struct http h;
    struct h1_head head;
    struct h1_limits limits;
    char text[TEXT_MAX]; /* the accepted head, written again */
    size_t text_len;
    char *buf;
};

typedef enum rc parse_fn(struct http *h, char *buf, size_t len, size_t seen,
                         const struct h1_limits *limits, struct h1_head *head);

static void rebuild(struct fixture *f)
{
    struct sb sb = sb_of(f->text, sizeof f->text);
    if (f->h.status == 0) {
        h1_build_request(&sb, &f->h);
    } else {
        h1_build_response(&sb, &f->h);
    }
    assert_false(sb.overflow);
    assert_true(sb.len <= h1_build_bytes(&f->h));
    f->text_len = sb.len;
}

/* Feeds the message with the given steps: first bytes, then one by one until `all_at`, then the
 * rest. The buffer is exactly as long as what has "arrived", so a read too far is seen by ASan. */
static enum rc feed(struct fixture *f, parse_fn *parse, struct str msg, size_t first, size_t step)
{
    http_init(&f->h, f->table, MAX_HDR);
    size_t seen = 0;
    size_t len = first;
    f->buf = NULL;
    for (;;) {
        char *moved = malloc(len + (len == 0));
        if (f->buf != NULL) {
            memcpy(moved, f->buf, seen);
            free(f->buf);
        }
        memcpy(moved + seen, msg.ptr + seen, len - seen);
        f->buf = moved;
        enum rc rc = parse(&f->h, f->buf, len, seen, &f->limits, &f->head);
        if (rc != RC_AGAIN || len == msg.len) {
            return rc;
        }
        assert_int_equal(f->h.count, 0);
        seen = len;
        len = step < msg.len - len ? len + step : msg.len;
    }
}

/* Parses in all ways; returns the verdict, with f holding the last (whole) parse.  Caller frees
 * buf. */
static enum rc parse_all_ways(struct fixture *f, parse_fn *parse, struct str msg)
{
    enum rc whole = feed(f, parse, msg, msg.len, 1);
    struct h1_head head = f->head;
    char *text = NULL;
    size_t text_len = 0;
    if (whole == RC_OK) {
        rebuild(f);
        text = str_dup((struct str){f->text, f->text_len});
        text_len = f->text_len;
    }
    free(f->buf);
    for (size_t split = 0; split < msg.len; split++) {
        /* Split 0 is byte by byte. */
        enum rc rc = feed(f, parse, msg, split == 0 ? 1 : split, split == 0 ? 1 : msg.len);
        if (rc != whole || f->head.error != head.error || f->head.consumed != head.consumed) {
            fail_msg("split %zu: %s (%s), whole: %s (%s): %.*s", split, rc_text(rc),
                     h1_error_text(f->head.error), rc_text(whole), h1_error_text(head.error),
                     STR_ARG(msg));
        }
        if (rc == RC_OK) {
            rebuild(f);
            assert_int_equal(f->text_len, text_len);
            assert_memory_equal(f->text, text, text_len);
            assert_int_equal(f->head.body.framing, head.body.framing);
        }
        free(f->buf);
    }
    free(text);
    return feed(f, parse, msg, msg.len, 1);
}

struct expectation {
    const char *in;
    const char *out; /* how the accepted head is written again, or NULL when it is refused: */
    enum h1_error error;
};

static struct str strip_nul(const char *text)
{
    /* A "\x01" in these tables stands for NUL. */
    char *copy = xstrdup(text);
    size_t len = strlen(copy);
    for (size_t i = 0; i < len; i++) {
        if (copy[i] == '\x01') {
            copy[i] = '\0';
        }
    }
    return (struct str){copy, len};
}

static void check_one(parse_fn *parse, uint32_t flags, const struct expectation *e)
{
    struct fixture f = {.limits = h1_limits_default};
    f.limits.flags = flags;
    struct str msg = strip_nul(e->in);
    enum rc rc = parse_all_ways(&f, parse, msg);
    if (e->out != NULL) {
        if (rc != RC_OK) {
            fail_msg("refused (%s): %s", h1_error_text(f.head.error), e->in);
        }
        rebuild(&f);
        if (!str_eq((struct str){f.text, f.text_len}, str_of(e->out))) {
            fail_msg("\n%s\nbecame\n%.*s\nnot\n%s", e->in, (int)f.text_len, f.text, e->out);
        }
        assert_int_equal(f.head.consumed, msg.len);
    } else {
        if (f.head.error != e->error) {
            fail_msg("%s\ngot %s (%s) not %s", e->in, rc_text(rc), h1_error_text(f.head.error),
                     h1_error_text(e->error));
        }
        assert_int_equal(rc, h1_error_rc(e->error));
        assert_int_equal(f.h.count, 0);
    }
    free(f.buf);
    char *text = (char *)(uintptr_t)msg.ptr;
    free(text);
}

static void check_table(parse_fn *parse, uint32_t flags, const struct expectation *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        check_one(parse, flags, &e[i]);
    }
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define BOTH(text) text, text

/* Good in any mode. */
static const struct expectation plain_requests[] = {
    {BOTH(GET "\r\n"), 0},
    {BOTH("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
    {BOTH("GET /a?b=c&d=%20;@:!$'()*,+~ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), 0},
    {BOTH("M-!#$%&'*+.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
    {BOTH(GET "Empty: \r\nAccept: a\tb\r\n\r\n"), 0},
    {GET "A:b\r\nC:\t d \t\r\n\r\n", GET "A: b\r\nC: d\r\n\r\n", 0},
    {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", 0},
    {BOTH("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n"), 0},
    {BOTH("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n"), 0},
    {BOTH(GET "Connection: close, Foo\r\nFoo: x\r\n\r\n"), 0},
    {BOTH(GET "Expect: 100-Continue\r\n\r\n"), 0},
    /* Absolute URLs. */
    {"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /c HTTP/1.1\r\nHost: b\r\n\r\n", 0},
    {"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: b\r\n\r\n", 0},
    {"GET http://b:8?c=/d HTTP/1.1\r\nX: y\r\nhost: a\r\n\r\n",
     "GET /?c=/d HTTP/1.1\r\nX: y\r\nHost: b:8\r\n\r\n", 0},
    {"GET http://b/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: b\r\n\r\n", 0},
};

/* Bad in any mode. */
static const struct expectation bad_requests[] = {
    {"GET /\r\n\r\n", NULL, H1_ERR_BAD_START},
    {"GET  \r\n\r\n", NULL, H1_ERR_BAD_START},
    {"GET\r\n\r\n", NULL, H1_ERR_BAD_START},
    {"G\x01T / HTTP/1.1\r\n\r\n", NULL, H1_ERR_BAD_METHOD},
    {"G\"T / HTTP/1.1\r\n\r\n", NULL, H1_ERR_BAD_METHOD},
    {"GET /\x01 HTTP/1.1\r\n\r\n", NULL, H1_ERR_BAD_URL},
    {"GET /\x7f HTTP/1.1\r\n\r\n", NULL, H1_ERR_BAD_URL},
    {"GET /\x0b HTTP/1.1\r\n\r\n", NULL, H1_ERR_BAD_URL},
    {"GET /a b HTTP/1.1\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/1.1 \r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/1.11\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/1.\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/1.2\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/0.9\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/2.0\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/01.1\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"GET / HTTP/1.1\rX: y\r\n\r\n", NULL, H1_ERR_BARE_CR},
    {GET "A: b\rC: d\r\n\r\n", NULL, H1_ERR_BARE_CR},
    {GET "A: b\r\n\rX\r\n", NULL, H1_ERR_BARE_CR},
    {GET "A: b\x01\r\n\r\n", NULL, H1_ERR_BAD_VALUE},
    {GET "A: b\x0b\r\n\r\n", NULL, H1_ERR_BAD_VALUE},
    {GET "A: b\x7f\r\n\r\n", NULL, H1_ERR_BAD_VALUE},
    {GET "A : b\r\n\r\n", NULL, H1_ERR_BAD_NAME},
    {GET "A\x01: b\r\n\r\n", NULL, H1_ERR_BAD_NAME},
    {GET "A\xc3\xa4: b\r\n\r\n", NULL, H1_ERR_BAD_NAME},
    {GET "A(: b\r\n\r\n", NULL, H1_ERR_BAD_NAME},
    {GET ": b\r\n\r\n", NULL, H1_ERR_NO_NAME},
    {GET "Abc\r\n\r\n", NULL, H1_ERR_NO_COLON},
    {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", NULL, H1_ERR_BAD_NAME},
    {GET "Host: a\r\n\r\n", NULL, H1_ERR_MANY_HOSTS},
    {GET "hOST: b\r\n\r\n", NULL, H1_ERR_MANY_HOSTS},
    {"GET http://b/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", NULL, H1_ERR_MANY_HOSTS},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, H1_ERR_BAD_HOST},
    {GET "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", NULL, H1_ERR_MANY_LENGTHS},
    {GET "Content-Length: 1\r\ncontent-length: 2\r\n\r\n", NULL, H1_ERR_MANY_LENGTHS},
    {GET "Content-Length: 1, 1\r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Content-Length: +1\r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Content-Length: -1\r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Content-Length: 0x1\r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Content-Length: 1 1\r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Content-Length: \r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Content-Length: 9223372036854775808\r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Content-Length: 99999999999999999999\r\n\r\n", NULL, H1_ERR_BAD_LENGTH},
    {GET "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", NULL, H1_ERR_CODING_AND_LENGTH},
    {GET "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, H1_ERR_CODING_AND_LENGTH},
    {GET "Transfer-Encoding: gzip, chunked\r\n\r\n", NULL, H1_ERR_BAD_CODING},
    {GET "Transfer-Encoding: chunked, chunked\r\n\r\n", NULL, H1_ERR_BAD_CODING},
    {GET "Transfer-Encoding: identity\r\n\r\n", NULL, H1_ERR_BAD_CODING},
    {GET "Transfer-Encoding: \"chunked\"\r\n\r\n", NULL, H1_ERR_BAD_CODING},
    {GET "Transfer-Encoding: chunked;x\r\n\r\n", NULL, H1_ERR_BAD_CODING},
    {GET "Transfer-Encoding: xchunked\r\n\r\n", NULL, H1_ERR_BAD_CODING},
    {GET "Transfer-Encoding:\r\n\r\n", NULL, H1_ERR_BAD_CODING},
    {GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", NULL,
     H1_ERR_BAD_CODING},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, H1_ERR_CODING_IN_10},
    {"POST / HTTP/1.0\r\n\r\n", NULL, H1_ERR_LENGTH_REQUIRED},
    {"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", NULL, H1_ERR_HEAD_WITH_BODY},
    {"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", NULL,
     H1_ERR_HEAD_WITH_BODY},
    {GET "Expect: 200-ok\r\n\r\n", NULL, H1_ERR_BAD_EXPECT},
    {GET "Connection: close, Content-Length\r\n\r\n", NULL, H1_ERR_BAD_CONNECTION},
    {GET "Connection: host\r\n\r\n", NULL, H1_ERR_BAD_CONNECTION},
    {GET "Connection: x\r\nConnection: Cookie\r\n\r\n", NULL, H1_ERR_BAD_CONNECTION},
    {GET "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n\r\n",
     NULL, H1_ERR_BAD_CONNECTION},
    {GET "1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n\r\n", NULL, H1_ERR_TOO_MANY_HDRS},
};

/* Tolerated as Varnish does, written again in their regular form; and what strict says. */
static const struct expectation loose_requests[] = {
    {"GET / HTTP/1.1\nHost: a\nB: c\n\n", GET "B: c\r\n\r\n", H1_ERR_BARE_LF},
    {"GET / HTTP/1.1\r\nHost: a\r\n\n", GET "\r\n", H1_ERR_BARE_LF},
    {"\r\n\r\n" GET "\r\n", GET "\r\n", H1_ERR_BAD_METHOD},
    {"\n" GET "\r\n", GET "\r\n", H1_ERR_BAD_METHOD},
    {" " GET "\r\n", GET "\r\n", H1_ERR_BAD_METHOD},
    {"\r\n\r\n \n" GET "\r\n", GET "\r\n", H1_ERR_BAD_METHOD},
    {GET "A: b\r\n c\r\n\r\n", GET "A: b   c\r\n\r\n", H1_ERR_FOLDED},
    {GET "A:\r\n\t\tb\n c \r\n \r\nD: e\r\n\r\n", GET "A: b  c\r\nD: e\r\n\r\n", H1_ERR_FOLDED},
    /* Whether the TAB came together with the fold or later must not matter. */
    {GET "A: b\r\n \tc\r\n\r\n", GET "A: b   \tc\r\n\r\n", H1_ERR_FOLDED},
    {"GET \t/  HTTP/1.1\r\nHost: a\r\n\r\n", GET "\r\n", H1_ERR_BAD_START},
    {"GET / http/1.1\r\nHost: a\r\n\r\n", GET "\r\n", H1_ERR_BAD_PROTO},
    {BOTH("GET / HTTP/1.1\r\n\r\n"), H1_ERR_NO_HOST},
    {BOTH("GET foo HTTP/1.1\r\nHost: a\r\n\r\n"), H1_ERR_BAD_URL},
    {BOTH("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), H1_ERR_BAD_URL},
    {BOTH("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"), H1_ERR_BAD_URL},
    {BOTH("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n"), H1_ERR_BAD_URL},
    {BOTH("GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), H1_ERR_BAD_URL},
};

static const struct expectation responses[] = {
    {BOTH("HTTP/1.1 200 OK\r\nServer: a\r\n\r\n"), 0},
    {BOTH("HTTP/1.1 999 Own words \xe4\r\n\r\n"), 0},
    {"HTTP/1.1 404\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n", 0},
    {"HTTP/1.1 404 \r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n", 0},
    {"HTTP/1.0 204 No\tContent\r\n\r\n", "HTTP/1.1 204 No\tContent\r\n\r\n", 0},
    {BOTH("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 0},
    {"HTTP/1.1 200OK\r\n\r\n", NULL, H1_ERR_BAD_STATUS},
    {"HTTP/1.1 20 OK\r\n\r\n", NULL, H1_ERR_BAD_STATUS},
    {"HTTP/1.1 2000 OK\r\n\r\n", NULL, H1_ERR_BAD_STATUS},
    {"HTTP/1.1 099 OK\r\n\r\n", NULL, H1_ERR_BAD_STATUS},
    {"HTTP/1.1 +20 OK\r\n\r\n", NULL, H1_ERR_BAD_STATUS},
    {"HTTP/1.1\r\n\r\n", NULL, H1_ERR_BAD_START},
    {"HTTP/2.0 200 OK\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"ICY 200 OK\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"\x01HTTP/1.1 200 OK\r\n\r\n", NULL, H1_ERR_BAD_PROTO},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", NULL, H1_ERR_BAD_REASON},
    {"HTTP/1.1 200 O\x1bK\r\n\r\n", NULL, H1_ERR_BAD_REASON},
    {"HTTP/1.1 200 O\rK\r\n\r\n", NULL, H1_ERR_BARE_CR},
    {"HTTP/1.1 200 OK\r\nSet-Cookie : a\r\n\r\n", NULL, H1_ERR_BAD_NAME},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", NULL,
     H1_ERR_MANY_LENGTHS},
    {"HTTP/1.1 200 OK\r\nConnection: set-cookie\r\n\r\n", NULL, H1_ERR_BAD_CONNECTION},
};

static const struct expectation loose_responses[] = {
    {"HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n", H1_ERR_BARE_LF},
    {"HTTP/1.4 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", H1_ERR_BAD_PROTO},
    {"HTTP/1.1 \t 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", H1_ERR_BAD_STATUS},
    {"HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b  \tc\r\n\r\n",
     H1_ERR_FOLDED},
};

#define CHECK_TABLE(parse, flags, table) check_table((parse), (flags), (table), ARRAY_SIZE(table))

static void requests_get_the_same_verdict_however_split(void **state)
{
    (void)state;
    CHECK_TABLE(h1_parse_request, H1_VARNISH, plain_requests);
    CHECK_TABLE(h1_parse_request, 0, plain_requests);
    CHECK_TABLE(h1_parse_request, H1_VARNISH, bad_requests);
    CHECK_TABLE(h1_parse_request, H1_VARNISH, loose_requests);
}

static void strict_refuses_what_varnish_tolerates(void **state)
{
    (void)state;
    CHECK_TABLE(h1_parse_request, 0, bad_requests);
    for (size_t i = 0; i < ARRAY_SIZE(loose_requests); i++) {
        struct expectation e = loose_requests[i];
        e.out = NULL;
        check_one(h1_parse_request, 0, &e);
    }
    for (size_t i = 0; i < ARRAY_SIZE(loose_responses); i++) {
        struct expectation e = loose_responses[i];
        e.out = NULL;
        check_one(h1_parse_response, 0, &e);
    }
}

/* RFC 9112 section 2.2 wants at least one to be ignored. */
static void one_empty_line_before_a_request_is_no_offence(void **state)
{
    (void)state;
    struct expectation e = {"\r\n" GET "\r\n", GET "\r\n", 0};
    check_one(h1_parse_request, 0, &e);
    check_one(h1_parse_request, H1_VARNISH, &e);
    struct expectation cr = {"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, H1_ERR_BARE_CR};
    check_one(h1_parse_request, 0, &cr);
}

static void responses_get_the_same_verdict_however_split(void **state)
{
    (void)state;
    CHECK_TABLE(h1_parse_response, H1_VARNISH, responses);
    CHECK_TABLE(h1_parse_response, 0, responses);
    CHECK_TABLE(h1_parse_response, H1_VARNISH, loose_responses);
}

static void https_urls_are_split_when_asked(void **state)
{
    (void)state;
    struct expectation e = {"GET https://b?c HTTP/1.1\r\nHost: a\r\n\r\n",
                            "GET /?c HTTP/1.1\r\nHost: b\r\n\r\n", 0};
    check_one(h1_parse_request, H1_VARNISH | H1_HTTPS_SCHEME, &e);
    check_one(h1_parse_request, 0, &e);
    e.out = e.in;
    check_one(h1_parse_request, H1_VARNISH, &e);
}

/* Each limit is met exactly, and passed by one. */
static void limits_hold_to_the_byte(void **state)
{
    (void)state;
    struct fixture f = {.limits = {.head_bytes = 60, .start_bytes = 20, .hdr_bytes = 12}};
    static const struct expectation cases[] = {
        {BOTH("GET /456789 HTTP/1.1\r\nHost: a\r\n\r\n"), H1_ERR_URL_TOO_LONG},
        {BOTH("GET /4567 HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
        {BOTH("GET /45678 HTTP/1.1\r\nHost: a\r\n\r\n"), H1_ERR_URL_TOO_LONG},
        {BOTH("GET / HTTP/1.1\r\nHost: a\r\nA: 345678901\r\n\r\n"), 0},
        {BOTH("GET / HTTP/1.1\r\nHost: a\r\nA: 3456789012\r\n\r\n"), H1_ERR_HDR_TOO_LONG},
        {BOTH("GET / HTTP/1.1\r\nHost: a\r\nA: 345678901\r\nA: 345678901\r\nBC:\r\n\r\n"), 0},
        {BOTH("GET / HTTP/1.1\r\nHost: a\r\nA: 345678901\r\nA: 345678901\r\nBCD:\r\n\r\n"),
         H1_ERR_HEAD_TOO_LONG},
        {BOTH("GET / HTTP/1.1\r\nHost: a\r\nA: 34567890\r\nA: 34567890\r\n\r\nXX"), 0},
        {BOTH("GET / HTTP/1.1\r\nHost: a\r\nA: 345678901\r\nA: 345678901\r\n\r\nXX"), 0},
        {BOTH("GET / HTTP/1.1\r\nHost: a\r\nA: 345678901\r\nA: 345678901\r\nBCDEFGH"),
         H1_ERR_HEAD_TOO_LONG},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        (void)parse_all_ways(&f, h1_parse_request, str_of(cases[i].in));
        if (f.head.error != cases[i].error) {
            fail_msg("%s: %s", cases[i].in, h1_error_text(f.head.error));
        }
        free(f.buf);
    }
}

static void the_next_message_is_left_alone(void **state)
{
    (void)state;
    struct fixture f = {.limits = h1_limits_default};
    struct str first = STR(GET "\r\n");
    struct str both = STR(GET "\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
    assert_int_equal(parse_all_ways(&f, h1_parse_request, both), RC_OK);
    assert_int_equal(f.head.consumed, first.len);
    struct http_hdr table[4];
    struct http h;
    http_init(&h, table, 4);
    enum rc rc =
        h1_parse_request(&h, f.buf + first.len, both.len - first.len, 0, &f.limits, &f.head);
    assert_int_equal(rc, RC_OK);
    assert_true(str_eq(h.url, STR("/2")));
    assert_int_equal(first.len + f.head.consumed, both.len);
    free(f.buf);
}

/* --- framing of responses --- */

struct framing_case {
    const char *head;
    enum http_method method;
    enum h1_framing framing;
    uint64_t bytes;
    enum h1_error error;
};

#define OK "HTTP/1.1 200 OK\r\n"
static const struct framing_case framings[] = {
    {OK "\r\n", HTTP_M_GET, H1_BODY_EOF, 0, 0},
    {OK "Connection: keep-alive\r\n\r\n", HTTP_M_GET, H1_BODY_EOF, 0, 0},
    {OK "Content-Length: 3\r\n\r\n", HTTP_M_GET, H1_BODY_LENGTH, 3, 0},
    {OK "Content-Length: 0\r\n\r\n", HTTP_M_GET, H1_BODY_NONE, 0, 0},
    {OK "Content-Length: 3\r\n\r\n", HTTP_M_HEAD, H1_BODY_NONE, 0, 0},
    {OK "Transfer-Encoding: chunked\r\n\r\n", HTTP_M_GET, H1_BODY_CHUNKED, 0, 0},
    {OK "Transfer-Encoding: chunked\r\n\r\n", HTTP_M_HEAD, H1_BODY_NONE, 0, 0},
    {OK "Content-Length: 3\r\n\r\n", HTTP_M_CONNECT, H1_BODY_NONE, 0, 0},
    {"HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\n", HTTP_M_GET, H1_BODY_NONE, 0, 0},
    {"HTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\n", HTTP_M_GET, H1_BODY_ERROR, 0,
     H1_ERR_BODY_IN_204},
    {"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_M_GET, H1_BODY_ERROR, 0,
     H1_ERR_BODY_IN_204},
    {"HTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\n", HTTP_M_HEAD, H1_BODY_NONE, 0, 0},
    {"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", HTTP_M_GET, H1_BODY_NONE, 0, 0},
    {"HTTP/1.1 204 x\r\n\r\n", HTTP_M_GET, H1_BODY_NONE, 0, 0},
    {"HTTP/1.1 103 x\r\n\r\n", HTTP_M_GET, H1_BODY_NONE, 0, 0},
    {"HTTP/1.1 404 x\r\nContent-Length: 3\r\n\r\n", HTTP_M_CONNECT, H1_BODY_LENGTH, 3, 0},
    {OK "Content-Length: 3x\r\n\r\n", HTTP_M_GET, H1_BODY_ERROR, 0, H1_ERR_BAD_LENGTH},
    {OK "Content-Length: 3x\r\n\r\n", HTTP_M_HEAD, H1_BODY_ERROR, 0, H1_ERR_BAD_LENGTH},
    {OK "Transfer-Encoding: gzip\r\n\r\n", HTTP_M_GET, H1_BODY_ERROR, 0, H1_ERR_BAD_CODING},
    {OK "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", HTTP_M_GET, H1_BODY_ERROR, 0,
     H1_ERR_CODING_AND_LENGTH},
    {"HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_M_GET, H1_BODY_ERROR, 0,
     H1_ERR_CODING_IN_10},
};

static void responses_say_where_they_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(framings); i++) {
        const struct framing_case *c = &framings[i];
        struct fixture f = {.limits = h1_limits_default};
        assert_int_equal(feed(&f, h1_parse_response, str_of(c->head), strlen(c->head), 1), RC_OK);
        struct h1_body body = h1_response_framing(&f.h, c->method);
        if (body.framing != c->framing || body.bytes != c->bytes || body.error != c->error) {
            fail_msg("%s: %d %s", c->head, (int)body.framing, h1_error_text(body.error));
        }
        free(f.buf);
    }
}

static void requests_say_where_they_end(void **state)
{
    (void)state;
    struct fixture f = {.limits = h1_limits_default};
    struct str post = STR("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n");
    assert_int_equal(feed(&f, h1_parse_request, post, post.len, 1), RC_OK);
    assert_int_equal(f.head.body.framing, H1_BODY_LENGTH);
    assert_int_equal(f.head.body.bytes, 7);
    free(f.buf);
    struct str upgrade = STR(GET "Connection: Upgrade, keep-alive\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(feed(&f, h1_parse_request, upgrade, upgrade.len, 1), RC_OK);
    assert_int_equal(f.head.body.framing, H1_BODY_NONE);
    assert_int_equal(f.head.conn, HTTP_CONN_UPGRADE | HTTP_CONN_KEEP_ALIVE);
    assert_true(f.head.expects_continue);
    free(f.buf);
}

/* --- parse(build(x)) is x --- */

static struct str random_text(struct rng *r, struct arena *a, struct str alphabet, size_t min)
{
    size_t len = min + (size_t)rng_below(r, 24);
    char *text = arena_alloc(a, len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++) {
        text[i] = alphabet.ptr[rng_below(r, alphabet.len)];
    }
    return (struct str){text, len};
}

static void random_request(struct rng *r, struct arena *a, struct http *h)
{
    struct str letters = STR("abcXYZ-019_!~");
    struct str value = STR("ab cd,\t;=\"\\/:\xe4\xff");
    assert_int_equal(http_set_method(h, random_text(r, a, letters, 1)), RC_OK);
    struct str url = random_text(r, a, STR("/abc?&%20:@"), 1);
    assert_int_equal(http_set_url(h, url), RC_OK);
    for (uint64_t n = rng_below(r, MAX_HDR); n > 0; n--) {
        enum http_hdr_id id = (enum http_hdr_id)rng_below(r, HDR__COUNT);
        struct str text = random_text(r, a, value, 0);
        bool is_odd = id == HDR_OTHER || id == HDR_HOST || id == HDR_CONTENT_LENGTH ||
                      id == HDR_TRANSFER_ENCODING || id == HDR_EXPECT || id == HDR_CONNECTION;
        struct str name = is_odd ? random_text(r, a, letters, 1) : http_hdr_name(id);
        assert_int_equal(http_add_name(h, name, text), RC_OK);
    }
}

static void what_is_built_parses_to_the_same(void **state)
{
    (void)state;
    struct rng r = {.state = 42};
    static char block[16384];
    struct arena a;
    arena_init(&a, block, sizeof block);
    for (int i = 0; i < 2000; i++) {
        arena_reset(&a);
        struct http *h = http_new(&a, MAX_HDR);
        random_request(&r, &a, h);
        struct sb sb = sb_of(arena_alloc(&a, 2048), 2048);
        h1_build_request(&sb, h);
        assert_false(sb.overflow);
        struct fixture f = {.limits = h1_limits_default};
        if (feed(&f, h1_parse_request, sb_str(&sb), sb.len, 1) != RC_OK) {
            fail_msg("%s: %.*s", h1_error_text(f.head.error), STR_ARG(sb_str(&sb)));
        }
        assert_true(str_eq(f.h.method, h->method));
        assert_true(str_eq(f.h.url, h->url));
        assert_int_equal(f.h.count, h->count);
        for (unsigned k = 0; k < h->count; k++) {
            assert_true(str_eq(f.h.hdr[k].name, h->hdr[k].name));
            assert_true(str_eq(f.h.hdr[k].value, h->hdr[k].value));
            assert_int_equal(f.h.hdr[k].id, h->hdr[k].id);
        }
        free(f.buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_get_the_same_verdict_however_split),
        cmocka_unit_test(strict_refuses_what_varnish_tolerates),
        cmocka_unit_test(one_empty_line_before_a_request_is_no_offence),
        cmocka_unit_test(responses_get_the_same_verdict_however_split),
        cmocka_unit_test(https_urls_are_split_when_asked),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(the_next_message_is_left_alone),
        cmocka_unit_test(responses_say_where_they_end),
        cmocka_unit_test(requests_say_where_they_end),
        cmocka_unit_test(what_is_built_parses_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
