/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Purge: what was there is gone, for this worker and the next; what is on its way answers those
 * who wait for it, and is found by nobody else, whatever the moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "rig.h"
#include "run/rcu.h"

static void run(fiber_fn *fn)
{
    for (uint64_t seed = 0; seed <= 5; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, fn);
    }
}

static unsigned purge(struct rig *rig)
{
    struct digest key = rig_key(1);
    unsigned killed = cache_purge(rig->cache, &key);
    assert_false(fake_is_live(&rig->stv, &key));
    return killed;
}

static void assert_seen(struct rig *rig, const char *want)
{
    char buf[64];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), want);
}

static uint64_t stale_fetches(struct rig *rig)
{
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    return stats.stale_fetches;
}

/* ---- soft ---- */

/* The TTL ends now, the grace after 50 s; keep stays. */
static unsigned purge_softly(struct rig *rig)
{
    const struct obj_retime want = {
        .sets_ttl = true, .sets_grace = true, .grace_ns = 50 * NS_PER_S};
    struct digest key = rig_key(1);
    return cache_soft_purge(rig->cache, &key, &want);
}

/* What a next worker would find has the times of what this one has. */
static void assert_recorded(struct rig *rig, const struct objcore *oc)
{
    struct digest key = rig_key(1);
    struct stv_record record;
    assert_true(fake_record(&rig->stv, &key, &record));
    struct obj_times times = obj_times(oc);
    assert_int_equal(times.grace_ns, 50 * NS_PER_S);
    assert_int_equal(record.digest.bytes[0], key.bytes[0]);
    assert_int_equal(record.t_origin_ns, times.t_origin_ns);
    assert_int_equal(record.ttl_ns, times.ttl_ns);
    assert_int_equal(record.grace_ns, times.grace_ns);
    assert_int_equal(record.keep_ns, times.keep_ns);
    assert_true(record.revision > 0);
}

static void soft(void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(purge_softly(rig), 0);
    rig_put(rig, 1, "one");
    struct lookup fresh = rig_lookup(rig, 1);
    assert_int_equal(fresh.kind, LOOKUP_HIT);
    struct obj_times before = obj_times(fresh.oc);
    assert_int_equal(purge_softly(rig), 1);
    assert_int_equal(obj_times(fresh.oc).keep_ns, before.keep_ns);
    assert_recorded(rig, fresh.oc);
    rig_release(&fresh);
    struct lookup stale = rig_lookup(rig, 1);
    assert_int_equal(stale.kind, LOOKUP_STALE);
    assert_non_null(stale.busy);
    rig_release(&stale);
    assert_int_equal(purge(rig), 1);
}

static void a_softly_purged_object_is_stale(void **state)
{
    (void)state;
    run(soft);
}

static void purge_softly_inside(void *arg)
{
    struct rig *rig = arg;
    rig->stv.in_final = NULL;
    assert_int_equal(purge_softly(rig), 1);
}

static void soft_inside(void *arg)
{
    struct rig *rig = arg;
    rig->stv.in_final = purge_softly_inside;
    rig->stv.in_final_arg = rig;
    rig_put(rig, 1, "one");
    struct lookup stale = rig_lookup(rig, 1);
    assert_int_equal(stale.kind, LOOKUP_STALE);
    assert_recorded(rig, stale.oc);
    rig_release(&stale);
    assert_int_equal(purge(rig), 1);
}

static void a_soft_purge_while_the_record_is_written_is_recorded(void **state)
{
    (void)state;
    run(soft_inside);
}

/* ---- whole objects ---- */

static void whole(void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(purge(rig), 0);
    rig_put(rig, 1, "one");
    rig_put(rig, 2, "two");
    struct lookup held = rig_lookup(rig, 1);
    assert_int_equal(purge(rig), 1);
    assert_seen(rig, "M+:");
    char buf[16];
    assert_string_equal(rig_seen(rig, 2, buf, sizeof buf), "H:two");
    /* Who reads it goes on. */
    size_t len;
    enum rc rc;
    char *body = rig_body(held.oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_memory_equal(body, "one", 3);
    free(body);
    rig_release(&held);
    assert_int_equal(purge(rig), 0);
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.purged, 1);
    rig_put(rig, 1, "next");
    assert_seen(rig, "H:next");
}

static void a_purged_object_is_gone(void **state)
{
    (void)state;
    run(whole);
}

static bool purge_and_match(void *arg, const struct objcore *oc)
{
    (void)oc;
    struct rig *rig = arg;
    (void)purge(rig);
    return true;
}

