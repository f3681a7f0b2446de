/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Delivery: what the head of a response says, and by which lane its body leaves.
 *
 *   direct   one writev of head and body from the mapping: small bodies
 *   fd       sendfile from the body's own descriptor: large ones, also while they are fetched
 *   body     piece by piece through whatever filters there are
 *
 * The two untouched lanes are taken when no filter has to see the body; when one is not taken the
 * reason is counted, and the lane of each response is logged. */
#include "base/cursor.h"
#include "engine/policy.h"

#include "http/http_condition.h"

/* One step of a relayed body. */
#define RELAY_BYTES ((size_t)16 << 10)

enum lane { LANE_NONE, LANE_DIRECT, LANE_FD, LANE_BODY };

/* How a body will leave, and why not by a better lane ("" when there is no such reason). */
struct plan {
    enum lane lane;
    struct str reason;
};

/* ---- heads ---- */

static MUST_USE enum rc set_number(struct request *req, struct http *resp, enum http_hdr_id id,
                                   uint64_t one, uint64_t two)
{
    char text[48];
    struct sb sb = sb_of(text, sizeof text);
    sb_u64(&sb, one);
    if (two != 0) {
        sb_chr(&sb, ' ');
        sb_u64(&sb, two);
    }
    struct str own = arena_dup(req->arena, sb_str(&sb));
    return own.ptr == NULL ? RC_LIMIT : http_set(resp, id, own);
}

enum rc deliver__dress(struct wrk *wrk, struct request *req, struct http *resp, uint64_t object_xid,
                       uint64_t age_s)
{
    enum rc rc = set_number(req, resp, HDR_X_VARNISH, req->vxid, object_xid);
    if (rc == RC_OK) {
        rc = set_number(req, resp, HDR_AGE, age_s, 0);
    }
    if (rc == RC_OK) {
        rc = http_add(resp, HDR_VIA, wrk->engine->via);
    }
    if (rc != RC_OK) {
        wrk->main.client_resp_500++;
        return rc;
    }
    log__head(&req->log, LOG_RESP, resp);
    policy_builtin.deliver(req, resp);
    log__timestamp(&req->log, STR("Process"), wrk_real_ns(wrk), req->t_first_ns, &req->t_prev_ns);
    vslb_str(&req->log, SLT_Filters, STR(""));
    return RC_OK;
}

enum rc deliver__length(struct request *req, struct http *resp, uint64_t len)
{
    if (resp->status == 204 || resp->status == 304) {
        http_unset(resp, HDR_CONTENT_LENGTH);
        req->sends_body = false;
        return RC_OK;
    }
    if (len == UINT64_MAX) {
        http_unset(resp, HDR_CONTENT_LENGTH);
        return RC_OK;
    }
    uint64_t said = 0;
    struct str text = http_get(resp, HDR_CONTENT_LENGTH);
    if (text.ptr != NULL && str_to_u64(text, &said) == RC_OK && said == len) {
        return RC_OK;
    }
    return set_number(req, resp, HDR_CONTENT_LENGTH, len, 0);
}

uint32_t deliver__object_xid(const struct objcore *oc)
{
    struct str text = obj_get(oc, OA_XID);
    struct cursor c = cursor_of(text.ptr, text.len);
    return cursor_u32(&c);
}

static uint64_t object_age_s(const struct objcore *oc, uint64_t now_ns)
{
    uint64_t born_ns = obj_times(oc).t_origin_ns;
    return born_ns > now_ns ? 0 : (now_ns - born_ns) / NS_PER_S;
}

/* The stored head; while the object grows its bytes may move, so the request gets a copy. */
static struct http *stored_head(struct engine *engine, struct request *req,
                                const struct objcore *oc)
{
    struct str packed = obj_get(oc, OA_HTTP);
    if (!obj_is_complete(oc)) {
        packed = arena_dup(req->arena, packed);
    }
    /* Fields of our own come on top of what was stored. */
    unsigned fields = (unsigned)param(engine->conf.params, http_max_hdr) + 8;
    struct http *resp = http_new(req->arena, fields);
    if (resp == NULL || packed.ptr == NULL || http_unpack(resp, packed) != RC_OK) {
        return NULL;
    }
    return resp;
}

static MUST_USE enum rc object_head(struct engine *engine, struct request *req,
                                    const struct objcore *oc, bool is_hit, struct http **out)
{
    struct wrk *wrk = engine__wrk(engine);
    struct http *resp = stored_head(engine, req, oc);
    if (resp == NULL) {
        wrk->main.client_resp_500++;
        return RC_LIMIT;
    }
    uint64_t now_ns = wrk_real_ns(wrk);
    if (http_is_not_modified(req->http, resp, (int64_t)(now_ns / NS_PER_S))) {
        http_set_status(resp, 304);
    }
    enum rc rc = deliver__length(req, resp, obj_len(oc));
    if (rc != RC_OK) {
        return rc;
    }
    *out = resp;
    uint64_t age_s = object_age_s(oc, now_ns);
    return deliver__dress(wrk, req, resp, is_hit ? deliver__object_xid(oc) : 0, age_s);
}

