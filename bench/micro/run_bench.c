/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the runtime's steps cost: best of several rounds, in nanoseconds.
 *
 *     cmake --preset release && cmake --build --preset release --target run_bench
 *     build/release/bin/run_bench */
#include <stdio.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/sema.h"
#include "run/run.h"
#include "run/sock.h"

enum { ROUNDS = 60, LOOPS = 20000, ECHOES = 1000 };

static const struct sock_limit NO_LIMIT = {.deadline_ns = NEVER, .idle_ns = NEVER};

struct bench {
    struct post post;
    struct run *run;
    sem_t done;
    unsigned count;
    struct fiber *main;
};

typedef void bench_fn(struct bench *b);

static void report(const char *what, bench_fn *fn, struct bench *b, unsigned count)
{
    uint64_t best = NEVER;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t t0 = clock_mono_ns();
        fn(b);
        uint64_t took = clock_mono_ns() - t0;
        best = took < best ? took : best;
    }
    (void)printf("%-44s %8.1f ns\n", what, (double)best / count);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void must_start(fiber_fn *fn, void *arg)
{
    enum rc rc = fiber_start(fn, arg, "bench");
    CHECK(rc == RC_OK);
}

/* Wakes are kept, so one of an earlier step may still be there. */
YIELDS static void wait_for_count(struct bench *b)
{
    while (b->count > 0) {
        enum rc rc = fiber_wait(NEVER);
        CHECK(rc == RC_OK);
    }
}

/* As a hit does: start one, let it run to its end. */
YIELDS static void start_and_end(struct bench *b)
{
    (void)b;
    for (unsigned i = 0; i < LOOPS / 1000; i++) {
        for (unsigned k = 0; k < 1000; k++) {
            must_start(nothing, NULL);
        }
        fiber_yield();
    }
}

static void start_next(void *arg)
{
    struct bench *b = arg;
    if (--b->count > 0) {
        must_start(start_next, b);
    } else {
        fiber_wake(b->main);
    }
}

/* Each starts the next: two stacks in turn. */
YIELDS static void start_in_turn(struct bench *b)
{
    b->count = LOOPS;
    must_start(start_next, b);
    wait_for_count(b);
}

static void pong(void *arg)
{
    struct bench *b = arg;
    struct fiber *self = fiber_self();
    while (b->count > 0) {
        b->count--;
        fiber_wake(b->main);
        fiber_wake(self);
        enum rc rc = fiber_wait(NEVER);
        CHECK(rc == RC_OK);
        fiber_yield();
    }
    fiber_wake(b->main);
}

YIELDS static void tick_with_two_fibers(struct bench *b)
{
    b->count = LOOPS / 10;
    must_start(pong, b);
    wait_for_count(b);
    fiber_yield();
}

static void on_timer(struct timer *timer, struct loop *loop)
{
    (void)timer;
    (void)loop;
}

enum { TIMERS = 5000 };
static struct timer timers[TIMERS];

static void arm_and_disarm(struct bench *b)
{
    (void)b;
    struct loop *loop = loop_self();
    uint64_t now = loop_mono_ns(loop);
    for (unsigned i = 0; i < LOOPS; i++) {
        struct timer *timer = &timers[i % TIMERS];
        timer_arm(loop, timer, now + (i % 977 + 1) * NS_PER_S, on_timer);
        timer_disarm(loop, timer);
    }
}

static void move_later(struct bench *b)
{
    (void)b;
    struct loop *loop = loop_self();
    uint64_t now = loop_mono_ns(loop);
    for (unsigned i = 0; i < LOOPS; i++) {
        timer_arm(loop, &timers[i % TIMERS], now + 100 * NS_PER_S + i, on_timer);
    }
}

static void on_post(struct post *post, struct loop *loop)
{
    (void)loop;
    struct bench *b = CONTAINER_OF(post, struct bench, post);
    if (--b->count == 0) {
        fiber_wake(b->main);
    }
}

static struct post posts[LOOPS];

static void on_one_of_many(struct post *post, struct loop *loop)
{
    (void)post;
    (void)loop;
}

YIELDS static void post_to_self(struct bench *b)
{
    for (unsigned i = 0; i < LOOPS - 1; i++) {
        posts[i].fn = on_one_of_many;
        loop_post(loop_self(), &posts[i]);
    }
    b->count = 1;
    b->post.fn = on_post;
    loop_post(loop_self(), &b->post);
    wait_for_count(b);
}

