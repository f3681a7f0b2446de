/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The planner.
 *
 * A chain begins with the body's format.  A candidate may be placed at its end when it takes the
 * format made there.  Where none does, or one that should come first does not, built-in filters
 * fill the gap, by the shortest way (of two equal ones that with the earlier filters).  Placing
 * goes on until nothing can be added.  Which candidate goes where, these rules decide, the earlier
 * before the later:
 *
 *   1. As many as possible of those asked for have a place.
 *   2. As many as possible of those that other filters queued have one.
 *   3. FETCH comes before all other candidates, STEVEDORE behind.
 *   4. The chain is as short as it can be.
 *   5. A candidate is used rather than the same filter as a built-in (which, unless the candidate
 *      is to be at STEVEDORE, is not used at all while that waits).
 *   6. At each place: who fits there before who needs a gap filled; then FETCH, FRONT, MIDDLE,
 * LAST, STEVEDORE; then the order in which they were asked for.
 *
 * A candidate that could itself fill gaps (gzip, gunzip) is there for the format alone.  When the
 * body has it anyway, it has nothing to do: it counts as placed in 1 and 2, as well placed in 3,
 * and no gap is filled for it.  Nothing follows a filter that is the last (FILTER_IS_LAST).
 *
 * How: chains are tried one after the other in the order of rule 6, each from its beginning, since
 * filters that are placed change candidates and chain; a chain that can become no better than the
 * best so far is given up.  A filter that leaves every format alone, and does nothing else to the
 * plan, loses nothing by being placed where it fits; so there is nothing to try beside it, and the
 * usual question has one chain or two.  After PLACINGS_MAX the best so far is the answer: with
 * dozens of candidates that exclude each other it may miss rules 1 to 5. */
#include "filter/plan_priv.h"

#include "base/check.h"

enum { PLACINGS_MAX = 8192, DEPTH_MAX = 2 * PLAN_PARTS_MAX };

/* What a chain is worth: the first that differs decides, less is better. */
struct cost {
    unsigned asked_left, queued_left, misplaced, length, fills;
};

/* Places a candidate, or goes to a format by built-ins. */
struct move {
    uint8_t part;
    uint8_t target; /* if part is PLAN_NO_PART */
};

struct search {
    struct planning p;
    unsigned placings;

    struct move moves[PLAN_PARTS_MAX];
    unsigned moves_count;
    uint8_t via_fill[PLAN_FORMATS_MAX]; /* the way to each format found: its last filter, */
    uint8_t via_from[PLAN_FORMATS_MAX]; /* and where that starts */

    uint8_t choices[DEPTH_MAX]; /* which move was made at each depth, */
    uint8_t others[DEPTH_MAX];  /* and of how many */
    unsigned depth;

    uint8_t best_choices[DEPTH_MAX];
    unsigned best_depth;
    struct cost best;
    bool has_best;
};

/* ---- what a chain is worth ---- */

static bool is_better(const struct cost *a, const struct cost *b)
{
    if (a->asked_left != b->asked_left) {
        return a->asked_left < b->asked_left;
    }
    if (a->queued_left != b->queued_left) {
        return a->queued_left < b->queued_left;
    }
    if (a->misplaced != b->misplaced) {
        return a->misplaced < b->misplaced;
    }
    if (a->length != b->length) {
        return a->length < b->length;
    }
    return a->fills < b->fills;
}

static bool is_misplaced(const struct planning *p, unsigned at)
{
    const struct part *part = &p->parts[p->steps[at].part];
    bool is_first = part->pos == FILTER_FETCH;
    if (!is_first && (part->pos != FILTER_STEVEDORE || plan__is_satisfied(p, part))) {
        return false;
    }
    unsigned from = is_first ? 0 : at + 1;
    unsigned to = is_first ? at : p->steps_count;
    for (unsigned n = from; n < to; n++) {
        uint8_t other = p->steps[n].part;
        if (other != PLAN_NO_PART && p->parts[other].pos != part->pos) {
            return true;
        }
    }
    return false;
}

