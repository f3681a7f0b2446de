/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* HTTP/1 on the wire (RFC 9112): heads, framing, chunks, builders.  What is accepted, normalised
 * and refused is listed in docs/formats/http1.md.  Pure; nothing Yields. */
#ifndef HTTP_H1_H
#define HTTP_H1_H

#include "base/sb.h"
#include "http/http.h"

enum h1_error {
#define H1_ERROR(name, rc, status, text) H1_ERR_##name,
#include "http/h1_errors.def"
#undef H1_ERROR
    H1_ERR__COUNT
};

const char *h1_error_text(enum h1_error e); /* for logs, as in Varnish's BogoHeader */
unsigned h1_error_status(enum h1_error e);  /* what to answer a client; a backend's is 503 */
enum rc h1_error_rc(enum h1_error e);

/* What is tolerated beyond RFC 9112's grammar, and then normalised.  Flags 0 is strict. */
enum {
    H1_BARE_LF = 1,       /* line ends without CR (RFC 9112 section 2.2) */
    H1_LEADING_BLANK = 2, /* empty lines and blanks before a start line (section 2.2) */
    H1_OBS_FOLD = 4,      /* folded fields, unfolded in place with spaces (section 5.2) */
    H1_START_BLANKS = 8,  /* several blanks or TABs between parts of a start line (section 3) */
    H1_PROTO_CASE = 16,   /* "http/1.1" (section 2.3) */
    H1_NO_HOST = 32, /* HTTP/1.1 without Host, which is then policy's to refuse (section 3.2) */
    H1_ANY_URL =
        64, /* request targets that do not begin with "/", bytes >= 0x80, "#" (section 3.2) */
    H1_HTTPS_SCHEME = 128, /* split https:// like http://; also done when H1_ANY_URL is off */
    H1_CHUNK_BLANKS = 256, /* blanks between chunk size and line end (section 7.1) */
    H1_NEWER_MINOR = 512,  /* responses of HTTP/1.2 to 1.9, read as 1.1 (section 2.3) */
    /* As Varnish 7.1 does by default. */
    H1_VARNISH = 1 | 2 | 4 | 8 | 16 | 32 | 64 | 256 | 512
};

/* The flags for a daemon's settings: http_strict, and feature +https_scheme. */
uint32_t h1_flags(bool is_strict, bool splits_https);

struct h1_limits {
    uint32_t head_bytes;  /* the whole head (http_req_size, http_resp_size) */
    uint32_t start_bytes; /* the start line */
    uint32_t hdr_bytes;   /* one field, unfolded (http_req_hdr_len, http_resp_hdr_len) */
    uint32_t flags;       /* H1_ bits */
};                        /* the number of fields is limited by the table of the struct http */

/* 32 KiB, 32 KiB, 8 KiB, H1_VARNISH: Varnish's defaults. */
extern const struct h1_limits h1_limits_default;

/* How the length of a body is known (RFC 9112 section 6.3). */
enum h1_framing {
    H1_BODY_NONE,
    H1_BODY_LENGTH, /* never 0 bytes: that is NONE */
    H1_BODY_CHUNKED,
    H1_BODY_EOF,  /* responses only: until the connection ends */
    H1_BODY_ERROR /* refuse the message and close the connection */
};

struct h1_body {
    enum h1_framing framing;
    enum h1_error error; /* when framing is H1_BODY_ERROR */
    uint64_t bytes;      /* when framing is H1_BODY_LENGTH */
};

struct h1_head {
    size_t consumed;       /* bytes of the buffer that belong to the head, when RC_OK */
    enum h1_error error;   /* when refused */
    unsigned conn;         /* HTTP_CONN_ bits; named fields are marked is_hop */
    struct h1_body body;   /* requests only; for responses ask h1_response_framing() */
    bool expects_continue; /* requests: Expect: 100-continue */
};

