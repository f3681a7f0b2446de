/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "vcl/acl.h"
#include "vcl/value.h"

static void add(struct objm_acl *acl, const char *host, int mask, bool is_negated)
{
    struct vcl_acl_rule rules[VCL_ACL_HOST_MAX];
    unsigned count;
    const char *why;
    char text[64];
    struct sb sb = sb_of(text, sizeof text);
    sb_printf(&sb, "\"%s\"", host);
    if (mask >= 0) {
        sb_printf(&sb, "/%d", mask);
    }
    assert_int_equal(vcl_acl_resolve(str_of(host), mask, rules, &count, &why), RC_OK);
    for (unsigned n = 0; n < count; n++) {
        unsigned other;
        rules[n].is_negated = is_negated;
        rules[n].text = sb_str(&sb);
        assert_int_equal(vcl_acl_add(acl, &rules[n], &other), RC_OK);
    }
}

static bool matches(const struct objm_acl *acl, const char *addr)
{
    struct objm_ip ip;
    assert_int_equal(vcl_ip_parse(str_of(addr), 0, &ip), RC_OK);
    return vcl_acl_match(acl, &ip);
}

static void the_longest_rule_decides(void **state)
{
    (void)state;
    for (int fold = 0; fold < 2; fold++) {
        struct objm_acl *acl = vcl_acl_new("a");
        add(acl, "10.1.2.0", 24, true);
        add(acl, "10.0.0.0", 8, false);
        add(acl, "10.1.0.0", 16, false);
        add(acl, "10.1.2.3", -1, false);
        add(acl, "192.168", -1, false);
        add(acl, "2001:db8::", 32, false);
        add(acl, "2001:db8:1::", 48, true);
        vcl_acl_done(acl, fold == 1, false);
        assert_true(matches(acl, "10.0.0.0"));
        assert_true(matches(acl, "10.255.255.255"));
        assert_true(matches(acl, "10.1.1.255"));
        assert_false(matches(acl, "10.1.2.0"));
        assert_false(matches(acl, "10.1.2.255"));
        assert_true(matches(acl, "10.1.2.3"));
        assert_true(matches(acl, "10.1.3.0"));
        assert_false(matches(acl, "9.255.255.255"));
        assert_false(matches(acl, "11.0.0.0"));
        assert_true(matches(acl, "192.168.7.9"));
        assert_true(matches(acl, "2001:db8::1"));
        assert_false(matches(acl, "2001:db8:1::1"));
        assert_false(matches(acl, "::"));
        vcl_acl_free(&acl);
    }
}

static void rules_that_contradict_are_told(void **state)
{
    (void)state;
    struct objm_acl *acl = vcl_acl_new("a");
    add(acl, "1.1.1.1", -1, false);
    add(acl, "10.0.0.0", 8, false);
    struct vcl_acl_rule rule = {.family = 4, .addr = {10, 1, 2, 3}, .mask = 8, .text = STR("x")};
    unsigned other = 99;
    assert_int_equal(vcl_acl_add(acl, &rule, &other), RC_OK);
    assert_true(rule.was_fixed);
    assert_int_equal(rule.addr[1], 0);
    rule.is_negated = true;
    assert_int_equal(vcl_acl_add(acl, &rule, &other), RC_EXISTS);
    assert_int_equal(other, 1);
    vcl_acl_free(&acl);
}

static void names_and_masks_are_checked(void **state)
{
    (void)state;
    struct vcl_acl_rule rules[VCL_ACL_HOST_MAX];
    unsigned count;
    const char *why = NULL;
    assert_int_equal(vcl_acl_resolve(STR("1.2.3.4"), 33, rules, &count, &why), RC_LIMIT);
    assert_int_equal(vcl_acl_resolve(STR("::1"), 129, rules, &count, &why), RC_LIMIT);
    assert_int_equal(vcl_acl_resolve(STR("::1"), 128, rules, &count, &why), RC_OK);
    assert_int_equal(vcl_acl_resolve(STR("no..such"), -1, rules, &count, &why), RC_NOT_FOUND);
    assert_non_null(why);
    assert_int_equal(vcl_acl_resolve(STR("10"), -1, rules, &count, &why), RC_OK);
    assert_int_equal(rules[0].mask, 8);
}

