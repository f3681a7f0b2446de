/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The inline half of vsl.h, which includes it; nobody else does.  A cache hit writes some forty
 * records, so what is here is counted in nanoseconds: see bench/micro/vslb_bench.c. */
#ifndef SHM_VSL_INLINE_H
#define SHM_VSL_INLINE_H

#include "shm/vsl.h"

/* No id has both markers. */
#define VSL__NO_BATCH UINT32_MAX

/* Makes room for a record of `words`, and begins a batch of this id if another one is open. */
void vsl__buf_turn(struct vsl_buf *buf, uint32_t id, size_t words);

/* The words of a record with `len` bytes of payload. */
static inline size_t vsl__words(size_t len)
{
    return VSL_OVERHEAD + (len + 3) / 4;
}

/* Begins a record with `len` bytes of payload; returns where they go.  The last payload word is
 * zero, so the text gets its NUL and no stale bytes get out. */
static inline char *vsl__append(struct vslb *b, enum VSL_tag_e tag, size_t len)
{
    struct vsl_buf *buf = b->buf;
    size_t words = vsl__words(len);
    bool fits = words <= (size_t)(buf->end - buf->next);
    if (UNLIKELY(buf->batch_id != b->id || !fits)) {
        vsl__buf_turn(buf, b->id, words);
    }
    uint32_t *rec = buf->next;
    buf->next = rec + words;
    buf->records++;
    rec[words - 1] = 0;
    rec[0] = (uint32_t)tag << 24 | (uint32_t)len;
    rec[1] = b->id;
    return (char *)(rec + VSL_OVERHEAD);
}

/* memcpy for what is nearly always short, without the call.  Two copies of one fixed size each,
 * which overlap in the middle, make any length from that size to its double. */
static inline void vsl__copy(char *to, const char *from, size_t len)
{
    if (len > 32) {
        memcpy(to, from, len);
    } else if (len >= 16) {
        memcpy(to, from, 16);
        memcpy(to + len - 16, from + len - 16, 16);
    } else if (len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + len - 4, from + len - 4, 4);
    } else if (len > 0) {
        to[0] = from[0];
        to[len / 2] = from[len / 2];
        to[len - 1] = from[len - 1];
    }
}

static inline void vslb_str(struct vslb *b, enum VSL_tag_e tag, struct str text)
{
    if (!vslb_wants(b, tag)) {
        return;
    }
    size_t max = b->buf->text_max;
    size_t len = LIKELY(text.len <= max) ? text.len : max;
    char *to = vsl__append(b, tag, len + 1);
    vsl__copy(to, text.ptr, len);
}

static inline void vsl__parts(struct vslb *b, enum VSL_tag_e tag, struct str one, struct str sep,
                              struct str two)
{
    if (!vslb_wants(b, tag)) {
        return;
    }
    size_t max = b->buf->text_max;
    if (UNLIKELY(one.len + sep.len > max)) {
        one.len = one.len <= max ? one.len : max;
        sep.len = sep.len <= max - one.len ? sep.len : max - one.len;
    }
    size_t room = max - one.len - sep.len;
    size_t len = LIKELY(two.len <= room) ? two.len : room;
    char *to = vsl__append(b, tag, one.len + sep.len + len + 1);
    vsl__copy(to, one.ptr, one.len);
    vsl__copy(to + one.len, sep.ptr, sep.len);
    vsl__copy(to + one.len + sep.len, two.ptr, len);
}

static inline void vslb_str2(struct vslb *b, enum VSL_tag_e tag, struct str one, struct str two)
{
    vsl__parts(b, tag, one, (struct str){"", 0}, two);
}

static inline void vslb_header(struct vslb *b, enum VSL_tag_e tag, struct str name,
                               struct str value)
{
    vsl__parts(b, tag, name, STR(": "), value);
}

#endif
