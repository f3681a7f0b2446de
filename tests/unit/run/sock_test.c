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

static void run_fake(fiber_fn *fn, void *arg)
{
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    run_once_with(&conf, fn, arg);
}

static void close_pair(struct sock pair[2])
{
    sock_close(&pair[0]);
    sock_close(&pair[1]);
}

static void write_text(struct sock *sock, const char *text)
{
    char buf[64];
    size_t len = strlen(text);
    assert_true(len <= sizeof(buf));
    memcpy(buf, text, len);
    struct iovec iov = {buf, len};
    assert_int_equal(sock_writev(sock, &iov, 1, NO_LIMIT, false, NULL), RC_OK);
}

static uint64_t now_ns(void)
{
    return loop_mono_ns(loop_self());
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

/* ---- limits ---- */

static void trickle(void *arg)
{
    struct sock *sock = arg;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(fiber_sleep(600 * NS_PER_MS), RC_OK);
        write_text(sock, "x");
    }
}

static void wait_for_a_trickle(void *arg)
{
    (void)arg;
    struct sock pair[2];
    open_pair(pair);
    char buf[16];
    size_t got;
    uint64_t t0 = now_ns();
    must_start(trickle, &pair[1]);
    /* Each byte starts the idle time anew... */
    struct sock_limit lim = {.deadline_ns = NEVER, .idle_ns = NS_PER_S};
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(sock_read(&pair[0], buf, sizeof(buf), lim, &got), RC_OK);
        assert_int_equal(got, 1);
    }
    assert_true(now_ns() >= t0 + 6 * NS_PER_S);
    t0 = now_ns();
    assert_int_equal(sock_read(&pair[0], buf, sizeof(buf), lim, &got), RC_TIMEOUT);
    assert_int_equal(got, 0);
    assert_true(now_ns() >= t0 + NS_PER_S);
    /* ... and the deadline stands. */
    t0 = now_ns();
    must_start(trickle, &pair[1]);
    lim.deadline_ns = t0 + 2 * NS_PER_S;
    enum rc rc;
    unsigned bytes = 0;
    do {
        rc = sock_read(&pair[0], buf, sizeof(buf), lim, &got);
        bytes += (unsigned)got;
    } while (rc == RC_OK);
    assert_int_equal(rc, RC_TIMEOUT);
    assert_int_equal(bytes, 3);
    assert_true(now_ns() >= t0 + 2 * NS_PER_S);
    assert_true(now_ns() < t0 + 2 * NS_PER_S + 2 * NS_PER_MS);
    /* The sock is as good as before. */
    assert_int_equal(sock_read(&pair[0], buf, sizeof(buf), NO_LIMIT, &got), RC_OK);
    assert_int_equal(fiber_sleep(10 * NS_PER_S), RC_OK);
    close_pair(pair);
}

static void reads_end_at_either_limit(void **state)
{
    (void)state;
    run_fake(wait_for_a_trickle, NULL);
}

static void fill_a_peer_that_does_not_read(void *arg)
{
    (void)arg;
    struct sock pair[2];
    open_pair(pair);
    static char big[8 << 20];
    struct iovec iov[2] = {{big, 100}, {big, sizeof(big) - 100}};
    uint64_t sent = 0;
    struct sock_limit lim = {.deadline_ns = NEVER, .idle_ns = NS_PER_S};
    assert_int_equal(sock_writev(&pair[0], iov, 2, lim, false, &sent), RC_TIMEOUT);
    assert_true(sent > 100);
    assert_true(sent < sizeof(big));
    /* What went is there to read, and nothing else. */
    static char buf[8 << 20];
    uint64_t read = 0;
    size_t got;
    while (read < sent) {
        assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), lim, &got), RC_OK);
        read += got;
    }
    assert_int_equal(read, sent);
    assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), lim, &got), RC_TIMEOUT);
    /* And there is room again. */
    write_text(&pair[0], "again");
    assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), lim, &got), RC_OK);
    assert_int_equal(got, 5);
    close_pair(pair);
}

static void writes_tell_how_far_they_got(void **state)
{
    (void)state;
    run_fake(fill_a_peer_that_does_not_read, NULL);
}

struct greedy {
    struct sock pair[2];
    unsigned turns;
};

static void count_other_turns(void *arg)
{
    struct greedy *g = arg;
    while (g->pair[0].fd >= 0) {
        g->turns++;
        fiber_yield();
    }
}

