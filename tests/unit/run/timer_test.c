/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The timer wheel: alone, against a model that keeps a plain array; and on a loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "run/run_priv.h"
#include "support/run_fiber.h"

enum { TIMERS = 3000, STEPS = 20000 };
static const uint64_t TICK_NS = UINT64_C(1) << 19;

struct modelled {
    struct timer timer;
    uint64_t when_ns; /* what the model thinks; NEVER: not armed */
    unsigned fired;
};

struct model {
    struct wheel wheel;
    struct rng rng;
    uint64_t now_ns;
    struct modelled timers[TIMERS];
    unsigned early;
    unsigned unexpected;
};

/* timer_fn has no argument of its own. */
static struct model *model;

static uint64_t random_when(void)
{
    /* From the past to years ahead, each power of two as likely. */
    uint64_t span = UINT64_C(1) << rng_below(&model->rng, 58);
    uint64_t when = model->now_ns + rng_below(&model->rng, span);
    return rng_below(&model->rng, 50) == 0 ? when / 2 : when;
}

static void on_fire(struct timer *timer, struct loop *loop)
{
    (void)loop;
    struct modelled *m = CONTAINER_OF(timer, struct modelled, timer);
    model->early += m->when_ns > model->now_ns;
    model->unexpected += m->when_ns == NEVER;
    m->when_ns = NEVER;
    m->fired++;
    /* Functions may arm their own timer and touch others, which may be due at the same time. */
    struct modelled *other = &model->timers[rng_below(&model->rng, TIMERS)];
    switch (rng_below(&model->rng, 4)) {
    case 0:
        m->when_ns = random_when();
        wheel__arm(&model->wheel, timer, m->when_ns, on_fire);
        break;
    case 1:
        other->when_ns = NEVER;
        wheel__disarm(&other->timer);
        break;
    default:
        break;
    }
}

static void change_one(void)
{
    struct modelled *m = &model->timers[rng_below(&model->rng, TIMERS)];
    if (rng_below(&model->rng, 4) == 0) {
        m->when_ns = NEVER;
        wheel__disarm(&m->timer);
    } else {
        m->when_ns = random_when();
        wheel__arm(&model->wheel, &m->timer, m->when_ns, on_fire);
    }
    assert_int_equal(timer_is_armed(&m->timer), m->when_ns != NEVER);
}

static void check_against_model(void)
{
    uint64_t first = NEVER;
    for (unsigned i = 0; i < TIMERS; i++) {
        const struct modelled *m = &model->timers[i];
        assert_int_equal(timer_is_armed(&m->timer), m->when_ns != NEVER);
        first = m->when_ns < first ? m->when_ns : first;
    }
    /* Everything due has fired (but for what its own function armed for now), and what the wheel
     * says about the next is never later than the truth, rounded up to its tick. */
    uint64_t next = wheel__next_ns(&model->wheel);
    assert_true((first == NEVER) == (next == NEVER));
    assert_true(next <= (first == NEVER ? NEVER : first + TICK_NS));
}

static void step(unsigned n)
{
    for (uint64_t i = rng_below(&model->rng, 20); i > 0; i--) {
        change_one();
    }
    uint64_t span = UINT64_C(1) << rng_below(&model->rng, n % 100 == 0 ? 56 : 34);
    model->now_ns += rng_below(&model->rng, span);
    (void)wheel__fire(&model->wheel, NULL, model->now_ns);
    assert_int_equal(model->early, 0);
    assert_int_equal(model->unexpected, 0);
    if (n % 16 == 0) {
        /* What functions armed for now comes with the next call. */
        while (wheel__fire(&model->wheel, NULL, model->now_ns) > 0) {
        }
        for (unsigned i = 0; i < TIMERS; i++) {
            const struct modelled *m = &model->timers[i];
            assert_true(m->when_ns == NEVER || m->when_ns + TICK_NS > model->now_ns);
        }
        check_against_model();
    }
}

static void wheel_agrees_with_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        model = test_calloc(1, sizeof(*model));
        model->rng.state = seed;
        model->now_ns = rng_below(&model->rng, UINT64_C(1) << 40);
        wheel__init(&model->wheel, model->now_ns);
        for (unsigned i = 0; i < TIMERS; i++) {
            model->timers[i].when_ns = NEVER;
        }
        for (unsigned n = 0; n < STEPS / 4; n++) {
            step(n);
        }
        unsigned fired = 0;
        for (unsigned i = 0; i < TIMERS; i++) {
            fired += model->timers[i].fired;
        }
        assert_true(fired > 1000);
        test_free(model);
    }
}

/* ---- on a loop, with a fake clock ---- */

struct ordered {
    struct timer timer;
    uint64_t fired_ns;
    unsigned rank;
};

static unsigned fired_count;

