/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Many VCLs at once.
 *
 * The main thread owns the list.  Which VCL is in use, each loop knows by itself: the main thread
 * posts a change to all loops, and waits.  A loop counts its own uses of each VCL, so that no two
 * loops write the same word; once every loop has heard of a change, uses of the former VCL can only
 * end.  So whoever finds all counts at zero after that may take the VCL apart.
 *
 * A label is followed at the moment when it is used.  Loops read where it points and pin what they
 * find without suspending in between; so a label that was moved is like a VCL that is not in use
 * any more: once every loop has heard, what it pointed at before is pinned through it no more.
 *
 *     label <-- VCLs that return to it (`labels` of the label)
 *       |
 *       +--> VCL (`labels` of the VCL: labels that point at it)
 *
 * What is discarded leaves the names at once, and the list when nothing points at it, it is not in
 * use, and no request or fetch goes on in it. */
#include "engine/vcls.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/sema.h"
#include "engine/task.h"

#define HOUSE_WS_BYTES ((size_t)256 << 10)

/* ---- uses ---- */

/* A VCL itself, or what a label points at. */
static struct loaded *follow(struct loaded *loaded)
{
    struct loaded *target = atomic_load_explicit(&loaded->target, memory_order_acquire);
    return target == NULL ? loaded : target;
}

struct loaded *vcls__pin_label(struct loaded *label)
{
    CHECK_OBJ(label, LOADED_MAGIC);
    struct loaded *loaded = follow(label);
    CHECK(loaded != label);
    vcls__pin_again(loaded);
    return loaded;
}

struct loaded *vcls__pin(struct wrk *wrk)
{
    if (wrk->active == NULL) {
        return NULL;
    }
    struct loaded *loaded = follow(wrk->active);
    vcls__pin_again(loaded);
    return loaded;
}

void vcls__pin_again(struct loaded *loaded)
{
    CHECK_OBJ(loaded, LOADED_MAGIC);
    _Atomic uint32_t *busy = &loaded->use[loop_index(loop_self())].busy;
    uint32_t now = atomic_load_explicit(busy, memory_order_relaxed);
    atomic_store_explicit(busy, now + 1, memory_order_relaxed);
}

void vcls__unpin(struct loaded **loaded_of)
{
    struct loaded *loaded = *loaded_of;
    *loaded_of = NULL;
    CHECK_OBJ(loaded, LOADED_MAGIC);
    _Atomic uint32_t *busy = &loaded->use[loop_index(loop_self())].busy;
    uint32_t now = atomic_load_explicit(busy, memory_order_relaxed);
    CHECK(now > 0);
    /* Release: what was done with the VCL is done before it is taken apart. */
    atomic_store_explicit(busy, now - 1, memory_order_release);
}

static uint32_t busy_of(const struct loaded *loaded)
{
    uint32_t sum = 0;
    unsigned loops = run_loops(loaded->engine->conf.run);
    for (unsigned i = 0; i < loops; i++) {
        sum += atomic_load_explicit(&loaded->use[i].busy, memory_order_acquire);
    }
    return sum;
}

/* ---- telling the loops ---- */

struct change {
    struct post post;
    struct engine *engine;
    sem_t *done;
};

static void change_on_loop(struct post *post, struct loop *loop)
{
    struct change *change = CONTAINER_OF(post, struct change, post);
    struct wrk *wrk = loop_slot(loop, change->engine->slot);
    if (wrk != NULL) {
        wrk->active = change->engine->active;
    }
    sema_post(change->done);
}

/* Every loop has done its part when this returns. */
static void tell_loops(struct engine *engine)
{
    if (!engine->is_running) {
        return;
    }
    unsigned loops = run_loops(engine->conf.run);
    struct change *changes = xcalloc(loops, sizeof *changes);
    sem_t done;
    sema_init(&done);
    for (unsigned i = 0; i < loops; i++) {
        changes[i] =
            (struct change){.post = {.fn = change_on_loop}, .engine = engine, .done = &done};
        loop_post(run_loop(engine->conf.run, i), &changes[i].post);
    }
    for (unsigned i = 0; i < loops; i++) {
        sema_wait(&done);
    }
    sema_fini(&done);
    free(changes);
}

