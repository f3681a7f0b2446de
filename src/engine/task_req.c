/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What VCL sees and changes of a request: client, req, obj, resp, sess. */
#include "engine/filtering.h"
#include "engine/task.h"
#include "engine/req_body.h"

typedef bool get_fn(struct req_task *p, union objm_value *v);
typedef bool set_fn(struct req_task *p, const union objm_value *v);

/* ---- the connection ---- */

static bool get_identity(struct req_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(p->identity);
    return true;
}

static bool set_identity(struct req_task *p, const union objm_value *v)
{
    p->identity = arena_dup(p->req->arena, vcl_str(v->string));
    return p->identity.ptr != NULL;
}

static bool get_client_ip(struct req_task *p, union objm_value *v)
{
    return task__ip(&p->task, p->req->client_addr, p->req->client_port, v);
}

static bool get_server_ip(struct req_task *p, union objm_value *v)
{
    return task__ip(&p->task, p->req->server_addr, p->req->server_port, v);
}

static bool get_remote_ip(struct req_task *p, union objm_value *v)
{
    return task__ip(&p->task, p->req->remote_addr, p->req->remote_port, v);
}

static bool get_local_ip(struct req_task *p, union objm_value *v)
{
    return task__ip(&p->task, p->req->local_addr, p->req->local_port, v);
}

static bool get_socket(struct req_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(str_of(p->req->listener));
    return true;
}

static bool get_endpoint(struct req_task *p, union objm_value *v)
{
    const char *text = p->req->endpoint == NULL ? p->req->listener : p->req->endpoint;
    v->string = vcl_objm_str(str_of(text));
    return true;
}

static bool get_sess_xid(struct req_task *p, union objm_value *v)
{
    return task__number(&p->task, p->req->session_vxid, v);
}

/* ---- the request ---- */

static bool get_backend_hint(struct req_task *p, union objm_value *v)
{
    v->backend = p->backend;
    return true;
}

static bool set_backend_hint(struct req_task *p, const union objm_value *v)
{
    p->backend = v->backend;
    return true;
}

static bool get_can_gzip(struct req_task *p, union objm_value *v)
{
    v->boolean = deliver_filter__is_welcome(p->req, STR("gzip"));
    return true;
}

static bool get_esi_level(struct req_task *p, union objm_value *v)
{
    v->integer = p->req->esi_level;
    return true;
}

static const struct request *top_of(const struct req_task *p)
{
    return p->req->top == NULL ? p->req : p->req->top;
}

static bool get_top_time(struct req_task *p, union objm_value *v)
{
    v->real = task__seconds(top_of(p)->t_head_ns);
    return true;
}

static bool set_nothing(struct req_task *p, const union objm_value *v)
{
    (void)p;
    (void)v;
    return true;
}

static bool get_hash(struct req_task *p, union objm_value *v)
{
    if (p->has_digest) {
        v->blob = (struct objm_blob){p->req->digest.bytes, sizeof p->req->digest.bytes};
    }
    return true;
}

#define FLAG(name)                                                                                 \
    static bool get_##name(struct req_task *p, union objm_value *v)                                \
    {                                                                                              \
        v->boolean = p->name;                                                                      \
        return true;                                                                               \
    }
#define SETTABLE_FLAG(name)                                                                        \
    FLAG(name)                                                                                     \
    static bool set_##name(struct req_task *p, const union objm_value *v)                          \
    {                                                                                              \
        p->name = v->boolean;                                                                      \
        return true;                                                                               \
    }
/* A bound on the age of what is found.  As in Varnish, a ttl of nothing is none, a grace is. */
static void set_bounds(struct req_task *p)
{
    struct request *req = p->req;
    req->ttl_most_ns = p->ttl_s > 0 ? task__ns(p->ttl_s) : UINT64_MAX;
    req->grace_most_ns = p->grace_s >= 0 ? task__ns(p->grace_s) : UINT64_MAX;
    req->is_bounded = req->ttl_most_ns != UINT64_MAX || req->grace_most_ns != UINT64_MAX;
}

#define SETTABLE_BOUND(name)                                                                       \
    static bool get_##name(struct req_task *p, union objm_value *v)                                \
    {                                                                                              \
        v->real = p->name;                                                                         \
        return true;                                                                               \
    }                                                                                              \
    static bool set_##name(struct req_task *p, const union objm_value *v)                          \
    {                                                                                              \
        p->name = v->real;                                                                         \
        set_bounds(p);                                                                             \
        return true;                                                                               \
    }

#define REQ_FLAG(name)                                                                             \
    static bool get_##name(struct req_task *p, union objm_value *v)                                \
    {                                                                                              \
        v->boolean = p->req->name;                                                                 \
        return true;                                                                               \
    }