/* Never has to wait: what it writes is there to read. */
static void write_and_read_at_once(void *arg)
{
    struct greedy *g = arg;
    static char buf[16384];
    open_pair(g->pair);
    must_start(count_other_turns, g);
    for (unsigned i = 0; i < 1024; i++) {
        struct iovec iov = {buf, sizeof(buf)};
        size_t got;
        assert_int_equal(sock_writev(&g->pair[0], &iov, 1, NO_LIMIT, false, NULL), RC_OK);
        if (i == 0) {
            fiber_yield(); /* for the first edge */
        }
        assert_int_equal(sock_read(&g->pair[1], buf, sizeof(buf), NO_LIMIT, &got), RC_OK);
        assert_int_equal(got, sizeof(buf));
    }
    assert_true(g->turns >= 16);
    close_pair(g->pair);
}

static void a_fast_peer_does_not_starve_others(void **state)
{
    (void)state;
    struct greedy g = {0};
    run_fake(write_and_read_at_once, &g);
}

/* ---- ends ---- */

static void end_a_stream(void *arg)
{
    (void)arg;
    struct sock pair[2];
    char buf[16];
    size_t got;
    open_tcp_pair(pair);
    /* Data and end in one edge: the short read must not hide the end. */
    write_text(&pair[0], "last");
    sock_shut_write(&pair[0]);
    struct sock_limit lim = {.deadline_ns = NEVER, .idle_ns = 5 * NS_PER_S};
    assert_int_equal(fiber_sleep(NS_PER_MS), RC_OK);
    assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), lim, &got), RC_OK);
    assert_int_equal(got, 4);
    assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), lim, &got), RC_EOF);
    assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), lim, &got), RC_EOF);
    /* The other direction is open still. */
    write_text(&pair[1], "bye");
    assert_int_equal(sock_read(&pair[0], buf, sizeof(buf), lim, &got), RC_OK);
    assert_int_equal(got, 3);
    close_pair(pair);
}

static void an_end_is_seen_behind_data(void **state)
{
    (void)state;
    run_once(end_a_stream, NULL);
}

enum { FILE_BYTES = 3 << 20 };

static int make_file(void)
{
    int fd = memfd_create("sent", MFD_CLOEXEC);
    assert_true(fd >= 0);
    static unsigned char buf[FILE_BYTES];
    for (size_t i = 0; i < FILE_BYTES; i++) {
        buf[i] = byte_at(i);
    }
    assert_int_equal(pwrite(fd, buf, FILE_BYTES, 0), FILE_BYTES);
    return fd;
}

static void abort_a_stream(void *arg)
{
    (void)arg;
    struct sock pair[2];
    char buf[16];
    size_t got;
    open_tcp_pair(pair);
    write_text(&pair[0], "partial");
    assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), NO_LIMIT, &got), RC_OK);
    sock_abort(&pair[0]);
    assert_int_equal(sock_read(&pair[1], buf, sizeof(buf), NO_LIMIT, &got), RC_RESET);
    struct iovec iov = {buf, 1};
    assert_int_equal(sock_writev(&pair[1], &iov, 1, NO_LIMIT, false, NULL), RC_RESET);
    int fd = make_file();
    assert_int_equal(sock_sendfile(&pair[1], fd, 0, 100, 100, NO_LIMIT, NULL), RC_RESET);
    (void)close(fd);
    sock_close(&pair[1]);
    sock_close(&pair[1]);
}

static void an_abort_is_a_reset_and_no_signal(void **state)
{
    (void)state;
    run_once(abort_a_stream, NULL);
}

static void read_until_cancelled(void *arg)
{
    struct sock *pair = arg;
    char buf[1];
    size_t got;
    struct iovec iov = {buf, 1};
    assert_int_equal(sock_read(&pair[0], buf, 1, NO_LIMIT, &got), RC_CANCELLED);
    assert_int_equal(sock_writev(&pair[0], &iov, 1, NO_LIMIT, false, NULL), RC_CANCELLED);
    close_pair(pair);
    pair[0].fd = -2;
}

static void leave_a_reader_behind(void *arg)
{
    struct sock *pair = arg;
    open_pair(pair);
    must_start(read_until_cancelled, pair);
    fiber_yield();
}

static void the_end_of_the_runtime_ends_reads(void **state)
{
    (void)state;
    struct sock pair[2];
    run_once(leave_a_reader_behind, pair);
    assert_int_equal(pair[0].fd, -2);
}

