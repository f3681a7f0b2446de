/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Brotli (RFC 7932): both ways.
 *
 * What decompressing takes is the stream's to say: up to 16 MiB for its window, on the account of
 * states.  Windows beyond that are an extension that no browser takes; it is off.  Brotli has no
 * checksum: damage is found only where it breaks the format. */
#include <brotli/decode.h>
#include <brotli/encode.h>

#include "base/check.h"
#include "filter/codecs_priv.h"
#include "filter/states_priv.h"

/* 512 KiB behind: a state of about 1.5 MiB at middling quality. */
enum { WINDOW_BITS_MIN = 10, WINDOW_BITS = 19 };

static void *br_alloc(void *opaque, size_t bytes)
{
    return states_alloc(opaque, bytes);
}

static void br_free(void *opaque, void *block)
{
    states_free(opaque, block);
}

/* The encoder, as Debian builds it, ends the process when it gets no memory. */
static void *br_alloc_anyway(void *opaque, size_t bytes)
{
    return states_alloc_anyway(opaque, bytes);
}

/* The libraries' view of one step: they count down themselves. */
struct br_io {
    size_t in_len, room;
    const uint8_t *in;
    uint8_t *out;
};

static struct br_io br_open(const struct codec_io *io)
{
    return (struct br_io){io->in_len, io->room, (const uint8_t *)io->in, (uint8_t *)io->out};
}

static void br_close(struct codec_io *io, const struct br_io *br)
{
    io->in = (const char *)br->in;
    io->in_len = br->in_len;
    io->out = (char *)br->out;
    io->room = br->room;
}

/* ---- unbrotli ---- */

struct unbrotli {
    const struct filter_env *env;
    BrotliDecoderState *br;
    bool is_whole;
};

static enum rc unbrotli_begin(void *self, const struct filter_env *env)
{
    struct unbrotli *u = self;
    u->env = env;
    u->br = BrotliDecoderCreateInstance(br_alloc, br_free, env->states);
    if (u->br == NULL) {
        return RC_LIMIT;
    }
    CHECK(BrotliDecoderSetParameter(u->br, BROTLI_DECODER_PARAM_LARGE_WINDOW, 0));
    return RC_OK;
}

static enum rc unbrotli_failed(const struct unbrotli *u)
{
    BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(u->br);
    bool is_memory = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                     code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
    return codec_fail(u->env, is_memory ? RC_LIMIT : RC_MALFORMED, "Invalid Brotli data: %s",
                      BrotliDecoderErrorString(code));
}

static enum rc unbrotli_step(void *self, struct codec_io *io)
{
    struct unbrotli *u = self;
    if (!u->is_whole) {
        struct br_io br = br_open(io);
        BrotliDecoderResult result =
            BrotliDecoderDecompressStream(u->br, &br.in_len, &br.in, &br.room, &br.out, NULL);
        br_close(io, &br);
        if (result == BROTLI_DECODER_RESULT_ERROR) {
            return unbrotli_failed(u);
        }
        if (result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
            return RC_OK;
        }
        u->is_whole = result == BROTLI_DECODER_RESULT_SUCCESS;
    }
    if (u->is_whole && io->in_len > 0) {
        return codec_fail(u->env, RC_MALFORMED, "Junk after Brotli data");
    }
    if (!io->is_end) {
        return RC_OK;
    }
    return u->is_whole ? RC_EOF : codec_fail(u->env, RC_MALFORMED, "Brotli data is truncated");
}

static void unbrotli_end(void *self)
{
    struct unbrotli *u = self;
    if (u->br != NULL) {
        BrotliDecoderDestroyInstance(u->br);
    }
}

const struct codec codec_unbrotli = {.bytes = sizeof(struct unbrotli),
                                     .begin = unbrotli_begin,
                                     .step = unbrotli_step,
                                     .end = unbrotli_end};

/* ---- brotli ---- */

/* From here on a block takes many milliseconds; and what a state takes then: 9 has the largest
 * tables. */
enum { SLOW_QUALITY = 9, SLOW_9_BYTES = 40 << 20, SLOW_BYTES = 16 << 20 };

struct brotli {
    const struct filter_env *env;
    BrotliEncoderState *br;
    size_t charged_bytes;
};

static enum rc brotli_begin(void *self, const struct filter_env *env)
{
    struct brotli *b = self;
    b->env = env;
    bool is_slow = env->brotli_quality >= SLOW_QUALITY;
    size_t charge = env->brotli_quality == SLOW_QUALITY ? SLOW_9_BYTES : SLOW_BYTES;
    if (is_slow && !states_charge(env->states, charge)) {
        return RC_LIMIT;
    }
    b->charged_bytes = is_slow ? charge : 0;
    b->br = is_slow ? BrotliEncoderCreateInstance(NULL, NULL, NULL)
                    : BrotliEncoderCreateInstance(br_alloc_anyway, br_free, env->states);
    CHECK(b->br != NULL);
    CHECK(BrotliEncoderSetParameter(b->br, BROTLI_PARAM_QUALITY, env->brotli_quality));
    int bits = codec_window_bits(env->body_len, WINDOW_BITS_MIN, WINDOW_BITS);
    CHECK(BrotliEncoderSetParameter(b->br, BROTLI_PARAM_LGWIN, (uint32_t)bits));
    if (env->body_len <= UINT32_MAX) {
        CHECK(BrotliEncoderSetParameter(b->br, BROTLI_PARAM_SIZE_HINT, (uint32_t)env->body_len));
    }
    return states_is_over(env->states) ? RC_LIMIT : RC_OK;
}

static enum rc brotli_step(void *self, struct codec_io *io)
{
    struct brotli *b = self;
    BrotliEncoderOperation operation =
        io->is_end ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS;
    while (true) {
        struct br_io br = br_open(io);
        BROTLI_BOOL done = BrotliEncoderCompressStream(b->br, operation, &br.in_len, &br.in,
                                                       &br.room, &br.out, NULL);
        br_close(io, &br);
        CHECK(done);
        if (b->charged_bytes == 0 && states_is_over(b->env->states)) {
            return codec_fail(b->env, RC_LIMIT, "No memory to compress");
        }
        if (BrotliEncoderIsFinished(b->br)) {
            return RC_EOF;
        }
        if (io->room == 0 || (io->in_len == 0 && !BrotliEncoderHasMoreOutput(b->br) &&
                              operation == BROTLI_OPERATION_PROCESS)) {
            return RC_OK;
        }
    }
}

static void brotli_end(void *self)
{
    struct brotli *b = self;
    if (b->br != NULL) {
        BrotliEncoderDestroyInstance(b->br);
    }
    states_refund(b->env->states, b->charged_bytes);
}

static bool brotli_is_slow(const void *self)
{
    return ((const struct brotli *)self)->charged_bytes > 0;
}

const struct codec codec_brotli = {.bytes = sizeof(struct brotli),
                                   .begin = brotli_begin,
                                   .step = brotli_step,
                                   .end = brotli_end,
                                   .is_slow = brotli_is_slow};
