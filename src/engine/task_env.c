/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Backends of VCLs, and what vcl_init and vcl_fini may ask of the world. */
#include "engine/task.h"

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
    enum rc rc = backend_new(((struct loaded *)arg)->engine->conf.backends, &spec, &backend);
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

static bool no_rollback(struct vcl_task *task, enum objm_http which)
{
    (void)which;
    vcl_fail(task, STR("There is no message to go back to"));
    return false;
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

const struct vcl_host task__house_host = {
    .http = no_http,
    .get = task__get,
    .set = no_set,
    .unset = no_unset,
    .body = no_body,
    .hash_data = task__no_hash,
    .ban = task__ban,
    .purge = task__no_purge,
    .rollback = no_rollback,
    .cache_req_body = task__no_req_body,
    .misc = task__no_misc,
    .timestamp = no_timestamp,
    .digest = no_digest,
    .store = task__store,
    .store_property = task__store_property,
    .workspace = task__workspace,
    .add_filter = task__no_add_filter,
    .remove_filter = task__no_remove_filter,
};

const struct vcl_env task__env = {
    .backend_new = backend_make,
    .backend_free = backend_end,
    .backend_warm = backend_set_warm,
    .backend_healthy = backend_healthy,
    .host = &task__house_host,
};
