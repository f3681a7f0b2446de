/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bodies as RFC 9112 section 6 frames them; see the door for how it is used.
 *
 * Content is never taken past the end of the body: neither from what has come (bytes behind it
 * belong to the next message) nor by asking the peer for more than is due. */
#include "http/h1_reader.h"

#include "base/check.h"

void h1_reader_init(struct h1_reader *r, const struct h1_body *body, uint32_t flags)
{
    *r = (struct h1_reader){
        .framing = body->framing,
        .left = body->framing == H1_BODY_LENGTH ? body->bytes : 0,
        .is_done = body->framing == H1_BODY_NONE,
    };
    h1_chunked_init(&r->chunked, flags);
    if (body->framing == H1_BODY_ERROR) {
        r->chunked.error = body->error;
    }
}

static uint64_t due(const struct h1_reader *r)
{
    switch (r->framing) {
    case H1_BODY_LENGTH:
        return r->left;
    case H1_BODY_CHUNKED:
        return h1_chunked_due(&r->chunked);
    case H1_BODY_EOF:
        return UINT64_MAX;
    case H1_BODY_NONE:
    case H1_BODY_ERROR:
        break;
    }
    return 0;
}

static size_t at_most(uint64_t due, size_t bytes)
{
    return due < bytes ? (size_t)due : bytes;
}

size_t h1_reader_direct(const struct h1_reader *r, size_t bytes)
{
    return r->is_done ? 0 : at_most(due(r), bytes);
}

void h1_reader_took(struct h1_reader *r, size_t got)
{
    CHECK(got <= due(r));
    if (r->framing == H1_BODY_LENGTH) {
        r->left -= got;
    } else if (r->framing == H1_BODY_CHUNKED) {
        h1_chunked_took(&r->chunked, got);
    }
}

static enum rc take_plain(struct h1_reader *r, struct str in, size_t *used, void *dst, size_t bytes,
                          size_t *got)
{
    if (in.len == 0) {
        return RC_AGAIN;
    }
    *got = at_most(due(r), in.len < bytes ? in.len : bytes);
    memcpy(dst, in.ptr, *got);
    *used = *got;
    h1_reader_took(r, *got);
    return RC_OK;
}

static enum rc take_chunked(struct h1_reader *r, struct str in, size_t *used, void *dst,
                            size_t bytes, size_t *got)
{
    struct str data = STR_NONE;
    enum rc rc = RC_AGAIN;
    /* No more than fits dst at a time, so that a run of content does too. */
    while (rc == RC_AGAIN && *used < in.len) {
        size_t step = 0;
        struct str piece = {in.ptr + *used, at_most(in.len - *used, bytes)};
        rc = h1_chunked_next(&r->chunked, piece, &step, &data);
        *used += step;
    }
    if (rc == RC_OK) {
        memcpy(dst, data.ptr, data.len);
        *got = data.len;
    }
    r->is_done = rc == RC_EOF;
    return rc;
}

enum rc h1_reader_take(struct h1_reader *r, struct str in, size_t *used, void *dst, size_t bytes,
                       size_t *got)
{
    CHECK(bytes > 0);
    *used = 0;
    *got = 0;
    if (r->framing == H1_BODY_LENGTH && r->left == 0) {
        r->is_done = true;
    }
    if (r->is_done) {
        return RC_EOF;
    }
    switch (r->framing) {
    case H1_BODY_CHUNKED:
        return take_chunked(r, in, used, dst, bytes, got);
    case H1_BODY_LENGTH:
    case H1_BODY_EOF:
        return take_plain(r, in, used, dst, bytes, got);
    case H1_BODY_NONE:
    case H1_BODY_ERROR:
        break;
    }
    return h1_error_rc(r->chunked.error);
}

enum rc h1_reader_end(struct h1_reader *r)
{
    r->is_done = r->is_done || r->framing == H1_BODY_EOF;
    return r->is_done ? RC_EOF : RC_RESET;
}

enum h1_error h1_reader_error(const struct h1_reader *r)
{
    return r->chunked.error;
}
