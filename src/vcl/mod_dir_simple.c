/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Directors that look at a list of members: round robin, fallback, random, hash.
 *
 * They differ in how one is picked, and in one word of state: whose turn it is.  That word is
 * atomic and may be lost between two requests that come at the same time, which then get the same
 * member: nobody can tell. */
#include "vcl/mod_directors.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/mem.h"
#include "vcl/director.h"
#include "vcl/mod.h"
#include "vcl/members.h"
#include "vcl/value.h"

enum { DIR_MAGIC = 0x3fa81c52 };

struct dir {
    uint32_t magic;
    bool is_sticky;
    _Atomic unsigned turn; /* round robin: the next one; fallback: the present one */
    struct member_set members;
    struct objm_backend *self;
};

uint32_t vcl__hash32(const struct objm_str *parts, size_t count)
{
    enum { AT_ONCE = 16 };
    struct str pieces[AT_ONCE];
    struct digest digest;
    CHECK(count <= AT_ONCE);
    size_t used = 0;
    for (size_t n = 0; n < count; n++) {
        if (parts[n].len > 0) {
            pieces[used++] = vcl_str(parts[n]);
        }
    }
    digest_make(&digest, pieces, used);
    const unsigned char *last = digest.bytes + 28;
    return (uint32_t)last[0] | (uint32_t)last[1] << 8 | (uint32_t)last[2] << 16 |
           (uint32_t)last[3] << 24;
}

/* ---- how one is picked ---- */

static const struct objm_backend *round_robin_resolve(struct objm_ctx *ctx, void *arg)
{
    struct dir *dir = arg;
    struct members *list = vcl__members_ref(&dir->members);
    const struct objm_backend *found = NULL;
    unsigned turn = atomic_load_explicit(&dir->turn, memory_order_relaxed);
    for (unsigned n = 0; n < list->count && found == NULL; n++) {
        const struct objm_backend *backend = list->at[turn % list->count].backend;
        turn = (turn + 1) % list->count;
        if (vcl_backend_healthy(ctx, backend, NULL)) {
            found = backend;
        }
    }
    atomic_store_explicit(&dir->turn, turn, memory_order_relaxed);
    vcl__members_release(&list);
    return found;
}

static const struct objm_backend *fallback_resolve(struct objm_ctx *ctx, void *arg)
{
    struct dir *dir = arg;
    struct members *list = vcl__members_ref(&dir->members);
    const struct objm_backend *found = NULL;
    unsigned turn = dir->is_sticky ? atomic_load_explicit(&dir->turn, memory_order_relaxed) : 0;
    for (unsigned n = 0; n < list->count && found == NULL; n++) {
        const struct objm_backend *backend = list->at[turn % list->count].backend;
        if (vcl_backend_healthy(ctx, backend, NULL)) {
            found = backend;
        } else {
            turn = (turn + 1) % list->count;
        }
    }
    atomic_store_explicit(&dir->turn, turn, memory_order_relaxed);
    vcl__members_release(&list);
    return found;
}

static const struct objm_backend *pick(struct objm_ctx *ctx, struct dir *dir, double at)
{
    struct members *list = vcl__members_ref(&dir->members);
    const struct objm_backend *found = vcl__members_pick(ctx, list, at);
    vcl__members_release(&list);
    return found;
}

static const struct objm_backend *random_resolve(struct objm_ctx *ctx, void *arg)
{
    return pick(ctx, arg, vcl__random31(ctx));
}

/* ---- what all of them tell ---- */

static bool dir_is_healthy(struct objm_ctx *ctx, void *arg, double *changed)
{
    struct dir *dir = arg;
    struct members *list = vcl__members_ref(&dir->members);
    bool is_healthy = vcl__members_healthy(ctx, list, changed);
    vcl__members_release(&list);
    return is_healthy;
}

static void dir_count(void *arg, unsigned *healthy, unsigned *total)
{
    struct dir *dir = arg;
    vcl__members_count(&dir->members, healthy, total);
}

static void dir_list(void *arg, bool is_json, objm_out_fn *out, void *out_arg)
{
    struct dir *dir = arg;
    vcl__members_list(&dir->members, false, is_json, out, out_arg);
}

