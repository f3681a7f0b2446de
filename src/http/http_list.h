/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Comma lists in header fields (RFC 9110 section 5.6.1), quoted strings respected. */
#ifndef HTTP_HTTP_LIST_H
#define HTTP_HTTP_LIST_H

#include "http/http.h"

/* Cuts the next member of a list off *rest: trimmed, never empty (empty members are skipped).
 * A `sep` inside a quoted string does not separate; an unclosed quote runs to the end.
 * False at the end of the list. */
bool http_list_next(struct str *rest, char sep, struct str *member);

/* All members of all fields of one id, in order:
 *     struct http_members it = http_members(h, HDR_VARY);
 *     while (http_members_next(&it, &member)) { ... } */
struct http_members {
    const struct http *h;
    struct str rest;
    uint16_t next;
    uint8_t id;
};
struct http_members http_members(const struct http *h, enum http_hdr_id id);
bool http_members_next(struct http_members *it, struct str *member);

/* Splits a member: "max-age=60" is {max-age, 60}; *value is STR_NONE without "=", and loses its
 * quotes (not its backslashes). *name ends at the first "=", ";" or blank. */
void http_split_member(struct str member, struct str *name, struct str *value);

/* Whether a list has this token (any case), with or without parameters. */
bool http_has_token(const struct http *h, enum http_hdr_id id, struct str token);

/* The weight of a token in thousandths (RFC 9110 section 12.4.2): 0 when absent or malformed, 1000
 * without a "q". */
unsigned http_qvalue(const struct http *h, enum http_hdr_id id, struct str token);

#endif