/* ---- the list ---- */

static struct loaded *find(struct engine *engine, const char *name)
{
    LIST_FOREACH (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        if (!l->is_discarded && strcmp(l->name, name) == 0) {
            return l;
        }
    }
    return NULL;
}

static bool is_label(const struct loaded *l)
{
    return l->vcl == NULL;
}

static void *label_ref(void *arg, const char *name)
{
    const struct loaded *self = arg;
    struct loaded *label = find(self->engine, name);
    if (label == NULL || !is_label(label)) {
        return NULL;
    }
    label->labels++;
    return label;
}

static void label_release(void *arg, void *ref)
{
    (void)arg;
    struct loaded *label = ref;
    CHECK_OBJ(label, LOADED_MAGIC);
    CHECK(label->labels > 0);
    label->labels--;
}

/* A gauge each of what is there, of what has a name, and of what has lost it. */
static void count(struct engine *engine)
{
    unsigned all = 0;
    unsigned discarded = 0;
    LIST_FOREACH (node, &engine->vcls) {
        const struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        all += !is_label(l);
        discarded += !is_label(l) && l->is_discarded;
    }
    struct vsc_main *main = engine->conf.main;
    vsc_set(&main->n_vcl, all);
    vsc_set(&main->n_vcl_avail, all - discarded);
    vsc_set(&main->n_vcl_discard, discarded);
}

static struct loaded *loaded_new(struct engine *engine, const char *name, const char *state)
{
    unsigned loops = run_loops(engine->conf.run);
    size_t bytes = sizeof(struct loaded) + loops * sizeof(struct loaded_use);
    struct loaded *l = xaligned(64, (bytes + 63) & ~(size_t)63);
    memset(l, 0, bytes);
    l->magic = LOADED_MAGIC;
    l->engine = engine;
    l->name = xstrdup(name);
    l->state = state;
    list_init(&l->link);
    return l;
}

static enum rc set_warm(struct loaded *l, bool is_warm, char **message)
{
    l->cools_ns = 0;
    if (l->is_warm == is_warm) {
        return RC_OK;
    }
    enum rc rc = vcl_set_warm(l->vcl, is_warm, message);
    l->is_warm = rc == RC_OK ? is_warm : l->is_warm;
    return rc;
}

static void set_cold(struct loaded *l)
{
    char *message = NULL;
    enum rc rc = set_warm(l, false, &message);
    /* A module may refuse to become warm, not cold. */
    (void)rc;
    free(message);
}

/* Whether requests can begin with it, or be sent to it. */
static bool is_held(const struct loaded *l)
{
    return l == l->engine->active || l->labels > 0;
}

static void cool_later(struct loaded *l)
{
    if (strcmp(l->state, "auto") == 0 && l->is_warm && l->cools_ns == 0 && !is_held(l)) {
        uint64_t wait_ns = param(l->engine->conf.params, vcl_cooldown);
        l->cools_ns = clock_after(clock_mono_ns(), wait_ns);
    }
}

static void loaded_free(struct loaded **loaded_of)
{
    struct loaded *l = *loaded_of;
    *loaded_of = NULL;
    CHECK_OBJ(l, LOADED_MAGIC);
    CHECK(l->labels == 0);
    list_remove(&l->link);
    struct loaded *target = atomic_load_explicit(&l->target, memory_order_relaxed);
    if (target != NULL) {
        target->labels--;
        cool_later(target);
    }
    if (l->vcl != NULL) {
        if (l->engine->is_running) {
            set_cold(l);
        }
        vcl_unload(&l->vcl);
    }
    regex_scratch_free(&l->env.scratch);
    free(l->ws_mem);
    free(l->name);
    l->magic = 0;
    free(l);
}

