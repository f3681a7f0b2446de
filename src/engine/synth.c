/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Responses of our own: a head, and a body that the policy made. */
#include "engine/filtering.h"
#include "engine/policy.h"

#include <stdlib.h>

#include "base/mem.h"
#include "http/http_list.h"

/* ---- texts ---- */

enum rc synth__add(struct synth_text *text, struct str more)
{
    if (more.len > SYNTH_BYTES_MAX - text->len) {
        return RC_LIMIT;
    }
    size_t need = text->len + more.len;
    if (need > text->cap) {
        size_t cap = need > 2 * text->cap ? need : 2 * text->cap;
        text->ptr = xrealloc(text->ptr, cap);
        text->cap = cap;
    }
    if (more.len > 0) {
        memcpy(text->ptr + text->len, more.ptr, more.len);
        text->len = need;
    }
    return RC_OK;
}

void synth__clear(struct synth_text *text)
{
    if (text->ptr != NULL) {
        free(text->ptr);
    }
    *text = (struct synth_text){.ptr = NULL};
}

/* ---- responses ---- */

enum rc synth__head(struct request *req)
{
    struct engine *engine = req->engine;
    struct wrk *wrk = engine__wrk(engine);
    deliver_filter__forget(req);
    unsigned fields = (unsigned)param(engine->conf.params, http_max_hdr) + 8;
    struct http *resp = http_new(req->arena, fields);
    struct str date = arena_dup(req->arena, engine__date(wrk));
    if (resp == NULL || date.ptr == NULL) {
        return RC_LIMIT;
    }
    /* Policies may say more than the client is to see: 12404 is sent as 404. */
    unsigned said = req->err_status;
    http_set_status(resp, said % 1000 >= 100 ? said % 1000 : 501);
    if (said % 1000 >= 100 && said <= UINT16_MAX) {
        resp->status = (uint16_t)said;
    }
    enum rc rc = req->err_reason.ptr == NULL ? RC_OK : http_set_reason(resp, req->err_reason);
    if (rc == RC_OK) {
        rc = http_add(resp, HDR_DATE, date);
    }
    if (rc == RC_OK) {
        rc = http_add(resp, HDR_SERVER, STR("objmapper"));
    }
    if (rc == RC_OK) {
        rc = deliver__number(req, resp, HDR_X_VARNISH, req->vxid, 0);
    }
    if (rc == RC_OK && req->expects_continue) {
        /* Its body is not wanted, so we would rather not go on; the policy may take that back. */
        rc = http_set(resp, HDR_CONNECTION, STR("close"));
    }
    req->resp = resp;
    return rc;
}

static YIELDS enum rc send_filtered(struct request *req, const struct part *part)
{
    struct outlet outlet = {.req = req, .part = *part};
    enum rc rc = deliver_filter__open(req);
    if (rc == RC_OK) {
        rc = req->transport->head(req, req->resp, part->len, NULL, 0);
    }
    if (rc == RC_OK) {
        rc = outlet__put(&outlet, req->synth.ptr, req->synth.len);
        rc = rc == RC_OK || rc == RC_EOF ? outlet__end(&outlet) : rc;
    }
    deliver_filter__close(req);
    return rc;
}

enum rc synth__transmit(struct request *req)
{
    struct wrk *wrk = req->wrk;
    wrk->objm.delivery_fallback_synthetic++;
    deliver__drop_thousands(req->resp);
    struct part part;
    if (deliver__settle(req, req->resp, req->synth.len, &part) != RC_OK) {
        wrk->main.client_resp_500++;
        return RC_LIMIT;
    }
    if (req->expects_continue && !req->close &&
        !http_has_token(req->resp, HDR_CONNECTION, STR("close"))) {
        enum rc rc = req->transport->go_on(req);
        if (rc != RC_OK) {
            return rc;
        }
    }
    bool has_body = part.len > 0 && req->sends_body;
    lane__log_unstored(req, has_body, STR("synthetic"));
    if (!has_body) {
        return req->transport->head(req, req->resp, part.len, NULL, 0);
    }
    if (UNLIKELY(req->delivery != NULL)) {
        return send_filtered(req, &part);
    }
    struct iovec iov = {req->synth.ptr + part.off, (size_t)part.len};
    return req->transport->head(req, req->resp, part.len, &iov, 1);
}

enum rc synth__minimal(struct request *req, unsigned status)
{
    req->wrk->main.client_resp_500++;
    struct http_hdr table[4];
    struct http resp;
    http_init(&resp, table, ARRAY_SIZE(table));
    http_set_status(&resp, status);
    req->close = true;
    enum rc rc = http_set(&resp, HDR_CONTENT_LENGTH, STR("0"));
    CHECK(rc == RC_OK);
    return req->transport->head(req, &resp, 0, NULL, 0);
}
