/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The backend's side of a request as a machine: in each state the policy is asked, and says what
 * comes next.
 *
 *     start ──fetch──> exchange ──> response ──deliver──> deliver
 *       │ │               │         │ │ │  └──abandon──────────> fail
 *       │ └──error──┐     │fails    │ │ └──retry──> retry ──> start
 *       │           ▼     ▼         │ │                │no more
 *       │          error <──────────┘ │                ▼
 *       │           │ │ └──retry──> retry            error (fail, if it comes from there)
 *       │           │ └──deliver──> deliver, a body of our own
 *       └──abandon──┴──> fail
 *
 * All of it happens before anybody sees the object, so each try begins with nothing. */
#include "engine/fetch_priv.h"
#include "engine/filtering.h"
#include "engine/rfc9111.h"

#include "http/http_cache.h"
#include "http/http_condition.h"
#include "http/http_list.h"

enum step { STEP_START, STEP_RETRY, STEP_ERROR, STEP_FAIL, STEP_DELIVER };

#define MAY(action) POLICY_BIT(POLICY_##action)

typedef struct policy_verdict ask_fn(struct fetch *f);

static YIELDS struct policy_verdict ask(struct fetch *f, ask_fn *fn, unsigned may)
{
    struct policy_verdict verdict = fn(f);
    if (!policy_may(may | MAY(FAIL), verdict.action)) {
        vslb_printf(&f->log, SLT_VCL_Error, "Illegal return: %.*s",
                    STR_ARG(policy_word(verdict.action)));
        return policy_says(POLICY_FAIL);
    }
    return verdict;
}

static enum step fail_with(struct fetch *f, const struct policy_verdict *verdict)
{
    f->err_status = verdict->status;
    f->err_reason = verdict->reason;
    f->is_deliberate = true;
    return STEP_ERROR;
}

/* ---- what the head says ---- */

static void set_times(struct fetch *f)
{
    const struct params *p = f->engine->conf.params;
    const struct http_fresh_defaults defaults = {
        .ttl_ns = param(p, default_ttl),
        .grace_ns = param(p, default_grace),
        .keep_ns = param(p, default_keep),
        .clock_skew_s = param(p, clock_skew),
    };
    /* The loop's clock, as Age is computed by it later. */
    uint64_t now_ns = wrk_real_ns(engine__wrk(f->engine));
    struct http_fresh fresh;
    http_freshness(f->beresp, now_ns, &defaults, &fresh);
    f->times = (struct obj_times){
        .t_origin_ns = fresh.origin_ns,
        .ttl_ns = fresh.ttl_ns < 0 ? 0 : (uint64_t)fresh.ttl_ns,
        .grace_ns = fresh.grace_ns,
        .keep_ns = fresh.keep_ns,
    };
    if (f->is_9111) {
        fresh.ttl_ns = (int64_t)rfc9111__times(f);
    }
    const struct obj_times *t = &f->times;
    vslb_printf(&f->log, SLT_TTL, "RFC %.0f %.0f %.0f %.0f %.0f %lld %lld %u %s",
                (double)fresh.ttl_ns / 1e9, (double)t->grace_ns / 1e9, (double)t->keep_ns / 1e9,
                (double)now_ns / 1e9, (double)t->t_origin_ns / 1e9, (long long)fresh.date_s,
                (long long)fresh.expires_s, fresh.max_age_s,
                f->is_uncacheable ? "uncacheable" : "cacheable");
}

/* All that what is passed needs: the Age that the client is told. */
static void set_origin(struct fetch *f)
{
    uint64_t now_ns = wrk_real_ns(engine__wrk(f->engine));
    uint64_t age_ns = http_age_field(f->beresp) * NS_PER_S;
    f->times = (struct obj_times){.t_origin_ns = now_ns > age_ns ? now_ns - age_ns : 0};
}

