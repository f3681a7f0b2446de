/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The shard director: a key always leads to the same backend, as long as that one is there.
 *
 * The backends and their ring are one immutable, counted state; picking takes a reference and walks
 * without a lock.  Changes gather in a list (`wanted`) under the lock and become a new state by
 * reconfigure(), or at the end of the task that made them: that task leaves a note in its
 * PRIV_TASK, whose end does it. */
#include "vcl/mod_shard.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutex.h"
#include "vcl/director.h"
#include "vcl/members.h"
#include "vcl/mod_directors.h"
#include "vcl/value.h"

enum { SHARD_MAGIC = 0x58e1d0a7, REPLICAS = 67 };
enum { TRACE_LOOKUP = 1, TRACE_RING = 2 };

struct shard_state {
    _Atomic unsigned refs;
    unsigned count;
    struct shard_backend *backends;
    unsigned point_count;
    struct shard_point *points;
};

struct shard {
    uint32_t magic;
    char *name;
    pthread_mutex_t lock; /* now, wanted, doubles; held for moments */
    struct shard_state *now;
    struct shard_backend *wanted; /* replicas 0: new */
    unsigned wanted_count;
    /* Who was there already, to be told by .reconfigure(). */
    char **doubles;
    unsigned double_count;
    bool is_changed;
    _Atomic double warmup;
    _Atomic double rampup;
    _Atomic int64_t trace; /* TRACE_ bits */
    _Atomic(const struct shard_param *) param;
    struct objm_backend *self;
};

/* ---- states ---- */

static void free_backends(struct shard_backend *backends, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        free(backends[n].ident);
    }
    free(backends);
}

static struct shard_backend *copy_backends(const struct shard_backend *from, unsigned count)
{
    struct shard_backend *to = xcalloc(count + 1, sizeof *to);
    for (unsigned n = 0; n < count; n++) {
        to[n] = from[n];
        to[n].ident = from[n].ident == NULL ? NULL : xstrdup(from[n].ident);
        to[n].name = to[n].ident == NULL ? vcl_backend_name(to[n].backend) : to[n].ident;
    }
    return to;
}

static void state_release(struct shard_state **state_of)
{
    struct shard_state *state = *state_of;
    *state_of = NULL;
    if (atomic_fetch_sub_explicit(&state->refs, 1, memory_order_acq_rel) == 1) {
        free_backends(state->backends, state->count);
        free(state->points);
        free(state);
    }
}

static struct shard_state *state_ref(struct shard *shard)
{
    mutex_lock(&shard->lock);
    struct shard_state *state = shard->now;
    atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
    mutex_unlock(&shard->lock);
    return state;
}

static struct shard_state *state_new(struct shard_backend *take_backends, unsigned count)
{
    struct shard_state *state = xcalloc(1, sizeof *state);
    atomic_init(&state->refs, 1);
    state->backends = take_backends;
    state->count = count;
    return state;
}

/* ---- changes ---- */

static void trace_ring(struct objm_ctx *ctx, const struct shard_state *state)
{
    for (unsigned n = 0; n < state->point_count; n++) {
        char text[96];
        struct sb sb = sb_of(text, sizeof text);
        sb_printf(&sb, "vmod_directors: shard: hashcircle[%5u] = {point = %8x, host = %2u}\n", n,
                  state->points[n].at, state->points[n].host);
        objm_log(ctx, OBJM_LOG_DEBUG_ALONE, vcl_objm_str(sb_str(&sb)));
    }
}

/* Replaces the state by what is wanted.  RC_LIMIT: its ring would be too large. */
static enum rc reconfigure(struct shard *shard, uint32_t replicas)
{
    mutex_lock(&shard->lock);
    for (unsigned n = 0; n < shard->wanted_count; n++) {
        struct shard_backend *b = &shard->wanted[n];
        if (b->replicas == 0) {
            double scaled = replicas * b->weight;
            b->replicas = scaled < (double)UINT32_MAX ? (uint32_t)scaled : UINT32_MAX;
        }
    }
    unsigned count = shard->wanted_count;
    struct shard_backend *backends = copy_backends(shard->wanted, count);
    shard->is_changed = false;
    mutex_unlock(&shard->lock);

