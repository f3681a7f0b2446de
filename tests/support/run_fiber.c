/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "support/run_fiber.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/sema.h"

struct once {
    struct post post;
    fiber_fn *fn;
    void *arg;
    sem_t ended;
};

static void body(void *arg)
{
    struct once *once = arg;
    once->fn(once->arg);
    sema_post(&once->ended);
}

static void start(struct post *post, struct loop *loop)
{
    (void)loop;
    struct once *once = CONTAINER_OF(post, struct once, post);
    enum rc rc = fiber_start(body, once, "test");
    CHECK(rc == RC_OK);
}

struct run_conf run_test_conf(void)
{
    return (struct run_conf){.loops = 1, .offload_threads = 1, .fibers_max = 4096};
}

void run_once(fiber_fn *fn, void *arg)
{
    struct run_conf conf = run_test_conf();
    run_once_with(&conf, fn, arg);
}

void run_in(struct run *run, fiber_fn *fn, void *arg)
{
    struct once once = {.post.fn = start, .fn = fn, .arg = arg};
    sema_init(&once.ended);
    /* On threads that it does not know, cmocka swallows its message unless it may abort. */
    int err = setenv("CMOCKA_TEST_ABORT", "1", 1);
    CHECK(err == 0);
    enum rc rc = run_start(run);
    CHECK(rc == RC_OK);
    loop_post(run_loop(run, 0), &once.post);
    sema_wait(&once.ended);
    run_stop(run);
    (void)unsetenv("CMOCKA_TEST_ABORT");
    sema_fini(&once.ended);
}

void run_once_with(const struct run_conf *conf, fiber_fn *fn, void *arg)
{
    struct run *run = run_new(conf);
    run_in(run, fn, arg);
    run_free(&run);
}
