/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Several loops at once; worth most under ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "rig.h"

/* ---- no instant without an object ---- */

struct replacing {
    struct rig *rig;
    struct latch done;
    _Atomic bool is_over;
    _Atomic unsigned reads;
};

static void read_always(void *arg)
{
    struct replacing *r = arg;
    while (!atomic_load(&r->is_over)) {
        for (unsigned i = 0; i < 20; i++) {
            struct lookup found = rig_lookup(r->rig, 1);
            assert_int_equal(found.kind, LOOKUP_HIT);
            assert_null(found.busy);
            rig_release(&found);
        }
        size_t len;
        enum rc rc;
        struct lookup found = rig_lookup(r->rig, 1);
        char *body = rig_body(found.oc, &len, &rc);
        assert_int_equal(rc, RC_EOF);
        assert_int_equal(len, 8);
        free(body);
        rig_release(&found);
        atomic_fetch_add(&r->reads, 1);
        fiber_yield();
    }
    latch_down(&r->done);
}

static void replace_often(void *arg)
{
    struct rig *rig = arg;
    struct replacing r = {.rig = rig};
    rig_put(rig, 1, "00000000");
    unsigned loops = run_loops(rig->run);
    latch_init(&r.done, 2 * loops);
    for (unsigned i = 0; i < 2 * loops; i++) {
        rig_start(rig, i % loops, read_always, &r);
    }
    for (unsigned i = 0; i < 300 || atomic_load(&r.reads) < 1000; i++) {
        struct lookup_req req = rig_req(1);
        req.always_miss = true;
        struct lookup found;
        assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
        char body[16];
        (void)snprintf(body, sizeof body, "%08u", i % 1000000);
        assert_int_equal(rig_fetch(rig, &found.busy, body), RC_OK);
        fiber_yield();
    }
    atomic_store(&r.is_over, true);
    latch_wait(&r.done);
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
}

static void an_object_is_there_while_it_is_replaced(void **state)
{
    (void)state;
    const struct rig_conf conf = {.loops = 3};
    rig_run(&conf, replace_often);
}

/* ---- everything at once ---- */

enum { KEYS = 6, FIBERS_A_LOOP = 6, STEPS = 250 };

struct mess {
    struct rig *rig;
    struct latch done;
    /* What the origin serves: one more with each purge, from its beginning. */
    _Atomic unsigned version[KEYS];
    /* Purges up to this one have returned. */
    _Atomic unsigned purged[KEYS];
    _Atomic unsigned hits, fetches;
    _Atomic uint64_t seeds;
};

static void do_purge(struct mess *m, unsigned key)
{
    unsigned version = atomic_fetch_add(&m->version[key], 1) + 1;
    struct digest digest = rig_key(key);
    (void)cache_purge(m->rig->cache, &digest);
    unsigned before = atomic_load(&m->purged[key]);
    while (before < version && !atomic_compare_exchange_weak(&m->purged[key], &before, version)) {
    }
}

static void do_fetch(struct mess *m, unsigned key, struct objcore *busy, struct rng *rng)
{
    struct rig *rig = m->rig;
    atomic_fetch_add(&m->fetches, 1);
    /* The request is sent now. */
    unsigned version = atomic_load(&m->version[key]);
    if (rng_below(rng, 8) == 0) {
        obj_fail(busy);
        return;
    }
    struct obj_times times = rig_times();
    times.ttl_ns = rng_below(rng, 3) * NS_PER_MS;
    times.grace_ns = rng_below(rng, 3) * NS_PER_MS;
    times.keep_ns = rng_below(rng, 3) * NS_PER_MS;
    (void)rig_ready(rig, busy, &times, rng_below(rng, 16) == 0 ? OBJ_HITMISS : 0);
    unsigned words = 1 + (unsigned)rng_below(rng, 40);
    for (unsigned i = 0; i < words; i++) {
        unsigned word[2] = {key, version};
        rig_write(busy, word, sizeof word);
        if (rng_below(rng, 8) == 0) {
            fiber_yield();
        }
    }
    if (rng_below(rng, 8) == 0) {
        obj_fail(busy);
        return;
    }
    enum rc rc = obj_finish(busy);
    assert_true(rc == RC_OK || rc == RC_NOSPACE);
}

static void do_read(struct mess *m, unsigned key, struct objcore *oc, unsigned at_least)
{
    size_t len;
    enum rc rc;
    char *body = rig_body(oc, &len, &rc);
    assert_true(rc == RC_EOF || rc == RC_RESET);
    assert_true(len % 8 == 0 || rc == RC_RESET);
    for (size_t at = 0; at + 8 <= len; at += 8) {
        unsigned word[2];
        memcpy(word, body + at, sizeof word);
        assert_int_equal(word[0], key);
        assert_true(word[1] >= at_least);
    }
    free(body);
    atomic_fetch_add(&m->hits, 1);
}

static void do_lookup(struct mess *m, unsigned key, struct rng *rng)
{
    struct lookup_req req = rig_req(key);
    req.always_miss = rng_below(rng, 16) == 0;
    req.ignore_busy = rng_below(rng, 16) == 0;
    req.deadline_ns = loop_mono_ns(loop_self()) +
                      (rng_below(rng, 4) == 0 ? rng_below(rng, NS_PER_MS) : 60 * NS_PER_S);
    unsigned at_least = atomic_load(&m->purged[key]);
    struct lookup found;
    enum rc rc = cache_lookup(m->rig->cache, &req, &found);
    if (rc != RC_OK) {
        assert_int_equal(rc, RC_TIMEOUT);
        return;
    }
    /* Before it waits for anything: others may wait for what it is to fetch. */
    if (found.busy != NULL) {
        do_fetch(m, key, found.busy, rng);
        obj_release(&found.busy);
    }
    if (found.oc != NULL) {
        do_read(m, key, found.oc, at_least);
    }
    rig_release(&found);
}

