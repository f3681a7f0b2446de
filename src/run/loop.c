/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A loop: one thread, one epoll instance, and the phases that run.h lists.
 *
 * Clocks are read once, when the wait ends.  Events are fetched in one batch, and what runs in
 * phases 2 and 3 may close a sock whose event stands later in it; so loop__unwatch strikes such
 * events out.  From phase 4 on the batch is used up, and closing costs nothing.
 *
 * Phase 5 is bounded, and a fiber that yields goes on in the next tick: sockets and timers get
 * their turn however busy the fibers keep each other.
 *
 * On a fake clock a loop that would wait for a timer jumps to it instead.  It still asks epoll
 * first, and while a job of its own is on an offload thread it really waits for that. */
#include "run/run_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sb.h"
#include "run/rcu.h"
#include "run/sys.h"

static const uint64_t FAKE_REAL_OFFSET_NS = UINT64_C(1700000000) * NS_PER_S;

enum { ALTERNATE_STACK_BYTES = 64 * 1024 };
enum { JITTER_ONE_IN = 4, SHUFFLE_AMONG = 8, STOP_POLL_MS = 50 };

static _Thread_local struct loop *self;

#ifdef RCU_TSAN
const char rcu_grace = 0;
#endif

struct loop *loop_self(void)
{
    return self;
}

/* ---- clocks ---- */

static void read_clocks(struct loop *loop)
{
    if (UNLIKELY(loop->is_fake)) {
        return;
    }
    loop->mono_ns = clock_mono_ns();
    loop->real_ns = clock_real_ns();
}

void loop_clock_refresh(struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop == self);
    read_clocks(loop);
}

void loop_clock_advance(struct loop *loop, uint64_t ns)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop == self);
    CHECK(loop->is_fake);
    loop->mono_ns += ns;
    loop->real_ns += ns;
}

/* ---- watched descriptors ---- */

static uint64_t watch_data(void *owner, enum watch_kind kind)
{
    uintptr_t bits = (uintptr_t)owner;
    CHECK((bits & WATCH_MASK) == 0);
    return (uint64_t)bits | (uint64_t)kind;
}

enum rc loop__watch(struct loop *loop, int fd, uint32_t events, void *owner, enum watch_kind kind)
{
    struct epoll_event ev = {.events = events, .data.u64 = watch_data(owner, kind)};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        return errno == EPERM ? RC_INVALID : rc_from_errno(errno);
    }
    return RC_OK;
}

enum rc loop__rewatch(struct loop *loop, int fd, uint32_t events, void *owner, enum watch_kind kind)
{
    struct epoll_event ev = {.events = events, .data.u64 = watch_data(owner, kind)};
    int err = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
    return err == 0 ? RC_OK : rc_from_errno(errno);
}

void loop__unwatch(struct loop *loop, int fd, void *owner, enum watch_kind kind)
{
    int err = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    CHECK(err == 0);
    uint64_t data = watch_data(owner, kind);
    for (unsigned i = loop->event_at; i < loop->event_count; i++) {
        if (loop->events[i].data.u64 == data) {
            loop->events[i].data.u64 = watch_data(NULL, WATCH_POSTS);
        }
    }
}

static void dispatch(const struct epoll_event *ev)
{
    void *owner = (void *)(uintptr_t)(ev->data.u64 & ~(uint64_t)WATCH_MASK);
    switch ((enum watch_kind)(ev->data.u64 & WATCH_MASK)) {
    case WATCH_SOCK:
        sock__on_event(owner, ev->events);
        break;
    case WATCH_LISTENER:
        listener__on_event(owner);
        break;
    case WATCH_FD: {
        struct fd_wait *wait = owner;
        fiber__resume(wait->fiber);
        break;
    }
    case WATCH_POSTS:
        break;
    }
}

static unsigned run_events(struct loop *loop)
{
    unsigned done = sock__run_idle_ready(loop) + loop->event_count;
    while (loop->event_at < loop->event_count) {
        dispatch(&loop->events[loop->event_at++]);
    }
    return done;
}

/* ---- fibers ---- */

static struct fiber *next_ready(struct loop *loop)
{
    struct list *node = loop->ready.next;
    if (node == &loop->ready) {
        return NULL;
    }
    if (UNLIKELY(loop->is_shuffled)) {
        for (uint64_t skip = rng_below(&loop->rng, SHUFFLE_AMONG); skip > 0; skip--) {
            node = node->next == &loop->ready ? loop->ready.next : node->next;
        }
    }
    list_remove(node);
    return CONTAINER_OF(node, struct fiber, link);
}

static unsigned run_fibers(struct loop *loop)
{
    unsigned ran = 0;
    while (ran < LOOP_RUNS_A_TICK) {
        struct fiber *fiber = next_ready(loop);
        if (fiber == NULL) {
            break;
        }
        fiber__run(loop, fiber);
        ran++;
    }
    atomic_store_explicit(&loop->running_name, "loop", memory_order_relaxed);
    for (struct list *node = list_pop_front(&loop->yielded); node != NULL;
         node = list_pop_front(&loop->yielded)) {
        list_push_back(&loop->ready, node);
    }
    return ran;
}

