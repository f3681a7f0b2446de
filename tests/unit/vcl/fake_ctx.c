/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "fake_ctx.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/value.h"

static struct fake *of(struct objm_ctx *ctx)
{
    return (struct fake *)(void *)ctx;
}

static void *do_alloc(struct objm_ctx *ctx, size_t bytes)
{
    return arena_alloc(&of(ctx)->ws, bytes);
}

static void do_fail(struct objm_ctx *ctx, struct objm_str why)
{
    struct fake *f = of(ctx);
    if (f->failed[0] == '\0') {
        (void)snprintf(f->failed, sizeof f->failed, "%.*s", STR_ARG(why));
    }
}

static void do_log(struct objm_ctx *ctx, enum objm_log tag, struct objm_str text)
{
    struct fake *f = of(ctx);
    size_t at = strlen(f->logged);
    (void)snprintf(f->logged + at, sizeof f->logged - at, "%d %.*s\n", (int)tag, STR_ARG(text));
}

static struct objm_priv *do_priv(struct objm_ctx *ctx, enum objm_scope scope, const void *key)
{
    struct fake *f = of(ctx);
    CHECK(scope == OBJM_PRIV_TASK);
    for (unsigned n = 0; n < FAKE_PRIVS; n++) {
        if (f->privs[n].key == key || f->privs[n].key == NULL) {
            f->privs[n].key = key;
            return &f->privs[n].priv;
        }
    }
    return NULL;
}

static void do_offload(struct objm_ctx *ctx, void (*fn)(void *), void *arg)
{
    (void)ctx;
    fn(arg);
}

static double do_random(struct objm_ctx *ctx)
{
    return (double)(rng_u64(&of(ctx)->rng) >> 11) * 0x1p-53;
}

static bool do_has(struct objm_ctx *ctx, enum objm_http http)
{
    (void)ctx;
    return http == OBJM_REQ;
}

static bool do_nth(struct objm_ctx *ctx, enum objm_http http, unsigned n, struct objm_str *name,
                   struct objm_str *value)
{
    const struct http *h = of(ctx)->req;
    if (http != OBJM_REQ || n >= h->count) {
        return false;
    }
    *name = vcl_objm_str(h->hdr[n].name);
    *value = vcl_objm_str(h->hdr[n].value);
    return true;
}

static bool do_set(struct objm_ctx *ctx, enum objm_http http, struct objm_str name,
                   struct objm_str value)
{
    return http == OBJM_REQ && http_set_name(of(ctx)->req, vcl_str(name), vcl_str(value)) == RC_OK;
}

static struct objm_str do_line(struct objm_ctx *ctx, enum objm_http http, enum objm_line line)
{
    CHECK(http == OBJM_REQ);
    CHECK(line == OBJM_URL);
    return vcl_objm_str(of(ctx)->req->url);
}

static bool do_digest(struct objm_ctx *ctx, uint8_t digest[32])
{
    memcpy(digest, of(ctx)->digest, 32);
    return of(ctx)->has_digest;
}

static bool do_ban(struct objm_ctx *ctx, struct objm_str spec, struct objm_str *error)
{
    (void)ctx;
    *error = OBJM_STR("Expected comparison operator");
    return spec.len > 10;
}

static bool do_healthy(struct objm_ctx *ctx, const struct objm_backend *be, double *changed)
{
    return vcl_backend_healthy(ctx, be, changed);
}

static const struct objm_backend *do_find(struct objm_ctx *ctx, struct objm_str name)
{
    return vcl_backend_find(of(ctx)->backends, vcl_str(name));
}

static struct objm_backend *do_director_new(struct objm_ctx *ctx, const struct objm_director *table,
                                            const char *name, void *arg)
{
    return vcl_director_add(of(ctx)->backends, name, table, arg);
}

static void do_director_free(struct objm_ctx *ctx, struct objm_backend *director)
{
    (void)ctx;
    vcl_director_remove(director);
}

