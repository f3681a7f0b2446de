/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Fibers: a function, a stack, and a place in one queue.
 *
 *   POOLED --start--> READY --run--> RUNNING --wait--> WAITING --wake, deadline, cancel--> READY
 *     ^                                 |---yield--> READY (in the next tick)
 *     +------------- fn returns --------+
 *
 * A fiber switches only to its loop and back, never to another fiber.  Its context outlives its
 * function: the stack waits in the pool inside fiber_main, and a start is one switch into it.
 *
 * The pool is a stack of fibers, so the one used last, whose memory is warm, goes out first.  Those
 * at the bottom that nobody needed for a second give their pages back.
 *
 * Wakes: one that comes before its wait is kept.  A wait inside run/ (sockets, offload) does not
 * take it, so "check, do some I/O, wait" loses nothing.  A wake that arrives after the deadline but
 * before the fiber ran again turns its RC_TIMEOUT into RC_OK. */
#include "run/run_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

static const uint64_t TRIM_INTERVAL_NS = NS_PER_S;

/* ---- the pool ---- */

void fiber__pool_init(struct loop *loop, unsigned fibers_max)
{
    struct fiber_pool *pool = &loop->fibers;
    CHECK(fibers_max > 0);
    pool->max = fibers_max;
    pool->all = xcalloc(fibers_max, sizeof(struct fiber *));
    pool->idle = xcalloc(fibers_max, sizeof(struct fiber *));
}

void fiber__pool_fini(struct loop *loop)
{
    struct fiber_pool *pool = &loop->fibers;
    for (unsigned i = 0; i < pool->all_count; i++) {
        context__fini(&pool->all[i]->context);
        free(pool->all[i]);
    }
    stack__free_all(&pool->stacks);
    XFREE(pool->all);
    XFREE(pool->idle);
}

static void trim(struct timer *timer, struct loop *loop)
{
    struct fiber_pool *pool = &loop->fibers;
    for (unsigned i = pool->idle_trimmed; i < pool->idle_low; i++) {
        stack__trim(pool->idle[i]->context.stack_low, pool->idle[i]->context.stack_bytes);
    }
    if (pool->idle_low > pool->idle_trimmed) {
        pool->idle_trimmed = pool->idle_low;
    }
    pool->idle_low = pool->idle_count;
    if (pool->idle_trimmed < pool->idle_count) {
        timer_arm(loop, timer, loop->mono_ns + TRIM_INTERVAL_NS, trim);
    }
}

static void recycle(struct loop *loop, struct fiber *fiber)
{
    struct fiber_pool *pool = &loop->fibers;
    CHECK(pool->idle_count < pool->all_count);
    pool->idle[pool->idle_count++] = fiber;
    /* On a fake clock nothing but a test's own timers may move time. */
    if (UNLIKELY(!timer_is_armed(&pool->trim_timer)) && !loop->is_fake) {
        pool->idle_low = 0;
        timer_arm(loop, &pool->trim_timer, loop->mono_ns + TRIM_INTERVAL_NS, trim);
    }
}

static void fiber_main(void *arg)
{
    struct fiber *fiber = arg;
    for (;;) {
        fiber->fn(fiber->arg);
        CHECK(fiber->pins == 0);
        fiber->state = FIBER_POOLED;
        context__switch(&fiber->context, &fiber->loop->context);
    }
}

static struct fiber *fiber_make(struct loop *loop)
{
    struct fiber_pool *pool = &loop->fibers;
    void *low;
    size_t bytes;
    if (pool->all_count == pool->max || stack__take(&pool->stacks, &low, &bytes) != RC_OK) {
        return NULL;
    }
    struct fiber *fiber = xaligned(CACHE_LINE, sizeof(*fiber));
    *fiber = (struct fiber){.magic = FIBER_MAGIC, .loop = loop, .state = FIBER_POOLED};
    list_init(&fiber->link);
    context__init(&fiber->context, low, bytes, fiber_main, fiber);
    pool->all[pool->all_count++] = fiber;
    return fiber;
}

