/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The memory engine (also transient, which is the same without catalog and vault).
 *
 *   memory.c   objects: alloc, commit, final, dead, delete     seg.c    segments, leases
 *   body.c     bodies with a file of their own                 room.c   eviction, making room
 *   slab.c     slots for everything else                       recover.c  after a crash
 *   catalog.c  the records                                     found.c  purge before it is back
 *   vault_link.c  the manager's copy
 *
 * One lock a store (mem.lock) guards the allocator, the queue, the accounts and which segment an
 * object that is not final lies in.  No system call that frees or maps a whole body is made under
 * it.  Owners' grab is called under it, their evict is not. */
#ifndef STORE_MEM_PRIV_H
#define STORE_MEM_PRIV_H

#include <pthread.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mutex.h"
#include "store/catalog.h"
#include "store/slab.h"
#include "store/store_priv.h"
#include "store/vault_priv.h"

enum mem_seg_kind { MEM_SLOT = 1, MEM_FILE, MEM_MAP };

/* A slot of a slab.  Lives until neither its object nor a lease needs it. */
struct mem_slot {
    struct stv_seg seg;
    uint32_t bytes;
    uint64_t off; /* in the slab file */
};

/* A view of a file; refs: the file, while this is its current view, and leases with a pointer. */
struct mem_map {
    struct stv_seg seg;
    struct mem_file *file; /* counted */
    char *ptr;
    size_t len;
};

/* A body's own memfd: the body and nothing else.  refs: the object, views, leases without one. */
struct mem_file {
    struct stv_seg seg;
    int fd;
    uint64_t id;
    uint64_t have_bytes;    /* backed, from 0; the body's length once final */
    uint64_t charged_bytes; /* our part of mem.file_bytes */
    struct mem_map *map;    /* current view: writable until final; then NULL or read-only */
    struct list lru;        /* on mem.mapped: final, and has a view */
    bool lent;              /* bytes may be in flight: never rewritten, punched or cut */
    bool sealed;
    bool final;
    bool announced;          /* the vault has it */
    bool dropped;            /* its object is gone */
    unsigned owners;         /* objects whose body it is */
    _Atomic bool is_settled; /* lent, sealed and final: payload needs no lock.  Written under it */
};

struct mem_obj {
    struct stv_obj obj;
    struct stv_seg *body; /* slot or file; NULL: nothing allocated yet */
    struct mem_slot *oa;  /* when the body has a file */
    struct list queue;    /* linked while live */
    uint64_t estimate;    /* then footprint, once final */
    union {
        uint64_t interim_bytes;     /* lent to the writer, while it grows */
        struct mem_obj *next_found; /* is_in_found: chain in mem.found */
    };
    struct mem_obj *takes_from; /* adopt.c; until final */
    uint64_t promised;          /* part of mem.promised_bytes, until final */
    uint32_t record;
    uint32_t crc;
    bool unclaimed; /* recovered, and nobody has seen it yet */
    bool overlaps;  /* recovered, and something else claims the same bytes */
    bool is_in_found;
};

struct mem {
    struct stevedore stv;
    pthread_mutex_t lock;
    struct slabs slabs;
    struct catalog cat;
    struct vault_link *link;
    const struct stv_owner_ops *owner_ops;
    const struct stv_seam *seam;
    uint64_t bytes_max;
    uint64_t reserve_bytes;
    uint64_t object_max;
    uint64_t own_file_min;
    uint32_t files_max;
    uint32_t maps_max;

    uint64_t file_bytes;     /* in bodies' files */
    uint64_t dying_bytes;    /* dead, not deleted yet: will be free soon */
    uint64_t promised_bytes; /* announced bodies that are still being fetched: cannot be evicted */
    uint64_t lent_max;
    uint32_t files;
    uint32_t maps;
    struct list mapped; /* files with a read-only view, least recently used first */

    struct list queue; /* SIEVE: new ones in front */
    struct list *hand;
    struct list *seeker; /* stv_resurrect's place in the queue */
    /* Recovered objects that the cache does not have, by digest; NULL: resurrection is over. */
    struct mem_obj **found;
    unsigned found_bits;
    uint64_t found_secret;
    uint64_t next_revision;
    uint64_t next_file_id;
    uint64_t alive; /* all objects, also those not final or dead */
    struct stv_stats stats;
};

static inline struct mem *mem_of(struct stevedore *stv)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    return CONTAINER_OF(stv, struct mem, stv);
}

static inline struct mem_obj *mem_obj_of(struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    return CONTAINER_OF(obj, struct mem_obj, obj);
}

static inline struct mem_slot *mem_slot_of(struct stv_seg *seg)
{
    CHECK(seg != NULL);
    CHECK(seg->kind == MEM_SLOT);
    return CONTAINER_OF(seg, struct mem_slot, seg);
}

