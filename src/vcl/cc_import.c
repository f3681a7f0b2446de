/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* import NAME [as NAME] [from "path"];   and `new` objects of what was imported. */
#include "vcl/cc.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

static uint32_t where_of(const struct objm_func *func)
{
    return func->where == 0 ? ~UINT32_C(0) : func->where;
}

static struct symbol *member(struct cc *cc, const struct symbol *module, const char *name,
                             enum sym_kind kind)
{
    struct cc_text dotted = {0};
    vcl__sym_name(&dotted, module);
    vcl__addf(&dotted, ".%s", name);
    struct symbol *sym = vcl__sym_make(cc, dotted.ptr, kind, 0, 99);
    free(dotted.ptr);
    sym->module = module->module;
    sym->module_index = module->module_index;
    return sym;
}

static void add_members(struct cc *cc, const struct symbol *module)
{
    const struct objm_module *m = module->module;
    for (unsigned i = 0; i < m->func_count; i++) {
        const struct objm_func *func = &m->funcs[i];
        struct symbol *sym = member(cc, module, func->name, SYM_FUNC);
        sym->func = func;
        sym->type = (enum vcl_type)func->ret;
        sym->reads = where_of(func);
        sym->action = vcl__act_func;
    }
    for (unsigned i = 0; i < m->object_count; i++) {
        const struct objm_object *object = &m->objects[i];
        struct symbol *sym = member(cc, module, object->name, SYM_OBJECT);
        sym->object = object;
        sym->func = &object->init;
        sym->type = VT_VOID;
        sym->reads = UINT32_C(1) << VCL_SUB_INIT;
    }
}

struct import {
    const struct token *first;
    const struct token *mod;
    const struct token *as;
    const char *path; /* of `from`; NULL: along the path of modules */
};

