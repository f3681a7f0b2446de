/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Segments and the leases on them.  Whatever happens to an object (it moves while it grows, it is
 * evicted, it is replaced), the bytes a lease names stay as they are until it is given back: slots
 * and files are counted, and only the last holder frees.
 *
 *     object --> slot                       lease --> slot
 *     object --> file --> current view      lease --> view --> file      (with a pointer)
 *                                           lease --> file               (for the descriptor only)
 *
 * A final object's segment does not change, so readers take it without the lock; before, and for
 * views (which come and go by a limit of mappings), they take the lock for a moment. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/mem_priv.h"

static void seg_init(struct stv_seg *seg, struct mem *m, enum mem_seg_kind kind)
{
    atomic_init(&seg->refs, 1);
    seg->kind = kind;
    seg->stv = &m->stv;
}

struct mem_slot *mem__slot_wrap(struct mem *m, uint64_t off, uint32_t bytes)
{
    struct mem_slot *slot = xcalloc(1, sizeof *slot);
    seg_init(&slot->seg, m, MEM_SLOT);
    slot->off = off;
    slot->bytes = bytes;
    return slot;
}

struct mem_file *mem__file_wrap(struct mem *m, int take_fd, uint64_t id)
{
    struct mem_file *f = xcalloc(1, sizeof *f);
    seg_init(&f->seg, m, MEM_FILE);
    f->fd = take_fd;
    f->id = id;
    f->owners = 1;
    list_init(&f->lru);
    return f;
}

static void free_slot(struct mem *m, struct mem_slot *slot)
{
    mem_lock(m);
    slabs_give(&m->slabs, slot->off);
    m->stats.frees++;
    m->stats.free_bytes += slot->bytes;
    mem_unlock(m);
    free(slot);
}

static void free_file(struct mem *m, struct mem_file *f)
{
    CHECK(f->map == NULL);
    if (!f->lent) {
        /* Gives the memory back at once, also while the vault still holds a descriptor.  What was
         * lent may still stand in some socket's queue: that goes when all have closed it. */
        seam_step(m->seam);
        (void)!ftruncate(f->fd, 0);
    }
    if (f->announced) {
        seam_step(m->seam);
        vault_link__drop(m->link, m->stv.name, VAULT_BODY, f->id);
    }
    (void)close(f->fd);
    mem_lock(m);
    m->file_bytes -= f->charged_bytes;
    m->files--;
    if (f->dropped && f->lent) {
        m->stats.bytes_lent -= f->charged_bytes;
    }
    m->stats.frees++;
    m->stats.free_bytes += f->charged_bytes;
    mem_unlock(m);
    free(f);
}

