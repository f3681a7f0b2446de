/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bodies of requests, as RFC 9112 frames them. */
#include "front/h1_priv.h"

/* What is read and thrown away so that a connection can go on. */
#define DRAIN_MAX_BYTES ((uint64_t)1 << 20)

void h1__body_begin(struct h1 *h1)
{
    h1_reader_init(&h1->body, &h1->head.body, h1->flags);
    h1->body_waited_ns = 0;
    /* A client that sent its body at once waits for nothing. */
    h1->wants_continue = h1->head.expects_continue && !h1->body.is_done && h1->at == h1->fill;
}

/* A body may trickle, but not for ever.  What counts is the time that we wait for the client, and
 * not that in which the backend takes what has come. */
static uint64_t patience_ns(const struct h1 *h1)
{
    const struct params *p = h1->front->conf.params;
    uint64_t rate = param(p, req_body_min_rate);
    if (rate == 0) {
        return NEVER;
    }
    uint64_t earned_ns = h1->req.bytes.req_body / rate * NS_PER_S;
    uint64_t all_ns = clock_after(earned_ns, param(p, timeout_req_body));
    return all_ns > h1->body_waited_ns ? all_ns - h1->body_waited_ns : 0;
}

/* As sock_read, for the bytes of a body. */
static YIELDS enum rc receive(struct h1 *h1, void *dst, size_t bytes, size_t *got)
{
    uint64_t from_ns = clock_mono_ns();
    struct sock_limit lim = {clock_after(from_ns, patience_ns(h1)),
                             param(h1->front->conf.params, timeout_idle)};
    enum rc rc = sock_read(&h1->sess->sock, dst, bytes, lim, got);
    h1->body_waited_ns += clock_mono_ns() - from_ns;
    if (rc == RC_TIMEOUT) {
        engine_objm_counters(h1->front->conf.engine)->limit_slow_bodies++;
        vslb_str(&h1->req.log, SLT_Error, STR("the request's body did not come in time"));
    }
    return rc;
}

/* The client waits to be told that its body is wanted (RFC 9110 section 10.1.1). */
static YIELDS enum rc send_continue(struct h1 *h1)
{
    h1->wants_continue = false;
    h1->req.expects_continue = false;
    h1__log_status(h1, 100);
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char copy[sizeof text];
    memcpy(copy, text, sizeof text);
    struct iovec iov = {copy, sizeof text - 1};
    return sock_writev(&h1->sess->sock, &iov, 1, h1->send_limit, false, NULL);
}

enum rc h1__go_on(struct request *req)
{
    struct h1 *h1 = h1__of(req);
    return h1->wants_continue ? send_continue(h1) : RC_OK;
}

/* What has to be looked at goes through the buffer, behind the request's head, which is still in
 * use. */
static YIELDS enum rc read_some(struct h1 *h1, void *dst, size_t bytes, size_t *got)
{
    size_t direct = h1_reader_direct(&h1->body, bytes);
    if (direct > 0) {
        enum rc rc = receive(h1, dst, direct, got);
        h1_reader_took(&h1->body, *got);
        return rc;
    }
    h1->at = h1->fill = h1->head_end;
    size_t more = 0;
    enum rc rc = receive(h1, h1->buf + h1->fill, h1->cap - h1->fill, &more);
    h1->fill += more;
    return rc == RC_OK ? RC_AGAIN : rc;
}

static YIELDS enum rc read_body(struct h1 *h1, void *dst, size_t bytes, size_t *got)
{
    for (;;) {
        size_t used = 0;
        struct str have = {h1->buf + h1->at, h1->fill - h1->at};
        enum rc rc = h1_reader_take(&h1->body, have, &used, dst, bytes, got);
        h1->at += used;
        if (rc == RC_AGAIN) {
            rc = read_some(h1, dst, bytes, got);
            if (rc == RC_EOF) {
                rc = h1_reader_end(&h1->body);
                if (rc != RC_EOF) {
                    vslb_str(&h1->req.log, SLT_FetchError,
                             h1->head.body.framing == H1_BODY_LENGTH
                                 ? STR("straight insufficient bytes")
                                 : STR("chunked hdr eof"));
                }
            }
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
    enum rc rc = h1->wants_continue ? send_continue(h1) : RC_OK;
    if (rc == RC_OK) {
        rc = read_body(h1, buf, bytes, got);
    }
    if (rc == RC_OK) {
        req->bytes.req_body += *got;
    }
    if (rc != RC_OK && rc != RC_EOF) {
        /* Nobody knows where the next request would begin. */
        req->close = true;
    }
    return rc;
}

enum rc h1__body_drain(struct h1 *h1)
{
    if (h1->wants_continue) {
        /* It was never told to send; what it sends now could be a body or a request. */
        return RC_LIMIT;
    }
    uint64_t drained = 0;
    while (!h1->body.is_done && drained <= DRAIN_MAX_BYTES) {
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
    return h1->body.is_done ? RC_OK : RC_LIMIT;
}
