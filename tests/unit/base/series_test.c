/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/series.h"

static void a_seed_is_a_series(void **state)
{
    (void)state;
    struct series s;
    series_init(&s);
    assert_false(series_is_on(&s));
    series_begin(&s, 1);
    assert_true(series_is_on(&s));
    uint32_t first[100];
    for (unsigned i = 0; i < 100; i++) {
        first[i] = series_next(&s);
        assert_true(first[i] < UINT32_C(1) << 31);
    }
    /* What std.random() and the directors of Varnish draw after debug.srandom. */
    assert_int_equal(first[0] / 2147484, 656);
    assert_int_equal(first[2] / 2147484, 39);
    series_begin(&s, 2);
    assert_int_equal(series_next(&s) / 2147484, 516);
    series_begin(&s, 1);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(series_next(&s), first[i]);
    }
    series_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_is_a_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
