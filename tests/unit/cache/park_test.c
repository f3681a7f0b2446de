/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Waiting behind a fetch: one fetches, the others are answered, and nobody is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rig.h"

/* A request on a fiber of its own. */
struct asker {
    struct rig *rig;
    struct lookup_req req;
    struct fiber *fiber;
    enum rc rc;
    struct lookup found;
    bool is_done;
    struct latch *done;
};

static void ask(void *arg)
{
    struct asker *a = arg;
    a->fiber = fiber_self();
    a->rc = cache_lookup(a->rig->cache, &a->req, &a->found);
    a->is_done = true;
    if (a->done != NULL) {
        latch_down(a->done);
    }
}

static void start_asker(struct rig *rig, struct asker *a, unsigned loop)
{
    *a = (struct asker){.rig = rig, .req = rig_req(1), .done = a->done};
    rig_start(rig, loop, ask, a);
}

static uint64_t parked(struct rig *rig)
{
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    return stats.parked;
}

static void until_parked(struct rig *rig, uint64_t n)
{
    while (parked(rig) < n) {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
    }
}

/* ---- coalescing ---- */

enum { ASKERS = 60 };

struct crowd {
    struct rig *rig;
    struct latch done;
    _Atomic unsigned fetches;
    _Atomic unsigned hits;
};

static void ask_and_fetch(void *arg)
{
    struct crowd *crowd = arg;
    struct lookup found = rig_lookup(crowd->rig, 1);
    if (found.kind == LOOKUP_MISS) {
        atomic_fetch_add(&crowd->fetches, 1);
        assert_int_equal(rig_fetch(crowd->rig, &found.busy, "the one body"), RC_OK);
    } else {
        assert_int_equal(found.kind, LOOKUP_HIT);
        assert_null(found.busy);
        size_t len;
        enum rc rc;
        char *body = rig_body(found.oc, &len, &rc);
        assert_int_equal(rc, RC_EOF);
        assert_int_equal(len, 12);
        assert_memory_equal(body, "the one body", 12);
        free(body);
        atomic_fetch_add(&crowd->hits, 1);
    }
    rig_release(&found);
    latch_down(&crowd->done);
}

static void crowd(void *arg)
{
    struct rig *rig = arg;
    struct crowd crowd = {.rig = rig};
    rig->stv.yields = true;
    unsigned loops = run_loops(rig->run);
    latch_init(&crowd.done, ASKERS);
    for (unsigned i = 0; i < ASKERS; i++) {
        rig_start(rig, i % loops, ask_and_fetch, &crowd);
    }
    latch_wait(&crowd.done);
    assert_int_equal(atomic_load(&crowd.fetches), 1);
    assert_int_equal(atomic_load(&crowd.hits), ASKERS - 1);
    assert_int_equal(atomic_load(&rig->stv.finals), 1);
}

static void many_ask_one_fetches(void **state)
{
    (void)state;
    for (unsigned loops = 0; loops <= 3; loops++) {
        const struct rig_conf conf = {.loops = loops};
        rig_run(&conf, crowd);
    }
    for (uint64_t seed = 1; seed <= 50; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, crowd);
    }
}

/* ---- failure ---- */

static void promotion(void *arg)
{
    struct rig *rig = arg;
    enum { N = 5 };
    struct lookup first = rig_lookup(rig, 1);
    struct asker askers[N] = {0};
    for (unsigned i = 0; i < N; i++) {
        start_asker(rig, &askers[i], 0);
    }
    until_parked(rig, N);
    bool ended[N] = {false};
    for (unsigned round = 0; round < N; round++) {
        obj_fail(first.busy);
        obj_release(&first.busy);
        assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
        unsigned fresh = 0;
        for (unsigned i = 0; i < N; i++) {
            if (askers[i].is_done && !ended[i]) {
                ended[i] = true;
                fresh++;
                assert_int_equal(askers[i].rc, RC_OK);
                assert_int_equal(askers[i].found.kind, LOOKUP_MISS);
                assert_true(askers[i].found.parked);
                first.busy = askers[i].found.busy;
                assert_non_null(first.busy);
            }
        }
        assert_int_equal(fresh, 1);
    }
    rig_release(&first);
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.parked, N);
    assert_int_equal(stats.woken, N);
}

