/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One include: a request of its own, on a fiber of its own.
 *
 * It is the request that the client sent, with another URL, perhaps another host, and without what
 * concerns only the client's own response: conditions, ranges, a body.  It goes through the same
 * VCL from its beginning, so whatever an include names, VCL decides who is asked.
 *
 * Its transport swallows the head and hands the body to the document, in the form that the
 * document's other bytes have. */
#include "engine/esi_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "engine/filtering.h"
#include "engine/policy.h"
#include "filter/deflate.h"
#include "http/http_list.h"

static struct esi_child *child_of(struct request *req)
{
    struct esi_child *child = req->transport_arg;
    CHECK_OBJ(child, ESI_CHILD_MAGIC);
    return child;
}

/* ---- bytes for the document ---- */

/* Where they lie, until the document has taken them. */
static YIELDS enum rc offer_bytes(struct esi_child *child, const void *ptr, size_t len)
{
    struct esi_doc *doc = child->doc;
    child->offer = ptr;
    child->offer_len = len;
    fiber_wake(doc->fiber);
    while (child->offer_len > 0 && doc->rc == RC_OK) {
        esi__wait();
    }
    bool was_taken = child->offer_len == 0;
    child->offer_len = 0;
    return was_taken ? RC_OK : RC_RESET;
}

/* Copies as many as there is room for. */
static size_t gather(struct esi_child *child, const void *ptr, size_t len)
{
    size_t most = param(child->req.engine->conf.params, esi_buffer);
    size_t room = most > child->len ? most - child->len : 0;
    size_t some = len < room ? len : room;
    if (some > child->cap - child->len) {
        size_t want = 2 * child->cap > child->len + some ? 2 * child->cap : child->len + some;
        child->cap = want < most ? want : most;
        child->buf = xrealloc(child->buf, child->cap);
    }
    if (some > 0) {
        memcpy(child->buf + child->len, ptr, some);
        child->len += some;
    }
    return some;
}

/* Until the document has taken some.  A body that outgrew its store goes on at the pace of the
 * slowest of its readers, and what is at the front may be one that waits for this: so that wait has
 * an end.  False: it came. */
static YIELDS bool wait_for_room(struct esi_child *child)
{
    const struct request *req = &child->req;
    if (req->oc == NULL || obj_is_whole(req->oc)) {
        esi__wait();
        return true;
    }
    uint64_t most_ns = param(req->engine->conf.params, send_timeout);
    enum rc rc = fiber_wait(clock_after(clock_mono_ns(), most_ns));
    if (rc == RC_CANCELLED) {
        fiber_yield();
    }
    return rc != RC_TIMEOUT;
}

/* As the document's sink would take them. */
static YIELDS enum rc hand_over(void *arg, const void *ptr, size_t len)
{
    struct esi_child *child = arg;
    const char *bytes = ptr;
    while (len > 0) {
        if (child->doc->rc != RC_OK) {
            return RC_RESET;
        }
        if (child->is_front && child->len == 0) {
            return offer_bytes(child, bytes, len);
        }
        size_t some = gather(child, bytes, len);
        bytes += some;
        len -= some;
        if (child->is_front) {
            fiber_wake(child->doc->fiber);
        }
        if (len > 0 && !wait_for_room(child)) {
            return RC_TIMEOUT;
        }
    }
    return RC_OK;
}

static YIELDS enum rc put_wrapped(void *arg, const void *ptr, size_t len)
{
    struct esi_child *child = arg;
    enum rc rc = stitch_wrap(ptr, len, hand_over, child);
    if (rc == RC_OK) {
        child->crc = gzip_crc(child->crc, ptr, len);
        child->text_len += len;
    }
    return rc;
}

static YIELDS enum rc put_converted(struct esi_child *child, const void *ptr, size_t len)
{
    switch (child->mode) {
    case ESI_MODE_PLAIN:
    case ESI_MODE_INNER:
        break;
    case ESI_MODE_WRAP:
        return put_wrapped(child, ptr, len);
    case ESI_MODE_UNZIP:
        return chain_push(child->unzip, ptr, len, false, put_wrapped, child);
    case ESI_MODE_STITCH:
        return stitch_put(&child->stitch, ptr, len, hand_over, child);
    }
    return hand_over(child, ptr, len);
}

/* ---- which form ---- */

