/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Workers that do nothing but exchange objects, each killed before one of the stores that recovery
 * depends on; the next one finds of each key one whole object: the last that was acknowledged, or
 * the one that was under way.
 *
 * What a worker has done is told in shared memory: `meant` before each exchange, `done` after it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cursor.h"
#include "base/rng.h"
#include "base/sb.h"
#include "cache/cache_swap.h"
#include "store/store_priv.h"
#include "store/vault.h"
#include "support/run_fiber.h"

enum { KEYS = 6, WORKERS = 60, VARIANTS = 3 };

struct told {
    struct told_key {
        _Atomic uint64_t meant;
        _Atomic uint64_t done;
        _Atomic uint64_t cas;
    } key[KEYS];
    _Atomic uint64_t swaps;
};
static struct told *told;

struct child {
    struct cache *cache;
    struct stevedore *stv;
    struct stevedore *list[2];
    struct rng rng;
    uint64_t steps_left; /* then it dies; 0: not yet */
};

static struct digest digest_of(unsigned key)
{
    struct rng rng = {.state = key + 1};
    struct digest digest;
    for (size_t i = 0; i < sizeof digest.bytes; i++) {
        digest.bytes[i] = (unsigned char)rng_u64(&rng);
    }
    return digest;
}

static const struct obj_times forever = {.ttl_ns = NEVER};

/* Every eighth byte of a body begins its number again, and the head says it too. */
static struct str head_of(uint64_t number, char buf[8])
{
    struct sb sb = sb_of(buf, 8);
    put_u64(&sb, number);
    return sb_str(&sb);
}

static uint64_t number_in(struct str head)
{
    struct cursor c = cursor_of(head.ptr, head.len);
    uint64_t number = cursor_u64(&c);
    CHECK(c.rc == RC_OK);
    return number;
}

static size_t length_of(uint64_t number)
{
    static const size_t lengths[] = {8, 64, 1000, 5000, 70000, 300000};
    return lengths[number % ARRAY_SIZE(lengths)] / 8 * 8;
}

static void fill(char *to, size_t bytes, uint64_t number)
{
    for (size_t at = 0; at < bytes; at += 8) {
        memcpy(to + at, &number, 8);
    }
}

/* ---- what is done ---- */

static bool match_none(void *arg, const struct objcore *oc)
{
    (void)arg;
    (void)oc;
    return false;
}

static void fetch_variant(struct child *c, unsigned key, uint64_t number, const char *vary)
{
    /* Nothing of the key goes for it but the same variant. */
    struct lookup_req req = {.digest = digest_of(key), .always_miss = true, .match = match_none};
    struct lookup found;
    char buf[8];
    CHECK(cache_lookup(c->cache, &req, &found) == RC_OK);
    struct objcore *busy = found.busy;
    CHECK(obj_store(busy, c->list, 8) == RC_OK);
    CHECK(obj_set(busy, OA_HTTP, head_of(number, buf)) == RC_OK);
    CHECK(obj_set(busy, OA_VARY, str_of(vary)) == RC_OK);
    obj_set_times(busy, &forever);
    CHECK(obj_ready(busy));
    void *to;
    size_t room;
    CHECK(obj_space(busy, 8, &to, &room) == RC_OK);
    fill(to, 8, number);
    obj_grown(busy, 8);
    CHECK(obj_finish(busy) == RC_OK);
    obj_release(&busy);
}

static void exchange(struct child *c, unsigned key, uint64_t number, uint64_t *cas)
{
    char buf[8];
    struct cache_put put;
    size_t len = length_of(number);
    struct cache_swap swap = {.digest = digest_of(key),
                              .when = *cas == 0 ? CACHE_IF_NONE : CACHE_IF_CAS,
                              .cas = *cas,
                              .times = forever};
    swap.attrs[OA_HTTP] = head_of(number, buf);
    CHECK(cache_put_begin(c->cache, c->list, len, cache_attr_bytes(&swap), &put) == RC_OK);
    for (size_t at = 0; at < len;) {
        void *to;
        size_t room;
        CHECK(cache_put_space(&put, len - at, &to, &room) == RC_OK);
        room = room / 8 * 8;
        fill(to, room, number);
        cache_put_grown(&put, room);
        at += room;
    }
    atomic_store(&told->key[key].meant, number);
    CHECK(cache_put_commit(&put, &swap, cas) == RC_OK);
    atomic_store(&told->key[key].cas, *cas);
    atomic_store(&told->key[key].done, number);
    atomic_fetch_add(&told->swaps, 1);
}

/* ---- what is found ---- */

struct lot {
    uint64_t oldest, newest;
    unsigned count;
};

static bool note(void *arg, const struct objcore *oc)
{
    struct lot *lot = arg;
    uint64_t number = number_in(obj_get(oc, OA_HTTP));
    lot->oldest = lot->count == 0 || number < lot->oldest ? number : lot->oldest;
    lot->newest = number > lot->newest ? number : lot->newest;
    lot->count++;
    return false;
}

