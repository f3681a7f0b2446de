/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The list of bans with lookups, fetches and the lurker on it, against a naive model: an object is
 * there unless a ban that came after its fetch began matches it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/rng.h"
#include "cache/cache_ban.h"
#include "http/http.h"
#include "rig.h"

static void ban(struct rig *rig, const char *text)
{
    char why_text[128];
    struct sb why = sb_of(why_text, sizeof why_text);
    enum rc rc = cache_ban(rig->cache, str_of(text), &why);
    CHECK(rc == RC_OK);
}

static struct cache_ban_stats stats_of(struct rig *rig)
{
    struct cache_ban_stats s;
    cache_ban_stat(rig->cache, &s);
    return s;
}

/* An object whose header X-Tag is `tag`. */
static void set_tag(struct objcore *busy, unsigned tag)
{
    char mem[2048];
    struct arena arena;
    arena_init(&arena, mem, sizeof mem);
    struct http *resp = http_new(&arena, 8);
    http_set_status(resp, 200);
    char text[16];
    (void)snprintf(text, sizeof text, "t%u", tag);
    enum rc rc = http_set_name(resp, STR("X-Tag"), str_of(text));
    CHECK(rc == RC_OK);
    char packed[256];
    struct sb sb = sb_of(packed, sizeof packed);
    http_pack(&sb, resp);
    rc = obj_set(busy, OA_HTTP, sb_str(&sb));
    CHECK(rc == RC_OK);
}

static bool make_ready(struct rig *rig, struct objcore *busy, unsigned tag)
{
    enum rc rc = obj_store(busy, rig->list, 0);
    CHECK(rc == RC_OK);
    set_tag(busy, tag);
    struct obj_times times = rig_times();
    times.ttl_ns = 1000 * NS_PER_S;
    obj_set_times(busy, &times);
    return obj_ready(busy);
}

/* Returns whether it may be found. */
static bool finish(struct rig *rig, struct objcore **take_busy, unsigned tag)
{
    struct objcore *busy = *take_busy;
    *take_busy = NULL;
    bool is_current = make_ready(rig, busy, tag);
    enum rc rc = obj_finish(busy);
    CHECK(rc == RC_OK);
    obj_release(&busy);
    return is_current;
}

static void put(struct rig *rig, unsigned key, unsigned tag)
{
    struct lookup found = rig_lookup(rig, key);
    CHECK(found.kind == LOOKUP_MISS);
    (void)finish(rig, &found.busy, tag);
}

static bool is_there(struct rig *rig, unsigned key)
{
    struct lookup found = rig_lookup(rig, key);
    bool is_hit = found.kind == LOOKUP_HIT;
    rig_release(&found);
    return is_hit;
}

static unsigned killed_by_lurker;
static void on_killed(void *arg, const struct objcore *oc, bool is_cutoff)
{
    (void)arg;
    (void)oc;
    (void)is_cutoff;
    killed_by_lurker++;
}

struct errand {
    struct timer timer;
    struct rig *rig;
    struct lurk_conf conf;
    struct fiber *fiber;
    unsigned calls;
    bool is_done;
};

/* Until it has nothing to do for a while. */
static void lurk_step(struct timer *timer, struct loop *loop)
{
    struct errand *e = CONTAINER_OF(timer, struct errand, timer);
    uint64_t next_ns = cache_lurk(e->rig->cache, &e->conf);
    e->calls++;
    if (next_ns > clock_after(loop_mono_ns(loop), NS_PER_S)) {
        e->is_done = true;
        fiber_wake(e->fiber);
        return;
    }
    timer_arm(loop, timer, next_ns, lurk_step);
}

static unsigned lurk(struct rig *rig, const struct lurk_conf *conf)
{
    struct errand e = {.rig = rig, .conf = *conf, .fiber = fiber_self()};
    e.conf.killed = on_killed;
    timer_arm(loop_self(), &e.timer, loop_mono_ns(loop_self()), lurk_step);
    while (!e.is_done) {
        enum rc rc = fiber_wait(NEVER);
        CHECK(rc == RC_OK);
    }
    return e.calls;
}

static const struct lurk_conf eager = {.sleep_ns = NS_PER_MS, .holdoff_ns = NS_PER_MS, .batch = 8};

static void run(fiber_fn *fn)
{
    const struct rig_conf conf = {.seed = 3};
    rig_run(&conf, fn);
}

/* ---- lookups ---- */

