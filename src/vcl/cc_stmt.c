/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Blocks and conditions.  Blocks stand in blocks: recursion that vcl__enter bounds.
 * NOLINTBEGIN(misc-no-recursion)
 */
#include "vcl/cc.h"

struct stmt *vcl__stmt(struct cc *cc, enum st_kind kind, const struct token *t)
{
    struct stmt *s = vcl__alloc(&cc->mem, sizeof *s);
    s->kind = kind;
    s->t = t;
    return s;
}

static struct stmt *condition(struct cc *cc, const struct token *t)
{
    if (!vcl__skip(cc, '(')) {
        return NULL;
    }
    struct stmt *s = vcl__stmt(cc, ST_IF, t);
    s->expr = vcl__expr(cc, VT_BOOL);
    if (s->expr == NULL || !vcl__skip(cc, ')')) {
        return NULL;
    }
    s->body = vcl__block(cc);
    return s->body == NULL ? NULL : s;
}

static bool is_elseif(const struct token *t)
{
    return vcl__is(t, "elseif") || vcl__is(t, "elsif") || vcl__is(t, "elif");
}

/* Each `else if` stands in the else part of the one before it. */
struct stmt *vcl__act_if(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    struct stmt *first = condition(cc, t);
    struct stmt *last = first;
    while (last != NULL) {
        const struct token *word = cc->t;
        bool is_else = vcl__is(word, "else");
        if (!is_else && !is_elseif(word)) {
            break;
        }
        vcl__next(cc);
        if (is_else && cc->t->kind == '{') {
            last->other = vcl__block(cc);
            return last->other == NULL ? NULL : first;
        }
        if (is_else && !vcl__is(cc->t, "if")) {
            vcl__err(cc, "'else' must be followed by 'if' or '{'\n");
            vcl__err_at(cc, cc->t);
            return NULL;
        }
        if (is_else) {
            vcl__next(cc);
        }
        last->other = condition(cc, word);
        last = last->other;
    }
    return last == NULL ? NULL : first;
}

static struct stmt *action(struct cc *cc)
{
    const struct token *t = cc->t;
    struct symbol *sym = vcl__sym_get(cc, SYM_NONE, LOOK_PART, USE_NONE);
    if (sym == NULL) {
        return NULL;
    }
    if (sym->action == NULL) {
        vcl__err(cc, "Symbol cannot be used here.\n");
        vcl__err_at(cc, cc->t);
        return NULL;
    }
    if (sym->acts != 0) {
        vcl__use(cc, t, NULL, sym, USED_ACTION);
    }
    return sym->action(cc, t, sym);
}

/* What stands at cc->t, which is no closing bracket. */
static struct stmt *statement(struct cc *cc)
{
    switch (cc->t->kind) {
    case '{':
        return vcl__block(cc);
    case T_ID:
        return action(cc);
    case T_CSRC:
        vcl__err(cc, "Inline-C not allowed\n");
        vcl__err_at(cc, cc->t);
        return NULL;
    case T_EOI:
        vcl__err(cc, "End of input while in compound statement\n");
        return NULL;
    default:
        vcl__err(cc, "Expected an action, 'if', '{' or '}'\n");
        vcl__err_at(cc, cc->t);
        return NULL;
    }
}

struct stmt *vcl__block(struct cc *cc)
{
    if (!vcl__enter(cc) || !vcl__skip(cc, '{')) {
        return NULL;
    }
    struct stmt *block = vcl__stmt(cc, ST_BLOCK, cc->t);
    block->count = vcl__prog_place(cc->prog, cc->t);
    struct stmt **end = &block->body;
    while (cc->t->kind != '}') {
        *end = statement(cc);
        if (*end == NULL || cc->failed) {
            return NULL;
        }
        end = &(*end)->next;
    }
    vcl__next(cc);
    vcl__leave(cc);
    return block;
}
/* NOLINTEND(misc-no-recursion) */
