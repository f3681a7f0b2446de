/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The table of heads.  Each stripe has one of its own, a plain array of chains, which its lock
 * guards against other writers, and which readers walk without locks:
 *
 *   stripe --index--> [ for writers | bucket[0] bucket[1] ... ]
 *                                        |
 *                                      head --next[side]--> head --next[side]--> NULL
 *
 * How many buckets there are, and which side they are chained by, stands in the lowest bits of the
 * stripe's word, since an index begins at a whole line: so a reader touches no line of it but that
 * of its bucket.
 *
 * It grows when it has more heads than buckets.  Heads cannot be moved from one chain to another
 * under the eyes of a reader, so each head has two links: the new index is chained through the side
 * that the old one does not use, then published whole.  Readers that still walk the old one find
 * its chains as they were.  What is added after that they miss; who misses looks again under the
 * lock.  The side they use is free again a grace period later, and until then the table does not
 * grow further.
 *
 * Which bucket a head is in depends on a secret of its stripe, so that nobody can choose names that
 * share one; how many share a stripe only matters to those who change something.
 *
 * Why not liburcu's lock-free table: all writers hold the stripe anyway, and it lets chains become
 * eight long before it grows, which at a million objects costs microseconds a lookup in misses of
 * the processor's cache. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"

enum { SHIFT_MIN = 2 };

enum { SIDE_BIT = 1, SHIFT_AT = 1, WORD_BITS = 63, LINE = 64 };

struct head_index {
    struct rcu_head rcu;
    struct stripe *stripe;
    _Alignas(LINE) struct objhead *_Atomic bucket[];
};

/* What a stripe's word says. */
struct view {
    struct head_index *index;
    unsigned side;
    unsigned shift; /* 2^shift buckets */
};

static struct view view_of(const struct stripe *stripe)
{
    uintptr_t word = atomic_load_explicit(&stripe->index, memory_order_acquire);
    uintptr_t bits = word & WORD_BITS;
    return (struct view){
        .index = (struct head_index *)(word - bits),
        .side = (unsigned)(bits & SIDE_BIT),
        .shift = (unsigned)(bits >> SHIFT_AT),
    };
}

static size_t buckets_of(const struct view *view)
{
    return (size_t)1 << view->shift;
}

static struct view index_new(struct stripe *stripe, unsigned shift, unsigned side)
{
    size_t bytes = sizeof(struct head_index) + ((size_t)1 << shift) * sizeof(struct objhead *);
    struct head_index *index = xaligned(LINE, (bytes + LINE - 1) / LINE * LINE);
    memset(index, 0, bytes);
    index->stripe = stripe;
    return (struct view){index, side, shift};
}

static void publish(struct stripe *stripe, const struct view *view)
{
    CHECK(view->shift <= WORD_BITS >> SHIFT_AT);
    CHECK(((uintptr_t)view->index & WORD_BITS) == 0);
    uintptr_t word = (uintptr_t)view->index | view->shift << SHIFT_AT | view->side;
    atomic_store_explicit(&stripe->index, word, memory_order_release);
}

void table__init(struct stripe *stripe)
{
    stripe->secret = digest_secret();
    struct view view = index_new(stripe, SHIFT_MIN, 0);
    publish(stripe, &view);
}

void table__fini(struct stripe *stripe)
{
    CHECK(stripe->heads == 0);
    free(view_of(stripe).index);
}

static struct objhead *_Atomic *bucket_of(const struct stripe *stripe, const struct view *view,
                                          const struct digest *digest)
{
    return &view->index->bucket[digest_place(digest, stripe->secret, view->shift)];
}

struct objhead *table__find(struct stripe *stripe, const struct digest *digest)
{
    struct view view = view_of(stripe);
    struct objhead *head =
        atomic_load_explicit(bucket_of(stripe, &view, digest), memory_order_acquire);
    while (head != NULL && !digest_eq(&head->digest, digest)) {
        head = atomic_load_explicit(&head->next[view.side], memory_order_acquire);
    }
    return head;
}

const void *table__bucket(struct stripe *stripe, const struct digest *digest)
{
    struct view view = view_of(stripe);
    return bucket_of(stripe, &view, digest);
}

static void put(const struct stripe *stripe, const struct view *view, struct objhead *head)
{
    struct objhead *_Atomic *bucket = bucket_of(stripe, view, &head->digest);
    struct objhead *first = atomic_load_explicit(bucket, memory_order_relaxed);
    atomic_store_explicit(&head->next[view->side], first, memory_order_relaxed);
    atomic_store_explicit(bucket, head, memory_order_release);
}

static void index_free(struct rcu_head *rcu)
{
    RCU_AFTER_READERS();
    struct head_index *old = CONTAINER_OF(rcu, struct head_index, rcu);
    stripe__lock(old->stripe);
    old->stripe->is_growing = false;
    stripe__unlock(old->stripe);
    free(old);
    RCU_READER_DONE();
}

static struct view grow(struct stripe *stripe, const struct view *old)
{
    struct view new = index_new(stripe, old->shift + 1, 1 - old->side);
    for (size_t i = 0; i < buckets_of(old); i++) {
        struct objhead *head = atomic_load_explicit(&old->index->bucket[i], memory_order_relaxed);
        while (head != NULL) {
            put(stripe, &new, head);
            head = atomic_load_explicit(&head->next[old->side], memory_order_relaxed);
        }
    }
    stripe->is_growing = true;
    publish(stripe, &new);
    cache__defer(&old->index->rcu, index_free);
    return new;
}

void table__add(struct stripe *stripe, struct objhead *head)
{
    struct view view = view_of(stripe);
    if (stripe->heads >= buckets_of(&view) && !stripe->is_growing) {
        view = grow(stripe, &view);
    }
    put(stripe, &view, head);
    stripe->heads++;
}

void table__remove(struct stripe *stripe, struct objhead *head)
{
    struct view view = view_of(stripe);
    struct objhead *_Atomic *link = bucket_of(stripe, &view, &head->digest);
    struct objhead *at = atomic_load_explicit(link, memory_order_relaxed);
    while (at != head) {
        CHECK(at != NULL);
        link = &at->next[view.side];
        at = atomic_load_explicit(link, memory_order_relaxed);
    }
    /* The head keeps its own link: readers may stand on it. */
    struct objhead *next = atomic_load_explicit(&head->next[view.side], memory_order_relaxed);
    atomic_store_explicit(link, next, memory_order_release);
    CHECK(stripe->heads > 0);
    stripe->heads--;
}

void table__walk(struct stripe *stripe, void (*fn)(void *arg, const struct objhead *head),
                 void *arg)
{
    struct view view = view_of(stripe);
    for (size_t i = 0; i < buckets_of(&view); i++) {
        const struct objhead *head =
            atomic_load_explicit(&view.index->bucket[i], memory_order_relaxed);
        while (head != NULL) {
            fn(arg, head);
            head = atomic_load_explicit(&head->next[view.side], memory_order_relaxed);
        }
    }
}

struct objhead *table__any(struct stripe *stripe)
{
    struct view view = view_of(stripe);
    for (size_t i = 0; i < buckets_of(&view); i++) {
        struct objhead *head = atomic_load_explicit(&view.index->bucket[i], memory_order_relaxed);
        if (head != NULL) {
            return head;
        }
    }
    return NULL;
}
