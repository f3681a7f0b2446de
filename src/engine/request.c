/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A request's way through the engine, top to bottom. */
#include "engine/pipe.h"
#include "engine/policy.h"
#include "engine/req_body.h"

/* How long a request may wait for another's fetch; the fetch's own time-outs end it sooner. */
#define PARKED_MAX_NS (600 * NS_PER_S)

static void log_begin(struct engine *engine, struct request *req)
{
    engine_log_open(engine, &req->log, req->vxid | VSL_CLIENTMARKER);
    struct vslb *log = &req->log;
    struct sb sb;
    if (vslb_claim(log, SLT_Begin, &sb)) {
        sb_lit(&sb, "req ");
        sb_u64(&sb, req->session_vxid);
        sb_lit(&sb, " rxreq");
        vslb_done(log, SLT_Begin, &sb);
    }
    req->t_prev_ns = req->t_first_ns;
    log__timestamp(log, STR("Start"), req->t_first_ns, req->t_first_ns, &req->t_prev_ns);
    log__timestamp(log, STR("Req"), req->t_head_ns, req->t_first_ns, &req->t_prev_ns);
    vslb_str(log, SLT_VCL_use, str_of(engine->conf.vcl_name));
    if (vslb_claim(log, SLT_ReqStart, &sb)) {
        sb_put(&sb, req->client_addr);
        sb_chr(&sb, ' ');
        sb_put(&sb, req->client_port);
        sb_chr(&sb, ' ');
        sb_put(&sb, str_of(req->listener));
        vslb_done(log, SLT_ReqStart, &sb);
    }
}

static void put_counts(struct sb *sb, uint64_t head, uint64_t body)
{
    sb_u64(sb, head);
    sb_chr(sb, ' ');
    sb_u64(sb, body);
    sb_chr(sb, ' ');
    sb_u64(sb, head + body);
}

static void log_end(struct engine *engine, struct request *req)
{
    const struct request_bytes *b = &req->bytes;
    struct vsc_main *main = engine_counters(engine);
    main->client_req++;
    if (req->was_piped) {
        /* Its figures are those of the pipe. */
        vslb_str(&req->log, SLT_End, STR(""));
        return;
    }
    log__timestamp(&req->log, STR("Resp"), clock_real_ns(), req->t_first_ns, &req->t_prev_ns);
    struct sb sb;
    if (vslb_claim(&req->log, SLT_ReqAcct, &sb)) {
        put_counts(&sb, b->req_head, b->req_body);
        sb_chr(&sb, ' ');
        put_counts(&sb, b->resp_head, b->resp_body);
        vslb_done(&req->log, SLT_ReqAcct, &sb);
    }
    vslb_str(&req->log, SLT_End, STR(""));
    main->s_req_hdrbytes += b->req_head;
    main->s_req_bodybytes += b->req_body;
    main->s_resp_hdrbytes += b->resp_head;
    main->s_resp_bodybytes += b->resp_body;
}

/* X-Forwarded-For grows by the client's address, in one field (RFC 7239 section 7.4 lets it). */
static MUST_USE enum rc add_forwarded_for(struct request *req)
{
    struct http *h = req->http;
    if (!http_has(h, HDR_X_FORWARDED_FOR)) {
        return http_set(h, HDR_X_FORWARDED_FOR, req->client_addr);
    }
    enum rc rc = http_join(h, HDR_X_FORWARDED_FOR, req->arena);
    if (rc != RC_OK) {
        return rc;
    }
    struct str before = http_get(h, HDR_X_FORWARDED_FOR);
    struct str after =
        arena_printf(req->arena, "%.*s, %.*s", STR_ARG(before), STR_ARG(req->client_addr));
    return after.ptr == NULL ? RC_LIMIT : http_set(h, HDR_X_FORWARDED_FOR, after);
}

static void stamp_fetch(struct request *req)
{
    log__timestamp(&req->log, STR("Fetch"), clock_real_ns(), req->t_first_ns, &req->t_prev_ns);
}

static YIELDS enum rc fetch_failed(struct engine *engine, struct request *req, struct fetch **fetch)
{
    uint32_t vxid = (*fetch)->vxid;
    fetch__free(fetch);
    stamp_fetch(req);
    return synth__deliver(engine, req, 503, STR("Backend fetch failed"), vxid);
}

