/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The ring: many writers under one mutex, readers in other processes that take no part in it.
 *
 *     0   char[8]    "VSLHEAD1", written last
 *     8   int64      words in an eighth (segment) of the log
 *    16   uint32     number of the segment being written, ever increasing; mod 8 is its place
 *    24   int64[8]   where the first record of each segment begins, in words; -1: nowhere yet
 *    88   uint32[]   the log
 *
 * A record is {tag << 24 | bytes, id, payload in words}; a batch is {255 << 24, bytes} and records.
 * After the last one stands an end marker; where the writer went back to the front, a wrap marker.
 *
 * What a reader relies on, in the order in which it must become visible:
 * 1. The new end marker behind the place of the new records, before these replace the old marker,
 *    at which readers stand.
 * 2. The segment number before old records are overwritten: a reader more than five segments behind
 *    knows that its bytes cannot be trusted.  As no single copy is longer than half a segment, at
 *    least one whole segment lies between the writer and the slowest trusted reader.
 * 3. All of the new records but the first word, and then that word, which takes the place of the
 *    old end marker.  It is never 0.
 * On going back to the front: the end marker there, then the wrap marker, then the number.
 *
 * Records are copied while the lock is held.  A writer that reserved under the lock and copied
 * after it could be overtaken by a whole lap, and would then write into the midst of newer records.
 */
#include "shm/vsl_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"

struct ring_head {
    char marker[8];
    int64_t segment_words;
    uint32_t segment_n;
    uint32_t pad;
    int64_t offset[VSL_SEGMENTS];
    uint32_t log[];
};
static_assert(offsetof(struct ring_head, segment_n) == 16, "readers expect this layout");
static_assert(offsetof(struct ring_head, offset) == 24, "readers expect this layout");
static_assert(offsetof(struct ring_head, log) == 88, "readers expect this layout");
static_assert(VSL_SEGMENTS == 8, "readers expect this layout");

struct vsl {
    uint32_t magic;
    pthread_mutex_t lock; /* of what follows, and of writing to *head */
    struct ring_head *head;
    size_t words;         /* in the log */
    size_t segment_words; /* an eighth of it */
    size_t next;          /* where the end marker stands */
    uint32_t segment_n;
    struct vsm_seg *seg;
    const struct params *params;
    struct vsc_main *main;
    struct vsc_main unread; /* stands for `main` where there is none */
};

#define VSL__MAGIC 0x51c7a09d

enum rc vsl_new(struct vsm_set *set, size_t bytes, const struct params *params,
                struct vsc_main *main, struct vsl **ring)
{
    CHECK(params != NULL);
    CHECK(bytes >= VSL_BYTES_MIN);
    struct vsm_seg *seg;
    enum rc rc = vsm_seg_new(set, VSL_CLASS, VSL_CLASS, bytes, &seg);
    if (rc != RC_OK) {
        return rc;
    }
    struct vsl *r = xcalloc(1, sizeof *r);
    r->magic = VSL__MAGIC;
    mutex_init(&r->lock);
    r->seg = seg;
    r->params = params;
    r->main = main != NULL ? main : &r->unread;
    r->head = vsm_seg_ptr(seg);
    r->segment_words = (vsm_seg_len(seg) - sizeof *r->head) / sizeof(uint32_t) / VSL_SEGMENTS;
    r->words = r->segment_words * VSL_SEGMENTS;
    /* Eight before 2^32: the number's wrap is met in each test, not after years. */
    r->segment_n = UINT32_MAX - VSL_SEGMENTS + 1;
    r->head->segment_words = (int64_t)r->segment_words;
    r->head->segment_n = r->segment_n;
    for (unsigned i = 1; i < VSL_SEGMENTS; i++) {
        r->head->offset[i] = -1;
    }
    r->head->log[0] = VSL_ENDMARKER;
    atomic_thread_fence(memory_order_release);
    memcpy(r->head->marker, "VSLHEAD1", sizeof r->head->marker);
    rc = vsm_seg_publish(seg);
    if (rc != RC_OK) {
        vsl_free(&r);
        return rc;
    }
    *ring = r;
    return RC_OK;
}

void vsl_free(struct vsl **ring)
{
    struct vsl *r = *ring;
    if (r == NULL) {
        return;
    }
    CHECK_OBJ(r, VSL__MAGIC);
    *ring = NULL;
    vsm_seg_free(&r->seg);
    mutex_fini(&r->lock);
    r->magic = 0;
    XFREE(r);
}

