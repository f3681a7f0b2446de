/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Accepting: batches, running out of descriptors, closing from within, several loops on one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "run/run_priv.h"
#include "support/run_fiber.h"

enum { CLIENTS = 100 };

struct door {
    struct listener *listener;
    int listen_fd;
    struct sockaddr_in addr;
    struct fiber *waiter;
    unsigned accepted;
    unsigned pauses;
    unsigned close_at; /* close the listener in the middle of a batch */
    enum rc why;
};

static void listen_on_loopback(struct door *door)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    door->addr = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(door->addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&door->addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&door->addr, &len), 0);
    assert_int_equal(listen(fd, CLIENTS), 0);
    door->listen_fd = fd;
}

static void on_accept(void *arg, int *take_fd, const struct sockaddr *peer, socklen_t peer_len)
{
    struct door *door = arg;
    assert_int_equal(peer->sa_family, AF_INET);
    assert_int_equal(peer_len, sizeof(struct sockaddr_in));
    assert_true((fcntl(*take_fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(*take_fd, F_GETFD) & FD_CLOEXEC) != 0);
    (void)close(*take_fd);
    *take_fd = -1;
    door->accepted++;
    if (door->accepted == door->close_at) {
        listener_close(&door->listener);
    }
    fiber_wake(door->waiter);
}

static void on_pause(void *arg, enum rc why)
{
    struct door *door = arg;
    door->pauses++;
    door->why = why;
    fiber_wake(door->waiter);
}

static void open_door(struct door *door)
{
    door->waiter = fiber_self();
    listen_on_loopback(door);
    assert_int_equal(listener_open(&door->listener, door->listen_fd, on_accept, door, on_pause),
                     RC_OK);
}

static void connect_all(const struct door *door, struct sock *socks, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(sock_connect(&socks[i], (const struct sockaddr *)&door->addr,
                                      sizeof(door->addr), NEVER),
                         RC_OK);
    }
}

static void close_all(struct sock *socks, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        sock_close(&socks[i]);
    }
}

static void accept_many(void *arg)
{
    (void)arg;
    static struct sock socks[CLIENTS];
    struct door door = {0};
    open_door(&door);
    connect_all(&door, socks, CLIENTS);
    while (door.accepted < CLIENTS) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    assert_int_equal(door.pauses, 0);
    close_all(socks, CLIENTS);
    listener_close(&door.listener);
    assert_null(door.listener);
    (void)close(door.listen_fd);
}

static void all_connections_are_accepted(void **state)
{
    (void)state;
    run_once(accept_many, NULL);
}

static void accept_without_descriptors(void *arg)
{
    (void)arg;
    struct sock sock;
    struct door door = {0};
    open_door(&door);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    /* The client's own descriptor is the last that the limit leaves. */
    int probe = dup(0);
    assert_true(probe >= 0);
    struct rlimit tight = {.rlim_cur = (rlim_t)probe + 1, .rlim_max = before.rlim_max};
    (void)close(probe);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    connect_all(&door, &sock, 1);
    while (door.pauses == 0) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    assert_int_equal(door.why, RC_NOFILES);
    /* It looks for room, but does not try and fail again. */
    assert_int_equal(fiber_sleep(2 * NS_PER_S), RC_OK);
    assert_int_equal(door.pauses, 1);
    assert_int_equal(door.accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (door.accepted == 0) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    assert_int_equal(door.pauses, 1);
    sock_close(&sock);
    listener_close(&door.listener);
    (void)close(door.listen_fd);
}

static void accept_above_the_reserve(void *arg)
{
    (void)arg;
    struct sock socks[2];
    struct door door = {0};
    open_door(&door);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int others[8]; /* a quarter of the limit has to be two at least */
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        others[i] = dup(0);
        assert_true(others[i] >= 0);
    }
    int lowest = dup(0);
    (void)close(lowest);
    /* Below the reserve there is room for the first client's own descriptor, and no more. */
    struct rlimit tight = {.rlim_cur = (rlim_t)lowest + 1 + 2, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    listener_keep_free(door.listener, 2);
    connect_all(&door, socks, 1);
    while (door.accepted == 0) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    fiber_yield();
    assert_int_equal(door.pauses, 1);
    assert_int_equal(door.why, RC_NOFILES);
    connect_all(&door, socks + 1, 1);
    assert_int_equal(fiber_sleep(2 * NS_PER_S), RC_OK);
    assert_int_equal(door.accepted, 1);
    assert_int_equal(door.pauses, 1);
    /* Its descriptor is given back, and the next in the queue gets it. */
    sock_close(&socks[0]);
    while (door.accepted == 1) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        (void)close(others[i]);
    }
    sock_close(&socks[1]);
    listener_close(&door.listener);
    (void)close(door.listen_fd);
}

