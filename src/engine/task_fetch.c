/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What VCL sees and changes of a fetch: bereq, beresp, and what is left of its client. */
#include "engine/filtering.h"
#include "engine/task.h"

typedef bool get_fn(struct fetch_task *p, union objm_value *v);
typedef bool set_fn(struct fetch_task *p, const union objm_value *v);

/* ---- the client ---- */

#define ADDRESS(name)                                                                              \
    static bool get_##name##_ip(struct fetch_task *p, union objm_value *v)                         \
    {                                                                                              \
        return task__ip(&p->task, p->name##_addr, p->name##_port, v);                              \
    }
ADDRESS(client)
ADDRESS(server)
ADDRESS(remote)
ADDRESS(local)

static bool get_identity(struct fetch_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(p->identity);
    return true;
}

static bool get_socket(struct fetch_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(p->listener);
    return true;
}

static bool get_endpoint(struct fetch_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(p->endpoint);
    return true;
}

static bool get_sess_xid(struct fetch_task *p, union objm_value *v)
{
    return task__number(&p->task, p->session_vxid, v);
}

/* ---- the request ---- */

static bool get_backend(struct fetch_task *p, union objm_value *v)
{
    v->backend = p->director;
    return true;
}

static bool set_backend(struct fetch_task *p, const union objm_value *v)
{
    p->director = v->backend;
    return true;
}

#define TIMEOUT(name, par)                                                                         \
    static bool get_##name(struct fetch_task *p, union objm_value *v)                              \
    {                                                                                              \
        double own = task__timeout_s(p, offsetof(struct vcl_backend_decl, par), p->name);          \
        v->real = own >= 0 ? own : task__seconds(param(p->fetch->engine->conf.params, par));       \
        return true;                                                                               \
    }                                                                                              \
    static bool set_##name(struct fetch_task *p, const union objm_value *v)                        \
    {                                                                                              \
        p->name = v->real < 0 ? 0 : v->real;                                                       \
        return true;                                                                               \
    }
TIMEOUT(connect_s, connect_timeout)
TIMEOUT(first_byte_s, first_byte_timeout)
TIMEOUT(between_bytes_s, between_bytes_timeout)

static bool get_hash(struct fetch_task *p, union objm_value *v)
{
    v->blob = (struct objm_blob){p->digest.bytes, sizeof p->digest.bytes};
    return true;
}

static bool get_is_bgfetch(struct fetch_task *p, union objm_value *v)
{
    v->boolean = p->fetch->kind == FETCH_BACKGROUND;
    return true;
}

static bool get_retries(struct fetch_task *p, union objm_value *v)
{
    v->integer = p->fetch->retries;
    return true;
}

static bool get_bereq_time(struct fetch_task *p, union objm_value *v)
{
    v->real = task__seconds(p->fetch->t_first_ns);
    return true;
}

static bool get_bereq_xid(struct fetch_task *p, union objm_value *v)
{
    return task__number(&p->task, p->fetch->vxid, v);
}

static bool get_bereq_uncacheable(struct fetch_task *p, union objm_value *v)
{
    v->boolean = p->fetch->kind == FETCH_PASS;
    return true;
}

static bool get_is_rfc9111(struct fetch_task *p, union objm_value *v)
{
    v->boolean = p->fetch->is_rfc9111;
    return true;
}

/* ---- the answer ---- */

#define FLAG(name)                                                                                 \
    static bool get_##name(struct fetch_task *p, union objm_value *v)                              \
    {                                                                                              \
        v->boolean = p->name;                                                                      \
        return true;                                                                               \
    }

/* Who has said what all the filters are cannot say one by one any more. */
static bool is_free(struct fetch_task *p, const char *name)
{
    if (p->fetch->filters.ptr != NULL) {
        vslb_printf(&p->fetch->log, SLT_VCL_Error,
                    "beresp.filters are already fixed, beresp.%s is undefined", name);
    }
    return p->fetch->filters.ptr == NULL;
}

#define WISH(name)                                                                                 \
    static bool get_##name(struct fetch_task *p, union objm_value *v)                              \
    {                                                                                              \
        v->boolean = p->fetch->name;                                                               \
        return is_free(p, #name);                                                                  \
    }                                                                                              \
    static bool set_##name(struct fetch_task *p, const union objm_value *v)                        \
    {                                                                                              \
        p->fetch->name = v->boolean;                                                               \
        return is_free(p, #name);                                                                  \
    }
WISH(do_esi)
WISH(do_gzip)
WISH(do_gunzip)

static bool get_filters(struct fetch_task *p, union objm_value *v)
{
    struct sb sb = sb_of((char[512]){0}, 512);
    bool is_known = fetch_filter__names(p->fetch, &sb) == RC_OK && !sb.overflow;
    struct str names = is_known ? arena_dup(p->task.ws, sb_str(&sb)) : STR_NONE;
    v->string = vcl_objm_str(names);
    return names.ptr != NULL;
}

static bool set_filters(struct fetch_task *p, const union objm_value *v)
{
    struct str names = vcl_str(v->string);
    p->fetch->filters = arena_dup(p->task.ws, names.ptr == NULL ? STR("") : names);
    return p->fetch->filters.ptr != NULL;
}

static bool get_do_stream(struct fetch_task *p, union objm_value *v)
{
    v->boolean = p->fetch->do_stream;
    return true;
}

static bool set_do_stream(struct fetch_task *p, const union objm_value *v)
{
    p->fetch->do_stream = v->boolean;
    return true;
}

static bool get_was_304(struct fetch_task *p, union objm_value *v)
{
    v->boolean = p->fetch->was_304;
    return true;
}

FLAG(is_hitmiss)
FLAG(is_hitpass)

static bool get_age(struct fetch_task *p, union objm_value *v)
{
    double age = p->task.ctx.now - task__seconds(p->fetch->times.t_origin_ns);
    v->real = p->fetch->times.t_origin_ns == 0 || age < 0 ? 0 : age;
    return true;
}

static bool get_beresp_backend(struct fetch_task *p, union objm_value *v)
{
    v->backend = p->backend;
    return true;
}

static bool get_backend_name(struct fetch_task *p, union objm_value *v)
{
    v->string = vcl_objm_str(p->backend == NULL ? STR_NONE : str_of(vcl_backend_name(p->backend)));
    return true;
}

static bool get_backend_ip(struct fetch_task *p, union objm_value *v)
{
    struct str ends = p->fetch->conn == NULL ? STR("") : bconn_ends(p->fetch->conn);
    struct str addr = str_cut(&ends, ' ');
    return task__ip(&p->task, addr, str_cut(&ends, ' '), v);
}

static void log_ttl(struct fetch_task *p)
{
    struct fetch *f = p->fetch;
    vslb_printf(&f->log, SLT_TTL, "VCL %.0f %.0f %.0f %.0f %s", (double)f->times.ttl_ns / 1e9,
                (double)f->times.grace_ns / 1e9, (double)f->times.keep_ns / 1e9,
                (double)f->times.t_origin_ns / 1e9,
                f->is_uncacheable ? "uncacheable" : "cacheable");
}

/* A TTL counts from the object's birth, which may be long ago; VCL counts from now. */
static bool get_ttl(struct fetch_task *p, union objm_value *v)
{
    const struct obj_times *t = &p->fetch->times;
    v->real = task__seconds(t->ttl_ns) - (p->task.ctx.now - task__seconds(t->t_origin_ns));
    return true;
}

static bool set_ttl(struct fetch_task *p, const union objm_value *v)
{
    policy_set_ttl(p->fetch, task__ns(v->real));
    log_ttl(p);
    return true;
}

#define LIFE(name)                                                                                 \
    static bool get_##name(struct fetch_task *p, union objm_value *v)                              \
    {                                                                                              \
        v->real = task__seconds(p->fetch->times.name##_ns);                                        \
        return true;                                                                               \
    }                                                                                              \
    static bool set_##name(struct fetch_task *p, const union objm_value *v)                        \
    {                                                                                              \
        p->fetch->times.name##_ns = task__ns(v->real);                                             \
        log_ttl(p);                                                                                \
        return true;                                                                               \
    }
LIFE(grace)
LIFE(keep)

static bool get_uncacheable(struct fetch_task *p, union objm_value *v)
{
    v->boolean = p->fetch->is_uncacheable;
    return true;
}

static bool set_uncacheable(struct fetch_task *p, const union objm_value *v)
{
    if (p->fetch->is_uncacheable && !v->boolean) {
        vslb_str(&p->fetch->log, SLT_VCL_Error,
                 STR("Ignoring attempt to reset beresp.uncacheable"));
    } else if (v->boolean) {
        p->fetch->is_uncacheable = true;
    }
    log_ttl(p);
    return true;
}

static bool get_storage(struct fetch_task *p, union objm_value *v)
{
    v->stevedore = p->storage;
    return true;
}

static bool set_storage(struct fetch_task *p, const union objm_value *v)
{
    p->storage = v->stevedore;
    return true;
}

static bool get_storage_hint(struct fetch_task *p, union objm_value *v)
{
    const union objm_value store = {.stevedore = p->storage};
    struct sb sb = arena_builder(p->task.ws);
    v->string = vcl_objm_str(STR_NONE);
    if (vcl_value_text(&sb, OBJM_STEVEDORE, &store, NULL) == RC_OK) {
        v->string = vcl_objm_str(arena_claim(p->task.ws, &sb));
    }
    return true;
}

static bool set_storage_hint(struct fetch_task *p, const union objm_value *v)
{
    for (const struct objm_stevedore *s = p->fetch->engine->vcl_stores; s->name != NULL; s++) {
        if (str_eq(vcl_str(v->string), str_of(s->name))) {
            p->storage = s;
        }
    }
    return true;
}

static bool get_beresp_time(struct fetch_task *p, union objm_value *v)
{
    v->real = task__seconds(p->t_beresp_ns);
    return true;
}

static const struct {
    get_fn *get;
    set_fn *set;
} vars[VCL_VAR__COUNT] = {
    [VCL_VAR_CLIENT_IDENTITY] = {get_identity, NULL},
    [VCL_VAR_CLIENT_IP] = {get_client_ip, NULL},
    [VCL_VAR_SERVER_IP] = {get_server_ip, NULL},
    [VCL_VAR_REMOTE_IP] = {get_remote_ip, NULL},
    [VCL_VAR_LOCAL_ENDPOINT] = {get_endpoint, NULL},
    [VCL_VAR_LOCAL_IP] = {get_local_ip, NULL},
    [VCL_VAR_LOCAL_SOCKET] = {get_socket, NULL},
    [VCL_VAR_BEREQ_BACKEND] = {get_backend, set_backend},
    [VCL_VAR_BEREQ_BETWEEN_BYTES_TIMEOUT] = {get_between_bytes_s, set_between_bytes_s},
    [VCL_VAR_BEREQ_CONNECT_TIMEOUT] = {get_connect_s, set_connect_s},
    [VCL_VAR_BEREQ_FIRST_BYTE_TIMEOUT] = {get_first_byte_s, set_first_byte_s},
    [VCL_VAR_BEREQ_HASH] = {get_hash, NULL},
    [VCL_VAR_BEREQ_IS_BGFETCH] = {get_is_bgfetch, NULL},
    [VCL_VAR_BEREQ_IS_HITMISS] = {get_is_hitmiss, NULL},
    [VCL_VAR_BEREQ_IS_HITPASS] = {get_is_hitpass, NULL},
    [VCL_VAR_BEREQ_IS_RFC9111] = {get_is_rfc9111, NULL},
    [VCL_VAR_BEREQ_RETRIES] = {get_retries, NULL},
    [VCL_VAR_BEREQ_TIME] = {get_bereq_time, NULL},
    [VCL_VAR_BEREQ_UNCACHEABLE] = {get_bereq_uncacheable, NULL},
    [VCL_VAR_BEREQ_XID] = {get_bereq_xid, NULL},
    [VCL_VAR_BERESP_AGE] = {get_age, NULL},
    [VCL_VAR_BERESP_BACKEND] = {get_beresp_backend, NULL},
    [VCL_VAR_BERESP_BACKEND_IP] = {get_backend_ip, NULL},
    [VCL_VAR_BERESP_BACKEND_NAME] = {get_backend_name, NULL},
    [VCL_VAR_BERESP_DO_ESI] = {get_do_esi, set_do_esi},
    [VCL_VAR_BERESP_DO_GUNZIP] = {get_do_gunzip, set_do_gunzip},
    [VCL_VAR_BERESP_DO_GZIP] = {get_do_gzip, set_do_gzip},
    [VCL_VAR_BERESP_DO_STREAM] = {get_do_stream, set_do_stream},
    [VCL_VAR_BERESP_FILTERS] = {get_filters, set_filters},
    [VCL_VAR_BERESP_GRACE] = {get_grace, set_grace},
    [VCL_VAR_BERESP_KEEP] = {get_keep, set_keep},
    [VCL_VAR_BERESP_STORAGE] = {get_storage, set_storage},
    [VCL_VAR_BERESP_STORAGE_HINT] = {get_storage_hint, set_storage_hint},
    [VCL_VAR_BERESP_TIME] = {get_beresp_time, NULL},
    [VCL_VAR_BERESP_TTL] = {get_ttl, set_ttl},
    [VCL_VAR_BERESP_UNCACHEABLE] = {get_uncacheable, set_uncacheable},
    [VCL_VAR_BERESP_WAS_304] = {get_was_304, NULL},
    [VCL_VAR_SESS_XID] = {get_sess_xid, NULL},
};

static bool get_var(struct vcl_task *task, enum vcl_var var, union objm_value *value)
{
    return vars[var].get == NULL ? task__get(task, var, value)
                                 : vars[var].get(fetch_of(task), value);
}

static bool set_var(struct vcl_task *task, enum vcl_var var, const union objm_value *value)
{
    return vars[var].set != NULL && vars[var].set(fetch_of(task), value);
}

/* bereq.body is the only one that can be unset. */
static void unset_var(struct vcl_task *task, enum vcl_var var)
{
    if (var == VCL_VAR_BEREQ_BODY) {
        struct fetch_task *p = fetch_of(task);
        p->fetch->drops_body = true;
        http_unset(p->fetch->bereq, HDR_CONTENT_LENGTH);
        http_unset(p->fetch->bereq, HDR_TRANSFER_ENCODING);
    }
}

static struct http *get_http(struct vcl_task *task, enum objm_http which)
{
    const struct fetch *f = fetch_of(task)->fetch;
    return which == OBJM_BEREQ ? f->bereq : which == OBJM_BERESP ? f->beresp : NULL;
}

static bool set_body(struct vcl_task *task, enum vcl_var var, struct str text, bool is_more)
{
    (void)var;
    return task__set_body(&fetch_of(task)->fetch->synth, text, is_more);
}

static bool rollback(struct vcl_task *task, enum objm_http which)
{
    const struct fetch_task *p = fetch_of(task);
    return task__rollback(task, p->fetch->bereq, which == OBJM_BEREQ ? p->original : NULL);
}

static bool get_digest(struct vcl_task *task, uint8_t digest[32])
{
    memcpy(digest, fetch_of(task)->digest.bytes, 32);
    return true;
}

static void timestamp(struct vcl_task *task, struct str label)
{
    struct fetch *f = fetch_of(task)->fetch;
    log__timestamp(&f->log, label, clock_real_ns(), f->t_first_ns, &f->t_prev_ns);
}

static void client(struct vcl_task *task, struct vcl_client *out)
{
    *out = fetch_of(task)->client;
}

const struct vcl_host task__fetch_host = {
    .client = client,
    .http = get_http,
    .get = get_var,
    .set = set_var,
    .unset = unset_var,
    .body = set_body,
    .hash_data = task__no_hash,
    .ban = task__ban,
    .purge = task__no_purge,
    .rollback = rollback,
    .cache_req_body = task__no_req_body,
    .misc = task__no_misc,
    .timestamp = timestamp,
    .digest = get_digest,
    .store = task__store,
    .store_property = task__store_property,
    .workspace = task__workspace,
    .add_filter = task__add_filter,
    .remove_filter = task__remove_filter,
};