void loop__jitter(struct loop *loop)
{
    if (UNLIKELY(loop->is_shuffled) && rng_below(&loop->rng, JITTER_ONE_IN) == 0) {
        fiber_yield();
    }
}

size_t loop__chop(struct loop *loop, size_t bytes)
{
    if (LIKELY(!loop->is_shuffled) || rng_below(&loop->rng, JITTER_ONE_IN) == 0) {
        return bytes;
    }
    return (size_t)rng_below(&loop->rng, bytes) + 1;
}

/* ---- waiting ---- */

static bool has_work(struct loop *loop)
{
    return !list_is_empty(&loop->ready) || !list_is_empty(&loop->idle_ready) ||
           atomic_load_explicit(&loop->posts, memory_order_relaxed) != NULL;
}

/* Milliseconds for epoll, rounded up so that no wait ends just before its timer. */
static int wait_ms(struct loop *loop)
{
    uint64_t next_ns = wheel__next_ns(&loop->wheel);
    uint64_t wait_ns = next_ns <= loop->mono_ns ? 0 : next_ns - loop->mono_ns;
    uint64_t ms = wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0);
    int longest = loop->is_stopping ? STOP_POLL_MS : 3600 * 1000;
    return ms > (uint64_t)longest ? longest : (int)ms;
}

static void fetch_events(struct loop *loop, int timeout_ms)
{
    int n = sys__epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS, timeout_ms);
    CHECK(n >= 0 || errno == EINTR);
    loop->event_at = 0;
    loop->event_count = n < 0 ? 0 : (unsigned)n;
}

static void sleep_until_event(struct loop *loop, int timeout_ms)
{
    /* Sequentially consistent, as post.c explains. */
    atomic_store(&loop->is_asleep, true);
    if (atomic_load(&loop->posts) != NULL) {
        timeout_ms = 0;
    }
    atomic_store_explicit(&loop->running_name, NULL, memory_order_relaxed);
    rcu_thread_offline();
    fetch_events(loop, timeout_ms);
    rcu_thread_online();
    atomic_store_explicit(&loop->running_name, "loop", memory_order_relaxed);
    atomic_store_explicit(&loop->is_asleep, false, memory_order_relaxed);
}

/* How long to sleep when nothing else is ready.  On a fake clock time jumps instead of passing,
 * unless somebody outside may still have to say something: an offload job, or another loop. */
static int sleep_ms(struct loop *loop)
{
    if (LIKELY(!loop->is_fake)) {
        return wait_ms(loop);
    }
    uint64_t next_ns = wheel__next_ns(&loop->wheel);
    if (next_ns <= loop->mono_ns) {
        return 0;
    }
    bool can_jump = next_ns != NEVER && loop->offloads == 0 && loop->run->loop_count == 1;
    if (can_jump) {
        fetch_events(loop, 0);
        if (loop->event_count == 0) {
            loop_clock_advance(loop, next_ns - loop->mono_ns);
        }
        return 0;
    }
    return loop->is_stopping ? STOP_POLL_MS : -1;
}

static void wait_for_work(struct loop *loop)
{
    RCU_READER_DONE();
    rcu_quiescent_state();
    int timeout_ms = has_work(loop) ? 0 : sleep_ms(loop);
    if (timeout_ms != 0) {
        sleep_until_event(loop, timeout_ms);
    } else if (loop->event_at == loop->event_count) {
        fetch_events(loop, 0);
    }
}

/* ---- ticks ---- */

static void tick(struct loop *loop)
{
    read_clocks(loop);
    uint64_t progress = atomic_load_explicit(&loop->progress, memory_order_relaxed);
    atomic_store_explicit(&loop->progress, progress + 1, memory_order_relaxed);
    unsigned done = post__run_all(loop);
    done += run_events(loop);
    done += wheel__fire(&loop->wheel, loop, loop->mono_ns);
    done += run_fibers(loop);
    for (unsigned i = 0; done > 0 && i < loop->hook_count; i++) {
        loop->hooks[i].fn(loop, loop->hooks[i].arg);
    }
    wait_for_work(loop);
}

/* While stopping, a fiber of one loop may wait for an answer of another, so all loops go on until
 * none has a fiber left; or until the time for that is over. */
static bool is_over(struct loop *loop)
{
    if (LIKELY(!loop->is_stopping)) {
        return false;
    }
    bool is_empty = fiber__live(&loop->fibers) == 0;
    if (is_empty && !loop->has_drained) {
        loop->has_drained = true;
        if (atomic_fetch_sub(&loop->run->loops_busy, 1) == 1) {
            for (unsigned i = 0; i < loop->run->loop_count; i++) {
                post__nudge(loop->run->loops[i]);
            }
        }
    }
    if (clock_mono_ns() > loop->stop_by_ns) {
        return true;
    }
    return is_empty && atomic_load(&loop->run->loops_busy) == 0 &&
           atomic_load(&loop->posts) == NULL;
}

