/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Names.
 *
 * A tree with one level for each part of a dotted name; case does not matter.  A node may carry
 * several symbols, for different versions of the language.  Below the prefix of a message's fields
 * (`req.http`) a name comes into being when it is first asked for: whatever follows is a field.
 *
 * A lookup takes as many parts as there are tokens `a.b.c`, and remembers the longest prefix that
 * is a symbol.  Callers say whether they want the whole name or will see to the rest
 * (`obj.method()`).
 */
#include "vcl/cc.h"

#include <ctype.h>
#include <strings.h>

#include "base/check.h"
#include "http/http.h"

#define VERSION_LOWEST 40u
#define VERSION_HIGHEST 41u
#define FIELD_NAME_MAX 127u

static const char *const kind_names[] = {
    "none",
#define KIND(upper, lower) lower,
#include "vcl/kinds.def"
#undef KIND
};

const char *vcl__kind_name(enum sym_kind kind)
{
    return kind_names[kind];
}

enum sym_kind vcl__sym_kind(enum vcl_type type)
{
    switch (type) {
    case VT_ACL:
        return SYM_ACL;
    case VT_BACKEND:
        return SYM_BACKEND;
    case VT_PROBE:
        return SYM_PROBE;
    case VT_STEVEDORE:
        return SYM_STEVEDORE;
    case VT_SUB:
        return SYM_SUB;
    case VT_INSTANCE:
        return SYM_INSTANCE;
    default:
        return SYM_NONE;
    }
}

static void put_name(struct cc_text *out, const struct symnode *node)
{
    /* Few parts, so walking up for each costs nothing; no recursion. */
    const struct symnode *parts[16];
    size_t count = 0;
    for (; node->parent != NULL && count < ARRAY_SIZE(parts); node = node->parent) {
        parts[count++] = node;
    }
    while (count > 0) {
        count--;
        vcl__addf(out, "%s%s", parts[count]->name, count > 0 ? "." : "");
    }
}

void vcl__sym_name(struct cc_text *out, const struct symbol *sym)
{
    put_name(out, sym->node);
}

/* The child of that name, made if need be; brothers are kept in order. */
static struct symnode *child_of(struct cc *cc, struct symnode *parent, struct str name)
{
    struct symnode **at = &parent->children;
    for (; *at != NULL; at = &(*at)->next) {
        size_t len = strlen((*at)->name);
        size_t least = len < name.len ? len : name.len;
        int order = strncasecmp((*at)->name, name.ptr, least);
        if (order == 0 && len == name.len) {
            return *at;
        }
        if (order > 0 || (order == 0 && len > name.len)) {
            break;
        }
    }
    struct symnode *node = vcl__alloc(&cc->mem, sizeof *node);
    node->name = vcl__dup(&cc->mem, name).ptr;
    node->parent = parent;
    node->next = *at;
    *at = node;
    return node;
}

static struct symnode *node_of(struct cc *cc, struct str dotted)
{
    struct symnode *node = &cc->root;
    while (dotted.ptr != NULL) {
        node = child_of(cc, node, str_cut(&dotted, '.'));
    }
    return node;
}

static struct symbol *symbol_new(struct cc *cc, struct symnode *node, enum sym_kind kind,
                                 unsigned lo, unsigned hi)
{
    struct symbol *sym = vcl__alloc(&cc->mem, sizeof *sym);
    sym->node = node;
    sym->kind = kind;
    sym->type = VT_VOID;
    sym->lo = lo;
    sym->hi = hi;
    struct symbol **at = &node->symbols;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = sym;
    return sym;
}

static bool is_field_name(struct cc *cc, const char *name)
{
    if (strlen(name) >= FIELD_NAME_MAX) {
        vcl__err(cc, "HTTP header (%.20s..) is too long.\n", name);
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (!http_is_token((struct str){c, 1})) {
            bool is_nl = *c == '\n';
            vcl__err(cc, "Invalid character '%s%.*s' in header name.\n", is_nl ? "\\n" : "",
                     is_nl ? 0 : 1, c);
            return false;
        }
    }
    return true;
}

static struct symbol *field_symbol(struct cc *cc, struct symnode *node, const struct symbol *all)
{
    if (!is_field_name(cc, node->name)) {
        return NULL;
    }
    struct symbol *sym = symbol_new(cc, node, SYM_VAR, 0, 99);
    sym->noref = true;
    sym->type = VT_HEADER;
    sym->is_header = true;
    sym->var = all->var;
    sym->reads = all->reads;
    sym->writes = all->writes;
    sym->unsets = all->unsets;
    return sym;
}

