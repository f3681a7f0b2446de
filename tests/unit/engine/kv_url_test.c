/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Keys that are URLs: pages are found, pushed and ended by key, and read back over HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kv_rig.h"

#define PAGE                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Keep: yes\r\nETag: \"old\"\r\n"              \
    "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"      \
    "Expires: Sun, 06 Nov 1994 09:49:37 GMT\r\nContent-MD5: xyz\r\nAge: 0\r\n"                     \
    "Cache-Control: max-age=100\r\nContent-Length: 5\r\n\r\nhello"
#define VARIED "HTTP/1.1 200 OK\r\nVary: X-Lang, Accept-Encoding\r\nContent-Length: 5\r\n\r\nhello"
#define NOT_FOUND "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"
#define NOT_MODIFIED "HTTP/1.1 304 Not Modified\r\nETag: \"old\"\r\n\r\n"
#define INCLUDES "<a/><esi:include src=\"/inc\"/>B"
static const char *const including_pages[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" INCLUDES,
    "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[hello]", NULL};
static const char *const pages[] = {PAGE, OTHER_ANSWER, OTHER_ANSWER, NULL};

static bool has(const struct got *got, const char *line)
{
    return strstr(got->head, line) != NULL;
}

static void expect_page(struct rig *rig, const char *url, const char *body)
{
    struct got got = rig_get(rig, url, NULL);
    assert_int_equal(got.rc, RC_OK);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body, body);
}

static void looking(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    assert_null(kv_test_get(&s, "http://h/p"));
    assert_int_equal(rig_asked(arg), 0);
    expect_page(arg, "/p?q", "hello");
    assert_string_equal(kv_test_get(&s, "http://h/p?q"), "hello");
    assert_string_equal(kv_test_get(&s, "https://h/p?q"), "hello");
    assert_string_equal(kv_test_get(&s, "//H/p?q"), "hello");
    assert_null(kv_test_get(&s, "//h/p"));
    assert_null(kv_test_get(&s, "//other/p?q"));
    const struct kv_get whole = {.key = STR("//h/p?q"), .wants_whole = true};
    struct kv_item item;
    assert_int_equal(kv_get(&s, &whole, &item), RC_OK);
    assert_int_equal(item.flags, KV_WHOLE);
    assert_in_range(item.ttl_s, 90, 100);
    const char *text = kv_test_body(&s, &item);
    assert_memory_equal(text, "HTTP/1.1 200 OK\r\n", 17);
    assert_non_null(strstr(text, "\r\nX-Keep: yes\r\n"));
    assert_non_null(strstr(text, "\r\nContent-Length: 5\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\nhello");
    assert_int_equal(rig_asked(arg), 1);
    static const char *const bad[] = {"//",       "///",    "http:///x",        "//h/a b",
                                      "//h/\x01", "//h h/", "http://h/\r\nX: y"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const struct kv_get ask = {.key = str_of(bad[i])};
        assert_int_equal(kv_get(&s, &ask, &item), kv_is_url(ask.key) ? RC_MALFORMED : RC_NOT_FOUND);
    }
    size_t len = KV_URL_MAX + 1;
    char *url = xmalloc(len);
    memset(url, 'a', len);
    memcpy(url, "//h/", 4);
    const struct kv_get ask = {.key = {url, len}};
    assert_int_equal(kv_get(&s, &ask, &item), RC_TOO_LONG);
    const struct kv_get most = {.key = {url, len - 1}};
    assert_int_equal(kv_get(&s, &most, &item), RC_NOT_FOUND);
    free(url);
}

/* The page keeps its fields, but those that say which body it is. */
static void pushing(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    expect_page(arg, "/p", "hello");
    uint64_t cas = kv_test_cas(&s, "//h/p");
    uint64_t other = cas + 1;
    assert_int_equal(kv_test_put(&s, KV_SET, "//h/p", "x", &other), RC_EXISTS);
    assert_int_equal(kv_test_put(&s, KV_SET, "//h/p", "pushed it", &cas), RC_OK);
    assert_int_equal(kv_test_cas(&s, "//h/p"), cas);
    struct got got = rig_get(arg, "/p", NULL);
    assert_string_equal(got.body, "pushed it");
    assert_true(has(&got, "X-Keep: yes\n"));
    assert_true(has(&got, "Content-Type: text/plain\n"));
    assert_true(has(&got, "Cache-Control: max-age=100\n"));
    assert_true(has(&got, "ETag: \""));
    assert_true(has(&got, "Age: 0\n"));
    assert_true(has(&got, "Expires: "));
    assert_false(has(&got, "1994"));
    assert_false(has(&got, "\"old\""));
    assert_false(has(&got, "Content-MD5"));
    const char *etag = strstr(got.head, "ETag: ");
    char field[100];
    (void)snprintf(field, sizeof field, "If-None-Match:%.*s", (int)strcspn(etag + 5, "\n"),
                   etag + 5);
    const char *const fields[] = {field, NULL};
    assert_int_equal(rig_get(arg, "/p", fields).status, 304);
    assert_int_equal(kv_test_set(&s, "//h/p", "once more"), RC_OK);
    got = rig_get(arg, "/p", fields);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body, "once more");
    uint64_t none = 0;
    assert_int_equal(kv_test_put(&s, KV_ADD, "//h/p", "x", &none), RC_EXISTS);
    assert_int_equal(kv_test_put(&s, KV_REPLACE, "//h/p", "replaced", &none), RC_OK);
    assert_int_equal(kv_test_set(&s, "//h/p", ""), RC_OK);
    expect_page(arg, "/p", "");
    assert_int_equal(kv_test_put(&s, KV_APPEND, "//h/p", "x", &none), RC_UNSUPPORTED);
    struct kv_arith up = {.key = STR("//h/p"), .delta = 1};
    assert_int_equal(kv_arith(&s, &up), RC_UNSUPPORTED);
    assert_int_equal(rig_asked(arg), 1);
}

