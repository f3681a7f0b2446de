/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Small objects and all attributes lie in slots.  One sparse memfd, mapped once, is cut into equal
 * slabs; a slab in use has one class, that is one slot size, and a bitmap.
 *
 *     memfd   | slab 0        | slab 1        | slab 2        | ...        (larger than the store)
 *     slab 1  [slot][slot][slot][slot]~~~~~~~~~   ~ no pages yet
 *             ------- backed --------
 *
 * Slot sizes grow by an eighth.  Slots are taken from the lowest free one, so that pages are asked
 * for (fallocate, in steps) only as far as a slab is filled; a write through the mapping can
 * therefore never meet a page that the system cannot give (SIGBUS).  The file is larger than the
 * store because half-filled slabs use room in it, not memory.
 *
 * A slab's life: fresh -> partial <-> full -> empty (pages kept, any class may reopen it) -> idle
 * (pages punched) -> partial.  Nothing here outlives the process: after a crash the slots are
 * found again from the catalog's extents.
 *
 * Invariants: used is the number of ones in bits; a slab with a free slot is on partial[cls]; every
 * taken slot lies below backed. */
#include "store/slab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

#define SLAB_MIN (UINT64_C(128) << 10)
#define SLAB_USUAL (UINT64_C(1) << 20)
/* From here on sendfile is clearly cheaper than a copy (docs/performance.md). */
#define OWN_FILE_USUAL (UINT64_C(64) << 10)
#define OWN_FILE_MOST (UINT64_C(128) << 20)
/* Room in the file costs nothing; in a small store each class shall find a slab. */
#define SMALL_STORE (UINT64_C(256) << 20)
#define BACK_STEP_MAX (UINT64_C(256) << 10)
/* Punching costs a system call a slab, and zeroing when it is used again: not for each one; but a
 * small store cannot afford to keep many. */
#define EMPTIES_MAX 8
#define EMPTIES_SHARE 32

void slabs_sizes(uint64_t store_bytes, uint64_t files_max, uint64_t *slab_bytes,
                 uint64_t *own_file_min)
{
    uint64_t bytes = SLAB_MIN;
    while (bytes < SLAB_USUAL && bytes * 64 < store_bytes) {
        bytes *= 2;
    }
    uint64_t least = bytes / 4 < OWN_FILE_USUAL ? bytes / 4 : OWN_FILE_USUAL;
    uint64_t share = store_bytes / (files_max == 0 ? 1 : files_max);
    share = share < OWN_FILE_MOST ? share : OWN_FILE_MOST;
    *own_file_min = round_up(share > least ? share : least, SLAB_PAGE);
    while (bytes < 4 * *own_file_min) {
        bytes *= 2;
    }
    *slab_bytes = bytes;
}

uint64_t slabs_file_bytes(uint64_t store_bytes, uint64_t slab_bytes)
{
    uint64_t times = store_bytes < SMALL_STORE ? 16 : 2;
    return times * round_up(store_bytes, slab_bytes);
}

static void make_classes(struct slabs *s)
{
    uint64_t bytes = 128;
    while (bytes <= s->slot_max) {
        CHECK(s->classes < SLAB_CLASSES_MAX);
        s->class_bytes[s->classes++] = (uint32_t)bytes;
        if (bytes == s->slot_max) {
            break;
        }
        bytes = round_up(bytes + bytes / 8, 64);
        if (bytes > s->slot_max) {
            bytes = s->slot_max;
        }
    }
    for (uint32_t i = 0; i < SLAB_CLASSES_MAX; i++) {
        list_init(&s->partial[i]);
    }
}

static void count_pages(struct slabs *s)
{
    struct stat st;
    CHECK(fstat(s->fd, &st) == 0);
    s->pages_bytes = (uint64_t)st.st_blocks * 512;
}

static enum rc make_file(struct slabs *s)
{
    if (seam_fails(s->seam, STV_CALL_MEMFD)) {
        return RC_NOFILES;
    }
    s->fd = memfd_create("objmapper slabs", MFD_CLOEXEC);
    if (s->fd < 0) {
        return errno == EMFILE || errno == ENFILE ? RC_NOFILES : RC_NOSPACE;
    }
    return store__ftruncate(s->fd, s->file_bytes) ? RC_OK : RC_NOSPACE;
}

