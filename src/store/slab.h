/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Slabs: slots of equal size in equal pieces of one sparse memfd.  slab.c tells how.
 * The caller holds the lock of the store in every call. */
#ifndef STORE_SLAB_H
#define STORE_SLAB_H

#include "base/list.h"
#include "base/rc.h"
#include "store/store_priv.h"

#define SLAB_CLASSES_MAX 160
#define SLAB_NO_CLASS UINT32_MAX
#define SLAB_PAGE UINT64_C(4096)

struct slab {
    struct list link;      /* on partial[cls], empty or idle; alone when full */
    uint64_t *bits;        /* 1: taken */
    struct stv_obj **objs; /* live objects by slot, for evicting a whole slab; NULL elsewhere */
    uint64_t backed;       /* bytes from its beginning that have pages */
    uint32_t cls;
    uint32_t slots;
    uint32_t used;
    uint32_t hint; /* no word of bits before this one has a free slot */
};

struct slabs {
    int fd;
    char *base;
    uint64_t file_bytes;
    uint64_t slab_bytes;
    uint64_t slot_max;
    uint64_t back_step;
    struct slab *slab;
    uint32_t count;
    uint32_t fresh; /* slabs from here on were never used */
    uint32_t classes;
    uint32_t empties;
    uint32_t empties_max;
    uint32_t class_bytes[SLAB_CLASSES_MAX];
    struct list partial[SLAB_CLASSES_MAX];
    struct list empty; /* no slot taken, pages kept */
    struct list idle;  /* no slot taken, no pages */
    uint64_t pages_bytes;
    uint64_t taken_bytes; /* of all slots that are taken */
    const struct stv_seam *seam;
};

static inline uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* What a store of that size is cut into (at least eight slabs in the smallest store, 64 in others),
 * and from which size on a body gets a file of its own: so that files_max of them fill the store,
 * and what has none fits into a slot with its attributes. */
void slabs_sizes(uint64_t store_bytes, uint64_t files_max, uint64_t *slab_bytes,
                 uint64_t *own_file_min);
uint64_t slabs_file_bytes(uint64_t store_bytes, uint64_t slab_bytes);

/* Takes *take_fd, or, when that is -1, makes the file.  An inherited file holds bytes that
 * slabs_adopt claims; slabs_settle ends that.  RC_NOFILES, RC_NOSPACE. */
MUST_USE enum rc slabs_open(struct slabs *s, uint64_t store_bytes, uint64_t slab_bytes,
                            int *take_fd, const struct stv_seam *seam);
void slabs_close(struct slabs *s);

/* SLAB_NO_CLASS when no slot is that large. */
uint32_t slabs_class(const struct slabs *s, uint64_t bytes);
/* How many bytes of new pages slabs_take would need; 0 when a slot with pages is free. */
uint64_t slabs_need(const struct slabs *s, uint32_t cls);
/* RC_NOSPACE: no slab is left, or the system refuses the pages. */
MUST_USE enum rc slabs_take(struct slabs *s, uint32_t cls, uint64_t *off);
void slabs_give(struct slabs *s, uint64_t off);
/* Gives the pages of all empty slabs back to the system. */
void slabs_punch(struct slabs *s);

struct slab *slabs_at(struct slabs *s, uint64_t off);
uint32_t slabs_slot(const struct slabs *s, uint64_t off);

/* Recovery: takes one given slot.  RC_MALFORMED: not a slot of that class, or the slab has another;
 * RC_EXISTS: taken already. */
MUST_USE enum rc slabs_adopt(struct slabs *s, uint32_t cls, uint64_t off);
/* RC_NOSPACE. */
MUST_USE enum rc slabs_settle(struct slabs *s);

#endif
