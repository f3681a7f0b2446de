/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of run/ share.  Everything in a loop belongs to its thread, except what stands
 * under "other threads". */
#ifndef RUN_RUN_PRIV_H
#define RUN_RUN_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "base/check.h"
#include "base/rng.h"
#include "base/sema.h"
#include "run/run.h"
#include "run/sock.h"

#if defined(__SANITIZE_ADDRESS__)
#define RUN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RUN_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define RUN_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RUN_TSAN 1
#endif
#endif
#ifndef RUN_ASAN
#define RUN_ASAN 0
#endif
#ifndef RUN_TSAN
#define RUN_TSAN 0
#endif

#define RUN_MAGIC 0x2b7e1516U
#define LOOP_MAGIC 0x28aed2a6U
#define FIBER_MAGIC 0xabf71588U
#define POOL_MAGIC 0x09cf4f3cU
#define LISTENER_MAGIC 0x762e7160U

enum {
    CACHE_LINE = 64,
    LOOP_SLOTS = 16,
    LOOP_HOOKS = 8,
    LOOP_EVENTS = 256,
    /* Fibers that keep waking each other must not keep the loop from its sockets. */
    LOOP_RUNS_A_TICK = 4096,
    WHEEL_BITS = 6,
    WHEEL_SLOTS = 1 << WHEEL_BITS,
    WHEEL_LEVELS = 7,
};

/* ---- switch.c ---- */

struct context {
    void *fctx; /* where it stands while it does not run */
    void *stack_low;
    size_t stack_bytes;
    void *asan_fake;
    void *tsan_fiber;
    void (*entry)(void *arg); /* never returns */
    void *arg;
};

/* The calling thread's own stack becomes a context, so that it can be left and come back to. */
void context__of_thread(struct context *ctx);
/* A context that starts in entry(arg).  The stack is borrowed. */
void context__init(struct context *ctx, void *stack_low, size_t stack_bytes,
                   void (*entry)(void *arg), void *arg);
/* Frees what the sanitizers keep; the context does not run. */
void context__fini(struct context *ctx);
/* Leaves `from`, which is running, and goes on with `to`.  Returns when somebody comes back. */
void context__switch(struct context *from, struct context *to);

/* ---- stack.c ---- */

struct stack_chunk;

/* Stacks are taken and never given back singly: the fiber pool above keeps them. */
struct stack_store {
    struct stack_chunk *chunks;
    unsigned left_in_chunk;
};

/* Sets the usable part; RC_LIMIT when the system gives no more. */
MUST_USE enum rc stack__take(struct stack_store *store, void **low, size_t *bytes);
/* Gives the pages of an unused stack back to the system, except those at its top. */
void stack__trim(void *low, size_t bytes);
void stack__free_all(struct stack_store *store);
/* How many stacks this process can have before it runs out of mappings. */
unsigned stack__cap(void);

/* ---- timer.c ---- */

struct wheel {
    uint64_t now_tick;
    uint64_t occupied[WHEEL_LEVELS]; /* a set bit may be stale, a clear one is true */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    struct list due;
};

void wheel__init(struct wheel *wheel, uint64_t now_ns);
void wheel__arm(struct wheel *wheel, struct timer *timer, uint64_t when_ns, timer_fn *fn);
void wheel__disarm(struct timer *timer);
/* Moves what is due by now_ns to wheel->due. */
void wheel__advance(struct wheel *wheel, uint64_t now_ns);
/* A time at or before which nothing happens; NEVER when no timer is armed. */
uint64_t wheel__next_ns(struct wheel *wheel);
/* Calls each timer that is due; returns how many. */
unsigned wheel__fire(struct wheel *wheel, struct loop *loop, uint64_t now_ns);

/* ---- fibers ---- */

enum fiber_state { FIBER_POOLED, FIBER_READY, FIBER_RUNNING, FIBER_WAITING };

/* What a waiting fiber waits in.  fiber_wake ends only WAIT_USER and is kept through the others, so
 * that a wake is never lost to a socket or an offload job in between. */
enum fiber_wait_kind {
    WAIT_NONE,
    WAIT_USER,
    WAIT_RUN,  /* a socket, a gate, a sleep */
    WAIT_HELD, /* something that uses the fiber's stack: not even a cancel ends it */
};

struct fiber {
    uint32_t magic;
    enum fiber_state state;
    enum fiber_wait_kind wait;
    enum rc wait_rc;
    unsigned pins;
    bool is_woken; /* a wake that came before its wait */
    bool is_cancelled;
    struct loop *loop;
    struct list link; /* on loop->ready or loop->yielded */
    fiber_fn *fn;
    void *arg;
    const char *name;
    struct str description;
    size_t moved_bytes; /* through sockets, since it last suspended */
    void *subject;
    uint64_t deadline_ns; /* of the wait; the timer may still stand for an earlier one */
    struct timer timer;
    struct context context;
};

struct fiber_pool {
    struct fiber **all;  /* every fiber that was ever made */
    struct fiber **idle; /* a stack: the last one used is warm */
    unsigned all_count;
    unsigned idle_count;
    unsigned idle_low;     /* lowest idle_count since the last trim */
    unsigned idle_trimmed; /* idle[0 .. idle_trimmed) are trimmed */
    unsigned max;
    uint64_t started;
    uint64_t refused;
    struct stack_store stacks;
    struct timer trim_timer;
};

