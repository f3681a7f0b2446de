/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The manager's table of files, from both ends of the socket; and the argument of -s. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model.h"
#include "store/vault_priv.h"

static int file_with(char c)
{
    int fd = memfd_create("objmapper test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, &c, 1), 1);
    return fd;
}

static char char_in(int fd)
{
    char c = 0;
    CHECK(pread(fd, &c, 1, 0) == 1);
    return c;
}

/* Runs `work` as a worker of the vault; the child's status. */
static int worker(struct vault *vault, void (*work)(struct vault_link *))
{
    assert_int_equal(vault_next_worker(vault), RC_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct vault_link *link = vault_attach(&vault);
        work(link);
        vault_link_free(&link);
        _exit(0);
    }
    vault_forked(vault);
    struct pollfd p = {.fd = vault_poll_fd(vault), .events = POLLIN};
    do {
        assert_int_equal(poll(&p, 1, -1), 1);
        vault_receive(vault);
    } while ((p.revents & POLLHUP) == 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    vault_receive(vault);
    return status;
}

static void put(struct vault_link *link, const char *store, uint64_t id, char c)
{
    int fd = file_with(c);
    CHECK(vault_link__put(link, store, VAULT_BODY, id, fd) == RC_OK);
    (void)close(fd);
}

/* ---- no room in the kernel ---- */

static bool no_buffers;
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    if (no_buffers) {
        errno = ENOBUFS;
        return -1;
    }
    return __real_sendmsg(fd, msg, flags);
}

/* The socket is writable all the while: nobody may wait for that for ever. */
static void a_put_gives_up(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    struct vault_link *link = vault_link__alone();
    vault_link__connect(link, pair[0]);
    int fd = file_with('x');
    no_buffers = true;
    assert_int_equal(vault_link__try_put(link, "one", VAULT_BODY, 1, fd), RC_AGAIN);
    assert_int_equal(vault_link__put(link, "one", VAULT_BODY, 1, fd), RC_NOSPACE);
    no_buffers = false;
    assert_int_equal(vault_link__put(link, "one", VAULT_BODY, 1, fd), RC_OK);
    (void)close(fd);
    (void)close(pair[1]);
    vault_link_free(&link);
}

static void puts_and_drops(struct vault_link *link)
{
    put(link, "one", 1, 'a');
    put(link, "one", 2, 'b');
    put(link, "two", 1, 'c');
    put(link, "one", 2, 'd'); /* replaces */
    vault_link__drop(link, "one", VAULT_BODY, 1);
    vault_link__drop(link, "one", VAULT_SLAB, 1); /* there is none */
}

static void finds_them(struct vault_link *link)
{
    CHECK(vault_link__take(link, "one", VAULT_BODY, 1) == -1);
    CHECK(char_in(vault_link__take(link, "one", VAULT_BODY, 2)) == 'd');
    CHECK(vault_link__take(link, "one", VAULT_BODY, 2) == -1);
    CHECK(vault_link__take(link, "two", VAULT_SLAB, 1) == -1);
    CHECK(char_in(vault_link__take(link, "two", VAULT_BODY, 1)) == 'c');
}

static void settles_without_taking_two(struct vault_link *link)
{
    CHECK(vault_link__take(link, "one", VAULT_BODY, 2) >= 0);
    vault_link_settle(link);
    CHECK(vault_link__take(link, "two", VAULT_BODY, 1) == -1);
}

static void files_pass_from_worker_to_worker(void **state)
{
    (void)state;
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    assert_int_equal(worker(vault, puts_and_drops), 0);
    assert_int_equal(vault_files(vault), 2);
    assert_int_equal(worker(vault, finds_them), 0);
    assert_int_equal(worker(vault, finds_them), 0);
    assert_int_equal(vault_files(vault), 2);
    assert_int_equal(worker(vault, settles_without_taking_two), 0);
    assert_int_equal(vault_files(vault), 1);
    vault_clear(vault);
    assert_int_equal(vault_files(vault), 0);
    assert_int_equal(vault_rejected(vault), 0);
    vault_free(&vault);
    assert_null(vault);
}

/* More than the socket holds: puts wait for the manager. */
static void puts_many(struct vault_link *link)
{
    for (uint64_t id = 0; id < 3000; id++) {
        put(link, "one", id, (char)('a' + id % 26));
        if (id % 3 == 0) {
            vault_link__drop(link, "one", VAULT_BODY, id);
        }
    }
}

static void many_files(void **state)
{
    (void)state;
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    assert_int_equal(worker(vault, puts_many), 0);
    assert_int_equal(vault_files(vault), 2000);
    assert_int_equal(vault_rejected(vault), 0);
    vault_free(&vault);
}

/* Without a manager that reads, drops wait in the worker and go out before what follows. */
static void drops_wait(void **state)
{
    (void)state;
    struct vault *manager = NULL;
    assert_int_equal(vault_new(&manager), RC_OK);
    assert_int_equal(vault_next_worker(manager), RC_OK);
    /* Both ends in one process: the worker's end by hand. */
    struct vault_table none = {{NULL}, 0};
    struct vault_link *link = vault_link__alone();
    vault_link__connect(link, vault__hand_over(manager, &none));
    put(link, "one", 1, 'a');
    for (uint64_t id = 10; id < 5000; id++) {
        vault_link__drop(link, "one", VAULT_BODY, id);
    }
    vault_link__drop(link, "one", VAULT_BODY, 1);
    vault_receive(manager);
    assert_int_equal(vault_files(manager), 1);
    for (uint64_t id = 2; id < 100; id++) {
        vault_link__drop(link, "one", VAULT_BODY, id);
        vault_receive(manager);
    }
    assert_int_equal(vault_files(manager), 0);
    assert_int_equal(vault_rejected(manager), 0);
    /* The manager goes; the worker does not mind. */
    vault_free(&manager);
    put(link, "one", 5, 'x');
    vault_link__drop(link, "one", VAULT_BODY, 5);
    vault_link_free(&link);
}

static void send_raw(int fd, const void *bytes, size_t len, const int *fds, size_t fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    char copy[256];
    assert_true(len <= sizeof copy);
    memcpy(copy, bytes, len);
    struct iovec iov = {.iov_base = copy, .iov_len = len};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > 0) {
        mh.msg_control = control.bytes;
        mh.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &mh, 0), (ssize_t)len);
}

