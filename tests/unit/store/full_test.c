/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Running out: of store, of descriptors, of what each system call needs.  The object is refused,
 * and the store is as good as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model.h"
#include "store/store_priv.h"
#include "store/vault_priv.h"
#include "support/evictable.h"

/* On one thread nothing happens while somebody waits for room. */
static void no_pause(void *arg)
{
    (void)arg;
}

static const struct stv_seam no_waits = {.pause = no_pause};

static struct stevedore *open_store(uint64_t bytes, struct stv_conf conf)
{
    struct stevedore *stv = NULL;
    memcpy(conf.name, "s0", 3);
    conf.seam = &no_waits;
    conf.bytes = bytes;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    return stv;
}

static void check_is_empty(struct stevedore *stv, uint64_t bytes_at_start)
{
    struct stv_stats stats;
    stv_stat(stv, &stats);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.files, 0);
    assert_int_equal(stats.allocs, stats.frees);
    assert_true(stats.bytes_used <= bytes_at_start + MIB(1) / 2);
}

static enum rc store_one(struct stevedore *stv, uint64_t id, uint64_t len, struct stv_obj **out)
{
    struct rng rng = {.state = id};
    struct stv_record record = model_record(id, id);
    enum rc rc = model_fetch(stv, &rng, id, id, len, len + 100, out);
    if (rc == RC_OK) {
        rc = model_final(*out, id, 100, &record);
        if (rc != RC_OK) {
            stv_deleteobj(out);
        }
    }
    return rc;
}

/* What is announced and still on its way counts: the last ones are told before they begin, not when
 * all have come to a stop half way. */
static void announced_bodies_are_promised_room(void **state)
{
    (void)state;
    struct stevedore *stv = open_store(MIB(16), (struct stv_conf){.kind = STV_MEMORY});
    struct stv_obj *objs[3] = {NULL};
    assert_int_equal(stv_newobj(stv, MIB(5), &objs[0]), RC_OK);
    assert_int_equal(stv_newobj(stv, MIB(5), &objs[1]), RC_OK);
    assert_int_equal(stv_newobj(stv, MIB(5), &objs[2]), RC_NOSPACE);
    /* One that fails gives its room back; so does one that is whole. */
    stv_deleteobj(&objs[1]);
    assert_int_equal(stv_newobj(stv, MIB(5), &objs[1]), RC_OK);
    stv_deleteobj(&objs[1]);
    for (uint64_t id = 0; id < 3; id++) {
        struct stv_obj *whole = NULL;
        assert_int_equal(store_one(stv, id, MIB(4), &whole), RC_OK);
        stv_dead(whole);
        stv_deleteobj(&whole);
    }
    assert_int_equal(stv_newobj(stv, MIB(5), &objs[1]), RC_OK);
    stv_deleteobj(&objs[0]);
    stv_deleteobj(&objs[1]);
    stv_close(&stv);
}

/* Nobody can be evicted: the store refuses, and takes again when something has gone. */
static void full(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {300, 5000, KIB(40), KIB(300)};
    for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
        struct stevedore *stv = open_store(MIB(4), (struct stv_conf){.kind = STV_MEMORY});
        static struct stv_obj *objs[20000];
        size_t count = 0;
        while (count < ARRAY_SIZE(objs) &&
               store_one(stv, count, lengths[k], &objs[count]) == RC_OK) {
            count++;
        }
        assert_true(count < ARRAY_SIZE(objs));
        /* What is lost to classes, pages and attributes is small. */
        assert_true(count * (lengths[k] + 100) > MIB(4) / 100 * 80);
        struct stv_stats stats;
        stv_stat(stv, &stats);
        assert_true(stats.fails > 0);
        assert_true(stats.bytes_used <= stats.bytes_max);
        struct stv_obj *more = NULL;
        assert_int_equal(store_one(stv, count, lengths[k], &more), RC_NOSPACE);
        assert_null(more);
        stv_deleteobj(&objs[count / 2]);
        assert_int_equal(store_one(stv, count / 2, lengths[k], &objs[count / 2]), RC_OK);
        for (size_t i = 0; i < count; i++) {
            assert_true(model_check(objs[i], i, i, lengths[k]));
            stv_deleteobj(&objs[i]);
        }
        check_is_empty(stv, 0);
        stv_close(&stv);
    }
}

