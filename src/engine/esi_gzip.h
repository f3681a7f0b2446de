/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Gzip bodies as parts of another one: what is packed already is not unpacked for that.  Pure, but
 * for the sink. */
#ifndef ENGINE_ESI_GZIP_H
#define ENGINE_ESI_GZIP_H

#include "engine/esi.h"
#include "filter/filter.h"

/* The deflate blocks of a gzip body, taken out of it: without head and tail, the last block not
 * marked as such, and padded up to a whole byte by an empty block. */
struct stitch {
    struct gzip_bits bits;
    uint64_t at; /* bytes of the body seen */
};
/* False: these are not the bits of a body of this length. */
MUST_USE bool stitch_begin(struct stitch *stitch, const struct gzip_bits *bits, uint64_t body_len);
/* The body's next bytes.  What the sink returns.  Yields. */
YIELDS MUST_USE enum rc stitch_put(struct stitch *stitch, const void *ptr, size_t len,
                                   esi_sink_fn *sink, void *arg);

/* Bytes that are not packed, as deflate blocks that store them.  What the sink returns.  Yields. */
YIELDS MUST_USE enum rc stitch_wrap(const void *ptr, size_t len, esi_sink_fn *sink, void *arg);

/* OA_GZIPBITS, as the engine stores it; false: it is none. */
MUST_USE bool stitch_bits_read(struct str attr, struct gzip_bits *bits);

/* The end of a gzip body whose blocks end at a byte's border: an empty last block, then CRC and
 * length. */
enum { STITCH_TAIL_BYTES = 13 };
void stitch_tail(char tail[STITCH_TAIL_BYTES], uint32_t crc, uint64_t text_len);

#endif
