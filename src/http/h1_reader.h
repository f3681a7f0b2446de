/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Where a body ends and what of it is content, for whoever reads one from a connection: a request's
 * or a response's.  Pure: bytes come from the caller, in any pieces.
 *
 *     for (;;) {
 *         rc = h1_reader_take(r, what came and was not used, &used, dst, bytes, &got);
 *         if (rc != RC_AGAIN) { return rc; }
 *         direct = h1_reader_direct(r, bytes);
 *         if (direct > 0) { read up to `direct` bytes to dst; h1_reader_took(r, how many); return }
 *         else            { read some into a buffer of one's own, and go on }
 *         at the end of the stream: return h1_reader_end(r)
 *     }
 *
 * Content that has not come yet goes straight to its place; only what is between runs of content
 * (chunk heads, trailers) has to pass through a buffer. */
#ifndef HTTP_H1_READER_H
#define HTTP_H1_READER_H

#include "http/h1.h"

struct h1_reader {
    enum h1_framing framing;
    uint64_t left; /* of H1_BODY_LENGTH */
    struct h1_chunked chunked;
    bool is_done; /* the orderly end was seen */
};

/* `flags`: as for h1_chunked_init. */
void h1_reader_init(struct h1_reader *r, const struct h1_body *body, uint32_t flags);

/* Content from `in` to dst, at least one byte and at most `bytes` (> 0).  *used of `in` was taken,
 * whatever is returned.  RC_OK; RC_AGAIN: more is needed; RC_EOF: the body ended, what is behind
 * *used is not its own; RC_MALFORMED, RC_TOO_LONG: h1_reader_error says why. */
MUST_USE enum rc h1_reader_take(struct h1_reader *r, struct str in, size_t *used, void *dst,
                                size_t bytes, size_t *got);

/* After RC_AGAIN: how many bytes may be read straight to dst; 0: they have to be looked at. */
size_t h1_reader_direct(const struct h1_reader *r, size_t bytes);
void h1_reader_took(struct h1_reader *r, size_t got);

/* The peer ended the stream: RC_EOF when that is how this body ends, else RC_RESET. */
MUST_USE enum rc h1_reader_end(struct h1_reader *r);

/* H1_ERR_NONE when nothing is wrong with it. */
enum h1_error h1_reader_error(const struct h1_reader *r);

#endif