static void too_large(void **state)
{
    (void)state;
    struct stevedore *stv = open_store(MIB(8), (struct stv_conf){.kind = STV_TRANSIENT});
    struct stv_obj *obj = NULL;
    assert_int_equal(stv_newobj(stv, MIB(4), &obj), RC_NOSPACE);
    assert_int_equal(stv_newobj(stv, UINT64_MAX, &obj), RC_NOSPACE);
    assert_null(obj);
    assert_int_equal(store_one(stv, 1, MIB(4), &obj), RC_NOSPACE);
    /* And when the length was not known. */
    struct rng rng = {.state = 1};
    assert_int_equal(model_fetch(stv, &rng, 1, 1, MIB(4), 0, &obj), RC_NOSPACE);
    assert_int_equal(store_one(stv, 1, MIB(3), &obj), RC_OK);
    stv_deleteobj(&obj);
    /* Attributes alone can be too large. */
    static char oa[KIB(512)];
    struct stv_record record = model_record(1, 1);
    assert_int_equal(stv_newobj(stv, 0, &obj), RC_OK);
    assert_int_equal(stv_final(obj, (struct str){oa, sizeof oa}, &record), RC_NOSPACE);
    assert_int_equal(stv_final(obj, (struct str){oa, KIB(30)}, &record), RC_OK);
    stv_deleteobj(&obj);
    check_is_empty(stv, 0);
    stv_close(&stv);
}

/* ---- eviction between classes and files ---- */

static bool cache_one(struct stevedore *stv, struct owner *o, uint64_t id, uint64_t len)
{
    struct rng rng = {.state = id};
    struct stv_record record = model_record(id, id);
    struct stv_obj *obj = NULL;
    if (model_fetch(stv, &rng, id, id, len, 0, &obj) != RC_OK) {
        return false;
    }
    stv_set_owner(obj, o);
    if (model_final(obj, id, 100, &record) != RC_OK) {
        stv_deleteobj(&obj);
        return false;
    }
    o->obj = obj;
    return true;
}

/* A store full of one size gives way to another, in every order. */
static void sizes_change(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {200, 3000, KIB(20), 700, KIB(700), 100, KIB(150), 9000};
    static struct owner owners[20000];
    struct stevedore *stv =
        open_store(MIB(4), (struct stv_conf){.kind = STV_MEMORY, .owner_ops = owner_ops()});
    uint64_t id = 0;
    for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
        uint64_t total = 0;
        while (total < MIB(6)) {
            struct owner *o = &owners[id % ARRAY_SIZE(owners)];
            if (o->obj != NULL) {
                stv_deleteobj(&o->obj);
            }
            assert_true(cache_one(stv, o, id, lengths[k]));
            id++;
            total += lengths[k] + 100 < 1024 ? 1024 : lengths[k];
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
        owner_evict(&owners[i]);
    }
    check_is_empty(stv, 0);
    stv_close(&stv);
}

/* What is asked for again and again survives a scan of what is not. */
static void hits_survive_a_scan(void **state)
{
    (void)state;
    static struct owner hot[50];
    static struct owner cold[3000];
    struct stevedore *stv =
        open_store(MIB(4), (struct stv_conf){.kind = STV_MEMORY, .owner_ops = owner_ops()});
    for (size_t i = 0; i < ARRAY_SIZE(hot); i++) {
        assert_true(cache_one(stv, &hot[i], i, 4000));
    }
    for (size_t i = 0; i < ARRAY_SIZE(cold); i++) {
        assert_true(cache_one(stv, &cold[i], 1000 + i, 4000));
        for (size_t k = 0; k < ARRAY_SIZE(hot); k++) {
            if (hot[k].obj != NULL) {
                stv_touch(hot[k].obj);
            }
        }
    }
    unsigned alive = 0;
    for (size_t i = 0; i < ARRAY_SIZE(hot); i++) {
        alive += hot[i].obj != NULL;
        owner_evict(&hot[i]);
    }
    assert_int_equal(alive, ARRAY_SIZE(hot));
    for (size_t i = 0; i < ARRAY_SIZE(cold); i++) {
        owner_evict(&cold[i]);
    }
    stv_close(&stv);
}

/* ---- descriptors ---- */