    struct shard_state *state = state_new(backends, count);
    enum rc rc = vcl__ring_make(backends, count, &state->points, &state->point_count);
    if (rc == RC_OK) {
        mutex_lock(&shard->lock);
        struct shard_state *old = shard->now;
        shard->now = state;
        mutex_unlock(&shard->lock);
        state = old;
    }
    state_release(&state);
    return rc;
}

/* The end of a task that changed something. */
static void at_task_end(void *ptr)
{
    struct shard *shard = ptr;
    CHECK_OBJ(shard, SHARD_MAGIC);
    mutex_lock(&shard->lock);
    bool is_changed = shard->is_changed;
    mutex_unlock(&shard->lock);
    if (is_changed) {
        (void)reconfigure(shard, REPLICAS);
    }
}

/* Sees to it that the task's changes become effective. */
static bool note_change(struct objm_ctx *ctx, struct shard *shard)
{
    struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, &shard->wanted);
    if (priv == NULL) {
        vcl__shard_fail(ctx, shard->name, "no priv_task");
        return false;
    }
    priv->ptr = shard;
    priv->fini = at_task_end;
    return true;
}

static struct shard *self_of(const struct objm_call *call)
{
    struct shard *shard = call->self;
    CHECK_OBJ(shard, SHARD_MAGIC);
    return shard;
}

/* Under the lock. */
static void note_double(struct shard *shard, const struct shard_backend *b)
{
    if (shard->double_count == SHARD_BACKENDS_MAX) {
        return;
    }
    char *text = xasprintf("%s%s%s", vcl_backend_name(b->backend), b->ident == NULL ? "" : "/",
                           b->ident == NULL ? "" : b->ident);
    shard->doubles = xrealloc(shard->doubles, (shard->double_count + 1) * sizeof *shard->doubles);
    shard->doubles[shard->double_count++] = text;
}

static void drop_doubles(struct shard *shard)
{
    for (unsigned n = 0; n < shard->double_count; n++) {
        free(shard->doubles[n]);
    }
    XFREE(shard->doubles);
    shard->double_count = 0;
}

/* Under the lock.  RC_EXISTS, RC_LIMIT. */
static enum rc want(struct shard *shard, const struct shard_backend *b)
{
    if (shard->wanted_count == SHARD_BACKENDS_MAX) {
        return RC_LIMIT;
    }
    for (unsigned n = 0; n < shard->wanted_count; n++) {
        const struct shard_backend *there = &shard->wanted[n];
        if (str_eq(str_of(there->name), str_of(b->name))) {
            note_double(shard, there);
            return RC_EXISTS;
        }
    }
    shard->wanted = xrealloc(shard->wanted, (shard->wanted_count + 1) * sizeof *shard->wanted);
    shard->wanted[shard->wanted_count++] = *b;
    shard->is_changed = true;
    return RC_OK;
}

void vcl__shard_add_backend(struct objm_ctx *ctx, struct objm_call *call)
{
    enum { BACKEND, IDENT, RAMPUP, WEIGHT };
    struct shard *shard = self_of(call);
    struct shard_backend b = {.backend = call->arg[BACKEND].backend, .rampup = -1, .weight = 1};
    if (b.backend == NULL) {
        vcl__shard_fail(ctx, shard->name, "None backend cannot be added");
        return;
    }
    if (objm_given(call, WEIGHT) && call->arg[WEIGHT].real >= 1) {
        b.weight = call->arg[WEIGHT].real;
    } else if (objm_given(call, WEIGHT)) {
        vcl__shard_log(ctx, OBJM_LOG_NOTICE, shard->name, ".add_backend(weight=%f) ignored",
                       call->arg[WEIGHT].real);
    }
    if (objm_given(call, RAMPUP)) {
        b.rampup = call->arg[RAMPUP].real;
    }
    if (objm_given(call, IDENT) && call->arg[IDENT].string.len > 0) {
        b.ident = str_dup(vcl_str(call->arg[IDENT].string));
    }
    b.name = b.ident == NULL ? vcl_backend_name(b.backend) : b.ident;
    enum rc rc = RC_CANCELLED;
    if (note_change(ctx, shard)) {
        mutex_lock(&shard->lock);
        rc = want(shard, &b);
        mutex_unlock(&shard->lock);
    }
    if (rc == RC_LIMIT) {
        vcl__shard_fail(ctx, shard->name, "too many backends");
    }
    if (rc != RC_OK) {
        free(b.ident);
    }
    call->ret.boolean = rc == RC_OK || rc == RC_EXISTS;
}

