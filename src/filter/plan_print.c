/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A plan as text, and the chain that somebody wrote down himself. */
#include "filter/plan_priv.h"

#include "base/check.h"

void plan_print(const struct plan *plan, struct sb *sb)
{
    if (plan->side == FILTER_VFP) {
        sb_lit(sb, "beresp(");
    } else {
        sb_lit(sb, "obj(");
    }
    sb_put(sb, plan->from);
    sb_chr(sb, ')');
    for (unsigned n = 0; n < plan->steps_count; n++) {
        const struct plan_step *step = &plan->steps[n];
        sb_lit(sb, " > (");
        sb_put(sb, step->in);
        sb_chr(sb, ')');
        sb_put(sb, step->filter->name);
        sb_chr(sb, '(');
        sb_put(sb, step->out);
        sb_chr(sb, ')');
    }
}

void plan_names(const struct plan *plan, struct sb *sb)
{
    for (unsigned n = 0; n < plan->steps_count; n++) {
        sb_chr(sb, ' ');
        sb_put(sb, plan->steps[n].filter->name);
    }
}

/* ---- beresp.filters, resp.filters ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static struct str next_word(struct str *rest)
{
    size_t from = 0;
    while (from < rest->len && is_blank(rest->ptr[from])) {
        from++;
    }
    size_t to = from;
    while (to < rest->len && !is_blank(rest->ptr[to])) {
        to++;
    }
    struct str word = {rest->ptr + from, to - from};
    *rest = (struct str){rest->ptr + to, rest->len - to};
    return word;
}

static bool find_given(enum filter_side side, struct str name, const struct plan_want *more,
                       unsigned more_count, struct plan_want *found)
{
    *found = (struct plan_want){0};
    for (unsigned n = 0; n < more_count && found->filter == NULL; n++) {
        if (str_eq(more[n].filter->name, name)) {
            *found = more[n];
        }
    }
    if (found->filter != NULL) {
        return true;
    }
    found->filter = filter_find(side, name);
    return found->filter != NULL && (found->filter->flags & FILTER_NOT_BY_NAME) == 0;
}

static struct str first_of(struct str list)
{
    return (struct str){list.ptr, str_find(list, ',')};
}

/* The formats that it takes and makes where this is what comes; by the rules of the planner, but
 * what does not match stands there all the same. */
static void give_formats(struct plan_step *step, struct str format, struct str from)
{
    const struct filter *filter = step->filter;
    step->in = plan__lists(filter->in, format) ? format : first_of(filter->in);
    bool is_any = str_eq(filter->out, STR("*"));
    if (is_any ||
        ((filter->flags & FILTER_KEEPS_FORMAT) != 0 && plan__lists(filter->out, step->in))) {
        step->out = step->in;
    } else if (plan__lists(filter->out, from)) {
        step->out = from;
    } else {
        step->out = first_of(filter->out);
    }
}

/* As many parameters as a question has parts; it is asked in one place.
 * NOLINTNEXTLINE(readability-function-size) */
enum rc plan_given(enum filter_side side, struct str from, struct str names,
                   const struct plan_want *more, unsigned more_count, struct arena *arena,
                   struct plan *out, struct str *unknown)
{
    CHECK(from.ptr != NULL);
    unsigned count = 0;
    for (struct str rest = names, word; (word = next_word(&rest)).len > 0;) {
        count++;
    }
    struct plan_step *steps = NULL;
    if (count > PLAN_STEPS_MAX) {
        return RC_LIMIT;
    }
    if (count > 0 && (steps = arena_alloc(arena, count * sizeof(*steps))) == NULL) {
        return RC_LIMIT;
    }
    *out =
        (struct plan){.side = side, .from = from, .to = from, .steps = steps, .steps_count = count};
    struct str rest = names;
    for (unsigned n = 0; n < count; n++) {
        struct str word = next_word(&rest);
        struct plan_want found;
        if (!find_given(side, word, more, more_count, &found)) {
            *unknown = word;
            return RC_NOT_FOUND;
        }
        steps[n] = (struct plan_step){
            .filter = found.filter, .pos = plan__pos(found.filter, found.pos), .arg = found.arg};
        give_formats(&steps[n], out->to, from);
        out->to = steps[n].out;
    }
    return RC_OK;
}
