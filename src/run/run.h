/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Loops, fibers, timers, posting, offload threads, gates.  Sockets are in run/sock.h, RCU for the
 * threads of loops in run/rcu.h.
 *
 * One thread a loop.  Fibers, timers and sockets live and die on their home loop and never change
 * thread; other threads post a message.  A tick runs, in this order:
 *
 *   1 read both clocks   2 posted messages   3 sockets that are ready   4 timers that are due
 *   5 fibers that can run, until none can   6 tick-end hooks (log, counters)
 *   7 tell RCU, go offline, wait for 2, 3 or 4
 *
 * A function without YIELDS never suspends. */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include "base/clock.h"
#include "base/list.h"
#include "base/rc.h"
#include "base/str.h"

struct run;
struct loop;
struct fiber;

/* ---- the runtime: all loops of a process ---- */

typedef void loop_hook_fn(struct loop *loop, void *arg);
/* Named by the watchdog thread, on that thread: a fiber (or "loop") that held its loop. */
typedef void run_stall_fn(unsigned loop_index, const char *fiber_name, uint64_t held_ns, void *arg);

struct run_conf {
    unsigned loops;           /* 0: one for each core that the process may use */
    unsigned offload_threads; /* at least 1 */
    unsigned fibers_max;      /* a loop; fiber_start returns RC_LIMIT past it */
    uint64_t stall_ns;        /* 0: no watchdog */
    run_stall_fn *on_stall;
    void *stall_arg;
    loop_hook_fn *on_start; /* on each loop's thread, before its first tick */
    loop_hook_fn *on_stop;  /* on each loop's thread, after its last */
    void *hook_arg;
    /* For tests.  On a fake clock time stands still, except for loop_clock_advance; a runtime of
     * one loop, when nothing else is ready, jumps to its next timer. */
    bool fake_clock;
    /* For tests, 0: off.  Ready fibers run in an order drawn from the seed, waits and socket calls
     * yield now and then, reads and writes move fewer bytes than they could. */
    uint64_t shuffle_seed;
};

/* The caller owns the runtime.  No thread runs yet.  fibers_max is lowered where the kernel allows
 * fewer mappings (before 6.13 a stack costs two of vm.max_map_count; a quarter of those is ours).
 */
struct run *run_new(const struct run_conf *conf);
/* Starts all threads; returns when each loop has run on_start.  RC_LIMIT when the system refuses.
 */
MUST_USE enum rc run_start(struct run *run);
/* Asks every loop to end after its tick and waits for the threads.  Fibers that are still alive are
 * cancelled first: their waits return RC_CANCELLED until they end. */
void run_stop(struct run *run);
void run_free(struct run **run);

unsigned run_loops(const struct run *run);
struct loop *run_loop(struct run *run, unsigned index);

/* The calling thread's loop, NULL elsewhere. */
struct loop *loop_self(void);
struct run *loop_run(const struct loop *loop);
unsigned loop_index(const struct loop *loop);
/* The clocks as read at the start of the tick (or after a long step: loop_clock_refresh). */
uint64_t loop_mono_ns(const struct loop *loop);
uint64_t loop_real_ns(const struct loop *loop);
void loop_clock_refresh(struct loop *loop);
/* Moves a fake clock, on the loop's thread; timers that became due run in this or the next tick. */
void loop_clock_advance(struct loop *loop, uint64_t ns);

struct loop_stats {
    unsigned fibers_live;
    unsigned fibers_made; /* live and pooled: the stacks that were ever needed at once */
    uint64_t fibers_started;
    uint64_t fibers_refused; /* fiber_start said RC_LIMIT */
};
/* Exact on the loop's own thread, or when it does not run. */
void loop_stats(const struct loop *loop, struct loop_stats *out);

/* Appends who runs on the calling thread: loop, fiber, its description.  Safe in a signal handler
 * for a fault (loops' threads have an alternate stack). */
struct sb;
void run_describe_self(struct sb *out);

/* Places for one pointer a loop, for rooms above.  Claim before run_start; at most 16. */
unsigned run_slot_claim(struct run *run);
void loop_slot_set(struct loop *loop, unsigned slot, void *ptr);
void *loop_slot(const struct loop *loop, unsigned slot);

/* Called on the loop's thread at the end of every tick that did something. At most 8 a loop. */
void loop_on_tick_end(struct loop *loop, loop_hook_fn *fn, void *arg);

/* Memory of the process that is nobody else's and no file's (bodies are files), in bytes; 0 when
 * the system does not tell.  Costs three system calls. */
uint64_t run_memory_bytes(void);

/* ---- posting: the one way into another loop ---- */

struct post;
typedef void post_fn(struct post *post, struct loop *loop);
/* Embedded in what it is about; owned by the receiving loop from loop_post until fn is called.
 * Messages of one sender arrive in order.  fn may not suspend. */
