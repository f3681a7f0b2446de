/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A whole object takes the place of all that its digest has: what is compared, what goes, what was
 * being fetched meanwhile, and that no reader ever finds nothing, or something older than before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/rng.h"
#include "cache/cache_ban.h"
#include "cache/cache_swap.h"
#include "http/http.h"
#include "rig.h"

static struct cache_swap swap_of(unsigned key, enum cache_when when, uint64_t cas)
{
    struct cache_swap swap = {
        .digest = rig_key(key), .when = when, .cas = cas, .times = rig_times()};
    swap.attrs[OA_HTTP] = STR("head");
    return swap;
}

static enum rc put_swap(struct rig *rig, const struct cache_swap *swap, const char *body,
                        uint64_t *cas)
{
    struct cache_put put;
    enum rc rc = cache_put_begin(rig->cache, rig->list, strlen(body), cache_attr_bytes(swap), &put);
    if (rc != RC_OK) {
        return rc;
    }
    for (size_t at = 0; at < strlen(body);) {
        void *to;
        size_t room;
        rc = cache_put_space(&put, strlen(body) - at, &to, &room);
        if (rc != RC_OK) {
            cache_put_abort(&put);
            return rc;
        }
        room = room > 3 ? 3 : room;
        memcpy(to, body + at, room);
        cache_put_grown(&put, room);
        at += room;
    }
    return cache_put_commit(&put, swap, cas);
}

static enum rc put(struct rig *rig, enum cache_when when, uint64_t *cas, const char *body)
{
    const struct cache_swap swap = swap_of(1, when, *cas);
    return put_swap(rig, &swap, body, cas);
}

/* By the first letter of OA_VARY; without one it is everybody's. */
static bool match(void *arg, const struct objcore *oc)
{
    const char *mine = arg;
    struct str vary = obj_get(oc, OA_VARY);
    return vary.ptr == NULL || vary.ptr[0] == *mine;
}

static struct cache_seen find(struct rig *rig, const char *variant)
{
    union {
        const char *text;
        void *arg;
    } who = {.text = variant};
    const struct cache_ask ask = {
        .digest = rig_key(1), .match = variant == NULL ? NULL : match, .match_arg = who.arg};
    struct cache_seen seen;
    enum rc rc = cache_find(rig->cache, &ask, &seen);
    assert_int_equal(rc, seen.oc == NULL ? RC_NOT_FOUND : RC_OK);
    return seen;
}

static uint64_t cas_now(struct rig *rig)
{
    struct cache_seen seen = find(rig, NULL);
    assert_non_null(seen.oc);
    obj_release(&seen.oc);
    return seen.cas;
}

