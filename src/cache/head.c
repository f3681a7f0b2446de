/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Heads, and the arrays of cores that hang on them.
 *
 *   table --digest--> head --cores--> { count, newest, ..., oldest }   (one core: no array)
 *                       ^                        |
 *                       +------- head -----------+
 *
 * Readers walk this without locks: they are RCU readers, each pointer is loaded once, and what it
 * led to stays until they suspend.  Writers hold the head's stripe.
 *
 * A core's memory goes with its last reference.  The reference that the array stands for is
 * dropped by call_rcu, after every reader that could have found the core there has either taken a
 * reference of its own or gone on; so a reader that finds a core may simply add one, and the count
 * it adds to is never zero.
 *
 * A head goes when no core refers to it.  It leaves the table under the same lock under which heads
 * are found for change, so nobody adds to one that is gone; a reader without locks may still stand
 * on it, sees that it has no cores, and looks again under the lock. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"

void stripe__lock(struct stripe *stripe)
{
    mutex_lock(&stripe->lock);
}

void stripe__unlock(struct stripe *stripe)
{
    mutex_unlock(&stripe->lock);
}

struct stripe *cache__stripe(struct cache *cache, const struct digest *digest)
{
    /* The stripe's own table uses the first word; this is another. */
    uint16_t word;
    memcpy(&word, &digest->bytes[sizeof digest->bytes - sizeof word], sizeof word);
    return &cache->stripes[word % CACHE_STRIPES];
}

/* ---- heads ---- */

void head__init(struct objhead *head, struct cache *cache, const struct digest *digest)
{
    head->magic = HEAD_MAGIC;
    head->cache = cache;
    head->digest = *digest;
    list_init(&head->busies);
    atomic_store_explicit(&head->cores, 0, memory_order_release);
}

struct objhead *head__get(struct cache *cache, const struct digest *digest)
{
    struct stripe *stripe = cache__stripe(cache, digest);
    struct objhead *head = table__find(stripe, digest);
    if (head == NULL) {
        head = xcalloc(1, sizeof *head);
        head__init(head, cache, digest);
        table__add(stripe, head);
        count(&cache->heads, 1);
    }
    CHECK_OBJ(head, HEAD_MAGIC);
    return head;
}

static void head_free(struct rcu_head *rcu)
{
    RCU_AFTER_READERS();
    struct objhead *head = CONTAINER_OF(rcu, struct objhead, rcu);
    CHECK_OBJ(head, HEAD_MAGIC);
    head->magic = 0;
    free(head);
    RCU_READER_DONE();
}

void head__unref(struct objhead *head)
{
    struct cache *cache = head->cache;
    struct stripe *stripe = head__stripe(head);
    stripe__lock(stripe);
    CHECK_OBJ(head, HEAD_MAGIC);
    CHECK(head->refs > 0);
    head->refs--;
    bool is_last = head->refs == 0;
    if (is_last) {
        CHECK(head__cores(head).count == 0);
        CHECK(list_is_empty(&head->busies));
        table__remove(stripe, head);
    }
    stripe__unlock(stripe);
    if (is_last) {
        atomic_fetch_sub_explicit(&cache->heads, 1, memory_order_relaxed);
        cache__defer(&head->rcu, head_free);
    }
}

/* ---- cores ---- */

struct objcore *core__new(struct objhead *head)
{
    struct objcore *oc = xcalloc(1, sizeof *oc);
    oc->magic = CORE_MAGIC;
    oc->head = head;
    atomic_store_explicit(&oc->refs, 1, memory_order_relaxed);
    head->refs++;
    CHECK(head->refs > 0);
    count(&head->cache->cores, 1);
    return oc;
}

void core__free(struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    CHECK(oc->place == CORE_OUTSIDE);
    CHECK(oc->heap_place == 0);
    struct objhead *head = oc->head;
    struct boc *boc = core__boc(oc);
    if (boc != NULL) {
        CHECK(boc__state(boc) == BOC_FINISHED || boc__state(boc) == BOC_FAILED);
        boc__release(boc);
    }
    if (core__ban(oc) != NULL) {
        bans__detach(&head->cache->bans, oc);
    }
    /* First the place: until then eviction may ask this core whether it lives. */
    if (oc->stv != NULL) {
        stv_deleteobj(&oc->stv);
    }
    atomic_fetch_sub_explicit(&head->cache->cores, 1, memory_order_relaxed);
    oc->magic = 0;
    free(oc);
    head__unref(head);
}

void core__ref(struct objcore *oc)
{
    uint32_t before = atomic_fetch_add_explicit(&oc->refs, 1, memory_order_relaxed);
    CHECK(before > 0);
    CHECK(before < UINT32_MAX / 2);
}

static void drop_array_ref(struct rcu_head *rcu)
{
    RCU_AFTER_READERS();
    struct objcore *oc = CONTAINER_OF(rcu, struct objcore, rcu);
    obj_release(&oc);
    RCU_READER_DONE();
}

/* ---- arrays ---- */

/* Arrays of more than one stand behind what frees them. */
static struct cores *cores_new(size_t n)
{
    struct rcu_head *rcu =
        xmalloc(sizeof *rcu + sizeof(struct cores) + n * sizeof(struct objcore *));
    struct cores *cores = (struct cores *)(void *)(rcu + 1);
    cores->count = n;
    return cores;
}

