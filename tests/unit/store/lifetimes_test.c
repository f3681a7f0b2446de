/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Thousands of random steps in the lives of objects, in a store that is too small for them, beside
 * a model that knows every byte.  Any engine has to pass; the table at the end lists them.
 *
 * Held across everything: leases (also on objects that grow, moved, died) and duplicates of lent
 * descriptors.  Their bytes must stay what they were.
 *
 * CHECK and not cmocka's assertions, which cannot report from the thread of a loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"
#include "support/run_fiber.h"

#define OBJECTS 400
#define LEASES 48
#define LENT 24

enum life { NONE, GROWING, LIVE, DEAD };

struct model_obj {
    enum life life;
    struct stv_obj *obj;
    struct model *model;
    uint64_t id;
    uint64_t revision;
    uint64_t body_len; /* written so far */
    uint64_t target_len;
};

struct held {
    struct stv_lease lease;
    uint64_t id, revision;
    uint64_t len; /* how much of it was written when it was taken */
};

struct lent {
    int fd;
    uint64_t id, revision, len;
};

struct model {
    struct stevedore *stv;
    struct rng rng;
    struct model_obj objs[OBJECTS];
    struct held held[LEASES];
    struct lent lent[LENT];
    uint64_t evicted;
    uint64_t finals;
    uint64_t refused;
};

static bool grab(void *owner)
{
    struct model_obj *o = owner;
    return o->life == LIVE;
}

static void evict(void *owner)
{
    struct model_obj *o = owner;
    CHECK(o->life == LIVE);
    stv_dead(o->obj);
    o->life = DEAD;
    o->model->evicted++;
    /* Some wait for a while, as for a grace period. */
    if (rng_below(&o->model->rng, 16) != 0) {
        stv_deleteobj(&o->obj);
        o->life = NONE;
    }
}

static const struct stv_owner_ops owner_ops = {.grab = grab, .evict = evict};

static uint64_t some_length(struct rng *r)
{
    switch (rng_below(r, 16)) {
    case 0:
        return 0;
    case 1:
        return rng_below(r, rng_below(r, 4) == 0 ? MIB(4) : KIB(600));
    case 4:
    case 5:
        return (rng_below(r, 2) == 0 ? KIB(56) : KIB(120)) + rng_below(r, KIB(16));
    default:
        return rng_below(r, KIB(1) << rng_below(r, 6));
    }
}

static void begin(struct model *m, struct model_obj *o)
{
    static uint64_t ids;
    *o = (struct model_obj){.model = m, .id = ++ids, .revision = stv_revision_next(m->stv)};
    o->target_len = some_length(&m->rng);
    uint64_t estimate = 0;
    if (rng_below(&m->rng, 2) == 0) {
        estimate = o->target_len + rng_below(&m->rng, 400);
    } else if (rng_below(&m->rng, 8) == 0) {
        estimate = some_length(&m->rng);
    }
    if (stv_newobj(m->stv, estimate, &o->obj) == RC_OK) {
        o->life = GROWING;
    }
}

static void finish(struct model *m, struct model_obj *o)
{
    stv_set_owner(o->obj, o);
    struct stv_record record = model_record(o->id, o->revision);
    /* Evicting for the attributes' room may need an owner that is alive: not this one yet. */
    if (model_final(o->obj, o->id, 1 + rng_below(&m->rng, OA_MAX), &record) == RC_OK) {
        o->life = LIVE;
        m->finals++;
        return;
    }
    m->refused++;
    stv_deleteobj(&o->obj);
    o->life = NONE;
}

static void grow(struct model *m, struct model_obj *o)
{
    if (o->body_len == o->target_len) {
        finish(m, o);
        return;
    }
    void *ptr = NULL;
    size_t len = 0;
    uint64_t want = 1 + rng_below(&m->rng, rng_below(&m->rng, 4) == 0 ? MIB(1) : KIB(20));
    if (stv_alloc(o->obj, want, &ptr, &len) != RC_OK) {
        m->refused++;
        stv_deleteobj(&o->obj);
        o->life = NONE;
        return;
    }
    CHECK(len > 0);
    CHECK(len <= want + 4096);
    uint64_t used = o->target_len - o->body_len < len ? o->target_len - o->body_len : len;
    if (rng_below(&m->rng, 4) == 0) {
        used = rng_below(&m->rng, used + 1);
    }
    /* The part that goes back may hold anything. */
    memset(ptr, 0xee, len);
    model_fill(o->id, o->revision, o->body_len, ptr, used);
    stv_commit(o->obj, used);
    o->body_len += used;
    CHECK(stv_body_len(o->obj) == o->body_len);
}