/* What was not there is made. */
static void preloading(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    uint64_t cas = 0;
    assert_int_equal(kv_test_put(&s, KV_REPLACE, "//h/p", "x", &cas), RC_NOT_FOUND);
    uint64_t some = 9;
    assert_int_equal(kv_test_put(&s, KV_SET, "//h/p", "x", &some), RC_NOT_FOUND);
    assert_int_equal(kv_test_put(&s, KV_ADD, "//h/p", "first", &cas), RC_OK);
    struct got got = rig_get(arg, "/p", NULL);
    assert_string_equal(got.body, "first");
    assert_true(has(&got, "Content-Type: text/html; charset=utf-8\n"));
    assert_true(has(&got, "ETag: \""));
    assert_true(has(&got, "Last-Modified: "));
    assert_int_equal(rig_asked(arg), 0);
    const struct kv_value longer = {.key = STR("//h/p"), .len = 1, .exptime = 500};
    assert_int_equal(kv_store(&s, &longer, "x", &cas), RC_OK);
    const struct kv_get ask = {.key = STR("//h/p")};
    struct kv_item item;
    assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
    assert_in_range(item.ttl_s, 495, 500);
    kv_release(&item);
    const struct kv_value past = {.key = STR("//h/p"), .len = 1, .exptime = -1};
    assert_int_equal(kv_store(&s, &past, "x", &cas), RC_OK);
    assert_null(kv_test_get(&s, "//h/p"));
}

/* What stands for a page that is not there is no page to keep fields of. */
static void over_a_404(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    assert_int_equal(rig_get(arg, "/p", NULL).status, 404);
    assert_string_equal(kv_test_get(&s, "//h/p"), "gone");
    assert_int_equal(kv_test_set(&s, "//h/p", "here"), RC_OK);
    expect_page(arg, "/p", "here");
}

