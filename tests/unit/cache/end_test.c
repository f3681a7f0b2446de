/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* How objects end: expiry, eviction, being killed; and that nothing is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/rng.h"
#include "rig.h"

static void run(fiber_fn *fn)
{
    const struct rig_conf conf = {0};
    rig_run(&conf, fn);
}

static void put_for(struct rig *rig, unsigned key, uint64_t lifetime_ns)
{
    struct lookup found = rig_lookup(rig, key);
    assert_int_equal(found.kind, LOOKUP_MISS);
    struct obj_times times = {.t_origin_ns = loop_real_ns(loop_self()),
                              .ttl_ns = lifetime_ns / 2,
                              .grace_ns = lifetime_ns / 4,
                              .keep_ns = lifetime_ns - lifetime_ns / 2 - lifetime_ns / 4};
    assert_int_equal(rig_fetch_times(rig, &found.busy, "x", &times, 0), RC_OK);
}

static bool is_live(struct rig *rig, unsigned key)
{
    struct digest digest = rig_key(key);
    return fake_is_live(&rig->stv, &digest);
}

/* ---- expiry ---- */

static void in_order(void *arg)
{
    struct rig *rig = arg;
    enum { N = 300 };
    uint64_t end_ns[N];
    bool purged[N] = {false};
    struct rng rng = {.state = 5};
    uint64_t start_ns = loop_mono_ns(loop_self());
    assert_int_equal(cache_expire(rig->cache), NEVER);
    for (unsigned i = 0; i < N; i++) {
        uint64_t life_ns = (1 + rng_below(&rng, 500)) * NS_PER_S;
        end_ns[i] = start_ns + life_ns;
        put_for(rig, i, life_ns);
    }
    for (unsigned i = 0; i < N; i += 3) { /* out of the middle of the heap */
        struct digest key = rig_key(i);
        assert_int_equal(cache_purge(rig->cache, &key), 1);
        purged[i] = true;
    }
    unsigned left = N - N / 3;
    while (left > 0) {
        uint64_t now_ns = loop_mono_ns(loop_self());
        uint64_t next_ns = cache_expire(rig->cache);
        uint64_t want_ns = NEVER;
        left = 0;
        for (unsigned i = 0; i < N; i++) {
            bool should_live = !purged[i] && end_ns[i] > now_ns;
            assert_int_equal(is_live(rig, i), should_live);
            left += should_live;
            if (should_live && end_ns[i] < want_ns) {
                want_ns = end_ns[i];
            }
        }
        assert_int_equal(next_ns, want_ns);
        if (left > 0) {
            loop_clock_advance(loop_self(), next_ns - now_ns - 1);
            assert_int_equal(cache_expire(rig->cache), next_ns);
            loop_clock_advance(loop_self(), 1);
        }
    }
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.expired, N - N / 3);
}

static void objects_expire_in_the_order_of_their_ends(void **state)
{
    (void)state;
    run(in_order);
}

/* Taking one out puts the last one in its place, from another branch of the heap. */
static void out_of_the_middle(void *arg)
{
    struct rig *rig = arg;
    static const uint64_t lives_s[] = {1, 20, 2, 30, 21, 8, 4, 40, 41, 42, 43, 9, 11, 7};
    for (unsigned i = 0; i < ARRAY_SIZE(lives_s); i++) {
        put_for(rig, i, lives_s[i] * NS_PER_S);
    }
    struct digest key = rig_key(7);
    assert_int_equal(cache_purge(rig->cache, &key), 1);
    uint64_t start_ns = loop_mono_ns(loop_self());
    static const uint64_t ends_s[] = {1, 2, 4, 7, 8, 9, 11, 20, 21, 30, 41, 42, 43};
    for (unsigned i = 0; i < ARRAY_SIZE(ends_s); i++) {
        assert_int_equal(cache_expire(rig->cache), start_ns + ends_s[i] * NS_PER_S);
        loop_clock_advance(loop_self(),
                           start_ns + ends_s[i] * NS_PER_S - loop_mono_ns(loop_self()));
    }
    assert_int_equal(cache_expire(rig->cache), NEVER);
}

static void the_order_survives_what_is_taken_out(void **state)
{
    (void)state;
    run(out_of_the_middle);
}

static void in_portions(void *arg)
{
    struct rig *rig = arg;
    enum { N = 1300 };
    for (unsigned i = 0; i < N; i++) {
        put_for(rig, i, NS_PER_S);
    }
    put_for(rig, N, NEVER);
    loop_clock_advance(loop_self(), NS_PER_S);
    unsigned calls = 0;
    while (cache_expire(rig->cache) == loop_mono_ns(loop_self())) {
        calls++;
    }
    assert_in_range(calls, 2, 4);
    assert_int_equal(atomic_load(&rig->stv.live), 1);
    assert_int_equal(cache_expire(rig->cache), NEVER);
    assert_true(is_live(rig, N));
}

static void expiry_does_not_hold_its_thread_for_long(void **state)
{
    (void)state;
    run(in_portions);
}