static void few_descriptors(void **state)
{
    (void)state;
    struct stevedore *stv = open_store(MIB(16), (struct stv_conf){.kind = STV_MEMORY});
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit few = {.rlim_cur = 16, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct stv_obj *objs[32] = {0};
    size_t count = 0;
    enum rc rc = RC_OK;
    while (count < 32 && (rc = store_one(stv, count, KIB(200), &objs[count])) == RC_OK) {
        count++;
    }
    assert_int_equal(rc, RC_NOFILES);
    assert_true(count < 16);
    /* What needs none still works. */
    struct stv_obj *small = NULL;
    assert_int_equal(store_one(stv, 99, 1000, &small), RC_OK);
    stv_deleteobj(&small);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(store_one(stv, count, KIB(200), &objs[count]), RC_OK);
    for (size_t i = 0; i <= count; i++) {
        assert_true(model_check(objs[i], i, i, KIB(200)));
        stv_deleteobj(&objs[i]);
    }
    check_is_empty(stv, 0);
    stv_close(&stv);
}

/* The store keeps to its share of the descriptors by evicting. */
static void files_are_bounded(void **state)
{
    (void)state;
    static struct owner owners[16];
    struct stevedore *stv = open_store(
        MIB(64), (struct stv_conf){.kind = STV_MEMORY, .owner_ops = owner_ops(), .files_max = 5});
    struct stv_stats stats;
    for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
        assert_true(cache_one(stv, &owners[i], i, MIB(5)));
        stv_stat(stv, &stats);
        assert_true(stats.files <= 5);
    }
    for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
        owner_evict(&owners[i]);
    }
    check_is_empty(stv, 0);
    stv_close(&stv);
}

/* ---- every system call fails once, then for good ---- */

struct failing {
    enum stv_call call;
    unsigned after; /* this many succeed */
    bool for_good;
    unsigned failed;
};

static bool fails(void *arg, enum stv_call call)
{
    struct failing *f = arg;
    if (call != f->call) {
        return false;
    }
    if (f->after > 0) {
        f->after--;
        return false;
    }
    if (f->failed > 0 && !f->for_good) {
        return false;
    }
    f->failed++;
    return true;
}

/* True when there was something to fail. */
static bool fail_one(enum stv_call call, unsigned after, bool for_good)
{
    static struct owner owners[40];
    struct failing f = {.call = call, .after = after, .for_good = for_good};
    struct stv_seam seam = {.fails = fails, .pause = no_pause, .arg = &f};
    struct vault_link *link = vault_link__alone();
    struct stv_conf conf = {.name = "s0",
                            .kind = STV_MEMORY,
                            .bytes = MIB(4),
                            .owner_ops = owner_ops(),
                            .vault = link,
                            .seam = &seam};
    struct stevedore *stv = NULL;
    enum rc rc = stv_open(&conf, &stv);
    if (rc != RC_OK) {
        assert_true(rc == RC_NOSPACE || rc == RC_NOFILES);
        assert_true(f.failed > 0);
        assert_null(stv);
    } else {
        for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
            uint64_t len = i % 3 == 0 ? KIB(200) : 700 * i;
            bool stored = cache_one(stv, &owners[i], i, len);
            assert_true(stored || f.failed > 0);
            if (stored && owners[i].obj != NULL) {
                struct stv_lease lease;
                rc = len == 0 ? RC_NOT_FOUND : stv_ref(owners[i].obj, 0, true, &lease);
                if (rc == RC_OK) {
                    assert_true(model_is(i, i, 0, lease.ptr, lease.len));
                    stv_rel(&lease);
                } else {
                    assert_true(len == 0 || (rc == RC_NOSPACE && f.failed > 0));
                }
            }
        }
        for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
            owner_evict(&owners[i]);
        }
        check_is_empty(stv, KIB(128));
        stv_close(&stv);
    }
    vault_link_free(&link);
    return f.failed > 0;
}

static void calls_fail(void **state)
{
    (void)state;
    static const enum stv_call calls[] = {STV_CALL_MEMFD, STV_CALL_FALLOCATE, STV_CALL_MMAP,
                                          STV_CALL_PUT};
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        unsigned after = 0;
        while (fail_one(calls[i], after, false)) {
            assert_true(fail_one(calls[i], after, true));
            after += 1 + after / 4;
        }
        assert_true(after > 5);
    }
}

/* ---- many threads ---- */

#define THREADS 4
#define SHARED 64

struct shared {
    pthread_mutex_t lock; /* stands for the cache's table and references */
    struct stv_obj *obj;
    unsigned refs;
    bool dead;
    uint64_t id, len;
};

struct crowd {
    struct stevedore *stv;
    struct shared *shared[SHARED];
    pthread_mutex_t lock;
    _Atomic uint64_t next_id;
    _Atomic uint64_t hits;
};

static struct crowd crowd = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put_shared(struct shared *s)
{
    pthread_mutex_lock(&s->lock);
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&s->lock);
    if (last) {
        stv_deleteobj(&s->obj);
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
}

static bool grab_shared(void *owner)
{
    struct shared *s = owner;
    pthread_mutex_lock(&s->lock);
    bool alive = !s->dead && s->refs > 0;
    s->refs += alive;
    pthread_mutex_unlock(&s->lock);
    return alive;
}