static struct cost cost_of(const struct planning *p)
{
    struct cost cost = {.length = p->steps_count};
    for (unsigned n = 0; n < p->parts_count; n++) {
        const struct part *part = &p->parts[n];
        if (part->state == PART_WAITS && !plan__is_satisfied(p, part)) {
            *(n < p->asked_count ? &cost.asked_left : &cost.queued_left) += 1;
        }
    }
    for (unsigned n = 0; n < p->steps_count; n++) {
        if (p->steps[n].part == PLAN_NO_PART) {
            cost.fills++;
        } else if (is_misplaced(p, n)) {
            cost.misplaced++;
        }
    }
    return cost;
}

/* All formats that could still come up, if every filter were there as often as one likes. */
static uint64_t formats_ahead(const struct planning *p)
{
    if (!plan__is_open(p)) {
        return 0;
    }
    uint64_t found = plan__bit(p->format);
    for (uint64_t before = 0; before != found;) {
        before = found;
        for (unsigned n = 0; n < p->parts_count; n++) {
            const struct part *part = &p->parts[n];
            if (part->state == PART_WAITS && (part->shape.in & found) != 0 &&
                part->shape.out_default != PLAN_NO_FORMAT) {
                found |= plan__bit(part->shape.out_default);
            }
        }
        for (unsigned n = 0; n < p->ask->fills_count; n++) {
            const struct shape *shape = &p->fills[n];
            if ((shape->in & found) != 0 && shape->out_default != PLAN_NO_FORMAT) {
                found |= plan__bit(shape->out_default);
            }
        }
    }
    return found;
}

/* Whatever comes now, the chain will not be better than this.  What filters may yet queue is not
 * foreseen. */
static struct cost cost_at_least(const struct planning *p)
{
    struct cost cost = {.length = p->steps_count};
    uint64_t ahead = formats_ahead(p);
    uint64_t end = ahead | plan__bit(p->format);
    for (unsigned n = 0; n < p->parts_count; n++) {
        const struct part *part = &p->parts[n];
        if (part->state != PART_WAITS) {
            continue;
        }
        bool may_rest = part->is_format_only && (part->shape.out & end) != 0;
        if ((part->shape.in & ahead) == 0 && !may_rest) {
            *(n < p->asked_count ? &cost.asked_left : &cost.queued_left) += 1;
        } else if (!may_rest && n < p->asked_count) {
            cost.length++;
        }
    }
    for (unsigned n = 0; n < p->steps_count; n++) {
        cost.fills += p->steps[n].part == PLAN_NO_PART ? 1 : 0;
    }
    return cost;
}

/* ---- what can be done at the end of a chain ---- */

static void add_move(struct search *s, unsigned part, uint8_t target)
{
    CHECK(s->moves_count < PLAN_PARTS_MAX);
    s->moves[s->moves_count++] = (struct move){.part = (uint8_t)part, .target = target};
}

/* It leaves each format that it takes as it is: at no other place would it be of more use. */
static bool leaves_formats(const struct part *part, uint8_t format)
{
    const struct shape *shape = &part->shape;
    bool keeps = (part->filter->flags & FILTER_KEEPS_FORMAT) != 0;
    return shape->keeps_any || (keeps && (shape->in & ~shape->out) == 0) ||
           (shape->in == plan__bit(format) && shape->out_default == format);
}

/* Nothing is lost when it is placed here, before all others. */
static bool is_free(const struct planning *p, const struct part *part)
{
    if (part->filter->placed != NULL || (part->filter->flags & FILTER_IS_LAST) != 0 ||
        !leaves_formats(part, p->format)) {
        return false;
    }
    for (unsigned n = 0; n < p->parts_count; n++) {
        const struct part *other = &p->parts[n];
        if (other->state != PART_WAITS || other->pos == part->pos) {
            continue;
        }
        if (other->pos == FILTER_FETCH || part->pos == FILTER_STEVEDORE) {
            return false;
        }
    }
    return true;
}

