/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Stacks for fibers: address space in chunks, memory as it is touched.
 *
 *   chunk:  | guard | stack 0        | guard | stack 1        | ...      stacks grow to the left
 *
 * A page that cannot be touched stands below each stack, so an overflow ends the process instead of
 * writing into a neighbour.  Kernels since 6.13 make such a page without splitting the mapping
 * (MADV_GUARD_INSTALL).  On older ones each stack costs two of the 65,530 mappings that a process
 * may have (vm.max_map_count), and mapped bodies want theirs too: there a quarter of the limit is
 * all the stacks we allow (stack__cap).
 *
 * Huge pages are refused: with them the first call on each stack would cost 2 MiB. */
#include "run/run_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"

#if RUN_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(ptr, bytes) ((void)(ptr), (void)(bytes))
#endif

/* glibc 2.36 does not know it yet; the value is the kernel's. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum {
    PAGE_BYTES = 4096,
    GUARD_BYTES = PAGE_BYTES,
    /* The sanitizers' red zones make frames several times larger. */
    STACK_BYTES = (RUN_ASAN || RUN_TSAN) ? 1024 * 1024 : 256 * 1024,
    STACKS_A_CHUNK = 16,
    KEEP_BYTES = 2 * PAGE_BYTES, /* the top holds the frames of a fiber that waits in its pool */
};

struct stack_chunk {
    struct stack_chunk *next;
    char *base;
};

static const size_t CHUNK_BYTES = (size_t)STACK_BYTES * STACKS_A_CHUNK;

static bool guard_install(void *page)
{
    return madvise(page, GUARD_BYTES, MADV_GUARD_INSTALL) == 0;
}

static char *map_chunk(void)
{
    void *base = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(base, CHUNK_BYTES, MADV_NOHUGEPAGE);
    return base;
}

static enum rc add_chunk(struct stack_store *store)
{
    char *base = map_chunk();
    if (base == NULL) {
        return RC_LIMIT;
    }
    struct stack_chunk *chunk = xmalloc(sizeof(*chunk));
    *chunk = (struct stack_chunk){.next = store->chunks, .base = base};
    store->chunks = chunk;
    store->left_in_chunk = STACKS_A_CHUNK;
    return RC_OK;
}

enum rc stack__take(struct stack_store *store, void **low, size_t *bytes)
{
    if (store->left_in_chunk == 0) {
        enum rc rc = add_chunk(store);
        if (rc != RC_OK) {
            return rc;
        }
    }
    char *page = store->chunks->base + (size_t)(store->left_in_chunk - 1) * STACK_BYTES;
    if (!guard_install(page) && mprotect(page, GUARD_BYTES, PROT_NONE) != 0) {
        return RC_LIMIT;
    }
    store->left_in_chunk--;
    *low = page + GUARD_BYTES;
    *bytes = STACK_BYTES - GUARD_BYTES;
    return RC_OK;
}

void stack__trim(void *low, size_t bytes)
{
    CHECK(bytes > KEEP_BYTES);
    int err = madvise(low, bytes - KEEP_BYTES, MADV_DONTNEED);
    CHECK(err == 0);
}

void stack__free_all(struct stack_store *store)
{
    while (store->chunks != NULL) {
        struct stack_chunk *chunk = store->chunks;
        store->chunks = chunk->next;
        /* Pooled fibers never left their first frames; who is mapped here next is innocent. */
        ASAN_UNPOISON_MEMORY_REGION(chunk->base, CHUNK_BYTES);
        int err = munmap(chunk->base, CHUNK_BYTES);
        CHECK(err == 0);
        free(chunk);
    }
    store->left_in_chunk = 0;
}

static unsigned max_map_count(void)
{
    unsigned count = 65530;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file != NULL) {
        char line[32] = "";
        if (fgets(line, sizeof(line), file) != NULL) {
            unsigned long value = strtoul(line, NULL, 10);
            count = value > UINT32_MAX ? UINT32_MAX : (unsigned)value;
        }
        (void)fclose(file);
    }
    return count;
}

unsigned stack__cap(void)
{
    char *base = map_chunk();
    bool is_split = base == NULL || !guard_install(base);
    if (base != NULL) {
        (void)munmap(base, CHUNK_BYTES);
    }
    return is_split ? max_map_count() / 4 : UINT32_MAX;
}
