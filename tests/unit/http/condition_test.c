/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Ranges, entity tags, conditions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/http_condition.h"

enum { MAX_RANGES = 3 };

struct range_case {
    const char *value;
    uint64_t size;
    enum rc rc;
    unsigned count;
    struct http_range ranges[MAX_RANGES];
};

static const struct range_case ranges[] = {
    {"bytes=0-0", 10, RC_OK, 1, {{0, 0}}},
    {"BYTES = 2-", 10, RC_OK, 1, {{2, 9}}},
    {"bytes=-3", 10, RC_OK, 1, {{7, 9}}},
    {"bytes=-30", 10, RC_OK, 1, {{0, 9}}},
    {"bytes=5-99999999999999999999999", 10, RC_OK, 1, {{5, 9}}},
    {"bytes=0-1, 4-5 ,, -1", 10, RC_OK, 3, {{0, 1}, {4, 5}, {9, 9}}},
    {"bytes=20-, 3-4", 10, RC_OK, 1, {{3, 4}}},
    {"bytes=10-", 10, RC_NOT_FOUND, 0, {{0}}},
    {"bytes=99999999999999999999999-", 10, RC_NOT_FOUND, 0, {{0}}},
    {"bytes=-0", 10, RC_NOT_FOUND, 0, {{0}}},
    {"bytes=0-", 0, RC_NOT_FOUND, 0, {{0}}},
    {"bytes=-1", 0, RC_NOT_FOUND, 0, {{0}}},
    {"bytes=3-2", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=-", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=1", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=+1-2", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=1--2", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=1 - 2", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=1-2;", 10, RC_MALFORMED, 0, {{0}}},
    {"bytes=0-1, x", 10, RC_MALFORMED, 1, {{0, 1}}},
    {"lines=0-1", 10, RC_UNSUPPORTED, 0, {{0}}},
    {"bytes=0-,0-,0-,0-", 10, RC_LIMIT, 3, {{0, 9}, {0, 9}, {0, 9}}},
    {"bytes=50-,50-,50-,0-", 10, RC_LIMIT, 0, {{0}}},
};

static void ranges_are_clipped_to_what_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        const struct range_case *c = &ranges[i];
        struct http_range got[MAX_RANGES];
        unsigned count = 0;
        enum rc rc = http_range_parse(str_of(c->value), c->size, got, MAX_RANGES, &count);
        if (rc != c->rc || count != c->count) {
            fail_msg("%s: %s, %u", c->value, rc_text(rc), count);
        }
        for (unsigned k = 0; k < count; k++) {
            assert_true(got[k].first == c->ranges[k].first);
            assert_true(got[k].last == c->ranges[k].last);
        }
    }
}

static void tags_compare_weakly_and_strongly(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *etag;
        bool weak;
        bool strong;
    } cases[] = {
        {"\"a\"", "\"a\"", true, true},
        {"W/\"a\"", "\"a\"", true, false},
        {"\"a\"", "W/\"a\"", true, false},
        {"W/\"a\"", "W/\"a\"", true, false},
        {"\"a\"", "\"b\"", false, false},
        {"\"b\", W/\"a\" ,\"c\"", "\"c\"", true, true},
        {"\"a,b\"", "\"a,b\"", true, true},
        {"\"a,b\"", "\"b\"", false, false},
        {"\"a\\\", \"b\"", "\"b\"", true, true},
        {" * ", "\"x\"", true, true},
        {"\"*\"", "\"x\"", false, false},
        {"a, b", "b", true, true},
        {"\"a", "\"a", true, true},
        {"", "\"a\"", false, false},
        {",,", "", false, false},
        {"W/", "W/", false, false},
        {"\"a\"\"b\"", "\"b\"", true, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str list = str_of(cases[i].list);
        struct str etag = str_of(cases[i].etag);
        if (http_etag_list_has(list, etag, false) != cases[i].weak ||
            http_etag_list_has(list, etag, true) != cases[i].strong) {
            fail_msg("%s against %s", cases[i].list, cases[i].etag);
        }
    }
}

enum { CAP = 4 };

struct fixture {
    struct http_hdr table[2][CAP];
    struct http req;
    struct http resp;
};

static void fill(struct http *h, const char *const *fields)
{
    for (; fields[0] != NULL; fields += 2) {
        assert_int_equal(http_add_name(h, str_of(fields[0]), str_of(fields[1])), RC_OK);
    }
}