static unsigned open_files(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 200; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* A worker that has lost its mind can fill the table, and do nothing else. */
static void nonsense_is_rejected(void **state)
{
    (void)state;
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    assert_int_equal(vault_next_worker(vault), RC_OK);
    struct vault_table none = {{NULL}, 0};
    int raw = vault__hand_over(vault, &none);
    int file = file_with('x');
    unsigned open_before = open_files();
    struct vault_msg good = {.magic = VAULT_MSG_MAGIC, .op = VAULT_PUT};
    vault_key_make(&good.key, "one", VAULT_BODY, 1);
    int many[8] = {file, file, file, file, file, file, file, file};
    struct vault_msg bad[8];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        bad[i] = good;
    }
    bad[0].magic++;
    bad[1].op = 0;
    bad[2].op = VAULT_DROP_STORE + 1;
    bad[3].key.role = 0;
    bad[4].key.role = VAULT_BANS + 1;
    bad[5].key.store[0] = '\0';
    memset(bad[6].key.store, 'x', sizeof bad[6].key.store);
    bad[7].key.pad = 1;
    uint64_t rejected = 0;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        send_raw(raw, &bad[i], sizeof bad[i], &file, 1);
        rejected++;
    }
    send_raw(raw, &good, sizeof good, NULL, 0); /* put without a file */
    send_raw(raw, &good, sizeof good - 1, &file, 1);
    char longer[sizeof good + 8] = {0};
    memcpy(longer, &good, sizeof good);
    send_raw(raw, longer, sizeof longer, &file, 1);
    struct vault_msg drop = good;
    drop.op = VAULT_DROP;
    send_raw(raw, &drop, sizeof drop, &file, 1); /* drop with one */
    send_raw(raw, &good, sizeof good, many, 8);  /* too many */
    rejected += 5;
    vault_receive(vault);
    assert_int_equal(vault_rejected(vault), rejected);
    assert_int_equal(vault_files(vault), 0);
    assert_int_equal(open_files(), open_before);
    send_raw(raw, &good, sizeof good, many, 2); /* one more than needed */
    vault_receive(vault);
    assert_int_equal(vault_files(vault), 1);
    assert_int_equal(open_files(), open_before + 1);
    assert_int_equal(close(raw), 0);
    assert_int_equal(close(file), 0);
    vault_free(&vault);
}