static void refreshing(void *arg)
{
    struct rig *rig = arg;
    put_for(rig, 1, 20 * NS_PER_S);
    loop_clock_advance(loop_self(), 11 * NS_PER_S);
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(found.kind, LOOKUP_STALE);
    assert_non_null(found.busy);
    loop_clock_advance(loop_self(), 20 * NS_PER_S);
    (void)cache_expire(rig->cache);
    assert_false(is_live(rig, 1));
    assert_int_equal(rig_fetch(rig, &found.busy, "new"), RC_OK);
    rig_release(&found);
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "H:new");
}

static void what_expires_while_it_is_refreshed_is_no_trouble(void **state)
{
    (void)state;
    run(refreshing);
}

/* ---- eviction ---- */

static void evicting(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "one");
    rig_put(rig, 2, "two");
    struct lookup held = rig_lookup(rig, 1);
    assert_true(fake_evict(&rig->stv));
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "M+:");
    assert_string_equal(rig_seen(rig, 2, buf, sizeof buf), "H:two");
    size_t len;
    enum rc rc;
    char *body = rig_body(held.oc, &len, &rc);
    assert_memory_equal(body, "one", 3);
    free(body);
    rig_release(&held);
    assert_true(fake_evict(&rig->stv));
    assert_false(fake_evict(&rig->stv));
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.evicted, 2);
    assert_int_equal(atomic_load(&rig->stv.live), 0);
}

static void what_is_evicted_is_not_found(void **state)
{
    (void)state;
    run(evicting);
}

static void grab_the_dying(void *arg, void *owner)
{
    struct rig *rig = arg;
    assert_false(rig->stv.owner_ops->grab(owner));
}

static void evicting_too_late(void *arg)
{
    struct rig *rig = arg;
    rig->stv.before_delete = grab_the_dying;
    rig->stv.before_delete_arg = rig;
    rig_put(rig, 1, "one");
    struct digest key = rig_key(1);
    assert_int_equal(cache_purge(rig->cache, &key), 1);
    while (atomic_load(&rig->stv.objects) > 0) {
        fiber_yield();
    }
}

static void eviction_does_not_get_hold_of_what_is_being_freed(void **state)
{
    (void)state;
    run(evicting_too_late);
}

static void evict_inside(void *arg)
{
    struct rig *rig = arg;
    (void)fake_evict(&rig->stv);
}

static void evict_replaced(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "old");
    loop_clock_advance(loop_self(), 11 * NS_PER_S);
    struct lookup found = rig_lookup(rig, 1);
    rig->stv.in_final = evict_inside;
    rig->stv.in_final_arg = rig;
    assert_int_equal(rig_fetch(rig, &found.busy, "new"), RC_OK);
    rig_release(&found);
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "H:new");
    assert_int_equal(atomic_load(&rig->stv.live), 1);
}

static void eviction_of_what_is_being_replaced(void **state)
{
    (void)state;
    run(evict_replaced);
}

static void killing(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "bad");
    struct lookup found = rig_lookup(rig, 1);
    obj_kill(rig->cache, found.oc);
    obj_kill(rig->cache, found.oc);
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "M+:");
    assert_int_equal(atomic_load(&rig->stv.live), 0);
    rig_release(&found);
}

static void a_killed_object_is_not_found(void **state)
{
    (void)state;
    run(killing);
}

/* ---- nothing is left ---- */

static void until_empty(struct rig *rig)
{
    struct cache_stats stats;
    do {
        fiber_yield(); /* each tick is a quiescent state */
        cache_stat(rig->cache, &stats);
    } while (stats.cores > 0 || stats.heads > 0 || atomic_load(&rig->stv.objects) > 0);
}

static void emptying(void *arg)
{
    struct rig *rig = arg;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 50; i++) {
            put_for(rig, i, NS_PER_S);
            struct lookup found = rig_lookup(rig, i);
            rig_release(&found);
            found = rig_lookup(rig, 1000 + i); /* a head that never had an object */
            rig_release(&found);
        }
        loop_clock_advance(loop_self(), 2 * NS_PER_S);
        (void)cache_expire(rig->cache);
        until_empty(rig);
    }
}

static void heads_and_objects_go_while_the_cache_runs(void **state)
{
    (void)state;
    run(emptying);
}

static void leave_behind(void *arg)
{
    struct rig *rig = arg;
    put_for(rig, 1, NS_PER_S);
    assert_int_equal(atomic_load(&rig->stv.live), 1);
}

static void objects_outlive_the_cache_in_their_store(void **state)
{
    (void)state;
    run(leave_behind); /* fake_fini allows nothing but live objects */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_expire_in_the_order_of_their_ends),
        cmocka_unit_test(the_order_survives_what_is_taken_out),
        cmocka_unit_test(expiry_does_not_hold_its_thread_for_long),
        cmocka_unit_test(what_expires_while_it_is_refreshed_is_no_trouble),
        cmocka_unit_test(what_is_evicted_is_not_found),
        cmocka_unit_test(eviction_does_not_get_hold_of_what_is_being_freed),
        cmocka_unit_test(eviction_of_what_is_being_replaced),
        cmocka_unit_test(a_killed_object_is_not_found),
        cmocka_unit_test(heads_and_objects_go_while_the_cache_runs),
        cmocka_unit_test(objects_outlive_the_cache_in_their_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
