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
};

struct plan_left {
    struct plan_want want;
    const char *reason; /* "nothing makes (buffertext) after gzip", as filter.plan prints it */
};

enum { PLAN_STEPS_MAX = 32, PLAN_WANTS_MAX = 32, PLAN_FILLS_MAX = 32, PLAN_FORMATS_MAX = 64 };

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
const void *planning_arg(const struct planning *planning, unsigned at);
/* Whether a filter is among the candidates, or (planning_makes) one whose output is this format. */
bool planning_wants(const struct planning *planning, const struct filter *filter);
bool planning_makes(const struct planning *planning, struct str format);
void planning_add(struct planning *planning, const struct filter *filter, enum filter_pos pos,
                  const void *arg);
/* Out of the candidates for good. */
void planning_drop(struct planning *planning, const struct filter *filter);
/* Out of the chain, for good; those behind whose input nothing makes now are candidates again. */
void planning_remove(struct planning *planning, unsigned at);

#endif
