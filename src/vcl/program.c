/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Programs: tables that grow while a VCL is compiled and stand still afterwards. */
#include "vcl/program.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/cc.h"

void *vcl__push(void **at, unsigned *count, unsigned *cap, size_t bytes)
{
    if (*count == *cap) {
        *cap = *cap == 0 ? 16 : *cap * 2;
        *at = xrealloc(*at, *cap * bytes);
    }
    char *slot = (char *)*at + *count * bytes;
    memset(slot, 0, bytes);
    (*count)++;
    return slot;
}

struct vcl_program *vcl__prog_new(void)
{
    struct vcl_program *prog = xcalloc(1, sizeof *prog);
    prog->magic = VCL_PROGRAM_MAGIC;
    prog->refs = 1;
    prog->mem = xcalloc(1, sizeof *prog->mem);
    prog->default_backend = VCL_BACKEND_DEFAULT;
    return prog;
}

struct str vcl__prog_text(struct vcl_program *prog, struct str text)
{
    return vcl__dup(prog->mem, text);
}

unsigned vcl__prog_sub(struct vcl_program *prog, const char *name)
{
    struct vcl_subcode *sub = VCL_PUSH(prog->subs);
    sub->handle.name = vcl__prog_text(prog, str_of(name)).ptr;
    sub->handle.index = prog->subs.count - 1;
    return prog->subs.count - 1;
}

unsigned vcl__prog_backend(struct vcl_program *prog, const char *name)
{
    struct vcl_backend_decl *decl = VCL_PUSH(prog->backends);
    decl->name = vcl__prog_text(prog, str_of(name)).ptr;
    return prog->backends.count - 1;
}

unsigned vcl__prog_probe(struct vcl_program *prog, const char *name)
{
    struct vcl_probe_decl **probe = VCL_PUSH(prog->probes);
    *probe = vcl__alloc(prog->mem, sizeof **probe);
    (*probe)->spec.name = name == NULL ? NULL : vcl__prog_text(prog, str_of(name)).ptr;
    (*probe)->handle = (struct objm_probe){(*probe)->spec.name, &(*probe)->spec};
    return prog->probes.count - 1;
}

unsigned vcl__prog_acl(struct vcl_program *prog, const char *name)
{
    struct objm_acl **acl = VCL_PUSH(prog->acls);
    *acl = vcl_acl_new(name);
    return prog->acls.count - 1;
}

unsigned vcl__prog_instance(struct vcl_program *prog, const char *name)
{
    struct vcl_instance *instance = VCL_PUSH(prog->instances);
    instance->name = vcl__prog_text(prog, str_of(name)).ptr;
    return prog->instances.count - 1;
}

unsigned vcl__prog_const(struct vcl_program *prog, union objm_value value)
{
    union objm_value *slot = VCL_PUSH(prog->consts);
    *slot = value;
    return prog->consts.count - 1;
}

unsigned vcl__prog_field(struct vcl_program *prog, enum objm_http http, const char *name)
{
    struct str wanted = str_of(name);
    for (unsigned i = 0; i < prog->fields.count; i++) {
        const struct vcl_field *f = prog->fields.at[i];
        if (f->header.http == http && str_eq(vcl_str(f->header.name), wanted)) {
            return i;
        }
    }
    struct vcl_field **slot = VCL_PUSH(prog->fields);
    struct vcl_field *field = vcl__alloc(prog->mem, sizeof *field);
    field->header = (struct objm_header){http, vcl_objm_str(vcl__prog_text(prog, wanted))};
    field->id = http_hdr_id(wanted);
    *slot = field;
    return prog->fields.count - 1;
}

unsigned vcl__prog_place(struct vcl_program *prog, const struct token *t)
{
    struct vcl_place *place = VCL_PUSH(prog->places);
    place->source = t->src->index;
    vcl__coord(t, &place->line, &place->pos);
    return prog->places.count - 1;
}

void vcl__prog_source(struct vcl_program *prog, const char *kind, const char *name, struct str text)
{
    struct vcl_source *src = VCL_PUSH(prog->sources);
    src->kind = kind;
    src->name = vcl__prog_text(prog, str_of(name)).ptr;
    src->text = vcl__prog_text(prog, text);
}

unsigned vcl__prog_label(struct vcl_program *prog, const char *name)
{
    for (unsigned i = 0; i < prog->labels.count; i++) {
        if (strcmp(prog->labels.at[i], name) == 0) {
            return i;
        }
    }
    const char **slot = VCL_PUSH(prog->labels);
    *slot = vcl__prog_text(prog, str_of(name)).ptr;
    return prog->labels.count - 1;
}

struct vcl_program *vcl_program_ref(struct vcl_program *prog)
{
    CHECK_OBJ(prog, VCL_PROGRAM_MAGIC);
    atomic_fetch_add(&prog->refs, 1);
    return prog;
}

void vcl_program_release(struct vcl_program **prog_of)
{
    struct vcl_program *prog = *prog_of;
    *prog_of = NULL;
    if (prog == NULL) {
        return;
    }
    CHECK_OBJ(prog, VCL_PROGRAM_MAGIC);
    if (atomic_fetch_sub(&prog->refs, 1) > 1) {
        return;
    }
    for (unsigned i = 0; i < prog->regexes.count; i++) {
        regex_free(&prog->regexes.at[i]);
    }
    for (unsigned i = 0; i < prog->acls.count; i++) {
        vcl_acl_free(&prog->acls.at[i]);
    }
    for (unsigned i = 0; i < prog->imports.count; i++) {
        if (prog->imports.at[i].file != NULL) {
            vcl_module_close(&prog->imports.at[i].file);
        }
    }
    void *const lists[] = {prog->lean,       prog->code.at,    prog->consts.at,    prog->subs.at,
                           prog->regexes.at, prog->acls.at,    prog->backends.at,  prog->probes.at,
                           prog->imports.at, prog->calls.at,   prog->instances.at, prog->fields.at,
                           prog->places.at,  prog->sources.at, prog->labels.at,    prog->stores.at};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        free(lists[i]);
    }
    vcl__mem_free(prog->mem);
    free(prog->mem);
    prog->magic = 0;
    free(prog);
}

bool vcl_program_source(const struct vcl_program *prog, unsigned n, struct str *name,
                        struct str *text)
{
    CHECK_OBJ(prog, VCL_PROGRAM_MAGIC);
    /* The built-in one is the last. */
    if (n + 1 >= prog->sources.count) {
        return false;
    }
    *name = str_of(prog->sources.at[n].name);
    *text = prog->sources.at[n].text;
    return true;
}

const char *vcl_program_label(const struct vcl_program *prog, unsigned n)
{
    return n < prog->labels.count ? prog->labels.at[n] : NULL;
}
