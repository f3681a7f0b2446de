/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Delivery: what the head of a response says, and which part of which body follows it.
 *
 * First the head is made from what was stored or fetched, and the policy may change it; then
 * conditions and ranges make 304, 206 or 416 of a 200, and the length is settled; then the body
 * leaves: a stored one by its lanes (lane.c), one that is not stored piece by piece as it comes. */
#include "base/cursor.h"
#include "engine/filtering.h"
#include "engine/policy.h"
#include "engine/rfc9111.h"

#include "http/http_condition.h"

/* One step of a relayed body. */
#define RELAY_BYTES ((size_t)16 << 10)

/* ---- heads ---- */

enum rc deliver__number(struct request *req, struct http *resp, enum http_hdr_id id, uint64_t one,
                        uint64_t two)
{
    struct sb sb = arena_builder(req->arena);
    sb_u64(&sb, one);
    if (two != 0) {
        sb_chr(&sb, ' ');
        sb_u64(&sb, two);
    }
    struct str text = arena_claim(req->arena, &sb);
    return text.ptr == NULL ? RC_LIMIT : http_set_own(resp, id, text);
}

/* What every response says of us. */
static MUST_USE enum rc dress(struct wrk *wrk, struct request *req, struct http *resp,
                              uint64_t object_xid, uint64_t age_s)
{
    enum rc rc = deliver__number(req, resp, HDR_X_VARNISH, req->vxid, object_xid);
    if (rc == RC_OK) {
        rc = deliver__number(req, resp, HDR_AGE, age_s, 0);
    }
    if (rc == RC_OK) {
        rc = http_add_own(resp, HDR_VIA, wrk->engine->via);
    }
    return rc;
}

/* What is not just passed through can be had in parts. */
static MUST_USE enum rc offer_ranges(struct engine *engine, struct http *resp)
{
    if (resp->status != 200 || !param(engine->conf.params, http_range_support)) {
        return RC_OK;
    }
    return http_set_own(resp, HDR_ACCEPT_RANGES, STR("bytes"));
}

uint32_t deliver__object_xid(const struct objcore *oc)
{
    struct str text = obj_get(oc, OA_XID);
    struct cursor c = cursor_of(text.ptr, text.len);
    return cursor_u32(&c);
}

