/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Connections of the command line interface: accepted (-T), made by us (-M), or stdin (-d).
 *
 * A peer first proves that it can read the secret file: it is given 32 random letters and answers
 * with SHA-256 over letters, newline, file, letters, newline.  Until then it may send little (4 KiB
 * a request) and gets no second try.  Answers that the peer does not take are kept for it, and as
 * long as there are any its next request waits. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mgt/priv.h"

enum { REQUEST_MAX_UNAUTHED = 4096, OUT_CHUNK = 4096 };

static void conn_run(struct mgt_conn *conn);
static void master_retry(struct mgt_master *master);

void mgt__challenge(struct mgt_conn *conn, struct cli_text *text)
{
    unsigned char random[32];
    CHECK(getrandom(random, sizeof random, 0) == sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        conn->challenge[i] = (char)('a' + random[i] % 26);
    }
    conn->challenge[sizeof random] = '\0';
    cli_text_printf(text, "%s\n\nAuthentication required.\n", conn->challenge);
}

static void close_conn(struct mgt_conn *conn)
{
    struct mgt *mgt = conn->mgt;
    mgt__unwatch(&mgt->poll, &conn->in_watch);
    mgt__unwatch(&mgt->poll, &conn->out_watch);
    if (conn->is_console) {
        mgt->is_ending = true;
    } else {
        (void)close(conn->in_fd);
    }
    if (conn->master != NULL) {
        master_retry(conn->master);
    }
    list_remove(&conn->link);
    mgt->conns_count--;
    cli_text_free(&conn->in);
    cli_text_free(&conn->out);
    free(conn);
}

