/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Kill at every numbered store.  A worker runs a script of stores, replacements, purges, new times
 * and evictions, and notes in shared memory what it was about to do and what it has acknowledged;
 * it dies at step n.  Its successor, from what the vault holds, must find every acknowledged
 * object with the right bytes and none that is dead or replaced.  For all n; and every few steps
 * the successor dies during its recovery too, and a third worker is asked.
 *
 * And a worker that works to its end, then one that purges while it resurrects and dies at step n:
 * a third one must find nothing of what was purged, reached by the second or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model.h"
#include "store/store_priv.h"
#include "store/vault.h"

#define ENTRIES_MAX 512
#define KEYS 8
#define DIED 77
#define STORE_BYTES MIB(1)

enum noted { NOTHING, FINAL_BEGUN, FINAL_DONE, DEAD_BEGUN, DEAD_DONE };

struct entry {
    _Atomic int noted;
    _Atomic int retimed; /* 1 begun, 2 done */
    bool supersedes;
    uint64_t key, revision, body_len, oa_len;
};

struct journal {
    _Atomic unsigned count;
    _Atomic uint64_t newest_revision;
    struct entry entry[ENTRIES_MAX];
};

/* ---- dying ---- */

struct countdown {
    unsigned left; /* 0: never */
    unsigned steps;
};

static void count_down(void *arg)
{
    struct countdown *c = arg;
    c->steps++;
    if (c->left > 0 && --c->left == 0) {
        _exit(DIED);
    }
}

/* ---- the worker that works ---- */

struct holder {
    struct stv_obj *obj;
    struct entry *entry;
};

struct script {
    struct stevedore *stv;
    struct journal *journal;
    struct rng rng;
    struct holder held[ENTRIES_MAX];
};

static void kill_holder(struct holder *h)
{
    h->entry->noted = DEAD_BEGUN;
    stv_dead(h->obj);
    h->entry->noted = DEAD_DONE;
    stv_deleteobj(&h->obj);
}

static bool grab(void *owner)
{
    return ((struct holder *)owner)->obj != NULL;
}

static void evict(void *owner)
{
    struct holder *h = owner;
    /* A batch may hold an object whose replacement killed it meanwhile. */
    if (h->obj != NULL) {
        kill_holder(h);
    }
}

static const struct stv_owner_ops owner_ops = {.grab = grab, .evict = evict};

static uint64_t some_length(struct rng *r)
{
    switch (rng_below(r, 8)) {
    case 0:
        return 0;
    case 1:
    case 2:
        return KIB(30) + rng_below(r, KIB(90));
    default:
        return rng_below(r, KIB(8));
    }
}

static void store_one(struct script *s)
{
    struct journal *j = s->journal;
    unsigned i = j->count;
    CHECK(i < ENTRIES_MAX);
    struct entry *e = &j->entry[i];
    struct holder *h = &s->held[i];
    *e = (struct entry){.key = rng_below(&s->rng, KEYS),
                        .body_len = some_length(&s->rng),
                        .oa_len = 1 + rng_below(&s->rng, 900),
                        .supersedes = rng_below(&s->rng, 2) == 0};
    e->revision = stv_revision_next(s->stv);
    j->newest_revision = e->revision;
    j->count = i + 1;
    *h = (struct holder){.entry = e};
    uint64_t estimate = rng_below(&s->rng, 2) == 0 ? e->body_len + e->oa_len : 0;
    if (model_fetch(s->stv, &s->rng, e->key, e->revision, e->body_len, estimate, &h->obj) !=
        RC_OK) {
        return;
    }
    struct stv_record record = model_record(e->key, e->revision);
    record.supersedes = e->supersedes;
    stv_set_owner(h->obj, h);
    struct stv_obj *obj = h->obj;
    /* Not evictable before it is live. */
    h->obj = NULL;
    e->noted = FINAL_BEGUN;
    if (model_final(obj, e->key, e->oa_len, &record) != RC_OK) {
        e->noted = NOTHING;
        stv_deleteobj(&obj);
        return;
    }
    h->obj = obj;
    e->noted = FINAL_DONE;
    for (unsigned k = 0; e->supersedes && k < i; k++) {
        if (s->held[k].obj != NULL && s->held[k].entry->key == e->key) {
            kill_holder(&s->held[k]);
        }
    }
}

