/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A fetch: its life, its request, and one exchange with a backend.  What is decided when is in
 * fetch_steps.c, the body in fetch_body.c.
 *
 * The head is fetched on the fiber of whoever needs it, so that an answer that cannot be cached
 * goes on to that client through this very buffer.  Only when it is to be stored does the body get
 * a fiber of its own: then nobody's slow connection holds it up. */
#include "engine/esi.h"
#include "engine/fetch_priv.h"
#include "engine/filtering.h"
#include "engine/req_body.h"
#include "engine/rfc9111.h"

#include <inttypes.h>

/* How many interim (1xx) answers a backend may send before the real one. */
#define INTERIM_MAX 8

/* Whom the fetch is for, as a backend behind the PROXY protocol is told.  The ends of a Unix socket
 * read 0.0.0.0 here as everywhere. */
static void note_ends(struct fetch *f)
{
    const struct request *req = f->req;
    if (proxy_addr_parse(&f->client, req->client_addr, req->client_port) != RC_OK ||
        proxy_addr_parse(&f->server, req->server_addr, req->server_port) != RC_OK) {
        f->client.family = f->server.family = 0;
    }
}

struct fetch *fetch__new(struct engine *engine, struct request *req, enum fetch_kind kind,
                         struct objcore **take_busy)
{
    struct fetch *f = pool_get(engine->fetch_pool);
    *f = (struct fetch){
        .magic = FETCH_MAGIC,
        .kind = kind,
        .engine = engine,
        .req = req,
        .vxid = engine_vxid(engine),
        .parent_vxid = req->vxid,
        .is_uncacheable = kind == FETCH_PASS,
        .is_rfc9111 = req->is_rfc9111,
        .is_always_miss = req->hash_always_miss,
        .do_stream = true,
        .filters = STR_NONE,
        .coded = STR_NONE,
        .policy = req->policy,
        .backend = req->backend,
        .store = NULL,
        .t_first_ns = clock_real_ns(),
    };
    f->t_prev_ns = f->t_first_ns;
    if (take_busy != NULL) {
        f->busy = *take_busy;
        *take_busy = NULL;
    }
    arena_init(&f->arena, f + 1, pool_block_bytes(engine->fetch_pool) - sizeof *f);
    unsigned fields = (unsigned)param(engine->conf.params, http_max_hdr);
    f->bereq = http_new(&f->arena, fields);
    f->beresp = http_new(&f->arena, fields);
    size_t want = param(engine->conf.params, http_resp_size);
    size_t most = (f->arena.cap - f->arena.used) / 2;
    f->cap = want < most ? want : most;
    f->buf = arena_alloc(&f->arena, f->cap);
    /* workspace_backend's minimum holds all three. */
    CHECK(f->bereq != NULL && f->beresp != NULL && f->buf != NULL);
    engine_log_open(engine, &f->log, f->vxid | VSL_BACKENDMARKER);
    if (kind == FETCH_BACKGROUND) {
        note_ends(f); /* its request will be gone when it connects */
    }
    return f;
}

/* ---- the request ---- */

static struct str kind_name(enum fetch_kind kind)
{
    static const struct str names[] = {
        [FETCH_MISS] = STR_INIT("fetch"),
        [FETCH_PASS] = STR_INIT("pass"),
        [FETCH_BACKGROUND] = STR_INIT("bgfetch"),
        [FETCH_PIPE] = STR_INIT("pipe"),
    };
    return names[kind];
}

static bool sends_body(const struct fetch *f)
{
    return f->kind == FETCH_PASS && f->req->has_body && !f->drops_body;
}

/* Who names no host asks the backend for what it calls itself. */
static MUST_USE enum rc add_host(struct fetch *f)
{
    if (f->backend == NULL || http_has(f->bereq, HDR_HOST)) {
        return RC_OK;
    }
    struct str host = str_of(backend_host_header(f->backend));
    vslb_header(&f->log, SLT_BereqHeader, STR("Host"), host);
    return http_set(f->bereq, HDR_HOST, host);
}

