/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Calls of modules, and the table through which modules call back. */
#include "vcl/vm_priv.h"

#include <stdlib.h>

#include "base/check.h"
#include "run/run.h"
#include "vcl/mod.h"

struct vcl_priv {
    struct vcl_priv *next;
    const void *key;
    struct objm_priv priv;
};

void vcl__module_call(struct vcl_task *task, unsigned index, union objm_value *regs)
{
    const struct vcl_callsite *site = &task->vcl->prog->calls.at[index];
    struct vcl *vcl = task->vcl;
    struct objm_call call = {
        .func = site->func,
        .arg = regs,
        .given = site->given,
        .priv_vcl = &vcl->priv_vcl[site->module],
        .priv_call = site->priv == UINT32_MAX ? NULL : &vcl->priv_call[site->priv],
    };
    if (site->instance != UINT32_MAX) {
        call.instance = vcl->prog->instances.at[site->instance].name;
        call.self = vcl->instances[site->instance];
        if (call.self == NULL && !site->is_new) {
            vcl_fail(task, STR("The object is not initialized"));
            return;
        }
    }
    site->func->fn(&task->ctx, &call);
    if (site->is_new) {
        vcl->instances[site->instance] = call.self;
    }
    regs[0] = call.ret;
}

/* ---- memory, log, time ---- */

static void *op_alloc(struct objm_ctx *ctx, size_t bytes)
{
    void *got = arena_alloc(vcl__task(ctx)->ws, bytes);
    if (got == NULL) {
        vcl__overflow(vcl__task(ctx), "module");
    }
    return got;
}

static void op_fail(struct objm_ctx *ctx, struct objm_str why)
{
    vcl_fail(vcl__task(ctx), vcl_str(why));
}

static void op_log(struct objm_ctx *ctx, enum objm_log what, struct objm_str text)
{
    static const enum VSL_tag_e log_tags[] = {
        [OBJM_LOG_VCL] = SLT_VCL_Log, [OBJM_LOG_VCL_ERROR] = SLT_VCL_Error,
        [OBJM_LOG_ERROR] = SLT_Error, [OBJM_LOG_NOTICE] = SLT_Notice,
        [OBJM_LOG_DEBUG] = SLT_Debug, [OBJM_LOG_DEBUG_ALONE] = SLT_Debug,
    };
    struct vcl_task *task = vcl__task(ctx);
    struct vsl *ring = task->vcl == NULL ? NULL : task->vcl->env->log;
    if (task->log != NULL && what != OBJM_LOG_DEBUG_ALONE) {
        vslb_str(task->log, log_tags[what], vcl_str(text));
    } else if (ring != NULL) {
        vsl_now(ring, log_tags[what], 0, vcl_str(text));
    }
}

static struct objm_priv *op_priv(struct objm_ctx *ctx, enum objm_scope scope, const void *key)
{
    struct vcl_task *task = vcl__task(ctx);
    struct vcl_task *owner = scope == OBJM_PRIV_TOP && task->top != NULL ? task->top : task;
    for (struct vcl_priv *p = owner->privs; p != NULL; p = p->next) {
        if (p->key == key) {
            return &p->priv;
        }
    }
    struct vcl_priv *p = arena_alloc(owner->ws, sizeof *p);
    if (p == NULL) {
        vcl__overflow(task, "private data");
        return NULL;
    }
    *p = (struct vcl_priv){.next = owner->privs, .key = key};
    owner->privs = p;
    return &p->priv;
}

bool vcl_may_roll_back(const struct vcl *vcl)
{
    return vcl->prog->may_roll_back || vcl->prog->labels.count > 0;
}

bool vcl_may_esi(const struct vcl *vcl)
{
    return vcl->prog->may_esi || vcl->prog->labels.count > 0;
}

void vcl_task_end(struct vcl_task *task)
{
    struct vcl_priv *p = task->privs;
    task->privs = NULL;
    for (; p != NULL; p = p->next) {
        if (p->priv.ptr != NULL && p->priv.fini != NULL) {
            p->priv.fini(p->priv.ptr);
        }
    }
}

static YIELDS void op_offload(struct objm_ctx *ctx, void (*fn)(void *), void *arg)
{
    (void)ctx;
    offload(fn, arg);
}

static YIELDS void op_sleep(struct objm_ctx *ctx, double seconds)
{
    (void)ctx;
    if (seconds > 0 && fiber_sleep((uint64_t)(seconds * 1e9)) != RC_OK) {
        /* Cancelled: whoever cancels sees to the rest. */
        return;
    }
}