/* ---- lanes ---- */

static struct plan plan_body(struct engine *engine, const struct request *req, struct objcore *oc)
{
    const struct params *p = engine->conf.params;
    uint64_t len = obj_len(oc);
    if (!req->sends_body || len == 0) {
        return (struct plan){LANE_NONE, STR("")};
    }
    if (param(p, lane_body)) {
        return (struct plan){LANE_BODY, STR("filter")};
    }
    uint64_t fd_min = 0;
    bool takes_files = req->transport->takes_files(req, &fd_min);
    bool wants_fd = param(p, lane_fd) && len >= fd_min;
    if (wants_fd && takes_files) {
        struct obj_fd_payload payload;
        /* A body that still grows is asked again when there are bytes to send. */
        if (!obj_is_complete(oc) || stv_payload(obj_stv(oc), &payload) == RC_OK) {
            return (struct plan){LANE_FD, STR("")};
        }
    }
    if (param(p, lane_direct) && obj_is_complete(oc)) {
        return (struct plan){LANE_DIRECT, STR("")};
    }
    return (struct plan){LANE_BODY, wants_fd && !takes_files ? STR("transport") : STR("")};
}

static void count_plan(struct wrk *wrk, const struct plan *plan)
{
    struct vsc_objm *objm = &wrk->objm;
    switch (plan->lane) {
    case LANE_NONE:
        break;
    case LANE_DIRECT:
        objm->delivery_direct_hits++;
        break;
    case LANE_FD:
        objm->delivery_fd_hits++;
        break;
    case LANE_BODY:
        objm->delivery_body_hits++;
        if (plan->reason.len > 0) {
            objm->delivery_fd_fallbacks++;
        }
        objm->delivery_fallback_filter += str_eq(plan->reason, STR("filter"));
        objm->delivery_fallback_transport += str_eq(plan->reason, STR("transport"));
        break;
    }
}

static struct str lane_name(enum lane lane)
{
    static const struct str names[] = {
        [LANE_NONE] = STR_INIT("none"),
        [LANE_DIRECT] = STR_INIT("direct"),
        [LANE_FD] = STR_INIT("fd"),
        [LANE_BODY] = STR_INIT("body"),
    };
    return names[lane];
}

static void log_lane(struct request *req, const struct plan *plan)
{
    struct sb sb;
    if (!vslb_claim(&req->log, SLT_Debug, &sb)) {
        return;
    }
    sb_lit(&sb, "OBJM lane ");
    sb_put(&sb, lane_name(plan->lane));
    sb_lit(&sb, " variant identity reason ");
    sb_put(&sb, plan->reason.len > 0 ? plan->reason : STR("-"));
    vslb_done(&req->log, SLT_Debug, &sb);
}

static struct iovec iov_of(const void *ptr, size_t len)
{
    union {
        const void *in;
        void *out; /* writev only reads, though its type cannot say so */
    } bytes = {.in = ptr};
    return (struct iovec){bytes.out, len};
}

/* Copies the next bytes from where they lie, waiting for those that are still to come.  RC_EOF at
 * the end of the body. */
static YIELDS enum rc send_lease(struct request *req, struct objcore *oc, uint64_t off,
                                 uint64_t *len)
{
    struct stv_lease lease;
    enum rc rc = obj_next(oc, off, true, NEVER, &lease);
    if (rc != RC_OK) {
        return rc;
    }
    struct iovec iov = iov_of(lease.ptr, lease.len);
    *len = lease.len;
    rc = req->transport->data(req, &iov, 1);
    stv_rel(&lease);
    return rc;
}

/* Until the body has a descriptor of its own, that is, while it is still small, bytes are copied.
 */
static YIELDS enum rc send_file(struct request *req, struct objcore *oc, uint64_t off,
                                uint64_t *len)
{
    struct obj_fd_payload payload;
    enum rc rc = obj_next_payload(oc, off, NEVER, &payload);
    if (rc == RC_UNSUPPORTED || rc == RC_LIMIT) {
        return send_lease(req, oc, off, len);
    }
    if (rc != RC_OK) {
        return rc;
    }
    *len = payload.len;
    return req->transport->file(req, payload.fd, payload.off, payload.len);
}

/* The whole body, piece by piece, on the fd lane or the body lane. */
static YIELDS enum rc send_pieces(struct request *req, struct objcore *oc, enum lane lane,
                                  uint64_t *sent)
{
    for (;;) {
        uint64_t len = 0;
        enum rc rc =
            lane == LANE_FD ? send_file(req, oc, *sent, &len) : send_lease(req, oc, *sent, &len);
        if (rc == RC_EOF) {
            return req->transport->end(req);
        }
        if (rc != RC_OK) {
            return rc;
        }
        *sent += len;
    }
}

