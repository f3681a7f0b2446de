/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* How a request reaches an object, or what takes its place: lookup, hit, miss, pass. */
#include "engine/policy.h"
#include "engine/rfc9111.h"

#define MAY(action) POLICY_BIT(POLICY_##action)

/* How long a request may wait for another's fetch; the fetch's own time-outs end it sooner. */
#define PARKED_MAX_NS (600 * NS_PER_S)

static void stamp(struct request *req, struct str label)
{
    log__timestamp(&req->log, label, clock_real_ns(), req->t_first_ns, &req->t_prev_ns);
}

/* ---- fetching for a client ---- */

static enum req_step unavailable(struct request *req)
{
    req->err_status = 503;
    req->err_reason = STR_NONE;
    return REQ_SYNTH;
}

/* Thousands may wait.  If each had its own try, a backend that is down or overloaded would get them
 * all, and the last would wait for the sum. */
static void fail_waiters(const struct engine *engine, struct fetch *f)
{
    if (obj_failed_before(f->busy) >= param(engine->conf.params, waiter_retries)) {
        obj_fail_all(f->busy);
    } else {
        obj_fail(f->busy);
    }
    obj_release(&f->busy);
}

/* What was fetched for the cache and cannot go there goes to this client alone. */
static enum req_step relay(struct request *req, struct fetch **take_fetch)
{
    req->fetch = *take_fetch;
    *take_fetch = NULL;
    stamp(req, STR("Fetch"));
    return REQ_DELIVER;
}

/* The whole answer is there already, hidden until now. */
static YIELDS enum req_step deliver_stored(struct request *req, struct fetch **take_fetch)
{
    struct fetch *f = *take_fetch;
    *take_fetch = NULL;
    req->oc = f->stored;
    f->stored = NULL;
    req->is_private = f->kind == FETCH_PASS;
    if (f->busy != NULL) {
        fetch__mark(f);
    }
    fetch__free(&f);
    stamp(req, STR("Fetch"));
    return REQ_DELIVER;
}

/* Something stale takes the place of an error. */
static enum req_step deliver_stand_in(struct request *req, struct fetch **take_fetch,
                                      struct objcore *take_oc)
{
    struct fetch *f = *take_fetch;
    *take_fetch = NULL;
    fail_waiters(req->engine, f);
    fetch__free(&f);
    stamp(req, STR("Fetch"));
    req->oc = take_oc;
    req->is_hit = true;
    return REQ_DELIVER;
}

static YIELDS enum req_step deliver_miss(struct request *req, struct fetch **take_fetch)
{
    struct fetch *f = *take_fetch;
    *take_fetch = NULL;
    if (f->is_synth && req->is_rfc9111) {
        struct objcore *stale = rfc9111__stand_in(f);
        if (stale != NULL) {
            return deliver_stand_in(req, &f, stale);
        }
    }
    if (f->is_marker) {
        fetch__mark(f);
        return relay(req, &f);
    }
    if (f->is_synth && f->times.ttl_ns == 0) {
        fail_waiters(req->engine, f);
        return relay(req, &f);
    }
    struct objcore *oc = f->busy;
    obj_ref(oc);
    if (fetch__publish(f) != RC_OK) {
        obj_release(&oc);
        return relay(req, &f);
    }
    fetch__store_apart(&f);
    stamp(req, STR("Fetch"));
    req->oc = oc;
    return REQ_DELIVER;
}

static YIELDS enum req_step fetch(struct request *req, enum fetch_kind kind)
{
    struct fetch *f = fetch__new(req->engine, req, kind, &req->busy);
    bool is_there = fetch__prepare(f) == RC_OK && fetch__head(f);
    if (!is_there) {
        if (f->busy != NULL) {
            fail_waiters(req->engine, f);
        }
        fetch__free(&f);
        stamp(req, STR("Fetch"));
        return unavailable(req);
    }
    if (kind == FETCH_PASS && req->is_rfc9111) {
        rfc9111__passed(req, f);
    }
    if (f->stored != NULL) {
        return deliver_stored(req, &f);
    }
    return kind == FETCH_PASS ? relay(req, &f) : deliver_miss(req, &f);
}

static enum req_step only_if_cached(struct request *req)
{
    req->err_status = 504;
    req->err_reason = STR_NONE;
    return REQ_SYNTH;
}

enum req_step req__pass(struct request *req)
{
    enum req_step next = REQ_DONE;
    if (req->is_rfc9111 && !rfc9111__may_pass(req)) {
        return only_if_cached(req);
    }
    if (req__ask(req, req->policy->pass, MAY(FETCH) | MAY(SYNTH) | MAY(RESTART), &next)) {
        return next;
    }
    req->wrk->main.s_pass++;
    return fetch(req, FETCH_PASS);
}

static YIELDS enum req_step miss(struct request *req)
{
    enum req_step next = REQ_DONE;
    unsigned may = MAY(FETCH) | MAY(PASS) | MAY(SYNTH) | MAY(RESTART);
    if (req__ask(req, req->policy->miss, may, &next)) {
        req__drop(req);
        return next;
    }
    req->wrk->main.cache_miss++;
    return fetch(req, FETCH_MISS);
}

/* ---- lookup ---- */

