/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Statements: set, unset, call, return, ban, hash_data, synthetic, and calls of modules. */
#include "vcl/cc.h"

#include "base/check.h"

/* ---- set, unset ---- */

static const struct assign {
    enum vcl_type type;
    unsigned token;
    enum vcl_type want;
    unsigned op;
} assigns[] = {
#define ASSIGN(type, token, want, op) {VT_##type, token, VT_##want, op},
#include "vcl/assigns.def"
#undef ASSIGN
};

static const struct assign *find_assign(enum vcl_type type, unsigned token)
{
    for (size_t i = 0; i < ARRAY_SIZE(assigns); i++) {
        if (assigns[i].type == type && assigns[i].token == token) {
            return &assigns[i];
        }
    }
    return NULL;
}

static struct stmt *act_set(struct cc *cc, const struct token *t, struct symbol *sym)
{
    if (!vcl__expect(cc, T_ID)) {
        return NULL;
    }
    struct stmt *s = vcl__stmt(cc, ST_SET, t);
    const struct token *from = cc->t;
    sym = vcl__sym_get(cc, SYM_VAR, LOOK_EXISTING, USE_NONE);
    if (sym == NULL) {
        return NULL;
    }
    vcl__use(cc, from, cc->t, sym, USED_WRITE);
    const struct assign *how = find_assign(sym->type, cc->t->kind);
    enum vcl_type want = sym->type;
    s->sym = sym;
    s->op = '=';
    if (how != NULL) {
        vcl__next(cc);
        want = how->want;
        s->op = how->op;
    } else if (!vcl__skip(cc, '=')) {
        return NULL;
    }
    s->expr = vcl__expr(cc, want);
    return s->expr == NULL || !vcl__skip(cc, ';') ? NULL : s;
}

static struct stmt *act_unset(struct cc *cc, const struct token *t, struct symbol *sym)
{
    if (!vcl__expect(cc, T_ID)) {
        return NULL;
    }
    const struct token *from = cc->t;
    sym = vcl__sym_get(cc, SYM_VAR, LOOK_EXISTING, USE_NONE);
    if (sym == NULL) {
        return NULL;
    }
    if (sym->unsets == 0) {
        vcl__err_span(cc, from, cc->t);
        vcl__err(cc, "Variable cannot be unset.\n");
        return NULL;
    }
    vcl__use(cc, from, cc->t, sym, USED_UNSET);
    struct stmt *s = vcl__stmt(cc, ST_UNSET, t);
    s->sym = sym;
    return vcl__skip(cc, ';') ? s : NULL;
}

/* ---- call ---- */

static void add_call(struct cc *cc, const struct token *t, struct symbol *sym)
{
    struct sub_call *call = vcl__alloc(&cc->mem, sizeof *call);
    call->t = t;
    call->sym = sym;
    *cc->cur->calls_end = call;
    cc->cur->calls_end = &call->next;
}

static struct symbol *called(struct cc *cc)
{
    struct symbol *sym = vcl__sym_get(cc, SYM_NONE, LOOK_PART_QUIET, USE_REF);
    if (sym != NULL || cc->failed) {
        return sym;
    }
    sym = vcl__sym_get(cc, SYM_SUB, LOOK_CREATE, USE_REF);
    if (sym != NULL) {
        sym->sub = vcl__sub_new(cc, sym);
        vcl__sym_handle(cc, sym, VT_SUB);
    }
    return sym;
}

static struct stmt *act_call(struct cc *cc, const struct token *t, struct symbol *sym)
{
    if (!vcl__expect(cc, T_ID)) {
        return NULL;
    }
    const struct token *name = cc->t;
    sym = called(cc);
    if (sym == NULL) {
        return NULL;
    }
    if (sym->kind == SYM_SUB) {
        add_call(cc, name, sym);
        struct stmt *s = vcl__stmt(cc, ST_CALL, t);
        s->sym = sym;
        return vcl__skip(cc, ';') ? s : NULL;
    }
    cc->t = name;
    struct stmt *s = vcl__stmt(cc, ST_CALLEX, t);
    s->expr = vcl__expr(cc, VT_SUB);
    return s->expr == NULL || !vcl__skip(cc, ';') ? NULL : s;
}

/* ---- return ---- */

static int find_return(const struct token *t)
{
    for (unsigned i = 1; i < VCL_RET__COUNT; i++) {
        if (vcl__is(t, vcl_return_name(i))) {
            return (int)i;
        }
    }
    return -1;
}

static bool return_synth(struct cc *cc, struct stmt *s)
{
    s->expr = vcl__expr(cc, VT_INT);
    if (s->expr == NULL) {
        return false;
    }
    if (cc->t->kind == ',') {
        vcl__next(cc);
        s->expr2 = vcl__expr(cc, VT_STRING);
        return s->expr2 != NULL;
    }
    return true;
}

static bool return_vcl(struct cc *cc, struct stmt *s)
{
    if (!vcl__expect(cc, T_ID)) {
        return false;
    }
    s->sym = vcl__sym_get(cc, SYM_VCL, LOOK_EXISTING, USE_NONE);
    if (s->sym == NULL) {
        return false;
    }
    s->sym->index = vcl__prog_label(cc->prog, s->sym->node->name);
    return true;
}

