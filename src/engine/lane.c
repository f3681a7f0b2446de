/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* By which lane the body of a stored object leaves, or a part of it:
 *
 *   direct   one writev of head and body from the mapping: small bodies
 *   fd       sendfile from the body's own descriptor: large ones, also while they are fetched
 *   body     piece by piece through whatever filters there are
 *
 * The two untouched lanes are taken when no filter has to see the body; when one is not taken the
 * reason is counted, and the lane of each response is logged. */
#include "engine/esi.h"
#include "engine/filtering.h"

enum lane { LANE_NONE, LANE_DIRECT, LANE_FD, LANE_BODY };

/* How a body will leave, and why not by a better lane ("" when there is no such reason). */
struct route {
    enum lane lane;
    struct str reason;
    bool is_whole; /* the fd lane, of a body that was complete then: */
    struct obj_fd_payload payload;
};

static struct route route_body(struct engine *engine, const struct request *req, struct objcore *oc,
                               const struct part *part)
{
    const struct params *p = engine->conf.params;
    if (!req->sends_body || part->len == 0) {
        return (struct route){.lane = LANE_NONE};
    }
    if (UNLIKELY(req->delivery != NULL)) {
        return (struct route){.lane = LANE_BODY, .reason = req->delivery->reason};
    }
    if (param(p, lane_body)) {
        return (struct route){.lane = LANE_BODY, .reason = STR("filter")};
    }
    uint64_t fd_min = 0;
    bool takes_files = req->transport->takes_files(req, &fd_min);
    bool wants_fd = param(p, lane_fd) && part->len >= fd_min;
    if (wants_fd && takes_files) {
        /* A body that still grows is asked when there are bytes to send. */
        struct route route = {.lane = LANE_FD, .is_whole = obj_is_complete(oc)};
        if (!route.is_whole || stv_payload(obj_stv(oc), &route.payload) == RC_OK) {
            return route;
        }
    }
    if (param(p, lane_direct) && obj_is_complete(oc)) {
        return (struct route){.lane = LANE_DIRECT};
    }
    bool lacks_files = wants_fd && !takes_files;
    return (struct route){.lane = LANE_BODY, .reason = lacks_files ? STR("transport") : STR("")};
}

static void count_reason(struct vsc_objm *objm, struct str reason)
{
    objm->delivery_fallback_gzip += str_eq(reason, STR("gzip"));
    objm->delivery_fallback_gunzip += str_eq(reason, STR("gunzip"));
    objm->delivery_fallback_esi += str_eq(reason, STR("esi"));
    objm->delivery_fallback_range += str_eq(reason, STR("range"));
    objm->delivery_fallback_filter += str_eq(reason, STR("filter"));
    objm->delivery_fallback_transport += str_eq(reason, STR("transport"));
}