enum rc slabs_open(struct slabs *s, uint64_t store_bytes, uint64_t slab_bytes, int *take_fd,
                   const struct stv_seam *seam)
{
    /* Field by field: as one value it would pass through the stack. */
    memset(s, 0, sizeof *s);
    s->fd = *take_fd;
    s->slab_bytes = slab_bytes;
    s->seam = seam;
    *take_fd = -1;
    s->file_bytes = slabs_file_bytes(store_bytes, slab_bytes);
    s->slot_max = slab_bytes / 2;
    s->back_step = slab_bytes / 32 < BACK_STEP_MAX ? slab_bytes / 32 : BACK_STEP_MAX;
    CHECK(s->back_step % SLAB_PAGE == 0);
    uint64_t share = store_bytes / slab_bytes / EMPTIES_SHARE;
    s->empties_max = share < EMPTIES_MAX ? (uint32_t)share : EMPTIES_MAX;
    s->count = (uint32_t)(s->file_bytes / slab_bytes);
    list_init(&s->empty);
    list_init(&s->idle);
    make_classes(s);
    enum rc rc = s->fd < 0 ? make_file(s) : RC_OK;
    if (rc == RC_OK && seam_fails(seam, STV_CALL_MMAP)) {
        rc = RC_NOSPACE;
    }
    if (rc == RC_OK) {
        void *base =
            mmap(NULL, s->file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, s->fd, 0);
        rc = base == MAP_FAILED ? RC_NOSPACE : RC_OK;
        s->base = base == MAP_FAILED ? NULL : base;
    }
    if (rc != RC_OK) {
        slabs_close(s);
        return rc;
    }
    (void)madvise(s->base, s->file_bytes, MADV_DONTDUMP);
    s->slab = xcalloc(s->count, sizeof *s->slab);
    for (uint32_t i = 0; i < s->count; i++) {
        s->slab[i].cls = SLAB_NO_CLASS;
        list_init(&s->slab[i].link);
    }
    count_pages(s);
    return RC_OK;
}

void slabs_close(struct slabs *s)
{
    for (uint32_t i = 0; s->slab != NULL && i < s->count; i++) {
        free(s->slab[i].bits);
        free(s->slab[i].objs);
    }
    XFREE(s->slab);
    if (s->base != NULL) {
        CHECK(munmap(s->base, s->file_bytes) == 0);
        s->base = NULL;
    }
    if (s->fd >= 0) {
        (void)close(s->fd);
        s->fd = -1;
    }
}

uint32_t slabs_class(const struct slabs *s, uint64_t bytes)
{
    if (bytes > s->slot_max) {
        return SLAB_NO_CLASS;
    }
    uint32_t low = 0;
    uint32_t high = s->classes - 1;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->class_bytes[mid] < bytes) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static uint32_t words(const struct slab *slab)
{
    return (slab->slots + 63) / 64;
}

/* The lowest free slot; there is one. */
static uint32_t first_free(const struct slab *slab)
{
    CHECK(slab->used < slab->slots);
    uint32_t word = slab->hint;
    while (slab->bits[word] == UINT64_MAX) {
        word++;
        CHECK(word < words(slab));
    }
    uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(~slab->bits[word]);
    CHECK(slot < slab->slots);
    return slot;
}

/* How far pages must reach for a slot: to the next step, but not past the last slot. */
static uint64_t backing_for(const struct slabs *s, uint32_t cls, uint32_t slots, uint32_t slot)
{
    uint64_t size = s->class_bytes[cls];
    uint64_t reach = round_up((slot + UINT64_C(1)) * size, s->back_step);
    uint64_t all = round_up(slots * size, SLAB_PAGE);
    return reach < all ? reach : all;
}

uint64_t slabs_need(const struct slabs *s, uint32_t cls)
{
    CHECK(cls < s->classes);
    uint64_t backed = 0;
    uint32_t slot = 0;
    uint32_t slots = (uint32_t)(s->slab_bytes / s->class_bytes[cls]);
    if (!list_is_empty(&s->partial[cls])) {
        const struct slab *slab = CONTAINER_OF(s->partial[cls].next, struct slab, link);
        slot = first_free(slab);
        backed = slab->backed;
    } else if (!list_is_empty(&s->empty)) {
        backed = CONTAINER_OF(s->empty.next, struct slab, link)->backed;
    }
    uint64_t reach = backing_for(s, cls, slots, slot);
    return reach > backed ? reach - backed : 0;
}