/* `from "file.so"`, or `from "folder/"`. */
static bool parse_from(struct cc *cc, struct import *im)
{
    if (cc->t->kind == ';') {
        return true;
    }
    if (!vcl__is(cc->t, "from")) {
        vcl__err(cc, "Expected 'from path ...'\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    vcl__next(cc);
    if (!vcl__expect(cc, T_CSTR)) {
        return false;
    }
    struct str path = cc->t->dec;
    if (!cc->conf->unsafe_path && str_find(path, '/') < path.len) {
        vcl__err(cc, "'import ... from path ...' is unsafe.\nAt:");
        vcl__err_token(cc, cc->t);
        vcl__err_at(cc, cc->t);
        return false;
    }
    if (str_ends(path, STR("/"))) {
        char *file = xasprintf("%.*slibvmod_%.*s.so", STR_ARG(path), STR_ARG(token_text(im->mod)));
        im->path = vcl__dup(&cc->mem, str_of(file)).ptr;
        free(file);
    } else {
        im->path = path.ptr;
    }
    vcl__next(cc);
    return true;
}

/* Built-in modules come first; `from` always means a file. */
static bool find_module(struct cc *cc, const struct import *im, struct vcl_import *found)
{
    struct str name = token_text(im->mod);
    *found = (struct vcl_import){.module = im->path == NULL ? vcl_module_builtin(name) : NULL};
    if (found->module != NULL) {
        return true;
    }
    char file[1024];
    struct sb at = sb_of(file, sizeof file);
    if (vcl_module_locate(name, im->path, cc->conf->module_path, &at) != RC_OK) {
        vcl__err(cc, "Could not find VMOD %.*s\n", STR_ARG(name));
        vcl__err_at(cc, im->mod);
        return false;
    }
    char text[512];
    struct sb why = sb_of(text, sizeof text);
    if (vcl_module_open(name, file, &found->file, &why) != RC_OK) {
        vcl__err(cc, "%.*s", STR_ARG(sb_str(&why)));
        vcl__err_at(cc, im->mod);
        return false;
    }
    found->module = vcl_module_table(found->file);
    return true;
}

static bool is_same_again(struct cc *cc, const struct import *im, const struct symbol *sym,
                          const struct objm_module *module)
{
    if (sym->module == module) {
        return true;
    }
    vcl__err(cc, "Another module already imported as %.*s.\n", STR_ARG(token_text(im->as)));
    vcl__err_span(cc, im->first, cc->t);
    return false;
}

bool vcl__parse_import(struct cc *cc)
{
    struct import im = {.first = cc->t};
    vcl__next(cc);
    if (!vcl__expect(cc, T_ID)) {
        return false;
    }
    im.mod = cc->t;
    im.as = cc->t;
    if (vcl__is(vcl__peek(cc), "as")) {
        vcl__next(cc);
        vcl__next(cc);
        if (!vcl__expect(cc, T_ID)) {
            return false;
        }
        im.as = cc->t;
    }
    struct symbol *sym = vcl__sym_get(cc, SYM_VMOD, LOOK_CREATE, USE_NONE);
    if (sym == NULL || !parse_from(cc, &im) || !vcl__skip(cc, ';')) {
        return false;
    }
    struct vcl_import found;
    if (!find_module(cc, &im, &found)) {
        return false;
    }
    if (sym->def != NULL) {
        const struct objm_module *module = found.module;
        if (found.file != NULL) {
            vcl_module_close(&found.file);
        }
        return is_same_again(cc, &im, sym, module);
    }
    sym->def = im.first;
    sym->noref = true;
    sym->module = found.module;
    sym->module_index = cc->prog->imports.count;
    struct vcl_import *slot = VCL_PUSH(cc->prog->imports);
    *slot = found;
    add_members(cc, sym);
    return true;
}

/* ---- objects ---- */

const char *vcl__object_name(const struct symbol *instance)
{
    return instance->object_type;
}

struct symbol *vcl__method(struct cc *cc, const struct symbol *instance)
{
    const struct objm_object *object = instance->object;
    for (unsigned i = 0; object != NULL && i < object->method_count; i++) {
        const struct objm_func *func = &object->methods[i];
        if (!str_eq_nocase(token_text(cc->t), str_of(func->name))) {
            continue;
        }
        struct symbol *sym = vcl__alloc(&cc->mem, sizeof *sym);
        sym->kind = SYM_METHOD;
        sym->type = (enum vcl_type)func->ret;
        sym->func = func;
        sym->reads = where_of(func);
        sym->module = instance->module;
        sym->module_index = instance->module_index;
        return sym;
    }
    return NULL;
}

/* `new name = module.object(...);` */
struct stmt *vcl__act_new(struct cc *cc, const struct token *t, struct symbol *sym)
{
    if (!vcl__expect(cc, T_ID) || !vcl__expect_name(cc, "VCL object")) {
        return NULL;
    }
    sym = vcl__sym_define(cc, VT_INSTANCE);
    if (sym == NULL) {
        return NULL;
    }
    sym->noref = true;
    if (!vcl__skip(cc, '=') || !vcl__expect(cc, T_ID)) {
        return NULL;
    }
    const struct symbol *object = vcl__sym_get(cc, SYM_OBJECT, LOOK_EXISTING, USE_NONE);
    if (object == NULL) {
        return NULL;
    }
    char *type = xasprintf("%s.%s", object->module->name, object->object->name);
    sym->object_type = vcl__dup(&cc->mem, str_of(type)).ptr;
    free(type);
    sym->object = object->object;
    sym->module = object->module;
    sym->module_index = object->module_index;
    sym->action = vcl__act_object;
    struct vcl_instance *instance = &cc->prog->instances.at[sym->index];
    instance->object = object->object;
    instance->module = object->module_index;
    struct stmt *s = vcl__stmt(cc, ST_NEW, t);
    s->expr = vcl__ex(cc, X_CALL, VT_VOID);
    s->expr->call = vcl__call(cc, object, sym);
    if (s->expr->call == NULL) {
        vcl__err(cc, "While compiling function call:\n");
        return NULL;
    }
    return vcl__skip(cc, ';') ? s : NULL;
}