static struct fiber *fiber_take(struct loop *loop)
{
    struct fiber_pool *pool = &loop->fibers;
    if (UNLIKELY(pool->idle_count == 0)) {
        return fiber_make(loop);
    }
    struct fiber *fiber = pool->idle[--pool->idle_count];
    if (pool->idle_count < pool->idle_low) {
        pool->idle_low = pool->idle_count;
    }
    if (pool->idle_count < pool->idle_trimmed) {
        pool->idle_trimmed = pool->idle_count;
    }
    return fiber;
}

/* ---- start, run, end ---- */

enum rc fiber_start(fiber_fn *fn, void *arg, const char *name)
{
    struct loop *loop = loop_self();
    CHECK(loop != NULL);
    CHECK(fn != NULL);
    CHECK(name != NULL);
    struct fiber *fiber = fiber_take(loop);
    if (UNLIKELY(fiber == NULL)) {
        loop->fibers.refused++;
        return RC_LIMIT;
    }
    CHECK(fiber->state == FIBER_POOLED);
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->name = name;
    fiber->description = STR_NONE;
    fiber->subject = NULL;
    fiber->wait = WAIT_NONE;
    fiber->is_woken = false;
    fiber->moved_bytes = 0;
    /* What starts while its loop stops may run, but not wait. */
    fiber->is_cancelled = loop->is_stopping;
    fiber->state = FIBER_READY;
    list_push_back(&loop->ready, &fiber->link);
    loop->fibers.started++;
    return RC_OK;
}

void fiber__run(struct loop *loop, struct fiber *fiber)
{
    CHECK(fiber->state == FIBER_READY);
    CHECK(loop->current == NULL);
    fiber->state = FIBER_RUNNING;
    loop->current = fiber;
    atomic_store_explicit(&loop->running_name, fiber->name, memory_order_relaxed);
    uint64_t progress = atomic_load_explicit(&loop->progress, memory_order_relaxed);
    atomic_store_explicit(&loop->progress, progress + 1, memory_order_relaxed);
    context__switch(&loop->context, &fiber->context);
    loop->current = NULL;
    if (fiber->state == FIBER_POOLED) {
        recycle(loop, fiber);
    }
}

struct fiber *fiber_self(void)
{
    struct loop *loop = loop_self();
    return loop == NULL ? NULL : loop->current;
}

const char *fiber_name(const struct fiber *fiber)
{
    CHECK_OBJ(fiber, FIBER_MAGIC);
    return fiber->name;
}

void fiber_describe(struct str text)
{
    struct fiber *fiber = fiber_self();
    CHECK_OBJ(fiber, FIBER_MAGIC);
    fiber->description = text;
}

void fiber_hold(void *subject)
{
    struct fiber *fiber = fiber_self();
    CHECK_OBJ(fiber, FIBER_MAGIC);
    fiber->subject = subject;
}

void *fiber_subject(void)
{
    struct fiber *fiber = fiber_self();
    return fiber == NULL ? NULL : fiber->subject;
}

/* ---- suspending ---- */

static void suspend(struct fiber *fiber)
{
    CHECK(fiber->pins == 0);
    CHECK(fiber->loop->current == fiber);
    context__switch(&fiber->context, &fiber->loop->context);
    CHECK(fiber->state == FIBER_RUNNING);
    fiber->moved_bytes = 0;
}

static void make_ready(struct fiber *fiber, enum rc rc)
{
    CHECK(fiber->state == FIBER_WAITING);
    fiber->wait_rc = rc;
    fiber->state = FIBER_READY;
    list_push_back(&fiber->loop->ready, &fiber->link);
}

/* The timer is not disarmed when a wait ends, for the next wait mostly moves it later, which costs
 * nothing.  So it may come up for a wait that is over, or too early for the present one. */
static void on_deadline(struct timer *timer, struct loop *loop)
{
    struct fiber *fiber = CONTAINER_OF(timer, struct fiber, timer);
    CHECK_OBJ(fiber, FIBER_MAGIC);
    if (fiber->state != FIBER_WAITING || fiber->deadline_ns == NEVER) {
        return;
    }
    if (fiber->deadline_ns > loop->mono_ns) {
        timer_arm(loop, timer, fiber->deadline_ns, on_deadline);
        return;
    }
    make_ready(fiber, RC_TIMEOUT);
}