/* ends: obj_finish or obj_fail */
static void held_back(struct rig *rig, unsigned key, bool ends_well)
{
    struct lookup found = rig_lookup(rig, key);
    struct asker asker = {.rig = rig, .req = rig_req(key)};
    uint64_t before = parked(rig);
    rig_start(rig, 0, ask, &asker);
    until_parked(rig, before + 1);
    struct obj_times times = rig_times();
    obj_hold_back(found.busy);
    assert_true(rig_ready(rig, found.busy, &times, 0));
    rig_write(found.busy, "body", 4);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_false(asker.is_done);
    if (ends_well) {
        assert_int_equal(obj_finish(found.busy), RC_OK);
    } else {
        obj_fail(found.busy);
    }
    obj_release(&found.busy);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_true(asker.is_done);
    assert_int_equal(asker.rc, RC_OK);
    assert_int_equal(asker.found.kind, ends_well ? LOOKUP_HIT : LOOKUP_MISS);
    if (ends_well) {
        assert_true(obj_is_complete(asker.found.oc));
    }
    rig_release(&asker.found);
}

static void holding_back(void *arg)
{
    held_back(arg, 1, true);
    held_back(arg, 2, false);
}

static void who_waits_for_all_of_it_finds_all_of_it(void **state)
{
    (void)state;
    const struct rig_conf conf = {0};
    rig_run(&conf, holding_back);
}

/* The second failure in a row, and the fetch says that nobody is to try again. */
static void refusal(void *arg)
{
    struct rig *rig = arg;
    enum { N = 5 };
    struct lookup first = rig_lookup(rig, 1);
    assert_int_equal(obj_failed_before(first.busy), 0);
    struct asker askers[N] = {0};
    for (unsigned i = 0; i < N; i++) {
        start_asker(rig, &askers[i], 0);
    }
    until_parked(rig, N);
    obj_fail(first.busy);
    obj_release(&first.busy);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    struct objcore *heir = NULL;
    for (unsigned i = 0; i < N; i++) {
        heir = askers[i].is_done ? askers[i].found.busy : heir;
    }
    assert_non_null(heir);
    assert_int_equal(obj_failed_before(heir), 1);
    obj_fail_all(heir);
    obj_release(&heir);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    unsigned refused = 0;
    for (unsigned i = 0; i < N; i++) {
        assert_true(askers[i].is_done);
        refused += askers[i].rc == RC_REFUSED;
    }
    assert_int_equal(refused, N - 1);
    /* Who comes later begins anew. */
    first = rig_lookup(rig, 1);
    assert_int_equal(first.kind, LOOKUP_MISS);
    assert_int_equal(obj_failed_before(first.busy), 0);
    rig_release(&first);
}

static void a_fetch_may_fail_for_all_who_wait(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed <= 20; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, refusal);
    }
}

static void failure_promotes_exactly_one(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed <= 20; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, promotion);
    }
}

static void heir(void *arg)
{
    struct rig *rig = arg;
    struct lookup first = rig_lookup(rig, 1);
    struct lookup_req req = rig_req(1);
    req.ignore_busy = true;
    struct lookup second;
    assert_int_equal(cache_lookup(rig->cache, &req, &second), RC_OK);
    struct asker asker = {0};
    start_asker(rig, &asker, 0);
    until_parked(rig, 1);
    rig_release(&first);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_false(asker.is_done); /* it waits for the other fetch now */
    assert_int_equal(rig_fetch(rig, &second.busy, "second"), RC_OK);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_true(asker.is_done);
    assert_int_equal(asker.found.kind, LOOKUP_HIT);
    rig_release(&asker.found);
}

static void those_parked_move_to_a_fetch_that_runs(void **state)
{
    (void)state;
    const struct rig_conf conf = {0};
    rig_run(&conf, heir);
}

/* ---- marks, variants, time ---- */