/* Sends what it can without blocking.  False: the peer is gone. */
static bool conn_flush(struct mgt_conn *conn)
{
    size_t sent = 0;
    bool is_alive = true;
    while (sent < conn->out.len) {
        size_t len = conn->out.len - sent;
        ssize_t n;
        if (conn->is_console) {
            /* stdout may be shared with others, so it stays a blocking one: a chunk that a pipe
             * takes whole does not block once poll said so. */
            struct pollfd pfd = {.fd = conn->out_fd, .events = POLLOUT};
            if (poll(&pfd, 1, 0) != 1) {
                break;
            }
            n = write(conn->out_fd, conn->out.ptr + sent, len > OUT_CHUNK ? OUT_CHUNK : len);
        } else {
            n = send(conn->out_fd, conn->out.ptr + sent, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno != EINTR) {
            fd_pause(errno);
            is_alive = errno == EAGAIN || fd_is_passing(errno);
            break;
        }
    }
    if (sent > 0) {
        memmove(conn->out.ptr, conn->out.ptr + sent, conn->out.len - sent);
        conn->out.len -= sent;
    }
    return is_alive;
}

/* After anything that may have made output: sends, waits, or closes. May free the connection. */
static void conn_settle(struct mgt_conn *conn)
{
    struct mgt *mgt = conn->mgt;
    if (!conn_flush(conn) || (conn->is_closing && conn->out.len == 0)) {
        close_conn(conn);
        return;
    }
    if (conn->out.len > 0) {
        mgt__unwatch(&mgt->poll, &conn->in_watch);
        mgt__watch(&mgt->poll, &conn->out_watch, conn->out_fd, POLLOUT);
    } else {
        mgt__unwatch(&mgt->poll, &conn->out_watch);
        mgt__watch(&mgt->poll, &conn->in_watch, conn->in_fd, POLLIN);
    }
}

static void put_answer(struct mgt_conn *conn, unsigned status, const struct cli_text *text)
{
    struct mgt *mgt = conn->mgt;
    if (param(mgt->params.shared, syslog_cli_traffic) != 0) {
        mgt__log_cli("CLI %s Wr %03u %.*s", conn->ident, status, STR_ARG(cli_text_str(text)));
    }
    cli_answer_put(&conn->out, status, cli_text_str(text), param(mgt->params.shared, cli_limit));
    conn->is_closing = conn->is_closing || status == CLI_CLOSE;
}

/* Runs the request at the front of conn->in.  False: there is none yet. */
static bool conn_run_one(struct mgt_conn *conn)
{
    struct mgt *mgt = conn->mgt;
    struct cli_request req;
    struct cli_text text = {0};
    unsigned status = CLI_OK;
    size_t used;
    const char *why = NULL;
    enum rc rc = cli_request_parse(cli_text_str(&conn->in), &req, &used, &why);
    if (rc == RC_TOO_LONG ||
        (rc == RC_AGAIN && !conn->is_authed && conn->in.len > REQUEST_MAX_UNAUTHED)) {
        conn->is_closing = true;
        return false;
    }
    if (rc == RC_AGAIN) {
        return false;
    }
    memmove(conn->in.ptr, conn->in.ptr + used, conn->in.len - used);
    conn->in.len -= used;
    if (rc == RC_EOF) {
        return true;
    }
    if (rc == RC_OK) {
        if (param(mgt->params.shared, syslog_cli_traffic) != 0) {
            struct cli_text line = {0};
            cli_request_put(&line, &req);
            mgt__log_cli("CLI %s Rd %.*s", conn->ident, (int)line.len - 1, line.ptr);
            cli_text_free(&line);
        }
        struct mgt_call call = {mgt, conn};
        mgt__cli_run(&call, &req, &text, &status);
    } else {
        status = CLI_SYNTAX;
        cli_text_printf(&text, "Syntax Error: %s", why);
    }
    put_answer(conn, status, &text);
    cli_text_free(&text);
    cli_request_free(&req);
    return true;
}

static void conn_run(struct mgt_conn *conn)
{
    while (!conn->is_closing && conn->out.len == 0 && conn_run_one(conn)) {
        if (!conn_flush(conn)) {
            close_conn(conn);
            return;
        }
    }
    if (conn->in.len > 0 && !conn->is_console) {
        /* Clients that write a line in two pieces (varnishadm, varnishtest) would wait for our
         * delayed acknowledgement of the first: 40 ms a command. */
        int one = 1;
        (void)setsockopt(conn->in_fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
    }
    conn_settle(conn);
}

static void on_conn_in(struct mgt_watch *watch, short revents)
{
    (void)revents;
    struct mgt_conn *conn = watch->arg;
    char buf[1024];
    ssize_t n = read(conn->in_fd, buf, sizeof buf);
    if (n > 0) {
        cli_text_add(&conn->in, (struct str){buf, (size_t)n});
        conn_run(conn);
    } else if (n == 0 || (errno != EAGAIN && !fd_is_passing(errno))) {
        close_conn(conn);
    }
}

static void on_conn_out(struct mgt_watch *watch, short revents)
{
    (void)revents;
    struct mgt_conn *conn = watch->arg;
    if (!conn_flush(conn)) {
        close_conn(conn);
        return;
    }
    conn_run(conn);
}

/* Owns the descriptors from here on; NULL if there are too many connections. */
static struct mgt_conn *open_conn(struct mgt *mgt, int in_fd, int out_fd, const char *ident,
                                  bool is_console)
{
    if (mgt->conns_count == MGT_CONNS_MAX) {
        mgt__log(MGT_ERROR, "CLI %s refused: there are %d connections", ident, MGT_CONNS_MAX);
        (void)close(in_fd);
        return NULL;
    }
    struct mgt_conn *conn = xcalloc(1, sizeof *conn);
    conn->mgt = mgt;
    conn->in_fd = in_fd;
    conn->out_fd = out_fd;
    conn->is_console = is_console;
    conn->is_authed = is_console || mgt->dir.secret_path == NULL;
    conn->in_watch = (struct mgt_watch){.fn = on_conn_in, .arg = conn};
    conn->out_watch = (struct mgt_watch){.fn = on_conn_out, .arg = conn};
    (void)snprintf(conn->ident, sizeof conn->ident, "%s", ident);
    list_push_back(&mgt->conns, &conn->link);
    mgt->conns_count++;
    return conn;
}

/* Says the first word.  May free the connection. */
static void conn_greet(struct mgt_conn *conn)
{
    struct cli_text text = {0};
    if (conn->is_authed) {
        mgt__banner(conn->mgt, &text);
    } else {
        mgt__challenge(conn, &text);
    }
    put_answer(conn, conn->is_authed ? CLI_OK : CLI_AUTH, &text);
    cli_text_free(&text);
    conn_settle(conn);
}

void mgt__cli_console(struct mgt *mgt)
{
    struct mgt_conn *conn = open_conn(mgt, STDIN_FILENO, STDOUT_FILENO, "debug", true);
    CHECK(conn != NULL);
    conn_greet(conn);
}

/* "telnet 127.0.0.1 57420 127.0.0.1 6082": theirs, ours. */
static void socket_ident(int fd, char *ident, size_t bytes)
{
    struct mgt_addr peer = {.len = sizeof peer.sa};
    struct mgt_addr own = {.len = sizeof own.sa};
    char text[4][48] = {"-", "-", "-", "-"};
    if (getpeername(fd, (struct sockaddr *)(void *)&peer.sa, &peer.len) == 0) {
        mgt__addr_text(&peer, text[0], sizeof text[0], text[1], sizeof text[1]);
    }
    if (getsockname(fd, (struct sockaddr *)(void *)&own.sa, &own.len) == 0) {
        mgt__addr_text(&own, text[2], sizeof text[2], text[3], sizeof text[3]);
    }
    (void)snprintf(ident, bytes, "telnet %s %s %s %s", text[0], text[1], text[2], text[3]);
}

static void on_accept(struct mgt_watch *watch, short revents)
{
    (void)revents;
    struct mgt_cli_listen *listen = watch->arg;
    int fd = accept4(listen->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    char ident[160];
    socket_ident(fd, ident, sizeof ident);
    struct mgt_conn *conn = open_conn(listen->mgt, fd, fd, ident, false);
    if (conn != NULL) {
        conn_greet(conn);
    }
}

static int listen_at(struct mgt_addr *addr)
{
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;
    socklen_t len = sizeof addr->sa;
    struct sockaddr *sa = (struct sockaddr *)(void *)&addr->sa;
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        (addr->sa.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0) ||
        bind(fd, sa, addr->len) != 0 || listen(fd, 10) != 0 || getsockname(fd, sa, &len) != 0) {
        int err = errno;
        (void)close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

enum rc mgt__cli_listen(struct mgt *mgt, const char *listen_arg, struct cli_text *names,
                        struct cli_text *why)
{
    char host[256];
    char port[32];
    struct mgt_addr addrs[MGT_ADDRS_MAX];
    unsigned count = 0;
    enum rc rc = addr_split(str_of(listen_arg), "6082", host, sizeof host, port, sizeof port, why);
    if (rc == RC_OK) {
        rc = mgt__resolve(host, port, true, addrs, &count, why);
    }
    if (rc != RC_OK) {
        return rc;
    }
    unsigned good = 0;
    int err = 0;
    for (unsigned i = 0; i < count && mgt->cli_listens_count < MGT_CLI_LISTENS_MAX; i++) {
        int fd = listen_at(&addrs[i]);
        if (fd < 0) {
            err = errno;
            continue;
        }
        struct mgt_cli_listen *listen = &mgt->cli_listens[mgt->cli_listens_count++];
        *listen = (struct mgt_cli_listen){.fd = fd, .mgt = mgt};
        listen->watch = (struct mgt_watch){.fn = on_accept, .arg = listen};
        mgt__watch(&mgt->poll, &listen->watch, fd, POLLIN);
        char text[64];
        mgt__addr_text(&addrs[i], text, sizeof text, port, sizeof port);
        cli_text_printf(names, "%s %s\n", text, port);
        good++;
    }
    if (good == 0) {
        cli_text_printf(why, "-T %s: Could not get socket: %s", listen_arg, strerror(err));
        return RC_EXISTS;
    }
    return RC_OK;
}

/* ---- -M: we connect, and go on trying ---- */

static void master_retry(struct mgt_master *master)
{
    /* At once at first (a test driver that listens already), then less often. */
    uint64_t delay_ns = 100 * NS_PER_MS;
    if (master->failures > 20) {
        delay_ns = master->failures > 100 ? 10 * NS_PER_S : NS_PER_S;
    }
    if (!master->mgt->is_ending) {
        mgt__timer(&master->mgt->poll, &master->retry, clock_mono_ns() + delay_ns);
    }
}

static void master_failed(struct mgt_master *master)
{
    mgt__unwatch(&master->mgt->poll, &master->connecting);
    if (master->fd >= 0) {
        (void)close(master->fd);
        master->fd = -1;
    }
    master->failures++;
    master_retry(master);
}

static void on_connected(struct mgt_watch *watch, short revents)
{
    (void)revents;
    struct mgt_master *master = watch->arg;
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(master->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
        master_failed(master);
        return;
    }
    mgt__unwatch(&master->mgt->poll, watch);
    int fd = master->fd;
    master->fd = -1;
    master->failures = 0;
    char ident[160];
    socket_ident(fd, ident, sizeof ident);
    struct mgt_conn *conn = open_conn(master->mgt, fd, fd, ident, false);
    if (conn == NULL) {
        master_failed(master);
        return;
    }
    conn->master = master;
    conn_greet(conn);
}

static void on_retry(struct mgt_timer *timer)
{
    struct mgt_master *master = timer->arg;
    struct mgt_addr addrs[MGT_ADDRS_MAX];
    unsigned count = 0;
    struct cli_text why = {0};
    enum rc rc = mgt__resolve(master->host, master->port, false, addrs, &count, &why);
    cli_text_free(&why);
    if (rc != RC_OK) {
        master_failed(master);
        return;
    }
    const struct mgt_addr *addr = &addrs[master->failures % count];
    master->fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct sockaddr *sa = (const struct sockaddr *)(const void *)&addr->sa;
    if (master->fd < 0 || (connect(master->fd, sa, addr->len) != 0 && errno != EINPROGRESS)) {
        master_failed(master);
        return;
    }
    mgt__watch(&master->mgt->poll, &master->connecting, master->fd, POLLOUT);
}

enum rc mgt__cli_master(struct mgt *mgt, const char *master_arg, struct cli_text *why)
{
    CHECK(mgt->masters_count < ARRAY_SIZE(mgt->masters));
    struct mgt_master *master = &mgt->masters[mgt->masters_count++];
    *master = (struct mgt_master){.mgt = mgt, .fd = -1};
    master->retry = (struct mgt_timer){.fn = on_retry, .arg = master};
    master->connecting = (struct mgt_watch){.fn = on_connected, .arg = master};
    enum rc rc = addr_split(str_of(master_arg), "", master->host, sizeof master->host, master->port,
                            sizeof master->port, why);
    if (rc != RC_OK || master->port[0] == '\0') {
        cli_text_clear(why);
        cli_text_printf(why, "-M %s: must be address:port", master_arg);
        return RC_INVALID;
    }
    mgt__timer(&mgt->poll, &master->retry, clock_mono_ns());
    return RC_OK;
}

/* ---- the end ---- */

static void close_listeners(struct mgt *mgt)
{
    for (unsigned i = 0; i < mgt->cli_listens_count; i++) {
        mgt__unwatch(&mgt->poll, &mgt->cli_listens[i].watch);
        (void)close(mgt->cli_listens[i].fd);
    }
    mgt->cli_listens_count = 0;
    for (unsigned i = 0; i < mgt->masters_count; i++) {
        mgt__timer_stop(&mgt->masters[i].retry);
        mgt__unwatch(&mgt->poll, &mgt->masters[i].connecting);
        if (mgt->masters[i].fd >= 0) {
            (void)close(mgt->masters[i].fd);
            mgt->masters[i].fd = -1;
        }
    }
}

void mgt__cli_end(struct mgt *mgt)
{
    CHECK(mgt->is_ending);
    LIST_FOREACH_SAFE (node, &mgt->conns) {
        struct mgt_conn *conn = CONTAINER_OF(node, struct mgt_conn, link);
        (void)conn_flush(conn);
        close_conn(conn);
    }
    close_listeners(mgt);
}

void mgt__cli_forked(struct mgt *mgt)
{
    LIST_FOREACH (node, &mgt->conns) {
        struct mgt_conn *conn = CONTAINER_OF(node, struct mgt_conn, link);
        if (!conn->is_console) {
            (void)close(conn->in_fd);
        }
    }
    close_listeners(mgt);
}
