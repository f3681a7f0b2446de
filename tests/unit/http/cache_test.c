/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Cache-Control and freshness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "http/http_cache.h"

enum { CAP = 6 };

struct fixture {
    struct http_hdr table[CAP];
    struct http h;
};

static struct http *head(struct fixture *f, unsigned status, const char *const *fields)
{
    http_init(&f->h, f->table, CAP);
    http_set_status(&f->h, status);
    for (; fields[0] != NULL; fields += 2) {
        assert_int_equal(http_add_name(&f->h, str_of(fields[0]), str_of(fields[1])), RC_OK);
    }
    return &f->h;
}

static struct http_cc cc_of(const char *value)
{
    struct fixture f;
    struct http_cc cc;
    http_cc_parse(head(&f, 200, (const char *const[]){"cache-control", value, NULL}), &cc);
    return cc;
}

static void numbers_are_read_the_safe_way(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint32_t bits;
        uint32_t max_age_s;
    } cases[] = {
        {"max-age=60", HTTP_CC_MAX_AGE, 60},
        {"MAX-AGE = \"60\"", HTTP_CC_MAX_AGE, 60},
        {"max-age=60.5", HTTP_CC_MAX_AGE, 0},
        {"max-age=0060", HTTP_CC_MAX_AGE, 60},
        {"max-age=2147483648", HTTP_CC_MAX_AGE, HTTP_CC_MAX_S},
        {"max-age=2147483647", HTTP_CC_MAX_AGE, 2147483647},
        {"max-age=99999999999999999999999", HTTP_CC_MAX_AGE, HTTP_CC_MAX_S},
        {"max-age=-1", HTTP_CC_MAX_AGE, 0},
        {"max-age=+1", HTTP_CC_MAX_AGE, 0},
        {"max-age=1x", HTTP_CC_MAX_AGE, 0},
        {"max-age=", HTTP_CC_MAX_AGE, 0},
        {"max-age", HTTP_CC_MAX_AGE, 0},
        {"xmax-age=1", 0, 0},
        {"max-age=5, max-age=9", HTTP_CC_MAX_AGE, 5},
        {"max-age=9, max-age=5", HTTP_CC_MAX_AGE, 5},
        {"max-age=9, max-age", HTTP_CC_MAX_AGE, 0},
        {"max-stale=x", 0, 0},
        {"min-fresh", 0, 0},
        {"foo=\"max-age=3, no-store\", max-age=4", HTTP_CC_MAX_AGE, 4},
        {"foo=\"unclosed, max-age=3", 0, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_cc cc = cc_of(cases[i].value);
        if (cc.bits != cases[i].bits || cc.max_age_s != cases[i].max_age_s) {
            fail_msg("%s: %x %u", cases[i].value, cc.bits, cc.max_age_s);
        }
    }
}

static void every_directive_has_its_bit(void **state)
{
    (void)state;
    struct http_cc cc = cc_of("no-store,public , must-revalidate,proxy-revalidate,no-transform,"
                              "immutable,must-understand,only-if-cached,s-maxage=1,"
                              "stale-while-revalidate=2,stale-if-error=3,max-stale,min-fresh=4");
    assert_int_equal(cc.bits, HTTP_CC_NO_STORE | HTTP_CC_PUBLIC | HTTP_CC_MUST_REVALIDATE |
                                  HTTP_CC_PROXY_REVALIDATE | HTTP_CC_NO_TRANSFORM |
                                  HTTP_CC_IMMUTABLE | HTTP_CC_MUST_UNDERSTAND |
                                  HTTP_CC_ONLY_IF_CACHED | HTTP_CC_S_MAXAGE |
                                  HTTP_CC_STALE_WHILE_REVALIDATE | HTTP_CC_STALE_IF_ERROR |
                                  HTTP_CC_MAX_STALE | HTTP_CC_MIN_FRESH);
    assert_int_equal(cc.s_maxage_s, 1);
    assert_int_equal(cc.stale_while_revalidate_s, 2);
    assert_int_equal(cc.stale_if_error_s, 3);
    assert_int_equal(cc.max_stale_s, HTTP_CC_MAX_S);
    assert_int_equal(cc.min_fresh_s, 4);
    cc = cc_of("private=\"a, b\", no-cache, max-stale=7");
    assert_int_equal(cc.bits, HTTP_CC_PRIVATE | HTTP_CC_PRIVATE_FIELDS | HTTP_CC_NO_CACHE |
                                  HTTP_CC_MAX_STALE);
    assert_true(str_eq(cc.private_fields, STR("a, b")));
    assert_null(cc.no_cache_fields.ptr);
    assert_int_equal(cc.max_stale_s, 7);
}