static void cores_free(struct rcu_head *rcu)
{
    RCU_AFTER_READERS();
    free(rcu);
}

static void cores_retire(const struct core_set *old)
{
    if (old->many == NULL) {
        return;
    }
    union {
        const struct cores *old;
        struct rcu_head *end; /* of what stands before it */
    } at = {.old = old->many};
    cache__defer(at.end - 1, cores_free);
}

/* The word for those who stay and the one added; n in all. */
static uintptr_t cores_copy(const struct core_set *old, struct objcore *added, enum head_end end,
                            size_t n)
{
    size_t added_at = end == HEAD_FRONT ? 0 : old->count;
    struct cores *new = n > 1 ? cores_new(n) : NULL;
    uintptr_t word = (uintptr_t) new;
    size_t at = 0;
    for (size_t i = 0; i <= old->count; i++) {
        struct objcore *oc = i == added_at ? added : core_at(old, i < added_at ? i : i - 1);
        if (oc == NULL || oc->place == CORE_LEAVING) {
            continue;
        }
        if (new == NULL) {
            word = (uintptr_t)oc | CORES_ONE;
        } else {
            new->v[at] = oc;
        }
        at++;
    }
    CHECK(at == n);
    return word;
}

/* Marks the oldest where there are too many.  Returns how many stay. */
static size_t mark_surplus(const struct core_set *old, size_t room)
{
    size_t staying = 0;
    for (size_t i = 0; i < old->count; i++) {
        struct objcore *oc = core_at(old, i);
        CHECK(oc->place != CORE_OUTSIDE);
        if (staying == room) {
            oc->place = CORE_LEAVING;
        }
        staying += oc->place == CORE_INSIDE;
    }
    return staying;
}

struct objcore *head__arrange(struct objhead *head, struct objcore *added, enum head_end end)
{
    const struct core_set old = head__cores(head);
    size_t staying = mark_surplus(&old, HEAD_CORES_MAX - (added != NULL));
    if (added != NULL) {
        CHECK(added->place == CORE_OUTSIDE);
        core__ref(added);
        added->place = CORE_INSIDE;
        staying++;
    }
    uintptr_t new = cores_copy(&old, added, end, staying);
    atomic_store_explicit(&head->cores, new, memory_order_release);
    struct objcore *left = NULL;
    for (size_t i = 0; i < old.count; i++) {
        struct objcore *oc = core_at(&old, i);
        if (oc->place == CORE_LEAVING) {
            oc->place = CORE_OUTSIDE;
            oc->next_left = left;
            left = oc;
        }
    }
    cores_retire(&old);
    return left;
}

/* Before they leave, and under the same lock: so whoever does not find them there knows that no
 * later worker finds them either, and may say so. */
static void kill_leaving(const struct objhead *head, bool leaves_tomb)
{
    const struct core_set cores = head__cores(head);
    for (size_t i = 0; i < cores.count; i++) {
        struct objcore *oc = core_at(&cores, i);
        if (oc->place != CORE_LEAVING) {
            continue;
        }
        if (leaves_tomb) {
            /* First: it may have replaced what must not outlive it. */
            tomb__add(head->cache, &head->digest);
            tomb__in_stores(head->cache, &head->digest);
            leaves_tomb = false;
        }
        /* Also one that is not finished yet: then it will never go live. */
        if (oc->stv != NULL) {
            stv_dead(oc->stv);
        }
    }
}

struct objcore *head__rebuild(struct objhead *head, struct objcore *added, enum head_end end)
{
    const struct core_set cores = head__cores(head);
    (void)mark_surplus(&cores, HEAD_CORES_MAX - (added != NULL));
    /* What leaves for one that was found is only older than that one. */
    kill_leaving(head, added == NULL || (added->flags & CORE_FOUND) == 0);
    return head__arrange(head, added, end);
}

void head__clear(struct objhead *head)
{
    head->epoch++;
    while (list_pop_front(&head->busies) != NULL) {
        /* They are not to be joined; obj_ready compares epochs. */
    }
    const struct core_set cores = head__cores(head);
    for (size_t i = 0; i < cores.count; i++) {
        core_at(&cores, i)->place = CORE_LEAVING;
    }
}

struct objcore *head__take_out(struct objcore *oc)
{
    if (oc->place != CORE_INSIDE) {
        return NULL;
    }
    oc->place = CORE_LEAVING;
    return head__rebuild(oc->head, NULL, HEAD_FRONT);
}

unsigned core__let_go(struct cache *cache, struct objcore *chain)
{
    unsigned n = 0;
    while (chain != NULL) {
        struct objcore *oc = chain;
        chain = oc->next_left;
        expiry__remove(cache, oc);
        bans__detach(&cache->bans, oc);
        cache__defer(&oc->rcu, drop_array_ref);
        n++;
    }
    return n;
}

bool core__kill(struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    struct objhead *head = oc->head;
    struct stripe *stripe = head__stripe(head);
    stripe__lock(stripe);
    struct objcore *left = head__take_out(oc);
    stripe__unlock(stripe);
    return core__let_go(head->cache, left) > 0;
}
