/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* ESI documents: which bytes of one are for the client, which are not, and where others go in.
 *
 * The document comes in pieces of any size, and what is said of it does not depend on them.  It
 * need not be well-formed: all that matters is where tags begin, so the parser is a machine over
 * single bytes with hardly any memory:
 *
 *     text ─ '<' ─> mark ─> other tag, comment, CDATA ─> text
 *                    └────> tag of ours (esi_tag.c) ───> text
 *
 * Behind a '<', and at dashes inside <!--esi, it cannot be told at once what a byte is.  These are
 * bytes of fixed words, so they are held, at most the longest word's length, and told of together.
 *
 * Everything that is not a tag of ours is kept, unless it stands inside <esi:remove>. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "filter/esi_priv.h"

/* Words behind which something begins; none is the begin of another. */
static const struct str words[] = {
    STR_INIT("<!--esi"), STR_INIT("<!---->"),   STR_INIT("</esi:"),
    STR_INIT("<esi:"),   STR_INIT("<![CDATA["),
};
enum { WORD_HIDDEN, WORD_EMPTY, WORD_END_TAG, WORD_TAG, WORD_CDATA, WORDS };
static const struct str word_comment = STR_INIT("<!--");

/* UTF-8's byte order mark; the second is what Varnish looks for. */
static const struct str marks[] = {STR_INIT("\xef\xbb\xbf"), STR_INIT("\xeb\xbb\xbf")};

struct esi_parser *esi_parser_new(struct str url, unsigned flags)
{
    struct esi_parser *p = xmalloc(sizeof *p);
    memset(p, 0, offsetof(struct esi_parser, value));
    p->magic = ESI_PARSER_MAGIC;
    p->base = url;
    p->flags = flags;
    return p;
}

void esi_parser_free(struct esi_parser **parser)
{
    if (*parser != NULL) {
        CHECK_OBJ(*parser, ESI_PARSER_MAGIC);
        XFREE(*parser);
    }
}

bool esi_parser_found(const struct esi_parser *p)
{
    CHECK_OBJ(p, ESI_PARSER_MAGIC);
    return p->has_found;
}

/* ---- events ---- */

void esi__push(struct esi_parser *p, const struct esi_event *event)
{
    CHECK(p->queue_len < sizeof p->queue / sizeof p->queue[0]);
    p->queue[p->queue_len++] = *event;
}

void esi__note(struct esi_parser *p, enum esi_weight weight, struct str text)
{
    struct esi_event event = {.kind = ESI_NOTE, .weight = weight, .text = text};
    /* What is plain is about the whole document. */
    event.after = weight == ESI_PLAIN ? 0 : p->since;
    esi__push(p, &event);
}

static struct esi_event run_of(struct esi_parser *p, bool keeps, struct str bytes)
{
    if (keeps != p->is_keeping || p->at == 0) {
        p->since = p->at;
        p->is_keeping = keeps;
    }
    p->at += bytes.len;
    return (struct esi_event){.kind = keeps ? ESI_KEEP : ESI_SKIP, .bytes = bytes};
}

static struct str take(struct str *in, size_t len)
{
    struct str head = {in->ptr, len};
    in->ptr += len;
    in->len -= len;
    return head;
}

static struct esi_event keep(struct esi_parser *p, struct str *in, size_t len)
{
    return run_of(p, !p->is_removing, take(in, len));
}

static struct esi_event tell_held(struct esi_parser *p, bool keeps)
{
    struct str bytes = {p->held, p->held_len};
    p->held_len = 0;
    return run_of(p, keeps, bytes);
}

/* ---- the begin of a document ---- */

/* How many bytes of the mark are held once c is there; 0: it is none. */
static unsigned mark_goes_on(const struct esi_parser *p, char c)
{
    for (size_t n = 0; n < 2; n++) {
        if (memcmp(marks[n].ptr, p->held, p->held_len) == 0 && marks[n].ptr[p->held_len] == c) {
            return p->held_len + 1;
        }
    }
    return 0;
}

static struct esi_event at_begin(struct esi_parser *p, struct str *in)
{
    unsigned len = (p->flags & ESI_REMOVE_BOM) != 0 ? mark_goes_on(p, in->ptr[0]) : 0;
    if (len == 0) {
        p->state = (p->flags & ESI_DISABLE_XML_CHECK) != 0 ? ESI_S_TEXT : ESI_S_CHECK;
        return p->held_len > 0 ? tell_held(p, true) : (struct esi_event){.kind = ESI_MORE};
    }
    p->held[p->held_len++] = take(in, 1).ptr[0];
    return len == marks[0].len ? tell_held(p, false) : (struct esi_event){.kind = ESI_MORE};
}

