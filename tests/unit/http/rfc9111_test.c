/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What RFC 9111 lets a shared cache store and reuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "http/http_rfc9111.h"

enum { CAP = 8 };

struct head {
    struct http_hdr table[CAP];
    struct http h;
};

static struct http *fill(struct head *head, const char *const *fields)
{
    http_init(&head->h, head->table, CAP);
    for (; fields != NULL && fields[0] != NULL; fields += 2) {
        assert_int_equal(http_add_name(&head->h, str_of(fields[0]), str_of(fields[1])), RC_OK);
    }
    return &head->h;
}

static struct http *request(struct head *head, const char *const *fields)
{
    fill(head, fields);
    assert_int_equal(http_set_method(&head->h, STR("GET")), RC_OK);
    return &head->h;
}

static struct http *response(struct head *head, unsigned status, const char *const *fields)
{
    fill(head, fields);
    http_set_status(&head->h, status);
    return &head->h;
}

#define T0 784111777
#define DATE_T0 "Sun, 06 Nov 1994 08:49:37 GMT"
#define T0_PLUS_100 "Sun, 06 Nov 1994 08:51:17 GMT"
#define T0_PLUS_50 "Sun, 06 Nov 1994 08:50:27 GMT"
#define T0_MINUS_100 "Sun, 06 Nov 1994 08:47:57 GMT"
#define T0_MINUS_1000 "Sun, 06 Nov 1994 08:32:57 GMT"
#define CC "Cache-Control"
#define KEEP_S 3600

/* Defaults: ttl 120, keep 7. */
static struct http_9111_object stored(unsigned status, const char *const *fields,
                                      const char *const *req_fields, uint64_t delay_s)
{
    struct head req;
    struct head resp;
    const struct http_9111_fetch fetch = {
        .req = request(&req, req_fields),
        .resp = response(&resp, status, fields),
        .request_ns = (T0 - delay_s) * NS_PER_S,
        .response_ns = T0 * NS_PER_S,
        .default_ttl_ns = 120 * NS_PER_S,
        .default_keep_ns = 7 * NS_PER_S,
    };
    struct http_9111_object object;
    http_9111_store(&fetch, &object);
    return object;
}

static void what_may_be_stored(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *fields[7];
        const char *req[3];
        const char *why_not;
    } cases[] = {
        {200, {NULL}, {NULL}, NULL},
        {200, {CC, "max-age=5"}, {NULL}, NULL},
        {200, {CC, "no-store, max-age=5"}, {NULL}, "no-store"},
        {200, {CC, "x=\"no-store\""}, {NULL}, NULL},
        {200, {CC, "private"}, {NULL}, "private"},
        {200, {CC, "private=\"x-a\""}, {NULL}, NULL},
        {200, {CC, "private=x-a"}, {NULL}, NULL},
        {200, {CC, "private=\"\""}, {NULL}, "private"},
        {200, {CC, "private=\"x-a, vary\""}, {NULL}, "private"},
        {200, {CC, "private=\"x-a, b c\""}, {NULL}, "private"},
        {200, {CC, "private=\"x-a\", private"}, {NULL}, "private"},
        {200, {"Set-Cookie", "a=b"}, {NULL}, NULL},
        {200, {"Vary", "a, *"}, {NULL}, "Vary"},
        {200, {NULL}, {CC, "no-store"}, "no-store of the request"},
        {206, {CC, "max-age=5"}, {NULL}, "status"},
        {304, {CC, "max-age=5"}, {NULL}, "status"},
        {302, {NULL}, {NULL}, "status without a lifetime"},
        {302, {CC, "public"}, {NULL}, NULL},
        {302, {CC, "max-age=5"}, {NULL}, NULL},
        {302, {"Expires", T0_PLUS_100}, {NULL}, NULL},
        {302, {"Expires", "0"}, {NULL}, "stale, and nothing to validate it with"},
        {302, {"Expires", "0", "ETag", "\"1\""}, {NULL}, NULL},
        {500, {NULL}, {NULL}, "status without a lifetime"},
        {500, {CC, "max-age=5"}, {NULL}, NULL},
        {308, {NULL}, {NULL}, NULL},
        {405, {NULL}, {NULL}, NULL},
        {501, {NULL}, {NULL}, NULL},
        {599, {CC, "max-age=5"}, {NULL}, NULL},
        {599, {CC, "max-age=5, must-understand"}, {NULL}, "must-understand"},
        {200, {CC, "no-store, must-understand, max-age=5"}, {NULL}, NULL},
        {599, {CC, "no-store, must-understand, max-age=5"}, {NULL}, "must-understand"},
        {200, {CC, "max-age=5"}, {"Authorization", "x"}, "Authorization"},
        {200, {CC, "max-age=5, public"}, {"Authorization", "x"}, NULL},
        {200, {CC, "s-maxage=5"}, {"Authorization", "x"}, NULL},
        {200, {CC, "max-age=5, must-revalidate"}, {"Authorization", "x"}, NULL},
        {200, {CC, "max-age=5, proxy-revalidate"}, {"Authorization", "x"}, "Authorization"},
        {200, {CC, "no-cache"}, {NULL}, "stale, and nothing to validate it with"},
        {200, {CC, "no-cache", "ETag", "\"1\""}, {NULL}, NULL},
        {200, {CC, "no-cache", "Last-Modified", DATE_T0}, {NULL}, NULL},
        {200,
         {CC, "no-cache", "Last-Modified", "x"},
         {NULL},
         "stale, and nothing to validate it with"},
        {200, {CC, "max-age=5", "Age", "5"}, {NULL}, "stale, and nothing to validate it with"},
        {200, {CC, "max-age=5, stale-while-revalidate=9", "Age", "5"}, {NULL}, NULL},
        {200, {CC, "max-age=5, stale-if-error=9", "Age", "5"}, {NULL}, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_9111_object got = stored(cases[i].status, cases[i].fields, cases[i].req, 0);
        if (!str_eq(str_of(got.why_not), str_of(cases[i].why_not))) {
            fail_msg("case %zu: %s", i, got.why_not == NULL ? "stored" : got.why_not);
        }
    }
}

