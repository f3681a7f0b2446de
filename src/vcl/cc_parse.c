/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The top level of a VCL: its version, and declarations in any order. */
#include "vcl/cc.h"

#include "base/check.h"

struct sub *vcl__sub_new(struct cc *cc, struct symbol *sym)
{
    struct sub *sub = vcl__alloc(&cc->mem, sizeof *sub);
    sub->sym = sym;
    sub->method = -1;
    sub->ok_mask = ~UINT32_C(0);
    sub->body_end = &sub->body;
    sub->uses_end = &sub->uses;
    sub->calls_end = &sub->calls;
    sub->index = vcl__prog_sub(cc->prog, sym->node->name);
    *cc->subs_end = sub;
    cc->subs_end = &sub->next;
    return sub;
}

/* ---- sub ---- */

static bool is_builtin_name(const struct cc *cc, struct str name)
{
    for (const struct str *s = cc->builtin_subs; s->ptr != NULL; s++) {
        if (str_eq_nocase(*s, name)) {
            return true;
        }
    }
    return false;
}

static bool reserved_sub(struct cc *cc, const struct token *t)
{
    vcl__err(cc, "The names 'vcl_*' are reserved for subroutines.\n");
    vcl__err_at(cc, t);
    vcl__err(cc, "Valid vcl_* subroutines are:\n");
    for (const struct str *s = cc->builtin_subs; s->ptr != NULL; s++) {
        vcl__err(cc, "\t%.*s\n", STR_ARG(*s));
    }
    return false;
}

static bool redefined(struct cc *cc, const struct token *t, const struct symbol *sym)
{
    vcl__err(cc, "Subroutine '%s' redefined\n", sym->node->name);
    vcl__err_at(cc, t);
    vcl__err(cc, "Previously defined here:\n");
    vcl__err_at(cc, sym->sub->name);
    return false;
}

/* Whether the name at t may be defined (again); the sub's texts then stand one after the other. */
static bool admit_sub(struct cc *cc, const struct token *t, struct symbol *sym)
{
    bool is_builtin = is_builtin_name(cc, token_text(t));
    if (sym->sub == NULL) {
        sym->sub = vcl__sub_new(cc, sym);
        vcl__sym_handle(cc, sym, VT_SUB);
    }
    if (sym->sub->name == NULL) {
        bool is_ours = str_starts_nocase(token_text(t), STR("vcl_"));
        if (is_ours && !is_builtin && sym->sub->method < 0) {
            return reserved_sub(cc, t);
        }
        sym->sub->name = t;
        return true;
    }
    return sym->sub->method >= 0 || is_builtin || redefined(cc, t, sym);
}

static bool parse_sub(struct cc *cc)
{
    vcl__next(cc);
    if (!vcl__expect_name(cc, "subroutine")) {
        return false;
    }
    const struct token *t = cc->t;
    struct symbol *sym = vcl__sym_get(cc, SYM_SUB, LOOK_CREATE, USE_DEF);
    if (sym == NULL || !admit_sub(cc, t, sym)) {
        return false;
    }
    cc->cur = sym->sub;
    struct stmt *body = vcl__block(cc);
    cc->cur = NULL;
    if (body == NULL) {
        return false;
    }
    *sym->sub->body_end = body;
    sym->sub->body_end = &body->next;
    return true;
}

/* ---- vcl 4.1; ---- */

static bool parse_version(struct cc *cc)
{
    const struct token *from = cc->t;
    vcl__next(cc);
    if (!vcl__expect(cc, T_FNUM)) {
        return false;
    }
    struct str text = token_text(cc->t);
    if (text.len != 3 || text.ptr[1] != '.') {
        vcl__err(cc, "Don't play silly buggers with VCL version numbers\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    unsigned version = (unsigned)(text.ptr[0] - '0') * 10 + (unsigned)(text.ptr[2] - '0');
    vcl__next(cc);
    if (version < 40 || version > 41) {
        vcl__err(cc, "VCL version %.*s not supported.\n", STR_ARG(text));
        vcl__err_span(cc, from, cc->t);
        return false;
    }
    if (cc->t->kind != ';') {
        vcl__err(cc, "Expected 'vcl N.N;' found no semi-colon\n");
        vcl__err_span(cc, from, cc->t);
        return false;
    }
    vcl__next(cc);
    if (cc->syntax == 0) {
        cc->syntax = version;
    }
    if (version > cc->syntax) {
        vcl__err(cc, "VCL version %.*s higher than the top level version %u.%u\n", STR_ARG(text),
                 cc->syntax / 10, cc->syntax % 10);
        vcl__err_span(cc, from, cc->t);
        return false;
    }
    return true;
}

/* ---- all ---- */

static const struct {
    const char *name;
    bool (*parse)(struct cc *cc);
} declarations[] = {
    {"acl", vcl__parse_acl},         {"sub", parse_sub},
    {"backend", vcl__parse_backend}, {"probe", vcl__parse_probe},
    {"import", vcl__parse_import},   {"vcl", parse_version},
};

static bool expected_declaration(struct cc *cc)
{
    vcl__err(cc, "Expected one of\n\t");
    for (size_t i = 0; i < ARRAY_SIZE(declarations); i++) {
        bool is_last = i + 1 == ARRAY_SIZE(declarations);
        vcl__err(cc, "%s'%s'%s", is_last ? " or " : "", declarations[i].name, is_last ? "" : ", ");
    }
    vcl__err(cc, "\nFound: ");
    vcl__err_token(cc, cc->t);
    vcl__err(cc, " at\n");
    vcl__err_at(cc, cc->t);
    return false;
}

static bool parse_declaration(struct cc *cc)
{
    if (cc->t->kind == T_CSRC) {
        vcl__err(cc, "Inline-C not allowed\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(declarations); i++) {
        if (vcl__is(cc->t, declarations[i].name)) {
            return declarations[i].parse(cc);
        }
    }
    return expected_declaration(cc);
}

void vcl__reserve_words(struct cc *cc)
{
    for (size_t i = 0; i < ARRAY_SIZE(declarations); i++) {
        vcl__sym_make(cc, declarations[i].name, SYM_RESERVED, 41, 99);
    }
}

/* A probe named default is that of every backend without one, also of those that come before it. */
static void share_default_probe(struct vcl_program *prog)
{
    for (unsigned i = 0; prog->default_probe != NULL && i < prog->backends.count; i++) {
        struct vcl_backend_decl *decl = &prog->backends.at[i];
        if (decl->probe == NULL && !decl->is_none) {
            decl->probe = &prog->default_probe->spec;
        }
    }
}

bool vcl__parse(struct cc *cc)
{
    cc->t = cc->tokens.first;
    if (!vcl__is(cc->t, "vcl")) {
        vcl__err(cc, "VCL version declaration missing\n"
                     "Update your VCL to Version 4 syntax, and add\n"
                     "\tvcl 4.1;\n"
                     "on the first line of the VCL files.\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    if (!parse_version(cc)) {
        return false;
    }
    while (cc->t->kind != T_EOI) {
        if (!parse_declaration(cc)) {
            return false;
        }
        CHECK(!cc->failed);
    }
    share_default_probe(cc->prog);
    return true;
}
