/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Responses of our own. */
#include "engine/policy.h"

#define PAGE                                                                                       \
    "<!DOCTYPE html>\n<html>\n  <head>\n    <title>%u %.*s</title>\n  </head>\n  <body>\n"         \
    "    <h1>Error %u %.*s</h1>\n    <p>%.*s</p>\n    <h3>Guru Meditation:</h3>\n"                 \
    "    <p>XID: %u</p>\n    <hr>\n    <p>objmapper cache server</p>\n  </body>\n</html>\n"

static MUST_USE enum rc make_head(struct wrk *wrk, struct http *resp, unsigned status,
                                  struct str reason)
{
    http_set_status(resp, status);
    enum rc rc = http_set_reason(resp, reason);
    if (rc == RC_OK) {
        rc = http_add(resp, HDR_DATE, engine__date(wrk));
    }
    if (rc == RC_OK) {
        rc = http_add(resp, HDR_SERVER, STR("objmapper"));
    }
    if (rc == RC_OK) {
        rc = http_add(resp, HDR_CONTENT_TYPE, STR("text/html; charset=utf-8"));
    }
    if (rc == RC_OK && status >= 500) {
        rc = http_add(resp, HDR_RETRY_AFTER, STR("5"));
    }
    return rc;
}

enum rc synth__deliver(struct engine *engine, struct request *req, unsigned status,
                       struct str reason, uint32_t cause_xid)
{
    struct wrk *wrk = engine__wrk(engine);
    wrk->main.s_synth++;
    wrk->objm.delivery_fallback_synthetic++;
    struct http *resp = http_new(req->arena, 16);
    struct str page = arena_printf(req->arena, PAGE, status, STR_ARG(reason), status,
                                   STR_ARG(reason), STR_ARG(reason), cause_xid);
    if (resp == NULL || page.ptr == NULL || make_head(wrk, resp, status, reason) != RC_OK) {
        /* Not even room for an error: the connection ends. */
        wrk->main.client_resp_500++;
        return RC_LIMIT;
    }
    if (deliver__dress(wrk, req, resp, 0, 0) != RC_OK) {
        wrk->main.client_resp_500++;
        return RC_LIMIT;
    }
    log__head(&req->log, LOG_RESP, resp);
    policy_builtin.deliver(req, resp);
    log__timestamp(&req->log, STR("Process"), wrk_real_ns(wrk), req->t_first_ns, &req->t_prev_ns);
    struct part part;
    if (deliver__settle(engine, req, resp, page.len, &part) != RC_OK) {
        return RC_LIMIT;
    }
    union {
        const char *text;
        void *iov; /* an iovec is only read here */
    } body = {.text = page.ptr};
    struct iovec iov = {body.iov, page.len};
    return req->transport->head(req, resp, page.len, &iov, 1);
}