static enum rc push_whole(struct kv_session *s, const char *key, const char *text)
{
    uint64_t cas;
    const struct kv_value value = {.key = str_of(key), .flags = KV_WHOLE | 3, .len = strlen(text)};
    return kv_store(s, &value, text, &cas);
}

static void whole_responses(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    assert_int_equal(push_whole(&s, "//h/p",
                                "HTTP/1.1 203 Mine\r\nX-Own: 1\r\nContent-Type: a/b\r\n"
                                "Cache-Control: max-age=77\r\nConnection: close\r\n\r\nbody"),
                     RC_OK);
    struct got got = rig_get(arg, "/p", NULL);
    assert_int_equal(got.status, 203);
    assert_string_equal(got.body, "body");
    assert_true(has(&got, "X-Own: 1\n"));
    assert_false(has(&got, "Connection"));
    const struct kv_get ask = {.key = STR("//h/p")};
    struct kv_item item;
    assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
    assert_int_equal(item.flags, 3);
    assert_in_range(item.ttl_s, 70, 77);
    assert_string_equal(kv_test_body(&s, &item), "body");
    assert_int_equal(push_whole(&s, "//h/p",
                                "HTTP/1.1 301 Moved\r\nLocation: /x\r\n"
                                "Content-Length: 0\r\n\r\n"),
                     RC_OK);
    assert_int_equal(rig_get(arg, "/p", NULL).status, 301);
    static const char *const bad[] = {
        "",
        "x",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 206 Partial\r\n\r\nx",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 204 None\r\n\r\nbody",
        "HTTP/1.1 200 OK\nX: y\n\nbody",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nVary: *\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nVary: a b\r\n\r\nx",
        "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: 1\r\n B: 2\r\n\r\nx",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(push_whole(&s, "//h/p", bad[i]), RC_MALFORMED);
        assert_string_not_equal(s.why, "");
    }
    assert_int_equal(rig_get(arg, "/p", NULL).status, 301);
    assert_int_equal(rig_asked(arg), 0);
    /* To a plain entry the flag means nothing. */
    assert_int_equal(push_whole(&s, "plain", "x"), RC_OK);
    assert_string_equal(kv_test_get(&s, "plain"), "x");
}

/* Nobody shall get what was made for others. */
static void varying(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    static const char *const german[] = {"X-Lang: de", NULL};
    static const char *const french[] = {"X-Lang: fr", NULL};
    assert_string_equal(rig_get(arg, "/p", german).body, "hello");
    assert_string_equal(rig_get(arg, "/p", NULL).body, "other");
    assert_string_equal(kv_test_get(&s, "//h/p"), "other");
    uint64_t cas = kv_test_cas(&s, "//h/p");
    uint64_t first = cas;
    assert_int_equal(kv_test_set(&s, "//h/p", "x"), RC_UNSUPPORTED);
    assert_int_equal(kv_test_put(&s, KV_SET, "//h/p", "x", &cas), RC_UNSUPPORTED);
    assert_int_equal(push_whole(&s, "//h/p", "HTTP/1.1 200 OK\r\n\r\nx"), RC_UNSUPPORTED);
    assert_string_equal(rig_get(arg, "/p", german).body, "hello");
    /* One that says by what it varies; all others go with it. */
    assert_int_equal(push_whole(&s, "//h/p", "HTTP/1.1 200 OK\r\nVary: X-Lang\r\n\r\nnone"), RC_OK);
    assert_true(kv_test_cas(&s, "//h/p") > first);
    assert_string_equal(rig_get(arg, "/p", NULL).body, "none");
    assert_string_equal(rig_get(arg, "/p", french).body, "third");
    assert_string_equal(rig_get(arg, "/p", german).body, "forth");
    assert_int_equal(rig_asked(arg), 4);
    /* What came by a fetch changes the number. */
    cas = first;
    assert_int_equal(kv_test_put(&s, KV_SET, "//h/p", "x", &cas), RC_EXISTS);
    struct kv_delete gone = {.key = STR("//h/p")};
    assert_int_equal(kv_delete(&s, &gone), RC_OK);
    assert_int_equal(kv_test_set(&s, "//h/p", "for all"), RC_OK);
    assert_string_equal(rig_get(arg, "/p", german).body, "for all");
}

