/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What holds for every plan, over random tables of filters: it ends, neighbours match, nobody is
 * lost, the same question has the same answer; and no chain is better by the rules of plan.c, which
 * is compared with a search that tries every order of every choice of candidates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "filter/notation.h"
#include "filter/plan.h"

enum { FORMATS = 5, WANTS_MAX = 9, FILLS_MAX = 5, ARENA_BYTES = 32 << 10, NONE = 99 };

struct table {
    struct filter filters[WANTS_MAX + FILLS_MAX];
    char lists[WANTS_MAX + FILLS_MAX][2][8];
    struct plan_want wants[WANTS_MAX];
    const struct filter *fills[FILLS_MAX];
    struct plan_ask ask;
};

static struct table t;
static _Alignas(16) char blocks[2][ARENA_BYTES];

/* One to `most` formats, "b,d". */
static struct str random_list(struct rng *rng, char *list, unsigned most)
{
    unsigned count = 1 + (unsigned)rng_below(rng, most);
    for (unsigned n = 0; n < count; n++) {
        list[2 * n] = (char)('a' + rng_below(rng, FORMATS));
        list[2 * n + 1] = ',';
    }
    return (struct str){list, 2 * (size_t)count - 1};
}

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

static void make_table(struct rng *rng, unsigned wants, bool is_wild)
{
    unsigned fills = (unsigned)rng_below(rng, FILLS_MAX + 1);
    for (unsigned n = 0; n < WANTS_MAX + FILLS_MAX; n++) {
        bool is_odd = is_wild && rng_below(rng, 8) == 0;
        t.filters[n] = (struct filter){
            .name = {letters + n, 1},
            .in = is_odd ? STR("*") : random_list(rng, t.lists[n][0], 2),
            .out = is_odd ? STR("*") : random_list(rng, t.lists[n][1], is_wild ? 3 : 1),
            .recommended = (enum filter_pos)rng_below(rng, FILTER_STEVEDORE + 1),
        };
        if (is_wild && rng_below(rng, 6) == 0) {
            t.filters[n].flags = rng_below(rng, 2) == 0 ? FILTER_IS_LAST : FILTER_KEEPS_FORMAT;
        }
    }
    for (unsigned n = 0; n < fills; n++) {
        t.fills[n] = &t.filters[WANTS_MAX + n];
    }
    for (unsigned n = 0; n < wants; n++) {
        bool is_fill = is_wild && fills > 0 && rng_below(rng, 6) == 0;
        t.wants[n] =
            (struct plan_want){.filter = is_fill ? t.fills[rng_below(rng, fills)] : &t.filters[n],
                               .pos = (enum filter_pos)rng_below(rng, FILTER_STEVEDORE + 1),
                               .arg = &t.wants[n]};
    }
    t.ask = (struct plan_ask){.from = {letters, 1},
                              .wants = t.wants,
                              .wants_count = wants,
                              .fills = t.fills,
                              .fills_count = fills};
    t.ask.from = STR("a");
}

/* ---- what filters do to plans, at random but the same each time ---- */

static void disturb(struct planning *planning, unsigned at)
{
    const struct filter *self = planning_at(planning, at);
    struct rng rng = {(uint64_t)self->name.ptr[0] + 31 * planning_count(planning)};
    const struct filter *other = &t.filters[rng_below(&rng, WANTS_MAX)];
    switch (rng_below(&rng, 5)) {
    case 0:
        planning_add_like(planning, other, FILTER_STEVEDORE, at);
        break;
    case 1:
        planning_drop(planning, other);
        break;
    case 2:
        planning_remove(planning, at);
        break;
    case 3:
        planning_remove(planning, (unsigned)rng_below(&rng, at + 1));
        planning_add(planning, other, FILTER_DEFAULT);
        break;
    default:
        (void)planning_makes(planning, STR("b"));
        break;
    }
}

/* ---- soundness ---- */

static bool lists(struct str list, struct str format)
{
    struct str rest = list;
    while (rest.ptr != NULL) {
        struct str one = str_cut(&rest, ',');
        if (str_eq(one, format) || str_eq(one, STR("*"))) {
            return true;
        }
    }
    return false;
}