/* A lookup has found it, and not taken its reference yet. */
static void between(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "one");
    struct lookup_req req = rig_req(1);
    req.match = purge_and_match;
    req.match_arg = rig;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    assert_int_equal(found.kind, LOOKUP_HIT);
    size_t len;
    enum rc rc;
    char *body = rig_body(found.oc, &len, &rc);
    assert_memory_equal(body, "one", 3);
    free(body);
    rig_release(&found);
    assert_seen(rig, "M+:");
}

static void what_a_lookup_has_found_stays_until_it_has_it(void **state)
{
    (void)state;
    run(between);
}

struct walk {
    struct rig *rig;
    unsigned seen;
};

/* At the first of three it purges them all; the walk over them goes on. */
static bool purge_and_go_on(void *arg, const struct objcore *oc)
{
    struct walk *walk = arg;
    if (walk->seen++ == 0) {
        assert_int_equal(purge(walk->rig), 3);
    }
    assert_int_equal(obj_get(oc, OA_VARY).len, 1);
    return false;
}

static bool never(void *arg, const struct objcore *oc)
{
    (void)arg;
    (void)oc;
    return false;
}

static void while_it_walks(void *arg)
{
    struct rig *rig = arg;
    struct lookup_req req = rig_req(1);
    struct lookup found;
    req.match = never;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
        char vary = (char)('a' + i);
        assert_int_equal(obj_set(found.busy, OA_VARY, (struct str){&vary, 1}), RC_OK);
        assert_int_equal(rig_fetch(rig, &found.busy, "x"), RC_OK);
    }
    struct walk walk = {.rig = rig};
    req.match = purge_and_go_on;
    req.match_arg = &walk;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    /* Those that had left meanwhile are asked about twice: once for bans. */
    assert_int_equal(walk.seen, 5);
    assert_int_equal(found.kind, LOOKUP_MISS);
    rig_release(&found);
}

static void what_a_lookup_walks_over_stays_until_it_is_through(void **state)
{
    (void)state;
    run(while_it_walks);
}

/* ---- during a fetch ---- */

struct asker {
    struct rig *rig;
    struct lookup found;
    enum rc body_rc;
    char *body;
    size_t len;
    struct latch *done;
};

static void ask_and_read(void *arg)
{
    struct asker *a = arg;
    a->found = rig_lookup(a->rig, 1);
    if (a->found.oc != NULL) {
        a->body = rig_body(a->found.oc, &a->len, &a->body_rc);
    }
    latch_down(a->done);
}

static void until_parked(struct rig *rig, uint64_t n)
{
    struct cache_stats stats;
    do {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
        cache_stat(rig->cache, &stats);
    } while (stats.parked < n);
}

static void before_ready(void *arg)
{
    struct rig *rig = arg;
    struct latch done;
    latch_init(&done, 2);
    struct lookup slow = rig_lookup(rig, 1);
    struct asker early = {.rig = rig, .done = &done};
    rig_start(rig, 0, ask_and_read, &early);
    until_parked(rig, 1);
    (void)purge(rig);
    /* Who comes now waits for a fetch that begins now. */
    struct lookup next = rig_lookup(rig, 1);
    assert_int_equal(next.kind, LOOKUP_MISS);
    assert_false(next.parked);
    assert_non_null(next.busy);
    struct asker late = {.rig = rig, .done = &done};
    rig_start(rig, 0, ask_and_read, &late);
    until_parked(rig, 2);
    assert_int_equal(rig_fetch(rig, &next.busy, "new"), RC_OK);
    /* The old content arrives last, and is only for those who asked before the purge. */
    struct obj_times times = rig_times();
    assert_false(rig_ready(rig, slow.busy, &times, 0));
    assert_int_equal(stale_fetches(rig), 1);
    rig_write(slow.busy, "old", 3);
    assert_seen(rig, "H:new");
    assert_int_equal(obj_finish(slow.busy), RC_OK);
    obj_release(&slow.busy);
    latch_wait(&done);
    assert_int_equal(early.found.kind, LOOKUP_HIT);
    assert_int_equal(early.body_rc, RC_EOF);
    assert_memory_equal(early.body, "old", 3);
    assert_memory_equal(late.body, "new", 3);
    free(early.body);
    free(late.body);
    rig_release(&early.found);
    rig_release(&late.found);
    assert_seen(rig, "H:new");
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
    assert_int_equal(atomic_load(&rig->stv.finals), 1);
}