static void log_hit(struct request *req, const struct objcore *oc, enum VSL_tag_e tag)
{
    struct obj_times times = obj_times(oc);
    req->object_xid = deliver__object_xid(oc);
    struct sb sb;
    if (!vslb_claim(&req->log, tag, &sb)) {
        return;
    }
    uint64_t end_ns = times.t_origin_ns + times.ttl_ns;
    uint64_t now_ns = req->t_head_ns;
    sb_u64(&sb, req->object_xid);
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

static YIELDS enum req_step hit(struct request *req, bool is_stale)
{
    struct vsc_main *main = &req->wrk->main;
    warm__note(req->wrk, req->name, req->oc);
    log_hit(req, req->oc, SLT_Hit);
    req->is_hit = true;
    enum req_step next = REQ_DELIVER;
    unsigned may = MAY(DELIVER) | MAY(PASS) | MAY(SYNTH) | MAY(RESTART);
    if (req__ask(req, req->policy->hit, may, &next)) {
        main->cache_hit += next == REQ_PASS;
        req__drop(req);
        return next;
    }
    main->cache_hit++;
    main->cache_hit_grace += is_stale;
    if (req->busy != NULL) {
        fetch__background(req->engine, req, &req->busy);
    }
    return REQ_DELIVER;
}

/* What a former worker left is checked before it is served first; what fails never was there. */
static YIELDS MUST_USE enum rc checked_lookup(struct request *req, const struct lookup_req *want,
                                              struct lookup *found)
{
    struct cache *cache = req->engine->conf.cache;
    for (;;) {
        enum rc rc = cache_lookup(cache, want, found);
        if (rc != RC_OK || found->oc == NULL || !obj_is_complete(found->oc) ||
            stv_is_verified(obj_stv(found->oc))) {
            return rc;
        }
        rc = stv_verify(obj_stv(found->oc));
        if (rc == RC_OK) {
            return RC_OK;
        }
        vslb_printf(&req->log, SLT_Error, "stored object dropped: %s", rc_text(rc));
        obj_kill(cache, found->oc);
        obj_release(&found->oc);
        if (found->busy != NULL) {
            found->kind = LOOKUP_MISS;
            return RC_OK;
        }
    }
}

static void note_failure(struct request *req)
{
    req->wrk->objm.limit_waiters++;
    vslb_str(&req->log, SLT_Error, STR("the fetches that it waited for failed"));
}

static enum req_step lookup_failed(struct request *req, enum rc rc)
{
    if (rc == RC_REFUSED) {
        note_failure(req);
    } else {
        req->wrk->main.busy_killed++;
    }
    return unavailable(req);
}

/* The request may go on with nothing stored, or may not go on. */
static YIELDS enum req_step found_nothing(struct request *req, bool may_pass)
{
    return may_pass ? req__pass(req) : only_if_cached(req);
}

static YIELDS enum req_step found_it(struct request *req, struct lookup *found)
{
    struct vsc_main *main = &req->wrk->main;
    req->busy = found->busy;
    req->oc = found->oc;
    if (found->parked && req->oc != NULL && (obj_flags(req->oc) & OBJ_FAILED) != 0) {
        note_failure(req);
    }
    switch (found->kind) {
    case LOOKUP_HIT:
    case LOOKUP_STALE:
        return hit(req, found->kind == LOOKUP_STALE);
    case LOOKUP_HITMISS:
        log_hit(req, req->oc, SLT_HitMiss);
        obj_release(&req->oc);
        main->cache_hitmiss++;
        req->is_hitmiss = true;
        return miss(req);
    case LOOKUP_HITPASS:
        log_hit(req, req->oc, SLT_HitPass);
        obj_release(&req->oc);
        main->cache_hitpass++;
        req->is_hitpass = true;
        return req__pass(req);
    case LOOKUP_MISS:
        return miss(req);
    }
    CHECK(false);
    return REQ_DONE;
}

static void log_banned(void *arg, const struct objcore *oc)
{
    struct request *req = arg;
    vslb_printf(&req->log, SLT_ExpBan, "%u banned lookup", deliver__object_xid(oc));
}

enum req_step req__lookup(struct request *req)
{
    struct lookup_req want = {
        .digest = req->digest,
        .match = req->hash_ignore_vary ? NULL : vary__match,
        .predict = req->hash_ignore_vary ? NULL : vary__predicted,
        .fits = req->hash_ignore_vary ? NULL : vary__joins,
        .match_arg = req,
        .http = req->http,
        .banned = log_banned,
        .banned_arg = req,
        .always_miss = req->hash_always_miss,
        .ignore_busy = req->hash_ignore_busy,
        /* What policies compute by req.time must not differ from what is found. */
        .now_ns = req->t_head_ns,
        .deadline_ns = clock_after(loop_mono_ns(loop_self()), PARKED_MAX_NS),
    };
    struct lookup_bounds bounds = {req->ttl_most_ns, req->grace_most_ns};
    want.bounds = req->is_bounded ? &bounds : NULL;
    struct http_9111_wish wish;
    wish.is_plain = true;
    if (req->is_rfc9111) {
        want.now_ns = 0;
        rfc9111__want(req, &wish, &want);
    }
    struct lookup found = {0};
    enum rc rc = checked_lookup(req, &want, &found);
    if (found.parked) {
        stamp(req, STR("Waitinglist"));
    }
    if (UNLIKELY(found.strangers >= param(req->engine->conf.params, vary_notice))) {
        vslb_printf(&req->log, SLT_Notice, "High number of variants (%u)", found.strangers);
    }
    if (rc != RC_OK) {
        return lookup_failed(req, rc);
    }
    if (UNLIKELY(!wish.is_plain) && !rfc9111__goes_on(&wish, &found)) {
        return found_nothing(req, !wish.only_if_cached);
    }
    return found_it(req, &found);
}