static void check_chain(const struct plan *plan)
{
    struct str format = plan->from;
    for (unsigned n = 0; n < plan->steps_count; n++) {
        const struct plan_step *step = &plan->steps[n];
        assert_true(str_eq(step->in, format));
        assert_true(lists(step->filter->in, step->in));
        assert_true(lists(step->filter->out, step->out));
        assert_true(n + 1 == plan->steps_count || (step->filter->flags & FILTER_IS_LAST) == 0);
        format = step->out;
    }
    assert_true(str_eq(plan->to, format));
}

/* Each candidate that was asked for is in the chain once, or left over once with a reason. */
static void check_nobody_is_lost(const struct plan *plan)
{
    for (unsigned n = 0; n < t.ask.wants_count; n++) {
        unsigned found = 0;
        for (unsigned m = 0; m < plan->steps_count; m++) {
            const struct plan_step *step = &plan->steps[m];
            found += step->filter == t.wants[n].filter && step->arg == t.wants[n].arg ? 1 : 0;
        }
        for (unsigned m = 0; m < plan->left_count; m++) {
            const struct plan_left *left = &plan->left[m];
            assert_true(left->reason[0] != '\0');
            found +=
                left->want.filter == t.wants[n].filter && left->want.arg == t.wants[n].arg ? 1 : 0;
        }
        assert_true(found >= 1);
    }
}

static struct str print(const struct plan *plan, struct arena *arena)
{
    struct sb sb = arena_builder(arena);
    plan_print(plan, &sb);
    for (unsigned n = 0; n < plan->left_count; n++) {
        sb_put(&sb, plan->left[n].want.filter->name);
        sb_put(&sb, str_of(plan->left[n].reason));
    }
    CHECK(!sb.overflow);
    return arena_claim(arena, &sb);
}

static struct str make_plan(unsigned block, struct plan *plan)
{
    static struct arena arenas[2];
    arena_init(&arenas[block], blocks[block], ARENA_BYTES);
    assert_non_null(arena_alloc(&arenas[block], 1 + block * 100));
    assert_int_equal(plan_make(&t.ask, &arenas[block], plan), RC_OK);
    return print(plan, &arenas[block]);
}

static void every_plan_is_sound(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct rng rng = {seed};
        make_table(&rng, (unsigned)rng_below(&rng, WANTS_MAX + 1), true);
        for (unsigned n = 0; seed % 2 == 0 && n < WANTS_MAX + FILLS_MAX; n++) {
            t.filters[n].placed = rng_below(&rng, 3) == 0 ? disturb : NULL;
        }
        struct plan plan;
        struct plan again;
        struct str text = make_plan(0, &plan);
        check_chain(&plan);
        check_nobody_is_lost(&plan);
        assert_true(str_eq(text, make_plan(1, &again)));
    }
}

/* ---- no better chain ---- */

struct cost {
    unsigned left, misplaced, length, fills;
};

static bool is_better(const struct cost *a, const struct cost *b)
{
    if (a->left != b->left) {
        return a->left < b->left;
    }
    if (a->misplaced != b->misplaced) {
        return a->misplaced < b->misplaced;
    }
    return a->length != b->length ? a->length < b->length : a->fills < b->fills;
}

static unsigned distances[FORMATS][FORMATS];

/* Of all formats by fills, Floyd's way. */
static void measure(void)
{
    for (unsigned i = 0; i < FORMATS; i++) {
        for (unsigned j = 0; j < FORMATS; j++) {
            distances[i][j] = i == j ? 0 : NONE;
        }
    }
    for (unsigned n = 0; n < t.ask.fills_count; n++) {
        struct str rest = t.fills[n]->in;
        unsigned out = (unsigned)(t.fills[n]->out.ptr[0] - 'a');
        while (rest.ptr != NULL) {
            unsigned in = (unsigned)(str_cut(&rest, ',').ptr[0] - 'a');
            distances[in][out] = in == out ? 0 : 1;
        }
    }
    for (unsigned k = 0; k < FORMATS; k++) {
        for (unsigned i = 0; i < FORMATS; i++) {
            for (unsigned j = 0; j < FORMATS; j++) {
                unsigned by_k = distances[i][k] + distances[k][j];
                distances[i][j] = by_k < distances[i][j] ? by_k : distances[i][j];
            }
        }
    }
}