static void on_hop(struct post *post, struct loop *loop)
{
    struct bench *b = CONTAINER_OF(post, struct bench, post);
    if (loop_index(loop) == 0 && --b->count == 0) {
        fiber_wake(b->main);
        return;
    }
    loop_post(run_loop(b->run, 1 - loop_index(loop)), post);
}

YIELDS static void post_round_trip(struct bench *b)
{
    b->count = ECHOES;
    b->post.fn = on_hop;
    loop_post(run_loop(b->run, 1), &b->post);
    wait_for_count(b);
}

static struct sock pair[2];

YIELDS static void send_kilobyte(struct sock *sock)
{
    static char buf[1024];
    struct iovec iov = {buf, sizeof(buf)};
    enum rc rc = sock_writev(sock, &iov, 1, NO_LIMIT, false, NULL);
    CHECK(rc == RC_OK);
}

YIELDS static bool take_kilobyte(struct sock *sock)
{
    static char buf[4096];
    size_t got;
    return sock_read(sock, buf, sizeof(buf), NO_LIMIT, &got) == RC_OK;
}

static void on_request(struct sock *sock, enum rc why);

/* A connection as a front keeps it: no fiber between two requests. */
static void serve(void *arg)
{
    (void)arg;
    if (!take_kilobyte(&pair[1])) {
        sock_close(&pair[1]);
        return;
    }
    send_kilobyte(&pair[1]);
    sock_idle(&pair[1], loop_mono_ns(loop_self()) + 5 * NS_PER_S, on_request);
}

static void on_request(struct sock *sock, enum rc why)
{
    CHECK(why == RC_OK);
    must_start(serve, sock);
}

YIELDS static void echo(struct bench *b)
{
    (void)b;
    for (unsigned i = 0; i < ECHOES; i++) {
        send_kilobyte(&pair[0]);
        bool is_there = take_kilobyte(&pair[0]);
        CHECK(is_there);
    }
}

static void raw_echo(struct bench *b)
{
    (void)b;
    int fds[2];
    int err = socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
    CHECK(err == 0);
    static char buf[4096];
    for (unsigned i = 0; i < ECHOES; i++) {
        ssize_t n = 0;
        n += send(fds[0], buf, 1024, MSG_NOSIGNAL);
        n += recv(fds[1], buf, sizeof(buf), 0);
        n += send(fds[1], buf, 1024, MSG_NOSIGNAL);
        n += recv(fds[0], buf, sizeof(buf), 0);
        CHECK(n == 4096);
    }
}

static void run_all(void *arg)
{
    struct bench *b = arg;
    b->main = fiber_self();
    report("fiber: start, run, end (1000 ready at once)", start_and_end, b, LOOPS);
    report("fiber: start, run, end (in turn)", start_in_turn, b, LOOPS);
    report("tick: epoll_wait, two fibers woken", tick_with_two_fibers, b, LOOPS / 10);
    report("timer: arm, disarm", arm_and_disarm, b, LOOPS);
    report("timer: move later", move_later, b, LOOPS);
    report("post: to the own loop", post_to_self, b, LOOPS);
    report("post: to another thread and back", post_round_trip, b, ECHOES);
    int fds[2];
    int err = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
    CHECK(err == 0);
    enum rc rc = sock_open(&pair[0], &fds[0]);
    CHECK(rc == RC_OK);
    rc = sock_open(&pair[1], &fds[1]);
    CHECK(rc == RC_OK);
    sock_idle(&pair[1], NEVER, on_request);
    report("echo: 1 KiB, idle server, same loop", echo, b, ECHOES);
    report("  of which two send and two recv", raw_echo, b, ECHOES);
    sock_close(&pair[0]);
    sema_post(&b->done);
}

static void start_all(struct post *post, struct loop *loop)
{
    (void)loop;
    must_start(run_all, CONTAINER_OF(post, struct bench, post));
}

int main(void)
{
    const struct run_conf conf = {.loops = 2, .offload_threads = 1, .fibers_max = 2000};
    struct bench b = {.post.fn = start_all, .run = run_new(&conf)};
    sema_init(&b.done);
    enum rc rc = run_start(b.run);
    CHECK(rc == RC_OK);
    loop_post(run_loop(b.run, 0), &b.post);
    sema_wait(&b.done);
    run_stop(b.run);
    run_free(&b.run);
    return 0;
}
