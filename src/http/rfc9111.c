/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* RFC 9111 for a shared cache: what may be stored, for how long it is fresh, and when it may be
 * used again.
 *
 * Choices that the RFC leaves open:
 *   - 206 is never stored (section 3.4 allows it, nothing demands it);
 *   - a lifetime of our own is a tenth of the time since Last-Modified, at most a day, and
 *     default_ttl where there is no Last-Modified (section 4.2.2);
 *   - private="..." and no-cache="..." leave the named fields out of what is stored, unless one of
 *     them is a field that storing itself needs: then they count as if they named none;
 *   - what has a validator is kept an hour after it went stale;
 *   - Pragma counts in requests without Cache-Control (section 5.4). */
#include "http/http_rfc9111.h"

#include "base/check.h"
#include "base/clock.h"
#include "http/http_date.h"
#include "http/http_list.h"
#include "http/http_priv.h"

#define HEURISTIC_MAX_NS (86400 * NS_PER_S)
#define VALIDATOR_KEEP_NS (3600 * NS_PER_S)

/* Section 5.2.2: what forbids a shared cache to reuse a stale response. */
enum {
    STALE_FORBIDDEN = HTTP_CC_MUST_REVALIDATE | HTTP_CC_PROXY_REVALIDATE | HTTP_CC_S_MAXAGE,
    AUTHORIZES = HTTP_CC_MUST_REVALIDATE | HTTP_CC_PUBLIC | HTTP_CC_S_MAXAGE, /* section 3.5 */
};

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t at_least(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- fields ---- */

/* A date in one of HTTP's own forms (RFC 9110 section 5.6.7). */
static bool read_date(struct str s, int64_t *real_s)
{
    s = str_trim(s);
    bool is_iso = s.len > 0 && http__is(s.ptr[0], HTTP__DIGIT);
    return !is_iso && http_date_parse(s, real_s) == RC_OK;
}

static bool find_date(const struct http *h, enum http_hdr_id id, int64_t *real_s)
{
    return http_has(h, id) && read_date(http_get(h, id), real_s);
}

/* The earliest Expires; what is no date is long ago (section 5.3). */
static int64_t read_expires(const struct http *h)
{
    int64_t earliest = INT64_MAX;
    for (unsigned i = 0; i < h->count; i++) {
        int64_t real_s = 0;
        if (h->hdr[i].id != HDR_EXPIRES) {
            continue;
        }
        if (!read_date(h->hdr[i].value, &real_s)) {
            return INT64_MIN;
        }
        earliest = real_s < earliest ? real_s : earliest;
    }
    return earliest;
}

/* The first member of the first Age; what is no number is ignored (section 5.1). */
static uint64_t read_age_ns(const struct http *h)
{
    struct http_members it = http_members(h, HDR_AGE);
    struct str member;
    uint32_t seconds = 0;
    if (!http_has(h, HDR_AGE) || !http_members_next(&it, &member) ||
        !http__seconds(member, &seconds)) {
        return 0;
    }
    return seconds * NS_PER_S;
}

static bool has_validator(const struct http *h)
{
    int64_t real_s;
    return http_has(h, HDR_ETAG) || find_date(h, HDR_LAST_MODIFIED, &real_s);
}

/* Without these a stored response would not be what it is, or could not be told from others. */
static bool is_needed(enum http_hdr_id id)
{
    switch (id) {
    case HDR_AGE:
    case HDR_CACHE_CONTROL:
    case HDR_CONTENT_ENCODING:
    case HDR_CONTENT_LENGTH:
    case HDR_CONTENT_RANGE:
    case HDR_CONTENT_TYPE:
    case HDR_DATE:
    case HDR_ETAG:
    case HDR_EXPIRES:
    case HDR_LAST_MODIFIED:
    case HDR_TRANSFER_ENCODING:
    case HDR_VARY:
        return true;
    default: /* every other field, known or not */
        return false;
    }
}

static bool next_name(struct str *list, struct str *name)
{
    return http_list_next(list, ',', name);
}

/* Whether a list of fields can be kept to. */
static bool is_list_usable(struct str list)
{
    struct str name;
    bool is_usable = false;
    while (next_name(&list, &name)) {
        if (!http_is_token(name) || is_needed(http_hdr_id(name))) {
            return false;
        }
        is_usable = true;
    }
    return is_usable;
}

static bool is_unqualified(const struct http_cc *cc, uint32_t bit, uint32_t fields_bit,
                           struct str fields)
{
    return (cc->bits & bit) != 0 && ((cc->bits & fields_bit) == 0 || !is_list_usable(fields));
}

static bool is_private(const struct http_cc *cc)
{
    return is_unqualified(cc, HTTP_CC_PRIVATE, HTTP_CC_PRIVATE_FIELDS, cc->private_fields);
}

static bool is_no_cache(const struct http_cc *cc)
{
    return is_unqualified(cc, HTTP_CC_NO_CACHE, HTTP_CC_NO_CACHE_FIELDS, cc->no_cache_fields);
}

static bool list_names(struct str list, struct str want)
{
    struct str name;
    while (next_name(&list, &name)) {
        if (str_eq_nocase(name, want)) {
            return true;
        }
    }
    return false;
}

bool http_9111_is_withheld(const struct http_cc *cc, struct str name)
{
    bool is_listed = (cc->bits & HTTP_CC_PRIVATE_FIELDS) != 0 && !is_private(cc) &&
                     list_names(cc->private_fields, name);
    return is_listed || ((cc->bits & HTTP_CC_NO_CACHE_FIELDS) != 0 && !is_no_cache(cc) &&
                         list_names(cc->no_cache_fields, name));
}

/* ---- storing ---- */

/* RFC 9110 section 15.1, without 206. */
static bool is_heuristically_cacheable(unsigned status)
{
    static const uint16_t cacheable[] = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501};
    for (size_t i = 0; i < ARRAY_SIZE(cacheable); i++) {
        if (cacheable[i] == status) {
            return true;
        }
    }
    return false;
}