/* The node's symbol for versions lo..hi and, before 4.1, for the kind that is asked for. */
static struct symbol *in_node(struct cc *cc, struct symnode *node, enum sym_kind kind, unsigned lo,
                              unsigned hi)
{
    struct symbol *sym = node->symbols;
    for (; sym != NULL; sym = sym->next) {
        if (sym->lo > hi || sym->hi < lo) {
            continue;
        }
        if (kind == SYM_NONE && sym->kind == SYM_NONE && !sym->is_headers) {
            continue;
        }
        /* 4.0 had a name space for each kind. */
        if (cc->syntax < 41 && strcmp(node->name, "default") != 0 && kind != SYM_NONE &&
            kind != sym->kind && !sym->is_headers) {
            continue;
        }
        return sym;
    }
    if (node->parent == NULL || node->parent->symbols == NULL ||
        !node->parent->symbols->is_headers) {
        return NULL;
    }
    return field_symbol(cc, node, node->parent->symbols);
}

/* What a walk along `a.b.c` found. */
struct found {
    struct symnode *node; /* of all parts */
    const struct token *tok;
    struct symbol *sym; /* of the longest prefix that is one */
    struct symnode *sym_node;
    const struct token *sym_tok;
};

static bool walk_name(struct cc *cc, enum sym_kind kind, struct found *f)
{
    const struct token *t = cc->t;
    f->node = &cc->root;
    for (;;) {
        if (t->kind == T_CSTR && cc->syntax < 41) {
            vcl__err(cc, "Quoted headers are available for VCL >= 4.1.\nAt:");
            vcl__err_at(cc, t);
            return false;
        }
        f->node = child_of(cc, f->node, t->kind == T_CSTR ? t->dec : token_text(t));
        f->tok = t;
        struct symbol *sym = in_node(cc, f->node, kind, cc->syntax, cc->syntax);
        if (cc->failed) {
            return false;
        }
        if (sym != NULL) {
            f->sym = sym;
            f->sym_node = f->node;
            f->sym_tok = t;
        }
        if (t->next == NULL || t->next->kind != '.' || t->next->next == NULL) {
            return true;
        }
        t = t->next->next;
        bool is_quoted = t->kind == T_CSTR && f->sym != NULL && f->sym->is_headers;
        if (t->kind != T_ID && !is_quoted) {
            return true;
        }
    }
}

static struct symbol *not_found(struct cc *cc, const struct token *from, struct symnode *node,
                                enum sym_kind kind)
{
    vcl__err(cc, "Symbol not found: '");
    vcl__err_tokens(cc, from, cc->t);
    vcl__err(cc, "'");
    struct symbol *other = in_node(cc, node, kind, VERSION_LOWEST, VERSION_HIGHEST);
    if (other != NULL && other->kind != SYM_OBJECT && other->kind != SYM_INSTANCE) {
        vcl__err(cc, " (Only available when");
        if (other->lo >= VERSION_LOWEST) {
            vcl__err(cc, " %u.%u <=", other->lo / 10, other->lo % 10);
        }
        vcl__err(cc, " VCL syntax");
        if (other->hi <= VERSION_HIGHEST) {
            vcl__err(cc, " <= %u.%u", other->hi / 10, other->hi % 10);
        }
        vcl__err(cc, ")");
    }
    vcl__err(cc, "\nAt: ");
    vcl__err_span(cc, from, cc->t);
    return NULL;
}

static struct symbol *wrong_kind(struct cc *cc, const struct token *from, const struct symbol *sym,
                                 enum sym_kind kind)
{
    vcl__err(cc, "Symbol '");
    vcl__err_tokens(cc, from, cc->t);
    vcl__err(cc, "' has wrong type (%s), expected %s:\nAt: ", kind_names[sym->kind],
             kind_names[kind]);
    vcl__err_span(cc, from, cc->t);
    if (sym->def != NULL) {
        vcl__err(cc, "Symbol was defined here: ");
        vcl__err_at(cc, sym->def);
    } else if (sym->ref != NULL) {
        vcl__err(cc, "Symbol was declared here: ");
        vcl__err_at(cc, sym->ref);
    } else {
        vcl__err(cc, "Symbol was builtin\n");
    }
    return NULL;
}

static bool is_reserved(struct cc *cc, enum sym_kind kind, enum lookup how)
{
    if (cc->syntax < 41 || how != LOOK_CREATE || kind == SYM_SUB ||
        !str_starts_nocase(token_text(cc->t), STR("vcl_"))) {
        return false;
    }
    vcl__err(cc, "Symbols named 'vcl_*' are reserved.\nAt:");
    vcl__err_at(cc, cc->t);
    return true;
}

static void note_use(struct symbol *sym, const struct token *t, enum use_as use)
{
    if (use == USE_DEF) {
        sym->def = sym->def == NULL ? t : sym->def;
        sym->defs++;
    } else if (use == USE_REF) {
        sym->ref = sym->ref == NULL ? t : sym->ref;
        sym->refs++;
    }
}

