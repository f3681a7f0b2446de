/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Request memory: bump allocation in one block of fixed size, gone all at once.
 * A request that needs more than its arena fails alone, so callers test for NULL. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/sb.h"
#include "base/str.h"

struct arena {
    char *base;
    size_t cap;
    size_t used;
    bool overflowed; /* some allocation failed; sticks until arena_reset */
};

/* Borrows the block for as long as the arena is used. */
void arena_init(struct arena *a, void *block, size_t bytes);

/* 16-byte aligned, uninitialised; NULL when the arena is full. */
void *arena_alloc(struct arena *a, size_t bytes);

/* Whether this is memory that it gave out. */
static inline bool arena_holds(const struct arena *a, const void *at)
{
    return (uintptr_t)at - (uintptr_t)a->base < a->used;
}

/* A copy with a NUL behind it (not counted); STR_NONE when the arena is full. */
struct str arena_dup(struct arena *a, struct str s);

/* STR_NONE when the arena is full. */
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What is free, as one unaligned run: fill it, then arena_claim what was used. */
struct sb arena_builder(struct arena *a);
/* Ends arena_builder: keeps what was appended. STR_NONE when it had overflowed. */
struct str arena_claim(struct arena *a, const struct sb *sb);

/* Everything allocated after `mark` is gone. */
static inline size_t arena_mark(const struct arena *a)
{
    return a->used;
}
void arena_rewind(struct arena *a, size_t mark);
void arena_reset(struct arena *a);

#endif
