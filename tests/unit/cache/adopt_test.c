/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* An object whose body is that of the one it replaces (a backend said "not modified"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "cache/cache.h"
#include "support/run_fiber.h"

enum { BODY_BYTES = 3 << 20 };

struct bench {
    struct cache *cache;
    struct stevedore *stv;
};

static void run(fiber_fn *fn)
{
    struct bench b;
    const struct stv_conf conf = {.name = "s0",
                                  .kind = STV_MEMORY,
                                  .bytes = (uint64_t)64 << 20,
                                  .owner_ops = cache_owner_ops()};
    enum rc rc = stv_open(&conf, &b.stv);
    CHECK(rc == RC_OK);
    const struct cache_conf cache_conf = {.revisions = b.stv};
    rc = cache_new(&cache_conf, &b.cache);
    CHECK(rc == RC_OK);
    struct run_conf run_conf = run_test_conf();
    run_once_with(&run_conf, fn, &b);
    cache_free(&b.cache);
    stv_close(&b.stv);
}

static struct lookup look(struct bench *b, bool always_miss)
{
    struct lookup_req req = {.deadline_ns = loop_mono_ns(loop_self()) + 60 * NS_PER_S,
                             .always_miss = always_miss};
    struct lookup found;
    enum rc rc = cache_lookup(b->cache, &req, &found);
    CHECK(rc == RC_OK);
    return found;
}

static void store(struct bench *b, struct objcore *busy, uint64_t len)
{
    struct stevedore *list[] = {b->stv, NULL};
    enum rc rc = obj_store(busy, list, len);
    CHECK(rc == RC_OK);
    rc = obj_set(busy, OA_HTTP, STR("HTTP/1.1 200 OK"));
    CHECK(rc == RC_OK);
    struct obj_times times = {.t_origin_ns = loop_real_ns(loop_self()), .ttl_ns = 60 * NS_PER_S};
    obj_set_times(busy, &times);
}

static void write_body(struct objcore *busy, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        void *to;
        size_t room;
        enum rc rc = obj_space(busy, bytes - at, &to, &room);
        CHECK(rc == RC_OK);
        for (size_t i = 0; i < room; i++) {
            ((unsigned char *)to)[i] = (unsigned char)((at + i) % 251);
        }
        obj_grown(busy, room);
        at += room;
    }
}

static void check_body(struct objcore *oc, size_t bytes)
{
    size_t at = 0;
    struct stv_lease lease;
    while (at < bytes) {
        enum rc rc = obj_next(oc, at, true, loop_mono_ns(loop_self()) + 60 * NS_PER_S, &lease);
        CHECK(rc == RC_OK);
        const unsigned char *p = lease.ptr;
        for (size_t i = 0; i < lease.len; i++) {
            CHECK(p[i] == (at + i) % 251);
        }
        at += lease.len;
        stv_rel(&lease);
    }
    CHECK(at == bytes);
}

static void put(struct bench *b, size_t bytes)
{
    struct lookup found = look(b, false);
    CHECK(found.kind == LOOKUP_MISS);
    store(b, found.busy, bytes);
    (void)obj_ready(found.busy);
    write_body(found.busy, bytes);
    enum rc rc = obj_finish(found.busy);
    CHECK(rc == RC_OK);
    obj_release(&found.busy);
}

static uint64_t used(struct bench *b)
{
    struct stv_stats stats;
    stv_stat(b->stv, &stats);
    return stats.bytes_used;
}

static int fd_of(struct objcore *oc)
{
    struct obj_fd_payload payload;
    enum rc rc = obj_next_payload(oc, 0, NEVER, &payload);
    CHECK(rc == RC_OK);
    CHECK(payload.len == BODY_BYTES);
    return payload.fd;
}

