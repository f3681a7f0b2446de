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
    str_copy(to, text);
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
    str_copy(to, one);
    str_copy(to + one.len, two);
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
    str_copy(to, name);
    to += name.len;
    memcpy(to, ": ", 2);
    str_copy(to + 2, value);
}

#endif