static const char *record(const struct objm_acl *acl, const char *addr)
{
    static char buf[128];
    struct objm_ip ip;
    assert_int_equal(vcl_ip_parse(str_of(addr), 0, &ip), RC_OK);
    struct sb sb = sb_of(buf, sizeof buf - 1);
    (void)vcl_acl_match_log(acl, &ip, &sb);
    buf[sb.len] = '\0';
    return buf;
}

static void matches_are_logged_on_demand(void **state)
{
    (void)state;
    struct objm_acl *acl = vcl_acl_new("who");
    add(acl, "10.0.0.0", 8, false);
    add(acl, "10.0.0.1", -1, true);
    vcl_acl_done(acl, false, true);
    assert_string_equal(record(acl, "10.0.0.2"), "MATCH who \"10.0.0.0\"/8");
    assert_string_equal(record(acl, "10.0.0.1"), "NEG_MATCH who \"10.0.0.1\"");
    assert_string_equal(record(acl, "11.0.0.1"), "NO_MATCH who");
    vcl_acl_free(&acl);
    acl = vcl_acl_new("quiet");
    add(acl, "10.0.0.0", 8, false);
    vcl_acl_done(acl, false, false);
    assert_string_equal(record(acl, "10.0.0.2"), "");
    vcl_acl_free(&acl);
}

static void folding_joins_neighbours(void **state)
{
    (void)state;
    struct objm_acl *acl = vcl_acl_new("f");
    add(acl, "10.0.0.0", 25, false);
    add(acl, "10.0.0.128", 26, false);
    add(acl, "10.0.0.192", 26, false);
    add(acl, "10.0.0.7", -1, false);
    vcl_acl_done(acl, true, true);
    assert_string_equal(record(acl, "10.0.0.7"), "MATCH f \"10.0.0.0\"/24");
    assert_string_equal(record(acl, "10.0.0.200"), "MATCH f \"10.0.0.0\"/24");
    assert_string_equal(record(acl, "10.0.1.0"), "NO_MATCH f");
    vcl_acl_free(&acl);
}

/* The same answer as looking at every rule, folded or not. */
static void random_lists_agree_with_a_plain_search(void **state)
{
    (void)state;
    struct rng rng = {.state = 7};
    for (int round = 0; round < 300; round++) {
        struct vcl_acl_rule rules[24];
        struct objm_acl *lists[2] = {vcl_acl_new("a"), vcl_acl_new("b")};
        unsigned count = 0;
        while (count < 24) {
            struct vcl_acl_rule rule = {
                .family = 4,
                .addr = {10, 0, (uint8_t)rng_below(&rng, 4), (uint8_t)rng_below(&rng, 256)},
                .mask = 16 + (unsigned)rng_below(&rng, 17),
                .is_negated = rng_below(&rng, 3) == 0,
                .text = STR("r")};
            unsigned other;
            struct vcl_acl_rule copy = rule;
            enum rc rc = vcl_acl_add(lists[0], &rule, &other);
            assert_int_equal(vcl_acl_add(lists[1], &copy, &other), rc);
            rules[count] = rule;
            count += rc == RC_OK;
        }
        vcl_acl_done(lists[0], false, false);
        vcl_acl_done(lists[1], true, false);
        for (unsigned n = 0; n < 1024; n++) {
            struct objm_ip ip = {.family = 4, .addr = {10, 0, (uint8_t)(n >> 8), (uint8_t)n}};
            int best = -1;
            for (unsigned k = 0; k < count; k++) {
                uint32_t bits = (uint32_t)rules[k].addr[2] << 8 | rules[k].addr[3];
                bool holds = (bits ^ n) >> (32 - rules[k].mask) == 0;
                if (holds && (best < 0 || rules[k].mask > rules[best].mask)) {
                    best = (int)k;
                }
            }
            bool want = best >= 0 && !rules[best].is_negated;
            assert_int_equal(vcl_acl_match(lists[0], &ip), want);
            assert_int_equal(vcl_acl_match(lists[1], &ip), want);
        }
        vcl_acl_free(&lists[0]);
        vcl_acl_free(&lists[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_rule_decides),
        cmocka_unit_test(rules_that_contradict_are_told),
        cmocka_unit_test(names_and_masks_are_checked),
        cmocka_unit_test(matches_are_logged_on_demand),
        cmocka_unit_test(folding_joins_neighbours),
        cmocka_unit_test(random_lists_agree_with_a_plain_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
