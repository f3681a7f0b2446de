/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Taking back what an earlier worker left, while this one serves already.
 *
 * What is found is older than anything that happened since the start.  So until all stores have
 * been gone through, each digest that lost an object (by purge, replacement, expiry, eviction)
 * gets a tomb, and what is found of it later is refused; for one that lives the same variant is
 * refused.  Between two that were both found the newer one stays: by revision, or by origin if
 * they are from stores that number for themselves.
 *
 * Tombs die with this worker, so the stores are told as well (stv_entomb), and they put it in the
 * catalog: when a purge or replacement is acknowledged, or an object dies, nothing that it makes
 * too old, and that was not reached yet, is alive for the next worker. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "cache/oa.h"

/* ---- tombs ---- */

struct tomb {
    struct tomb *next;
    struct digest digest;
};

static bool has_tomb(const struct stripe *stripe, const struct digest *digest)
{
    const struct tomb *tomb = stripe->tombs;
    while (tomb != NULL && !digest_eq(&tomb->digest, digest)) {
        tomb = tomb->next;
    }
    return tomb != NULL;
}

void tomb__add(struct cache *cache, const struct digest *digest)
{
    if (LIKELY(atomic_load_explicit(&cache->resurrections_left, memory_order_acquire) == 0)) {
        return;
    }
    struct stripe *stripe = cache__stripe(cache, digest);
    if (!has_tomb(stripe, digest)) {
        struct tomb *tomb = xmalloc(sizeof *tomb);
        tomb->digest = *digest;
        tomb->next = stripe->tombs;
        stripe->tombs = tomb;
    }
}

static void entomb(const struct cache *cache, const struct digest *digest, stv_which_fn *which,
                   void *arg)
{
    if (LIKELY(atomic_load_explicit(&cache->resurrections_left, memory_order_acquire) == 0)) {
        return;
    }
    struct stevedore *const *list = cache->recovering;
    for (; list != NULL && *list != NULL; list++) {
        stv_entomb(*list, digest, which, arg);
    }
}

void tomb__in_stores(struct cache *cache, const struct digest *digest)
{
    entomb(cache, digest, NULL, NULL);
}

static bool is_same_vary(struct str a, struct str b)
{
    return (a.ptr == NULL) == (b.ptr == NULL) && str_eq(a, b);
}

static bool has_this_vary(void *arg, struct str oa)
{
    const struct str *vary = arg;
    return oa_check(oa) == RC_OK && is_same_vary(oa_find(oa, OA_VARY), *vary);
}

void tomb__replaced(const struct objcore *oc)
{
    struct str vary = obj_get(oc, OA_VARY);
    entomb(oc->head->cache, &oc->head->digest, has_this_vary, &vary);
}

void tomb__free_all(struct cache *cache)
{
    for (unsigned i = 0; i < CACHE_STRIPES; i++) {
        struct stripe *stripe = &cache->stripes[i];
        stripe__lock(stripe);
        struct tomb *tomb = stripe->tombs;
        stripe->tombs = NULL;
        stripe__unlock(stripe);
        while (tomb != NULL) {
            struct tomb *next = tomb->next;
            free(tomb);
            tomb = next;
        }
    }
}

/* ---- what is found ---- */

struct finder {
    struct cache *cache;
    struct stevedore *stv;
    uint64_t now_ns;
};

static bool is_older(const struct finder *finder, const struct stv_record *record,
                     const struct objcore *other)
{
    if (!atomic_load_explicit(&other->is_stored, memory_order_acquire)) {
        return true; /* it is being fetched */
    }
    if (obj_stevedore(other) == finder->stv || finder->cache->revisions != NULL) {
        return record->revision < other->revision;
    }
    return !(other->flags & CORE_FOUND) || record->t_origin_ns < other->times.t_origin_ns;
}

static bool is_same_variant(const struct stv_found *found, const struct objcore *other)
{
    return is_same_vary(oa_find(found->oa, OA_VARY), obj_get(other, OA_VARY));
}

/* If it is the newer of the two. */
static bool replaces(const struct stv_found *found, const struct objcore *other)
{
    return found->record.supersedes || is_same_variant(found, other);
}

/* If it is the older of the two. */
static bool is_replaced_by(const struct stv_found *found, const struct objcore *other)
{
    return (other->flags & CORE_SUPERSEDES) != 0 || is_same_variant(found, other);
}

