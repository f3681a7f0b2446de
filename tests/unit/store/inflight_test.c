/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bytes in flight (architecture: a socket goes on sending the pages it was given, whatever becomes
 * of them).  A body is sent with sendfile to a client that does not read; the object dies, the
 * store is filled with other bytes again and again, and in one case the worker is killed and its
 * successor fills the store.  Then the client reads: every byte must be the old one.
 *
 * What the kernel does with a page in flight when its file is cut is its own affair and has
 * changed; so that is not left to the bytes: files that were lent are remembered, and each call
 * that would cut or punch one fails the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "model.h"
#include "support/evictable.h"
#include "store/vault.h"

#define BODY_BYTES MIB(3)
#define STORE_BYTES MIB(12)
#define FIRST_ID 1

/* ---- files that were lent ---- */

#define LENT_MAX 64
/* Shared with the workers that a test forks. */
struct lent {
    _Atomic size_t count;
    ino_t file[LENT_MAX];
};
static struct lent *lent;

static int set_up(void **state)
{
    (void)state;
    lent = mmap(NULL, sizeof *lent, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return lent == MAP_FAILED ? -1 : 0;
}

static ino_t file_of(int fd)
{
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    return st.st_ino;
}

static enum rc lend(struct stv_obj *obj, struct obj_fd_payload *out)
{
    enum rc rc = stv_payload(obj, out);
    if (rc == RC_OK) {
        CHECK(lent->count < LENT_MAX);
        lent->file[lent->count] = file_of(out->fd);
        lent->count++;
    }
    return rc;
}

static void check_not_lent(int fd)
{
    for (size_t i = 0; i < lent->count; i++) {
        CHECK(lent->file[i] != file_of(fd));
    }
}

/* In the place of the linker's own names for them (--wrap). */
int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len)
{
    check_not_lent(fd);
    return __real_ftruncate(fd, len);
}

int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
    if (mode != 0) { /* else it only grows */
        check_not_lent(fd);
    }
    return __real_fallocate(fd, mode, off, len);
}

/* ---- sockets ---- */

struct pair {
    int server;
    int client;
};

static struct pair tcp_pair(void)
{
    struct pair p;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    p.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p.client, (struct sockaddr *)&addr, len), 0);
    p.server = accept(listener, NULL, NULL);
    assert_true(p.server >= 0);
    assert_int_equal(close(listener), 0);
    return p;
}

static struct pair unix_pair(void)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    return (struct pair){.server = fd[0], .client = fd[1]};
}

/* As much as the socket takes; returns how much. */
static uint64_t send_all_it_takes(int fd, const struct obj_fd_payload *p)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    off_t at = (off_t)p->off;
    while ((uint64_t)at < p->off + p->len) {
        if (sendfile(fd, p->fd, &at, p->len - (uint64_t)at) <= 0) {
            break;
        }
    }
    return (uint64_t)at - p->off;
}

static void drain_and_compare(int fd, uint64_t sent)
{
    static unsigned char buf[KIB(64)];
    uint64_t at = 0;
    assert_true(sent > KIB(64));
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        assert_true(n >= 0);
        if (n == 0) {
            break;
        }
        assert_true(model_is(FIRST_ID, 1, at, buf, (size_t)n));
        at += (uint64_t)n;
    }
    assert_int_equal(at, sent);
}

/* ---- objects that may be evicted at any time ---- */

static void store_one(struct stevedore *stv, struct owner *o, uint64_t id, uint64_t body_len)
{
    struct rng rng = {.state = id};
    struct stv_record record = model_record(id, 1);
    enum rc rc = model_fetch(stv, &rng, id, 1, body_len, body_len + 100, &o->obj);
    CHECK(rc == RC_OK);
    struct stv_obj *obj = o->obj;
    o->obj = NULL;
    stv_set_owner(obj, o);
    CHECK(model_final(obj, id, 100, &record) == RC_OK);
    o->obj = obj;
}