static enum filter_pos pos_of(const struct plan_want *want)
{
    enum filter_pos pos = want->pos == FILTER_DEFAULT ? want->filter->recommended : want->pos;
    return pos == FILTER_DEFAULT ? FILTER_LAST : pos;
}

static unsigned misplaced_in(const unsigned *order, unsigned count)
{
    unsigned misplaced = 0;
    for (unsigned n = 0; n < count; n++) {
        enum filter_pos pos = pos_of(&t.wants[order[n]]);
        bool is_wrong = false;
        for (unsigned m = 0; m < count; m++) {
            is_wrong |= pos_of(&t.wants[order[m]]) != pos &&
                        ((pos == FILTER_FETCH && m < n) || (pos == FILTER_STEVEDORE && m > n));
        }
        misplaced += is_wrong ? 1 : 0;
    }
    return misplaced;
}

/* Of the candidates in this order; false: it cannot be done. */
static bool cost_of_order(const unsigned *order, unsigned count, struct cost *cost)
{
    *cost =
        (struct cost){.left = t.ask.wants_count - count, .misplaced = misplaced_in(order, count)};
    unsigned format = 0;
    for (unsigned n = 0; n < count; n++) {
        const struct filter *filter = t.wants[order[n]].filter;
        unsigned nearest = NONE;
        struct str rest = filter->in;
        while (rest.ptr != NULL) {
            unsigned in = (unsigned)(str_cut(&rest, ',').ptr[0] - 'a');
            nearest = distances[format][in] < nearest ? distances[format][in] : nearest;
        }
        if (nearest >= NONE) {
            return false;
        }
        cost->fills += nearest;
        format = (unsigned)(filter->out.ptr[0] - 'a');
    }
    cost->length = count + cost->fills;
    return true;
}

/* The next permutation in the order of dictionaries. */
static bool permute(unsigned *order, unsigned count)
{
    unsigned at = count;
    while (at > 1 && order[at - 2] > order[at - 1]) {
        at--;
    }
    if (at <= 1) {
        return false;
    }
    unsigned other = count - 1;
    while (order[other] < order[at - 2]) {
        other--;
    }
    unsigned kept = order[other];
    order[other] = order[at - 2];
    order[at - 2] = kept;
    for (unsigned i = at - 1, j = count - 1; i < j; i++, j--) {
        kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    return true;
}

static struct cost best_there_is(void)
{
    unsigned order[WANTS_MAX];
    unsigned count = t.ask.wants_count;
    for (unsigned n = 0; n < count; n++) {
        order[n] = n;
    }
    struct cost best = {.left = NONE};
    do {
        for (unsigned some = 0; some <= count; some++) {
            struct cost cost;
            if (cost_of_order(order, some, &cost) && is_better(&cost, &best)) {
                best = cost;
            }
        }
    } while (permute(order, count));
    return best;
}

static struct cost cost_of_plan(const struct plan *plan)
{
    unsigned order[WANTS_MAX];
    unsigned count = 0;
    struct cost cost = {.left = plan->left_count, .length = plan->steps_count};
    for (unsigned n = 0; n < plan->steps_count; n++) {
        if (plan->steps[n].is_builtin) {
            cost.fills++;
        } else {
            order[count++] = (unsigned)((const struct plan_want *)plan->steps[n].arg - t.wants);
        }
    }
    cost.misplaced = misplaced_in(order, count);
    return cost;
}

static void no_other_chain_is_better(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct rng rng = {seed * 977};
        make_table(&rng, (unsigned)rng_below(&rng, 6), false);
        struct plan plan;
        struct str text = make_plan(0, &plan);
        measure();
        struct cost best = best_there_is();
        struct cost its = cost_of_plan(&plan);
        if (is_better(&best, &its) || is_better(&its, &best)) {
            print_message("seed %d: %.*s\n left %u/%u misplaced %u/%u length %u/%u\n", (int)seed,
                          STR_ARG(text), its.left, best.left, its.misplaced, best.misplaced,
                          its.length, best.length);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_is_sound),
        cmocka_unit_test(no_other_chain_is_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