static void marks(void *arg)
{
    struct rig *rig = arg;
    enum { N = 4 };
    for (unsigned flags = OBJ_HITMISS; flags <= OBJ_HITPASS; flags++) {
        struct digest key = rig_key(1);
        (void)cache_purge(rig->cache, &key);
        struct lookup first = rig_lookup(rig, 1);
        struct asker askers[N] = {0};
        uint64_t before = parked(rig);
        for (unsigned i = 0; i < N; i++) {
            start_asker(rig, &askers[i], 0);
        }
        until_parked(rig, before + N);
        struct obj_times times = rig_times();
        assert_true(rig_ready(rig, first.busy, &times, flags));
        assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
        for (unsigned i = 0; i < N; i++) {
            assert_true(askers[i].is_done);
            assert_int_equal(askers[i].found.kind,
                             flags == OBJ_HITMISS ? LOOKUP_HITMISS : LOOKUP_HITPASS);
            assert_int_equal(askers[i].found.busy != NULL, flags == OBJ_HITMISS);
            rig_release(&askers[i].found);
        }
        rig_release(&first);
    }
}

static void a_mark_wakes_all_at_once(void **state)
{
    (void)state;
    const struct rig_conf conf = {0};
    rig_run(&conf, marks);
}

static bool is_vary(void *arg, const struct objcore *oc)
{
    return str_eq(obj_get(oc, OA_VARY), str_of(arg));
}

static void mismatch(void *arg)
{
    struct rig *rig = arg;
    char en[] = "en";
    char de[] = "de";
    struct lookup first = rig_lookup(rig, 1);
    struct asker askers[3] = {0};
    for (unsigned i = 0; i < 3; i++) {
        askers[i] = (struct asker){.rig = rig, .req = rig_req(1)};
        askers[i].req.match = is_vary;
        askers[i].req.match_arg = i == 0 ? en : de;
        rig_start(rig, 0, ask, &askers[i]);
    }
    until_parked(rig, 3);
    assert_int_equal(obj_set(first.busy, OA_VARY, str_of(en)), RC_OK);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, first.busy, &times, 0));
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_true(askers[0].is_done);
    assert_int_equal(askers[0].found.kind, LOOKUP_HIT);
    /* One of those who want another variant fetches it, the other waits for that. */
    unsigned fetcher = askers[1].is_done ? 1 : 2;
    assert_true(askers[fetcher].is_done);
    assert_false(askers[3 - fetcher].is_done);
    assert_int_equal(askers[fetcher].found.kind, LOOKUP_MISS);
    struct objcore *busy = askers[fetcher].found.busy;
    assert_int_equal(obj_set(busy, OA_VARY, str_of(de)), RC_OK);
    assert_true(rig_ready(rig, busy, &times, 0));
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_true(askers[3 - fetcher].is_done);
    assert_int_equal(askers[3 - fetcher].found.kind, LOOKUP_HIT);
    assert_ptr_equal(askers[3 - fetcher].found.oc, busy);
    assert_int_equal(obj_finish(first.busy), RC_OK);
    obj_release(&first.busy);
    for (unsigned i = 0; i < 3; i++) {
        rig_release(&askers[i].found);
    }
}

static void who_does_not_match_looks_again(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed <= 10; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, mismatch);
    }
}

static void no_ttl(void *arg)
{
    struct rig *rig = arg;
    struct lookup first = rig_lookup(rig, 1);
    struct asker askers[2] = {0};
    start_asker(rig, &askers[0], 0);
    start_asker(rig, &askers[1], 0);
    until_parked(rig, 2);
    struct obj_times times = rig_times();
    times.ttl_ns = 0;
    times.grace_ns = 0;
    assert_int_equal(rig_fetch_times(rig, &first.busy, "x", &times, 0), RC_OK);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    /* The next would bring no better: neither waits for the other. */
    for (unsigned i = 0; i < 2; i++) {
        assert_true(askers[i].is_done);
        assert_int_equal(askers[i].found.kind, LOOKUP_MISS);
        assert_non_null(askers[i].found.busy);
        rig_release(&askers[i].found);
    }
}

static void what_is_not_fresh_answers_nobody_who_waited(void **state)
{
    (void)state;
    const struct rig_conf conf = {0};
    rig_run(&conf, no_ttl);
}

/* ---- deadlines ---- */