/* Takes out what matches; NULL and an unset ident match all. */
static void unwant(struct shard *shard, const struct objm_backend *backend, struct str ident)
{
    mutex_lock(&shard->lock);
    unsigned kept = 0;
    for (unsigned n = 0; n < shard->wanted_count; n++) {
        struct shard_backend *b = &shard->wanted[n];
        bool matches = (backend == NULL || b->backend == backend) &&
                       (ident.ptr == NULL || str_eq(str_of(b->name), ident));
        if (matches) {
            free(b->ident);
        } else {
            shard->wanted[kept++] = *b;
        }
    }
    shard->is_changed = true; /* that there was nothing to take out will be told, too */
    shard->wanted_count = kept;
    mutex_unlock(&shard->lock);
}

void vcl__shard_remove_backend(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard *shard = self_of(call);
    const struct objm_backend *backend = call->arg[0].backend;
    struct str ident = vcl_str(call->arg[1].string);
    if (backend == NULL && ident.ptr == NULL) {
        vcl__shard_fail(ctx, shard->name,
                        ".remove_backend(): either backend or ident are required");
        return;
    }
    if (note_change(ctx, shard)) {
        unwant(shard, backend, ident);
        call->ret.boolean = true;
    }
}

void vcl__shard_clear(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard *shard = self_of(call);
    if (note_change(ctx, shard)) {
        unwant(shard, NULL, STR_NONE);
        mutex_lock(&shard->lock);
        drop_doubles(shard);
        mutex_unlock(&shard->lock);
        call->ret.boolean = true;
    }
}

static void tell_doubles(struct objm_ctx *ctx, struct shard *shard)
{
    mutex_lock(&shard->lock);
    char **doubles = shard->doubles;
    unsigned count = shard->double_count;
    shard->doubles = NULL;
    shard->double_count = 0;
    mutex_unlock(&shard->lock);
    for (unsigned n = 0; n < count; n++) {
        vcl__shard_log(ctx, OBJM_LOG_NOTICE, shard->name, "backend %s already exists - skipping",
                       doubles[n]);
        free(doubles[n]);
    }
    free(doubles);
}

void vcl__shard_reconfigure(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard *shard = self_of(call);
    int64_t replicas = call->arg[0].integer;
    if (replicas <= 0 || replicas > UINT32_MAX) {
        vcl__shard_log(ctx, OBJM_LOG_ERROR, shard->name,
                       ".reconfigure() invalid replicas argument %jd", (intmax_t)replicas);
        return;
    }
    tell_doubles(ctx, shard);
    mutex_lock(&shard->lock);
    bool is_changed = shard->is_changed;
    bool is_empty = shard->wanted_count == 0;
    mutex_unlock(&shard->lock);
    if (is_changed && reconfigure(shard, (uint32_t)replicas) != RC_OK) {
        vcl__shard_log(ctx, OBJM_LOG_ERROR, shard->name, ".reconfigure() too many replicas");
        return;
    }
    if (is_changed && is_empty) {
        vcl__shard_log(ctx, OBJM_LOG_ERROR, shard->name, ".reconfigure() no backends");
        return;
    }
    if (is_changed && (atomic_load(&shard->trace) & TRACE_RING) != 0) {
        struct shard_state *state = state_ref(shard);
        trace_ring(ctx, state);
        state_release(&state);
    }
    call->ret.boolean = true;
}

