/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Dates.
 *
 * Days are counted in a calendar whose years begin on March 1st: the leap day is then the last of
 * its year, and the months before any month have the same number of days in every year.  Eras of
 * 400 years repeat exactly, so a few divisions convert both ways, without tables of years and
 * without time zones. */
#include "http/http_date.h"

#include "base/check.h"

enum {
    DAYS_PER_ERA = 146097,
    DAYS_TO_1970 = 719468, /* from 0000-03-01 */
    SECONDS_PER_DAY = 86400
};

/* The last second of 9999, the last that has four digits of year. */
#define LAST_SECOND UINT64_C(253402300799)

#define WEEKDAYS "SunMonTueWedThuFriSat"
#define MONTHS "JanFebMarAprMayJunJulAugSepOctNovDec"

struct date {
    unsigned year;
    unsigned month; /* 1 to 12 */
    unsigned day;   /* 1 to 31 */
    unsigned hour;
    unsigned minute;
    unsigned second;
    unsigned weekday; /* 0 is Sunday */
};

static struct date from_seconds(uint64_t real_s)
{
    uint64_t days = real_s / SECONDS_PER_DAY;
    unsigned left = (unsigned)(real_s % SECONDS_PER_DAY);
    uint64_t from_0 = days + DAYS_TO_1970;
    unsigned era = (unsigned)(from_0 / DAYS_PER_ERA);
    unsigned day = (unsigned)(from_0 % DAYS_PER_ERA);
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    unsigned day_of_year = day - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * day_of_year + 2) / 153; /* 0 is March */
    bool is_next_year = month >= 10;
    return (struct date){
        .year = era * 400 + year + (is_next_year ? 1 : 0),
        .month = is_next_year ? month - 9 : month + 3,
        .day = day_of_year - (153 * month + 2) / 5 + 1,
        .hour = left / 3600,
        .minute = left / 60 % 60,
        .second = left % 60,
        .weekday = (unsigned)((days + 4) % 7), /* 1970 began on a Thursday */
    };
}

/* Days since 1970-01-01. */
static int64_t to_days(const struct date *d)
{
    unsigned year = d->month <= 2 ? d->year - 1 : d->year;
    unsigned month = d->month <= 2 ? d->month + 9 : d->month - 3;
    unsigned of_era = year % 400;
    unsigned day_of_year = (153 * month + 2) / 5 + d->day - 1;
    int64_t day = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    return (int64_t)(year / 400) * DAYS_PER_ERA + day - DAYS_TO_1970;
}

static char *put_2(char *at, unsigned value)
{
    at[0] = (char)('0' + value / 10);
    at[1] = (char)('0' + value % 10);
    return at + 2;
}

void http_date_format(uint64_t real_s, char out[HTTP_DATE_BYTES])
{
    struct date d = from_seconds(real_s < LAST_SECOND ? real_s : LAST_SECOND);
    memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", HTTP_DATE_BYTES);
    memcpy(out, &WEEKDAYS[3 * d.weekday], 3);
    put_2(out + 5, d.day);
    memcpy(out + 8, &MONTHS[3 * (d.month - 1)], 3);
    put_2(put_2(out + 12, d.year / 100), d.year % 100);
    put_2(out + 17, d.hour);
    put_2(out + 20, d.minute);
    put_2(out + 23, d.second);
}

/* What is left to read; the first failure sticks. */
struct reader {
    struct str s;
    bool is_bad;
};

static void expect(struct reader *r, struct str text)
{
    if (r->is_bad || !str_starts(r->s, text)) {
        r->is_bad = true;
        return;
    }
    r->s = (struct str){r->s.ptr + text.len, r->s.len - text.len};
}

static unsigned number(struct reader *r, unsigned digits)
{
    uint64_t value = 0;
    if (r->is_bad || r->s.len < digits ||
        str_to_u64((struct str){r->s.ptr, digits}, &value) != RC_OK) {
        r->is_bad = true;
        return 0;
    }
    r->s = (struct str){r->s.ptr + digits, r->s.len - digits};
    return (unsigned)value;
}

/* The index of the next three letters among `names`. */
static unsigned name(struct reader *r, struct str names)
{
    for (unsigned i = 0; !r->is_bad && r->s.len >= 3 && 3 * i < names.len; i++) {
        if (memcmp(r->s.ptr, names.ptr + 3 * i, 3) == 0) {
            r->s = (struct str){r->s.ptr + 3, r->s.len - 3};
            return i;
        }
    }
    r->is_bad = true;
    return 0;
}

