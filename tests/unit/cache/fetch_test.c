/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Fetching into a core and reading from it meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "cache/oa.h"
#include "rig.h"

static void run(fiber_fn *fn)
{
    const struct rig_conf conf = {0};
    rig_run(&conf, fn);
}

/* Messages between loops; the linker sends calls of loop_post here. */
static _Atomic unsigned posts;
void __real_loop_post(struct loop *loop, struct post *post);
void __wrap_loop_post(struct loop *loop, struct post *post);
void __wrap_loop_post(struct loop *loop, struct post *post)
{
    atomic_fetch_add(&posts, 1);
    __real_loop_post(loop, post);
}

/* ---- attributes ---- */

static void attributes(void *arg)
{
    struct rig *rig = arg;
    struct lookup found = rig_lookup(rig, 1);
    struct objcore *busy = found.busy;
    size_t most = (size_t)1 << 20;
    char *big = xcalloc(1, most + 1);
    assert_int_equal(obj_set(busy, OA_HTTP, (struct str){big, most + 1}), RC_TOO_LONG);
    assert_null(obj_get(busy, OA_HTTP).ptr);
    assert_int_equal(obj_set(busy, OA_HTTP, (struct str){big, most}), RC_OK);
    assert_int_equal(obj_set(busy, OA_XID, STR("1")), RC_TOO_LONG);
    /* Setting one again replaces it, so there is room now. */
    assert_int_equal(obj_set(busy, OA_HTTP, (struct str){big, most - 1}), RC_OK);
    assert_int_equal(obj_set(busy, OA_XID, STR("1")), RC_OK);
    assert_int_equal(obj_set(busy, OA_HTTP, STR("short")), RC_OK);
    free(big);
    assert_int_equal(obj_set(busy, OA_VARY, STR("")), RC_OK);
    struct obj_times times = rig_times();
    times.keep_ns = 77;
    obj_set_times(busy, &times);
    obj_set_flags(busy, OBJ_HITPASS);
    assert_int_equal(obj_store(busy, rig->list, 0), RC_OK);
    assert_true(obj_ready(busy));
    assert_int_equal(obj_len(busy), 0);
    assert_false(obj_is_complete(busy));
    struct str before = obj_get(busy, OA_HTTP);
    assert_int_equal(obj_finish(busy), RC_OK);
    /* A borrow from before the switch is good until the fiber suspends. */
    assert_memory_equal(before.ptr, "short", 5);
    assert_true(str_eq(obj_get(busy, OA_HTTP), STR("short")));
    assert_true(str_eq(obj_get(busy, OA_XID), STR("1")));
    assert_non_null(obj_get(busy, OA_VARY).ptr);
    assert_int_equal(obj_get(busy, OA_VARY).len, 0);
    assert_int_equal(obj_flags(busy), OBJ_HITPASS);
    struct obj_times got = obj_times(busy);
    assert_memory_equal(&got, &times, sizeof got);
    assert_int_equal(obj_len(busy), 0);
    obj_release(&busy);
}

static void attributes_are_kept_and_bounded(void **state)
{
    (void)state;
    run(attributes);
}

static void late_attributes(void *arg)
{
    struct rig *rig = arg;
    struct lookup found = rig_lookup(rig, 1);
    struct objcore *busy = found.busy;
    struct obj_times times = rig_times();
    assert_int_equal(obj_set(busy, OA_ESI, STR("early")), RC_OK);
    assert_true(rig_ready(rig, busy, &times, OBJ_ENCODED | OBJ_ESI));
    assert_true(str_eq(obj_get(busy, OA_ESI), STR("early")));
    rig_write(busy, "body", 4);
    assert_int_equal(obj_set(busy, OA_GZIPBITS, STR("1")), RC_OK);
    assert_int_equal(obj_set(busy, OA_GZIPBITS, STR("bits")), RC_OK);
    assert_null(obj_get(busy, OA_GZIPBITS).ptr);
    assert_int_equal(obj_finish(busy), RC_OK);
    assert_true(str_eq(obj_get(busy, OA_GZIPBITS), STR("bits")));
    assert_true(str_eq(obj_get(busy, OA_ESI), STR("early")));
    assert_int_equal(obj_flags(busy), OBJ_ENCODED | OBJ_ESI);
    /* In the stream that a later worker reads, not only here. */
    assert_true(str_eq(oa_find(stv_oa(obj_stv(busy)), OA_GZIPBITS), STR("bits")));
    obj_release(&busy);
}

static void what_is_learnt_at_the_end_is_an_attribute(void **state)
{
    (void)state;
    run(late_attributes);
}

