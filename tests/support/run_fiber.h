/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Runs the body of a test on a fiber.
 *
 *     static void body(void *arg) { ... sock_read(...) ... assert_int_equal(...); }
 *     static void reads_something(void **state) { (void)state; run_once(body, NULL); }
 *
 * The fiber is on a loop's thread: an assertion that fails there prints its line and ends the test
 * program (by abort). */
#ifndef TESTS_SUPPORT_RUN_FIBER_H
#define TESTS_SUPPORT_RUN_FIBER_H

#include "run/run.h"

/* One loop, one offload thread, 4096 fibers, real clock, no watchdog; change what the test is
 * about, for instance fake_clock (sleeps and time-outs then take no time) or shuffle_seed. */
struct run_conf run_test_conf(void);

/* Makes a runtime, runs fn(arg) on a fiber of its first loop, and returns when fn has returned,
 * every fiber has ended and the runtime is gone.  Fibers that still wait then are cancelled. */
void run_once(fiber_fn *fn, void *arg);
void run_once_with(const struct run_conf *conf, fiber_fn *fn, void *arg);
/* The same with a runtime that the caller made, and frees. */
void run_in(struct run *run, fiber_fn *fn, void *arg);

#endif