static void retime(struct holder *h)
{
    struct stv_record record = model_record(h->entry->key, h->entry->revision);
    record.ttl_ns = 99;
    record.t_origin_ns = 98;
    record.grace_ns = 97;
    h->entry->retimed = 1;
    stv_retime(h->obj, &record);
    h->entry->retimed = 2;
}

static void work(struct script *s, unsigned ops)
{
    for (unsigned i = 0; i < ops; i++) {
        unsigned count = s->journal->count;
        struct holder *h = count > 0 ? &s->held[rng_below(&s->rng, count)] : NULL;
        if (h == NULL || h->obj == NULL || rng_below(&s->rng, 4) != 0) {
            store_one(s);
        } else if (rng_below(&s->rng, 2) == 0) {
            kill_holder(h);
        } else {
            retime(h);
        }
    }
}

/* ---- the worker that checks ---- */

struct verdict {
    struct journal *journal;
    bool seen[ENTRIES_MAX];
    uint64_t last_revision;
};

/* Whether a newer one that supersedes it was acknowledged, or is there. */
static bool is_hidden(const struct verdict *v, const struct entry *e)
{
    for (unsigned i = 0; i < v->journal->count; i++) {
        const struct entry *s = &v->journal->entry[i];
        if (s->supersedes && s->key == e->key && s->revision > e->revision &&
            (s->noted > FINAL_BEGUN || v->seen[i])) {
            return true;
        }
    }
    return false;
}

static void check_times(const struct entry *e, const struct stv_record *have)
{
    struct stv_record old = model_record(e->key, e->revision);
    bool is_old = have->ttl_ns == old.ttl_ns && have->t_origin_ns == old.t_origin_ns;
    bool is_new = have->ttl_ns == 99 && have->t_origin_ns == 98 && have->grace_ns == 97;
    CHECK(is_old || e->retimed != 0);
    CHECK(is_new || e->retimed != 2);
    CHECK(is_old || is_new || have->ttl_ns == 0);
}

static bool found(void *arg, const struct stv_found *f)
{
    struct verdict *v = arg;
    struct journal *j = v->journal;
    CHECK(f->record.revision < v->last_revision);
    v->last_revision = f->record.revision;
    for (unsigned i = 0; i < j->count; i++) {
        const struct entry *e = &j->entry[i];
        if (e->revision != f->record.revision) {
            continue;
        }
        CHECK(!v->seen[i]);
        v->seen[i] = true;
        CHECK(e->noted != NOTHING);
        CHECK(e->noted != DEAD_DONE);
        CHECK(!is_hidden(v, e));
        struct digest d = model_digest(e->key);
        CHECK(digest_eq(&d, &f->record.digest));
        CHECK(f->record.supersedes == e->supersedes);
        CHECK(f->record.ban_seq == e->key);
        CHECK(f->oa.len == e->oa_len);
        check_times(e, &f->record);
        CHECK(stv_verify(f->obj) == RC_OK);
        CHECK(model_check(f->obj, e->key, e->revision, e->body_len));
        return false;
    }
    CHECK(false); /* never stored */
    return false;
}

static void check(struct stevedore *stv, struct journal *j)
{
    struct verdict v = {.journal = j, .last_revision = UINT64_MAX};
    stv_resurrect(stv, found, &v);
    for (unsigned i = 0; i < j->count; i++) {
        const struct entry *e = &j->entry[i];
        CHECK(v.seen[i] || e->noted != FINAL_DONE || is_hidden(&v, e));
    }
    CHECK(stv_revision_next(stv) > j->newest_revision);
    struct stv_stats stats;
    stv_stat(stv, &stats);
    CHECK(stats.objects == 0);
    CHECK(stats.files == 0);
}