/* ---- sendfile ---- */

struct sent_file {
    struct sock pair[2];
    unsigned turns;
    uint64_t received;
};

static void receive_file(void *arg)
{
    struct sent_file *f = arg;
    static unsigned char buf[50000];
    size_t got;
    while (sock_read(&f->pair[1], buf, sizeof(buf), NO_LIMIT, &got) == RC_OK) {
        for (size_t i = 0; i < got; i++) {
            CHECK(buf[i] == byte_at(1000 + f->received + i));
        }
        f->received += got;
    }
    sock_close(&f->pair[1]);
}

static void count_turns(void *arg)
{
    struct sent_file *f = arg;
    while (f->pair[0].fd >= 0) {
        f->turns++;
        fiber_yield();
    }
}

static void send_a_file(void *arg)
{
    struct sent_file *f = arg;
    int fd = make_file();
    open_tcp_pair(f->pair);
    must_start(receive_file, f);
    must_start(count_turns, f);
    uint64_t sent = 0;
    assert_int_equal(
        sock_sendfile(&f->pair[0], fd, 1000, FILE_BYTES - 1000, 64 << 10, NO_LIMIT, &sent), RC_OK);
    assert_int_equal(sent, FILE_BYTES - 1000);
    assert_true(f->turns >= 10);
    sock_close(&f->pair[0]);
    while (f->pair[1].fd >= 0) {
        fiber_yield();
    }
    assert_int_equal(f->received, FILE_BYTES - 1000);
    (void)close(fd);
}

static void files_are_sent_in_turns(void **state)
{
    (void)state;
    struct run_conf conf = run_test_conf();
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct sent_file f = {0};
        conf.shuffle_seed = seed;
        run_once_with(&conf, send_a_file, &f);
    }
}

static void send_a_truncated_file(void *arg)
{
    struct sent_file *f = arg;
    int fd = make_file();
    assert_int_equal(ftruncate(fd, 500000), 0);
    open_tcp_pair(f->pair);
    must_start(receive_file, f);
    uint64_t sent = 0;
    assert_int_equal(
        sock_sendfile(&f->pair[0], fd, 1000, FILE_BYTES - 1000, 64 << 10, NO_LIMIT, &sent),
        RC_MALFORMED);
    assert_int_equal(sent, 499000);
    sock_close(&f->pair[0]);
    (void)close(fd);
}

static void a_file_that_ends_early_is_told(void **state)
{
    (void)state;
    struct sent_file f = {0};
    run_once(send_a_truncated_file, &f);
}

/* ---- idle ---- */

struct idler {
    struct sock sock;
    unsigned calls;
    enum rc why;
    struct fiber *waker;
    struct idler *victim; /* closed and freed by the first call of either */
};

static void on_idle(struct sock *sock, enum rc why)
{
    struct idler *idler = CONTAINER_OF(sock, struct idler, sock);
    idler->calls++;
    idler->why = why;
    if (idler->waker != NULL) {
        fiber_wake(idler->waker);
    }
}

static void open_idler(struct idler *idler, struct sock *peer)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(sock_open(&idler->sock, &fds[0]), RC_OK);
    assert_int_equal(sock_open(peer, &fds[1]), RC_OK);
}

