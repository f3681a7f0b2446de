/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Fibers, waits, wakes, cancelling, gates, offload; and what must kill the process does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rng.h"
#include "base/sb.h"
#include "run/run_priv.h"
#include "support/run_fiber.h"

static void must_start(fiber_fn *fn, void *arg)
{
    assert_int_equal(fiber_start(fn, arg, "helper"), RC_OK);
}

static void run_fake(fiber_fn *fn, void *arg)
{
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, fn, arg);
}

/* ---- start ---- */

static void append_digit(void *arg)
{
    struct sb *sb = arg;
    sb_u64(sb, sb->len);
}

static void start_three(void *arg)
{
    struct sb *sb = arg;
    for (unsigned i = 0; i < 3; i++) {
        must_start(append_digit, sb);
    }
    assert_int_equal(sb->len, 0);
    fiber_yield();
    assert_int_equal(sb->len, 3);
}

static void fibers_run_in_the_order_of_their_start(void **state)
{
    (void)state;
    char buf[16];
    struct sb sb = sb_of(buf, sizeof(buf));
    run_once(start_three, &sb);
    assert_memory_equal(buf, "012", 3);
}

static void sleep_long(void *arg)
{
    (void)arg;
    enum rc rc = fiber_sleep(NS_PER_S);
    assert_true(rc == RC_OK || rc == RC_CANCELLED);
}

static void fill_up(void *arg)
{
    (void)arg;
    struct loop_stats stats;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 49; i++) {
            must_start(sleep_long, NULL);
        }
        assert_int_equal(fiber_start(sleep_long, NULL, "too many"), RC_LIMIT);
        assert_int_equal(fiber_sleep(2 * NS_PER_S), RC_OK);
        loop_stats(loop_self(), &stats);
        assert_int_equal(stats.fibers_live, 1);
        assert_int_equal(stats.fibers_made, 50);
        assert_int_equal(stats.fibers_refused, round + 1);
    }
}

static void starts_past_the_limit_are_refused(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    conf.fibers_max = 50;
    run_once_with(&conf, fill_up, NULL);
}

/* ---- wait and wake ---- */

static void wake_arg(void *arg)
{
    fiber_wake(arg);
}

static void wake_in_all_orders(void *arg)
{
    (void)arg;
    struct fiber *self = fiber_self();
    /* Before the wait: kept, once. */
    fiber_wake(self);
    fiber_wake(self);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    uint64_t t0 = loop_mono_ns(loop_self());
    assert_int_equal(fiber_wait(t0 + NS_PER_S), RC_TIMEOUT);
    assert_true(loop_mono_ns(loop_self()) >= t0 + NS_PER_S);
    assert_true(loop_mono_ns(loop_self()) <= t0 + NS_PER_S + 2 * NS_PER_MS);
    /* During the wait. */
    must_start(wake_arg, self);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    /* During a sleep: the sleep is whole, the wake kept. */
    must_start(wake_arg, self);
    t0 = loop_mono_ns(loop_self());
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_true(loop_mono_ns(loop_self()) >= t0 + NS_PER_S);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    /* A deadline that has passed. */
    assert_int_equal(fiber_wait(1), RC_TIMEOUT);
    /* The timer of a wait that was woken does not disturb later waits, shorter or longer. */
    t0 = loop_mono_ns(loop_self());
    must_start(wake_arg, self);
    assert_int_equal(fiber_wait(t0 + NS_PER_S), RC_OK);
    assert_int_equal(fiber_wait(t0 + 500 * NS_PER_MS), RC_TIMEOUT);
    must_start(wake_arg, self);
    assert_int_equal(fiber_wait(t0 + NS_PER_S), RC_OK);
    assert_int_equal(fiber_wait(t0 + 3 * NS_PER_S), RC_TIMEOUT);
    assert_true(loop_mono_ns(loop_self()) >= t0 + 3 * NS_PER_S);
}

static void wakes_are_not_lost(void **state)
{
    (void)state;
    run_fake(wake_in_all_orders, NULL);
}

struct late_wake {
    struct fiber *sleeper;
    enum rc rc;
};

static void wait_one_second(void *arg)
{
    struct late_wake *late = arg;
    late->sleeper = fiber_self();
    late->rc = fiber_wait(loop_mono_ns(loop_self()) + NS_PER_S);
    /* Nothing is left over of the wake. */
    assert_int_equal(fiber_wait(loop_mono_ns(loop_self()) + NS_PER_S), RC_TIMEOUT);
}

