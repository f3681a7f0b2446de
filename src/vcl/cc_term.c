/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Expressions without operators: literals, names, brackets, and what follows a dot.
 * Brackets lead back to cc_expr.c: see there for the recursion.
 * NOLINTBEGIN(misc-no-recursion)
 */
#include "vcl/cc.h"

#include "base/check.h"

static struct expr *constant(struct cc *cc, enum vcl_type type, union objm_value value)
{
    struct expr *e = vcl__ex(cc, X_CONST, type);
    e->value = value;
    e->is_const = true;
    return e;
}

static struct expr *literal(struct cc *cc, struct str text)
{
    return vcl__ex_strings(
        cc, constant(cc, VT_STRING, (union objm_value){.string = vcl_objm_str(text)}));
}

/* ---- names ---- */

/* STRING is put together with others as soon as it is there. */
static struct expr *settle(struct cc *cc, struct expr *e)
{
    return e != NULL && e->type == VT_STRING ? vcl__ex_strings(cc, e) : e;
}

static struct expr *regsub(struct cc *cc, bool is_all)
{
    if (!vcl__skip(cc, '(')) {
        return NULL;
    }
    struct expr *subject = vcl__expr(cc, VT_STRING);
    if (subject == NULL || !vcl__skip(cc, ',')) {
        return NULL;
    }
    struct expr *regex = vcl__expr(cc, VT_REGEX);
    if (regex == NULL || !vcl__skip(cc, ',')) {
        return NULL;
    }
    struct expr *by = vcl__expr(cc, VT_STRING);
    if (by == NULL || !vcl__skip(cc, ')')) {
        return NULL;
    }
    struct expr *e = vcl__ex(cc, X_REGSUB, VT_STRING);
    e->a = subject;
    e->b = by;
    e->index = regex->index;
    e->op = is_all;
    return vcl__ex_strings(cc, e);
}

static struct expr *the_default(struct cc *cc, const struct token *t, enum vcl_type want)
{
    if (want != VT_BACKEND && want != VT_PROBE) {
        vcl__err(cc, "Symbol 'default' is a reserved word.\n");
        vcl__err_at(cc, t);
        return NULL;
    }
    if (want == VT_PROBE && !cc->has_default_probe) {
        vcl__err(cc, "No default probe defined\n");
        vcl__err_token(cc, cc->t);
        vcl__err(cc, " at\n");
        vcl__err_at(cc, cc->t);
        return NULL;
    }
    struct expr *e = vcl__ex(cc, X_HANDLE, want);
    e->index = want == VT_BACKEND ? VCL_BACKEND_DEFAULT : VCL_PROBE_DEFAULT;
    return e;
}

/* regsub, regsuball, true, false, default: functions of the language itself. */
static struct expr *builtin(struct cc *cc, const struct token *t, enum vcl_type want)
{
    bool is_all = vcl__is_nocase(t, "regsuball");
    if (is_all || vcl__is_nocase(t, "regsub")) {
        return regsub(cc, is_all);
    }
    bool is_true = vcl__is_nocase(t, "true");
    if (is_true || vcl__is_nocase(t, "false")) {
        return constant(cc, VT_BOOL, (union objm_value){.boolean = is_true});
    }
    return the_default(cc, t, want);
}

static struct expr *handle(struct cc *cc, struct symbol *sym, enum vcl_type want)
{
    if (sym->kind == SYM_SUB) {
        if (want != VT_SUB) {
            vcl__err(cc, "Symbol '%s' can only be used as a %s expression\n", sym->node->name,
                     vcl__type_name(sym->type));
            vcl__err_at(cc, cc->t);
            return NULL;
        }
    }
    if (sym->type == VT_PROBE && want == VT_STRINGS) {
        return literal(cc, str_of(sym->node->name));
    }
    struct expr *e = vcl__ex(cc, X_HANDLE, sym->type);
    e->sym = sym;
    e->index = sym->index;
    return e;
}

static struct expr *variable(struct cc *cc, const struct token *t, struct symbol *sym)
{
    vcl__use(cc, t, NULL, sym, USED_READ);
    struct expr *e = vcl__ex(cc, sym->is_header ? X_HEADER : X_VAR, sym->type);
    e->sym = sym;
    return settle(cc, e);
}

static struct expr *function(struct cc *cc, const struct token *t, struct symbol *sym,
                             enum vcl_type want)
{
    if (sym->func == NULL) {
        return builtin(cc, t, want);
    }
    struct cc_call *call = vcl__call(cc, sym, NULL);
    if (call == NULL) {
        return NULL;
    }
    struct expr *e = vcl__ex(cc, X_CALL, sym->type);
    e->call = call;
    return settle(cc, e);
}

