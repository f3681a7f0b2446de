/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The ring of the shard director.
 *
 * Each backend has points on a circle of 32-bit numbers; a key belongs to the backend whose point
 * comes next.  A backend that goes takes only its own keys along, which then belong to whoever
 * comes next.  Points depend on names alone, so every daemon with the same backends, and Varnish
 * too, sends a key to the same place. */
#include "vcl/shard_ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/mod_directors.h"

static int point_order(const void *left, const void *right)
{
    const struct shard_point *a = left;
    const struct shard_point *b = right;
    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    /* Two backends on one point: the one that was added first, on every machine. */
    return (a->host > b->host) - (a->host < b->host);
}

enum rc vcl__ring_make(const struct shard_backend *backends, unsigned count,
                       struct shard_point **points, unsigned *point_count)
{
    uint64_t total = 0;
    for (unsigned n = 0; n < count; n++) {
        total += backends[n].replicas;
    }
    if (total > SHARD_POINTS_MAX) {
        return RC_LIMIT;
    }
    struct shard_point *ring = xcalloc(total + 1, sizeof *ring);
    size_t used = 0;
    for (unsigned n = 0; n < count; n++) {
        const char *name = backends[n].name;
        for (uint32_t k = 0; k < backends[n].replicas; k++) {
            char number[12];
            int len = snprintf(number, sizeof number, "%u", k);
            struct objm_str parts[] = {{name, strlen(name)}, {number, (size_t)len}};
            ring[used++] = (struct shard_point){vcl__hash32(parts, 2), n};
        }
    }
    qsort(ring, used, sizeof *ring, point_order);
    *points = ring;
    *point_count = (unsigned)used;
    return RC_OK;
}

unsigned vcl__ring_find(const struct shard_point *points, unsigned count, uint32_t key)
{
    unsigned low = 0;
    unsigned high = count;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (points[mid].at < key) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

void vcl__walk_start(struct shard_walk *walk, uint32_t key)
{
    CHECK(walk->host_count <= SHARD_BACKENDS_MAX);
    walk->at = vcl__ring_find(walk->points, walk->point_count, key);
    if (walk->at == walk->point_count) {
        /* Behind the last point Varnish stays at it, and so do we. */
        walk->at = walk->point_count == 0 ? 0 : walk->point_count - 1;
    }
    walk->met_count = 0;
    memset(walk->met, 0, sizeof walk->met);
    walk->previous.host = -1;
    walk->last.host = -1;
}

/* Whether the host is met for the first time. */
static bool meet(struct shard_walk *walk, uint32_t host)
{
    uint64_t bit = UINT64_C(1) << (host % 64);
    if ((walk->met[host / 64] & bit) != 0) {
        return false;
    }
    walk->met[host / 64] |= bit;
    walk->met_count++;
    return true;
}

static void choose(struct shard_walk *walk, uint32_t host, double changed)
{
    if (walk->last.host >= 0) {
        walk->previous = walk->last;
    }
    walk->last = (struct shard_found){(int)host, changed};
}

bool vcl__walk_next(struct shard_walk *walk, int64_t skip, bool wants_healthy)
{
    while (walk->met_count < walk->host_count && walk->point_count > 0) {
        uint32_t host = walk->points[walk->at].host;
        walk->at = walk->at + 1 == walk->point_count ? 0 : walk->at + 1;
        if (!meet(walk, host)) {
            continue;
        }
        double changed = 0;
        bool is_healthy = walk->health(walk->arg, host, &changed);
        if (!is_healthy && wants_healthy) {
            continue;
        }
        if (skip-- == 0) {
            choose(walk, host, changed);
            return true;
        }
        if (is_healthy) {
            walk->previous = (struct shard_found){(int)host, changed};
        }
    }
    return false;
}