static void exchange(struct fixture *f, const char *const *req, const char *const *resp)
{
    http_init(&f->req, f->table[0], CAP);
    http_init(&f->resp, f->table[1], CAP);
    http_set_status(&f->resp, 200);
    fill(&f->req, req);
    fill(&f->resp, resp);
}

#define T0 784111777
#define DATE_T0 "Sun, 06 Nov 1994 08:49:37 GMT"
#define LATER "Sun, 06 Nov 1994 08:51:17 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:47:57 GMT"

static const struct {
    const char *req[5];
    const char *resp[5];
    bool is_not_modified;
} conditions[] = {
    {{NULL}, {"ETag", "\"a\"", NULL}, false},
    {{"If-None-Match", "\"a\"", NULL}, {"ETag", "\"a\"", NULL}, true},
    {{"If-None-Match", "\"a\"", NULL}, {"ETag", "W/\"a\"", NULL}, true},
    {{"If-None-Match", "\"a\"", "Range", "bytes=0-", NULL}, {"ETag", "W/\"a\"", NULL}, false},
    {{"If-None-Match", "\"b\"", "if-none-match", "\"a\"", NULL}, {"ETag", "\"a\"", NULL}, true},
    {{"If-None-Match", "\"a\"", NULL}, {NULL}, false},
    /* If-None-Match silences If-Modified-Since. */
    {{"If-None-Match", "\"b\"", "If-Modified-Since", DATE_T0, NULL},
     {"ETag", "\"a\"", "Last-Modified", EARLIER, NULL},
     false},
    {{"If-Modified-Since", DATE_T0, NULL}, {"Last-Modified", DATE_T0, NULL}, true},
    {{"If-Modified-Since", DATE_T0, NULL}, {"Last-Modified", EARLIER, NULL}, true},
    {{"If-Modified-Since", EARLIER, NULL}, {"Last-Modified", DATE_T0, NULL}, false},
    {{"If-Modified-Since", LATER, NULL}, {"Last-Modified", EARLIER, NULL}, false},
    {{"If-Modified-Since", "0", NULL}, {"Last-Modified", EARLIER, NULL}, false},
    {{"If-Modified-Since", DATE_T0, NULL}, {"Last-Modified", "x", "Date", EARLIER, NULL}, false},
    {{"If-Modified-Since", DATE_T0, NULL}, {"Date", EARLIER, NULL}, true},
    {{"If-Modified-Since", DATE_T0, NULL}, {NULL}, false},
};

static void conditions_are_answered_as_varnish_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
        struct fixture f;
        exchange(&f, conditions[i].req, conditions[i].resp);
        if (http_is_not_modified(&f.req, &f.resp, T0) != conditions[i].is_not_modified) {
            fail_msg("case %zu", i);
        }
        http_set_status(&f.resp, 404);
        assert_false(http_is_not_modified(&f.req, &f.resp, T0));
    }
}

static void if_range_wants_the_very_same_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *if_range;
        const char *resp[5];
        bool holds;
    } cases[] = {
        {"\"a\"", {"ETag", "\"a\"", NULL}, true},
        {"W/\"a\"", {"ETag", "W/\"a\"", NULL}, false},
        {"\"b\"", {"ETag", "\"a\"", NULL}, false},
        {"\"a\"", {NULL}, false},
        {"", {"ETag", "", NULL}, false},
        {DATE_T0, {"Last-Modified", DATE_T0, "Date", DATE_T0, NULL}, true},
        {DATE_T0, {"Last-Modified", DATE_T0, "Date", EARLIER, NULL}, false},
        {DATE_T0, {"Last-Modified", DATE_T0, NULL}, false},
        {DATE_T0, {"Last-Modified", EARLIER, "Date", DATE_T0, NULL}, false},
        {DATE_T0, {NULL}, false},
        {"x", {"Last-Modified", "x", NULL}, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        exchange(&f, (const char *const[]){"If-Range", cases[i].if_range, NULL}, cases[i].resp);
        if (http_if_range_holds(&f.req, &f.resp) != cases[i].holds) {
            fail_msg("%s", cases[i].if_range);
        }
    }
    struct fixture f;
    exchange(&f, (const char *const[]){NULL}, (const char *const[]){NULL});
    assert_true(http_if_range_holds(&f.req, &f.resp));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_clipped_to_what_is_there),
        cmocka_unit_test(tags_compare_weakly_and_strongly),
        cmocka_unit_test(conditions_are_answered_as_varnish_does),
        cmocka_unit_test(if_range_wants_the_very_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
