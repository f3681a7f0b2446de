/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A module of VCL in a file of its own, built against the installed headers and nothing else:
 *
 *     cc -std=c11 -shared -fPIC -I PREFIX/include -o libvmod_example.so example.c
 *
 *     import example from "libvmod_example.so";     (found along the parameter vmod_path)
 *     sub vcl_init { new hits = example.counter(); }
 *     sub vcl_deliver {
 *         set resp.http.greeting = example.greet("reader");
 *         set resp.http.count = hits.next();
 *     }
 */
#include <objmapper/module.h>

#include <stdatomic.h>
#include <stdlib.h>

/* ---- functions ---- */

static void greet(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_str who = call->arg[0].string;
    call->ret.string = objm_printf(ctx, "Hello, %.*s!", (int)who.len, who.ptr);
}

/* Text of a workspace goes with its request, so what is remembered in PRIV_TASK may be a pointer to
 * it.  The key is any address of our own. */
static const char first_key = 0;

static void first(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, &first_key);
    if (priv == NULL) {
        return; /* the workspace is full, and the task has failed */
    }
    if (priv->ptr == NULL) {
        const char *copy = objm_cstr(ctx, call->arg[0].string);
        priv->ptr = (void *)(uintptr_t)copy;
        priv->len = call->arg[0].string.len;
    }
    call->ret.string = (struct objm_str){priv->ptr, priv->ptr == NULL ? 0 : priv->len};
}

static void half(struct objm_ctx *ctx, struct objm_call *call)
{
    static const int64_t parts[] = {1, 2, 4}; /* as in `values` below */
    int64_t by = parts[call->arg[1].choice];
    if (call->arg[0].integer % by != 0) {
        objm_fail(ctx, OBJM_STR("example.half(): the number cannot be divided"));
        return;
    }
    call->ret.integer = call->arg[0].integer / by;
}

static const struct objm_arg greet_args[] = {{OBJM_ARG(STRING, "name"), .def = "\"world\""}};
static const struct objm_arg first_args[] = {{OBJM_ARG(STRING, "text")}};
static const struct objm_arg half_args[] = {
    {OBJM_ARG(INT, "number")},
    {OBJM_ARG(ENUM, "by"), .values = "ONE TWO FOUR", .def = "TWO"},
};

static const struct objm_func funcs[] = {
    {.name = "greet",
     .ret = OBJM_STRING,
     .fn = greet,
     OBJM_ARGS(greet_args),
     .doc = "A greeting for somebody."},
    {.name = "first",
     .ret = OBJM_STRING,
     .fn = first,
     OBJM_ARGS(first_args),
     .doc = "The text of the task's first call, whatever the text of this one."},
    {.name = "half",
     .ret = OBJM_INT,
     .fn = half,
     OBJM_ARGS(half_args),
     .where = OBJM_IN_CLIENT,
     .doc = "A part of a number; the task fails when it is no whole number. On the client's side "
            "only."},
};

/* ---- an object ---- */

/* All loops call next() at the same time. */
struct counter {
    _Atomic int64_t value;
};

static void counter_init(struct objm_ctx *ctx, struct objm_call *call)
{
    struct counter *c = calloc(1, sizeof *c);
    if (c == NULL) {
        objm_fail(ctx, OBJM_STR("example.counter(): out of memory"));
        return;
    }
    atomic_init(&c->value, call->arg[0].integer);
    call->self = c;
}

static void counter_fini(struct objm_ctx *ctx, void *self)
{
    (void)ctx;
    free(self);
}

static void counter_next(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    struct counter *c = call->self;
    call->ret.integer = atomic_fetch_add(&c->value, 1);
}

static const struct objm_arg counter_args[] = {{OBJM_ARG(INT, "start"), .def = "1"}};
static const struct objm_func counter_methods[] = {
    {.name = "next", .ret = OBJM_INT, .fn = counter_next, .doc = "The next number."},
};

static const struct objm_object objects[] = {
    {.name = "counter",
     .init = {.fn = counter_init, OBJM_ARGS(counter_args)},
     .fini = counter_fini,
     OBJM_METHODS(counter_methods),
     .doc = "Counts up, over all requests."},
};

/* ---- events ---- */

static void event(struct objm_ctx *ctx, struct objm_priv *priv_vcl, enum objm_event what)
{
    if (what == OBJM_EVENT_LOAD) {
        objm_log(ctx, OBJM_LOG_DEBUG, OBJM_STR("example: loaded"));
        priv_vcl->ptr = malloc(1);
        priv_vcl->fini = free;
    }
}

static const struct objm_module example = {
    OBJM_ABI,
    .name = "example",
    .title = "an example of a module",
    .doc = "What a module can consist of, and no more.",
    OBJM_FUNCS(funcs),
    OBJM_OBJECTS(objects),
    .event = event,
};

OBJM_EXPORT(example);