static const char *state_of(struct str word)
{
    return str_eq(word, STR("warm")) ? "warm" : str_eq(word, STR("cold")) ? "cold" : "auto";
}

static enum rc load(struct loaded *l, struct vcl_program *prog, bool is_warm, char **message)
{
    struct engine *engine = l->engine;
    l->ws_mem = xmalloc(HOUSE_WS_BYTES);
    arena_init(&l->ws, l->ws_mem, HOUSE_WS_BYTES);
    l->env = task__env;
    l->env.label = label_ref;
    l->env.unlabel = label_release;
    l->env.arg = l;
    l->env.ws = &l->ws;
    l->env.scratch = regex_scratch_new();
    regex_scratch_limits(l->env.scratch, (uint32_t)param(engine->conf.params, pcre2_match_limit),
                         (uint32_t)param(engine->conf.params, pcre2_depth_limit));
    l->env.rng = &engine->house_rng;
    l->env.series = &engine->series;
    l->env.log = engine->conf.log;
    enum rc rc = vcl_load(prog, l->name, &l->env, &l->vcl, message);
    if (rc == RC_OK && is_warm) {
        free(*message);
        *message = NULL;
        rc = set_warm(l, true, message);
    }
    return rc;
}

enum rc engine_vcl_load(struct engine *engine, const struct engine_vcl_load *what, char **message)
{
    *message = NULL;
    if (find(engine, what->name) != NULL) {
        return RC_EXISTS;
    }
    struct loaded *l = loaded_new(engine, what->name, state_of(what->state));
    enum rc rc = load(l, what->prog, what->is_warm, message);
    if (rc != RC_OK) {
        loaded_free(&l);
        return rc;
    }
    list_push_back(&engine->vcls, &l->link);
    cool_later(l);
    count(engine);
    return RC_OK;
}

enum rc engine_vcl_use(struct engine *engine, const char *name, char **message)
{
    *message = NULL;
    struct loaded *l = find(engine, name);
    if (l == NULL) {
        return RC_NOT_FOUND;
    }
    enum rc rc = set_warm(follow(l), true, message);
    if (rc != RC_OK) {
        return rc;
    }
    struct loaded *before = engine->active;
    engine->active = l;
    tell_loops(engine);
    if (before != NULL) {
        cool_later(follow(before));
    }
    return RC_OK;
}

enum rc engine_vcl_discard(struct engine *engine, const char *name)
{
    struct loaded *l = find(engine, name);
    if (l == NULL) {
        return RC_NOT_FOUND;
    }
    if (l == engine->active) {
        engine->active = NULL;
        tell_loops(engine);
    }
    l->is_discarded = true;
    engine_vcl_poll(engine);
    return RC_OK;
}

/* Makes it point there.  What it pointed at is used through it no more when this returns. */
static void point(struct loaded *label, struct loaded *target)
{
    struct loaded *before = atomic_load_explicit(&label->target, memory_order_relaxed);
    target->labels++;
    atomic_store_explicit(&label->target, target, memory_order_release);
    if (before != NULL) {
        tell_loops(label->engine);
        before->labels--;
        cool_later(before);
    }
}

enum rc engine_vcl_label(struct engine *engine, const char *name, const char *to, char **message)
{
    *message = NULL;
    struct loaded *target = find(engine, to);
    struct loaded *label = find(engine, name);
    if (target == NULL || is_label(target) || (label != NULL && !is_label(label))) {
        return RC_NOT_FOUND;
    }
    enum rc rc = set_warm(target, true, message);
    if (rc != RC_OK) {
        return rc;
    }
    if (label == NULL) {
        label = loaded_new(engine, name, "label");
        list_push_back(&engine->vcls, &label->link);
    }
    point(label, target);
    return RC_OK;
}

