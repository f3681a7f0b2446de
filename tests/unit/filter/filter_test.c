/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filter/filter.h"

static void encodings_are_formats(void **state)
{
    (void)state;
    assert_true(str_eq(filter_format_of(STR("")), STR("text")));
    assert_true(str_eq(filter_format_of(STR("X-GZIP")), STR("gzip")));
    assert_true(str_eq(filter_format_of(STR("br")), STR("br")));
    assert_null(filter_format_of(STR("compress")).ptr);
    assert_null(filter_format_of(STR("gzip, br")).ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodings_are_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
