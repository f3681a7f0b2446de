/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A name with addresses of both kinds, and which of them is tried first. */
#include "rig.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

/* In place of the system's, which knows no name that has both here. */
static struct addrinfo both[2];
static struct sockaddr_in6 six;
static struct sockaddr_in four;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    (void)hints;
    if (strcmp(node, "both.test") != 0) {
        return EAI_NONAME;
    }
    in_port_t port = htons((in_port_t)strtoul(service, NULL, 10));
    six = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = in6addr_loopback};
    four = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    both[0] = (struct addrinfo){.ai_family = AF_INET6,
                                .ai_addr = (struct sockaddr *)&six,
                                .ai_addrlen = sizeof six,
                                .ai_next = &both[1]};
    both[1] = (struct addrinfo){
        .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&four, .ai_addrlen = sizeof four};
    *res = both;
    return 0;
}

void freeaddrinfo(struct addrinfo *res)
{
    (void)res;
}

/* On the port of the rig's own listener; -1 without IPv6. */
static int listen_six(const struct rig *rig)
{
    const struct sockaddr_in6 sa = {.sin6_family = AF_INET6,
                                    .sin6_port = htons((in_port_t)strtoul(rig->port, NULL, 10)),
                                    .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (const struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, 8) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

struct where {
    struct backend *backend;
    bool is_six;
};

static void connect_once(void *arg)
{
    struct where *w = arg;
    const struct backend_ask ask = {.fresh = true};
    struct bconn *c = NULL;
    assert_int_equal(backend_get(w->backend, &ask, &c), RC_OK);
    w->is_six = bconn_ends(c).ptr[0] == ':';
    backend_put(&c, false);
}

static bool goes_by_six(struct rig *rig, struct backend *b)
{
    struct where w = {.backend = b};
    rig_on(rig, 0, connect_once, &w);
    return w.is_six;
}

static void the_parameter_says_which_is_first(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    struct backend_spec spec = rig_spec(&rig);
    spec.host = "both.test";
    struct backend *b = rig_backend(&rig, &spec);
    assert_false(goes_by_six(&rig, b));
    param_set(&rig.params, PARAM_prefer_ipv6, 1);
    /* Nobody listens there: the other one is next. */
    assert_false(goes_by_six(&rig, b));
    int fd = listen_six(&rig);
    if (fd >= 0) {
        assert_true(goes_by_six(&rig, b));
        param_set(&rig.params, PARAM_prefer_ipv6, 0);
        assert_false(goes_by_six(&rig, b));
        (void)close(fd);
    }
    backend_release(&b);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parameter_says_which_is_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
