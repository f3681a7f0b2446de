/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What an entry by key costs below the protocol: CPU time (all threads) of storing, finding and
 * counting, and memory.
 *
 *   kv_bench [KEYS [BYTES [ROUNDS]]]     1000 keys of 1024 bytes, 20 rounds
 *
 * With --tool=callgrind of valgrind the counts are the same every time. */
#include <ftw.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/sema.h"
#include "engine/kv.h"
#include "shm/vsl.h"
#include "shm/vsm.h"
#include "store/vault.h"

struct bench {
    struct engine *engine;
    unsigned long keys;
    size_t bytes;
    unsigned rounds;
    struct post post;
    sem_t done;
    char *value;
    uint64_t heap_before;
    struct stevedore *stv;
};

static uint64_t cpu_ns(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct str key_of(char *buf, size_t size, unsigned long n)
{
    struct sb sb = sb_of(buf, size);
    sb_lit(&sb, "key:");
    sb_u64(&sb, n);
    return sb_str(&sb);
}

typedef void op_fn(struct bench *b, struct kv_session *s, unsigned long n);

static void set_one(struct bench *b, struct kv_session *s, unsigned long n)
{
    char buf[32];
    uint64_t cas;
    const struct kv_value value = {.key = key_of(buf, sizeof buf, n), .len = b->bytes};
    CHECK(kv_store(s, &value, b->value, &cas) == RC_OK);
}

static void get_one(struct bench *b, struct kv_session *s, unsigned long n)
{
    char buf[32];
    struct kv_item item;
    const struct kv_get ask = {.key = key_of(buf, sizeof buf, n)};
    CHECK(kv_get(s, &ask, &item) == RC_OK);
    CHECK(item.len == b->bytes);
    kv_release(&item);
}

static void time_it(struct bench *b, struct kv_session *s, const char *name, op_fn *fn,
                    unsigned rounds)
{
    uint64_t from = cpu_ns();
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned long i = 0; i < b->keys; i++) {
            fn(b, s, i);
            if (i % 50 == 49) {
                fiber_yield(); /* as a loop would: ends a tick, and with it grace periods */
            }
        }
    }
    uint64_t n = (uint64_t)b->keys * rounds;
    printf("%s: %.0f ns\n", name, (double)(cpu_ns() - from) / (double)n);
}

static void run_bench(void *arg)
{
    struct bench *b = arg;
    struct kv_session s = {.engine = b->engine, .listener = "bench"};
    time_it(b, &s, "first set", set_one, 1);
    CHECK(fiber_sleep(200 * NS_PER_MS) == RC_OK);
    struct mallinfo2 heap = mallinfo2();
    struct stv_stats stats;
    stv_stat(b->stv, &stats);
    double keys = (double)b->keys;
    printf("heap %.0f, store %.0f bytes a key of %zu\n",
           ((double)heap.uordblks + (double)heap.hblkhd - (double)b->heap_before) / keys,
           (double)stats.bytes_used / keys, b->bytes);
    if (b->rounds > 0) {
        time_it(b, &s, "set", set_one, b->rounds);
        time_it(b, &s, "get", get_one, b->rounds);
    }
    sema_post(&b->done);
}

static void start(struct post *post, struct loop *loop)
{
    (void)loop;
    CHECK(fiber_start(run_bench, CONTAINER_OF(post, struct bench, post), "bench") == RC_OK);
}

static void loop_started(struct loop *loop, void *arg)
{
    engine_loop_start(((struct bench *)arg)->engine, loop);
}

static void loop_stopped(struct loop *loop, void *arg)
{
    engine_loop_stop(((struct bench *)arg)->engine, loop);
    digest_thread_end();
}

static struct stevedore *open_store(const char *name, enum stv_kind kind, uint64_t bytes,
                                    struct vault_link *link)
{
    struct stv_conf conf = {
        .kind = kind, .bytes = bytes, .owner_ops = cache_owner_ops(), .vault = link};
    memcpy(conf.name, name, strlen(name) + 1);
    struct stevedore *stv = NULL;
    CHECK(stv_open(&conf, &stv) == RC_OK);
    return stv;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st;
    (void)what;
    (void)at;
    return remove(path);
}

int main(int argc, char **argv)
{
    struct bench b = {.keys = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000,
                      .bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024,
                      .rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 20};
    sema_init(&b.done);
    b.value = xmalloc(b.bytes + 1);
    memset(b.value, 'v', b.bytes);
    char dir[] = "/tmp/kv_bench.XXXXXX";
    CHECK(mkdtemp(dir) != NULL);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct vsm_place place = {
        .workdir_fd = dir_fd, .name = VSM_CHILD_DIR, .uid = VSM_SAME_UID, .gid = VSM_SAME_GID};
    struct vsm_set *shm = NULL;
    struct vsl *log = NULL;
    struct params params;
    struct vsc_main main_counters = {0};
    struct vsc_objm objm = {0};
    param_defaults(&params);
    vsl_mask_default(&params);
    CHECK(vsm_set_new(&place, &shm) == RC_OK);
    CHECK(vsl_new(shm, (size_t)4 << 20, &params, NULL, &log) == RC_OK);
    struct vault *vault = NULL;
    CHECK(vault_new(&vault) == RC_OK);
    CHECK(vault_next_worker(vault) == RC_OK);
    struct vault_link *link = vault_attach(&vault);
    uint64_t bytes = (uint64_t)b.keys * (b.bytes + 600) + ((uint64_t)256 << 20);
    struct stevedore *stores[] = {open_store("s0", STV_MEMORY, bytes, link), NULL};
    struct stevedore *transient = open_store("Transient", STV_TRANSIENT, 1 << 24, NULL);
    b.stv = stores[0];
    const struct run_conf run_conf = {.loops = 1,
                                      .offload_threads = 1,
                                      .fibers_max = 64,
                                      .on_start = loop_started,
                                      .on_stop = loop_stopped,
                                      .hook_arg = &b};
    struct run *run = run_new(&run_conf);
    const struct cache_conf cache_conf = {.run = run, .revisions = stores[0]};
    struct cache *cache = NULL;
    CHECK(cache_new(&cache_conf, &cache) == RC_OK);
    const struct engine_conf conf = {.run = run,
                                     .params = &params,
                                     .cache = cache,
                                     .stores = stores,
                                     .transient = transient,
                                     .log = log,
                                     .main = &main_counters,
                                     .objm = &objm,
                                     .identity = "bench"};
    b.engine = engine_new(&conf);
    struct mallinfo2 heap = mallinfo2();
    b.heap_before = heap.uordblks + heap.hblkhd;
    b.post.fn = start;
    CHECK(run_start(run) == RC_OK);
    loop_post(run_loop(run, 0), &b.post);
    sema_wait(&b.done);
    run_stop(run);
    engine_free(&b.engine);
    cache_free(&cache);
    stv_close(&stores[0]);
    stv_close(&transient);
    vault_link_free(&link);
    run_free(&run);
    vsl_free(&log);
    vsm_set_free(&shm, VSM_REMOVE);
    (void)close(dir_fd);
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(b.value);
    sema_fini(&b.done);
    return 0;
}