enum rc fetch__set_xid(struct fetch *f)
{
    char xid[12];
    struct sb sb = sb_of(xid, sizeof xid);
    sb_u64(&sb, f->vxid);
    struct str own = arena_dup(&f->arena, sb_str(&sb));
    return own.ptr == NULL ? RC_LIMIT : http_set(f->bereq, HDR_X_VARNISH, own);
}

static enum rc make_bereq(struct fetch *f)
{
    const struct request *req = f->req;
    enum rc rc =
        http_copy(f->bereq, req->http, f->kind == FETCH_PASS ? HTTP_COPY_PASS : HTTP_COPY_FETCH);
    if (rc != RC_OK) {
        return rc;
    }
    f->bereq->proto = STR("HTTP/1.1");
    f->bereq->version = 11;
    http_unset(f->bereq, HDR_EXPECT);
    if (!sends_body(f)) {
        http_unset(f->bereq, HDR_CONTENT_LENGTH);
    } else if (!req->is_body_length_known) {
        rc = http_set(f->bereq, HDR_TRANSFER_ENCODING, STR("chunked"));
    }
    if (rc == RC_OK && f->kind != FETCH_PASS) {
        rc = http_set_method(f->bereq, STR("GET"));
    }
    if (rc == RC_OK && f->kind != FETCH_PASS && param(f->engine->conf.params, http_gzip_support)) {
        /* Clients that want it otherwise get it decompressed. */
        rc = http_set(f->bereq, HDR_ACCEPT_ENCODING, STR("gzip"));
    }
    f->asked_range = http_get(f->bereq, HDR_RANGE);
    if (rc == RC_OK && f->is_rfc9111) {
        rc = rfc9111__bereq(f);
    }
    if (rc == RC_OK) {
        rc = fetch__ask_conditionally(f);
    }
    if (rc == RC_OK) {
        rc = fetch__set_xid(f);
    }
    if (rc == RC_OK && f->kind == FETCH_BACKGROUND) {
        rc = http_own(f->bereq, &f->arena);
    }
    return rc;
}

static void log_begin(struct fetch *f)
{
    struct str kind = kind_name(f->kind);
    vslb_printf(&f->req->log, SLT_Link, "bereq %u %.*s", f->vxid, STR_ARG(kind));
    vslb_printf(&f->log, SLT_Begin, "bereq %u %.*s", f->parent_vxid, STR_ARG(kind));
    vslb_str(&f->log, SLT_VCL_use, f->req->policy_name);
    log__timestamp(&f->log, STR("Start"), f->t_first_ns, f->t_first_ns, &f->t_prev_ns);
}

void fetch__stamp(struct fetch *f, struct str label)
{
    log__timestamp(&f->log, label, clock_real_ns(), f->t_first_ns, &f->t_prev_ns);
}

static struct sock_limit write_limit(void)
{
    /* A backend that does not read is as dead as one that does not answer. */
    uint64_t now_ns = clock_mono_ns();
    return (struct sock_limit){clock_after(now_ns, 600 * NS_PER_S), 60 * NS_PER_S};
}

static YIELDS enum rc send_chunk(struct fetch *f, void *bytes, size_t len)
{
    char head[H1_CHUNK_HEAD_MAX];
    char tail[] = {'\r', '\n'};
    struct iovec iov[3];
    unsigned n = 0;
    bool chunked = !f->req->is_body_length_known;
    if (chunked) {
        iov[n++] = (struct iovec){head, h1_chunk_head(head, len)};
    }
    iov[n++] = (struct iovec){bytes, len};
    if (chunked) {
        iov[n++] = (struct iovec){tail, sizeof tail};
    }
    f->bytes.req_body += len;
    return sock_writev(bconn_sock(f->conn), iov, n, write_limit(), false, NULL);
}

/* The client's body goes to the backend as it comes, unless it is kept; the receive buffer, still
 * unused, carries it. */
static YIELDS enum rc send_body(struct fetch *f)
{
    struct req_body_at at = {0};
    for (;;) {
        size_t got = 0;
        char *ptr = NULL;
        enum rc rc = req_body_next(f->req, &at, f->buf, f->cap, &ptr, &got);
        if (rc == RC_EOF) {
            break;
        }
        if (rc == RC_OK) {
            rc = send_chunk(f, ptr, got);
        } else {
            f->lost_body = true;
            vslb_str(&f->log, SLT_FetchError, STR("req.body read error"));
        }
        if (rc != RC_OK) {
            return rc;
        }
    }
    if (!f->req->is_body_length_known) {
        struct iovec end = {(char[]){'0', '\r', '\n', '\r', '\n'}, 5};
        return sock_writev(bconn_sock(f->conn), &end, 1, write_limit(), false, NULL);
    }
    return RC_OK;
}

