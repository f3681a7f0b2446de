/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Sockets: their life, their events, and waiting without a fiber.
 *
 * A socket is registered once, for both directions, edge triggered: the kernel tells when something
 * arrived, and the sock remembers it until a read finds nothing left.  So a request costs no
 * epoll_ctl.
 *
 *   readable   an edge came that no short or empty read has answered yet
 *   hung_up    the edge said that the stream ends or broke.  No further edge will come, so from
 *              here on a short read no longer means "nothing left": the end is still to be read.
 *   writable   no write was refused since the last edge; true at first, so writes never wait first
 *
 * Room to write is told by TCP only after a write was refused, so asking for it from the start
 * costs nothing.  A Unix socket tells it each time its peer reads: there it is asked for at the
 * first refusal (sock__want_room), by the one epoll_ctl of such a connection.
 *
 * Idle: on_idle is set, and no fiber is there.  The timer stays armed when the socket wakes, for
 * the next idle period moves it later at no cost; one that fires in between finds no on_idle. */
#include "run/run_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum rc sock_open(struct sock *sock, int *take_fd)
{
    struct loop *loop = loop_self();
    CHECK(loop != NULL);
    CHECK(*take_fd >= 0);
    *sock = (struct sock){.fd = *take_fd, .writable = true, .loop = loop};
    *take_fd = -1;
    list_init(&sock->idle_link);
    int on = 1;
    int err = ioctl(sock->fd, FIONBIO, &on);
    CHECK(err == 0);
    /* Refused by Unix sockets, which is how we know them; others never delay. */
    sock->is_unix = setsockopt(sock->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0;
    sock->tells_room = !sock->is_unix;
    uint32_t events = EPOLLIN | EPOLLRDHUP | EPOLLET | (sock->tells_room ? EPOLLOUT : 0);
    enum rc rc = loop__watch(loop, sock->fd, events, sock, WATCH_SOCK);
    if (rc != RC_OK) {
        (void)close(sock->fd);
        sock->fd = -1;
    }
    return rc;
}

enum rc sock__want_room(struct sock *sock)
{
    sock->writable = false;
    if (LIKELY(sock->tells_room)) {
        return RC_OK;
    }
    /* Registering anew tells at once if there is room by now. */
    sock->tells_room = true;
    return loop__rewatch(sock->loop, sock->fd, EPOLLIN | EPOLLRDHUP | EPOLLET | EPOLLOUT, sock,
                         WATCH_SOCK);
}

int sock_detach(struct sock *sock)
{
    CHECK(sock->fd >= 0);
    CHECK(sock->loop == loop_self());
    CHECK(sock->reader == NULL);
    CHECK(sock->writer == NULL);
    sock_idle_cancel(sock);
    timer_disarm(sock->loop, &sock->idle_timer);
    loop__unwatch(sock->loop, sock->fd, sock, WATCH_SOCK);
    int fd = sock->fd;
    sock->fd = -1;
    return fd;
}

void sock_close(struct sock *sock)
{
    CHECK(sock != NULL);
    if (sock->fd >= 0) {
        (void)close(sock_detach(sock));
    }
}

void sock_abort(struct sock *sock)
{
    CHECK(sock != NULL);
    if (sock->fd < 0) {
        return;
    }
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(sock->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    sock_close(sock);
}

void sock_shut_write(struct sock *sock)
{
    CHECK(sock->fd >= 0);
    CHECK(sock->writer == NULL);
    (void)shutdown(sock->fd, SHUT_WR); /* fails only when the peer has left already */
}

/* ---- events ---- */

static void tell_idle(struct sock *sock, enum rc why)
{
    void (*fn)(struct sock *, enum rc) = sock->on_idle;
    sock->on_idle = NULL;
    list_remove(&sock->idle_link);
    fn(sock, why); /* may free the sock */
}

void sock__on_event(struct sock *sock, uint32_t events)
{
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        sock->hung_up = true;
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        sock->writable = true;
        if (sock->writer != NULL) {
            fiber__resume(sock->writer);
        }
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        sock->readable = true;
        if (sock->reader != NULL) {
            fiber__resume(sock->reader);
        } else if (sock->on_idle != NULL) {
            tell_idle(sock, RC_OK);
        }
    }
}

/* ---- idle ---- */

static void on_idle_timer(struct timer *timer, struct loop *loop)
{
    (void)loop;
    struct sock *sock = CONTAINER_OF(timer, struct sock, idle_timer);
    if (sock->on_idle != NULL) {
        tell_idle(sock, RC_TIMEOUT);
    }
}

void sock_idle(struct sock *sock, uint64_t deadline_ns, void (*fn)(struct sock *, enum rc))
{
    CHECK(sock->fd >= 0);
    CHECK(sock->loop == loop_self());
    CHECK(sock->reader == NULL);
    CHECK(sock->on_idle == NULL);
    CHECK(fn != NULL);
    sock->on_idle = fn;
    timer_arm(sock->loop, &sock->idle_timer, deadline_ns, on_idle_timer);
    if (sock->readable) {
        list_push_back(&sock->loop->idle_ready, &sock->idle_link);
    }
}

void sock_idle_cancel(struct sock *sock)
{
    CHECK(sock->fd >= 0);
    sock->on_idle = NULL;
    list_remove(&sock->idle_link);
}

/* The edge may have been for bytes that were read since, so it is not worth a fiber yet. */
static bool has_input(struct sock *sock)
{
    if (sock->hung_up) {
        return true;
    }
    char byte;
    ssize_t n;
    do {
        n = recv(sock->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        sock->readable = false;
        return false;
    }
    return true;
}

bool sock_is_quiet(struct sock *sock)
{
    CHECK(sock->fd >= 0);
    CHECK(sock->loop == loop_self());
    return !has_input(sock);
}

unsigned sock__run_idle_ready(struct loop *loop)
{
    struct list batch;
    list_init(&batch);
    unsigned told = 0;
    if (LIKELY(list_is_empty(&loop->idle_ready))) {
        return 0;
    }
    list_insert_before(loop->idle_ready.next, &batch);
    list_remove(&loop->idle_ready);
    for (struct list *node = list_pop_front(&batch); node != NULL; node = list_pop_front(&batch)) {
        struct sock *sock = CONTAINER_OF(node, struct sock, idle_link);
        if (has_input(sock)) {
            tell_idle(sock, RC_OK);
            told++;
        }
    }
    return told;
}