void fiber__pool_init(struct loop *loop, unsigned fibers_max);
void fiber__pool_fini(struct loop *loop);
/* Switches to a ready fiber until it suspends or ends. */
void fiber__run(struct loop *loop, struct fiber *fiber);
/* Suspends the calling fiber.  RC_OK, RC_TIMEOUT, RC_CANCELLED (never in WAIT_HELD).  Yields. */
YIELDS MUST_USE enum rc fiber__wait(struct fiber *fiber, enum fiber_wait_kind kind,
                                    uint64_t deadline_ns);
/* Ends a WAIT_RUN or WAIT_HELD with RC_OK. */
void fiber__resume(struct fiber *fiber);
void fiber__cancel_all(struct loop *loop);
static inline unsigned fiber__live(const struct fiber_pool *pool)
{
    return pool->all_count - pool->idle_count;
}

/* ---- loops ---- */

struct loop_hook {
    loop_hook_fn *fn;
    void *arg;
};

struct loop {
    uint32_t magic;
    unsigned index;
    struct run *run;

    /* Other threads: posts are pushed at the head; `is_asleep` tells them to write event_fd. */
    _Alignas(CACHE_LINE) struct post *_Atomic posts;
    atomic_bool is_asleep;
    /* The watchdog reads these: what runs (NULL: waiting), and a count that moves on each switch.
     */
    _Alignas(CACHE_LINE) const char *_Atomic running_name;
    atomic_uint_least64_t progress;

    _Alignas(CACHE_LINE) uint64_t mono_ns;
    uint64_t real_ns;
    struct fiber *current;
    struct list ready;
    struct list yielded;    /* they run in the next tick, after the sockets */
    struct list idle_ready; /* socks that were readable when sock_idle was called */
    int epoll_fd;
    int event_fd;
    unsigned event_at;
    unsigned event_count;
    unsigned offloads; /* jobs of this loop that are not back */
    unsigned hook_count;
    bool is_fake; /* the clock moves only when it is told to, or when all wait */
    bool is_shuffled;
    bool is_stopping;
    bool has_drained;
    bool has_started; /* its thread runs */
    uint64_t stop_by_ns;
    struct rng rng;
    struct context context;
    struct fiber_pool fibers;
    struct post stop_post;
    pthread_t thread;
    void *slots[LOOP_SLOTS];
    struct loop_hook hooks[LOOP_HOOKS];
    struct wheel wheel;
    struct epoll_event events[LOOP_EVENTS];
};

/* What an epoll event points at: the kind is in the low bits of the pointer. */
enum watch_kind { WATCH_SOCK, WATCH_LISTENER, WATCH_FD, WATCH_POSTS, WATCH_MASK = 3 };

MUST_USE enum rc loop__open(struct loop *loop);
void loop__close(struct loop *loop);
void *loop__main(void *arg);
/* Registers fd; RC_NOSPACE, RC_LIMIT, RC_INVALID. */
MUST_USE enum rc loop__watch(struct loop *loop, int fd, uint32_t events, void *owner,
                             enum watch_kind kind);
/* Registers fd for other events. */
MUST_USE enum rc loop__rewatch(struct loop *loop, int fd, uint32_t events, void *owner,
                               enum watch_kind kind);
/* Unregisters fd and forgets events of `owner` that were fetched and not looked at yet. */
void loop__unwatch(struct loop *loop, int fd, void *owner, enum watch_kind kind);
/* Under a shuffle seed: yields now and then, where a suspension is possible.  Yields. */
YIELDS void loop__jitter(struct loop *loop);
/* Under a shuffle seed: a part of `bytes`, at least 1; otherwise all. */
size_t loop__chop(struct loop *loop, size_t bytes);

/* ---- post.c ---- */

/* Runs what was posted; returns how many. */
unsigned post__run_all(struct loop *loop);
void post__nudge(struct loop *loop);

/* ---- what happens to watched descriptors ---- */

struct fd_wait {
    struct fiber *fiber;
};

/* After a refused write: makes sure that room will be told. */
MUST_USE enum rc sock__want_room(struct sock *sock);
void sock__on_event(struct sock *sock, uint32_t events);
/* The socks of loop->idle_ready; returns how many were told. */
unsigned sock__run_idle_ready(struct loop *loop);
void listener__on_event(struct listener *listener);

/* ---- offload.c, watchdog.c ---- */

struct offload_job {
    struct post post; /* brings it back; first, see offload.c */
    struct offload_job *next;
    offload_fn *fn;
    void *arg;
    struct fiber *fiber; /* NULL: nobody waits, and the job is freed */
    bool is_done;
};

struct offload_queue {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct offload_job *first;
    struct offload_job *last;
    pthread_t *threads;
    unsigned thread_count;
    bool is_stopping;
};

MUST_USE enum rc offload__start(struct run *run);
void offload__stop(struct run *run);

struct watchdog {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool is_running;
    bool is_stopping;
};

MUST_USE enum rc watchdog__start(struct run *run);
void watchdog__stop(struct run *run);

/* ---- the runtime ---- */

struct run {
    uint32_t magic;
    struct run_conf conf;
    unsigned loop_count;
    unsigned slot_count;
    bool is_started;
    struct loop **loops;
    sem_t loop_began;
    atomic_uint loops_busy; /* while stopping: loops that still have fibers */
    struct offload_queue offload;
    struct watchdog watchdog;
};

/* Names the calling thread, blocks the signals that are not about its own faults. */
void run__thread_init(const char *name);
/* Where loops and offload threads share a core a loop that wakes up is to run at once: it takes
 * short turns, and an offload thread yields to it.  Both are wishes, and refusals are no harm. */
void run__thread_is_prompt(void);
void run__thread_is_patient(void);

#endif
