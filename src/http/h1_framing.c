/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Where a body ends: RFC 9112 section 6.3, without its leniencies.
 *
 * Both fields that could say it must be beyond doubt and must not both be there: a peer that
 * believes the other one sees another message begin where we see this one's body. */
#include "http/h1.h"

#include "base/check.h"
#include "http/http_priv.h"

static struct h1_body bad(enum h1_error error)
{
    return (struct h1_body){.framing = H1_BODY_ERROR, .error = error};
}

static struct h1_body no_body(void)
{
    return (struct h1_body){.framing = H1_BODY_NONE};
}

static struct h1_body coding(const struct http *h)
{
    if (h->version < 11) {
        return bad(H1_ERR_CODING_IN_10);
    }
    if (http_find(h, HDR_CONTENT_LENGTH) != NULL) {
        return bad(H1_ERR_CODING_AND_LENGTH);
    }
    if (http_count(h, HDR_TRANSFER_ENCODING) != 1 ||
        !str_eq_nocase(http_get(h, HDR_TRANSFER_ENCODING), STR("chunked"))) {
        return bad(H1_ERR_BAD_CODING);
    }
    return (struct h1_body){.framing = H1_BODY_CHUNKED};
}

static struct h1_body length(const struct http *h)
{
    uint64_t bytes = 0;
    if (http_count(h, HDR_CONTENT_LENGTH) != 1) {
        return bad(H1_ERR_MANY_LENGTHS);
    }
    /* Beyond INT64_MAX nobody could seek, and sums of offsets would wrap. */
    if (str_to_u64(http_get(h, HDR_CONTENT_LENGTH), &bytes) != RC_OK || bytes > INT64_MAX) {
        return bad(H1_ERR_BAD_LENGTH);
    }
    if (bytes == 0) {
        return no_body();
    }
    return (struct h1_body){.framing = H1_BODY_LENGTH, .bytes = bytes};
}

struct h1_body h1_request_framing(const struct http *req)
{
    struct h1_body body = no_body();
    if (http_find(req, HDR_TRANSFER_ENCODING) != NULL) {
        body = coding(req);
    } else if (http_find(req, HDR_CONTENT_LENGTH) != NULL) {
        body = length(req);
    } else if (req->version < 11 &&
               (req->method_id == HTTP_M_POST || req->method_id == HTTP_M_PUT)) {
        /* RFC 1945 section 8.3; in HTTP/1.1 a missing length means that there is no body. */
        return bad(H1_ERR_LENGTH_REQUIRED);
    }
    bool has_body = body.framing == H1_BODY_LENGTH || body.framing == H1_BODY_CHUNKED;
    if (has_body && req->method_id == HTTP_M_HEAD) {
        return bad(H1_ERR_HEAD_WITH_BODY);
    }
    return body;
}

static bool is_bodyless(unsigned status, enum http_method method)
{
    bool is_tunnel = method == HTTP_M_CONNECT && status >= 200 && status <= 299;
    return method == HTTP_M_HEAD || status < 200 || status == 204 || status == 304 || is_tunnel;
}

struct h1_body h1_response_framing(const struct http *resp, enum http_method method)
{
    CHECK(resp->status >= 100);
    /* Varnish takes a response without a length that says "keep-alive" for an empty one; if it is
     * not, its body becomes the next response on that connection.  Here it lasts until the end. */
    struct h1_body body = {.framing = H1_BODY_EOF};
    if (http_find(resp, HDR_TRANSFER_ENCODING) != NULL) {
        body = coding(resp);
    } else if (http_find(resp, HDR_CONTENT_LENGTH) != NULL) {
        body = length(resp);
    }
    /* What says that it has a body and may have none: nobody knows where the next one begins. */
    bool is_told = body.framing == H1_BODY_CHUNKED || body.framing == H1_BODY_LENGTH;
    if (resp->status == 204 && is_told && method != HTTP_M_HEAD) {
        return bad(H1_ERR_BODY_IN_204);
    }
    if (body.framing != H1_BODY_ERROR && is_bodyless(resp->status, method)) {
        return no_body();
    }
    return body;
}
