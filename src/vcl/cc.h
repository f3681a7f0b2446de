/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the compiler's files share: symbols, the typed tree, the compilation itself.
 *
 *     text --cc_source, cc_lex--> tokens --cc_parse, cc_stmt, cc_expr ...--> subs of statements
 *          --cc_check--> ... known to be legal --cc_gen--> struct vcl_program
 *
 * Parsing is directed by types, as VCL wants it: each expression is parsed for a wanted type. */
#ifndef VCL_CC_H
#define VCL_CC_H

#include "vcl/cc_lex.h"
#include "vcl/program.h"
#include "vcl/vcl.h"

/* How deep blocks and brackets may stand in each other: what bounds the parser's own recursion. */
#define CC_DEPTH_MAX 100

/* ---- symbols (cc_symbol.c) ---- */

enum sym_kind {
    SYM_NONE,
#define KIND(upper, lower) SYM_##upper,
#include "vcl/kinds.def"
#undef KIND
};

struct symbol;
struct expr;
struct stmt;
struct sub;

/* An action's statement; t is its name.  NULL after an error. */
typedef struct stmt *action_fn(struct cc *cc, const struct token *t, struct symbol *sym);

struct symnode {
    const char *name; /* one part of a dotted name */
    struct symnode *parent;
    struct symnode *next; /* brothers, by name without case */
    struct symnode *children;
    struct symbol *symbols;
};

struct symbol {
    struct symbol *next; /* of the same name, for other versions */
    struct symnode *node;
    enum sym_kind kind;
    enum vcl_type type;
    unsigned lo; /* versions of VCL in which it is known */
    unsigned hi;
    bool noref; /* need not be used */
    unsigned defs;
    unsigned refs;
    const struct token *def;
    const struct token *ref;
    uint32_t reads; /* subs in which it may be read, ... */
    uint32_t writes;
    uint32_t unsets;
    uint32_t acts; /* SYM_ACTION; 0: anywhere */
    action_fn *action;
    unsigned var;                     /* SYM_VAR: enum vcl_var; of a header's prefix too */
    unsigned index;                   /* of a backend, probe, ACL, instance, storage, label */
    bool is_headers;                  /* what follows the dot is the name of a field */
    bool is_header;                   /* such a field: its name is node->name */
    struct sub *sub;                  /* SYM_SUB */
    const char *alias;                /* SYM_ALIAS: what it stands for */
    const struct objm_module *module; /* SYM_VMOD, and what is in it */
    unsigned module_index;            /* ... as the program numbers it */
    const struct objm_func *func;     /* SYM_FUNC, SYM_METHOD */
    const struct objm_object *object; /* SYM_OBJECT, SYM_INSTANCE */
    const char *object_type;          /* SYM_INSTANCE: "module.object" */
};

enum lookup {
    LOOK_EXISTING, /* not found: an error */
    LOOK_CREATE,   /* not found: made */
    LOOK_QUIET,    /* not found: NULL, no error */
    LOOK_PART,     /* the longest part of the name that is one; else an error */
    LOOK_PART_QUIET
};
enum use_as { USE_NONE, USE_DEF, USE_REF };

/* Looks up the dotted name at cc->t and steps behind what was used of it; SYM_NONE: any kind. */
struct symbol *vcl__sym_get(struct cc *cc, enum sym_kind kind, enum lookup how, enum use_as use);
/* A symbol that the language has by itself. */
struct symbol *vcl__sym_make(struct cc *cc, const char *name, enum sym_kind kind, unsigned lo,
                             unsigned hi);
/* The symbol for a definition of this type at cc->t.  NULL: an error (redefinition ...). */
struct symbol *vcl__sym_define(struct cc *cc, enum vcl_type type);
/* The kind that definitions of a type have; SYM_NONE when it has none. */
enum sym_kind vcl__sym_kind(enum vcl_type type);
/* An undefined name becomes a symbol that must be defined later. */
void vcl__sym_handle(struct cc *cc, struct symbol *sym, enum vcl_type type);
const char *vcl__kind_name(enum sym_kind kind);
/* The dotted name in full. */
void vcl__sym_name(struct cc_text *out, const struct symbol *sym);
typedef bool sym_walk_fn(struct cc *cc, struct symbol *sym);
/* All of one kind (SYM_NONE: of every), by name; false as soon as fn says so. */
MUST_USE bool vcl__sym_walk(struct cc *cc, enum sym_kind kind, sym_walk_fn *fn);
/* What the language has from the start (cc_init.c). */
void vcl__sym_init(struct cc *cc);
void vcl__reserve_words(struct cc *cc);

/* ---- the tree ---- */

