/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Why a candidate has no place in the chain, in words. */
#include "filter/plan_priv.h"

static void say_dropped(struct sb *sb, const struct part *part)
{
    if (part->by != NULL) {
        sb_put(sb, part->by->name);
        sb_lit(sb, " dropped it");
    } else {
        sb_lit(sb, "dropped");
    }
}

static void say_gave_way(struct sb *sb, const struct part *part)
{
    if (part->by != NULL) {
        sb_lit(sb, "gave way to ");
        sb_put(sb, part->by->name);
    } else {
        sb_lit(sb, "withdrew");
    }
}

static void say_no_place(struct sb *sb, const struct planning *p, const struct part *part)
{
    struct str format = p->formats[p->format];
    if (plan__is_satisfied(p, part)) {
        sb_lit(sb, "the body is ");
        sb_put(sb, format);
        sb_lit(sb, " already");
    } else if (p->steps_count == PLAN_STEPS_MAX) {
        sb_lit(sb, "the chain is full");
    } else if (!plan__is_open(p)) {
        sb_lit(sb, "nothing may follow ");
        sb_put(sb, p->steps[p->steps_count - 1].filter->name);
    } else if (plan__takes(&part->shape, p->format) && p->steps_count > 0) {
        sb_lit(sb, "it would undo ");
        sb_put(sb, p->steps[p->steps_count - 1].filter->name);
    } else {
        sb_lit(sb, "nothing makes (");
        sb_put(sb, part->filter->in);
        sb_lit(sb, ") after ");
        sb_put(sb, format);
    }
}

const char *plan__reason(const struct planning *p, const struct part *part, struct arena *arena)
{
    struct sb sb = arena_builder(arena);
    switch (part->state) {
    case PART_DROPPED:
        say_dropped(&sb, part);
        break;
    case PART_GAVE_WAY:
        say_gave_way(&sb, part);
        break;
    case PART_WAITS:
    case PART_PLACED:
        say_no_place(&sb, p, part);
        break;
    }
    sb_chr(&sb, '\0');
    return arena_claim(arena, &sb).ptr;
}
