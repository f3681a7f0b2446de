/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/rng.h"
#include "mgt/param_text.h"

#define SEC(n) ((uint64_t)(n)*NS_PER_S)

static const struct param_desc seconds = {"s", PARAM_KIND_SECONDS, 0, SEC(1), SEC(3600), "", 0, ""};
static const struct param_desc any_time = {"t", PARAM_KIND_SECONDS, 0, 0, NEVER, "", 0, ""};
static const struct param_desc bytes = {"b", PARAM_KIND_BYTES, 0, 1024, UINT64_MAX, "", 0, ""};
static const struct param_desc number = {"n", PARAM_KIND_UINT, 0, 5, 100, "", 0, ""};
static const struct param_desc unlimited = {"u", PARAM_KIND_UINT, 0, 0, UINT64_MAX, "", 0, ""};
static const struct param_desc flag = {"f", PARAM_KIND_BOOL, 0, 0, 1, "", 0, ""};

static void reads(const struct param_desc *desc, const char *text, uint64_t want)
{
    struct cli_text why = {0};
    uint64_t value = 0;
    if (param_parse(desc, str_of(text), &value, &why) != RC_OK) {
        fail_msg("%s: %.*s", text, STR_ARG(cli_text_str(&why)));
    }
    assert_int_equal(value, want);
    assert_int_equal(why.len, 0);
    cli_text_free(&why);
}

static void refuses(const struct param_desc *desc, const char *text, const char *want)
{
    struct cli_text why = {0};
    uint64_t value = 77;
    assert_int_equal(param_parse(desc, str_of(text), &value, &why), RC_INVALID);
    assert_int_equal(value, 77);
    cli_text_add(&why, (struct str){"", 1});
    assert_string_equal(why.ptr, want);
    cli_text_free(&why);
}

static void test_values(void **state)
{
    (void)state;
    reads(&seconds, "120", SEC(120));
    reads(&seconds, "1.5", SEC(3) / 2);
    reads(&seconds, "1500ms", SEC(3) / 2);
    reads(&seconds, "1500 ms", SEC(3) / 2);
    reads(&seconds, "3m", SEC(180));
    reads(&seconds, "1H", SEC(3600));
    reads(&any_time, "2d", SEC(172800));
    reads(&any_time, "1w", SEC(604800));
    reads(&any_time, "1y", SEC(31536000));
    reads(&any_time, "0.000000001", 1);
    reads(&any_time, ".5", SEC(1) / 2);
    reads(&any_time, "never", NEVER);
    reads(&bytes, "1024", 1024);
    reads(&bytes, "16k", 16384);
    reads(&bytes, "1.5M", 3 << 19);
    reads(&bytes, "0.25g", 1 << 28);
    reads(&bytes, "2GB", UINT64_C(2) << 30);
    reads(&bytes, "65535b", 65535);
    reads(&bytes, "unlimited", UINT64_MAX);
    reads(&number, "5", 5);
    reads(&unlimited, "18446744073709551614", UINT64_MAX - 1);
    reads(&flag, "on", 1);
    reads(&flag, "False", 0);
}

static void test_refusals(void **state)
{
    (void)state;
    refuses(&seconds, "x", "Invalid number (x)");
    refuses(&seconds, "", "Invalid number ()");
    refuses(&seconds, "3x", "Invalid number (3x)");
    refuses(&seconds, "1.2.3", "Invalid number (1.2.3)");
    refuses(&seconds, ".", "Invalid number (.)");
    refuses(&seconds, "-1", "Must be greater or equal to 1.000");
    refuses(&seconds, "0.5", "Must be greater or equal to 1.000");
    refuses(&seconds, "2h", "Must be less or equal to 3600.000");
    refuses(&seconds, "never", "Invalid number (never)");
    refuses(&any_time, "99999999999999999999", "Must be less or equal to never");
    refuses(&any_time, "600y", "Must be less or equal to never");
    refuses(&bytes, "1", "Must be at least 1k");
    refuses(&bytes, "17179869184g", "Must be no more than unlimited");
    refuses(&bytes, "1.5", "Must be at least 1k");
    refuses(&number, "4", "Must be at least 5");
    refuses(&number, "101", "Must be no more than 100");
    refuses(&number, "-7", "Must be at least 5");
    refuses(&number, "7.5", "Invalid number (7.5)");
    refuses(&number, "7k", "Invalid number (7k)");
    refuses(&unlimited, "18446744073709551616", "Must be no more than unlimited");
    refuses(&flag, "foo", "use \"on\" or \"off\"");
}

