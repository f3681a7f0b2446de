/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What failed at once is not tried again for a moment; what took its time is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/holddown.h"
#include "base/check.h"

static const uint64_t T0 = 1000 * NS_PER_S;

static void each_failure_has_its_time(void **state)
{
    (void)state;
    static const struct {
        enum rc why;
        uint64_t for_ns;
    } cases[] = {
        {RC_REFUSED, 2 * NS_PER_S},
        {RC_UNREACHABLE, 2 * NS_PER_S},
        {RC_NOT_FOUND, 2 * NS_PER_S},
        {RC_DENIED, 7 * NS_PER_S},
        {RC_TIMEOUT, 0},
        {RC_NOFILES, 0},
        {RC_IO, 0},
        {RC_CANCELLED, 0},
    };
    static struct params params;
    param_defaults(&params);
    param_set(&params, PARAM_backend_remote_error_holddown, 2 * NS_PER_S);
    param_set(&params, PARAM_backend_local_error_holddown, 7 * NS_PER_S);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct holddown h = {0};
        uint64_t end_ns = T0 + cases[i].for_ns;
        assert_int_equal(holddown__enter(&h, T0), RC_OK);
        holddown__leave(&h, &params, cases[i].why, T0);
        if (cases[i].for_ns > 0) {
            assert_int_equal(holddown__enter(&h, T0), cases[i].why);
            assert_int_equal(holddown__enter(&h, end_ns - 1), cases[i].why);
        }
        assert_int_equal(holddown__enter(&h, end_ns), RC_OK);
    }
}

static void one_finds_out_whether_it_is_over(void **state)
{
    (void)state;
    static struct params params;
    param_defaults(&params);
    param_set(&params, PARAM_backend_remote_error_holddown, NS_PER_S);
    struct holddown h = {0};
    uint64_t now_ns = T0;
    /* Whatever ends a trial, and however often: the next one may try, one at a time. */
    static const enum rc outcomes[] = {RC_REFUSED, RC_CANCELLED, RC_UNREACHABLE, RC_REFUSED};
    assert_int_equal(holddown__enter(&h, now_ns), RC_OK);
    assert_int_equal(holddown__enter(&h, now_ns), RC_OK);
    holddown__leave(&h, &params, RC_REFUSED, now_ns);
    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
        now_ns += NS_PER_S;
        assert_int_equal(holddown__enter(&h, now_ns), RC_OK);
        assert_int_not_equal(holddown__enter(&h, now_ns), RC_OK);
        assert_int_not_equal(holddown__enter(&h, now_ns), RC_OK);
        holddown__leave(&h, &params, outcomes[i], now_ns);
    }
    now_ns += NS_PER_S;
    assert_int_equal(holddown__enter(&h, now_ns), RC_OK);
    holddown__leave(&h, &params, RC_OK, now_ns);
    assert_int_equal(holddown__enter(&h, now_ns), RC_OK);
    assert_int_equal(holddown__enter(&h, now_ns), RC_OK);
}

static void zero_turns_it_off(void **state)
{
    (void)state;
    static struct params params;
    param_defaults(&params);
    param_set(&params, PARAM_backend_remote_error_holddown, 0);
    struct holddown h = {0};
    holddown__leave(&h, &params, RC_REFUSED, T0);
    assert_int_equal(holddown__enter(&h, T0), RC_OK);
    assert_int_equal(holddown__enter(&h, T0), RC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failure_has_its_time),
        cmocka_unit_test(one_finds_out_whether_it_is_over),
        cmocka_unit_test(zero_turns_it_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
