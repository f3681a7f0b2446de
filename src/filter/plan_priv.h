/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A plan in the making: what plan.c (the search), plan_state.c (one chain and its candidates) and
 * plan_format.c (names of formats as numbers) share. */
#ifndef FILTER_PLAN_PRIV_H
#define FILTER_PLAN_PRIV_H

#include "filter/plan.h"

enum {
    PLAN_PARTS_MAX = 2 * PLAN_WANTS_MAX, /* asked for, and queued by filters */
    PLAN_NO_PART = PLAN_NO_WANT,
    PLAN_NO_FORMAT = 255,
};

enum part_state {
    PART_WAITS,
    PART_PLACED,
    PART_DROPPED, /* `by` dropped it */
    PART_GAVE_WAY /* it took itself out; `by`: for this one, or NULL */
};

/* What the planner knows of a filter's formats. */
struct shape {
    uint64_t in;         /* the formats it takes, a bit each */
    uint64_t out;        /* those that it lists as its own */
    uint8_t out_default; /* beresp's own name if it is listed, else the first */
    bool keeps_any;      /* "*" */
};

/* A candidate. */
struct part {
    const struct filter *filter;
    const void *arg;
    struct shape shape;
    enum filter_pos pos; /* never DEFAULT */
    enum part_state state;
    const struct filter *by;
    uint8_t from;        /* the want whose arg it has; PLAN_NO_WANT: its arg is its own */
    bool is_format_only; /* it may fill gaps: all that it is for is the format */
};

struct step {
    const struct filter *filter;
    uint8_t part; /* PLAN_NO_PART: it fills a gap */
    uint8_t fill; /* then: which */
    uint8_t in, out;
};

struct planning {
    const struct plan_ask *ask;
    struct str formats[PLAN_FORMATS_MAX];
    unsigned formats_count;
    bool formats_overflow;

    struct part parts[PLAN_PARTS_MAX];
    unsigned asked_count;
    unsigned parts_count;
    uint8_t order[PLAN_PARTS_MAX]; /* all parts by position, and as they came */

    struct step steps[PLAN_STEPS_MAX];
    unsigned steps_count;
    uint8_t format; /* that the chain makes */

    struct shape fills[PLAN_FILLS_MAX];
    bool has_fills;            /* their shapes are known */
    const struct filter *hook; /* the filter whose `placed` runs */
    uint8_t hook_part;         /* its part; PLAN_NO_PART: it fills a gap */
};

/* plan_format.c */

/* PLAN_NO_FORMAT, and formats_overflow: too many. */
uint8_t plan__format(struct planning *p, struct str name);
struct shape plan__shape(struct planning *p, const struct filter *filter);
/* What comes out of it when this goes in. */
uint8_t plan__out(const struct filter *filter, const struct shape *shape, uint8_t in);
/* Whether a list of formats has this name. */
bool plan__lists(struct str list, struct str name);

static inline uint64_t plan__bit(uint8_t format)
{
    return (uint64_t)1 << format;
}

static inline bool plan__takes(const struct shape *shape, uint8_t format)
{
    return (shape->in >> format & 1) != 0;
}

/* plan_state.c */

/* Where it is to go when this was said; never DEFAULT. */
enum filter_pos plan__pos(const struct filter *filter, enum filter_pos pos);
/* The shapes of what fills gaps, which are looked at when the first gap is met.  RC_LIMIT. */
MUST_USE enum rc plan__know_fills(struct planning *p);
/* The state that an ask begins with.  RC_LIMIT. */
MUST_USE enum rc plan__begin(struct planning *p, const struct plan_ask *ask);
/* Back to it. */
void plan__restart(struct planning *p);
/* May the chain get longer? */
bool plan__is_open(const struct planning *p);
/* Puts it at the end of the chain, and lets it do what it does when it is placed. */
void plan__place(struct planning *p, unsigned part);
void plan__place_fill(struct planning *p, unsigned fill);
/* All it is for has been done: the body has the format that it would make. */
bool plan__is_satisfied(const struct planning *p, const struct part *part);

/* plan_left.c */

/* Why a part is not in the chain; NULL when the arena is full. */
const char *plan__reason(const struct planning *p, const struct part *part, struct arena *arena);

#endif
