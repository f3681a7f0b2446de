/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Sockets: bytes in choppy sizes, both limits, ends and resets, sendfile, idling, connecting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rng.h"
#include "run/run_priv.h"
#include "support/run_fiber.h"

static const struct sock_limit NO_LIMIT = {.deadline_ns = NEVER, .idle_ns = NEVER};

static void must_start(fiber_fn *fn, void *arg)
{
    assert_int_equal(fiber_start(fn, arg, "helper"), RC_OK);
}

static void open_pair(struct sock pair[2])
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(sock_open(&pair[0], &fds[0]), RC_OK);
    assert_int_equal(sock_open(&pair[1], &fds[1]), RC_OK);
    assert_int_equal(fds[0], -1);
    assert_true(pair[0].is_unix);
}

/* A listening socket on loopback and its address. */
static int listen_tcp(struct sockaddr_in *addr, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    *addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(*addr);
    assert_int_equal(bind(fd, (struct sockaddr *)addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)addr, &len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void open_tcp_pair(struct sock pair[2])
{
    struct sockaddr_in addr;
    int listen_fd = listen_tcp(&addr, 8);
    assert_int_equal(sock_connect(&pair[0], (struct sockaddr *)&addr, sizeof(addr), NEVER), RC_OK);
    assert_int_equal(fd_wait_readable(listen_fd, NEVER), RC_OK);
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(sock_open(&pair[1], &fd), RC_OK);
    assert_false(pair[1].is_unix);
    (void)close(listen_fd);
}

/* ---- echo ---- */

enum { ECHO_BYTES = 1500 * 1000 };

struct echo {
    struct sock pair[2];
    struct rng rng;
    uint64_t received;
    bool is_tcp;
};

static unsigned char byte_at(uint64_t at)
{
    return (unsigned char)((at * 2654435761U) >> 13);
}

static void send_all(void *arg)
{
    struct echo *e = arg;
    static unsigned char buf[70000];
    uint64_t at = 0;
    while (at < ECHO_BYTES) {
        uint64_t left = ECHO_BYTES - at;
        size_t len = (size_t)rng_below(&e->rng, sizeof(buf)) + 1;
        len = len < left ? len : (size_t)left;
        for (size_t i = 0; i < len; i++) {
            buf[i] = byte_at(at + i);
        }
        size_t cut = rng_below(&e->rng, len + 1);
        struct iovec iov[4] = {{buf, 0}, {buf, cut}, {buf + cut, len - cut}, {buf, 0}};
        uint64_t sent = 0;
        bool more = rng_below(&e->rng, 2) == 0;
        assert_int_equal(sock_writev(&e->pair[0], iov, 4, NO_LIMIT, more, &sent), RC_OK);
        assert_int_equal(sent, len);
        at += len;
    }
    sock_shut_write(&e->pair[0]);
}

static void echo_all(void *arg)
{
    struct echo *e = arg;
    static unsigned char buf[9000];
    enum rc rc = RC_OK;
    while (rc == RC_OK) {
        size_t got;
        size_t room = (size_t)rng_below(&e->rng, sizeof(buf)) + 1;
        rc = sock_read(&e->pair[1], buf, room, NO_LIMIT, &got);
        if (rc == RC_OK) {
            assert_true(got > 0);
            assert_true(got <= room);
            struct iovec iov = {buf, got};
            assert_int_equal(sock_writev(&e->pair[1], &iov, 1, NO_LIMIT, false, NULL), RC_OK);
        }
    }
    assert_int_equal(rc, RC_EOF);
    sock_close(&e->pair[1]);
}

static void check_echo(void *arg)
{
    struct echo *e = arg;
    if (e->is_tcp) {
        open_tcp_pair(e->pair);
    } else {
        open_pair(e->pair);
    }
    must_start(send_all, e);
    must_start(echo_all, e);
    static unsigned char buf[20000];
    enum rc rc = RC_OK;
    while (rc == RC_OK) {
        size_t got = 0;
        rc = sock_read(&e->pair[0], buf, (size_t)rng_below(&e->rng, sizeof(buf)) + 1, NO_LIMIT,
                       &got);
        for (size_t i = 0; i < got; i++) {
            CHECK(buf[i] == byte_at(e->received + i));
        }
        e->received += got;
    }
    assert_int_equal(rc, RC_EOF);
    sock_close(&e->pair[0]);
    assert_int_equal(e->received, ECHO_BYTES);
}

static void echoed_bytes_are_the_bytes_sent(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct echo e = {.rng.state = seed, .is_tcp = seed % 2 == 0};
        conf.shuffle_seed = seed / 2;
        run_once_with(&conf, check_echo, &e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoed_bytes_are_the_bytes_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