static void only_a_get_is_stored(void **state)
{
    (void)state;
    struct head req;
    struct head resp;
    const struct http_9111_fetch fetch = {
        .req = request(&req, NULL),
        .resp = response(&resp, 200, (const char *const[]){CC, "public, max-age=5", NULL}),
        .response_ns = T0 * NS_PER_S,
        .request_ns = T0 * NS_PER_S,
    };
    assert_int_equal(http_set_method(&req.h, STR("POST")), RC_OK);
    struct http_9111_object object;
    http_9111_store(&fetch, &object);
    assert_string_equal(object.why_not, "method");
}

static void lifetimes(void **state)
{
    (void)state;
    static const struct {
        const char *fields[9];
        uint64_t ttl_s;
        uint64_t grace_s;
        uint64_t keep_s;
        bool is_stale_forbidden;
    } cases[] = {
        {{CC, "max-age=5"}, 5, 0, 7, false},
        {{CC, "max-age=\"5\""}, 5, 0, 7, false},
        {{CC, "MAX-AGE=5"}, 5, 0, 7, false},
        {{CC, "max-age=x"}, 0, 0, 7, false},
        {{CC, "max-age=5.5"}, 0, 0, 7, false},
        {{CC, "max-age=+5"}, 0, 0, 7, false},
        {{CC, "max-age"}, 0, 0, 7, false},
        {{CC, "max-age=9, max-age=5"}, 5, 0, 7, false},
        {{CC, "max-age=5", CC, "max-age=9"}, 5, 0, 7, false},
        {{CC, "max-age=2147483647"}, 2147483647, 0, 7, false},
        {{CC, "max-age=2147483648"}, 2147483648, 0, 7, false},
        {{CC, "max-age=99999999999999999999"}, 2147483648, 0, 7, false},
        {{CC, "max-age=5, s-maxage=9"}, 9, 0, 7, true},
        {{CC, "s-maxage=3, max-age=5"}, 3, 0, 7, true},
        {{CC, "s-maxage=x, max-age=5"}, 0, 0, 7, true},
        {{CC, "max-age=5", "Expires", T0_PLUS_100}, 5, 0, 7, false},
        {{"Expires", T0_PLUS_100, "Date", DATE_T0}, 100, 0, 7, false},
        {{"Expires", T0_PLUS_100, "Date", T0_MINUS_100}, 200, 0, 7, false},
        {{"Expires", T0_PLUS_100, "Date", "x"}, 100, 0, 7, false},
        {{"Expires", T0_PLUS_100}, 100, 0, 7, false},
        {{"Expires", T0_PLUS_100, "Expires", T0_PLUS_50}, 50, 0, 7, false},
        {{"Expires", T0_PLUS_100, "Expires", "x"}, 0, 0, 7, false},
        {{"Expires", DATE_T0, "Date", DATE_T0}, 0, 0, 7, false},
        {{"Expires", "0"}, 0, 0, 7, false},
        {{"Expires", "-1"}, 0, 0, 7, false},
        {{"Expires", ""}, 0, 0, 7, false},
        {{"Expires", "2040-11-06T08:49:37"}, 0, 0, 7, false},
        {{"Expires", "Sunday, 06-Nov-94 08:51:17 GMT"}, 100, 0, 7, false},
        {{"Expires", "Sun Nov  6 08:51:17 1994"}, 100, 0, 7, false},
        {{"Expires", "Thu, 01 Jan 1970 00:00:00 GMT"}, 0, 0, 7, false},
        {{"Expires", "Fri, 31 Dec 9999 23:59:59 GMT"}, 2147483648, 0, 7, false},
        {{NULL}, 120, 0, 7, false},
        {{"Last-Modified", T0_MINUS_1000}, 100, 0, KEEP_S, false},
        {{"Last-Modified", T0_MINUS_1000, "Date", T0_PLUS_100}, 110, 0, KEEP_S, false},
        {{"Last-Modified", T0_PLUS_100}, 0, 0, KEEP_S, false},
        {{"Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"}, 86400, 0, KEEP_S, false},
        {{"Last-Modified", "x"}, 120, 0, 7, false},
        {{CC, "max-age=5", "ETag", "\"1\""}, 5, 0, KEEP_S, false},
        {{CC, "no-cache, max-age=5", "ETag", "\"1\""}, 0, 0, KEEP_S, true},
        {{CC, "no-cache=\"x-a\", max-age=5"}, 5, 0, 7, false},
        {{CC, "no-cache=\"etag\", max-age=5", "ETag", "\"1\""}, 0, 0, KEEP_S, true},
        {{CC, "max-age=5, stale-while-revalidate=9"}, 5, 9, 7, false},
        {{CC, "max-age=5, stale-while-revalidate=x"}, 5, 0, 7, false},
        {{CC, "max-age=5, stale-while-revalidate=9, must-revalidate"}, 5, 0, 7, true},
        {{CC, "max-age=5, stale-while-revalidate=9, proxy-revalidate"}, 5, 0, 7, true},
        {{CC, "s-maxage=5, stale-while-revalidate=9"}, 5, 0, 7, true},
        {{CC, "max-age=5, stale-if-error=100"}, 5, 0, 100, false},
        {{CC, "max-age=5, stale-while-revalidate=40, stale-if-error=100"}, 5, 40, 60, false},
        {{CC, "max-age=5, stale-if-error=100, must-revalidate"}, 5, 0, 7, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_9111_object got = stored(200, cases[i].fields, NULL, 0);
        if (got.ttl_ns != cases[i].ttl_s * NS_PER_S ||
            got.grace_ns != cases[i].grace_s * NS_PER_S ||
            got.keep_ns != cases[i].keep_s * NS_PER_S ||
            got.is_stale_forbidden != cases[i].is_stale_forbidden) {
            fail_msg("case %zu: %llu %llu %llu %d", i, (unsigned long long)(got.ttl_ns / NS_PER_S),
                     (unsigned long long)(got.grace_ns / NS_PER_S),
                     (unsigned long long)(got.keep_ns / NS_PER_S), got.is_stale_forbidden);
        }
    }
}

static void ages(void **state)
{
    (void)state;
    static const struct {
        const char *fields[5];
        uint64_t delay_s;
        uint64_t age_s;
    } cases[] = {
        {{NULL}, 0, 0},
        {{NULL}, 3, 3},
        {{"Date", DATE_T0}, 0, 0},
        {{"Date", T0_PLUS_100}, 0, 0},
        {{"Date", T0_MINUS_100}, 0, 100},
        {{"Date", T0_MINUS_100}, 3, 100},
        {{"Date", T0_MINUS_100, "Age", "50"}, 3, 100},
        {{"Date", T0_MINUS_100, "Age", "150"}, 3, 153},
        {{"Date", DATE_T0, "Age", "50"}, 0, 50},
        {{"Date", "x", "Age", "50"}, 2, 52},
        {{"Age", "50, 90"}, 0, 50},
        {{"Age", "50", "Age", "90"}, 0, 50},
        {{"Age", "-5"}, 0, 0},
        {{"Age", "5x"}, 0, 0},
        {{"Age", "5.5"}, 0, 0},
        {{"Age", ""}, 0, 0},
        {{"Age", "784111777"}, 0, T0},
        {{"Age", "99999999999999"}, 5, T0},
        {{"Date", "Mon, 01 Jan 1900 00:00:00 GMT"}, 0, T0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_9111_object got = stored(200, cases[i].fields, NULL, cases[i].delay_s);
        if (got.origin_ns != (T0 - cases[i].age_s) * NS_PER_S) {
            fail_msg("case %zu: %llu", i, (unsigned long long)(T0 - got.origin_ns / NS_PER_S));
        }
    }
}

static void fields_that_are_left_out(void **state)
{
    (void)state;
    struct head head;
    struct http_cc cc;
    http_cc_parse(
        response(&head, 200,
                 (const char *const[]){CC, "private=\"X-A , x-b\", no-cache=\"x-c\"", NULL}),
        &cc);
    assert_true(http_9111_is_withheld(&cc, STR("x-a")));
    assert_true(http_9111_is_withheld(&cc, STR("X-B")));
    assert_true(http_9111_is_withheld(&cc, STR("x-c")));
    assert_false(http_9111_is_withheld(&cc, STR("x-d")));
    http_cc_parse(response(&head, 200, (const char *const[]){CC, "private=\"vary, x-a\"", NULL}),
                  &cc);
    assert_false(http_9111_is_withheld(&cc, STR("x-a")));
}

static void what_requests_ask(void **state)
{
    (void)state;
    struct head head;
    struct http_9111_wish wish;
    http_9111_wish(request(&head, NULL), &wish);
    assert_true(wish.is_plain);
    http_9111_wish(
        request(&head, (const char *const[]){CC, "max-stale=x, foo, no-transform", NULL}), &wish);
    assert_true(wish.is_plain);
    http_9111_wish(request(&head, (const char *const[]){"Pragma", "x, no-cache", NULL}), &wish);
    assert_true(wish.no_cache);
    assert_false(wish.is_plain);
    http_9111_wish(request(&head, (const char *const[]){"Pragma", "no-cache", CC, "x", NULL}),
                   &wish);
    assert_true(wish.is_plain);
    http_9111_wish(request(&head, (const char *const[]){CC, "no-store, only-if-cached", NULL}),
                   &wish);
    assert_true(wish.no_store);
    assert_true(wish.only_if_cached);
    http_9111_wish(request(&head, (const char *const[]){CC, "max-age=0, max-stale", NULL}), &wish);
    assert_true(wish.has_max_age);
    assert_false(wish.is_plain);
    assert_true(wish.max_age_ns == 0);
    assert_true(wish.max_stale_ns == HTTP_CC_MAX_S * NS_PER_S);
}

static void what_may_be_reused(void **state)
{
    (void)state;
    static const struct {
        const char *wish;
        uint64_t age_s;
        enum http_9111_reuse reuse;  /* of an object with ttl 100 and grace 20 */
        enum http_9111_reuse strict; /* with ttl 100, never stale */
    } cases[] = {
        {"", 0, HTTP_9111_FRESH, HTTP_9111_FRESH},
        {"", 99, HTTP_9111_FRESH, HTTP_9111_FRESH},
        {"", 100, HTTP_9111_STALE, HTTP_9111_NO},
        {"", 119, HTTP_9111_STALE, HTTP_9111_NO},
        {"", 120, HTTP_9111_NO, HTTP_9111_NO},
        {"no-cache", 0, HTTP_9111_NO, HTTP_9111_NO},
        {"max-age=50", 50, HTTP_9111_FRESH, HTTP_9111_FRESH},
        {"max-age=50", 51, HTTP_9111_NO, HTTP_9111_NO},
        {"max-age=0", 0, HTTP_9111_FRESH, HTTP_9111_FRESH},
        {"max-age=0", 1, HTTP_9111_NO, HTTP_9111_NO},
        {"max-age=500", 105, HTTP_9111_NO, HTTP_9111_NO},
        {"max-age=500, max-stale=9", 105, HTTP_9111_STALE, HTTP_9111_NO},
        {"max-age=50, max-stale=900", 105, HTTP_9111_NO, HTTP_9111_NO},
        {"max-stale", 5000, HTTP_9111_STALE, HTTP_9111_NO},
        {"max-stale=50", 150, HTTP_9111_STALE, HTTP_9111_NO},
        {"max-stale=50", 151, HTTP_9111_NO, HTTP_9111_NO},
        {"max-stale=0", 110, HTTP_9111_STALE, HTTP_9111_NO},
        {"min-fresh=30", 70, HTTP_9111_FRESH, HTTP_9111_FRESH},
        {"min-fresh=30", 71, HTTP_9111_NO, HTTP_9111_NO},
        {"min-fresh=30, max-stale", 71, HTTP_9111_NO, HTTP_9111_NO},
        {"min-fresh=1", 105, HTTP_9111_NO, HTTP_9111_NO},
        {"min-fresh=99999999999999", 0, HTTP_9111_NO, HTTP_9111_NO},
        {"only-if-cached", 50, HTTP_9111_FRESH, HTTP_9111_FRESH},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct head head;
        struct http_9111_wish wish;
        http_9111_wish(request(&head, (const char *const[]){CC, cases[i].wish, NULL}), &wish);
        enum http_9111_reuse loose =
            http_9111_reuse(&wish, cases[i].age_s * NS_PER_S, 100 * NS_PER_S, 20 * NS_PER_S, false);
        enum http_9111_reuse strict =
            http_9111_reuse(&wish, cases[i].age_s * NS_PER_S, 100 * NS_PER_S, 0, true);
        if (loose != cases[i].reuse || strict != cases[i].strict) {
            fail_msg("case %zu: %d %d", i, (int)loose, (int)strict);
        }
    }
}

static void what_stands_in_for_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *req;
        const char *stored;
        uint64_t stale_s;
        bool may;
        bool must_revalidate;
    } cases[] = {
        {"x", "max-age=1", 5, false, false},
        {"x", "stale-if-error=5", 5, true, false},
        {"x", "stale-if-error=5", 6, false, false},
        {"stale-if-error=9", "max-age=1", 6, true, false},
        {"stale-if-error=9", "must-revalidate", 6, false, true},
        {"x", "stale-if-error=5, must-revalidate", 1, false, true},
        {"x", "stale-if-error=5, proxy-revalidate", 1, false, true},
        {"x", "stale-if-error=5, s-maxage=9", 1, false, true},
        {"x", "stale-if-error=5, no-cache", 1, false, true},
        {"x", "stale-if-error=5, no-cache=\"x-a\"", 1, true, false},
        {"no-cache", "stale-if-error=5", 1, false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct head req;
        struct head resp;
        request(&req, (const char *const[]){CC, cases[i].req, NULL});
        response(&resp, 200, (const char *const[]){CC, cases[i].stored, NULL});
        if (http_9111_stale_if_error(&req.h, &resp.h, cases[i].stale_s * NS_PER_S) !=
                cases[i].may ||
            http_9111_must_revalidate(&resp.h) != cases[i].must_revalidate) {
            fail_msg("case %zu", i);
        }
    }
    struct head req;
    struct head resp;
    request(&req, (const char *const[]){"Pragma", "no-cache", NULL});
    response(&resp, 200, (const char *const[]){CC, "stale-if-error=5", NULL});
    assert_false(http_9111_stale_if_error(&req.h, &resp.h, NS_PER_S));
    assert_true(http_9111_is_error(503));
    assert_false(http_9111_is_error(501));
    assert_false(http_9111_is_error(404));
}

static void what_ends_the_life_of_objects(void **state)
{
    (void)state;
    assert_true(http_9111_invalidates(HTTP_M_POST, 200));
    assert_true(http_9111_invalidates(HTTP_M_PUT, 303));
    assert_true(http_9111_invalidates(HTTP_M_OTHER, 204));
    assert_false(http_9111_invalidates(HTTP_M_DELETE, 404));
    assert_false(http_9111_invalidates(HTTP_M_POST, 500));
    assert_false(http_9111_invalidates(HTTP_M_GET, 200));
    assert_false(http_9111_invalidates(HTTP_M_HEAD, 200));
    assert_false(http_9111_invalidates(HTTP_M_OPTIONS, 200));
}

static void locations(void **state)
{
    (void)state;
    static const struct {
        const char *reference;
        const char *url; /* NULL: not ours */
    } cases[] = {
        {"/x", "/x"},
        {"/x?q=1#f", "/x?q=1"},
        {"http://h.example/x", "/x"},
        {"HTTPS://H.example:443/x", "/x"},
        {"http://h.example:80/x", "/x"},
        {"http://h.example:8080/x", NULL},
        {"http://h.example", "/"},
        {"http://h.example?q", "/?q"},
        {"http://h.example.evil/x", NULL},
        {"http://u@h.example/x", NULL},
        {"http:/x", NULL},
        {"http:x", NULL},
        {"ftp://h.example/x", NULL},
        {"mailto:x", NULL},
        {"//h.example/x", "/x"},
        {"//other/x", NULL},
        {"x", "/a/b/x"},
        {"./x", "/a/b/x"},
        {"../x", "/a/x"},
        {"../../../x", "/x"},
        {"..", "/a/"},
        {".", "/a/b/"},
        {"/x/./y/../z/", "/x/z/"},
        {"/x/..", "/"},
        {"/x//y", "/x//y"},
        {"x:y", NULL},
        {"./x:y", "/a/b/x:y"},
        {"?r", "/a/b/c?r"},
        {"", "/a/b/c?q"},
        {"#f", "/a/b/c?q"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char block[512];
        struct arena arena;
        arena_init(&arena, block, sizeof block);
        struct str got = STR_NONE;
        enum rc rc = http_9111_target(STR("h.example"), STR("/a/b/c?q"), str_of(cases[i].reference),
                                      &arena, &got);
        if (rc != (cases[i].url == NULL ? RC_NOT_FOUND : RC_OK) ||
            !str_eq(got, str_of(cases[i].url))) {
            fail_msg("%s: %s %.*s", cases[i].reference, rc_text(rc), STR_ARG(got));
        }
    }
    char block[16];
    struct arena arena;
    arena_init(&arena, block, sizeof block);
    struct str got;
    assert_int_equal(http_9111_target(STR("h"), STR("/"), STR("/0123456789abcdef"), &arena, &got),
                     RC_LIMIT);
    arena_init(&arena, block, sizeof block);
    assert_int_equal(http_9111_target(STR("h"), STR("/0123456789/"), STR("abcdef"), &arena, &got),
                     RC_LIMIT);
    assert_int_equal(http_9111_target(STR("h"), STR("*"), STR("/a"), &arena, &got), RC_NOT_FOUND);
}

static void heads_that_agree(void **state)
{
    (void)state;
    struct head get;
    struct head head;
    response(&get, 200,
             (const char *const[]){"ETag", "\"1\"", "Last-Modified", DATE_T0, "Content-Length", "5",
                                   NULL});
    static const struct {
        const char *fields[5];
        bool agrees;
    } cases[] = {
        {{NULL}, true},
        {{"ETag", "\"1\""}, true},
        {{"ETag", "\"2\""}, false},
        {{"ETag", "W/\"1\""}, false},
        {{"Last-Modified", DATE_T0, "Content-Length", "5"}, true},
        {{"Last-Modified", T0_PLUS_100}, false},
        {{"ETag", "\"1\"", "Content-Length", "6"}, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        response(&head, 200, cases[i].fields);
        if (http_9111_head_agrees(&get.h, 5, &head.h) != cases[i].agrees) {
            fail_msg("case %zu", i);
        }
    }
}

static void heads_of_another_encoding(void **state)
{
    (void)state;
    struct head plain;
    struct head gzip;
    struct head gzip_too;
    response(&plain, 200, (const char *const[]){"ETag", "\"1\"", NULL});
    response(&gzip, 200, (const char *const[]){"Content-Encoding", "gzip", NULL});
    response(&gzip_too, 200, (const char *const[]){"Content-Encoding", "GZip", NULL});
    assert_true(http_9111_head_concerns(&plain.h, &plain.h));
    assert_true(http_9111_head_concerns(&gzip.h, &gzip_too.h));
    assert_false(http_9111_head_concerns(&plain.h, &gzip.h));
    assert_false(http_9111_head_concerns(&gzip.h, &plain.h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_stored),
        cmocka_unit_test(only_a_get_is_stored),
        cmocka_unit_test(lifetimes),
        cmocka_unit_test(ages),
        cmocka_unit_test(fields_that_are_left_out),
        cmocka_unit_test(what_requests_ask),
        cmocka_unit_test(what_may_be_reused),
        cmocka_unit_test(what_stands_in_for_an_error),
        cmocka_unit_test(what_ends_the_life_of_objects),
        cmocka_unit_test(locations),
        cmocka_unit_test(heads_that_agree),
        cmocka_unit_test(heads_of_another_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
