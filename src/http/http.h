/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* HTTP messages: a head is a table of borrowed text.  The room's door; the other headers are
 *   h1.h              HTTP/1 on the wire: parsers, framing, chunks, builders
 *   http_list.h       comma lists, tokens, q-values
 *   http_date.h       dates
 *   http_cache.h      Cache-Control and freshness
 *   http_condition.h  ranges, entity tags, conditions
 * Nothing here does I/O, allocates from the heap or keeps state; nothing Yields. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/arena.h"
#include "base/rc.h"
#include "base/str.h"

/* The header fields of headers.def; HDR_OTHER is every other name. */
enum http_hdr_id {
    HDR_OTHER,
#define HDR(slot, id, name, flags) HDR_##id,
#include "http/headers.def"
#undef HDR
    HDR__COUNT
};

enum http_method {
    HTTP_M_OTHER,
#define METHOD(name, is_safe) HTTP_M_##name,
#include "http/methods.def"
#undef METHOD
    HTTP_M__COUNT
};

struct http_hdr {
    struct str name;  /* as received */
    struct str value; /* without blanks around it; contains no control character but TAB */
    uint8_t id;       /* enum http_hdr_id */
    bool is_hop;      /* http_connection() found its name in Connection */
};

/* A request or response head.  Text is borrowed: it must live as long as the struct is used (in
 * the receive buffer, an arena, or static).  2.6 KiB with 64 fields: it belongs in an arena. */
struct http {
    struct str method; /* requests */
    struct str url;    /* requests */
    struct str proto;  /* "HTTP/1.1" */
    struct str reason; /* responses */
    uint16_t status;   /* responses; 0 in requests */
    uint8_t version;   /* 10, 11, 20 */
    uint8_t method_id; /* enum http_method */
    uint16_t count;    /* of header fields */
    uint16_t cap;      /* how many the table holds */
    uint64_t
        known[2]; /* bit n: there may be a field with id n, and without the bit there is none */
    struct http_hdr *hdr;
};

/* An empty head with room for `cap` fields; borrows table. */
void http_init(struct http *h, struct http_hdr *table, unsigned cap);

/* The same, head and table from the arena; NULL when it is full. */
struct http *http_new(struct arena *a, unsigned cap);

/* Empty again, same table. */
void http_reset(struct http *h);

/* --- looking --- */

static inline bool http_has(const struct http *h, enum http_hdr_id id)
{
    return (h->known[id >> 6] >> (id & 63) & 1) != 0;
}

/* The first field with this id (not HDR_OTHER) or name (any case): borrows, NULL when absent. */
const struct http_hdr *http_find(const struct http *h, enum http_hdr_id id);
const struct http_hdr *http_find_name(const struct http *h, struct str name);

/* Its value; STR_NONE when absent, a pointer with length 0 when empty. */
struct str http_get(const struct http *h, enum http_hdr_id id);
struct str http_get_name(const struct http *h, struct str name);

/* How many fields have this id. */
unsigned http_count(const struct http *h, enum http_hdr_id id);

/* --- changing; every function borrows name and value ---
 * RC_LIMIT when the table is full, RC_INVALID when the text could not be sent as it is (control
 * characters, or a name that is no token): header injection ends here.  Nothing changed then. */

/* One field with this value remains, where the first one stood. */
MUST_USE enum rc http_set(struct http *h, enum http_hdr_id id, struct str value);
MUST_USE enum rc http_set_name(struct http *h, struct str name, struct str value);

/* One field more, at the end. */
MUST_USE enum rc http_add(struct http *h, enum http_hdr_id id, struct str value);
MUST_USE enum rc http_add_name(struct http *h, struct str name, struct str value);

/* As http_set and http_add for text that is ours, and so well-formed and without blanks around it:
 * numbers, dates, constants.  RC_LIMIT. */
MUST_USE enum rc http_set_own(struct http *h, enum http_hdr_id id, struct str value);
MUST_USE enum rc http_add_own(struct http *h, enum http_hdr_id id, struct str value);

/* All fields with this id or name are gone. */
void http_unset(struct http *h, enum http_hdr_id id);
void http_unset_name(struct http *h, struct str name);