static inline struct mem_file *mem_file_of(struct stv_seg *seg)
{
    CHECK(seg->kind == MEM_FILE);
    return CONTAINER_OF(seg, struct mem_file, seg);
}

static inline bool mem_has_catalog(const struct mem *m)
{
    return m->cat.fd >= 0;
}

static inline void mem_lock(struct mem *m)
{
    mutex_lock(&m->lock);
}

static inline void mem_unlock(struct mem *m)
{
    mutex_unlock(&m->lock);
}

/* Under the lock: what our files hold now. */
static inline uint64_t mem_used(const struct mem *m)
{
    return m->slabs.pages_bytes + m->cat.pages_bytes + m->file_bytes;
}

/* ---- memory.c ---- */
struct mem_obj *mem__obj_new(struct mem *m);
/* Under the lock: into the queue and its slab's table. */
void mem__obj_live(struct mem *m, struct mem_obj *o);
/* The slot that holds its attributes. */
struct mem_slot *mem__oa_slot(const struct mem_obj *o);
void mem__deleteobj(struct stv_obj *obj);

/* ---- seg.c ---- */
struct mem_slot *mem__slot_wrap(struct mem *m, uint64_t off, uint32_t bytes);
struct mem_file *mem__file_wrap(struct mem *m, int take_fd, uint64_t id);
/* Without the lock.  Frees it after the last. */
void mem__seg_unref(struct stv_seg *seg);
static inline void mem__seg_ref(struct stv_seg *seg)
{
    uint32_t before = atomic_fetch_add_explicit(&seg->refs, 1, memory_order_relaxed);
    CHECK(before > 0);
}
enum rc mem__ref(struct stv_obj *obj, uint64_t body_off, bool map, struct stv_lease *out);
/* The file's view is no longer its current one; the caller unrefs it without the lock.  Under the
 * lock; NULL when there was none. */
struct mem_map *mem__file_unmap(struct mem *m, struct mem_file *f);

/* ---- body.c ---- */
YIELDS MUST_USE enum rc mem__file_new(struct mem *m, struct mem_file **out);
/* Backs and maps at least one byte past body_len; `hint` is the expected length, 0 if unknown. */
YIELDS MUST_USE enum rc mem__file_extend(struct mem_file *f, uint64_t body_len, uint64_t want,
                                         uint64_t hint);
/* Cuts what is not used, drops the writable view, and tells the vault. */
YIELDS MUST_USE enum rc mem__file_finish(struct mem_file *f, uint64_t body_len);
/* Sets charged_bytes from st_blocks.  Under the lock. */
void mem__file_count(struct mem *m, struct mem_file *f);
MUST_USE enum rc mem__payload(struct stv_obj *obj, struct obj_fd_payload *out);

/* ---- room.c ---- */
/* A slot of the class for `bytes`; evicts for it. */
YIELDS MUST_USE enum rc mem__slot_new(struct mem *m, uint64_t bytes, struct mem_slot **out);
/* Adds to file_bytes what is about to be backed; evicts for it. */
YIELDS MUST_USE enum rc mem__charge(struct mem *m, uint64_t bytes);
/* Counts one more file; evicts for it. */
YIELDS MUST_USE enum rc mem__count_file(struct mem *m);
/* Under the lock. */
void mem__queue_push(struct mem *m, struct mem_obj *o);
void mem__queue_remove(struct mem *m, struct mem_obj *o);

/* ---- found.c: all under the lock, but where it says so ---- */
void mem__found_begin(struct mem *m, size_t count);
void mem__found_end(struct mem *m);
void mem__found_add(struct mem *m, struct mem_obj *o);
/* If it is there; *o may be gone already. */
void mem__found_remove(struct mem *m, const struct digest *digest, const struct mem_obj *o);
/* o, which nobody has heard of, is about to die: what it may have replaced goes first.  Without the
 * lock. */
void mem__entomb_older(struct mem *m, const struct mem_obj *o);
/* Without the lock. */
void mem__entomb(struct stevedore *stv, const struct digest *digest, stv_which_fn *which,
                 void *arg);

/* ---- adopt.c ---- */
MUST_USE enum rc mem__adopt(struct stv_obj *to, struct stv_obj *from);
/* Under the lock, before the heir's record becomes live. */
void mem__inherit(struct mem *m, struct mem_obj *heir);

/* ---- recover.c ---- */
/* Takes over an earlier worker's files.  RC_NOT_FOUND: there are none that can be used. */
MUST_USE enum rc mem__recover(struct mem *m, uint64_t slab_bytes);
void mem__resurrect(struct stevedore *stv, stv_found_fn *fn, void *arg);

#endif
