/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* HTTP/1 as a story: read a head, have it answered, read what is left of its body, and so on until
 * nothing more has come; then the connection goes back to being idle and this fiber ends. */
#include "front/h1_priv.h"

#include <arpa/inet.h>

static const struct params *params_of(const struct h1 *h1)
{
    return h1->front->conf.params;
}

struct sock_limit h1__send_limit(const struct h1 *h1)
{
    const struct params *p = params_of(h1);
    const struct request *req = &h1->req;
    uint64_t now_ns = loop_mono_ns(h1->sess->door->loop);
    uint64_t all_ns = req->send_timeout_ns != 0 ? req->send_timeout_ns : param(p, send_timeout);
    uint64_t idle_ns =
        req->idle_send_timeout_ns != 0 ? req->idle_send_timeout_ns : param(p, idle_send_timeout);
    return (struct sock_limit){clock_after(now_ns, all_ns), idle_ns};
}

/* The head of a request, or RC_AGAIN when not a byte of one has come. */
static YIELDS enum rc read_head(struct h1 *h1)
{
    const struct params *p = params_of(h1);
    struct h1_limits limits = {.flags = h1->flags};
    limits.head_bytes = (uint32_t)param(p, http_req_size);
    limits.start_bytes = limits.head_bytes;
    limits.hdr_bytes = (uint32_t)param(p, http_req_hdr_len);
    size_t seen = 0;
    for (;;) {
        size_t have = h1->fill - h1->at;
        if (have > 0) {
            enum rc rc =
                h1_parse_request(h1->req.http, h1->buf + h1->at, have, seen, &limits, &h1->head);
            if (rc != RC_AGAIN) {
                return rc;
            }
            seen = have;
        }
        if (h1->at > 0) {
            memmove(h1->buf, h1->buf + h1->at, have);
            h1->at = 0;
            h1->fill = have;
        }
        /* The parser refuses a head that is longer than its limit before the buffer is full. */
        CHECK(h1->fill < h1->cap);
        size_t got = 0;
        enum rc rc;
        if (have == 0) {
            rc = sock_read_now(&h1->sess->sock, h1->buf, h1->cap, &got);
            h1->t_first_ns = loop_real_ns(h1->sess->door->loop);
            h1->deadline_ns =
                clock_after(loop_mono_ns(h1->sess->door->loop), param(p, timeout_req));
        } else {
            struct sock_limit lim = {h1->deadline_ns, NEVER};
            rc = sock_read(&h1->sess->sock, h1->buf + h1->fill, h1->cap - h1->fill, lim, &got);
        }
        if (rc != RC_OK) {
            return rc;
        }
        h1->fill += got;
        if (!h1->sess->has_sent) {
            h1->sess->has_sent = true;
            engine_counters(h1->front->conf.engine)->s_sess++;
        }
    }
}

/* Whom a proxy spoke for takes the place of the proxy. */
static void tell_ends(struct h1 *h1)
{
    struct request *req = &h1->req;
    const struct proxied *p = h1->sess->proxied;
    const struct sess_end_text *client = p == NULL ? &h1->sess->remote : &p->client;
    const struct sess_end_text *server = p == NULL ? &h1->sess->local : &p->server;
    req->client_addr = (struct str){client->addr, client->addr_len};
    req->client_port = (struct str){client->port, client->port_len};
    req->server_addr = (struct str){server->addr, server->addr_len};
    req->server_port = (struct str){server->port, server->port_len};
    req->proxy_tlvs = p == NULL ? STR_NONE : (struct str){p->tlvs, p->tlvs_len};
}

static void new_request(struct h1 *h1)
{
    struct sess *sess = h1->sess;
    arena_reset(&h1->arena);
    /* X-Forwarded-For is added to what the client sends. */
    unsigned fields = (unsigned)param(params_of(h1), http_max_hdr) + 1;
    struct http *http = http_new(&h1->arena, fields);
    CHECK(http != NULL);
    http->cap = (uint16_t)(fields - 1);
    h1->req = (struct request){
        .transport = &h1__transport,
        .transport_arg = h1,
        .http = http,
        .arena = &h1->arena,
        .session_vxid = sess->vxid,
        .listener = sess->listen->name,
        .is_unix = sess->listen->is_unix,
        .has_ids = sess->has_ids,
        .uid = sess->uid,
        .gid = sess->gid,
        .endpoint = sess->listen->endpoint,
        .idle_send_timeout_ns = sess->idle_send_timeout_ns,
        .send_timeout_ns = sess->send_timeout_ns,
        .timeout_idle_ns = sess->timeout_idle_ns,
        .remote_addr = {sess->remote.addr, sess->remote.addr_len},
        .remote_port = {sess->remote.port, sess->remote.port_len},
        .local_addr = {sess->local.addr, sess->local.addr_len},
        .local_port = {sess->local.port, sess->local.port_len},
    };
    tell_ends(h1);
    h1->head_sent = false;
    h1->is_slow_reader = false;
    const struct params *p = params_of(h1);
    h1->flags = h1_flags(param(p, http_strict),
                         param_bit(p, PARAM_BITS_feature, PARAM_FEATURE_https_scheme));
}