static void ending(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    struct kv_delete gone = {.key = STR("//h/p")};
    assert_int_equal(kv_delete(&s, &gone), RC_NOT_FOUND);
    expect_page(arg, "/p", "hello");
    gone.cas = 999999;
    assert_int_equal(kv_delete(&s, &gone), RC_EXISTS);
    gone.cas = kv_test_cas(&s, "//h/p");
    assert_int_equal(kv_delete(&s, &gone), RC_OK);
    assert_null(kv_test_get(&s, "//h/p"));
    expect_page(arg, "/p", "other");
    assert_int_equal(rig_asked(arg), 2);
    /* Invalidated it is stale: answered with once more, while it is fetched. */
    struct kv_delete stale = {.key = STR("//h/p"), .invalidates = true};
    assert_int_equal(kv_delete(&s, &stale), RC_OK);
    const struct kv_get ask = {.key = STR("//h/p")};
    struct kv_item item;
    assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
    assert_int_equal(item.ttl_s, 0);
    assert_true(item.is_stale && item.has_won);
    kv_release(&item);
    assert_int_equal(kv_touch(&s, STR("//h/p"), 1000), RC_OK);
    assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
    assert_in_range(item.ttl_s, 995, 1000);
    kv_release(&item);
    struct kv_delete empty = {.key = STR("//h/p"), .empties = true};
    assert_int_equal(kv_delete(&s, &empty), RC_UNSUPPORTED);
    assert_int_equal(kv_touch(&s, STR("//h/none"), 10), RC_NOT_FOUND);
}

/* ---- encodings ---- */

static void pack_it(struct request *req, struct fetch *f)
{
    assert_null(req);
    f->do_gzip = true;
}

/* A body that is packed is found in the clear, and the next one is packed as well. */
static void packing(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    static const char *const takes_gzip[] = {"Accept-Encoding: gzip", NULL};
    struct got got = rig_get(arg, "/p", takes_gzip);
    assert_true(has(&got, "Content-Encoding: gzip\n"));
    assert_string_equal(kv_test_get(&s, "//h/p"), "hello");
    uint64_t cas = kv_test_cas(&s, "//h/p");
    assert_int_equal(kv_test_put(&s, KV_SET, "//h/p", "pushed pushed pushed pushed", &cas), RC_OK);
    assert_string_equal(kv_test_get(&s, "//h/p"), "pushed pushed pushed pushed");
    assert_int_equal(kv_test_cas(&s, "//h/p"), cas);
    got = rig_get(arg, "/p", takes_gzip);
    assert_true(has(&got, "Content-Encoding: gzip\n"));
    assert_true(has(&got, "Vary: Accept-Encoding\n"));
    assert_true(has(&got, "ETag: W/\""));
    assert_memory_equal(got.body, "\x1f\x8b", 2);
    assert_true(got.body_len < 50);
    got = rig_get(arg, "/p", NULL);
    assert_false(has(&got, "Content-Encoding"));
    assert_string_equal(got.body, "pushed pushed pushed pushed");
    /* As a whole it is as it is stored; and can be put elsewhere so. */
    const struct kv_get whole = {.key = STR("//h/p"), .wants_whole = true};
    struct kv_item item;
    char value[2000];
    uint64_t other;
    assert_int_equal(kv_get(&s, &whole, &item), RC_OK);
    size_t len = item.head.len + (size_t)item.len;
    assert_true(len < sizeof value);
    memcpy(value, kv_test_body(&s, &item), len);
    const struct kv_value copy = {.key = STR("//h/copy"), .flags = KV_WHOLE, .len = len};
    assert_int_equal(kv_store(&s, &copy, value, &other), RC_OK);
    expect_page(arg, "/copy", "pushed pushed pushed pushed");
    got = rig_get(arg, "/copy", takes_gzip);
    assert_true(has(&got, "Content-Encoding: gzip\n"));
    value[len - 6] ^= 1; /* its checksum */
    assert_int_equal(kv_store(&s, &copy, value, &other), RC_MALFORMED);
    assert_string_not_equal(s.why, "");
    expect_page(arg, "/copy", "pushed pushed pushed pushed");
    /* Without a body there is nothing to pack. */
    assert_int_equal(kv_test_set(&s, "//h/p", ""), RC_OK);
    got = rig_get(arg, "/p", takes_gzip);
    assert_false(has(&got, "Content-Encoding"));
    assert_int_equal(rig_asked(arg), 1);
}

