/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Connections: kept, shared by loops, closed when nobody owns their backend. */
#include "rig.h"

#include <stdio.h>
#include <unistd.h>

static const struct backend_ask ANY = {0};

struct use {
    struct backend *backend;
    bool fresh;
    bool keeps;
    /* Out. */
    enum rc rc;
    bool was_reused;
    char ends[96];
};

static void use_once(void *arg)
{
    struct use *u = arg;
    const struct backend_ask ask = {.fresh = u->fresh};
    struct bconn *c = NULL;
    u->rc = backend_get(u->backend, &ask, &c);
    if (u->rc == RC_OK) {
        u->was_reused = bconn_is_reused(c);
        struct str ends = bconn_ends(c);
        (void)snprintf(u->ends, sizeof u->ends, "%.*s", STR_ARG(ends));
        assert_true(bconn_may_be_kept(c));
        backend_put(&c, u->keeps);
        assert_null(c);
    }
}

static struct use use_on(struct rig *rig, unsigned loop, struct backend *b, bool keeps)
{
    struct use u = {.backend = b, .keeps = keeps};
    rig_on(rig, loop, use_once, &u);
    return u;
}

static void what_is_kept_is_used_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    struct use first = use_on(&rig, 0, b, true);
    assert_int_equal(first.rc, RC_OK);
    assert_false(first.was_reused);
    struct use second = use_on(&rig, 0, b, true);
    assert_true(second.was_reused);
    assert_string_equal(first.ends, second.ends);

    struct use fresh = {.backend = b, .fresh = true, .keeps = false};
    rig_on(&rig, 0, use_once, &fresh);
    assert_false(fresh.was_reused);
    assert_string_not_equal(first.ends, fresh.ends);

    assert_true(use_on(&rig, 0, b, false).was_reused);
    assert_false(use_on(&rig, 0, b, false).was_reused);
    assert_int_equal(vsc_get(&backend_counters(b)->req), 5);
    assert_int_equal(vsc_get(&backend_counters(b)->conn), 0);
    backend_release(&b);
    rig_close(&rig);
}

static void what_one_loop_keeps_another_may_have(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 3);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    struct use first = use_on(&rig, 0, b, true);
    assert_false(first.was_reused);
    static const unsigned order[] = {1, 2, 0, 2, 1, 0};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        struct use again = use_on(&rig, order[i], b, true);
        assert_int_equal(again.rc, RC_OK);
        assert_true(again.was_reused);
        assert_string_equal(first.ends, again.ends);
    }
    assert_int_equal(vsc_get(&rig.objm->backend_handed), ARRAY_SIZE(order));
    backend_release(&b);
    rig_close(&rig);
}

/* Loops that take from each other all the time get more connections instead. */
static void handing_over_has_an_end(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 2);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    bool had_enough = false;
    (void)use_on(&rig, 0, b, true);
    /* However slow this machine is, both loops have one of their own in the end. */
    for (unsigned i = 1; i < 100000 && !had_enough; i++) {
        struct use u = use_on(&rig, i % 2, b, true);
        assert_int_equal(u.rc, RC_OK);
        had_enough = !u.was_reused;
    }
    assert_true(had_enough);
    backend_release(&b);
    rig_close(&rig);
}

static void what_the_peer_closes_is_not_kept(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 2);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    assert_int_equal(use_on(&rig, 0, b, true).rc, RC_OK);
    int fd = rig_accept(&rig);
    (void)close(fd);
    /* Until the loop has seen it, it may still be handed out. */
    while (use_on(&rig, 0, b, true).was_reused) {
    }
    backend_release(&b);
    rig_close(&rig);
}

static void without_an_owner_nothing_is_kept(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 3);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    for (unsigned i = 0; i < 3; i++) {
        struct use u = {.backend = b, .fresh = true, .keeps = true};
        rig_on(&rig, i, use_once, &u);
        assert_int_equal(u.rc, RC_OK);
    }
    backend_release(&b);
    for (unsigned i = 0; i < 3; i++) {
        int fd = rig_accept(&rig);
        char byte;
        assert_int_equal(recv(fd, &byte, 1, 0), 0);
        (void)close(fd);
    }
    rig_close(&rig);
}

static void count_one(struct backend *b, void *arg)
{
    unsigned *count = arg;
    assert_non_null(backend_name(b));
    ++*count;
}

