/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The log of bans: what was acknowledged is there for the next worker, whatever ended this one;
 * what is damaged ends it; what is forgotten gives its room back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rng.h"
#include "store/ban_log.h"
#include "store/vault_priv.h"

#define STORE "(bans)"

/* What a reader finds. */
struct seen {
    unsigned count;
    uint64_t first, last;
    bool is_right;
};

static size_t text_of(uint64_t seq, char *buf, size_t size)
{
    int n = snprintf(buf, size, "ban number %llu %.*s", (unsigned long long)seq, (int)(seq % 50),
                     "..................................................");
    CHECK(n > 0 && (size_t)n < size);
    return (size_t)n;
}

static void on_ban(void *arg, uint64_t seq, uint64_t time_ns, struct str bytes)
{
    struct seen *seen = arg;
    char buf[128];
    struct str want = {buf, text_of(seq, buf, sizeof buf)};
    seen->first = seen->count == 0 ? seq : seen->first;
    seen->is_right = (seen->count == 0 || seq > seen->last) && str_eq(bytes, want) &&
                     time_ns == seq * 7 && (seen->count == 0 || seen->is_right);
    seen->last = seq;
    seen->count++;
}

static struct seen look(struct ban_log *log)
{
    struct seen seen = {0};
    ban_log_read(log, on_ban, &seen);
    CHECK(seen.count == 0 || seen.is_right);
    return seen;
}

static void append(struct ban_log *log, uint64_t seq)
{
    char buf[128];
    struct str text = {buf, text_of(seq, buf, sizeof buf)};
    CHECK(ban_log_append(log, seq, seq * 7, text) == RC_OK);
}

static struct ban_log *open_log(struct vault_link *link)
{
    struct ban_log *log = NULL;
    CHECK(ban_log_open(link, &log) == RC_OK);
    return log;
}

/* ---- from worker to worker ---- */

typedef void work_fn(struct vault_link *link, uint64_t arg);

/* Ends by SIGKILL if `work` returns. */
static void worker(struct vault *vault, work_fn *work, uint64_t arg)
{
    assert_int_equal(vault_next_worker(vault), RC_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct vault_link *link = vault_attach(&vault);
        work(link, arg);
        (void)kill(getpid(), SIGKILL);
    }
    vault_forked(vault);
    struct pollfd p = {.fd = vault_poll_fd(vault), .events = POLLIN};
    do {
        assert_int_equal(poll(&p, 1, -1), 1);
        vault_receive(vault);
    } while ((p.revents & POLLHUP) == 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    vault_receive(vault);
}

static void adds_ten(struct vault_link *link, uint64_t first)
{
    struct ban_log *log = open_log(link);
    CHECK(ban_log_first(log) == 1);
    struct seen seen = look(log);
    CHECK(seen.count == first - 1);
    CHECK(seen.last == first - 1);
    for (uint64_t seq = first; seq < first + 10; seq++) {
        append(log, seq);
    }
}

static void workers_hand_it_on(void **state)
{
    (void)state;
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    for (uint64_t first = 1; first < 60; first += 10) {
        worker(vault, adds_ten, first);
        assert_int_equal(vault_files(vault), 1);
    }
    assert_int_equal(vault_rejected(vault), 0);
    vault_free(&vault);
}

/* Many, with most of them forgotten, so that the file is changed for a shorter one. */
static void forgets(struct vault_link *link, uint64_t first)
{
    struct ban_log *log = open_log(link);
    uint64_t from = ban_log_first(log);
    CHECK(from == (first == 1 ? 1 : first - 10));
    CHECK(look(log).count == first - from);
    for (uint64_t seq = first; seq < first + 5000; seq++) {
        append(log, seq);
    }
    uint64_t most = 0;
    uint64_t forgotten = 0;
    ban_log_size(log, &most, &forgotten);
    CHECK(forgotten == 0);
    ban_log_forget(log, first + 4990);
    uint64_t bytes = 0;
    ban_log_size(log, &bytes, &forgotten);
    CHECK(bytes < most / 100);
    CHECK(forgotten == 0);
    CHECK(ban_log_first(log) == first + 4990);
    CHECK(look(log).count == 10);
}

static void what_is_forgotten_gives_its_room_back(void **state)
{
    (void)state;
    struct vault *vault = NULL;
    assert_int_equal(vault_new(&vault), RC_OK);
    for (unsigned i = 0; i < 4; i++) {
        worker(vault, forgets, 1 + 5000 * i);
        assert_int_equal(vault_files(vault), 1);
    }
    vault_free(&vault);
}

/* All are forgotten: numbers go on where they were. */
static void numbers_do_not_begin_anew(void **state)
{
    (void)state;
    struct vault_link *link = vault_link__alone();
    struct ban_log *log = open_log(link);
    for (uint64_t seq = 1; seq < 5000; seq++) {
        append(log, seq);
    }
    ban_log_forget(log, 10000);
    assert_int_equal(ban_log_first(log), 5000);
    assert_int_equal(look(log).count, 0);
    append(log, 5000);
    assert_int_equal(ban_log_first(log), 5000);
    assert_int_equal(look(log).first, 5000);
    ban_log_close(&log);
    vault_link_free(&link);
}

/* ---- damage ---- */

/* A log of 20 in a file of ours. */
static int made_file(void)
{
    static const char name[] = "objmapper bans test";
    struct vault_link *link = vault_link__alone();
    struct ban_log *log = open_log(link);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        append(log, seq);
    }
    uint64_t bytes = 0;
    uint64_t forgotten = 0;
    ban_log_size(log, &bytes, &forgotten);
    /* The log's descriptor is its own affair; find the file among ours. */
    int fd = -1;
    for (int i = 3; i < 64 && fd < 0; i++) {
        char path[32];
        char target[64];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", i);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0 && strncmp(target, "/memfd:objmapper bans (", 23) == 0) {
            struct stat st;
            assert_int_equal(fstat(i, &st), 0);
            fd = memfd_create(name, MFD_CLOEXEC);
            assert_int_equal(ftruncate(fd, st.st_size), 0);
            char block[4096];
            for (off_t at = 0; at < st.st_size; at += (off_t)sizeof block) {
                assert_int_equal(pread(i, block, sizeof block, at), sizeof block);
                assert_int_equal(pwrite(fd, block, sizeof block, at), sizeof block);
            }
        }
    }
    ban_log_close(&log);
    vault_link_free(&link);
    assert_true(fd >= 0);
    return fd;
}