/* Several fields of this id become one, values joined by ", ", built in the arena (RFC 9110
 * section 5.3).  RC_LIMIT when it is full.  Never for Set-Cookie. */
MUST_USE enum rc http_join(struct http *h, enum http_hdr_id id, struct arena *a);

/* RC_INVALID when it is no token; the URL: when it contains blanks or control characters. */
MUST_USE enum rc http_set_method(struct http *h, struct str method);
MUST_USE enum rc http_set_url(struct http *h, struct str url);
MUST_USE enum rc http_set_reason(struct http *h, struct str reason);

/* Status (100..999) and its usual reason; proto becomes HTTP/1.1. */
void http_set_status(struct http *h, unsigned status);

/* --- Connection --- */

enum {
    HTTP_CONN_CLOSE = 1,      /* says close */
    HTTP_CONN_KEEP_ALIVE = 2, /* says keep-alive */
    HTTP_CONN_UPGRADE = 4,    /* says upgrade */
    HTTP_CONN_BAD = 8 /* lists an end-to-end field, which is not stripped: refuse the message */
};

/* Reads all Connection fields: marks the fields named there as is_hop (those of headers.def that
 * are end-to-end never: Host, Content-Length, Cookie, ...) and returns HTTP_CONN_ bits. */
unsigned http_connection(struct http *h);

/* Whether the connection goes on after this message: HTTP/1.1 without "close", 1.0 only with
 * "keep-alive" (RFC 9112 section 9.3). */
bool http_keep_alive(const struct http *h, unsigned conn_bits);

/* --- copying --- */

/* What a copy leaves out, by the flags in headers.def; all but HTTP_COPY_ALL also leave out is_hop.
 */
enum http_copy {
    HTTP_COPY_ALL,
    HTTP_COPY_FETCH,      /* client request -> backend request of a cacheable miss */
    HTTP_COPY_PASS,       /* client request -> backend request of a pass */
    HTTP_COPY_STORE,      /* backend response -> stored object */
    HTTP_COPY_STORE_PASS, /* backend response -> response that is passed on */
    HTTP_COPY_PIPE        /* client request -> the head of a pipe: only is_hop is left out */
};

/* Makes dst (initialised; its table is kept) a copy of src that borrows the same text.
 * RC_LIMIT when dst's table is too small. */
MUST_USE enum rc http_copy(struct http *dst, const struct http *src, enum http_copy how);

/* Copies all text that h refers to into the arena, so that the receive buffer can go.
 * RC_LIMIT when it is full: h is then unchanged. */
MUST_USE enum rc http_own(struct http *h, struct arena *a);

/* The head of a response as bytes for storage (format: pack.c), and back.  http_unpack borrows text
 * from `packed`; RC_DAMAGED, or RC_LIMIT when h's table is too small. */
void http_pack(struct sb *sb, const struct http *h);
/* Out of what http_pack made, without unpacking: the status as three digits; the first field with
 * this name (any case), STR_NONE when absent, a borrow of packed. */
void http_packed_status(struct str packed, char digits[static 3]);
struct str http_packed_get(struct str packed, struct str name);
MUST_USE enum rc http_unpack(struct http *h, struct str packed);

/* --- tables and character classes --- */

enum http_hdr_id http_hdr_id(struct str name);    /* any case; HDR_OTHER when not in headers.def */
struct str http_hdr_name(enum http_hdr_id id);    /* as written in headers.def; not for HDR_OTHER */
bool http_hdr_is_hop(enum http_hdr_id id);        /* flag K */
enum http_method http_method_id(struct str name); /* case matters (RFC 9110 section 9.1) */
bool http_method_is_safe(enum http_method method);
struct str http_reason(unsigned status); /* "Unknown HTTP Status" for what has none */

bool http_is_token(struct str s); /* RFC 9110 section 5.6.2: not empty */
bool http_is_value(struct str s); /* field value: no control characters but TAB */
bool http_is_url(struct str s);   /* not empty, no blanks, no control characters */
bool http_is_host(
    struct str s); /* uri-host [":" port] of RFC 9110 section 7.2; bytes >= 0x80 too */

#endif