/* The codes of RFC 9110 whose caching we do as it says; 206, 304 and 416 are about parts and
 * conditions. */
static bool is_understood(unsigned status)
{
    static const struct {
        uint16_t first;
        uint16_t last;
    } runs[] = {{200, 205}, {300, 303}, {307, 308}, {400, 415},
                {417, 417}, {421, 422}, {426, 426}, {500, 505}};
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        if (status >= runs[i].first && status <= runs[i].last) {
            return true;
        }
    }
    return false;
}

static bool is_explicit(const struct http *resp, const struct http_cc *cc)
{
    return (cc->bits & (HTTP_CC_MAX_AGE | HTTP_CC_S_MAXAGE)) != 0 || http_has(resp, HDR_EXPIRES);
}

/* Section 3, in its order. */
static const char *why_not(const struct http_9111_fetch *fetch, const struct http_cc *cc)
{
    const struct http *resp = fetch->resp;
    struct http_cc asked;
    http_cc_parse(fetch->req, &asked);
    if (fetch->req->method_id != HTTP_M_GET) {
        return "method";
    }
    if (resp->status < 200 || resp->status == 206 || resp->status == 304) {
        return "status";
    }
    bool must_understand = (cc->bits & HTTP_CC_MUST_UNDERSTAND) != 0;
    if (must_understand && !is_understood(resp->status)) {
        return "must-understand";
    }
    if ((asked.bits & HTTP_CC_NO_STORE) != 0) {
        return "no-store of the request";
    }
    if ((cc->bits & HTTP_CC_NO_STORE) != 0 && !must_understand) {
        return "no-store";
    }
    if (is_private(cc)) {
        return "private";
    }
    if (http_has(fetch->req, HDR_AUTHORIZATION) && (cc->bits & AUTHORIZES) == 0) {
        return "Authorization";
    }
    if (http_has_token(resp, HDR_VARY, STR("*"))) {
        return "Vary";
    }
    bool may_guess = is_heuristically_cacheable(resp->status) || (cc->bits & HTTP_CC_PUBLIC) != 0;
    return may_guess || is_explicit(resp, cc) ? NULL : "status without a lifetime";
}

/* Sections 4.2.1 and 4.2.2. */
static uint64_t lifetime_ns(const struct http_9111_fetch *fetch, const struct http_cc *cc,
                            int64_t date_s, bool *is_heuristic)
{
    *is_heuristic = false;
    if ((cc->bits & HTTP_CC_S_MAXAGE) != 0) {
        return cc->s_maxage_s * NS_PER_S;
    }
    if ((cc->bits & HTTP_CC_MAX_AGE) != 0) {
        return cc->max_age_s * NS_PER_S;
    }
    if (http_has(fetch->resp, HDR_EXPIRES)) {
        int64_t expires_s = read_expires(fetch->resp);
        uint64_t s = expires_s > date_s ? (uint64_t)expires_s - (uint64_t)date_s : 0;
        return at_most(s, HTTP_CC_MAX_S) * NS_PER_S;
    }
    *is_heuristic = true;
    int64_t modified_s = 0;
    if (!find_date(fetch->resp, HDR_LAST_MODIFIED, &modified_s)) {
        return fetch->default_ttl_ns;
    }
    uint64_t since_s = modified_s < date_s ? (uint64_t)date_s - (uint64_t)modified_s : 0;
    return at_most(at_most(since_s, HTTP_CC_MAX_S) * NS_PER_S / 10, HEURISTIC_MAX_NS);
}

/* Section 4.2.3: the time that the response spent elsewhere, by its own word or by its Date. */
static uint64_t initial_age_ns(const struct http_9111_fetch *fetch, int64_t date_s)
{
    uint64_t delay_ns = less(fetch->response_ns, fetch->request_ns);
    uint64_t corrected_ns = clock_after(read_age_ns(fetch->resp), delay_ns);
    uint64_t apparent_ns =
        date_s < 0 ? fetch->response_ns : less(fetch->response_ns, (uint64_t)date_s * NS_PER_S);
    return at_least(apparent_ns, corrected_ns);
}

