/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/arena.h"

#include <stdio.h>

#include "base/check.h"

#define ALIGNMENT 16u

void arena_init(struct arena *a, void *block, size_t bytes)
{
    CHECK(block != NULL);
    CHECK(bytes > 0);
    *a = (struct arena){.base = block, .cap = bytes};
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    CHECK(a->used <= a->cap);
    uintptr_t at = ((uintptr_t)a->base + a->used + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    size_t skip = at - (uintptr_t)a->base;
    if (skip > a->cap || bytes > a->cap - skip) {
        a->overflowed = true;
        return NULL;
    }
    a->used = skip + bytes;
    return a->base + skip;
}

struct str arena_dup(struct arena *a, struct str s)
{
    if (s.len >= a->cap - a->used) {
        a->overflowed = true;
        return STR_NONE;
    }
    char *copy = a->base + a->used;
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    a->used += s.len + 1;
    return (struct str){copy, s.len};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    size_t room = a->cap - a->used;
    char *text = a->base + a->used;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, room, fmt, ap);
    va_end(ap);
    CHECK(len >= 0);
    if ((size_t)len >= room) {
        a->overflowed = true;
        return STR_NONE;
    }
    a->used += (size_t)len + 1;
    return (struct str){text, (size_t)len};
}

struct sb arena_builder(struct arena *a)
{
    return sb_of(a->base + a->used, a->cap - a->used);
}

struct str arena_claim(struct arena *a, const struct sb *sb)
{
    CHECK(sb->ptr == a->base + a->used);
    CHECK(sb->len <= a->cap - a->used);
    if (sb->overflow) {
        a->overflowed = true;
        return STR_NONE;
    }
    a->used += sb->len;
    return sb_str(sb);
}

void arena_rewind(struct arena *a, size_t mark)
{
    CHECK(mark <= a->used);
    a->used = mark;
}

void arena_reset(struct arena *a)
{
    a->used = 0;
    a->overflowed = false;
}