#define SETTABLE_REQ_FLAG(name)                                                                    \
    REQ_FLAG(name)                                                                                 \
    static bool set_##name(struct req_task *p, const union objm_value *v)                          \
    {                                                                                              \
        p->req->name = v->boolean;                                                                 \
        return true;                                                                               \
    }
REQ_FLAG(does_esi)
SETTABLE_REQ_FLAG(hash_always_miss)
SETTABLE_REQ_FLAG(hash_ignore_busy)
SETTABLE_REQ_FLAG(hash_ignore_vary)
REQ_FLAG(is_hitmiss)
REQ_FLAG(is_hitpass)
REQ_FLAG(is_rfc9111)
SETTABLE_BOUND(ttl_s)
SETTABLE_BOUND(grace_s)

/* As in Varnish: in a sub-request this one is without effect, though resp.do_esi is not. */
static bool set_does_esi(struct req_task *p, const union objm_value *v)
{
    p->req->does_esi = p->req->top == NULL ? v->boolean : p->req->does_esi;
    return true;
}

static bool get_restarts(struct req_task *p, union objm_value *v)
{
    v->integer = p->req->restarts;
    return true;
}

static bool get_storage(struct req_task *p, union objm_value *v)
{
    v->stevedore = p->storage;
    return true;
}

static bool set_storage(struct req_task *p, const union objm_value *v)
{
    p->storage = v->stevedore;
    return true;
}

static bool get_req_time(struct req_task *p, union objm_value *v)
{
    v->real = task__seconds(p->req->t_head_ns);
    return true;
}

static bool get_transport(struct req_task *p, union objm_value *v)
{
    v->string = p->req->mc_command.ptr == NULL ? OBJM_STR("HTTP/1") : OBJM_STR("memcached");
    return true;
}

static bool get_mc_command(struct req_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(p->req->mc_command);
    return true;
}

static bool get_user(struct req_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(p->req->user);
    return true;
}

static bool get_req_xid(struct req_task *p, union objm_value *v)
{
    return task__number(&p->task, p->req->vxid, v);
}

/* ---- time-outs of the session ---- */

#define SESSION_TIME(name)                                                                         \
    static bool get_##name(struct req_task *p, union objm_value *v)                                \
    {                                                                                              \
        uint64_t own_ns = p->req->name##_ns;                                                       \
        v->real = task__seconds(own_ns != 0 ? own_ns : param(p->engine->conf.params, name));       \
        return true;                                                                               \
    }                                                                                              \
    static bool set_##name(struct req_task *p, const union objm_value *v)                          \
    {                                                                                              \
        p->req->name##_ns = task__ns(v->real);                                                     \
        return true;                                                                               \
    }

SESSION_TIME(idle_send_timeout)
SESSION_TIME(send_timeout)
SESSION_TIME(timeout_idle)

static bool get_linger(struct req_task *p, union objm_value *v)
{
    (void)p;
    v->real = 0.05;
    return true;
}

/* ---- the object ---- */

/* Of what is stored, or of what is passed on. */
static struct obj_times times_of(const struct req_task *p)
{
    if (p->req->oc != NULL) {
        return obj_times(p->req->oc);
    }
    CHECK(p->req->fetch != NULL);
    return p->req->fetch->times;
}

static bool get_obj_ttl(struct req_task *p, union objm_value *v)
{
    struct obj_times t = times_of(p);
    v->real = task__seconds(t.t_origin_ns) + task__seconds(t.ttl_ns) - p->task.ctx.now;
    return true;
}

static bool get_obj_grace(struct req_task *p, union objm_value *v)
{
    v->real = task__seconds(times_of(p).grace_ns);
    return true;
}

static bool get_obj_keep(struct req_task *p, union objm_value *v)
{
    v->real = task__seconds(times_of(p).keep_ns);
    return true;
}

static bool get_obj_time(struct req_task *p, union objm_value *v)
{
    v->real = task__seconds(times_of(p).t_origin_ns);
    return true;
}

static bool get_obj_age(struct req_task *p, union objm_value *v)
{
    v->real = p->task.ctx.now - task__seconds(times_of(p).t_origin_ns);
    return true;
}

/* In vcl_pipe, the only sub here that sees a bereq. */
static bool get_connect_timeout(struct req_task *p, union objm_value *v)
{
    uint64_t own_ns = p->req->fetch->connect_ns;
    const struct vcl_backend_decl *decl = p->backend == NULL ? NULL : vcl_backend_decl(p->backend);
    if (own_ns != 0) {
        v->real = task__seconds(own_ns);
    } else if (decl != NULL && decl->connect_timeout >= 0) {
        v->real = decl->connect_timeout;
    } else {
        v->real = task__seconds(param(p->engine->conf.params, connect_timeout));
    }
    return true;
}

