/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The cache as a whole: making and unmaking it, purge, eviction, figures. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"

void cache__defer(struct rcu_head *rcu, void (*fn)(struct rcu_head *rcu))
{
    RCU_READER_DONE();
    call_rcu(rcu, fn);
}

void cache__barrier(void)
{
    rcu_barrier();
    RCU_AFTER_READERS();
}

enum rc cache_new(const struct cache_conf *conf, struct cache **out)
{
    struct cache *cache = xaligned(_Alignof(struct cache), sizeof *cache);
    memset(cache, 0, sizeof *cache);
    cache->magic = CACHE_MAGIC;
    cache->is_seeded = conf->seed != 0;
    cache->revisions = conf->revisions;
    cache->recovering = conf->recovering;
    atomic_store_explicit(&cache->resurrections_left, conf->resurrections, memory_order_relaxed);
    for (unsigned i = 0; i < CACHE_STRIPES; i++) {
        mutex_init(&cache->stripes[i].lock);
        cache->stripes[i].rng.state = conf->seed + i;
        table__init(&cache->stripes[i]);
    }
    expiry__init(&cache->expiry);
    cache->expiry.news = conf->expiry_news;
    cache->expiry.news_arg = conf->expiry_arg;
    bans__init(&cache->bans, conf->ban_log);
    struct digest nowhere = {{0}};
    head__init(&cache->nowhere, cache, &nowhere);
    cache->nowhere.refs = 1;
    *out = cache;
    return RC_OK;
}

/* Objects stay in the store, for a next worker, so they are neither killed nor deleted there. */
static void forget_cores(struct cache *cache, struct objhead *head)
{
    struct stripe *stripe = head__stripe(head);
    stripe__lock(stripe);
    CHECK(list_is_empty(&head->busies));
    const struct core_set cores = head__cores(head);
    for (size_t i = 0; i < cores.count; i++) {
        core_at(&cores, i)->place = CORE_LEAVING;
    }
    struct objcore *left = head__arrange(head, NULL, HEAD_FRONT);
    stripe__unlock(stripe);
    while (left != NULL) {
        struct objcore *oc = left;
        left = oc->next_left;
        expiry__remove(cache, oc);
        if (atomic_load_explicit(&oc->is_stored, memory_order_relaxed)) {
            stv_set_owner(oc->stv, NULL);
            oc->stv = NULL;
        }
        obj_release(&oc);
    }
}

static void empty_table(struct cache *cache)
{
    cache__barrier();
    for (unsigned i = 0; i < CACHE_STRIPES; i++) {
        for (struct objhead *head = table__any(&cache->stripes[i]); head != NULL;
             head = table__any(&cache->stripes[i])) {
            /* With its last core the head goes; if one is still referenced, this is a bug. */
            CHECK(head__cores(head).count > 0);
            forget_cores(cache, head);
        }
    }
    /* Their callbacks, and those that the first ones cause. */
    cache__barrier();
    cache__barrier();
}

void cache_free(struct cache **out)
{
    struct cache *cache = *out;
    *out = NULL;
    CHECK_OBJ(cache, CACHE_MAGIC);
    lurker__fini(cache);
    empty_table(cache);
    CHECK(atomic_load(&cache->heads) == 0);
    CHECK(atomic_load(&cache->cores) == 0);
    CHECK(cache->nowhere.refs == 1);
    tomb__free_all(cache);
    expiry__fini(&cache->expiry);
    bans__fini(&cache->bans);
    for (unsigned i = 0; i < CACHE_STRIPES; i++) {
        table__fini(&cache->stripes[i]);
        mutex_fini(&cache->stripes[i].lock);
    }
    cache->magic = 0;
    free(cache);
}

/* ---- purge, kill ---- */

unsigned cache_purge(struct cache *cache, const struct digest *digest)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    struct objcore *left = NULL;
    struct stripe *stripe = cache__stripe(cache, digest);
    stripe__lock(stripe);
    struct objhead *head = table__find(stripe, digest);
    if (head != NULL) {
        head__clear(head);
        left = head__rebuild(head, NULL, HEAD_FRONT);
    }
    tomb__add(cache, digest);
    stripe__unlock(stripe);
    tomb__in_stores(cache, digest);
    unsigned killed = core__let_go(cache, left);
    count(&cache->purged, killed);
    return killed;
}

void obj_kill(struct cache *cache, struct objcore *oc)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    CHECK(oc->head->cache == cache);
    (void)core__kill(oc);
}

/* ---- eviction ---- */

/* The core may be on its way to its end, but not beyond stv_deleteobj, which needs the lock that
 * this is called under. */
static bool grab(void *owner)
{
    struct objcore *oc = owner;
    CHECK_OBJ(oc, CORE_MAGIC);
    uint32_t refs = atomic_load_explicit(&oc->refs, memory_order_relaxed);
    do {
        if (refs == 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&oc->refs, &refs, refs + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void evict(void *owner)
{
    struct objcore *oc = owner;
    if (core__kill(oc)) {
        count(&oc->head->cache->evicted, 1);
    }
    obj_release(&oc);
}

const struct stv_owner_ops *cache_owner_ops(void)
{
    static const struct stv_owner_ops ops = {.grab = grab, .evict = evict};
    return &ops;
}

/* ---- figures ---- */

void cache_stat(const struct cache *cache, struct cache_stats *out)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    *out = (struct cache_stats){
        .heads = atomic_load_explicit(&cache->heads, memory_order_relaxed),
        .cores = atomic_load_explicit(&cache->cores, memory_order_relaxed),
        .expired = atomic_load_explicit(&cache->expired, memory_order_relaxed),
        .evicted = atomic_load_explicit(&cache->evicted, memory_order_relaxed),
        .parked = atomic_load_explicit(&cache->parked, memory_order_relaxed),
        .woken = atomic_load_explicit(&cache->woken, memory_order_relaxed),
        .purged = atomic_load_explicit(&cache->purged, memory_order_relaxed),
        .stale_fetches = atomic_load_explicit(&cache->stale_fetches, memory_order_relaxed),
        .relayed = atomic_load_explicit(&cache->relayed, memory_order_relaxed),
        .resurrected = atomic_load_explicit(&cache->resurrected, memory_order_relaxed),
    };
}
