/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Many VCLs at once.
 *
 * The main thread owns the list.  Which VCL is in use, each loop knows by itself: the main thread
 * posts a change to all loops, and waits.  A loop counts its own uses of each VCL, so that no two
 * loops write the same word; once every loop has heard of a change, uses of the former VCL can only
 * end.  So whoever finds all counts at zero after that may take the VCL apart.
 */
#include "engine/vcls.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/task.h"

#define HOUSE_WS_BYTES ((size_t)256 << 10)

/* ---- uses ---- */

struct loaded *vcls__pin(struct wrk *wrk)
{
    if (wrk->active != NULL) {
        vcls__pin_again(wrk->active);
    }
    return wrk->active;
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
    (void)sem_post(change->done);
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
    int err = sem_init(&done, 0, 0);
    CHECK(err == 0);
    for (unsigned i = 0; i < loops; i++) {
        changes[i] =
            (struct change){.post = {.fn = change_on_loop}, .engine = engine, .done = &done};
        loop_post(run_loop(engine->conf.run, i), &changes[i].post);
    }
    for (unsigned i = 0; i < loops; i++) {
        while (sem_wait(&done) != 0) {
            CHECK(errno == EINTR);
        }
    }
    (void)sem_destroy(&done);
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

struct loaded *vcls__of(struct engine *engine, const struct vcl *vcl)
{
    LIST_FOREACH (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        if (l->vcl == vcl) {
            return l;
        }
    }
    return NULL;
}

static struct vcl *label_vcl(void *arg, const char *name)
{
    struct loaded *self = arg;
    struct loaded *label = find(self->engine, name);
    if (label == NULL || label->target == NULL) {
        return NULL;
    }
    label->target->labels++;
    return label->target->vcl;
}

static void unlabel_vcl(void *arg, struct vcl *vcl)
{
    struct loaded *self = arg;
    struct loaded *target = vcls__of(self->engine, vcl);
    if (target != NULL) {
        target->labels--;
    }
}

static struct loaded *loaded_new(struct engine *engine, const char *name)
{
    unsigned loops = run_loops(engine->conf.run);
    size_t bytes = sizeof(struct loaded) + loops * sizeof(struct loaded_use);
    struct loaded *l = xaligned(64, (bytes + 63) & ~(size_t)63);
    memset(l, 0, bytes);
    l->magic = LOADED_MAGIC;
    l->engine = engine;
    l->name = xstrdup(name);
    l->is_auto = true;
    return l;
}

static void loaded_free(struct loaded **loaded_of)
{
    struct loaded *l = *loaded_of;
    *loaded_of = NULL;
    CHECK_OBJ(l, LOADED_MAGIC);
    list_remove(&l->link);
    if (l->vcl != NULL) {
        vcl_unload(&l->vcl);
    }
    regex_scratch_free(&l->env.scratch);
    free(l->ws_mem);
    free(l->name);
    l->magic = 0;
    free(l);
}

enum rc engine_vcl_load(struct engine *engine, const char *name, struct vcl_program *prog,
                        char **message)
{
    *message = NULL;
    if (find(engine, name) != NULL) {
        return RC_EXISTS;
    }
    struct loaded *l = loaded_new(engine, name);
    l->ws_mem = xmalloc(HOUSE_WS_BYTES);
    arena_init(&l->ws, l->ws_mem, HOUSE_WS_BYTES);
    l->env = task__env;
    l->env.label = label_vcl;
    l->env.unlabel = unlabel_vcl;
    l->env.arg = l;
    l->env.ws = &l->ws;
    l->env.scratch = regex_scratch_new();
    l->env.rng = &engine->house_rng;
    l->env.log = engine->conf.log;
    list_init(&l->link);
    enum rc rc = vcl_load(prog, name, &l->env, &l->vcl, message);
    if (rc != RC_OK) {
        loaded_free(&l);
        return rc;
    }
    list_push_back(&engine->vcls, &l->link);
    return RC_OK;
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

static void cool_later(struct loaded *l)
{
    if (l->is_auto && l->is_warm && l->cools_ns == 0) {
        uint64_t wait_ns = param(l->engine->conf.params, vcl_cooldown);
        l->cools_ns = clock_after(clock_mono_ns(), wait_ns);
    }
}

enum rc engine_vcl_use(struct engine *engine, const char *name, char **message)
{
    *message = NULL;
    struct loaded *l = find(engine, name);
    if (l != NULL && l->target != NULL) {
        l = l->target;
    }
    if (l == NULL) {
        return RC_NOT_FOUND;
    }
    enum rc rc = set_warm(l, true, message);
    if (rc != RC_OK) {
        return rc;
    }
    struct loaded *before = engine->active;
    engine->active = l;
    tell_loops(engine);
    if (before != NULL && before != l && before->labels == 0) {
        cool_later(before);
    }
    return RC_OK;
}

enum rc engine_vcl_discard(struct engine *engine, const char *name)
{
    struct loaded *l = find(engine, name);
    if (l == NULL) {
        return RC_NOT_FOUND;
    }
    l->is_discarded = true;
    if (l->target != NULL) {
        l->target->labels--;
        loaded_free(&l);
    }
    engine_vcl_poll(engine);
    return RC_OK;
}

enum rc engine_vcl_label(struct engine *engine, const char *label, const char *name)
{
    struct loaded *target = find(engine, name);
    struct loaded *l = find(engine, label);
    if (target == NULL || target->vcl == NULL) {
        return RC_NOT_FOUND;
    }
    char *message = NULL;
    enum rc rc = set_warm(target, true, &message);
    free(message);
    if (rc != RC_OK) {
        return rc;
    }
    if (l == NULL) {
        l = loaded_new(engine, label);
        list_push_back(&engine->vcls, &l->link);
    } else if (l->target != NULL) {
        l->target->labels--;
        cool_later(l->target);
    }
    l->target = target;
    l->is_warm = true;
    target->labels++;
    return RC_OK;
}

enum rc engine_vcl_state(struct engine *engine, const char *name, struct str state, char **message)
{
    *message = NULL;
    struct loaded *l = find(engine, name);
    if (l == NULL || l->vcl == NULL) {
        return RC_NOT_FOUND;
    }
    if (str_eq(state, STR("auto"))) {
        l->is_auto = true;
        if (l != engine->active && l->labels == 0) {
            cool_later(l);
        }
        return RC_OK;
    }
    l->is_auto = false;
    return set_warm(l, str_eq(state, STR("warm")), message);
}

void engine_vcl_poll(struct engine *engine)
{
    uint64_t now_ns = clock_mono_ns();
    LIST_FOREACH_SAFE (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        bool is_idle = l->vcl != NULL && l != engine->active && l->labels == 0 && busy_of(l) == 0;
        if (l->is_discarded && is_idle) {
            loaded_free(&l);
        } else if (is_idle && l->cools_ns != 0 && l->cools_ns <= now_ns) {
            char *message = NULL;
            enum rc rc = set_warm(l, false, &message);
            (void)rc;
            free(message);
        }
    }
}

void engine_vcl_each(struct engine *engine, void (*fn)(void *arg, const struct engine_vcl_row *row),
                     void *arg)
{
    LIST_FOREACH (node, &engine->vcls) {
        struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        const struct engine_vcl_row row = {
            .name = l->name,
            .target = l->target == NULL ? NULL : l->target->name,
            .busy = busy_of(l),
            .is_warm = l->is_warm,
            .is_active = l == engine->active,
        };
        if (!l->is_discarded) {
            fn(arg, &row);
        }
    }
}

const char *engine_vcl_active(const struct engine *engine)
{
    return engine->active == NULL ? "" : engine->active->name;
}

void engine_labels(struct engine *engine, const char **names, unsigned max)
{
    unsigned count = 0;
    LIST_FOREACH (node, &engine->vcls) {
        const struct loaded *l = CONTAINER_OF(node, struct loaded, link);
        if (l->target != NULL && count + 1 < max) {
            names[count++] = l->name;
        }
    }
    names[count] = NULL;
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
    /* Labels first, then those that return to others, then the rest: by as many rounds as it takes.
     */
    for (unsigned round = 0; round < 64 && !list_is_empty(&engine->vcls); round++) {
        LIST_FOREACH_SAFE (node, &engine->vcls) {
            struct loaded *l = CONTAINER_OF(node, struct loaded, link);
            if (l->target != NULL) {
                l->target->labels--;
                loaded_free(&l);
            } else if (l->labels == 0) {
                loaded_free(&l);
            }
        }
    }
}