static void cut(struct slabs *s, struct slab *slab, uint32_t cls)
{
    CHECK(slab->used == 0);
    CHECK(slab->bits == NULL);
    slab->cls = cls;
    slab->slots = (uint32_t)(s->slab_bytes / s->class_bytes[cls]);
    slab->hint = 0;
    slab->bits = xcalloc(words(slab), sizeof *slab->bits);
    slab->objs = xcalloc(slab->slots, sizeof(struct stv_obj *));
    list_push_back(&s->partial[cls], &slab->link);
}

static struct slab *open_slab(struct slabs *s, uint32_t cls)
{
    struct list *node = list_pop_front(&s->empty);
    if (node != NULL) {
        s->empties--;
    } else {
        node = list_pop_front(&s->idle);
    }
    struct slab *slab = NULL;
    if (node != NULL) {
        slab = CONTAINER_OF(node, struct slab, link);
    } else if (s->fresh < s->count) {
        slab = &s->slab[s->fresh++];
    } else {
        return NULL;
    }
    cut(s, slab, cls);
    return slab;
}

/* Its last slot is free: no class any more. */
static void uncut(struct slab *slab, struct list *to)
{
    CHECK(slab->used == 0);
    XFREE(slab->bits);
    XFREE(slab->objs);
    slab->cls = SLAB_NO_CLASS;
    list_remove(&slab->link);
    list_push_front(to, &slab->link);
}

static uint64_t slab_off(const struct slabs *s, const struct slab *slab)
{
    return (uint64_t)(slab - s->slab) * s->slab_bytes;
}

static enum rc back(struct slabs *s, struct slab *slab, uint32_t slot)
{
    uint64_t reach = backing_for(s, slab->cls, slab->slots, slot);
    if (reach <= slab->backed) {
        return RC_OK;
    }
    if (seam_fails(s->seam, STV_CALL_FALLOCATE) ||
        !store__fallocate(s->fd, 0, slab_off(s, slab) + slab->backed, reach - slab->backed)) {
        return RC_NOSPACE;
    }
    slab->backed = reach;
    count_pages(s);
    return RC_OK;
}

static void mark(struct slabs *s, struct slab *slab, uint32_t slot)
{
    slab->bits[slot / 64] |= UINT64_C(1) << (slot % 64);
    slab->used++;
    s->taken_bytes += s->class_bytes[slab->cls];
    if (slab->used == slab->slots) {
        list_remove(&slab->link);
    }
}

enum rc slabs_take(struct slabs *s, uint32_t cls, uint64_t *off)
{
    CHECK(cls < s->classes);
    struct slab *slab = NULL;
    if (!list_is_empty(&s->partial[cls])) {
        slab = CONTAINER_OF(s->partial[cls].next, struct slab, link);
    } else {
        slab = open_slab(s, cls);
        if (slab == NULL) {
            return RC_NOSPACE;
        }
    }
    uint32_t slot = first_free(slab);
    enum rc rc = back(s, slab, slot);
    if (rc != RC_OK) {
        if (slab->used == 0) {
            uncut(slab, slab->backed > 0 ? &s->empty : &s->idle);
            s->empties += slab->backed > 0;
        }
        return rc;
    }
    slab->hint = slot / 64;
    mark(s, slab, slot);
    *off = slab_off(s, slab) + (uint64_t)slot * s->class_bytes[cls];
    return RC_OK;
}

struct slab *slabs_at(struct slabs *s, uint64_t off)
{
    CHECK(off < s->file_bytes);
    return &s->slab[off / s->slab_bytes];
}

uint32_t slabs_slot(const struct slabs *s, uint64_t off)
{
    CHECK(off < s->file_bytes);
    const struct slab *slab = &s->slab[off / s->slab_bytes];
    CHECK(slab->cls < s->classes);
    uint32_t slot = (uint32_t)(off % s->slab_bytes / s->class_bytes[slab->cls]);
    CHECK(slot < slab->slots);
    return slot;
}