static void count_bodyless(const struct fetch *f, struct vsc_main *main)
{
    if (f->bereq->method_id == HTTP_M_HEAD) {
        main->fetch_head++;
    } else if (f->beresp->status == 204) {
        main->fetch_204++;
    } else if (f->beresp->status == 304) {
        main->fetch_304++;
    } else {
        main->fetch_none++;
    }
}

static MUST_USE enum rc settle_body(struct fetch *f)
{
    struct wrk *wrk = engine__wrk(f->engine);
    f->body = h1_response_framing(f->beresp, (enum http_method)f->bereq->method_id);
    f->keeps_conn = f->keeps_conn && http_keep_alive(f->beresp, f->conn_bits);
    bool is_strict = param(f->engine->conf.params, http_strict) != 0;
    h1_reader_init(&f->reader, &f->body, h1_flags(is_strict, false));
    switch (f->body.framing) {
    case H1_BODY_NONE:
        count_bodyless(f, &wrk->main);
        break;
    case H1_BODY_LENGTH:
        wrk->main.fetch_length++;
        break;
    case H1_BODY_CHUNKED:
        wrk->main.fetch_chunked++;
        break;
    case H1_BODY_EOF:
        wrk->main.fetch_eof++;
        f->keeps_conn = false;
        break;
    case H1_BODY_ERROR:
        wrk->main.fetch_bad += f->beresp->status != 204;
        wrk->main.fetch_204 += f->beresp->status == 204;
        vslb_printf(&f->log, SLT_FetchError, "http format error: %s", h1_error_text(f->body.error));
        vslb_str(&f->log, SLT_Error, STR("Body cannot be fetched"));
        return RC_MALFORMED;
    }
    return RC_OK;
}

/* A part that was not asked for must not be taken for the whole, or for another part. */
static MUST_USE enum rc check_range(struct fetch *f)
{
    if (!param(f->engine->conf.params, http_range_support)) {
        return RC_OK;
    }
    struct http_range_spec spec;
    const char *bad = NULL;
    if (f->is_rfc9111 && f->asked_range.ptr != NULL &&
        http_range_read(f->asked_range, &spec, &bad) == RC_MALFORMED) {
        return RC_OK; /* nothing that we know was asked for (RFC 9110 section 14.2) */
    }
    char text[100];
    struct sb why = sb_of(text, sizeof text);
    enum rc rc = http_content_range_fits(f->asked_range, f->beresp, &why);
    if (rc != RC_OK) {
        vslb_str(&f->log, SLT_Error, sb_str(&why));
    }
    return rc;
}

static MUST_USE enum rc set_date(struct fetch *f)
{
    struct str date = arena_dup(&f->arena, engine__date(engine__wrk(f->engine)));
    if (date.ptr == NULL || http_set(f->beresp, HDR_DATE, date) != RC_OK) {
        return RC_LIMIT;
    }
    vslb_header(&f->log, SLT_BerespHeader, STR("Date"), date);
    return RC_OK;
}

/* What "not modified" means: the old object again, or, to whoever did not ask whether, nothing that
 * could be stored or sent on. */
static YIELDS MUST_USE enum rc take_304(struct fetch *f)
{
    if (f->kind == FETCH_PASS) {
        return RC_OK;
    }
    if (f->old == NULL) {
        vslb_str(&f->log, SLT_Error, STR("304 response but not conditional fetch"));
        return RC_MALFORMED;
    }
    if (f->is_9111 && !rfc9111__renews(f)) {
        return RC_STALE;
    }
    enum rc rc = fetch__check_old(f);
    return rc == RC_OK ? fetch__merge_304(f) : rc;
}

/* ---- states ---- */