void http_9111_store(const struct http_9111_fetch *fetch, struct http_9111_object *object)
{
    CHECK(fetch->resp->status >= 100);
    struct http_cc cc;
    http_cc_parse(fetch->resp, &cc);
    int64_t date_s = 0;
    if (!find_date(fetch->resp, HDR_DATE, &date_s)) {
        date_s = (int64_t)(fetch->response_ns / NS_PER_S);
    }
    *object = (struct http_9111_object){.why_not = why_not(fetch, &cc)};
    uint64_t age_ns = initial_age_ns(fetch, date_s);
    object->origin_ns = less(fetch->response_ns, age_ns);
    object->ttl_ns = lifetime_ns(fetch, &cc, date_s, &object->is_heuristic);
    object->is_stale_forbidden = (cc.bits & STALE_FORBIDDEN) != 0;
    if (is_no_cache(&cc)) {
        object->ttl_ns = 0;
        object->is_stale_forbidden = true;
    }
    uint64_t error_ns = 0;
    if (!object->is_stale_forbidden) {
        object->grace_ns = cc.stale_while_revalidate_s * NS_PER_S;
        error_ns = less(cc.stale_if_error_s * NS_PER_S, object->grace_ns);
    }
    uint64_t validation_ns = has_validator(fetch->resp) ? VALIDATOR_KEEP_NS : 0;
    object->keep_ns = at_least(at_least(fetch->default_keep_ns, validation_ns), error_ns);
    bool is_useless = age_ns >= clock_after(object->ttl_ns, object->grace_ns) &&
                      validation_ns == 0 && error_ns == 0;
    if (object->why_not == NULL && is_useless) {
        object->why_not = "stale, and nothing to validate it with";
    }
}

/* ---- reusing ---- */

void http_9111_wish(const struct http *req, struct http_9111_wish *wish)
{
    *wish = (struct http_9111_wish){.is_plain = true};
    if (!http_has(req, HDR_CACHE_CONTROL)) {
        wish->no_cache =
            http_has(req, HDR_PRAGMA) && http_has_token(req, HDR_PRAGMA, STR("no-cache"));
        wish->is_plain = !wish->no_cache;
        return;
    }
    struct http_cc cc;
    http_cc_parse(req, &cc);
    wish->no_cache = (cc.bits & HTTP_CC_NO_CACHE) != 0;
    wish->no_store = (cc.bits & HTTP_CC_NO_STORE) != 0;
    wish->only_if_cached = (cc.bits & HTTP_CC_ONLY_IF_CACHED) != 0;
    wish->has_max_age = (cc.bits & HTTP_CC_MAX_AGE) != 0;
    wish->max_age_ns = cc.max_age_s * NS_PER_S;
    wish->min_fresh_ns = cc.min_fresh_s * NS_PER_S;
    wish->max_stale_ns = cc.max_stale_s * NS_PER_S;
    wish->is_plain = !wish->no_cache && !wish->no_store && !wish->only_if_cached &&
                     !wish->has_max_age && wish->min_fresh_ns == 0 && wish->max_stale_ns == 0;
}

enum http_9111_reuse http_9111_reuse(const struct http_9111_wish *wish, uint64_t age_ns,
                                     uint64_t ttl_ns, uint64_t grace_ns, bool is_stale_forbidden)
{
    if (wish->no_cache || (wish->has_max_age && age_ns > wish->max_age_ns) ||
        clock_after(age_ns, wish->min_fresh_ns) > at_least(ttl_ns, age_ns)) {
        return HTTP_9111_NO;
    }
    if (age_ns < ttl_ns) {
        return HTTP_9111_FRESH;
    }
    uint64_t stale_ns = age_ns - ttl_ns;
    /* Who names a max-age and no max-stale does not want what is stale (section 5.2.1.1). */
    bool by_grace = stale_ns < grace_ns && !wish->has_max_age;
    bool by_wish = !is_stale_forbidden && wish->max_stale_ns > 0 && stale_ns <= wish->max_stale_ns;
    return by_grace || by_wish ? HTTP_9111_STALE : HTTP_9111_NO;
}

bool http_9111_is_error(unsigned status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

bool http_9111_must_revalidate(const struct http *stored)
{
    struct http_cc cc;
    http_cc_parse(stored, &cc);
    return (cc.bits & STALE_FORBIDDEN) != 0 || is_no_cache(&cc);
}

bool http_9111_stale_if_error(const struct http *req, const struct http *stored, uint64_t stale_ns)
{
    struct http_9111_wish wish;
    struct http_cc asked;
    struct http_cc cc;
    http_9111_wish(req, &wish);
    http_cc_parse(req, &asked);
    http_cc_parse(stored, &cc);
    uint64_t allowed_ns = at_least(asked.stale_if_error_s, cc.stale_if_error_s) * NS_PER_S;
    bool is_wanted = !wish.no_cache && wish.min_fresh_ns == 0;
    return is_wanted && !http_9111_must_revalidate(stored) && allowed_ns > 0 &&
           stale_ns <= allowed_ns;
}
