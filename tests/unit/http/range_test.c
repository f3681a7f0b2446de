/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One range, and what a backend says it sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/http_condition.h"

struct read_case {
    const char *value;
    enum rc rc;
    const char *why;
    struct http_range_spec spec;
};

static const struct read_case reads[] = {
    {"bytes=0-0", RC_OK, NULL, {true, true, 0, 0}},
    {"BYTES=5-9", RC_OK, NULL, {true, true, 5, 9}},
    {"bytes=5-", RC_OK, NULL, {true, false, 5, 0}},
    {"bytes=-7", RC_OK, NULL, {false, true, 0, 7}},
    {"bytes=-7 ", RC_OK, NULL, {false, true, 0, 7}},
    {"bytes=9223372036854775807-", RC_OK, NULL, {true, false, INT64_MAX, 0}},
    {"bytes=0-1,2-3", RC_LIMIT, NULL, {true, true, 0, 1}},
    {"bytes=0-1 , x", RC_LIMIT, NULL, {true, true, 0, 1}},
    {"bytes", RC_MALFORMED, "Missing '='", {0}},
    {"bytes =0-1", RC_MALFORMED, "Not Bytes", {0}},
    {"lines=0-1", RC_MALFORMED, "Not Bytes", {0}},
    {"=0-1", RC_MALFORMED, "Not Bytes", {0}},
    {"bytes= 0-1", RC_MALFORMED, "Missing hyphen", {0}},
    {"bytes=1", RC_MALFORMED, "Missing hyphen", {0}},
    {"bytes=", RC_MALFORMED, "Missing hyphen", {0}},
    {"bytes=-", RC_MALFORMED, "Neither high nor low", {0}},
    {"bytes=-0", RC_MALFORMED, "No low, high is zero", {0}},
    {"bytes=5-2", RC_MALFORMED, "high smaller than low", {0}},
    {"bytes=0-a", RC_MALFORMED, "Trailing stuff", {0}},
    {"bytes=0- 9", RC_MALFORMED, "Trailing stuff", {0}},
    {"bytes=0-1-2", RC_MALFORMED, "Trailing stuff", {0}},
    {"bytes=9223372036854775808-", RC_MALFORMED, "Low number too big", {0}},
    {"bytes=0-99999999999999999999999", RC_MALFORMED, "High number too big", {0}},
    {"bytes=+1-2", RC_MALFORMED, "Missing hyphen", {0}},
};

static void one_range_is_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
        const struct read_case *c = &reads[i];
        struct http_range_spec got;
        const char *why = NULL;
        enum rc rc = http_range_read(str_of(c->value), &got, &why);
        if (rc != c->rc || !str_eq(str_of(why), str_of(c->why))) {
            fail_msg("%s: %s, %s", c->value, rc_text(rc), why == NULL ? "-" : why);
        }
        if (rc == RC_OK) {
            assert_true(got.has_first == c->spec.has_first && got.has_last == c->spec.has_last);
            assert_true(got.first == c->spec.first && got.last == c->spec.last);
        }
    }
}

struct settle_case {
    struct http_range_spec spec;
    uint64_t size;
    enum rc rc;
    struct http_range range;
};

static const struct settle_case settles[] = {
    {{true, true, 0, 0}, 1, RC_OK, {0, 0}},         {{true, true, 2, 5}, 4, RC_OK, {2, 3}},
    {{true, true, 2, INT64_MAX}, 4, RC_OK, {2, 3}}, {{true, false, 3, 0}, 4, RC_OK, {3, 3}},
    {{true, false, 4, 0}, 4, RC_NOT_FOUND, {0, 0}}, {{true, true, 0, 0}, 0, RC_NOT_FOUND, {0, 0}},
    {{false, true, 0, 1}, 4, RC_OK, {3, 3}},        {{false, true, 0, 4}, 4, RC_OK, {0, 3}},
    {{false, true, 0, 9}, 4, RC_OK, {0, 3}},        {{false, true, 0, 9}, 0, RC_NOT_FOUND, {0, 0}},
};