static void check_held(struct held *h)
{
    if (h->lease.seg == NULL) {
        return;
    }
    if (h->lease.ptr != NULL) {
        CHECK(model_is(h->id, h->revision, h->lease.body_off, h->lease.ptr, h->len));
    }
}

static void hold(struct model *m, struct model_obj *o)
{
    struct held *h = &m->held[rng_below(&m->rng, LEASES)];
    if (h->lease.seg != NULL) {
        check_held(h);
        stv_rel(&h->lease);
    }
    uint64_t off = rng_below(&m->rng, o->body_len + 10);
    enum rc rc = stv_ref(o->obj, off, rng_below(&m->rng, 8) != 0, &h->lease);
    if (rc != RC_OK) {
        CHECK(rc == RC_NOT_FOUND);
        CHECK(off >= o->body_len);
        CHECK(h->lease.seg == NULL);
        return;
    }
    uint64_t written = o->body_len > off ? o->body_len - off : 0;
    CHECK(h->lease.len >= written);
    CHECK(h->lease.body_off == off);
    h->id = o->id;
    h->revision = o->revision;
    h->len = written;
    check_held(h);
}

static void check_lent(const struct lent *l)
{
    static unsigned char buf[KIB(64)];
    for (uint64_t at = 0; l->fd >= 0 && at < l->len;) {
        ssize_t n = pread(l->fd, buf, sizeof buf, (off_t)at);
        CHECK(n > 0);
        uint64_t len = (uint64_t)n < l->len - at ? (uint64_t)n : l->len - at;
        CHECK(model_is(l->id, l->revision, at, buf, len));
        at += len;
    }
}

static void lend(struct model *m, struct model_obj *o)
{
    struct obj_fd_payload p;
    enum rc rc = stv_payload(o->obj, &p);
    if (rc != RC_OK) {
        CHECK(rc == RC_UNSUPPORTED || rc == RC_LIMIT);
        return;
    }
    CHECK(p.len == o->body_len);
    CHECK(((p.capabilities & OBJ_CAP_COMPLETE) != 0) == (o->life != GROWING));
    CHECK(((p.capabilities & OBJ_CAP_SEALED) != 0) == (o->life != GROWING));
    struct lent *l = &m->lent[rng_below(&m->rng, LENT)];
    if (l->fd >= 0) {
        check_lent(l);
        CHECK(close(l->fd) == 0);
    }
    *l = (struct lent){.fd = dup(p.fd), .id = o->id, .revision = o->revision, .len = p.len};
    if (o->life != GROWING) {
        CHECK(ftruncate(l->fd, 0) != 0);
        CHECK(pwrite(l->fd, "x", 1, 0) < 0);
    }
}

static void kill_it(struct model *m, struct model_obj *o)
{
    if (o->life == LIVE && rng_below(&m->rng, 2) == 0) {
        stv_dead(o->obj);
        o->life = DEAD;
        return;
    }
    stv_deleteobj(&o->obj);
    o->life = NONE;
}

static void step(struct model *m)
{
    struct model_obj *o = &m->objs[rng_below(&m->rng, OBJECTS)];
    if (o->life == NONE) {
        /* Those that grow cannot be evicted: more would only fill the store. */
        struct model_obj *growing = NULL;
        unsigned count = 0;
        for (size_t i = 0; i < OBJECTS; i++) {
            if (m->objs[i].life == GROWING && rng_below(&m->rng, ++count) == 0) {
                growing = &m->objs[i];
            }
        }
        if (count < 12) {
            begin(m, o);
            return;
        }
        o = growing;
    }
    uint64_t dice = rng_below(&m->rng, 16);
    if (o->life == GROWING) {
        if (dice < 2) {
            hold(m, o);
        } else if (dice == 2) {
            lend(m, o);
        } else if (dice == 3 && rng_below(&m->rng, 8) == 0) {
            kill_it(m, o);
        } else {
            for (unsigned i = 0; i < 16 && o->life == GROWING; i++) {
                grow(m, o);
            }
        }
        return;
    }
    if (dice < 4) {
        hold(m, o);
    } else if (dice < 6) {
        lend(m, o);
    } else if (dice < 8) {
        CHECK(model_check(o->obj, o->id, o->revision, o->body_len));
    } else if (dice == 8 && rng_below(&m->rng, 4) == 0) {
        kill_it(m, o);
    } else if (dice == 9 && o->life == LIVE) {
        struct stv_record record = model_record(o->id, o->revision);
        stv_retime(o->obj, &record);
        CHECK(stv_is_verified(o->obj));
    } else if (o->life == DEAD) {
        stv_deleteobj(&o->obj);
        o->life = NONE;
    } else {
        stv_touch(o->obj);
    }
}

