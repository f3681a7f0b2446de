/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Accepting connections.
 *
 * Level triggered, in bounded batches: what is left over is reported again in the next tick, after
 * the connections that exist had theirs.  EPOLLEXCLUSIVE wakes one loop, not all, where several
 * watch the same descriptor; it costs nothing where each has its own.
 *
 * When the system has no descriptor (or memory) for us, or the socket itself fails, a
 * level-triggered listener would spin.  So it is unregistered for PAUSE_NS, and those who wait in
 * the kernel's backlog are kept there.
 *
 * A connection costs more than its own descriptor: answering it may take one to a backend and one
 * for a body.  So accepting pauses before the last ones are gone (listener_keep_free).  How many
 * are left is told by the number of the next one, for the system gives out the lowest that is free.
 */
#include "run/run_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

enum { ACCEPTS_A_TICK = 32 };
static const uint64_t PAUSE_NS = 100 * NS_PER_MS;

struct listener {
    uint32_t magic;
    int fd;
    int fd_end; /* connections have numbers below it */
    bool lacks_fds;
    bool is_paused;
    bool is_accepting; /* fn runs; a close is only noted then */
    bool is_closed;
    struct loop *loop;
    listener_fn *fn;
    void *arg;
    void (*on_pause)(void *arg, enum rc why);
    struct timer resume_timer;
};

static enum rc watch(struct listener *listener)
{
    return loop__watch(listener->loop, listener->fd, EPOLLIN | EPOLLEXCLUSIVE, listener,
                       WATCH_LISTENER);
}

static bool has_room(const struct listener *listener)
{
    int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0 && fd < listener->fd_end;
}

static void resume(struct timer *timer, struct loop *loop)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, resume_timer);
    CHECK_OBJ(listener, LISTENER_MAGIC);
    if ((!listener->lacks_fds || has_room(listener)) && watch(listener) == RC_OK) {
        listener->is_paused = false;
    } else {
        timer_arm(loop, timer, loop->mono_ns + PAUSE_NS, resume);
    }
}

static void pause_accepting(struct listener *listener, enum rc why)
{
    loop__unwatch(listener->loop, listener->fd, listener, WATCH_LISTENER);
    listener->is_paused = true;
    listener->lacks_fds = why == RC_NOFILES;
    timer_arm(listener->loop, &listener->resume_timer, listener->loop->mono_ns + PAUSE_NS, resume);
    if (listener->on_pause != NULL) {
        listener->on_pause(listener->arg, why);
    }
}

/* Of accept(2): the connection died while it waited in the queue, or a firewall refused it. */
static bool is_about_one_connection(int err)
{
    static const int errs[] = {ECONNABORTED, EINTR,       EPROTO,    ENETDOWN,
                               ENOPROTOOPT,  ENONET,      EHOSTDOWN, EOPNOTSUPP,
                               EHOSTUNREACH, ENETUNREACH, EPERM};
    for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
        if (errs[i] == err) {
            return true;
        }
    }
    return false;
}

/* False when this batch is over. */
static bool after_failure(struct listener *listener, int err)
{
    if (err == EAGAIN) {
        return false;
    }
    if (is_about_one_connection(err)) {
        return true;
    }
    pause_accepting(listener, rc_from_errno(err == ENOBUFS ? ENOMEM : err));
    return false;
}

/* False when this batch is over. */
static bool accept_one(struct listener *listener)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    struct sockaddr *addr = (struct sockaddr *)&peer;
    int fd = accept4(listener->fd, addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return after_failure(listener, errno);
    }
    bool was_last = fd >= listener->fd_end;
    listener->fn(listener->arg, &fd, addr, len);
    CHECK(fd == -1);
    if (was_last && !listener->is_closed) {
        pause_accepting(listener, RC_NOFILES);
        return false;
    }
    return !listener->is_closed;
}

void listener__on_event(struct listener *listener)
{
    CHECK_OBJ(listener, LISTENER_MAGIC);
    listener->is_accepting = true;
    for (unsigned i = 0; i < ACCEPTS_A_TICK && accept_one(listener); i++) {
    }
    listener->is_accepting = false;
    if (listener->is_closed) {
        listener->magic = 0;
        free(listener);
    }
}

enum rc listener_open(struct listener **out, int listen_fd, listener_fn *fn, void *arg,
                      void (*on_pause)(void *arg, enum rc why))
{
    struct loop *loop = loop_self();
    CHECK(loop != NULL);
    CHECK(listen_fd >= 0);
    CHECK(fn != NULL);
    struct listener *listener = xcalloc(1, sizeof(*listener));
    *listener = (struct listener){
        .magic = LISTENER_MAGIC,
        .fd = listen_fd,
        .fd_end = INT_MAX,
        .loop = loop,
        .fn = fn,
        .arg = arg,
        .on_pause = on_pause,
    };
    enum rc rc = watch(listener);
    if (rc != RC_OK) {
        XFREE(listener);
    }
    *out = listener;
    return rc;
}

void listener_keep_free(struct listener *listener, unsigned fds)
{
    CHECK_OBJ(listener, LISTENER_MAGIC);
    struct rlimit lim;
    int err = getrlimit(RLIMIT_NOFILE, &lim);
    CHECK(err == 0);
    uint64_t all = lim.rlim_cur < INT_MAX ? lim.rlim_cur : INT_MAX;
    uint64_t kept = fds < all / 4 ? fds : all / 4;
    listener->fd_end = (int)(all - kept);
}

void listener_close(struct listener **listener_of)
{
    struct listener *listener = *listener_of;
    if (listener == NULL) {
        return;
    }
    CHECK_OBJ(listener, LISTENER_MAGIC);
    CHECK(listener->loop == loop_self());
    *listener_of = NULL;
    timer_disarm(listener->loop, &listener->resume_timer);
    if (!listener->is_paused) {
        loop__unwatch(listener->loop, listener->fd, listener, WATCH_LISTENER);
    }
    if (listener->is_accepting) {
        listener->is_closed = true;
        return;
    }
    listener->magic = 0;
    free(listener);
}