/* A page with includes has them still. */
static void including(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    expect_page(arg, "/p", "<a/>[hello]B");
    assert_string_equal(kv_test_get(&s, "//h/p"), INCLUDES);
    assert_int_equal(kv_test_set(&s, "//h/p", "<c/><esi:include src=\"/inc\"/>D"), RC_OK);
    expect_page(arg, "/p", "<c/>[hello]D");
    /* Also without any, and again. */
    assert_int_equal(kv_test_set(&s, "//h/p", "plain"), RC_OK);
    expect_page(arg, "/p", "plain");
    assert_int_equal(rig_asked(arg), 2);
}

static void esi_it(struct request *req, struct fetch *f)
{
    assert_null(req);
    f->do_esi = true;
}

/* ---- what the policy says ---- */

static void see_command(struct request *req, struct fetch *f)
{
    assert_null(f);
    assert_string_equal(str_eq(req->mc_command, STR("set")) ? "set" : "?", "set");
    assert_true(str_eq(req->user, STR("alice")));
    assert_true(str_eq(req->client_addr, STR("192.0.2.1")));
    assert_int_equal(http_set_url(req->http, STR("/normal")), RC_OK);
}

static void refusals(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    s.user = STR("alice");
    assert_int_equal(kv_test_set(&s, "//h/p", "x"), RC_DENIED);
    assert_int_equal(s.why_status, 403);
    assert_string_equal(s.why, "403 not you");
    assert_int_equal(kv_test_set(&s, "//h/p", "x"), RC_DENIED);
    assert_string_equal(s.why, "403 The policy does not cache it");
    assert_int_equal(kv_test_set(&s, "//h/p", "x"), RC_DENIED);
    assert_string_equal(s.why, "403 The policy purges it");
    assert_int_equal(kv_test_set(&s, "//h/p", "x"), RC_DENIED);
    assert_string_equal(s.why, "503 VCL failed");
    /* A restart asks again, and normalises. */
    assert_int_equal(kv_test_set(&s, "//h/p", "x"), RC_OK);
    assert_string_equal(s.why, "");
    expect_page(arg, "/normal", "x");
}

static void in_the_log(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    s.vxid = 4711;
    s.user = STR("bob");
    assert_int_equal(kv_test_set(&s, "//h/p", "x"), RC_OK);
    assert_string_equal(kv_test_get(&s, "//h/p"), "x");
    struct kv_delete gone = {.key = STR("//h/p")};
    assert_int_equal(kv_delete(&s, &gone), RC_OK);
    assert_int_equal(kv_delete(&s, &gone), RC_NOT_FOUND);
    const struct vsc_objm *n = rig_objm(arg);
    assert_int_equal(n->kv_delete_hits, 1);
    assert_int_equal(n->kv_delete_misses, 1);
    assert_int_equal(rig_main(arg)->n_purges, 2);
}

/* ---- what comes while a page is fetched ---- */

static struct kv_session *meanwhile;

static void set_meanwhile(struct request *req, struct fetch *f)
{
    (void)req;
    (void)f;
    assert_int_equal(kv_test_set(meanwhile, "//h/p", "pushed"), RC_OK);
}

