/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Responses on an HTTP/1 connection. */
#include "front/h1_priv.h"

#include "http/http_list.h"

/* After refusing a request we still read for a moment: closing with unread bytes would reset the
 * connection, and the client might never see why. */
#define LINGER_NS NS_PER_S
#define LINGER_BYTES ((size_t)64 << 10)

/* Bodies up to this size are copied behind their heads. */
#define JOINED_MAX ((size_t)4 << 10)

/* As sock_writev. */
static YIELDS enum rc put(struct h1 *h1, struct iovec *iov, unsigned iovs, bool more,
                          uint64_t *sent)
{
    /* What the kernel takes at once has no time-out, but a body that drips in all day has. */
    if (clock_mono_ns() >= h1->send_limit.deadline_ns) {
        h1->is_slow_reader = true;
        return RC_TIMEOUT;
    }
    enum rc rc = sock_writev(&h1->sess->sock, iov, iovs, h1->send_limit, more, sent);
    h1->is_slow_reader |= rc == RC_TIMEOUT;
    return rc;
}

static enum rc add_framing(struct h1 *h1, struct http *resp, uint64_t body_len)
{
    struct request *req = &h1->req;
    h1->is_length_known = body_len != UINT64_MAX;
    h1->is_chunked = false;
    h1->owed = req->sends_body && h1->is_length_known ? body_len : 0;
    /* The policy may have said it. */
    bool is_said = http_has(resp, HDR_CONNECTION);
    bool says_close = is_said && http_has_token(resp, HDR_CONNECTION, STR("close"));
    /* Who was not told to send his body may do so all the same: nobody knows what comes next. */
    req->close |= says_close || h1->wants_continue;
    enum rc rc = RC_OK;
    if (req->sends_body && !h1->is_length_known) {
        if (req->http->version >= 11) {
            h1->is_chunked = true;
            rc = http_set(resp, HDR_TRANSFER_ENCODING, STR("chunked"));
            vslb_header(&req->log, SLT_RespHeader, STR("Transfer-Encoding"), STR("chunked"));
        } else {
            req->close = true;
        }
    }
    bool is_right = is_said && (!req->close || says_close);
    if (rc == RC_OK && !is_right) {
        struct str word = req->close ? STR("close") : STR("keep-alive");
        rc = http_set_own(resp, HDR_CONNECTION, word);
        vslb_header(&req->log, SLT_RespHeader, STR("Connection"), word);
    }
    return rc;
}

/* A second buffer costs the kernel more than a copy of what is small, which it would read next in
 * any case: true when the body stands behind the head now. */
static bool join(struct sb *sb, const struct iovec *body)
{
    if (body->iov_len > JOINED_MAX || body->iov_len > sb->cap - sb->len) {
        return false;
    }
    sb_add(sb, body->iov_base, body->iov_len);
    return true;
}

static YIELDS enum rc h1_head(struct request *req, struct http *resp, uint64_t body_len,
                              const struct iovec *iov, unsigned iovs)
{
    struct h1 *h1 = h1__of(req);
    CHECK(!h1->head_sent);
    CHECK(iovs <= 1);
    h1->send_limit = h1__send_limit(h1);
    enum rc rc = add_framing(h1, resp, body_len);
    if (rc != RC_OK) {
        return rc;
    }
    struct sb sb = arena_builder(&h1->arena);
    h1_build_response(&sb, resp);
    if (sb.overflow) {
        return RC_LIMIT;
    }
    size_t head_len = sb.len;
    bool has_body = req->sends_body && iovs > 0;
    bool is_joined = has_body && join(&sb, &iov[0]);
    struct iovec out[2] = {{sb.ptr, sb.len}};
    unsigned n = 1;
    if (has_body && !is_joined) {
        out[n++] = iov[0];
    }
    bool more = !has_body && req->body_is_ready && h1->owed > 0;
    uint64_t sent = 0;
    h1->head_sent = true;
    rc = put(h1, out, n, more, &sent);
    uint64_t head_sent = sent < head_len ? sent : head_len;
    req->bytes.resp_head += head_sent;
    req->bytes.resp_body += sent - head_sent;
    if (has_body && rc == RC_OK) {
        CHECK(iov[0].iov_len <= h1->owed);
        h1->owed -= iov[0].iov_len;
    }
    return rc;
}

/* What is sent never exceeds what was announced: the rest would be read as the next response. */
static void count_owed(struct h1 *h1, uint64_t bytes)
{
    if (h1->is_length_known) {
        CHECK(bytes <= h1->owed);
        h1->owed -= bytes;
    }
}

