/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* RFC 9111 at the points where the engine asks for it; the rules themselves are in
 * http/rfc9111.c.
 *
 * An object carries what later requests need to know of it: its times, and OBJ_NEVER_STALE.  What
 * only a failure asks for (stale-if-error, must-revalidate) is read from its stored head then.
 *
 * Objects that were stored while the parameter was off keep the times they got. */
#include "engine/rfc9111.h"

#include "engine/policy.h"
#include "http/http_condition.h"

/* ---- lookup ---- */

static enum obj_use use(void *arg, const struct objcore *oc, uint64_t now_ns)
{
    static const enum obj_use uses[] = {
        [HTTP_9111_NO] = OBJ_UNUSABLE,
        [HTTP_9111_FRESH] = OBJ_FRESH,
        [HTTP_9111_STALE] = OBJ_STALE,
    };
    const struct http_9111_wish *wish = arg;
    struct obj_times times = obj_times(oc);
    uint64_t age_ns = now_ns > times.t_origin_ns ? now_ns - times.t_origin_ns : 0;
    return uses[http_9111_reuse(wish, age_ns, times.ttl_ns, times.grace_ns,
                                (obj_flags(oc) & OBJ_NEVER_STALE) != 0)];
}

bool rfc9111__match(void *request, const struct objcore *oc)
{
    const struct request *req = request;
    return vary__fits_normalised(obj_get(oc, OA_VARY), req->http, vary__by_encoding(req));
}

void rfc9111__want(struct request *req, struct http_9111_wish *wish, struct lookup_req *want)
{
    http_9111_wish(req->http, wish);
    want->match = want->match == NULL ? NULL : rfc9111__match;
    if (wish->is_plain) {
        return;
    }
    want->use = use;
    want->use_arg = wish;
    want->always_miss |= wish->no_cache;
    /* Who may not store would fetch for nobody, and who may not fetch waits for nothing. */
    want->ignore_busy |= wish->no_store || wish->only_if_cached;
}

static void drop_busy(struct lookup *found)
{
    if (found->busy != NULL) {
        obj_fail(found->busy);
        obj_release(&found->busy);
    }
}

bool rfc9111__goes_on(const struct http_9111_wish *wish, struct lookup *found)
{
    if (!wish->no_store && !wish->only_if_cached) {
        return true;
    }
    /* What is stale is refreshed in the background, but for neither of these. */
    drop_busy(found);
    if (found->kind == LOOKUP_HIT || found->kind == LOOKUP_STALE) {
        return true;
    }
    if (found->oc != NULL) {
        obj_release(&found->oc);
    }
    return false;
}

bool rfc9111__may_pass(const struct request *req)
{
    struct http_9111_wish wish;
    http_9111_wish(req->http, &wish);
    unsigned method = req->http->method_id;
    return !wish.only_if_cached || (method != HTTP_M_GET && method != HTTP_M_HEAD);
}

/* ---- fetch ---- */

enum rc rfc9111__bereq(struct fetch *f)
{
    /* What is fetched in the background is not for this request alone. */
    if (f->kind != FETCH_MISS) {
        return RC_OK;
    }
    const struct http *h = f->req->http;
    for (unsigned i = 0; i < h->count; i++) {
        if (h->hdr[i].id != HDR_CACHE_CONTROL) {
            continue;
        }
        enum rc rc = http_add(f->bereq, HDR_CACHE_CONTROL, h->hdr[i].value);
        if (rc != RC_OK) {
            return rc;
        }
    }
    return RC_OK;
}

uint64_t rfc9111__times(struct fetch *f)
{
    const struct params *p = f->engine->conf.params;
    const struct http_9111_fetch fetch = {
        .req = f->bereq,
        .resp = f->beresp,
        .request_ns = f->t_first_ns,
        .response_ns = wrk_real_ns(engine__wrk(f->engine)),
        .default_ttl_ns = param(p, default_ttl),
        .default_keep_ns = param(p, default_keep),
    };
    struct http_9111_object object;
    http_9111_store(&fetch, &object);
    f->times = (struct obj_times){
        .t_origin_ns = object.origin_ns,
        .ttl_ns = object.ttl_ns,
        .grace_ns = object.grace_ns,
        .keep_ns = object.keep_ns,
    };
    f->obj_flags = object.is_stale_forbidden ? OBJ_NEVER_STALE : 0;
    if (object.why_not != NULL) {
        vslb_printf(&f->log, SLT_Debug, "OBJM not stored: %s", object.why_not);
        policy_set_ttl(f, POLICY_HITMISS_TTL_NS);
        f->is_uncacheable = true;
    }
    return object.ttl_ns;
}

bool rfc9111__renews(struct fetch *f)
{
    size_t mark = arena_mark(&f->arena);
    struct http *old =
        http_new(&f->arena, (unsigned)param(f->engine->conf.params, http_max_hdr) + 8);
    bool is_same =
        old != NULL && http_unpack(old, obj_get(f->old, OA_HTTP)) == RC_OK &&
        (!http_has(f->beresp, HDR_ETAG) || !http_has(old, HDR_ETAG) ||
         http_etag_is_weak_match(http_get(f->beresp, HDR_ETAG), http_get(old, HDR_ETAG)));
    arena_rewind(&f->arena, mark);
    if (!is_same) {
        vslb_str(&f->log, SLT_FetchError, STR("304 with another ETag"));
    }
    return is_same;
}

void rfc9111__ask_unconditionally(struct fetch *f)
{
    http_unset(f->bereq, HDR_IF_NONE_MATCH);
    http_unset(f->bereq, HDR_IF_MODIFIED_SINCE);
    obj_release(&f->old);
}