static void wake_after_the_deadline(void *arg)
{
    struct late_wake *late = arg;
    must_start(wait_one_second, late);
    /* This fiber's deadline is the same and was armed first, so it runs first. */
    assert_int_equal(fiber_wait(loop_mono_ns(loop_self()) + NS_PER_S), RC_TIMEOUT);
    fiber_wake(late->sleeper);
    assert_int_equal(fiber_sleep(5 * NS_PER_S), RC_OK);
    assert_int_equal(late->rc, RC_OK);
}

static void a_wake_beats_a_deadline_not_yet_seen(void **state)
{
    (void)state;
    struct late_wake late = {.rc = RC_IO};
    run_fake(wake_after_the_deadline, &late);
}

/* ---- fairness ---- */

struct restless {
    struct timer timer;
    struct fiber *fibers[2];
    bool is_over;
};

static void end_restlessness(struct timer *timer, struct loop *loop)
{
    (void)loop;
    CONTAINER_OF(timer, struct restless, timer)->is_over = true;
}

static void wake_the_other(void *arg)
{
    struct restless *r = arg;
    unsigned own = r->fibers[0] == NULL ? 0 : 1;
    r->fibers[own] = fiber_self();
    while (!r->is_over) {
        if (r->fibers[1 - own] != NULL) {
            fiber_wake(r->fibers[1 - own]);
        }
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    fiber_wake(r->fibers[1 - own]);
    fiber_yield(); /* so that the other's last wake finds us */
}

static void keep_each_other_busy(void *arg)
{
    struct restless *r = arg;
    must_start(wake_the_other, r);
    must_start(wake_the_other, r);
    struct loop *loop = loop_self();
    timer_arm(loop, &r->timer, loop_mono_ns(loop) + NS_PER_MS, end_restlessness);
    while (!r->is_over) {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
    }
}

static void busy_fibers_do_not_stop_the_clock(void **state)
{
    (void)state;
    struct restless r = {0};
    run_once(keep_each_other_busy, &r);
}

/* ---- cancel ---- */

struct victim {
    struct fiber *fiber;
    unsigned seen;
};

static void be_cancelled(void *arg)
{
    struct victim *v = arg;
    v->fiber = fiber_self();
    assert_false(fiber_is_cancelled(v->fiber));
    assert_int_equal(fiber_wait(NEVER), RC_CANCELLED);
    assert_true(fiber_is_cancelled(v->fiber));
    assert_int_equal(fiber_wait(NEVER), RC_CANCELLED);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_CANCELLED);
    v->seen++;
}

static void cancel_one(void *arg)
{
    struct victim *v = arg;
    must_start(be_cancelled, v);
    fiber_yield();
    fiber_cancel(v->fiber);
    fiber_wake(v->fiber);
    fiber_yield();
    assert_int_equal(v->seen, 1);
    /* Left waiting: the end of the runtime cancels it. */
    must_start(be_cancelled, v);
    fiber_yield();
}

static void cancelling_ends_every_wait(void **state)
{
    (void)state;
    struct victim v = {0};
    run_once(cancel_one, &v);
    assert_int_equal(v.seen, 2);
}

/* ---- gates ---- */

struct gated {
    struct gate gate;
    unsigned left;
};

static void pass_gate(void *arg)
{
    struct gated *g = arg;
    assert_int_equal(gate_enter(&g->gate), RC_OK);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    g->left++;
    gate_leave(&g->gate);
}

static void close_gate(void *arg)
{
    struct gated *g = arg;
    for (unsigned i = 0; i < 5; i++) {
        must_start(pass_gate, g);
    }
    fiber_yield();
    uint64_t now = loop_mono_ns(loop_self());
    assert_int_equal(gate_close(&g->gate, now + NS_PER_MS), RC_TIMEOUT);
    assert_int_equal(gate_enter(&g->gate), RC_CANCELLED);
    assert_int_equal(gate_close(&g->gate, NEVER), RC_OK);
    assert_int_equal(g->left, 5);
    assert_int_equal(gate_close(&g->gate, NEVER), RC_OK);
}

static void closing_a_gate_waits_for_those_inside(void **state)
{
    (void)state;
    struct gated g = {0};
    run_fake(close_gate, &g);
}

/* ---- offload ---- */

struct away {
    struct fiber *fiber;
    pthread_t thread;
    unsigned done;
};

static void note_thread(void *arg)
{
    struct away *away = arg;
    away->thread = pthread_self();
    assert_null(loop_self());
    away->done++;
}

static void go_away(void *arg)
{
    struct away *away = arg;
    away->fiber = fiber_self();
    /* Neither takes the wake nor ends at the cancel. */
    fiber_wake(away->fiber);
    fiber_cancel(away->fiber);
    offload(note_thread, away);
    assert_int_equal(away->done, 1);
    assert_false(pthread_equal(away->thread, pthread_self()));
    assert_int_equal(fiber_wait(NEVER), RC_CANCELLED);
}