static void delete_meanwhile(struct request *req, struct fetch *f)
{
    (void)req;
    (void)f;
    struct kv_delete gone = {.key = STR("//h/p")};
    enum rc rc = kv_delete(meanwhile, &gone);
    assert_true(rc == RC_OK || rc == RC_NOT_FOUND);
}

static void cas_meanwhile(struct request *req, struct fetch *f)
{
    (void)req;
    (void)f;
    uint64_t cas = kv_test_cas(meanwhile, "//h/p");
    assert_int_equal(kv_test_put(meanwhile, KV_SET, "//h/p", "pushed", &cas), RC_OK);
}

/* The fetch answers its own client, and is never found. */
static void set_then_answered(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    meanwhile = &s;
    expect_page(arg, "/p", "hello");
    assert_string_equal(kv_test_get(&s, "//h/p"), "pushed");
    expect_page(arg, "/p", "pushed");
    assert_int_equal(rig_asked(arg), 1);
    assert_int_equal(rig_objm(arg)->fetch_stale, 1);
}

static void set_then_retried(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    meanwhile = &s;
    expect_page(arg, "/p", "other");
    expect_page(arg, "/p", "pushed");
    assert_int_equal(rig_asked(arg), 2);
}

static void deleted_then_answered(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    meanwhile = &s;
    expect_page(arg, "/p", "hello");
    assert_null(kv_test_get(&s, "//h/p"));
    expect_page(arg, "/p", "other");
    assert_int_equal(rig_asked(arg), 2);
}

/* A refresh that says "not modified" does not bring the old page back. */
static void cas_then_304(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    meanwhile = &s;
    expect_page(arg, "/p", "hello");
    struct kv_delete stale = {.key = STR("//h/p"), .invalidates = true};
    assert_int_equal(kv_delete(&s, &stale), RC_OK);
    expect_page(arg, "/p", "hello"); /* stale; and fetched in the background */
    rig_settle(arg);
    assert_int_equal(rig_asked(arg), 2);
    assert_non_null(strstr(rig_last_request(arg), "If-None-Match: \"old\""));
    assert_string_equal(kv_test_get(&s, "//h/p"), "pushed");
    expect_page(arg, "/p", "pushed");
}

/* ---- running them ---- */

static const char *const varied[] = {
    VARIED, "HTTP/1.1 200 OK\r\nVary: X-Lang\r\nContent-Length: 5\r\n\r\nother",
    "HTTP/1.1 200 OK\r\nVary: X-Lang\r\nContent-Length: 5\r\n\r\nthird",
    "HTTP/1.1 200 OK\r\nVary: X-Lang\r\nContent-Length: 5\r\n\r\nforth", NULL};
static const char *const missing[] = {NOT_FOUND, NULL};
static const char *const unmodified[] = {PAGE, NOT_MODIFIED, NULL};
static const struct line denying[] = {
    {.hook = HOOK_RECV, .verdict = SAYS_STATUS(SYNTH, 403, "not you")},
    {.hook = HOOK_RECV, .verdict = SAYS(PASS)},
    {.hook = HOOK_RECV, .verdict = SAYS(PURGE)},
    {.hook = HOOK_RECV, .verdict = SAYS(FAIL)},
    {.hook = HOOK_RECV, .verdict = SAYS(RESTART), .also = see_command},
    END_OF_SCRIPT};
static const struct line packed[] = {
    {.hook = HOOK_BACKEND_RESPONSE, .verdict = SAYS(DELIVER), .also = pack_it}, END_OF_SCRIPT};
static const struct line with_esi[] = {
    {.hook = HOOK_BACKEND_RESPONSE, .verdict = SAYS(DELIVER), .also = esi_it}, END_OF_SCRIPT};
