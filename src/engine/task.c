/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The policy that is VCL: begins, runs a sub, says what it returned, ends. */
#include "engine/task.h"

#include "base/mem.h"
#include "engine/vcls.h"

static struct req_task *task_of(const struct request *req)
{
    return req->policy_arg;
}

static struct fetch_task *task_of_fetch(const struct fetch *f)
{
    return f->policy_arg;
}

static void init_task(struct vcl_task *task, struct wrk *wrk, struct arena *ws, struct vslb *log)
{
    *task = (struct vcl_task){.ws = ws,
                              .log = log,
                              .scratch = wrk->scratch,
                              .rng = &wrk->rng,
                              .series = &wrk->engine->series,
                              .pass_s = -1};
}

static YIELDS enum vcl_return run(struct vcl_task *task, struct wrk *wrk, enum vcl_sub sub)
{
    task->ctx.now = task__seconds(wrk_real_ns(wrk));
    task->status = 0;
    enum vcl_return verdict = vcl_run(task, sub);
    /* It may have Yielded, but never to another loop. */
    wrk->main.vcl_fail += verdict == VCL_RET_FAIL;
    return verdict;
}

static struct policy_verdict says(const struct vcl_task *task, enum vcl_return verdict)
{
    static const enum policy_action actions[VCL_RET__COUNT] = {
        [VCL_RET_ABANDON] = POLICY_ABANDON, [VCL_RET_DELIVER] = POLICY_DELIVER,
        [VCL_RET_ERROR] = POLICY_ERROR,     [VCL_RET_FAIL] = POLICY_FAIL,
        [VCL_RET_FETCH] = POLICY_FETCH,     [VCL_RET_HASH] = POLICY_HASH,
        [VCL_RET_LOOKUP] = POLICY_HASH,     [VCL_RET_PASS] = POLICY_PASS,
        [VCL_RET_PIPE] = POLICY_PIPE,       [VCL_RET_PURGE] = POLICY_PURGE,
        [VCL_RET_RESTART] = POLICY_RESTART, [VCL_RET_RETRY] = POLICY_RETRY,
        [VCL_RET_SYNTH] = POLICY_SYNTH,
    };
    return (struct policy_verdict){
        .action = actions[verdict],
        .status = (unsigned)task->status,
        .reason = task->reason,
    };
}

/* ---- requests ---- */

/* A sub-request begins with what its top request began with, whatever is in use by now. */
static struct loaded *pin_for(const struct request *req)
{
    if (req->top == NULL) {
        return vcls__pin(req->wrk);
    }
    const struct req_task *top = task_of(req->top);
    if (top == NULL) {
        return NULL;
    }
    struct loaded *loaded = top->first != NULL ? top->first : top->loaded;
    if (top->has_switched && top->first == NULL) {
        return vcls__pin(req->wrk); /* it did not look as if there could be sub-requests */
    }
    vcls__pin_again(loaded);
    return loaded;
}

static struct str begin(struct request *req)
{
    struct wrk *wrk = req->wrk;
    struct req_task *p = arena_alloc(req->arena, sizeof *p);
    struct loaded *loaded = p == NULL ? NULL : pin_for(req);
    if (loaded == NULL) {
        return STR("");
    }
    *p = (struct req_task){.req = req, .engine = req->engine, .loaded = loaded};
    init_task(&p->task, wrk, req->arena, &req->log);
    p->task.host = &task__client_host;
    p->task.req = req->http;
    p->task.vcl = loaded->vcl;
    p->task.top = req->top == NULL ? NULL : &task_of(req->top)->task;
    req->policy_arg = p;
    return str_of(loaded->name);
}

static void end(struct request *req)
{
    struct req_task *p = task_of(req);
    if (p != NULL) {
        vcl_task_end(&p->task);
        vcls__unpin(&p->loaded);
        if (p->first != NULL) {
            vcls__unpin(&p->first);
        }
        req->policy_arg = NULL;
    }
}

/* What VCL may set, as it is to begin with; a restart keeps it as it is. */
static void forget(struct req_task *p)
{
    struct request *req = p->req;
    p->backend = vcl_default_backend(p->loaded->vcl);
    p->storage = NULL;
    p->identity = req->client_addr;
    p->ttl_s = -1;
    p->grace_s = -1;
    req->does_esi = true;
    req->hash_always_miss = req->hash_ignore_busy = req->hash_ignore_vary = false;
    req->is_bounded = false;
}