static void the_most_restrictive_of_equal_directives_counts(void **state)
{
    (void)state;
    struct http_cc cc =
        cc_of("max-stale=9, max-stale=5, max-stale, min-fresh=3, min-fresh=7, min-fresh=4");
    assert_int_equal(cc.max_stale_s, 5);
    assert_int_equal(cc.min_fresh_s, 7);
    cc = cc_of("private=\"a\", x, private=\"a\"");
    assert_int_equal(cc.bits, HTTP_CC_PRIVATE | HTTP_CC_PRIVATE_FIELDS);
    /* A list of fields, and a second directive with another or none: as if there were no list. */
    const char *const lists[] = {"private=\"a\", private", "private, private=\"a\"",
                                 "private=\"a\", private=\"b\""};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        cc = cc_of(lists[i]);
        assert_int_equal(cc.bits, HTTP_CC_PRIVATE);
        assert_null(cc.private_fields.ptr);
    }
}

#define T0 784111777
#define DATE_T0 "Sun, 06 Nov 1994 08:49:37 GMT"
#define T0_PLUS_100 "Sun, 06 Nov 1994 08:51:17 GMT"
#define T0_MINUS_100 "Sun, 06 Nov 1994 08:47:57 GMT"
#define EPOCH "Thu, 01 Jan 1970 00:00:00 GMT"

struct freshness_case {
    unsigned status;
    const char *fields[9];
    int64_t ttl_s;
    int64_t grace_s;
    int64_t age_s;
};

/* Defaults: ttl 120, grace 10. */
static const struct freshness_case fresh[] = {
    {200, {NULL}, 120, 10, 0},
    {414, {NULL}, 120, 10, 0},
    {302, {NULL}, -1, 10, 0},
    {500, {NULL}, -1, 10, 0},
    {206, {"Cache-Control", "max-age=5", NULL}, -1, 10, 0},
    {308, {"Cache-Control", "max-age=5", NULL}, -1, 10, 0},
    {302, {"Cache-Control", "max-age=5", NULL}, 5, 10, 0},
    {307, {"Expires", T0_PLUS_100, NULL}, 100, 10, 0},
    {200, {"Cache-Control", "max-age=5, s-maxage=7", NULL}, 7, 10, 0},
    {200, {"Cache-Control", "s-maxage=7", "Cache-Control", "max-age=5", NULL}, 7, 10, 0},
    {200, {"Cache-Control", "max-age=5", "Expires", T0_PLUS_100, NULL}, 5, 10, 0},
    {200, {"Cache-Control", "max-age=5, stale-while-revalidate=3", NULL}, 5, 3, 0},
    {500, {"Cache-Control", "stale-while-revalidate=3", NULL}, -1, 10, 0},
    {200, {"Cache-Control", "no-store, private", NULL}, 120, 10, 0},
    {200, {"Age", "30", "Cache-Control", "max-age=60", NULL}, 60, 10, 30},
    {200, {"Age", "-30", NULL}, 120, 10, 0},
    {200, {"Age", "+30", NULL}, 120, 10, 30},
    {200, {"Age", "5.5", NULL}, 120, 10, 5},
    {200, {"Age", "5,6", NULL}, 120, 10, 5},
    {200, {"Age", "5x", NULL}, 120, 10, 0},
    {200, {"Age", "99999999999", NULL}, 120, 10, 4294967295},
    {200, {"Cache-Control", "max-age=+60", NULL}, 60, 10, 0},
    {200, {"Cache-Control", "max-age=60.5", NULL}, 60, 10, 0},
    {200, {"Cache-Control", "max-age=\"60\"", NULL}, 0, 10, 0},
    {200, {"Cache-Control", "max-age=60, stale-while-revalidate=\"9\"", NULL}, 60, 0, 0},
    {200, {"Cache-Control", "s-maxage, max-age=60", NULL}, 120, 10, 0},
    {200, {"Cache-Control", "max-age=60, max-age=30", NULL}, 60, 10, 0},
    {200, {"Cache-Control", "x=\"max-age=5, y\", max-age=60", NULL}, 60, 10, 0},
    {200, {"Cache-Control", "max-age=4294967296", NULL}, 4294967295, 10, 0},
    {200, {"Expires", T0_PLUS_100, NULL}, 100, 10, 0},
    {200, {"Expires", T0_PLUS_100, "Date", DATE_T0, NULL}, 100, 10, 0},
    /* A Date 100 s off (clock_skew is 10): the difference of the fields counts. */
    {200, {"Expires", T0_PLUS_100, "Date", T0_MINUS_100, NULL}, 200, 10, 0},
    {200, {"Expires", DATE_T0, "Date", T0_MINUS_100, NULL}, 100, 10, 0},
    {200, {"Expires", T0_MINUS_100, "Date", DATE_T0, NULL}, 0, 10, 0},
    {200, {"Expires", T0_MINUS_100, NULL}, 0, 10, 0},
    {200, {"Expires", EPOCH, NULL}, 120, 10, 0},
    {200, {"Expires", EPOCH, "Date", DATE_T0, NULL}, 120, 10, 0},
    {302, {"Expires", EPOCH, NULL}, -1, 10, 0},
    {200, {"Expires", "1994-11-06T08:51:17", NULL}, 100, 10, 0},
    {200, {"Expires", "0", NULL}, 120, 10, 0},
    {200, {"Expires", "Fri, 31 Dec 9999 23:59:59 GMT", NULL}, 4294967295, 10, 0},
};