/* What the kernel says our memfds hold; the duplicates that the test keeps are left out. */
static uint64_t bytes_of_our_files(const struct model *m)
{
    uint64_t bytes = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    struct dirent *e;
    while ((e = readdir(dir)) != NULL) {
        char link[128] = {0};
        int fd = atoi(e->d_name);
        struct stat st;
        if (readlinkat(dirfd(dir), e->d_name, link, sizeof link - 1) < 0 ||
            strstr(link, "memfd:objmapper") == NULL || fstat(fd, &st) != 0) {
            continue;
        }
        bool ours = false;
        for (size_t i = 0; i < LENT; i++) {
            ours = ours || m->lent[i].fd == fd;
        }
        bytes += ours ? 0 : (uint64_t)st.st_blocks * 512;
    }
    CHECK(closedir(dir) == 0);
    return bytes;
}

static void check_accounts(const struct model *m)
{
    struct stv_stats stats;
    stv_stat(m->stv, &stats);
    CHECK(stats.bytes_used == bytes_of_our_files(m));
    CHECK(stats.bytes_used <= stats.bytes_max);
    uint64_t live = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        live += m->objs[i].life == LIVE;
    }
    CHECK(stats.objects == live);
}

static void end(struct model *m)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        struct model_obj *o = &m->objs[i];
        if (o->life == LIVE) {
            CHECK(model_check(o->obj, o->id, o->revision, o->body_len));
        }
        if (o->life != NONE) {
            stv_deleteobj(&o->obj);
        }
        o->life = NONE;
    }
    for (size_t i = 0; i < LEASES; i++) {
        check_held(&m->held[i]);
        if (m->held[i].lease.seg != NULL) {
            stv_rel(&m->held[i].lease);
        }
    }
    struct stv_stats stats;
    stv_stat(m->stv, &stats);
    CHECK(stats.objects == 0);
    CHECK(stats.files == 0);
    CHECK(stats.bytes_lent == 0);
    CHECK(stats.allocs == stats.frees);
    /* A few empty slabs keep their pages for the next object. */
    CHECK(stats.bytes_used <= stats.bytes_max / 6);
    check_accounts(m);
    stv_close(&m->stv);
    for (size_t i = 0; i < LENT; i++) {
        check_lent(&m->lent[i]);
        if (m->lent[i].fd >= 0) {
            CHECK(close(m->lent[i].fd) == 0);
        }
    }
}

struct life_case {
    const char *name;
    enum stv_kind kind;
    uint64_t bytes;
    uint64_t seed;
    unsigned steps;
};

static void live(void *arg)
{
    const struct life_case *c = arg;
    struct model *m = calloc(1, sizeof *m);
    m->rng.state = c->seed;
    for (size_t i = 0; i < LENT; i++) {
        m->lent[i].fd = -1;
    }
    struct stv_conf conf = {
        .name = "s0", .kind = c->kind, .bytes = c->bytes, .owner_ops = &owner_ops};
    CHECK((stv_open(&conf, &m->stv)) == RC_OK);
    for (unsigned i = 0; i < c->steps; i++) {
        step(m);
        if (i % 256 == 0) {
            check_accounts(m);
        }
    }
    /* The test is about reuse: it must have come to that. */
    CHECK(m->finals > c->steps / 20);
    CHECK(m->evicted > 0);
    end(m);
    free(m);
}

static const struct life_case cases[] = {
    {"memory, 12 MiB", STV_MEMORY, MIB(12), 1, 8000},
    {"memory, 12 MiB", STV_MEMORY, MIB(12), 2, 8000},
    {"memory, 2 MiB", STV_MEMORY, MIB(2), 3, 8000},
    {"memory, 1 MiB", STV_MEMORY, MIB(1), 4, 8000},
    {"transient, 8 MiB", STV_TRANSIENT, MIB(8), 5, 8000},
};

/* On a fiber and by a fake clock: what waits for room then takes no time. */
static void lives(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct life_case c = cases[i];
        struct run_conf conf = run_test_conf();
        conf.fake_clock = true;
        run_once_with(&conf, live, &c);
    }
}

static void lives_on_a_thread(void **state)
{
    (void)state;
    struct life_case c = {"memory on a thread", STV_MEMORY, MIB(8), 6, 6000};
    live(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives),
        cmocka_unit_test(lives_on_a_thread),
    };
    return cmocka_run_group_tests_name("store/lifetimes", tests, NULL, NULL);
}
