/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One chain in the making, and its candidates: how a filter is placed, and what filters may do to
 * the rest when they are.
 *
 * Invariants: each step takes what the one before it makes; a part is placed exactly when one step
 * is its; `order` holds every part once. */
#include "filter/plan_priv.h"

#include "base/check.h"

enum filter_pos plan__pos(const struct filter *filter, enum filter_pos pos)
{
    enum filter_pos at = pos == FILTER_DEFAULT ? filter->recommended : pos;
    return at == FILTER_DEFAULT ? FILTER_LAST : at;
}

static unsigned rank_of(enum filter_pos pos)
{
    static const uint8_t ranks[] = {[FILTER_FETCH] = 0,
                                    [FILTER_FRONT] = 1,
                                    [FILTER_MIDDLE] = 2,
                                    [FILTER_LAST] = 3,
                                    [FILTER_STEVEDORE] = 4};
    return ranks[pos];
}

static bool is_without(const struct plan_ask *ask, const struct filter *filter)
{
    for (unsigned n = 0; n < ask->without_count; n++) {
        if (str_eq(ask->without[n], filter->name)) {
            return true;
        }
    }
    return false;
}

static bool is_a_fill(const struct plan_ask *ask, const struct filter *filter)
{
    for (unsigned n = 0; n < ask->fills_count; n++) {
        if (ask->fills[n] == filter) {
            return true;
        }
    }
    return false;
}

/* Behind all of its position and of those before. */
static void put_in_order(struct planning *p, unsigned part)
{
    unsigned rank = rank_of(p->parts[part].pos);
    unsigned at = p->parts_count;
    for (; at > 0 && rank_of(p->parts[p->order[at - 1]].pos) > rank; at--) {
        p->order[at] = p->order[at - 1];
    }
    p->order[at] = (uint8_t)part;
}

static void add_part(struct planning *p, const struct filter *filter, enum filter_pos pos,
                     const void *arg, uint8_t from)
{
    unsigned part = p->parts_count;
    CHECK(part < PLAN_PARTS_MAX);
    p->parts[part] = (struct part){
        .filter = filter,
        .arg = arg,
        .shape = plan__shape(p, filter),
        .pos = plan__pos(filter, pos),
        .from = from,
        .is_format_only = is_a_fill(p->ask, filter),
    };
    put_in_order(p, part);
    p->parts_count++;
}

enum rc plan__begin(struct planning *p, const struct plan_ask *ask)
{
    if (ask->wants_count > PLAN_WANTS_MAX || ask->fills_count > PLAN_FILLS_MAX) {
        return RC_LIMIT;
    }
    p->ask = ask;
    p->formats_count = 0;
    p->formats_overflow = false;
    p->parts_count = 0;
    p->steps_count = 0;
    p->has_fills = false;
    p->hook = NULL;
    p->format = plan__format(p, ask->from);
    for (unsigned n = 0; n < ask->wants_count; n++) {
        const struct plan_want *want = &ask->wants[n];
        add_part(p, want->filter, want->pos, want->arg, (uint8_t)n);
    }
    p->asked_count = p->parts_count;
    return p->formats_overflow ? RC_LIMIT : RC_OK;
}

void plan__restart(struct planning *p)
{
    unsigned kept = 0;
    for (unsigned n = 0; n < p->parts_count; n++) {
        if (p->order[n] < p->asked_count) {
            p->order[kept++] = p->order[n];
        }
    }
    p->parts_count = p->asked_count;
    for (unsigned n = 0; n < p->parts_count; n++) {
        p->parts[n].state = PART_WAITS;
        p->parts[n].by = NULL;
    }
    p->steps_count = 0;
    p->format = 0;
}

enum rc plan__know_fills(struct planning *p)
{
    if (p->has_fills) {
        return RC_OK;
    }
    for (unsigned n = 0; n < p->ask->fills_count; n++) {
        const struct filter *fill = p->ask->fills[n];
        /* With an empty set of inputs it is never taken. */
        p->fills[n] = is_without(p->ask, fill) ? (struct shape){.out_default = PLAN_NO_FORMAT}
                                               : plan__shape(p, fill);
    }
    p->has_fills = true;
    return p->formats_overflow ? RC_LIMIT : RC_OK;
}

bool plan__is_open(const struct planning *p)
{
    return p->steps_count < PLAN_STEPS_MAX &&
           (p->steps_count == 0 ||
            (p->steps[p->steps_count - 1].filter->flags & FILTER_IS_LAST) == 0);
}

bool plan__is_satisfied(const struct planning *p, const struct part *part)
{
    return part->is_format_only && (part->shape.out & plan__bit(p->format)) != 0;
}

static void append(struct planning *p, const struct step *step, const struct shape *shape)
{
    CHECK(plan__is_open(p));
    CHECK(plan__takes(shape, p->format));
    struct step *at = &p->steps[p->steps_count];
    *at = *step;
    at->in = p->format;
    at->out = plan__out(step->filter, shape, p->format);
    p->format = at->out;
    p->steps_count++;
    if (step->filter->placed != NULL) {
        p->hook = step->filter;
        p->hook_part = step->part;
        step->filter->placed(p, p->steps_count - 1);
        p->hook = NULL;
    }
}