void vcl__shard_set_warmup(struct objm_ctx *ctx, struct objm_call *call)
{
    double share = call->arg[0].real;
    if (!(share >= 0 && share < 1)) {
        vcl__shard_log(ctx, OBJM_LOG_NOTICE, call->instance, ".set_warmup(%f) ignored", share);
        return;
    }
    atomic_store(&self_of(call)->warmup, share);
}

void vcl__shard_set_rampup(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    atomic_store(&self_of(call)->rampup, call->arg[0].real);
}

void vcl__shard_associate(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_blob blob = call->arg[0].blob;
    const struct shard_param *param =
        blob.ptr == NULL ? &vcl__shard_defaults : vcl__param_of_blob(blob);
    if (param == NULL) {
        vcl__shard_fail(ctx, call->instance, "shard .associate param invalid");
        return;
    }
    atomic_store(&self_of(call)->param, param);
}

/* ---- picking ---- */

struct asking {
    struct objm_ctx *ctx;
    const struct shard_state *state;
};

static bool ask(void *arg, unsigned host, double *changed)
{
    const struct asking *a = arg;
    return vcl_backend_healthy(a->ctx, a->state->backends[host].backend, changed);
}

static double rampup_of(struct shard *shard, const struct shard_state *state, int host)
{
    double own = state->backends[host].rampup;
    return own >= 0 ? own : atomic_load(&shard->rampup);
}

/* Whether the alternative (walk->last) takes this request from the chosen one (walk->previous). */
static bool gives_way(struct objm_ctx *ctx, struct shard *shard, const struct shard_state *state,
                      const struct shard_walk *walk, const struct shard_param *p, double warmup)
{
    double chosen_for = ctx->now - walk->previous.changed;
    double other_for = ctx->now - walk->last.changed;
    double chosen_rampup = rampup_of(shard, state, walk->previous.host);
    double other_rampup = rampup_of(shard, state, walk->last.host);
    if (chosen_for < chosen_rampup) {
        return p->rampup && other_for >= other_rampup &&
               objm_random(ctx) * chosen_rampup >= chosen_for;
    }
    return warmup > 0 && objm_random(ctx) <= warmup;
}

static int64_t limit_alt(struct objm_ctx *ctx, const struct shard *shard, int64_t alt,
                         unsigned count)
{
    if (alt < (int64_t)count) {
        return alt;
    }
    vcl__shard_log(ctx, OBJM_LOG_ERROR, shard->name, "parameter alt=%jd limited to %u",
                   (intmax_t)alt, count - 1);
    return (int64_t)count - 1;
}

/* The index of the backend for merged parameters; -1: none. */
static int pick_host(struct objm_ctx *ctx, struct shard *shard, const struct shard_state *state,
                     struct shard_walk *walk, const struct shard_param *p)
{
    int64_t alt = limit_alt(ctx, shard, p->alt, state->count);
    uint32_t key = vcl__param_key(ctx, p);
    vcl__walk_start(walk, key);
    if ((atomic_load_explicit(&shard->trace, memory_order_relaxed) & TRACE_LOOKUP) != 0) {
        objm_log(ctx, OBJM_LOG_DEBUG_ALONE,
                 objm_printf(ctx, "vmod_directors: shard: lookup key %x idx %u host %u", key,
                             walk->at, walk->points[walk->at].host));
    }
    bool found = alt == 0 || vcl__walk_next(walk, alt - 1, p->healthy == SHARD_ALL);
    found = found && vcl__walk_next(walk, 0, p->healthy != SHARD_IGNORE);
    if (!found) {
        return walk->previous.host;
    }
    int chosen = walk->last.host;
    double warmup = p->warmup < 0 ? atomic_load(&shard->warmup) : p->warmup;
    if (alt > 0 || p->healthy == SHARD_IGNORE || (!p->rampup && !(warmup > 0)) ||
        !vcl__walk_next(walk, 0, true)) {
        return chosen;
    }
    return gives_way(ctx, shard, state, walk, p, warmup) ? walk->last.host : chosen;
}

