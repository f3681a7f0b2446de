/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a lookup says, on one loop and a clock that stands still: freshness, grace, marks, variants,
 * and who has to fetch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "rig.h"

static void run(fiber_fn *fn)
{
    const struct rig_conf conf = {0};
    rig_run(&conf, fn);
}

static void pass_time(uint64_t seconds)
{
    loop_clock_advance(loop_self(), seconds * NS_PER_S);
}

static void assert_seen(struct rig *rig, unsigned key, const char *want)
{
    char buf[64];
    assert_string_equal(rig_seen(rig, key, buf, sizeof buf), want);
}

/* ---- hit and miss ---- */

static void hit_after_fetch(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "one");
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(found.kind, LOOKUP_HIT);
    assert_null(found.busy);
    assert_false(found.parked);
    assert_true(obj_is_complete(found.oc));
    assert_int_equal(obj_len(found.oc), 3);
    assert_memory_equal(obj_get(found.oc, OA_HTTP).ptr, "head", 4);
    assert_null(obj_get(found.oc, OA_VARY).ptr);
    assert_int_equal(obj_hits(found.oc), 1);
    assert_int_equal(atomic_load(&rig->stv.touched), 1);
    assert_ptr_equal(obj_stevedore(found.oc), &rig->stv);
    rig_release(&found);
    assert_seen(rig, 1, "H:one");
    assert_seen(rig, 2, "M+:");
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.cores, 1);
    assert_int_equal(stats.stale_fetches, 0);
}

static void a_fetched_object_is_hit(void **state)
{
    (void)state;
    run(hit_after_fetch);
}

/* ---- time ---- */

static void age(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "one");
    loop_clock_advance(loop_self(), 10 * NS_PER_S - 1);
    assert_seen(rig, 1, "H:one");
    loop_clock_advance(loop_self(), 1);
    assert_seen(rig, 1, "S+:one");
    loop_clock_advance(loop_self(), 10 * NS_PER_S - 1);
    assert_seen(rig, 1, "S+:one");
    loop_clock_advance(loop_self(), 1);
    assert_seen(rig, 1, "M+:");
}

static void fresh_then_stale_then_a_miss(void **state)
{
    (void)state;
    run(age);
}

/* A request with an opinion of its own on ages: the object is of use this long, and fresh half of
 * it. */
struct opinion {
    uint64_t good_ns;
    unsigned asked;
};

static enum obj_use opine(void *arg, const struct objcore *oc, uint64_t now_ns)
{
    struct opinion *opinion = arg;
    uint64_t age_ns = now_ns - obj_times(oc).t_origin_ns;
    opinion->asked++;
    if (age_ns >= opinion->good_ns) {
        return OBJ_UNUSABLE;
    }
    return age_ns < opinion->good_ns / 2 ? OBJ_FRESH : OBJ_STALE;
}

static enum lookup_kind kind_for(struct rig *rig, unsigned key, struct opinion *opinion)
{
    struct lookup_req req = rig_req(key);
    req.use = opine;
    req.use_arg = opinion;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    enum lookup_kind kind = found.kind;
    assert_int_equal(found.busy != NULL, kind != LOOKUP_HIT);
    rig_release(&found);
    return kind;
}

static void opinions(void *arg)
{
    struct rig *rig = arg;
    struct opinion strict = {.good_ns = 4 * NS_PER_S};
    struct opinion lax = {.good_ns = 100 * NS_PER_S};
    rig_put(rig, 1, "one");
    assert_int_equal(kind_for(rig, 1, &strict), LOOKUP_HIT);
    pass_time(2);
    assert_int_equal(kind_for(rig, 1, &strict), LOOKUP_STALE);
    pass_time(2);
    assert_int_equal(kind_for(rig, 1, &strict), LOOKUP_MISS);
    assert_seen(rig, 1, "H:one");
    pass_time(17); /* past its grace, still kept */
    assert_seen(rig, 1, "M+:");
    assert_int_equal(kind_for(rig, 1, &lax), LOOKUP_HIT);
    /* A mark is a mark, whatever a request thinks of ages. */
    struct lookup found = rig_lookup(rig, 2);
    struct obj_times times = rig_times();
    assert_int_equal(rig_fetch_times(rig, &found.busy, "", &times, OBJ_HITMISS), RC_OK);
    lax.asked = 0;
    assert_int_equal(kind_for(rig, 2, &lax), LOOKUP_HITMISS);
    assert_int_equal(lax.asked, 0);
}