static uint64_t age_s(uint64_t born_ns, uint64_t now_ns)
{
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

static struct http *object_head(struct engine *engine, struct request *req,
                                const struct objcore *oc, bool is_hit)
{
    struct http *resp = stored_head(engine, req, oc);
    if (resp == NULL) {
        return NULL;
    }
    if (UNLIKELY(req->own_fields != NULL) && !is_hit && rfc9111__give_back(req, resp) != RC_OK) {
        return NULL;
    }
    struct wrk *wrk = req->wrk;
    uint64_t age = age_s(obj_times(oc).t_origin_ns, wrk_real_ns(wrk));
    uint64_t xid = !is_hit ? 0 : req->object_xid != 0 ? req->object_xid : deliver__object_xid(oc);
    if (dress(wrk, req, resp, xid, age) != RC_OK ||
        (!req->is_private && offer_ranges(engine, resp) != RC_OK)) {
        return NULL;
    }
    return resp;
}

static struct http *relay_head(struct engine *engine, struct request *req, const struct fetch *f)
{
    unsigned fields = (unsigned)param(engine->conf.params, http_max_hdr) + 8;
    struct http *resp = http_new(req->arena, fields);
    if (resp == NULL || http_copy(resp, f->beresp, HTTP_COPY_STORE_PASS) != RC_OK) {
        return NULL;
    }
    resp->proto = STR("HTTP/1.1");
    struct wrk *wrk = req->wrk;
    uint64_t age = age_s(f->times.t_origin_ns, wrk_real_ns(wrk));
    /* A hit that the policy passed names both. */
    if (dress(wrk, req, resp, req->is_hit ? f->vxid : 0, age) != RC_OK) {
        return NULL;
    }
    if (f->kind != FETCH_PASS && offer_ranges(engine, resp) != RC_OK) {
        return NULL;
    }
    return resp;
}

enum rc deliver__head(struct request *req)
{
    req->resp = req->oc != NULL ? object_head(req->engine, req, req->oc, req->is_hit)
                                : relay_head(req->engine, req, req->fetch);
    return req->resp == NULL ? RC_LIMIT : deliver_filter__look(req);
}

/* ---- conditions, ranges, lengths ---- */

static MUST_USE enum rc settle_length(struct request *req, struct http *resp, uint64_t len)
{
    struct str text = http_get(resp, HDR_CONTENT_LENGTH);
    uint64_t said = 0;
    if (resp->status == 204 || resp->status == 304) {
        req->sends_body = false;
        len = UINT64_MAX;
    } else if (text.ptr != NULL && str_to_u64(text, &said) == RC_OK && said == len) {
        return RC_OK;
    }
    if (text.ptr != NULL) {
        vslb_header(&req->log, SLT_RespUnset, STR("Content-Length"), text);
        http_unset(resp, HDR_CONTENT_LENGTH);
    }
    if (len == UINT64_MAX) {
        return RC_OK;
    }
    enum rc rc = deliver__number(req, resp, HDR_CONTENT_LENGTH, len, 0);
    if (rc == RC_OK) {
        vslb_header(&req->log, SLT_RespHeader, STR("Content-Length"),
                    http_get(resp, HDR_CONTENT_LENGTH));
    }
    return rc;
}

enum rc deliver__settle(struct request *req, struct http *resp, uint64_t body_len,
                        struct part *part)
{
    *part = (struct part){.off = 0, .len = body_len};
    bool by_range = false;
    enum rc rc = RC_OK;
    if (deliver_filter__is_wanted(req)) {
        rc = deliver_filter__settle(req, resp, &body_len, &by_range);
        part->len = body_len;
    } else {
        by_range = resp->status == 200 && http_has(req->http, HDR_RANGE) &&
                   param(req->engine->conf.params, http_range_support);
        vslb_str(&req->log, SLT_Filters, by_range ? STR(" range") : STR(""));
    }
    if (rc != RC_OK) {
        return rc;
    }
    rc = by_range ? range__apply(req, resp, body_len, part) : RC_OK;
    return rc == RC_OK ? settle_length(req, resp, part->len) : rc;
}

void deliver__drop_thousands(struct http *resp)
{
    resp->status %= 1000;
    CHECK(resp->status >= 100);
}

static void apply_conditions(struct wrk *wrk, struct request *req, struct http *resp)
{
    if (http_is_not_modified(req->http, resp, (int64_t)(wrk_real_ns(wrk) / NS_PER_S))) {
        log__status(&req->log, resp, 304);
    }
}

/* Not even room for the head of an answer: the connection ends. */
static enum rc no_room(struct wrk *wrk)
{
    wrk->main.client_resp_500++;
    return RC_LIMIT;
}

/* ---- what is not stored ---- */

/* RC_OK: all that is wanted is out. */
static YIELDS enum rc relay_body(struct request *req, struct fetch *f, const struct part *part)
{
    char *block = arena_alloc(&f->arena, RELAY_BYTES);
    if (block == NULL) {
        return RC_LIMIT;
    }
    struct outlet outlet = {.req = req, .part = *part};
    enum rc rc;
    do {
        size_t got = 0;
        rc = fetch__body(f, block, RELAY_BYTES, &got);
        if (rc == RC_OK) {
            rc = outlet__put(&outlet, block, got);
        }
    } while (rc == RC_OK);
    if (rc != RC_EOF) {
        return rc;
    }
    if (part->is_range) {
        fetch__skip_received(f);
    }
    return outlet__end(&outlet);
}

/* An answer without a body because nobody asked for one may say how long it would be. */
static MUST_USE enum rc settle_bodyless(struct request *req, struct http *resp)
{
    uint64_t len = UINT64_MAX;
    bool by_range = false;
    if (deliver_filter__is_wanted(req)) {
        return deliver_filter__settle(req, resp, &len, &by_range);
    }
    vslb_str(&req->log, SLT_Filters, STR(""));
    return RC_OK;
}

static YIELDS enum rc transmit_fetch(struct request *req, struct fetch *f)
{
    struct http *resp = req->resp;
    bool has_body = fetch__has_body(f);
    if (!has_body) {
        fetch__let_go(f);
    }
    struct part part = {.off = 0, .len = 0};
    if (!has_body && (f->bereq->method_id == HTTP_M_HEAD || resp->status == 304)) {
        if (settle_bodyless(req, resp) != RC_OK) {
            return no_room(req->wrk);
        }
    } else if (deliver__settle(req, resp, fetch__length(f), &part) != RC_OK) {
        return no_room(req->wrk);
    }
    has_body = has_body && req->sends_body && part.len > 0;
    lane__log_unstored(req, has_body, STR("pass"));
    fetch__log_body(f);
    enum rc rc = has_body && req->delivery != NULL ? deliver_filter__open(req) : RC_OK;
    if (rc != RC_OK) {
        return no_room(req->wrk);
    }
    rc = req->transport->head(req, resp, has_body ? part.len : 0, NULL, 0);
    if (rc == RC_OK && has_body) {
        rc = relay_body(req, f, &part);
    }
    if (req->delivery != NULL) {
        deliver_filter__close(req);
    }
    return rc;
}

enum rc deliver__transmit(struct request *req)
{
    struct wrk *wrk = req->wrk;
    deliver__drop_thousands(req->resp);
    if (req->top == NULL) {
        apply_conditions(wrk, req, req->resp);
    }
    if (req->oc == NULL) {
        return transmit_fetch(req, req->fetch);
    }
    struct part part;
    if (deliver__settle(req, req->resp, obj_len(req->oc), &part) != RC_OK) {
        return no_room(wrk);
    }
    return lane__send(req->engine, req, req->resp, req->oc, &part);
}
