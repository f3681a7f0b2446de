/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bodies with a memfd of their own.  The file holds the body and nothing else, so its descriptor
 * can be sent, spliced and given to other processes.  That is what makes it delicate: a socket goes
 * on reading the pages it was given after everyone else has forgotten them.  So once lent, the
 * bytes of a file are never rewritten, punched or cut, by us or by a later worker; it is only ever
 * dropped whole.
 *
 * While the fetch runs the file grows in steps: pages first (fallocate, so that a write through the
 * mapping cannot fail), then a wider view if the old one is too short; leases keep old views.  When
 * the body is complete, pages past its end are given back unless the file is lent, and the writable
 * view goes, since what is lent gets sealed.  From then on it is mapped only on demand. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/mem_priv.h"

#define STEP_MIN (UINT64_C(64) << 10)
#define STEP_MAX (UINT64_C(4) << 20)
#define VIEW_MIN (UINT64_C(4) << 20)

enum rc mem__file_new(struct mem *m, struct mem_file **out)
{
    enum rc rc = mem__count_file(m);
    if (rc != RC_OK) {
        return rc;
    }
    int fd = -1;
    if (!seam_fails(m->seam, STV_CALL_MEMFD)) {
        fd = memfd_create("objmapper body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    } else {
        errno = EMFILE;
    }
    if (fd < 0) {
        rc = errno == EMFILE || errno == ENFILE ? RC_NOFILES : RC_NOSPACE;
    }
    mem_lock(m);
    if (rc != RC_OK) {
        m->files--;
        m->stats.fails++;
        mem_unlock(m);
        return rc;
    }
    uint64_t id = cat_reserve(&m->next_file_id,
                              mem_has_catalog(m) ? &m->cat.head->file_id_reserved : NULL, m->seam);
    m->stats.allocs++;
    mem_unlock(m);
    *out = mem__file_wrap(m, fd, id);
    return RC_OK;
}

void mem__file_count(struct mem *m, struct mem_file *f)
{
    struct stat st;
    CHECK(fstat(f->fd, &st) == 0);
    uint64_t bytes = (uint64_t)st.st_blocks * 512;
    m->file_bytes = m->file_bytes - f->charged_bytes + bytes;
    f->charged_bytes = bytes;
}

/* A writable view of at least `bytes`. */
static enum rc widen(struct mem *m, struct mem_file *f, uint64_t bytes, uint64_t hint)
{
    if (f->map != NULL && f->map->len >= bytes) {
        return RC_OK;
    }
    /* It may reach past the end of the file: only backed pages are touched. */
    uint64_t len = hint >= bytes ? hint : 2 * bytes;
    len = round_up(len > VIEW_MIN || hint >= bytes ? len : VIEW_MIN, SLAB_PAGE);
    void *ptr = seam_fails(m->seam, STV_CALL_MMAP)
                    ? MAP_FAILED
                    : mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    if (ptr == MAP_FAILED) {
        return RC_NOSPACE;
    }
    (void)madvise(ptr, len, MADV_DONTDUMP);
    struct mem_map *map = xcalloc(1, sizeof *map);
    map->seg.kind = MEM_MAP;
    map->seg.stv = &m->stv;
    atomic_init(&map->seg.refs, 1);
    map->file = f;
    map->ptr = ptr;
    map->len = len;
    mem__seg_ref(&f->seg);
    mem_lock(m);
    struct mem_map *old = f->map;
    f->map = map;
    mem_unlock(m);
    if (old != NULL) {
        mem__seg_unref(&old->seg);
    }
    return RC_OK;
}

enum rc mem__file_extend(struct mem_file *f, uint64_t body_len, uint64_t want, uint64_t hint)
{
    struct mem *m = mem_of(f->seg.stv);
    CHECK(!f->final);
    CHECK(body_len <= f->have_bytes);
    if (body_len < f->have_bytes) {
        return RC_OK;
    }
    /* Larger steps for what has proved large, but never past the length that was announced. */
    uint64_t step = want > f->have_bytes / 8 ? want : f->have_bytes / 8;
    step = step > STEP_MIN ? step : STEP_MIN;
    step = step < STEP_MAX ? step : STEP_MAX;
    if (hint > body_len && step > hint - body_len) {
        step = hint - body_len;
    }
    step = round_up(step, SLAB_PAGE);
    enum rc rc = mem__charge(m, step);
    if (rc != RC_OK) {
        return rc;
    }
    bool backed =
        !seam_fails(m->seam, STV_CALL_FALLOCATE) && store__fallocate(f->fd, 0, f->have_bytes, step);
    mem_lock(m);
    f->charged_bytes += step;
    /* Also after a failure: it may have backed a part. */
    mem__file_count(m, f);
    if (backed) {
        m->stats.alloc_bytes += step;
    } else {
        m->stats.fails++;
    }
    mem_unlock(m);
    rc = backed ? widen(m, f, f->have_bytes + step, hint) : RC_NOSPACE;
    if (rc == RC_OK) {
        mem_lock(m);
        f->have_bytes += step;
        mem_unlock(m);
    }
    return rc;
}

/* Under the lock, once the file is final. */
static void seal(struct mem_file *f)
{
    CHECK(f->final);
    if (!f->sealed) {
        /* Not F_SEAL_WRITE: that fails, after a long wait, while pages are in flight. */
        f->sealed = fcntl(f->fd, F_ADD_SEALS,
                          F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
    }
}

enum rc mem__file_finish(struct mem_file *f, uint64_t body_len)
{
    struct mem *m = mem_of(f->seg.stv);
    CHECK(body_len <= f->have_bytes);
    if (f->final) {
        return RC_OK; /* another object's body before */
    }
    if (m->link != NULL && !f->announced) {
        seam_step(m->seam);
        enum rc rc = seam_fails(m->seam, STV_CALL_PUT)
                         ? RC_NOSPACE
                         : vault_link__put(m->link, m->stv.name, VAULT_BODY, f->id, f->fd);
        if (rc != RC_OK) {
            return rc;
        }
        f->announced = true;
    }
    mem_lock(m);
    f->final = true;
    if (f->lent) {
        seal(f);
    } else {
        (void)!ftruncate(f->fd, (off_t)body_len);
        mem__file_count(m, f);
    }
    f->have_bytes = body_len;
    struct mem_map *map = mem__file_unmap(m, f);
    mem_unlock(m);
    if (map != NULL) {
        mem__seg_unref(&map->seg);
    }
    return RC_OK;
}

/* What a hit reads: of a final object that was asked for before, all is settled and stays, so no
 * lock is needed.  False: under the lock. */
static bool payload_settled(const struct stv_obj *obj, const struct mem_obj *o,
                            struct obj_fd_payload *out)
{
    if (!atomic_load_explicit(&obj->is_final, memory_order_acquire) || o->body->kind != MEM_FILE) {
        return false;
    }
    const struct mem_file *f = mem_file_of(o->body);
    if (!atomic_load_explicit(&f->is_settled, memory_order_acquire)) {
        return false;
    }
    *out = (struct obj_fd_payload){
        .fd = f->fd,
        .len = atomic_load_explicit(&obj->body_len, memory_order_relaxed),
        .capabilities = OBJ_CAP_RANGE | OBJ_CAP_COMPLETE | OBJ_CAP_SEALED,
    };
    return true;
}

enum rc mem__payload(struct stv_obj *obj, struct obj_fd_payload *out)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    if (LIKELY(payload_settled(obj, o, out))) {
        return RC_OK;
    }
    *out = (struct obj_fd_payload){.fd = -1};
    mem_lock(m);
    if (o->body == NULL || o->body->kind != MEM_FILE) {
        mem_unlock(m);
        return RC_UNSUPPORTED;
    }
    struct mem_file *f = mem_file_of(o->body);
    if (!f->lent && m->stats.bytes_lent > m->lent_max) {
        mem_unlock(m);
        return RC_LIMIT;
    }
    f->lent = true;
    out->fd = f->fd;
    out->len = atomic_load_explicit(&obj->body_len, memory_order_acquire);
    out->capabilities = OBJ_CAP_RANGE;
    if (f->final) {
        seal(f);
    }
    if (atomic_load_explicit(&obj->is_final, memory_order_acquire)) {
        out->capabilities |= OBJ_CAP_COMPLETE;
        out->capabilities |= f->sealed ? (uint32_t)OBJ_CAP_SEALED : 0;
        atomic_store_explicit(&f->is_settled, f->sealed, memory_order_release);
    }
    mem_unlock(m);
    return RC_OK;
}
