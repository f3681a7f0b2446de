/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A backend's limit of connections, and those who wait for one to come free.
 *
 * Without a limit this is one atomic count.  With one, whoever finds it reached fails at once, or,
 * if backend_wait_limit allows, queues; a place that comes free is handed to the one who waits
 * longest: a newcomer takes none while somebody waits.
 *
 * Nobody is forgotten (Dekker, all sequentially consistent): a newcomer raises `waiting`, then
 * tries once more for a place before it lies down; who leaves lowers `in_use`, then looks at
 * `waiting`.  One of the two sees the other.
 *
 * A waiter is on its fiber's loop; who grants is on any.  Under the lock a waiter is in the list or
 * was granted.  The grant's message may arrive after the fiber gave up: what it is about is freed
 * by the later of the two. */
#include "backend/backend_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"

struct waiter {
    struct post post;
    struct list link;
    struct loop *loop;
    struct fiber *fiber; /* of that loop alone; NULL when it waits no longer */
    bool is_granted;     /* under the lock */
    _Atomic unsigned refs;
};

void queue__init(struct queue *q, unsigned max)
{
    *q = (struct queue){.max = max};
    mutex_init(&q->lock);
    list_init(&q->waiters);
}

void queue__end(struct queue *q)
{
    CHECK(atomic_load(&q->in_use) == 0);
    CHECK(list_is_empty(&q->waiters));
    mutex_fini(&q->lock);
}

static bool take_place(struct queue *q)
{
    unsigned now = atomic_load(&q->in_use);
    while (now < q->max) {
        if (atomic_compare_exchange_weak(&q->in_use, &now, now + 1)) {
            return true;
        }
    }
    return false;
}

static void forget(struct waiter *w)
{
    if (atomic_fetch_sub(&w->refs, 1) == 1) {
        free(w);
    }
}

static void granted(struct post *post, struct loop *loop)
{
    struct waiter *w = CONTAINER_OF(post, struct waiter, post);
    (void)loop;
    if (w->fiber != NULL) {
        fiber_wake(w->fiber);
    }
    forget(w);
}

/* Under the lock. */
static bool is_granted(struct queue *q, const struct waiter *w)
{
    mutex_lock(&q->lock);
    bool yes = w->is_granted;
    mutex_unlock(&q->lock);
    return yes;
}

/* Whether it has a place after all. */
static bool leave_list(struct queue *q, struct waiter *w)
{
    mutex_lock(&q->lock);
    bool has_place = w->is_granted;
    if (!has_place) {
        list_remove(&w->link);
        atomic_fetch_sub(&q->waiting, 1);
    }
    mutex_unlock(&q->lock);
    return has_place;
}

static YIELDS enum rc wait_for_grant(struct queue *q, struct waiter *w, uint64_t wait_ns)
{
    uint64_t deadline_ns = clock_after(clock_mono_ns(), wait_ns);
    enum rc rc = RC_OK;
    while (rc == RC_OK && !is_granted(q, w)) {
        rc = fiber_wait(deadline_ns);
    }
    w->fiber = NULL;
    if (rc != RC_OK && !leave_list(q, w)) {
        forget(w); /* the message that is never sent */
        forget(w);
        return rc == RC_TIMEOUT ? RC_LIMIT : rc;
    }
    forget(w);
    return RC_OK;
}

/* Puts a new waiter into the list, unless a place came free meanwhile (NULL). */
static struct waiter *lie_down(struct queue *q)
{
    struct waiter *w = xcalloc(1, sizeof *w);
    w->post.fn = granted;
    w->loop = loop_self();
    w->fiber = fiber_self();
    atomic_init(&w->refs, 2);
    list_init(&w->link);
    mutex_lock(&q->lock);
    bool has_place = list_is_empty(&q->waiters) && take_place(q);
    if (has_place) {
        atomic_fetch_sub(&q->waiting, 1);
    } else {
        list_push_back(&q->waiters, &w->link);
    }
    mutex_unlock(&q->lock);
    if (has_place) {
        XFREE(w);
    }
    return w;
}

enum rc queue__enter(struct queue *q, uint64_t wait_limit, uint64_t wait_ns, bool *waited)
{
    *waited = false;
    if (q->max == 0) {
        atomic_fetch_add_explicit(&q->in_use, 1, memory_order_relaxed);
        return RC_OK;
    }
    if (atomic_load(&q->waiting) == 0 && take_place(q)) {
        return RC_OK;
    }
    if (atomic_fetch_add(&q->waiting, 1) >= wait_limit) {
        atomic_fetch_sub(&q->waiting, 1);
        return RC_LIMIT;
    }
    struct waiter *w = lie_down(q);
    if (w == NULL) {
        return RC_OK;
    }
    *waited = true;
    return wait_for_grant(q, w, wait_ns);
}

/* The oldest waiter gets a place if there is one. */
static struct waiter *grant(struct queue *q)
{
    struct waiter *w = NULL;
    mutex_lock(&q->lock);
    if (!list_is_empty(&q->waiters) && take_place(q)) {
        w = CONTAINER_OF(list_pop_front(&q->waiters), struct waiter, link);
        w->is_granted = true;
        atomic_fetch_sub(&q->waiting, 1);
    }
    mutex_unlock(&q->lock);
    return w;
}

void queue__leave(struct queue *q)
{
    unsigned before = atomic_fetch_sub(&q->in_use, 1);
    CHECK(before > 0);
    if (q->max == 0 || atomic_load(&q->waiting) == 0) {
        return;
    }
    struct waiter *w = grant(q);
    if (w != NULL) {
        loop_post(w->loop, &w->post);
    }
}