static int copy_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    int copy = memfd_create("objmapper copy", MFD_CLOEXEC);
    char block[4096];
    for (off_t at = 0; at < st.st_size; at += (off_t)sizeof block) {
        assert_int_equal(pread(fd, block, sizeof block, at), sizeof block);
        assert_int_equal(pwrite(copy, block, sizeof block, at), sizeof block);
    }
    return copy;
}

static struct seen seen_in(int take_fd)
{
    struct vault_link *link = vault_link__alone();
    vault_link__inherit(link, STORE, VAULT_BANS, 0, take_fd);
    struct ban_log *log = open_log(link);
    struct seen seen = look(log);
    /* It can be gone on with. */
    uint64_t next = ban_log_first(log) > 1000 ? ban_log_first(log) : 1000;
    append(log, next);
    CHECK(look(log).last == next);
    ban_log_close(&log);
    vault_link_free(&link);
    return seen;
}

static void damage_ends_it(void **state)
{
    (void)state;
    int fd = made_file();
    assert_int_equal(seen_in(copy_of(fd)).count, 20);
    struct rng rng = {.state = 5};
    for (unsigned i = 0; i < 400; i++) {
        int copy = copy_of(fd);
        unsigned char byte = 0;
        off_t at = (off_t)rng_below(&rng, 1600);
        assert_int_equal(pread(copy, &byte, 1, at), 1);
        byte = (unsigned char)(byte ^ (1 + rng_below(&rng, 255)));
        assert_int_equal(pwrite(copy, &byte, 1, at), 1);
        /* Each that is still there is right (look checks that), and they are the first ones. */
        struct seen seen = seen_in(copy);
        assert_true(seen.count <= 20);
        assert_true(seen.count == 0 || (seen.first == 1 && seen.last == seen.count));
    }
    int less = copy_of(fd);
    assert_int_equal(ftruncate(less, 100), 0);
    assert_int_equal(seen_in(less).count, 0);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_hand_it_on),
        cmocka_unit_test(what_is_forgotten_gives_its_room_back),
        cmocka_unit_test(numbers_do_not_begin_anew),
        cmocka_unit_test(damage_ends_it),
    };
    return cmocka_run_group_tests_name("store/ban_log", tests, NULL, NULL);
}
