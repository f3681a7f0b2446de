/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Backends of VCLs, and what vcl_init and vcl_fini may ask of the world. */
#include "engine/task.h"

static const struct engine *engine_of(void *arg)
{
    return ((struct loaded *)arg)->engine;
}

static uint64_t given_ns(double seconds)
{
    return seconds < 0 ? 0 : task__ns(seconds);
}

static struct probe_spec probe_of(const struct vcl_probe *p)
{
    return (struct probe_spec){
        .url = p->url,
        .request = p->request,
        .expected_response = p->expected < 0 ? 0 : (unsigned)p->expected,
        .timeout_ns = given_ns(p->timeout),
        .interval_ns = given_ns(p->interval),
        .window = p->window < 0 ? 0 : (unsigned)p->window,
        .threshold = p->threshold < 0 ? 0 : (unsigned)p->threshold,
        .initial = p->initial < 0 ? PROBE_INITIAL_DEFAULT : (unsigned)p->initial,
    };
}

static void *backend_make(void *arg, const char *vcl, const struct vcl_backend_decl *decl,
                          const char **why)
{
    struct probe_spec probe;
    const struct backend_spec spec = {
        .vcl = vcl,
        .name = decl->name,
        .host = decl->host,
        .port = decl->port,
        .path = decl->path,
        .host_header = decl->host_header,
        .connect_timeout_ns = given_ns(decl->connect_timeout),
        .first_byte_timeout_ns = given_ns(decl->first_byte_timeout),
        .between_bytes_timeout_ns = given_ns(decl->between_bytes_timeout),
        .max_connections = decl->max_connections,
        .proxy_header = decl->proxy_header,
        .preamble = decl->preamble,
        .probe = decl->probe == NULL ? NULL : &probe,
    };
    if (decl->probe != NULL) {
        probe = probe_of(decl->probe);
    }
    struct backend *backend = NULL;
    enum rc rc = backend_new(engine_of(arg)->conf.backends, &spec, &backend);
    *why = rc_text(rc);
    return rc == RC_OK ? backend : NULL;
}

static void backend_end(void *arg, void *take_leaf)
{
    struct backend *backend = take_leaf;
    (void)arg;
    backend_release(&backend);
}

static void backend_set_warm(void *arg, void *leaf, bool is_warm)
{
    (void)arg;
    if (is_warm) {
        backend_warm(leaf);
    } else {
        backend_cold(leaf);
    }
}

static bool backend_healthy(void *arg, void *leaf, double *changed)
{
    (void)arg;
    uint64_t changed_ns = 0;
    bool is_healthy = backend_is_healthy(leaf, &changed_ns);
    if (changed != NULL) {
        *changed = task__seconds(changed_ns);
    }
    return is_healthy;
}

/* ---- vcl_init and vcl_fini have no request ---- */

static struct http *no_http(struct vcl_task *task, enum objm_http which)
{
    (void)task;
    (void)which;
    return NULL;
}

static bool house_get(struct vcl_task *task, enum vcl_var var, union objm_value *value)
{
    const struct engine *engine = engine_of(task->arg);
    switch (var) {
    case VCL_VAR_NOW:
        value->real = task->ctx.now;
        return true;
    case VCL_VAR_SERVER_HOSTNAME:
        value->string = vcl_objm_str(str_of(engine->hostname));
        return true;
    case VCL_VAR_SERVER_IDENTITY:
        value->string = vcl_objm_str(str_of(engine->conf.identity));
        return true;
    default:
        return false;
    }
}

static bool no_set(struct vcl_task *task, enum vcl_var var, const union objm_value *value)
{
    (void)task;
    (void)var;
    (void)value;
    return false;
}

static void no_unset(struct vcl_task *task, enum vcl_var var)
{
    (void)task;
    (void)var;
}

static bool no_body(struct vcl_task *task, enum vcl_var var, struct str text, bool is_more)
{
    (void)task;
    (void)var;
    (void)text;
    (void)is_more;
    return false;
}

static void no_hash(struct vcl_task *task, struct str text)
{
    (void)task;
    (void)text;
}

static bool house_ban(struct vcl_task *task, struct str spec, struct str *error)
{
    return engine__ban(((struct loaded *)task->arg)->engine, task->ws, spec, error);
}

static YIELDS int64_t no_purge(struct vcl_task *task, double ttl, double grace, double keep)
{
    (void)task;
    (void)ttl;
    (void)grace;
    (void)keep;
    return -1;
}

static bool no_rollback(struct vcl_task *task, enum objm_http which)
{
    (void)which;
    vcl_fail(task, STR("There is no message to go back to"));
    return false;
}

static YIELDS bool no_req_body(struct vcl_task *task, int64_t bytes)
{
    (void)task;
    (void)bytes;
    return false;
}

static void no_misc(struct vcl_task *task, enum vcl_misc what, int64_t value)
{
    (void)task;
    (void)what;
    (void)value;
}

static void no_timestamp(struct vcl_task *task, struct str label)
{
    (void)task;
    (void)label;
}

static bool no_digest(struct vcl_task *task, uint8_t digest[32])
{
    (void)task;
    (void)digest;
    return false;
}

static const struct objm_stevedore *house_store(struct vcl_task *task, const char *name)
{
    for (const struct objm_stevedore *s = engine_of(task->arg)->vcl_stores; s->name != NULL; s++) {
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

static struct arena *house_ws(struct vcl_task *task, enum objm_ws which)
{
    (void)which;
    return task->ws;
}

static const struct vcl_host house_host = {
    .http = no_http,
    .get = house_get,
    .set = no_set,
    .unset = no_unset,
    .body = no_body,
    .hash_data = no_hash,
    .ban = house_ban,
    .purge = no_purge,
    .rollback = no_rollback,
    .cache_req_body = no_req_body,
    .misc = no_misc,
    .timestamp = no_timestamp,
    .digest = no_digest,
    .store = house_store,
    .store_property = task__store_property,
    .workspace = house_ws,
};

const struct vcl_env task__env = {
    .backend_new = backend_make,
    .backend_free = backend_end,
    .backend_warm = backend_set_warm,
    .backend_healthy = backend_healthy,
    .host = &house_host,
};