static const struct objm_backend *pick(struct objm_ctx *ctx, struct shard *shard,
                                       const struct shard_param *p)
{
    struct shard_state *state = state_ref(shard);
    const struct objm_backend *backend = NULL;
    if (state->count == 0) {
        vcl__shard_log(ctx, OBJM_LOG_ERROR, shard->name, "no backends");
    } else {
        struct asking asking = {ctx, state};
        struct shard_walk walk = {.points = state->points,
                                  .point_count = state->point_count,
                                  .host_count = state->count,
                                  .health = ask,
                                  .arg = &asking};
        int host = pick_host(ctx, shard, state, &walk, p);
        backend = host < 0 ? NULL : state->backends[host].backend;
    }
    state_release(&state);
    return backend;
}

static const struct objm_backend *shard_resolve(struct objm_ctx *ctx, void *arg)
{
    struct shard *shard = arg;
    CHECK_OBJ(shard, SHARD_MAGIC);
    const struct shard_param *own = atomic_load(&shard->param);
    struct shard_param p = vcl__param_merged(vcl__param_of_task(ctx, shard, own));
    return pick(ctx, shard, &p);
}

static bool shard_is_healthy(struct objm_ctx *ctx, void *arg, double *changed)
{
    struct shard_state *state = state_ref(arg);
    double latest = 0;
    bool is_healthy = false;
    for (unsigned n = 0; n < state->count && !is_healthy; n++) {
        double when;
        is_healthy = vcl_backend_healthy(ctx, state->backends[n].backend, &when);
        latest = when > latest ? when : latest;
    }
    if (changed != NULL) {
        *changed = latest;
    }
    state_release(&state);
    return is_healthy;
}

static void shard_count(void *arg, unsigned *healthy, unsigned *total)
{
    struct shard_state *state = state_ref(arg);
    *healthy = 0;
    for (unsigned n = 0; n < state->count; n++) {
        *healthy += vcl_backend_healthy(NULL, state->backends[n].backend, NULL);
    }
    *total = state->count;
    state_release(&state);
}

static void list_one(const struct shard_backend *b, bool is_json, objm_out_fn *out, void *out_arg)
{
    const char *health = vcl_backend_healthy(NULL, b->backend, NULL) ? "healthy" : "sick";
    const char *name = vcl_backend_name(b->backend);
    if (is_json) {
        vcl__out(out, out_arg, "\"%s\": {\n\"ident\": \"%s\",\n\"health\": \"%s\"\n}", name,
                 b->name, health);
    } else {
        vcl__out(out, out_arg, "\t%s\t%s\t%s\n", name, b->name, health);
    }
}

static void shard_list(void *arg, bool is_json, objm_out_fn *out, void *out_arg)
{
    struct shard *shard = arg;
    struct shard_state *state = state_ref(shard);
    if (is_json) {
        vcl__out(out, out_arg, "{\n\"warmup\": %f,\n\"rampup_duration\": %f,\n\"backends\": {\n",
                 atomic_load(&shard->warmup), atomic_load(&shard->rampup));
    } else {
        vcl__out(out, out_arg, "\n\n\tBackend\tIdent\tHealth\n");
    }
    for (unsigned n = 0; n < state->count; n++) {
        if (is_json && n > 0) {
            vcl__out(out, out_arg, ",\n");
        }
        list_one(&state->backends[n], is_json, out, out_arg);
    }
    if (is_json) {
        vcl__out(out, out_arg, "\n}\n}");
    }
    state_release(&state);
}

static const struct objm_director shard_director = {
    .type = "shard",
    .resolve = shard_resolve,
    .is_healthy = shard_is_healthy,
    .count = shard_count,
    .list = shard_list,
};

/* ---- the object ---- */