/* return (vcl(label)): the request goes on as if that VCL had got it, as it came. */
static bool switch_vcl(struct req_task *p)
{
    struct loaded *label = p->task.chosen;
    if (p->req->restarts > 0 || p->has_switched) {
        vslb_str(&p->req->log, SLT_VCL_Error,
                 p->req->restarts > 0 ? STR("Illegal return(vcl): Not after restarts")
                                      : STR("Illegal return(vcl): Only from active VCL"));
        return false;
    }
    struct loaded *to = vcls__pin_label(label);
    char via[256];
    struct sb sb = sb_of(via, sizeof via);
    sb_printf(&sb, "%s via %s", to->name, label->name);
    vcl_task_end(&p->task);
    if (vcl_may_esi(to->vcl)) {
        p->first = p->loaded;
    } else {
        /* The label's name may be gone with the VCL that returned to it. */
        vcls__unpin(&p->loaded);
    }
    p->loaded = to;
    p->task.vcl = to->vcl;
    p->has_switched = true;
    p->req->policy_name = str_of(to->name);
    vslb_str(&p->req->log, SLT_VCL_use, sb_str(&sb));
    return task__rollback(&p->task, p->req->http, p->original);
}

/* What std.rollback goes back to, and what sub-requests are made of: kept once, and only where it
 * can be asked for. */
static MUST_USE enum rc keep_original(bool is_needed, struct arena *arena, const struct http *http,
                                      struct http **original)
{
    if (*original != NULL || !is_needed) {
        return RC_OK;
    }
    *original = http_new(arena, http->count + 1u);
    return *original == NULL ? RC_LIMIT : http_copy(*original, http, HTTP_COPY_ALL);
}

static struct policy_verdict unavailable(void)
{
    return (struct policy_verdict){.action = POLICY_SYNTH, .status = 503};
}

/* No VCL is in use (the manager sees to it that one is), so nobody says what becomes of a request.
 */
static struct policy_verdict without_vcl(struct request *req)
{
    vslb_str(&req->log, SLT_VCL_Error, STR("No VCL in use"));
    return unavailable();
}

static struct policy_verdict page_without_vcl(struct request *req)
{
    static const char page[] =
        "<!DOCTYPE html>\n<html><head><title>503 Service Unavailable</title>"
        "</head>\n<body><h1>Error 503 Service Unavailable</h1></body></html>\n";
    bool is_set =
        http_set_name(req->resp, STR("Content-Type"), STR("text/html; charset=utf-8")) == RC_OK &&
        http_set_name(req->resp, STR("Retry-After"), STR("5")) == RC_OK &&
        synth__add(&req->synth, str_of(page)) == RC_OK;
    return policy_says(is_set ? POLICY_DELIVER : POLICY_FAIL);
}

static YIELDS struct policy_verdict recv_sub(struct request *req)
{
    struct req_task *p = task_of(req);
    if (p == NULL) {
        return without_vcl(req);
    }
    const struct vcl *vcl = p->loaded->vcl;
    bool is_needed = vcl_may_roll_back(vcl) || vcl_may_esi(vcl);
    if (keep_original(is_needed, req->arena, req->http, &p->original) != RC_OK) {
        return policy_says(POLICY_FAIL);
    }
    req->original = p->original;
    if (req->restarts == 0) {
        forget(p);
    }
    p->hashed = STR_NONE;
    p->has_digest = false;
    p->obj_http = NULL;
    enum vcl_return verdict = run(&p->task, p->req->wrk, VCL_SUB_RECV);
    /* A second time it is refused. */
    while (verdict == VCL_RET_VCL) {
        if (!switch_vcl(p)) {
            return unavailable();
        }
        forget(p);
        verdict = run(&p->task, p->req->wrk, VCL_SUB_RECV);
    }
    return says(&p->task, verdict);
}

static YIELDS struct policy_verdict hash_sub(struct request *req)
{
    struct req_task *p = task_of(req);
    if (p == NULL) {
        return policy_says(POLICY_HASH);
    }
    enum vcl_return verdict = run(&p->task, p->req->wrk, VCL_SUB_HASH);
    if (verdict == VCL_RET_LOOKUP) {
        key__make(req->wrk, req->name, p->hashed, &req->digest);
        p->has_digest = true;
    }
    return says(&p->task, verdict);
}

