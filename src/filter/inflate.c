/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* gzip: reading, and checking while it passes (RFC 1952).
 *
 * A body is one member.  What follows it, another member too, is refused: Varnish does so, and a
 * cache that passes on what it has not checked would vouch for it.  zlib stops at each border of
 * blocks (Z_BLOCK), which tells where the last one begins and ends; filter.h says what for.
 *
 * A body that is there as a whole is given to libdeflate, which takes half the time, but wants all
 * of the input and room for all of the output: to where the chain wants it, or to memory of ours.
 * Whatever it does not like is left to zlib, so that every fault has one name.  (A few forms of
 * blocks it takes and zlib does not; the CRC vouches for what they say.) */
#include <libdeflate.h>
#include <stdarg.h>
#include <stdio.h>
#include <vapi/vsl_int.h>
#include <zlib.h>

#include "base/check.h"
#include "filter/codecs_priv.h"
#include "filter/states_priv.h"

enum { AUTO_GZIP = 16 + MAX_WBITS, SCRATCH_BYTES = 64 * 1024 };
/* Of text: how much is made at once, without a look at the limits. */
enum { WHOLE_BYTES_MAX = 256 * 1024, GZIP_BYTES_MIN = 18 };
/* data_type, where inflate() has stopped. */
enum { SPARE_BITS = 7, IN_LAST = 64, AT_BORDER = 128 };

struct gunzip {
    const struct filter_env *env;
    z_stream z;
    bool is_begun;
    bool is_whole; /* the member has ended, and was right */
    struct gzip_bits bits;
    char *scratch; /* of testgunzip: where the text goes that nobody reads */
    char *whole;   /* of gunzip: all of the text, when it was made at once */
    size_t whole_len;
};

void codec_log_gzip(const struct filter_env *env, char what, const struct gzip_bits *bits)
{
    if (env->log == NULL) {
        return;
    }
    uint64_t in = what == 'G' ? bits->in_bytes : bits->out_bytes;
    uint64_t out = what == 'G' ? bits->out_bytes : bits->in_bytes;
    char buf[160];
    struct sb text = sb_of(buf, sizeof buf);
    sb_printf(&text, "%c %c - %lu %lu %lu %lu %lu", what, env->side == FILTER_VFP ? 'F' : 'D', in,
              out, bits->start_bit, bits->last_bit, bits->stop_bit);
    env->log(env->log_arg, SLT_Gzip, sb_str(&text));
}

enum rc codec_fail(const struct filter_env *env, enum rc rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(env->notes->error, sizeof env->notes->error, fmt, args);
    va_end(args);
    return rc;
}

static void log_error(const struct filter_env *env, const char *what, int z, const char *why)
{
    if (env->log != NULL) {
        char buf[160];
        struct sb text = sb_of(buf, sizeof buf);
        sb_printf(&text, "%s error: %d (%s)", what, z, why);
        env->log(env->log_arg, SLT_Gzip, sb_str(&text));
    }
}

static enum rc gunzip_begin(void *self, const struct filter_env *env)
{
    struct gunzip *g = self;
    g->env = env;
    g->z.zalloc = states_zlib_alloc;
    g->z.zfree = states_zlib_free;
    g->z.opaque = env->states;
    int z = inflateInit2(&g->z, AUTO_GZIP);
    CHECK(z == Z_OK || z == Z_MEM_ERROR);
    g->is_begun = z == Z_OK;
    return z == Z_OK ? RC_OK : RC_LIMIT;
}

static enum rc testgunzip_begin(void *self, const struct filter_env *env)
{
    struct gunzip *g = self;
    enum rc rc = gunzip_begin(self, env);
    if (rc == RC_OK) {
        g->scratch = states_alloc(env->states, SCRATCH_BYTES);
        rc = g->scratch == NULL ? RC_LIMIT : RC_OK;
    }
    return rc;
}

static void note_border(struct gunzip *g)
{
    uint64_t bit = (uint64_t)g->z.total_in * 8 - (unsigned)(g->z.data_type & SPARE_BITS);
    if (g->bits.start_bit == 0) {
        g->bits.start_bit = bit;
    }
    if ((g->z.data_type & IN_LAST) != 0) {
        g->bits.stop_bit = bit;
    } else {
        g->bits.last_bit = bit;
    }
}

static enum rc inflate_error(const struct gunzip *g, int z)
{
    if (z == Z_MEM_ERROR) {
        return codec_fail(g->env, RC_LIMIT, "No memory to gunzip");
    }
    const char *why = g->z.msg == NULL ? "(null)" : g->z.msg;
    log_error(g->env, "Gunzip", z, why);
    return codec_fail(g->env, RC_MALFORMED, "Invalid Gzip data: %s", why);
}

/* Decompresses until input or room is used up, or the member has ended. */
static enum rc inflate_some(struct gunzip *g, struct codec_io *io)
{
    while (!g->is_whole && io->room > 0) {
        unsigned len = io->in_len < UINT32_MAX / 2 ? (unsigned)io->in_len : UINT32_MAX / 2;
        unsigned room = io->room < UINT32_MAX / 2 ? (unsigned)io->room : UINT32_MAX / 2;
        g->z.next_in = (Bytef *)(uintptr_t)io->in;
        g->z.avail_in = len;
        g->z.next_out = (Bytef *)io->out;
        g->z.avail_out = room;
        int z = inflate(&g->z, Z_BLOCK);
        len -= g->z.avail_in;
        room -= g->z.avail_out;
        io->in += len;
        io->in_len -= len;
        io->out += room;
        io->room -= room;
        if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR) {
            return inflate_error(g, z);
        }
        /* A border may be reached with bits that were read before: zlib takes that for no progress,
         * and goes on in the next call. */
        bool at_border = (g->z.data_type & AT_BORDER) != 0;
        if (at_border) {
            note_border(g);
        } else if (z == Z_BUF_ERROR) {
            return RC_OK;
        }
        g->is_whole = z == Z_STREAM_END;
    }
    return RC_OK;
}