/* Once some of a body that is not kept has gone out, a connection that turns out to be dead is the
 * end of the request; so it is asked once more, before. */
static bool is_dead_for_body(struct fetch *f)
{
    return sends_body(f) && !req_body_is_kept(f->req) && bconn_is_reused(f->conn) &&
           !sock_is_quiet(bconn_sock(f->conn));
}

static YIELDS enum rc send_request(struct fetch *f)
{
    if (is_dead_for_body(f)) {
        return RC_RESET;
    }
    size_t mark = arena_mark(&f->arena);
    struct sb sb = arena_builder(&f->arena);
    h1_build_request(&sb, f->bereq);
    if (sb.overflow) {
        return RC_LIMIT;
    }
    struct iovec iov = {sb.ptr, sb.len};
    enum rc rc = sock_writev(bconn_sock(f->conn), &iov, 1, write_limit(), sends_body(f), NULL);
    f->bytes.req_head += sb.len;
    arena_rewind(&f->arena, mark);
    if (rc == RC_OK && sends_body(f)) {
        rc = send_body(f);
        log__timestamp(&f->req->log, STR("ReqBody"), clock_real_ns(), f->req->t_first_ns,
                       &f->req->t_prev_ns);
    }
    return rc;
}

/* ---- the answer's head ---- */

uint64_t fetch__between_bytes_ns(const struct fetch *f)
{
    return f->between_bytes_ns != 0 ? f->between_bytes_ns
                                    : backend_between_bytes_timeout_ns(bconn_backend(f->conn));
}

static YIELDS enum rc read_one_head(struct fetch *f)
{
    const struct params *p = f->engine->conf.params;
    struct h1_limits limits = {.flags = h1_flags(param(p, http_strict), false)};
    limits.head_bytes = (uint32_t)f->cap;
    limits.start_bytes = (uint32_t)param(p, http_resp_hdr_len);
    limits.hdr_bytes = (uint32_t)param(p, http_resp_hdr_len);
    const struct backend *backend = bconn_backend(f->conn);
    uint64_t first_ns =
        f->first_byte_ns != 0 ? f->first_byte_ns : backend_first_byte_timeout_ns(backend);
    uint64_t deadline_ns = clock_after(clock_mono_ns(), first_ns);
    size_t seen = 0;
    for (;;) {
        struct h1_head head;
        enum rc rc = f->fill == f->at ? RC_AGAIN
                                      : h1_parse_response(f->beresp, f->buf + f->at,
                                                          f->fill - f->at, seen, &limits, &head);
        if (rc == RC_OK) {
            f->at += head.consumed;
            f->bytes.resp_head += head.consumed;
            f->conn_bits = head.conn;
            return RC_OK;
        }
        if (rc != RC_AGAIN) {
            f->bytes.resp_head += f->fill - f->at;
            vslb_printf(&f->log, SLT_FetchError, "http format error: %s",
                        h1_error_text(head.error));
            return RC_MALFORMED;
        }
        if (f->fill == f->cap) {
            vslb_str(&f->log, SLT_FetchError, STR("overflow"));
            return RC_TOO_LONG;
        }
        seen = f->fill - f->at;
        size_t got = 0;
        struct sock_limit lim = {deadline_ns, f->got_bytes ? fetch__between_bytes_ns(f) : NEVER};
        rc = sock_read(bconn_sock(f->conn), f->buf + f->fill, f->cap - f->fill, lim, &got);
        if (rc != RC_OK) {
            return rc;
        }
        f->got_bytes = true;
        f->fill += got;
    }
}

