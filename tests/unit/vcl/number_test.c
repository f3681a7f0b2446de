/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vcl/value.h"

/* What std.integer of Varnish 7.1.1 took and refused. */
static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum rc rc;
        int64_t value;
    } rows[] = {
        {"1.0", RC_OK, 1},
        {"1.5", RC_MALFORMED, 0},
        {" 12 ", RC_OK, 12},
        {"-0012", RC_OK, -12},
        {"+1", RC_MALFORMED, 0},
        {"1e3", RC_MALFORMED, 0},
        {"", RC_MALFORMED, 0},
        {"- 1", RC_MALFORMED, 0},
        {"1x", RC_MALFORMED, 0},
        {"0.", RC_OK, 0},
        {".0", RC_OK, 0},
        {"1234567890123456", RC_LIMIT, 0},
        {".", RC_MALFORMED, 0},
        {"-", RC_MALFORMED, 0},
        {"123456789012345", RC_OK, 123456789012345},
        {"5.0004", RC_OK, 5},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        int64_t value = 0;
        assert_int_equal(vcl_int_parse(str_of(rows[n].text), &value), rows[n].rc);
        assert_int_equal(value, rows[n].value);
    }
}

static void durations_and_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum rc rc;
        double seconds;
    } durations[] = {
        {"1w", RC_OK, 604800},   {"5ms", RC_OK, 0.005},    {"1.5d", RC_OK, 129600},
        {"2 h", RC_OK, 7200},    {"-1s", RC_OK, -1},       {"10", RC_MALFORMED, 0},
        {"1y", RC_OK, 31536000}, {"1mm", RC_MALFORMED, 0}, {"s", RC_MALFORMED, 0},
    };
    for (size_t n = 0; n < ARRAY_SIZE(durations); n++) {
        double s = 0;
        assert_int_equal(vcl_duration_parse(str_of(durations[n].text), &s), durations[n].rc);
        assert_true(s - durations[n].seconds < 1e-9 && durations[n].seconds - s < 1e-9);
    }
    static const struct {
        const char *text;
        enum rc rc;
        int64_t bytes;
    } bytes[] = {
        {"1KB", RC_OK, 1024},          {"1.5G", RC_OK, 1610612736}, {"10", RC_OK, 10},
        {"0.5t", RC_OK, 549755813888}, {"10b", RC_OK, 10},          {"1.5", RC_MALFORMED, 0},
        {"-1K", RC_MALFORMED, 0},      {"1Kx", RC_MALFORMED, 0},    {"1.5555K", RC_LIMIT, 0},
        {"999999999p", RC_LIMIT, 0},   {"1.", RC_MALFORMED, 0},     {"2 m ", RC_OK, 2097152},
    };
    for (size_t n = 0; n < ARRAY_SIZE(bytes); n++) {
        int64_t b = 0;
        assert_int_equal(vcl_bytes_parse(str_of(bytes[n].text), &b), bytes[n].rc);
        assert_int_equal(b, bytes[n].bytes);
    }
}

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds; /* 0: none */
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"1994-11-06T08:49:37", 784111777},
        {"784111777.5", 784111777.5},
        {"784111777", 784111777},
        {"2000-02-29T23:59:60", 951868799},
        {"1900-02-29T00:00:00", 0},
        {"2023-02-29T00:00:00", 0},
        {"2023-13-01T00:00:00", 0},
        {"1994-11-06T08:49:37Z", 0},
        {"1994-11-06", 0},
        {"0", 0},
        {"-1", 0},
        {"now", 0},
        {"", 0},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        double s = 0;
        enum rc rc = vcl_time_parse(str_of(rows[n].text), &s);
        assert_int_equal(rc == RC_OK, rows[n].seconds > 0);
        assert_true(rc != RC_OK || (s - rows[n].seconds < 1e-6 && rows[n].seconds - s < 1e-6));
    }
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int family; /* 0: none */
        unsigned port;
    } rows[] = {
        {"192.0.2.1", 4, 80},
        {"192.0.2.1:8080", 4, 8080},
        {"192.0.2.1 81", 4, 81},
        {"::1", 6, 80},
        {"[::1]", 6, 80},
        {"[::1]:443", 6, 443},
        {"[::1] 443", 6, 443},
        {"::1 443", 6, 443},
        {"[::1]x", 0, 0},
        {"[::1", 0, 0},
        {"1.2.3", 0, 0},
        {"1.2.3.4:99999", 0, 0},
        {"1.2.3.4:", 0, 0},
        {"", 0, 0},
        {"localhost", 0, 0},
        {"1.2.3.4:http", 0, 0},
        {"1:2:3:4:5:6:7:8", 6, 80},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        struct objm_ip ip;
        enum rc rc = vcl_ip_parse(str_of(rows[n].text), 80, &ip);
        assert_int_equal(rc == RC_OK, rows[n].family != 0);
        if (rc == RC_OK) {
            assert_int_equal(ip.family, rows[n].family);
            assert_int_equal(ip.port, rows[n].port);
        }
    }
    struct objm_ip ip;
    assert_int_equal(vcl_ip_parse((struct str){"1.2.3.4\0", 8}, 80, &ip), RC_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(durations_and_bytes),
        cmocka_unit_test(times),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
