/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* add_vfp, add_vdp, remove_vfp, remove_vdp: a filter by its bare name, or by what a function of a
 * module returns; a position. */
#include "vcl/cc.h"

#include "base/check.h"
#include "filter/notation.h"

static enum vcl_type type_of(enum filter_side side)
{
    return side == FILTER_VFP ? VT_VFP : VT_VDP;
}

static void list_one(struct cc *cc, const struct filter *filter)
{
    if ((filter->flags & FILTER_NOT_BY_NAME) == 0) {
        vcl__err(cc, "\t%.*s\n", STR_ARG(filter->name));
    }
}

static struct expr *unknown(struct cc *cc, enum filter_side side)
{
    unsigned count;
    unsigned fills;
    const struct filter *const *all = filter_builtins(side, &count, &fills);
    vcl__err(cc, "Unknown %s '%.*s'.  Expected a filter of a module, or one of:\n",
             side == FILTER_VFP ? "VFP" : "VDP", STR_ARG(token_text(cc->t)));
    for (unsigned n = 0; n < count; n++) {
        list_one(cc, all[n]);
    }
    vcl__err_at(cc, cc->t);
    return NULL;
}

/* A bare name is a filter's: names of built-in ones come first, as they do for the planner.  What
 * is nothing without an argument can be removed by it, and not added. */
static struct expr *by_name(struct cc *cc, enum filter_side side, bool is_added)
{
    struct str name = token_text(cc->t);
    const struct filter *builtin = filter_find(side, name);
    struct objm_candidate *candidate = vcl__alloc(cc->prog->mem, sizeof *candidate);
    if (builtin != NULL && (!is_added || (builtin->flags & FILTER_NOT_BY_NAME) == 0)) {
        candidate->builtin = vcl__prog_text(cc->prog, name).ptr;
    } else {
        candidate->filter = vcl__module_filter(cc->prog, side, name);
    }
    if (candidate->builtin == NULL && candidate->filter == NULL) {
        return unknown(cc, side);
    }
    vcl__next(cc);
    struct expr *e = vcl__ex(cc, X_CONST, type_of(side));
    e->value.filter = candidate;
    e->is_const = true;
    return e;
}

static struct expr *filter(struct cc *cc, enum filter_side side, bool is_added)
{
    unsigned after = vcl__peek(cc)->kind;
    if (cc->t->kind == T_ID && (after == ',' || after == ')')) {
        return by_name(cc, side, is_added);
    }
    return vcl__expr(cc, type_of(side));
}

static bool position(struct cc *cc, enum filter_side side, enum filter_pos *pos)
{
    if (!vcl__expect(cc, T_ID)) {
        return false;
    }
    if (filter_pos_of(side, token_text(cc->t), pos)) {
        vcl__next(cc);
        return true;
    }
    static const enum filter_pos all[] = {FILTER_DEFAULT, FILTER_FRONT, FILTER_MIDDLE,
                                          FILTER_LAST,    FILTER_FETCH, FILTER_STEVEDORE};
    vcl__err(cc, "Unknown position.  Expected one of:\n");
    for (size_t n = 0; n < ARRAY_SIZE(all); n++) {
        vcl__err(cc, "\t%.*s\n", STR_ARG(filter_pos_name(side, all[n])));
    }
    vcl__err_at(cc, cc->t);
    return false;
}

static struct stmt *act(struct cc *cc, const struct token *t, enum filter_side side, bool is_added)
{
    struct stmt *s = vcl__stmt(cc, ST_FILTER, t);
    enum filter_pos pos = FILTER_DEFAULT;
    s->op = is_added ? VCL_OP_ADDFILTER : VCL_OP_NOFILTER;
    s->ret = side;
    if (!vcl__skip(cc, '(')) {
        return NULL;
    }
    s->expr = filter(cc, side, is_added);
    if (s->expr == NULL) {
        return NULL;
    }
    if (is_added && cc->t->kind == ',') {
        vcl__next(cc);
        if (!position(cc, side, &pos)) {
            return NULL;
        }
    }
    s->count = (unsigned)pos;
    return vcl__skip(cc, ')') && vcl__skip(cc, ';') ? s : NULL;
}

struct stmt *vcl__act_add_vfp(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    return act(cc, t, FILTER_VFP, true);
}

struct stmt *vcl__act_add_vdp(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    return act(cc, t, FILTER_VDP, true);
}

struct stmt *vcl__act_remove_vfp(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    return act(cc, t, FILTER_VFP, false);
}

struct stmt *vcl__act_remove_vdp(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    return act(cc, t, FILTER_VDP, false);
}
