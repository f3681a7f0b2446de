/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Ranges (RFC 9110 section 14), entity tags and conditions (sections 8.8 and 13). */
#ifndef HTTP_HTTP_CONDITION_H
#define HTTP_HTTP_CONDITION_H

#include "base/sb.h"
#include "http/http.h"

struct http_range {
    uint64_t first; /* byte positions, both included */
    uint64_t last;
};

/* Reads a Range value for a representation of `size_bytes`: the satisfiable ranges, clipped, in
 * the order asked for, into out[cap]; *count says how many.
 * RC_OK: at least one.  RC_NOT_FOUND: none can be satisfied, answer 416.  RC_MALFORMED and
 * RC_UNSUPPORTED (a unit other than bytes): ignore the field (section 14.2).  RC_LIMIT: more
 * than cap, ignore it too. */
MUST_USE enum rc http_range_parse(struct str value, uint64_t size_bytes, struct http_range *out,
                                  unsigned cap, unsigned *count);

/* A Range field that asks for one range, as it stands there. */
struct http_range_spec {
    bool has_first; /* without: `last` bytes from the end */
    bool has_last;  /* without: to the end */
    uint64_t first;
    uint64_t last;
};

/* Reads a Range value as Varnish 7.1 does.  RC_OK: one range.  RC_LIMIT: several, which are
 * answered with the whole body.  RC_MALFORMED: answer 416; *why (static) is the log's word for it.
 */
MUST_USE enum rc http_range_read(struct str value, struct http_range_spec *spec, const char **why);

/* Which bytes of size_bytes that is.  RC_OK; RC_NOT_FOUND: none, answer 416. */
MUST_USE enum rc http_range_settle(const struct http_range_spec *spec, uint64_t size_bytes,
                                   struct http_range *range);

/* Whether the Content-Range of a backend's response, if there is one, is what the Range that was
 * sent (STR_NONE: none) asked for.  RC_OK; RC_MALFORMED with the reason appended to `why`. */
MUST_USE enum rc http_content_range_fits(struct str asked_range, const struct http *resp,
                                         struct sb *why);

/* Entity tags with their quotes, as they stand in the field (section 8.8.3.2). */
bool http_etag_is_strong_match(struct str a, struct str b);
bool http_etag_is_weak_match(struct str a, struct str b);

/* Whether If-Match or If-None-Match values name the tag; "*" does. */
bool http_etag_list_has(struct str list, struct str etag, bool strong);

/* Whether a GET or HEAD that hit this stored response is answered 304: If-None-Match first, else
 * If-Modified-Since against Last-Modified or, without it, Date (RFC 9111 section 4.3.2); only for
 * status 200, as in Varnish. */
bool http_is_not_modified(const struct http *req, const struct http *resp, int64_t now_real_s);

/* Whether the Range of a request may be used (If-Range absent, or it names this very response). */
bool http_if_range_holds(const struct http *req, const struct http *resp);

#endif