/* Interim answers are dropped: what they announce is not for us. */
static YIELDS enum rc read_head(struct fetch *f)
{
    for (unsigned interim = 0; interim < INTERIM_MAX; interim++) {
        enum rc rc = read_one_head(f);
        if (rc != RC_OK) {
            return rc;
        }
        if (f->beresp->status >= 200) {
            return RC_OK;
        }
        if (f->beresp->status == 101) {
            break;
        }
    }
    vslb_str(&f->log, SLT_FetchError, STR("too many or unwanted 1xx responses"));
    return RC_MALFORMED;
}

/* ---- a connection ---- */

static void log_open(struct fetch *f)
{
    struct str ends = bconn_ends(f->conn);
    vslb_printf(&f->log, SLT_BackendOpen, "%d %s %.*s %s", bconn_sock(f->conn)->fd,
                backend_name(bconn_backend(f->conn)), STR_ARG(ends),
                bconn_is_reused(f->conn) ? "reuse" : "connect");
}

enum rc fetch__connect(struct fetch *f, bool fresh)
{
    struct wrk *wrk = engine__wrk(f->engine);
    struct backend *backend = f->backend;
    if (backend == NULL) {
        vslb_str(&f->log, SLT_FetchError, STR("No backend"));
        return RC_NOT_FOUND;
    }
    struct backend_ask ask = {.fresh = fresh, .connect_timeout_ns = f->connect_ns};
    if (backend_wants_preface(backend)) {
        if (f->req != NULL) {
            note_ends(f);
        }
        ask.client = &f->client;
        ask.server = &f->server;
    }
    enum rc rc = backend_get(backend, &ask, &f->conn);
    if (UNLIKELY(rc == RC_LIMIT) && f->req != NULL && esi__await_turn(f->req)) {
        rc = backend_get(backend, &ask, &f->conn);
    }
    if (rc != RC_OK) {
        vslb_printf(&f->log, SLT_FetchError, "backend %s: %s", backend_name(backend),
                    backend_failure(rc));
        wrk->main.backend_busy += rc == RC_LIMIT;
        wrk->main.backend_unhealthy += rc == RC_SICK;
        wrk->main.backend_fail += rc != RC_LIMIT && rc != RC_SICK;
        return rc;
    }
    f->bytes.req_head += bconn_preface_bytes(f->conn);
    wrk->main.backend_req++;
    if (bconn_is_reused(f->conn)) {
        wrk->main.backend_reuse++;
    } else {
        wrk->main.backend_conn++;
    }
    fetch__stamp(f, STR("Connected"));
    log_open(f);
    return RC_OK;
}

/* What moved since the last connection was given back. */
static void count_bytes(struct fetch *f)
{
    struct vsc_vbe *vbe = backend_counters(bconn_backend(f->conn));
    struct request_bytes *now = &f->bytes;
    struct request_bytes *then = &f->counted;
    vsc_add(&vbe->bereq_hdrbytes, now->req_head - then->req_head);
    vsc_add(&vbe->bereq_bodybytes, now->req_body - then->req_body);
    vsc_add(&vbe->beresp_hdrbytes, now->resp_head - then->resp_head);
    vsc_add(&vbe->beresp_bodybytes, now->resp_body - then->resp_body);
    *then = *now;
}

void fetch__drop_connection(struct fetch *f, bool reusable)
{
    struct wrk *wrk = engine__wrk(f->engine);
    count_bytes(f);
    vslb_printf(&f->log, SLT_BackendClose, "%d %s %s", bconn_sock(f->conn)->fd,
                backend_name(bconn_backend(f->conn)), reusable ? "recycle" : "close");
    if (reusable) {
        wrk->main.backend_recycle++;
    }
    backend_put(&f->conn, reusable);
}

/* One try on one connection. */
static YIELDS enum rc exchange(struct fetch *f)
{
    f->at = 0;
    f->fill = 0;
    f->got_bytes = false;
    enum rc rc = send_request(f);
    /* A backend that waits for the rest of the client's body answers nothing. */
    if ((rc != RC_OK && rc != RC_RESET) || f->lost_body) {
        return rc;
    }
    fetch__stamp(f, STR("Bereq"));
    /* When the backend did not take the whole request there may be an answer that says why. */
    enum rc read_rc = read_head(f);
    if (read_rc == RC_OK) {
        f->keeps_conn = rc == RC_OK;
        return RC_OK;
    }
    if (read_rc == RC_EOF || read_rc == RC_RESET || read_rc == RC_TIMEOUT) {
        vslb_printf(&f->log, SLT_FetchError, "%s",
                    read_rc == RC_TIMEOUT ? "first byte timeout" : "HTC eof (-1)");
    }
    return read_rc;
}