static void a_fetch_from_before_answers_only_those_who_waited(void **state)
{
    (void)state;
    run(before_ready);
}

static void before_ready_alone(void *arg)
{
    struct rig *rig = arg;
    struct lookup slow = rig_lookup(rig, 1);
    (void)purge(rig);
    assert_int_equal(rig_fetch(rig, &slow.busy, "old"), RC_OK);
    assert_seen(rig, "M+:");
    assert_int_equal(atomic_load(&rig->stv.finals), 0);
}

static void a_fetch_from_before_is_not_found_later(void **state)
{
    (void)state;
    run(before_ready_alone);
}

static void during_body(void *arg)
{
    struct rig *rig = arg;
    struct lookup slow = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, slow.busy, &times, 0));
    rig_write(slow.busy, "ol", 2);
    struct latch done;
    latch_init(&done, 1);
    struct asker early = {.rig = rig, .done = &done};
    rig_start(rig, 0, ask_and_read, &early);
    assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
    assert_int_equal(purge(rig), 1);
    assert_seen(rig, "M+:");
    rig_write(slow.busy, "d", 1);
    assert_int_equal(obj_finish(slow.busy), RC_OK);
    obj_release(&slow.busy);
    assert_seen(rig, "M+:");
    latch_wait(&done);
    assert_int_equal(early.body_rc, RC_EOF);
    assert_int_equal(early.len, 3);
    assert_memory_equal(early.body, "old", 3);
    free(early.body);
    rig_release(&early.found);
    assert_int_equal(atomic_load(&rig->stv.finals), 0);
    assert_int_equal(stale_fetches(rig), 1);
}

static void a_body_that_streams_is_read_to_its_end(void **state)
{
    (void)state;
    run(during_body);
}

static void purge_inside(void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(purge(rig), 1);
}

static void during_final(void *arg)
{
    struct rig *rig = arg;
    struct lookup slow = rig_lookup(rig, 1);
    rig->stv.in_final = purge_inside;
    rig->stv.in_final_arg = rig;
    assert_int_equal(rig_fetch(rig, &slow.busy, "old"), RC_OK);
    struct digest key = rig_key(1);
    assert_false(fake_is_live(&rig->stv, &key));
    assert_seen(rig, "M+:");
    assert_int_equal(stale_fetches(rig), 1);
}

static void a_record_does_not_go_live_behind_a_purge(void **state)
{
    (void)state;
    run(during_final);
}

/* ---- at the same time on two threads ---- */

enum { STOPS = 4 };

/* One thread takes an object out of its head and stops before the store knows that it is dead;
 * another purges the same digest.  Whether that one waits or does the work itself: when its purge
 * returns, a next worker finds nothing. */
struct meeting {
    struct rig *rig;
    pthread_t purger;
    _Atomic bool has_purged;
    bool was_live;
    unsigned stops;
};

static void *purge_meanwhile(void *arg)
{
    struct meeting *m = arg;
    struct digest key = rig_key(1);
    rcu_register_thread();
    (void)cache_purge(m->rig->cache, &key);
    m->was_live = fake_is_live(&m->rig->stv, &key);
    rcu_unregister_thread();
    atomic_store(&m->has_purged, true);
    return NULL;
}

/* Called by whoever is about to store DEAD.  A purge that does not wait for it is through long
 * before this goes on; one that does wait cannot be harmed by how long this stops. */
static void stop_here(void *arg)
{
    struct meeting *m = arg;
    m->rig->stv.before_dead = NULL;
    m->stops++;
    CHECK(pthread_create(&m->purger, NULL, purge_meanwhile, m) == 0);
    for (unsigned i = 0; i < 100 && !atomic_load(&m->has_purged); i++) {
        const struct timespec ts = {.tv_nsec = (long)NS_PER_MS};
        (void)nanosleep(&ts, NULL);
    }
}

static void take_out(struct rig *rig, unsigned how)
{
    struct digest key = rig_key(1);
    struct lookup_req req = rig_req(1);
    struct lookup found;
    switch (how) {
    case 0:
        (void)cache_purge(rig->cache, &key);
        break;
    case 1:
        assert_true(fake_evict(&rig->stv));
        break;
    case 2:
        loop_clock_advance(loop_self(), 31 * NS_PER_S);
        (void)cache_expire(rig->cache);
        break;
    default:
        req.always_miss = true;
        assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
        assert_int_equal(rig_fetch(rig, &found.busy, "new"), RC_OK);
        break;
    }
}

