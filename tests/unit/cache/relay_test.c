/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A body that outgrows its store: whoever has it reads all of it, nobody finds it, and the memory
 * for it is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/check.h"
#include "base/rng.h"
#include "rig.h"

enum { WINDOW = 64 << 10, READERS = 12 };

static unsigned char byte_at(uint64_t off)
{
    return (unsigned char)(off * 31 + (off >> 11) * 7 + (off >> 19));
}

struct stream {
    struct rig *rig;
    struct latch done;
    uint64_t stored; /* bytes that fit */
    uint64_t total;
    bool fails; /* the fetch, at the end */
    _Atomic uint64_t written;
    _Atomic uint64_t seeds;
    _Atomic unsigned whole;
    _Atomic unsigned reset;
};

static void write_bytes(struct stream *s, struct objcore *busy, uint64_t len)
{
    uint64_t at = atomic_load(&s->written);
    uint64_t end = at + len;
    while (at < end) {
        void *ptr;
        size_t room;
        enum rc rc = obj_space(busy, end - at, &ptr, &room);
        if (rc == RC_NOSPACE) {
            obj_relay(busy, WINDOW);
            continue;
        }
        CHECK(rc == RC_OK);
        CHECK(room <= WINDOW || at < s->stored);
        unsigned char *p = ptr;
        for (size_t i = 0; i < room; i++) {
            p[i] = byte_at(at + i);
        }
        obj_grown(busy, room);
        at += room;
        atomic_store(&s->written, at);
    }
}

/* Reads at a pace of its own; some leave in the middle. */
static void read_it(struct stream *s, struct objcore *oc)
{
    struct rng rng = {.state = atomic_fetch_add(&s->seeds, 1)};
    uint64_t leaves_at = rng_below(&rng, 4) == 0 ? rng_below(&rng, s->total) : UINT64_MAX;
    uint64_t off = 0;
    enum rc rc;
    for (;;) {
        struct stv_lease lease;
        rc = obj_next(oc, off, true, NEVER, &lease);
        if (rc != RC_OK || off >= leaves_at) {
            if (rc == RC_OK) {
                stv_rel(&lease);
            }
            break;
        }
        CHECK(off + lease.len <= atomic_load(&s->written) + WINDOW);
        if (rng_below(&rng, 4) == 0) {
            fiber_yield();
        }
        const unsigned char *p = lease.ptr;
        for (size_t i = 0; i < lease.len; i++) {
            CHECK(p[i] == byte_at(off + i));
        }
        size_t used = 1 + (size_t)rng_below(&rng, lease.len);
        off += used;
        stv_rel(&lease);
    }
    if (rc == RC_EOF) {
        CHECK(off == s->total);
        atomic_fetch_add(&s->whole, 1);
    } else if (rc != RC_OK) {
        CHECK(rc == RC_RESET);
        atomic_fetch_add(&s->reset, 1);
    }
}

static void one_reader(void *arg)
{
    struct stream *s = arg;
    struct lookup found = rig_lookup(s->rig, 1);
    CHECK(found.kind == LOOKUP_HIT);
    read_it(s, found.oc);
    rig_release(&found);
    latch_down(&s->done);
}

static struct objcore *begin(struct stream *s)
{
    struct lookup found = rig_lookup(s->rig, 1);
    CHECK(found.kind == LOOKUP_MISS);
    struct obj_times times = rig_times();
    CHECK(rig_ready(s->rig, found.busy, &times, 0));
    return found.busy;
}

static void run_stream(struct stream *s)
{
    struct rig *rig = s->rig;
    unsigned loops = run_loops(rig->run);
    latch_init(&s->done, READERS);
    struct objcore *busy = begin(s);
    for (unsigned i = 0; i < READERS; i++) {
        rig_start(rig, i % loops, one_reader, s);
    }
    write_bytes(s, busy, s->stored);
    struct cache_stats stats;
    do { /* all have it: who asks later does not find it */
        CHECK(fiber_sleep(NS_PER_MS) == RC_OK);
    } while (obj_hits(busy) < READERS);
    atomic_store(&rig->stv.fail_alloc, 1000000);
    write_bytes(s, busy, s->total - s->stored);
    cache_stat(rig->cache, &stats);
    assert_int_equal(stats.relayed, 1);
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "M+:");
    if (s->fails) {
        obj_fail(busy);
    } else {
        assert_int_equal(obj_finish(busy), RC_OK);
        assert_int_equal(obj_len(busy), s->total);
    }
    obj_release(&busy);
    latch_wait(&s->done);
    assert_int_equal(atomic_load(&rig->stv.finals), 0);
    atomic_store(&rig->stv.fail_alloc, 0);
}

