/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bodies of requests, as RFC 9112 frames them. */
#include "front/h1_priv.h"

/* What is read and thrown away so that a connection can go on. */
#define DRAIN_MAX_BYTES ((uint64_t)1 << 20)

void h1__body_begin(struct h1 *h1)
{
    const struct h1_body *body = &h1->head.body;
    h1->body_left = body->framing == H1_BODY_LENGTH ? body->bytes : 0;
    h1->body_done = body->framing == H1_BODY_NONE;
    h1->wants_continue = h1->head.expects_continue && !h1->body_done;
    if (body->framing == H1_BODY_CHUNKED) {
        h1_chunked_init(&h1->chunked, h1_limits_default.flags);
    }
}

static struct sock_limit read_limit(const struct h1 *h1)
{
    return (struct sock_limit){NEVER, param(h1->front->conf.params, timeout_idle)};
}

/* The client waits to be told that its body is wanted (RFC 9110 section 10.1.1). */
static YIELDS enum rc send_continue(struct h1 *h1)
{
    h1->wants_continue = false;
    if (h1->at < h1->fill) {
        return RC_OK;
    }
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char copy[sizeof text];
    memcpy(copy, text, sizeof text);
    struct iovec iov = {copy, sizeof text - 1};
    return sock_writev(&h1->sess->sock, &iov, 1, h1->send_limit, false, NULL);
}

static size_t take_buffered(struct h1 *h1, void *dst, size_t bytes)
{
    size_t have = h1->fill - h1->at;
    size_t n = have < bytes ? have : bytes;
    memcpy(dst, h1->buf + h1->at, n);
    h1->at += n;
    return n;
}

static YIELDS enum rc read_plain(struct h1 *h1, void *dst, size_t bytes, size_t *got)
{
    if (h1->at < h1->fill) {
        *got = take_buffered(h1, dst, bytes);
        return RC_OK;
    }
    return sock_read(&h1->sess->sock, dst, bytes, read_limit(h1), got);
}

static YIELDS enum rc read_length(struct h1 *h1, void *dst, size_t bytes, size_t *got)
{
    if (h1->body_left == 0) {
        return RC_EOF;
    }
    size_t want = bytes < h1->body_left ? bytes : (size_t)h1->body_left;
    enum rc rc = read_plain(h1, dst, want, got);
    if (rc == RC_OK) {
        CHECK(*got <= h1->body_left);
        h1->body_left -= *got;
    }
    return rc == RC_EOF ? RC_RESET : rc;
}

/* Chunk heads go through the buffer, behind the request's head, which is still in use. */
static YIELDS enum rc read_chunked(struct h1 *h1, void *dst, size_t bytes, size_t *got)
{
    for (;;) {
        uint64_t due = h1_chunked_due(&h1->chunked);
        if (due > 0) {
            enum rc rc = read_plain(h1, dst, bytes < due ? bytes : (size_t)due, got);
            if (rc == RC_OK) {
                h1_chunked_took(&h1->chunked, *got);
            }
            return rc == RC_EOF ? RC_RESET : rc;
        }
        if (h1->at == h1->fill) {
            h1->at = h1->fill = h1->head_end;
            size_t more = 0;
            enum rc rc = sock_read(&h1->sess->sock, h1->buf + h1->fill, h1->cap - h1->fill,
                                   read_limit(h1), &more);
            if (rc != RC_OK) {
                return rc == RC_EOF ? RC_RESET : rc;
            }
            h1->fill += more;
        }
        /* No more than fits dst, so that the run of data does too. */
        size_t have = h1->fill - h1->at;
        struct str in = {h1->buf + h1->at, have < bytes ? have : bytes};
        size_t used = 0;
        struct str data = STR_NONE;
        enum rc rc = h1_chunked_next(&h1->chunked, in, &used, &data);
        h1->at += used;
        if (rc == RC_OK) {
            memcpy(dst, data.ptr, data.len);
            *got = data.len;
        }
        if (rc != RC_AGAIN) {
            return rc;
        }
    }
}

enum rc h1__body(struct request *req, void *buf, size_t bytes, size_t *got)
{
    struct h1 *h1 = h1__of(req);
    CHECK(bytes > 0);
    if (h1->body_done) {
        return RC_EOF;
    }
    enum rc rc = h1->wants_continue ? send_continue(h1) : RC_OK;
    if (rc == RC_OK) {
        rc = h1->head.body.framing == H1_BODY_CHUNKED ? read_chunked(h1, buf, bytes, got)
                                                      : read_length(h1, buf, bytes, got);
    }
    if (rc == RC_OK) {
        req->bytes.req_body += *got;
    }
    h1->body_done = rc == RC_EOF;
    return rc;
}

enum rc h1__body_drain(struct h1 *h1)
{
    if (h1->wants_continue) {
        /* It was never told to send; what it sends now could be a body or a request. */
        return RC_LIMIT;
    }
    uint64_t drained = 0;
    while (!h1->body_done && drained <= DRAIN_MAX_BYTES) {
        char *block = arena_alloc(&h1->arena, 4096);
        if (block == NULL) {
            return RC_LIMIT;
        }
        size_t mark = arena_mark(&h1->arena) - 4096;
        size_t got = 0;
        enum rc rc = h1__body(&h1->req, block, 4096, &got);
        arena_rewind(&h1->arena, mark);
        if (rc != RC_OK && rc != RC_EOF) {
            return rc;
        }
        drained += got;
    }
    return h1->body_done ? RC_OK : RC_LIMIT;
}