static YIELDS MUST_USE enum rc take_head(struct fetch *f)
{
    log__head(&f->log, LOG_BERESP, f->beresp);
    enum rc rc = settle_body(f);
    if (rc == RC_OK && !http_has(f->beresp, HDR_DATE)) {
        rc = set_date(f);
    }
    if (rc != RC_OK) {
        return rc;
    }
    /* Policies look at one field of a name: these are lists, in however many. */
    if (http_join(f->beresp, HDR_CACHE_CONTROL, &f->arena) != RC_OK ||
        http_join(f->beresp, HDR_VARY, &f->arena) != RC_OK) {
        return RC_LIMIT;
    }
    rfc9111__note_head(f);
    f->is_9111 = f->kind != FETCH_PASS && f->is_rfc9111;
    if (f->is_9111) {
        /* What counts is the response as it will be stored. */
        rc = f->beresp->status == 304 ? take_304(f) : RC_OK;
        if (rc == RC_OK) {
            set_times(f);
        }
        return rc;
    }
    if (f->kind == FETCH_PASS) {
        set_origin(f);
    } else {
        set_times(f);
    }
    return f->beresp->status == 304 ? take_304(f) : RC_OK;
}

/* The connection of an answer that is not wanted: it can be used again if nothing follows. */
static void leave_answer(struct fetch *f)
{
    if (f->conn != NULL) {
        fetch__drop_connection(f, f->body.framing == H1_BODY_NONE && fetch__is_conn_clean(f));
    }
}

/* The answer is taken: how it will be stored, if at all. */
static YIELDS enum step accept_answer(struct fetch *f, const struct policy_verdict *verdict)
{
    fetch__stamp(f, STR("Process"));
    if (verdict->action == POLICY_PASS) {
        f->is_uncacheable = true;
        f->is_hitpass = true;
        f->times.ttl_ns = verdict->duration_ns;
        vslb_printf(&f->log, SLT_TTL, "HFP %.0f %.0f %.0f %.0f uncacheable",
                    (double)f->times.ttl_ns / 1e9, (double)f->times.grace_ns / 1e9,
                    (double)f->times.keep_ns / 1e9, (double)f->times.t_origin_ns / 1e9);
    }
    if (!f->is_uncacheable && !vary__is_legal(f->beresp)) {
        vslb_str(&f->log, SLT_Error, STR("Malformed Vary header"));
        vslb_str(&f->log, SLT_Error,
                 STR("Illegal 'Vary' header from backend, making this a pass."));
        f->is_uncacheable = true;
    }
    f->is_marker = f->is_uncacheable && f->busy != NULL;
    if (f->was_304) {
        fetch__let_go(f);
    }
    if (fetch_filter__open(f) != RC_OK) {
        fetch_filter__close(f);
        leave_answer(f);
        return STEP_ERROR;
    }
    if (f->do_stream || f->was_304 || f->body.framing == H1_BODY_NONE) {
        return STEP_DELIVER;
    }
    if (fetch__store_hidden(f) == RC_OK) {
        return STEP_DELIVER;
    }
    fetch_filter__close(f);
    leave_answer(f);
    return STEP_ERROR;
}

static YIELDS enum step take_answer(struct fetch *f)
{
    enum rc rc = take_head(f);
    if (rc == RC_STALE) {
        leave_answer(f);
        rfc9111__ask_unconditionally(f);
        return f->retries++ < param(f->engine->conf.params, max_retries) ? STEP_RETRY : STEP_ERROR;
    }
    if (rc != RC_OK) {
        fetch__drop_connection(f, false);
        return STEP_ERROR;
    }
    if (f->is_9111 && rfc9111__is_worse_than_stale(f)) {
        leave_answer(f);
        return STEP_ERROR;
    }
    /* The connection ends as the policy told the backend, or tells us now. */
    f->keeps_conn = f->keeps_conn && !http_has_token(f->bereq, HDR_CONNECTION, STR("close"));
    struct policy_verdict verdict =
        ask(f, f->policy->backend_response,
            MAY(DELIVER) | MAY(RETRY) | MAY(ERROR) | MAY(ABANDON) | MAY(PASS));
    f->keeps_conn = f->keeps_conn && !http_has_token(f->beresp, HDR_CONNECTION, STR("close"));
    if (check_range(f) != RC_OK) {
        leave_answer(f);
        return STEP_ERROR;
    }
    if (verdict.action == POLICY_DELIVER || verdict.action == POLICY_PASS) {
        return accept_answer(f, &verdict);
    }
    leave_answer(f);
    if (verdict.action == POLICY_ERROR) {
        return fail_with(f, &verdict);
    }
    if (verdict.action != POLICY_RETRY) {
        return STEP_FAIL;
    }
    if (f->retries++ < param(f->engine->conf.params, max_retries)) {
        return STEP_RETRY;
    }
    vslb_str(&f->log, SLT_VCL_Error, STR("Too many retries, delivering 503"));
    return STEP_ERROR;
}