/* What the fetch would replace, if it is sound; its head goes to *head, from the fetch's memory. */
static struct objcore *replaced(struct fetch *f, struct http **head)
{
    struct objcore *oc = f->busy == NULL ? NULL : obj_replaces(f->busy);
    if (oc == NULL || (obj_flags(oc) & (OBJ_HITMISS | OBJ_HITPASS)) != 0 ||
        !stv_is_verified(obj_stv(oc))) {
        return NULL;
    }
    *head = http_new(&f->arena, (unsigned)param(f->engine->conf.params, http_max_hdr) + 8);
    if (*head == NULL || http_unpack(*head, obj_get(oc, OA_HTTP)) != RC_OK) {
        return NULL;
    }
    return oc;
}

static bool may_stand_in(const struct fetch *f, const struct objcore *oc, const struct http *head)
{
    struct obj_times times = obj_times(oc);
    uint64_t end_ns = clock_after(times.t_origin_ns, times.ttl_ns);
    uint64_t now_ns = wrk_real_ns(engine__wrk(f->engine));
    return http_9111_stale_if_error(f->bereq, head, now_ns > end_ns ? now_ns - end_ns : 0);
}

bool rfc9111__is_worse_than_stale(struct fetch *f)
{
    if (!http_9111_is_error(f->beresp->status)) {
        return false;
    }
    size_t mark = arena_mark(&f->arena);
    struct http *head = NULL;
    const struct objcore *oc = replaced(f, &head);
    bool is_worse = oc != NULL && may_stand_in(f, oc, head);
    arena_rewind(&f->arena, mark);
    if (is_worse) {
        vslb_printf(&f->log, SLT_FetchError, "%u, and what is stored may stand in for it",
                    f->beresp->status);
    }
    return is_worse;
}

struct objcore *rfc9111__stand_in(struct fetch *f)
{
    struct http *head = NULL;
    struct objcore *oc = replaced(f, &head);
    if (oc == NULL || !may_stand_in(f, oc, head)) {
        return NULL;
    }
    obj_ref(oc);
    return oc;
}

unsigned rfc9111__failure_status(struct fetch *f)
{
    struct http *head = NULL;
    const struct objcore *oc = replaced(f, &head);
    return oc != NULL && http_9111_must_revalidate(head) ? 504 : 0;
}

/* ---- fields for one client only ---- */

static MUST_USE enum rc keep_for_client(struct request *req, const struct http_hdr *hdr)
{
    struct str name = arena_dup(req->arena, hdr->name);
    struct str value = arena_dup(req->arena, hdr->value);
    if (name.ptr == NULL || value.ptr == NULL) {
        return RC_LIMIT;
    }
    return http_add_name(req->own_fields, name, value);
}

enum rc rfc9111__withhold(struct fetch *f, struct http *stored)
{
    struct http_cc cc;
    http_cc_parse(stored, &cc);
    if ((cc.bits & (HTTP_CC_PRIVATE_FIELDS | HTTP_CC_NO_CACHE_FIELDS)) == 0) {
        return RC_OK;
    }
    bool has_client = f->kind == FETCH_MISS;
    if (has_client) {
        f->req->own_fields = http_new(f->req->arena, stored->count);
        if (f->req->own_fields == NULL) {
            return RC_LIMIT;
        }
    }
    enum rc rc = RC_OK;
    for (unsigned i = 0; rc == RC_OK && has_client && i < stored->count; i++) {
        if (http_9111_is_withheld(&cc, stored->hdr[i].name)) {
            rc = keep_for_client(f->req, &stored->hdr[i]);
        }
    }
    for (unsigned i = 0; i < stored->count;) {
        struct str name = stored->hdr[i].name;
        if (http_9111_is_withheld(&cc, name)) {
            http_unset_name(stored, name);
        } else {
            i++;
        }
    }
    return rc;
}

enum rc rfc9111__give_back(const struct request *req, struct http *resp)
{
    enum rc rc = RC_OK;
    for (unsigned i = 0; rc == RC_OK && i < req->own_fields->count; i++) {
        rc = http_add_name(resp, req->own_fields->hdr[i].name, req->own_fields->hdr[i].value);
    }
    return rc;
}

/* ---- what passes by ---- */

static struct str host_of(const struct request *req)
{
    struct str host = http_get(req->http, HDR_HOST);
    return host.ptr == NULL ? req->server_addr : host;
}

static void invalidate(struct request *req, const struct digest *digest, struct str url)
{
    unsigned killed = cache_purge(req->engine->conf.cache, digest);
    req->wrk->objm.rfc9111_invalidated++;
    vslb_printf(&req->log, SLT_Debug, "OBJM invalidated %.*s: %u objects", STR_ARG(url), killed);
}

static void invalidate_reference(struct request *req, struct str reference)
{
    size_t mark = arena_mark(req->arena);
    struct str host = host_of(req);
    struct str url;
    if (reference.ptr != NULL &&
        http_9111_target(host, req->http->url, reference, req->arena, &url) == RC_OK) {
        struct digest digest;
        engine_digest(host, url, &digest); /* as vcl_hash of the built-in VCL has it */
        invalidate(req, &digest, url);
    }
    arena_rewind(req->arena, mark);
}

void rfc9111__passed(struct request *req, const struct fetch *f)
{
    enum http_method method = (enum http_method)f->bereq->method_id;
    if (f->is_synth) {
        return;
    }
    if (f->head_answer != NULL) {
        rfc9111__compare_head(req, f);
    }
    if (!http_9111_invalidates(method, f->beresp->status)) {
        return;
    }
    /* The policy made the key of the request's own URL; for others there is only the plain one. */
    invalidate(req, &req->digest, req->http->url);
    invalidate_reference(req, http_get(f->beresp, HDR_LOCATION));
    invalidate_reference(req, http_get(f->beresp, HDR_CONTENT_LOCATION));
}
