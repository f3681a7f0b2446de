/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A connection that is no longer looked into: bytes go both ways, as they come.
 *
 * Each direction is a loop of reads and writes; the client's runs on a fiber of its own, the
 * backend's on that of the request, which does not return before both have ended, because both use
 * its sockets.  When one side sends no more, the other is told so (half-close) and may still
 * finish. What has moved nothing in either direction for the time-out has ended, too; so the
 * directions share one clock. */
#include "front/h1_priv.h"

#define FLOW_BYTES_MAX ((size_t)16 << 10)
#define FLOW_BYTES_MIN ((size_t)1 << 10)

struct flow {
    struct sock *from;
    struct sock *to;
    uint64_t idle_ns;
    uint64_t *moved_ns; /* when something moved last, in either direction */
    char *buf;
    size_t cap;
    uint64_t bytes;
    bool has_ended;
    struct fiber *waiter; /* who waits for that */
};

static YIELDS enum rc read_some(struct flow *f, size_t *got)
{
    for (;;) {
        uint64_t seen_ns = *f->moved_ns;
        struct sock_limit limit = {clock_after(seen_ns, f->idle_ns), NEVER};
        enum rc rc = sock_read(f->from, f->buf, f->cap, limit, got);
        if (rc != RC_TIMEOUT || *f->moved_ns == seen_ns) {
            return rc;
        }
    }
}

static YIELDS enum rc write_all(struct flow *f, char *bytes, size_t len)
{
    struct iovec iov = {bytes, len};
    struct sock_limit limit = {NEVER, f->idle_ns};
    uint64_t sent = 0;
    enum rc rc = sock_writev(f->to, &iov, 1, limit, false, &sent);
    f->bytes += sent;
    *f->moved_ns = clock_mono_ns();
    return rc;
}

static YIELDS void flow_run(struct flow *f)
{
    enum rc rc = RC_OK;
    while (rc == RC_OK) {
        size_t got = 0;
        rc = read_some(f, &got);
        if (rc == RC_OK) {
            rc = write_all(f, f->buf, got);
        }
    }
    /* Also after a failure: the other side must not wait for what will not come. */
    sock_shut_write(f->to);
    f->has_ended = true;
}

static YIELDS void flow_fiber(void *arg)
{
    struct flow *f = arg;
    flow_run(f);
    fiber_wake(f->waiter);
}

/* Not even a cancelled fiber leaves before the other is done with its sockets; that one is
 * cancelled likewise, and will be soon. */
static YIELDS void join(struct flow *f)
{
    while (!f->has_ended) {
        if (fiber_wait(NEVER) != RC_OK) {
            fiber_yield();
        }
    }
}

static size_t room_for_two(const struct arena *a)
{
    size_t each = (a->cap - a->used) / 2;
    each = each > 64 ? each - 64 : 0;
    return each < FLOW_BYTES_MAX ? each : FLOW_BYTES_MAX;
}

enum rc h1__pipe(struct request *req, struct sock *peer, uint64_t idle_ns,
                 struct request_piped *piped)
{
    struct h1 *h1 = h1__of(req);
    CHECK(!h1->head_sent);
    size_t cap = room_for_two(&h1->arena);
    if (cap < FLOW_BYTES_MIN) {
        return RC_LIMIT;
    }
    uint64_t moved_ns = clock_mono_ns();
    struct sock *client = &h1->sess->sock;
    struct flow in = {
        .from = client, .to = peer, .idle_ns = idle_ns, .moved_ns = &moved_ns, .cap = cap};
    struct flow out = {
        .from = peer, .to = client, .idle_ns = idle_ns, .moved_ns = &moved_ns, .cap = cap};
    in.buf = arena_alloc(&h1->arena, cap);
    out.buf = arena_alloc(&h1->arena, cap);
    CHECK(in.buf != NULL && out.buf != NULL);
    in.waiter = fiber_self();
    /* What came behind the head is the first that goes on. */
    enum rc rc = RC_OK;
    if (h1->at < h1->fill) {
        rc = write_all(&in, h1->buf + h1->at, h1->fill - h1->at);
        h1->at = h1->fill;
    }
    if (rc == RC_OK) {
        rc = fiber_start(flow_fiber, &in, "pipe");
    }
    if (rc == RC_OK) {
        flow_run(&out);
        join(&in);
    }
    *piped = (struct request_piped){in.bytes, out.bytes};
    return rc;
}