static void at_lookup(void *arg)
{
    struct rig *rig = arg;
    struct cache_ban_stats s = stats_of(rig);
    assert_int_equal(s.bans, 1);
    assert_int_equal(s.completed, 1);
    put(rig, 1, 1);
    put(rig, 2, 2);
    ban(rig, "obj.http.x-tag == t1");
    assert_true(is_there(rig, 2));
    assert_false(is_there(rig, 1));
    s = stats_of(rig);
    assert_int_equal(s.obj_killed, 1);
    assert_int_equal(s.tested, 2);
    /* It has passed: no second test. */
    assert_true(is_there(rig, 2));
    assert_int_equal(stats_of(rig).tested, 2);
    struct digest key = rig_key(1);
    assert_false(fake_is_live(&rig->stv, &key));
    /* What is fetched after the ban is not its business. */
    put(rig, 1, 1);
    assert_true(is_there(rig, 1));
    assert_int_equal(stats_of(rig).tested, 2);
}

static void a_lookup_tests_once(void **state)
{
    (void)state;
    run(at_lookup);
}

static unsigned told;
static void on_banned(void *arg, const struct objcore *oc)
{
    (void)arg;
    (void)oc;
    told++;
}

static void with_request(void *arg)
{
    struct rig *rig = arg;
    char mem[2048];
    struct arena arena;
    arena_init(&arena, mem, sizeof mem);
    struct http *http = http_new(&arena, 8);
    struct lookup_req req = rig_req(1);
    req.http = http;
    req.banned = on_banned;
    told = 0;
    put(rig, 1, 1);
    ban(rig, "req.url == /gone");
    http->url = STR("/stays");
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    assert_int_equal(found.kind, LOOKUP_HIT);
    rig_release(&found);
    ban(rig, "req.url == /stays && obj.http.x-tag == t1");
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    assert_int_equal(found.kind, LOOKUP_MISS);
    rig_release(&found);
    assert_int_equal(told, 1);
}

static void requests_are_looked_at(void **state)
{
    (void)state;
    run(with_request);
}

/* ---- fetches ---- */

static void during_fetch(void *arg)
{
    struct rig *rig = arg;
    struct lookup slow = rig_lookup(rig, 1);
    ban(rig, "obj.http.x-tag == t1");
    /* The request was sent before the ban: what it brings may be what the ban is against. */
    assert_false(finish(rig, &slow.busy, 1));
    assert_false(is_there(rig, 1));
    slow = rig_lookup(rig, 2);
    ban(rig, "obj.http.x-tag == t1");
    assert_true(finish(rig, &slow.busy, 2));
    assert_true(is_there(rig, 2));
    /* Also when the lurker has been through and has completed it meanwhile. */
    slow = rig_lookup(rig, 1);
    ban(rig, "obj.http.x-tag ~ ^t1$");
    (void)lurk(rig, &eager);
    assert_int_equal(stats_of(rig).bans, stats_of(rig).completed);
    assert_false(finish(rig, &slow.busy, 1));
    assert_false(is_there(rig, 1));
    /* One that streams already is killed by the next who asks for it. */
    slow = rig_lookup(rig, 3);
    assert_true(make_ready(rig, slow.busy, 3));
    assert_true(is_there(rig, 3));
    ban(rig, "obj.http.x-tag == t3");
    assert_false(is_there(rig, 3));
    assert_int_equal(obj_finish(slow.busy), RC_OK);
    obj_release(&slow.busy);
    assert_false(is_there(rig, 3));
}

static void a_fetch_from_before_a_ban_does_not_escape_it(void **state)
{
    (void)state;
    run(during_fetch);
}

struct asker {
    struct rig *rig;
    struct lookup found;
    struct latch done;
};

static void ask(void *arg)
{
    struct asker *a = arg;
    a->found = rig_lookup(a->rig, 1);
    latch_down(&a->done);
}

/* Who asks after a ban may have to wait behind a fetch from before it; he is not content with what
 * that brings, though the lurker has completed the ban meanwhile. */
static void behind_old_fetch(void *arg)
{
    struct rig *rig = arg;
    for (unsigned with_lurker = 0; with_lurker < 2; with_lurker++) {
        struct lookup slow = rig_lookup(rig, 1);
        ban(rig, "obj.http.x-tag == t1");
        if (with_lurker) {
            (void)lurk(rig, &eager);
        }
        struct asker a = {.rig = rig};
        latch_init(&a.done, 1);
        rig_start(rig, 0, ask, &a);
        struct cache_stats stats;
        do {
            assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
            cache_stat(rig->cache, &stats);
        } while (stats.parked <= with_lurker);
        assert_false(finish(rig, &slow.busy, 1));
        latch_wait(&a.done);
        assert_int_equal(a.found.kind, LOOKUP_MISS);
        rig_release(&a.found);
    }
}