static struct esi_event at_check(struct esi_parser *p, struct str *in)
{
    size_t len = 0;
    while (len < in->len && esi__is_blank(in->ptr[len])) {
        len++;
    }
    if (len < in->len) {
        char c = in->ptr[len];
        p->state = c == '<' ? ESI_S_TEXT : ESI_S_NOT_XML;
        if (c == '\xef' || c == '\xeb') {
            esi__note(p, ESI_PLAIN,
                      STR("No ESI processing, first char not '<' but BOM."
                          " (See feature esi_remove_bom)"));
        } else if (c != '<') {
            esi__note(p, ESI_PLAIN,
                      STR("No ESI processing, first char not '<'."
                          " (See feature esi_disable_xml_check)"));
        }
    }
    return len > 0 ? keep(p, in, len) : (struct esi_event){.kind = ESI_MORE};
}

/* ---- text ---- */

/* The first byte at which something may begin or, inside <!--esi, end. */
static size_t plain_len(const struct esi_parser *p, struct str in)
{
    if (!p->is_armed) {
        return str_find(in, '<');
    }
    size_t len = 0;
    while (len < in.len && in.ptr[len] != '<' && in.ptr[len] != '-') {
        len++;
    }
    return len;
}

/* Dashes are held while they may be those of the end; of three the first is text. */
static struct esi_event at_dashes(struct esi_parser *p, struct str *in)
{
    char c = in->ptr[0];
    if (c == '-' && p->held_len < 2) {
        p->held[p->held_len++] = take(in, 1).ptr[0];
        return (struct esi_event){.kind = ESI_MORE};
    }
    if (c == '-') {
        (void)take(in, 1);
        return run_of(p, !p->is_removing, STR("-"));
    }
    if (c == '>' && p->held_len == 2) {
        p->held[p->held_len++] = take(in, 1).ptr[0];
        p->is_armed = false;
        p->has_found = true;
        return tell_held(p, false);
    }
    return tell_held(p, !p->is_removing);
}

static struct esi_event at_text(struct esi_parser *p, struct str *in)
{
    if (p->held_len > 0) {
        return at_dashes(p, in);
    }
    size_t len = plain_len(p, *in);
    if (len > 0) {
        return keep(p, in, len);
    }
    if (in->ptr[0] == '-') {
        return at_dashes(p, in);
    }
    p->held[p->held_len++] = take(in, 1).ptr[0];
    p->state = ESI_S_MARK;
    return (struct esi_event){.kind = ESI_MORE};
}

/* ---- behind '<' ---- */

/* The word that the held bytes and c are, or WORDS; *is_part: they may become one. */
static unsigned find_word(const struct esi_parser *p, char c, bool *is_part)
{
    *is_part = false;
    for (unsigned n = 0; n < WORDS; n++) {
        struct str word = words[n];
        if (word.len > p->held_len && memcmp(word.ptr, p->held, p->held_len) == 0 &&
            word.ptr[p->held_len] == c) {
            *is_part = true;
            if (word.len == p->held_len + 1) {
                return n;
            }
        }
    }
    return WORDS;
}

static struct esi_event begin_word(struct esi_parser *p, unsigned word)
{
    bool is_ours = word == WORD_HIDDEN || word == WORD_TAG || word == WORD_END_TAG;
    struct esi_event event = tell_held(p, !is_ours && !p->is_removing);
    if (word == WORD_HIDDEN) {
        if (p->is_removing) {
            esi__note(p, ESI_ERROR, STR("ESI 1.0 Nested <!--esi element in <esi:remove>"));
        }
        p->is_armed = true;
        p->state = ESI_S_TEXT;
    } else if (word == WORD_EMPTY) {
        p->state = ESI_S_TEXT;
    } else if (word == WORD_CDATA) {
        p->run = 0;
        p->state = ESI_S_CDATA;
    } else {
        if (!p->is_removing) {
            /* A tag right behind another one is told of by its own place. */
            p->since = p->at - event.bytes.len;
        }
        p->has_found = true;
        esi__tag_begin(p, word == WORD_END_TAG);
    }
    return event;
}