#define REFILLS 12
/* More than the store holds, three times over. */
static void refill(struct stevedore *stv)
{
    static struct owner owners[REFILLS];
    for (unsigned i = 0; i < REFILLS; i++) {
        store_one(stv, &owners[i], 1000 + i, BODY_BYTES);
    }
    struct stv_stats stats;
    stv_stat(stv, &stats);
    CHECK(stats.evicted > REFILLS / 2);
    for (unsigned i = 0; i < REFILLS; i++) {
        if (owners[i].obj != NULL) {
            stv_deleteobj(&owners[i].obj);
        }
    }
}

static struct stevedore *open_store(enum stv_kind kind, struct vault_link *link)
{
    struct stv_conf conf = {
        .name = "s0", .kind = kind, .bytes = STORE_BYTES, .vault = link, .owner_ops = owner_ops()};
    struct stevedore *stv = NULL;
    CHECK(stv_open(&conf, &stv) == RC_OK);
    return stv;
}

static void object_dies(enum stv_kind kind, struct pair pair, bool while_growing)
{
    struct stevedore *stv = open_store(kind, NULL);
    struct owner o = {NULL};
    uint64_t sent = 0;
    struct obj_fd_payload payload;
    if (while_growing) {
        struct rng rng = {.state = 1};
        assert_int_equal(model_fetch(stv, &rng, FIRST_ID, 1, BODY_BYTES, 0, &o.obj), RC_OK);
        assert_int_equal(lend(o.obj, &payload), RC_OK);
        assert_false(payload.capabilities & (OBJ_CAP_SEALED | OBJ_CAP_COMPLETE));
        sent = send_all_it_takes(pair.server, &payload);
        struct stv_record record = model_record(FIRST_ID, 1);
        assert_int_equal(model_final(o.obj, FIRST_ID, 100, &record), RC_OK);
    } else {
        store_one(stv, &o, FIRST_ID, BODY_BYTES);
        assert_int_equal(lend(o.obj, &payload), RC_OK);
        assert_true(payload.capabilities & OBJ_CAP_SEALED);
        sent = send_all_it_takes(pair.server, &payload);
    }
    stv_deleteobj(&o.obj);
    refill(stv);
    assert_int_equal(shutdown(pair.server, SHUT_WR), 0);
    drain_and_compare(pair.client, sent);
    assert_int_equal(close(pair.server), 0);
    assert_int_equal(close(pair.client), 0);
    stv_close(&stv);
}

static void object_dies_tcp(void **state)
{
    (void)state;
    object_dies(STV_MEMORY, tcp_pair(), false);
    object_dies(STV_TRANSIENT, tcp_pair(), false);
}

static void object_dies_unix(void **state)
{
    (void)state;
    object_dies(STV_MEMORY, unix_pair(), false);
    object_dies(STV_TRANSIENT, unix_pair(), false);
}

static void lent_while_growing(void **state)
{
    (void)state;
    object_dies(STV_MEMORY, tcp_pair(), true);
    object_dies(STV_TRANSIENT, unix_pair(), true);
}

/* ---- the worker dies ---- */

static bool purge(void *arg, const struct stv_found *found)
{
    *(bool *)arg |= found->body_len == BODY_BYTES;
    return false;
}

static void first_worker(struct vault **vault, int server, int tell)
{
    struct stevedore *stv = open_store(STV_MEMORY, vault_attach(vault));
    static struct owner o;
    store_one(stv, &o, FIRST_ID, BODY_BYTES);
    struct obj_fd_payload payload;
    CHECK(lend(o.obj, &payload) == RC_OK);
    uint64_t sent = send_all_it_takes(server, &payload);
    CHECK(write(tell, &sent, sizeof sent) == sizeof sent);
    for (;;) {
        (void)pause();
    }
}

static void second_worker(struct vault **vault)
{
    struct stevedore *stv = open_store(STV_MEMORY, vault_attach(vault));
    bool found = false;
    stv_resurrect(stv, purge, &found);
    CHECK(found);
    refill(stv);
    _exit(0);
}