static void whole(void *arg)
{
    static struct stream s;
    struct rig *rig = arg;
    unsigned n = run_loops(rig->run);
    s = (struct stream){
        .rig = rig, .stored = (n - 1) * 50000, .total = 3 * 1000 * 1000 + n, .seeds = n * 100};
    run_stream(&s);
    assert_true(atomic_load(&s.whole) > READERS / 3);
    assert_int_equal(atomic_load(&s.reset), 0);
    struct cache_stats stats;
    do {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
        cache_stat(rig->cache, &stats);
    } while (stats.cores > 0);
    assert_int_equal(atomic_load(&rig->stv.objects), 0);
}

static void all_who_have_it_read_it(void **state)
{
    (void)state;
    for (unsigned loops = 1; loops <= 3; loops++) {
        const struct rig_conf conf = {.loops = loops};
        rig_run(&conf, whole);
    }
}

static void failing(void *arg)
{
    static struct stream s;
    s = (struct stream){.rig = arg, .stored = 100000, .total = 1000000, .fails = true, .seeds = 7};
    run_stream(&s);
    assert_int_equal(atomic_load(&s.whole), 0);
    assert_true(atomic_load(&s.reset) > 0);
}

static void when_its_fetch_fails_they_are_cut(void **state)
{
    (void)state;
    const struct rig_conf conf = {.loops = 2};
    rig_run(&conf, failing);
}

/* ---- one at a time, on a fake clock ---- */

/* In small steps: what it was given last is its own until it asks again. */
static void take(struct objcore *oc, uint64_t *off, uint64_t to)
{
    while (*off < to) {
        struct stv_lease lease;
        enum rc rc = obj_next(oc, *off, true, NEVER, &lease);
        CHECK(rc == RC_OK);
        *off += lease.len < 1000 ? lease.len : 1000;
        stv_rel(&lease);
    }
}

static void steps(void *arg)
{
    static struct stream s;
    struct rig *rig = arg;
    s = (struct stream){.rig = rig, .stored = 1000};
    struct objcore *busy = begin(&s);
    write_bytes(&s, busy, 1000);
    struct lookup reader = rig_lookup(rig, 1);
    assert_int_equal(reader.kind, LOOKUP_HIT);
    uint64_t off = 0;
    atomic_store(&rig->stv.fail_alloc, 1);
    /* A whole window beyond what is stored, while the reader stands at the beginning. */
    write_bytes(&s, busy, WINDOW);
    assert_int_equal(atomic_load(&rig->stv.objects), 1);
    struct obj_fd_payload payload;
    assert_int_equal(obj_next_payload(reader.oc, 0, NEVER, &payload), RC_OK);
    assert_int_equal(payload.len, 1000);
    assert_int_equal(obj_next_payload(reader.oc, 1000, NEVER, &payload), RC_UNSUPPORTED);
    take(reader.oc, &off, 1000 + WINDOW);
    write_bytes(&s, busy, 10);
    assert_int_equal(atomic_load(&rig->stv.objects), 0);
    take(reader.oc, &off, 1000 + WINDOW + 10);
    /* Who comes back for what is gone is told so. */
    struct stv_lease lease;
    assert_int_equal(obj_next(reader.oc, 0, true, NEVER, &lease), RC_RESET);
    rig_release(&reader);
    /* Nobody reads any more. */
    void *ptr;
    size_t len;
    enum rc rc;
    do {
        rc = obj_space(busy, WINDOW, &ptr, &len);
        if (rc == RC_OK) {
            obj_grown(busy, len);
        }
    } while (rc == RC_OK);
    assert_int_equal(rc, RC_NOT_FOUND);
    obj_fail(busy);
    obj_release(&busy);
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "M+:");
}

static void what_all_have_read_is_let_go(void **state)
{
    (void)state;
    const struct rig_conf conf = {0};
    rig_run(&conf, steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_who_have_it_read_it),
        cmocka_unit_test(when_its_fetch_fails_they_are_cut),
        cmocka_unit_test(what_all_have_read_is_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