/* It would make what one that is for the format alone has just made something else of. */
static bool is_undoing(const struct planning *p, bool is_format_only, uint8_t out)
{
    if (!is_format_only || p->steps_count == 0) {
        return false;
    }
    const struct step *last = &p->steps[p->steps_count - 1];
    return last->in == out && (last->part == PLAN_NO_PART || p->parts[last->part].is_format_only);
}

static bool fits(const struct planning *p, const struct part *part)
{
    return plan__takes(&part->shape, p->format) &&
           !is_undoing(p, part->is_format_only, plan__out(part->filter, &part->shape, p->format));
}

/* Those that fit as the chain is.  True: the one found is all that need be tried. */
static bool list_fitting(struct search *s)
{
    const struct planning *p = &s->p;
    for (unsigned n = 0; n < p->parts_count; n++) {
        const struct part *part = &p->parts[p->order[n]];
        if (part->state != PART_WAITS || !fits(p, part)) {
            continue;
        }
        add_move(s, p->order[n], 0);
        if (s->moves_count == 1 && is_free(p, part)) {
            return true;
        }
    }
    return false;
}

/* The way to this format leads through, or begins with, what such a candidate would make. */
static bool is_in_vain(const struct search *s, const struct part *part, uint8_t format)
{
    if (!part->is_format_only) {
        return false;
    }
    uint8_t out = plan__out(part->filter, &part->shape, format);
    uint8_t at = format;
    while (at != out && at != s->p.format) {
        at = s->via_from[at];
    }
    return at == out;
}

/* Whom this format, newly found, helps: off the list of those who lack one. */
static unsigned helped_by(struct search *s, uint8_t format, uint8_t *lacking, unsigned count)
{
    unsigned kept = 0;
    for (unsigned n = 0; n < count; n++) {
        const struct part *part = &s->p.parts[lacking[n]];
        if (!plan__takes(&part->shape, format) || is_in_vain(s, part, format)) {
            lacking[kept++] = lacking[n];
        }
    }
    if (kept < count) {
        add_move(s, PLAN_NO_PART, format);
    }
    return kept;
}

/* A candidate of the same filter is there to be used; but for one that keeps its place at the end.
 */
static bool is_wanted(const struct planning *p, const struct filter *fill)
{
    for (unsigned n = 0; n < p->parts_count; n++) {
        const struct part *part = &p->parts[n];
        if (part->filter == fill && part->state == PART_WAITS && part->pos != FILTER_STEVEDORE) {
            return true;
        }
    }
    return false;
}

/* Those that do not fit, and are to. */
static unsigned list_lacking(const struct planning *p, uint8_t *lacking)
{
    unsigned count = 0;
    for (unsigned n = 0; n < p->parts_count; n++) {
        const struct part *part = &p->parts[p->order[n]];
        if (part->state == PART_WAITS && !plan__takes(&part->shape, p->format) &&
            !plan__is_satisfied(p, part)) {
            lacking[count++] = p->order[n];
        }
    }
    return count;
}

/* The nearest formats that these take: breadth first, so the first way found is shortest. */
static void list_gaps(struct search *s, uint8_t *lacking, unsigned count)
{
    struct planning *p = &s->p;
    uint8_t queue[PLAN_FORMATS_MAX];
    queue[0] = p->format;
    unsigned queued = 1;
    uint64_t seen = plan__bit(p->format);
    for (unsigned at = 0; at < queued && count > 0; at++) {
        for (unsigned n = 0; n < p->ask->fills_count && count > 0; n++) {
            if (!plan__takes(&p->fills[n], queue[at])) {
                continue;
            }
            uint8_t out = plan__out(p->ask->fills[n], &p->fills[n], queue[at]);
            if ((seen & plan__bit(out)) != 0 || (at == 0 && is_undoing(p, true, out)) ||
                is_wanted(p, p->ask->fills[n])) {
                continue;
            }
            seen |= plan__bit(out);
            s->via_fill[out] = (uint8_t)n;
            s->via_from[out] = queue[at];
            queue[queued++] = out;
            count = helped_by(s, out, lacking, count);
        }
    }
}

