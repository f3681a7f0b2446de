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
 *         add_vdp(example.mask("secret"));      (or without a text: add_vdp(upper);)
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

/* ---- filters ---- */

/* What every such filter does: takes as much as there is room for. */
static enum objm_filter_rc each_byte(struct objm_filter_io *io, char (*change)(char))
{
    while (io->in_len > 0 && io->room > 0) {
        *io->out++ = change(*io->in++);
        io->in_len--;
        io->room--;
    }
    return io->is_end && io->in_len == 0 ? OBJM_FILTER_END : OBJM_FILTER_OK;
}

static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static enum objm_filter_rc upper_step(void *self, struct objm_filter_io *io)
{
    (void)self;
    return each_byte(io, to_upper);
}

static char rotate(char c)
{
    char first = c >= 'a' && c <= 'z' ? 'a' : c >= 'A' && c <= 'Z' ? 'A' : '\0';
    return first == '\0' ? c : (char)(first + (c - first + 13) % 26);
}

static enum objm_filter_rc unrot13_step(void *self, struct objm_filter_io *io)
{
    (void)self;
    return each_byte(io, rotate);
}

/* One with a state: stars for a word, also where pieces of the body divide it. */
struct mask {
    const struct objm_str *word; /* the candidate's */
    size_t matched;              /* bytes of it that are held back */
    size_t put;                  /* and of those, already put out again */
    bool is_masked;
};

static enum objm_filter_rc mask_begin(void *self, const struct objm_filter_env *env)
{
    struct mask *m = self;
    m->word = env->arg;
    if (m->word == NULL || m->word->len == 0) {
        (void)snprintf(env->error, env->error_bytes, "mask wants a word");
        return OBJM_FILTER_BROKEN;
    }
    return OBJM_FILTER_OK;
}

/* Puts out what is held back.  False: there was no room for all of it. */
static bool mask_flush(struct mask *m, struct objm_filter_io *io)
{
    while (m->put < m->matched && io->room > 0) {
        *io->out++ = m->is_masked ? '*' : m->word->ptr[m->put];
        m->put++;
        io->room--;
    }
    if (m->put < m->matched) {
        return false;
    }
    m->matched = 0;
    m->put = 0;
    m->is_masked = false;
    return true;
}

static enum objm_filter_rc mask_step(void *self, struct objm_filter_io *io)
{
    struct mask *m = self;
    bool holds = m->matched > 0 && !m->is_masked && m->put == 0;
    while (io->in_len > 0) {
        if (!holds && !mask_flush(m, io)) {
            return OBJM_FILTER_OK;
        }
        if (*io->in == m->word->ptr[m->matched]) {
            io->in++;
            io->in_len--;
            m->matched++;
            m->is_masked = m->matched == m->word->len;
            holds = !m->is_masked;
        } else if (m->matched > 0) {
            holds = false; /* an example: a word that begins in another's begin is not found */
        } else if (io->room > 0) {
            *io->out++ = *io->in++;
            io->in_len--;
            io->room--;
        } else {
            return OBJM_FILTER_OK;
        }
    }
    bool is_flushed = (holds && !io->is_end) || mask_flush(m, io);
    return io->is_end && is_flushed ? OBJM_FILTER_END : OBJM_FILTER_OK;
}

#define BOTH_SIDES (OBJM_FILTER_IS_VFP | OBJM_FILTER_IS_VDP)

static const struct objm_filter upper = {
    .name = "upper",
    .in = "text,plain,none",
    .out = "text,plain,none",
    .flags = BOTH_SIDES | OBJM_FILTER_KEEPS_FORMAT,
    .step = upper_step,
    .doc = "Letters become large ones.",
};

/* It may fill gaps: who wants text gets it also from an answer with Content-Encoding: rot13. */
static const struct objm_filter unrot13 = {
    .name = "unrot13",
    .in = "rot13",
    .out = "text,plain,none",
    .recommended = OBJM_POS_STEVEDORE,
    .flags = OBJM_FILTER_IS_VFP | OBJM_FILTER_FILLS,
    .step = unrot13_step,
    .doc = "Each letter becomes the one 13 places on.",
};

static const struct objm_filter mask_filter = {
    .name = "mask",
    .in = "text,plain,none",
    .out = "text,plain,none",
    .flags = BOTH_SIDES | OBJM_FILTER_KEEPS_FORMAT,
    .bytes = sizeof(struct mask),
    .begin = mask_begin,
    .step = mask_step,
    .doc = "Stars for a word.",
};

static const struct objm_filter *const filters[] = {&upper, &unrot13, &mask_filter};

static void mask(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_str *word = objm_alloc(ctx, sizeof *word);
    const char *copy = objm_cstr(ctx, call->arg[0].string);
    if (word == NULL || copy == NULL) {
        return;
    }
    *word = (struct objm_str){copy, call->arg[0].string.len};
    call->ret.filter = objm_candidate(ctx, &mask_filter, word);
}

static const struct objm_arg mask_args[] = {{OBJM_ARG(STRING, "word")}};
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
    {.name = "mask",
     .ret = OBJM_VDP,
     .fn = mask,
     OBJM_ARGS(mask_args),
     .where = OBJM_IN_DELIVER,
     .doc = "The filter that puts stars for a word."},
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
    OBJM_FILTERS(filters),
    .event = event,
};

OBJM_EXPORT(example);
