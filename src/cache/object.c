/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Phases 6 and 8 of an object's life (cache_priv.h): what those who hold a core may ask.
 *
 * An answer comes from the boc as long as the core has one, else from the store.  The core lets go
 * of its boc only when the store has everything, and the boc stays for a grace period more; so
 * whoever looks, once, without suspending, finds one of the two whole. */
#include "cache/cache_priv.h"

#include "base/cursor.h"
#include "cache/oa.h"

/* What obj_lines_fetch asks for: the rest comes by itself once the first lines are read in order.
 */
enum { CACHE_LINE = 64, ATTR_LINES = 4, BODY_LINES = 2 };

void obj_ref(struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    core__ref(oc);
}

static void stop_reading(const struct objcore *oc)
{
    struct boc *boc = core__boc(oc);
    if (boc != NULL && fiber_self() != NULL) {
        relay__leave(boc);
    }
}

void obj_release(struct objcore **oc)
{
    struct objcore *core = *oc;
    CHECK_OBJ(core, CORE_MAGIC);
    *oc = NULL;
    if (UNLIKELY(!atomic_load_explicit(&core->is_stored, memory_order_relaxed))) {
        stop_reading(core);
    }
    uint32_t before = atomic_fetch_sub_explicit(&core->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1) {
        core__free(core);
    }
}

struct str obj_get(const struct objcore *oc, enum obj_attr attr)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    CHECK(attr > 0 && attr < OA__COUNT);
    const struct boc *boc = core__boc(oc);
    if (UNLIKELY(boc != NULL)) {
        /* What is set late is being written just now, or will be. */
        bool is_there = (attr != OA_GZIPBITS && attr != OA_ESI) ||
                        (boc->early_attrs >> attr & 1) != 0 || boc__state(boc) == BOC_FINISHED ||
                        atomic_load_explicit(&oc->is_stored, memory_order_acquire);
        return is_there ? boc->attrs[attr] : STR_NONE;
    }
    return oa_find(stv_oa(oc->stv), attr);
}

struct obj_times obj_times(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    return core__times(oc);
}

unsigned obj_flags(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    return oc->flags & ~(unsigned)CORE__FLAGS;
}

bool obj_is_complete(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    return atomic_load_explicit(&oc->is_stored, memory_order_acquire);
}

bool obj_is_whole(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    const struct boc *boc = core__boc(oc);
    return boc == NULL || boc__state(boc) == BOC_FINISHED;
}

uint64_t obj_len(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    const struct boc *boc = core__boc(oc);
    if (boc == NULL) {
        return stv_body_len(oc->stv);
    }
    if (boc__state(boc) != BOC_FINISHED) {
        return boc->announced;
    }
    return atomic_load_explicit(&boc->written, memory_order_acquire);
}

struct stv_obj *obj_stv(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    return oc->stv;
}

const struct stevedore *obj_stevedore(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    return oc->stv == NULL ? NULL : stv_of(oc->stv);
}

uint64_t obj_hits(const struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    return atomic_load_explicit(&oc->hits, memory_order_relaxed);
}

bool core__same_variant(const struct objcore *a, const struct objcore *b)
{
    struct str vary_a = obj_get(a, OA_VARY);
    struct str vary_b = obj_get(b, OA_VARY);
    return (vary_a.ptr == NULL) == (vary_b.ptr == NULL) && str_eq(vary_a, vary_b);
}

/* ---- lines ---- */

void obj_lines(const struct objcore *oc, struct obj_lines *out)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    struct objhead *head = oc->head;
    struct stripe *stripe = head__stripe(head);
    *out = (struct obj_lines){.stripe = stripe, .head = head, .core = oc, .place = oc->stv};
    out->bucket = table__bucket(stripe, &head->digest);
    if (obj_is_complete(oc)) {
        out->attrs = stv_oa(oc->stv).ptr;
        out->body = stv_body_ptr(oc->stv);
    }
}

/* Begins to read `lines` lines from the one that `at` lies in; no address is invalid. */
static inline void fetch_lines(const void *at, size_t lines)
{
    const char *line = at;
    for (size_t i = 0; i < lines; i++) {
        __builtin_prefetch(line + i * CACHE_LINE);
    }
}

void obj_lines_fetch(const struct obj_lines *lines)
{
    fetch_lines(lines->stripe, 1);
    fetch_lines(lines->bucket, 1);
    fetch_lines(lines->head, 2);
    fetch_lines(lines->core, 2);
    fetch_lines(lines->place, 2);
    fetch_lines(lines->attrs, ATTR_LINES);
    fetch_lines(lines->body, BODY_LINES);
}
