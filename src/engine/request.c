/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A request's way through the engine, as a machine: in each state the policy is asked, and says
 * what comes next (policy.h has the table).
 *
 *     recv ─> lookup ─> (hit, miss) ─> deliver ─> done
 *      │         │           │            │
 *      ├─> pass ─┴───────────┴─> deliver  └─> synth, restart
 *      ├─> pipe, purge ─> synth, restart
 *      └─> synth ─> done, restart
 *
 * Restart goes back to recv, with the request as it is by then, as a transaction of its own in the
 * log.  Lookup, hit, miss and pass are in reach.c. */
#include "engine/filtering.h"
#include "engine/policy.h"
#include "engine/req_body.h"
#include "engine/rfc9111.h"

#define MAY(action) POLICY_BIT(POLICY_##action)

/* ---- the log ---- */

static void log_begin(struct request *req)
{
    vslb_open(&req->log, &req->wrk->log, req->vxid | VSL_CLIENTMARKER);
    struct vslb *log = &req->log;
    struct sb sb;
    if (vslb_claim(log, SLT_Begin, &sb)) {
        sb_lit(&sb, "req ");
        sb_u64(&sb, req->top == NULL ? req->session_vxid : req->parent_vxid);
        sb_put(&sb, req->top == NULL ? STR(" rxreq") : STR(" esi"));
        vslb_done(log, SLT_Begin, &sb);
    }
    req->t_prev_ns = req->t_first_ns;
    log__timestamp(log, STR("Start"), req->t_first_ns, req->t_first_ns, &req->t_prev_ns);
    if (req->top == NULL) {
        log__timestamp(log, STR("Req"), req->t_head_ns, req->t_first_ns, &req->t_prev_ns);
    } else {
        vslb_str(log, SLT_ReqURL, req->http->url); /* that is what differs */
    }
    vslb_str(log, SLT_VCL_use, req->policy_name);
    if (http_has(req->http, HDR_EXPECT)) {
        /* That is between the client and us. */
        vslb_header(log, SLT_ReqUnset, STR("Expect"), http_get(req->http, HDR_EXPECT));
        http_unset(req->http, HDR_EXPECT);
    }
}

static void log_request(struct request *req)
{
    struct sb sb;
    if (vslb_claim(&req->log, SLT_ReqStart, &sb)) {
        sb_put(&sb, req->client_addr);
        sb_chr(&sb, ' ');
        sb_put(&sb, req->client_port);
        sb_chr(&sb, ' ');
        sb_put(&sb, str_of(req->listener));
        vslb_done(&req->log, SLT_ReqStart, &sb);
    }
    log__head(&req->log, LOG_REQ, req->http);
}

static void put_counts(struct sb *sb, uint64_t head, uint64_t body)
{
    sb_u64(sb, head);
    sb_chr(sb, ' ');
    sb_u64(sb, body);
    sb_chr(sb, ' ');
    sb_u64(sb, head + body);
}

static void log_end(struct request *req)
{
    const struct request_bytes *b = &req->bytes;
    struct vsc_main *main = &req->wrk->main;
    main->client_req += req->top == NULL;
    if (req->was_piped) {
        /* Its figures are those of the pipe. */
        vslb_str(&req->log, SLT_End, STR(""));
        return;
    }
    log__timestamp(&req->log, STR("Resp"), clock_real_ns(), req->t_first_ns, &req->t_prev_ns);
    struct sb sb;
    if (vslb_claim(&req->log, SLT_ReqAcct, &sb)) {
        put_counts(&sb, b->req_head, b->req_body);
        sb_chr(&sb, ' ');
        put_counts(&sb, b->resp_head, b->resp_body);
        vslb_done(&req->log, SLT_ReqAcct, &sb);
    }
    vslb_str(&req->log, SLT_End, STR(""));
    if (req->top != NULL) {
        return; /* its bytes are part of another response */
    }
    main->s_req_hdrbytes += b->req_head;
    main->s_req_bodybytes += b->req_body;
    main->s_resp_hdrbytes += b->resp_head;
    main->s_resp_bodybytes += b->resp_body;
}

static void stamp(struct request *req, struct str label)
{
    log__timestamp(&req->log, label, wrk_real_ns(req->wrk), req->t_first_ns, &req->t_prev_ns);
}

/* ---- asking ---- */

