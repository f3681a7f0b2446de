/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* memcached's protocol as a story: read a request, do what it asks, and so on; send the answers
 * when nothing more has come; then the connection goes back to being idle and this fiber ends.
 *
 * One packet may bring many requests, and one request may come in many packets.  A request whose
 * data block has not come yet is moved to the beginning of the buffer, so that the block has room
 * behind it and the request stays where it is. */
#include "front/mc_priv.h"

size_t mc__work_bytes(void)
{
    return sizeof(struct mc);
}

/* How much an object that is on its way may keep a client waiting. */
#define WAIT_NS (10 * NS_PER_S)
/* A client that sends faster than it is answered must not keep the loop from others. */
#define REQUESTS_A_TURN 64

static void open_kv(struct mc *mc)
{
    struct sess *sess = mc->sess;
    mc->kv = (struct kv_session){
        .engine = mc->front->conf.engine,
        .listener = sess->listen->name,
        .endpoint = sess->listen->endpoint,
        .client_addr = {sess->remote.addr, sess->remote.addr_len},
        .client_port = {sess->remote.port, sess->remote.port_len},
        .server_addr = {sess->local.addr, sess->local.addr_len},
        .server_port = {sess->local.port, sess->local.port_len},
        .is_unix = sess->listen->is_unix,
        .vxid = sess->vxid,
        .wait_ns = WAIT_NS,
    };
    if (sess->login != NULL && sess->login->is_known) {
        mc->kv.user = (struct str){sess->login->user, sess->login->user_len};
    }
}

/* ---- what needs no key ---- */

static YIELDS void answer_head(struct mc *mc, struct str body)
{
    struct sb sb = mc__room(mc, MC_HEAD_BYTES + body.len);
    mc_put_head(&sb, &mc->req, &(struct mc_head){.status = MC_STATUS_OK, .body_len = body.len});
    sb_put(&sb, body);
    mc__put(mc, &sb);
}

/* Text, or a binary answer without anything. */
static YIELDS void answer(struct mc *mc, struct str text)
{
    if (mc->req.is_quiet) {
        return;
    }
    if (mc->req.dialect == MC_BINARY) {
        answer_head(mc, STR_NONE);
    } else {
        mc__say(mc, text);
    }
}

static YIELDS void flush_all(struct mc *mc)
{
    kv_flush_all(&mc->kv, mc->req.exptime);
    answer(mc, STR("OK\r\n"));
}

static YIELDS void version(struct mc *mc)
{
    if (mc->req.dialect == MC_BINARY) {
        answer_head(mc, STR(MC_VERSION));
    } else {
        mc__say(mc, STR("VERSION " MC_VERSION "\r\n"));
    }
}

static YIELDS void verbosity(struct mc *mc)
{
    answer(mc, STR("OK\r\n"));
}

static YIELDS void quit(struct mc *mc)
{
    mc->end = SESS_REQ_CLOSE;
    if (mc->req.dialect == MC_BINARY) {
        answer(mc, STR_NONE);
    }
}

static YIELDS void noop(struct mc *mc)
{
    answer(mc, STR("MN\r\n"));
}

/* ---- requests ---- */

typedef void op_fn(struct mc *mc); /* YIELDS */
static op_fn *const ops[MC_OP__COUNT] = {
    [MC_OP_GET] = mc__get,        [MC_OP_SET] = mc__store,       [MC_OP_ADD] = mc__store,
    [MC_OP_REPLACE] = mc__store,  [MC_OP_APPEND] = mc__store,    [MC_OP_PREPEND] = mc__store,
    [MC_OP_DELETE] = mc__delete,  [MC_OP_INCR] = mc__arith,      [MC_OP_DECR] = mc__arith,
    [MC_OP_TOUCH] = mc__touch,    [MC_OP_FLUSH] = flush_all,     [MC_OP_STATS] = mc__stats,
    [MC_OP_VERSION] = version,    [MC_OP_VERBOSITY] = verbosity, [MC_OP_QUIT] = quit,
    [MC_OP_NOOP] = noop,          [MC_OP_DEBUG] = mc__debug,     [MC_OP_SASL_LIST] = mc__sasl,
    [MC_OP_SASL_AUTH] = mc__sasl, [MC_OP_SASL_STEP] = mc__sasl,
};

static YIELDS void refuse(struct mc *mc)
{
    struct mc_request *req = &mc->req;
    engine_counters(mc->front->conf.engine)->client_req_400++;
    if (req->dialect == MC_BINARY) {
        mc__status(mc, req->status);
    } else if (req->dialect == MC_META || !req->is_quiet) {
        struct sb sb = mc__room(mc, 128);
        sb_put(&sb, str_of(req->error));
        sb_lit(&sb, "\r\n");
        mc__put(mc, &sb);
    }
    if (req->after == MC_SWALLOW) {
        mc__swallow(mc);
    } else if (req->after == MC_CLOSE) {
        mc->end = SESS_RX_JUNK;
    }
}

static YIELDS void serve_one(struct mc *mc)
{
    mc->data_waited_ns = 0;
    mc->count->mc_cmd_meta += mc->req.dialect == MC_META;
    if (!mc__may(mc)) {
        return;
    }
    if (mc->req.error != NULL) {
        refuse(mc);
        return;
    }
    ops[mc->req.op](mc);
}

/* ---- the connection ---- */

static enum rc parse(struct mc *mc)
{
    return mc_parse(&mc->reader, mc->in + mc->line_at, mc->fill - mc->line_at, &mc->req);
}

static void move_down(struct mc *mc)
{
    memmove(mc->in, mc->in + mc->line_at, mc->fill - mc->line_at);
    mc->fill -= mc->line_at;
    mc->line_at = 0;
}