/* At the manager's limit the descriptor is lost, and that is noticed. */
static void managers_limit(void **state)
{
    (void)state;
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    assert_int_equal(vault_next_worker(vault), RC_OK);
    struct vault_table none = {{NULL}, 0};
    struct vault_link *link = vault_link__alone();
    vault_link__connect(link, vault__hand_over(vault, &none));
    for (uint64_t id = 0; id < 20; id++) {
        put(link, "one", id, 'a');
    }
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit few = {.rlim_cur = 16, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    vault_receive(vault);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(vault_files(vault) < 16);
    assert_int_equal(vault_files(vault) + vault_rejected(vault), 20);
    vault_link_free(&link);
    vault_free(&vault);
}

/* ---- -s ---- */

struct conf_case {
    const char *spec;
    enum rc rc;
    const char *name;
    enum stv_kind kind;
    uint64_t bytes; /* 0: whatever the machine has */
};

static const struct conf_case confs[] = {
    {"memory,100M", RC_OK, "", STV_MEMORY, MIB(100)},
    {"malloc,1g", RC_OK, "", STV_MEMORY, MIB(1024)},
    {"default,1.5g", RC_OK, "", STV_MEMORY, MIB(1536)},
    {"big=malloc,2GB", RC_OK, "big", STV_MEMORY, MIB(2048)},
    {"s_1-x=memory,1048576", RC_OK, "s_1-x", STV_MEMORY, MIB(1)},
    {"Transient=memory,8m", RC_OK, "Transient", STV_TRANSIENT, MIB(8)},
    {"malloc", RC_OK, "", STV_MEMORY, 0},
    {"Transient=malloc", RC_OK, "Transient", STV_TRANSIENT, 0},
    {"memory,1k", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,100", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,1x", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,-1m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,1.m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,1.5.5m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,99999999p", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,18446744073709551616", RC_INVALID, NULL, STV_MEMORY, 0},
    {"memory,1m,2m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"", RC_INVALID, NULL, STV_MEMORY, 0},
    {"=memory,1m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"1a=memory,1m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"a b=memory,1m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"a2345678901234567890123456789012=memory,1m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"disk,1m", RC_INVALID, NULL, STV_MEMORY, 0},
    {"file,/tmp/x,1m", RC_UNSUPPORTED, NULL, STV_MEMORY, 0},
};

static void confs_are_parsed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(confs); i++) {
        const struct conf_case *c = &confs[i];
        struct stv_conf conf;
        char why[128];
        assert_int_equal(stv_conf_parse(&conf, c->spec, why, sizeof why), c->rc);
        if (c->rc != RC_OK) {
            assert_true(strlen(why) > 0);
            continue;
        }
        assert_string_equal(conf.name, c->name);
        assert_int_equal(conf.kind, c->kind);
        assert_true(c->bytes == 0 ? conf.bytes > MIB(64) : conf.bytes == c->bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_pass_from_worker_to_worker),
        cmocka_unit_test(many_files),
        cmocka_unit_test(drops_wait),
        cmocka_unit_test(nonsense_is_rejected),
        cmocka_unit_test(managers_limit),
        cmocka_unit_test(confs_are_parsed),
        cmocka_unit_test(a_put_gives_up),
    };
    return cmocka_run_group_tests_name("store/vault", tests, NULL, NULL);
}
