/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Moving bytes: try first, wait only when the kernel refused.
 *
 * A read that got less than it asked for has emptied the socket; asking again would cost a system
 * call to hear EAGAIN.  Bytes that arrive later bring a new edge.  (A read also stops short at TCP
 * urgent data; a peer that sends it waits for its next byte, and for nothing of anybody else's.)
 *
 * Each wait ends at the earlier of the caller's deadline and "now plus idle_ns": so idle_ns starts
 * anew with each byte that moves.
 *
 * SIGPIPE is blocked in the threads of loops, which covers sendfile. */
#include "run/run_priv.h"

#include <errno.h>
#include <limits.h>
#include <sys/sendfile.h>

#include "run/sys.h"

/* A peer that is as fast as we are would otherwise keep its fiber running, and others waiting. */
enum { TURN_BYTES = 1 << 20 };

/* What a stream can end with, of all that errno can say. */
static enum rc stream_error(int err)
{
    switch (err) {
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ECONNABORTED:
    case ETIMEDOUT: /* the kernel gave up on the peer; our own time-outs are not errno's */
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
        return RC_RESET;
    default:
        return RC_IO;
    }
}

static uint64_t wait_deadline(const struct sock *sock, const struct sock_limit *lim)
{
    uint64_t idle_ns = clock_after(sock->loop->mono_ns, lim->idle_ns);
    return idle_ns < lim->deadline_ns ? idle_ns : lim->deadline_ns;
}

/* Waits in *slot, which is sock->reader or sock->writer. */
YIELDS static enum rc wait_in(struct sock *sock, struct fiber **slot, const struct sock_limit *lim)
{
    CHECK(*slot == NULL);
    *slot = fiber_self();
    enum rc rc = fiber__wait(*slot, WAIT_RUN, wait_deadline(sock, lim));
    *slot = NULL;
    return rc;
}

/* What every call that may suspend begins with. */
YIELDS static enum rc begin(struct sock *sock)
{
    struct fiber *fiber = fiber_self();
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fiber->pins == 0);
    CHECK(sock->fd >= 0);
    CHECK(sock->loop == fiber->loop);
    loop__jitter(sock->loop);
    if (UNLIKELY(fiber->moved_bytes >= TURN_BYTES)) {
        fiber_yield();
    }
    return fiber->is_cancelled ? RC_CANCELLED : RC_OK;
}

/* ---- reading ---- */

enum rc sock_read_now(struct sock *sock, void *buf, size_t bytes, size_t *got)
{
    CHECK(sock->fd >= 0);
    CHECK(bytes > 0);
    *got = 0;
    if (!sock->readable) {
        return RC_AGAIN;
    }
    size_t ask = loop__chop(sock->loop, bytes);
    ssize_t n;
    do {
        n = sys__recv(sock->fd, buf, ask);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        *got = (size_t)n;
        sock->readable = *got == ask || sock->hung_up;
        return RC_OK;
    }
    if (n == 0) {
        return RC_EOF;
    }
    if (errno == EAGAIN) {
        sock->readable = false;
        return RC_AGAIN;
    }
    return stream_error(errno);
}

enum rc sock_read(struct sock *sock, void *buf, size_t bytes, struct sock_limit lim, size_t *got)
{
    CHECK(sock->on_idle == NULL);
    *got = 0;
    enum rc rc = begin(sock);
    if (rc != RC_OK) {
        return rc;
    }
    for (;;) {
        rc = sock_read_now(sock, buf, bytes, got);
        if (rc != RC_AGAIN) {
            fiber_self()->moved_bytes += *got;
            return rc;
        }
        rc = wait_in(sock, &sock->reader, &lim);
        if (rc != RC_OK) {
            return rc;
        }
    }
}

/* ---- writing ---- */

/* What is left of an array of buffers. */
struct gather {
    struct iovec *iov;
    unsigned iovs;
};

static void skip_empty(struct gather *g)
{
    while (g->iovs > 0 && g->iov->iov_len == 0) {
        g->iov++;
        g->iovs--;
    }
}

static void consume(struct gather *g, size_t bytes)
{
    while (bytes > 0) {
        CHECK(g->iovs > 0);
        size_t part = bytes < g->iov->iov_len ? bytes : g->iov->iov_len;
        g->iov->iov_base = (char *)g->iov->iov_base + part;
        g->iov->iov_len -= part;
        bytes -= part;
        skip_empty(g);
    }
}

