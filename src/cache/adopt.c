/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a fetch may do with its busy core besides filling it from a backend: take over the body of
 * the object that it will replace, or begin again. */
#include "cache/cache_priv.h"

#include <stdlib.h>

enum rc obj_adopt(struct objcore *busy, struct objcore *old)
{
    struct boc *boc = boc__of_busy(busy);
    CHECK(boc__state(boc) == BOC_FETCHING);
    CHECK(busy->stv != NULL);
    CHECK(boc->space == NULL);
    CHECK(obj_is_complete(old));
    enum rc rc = stv_adopt(busy->stv, old->stv);
    if (rc == RC_OK) {
        boc->announced = stv_body_len(busy->stv);
        atomic_store_explicit(&boc->written, boc->announced, memory_order_release);
    }
    return rc;
}

void obj_restart(struct objcore *busy)
{
    struct boc *boc = boc__of_busy(busy);
    CHECK(boc__state(boc) == BOC_FETCHING);
    if (busy->stv != NULL) {
        if (boc->space != NULL) {
            stv_commit(busy->stv, boc->space_used);
            boc->space = NULL;
        }
        stv_deleteobj(&busy->stv);
    }
    boc__drop_attrs(boc);
    boc->announced = 0;
    busy->flags = 0;
    atomic_store_explicit(&boc->written, 0, memory_order_release);
}

bool obj_is_awaited(const struct objcore *busy)
{
    struct boc *boc = boc__of_busy(busy);
    struct stripe *stripe = head__stripe(busy->head);
    stripe__lock(stripe);
    bool is_awaited = !list_is_empty(&boc->parked);
    stripe__unlock(stripe);
    return is_awaited;
}
