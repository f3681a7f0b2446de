/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "regex/regex.h"

static struct objm_regex *compiled(const char *pattern)
{
    struct objm_regex *regex;
    struct regex_error error;
    assert_int_equal(regex_new(str_of(pattern), true, &regex, &error), RC_OK);
    return regex;
}

static struct regex_scratch *scratch_new(void)
{
    struct regex_scratch *scratch = regex_scratch_new();
    regex_scratch_limits(scratch, 10000, 20);
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
    struct regex_scratch *scratch = scratch_new();
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        char buf[64];
        struct sb out = sb_of(buf, sizeof buf - 1);
        struct objm_regex *regex = compiled(rows[n].pattern);
        enum rc rc = regex_sub(scratch, regex, rows[n].all, str_of(rows[n].subject),
                               str_of(rows[n].replacement), &out, NULL);
        buf[out.len] = '\0';
        assert_int_equal(rc, rows[n].result == NULL ? RC_NOT_FOUND : RC_OK);
        assert_string_equal(buf, rows[n].result == NULL ? "" : rows[n].result);
        regex_free(&regex);
    }
    regex_scratch_free(&scratch);
}

static void a_bad_pattern_says_where(void **state)
{
    (void)state;
    struct objm_regex *regex;
    struct regex_error error;
    assert_int_equal(regex_new(STR("ab(c"), true, &regex, &error), RC_MALFORMED);
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
    struct regex_scratch *scratch = scratch_new();
    struct objm_regex *regex = compiled("(a+)+$");
    char buf[96];
    struct sb why = sb_of(buf, sizeof buf - 1);
    assert_int_equal(regex_match(scratch, regex, (struct str){subject, sizeof subject}, &why),
                     RC_LIMIT);
    buf[why.len] = '\0';
    assert_string_equal(buf, "Regexp matching failed: match limit exceeded");
    /* The next match is not hurt. */
    assert_int_equal(regex_match(scratch, regex, STR("aaa"), NULL), RC_OK);
    assert_int_equal(regex_match(scratch, regex, STR_NONE, NULL), RC_NOT_FOUND);
    regex_free(&regex);
    regex_scratch_free(&scratch);
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    struct regex_scratch *scratch = scratch_new();
    struct objm_regex *regex = compiled("a");
    char buf[8];
    struct sb out = sb_of(buf, sizeof buf);
    assert_int_equal(regex_sub(scratch, regex, true, STR("aaaa"), STR("xyz"), &out, NULL),
                     RC_TOO_LONG);
    regex_free(&regex);
    regex_scratch_free(&scratch);
}

/* The end of such a match may lie before where the search began. */
static void a_match_that_steps_back_ends(void **state)
{
    (void)state;
    struct regex_scratch *scratch = scratch_new();
    struct objm_regex *regex;
    struct regex_error error;
    static const char *const patterns[] = {"(?=ab\\K)", "(?<=\\Ka)", "a\\K"};
    for (size_t n = 0; n < ARRAY_SIZE(patterns); n++) {
        if (regex_new(str_of(patterns[n]), true, &regex, &error) != RC_OK) {
            continue;
        }
        char buf[256];
        struct sb out = sb_of(buf, sizeof buf);
        (void)!regex_sub(scratch, regex, true, STR("abababab"), STR("-"), &out, NULL);
        regex_free(&regex);
    }
    regex_scratch_free(&scratch);
}

/* Two at once never share what a match writes; what was given back serves again. */
static void a_pool_lends_to_one_at_a_time(void **state)
{
    (void)state;
    struct regex_pool pool;
    regex_pool_init(&pool, 10000);
    struct regex_scratch *one = regex_pool_take(&pool);
    struct regex_scratch *other = regex_pool_take(&pool);
    assert_ptr_not_equal(one, other);
    struct objm_regex *regex = compiled("^(a+)+[bc]$");
    assert_int_equal(regex_match(one, regex, STR("aab"), NULL), RC_OK);
    static char costly[4000];
    memset(costly, 'a', sizeof costly);
    assert_int_equal(regex_match(other, regex, (struct str){costly, sizeof costly}, NULL),
                     RC_LIMIT);
    regex_free(&regex);
    struct regex_scratch *last = other;
    regex_pool_give(&pool, &one);
    regex_pool_give(&pool, &other);
    assert_null(other);
    other = regex_pool_take(&pool);
    assert_ptr_equal(other, last);
    regex_pool_give(&pool, &other);
    regex_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(substitutions),
        cmocka_unit_test(a_bad_pattern_says_where),
        cmocka_unit_test(a_match_has_limits),
        cmocka_unit_test(a_full_buffer_is_told),
        cmocka_unit_test(a_match_that_steps_back_ends),
        cmocka_unit_test(a_pool_lends_to_one_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