static const struct line setting[] = {
    {.hook = HOOK_BACKEND_RESPONSE, .verdict = SAYS(DELIVER), .also = set_meanwhile},
    END_OF_SCRIPT};
static const struct line retrying[] = {
    {.hook = HOOK_BACKEND_RESPONSE, .verdict = SAYS(RETRY), .also = set_meanwhile}, END_OF_SCRIPT};
static const struct line deleting[] = {
    {.hook = HOOK_BACKEND_RESPONSE, .verdict = SAYS(DELIVER), .also = delete_meanwhile},
    END_OF_SCRIPT};
static const struct line swapping[] = {
    {.hook = HOOK_BACKEND_RESPONSE, .verdict = SAYS(DELIVER)},
    {.hook = HOOK_BACKEND_RESPONSE, .verdict = SAYS(DELIVER), .also = cas_meanwhile},
    END_OF_SCRIPT};

#define TEST(name, fn_, script_, answers_)                                                         \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        const struct act act = {.script = script_, .answers = answers_, .fn = fn_};                \
        rig_run(&act);                                                                             \
    }
TEST(pages_are_found, looking, NULL, pages)
TEST(a_body_is_pushed_under_a_page, pushing, NULL, pages)
TEST(a_page_is_preloaded, preloading, NULL, pages)
TEST(a_page_takes_the_place_of_an_error, over_a_404, NULL, missing)
TEST(whole_responses_are_pushed, whole_responses, NULL, pages)
TEST(what_varies_is_not_pushed_over, varying, NULL, varied)
TEST(deleting_is_purging, ending, NULL, pages)
TEST(bodies_are_packed_as_before, packing, packed, two_answers)
TEST(includes_are_found_again, including, with_esi, including_pages)
TEST(the_policy_may_refuse, refusals, denying, no_answers)
TEST(a_set_outdates_a_fetch, set_then_answered, setting, two_answers)
TEST(a_set_outdates_a_retry, set_then_retried, retrying, two_answers)
TEST(a_delete_outdates_a_fetch, deleted_then_answered, deleting, two_answers)
TEST(a_cas_outdates_a_304, cas_then_304, swapping, unmodified)

static void commands_are_logged(void **state)
{
    (void)state;
    const struct act act = {.fn = in_the_log, .answers = no_answers};
    static const char *const records[] = {"Link req ",
                                          "Begin req 4711 rxreq",
                                          "Timestamp Start:",
                                          "VCL_use script",
                                          "ReqStart 192.0.2.1 1234 mc",
                                          "ReqMethod GET",
                                          "ReqURL /p",
                                          "ReqHeader Host: h",
                                          "VCL_Log memcached:set",
                                          "VCL_Log user:bob",
                                          "VCL_call RECV",
                                          "RespStatus 200",
                                          "Timestamp Resp:",
                                          "End",
                                          "VCL_Log memcached:get",
                                          "Hit",
                                          "End",
                                          "VCL_Log memcached:delete",
                                          "RespStatus 200",
                                          "RespStatus 404",
                                          "RespReason not found",
                                          NULL};
    rig_run(&act);
    assert_true(rig_log_has(records));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_found),
        cmocka_unit_test(a_body_is_pushed_under_a_page),
        cmocka_unit_test(a_page_is_preloaded),
        cmocka_unit_test(a_page_takes_the_place_of_an_error),
        cmocka_unit_test(whole_responses_are_pushed),
        cmocka_unit_test(what_varies_is_not_pushed_over),
        cmocka_unit_test(deleting_is_purging),
        cmocka_unit_test(bodies_are_packed_as_before),
        cmocka_unit_test(includes_are_found_again),
        cmocka_unit_test(the_policy_may_refuse),
        cmocka_unit_test(a_set_outdates_a_fetch),
        cmocka_unit_test(a_set_outdates_a_retry),
        cmocka_unit_test(a_delete_outdates_a_fetch),
        cmocka_unit_test(a_cas_outdates_a_304),
        cmocka_unit_test(commands_are_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