/* One system call, for one buffer the cheaper one; -1 and errno as sendmsg. */
static ssize_t send_some(struct sock *sock, const struct gather *g, bool more)
{
    struct iovec first;
    struct msghdr msg = {.msg_iov = g->iov, .msg_iovlen = g->iovs < IOV_MAX ? g->iovs : IOV_MAX};
    if (UNLIKELY(sock->loop->is_shuffled)) {
        first = (struct iovec){g->iov->iov_base, loop__chop(sock->loop, g->iov->iov_len)};
        msg.msg_iov = &first;
        msg.msg_iovlen = 1;
    }
    /* Of more than IOV_MAX buffers the rest follows at once. */
    bool is_part = msg.msg_iovlen < g->iovs;
    int flags = MSG_NOSIGNAL | (more || is_part ? MSG_MORE : 0);
    ssize_t n;
    do {
        n = msg.msg_iovlen == 1
                ? sys__send(sock->fd, msg.msg_iov->iov_base, msg.msg_iov->iov_len, flags)
                : sendmsg(sock->fd, &msg, flags);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* After a refused write: RC_OK when it is worth another try. */
YIELDS static enum rc after_refusal(struct sock *sock, int err, const struct sock_limit *lim)
{
    if (err != EAGAIN) {
        return stream_error(err);
    }
    enum rc rc = sock__want_room(sock);
    return rc != RC_OK ? rc : wait_in(sock, &sock->writer, lim);
}

enum rc sock_writev(struct sock *sock, struct iovec *iov, unsigned iovs, struct sock_limit lim,
                    bool more, uint64_t *sent)
{
    uint64_t ignored;
    uint64_t *total = sent != NULL ? sent : &ignored;
    *total = 0;
    struct gather g = {.iov = iov, .iovs = iovs};
    skip_empty(&g);
    enum rc rc = begin(sock);
    while (rc == RC_OK && g.iovs > 0) {
        if (!sock->writable) {
            rc = wait_in(sock, &sock->writer, &lim);
            continue;
        }
        ssize_t n = send_some(sock, &g, more);
        if (n < 0) {
            rc = after_refusal(sock, errno, &lim);
            continue;
        }
        *total += (uint64_t)n;
        fiber_self()->moved_bytes += (size_t)n;
        consume(&g, (size_t)n);
    }
    return rc;
}

void sock_write_now(struct sock *sock, const void *buf, size_t bytes, size_t *sent)
{
    CHECK(sock->fd >= 0);
    CHECK(sock->writer == NULL);
    ssize_t n;
    do {
        n = send(sock->fd, buf, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    *sent = n > 0 ? (size_t)n : 0;
}

/* One system call; -1 and errno as sendfile. */
static ssize_t sendfile_some(struct sock *sock, int file_fd, uint64_t off, size_t bytes)
{
    off_t at = (off_t)off;
    ssize_t n;
    do {
        n = sendfile(sock->fd, file_fd, &at, loop__chop(sock->loop, bytes));
    } while (n < 0 && errno == EINTR);
    return n;
}

enum rc sock_sendfile(struct sock *sock, int file_fd, uint64_t off, uint64_t bytes,
                      size_t chunk_bytes, struct sock_limit lim, uint64_t *sent)
{
    CHECK(chunk_bytes > 0);
    CHECK(off <= INT64_MAX);
    CHECK(bytes <= INT64_MAX - off);
    uint64_t ignored;
    uint64_t *total = sent != NULL ? sent : &ignored;
    *total = 0;
    enum rc rc = begin(sock);
    while (rc == RC_OK && *total < bytes) {
        if (!sock->writable) {
            rc = wait_in(sock, &sock->writer, &lim);
            continue;
        }
        uint64_t left = bytes - *total;
        size_t ask = left < chunk_bytes ? (size_t)left : chunk_bytes;
        ssize_t n = sendfile_some(sock, file_fd, off + *total, ask);
        if (n < 0) {
            rc = after_refusal(sock, errno, &lim);
            continue;
        }
        if (n == 0) {
            return RC_MALFORMED;
        }
        *total += (uint64_t)n;
        if ((size_t)n == chunk_bytes && *total < bytes) {
            fiber_yield();
            rc = fiber_is_cancelled(fiber_self()) ? RC_CANCELLED : RC_OK;
        }
    }
    return rc;
}