enum rc fetch__renew(struct fetch *f)
{
    log__head(&f->log, LOG_BERESP, f->beresp);
    enum rc rc = fetch__check_old(f);
    if (rc == RC_OK) {
        rc = fetch__merge_304(f);
    }
    if (rc != RC_OK) {
        return rc;
    }
    f->is_9111 = true;
    set_times(f);
    struct policy_verdict verdict =
        ask(f, f->policy->backend_response,
            MAY(DELIVER) | MAY(RETRY) | MAY(ERROR) | MAY(ABANDON) | MAY(PASS));
    if (verdict.action != POLICY_DELIVER && verdict.action != POLICY_PASS) {
        return RC_CANCELLED;
    }
    (void)accept_answer(f, &verdict);
    return f->is_uncacheable ? RC_REFUSED : RC_OK;
}

static YIELDS enum step start(struct fetch *f)
{
    struct policy_verdict verdict =
        ask(f, f->policy->backend_fetch, MAY(FETCH) | MAY(ERROR) | MAY(ABANDON));
    if (verdict.action == POLICY_ERROR) {
        return fail_with(f, &verdict);
    }
    if (verdict.action != POLICY_FETCH) {
        return STEP_FAIL;
    }
    if (f->drops_body) {
        http_unset(f->bereq, HDR_CONTENT_LENGTH);
        http_unset(f->bereq, HDR_TRANSFER_ENCODING);
    }
    fetch__stamp(f, STR("Fetch"));
    enum rc rc = fetch__exchange(f);
    fetch__stamp(f, STR("Beresp"));
    if (rc == RC_CANCELLED) {
        return STEP_FAIL;
    }
    return rc == RC_OK ? take_answer(f) : STEP_ERROR;
}

/* The same fetch again, as a transaction of its own in the log. */
static enum step retry(struct fetch *f)
{
    if (!fetch__may_send_again(f)) {
        vslb_str(&f->log, SLT_Error, STR("Retry not possible, req.body not cached"));
        return STEP_FAIL;
    }
    fetch__stamp(f, STR("Retry"));
    uint32_t before = f->vxid;
    f->vxid = engine_vxid(f->engine);
    vslb_printf(&f->log, SLT_Link, "bereq %u retry", f->vxid);
    vslb_str(&f->log, SLT_End, STR(""));
    engine_log_open(f->engine, &f->log, f->vxid | VSL_BACKENDMARKER);
    vslb_printf(&f->log, SLT_Begin, "bereq %u retry", before);
    log__timestamp(&f->log, STR("Start"), f->t_prev_ns, f->t_first_ns, &f->t_prev_ns);
    f->do_stream = true;
    f->do_esi = f->do_gzip = f->do_gunzip = false;
    f->filters = STR_NONE;
    f->was_304 = false;
    f->is_uncacheable = f->kind == FETCH_PASS;
    f->is_hitpass = false;
    f->was_answered = false;
    f->is_deliberate = false;
    f->err_status = 0;
    f->err_reason = STR_NONE;
    f->store = NULL;
    f->body_got = f->body_out = 0;
    f->coded = STR_NONE;
    f->is_encoded = f->has_esi = false;
    log__head(&f->log, LOG_BEREQ, f->bereq);
    struct str before_xid = http_get(f->bereq, HDR_X_VARNISH);
    vslb_header(&f->log, SLT_BereqUnset, STR("X-Varnish"), before_xid);
    if (fetch__set_xid(f) != RC_OK) {
        return STEP_FAIL;
    }
    vslb_header(&f->log, SLT_BereqHeader, STR("X-Varnish"), http_get(f->bereq, HDR_X_VARNISH));
    return STEP_START;
}