/* In the order of rule 6. */
static enum rc list_moves(struct search *s)
{
    struct planning *p = &s->p;
    s->moves_count = 0;
    if (!plan__is_open(p) || s->depth == DEPTH_MAX || list_fitting(s)) {
        return RC_OK;
    }
    bool is_filled = p->steps_count > 0 && p->steps[p->steps_count - 1].part == PLAN_NO_PART;
    uint8_t lacking[PLAN_PARTS_MAX];
    unsigned count = is_filled && s->moves_count > 0 ? 0 : list_lacking(p, lacking);
    if (count == 0) {
        return RC_OK;
    }
    enum rc rc = plan__know_fills(p);
    if (rc == RC_OK) {
        list_gaps(s, lacking, count);
    }
    return rc;
}

static void go_to(struct search *s, uint8_t target)
{
    struct planning *p = &s->p;
    uint8_t fills[PLAN_FORMATS_MAX];
    unsigned count = 0;
    for (uint8_t at = target; at != p->format; at = s->via_from[at]) {
        CHECK(count < PLAN_FORMATS_MAX);
        fills[count++] = s->via_fill[at];
    }
    while (count > 0 && plan__is_open(p)) {
        uint8_t fill = fills[--count];
        /* A filter just placed may have changed the chain. */
        if (!plan__takes(&p->fills[fill], p->format)) {
            return;
        }
        s->placings++;
        plan__place_fill(p, fill);
    }
}

static void make_move(struct search *s, unsigned choice)
{
    CHECK(choice < s->moves_count);
    struct move move = s->moves[choice];
    if (move.part == PLAN_NO_PART) {
        go_to(s, move.target);
    } else {
        s->placings++;
        plan__place(&s->p, move.part);
    }
}

/* ---- one chain after the other ---- */

/* Builds the chain that begins with `given` choices and takes the first after them.  *is_whole:
 * it was not given up. */
static enum rc build(struct search *s, unsigned given, bool *is_whole)
{
    *is_whole = true;
    for (s->depth = 0;; s->depth++) {
        enum rc rc = list_moves(s);
        if (rc != RC_OK || s->moves_count == 0) {
            return rc;
        }
        if (s->depth >= given) {
            s->choices[s->depth] = 0;
        }
        s->others[s->depth] = (uint8_t)s->moves_count;
        make_move(s, s->choices[s->depth]);
        if (!s->has_best || s->depth + 1 < given) {
            continue;
        }
        rc = plan__know_fills(&s->p);
        struct cost least = rc == RC_OK ? cost_at_least(&s->p) : s->best;
        if (rc != RC_OK || !is_better(&least, &s->best)) {
            *is_whole = false;
            s->depth++;
            return rc;
        }
    }
}

/* The choices of the next chain: the deepest that has another.  False: all have been made. */
static bool next_choices(struct search *s, unsigned *given)
{
    unsigned at = s->depth;
    while (at > 0 && s->choices[at - 1] + 1 >= s->others[at - 1]) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    s->choices[at - 1]++;
    *given = at;
    return true;
}

static void keep_if_better(struct search *s)
{
    struct cost cost = cost_of(&s->p);
    if (!s->has_best || is_better(&cost, &s->best)) {
        s->best = cost;
        s->has_best = true;
        s->best_depth = s->depth;
        memcpy(s->best_choices, s->choices, s->depth);
    }
}

static enum rc find_best(struct search *s)
{
    unsigned given = 0;
    bool is_whole = true;
    bool is_best_now = true;
    for (;;) {
        enum rc rc = build(s, given, &is_whole);
        if (rc != RC_OK) {
            return rc;
        }
        bool had_best = s->has_best;
        unsigned depth = s->depth;
        struct cost before = s->best;
        if (is_whole) {
            keep_if_better(s);
        }
        is_best_now = is_whole && (!had_best || is_better(&s->best, &before));
        s->depth = depth;
        if (s->placings > PLACINGS_MAX || !next_choices(s, &given)) {
            break;
        }
        plan__restart(&s->p);
    }
    if (is_best_now) {
        return RC_OK;
    }
    /* The last one tried was another: this one again. */
    plan__restart(&s->p);
    memcpy(s->choices, s->best_choices, s->best_depth);
    s->has_best = false;
    return build(s, s->best_depth, &is_whole);
}