static YIELDS enum rc send_direct(struct request *req, struct http *resp, struct objcore *oc,
                                  uint64_t *sent)
{
    uint64_t len = obj_len(oc);
    struct stv_lease lease = {0};
    const void *ptr = stv_body_ptr(obj_stv(oc));
    if (ptr == NULL) {
        enum rc rc = obj_next(oc, 0, true, NEVER, &lease);
        if (rc != RC_OK) {
            return rc;
        }
        CHECK(lease.len == len);
        ptr = lease.ptr;
    }
    struct iovec iov = iov_of(ptr, len);
    enum rc rc = req->transport->head(req, resp, len, &iov, 1);
    if (lease.seg != NULL) {
        stv_rel(&lease);
    }
    *sent += rc == RC_OK ? len : 0;
    return rc;
}

static YIELDS enum rc send_planned(struct wrk *wrk, struct request *req, struct http *resp,
                                   struct objcore *oc, enum lane lane)
{
    uint64_t sent = 0;
    enum rc rc;
    if (lane == LANE_DIRECT) {
        rc = send_direct(req, resp, oc, &sent);
        wrk->objm.delivery_direct_bytes += sent;
        return rc;
    }
    req->body_is_ready = lane != LANE_NONE && obj_is_complete(oc);
    rc = req->transport->head(req, resp, obj_len(oc), NULL, 0);
    if (rc != RC_OK || lane == LANE_NONE) {
        return rc;
    }
    rc = send_pieces(req, oc, lane, &sent);
    if (lane == LANE_FD) {
        wrk->objm.delivery_fd_bytes += sent;
    } else {
        wrk->objm.delivery_body_bytes += sent;
    }
    return rc;
}

enum rc deliver__object(struct engine *engine, struct request *req, struct objcore *oc, bool is_hit)
{
    struct http *resp = NULL;
    enum rc rc = object_head(engine, req, oc, is_hit, &resp);
    if (rc != RC_OK) {
        return rc;
    }
    struct wrk *wrk = engine__wrk(engine);
    struct plan plan = plan_body(engine, req, oc);
    count_plan(wrk, &plan);
    log_lane(req, &plan);
    fiber_hold(obj_is_complete(oc) ? obj_stv(oc) : NULL);
    rc = send_planned(wrk, req, resp, oc, plan.lane);
    fiber_hold(NULL);
    return rc;
}

/* ---- what is not stored ---- */

static YIELDS enum rc relay_body(struct request *req, struct fetch *f)
{
    char *block = arena_alloc(&f->arena, RELAY_BYTES);
    if (block == NULL) {
        return RC_LIMIT;
    }
    for (;;) {
        size_t got = 0;
        enum rc rc = fetch__body(f, block, RELAY_BYTES, &got);
        if (rc == RC_EOF) {
            return req->transport->end(req);
        }
        if (rc == RC_OK) {
            struct iovec iov = {block, got};
            rc = req->transport->data(req, &iov, 1);
        }
        if (rc != RC_OK) {
            return rc;
        }
    }
}

static MUST_USE enum rc relay_head(struct engine *engine, struct request *req, struct fetch *f,
                                   struct http **out)
{
    unsigned fields = (unsigned)param(engine->conf.params, http_max_hdr) + 8;
    struct http *resp = http_new(req->arena, fields);
    if (resp == NULL) {
        return RC_LIMIT;
    }
    enum rc rc = http_copy(resp, f->beresp, HTTP_COPY_STORE_PASS);
    if (rc != RC_OK) {
        return rc;
    }
    resp->proto = STR("HTTP/1.1");
    /* An answer without a body because nobody asked for one may still say how long it would be. */
    if (f->body.framing != H1_BODY_NONE) {
        rc = deliver__length(req, resp, fetch__length(f));
    } else if (f->bereq->method_id != HTTP_M_HEAD && resp->status != 304) {
        rc = deliver__length(req, resp, 0);
    }
    if (rc != RC_OK) {
        return rc;
    }
    *out = resp;
    return deliver__dress(engine__wrk(engine), req, resp, 0, 0);
}

enum rc deliver__relay(struct engine *engine, struct request *req, struct fetch *f)
{
    struct http *resp = NULL;
    enum rc rc = relay_head(engine, req, f, &resp);
    if (rc != RC_OK) {
        return rc;
    }
    bool has_body = f->body.framing != H1_BODY_NONE && req->sends_body;
    rc = req->transport->head(req, resp, has_body ? fetch__length(f) : 0, NULL, 0);
    if (rc != RC_OK || !has_body) {
        return rc;
    }
    fetch__log_body(f);
    return relay_body(req, f);
}
