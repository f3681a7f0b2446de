/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Calls of modules: arguments by place and by name, defaults, enumerations.
 * An argument is an expression: see cc_expr.c for the recursion.
 * NOLINTBEGIN(misc-no-recursion)
 */
#include "vcl/cc.h"

#include <stdlib.h>

#include "base/check.h"

static bool wrong_choice(struct cc *cc, const struct objm_arg *arg)
{
    vcl__err(cc, "Wrong enum value.  Expected one of:\n");
    struct str rest = str_of(arg->values);
    while (rest.ptr != NULL) {
        vcl__err(cc, "\t%.*s\n", STR_ARG(str_cut(&rest, ' ')));
    }
    vcl__err_at(cc, cc->t);
    return false;
}

static struct expr *constant(struct cc *cc, enum objm_type type, union objm_value value)
{
    struct expr *e = vcl__ex(cc, X_CONST, (enum vcl_type)type);
    e->value = value;
    e->is_const = true;
    return e;
}

static struct expr *choice(struct cc *cc, const struct objm_arg *arg)
{
    if (!vcl__expect(cc, T_ID)) {
        return NULL;
    }
    union objm_value value = {0};
    if (vcl_enum_parse(arg->values, token_text(cc->t), &value.choice) != RC_OK) {
        wrong_choice(cc, arg);
        return NULL;
    }
    vcl__next(cc);
    return constant(cc, OBJM_ENUM, value);
}

static struct expr *argument(struct cc *cc, const struct objm_arg *arg)
{
    return arg->type == OBJM_ENUM ? choice(cc, arg) : vcl__expr(cc, (enum vcl_type)arg->type);
}

/* False: the list ends here, or is broken. */
static bool comma(struct cc *cc)
{
    return cc->t->kind != ')' && vcl__skip(cc, ',');
}

static bool by_place(struct cc *cc, const struct objm_func *func, struct cc_call *call)
{
    for (unsigned i = 0; i < func->arg_count; i++) {
        const struct objm_arg *arg = &func->args[i];
        if (cc->t->kind == ')' || (cc->t->kind == T_ID && vcl__peek(cc)->kind == '=')) {
            return true;
        }
        call->args[i] = argument(cc, arg);
        if (call->args[i] == NULL) {
            vcl__err(cc, "Expected argument: %s %s\n\n", vcl_type_name(arg->type),
                     arg->name == NULL ? "(unnamed argument)" : arg->name);
            return false;
        }
        if (!comma(cc)) {
            return cc->t->kind == ')';
        }
    }
    return true;
}

static bool by_name(struct cc *cc, const struct objm_func *func, struct cc_call *call)
{
    while (cc->t->kind == T_ID) {
        unsigned i = 0;
        while (i < func->arg_count &&
               (func->args[i].name == NULL || !vcl__is(cc->t, func->args[i].name))) {
            i++;
        }
        if (i == func->arg_count) {
            vcl__err(cc, "Unknown argument '%.*s'\n", STR_ARG(token_text(cc->t)));
            vcl__err_at(cc, cc->t);
            return false;
        }
        if (call->args[i] != NULL) {
            vcl__err(cc, "Argument '%s' already used\n", func->args[i].name);
            vcl__err_at(cc, cc->t);
            return false;
        }
        vcl__next(cc);
        if (!vcl__skip(cc, '=')) {
            return false;
        }
        call->args[i] = argument(cc, &func->args[i]);
        if (call->args[i] == NULL) {
            return false;
        }
        if (!comma(cc)) {
            return cc->t->kind == ')';
        }
    }
    return true;
}

static bool defaults(struct cc *cc, const struct objm_func *func, struct cc_call *call)
{
    for (unsigned i = 0; i < func->arg_count; i++) {
        const struct objm_arg *arg = &func->args[i];
        if (call->args[i] != NULL || (arg->def == NULL && arg->is_optional)) {
            continue;
        }
        if (arg->def == NULL) {
            if (arg->name != NULL) {
                vcl__err(cc, "Argument '%s' missing\n", arg->name);
            } else {
                vcl__err(cc, "Argument %u missing\n", i + 1);
            }
            vcl__err_at(cc, cc->t);
            return false;
        }
        union objm_value value = {0};
        enum rc rc = vcl_default_parse(arg, &value);
        CHECK(rc == RC_OK);
        enum objm_type type = arg->type;
        if (type == OBJM_STRANDS) {
            /* Its default is one string. */
            struct expr *list = vcl__ex_strings(cc, constant(cc, OBJM_STRING, value));
            list->type = VT_STRANDS;
            call->args[i] = list;
            continue;
        }
        call->args[i] = constant(cc, type, value);
    }
    return true;
}

struct cc_call *vcl__call(struct cc *cc, const struct symbol *sym, const struct symbol *instance)
{
    const struct objm_func *func = sym->func;
    CHECK(func->arg_count <= 32);
    const struct token *from = cc->t->prev;
    if (!vcl__skip(cc, '(')) {
        return NULL;
    }
    struct cc_call *call = vcl__alloc(&cc->mem, sizeof *call);
    call->sym = sym;
    call->instance = instance;
    call->count = func->arg_count;
    call->args = vcl__alloc(&cc->mem, (func->arg_count + 1) * sizeof(struct expr *));
    if (!by_place(cc, func, call) || !by_name(cc, func, call) || !defaults(cc, func, call) ||
        !vcl__skip(cc, ')')) {
        return NULL;
    }
    vcl__use(cc, from, NULL, sym, USED_READ);
    return call;
}
/* NOLINTEND(misc-no-recursion) */