/* A request is there.  Its data block may still have to come. */
static void place(struct mc *mc)
{
    struct mc_request *req = &mc->req;
    bool has_data = req->has_value || req->after == MC_SWALLOW;
    uint64_t need = req->consumed + (has_data ? req->value_bytes + 2 : 0);
    if (mc->line_at > 0 && has_data && need > mc->fill - mc->line_at) {
        struct mc_reader reader = mc->reader;
        move_down(mc);
        CHECK(parse(mc) == RC_OK);
        mc->reader = reader;
    }
    mc->line_end = mc->at = mc->line_at + req->consumed;
}

/* The next request.  RC_AGAIN: nothing has come. */
static YIELDS enum rc next(struct mc *mc)
{
    mc->line_at = mc->at;
    for (;;) {
        bool is_new = mc->line_at == mc->fill;
        if (is_new) {
            mc->line_at = mc->at = mc->fill = 0;
        }
        enum rc rc = is_new ? RC_AGAIN : parse(mc);
        if (rc == RC_OK) {
            place(mc);
            return RC_OK;
        }
        if (rc != RC_AGAIN) {
            return rc;
        }
        if (is_new && mc->reader.in_keys == NULL) {
            size_t got = 0;
            rc = sock_read_now(&mc->sess->sock, mc->in, MC_IN_BYTES, &got);
            mc->fill = got;
            mc->count->mc_bytes_read += got;
            mc->deadline_ns = clock_after(loop_mono_ns(mc->sess->door->loop),
                                          param(mc->front->conf.params, timeout_req));
        } else {
            if (mc->line_at > 0) {
                move_down(mc);
            }
            rc = mc__more(mc);
        }
        if (rc != RC_OK) {
            return rc;
        }
    }
}

static YIELDS void lose(struct mc *mc, enum rc rc)
{
    struct vslb log;
    engine_log_open(mc->front->conf.engine, &log, mc->sess->vxid | VSL_CLIENTMARKER);
    if (rc == RC_TOO_LONG) {
        mc__say(mc, STR("CLIENT_ERROR line too long\r\n"));
        mc->end = SESS_RX_OVERFLOW;
        mc->count->limit_heads++;
        vslb_str(&log, SLT_Error, STR("a line is too long"));
    } else if (rc == RC_MALFORMED) {
        mc->end = SESS_RX_JUNK;
        vslb_str(&log, SLT_Error, STR("this is not memcached's protocol"));
    } else if (mc->end == SESS__COUNT) {
        mc->end = rc == RC_EOF || rc == RC_RESET ? SESS_REM_CLOSE : SESS_TX_ERROR;
    }
}

/* Serves what has come in, until nothing more has, or the connection ends (mc->end). */
static YIELDS void serve_all(struct mc *mc)
{
    for (unsigned served = 1;; served++) {
        enum rc rc = next(mc);
        if (rc == RC_AGAIN) {
            mc__flush(mc);
            if (mc->sent == RC_OK && sock_may_read(&mc->sess->sock)) {
                continue;
            }
            break;
        }
        if (rc != RC_OK) {
            lose(mc, rc);
            break;
        }
        serve_one(mc);
        if (mc->end != SESS__COUNT || mc->sent != RC_OK) {
            break;
        }
        if (mc->at < mc->fill) {
            mc->deadline_ns = clock_after(loop_mono_ns(mc->sess->door->loop),
                                          param(mc->front->conf.params, timeout_req));
        }
        if (served % REQUESTS_A_TURN == 0) {
            mc->count->mc_yields++;
            fiber_yield();
        }
    }
    mc__flush(mc);
    if (mc->sent != RC_OK) {
        mc->end = SESS_TX_ERROR;
    }
}

/* A connection that is closed while bytes are unread is reset, and its client might never see the
 * last answer. */
static YIELDS void linger(struct mc *mc)
{
    sock_shut_write(&mc->sess->sock);
    uint64_t most_ns = clock_after(clock_mono_ns(), NS_PER_S);
    for (size_t dropped = 0; dropped < (size_t)256 << 10;) {
        size_t got = 0;
        if (sock_read(&mc->sess->sock, mc->in, MC_IN_BYTES, (struct sock_limit){most_ns, NS_PER_S},
                      &got) != RC_OK) {
            return;
        }
        dropped += got;
    }
}

void mc__serve(void *session)
{
    struct sess *sess = session;
    CHECK_OBJ(sess, SESS_MAGIC);
    struct front *front = sess->door->front;
    struct mc *mc = pool_get(front->mc_pool);
    memset(mc, 0, offsetof(struct mc, iov));
    mc->sess = sess;
    mc->front = front;
    mc->count = engine_objm_counters(front->conf.engine);
    mc->end = SESS__COUNT;
    mc->reader.knows_protocol = sess->knows_protocol;
    mc->reader.is_binary = sess->is_binary;
    open_kv(mc);
    if (!sess->has_sent) {
        sess->has_sent = true;
        engine_counters(front->conf.engine)->s_sess++;
    }
    serve_all(mc);
    sess->knows_protocol = mc->reader.knows_protocol;
    sess->is_binary = mc->reader.is_binary;
    if (mc->end == SESS_RX_JUNK || mc->end == SESS_RX_OVERFLOW) {
        linger(mc);
    }
    enum sess_end end = mc->end;
    pool_put(front->mc_pool, mc);
    admit__leave(sess->door);
    if (end == SESS__COUNT) {
        sess__idle(sess);
    } else {
        sess__close(&sess, end);
    }
}
