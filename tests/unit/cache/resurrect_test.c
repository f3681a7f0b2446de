/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Taking back what an earlier worker left, against what happened since. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/cursor.h"
#include "cache/ban_expr.h"
#include "cache/cache_ban.h"
#include "cache/oa.h"
#include "rig.h"
#include "store/ban_log.h"
#include "store/vault.h"

enum { LEFT_MAX = 16 };

struct left {
    struct stv_found found[LEFT_MAX];
    char oa[LEFT_MAX][256];
    size_t count;
};

static struct stv_found *leave(struct rig *rig, struct left *left, unsigned key, uint64_t revision,
                               const char *body, const char *vary)
{
    size_t at = left->count++;
    char flags[4];
    struct sb flags_sb = sb_of(flags, sizeof flags);
    put_u32(&flags_sb, 0);
    const struct str values[OA__COUNT] = {
        [OA_HTTP] = STR_INIT("left"),
        [OA_VARY] = {vary, vary == NULL ? 0 : strlen(vary)},
        [OA_FLAGS] = sb_str(&flags_sb),
    };
    struct sb sb = sb_of(left->oa[at], sizeof left->oa[at]);
    oa_encode(values, &sb);
    left->found[at] = (struct stv_found){
        .obj = fake_left_behind(&rig->stv, sb_str(&sb), str_of(body)),
        .record = {.digest = rig_key(key),
                   .revision = revision,
                   .t_origin_ns = clock_real_ns(),
                   .ttl_ns = 3600 * NS_PER_S},
        .oa = sb_str(&sb),
        .body_len = strlen(body),
    };
    return &left->found[at];
}

/* As the worker does it: on a thread of its own.  The fiber's loop must not stand still meanwhile,
 * for that thread waits for nobody, but grace periods wait for loops. */
struct taking {
    struct rig *rig;
    struct latch done;
};

static void *take_back_main(void *arg)
{
    struct taking *t = arg;
    cache_resurrect(t->rig->cache, &t->rig->stv);
    latch_down(&t->done);
    return NULL;
}

static void take_back(struct rig *rig, const struct left *left)
{
    rig->stv.found = left->found;
    rig->stv.found_count = left->count;
    struct taking t = {.rig = rig};
    latch_init(&t.done, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_back_main, &t), 0);
    latch_wait(&t.done);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* On a real clock: the thread that takes back has no other. */
static void run(fiber_fn *fn)
{
    const struct rig_conf conf = {.loops = 1, .resurrections = 1};
    rig_run(&conf, fn);
}

static void assert_seen(struct rig *rig, unsigned key, const char *want)
{
    char buf[64];
    assert_string_equal(rig_seen(rig, key, buf, sizeof buf), want);
}

static void come_back(void *arg)
{
    struct rig *rig = arg;
    struct left left = {.count = 0};
    (void)leave(rig, &left, 1, 50, "one", NULL);
    (void)leave(rig, &left, 2, 40, "two", NULL);
    struct stv_found *old = leave(rig, &left, 3, 30, "expired", NULL);
    old->record.ttl_ns = 0;
    struct stv_found *damaged = leave(rig, &left, 4, 20, "damaged", NULL);
    left.oa[3][20] ^= 1;
    (void)damaged;
    take_back(rig, &left);
    assert_seen(rig, 1, "H:one");
    assert_seen(rig, 2, "H:two");
    assert_seen(rig, 3, "M+:");
    assert_seen(rig, 4, "M+:");
    struct lookup found = rig_lookup(rig, 1);
    assert_true(obj_is_complete(found.oc));
    assert_true(str_eq(obj_get(found.oc, OA_HTTP), STR("left")));
    assert_int_equal(obj_flags(found.oc), 0);
    rig_release(&found);
    struct cache_stats stats;
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.resurrected, 2);
    assert_int_equal(atomic_load(&rig->stv.live), 2);
    struct digest key = rig_key(1);
    assert_int_equal(cache_purge(rig->cache, &key), 1);
    assert_true(fake_evict(&rig->stv));
    assert_int_equal(atomic_load(&rig->stv.live), 0);
}

static void what_is_whole_and_alive_comes_back(void **state)
{
    (void)state;
    run(come_back);
}