/* A fetch that replaces what is there, and has taken over its body. */
static struct objcore *adopting(struct bench *b)
{
    struct lookup next = look(b, true);
    CHECK(obj_replaces(next.busy) != NULL);
    store(b, next.busy, BODY_BYTES);
    enum rc rc = obj_adopt(next.busy, obj_replaces(next.busy));
    CHECK(rc == RC_OK);
    return next.busy;
}

static void hand_over(void *arg)
{
    struct bench *b = arg;
    put(b, BODY_BYTES);
    uint64_t before = used(b);
    struct lookup old = look(b, false);
    int fd = fd_of(old.oc);
    for (unsigned i = 0; i < 5; i++) {
        struct objcore *next = adopting(b);
        CHECK(obj_ready(next));
        CHECK(obj_len(next) == BODY_BYTES);
        check_body(next, BODY_BYTES); /* before it is finished, too */
        enum rc rc = obj_finish(next);
        CHECK(rc == RC_OK);
        CHECK(fd_of(next) == fd);
        obj_release(&next);
        fiber_yield();
    }
    CHECK(used(b) < before + ((uint64_t)1 << 20));
    struct lookup now = look(b, false);
    CHECK(now.kind == LOOKUP_HIT);
    CHECK(now.oc != old.oc);
    check_body(now.oc, BODY_BYTES);
    check_body(old.oc, BODY_BYTES);
    obj_release(&old.oc);
    check_body(now.oc, BODY_BYTES);
    CHECK(cache_purge(b->cache, &(struct digest){{0}}) == 1);
    check_body(now.oc, BODY_BYTES);
    obj_release(&now.oc);
}

static void a_body_changes_hands_without_a_copy(void **state)
{
    (void)state;
    run(hand_over);
}

static void purge_between(void *arg)
{
    struct bench *b = arg;
    put(b, BODY_BYTES);
    struct objcore *next = adopting(b);
    CHECK(cache_purge(b->cache, &(struct digest){{0}}) == 1);
    CHECK(!obj_ready(next));
    enum rc rc = obj_finish(next);
    CHECK(rc == RC_OK);
    check_body(next, BODY_BYTES);
    obj_release(&next);
    struct lookup found = look(b, false);
    CHECK(found.kind == LOOKUP_MISS);
    obj_fail(found.busy);
    obj_release(&found.busy);
}

static void a_purge_in_between_wins(void **state)
{
    (void)state;
    run(purge_between);
}

static void fail_after(void *arg)
{
    struct bench *b = arg;
    put(b, BODY_BYTES);
    struct objcore *next = adopting(b);
    obj_fail(next);
    obj_release(&next);
    struct lookup found = look(b, false);
    CHECK(found.kind == LOOKUP_HIT);
    check_body(found.oc, BODY_BYTES);
    obj_release(&found.oc);
}

static void the_old_one_stays_whole_if_it_fails(void **state)
{
    (void)state;
    run(fail_after);
}

static void small_is_copied(void *arg)
{
    struct bench *b = arg;
    put(b, 500);
    struct lookup next = look(b, true);
    store(b, next.busy, 500);
    CHECK(obj_adopt(next.busy, obj_replaces(next.busy)) == RC_UNSUPPORTED);
    /* Shown only when it is whole: filled first, ready then. */
    write_body(next.busy, 300);
    obj_restart(next.busy);
    store(b, next.busy, 500);
    write_body(next.busy, 500);
    CHECK(obj_ready(next.busy));
    enum rc rc = obj_finish(next.busy);
    CHECK(rc == RC_OK);
    obj_release(&next.busy);
    struct lookup found = look(b, false);
    CHECK(found.kind == LOOKUP_HIT);
    check_body(found.oc, 500);
    obj_release(&found.oc);
}

static void a_small_body_is_copied_and_may_be_shown_late(void **state)
{
    (void)state;
    run(small_is_copied);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_changes_hands_without_a_copy),
        cmocka_unit_test(a_purge_in_between_wins),
        cmocka_unit_test(the_old_one_stays_whole_if_it_fails),
        cmocka_unit_test(a_small_body_is_copied_and_may_be_shown_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