static void worker_dies(void **state)
{
    (void)state;
    struct pair pair = tcp_pair();
    int told[2];
    assert_int_equal(pipe(told), 0);
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    assert_int_equal(vault_next_worker(vault), RC_OK);
    pid_t first = fork();
    if (first == 0) {
        first_worker(&vault, pair.server, told[1]);
    }
    vault_forked(vault);
    uint64_t sent = 0;
    assert_int_equal(read(told[0], &sent, sizeof sent), sizeof sent);
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_int_equal(waitpid(first, NULL, 0), first);
    assert_int_equal(vault_next_worker(vault), RC_OK);
    assert_int_equal(vault_files(vault), 3);
    pid_t second = fork();
    if (second == 0) {
        second_worker(&vault);
    }
    vault_forked(vault);
    int status = 0;
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_int_equal(status, 0);
    vault_receive(vault);
    assert_int_equal(shutdown(pair.server, SHUT_WR), 0);
    drain_and_compare(pair.client, sent);
    assert_int_equal(close(pair.server), 0);
    assert_int_equal(close(pair.client), 0);
    assert_int_equal(close(told[0]), 0);
    assert_int_equal(close(told[1]), 0);
    vault_free(&vault);
}

/* ---- what may not leave by reference ---- */

static void slab_ranges_are_refused(void **state)
{
    (void)state;
    struct stevedore *stv = open_store(STV_MEMORY, NULL);
    struct owner o = {NULL};
    struct obj_fd_payload payload;
    store_one(stv, &o, 7, 1000);
    assert_int_equal(lend(o.obj, &payload), RC_UNSUPPORTED);
    assert_int_equal(payload.fd, -1);
    assert_non_null(stv_body_ptr(o.obj));
    stv_deleteobj(&o.obj);
    store_one(stv, &o, 7, 0);
    assert_int_equal(lend(o.obj, &payload), RC_UNSUPPORTED);
    stv_deleteobj(&o.obj);
    /* Also while it grows and may yet get a file. */
    void *ptr;
    size_t len;
    assert_int_equal(stv_newobj(stv, 0, &o.obj), RC_OK);
    assert_int_equal(lend(o.obj, &payload), RC_UNSUPPORTED);
    assert_int_equal(stv_alloc(o.obj, 100, &ptr, &len), RC_OK);
    stv_commit(o.obj, 100);
    assert_int_equal(lend(o.obj, &payload), RC_UNSUPPORTED);
    stv_deleteobj(&o.obj);
    stv_close(&stv);
}

/* A dropped body that a reader still holds counts as lent, and too many of those stop lending. */
static void lent_bytes_are_bounded(void **state)
{
    (void)state;
    struct stevedore *stv = open_store(STV_MEMORY, NULL);
    struct owner a = {NULL};
    struct owner b = {NULL};
    struct obj_fd_payload payload;
    struct stv_lease lease;
    struct stv_stats stats;
    assert_int_equal(stv_lent_max(stv, MIB(1)), STORE_BYTES / 2);
    store_one(stv, &a, FIRST_ID, BODY_BYTES);
    store_one(stv, &b, 2, BODY_BYTES);
    assert_int_equal(lend(a.obj, &payload), RC_OK);
    assert_int_equal(stv_ref(a.obj, 0, false, &lease), RC_OK);
    assert_null(lease.ptr);
    stv_deleteobj(&a.obj);
    stv_stat(stv, &stats);
    assert_int_equal(stats.bytes_lent, BODY_BYTES);
    assert_int_equal(stats.objects, 1);
    assert_true(stats.bytes_used >= 2 * BODY_BYTES);
    assert_int_equal(lend(b.obj, &payload), RC_LIMIT);
    stv_rel(&lease);
    stv_stat(stv, &stats);
    assert_int_equal(stats.bytes_lent, 0);
    assert_true(stats.bytes_used < 2 * BODY_BYTES);
    assert_int_equal(lend(b.obj, &payload), RC_OK);
    stv_deleteobj(&b.obj);
    stv_close(&stv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_dies_tcp),         cmocka_unit_test(object_dies_unix),
        cmocka_unit_test(lent_while_growing),      cmocka_unit_test(worker_dies),
        cmocka_unit_test(slab_ranges_are_refused), cmocka_unit_test(lent_bytes_are_bounded),
    };
    return cmocka_run_group_tests_name("store/inflight", tests, set_up, NULL);
}