double vcl__random31(struct objm_ctx *ctx)
{
    const struct vcl_task *task = vcl__task(ctx);
    if (task->series != NULL && series_is_on(task->series)) {
        return series_next(task->series) * 0x1.0p-31;
    }
    return objm_random(ctx);
}

static double op_random(struct objm_ctx *ctx)
{
    struct series *series = vcl__task(ctx)->series;
    if (UNLIKELY(series != NULL && series_is_on(series))) {
        double high = series_next(series) * 0x1.0p-31;
        return high + series_next(series) * 0x1.0p-62;
    }
    struct rng *rng = vcl__task(ctx)->rng;
    return rng == NULL ? 0.0 : (double)(rng_u64(rng) >> 11) * 0x1.0p-53;
}

/* ---- messages ---- */

static bool op_http_has(struct objm_ctx *ctx, enum objm_http http)
{
    struct vcl_task *task = vcl__task(ctx);
    return task->host->http(task, http) != NULL;
}

static struct objm_str op_http_get(struct objm_ctx *ctx, enum objm_http http, struct objm_str name)
{
    const struct vcl_field field = {{http, name}, HDR_OTHER};
    return vcl_objm_str(vcl__field_get(vcl__task(ctx), &field));
}

static bool op_http_nth(struct objm_ctx *ctx, enum objm_http http, unsigned n,
                        struct objm_str *name, struct objm_str *value)
{
    struct vcl_task *task = vcl__task(ctx);
    const struct http *h = task->host->http(task, http);
    if (h == NULL || n >= h->count) {
        return false;
    }
    *name = vcl_objm_str(h->hdr[n].name);
    *value = vcl_objm_str(h->hdr[n].value);
    return true;
}

static bool change_field(struct vcl_task *task,
                         void (*change)(struct vcl_task *task, const struct objm_header *field,
                                        struct str value),
                         enum objm_http http, struct str name, struct str value)
{
    if (vcl__own(task, &name)) {
        const struct objm_header field = {http, vcl_objm_str(name)};
        change(task, &field, value);
    }
    return !task->failed;
}

static bool op_http_set(struct objm_ctx *ctx, enum objm_http http, struct objm_str name,
                        struct objm_str value)
{
    return change_field(vcl__task(ctx), vcl__field_set, http, vcl_str(name), vcl_str(value));
}

static bool op_http_add(struct objm_ctx *ctx, enum objm_http http, struct objm_str name,
                        struct objm_str value)
{
    return change_field(vcl__task(ctx), vcl__field_add, http, vcl_str(name), vcl_str(value));
}

static void op_http_unset(struct objm_ctx *ctx, enum objm_http http, struct objm_str name)
{
    const struct objm_header field = {http, name};
    vcl__field_unset(vcl__task(ctx), &field);
}

static struct objm_str op_http_line(struct objm_ctx *ctx, enum objm_http http, enum objm_line line)
{
    union objm_value value;
    vcl__line_get(vcl__task(ctx), http, line, &value);
    if (line != OBJM_STATUS) {
        return value.string;
    }
    return vcl_objm_str(vcl__text(vcl__task(ctx), OBJM_INT, &value));
}

static bool op_http_rollback(struct objm_ctx *ctx, enum objm_http http)
{
    return vcl__task(ctx)->host->rollback(vcl__task(ctx), http);
}

static bool op_digest(struct objm_ctx *ctx, uint8_t digest[32])
{
    return vcl__task(ctx)->host->digest(vcl__task(ctx), digest);
}

/* ---- the cache, the connection ---- */

static bool op_ban(struct objm_ctx *ctx, struct objm_str spec, struct objm_str *error)
{
    struct str why = STR_NONE;
    bool is_fine = vcl__task(ctx)->host->ban(vcl__task(ctx), vcl_str(spec), &why);
    *error = vcl_objm_str(why);
    return is_fine;
}

static YIELDS int64_t op_purge(struct objm_ctx *ctx, double ttl, double grace, double keep)
{
    return vcl__task(ctx)->host->purge(vcl__task(ctx), ttl, grace, keep);
}

static YIELDS bool op_cache_req_body(struct objm_ctx *ctx, int64_t bytes)
{
    return vcl__task(ctx)->host->cache_req_body(vcl__task(ctx), bytes);
}

static void op_late_100(struct objm_ctx *ctx, bool is_late)
{
    vcl__task(ctx)->host->misc(vcl__task(ctx), VCL_MISC_LATE_100, is_late);
}

static void op_set_ip_tos(struct objm_ctx *ctx, int tos)
{
    vcl__task(ctx)->host->misc(vcl__task(ctx), VCL_MISC_TOS, tos);
}

static void op_timestamp(struct objm_ctx *ctx, struct objm_str label)
{
    vcl__task(ctx)->host->timestamp(vcl__task(ctx), vcl_str(label));
}