static void count_route(struct wrk *wrk, const struct route *route)
{
    struct vsc_objm *objm = &wrk->objm;
    switch (route->lane) {
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
        if (route->reason.len > 0) {
            objm->delivery_fd_fallbacks++;
        }
        count_reason(objm, route->reason);
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

static void log_lane(struct request *req, const struct route *route)
{
    struct sb sb;
    if (!vslb_claim(&req->log, SLT_Debug, &sb)) {
        return;
    }
    sb_lit(&sb, "OBJM lane ");
    sb_put(&sb, lane_name(route->lane));
    sb_lit(&sb, " variant ");
    sb_put(&sb, req->body_format.ptr == NULL ? STR("identity") : req->body_format);
    sb_lit(&sb, " reason ");
    sb_put(&sb, route->reason.len > 0 ? route->reason : STR("-"));
    vslb_done(&req->log, SLT_Debug, &sb);
}

void lane__log_unstored(struct request *req, bool has_body, struct str reason)
{
    struct route route = {.lane = has_body ? LANE_BODY : LANE_NONE,
                          .reason = has_body ? reason : STR("")};
    log_lane(req, &route);
}

static struct iovec iov_of(const void *ptr, size_t len)
{
    union {
        const void *in;
        void *out; /* writev only reads, though its type cannot say so */
    } bytes = {.in = ptr};
    return (struct iovec){bytes.out, len};
}

/* Copies the next bytes, at most `left`, from where they lie, waiting for those that are still to
 * come.  RC_EOF at the end of the body. */
static YIELDS enum rc send_lease(struct request *req, struct objcore *oc, uint64_t off,
                                 uint64_t left, uint64_t *len)
{
    struct stv_lease lease;
    enum rc rc = obj_next(oc, off, true, NEVER, &lease);
    if (rc != RC_OK) {
        return rc;
    }
    *len = lease.len < left ? lease.len : left;
    struct iovec iov = iov_of(lease.ptr, (size_t)*len);
    rc = req->transport->data(req, &iov, 1);
    stv_rel(&lease);
    return rc;
}

/* Until the body has a descriptor of its own, that is, while it is still small, bytes are copied.
 */
static YIELDS enum rc send_file(struct request *req, struct objcore *oc, uint64_t off,
                                uint64_t left, uint64_t *len)
{
    struct obj_fd_payload payload;
    enum rc rc = obj_next_payload(oc, off, NEVER, &payload);
    if (rc == RC_UNSUPPORTED || rc == RC_LIMIT) {
        return send_lease(req, oc, off, left, len);
    }
    if (rc != RC_OK) {
        return rc;
    }
    *len = payload.len < left ? payload.len : left;
    return req->transport->file(req, payload.fd, payload.off, *len);
}

/* Piece by piece, on the fd lane or the body lane.  A whole body ends where its fetch says that it
 * ends, a range where it was asked to. */
static YIELDS enum rc send_pieces(struct request *req, struct objcore *oc, enum lane lane,
                                  const struct part *part, uint64_t *sent)
{
    while (!part->is_range || *sent < part->len) {
        uint64_t left = part->is_range ? part->len - *sent : UINT64_MAX;
        uint64_t off = part->off + *sent;
        uint64_t len = 0;
        enum rc rc = lane == LANE_FD ? send_file(req, oc, off, left, &len)
                                     : send_lease(req, oc, off, left, &len);
        if (rc == RC_EOF) {
            break;
        }
        if (rc != RC_OK) {
            /* It is the fetch that ended early when there was nothing to send. */
            req->fault = part->is_range && len == 0 ? REQUEST_RANGE_SHORT : req->fault;
            return rc;
        }
        *sent += len;
    }
    if (part->is_range && *sent < part->len) {
        req->fault = REQUEST_RANGE_SHORT;
    }
    return req->transport->end(req);
}

static YIELDS enum rc put_assembled(void *arg, const void *ptr, size_t len)
{
    return outlet__put(arg, ptr, len);
}

/* Through filters, from where the bytes lie, following a fetch that still runs. */
static YIELDS enum rc send_filtered(struct request *req, struct objcore *oc,
                                    const struct part *part, uint64_t *sent)
{
    struct outlet outlet = {.req = req, .part = *part};
    uint64_t off = 0;
    enum rc rc;
    if (req->delivery->is_esi) {
        rc = esi__deliver(req, put_assembled, &outlet);
        rc = rc == RC_OK || rc == RC_EOF ? outlet__end(&outlet) : rc;
        *sent = outlet.sent;
        return rc;
    }
    do {
        struct stv_lease lease;
        rc = obj_next(oc, off, true, NEVER, &lease);
        if (rc == RC_OK) {
            off += lease.len;
            rc = outlet__put(&outlet, lease.ptr, lease.len);
            stv_rel(&lease);
        }
    } while (rc == RC_OK);
    if (rc == RC_EOF) {
        rc = outlet__end(&outlet);
    }
    *sent = outlet.sent;
    return rc;
}

/* What was complete when it was planned needs nothing but its descriptor. */
static YIELDS enum rc send_whole_file(struct request *req, const struct obj_fd_payload *payload,
                                      const struct part *part, uint64_t *sent)
{
    CHECK(part->off <= payload->len);
    CHECK(part->len <= payload->len - part->off);
    enum rc rc = req->transport->file(req, payload->fd, payload->off + part->off, part->len);
    *sent = rc == RC_OK ? part->len : 0;
    return rc == RC_OK ? req->transport->end(req) : rc;
}

static YIELDS enum rc send_direct(struct request *req, struct http *resp, struct objcore *oc,
                                  const struct part *part, uint64_t *sent)
{
    struct stv_lease lease = {0};
    const char *ptr = stv_body_ptr(obj_stv(oc));
    if (ptr == NULL) {
        enum rc rc = obj_next(oc, part->off, true, NEVER, &lease);
        if (rc != RC_OK) {
            return rc;
        }
        CHECK(lease.len >= part->len);
        ptr = lease.ptr;
    } else {
        ptr += part->off;
    }
    struct iovec iov = iov_of(ptr, (size_t)part->len);
    enum rc rc = req->transport->head(req, resp, part->len, &iov, 1);
    if (lease.seg != NULL) {
        stv_rel(&lease);
    }
    *sent += rc == RC_OK ? part->len : 0;
    return rc;
}

static YIELDS enum rc send_planned(struct wrk *wrk, struct request *req, struct http *resp,
                                   struct objcore *oc, const struct part *part,
                                   const struct route *route)
{
    uint64_t sent = 0;
    enum rc rc;
    enum lane lane = route->lane;
    if (lane == LANE_DIRECT) {
        rc = send_direct(req, resp, oc, part, &sent);
        wrk->objm.delivery_direct_bytes += sent;
        return rc;
    }
    bool is_filtered = lane == LANE_BODY && req->delivery != NULL;
    if (is_filtered && deliver_filter__open(req) != RC_OK) {
        wrk->main.client_resp_500++;
        return RC_LIMIT;
    }
    req->body_is_ready = lane != LANE_NONE && obj_is_complete(oc);
    rc = req->transport->head(req, resp, part->len, NULL, 0);
    if (rc == RC_OK && lane != LANE_NONE) {
        rc = is_filtered       ? send_filtered(req, oc, part, &sent)
             : route->is_whole ? send_whole_file(req, &route->payload, part, &sent)
                               : send_pieces(req, oc, lane, part, &sent);
    }
    if (is_filtered) {
        deliver_filter__close(req);
    }
    if (rc != RC_OK && lane == LANE_NONE) {
        return rc;
    }
    if (lane == LANE_FD) {
        wrk->objm.delivery_fd_bytes += sent;
    } else {
        wrk->objm.delivery_body_bytes += sent;
    }
    return rc;
}

enum rc lane__send(struct engine *engine, struct request *req, struct http *resp,
                   struct objcore *oc, const struct part *part)
{
    struct wrk *wrk = req->wrk;
    struct route route = route_body(engine, req, oc, part);
    count_route(wrk, &route);
    log_lane(req, &route);
    fiber_hold(obj_is_complete(oc) ? obj_stv(oc) : NULL);
    enum rc rc = send_planned(wrk, req, resp, oc, part, &route);
    fiber_hold(NULL);
    return rc;
}