static void a_request_may_judge_ages_itself(void **state)
{
    (void)state;
    run(opinions);
}

static enum lookup_kind kind_within(struct rig *rig, uint64_t ttl_s, uint64_t grace_s,
                                    uint64_t now_ns)
{
    const struct lookup_bounds bounds = {ttl_s * NS_PER_S, grace_s * NS_PER_S};
    struct lookup_req req = rig_req(1);
    req.bounds = &bounds;
    req.now_ns = now_ns;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    enum lookup_kind kind = found.kind;
    rig_release(&found);
    return kind;
}

/* Fresh for 10 s, with 10 s of grace. */
static void bounds(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "one");
    uint64_t put_ns = loop_real_ns(loop_self());
    pass_time(5);
    assert_int_equal(kind_within(rig, 6, 100, 0), LOOKUP_HIT);
    assert_int_equal(kind_within(rig, 100, 0, 0), LOOKUP_HIT);
    /* Too old for the asker, but not stale: he fetches, and no other gets it as stale. */
    assert_int_equal(kind_within(rig, 4, 100, 0), LOOKUP_MISS);
    assert_seen(rig, 1, "H:one");
    pass_time(10);
    assert_int_equal(kind_within(rig, 100, 6, 0), LOOKUP_STALE);
    assert_int_equal(kind_within(rig, 100, 4, 0), LOOKUP_MISS);
    /* Whoever says what time it is for him is believed. */
    assert_int_equal(kind_within(rig, 100, 4, put_ns + 9 * NS_PER_S), LOOKUP_HIT);
}

static void a_request_may_bound_ages(void **state)
{
    (void)state;
    run(bounds);
}

static void peek(void *arg)
{
    struct rig *rig = arg;
    struct lookup_req req = rig_req(1);
    assert_null(cache_peek(rig->cache, &req));
    rig_put(rig, 1, "one");
    pass_time(25);
    struct objcore *oc = cache_peek(rig->cache, &req);
    assert_non_null(oc);
    assert_int_equal(obj_hits(oc), 0);
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(found.kind, LOOKUP_MISS);
    struct obj_times times = rig_times();
    /* What is still being fetched is not looked at; nor is a mark. */
    assert_true(rig_ready(rig, found.busy, &times, OBJ_HITMISS));
    struct objcore *again = cache_peek(rig->cache, &req);
    assert_ptr_equal(again, oc);
    obj_release(&again);
    assert_int_equal(obj_finish(found.busy), RC_OK);
    assert_null(cache_peek(rig->cache, &req));
    obj_release(&found.busy);
    obj_release(&oc);
}

static void a_peek_fetches_nothing(void **state)
{
    (void)state;
    run(peek);
}

static void age_header(void *arg)
{
    struct rig *rig = arg;
    struct obj_times times = rig_times();
    times.t_origin_ns -= 9 * NS_PER_S;
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(rig_fetch_times(rig, &found.busy, "old", &times, 0), RC_OK);
    assert_seen(rig, 1, "H:old");
    pass_time(1);
    assert_seen(rig, 1, "S+:old");
}

static void time_begins_at_the_origin(void **state)
{
    (void)state;
    run(age_header);
}

static void refresh(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "old");
    pass_time(11);
    struct lookup first = rig_lookup(rig, 1);
    assert_int_equal(first.kind, LOOKUP_STALE);
    assert_non_null(first.busy);
    assert_ptr_equal(obj_replaces(first.busy), first.oc);
    /* Nobody else refreshes, before and after the new head is known. */
    assert_seen(rig, 1, "S:old");
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, first.busy, &times, 0));
    struct lookup second = rig_lookup(rig, 1);
    assert_int_equal(second.kind, LOOKUP_HIT);
    assert_ptr_equal(second.oc, first.busy);
    rig_write(first.busy, "new", 3);
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
    assert_int_equal(obj_finish(first.busy), RC_OK);
    obj_release(&first.busy);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
    assert_seen(rig, 1, "H:new");
    /* Who held the old one still has it. */
    size_t len;
    enum rc rc;
    char *body = rig_body(first.oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_memory_equal(body, "old", 3);
    free(body);
    rig_release(&first);
    rig_release(&second);
}