static void who_waits_behind_an_old_fetch_is_not_given_what_is_banned(void **state)
{
    (void)state;
    run(behind_old_fetch);
}

/* ---- the lurker ---- */

static void lurking(void *arg)
{
    struct rig *rig = arg;
    killed_by_lurker = 0;
    for (unsigned key = 0; key < 100; key++) {
        put(rig, key, key % 4);
    }
    ban(rig, "obj.http.x-tag == t1");
    ban(rig, "obj.http.x-tag == t2");
    (void)lurk(rig, &eager);
    struct cache_ban_stats s = stats_of(rig);
    assert_int_equal(s.lurker_obj_killed, 50);
    assert_int_equal(killed_by_lurker, 50);
    assert_int_equal(s.bans, 1);
    assert_int_equal(s.completed, 1);
    assert_int_equal(s.deleted, 2);
    assert_int_equal(s.obj_killed, 0);
    for (unsigned key = 0; key < 100; key++) {
        assert_true(is_there(rig, key) == (key % 4 == 0 || key % 4 == 3));
    }
    assert_int_equal(stats_of(rig).tested, 0);
}

static void the_lurker_kills_what_nobody_asks_for(void **state)
{
    (void)state;
    run(lurking);
}

static void waiting(void *arg)
{
    struct rig *rig = arg;
    struct lurk_conf conf = eager;
    conf.age_ns = 60 * NS_PER_S;
    put(rig, 1, 1);
    loop_clock_advance(loop_self(), NS_PER_S);
    ban(rig, "obj.http.x-tag == t1");
    (void)lurk(rig, &conf);
    assert_int_equal(stats_of(rig).lurker_obj_killed, 0);
    /* Off. */
    conf.age_ns = 0;
    conf.sleep_ns = 0;
    (void)lurk(rig, &conf);
    assert_int_equal(stats_of(rig).lurker_obj_killed, 0);
    (void)lurk(rig, &eager);
    assert_int_equal(stats_of(rig).lurker_obj_killed, 1);
}

static void the_lurker_waits_for_its_time(void **state)
{
    (void)state;
    run(waiting);
}

/* A ban on requests holds objects where they are; those on objects are completed nonetheless. */
static void barrier(void *arg)
{
    struct rig *rig = arg;
    put(rig, 1, 1);
    put(rig, 2, 2);
    ban(rig, "obj.http.x-tag == nothing");
    ban(rig, "req.url == /x");
    ban(rig, "obj.http.x-tag == t2");
    (void)lurk(rig, &eager);
    struct cache_ban_stats s = stats_of(rig);
    assert_int_equal(s.lurker_obj_killed, 1);
    assert_int_equal(s.bans, 3); /* the one that the object has passed, and those before it */
    assert_int_equal(s.completed, 2);
    assert_int_equal(s.req, 1);
    assert_true(is_there(rig, 1));
    (void)lurk(rig, &eager);
    s = stats_of(rig);
    assert_int_equal(s.bans, 1);
}

static void bans_on_requests_are_for_lookups(void **state)
{
    (void)state;
    run(barrier);
}

static void cutoff(void *arg)
{
    struct rig *rig = arg;
    struct lurk_conf conf = eager;
    conf.cutoff = 3;
    put(rig, 1, 1);
    for (unsigned i = 0; i < 2; i++) {
        ban(rig, i == 0 ? "req.url == /x0" : "req.url == /x1");
    }
    put(rig, 2, 2);
    for (unsigned i = 0; i < 2; i++) {
        ban(rig, i == 0 ? "req.url == /x2" : "req.url == /x3");
    }
    (void)lurk(rig, &conf);
    struct cache_ban_stats s = stats_of(rig);
    assert_int_equal(s.lurker_obj_killed_cutoff, 1);
    assert_false(is_there(rig, 1));
    assert_true(is_there(rig, 2));
}

static void too_many_bans_cost_the_oldest_objects(void **state)
{
    (void)state;
    run(cutoff);
}

/* ---- duplicates ---- */