static void lifetimes_are_those_of_varnish(void **state)
{
    (void)state;
    const struct http_fresh_defaults defaults = {.ttl_ns = 120 * NS_PER_S,
                                                 .grace_ns = 10 * NS_PER_S,
                                                 .keep_ns = 3 * NS_PER_S,
                                                 .clock_skew_s = 10};
    for (size_t i = 0; i < ARRAY_SIZE(fresh); i++) {
        struct fixture f;
        struct http_fresh got;
        struct http *h = head(&f, fresh[i].status, fresh[i].fields);
        http_freshness(h, T0 * NS_PER_S, &defaults, &got);
        int64_t ttl_s = got.ttl_ns < 0 ? -1 : got.ttl_ns / (int64_t)NS_PER_S;
        if (ttl_s != fresh[i].ttl_s || got.age_s != fresh[i].age_s ||
            got.grace_ns != (uint64_t)fresh[i].grace_s * NS_PER_S) {
            fail_msg("case %zu: ttl %lld age %u", i, (long long)ttl_s, got.age_s);
        }
        uint64_t origin_s = fresh[i].age_s < T0 ? (uint64_t)(T0 - fresh[i].age_s) : 0;
        assert_true(got.origin_ns == origin_s * NS_PER_S);
        assert_true(got.keep_ns == 3 * NS_PER_S);
    }
}

static void expires_counts_fractions_of_our_clock(void **state)
{
    (void)state;
    const struct http_fresh_defaults defaults = {.clock_skew_s = 10};
    struct fixture f;
    struct http_fresh got;
    struct http *h = head(&f, 200, (const char *const[]){"Expires", T0_PLUS_100, NULL});
    http_freshness(h, T0 * NS_PER_S + NS_PER_S / 4, &defaults, &got);
    assert_true(got.ttl_ns == 99750000000);
    http_freshness(h, (T0 + 100) * NS_PER_S + 1, &defaults, &got);
    assert_true(got.ttl_ns == 0);
    assert_true(got.expires_s == T0 + 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_the_safe_way),
        cmocka_unit_test(every_directive_has_its_bit),
        cmocka_unit_test(the_most_restrictive_of_equal_directives_counts),
        cmocka_unit_test(lifetimes_are_those_of_varnish),
        cmocka_unit_test(expires_counts_fractions_of_our_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