/* ---- backends ---- */

static struct objm_str op_backend_name(struct objm_ctx *ctx, const struct objm_backend *backend)
{
    (void)ctx;
    return vcl_objm_str(backend == NULL ? STR_NONE : str_of(vcl_backend_name(backend)));
}

static const struct objm_backend *op_backend_find(struct objm_ctx *ctx, struct objm_str name)
{
    return vcl_backend_find(vcl__task(ctx)->vcl->set, vcl_str(name));
}

static struct objm_backend *op_director_new(struct objm_ctx *ctx, const struct objm_director *table,
                                            const char *name, void *arg)
{
    return vcl_director_add(vcl__task(ctx)->vcl->set, name, table, arg);
}

static void op_director_free(struct objm_ctx *ctx, struct objm_backend *director)
{
    (void)ctx;
    vcl_director_remove(director);
}

/* ---- values ---- */

static bool op_acl_match(struct objm_ctx *ctx, const struct objm_acl *acl, const struct objm_ip *ip)
{
    return vcl__acl(vcl__task(ctx), acl, ip);
}

static bool op_regex_match(struct objm_ctx *ctx, const struct objm_regex *regex,
                           struct objm_str subject)
{
    return vcl__match(vcl__task(ctx), regex, vcl_str(subject));
}

static struct objm_str op_regsub(struct objm_ctx *ctx, const struct objm_regex *regex, bool all,
                                 struct objm_str subject, struct objm_str replacement)
{
    return vcl_objm_str(
        vcl__regsub(vcl__task(ctx), regex, all, vcl_str(subject), vcl_str(replacement)));
}

static struct objm_str op_to_string(struct objm_ctx *ctx, enum objm_type type,
                                    const union objm_value *value)
{
    return vcl_objm_str(vcl__text(vcl__task(ctx), type, value));
}

/* ---- workspaces ---- */

static struct arena *workspace(struct objm_ctx *ctx, enum objm_ws which)
{
    struct vcl_task *task = vcl__task(ctx);
    struct arena *ws = task->host->workspace(task, which);
    return ws == NULL ? task->ws : ws;
}

static size_t op_ws_free(struct objm_ctx *ctx, enum objm_ws which)
{
    const struct arena *ws = workspace(ctx, which);
    return ws->cap - ws->used;
}

static void *op_ws_alloc(struct objm_ctx *ctx, enum objm_ws which, size_t bytes)
{
    return arena_alloc(workspace(ctx, which), bytes);
}

static size_t op_ws_mark(struct objm_ctx *ctx, enum objm_ws which)
{
    return arena_mark(workspace(ctx, which));
}

static void op_ws_rewind(struct objm_ctx *ctx, enum objm_ws which, size_t mark)
{
    arena_rewind(workspace(ctx, which), mark);
}

static bool op_ws_overflowed(struct objm_ctx *ctx, enum objm_ws which)
{
    return workspace(ctx, which)->overflowed;
}

static void op_ws_overflow(struct objm_ctx *ctx, enum objm_ws which)
{
    workspace(ctx, which)->overflowed = true;
}

const struct objm_ops vcl__ops = {
    .bytes = sizeof(struct objm_ops),
    .alloc = op_alloc,
    .task_fail = op_fail,
    .log = op_log,
    .priv = op_priv,
    .offload = op_offload,
    .sleep = op_sleep,
    .random = op_random,
    .http_has = op_http_has,
    .http_get = op_http_get,
    .http_nth = op_http_nth,
    .http_set = op_http_set,
    .http_add = op_http_add,
    .http_unset = op_http_unset,
    .http_line = op_http_line,
    .http_rollback = op_http_rollback,
    .digest = op_digest,
    .ban = op_ban,
    .purge = op_purge,
    .cache_req_body = op_cache_req_body,
    .late_100_continue = op_late_100,
    .set_ip_tos = op_set_ip_tos,
    .timestamp = op_timestamp,
    .backend_name = op_backend_name,
    .backend_healthy = vcl_backend_healthy,
    .backend_resolve = vcl_backend_resolve,
    .backend_find = op_backend_find,
    .director_new = op_director_new,
    .director_free = op_director_free,
    .acl_match = op_acl_match,
    .regex_match = op_regex_match,
    .regsub = op_regsub,
    .to_string = op_to_string,
    .ws_free = op_ws_free,
    .ws_alloc = op_ws_alloc,
    .ws_mark = op_ws_mark,
    .ws_rewind = op_ws_rewind,
    .ws_overflowed = op_ws_overflowed,
    .ws_overflow = op_ws_overflow,
};