static void revisions(void *arg)
{
    struct rig *rig = arg;
    struct left left = {.count = 0};
    (void)leave(rig, &left, 1, 50, "newer", NULL);
    (void)leave(rig, &left, 1, 40, "older", NULL);
    (void)leave(rig, &left, 2, 30, "older", "a");
    (void)leave(rig, &left, 2, 35, "newer",
                "a"); /* not in order: the newer one wins all the same */
    (void)leave(rig, &left, 2, 20, "other", "b");
    take_back(rig, &left);
    assert_seen(rig, 1, "H:newer");
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
    key = rig_key(2);
    assert_int_equal(fake_live_of(&rig->stv, &key), 2);
    assert_int_equal(cache_purge(rig->cache, &key), 2);
}

static void the_newest_of_each_variant_comes_back(void **state)
{
    (void)state;
    run(revisions);
}

static void since_the_start(void *arg)
{
    struct rig *rig = arg;
    struct left left = {.count = 0};
    for (unsigned key = 1; key <= 5; key++) {
        (void)leave(rig, &left, key, 100 - key, "old", NULL);
    }
    (void)leave(rig, &left, 1, 90, "old b", "b");
    /* 1 was fetched; 2 purged, though not there yet; 3 fetched and evicted; 4 fetched and purged */
    rig_put(rig, 3, "new");
    while (fake_evict(&rig->stv)) {
    }
    rig_put(rig, 1, "new");
    struct digest key = rig_key(2);
    assert_int_equal(cache_purge(rig->cache, &key), 0);
    rig_put(rig, 4, "new");
    key = rig_key(4);
    assert_int_equal(cache_purge(rig->cache, &key), 1);
    take_back(rig, &left);
    assert_seen(rig, 1, "H:new");
    assert_seen(rig, 2, "M+:");
    assert_seen(rig, 3, "M+:");
    assert_seen(rig, 4, "M+:");
    assert_seen(rig, 5, "H:old");
    /* The other variant of 1 is not superseded. */
    key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 2);
    /* And when all is taken back nothing is remembered any more. */
    unsigned entombed = atomic_load(&rig->stv.entombed);
    assert_true(entombed > 0);
    key = rig_key(2);
    (void)cache_purge(rig->cache, &key);
    assert_int_equal(atomic_load(&rig->stv.entombed), entombed);
    rig_put(rig, 2, "new");
    assert_seen(rig, 2, "H:new");
}

static void nothing_comes_back_behind_what_happened_since(void **state)
{
    (void)state;
    run(since_the_start);
}

/* ---- while traffic is served ---- */

struct purger {
    struct rig *rig;
    struct post post;
    _Atomic bool is_done;
};

static void purge_all(struct post *post, struct loop *loop)
{
    (void)loop;
    struct purger *p = CONTAINER_OF(post, struct purger, post);
    for (unsigned key = 0; key < LEFT_MAX; key++) {
        struct digest digest = rig_key(key);
        (void)cache_purge(p->rig->cache, &digest);
    }
    atomic_store(&p->is_done, true);
}

static void in_the_middle(void *arg, size_t index)
{
    struct purger *p = arg;
    if (index != LEFT_MAX / 2) {
        return;
    }
    p->post.fn = purge_all;
    loop_post(run_loop(p->rig->run, 0), &p->post);
    while (!atomic_load(&p->is_done)) {
        sched_yield();
    }
}

static void purge_meanwhile(void *arg)
{
    struct rig *rig = arg;
    struct left left = {.count = 0};
    for (unsigned key = 0; key < LEFT_MAX; key++) {
        (void)leave(rig, &left, key, 100 - key, "old", NULL);
    }
    struct purger purger = {.rig = rig};
    rig->stv.before_found = in_the_middle;
    rig->stv.before_found_arg = &purger;
    take_back(rig, &left);
    for (unsigned key = 0; key < LEFT_MAX; key++) {
        assert_seen(rig, key, "M+:");
    }
    assert_int_equal(atomic_load(&rig->stv.live), 0);
}

static void a_purge_in_the_middle_counts_for_both_halves(void **state)
{
    (void)state;
    run(purge_meanwhile);
}

/* ---- bans ---- */

/* Of store/vault_priv.h, which knows the real stevedore. */
struct vault_link *vault_link__alone(void);

static void stored_ban(struct ban_log *log, uint64_t seq, const char *text)
{
    struct str words[3];
    unsigned n = 0;
    char why_text[64];
    struct sb why = sb_of(why_text, sizeof why_text);
    struct ban_expr *expr = NULL;
    assert_int_equal(ban_words(str_of(text), words, 3, &n, &why), RC_OK);
    assert_int_equal(ban_expr_new(words, n, &why, &expr), RC_OK);
    assert_int_equal(ban_log_append(log, seq, clock_real_ns(), ban_expr_bytes(expr)), RC_OK);
    ban_expr_free(&expr);
}