/* Takes it out of the table, if it is there, and with it the table's reference. */
static void kill_shared(struct shared *s)
{
    pthread_mutex_lock(&s->lock);
    bool first = !s->dead;
    s->dead = true;
    pthread_mutex_unlock(&s->lock);
    if (!first) {
        return;
    }
    stv_dead(s->obj);
    pthread_mutex_lock(&crowd.lock);
    for (size_t i = 0; i < SHARED; i++) {
        if (crowd.shared[i] == s) {
            crowd.shared[i] = NULL;
        }
    }
    pthread_mutex_unlock(&crowd.lock);
    put_shared(s);
}

static void evict_shared(void *owner)
{
    kill_shared(owner);
    put_shared(owner);
}

static const struct stv_owner_ops crowd_ops = {.grab = grab_shared, .evict = evict_shared};

static void insert(struct rng *r, size_t place)
{
    struct shared *s = calloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->id = crowd.next_id++;
    s->len = rng_below(r, 8) == 0 ? KIB(100) + rng_below(r, KIB(300)) : rng_below(r, KIB(12));
    s->refs = 2; /* the table's and ours */
    struct stv_record record = model_record(s->id, stv_revision_next(crowd.stv));
    enum rc rc = model_fetch(crowd.stv, r, s->id, record.revision, s->len, 0, &s->obj);
    if (rc == RC_OK) {
        static _Thread_local char oa[200];
        model_fill(OA_ID(s->id), 0, 0, oa, sizeof oa);
        stv_set_owner(s->obj, s);
        rc = stv_final(s->obj, (struct str){oa, sizeof oa}, &record);
        if (rc != RC_OK) {
            stv_deleteobj(&s->obj);
        }
    }
    if (rc != RC_OK) {
        free(s);
        return;
    }
    pthread_mutex_lock(&crowd.lock);
    struct shared *old = crowd.shared[place];
    pthread_mutex_lock(&s->lock);
    bool dead = s->dead;
    pthread_mutex_unlock(&s->lock);
    if (!dead) {
        crowd.shared[place] = s;
    } else {
        old = NULL;
    }
    if (old != NULL) {
        pthread_mutex_lock(&old->lock);
        old->refs++;
        pthread_mutex_unlock(&old->lock);
    }
    pthread_mutex_unlock(&crowd.lock);
    if (old != NULL) {
        kill_shared(old);
        put_shared(old);
    }
    put_shared(s);
}

static void hit(struct rng *r, size_t place)
{
    pthread_mutex_lock(&crowd.lock);
    struct shared *s = crowd.shared[place];
    if (s != NULL) {
        pthread_mutex_lock(&s->lock);
        s->refs++;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&crowd.lock);
    if (s == NULL) {
        return;
    }
    stv_touch(s->obj);
    crowd.hits++;
    struct stv_lease lease;
    struct obj_fd_payload payload;
    if (rng_below(r, 4) == 0) {
        (void)!stv_payload(s->obj, &payload);
    }
    if (s->len > 0 && stv_ref(s->obj, rng_below(r, s->len), true, &lease) == RC_OK) {
        struct str oa = stv_oa(s->obj);
        CHECK(model_is(OA_ID(s->id), 0, 0, oa.ptr, oa.len));
        unsigned char first = *(const unsigned char *)lease.ptr;
        put_shared(s);
        CHECK(*(const unsigned char *)lease.ptr == first);
        stv_rel(&lease);
        return;
    }
    put_shared(s);
}

static void *mill(void *arg)
{
    struct rng r = {.state = (uintptr_t)arg};
    for (unsigned i = 0; i < 3000; i++) {
        size_t place = rng_below(&r, SHARED);
        if (rng_below(&r, 4) == 0) {
            insert(&r, place);
        } else {
            hit(&r, place);
        }
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    crowd.stv = open_store(MIB(3), (struct stv_conf){.kind = STV_MEMORY, .owner_ops = &crowd_ops});
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, mill, (void *)(i + 1)), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    struct stv_stats stats;
    stv_stat(crowd.stv, &stats);
    assert_true(stats.evicted > 20);
    assert_true(crowd.hits > 1000);
    for (size_t i = 0; i < SHARED; i++) {
        if (crowd.shared[i] != NULL) {
            struct shared *s = crowd.shared[i];
            assert_true(grab_shared(s));
            evict_shared(s);
        }
    }
    check_is_empty(crowd.stv, 0);
    stv_close(&crowd.stv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full),
        cmocka_unit_test(announced_bodies_are_promised_room),
        cmocka_unit_test(too_large),
        cmocka_unit_test(sizes_change),
        cmocka_unit_test(hits_survive_a_scan),
        cmocka_unit_test(few_descriptors),
        cmocka_unit_test(files_are_bounded),
        cmocka_unit_test(calls_fail),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests_name("store/full", tests, NULL, NULL);
}