size_t vsl__copy_max_words(const struct vsl *ring)
{
    CHECK_OBJ(ring, VSL__MAGIC);
    return ring->segment_words / 2;
}

const struct params *vsl__params(const struct vsl *ring)
{
    CHECK_OBJ(ring, VSL__MAGIC);
    return ring->params;
}

static void put_word(uint32_t *at, uint32_t word)
{
    __atomic_store_n(at, word, __ATOMIC_RELAXED);
}

static void lock_ring(struct vsl *r)
{
    if (pthread_mutex_trylock(&r->lock) != 0) {
        mutex_lock(&r->lock);
        vsc_add(&r->main->shm_cont, 1);
    }
}

static void go_to_front(struct vsl *r)
{
    CHECK(r->next > 0);
    r->segment_n += VSL_SEGMENTS - r->segment_n % VSL_SEGMENTS;
    CHECK(r->segment_n % VSL_SEGMENTS == 0);
    __atomic_store_n(&r->head->offset[0], 0, __ATOMIC_RELAXED);
    put_word(&r->head->log[0], VSL_ENDMARKER);
    atomic_thread_fence(memory_order_release);
    put_word(&r->head->log[r->next], VSL_WRAPMARKER);
    r->next = 0;
    __atomic_store_n(&r->head->segment_n, r->segment_n, __ATOMIC_RELEASE);
    vsc_add(&r->main->shm_cycles, 1);
}

/* Takes `words` behind the last record.  Until their first word is written, readers see nothing. */
static uint32_t *reserve(struct vsl *r, size_t words)
{
    CHECK(words <= r->segment_words / 2);
    if (r->next + words >= r->words) {
        go_to_front(r);
    }
    uint32_t *rec = &r->head->log[r->next];
    r->next += words;
    CHECK(r->next < r->words);
    put_word(&r->head->log[r->next], VSL_ENDMARKER);
    while (r->next / r->segment_words > r->segment_n % VSL_SEGMENTS) {
        r->segment_n++;
        __atomic_store_n(&r->head->offset[r->segment_n % VSL_SEGMENTS], (int64_t)r->next,
                         __ATOMIC_RELAXED);
    }
    __atomic_store_n(&r->head->segment_n, r->segment_n, __ATOMIC_RELEASE);
    /* The number before what is written into its segment. */
    atomic_thread_fence(memory_order_release);
    return rec;
}

void vsl__write(struct vsl *ring, const uint32_t *units, size_t words,
                const struct vsl__tally *tally)
{
    CHECK_OBJ(ring, VSL__MAGIC);
    CHECK(words > VSL_OVERHEAD);
    lock_ring(ring);
    uint32_t *to = reserve(ring, words);
    memcpy(to + 1, units + 1, (words - 1) * sizeof *to);
    atomic_thread_fence(memory_order_release);
    put_word(to, units[0]);
    mutex_unlock(&ring->lock);
    vsc_add(&ring->main->shm_writes, 1);
    vsc_add(&ring->main->shm_records, tally->records);
    vsc_add(&ring->main->shm_flushes, tally->is_early ? 1 : 0);
}

void vsl_now(struct vsl *ring, enum VSL_tag_e tag, uint32_t id, struct str text)
{
    CHECK_OBJ(ring, VSL__MAGIC);
    if (!param_bit(ring->params, PARAM_BITS_vsl_mask, (unsigned)tag)) {
        return;
    }
    size_t max = vsl__text_max(ring, vsl__copy_max_words(ring));
    size_t len = text.len <= max ? text.len : max;
    size_t words = vsl__words(len + 1);
    lock_ring(ring);
    uint32_t *rec = reserve(ring, words);
    rec[words - 1] = 0;
    rec[1] = id;
    if (len > 0) {
        memcpy(rec + VSL_OVERHEAD, text.ptr, len);
    }
    atomic_thread_fence(memory_order_release);
    put_word(rec, (uint32_t)tag << 24 | (uint32_t)(len + 1));
    mutex_unlock(&ring->lock);
    vsc_add(&ring->main->shm_writes, 1);
    vsc_add(&ring->main->shm_records, 1);
}

void vsl_nowf(struct vsl *ring, enum VSL_tag_e tag, uint32_t id, const char *fmt, ...)
{
    CHECK_OBJ(ring, VSL__MAGIC);
    if (!param_bit(ring->params, PARAM_BITS_vsl_mask, (unsigned)tag)) {
        return;
    }
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0);
    size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    vsl_now(ring, tag, id, (struct str){text, len});
}