enum ex_kind {
    X_CONST,   /* value */
    X_VAR,     /* sym */
    X_HEADER,  /* sym */
    X_HANDLE,  /* sym: backend, ACL, probe, sub, storage */
    X_STRINGS, /* parts, one after the other */
    X_TOSTRING,
    X_TOBOOL,
    X_NEGATE,
    X_NOT,
    X_AND,
    X_OR,
    X_ARITH,    /* a op b */
    X_COMPARE,  /* a op b */
    X_MATCH,    /* a ~ regex[index] */
    X_ACL,      /* a ~ b */
    X_REGSUB,   /* parts: subject, replacement; regex[index]; op: whether all */
    X_PROPERTY, /* a.op */
    X_REGEX,    /* regex[index] */
    X_CALL,     /* call */
    X_INSTANCE  /* sym */
};

struct expr {
    enum ex_kind kind;
    enum vcl_type type;
    unsigned op;
    unsigned index;
    bool is_negated; /* X_MATCH, X_ACL */
    bool is_const;
    bool is_literal; /* ends with a literal string, which the next one may join */
    unsigned count;  /* of parts */
    struct expr *a;
    struct expr *b;
    struct expr *next; /* among parts */
    struct expr *parts;
    struct expr *last;
    union objm_value value;
    const struct symbol *sym;
    struct cc_call *call;
};

/* A call of a module's function or method. */
struct cc_call {
    const struct symbol *sym;
    const struct symbol *instance; /* of a method, and of `new` */
    unsigned count;
    struct expr **args; /* one a parameter; NULL: not given */
};

enum st_kind {
    ST_BLOCK,
    ST_IF,     /* cond, body, other */
    ST_SET,    /* sym op= expr */
    ST_UNSET,  /* sym */
    ST_CALL,   /* sub */
    ST_CALLEX, /* expr of type SUB */
    ST_RETURN, /* ret, expr, expr2 */
    ST_LEAVE,  /* return; */
    ST_BAN,
    ST_HASH_DATA,
    ST_SYNTHETIC,
    ST_FILTER, /* op: the opcode, ret: the side, count: the position, expr */
    ST_EXPR,
    ST_NEW
};

struct stmt {
    enum st_kind kind;
    struct stmt *next;
    const struct token *t;
    unsigned count; /* ST_BLOCK, ST_IF: number of the place that is traced */
    unsigned op;
    unsigned ret;
    struct stmt *body;
    struct stmt *other;
    struct expr *expr;
    struct expr *expr2;
    struct symbol *sym;
};

enum use_kind { USED_READ, USED_WRITE, USED_UNSET, USED_ACTION };

struct sub_use {
    struct sub_use *next;
    const struct token *t1;
    const struct token *t2;
    const struct symbol *sym;
    enum use_kind kind;
    uint32_t mask;
};

struct sub_call {
    struct sub_call *next;
    const struct token *t;
    struct symbol *sym;
};

struct sub {
    struct sub *next; /* in order of appearance */
    struct symbol *sym;
    const struct token *name; /* NULL: never defined */
    int method;               /* enum vcl_method, or -1 */
    struct stmt *body;
    struct stmt **body_end;
    struct sub_use *uses;
    struct sub_use **uses_end;
    struct sub_call *calls;
    struct sub_call **calls_end;
    uint32_t returns;
    uint32_t ok_mask; /* subs from which it may be called at all */
    const struct token *return_tok[VCL_RET__COUNT];
    uint32_t seen_returns; /* methods from which it was checked (cc_check.c) */
    uint32_t seen_uses;
    bool is_active;
    unsigned index; /* in the program */
};

/* ---- one compilation ---- */

struct cc {
    const struct vcl_conf *conf;
    struct cc_mem mem;
    struct cc_text out;
    bool failed;
    unsigned syntax; /* 40, 41; 0: not known yet */
    struct source *sources;
    struct source **sources_end;
    unsigned source_count;
    struct token_list tokens;
    const struct token *t;
    struct symnode root;
    struct sub *subs;
    struct sub **subs_end;
    struct sub *cur;
    unsigned depth;
    bool has_default; /* a backend with that name */
    struct symbol *first_backend;
    bool has_default_probe;
    struct str *builtin_subs; /* names, up to one without a pointer */
    struct vcl_program *prog; /* what is being made */
};

/* ---- parsing helpers (cc_util.c) ---- */

/* Whether cc->t is of this kind; else an error. */
MUST_USE bool vcl__expect(struct cc *cc, unsigned kind);
/* ... and steps over it. */
MUST_USE bool vcl__skip(struct cc *cc, unsigned kind);
void vcl__next(struct cc *cc);
const struct token *vcl__peek(const struct cc *cc);
/* cc->t must be a plain name; `what`: for the message. */
MUST_USE bool vcl__expect_name(struct cc *cc, const char *what);
MUST_USE bool vcl__uint(struct cc *cc, unsigned *value);
MUST_USE bool vcl__duration(struct cc *cc, double *seconds);
MUST_USE bool vcl__duration_unit(struct cc *cc, double *seconds);
MUST_USE bool vcl__bytes(struct cc *cc, int64_t *value);
/* `+name` or `-name`: 1 or 0 and steps to the name; -1: no flag. -1 with cc->failed: an error. */
int vcl__flag(struct cc *cc);
const char *vcl__type_name(enum vcl_type type);
/* In, out: nesting of the parser.  False: too deep, an error. */
MUST_USE bool vcl__enter(struct cc *cc);
void vcl__leave(struct cc *cc);

