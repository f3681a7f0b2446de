/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Posting between threads, pools of several loops, the end of a runtime in full work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "run/rcu.h"
#include "run/run_priv.h"
#include "support/run_fiber.h"

enum { SENDERS = 4, MESSAGES = 20000 };

/* ---- order ---- */

struct message {
    struct post post;
    struct receiver *receiver;
    unsigned sender;
    unsigned number;
};

struct receiver {
    struct loop *loop;
    unsigned next[SENDERS];
    unsigned total;
    sem_t done;
};

struct sender {
    struct receiver *receiver;
    struct message *messages;
    unsigned index;
    pthread_t thread;
};

static void on_message(struct post *post, struct loop *loop)
{
    struct message *m = CONTAINER_OF(post, struct message, post);
    struct receiver *r = m->receiver;
    CHECK(loop == loop_self());
    CHECK(r->next[m->sender] == m->number);
    r->next[m->sender]++;
    r->total++;
    if (r->total == SENDERS * MESSAGES) {
        sema_post(&r->done);
    }
}

static void *send_messages(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct message *m = &s->messages[i];
        m->post.fn = on_message;
        m->receiver = s->receiver;
        m->sender = s->index;
        m->number = i;
        loop_post(s->receiver->loop, &m->post);
        if (i % 64 == 0) {
            (void)sched_yield(); /* so that the loop falls asleep now and then */
        }
    }
    return NULL;
}

static void messages_of_one_sender_keep_their_order(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    struct run *run = run_new(&conf);
    assert_int_equal(run_start(run), RC_OK);
    struct receiver r = {.loop = run_loop(run, 0)};
    sema_init(&r.done);
    struct sender senders[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.receiver = &r, .index = i};
        senders[i].messages = xcalloc(MESSAGES, sizeof(struct message));
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_messages, &senders[i]), 0);
    }
    sema_wait(&r.done);
    for (unsigned i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
        XFREE(senders[i].messages);
    }
    run_stop(run);
    run_free(&run);
    sema_fini(&r.done);
}

/* ---- one message at a time: each must wake the loop ---- */

struct ball {
    struct post post;
    struct run *run;
    unsigned hops;
    sem_t done;
};

enum { HOPS = 20000 };

static void hop(struct post *post, struct loop *loop)
{
    struct ball *ball = CONTAINER_OF(post, struct ball, post);
    if (++ball->hops == HOPS) {
        sema_post(&ball->done);
        return;
    }
    loop_post(run_loop(ball->run, 1 - loop_index(loop)), post);
}

static void no_message_is_slept_through(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.loops = 2;
    struct ball ball = {.post.fn = hop, .run = run_new(&conf)};
    sema_init(&ball.done);
    assert_int_equal(run_start(ball.run), RC_OK);
    loop_post(run_loop(ball.run, 0), &ball.post);
    sema_wait(&ball.done);
    run_stop(ball.run);
    run_free(&ball.run);
    sema_fini(&ball.done);
}

/* ---- a runtime that is stopped in full work ---- */

struct question {
    struct post post;
    struct fiber *asker;
    struct loop *asker_loop;
    bool is_answered;
};

struct mill {
    struct run *run;
    struct pool *pool;
    atomic_uint asked;
    atomic_uint ended;
    sem_t warm;
};

static void on_answer(struct post *post, struct loop *loop)
{
    (void)loop;
    struct question *q = CONTAINER_OF(post, struct question, post);
    q->is_answered = true;
    fiber_wake(q->asker);
}

static void on_question(struct post *post, struct loop *loop)
{
    (void)loop;
    struct question *q = CONTAINER_OF(post, struct question, post);
    post->fn = on_answer;
    loop_post(q->asker_loop, post);
}