static void dups(void *arg)
{
    struct rig *rig = arg;
    put(rig, 1, 1);
    ban(rig, "req.url == /a");
    ban(rig, "obj.http.x-tag == t9");
    ban(rig, "req.url  == /a");
    struct cache_ban_stats s = stats_of(rig);
    assert_int_equal(s.dups, 1);
    assert_int_equal(s.completed, 2);
    /* Relative to its moment it is another each time. */
    ban(rig, "obj.age > 1d");
    ban(rig, "obj.age > 1d");
    assert_int_equal(stats_of(rig).dups, 1);
    cache_ban_dups(rig->cache, false);
    ban(rig, "req.url == /a");
    assert_int_equal(stats_of(rig).dups, 1);
    assert_true(is_there(rig, 1));
}

static void older_equal_ones_are_completed(void **state)
{
    (void)state;
    run(dups);
}

/* ---- texts of what is wrong ---- */

static void errors(void *arg)
{
    struct rig *rig = arg;
    static const char *const rows[][2] = {
        {"", "No ban conditions found."},
        {"req.url", "Expected comparison operator."},
        {"req.url ==", "Expected second operand."},
        {"req.url == a &&", "No ban conditions found."},
        {"req.url == a || req.url == b", "Expected && between conditions, found \"||\""},
        {"foo == a ||", "Unknown or unsupported field \"foo\""},
        {"req.url == a && req.url", "Expected comparison operator."},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[128];
        struct sb why = sb_of(text, sizeof text);
        assert_int_equal(cache_ban(rig->cache, str_of(rows[i][0]), &why), RC_INVALID);
        sb_chr(&why, '\0');
        assert_string_equal(text, rows[i][1]);
    }
    assert_int_equal(stats_of(rig).bans, 1);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    run(errors);
}

/* ---- the model ---- */

enum { KEYS = 24, TAGS = 5, STEPS = 600 };

struct model {
    struct {
        bool is_there;
        unsigned tag;
    } object[KEYS];
    struct {
        struct objcore *busy;
        unsigned key;
        unsigned tag;
        bool is_banned;
    } slow;
};

static void model_ban(struct model *m, unsigned tag)
{
    for (unsigned k = 0; k < KEYS; k++) {
        m->object[k].is_there = m->object[k].is_there && m->object[k].tag != tag;
    }
    m->slow.is_banned = m->slow.is_banned || (m->slow.busy != NULL && m->slow.tag == tag);
}

static void model_look(struct rig *rig, struct model *m, unsigned key, struct rng *rng)
{
    if (m->slow.busy != NULL && m->slow.key == key) {
        return; /* it would wait */
    }
    struct lookup found = rig_lookup(rig, key);
    assert_int_equal(found.kind == LOOKUP_HIT, m->object[key].is_there);
    if (found.busy != NULL && m->slow.busy == NULL && rng_below(rng, 3) == 0) {
        m->slow.busy = found.busy;
        m->slow.key = key;
        m->slow.tag = (unsigned)rng_below(rng, TAGS);
        m->slow.is_banned = false;
        found.busy = NULL;
    } else if (found.busy != NULL) {
        unsigned tag = (unsigned)rng_below(rng, TAGS);
        assert_true(finish(rig, &found.busy, tag));
        m->object[key].is_there = true;
        m->object[key].tag = tag;
    }
    rig_release(&found);
}

static void model_end(struct rig *rig, struct model *m)
{
    if (m->slow.busy != NULL) {
        bool is_current = finish(rig, &m->slow.busy, m->slow.tag);
        assert_int_equal(is_current, !m->slow.is_banned);
        m->object[m->slow.key].is_there = is_current;
        m->object[m->slow.key].tag = m->slow.tag;
    }
}

static void against_model(void *arg)
{
    struct rig *rig = arg;
    const uint64_t *seed = rig->arg;
    struct rng rng = {.state = *seed};
    struct model m = {.slow.busy = NULL};
    for (unsigned step = 0; step < STEPS; step++) {
        char text[64];
        unsigned tag = (unsigned)rng_below(&rng, TAGS);
        switch (rng_below(&rng, 12)) {
        case 0:
            (void)snprintf(text, sizeof text, "obj.http.x-tag == t%u", tag);
            ban(rig, text);
            model_ban(&m, tag);
            break;
        case 1:
            (void)snprintf(text, sizeof text, "obj.http.x-tag ~ ^t%u$ && obj.status == 200", tag);
            ban(rig, text);
            model_ban(&m, tag);
            break;
        case 2: /* holds objects back, and bans nothing */
            ban(rig, "req.url == /nothing");
            break;
        case 3:
            (void)lurk(rig, &eager);
            break;
        case 4:
            model_end(rig, &m);
            break;
        default:
            model_look(rig, &m, (unsigned)rng_below(&rng, KEYS), &rng);
            break;
        }
        struct cache_ban_stats s = stats_of(rig);
        assert_true(s.bans >= 1);
        assert_true(s.completed <= s.bans);
        assert_int_equal(s.added - s.deleted, s.bans);
    }
    model_end(rig, &m);
    (void)lurk(rig, &eager);
    for (unsigned key = 0; key < KEYS; key++) {
        assert_int_equal(is_there(rig, key), m.object[key].is_there);
    }
    (void)lurk(rig, &eager);
    assert_int_equal(stats_of(rig).bans, 1);
}