void slabs_give(struct slabs *s, uint64_t off)
{
    struct slab *slab = slabs_at(s, off);
    uint32_t slot = slabs_slot(s, off);
    uint64_t bit = UINT64_C(1) << (slot % 64);
    CHECK((slab->bits[slot / 64] & bit) != 0);
    CHECK(slab->objs[slot] == NULL);
    slab->bits[slot / 64] &= ~bit;
    if (slot / 64 < slab->hint) {
        slab->hint = slot / 64;
    }
    if (slab->used == slab->slots) {
        /* In front: its free slot has pages, the last slab's may not. */
        list_push_front(&s->partial[slab->cls], &slab->link);
    }
    slab->used--;
    s->taken_bytes -= s->class_bytes[slab->cls];
    if (slab->used == 0) {
        uncut(slab, &s->empty);
        if (++s->empties > s->empties_max) {
            slabs_punch(s);
        }
    }
}

static void punch(struct slabs *s, struct slab *slab, uint64_t from, uint64_t to)
{
    CHECK(from <= to);
    if (from < to && !store__fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       slab_off(s, slab) + from, to - from)) {
        /* The pages stay ours and counted; the slab is used again as if they were new. */
        return;
    }
    slab->backed = from;
}

void slabs_punch(struct slabs *s)
{
    struct list *node;
    while ((node = list_pop_front(&s->empty)) != NULL) {
        struct slab *slab = CONTAINER_OF(node, struct slab, link);
        punch(s, slab, 0, slab->backed);
        list_push_front(&s->idle, &slab->link);
    }
    s->empties = 0;
    count_pages(s);
}

enum rc slabs_adopt(struct slabs *s, uint32_t cls, uint64_t off)
{
    if (cls >= s->classes || off >= s->file_bytes) {
        return RC_MALFORMED;
    }
    struct slab *slab = slabs_at(s, off);
    uint64_t inside = off % s->slab_bytes;
    uint64_t slot = inside / s->class_bytes[cls];
    if (inside % s->class_bytes[cls] != 0 || slot >= s->slab_bytes / s->class_bytes[cls]) {
        return RC_MALFORMED;
    }
    if (slab->cls == SLAB_NO_CLASS) {
        cut(s, slab, cls);
    }
    if (slab->cls != cls) {
        return RC_MALFORMED;
    }
    if ((slab->bits[slot / 64] >> (slot % 64) & 1) != 0) {
        return RC_EXISTS;
    }
    mark(s, slab, (uint32_t)slot);
    return RC_OK;
}

static uint32_t last_taken(const struct slab *slab)
{
    uint32_t word = words(slab) - 1;
    while (slab->bits[word] == 0) {
        CHECK(word > 0);
        word--;
    }
    return word * 64 + 63 - (uint32_t)__builtin_clzll(slab->bits[word]);
}

enum rc slabs_settle(struct slabs *s)
{
    s->fresh = s->count;
    for (uint32_t i = 0; i < s->count; i++) {
        struct slab *slab = &s->slab[i];
        if (slab->cls != SLAB_NO_CLASS && slab->used > 0) {
            /* Pages of live slots are there already: this cannot lose any, and makes sure of the
             * rest. */
            enum rc rc = back(s, slab, last_taken(slab));
            if (rc != RC_OK) {
                return rc;
            }
            uint64_t backed = slab->backed;
            punch(s, slab, backed, s->slab_bytes);
            slab->backed = backed;
            continue;
        }
        if (slab->cls != SLAB_NO_CLASS) {
            uncut(slab, &s->idle);
        } else if (list_is_empty(&slab->link)) {
            list_push_back(&s->idle, &slab->link);
        }
    }
    /* One call for each run of slabs without objects, not one a slab. */
    for (uint32_t i = 0; i < s->count;) {
        uint32_t end = i;
        while (end < s->count && s->slab[end].cls == SLAB_NO_CLASS) {
            end++;
        }
        if (end > i) {
            (void)store__fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   i * s->slab_bytes, (end - i) * s->slab_bytes);
        }
        i = end + 1;
    }
    count_pages(s);
    return RC_OK;
}