bool req__ask(struct request *req, req_ask_fn *fn, unsigned may, enum req_step *next)
{
    struct policy_verdict verdict = fn(req);
    enum policy_action action = verdict.action;
    if (!policy_may(may | MAY(FAIL), action)) {
        vslb_printf(&req->log, SLT_VCL_Error, "Illegal return: %.*s", STR_ARG(policy_word(action)));
        action = POLICY_FAIL;
    }
    if (action == POLICY_SYNTH) {
        req->err_status = verdict.status;
        req->err_reason = verdict.reason;
        *next = REQ_SYNTH;
    } else if (action == POLICY_RESTART) {
        *next = REQ_RESTART;
    } else if (action == POLICY_PASS) {
        *next = REQ_PASS;
    } else if (action == POLICY_FAIL) {
        *next = REQ_VCLFAIL;
    } else if (action == POLICY_PURGE) {
        *next = REQ_PURGE;
    } else if (action == POLICY_PIPE) {
        *next = REQ_PIPE;
    } else {
        return false;
    }
    return true;
}

void req__drop(struct request *req)
{
    if (req->oc != NULL) {
        obj_release(&req->oc);
    }
    if (req->busy != NULL) {
        obj_fail(req->busy);
        obj_release(&req->busy);
    }
    if (req->fetch != NULL) {
        fetch__free(&req->fetch);
    }
}

/* ---- states ---- */

/* X-Forwarded-For grows by the client's address, in one field (RFC 7239 section 7.4 lets it). */
static MUST_USE enum rc add_forwarded_for(struct request *req)
{
    struct http *h = req->http;
    if (req->top != NULL) {
        return RC_OK; /* it is there already */
    }
    if (!http_has(h, HDR_X_FORWARDED_FOR)) {
        return http_set_own(h, HDR_X_FORWARDED_FOR, req->client_addr);
    }
    enum rc rc = http_join(h, HDR_X_FORWARDED_FOR, req->arena);
    if (rc != RC_OK) {
        return rc;
    }
    struct str before = http_get(h, HDR_X_FORWARDED_FOR);
    struct str after =
        arena_printf(req->arena, "%.*s, %.*s", STR_ARG(before), STR_ARG(req->client_addr));
    return after.ptr == NULL ? RC_LIMIT : http_set(h, HDR_X_FORWARDED_FOR, after);
}

static YIELDS enum req_step receive(struct request *req)
{
    if (req->restarts == 0 && (add_forwarded_for(req) != RC_OK ||
                               http_join(req->http, HDR_CACHE_CONTROL, req->arena) != RC_OK)) {
        log_request(req);
        req->err_status = 503;
        return REQ_SYNTH;
    }
    log_request(req);
    req->is_hit = req->is_hitmiss = req->is_hitpass = req->is_private = false;
    req->object_xid = 0;
    req->err_status = 0;
    req->err_reason = STR_NONE;
    enum req_step next = REQ_LOOKUP;
    unsigned may = MAY(HASH) | MAY(PASS) | MAY(PIPE) | MAY(PURGE) | MAY(SYNTH) | MAY(RESTART);
    (void)!req__ask(req, req->policy->recv, may, &next);
    if (next == REQ_VCLFAIL) {
        return next;
    }
    if (req->is_body_lost) {
        /* It was to be kept and is not all there: nobody knows what the client takes for said. */
        req->rc = RC_RESET;
        return REQ_DONE;
    }
    if (req->expects_continue && !req->is_late_100 && req->transport->go_on != NULL &&
        req->transport->go_on(req) != RC_OK) {
        req->close = true;
    }
    if (http_has(req->http, HDR_ACCEPT_ENCODING) && next != REQ_PASS && next != REQ_PIPE &&
        param(req->engine->conf.params, http_gzip_support) && deliver_filter__wash(req) != RC_OK) {
        req->err_status = 503;
        return REQ_SYNTH;
    }
    enum req_step after_hash = next;
    (void)!req__ask(req, req->policy->hash, MAY(HASH), &after_hash);
    return after_hash;
}

static YIELDS enum req_step purge(struct request *req)
{
    /* What is killed is counted by the cache. */
    (void)cache_purge(req->engine->conf.cache, &req->digest);
    req->wrk->main.n_purges++;
    enum req_step next = REQ_VCLFAIL;
    (void)!req__ask(req, req->policy->purge, MAY(SYNTH) | MAY(RESTART), &next);
    return next;
}