void vcl__shard_init(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard *shard = xcalloc(1, sizeof *shard);
    shard->magic = SHARD_MAGIC;
    shard->name = xstrdup(call->instance);
    mutex_init(&shard->lock);
    shard->now = state_new(NULL, 0);
    atomic_init(&shard->param, &vcl__shard_defaults);
    shard->self = objm_director_new(ctx, &shard_director, call->instance, shard);
    call->self = shard;
}

void vcl__shard_fini(struct objm_ctx *ctx, void *self)
{
    struct shard *shard = self;
    CHECK_OBJ(shard, SHARD_MAGIC);
    objm_director_free(ctx, shard->self);
    state_release(&shard->now);
    free_backends(shard->wanted, shard->wanted_count);
    drop_doubles(shard);
    mutex_fini(&shard->lock);
    XFREE(shard->name);
    shard->magic = 0;
    free(shard);
}

void vcl__shard_key(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_str text = objm_join(ctx, call->arg[0].strands);
    call->ret.integer = vcl__hash32(&text, 1);
}

void vcl__shard_debug(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    atomic_store(&self_of(call)->trace, call->arg[0].integer);
}

/* Arguments for a choice that is made later: they go to the fetch's own parameters. */
static void backend_lazy(struct objm_ctx *ctx, struct objm_call *call, struct shard *shard)
{
    uint32_t args = call->given;
    if ((args & ~(uint32_t)ARG_RESOLVE) != 0) {
        if (!vcl__shard_is_fetch(ctx)) {
            vcl__shard_fail(ctx, shard->name,
                            ".backend(resolve=LAZY) with other parameters can only be used in "
                            "backend/pipe context");
            return;
        }
        struct shard_param *p = vcl__param_for_task(ctx, shard, atomic_load(&shard->param));
        if (p == NULL) {
            return;
        }
        if ((args & ARG_PARAM) != 0) {
            p->defaults = vcl__param_of_blob(call->arg[7].blob);
        }
        if (p->defaults == NULL) {
            p->defaults = &vcl__shard_defaults;
            vcl__shard_fail(ctx, shard->name, ".backend(key_blob) param invalid");
            return;
        }
        if (!vcl__param_take(ctx, call, "shard.backend()", args & ARGS_SET, p)) {
            return;
        }
    }
    call->ret.backend = shard->self;
}

static void backend_now(struct objm_ctx *ctx, struct objm_call *call, struct shard *shard)
{
    if ((ctx->where & OBJM_IN_HOUSE) != 0) {
        vcl__shard_fail(ctx, shard->name,
                        ".backend(resolve=NOW) can not be used in vcl_init{}/vcl_fini{}");
        return;
    }
    struct shard_param p = {.magic = SHARD_PARAM_MAGIC, .scope = SCOPE_TASK, .name = shard->name};
    p.defaults = vcl__param_of_task(ctx, shard, atomic_load(&shard->param));
    if ((call->given & ARG_PARAM) != 0) {
        p.defaults = vcl__param_of_blob(call->arg[7].blob);
        if (p.defaults == NULL) {
            vcl__shard_fail(ctx, shard->name, ".backend(key_blob) param invalid");
            return;
        }
    }
    if (vcl__param_take(ctx, call, "shard.backend()", call->given & ARGS_SET, &p)) {
        p = vcl__param_merged(&p);
        call->ret.backend = pick(ctx, shard, &p);
    }
}

void vcl__shard_backend(struct objm_ctx *ctx, struct objm_call *call)
{
    enum { RESOLVE = 8, RESOLVE_LAZY = 1 };
    struct shard *shard = self_of(call);
    bool is_lazy = (ctx->where & OBJM_IN_HOUSE) != 0;
    if (objm_given(call, RESOLVE)) {
        is_lazy = call->arg[RESOLVE].choice == RESOLVE_LAZY;
    }
    if (is_lazy) {
        backend_lazy(ctx, call, shard);
    } else {
        backend_now(ctx, call, shard);
    }
}
