/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* When objects end: a binary heap by real time (origin + ttl + grace + keep), in an array, each
 * core knowing its index, so that one that leaves for another reason comes out in O(log n).
 *
 * Hits do not touch it.  A core is put in under its stripe while it stands in its head's array,
 * and taken out by whoever took it from there: so what is in the heap still has the array's
 * reference, and one more may be taken under the heap's lock. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"

/* How many cache_expire kills before it lets its thread do other things. */
enum { EXPIRE_AT_ONCE = 512 };

void expiry__init(struct expiry *expiry)
{
    mutex_init(&expiry->lock);
}

void expiry__fini(struct expiry *expiry)
{
    CHECK(expiry->count == 0);
    XFREE(expiry->items);
    mutex_fini(&expiry->lock);
}

static void put(struct expiry *expiry, size_t at, struct expiry_item item)
{
    expiry->items[at] = item;
    item.oc->heap_place = (uint32_t)(at + 1);
}

/* Moves the item from the hole at `at` towards the root until its parent is not later. */
static void sift_up(struct expiry *expiry, size_t at, struct expiry_item item)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (expiry->items[parent].when_ns <= item.when_ns) {
            break;
        }
        put(expiry, at, expiry->items[parent]);
        at = parent;
    }
    put(expiry, at, item);
}

static void sift_down(struct expiry *expiry, size_t at, struct expiry_item item)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= expiry->count) {
            break;
        }
        if (child + 1 < expiry->count &&
            expiry->items[child + 1].when_ns < expiry->items[child].when_ns) {
            child++;
        }
        if (expiry->items[child].when_ns >= item.when_ns) {
            break;
        }
        put(expiry, at, expiry->items[child]);
        at = child;
    }
    put(expiry, at, item);
}

static void tell(const struct expiry *expiry, enum expiry_news what, const struct objcore *oc,
                 uint64_t when_ns)
{
    if (expiry->news != NULL && (oc->flags & CORE_QUIET) == 0) {
        expiry->news(expiry->news_arg, what, oc, when_ns);
    }
}

void expiry__insert(struct cache *cache, struct objcore *oc)
{
    struct expiry *expiry = &cache->expiry;
    const struct obj_times times = core__times(oc);
    struct expiry_item item = {.when_ns = times__kept_until(&times), .oc = oc};
    CHECK(oc->place == CORE_INSIDE);
    if (item.when_ns == NEVER) {
        return;
    }
    mutex_lock(&expiry->lock);
    CHECK(oc->heap_place == 0);
    if (expiry->count == expiry->cap) {
        expiry->cap = expiry->cap == 0 ? 1024 : 2 * expiry->cap;
        CHECK(expiry->cap < UINT32_MAX);
        expiry->items = xrealloc(expiry->items, expiry->cap * sizeof *expiry->items);
    }
    sift_up(expiry, expiry->count++, item);
    tell(expiry, EXPIRY_IN, oc, item.when_ns);
    /* Which is the next now. */
    tell(expiry, EXPIRY_LOOK, expiry->items[0].oc, expiry->items[0].when_ns);
    mutex_unlock(&expiry->lock);
}

void expiry__remove(struct cache *cache, struct objcore *oc)
{
    struct expiry *expiry = &cache->expiry;
    mutex_lock(&expiry->lock);
    if (oc->heap_place != 0) {
        size_t at = oc->heap_place - 1;
        CHECK(at < expiry->count);
        CHECK(expiry->items[at].oc == oc);
        struct expiry_item last = expiry->items[--expiry->count];
        oc->heap_place = 0;
        if (last.oc != oc) {
            if (at > 0 && expiry->items[(at - 1) / 2].when_ns > last.when_ns) {
                sift_up(expiry, at, last);
            } else {
                sift_down(expiry, at, last);
            }
        }
    }
    mutex_unlock(&expiry->lock);
}

/* The next one that is due, referenced; else NULL and when to come again. */
static struct objcore *next_due(struct expiry *expiry, uint64_t now_ns, uint64_t *next_ns)
{
    struct objcore *oc = NULL;
    *next_ns = NEVER;
    mutex_lock(&expiry->lock);
    if (expiry->count > 0) {
        *next_ns = expiry->items[0].when_ns;
        tell(expiry, EXPIRY_LOOK, expiry->items[0].oc, *next_ns);
        if (*next_ns <= now_ns) {
            oc = expiry->items[0].oc;
            core__ref(oc);
        }
    }
    mutex_unlock(&expiry->lock);
    return oc;
}

uint64_t cache_expire(struct cache *cache)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    const struct loop *loop = loop_self();
    uint64_t mono_ns = loop == NULL ? clock_mono_ns() : loop_mono_ns(loop);
    uint64_t real_ns = cache__real_now();
    uint64_t next_ns;
    for (unsigned i = 0; i < EXPIRE_AT_ONCE; i++) {
        struct objcore *oc = next_due(&cache->expiry, real_ns, &next_ns);
        if (oc == NULL) {
            return next_ns == NEVER ? NEVER : clock_after(mono_ns, next_ns - real_ns);
        }
        if (core__kill(oc)) {
            tell(&cache->expiry, EXPIRY_OUT, oc, real_ns);
            count(&cache->expired, 1);
        }
        obj_release(&oc);
    }
    return mono_ns;
}
