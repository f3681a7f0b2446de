/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of http/ share. */
#ifndef HTTP_HTTP_PRIV_H
#define HTTP_HTTP_PRIV_H

#include "http/http.h"

/* Classes of characters, one bit each. */
enum {
    HTTP__TCHAR = 1,  /* RFC 9110 section 5.6.2 */
    HTTP__VALUE = 2,  /* TAB, and all but control characters (section 5.5, with obs-text) */
    HTTP__URL = 4,    /* neither blank nor control character */
    HTTP__HOST = 8,   /* reg-name of RFC 3986 and bytes >= 0x80; no ":", "[", "]" */
    HTTP__BLANK = 16, /* SP, TAB */
    HTTP__DIGIT = 32
};
extern const uint8_t http__class[256];

static inline bool http__is(char c, unsigned classes)
{
    return (http__class[(unsigned char)c] & classes) != 0;
}

/* The first of [at, end) that is no HTTP__VALUE (http__end_of_value) or no HTTP__URL, or end. */
const char *http__end_of_value(const char *at, const char *end);
const char *http__end_of_url(const char *at, const char *end);

/* Flags of headers.def. */
enum { HTTP__P = 1, HTTP__F = 2, HTTP__I = 4, HTTP__S = 8, HTTP__K = 16, HTTP__ONCE = 32 };
uint8_t http__hdr_flags(enum http_hdr_id id);

/* A delta-seconds: saturates at HTTP_CC_MAX_S; false when it is none. */
bool http__seconds(struct str s, uint32_t *seconds);

/* The slot that a name has to have in headers.def; not empty. */
unsigned http__hdr_slot(struct str name);

static inline void http__mark(struct http *h, unsigned id)
{
    h->known[id >> 6] |= UINT64_C(1) << (id & 63);
}

/* Appends a field that is known to be well-formed; false when the table is full. */
static inline bool http__append(struct http *h, struct str name, struct str value, unsigned id)
{
    if (UNLIKELY(h->count == h->cap)) {
        return false;
    }
    h->hdr[h->count++] =
        (struct http_hdr){.name = name, .value = value, .id = (uint8_t)id, .is_hop = false};
    http__mark(h, id);
    return true;
}

#endif
