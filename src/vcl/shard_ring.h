/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Consistent hashing: a ring of points, several of each backend, and the walk along it.  Pure. */
#ifndef VCL_SHARD_RING_H
#define VCL_SHARD_RING_H

#include "base/rc.h"
#include "objmapper/module.h"

enum { SHARD_BACKENDS_MAX = 1024, SHARD_POINTS_MAX = 1 << 22 };

struct shard_backend {
    const struct objm_backend *backend;
    char *ident;      /* NULL: the backend's name */
    const char *name; /* ident, or the backend's name */
    double rampup;    /* seconds; negative: the director's */
    double weight;    /* at least 1 */
    uint32_t replicas;
};

struct shard_point {
    uint32_t at;
    uint32_t host; /* index of its backend */
};

/* Makes the ring: `replicas` points of each backend, which stand at the hash of its name with the
 * numbers from 0 behind it.  The caller frees *points.  RC_LIMIT: more than SHARD_POINTS_MAX. */
MUST_USE enum rc vcl__ring_make(const struct shard_backend *backends, unsigned count,
                                struct shard_point **points, unsigned *point_count);
/* The index of the first point at or behind the key; count behind the last. */
unsigned vcl__ring_find(const struct shard_point *points, unsigned count, uint32_t key);

enum shard_healthy { SHARD_CHOSEN, SHARD_IGNORE, SHARD_ALL };

/* One found on the ring. */
struct shard_found {
    int host; /* -1: none */
    double changed;
};

/* What a walk needs to know of a backend. */
typedef bool shard_health_fn(void *arg, unsigned host, double *changed);

/* A walk from a key: each backend is met once, in the order in which its first point comes. */
struct shard_walk {
    const struct shard_point *points;
    unsigned point_count;
    unsigned host_count;
    unsigned at;
    unsigned met_count;
    uint64_t met[SHARD_BACKENDS_MAX / 64];
    shard_health_fn *health;
    void *arg;
    struct shard_found previous; /* healthy or chosen, before the last one */
    struct shard_found last;
};
void vcl__walk_start(struct shard_walk *walk, uint32_t key);
/* The next backend after `skip` others; wants_healthy: sick ones do not count.  False: no more. */
bool vcl__walk_next(struct shard_walk *walk, int64_t skip, bool wants_healthy);

#endif
