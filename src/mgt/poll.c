/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The manager's loop: a few descriptors and timers, poll(2), and callbacks that may remove any of
 * them.  A watch that is removed while its poll is under way is struck out of the array of that
 * poll, so that nobody is called with what is gone. */
#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mgt/priv.h"

#define NO_SLOT UINT32_MAX

void mgt__poll_init(struct mgt_poll *poll)
{
    *poll = (struct mgt_poll){0};
    list_init(&poll->watches);
    list_init(&poll->timers);
}

void mgt__poll_end(struct mgt_poll *poll)
{
    XFREE(poll->ready);
    XFREE(poll->fds);
}

void mgt__watch(struct mgt_poll *poll, struct mgt_watch *watch, int fd, short events)
{
    CHECK(fd >= 0);
    CHECK(watch->fn != NULL);
    mgt__unwatch(poll, watch);
    watch->fd = fd;
    watch->events = events;
    watch->slot = NO_SLOT;
    list_push_back(&poll->watches, &watch->link);
}

void mgt__unwatch(struct mgt_poll *poll, struct mgt_watch *watch)
{
    if (watch->link.next == NULL || !list_is_linked(&watch->link)) {
        return;
    }
    if (watch->slot != NO_SLOT && watch->slot < poll->count) {
        poll->ready[watch->slot] = NULL;
    }
    list_remove(&watch->link);
}

void mgt__timer(struct mgt_poll *poll, struct mgt_timer *timer, uint64_t when_ns)
{
    CHECK(timer->fn != NULL);
    mgt__timer_stop(timer);
    timer->when_ns = when_ns;
    struct list *at = poll->timers.next;
    while (at != &poll->timers && CONTAINER_OF(at, struct mgt_timer, link)->when_ns <= when_ns) {
        at = at->next;
    }
    list_insert_before(at, &timer->link);
}

void mgt__timer_stop(struct mgt_timer *timer)
{
    if (timer->link.next != NULL && list_is_linked(&timer->link)) {
        list_remove(&timer->link);
    }
}

static void fill(struct mgt_poll *p)
{
    p->count = 0;
    LIST_FOREACH (node, &p->watches) {
        struct mgt_watch *watch = CONTAINER_OF(node, struct mgt_watch, link);
        if (p->count == p->cap) {
            p->cap = p->cap == 0 ? 32 : p->cap * 2;
            p->ready = xrealloc(p->ready, p->cap * sizeof p->ready[0]);
            p->fds = xrealloc(p->fds, p->cap * sizeof p->fds[0]);
        }
        watch->slot = p->count;
        p->ready[p->count] = watch;
        p->fds[p->count] = (struct pollfd){.fd = watch->fd, .events = watch->events};
        p->count++;
    }
}

static void run_timers(struct mgt_poll *p)
{
    uint64_t now_ns = clock_mono_ns();
    while (!list_is_empty(&p->timers)) {
        struct mgt_timer *timer = CONTAINER_OF(p->timers.next, struct mgt_timer, link);
        if (timer->when_ns > now_ns) {
            return;
        }
        list_remove(&timer->link);
        timer->fn(timer);
    }
}

static int wait_ms(const struct mgt_poll *p)
{
    if (list_is_empty(&p->timers)) {
        return -1;
    }
    uint64_t when_ns = CONTAINER_OF(p->timers.next, struct mgt_timer, link)->when_ns;
    uint64_t now_ns = clock_mono_ns();
    if (when_ns <= now_ns) {
        return 0;
    }
    uint64_t ms = (when_ns - now_ns) / NS_PER_MS + 1;
    return ms > 60000 ? 60000 : (int)ms;
}

void mgt__poll_once(struct mgt_poll *p)
{
    fill(p);
    int n = fd_poll(p->fds, p->count, wait_ms(p));
    for (unsigned i = 0; n > 0 && i < p->count; i++) {
        if (p->fds[i].revents != 0 && p->ready[i] != NULL) {
            p->ready[i]->fn(p->ready[i], p->fds[i].revents);
        }
    }
    LIST_FOREACH (node, &p->watches) {
        CONTAINER_OF(node, struct mgt_watch, link)->slot = NO_SLOT;
    }
    p->count = 0;
    run_timers(p);
}