static struct expr *unusable(struct cc *cc, const struct token *t, const struct symbol *sym)
{
    vcl__err(cc, "Symbol '%.*s' type (%s) can not be used in expression.\n", STR_ARG(token_text(t)),
             vcl__kind_name(sym->kind));
    vcl__err_at(cc, t);
    if (sym->def != NULL) {
        vcl__err(cc, "That symbol was defined here:\n");
        vcl__err_at(cc, sym->def);
    }
    return NULL;
}

static bool may_come_later(enum vcl_type type)
{
    return type == VT_ACL || type == VT_BACKEND || type == VT_PROBE || type == VT_SUB ||
           type == VT_INSTANCE;
}

static struct symbol *name_symbol(struct cc *cc, enum vcl_type want)
{
    bool is_dotted = vcl__peek(cc)->kind == '.';
    struct symbol *sym = vcl__sym_get(cc, SYM_NONE, LOOK_PART_QUIET, USE_REF);
    if (sym != NULL || cc->failed) {
        return sym;
    }
    if (may_come_later(want) && !is_dotted) {
        sym = vcl__sym_get(cc, SYM_NONE, LOOK_CREATE, USE_REF);
        if (sym != NULL && want == VT_SUB) {
            sym->sub = vcl__sub_new(cc, sym);
        }
        if (sym != NULL) {
            vcl__sym_handle(cc, sym, want);
        }
        return sym;
    }
    /* Only for its message. */
    return vcl__sym_get(cc, SYM_NONE, LOOK_PART, USE_REF);
}

static struct expr *evaluate(struct cc *cc, const struct token *t, struct symbol *sym,
                             enum vcl_type want)
{
    switch (sym->kind) {
    case SYM_VAR:
        return sym->is_headers ? unusable(cc, t, sym) : variable(cc, t, sym);
    case SYM_FUNC:
        return function(cc, t, sym, want);
    case SYM_ACL:
    case SYM_BACKEND:
    case SYM_PROBE:
    case SYM_SUB:
        return handle(cc, sym, want);
    default:
        return unusable(cc, t, sym);
    }
}

static struct expr *name(struct cc *cc, enum vcl_type want)
{
    const struct token *t = cc->t;
    struct symbol *sym = name_symbol(cc, want);
    if (sym == NULL) {
        return NULL;
    }
    if (sym->kind == SYM_INSTANCE) {
        struct expr *e = vcl__ex(cc, X_INSTANCE, VT_INSTANCE);
        e->sym = sym;
        e->index = sym->index;
        return e;
    }
    if (sym->kind == SYM_FUNC && sym->func != NULL && sym->type == VT_VOID) {
        vcl__err(cc, "Function returns VOID:\n");
        vcl__err_at(cc, cc->t);
        return NULL;
    }
    bool is_evaluated = sym->kind == SYM_FUNC || sym->kind == SYM_SUB;
    struct expr *e = evaluate(cc, t, sym, want);
    if (e == NULL && is_evaluated) {
        vcl__err(cc, "While compiling function call:\n\n");
        vcl__err_span(cc, t, cc->t);
    }
    if (e != NULL && e->type == VT_HEADER && want != VT_HEADER) {
        e = vcl__ex_tostring(cc, e, t);
    }
    return e;
}

/* ---- literals ---- */

static struct expr *string(struct cc *cc, enum vcl_type want)
{
    struct expr *e;
    if (want == VT_IP) {
        union objm_value ip;
        if (!vcl__ip_literal(cc, &ip)) {
            return NULL;
        }
        e = constant(cc, VT_IP, ip);
    } else if (want == VT_REGEX) {
        e = vcl__ex(cc, X_REGEX, VT_REGEX);
        if (!vcl__regex(cc, &e->index)) {
            return NULL;
        }
    } else {
        e = literal(cc, cc->t->dec);
    }
    vcl__next(cc);
    return e;
}

static struct expr *number(struct cc *cc, enum vcl_type want, double sign)
{
    if (want == VT_BYTES) {
        int64_t bytes = 0;
        return vcl__bytes(cc, &bytes) ? constant(cc, VT_BYTES, (union objm_value){.integer = bytes})
                                      : NULL;
    }
    const struct token *t = cc->t;
    double value = sign * t->num;
    vcl__next(cc);
    if (cc->t->kind == T_ID) {
        double unit;
        return vcl__duration_unit(cc, &unit)
                   ? constant(cc, VT_DURATION, (union objm_value){.real = value * unit})
                   : NULL;
    }
    if (want == VT_REAL || t->kind == T_FNUM) {
        return constant(cc, VT_REAL, (union objm_value){.real = value});
    }
    return constant(cc, VT_INT, (union objm_value){.integer = (int64_t)value});
}

