/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What more than one kind of task needs: addresses, numbers, times, storages, bans. */
#include "engine/task.h"

#include <inttypes.h>

double task__seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

uint64_t task__ns(double seconds)
{
    return seconds <= 0     ? 0
           : seconds > 1e10 ? UINT64_C(10000000000000000000)
                            : (uint64_t)(seconds * 1e9);
}

bool task__ip(struct vcl_task *task, struct str addr, struct str port, union objm_value *value)
{
    struct objm_ip *ip = arena_alloc(task->ws, sizeof *ip);
    uint64_t number = 0;
    if (ip == NULL) {
        vcl_fail(task, STR("Workspace overflow (address)"));
        return false;
    }
    if (str_to_u64(port, &number) != RC_OK || number > UINT16_MAX) {
        number = 0;
    }
    /* The ends of a Unix socket have no address; Varnish shows them as 0.0.0.0. */
    if (vcl_ip_parse(addr, (uint16_t)number, ip) != RC_OK) {
        *ip = (struct objm_ip){.family = 4};
    }
    value->ip = ip;
    return true;
}

bool task__number(struct vcl_task *task, uint64_t number, union objm_value *value)
{
    struct str text = arena_printf(task->ws, "%" PRIu64, number);
    if (text.ptr == NULL) {
        vcl_fail(task, STR("Workspace overflow (number)"));
        return false;
    }
    value->string = vcl_objm_str(text);
    return true;
}

static struct engine *engine_of(struct vcl_task *task)
{
    if (task->host == &task__client_host) {
        return req_of(task)->engine;
    }
    if (task->host == &task__fetch_host) {
        return fetch_of(task)->fetch->engine;
    }
    CHECK(task->host == &task__house_host);
    return ((struct loaded *)task->arg)->engine;
}

bool task__get(struct vcl_task *task, enum vcl_var var, union objm_value *value)
{
    switch (var) {
    case VCL_VAR_NOW:
        value->real = task->ctx.now;
        return true;
    case VCL_VAR_SERVER_HOSTNAME:
        value->string = vcl_objm_str(str_of(engine_of(task)->hostname));
        return true;
    case VCL_VAR_SERVER_IDENTITY:
        value->string = vcl_objm_str(str_of(engine_of(task)->conf.identity));
        return true;
    case VCL_VAR_BERESP_FILTERS:
    case VCL_VAR_RESP_FILTERS:
        value->string = OBJM_STR("");
        return true;
    default:
        return false;
    }
}

bool task__rollback(struct vcl_task *task, struct http *to, const struct http *original)
{
    if (original == NULL) {
        vcl_fail(task, STR("std.rollback(): nothing to go back to"));
        return false;
    }
    enum rc rc = http_copy(to, original, HTTP_COPY_ALL);
    CHECK(rc == RC_OK);
    return true;
}

bool task__set_body(struct synth_text *synth, struct str text, bool is_more)
{
    if (!is_more) {
        synth__clear(synth);
    }
    return synth__add(synth, text) == RC_OK;
}

bool task__ban(struct vcl_task *task, struct str spec, struct str *error)
{
    return engine__ban(engine_of(task), task->ws, spec, error);
}

struct vcl_client task__client_of(const struct request *req)
{
    return (struct vcl_client){req->proxy_tlvs, req->is_unix, req->has_ids, req->uid, req->gid};
}

void task__no_hash(struct vcl_task *task, struct str text)
{
    (void)task;
    (void)text;
}

YIELDS int64_t task__no_purge(struct vcl_task *task, double ttl, double grace, double keep)
{
    (void)task;
    (void)ttl;
    (void)grace;
    (void)keep;
    return -1;
}

YIELDS bool task__no_req_body(struct vcl_task *task, int64_t bytes)
{
    (void)task;
    (void)bytes;
    return false;
}

void task__no_misc(struct vcl_task *task, enum vcl_misc what, int64_t value)
{
    (void)task;
    (void)what;
    (void)value;
}

struct arena *task__workspace(struct vcl_task *task, enum objm_ws which)
{
    (void)which;
    return task->ws;
}

const struct objm_stevedore *task__store(struct vcl_task *task, const char *name)
{
    for (const struct objm_stevedore *s = engine_of(task)->vcl_stores; s->name != NULL; s++) {
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

void task__store_property(struct vcl_task *task, const struct objm_stevedore *store,
                          enum vcl_prop which, union objm_value *value)
{
    (void)task;
    struct stv_stats stats = {0};
    if (store != NULL) {
        stv_stat(store->store, &stats);
    }
    if (which == VCL_PROP_HAPPY) {
        *value = (union objm_value){.boolean = store != NULL};
    } else if (which == VCL_PROP_USED_SPACE) {
        *value = (union objm_value){.integer = (int64_t)stats.bytes_used};
    } else {
        uint64_t left = stats.bytes_max > stats.bytes_used ? stats.bytes_max - stats.bytes_used : 0;
        *value = (union objm_value){.integer = (int64_t)left};
    }
}

double task__timeout_s(const struct fetch_task *p, size_t declared, double said)
{
    if (said >= 0) {
        return said;
    }
    const struct objm_backend *b = p->backend != NULL ? p->backend : p->director;
    const struct vcl_backend_decl *decl = b == NULL ? NULL : vcl_backend_decl(b);
    double value = -1;
    if (decl != NULL) {
        memcpy(&value, (const char *)decl + declared, sizeof value);
    }
    return value;
}