static void backends_come_and_go(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 2);
    struct backend *many[20] = {NULL};
    for (unsigned round = 0; round < 3; round++) {
        char vcl[16];
        (void)snprintf(vcl, sizeof vcl, "vcl%u", round);
        for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "b%u", i);
            struct backend_spec spec = rig_spec(&rig);
            spec.vcl = vcl;
            spec.name = name;
            many[i] = rig_backend(&rig, &spec);
            assert_int_equal(use_on(&rig, i % 2, many[i], true).rc, RC_OK);
        }
        unsigned count = 0;
        backends_each(rig.set, count_one, &count);
        assert_int_equal(count, ARRAY_SIZE(many));
        struct backend *twin = NULL;
        struct backend_spec spec = rig_spec(&rig);
        spec.vcl = vcl;
        spec.name = "b3";
        assert_int_equal(backend_new(rig.set, &spec, &twin), RC_OK);
        backend_release(&twin);
        for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
            backend_release(&many[i]);
        }
        count = 0;
        backends_each(rig.set, count_one, &count);
        assert_int_equal(count, 0);
    }
    rig_close(&rig);
}

/* As when a policy is loaded anew. */
static void one_place_has_one_pool(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 2);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *former = rig_backend(&rig, &spec);
    spec.vcl = "next";
    struct backend *next = rig_backend(&rig, &spec);
    struct use first = use_on(&rig, 0, former, true);
    assert_false(first.was_reused);
    struct use second = use_on(&rig, 1, next, true);
    assert_true(second.was_reused);
    assert_string_equal(first.ends, second.ends);
    backend_release(&former);
    struct use third = use_on(&rig, 0, next, true);
    assert_true(third.was_reused);
    assert_string_equal(first.ends, third.ends);
    assert_int_equal(vsc_get(&backend_counters(next)->req), 2);
    /* Elsewhere is elsewhere. */
    spec.name = "elsewhere";
    spec.host = NULL;
    spec.path = "/nonexistent/socket";
    struct backend *other = rig_backend(&rig, &spec);
    assert_int_equal(use_on(&rig, 0, other, true).rc, RC_NOT_FOUND);
    backend_release(&other);
    backend_release(&next);
    int fd = rig_accept(&rig);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
    rig_close(&rig);
}

struct holder {
    struct backend *backend;
    struct bconn *conn;
};

static void hold(void *arg)
{
    struct holder *h = arg;
    assert_int_equal(backend_get(h->backend, &ANY, &h->conn), RC_OK);
}

static void let_go(void *arg)
{
    struct holder *h = arg;
    backend_put(&h->conn, true);
}

/* A policy may be loaded again under the name of one that was just discarded. */
static void a_name_is_free_at_once(void **state)
{
    (void)state;
    static const struct probe_spec probe = {.interval_ns = NS_PER_MS};
    struct rig rig;
    rig_open(&rig, 2);
    struct backend_spec spec = rig_spec(&rig);
    spec.probe = &probe;
    for (unsigned i = 0; i < 50; i++) {
        struct holder h = {.backend = rig_backend(&rig, &spec)};
        backend_set_admin(h.backend, BACKEND_HEALTHY);
        if (i % 2 == 1) {
            rig_on(&rig, 0, hold, &h);
        }
        backend_release(&h.backend);
        if (i % 2 == 1) {
            rig_on(&rig, 0, let_go, &h);
        }
    }
    rig_close(&rig);
}

struct made {
    struct rig *rig;
    struct backend *backend;
};

static void make_there(void *arg)
{
    struct made *m = arg;
    struct backend_spec spec = rig_spec(m->rig);
    spec.host = "localhost";
    assert_int_equal(backend_new(m->rig->set, &spec, &m->backend), RC_OK);
}

static void a_fiber_may_make_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct made m = {.rig = &rig};
    rig_on(&rig, 0, make_there, &m);
    assert_int_equal(use_on(&rig, 0, m.backend, true).rc, RC_OK);
    backend_release(&m.backend);
    rig_close(&rig);
}

static void why_there_is_no_connection_is_counted(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    backend_set_admin(b, BACKEND_SICK);
    assert_int_equal(use_on(&rig, 0, b, true).rc, RC_SICK);
    assert_int_equal(vsc_get(&backend_counters(b)->unhealthy), 1);
    backend_set_admin(b, BACKEND_AUTO);
    assert_int_equal(use_on(&rig, 0, b, true).rc, RC_OK);
    backend_release(&b);

    spec.name = "nowhere";
    spec.path = "/nonexistent/socket";
    b = rig_backend(&rig, &spec);
    assert_string_equal(backend_host_header(b), "0.0.0.0");
    assert_int_equal(use_on(&rig, 0, b, true).rc, RC_NOT_FOUND);
    assert_int_equal(vsc_get(&backend_counters(b)->fail), 1);
    assert_int_equal(vsc_get(&backend_counters(b)->fail_other), 1);
    backend_release(&b);

    spec.name = "unknown";
    spec.path = NULL;
    spec.host = "name.invalid";
    assert_int_equal(backend_new(rig.set, &spec, &b), RC_NOT_FOUND);
    assert_null(b);
    rig_close(&rig);
}

