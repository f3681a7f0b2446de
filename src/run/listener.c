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
 * the kernel's backlog are kept there. */
#include "run/run_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

enum { ACCEPTS_A_TICK = 32 };
static const uint64_t PAUSE_NS = 100 * NS_PER_MS;

struct listener {
    uint32_t magic;
    int fd;
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

static void resume(struct timer *timer, struct loop *loop)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, resume_timer);
    CHECK_OBJ(listener, LISTENER_MAGIC);
    if (watch(listener) == RC_OK) {
        listener->is_paused = false;
    } else {
        timer_arm(loop, timer, loop->mono_ns + PAUSE_NS, resume);
    }
}

static void pause_accepting(struct listener *listener, enum rc why)
{
    loop__unwatch(listener->loop, listener->fd, listener, WATCH_LISTENER);
    listener->is_paused = true;
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
    listener->fn(listener->arg, &fd, addr, len);
    CHECK(fd == -1);
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