static uint64_t bans_now(struct rig *rig)
{
    struct cache_ban_stats stats;
    cache_ban_stat(rig->cache, &stats);
    return stats.bans;
}

/* Number 12 bans everything, 11 and 13 nothing.  What was tested up to 12 or 13 has passed. */
static void bans_of_before(void *arg)
{
    static const uint64_t tested_up_to[] = {0, 10, 11, 12, 13, 99};
    struct rig *rig = arg;
    const struct lurk_conf lurker = {.sleep_ns = 1, .holdoff_ns = 1, .batch = 10};
    static struct left left;
    left = (struct left){.count = 0};
    for (unsigned key = 0; key < ARRAY_SIZE(tested_up_to); key++) {
        struct stv_found *found = leave(rig, &left, key, 5 + key, "body", NULL);
        found->record.ban_seq = tested_up_to[key];
    }
    /* Nothing of it is over before all are back. */
    (void)cache_lurk(rig->cache, &lurker);
    assert_int_equal(bans_now(rig), 4);
    take_back(rig, &left);
    assert_int_equal(bans_now(rig), 4);
    for (unsigned key = 0; key < ARRAY_SIZE(tested_up_to); key++) {
        bool stays = tested_up_to[key] == 12 || tested_up_to[key] == 13;
        assert_seen(rig, key, stays ? "H:body" : "M+:");
    }
    (void)cache_lurk(rig->cache, &lurker);
    assert_int_equal(bans_now(rig), 1);
    /* And numbers go on. */
    char why_text[64];
    struct sb why = sb_of(why_text, sizeof why_text);
    assert_int_equal(cache_ban(rig->cache, STR("obj.http.none != x"), &why), RC_OK);
    assert_seen(rig, 3, "M+:");
}

static void what_comes_back_is_tested_against_later_bans(void **state)
{
    (void)state;
    struct vault_link *link = vault_link__alone();
    struct ban_log *log = NULL;
    assert_int_equal(ban_log_open(link, &log), RC_OK);
    stored_ban(log, 11, "obj.status == 999");
    stored_ban(log, 12, "obj.http.none != x");
    stored_ban(log, 13, "obj.status == 998");
    const struct rig_conf conf = {.loops = 1, .resurrections = 1, .ban_log = log};
    rig_run(&conf, bans_of_before);
    ban_log_close(&log);
    vault_link_free(&link);
}

/* ---- what was put there for the whole key ---- */

/* Whatever store it comes from, before or after what it has replaced. */
static void superseded(void *arg)
{
    struct rig *rig = arg;
    struct left left = {.count = 0};
    (void)leave(rig, &left, 1, 40, "sibling", "a");
    leave(rig, &left, 1, 50, "all", NULL)->record.supersedes = true;
    (void)leave(rig, &left, 1, 45, "late", "b");
    (void)leave(rig, &left, 1, 60, "after", "c");
    take_back(rig, &left);
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 2);
    assert_seen(rig, 1, "H:all");
}

/* What is on its way is newer than all that is found. */
static void being_fetched(void *arg)
{
    struct rig *rig = arg;
    struct left left = {.count = 0};
    (void)leave(rig, &left, 1, 50, "old", NULL);
    struct lookup found = rig_lookup(rig, 1);
    const struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    rig_write(found.busy, "new", 3);
    take_back(rig, &left);
    assert_int_equal(obj_finish(found.busy), RC_OK);
    obj_release(&found.busy);
    assert_seen(rig, 1, "H:new");
    struct digest key = rig_key(1);
    assert_int_equal(fake_live_of(&rig->stv, &key), 1);
}

static void what_superseded_still_does(void **state)
{
    (void)state;
    run(superseded);
}

static void what_is_fetched_is_newer(void **state)
{
    (void)state;
    run(being_fetched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_superseded_still_does),
        cmocka_unit_test(what_is_fetched_is_newer),
        cmocka_unit_test(what_is_whole_and_alive_comes_back),
        cmocka_unit_test(the_newest_of_each_variant_comes_back),
        cmocka_unit_test(nothing_comes_back_behind_what_happened_since),
        cmocka_unit_test(a_purge_in_the_middle_counts_for_both_halves),
        cmocka_unit_test(what_comes_back_is_tested_against_later_bans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
