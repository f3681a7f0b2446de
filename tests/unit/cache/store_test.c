/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The cache on the memory store: what the fake one promises holds there too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cache/cache.h"
#include "support/run_fiber.h"

struct bench {
    struct cache *cache;
    struct stevedore *stv;
};

static void run(fiber_fn *fn, uint64_t store_bytes, unsigned loops)
{
    struct bench b;
    const struct stv_conf conf = {
        .name = "s0", .kind = STV_MEMORY, .bytes = store_bytes, .owner_ops = cache_owner_ops()};
    enum rc rc = stv_open(&conf, &b.stv);
    CHECK(rc == RC_OK);
    const struct cache_conf cache_conf = {.revisions = b.stv};
    rc = cache_new(&cache_conf, &b.cache);
    CHECK(rc == RC_OK);
    struct run_conf run_conf = run_test_conf();
    run_conf.loops = loops;
    run_once_with(&run_conf, fn, &b);
    cache_free(&b.cache);
    stv_close(&b.stv);
}

static struct lookup look(struct bench *b, unsigned n)
{
    struct lookup_req req = {.deadline_ns = loop_mono_ns(loop_self()) + 60 * NS_PER_S};
    struct rng rng = {.state = n};
    for (size_t i = 0; i < sizeof req.digest.bytes; i++) {
        req.digest.bytes[i] = (unsigned char)rng_u64(&rng);
    }
    struct lookup found;
    enum rc rc = cache_lookup(b->cache, &req, &found);
    CHECK(rc == RC_OK);
    return found;
}

static void write_pattern(struct objcore *busy, unsigned n, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        void *to;
        size_t room;
        enum rc rc = obj_space(busy, bytes - at, &to, &room);
        CHECK(rc == RC_OK);
        memset(to, (int)(n % 251), room);
        obj_grown(busy, room);
        at += room;
    }
}

static void begin(struct bench *b, struct objcore *busy)
{
    struct stevedore *list[] = {b->stv, NULL};
    enum rc rc = obj_store(busy, list, UINT64_MAX);
    CHECK(rc == RC_OK);
    rc = obj_set(busy, OA_HTTP, STR("HTTP/1.1 200 OK"));
    CHECK(rc == RC_OK);
    struct obj_times times = {.t_origin_ns = loop_real_ns(loop_self()), .ttl_ns = 60 * NS_PER_S};
    obj_set_times(busy, &times);
    (void)obj_ready(busy);
}

static enum rc fetch(struct bench *b, struct objcore **take_busy, unsigned n, size_t bytes)
{
    struct objcore *busy = *take_busy;
    *take_busy = NULL;
    begin(b, busy);
    write_pattern(busy, n, bytes);
    enum rc rc = obj_finish(busy);
    obj_release(&busy);
    return rc;
}

static void check_body(struct objcore *oc, unsigned n, size_t bytes)
{
    size_t at = 0;
    struct stv_lease lease;
    while (obj_next(oc, at, true, loop_mono_ns(loop_self()) + 60 * NS_PER_S, &lease) == RC_OK) {
        const unsigned char *p = lease.ptr;
        for (size_t i = 0; i < lease.len; i++) {
            CHECK(p[i] == n % 251);
        }
        at += lease.len;
        stv_rel(&lease);
    }
    CHECK(at == bytes);
}

static size_t bytes_of(unsigned n)
{
    static const size_t sizes[] = {0, 1, 500, 5000, 70000, 300000};
    return sizes[n % ARRAY_SIZE(sizes)];
}

static void many_sizes(void *arg)
{
    struct bench *b = arg;
    for (unsigned n = 0; n < 60; n++) {
        struct lookup found = look(b, n);
        CHECK(found.kind == LOOKUP_MISS);
        enum rc rc = fetch(b, &found.busy, n, bytes_of(n));
        CHECK(rc == RC_OK);
    }
    for (unsigned n = 0; n < 60; n++) {
        struct lookup found = look(b, n);
        CHECK(found.kind == LOOKUP_HIT);
        CHECK(obj_is_complete(found.oc));
        CHECK(obj_len(found.oc) == bytes_of(n));
        CHECK(str_eq(obj_get(found.oc, OA_HTTP), STR("HTTP/1.1 200 OK")));
        check_body(found.oc, n, bytes_of(n));
        obj_release(&found.oc);
    }
}

static void bodies_of_all_sizes(void **state)
{
    (void)state;
    run(many_sizes, (uint64_t)64 << 20, 1);
}

