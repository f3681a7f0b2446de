/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The list of bans, as the files of cache/ see it. */
#ifndef CACHE_BANS_H
#define CACHE_BANS_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/ban_expr.h"
#include "regex/regex.h"
#include "run/rcu.h"

struct cache;
struct objcore;

/* Newest first, by numbers that rise. */
struct ban {
    struct ban *_Atomic older; /* NULL: it is the last */
    struct ban *newer;         /* bans.lock */
    uint64_t seq;
    uint64_t time_ns;
    struct ban_expr *expr;     /* NULL: the one to begin with, which bans nothing */
    _Atomic bool is_completed; /* nothing that it could ban is left */
    uint64_t refs;             /* bans.lock: objects that were tested up to this one */
    /* The lurker's, for one pass: */
    struct ban *reach; /* up to which objects that stand here may rise */
    unsigned index;    /* from the newest */
    bool is_target;
    struct rcu_head rcu;
};

struct lurker {
    struct ban *top; /* the newest target of this pass; NULL: there is no pass */
    unsigned stripe;
    struct objcore **gathered; /* referenced */
    size_t count, cap, at;
    _Atomic uint64_t generation; /* rises when there may be something to do */
};

struct bans {
    struct ban *_Atomic newest; /* never NULL.  What every hit compares */
    _Alignas(64) pthread_mutex_t lock;
    struct ban *oldest; /* lock */
    struct ban_log *log;
    _Atomic bool has_dups;
    struct lurker lurker; /* on the thread of cache_lurk */
    struct regex_pool scratch;
    struct {
        _Atomic uint64_t bans, completed, obj, req, added, deleted, tested, tests_tested,
            obj_killed, dups, lurker_tested, lurker_tests_tested, lurker_obj_killed,
            lurker_obj_killed_cutoff, lurker_contention;
    } n;
};

static inline struct ban *bans__newest(const struct bans *bans)
{
    return atomic_load_explicit(&bans->newest, memory_order_acquire);
}
/* With what an earlier worker's list says (log may be NULL). */
void bans__init(struct bans *bans, struct ban_log *log);
void bans__fini(struct bans *bans);

/* A new core was tested against all there are; one that is found, against those up to `seq`.
 * Under the stripe or not. */
void bans__attach(struct bans *bans, struct objcore *oc);
void bans__attach_at(struct bans *bans, struct objcore *oc, uint64_t seq);
void bans__detach(struct bans *bans, struct objcore *oc);
/* To a newer one, unless it stands there or beyond already.  False: it has left. */
bool bans__raise(struct bans *bans, struct objcore *oc, struct ban *to);

/* A lookup has found oc, which is_behind; req may be NULL if there is none.  True: it is banned, or
 * gone already.
 * False: it was tested up to the newest.  As an RCU reader. */
bool bans__test(struct bans *bans, struct objcore *oc, const struct http *req);
/* A fetch is about to go into its head: true if a ban on objects alone that came meanwhile is on
 * it.  The lurker, which may have been in this head before, will not look again. */
bool bans__has_missed(struct bans *bans, struct objcore *oc);

/* What a ban looks at of an object; as an RCU reader. */
struct ban_subject bans__subject(struct bans *bans, const struct objcore *oc,
                                 const struct http *req);
/* Marks, and counts. */
void bans__complete(struct bans *bans, struct ban *ban);
/* Those at the old end that no object refers to.  Only the lurker. */
void bans__drop_tail(struct bans *bans);

void lurker__fini(struct cache *cache);

#endif
