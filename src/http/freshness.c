/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* How long a response may be served without asking, as Varnish has it.
 *
 * VCL that was written for Varnish computes with these results, so they are Varnish's to the
 * letter; what RFC 9111 says instead is in rfc9111.c.  tests/ttl compares the two daemons.  In
 * particular:
 *   - private, no-cache, no-store are policy (the built-in one honours them), not freshness;
 *   - a response without any lifetime gets default_ttl;
 *   - an Expires that is no date counts as absent, and so does 1970-01-01 00:00:00;
 *   - Expires is compared with our own clock as long as Date agrees with it;
 *   - the age is the Age field alone;
 *   - 308, 405, 501 are not cached by default, 302 and 307 are once they say for how long;
 *   - numbers are read as strtoul reads them; a directive in quotes is none; an s-maxage without an
 *     argument hides max-age.
 * Where we differ: nothing is older than 1970, and no Expires is further away than
 * HTTP_FRESH_MAX_S. */
#include "http/http_cache.h"

#include "base/check.h"
#include "base/clock.h"
#include "http/http_date.h"
#include "http/http_list.h"
#include "http/http_priv.h"

enum cacheable { NEVER_CACHED, BY_DEFAULT, WHEN_EXPLICIT };

static enum cacheable is_cacheable(unsigned status)
{
    switch (status) {
    case 200:
    case 203:
    case 204:
    case 300:
    case 301:
    case 304: /* it renews one that was cacheable */
    case 404:
    case 410:
    case 414:
        return BY_DEFAULT;
    case 302:
    case 307:
        return WHEN_EXPLICIT;
    default: /* not an enum: the peer's number */
        return NEVER_CACHED;
    }
}

/* What is left of a number that is read to its end: blanks, then nothing or a comma or a point. */
static bool is_end_of_number(struct str rest)
{
    rest = str_trim(rest);
    return rest.len == 0 || rest.ptr[0] == ',' || rest.ptr[0] == '.';
}

/* 0 for what is no number, and for what is negative. */
static uint32_t seconds(struct str s)
{
    s = str_trim(s);
    size_t at = s.len > 0 && s.ptr[0] == '+' ? 1 : 0;
    size_t first = at;
    uint64_t sum = 0;
    for (; at < s.len && http__is(s.ptr[at], HTTP__DIGIT); at++) {
        sum = sum * 10 + (uint64_t)(s.ptr[at] - '0');
        sum = sum < HTTP_FRESH_MAX_S ? sum : HTTP_FRESH_MAX_S;
    }
    bool is_number = at > first && is_end_of_number((struct str){s.ptr + at, s.len - at});
    return is_number ? (uint32_t)sum : 0;
}

/* The first directive of this name.  *argument: STR_NONE without one, and with its quotes. */
static bool find_directive(const struct http *h, struct str want, struct str *argument)
{
    struct http_members it = http_members(h, HDR_CACHE_CONTROL);
    struct str member;
    while (http_members_next(&it, &member)) {
        struct str name;
        http_split_member(member, &name, argument);
        if (!str_eq_nocase(name, want)) {
            continue;
        }
        if (argument->ptr != NULL) {
            size_t at = (size_t)(argument->ptr - member.ptr);
            bool is_quoted = at > 0 && member.ptr[at - 1] == '"';
            argument->ptr -= is_quoted ? 1 : 0;
            argument->len += is_quoted ? 1 : 0;
        }
        return true;
    }
    *argument = STR_NONE;
    return false;
}

/* A lifetime in seconds from Cache-Control; false when it gives none. */
static bool read_lifetime(const struct http *h, uint32_t *s)
{
    struct str argument;
    if (!find_directive(h, STR("s-maxage"), &argument)) {
        (void)find_directive(h, STR("max-age"), &argument);
    }
    if (argument.ptr == NULL) {
        return false;
    }
    *s = seconds(argument);
    return true;
}

static int64_t seconds_to_ns(int64_t s)
{
    if (s <= 0) {
        return 0;
    }
    return (s < (int64_t)HTTP_FRESH_MAX_S ? s : (int64_t)HTTP_FRESH_MAX_S) * (int64_t)NS_PER_S;
}

/* A lifetime from absolute dates.  A date of 0 is none. */
static int64_t by_expires(const struct http_fresh *f, uint64_t now_real_ns, uint64_t clock_skew_s)
{
    if (f->expires_s < f->date_s) {
        return 0;
    }
    int64_t now_s = (int64_t)(now_real_ns / NS_PER_S);
    int64_t skew_s = f->date_s > now_s ? f->date_s - now_s : now_s - f->date_s;
    if (f->date_s != 0 && (uint64_t)skew_s >= clock_skew_s) {
        /* The clocks disagree, but the difference of the two fields is still meant. */
        return seconds_to_ns(f->expires_s - f->date_s);
    }
    int64_t ns = seconds_to_ns(f->expires_s - now_s);
    int64_t part_ns = (int64_t)(now_real_ns % NS_PER_S);
    return ns > part_ns ? ns - part_ns : 0;
}

static int64_t read_date(const struct http *h, enum http_hdr_id id)
{
    const struct http_hdr *hdr = http_find(h, id);
    int64_t real_s = 0;
    return hdr != NULL && http_date_parse(hdr->value, &real_s) == RC_OK ? real_s : 0;
}

uint32_t http_age_field(const struct http *resp)
{
    return http_has(resp, HDR_AGE) ? seconds(http_get(resp, HDR_AGE)) : 0;
}

void http_freshness(const struct http *resp, uint64_t now_real_ns,
                    const struct http_fresh_defaults *defaults, struct http_fresh *f)
{
    CHECK(resp->status >= 100);
    CHECK(defaults->ttl_ns <= INT64_MAX);
    *f = (struct http_fresh){.ttl_ns = (int64_t)defaults->ttl_ns,
                             .grace_ns = defaults->grace_ns,
                             .keep_ns = defaults->keep_ns};
    f->age_s = http_age_field(resp);
    uint64_t age_ns = f->age_s * NS_PER_S;
    f->origin_ns = now_real_ns > age_ns ? now_real_ns - age_ns : 0;
    f->date_s = read_date(resp, HDR_DATE);
    f->expires_s = read_date(resp, HDR_EXPIRES);

    enum cacheable cacheable = is_cacheable(resp->status);
    if (cacheable == NEVER_CACHED) {
        f->ttl_ns = -(int64_t)NS_PER_S;
    } else if (read_lifetime(resp, &f->max_age_s)) {
        f->ttl_ns = seconds_to_ns(f->max_age_s);
    } else if (f->expires_s != 0) {
        f->ttl_ns = by_expires(f, now_real_ns, defaults->clock_skew_s);
    } else if (cacheable == WHEN_EXPLICIT) {
        f->ttl_ns = -(int64_t)NS_PER_S;
    }
    struct str stale;
    if (f->ttl_ns >= 0 && find_directive(resp, STR("stale-while-revalidate"), &stale) &&
        stale.ptr != NULL) {
        f->grace_ns = seconds(stale) * NS_PER_S;
    }
}