static void read_clock(struct reader *r, struct date *d)
{
    d->hour = number(r, 2);
    expect(r, STR(":"));
    d->minute = number(r, 2);
    expect(r, STR(":"));
    d->second = number(r, 2);
}

/* ", 06 Nov 1994 08:49:37 GMT" */
static void read_fixdate(struct reader *r, struct date *d)
{
    expect(r, STR(", "));
    d->day = number(r, 2);
    expect(r, STR(" "));
    d->month = name(r, STR(MONTHS)) + 1;
    expect(r, STR(" "));
    d->year = number(r, 4);
    expect(r, STR(" "));
    read_clock(r, d);
    expect(r, STR(" GMT"));
}

/* " Nov  6 08:49:37 1994" */
static void read_asctime(struct reader *r, struct date *d)
{
    expect(r, STR(" "));
    d->month = name(r, STR(MONTHS)) + 1;
    expect(r, STR(" "));
    if (str_starts(r->s, STR(" "))) {
        expect(r, STR(" "));
        d->day = number(r, 1);
    } else {
        d->day = number(r, 2);
    }
    expect(r, STR(" "));
    read_clock(r, d);
    expect(r, STR(" "));
    d->year = number(r, 4);
}

/* "day, 06-Nov-94 08:49:37 GMT" */
static void read_rfc850(struct reader *r, struct date *d)
{
    static const struct str day_rests[] = {
        STR_INIT("day"),   STR_INIT("day"), STR_INIT("sday"),  STR_INIT("nesday"),
        STR_INIT("rsday"), STR_INIT("day"), STR_INIT("urday"),
    };
    expect(r, day_rests[d->weekday]);
    expect(r, STR(", "));
    d->day = number(r, 2);
    expect(r, STR("-"));
    d->month = name(r, STR(MONTHS)) + 1;
    expect(r, STR("-"));
    d->year = number(r, 2);
    /* RFC 9110 would have the century that is nearest to now; Varnish knows 1969 to 2068. */
    d->year += d->year < 69 ? 2000 : 1900;
    expect(r, STR(" "));
    read_clock(r, d);
    expect(r, STR(" GMT"));
}

/* "1994-11-06T08:49:37": no form of HTTP, but Varnish reads it. */
static void read_iso(struct reader *r, struct date *d)
{
    d->year = number(r, 4);
    expect(r, STR("-"));
    d->month = number(r, 2);
    expect(r, STR("-"));
    d->day = number(r, 2);
    expect(r, STR("T"));
    read_clock(r, d);
}

static unsigned days_in_month(const struct date *d)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);
    return d->month == 2 && is_leap ? 29 : days[d->month - 1];
}

static bool is_real(const struct date *d, bool has_weekday)
{
    if (d->year < 1900 || d->month < 1 || d->month > 12 || d->day < 1 ||
        d->day > days_in_month(d)) {
        return false;
    }
    if (d->hour > 23 || d->minute > 59 || d->second > 60) {
        return false;
    }
    /* A million weeks keep the sum positive; day 0 was a Thursday. */
    return !has_weekday || (unsigned)((to_days(d) + 4 + 7000000) % 7) == d->weekday;
}

enum rc http_date_parse(struct str s, int64_t *real_s)
{
    CHECK(real_s != NULL);
    struct reader r = {.s = str_trim(s)};
    struct date d = {0};
    bool is_iso = r.s.len > 0 && r.s.ptr[0] >= '0' && r.s.ptr[0] <= '9';
    if (!is_iso) {
        d.weekday = name(&r, STR(WEEKDAYS));
    }
    if (is_iso) {
        read_iso(&r, &d);
    } else if (str_starts(r.s, STR(","))) {
        read_fixdate(&r, &d);
    } else if (str_starts(r.s, STR(" "))) {
        read_asctime(&r, &d);
    } else {
        read_rfc850(&r, &d);
    }
    if (r.is_bad || r.s.len > 0 || !is_real(&d, !is_iso)) {
        return RC_MALFORMED;
    }
    unsigned second = d.second < 60 ? d.second : 59;
    *real_s = to_days(&d) * SECONDS_PER_DAY + d.hour * 3600 + d.minute * 60 + second;
    return RC_OK;
}