static void link_request(struct h1 *h1)
{
    struct engine *engine = h1->front->conf.engine;
    h1->req.vxid = engine_vxid(engine);
    struct vslb log;
    engine_log_open(engine, &log, h1->sess->vxid | VSL_CLIENTMARKER);
    struct sb sb;
    if (vslb_claim(&log, SLT_Link, &sb)) {
        sb_lit(&sb, "req ");
        sb_u64(&sb, h1->req.vxid);
        sb_lit(&sb, " rxreq");
        vslb_done(&log, SLT_Link, &sb);
    }
}

/* A request that cannot be understood is answered and logged here; the engine never sees it. */
static YIELDS enum sess_end refuse(struct h1 *h1)
{
    struct engine *engine = h1->front->conf.engine;
    unsigned status = h1_error_status(h1->head.error);
    struct request *req = &h1->req;
    link_request(h1);
    engine_log_open(engine, &req->log, req->vxid | VSL_CLIENTMARKER);
    vslb_printf(&req->log, SLT_Begin, "req %u rxreq", req->session_vxid);
    vslb_timestamp(&req->log, STR("Start"), h1->t_first_ns, h1->t_first_ns, h1->t_first_ns);
    vslb_str(&req->log, SLT_BogoHeader, str_of(h1_error_text(h1->head.error)));
    struct vsc_main *main = engine_counters(engine);
    main->client_req_400++;
    main->client_req_417 += status == 417 ? 1 : 0;
    bool is_too_long = h1_error_rc(h1->head.error) == RC_TOO_LONG;
    engine_objm_counters(engine)->limit_heads += is_too_long;
    h1->send_limit = h1__send_limit(h1);
    size_t junk = h1->fill - h1->at;
    h1__refuse(h1, status);
    vslb_printf(&req->log, SLT_ReqAcct, "%zu 0 %zu %llu 0 %llu", junk, junk,
                (unsigned long long)req->bytes.resp_head, (unsigned long long)req->bytes.resp_head);
    vslb_str(&req->log, SLT_End, STR(""));
    return is_too_long ? SESS_RX_OVERFLOW : SESS_RX_JUNK;
}

static enum sess_end failed(struct h1 *h1)
{
    if (h1->is_slow_reader) {
        struct engine *engine = h1->front->conf.engine;
        engine_objm_counters(engine)->limit_slow_readers++;
        struct vslb log;
        engine_log_open(engine, &log, h1->sess->vxid | VSL_CLIENTMARKER);
        vslb_str(&log, SLT_Error, STR("the response was not taken in time"));
    }
    /* A body that ends with the connection must not seem to end in good order. */
    sock_abort(&h1->sess->sock);
    return h1->req.fault == REQUEST_RANGE_SHORT ? SESS_RANGE_SHORT : SESS_TX_ERROR;
}

/* One request, whose head has been read.  SESS__COUNT: the connection goes on. */
static YIELDS enum sess_end serve_one(struct h1 *h1)
{
    struct request *req = &h1->req;
    link_request(h1);
    h1->head_end = h1->at + h1->head.consumed;
    h1->at = h1->head_end;
    req->http->cap++;
    req->bytes.req_head = h1->head.consumed;
    req->has_body = h1->head.body.framing != H1_BODY_NONE;
    req->is_body_length_known = h1->head.body.framing == H1_BODY_LENGTH;
    req->body_bytes = req->is_body_length_known ? h1->head.body.bytes : 0;
    bool client_keeps = http_keep_alive(req->http, h1->head.conn);
    req->close = !client_keeps;
    req->t_first_ns = h1->t_first_ns;
    req->t_head_ns = loop_real_ns(h1->sess->door->loop);
    h1->send_limit = h1__send_limit(h1);
    h1__body_begin(h1);
    req->expects_continue = h1->wants_continue;
    enum rc rc = engine_serve(h1->front->conf.engine, req);
    h1->sess->idle_send_timeout_ns = req->idle_send_timeout_ns;
    h1->sess->send_timeout_ns = req->send_timeout_ns;
    h1->sess->timeout_idle_ns = req->timeout_idle_ns;
    if (req->was_piped) {
        return rc == RC_OK ? SESS_TX_PIPE : SESS_TX_ERROR;
    }
    if (rc != RC_OK && req->is_body_lost && !h1->head_sent) {
        return SESS_RX_BODY;
    }
    if (rc == RC_LIMIT && !h1->head_sent) {
        /* The request has used up its memory, and with it the answer's. */
        arena_reset(&h1->arena);
        h1__refuse(h1, 500);
        return SESS_OVERLOAD;
    }
    if (rc != RC_OK) {
        return failed(h1);
    }
    if (req->close) {
        if (req->fault == REQUEST_VCL_FAILED) {
            return SESS_VCL_FAILURE;
        }
        if (client_keeps) {
            return SESS_RESP_CLOSE;
        }
        return req->http->version < 11 ? SESS_REQ_HTTP10 : SESS_REQ_CLOSE;
    }
    if (!h1->body.is_done && h1__body_drain(h1) != RC_OK) {
        return SESS_RX_BODY;
    }
    return SESS__COUNT;
}