static void make_a_mess(void *arg)
{
    struct mess *m = arg;
    struct rng rng = {.state = atomic_fetch_add(&m->seeds, 1)};
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned key = (unsigned)rng_below(&rng, KEYS);
        switch (rng_below(&rng, 12)) {
        case 0:
            do_purge(m, key);
            break;
        case 1:
            (void)fake_evict(&m->rig->stv);
            break;
        case 2:
            (void)cache_expire(m->rig->cache);
            break;
        default:
            do_lookup(m, key, &rng);
            break;
        }
        if (rng_below(&rng, 4) == 0) {
            fiber_yield();
        }
    }
    latch_down(&m->done);
}

static void mess(void *arg)
{
    struct rig *rig = arg;
    static struct mess m;
    m = (struct mess){.rig = rig};
    atomic_store(&rig->stv.fail_final, 5);
    rig->stv.alloc_bytes = 64;
    unsigned loops = run_loops(rig->run);
    latch_init(&m.done, loops * FIBERS_A_LOOP);
    for (unsigned i = 0; i < loops * FIBERS_A_LOOP; i++) {
        rig_start(rig, i % loops, make_a_mess, &m);
    }
    latch_wait(&m.done);
    assert_true(atomic_load(&m.hits) > 0);
    assert_true(atomic_load(&m.fetches) > 0);
    struct cache_stats stats;
    for (unsigned key = 0; key < KEYS; key++) {
        do_purge(&m, key);
    }
    do {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
        cache_stat(rig->cache, &stats);
    } while (stats.cores > 0 || stats.heads > 0);
    assert_int_equal(atomic_load(&rig->stv.objects), 0);
    assert_int_equal(atomic_load(&rig->stv.segs), 0);
}

static void all_at_once_nothing_old_nothing_torn_nothing_left(void **state)
{
    (void)state;
    for (unsigned loops = 2; loops <= 3; loops++) {
        const struct rig_conf conf = {.loops = loops};
        rig_run(&conf, mess);
    }
}

/* ---- heads that come and go ---- */

struct churn {
    struct rig *rig;
    struct latch done;
};

/* Each head's only core goes at once, so heads are reaped while others look for them. */
static void churn_heads(void *arg)
{
    struct churn *c = arg;
    for (unsigned i = 0; i < 3000; i++) {
        struct lookup_req req = rig_req(i % 3);
        req.ignore_busy = true;
        struct lookup found;
        assert_int_equal(cache_lookup(c->rig->cache, &req, &found), RC_OK);
        assert_int_equal(found.kind, LOOKUP_MISS);
        rig_release(&found);
        if (i % 16 == 0) {
            fiber_yield();
        }
        if (i % 500 == 0) {
            assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
        }
    }
    latch_down(&c->done);
}

static void churn(void *arg)
{
    struct rig *rig = arg;
    struct churn c = {.rig = rig};
    unsigned loops = run_loops(rig->run);
    latch_init(&c.done, loops);
    for (unsigned i = 0; i < loops; i++) {
        rig_start(rig, i, churn_heads, &c);
    }
    latch_wait(&c.done);
    struct cache_stats stats;
    do {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
        cache_stat(rig->cache, &stats);
    } while (stats.heads > 0);
}

static void heads_die_and_come_back(void **state)
{
    (void)state;
    const struct rig_conf conf = {.loops = 3};
    rig_run(&conf, churn);
}

/* ---- a table that grows ---- */

enum { GROWN_KEYS = 12000 };

struct growing {
    struct rig *rig;
    struct latch done;
    _Atomic unsigned there; /* keys below it are */
};

/* Without locks a lookup may miss what was just added, but then it looks again. */
static void find_all(void *arg)
{
    struct growing *g = arg;
    struct rng rng = {.state = loop_index(loop_self())};
    unsigned there;
    do {
        there = atomic_load(&g->there);
        for (unsigned i = 0; i < 50; i++) {
            unsigned key = i == 0 ? there - 1 : (unsigned)rng_below(&rng, there);
            struct lookup found = rig_lookup(g->rig, key);
            assert_int_equal(found.kind, LOOKUP_HIT);
            rig_release(&found);
        }
        fiber_yield();
    } while (there < GROWN_KEYS);
    latch_down(&g->done);
}

static void grow(void *arg)
{
    struct rig *rig = arg;
    struct growing g = {.rig = rig};
    unsigned loops = run_loops(rig->run);
    latch_init(&g.done, loops);
    rig_put(rig, 0, "x");
    atomic_store(&g.there, 1);
    for (unsigned i = 0; i < loops; i++) {
        rig_start(rig, i, find_all, &g);
    }
    for (unsigned key = 1; key < GROWN_KEYS; key++) {
        rig_put(rig, key, "x");
        atomic_store(&g.there, key + 1);
        if (key % 64 == 0) {
            fiber_yield();
        }
    }
    latch_wait(&g.done);
}

static void everything_is_found_while_the_table_grows(void **state)
{
    (void)state;
    const struct rig_conf conf = {.loops = 3};
    rig_run(&conf, grow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_there_while_it_is_replaced),
        cmocka_unit_test(all_at_once_nothing_old_nothing_torn_nothing_left),
        cmocka_unit_test(heads_die_and_come_back),
        cmocka_unit_test(everything_is_found_while_the_table_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
