/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Probes: what counts as good, and what it does to the backend's health. */
#include "rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

/* A server that answers each connection with one text, on a thread of its own. */
struct origin {
    const struct rig *rig;
    pthread_t thread;
    pthread_mutex_t lock;
    const char *answer; /* NULL: none, and the connection stays until the prober leaves */
    bool stays;         /* does not close after the answer */
    char request[512];  /* the last one */
};

static void serve(struct origin *o, int fd)
{
    char in[512];
    size_t have = 0;
    while (have < sizeof in - 1) {
        ssize_t n = recv(fd, in + have, sizeof in - 1 - have, 0);
        if (n <= 0) {
            break;
        }
        have += (size_t)n;
        in[have] = '\0';
        if (strstr(in, "\r\n\r\n") != NULL && strncmp(in, "\r\n\r\n", 4) != 0) {
            break;
        }
    }
    in[have] = '\0';
    (void)pthread_mutex_lock(&o->lock);
    memcpy(o->request, in, have + 1);
    const char *answer = o->answer;
    bool stays = o->stays || answer == NULL;
    (void)pthread_mutex_unlock(&o->lock);
    if (answer != NULL && send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0) {
        stays = false;
    }
    char byte;
    if (stays && recv(fd, &byte, 1, 0) > 0) {
        /* Nothing more is expected; we only wait for the end. */
        return;
    }
}

static void *accept_all(void *arg)
{
    struct origin *o = arg;
    for (;;) {
        int fd = accept4(o->rig->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            return NULL;
        }
        serve(o, fd);
        (void)close(fd);
    }
}

static void origin_open(struct origin *o, const struct rig *rig, const char *answer)
{
    *o = (struct origin){.rig = rig, .answer = answer};
    assert_int_equal(pthread_mutex_init(&o->lock, NULL), 0);
    assert_int_equal(pthread_create(&o->thread, NULL, accept_all, o), 0);
}

static void origin_says(struct origin *o, const char *answer, bool stays)
{
    (void)pthread_mutex_lock(&o->lock);
    o->answer = answer;
    o->stays = stays;
    (void)pthread_mutex_unlock(&o->lock);
}

static void origin_close(struct origin *o)
{
    (void)shutdown(o->rig->listen_fd, SHUT_RDWR);
    (void)pthread_join(o->thread, NULL);
    (void)pthread_mutex_destroy(&o->lock);
}

/* ---- waiting for what is sure to come ---- */

static struct backend_status status_of(struct backend *b)
{
    struct backend_status s;
    backend_status(b, &s);
    return s;
}

static void wait_for_health(struct backend *b, bool is_healthy)
{
    while (backend_is_healthy(b, NULL) != is_healthy) {
        (void)sched_yield();
    }
}

/* Until `n` probes more have ended; each leaves a bit in exactly one of these, or none in any. */
static void wait_for_bits(struct backend *b, uint64_t mask, uint64_t probe_maps_happy)
{
    while ((status_of(b).maps.happy & mask) != probe_maps_happy) {
        (void)sched_yield();
    }
}

static const struct probe_spec quick = {
    .interval_ns = 2 * NS_PER_MS,
    .timeout_ns = 20 * NS_PER_S,
    .window = 4,
    .threshold = 2,
    .initial = PROBE_INITIAL_DEFAULT,
};

static struct backend *probed(struct rig *rig, const struct probe_spec *probe)
{
    struct backend_spec spec = rig_spec(rig);
    spec.probe = probe;
    return rig_backend(rig, &spec);
}