static YIELDS struct policy_verdict ask(struct request *req, enum vcl_sub sub)
{
    struct req_task *p = task_of(req);
    if (p == NULL) {
        return policy_says(POLICY_FAIL);
    }
    p->t_resp_ns = wrk_real_ns(req->wrk);
    enum vcl_return verdict = run(&p->task, p->req->wrk, sub);
    p->obj_http = NULL; /* of an object that may be let go of now */
    return says(&p->task, verdict);
}

static YIELDS struct policy_verdict hit_sub(struct request *req)
{
    return ask(req, VCL_SUB_HIT);
}

static YIELDS struct policy_verdict miss_sub(struct request *req)
{
    return ask(req, VCL_SUB_MISS);
}

static YIELDS struct policy_verdict pass_sub(struct request *req)
{
    return ask(req, VCL_SUB_PASS);
}

static YIELDS struct policy_verdict purge_sub(struct request *req)
{
    return ask(req, VCL_SUB_PURGE);
}

static YIELDS struct policy_verdict deliver_sub(struct request *req)
{
    req->vdps = NULL;
    return ask(req, VCL_SUB_DELIVER);
}

static YIELDS struct policy_verdict synth_sub(struct request *req)
{
    if (task_of(req) == NULL) {
        return page_without_vcl(req);
    }
    req->vdps = NULL;
    return ask(req, VCL_SUB_SYNTH);
}

static struct backend *leaf_of(struct vcl_task *task, const struct objm_backend *director,
                               const struct objm_backend **found)
{
    *found = vcl_backend_resolve(&task->ctx, director);
    return *found == NULL ? NULL : vcl_backend_leaf(*found);
}

static YIELDS struct policy_verdict pipe_sub(struct request *req)
{
    struct req_task *p = task_of(req);
    enum vcl_return verdict = run(&p->task, p->req->wrk, VCL_SUB_PIPE);
    const struct objm_backend *found = NULL;
    req->fetch->backend = leaf_of(&p->task, p->backend, &found);
    return says(&p->task, verdict);
}

/* ---- fetches ---- */

/* A fetch may outlive its client, whose addresses are text of the connection. */
static bool own_all(struct fetch *f, struct fetch_task *p)
{
    struct str *const texts[] = {
        &p->identity,    &p->client_addr, &p->client_port, &p->server_addr, &p->server_port,
        &p->remote_addr, &p->remote_port, &p->local_addr,  &p->local_port,  &p->client.proxy_tlvs};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (texts[i]->ptr != NULL) {
            *texts[i] = arena_dup(&f->arena, *texts[i]);
        }
    }
    return !f->arena.overflowed;
}

static void fetch_begin(struct fetch *f, const struct request *req)
{
    const struct req_task *rp = task_of(req);
    struct fetch_task *p = arena_alloc(&f->arena, sizeof *p);
    if (p == NULL || rp == NULL) {
        return;
    }
    *p = (struct fetch_task){
        .fetch = f,
        .loaded = rp->loaded,
        .director = rp->backend,
        .connect_s = -1,
        .first_byte_s = -1,
        .between_bytes_s = -1,
        .identity = rp->identity,
        .client_addr = req->client_addr,
        .client_port = req->client_port,
        .server_addr = req->server_addr,
        .server_port = req->server_port,
        .remote_addr = req->remote_addr,
        .remote_port = req->remote_port,
        .local_addr = req->local_addr,
        .local_port = req->local_port,
        .listener = str_of(req->listener),
        .endpoint = str_of(req->endpoint == NULL ? req->listener : req->endpoint),
        .client = task__client_of(req),
        .session_vxid = req->session_vxid,
        .digest = req->digest,
        .is_hitmiss = req->is_hitmiss,
        .is_hitpass = req->is_hitpass,
    };
    init_task(&p->task, req->wrk, &f->arena, &f->log);
    p->task.host = &task__fetch_host;
    p->task.vcl = rp->loaded->vcl;
    if (f->kind == FETCH_BACKGROUND && !own_all(f, p)) {
        return;
    }
    vcls__pin_again(p->loaded);
    f->policy_arg = p;
}

static void fetch_end(struct fetch *f)
{
    struct fetch_task *p = task_of_fetch(f);
    if (p != NULL) {
        vcl_task_end(&p->task);
        vcls__unpin(&p->loaded);
        f->policy_arg = NULL;
    }
}

