/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a compiled VCL is: code for a register machine, and tables that the code refers to by index.
 *
 * Registers are untyped values; code was checked when it was made, so that nothing here needs a
 * check at run time but what depends on data.  There are no jumps backwards: every run ends. */
#ifndef VCL_PROGRAM_H
#define VCL_PROGRAM_H

#include <stdatomic.h>

#include "base/list.h"
#include "vcl/acl.h"
#include "vcl/director.h"
#include "vcl/filters.h"
#include "vcl/modules.h"
#include "regex/regex.h"
#include "vcl/value.h"
#include "vcl/vcl.h"

/* Types of the compiler: those of modules, and a few that no module sees. */
enum vcl_type {
#define TYPE(name) VT_##name = OBJM_##name,
#include "vcl/types.def"
#undef TYPE
    VT_STRINGS = OBJM_TYPE__COUNT, /* text that is being put together */
    VT_BODY,
    VT_VCL,
    VT__COUNT
};

/* Registers of one machine; an expression that needs more does not compile. */
#define VCL_REGS_MAX 240u

#define VCL_BACKEND_DEFAULT UINT32_MAX
#define VCL_PROBE_DEFAULT UINT32_MAX

enum vcl_opcode {
#define OP(name, doc) VCL_OP_##name,
#include "vcl/ops.def"
#undef OP
    VCL_OP__COUNT
};

/* a: the register for the result (or the one operand); b, c: as ops.def says. */
struct vcl_insn {
    uint8_t op;
    uint8_t a;
    uint16_t b;
    uint32_t c;
};

/* A field of a message. */
struct vcl_field {
    struct objm_header header;
    enum http_hdr_id id;
};

/* A place in the text, for VCL_trace. */
struct vcl_place {
    unsigned source;
    unsigned line;
    unsigned pos;
};

struct vcl_subcode {
    struct objm_sub handle;
    uint32_t start;
    uint32_t len;     /* instructions, from there */
    uint32_t lean;    /* the start in the lean code */
    uint32_t ok_mask; /* methods in which it may be called */
};

struct vcl_callsite {
    const struct objm_func *func;
    unsigned module;   /* in imports */
    unsigned instance; /* UINT32_MAX: none */
    uint32_t given;
    unsigned priv; /* of priv_call; UINT32_MAX: none */
    bool is_new;
};

struct vcl_import {
    const struct objm_module *module;
    struct vcl_module_file *file; /* NULL: built in */
};

/* A probe, and what modules see of it. */
struct vcl_probe_decl {
    struct vcl_probe spec;
    struct objm_probe handle;
};

struct vcl_instance {
    const char *name;
    const struct objm_object *object;
    unsigned module;
};

struct vcl_source {
    const char *kind;
    const char *name;
    struct str text;
};

/* Grows by doubling; vcl__push makes room. */
#define VCL_LIST(type)                                                                             \
    struct {                                                                                       \
        type *at;                                                                                  \
        unsigned count;                                                                            \
        unsigned cap;                                                                              \
    }

struct vcl_program {
    uint32_t magic;
    _Atomic unsigned refs;
    unsigned syntax;
    struct cc_mem *mem; /* all text */
    VCL_LIST(struct vcl_insn) code;
    struct vcl_insn *lean; /* the same without what only a trace needs */
    VCL_LIST(union objm_value) consts;
    VCL_LIST(struct vcl_subcode) subs;
    unsigned method[VCL_SUB__COUNT]; /* index in subs */
    VCL_LIST(struct objm_regex *) regexes;
    VCL_LIST(struct objm_acl *) acls;
    VCL_LIST(struct vcl_backend_decl) backends;
    VCL_LIST(struct vcl_probe_decl *) probes;
    VCL_LIST(struct vcl_instance) instances;
    VCL_LIST(struct vcl_import) imports;
    VCL_LIST(struct vcl_callsite) calls;
    VCL_LIST(struct vcl_field *) fields;
    VCL_LIST(struct vcl_place) places;
    VCL_LIST(struct vcl_source) sources;
    VCL_LIST(const char *) labels;
    VCL_LIST(const char *) stores;
    struct vcl_module_filter *module_filters; /* of all imports */
    unsigned module_filters_count;
    struct vcl_filters filters[2]; /* by side */
    bool may_esi;                  /* sets beresp.do_esi or beresp.filters, or adds filters */
    bool may_roll_back;            /* has calls of std.rollback, or of modules of others */
    unsigned priv_calls;
    unsigned regs; /* how many registers the largest expression needs */
    unsigned default_backend;
    struct vcl_probe_decl *default_probe;
};
#define VCL_PROGRAM_MAGIC 0x9d2c4e17u

struct token;

/* Each returns the index of a new entry. */
unsigned vcl__prog_sub(struct vcl_program *prog, const char *name);
unsigned vcl__prog_backend(struct vcl_program *prog, const char *name);
unsigned vcl__prog_probe(struct vcl_program *prog, const char *name);
unsigned vcl__prog_acl(struct vcl_program *prog, const char *name);
unsigned vcl__prog_instance(struct vcl_program *prog, const char *name);
unsigned vcl__prog_const(struct vcl_program *prog, union objm_value value);
unsigned vcl__prog_field(struct vcl_program *prog, enum objm_http http, const char *name);
unsigned vcl__prog_place(struct vcl_program *prog, const struct token *t);
void vcl__prog_source(struct vcl_program *prog, const char *kind, const char *name,
                      struct str text);
/* The present index when it is there already. */
unsigned vcl__prog_label(struct vcl_program *prog, const char *name);
struct str vcl__prog_text(struct vcl_program *prog, struct str text);

struct vcl_program *vcl__prog_new(void);

/* ---- filters (filters.c) ---- */

/* When all imports are known. */
void vcl__filters_finish(struct vcl_program *prog);
/* One of an imported module.  NULL: there is none. */
const struct objm_filter *vcl__module_filter(const struct vcl_program *prog, enum filter_side side,
                                             struct str name);
/* NULL: no filter of the side, or of a module that is not imported. */
const struct filter *vcl__filter_of(const struct vcl *vcl, enum filter_side side,
                                    const struct objm_candidate *candidate);

/* Room for one more in a VCL_LIST, zeroed; a pointer to it. */
void *vcl__push(void **at, unsigned *count, unsigned *cap, size_t bytes);
#define VCL_PUSH(list)                                                                             \
    vcl__push((void **)(void *)&(list).at, &(list).count, &(list).cap, sizeof *(list).at)

/* ---- a loaded VCL ---- */

struct vcl {
    uint32_t magic;
    char *name;
    struct vcl_program *prog;
    const struct vcl_env *env;
    struct vcl_backends *set;
    struct objm_backend **backends; /* one a declaration */
    void **instances;
    struct objm_priv *priv_vcl; /* one an import */
    struct objm_priv *priv_call;
    void **labels; /* referenced */
    bool is_warm;
    bool is_told;   /* modules know of it */
    bool is_inited; /* vcl_init ran, at least in part */
};
#define VCL_MAGIC 0x5ba1c39du

extern const struct objm_ops vcl__ops;

#endif
