/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The planner: from the format of a body and filters that somebody wants, a chain in which each
 * filter's output is the next one's input.  A pure function over tables: no I/O, no memory but the
 * arena's, the same plan for the same question, and an end for every question. */
#ifndef FILTER_PLAN_H
#define FILTER_PLAN_H

#include "filter/filter.h"

/* A filter that is wanted, in the order in which it was asked for. */
struct plan_want {
    const struct filter *filter;
    enum filter_pos pos;
    const void *arg; /* for its codec */
};

struct plan_step {
    const struct filter *filter;
    enum filter_pos pos;
    const void *arg;
    struct str in, out; /* the formats that it takes and makes here */
    bool is_builtin;    /* placed to fill a gap */
    uint8_t want;   /* which of the question's it is; PLAN_NO_WANT: it fills a gap, or was queued */
    uint8_t arg_of; /* whose arg it has; PLAN_NO_WANT: nobody's */
};

struct plan_left {
    struct plan_want want;
    const char *reason; /* "nothing makes (buffertext) after gzip", as filter.plan prints it */
    uint8_t index;      /* which of the question's it is; PLAN_NO_WANT: it was queued */
    uint8_t arg_of;     /* as of steps */
};

enum {
    PLAN_STEPS_MAX = 32,
    PLAN_WANTS_MAX = 32,
    PLAN_FILLS_MAX = 32,
    PLAN_FORMATS_MAX = 64,
    PLAN_NO_WANT = 255
};

struct plan {
    enum filter_side side;
    struct str from; /* the body's format */
    struct str to;   /* what leaves the chain */
    const struct plan_step *steps;
    unsigned steps_count;
    const struct plan_left *left;
    unsigned left_count;
};

struct plan_ask {
    enum filter_side side;
    struct str from;
    const struct plan_want *wants;
    unsigned wants_count;
    const struct filter *const *fills; /* what may fill gaps, in this order */
    unsigned fills_count;
    const struct str *without; /* names that are neither to fill a gap nor to be queued */
    unsigned without_count;
};

/* Everything in *out lies in the arena or was given.  RC_LIMIT: more than PLAN_WANTS_MAX, more than
 * PLAN_FORMATS_MAX names of formats, or no room. */
MUST_USE enum rc plan_make(const struct plan_ask *ask, struct arena *arena, struct plan *out);
/* The same from a cache of plans, which belongs to one thread and is bounded: a plan depends on all
 * of the question but the args, and on filters by what they say of themselves.  So what `placed`
 * does must depend on nothing else. */
struct plan_cache;
struct plan_cache *plan_cache_new(void);
void plan_cache_free(struct plan_cache **cache);
MUST_USE enum rc plan_cached(struct plan_cache *cache, const struct plan_ask *ask,
                             struct arena *arena, struct plan *out);
struct plan_cache_sums {
    uint64_t hits, misses;
};
struct plan_cache_sums plan_cache_sums(const struct plan_cache *cache);

/* The chain that somebody wrote down himself (beresp.filters): names with blanks between them, on
 * this order and no other.  RC_NOT_FOUND: *unknown is a name that no filter of the side has;
 * neighbours need not match. */
MUST_USE enum rc plan_given(enum filter_side side, struct str from, struct str names,
                            const struct plan_want *more, unsigned more_count, struct arena *arena,
                            struct plan *out, struct str *unknown);

/* "beresp(gzip) > (gzip)gunzip(text) > (text)esi(esitext)"; obj(...) on the other side. */
void plan_print(const struct plan *plan, struct sb *sb);
/* " gunzip esi", as Varnish's Filters record has it. */
void plan_names(const struct plan *plan, struct sb *sb);

/* ---- for filter_placed_fn ---- */

enum filter_side planning_side(const struct planning *planning);
unsigned planning_count(const struct planning *planning);
const struct filter *planning_at(const struct planning *planning, unsigned at);
struct str planning_format(const struct planning *planning, unsigned at); /* that it makes */
bool planning_is_builtin(const struct planning *planning, unsigned at);   /* fills a gap */
enum filter_pos planning_pos(const struct planning *planning, unsigned at);
/* Whether a filter is among the candidates, or (planning_makes) one whose output is this format. */
bool planning_wants(const struct planning *planning, const struct filter *filter);
bool planning_makes(const struct planning *planning, struct str format);
void planning_add(struct planning *planning, const struct filter *filter, enum filter_pos pos);
/* With the arg of the one at this place of the chain. */
void planning_add_like(struct planning *planning, const struct filter *filter, enum filter_pos pos,
                       unsigned at);
/* Out of the candidates for good. */
void planning_drop(struct planning *planning, const struct filter *filter);
/* Out of the chain, for good; those behind whose input nothing makes now are candidates again. */
void planning_remove(struct planning *planning, unsigned at);

#endif
