/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Three workers one after the other, on two real stores.  The second one dies before it has taken
 * anything back; what was purged, replaced or killed in it, the third must not find.
 *
 * Dying is closing here: neither cache_free nor stv_close changes what a next worker finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cache/cache.h"
#include "store/mem_priv.h"
#include "store/vault_priv.h"
#include "support/run_fiber.h"

enum { STORES = 2, TRANSIENT = STORES };

/* What the manager would hold. */
struct vaulted {
    int cat[STORES], slab[STORES];
};

struct worker {
    struct cache *cache;
    struct stevedore *stores[STORES + 1];
    struct stevedore *transient;
    unsigned recovers; /* how many of the stores */
    _Atomic bool is_recovered;
};

static void open_store(struct worker *w, unsigned i, struct vault_link *link)
{
    struct stv_conf conf = {.name = {'s', (char)('0' + i)},
                            .kind = i == TRANSIENT ? STV_TRANSIENT : STV_MEMORY,
                            .bytes = (uint64_t)4 << 20,
                            .vault = i == TRANSIENT ? NULL : link,
                            .owner_ops = cache_owner_ops()};
    enum rc rc = stv_open(&conf, i == TRANSIENT ? &w->transient : &w->stores[i]);
    CHECK(rc == RC_OK);
}

static void live(struct vaulted *left, fiber_fn *fn)
{
    struct worker w = {.cache = NULL};
    struct vault_link *link = vault_link__alone();
    for (unsigned i = 0; i < STORES; i++) {
        if (left->cat[i] > 0) {
            const char name[] = {'s', (char)('0' + i), 0};
            vault_link__inherit(link, name, VAULT_CATALOG, 0, left->cat[i]);
            vault_link__inherit(link, name, VAULT_SLAB, 0, left->slab[i]);
        }
        open_store(&w, i, link);
    }
    open_store(&w, TRANSIENT, link);
    vault_link_settle(link);
    const struct cache_conf conf = {.resurrections = STORES, .recovering = w.stores};
    enum rc rc = cache_new(&conf, &w.cache);
    CHECK(rc == RC_OK);
    run_once(fn, &w);
    cache_free(&w.cache);
    for (unsigned i = 0; i < STORES; i++) {
        left->cat[i] = dup(mem_of(w.stores[i])->cat.fd);
        left->slab[i] = dup(mem_of(w.stores[i])->slabs.fd);
        stv_close(&w.stores[i]);
    }
    stv_close(&w.transient);
    vault_link_free(&link);
}

static void forget(const struct vaulted *left)
{
    for (unsigned i = 0; i < STORES; i++) {
        CHECK(close(left->cat[i]) == 0);
        CHECK(close(left->slab[i]) == 0);
    }
}

static void *recover_main(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < w->recovers; i++) {
        cache_resurrect(w->cache, w->stores[i]);
    }
    atomic_store(&w->is_recovered, true);
    return NULL;
}

static void recover(struct worker *w, unsigned stores)
{
    w->recovers = stores;
    pthread_t thread;
    int err = pthread_create(&thread, NULL, recover_main, w);
    CHECK(err == 0);
    while (!atomic_load(&w->is_recovered)) {
        enum rc rc = fiber_sleep(NS_PER_MS);
        CHECK(rc == RC_OK);
    }
    err = pthread_join(thread, NULL);
    CHECK(err == 0);
}

static struct digest key_of(unsigned key)
{
    struct rng rng = {.state = key};
    struct digest digest;
    for (size_t i = 0; i < sizeof digest.bytes; i++) {
        digest.bytes[i] = (unsigned char)rng_u64(&rng);
    }
    return digest;
}

static bool has_vary(void *arg, const struct objcore *oc)
{
    return str_eq(obj_get(oc, OA_VARY), str_of(arg));
}

static struct lookup look(struct worker *w, unsigned key, char *vary)
{
    const struct lookup_req req = {.digest = key_of(key),
                                   .match = has_vary,
                                   .match_arg = vary,
                                   .deadline_ns = loop_mono_ns(loop_self()) + 60 * NS_PER_S};
    struct lookup found;
    enum rc rc = cache_lookup(w->cache, &req, &found);
    CHECK(rc == RC_OK);
    return found;
}

static void put_for(struct worker *w, unsigned store, unsigned key, char *vary, char body,
                    uint64_t ttl_ns)
{
    struct lookup found = look(w, key, vary);
    struct objcore *busy = found.busy;
    CHECK(busy != NULL);
    struct stevedore *list[] = {store == TRANSIENT ? w->transient : w->stores[store], NULL};
    enum rc rc = obj_store(busy, list, 1);
    CHECK(rc == RC_OK);
    rc = obj_set(busy, OA_VARY, str_of(vary));
    CHECK(rc == RC_OK);
    struct obj_times times = {.t_origin_ns = clock_real_ns(), .ttl_ns = ttl_ns};
    obj_set_times(busy, &times);
    CHECK(obj_ready(busy));
    void *to;
    size_t room;
    rc = obj_space(busy, 1, &to, &room);
    CHECK(rc == RC_OK);
    *(char *)to = body;
    obj_grown(busy, 1);
    rc = obj_finish(busy);
    CHECK(rc == RC_OK);
    obj_release(&busy);
}

static void put(struct worker *w, unsigned store, unsigned key, char *vary, char body)
{
    put_for(w, store, key, vary, body, 3600 * NS_PER_S);
}