static uint64_t chosen_ns(const struct fetch_task *p, size_t declared, double said)
{
    double seconds = task__timeout_s(p, declared, said);
    return seconds < 0 ? 0 : seconds == 0 ? 1 : task__ns(seconds);
}

static void choose_backend(struct fetch *f, struct fetch_task *p)
{
    f->backend = leaf_of(&p->task, p->director, &p->backend);
#define CHOSEN(name) chosen_ns(p, offsetof(struct vcl_backend_decl, name##_timeout), p->name##_s)
    f->connect_ns = CHOSEN(connect);
    f->first_byte_ns = CHOSEN(first_byte);
    f->between_bytes_ns = CHOSEN(between_bytes);
#undef CHOSEN
}

static YIELDS struct policy_verdict backend_fetch_sub(struct fetch *f)
{
    struct fetch_task *p = task_of_fetch(f);
    if (p == NULL) {
        return policy_says(POLICY_FAIL);
    }
    bool is_needed = vcl_may_roll_back(p->loaded->vcl);
    if (keep_original(is_needed, &f->arena, f->bereq, &p->original) != RC_OK) {
        return policy_says(POLICY_FAIL);
    }
    enum vcl_return verdict = run(&p->task, engine__wrk(f->engine), VCL_SUB_BACKEND_FETCH);
    if (verdict == VCL_RET_FETCH) {
        choose_backend(f, p);
    }
    return says(&p->task, verdict);
}

/* The next of all stores; what is passed never sees another than Transient. */
static void propose_store(struct fetch *f, struct fetch_task *p)
{
    struct engine *engine = f->engine;
    f->first_store = 0;
    if (f->kind == FETCH_PASS) {
        p->standard = &engine->vcl_stores[engine->stores_count];
    } else {
        if (engine->stores_count > 1) {
            f->first_store = atomic_fetch_add(&engine->store_turn, 1) % engine->stores_count;
        }
        p->standard = &engine->vcl_stores[f->first_store];
    }
    p->standard = p->standard->name == NULL ? NULL : p->standard;
    p->storage = p->standard;
}

static YIELDS struct policy_verdict backend_response_sub(struct fetch *f)
{
    struct fetch_task *p = task_of_fetch(f);
    if (p == NULL) {
        return policy_says(POLICY_FAIL);
    }
    p->t_beresp_ns = wrk_real_ns(engine__wrk(f->engine));
    f->vfps = NULL;
    propose_store(f, p);
    enum vcl_return verdict = run(&p->task, engine__wrk(f->engine), VCL_SUB_BACKEND_RESPONSE);
    struct policy_verdict word = says(&p->task, verdict);
    word.duration_ns = p->task.pass_s >= 0 ? task__ns(p->task.pass_s) : f->times.ttl_ns;
    if (p->storage == NULL && p->standard != NULL && verdict == VCL_RET_DELIVER) {
        vslb_str(&f->log, SLT_Error, STR("No storage"));
        return (struct policy_verdict){
            .action = POLICY_ERROR, .status = 503, .reason = STR("Backend fetch failed")};
    }
    bool is_said = p->storage != NULL && p->storage != p->standard;
    f->store = is_said ? p->storage->store : NULL;
    return word;
}

static YIELDS struct policy_verdict backend_error_sub(struct fetch *f)
{
    struct fetch_task *p = task_of_fetch(f);
    if (p == NULL) {
        return policy_says(POLICY_FAIL);
    }
    p->t_beresp_ns = wrk_real_ns(engine__wrk(f->engine));
    propose_store(f, p);
    enum vcl_return verdict = run(&p->task, engine__wrk(f->engine), VCL_SUB_BACKEND_ERROR);
    return says(&p->task, verdict);
}

static const struct policy policy_vcl = {
    .begin = begin,
    .end = end,
    .fetch_begin = fetch_begin,
    .fetch_end = fetch_end,
    .recv = recv_sub,
    .hash = hash_sub,
    .hit = hit_sub,
    .miss = miss_sub,
    .pass = pass_sub,
    .pipe = pipe_sub,
    .purge = purge_sub,
    .deliver = deliver_sub,
    .synth = synth_sub,
    .backend_fetch = backend_fetch_sub,
    .backend_response = backend_response_sub,
    .backend_error = backend_error_sub,
};

const struct policy *engine_vcl_policy(void)
{
    return &policy_vcl;
}
