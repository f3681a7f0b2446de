/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* ESI programs: what delivery does with a stored body, step by step (docs/formats/esi.md).
 *
 *     "ES" 1 flags { 'K' len [text_len crc] | 'S' len | 'I' or 'C' host url } ...
 *
 * They are stored beside the body and may be read by a later worker, so the reader believes
 * nothing: what it hands out lies in the program, and names no byte that the body does not have. */
#include <stdlib.h>

#include "base/check.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "base/sb.h"
#include "filter/esi_priv.h"

enum { VERSION = 1, FLAG_GZIP = 1, HEAD_BYTES = 4 };
enum { OP_KEEP = 'K', OP_SKIP = 'S', OP_INCLUDE = 'I', OP_INCLUDE_GOES_ON = 'C' };

/* ---- writing ---- */

struct esi_writer {
    uint32_t magic;
    bool is_gzip;
    bool is_too_long;
    enum esi_kind last; /* KEEP, SKIP: more of the same is added to `pending` */
    uint64_t pending;
    char *buf;
    size_t len, cap;
};
#define ESI_WRITER_MAGIC 0x35c81f6bu

/* Room for `bytes` more, or an sb in which nothing fits. */
static struct sb room(struct esi_writer *w, size_t bytes)
{
    if (bytes > ESI_PROGRAM_MAX - w->len) {
        w->is_too_long = true;
        return sb_of(NULL, 0);
    }
    if (bytes > w->cap - w->len) {
        w->cap = 2 * (w->len + bytes);
        w->buf = xrealloc(w->buf, w->cap);
    }
    struct sb sb = sb_of(w->buf + w->len, w->cap - w->len);
    w->len += bytes;
    return sb;
}

struct esi_writer *esi_writer_new(bool is_gzip)
{
    struct esi_writer *w = xcalloc(1, sizeof *w);
    w->magic = ESI_WRITER_MAGIC;
    w->is_gzip = is_gzip;
    w->last = ESI_INCLUDE;
    struct sb sb = room(w, HEAD_BYTES);
    sb_lit(&sb, "ES");
    put_u8(&sb, VERSION);
    put_u8(&sb, is_gzip ? FLAG_GZIP : 0);
    return w;
}

void esi_writer_free(struct esi_writer **writer)
{
    if (*writer != NULL) {
        CHECK_OBJ(*writer, ESI_WRITER_MAGIC);
        free((*writer)->buf);
        free(*writer);
        *writer = NULL;
    }
}

static void put_len(struct esi_writer *w, uint8_t op, uint64_t len)
{
    struct sb sb = room(w, 9);
    put_u8(&sb, op);
    put_u64(&sb, len);
}

static void flush(struct esi_writer *w)
{
    if (w->pending > 0) {
        put_len(w, w->last == ESI_KEEP ? OP_KEEP : OP_SKIP, w->pending);
        w->pending = 0;
    }
}

static void add(struct esi_writer *w, enum esi_kind kind, uint64_t len)
{
    if (w->last != kind) {
        flush(w);
        w->last = kind;
    }
    w->pending += len;
}

void esi_writer_keep(struct esi_writer *w, uint64_t len, uint64_t text_len, uint32_t crc)
{
    CHECK_OBJ(w, ESI_WRITER_MAGIC);
    if (!w->is_gzip) {
        add(w, ESI_KEEP, len);
        return;
    }
    flush(w);
    CHECK(len > 0);
    put_len(w, OP_KEEP, len);
    struct sb sb = room(w, 12);
    put_u64(&sb, text_len);
    put_u32(&sb, crc);
}

void esi_writer_skip(struct esi_writer *w, uint64_t len)
{
    CHECK_OBJ(w, ESI_WRITER_MAGIC);
    add(w, ESI_SKIP, len);
}