static void dir_list_weights(void *arg, bool is_json, objm_out_fn *out, void *out_arg)
{
    struct dir *dir = arg;
    vcl__members_list(&dir->members, true, is_json, out, out_arg);
}

static const struct objm_director round_robin = {
    .type = "round-robin",
    .resolve = round_robin_resolve,
    .is_healthy = dir_is_healthy,
    .count = dir_count,
    .list = dir_list,
};
static const struct objm_director fallback = {
    .type = "fallback",
    .resolve = fallback_resolve,
    .is_healthy = dir_is_healthy,
    .count = dir_count,
    .list = dir_list,
};
static const struct objm_director weighted = {
    .type = "random",
    .resolve = random_resolve,
    .is_healthy = dir_is_healthy,
    .count = dir_count,
    .list = dir_list_weights,
};

/* ---- objects ---- */

/* table: NULL for a director that can only be asked with a key, which is no backend itself. */
static struct dir *dir_new(struct objm_ctx *ctx, struct objm_call *call,
                           const struct objm_director *table)
{
    struct dir *dir = xcalloc(1, sizeof *dir);
    dir->magic = DIR_MAGIC;
    vcl__members_init(&dir->members);
    if (table != NULL) {
        dir->self = objm_director_new(ctx, table, call->instance, dir);
    }
    call->self = dir;
    return dir;
}

void vcl__dir_round_robin(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)dir_new(ctx, call, &round_robin);
}

void vcl__dir_fallback(struct objm_ctx *ctx, struct objm_call *call)
{
    dir_new(ctx, call, &fallback)->is_sticky = call->arg[0].boolean;
}

void vcl__dir_random(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)dir_new(ctx, call, &weighted);
}

void vcl__dir_hash(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)dir_new(ctx, call, NULL);
}

void vcl__dir_fini(struct objm_ctx *ctx, void *self)
{
    struct dir *dir = self;
    CHECK_OBJ(dir, DIR_MAGIC);
    if (dir->self != NULL) {
        objm_director_free(ctx, dir->self);
    }
    vcl__members_fini(&dir->members);
    dir->magic = 0;
    free(dir);
}

/* ---- methods ---- */

static struct dir *self_of(const struct objm_call *call)
{
    struct dir *dir = call->self;
    CHECK_OBJ(dir, DIR_MAGIC);
    return dir;
}

static void add(struct objm_ctx *ctx, struct objm_call *call, double weight)
{
    const struct objm_backend *backend = call->arg[0].backend;
    if (backend == NULL) {
        objm_fail(ctx, objm_printf(ctx, "%s: None backend cannot be added", call->instance));
        return;
    }
    if (vcl__members_add(&self_of(call)->members, backend, weight) != RC_OK) {
        objm_fail(ctx, objm_printf(ctx, "%s: too many backends", call->instance));
    }
}

void vcl__dir_add(struct objm_ctx *ctx, struct objm_call *call)
{
    add(ctx, call, 0);
}

void vcl__dir_add_weighted(struct objm_ctx *ctx, struct objm_call *call)
{
    add(ctx, call, call->arg[1].real);
}

void vcl__dir_remove(struct objm_ctx *ctx, struct objm_call *call)
{
    struct dir *dir = self_of(call);
    const struct objm_backend *backend = call->arg[0].backend;
    if (backend == NULL) {
        objm_fail(ctx, objm_printf(ctx, "%s: None backend cannot be removed", call->instance));
        return;
    }
    unsigned index;
    if (vcl__members_remove(&dir->members, backend, &index) != RC_OK) {
        return;
    }
    /* Those behind it moved up; it stays the turn of the same one. */
    unsigned turn = atomic_load_explicit(&dir->turn, memory_order_relaxed);
    if (index < turn) {
        atomic_store_explicit(&dir->turn, turn - 1, memory_order_relaxed);
    }
}

void vcl__dir_backend(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    call->ret.backend = self_of(call)->self;
}

void vcl__dir_hash_backend(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_str text = objm_join(ctx, call->arg[0].strands);
    call->ret.backend = pick(ctx, self_of(call), ldexp(vcl__hash32(&text, 1), -32));
}