/* Of this key there is one state, that was acknowledged or was on its way. */
static void check_key(struct child *c, unsigned key, uint64_t *cas)
{
    struct lot lot = {0};
    struct told_key *t = &told->key[key];
    uint64_t done = atomic_load(&t->done);
    uint64_t meant = atomic_load(&t->meant);
    struct cache_ask all = {.digest = digest_of(key), .match = note, .match_arg = &lot};
    struct cache_seen seen;
    CHECK(cache_find(c->cache, &all, &seen) == RC_NOT_FOUND);
    CHECK(lot.count > 0 || done == 0);
    *cas = seen.cas;
    if (lot.count == 0) {
        return;
    }
    CHECK(lot.oldest == lot.newest); /* no sibling of an older one is left */
    CHECK(lot.newest >= done);
    CHECK(lot.newest <= meant);
    const struct cache_ask any = {.digest = digest_of(key)};
    CHECK(cache_find(c->cache, &any, &seen) == RC_OK);
    CHECK(stv_verify(obj_stv(seen.oc)) == RC_OK);
    uint64_t number = number_in(obj_get(seen.oc, OA_HTTP));
    uint64_t off = 0;
    struct stv_lease lease;
    enum rc rc;
    while ((rc = obj_next(seen.oc, off, true, NEVER, &lease)) == RC_OK) {
        for (size_t at = 0; at < lease.len; at += 8) {
            CHECK(memcmp((const char *)lease.ptr + at, &number, 8) == 0);
        }
        off += lease.len;
        stv_rel(&lease);
    }
    CHECK(rc == RC_EOF);
    CHECK(off == (obj_get(seen.oc, OA_VARY).ptr == NULL ? length_of(number) : 8));
    obj_release(&seen.oc);
    /* Its number holds over the restart, unless it grew by a sibling or by what was on its way. */
    CHECK(seen.cas >= atomic_load(&t->cas));
    CHECK(seen.cas == atomic_load(&t->cas) || lot.count > 1 || number > done || done == 0);
    atomic_store(&t->done, number);
    atomic_store(&t->meant, number);
    atomic_store(&t->cas, seen.cas);
}

static void work(void *arg)
{
    struct child *c = arg;
    uint64_t cas[KEYS];
    for (unsigned k = 0; k < KEYS; k++) {
        check_key(c, k, &cas[k]);
    }
    c->steps_left = 1 + rng_below(&c->rng, 500);
    for (;;) {
        unsigned k = (unsigned)rng_below(&c->rng, KEYS);
        uint64_t number = atomic_load(&told->key[k].done);
        if (number > 0 && rng_below(&c->rng, 2) == 0) {
            static const char *const names[VARIANTS] = {"a", "b", "c"};
            fetch_variant(c, k, number, names[rng_below(&c->rng, VARIANTS)]);
            const struct cache_ask any = {.digest = digest_of(k)};
            struct cache_seen seen;
            CHECK(cache_find(c->cache, &any, &seen) == RC_OK);
            cas[k] = seen.cas;
            obj_release(&seen.oc);
        }
        exchange(c, k, number + 1, &cas[k]);
        fiber_yield();
    }
}

static void step(void *arg)
{
    struct child *c = arg;
    if (c->steps_left > 0 && --c->steps_left == 0) {
        (void)kill(getpid(), SIGKILL);
    }
}

static NORETURN void child_main(struct vault *vault, uint64_t seed)
{
    struct child c = {.rng = {.state = seed}};
    const struct stv_seam seam = {.step = step, .arg = &c};
    struct vault_link *link = vault_attach(&vault);
    const struct stv_conf conf = {.name = "s0",
                                  .kind = STV_MEMORY,
                                  .bytes = (uint64_t)64 << 20,
                                  .owner_ops = cache_owner_ops(),
                                  .seam = &seam,
                                  .vault = link};
    CHECK(stv_open(&conf, &c.stv) == RC_OK);
    vault_link_settle(link);
    c.list[0] = c.stv;
    const struct cache_conf cache_conf = {
        .revisions = c.stv, .resurrections = 1, .recovering = c.list};
    CHECK(cache_new(&cache_conf, &c.cache) == RC_OK);
    cache_resurrect(c.cache, c.stv);
    struct run_conf run_conf = run_test_conf();
    run_once_with(&run_conf, work, &c);
    _exit(1);
}

static void worker(struct vault *vault, uint64_t seed)
{
    assert_int_equal(vault_next_worker(vault), RC_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child_main(vault, seed);
    }
    vault_forked(vault);
    struct pollfd p = {.fd = vault_poll_fd(vault), .events = POLLIN};
    do {
        assert_int_equal(poll(&p, 1, -1), 1);
        vault_receive(vault);
    } while ((p.revents & POLLHUP) == 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    vault_receive(vault);
}

static void what_was_acknowledged_is_found(void **state)
{
    (void)state;
    struct vault *vault = NULL;
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(told, MAP_FAILED);
    assert_int_equal(vault_new(&vault), RC_OK);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker(vault, i);
    }
    assert_int_equal(vault_rejected(vault), 0);
    assert_true(atomic_load(&told->swaps) >= WORKERS);
    vault_free(&vault);
    assert_int_equal(munmap(told, sizeof *told), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_acknowledged_is_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