static enum rc junk(const struct gunzip *g)
{
    log_error(g->env, "G(un)zip", Z_STREAM_END, "junk after VGZ_END");
    return codec_fail(g->env, RC_MALFORMED, "Junk after gzip data");
}

static uint32_t le32_at(const char *ptr)
{
    uint32_t value = 0;
    for (unsigned n = 0; n < 4; n++) {
        value |= (uint32_t)(unsigned char)ptr[n] << (8 * n);
    }
    return value;
}

/* Makes all of the text at once, if all of the body is there.  Nothing has been done if it does not
 * work out. */
static void gunzip_whole(struct gunzip *g, struct codec_io *io)
{
    if (io->in_len < GZIP_BYTES_MIN || !(io->is_end || io->in_len == g->env->body_len)) {
        return;
    }
    size_t len = le32_at(io->in + io->in_len - 4);
    const struct filter_env *env = g->env;
    bool is_bomb = env->expand_ratio_max != 0 && len > env->expand_floor_bytes &&
                   len / env->expand_ratio_max >= io->in_len;
    if (len > WHOLE_BYTES_MAX || is_bomb) {
        return;
    }
    char *to = len <= io->room ? io->out : states_alloc(g->env->states, len);
    struct libdeflate_decompressor *whole = to == NULL ? NULL : libdeflate_alloc_decompressor();
    size_t taken = 0;
    if (whole != NULL && libdeflate_gzip_decompress_ex(whole, io->in, io->in_len, to, len, &taken,
                                                       NULL) == LIBDEFLATE_SUCCESS) {
        g->is_whole = taken == io->in_len;
    }
    libdeflate_free_decompressor(whole);
    if (!g->is_whole) {
        states_free(g->env->states, to == io->out ? NULL : to);
        return;
    }
    g->bits = (struct gzip_bits){.in_bytes = len, .out_bytes = io->in_len};
    io->in += io->in_len;
    io->in_len = 0;
    if (to != io->out) {
        g->whole = to;
        g->whole_len = len;
    } else {
        io->out += len;
        io->room -= len;
    }
}

static enum rc gunzip_step(void *self, struct codec_io *io)
{
    struct gunzip *g = self;
    if (g->z.total_in == 0 && !g->is_whole) {
        gunzip_whole(g, io);
    }
    enum rc rc = inflate_some(g, io);
    if (rc != RC_OK) {
        return rc;
    }
    if (g->is_whole && io->in_len > 0) {
        return junk(g);
    }
    if (!io->is_end || (!g->is_whole && io->room == 0)) {
        return RC_OK;
    }
    if (!g->is_whole) {
        return codec_fail(g->env, RC_MALFORMED, "Gunzip error at the very end");
    }
    /* What an earlier gzip noted is not about what comes out now. */
    g->env->notes->gzip.is_set = false;
    return RC_EOF;
}

static struct str gunzip_all(void *self)
{
    const struct gunzip *g = self;
    return (struct str){g->whole, g->whole_len};
}

static void take_sums(struct gunzip *g)
{
    if (g->z.total_in == 0) {
        return; /* zlib has had no part in it */
    }
    g->bits.in_bytes = g->z.total_out;
    g->bits.out_bytes = g->z.total_in;
    g->bits.crc = (uint32_t)g->z.adler;
}

static enum rc testgunzip_look(void *self, const char *ptr, size_t len, bool is_end)
{
    struct gunzip *g = self;
    struct codec_io io = {.in = ptr, .in_len = len};
    do {
        io.out = g->scratch;
        io.room = SCRATCH_BYTES;
        enum rc rc = inflate_some(g, &io);
        if (rc != RC_OK) {
            return rc;
        }
    } while (!g->is_whole && (io.in_len > 0 || io.room == 0));
    if (io.in_len > 0) {
        return junk(g);
    }
    if (!is_end) {
        return RC_OK;
    }
    if (!g->is_whole) {
        return codec_fail(g->env, RC_MALFORMED, "tGunzip failed");
    }
    take_sums(g);
    g->bits.is_set = true;
    g->env->notes->gzip = g->bits;
    return RC_OK;
}

static void gunzip_finish(struct gunzip *g, char what)
{
    if (g->is_begun) {
        take_sums(g);
        codec_log_gzip(g->env, what, &g->bits);
        (void)inflateEnd(&g->z);
    }
    states_free(g->env->states, g->scratch);
    states_free(g->env->states, g->whole);
}

static void gunzip_end(void *self)
{
    gunzip_finish(self, 'U');
}

static void testgunzip_end(void *self)
{
    gunzip_finish(self, 'u');
}

const struct codec codec_gunzip = {.bytes = sizeof(struct gunzip),
                                   .begin = gunzip_begin,
                                   .step = gunzip_step,
                                   .end = gunzip_end,
                                   .whole = gunzip_all};
const struct codec codec_testgunzip = {.bytes = sizeof(struct gunzip),
                                       .begin = testgunzip_begin,
                                       .look = testgunzip_look,
                                       .end = testgunzip_end};