static void a_range_is_clipped_to_the_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(settles); i++) {
        const struct settle_case *c = &settles[i];
        struct http_range got;
        enum rc rc = http_range_settle(&c->spec, c->size, &got);
        if (rc != c->rc || got.first != c->range.first || got.last != c->range.last) {
            fail_msg("%zu: %s, %llu-%llu", i, rc_text(rc), (unsigned long long)got.first,
                     (unsigned long long)got.last);
        }
    }
}

struct fit_case {
    const char *asked;
    unsigned status;
    const char *content_range;
    const char *content_length;
    const char *why; /* NULL: it fits */
};

static const struct fit_case fits[] = {
    {NULL, 200, NULL, "40", NULL},
    {"bytes=0-9", 200, NULL, "40", NULL},
    {"bytes=10-19", 206, "bytes 10-19/100", "10", NULL},
    {"bytes=10-19", 206, "bytes 10-19/*", NULL, NULL},
    {"bytes=90-119", 206, "bytes 90-99/100", "10", NULL},
    {"bytes=90-", 206, "bytes 90-99/100", "10", NULL},
    {"bytes=-10", 206, "bytes 90-99/100", "10", NULL},
    {"bytes=90-119", 416, "bytes */100", "100", NULL},
    {"bytes=0-1,5-6", 206, "bytes 0-6/100", "7", NULL},
    {"bytes=10-19", 206, "bytes 0-49/100", "40", "Expected content length 50, got 40"},
    {"bytes=10-19", 206, "bytes 10-19/100", "40", "Expected content length 10, got 40"},
    {"bytes=10-19", 206, "bytes 0-9/100", "10", "Expected low range 0, got 10"},
    {"bytes=10-19", 206, "bytes 10-29/100", "20", "Expected minimum high range 29, got 19"},
    {"bytes=10-19", 200, "bytes */100", "100", "Expected low range 0, got 10"},
    {NULL, 200, "bytes 0-49/100", "40", "Unexpected content-range header"},
    {NULL, 200, "bytes */100", "100", "Unexpected content-range header"},
    {NULL, 200, "bytes=0-99/100", "100", "Invalid content-range header"},
    {"bytes=0-0", 206, "bytes */*", "100", "Invalid content-range header"},
    {"bytes=0-0", 206, "bytes 0-0/0", "1", "Invalid content-range header"},
    {"bytes=0-0", 206, "bytes 5-4/10", "1", "Invalid content-range header"},
    {"bytes=0-0", 206, "bytes 0-10/10", "11", "Invalid content-range header"},
    {"bytes=0-0", 206, "bytes 0-0/1 x", "1", "Invalid content-range header"},
    {"bytes=0-0", 206, "bytes 99999999999999999999-0/*", "1", "Invalid content-range header"},
    {"bytes=x", 200, NULL, "1", "Invalid range header (Missing hyphen)"},
};

static void a_part_that_was_not_asked_for_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fits); i++) {
        const struct fit_case *c = &fits[i];
        struct http_hdr table[4];
        struct http resp;
        http_init(&resp, table, 4);
        http_set_status(&resp, c->status);
        if (c->content_range != NULL) {
            assert_int_equal(http_set(&resp, HDR_CONTENT_RANGE, str_of(c->content_range)), RC_OK);
        }
        if (c->content_length != NULL) {
            assert_int_equal(http_set(&resp, HDR_CONTENT_LENGTH, str_of(c->content_length)), RC_OK);
        }
        char text[100];
        struct sb why = sb_of(text, sizeof text);
        enum rc rc = http_content_range_fits(str_of(c->asked), &resp, &why);
        if (rc != (c->why == NULL ? RC_OK : RC_MALFORMED) ||
            !str_eq(sb_str(&why), c->why == NULL ? STR("") : str_of(c->why))) {
            fail_msg("%zu: %s: %.*s", i, rc_text(rc), STR_ARG(sb_str(&why)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_range_is_read_strictly),
        cmocka_unit_test(a_range_is_clipped_to_the_body),
        cmocka_unit_test(a_part_that_was_not_asked_for_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