static void meet(void *arg)
{
    struct rig *rig = arg;
    for (unsigned how = 0; how < STOPS; how++) {
        struct meeting m = {.rig = rig};
        rig_put(rig, 1, "old");
        rig->stv.before_dead = stop_here;
        rig->stv.before_dead_arg = &m;
        take_out(rig, how);
        assert_int_equal(m.stops, 1);
        assert_int_equal(pthread_join(m.purger, NULL), 0);
        assert_false(m.was_live);
        (void)purge(rig);
    }
}

static void a_purge_waits_for_who_is_killing_the_same(void **state)
{
    (void)state;
    const struct rig_conf conf = {.seed = 1};
    rig_run(&conf, meet);
}

/* ---- refreshes ---- */

static void slow_refresh(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "first");
    loop_clock_advance(loop_self(), 11 * NS_PER_S);
    struct lookup refresh = rig_lookup(rig, 1);
    assert_int_equal(refresh.kind, LOOKUP_STALE);
    assert_non_null(refresh.busy);
    assert_int_equal(purge(rig), 1);
    rig_put(rig, 1, "second");
    /* As after a 304: the old object's body once more. */
    assert_int_equal(rig_fetch(rig, &refresh.busy, "first"), RC_OK);
    rig_release(&refresh);
    assert_seen(rig, "H:second");
    (void)purge(rig);
    assert_seen(rig, "M+:");
}

static void a_slow_refresh_does_not_bring_old_content_back(void **state)
{
    (void)state;
    run(slow_refresh);
}

static void failing_refresh(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "first");
    loop_clock_advance(loop_self(), 25 * NS_PER_S);
    struct lookup refresh = rig_lookup(rig, 1);
    assert_int_equal(refresh.kind, LOOKUP_MISS);
    assert_non_null(obj_replaces(refresh.busy));
    struct latch done;
    latch_init(&done, 1);
    struct asker early = {.rig = rig, .done = &done};
    rig_start(rig, 0, ask_and_read, &early);
    until_parked(rig, 1);
    (void)purge(rig);
    rig_release(&refresh);
    latch_wait(&done);
    /* The one promoted fetches now, after the purge: what it brings may be kept, but not on the
     * ground of what was purged. */
    assert_int_equal(early.found.kind, LOOKUP_MISS);
    assert_null(obj_replaces(early.found.busy));
    assert_int_equal(rig_fetch(rig, &early.found.busy, "new"), RC_OK);
    assert_seen(rig, "H:new");
}

static void who_is_promoted_after_a_purge_starts_from_nothing(void **state)
{
    (void)state;
    run(failing_refresh);
}

static void detached_failure(void *arg)
{
    struct rig *rig = arg;
    struct latch done;
    latch_init(&done, 1);
    struct lookup old = rig_lookup(rig, 1);
    struct asker early = {.rig = rig, .done = &done};
    rig_start(rig, 0, ask_and_read, &early);
    until_parked(rig, 1);
    (void)purge(rig);
    struct lookup next = rig_lookup(rig, 1);
    rig_release(&old);
    /* It waits for the fetch that runs, and does not start a second one. */
    assert_int_equal(rig_fetch(rig, &next.busy, "new"), RC_OK);
    latch_wait(&done);
    assert_int_equal(early.found.kind, LOOKUP_HIT);
    assert_memory_equal(early.body, "new", 3);
    free(early.body);
    rig_release(&early.found);
}

static void those_of_a_detached_fetch_that_fails_join_the_next(void **state)
{
    (void)state;
    run(detached_failure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_purged_object_is_gone),
        cmocka_unit_test(what_a_lookup_has_found_stays_until_it_has_it),
        cmocka_unit_test(what_a_lookup_walks_over_stays_until_it_is_through),
        cmocka_unit_test(a_fetch_from_before_answers_only_those_who_waited),
        cmocka_unit_test(a_fetch_from_before_is_not_found_later),
        cmocka_unit_test(a_body_that_streams_is_read_to_its_end),
        cmocka_unit_test(a_record_does_not_go_live_behind_a_purge),
        cmocka_unit_test(a_purge_waits_for_who_is_killing_the_same),
        cmocka_unit_test(a_softly_purged_object_is_stale),
        cmocka_unit_test(a_soft_purge_while_the_record_is_written_is_recorded),
        cmocka_unit_test(a_slow_refresh_does_not_bring_old_content_back),
        cmocka_unit_test(who_is_promoted_after_a_purge_starts_from_nothing),
        cmocka_unit_test(those_of_a_detached_fetch_that_fails_join_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
