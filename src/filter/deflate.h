/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A gzip body that is written in pieces, each of which may end where bytes end: what stands behind
 * such a place can be taken out, or another body's blocks put in.  For the room alone, and for
 * those who stitch. */
#ifndef FILTER_DEFLATE_H
#define FILTER_DEFLATE_H

#include "filter/filter.h"

struct deflate;

enum deflate_flush {
    DEFLATE_MORE,   /* keeps what it likes to keep */
    DEFLATE_ALIGN,  /* what was fed comes out, up to a byte's border */
    DEFLATE_RESET,  /* that, and what follows refers to nothing before it */
    DEFLATE_FINISH, /* that was all: the last block, CRC and length */
};

/* The caller owns *out; level, memlevel and states are taken from env.  RC_LIMIT. */
MUST_USE enum rc deflate_new(const struct filter_env *env, struct deflate **out);
void deflate_free(struct deflate **deflate);

/* Takes io->in, writes to io->out (is_end is not looked at).  RC_OK with room left: all was taken,
 * and flushed as asked; with room == 0: call again with the same flush and more room.  RC_EOF after
 * DEFLATE_FINISH: all is out. */
MUST_USE enum rc deflate_feed(struct deflate *deflate, struct codec_io *io,
                              enum deflate_flush flush);

/* After RC_EOF all of it; before, in_bytes, out_bytes, start_bit and crc. */
void deflate_bits(const struct deflate *deflate, struct gzip_bits *out);

/* The first bytes of every gzip body that is made here: no name, no time. */
enum { DEFLATE_HEAD_BYTES = 10, DEFLATE_TAIL_BYTES = 8 };
extern const char deflate_head[DEFLATE_HEAD_BYTES];

/* CRC-32 as gzip has it: of more bytes (0 to begin with), and of two runs behind each other. */
uint32_t gzip_crc(uint32_t crc, const void *ptr, size_t bytes);
uint32_t gzip_crc_join(uint32_t first, uint32_t second, uint64_t second_bytes);

#endif
