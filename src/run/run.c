/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The runtime: makes the loops, starts and stops the threads.
 *
 *   start:  offload threads, loops (each tells when its first tick is next), watchdog
 *   stop:   watchdog; loops cancel their fibers and end when no loop has one left; offload threads
 *
 * Offload threads go last because fibers wait for them; and stacks are freed (run_free) only after
 * that, because jobs may use them. */
#include "run/run_priv.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/mutex.h"

/* A fiber that does not end when it is cancelled is a bug, but not one worth hanging for. */
static const uint64_t STOP_WITHIN_NS = 10 * NS_PER_S;

/* The least that the kernel grants. */
static const uint64_t PROMPT_TURN_NS = 100000;
/* A third of a loop's weight. */
enum { PATIENT_NICE = 5 };

static unsigned usable_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

static struct loop *loop_new(struct run *run, unsigned index, unsigned fibers_max)
{
    struct loop *loop = xaligned(CACHE_LINE, sizeof(*loop));
    memset(loop, 0, sizeof(*loop));
    loop->magic = LOOP_MAGIC;
    loop->index = index;
    loop->run = run;
    loop->epoll_fd = -1;
    loop->event_fd = -1;
    loop->is_fake = run->conf.fake_clock;
    loop->is_shuffled = run->conf.shuffle_seed != 0;
    loop->rng.state = run->conf.shuffle_seed + index;
    fiber__pool_init(loop, fibers_max);
    return loop;
}

struct run *run_new(const struct run_conf *conf)
{
    CHECK(conf != NULL);
    CHECK(conf->fibers_max > 0);
    CHECK(conf->offload_threads > 0);
    struct run *run = xcalloc(1, sizeof(*run));
    run->magic = RUN_MAGIC;
    run->conf = *conf;
    run->loop_count = conf->loops > 0 ? conf->loops : usable_cores();
    run->loops = xcalloc(run->loop_count, sizeof(struct loop *));
    unsigned cap = stack__cap() / run->loop_count;
    unsigned fibers_max = conf->fibers_max < cap ? conf->fibers_max : cap;
    for (unsigned i = 0; i < run->loop_count; i++) {
        run->loops[i] = loop_new(run, i, fibers_max);
    }
    sema_init(&run->loop_began);
    mutex_init(&run->offload.lock);
    (void)pthread_cond_init(&run->offload.wake, NULL);
    mutex_init(&run->watchdog.lock);
    (void)pthread_cond_init(&run->watchdog.wake, NULL);
    return run;
}

void run_free(struct run **run_of)
{
    struct run *run = *run_of;
    if (run == NULL) {
        return;
    }
    CHECK_OBJ(run, RUN_MAGIC);
    CHECK(!run->is_started);
    for (unsigned i = 0; i < run->loop_count; i++) {
        loop__close(run->loops[i]);
        fiber__pool_fini(run->loops[i]);
        run->loops[i]->magic = 0;
        XFREE(run->loops[i]);
    }
    XFREE(run->loops);
    sema_fini(&run->loop_began);
    mutex_fini(&run->offload.lock);
    (void)pthread_cond_destroy(&run->offload.wake);
    mutex_fini(&run->watchdog.lock);
    (void)pthread_cond_destroy(&run->watchdog.wake);
    run->magic = 0;
    XFREE(*run_of);
}

/* ---- threads ---- */

/* Signals go to the main thread, but faults belong to the thread that made them.  SIGPIPE is among
 * those blocked: sendfile has no MSG_NOSIGNAL. */
static void block_signals(void)
{
    sigset_t set;
    (void)sigfillset(&set);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        (void)sigdelset(&set, faults[i]);
    }
    int err = pthread_sigmask(SIG_SETMASK, &set, NULL);
    CHECK(err == 0);
}

void run__thread_init(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
    block_signals();
}

/* As the kernel has it (sched_setattr(2)); the C library does not. */
struct schedule {
    uint32_t bytes;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns; /* under SCHED_OTHER, since Linux 6.12: how long a turn is */
    uint64_t deadline_ns;
    uint64_t period_ns;
};

void run__thread_is_prompt(void)
{
    struct schedule s = {.bytes = sizeof s};
    if (syscall(SYS_sched_getattr, 0, &s, sizeof s, 0) == 0 && s.policy == SCHED_OTHER) {
        s.runtime_ns = PROMPT_TURN_NS;
        (void)!syscall(SYS_sched_setattr, 0, &s, 0);
    }
}

void run__thread_is_patient(void)
{
    (void)!nice(PATIENT_NICE);
}

static enum rc start_loops(struct run *run)
{
    for (unsigned i = 0; i < run->loop_count; i++) {
        struct loop *loop = run->loops[i];
        enum rc rc = loop__open(loop);
        if (rc != RC_OK || pthread_create(&loop->thread, NULL, loop__main, loop) != 0) {
            return RC_LIMIT;
        }
        loop->has_started = true;
        sema_wait(&run->loop_began);
    }
    return RC_OK;
}

enum rc run_start(struct run *run)
{
    CHECK_OBJ(run, RUN_MAGIC);
    CHECK(!run->is_started);
    run->is_started = true;
    enum rc rc = offload__start(run);
    if (rc == RC_OK) {
        rc = start_loops(run);
    }
    if (rc == RC_OK) {
        rc = watchdog__start(run);
    }
    if (rc != RC_OK) {
        run_stop(run);
    }
    return rc;
}

static void on_stop_post(struct post *post, struct loop *loop)
{
    (void)post;
    loop->is_stopping = true;
    loop->stop_by_ns = clock_mono_ns() + STOP_WITHIN_NS;
    fiber__cancel_all(loop);
}

void run_stop(struct run *run)
{
    CHECK_OBJ(run, RUN_MAGIC);
    CHECK(loop_self() == NULL);
    if (!run->is_started) {
        return;
    }
    watchdog__stop(run);
    unsigned started = 0;
    for (unsigned i = 0; i < run->loop_count; i++) {
        started += run->loops[i]->has_started;
    }
    atomic_store(&run->loops_busy, started);
    for (unsigned i = 0; i < run->loop_count; i++) {
        if (run->loops[i]->has_started) {
            run->loops[i]->stop_post.fn = on_stop_post;
            loop_post(run->loops[i], &run->loops[i]->stop_post);
        }
    }
    for (unsigned i = 0; i < run->loop_count; i++) {
        if (run->loops[i]->has_started) {
            int err = pthread_join(run->loops[i]->thread, NULL);
            CHECK(err == 0);
            run->loops[i]->has_started = false;
        }
    }
    offload__stop(run);
    run->is_started = false;
}

unsigned run_loops(const struct run *run)
{
    CHECK_OBJ(run, RUN_MAGIC);
    return run->loop_count;
}

struct loop *run_loop(struct run *run, unsigned index)
{
    CHECK_OBJ(run, RUN_MAGIC);
    CHECK(index < run->loop_count);
    return run->loops[index];
}

unsigned run_slot_claim(struct run *run)
{
    CHECK_OBJ(run, RUN_MAGIC);
    CHECK(!run->is_started);
    CHECK(run->slot_count < LOOP_SLOTS);
    return run->slot_count++;
}