static void time_outs_are_its_own_or_the_parameters(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    assert_string_equal(backend_host_header(b), "127.0.0.1");
    assert_int_equal(backend_first_byte_timeout_ns(b), param(&rig.params, first_byte_timeout));
    assert_int_equal(backend_between_bytes_timeout_ns(b),
                     param(&rig.params, between_bytes_timeout));
    backend_release(&b);
    spec.name = "own";
    spec.host_header = "a.example";
    spec.first_byte_timeout_ns = 1;
    spec.between_bytes_timeout_ns = 2;
    b = rig_backend(&rig, &spec);
    assert_string_equal(backend_host_header(b), "a.example");
    assert_string_equal(backend_cli_name(b), "boot.own");
    assert_int_equal(backend_first_byte_timeout_ns(b), 1);
    assert_int_equal(backend_between_bytes_timeout_ns(b), 2);
    backend_release(&b);
    rig_close(&rig);
}

struct prefaced {
    struct backend *backend;
    const struct proxy_addr *client;
    size_t bytes;
};

static void use_prefaced(void *arg)
{
    struct prefaced *p = arg;
    const struct backend_ask ask = {.client = p->client, .server = p->client};
    struct bconn *c = NULL;
    assert_int_equal(backend_get(p->backend, &ask, &c), RC_OK);
    assert_false(bconn_may_be_kept(c));
    assert_false(bconn_is_reused(c));
    p->bytes = bconn_preface_bytes(c);
    backend_put(&c, false);
}

static void a_preface_goes_first(void **state)
{
    (void)state;
    static const struct {
        unsigned version;
        bool is_told;
        struct str preface;
    } cases[] = {
        {1, true, STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.1 7 7\r\n")},
        {1, false, STR_INIT("PROXY UNKNOWN\r\n")},
        {2, true, STR_INIT("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\1\0\7\0\7")},
        {2, false, STR_INIT("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")},
    };
    struct rig rig;
    rig_open(&rig, 1);
    struct proxy_addr client;
    assert_int_equal(proxy_addr_parse(&client, STR("192.0.2.1"), STR("7")), RC_OK);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "p%zu", i);
        struct backend_spec spec = rig_spec(&rig);
        spec.name = name;
        spec.proxy_header = cases[i].version;
        struct prefaced p = {.backend = rig_backend(&rig, &spec),
                             .client = cases[i].is_told ? &client : NULL};
        rig_on(&rig, 0, use_prefaced, &p);
        assert_int_equal(p.bytes, cases[i].preface.len);
        char got[128];
        int fd = rig_accept(&rig);
        assert_int_equal(recv(fd, got, sizeof got, MSG_WAITALL), (int)cases[i].preface.len);
        assert_memory_equal(got, cases[i].preface.ptr, cases[i].preface.len);
        (void)close(fd);
        backend_release(&p.backend);
    }
    rig_close(&rig);
}

enum { CROWD = 24, ROUNDS = 40 };

static void use_often(void *arg)
{
    struct use *u = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct bconn *c = NULL;
        enum rc rc = backend_get(u->backend, &ANY, &c);
        assert_int_equal(rc, RC_OK);
        fiber_yield();
        backend_put(&c, i % 8 != 7);
        fiber_yield();
    }
}

static void many_use_it_from_all_loops(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 4);
    struct backend_spec spec = rig_spec(&rig);
    struct backend *b = rig_backend(&rig, &spec);
    struct use u = {.backend = b};
    struct rig_task *tasks[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        tasks[i] = rig_start(&rig, i % 4, use_often, &u);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        rig_join(tasks[i]);
    }
    assert_int_equal(vsc_get(&backend_counters(b)->conn), 0);
    assert_int_equal(vsc_get(&backend_counters(b)->req), CROWD * ROUNDS);
    backend_release(&b);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_used_again),
        cmocka_unit_test(what_one_loop_keeps_another_may_have),
        cmocka_unit_test(handing_over_has_an_end),
        cmocka_unit_test(what_the_peer_closes_is_not_kept),
        cmocka_unit_test(without_an_owner_nothing_is_kept),
        cmocka_unit_test(backends_come_and_go),
        cmocka_unit_test(one_place_has_one_pool),
        cmocka_unit_test(a_name_is_free_at_once),
        cmocka_unit_test(a_fiber_may_make_one),
        cmocka_unit_test(why_there_is_no_connection_is_counted),
        cmocka_unit_test(time_outs_are_its_own_or_the_parameters),
        cmocka_unit_test(a_preface_goes_first),
        cmocka_unit_test(many_use_it_from_all_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
