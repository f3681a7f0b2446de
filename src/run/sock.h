/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Stream sockets on a loop, edge triggered: registered once, then read and written until the
 * kernel says EAGAIN.  All calls are made on the home loop; those marked YIELDS from a fiber, and
 * by one reading and one writing fiber at a time.  A fiber that moved 1 MiB without suspending lets
 * others run before it moves more. */
#ifndef RUN_SOCK_H
#define RUN_SOCK_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "run/run.h"

/* Embedded in its owner; fields are private to run/. */
struct sock {
    int fd;
    bool readable; /* an edge came, or the last read filled its buffer: worth trying */
    bool writable;
    bool hung_up; /* the end of the stream or an error was reported: there is no later edge */
    bool is_unix;
    bool tells_room; /* registered for EPOLLOUT */
    struct fiber *reader;
    struct fiber *writer;
    struct loop *loop;
    void (*on_idle)(struct sock *sock, enum rc why);
    struct timer idle_timer;
    struct list idle_link;
};

/* When a wait ends with RC_TIMEOUT. */
struct sock_limit {
    uint64_t deadline_ns; /* absolute; NEVER for none */
    uint64_t idle_ns;     /* longest wait without a byte moved; NEVER for none */
};

/* Registers the descriptor with the calling thread's loop and sets O_NONBLOCK, TCP_NODELAY.
 * The sock owns *take_fd (then -1); on failure too it is closed.  RC_NOSPACE, RC_LIMIT. */
MUST_USE enum rc sock_open(struct sock *sock, int *take_fd);
/* Unregisters and closes; harmless when it is closed already.  No fiber may wait on it. */
void sock_close(struct sock *sock);
/* Unregisters without closing, and gives the descriptor back: for another loop's sock_open.  No
 * fiber may wait on it. */
int sock_detach(struct sock *sock);
/* Closes so that the peer gets a reset (RST) instead of an orderly end: for truncated responses. */
void sock_abort(struct sock *sock);

/* Reads at least one byte.  RC_EOF, RC_RESET, RC_TIMEOUT, RC_CANCELLED, RC_IO.  Yields. */
YIELDS MUST_USE enum rc sock_read(struct sock *sock, void *buf, size_t bytes, struct sock_limit lim,
                                  size_t *got);
/* False: sock_read_now would say RC_AGAIN. */
static inline bool sock_may_read(const struct sock *sock)
{
    return sock->readable;
}
/* As sock_read, without waiting: RC_AGAIN when nothing is there. */
MUST_USE enum rc sock_read_now(struct sock *sock, void *buf, size_t bytes, size_t *got);

/* Writes what the kernel takes at once, without waiting; for a last word.  *sent: how much. */
void sock_write_now(struct sock *sock, const void *buf, size_t bytes, size_t *sent);

/* Writes all.  *sent (may be NULL) tells how much went, also on failure.  iov is changed.
 * RC_RESET, RC_TIMEOUT, RC_CANCELLED, RC_IO.  `more`: more bytes follow soon (MSG_MORE).  Yields.
 */
YIELDS MUST_USE enum rc sock_writev(struct sock *sock, struct iovec *iov, unsigned iovs,
                                    struct sock_limit lim, bool more, uint64_t *sent);
/* Sends `bytes` of a file from `off`, at most chunk_bytes a system call, other fibers run between
 * two of them.  RC_MALFORMED when the file ends early; otherwise as sock_writev.  Yields. */
YIELDS MUST_USE enum rc sock_sendfile(struct sock *sock, int file_fd, uint64_t off, uint64_t bytes,
                                      size_t chunk_bytes, struct sock_limit lim, uint64_t *sent);

/* Without a fiber: calls fn on the loop once there is something to read (RC_OK, also at the end of
 * the stream), or the deadline has passed (RC_TIMEOUT).  fn may close the sock, free its owner, or
 * start a fiber.  Not while a fiber waits on it. */
void sock_idle(struct sock *sock, uint64_t deadline_ns, void (*fn)(struct sock *, enum rc));
void sock_idle_cancel(struct sock *sock);
/* Whether it waits so, and nothing is known to have come. */
static inline bool sock_is_idle(const struct sock *sock)
{
    return sock->on_idle != NULL && !sock->readable;
}

/* Whether the peer has neither sent anything that was not read nor ended the stream: asks the
 * kernel, so what has come a moment ago counts. */
bool sock_is_quiet(struct sock *sock);

/* Half-close of our direction. */
void sock_shut_write(struct sock *sock);

/* Connects a new socket.  RC_REFUSED, RC_UNREACHABLE, RC_TIMEOUT, RC_CANCELLED, RC_NOFILES,
 * RC_NOT_FOUND (no such Unix socket), RC_DENIED, RC_IO; *sock is closed then.  Yields. */
YIELDS MUST_USE enum rc sock_connect(struct sock *sock, const struct sockaddr *addr, socklen_t len,
                                     uint64_t deadline_ns);

/* ---- accepting ---- */

struct listener;
/* Called on the loop for each connection; owns *take_fd. */
typedef void listener_fn(void *arg, int *take_fd, const struct sockaddr *peer, socklen_t peer_len);
/* Watches a listening descriptor (borrowed, non-blocking) on the calling loop.  When descriptors
 * run out, accepting pauses and `on_pause` is told (may be NULL).  RC_NOSPACE, RC_LIMIT. */
MUST_USE enum rc listener_open(struct listener **out, int listen_fd, listener_fn *fn, void *arg,
                               void (*on_pause)(void *arg, enum rc why));
/* Accepting pauses (RC_NOFILES) also while fewer than so many descriptors are free; at most a
 * quarter of the process's limit is kept.  On the listener's loop. */
void listener_keep_free(struct listener *listener, unsigned fds);
void listener_close(struct listener **listener);

/* ---- other descriptors ---- */

/* Suspends until fd (pipe, eventfd, socket; not registered otherwise) is readable or writable. */
YIELDS MUST_USE enum rc fd_wait_readable(int fd, uint64_t deadline_ns);
YIELDS MUST_USE enum rc fd_wait_writable(int fd, uint64_t deadline_ns);

#endif
