/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Expressions with operators, from the weakest to the strongest:
 *
 *     or:   and { '||' and }        and:  not { '&&' not }       not:  [ '!' ] compare
 *     compare: sum [ op sum ]       sum:  product { +- product }  product: postfix { * / % postfix
 * }
 *
 * Every level is told which type is wanted, as a hint: numbers are durations or bytes by it, names
 * that are not known yet become backends or subs.  What comes out may have another type; only
 * vcl__expr insists.  Strings are VT_STRINGS while they are put together: a list of parts, of which
 * adjacent literals become one.
 *
 * The levels call each other, and brackets call the first again: recursion that vcl__enter bounds.
 * NOLINTBEGIN(misc-no-recursion)
 */
#include "vcl/cc.h"

#include <stdlib.h>

#include "base/check.h"

struct expr *vcl__ex(struct cc *cc, enum ex_kind kind, enum vcl_type type)
{
    struct expr *e = vcl__alloc(&cc->mem, sizeof *e);
    e->kind = kind;
    e->type = type;
    return e;
}

const char *vcl__user_type(enum vcl_type type)
{
    return type == VT_STRINGS || type == VT_STRANDS ? "STRING" : vcl__type_name(type);
}

const char *vcl__ex_type_name(const struct cc *cc, const struct expr *e)
{
    (void)cc;
    return e->type == VT_INSTANCE && e->sym != NULL && e->sym->object != NULL
               ? vcl__object_name(e->sym)
               : vcl__user_type(e->type);
}

/* A list of one part. */
struct expr *vcl__ex_strings(struct cc *cc, struct expr *part)
{
    struct expr *e = vcl__ex(cc, X_STRINGS, VT_STRINGS);
    e->parts = part;
    e->last = part;
    e->count = 1;
    e->is_literal = part->kind == X_CONST;
    e->is_const = e->is_literal;
    return e;
}

static bool has_text(enum vcl_type type)
{
    switch (type) {
    case VT_ACL:
    case VT_BACKEND:
    case VT_BLOB:
    case VT_BOOL:
    case VT_BYTES:
    case VT_DURATION:
    case VT_ENUM:
    case VT_HEADER:
    case VT_INT:
    case VT_IP:
    case VT_REAL:
    case VT_STEVEDORE:
    case VT_STRING:
    case VT_STRANDS:
    case VT_STRINGS:
    case VT_TIME:
        return true;
    default:
        return false;
    }
}

struct expr *vcl__ex_tostring(struct cc *cc, struct expr *e, const struct token *from)
{
    if (e->type == VT_STRINGS) {
        return e;
    }
    if (!has_text(e->type)) {
        vcl__err(cc, "Cannot convert %s to STRING.\n", vcl__ex_type_name(cc, e));
        vcl__err_span(cc, from, cc->t);
        return NULL;
    }
    struct expr *text = vcl__ex(cc, X_TOSTRING, VT_STRING);
    text->a = e;
    return vcl__ex_strings(cc, text);
}

static struct expr *to_bool(struct cc *cc, struct expr *e)
{
    if (e->type != VT_BACKEND && e->type != VT_INT && e->type != VT_DURATION &&
        e->type != VT_STRINGS) {
        return e;
    }
    struct expr *b = vcl__ex(cc, X_TOBOOL, VT_BOOL);
    b->a = e;
    return b;
}

static struct expr *pair(struct cc *cc, enum ex_kind kind, enum vcl_type type, struct expr *a,
                         struct expr *b)
{
    struct expr *e = vcl__ex(cc, kind, type);
    e->a = a;
    e->b = b;
    return e;
}

/* ---- * / % ---- */

static enum vcl_type factor_type(enum vcl_type type)
{
    switch (type) {
    case VT_INT:
        return VT_INT;
    case VT_BYTES:
    case VT_DURATION:
    case VT_REAL:
        return VT_REAL;
    default:
        return VT_VOID;
    }
}

static struct expr *product(struct cc *cc, enum vcl_type want)
{
    struct expr *e = vcl__ex_postfix(cc, want);
    while (e != NULL && (cc->t->kind == '*' || cc->t->kind == '/' || cc->t->kind == '%')) {
        const struct token *op = cc->t;
        if (op->kind == '%' && e->type != VT_INT) {
            vcl__err(cc, "Operator %% only possible on INT.\n");
            vcl__err_at(cc, op);
            return NULL;
        }
        enum vcl_type factor = factor_type(e->type);
        if (factor == VT_VOID) {
            vcl__err(cc, "Operator %c not possible on type %s.\n", (int)op->kind,
                     vcl__ex_type_name(cc, e));
            vcl__err_at(cc, op);
            return NULL;
        }
        vcl__next(cc);
        struct expr *b = vcl__ex_postfix(cc, factor);
        if (b == NULL) {
            return NULL;
        }
        if (b->type != VT_INT && b->type != factor) {
            vcl__err(cc, "%s %c %s not possible.\n", vcl__ex_type_name(cc, e), (int)op->kind,
                     vcl__ex_type_name(cc, b));
            vcl__err_at(cc, op);
            return NULL;
        }
        e = pair(cc, X_ARITH, e->type, e, b);
        e->op = op->kind;
    }
    return e;
}