static void offload_runs_elsewhere_and_waits(void **state)
{
    (void)state;
    struct away away = {0};
    run_once(go_away, &away);
    struct away here = {0};
    offload(note_thread, &here);
    assert_true(pthread_equal(here.thread, pthread_self()));
}

static void keep_wake_through_offload(void *arg)
{
    struct away *away = arg;
    fiber_wake(fiber_self());
    offload(note_thread, away);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    offload_detached(loop_run(loop_self()), note_thread, away);
}

static void offload_keeps_a_wake(void **state)
{
    (void)state;
    struct away away = {0};
    run_once(keep_wake_through_offload, &away);
    assert_int_equal(away.done, 2); /* the detached one, too, is done before the end */
}

/* ---- descriptions ---- */

static void describe(void *arg)
{
    (void)arg;
    char buf[128];
    struct sb sb = sb_of(buf, sizeof(buf));
    fiber_describe(STR("GET /index.html"));
    run_describe_self(&sb);
    assert_true(str_eq(sb_str(&sb), STR("loop 0, fiber test: GET /index.html")));
}

static void a_fiber_tells_what_it_does(void **state)
{
    (void)state;
    run_once(describe, NULL);
}

/* ---- slots and hooks ---- */

struct hooked {
    unsigned slot;
    unsigned starts;
    unsigned stops;
    unsigned ticks;
};

static void on_tick_end(struct loop *loop, void *arg)
{
    struct hooked *h = arg;
    assert_ptr_equal(loop_slot(loop, h->slot), h);
    h->ticks++;
}

static void on_start(struct loop *loop, void *arg)
{
    struct hooked *h = arg;
    assert_ptr_equal(loop_self(), loop);
    loop_slot_set(loop, h->slot, h);
    loop_on_tick_end(loop, on_tick_end, h);
    h->starts++;
}

static void on_stop(struct loop *loop, void *arg)
{
    (void)loop;
    struct hooked *h = arg;
    h->stops++;
}

static void hooks_run_on_their_loop(void **state)
{
    (void)state;
    struct hooked h = {0};
    struct run_conf conf = run_test_conf();
    conf.on_start = on_start;
    conf.on_stop = on_stop;
    conf.hook_arg = &h;
    struct run *run = run_new(&conf);
    h.slot = run_slot_claim(run);
    assert_int_equal(run_start(run), RC_OK);
    assert_int_equal(h.starts, 1);
    run_stop(run);
    run_free(&run);
    assert_null(run);
    assert_int_equal(h.stops, 1);
    assert_true(h.ticks >= 1); /* at least the one that was told to stop */
}

/* ---- stacks ---- */

enum { DEEP_BYTES = 1500 };

/* Frames of 1.5 KB, as many as asked for; recursion is what the test is about. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static unsigned dig(unsigned frames)
{
    volatile unsigned char frame[DEEP_BYTES];
    for (unsigned i = 0; i < DEEP_BYTES; i += 64) {
        frame[i] = (unsigned char)frames;
    }
    unsigned below = frames == 0 ? 0 : dig(frames - 1);
    return below + frame[0];
}

static void dig_deep(void *arg)
{
    (void)arg;
    assert_true(dig(120) > 0);
    fiber_yield();
    assert_true(dig(120) > 0);
}

static void dig_in_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 100; i++) {
        must_start(dig_deep, NULL);
    }
}

static void stacks_are_deep_and_apart(void **state)
{
    (void)state;
    run_once(dig_in_many, NULL);
}

static void trim_keeps_what_the_pool_needs(void *arg)
{
    (void)arg;
    struct loop *loop = loop_self();
    dig_in_many(NULL);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    struct fiber_pool *pool = &loop->fibers;
    assert_true(pool->idle_count >= 100);
    for (unsigned i = 0; i < pool->idle_count; i++) {
        stack__trim(pool->idle[i]->context.stack_low, pool->idle[i]->context.stack_bytes);
    }
    dig_in_many(NULL);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
}

static void trimmed_stacks_work_again(void **state)
{
    (void)state;
    run_fake(trim_keeps_what_the_pool_needs, NULL);
}

static unsigned count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    unsigned lines = 0;
    for (int c = getc(maps); c != EOF; c = getc(maps)) {
        lines += c == '\n';
    }
    (void)fclose(maps);
    return lines;
}

static void start_thousands(void *arg)
{
    (void)arg;
    unsigned before = count_mappings();
    for (unsigned i = 0; i < 3000; i++) {
        must_start(sleep_long, NULL);
    }
    unsigned added = count_mappings() - before;
    assert_true(added < 600 || stack__cap() < UINT32_MAX);
    assert_true(added < 2 * 3000 + 600);
}

static void thousands_of_stacks_are_few_mappings(void **state)
{
    (void)state;
    if (RUN_TSAN) {
        skip(); /* it maps memory of its own for each fiber */
    }
    run_fake(start_thousands, NULL);
}