void plan__place(struct planning *p, unsigned part)
{
    CHECK(part < p->parts_count);
    struct part *its = &p->parts[part];
    CHECK(its->state == PART_WAITS);
    its->state = PART_PLACED;
    append(p, &(struct step){.filter = its->filter, .part = (uint8_t)part}, &its->shape);
}

void plan__place_fill(struct planning *p, unsigned fill)
{
    CHECK(fill < p->ask->fills_count);
    append(
        p,
        &(struct step){.filter = p->ask->fills[fill], .part = PLAN_NO_PART, .fill = (uint8_t)fill},
        &p->fills[fill]);
}

/* ---- for filters that are placed ---- */

enum filter_side planning_side(const struct planning *planning)
{
    return planning->ask->side;
}

unsigned planning_count(const struct planning *planning)
{
    return planning->steps_count;
}

static const struct step *step_at(const struct planning *p, unsigned at)
{
    CHECK(at < p->steps_count);
    return &p->steps[at];
}

const struct filter *planning_at(const struct planning *planning, unsigned at)
{
    return step_at(planning, at)->filter;
}

struct str planning_format(const struct planning *planning, unsigned at)
{
    return planning->formats[step_at(planning, at)->out];
}

bool planning_is_builtin(const struct planning *planning, unsigned at)
{
    return step_at(planning, at)->part == PLAN_NO_PART;
}

enum filter_pos planning_pos(const struct planning *planning, unsigned at)
{
    const struct step *step = step_at(planning, at);
    return step->part == PLAN_NO_PART ? FILTER_DEFAULT : planning->parts[step->part].pos;
}

bool planning_wants(const struct planning *planning, const struct filter *filter)
{
    for (unsigned n = 0; n < planning->parts_count; n++) {
        const struct part *part = &planning->parts[n];
        if (part->state == PART_WAITS && part->filter == filter) {
            return true;
        }
    }
    return false;
}

bool planning_makes(const struct planning *planning, struct str format)
{
    for (unsigned n = 0; n < planning->parts_count; n++) {
        const struct part *part = &planning->parts[n];
        if (part->state == PART_WAITS && plan__lists(part->filter->out, format)) {
            return true;
        }
    }
    return false;
}

/* `from`: the part whose arg it gets; PLAN_NO_PART: none. */
static void add_queued(struct planning *p, const struct filter *filter, enum filter_pos pos,
                       uint8_t from)
{
    unsigned before = p->formats_count;
    /* A filter that adds without end comes to its end here. */
    if (p->parts_count == PLAN_PARTS_MAX || is_without(p->ask, filter)) {
        return;
    }
    unsigned added = p->parts_count;
    const struct part *like = from == PLAN_NO_PART ? NULL : &p->parts[from];
    add_part(p, filter, pos, like == NULL ? NULL : like->arg,
             like == NULL ? PLAN_NO_WANT : like->from);
    if (p->formats_overflow) {
        /* It could not be matched; the plan goes on without it, and says so. */
        p->formats_overflow = false;
        p->formats_count = before;
        p->parts[added].shape = (struct shape){.out_default = PLAN_NO_FORMAT};
    }
    if (p->hook_part != PLAN_NO_PART) {
        p->parts[p->hook_part].by = filter;
    }
}

void planning_add(struct planning *planning, const struct filter *filter, enum filter_pos pos)
{
    add_queued(planning, filter, pos, PLAN_NO_PART);
}

void planning_add_like(struct planning *planning, const struct filter *filter, enum filter_pos pos,
                       unsigned at)
{
    add_queued(planning, filter, pos, step_at(planning, at)->part);
}

void planning_drop(struct planning *planning, const struct filter *filter)
{
    for (unsigned n = 0; n < planning->parts_count; n++) {
        struct part *part = &planning->parts[n];
        if (part->state == PART_WAITS && part->filter == filter) {
            part->state = PART_DROPPED;
            part->by = planning->hook;
        }
    }
}

/* What is behind a place whose maker is gone: steps that still match stay, the others' parts are
 * candidates again. */
static void rejoin(struct planning *p, unsigned at)
{
    unsigned kept = at;
    p->format = at == 0 ? 0 : p->steps[at - 1].out;
    for (unsigned n = at; n < p->steps_count; n++) {
        struct step step = p->steps[n];
        const struct shape *shape =
            step.part == PLAN_NO_PART ? &p->fills[step.fill] : &p->parts[step.part].shape;
        if (plan__takes(shape, p->format)) {
            step.in = p->format;
            step.out = plan__out(step.filter, shape, p->format);
            p->format = step.out;
            p->steps[kept++] = step;
        } else if (step.part != PLAN_NO_PART) {
            p->parts[step.part].state = PART_WAITS;
        }
    }
    p->steps_count = kept;
}

void planning_remove(struct planning *planning, unsigned at)
{
    const struct step *step = step_at(planning, at);
    if (step->part != PLAN_NO_PART) {
        struct part *part = &planning->parts[step->part];
        if (step->part == planning->hook_part) {
            part->state = PART_GAVE_WAY;
        } else {
            part->state = PART_DROPPED;
            part->by = planning->hook;
        }
    }
    for (unsigned n = at + 1; n < planning->steps_count; n++) {
        planning->steps[n - 1] = planning->steps[n];
    }
    planning->steps_count--;
    rejoin(planning, at);
}