/* ---- what a worker is to do ---- */

enum task { WORK, RECOVER, PURGE, JUDGE };

struct worker {
    enum task task;
    uint64_t seed;
    unsigned ops;
    struct countdown countdown;
    struct journal *journal;
};

/* ---- the worker that purges while it resurrects ---- */

struct purger {
    struct stevedore *stv;
    struct journal *journal;
    struct rng rng;
    struct countdown *countdown;
    struct holder held[ENTRIES_MAX];
    bool is_purged[KEYS];
};

static struct entry *entry_of(struct journal *j, uint64_t revision)
{
    for (unsigned i = 0; i < j->count; i++) {
        if (j->entry[i].revision == revision) {
            return &j->entry[i];
        }
    }
    return NULL;
}

/* As the cache does it: what it has dies, and what it has not heard of. */
static void purge(struct purger *p, uint64_t key)
{
    struct journal *j = p->journal;
    p->is_purged[key] = true;
    for (unsigned i = 0; i < j->count; i++) {
        struct entry *e = &j->entry[i];
        e->noted = e->key == key && e->noted == FINAL_DONE ? DEAD_BEGUN : e->noted;
    }
    struct digest digest = model_digest(key);
    stv_entomb(p->stv, &digest, NULL, NULL);
    for (unsigned i = 0; i < j->count; i++) {
        if (p->held[i].obj != NULL && j->entry[i].key == key) {
            stv_deleteobj(&p->held[i].obj);
        }
    }
    for (unsigned i = 0; i < j->count; i++) {
        struct entry *e = &j->entry[i];
        e->noted = e->key == key && e->noted == DEAD_BEGUN ? DEAD_DONE : e->noted;
    }
    count_down(p->countdown);
}

static bool found_between_purges(void *arg, const struct stv_found *f)
{
    struct purger *p = arg;
    struct entry *e = entry_of(p->journal, f->record.revision);
    CHECK(e != NULL);
    /* The one that is being reported at this moment, or any other. */
    CHECK(!p->is_purged[e->key]);
    count_down(p->countdown);
    if (rng_below(&p->rng, 4) == 0) {
        purge(p, rng_below(&p->rng, 4) == 0 ? e->key : rng_below(&p->rng, KEYS));
    }
    if (!p->is_purged[e->key]) {
        p->held[e - p->journal->entry].obj = f->obj;
    }
    return !p->is_purged[e->key];
}

static void purge_and_resurrect(struct worker *w, struct stevedore *stv)
{
    static struct purger p;
    p.stv = stv;
    p.journal = w->journal;
    p.rng.state = w->seed;
    p.countdown = &w->countdown;
    purge(&p, rng_below(&p.rng, KEYS));
    stv_resurrect(stv, found_between_purges, &p);
    /* Nothing is left to be found: what lives is the caller's. */
    struct digest digest = model_digest(rng_below(&p.rng, KEYS));
    stv_entomb(stv, &digest, NULL, NULL);
}

/* ---- forking ---- */

static void be_worker(struct vault **vault, struct worker *w)
{
    struct vault_link *link = vault_attach(vault);
    struct stv_seam seam = {.step = count_down, .arg = &w->countdown};
    struct stv_conf conf = {.name = "s0",
                            .kind = STV_MEMORY,
                            .bytes = STORE_BYTES,
                            .vault = link,
                            .owner_ops = &owner_ops,
                            .seam = &seam};
    static struct script s;
    s.journal = w->journal;
    s.rng.state = w->seed;
    CHECK(stv_open(&conf, &s.stv) == RC_OK);
    vault_link_settle(link);
    if (w->task == WORK) {
        work(&s, w->ops);
    } else if (w->task == PURGE) {
        purge_and_resurrect(w, s.stv);
    } else if (w->task == JUDGE) {
        check(s.stv, w->journal);
    }
    _exit(w->task != JUDGE && w->countdown.left > 0 ? 1 : 0);
}