/* Parses a head from buf[0..len), of which the first `seen` bytes were there already when an
 * earlier call said RC_AGAIN (0 in the first call): nothing is scanned again until a line is whole.
 * The result is a function of the bytes, not of how they were split over calls; a verdict falls at
 * the latest when the line it is about is whole, or a limit is reached. h (initialised, emptied by
 * each call) borrows from buf, which may be moved between calls; buf is changed only by unfolding
 * and by splitting an absolute URL. RC_OK: the head is whole, and safe to forward as it stands in
 * h: only normalised text.  Fields that Connection names, and a request's Expect, are is_hop:
 * copies leave them out. RC_AGAIN: more bytes are needed; h is empty.  At the peer's end of stream
 * with len 0, or nothing but blanks (h1_is_blank), it left between messages. RC_MALFORMED,
 * RC_TOO_LONG, RC_UNSUPPORTED: head->error says why; answer h1_error_status() and close the
 * connection, since nobody knows where the next message would begin. */
MUST_USE enum rc h1_parse_request(struct http *h, char *buf, size_t len, size_t seen,
                                  const struct h1_limits *limits, struct h1_head *head);
MUST_USE enum rc h1_parse_response(struct http *h, char *buf, size_t len, size_t seen,
                                   const struct h1_limits *limits, struct h1_head *head);

/* Only CR, LF, SP and TAB: what may stand between two requests. */
bool h1_is_blank(const char *buf, size_t len);

/* Framing as a function of the head alone; h1_parse_request has called it already. */
struct h1_body h1_request_framing(const struct http *req);

/* `method` is that of the request.  HEAD, 1xx, 204, 304 and 2xx to CONNECT have no body, whatever
 * their fields say; those are checked even so. */
struct h1_body h1_response_framing(const struct http *resp, enum http_method method);

/* --- chunked bodies (RFC 9112 section 7.1) --- */

struct h1_chunked {
    uint64_t left;      /* bytes of the current chunk still to come */
    uint64_t size;      /* of the chunk whose size line is being read */
    uint32_t ext_bytes; /* of extensions so far, over the whole body */
    uint32_t trailer_bytes;
    uint16_t flags; /* H1_CHUNK_BLANKS */
    uint8_t state;
    uint8_t digits; /* of the current chunk size */
    enum h1_error error;
};

enum {
    H1_EXT_MAX = 4096,    /* bytes of chunk extensions in one body */
    H1_TRAILER_MAX = 8192 /* bytes of trailers; they are checked and dropped */
};

void h1_chunked_init(struct h1_chunked *c, uint32_t flags);

/* Takes bytes up to and including the next run of chunk data.  *used: how many of `in` it took;
 * *data: the run, borrowed from `in`.
 * RC_OK: *data is not empty.  RC_AGAIN: all taken, no data, more is needed.
 * RC_EOF: the body and its trailers ended with in[*used - 1]; later bytes are the next message's.
 * RC_MALFORMED, RC_TOO_LONG: c->error says why; sticks. */
MUST_USE enum rc h1_chunked_next(struct h1_chunked *c, struct str in, size_t *used,
                                 struct str *data);

/* Bytes of chunk data due next (0 elsewhere than inside a chunk), for those who would read them
 * straight to where they belong and then say how many they took. */
static inline uint64_t h1_chunked_due(const struct h1_chunked *c)
{
    return c->left;
}
void h1_chunked_took(struct h1_chunked *c, uint64_t bytes);

enum { H1_CHUNK_HEAD_MAX = 18 };

/* Writes "<hex>\r\n" for a chunk of bytes > 0; returns its length.  The data is followed by
 * H1_CHUNK_TAIL, the last chunk's data by H1_CHUNK_TAIL H1_CHUNK_END. */
size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], uint64_t bytes);
#define H1_CHUNK_TAIL "\r\n"
#define H1_CHUNK_END "0\r\n\r\n"

/* --- building; the sb's overflow says whether all fitted --- */

/* Start line, fields, empty line.  The start line always says HTTP/1.1. */
void h1_build_request(struct sb *sb, const struct http *req);
void h1_build_response(struct sb *sb, const struct http *resp);
/* With another protocol in the start line: a pipe speaks the client's. */
void h1_build_request_as(struct sb *sb, const struct http *req, struct str proto);

/* The parts, for those who add to a head as they write it. */
void h1_build_status(struct sb *sb, unsigned status, struct str reason);
void h1_build_fields(struct sb *sb, const struct http *h);
void h1_build_field(struct sb *sb, struct str name, struct str value);

/* A bound of what h1_build_request or h1_build_response will write. */
size_t h1_build_bytes(const struct http *h);

#endif
