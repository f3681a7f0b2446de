/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Backends and directors as VCL sees them.
 *
 * A VCL names both the same way, so one struct stands for both: a leaf points at a real backend,
 * anything else has a table of functions.  Directors may lead to directors; VCL that makes a circle
 * of them is a mistake that must not end the worker, so the walk counts its steps, and health asks
 * through members no deeper than that.  The depth is kept in a word of the thread: a director's
 * function has no place for it, and must not suspend. */
#include "vcl/director.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutex.h"

enum { BACKEND_MAGIC = 0x2b8e41d7, DEPTH_MAX = 16 };

struct objm_backend {
    uint32_t magic;
    char *name;
    struct vcl_backends *set;
    struct objm_backend *next;
    void *leaf;
    const struct vcl_backend_decl *decl;
    const struct objm_director *director;
    void *arg;
    _Atomic int admin; /* enum vcl_admin_health */
    _Atomic double admin_since;
};

struct vcl_backends {
    pthread_mutex_t lock; /* the list; a director may come and go while a command reads it */
    const char *vcl;
    vcl_leaf_fn *is_healthy;
    void *arg;
    struct objm_backend *first;
    struct objm_backend **end;
};

struct vcl_backends *vcl_backends_new(const char *vcl, vcl_leaf_fn *is_healthy, void *arg)
{
    struct vcl_backends *set = xcalloc(1, sizeof *set);
    mutex_init(&set->lock);
    set->vcl = vcl;
    set->is_healthy = is_healthy;
    set->arg = arg;
    set->end = &set->first;
    return set;
}

static void free_one(struct objm_backend *b)
{
    b->magic = 0;
    XFREE(b->name);
    free(b);
}

void vcl_backends_free(struct vcl_backends **set_of)
{
    struct vcl_backends *set = *set_of;
    if (set == NULL) {
        return;
    }
    while (set->first != NULL) {
        struct objm_backend *b = set->first;
        set->first = b->next;
        free_one(b);
    }
    mutex_fini(&set->lock);
    XFREE(*set_of);
}

static struct objm_backend *add(struct vcl_backends *set, const char *name)
{
    struct objm_backend *b = xcalloc(1, sizeof *b);
    b->magic = BACKEND_MAGIC;
    b->name = xstrdup(name);
    b->set = set;
    return b;
}

static struct objm_backend *link_in(struct objm_backend *b)
{
    mutex_lock(&b->set->lock);
    *b->set->end = b;
    b->set->end = &b->next;
    mutex_unlock(&b->set->lock);
    return b;
}

struct objm_backend *vcl_backend_add(struct vcl_backends *set, const char *name, void *leaf,
                                     const struct vcl_backend_decl *decl)
{
    struct objm_backend *b = add(set, name);
    b->leaf = leaf;
    b->decl = decl;
    return link_in(b);
}

struct objm_backend *vcl_director_add(struct vcl_backends *set, const char *name,
                                      const struct objm_director *table, void *arg)
{
    CHECK(table != NULL);
    struct objm_backend *b = add(set, name);
    b->director = table;
    b->arg = arg;
    return link_in(b);
}

void vcl_director_remove(struct objm_backend *director)
{
    CHECK_OBJ(director, BACKEND_MAGIC);
    CHECK(director->director != NULL);
    struct vcl_backends *set = director->set;
    mutex_lock(&set->lock);
    struct objm_backend **at = &set->first;
    while (*at != director) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = director->next;
    if (set->end == &director->next) {
        set->end = at;
    }
    mutex_unlock(&set->lock);
    free_one(director);
}

struct objm_backend *vcl_backend_find(struct vcl_backends *set, struct str name)
{
    mutex_lock(&set->lock);
    struct objm_backend *b = set->first;
    while (b != NULL && !str_eq(str_of(b->name), name)) {
        b = b->next;
    }
    mutex_unlock(&set->lock);
    return b;
}

void vcl_backends_each(struct vcl_backends *set, vcl_backend_fn *fn, void *arg)
{
    mutex_lock(&set->lock);
    for (struct objm_backend *b = set->first; b != NULL; b = b->next) {
        fn(arg, b);
    }
    mutex_unlock(&set->lock);
}

const char *vcl_backend_name(const struct objm_backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->name;
}

const char *vcl_backend_vcl(const struct objm_backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->set->vcl;
}

void *vcl_backend_leaf(const struct objm_backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->leaf;
}

const struct vcl_backend_decl *vcl_backend_decl(const struct objm_backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->decl;
}

const struct objm_director *vcl_backend_director(const struct objm_backend *backend, void **arg)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    *arg = backend->arg;
    return backend->director;
}

const struct objm_backend *vcl_backend_resolve(struct objm_ctx *ctx,
                                               const struct objm_backend *backend)
{
    for (unsigned depth = 0; backend != NULL && backend->director != NULL; depth++) {
        CHECK_OBJ(backend, BACKEND_MAGIC);
        if (depth == DEPTH_MAX) {
            return NULL;
        }
        backend = backend->director->resolve(ctx, backend->arg);
    }
    return backend;
}

void vcl_director_set_health(struct objm_backend *director, enum vcl_admin_health health,
                             double now)
{
    CHECK_OBJ(director, BACKEND_MAGIC);
    CHECK(director->director != NULL);
    atomic_store(&director->admin_since, now);
    atomic_store(&director->admin, (int)health);
}

enum vcl_admin_health vcl_director_admin(const struct objm_backend *director)
{
    CHECK_OBJ(director, BACKEND_MAGIC);
    return (enum vcl_admin_health)atomic_load(&director->admin);
}

static bool director_healthy(struct objm_ctx *ctx, const struct objm_backend *b, double *changed)
{
    static _Thread_local unsigned depth;
    enum vcl_admin_health admin = vcl_director_admin(b);
    if (admin != VCL_HEALTH_AUTO) {
        if (changed != NULL) {
            *changed = atomic_load(&b->admin_since);
        }
        return admin == VCL_HEALTH_HEALTHY;
    }
    if (b->director->is_healthy == NULL) {
        return true;
    }
    if (depth == DEPTH_MAX) {
        return false;
    }
    depth++;
    bool is_healthy = b->director->is_healthy(ctx, b->arg, changed);
    depth--;
    return is_healthy;
}

bool vcl_backend_healthy(struct objm_ctx *ctx, const struct objm_backend *backend, double *changed)
{
    if (changed != NULL) {
        *changed = 0;
    }
    if (backend == NULL) {
        return false;
    }
    CHECK_OBJ(backend, BACKEND_MAGIC);
    if (backend->director != NULL) {
        return director_healthy(ctx, backend, changed);
    }
    return backend->leaf != NULL &&
           backend->set->is_healthy(backend->set->arg, backend->leaf, changed);
}