static void assert_body(struct rig *rig, const char *want)
{
    struct cache_seen seen = find(rig, NULL);
    if (seen.oc == NULL) {
        assert_null(want);
        if (seen.coming != NULL) {
            obj_release(&seen.coming);
        }
        return;
    }
    size_t len;
    enum rc rc;
    char *body = rig_body(seen.oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_non_null(want);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(body, want, len);
    free(body);
    obj_release(&seen.oc);
}

static unsigned live(struct rig *rig)
{
    struct digest key = rig_key(1);
    return fake_live_of(&rig->stv, &key);
}

static bool match_only(void *arg, const struct objcore *oc)
{
    return obj_get(oc, OA_VARY).ptr != NULL && match(arg, oc);
}

/* Fetches one more variant, which replaces what is of this variant alone. */
static void fetch_variant(struct rig *rig, const char *vary, const char *body)
{
    struct lookup_req req = rig_req(1);
    req.always_miss = true;
    union {
        const char *text;
        void *arg;
    } who = {.text = vary};
    req.match = match_only;
    req.match_arg = who.arg;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    const struct obj_times times = rig_times();
    assert_int_equal(obj_set(found.busy, OA_VARY, str_of(vary)), RC_OK);
    assert_true(rig_ready(rig, found.busy, &times, 0));
    rig_write(found.busy, body, strlen(body));
    assert_int_equal(obj_finish(found.busy), RC_OK);
    obj_release(&found.busy);
}

/* ---- what is compared ---- */

static void comparing(void *arg)
{
    struct rig *rig = arg;
    uint64_t cas = 77;
    assert_int_equal(put(rig, CACHE_IF_THERE, &cas, "x"), RC_NOT_FOUND);
    assert_int_equal(put(rig, CACHE_IF_CAS, &cas, "x"), RC_NOT_FOUND);
    assert_body(rig, NULL);
    assert_int_equal(put(rig, CACHE_IF_NONE, &cas, "one"), RC_OK);
    assert_int_equal(cas, cas_now(rig));
    assert_body(rig, "one");
    uint64_t first = cas;
    assert_int_equal(put(rig, CACHE_IF_NONE, &cas, "x"), RC_EXISTS);
    assert_int_equal(put(rig, CACHE_IF_THERE, &cas, "two"), RC_OK);
    assert_true(cas > first);
    uint64_t loser = first;
    assert_int_equal(put(rig, CACHE_IF_CAS, &loser, "x"), RC_EXISTS);
    assert_int_equal(put(rig, CACHE_IF_CAS, &cas, "three"), RC_OK);
    assert_body(rig, "three");
    assert_int_equal(put(rig, CACHE_ALWAYS, &cas, ""), RC_OK);
    assert_body(rig, "");
    assert_int_equal(live(rig), 1);
    struct digest key = rig_key(1);
    assert_int_equal(cache_remove(rig->cache, &key, first), RC_EXISTS);
    assert_int_equal(cache_remove(rig->cache, &key, cas), RC_OK);
    assert_int_equal(cache_remove(rig->cache, &key, 0), RC_NOT_FOUND);
    assert_int_equal(live(rig), 0);
}

/* What nobody may use any more is not there; what may still be used in its grace is. */
static void time_and_bans(void *arg)
{
    struct rig *rig = arg;
    uint64_t cas = 0;
    assert_int_equal(put(rig, CACHE_ALWAYS, &cas, "one"), RC_OK);
    (void)!fiber_sleep(15 * NS_PER_S);
    assert_body(rig, "one");
    assert_int_equal(put(rig, CACHE_IF_NONE, &cas, "x"), RC_EXISTS);
    (void)!fiber_sleep(15 * NS_PER_S);
    assert_body(rig, NULL);
    uint64_t gone = cas;
    assert_int_equal(put(rig, CACHE_IF_CAS, &gone, "x"), RC_NOT_FOUND);
    assert_int_equal(put(rig, CACHE_IF_NONE, &cas, "two"), RC_OK);
    char text[64];
    struct sb why = sb_of(text, sizeof text);
    assert_int_equal(cache_ban(rig->cache, STR("obj.status != 999"), &why), RC_OK);
    assert_int_equal(put(rig, CACHE_IF_THERE, &cas, "x"), RC_NOT_FOUND);
    assert_int_equal(put(rig, CACHE_IF_NONE, &cas, "three"), RC_OK);
    assert_body(rig, "three");
    assert_int_equal(live(rig), 1);
}

/* Comparing, which has no request, leaves bans on requests to who has one. */
static void bans_on_requests(void *arg)
{
    struct rig *rig = arg;
    uint64_t cas = 0;
    char text[64];
    struct sb why = sb_of(text, sizeof text);
    struct http_hdr fields[2];
    struct http http;
    http_init(&http, fields, 2);
    assert_int_equal(http_set_url(&http, STR("/bad")), RC_OK);
    assert_int_equal(put(rig, CACHE_ALWAYS, &cas, "one"), RC_OK);
    assert_int_equal(cache_ban(rig->cache, STR("req.url == /bad"), &why), RC_OK);
    uint64_t loser = cas + 1;
    assert_int_equal(put(rig, CACHE_IF_CAS, &loser, "x"), RC_EXISTS);
    const struct cache_ask ask = {.digest = rig_key(1), .http = &http};
    struct cache_seen seen;
    assert_int_equal(cache_find(rig->cache, &ask, &seen), RC_NOT_FOUND);
    assert_int_equal(live(rig), 0);
}

static void attributes(void *arg)
{
    struct rig *rig = arg;
    char buf[OBJ_KEYED_BYTES];
    uint64_t cas = 0;
    struct cache_swap swap = swap_of(1, CACHE_ALWAYS, 0);
    const struct obj_keyed keyed = {.flags = 0xfedcba98u, .is_stale = true, .cas = 4711};
    swap.attrs[OA_KEYED] = obj_keyed_pack(&keyed, buf);
    swap.is_promised = true;
    assert_int_equal(put_swap(rig, &swap, "x", &cas), RC_OK);
    assert_int_equal(cas, 4711);
    struct cache_seen seen = find(rig, NULL);
    assert_int_equal(seen.cas, 4711);
    assert_true(seen.is_promised);
    assert_false(obj_promise(seen.oc));
    struct obj_keyed got = obj_keyed(seen.oc);
    assert_int_equal(got.flags, 0xfedcba98u);
    assert_true(got.is_stale);
    obj_release(&seen.oc);
    swap = swap_of(1, CACHE_IF_CAS, 4711);
    const struct obj_keyed none = {0};
    assert_null(obj_keyed_pack(&none, buf).ptr);
    assert_int_equal(put_swap(rig, &swap, "x", &cas), RC_OK);
    assert_true(cas > 1000 && cas != 4711);
    struct digest key = rig_key(1);
    assert_int_equal(cache_touch(rig->cache, &key, 3 * NS_PER_S), 1);
    struct stv_record record;
    assert_true(fake_record(&rig->stv, &key, &record));
    assert_true(record.supersedes);
    assert_int_equal(record.revision, cas);
    (void)!fiber_sleep(20 * NS_PER_S);
    assert_int_equal(cache_touch(rig->cache, &key, NEVER), 0);
}

/* ---- siblings ---- */

static void siblings(void *arg)
{
    struct rig *rig = arg;
    fetch_variant(rig, "a", "A");
    uint64_t one = cas_now(rig);
    fetch_variant(rig, "b", "B");
    uint64_t two = cas_now(rig);
    assert_true(two > one);
    fetch_variant(rig, "a", "A2");
    uint64_t cas = two;
    assert_int_equal(put(rig, CACHE_IF_CAS, &cas, "all"), RC_EXISTS);
    fetch_variant(rig, "c", "C");
    struct cache_seen seen = find(rig, "b");
    assert_true(seen.has_siblings);
    cas = seen.cas;
    assert_int_equal(cas, cas_now(rig));
    assert_int_equal(live(rig), 3);
    assert_int_equal(put(rig, CACHE_IF_CAS, &cas, "all"), RC_OK);
    assert_int_equal(live(rig), 1);
    /* Who began to read goes on. */
    size_t len;
    enum rc rc;
    char *body = rig_body(seen.oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_string_equal(len == 1 && body[0] == 'B' ? "B" : "?", "B");
    free(body);
    obj_release(&seen.oc);
    for (const char *v = "abcd"; *v != '\0'; v++) {
        seen = find(rig, v);
        assert_int_equal(seen.cas, cas);
        obj_release(&seen.oc);
    }
}

/* ---- what was being fetched ---- */

enum held { HELD_BUSY, HELD_STREAMING, HELD_REFRESH, HELD_RETRIED, HELD_HIDDEN, HELD__COUNT };
enum deed { DEED_PUT, DEED_CAS, DEED_REMOVE, DEED_PURGE, DEED_BAN, DEED__COUNT };

struct waiting {
    struct rig *rig;
    struct fiber *main;
    bool is_over;
    char body[32];
};

static void wait_for_it(void *arg)
{
    struct waiting *w = arg;
    struct lookup found = rig_lookup(w->rig, 1);
    assert_non_null(found.oc);
    size_t len;
    enum rc rc;
    char *body = rig_body(found.oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_true(len < sizeof w->body);
    memcpy(w->body, body, len);
    free(body);
    rig_release(&found);
    w->is_over = true;
    fiber_wake(w->main);
}

/* Up to the barrier, and who waits for it. */
static struct objcore *hold(struct rig *rig, enum held held, struct waiting *w)
{
    struct lookup_req req = rig_req(1);
    if (held == HELD_REFRESH) {
        (void)!fiber_sleep(12 * NS_PER_S);
    }
    req.always_miss = held != HELD_REFRESH;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    struct objcore *busy = found.busy;
    assert_non_null(busy);
    if (found.oc != NULL) {
        obj_release(&found.oc);
    }
    if (held == HELD_RETRIED) {
        const struct obj_times times = rig_times();
        assert_int_equal(obj_store(busy, rig->list, UINT64_MAX), RC_OK);
        obj_set_times(busy, &times);
        obj_restart(busy);
    }
    const struct obj_times times = rig_times();
    if (held == HELD_STREAMING) {
        assert_true(rig_ready(rig, busy, &times, 0));
        rig_write(busy, "ol", 2);
        assert_int_equal(fiber_start(wait_for_it, w, "waiter"), RC_OK);
        fiber_yield();
    }
    if (held == HELD_HIDDEN) {
        obj_hide(busy, true);
    }
    return busy;
}

static void let_go(struct rig *rig, enum held held, struct objcore **busy)
{
    const struct obj_times times = rig_times();
    if (held != HELD_STREAMING) {
        assert_false(rig_ready(rig, *busy, &times, 0));
        rig_write(*busy, "ol", 2);
    }
    rig_write(*busy, "d", 1);
    assert_int_equal(obj_finish(*busy), RC_OK);
    obj_release(busy);
}

static void act(struct rig *rig, enum deed deed, uint64_t cas)
{
    struct digest key = rig_key(1);
    char text[64];
    struct sb why = sb_of(text, sizeof text);
    switch (deed) {
    case DEED_PUT:
        assert_int_equal(put(rig, CACHE_ALWAYS, &cas, "new"), RC_OK);
        return;
    case DEED_CAS:
        assert_int_equal(put(rig, CACHE_IF_CAS, &cas, "new"), RC_OK);
        return;
    case DEED_REMOVE:
        assert_int_equal(cache_remove(rig->cache, &key, cas), RC_OK);
        return;
    case DEED_PURGE:
        assert_int_equal(cache_purge(rig->cache, &key), 1);
        return;
    case DEED_BAN:
        assert_int_equal(cache_ban(rig->cache, STR("obj.status != 999"), &why), RC_OK);
        return;
    case DEED__COUNT:
        break;
    }
    fail();
}

static void held_and_done(struct rig *rig, enum held held, enum deed deed)
{
    struct digest key = rig_key(1);
    struct waiting w = {.rig = rig, .main = fiber_self()};
    (void)cache_purge(rig->cache, &key);
    rig_put(rig, 1, "before");
    uint64_t cas = cas_now(rig);
    struct objcore *busy = hold(rig, held, &w);
    /* While one streams the number of what stands beside it says nothing about all. */
    bool is_compared = deed == DEED_CAS || deed == DEED_REMOVE;
    if (held == HELD_STREAMING && is_compared) {
        enum rc rc = deed == DEED_CAS ? put(rig, CACHE_IF_CAS, &cas, "x")
                                      : cache_remove(rig->cache, &key, cas);
        assert_int_equal(rc, RC_EXISTS);
        deed = deed == DEED_CAS ? DEED_PUT : DEED_REMOVE;
        cas = 0;
    }
    if (held == HELD_STREAMING && deed == DEED_PURGE) {
        assert_int_equal(cache_purge(rig->cache, &key), 2);
    } else {
        act(rig, deed, cas);
    }
    let_go(rig, held, &busy);
    while (held == HELD_STREAMING && !w.is_over) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    if (held == HELD_STREAMING) {
        assert_string_equal(w.body, "old");
    }
    bool is_put = deed == DEED_PUT || deed == DEED_CAS;
    assert_body(rig, is_put ? "new" : NULL);
    assert_int_equal(live(rig), is_put ? 1 : 0);
}

static void all_that_is_held(void *arg)
{
    struct rig *rig = arg;
    for (enum held held = 0; held < HELD__COUNT; held++) {
        for (enum deed deed = 0; deed < DEED__COUNT; deed++) {
            held_and_done(rig, held, deed);
        }
    }
}

/* Two that come in the middle of one another. */
struct meanwhile {
    struct rig *rig;
    uint64_t cas;
    enum rc rc;
};

static void cas_meanwhile(void *arg)
{
    struct meanwhile *m = arg;
    m->rig->stv.in_final = NULL;
    m->rc = put(m->rig, CACHE_IF_CAS, &m->cas, "winner");
}

static void one_wins(void *arg)
{
    struct rig *rig = arg;
    uint64_t cas = 0;
    assert_int_equal(put(rig, CACHE_ALWAYS, &cas, "before"), RC_OK);
    struct meanwhile m = {.rig = rig, .cas = cas};
    rig->stv.in_final = cas_meanwhile;
    rig->stv.in_final_arg = &m;
    uint64_t mine = cas;
    assert_int_equal(put(rig, CACHE_IF_CAS, &mine, "loser"), RC_EXISTS);
    assert_int_equal(m.rc, RC_OK);
    assert_body(rig, "winner");
    assert_int_equal(live(rig), 1);
    /* A fetch that is about to go live. */
    m.cas = cas_now(rig);
    struct lookup_req req = rig_req(1);
    req.always_miss = true;
    struct lookup found;
    assert_int_equal(cache_lookup(rig->cache, &req, &found), RC_OK);
    const struct obj_times times = rig_times();
    assert_true(rig_ready(rig, found.busy, &times, 0) || true);
    rig->stv.in_final = cas_meanwhile;
    assert_int_equal(obj_finish(found.busy), RC_OK);
    obj_release(&found.busy);
    /* It was in the head already, without a number: so the other lost. */
    assert_int_equal(m.rc, RC_EXISTS);
    assert_int_equal(live(rig), 1);
}

static void no_room(void *arg)
{
    struct rig *rig = arg;
    uint64_t cas = 0;
    assert_int_equal(put(rig, CACHE_ALWAYS, &cas, "before"), RC_OK);
    uint64_t mine = cas;
    atomic_store(&rig->stv.fail_newobj, 1);
    assert_int_equal(put(rig, CACHE_IF_CAS, &mine, "x"), RC_NOSPACE);
    atomic_store(&rig->stv.fail_alloc, 1);
    assert_int_equal(put(rig, CACHE_IF_CAS, &mine, "x"), RC_NOSPACE);
    atomic_store(&rig->stv.fail_final, 1);
    assert_int_equal(put(rig, CACHE_IF_CAS, &mine, "x"), RC_NOSPACE);
    assert_int_equal(cas_now(rig), cas);
    assert_body(rig, "before");
    assert_int_equal(live(rig), 1);
    assert_true(fake_evict(&rig->stv));
    assert_body(rig, NULL);
}

/* ---- eight readers ---- */

enum { READERS = 8, SWAPS = 400 };

struct many {
    struct rig *rig;
    struct latch done;
    _Atomic bool is_over;
    _Atomic unsigned reads;
    _Atomic unsigned readers;
};

static uint64_t number_in(struct objcore *oc)
{
    size_t len;
    enum rc rc;
    char *body = rig_body(oc, &len, &rc);
    assert_int_equal(rc, RC_EOF);
    assert_int_equal(len, 8);
    char text[9] = {0};
    memcpy(text, body, 8);
    free(body);
    return strtoull(text, NULL, 10);
}

static void read_on(void *arg)
{
    struct many *m = arg;
    static const char variants[] = "abc";
    unsigned n = atomic_fetch_add(&m->readers, 1);
    char mine = variants[n % 3];
    uint64_t last_cas = 0;
    uint64_t last = 0;
    while (!atomic_load(&m->is_over)) {
        struct cache_seen seen = find(m->rig, &mine);
        assert_non_null(seen.oc);
        assert_true(seen.cas >= last_cas);
        last_cas = seen.cas;
        uint64_t number = number_in(seen.oc);
        assert_true(number >= last);
        last = number;
        obj_release(&seen.oc);

        struct lookup_req req = rig_req(1);
        req.match = match;
        req.match_arg = &mine;
        struct lookup found;
        assert_int_equal(cache_lookup(m->rig->cache, &req, &found), RC_OK);
        assert_int_equal(found.kind, LOOKUP_HIT);
        number = number_in(found.oc);
        assert_true(number >= last);
        last = number;
        rig_release(&found);
        atomic_fetch_add(&m->reads, 1);
        fiber_yield();
    }
    latch_down(&m->done);
}

static void eight_readers(void *arg)
{
    struct rig *rig = arg;
    struct many m = {.rig = rig};
    uint64_t cas = 0;
    unsigned wins = 0;
    assert_int_equal(put(rig, CACHE_ALWAYS, &cas, "00000000"), RC_OK);
    latch_init(&m.done, READERS);
    for (unsigned i = 0; i < READERS; i++) {
        rig_start(rig, i % run_loops(rig->run), read_on, &m);
    }
    for (unsigned i = 1; i < SWAPS || atomic_load(&m.reads) < 1000; i++) {
        char body[16];
        (void)snprintf(body, sizeof body, "%08u", 10 * i % 100000000);
        fetch_variant(rig, "a", body);
        fetch_variant(rig, "b", body);
        fetch_variant(rig, "c", body);
        cas = cas_now(rig);
        (void)snprintf(body, sizeof body, "%08u", (10 * i + 1) % 100000000);
        assert_int_equal(put(rig, CACHE_IF_CAS, &cas, body), RC_OK);
        wins++;
        fiber_yield();
    }
    atomic_store(&m.is_over, true);
    latch_wait(&m.done);
    assert_true(wins > 0);
    assert_int_equal(live(rig), 1);
}

/* ---- many writers with one number ---- */

struct writers {
    struct rig *rig;
    struct latch done;
    _Atomic uint64_t wins;
};

static void count_up(void *arg)
{
    struct writers *w = arg;
    for (unsigned i = 0; i < 100;) {
        struct cache_seen seen = find(w->rig, NULL);
        uint64_t number = number_in(seen.oc);
        obj_release(&seen.oc);
        char body[16];
        (void)snprintf(body, sizeof body, "%08u", (unsigned)(number + 1) % 100000000);
        uint64_t cas = seen.cas;
        if (put(w->rig, CACHE_IF_CAS, &cas, body) == RC_OK) {
            atomic_fetch_add(&w->wins, 1);
            i++;
        }
        fiber_yield();
    }
    latch_down(&w->done);
}

static void every_win_counts(void *arg)
{
    struct rig *rig = arg;
    struct writers w = {.rig = rig};
    uint64_t cas = 0;
    assert_int_equal(put(rig, CACHE_ALWAYS, &cas, "00000000"), RC_OK);
    latch_init(&w.done, 6);
    for (unsigned i = 0; i < 6; i++) {
        rig_start(rig, i % run_loops(rig->run), count_up, &w);
    }
    latch_wait(&w.done);
    struct cache_seen seen = find(rig, NULL);
    assert_int_equal(number_in(seen.oc), atomic_load(&w.wins));
    assert_int_equal(number_in(seen.oc), 600);
    obj_release(&seen.oc);
}

/* ---- running them ---- */

static void alone(fiber_fn *fn)
{
    for (uint64_t seed = 0; seed <= 3; seed++) {
        const struct rig_conf conf = {.seed = seed};
        rig_run(&conf, fn);
    }
}

static void on_loops(fiber_fn *fn)
{
    const struct rig_conf conf = {.loops = 3};
    rig_run(&conf, fn);
}

#define ALONE(name, fn)                                                                            \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        alone(fn);                                                                                 \
    }
#define ON_LOOPS(name, fn)                                                                         \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        on_loops(fn);                                                                              \
    }
ALONE(what_is_there_is_compared, comparing)
ALONE(what_cannot_be_used_is_not_there, time_and_bans)
ALONE(bans_on_requests_are_for_requests, bans_on_requests)
ALONE(attributes_are_kept, attributes)
ALONE(siblings_go_together, siblings)
ALONE(what_is_held_is_never_inserted_later, all_that_is_held)
ALONE(of_two_with_one_number_one_wins, one_wins)
ALONE(without_room_nothing_changes, no_room)
ON_LOOPS(readers_never_miss_and_never_go_back, eight_readers)
ON_LOOPS(no_win_is_lost, every_win_counts)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_is_compared),
        cmocka_unit_test(what_cannot_be_used_is_not_there),
        cmocka_unit_test(bans_on_requests_are_for_requests),
        cmocka_unit_test(attributes_are_kept),
        cmocka_unit_test(siblings_go_together),
        cmocka_unit_test(what_is_held_is_never_inserted_later),
        cmocka_unit_test(of_two_with_one_number_one_wins),
        cmocka_unit_test(without_room_nothing_changes),
        cmocka_unit_test(readers_never_miss_and_never_go_back),
        cmocka_unit_test(no_win_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