static int run_worker(struct vault *vault, struct worker *w)
{
    assert_int_equal(vault_next_worker(vault), RC_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        be_worker(&vault, w);
    }
    vault_forked(vault);
    struct pollfd p = {.fd = vault_poll_fd(vault), .events = POLLIN};
    do {
        assert_true(poll(&p, 1, -1) == 1);
        /* Whatever the dead worker sent is still there for vault_next_worker. */
        if ((p.revents & POLLHUP) == 0) {
            vault_receive(vault);
        }
    } while ((p.revents & POLLHUP) == 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* True while the script was long enough to die at step n. */
static bool die_at(struct journal *journal, uint64_t seed, unsigned ops, unsigned n)
{
    memset(journal, 0, sizeof *journal);
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    struct worker w = {.task = WORK, .seed = seed, .ops = ops, .journal = journal};
    w.countdown.left = n;
    int status = run_worker(vault, &w);
    if (n % 5 == 0) {
        struct worker again = {.task = RECOVER, .journal = journal};
        again.countdown.left = 1 + n % 17;
        (void)run_worker(vault, &again);
    }
    struct worker judge = {.task = JUDGE, .journal = journal};
    assert_int_equal(run_worker(vault, &judge), 0);
    vault_receive(vault);
    /* Only catalog and slabs are left. */
    assert_int_equal(vault_files(vault), 2);
    assert_int_equal(vault_rejected(vault), 0);
    vault_free(&vault);
    return status == DIED;
}

/* From `first` on, every `stride`-th step. */
static unsigned kill_from(uint64_t seed, unsigned ops, unsigned first, unsigned stride)
{
    struct journal *journal =
        mmap(NULL, sizeof *journal, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(journal != MAP_FAILED);
    unsigned n = first;
    while (die_at(journal, seed, ops, n)) {
        n += stride;
    }
    unsigned dead = 0;
    for (unsigned i = 0; i < journal->count; i++) {
        dead += journal->entry[i].noted == DEAD_DONE;
    }
    assert_int_equal(munmap(journal, sizeof *journal), 0);
    assert_true(n > 5 * ops);
    return dead;
}

static void dies_at_every_step(void **state)
{
    (void)state;
    assert_true(kill_from(1, 24, 1, 1) > 3);
    assert_true(kill_from(2, 40, 2, 3) > 3);
}

/* Long enough to fill the store and evict. */
static void dies_while_evicting(void **state)
{
    (void)state;
    assert_true(kill_from(3, 150, 11, 29) > 50);
}

/* Whether the one that purges lived long enough to die at step n. */
static bool purge_and_die_at(struct journal *journal, uint64_t seed, unsigned n)
{
    memset(journal, 0, sizeof *journal);
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    struct worker first = {.task = WORK, .seed = seed, .ops = 40, .journal = journal};
    assert_int_equal(run_worker(vault, &first), 0);
    struct worker purger = {.task = PURGE, .seed = seed, .journal = journal};
    purger.countdown.left = n;
    int status = run_worker(vault, &purger);
    assert_true(status == DIED || status == 1);
    struct worker judge = {.task = JUDGE, .journal = journal};
    assert_int_equal(run_worker(vault, &judge), 0);
    vault_receive(vault);
    assert_int_equal(vault_files(vault), 2);
    vault_free(&vault);
    return status == DIED;
}

static void purged_while_it_resurrects_and_dies(void **state)
{
    (void)state;
    struct journal *journal =
        mmap(NULL, sizeof *journal, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(journal != MAP_FAILED);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        unsigned n = 1;
        while (purge_and_die_at(journal, seed, n)) {
            n++;
        }
        assert_true(n > 20);
    }
    assert_int_equal(munmap(journal, sizeof *journal), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_at_every_step),
        cmocka_unit_test(dies_while_evicting),
        cmocka_unit_test(purged_while_it_resurrects_and_dies),
    };
    return cmocka_run_group_tests_name("store/kill", tests, NULL, NULL);
}
