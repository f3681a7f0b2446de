/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* An ESI document on its way to a client: pieces of its stored body, and what it includes, in
 * order.
 *
 * Includes that are stored here take microseconds, and one after another is the cheapest way to get
 * them: no buffer, no second connection to the backend.  So a document waits for what is at the
 * front, and only when one include takes longer than esi_patience, or several longer than some
 * times that, does it start those that follow, too: in their order, each on its own fiber up to its
 * first suspension, as long as there are at most esi_parallel of them in all documents of the
 * request.  What has its turn by then is never held up by that number, so there is always somebody
 * who goes on.
 *
 * Whatever ends a document early (the client is gone, the body is damaged) first sets doc->rc.
 * Children see it when they have something to say, end, and are waited for. */
#include "engine/esi_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "filter/deflate.h"

/* How many includes may use up all of esi_patience. */
#define PATIENCE_INCLUDES 4
#define OUT_BYTES ((size_t)8 << 10)

void esi__wait(void)
{
    if (fiber_wait(NEVER) != RC_OK) {
        fiber_yield();
    }
}

/* ---- what goes out ---- */

static YIELDS enum rc send_out(struct esi_doc *doc)
{
    size_t len = doc->out_len;
    doc->out_len = 0;
    return len == 0 ? RC_OK : doc->sink(doc->sink_arg, doc->out, len);
}

static YIELDS enum rc put_out(struct esi_doc *doc, const void *ptr, size_t len)
{
    if (len > OUT_BYTES - doc->out_len) {
        enum rc rc = send_out(doc);
        if (rc != RC_OK) {
            return rc;
        }
    }
    if (len >= OUT_BYTES / 2) {
        enum rc rc = send_out(doc);
        return rc == RC_OK ? doc->sink(doc->sink_arg, ptr, len) : rc;
    }
    memcpy(doc->out + doc->out_len, ptr, len);
    doc->out_len += len;
    return RC_OK;
}

/* The next bytes of the stored body. */
static YIELDS enum rc keep_piece(struct esi_doc *doc, const struct esi_op *op)
{
    for (uint64_t left = op->len; left > 0;) {
        struct stv_lease lease;
        enum rc rc = obj_next(doc->req->oc, doc->off, true, NEVER, &lease);
        if (rc != RC_OK) {
            return rc == RC_EOF ? RC_DAMAGED : rc;
        }
        size_t len = lease.len < left ? (size_t)lease.len : (size_t)left;
        rc = put_out(doc, lease.ptr, len);
        stv_rel(&lease);
        if (rc != RC_OK) {
            return rc;
        }
        doc->off += len;
        left -= len;
    }
    if (doc->is_gzip) {
        doc->crc = gzip_crc_join(doc->crc, op->crc, op->text_len);
        doc->text_len += op->text_len;
    }
    return RC_OK;
}

/* ---- includes ---- */

/* There is news: each looks again at what it waits for. */
static void wake_family(struct esi_family *family)
{
    LIST_FOREACH (at, &family->docs) {
        struct esi_doc *doc = CONTAINER_OF(at, struct esi_doc, link);
        fiber_wake(doc->fiber);
        LIST_FOREACH (child_at, &doc->children) {
            struct esi_child *child = CONTAINER_OF(child_at, struct esi_child, link);
            if (!child->is_done && child->fiber != NULL) {
                fiber_wake(child->fiber);
            }
        }
    }
}

/* Whether the client waits for just this document. */
static bool is_at_front(const struct esi_doc *doc)
{
    while (doc->self != NULL && doc->self->is_front) {
        doc = doc->self->doc;
    }
    return doc->self == NULL;
}

static bool is_wanted(const struct esi_doc *doc)
{
    while (doc->rc == RC_OK && doc->self != NULL) {
        doc = doc->self->doc;
    }
    return doc->rc == RC_OK;
}

bool esi__await_turn(const struct request *req)
{
    if (req->top == NULL) {
        return false;
    }
    const struct esi_child *child = req->transport_arg;
    CHECK_OBJ(child, ESI_CHILD_MAGIC);
    if (child->is_front && is_at_front(child->doc)) {
        return false;
    }
    while (!(child->is_front && is_at_front(child->doc))) {
        if (!is_wanted(child->doc) || fiber_is_cancelled(fiber_self())) {
            return false;
        }
        esi__wait();
    }
    return true;
}

static bool may_start(const struct esi_doc *doc)
{
    return doc->family->children < param(doc->req->engine->conf.params, esi_parallel);
}