static YIELDS enum rc pass(struct engine *engine, struct request *req)
{
    engine_counters(engine)->s_pass++;
    policy_builtin.pass(req);
    struct fetch *f = fetch__new(engine, req, FETCH_PASS, NULL);
    enum rc rc = fetch__prepare(f);
    if (rc == RC_OK) {
        rc = fetch__head(f);
    }
    if (rc != RC_OK) {
        return fetch_failed(engine, req, &f);
    }
    stamp_fetch(req);
    rc = deliver__relay(engine, req, f);
    fetch__free(&f);
    return rc;
}

/* The answer was fetched for the cache and cannot go there: it goes to this client alone. */
static YIELDS enum rc relay_miss(struct engine *engine, struct request *req, struct fetch **fetch)
{
    stamp_fetch(req);
    enum rc rc = deliver__relay(engine, req, *fetch);
    fetch__free(fetch);
    return rc;
}

/* Thousands may wait.  If each had its own try, a backend that is down or overloaded would get them
 * all, and the last would wait for the sum. */
static void fail_waiters(const struct engine *engine, struct objcore *busy)
{
    if (obj_failed_before(busy) >= param(engine->conf.params, waiter_retries)) {
        obj_fail_all(busy);
    } else {
        obj_fail(busy);
    }
}

static YIELDS enum rc miss(struct engine *engine, struct request *req, struct objcore **take_busy)
{
    policy_builtin.miss(req);
    struct fetch *f = fetch__new(engine, req, FETCH_MISS, take_busy);
    enum rc rc = fetch__prepare(f);
    if (rc == RC_OK) {
        rc = fetch__head(f);
    }
    if (rc != RC_OK) {
        fail_waiters(engine, f->busy);
        obj_release(&f->busy);
        return fetch_failed(engine, req, &f);
    }
    if (f->is_marker) {
        fetch__mark(f);
        return relay_miss(engine, req, &f);
    }
    struct objcore *oc = f->busy;
    obj_ref(oc);
    if (fetch__publish(f) != RC_OK) {
        obj_release(&oc);
        return relay_miss(engine, req, &f);
    }
    fetch__store_apart(&f);
    stamp_fetch(req);
    rc = deliver__object(engine, req, oc, false);
    obj_release(&oc);
    return rc;
}

static void log_hit(struct request *req, const struct objcore *oc, enum VSL_tag_e tag, uint32_t xid)
{
    struct obj_times times = obj_times(oc);
    struct sb sb;
    if (!vslb_claim(&req->log, tag, &sb)) {
        return;
    }
    uint64_t end_ns = times.t_origin_ns + times.ttl_ns;
    uint64_t now_ns = req->t_head_ns;
    sb_u64(&sb, xid);
    sb_chr(&sb, ' ');
    if (end_ns < now_ns) {
        sb_chr(&sb, '-');
    }
    sb_seconds(&sb, end_ns < now_ns ? now_ns - end_ns : end_ns - now_ns);
    if (tag == SLT_Hit) {
        sb_chr(&sb, ' ');
        sb_seconds(&sb, times.grace_ns);
        sb_chr(&sb, ' ');
        sb_seconds(&sb, times.keep_ns);
    }
    vslb_done(&req->log, tag, &sb);
}

static YIELDS enum rc hit(struct engine *engine, struct request *req, struct lookup *found)
{
    struct vsc_main *main = engine_counters(engine);
    main->cache_hit++;
    warm__note(engine__wrk(engine), req->name, found->oc);
    log_hit(req, found->oc, SLT_Hit, deliver__object_xid(found->oc));
    if (found->kind == LOOKUP_STALE) {
        main->cache_hit_grace++;
    }
    policy_builtin.hit(req);
    if (found->busy != NULL) {
        fetch__background(engine, req, &found->busy);
    }
    enum rc rc = deliver__object(engine, req, found->oc, true);
    obj_release(&found->oc);
    return rc;
}

/* What a former worker left is checked before it is served first; what fails never was there. */
static YIELDS enum rc checked_lookup(struct engine *engine, struct request *req,
                                     const struct lookup_req *want, struct lookup *found)
{
    for (;;) {
        enum rc rc = cache_lookup(engine->conf.cache, want, found);
        if (rc != RC_OK || found->oc == NULL || !obj_is_complete(found->oc) ||
            stv_is_verified(obj_stv(found->oc))) {
            return rc;
        }
        rc = stv_verify(obj_stv(found->oc));
        if (rc == RC_OK) {
            return RC_OK;
        }
        vslb_printf(&req->log, SLT_Error, "stored object dropped: %s", rc_text(rc));
        obj_kill(engine->conf.cache, found->oc);
        obj_release(&found->oc);
        if (found->busy != NULL) {
            found->kind = LOOKUP_MISS;
            return RC_OK;
        }
    }
}

