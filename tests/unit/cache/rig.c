/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

struct rig_start {
    struct rig *rig;
    fiber_fn *fn;
};

static void rig_main(void *arg)
{
    struct rig_start *start = arg;
    start->rig->run = loop_run(loop_self());
    start->fn(start->rig);
}

/* How long objects are fresh: on a real clock longer than any machine takes for a test. */
static uint64_t fresh_ns;

void rig_run(const struct rig_conf *conf, fiber_fn *fn)
{
    fresh_ns = (conf->loops == 0 ? 10 : 3600) * NS_PER_S;
    struct rig rig = {.arg = conf->arg};
    fake_init(&rig.stv, cache_owner_ops());
    rig.list[0] = &rig.stv;
    const struct cache_conf cache_conf = {.seed = conf->seed,
                                          .resurrections = conf->resurrections,
                                          .recovering = rig.list,
                                          .ban_log = conf->ban_log};
    enum rc rc = cache_new(&cache_conf, &rig.cache);
    CHECK(rc == RC_OK);
    struct run_conf run_conf = run_test_conf();
    run_conf.loops = conf->loops == 0 ? 1 : conf->loops;
    run_conf.fake_clock = conf->loops == 0;
    run_conf.shuffle_seed = conf->seed;
    struct rig_start start = {.rig = &rig, .fn = fn};
    run_once_with(&run_conf, rig_main, &start);
    cache_free(&rig.cache);
    fake_fini(&rig.stv);
}

struct remote_start {
    struct post post;
    fiber_fn *fn;
    void *arg;
};

static void start_here(struct post *post, struct loop *loop)
{
    (void)loop;
    struct remote_start *start = CONTAINER_OF(post, struct remote_start, post);
    enum rc rc = fiber_start(start->fn, start->arg, "test");
    CHECK(rc == RC_OK);
    free(start);
}

void rig_start(struct rig *rig, unsigned loop_index, fiber_fn *fn, void *arg)
{
    struct remote_start *start = xcalloc(1, sizeof *start);
    start->post.fn = start_here;
    start->fn = fn;
    start->arg = arg;
    loop_post(run_loop(rig->run, loop_index), &start->post);
}

void latch_init(struct latch *latch, unsigned n)
{
    *latch = (struct latch){.home = loop_self(), .fiber = fiber_self(), .is_open = n == 0};
    atomic_store(&latch->left, n);
}

static void latch_open(struct post *post, struct loop *loop)
{
    struct latch *latch = CONTAINER_OF(post, struct latch, post);
    CHECK(loop == latch->home);
    latch->is_open = true;
    fiber_wake(latch->fiber);
}

void latch_down(struct latch *latch)
{
    if (atomic_fetch_sub(&latch->left, 1) == 1) {
        latch->post.fn = latch_open;
        loop_post(latch->home, &latch->post);
    }
}

void latch_wait(struct latch *latch)
{
    while (!latch->is_open) {
        enum rc rc = fiber_wait(NEVER);
        CHECK(rc == RC_OK);
    }
}

struct digest rig_key(unsigned n)
{
    struct rng rng = {.state = n};
    struct digest digest;
    for (size_t i = 0; i < sizeof digest.bytes; i++) {
        digest.bytes[i] = (unsigned char)rng_u64(&rng);
    }
    return digest;
}

struct obj_times rig_times(void)
{
    return (struct obj_times){.t_origin_ns = loop_real_ns(loop_self()),
                              .ttl_ns = fresh_ns,
                              .grace_ns = 10 * NS_PER_S,
                              .keep_ns = 10 * NS_PER_S};
}

struct lookup_req rig_req(unsigned key)
{
    return (struct lookup_req){.digest = rig_key(key),
                               .deadline_ns = loop_mono_ns(loop_self()) + 60 * NS_PER_S};
}

struct lookup rig_lookup(struct rig *rig, unsigned key)
{
    struct lookup_req req = rig_req(key);
    struct lookup found;
    enum rc rc = cache_lookup(rig->cache, &req, &found);
    CHECK(rc == RC_OK);
    return found;
}

bool rig_ready(struct rig *rig, struct objcore *busy, const struct obj_times *times, unsigned flags)
{
    enum rc rc = obj_store(busy, rig->list, UINT64_MAX);
    CHECK(rc == RC_OK);
    rc = obj_set(busy, OA_HTTP, STR("head"));
    CHECK(rc == RC_OK);
    obj_set_times(busy, times);
    obj_set_flags(busy, flags);
    return obj_ready(busy);
}

void rig_write(struct objcore *busy, const void *bytes, size_t len)
{
    const char *from = bytes;
    while (len > 0) {
        void *to;
        size_t room;
        enum rc rc = obj_space(busy, len, &to, &room);
        CHECK(rc == RC_OK);
        CHECK(room <= len);
        memcpy(to, from, room);
        obj_grown(busy, room);
        from += room;
        len -= room;
    }
}

enum rc rig_fetch_times(struct rig *rig, struct objcore **take_busy, const char *body,
                        const struct obj_times *times, unsigned flags)
{
    struct objcore *busy = *take_busy;
    *take_busy = NULL;
    (void)rig_ready(rig, busy, times, flags);
    rig_write(busy, body, strlen(body));
    enum rc rc = obj_finish(busy);
    obj_release(&busy);
    return rc;
}

enum rc rig_fetch(struct rig *rig, struct objcore **take_busy, const char *body)
{
    struct obj_times times = rig_times();
    return rig_fetch_times(rig, take_busy, body, &times, 0);
}

void rig_put(struct rig *rig, unsigned key, const char *body)
{
    struct lookup found = rig_lookup(rig, key);
    CHECK(found.kind == LOOKUP_MISS);
    enum rc rc = rig_fetch(rig, &found.busy, body);
    CHECK(rc == RC_OK);
}

char *rig_body(struct objcore *oc, size_t *len, enum rc *rc_out)
{
    char *body = NULL;
    size_t at = 0;
    enum rc rc;
    do {
        struct stv_lease lease;
        rc = obj_next(oc, at, true, loop_mono_ns(loop_self()) + 60 * NS_PER_S, &lease);
        if (rc == RC_OK) {
            body = xrealloc(body, at + lease.len);
            memcpy(body + at, lease.ptr, lease.len);
            at += lease.len;
            stv_rel(&lease);
        }
    } while (rc == RC_OK);
    *len = at;
    *rc_out = rc;
    return body;
}

void rig_release(struct lookup *found)
{
    if (found->oc != NULL) {
        obj_release(&found->oc);
    }
    if (found->busy != NULL) {
        obj_fail(found->busy);
        obj_release(&found->busy);
    }
}

const char *rig_seen(struct rig *rig, unsigned key, char *buf, size_t size)
{
    static const char letters[] = {[LOOKUP_HIT] = 'H',
                                   [LOOKUP_STALE] = 'S',
                                   [LOOKUP_MISS] = 'M',
                                   [LOOKUP_HITMISS] = 'm',
                                   [LOOKUP_HITPASS] = 'p'};
    struct lookup found = rig_lookup(rig, key);
    size_t len = 0;
    enum rc rc = RC_EOF;
    char *body = found.oc == NULL ? NULL : rig_body(found.oc, &len, &rc);
    (void)snprintf(buf, size, "%c%s%.*s", letters[found.kind], found.busy != NULL ? "+:" : ":",
                   (int)len, body == NULL ? "" : body);
    free(body);
    rig_release(&found);
    return buf;
}
