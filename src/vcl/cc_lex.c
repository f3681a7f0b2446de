/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Text to tokens.  A source ends with a NUL that is not part of it, so looking one character ahead
 * needs no test; numbers have the digits that RFC 8941 allows, no more.
 */
#include "vcl/cc.h"

#include <stdlib.h>

#include "base/check.h"

static const struct {
    const char *text;
    unsigned kind;
} fixed[] = {
#define TOKEN2(name, text) {text, T_##name},
#include "vcl/tokens.def"
#undef TOKEN2
};

#define SINGLES "{}()*+-/%><=;!&.|~,"

static const struct delimited {
    const char *name;
    struct str open;
    struct str close;
    unsigned kind;
    bool spans_lines;
} delimited[] = {
    {"long-string", STR_INIT("\"\"\""), STR_INIT("\"\"\""), T_CSTR, true},
    {"long-string", STR_INIT("{\""), STR_INIT("\"}"), T_CSTR, true},
    {"string", STR_INIT("\""), STR_INIT("\""), T_CSTR, false},
    {"inline C source", STR_INIT("C{"), STR_INIT("}C"), T_CSRC, true},
};

struct lexer {
    struct cc *cc;
    const struct source *src;
    struct token_list *list;
    const char *at;
    const char *end;
};

void vcl__tok_name(struct cc_text *out, unsigned kind)
{
    static const char *const names[] = {"end of input", "ID",   "CNUM", "FNUM",
                                        "CSTR",         "CSRC", "CBLOB"};
    if (kind < T_EOI) {
        vcl__addf(out, "'%c'", (int)kind);
        return;
    }
    if (kind <= T_CBLOB) {
        vcl__addf(out, "%s", names[kind - T_EOI]);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (fixed[i].kind == kind) {
            vcl__addf(out, "'%s'", fixed[i].text);
        }
    }
}

bool vcl__is(const struct token *t, const char *word)
{
    return t->kind == T_ID && str_eq(token_text(t), str_of(word));
}

bool vcl__is_nocase(const struct token *t, const char *word)
{
    return t->kind == T_ID && str_eq_nocase(token_text(t), str_of(word));
}

static struct token *add(struct lexer *lx, unsigned kind, const char *b, const char *e)
{
    struct token *t = vcl__alloc(&lx->cc->mem, sizeof *t);
    t->kind = kind;
    t->src = lx->src;
    t->b = b;
    t->e = e;
    t->prev = lx->list->last;
    if (lx->list->last == NULL) {
        lx->list->first = t;
    } else {
        lx->list->last->next = t;
    }
    lx->list->last = t;
    return t;
}