/* ---- the answer ---- */

static enum rc write_steps(const struct planning *p, struct arena *arena, struct plan *out)
{
    struct plan_step *steps = arena_alloc(arena, p->steps_count * sizeof(*steps));
    if (steps == NULL) {
        return RC_LIMIT;
    }
    for (unsigned n = 0; n < p->steps_count; n++) {
        const struct step *step = &p->steps[n];
        bool is_builtin = step->part == PLAN_NO_PART;
        const struct part *part = is_builtin ? NULL : &p->parts[step->part];
        steps[n] = (struct plan_step){
            .filter = step->filter,
            .pos = is_builtin ? FILTER_DEFAULT : part->pos,
            .arg = is_builtin ? NULL : part->arg,
            .in = p->formats[step->in],
            .out = p->formats[step->out],
            .is_builtin = is_builtin,
            .want = is_builtin || step->part >= p->asked_count ? PLAN_NO_WANT : step->part,
            .arg_of = is_builtin ? PLAN_NO_WANT : part->from,
        };
    }
    out->steps = steps;
    out->steps_count = p->steps_count;
    return RC_OK;
}

static enum rc write_left(const struct planning *p, struct arena *arena, struct plan *out)
{
    struct plan_left *left = NULL;
    unsigned count = 0;
    for (unsigned n = 0; n < p->parts_count; n++) {
        count += p->parts[n].state != PART_PLACED ? 1 : 0;
    }
    if (count > 0 && (left = arena_alloc(arena, count * sizeof(*left))) == NULL) {
        return RC_LIMIT;
    }
    out->left = left;
    out->left_count = count;
    for (unsigned n = 0; n < p->parts_count; n++) {
        const struct part *part = &p->parts[n];
        if (part->state == PART_PLACED) {
            continue;
        }
        *left = (struct plan_left){
            .want = {.filter = part->filter, .pos = part->pos, .arg = part->arg},
            .reason = plan__reason(p, part, arena),
            .index = n < p->asked_count ? (uint8_t)n : PLAN_NO_WANT,
            .arg_of = part->from,
        };
        if (left->reason == NULL) {
            return RC_LIMIT;
        }
        left++;
    }
    return RC_OK;
}

static enum rc plan_with(struct search *s, const struct plan_ask *ask, struct arena *arena,
                         struct plan *out)
{
    enum rc rc = plan__begin(&s->p, ask);
    if (rc != RC_OK) {
        return rc;
    }
    s->placings = 0;
    s->has_best = false;
    rc = find_best(s);
    if (rc != RC_OK) {
        return rc;
    }
    *out = (struct plan){.side = ask->side, .from = ask->from, .to = s->p.formats[s->p.format]};
    rc = write_steps(&s->p, arena, out);
    return rc == RC_OK ? write_left(&s->p, arena, out) : rc;
}

enum rc plan_make(const struct plan_ask *ask, struct arena *arena, struct plan *out)
{
    CHECK(ask->from.ptr != NULL);
    /* The search works at the arena's far end, which is free again when it is done. */
    size_t room = (arena->cap - arena->used) & ~(size_t)15;
    uintptr_t end = (uintptr_t)arena->base + arena->cap;
    size_t bytes = sizeof(struct search) + (end - sizeof(struct search)) % 16;
    if (bytes > room) {
        arena->overflowed = true;
        return RC_LIMIT;
    }
    arena->cap -= bytes;
    struct search *search = (struct search *)(void *)(arena->base + arena->cap);
    enum rc rc = plan_with(search, ask, arena, out);
    arena->cap += bytes;
    return rc;
}