#define GOOD "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static void good_answers_make_it_healthy(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 2);
    struct origin origin;
    origin_open(&origin, &rig, GOOD);
    struct backend_spec spec = rig_spec(&rig);
    spec.probe = &quick;
    struct backend *b = NULL;
    assert_int_equal(backend_new(rig.set, &spec, &b), RC_OK);
    /* One good probe is presumed, two are needed. */
    assert_false(backend_is_healthy(b, NULL));
    struct backend_status s = status_of(b);
    assert_true(s.has_probe);
    assert_true(s.is_sick);
    assert_int_equal(s.good, 1);
    assert_int_equal(s.window, 4);
    assert_int_equal(s.threshold, 2);
    backend_warm(b);
    wait_for_health(b, true);
    wait_for_bits(b, 0xf, 0xf);
    s = status_of(b);
    assert_int_equal(s.good, 4);
    assert_true(s.average_s > 0);
    assert_int_equal(s.maps.good_ipv4 & 7, 7);
    assert_int_equal(s.maps.good_xmit & 7, 7);
    assert_int_equal(s.maps.good_recv & 7, 7);
    assert_int_equal(s.maps.err_recv | s.maps.err_xmit | s.maps.good_unix | s.maps.good_ipv6, 0);
    (void)pthread_mutex_lock(&origin.lock);
    assert_string_equal(origin.request,
                        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    (void)pthread_mutex_unlock(&origin.lock);
    uint64_t changed_ns = 0;
    assert_true(backend_is_healthy(b, &changed_ns));
    assert_true(changed_ns > 0);
    backend_release(&b);
    origin_close(&origin);
    rig_close(&rig);
}

static void wrong_answers_make_it_sick(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "blurb\r\n", "HTTP/1.1\r\n", "",
    };
    struct rig rig;
    rig_open(&rig, 1);
    struct origin origin;
    origin_open(&origin, &rig, GOOD);
    struct backend *b = probed(&rig, &quick);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        origin_says(&origin, GOOD, false);
        wait_for_health(b, true);
        origin_says(&origin, wrong[i], false);
        wait_for_health(b, false);
        struct backend_status s = status_of(b);
        assert_int_equal(s.maps.err_recv, 0);
        assert_int_equal(s.maps.good_recv & 1, wrong[i][0] != '\0');
    }
    backend_release(&b);
    origin_close(&origin);
    rig_close(&rig);
}

static void other_statuses_may_be_right(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct origin origin;
    origin_open(&origin, &rig, "HTTP/1.0 404\r\n\r\n");
    struct probe_spec spec = quick;
    spec.expected_response = 404;
    spec.request = "OPTIONS * HTTP/1.0\r\nX: y\r\n\r\n";
    struct backend *b = probed(&rig, &spec);
    wait_for_health(b, true);
    (void)pthread_mutex_lock(&origin.lock);
    assert_string_equal(origin.request, spec.request);
    (void)pthread_mutex_unlock(&origin.lock);
    backend_release(&b);
    origin_close(&origin);
    rig_close(&rig);
}

static void silence_ends_with_the_time_out(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct origin origin;
    origin_open(&origin, &rig, NULL);
    struct probe_spec spec = quick;
    spec.initial = 2;
    spec.timeout_ns = 5 * NS_PER_MS;
    struct backend *b = probed(&rig, &spec);
    assert_true(backend_is_healthy(b, NULL));
    wait_for_health(b, false);
    assert_int_equal(status_of(b).maps.err_recv & 1, 1);
    backend_release(&b);
    origin_close(&origin);
    rig_close(&rig);
}

static void a_peer_that_stays_is_good_only_if_it_may(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct origin origin;
    origin_open(&origin, &rig, GOOD);
    origin_says(&origin, GOOD, true);
    struct probe_spec spec = quick;
    spec.timeout_ns = 20 * NS_PER_MS;
    spec.initial = 2;
    struct backend *b = probed(&rig, &spec);
    wait_for_health(b, false);
    backend_release(&b);
    struct backend_spec open = rig_spec(&rig);
    spec.initial = 0;
    spec.keeps_open = true;
    open.name = "open";
    open.probe = &spec;
    b = rig_backend(&rig, &open);
    wait_for_health(b, true);
    backend_release(&b);
    origin_close(&origin);
    rig_close(&rig);
}

