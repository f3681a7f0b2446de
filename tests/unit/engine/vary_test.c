/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Which requests may share an object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/engine_priv.h"

static char block[16384];
static struct arena arena;

static struct http *head_of(const char *const *fields, size_t count)
{
    struct http *h = http_new(&arena, 16);
    assert_non_null(h);
    for (size_t i = 0; i + 1 < count; i += 2) {
        assert_int_equal(http_add_name(h, str_of(fields[i]), str_of(fields[i + 1])), RC_OK);
    }
    return h;
}
#define HEAD(...)                                                                                  \
    head_of((const char *const[]){__VA_ARGS__},                                                    \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static struct str spec_of(const struct http *req, const struct http *resp)
{
    struct sb sb = arena_builder(&arena);
    assert_int_equal(vary__make(&sb, req, resp), RC_OK);
    return arena_claim(&arena, &sb);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, block, sizeof block);
    return 0;
}

static void same_values_fit_and_others_do_not(void **state)
{
    (void)state;
    struct str spec = spec_of(HEAD("X-Lang", "da", "X-Other", "1"), HEAD("Vary", "x-lang"));
    assert_true(vary__fits(spec, HEAD("x-LANG", "da", "X-Other", "2"), true));
    assert_false(vary__fits(spec, HEAD("X-Lang", "d"), true));
    assert_false(vary__fits(spec, HEAD("X-Lang", "dan"), true));
    assert_false(vary__fits(spec, HEAD("X-Lang", "DA"), true));
    assert_false(vary__fits(spec, HEAD("X-Other", "1"), true));
}

static void absent_is_not_empty(void **state)
{
    (void)state;
    struct str absent = spec_of(HEAD("A", "b"), HEAD("Vary", "X-Lang"));
    struct str empty = spec_of(HEAD("X-Lang", ""), HEAD("Vary", "X-Lang"));
    assert_true(vary__fits(absent, HEAD("A", "c"), true));
    assert_false(vary__fits(absent, HEAD("X-Lang", ""), true));
    assert_true(vary__fits(empty, HEAD("X-Lang", ""), true));
    assert_false(vary__fits(empty, HEAD("A", "b"), true));
}

static void all_named_fields_count(void **state)
{
    (void)state;
    struct str spec =
        spec_of(HEAD("X-A", "1", "X-B", "2"), HEAD("Vary", "X-A , ,X-B", "Vary", "X-C"));
    assert_true(vary__fits(spec, HEAD("X-B", "2", "X-A", "1"), true));
    assert_false(vary__fits(spec, HEAD("X-A", "1", "X-B", "3"), true));
    assert_false(vary__fits(spec, HEAD("X-A", "1", "X-B", "2", "X-C", "4"), true));
}

static void a_repeated_field_is_never_shared(void **state)
{
    (void)state;
    struct str spec = spec_of(HEAD("X-A", "1"), HEAD("Vary", "X-A"));
    assert_false(vary__fits(spec, HEAD("X-A", "1", "X-A", "2"), true));
    struct sb sb = arena_builder(&arena);
    assert_int_equal(vary__make(&sb, HEAD("X-A", "1", "X-A", "2"), HEAD("Vary", "X-A")),
                     RC_UNSUPPORTED);
}

static void a_star_is_refused(void **state)
{
    (void)state;
    struct sb sb = arena_builder(&arena);
    assert_int_equal(vary__make(&sb, HEAD("A", "b"), HEAD("Vary", "X-A, *")), RC_UNSUPPORTED);
}

static void encodings_count_only_where_they_are_asked_for(void **state)
{
    (void)state;
    const struct http *resp = HEAD("Vary", "accept-encoding, X-A");
    struct str spec = spec_of(HEAD("Accept-Encoding", "gzip", "X-A", "1"), resp);
    assert_true(vary__fits(spec, HEAD("Accept-Encoding", "gzip", "X-A", "1"), true));
    assert_false(vary__fits(spec, HEAD("X-A", "1"), true));
    assert_false(vary__fits_normalised(spec, HEAD("X-A", "1"), true));
    assert_true(vary__fits(spec, HEAD("X-A", "1"), false));
    assert_true(vary__fits_normalised(spec, HEAD("Accept-Encoding", "br", "X-A", "1"), false));
    assert_false(vary__fits(spec, HEAD("Accept-Encoding", "gzip", "X-A", "2"), false));
}

