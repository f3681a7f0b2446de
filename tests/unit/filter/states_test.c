/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "filter/states_priv.h"
#include "run/run.h"
#include "support/run_fiber.h"

static void no_more_is_out_than_may_be(void **state)
{
    (void)state;
    struct filter_states *states = filter_states_new(1000, NULL);
    char *a = states_alloc(states, 600), *b = states_alloc(states, 400);
    assert_non_null(a);
    assert_non_null(b);
    memset(a, 1, 600);
    memset(b, 1, 400);
    assert_int_equal((uintptr_t)a % 16, 0);
    assert_null(states_alloc(states, 1));
    assert_null(states_alloc(states, SIZE_MAX));
    states_free(states, b);
    assert_null(states_alloc(states, 401));
    b = states_alloc(states, 400);
    assert_non_null(b);
    states_free(states, a);
    states_free(states, b);
    states_free(states, NULL);
    assert_int_equal(filter_states_out_bytes(states), 0);
    assert_int_equal(filter_states_kept_bytes(states), 0);
    filter_states_free(&states);
    assert_null(states);
    filter_states_free(&states);
    states_free(NULL, states_alloc(NULL, 100));
}

static void kept_body(void *arg)
{
    (void)arg;
    struct filter_states *states = filter_states_new(100 << 20, loop_self());
    char *a = states_alloc(states, 65536), *b = states_alloc(states, 1 << 20);
    states_free(states, b); /* not kept: too large */
    assert_int_equal(filter_states_kept_bytes(states), 0);
    states_free(states, a);
    assert_int_equal(filter_states_kept_bytes(states), 65536);
    b = states_alloc(states, 65537);
    assert_int_equal(filter_states_kept_bytes(states), 65536);
    states_free(states, b);
    a = states_alloc(states, 65536);
    assert_int_equal(filter_states_kept_bytes(states), 65537);
    states_free(states, a);
    assert_int_equal(filter_states_out_bytes(states), 0);
    assert_int_equal(filter_states_kept_bytes(states), 2 * 65536 + 1);
    /* Nobody comes: nothing stays. */
    assert_int_equal(fiber_sleep(3 * NS_PER_S), RC_OK);
    assert_int_equal(filter_states_kept_bytes(states), 0);
    /* There is an end to what is kept. */
    void *many[64];
    for (unsigned n = 0; n < 64; n++) {
        many[n] = states_alloc(states, 100000);
    }
    for (unsigned n = 0; n < 64; n++) {
        states_free(states, many[n]);
    }
    assert_true(filter_states_kept_bytes(states) <= 2 << 20);
    filter_states_free(&states); /* with its timer armed */
}

static void some_are_kept_while_they_are_used(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, kept_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_is_out_than_may_be),
        cmocka_unit_test(some_are_kept_while_they_are_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
