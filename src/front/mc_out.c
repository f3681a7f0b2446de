/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Answers gather until nothing more has come to be answered, or there is no room for more; then
 * they leave by one writev.  Short text lies in `out`; a body longer than MC_COPY_MAX is sent from
 * where it is stored, by an item that holds it until then.  What is not in one piece in memory goes
 * out at once, piece by piece, behind what was waiting.
 *
 * A client that asks and does not read stops its own connection here: at most MC_PINNED_MAX of
 * bodies are held for it, until send_timeout or idle_send_timeout ends it. */
#include "front/mc_priv.h"

static struct sock_limit send_limit(const struct mc *mc)
{
    const struct params *p = mc->front->conf.params;
    uint64_t now_ns = loop_mono_ns(mc->sess->door->loop);
    return (struct sock_limit){clock_after(now_ns, param(p, send_timeout)),
                               param(p, idle_send_timeout)};
}

static void note_sent(struct mc *mc, enum rc rc, uint64_t bytes)
{
    mc->count->mc_bytes_written += bytes;
    if (rc != RC_OK && mc->sent == RC_OK) {
        mc->sent = rc;
        mc->count->limit_slow_readers += rc == RC_TIMEOUT;
    }
}

static YIELDS void send_iov(struct mc *mc, struct iovec *iov, unsigned iovs, bool more)
{
    if (mc->sent != RC_OK || iovs == 0) {
        return;
    }
    uint64_t sent = 0;
    enum rc rc = sock_writev(&mc->sess->sock, iov, iovs, send_limit(mc), more, &sent);
    note_sent(mc, rc, sent);
}

static YIELDS void flush(struct mc *mc, bool more)
{
    send_iov(mc, mc->iov, mc->iovs, more);
    for (unsigned i = 0; i < mc->items_count; i++) {
        kv_release(&mc->items[i]);
    }
    mc->iovs = 0;
    mc->items_count = 0;
    mc->out_fill = 0;
    mc->pinned_bytes = 0;
}

void mc__flush(struct mc *mc)
{
    flush(mc, false);
}

static void add_iov(struct mc *mc, const void *at, size_t bytes)
{
    CHECK(mc->iovs < MC_IOVS);
    /* iovec has no const, and writev does not write. */
    mc->iov[mc->iovs++] = (struct iovec){(void *)(uintptr_t)at, bytes};
}

struct sb mc__room(struct mc *mc, size_t bytes)
{
    CHECK(bytes <= MC_OUT_BYTES);
    /* One part for this text, and one for a body behind it, and one for that one's tail. */
    if (mc->out_fill + bytes > MC_OUT_BYTES || mc->iovs + 3 > MC_IOVS) {
        flush(mc, true);
    }
    return sb_of(mc->out + mc->out_fill, MC_OUT_BYTES - mc->out_fill);
}

void mc__put(struct mc *mc, const struct sb *sb)
{
    CHECK(!sb->overflow);
    CHECK(sb->ptr == mc->out + mc->out_fill);
    if (sb->len == 0) {
        return;
    }
    struct iovec *last = mc->iovs == 0 ? NULL : &mc->iov[mc->iovs - 1];
    if (last != NULL && (char *)last->iov_base + last->iov_len == sb->ptr) {
        last->iov_len += sb->len;
    } else {
        add_iov(mc, sb->ptr, sb->len);
    }
    mc->out_fill += sb->len;
}

void mc__say(struct mc *mc, struct str text)
{
    struct sb sb = mc__room(mc, text.len);
    sb_put(&sb, text);
    mc__put(mc, &sb);
}

/* ---- bodies ---- */

