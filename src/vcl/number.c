/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Strings that become numbers, times, addresses: what headers and cookies hold and VCL computes
 * with.  The text comes from clients, so every function takes any bytes and says what is wrong.
 *
 * The common grammar is Varnish's: fifteen digits before the point and three behind it, which is
 * what a double and HTTP's structured fields carry without loss.  Sums of digits are therefore
 * exact up to the point, and no locale is asked. */
#include "vcl/value.h"

#include <arpa/inet.h>
#include <math.h>

#include "http/http_date.h"

enum { DIGITS_MAX = 15, DECIMALS = 3 };

static struct str skip_blanks(struct str s)
{
    while (s.len > 0 && (*s.ptr == ' ' || *s.ptr == '\t')) {
        s.ptr++;
        s.len--;
    }
    return s;
}

static bool at_digit(struct str s)
{
    return s.len > 0 && *s.ptr >= '0' && *s.ptr <= '9';
}

/* Takes digits off *s; returns how many. */
static unsigned take_digits(struct str *s, unsigned max, double *value)
{
    unsigned count = 0;
    for (; count < max && at_digit(*s); count++) {
        *value = *value * 10 + (*s->ptr - '0');
        s->ptr++;
        s->len--;
    }
    return count;
}

static enum rc take_fraction(struct str *s, bool strict, bool has_whole, double *value)
{
    s->ptr++;
    s->len--;
    if (!at_digit(*s) && (strict || !has_whole)) {
        return RC_MALFORMED;
    }
    double decimals = 0;
    unsigned count = take_digits(s, DECIMALS, &decimals);
    for (; count < DECIMALS; count++) {
        decimals *= 10;
    }
    *value += decimals / 1000;
    if (at_digit(*s) && strict) {
        return RC_LIMIT;
    }
    while (at_digit(*s)) {
        s->ptr++;
        s->len--;
    }
    return RC_OK;
}

enum rc vcl_number_parse(struct str *rest, bool strict, double *value)
{
    struct str s = skip_blanks(*rest);
    bool is_negative = s.len > 0 && *s.ptr == '-';
    if (is_negative) {
        s.ptr++;
        s.len--;
    }
    double number = 0;
    unsigned count = take_digits(&s, DIGITS_MAX, &number);
    if (at_digit(s)) {
        return RC_LIMIT;
    }
    if (s.len > 0 && *s.ptr == '.') {
        if (number > VCL_REAL_MAX) {
            return RC_LIMIT;
        }
        enum rc rc = take_fraction(&s, strict, count > 0, &number);
        if (rc != RC_OK) {
            return rc;
        }
    } else if (count == 0) {
        return RC_MALFORMED;
    }
    *rest = skip_blanks(s);
    *value = is_negative ? -number : number;
    return RC_OK;
}

/* Powers of 1024. */
static int bytes_scale(char c)
{
    static const char units[] = "kmgtp";
    for (int n = 0; n < 5; n++) {
        if ((c | 0x20) == units[n]) {
            return n + 1;
        }
    }
    return 0;
}

enum rc vcl_bytes_parse(struct str s, int64_t *bytes)
{
    double number;
    enum rc rc = vcl_number_parse(&s, true, &number);
    if (rc != RC_OK) {
        return rc;
    }
    if (number < 0) {
        return RC_MALFORMED;
    }
    int scale = s.len > 0 ? bytes_scale(*s.ptr) : 0;
    if (scale > 0) {
        s.ptr++;
        s.len--;
    } else if (trunc(number) != number) {
        return RC_MALFORMED;
    }
    if (s.len > 0 && (*s.ptr | 0x20) == 'b') {
        s.ptr++;
        s.len--;
    }
    if (skip_blanks(s).len > 0) {
        return RC_MALFORMED;
    }
    number = trunc(ldexp(number, 10 * scale));
    if (number >= 9223372036854775808.0) {
        return RC_LIMIT;
    }
    *bytes = (int64_t)number;
    return RC_OK;
}

/* Seconds of the unit; 0: none. */
static double duration_unit(struct str s)
{
    if (str_eq(s, STR("ms"))) {
        return 1e-3;
    }
    if (s.len != 1) {
        return 0;
    }
    switch (*s.ptr) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 7 * 86400;
    case 'y':
        return 365 * 86400;
    default:
        return 0;
    }
}

enum rc vcl_duration_parse(struct str s, double *seconds)
{
    double number;
    enum rc rc = vcl_number_parse(&s, false, &number);
    if (rc != RC_OK) {
        return rc;
    }
    double unit = duration_unit(str_trim(s));
    if (unit == 0) {
        return RC_MALFORMED;
    }
    *seconds = number * unit;
    return RC_OK;
}

enum rc vcl_int_parse(struct str s, int64_t *value)
{
    double number;
    enum rc rc = vcl_number_parse(&s, false, &number);
    if (rc != RC_OK) {
        return rc;
    }
    if (s.len > 0 || trunc(number) != number) {
        return RC_MALFORMED;
    }
    *value = (int64_t)number;
    return RC_OK;
}