static void writes(const struct param_desc *desc, uint64_t value, const char *want)
{
    struct cli_text out = {0};
    param_format(desc, value, &out);
    cli_text_add(&out, (struct str){"", 1});
    assert_string_equal(out.ptr, want);
    cli_text_free(&out);
}

static void test_format(void **state)
{
    (void)state;
    writes(&any_time, SEC(120), "120.000");
    writes(&any_time, NS_PER_MS, "0.001");
    writes(&any_time, NEVER, "never");
    writes(&bytes, 65535, "65535b");
    writes(&bytes, 48 << 10, "48k");
    writes(&bytes, 10 << 20, "10M");
    writes(&bytes, 1 << 28, "0.25G");
    writes(&bytes, 3 << 9, "1.50k");
    writes(&bytes, 999424, "976k");
    writes(&bytes, UINT64_MAX, "unlimited");
    writes(&bytes, UINT64_C(1) << 63, "8388608T");
    writes(&flag, 1, "on");
    writes(&unlimited, 7, "7");
}

/* What each row shows, each row takes back: default, bounds, and anything between. */
static void test_round_trip_of_table(void **state)
{
    (void)state;
    struct rng rng = {3};
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        const struct param_desc *desc = param_desc((enum param_id)i);
        uint64_t values[64] = {desc->preset, desc->min, desc->max};
        for (size_t v = 3; v < ARRAY_SIZE(values); v++) {
            uint64_t span = desc->max - desc->min;
            values[v] = desc->min + (span == UINT64_MAX ? rng_u64(&rng) >> rng_below(&rng, 64)
                                                        : rng_below(&rng, span + 1));
            if (desc->kind == PARAM_KIND_SECONDS && values[v] != NEVER) {
                values[v] -= values[v] % NS_PER_MS;
                values[v] = values[v] < desc->min ? desc->min : values[v];
            }
        }
        for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
            struct cli_text text = {0};
            struct cli_text why = {0};
            uint64_t back = 0;
            param_format(desc, values[v], &text);
            if (param_parse(desc, cli_text_str(&text), &back, &why) != RC_OK || back != values[v]) {
                fail_msg("%s: %llu became %.*s: %.*s", desc->name, (unsigned long long)values[v],
                         STR_ARG(cli_text_str(&text)), STR_ARG(cli_text_str(&why)));
            }
            cli_text_free(&text);
            cli_text_free(&why);
        }
    }
}

static void test_rows(void **state)
{
    (void)state;
    struct param_row rows[PARAM_ROWS];
    param_rows(rows);
    for (unsigned i = 0; i + 1 < PARAM_ROWS; i++) {
        assert_true(strcmp(rows[i].name, rows[i + 1].name) < 0);
    }
}

static void string_is(enum param_string_id id, const char *text, const char *want, const char *json)
{
    struct cli_text why = {0};
    struct cli_text kept = {0};
    struct cli_text out = {0};
    assert_int_equal(param_string_read(id, str_of(text), &kept, &why), RC_OK);
    assert_int_equal(why.len, 0);
    assert_true(str_eq(cli_text_str(&kept), str_of(want)));
    param_string_json(id, cli_text_str(&kept), &out);
    assert_true(str_eq(cli_text_str(&out), str_of(json)));
    cli_text_free(&why);
    cli_text_free(&kept);
    cli_text_free(&out);
}

static void string_is_not(enum param_string_id id, const char *text, const char *want)
{
    struct cli_text why = {0};
    struct cli_text kept = {0};
    assert_int_equal(param_string_read(id, str_of(text), &kept, &why), RC_INVALID);
    assert_int_equal(kept.len, 0);
    assert_true(str_eq(cli_text_str(&why), str_of(want)));
    cli_text_free(&why);
    cli_text_free(&kept);
}

