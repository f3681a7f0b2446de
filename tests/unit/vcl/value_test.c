/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "vcl/acl.h"
#include "vcl/value.h"

/* What Varnish 7.1.1 printed for these values. */
static void values_read_as_varnish_prints_them(void **state)
{
    (void)state;
    static const struct objm_ip v4 = {4, 80, {192, 0, 2, 1}};
    static const struct objm_ip v6 = {6, 80, {0x20, 1, 0xd, 0xb8, [15] = 1}};
    static const struct objm_ip mapped = {6, 0, {[10] = 0xff, [11] = 0xff, 1, 2, 3, 4}};
    static const struct objm_ip any6 = {6, 0, {0}};
    static const struct objm_str parts[] = {{"a", 1}, {NULL, 0}, {"bc", 2}};
    static const struct objm_stevedore store = {"s0", NULL};
    static const struct {
        enum objm_type type;
        union objm_value value;
        const char *text;
    } rows[] = {
        {OBJM_INT, {.integer = 12345}, "12345"},
        {OBJM_INT, {.integer = -5}, "-5"},
        {OBJM_INT, {.integer = 999999999999999}, "999999999999999"},
        {OBJM_REAL, {.real = 1.5}, "1.500"},
        {OBJM_REAL, {.real = -1.25}, "-1.250"},
        {OBJM_REAL, {.real = 123456789012.125}, "123456789012.125"},
        {OBJM_REAL, {.real = 0.001 / 2}, "0.001"},
        {OBJM_REAL, {.real = 2.001 + 0.001 / 2}, "2.002"},
        {OBJM_DURATION, {.real = 1}, "1.000"},
        {OBJM_DURATION, {.real = 0.005}, "0.005"},
        {OBJM_DURATION, {.real = 31536000}, "31536000.000"},
        {OBJM_DURATION, {.real = -1}, "-1.000"},
        {OBJM_BYTES, {.integer = 1610612736}, "1610612736"},
        {OBJM_TIME, {.real = 784111777.75}, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {OBJM_TIME, {.real = 4102444800}, "Fri, 01 Jan 2100 00:00:00 GMT"},
        {OBJM_BOOL, {.boolean = true}, "true"},
        {OBJM_BOOL, {.boolean = false}, "false"},
        {OBJM_IP, {.ip = &v4}, "192.0.2.1"},
        {OBJM_IP, {.ip = &v6}, "2001:db8::1"},
        {OBJM_IP, {.ip = &mapped}, "1.2.3.4"},
        {OBJM_IP, {.ip = &any6}, "::"},
        {OBJM_BLOB, {.blob = {"hello world", 11}}, ":aGVsbG8gd29ybGQ=:"},
        {OBJM_BLOB, {.blob = {"", 0}}, "::"},
        {OBJM_STEVEDORE, {.stevedore = &store}, "storage.s0"},
        {OBJM_STRING, {.string = {"x", 1}}, "x"},
        {OBJM_STRANDS, {.strands = {parts, 3}}, "abc"},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        char buf[64];
        struct sb sb = sb_of(buf, sizeof buf - 1);
        assert_int_equal(vcl_value_text(&sb, rows[n].type, &rows[n].value, NULL), RC_OK);
        buf[sb.len] = '\0';
        assert_string_equal(buf, rows[n].text);
    }
}

static void what_has_no_text_says_so(void **state)
{
    (void)state;
    static const struct {
        enum objm_type type;
        union objm_value value;
        enum rc rc;
        const char *why;
    } rows[] = {
        {OBJM_INT,
         {.integer = 0xC000000000000},
         RC_INVALID,
         "INT overflow converting to string (C000000000000)"},
        {OBJM_REAL,
         {.real = 1e12},
         RC_INVALID,
         "REAL overflow converting to string (1.000000e+12)"},
        {OBJM_REAL, {.real = NAN}, RC_INVALID, NULL},
        {OBJM_TIME, {.real = -1}, RC_INVALID, "Unformatable VCL_TIME"},
        {OBJM_IP, {.ip = NULL}, RC_INVALID, "VRT_IP_string: Illegal IP"},
        {OBJM_STRING, {.string = {NULL, 0}}, RC_NOT_FOUND, ""},
        {OBJM_BACKEND, {.backend = NULL}, RC_NOT_FOUND, ""},
        {OBJM_BLOB, {.blob = {NULL, 0}}, RC_NOT_FOUND, ""},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        char buf[64];
        char why_buf[96];
        struct sb sb = sb_of(buf, sizeof buf);
        struct sb why = sb_of(why_buf, sizeof why_buf - 1);
        assert_int_equal(vcl_value_text(&sb, rows[n].type, &rows[n].value, &why), rows[n].rc);
        why_buf[why.len] = '\0';
        if (rows[n].why != NULL) {
            assert_string_equal(why_buf, rows[n].why);
        }
        assert_int_equal(sb.len, 0);
    }
}

static void sums_have_the_types_of_vcl(void **state)
{
    (void)state;
    assert_int_equal(vcl_arith_type(VCL_SUB, OBJM_TIME, OBJM_TIME), OBJM_DURATION);
    assert_int_equal(vcl_arith_type(VCL_ADD, OBJM_TIME, OBJM_DURATION), OBJM_TIME);
    assert_int_equal(vcl_arith_type(VCL_ADD, OBJM_INT, OBJM_REAL), OBJM_REAL);
    assert_int_equal(vcl_arith_type(VCL_MUL, OBJM_BYTES, OBJM_REAL), OBJM_BYTES);
    assert_int_equal(vcl_arith_type(VCL_ADD, OBJM_TIME, OBJM_TIME), OBJM_VOID);
    assert_int_equal(vcl_arith_type(VCL_DIV, OBJM_INT, OBJM_REAL), OBJM_VOID);
    assert_int_equal(vcl_arith_type(VCL_MOD, OBJM_REAL, OBJM_INT), OBJM_VOID);
}

static void sums_end_where_numbers_end(void **state)
{
    (void)state;
    union objm_value a = {.integer = 7};
    union objm_value b = {.integer = -2};
    union objm_value out;
    assert_int_equal(vcl_arith(VCL_DIV, OBJM_INT, &a, OBJM_INT, &b, &out), RC_OK);
    assert_int_equal(out.integer, -3);
    assert_int_equal(vcl_arith(VCL_MOD, OBJM_INT, &a, OBJM_INT, &b, &out), RC_OK);
    assert_int_equal(out.integer, 1);
    b.integer = 0;
    assert_int_equal(vcl_arith(VCL_DIV, OBJM_INT, &a, OBJM_INT, &b, &out), RC_INVALID);
    assert_int_equal(vcl_arith(VCL_MOD, OBJM_INT, &a, OBJM_INT, &b, &out), RC_INVALID);
    a.integer = INT64_MIN;
    b.integer = -1;
    assert_int_equal(vcl_arith(VCL_DIV, OBJM_INT, &a, OBJM_INT, &b, &out), RC_INVALID);
    a.integer = INT64_MAX;
    b.integer = 1;
    assert_int_equal(vcl_arith(VCL_ADD, OBJM_INT, &a, OBJM_INT, &b, &out), RC_INVALID);
    union objm_value x = {.real = 1e300};
    assert_int_equal(vcl_arith(VCL_MUL, OBJM_BYTES, &a, OBJM_REAL, &x, &out), RC_INVALID);
    x.real = 0;
    assert_int_equal(vcl_arith(VCL_DIV, OBJM_DURATION, &x, OBJM_REAL, &x, &out), RC_INVALID);
    a.integer = 10;
    x.real = 1.59;
    assert_int_equal(vcl_arith(VCL_MUL, OBJM_BYTES, &a, OBJM_REAL, &x, &out), RC_OK);
    assert_int_equal(out.integer, 15);
}

static void strands_compare_as_the_text_they_make(void **state)
{
    (void)state;
    static const struct objm_str ab[] = {{"a", 1}, {"", 0}, {"b", 1}};
    static const struct objm_str ab2[] = {{NULL, 0}, {"ab", 2}};
    static const struct objm_str abc[] = {{"abc", 3}};
    struct objm_strands a = {ab, 3};
    struct objm_strands b = {ab2, 2};
    struct objm_strands c = {abc, 1};
    struct objm_strands none = {NULL, 0};
    assert_int_equal(vcl_strands_order(&a, &b), 0);
    assert_true(vcl_strands_order(&a, &c) < 0);
    assert_true(vcl_strands_order(&c, &b) > 0);
    assert_true(vcl_strands_order(&none, &a) < 0);
    assert_int_equal(vcl_strands_order(&none, &none), 0);
}

static void defaults_are_constants_of_their_type(void **state)
{
    (void)state;
    union objm_value v;
    struct objm_arg arg = {.type = OBJM_STRING, .def = "\", \""};
    assert_int_equal(vcl_default_parse(&arg, &v), RC_OK);
    assert_int_equal(v.string.len, 2);
    arg = (struct objm_arg){.type = OBJM_ENUM, .def = "BLOB", .values = "HASH URL KEY BLOB"};
    assert_int_equal(vcl_default_parse(&arg, &v), RC_OK);
    assert_int_equal(v.choice, 3);
    arg.def = "BLO";
    assert_int_not_equal(vcl_default_parse(&arg, &v), RC_OK);
    arg = (struct objm_arg){.type = OBJM_DURATION, .def = "-1s"};
    assert_int_equal(vcl_default_parse(&arg, &v), RC_OK);
    assert_true(v.real < -0.5);
    arg = (struct objm_arg){.type = OBJM_BACKEND, .def = "0"};
    assert_int_equal(vcl_default_parse(&arg, &v), RC_OK);
    assert_null(v.backend);
    arg = (struct objm_arg){.type = OBJM_BOOL, .def = "yes"};
    assert_int_equal(vcl_default_parse(&arg, &v), RC_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_read_as_varnish_prints_them),
        cmocka_unit_test(what_has_no_text_says_so),
        cmocka_unit_test(sums_have_the_types_of_vcl),
        cmocka_unit_test(sums_end_where_numbers_end),
        cmocka_unit_test(strands_compare_as_the_text_they_make),
        cmocka_unit_test(defaults_are_constants_of_their_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
