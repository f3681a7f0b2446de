/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the compiler's lower half shares: memory, messages, sources and tokens.
 *
 * Everything that one compilation makes lies in its struct cc_mem and goes with it; only the
 * program that comes out lives on.  The first error ends a compilation: functions return false or
 * NULL, and nobody goes on. */
#ifndef VCL_CC_LEX_H
#define VCL_CC_LEX_H

#include <stdarg.h>

#include "base/attr.h"
#include "base/str.h"

/* ---- memory (cc_mem.c) ---- */

struct cc_chunk;

struct cc_mem {
    struct cc_chunk *chunks;
    char *at;
    size_t left;
};
/* Zeroed, 16-byte aligned, never NULL. */
void *vcl__alloc(struct cc_mem *mem, size_t bytes) __attribute__((returns_nonnull));
/* A copy with a NUL behind it. */
struct str vcl__dup(struct cc_mem *mem, struct str s);
void vcl__mem_free(struct cc_mem *mem);

/* Text that grows; ptr is NUL-terminated once something was added. */
struct cc_text {
    char *ptr;
    size_t len;
    size_t cap;
};
void vcl__add(struct cc_text *text, struct str s);
void vcl__addv(struct cc_text *text, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void vcl__addf(struct cc_text *text, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- sources and tokens ---- */

/* Single characters are their own token. */
enum {
    T_EOI = 256,
    T_ID,
    T_CNUM,
    T_FNUM,
    T_CSTR,
    T_CSRC,
    T_CBLOB,
#define TOKEN2(name, text) T_##name,
#include "vcl/tokens.def"
#undef TOKEN2
};

struct token;

struct source {
    struct source *next;
    const struct source *parent; /* that includes this one */
    const char *kind;            /* "file", "builtin", "<vcl.inline>" */
    const char *name;
    struct str text; /* NUL-terminated */
    unsigned index;
};

struct token {
    struct token *prev; /* in the program */
    struct token *next;
    const struct source *src;
    const char *b;
    const char *e;
    struct str dec; /* T_CSTR, T_CBLOB: what it stands for, NUL-terminated */
    double num;     /* T_CNUM, T_FNUM */
    unsigned kind;
};

struct token_list {
    struct token *first;
    struct token *last;
};

struct cc;

static inline struct str token_text(const struct token *t)
{
    return (struct str){t->b, (size_t)(t->e - t->b)};
}

bool vcl__is(const struct token *t, const char *word);
/* The same without case, for words that stand where names stand. */
bool vcl__is_nocase(const struct token *t, const char *word);

/* Appends the source's tokens and one T_EOI to *list.  False: an error was told. */
MUST_USE bool vcl__lex(struct cc *cc, const struct source *src, struct token_list *list);
/* How messages call a kind of token: `'{'`, `ID`. */
void vcl__tok_name(struct cc_text *out, unsigned kind);

/* ---- where (cc_error.c) ---- */

/* Each ends the compilation: cc->failed. */
void vcl__err(struct cc *cc, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* ... with position, source line and a line of marks below it. */
void vcl__err_at(struct cc *cc, const struct token *t);
/* ... marks the tokens from t until before `end`. */
void vcl__err_span(struct cc *cc, const struct token *t, const struct token *end);
/* The token, as messages quote it. */
void vcl__err_token(struct cc *cc, const struct token *t);
/* Text of the tokens from t until before `end`. */
void vcl__err_tokens(struct cc *cc, const struct token *t, const struct token *end);
/* What was told was a warning: goes on. */
void vcl__warn(struct cc *cc);

/* Line (from 1) and column (from 1, tabs count to the next multiple of eight). */
void vcl__coord(const struct token *t, unsigned *line, unsigned *pos);

#endif