static void start_ahead(struct esi_doc *doc)
{
    while (doc->is_impatient && may_start(doc)) {
        struct esi_op op = {.kind = ESI_DONE};
        /* A damaged program is found out when its turn has come. */
        if (esi_read(&doc->ahead, &op) != RC_OK || op.kind == ESI_DONE) {
            doc->ahead.rest = STR_NONE;
            return;
        }
        if (op.kind == ESI_INCLUDE) {
            (void)esi_child__start(doc, &op);
        }
    }
}

/* Until there is news, or the one at the front has taken too long.  False: then. */
static YIELDS bool wait_patiently(struct esi_doc *doc)
{
    uint64_t begin_ns = clock_mono_ns();
    uint64_t patience_ns = param(doc->req->engine->conf.params, esi_patience);
    uint64_t until_ns = clock_after(doc->front_since_ns, patience_ns);
    uint64_t last_ns = clock_after(begin_ns, doc->patience_ns);
    enum rc rc = fiber_wait(until_ns < last_ns ? until_ns : last_ns);
    uint64_t waited_ns = clock_mono_ns() - begin_ns;
    if (rc == RC_TIMEOUT || waited_ns >= doc->patience_ns) {
        return false;
    }
    doc->patience_ns -= waited_ns;
    return true;
}

static YIELDS enum rc wait_for_child(struct esi_doc *doc)
{
    if (doc->is_impatient || param(doc->req->engine->conf.params, esi_parallel) == 1) {
        (void)!fiber_wait(NEVER);
    } else {
        doc->is_impatient = !wait_patiently(doc);
    }
    if (fiber_is_cancelled(fiber_self())) {
        return RC_CANCELLED;
    }
    start_ahead(doc);
    return RC_OK;
}

/* All that it has by now.  *was_any: there was something. */
static YIELDS enum rc take_some(struct esi_doc *doc, struct esi_child *child, bool *was_any)
{
    enum rc rc = RC_OK;
    *was_any = true;
    if (child->len > 0) {
        char *buf = child->buf;
        size_t len = child->len;
        child->buf = NULL;
        child->len = child->cap = 0;
        rc = put_out(doc, buf, len);
        free(buf);
    } else if (child->offer_len > 0) {
        rc = put_out(doc, child->offer, child->offer_len);
        child->offer_len = 0;
    } else {
        *was_any = false;
        return RC_OK;
    }
    if (!child->is_done) {
        fiber_wake(child->fiber);
    }
    return rc;
}

static YIELDS enum rc take_child(struct esi_doc *doc, struct esi_child *child)
{
    child->is_front = true;
    doc->front_since_ns = clock_mono_ns();
    wake_family(doc->family);
    for (;;) {
        bool was_any;
        enum rc rc = take_some(doc, child, &was_any);
        if (rc != RC_OK) {
            return rc;
        }
        if (was_any) {
            continue;
        }
        if (child->is_done) {
            return RC_OK;
        }
        /* Between the look at the child and the wait there is no suspension. */
        rc = doc->out_len > 0 ? send_out(doc) : wait_for_child(doc);
        if (rc != RC_OK) {
            return rc;
        }
    }
}

static bool is_fatal(const struct esi_doc *doc, const struct esi_child *child)
{
    const struct params *p = doc->req->engine->conf.params;
    bool stops = param_bit(p, PARAM_BITS_feature, PARAM_FEATURE_esi_include_onerror);
    return child->is_broken || (child->rc != RC_OK && stops && !child->goes_on);
}

static void end_child(struct esi_doc *doc, struct esi_child *take_child)
{
    CHECK(take_child->is_done);
    esi_child__free(&take_child);
    CHECK(doc->family->children > 0);
    doc->family->children--;
    wake_family(doc->family);
}

static YIELDS enum rc include_one(struct esi_doc *doc, const struct esi_op *op)
{
    uint64_t most = param(doc->req->engine->conf.params, max_esi_depth);
    if (doc->req->esi_level >= most) {
        vslb_printf(&doc->req->log, SLT_VCL_Error,
                    "ESI depth limit reach (param max_esi_depth = %llu)", (unsigned long long)most);
        return RC_OK;
    }
    while (list_is_empty(&doc->children)) {
        if (may_start(doc) || is_at_front(doc)) {
            (void)esi_child__start(doc, op);
            doc->ahead = doc->at;
        } else {
            esi__wait();
            if (fiber_is_cancelled(fiber_self())) {
                return RC_CANCELLED;
            }
        }
    }
    struct esi_child *child = CONTAINER_OF(doc->children.next, struct esi_child, link);
    enum rc rc = take_child(doc, child);
    if (rc != RC_OK) {
        return rc;
    }
    if (doc->is_gzip) {
        doc->crc = gzip_crc_join(doc->crc, child->crc, child->text_len);
        doc->text_len += child->text_len;
    }
    bool fails = is_fatal(doc, child);
    end_child(doc, child);
    start_ahead(doc);
    return fails ? RC_RESET : RC_OK;
}