static void idle_in_all_ways(void *arg)
{
    (void)arg;
    struct idler idler = {.waker = fiber_self()};
    struct sock peer;
    char buf[4];
    size_t got;
    open_idler(&idler, &peer);
    /* Nothing comes. */
    uint64_t t0 = now_ns();
    sock_idle(&idler.sock, t0 + NS_PER_S, on_idle);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    assert_int_equal(idler.why, RC_TIMEOUT);
    assert_true(now_ns() >= t0 + NS_PER_S);
    /* Something comes. */
    sock_idle(&idler.sock, now_ns() + NS_PER_S, on_idle);
    write_text(&peer, "12345678");
    assert_int_equal(idler.calls, 1);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    assert_int_equal(idler.calls, 2);
    assert_int_equal(idler.why, RC_OK);
    /* Something is there already. */
    assert_int_equal(sock_read_now(&idler.sock, buf, sizeof(buf), &got), RC_OK);
    sock_idle(&idler.sock, now_ns() + NS_PER_S, on_idle);
    assert_int_equal(idler.calls, 2); /* not from within */
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    assert_int_equal(idler.why, RC_OK);
    /* The last read filled its buffer and took all: nothing is there, and nobody is called. */
    assert_int_equal(sock_read_now(&idler.sock, buf, sizeof(buf), &got), RC_OK);
    assert_int_equal(got, sizeof(buf));
    t0 = now_ns();
    sock_idle(&idler.sock, t0 + NS_PER_S, on_idle);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    assert_int_equal(idler.why, RC_TIMEOUT);
    assert_int_equal(sock_read_now(&idler.sock, buf, sizeof(buf), &got), RC_AGAIN);
    /* Called off; then a shorter period than the timer stands for. */
    sock_idle(&idler.sock, now_ns() + 10 * NS_PER_S, on_idle);
    sock_idle_cancel(&idler.sock);
    t0 = now_ns();
    sock_idle(&idler.sock, t0 + NS_PER_S, on_idle);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    assert_int_equal(idler.why, RC_TIMEOUT);
    assert_true(now_ns() < t0 + NS_PER_S + 2 * NS_PER_MS);
    /* The peer leaves. */
    sock_idle(&idler.sock, now_ns() + NS_PER_S, on_idle);
    sock_close(&peer);
    assert_int_equal(fiber_wait(NEVER), RC_OK);
    assert_int_equal(idler.why, RC_OK);
    assert_int_equal(sock_read_now(&idler.sock, buf, sizeof(buf), &got), RC_EOF);
    assert_int_equal(idler.calls, 6);
    sock_close(&idler.sock);
}

static void an_idle_sock_tells_what_happens(void **state)
{
    (void)state;
    run_fake(idle_in_all_ways, NULL);
}

static unsigned closed_count;

static void close_the_other(struct sock *sock, enum rc why)
{
    (void)why;
    struct idler *idler = CONTAINER_OF(sock, struct idler, sock);
    struct idler *victim = idler->victim;
    sock_close(&victim->sock);
    test_free(victim);
    sock_close(&idler->sock);
    test_free(idler);
    closed_count++;
}

static void close_within_a_batch(void *arg)
{
    (void)arg;
    enum { PAIRS = 20 };
    static struct sock peers[2 * PAIRS];
    closed_count = 0;
    for (unsigned i = 0; i < PAIRS; i++) {
        struct idler *a = test_calloc(1, sizeof(*a));
        struct idler *b = test_calloc(1, sizeof(*b));
        open_idler(a, &peers[2 * i]);
        open_idler(b, &peers[2 * i + 1]);
        a->victim = b;
        b->victim = a;
        sock_idle(&a->sock, NEVER, close_the_other);
        sock_idle(&b->sock, NEVER, close_the_other);
    }
    /* All events come in one batch; half of them are for socks that are gone by then. */
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        write_text(&peers[i], "x");
    }
    fiber_yield();
    assert_int_equal(closed_count, PAIRS);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        sock_close(&peers[i]);
    }
}

static void events_of_closed_socks_are_forgotten(void **state)
{
    (void)state;
    run_fake(close_within_a_batch, NULL);
}

enum { MANY_PAIRS = 5000 };

static void idle_in_thousands(void *arg)
{
    struct pool *buffers = arg;
    struct idler *idlers = test_calloc(2UL * MANY_PAIRS, sizeof(*idlers));
    char *buf = pool_get(buffers);
    for (unsigned i = 0; i < MANY_PAIRS; i++) {
        open_idler(&idlers[2 * i], &idlers[2 * i + 1].sock);
    }
    for (unsigned i = 0; i < 2 * MANY_PAIRS; i++) {
        sock_idle(&idlers[i].sock, now_ns() + (i + 1) * NS_PER_S, on_idle);
    }
    pool_put(buffers, buf);
    struct loop_stats stats;
    loop_stats(loop_self(), &stats);
    assert_int_equal(stats.fibers_made, 1); /* the test's own */
    assert_int_equal(pool_taken(buffers), 0);
    for (unsigned i = 0; i < MANY_PAIRS; i++) {
        write_text(&idlers[2 * i].sock, "x");
    }
    /* Half of them hear their peer at once, the others their deadline, each at its time. */
    fiber_yield();
    assert_int_equal(fiber_sleep(NS_PER_S * MANY_PAIRS), RC_OK);
    for (unsigned i = 0; i < 2 * MANY_PAIRS; i++) {
        bool has_passed = i + 1 < MANY_PAIRS;
        assert_int_equal(idlers[i].calls, i % 2 == 1 || has_passed);
        assert_int_equal(idlers[i].why, i % 2 == 1 || !has_passed ? RC_OK : RC_TIMEOUT);
    }
    for (unsigned i = 0; i < 2 * MANY_PAIRS; i++) {
        sock_close(&idlers[i].sock);
    }
    test_free(idlers);
}

