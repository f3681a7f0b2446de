/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* limit: what the kernel alone costs on this machine.
 *
 * The problem: a figure such as "7 us of CPU a request" says nothing by itself, because most of it
 * is the kernel's, and another machine has another kernel and clock.  The idea: measure, beside
 * each server, the least that a server can do, and give all figures as ratios to that.
 *
 * So this is an HTTP server without HTTP: one epoll loop, one recv, requests counted by their empty
 * line, and for each the same canned answer by one of three ways:
 *   copy      one writev of head and body, from a mapping
 *   sendfile  send of the head, then sendfile of the body
 *   splice    send of the head, then the body through a pipe
 * It does not parse, look up, log, or time out, and it believes that a request's head arrives in
 * one piece, which is true of the load generator that it is made for. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mem.h"

enum { RECV_BYTES = 65536, EVENTS_MAX = 128, BACKLOG = 1024 };

struct conn;
struct server;

/* Sends what the socket takes of the answer that conn stands in.  True once all of it is sent;
 * false when the socket is full or broken, which the next event or recv tells apart. */
typedef bool send_fn(const struct server *server, struct conn *conn);

struct server {
    send_fn *send;
    char head[256];
    size_t head_bytes;
    int body_fd;
    char *map;
    size_t body_bytes;
    size_t bodies;
    size_t chunk_bytes; /* the most that one sendfile moves, or the size of the pipe */
    size_t turn;        /* which body the next answer has */
    int epoll_fd;
    int listen_fd;
};

struct conn {
    int fd;
    size_t pending; /* requests that have no answer yet */
    size_t head_sent;
    size_t body_sent;
    size_t body_base; /* where this answer's body begins in the file */
    int pipe[2];
    size_t in_pipe;
};

static bool send_copy(const struct server *server, struct conn *conn)
{
    struct iovec iov[2] = {
        {(char *)(uintptr_t)server->head + conn->head_sent, server->head_bytes - conn->head_sent},
        {server->map + conn->body_base + conn->body_sent, server->body_bytes - conn->body_sent},
    };
    while (iov[0].iov_len + iov[1].iov_len > 0) {
        ssize_t sent = writev(conn->fd, iov, 2);
        if (sent < 0) {
            return false;
        }
        for (int i = 0; i < 2; i++) {
            size_t part = (size_t)sent < iov[i].iov_len ? (size_t)sent : iov[i].iov_len;
            iov[i].iov_base = (char *)iov[i].iov_base + part;
            iov[i].iov_len -= part;
            sent -= (ssize_t)part;
        }
        conn->head_sent = server->head_bytes - iov[0].iov_len;
        conn->body_sent = server->body_bytes - iov[1].iov_len;
    }
    return true;
}

static bool send_head(const struct server *server, struct conn *conn)
{
    while (conn->head_sent < server->head_bytes) {
        ssize_t sent = send(conn->fd, server->head + conn->head_sent,
                            server->head_bytes - conn->head_sent, MSG_MORE);
        if (sent < 0) {
            return false;
        }
        conn->head_sent += (size_t)sent;
    }
    return true;
}

static size_t chunk_of(const struct server *server, const struct conn *conn)
{
    size_t left = server->body_bytes - conn->body_sent;
    return left < server->chunk_bytes ? left : server->chunk_bytes;
}

static bool send_sendfile(const struct server *server, struct conn *conn)
{
    if (!send_head(server, conn)) {
        return false;
    }
    while (conn->body_sent < server->body_bytes) {
        off_t from = (off_t)(conn->body_base + conn->body_sent);
        ssize_t sent = sendfile(conn->fd, server->body_fd, &from, chunk_of(server, conn));
        if (sent <= 0) {
            return false;
        }
        conn->body_sent += (size_t)sent;
    }
    return true;
}

static bool pipe_fill(const struct server *server, struct conn *conn)
{
    loff_t from = (loff_t)(conn->body_base + conn->body_sent);
    ssize_t moved = splice(server->body_fd, &from, conn->pipe[1], NULL, chunk_of(server, conn),
                           SPLICE_F_NONBLOCK);
    if (moved <= 0) {
        return false;
    }
    conn->in_pipe = (size_t)moved;
    return true;
}

static bool send_splice(const struct server *server, struct conn *conn)
{
    if (!send_head(server, conn)) {
        return false;
    }
    while (conn->body_sent < server->body_bytes) {
        if (conn->in_pipe == 0 && !pipe_fill(server, conn)) {
            return false;
        }
        bool is_last = conn->body_sent + conn->in_pipe == server->body_bytes;
        ssize_t sent = splice(conn->pipe[0], NULL, conn->fd, NULL, conn->in_pipe,
                              SPLICE_F_NONBLOCK | (is_last ? 0U : SPLICE_F_MORE));
        if (sent <= 0) {
            return false;
        }
        conn->body_sent += (size_t)sent;
        conn->in_pipe -= (size_t)sent;
    }
    return true;
}