struct symbol *vcl__sym_get(struct cc *cc, enum sym_kind kind, enum lookup how, enum use_as use)
{
    CHECK(cc->t->kind == T_ID);
    if (is_reserved(cc, kind, how)) {
        return NULL;
    }
    const struct token *from = cc->t;
    struct found f = {0};
    if (!walk_name(cc, kind, &f)) {
        return NULL;
    }
    struct symbol *sym = f.sym;
    if (sym != NULL && sym->kind == SYM_ALIAS) {
        f.sym_node = node_of(cc, str_of(sym->alias));
        sym = in_node(cc, f.sym_node, SYM_NONE, sym->lo, sym->hi);
        f.node = f.sym_tok == f.tok ? f.sym_node : f.node;
    }
    bool is_part = how == LOOK_PART || how == LOOK_PART_QUIET;
    bool is_quiet = how == LOOK_QUIET || how == LOOK_PART_QUIET;
    if (sym != NULL && sym->kind == SYM_VMOD && is_part) {
        /* `module.something`: it is that something or nothing. */
        is_part = false;
        is_quiet = false;
    }
    if (sym != NULL && is_part) {
        f.node = f.sym_node;
        f.tok = f.sym_tok;
    } else if (f.node != f.sym_node) {
        sym = NULL;
    }
    if (sym == NULL && is_quiet) {
        return NULL;
    }
    if (sym == NULL && how == LOOK_CREATE) {
        sym = symbol_new(cc, f.node, kind, cc->syntax, cc->syntax);
    }
    cc->t = f.tok->next;
    if (sym == NULL) {
        return not_found(cc, from, f.node, kind);
    }
    if (kind != SYM_NONE && kind != sym->kind) {
        return wrong_kind(cc, from, sym, kind);
    }
    note_use(sym, from, use);
    return sym;
}

struct symbol *vcl__sym_make(struct cc *cc, const char *name, enum sym_kind kind, unsigned lo,
                             unsigned hi)
{
    struct symbol *sym = symbol_new(cc, node_of(cc, str_of(name)), kind, lo, hi);
    sym->noref = true;
    return sym;
}

void vcl__sym_handle(struct cc *cc, struct symbol *sym, enum vcl_type type)
{
    sym->type = type;
    sym->kind = vcl__sym_kind(type);
    sym->reads = ~UINT32_C(0);
    struct vcl_program *prog = cc->prog;
    const char *name = sym->node->name;
    switch (sym->kind) {
    case SYM_BACKEND:
        sym->index = vcl__prog_backend(prog, name);
        break;
    case SYM_PROBE:
        sym->index = vcl__prog_probe(prog, name);
        break;
    case SYM_ACL:
        sym->index = vcl__prog_acl(prog, name);
        break;
    case SYM_INSTANCE:
        sym->index = vcl__prog_instance(prog, name);
        break;
    default:
        break;
    }
}

static struct symbol *already(struct cc *cc, const struct token *t, const struct symbol *sym,
                              bool is_same)
{
    const char *kind = kind_names[sym->kind];
    if (is_same) {
        vcl__err(cc, "%c%s '%.*s' redefined.\n", toupper((unsigned char)*kind), kind + 1,
                 STR_ARG(token_text(t)));
    } else {
        vcl__err(cc, "Name '%.*s' already defined.\n", STR_ARG(token_text(t)));
    }
    vcl__err_at(cc, t);
    vcl__err(cc, "First definition:\n");
    vcl__err_at(cc, sym->def);
    return NULL;
}

struct symbol *vcl__sym_define(struct cc *cc, enum vcl_type type)
{
    enum sym_kind kind = vcl__sym_kind(type);
    CHECK(kind != SYM_NONE);
    const struct token *t = cc->t;
    struct symbol *sym = vcl__sym_get(cc, SYM_NONE, LOOK_QUIET, USE_NONE);
    if (cc->failed) {
        return NULL;
    }
    if (sym != NULL && sym->def != NULL) {
        return already(cc, t, sym, sym->kind == kind);
    }
    if (sym != NULL && sym->kind != kind) {
        vcl__err(cc, "Name %.*s must have type '%s'.\n", STR_ARG(token_text(t)),
                 kind_names[sym->kind]);
        vcl__err_at(cc, t);
        return NULL;
    }
    if (sym == NULL) {
        sym = vcl__sym_get(cc, kind, LOOK_CREATE, USE_NONE);
        if (sym == NULL) {
            return NULL;
        }
        vcl__sym_handle(cc, sym, type);
    }
    sym->defs = 1;
    sym->def = t;
    return sym;
}

bool vcl__sym_walk(struct cc *cc, enum sym_kind kind, sym_walk_fn *fn)
{
    const struct symnode *node = &cc->root;
    for (;;) {
        for (struct symbol *sym = node->symbols; sym != NULL; sym = sym->next) {
            if ((kind == SYM_NONE || sym->kind == kind) && !fn(cc, sym)) {
                return false;
            }
        }
        if (node->children != NULL) {
            node = node->children;
            continue;
        }
        while (node->next == NULL) {
            node = node->parent;
            if (node == NULL) {
                return true;
            }
        }
        node = node->next;
    }
}
