/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Zstandard (RFC 8878): both ways.
 *
 * A body is one frame or several.  A frame says how large a window it wants; 8 MiB is what RFC 8878
 * asks every decoder to take, RFC 9659 allows no more in HTTP, and no more is taken.  Formats of
 * before version 0.8 are refused by their first byte, before their old decoders see them.
 *
 * Contexts with an allocator of ours are not in the part of the library's interface that it calls
 * stable; they have been there unchanged since its first release, and without them a state could
 * only be counted after it was taken. */
#define ZSTD_STATIC_LINKING_ONLY
#include <limits.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/check.h"
#include "filter/codecs_priv.h"
#include "filter/states_priv.h"

enum { DECODE_WINDOW_LOG = 23, ENCODE_WINDOW_LOG = 20 };
/* What a level would have beyond these is for larger windows. */
enum { CHAIN_LOG_MAX = ENCODE_WINDOW_LOG + 1, HASH_LOG_MAX = ENCODE_WINDOW_LOG };

static void *zs_alloc(void *opaque, size_t bytes)
{
    return states_alloc(opaque, bytes);
}

static void zs_free(void *opaque, void *block)
{
    states_free(opaque, block);
}

static ZSTD_customMem memory_of(const struct filter_env *env)
{
    return (ZSTD_customMem){zs_alloc, zs_free, env->states};
}

static void set(ZSTD_CCtx *zs, ZSTD_cParameter what, int value)
{
    CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(zs, what, value)));
}

static enum rc failed(const struct filter_env *env, size_t code)
{
    ZSTD_ErrorCode error = ZSTD_getErrorCode(code);
    bool is_limit =
        error == ZSTD_error_memory_allocation || error == ZSTD_error_frameParameter_windowTooLarge;
    return codec_fail(env, is_limit ? RC_LIMIT : RC_MALFORMED, "Invalid Zstd data: %s",
                      ZSTD_getErrorString(error));
}

/* ---- unzstd ---- */

struct unzstd {
    const struct filter_env *env;
    ZSTD_DCtx *zs;
    bool in_frame;
    bool is_whole; /* a frame has ended, and no other begun */
};

static enum rc unzstd_begin(void *self, const struct filter_env *env)
{
    struct unzstd *u = self;
    u->env = env;
    u->zs = ZSTD_createDCtx_advanced(memory_of(env));
    if (u->zs == NULL) {
        return RC_LIMIT;
    }
    CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(u->zs, ZSTD_d_windowLogMax, DECODE_WINDOW_LOG)));
    return RC_OK;
}

/* What frames begin with: 28 b5 2f fd, or 5x 2a 4d 18 for one to be skipped. */
static bool begins_frame(char first)
{
    return first == 0x28 || (first & 0xf0) == 0x50;
}

static enum rc unzstd_step(void *self, struct codec_io *io)
{
    struct unzstd *u = self;
    bool more = true;
    while (io->room > 0 && (io->in_len > 0 || (u->in_frame && more))) {
        if (!u->in_frame && !begins_frame(io->in[0])) {
            return codec_fail(u->env, RC_MALFORMED,
                              u->is_whole ? "Junk after Zstd data" : "Invalid Zstd data: no frame");
        }
        u->in_frame = true;
        ZSTD_inBuffer in = {io->in, io->in_len, 0};
        ZSTD_outBuffer out = {io->out, io->room, 0};
        size_t left = ZSTD_decompressStream(u->zs, &out, &in);
        io->in += in.pos;
        io->in_len -= in.pos;
        io->out += out.pos;
        io->room -= out.pos;
        if (ZSTD_isError(left)) {
            return failed(u->env, left);
        }
        more = in.pos > 0 || out.pos > 0;
        u->in_frame = left != 0;
        u->is_whole = left == 0;
    }
    if (io->in_len > 0 || !io->is_end || (u->in_frame && io->room == 0)) {
        return RC_OK;
    }
    return u->is_whole ? RC_EOF : codec_fail(u->env, RC_MALFORMED, "Zstd data is truncated");
}

static void unzstd_end(void *self)
{
    (void)ZSTD_freeDCtx(((struct unzstd *)self)->zs);
}

const struct codec codec_unzstd = {
    .bytes = sizeof(struct unzstd), .begin = unzstd_begin, .step = unzstd_step, .end = unzstd_end};

/* ---- zstd ---- */

/* From here on a block takes many milliseconds; and what one takes at most. */
enum { SLOW_LEVEL = 13, SLOW_BYTES = 16 << 20 };

struct zstd {
    const struct filter_env *env;
    ZSTD_CCtx *zs;
    size_t charged_bytes;
};

static int at_most(unsigned value, unsigned most)
{
    return (int)(value < most ? value : most);
}

static enum rc zstd_begin(void *self, const struct filter_env *env)
{
    struct zstd *z = self;
    z->env = env;
    bool is_slow = env->zstd_level >= SLOW_LEVEL;
    if (is_slow && !states_charge(env->states, SLOW_BYTES)) {
        return RC_LIMIT;
    }
    z->charged_bytes = is_slow ? SLOW_BYTES : 0;
    z->zs = is_slow ? ZSTD_createCCtx() : ZSTD_createCCtx_advanced(memory_of(env));
    if (z->zs == NULL) {
        return RC_LIMIT;
    }
    set(z->zs, ZSTD_c_compressionLevel, (int)env->zstd_level);
    set(z->zs, ZSTD_c_checksumFlag, 1);
    if (env->body_len <= INT_MAX) {
        set(z->zs, ZSTD_c_srcSizeHint, (int)env->body_len);
    }
    ZSTD_compressionParameters p = ZSTD_getCParams((int)env->zstd_level, 0, 0);
    set(z->zs, ZSTD_c_windowLog, at_most(p.windowLog, ENCODE_WINDOW_LOG));
    set(z->zs, ZSTD_c_chainLog, at_most(p.chainLog, CHAIN_LOG_MAX));
    set(z->zs, ZSTD_c_hashLog, at_most(p.hashLog, HASH_LOG_MAX));
    return RC_OK;
}

static enum rc zstd_step(void *self, struct codec_io *io)
{
    struct zstd *z = self;
    size_t left;
    do {
        ZSTD_inBuffer in = {io->in, io->in_len, 0};
        ZSTD_outBuffer out = {io->out, io->room, 0};
        left = ZSTD_compressStream2(z->zs, &out, &in, io->is_end ? ZSTD_e_end : ZSTD_e_continue);
        io->in += in.pos;
        io->in_len -= in.pos;
        io->out += out.pos;
        io->room -= out.pos;
        if (ZSTD_isError(left)) {
            return failed(z->env, left);
        }
    } while (io->room > 0 && (io->in_len > 0 || (io->is_end && left > 0)));
    return io->is_end && io->in_len == 0 && left == 0 ? RC_EOF : RC_OK;
}

static void zstd_end(void *self)
{
    struct zstd *z = self;
    (void)ZSTD_freeCCtx(z->zs);
    states_refund(z->env->states, z->charged_bytes);
}

static bool zstd_is_slow(const void *self)
{
    return ((const struct zstd *)self)->charged_bytes > 0;
}

const struct codec codec_zstd = {.bytes = sizeof(struct zstd),
                                 .begin = zstd_begin,
                                 .step = zstd_step,
                                 .end = zstd_end,
                                 .is_slow = zstd_is_slow};