static bool open_unzip(struct esi_child *child)
{
    const struct filter *gunzip = filter_find(FILTER_VDP, STR("gunzip"));
    CHECK(gunzip != NULL);
    child->unzip_step = (struct plan_step){
        .filter = gunzip, .pos = FILTER_DEFAULT, .in = STR("gzip"), .out = STR("text")};
    child->unzip_plan = (struct plan){.side = FILTER_VDP,
                                      .from = STR("gzip"),
                                      .to = STR("text"),
                                      .steps = &child->unzip_step,
                                      .steps_count = 1};
    struct filter_env env =
        filtering__env(child->req.wrk, &child->arena, &child->notes, &child->req.log);
    return chain_new(&child->unzip_plan, 0, 1, &env, &child->unzip, NULL) == RC_OK;
}

/* Whether the blocks of the stored body can be taken as they are. */
static bool can_stitch(struct esi_child *child)
{
    const struct request *req = &child->req;
    struct gzip_bits bits;
    return req->oc != NULL && req->delivery == NULL && obj_is_whole(req->oc) &&
           stitch_bits_read(obj_get(req->oc, OA_GZIPBITS), &bits) &&
           stitch_begin(&child->stitch, &bits, obj_len(req->oc));
}

static MUST_USE enum rc choose_mode(struct esi_child *child, const struct http *resp)
{
    bool is_gzip = str_eq_nocase(http_get(resp, HDR_CONTENT_ENCODING), STR("gzip"));
    if (!child->doc->is_gzip) {
        child->mode = ESI_MODE_PLAIN;
    } else if (!is_gzip) {
        child->mode = ESI_MODE_WRAP;
    } else if (child->req.delivery != NULL && child->req.delivery->is_esi) {
        child->mode = ESI_MODE_INNER;
    } else if (can_stitch(child)) {
        child->mode = ESI_MODE_STITCH;
    } else {
        child->mode = ESI_MODE_UNZIP;
        return open_unzip(child) ? RC_OK : RC_LIMIT;
    }
    return RC_OK;
}

/* ---- the transport ---- */

static enum rc no_body(struct request *req, void *buf, size_t bytes, size_t *got)
{
    (void)req;
    (void)buf;
    (void)bytes;
    *got = 0;
    return RC_EOF;
}

static YIELDS enum rc include_data(struct request *req, struct iovec *iov, unsigned iovs)
{
    struct esi_child *child = child_of(req);
    enum rc rc = RC_OK;
    for (unsigned n = 0; n < iovs && rc == RC_OK; n++) {
        if (iov[n].iov_len > 0) {
            rc = put_converted(child, iov[n].iov_base, iov[n].iov_len);
            req->bytes.resp_body += iov[n].iov_len;
        }
    }
    return rc;
}

static YIELDS enum rc include_end(struct request *req)
{
    struct esi_child *child = child_of(req);
    return child->unzip == NULL ? RC_OK
                                : chain_push(child->unzip, NULL, 0, true, put_wrapped, child);
}

static YIELDS enum rc include_head(struct request *req, struct http *resp, uint64_t body_len,
                                   const struct iovec *iov, unsigned iovs)
{
    struct esi_child *child = child_of(req);
    if (!req->sends_body || body_len == 0) {
        return RC_OK;
    }
    enum rc rc = choose_mode(child, resp);
    for (unsigned n = 0; n < iovs && rc == RC_OK; n++) {
        struct iovec one = iov[n];
        rc = include_data(req, &one, 1);
    }
    return rc == RC_OK && iovs > 0 ? include_end(req) : rc;
}

static enum rc no_file(struct request *req, int fd, uint64_t off, uint64_t bytes)
{
    (void)req;
    (void)fd;
    (void)off;
    (void)bytes;
    return RC_UNSUPPORTED;
}

static bool takes_no_files(const struct request *req, uint64_t *min_bytes)
{
    (void)req;
    *min_bytes = UINT64_MAX;
    return false;
}

static const struct transport include_transport = {
    .body = no_body,
    .head = include_head,
    .data = include_data,
    .file = no_file,
    .end = include_end,
    .takes_files = takes_no_files,
};

/* ---- its request ---- */