static void the_last_descriptors_are_not_for_connections(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, accept_above_the_reserve, NULL);
}

static void out_of_descriptors_is_a_pause(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, accept_without_descriptors, NULL);
}

static void accept_and_close(void *arg)
{
    (void)arg;
    static struct sock socks[8];
    struct door door = {.close_at = 3};
    door.waiter = fiber_self();
    listen_on_loopback(&door);
    connect_all(&door, socks, 8);
    assert_int_equal(listener_open(&door.listener, door.listen_fd, on_accept, &door, NULL), RC_OK);
    while (door.listener != NULL) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    fiber_yield();
    assert_int_equal(door.accepted, 3);
    close_all(socks, 8);
    (void)close(door.listen_fd);
}

static void a_listener_may_be_closed_by_its_own_function(void **state)
{
    (void)state;
    run_once(accept_and_close, NULL);
}

static void accept_on_a_dead_socket(void *arg)
{
    (void)arg;
    struct door door = {0};
    open_door(&door);
    assert_int_equal(shutdown(door.listen_fd, SHUT_RDWR), 0);
    while (door.pauses < 3) {
        assert_int_equal(fiber_wait(NEVER), RC_OK);
    }
    /* Closed while it pauses. */
    listener_close(&door.listener);
    assert_int_equal(fiber_sleep(NS_PER_S), RC_OK);
    assert_int_equal(door.pauses, 3);
    (void)close(door.listen_fd);
}

static void a_dead_listening_socket_does_not_spin(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, accept_on_a_dead_socket, NULL);
}

/* ---- one descriptor, several loops ---- */

struct shared {
    int listen_fd;
    atomic_uint accepted;
    struct listener *listeners[3];
    sem_t all;
};

static void on_shared_accept(void *arg, int *take_fd, const struct sockaddr *peer, socklen_t len)
{
    (void)peer;
    (void)len;
    struct shared *shared = arg;
    (void)close(*take_fd);
    *take_fd = -1;
    if (atomic_fetch_add(&shared->accepted, 1) + 1 == CLIENTS) {
        sema_post(&shared->all);
    }
}

static void open_shared(struct loop *loop, void *arg)
{
    struct shared *shared = arg;
    assert_int_equal(listener_open(&shared->listeners[loop_index(loop)], shared->listen_fd,
                                   on_shared_accept, shared, NULL),
                     RC_OK);
}

static void close_shared(struct loop *loop, void *arg)
{
    struct shared *shared = arg;
    listener_close(&shared->listeners[loop_index(loop)]);
}

static void loops_share_a_descriptor(void **state)
{
    (void)state;
    struct door door = {0};
    listen_on_loopback(&door);
    struct shared shared = {.listen_fd = door.listen_fd};
    sema_init(&shared.all);
    struct run_conf conf = run_test_conf();
    conf.loops = 3;
    conf.on_start = open_shared;
    conf.on_stop = close_shared;
    conf.hook_arg = &shared;
    struct run *run = run_new(&conf);
    assert_int_equal(run_start(run), RC_OK);
    int fds[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fds[i] >= 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&door.addr, sizeof(door.addr)), 0);
    }
    sema_wait(&shared.all);
    run_stop(run);
    run_free(&run);
    assert_int_equal(atomic_load(&shared.accepted), CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        (void)close(fds[i]);
    }
    sema_fini(&shared.all);
    (void)close(door.listen_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_connections_are_accepted),
        cmocka_unit_test(out_of_descriptors_is_a_pause),
        cmocka_unit_test(the_last_descriptors_are_not_for_connections),
        cmocka_unit_test(a_listener_may_be_closed_by_its_own_function),
        cmocka_unit_test(a_dead_listening_socket_does_not_spin),
        cmocka_unit_test(loops_share_a_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