void esi_writer_include(struct esi_writer *w, struct str host, struct str url, bool goes_on)
{
    CHECK_OBJ(w, ESI_WRITER_MAGIC);
    CHECK(host.len <= UINT16_MAX && url.len <= UINT16_MAX);
    flush(w);
    w->last = ESI_INCLUDE;
    struct sb sb = room(w, 5 + host.len + url.len);
    put_u8(&sb, goes_on ? OP_INCLUDE_GOES_ON : OP_INCLUDE);
    put_u16(&sb, (uint16_t)host.len);
    sb_put(&sb, host);
    put_u16(&sb, (uint16_t)url.len);
    sb_put(&sb, url);
}

enum rc esi_writer_finish(struct esi_writer *w, char **program, size_t *len)
{
    CHECK_OBJ(w, ESI_WRITER_MAGIC);
    flush(w);
    if (w->is_too_long) {
        return RC_LIMIT;
    }
    *program = w->buf;
    *len = w->len;
    w->buf = NULL;
    w->len = w->cap = 0;
    return RC_OK;
}

/* ---- reading ---- */

enum rc esi_read_begin(struct esi_reader *r, struct str program, uint64_t body_len)
{
    struct cursor c = cursor_of(program.ptr, program.len);
    struct str magic = cursor_bytes(&c, 2);
    uint8_t version = cursor_u8(&c);
    uint8_t flags = cursor_u8(&c);
    if (c.rc != RC_OK || !str_eq(magic, STR("ES"))) {
        return RC_DAMAGED;
    }
    if (version != VERSION || (flags & ~FLAG_GZIP) != 0) {
        return RC_UNSUPPORTED;
    }
    *r = (struct esi_reader){
        .rest = cursor_bytes(&c, cursor_left(&c)),
        .is_gzip = (flags & FLAG_GZIP) != 0,
        .left = body_len,
    };
    return RC_OK;
}

static MUST_USE enum rc read_piece(struct esi_reader *r, struct cursor *c, struct esi_op *op)
{
    op->len = cursor_u64(c);
    if (op->kind == ESI_KEEP && r->is_gzip) {
        op->text_len = cursor_u64(c);
        op->crc = cursor_u32(c);
    }
    if (c->rc != RC_OK || op->len == 0 || op->len > r->left) {
        return RC_DAMAGED;
    }
    r->left -= op->len;
    return RC_OK;
}

static MUST_USE enum rc read_include(struct cursor *c, struct esi_op *op)
{
    op->host = cursor_bytes(c, cursor_u16(c));
    op->url = cursor_bytes(c, cursor_u16(c));
    bool is_good = c->rc == RC_OK && op->url.len > 0 && op->url.len <= ESI_URL_MAX &&
                   op->host.len <= ESI_VALUE_MAX && esi__is_clean(op->host) &&
                   esi__is_clean(op->url);
    return is_good ? RC_OK : RC_DAMAGED;
}

enum rc esi_read(struct esi_reader *r, struct esi_op *op)
{
    *op = (struct esi_op){.kind = ESI_DONE};
    if (r->rest.len == 0) {
        /* Of gzip the tail remains, which is not told of; else all was told. */
        return r->left == 0 || r->is_gzip ? RC_OK : RC_DAMAGED;
    }
    struct cursor c = cursor_of(r->rest.ptr, r->rest.len);
    uint8_t byte = cursor_u8(&c);
    enum rc rc = RC_DAMAGED;
    if (byte == OP_KEEP || byte == OP_SKIP) {
        op->kind = byte == OP_KEEP ? ESI_KEEP : ESI_SKIP;
        rc = read_piece(r, &c, op);
    } else if (byte == OP_INCLUDE || byte == OP_INCLUDE_GOES_ON) {
        op->kind = ESI_INCLUDE;
        op->goes_on = byte == OP_INCLUDE_GOES_ON;
        rc = read_include(&c, op);
    }
    r->rest = cursor_bytes(&c, cursor_left(&c));
    return rc;
}
