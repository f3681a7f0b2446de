/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What VCL asked for with add_vfp, add_vdp and the like: collected while a sub runs, given to the
 * planner behind what the engine wants itself.  Lives in the task's arena, made at the first call.
 */
#ifndef ENGINE_FILTERS_H
#define ENGINE_FILTERS_H

#include "vcl/filters.h"

struct fetch;
struct request;

struct filter_wants {
    enum filter_side side;
    struct plan_want wants[PLAN_WANTS_MAX]; /* in the order of the calls */
    unsigned count;
    /* By remove_*: neither wanted by the engine, nor to be queued, nor to fill a gap. */
    struct str without[PLAN_WANTS_MAX];
    unsigned without_count;
};

static inline bool filter_wants_bar(const struct filter_wants *wants, struct str name)
{
    for (unsigned n = 0; wants != NULL && n < wants->without_count; n++) {
        if (str_eq(wants->without[n], name)) {
            return true;
        }
    }
    return false;
}

/* What else is known by name, and what may fill gaps, in the VCL at work; NULL: without one, what
 * is built in.  Borrowed as long as fetch and request last. */
const struct vcl_filters *filters__of_fetch(const struct fetch *fetch);
const struct vcl_filters *filters__of_request(const struct request *req);

#endif