static bool has_sign(enum vcl_type type)
{
    return type == VT_INT || type == VT_REAL || type == VT_DURATION || type == VT_STRINGS;
}

static struct expr *negative(struct cc *cc, enum vcl_type want)
{
    vcl__next(cc);
    if (cc->t->kind == T_FNUM || cc->t->kind == T_CNUM) {
        return number(cc, want, -1.0);
    }
    const struct token *from = cc->t;
    struct expr *a = vcl__ex_or(cc, want);
    if (a == NULL) {
        return NULL;
    }
    if (a->type != VT_INT && a->type != VT_REAL && a->type != VT_DURATION && a->type != VT_BYTES) {
        vcl__err(cc, "Operator - not possible on type %s.\n", vcl__ex_type_name(cc, a));
        vcl__err_span(cc, from, cc->t);
        return NULL;
    }
    struct expr *e = vcl__ex(cc, X_NEGATE, a->type);
    e->a = a;
    return e;
}

static struct expr *term(struct cc *cc, enum vcl_type want)
{
    const struct token *t = cc->t;
    if (t->kind == '(') {
        vcl__next(cc);
        struct expr *e = vcl__ex_or(cc, want);
        if (e == NULL || !vcl__skip(cc, ')')) {
            return NULL;
        }
        e->is_literal = false;
        return e;
    }
    if (t->kind == T_ID) {
        return name(cc, want);
    }
    if (t->kind == T_CSTR) {
        return string(cc, want);
    }
    if (t->kind == T_FNUM || t->kind == T_CNUM) {
        return number(cc, want, 1.0);
    }
    if (t->kind == '-' && has_sign(want)) {
        return negative(cc, want);
    }
    if (t->kind == T_CBLOB) {
        vcl__next(cc);
        struct str bytes = vcl__prog_text(cc->prog, t->dec);
        return constant(cc, VT_BLOB, (union objm_value){.blob = {bytes.ptr, bytes.len}});
    }
    vcl__err(cc, "Unknown token ");
    vcl__err_token(cc, t);
    vcl__err(cc, " when looking for %s\n\n", vcl__user_type(want));
    vcl__err_at(cc, t);
    return NULL;
}

/* ---- what follows a dot ---- */

static const struct property {
    enum vcl_type type;
    const char *name;
    enum vcl_type result;
    bool is_function;
    unsigned id;
} properties[] = {
#define PROPERTY(type, name, result, is_function, id)                                              \
    {VT_##type, name, VT_##result, is_function, VCL_PROP_##id},
#include "vcl/properties.def"
#undef PROPERTY
};

static struct expr *method(struct cc *cc, struct expr *e)
{
    struct symbol *sym = vcl__method(cc, e->sym);
    if (sym == NULL) {
        return NULL;
    }
    vcl__next(cc);
    struct cc_call *call = vcl__call(cc, sym, e->sym);
    if (call == NULL) {
        return NULL;
    }
    struct expr *m = vcl__ex(cc, X_CALL, sym->type);
    m->call = call;
    return settle(cc, m);
}

static struct expr *property(struct cc *cc, struct expr *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
        const struct property *p = &properties[i];
        if (p->type != e->type || !str_eq_nocase(token_text(cc->t), str_of(p->name))) {
            continue;
        }
        vcl__next(cc);
        if (p->is_function && (!vcl__skip(cc, '(') || !vcl__skip(cc, ')'))) {
            return NULL;
        }
        struct expr *result = vcl__ex(cc, X_PROPERTY, p->result);
        result->a = e;
        result->op = p->id;
        return settle(cc, result);
    }
    vcl__err(cc, "Unknown property ");
    vcl__err_token(cc, cc->t);
    vcl__err(cc, " for type %s\n", e->type == VT_STRINGS ? "STRINGS" : vcl__ex_type_name(cc, e));
    vcl__err_at(cc, cc->t);
    return NULL;
}

struct expr *vcl__ex_postfix(struct cc *cc, enum vcl_type want)
{
    struct expr *e = term(cc, want);
    while (e != NULL && cc->t->kind == '.') {
        vcl__next(cc);
        if (!vcl__expect(cc, T_ID)) {
            return NULL;
        }
        struct expr *m = e->type == VT_INSTANCE ? method(cc, e) : NULL;
        if (cc->failed) {
            return NULL;
        }
        e = m != NULL ? m : property(cc, e);
    }
    return e;
}
/* NOLINTEND(misc-no-recursion) */
