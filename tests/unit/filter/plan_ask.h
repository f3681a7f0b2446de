/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Questions for the planner, written as filter.plan takes them. */
#ifndef TESTS_UNIT_FILTER_PLAN_ASK_H
#define TESTS_UNIT_FILTER_PLAN_ASK_H

#include "base/check.h"
#include "filter/notation.h"
#include "filter/plan.h"

enum { ASK_WANTS = PLAN_WANTS_MAX + 1, ASK_ARENA = 64 << 10 };

struct question {
    struct filter made_up[ASK_WANTS];
    struct plan_want wants[ASK_WANTS];
    struct plan_ask ask;
    struct plan plan;
    struct arena arena;
    char text[2048];
    _Alignas(16) char block[ASK_ARENA];
};

/* Candidates with blanks between them; what is no built-in is made up. */
static inline void question_of(struct question *q, enum filter_side side, const char *from,
                               const char *candidates)
{
    unsigned fills;
    unsigned all;
    q->ask = (struct plan_ask){.side = side, .from = str_of(from), .wants = q->wants};
    q->ask.fills = filter_builtins(side, &all, &fills);
    q->ask.fills_count = fills;
    struct str rest = str_of(candidates);
    while (rest.ptr != NULL && rest.len > 0) {
        struct notation one;
        const char *why;
        CHECK(notation_parse(side, str_cut(&rest, ' '), &one, &why) == RC_OK);
        struct filter *made = &q->made_up[q->ask.wants_count];
        *made = (struct filter){.name = one.name, .in = one.in, .out = one.out};
        const struct filter *filter = one.in.ptr == NULL ? filter_find(side, one.name) : made;
        CHECK(filter != NULL);
        q->wants[q->ask.wants_count++] = (struct plan_want){.filter = filter, .pos = one.pos};
    }
    arena_init(&q->arena, q->block, sizeof(q->block));
}

/* "CHAIN; NAME: reason; ..." */
static inline const char *plan_text(struct question *q)
{
    struct sb sb = sb_of(q->text, sizeof(q->text) - 1);
    plan_print(&q->plan, &sb);
    for (unsigned n = 0; n < q->plan.left_count; n++) {
        sb_lit(&sb, "; ");
        sb_put(&sb, q->plan.left[n].want.filter->name);
        sb_lit(&sb, ": ");
        sb_put(&sb, str_of(q->plan.left[n].reason));
    }
    CHECK(!sb.overflow);
    q->text[sb.len] = '\0';
    return q->text;
}

#endif