static void log_banned(void *arg, const struct objcore *oc)
{
    struct request *req = arg;
    vslb_printf(&req->log, SLT_ExpBan, "%u banned lookup", deliver__object_xid(oc));
}

static YIELDS enum rc lookup(struct engine *engine, struct request *req,
                             const struct digest *digest)
{
    struct vsc_main *main = engine_counters(engine);
    const struct lookup_req want = {
        .digest = *digest,
        .match = vary__match,
        .match_arg = req,
        .http = req->http,
        .banned = log_banned,
        .banned_arg = req,
        .deadline_ns = clock_after(loop_mono_ns(loop_self()), PARKED_MAX_NS),
    };
    struct lookup found = {0};
    enum rc rc = checked_lookup(engine, req, &want, &found);
    if (found.parked) {
        main->busy_sleep++;
        main->busy_wakeup++;
    }
    if (rc == RC_REFUSED) {
        engine__wrk(engine)->objm.limit_waiters++;
        vslb_str(&req->log, SLT_Error, STR("the fetches that it waited for failed"));
        return synth__deliver(engine, req, 503, STR("Backend fetch failed"), req->vxid);
    }
    if (rc != RC_OK) {
        main->busy_killed++;
        return synth__deliver(engine, req, 503, STR("Service Unavailable"), req->vxid);
    }
    switch (found.kind) {
    case LOOKUP_HIT:
    case LOOKUP_STALE:
        return hit(engine, req, &found);
    case LOOKUP_HITMISS:
        log_hit(req, found.oc, SLT_HitMiss, deliver__object_xid(found.oc));
        obj_release(&found.oc);
        main->cache_hitmiss++;
        main->cache_miss++;
        return miss(engine, req, &found.busy);
    case LOOKUP_HITPASS:
        log_hit(req, found.oc, SLT_HitPass, deliver__object_xid(found.oc));
        obj_release(&found.oc);
        main->cache_hitpass++;
        return pass(engine, req);
    case LOOKUP_MISS:
        main->cache_miss++;
        return miss(engine, req, &found.busy);
    }
    CHECK(false);
    return RC_INVALID;
}

/* What the key is made of is logged on demand only: Hash is masked by default. */
static void log_hash(struct request *req)
{
    vslb_str(&req->log, SLT_VCL_call, STR("HASH"));
    if (UNLIKELY(vslb_wants(&req->log, SLT_Hash))) {
        struct str host = http_get(req->http, HDR_HOST);
        vslb_str(&req->log, SLT_Hash, req->http->url);
        vslb_str(&req->log, SLT_Hash, host.ptr == NULL ? req->server_addr : host);
    }
    vslb_str(&req->log, SLT_VCL_return, STR("lookup"));
}

static YIELDS enum rc answer(struct engine *engine, struct request *req)
{
    if (add_forwarded_for(req) != RC_OK) {
        log__head(&req->log, LOG_REQ, req->http);
        return synth__deliver(engine, req, 503, STR("Service Unavailable"), req->vxid);
    }
    log__head(&req->log, LOG_REQ, req->http);
    struct policy_verdict verdict = policy_builtin.recv(req);
    if (verdict.action == POLICY_SYNTH) {
        return synth__deliver(engine, req, verdict.status, verdict.reason, req->vxid);
    }
    log_hash(req);
    if (verdict.action == POLICY_PASS) {
        return pass(engine, req);
    }
    if (verdict.action == POLICY_PIPE) {
        return pipe__serve(engine, req);
    }
    struct digest digest;
    struct str host = http_get(req->http, HDR_HOST);
    key__make(engine__wrk(engine), host.ptr == NULL ? req->server_addr : host, req->http->url,
              &digest);
    return lookup(engine, req, &digest);
}

void engine_digest(struct str host, struct str url, struct digest *digest)
{
    policy_builtin.hash(host, url, digest);
}

enum rc engine_serve(struct engine *engine, struct request *req)
{
    CHECK_OBJ(engine, ENGINE_MAGIC);
    CHECK(req->transport != NULL);
    fiber_describe(req->http->url);
    req->sends_body = req->http->method_id != HTTP_M_HEAD;
    req->name = warm__up(engine__wrk(engine), req->http);
    log_begin(engine, req);
    enum rc rc = answer(engine, req);
    req_body_free(req);
    log_end(engine, req);
    fiber_describe(STR_NONE);
    return rc;
}