static void note(struct timer *timer, struct loop *loop)
{
    struct ordered *o = CONTAINER_OF(timer, struct ordered, timer);
    o->fired_ns = loop_mono_ns(loop);
    o->rank = fired_count++;
}

static void arm_far_and_near(void *arg)
{
    (void)arg;
    static struct ordered timers[6];
    static const uint64_t after_ns[] = {3 * NS_PER_MS,  50 * NS_PER_MS,  3 * NS_PER_S,
                                        400 * NS_PER_S, 8000 * NS_PER_S, 90000 * NS_PER_S};
    struct loop *loop = loop_self();
    uint64_t t0 = loop_mono_ns(loop);
    for (unsigned i = 6; i-- > 0;) {
        timer_arm(loop, &timers[i].timer, t0 + after_ns[i], note);
    }
    assert_int_equal(fiber_sleep(100000 * NS_PER_S), RC_OK);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(timers[i].rank, i);
        assert_true(timers[i].fired_ns >= t0 + after_ns[i]);
        assert_true(timers[i].fired_ns < t0 + after_ns[i] + 2 * NS_PER_MS);
        assert_false(timer_is_armed(&timers[i].timer));
    }
}

static void far_timers_cascade_in_order(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, arm_far_and_near, NULL);
}

static void move_around(void *arg)
{
    (void)arg;
    static struct ordered o;
    struct loop *loop = loop_self();
    uint64_t t0 = loop_mono_ns(loop);
    /* Later, twice; earlier; never; and disarmed. */
    timer_arm(loop, &o.timer, t0 + NS_PER_S, note);
    timer_arm(loop, &o.timer, t0 + 2 * NS_PER_S, note);
    assert_int_equal(fiber_sleep(1500 * NS_PER_MS), RC_OK);
    assert_int_equal(o.fired_ns, 0);
    timer_arm(loop, &o.timer, t0 + 9 * NS_PER_S, note);
    timer_arm(loop, &o.timer, t0 + 3 * NS_PER_S, note);
    assert_int_equal(fiber_sleep(2 * NS_PER_S), RC_OK);
    assert_true(o.fired_ns >= t0 + 3 * NS_PER_S);
    assert_true(o.fired_ns < t0 + 3 * NS_PER_S + 2 * NS_PER_MS);
    o.fired_ns = 0;
    timer_arm(loop, &o.timer, t0 + 20 * NS_PER_S, note);
    timer_arm(loop, &o.timer, NEVER, note);
    assert_false(timer_is_armed(&o.timer));
    timer_arm(loop, &o.timer, t0 + 20 * NS_PER_S, note);
    timer_disarm(loop, &o.timer);
    timer_disarm(loop, &o.timer);
    assert_int_equal(fiber_sleep(100 * NS_PER_S), RC_OK);
    assert_int_equal(o.fired_ns, 0);
    /* By hand. */
    timer_arm(loop, &o.timer, loop_mono_ns(loop) + NS_PER_S, note);
    loop_clock_advance(loop, 2 * NS_PER_S);
    fiber_yield();
    assert_int_equal(o.fired_ns, loop_mono_ns(loop));
}

static void timers_can_be_moved(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, move_around, NULL);
}

static void sleep_really(void *arg)
{
    (void)arg;
    uint64_t t0 = loop_mono_ns(loop_self());
    assert_int_equal(fiber_sleep(5 * NS_PER_MS), RC_OK);
    assert_true(loop_mono_ns(loop_self()) >= t0 + 5 * NS_PER_MS);
}

static void never_fires(struct timer *timer, struct loop *loop)
{
    (void)timer;
    (void)loop;
    fail_msg("fired");
}

/* A span that somebody else chose may reach beyond the wheel, at once or when it is moved. */
static void what_is_too_far_never_comes(void **state)
{
    (void)state;
    static const uint64_t beyond[] = {UINT64_C(1) << 62, UINT64_MAX - 1, NEVER};
    for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
        struct wheel wheel;
        struct timer timer = {.fn = NULL};
        wheel__init(&wheel, NS_PER_S);
        wheel__arm(&wheel, &timer, beyond[i], never_fires);
        assert_false(timer_is_armed(&timer));
        wheel__arm(&wheel, &timer, 2 * NS_PER_S, never_fires);
        assert_true(timer_is_armed(&timer));
        wheel__arm(&wheel, &timer, beyond[i], never_fires);
        assert_false(timer_is_armed(&timer));
        wheel__advance(&wheel, 10 * NS_PER_S);
        assert_true(wheel__next_ns(&wheel) == NEVER);
    }
}

static void the_real_clock_is_never_early(void **state)
{
    (void)state;
    run_once(sleep_really, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wheel_agrees_with_a_model),
        cmocka_unit_test(far_timers_cascade_in_order),
        cmocka_unit_test(timers_can_be_moved),
        cmocka_unit_test(what_is_too_far_never_comes),
        cmocka_unit_test(the_real_clock_is_never_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