/* ---- + - ---- */

static const struct sum_rule {
    unsigned op;
    enum vcl_type a;
    enum vcl_type b;
    enum vcl_type result;
} sum_rules[] = {
#define SUM(op, a, b, result) {op, VT_##a, VT_##b, VT_##result},
#include "vcl/sums.def"
#undef SUM
};

static const struct sum_rule *rule_of(unsigned op, enum vcl_type a, enum vcl_type b)
{
    for (size_t i = 0; i < ARRAY_SIZE(sum_rules); i++) {
        const struct sum_rule *r = &sum_rules[i];
        /* VT_VOID: any second type. */
        if (r->op == op && r->a == a && (b == VT_VOID || r->b == b)) {
            return r;
        }
    }
    return NULL;
}

/* All parts of b behind those of a; a literal joins the literal before it. */
static struct expr *join(struct cc *cc, struct expr *a, struct expr *b)
{
    if (a->is_literal && b->is_const) {
        struct cc_text text = {0};
        vcl__add(&text, vcl_str(a->last->value.string));
        vcl__add(&text, vcl_str(b->parts->value.string));
        a->last->value.string =
            vcl_objm_str(vcl__prog_text(cc->prog, (struct str){text.ptr, text.len}));
        free(text.ptr);
        a->is_literal = b->is_literal;
        return a;
    }
    a->last->next = b->parts;
    a->last = b->last;
    a->count += b->count;
    a->is_const = false;
    a->is_literal = b->is_literal;
    return a;
}

static struct expr *concat(struct cc *cc, struct expr *a, struct expr *b, const struct token *from)
{
    a = vcl__ex_tostring(cc, a, from);
    b = a == NULL ? NULL : vcl__ex_tostring(cc, b, from);
    return b == NULL ? NULL : join(cc, a, b);
}

static struct expr *sum(struct cc *cc, enum vcl_type want)
{
    const struct token *from = cc->t;
    struct expr *e = product(cc, want);
    while (e != NULL && (cc->t->kind == '+' || cc->t->kind == '-')) {
        const struct token *op = cc->t;
        bool is_sum = rule_of(op->kind, e->type, VT_VOID) != NULL;
        vcl__next(cc);
        struct expr *b = product(cc, !is_sum && want == VT_STRINGS ? VT_STRINGS : e->type);
        if (b == NULL) {
            return NULL;
        }
        const struct sum_rule *rule = rule_of(op->kind, e->type, b->type);
        if (rule != NULL) {
            e = pair(cc, X_ARITH, rule->result, e, b);
            e->op = op->kind;
        } else if (op->kind == '+' && (e->type == VT_STRINGS || want == VT_STRINGS)) {
            e = concat(cc, e, b, from);
        } else {
            vcl__err(cc, "%s %c %s not possible.\n", vcl__ex_type_name(cc, e), (int)op->kind,
                     vcl__ex_type_name(cc, b));
            vcl__err_span(cc, op, cc->t);
            return NULL;
        }
    }
    return e;
}

/* ---- comparisons ---- */

static bool is_relation(unsigned op)
{
    return op == T_EQ || op == T_NEQ || op == '<' || op == '>' || op == T_LEQ || op == T_GEQ ||
           op == '~' || op == T_NOMATCH;
}

static bool can_compare(enum vcl_type type, unsigned op)
{
    bool is_equality = op == T_EQ || op == T_NEQ;
    switch (type) {
    case VT_INT:
    case VT_DURATION:
    case VT_BYTES:
    case VT_REAL:
    case VT_TIME:
    case VT_STRINGS:
        return op != '~' && op != T_NOMATCH;
    case VT_BACKEND:
    case VT_ACL:
    case VT_PROBE:
    case VT_STEVEDORE:
    case VT_SUB:
    case VT_INSTANCE:
    case VT_BOOL:
    case VT_IP:
        return is_equality;
    default:
        return false;
    }
}

static struct expr *compare_values(struct cc *cc, struct expr *a)
{
    const struct token *op = cc->t;
    vcl__next(cc);
    struct expr *b = sum(cc, a->type);
    if (b == NULL) {
        return NULL;
    }
    if (b->type != a->type) {
        vcl__err(cc, "Comparison of different types: %s '%.*s' %s\n", vcl__ex_type_name(cc, a),
                 STR_ARG(token_text(op)), vcl__ex_type_name(cc, b));
        vcl__err_at(cc, op);
        return NULL;
    }
    struct expr *e = pair(cc, X_COMPARE, VT_BOOL, a, b);
    e->op = op->kind;
    return e;
}