/* ---- places ---- */

static void places(void *arg)
{
    struct rig *rig = arg;
    struct stevedore other;
    fake_init(&other, cache_owner_ops());
    struct stevedore *list[] = {&rig->stv, &other, NULL};
    struct lookup found = rig_lookup(rig, 1);
    atomic_store(&rig->stv.fail_newobj, 1);
    assert_int_equal(obj_store(found.busy, list, 10), RC_OK);
    assert_ptr_equal(obj_stevedore(found.busy), &other);
    rig_release(&found);
    found = rig_lookup(rig, 1);
    atomic_store(&rig->stv.fail_newobj, 1);
    atomic_store(&other.fail_newobj, 1);
    assert_int_equal(obj_store(found.busy, list, UINT64_MAX), RC_NOSPACE);
    /* Failing it is what is left. */
    rig_release(&found);
    fake_fini(&other);
}

static void the_first_store_that_takes_it_has_it(void **state)
{
    (void)state;
    run(places);
}

static void space(void *arg)
{
    struct rig *rig = arg;
    rig->stv.alloc_bytes = 10;
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    void *ptr;
    void *again;
    size_t len;
    assert_int_equal(obj_space(found.busy, 4, &ptr, &len), RC_OK);
    assert_int_equal(len, 4);
    memcpy(ptr, "abcd", 4);
    obj_grown(found.busy, 4);
    assert_int_equal(obj_space(found.busy, 100, &ptr, &len), RC_OK);
    assert_int_equal(len, 10);
    memcpy(ptr, "efgh", 4);
    obj_grown(found.busy, 2);
    /* The rest of what was given; nothing is allocated, so nothing can fail. */
    atomic_store(&rig->stv.fail_alloc, 1);
    assert_int_equal(obj_space(found.busy, 100, &again, &len), RC_OK);
    assert_ptr_equal(again, (char *)ptr + 2);
    assert_int_equal(len, 8);
    obj_grown(found.busy, 8);
    assert_int_equal(obj_space(found.busy, 1, &ptr, &len), RC_NOSPACE);
    rig_release(&found);
}

static void space_is_used_up_before_more_is_taken(void **state)
{
    (void)state;
    run(space);
}

/* ---- readers ---- */

enum { BODY_BYTES = 200000 };

struct stream {
    struct rig *rig;
    struct objcore *oc;
    const char *want;
    size_t want_len;
    enum rc want_rc;
    struct latch *done;
    uint64_t seed;
};

/* Reads at its own pace and in its own steps. */
static void read_along(void *arg)
{
    struct stream *s = arg;
    struct rng rng = {.state = s->seed};
    size_t at = 0;
    enum rc rc;
    do {
        struct stv_lease lease;
        rc = obj_next(s->oc, at, true, loop_mono_ns(loop_self()) + 60 * NS_PER_S, &lease);
        if (rc != RC_OK) {
            break;
        }
        size_t step = 1 + (size_t)rng_below(&rng, lease.len);
        for (uint64_t i = rng_below(&rng, 3); i > 0; i--) {
            fiber_yield(); /* while it holds the lease */
        }
        assert_true(at + step <= BODY_BYTES);
        assert_memory_equal(lease.ptr, s->want + at, step);
        at += step;
        stv_rel(&lease);
    } while (rc == RC_OK);
    assert_int_equal(rc, s->want_rc);
    if (rc == RC_EOF) {
        assert_int_equal(at, s->want_len);
        assert_int_equal(obj_len(s->oc), s->want_len);
    }
    obj_release(&s->oc);
    latch_down(s->done);
}

enum { READERS = 12 };

static void stream_to_many(struct rig *rig, bool fail, unsigned loops)
{
    char *body = xmalloc(BODY_BYTES);
    struct rng rng = {.state = 42};
    for (size_t i = 0; i < BODY_BYTES; i++) {
        body[i] = (char)rng_u64(&rng);
    }
    rig->stv.alloc_bytes = 1000;
    rig->stv.alloc_round = 256; /* readers must not see the rest */
    rig->stv.yields = true;
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    struct latch done;
    latch_init(&done, READERS);
    struct stream streams[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        obj_ref(found.busy);
        streams[i] = (struct stream){.rig = rig,
                                     .oc = found.busy,
                                     .want = body,
                                     .want_len = BODY_BYTES,
                                     .want_rc = fail ? RC_RESET : RC_EOF,
                                     .done = &done,
                                     .seed = i};
        rig_start(rig, i % loops, read_along, &streams[i]);
    }
    size_t total = fail ? BODY_BYTES / 2 : BODY_BYTES;
    for (size_t at = 0; at < total;) {
        size_t step = 1 + (size_t)rng_below(&rng, 3000);
        step = step > total - at ? total - at : step;
        rig_write(found.busy, body + at, step);
        at += step;
    }
    if (fail) {
        obj_fail(found.busy);
    } else {
        assert_int_equal(obj_finish(found.busy), RC_OK);
    }
    obj_release(&found.busy);
    latch_wait(&done);
    free(body);
}