enum rc engine_vcl_state(struct engine *engine, const char *name, struct str state, char **message)
{
    *message = NULL;
    struct loaded *l = find(engine, name);
    if (l == NULL || is_label(l)) {
        return RC_NOT_FOUND;
    }
    const char *now = state_of(state);
    enum rc rc = strcmp(now, "warm") == 0 ? set_warm(l, true, message) : RC_OK;
    if (rc == RC_OK) {
        l->state = now;
    }
    if (strcmp(now, "cold") == 0 && l->is_warm) {
        /* When the last request has left. */
        l->cools_ns = 1;
        engine_vcl_poll(engine);
    } else if (rc == RC_OK) {
        l->cools_ns = 0;
        cool_later(l);
    }
    return rc;
}

/* Whether one went: others may have waited for it. */
static bool free_discarded(struct engine *engine)
{
    bool is_any = false;
    LIST_FOREACH_SAFE (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        if (l->is_discarded && !is_held(l) && busy_of(l) == 0) {
            loaded_free(&l);
            is_any = true;
        }
    }
    return is_any;
}

void engine_vcl_poll(struct engine *engine)
{
    uint64_t now_ns = clock_mono_ns();
    while (free_discarded(engine)) {
    }
    LIST_FOREACH (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        bool is_due = l->cools_ns != 0 && l->cools_ns <= now_ns;
        if (is_due && !is_held(l) && busy_of(l) == 0) {
            set_cold(l);
        }
    }
    count(engine);
}

static const char *temperature_of(const struct loaded *l)
{
    bool is_due = l->cools_ns != 0 && (l->is_discarded || l->cools_ns <= clock_mono_ns());
    return is_label(l) ? "warm" : !l->is_warm ? "cold" : is_due ? "busy" : "warm";
}

void engine_vcl_each(struct engine *engine, void (*fn)(void *arg, const struct engine_vcl_row *row),
                     void *arg)
{
    LIST_FOREACH (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        const struct loaded *target = atomic_load_explicit(&l->target, memory_order_relaxed);
        const struct engine_vcl_row row = {
            .name = l->name,
            .target = target == NULL ? NULL : target->name,
            .state = l->state,
            .temperature = temperature_of(l),
            .busy = busy_of(l),
            .labels = l->labels,
            .is_active = l == engine->active,
            .is_discarded = l->is_discarded,
        };
        fn(arg, &row);
    }
}

const struct vcl *engine_vcl_in_use(const struct engine *engine)
{
    return engine->active == NULL ? NULL : follow(engine->active)->vcl;
}

const char *engine_vcl_active(const struct engine *engine)
{
    return engine->active == NULL ? "" : follow(engine->active)->name;
}

const char **engine_labels(struct engine *engine)
{
    size_t count = 0;
    LIST_FOREACH (node, &engine->vcls) {
        count++;
    }
    const char **names = xcalloc(count + 1, sizeof *names);
    count = 0;
    LIST_FOREACH (node, &engine->vcls) {
        const struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        if (is_label(l) && !l->is_discarded) {
            names[count++] = l->name;
        }
    }
    return names;
}

struct each_backend {
    void (*fn)(void *arg, const char *vcl, struct objm_backend *backend);
    void *arg;
    const char *vcl;
};

static void each_backend(void *arg, struct objm_backend *backend)
{
    const struct each_backend *e = arg;
    e->fn(e->arg, e->vcl, backend);
}

void engine_backends_each(struct engine *engine,
                          void (*fn)(void *arg, const char *vcl, struct objm_backend *backend),
                          void *arg)
{
    LIST_FOREACH (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        if (l->vcl != NULL && !l->is_discarded) {
            struct each_backend e = {fn, arg, l->name};
            vcl_backends_each(vcl_backends_of(l->vcl), each_backend, &e);
        }
    }
}

void vcls__end(struct engine *engine)
{
    engine->is_running = false;
    engine->active = NULL;
    LIST_FOREACH (node, &engine->vcls) {
        CONTAINER_OF(node, struct loaded, link)->is_discarded = true;
    }
    /* Those that nothing points at, until there are no more. */
    while (free_discarded(engine)) {
    }
}
