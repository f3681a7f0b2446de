/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the parser's two halves share: documents (esi_parse.c) and tags (esi_tag.c). */
#ifndef FILTER_ESI_PRIV_H
#define FILTER_ESI_PRIV_H

#include "filter/esi.h"

enum esi_state {
    ESI_S_BEGIN,    /* a byte order mark may come */
    ESI_S_CHECK,    /* blanks, then the first character */
    ESI_S_NOT_XML,  /* no ESI in here */
    ESI_S_TEXT,     /* until a tag */
    ESI_S_MARK,     /* behind '<': which tag it is */
    ESI_S_OTHER,    /* in a tag that is none of ours */
    ESI_S_COMMENT,  /* until --> */
    ESI_S_CDATA,    /* until ]]> */
    ESI_S_NAME,     /* behind <esi: */
    ESI_S_TAG,      /* between attributes */
    ESI_S_ATTR,     /* in an attribute's name */
    ESI_S_DELIM,    /* behind its '=' */
    ESI_S_VALUE,    /* in its value */
    ESI_S_TAG_LOST, /* an erroneous tag, until '>' */
};

enum esi_element { ESI_E_INCLUDE, ESI_E_REMOVE, ESI_E_COMMENT };

struct esi_parser {
    uint32_t magic;
    enum esi_state state;
    unsigned flags;
    struct str base;
    uint64_t at;      /* bytes that an event was made of */
    uint64_t since;   /* where the present run of kept or skipped bytes begins */
    bool is_keeping;  /* ... and which of both it is */
    bool has_found;   /* anything of ESI */
    bool is_removing; /* inside <esi:remove> */
    bool is_armed;    /* inside <!--esi: --> is skipped */
    /* Bytes that cannot be told yet: the begin of a tag, dashes; literally, so they stay few. */
    unsigned held_len;
    char held[16];
    unsigned run; /* of dashes or brackets just seen, for the ends of comments and CDATA */
    /* The tag. */
    enum esi_element element;
    bool is_end_tag;
    bool is_empty; /* it ends in "/>" */
    bool may_attr; /* a blank was there */
    bool is_value_kept;
    char delim;
    unsigned name_len; /* of name: of the element or the attribute; more is not looked at */
    char name[8];
    bool has_src;
    bool goes_on;
    size_t value_len;
    size_t src_len;
    /* What is to be told before more is taken. */
    unsigned queue_at, queue_len;
    struct esi_event queue[4];
    char value[ESI_VALUE_MAX];
    char src[ESI_VALUE_MAX];
    char url[ESI_URL_MAX];
};
#define ESI_PARSER_MAGIC 0x6b21f0d3u

/* One byte of a tag of ours, which is skipped.  False: it is to be looked at again in the new
 * state. */
bool esi__tag_byte(struct esi_parser *parser, char c);
void esi__tag_begin(struct esi_parser *parser, bool is_end_tag);

void esi__note(struct esi_parser *parser, enum esi_weight weight, struct str text);
void esi__push(struct esi_parser *parser, const struct esi_event *event);

static inline bool esi__is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Whether a text may stand in a request's head: no byte of it ends a line, or a word in it. */
static inline bool esi__is_clean(struct str s)
{
    for (size_t n = 0; n < s.len; n++) {
        unsigned char u = (unsigned char)s.ptr[n];
        if (u <= 0x20 || u == 0x7f) {
            return false;
        }
    }
    return true;
}

#endif