/* The body, or 0. */
static char seen(struct worker *w, unsigned key, char *vary)
{
    struct lookup found = look(w, key, vary);
    char body = 0;
    if (found.oc != NULL) {
        struct stv_lease lease;
        enum rc rc = obj_next(found.oc, 0, true, loop_mono_ns(loop_self()) + NS_PER_S, &lease);
        CHECK(rc == RC_OK);
        body = *(const char *)lease.ptr;
        stv_rel(&lease);
        obj_release(&found.oc);
    }
    if (found.busy != NULL) {
        obj_fail(found.busy);
        obj_release(&found.busy);
    }
    return body;
}

static void kill_it(struct worker *w, unsigned key, char *vary)
{
    struct lookup found = look(w, key, vary);
    CHECK(found.kind == LOOKUP_HIT);
    obj_kill(w->cache, found.oc);
    obj_release(&found.oc);
}

static void purge(struct worker *w, unsigned key)
{
    struct digest digest = key_of(key);
    (void)cache_purge(w->cache, &digest);
}

/* ---- the three ---- */

static char a[] = "a";
static char b[] = "b";

static uint64_t objects_in(const struct worker *w)
{
    uint64_t objects = 0;
    for (unsigned i = 0; i < STORES; i++) {
        struct stv_stats stats;
        stv_stat(w->stores[i], &stats);
        objects += stats.objects;
    }
    return objects;
}

static void first(void *arg)
{
    struct worker *w = arg;
    for (unsigned key = 1; key <= 11; key++) {
        put(w, key % STORES, key, a, '1');
    }
    put(w, 0, 5, b, '1');
    CHECK(objects_in(w) == 12);
}

static void second(void *arg)
{
    struct worker *w = arg;
    CHECK(objects_in(w) == 12);
    /* 1 and 2, in different stores, are purged; 3 is replaced and then purged. */
    purge(w, 1);
    purge(w, 2);
    put(w, 3 % STORES, 3, a, '2');
    purge(w, 3);
    /* 4 is replaced and its replacement evicted; of 5 one variant is replaced. */
    put(w, 4 % STORES, 4, a, '2');
    kill_it(w, 4, a);
    put(w, 1, 5, a, '2');
    /* 6 and 7 are replaced from the other store, 8 by what does not outlive the worker. */
    put(w, 7 % STORES, 6, a, '2');
    put(w, 6 % STORES, 7, a, '2');
    put(w, TRANSIENT, 8, a, '2');
    /* 9 is replaced in its own store; 10 stays; 11 is replaced by
     * what will have expired. */
    put(w, 9 % STORES, 9, a, '2');
    put_for(w, 11 % STORES, 11, a, '2', 1);
}

static void third(void *arg)
{
    struct worker *w = arg;
    recover(w, STORES);
    CHECK(seen(w, 1, a) == 0);
    CHECK(seen(w, 2, a) == 0);
    CHECK(seen(w, 3, a) == 0);
    CHECK(seen(w, 4, a) == 0);
    CHECK(seen(w, 5, a) == '2');
    CHECK(seen(w, 5, b) == '1');
    CHECK(seen(w, 6, a) == '2');
    CHECK(seen(w, 7, a) == '2');
    CHECK(seen(w, 8, a) == 0);
    CHECK(seen(w, 9, a) == '2');
    CHECK(seen(w, 10, a) == '1');
    CHECK(seen(w, 11, a) == 0);
    CHECK(objects_in(w) == 6);
}

static void what_went_while_nothing_was_back_stays_away(void **state)
{
    (void)state;
    struct vaulted left = {.cat = {0}};
    live(&left, first);
    live(&left, second);
    live(&left, third);
    /* And so it is for the next. */
    live(&left, third);
    forget(&left);
}

/* A replaced object and its replacement, in one store: both are in the catalog. */
static void variants(void *arg)
{
    struct worker *w = arg;
    put(w, 0, 1, a, '1');
    put(w, 0, 1, b, '1');
}

static void replace_one(void *arg)
{
    struct worker *w = arg;
    put(w, 0, 1, a, '2');
    CHECK(objects_in(w) == 3);
}

static void newest_of_each(void *arg)
{
    struct worker *w = arg;
    recover(w, STORES);
    CHECK(seen(w, 1, a) == '2');
    CHECK(seen(w, 1, b) == '1');
    CHECK(objects_in(w) == 2);
}

static void the_newer_of_two_revisions_is_taken_back(void **state)
{
    (void)state;
    struct vaulted left = {.cat = {0}};
    live(&left, variants);
    live(&left, replace_one);
    live(&left, newest_of_each);
    forget(&left);
}

static void put_old(void *arg)
{
    put(arg, 1, 1, a, '1');
}

static void put_new(void *arg)
{
    put(arg, 0, 1, a, '2');
}

static void lose_new(void *arg)
{
    struct worker *w = arg;
    recover(w, 1);
    CHECK(seen(w, 1, a) == '2');
    kill_it(w, 1, a);
}

static void find_none(void *arg)
{
    struct worker *w = arg;
    recover(w, STORES);
    CHECK(seen(w, 1, a) == 0);
    CHECK(objects_in(w) == 0);
}

/* Death came between the replacement's life and the end of what it replaced. */
static void what_dies_takes_older_ones_with_it(void **state)
{
    (void)state;
    struct vaulted old = {.cat = {0}};
    struct vaulted new = {.cat = {0}};
    live(&old, put_old);
    live(&new, put_new);
    struct vaulted left = {.cat = {new.cat[0], old.cat[1]}, .slab = {new.slab[0], old.slab[1]}};
    const struct vaulted rest = {.cat = {old.cat[0], new.cat[1]},
                                 .slab = {old.slab[0], new.slab[1]}};
    forget(&rest);
    live(&left, lose_new);
    live(&left, find_none);
    forget(&left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_went_while_nothing_was_back_stays_away),
        cmocka_unit_test(the_newer_of_two_revisions_is_taken_back),
        cmocka_unit_test(what_dies_takes_older_ones_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
