/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The worker's side of the command line interface: one blocking thread, one socket, one table.
 * The manager sends a request at a time and waits, so answers need no queue.  The end of the socket
 * is the order to stop: it comes with `stop` and when the manager died alike. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/fd.h"
#include "mgt/cli_proto.h"

/* After a call that failed: false if the socket has come to its end.  Else it waits until the
 * descriptor, which may be non-blocking, can go on: a worker does not end because the kernel has no
 * memory for a moment. */
static bool may_go_on(int fd, short events, int err)
{
    if (err == EAGAIN) {
        struct pollfd pfd = {.fd = fd, .events = events};
        (void)fd_poll(&pfd, 1, -1);
        return true;
    }
    fd_pause(err);
    return fd_is_passing(err);
}

static enum rc send_all(int fd, struct str s)
{
    while (s.len > 0) {
        ssize_t n = send(fd, s.ptr, s.len, MSG_NOSIGNAL);
        if (n >= 0) {
            s.ptr += n;
            s.len -= (size_t)n;
        } else if (!may_go_on(fd, POLLOUT, errno)) {
            return RC_IO;
        }
    }
    return RC_OK;
}

/* Appends what there is to read.  RC_EOF, RC_IO. */
static enum rc receive_more(int fd, struct cli_text *in)
{
    char buf[1024];
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n > 0) {
            cli_text_add(in, (struct str){buf, (size_t)n});
            return RC_OK;
        }
        if (n == 0 || errno == ECONNRESET) {
            return RC_EOF;
        }
        if (!may_go_on(fd, POLLIN, errno)) {
            return RC_IO;
        }
    }
}

static void report_traffic(cli_traffic_fn *traffic, void *ctx, const char *direction,
                           struct str text)
{
    if (traffic != NULL) {
        traffic(ctx, direction, text);
    }
}

static enum rc send_answer(int fd, unsigned status, const struct cli_text *text,
                           cli_traffic_fn *traffic, void *ctx)
{
    struct cli_text out = {0};
    cli_text_printf(&out, "%u %zu ", status, text->len);
    cli_text_add(&out, cli_text_str(text));
    report_traffic(traffic, ctx, "Wr", cli_text_str(&out));
    cli_text_clear(&out);
    cli_answer_put(&out, status, cli_text_str(text), CLI_REQUEST_MAX);
    enum rc rc = send_all(fd, cli_text_str(&out));
    cli_text_free(&out);
    return rc;
}

/* Answers the request at the front of `in`.  RC_AGAIN: there is none; RC_EOF: asked to close. */
static enum rc serve_one(int fd, struct cli_text *in, const struct cli_cmd *table,
                         cli_traffic_fn *traffic, void *ctx)
{
    struct cli_request req;
    size_t used;
    const char *why = NULL;
    enum rc rc = cli_request_parse(cli_text_str(in), &req, &used, &why);
    if (rc == RC_AGAIN || rc == RC_TOO_LONG) {
        return rc;
    }
    struct cli_text text = {0};
    unsigned status = CLI_OK;
    if (rc == RC_MALFORMED) {
        status = CLI_SYNTAX;
        cli_text_printf(&text, "Syntax Error: %s", why);
    } else if (rc == RC_OK) {
        const struct cli_cmd *cmd = cli_find(table, req.argv[0]);
        struct cli_text line = {0};
        cli_request_put(&line, &req);
        report_traffic(traffic, ctx, "Rd", (struct str){line.ptr, line.len - 1});
        cli_text_free(&line);
        if (cmd == NULL) {
            status = CLI_UNKNOWN;
            cli_text_printf(&text, "Unknown request.\nType 'help' for more info.\n");
        } else {
            cli_run(cmd, &req, &text, &status, ctx);
        }
    }
    CHECK(used <= in->len);
    if (used > 0) {
        memmove(in->ptr, in->ptr + used, in->len - used);
        in->len -= used;
    }
    bool is_empty = rc == RC_EOF;
    rc = is_empty ? RC_OK : send_answer(fd, status, &text, traffic, ctx);
    cli_text_free(&text);
    cli_request_free(&req);
    return rc == RC_OK && status == CLI_CLOSE ? RC_EOF : rc;
}

enum rc cli_serve(int fd, const struct cli_cmd *table, cli_traffic_fn *traffic, void *ctx)
{
    CHECK(fd >= 0);
    CHECK(table != NULL);
    struct cli_text in = {0};
    enum rc rc;
    do {
        rc = serve_one(fd, &in, table, traffic, ctx);
        if (rc == RC_AGAIN) {
            rc = receive_more(fd, &in);
        }
    } while (rc == RC_OK);
    cli_text_free(&in);
    return rc == RC_EOF ? RC_OK : RC_IO;
}