/* True: that was the last reference. */
static bool unref(struct stv_seg *seg)
{
    uint32_t before = atomic_fetch_sub_explicit(&seg->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    return before == 1;
}

void mem__seg_unref(struct stv_seg *seg)
{
    struct mem *m = mem_of(seg->stv);
    if (!unref(seg)) {
        return;
    }
    if (seg->kind == MEM_SLOT) {
        free_slot(m, mem_slot_of(seg));
        return;
    }
    if (seg->kind == MEM_MAP) {
        struct mem_map *map = CONTAINER_OF(seg, struct mem_map, seg);
        CHECK(munmap(map->ptr, map->len) == 0);
        seg = &map->file->seg;
        free(map);
        if (!unref(seg)) {
            return;
        }
    }
    free_file(m, mem_file_of(seg));
}

struct mem_map *mem__file_unmap(struct mem *m, struct mem_file *f)
{
    struct mem_map *map = f->map;
    f->map = NULL;
    if (list_is_linked(&f->lru)) {
        list_remove(&f->lru);
        m->maps--;
    }
    return map;
}

/* Past the cap, the least recently used view that no lease holds goes.  Only its file refers to a
 * view with one reference, and more can be taken only under the lock, which we hold. */
static struct mem_map *spare_view(struct mem *m)
{
    if (m->maps <= m->maps_max) {
        return NULL;
    }
    unsigned tries = 8;
    LIST_FOREACH (node, &m->mapped) {
        struct mem_file *f = CONTAINER_OF(node, struct mem_file, lru);
        if (atomic_load_explicit(&f->map->seg.refs, memory_order_acquire) == 1) {
            return mem__file_unmap(m, f);
        }
        if (--tries == 0) {
            break;
        }
    }
    return NULL;
}

static enum rc view_final(struct mem *m, struct mem_file *f)
{
    if (f->map != NULL) {
        list_remove(&f->lru);
        list_push_back(&m->mapped, &f->lru);
        return RC_OK;
    }
    void *ptr = seam_fails(m->seam, STV_CALL_MMAP)
                    ? MAP_FAILED
                    : mmap(NULL, f->have_bytes, PROT_READ, MAP_SHARED, f->fd, 0);
    if (ptr == MAP_FAILED) {
        return RC_NOSPACE;
    }
    (void)madvise(ptr, f->have_bytes, MADV_DONTDUMP);
    struct mem_map *map = xcalloc(1, sizeof *map);
    seg_init(&map->seg, m, MEM_MAP);
    map->file = f;
    map->ptr = ptr;
    map->len = f->have_bytes;
    mem__seg_ref(&f->seg);
    f->map = map;
    m->maps++;
    list_push_back(&m->mapped, &f->lru);
    return RC_OK;
}

static enum rc ref_file(struct mem *m, struct mem_file *f, uint64_t off, bool want_ptr,
                        struct stv_lease *out)
{
    CHECK(off < f->have_bytes);
    out->len = f->have_bytes - off;
    if (!want_ptr) {
        mem__seg_ref(&f->seg);
        out->seg = &f->seg;
        return RC_OK;
    }
    if (f->final) {
        enum rc rc = view_final(m, f);
        if (rc != RC_OK) {
            return rc;
        }
    }
    CHECK(f->map != NULL);
    CHECK(f->map->len >= f->have_bytes);
    mem__seg_ref(&f->map->seg);
    out->seg = &f->map->seg;
    out->ptr = f->map->ptr + off;
    return RC_OK;
}

static enum rc ref_slot(struct mem *m, struct mem_slot *slot, uint64_t off, uint64_t end,
                        struct stv_lease *out)
{
    CHECK(off < end);
    mem__seg_ref(&slot->seg);
    out->seg = &slot->seg;
    out->ptr = m->slabs.base + slot->off + off;
    out->len = end - off;
    return RC_OK;
}

/* Where the readable part of the current segment ends. */
static uint64_t segment_end(const struct mem_obj *o)
{
    if (o->body == NULL) {
        return 0;
    }
    if (o->obj.is_final) {
        return atomic_load_explicit(&o->obj.body_len, memory_order_relaxed);
    }
    return o->body->kind == MEM_SLOT ? mem_slot_of(o->body)->bytes
                                     : mem_file_of(o->body)->have_bytes;
}

enum rc mem__ref(struct stv_obj *obj, uint64_t body_off, bool map, struct stv_lease *out)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    *out = (struct stv_lease){.body_off = body_off};
    if (atomic_load_explicit(&obj->is_final, memory_order_acquire) && o->body != NULL &&
        o->body->kind == MEM_SLOT) {
        uint64_t end = segment_end(o);
        return body_off < end ? ref_slot(m, mem_slot_of(o->body), body_off, end, out)
                              : RC_NOT_FOUND;
    }
    mem_lock(m);
    uint64_t end = segment_end(o);
    enum rc rc = RC_NOT_FOUND;
    if (body_off < end) {
        rc = o->body->kind == MEM_SLOT ? ref_slot(m, mem_slot_of(o->body), body_off, end, out)
                                       : ref_file(m, mem_file_of(o->body), body_off, map, out);
    }
    struct mem_map *spare = spare_view(m);
    mem_unlock(m);
    if (spare != NULL) {
        mem__seg_unref(&spare->seg);
    }
    return rc;
}