/* A body that is no single piece of memory. */
static YIELDS enum rc stream(struct mc *mc, struct kv_item *item)
{
    const struct params *p = mc->front->conf.params;
    uint64_t file_min =
        mc->sess->listen->is_unix ? param(p, lane_fd_min_unix) : param(p, lane_fd_min_tcp);
    bool takes_files = param(p, lane_fd) != 0 && item->len >= file_min;
    uint64_t off = 0;
    enum rc rc = RC_OK;
    while (off < item->len && rc == RC_OK && mc->sent == RC_OK) {
        struct obj_fd_payload payload;
        rc = takes_files ? kv_next_payload(&mc->kv, item, off, &payload) : RC_UNSUPPORTED;
        if (rc == RC_OK) {
            uint64_t sent = 0;
            enum rc how = sock_sendfile(&mc->sess->sock, payload.fd, payload.off, payload.len,
                                        param(p, lane_fd_chunk), send_limit(mc), &sent);
            note_sent(mc, how, sent);
            off += payload.len;
            continue;
        }
        takes_files = false;
        struct stv_lease lease = {0};
        rc = rc == RC_UNSUPPORTED ? kv_next(&mc->kv, item, off, &lease) : rc;
        if (rc == RC_OK) {
            uint64_t left = item->len - off;
            size_t len = lease.len < left ? lease.len : (size_t)left;
            struct iovec iov = {(void *)(uintptr_t)lease.ptr, len};
            send_iov(mc, &iov, 1, true);
            stv_rel(&lease);
            off += len;
        }
    }
    return rc;
}

static YIELDS void put_large(struct mc *mc, struct kv_item *item)
{
    if (item->body != NULL && item->len <= MC_PINNED_MAX - mc->pinned_bytes &&
        mc->items_count < MC_ITEMS) {
        add_iov(mc, item->body, (size_t)item->len);
        mc->pinned_bytes += item->len;
        mc->items[mc->items_count++] = *item;
        *item = (struct kv_item){0};
        return;
    }
    flush(mc, true);
    if (item->body != NULL) {
        struct iovec iov = {(void *)(uintptr_t)item->body, (size_t)item->len};
        send_iov(mc, &iov, 1, true);
    } else if (stream(mc, item) != RC_OK && mc->sent == RC_OK) {
        /* Its length has been told: what came next would be taken for it. */
        mc->sent = RC_IO;
    }
    kv_release(item);
}

void mc__body(struct mc *mc, struct kv_item *item, struct str tail)
{
    if (item->body != NULL && item->len <= MC_COPY_MAX) {
        struct sb sb = mc__room(mc, (size_t)item->len + tail.len);
        sb_add(&sb, item->body, (size_t)item->len);
        sb_put(&sb, tail);
        mc__put(mc, &sb);
        kv_release(item);
        return;
    }
    if (item->len > 0) {
        put_large(mc, item);
    } else {
        kv_release(item);
    }
    mc__say(mc, tail);
}

/* ---- what went wrong ---- */

void mc__status(struct mc *mc, enum mc_status status)
{
    struct sb sb = mc__room(mc, MC_HEAD_BYTES + 64);
    mc_put_status(&sb, &mc->req, status);
    mc__put(mc, &sb);
}

static enum mc_status status_of(enum rc rc)
{
    switch (rc) {
    case RC_NOT_FOUND:
    case RC_TIMEOUT:
        return MC_STATUS_NOT_FOUND;
    case RC_EXISTS:
        return MC_STATUS_EXISTS;
    case RC_TOO_LONG:
        return MC_STATUS_TOO_LARGE;
    case RC_NOSPACE:
    case RC_LIMIT:
        return MC_STATUS_NO_MEMORY;
    case RC_INVALID:
        return MC_STATUS_NOT_NUMBER;
    case RC_DENIED:
        return MC_STATUS_AUTH;
    default:
        return MC_STATUS_INVALID;
    }
}

void mc__fault(struct mc *mc, enum rc rc)
{
    if (mc->req.dialect == MC_BINARY) {
        mc__status(mc, status_of(rc));
        return;
    }
    if (mc->req.dialect == MC_TEXT && mc->req.is_quiet) {
        return;
    }
    struct sb sb = mc__room(mc, KV_WHY_BYTES + 64);
    switch (rc) {
    case RC_NOSPACE:
    case RC_LIMIT:
        sb_lit(&sb, "SERVER_ERROR out of memory storing object");
        break;
    case RC_TOO_LONG:
        sb_lit(&sb, "SERVER_ERROR object too large for cache");
        break;
    case RC_DENIED:
    case RC_MALFORMED:
    case RC_UNSUPPORTED:
        sb_lit(&sb, "CLIENT_ERROR ");
        sb_put(&sb, str_of(mc->kv.why[0] != '\0' ? mc->kv.why : rc_text(rc)));
        break;
    default:
        sb_lit(&sb, "SERVER_ERROR ");
        sb_put(&sb, str_of(rc_text(rc)));
        break;
    }
    sb_lit(&sb, "\r\n");
    mc__put(mc, &sb);
}