static void nobody_there_is_sick_and_counted(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    (void)close(rig.listen_fd);
    struct probe_spec spec = quick;
    spec.initial = 4;
    struct backend *b = probed(&rig, &spec);
    assert_true(backend_is_healthy(b, NULL));
    assert_int_equal(status_of(b).good, 2); /* no more is presumed than is needed */
    wait_for_health(b, false);
    assert_true(vsc_get(&backend_counters(b)->fail_econnrefused) > 0);
    backend_set_admin(b, BACKEND_HEALTHY);
    assert_true(backend_is_healthy(b, NULL));
    backend_set_admin(b, BACKEND_AUTO);
    assert_false(backend_is_healthy(b, NULL));
    backend_release(&b);
    rig.listen_fd = -1;
    rig_close(&rig);
}

static void a_cold_backend_is_left_alone(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 2);
    struct origin origin;
    origin_open(&origin, &rig, GOOD);
    struct backend *b = probed(&rig, &quick);
    wait_for_bits(b, 0xf, 0xf);
    for (unsigned i = 0; i < 20; i++) {
        backend_cold(b);
        assert_int_equal(status_of(b).maps.happy, 1);
        assert_false(backend_is_healthy(b, NULL));
        backend_warm(b);
    }
    wait_for_bits(b, 0xf, 0xf);
    assert_true(backend_is_healthy(b, NULL));
    backend_release(&b);
    origin_close(&origin);
    rig_close(&rig);
}

/* The probe waits for an answer while its backend goes, or the loops stop. */
static void it_may_go_while_it_is_probed(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        struct rig rig;
        rig_open(&rig, 2);
        struct backend *b = probed(&rig, &quick);
        int fd = rig_accept(&rig);
        char byte;
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        backend_release(&b);
        if (round == 1) {
            assert_int_equal(send(fd, GOOD, sizeof GOOD - 1, MSG_NOSIGNAL), sizeof GOOD - 1);
            (void)close(fd);
        }
        rig_close(&rig);
        if (round == 0) {
            (void)close(fd);
        }
    }
}

static void a_preface_goes_before_the_request(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct origin origin;
    origin_open(&origin, &rig, GOOD);
    struct backend_spec spec = rig_spec(&rig);
    spec.probe = &quick;
    spec.proxy_header = 1;
    struct backend *b = rig_backend(&rig, &spec);
    wait_for_health(b, true);
    (void)pthread_mutex_lock(&origin.lock);
    unsigned port[2];
    int end = 0;
    assert_int_equal(sscanf(origin.request, "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\n%n", &port[0],
                            &port[1], &end),
                     2);
    assert_int_equal(port[0], port[1]);
    assert_int_equal(strncmp(origin.request + end, "GET / HTTP/1.1\r\n", 16), 0);
    (void)pthread_mutex_unlock(&origin.lock);
    backend_release(&b);
    origin_close(&origin);
    rig_close(&rig);
}

static void impossible_numbers_are_refused(void **state)
{
    (void)state;
    static const struct probe_spec bad[] = {
        {.window = 65},
        {.window = 2, .threshold = 3},
        {.threshold = 9},
    };
    struct rig rig;
    rig_open(&rig, 1);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct backend_spec spec = rig_spec(&rig);
        struct backend *b = NULL;
        spec.probe = &bad[i];
        assert_int_equal(backend_new(rig.set, &spec, &b), RC_INVALID);
        assert_null(b);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_answers_make_it_healthy),
        cmocka_unit_test(wrong_answers_make_it_sick),
        cmocka_unit_test(other_statuses_may_be_right),
        cmocka_unit_test(silence_ends_with_the_time_out),
        cmocka_unit_test(a_peer_that_stays_is_good_only_if_it_may),
        cmocka_unit_test(nobody_there_is_sick_and_counted),
        cmocka_unit_test(a_cold_backend_is_left_alone),
        cmocka_unit_test(it_may_go_while_it_is_probed),
        cmocka_unit_test(a_preface_goes_before_the_request),
        cmocka_unit_test(impossible_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