static void one_refreshes_while_others_get_the_stale_one(void **state)
{
    (void)state;
    run(refresh);
}

static void refresh_fails(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "old");
    pass_time(11);
    for (unsigned round = 0; round < 2; round++) {
        struct lookup found = rig_lookup(rig, 1);
        assert_non_null(found.busy);
        assert_seen(rig, 1, "S:old");
        if (round == 1) { /* in the middle of its body */
            struct obj_times times = rig_times();
            assert_true(rig_ready(rig, found.busy, &times, 0));
            rig_write(found.busy, "ne", 2);
        }
        obj_fail(found.busy);
        obj_release(&found.busy);
        rig_release(&found);
        assert_seen(rig, 1, "S+:old");
    }
    struct digest key = rig_key(1);
    assert_true(fake_is_live(&rig->stv, &key));
    /* No room for the new one: the old one stays too. */
    struct lookup found = rig_lookup(rig, 1);
    atomic_store(&rig->stv.fail_final, 1);
    assert_int_equal(rig_fetch(rig, &found.busy, "new"), RC_NOSPACE);
    rig_release(&found);
    assert_seen(rig, 1, "S+:old");
}

static void a_failed_refresh_leaves_the_stale_one(void **state)
{
    (void)state;
    run(refresh_fails);
}

static void keep(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "old");
    pass_time(25);
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(found.kind, LOOKUP_MISS);
    assert_non_null(obj_replaces(found.busy));
    assert_int_equal(obj_len(obj_replaces(found.busy)), 3);
    assert_int_equal(rig_fetch(rig, &found.busy, "new"), RC_OK);
    assert_seen(rig, 1, "H:new");
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
}

static void what_is_kept_can_be_asked_for_a_conditional_fetch(void **state)
{
    (void)state;
    run(keep);
}

/* ---- marks ---- */

static void hitmiss(void *arg)
{
    struct rig *rig = arg;
    struct obj_times times = rig_times();
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(rig_fetch_times(rig, &found.busy, "x", &times, OBJ_HITMISS), RC_OK);
    /* Each fetches for itself, at the same time. */
    struct lookup a = rig_lookup(rig, 1);
    struct lookup b = rig_lookup(rig, 1);
    assert_int_equal(a.kind, LOOKUP_HITMISS);
    assert_int_equal(b.kind, LOOKUP_HITMISS);
    assert_int_equal(obj_flags(a.oc), OBJ_HITMISS);
    assert_non_null(a.busy);
    assert_non_null(b.busy);
    /* However many fetch, one mark is left. */
    assert_int_equal(rig_fetch_times(rig, &a.busy, "a", &times, OBJ_HITMISS), RC_OK);
    assert_int_equal(rig_fetch_times(rig, &b.busy, "b", &times, OBJ_HITMISS), RC_OK);
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
    rig_release(&a);
    rig_release(&b);
    /* A mark that is past its time still speaks, as long as it is kept; and for nobody to wait. */
    pass_time(11);
    a = rig_lookup(rig, 1);
    b = rig_lookup(rig, 1);
    assert_int_equal(a.kind, LOOKUP_HITMISS);
    assert_int_equal(b.kind, LOOKUP_HITMISS);
    assert_non_null(b.busy);
    rig_release(&a);
    rig_release(&b);
    pass_time(20);
    assert_seen(rig, 1, "M+:");
    /* And gives way to what can be cached. */
    found = rig_lookup(rig, 1);
    assert_int_equal(rig_fetch(rig, &found.busy, "now"), RC_OK);
    assert_seen(rig, 1, "H:now");
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
}

static void hit_for_miss(void **state)
{
    (void)state;
    run(hitmiss);
}

static void concurrent_marks(void *arg)
{
    struct rig *rig = arg;
    struct obj_times times = rig_times();
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(rig_fetch_times(rig, &found.busy, "x", &times, OBJ_HITMISS), RC_OK);
    enum { N = 5 };
    struct lookup each[N];
    for (unsigned i = 0; i < N; i++) {
        each[i] = rig_lookup(rig, 1);
        assert_int_equal(each[i].kind, LOOKUP_HITMISS);
    }
    for (unsigned i = 0; i < N; i++) {
        assert_true(rig_ready(rig, each[i].busy, &times, OBJ_HITMISS));
    }
    /* The newest ends first. */
    static const unsigned order[N] = {4, 0, 2, 1, 3};
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(obj_finish(each[order[i]].busy), RC_OK);
        obj_release(&each[order[i]].busy);
        rig_release(&each[order[i]]);
    }
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
    assert_seen(rig, 1, "m+:");
}