static MUST_USE enum rc make_error(struct fetch *f)
{
    http_reset(f->beresp);
    unsigned status = f->err_status >= 100 && f->err_status <= 999 ? f->err_status : 503;
    http_set_status(f->beresp, status);
    struct str reason = f->err_reason;
    if (f->err_status == 0) {
        reason = STR("Backend fetch failed");
    }
    enum rc rc = reason.ptr == NULL ? RC_OK : http_set_reason(f->beresp, reason);
    struct str date = arena_dup(&f->arena, engine__date(engine__wrk(f->engine)));
    if (rc == RC_OK) {
        rc = date.ptr == NULL ? RC_LIMIT : http_set(f->beresp, HDR_DATE, date);
    }
    if (rc == RC_OK) {
        rc = http_set(f->beresp, HDR_SERVER, STR("objmapper"));
    }
    return rc;
}

/* Nobody waits long for the next who tries: while others are parked behind this fetch what it
 * brings is kept for a second, so that they all get it. */
static void error_times(struct fetch *f)
{
    f->times = (struct obj_times){.t_origin_ns = wrk_real_ns(engine__wrk(f->engine))};
    /* By RFC 9111 it is nothing that could be stored. */
    if (f->busy != NULL && obj_is_awaited(f->busy) && !f->is_rfc9111 &&
        obj_failed_before(f->busy) >= param(f->engine->conf.params, waiter_retries)) {
        f->times.ttl_ns = NS_PER_S;
        f->times.grace_ns = 5 * NS_PER_S;
        f->times.keep_ns = 5 * NS_PER_S;
    }
}

static YIELDS enum step make_synthetic(struct fetch *f)
{
    if (!f->is_deliberate) {
        engine__wrk(f->engine)->main.fetch_failed++;
        f->err_status = f->is_rfc9111 ? rfc9111__failure_status(f) : 0;
    }
    fetch__stamp(f, STR("Error"));
    if (f->busy != NULL) {
        obj_restart(f->busy);
    }
    f->was_304 = false;
    f->is_synth = true;
    f->is_uncacheable = f->kind == FETCH_PASS;
    f->body_got = f->body_out = 0;
    f->coded = STR_NONE;
    f->is_encoded = f->has_esi = false;
    f->body = (struct h1_body){.framing = H1_BODY_NONE};
    synth__clear(&f->synth);
    error_times(f);
    if (make_error(f) != RC_OK) {
        return STEP_FAIL;
    }
    log__head(&f->log, LOG_BERESP, f->beresp);
    struct policy_verdict verdict =
        ask(f, f->policy->backend_error, MAY(DELIVER) | MAY(RETRY) | MAY(ABANDON));
    if (verdict.action == POLICY_RETRY) {
        f->is_synth = false;
        if (f->retries++ < param(f->engine->conf.params, max_retries)) {
            return STEP_RETRY;
        }
        vslb_str(&f->log, SLT_VCL_Error, STR("Too many retries, failing"));
    }
    if (verdict.action != POLICY_DELIVER) {
        return STEP_FAIL;
    }
    f->is_marker = f->is_uncacheable && f->busy != NULL;
    return STEP_DELIVER;
}

bool fetch__head(struct fetch *f)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    enum step step = STEP_START;
    for (;;) {
        switch (step) {
        case STEP_START:
            step = start(f);
            break;
        case STEP_RETRY:
            step = retry(f);
            break;
        case STEP_ERROR:
            step = make_synthetic(f);
            break;
        case STEP_FAIL:
            return false;
        case STEP_DELIVER:
            return true;
        }
    }
}
