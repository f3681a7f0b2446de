/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* gzip: writing (RFC 1952, RFC 1951).
 *
 *   head (10 bytes) | blocks ... | the last block | up to 7 bits | CRC-32, length (8 bytes)
 *                   ^ start_bit    ^ last_bit       ^ stop_bit
 *
 * A gzip body can be put into the middle of another one when it is known where its last block
 * begins (the flag that it is the last is the first bit there) and where that block ends.  zlib
 * does not tell, so the last block is always an empty one of its own: first the data's blocks are
 * ended (Z_BLOCK, which pads nothing), then the position is asked for, then the stream is
 * finished.  An empty block is 10 bits, or with level 0 three, padding and four bytes.
 *
 * What ends a stream, or a piece of it, is made in a small buffer and handed out from there: so a
 * body's bytes do not depend on how much room there was in each call.
 *
 * zlib makes raw blocks here, head and tail are ours: the CRC of libdeflate is the faster one. */
#include "filter/deflate.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <vapi/vsl_int.h>
#include <zlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "filter/codecs_priv.h"
#include "filter/states_priv.h"

enum { DEFLATE_MAGIC = 0x58c3a90e, EMPTY_BLOCK_BITS = 10, MARK_BYTES = 32, WINDOW_BITS_MIN = 10 };

/* No name, no time, made on Unix. */
const char deflate_head[DEFLATE_HEAD_BYTES] = {'\x1f', '\x8b', 8, 0, 0, 0, 0, 0, 0, 3};

struct deflate {
    uint32_t magic;
    z_stream z;
    uint32_t crc;
    bool is_finished;           /* the tail has been made */
    enum deflate_flush flushed; /* nothing has come since this */
    uint64_t last_bit, stop_bit;
    uint64_t out_bytes;
    char mark[MARK_BYTES]; /* to be handed out before anything else */
    unsigned mark_at, mark_len;
};

uint32_t gzip_crc(uint32_t crc, const void *ptr, size_t bytes)
{
    return libdeflate_crc32(crc, ptr, bytes);
}

uint32_t gzip_crc_join(uint32_t first, uint32_t second, uint64_t second_bytes)
{
    return (uint32_t)crc32_combine64(first, second, (z_off64_t)second_bytes);
}

int codec_window_bits(size_t body_len, int least, int most)
{
    int bits = least;
    while (bits < most && body_len > (size_t)1 << bits) {
        bits++;
    }
    return bits;
}

enum rc deflate_new(const struct filter_env *env, struct deflate **out)
{
    *out = NULL;
    struct deflate *d = states_alloc(env->states, sizeof *d);
    if (d == NULL) {
        return RC_LIMIT;
    }
    memset(d, 0, sizeof *d);
    d->magic = DEFLATE_MAGIC;
    d->z.zalloc = states_zlib_alloc;
    d->z.zfree = states_zlib_free;
    d->z.opaque = env->states;
    CHECK(env->gzip_level >= 0);
    CHECK(env->gzip_level <= 9);
    /* Tables, too, for as many symbols as there can be. */
    int bits = codec_window_bits(env->body_len, WINDOW_BITS_MIN, MAX_WBITS);
    int memlevel = env->gzip_memlevel < bits - 6 ? env->gzip_memlevel : bits - 6;
    int z = deflateInit2(&d->z, env->gzip_level, Z_DEFLATED, -bits, memlevel, Z_DEFAULT_STRATEGY);
    if (z != Z_OK) {
        CHECK(z == Z_MEM_ERROR);
        states_free(env->states, d);
        return RC_LIMIT;
    }
    memcpy(d->mark, deflate_head, sizeof deflate_head);
    d->mark_len = sizeof deflate_head;
    d->flushed = DEFLATE_RESET;
    *out = d;
    return RC_OK;
}

void deflate_free(struct deflate **deflate)
{
    struct deflate *d = *deflate;
    if (d == NULL) {
        return;
    }
    CHECK_OBJ(d, DEFLATE_MAGIC);
    (void)deflateEnd(&d->z);
    d->magic = 0;
    states_free(d->z.opaque, d);
    *deflate = NULL;
}

static void put_mark(struct deflate *d, struct codec_io *io)
{
    size_t len = d->mark_len - d->mark_at;
    len = len < io->room ? len : io->room;
    memcpy(io->out, d->mark + d->mark_at, len);
    d->mark_at += (unsigned)len;
    io->out += len;
    io->room -= len;
    d->out_bytes += len;
    if (d->mark_at == d->mark_len) {
        d->mark_at = 0;
        d->mark_len = 0;
    }
}

/* Compresses until input or room is used up.  zlib counts in 32 bits. */
static void compress_some(struct deflate *d, struct codec_io *io, int flush)
{
    while (io->room > 0) {
        unsigned len = io->in_len < UINT32_MAX / 2 ? (unsigned)io->in_len : UINT32_MAX / 2;
        unsigned room = io->room < UINT32_MAX / 2 ? (unsigned)io->room : UINT32_MAX / 2;
        d->z.next_in = (Bytef *)(uintptr_t)io->in;
        d->z.avail_in = len;
        d->z.next_out = (Bytef *)io->out;
        d->z.avail_out = room;
        int z = deflate(&d->z, len < io->in_len ? Z_NO_FLUSH : flush);
        CHECK(z == Z_OK || z == Z_BUF_ERROR);
        len -= d->z.avail_in;
        room -= d->z.avail_out;
        if (len > 0) {
            d->crc = gzip_crc(d->crc, io->in, len);
            d->flushed = DEFLATE_MORE;
        }
        io->in += len;
        io->in_len -= len;
        io->out += room;
        io->room -= room;
        d->out_bytes += room;
        if (io->in_len == 0 && (z == Z_BUF_ERROR || d->z.avail_out > 0)) {
            return;
        }
    }
}