/* More than fits: the store evicts what the cache then must not find. */
static void overflow(void *arg)
{
    struct bench *b = arg;
    unsigned missing = 0;
    for (unsigned n = 0; n < 400; n++) {
        struct lookup found = look(b, n);
        enum rc rc = fetch(b, &found.busy, n, 100000);
        CHECK(rc == RC_OK || rc == RC_NOSPACE);
        fiber_yield();
    }
    for (unsigned n = 0; n < 400; n++) {
        struct lookup found = look(b, n);
        if (found.kind == LOOKUP_HIT) {
            check_body(found.oc, n, 100000);
            obj_release(&found.oc);
        } else {
            missing++;
            obj_fail(found.busy);
            obj_release(&found.busy);
        }
    }
    CHECK(missing > 0);
    CHECK(missing < 400);
    struct cache_stats stats;
    cache_stat(b->cache, &stats);
    CHECK(stats.evicted > 0);
}

static void a_store_that_is_too_small_evicts(void **state)
{
    (void)state;
    run(overflow, (uint64_t)16 << 20, 1);
}

static void purge_streaming(void *arg)
{
    struct bench *b = arg;
    for (unsigned n = 1; n < 6; n++) {
        struct lookup found = look(b, n);
        begin(b, found.busy);
        write_pattern(found.busy, n, bytes_of(n) / 2);
        CHECK(cache_purge(b->cache, &(struct digest){{0}}) == 0);
        obj_kill(b->cache, found.busy);
        write_pattern(found.busy, n, bytes_of(n) - bytes_of(n) / 2);
        enum rc rc = obj_finish(found.busy);
        CHECK(rc == RC_OK);
        check_body(found.busy, n, bytes_of(n));
        obj_release(&found.busy);
        found = look(b, n);
        CHECK(found.kind == LOOKUP_MISS);
        obj_fail(found.busy);
        obj_release(&found.busy);
    }
    struct stv_stats stats;
    stv_stat(b->stv, &stats);
    CHECK(stats.objects == 0);
}

static void what_is_killed_while_it_grows_never_lives(void **state)
{
    (void)state;
    run(purge_streaming, (uint64_t)64 << 20, 1);
}

/* The rule that purge relies on, at its own door. */
static void dead_before_final(void *arg)
{
    struct bench *b = arg;
    struct stv_obj *obj;
    enum rc rc = stv_newobj(b->stv, 100, &obj);
    CHECK(rc == RC_OK);
    stv_dead(obj);
    struct stv_record record = {.revision = stv_revision_next(b->stv)};
    rc = stv_final(obj, STR("attributes"), &record);
    CHECK(rc == RC_STALE);
    struct stv_stats stats;
    stv_stat(b->stv, &stats);
    CHECK(stats.objects == 0);
    stv_deleteobj(&obj);
}

static void an_object_killed_early_does_not_go_live(void **state)
{
    (void)state;
    run(dead_before_final, (uint64_t)64 << 20, 1);
}

struct loopful {
    struct bench *b;
    struct post post;
    _Atomic unsigned *left;
    uint64_t seed;
};

static void busy_loop(void *arg)
{
    struct loopful *l = arg;
    struct rng rng = {.state = l->seed};
    for (unsigned i = 0; i < 400; i++) {
        unsigned n = (unsigned)rng_below(&rng, 40);
        struct lookup found = look(l->b, n);
        if (found.busy != NULL) {
            enum rc rc = fetch(l->b, &found.busy, n, bytes_of(n));
            CHECK(rc == RC_OK || rc == RC_NOSPACE);
        } else {
            check_body(found.oc, n, bytes_of(n));
        }
        if (found.oc != NULL) {
            if (rng_below(&rng, 8) == 0) {
                obj_kill(l->b->cache, found.oc);
            }
            obj_release(&found.oc);
        }
        if (rng_below(&rng, 4) == 0) {
            fiber_yield();
        }
    }
    atomic_fetch_sub(l->left, 1);
}

static void start_busy(struct post *post, struct loop *loop)
{
    (void)loop;
    struct loopful *l = CONTAINER_OF(post, struct loopful, post);
    enum rc rc = fiber_start(busy_loop, l, "busy");
    CHECK(rc == RC_OK);
}

static void on_loops(void *arg)
{
    enum { N = 6 };
    _Atomic unsigned left = N;
    struct loopful each[N];
    struct run *own = loop_run(loop_self());
    for (unsigned i = 0; i < N; i++) {
        each[i] = (struct loopful){.b = arg, .post.fn = start_busy, .left = &left, .seed = i};
        loop_post(run_loop(own, i % run_loops(own)), &each[i].post);
    }
    while (atomic_load(&left) > 0) {
        enum rc rc = fiber_sleep(NS_PER_MS);
        CHECK(rc == RC_OK);
    }
}

static void several_loops_fetch_read_and_kill(void **state)
{
    (void)state;
    run(on_loops, (uint64_t)16 << 20, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_all_sizes),
        cmocka_unit_test(a_store_that_is_too_small_evicts),
        cmocka_unit_test(what_is_killed_while_it_grows_never_lives),
        cmocka_unit_test(an_object_killed_early_does_not_go_live),
        cmocka_unit_test(several_loops_fetch_read_and_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
