/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a shared cache may do with requests and responses by RFC 9111 and RFC 5861: decisions only,
 * from heads and times.  Varnish's rules, the daemon's default, are in http_cache.h. */
#ifndef HTTP_HTTP_RFC9111_H
#define HTTP_HTTP_RFC9111_H

#include "http/http_cache.h"

/* ---- storing ---- */

struct http_9111_fetch {
    const struct http *req;  /* the GET that was sent */
    const struct http *resp; /* its answer */
    uint64_t request_ns;     /* real time when it was sent, and when the answer came */
    uint64_t response_ns;
    uint64_t default_ttl_ns; /* where there is neither a lifetime nor a Last-Modified */
    uint64_t default_keep_ns;
};

struct http_9111_object {
    const char *why_not;     /* it may not, or need not, be stored; NULL: it may */
    uint64_t origin_ns;      /* real time at which its age was 0 (section 4.2.3) */
    uint64_t ttl_ns;         /* freshness lifetime (section 4.2.1) */
    uint64_t grace_ns;       /* stale-while-revalidate */
    uint64_t keep_ns;        /* after that, for validation and stale-if-error */
    bool is_heuristic;       /* the lifetime is our guess (section 4.2.2) */
    bool is_stale_forbidden; /* never reused stale (section 4.2.4) */
};

/* Whether and how the response may be stored (sections 3 and 4.2). */
void http_9111_store(const struct http_9111_fetch *fetch, struct http_9111_object *object);

/* Whether the stored object must do without this field of the response, because private="..." or
 * no-cache="..." names it. */
bool http_9111_is_withheld(const struct http_cc *cc, struct str name);

/* ---- reusing ---- */

/* What a request's Cache-Control, or Pragma, asks of a cache (section 5.2.1). */
struct http_9111_wish {
    bool is_plain; /* it asks for nothing */
    bool no_cache;
    bool no_store;
    bool only_if_cached;
    bool has_max_age;
    uint64_t max_age_ns;
    uint64_t min_fresh_ns;
    uint64_t max_stale_ns;
};
void http_9111_wish(const struct http *req, struct http_9111_wish *wish);

enum http_9111_reuse {
    HTTP_9111_NO, /* validate it, or fetch anew */
    HTTP_9111_FRESH,
    HTTP_9111_STALE /* it may be used, and should be refreshed */
};
/* What an object is to a request (section 4); grace is honoured as it is given. */
enum http_9111_reuse http_9111_reuse(const struct http_9111_wish *wish, uint64_t age_ns,
                                     uint64_t ttl_ns, uint64_t grace_ns, bool is_stale_forbidden);

/* Whether this answer counts as an error in the sense of stale-if-error (RFC 5861 section 4). */
bool http_9111_is_error(unsigned status);
/* Whether a stored response, so long stale, may stand in for an error: by its own stale-if-error or
 * the request's. */
bool http_9111_stale_if_error(const struct http *req, const struct http *stored, uint64_t stale_ns);
/* Whether nothing may stand in for a validation of it: the answer to a failure is 504 (section
 * 5.2.2.2). */
bool http_9111_must_revalidate(const struct http *stored);

/* ---- changing what is stored ---- */

/* Whether an answer to a request with this method ends the life of what is stored (section 4.4). */
bool http_9111_invalidates(enum http_method method, unsigned status);

/* The URL (path and query) that `reference`, a Location or Content-Location, names relative to the
 * request for `url` at `host`.  RC_NOT_FOUND: another origin, or nothing of ours.  RC_LIMIT: the
 * arena is full.  *out is borrowed from the arena. */
MUST_USE enum rc http_9111_target(struct str host, struct str url, struct str reference,
                                  struct arena *arena, struct str *out);

/* Whether the answer to a HEAD is about the representation that is stored, and not about another
 * encoding of it. */
bool http_9111_head_concerns(const struct http *stored, const struct http *head);
/* Whether it shows that the stored GET response is still the current one (section 4.3.5). */
bool http_9111_head_agrees(const struct http *stored, uint64_t stored_len, const struct http *head);

#endif
