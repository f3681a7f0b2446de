/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Pools: for each loop a list of free blocks, linked through the blocks themselves.
 *
 *   pool -> lists[loop] -> block -> block -> ...
 *
 * No locks: a list is touched by its loop's thread only.  A block may come back on another loop
 * than it left; it then stays there.  Under ASan a free block is poisoned, so that use after
 * pool_put is found as use after free would be. */
#include "run/run_priv.h"

#include <stdlib.h>

#include "base/mem.h"

#if RUN_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(ptr, bytes) ((void)(ptr), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(ptr, bytes) ((void)(ptr), (void)(bytes))
#endif

struct free_block {
    struct free_block *next;
};

struct pool_list {
    _Alignas(CACHE_LINE) struct free_block *first;
    unsigned count;
    /* Gets minus puts on this loop; others read it (pool_taken). */
    atomic_int_least64_t taken;
};

struct pool {
    uint32_t magic;
    unsigned cached_max;
    unsigned list_count;
    size_t block_bytes;
    const char *name;
    struct pool_list lists[];
};

struct pool *pool_new(struct run *run, const char *name, size_t block_bytes, unsigned cached_max)
{
    CHECK_OBJ(run, RUN_MAGIC);
    CHECK(block_bytes > 0);
    size_t bytes = sizeof(struct pool) + run->loop_count * sizeof(struct pool_list);
    struct pool *pool = xaligned(CACHE_LINE, bytes);
    memset(pool, 0, bytes);
    pool->magic = POOL_MAGIC;
    pool->cached_max = cached_max;
    pool->list_count = run->loop_count;
    pool->block_bytes = (block_bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    pool->name = name;
    return pool;
}

static struct pool_list *own_list(struct pool *pool)
{
    const struct loop *loop = loop_self();
    CHECK_OBJ(pool, POOL_MAGIC);
    CHECK(loop != NULL);
    CHECK(loop->index < pool->list_count);
    return &pool->lists[loop->index];
}

static void count_taken(struct pool_list *list, int change)
{
    int64_t taken = atomic_load_explicit(&list->taken, memory_order_relaxed);
    atomic_store_explicit(&list->taken, taken + change, memory_order_relaxed);
}

static void *pop(struct pool *pool, struct pool_list *list)
{
    struct free_block *block = list->first;
    ASAN_UNPOISON_MEMORY_REGION(block, pool->block_bytes);
    list->first = block->next;
    list->count--;
    return block;
}

void *pool_get(struct pool *pool)
{
    struct pool_list *list = own_list(pool);
    count_taken(list, 1);
    if (UNLIKELY(list->first == NULL)) {
        return xaligned(CACHE_LINE, pool->block_bytes);
    }
    return pop(pool, list);
}

void pool_put(struct pool *pool, void *take_block)
{
    struct pool_list *list = own_list(pool);
    CHECK(take_block != NULL);
    count_taken(list, -1);
    if (UNLIKELY(list->count >= pool->cached_max)) {
        free(take_block);
        return;
    }
    struct free_block *block = take_block;
    block->next = list->first;
    list->first = block;
    list->count++;
    ASAN_POISON_MEMORY_REGION(block, pool->block_bytes);
}

void pool_free(struct pool **pool_of)
{
    struct pool *pool = *pool_of;
    if (pool == NULL) {
        return;
    }
    CHECK_OBJ(pool, POOL_MAGIC);
    for (unsigned i = 0; i < pool->list_count; i++) {
        while (pool->lists[i].first != NULL) {
            free(pop(pool, &pool->lists[i]));
        }
    }
    pool->magic = 0;
    XFREE(*pool_of);
}

size_t pool_block_bytes(const struct pool *pool)
{
    CHECK_OBJ(pool, POOL_MAGIC);
    return pool->block_bytes;
}

uint64_t pool_taken(const struct pool *pool)
{
    CHECK_OBJ(pool, POOL_MAGIC);
    int64_t sum = 0;
    for (unsigned i = 0; i < pool->list_count; i++) {
        sum += atomic_load_explicit(&pool->lists[i].taken, memory_order_relaxed);
    }
    return sum < 0 ? 0 : (uint64_t)sum;
}