enum rc fiber__wait(struct fiber *fiber, enum fiber_wait_kind kind, uint64_t deadline_ns)
{
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fiber->state == FIBER_RUNNING);
    CHECK(fiber->pins == 0);
    bool can_cancel = kind != WAIT_HELD;
    if (can_cancel && fiber->is_cancelled) {
        return RC_CANCELLED;
    }
    if (deadline_ns <= fiber->loop->mono_ns) {
        return RC_TIMEOUT;
    }
    fiber->deadline_ns = deadline_ns;
    if (deadline_ns != NEVER) {
        timer_arm(fiber->loop, &fiber->timer, deadline_ns, on_deadline);
    }
    fiber->wait = kind;
    fiber->state = FIBER_WAITING;
    suspend(fiber);
    fiber->wait = WAIT_NONE;
    return can_cancel && fiber->is_cancelled ? RC_CANCELLED : fiber->wait_rc;
}

enum rc fiber_wait(uint64_t deadline_ns)
{
    struct fiber *fiber = fiber_self();
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fiber->pins == 0);
    loop__jitter(fiber->loop);
    if (fiber->is_woken && !fiber->is_cancelled) {
        fiber->is_woken = false;
        return RC_OK;
    }
    return fiber__wait(fiber, WAIT_USER, deadline_ns);
}

void fiber_wake(struct fiber *fiber)
{
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fiber->loop == loop_self());
    CHECK(fiber->state != FIBER_POOLED);
    if (fiber->wait != WAIT_USER) {
        fiber->is_woken = true;
    } else if (fiber->state == FIBER_WAITING) {
        make_ready(fiber, RC_OK);
    } else {
        fiber->wait_rc = RC_OK;
    }
}

void fiber__resume(struct fiber *fiber)
{
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fiber->loop == loop_self());
    CHECK(fiber->wait == WAIT_RUN || fiber->wait == WAIT_HELD);
    if (fiber->state == FIBER_WAITING) {
        make_ready(fiber, RC_OK);
    } else {
        fiber->wait_rc = RC_OK;
    }
}

void fiber_cancel(struct fiber *fiber)
{
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fiber->loop == loop_self());
    CHECK(fiber->state != FIBER_POOLED);
    fiber->is_cancelled = true;
    if (fiber->state == FIBER_WAITING && fiber->wait != WAIT_HELD) {
        make_ready(fiber, RC_CANCELLED);
    }
}

void fiber__cancel_all(struct loop *loop)
{
    for (unsigned i = 0; i < loop->fibers.all_count; i++) {
        if (loop->fibers.all[i]->state != FIBER_POOLED) {
            fiber_cancel(loop->fibers.all[i]);
        }
    }
}

bool fiber_is_cancelled(const struct fiber *fiber)
{
    CHECK_OBJ(fiber, FIBER_MAGIC);
    return fiber->is_cancelled;
}

void fiber_yield(void)
{
    struct fiber *fiber = fiber_self();
    CHECK_OBJ(fiber, FIBER_MAGIC);
    CHECK(fiber->pins == 0);
    fiber->state = FIBER_READY;
    list_push_back(&fiber->loop->yielded, &fiber->link);
    suspend(fiber);
}

enum rc fiber_sleep(uint64_t ns)
{
    struct fiber *fiber = fiber_self();
    if (fiber == NULL) {
        struct timespec left = {.tv_sec = (time_t)(ns / NS_PER_S),
                                .tv_nsec = (long)(ns % NS_PER_S)};
        while (nanosleep(&left, &left) != 0 && errno == EINTR) {
        }
        return RC_OK;
    }
    enum rc rc = fiber__wait(fiber, WAIT_RUN, clock_after(fiber->loop->mono_ns, ns));
    return rc == RC_TIMEOUT ? RC_OK : rc;
}

void fiber_pin(void)
{
    struct fiber *fiber = fiber_self();
    if (fiber != NULL) {
        fiber->pins++;
    }
}

void fiber_unpin(void)
{
    struct fiber *fiber = fiber_self();
    if (fiber != NULL) {
        CHECK(fiber->pins > 0);
        fiber->pins--;
    }
}