static void list_and_lurker_do_what_the_model_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        const struct rig_conf conf = {.seed = seed, .arg = &seed};
        rig_run(&conf, against_model);
    }
}

/* ---- several loops ---- */

enum { RACE_KEYS = 40, RACE_STEPS = 400, FIBERS_A_LOOP = 3 };

struct race {
    struct rig *rig;
    struct latch done;
    _Atomic unsigned left;
    _Atomic uint64_t seeds;
    /* Objects carry what was current when their fetch began; bans up to here have returned. */
    _Atomic unsigned version;
    _Atomic unsigned banned;
};

static void race_look(struct race *r, unsigned key)
{
    unsigned banned = atomic_load(&r->banned);
    struct lookup found = rig_lookup(r->rig, key);
    if (found.busy != NULL) {
        (void)finish(r->rig, &found.busy, atomic_load(&r->version));
    } else if (found.oc != NULL) {
        struct str tag = http_packed_get(obj_get(found.oc, OA_HTTP), STR("X-Tag"));
        uint64_t version = 0;
        CHECK(tag.len > 1);
        enum rc rc = str_to_u64((struct str){tag.ptr + 1, tag.len - 1}, &version);
        CHECK(rc == RC_OK);
        CHECK(version >= banned);
    }
    rig_release(&found);
}

static void race_ban(struct race *r)
{
    unsigned version = atomic_fetch_add(&r->version, 1);
    char text[64];
    (void)snprintf(text, sizeof text, "obj.http.x-tag == t%u", version);
    ban(r->rig, text);
    /* Those before may still be on their way to the list. */
    unsigned before = version;
    if (atomic_compare_exchange_strong(&r->banned, &before, version + 1)) {
        return;
    }
}

static void race_fiber(void *arg)
{
    struct race *r = arg;
    struct rng rng = {.state = atomic_fetch_add(&r->seeds, 1)};
    for (unsigned i = 0; i < RACE_STEPS; i++) {
        uint64_t what = rng_below(&rng, 40);
        if (what == 0) {
            race_ban(r);
        } else if (what == 1) {
            (void)fake_evict(&r->rig->stv);
        } else {
            race_look(r, (unsigned)rng_below(&rng, RACE_KEYS));
        }
        if (rng_below(&rng, 4) == 0) {
            fiber_yield();
        }
    }
    atomic_fetch_sub(&r->left, 1);
    latch_down(&r->done);
}

static void race(void *arg)
{
    static struct race r;
    struct rig *rig = arg;
    unsigned loops = run_loops(rig->run);
    r = (struct race){.rig = rig, .left = loops * FIBERS_A_LOOP};
    latch_init(&r.done, loops * FIBERS_A_LOOP);
    for (unsigned i = 0; i < loops * FIBERS_A_LOOP; i++) {
        rig_start(rig, i % loops, race_fiber, &r);
    }
    while (atomic_load(&r.left) > 0) {
        (void)lurk(rig, &eager);
        enum rc rc = fiber_sleep(NS_PER_MS);
        CHECK(rc == RC_OK);
    }
    latch_wait(&r.done);
    (void)lurk(rig, &eager);
}

static void on_several_loops_nothing_banned_is_found(void **state)
{
    (void)state;
    const struct rig_conf conf = {.loops = 3};
    rig_run(&conf, race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lookup_tests_once),
        cmocka_unit_test(requests_are_looked_at),
        cmocka_unit_test(a_fetch_from_before_a_ban_does_not_escape_it),
        cmocka_unit_test(who_waits_behind_an_old_fetch_is_not_given_what_is_banned),
        cmocka_unit_test(the_lurker_kills_what_nobody_asks_for),
        cmocka_unit_test(the_lurker_waits_for_its_time),
        cmocka_unit_test(bans_on_requests_are_for_lookups),
        cmocka_unit_test(too_many_bans_cost_the_oldest_objects),
        cmocka_unit_test(older_equal_ones_are_completed),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(list_and_lurker_do_what_the_model_says),
        cmocka_unit_test(on_several_loops_nothing_banned_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