static const struct objm_ops ops = {
    .bytes = sizeof ops,
    .alloc = do_alloc,
    .task_fail = do_fail,
    .log = do_log,
    .priv = do_priv,
    .offload = do_offload,
    .random = do_random,
    .http_has = do_has,
    .http_nth = do_nth,
    .http_set = do_set,
    .http_line = do_line,
    .digest = do_digest,
    .ban = do_ban,
    .backend_healthy = do_healthy,
    .backend_find = do_find,
    .director_new = do_director_new,
    .director_free = do_director_free,
};

static bool leaf_is_healthy(void *arg, void *leaf_, double *changed)
{
    (void)arg;
    const struct fake_leaf *leaf = leaf_;
    if (changed != NULL) {
        *changed = leaf->changed;
    }
    return !leaf->is_sick;
}

struct fake *fake_new(void)
{
    struct fake *f = xcalloc(1, sizeof *f);
    f->ctx = (struct objm_ctx){.ops = &ops, .where = OBJM_IN_RECV, .syntax = 41, .now = 1000};
    f->rng.state = 42;
    arena_init(&f->ws, f->block, sizeof f->block);
    f->req = http_new(&f->ws, 16);
    f->backends = vcl_backends_new("vcl1", leaf_is_healthy, NULL);
    return f;
}

void fake_end_task(struct fake *f)
{
    for (unsigned n = 0; n < FAKE_PRIVS; n++) {
        struct objm_priv *priv = &f->privs[n].priv;
        if (priv->ptr != NULL && priv->fini != NULL) {
            priv->fini(priv->ptr);
        }
    }
    memset(f->privs, 0, sizeof f->privs);
}

void fake_free(struct fake **f)
{
    fake_end_task(*f);
    vcl_backends_free(&(*f)->backends);
    XFREE(*f);
}

union objm_value fake_call(struct fake *f, const struct objm_func *func, void *self,
                           const union objm_value *args, uint32_t given)
{
    struct objm_priv priv_vcl = {0};
    struct objm_priv priv_call = {0};
    struct objm_call call = {.func = func,
                             .arg = args,
                             .given = given,
                             .self = self,
                             .instance = "x",
                             .priv_vcl = &priv_vcl,
                             .priv_call = &priv_call};
    func->fn(&f->ctx, &call);
    /* What a place keeps goes at once: each call here is a place of its own. */
    if (priv_call.fini != NULL) {
        CHECK(func->ret == OBJM_STRING);
        call.ret.string = vcl_objm_str(arena_dup(&f->ws, vcl_str(call.ret.string)));
        priv_call.fini(priv_call.ptr);
    }
    return call.ret;
}

static const struct objm_func *by_name(const struct objm_func *funcs, unsigned count,
                                       const char *name)
{
    for (unsigned n = 0; n < count; n++) {
        if (strcmp(funcs[n].name, name) == 0) {
            return &funcs[n];
        }
    }
    check_fail(__FILE__, __LINE__, name, "no such function");
}

const struct objm_func *fake_func(const struct objm_module *module, const char *name)
{
    return by_name(module->funcs, module->func_count, name);
}

const struct objm_func *fake_method(const struct objm_object *object, const char *name)
{
    return by_name(object->methods, object->method_count, name);
}

const struct objm_object *fake_object(const struct objm_module *module, const char *name)
{
    for (unsigned n = 0; n < module->object_count; n++) {
        if (strcmp(module->objects[n].name, name) == 0) {
            return &module->objects[n];
        }
    }
    check_fail(__FILE__, __LINE__, name, "no such object");
}

void *fake_object_new(struct fake *f, const struct objm_object *object, const char *name,
                      const union objm_value *args, uint32_t given)
{
    struct objm_priv priv = {0};
    struct objm_call call = {.func = &object->init,
                             .arg = args,
                             .given = given,
                             .instance = name,
                             .priv_vcl = &priv,
                             .priv_call = &priv};
    object->init.fn(&f->ctx, &call);
    return call.self;
}
