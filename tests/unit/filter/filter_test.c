/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filter/notation.h"

static void encodings_are_formats(void **state)
{
    (void)state;
    assert_true(str_eq(filter_format_of(STR("")), STR("text")));
    assert_true(str_eq(filter_format_of(STR("X-GZIP")), STR("gzip")));
    assert_true(str_eq(filter_format_of(STR("br")), STR("br")));
    assert_null(filter_format_of(STR("compress")).ptr);
    assert_null(filter_format_of(STR("gzip, br")).ptr);
}

static void formats_have_encodings(void **state)
{
    (void)state;
    assert_true(str_eq(filter_encoding_of(STR("gz")), STR("gzip")));
    assert_true(str_eq(filter_encoding_of(STR("brotli")), STR("br")));
    assert_true(str_eq(filter_encoding_of(STR("esitext")), STR("")));
    assert_non_null(filter_encoding_of(STR("plain")).ptr);
    assert_null(filter_encoding_of(STR("webp")).ptr);
}

static void check_side(enum filter_side side, unsigned flag)
{
    unsigned count;
    unsigned fills;
    const struct filter *const *all = filter_builtins(side, &count, &fills);
    assert_in_range(fills, 1, count - 1);
    for (unsigned n = 0; n < count; n++) {
        const struct filter *filter = all[n];
        assert_true(notation_is_name(filter->name));
        assert_true(notation_is_formats(filter->in));
        assert_true(notation_is_formats(filter->out));
        assert_true((filter->flags & flag) != 0);
        assert_ptr_equal(filter_find(side, filter->name), filter);
        assert_true(filter->counter_reason.len > 0);
        struct filter_about nothing = {.from = STR("text")};
        assert_int_equal(filter->use(&nothing), FILTER_IGNORES);
        bool fills_gaps = n < fills;
        assert_false(fills_gaps && (filter->flags & FILTER_IS_INNER) != 0);
    }
    assert_null(filter_find(side, STR("Gzip")));
}

static void the_table_of_built_in_filters_is_sound(void **state)
{
    (void)state;
    check_side(FILTER_VFP, FILTER_IS_VFP);
    check_side(FILTER_VDP, FILTER_IS_VDP);
}

static void filters_say_what_they_do_with_a_body(void **state)
{
    (void)state;
    struct filter_about about = {.has_body = true, .has_range = true, .from = STR("gzip")};
    assert_int_equal(filter_find(FILTER_VDP, STR("range"))->use(&about), FILTER_RESTRICTS);
    assert_int_equal(filter_find(FILTER_VDP, STR("gunzip"))->use(&about), FILTER_CHANGES);
    assert_int_equal(filter_find(FILTER_VFP, STR("testgunzip"))->use(&about), FILTER_NEEDS);
    assert_int_equal(filter_find(FILTER_VDP, STR("esi"))->use(&about), FILTER_IGNORES);
    about.is_esi = true;
    about.has_range = false;
    assert_int_equal(filter_find(FILTER_VDP, STR("esi"))->use(&about), FILTER_CHANGES);
    assert_int_equal(filter_find(FILTER_VDP, STR("range"))->use(&about), FILTER_IGNORES);
}

struct notation_case {
    const char *text;
    enum rc rc;
    const char *name, *in, *out;
    enum filter_pos pos;
};

static const struct notation_case notations[] = {
    {"gzip", RC_OK, "gzip", "", "", FILTER_DEFAULT},
    {"gzip@STEVEDORE", RC_OK, "gzip", "", "", FILTER_STEVEDORE},
    {"(text,plain,none)esi(esitext)@FETCH", RC_OK, "esi", "text,plain,none", "esitext",
     FILTER_FETCH},
    {"(*)a.b-c+d_9(*)", RC_OK, "a.b-c+d_9", "*", "*", FILTER_DEFAULT},
    {"", RC_MALFORMED, "", "", "", 0},
    {"@LAST", RC_MALFORMED, "", "", "", 0},
    {"gzip@", RC_MALFORMED, "", "", "", 0},
    {"gzip@CLIENT", RC_MALFORMED, "", "", "", 0},
    {"gzip@last", RC_MALFORMED, "", "", "", 0},
    {"(text", RC_MALFORMED, "", "", "", 0},
    {"(text)", RC_MALFORMED, "", "", "", 0},
    {"(text)x", RC_MALFORMED, "", "", "", 0},
    {"(text)x(", RC_MALFORMED, "", "", "", 0},
    {"(text)x()", RC_MALFORMED, "", "", "", 0},
    {"()x(text)", RC_MALFORMED, "", "", "", 0},
    {"(a,)x(text)", RC_MALFORMED, "", "", "", 0},
    {"(a)x(text)y", RC_MALFORMED, "", "", "", 0},
    {"(a)(b)", RC_MALFORMED, "", "", "", 0},
    {"x(b)", RC_MALFORMED, "", "", "", 0},
    {"a b", RC_MALFORMED, "", "", "", 0},
};

static void candidates_are_read(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(notations) / sizeof(notations[0]); n++) {
        const struct notation_case *c = &notations[n];
        struct notation got;
        const char *why = NULL;
        assert_int_equal(notation_parse(FILTER_VFP, str_of(c->text), &got, &why), c->rc);
        if (c->rc == RC_OK) {
            assert_true(str_eq(got.name, str_of(c->name)));
            assert_true(str_eq(got.in, str_of(c->in)));
            assert_true(str_eq(got.out, str_of(c->out)));
            assert_int_equal(got.pos, c->pos);
        } else {
            assert_non_null(why);
        }
    }
    struct notation got;
    const char *why;
    assert_int_equal(notation_parse(FILTER_VDP, STR("gzip@CLIENT"), &got, &why), RC_OK);
    assert_int_equal(got.pos, FILTER_CLIENT);
    char longest[NOTATION_NAME_MAX + 1];
    memset(longest, 'x', sizeof(longest));
    struct str text = {longest, sizeof(longest)};
    assert_int_equal(notation_parse(FILTER_VFP, text, &got, &why), RC_TOO_LONG);
    text.len--;
    assert_int_equal(notation_parse(FILTER_VFP, text, &got, &why), RC_OK);
}

static void filters_are_printed_as_they_are_written(void **state)
{
    (void)state;
    char buf[100];
    struct sb sb = sb_of(buf, sizeof(buf));
    filter_print(filter_find(FILTER_VFP, STR("gunzip")), &sb);
    assert_true(str_eq(sb_str(&sb), STR("(gzip,gz)gunzip(text,plain,none)")));
    assert_true(str_eq(filter_pos_name(FILTER_VDP, FILTER_FETCH), STR("OBJECT")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodings_are_formats),
        cmocka_unit_test(formats_have_encodings),
        cmocka_unit_test(the_table_of_built_in_filters_is_sound),
        cmocka_unit_test(filters_say_what_they_do_with_a_body),
        cmocka_unit_test(candidates_are_read),
        cmocka_unit_test(filters_are_printed_as_they_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
