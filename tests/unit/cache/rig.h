/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A cache on a fake store, on one or several loops; and what most tests of the cache do to it. */
#ifndef TESTS_UNIT_CACHE_RIG_H
#define TESTS_UNIT_CACHE_RIG_H

#include "cache/cache.h"
#include "fake_store.h"
#include "support/run_fiber.h"

struct rig_conf {
    unsigned loops; /* 0: one, on a fake clock */
    uint64_t seed;  /* shuffles fibers, and whom the cache promotes */
    unsigned resurrections;
    struct ban_log *ban_log;
    void *arg;
};
struct rig {
    struct cache *cache;
    struct stevedore stv;
    struct stevedore *list[2];
    struct run *run; /* on fibers */
    void *arg;
};
/* Runs fn(struct rig *) on a fiber; afterwards the cache must let go of everything. */
void rig_run(const struct rig_conf *conf, fiber_fn *fn);

/* Starts a fiber on any loop, from any loop. */
void rig_start(struct rig *rig, unsigned loop_index, fiber_fn *fn, void *arg);

/* Counts down from many loops to one fiber that waits. */
struct latch {
    struct post post;
    struct loop *home;
    struct fiber *fiber;
    _Atomic unsigned left;
    bool is_open; /* on home */
};
void latch_init(struct latch *latch, unsigned count); /* on the waiting fiber */
void latch_down(struct latch *latch);
YIELDS void latch_wait(struct latch *latch);

struct digest rig_key(unsigned n);
/* On a fake clock fresh for 10 s from now (else for an hour), then 10 s grace and 10 s keep. */
struct obj_times rig_times(void);
struct lookup_req rig_req(unsigned key);
/* Must succeed; deadline a minute. */
YIELDS struct lookup rig_lookup(struct rig *rig, unsigned key);
/* A whole fetch into a busy core, which it releases.  Returns what obj_finish did. */
YIELDS enum rc rig_fetch(struct rig *rig, struct objcore **take_busy, const char *body);
YIELDS enum rc rig_fetch_times(struct rig *rig, struct objcore **take_busy, const char *body,
                               const struct obj_times *times, unsigned flags);
/* Its first half: stored, attributes set, ready.  Returns what obj_ready did. */
bool rig_ready(struct rig *rig, struct objcore *busy, const struct obj_times *times,
               unsigned flags);
YIELDS void rig_write(struct objcore *busy, const void *bytes, size_t len);
/* Puts an object there: looks it up, must miss, fetches. */
YIELDS void rig_put(struct rig *rig, unsigned key, const char *body);
/* The whole body; the caller frees it.  *rc_out: how it ended, RC_EOF if well. */
YIELDS char *rig_body(struct objcore *oc, size_t *len, enum rc *rc_out);
/* What a lookup of key gives, as a character: H body ..., e.g. "H:text", "M"; cleans up, failing
 * what is busy.  Static memory of the caller: buf. */
YIELDS const char *rig_seen(struct rig *rig, unsigned key, char *buf, size_t size);
void rig_release(struct lookup *found); /* oc; and fails and releases busy */

#endif
