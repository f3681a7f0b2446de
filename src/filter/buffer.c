/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* (text)buffer(buffertext): all of a body in one piece, for filters that have to see it so.  The
 * chain hands its memory to the next codec as it lies here. */
#include <stdlib.h>

#include "base/mem.h"
#include "filter/codecs_priv.h"

enum { FIRST_BYTES = 16 * 1024 };

struct buffer {
    const struct filter_env *env;
    char *ptr;
    size_t len, cap;
};

static enum rc buffer_begin(void *self, const struct filter_env *env)
{
    ((struct buffer *)self)->env = env;
    return RC_OK;
}

static enum rc buffer_step(void *self, struct codec_io *io)
{
    struct buffer *b = self;
    size_t most = b->env->buffer_bytes_max;
    if (io->in_len > most - b->len) {
        return codec_fail(b->env, RC_TOO_LONG, "The body is longer than the %zu bytes of buffer",
                          most);
    }
    if (io->in_len > b->cap - b->len) {
        size_t want = b->cap == 0 ? FIRST_BYTES : b->cap * 2;
        want = want < b->len + io->in_len ? b->len + io->in_len : want;
        b->cap = want < most ? want : most;
        b->ptr = xrealloc(b->ptr, b->cap);
    }
    if (io->in_len > 0) {
        memcpy(b->ptr + b->len, io->in, io->in_len);
        b->len += io->in_len;
        io->in += io->in_len;
        io->in_len = 0;
    }
    return io->is_end ? RC_EOF : RC_OK;
}

static struct str buffer_whole(void *self)
{
    const struct buffer *b = self;
    return (struct str){b->ptr, b->len};
}

static void buffer_end(void *self)
{
    free(((struct buffer *)self)->ptr);
}

const struct codec codec_buffer = {.bytes = sizeof(struct buffer),
                                   .begin = buffer_begin,
                                   .step = buffer_step,
                                   .end = buffer_end,
                                   .whole = buffer_whole};