static void damaged_bytes_fit_nothing(void **state)
{
    (void)state;
    struct str spec = spec_of(HEAD("X-A", "1"), HEAD("Vary", "X-A"));
    for (size_t cut = 1; cut < spec.len; cut++) {
        assert_false(vary__fits((struct str){spec.ptr, cut}, HEAD("X-A", "1"), true));
    }
}

static struct str normal_of(const struct http *req, const struct http *resp)
{
    struct sb sb = arena_builder(&arena);
    assert_int_equal(vary__make_normalised(&sb, req, resp), RC_OK);
    return arena_claim(&arena, &sb);
}

static void what_means_the_same_fits(void **state)
{
    (void)state;
    struct str spec =
        normal_of(HEAD("Accept-Language", "de, EN;q=0.5"), HEAD("Vary", "accept-language"));
    assert_true(vary__fits_normalised(spec, HEAD("Accept-Language", "DE,en; q=0.5"), true));
    assert_true(vary__fits_normalised(
        spec, HEAD("Accept-Language", "de", "accept-language", "en;q=0.5"), true));
    assert_false(vary__fits_normalised(spec, HEAD("Accept-Language", "en;q=0.5, de"), true));
    assert_false(vary__fits_normalised(spec, HEAD("Accept-Language", "de"), true));
    assert_false(vary__fits_normalised(spec, HEAD("A", "b"), true));
    /* Quoted strings know case and blanks. */
    spec = normal_of(HEAD("Accept", "a/b; x=\"A B\""), HEAD("Vary", "Accept"));
    assert_true(vary__fits_normalised(spec, HEAD("Accept", " a/b; x=\"A B\" "), true));
    assert_false(vary__fits_normalised(spec, HEAD("Accept", "a/b; x=\"a b\""), true));
    /* Of other fields we know only that several make one. */
    spec = normal_of(HEAD("X-A", "1, B"), HEAD("Vary", "X-A"));
    assert_true(vary__fits_normalised(spec, HEAD("X-A", "1", "X-A", "B"), true));
    assert_false(vary__fits_normalised(spec, HEAD("X-A", "1,B"), true));
    assert_false(vary__fits_normalised(spec, HEAD("X-A", "1, b"), true));
    struct str absent = normal_of(HEAD("A", "b"), HEAD("Vary", "X-A"));
    assert_true(vary__fits_normalised(absent, HEAD("A", "c"), true));
    assert_false(vary__fits_normalised(absent, HEAD("X-A", ""), true));
}

static void the_normalised_form_has_limits(void **state)
{
    (void)state;
    static char text[1026];
    memset(text, 'x', sizeof text - 1);
    struct str spec = normal_of(HEAD("X-A", text + 1), HEAD("Vary", "X-A"));
    assert_true(vary__fits_normalised(spec, HEAD("X-A", text + 1), true));
    assert_false(vary__fits_normalised(spec, HEAD("X-A", text), true));
    struct sb sb = arena_builder(&arena);
    assert_int_equal(vary__make_normalised(&sb, HEAD("X-A", text), HEAD("Vary", "X-A")),
                     RC_TOO_LONG);
    assert_int_equal(vary__make_normalised(&sb, HEAD("A", "b"), HEAD("Vary", "*")), RC_UNSUPPORTED);
    const struct http *same = HEAD("X-A", text + 1);
    for (size_t cut = 1; cut < spec.len; cut++) {
        assert_false(vary__fits_normalised((struct str){spec.ptr, cut}, same, true));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(same_values_fit_and_others_do_not, setup),
        cmocka_unit_test_setup(absent_is_not_empty, setup),
        cmocka_unit_test_setup(all_named_fields_count, setup),
        cmocka_unit_test_setup(a_repeated_field_is_never_shared, setup),
        cmocka_unit_test_setup(a_star_is_refused, setup),
        cmocka_unit_test_setup(encodings_count_only_where_they_are_asked_for, setup),
        cmocka_unit_test_setup(damaged_bytes_fit_nothing, setup),
        cmocka_unit_test_setup(what_means_the_same_fits, setup),
        cmocka_unit_test_setup(the_normalised_form_has_limits, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