static void deadlines(void *arg)
{
    struct rig *rig = arg;
    struct lookup first = rig_lookup(rig, 1);
    struct latch done;
    latch_init(&done, 3);
    struct asker askers[3] = {{.done = &done}, {.done = &done}, {.done = &done}};
    for (unsigned i = 0; i < 3; i++) {
        start_asker(rig, &askers[i], 0);
    }
    askers[0].req.deadline_ns = loop_mono_ns(loop_self()) + NS_PER_S;
    until_parked(rig, 3);
    assert_int_equal(fiber_sleep(2 * NS_PER_S), RC_OK);
    assert_true(askers[0].is_done);
    assert_int_equal(askers[0].rc, RC_TIMEOUT);
    assert_null(askers[0].found.oc);
    assert_null(askers[0].found.busy);
    fiber_cancel(askers[1].fiber);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_true(askers[1].is_done);
    assert_int_equal(askers[1].rc, RC_CANCELLED);
    assert_false(askers[2].is_done);
    assert_int_equal(rig_fetch(rig, &first.busy, "x"), RC_OK);
    latch_wait(&done);
    assert_int_equal(askers[2].rc, RC_OK);
    rig_release(&askers[2].found);
}

static void being_parked_ends_at_the_deadline(void **state)
{
    (void)state;
    const struct rig_conf conf = {0};
    rig_run(&conf, deadlines);
}

/* ---- schedules: completion, failure, purge, time-outs and cancels in any order ---- */

enum { SCHEDULE_ASKERS = 12 };

struct schedule {
    struct rig *rig;
    struct rng rng;
    unsigned key;
    struct latch done;
    struct fiber *asking[SCHEDULE_ASKERS]; /* NULL once it is through */
    unsigned at;
    unsigned answered, failed;
};

/* Ends a fetch in one of many ways.  Its fiber may be cancelled. */
static void fetch_somehow(struct schedule *s, struct objcore *busy)
{
    if (rng_below(&s->rng, 2) == 0) {
        enum rc slept = fiber_sleep(rng_below(&s->rng, 5) * NS_PER_MS);
        assert_true(slept == RC_OK || slept == RC_CANCELLED);
    }
    if (rng_below(&s->rng, 2) == 0) {
        (rng_below(&s->rng, 4) == 0 ? obj_fail_all : obj_fail)(busy);
        return;
    }
    struct obj_times times = rig_times();
    times.ttl_ns = rng_below(&s->rng, 4) * NS_PER_MS;
    times.grace_ns = rng_below(&s->rng, 2) * NS_PER_MS;
    times.keep_ns = 0;
    (void)rig_ready(s->rig, busy, &times, rng_below(&s->rng, 8) == 0 ? OBJ_HITMISS : 0);
    if (rng_below(&s->rng, 4) == 0) {
        obj_fail(busy);
        return;
    }
    enum rc ended = obj_finish(busy);
    assert_true(ended == RC_OK || ended == RC_NOSPACE);
}

static void one_of_many(void *arg)
{
    struct schedule *s = arg;
    unsigned me = s->at++;
    s->asking[me] = fiber_self();
    struct lookup_req req = rig_req(s->key);
    req.deadline_ns = loop_mono_ns(loop_self()) + (1 + rng_below(&s->rng, 6)) * NS_PER_MS;
    struct lookup found;
    enum rc rc = cache_lookup(s->rig->cache, &req, &found);
    if (rc == RC_OK) {
        s->answered++;
        assert_int_equal(found.oc != NULL, found.kind != LOOKUP_MISS);
        if (found.busy != NULL) {
            fetch_somehow(s, found.busy);
            obj_release(&found.busy);
        }
        rig_release(&found);
    } else {
        s->failed++;
        assert_true(rc == RC_TIMEOUT || rc == RC_CANCELLED || rc == RC_REFUSED);
        assert_null(found.oc);
        assert_null(found.busy);
    }
    s->asking[me] = NULL;
    latch_down(&s->done);
}

static void cancel_one(struct schedule *s)
{
    struct fiber *fiber = s->asking[rng_below(&s->rng, SCHEDULE_ASKERS)];
    if (fiber != NULL) {
        fiber_cancel(fiber);
    }
}