static const struct {
    const char *name;
    send_fn *send;
} ways[] = {
    {"copy", send_copy},
    {"sendfile", send_sendfile},
    {"splice", send_splice},
};

static void conn_turn(struct server *server, struct conn *conn)
{
    conn->head_sent = 0;
    conn->body_sent = 0;
    conn->body_base = (server->turn++ % server->bodies) * server->body_bytes;
}

static void conn_accept_all(struct server *server)
{
    int fd;
    while ((fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *conn = xcalloc(1, sizeof(*conn));
        conn->fd = fd;
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (server->send == send_splice) {
            if (pipe2(conn->pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
                err(1, "pipe2");
            }
            (void)fcntl(conn->pipe[1], F_SETPIPE_SZ, (int)server->chunk_bytes);
        }
        conn_turn(server, conn);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
        if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
            err(1, "epoll_ctl");
        }
    }
}

static void conn_close(const struct server *server, struct conn *conn)
{
    (void)close(conn->fd);
    if (server->send == send_splice) {
        (void)close(conn->pipe[0]);
        (void)close(conn->pipe[1]);
    }
    free(conn);
}

/* Takes what has arrived; false when the peer is gone. */
static bool conn_recv(struct conn *conn, char *buf)
{
    ssize_t got = recv(conn->fd, buf, RECV_BYTES, 0);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    const char *at = buf;
    while ((at = memmem(at, (size_t)(buf + got - at), "\r\n\r\n", 4)) != NULL) {
        at += 4;
        conn->pending++;
    }
    return true;
}

static void conn_serve(struct server *server, struct conn *conn, uint32_t events, char *buf)
{
    if ((events & EPOLLIN) != 0 && !conn_recv(conn, buf)) {
        conn_close(server, conn);
        return;
    }
    while (conn->pending > 0 && server->send(server, conn)) {
        conn->pending--;
        conn_turn(server, conn);
    }
}

static NORETURN void serve(struct server *server)
{
    static char buf[RECV_BYTES];
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int n = epoll_wait(server->epoll_fd, events, ARRAY_SIZE(events), -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                conn_accept_all(server);
            } else {
                conn_serve(server, events[i].data.ptr, events[i].events, buf);
            }
        }
    }
}

static void bodies_make(struct server *server)
{
    size_t all_bytes = server->bodies * server->body_bytes;
    server->body_fd = memfd_create("bodies", MFD_CLOEXEC);
    if (server->body_fd < 0 || ftruncate(server->body_fd, (off_t)all_bytes) != 0) {
        err(1, "bodies");
    }
    server->map = mmap(NULL, all_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, server->body_fd, 0);
    if (server->map == MAP_FAILED) {
        err(1, "mmap");
    }
    memset(server->map, 'x', all_bytes);
    /* As long as what a cache answers with. */
    int n = snprintf(server->head, sizeof(server->head),
                     "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                     "Content-Length: %zu\r\nCache-Control: max-age=3600\r\nAge: 10\r\n"
                     "X-Varnish: 32770 3\r\nVia: 1.1 limit\r\nAccept-Ranges: bytes\r\n"
                     "Connection: keep-alive\r\n\r\n",
                     server->body_bytes);
    server->head_bytes = (size_t)n;
}

static void listen_on(struct server *server, uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listen_fd < 0 ||
        setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(server->listen_fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(server->listen_fd, BACKLOG) != 0) {
        err(1, "port %u", port);
    }
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event) != 0) {
        err(1, "epoll_ctl");
    }
}

static NORETURN void usage(void)
{
    errx(2, "usage: limit -p PORT -b BYTES [-n BODIES] [-w copy|sendfile|splice] [-c CHUNKBYTES]");
}

int main(int argc, char **argv)
{
    struct server server = {.send = send_copy, .bodies = 1, .chunk_bytes = 1U << 20};
    unsigned long port = 0;
    int opt;
    while ((opt = getopt(argc, argv, "p:b:n:w:c:")) != -1) {
        const char *value = optarg != NULL ? optarg : "";
        unsigned long number = strtoul(value, NULL, 0);
        if (opt == 'p') {
            port = number;
        } else if (opt == 'b') {
            server.body_bytes = number;
        } else if (opt == 'n') {
            server.bodies = number;
        } else if (opt == 'c') {
            server.chunk_bytes = number;
        } else if (opt == 'w') {
            server.send = NULL;
            for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                server.send = strcmp(ways[i].name, value) == 0 ? ways[i].send : server.send;
            }
        } else {
            usage();
        }
    }
    if (port == 0 || port > UINT16_MAX || server.body_bytes == 0 || server.bodies == 0 ||
        server.chunk_bytes == 0 || server.send == NULL) {
        usage();
    }
    (void)signal(SIGPIPE, SIG_IGN);
    bodies_make(&server);
    listen_on(&server, (uint16_t)port);
    serve(&server);
}