/* Marks those that what was found replaces; false if one of the head's own is newer. */
static bool mark_older(const struct finder *finder, const struct stv_found *found,
                       const struct objhead *head)
{
    const struct core_set cores = head__cores(head);
    size_t older = 0;
    for (size_t i = 0; i < cores.count; i++) {
        const struct objcore *other = core_at(&cores, i);
        bool is_newer = !is_older(finder, &found->record, other);
        older += is_newer && replaces(found, other);
        if (!is_newer && is_replaced_by(found, other)) {
            return false;
        }
    }
    for (size_t i = 0; older > 0 && i < cores.count; i++) {
        struct objcore *other = core_at(&cores, i);
        if (replaces(found, other) && !is_older(finder, &found->record, other)) {
            other->place = CORE_LEAVING;
        }
    }
    return true;
}

static struct objcore *core_of(const struct finder *finder, const struct stv_found *found,
                               struct objhead *head)
{
    const struct stv_record *record = &found->record;
    struct objcore *oc = core__new(head);
    bans__attach_at(&finder->cache->bans, oc, record->ban_seq);
    oc->stv = found->obj;
    oc->revision = record->revision;
    oc->times = (struct obj_times){
        .t_origin_ns = record->t_origin_ns,
        .ttl_ns = record->ttl_ns,
        .grace_ns = record->grace_ns,
        .keep_ns = record->keep_ns,
    };
    struct str flags = oa_find(found->oa, OA_FLAGS);
    struct cursor c = cursor_of(flags.ptr, flags.len);
    unsigned obj_flags = flags.len == 0 ? 0 : cursor_u32(&c);
    oc->flags = (uint16_t)((obj_flags & ~(unsigned)CORE__FLAGS) | CORE_FOUND);
    if (record->supersedes) {
        oc->flags |= CORE_SUPERSEDES;
    }
    if (oa_find(found->oa, OA_HTTP).ptr == NULL) {
        oc->flags |= CORE_QUIET;
    }
    atomic_store_explicit(&oc->is_stored, true, memory_order_release);
    return oc;
}

/* Under the stripe.  NULL: refused. */
static struct objcore *insert(const struct finder *finder, const struct stv_found *found,
                              struct objcore **left)
{
    struct cache *cache = finder->cache;
    const struct digest *digest = &found->record.digest;
    if (has_tomb(cache__stripe(cache, digest), digest)) {
        return NULL;
    }
    struct objhead *head = head__get(cache, digest);
    if (!mark_older(finder, found, head)) {
        return NULL;
    }
    struct objcore *oc = core_of(finder, found, head);
    stv_set_owner(oc->stv, oc);
    /* Behind the others: they are newer, for stores report what is newest first. */
    *left = head__rebuild(head, oc, HEAD_BACK);
    expiry__insert(cache, oc);
    return oc;
}

static bool on_found(void *arg, const struct stv_found *found)
{
    const struct finder *finder = arg;
    struct cache *cache = finder->cache;
    const struct obj_times times = {.t_origin_ns = found->record.t_origin_ns,
                                    .ttl_ns = found->record.ttl_ns,
                                    .grace_ns = found->record.grace_ns,
                                    .keep_ns = found->record.keep_ns};
    if (times__kept_until(&times) <= finder->now_ns || oa_check(found->oa) != RC_OK) {
        return false;
    }
    struct stripe *stripe = cache__stripe(cache, &found->record.digest);
    struct objcore *left = NULL;
    rcu_thread_online();
    stripe__lock(stripe);
    struct objcore *oc = insert(finder, found, &left);
    stripe__unlock(stripe);
    RCU_READER_DONE();
    rcu_thread_offline();
    (void)core__let_go(cache, left);
    if (oc == NULL) {
        return false;
    }
    count(&cache->resurrected, 1);
    obj_release(&oc);
    return true;
}

void cache_resurrect(struct cache *cache, struct stevedore *stv)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    CHECK(loop_self() == NULL);
    struct finder finder = {.cache = cache, .stv = stv, .now_ns = clock_real_ns()};
    rcu_register_thread();
    rcu_thread_offline();
    stv_resurrect(stv, on_found, &finder);
    rcu_unregister_thread();
    unsigned left = atomic_load_explicit(&cache->resurrections_left, memory_order_relaxed);
    while (left > 0 && !atomic_compare_exchange_weak(&cache->resurrections_left, &left, left - 1)) {
    }
    if (left == 1) {
        tomb__free_all(cache);
    }
}
