/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Messages of the compiler, in the shape that Varnish's users know:
 *
 *     Symbol not found: 'foo'
 *     At: ('/etc/site.vcl' Line 4 Pos 28) -- (Pos 30)
 *             set req.http.x = foo;
 *     -------------------------###-
 *
 * Tabs are shown as blanks, so that the marks stand below what they mark.
 */
#include "vcl/cc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

void vcl__err(struct cc *cc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vcl__addv(&cc->out, fmt, ap);
    va_end(ap);
    cc->failed = true;
}

void vcl__warn(struct cc *cc)
{
    vcl__add(&cc->out, STR("(That was just a warning)\n"));
    cc->failed = false;
}

void vcl__err_token(struct cc *cc, const struct token *t)
{
    if (t->kind == T_EOI) {
        vcl__err(cc, "end of input");
    } else if (t->kind == T_CSRC) {
        vcl__err(cc, "C{ ... }C");
    } else {
        vcl__err(cc, "'%.*s'", STR_ARG(token_text(t)));
    }
}

void vcl__err_tokens(struct cc *cc, const struct token *t, const struct token *end)
{
    for (; t != NULL && t != end; t = t->next) {
        vcl__err(cc, "%.*s", STR_ARG(token_text(t)));
    }
}

struct place {
    const char *line_start;
    unsigned line;
    unsigned pos;
};

static struct place place_of(const struct source *src, const char *at)
{
    struct place p = {src->text.ptr, 1, 1};
    for (const char *c = src->text.ptr; c < at; c++) {
        if (*c == '\n') {
            p = (struct place){c + 1, p.line + 1, 1};
        } else if (*c == '\t') {
            p.pos = ((p.pos - 1) & ~7u) + 9;
        } else {
            p.pos++;
        }
    }
    return p;
}

void vcl__coord(const struct token *t, unsigned *line, unsigned *pos)
{
    struct place p = place_of(t->src, t->b);
    *line = p.line;
    *pos = p.pos;
}

static const char *line_end(const struct source *src, const char *at)
{
    const char *end = src->text.ptr + src->text.len;
    const char *nl = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    return nl == NULL ? end : nl;
}

/* The line that begins at `from`; below it marks for what lies between b and e. */
static void quote_line(struct cc *cc, const struct source *src, const char *from, const char *b,
                       const char *e)
{
    const char *end = line_end(src, from);
    struct cc_text marks = {0};
    unsigned column = 0;
    vcl__add(&marks, STR(""));
    for (const char *c = from; c < end; c++) {
        bool is_tab = *c == '\t';
        unsigned until = is_tab ? (column & ~7u) + 8 : column + 1;
        for (; column < until; column++) {
            vcl__add(&cc->out, is_tab ? STR(" ") : (struct str){c, 1});
            vcl__add(&marks, c >= b && c < e ? STR("#") : STR("-"));
        }
    }
    vcl__addf(&cc->out, "\n%s\n", marks.ptr);
    free(marks.ptr);
}

static void put_place(struct cc *cc, const struct source *src, struct place p)
{
    vcl__addf(&cc->out, "('%s' Line %u Pos %u)", src->name, p.line, p.pos);
}

void vcl__err_at(struct cc *cc, const struct token *t)
{
    struct place p = place_of(t->src, t->b);
    put_place(cc, t->src, p);
    vcl__add(&cc->out, STR("\n"));
    quote_line(cc, t->src, p.line_start, t->b, t->e);
    vcl__add(&cc->out, STR("\n"));
    cc->failed = true;
}

void vcl__err_span(struct cc *cc, const struct token *t, const struct token *end)
{
    const struct token *last = end->prev == NULL ? t : end->prev;
    if (last->src != t->src || last->b < t->b) {
        vcl__err_at(cc, t);
        return;
    }
    struct place one = place_of(t->src, t->b);
    struct place two = place_of(last->src, last->e - 1);
    put_place(cc, t->src, one);
    if (one.line == two.line) {
        vcl__addf(&cc->out, " -- (Pos %u)\n", two.pos);
        quote_line(cc, t->src, one.line_start, t->b, last->e);
    } else {
        bool is_adjacent = two.line == one.line + 1;
        if (is_adjacent) {
            vcl__add(&cc->out, STR(" -- "));
            put_place(cc, last->src, two);
        }
        vcl__add(&cc->out, STR("\n"));
        quote_line(cc, t->src, one.line_start, t->b, last->e);
        if (!is_adjacent) {
            vcl__add(&cc->out, STR("[...]\n"));
            put_place(cc, last->src, two);
            vcl__add(&cc->out, STR("\n"));
        }
        quote_line(cc, t->src, two.line_start, t->b, last->e);
    }
    vcl__add(&cc->out, STR("\n"));
    cc->failed = true;
}
