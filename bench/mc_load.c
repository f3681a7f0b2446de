/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Load in memcached's text protocol, the same for each server (bench/mc.py).
 *
 *   mc_load -p PORT -m get|set -k KEYS -b BYTES -c CONNECTIONS -s SECONDS
 *       Each connection asks, waits for its answer, and asks again.  Every answer has the length
 * that it must have, and the right beginning and end.  Prints "requests N". mc_load -p PORT -m fill
 * -k LAST -f FIRST -b BYTES Stores keys FIRST to LAST, many at a time, without answers; then waits
 * until that is done.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

enum { CONNECTIONS_MAX = 1024, FILL_BYTES = 64 << 10, LINE_MAX_BYTES = 128, ANSWER_MAX = 4 << 20 };

struct conf {
    const char *mode;
    unsigned port, keys, first, bytes, connections, seconds;
};

struct load {
    const struct conf *conf;
    int fds[CONNECTIONS_MAX];
    size_t got[CONNECTIONS_MAX];
    char *value;
    char *request; /* what is sent */
    char *answer;
    size_t answer_bytes;
    uint64_t requests;
    uint64_t seed;
};

static void end(const char *why)
{
    (void)fprintf(stderr, "mc_load: %s\n", why);
    exit(1);
}

static int open_connection(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    if (fd < 0 || connect(fd, (const struct sockaddr *)(const void *)&in, sizeof in) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        end("cannot connect");
    }
    return fd;
}

static void send_all(int fd, const char *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);
        if (n <= 0) {
            end("cannot send");
        }
        at += n;
        bytes -= (size_t)n;
    }
}

/* Keys have one length, so that answers have. */
static size_t put_set(char *to, const struct load *load, unsigned key, const char *noreply)
{
    int n =
        snprintf(to, LINE_MAX_BYTES, "set key:%010u 0 0 %u%s\r\n", key, load->conf->bytes, noreply);
    CHECK(n > 0 && n < LINE_MAX_BYTES);
    memcpy(to + n, load->value, load->conf->bytes);
    memcpy(to + n + load->conf->bytes, "\r\n", 2);
    return (size_t)n + load->conf->bytes + 2;
}

static void fill(struct load *load)
{
    int fd = open_connection(load->conf->port);
    char *buf = xmalloc(FILL_BYTES + LINE_MAX_BYTES + load->conf->bytes + 2);
    size_t used = 0;
    for (unsigned key = load->conf->first; key <= load->conf->keys; key++) {
        used += put_set(buf + used, load, key, " noreply");
        if (used >= FILL_BYTES) {
            send_all(fd, buf, used);
            used = 0;
        }
    }
    send_all(fd, buf, used);
    send_all(fd, "mn\r\n", 4);
    char said[LINE_MAX_BYTES];
    if (recv(fd, said, 4, MSG_WAITALL) != 4 || memcmp(said, "MN\r\n", 4) != 0) {
        end("no answer to what was filled in");
    }
    free(buf);
    (void)close(fd);
}

static void ask(struct load *load, unsigned i)
{
    load->seed = load->seed * 6364136223846793005u + 1442695040888963407u;
    unsigned key = (unsigned)((load->seed >> 33) % load->conf->keys);
    size_t bytes = 0;
    if (load->conf->mode[0] == 's') {
        bytes = put_set(load->request, load, key, "");
    } else {
        bytes = (size_t)snprintf(load->request, LINE_MAX_BYTES, "get key:%010u\r\n", key);
    }
    load->got[i] = 0;
    send_all(load->fds[i], load->request, bytes);
}

static void take(struct load *load, unsigned i)
{
    ssize_t n = recv(load->fds[i], load->answer, ANSWER_MAX, MSG_DONTWAIT);
    if (n <= 0) {
        end("the server has closed");
    }
    bool is_get = load->conf->mode[0] == 'g';
    if (load->got[i] == 0 && load->answer[0] != (is_get ? 'V' : 'S')) {
        end("not the answer that was asked for");
    }
    load->got[i] += (size_t)n;
    if (load->got[i] < load->answer_bytes) {
        return;
    }
    if (load->got[i] > load->answer_bytes || load->answer[n - 1] != '\n') {
        end("an answer of another length");
    }
    load->requests++;
    ask(load, i);
}

static double now(void)
{
    struct timespec ts;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run(struct load *load)
{
    const struct conf *conf = load->conf;
    char line[LINE_MAX_BYTES];
    int head = snprintf(line, sizeof line, "VALUE key:%010u 0 %u\r\n", 0u, conf->bytes);
    load->answer_bytes = conf->mode[0] == 's' ? strlen("STORED\r\n")
                                              : (size_t)head + conf->bytes + strlen("\r\nEND\r\n");
    int ep = epoll_create1(EPOLL_CLOEXEC);
    CHECK(ep >= 0);
    for (unsigned i = 0; i < conf->connections; i++) {
        load->fds[i] = open_connection(conf->port);
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
        CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, load->fds[i], &ev) == 0);
        ask(load, i);
    }
    double until = now() + conf->seconds;
    while (now() < until) {
        struct epoll_event events[64];
        int n = epoll_wait(ep, events, 64, 1000);
        for (int e = 0; e < n; e++) {
            take(load, events[e].data.u32);
        }
    }
    (void)printf("requests %llu\n", (unsigned long long)load->requests);
}

int main(int argc, char **argv)
{
    struct conf conf = {"get", 11211, 1000, 0, 1024, 64, 2};
    int opt;
    while ((opt = getopt(argc, argv, "p:m:k:f:b:c:s:")) != -1) {
        unsigned number = opt == 'm' || opt == '?' ? 0 : (unsigned)strtoul(optarg, NULL, 10);
        switch (opt) {
        case 'p':
            conf.port = number;
            break;
        case 'm':
            conf.mode = optarg;
            break;
        case 'k':
            conf.keys = number;
            break;
        case 'f':
            conf.first = number;
            break;
        case 'b':
            conf.bytes = number;
            break;
        case 'c':
            conf.connections = number;
            break;
        case 's':
            conf.seconds = number;
            break;
        default:
            end("usage: see the top of bench/mc_load.c");
        }
    }
    if (conf.connections > CONNECTIONS_MAX || conf.keys == 0 || conf.bytes > ANSWER_MAX / 2) {
        end("too many, or too large");
    }
    struct load *load = xcalloc(1, sizeof *load);
    load->conf = &conf;
    load->seed = 1;
    load->value = xmalloc(conf.bytes + 1);
    memset(load->value, 'v', conf.bytes);
    load->request = xmalloc(LINE_MAX_BYTES + conf.bytes + 2);
    load->answer = xmalloc(ANSWER_MAX);
    if (strcmp(conf.mode, "fill") == 0) {
        fill(load);
    } else {
        run(load);
    }
    free(load->answer);
    free(load->request);
    free(load->value);
    free(load);
    return 0;
}