static void many_fetches_of_one_leave_one(void **state)
{
    (void)state;
    run(concurrent_marks);
}

static void hitpass(void *arg)
{
    struct rig *rig = arg;
    struct obj_times times = rig_times();
    struct lookup found = rig_lookup(rig, 1);
    assert_int_equal(rig_fetch_times(rig, &found.busy, "", &times, OBJ_HITPASS), RC_OK);
    found = rig_lookup(rig, 1);
    assert_int_equal(found.kind, LOOKUP_HITPASS);
    assert_null(found.busy);
    assert_non_null(found.oc);
    rig_release(&found);
    struct objcore *busy = cache_private(rig->cache);
    assert_int_equal(rig_fetch(rig, &busy, "passed"), RC_OK);
    assert_seen(rig, 1, "p:");
    /* Later it only says that nobody shall wait. */
    pass_time(11);
    found = rig_lookup(rig, 1);
    assert_int_equal(found.kind, LOOKUP_HITMISS);
    rig_release(&found);
}

static void hit_for_pass(void **state)
{
    (void)state;
    run(hitpass);
}

static void private_fetch(void *arg)
{
    struct rig *rig = arg;
    struct objcore *busy = cache_private(rig->cache);
    struct obj_times times = rig_times();
    assert_null(obj_replaces(busy));
    assert_false(rig_ready(rig, busy, &times, 0));
    rig_write(busy, "mine", 4);
    assert_int_equal(obj_finish(busy), RC_OK);
    assert_false(obj_is_complete(busy));
    assert_int_equal(obj_len(busy), 4);
    size_t len;
    enum rc rc;
    char *body = rig_body(busy, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_int_equal(len, 4);
    assert_memory_equal(body, "mine", 4);
    assert_memory_equal(obj_get(busy, OA_HTTP).ptr, "head", 4);
    free(body);
    obj_release(&busy);
    assert_int_equal(atomic_load(&rig->stv.live), 0);
    assert_int_equal(atomic_load(&rig->stv.finals), 0);
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.stale_fetches, 0);
}

static void what_is_passed_is_found_by_nobody(void **state)
{
    (void)state;
    run(private_fetch);
}

/* ---- requests that differ ---- */

static void miss_always(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "old");
    struct lookup_req req = rig_req(1);
    req.always_miss = true;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    assert_int_equal(found.kind, LOOKUP_MISS);
    assert_null(found.oc);
    /* Others keep the one that is there. */
    assert_seen(rig, 1, "H:old");
    assert_int_equal(rig_fetch(rig, &found.busy, "new"), RC_OK);
    assert_seen(rig, 1, "H:new");
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
}

static void always_miss_replaces_what_is_fresh(void **state)
{
    (void)state;
    run(miss_always);
}

static void busy_ignored(void *arg)
{
    struct rig *rig = arg;
    struct lookup first = rig_lookup(rig, 1);
    struct lookup_req req = rig_req(1);
    req.ignore_busy = true;
    struct lookup second;
    assert_int_equal(cache_lookup(rig->cache, &req, &second), RC_OK);
    assert_int_equal(second.kind, LOOKUP_MISS);
    assert_false(second.parked);
    assert_non_null(second.busy);
    rig_release(&first);
    rig_release(&second);
}

static void ignore_busy_never_parks(void **state)
{
    (void)state;
    run(busy_ignored);
}

/* ---- variants ---- */

static bool vary_matches(void *arg, const struct objcore *oc)
{
    const char *mine = arg;
    struct str vary = obj_get(oc, OA_VARY);
    return vary.ptr == NULL || str_eq(vary, str_of(mine));
}

static struct lookup variant(struct rig *rig, unsigned key, char *vary)
{
    struct lookup_req req = rig_req(key);
    req.match = vary_matches;
    req.match_arg = vary;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    return found;
}

static void fetch_variant(struct rig *rig, struct objcore *busy, const char *vary)
{
    struct obj_times times = rig_times();
    assert_int_equal(obj_store(busy, rig->list, strlen(vary)), RC_OK);
    assert_int_equal(obj_set(busy, OA_VARY, str_of(vary)), RC_OK);
    obj_set_times(busy, &times);
    assert_true(obj_ready(busy));
    rig_write(busy, vary, strlen(vary));
    assert_int_equal(obj_finish(busy), RC_OK);
    obj_release(&busy);
}