/* ---- sources (cc_source.c) ---- */

/* The program's tokens: the text or file, what it includes, and the built-in VCL. */
MUST_USE bool vcl__read(struct cc *cc, const char *name, const struct str *text);
extern const char vcl__builtin_text[];

/* ---- declarations ---- */

MUST_USE bool vcl__parse(struct cc *cc);         /* cc_parse.c */
MUST_USE bool vcl__parse_acl(struct cc *cc);     /* cc_acl.c */
MUST_USE bool vcl__parse_backend(struct cc *cc); /* cc_backend.c */
MUST_USE bool vcl__parse_probe(struct cc *cc);   /* cc_probe.c */
MUST_USE bool vcl__parse_import(struct cc *cc);  /* cc_import.c */
MUST_USE bool vcl__probe_body(struct cc *cc, struct vcl_probe *probe);
struct stmt *vcl__act_new(struct cc *cc, const struct token *t, struct symbol *sym);

/* The fields of a backend or a probe, each of which may be given once. */
struct field_seen {
    const char *name;
    const struct token *t;
};
/* `.name =`: the field that it names.  NULL: an error. */
struct field_seen *vcl__field(struct cc *cc, struct field_seen *fields, size_t count);
MUST_USE bool vcl__only_one(struct cc *cc, const char *what, const struct token **seen,
                            const struct token *field);

/* ---- statements and expressions ---- */

struct sub *vcl__sub_new(struct cc *cc, struct symbol *sym);
struct stmt *vcl__block(struct cc *cc); /* cc_stmt.c */
action_fn vcl__act_if;
action_fn vcl__act_add_vfp; /* cc_filter.c */
action_fn vcl__act_add_vdp;
action_fn vcl__act_remove_vfp;
action_fn vcl__act_remove_vdp;
action_fn vcl__act_func;
action_fn vcl__act_object;
void vcl__actions_init(struct cc *cc); /* cc_action.c */
struct stmt *vcl__stmt(struct cc *cc, enum st_kind kind, const struct token *t);

/* cc_expr.c: an expression of exactly this type.  NULL after an error. */
struct expr *vcl__expr(struct cc *cc, enum vcl_type type);
struct expr *vcl__ex(struct cc *cc, enum ex_kind kind, enum vcl_type type);
/* The type of strings while they are put together; STRING and STRANDS come of it. */
struct expr *vcl__ex_or(struct cc *cc, enum vcl_type want);
struct expr *vcl__ex_postfix(struct cc *cc, enum vcl_type want); /* cc_term.c */
struct expr *vcl__ex_strings(struct cc *cc, struct expr *e);
MUST_USE bool vcl__ex_typecheck(struct cc *cc, const struct expr *e, enum vcl_type want,
                                const struct token *from);
/* e as text, an error where it has none. */
struct expr *vcl__ex_tostring(struct cc *cc, struct expr *e, const struct token *from);
const char *vcl__ex_type_name(const struct cc *cc, const struct expr *e);
/* The type as users know it: what is put together of strings is a STRING. */
const char *vcl__user_type(enum vcl_type type);

/* The method of cc->t that the instance has.  NULL: there is none, no error. */
struct symbol *vcl__method(struct cc *cc, const struct symbol *instance);
const char *vcl__object_name(const struct symbol *instance);

/* cc_address.c: the address that the literal at cc->t means; blocks. */
MUST_USE bool vcl__ip_literal(struct cc *cc, union objm_value *value);
/* Whether there is an address for the backend: at most one of each family. */
MUST_USE bool vcl__resolve_backend(struct cc *cc, const struct token *host,
                                   const struct token *port, struct vcl_backend_decl *decl);

/* cc_call.c: `( arguments )` behind a function's name, cc->t at the bracket. */
struct cc_call *vcl__call(struct cc *cc, const struct symbol *sym, const struct symbol *instance);

/* The verdicts that are legal in a method, the methods in which a verdict is; as bits. */
uint32_t vcl__sub_returns(unsigned sub);
uint32_t vcl__return_subs(unsigned ret);

/* cc_check.c */
void vcl__use(struct cc *cc, const struct token *t1, const struct token *t2,
              const struct symbol *sym, enum use_kind kind);
MUST_USE bool vcl__check(struct cc *cc);

/* cc_regex.c: the number of a pattern in the program, compiled once.  False: an error. */
MUST_USE bool vcl__regex(struct cc *cc, unsigned *index);

/* cc_gen.c */
MUST_USE bool vcl__gen(struct cc *cc);
/* The copy of the code that runs untraced (cc_lean.c). */
void vcl__lean(struct vcl_program *prog);

#endif
