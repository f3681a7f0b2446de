/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Pipes: the request goes to the backend as it is, and from then on the connection is the client's
 * and the backend's; nobody here reads along.  It ends with the connection, so that nothing that
 * the client sends later can be taken for a request to us. */
#include "engine/policy.h"

#include <inttypes.h>

#include "engine/req_body.h"

static enum rc set_xid(struct fetch *f)
{
    struct str xid = arena_printf(&f->arena, "%u", f->parent_vxid);
    return xid.ptr == NULL ? RC_LIMIT : http_set(f->bereq, HDR_X_VARNISH, xid);
}

static enum rc make_bereq(struct fetch *f)
{
    const struct request *req = f->req;
    enum rc rc = http_copy(f->bereq, req->http, HTTP_COPY_PIPE);
    if (rc == RC_OK) {
        rc = set_xid(f);
    }
    if (rc == RC_OK) {
        rc = http_set(f->bereq, HDR_CONNECTION, STR("close"));
    }
    if (rc == RC_OK && req->expects_continue) {
        rc = http_set(f->bereq, HDR_EXPECT, STR("100-continue"));
    }
    if (req_body_is_kept(req)) {
        http_unset(f->bereq, HDR_TRANSFER_ENCODING);
    }
    return rc;
}

static void stamp_request(struct request *req, struct str label)
{
    log__timestamp(&req->log, label, clock_real_ns(), req->t_first_ns, &req->t_prev_ns);
}

static void stamp_fetch(struct fetch *f, struct str label)
{
    log__timestamp(&f->log, label, clock_real_ns(), f->t_first_ns, &f->t_prev_ns);
}

static YIELDS enum rc send_head(struct fetch *f, uint64_t idle_ns, uint64_t *sent)
{
    struct sb sb = arena_builder(&f->arena);
    /* Also the protocol's version is the client's: whoever answers, answers the client. */
    h1_build_request_as(&sb, f->bereq, f->bereq->proto);
    if (sb.overflow) {
        return RC_LIMIT;
    }
    struct iovec iov = {sb.ptr, sb.len};
    struct sock_limit limit = {NEVER, idle_ns};
    return sock_writev(bconn_sock(f->conn), &iov, 1, limit, false, sent);
}

/* What was read of the client's stream to be kept comes first. */
static YIELDS enum rc send_kept(struct fetch *f, uint64_t idle_ns, uint64_t *sent)
{
    struct req_body_at at = {0};
    enum rc rc = RC_OK;
    while (rc == RC_OK) {
        char *ptr = NULL;
        size_t got = 0;
        rc = req_body_next(f->req, &at, NULL, 0, &ptr, &got);
        if (rc == RC_OK) {
            struct iovec iov = {ptr, got};
            uint64_t moved = 0;
            rc = sock_writev(bconn_sock(f->conn), &iov, 1, (struct sock_limit){NEVER, idle_ns},
                             false, &moved);
            *sent += moved;
        }
    }
    return rc == RC_EOF ? RC_OK : rc;
}

static void account(struct engine *engine, struct fetch *f, uint64_t head_sent,
                    const struct request_piped *piped)
{
    struct request *req = f->req;
    vslb_printf(&req->log, SLT_PipeAcct, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                req->bytes.req_head, head_sent, piped->in, piped->out);
    struct vsc_main *main = engine_counters(engine);
    main->s_pipe_hdrbytes += req->bytes.req_head;
    main->s_pipe_in += piped->in;
    main->s_pipe_out += piped->out;
    if (f->conn != NULL) {
        struct vsc_vbe *vbe = backend_counters(bconn_backend(f->conn));
        vsc_add(&vbe->pipe_hdrbytes, head_sent);
        vsc_add(&vbe->pipe_out, piped->in);
        vsc_add(&vbe->pipe_in, piped->out);
    }
}

static YIELDS enum rc run(struct engine *engine, struct fetch *f)
{
    struct request *req = f->req;
    uint64_t idle_ns = param(engine->conf.params, pipe_timeout);
    uint64_t head_sent = 0;
    uint64_t kept_sent = 0;
    struct request_piped piped = {0};
    enum rc rc = fetch__connect(f, false);
    if (rc == RC_OK) {
        rc = send_head(f, idle_ns, &head_sent);
        stamp_fetch(f, STR("Bereq"));
        stamp_request(req, STR("Pipe"));
        if (rc == RC_OK && req_body_is_kept(req)) {
            rc = send_kept(f, idle_ns, &kept_sent);
        }
        if (rc == RC_OK) {
            rc = req->transport->pipe(req, bconn_sock(f->conn), idle_ns, &piped);
        }
        stamp_request(req, STR("PipeSess"));
    }
    piped.in += kept_sent;
    account(engine, f, head_sent, &piped);
    return rc;
}

static bool enter(struct engine *engine)
{
    uint64_t most = param(engine->conf.params, pipe_sess_max);
    if (atomic_fetch_add(&engine->pipes, 1) < most || most == 0) {
        return true;
    }
    atomic_fetch_sub(&engine->pipes, 1);
    return false;
}

/* The request as it would go out; what vcl_pipe sees as bereq. */
static MUST_USE enum rc prepare(struct request *req, struct fetch *f)
{
    vslb_printf(&req->log, SLT_Link, "bereq %u pipe", f->vxid);
    vslb_printf(&f->log, SLT_Begin, "bereq %u pipe", f->parent_vxid);
    stamp_fetch(f, STR("Start"));
    enum rc rc = make_bereq(f);
    log__head(&f->log, LOG_BEREQ, f->bereq);
    return rc;
}

static YIELDS enum req_step run_limited(struct request *req, struct fetch *f)
{
    struct engine *engine = req->engine;
    struct vsc_main *main = engine_counters(engine);
    if (!enter(engine)) {
        main->pipe_limited++;
        req->err_status = 503;
        return REQ_SYNTH;
    }
    main->n_pipe++;
    req->was_piped = true;
    req->rc = run(engine, f);
    atomic_fetch_sub(&engine->pipes, 1);
    main->n_pipe--;
    return REQ_DONE;
}

enum req_step req__pipe(struct request *req)
{
    if (req->transport->pipe == NULL) {
        vslb_str(&req->log, SLT_VCL_Error,
                 req->top != NULL ? STR("vcl_recv{} returns pipe for ESI included object."
                                        "  Doing pass.")
                                  : STR("vcl_recv{} returns pipe for a request without a stream of"
                                        " its own.  Doing pass."));
        return REQ_PASS;
    }
    req->wrk->main.s_pipe++;
    req->fetch = fetch__new(req->engine, req, FETCH_PIPE, NULL);
    enum rc rc = prepare(req, req->fetch);
    enum req_step next = REQ_PIPE;
    (void)!req__ask(req, req->policy->pipe, POLICY_BIT(POLICY_PIPE) | POLICY_BIT(POLICY_SYNTH),
                    &next);
    stamp_request(req, STR("Process"));
    stamp_fetch(req->fetch, STR("Process"));
    if (next == REQ_PIPE && rc != RC_OK) {
        req->err_status = 503;
        next = REQ_SYNTH;
    }
    if (next == REQ_PIPE) {
        next = run_limited(req, req->fetch);
    }
    fetch__free(&req->fetch);
    return next;
}
