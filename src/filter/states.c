/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The memory of compressors' states.
 *
 * A deflate state is 256 KiB, a brotli window up to 16 MiB: who opens many connections could make
 * the worker take much more than the bodies are worth.  So all of it is on one account with a
 * ceiling, and what does not fit is refused.
 *
 * Libraries allocate the same few sizes for each body.  Given back to the heap, blocks of that size
 * at its end go back to the system, and the next body pays for fresh pages.  So some are kept by
 * size; a timer frees them when nobody has come for a second. */
#include "filter/states_priv.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "run/run.h"

enum { STATES_MAGIC = 0x2b90e4d7 };
enum { KEPT_BYTES_MAX = 2 * 1024 * 1024, KEPT_BLOCKS_MAX = 32, KEPT_BLOCK_MAX = 256 * 1024 };

struct block {
    size_t bytes;
    struct block *next; /* of those that are kept */
};
_Static_assert(sizeof(struct block) == 16, "what follows it is aligned to 16");

struct filter_states {
    uint32_t magic;
    unsigned kept_count;
    size_t bytes_max, out_bytes, kept_bytes;
    struct block *kept;
    struct loop *loop;
    struct timer timer;
    bool is_used; /* since the timer was armed */
};

struct filter_states *filter_states_new(size_t bytes_max, struct loop *loop)
{
    struct filter_states *states = xcalloc(1, sizeof *states);
    states->magic = STATES_MAGIC;
    states->bytes_max = bytes_max;
    states->loop = loop;
    return states;
}

static void drop_kept(struct filter_states *states)
{
    while (states->kept != NULL) {
        struct block *block = states->kept;
        states->kept = block->next;
        free(block);
    }
    states->kept_bytes = 0;
    states->kept_count = 0;
}

void filter_states_free(struct filter_states **states)
{
    if (*states == NULL) {
        return;
    }
    CHECK_OBJ(*states, STATES_MAGIC);
    CHECK((*states)->out_bytes == 0);
    if (timer_is_armed(&(*states)->timer)) {
        timer_disarm((*states)->loop, &(*states)->timer);
    }
    drop_kept(*states);
    (*states)->magic = 0;
    XFREE(*states);
}

size_t filter_states_out_bytes(const struct filter_states *states)
{
    return states->out_bytes;
}

size_t filter_states_kept_bytes(const struct filter_states *states)
{
    return states->kept_bytes;
}

static void on_timer(struct timer *timer, struct loop *loop)
{
    struct filter_states *states = CONTAINER_OF(timer, struct filter_states, timer);
    if (!states->is_used) {
        drop_kept(states);
        return;
    }
    states->is_used = false;
    timer_arm(loop, timer, clock_after(loop_mono_ns(loop), NS_PER_S), on_timer);
}

static bool keep(struct filter_states *states, struct block *block)
{
    if (states->loop == NULL || block->bytes > KEPT_BLOCK_MAX ||
        states->kept_count == KEPT_BLOCKS_MAX ||
        states->kept_bytes + block->bytes > KEPT_BYTES_MAX) {
        return false;
    }
    block->next = states->kept;
    states->kept = block;
    states->kept_count++;
    states->kept_bytes += block->bytes;
    states->is_used = true;
    if (!timer_is_armed(&states->timer)) {
        timer_arm(states->loop, &states->timer, clock_after(loop_mono_ns(states->loop), NS_PER_S),
                  on_timer);
    }
    return true;
}

static struct block *take_kept(struct filter_states *states, size_t bytes)
{
    for (struct block **at = &states->kept; *at != NULL; at = &(*at)->next) {
        struct block *block = *at;
        if (block->bytes == bytes) {
            *at = block->next;
            states->kept_count--;
            states->kept_bytes -= bytes;
            return block;
        }
    }
    return NULL;
}

void *states_alloc_anyway(struct filter_states *states, size_t bytes)
{
    struct block *block = NULL;
    if (states != NULL) {
        CHECK_OBJ(states, STATES_MAGIC);
        states->out_bytes += bytes;
        states->is_used = true;
        block = take_kept(states, bytes);
    }
    if (block == NULL) {
        block = xmalloc(sizeof *block + bytes);
    }
    *block = (struct block){.bytes = bytes};
    return block + 1;
}

static bool has_room(const struct filter_states *states, size_t bytes)
{
    return states == NULL ||
           (bytes <= states->bytes_max && states->out_bytes <= states->bytes_max - bytes);
}

bool states_charge(struct filter_states *states, size_t bytes)
{
    if (!has_room(states, bytes)) {
        return false;
    }
    if (states != NULL) {
        states->out_bytes += bytes;
    }
    return true;
}

void states_refund(struct filter_states *states, size_t bytes)
{
    if (states != NULL) {
        CHECK(states->out_bytes >= bytes);
        states->out_bytes -= bytes;
    }
}

void *states_alloc(struct filter_states *states, size_t bytes)
{
    if (!has_room(states, bytes)) {
        return NULL;
    }
    return states_alloc_anyway(states, bytes);
}

bool states_is_over(const struct filter_states *states)
{
    return states != NULL && states->out_bytes > states->bytes_max;
}

void states_free(struct filter_states *states, void *ptr)
{
    if (ptr == NULL) {
        return;
    }
    struct block *block = (struct block *)ptr - 1;
    if (states != NULL) {
        CHECK_OBJ(states, STATES_MAGIC);
        CHECK(states->out_bytes >= block->bytes);
        states->out_bytes -= block->bytes;
        if (keep(states, block)) {
            return;
        }
    }
    free(block);
}

void *states_zlib_alloc(void *opaque, unsigned items, unsigned bytes_each)
{
    return states_alloc(opaque, (size_t)items * bytes_each);
}

void states_zlib_free(void *opaque, void *block)
{
    states_free(opaque, block);
}