/* A stack overflow leaves no room for the handler of its own SIGSEGV.  The sanitizers bring an
 * alternate stack of theirs, and free it at the thread's end, so theirs stays. */
static void *alternate_stack_set(void)
{
    stack_t old;
    if (sigaltstack(NULL, &old) != 0 || (old.ss_flags & SS_DISABLE) == 0) {
        return NULL;
    }
    stack_t alternate = {.ss_sp = xmalloc(ALTERNATE_STACK_BYTES), .ss_size = ALTERNATE_STACK_BYTES};
    int err = sigaltstack(&alternate, NULL);
    CHECK(err == 0);
    return alternate.ss_sp;
}

static void alternate_stack_unset(void **stack_of)
{
    if (*stack_of != NULL) {
        const stack_t none = {.ss_flags = SS_DISABLE};
        int err = sigaltstack(&none, NULL);
        CHECK(err == 0);
        XFREE(*stack_of);
    }
}

void *loop__main(void *arg)
{
    struct loop *loop = arg;
    CHECK_OBJ(loop, LOOP_MAGIC);
    char name[16];
    (void)snprintf(name, sizeof(name), "loop-%u", loop->index);
    run__thread_init(name);
    run__thread_is_prompt();
    self = loop;
    void *alternate_stack = alternate_stack_set();
    context__of_thread(&loop->context);
    rcu_register_thread();
    read_clocks(loop);
    const struct run_conf *conf = &loop->run->conf;
    if (conf->on_start != NULL) {
        conf->on_start(loop, conf->hook_arg);
    }
    sema_post(&loop->run->loop_began);
    while (!is_over(loop)) {
        tick(loop);
    }
    if (conf->on_stop != NULL) {
        conf->on_stop(loop, conf->hook_arg);
    }
    rcu_unregister_thread();
    alternate_stack_unset(&alternate_stack);
    self = NULL;
    return NULL;
}

/* ---- life ---- */

enum rc loop__open(struct loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    list_init(&loop->ready);
    list_init(&loop->yielded);
    list_init(&loop->idle_ready);
    if (loop->is_fake) {
        loop->mono_ns = NS_PER_S;
        loop->real_ns = FAKE_REAL_OFFSET_NS;
    } else {
        read_clocks(loop);
    }
    wheel__init(&loop->wheel, loop->mono_ns);
    if (loop->epoll_fd < 0 || loop->event_fd < 0) {
        return RC_LIMIT;
    }
    return loop__watch(loop, loop->event_fd, EPOLLIN | EPOLLET, NULL, WATCH_POSTS);
}

void loop__close(struct loop *loop)
{
    if (loop->epoll_fd >= 0) {
        (void)close(loop->epoll_fd);
        loop->epoll_fd = -1;
    }
    if (loop->event_fd >= 0) {
        (void)close(loop->event_fd);
        loop->event_fd = -1;
    }
}

struct run *loop_run(const struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    return loop->run;
}

unsigned loop_index(const struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    return loop->index;
}

uint64_t loop_mono_ns(const struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    return loop->mono_ns;
}

uint64_t loop_real_ns(const struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    return loop->real_ns;
}

void loop_slot_set(struct loop *loop, unsigned slot, void *ptr)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(slot < loop->run->slot_count);
    loop->slots[slot] = ptr;
}

void *loop_slot(const struct loop *loop, unsigned slot)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(slot < loop->run->slot_count);
    return loop->slots[slot];
}

void loop_on_tick_end(struct loop *loop, loop_hook_fn *fn, void *arg)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop->hook_count < LOOP_HOOKS);
    loop->hooks[loop->hook_count++] = (struct loop_hook){.fn = fn, .arg = arg};
}

void loop_stats(const struct loop *loop, struct loop_stats *out)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    *out = (struct loop_stats){
        .fibers_live = fiber__live(&loop->fibers),
        .fibers_made = loop->fibers.all_count,
        .fibers_started = loop->fibers.started,
        .fibers_refused = loop->fibers.refused,
    };
}

void run_describe_self(struct sb *out)
{
    const struct loop *loop = self;
    if (loop == NULL) {
        sb_lit(out, "no loop");
        return;
    }
    sb_lit(out, "loop ");
    sb_u64(out, loop->index);
    const struct fiber *fiber = loop->current;
    if (fiber == NULL) {
        return;
    }
    sb_lit(out, ", fiber ");
    sb_put(out, str_of(fiber->name));
    if (fiber->description.len > 0) {
        sb_lit(out, ": ");
        sb_put(out, fiber->description);
    }
}