static void start_until_memory_is_out(void *arg)
{
    (void)arg;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = (rlim_t)256 << 20;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    unsigned started = 0;
    while (fiber_start(sleep_long, NULL, "one more") == RC_OK) {
        started++;
    }
    assert_true(started < 4000);
    assert_int_equal(fiber_start(sleep_long, NULL, "one more"), RC_LIMIT);
}

/* ---- what must die ---- */

/* The signal that ended a child which ran fn on a fiber, 0 when it exited well. */
static int death_of(fiber_fn *fn)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* Their last words are no news. */
        int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        assert_int_equal(dup2(null_fd, STDERR_FILENO), STDERR_FILENO);
        static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT};
        for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
            (void)signal(faults[i], SIG_DFL);
        }
        run_once(fn, NULL);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void overflow(void *arg)
{
    (void)arg;
    (void)dig(1U << 30);
}

static void wait_pinned(void *arg)
{
    (void)arg;
    NO_YIELD {
        assert_int_equal(fiber_wait(loop_mono_ns(loop_self()) + NS_PER_MS), RC_TIMEOUT);
    }
}

static void end_pinned(void *arg)
{
    (void)arg;
    fiber_pin();
}

static void offload_pinned(void *arg)
{
    NO_YIELD {
        offload(dig_deep, arg);
    }
}

static void pin_and_go_on(void *arg)
{
    (void)arg;
    NO_YIELD {
        must_start(sleep_long, NULL);
    }
    fiber_yield();
}

static void overflows_and_pinned_waits_die(void **state)
{
    (void)state;
    assert_int_equal(death_of(overflow), SIGSEGV);
    assert_int_equal(death_of(wait_pinned), SIGABRT);
    assert_int_equal(death_of(end_pinned), SIGABRT);
    assert_int_equal(death_of(offload_pinned), SIGABRT);
    assert_int_equal(death_of(pin_and_go_on), 0);
}

static void no_memory_for_a_stack_is_a_limit(void **state)
{
    (void)state;
    if (RUN_ASAN || RUN_TSAN) {
        skip(); /* they map terabytes for themselves */
    }
    assert_int_equal(death_of(start_until_memory_is_out), 0);
}

/* ---- seeded schedules ---- */

struct schedule {
    char buf[64];
    struct sb sb;
};

static void append_when_it_runs(void *arg)
{
    struct schedule *s = arg;
    assert_int_equal(fiber_wait(loop_mono_ns(loop_self()) + 1), RC_TIMEOUT);
    sb_chr(&s->sb, fiber_name(fiber_self())[0]);
}

static void start_named(void *arg)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(fiber_start(append_when_it_runs, arg, names[i]), RC_OK);
    }
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
}

static void schedule_of(uint64_t seed, struct schedule *s)
{
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    conf.shuffle_seed = seed;
    s->sb = sb_of(s->buf, sizeof(s->buf));
    run_once_with(&conf, start_named, s);
    assert_int_equal(s->sb.len, 10);
}

static void a_seed_gives_one_schedule(void **state)
{
    (void)state;
    struct schedule a;
    struct schedule b;
    unsigned different = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        schedule_of(seed, &a);
        schedule_of(seed, &b);
        assert_memory_equal(a.buf, b.buf, 10);
        schedule_of(seed + 100, &b);
        different += memcmp(a.buf, b.buf, 10) != 0;
    }
    assert_true(different >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fibers_run_in_the_order_of_their_start),
        cmocka_unit_test(starts_past_the_limit_are_refused),
        cmocka_unit_test(wakes_are_not_lost),
        cmocka_unit_test(a_wake_beats_a_deadline_not_yet_seen),
        cmocka_unit_test(busy_fibers_do_not_stop_the_clock),
        cmocka_unit_test(cancelling_ends_every_wait),
        cmocka_unit_test(closing_a_gate_waits_for_those_inside),
        cmocka_unit_test(offload_runs_elsewhere_and_waits),
        cmocka_unit_test(offload_keeps_a_wake),
        cmocka_unit_test(a_fiber_tells_what_it_does),
        cmocka_unit_test(hooks_run_on_their_loop),
        cmocka_unit_test(stacks_are_deep_and_apart),
        cmocka_unit_test(trimmed_stacks_work_again),
        cmocka_unit_test(thousands_of_stacks_are_few_mappings),
        cmocka_unit_test(overflows_and_pinned_waits_die),
        cmocka_unit_test(no_memory_for_a_stack_is_a_limit),
        cmocka_unit_test(a_seed_gives_one_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
