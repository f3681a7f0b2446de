/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The members of a director: a list that is replaced whole when it changes, so that whoever picks
 * one has a list that stays as it is.  Any thread; the lock is held for a few instructions. */
#ifndef VCL_MEMBERS_H
#define VCL_MEMBERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/rc.h"
#include "objmapper/module.h"

enum { MEMBERS_MAX = 1024 };

struct member {
    const struct objm_backend *backend;
    double weight; /* not negative */
};

struct members {
    _Atomic unsigned refs;
    unsigned count;
    struct member at[];
};

struct member_set {
    pthread_mutex_t lock;
    struct members *now; /* never NULL */
};

void vcl__members_init(struct member_set *set);
void vcl__members_fini(struct member_set *set);

/* RC_LIMIT: there are MEMBERS_MAX. */
MUST_USE enum rc vcl__members_add(struct member_set *set, const struct objm_backend *backend,
                                  double weight);
/* Its index; RC_NOT_FOUND. */
MUST_USE enum rc vcl__members_remove(struct member_set *set, const struct objm_backend *backend,
                                     unsigned *index);

/* The present list, to be released. */
struct members *vcl__members_ref(struct member_set *set);
void vcl__members_release(struct members **list);

/* ---- of a list ---- */

/* Whether one is healthy; *changed: the last change of those that were asked. */
bool vcl__members_healthy(struct objm_ctx *ctx, const struct members *list, double *changed);
/* The healthy one in whose share of the weights of all healthy ones `at`, in [0, 1), lies; NULL
 * when there is none. */
const struct objm_backend *vcl__members_pick(struct objm_ctx *ctx, const struct members *list,
                                             double at);

/* What struct objm_director wants: count and list. */
void vcl__members_count(struct member_set *set, unsigned *healthy, unsigned *total);
void vcl__members_list(struct member_set *set, bool has_weights, bool is_json, objm_out_fn *out,
                       void *out_arg);
/* One formatted piece for `out`. */
__attribute__((format(printf, 3, 4))) void vcl__out(objm_out_fn *out, void *out_arg,
                                                    const char *fmt, ...);

#endif
