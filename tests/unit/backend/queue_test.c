/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* max_connections, and those who wait: first come, first served; nobody forgotten; nobody beyond
 * the limit. */
#include "rig.h"

#include <stdatomic.h>
#include <stdlib.h>

static const struct backend_ask ANY = {0};

struct guest {
    struct backend *backend;
    struct rig_task *task;
    enum rc rc;
    unsigned place; /* in the order of those who got a connection */
    _Atomic unsigned *turn;
    _Atomic bool *may_leave;
};

static void wait_for(_Atomic bool *flag)
{
    while (!atomic_load(flag)) {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
    }
}

static void stay(void *arg)
{
    struct guest *g = arg;
    struct bconn *c = NULL;
    g->rc = backend_get(g->backend, &ANY, &c);
    if (g->rc != RC_OK) {
        return;
    }
    g->place = atomic_fetch_add(g->turn, 1);
    if (g->may_leave != NULL) {
        wait_for(g->may_leave);
    }
    backend_put(&c, true);
}

struct scene {
    struct rig rig;
    struct backend *backend;
    _Atomic unsigned turn;
    _Atomic bool first_may_leave;
    struct guest first;
};

/* One connection is all there is, and somebody on loop 0 has it. */
static void open_scene(struct scene *s, unsigned loops, uint64_t wait_limit, uint64_t wait_ns)
{
    *s = (struct scene){.turn = 0};
    rig_open(&s->rig, loops);
    param_set(&s->rig.params, PARAM_backend_wait_limit, wait_limit);
    param_set(&s->rig.params, PARAM_backend_wait_timeout, wait_ns);
    struct backend_spec spec = rig_spec(&s->rig);
    spec.max_connections = 1;
    s->backend = rig_backend(&s->rig, &spec);
    s->first =
        (struct guest){.backend = s->backend, .turn = &s->turn, .may_leave = &s->first_may_leave};
    s->first.task = rig_start(&s->rig, 0, stay, &s->first);
    while (atomic_load(&s->turn) == 0) {
    }
}

static void close_scene(struct scene *s)
{
    assert_int_equal(vsc_get(&backend_counters(s->backend)->conn), 0);
    backend_release(&s->backend);
    rig_close(&s->rig);
}

static void first_leaves(struct scene *s)
{
    atomic_store(&s->first_may_leave, true);
    rig_join(s->first.task);
}

static uint64_t waits(const struct scene *s)
{
    return vsc_get(&s->rig.objm->backend_wait);
}

static void nobody_waits_by_default(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s, 2, 0, 30 * NS_PER_S);
    for (unsigned i = 0; i < 2; i++) {
        struct guest late = {.backend = s.backend, .turn = &s.turn};
        rig_on(&s.rig, i, stay, &late);
        assert_int_equal(late.rc, RC_LIMIT);
    }
    assert_int_equal(vsc_get(&backend_counters(s.backend)->busy), 2);
    assert_int_equal(waits(&s), 0);
    first_leaves(&s);
    struct guest next = {.backend = s.backend, .turn = &s.turn};
    rig_on(&s.rig, 1, stay, &next);
    assert_int_equal(next.rc, RC_OK);
    close_scene(&s);
}

struct census {
    struct guest *guest;
    _Atomic bool has_begun;
};

static void stay_told(void *arg)
{
    struct census *c = arg;
    atomic_store(&c->has_begun, true);
    stay(c->guest);
}

/* The fiber is in the queue once another fiber of its loop runs after it. */
static void nothing(void *arg)
{
    (void)arg;
}

static void who_comes_first_goes_first(void **state)
{
    (void)state;
    enum { GUESTS = 6 };
    struct scene s;
    open_scene(&s, 3, GUESTS, 30 * NS_PER_S);
    struct guest guests[GUESTS];
    struct census census[GUESTS];
    for (unsigned i = 0; i < GUESTS; i++) {
        guests[i] = (struct guest){.backend = s.backend, .turn = &s.turn};
        census[i] = (struct census){.guest = &guests[i]};
        guests[i].task = rig_start(&s.rig, i % 3, stay_told, &census[i]);
        while (!atomic_load(&census[i].has_begun)) {
        }
        rig_on(&s.rig, i % 3, nothing, NULL);
    }
    first_leaves(&s);
    for (unsigned i = 0; i < GUESTS; i++) {
        rig_join(guests[i].task);
        assert_int_equal(guests[i].rc, RC_OK);
        assert_int_equal(guests[i].place, i + 1);
    }
    assert_int_equal(waits(&s), GUESTS);
    assert_int_equal(vsc_get(&s.rig.objm->backend_wait_fail), 0);
    assert_int_equal(vsc_get(&backend_counters(s.backend)->busy), 0);
    close_scene(&s);
}

