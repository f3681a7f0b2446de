/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A stevedore for tests of the cache, in place of the real ones: it fails when it is told to, runs
 * something in the middle of stv_final, and remembers what a next worker would find. */
#ifndef TESTS_UNIT_CACHE_FAKE_STORE_H
#define TESTS_UNIT_CACHE_FAKE_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "run/run.h"
#include "store/store.h"

struct stevedore {
    pthread_mutex_t lock;
    const struct stv_owner_ops *owner_ops;
    struct list objs;   /* lock: every object, oldest first */
    size_t alloc_bytes; /* what stv_alloc gives at most */
    size_t alloc_round; /* and to what it rounds up; 0: not */
    bool yields;        /* alloc and final suspend */
    /* At the beginning of stv_dead, of a live object. */
    void (*before_dead)(void *arg);
    void *before_dead_arg;
    /* At the beginning of stv_deleteobj. */
    void (*before_delete)(void *arg, void *owner);
    void *before_delete_arg;
    _Atomic int fail_newobj; /* how many of the next calls fail */
    _Atomic int fail_alloc;
    _Atomic int fail_final;
    void (*in_final)(void *arg); /* before the record goes live */
    void *in_final_arg;
    _Atomic uint64_t revision;
    _Atomic unsigned objects; /* made and not deleted */
    _Atomic unsigned segs;    /* allocated and not freed */
    _Atomic unsigned live;    /* what a next worker would find */
    _Atomic unsigned touched;
    _Atomic unsigned finals;
    _Atomic unsigned entombed; /* calls */
    /* stv_resurrect reports these. */
    const struct stv_found *found;
    size_t found_count;
    void (*before_found)(void *arg, size_t index);
    void *before_found_arg;
};

void fake_init(struct stevedore *stv, const struct stv_owner_ops *ops);
/* Everything is gone, but live objects. */
void fake_fini(struct stevedore *stv);
/* Evicts the oldest live object whose owner lives.  False if there is none. */
bool fake_evict(struct stevedore *stv);
/* An object as an earlier worker would have left it; for struct stv_found. */
struct stv_obj *fake_left_behind(struct stevedore *stv, struct str oa, struct str body);
/* Whether a next worker would find an object of this digest. */
bool fake_is_live(struct stevedore *stv, const struct digest *digest);
/* Its record; false if there is none. */
bool fake_record(struct stevedore *stv, const struct digest *digest, struct stv_record *out);
unsigned fake_live_of(struct stevedore *stv, const struct digest *digest);

#endif
