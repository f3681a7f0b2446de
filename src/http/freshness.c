/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* How long a response may be served without asking.
 *
 * The rules are Varnish's, because VCL that was written for them computes with their result; a
 * policy that wants RFC 9111 reads struct http_cc beside it.  Where the two differ:
 *   - private, no-cache, no-store are policy (the built-in one honours them), not freshness;
 *   - a response without any lifetime gets default_ttl, where section 4.2.2 would have a heuristic;
 *   - an Expires that is no date counts as absent, where section 5.3 calls it expired;
 *   - Expires is compared with our own clock as long as Date agrees with it, section 4.2.1 takes
 * Date;
 *   - the age is the Age field alone, section 4.2.3 adds what the response spent on its way;
 *   - must-revalidate does not end grace (section 5.2.2.2);
 *   - 308, 405, 501 are not cached by default, 302 and 307 are once they say for how long.
 * Where we differ from Varnish: an Expires of exactly 1970-01-01 00:00:00 is expired (Varnish's
 * date parser returns 0 both for that and for no date, so there it means default_ttl); lifetimes
 * end at HTTP_CC_MAX_S. */
#include "http/http_cache.h"

#include "base/check.h"
#include "base/clock.h"
#include "http/http_date.h"
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

static int64_t seconds_to_ns(int64_t s)
{
    if (s <= 0) {
        return 0;
    }
    return (s < (int64_t)HTTP_CC_MAX_S ? s : (int64_t)HTTP_CC_MAX_S) * (int64_t)NS_PER_S;
}

/* A lifetime from absolute dates.  `has_date` and the like tell absent from 1970. */
static int64_t by_expires(const struct http_fresh *f, bool has_date, uint64_t now_real_ns,
                          uint64_t clock_skew_ns)
{
    if (has_date && f->expires_s < f->date_s) {
        return 0;
    }
    int64_t now_s = (int64_t)(now_real_ns / NS_PER_S);
    int64_t skew_s = f->date_s > now_s ? f->date_s - now_s : now_s - f->date_s;
    if (has_date && (uint64_t)skew_s >= clock_skew_ns / NS_PER_S) {
        /* The clocks disagree, but the difference of the two fields is still meant. */
        return seconds_to_ns(f->expires_s - f->date_s);
    }
    int64_t ns = seconds_to_ns(f->expires_s - now_s);
    int64_t part_ns = (int64_t)(now_real_ns % NS_PER_S);
    return ns > part_ns ? ns - part_ns : 0;
}

static bool read_date(const struct http *h, enum http_hdr_id id, int64_t *real_s)
{
    const struct http_hdr *hdr = http_find(h, id);
    return hdr != NULL && http_date_parse(hdr->value, real_s) == RC_OK;
}

void http_freshness(const struct http *resp, uint64_t now_real_ns,
                    const struct http_fresh_defaults *defaults, struct http_fresh *f)
{
    CHECK(resp->status >= 100);
    CHECK(defaults->ttl_ns <= INT64_MAX);
    *f = (struct http_fresh){.ttl_ns = (int64_t)defaults->ttl_ns,
                             .grace_ns = defaults->grace_ns,
                             .keep_ns = defaults->keep_ns};
    f->age_s = http_has(resp, HDR_AGE) ? http__seconds(http_get(resp, HDR_AGE)) : 0;
    uint64_t age_ns = f->age_s * NS_PER_S;
    f->origin_ns = now_real_ns > age_ns ? now_real_ns - age_ns : 0;
    bool has_date = read_date(resp, HDR_DATE, &f->date_s);
    bool has_expires = read_date(resp, HDR_EXPIRES, &f->expires_s);
    struct http_cc cc;
    http_cc_parse(resp, &cc);

    enum cacheable cacheable = is_cacheable(resp->status);
    if (cacheable == NEVER_CACHED) {
        f->ttl_ns = -1;
    } else if ((cc.bits & (HTTP_CC_S_MAXAGE | HTTP_CC_MAX_AGE)) != 0) {
        f->max_age_s = (cc.bits & HTTP_CC_S_MAXAGE) != 0 ? cc.s_maxage_s : cc.max_age_s;
        f->ttl_ns = seconds_to_ns(f->max_age_s);
    } else if (has_expires) {
        f->ttl_ns = by_expires(f, has_date, now_real_ns, defaults->clock_skew_ns);
    } else if (cacheable == WHEN_EXPLICIT) {
        f->ttl_ns = -1;
    }
    if (f->ttl_ns >= 0 && (cc.bits & HTTP_CC_STALE_WHILE_REVALIDATE) != 0) {
        f->grace_ns = cc.stale_while_revalidate_s * NS_PER_S;
    }
}
