/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Cache-Control (RFC 9111 section 5.2) and freshness. */
#ifndef HTTP_HTTP_CACHE_H
#define HTTP_HTTP_CACHE_H

#include "http/http.h"

/* Directives, of requests and responses. The ..._FIELDS say that the directive had an argument. */
enum http_cc_bits {
    HTTP_CC_NO_STORE = 1 << 0,
    HTTP_CC_NO_CACHE = 1 << 1, /* also with fields */
    HTTP_CC_NO_CACHE_FIELDS = 1 << 2,
    HTTP_CC_PRIVATE = 1 << 3, /* also with fields */
    HTTP_CC_PRIVATE_FIELDS = 1 << 4,
    HTTP_CC_PUBLIC = 1 << 5,
    HTTP_CC_MUST_REVALIDATE = 1 << 6,
    HTTP_CC_PROXY_REVALIDATE = 1 << 7,
    HTTP_CC_NO_TRANSFORM = 1 << 8,
    HTTP_CC_IMMUTABLE = 1 << 9,
    HTTP_CC_MUST_UNDERSTAND = 1 << 10,
    HTTP_CC_ONLY_IF_CACHED = 1 << 11,
    /* These are set when the number below is there. */
    HTTP_CC_MAX_AGE = 1 << 16,
    HTTP_CC_S_MAXAGE = 1 << 17,
    HTTP_CC_STALE_WHILE_REVALIDATE = 1 << 18,
    HTTP_CC_STALE_IF_ERROR = 1 << 19,
    HTTP_CC_MAX_STALE = 1 << 20, /* max_stale_s is HTTP_CC_MAX_S when it had no argument */
    HTTP_CC_MIN_FRESH = 1 << 21
};

/* Seconds saturate here (RFC 9111 section 1.2.2). */
#define HTTP_CC_MAX_S UINT32_C(2147483648)

struct http_cc {
    uint32_t bits;
    uint32_t max_age_s;
    uint32_t s_maxage_s;
    uint32_t stale_while_revalidate_s;
    uint32_t stale_if_error_s;
    uint32_t max_stale_s;
    uint32_t min_fresh_s;
    struct str no_cache_fields; /* borrowed; of the last one */
    struct str private_fields;
};

/* All Cache-Control fields of a message.  Of equal directives the most restrictive counts; a number
 * that is none, or missing, reads as 0 (stale), and leaves max-stale and min-fresh without effect.
 */
void http_cc_parse(const struct http *h, struct http_cc *cc);

struct http_fresh_defaults {
    uint64_t ttl_ns; /* default_ttl, default_grace, default_keep */
    uint64_t grace_ns;
    uint64_t keep_ns;
    uint64_t clock_skew_s;
};

/* No lifetime and no age is longer: 136 years. */
#define HTTP_FRESH_MAX_S UINT32_MAX

struct http_fresh {
    int64_t ttl_ns; /* since origin_ns; -1 s: not to be cached by default */
    uint64_t grace_ns;
    uint64_t keep_ns;
    uint64_t origin_ns; /* real time when it was made: now - Age */
    int64_t date_s;     /* of the Date field, 0 without */
    int64_t expires_s;  /* of the Expires field, 0 without */
    uint32_t age_s;
    uint32_t max_age_s; /* the one that counted, 0 without */
};

/* How long a response is fresh, as Varnish 7.1 computes it; http_rfc9111.h has what RFC 9111 says.
 * now_real_ns: when the response came. */
void http_freshness(const struct http *resp, uint64_t now_real_ns,
                    const struct http_fresh_defaults *defaults, struct http_fresh *f);

/* The Age field alone, in seconds, as http_freshness reads it. */
uint32_t http_age_field(const struct http *resp);

#endif