static bool set_connect_timeout(struct req_task *p, const union objm_value *v)
{
    uint64_t ns = task__ns(v->real);
    p->req->fetch->connect_ns = ns == 0 ? 1 : ns;
    return true;
}

static bool get_obj_hits(struct req_task *p, union objm_value *v)
{
    bool was_there = p->req->is_hit || p->task.ctx.where == OBJM_IN_HIT;
    v->integer = p->req->oc == NULL || !was_there ? 0 : (int64_t)obj_hits(p->req->oc);
    return true;
}

static bool get_can_esi(struct req_task *p, union objm_value *v)
{
    v->boolean = p->req->oc != NULL && (obj_flags(p->req->oc) & OBJ_ESI) != 0;
    return true;
}

static bool get_obj_storage(struct req_task *p, union objm_value *v)
{
    v->stevedore = NULL;
    /* What is passed goes through Transient, as far as anybody can tell. */
    const struct stevedore *store =
        p->req->oc == NULL ? p->engine->conf.transient : obj_stevedore(p->req->oc);
    for (const struct objm_stevedore *s = p->engine->vcl_stores; s->name != NULL; s++) {
        if (s->store == store && store != NULL) {
            v->stevedore = s;
        }
    }
    return true;
}

static bool get_obj_uncacheable(struct req_task *p, union objm_value *v)
{
    v->boolean = p->req->oc == NULL || p->req->is_private;
    return true;
}

/* ---- the response ---- */

static bool get_is_streaming(struct req_task *p, union objm_value *v)
{
    v->boolean =
        p->req->oc == NULL ? p->task.ctx.where == OBJM_IN_DELIVER : !obj_is_complete(p->req->oc);
    return true;
}

static bool get_resp_time(struct req_task *p, union objm_value *v)
{
    v->real = task__seconds(p->t_resp_ns);
    return true;
}

/* Who has said what all the filters are cannot say one by one any more. */
static bool is_free(struct req_task *p)
{
    if (p->req->filters.ptr != NULL) {
        vslb_str(&p->req->log, SLT_VCL_Error,
                 STR("resp.filters are already fixed, resp.do_esi is undefined"));
    }
    return p->req->filters.ptr == NULL;
}

static bool get_do_esi(struct req_task *p, union objm_value *v)
{
    v->boolean = p->req->does_esi;
    return is_free(p);
}

static bool set_do_esi(struct req_task *p, const union objm_value *v)
{
    p->req->does_esi = v->boolean;
    return is_free(p);
}

static bool get_filters(struct req_task *p, union objm_value *v)
{
    struct sb sb = sb_of((char[512]){0}, 512);
    bool is_known = deliver_filter__names(p->req, &sb) == RC_OK && !sb.overflow;
    struct str names = is_known ? arena_dup(p->task.ws, sb_str(&sb)) : STR_NONE;
    v->string = vcl_objm_str(names);
    return names.ptr != NULL;
}

static bool set_filters(struct req_task *p, const union objm_value *v)
{
    struct str names = vcl_str(v->string);
    p->req->filters = arena_dup(p->task.ws, names.ptr == NULL ? STR("") : names);
    return p->req->filters.ptr != NULL;
}