/* The document's request as it came, and what is different. */
static MUST_USE enum rc make_head(struct esi_child *child, const struct esi_op *op)
{
    static const enum http_hdr_id not_ours[] = {
        HDR_IF_MODIFIED_SINCE, HDR_IF_NONE_MATCH,     HDR_RANGE,
        HDR_CONTENT_LENGTH,    HDR_TRANSFER_ENCODING, HDR_EXPECT,
    };
    const struct request *parent = child->doc->req;
    struct http *h = child->req.http;
    if (h == NULL) {
        return RC_LIMIT;
    }
    enum rc rc =
        http_copy(h, parent->original != NULL ? parent->original : parent->http, HTTP_COPY_ALL);
    h->proto = STR("HTTP/1.1");
    h->version = 11;
    for (size_t n = 0; n < ARRAY_SIZE(not_ours); n++) {
        http_unset(h, not_ours[n]);
    }
    http_unset(h, HDR_ACCEPT_ENCODING);
    if (rc == RC_OK && child->doc->is_gzip) {
        rc = http_set_own(h, HDR_ACCEPT_ENCODING, STR("gzip"));
    }
    if (rc == RC_OK) {
        rc = http_set_method(h, STR("GET"));
    }
    if (rc == RC_OK) {
        rc = http_set_url(h, op->url);
    }
    if (rc == RC_OK && op->host.len > 0) {
        http_unset(h, HDR_HOST);
        rc = http_add(h, HDR_HOST, op->host);
    }
    return rc;
}

static void make_request(struct esi_child *child)
{
    struct request *parent = child->doc->req;
    struct engine *engine = parent->engine;
    unsigned fields = (unsigned)param(engine->conf.params, http_max_hdr) + 8;
    child->req = (struct request){
        .transport = &include_transport,
        .transport_arg = child,
        .http = http_new(&child->arena, fields),
        .arena = &child->arena,
        .engine = engine,
        .wrk = parent->wrk,
        .top = parent->top != NULL ? parent->top : parent,
        .parent_vxid = parent->vxid,
        .esi_level = parent->esi_level + 1,
        .vxid = engine_vxid(engine),
        .session_vxid = parent->session_vxid,
        .t_first_ns = clock_real_ns(),
        .t_head_ns = parent->t_head_ns,
        .listener = parent->listener,
        .endpoint = parent->endpoint,
        .client_addr = parent->client_addr,
        .client_port = parent->client_port,
        .server_addr = parent->server_addr,
        .server_port = parent->server_port,
        .remote_addr = parent->remote_addr,
        .remote_port = parent->remote_port,
        .local_addr = parent->local_addr,
        .local_port = parent->local_port,
        .proxy_tlvs = parent->proxy_tlvs,
        .is_unix = parent->is_unix,
        .has_ids = parent->has_ids,
        .uid = parent->uid,
        .gid = parent->gid,
    };
}

/* ---- its life ---- */

static void sum_up(struct esi_child *child)
{
    bool was_begun = child->stitch.at > child->stitch.bits.start_bit / 8;
    if (child->mode == ESI_MODE_STITCH && was_begun) {
        child->crc = child->stitch.bits.crc;
        child->text_len = child->stitch.bits.in_bytes;
        child->is_broken = child->rc != RC_OK;
    }
}

static YIELDS void include_fiber(void *arg)
{
    struct esi_child *child = arg;
    CHECK_OBJ(child, ESI_CHILD_MAGIC);
    child->fiber = fiber_self();
    child->rc = engine_serve(child->req.engine, &child->req);
    sum_up(child);
    child->is_done = true;
    /* From here on the document may free it. */
    fiber_wake(child->doc->fiber);
}

size_t esi__child_bytes(const struct params *params)
{
    return sizeof(struct esi_child) + param(params, workspace_client);
}

struct esi_child *esi_child__start(struct esi_doc *doc, const struct esi_op *op)
{
    struct request *parent = doc->req;
    struct engine *engine = parent->engine;
    struct esi_child *child = pool_get(engine->esi_pool);
    *child = (struct esi_child){.magic = ESI_CHILD_MAGIC, .doc = doc, .goes_on = op->goes_on};
    arena_init(&child->arena, child + 1, pool_block_bytes(engine->esi_pool) - sizeof *child);
    make_request(child);
    list_push_back(&doc->children, &child->link);
    doc->family->children++;
    parent->wrk->main.esi_req++;
    vslb_printf(&parent->log, SLT_Link, "req %u esi", child->req.vxid);
    child->rc = make_head(child, op);
    if (child->rc == RC_OK) {
        child->rc = fiber_start(include_fiber, child, "esi");
    }
    if (child->rc != RC_OK) {
        vslb_printf(&parent->log, SLT_Error, "ESI include left out: %s", rc_text(child->rc));
        child->is_done = true;
    }
    return child;
}

void esi_child__free(struct esi_child **child_of_doc)
{
    struct esi_child *child = *child_of_doc;
    *child_of_doc = NULL;
    CHECK_OBJ(child, ESI_CHILD_MAGIC);
    list_remove(&child->link);
    if (child->unzip != NULL) {
        chain_free(&child->unzip);
    }
    free(child->buf);
    struct engine *engine = child->req.engine;
    child->magic = 0;
    pool_put(engine->esi_pool, child);
}
