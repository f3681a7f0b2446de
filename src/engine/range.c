/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Which part of a body goes out (RFC 9110 section 14), and what the head says about it.
 *
 * A range is an offset and a length, whatever the body comes from: so no lane is left for its sake.
 * The length of the body must be known; for one that is still being fetched it is what the backend
 * announced.  If it is not known the whole body is sent. */
#include "engine/engine_priv.h"

#include "http/http_condition.h"

static MUST_USE enum rc set_content_range(struct request *req, struct http *resp,
                                          const struct http_range *range, uint64_t body_len)
{
    char text[80];
    struct sb sb = sb_of(text, sizeof text);
    sb_lit(&sb, "bytes ");
    if (range == NULL) {
        sb_chr(&sb, '*');
    } else {
        sb_u64(&sb, range->first);
        sb_chr(&sb, '-');
        sb_u64(&sb, range->last);
    }
    sb_chr(&sb, '/');
    sb_u64(&sb, body_len);
    struct str own = arena_dup(req->arena, sb_str(&sb));
    enum rc rc = own.ptr == NULL ? RC_LIMIT : http_set(resp, HDR_CONTENT_RANGE, own);
    if (rc == RC_OK) {
        vslb_header(&req->log, SLT_RespHeader, STR("Content-Range"), own);
    }
    return rc;
}

static MUST_USE enum rc refuse(struct request *req, struct http *resp, uint64_t body_len,
                               const char *why, struct part *part)
{
    vslb_printf(&req->log, SLT_Debug, "RANGE_FAIL %s", why);
    enum rc rc = RC_OK;
    if (body_len != UINT64_MAX) {
        rc = set_content_range(req, resp, NULL, body_len);
    }
    log__status(&req->log, resp, 416);
    *part = (struct part){.off = 0, .len = 0, .is_range = true};
    return rc;
}

/* Which part is asked for.  RC_LIMIT: the whole body is sent; RC_NOT_FOUND: 416, and *why. */
static MUST_USE enum rc as_varnish(struct str value, uint64_t body_len, struct http_range *range,
                                   const char **why)
{
    struct http_range_spec spec;
    enum rc rc = http_range_read(value, &spec, why);
    if (rc == RC_MALFORMED) {
        return RC_NOT_FOUND;
    }
    if (rc == RC_LIMIT || body_len == UINT64_MAX) {
        return RC_LIMIT;
    }
    *why = "low range beyond object";
    return http_range_settle(&spec, body_len, range);
}

/* The same by the RFC: what makes no sense, or has a unit that we do not know, was not said. */
static MUST_USE enum rc as_rfc9110(struct str value, uint64_t body_len, struct http_range *range,
                                   const char **why)
{
    unsigned count = 0;
    *why = "none can be satisfied";
    enum rc rc =
        body_len == UINT64_MAX ? RC_LIMIT : http_range_parse(value, body_len, range, 1, &count);
    return rc == RC_MALFORMED || rc == RC_UNSUPPORTED ? RC_LIMIT : rc;
}

enum rc range__apply(struct request *req, struct http *resp, uint64_t body_len, struct part *part)
{
    *part = (struct part){.off = 0, .len = body_len};
    if (!http_if_range_holds(req->http, resp)) {
        return RC_OK;
    }
    struct http_range range;
    const char *why = NULL;
    struct str value = http_get(req->http, HDR_RANGE);
    enum rc rc = req->is_rfc9111 ? as_rfc9110(value, body_len, &range, &why)
                                 : as_varnish(value, body_len, &range, &why);
    if (rc == RC_LIMIT) {
        return RC_OK;
    }
    if (rc != RC_OK) {
        return refuse(req, resp, body_len, why, part);
    }
    *part = (struct part){range.first, range.last - range.first + 1, true};
    rc = set_content_range(req, resp, &range, body_len);
    log__status(&req->log, resp, 206);
    return rc;
}