struct post {
    struct post *next;
    post_fn *fn;
};
/* From any thread.  Never fails, never blocks.  What is posted after run_stop is not run. */
void loop_post(struct loop *loop, struct post *post);

/* ---- fibers ---- */

typedef void fiber_fn(void *arg); /* YIELDS */

/* Starts a fiber on the calling thread's loop; it runs later in this tick.  `name` is borrowed and
 * must be static.  RC_LIMIT: no fiber (or no memory for its stack) is left. */
MUST_USE enum rc fiber_start(fiber_fn *fn, void *arg, const char *name);
struct fiber *fiber_self(void); /* NULL outside fibers; good until the fiber's fn returns */
const char *fiber_name(const struct fiber *fiber);
/* A line for panic reports, e.g. the URL at work; borrowed until replaced with NULL. */
void fiber_describe(struct str text);
/* What the calling fiber works on, for whoever has to say what a fault was about: a borrow that the
 * fiber ends with NULL.  fiber_subject is async-signal-safe; NULL outside fibers. */
void fiber_hold(void *subject);
void *fiber_subject(void);

/* Suspends until fiber_wake, or the deadline (monotonic; NEVER is allowed only for waits that
 * somebody is sure to end).  RC_OK, RC_TIMEOUT, RC_CANCELLED.  Yields. */
YIELDS MUST_USE enum rc fiber_wait(uint64_t deadline_ns);
/* Ends a wait with RC_OK; on the fiber's own loop only.  A wake before the wait is kept (one), so
 * check-then-wait needs no lock on one loop. */
void fiber_wake(struct fiber *fiber);
/* Makes this and every later wait of the fiber return RC_CANCELLED; on its own loop only. */
void fiber_cancel(struct fiber *fiber);
bool fiber_is_cancelled(const struct fiber *fiber);
/* Lets others run.  Yields. */
YIELDS void fiber_yield(void);
/* RC_OK after the whole time (a wake is kept, not taken), RC_CANCELLED.  Yields; what is no fiber
 * blocks. */
YIELDS MUST_USE enum rc fiber_sleep(uint64_t ns);

/* NO_YIELD { ... }: a suspension inside is a bug and fails a check, in every build. Do not leave
 * the block by return, break or goto. */
void fiber_pin(void);
void fiber_unpin(void);
#define NO_YIELD                                                                                   \
    for (int no_yield_once = (fiber_pin(), 1); no_yield_once; no_yield_once = (fiber_unpin(), 0))

/* ---- timers: for what has no fiber ---- */

struct timer;
typedef void timer_fn(struct timer *timer, struct loop *loop);
/* Zero-initialise; embedded in what it is about.  Coarse: up to 2 ms late, never early. */
struct timer {
    struct list link;
    uint64_t when_ns;
    timer_fn *fn;
};
/* Arms or moves (cheapest when it moves later).  On the loop's thread.  NEVER disarms. */
void timer_arm(struct loop *loop, struct timer *timer, uint64_t when_ns, timer_fn *fn);
/* Harmless when it is not armed. */
void timer_disarm(struct loop *loop, struct timer *timer);
static inline bool timer_is_armed(const struct timer *timer)
{
    return timer->fn != NULL;
}

/* ---- offload: for what would block the loop ---- */

typedef void offload_fn(void *arg);
/* Runs fn(arg) on an offload thread and waits until it is done; it cannot be cancelled, since arg
 * may be on the fiber's stack.  From outside a fiber it simply calls fn.  Yields. */
YIELDS void offload(offload_fn *fn, void *arg);
/* Without waiting: fn runs some time later; from any thread. */
void offload_detached(struct run *run, offload_fn *fn, void *take_arg);

/* ---- gates: how things end ---- */

/* Counts what is under way on one loop (requests, fetches).  Closing waits for zero. */
struct gate {
    struct fiber *closer;
    unsigned inside;
    bool closed;
};
/* RC_CANCELLED when the gate is closed. */
MUST_USE enum rc gate_enter(struct gate *gate);
void gate_leave(struct gate *gate);
/* RC_TIMEOUT when some have not left by then, RC_CANCELLED.  Yields. */
YIELDS MUST_USE enum rc gate_close(struct gate *gate, uint64_t deadline_ns);

/* ---- pools of equal blocks, a free list each loop ---- */

struct pool;
/* `cached_max`: how many free blocks a loop keeps; others go back to the heap. */
struct pool *pool_new(struct run *run, const char *name, size_t block_bytes, unsigned cached_max);
void pool_free(struct pool **pool);
/* Never NULL; uninitialised; on a loop's thread. */
void *pool_get(struct pool *pool);
/* Back to the calling loop's list. */
void pool_put(struct pool *pool, void *take_block);
size_t pool_block_bytes(const struct pool *pool);
/* Blocks that are out, over all loops. */
uint64_t pool_taken(const struct pool *pool);

#endif