static void test_strings(void **state)
{
    (void)state;
    string_is(PARAM_STRING_cc_command, "exec cc -o %o \"%s\"", "exec cc -o %o \"%s\"",
              "\"exec cc -o %o \\\"%s\\\"\"");
    string_is(PARAM_STRING_pool_req, "5, 200,3.50", "5,200,3.5",
              "{\"min_pool\": 5, \"max_pool\": 200, \"max_age\": 3.5}");
    string_is(PARAM_STRING_acceptor_sleep_decay, ".5", "0.5", "0.5");
    string_is_not(PARAM_STRING_acceptor_sleep_decay, "1.1", "Must be a number from 0 to 1");
    string_is_not(PARAM_STRING_acceptor_sleep_decay, "0x1", "Must be a number from 0 to 1");
    string_is_not(PARAM_STRING_acceptor_sleep_decay, "", "Must be a number from 0 to 1");
    const char *fields = "Three fields required: min_pool, max_pool and max_age";
    string_is_not(PARAM_STRING_pool_vbo, "1,2", fields);
    string_is_not(PARAM_STRING_pool_vbo, "1,2,", fields);
    string_is_not(PARAM_STRING_pool_vbo, "", fields);
    string_is_not(PARAM_STRING_pool_vbo, "1,2,3,4", "Invalid number (1,2,3,4)");
    string_is_not(PARAM_STRING_pool_vbo, "1,4294967296,3", "Invalid number (1,4294967296,3)");
    string_is_not(PARAM_STRING_pool_vbo, "-1,2,3", "Invalid number (-1,2,3)");
    string_is_not(PARAM_STRING_pool_vbo, "1,2,1000001", "Invalid number (1,2,1000001)");
    string_is_not(PARAM_STRING_pool_vbo, "3,2,1", "min_pool cannot be larger than max_pool");
    for (unsigned i = 0; i < PARAM_STRING__COUNT; i++) {
        struct cli_text kept = {0};
        struct cli_text why = {0};
        struct str preset = str_of(param_string_preset((enum param_string_id)i));
        assert_int_equal(param_string_read((enum param_string_id)i, preset, &kept, &why), RC_OK);
        assert_true(str_eq(cli_text_str(&kept), preset));
        cli_text_free(&kept);
        cli_text_free(&why);
    }
}

static void bits_apply(enum param_bits_id id, uint64_t *words, const char *text, const char *want)
{
    struct cli_text why = {0};
    struct cli_text out = {0};
    assert_int_equal(param_bits_parse(id, str_of(text), words, &why), RC_OK);
    param_bits_format(id, words, &out);
    cli_text_add(&out, (struct str){"", 1});
    assert_string_equal(out.ptr, want);
    cli_text_free(&out);
    cli_text_free(&why);
}

static void test_bits(void **state)
{
    (void)state;
    uint64_t words[PARAM_BITS_WORDS] = {0};
    param_bits_preset(PARAM_BITS_debug, words);
    bits_apply(PARAM_BITS_debug, words, "+vtc_mode,+SYNCVSL", "+syncvsl,+vtc_mode");
    assert_int_equal((words[0] >> PARAM_DEBUG_vtc_mode) & 1, 1);
    bits_apply(PARAM_BITS_debug, words, "-syncvsl, +lck", "+vtc_mode,+lck");
    bits_apply(PARAM_BITS_debug, words, "none", "none");
    bits_apply(PARAM_BITS_debug, words, "+lck,default", "none");

    static const char preset[] = "-Debug,-ObjProtocol,-ObjStatus,-ObjReason,-ObjHeader,-VCL_trace,"
                                 "-ExpKill,-WorkThread,-Hash,-VfpAcct,-H2RxHdr,-H2RxBody,-H2TxHdr,"
                                 "-H2TxBody,-VdpAcct";
    param_bits_preset(PARAM_BITS_vsl_mask, words);
    bits_apply(PARAM_BITS_vsl_mask, words, "default", preset);
    bits_apply(PARAM_BITS_vsl_mask, words, "+Debug", preset + strlen("-Debug,"));
    bits_apply(PARAM_BITS_vsl_mask, words, "none", "none");
    bits_apply(PARAM_BITS_vsl_mask, words, "-ReqURL", "-ReqURL");
    uint64_t all[PARAM_BITS_WORDS] = {0};
    bits_apply(PARAM_BITS_vsl_mask, all, "default", preset);
}

static void test_bad_bits(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"foo", "Missing '+' or '-' (foo)"}, {"", "Missing '+' or '-' ()"},
        {"+lck,", "Missing '+' or '-' ()"},  {"+lck,-foo", "Unknown debug bit (-foo)"},
        {"+", "Unknown debug bit (+)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t words[PARAM_BITS_WORDS] = {5};
        struct cli_text why = {0};
        assert_int_equal(param_bits_parse(PARAM_BITS_debug, str_of(rows[i][0]), words, &why),
                         RC_INVALID);
        assert_int_equal(words[0], 5); /* all or nothing */
        cli_text_add(&why, (struct str){"", 1});
        assert_string_equal(why.ptr, rows[i][1]);
        cli_text_free(&why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_format), cmocka_unit_test(test_round_trip_of_table),
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_strings),
        cmocka_unit_test(test_bits),   cmocka_unit_test(test_bad_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
