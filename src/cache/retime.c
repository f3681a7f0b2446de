/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Soft purges: the objects of a digest stay, and get other times.
 *
 * Times are written under the stripe and read without it, each for itself: who reads while they
 * change may see one of them old and one of them new, as if it had come a moment earlier or later.
 * The order on the heap follows, and so does the record in the store, so that a later worker finds
 * the new times.  What is still being fetched when it is purged is recorded with its new times when
 * it is finished. */
#include "cache/cache_priv.h"
#include "cache/cache_swap.h"

static void put(uint64_t *at, uint64_t ns)
{
    __atomic_store_n(at, ns, __ATOMIC_RELAXED);
}

void core__record_times(struct objcore *oc)
{
    const struct obj_times times = core__times(oc);
    const struct ban *ban = core__ban(oc);
    const struct stv_record record = {
        .digest = oc->head->digest,
        .revision = oc->revision,
        .ban_seq = ban == NULL ? 0 : ban->seq,
        .t_origin_ns = times.t_origin_ns,
        .ttl_ns = times.ttl_ns,
        .grace_ns = times.grace_ns,
        .keep_ns = times.keep_ns,
        .supersedes = (oc->flags & CORE_SUPERSEDES) != 0,
    };
    stv_retime(oc->stv, &record);
}

static void retime(struct cache *cache, struct objcore *oc, const struct obj_retime *want)
{
    struct obj_times *t = &oc->times;
    uint64_t now_ns = cache__real_now();
    uint64_t age_ns = now_ns > t->t_origin_ns ? now_ns - t->t_origin_ns : 0;
    if (want->sets_ttl) {
        put(&t->ttl_ns, clock_after(age_ns, want->ttl_ns));
    }
    if (want->sets_grace) {
        put(&t->grace_ns, want->grace_ns);
    }
    if (want->sets_keep) {
        put(&t->keep_ns, want->keep_ns);
    }
    if (!atomic_load_explicit(&oc->is_stored, memory_order_acquire)) {
        boc__of_busy(oc)->was_retimed = true;
        return;
    }
    core__record_times(oc);
    expiry__remove(cache, oc);
    expiry__insert(cache, oc);
}

static bool is_dead(const struct objcore *oc)
{
    const struct obj_times times = core__times(oc);
    return cache__real_now() >= times__stale_until(&times);
}

unsigned cache_touch(struct cache *cache, const struct digest *digest, uint64_t ttl_ns)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    const struct obj_retime want = {.sets_ttl = true, .ttl_ns = ttl_ns};
    unsigned n = 0;
    struct stripe *stripe = cache__stripe(cache, digest);
    stripe__lock(stripe);
    const struct objhead *head = table__find(stripe, digest);
    const struct core_set cores = head == NULL ? (struct core_set){0} : head__cores(head);
    for (size_t i = 0; i < cores.count; i++) {
        struct objcore *oc = core_at(&cores, i);
        if (!is_dead(oc)) {
            retime(cache, oc, &want);
            n++;
        }
    }
    stripe__unlock(stripe);
    return n;
}

unsigned cache_soft_purge(struct cache *cache, const struct digest *digest,
                          const struct obj_retime *want)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    unsigned n = 0;
    struct stripe *stripe = cache__stripe(cache, digest);
    stripe__lock(stripe);
    struct objhead *head = table__find(stripe, digest);
    if (head != NULL) {
        const struct core_set cores = head__cores(head);
        for (size_t i = 0; i < cores.count; i++) {
            retime(cache, core_at(&cores, i), want);
        }
        n = (unsigned)cores.count;
    }
    stripe__unlock(stripe);
    count(&cache->purged, n);
    return n;
}