/* The argument in brackets of `return (what(...))`. */
static bool return_argument(struct cc *cc, struct stmt *s)
{
    if (!vcl__skip(cc, '(')) {
        return false;
    }
    bool is_fine;
    switch (s->ret) {
    case VCL_RET_SYNTH:
    case VCL_RET_ERROR:
        is_fine = return_synth(cc, s);
        break;
    case VCL_RET_VCL:
        is_fine = return_vcl(cc, s);
        break;
    case VCL_RET_PASS:
        s->expr = vcl__expr(cc, VT_DURATION);
        is_fine = s->expr != NULL;
        break;
    case VCL_RET_FAIL:
        s->expr = vcl__expr(cc, VT_STRING);
        is_fine = s->expr != NULL;
        break;
    default:
        vcl__err(cc, "Arguments not allowed.\n");
        vcl__err_at(cc, cc->t->prev);
        return false;
    }
    return is_fine && vcl__skip(cc, ')');
}

static void note_return(struct cc *cc, unsigned ret, const struct token *t)
{
    struct sub *sub = cc->cur;
    sub->returns |= UINT32_C(1) << ret;
    sub->ok_mask &= vcl__return_subs(ret);
    if (sub->return_tok[ret] == NULL) {
        sub->return_tok[ret] = t;
    }
}

static struct stmt *act_return(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    if (cc->t->kind == ';' && cc->cur->method < 0) {
        vcl__next(cc);
        return vcl__stmt(cc, ST_LEAVE, t);
    }
    if (!vcl__skip(cc, '(') || !vcl__expect(cc, T_ID)) {
        return NULL;
    }
    int ret = find_return(cc->t);
    if (ret < 0) {
        vcl__err(cc, "Expected return action name.\n");
        vcl__err_at(cc, cc->t);
        return NULL;
    }
    struct stmt *s = vcl__stmt(cc, ST_RETURN, t);
    s->ret = (unsigned)ret;
    note_return(cc, s->ret, cc->t);
    vcl__next(cc);
    if (cc->t->kind == '(') {
        if (!return_argument(cc, s)) {
            return NULL;
        }
    } else if (s->ret == VCL_RET_SYNTH || s->ret == VCL_RET_VCL) {
        vcl__err(cc, "Missing argument.\n");
        vcl__err_at(cc, cc->t);
        return NULL;
    }
    return vcl__skip(cc, ')') && vcl__skip(cc, ';') ? s : NULL;
}

/* ---- functions of the language with one string ---- */

static struct stmt *one_text(struct cc *cc, struct stmt *s)
{
    if (!vcl__skip(cc, '(')) {
        return NULL;
    }
    s->expr = vcl__expr(cc, VT_STRING);
    return s->expr == NULL || !vcl__skip(cc, ')') || !vcl__skip(cc, ';') ? NULL : s;
}

static struct stmt *act_ban(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    return one_text(cc, vcl__stmt(cc, ST_BAN, t));
}

static struct stmt *act_hash_data(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    return one_text(cc, vcl__stmt(cc, ST_HASH_DATA, t));
}

static struct stmt *act_synthetic(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    return one_text(cc, vcl__stmt(cc, ST_SYNTHETIC, t));
}

/* ---- calls of modules ---- */

struct stmt *vcl__act_func(struct cc *cc, const struct token *t, struct symbol *sym)
{
    struct stmt *s = vcl__stmt(cc, ST_EXPR, t);
    struct expr *e = vcl__ex(cc, X_CALL, sym->type);
    e->call = vcl__call(cc, sym, NULL);
    s->expr = e;
    if (e->call == NULL) {
        if (t != cc->t) {
            vcl__err(cc, "While compiling function call:\n\n");
            vcl__err_span(cc, t, cc->t);
        }
        return NULL;
    }
    return vcl__skip(cc, ';') ? s : NULL;
}

struct stmt *vcl__act_object(struct cc *cc, const struct token *t, struct symbol *sym)
{
    (void)sym;
    if (!vcl__expect(cc, '.')) {
        return NULL;
    }
    struct stmt *s = vcl__stmt(cc, ST_EXPR, t);
    cc->t = t;
    s->expr = vcl__ex_postfix(cc, VT_INSTANCE);
    return s->expr == NULL || !vcl__skip(cc, ';') ? NULL : s;
}

/* ---- the table ---- */

#define M(sub) (UINT32_C(1) << VCL_SUB_##sub)
static const struct {
    const char *name;
    action_fn *fn;
    uint32_t subs; /* 0: all */
} actions[] = {
    {"add_vdp", vcl__act_add_vdp, M(DELIVER) | M(SYNTH)},
    {"add_vfp", vcl__act_add_vfp, M(BACKEND_RESPONSE)},
    {"ban", act_ban, 0},
    {"call", act_call, 0},
    {"hash_data", act_hash_data, M(HASH)},
    {"if", vcl__act_if, 0},
    {"new", vcl__act_new, M(INIT)},
    {"remove_vdp", vcl__act_remove_vdp, M(DELIVER) | M(SYNTH)},
    {"remove_vfp", vcl__act_remove_vfp, M(BACKEND_RESPONSE)},
    {"return", act_return, 0},
    {"set", act_set, 0},
    {"synthetic", act_synthetic, M(SYNTH) | M(BACKEND_ERROR)},
    {"unset", act_unset, 0},
};

void vcl__actions_init(struct cc *cc)
{
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        struct symbol *sym = vcl__sym_make(cc, actions[i].name, SYM_ACTION, 0, 99);
        sym->action = actions[i].fn;
        sym->acts = actions[i].subs;
    }
}
