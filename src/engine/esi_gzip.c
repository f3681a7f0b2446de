/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A deflate stream is a run of blocks; each says in its first bit whether it is the last one
 * (RFC 1951 section 3.2.3).  Blocks refer to bytes before them, but never to more than their own
 * body's.  So bodies can be put behind each other if three things are done to each but the last:
 * the first bit of its last block is cleared, it is filled up to a whole byte, and head and tail
 * (RFC 1952) are left out.  A block of stored bytes that has none fills up: three zero bits, zeros
 * to the byte's border, then the length 0 and its complement.
 *
 * Where these places are is known of every gzip body that was checked when it was fetched. */
#include "engine/esi_gzip.h"

#include "base/cursor.h"

enum { STORED_MAX = 65535, HEAD_MIN = 10, TAIL_BYTES = 8 };

bool stitch_bits_read(struct str attr, struct gzip_bits *bits)
{
    struct cursor c = cursor_of(attr.ptr, attr.len);
    *bits = (struct gzip_bits){0};
    bits->start_bit = cursor_u64(&c);
    bits->last_bit = cursor_u64(&c);
    bits->stop_bit = cursor_u64(&c);
    bits->in_bytes = cursor_u64(&c);
    bits->out_bytes = cursor_u64(&c);
    bits->crc = cursor_u32(&c);
    bits->is_set = c.rc == RC_OK && cursor_left(&c) == 0;
    return bits->is_set;
}

bool stitch_begin(struct stitch *s, const struct gzip_bits *bits, uint64_t body_len)
{
    *s = (struct stitch){.bits = *bits};
    if (!bits->is_set || bits->out_bytes != body_len || body_len < HEAD_MIN + TAIL_BYTES ||
        body_len > UINT64_MAX / 8) {
        return false;
    }
    return bits->start_bit % 8 == 0 && bits->start_bit >= HEAD_MIN * 8 &&
           bits->start_bit <= bits->last_bit && bits->last_bit < bits->stop_bit &&
           bits->stop_bit <= (body_len - TAIL_BYTES) * 8;
}

/* The byte at s->at, changed where the last block begins or ends. */
static YIELDS enum rc put_changed(struct stitch *s, unsigned char byte, esi_sink_fn *sink,
                                  void *arg)
{
    unsigned char out[6] = {byte};
    size_t len = 1;
    unsigned used = (unsigned)(s->bits.stop_bit % 8);
    if (s->at == s->bits.last_bit / 8) {
        out[0] &= (unsigned char)~(1u << (s->bits.last_bit % 8));
    }
    if (s->at == s->bits.stop_bit / 8 && used != 0) {
        out[0] &= (unsigned char)((1u << used) - 1);
        len += used > 5 ? 1 : 0; /* the three bits reach into the next byte */
        out[len++] = 0;
        out[len++] = 0;
        out[len++] = 0xff;
        out[len++] = 0xff;
    }
    s->at++;
    return sink(arg, out, len);
}

enum rc stitch_put(struct stitch *s, const void *ptr, size_t len, esi_sink_fn *sink, void *arg)
{
    const unsigned char *bytes = ptr;
    const uint64_t begin = s->bits.start_bit / 8;
    const uint64_t end = (s->bits.stop_bit + 7) / 8;
    enum rc rc = RC_OK;
    while (len > 0 && rc == RC_OK) {
        if (s->at == s->bits.last_bit / 8 || (s->at == s->bits.stop_bit / 8 && s->at < end)) {
            rc = put_changed(s, *bytes, sink, arg);
            bytes++;
            len--;
            continue;
        }
        /* Up to the next place at which something happens. */
        uint64_t stop = s->at < begin                  ? begin
                        : s->at < s->bits.last_bit / 8 ? s->bits.last_bit / 8
                        : s->at < s->bits.stop_bit / 8 ? s->bits.stop_bit / 8
                                                       : UINT64_MAX;
        size_t some = stop - s->at < len ? (size_t)(stop - s->at) : len;
        bool is_wanted = s->at >= begin && s->at < end;
        s->at += some;
        rc = is_wanted ? sink(arg, bytes, some) : RC_OK;
        bytes += some;
        len -= some;
    }
    return rc;
}

enum rc stitch_wrap(const void *ptr, size_t len, esi_sink_fn *sink, void *arg)
{
    const char *bytes = ptr;
    enum rc rc = RC_OK;
    while (len > 0 && rc == RC_OK) {
        uint16_t some = (uint16_t)(len < STORED_MAX ? len : STORED_MAX);
        char head[5];
        struct sb sb = sb_of(head, sizeof head);
        put_u8(&sb, 0);
        put_u16(&sb, some);
        put_u16(&sb, (uint16_t)~some);
        rc = sink(arg, head, sizeof head);
        rc = rc == RC_OK ? sink(arg, bytes, some) : rc;
        bytes += some;
        len -= some;
    }
    return rc;
}

void stitch_tail(char tail[STITCH_TAIL_BYTES], uint32_t crc, uint64_t text_len)
{
    struct sb sb = sb_of(tail, STITCH_TAIL_BYTES);
    put_u8(&sb, 1);
    put_u16(&sb, 0);
    put_u16(&sb, UINT16_MAX);
    put_u32(&sb, crc);
    put_u32(&sb, (uint32_t)text_len);
    CHECK(!sb.overflow);
}