static void stream_well(void *arg)
{
    stream_to_many(arg, false, run_loops(loop_run(loop_self())));
}

static void stream_badly(void *arg)
{
    stream_to_many(arg, true, run_loops(loop_run(loop_self())));
}

static void readers_of_a_growing_body_get_exact_bytes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, stream_well);
    }
    const struct rig_conf conf = {.loops = 3};
    rig_run(&conf, stream_well);
}

static void readers_of_a_failed_body_know(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, stream_badly);
    }
    const struct rig_conf conf = {.loops = 3};
    rig_run(&conf, stream_badly);
}

static void read_to_end(void *arg)
{
    struct stream *s = arg;
    size_t len;
    enum rc rc;
    char *body = rig_body(s->oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_int_equal(len, s->want_len);
    free(body);
    obj_release(&s->oc);
    latch_down(s->done);
}

/* The other loop sleeps between steps, since all of its readers wait. */
static void count_posts(void *arg)
{
    struct rig *rig = arg;
    enum { N = 50, STEPS = 20 };
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    struct latch done;
    latch_init(&done, N);
    struct stream streams[N];
    for (unsigned i = 0; i < N; i++) {
        obj_ref(found.busy);
        streams[i] = (struct stream){.oc = found.busy, .want_len = STEPS, .done = &done};
        rig_start(rig, 1, read_to_end, &streams[i]);
    }
    unsigned before = atomic_load(&posts);
    for (unsigned i = 0; i < STEPS; i++) {
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
        rig_write(found.busy, "x", 1);
    }
    assert_int_equal(obj_finish(found.busy), RC_OK);
    assert_true(atomic_load(&posts) - before <= STEPS + 2); /* and one of the latch */
    obj_release(&found.busy);
    latch_wait(&done);
}

static void read_one(void *arg)
{
    struct stream *s = arg;
    struct stv_lease lease;
    uint64_t deadline_ns = loop_mono_ns(loop_self()) + 60 * NS_PER_S;
    assert_int_equal(obj_next(s->oc, 0, false, deadline_ns, &lease), RC_OK);
    stv_rel(&lease);
    latch_down(s->done);
}

static void count_none(void *arg)
{
    struct rig *rig = arg;
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    struct latch done;
    latch_init(&done, 1);
    struct stream stream = {.oc = found.busy, .done = &done};
    rig_start(rig, 1, read_one, &stream);
    assert_int_equal(fiber_sleep(5 * NS_PER_MS), RC_OK);
    rig_write(found.busy, "x", 1);
    latch_wait(&done);
    unsigned before = atomic_load(&posts);
    for (unsigned i = 0; i < 20; i++) {
        rig_write(found.busy, "x", 1);
        assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
    }
    assert_int_equal(obj_finish(found.busy), RC_OK);
    assert_int_equal(atomic_load(&posts), before);
    obj_release(&found.busy);
}

static void loops_where_nobody_waits_hear_nothing(void **state)
{
    (void)state;
    const struct rig_conf conf = {.loops = 2};
    rig_run(&conf, count_none);
}

static void a_step_of_progress_is_one_message_a_loop(void **state)
{
    (void)state;
    const struct rig_conf conf = {.loops = 2};
    rig_run(&conf, count_posts);
}

struct patient {
    struct objcore *oc;
    struct fiber *fiber;
    enum rc rc;
    uint64_t deadline_ns;
    struct latch *done;
};

static void wait_for_byte(void *arg)
{
    struct patient *p = arg;
    p->fiber = fiber_self();
    struct stv_lease lease;
    p->rc = obj_next(p->oc, 0, false, p->deadline_ns, &lease);
    if (p->rc == RC_OK) {
        assert_null(lease.ptr);
        stv_rel(&lease);
    }
    latch_down(p->done);
}

static void impatience(void *arg)
{
    struct rig *rig = arg;
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    uint64_t now_ns = loop_mono_ns(loop_self());
    struct latch done;
    latch_init(&done, 3);
    struct patient late = {.oc = found.busy, .deadline_ns = now_ns + NS_PER_S, .done = &done};
    struct patient cancelled = {.oc = found.busy, .deadline_ns = NEVER, .done = &done};
    struct patient served = {.oc = found.busy, .deadline_ns = now_ns + 9 * NS_PER_S, .done = &done};
    rig_start(rig, 0, wait_for_byte, &late);
    rig_start(rig, 0, wait_for_byte, &cancelled);
    rig_start(rig, 0, wait_for_byte, &served);
    assert_int_equal(fiber_sleep(2 * NS_PER_S), RC_OK);
    fiber_cancel(cancelled.fiber);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    rig_write(found.busy, "x", 1);
    latch_wait(&done);
    assert_int_equal(late.rc, RC_TIMEOUT);
    assert_int_equal(cancelled.rc, RC_CANCELLED);
    assert_int_equal(served.rc, RC_OK);
    assert_int_equal(obj_finish(found.busy), RC_OK);
    obj_release(&found.busy);
}

static void waiting_for_a_body_ends(void **state)
{
    (void)state;
    run(impatience);
}

static void ends(void *arg)
{
    struct rig *rig = arg;
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    rig_write(found.busy, "12345", 5);
    struct obj_fd_payload payload;
    assert_int_equal(obj_next_payload(found.busy, 2, NEVER, &payload), RC_OK);
    assert_int_equal(payload.off, 102);
    assert_int_equal(payload.len, 3);
    assert_int_equal(obj_finish(found.busy), RC_OK);
    struct stv_lease lease;
    assert_int_equal(obj_next(found.busy, 4, true, NEVER, &lease), RC_OK);
    assert_int_equal(lease.len, 1);
    stv_rel(&lease);
    assert_int_equal(obj_next(found.busy, 5, true, NEVER, &lease), RC_EOF);
    assert_int_equal(obj_next(found.busy, 500, true, NEVER, &lease), RC_EOF);
    assert_int_equal(obj_next_payload(found.busy, 1, NEVER, &payload), RC_OK);
    assert_int_equal(payload.off, 101);
    assert_int_equal(payload.len, 4);
    assert_int_equal(obj_next_payload(found.busy, 5, NEVER, &payload), RC_EOF);
    obj_release(&found.busy);
}

static void bodies_end_where_they_end(void **state)
{
    (void)state;
    run(ends);
}

static void unkept(void *arg)
{
    struct rig *rig = arg;
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    rig_write(found.busy, "body", 4);
    struct lookup reader = rig_lookup(rig, 1);
    assert_int_equal(reader.kind, LOOKUP_HIT);
    atomic_store(&rig->stv.fail_final, 1);
    assert_int_equal(obj_finish(found.busy), RC_NOSPACE);
    obj_release(&found.busy);
    size_t len;
    enum rc rc;
    char *body = rig_body(reader.oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_memory_equal(body, "body", 4);
    free(body);
    assert_false(obj_is_complete(reader.oc));
    assert_int_equal(obj_len(reader.oc), 4);
    rig_release(&reader);
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "M+:");
}

static void what_cannot_be_kept_is_still_read_to_its_end(void **state)
{
    (void)state;
    run(unkept);
}

static void fail_streaming(void *arg)
{
    struct rig *rig = arg;
    struct lookup found = rig_lookup(rig, 1);
    struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0));
    rig_write(found.busy, "bo", 2);
    obj_fail(found.busy);
    obj_release(&found.busy);
    char buf[16];
    assert_string_equal(rig_seen(rig, 1, buf, sizeof buf), "M+:");
    assert_int_equal(atomic_load(&rig->stv.live), 0);
}

static void a_truncated_body_is_not_found(void **state)
{
    (void)state;
    run(fail_streaming);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_are_kept_and_bounded),
        cmocka_unit_test(what_is_learnt_at_the_end_is_an_attribute),
        cmocka_unit_test(the_first_store_that_takes_it_has_it),
        cmocka_unit_test(space_is_used_up_before_more_is_taken),
        cmocka_unit_test(readers_of_a_growing_body_get_exact_bytes),
        cmocka_unit_test(readers_of_a_failed_body_know),
        cmocka_unit_test(a_step_of_progress_is_one_message_a_loop),
        cmocka_unit_test(loops_where_nobody_waits_hear_nothing),
        cmocka_unit_test(waiting_for_a_body_ends),
        cmocka_unit_test(bodies_end_where_they_end),
        cmocka_unit_test(what_cannot_be_kept_is_still_read_to_its_end),
        cmocka_unit_test(a_truncated_body_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