static const struct {
    get_fn *get;
    set_fn *set;
} vars[VCL_VAR__COUNT] = {
    [VCL_VAR_CLIENT_IDENTITY] = {get_identity, set_identity},
    [VCL_VAR_CLIENT_IP] = {get_client_ip, NULL},
    [VCL_VAR_SERVER_IP] = {get_server_ip, NULL},
    [VCL_VAR_REMOTE_IP] = {get_remote_ip, NULL},
    [VCL_VAR_LOCAL_ENDPOINT] = {get_endpoint, NULL},
    [VCL_VAR_LOCAL_IP] = {get_local_ip, NULL},
    [VCL_VAR_LOCAL_SOCKET] = {get_socket, NULL},
    [VCL_VAR_REQ_BACKEND_HINT] = {get_backend_hint, set_backend_hint},
    [VCL_VAR_REQ_CAN_GZIP] = {get_can_gzip, NULL},
    [VCL_VAR_REQ_ESI] = {get_does_esi, set_does_esi},
    [VCL_VAR_REQ_ESI_LEVEL] = {get_esi_level, NULL},
    [VCL_VAR_REQ_GRACE] = {get_grace_s, set_grace_s},
    [VCL_VAR_REQ_HASH] = {get_hash, NULL},
    [VCL_VAR_REQ_HASH_ALWAYS_MISS] = {get_hash_always_miss, set_hash_always_miss},
    [VCL_VAR_REQ_HASH_IGNORE_BUSY] = {get_hash_ignore_busy, set_hash_ignore_busy},
    [VCL_VAR_REQ_HASH_IGNORE_VARY] = {get_hash_ignore_vary, set_hash_ignore_vary},
    [VCL_VAR_REQ_IS_HITMISS] = {get_is_hitmiss, NULL},
    [VCL_VAR_REQ_IS_HITPASS] = {get_is_hitpass, NULL},
    [VCL_VAR_REQ_IS_RFC9111] = {get_is_rfc9111, NULL},
    [VCL_VAR_REQ_MC_COMMAND] = {get_mc_command, NULL},
    [VCL_VAR_REQ_RESTARTS] = {get_restarts, NULL},
    [VCL_VAR_REQ_STORAGE] = {get_storage, set_storage},
    [VCL_VAR_REQ_TIME] = {get_req_time, NULL},
    [VCL_VAR_REQ_TRANSPORT] = {get_transport, NULL},
    [VCL_VAR_REQ_TTL] = {get_ttl_s, set_ttl_s},
    [VCL_VAR_REQ_USER] = {get_user, NULL},
    [VCL_VAR_REQ_XID] = {get_req_xid, NULL},
    [VCL_VAR_REQ_TOP_TIME] = {get_top_time, NULL},
    [VCL_VAR_BEREQ_BACKEND] = {get_backend_hint, set_backend_hint},
    [VCL_VAR_BEREQ_CONNECT_TIMEOUT] = {get_connect_timeout, set_connect_timeout},
    [VCL_VAR_BEREQ_HASH] = {get_hash, NULL},
    [VCL_VAR_BEREQ_TIME] = {get_req_time, NULL},
    [VCL_VAR_BEREQ_XID] = {get_req_xid, NULL},
    [VCL_VAR_OBJ_AGE] = {get_obj_age, NULL},
    [VCL_VAR_OBJ_CAN_ESI] = {get_can_esi, NULL},
    [VCL_VAR_OBJ_GRACE] = {get_obj_grace, NULL},
    [VCL_VAR_OBJ_HITS] = {get_obj_hits, NULL},
    [VCL_VAR_OBJ_KEEP] = {get_obj_keep, NULL},
    [VCL_VAR_OBJ_STORAGE] = {get_obj_storage, NULL},
    [VCL_VAR_OBJ_TIME] = {get_obj_time, NULL},
    [VCL_VAR_OBJ_TTL] = {get_obj_ttl, NULL},
    [VCL_VAR_OBJ_UNCACHEABLE] = {get_obj_uncacheable, NULL},
    [VCL_VAR_RESP_DO_ESI] = {get_do_esi, set_do_esi},
    [VCL_VAR_RESP_FILTERS] = {get_filters, set_filters},
    [VCL_VAR_RESP_IS_STREAMING] = {get_is_streaming, NULL},
    [VCL_VAR_RESP_TIME] = {get_resp_time, NULL},
    [VCL_VAR_SESS_IDLE_SEND_TIMEOUT] = {get_idle_send_timeout, set_idle_send_timeout},
    [VCL_VAR_SESS_SEND_TIMEOUT] = {get_send_timeout, set_send_timeout},
    [VCL_VAR_SESS_TIMEOUT_IDLE] = {get_timeout_idle, set_timeout_idle},
    [VCL_VAR_SESS_TIMEOUT_LINGER] = {get_linger, set_nothing},
    [VCL_VAR_SESS_XID] = {get_sess_xid, NULL},
};

static bool get_var(struct vcl_task *task, enum vcl_var var, union objm_value *value)
{
    return vars[var].get == NULL ? task__get(task, var, value) : vars[var].get(req_of(task), value);
}

static bool set_var(struct vcl_task *task, enum vcl_var var, const union objm_value *value)
{
    return vars[var].set != NULL && vars[var].set(req_of(task), value);
}

static void unset_var(struct vcl_task *task, enum vcl_var var)
{
    (void)task;
    (void)var;
}

/* ---- messages, bodies, the key ---- */

/* A stored head is unpacked only for those who look at it. */
static struct http *object_http(struct req_task *p)
{
    if (p->obj_http == NULL && p->req->oc != NULL) {
        unsigned fields = (unsigned)param(p->engine->conf.params, http_max_hdr) + 8;
        struct str packed = arena_dup(p->req->arena, obj_get(p->req->oc, OA_HTTP));
        struct http *h = http_new(p->req->arena, fields);
        if (h != NULL && packed.ptr != NULL && http_unpack(h, packed) == RC_OK) {
            p->obj_http = h;
        }
    }
    return p->obj_http;
}

