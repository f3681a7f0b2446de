/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Cache-Control (RFC 9111 section 5.2).
 *
 * Directives are a table; one that is not in it is ignored (section 5.2.3).  Where a number is due
 * and none stands there, it is 0: stale is the safe reading (section 4.2.1).  Of several equal
 * directives the most restrictive counts, so that what one allowed no other one lengthens; that is
 * the largest only for min-fresh. */
#include "http/http_cache.h"

#include <stddef.h>

#include "http/http_list.h"
#include "http/http_priv.h"

enum argument { NONE, FIELDS, SECONDS, MAYBE_SECONDS };

static const struct directive {
    struct str name;
    enum argument argument;
    uint32_t bit;
    uint32_t fields_bit;
    size_t at; /* of the argument in struct http_cc */
} directives[] = {
    {STR_INIT("max-age"), SECONDS, HTTP_CC_MAX_AGE, 0, offsetof(struct http_cc, max_age_s)},
    {STR_INIT("s-maxage"), SECONDS, HTTP_CC_S_MAXAGE, 0, offsetof(struct http_cc, s_maxage_s)},
    {STR_INIT("no-cache"), FIELDS, HTTP_CC_NO_CACHE, HTTP_CC_NO_CACHE_FIELDS,
     offsetof(struct http_cc, no_cache_fields)},
    {STR_INIT("private"), FIELDS, HTTP_CC_PRIVATE, HTTP_CC_PRIVATE_FIELDS,
     offsetof(struct http_cc, private_fields)},
    {STR_INIT("no-store"), NONE, HTTP_CC_NO_STORE, 0, 0},
    {STR_INIT("public"), NONE, HTTP_CC_PUBLIC, 0, 0},
    {STR_INIT("must-revalidate"), NONE, HTTP_CC_MUST_REVALIDATE, 0, 0},
    {STR_INIT("proxy-revalidate"), NONE, HTTP_CC_PROXY_REVALIDATE, 0, 0},
    {STR_INIT("no-transform"), NONE, HTTP_CC_NO_TRANSFORM, 0, 0},
    {STR_INIT("immutable"), NONE, HTTP_CC_IMMUTABLE, 0, 0},
    {STR_INIT("must-understand"), NONE, HTTP_CC_MUST_UNDERSTAND, 0, 0},
    {STR_INIT("only-if-cached"), NONE, HTTP_CC_ONLY_IF_CACHED, 0, 0},
    {STR_INIT("stale-while-revalidate"), SECONDS, HTTP_CC_STALE_WHILE_REVALIDATE, 0,
     offsetof(struct http_cc, stale_while_revalidate_s)},
    {STR_INIT("stale-if-error"), SECONDS, HTTP_CC_STALE_IF_ERROR, 0,
     offsetof(struct http_cc, stale_if_error_s)},
    {STR_INIT("max-stale"), MAYBE_SECONDS, HTTP_CC_MAX_STALE, 0,
     offsetof(struct http_cc, max_stale_s)},
    {STR_INIT("min-fresh"), SECONDS, HTTP_CC_MIN_FRESH, 0, offsetof(struct http_cc, min_fresh_s)},
};

bool http__seconds(struct str s, uint32_t *seconds)
{
    uint32_t sum = 0;
    for (size_t at = 0; at < s.len; at++) {
        if (!http__is(s.ptr[at], HTTP__DIGIT)) {
            return false;
        }
        uint32_t digit = (uint32_t)(s.ptr[at] - '0');
        sum = sum > (HTTP_CC_MAX_S - digit) / 10 ? HTTP_CC_MAX_S : sum * 10 + digit;
    }
    *seconds = sum;
    return s.len > 0;
}

/* False: the directive has no effect. */
static bool read_seconds(const struct directive *d, struct str argument, uint32_t *seconds)
{
    *seconds = 0;
    if (argument.ptr == NULL && d->argument == MAYBE_SECONDS) {
        *seconds = HTTP_CC_MAX_S;
        return true;
    }
    bool is_number = argument.ptr != NULL && http__seconds(argument, seconds);
    *seconds = is_number ? *seconds : 0;
    return is_number || (d->bit & (HTTP_CC_MIN_FRESH | HTTP_CC_MAX_STALE)) == 0;
}

static void take_seconds(struct http_cc *cc, const struct directive *d, struct str argument)
{
    char *at = (char *)cc + d->at;
    uint32_t have;
    uint32_t seconds;
    if (!read_seconds(d, argument, &seconds)) {
        return;
    }
    memcpy(&have, at, sizeof have);
    bool is_first = (cc->bits & d->bit) == 0;
    bool is_tighter = d->bit == HTTP_CC_MIN_FRESH ? seconds > have : seconds < have;
    if (is_first || is_tighter) {
        memcpy(at, &seconds, sizeof seconds);
    }
    cc->bits |= d->bit;
}

static void take_fields(struct http_cc *cc, const struct directive *d, struct str argument)
{
    bool is_first = (cc->bits & d->bit) == 0;
    bool had_fields = (cc->bits & d->fields_bit) != 0;
    cc->bits |= d->bit;
    if (argument.ptr != NULL && is_first) {
        cc->bits |= d->fields_bit;
        memcpy((char *)cc + d->at, &argument, sizeof argument);
        return;
    }
    struct str before;
    memcpy(&before, (char *)cc + d->at, sizeof before);
    if (had_fields && (argument.ptr == NULL || !str_eq(argument, before))) {
        /* Two that differ, with lists or without: together they are as good as one without. */
        cc->bits &= ~d->fields_bit;
        const struct str none = STR_NONE;
        memcpy((char *)cc + d->at, &none, sizeof none);
    }
}

static void take(struct http_cc *cc, const struct directive *d, struct str argument)
{
    switch (d->argument) {
    case NONE:
        cc->bits |= d->bit;
        break;
    case FIELDS:
        take_fields(cc, d, argument);
        break;
    case SECONDS:
    case MAYBE_SECONDS:
        take_seconds(cc, d, argument);
        break;
    }
}

void http_cc_parse(const struct http *h, struct http_cc *cc)
{
    *cc = (struct http_cc){.bits = 0};
    if (!http_has(h, HDR_CACHE_CONTROL)) {
        return;
    }
    struct http_members it = http_members(h, HDR_CACHE_CONTROL);
    struct str member;
    while (http_members_next(&it, &member)) {
        struct str name;
        struct str argument;
        http_split_member(member, &name, &argument);
        for (size_t i = 0; i < ARRAY_SIZE(directives); i++) {
            if (str_eq_nocase(name, directives[i].name)) {
                take(cc, &directives[i], argument);
                break;
            }
        }
    }
}