/* ---- documents ---- */

static YIELDS enum rc walk_program(struct esi_doc *doc)
{
    for (;;) {
        struct esi_op op;
        enum rc rc = esi_read(&doc->at, &op);
        if (rc != RC_OK) {
            return rc;
        }
        switch (op.kind) {
        case ESI_KEEP:
            rc = keep_piece(doc, &op);
            break;
        case ESI_SKIP:
            doc->off += op.len;
            break;
        case ESI_INCLUDE:
            rc = include_one(doc, &op);
            break;
        case ESI_MORE:
        case ESI_NOTE:
        case ESI_DONE:
            return RC_OK;
        }
        if (rc != RC_OK) {
            return rc;
        }
    }
}

static YIELDS enum rc deliver_doc(struct esi_doc *doc)
{
    bool is_framed = doc->is_gzip && !doc->is_inner;
    enum rc rc = is_framed ? put_out(doc, deflate_head, DEFLATE_HEAD_BYTES) : RC_OK;
    if (rc == RC_OK) {
        rc = walk_program(doc);
    }
    if (rc == RC_OK && is_framed) {
        char tail[STITCH_TAIL_BYTES];
        stitch_tail(tail, doc->crc, doc->text_len);
        rc = put_out(doc, tail, sizeof tail);
    }
    return rc == RC_OK ? send_out(doc) : rc;
}

/* Nobody wants the rest: what was started ends as soon as it notices. */
static YIELDS void end_children(struct esi_doc *doc)
{
    if (!list_is_empty(&doc->children)) {
        wake_family(doc->family);
    }
    while (!list_is_empty(&doc->children)) {
        struct esi_child *child = CONTAINER_OF(doc->children.next, struct esi_child, link);
        while (!child->is_done) {
            esi__wait();
        }
        end_child(doc, child);
    }
}

/* Documents are shown when all their bytes are there; their programs follow in a moment. */
static YIELDS MUST_USE enum rc await_program(const struct request *req)
{
    enum rc rc = RC_OK;
    for (uint64_t off = 0; rc == RC_OK && !obj_is_whole(req->oc);) {
        struct stv_lease lease;
        rc = obj_next(req->oc, off, false, NEVER, &lease);
        if (rc == RC_OK) {
            off += lease.len;
            stv_rel(&lease);
        }
    }
    return rc == RC_EOF ? RC_OK : rc;
}

static YIELDS MUST_USE enum rc begin_doc(struct esi_doc *doc, struct request *req)
{
    enum rc rc = await_program(req);
    /* What is read over suspensions has to be ours. */
    struct str program = obj_get(req->oc, OA_ESI);
    doc->program = xmalloc(program.len + 1);
    if (program.len > 0) {
        memcpy(doc->program, program.ptr, program.len);
    }
    program.ptr = doc->program;
    if (rc == RC_OK) {
        rc = esi_read_begin(&doc->at, program, obj_len(req->oc));
    }
    doc->ahead = doc->at;
    doc->is_gzip = doc->at.is_gzip;
    doc->out = xmalloc(OUT_BYTES);
    list_init(&doc->children);
    list_init(&doc->own.docs);
    doc->family = &doc->own;
    if (req->top != NULL) {
        doc->self = CONTAINER_OF(req, struct esi_child, req);
        CHECK_OBJ(doc->self, ESI_CHILD_MAGIC);
        doc->family = doc->self->doc->family;
        doc->is_inner = doc->self->mode == ESI_MODE_INNER;
    }
    list_push_back(&doc->family->docs, &doc->link);
    return rc;
}

enum rc esi__deliver(struct request *req, esi_sink_fn *sink, void *arg)
{
    struct esi_doc doc = {.req = req,
                          .fiber = fiber_self(),
                          .sink = sink,
                          .sink_arg = arg,
                          .patience_ns =
                              PATIENCE_INCLUDES * param(req->engine->conf.params, esi_patience)};
    enum rc rc = begin_doc(&doc, req);
    if (rc != RC_OK) {
        vslb_printf(&req->log, SLT_Error, "ESI program: %s", rc_text(rc));
    } else {
        rc = deliver_doc(&doc);
    }
    doc.rc = rc == RC_OK ? RC_EOF : rc;
    end_children(&doc);
    if (doc.is_inner) {
        doc.self->crc = doc.crc;
        doc.self->text_len = doc.text_len;
        doc.self->is_broken |= rc != RC_OK;
    }
    list_remove(&doc.link);
    free(doc.program);
    free(doc.out);
    return rc;
}
