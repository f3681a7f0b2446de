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

/* One record of three texts, the slow way: the batch turns, or the text is cut. */
void vsl__turn_put(struct vslb *b, enum VSL_tag_e tag, struct str one, struct str sep,
                   struct str two);

/* The words of a record with `len` bytes of payload. */
static inline size_t vsl__words(size_t len)
{
    return VSL_OVERHEAD + (len + 3) / 4;
}

/* Begins a record with `len` bytes of text and a NUL; returns where they go.  The last payload word
 * is zero, so the text gets its NUL and no stale bytes get out.  NULL when that cannot be done at
 * once: calls made on the fast way would cost it as much as the rest of it. */
static inline char *vsl__begin(struct vslb *b, enum VSL_tag_e tag, size_t len)
{
    struct vsl_buf *buf = b->buf;
    uint32_t *rec = buf->next;
    size_t words = vsl__words(len + 1);
    if (UNLIKELY(buf->batch_id != b->id || len > buf->text_max ||
                 words > (size_t)(buf->end - rec))) {
        return NULL;
    }
    buf->next = rec + words;
    buf->records++;
    rec[words - 1] = 0;
    rec[0] = (uint32_t)tag << 24 | (uint32_t)(len + 1);
    rec[1] = b->id;
    return (char *)(rec + VSL_OVERHEAD);
}

/* memcpy for what is nearly always short, without a call.  Copies of a fixed size of which the last
 * two overlap make any length. */
static inline void vsl__copy(char *to, const char *from, size_t len)
{
    if (len >= 16) {
        const char *last = from + len - 16;
        char *last_to = to + len - 16;
        for (; from < last; from += 16, to += 16) {
            memcpy(to, from, 16);
        }
        memcpy(last_to, last, 16);
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
    char *to = vsl__begin(b, tag, text.len);
    if (UNLIKELY(to == NULL)) {
        vsl__turn_put(b, tag, text, STR(""), STR(""));
        return;
    }
    vsl__copy(to, text.ptr, text.len);
}

static inline void vslb_str2(struct vslb *b, enum VSL_tag_e tag, struct str one, struct str two)
{
    if (!vslb_wants(b, tag)) {
        return;
    }
    char *to = vsl__begin(b, tag, one.len + two.len);
    if (UNLIKELY(to == NULL)) {
        vsl__turn_put(b, tag, one, STR(""), two);
        return;
    }
    vsl__copy(to, one.ptr, one.len);
    vsl__copy(to + one.len, two.ptr, two.len);
}

static inline void vslb_header(struct vslb *b, enum VSL_tag_e tag, struct str name,
                               struct str value)
{
    if (!vslb_wants(b, tag)) {
        return;
    }
    char *to = vsl__begin(b, tag, name.len + 2 + value.len);
    if (UNLIKELY(to == NULL)) {
        vsl__turn_put(b, tag, name, STR(": "), value);
        return;
    }
    vsl__copy(to, name.ptr, name.len);
    to += name.len;
    memcpy(to, ": ", 2);
    vsl__copy(to + 2, value.ptr, value.len);
}

#endif
