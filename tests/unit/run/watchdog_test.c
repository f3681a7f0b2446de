/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The watchdog names who holds a loop, once, and lets those sleep who sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "run/run_priv.h"
#include "support/run_fiber.h"

struct seen {
    sem_t stalled;
    atomic_uint count;
    unsigned loop_index;
    uint64_t held_ns;
    const char *names[4]; /* of each stall its own, since the fiber reads while the dog may write */
};

static void on_stall(unsigned loop_index, const char *fiber_name, uint64_t held_ns, void *arg)
{
    struct seen *seen = arg;
    seen->loop_index = loop_index;
    seen->held_ns = held_ns;
    seen->names[atomic_load(&seen->count) % ARRAY_SIZE(seen->names)] = fiber_name;
    atomic_fetch_add(&seen->count, 1);
    sema_post(&seen->stalled);
}

/* Holds its loop until the watchdog has said so: no time is guessed. */
static void hold(void *arg)
{
    struct seen *seen = arg;
    sema_wait(&seen->stalled);
}

static void hold_twice(void *arg)
{
    struct seen *seen = arg;
    /* Asleep is not stalled, however long. */
    assert_int_equal(fiber_sleep(450 * NS_PER_MS), RC_OK);
    assert_int_equal(atomic_load(&seen->count), 0);
    assert_int_equal(fiber_start(hold, seen, "greedy"), RC_OK);
    fiber_yield();
    assert_string_equal(seen->names[0], "greedy");
    hold(seen);
    assert_string_equal(seen->names[1], "test");
    assert_int_equal(atomic_load(&seen->count), 2);
}

static void it_names_the_fiber_once(void **state)
{
    (void)state;
    struct seen seen = {0};
    sema_init(&seen.stalled);
    struct run_conf conf = run_test_conf();
    conf.stall_ns = 200 * NS_PER_MS;
    conf.on_stall = on_stall;
    conf.stall_arg = &seen;
    run_once_with(&conf, hold_twice, &seen);
    assert_int_equal(seen.loop_index, 0);
    assert_true(seen.held_ns >= conf.stall_ns);
    sema_fini(&seen.stalled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_names_the_fiber_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