static struct expr *match(struct cc *cc, struct expr *a)
{
    bool is_negated = cc->t->kind == T_NOMATCH;
    enum vcl_type want = a->type == VT_IP ? VT_ACL : VT_REGEX;
    vcl__next(cc);
    const struct token *from = cc->t;
    struct expr *b = vcl__ex_postfix(cc, want);
    if (b == NULL || !vcl__ex_typecheck(cc, b, want, from)) {
        return NULL;
    }
    struct expr *e = pair(cc, want == VT_ACL ? X_ACL : X_MATCH, VT_BOOL, a, b);
    e->index = b->index;
    e->is_negated = is_negated;
    return e;
}

static struct expr *compare(struct cc *cc, enum vcl_type want)
{
    struct expr *e = sum(cc, want);
    if (e == NULL || !is_relation(cc->t->kind)) {
        return e;
    }
    if (can_compare(e->type, cc->t->kind)) {
        return compare_values(cc, e);
    }
    bool is_match = cc->t->kind == '~' || cc->t->kind == T_NOMATCH;
    if (is_match && (e->type == VT_IP || e->type == VT_STRINGS)) {
        return match(cc, e);
    }
    vcl__err(cc, "Operator %.*s not possible on %s\n", STR_ARG(token_text(cc->t)),
             vcl__ex_type_name(cc, e));
    vcl__err_at(cc, cc->t);
    return NULL;
}

/* ---- ! && || ---- */

static struct expr *negation(struct cc *cc, enum vcl_type want)
{
    const struct token *from = cc->t;
    if (from->kind != '!') {
        return compare(cc, want);
    }
    vcl__next(cc);
    struct expr *a = compare(cc, want);
    if (a == NULL) {
        return NULL;
    }
    a = to_bool(cc, a);
    if (a->type != VT_BOOL) {
        vcl__err(cc, "'!' must be followed by BOOL, found %s.\n", vcl__ex_type_name(cc, a));
        vcl__err_span(cc, from, cc->t);
        return NULL;
    }
    return pair(cc, X_NOT, VT_BOOL, a, NULL);
}

typedef struct expr *level_fn(struct cc *cc, enum vcl_type want);

static struct expr *logical(struct cc *cc, enum vcl_type want, unsigned op, level_fn *below)
{
    const char *text = op == T_CAND ? "&&" : "||";
    const struct token *from = cc->t;
    struct expr *e = below(cc, want);
    if (e == NULL || cc->t->kind != op) {
        return e;
    }
    e = to_bool(cc, e);
    if (e->type != VT_BOOL) {
        vcl__err(cc, "'%s' must be preceeded by BOOL, found %s.\n", text, vcl__ex_type_name(cc, e));
        vcl__err_span(cc, from, cc->t);
        return NULL;
    }
    while (cc->t->kind == op) {
        vcl__next(cc);
        from = cc->t;
        struct expr *b = below(cc, want);
        if (b == NULL) {
            return NULL;
        }
        b = to_bool(cc, b);
        if (b->type != VT_BOOL) {
            vcl__err(cc, "'%s' must be followed by BOOL, found %s.\n", text,
                     vcl__ex_type_name(cc, b));
            vcl__err_span(cc, from, cc->t);
            return NULL;
        }
        e = pair(cc, op == T_CAND ? X_AND : X_OR, VT_BOOL, e, b);
    }
    return e;
}

static struct expr *conjunction(struct cc *cc, enum vcl_type want)
{
    return logical(cc, want, T_CAND, negation);
}

struct expr *vcl__ex_or(struct cc *cc, enum vcl_type want)
{
    if (!vcl__enter(cc)) {
        return NULL;
    }
    struct expr *e = logical(cc, want, T_COR, conjunction);
    vcl__leave(cc);
    return e;
}

/* ---- the whole ---- */

bool vcl__ex_typecheck(struct cc *cc, const struct expr *e, enum vcl_type want,
                       const struct token *from)
{
    if (e->type == want) {
        return true;
    }
    vcl__err(cc, "Expression has type %s, expected %s\n", vcl__ex_type_name(cc, e),
             vcl__user_type(want));
    vcl__err_span(cc, from, cc->t);
    return false;
}

static struct expr *as_type(struct cc *cc, struct expr *e, enum vcl_type want,
                            const struct token *from)
{
    bool is_text = want == VT_STRING || want == VT_STRANDS;
    if (is_text || (want == VT_BODY && e->type != VT_BLOB)) {
        e = vcl__ex_tostring(cc, e, from);
        if (e != NULL) {
            e->type = want;
        }
        return e;
    }
    if (want == VT_BODY) {
        struct expr *body = pair(cc, X_TOSTRING, VT_BODY, e, NULL);
        return body;
    }
    return want == VT_BOOL ? to_bool(cc, e) : e;
}

struct expr *vcl__expr(struct cc *cc, enum vcl_type type)
{
    const struct token *from = cc->t;
    bool is_text = type == VT_STRING || type == VT_STRANDS;
    struct expr *e = vcl__ex_or(cc, is_text ? VT_STRINGS : type);
    if (e == NULL || e->type == type) {
        return e;
    }
    e = as_type(cc, e, type, from);
    return e == NULL || !vcl__ex_typecheck(cc, e, type, from) ? NULL : e;
}
/* NOLINTEND(misc-no-recursion) */