static bool starts(const struct lexer *lx, struct str what)
{
    return str_starts((struct str){lx->at, (size_t)(lx->end - lx->at)}, what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
    return is_name_start(c) || is_digit(c) || c == '_' || c == '-';
}

static void skip_line(struct lexer *lx)
{
    while (lx->at < lx->end && *lx->at != '\n') {
        lx->at++;
    }
}

static bool skip_comment(struct lexer *lx)
{
    const char *from = lx->at;
    for (const char *c = from + 2; c < lx->end; c++) {
        if (c[0] == '/' && c[1] == '*') {
            vcl__err(lx->cc, "/* ... */ comment contains /*\n");
            vcl__err_at(lx->cc, add(lx, T_EOI, from, from + 2));
            vcl__err_at(lx->cc, add(lx, T_EOI, c, c + 2));
            return false;
        }
        if (c[0] == '*' && c[1] == '/') {
            lx->at = c + 2;
            return true;
        }
    }
    vcl__err(lx->cc, "Unterminated /* ... */ comment, starting at\n");
    vcl__err_at(lx->cc, add(lx, T_EOI, from, from + 2));
    return false;
}

static bool lex_delimited(struct lexer *lx, const struct delimited *d)
{
    const char *from = lx->at;
    struct str rest = {from + d->open.len, (size_t)(lx->end - from) - d->open.len};
    const char *close =
        rest.len == 0 ? NULL : memmem(rest.ptr, rest.len, d->close.ptr, d->close.len);
    if (close != NULL && !d->spans_lines) {
        struct str line = {rest.ptr, (size_t)(close - rest.ptr)};
        if (str_find(line, '\n') < line.len || str_find(line, '\r') < line.len) {
            close = NULL;
        }
    }
    if (close == NULL) {
        vcl__err(lx->cc, "Unterminated %s, starting at\n", d->name);
        vcl__err_at(lx->cc, add(lx, T_EOI, from, from + d->open.len));
        return false;
    }
    struct token *t = add(lx, d->kind, from, close + d->close.len);
    t->dec = vcl__dup(&lx->cc->mem, (struct str){rest.ptr, (size_t)(close - rest.ptr)});
    lx->at = t->e;
    return true;
}

static bool lex_number(struct lexer *lx)
{
    const char *from = lx->at;
    const char *c = from;
    while (is_digit(*c)) {
        c++;
    }
    size_t whole = (size_t)(c - from);
    size_t decimals = 0;
    unsigned kind = T_CNUM;
    if (*c == '.') {
        kind = T_FNUM;
        for (c++; is_digit(*c); c++) {
            decimals++;
        }
    }
    struct token *t = add(lx, kind, from, c);
    if (kind == T_CNUM ? whole > 15 : whole > 12 || decimals > 3) {
        vcl__err(lx->cc, "Too many digits for %s.\n", kind == T_CNUM ? "integer" : "real");
        vcl__err_at(lx->cc, t);
        return false;
    }
    t->num = strtod(from, NULL);
    lx->at = c;
    return true;
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* The bytes between two colons (RFC 8941's binary).  Returns why not, or NULL. */
static const char *decode_blob(struct lexer *lx, struct str *out, const char **stop)
{
    const char *from = lx->at + 1;
    char *bytes = vcl__alloc(&lx->cc->mem, (size_t)(lx->end - from) + 1);
    size_t len = 0;
    unsigned bits = 0;
    uint32_t word = 0;
    const char *c = from;
    for (; base64_digit(*c) >= 0; c++) {
        word = word << 6 | (uint32_t)base64_digit(*c);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes[len++] = (char)(word >> bits & 0xff);
        }
    }
    size_t digits = (size_t)(c - from);
    while (*c == '=' && digits % 4 >= 2) {
        c++;
        digits++;
    }
    *stop = c;
    *out = (struct str){bytes, len};
    if (c >= lx->end) {
        return "Missing colon at end of BLOB:\n";
    }
    if (*c == ':' && digits % 4 != 0) {
        return "BLOB must have n*4 base64 characters\n";
    }
    if (*c == '=') {
        return "Wrong padding ('=') in BLOB:\n";
    }
    return *c == ':' ? NULL : "Illegal BLOB character:\n";
}

static bool lex_blob(struct lexer *lx)
{
    struct str bytes;
    const char *stop;
    const char *why = decode_blob(lx, &bytes, &stop);
    struct token *t = add(lx, T_CBLOB, lx->at, stop < lx->end ? stop + 1 : lx->end);
    t->dec = bytes;
    if (why != NULL) {
        vcl__err(lx->cc, "%s", why);
        vcl__err_at(lx->cc, t);
        return false;
    }
    lx->at = t->e;
    return true;
}

static bool lex_fixed(struct lexer *lx)
{
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (starts(lx, str_of(fixed[i].text))) {
            lx->at = add(lx, fixed[i].kind, lx->at, lx->at + 2)->e;
            return true;
        }
    }
    if (*lx->at != '\0' && strchr(SINGLES, *lx->at) != NULL) {
        lx->at = add(lx, (unsigned char)*lx->at, lx->at, lx->at + 1)->e;
        return true;
    }
    return false;
}

static bool lex_one(struct lexer *lx)
{
    if (*lx->at == ':') {
        return lex_blob(lx);
    }
    for (size_t i = 0; i < ARRAY_SIZE(delimited); i++) {
        if (starts(lx, delimited[i].open)) {
            return lex_delimited(lx, &delimited[i]);
        }
    }
    if (lex_fixed(lx)) {
        return true;
    }
    if (is_digit(*lx->at)) {
        return lex_number(lx);
    }
    const char *c = lx->at;
    if (is_name_start(*c)) {
        while (is_name(*c)) {
            c++;
        }
        lx->at = add(lx, T_ID, lx->at, c)->e;
        return true;
    }
    vcl__err(lx->cc, "Syntax error at\n");
    vcl__err_at(lx->cc, add(lx, T_EOI, lx->at, lx->at + 1));
    return false;
}

bool vcl__lex(struct cc *cc, const struct source *src, struct token_list *list)
{
    struct lexer lx = {.cc = cc,
                       .src = src,
                       .list = list,
                       .at = src->text.ptr,
                       .end = src->text.ptr + src->text.len};
    CHECK(*lx.end == '\0');
    while (lx.at < lx.end) {
        char c = *lx.at;
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            lx.at++;
        } else if (c == '#' || starts(&lx, STR("//"))) {
            skip_line(&lx);
        } else if (starts(&lx, STR("/*"))) {
            if (!skip_comment(&lx)) {
                return false;
            }
        } else if (!lex_one(&lx)) {
            return false;
        }
    }
    add(&lx, T_EOI, lx.end, lx.end);
    return true;
}