enum rc vcl_real_parse(struct str s, double *value)
{
    double number;
    enum rc rc = vcl_number_parse(&s, false, &number);
    if (rc != RC_OK) {
        return rc;
    }
    if (s.len > 0) {
        return RC_MALFORMED;
    }
    if (fabs(number) > VCL_REAL_MAX) {
        return RC_LIMIT;
    }
    *value = number;
    return RC_OK;
}

/* n digits at *at, which moves behind them; -1 when they are none. */
static int fixed_digits(struct str s, size_t *at, unsigned n)
{
    int value = 0;
    for (; n > 0; n--, (*at)++) {
        if (*at >= s.len || s.ptr[*at] < '0' || s.ptr[*at] > '9') {
            return -1;
        }
        value = value * 10 + (s.ptr[*at] - '0');
    }
    return value;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar (years counted from March, so that the
 * leap day is the last). */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool day_exists(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1900 || month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

/* "1994-11-06T08:49:37" */
static enum rc iso_time_parse(struct str s, double *seconds)
{
    static const char between[] = "--T::";
    static const unsigned digits[] = {4, 2, 2, 2, 2, 2};
    int part[6];
    size_t at = 0;
    for (unsigned n = 0; n < 6; n++) {
        part[n] = fixed_digits(s, &at, digits[n]);
        if (part[n] < 0) {
            return RC_MALFORMED;
        }
        if (n < 5 && (at >= s.len || s.ptr[at++] != between[n])) {
            return RC_MALFORMED;
        }
    }
    if (at != s.len || !day_exists(part[0], part[1], part[2]) || part[3] > 23 || part[4] > 59 ||
        part[5] > 60) {
        return RC_MALFORMED;
    }
    int second = part[5] == 60 ? 59 : part[5];
    *seconds = (double)(days_since_1970(part[0], part[1], part[2]) * 86400 + part[3] * 3600 +
                        part[4] * 60 + second);
    return RC_OK;
}

enum rc vcl_time_parse(struct str s, double *seconds)
{
    s = str_trim(s);
    int64_t date_s;
    if (http_date_parse(s, &date_s) == RC_OK && date_s != 0) {
        *seconds = (double)date_s;
        return RC_OK;
    }
    if (iso_time_parse(s, seconds) == RC_OK) {
        return RC_OK;
    }
    double number;
    enum rc rc = vcl_number_parse(&s, false, &number);
    if (rc != RC_OK) {
        return rc;
    }
    if (s.len > 0 || number <= 0) {
        return RC_MALFORMED;
    }
    *seconds = number;
    return RC_OK;
}

static enum rc port_parse(struct str s, uint16_t *port)
{
    uint64_t number;
    if (str_to_u64(s, &number) != RC_OK || number > UINT16_MAX) {
        return RC_MALFORMED;
    }
    *port = (uint16_t)number;
    return RC_OK;
}

enum rc vcl_split_port(struct str s, struct str *host, struct str *port)
{
    *port = STR_NONE;
    if (s.len > 0 && *s.ptr == '[') {
        size_t end = str_find(s, ']');
        if (end == s.len) {
            return RC_MALFORMED;
        }
        *host = (struct str){s.ptr + 1, end - 1};
        if (end + 1 == s.len) {
            return RC_OK;
        }
        if (s.ptr[end + 1] != ':' && s.ptr[end + 1] != ' ') {
            return RC_MALFORMED;
        }
        *port = (struct str){s.ptr + end + 2, s.len - end - 2};
        return RC_OK;
    }
    size_t at = str_find(s, ' ');
    if (at == s.len) {
        at = str_find(s, ':');
        struct str behind = {s.ptr + at, s.len - at};
        if (at < s.len &&
            str_find((struct str){behind.ptr + 1, behind.len - 1}, ':') + 1 < behind.len) {
            at = s.len; /* two colons: IPv6 without a port */
        }
    }
    *host = (struct str){s.ptr, at};
    if (at < s.len) {
        *port = (struct str){s.ptr + at + 1, s.len - at - 1};
    }
    return RC_OK;
}

enum rc vcl_ip_parse(struct str s, uint16_t port, struct objm_ip *ip)
{
    struct str host;
    struct str port_text;
    enum rc rc = vcl_split_port(s, &host, &port_text);
    if (rc != RC_OK) {
        return rc;
    }
    struct objm_ip out = {.port = port};
    if (port_text.ptr != NULL && port_parse(port_text, &out.port) != RC_OK) {
        return RC_MALFORMED;
    }
    char text[INET6_ADDRSTRLEN];
    if (host.len >= sizeof text || host.len == 0 || memchr(host.ptr, '\0', host.len) != NULL) {
        return RC_MALFORMED;
    }
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, out.addr) == 1) {
        out.family = 4;
    } else if (inet_pton(AF_INET6, text, out.addr) == 1) {
        out.family = 6;
    } else {
        return RC_MALFORMED;
    }
    *ip = out;
    return RC_OK;
}
