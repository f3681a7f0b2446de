/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Connecting, and waiting for descriptors that are not socks. */
#include "run/run_priv.h"

#include <errno.h>
#include <unistd.h>

/* A Unix listener whose backlog is full refuses with EAGAIN and never tells when that changes. */
static const uint64_t BACKLOG_RETRY_NS = 5 * NS_PER_MS;

static enum rc connect_error(int err)
{
    enum rc rc = rc_from_errno(err);
    switch (err) {
    case ENOBUFS:
    case ENOMEM:
        return RC_NOFILES;
    case ECONNRESET:
    case ECONNABORTED:
        return RC_REFUSED;
    default:
        return rc;
    }
}

/* Asks until the connect has begun, is done, or failed.  *is_pending: wait for writability. */
YIELDS static enum rc begin_connect(int fd, const struct sockaddr *addr, socklen_t len,
                                    uint64_t deadline_ns, bool *is_pending)
{
    const struct loop *loop = loop_self();
    *is_pending = false;
    for (;;) {
        if (connect(fd, addr, len) == 0) {
            return RC_OK;
        }
        if (errno == EINPROGRESS || errno == EINTR) {
            *is_pending = true;
            return RC_OK;
        }
        if (errno != EAGAIN || addr->sa_family != AF_UNIX) {
            return errno == EAGAIN ? RC_UNREACHABLE : connect_error(errno);
        }
        if (loop->mono_ns >= deadline_ns) {
            return RC_TIMEOUT;
        }
        enum rc rc = fiber_sleep(BACKLOG_RETRY_NS);
        if (rc != RC_OK) {
            return rc;
        }
    }
}

YIELDS static enum rc finish_connect(struct sock *sock, uint64_t deadline_ns)
{
    enum rc rc = sock__want_room(sock);
    while (rc == RC_OK && !sock->writable) {
        sock->writer = fiber_self();
        rc = fiber__wait(sock->writer, WAIT_RUN, deadline_ns);
        sock->writer = NULL;
    }
    if (rc != RC_OK) {
        return rc;
    }
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
        err = errno;
    }
    return err == 0 ? RC_OK : connect_error(err);
}

enum rc sock_connect(struct sock *sock, const struct sockaddr *addr, socklen_t len,
                     uint64_t deadline_ns)
{
    CHECK(addr != NULL);
    struct fiber *fiber = fiber_self();
    CHECK_OBJ(fiber, FIBER_MAGIC);
    *sock = (struct sock){.fd = -1};
    loop__jitter(fiber->loop);
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return connect_error(errno);
    }
    /* Registered only now: a TCP socket that is not connecting yet reports a hang-up. */
    bool is_pending;
    enum rc rc = begin_connect(fd, addr, len, deadline_ns, &is_pending);
    if (rc != RC_OK) {
        (void)close(fd);
        return rc;
    }
    rc = sock_open(sock, &fd);
    if (rc == RC_OK && is_pending) {
        rc = finish_connect(sock, deadline_ns);
        if (rc != RC_OK) {
            sock_close(sock);
        }
    }
    return rc;
}

YIELDS static enum rc wait_fd(int fd, uint32_t events, uint64_t deadline_ns)
{
    struct fiber *fiber = fiber_self();
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fd >= 0);
    loop__jitter(fiber->loop);
    struct fd_wait wait = {.fiber = fiber};
    enum rc rc = loop__watch(fiber->loop, fd, events | EPOLLONESHOT, &wait, WATCH_FD);
    if (rc == RC_INVALID) {
        return RC_OK; /* regular files are always ready */
    }
    if (rc != RC_OK) {
        return rc;
    }
    rc = fiber__wait(fiber, WAIT_RUN, deadline_ns);
    loop__unwatch(fiber->loop, fd, &wait, WATCH_FD);
    return rc;
}

enum rc fd_wait_readable(int fd, uint64_t deadline_ns)
{
    return wait_fd(fd, EPOLLIN | EPOLLRDHUP, deadline_ns);
}

enum rc fd_wait_writable(int fd, uint64_t deadline_ns)
{
    return wait_fd(fd, EPOLLOUT, deadline_ns);
}
