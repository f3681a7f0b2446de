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

static inline void vslb_str(struct vslb *b, enum VSL_tag_e tag, struct str text)
{
    if (!vslb_wants(b, tag)) {
        return;
    }
    size_t max = b->buf->text_max;
    size_t len = LIKELY(text.len <= max) ? text.len : max;
    char *to = vsl__append(b, tag, len + 1);
    if (len > 0) {
        memcpy(to, text.ptr, len);
    }
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
    if (one.len > 0) {
        memcpy(to, one.ptr, one.len);
    }
    if (sep.len > 0) {
        memcpy(to + one.len, sep.ptr, sep.len);
    }
    if (len > 0) {
        memcpy(to + one.len + sep.len, two.ptr, len);
    }
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
