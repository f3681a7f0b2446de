/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Counters in shared memory, as varnishstat reads them.
 *
 * Each class is a table, counters/<class>.def, from which come a struct of one uint64_t for each
 * counter, and the document that tells readers names, types and texts.  The struct in shared memory
 * is written with relaxed atomic operations (below) by any thread.  What is counted often is
 * counted in a plain struct of the same type, one for each loop, and added now and then by
 * vsc_flush. Gauges count both ways: subtract by adding -n; readers show a negative sum as 0. */
#ifndef SHM_VSC_H
#define SHM_VSC_H

#include "shm/vsm.h"

#define COUNTER(field, ...) uint64_t field;
struct vsc_main {
#include "shm/counters/main.def"
};
struct vsc_mgt {
#include "shm/counters/mgt.def"
};
struct vsc_objm {
#include "shm/counters/objm.def"
};
struct vsc_sma {
#include "shm/counters/sma.def"
};
struct vsc_vbe {
#include "shm/counters/vbe.def"
};
#undef COUNTER

struct vsc_counter {
    const char *name; /* what readers see after the segment's ident and a dot */
    const char *type;
    const char *level;
    const char *format;
    const char *oneliner;
};

struct vsc_class {
    const char *name;
    const char *oneliner;
    uint32_t doc_id; /* ties counters to their document; unique among classes */
    uint32_t count;
    const struct vsc_counter *counters;
};

/* Idents: MAIN, MGT, OBJM, SMA.<storage>, VBE.<vcl>.<backend>. */
extern const struct vsc_class vsc_class_main;
extern const struct vsc_class vsc_class_mgt;
extern const struct vsc_class vsc_class_objm;
extern const struct vsc_class vsc_class_sma;
extern const struct vsc_class vsc_class_vbe;

/* Publishes counters, all 0, under this ident, and before them the document of their class if the
 * set does not have it yet.  The caller owns *seg and ends it with vsm_seg_free (documents stay).
 * rc as in vsm.h: RC_EXISTS when the ident is taken, RC_INVALID when it has blanks and the like. */
MUST_USE enum rc vsc_new(struct vsm_set *set, const struct vsc_class *class, const char *ident,
                         struct vsm_seg **seg);

/* The counters themselves: struct vsc_main for vsc_class_main, and so on. */
void *vsc_of(const struct vsm_seg *seg);

/* Whether readers list these counters (they do when new): a cold VCL hides its backends. */
void vsc_show(struct vsm_seg *seg, bool is_shown);

/* Adds what `local` (a struct of the class's type, private to the caller) has counted to `shared`,
 * and sets it to 0.  Costs a scan of `local`: call it once a tick, not once a request. */
void vsc_flush(const struct vsc_class *class, void *shared, void *local);

static inline void vsc_add(uint64_t *shared, uint64_t n)
{
    (void)__atomic_fetch_add(shared, n, __ATOMIC_RELAXED);
}

static inline void vsc_sub(uint64_t *shared, uint64_t n)
{
    (void)__atomic_fetch_sub(shared, n, __ATOMIC_RELAXED);
}

static inline void vsc_set(uint64_t *shared, uint64_t value)
{
    __atomic_store_n(shared, value, __ATOMIC_RELAXED);
}

static inline uint64_t vsc_get(const uint64_t *shared)
{
    return __atomic_load_n(shared, __ATOMIC_RELAXED);
}

#endif