static struct http *get_http(struct vcl_task *task, enum objm_http which)
{
    struct req_task *p = req_of(task);
    switch (which) {
    case OBJM_REQ:
        return p->req->http;
    case OBJM_REQ_TOP:
        return top_of(p)->http;
    case OBJM_RESP:
        return p->req->resp;
    case OBJM_OBJ:
        return object_http(p);
    case OBJM_BEREQ:
        return p->req->fetch == NULL ? NULL : p->req->fetch->bereq;
    case OBJM_BERESP:
    case OBJM_HTTP__COUNT:
        break;
    }
    return NULL;
}

static bool set_body(struct vcl_task *task, enum vcl_var var, struct str text, bool is_more)
{
    (void)var;
    return task__set_body(&req_of(task)->req->synth, text, is_more);
}

/* Pieces are gathered first: most keys were made before (key.c). */
static void hash_data(struct vcl_task *task, struct str text)
{
    struct req_task *p = req_of(task);
    struct sb sb = arena_builder(task->ws);
    bool is_next = p->hashed.ptr != NULL && p->hashed.ptr + p->hashed.len == sb.ptr;
    if (!is_next) {
        sb_put(&sb, p->hashed);
    }
    sb_put(&sb, text);
    sb_chr(&sb, '\0');
    struct str all = arena_claim(task->ws, &sb);
    if (all.ptr == NULL) {
        vcl_fail(task, STR("Workspace overflow (hash_data)"));
        return;
    }
    p->hashed = is_next ? (struct str){p->hashed.ptr, p->hashed.len + all.len} : all;
    if (text.ptr != NULL && UNLIKELY(vslb_wants(&p->req->log, SLT_Hash))) {
        vslb_str(&p->req->log, SLT_Hash, text); /* masked by default */
    }
}

static YIELDS int64_t purge(struct vcl_task *task, double ttl, double grace, double keep)
{
    struct req_task *p = req_of(task);
    if (!p->has_digest) {
        return -1;
    }
    engine_counters(p->engine)->n_purges++;
    if (ttl == 0 && grace == 0 && keep == 0) {
        return cache_purge(p->engine->conf.cache, &p->req->digest);
    }
    const struct obj_retime want = {
        .sets_ttl = ttl >= 0,
        .sets_grace = grace >= 0,
        .sets_keep = keep >= 0,
        .ttl_ns = task__ns(ttl),
        .grace_ns = task__ns(grace),
        .keep_ns = task__ns(keep),
    };
    return cache_soft_purge(p->engine->conf.cache, &p->req->digest, &want);
}

static bool rollback(struct vcl_task *task, enum objm_http which)
{
    const struct req_task *p = req_of(task);
    return task__rollback(task, p->req->http, which == OBJM_REQ ? p->original : NULL);
}

static bool get_digest(struct vcl_task *task, uint8_t digest[32])
{
    struct req_task *p = req_of(task);
    memcpy(digest, p->req->digest.bytes, sizeof p->req->digest.bytes);
    return p->has_digest;
}

static YIELDS bool cache_req_body(struct vcl_task *task, int64_t bytes)
{
    enum rc rc = req_body_keep(req_of(task)->req, bytes < 0 ? 0 : (uint64_t)bytes);
    return rc == RC_OK;
}

static void misc(struct vcl_task *task, enum vcl_misc what, int64_t value)
{
    if (what == VCL_MISC_LATE_100) {
        req_of(task)->req->is_late_100 = value != 0;
    }
}

static void timestamp(struct vcl_task *task, struct str label)
{
    struct request *req = req_of(task)->req;
    log__timestamp(&req->log, label, clock_real_ns(), req->t_first_ns, &req->t_prev_ns);
}

static void client(struct vcl_task *task, struct vcl_client *out)
{
    *out = task__client_of(req_of(task)->req);
}

const struct vcl_host task__client_host = {
    .client = client,
    .http = get_http,
    .get = get_var,
    .set = set_var,
    .unset = unset_var,
    .body = set_body,
    .hash_data = hash_data,
    .ban = task__ban,
    .purge = purge,
    .rollback = rollback,
    .cache_req_body = cache_req_body,
    .misc = misc,
    .timestamp = timestamp,
    .digest = get_digest,
    .store = task__store,
    .store_property = task__store_property,
    .workspace = task__workspace,
    .add_filter = task__add_filter,
    .remove_filter = task__remove_filter,
};
