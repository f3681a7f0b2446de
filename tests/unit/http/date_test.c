/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "http/http_date.h"

static const struct {
    const char *text;
    int64_t real_s;
} good[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"  Sun, 06 Nov 1994 08:49:37 GMT\t", 784111777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Mon, 01 Jan 1900 00:00:00 GMT", -2208988800},
    {"Tue, 29 Feb 2000 23:59:60 GMT", 951868799},
    {"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800},
    {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
    {"Wednesday, 31-Dec-69 23:59:59 GMT", -1},
    {"Sunday, 01-Jan-68 00:00:00 GMT", 3092601600},
    {"Sat Dec 31 00:00:00 2016", 1483142400},
    {"1994-11-06T08:49:37", 784111777},
    {"2000-02-29T23:59:60", 951868799},
};

static const char *const bad[] = {
    "",
    "0",
    "-1",
    "Sun",
    "Mon, 06 Nov 1994 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun, 06 nov 1994 08:49:37 GMT",
    "sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 GMT x",
    "Sun, 06 Nov 1994 8:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Thu, 31 Nov 1994 08:49:37 GMT",
    "Wed, 29 Feb 1995 08:49:37 GMT",
    "Thu, 29 Feb 1900 08:49:37 GMT",
    "Sun, 31 Dec 1899 08:49:37 GMT",
    "Sun, 06 Nov -994 08:49:37 GMT",
    "Sun, +6 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-1994 08:49:37 GMT",
    "Tuesday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov 06 08:49:37 94",
    "Sun Nov   6 08:49:37 1994",
    "1994-11-06",
    "1994-11-06 08:49:37",
    "1994-11-06T08:49:37Z",
    "1995-02-29T08:49:37",
    "1994-13-06T08:49:37",
    "19941-1-06T08:49:37",
};

static void all_forms_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        int64_t real_s = 5;
        if (http_date_parse(str_of(good[i].text), &real_s) != RC_OK || real_s != good[i].real_s) {
            fail_msg("%s: %lld", good[i].text, (long long)real_s);
        }
    }
}

static void nothing_else_is_a_date(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int64_t real_s = 5;
        if (http_date_parse(str_of(bad[i]), &real_s) != RC_MALFORMED) {
            fail_msg("%s: %lld", bad[i], (long long)real_s);
        }
        assert_int_equal(real_s, 5);
    }
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct rng r = {.state = 3};
    for (int i = 0; i < 20000; i++) {
        uint64_t real_s = rng_below(&r, UINT64_C(253402300800));
        char text[HTTP_DATE_BYTES];
        http_date_format(real_s, text);
        int64_t back = -1;
        assert_int_equal(http_date_parse((struct str){text, sizeof text}, &back), RC_OK);
        assert_true(back == (int64_t)real_s);
    }
    char text[HTTP_DATE_BYTES];
    http_date_format(784111777, text);
    assert_memory_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT", sizeof text);
    http_date_format(UINT64_MAX, text);
    assert_memory_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT", sizeof text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_forms_are_read),
        cmocka_unit_test(nothing_else_is_a_date),
        cmocka_unit_test(what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