/* None of the words.  What is held may still be a comment's begin and some bytes of it. */
static void begin_other(struct esi_parser *p)
{
    struct str held = {p->held, p->held_len};
    if (!str_starts(held, word_comment)) {
        p->state = (p->flags & ESI_IGNORE_OTHER_ELEMENTS) != 0 ? ESI_S_TEXT : ESI_S_OTHER;
        return;
    }
    p->is_armed = false;
    p->state = ESI_S_COMMENT;
    p->run = 0;
    for (unsigned n = (unsigned)word_comment.len; n < p->held_len; n++) {
        p->run = p->held[n] == '-' ? p->run + 1 : 0;
    }
}

static struct esi_event at_mark(struct esi_parser *p, struct str *in)
{
    bool is_part;
    unsigned word = find_word(p, in->ptr[0], &is_part);
    if (is_part) {
        CHECK(p->held_len < sizeof p->held);
        p->held[p->held_len++] = take(in, 1).ptr[0];
        return word == WORDS ? (struct esi_event){.kind = ESI_MORE} : begin_word(p, word);
    }
    begin_other(p);
    return tell_held(p, !p->is_removing);
}

static struct esi_event at_other(struct esi_parser *p, struct str *in)
{
    size_t len = str_find(*in, '>');
    if (len < in->len) {
        len++;
        p->state = ESI_S_TEXT;
    }
    return keep(p, in, len);
}

/* Until two or more of `closer` with a '>' behind them. */
static struct esi_event at_closer(struct esi_parser *p, struct str *in, char closer)
{
    size_t len = 0;
    while (len < in->len) {
        char c = in->ptr[len++];
        if (c == '>' && p->run >= 2) {
            p->state = ESI_S_TEXT;
            break;
        }
        p->run = c == closer ? (p->run < 2 ? p->run + 1 : 2) : 0;
    }
    return keep(p, in, len);
}

static struct esi_event in_tag(struct esi_parser *p, struct str *in)
{
    size_t len = 0;
    while (len < in->len && p->state >= ESI_S_NAME && p->queue_len == 0) {
        len += esi__tag_byte(p, in->ptr[len]);
    }
    return len > 0 ? run_of(p, false, take(in, len)) : (struct esi_event){.kind = ESI_MORE};
}

static struct esi_event step(struct esi_parser *p, struct str *in)
{
    switch (p->state) {
    case ESI_S_BEGIN:
        return at_begin(p, in);
    case ESI_S_CHECK:
        return at_check(p, in);
    case ESI_S_NOT_XML:
        return keep(p, in, in->len);
    case ESI_S_TEXT:
        return at_text(p, in);
    case ESI_S_MARK:
        return at_mark(p, in);
    case ESI_S_OTHER:
        return at_other(p, in);
    case ESI_S_COMMENT:
        return at_closer(p, in, '-');
    case ESI_S_CDATA:
        return at_closer(p, in, ']');
    case ESI_S_NAME:
    case ESI_S_TAG:
    case ESI_S_ATTR:
    case ESI_S_DELIM:
    case ESI_S_VALUE:
    case ESI_S_TAG_LOST:
        break;
    }
    return in_tag(p, in);
}

/* ---- the end ---- */

static struct esi_event finish(struct esi_parser *p)
{
    if (p->state > ESI_S_TEXT) {
        esi__note(p, ESI_ERROR, STR("VEP ended inside a tag"));
    }
    p->state = ESI_S_NOT_XML;
    if (p->held_len > 0) {
        return tell_held(p, !p->is_removing);
    }
    return (struct esi_event){.kind = ESI_MORE};
}

static bool pop(struct esi_parser *p, struct esi_event *event)
{
    if (p->queue_at == p->queue_len) {
        p->queue_at = p->queue_len = 0;
        return false;
    }
    *event = p->queue[p->queue_at++];
    return true;
}

struct esi_event esi_parse(struct esi_parser *p, struct str *in, bool is_end)
{
    CHECK_OBJ(p, ESI_PARSER_MAGIC);
    struct esi_event event;
    while (!pop(p, &event)) {
        if (in->len > 0) {
            event = step(p, in);
        } else if (!is_end) {
            return (struct esi_event){.kind = ESI_MORE};
        } else {
            event = finish(p);
            if (event.kind == ESI_MORE && p->queue_len == 0) {
                return (struct esi_event){.kind = ESI_DONE};
            }
        }
        if (event.kind != ESI_MORE) {
            return event;
        }
    }
    return event;
}
