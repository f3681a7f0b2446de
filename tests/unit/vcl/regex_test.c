/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "vcl/regex.h"

static struct objm_regex *compiled(const char *pattern)
{
    struct objm_regex *regex;
    struct vcl_regex_error error;
    assert_int_equal(vcl_regex_new(str_of(pattern), true, &regex, &error), RC_OK);
    return regex;
}

static struct vcl_scratch *scratch_new(void)
{
    struct vcl_scratch *scratch = vcl_scratch_new();
    vcl_scratch_limits(scratch, 10000, 20);
    return scratch;
}

/* What regsub and regsuball of Varnish 7.1.1 made of these. */
static void substitutions(void **state)
{
    (void)state;
    static const struct {
        const char *subject, *pattern, *replacement;
        bool all;
        const char *result; /* NULL: unchanged */
    } rows[] = {
        {"foobar", "(o)(o)(b)?", "<\\0|\\1|\\3|\\9|\\\\|\\n|&>", false, "f<oob|o|b||\\|n|&>ar"},
        {"aaa", "a*", "x", true, "x"},
        {"abc", "", "-", true, "-abc"},
        {"abc", "b*", "-", true, "-a-c"},
        {"aXbX", "X$", "\\\\0", true, "aXb\\0"},
        {"abc", "z", "y", false, NULL},
        {"baaac", "a*?", "-", true, "-b---c"},
        {"foo bar", "\\b", "|", true, "|foo bar"},
        {"abc", "(?i)B", "q", false, "aqc"},
        {"b1b2b3", "^b|b", "[\\0]", true, "[b]1[b]2[b]3"},
        {"ccccbarcccc", "(?<=c)c", "x", true, "cxxxbarcxxx"},
        {"aab", "(a)|b", "[\\1]", true, "[a][a][]"},
        {"foo", "(x)?foo", "[\\1]", false, "[]"},
        {"ab", "a", "x\\", false, "x\\b"},
        {"", "^$", "empty", true, "empty"},
    };
    struct vcl_scratch *scratch = scratch_new();
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        char buf[64];
        struct sb out = sb_of(buf, sizeof buf - 1);
        struct objm_regex *regex = compiled(rows[n].pattern);
        enum rc rc = vcl_regsub(scratch, regex, rows[n].all, str_of(rows[n].subject),
                                str_of(rows[n].replacement), &out, NULL);
        buf[out.len] = '\0';
        assert_int_equal(rc, rows[n].result == NULL ? RC_NOT_FOUND : RC_OK);
        assert_string_equal(buf, rows[n].result == NULL ? "" : rows[n].result);
        vcl_regex_free(&regex);
    }
    vcl_scratch_free(&scratch);
}

static void a_bad_pattern_says_where(void **state)
{
    (void)state;
    struct objm_regex *regex;
    struct vcl_regex_error error;
    assert_int_equal(vcl_regex_new(STR("ab(c"), true, &regex, &error), RC_MALFORMED);
    assert_null(regex);
    assert_int_equal(error.at, 4);
    assert_string_equal(error.text, "missing closing parenthesis");
}

static void a_match_has_limits(void **state)
{
    (void)state;
    char subject[64];
    memset(subject, 'a', sizeof subject);
    subject[sizeof subject - 1] = '!';
    struct vcl_scratch *scratch = scratch_new();
    struct objm_regex *regex = compiled("(a+)+$");
    char buf[96];
    struct sb why = sb_of(buf, sizeof buf - 1);
    assert_int_equal(vcl_regex_match(scratch, regex, (struct str){subject, sizeof subject}, &why),
                     RC_LIMIT);
    buf[why.len] = '\0';
    assert_string_equal(buf, "Regexp matching failed: match limit exceeded");
    /* The next match is not hurt. */
    assert_int_equal(vcl_regex_match(scratch, regex, STR("aaa"), NULL), RC_OK);
    assert_int_equal(vcl_regex_match(scratch, regex, STR_NONE, NULL), RC_NOT_FOUND);
    vcl_regex_free(&regex);
    vcl_scratch_free(&scratch);
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    struct vcl_scratch *scratch = scratch_new();
    struct objm_regex *regex = compiled("a");
    char buf[8];
    struct sb out = sb_of(buf, sizeof buf);
    assert_int_equal(vcl_regsub(scratch, regex, true, STR("aaaa"), STR("xyz"), &out, NULL),
                     RC_TOO_LONG);
    vcl_regex_free(&regex);
    vcl_scratch_free(&scratch);
}

/* The end of such a match may lie before where the search began. */
static void a_match_that_steps_back_ends(void **state)
{
    (void)state;
    struct vcl_scratch *scratch = scratch_new();
    struct objm_regex *regex;
    struct vcl_regex_error error;
    static const char *const patterns[] = {"(?=ab\\K)", "(?<=\\Ka)", "a\\K"};
    for (size_t n = 0; n < ARRAY_SIZE(patterns); n++) {
        if (vcl_regex_new(str_of(patterns[n]), true, &regex, &error) != RC_OK) {
            continue;
        }
        char buf[256];
        struct sb out = sb_of(buf, sizeof buf);
        (void)!vcl_regsub(scratch, regex, true, STR("abababab"), STR("-"), &out, NULL);
        vcl_regex_free(&regex);
    }
    vcl_scratch_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(substitutions),
        cmocka_unit_test(a_bad_pattern_says_where),
        cmocka_unit_test(a_match_has_limits),
        cmocka_unit_test(a_full_buffer_is_told),
        cmocka_unit_test(a_match_that_steps_back_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
