/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vcl/text.h"

static void queries_are_sorted(void **state)
{
    (void)state;
    static const struct {
        const char *url, *sorted;
    } rows[] = {
        {"/?b=2&a=1&&c&b=1", "/?a=1&b=1&b=2&c"},
        {"/x?&z&a&", "/x?a&z"},
        {"/x?a", "/x?a"},
        {"/x", "/x"},
        {"/x?b&a?c&a", "/x?a&a?c&b"},
        {"/x?&&", "/x?"},
        {"/?aa&a&ab&a=1", "/?a&a=1&aa&ab"},
        {"", ""},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        struct str parts[16];
        char buf[64];
        struct sb out = sb_of(buf, sizeof buf - 1);
        struct str url = str_of(rows[n].url);
        vcl__querysort(url, parts, vcl__query_parts(url), &out);
        buf[out.len] = '\0';
        assert_string_equal(buf, rows[n].sorted);
    }
}

static void patterns_match_as_fnmatch_does(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *subject;
        unsigned flags;
        bool matches;
    } rows[] = {
        {"[[:alpha:]]*", "abc1", GLOB_PATHNAME, true},
        {"[[:alpha:]]*", "1abc", GLOB_PATHNAME, false},
        {"/*/[!a-c]?", "/x/dz", GLOB_PATHNAME, true},
        {"/*/[!a-c]?", "/x/az", GLOB_PATHNAME, false},
        {"a[", "a[", GLOB_PATHNAME, true},
        {"\\*", "*", GLOB_PATHNAME, true},
        {"\\*", "x", GLOB_PATHNAME, false},
        {"\\*", "\\x", GLOB_NOESCAPE, true},
        {"*", ".x", GLOB_PATHNAME | GLOB_PERIOD, false},
        {"/*", "/.x", GLOB_PATHNAME | GLOB_PERIOD, false},
        {"/*", "/.x", GLOB_PERIOD, true},
        {".*", ".x", GLOB_PERIOD, true},
        {"a\\", "a\\", GLOB_PATHNAME, false},
        {"a\\", "a\\", GLOB_NOESCAPE, true},
        {"[a/b]x", "/x", GLOB_PATHNAME, false},
        {"[]a]", "]", GLOB_PATHNAME, true},
        {"[a-]", "-", GLOB_PATHNAME, true},
        {"[^a]", "b", GLOB_PATHNAME, true},
        {"**a", "xxa", GLOB_PATHNAME, true},
        {"", "", GLOB_PATHNAME, true},
        {"*", "", GLOB_PATHNAME, true},
        {"?", "", GLOB_PATHNAME, false},
        {"/foo/*", "/foo/bar/baz", GLOB_PATHNAME, false},
        {"/foo/*", "/foo/bar/baz", 0, true},
        {"/foo/*/quux", "/foo/bar/quux", GLOB_PATHNAME, true},
        {"*a*b", "xaxxbxab", GLOB_PATHNAME, true},
        {"*a*b", "xaxxbx", GLOB_PATHNAME, false},
        {"x*", "y", GLOB_PATHNAME, false},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        assert_int_equal(vcl__glob(str_of(rows[n].pattern), str_of(rows[n].subject), rows[n].flags),
                         rows[n].matches);
    }
}

/* libc needs hours for this one. */
static void many_stars_cost_little(void **state)
{
    (void)state;
    char subject[4096];
    memset(subject, 'a', sizeof subject);
    struct str pattern = STR("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b");
    assert_false(vcl__glob(pattern, (struct str){subject, sizeof subject}, GLOB_PATHNAME));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_are_sorted),
        cmocka_unit_test(patterns_match_as_fnmatch_does),
        cmocka_unit_test(many_stars_cost_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