bool fetch__is_conn_clean(const struct fetch *f)
{
    /* Bytes behind the body answer nothing that we asked. */
    return f->keeps_conn && fetch__body_is_read(f) && f->at == f->fill &&
           bconn_may_be_kept(f->conn);
}

bool fetch__may_send_again(const struct fetch *f)
{
    return !sends_body(f) || req_body_can_be_sent(f->req);
}

enum rc fetch__exchange(struct fetch *f)
{
    enum rc rc = add_host(f);
    if (rc != RC_OK) {
        return rc;
    }
    for (unsigned attempt = 0;; attempt++) {
        rc = fetch__connect(f, attempt > 0);
        if (rc != RC_OK) {
            return rc;
        }
        rc = exchange(f);
        if (rc == RC_OK) {
            return rc;
        }
        /* A reused connection may have been closed under us; then, and only then, the backend has
         * not seen the request, and asking again is safe. */
        bool was_closed = bconn_is_reused(f->conn) && !f->got_bytes && fetch__may_send_again(f) &&
                          attempt == 0 && (rc == RC_EOF || rc == RC_RESET);
        fetch__drop_connection(f, false);
        if (!was_closed) {
            return rc;
        }
        engine__wrk(f->engine)->main.backend_retry++;
    }
}

/* ---- its life ---- */

void fetch__begin(struct fetch *f)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    log_begin(f);
    if (f->policy->fetch_begin != NULL) {
        f->policy->fetch_begin(f, f->req);
        f->has_begun = true;
    }
}

enum rc fetch__prepare(struct fetch *f)
{
    fetch__begin(f);
    engine__wrk(f->engine)->main.s_fetch++;
    engine__wrk(f->engine)->main.s_bgfetch += f->kind == FETCH_BACKGROUND;
    enum rc rc = make_bereq(f);
    if (rc == RC_OK) {
        log__head(&f->log, LOG_BEREQ, f->bereq);
    } else {
        vslb_printf(&f->log, SLT_Error, "out of workspace (bereq): %s", rc_text(rc));
    }
    return rc;
}

/* Before the client can have seen the end of the answer: what it asks for next may need this
 * connection. */
void fetch__let_go(struct fetch *f)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    if (f->conn != NULL) {
        f->was_answered = true;
        fetch__drop_connection(f, fetch__is_conn_clean(f));
    }
}

/* The end of what was fetched, as the log tells it. */
static void log_end(struct fetch *f)
{
    fetch__let_go(f);
    if (f->kind == FETCH_PIPE || !(f->was_answered || f->is_synth)) {
        return;
    }
    if (!f->is_synth) {
        fetch__stamp(f, STR("BerespBody"));
    }
    uint64_t len = f->is_synth || f->was_304 ? fetch__length(f) : f->body_out;
    vslb_printf(&f->log, SLT_Length, "%" PRIu64, len);
}

void fetch__free(struct fetch **fetch)
{
    struct fetch *f = *fetch;
    *fetch = NULL;
    CHECK_OBJ(f, FETCH_MAGIC);
    CHECK(f->busy == NULL);
    struct engine *engine = f->engine;
    fetch_filter__close(f);
    log_end(f);
    if (f->has_begun && f->policy->fetch_end != NULL) {
        f->policy->fetch_end(f);
    }
    if (f->stored != NULL) {
        obj_release(&f->stored);
    }
    if (f->old != NULL) {
        obj_release(&f->old);
    }
    synth__clear(&f->synth);
    struct request_bytes *b = &f->bytes;
    vslb_printf(&f->log, SLT_BereqAcct,
                "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, b->req_head,
                b->req_body, b->req_head + b->req_body, b->resp_head, b->resp_body,
                b->resp_head + b->resp_body);
    vslb_str(&f->log, SLT_End, STR(""));
    f->magic = 0;
    pool_put(engine->fetch_pool, f);
}