static void the_queue_has_a_limit(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s, 1, 1, 30 * NS_PER_S);
    struct guest second = {.backend = s.backend, .turn = &s.turn};
    second.task = rig_start(&s.rig, 0, stay, &second);
    struct guest third = {.backend = s.backend, .turn = &s.turn};
    rig_on(&s.rig, 0, stay, &third);
    assert_int_equal(third.rc, RC_LIMIT);
    first_leaves(&s);
    rig_join(second.task);
    assert_int_equal(second.rc, RC_OK);
    close_scene(&s);
}

static void who_waits_too_long_goes(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s, 2, 5, NS_PER_MS);
    struct guest second = {.backend = s.backend, .turn = &s.turn};
    rig_on(&s.rig, 1, stay, &second);
    assert_int_equal(second.rc, RC_LIMIT);
    assert_int_equal(waits(&s), 1);
    assert_int_equal(vsc_get(&s.rig.objm->backend_wait_fail), 1);
    assert_int_equal(vsc_get(&backend_counters(s.backend)->busy), 1);
    first_leaves(&s);
    struct guest third = {.backend = s.backend, .turn = &s.turn};
    rig_on(&s.rig, 1, stay, &third);
    assert_int_equal(third.rc, RC_OK);
    close_scene(&s);
}

/* A backend that cannot be reached gives its place to the next who wants to try. */
static void a_failure_passes_the_place_on(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    param_set(&rig.params, PARAM_backend_wait_limit, 10);
    struct backend_spec spec = rig_spec(&rig);
    spec.path = "/nonexistent/socket";
    spec.max_connections = 1;
    struct backend *b = rig_backend(&rig, &spec);
    _Atomic unsigned turn = 0;
    struct guest guests[5];
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++) {
        guests[i] = (struct guest){.backend = b, .turn = &turn};
        guests[i].task = rig_start(&rig, 0, stay, &guests[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++) {
        rig_join(guests[i].task);
        assert_int_equal(guests[i].rc, RC_NOT_FOUND);
    }
    backend_release(&b);
    rig_close(&rig);
}

enum { CROWD = 30, ROUNDS = 60, PLACES = 3 };

struct crowd {
    struct backend *backend;
    _Atomic unsigned inside;
    _Atomic unsigned served;
    _Atomic unsigned gone;
};

static void come_and_go(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct bconn *c = NULL;
        enum rc rc = backend_get(crowd->backend, &ANY, &c);
        if (rc != RC_OK) {
            assert_int_equal(rc, RC_LIMIT);
            atomic_fetch_add(&crowd->gone, 1);
            continue;
        }
        assert_true(atomic_fetch_add(&crowd->inside, 1) < PLACES);
        fiber_yield();
        atomic_fetch_sub(&crowd->inside, 1);
        atomic_fetch_add(&crowd->served, 1);
        backend_put(&c, true);
    }
}

static void run_crowd(uint64_t wait_ns, bool all_served)
{
    struct rig rig;
    rig_open(&rig, 4);
    param_set(&rig.params, PARAM_backend_wait_limit, CROWD);
    param_set(&rig.params, PARAM_backend_wait_timeout, wait_ns);
    struct backend_spec spec = rig_spec(&rig);
    spec.max_connections = PLACES;
    struct crowd crowd = {.backend = rig_backend(&rig, &spec)};
    struct rig_task *tasks[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        tasks[i] = rig_start(&rig, i % 4, come_and_go, &crowd);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        rig_join(tasks[i]);
    }
    assert_int_equal(crowd.served + crowd.gone, CROWD * ROUNDS);
    assert_true(crowd.gone == 0 || !all_served);
    assert_int_equal(vsc_get(&rig.objm->backend_wait_fail), crowd.gone);
    backend_release(&crowd.backend);
    rig_close(&rig);
}

static void a_crowd_is_served(void **state)
{
    (void)state;
    run_crowd(NEVER, true);
}

/* Grants and time-outs meet. */
static void an_impatient_crowd_loses_no_place(void **state)
{
    (void)state;
    run_crowd(100 * NS_PER_US, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_waits_by_default),
        cmocka_unit_test(who_comes_first_goes_first),
        cmocka_unit_test(the_queue_has_a_limit),
        cmocka_unit_test(who_waits_too_long_goes),
        cmocka_unit_test(a_failure_passes_the_place_on),
        cmocka_unit_test(a_crowd_is_served),
        cmocka_unit_test(an_impatient_crowd_loses_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