/* What zlib writes for this flush when all that was fed is out. */
static void make_mark(struct deflate *d, int flush)
{
    d->z.next_in = NULL;
    d->z.avail_in = 0;
    d->z.next_out = (Bytef *)d->mark;
    d->z.avail_out = MARK_BYTES - DEFLATE_TAIL_BYTES;
    int z = deflate(&d->z, flush);
    CHECK(z == Z_OK || z == Z_STREAM_END || z == Z_BUF_ERROR);
    CHECK(d->z.avail_out > 0);
    d->mark_len = MARK_BYTES - DEFLATE_TAIL_BYTES - d->z.avail_out;
}

static void put_le32(char *to, uint32_t value)
{
    for (unsigned n = 0; n < 4; n++) {
        to[n] = (char)(value >> (8 * n));
    }
}

static void make_tail(struct deflate *d)
{
    unsigned pending;
    int bits;
    CHECK(deflatePending(&d->z, &pending, &bits) == Z_OK);
    CHECK(pending == 0);
    d->last_bit = d->out_bytes * 8 + (unsigned)bits;
    make_mark(d, Z_FINISH);
    /* The block's type stands in the two bits behind its first; 0: stored. */
    unsigned first = (unsigned char)d->mark[0] | (unsigned)(unsigned char)d->mark[1] << 8;
    bool is_stored = (first >> ((unsigned)bits + 1) & 3) == 0;
    d->stop_bit =
        is_stored ? ((d->last_bit + 3 + 7) & ~UINT64_C(7)) + 32 : d->last_bit + EMPTY_BLOCK_BITS;
    CHECK((d->stop_bit + 7) / 8 == d->out_bytes + d->mark_len);
    put_le32(d->mark + d->mark_len, d->crc);
    put_le32(d->mark + d->mark_len + 4, (uint32_t)d->z.total_in);
    d->mark_len += DEFLATE_TAIL_BYTES;
    d->is_finished = true;
}

enum rc deflate_feed(struct deflate *d, struct codec_io *io, enum deflate_flush flush)
{
    CHECK_OBJ(d, DEFLATE_MAGIC);
    CHECK(!d->is_finished || io->in_len == 0);
    if (d->mark_len > 0 && io->room > 0) {
        put_mark(d, io);
    }
    if (d->is_finished) {
        return d->mark_len == 0 ? RC_EOF : RC_OK;
    }
    if (io->room == 0) {
        return RC_OK;
    }
    compress_some(d, io, flush == DEFLATE_MORE ? Z_NO_FLUSH : Z_BLOCK);
    if (io->room == 0 || flush <= d->flushed) {
        return RC_OK;
    }
    if (flush == DEFLATE_FINISH) {
        make_tail(d);
    } else {
        make_mark(d, flush == DEFLATE_ALIGN ? Z_SYNC_FLUSH : Z_FULL_FLUSH);
    }
    d->flushed = flush;
    put_mark(d, io);
    return d->is_finished && d->mark_len == 0 ? RC_EOF : RC_OK;
}

void deflate_bits(const struct deflate *d, struct gzip_bits *out)
{
    CHECK_OBJ(d, DEFLATE_MAGIC);
    *out = (struct gzip_bits){
        .start_bit = DEFLATE_HEAD_BYTES * 8,
        .last_bit = d->last_bit,
        .stop_bit = d->stop_bit,
        .in_bytes = d->z.total_in,
        .out_bytes = d->out_bytes,
        .crc = d->crc,
        .is_set = d->is_finished && d->mark_len == 0,
    };
}

/* ---- the filter ---- */

struct gzip {
    const struct filter_env *env;
    struct deflate *deflate;
};

static enum rc gzip_begin(void *self, const struct filter_env *env)
{
    struct gzip *gzip = self;
    gzip->env = env;
    return deflate_new(env, &gzip->deflate);
}

static enum rc gzip_step(void *self, struct codec_io *io)
{
    struct gzip *gzip = self;
    enum rc rc = deflate_feed(gzip->deflate, io, io->is_end ? DEFLATE_FINISH : DEFLATE_MORE);
    if (rc == RC_EOF) {
        deflate_bits(gzip->deflate, &gzip->env->notes->gzip);
    }
    return rc;
}

static void gzip_end(void *self)
{
    struct gzip *gzip = self;
    if (gzip->deflate != NULL) {
        struct gzip_bits bits;
        deflate_bits(gzip->deflate, &bits);
        codec_log_gzip(gzip->env, 'G', &bits);
    }
    deflate_free(&gzip->deflate);
}

const struct codec codec_gzip = {
    .bytes = sizeof(struct gzip), .begin = gzip_begin, .step = gzip_step, .end = gzip_end};
