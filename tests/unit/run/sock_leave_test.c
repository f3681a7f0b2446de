/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Sockets that change hands: whether one is still alive, and how it leaves its loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>

#include "run/sock.h"
#include "support/run_fiber.h"

static const struct sock_limit NO_LIMIT = {.deadline_ns = NEVER, .idle_ns = NEVER};

static void open_pair(struct sock pair[2])
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(sock_open(&pair[0], &fds[0]), RC_OK);
    assert_int_equal(sock_open(&pair[1], &fds[1]), RC_OK);
}

static void write_abc(struct sock *sock)
{
    char buf[] = "abc";
    struct iovec iov = {buf, 3};
    assert_int_equal(sock_writev(sock, &iov, 1, NO_LIMIT, false, NULL), RC_OK);
}

static void read_abc(struct sock *sock)
{
    char buf[8];
    size_t got = 0;
    assert_int_equal(sock_read(sock, buf, sizeof buf, NO_LIMIT, &got), RC_OK);
    assert_int_equal(got, 3);
    assert_memory_equal(buf, "abc", 3);
}

static void quiet_or_not(void *arg)
{
    (void)arg;
    struct sock pair[2];
    open_pair(pair);
    assert_true(sock_is_quiet(&pair[0]));
    write_abc(&pair[1]);
    assert_false(sock_is_quiet(&pair[0]));
    read_abc(&pair[0]);
    assert_true(sock_is_quiet(&pair[0]));
    /* Told at once, before the loop has heard of it. */
    sock_close(&pair[1]);
    assert_false(sock_is_quiet(&pair[0]));
    sock_close(&pair[0]);
}

static void a_quiet_sock_is_told_from_a_dead_one(void **state)
{
    (void)state;
    run_once(quiet_or_not, NULL);
}

static void move_over(void *arg)
{
    (void)arg;
    struct sock pair[2];
    struct sock other;
    open_pair(pair);
    write_abc(&pair[1]);
    int fd = sock_detach(&pair[0]);
    assert_true(fd >= 0);
    assert_int_equal(pair[0].fd, -1);
    sock_close(&pair[0]);
    assert_int_equal(sock_open(&other, &fd), RC_OK);
    read_abc(&other);
    write_abc(&other);
    read_abc(&pair[1]);
    sock_close(&other);
    sock_close(&pair[1]);
}

static void a_descriptor_leaves_its_sock_with_all_that_has_come(void **state)
{
    (void)state;
    run_once(move_over, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_sock_is_told_from_a_dead_one),
        cmocka_unit_test(a_descriptor_leaves_its_sock_with_all_that_has_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