static void variants(void *arg)
{
    struct rig *rig = arg;
    static char *const names[] = {"de", "en", "fr"};
    for (unsigned i = 0; i < 3; i++) {
        struct lookup found = variant(rig, 1, names[i]);
        assert_int_equal(found.kind, LOOKUP_MISS);
        fetch_variant(rig, found.busy, names[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        struct lookup found = variant(rig, 1, names[i]);
        assert_int_equal(found.kind, LOOKUP_HIT);
        assert_true(str_eq(obj_get(found.oc, OA_VARY), str_of(names[i])));
        rig_release(&found);
    }
    /* Refreshing one leaves the others. */
    pass_time(11);
    struct lookup en = variant(rig, 1, "en");
    assert_int_equal(en.kind, LOOKUP_STALE);
    struct lookup de = variant(rig, 1, "de");
    assert_int_equal(de.kind, LOOKUP_STALE);
    assert_non_null(de.busy); /* its own refresh */
    fetch_variant(rig, en.busy, "en");
    en.busy = NULL;
    rig_release(&en);
    rig_release(&de);
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 3);
    en = variant(rig, 1, "en");
    assert_int_equal(en.kind, LOOKUP_HIT);
    rig_release(&en);
    assert_int_equal(cache_purge(rig->cache, &key), 3);
}

static void variants_live_side_by_side(void **state)
{
    (void)state;
    run(variants);
}

static void too_many_variants(void *arg)
{
    struct rig *rig = arg;
    char name[16];
    for (unsigned i = 0; i < 1003; i++) {
        (void)snprintf(name, sizeof name, "v%u", i);
        struct lookup_req req = rig_req(1);
        req.always_miss = true;
        req.match = vary_matches;
        req.match_arg = name;
        struct lookup found;
        assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
        fetch_variant(rig, found.busy, name);
    }
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1000);
    struct lookup found = variant(rig, 1, "v2");
    assert_int_equal(found.kind, LOOKUP_MISS);
    rig_release(&found);
    found = variant(rig, 1, "v3");
    assert_int_equal(found.kind, LOOKUP_HIT);
    rig_release(&found);
}

static void the_oldest_variants_go_when_there_are_too_many(void **state)
{
    (void)state;
    run(too_many_variants);
}

static bool suspends(void *arg, const struct objcore *oc)
{
    (void)arg;
    (void)oc;
    fiber_yield();
    return true;
}

static void suspend_inside(void *arg)
{
    struct rig *rig = arg;
    rig_put(rig, 1, "one");
    struct lookup_req req = rig_req(1);
    req.match = suspends;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
}

static _Noreturn void report_and_exit(const char *file, int line, const char *func,
                                      const char *cond)
{
    (void)file;
    (void)line;
    (void)func;
    _exit(strcmp(cond, "fiber->pins == 0") == 0 ? 42 : 43);
}

static void suspending_in_a_lookup_is_a_bug(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        check_set_report(report_and_exit);
        run(suspend_inside);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suspending_in_a_lookup_is_a_bug),
        cmocka_unit_test(a_fetched_object_is_hit),
        cmocka_unit_test(fresh_then_stale_then_a_miss),
        cmocka_unit_test(a_request_may_judge_ages_itself),
        cmocka_unit_test(a_request_may_bound_ages),
        cmocka_unit_test(a_peek_fetches_nothing),
        cmocka_unit_test(time_begins_at_the_origin),
        cmocka_unit_test(one_refreshes_while_others_get_the_stale_one),
        cmocka_unit_test(a_failed_refresh_leaves_the_stale_one),
        cmocka_unit_test(what_is_kept_can_be_asked_for_a_conditional_fetch),
        cmocka_unit_test(hit_for_miss),
        cmocka_unit_test(many_fetches_of_one_leave_one),
        cmocka_unit_test(hit_for_pass),
        cmocka_unit_test(what_is_passed_is_found_by_nobody),
        cmocka_unit_test(always_miss_replaces_what_is_fresh),
        cmocka_unit_test(ignore_busy_never_parks),
        cmocka_unit_test(variants_live_side_by_side),
        cmocka_unit_test(the_oldest_variants_go_when_there_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