static void one_schedule(struct rig *rig, uint64_t seed, unsigned key)
{
    struct schedule s = {.rig = rig, .rng.state = seed, .key = key};
    rig->stv.yields = rng_below(&s.rng, 2) == 0;
    latch_init(&s.done, SCHEDULE_ASKERS);
    for (unsigned i = 0; i < SCHEDULE_ASKERS; i++) {
        assert_int_equal(fiber_start(one_of_many, &s, "asker"), RC_OK);
        if (rng_below(&s.rng, 3) == 0) {
            assert_int_equal(fiber_sleep(rng_below(&s.rng, 3) * NS_PER_MS), RC_OK);
        }
        if (rng_below(&s.rng, 6) == 0) {
            struct digest digest = rig_key(key);
            (void)cache_purge(rig->cache, &digest);
        }
        if (rng_below(&s.rng, 4) == 0) {
            cancel_one(&s);
        }
    }
    latch_wait(&s.done);
    assert_int_equal(s.answered + s.failed, SCHEDULE_ASKERS);
    /* Nobody is left behind: all has expired, and the next one fetches at once. */
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    struct lookup found = rig_lookup(rig, key);
    assert_int_equal(found.kind, LOOKUP_MISS);
    assert_false(found.parked);
    rig_release(&found);
}

static void any_order(void *arg)
{
    struct rig *rig = arg;
    const uint64_t *seed = rig->arg;
    for (unsigned i = 0; i < 300; i++) {
        one_schedule(rig, *seed + i, i);
        (void)cache_expire(rig->cache);
    }
}

static void in_any_order_everybody_is_answered_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t first = seed * 1000;
        const struct rig_conf conf = {.seed = seed, .arg = &first};
        rig_run(&conf, any_order);
    }
}

/* ---- what comes too old ---- */

static enum obj_use never(void *arg, const struct objcore *oc, uint64_t now_ns)
{
    (void)arg;
    (void)oc;
    (void)now_ns;
    return OBJ_UNUSABLE;
}

static void all_fetch_for_themselves(void *arg)
{
    struct rig *rig = arg;
    enum { PICKY = 5 };
    struct asker askers[PICKY];
    struct lookup first = rig_lookup(rig, 1);
    for (unsigned i = 0; i < PICKY; i++) {
        askers[i] = (struct asker){.rig = rig, .req = rig_req(1)};
        askers[i].req.use = never;
        rig_start(rig, 0, ask, &askers[i]);
    }
    until_parked(rig, PICKY);
    assert_int_equal(rig_fetch(rig, &first.busy, "one"), RC_OK);
    while (!askers[PICKY - 1].is_done) {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
    }
    /* None waits for another: each has something to fetch into, and was parked once. */
    for (unsigned i = 0; i < PICKY; i++) {
        assert_true(askers[i].is_done);
        assert_int_equal(askers[i].rc, RC_OK);
        assert_int_equal(askers[i].found.kind, LOOKUP_MISS);
        assert_non_null(askers[i].found.busy);
    }
    assert_int_equal(parked(rig), PICKY);
    for (unsigned i = 0; i < PICKY; i++) {
        rig_release(&askers[i].found);
    }
}

static void who_gets_what_is_too_old_waits_no_second_time(void **state)
{
    (void)state;
    const struct rig_conf conf = {0};
    rig_run(&conf, all_fetch_for_themselves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_ask_one_fetches),
        cmocka_unit_test(failure_promotes_exactly_one),
        cmocka_unit_test(a_fetch_may_fail_for_all_who_wait),
        cmocka_unit_test(those_parked_move_to_a_fetch_that_runs),
        cmocka_unit_test(who_waits_for_all_of_it_finds_all_of_it),
        cmocka_unit_test(a_mark_wakes_all_at_once),
        cmocka_unit_test(who_does_not_match_looks_again),
        cmocka_unit_test(what_is_not_fresh_answers_nobody_who_waited),
        cmocka_unit_test(being_parked_ends_at_the_deadline),
        cmocka_unit_test(in_any_order_everybody_is_answered_once),
        cmocka_unit_test(who_gets_what_is_too_old_waits_no_second_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