static void idle_socks_own_neither_fiber_nor_buffer(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * MANY_PAIRS + 100) {
        skip();
    }
    assert_true(sizeof(struct sock) <= 192);
    struct run_conf conf = run_test_conf();
    conf.fake_clock = true;
    struct run *sizes = run_new(&conf); /* pools need a runtime for the number of its loops only */
    struct pool *buffers = pool_new(sizes, "buffers", 4096, 8);
    run_once_with(&conf, idle_in_thousands, buffers);
    pool_free(&buffers);
    run_free(&sizes);
}

/* ---- connecting ---- */

static void connect_in_vain(void *arg)
{
    (void)arg;
    struct sock sock;
    struct sockaddr_in addr;
    int listen_fd = listen_tcp(&addr, 1);
    (void)close(listen_fd);
    assert_int_equal(sock_connect(&sock, (struct sockaddr *)&addr, sizeof(addr), NEVER),
                     RC_REFUSED);
    assert_int_equal(sock.fd, -1);
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
    assert_int_equal(sock_connect(&sock, (struct sockaddr *)&un, sizeof(un), NEVER), RC_NOT_FOUND);
    assert_int_equal(sock.fd, -1);
}

static void connects_fail_for_their_reason(void **state)
{
    (void)state;
    run_once(connect_in_vain, NULL);
}

static void connect_to_a_full_backlog(void *arg)
{
    (void)arg;
    /* An abstract address, so that no file is left behind. */
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(sa_family_t)), 0);
    socklen_t len = sizeof(un);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&un, &len), 0);
    assert_int_equal(listen(fd, 0), 0);
    struct sock socks[3];
    assert_int_equal(sock_connect(&socks[0], (struct sockaddr *)&un, len, NEVER), RC_OK);
    uint64_t deadline_ns = now_ns() + NS_PER_S;
    assert_int_equal(sock_connect(&socks[1], (struct sockaddr *)&un, len, deadline_ns), RC_TIMEOUT);
    assert_true(now_ns() >= deadline_ns);
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    assert_int_equal(sock_connect(&socks[2], (struct sockaddr *)&un, len, NEVER), RC_OK);
    sock_close(&socks[0]);
    sock_close(&socks[2]);
    (void)close(accepted);
    (void)close(fd);
}

static void a_full_unix_backlog_times_out(void **state)
{
    (void)state;
    run_fake(connect_to_a_full_backlog, NULL);
}

static void wait_for_a_pipe(void *arg)
{
    (void)arg;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fd_wait_readable(fds[0], now_ns() + NS_PER_S), RC_TIMEOUT);
    assert_int_equal(fd_wait_writable(fds[1], NEVER), RC_OK);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(fd_wait_readable(fds[0], NEVER), RC_OK);
    int file = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(fd_wait_readable(file, NEVER), RC_OK);
    (void)close(file);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void other_descriptors_can_be_waited_for(void **state)
{
    (void)state;
    run_fake(wait_for_a_pipe, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoed_bytes_are_the_bytes_sent),
        cmocka_unit_test(reads_end_at_either_limit),
        cmocka_unit_test(writes_tell_how_far_they_got),
        cmocka_unit_test(a_fast_peer_does_not_starve_others),
        cmocka_unit_test(an_end_is_seen_behind_data),
        cmocka_unit_test(an_abort_is_a_reset_and_no_signal),
        cmocka_unit_test(the_end_of_the_runtime_ends_reads),
        cmocka_unit_test(files_are_sent_in_turns),
        cmocka_unit_test(a_file_that_ends_early_is_told),
        cmocka_unit_test(an_idle_sock_tells_what_happens),
        cmocka_unit_test(events_of_closed_socks_are_forgotten),
        cmocka_unit_test(idle_socks_own_neither_fiber_nor_buffer),
        cmocka_unit_test(connects_fail_for_their_reason),
        cmocka_unit_test(a_full_unix_backlog_times_out),
        cmocka_unit_test(other_descriptors_can_be_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
