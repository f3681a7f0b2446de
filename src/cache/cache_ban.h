/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bans: what matches is gone, however many objects that are; Varnish's language and list. */
#ifndef CACHE_CACHE_BAN_H
#define CACHE_CACHE_BAN_H

#include "base/sb.h"
#include "cache/cache.h"

/* What matches is not found any more, whatever it is, by lookups that begin after this returns, in
 * this worker or a later one.  The text as VCL's ban() has it.  RC_INVALID, RC_NOSPACE: *why says
 * what is wrong. */
MUST_USE enum rc cache_ban(struct cache *cache, struct str text, struct sb *why);
/* The same in words, as the command line has it: field, operator, operand, "&&", ... */
MUST_USE enum rc cache_ban_words(struct cache *cache, const struct str *words, unsigned n,
                                 struct sb *why);
/* Whether a new ban completes older equal ones; true at first. */
void cache_ban_dups(struct cache *cache, bool are_completed);

struct ban_info {
    uint64_t time_ns;
    uint64_t refs;
    bool is_completed, tests_req, tests_obj;
    const void *id;
    struct str text; /* borrowed during the call */
};
typedef void cache_ban_fn(void *arg, const struct ban_info *info);
/* Newest first, under the list's lock: no calls back. */
void cache_ban_list(struct cache *cache, cache_ban_fn *fn, void *arg);

struct cache_ban_stats {
    uint64_t bans, completed, obj, req; /* now */
    uint64_t added, deleted, tested, tests_tested, obj_killed, dups;
    uint64_t lurker_tested, lurker_tests_tested, lurker_obj_killed, lurker_obj_killed_cutoff,
        lurker_contention;
    uint64_t persisted_bytes, persisted_fragmentation;
};
void cache_ban_stat(const struct cache *cache, struct cache_ban_stats *out);

/* Varnish's parameters ban_lurker_* and ban_cutoff. */
struct lurk_conf {
    uint64_t age_ns, sleep_ns, holdoff_ns;
    unsigned batch;
    unsigned cutoff; /* 0: none */
    void (*killed)(void *arg, const struct objcore *oc, bool is_cutoff);
    void *arg;
};
/* Tests some objects against bans, and returns when to come again (monotonic).  Always on the same
 * loop's thread, outside fibers. */
uint64_t cache_lurk(struct cache *cache, const struct lurk_conf *conf);
/* When this number moves there is something to do: a ban was added, or the last one is over. */
uint64_t cache_ban_moves(const struct cache *cache);

#endif
