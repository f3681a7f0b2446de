/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Objects in a store without a cache: an owner is a place for one object, which eviction empties.
 * For one thread. */
#ifndef TESTS_SUPPORT_EVICTABLE_H
#define TESTS_SUPPORT_EVICTABLE_H

#include "store/store.h"

struct owner {
    struct stv_obj *obj; /* NULL: evicted, or nothing there yet */
};

static inline bool owner_grab(void *owner)
{
    return ((struct owner *)owner)->obj != NULL;
}

static inline void owner_evict(void *owner)
{
    struct owner *o = owner;
    if (o->obj != NULL) {
        stv_deleteobj(&o->obj);
    }
}

/* For stv_conf.owner_ops. */
static inline const struct stv_owner_ops *owner_ops(void)
{
    static const struct stv_owner_ops ops = {.grab = owner_grab, .evict = owner_evict};
    return &ops;
}

#endif