/* What came behind the preface in one go is the beginning of a request. */
static YIELDS enum sess_end begin(struct h1 *h1)
{
    if (!h1->sess->awaits_preface) {
        return SESS__COUNT;
    }
    struct span left = {0};
    enum sess_end end = preface__read(h1->sess, h1->buf, h1->cap, &left);
    h1->at = left.at;
    h1->fill = left.fill;
    h1->t_first_ns = clock_real_ns();
    h1->deadline_ns = clock_after(clock_mono_ns(), param(params_of(h1), timeout_req));
    return end;
}

static enum sess_end end_of(const struct h1 *h1, enum rc rc)
{
    bool is_between = h1->fill == h1->at || h1_is_blank(h1->buf + h1->at, h1->fill - h1->at);
    switch (rc) {
    case RC_EOF:
    case RC_RESET:
        return is_between ? SESS_REM_CLOSE : SESS_RX_BAD;
    case RC_TIMEOUT:
        engine_objm_counters(h1->front->conf.engine)->limit_slow_heads += !is_between;
        return is_between ? SESS_RX_CLOSE_IDLE : SESS_RX_TIMEOUT;
    default:
        return SESS_TX_ERROR;
    }
}

/* A client that sends faster than it is answered must not keep the loop from others. */
#define REQUESTS_A_TURN 32

/* Serves what has come in.  SESS__COUNT: nothing more has, and the connection may stay open. */
static YIELDS enum sess_end serve_all(struct h1 *h1)
{
    struct vsc_main *main = engine_counters(h1->front->conf.engine);
    for (unsigned served = 1;; served++) {
        new_request(h1);
        enum rc rc = read_head(h1);
        if (rc == RC_AGAIN) {
            main->sess_herd++;
            return SESS__COUNT;
        }
        if (rc == RC_MALFORMED || rc == RC_TOO_LONG || rc == RC_UNSUPPORTED) {
            return refuse(h1);
        }
        if (rc != RC_OK) {
            return end_of(h1, rc);
        }
        enum sess_end end = serve_one(h1);
        if (end != SESS__COUNT) {
            return end;
        }
        if (h1->at < h1->fill) {
            main->sess_readahead++;
            h1->t_first_ns = clock_real_ns();
            h1->deadline_ns = clock_after(clock_mono_ns(), param(params_of(h1), timeout_req));
        } else {
            h1->at = h1->fill = 0;
            if (!sock_may_read(&h1->sess->sock)) {
                main->sess_herd++;
                return SESS__COUNT;
            }
        }
        if (served % REQUESTS_A_TURN == 0) {
            fiber_yield();
        }
    }
}

void h1__serve(void *session)
{
    struct sess *sess = session;
    CHECK_OBJ(sess, SESS_MAGIC);
    struct front *front = sess->door->front;
    struct h1 *h1 = pool_get(front->work_pool);
    *h1 = (struct h1){.sess = sess, .front = front};
    h1->cap = param(front->conf.params, http_req_size);
    if (h1->cap < PROXY_MAX) {
        h1->cap = PROXY_MAX;
    }
    size_t used = sizeof *h1 + h1->cap;
    size_t block = pool_block_bytes(front->work_pool);
    if (used + ((size_t)8 << 10) > block) {
        /* http_req_size grew since the blocks were made: a restart gives it effect. */
        h1->cap = block / 2;
        used = sizeof *h1 + h1->cap;
    }
    h1->buf = (char *)(h1 + 1);
    arena_init(&h1->arena, (char *)h1 + used, block - used);
    enum sess_end end = begin(h1);
    if (end == SESS__COUNT) {
        end = serve_all(h1);
    }
    pool_put(front->work_pool, h1);
    admit__leave(sess->door);
    if (end == SESS__COUNT) {
        sess__idle(sess);
    } else {
        sess__close(&sess, end);
    }
}