static YIELDS enum rc h1_data(struct request *req, struct iovec *iov, unsigned iovs)
{
    struct h1 *h1 = h1__of(req);
    CHECK(iovs == 1);
    size_t bytes = iov[0].iov_len;
    count_owed(h1, bytes);
    char head[H1_CHUNK_HEAD_MAX];
    char tail[] = H1_CHUNK_TAIL;
    struct iovec out[3];
    unsigned n = 0;
    size_t extra = 0;
    if (h1->is_chunked) {
        extra = h1_chunk_head(head, bytes);
        out[n++] = (struct iovec){head, extra};
    }
    out[n++] = iov[0];
    if (h1->is_chunked) {
        out[n++] = (struct iovec){tail, sizeof tail - 1};
    }
    uint64_t sent = 0;
    enum rc rc = put(h1, out, n, false, &sent);
    req->bytes.resp_body += rc == RC_OK ? bytes : (sent > extra ? sent - extra : 0);
    return rc;
}

static YIELDS enum rc h1_file(struct request *req, int fd, uint64_t off, uint64_t bytes)
{
    struct h1 *h1 = h1__of(req);
    count_owed(h1, bytes);
    enum rc rc = RC_OK;
    if (h1->is_chunked) {
        char head[H1_CHUNK_HEAD_MAX];
        struct iovec iov = {head, h1_chunk_head(head, bytes)};
        rc = put(h1, &iov, 1, true, NULL);
    }
    if (rc == RC_OK) {
        uint64_t sent = 0;
        rc = sock_sendfile(&h1->sess->sock, fd, off, bytes,
                           param(h1->front->conf.params, lane_fd_chunk), h1->send_limit, &sent);
        req->bytes.resp_body += sent;
        h1->is_slow_reader |= rc == RC_TIMEOUT;
    }
    if (rc == RC_OK && h1->is_chunked) {
        char tail[] = H1_CHUNK_TAIL;
        struct iovec iov = {tail, sizeof tail - 1};
        rc = put(h1, &iov, 1, false, NULL);
    }
    return rc;
}

static YIELDS enum rc h1_end(struct request *req)
{
    struct h1 *h1 = h1__of(req);
    if (h1->owed > 0) {
        /* The body was shorter than announced: it must not look whole. */
        return RC_MALFORMED;
    }
    if (!h1->is_chunked) {
        return RC_OK;
    }
    char end[] = H1_CHUNK_END;
    struct iovec iov = {end, sizeof end - 1};
    return put(h1, &iov, 1, false, NULL);
}

static bool h1_takes_files(const struct request *req, uint64_t *min_bytes)
{
    const struct h1 *h1 = h1__of(req);
    const struct params *p = h1->front->conf.params;
    *min_bytes = h1->sess->listen->is_unix ? param(p, lane_fd_min_unix) : param(p, lane_fd_min_tcp);
    return true;
}

const struct transport h1__transport = {
    .body = h1__body,
    .go_on = h1__go_on,
    .head = h1_head,
    .data = h1_data,
    .file = h1_file,
    .end = h1_end,
    .pipe = h1__pipe,
    .takes_files = h1_takes_files,
};

static YIELDS void linger(struct h1 *h1)
{
    sock_shut_write(&h1->sess->sock);
    struct sock_limit lim = {clock_after(clock_mono_ns(), LINGER_NS), LINGER_NS};
    size_t dropped = 0;
    while (dropped < LINGER_BYTES) {
        size_t got = 0;
        if (sock_read(&h1->sess->sock, h1->buf, h1->cap, lim, &got) != RC_OK) {
            return;
        }
        dropped += got;
    }
}

void h1__log_status(struct h1 *h1, unsigned status)
{
    struct vslb *log = &h1->req.log;
    vslb_str(log, SLT_RespProtocol, STR("HTTP/1.1"));
    vslb_printf(log, SLT_RespStatus, "%u", status);
    vslb_str(log, SLT_RespReason, http_reason(status));
}

void h1__refuse(struct h1 *h1, unsigned status)
{
    struct sb sb = arena_builder(&h1->arena);
    h1_build_status(&sb, status, http_reason(status));
    h1_build_field(&sb, STR("Connection"), STR("close"));
    h1_build_field(&sb, STR("Content-Length"), STR("0"));
    sb_lit(&sb, "\r\n");
    CHECK(!sb.overflow);
    h1__log_status(h1, status);
    struct iovec iov = {sb.ptr, sb.len};
    uint64_t sent = 0;
    enum rc rc = sock_writev(&h1->sess->sock, &iov, 1, h1->send_limit, false, &sent);
    h1->req.bytes.resp_head = sent;
    if (rc == RC_OK) {
        linger(h1);
    }
}
