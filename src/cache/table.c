/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The table of heads.  Each stripe has one of its own, a plain array of chains, which its lock
 * guards against other writers, and which readers walk without locks:
 *
 *   stripe --index--> { mask, side, bucket[0] bucket[1] ... }
 *                                      |
 *                                    head --next[side]--> head --next[side]--> NULL
 *
 * It grows when it has more heads than buckets.  Heads cannot be moved from one chain to another
 * under the eyes of a reader, so each head has two links: the new index is chained through the side
 * that the old one does not use, then published whole.  Readers that still walk the old one find
 * its chains as they were.  What is added after that they miss; who misses looks again under the
 * lock.  The side they use is free again a grace period later, and until then the table does not
 * grow further.
 *
 * Why not liburcu's lock-free table: all writers hold the stripe anyway, and it lets chains become
 * eight long before it grows, which at a million objects costs microseconds a lookup in misses of
 * the processor's cache. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"

enum { BUCKETS_MIN = 4 };

struct head_index {
    struct rcu_head rcu;
    struct stripe *stripe;
    size_t mask;
    unsigned side;
    struct objhead *_Atomic bucket[];
};

static struct head_index *index_new(struct stripe *stripe, size_t buckets, unsigned side)
{
    struct head_index *index = xcalloc(1, sizeof *index + buckets * sizeof(struct objhead *));
    index->stripe = stripe;
    index->mask = buckets - 1;
    index->side = side;
    return index;
}

void table__init(struct stripe *stripe)
{
    atomic_store_explicit(&stripe->index, index_new(stripe, BUCKETS_MIN, 0), memory_order_release);
}

void table__fini(struct stripe *stripe)
{
    CHECK(stripe->heads == 0);
    free(atomic_load(&stripe->index));
}

static struct objhead *_Atomic *bucket_of(struct head_index *index, const struct digest *digest)
{
    return &index->bucket[digest_word(digest) & index->mask];
}

struct objhead *table__find(struct stripe *stripe, const struct digest *digest)
{
    struct head_index *index = atomic_load_explicit(&stripe->index, memory_order_acquire);
    unsigned side = index->side;
    struct objhead *head = atomic_load_explicit(bucket_of(index, digest), memory_order_acquire);
    while (head != NULL && !digest_eq(&head->digest, digest)) {
        head = atomic_load_explicit(&head->next[side], memory_order_acquire);
    }
    return head;
}

static void put(struct head_index *index, struct objhead *head)
{
    struct objhead *_Atomic *bucket = bucket_of(index, &head->digest);
    struct objhead *first = atomic_load_explicit(bucket, memory_order_relaxed);
    atomic_store_explicit(&head->next[index->side], first, memory_order_relaxed);
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

static void grow(struct stripe *stripe, struct head_index *old)
{
    struct head_index *new = index_new(stripe, 2 * (old->mask + 1), 1 - old->side);
    for (size_t i = 0; i <= old->mask; i++) {
        struct objhead *head = atomic_load_explicit(&old->bucket[i], memory_order_relaxed);
        while (head != NULL) {
            put(new, head);
            head = atomic_load_explicit(&head->next[old->side], memory_order_relaxed);
        }
    }
    stripe->is_growing = true;
    atomic_store_explicit(&stripe->index, new, memory_order_release);
    cache__defer(&old->rcu, index_free);
}

void table__add(struct stripe *stripe, struct objhead *head)
{
    struct head_index *index = atomic_load_explicit(&stripe->index, memory_order_relaxed);
    if (stripe->heads > index->mask && !stripe->is_growing) {
        grow(stripe, index);
        index = atomic_load_explicit(&stripe->index, memory_order_relaxed);
    }
    put(index, head);
    stripe->heads++;
}

void table__remove(struct stripe *stripe, struct objhead *head)
{
    struct head_index *index = atomic_load_explicit(&stripe->index, memory_order_relaxed);
    unsigned side = index->side;
    struct objhead *_Atomic *link = bucket_of(index, &head->digest);
    struct objhead *at = atomic_load_explicit(link, memory_order_relaxed);
    while (at != head) {
        CHECK(at != NULL);
        link = &at->next[side];
        at = atomic_load_explicit(link, memory_order_relaxed);
    }
    /* The head keeps its own link: readers may stand on it. */
    struct objhead *next = atomic_load_explicit(&head->next[side], memory_order_relaxed);
    atomic_store_explicit(link, next, memory_order_release);
    CHECK(stripe->heads > 0);
    stripe->heads--;
}

struct objhead *table__any(struct stripe *stripe)
{
    struct head_index *index = atomic_load_explicit(&stripe->index, memory_order_relaxed);
    for (size_t i = 0; i <= index->mask; i++) {
        struct objhead *head = atomic_load_explicit(&index->bucket[i], memory_order_relaxed);
        if (head != NULL) {
            return head;
        }
    }
    return NULL;
}