static void burn(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

/* Asks the other loops until it is cancelled; an answer under way is waited for in any case. */
static void ask(void *arg)
{
    struct mill *mill = arg;
    struct loop *loop = loop_self();
    enum rc rc = RC_OK;
    while (rc == RC_OK) {
        unsigned n = atomic_fetch_add(&mill->asked, 1);
        if (n == 5000) {
            sema_post(&mill->warm);
        }
        struct question *q = pool_get(mill->pool);
        *q = (struct question){.post.fn = on_question, .asker = fiber_self(), .asker_loop = loop};
        loop_post(run_loop(mill->run, n % run_loops(mill->run)), &q->post);
        while (!q->is_answered) {
            rc = fiber_wait(NEVER);
            if (rc != RC_OK) {
                fiber_yield();
            }
        }
        pool_put(mill->pool, q);
        if (n % 16 == 0) {
            offload(burn, &mill->ended);
            atomic_fetch_sub(&mill->ended, 1);
        }
    }
    atomic_fetch_add(&mill->ended, 1);
}

enum { ASKERS = 20 };

static void start_askers(struct loop *loop, void *arg)
{
    (void)loop;
    for (unsigned i = 0; i < ASKERS; i++) {
        assert_int_equal(fiber_start(ask, arg, "asker"), RC_OK);
    }
}

static void a_busy_runtime_stops(void **state)
{
    (void)state;
    struct mill mill = {0};
    struct run_conf conf = run_test_conf();
    conf.loops = 3;
    conf.offload_threads = 2;
    conf.on_start = start_askers;
    conf.hook_arg = &mill;
    sema_init(&mill.warm);
    mill.run = run_new(&conf);
    mill.pool = pool_new(mill.run, "questions", sizeof(struct question), 4);
    assert_int_equal(run_start(mill.run), RC_OK);
    sema_wait(&mill.warm);
    run_stop(mill.run);
    assert_int_equal(atomic_load(&mill.ended), 3 * ASKERS);
    assert_int_equal(pool_taken(mill.pool), 0);
    pool_free(&mill.pool);
    assert_null(mill.pool);
    run_free(&mill.run);
    sema_fini(&mill.warm);
}

static void a_start_that_fails_can_be_undone(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.loops = 3;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int probe = dup(0);
    assert_true(probe >= 0);
    (void)close(probe);
    /* Enough for the first loop, and for half of the second. */
    struct rlimit tight = {.rlim_cur = (rlim_t)probe + 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct run *run = run_new(&conf);
    assert_int_equal(run_start(run), RC_LIMIT);
    run_free(&run);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    /* No descriptor is left behind. */
    assert_int_equal(dup(0), probe);
    (void)close(probe);
}

static void by_default_each_core_has_a_loop(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.loops = 0;
    struct run *run = run_new(&conf);
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    assert_int_equal(run_loops(run), CPU_COUNT(&set));
    run_free(&run);
}

/* ---- RCU: a loop that sleeps does not hold up a grace period ---- */

static void frees_do_not_wait_for_loops_asleep(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.loops = 2;
    struct run *run = run_new(&conf);
    assert_int_equal(run_start(run), RC_OK);
    for (unsigned i = 0; i < 10; i++) {
        synchronize_rcu();
    }
    run_stop(run);
    run_free(&run);
}

/* ---- pools ---- */

static void use_a_pool(void *arg)
{
    struct pool *pool = arg;
    void *blocks[10];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 10; i++) {
            blocks[i] = pool_get(pool);
            assert_int_equal((uintptr_t)blocks[i] % 64, 0);
            memset(blocks[i], 0xa5, pool_block_bytes(pool));
        }
        assert_int_equal(pool_taken(pool), 10);
        for (unsigned i = 0; i < 10; i++) {
            pool_put(pool, blocks[i]);
        }
        assert_int_equal(pool_taken(pool), 0);
    }
    /* The one that came back last among those kept is warm. */
    assert_ptr_equal(pool_get(pool), blocks[3]);
    pool_put(pool, blocks[3]);
}

static void pools_keep_some_blocks(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    struct run *sizes = run_new(&conf);
    struct pool *pool = pool_new(sizes, "blocks", 100, 4);
    assert_true(pool_block_bytes(pool) >= 100);
    run_once(use_a_pool, pool);
    pool_free(&pool);
    pool_free(&pool);
    run_free(&sizes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_one_sender_keep_their_order),
        cmocka_unit_test(no_message_is_slept_through),
        cmocka_unit_test(a_busy_runtime_stops),
        cmocka_unit_test(a_start_that_fails_can_be_undone),
        cmocka_unit_test(by_default_each_core_has_a_loop),
        cmocka_unit_test(frees_do_not_wait_for_loops_asleep),
        cmocka_unit_test(pools_keep_some_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