static YIELDS enum req_step deliver(struct request *req)
{
    if (deliver__head(req) != RC_OK) {
        req__drop(req);
        req->err_status = 500;
        return REQ_SYNTH;
    }
    log__head(&req->log, LOG_RESP, req->resp);
    enum req_step next = REQ_DONE;
    bool is_off =
        req__ask(req, req->policy->deliver, MAY(DELIVER) | MAY(SYNTH) | MAY(RESTART), &next);
    stamp(req, STR("Process"));
    if (!is_off) {
        req->rc = deliver__transmit(req);
    }
    req__drop(req);
    return next;
}

static YIELDS enum req_step synth(struct request *req)
{
    struct wrk *wrk = req->wrk;
    wrk->main.s_synth++;
    synth__clear(&req->synth);
    if (synth__head(req) != RC_OK) {
        /* Not even room for an error: the connection ends. */
        wrk->main.client_resp_500++;
        req->rc = RC_LIMIT;
        return REQ_DONE;
    }
    log__head(&req->log, LOG_RESP, req->resp);
    enum req_step next = REQ_DONE;
    bool is_off = req__ask(req, req->policy->synth, MAY(DELIVER) | MAY(RESTART), &next);
    stamp(req, STR("Process"));
    if (next == REQ_VCLFAIL) {
        req->rc = synth__minimal(req, 500);
        return REQ_DONE;
    }
    if (is_off && req->restarts <= param(req->engine->conf.params, max_restarts)) {
        return next;
    }
    req->rc = synth__transmit(req);
    return REQ_DONE;
}

/* The same request again, as a transaction of its own in the log. */
static enum req_step restart(struct request *req)
{
    if (++req->restarts > param(req->engine->conf.params, max_restarts)) {
        vslb_str(&req->log, SLT_VCL_Error, STR("Too many restarts"));
        req->err_status = 503;
        req->err_reason = STR_NONE;
        return REQ_SYNTH;
    }
    stamp(req, STR("Restart"));
    uint32_t before = req->vxid;
    req->vxid = engine_vxid(req->engine);
    vslb_printf(&req->log, SLT_Link, "req %u restart", req->vxid);
    vslb_str(&req->log, SLT_End, STR(""));
    engine_log_open(req->engine, &req->log, req->vxid | VSL_CLIENTMARKER);
    vslb_printf(&req->log, SLT_Begin, "req %u restart", before);
    log__timestamp(&req->log, STR("Start"), req->t_prev_ns, req->t_first_ns, &req->t_prev_ns);
    return REQ_RECV;
}

static enum req_step vclfail(struct request *req)
{
    req->err_status = 503;
    req->err_reason = STR("VCL failed");
    req->close = true;
    req->fault = REQUEST_VCL_FAILED;
    return REQ_SYNTH;
}

static YIELDS enum req_step do_step(struct request *req, enum req_step step)
{
    switch (step) {
    case REQ_RECV:
        return receive(req);
    case REQ_LOOKUP:
        return req__lookup(req);
    case REQ_PASS:
        return req__pass(req);
    case REQ_PIPE:
        return req__pipe(req);
    case REQ_PURGE:
        return purge(req);
    case REQ_DELIVER:
        return deliver(req);
    case REQ_SYNTH:
        return synth(req);
    case REQ_RESTART:
        return restart(req);
    case REQ_VCLFAIL:
        return vclfail(req);
    case REQ_DONE:
        break;
    }
    return REQ_DONE;
}

enum rc engine_serve(struct engine *engine, struct request *req)
{
    CHECK_OBJ(engine, ENGINE_MAGIC);
    CHECK(req->transport != NULL);
    fiber_describe(req->http->url);
    req->engine = engine;
    req->wrk = engine__wrk(engine);
    req->policy = engine->conf.policy;
    req->policy_name = STR("");
    req->backend = engine->conf.backend;
    req->is_rfc9111 = rfc9111__is_on(engine);
    req->sends_body = req->http->method_id != HTTP_M_HEAD;
    req->does_esi = true;
    req->name = warm__up(req->wrk, req->http);
    if (req->policy->begin != NULL) {
        req->policy_name = req->policy->begin(req);
    }
    log_begin(req);
    for (enum req_step step = REQ_RECV; step != REQ_DONE;) {
        step = do_step(req, step);
    }
    CHECK(req->oc == NULL);
    CHECK(req->busy == NULL);
    CHECK(req->fetch == NULL);
    synth__clear(&req->synth);
    req_body_free(req);
    log_end(req);
    if (req->policy->end != NULL) {
        req->policy->end(req);
    }
    fiber_describe(STR_NONE);
    return req->rc;
}
