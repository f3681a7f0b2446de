/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The log in shared memory, as varnishlog reads it.
 *
 *     transaction: struct vslb --records--> struct vsl_buf --whole batches--> struct vsl (the ring)
 *
 * A record is a tag, the id of its transaction and a text.  It is written into a private buffer,
 * without a lock, and buffers are copied into the ring under its lock.  The usual buffer is the
 * loop's: all transactions of the loop write into it, in the order in which things happen, and the
 * loop flushes it at the end of each tick.  A transaction may also have a buffer of its own, and be
 * moved into the loop's buffer when it is complete (vsl_buf_move).
 *
 * Buffers and vslb belong to one thread; struct vsl may be used by all.  Nothing here yields. */
#ifndef SHM_VSL_H
#define SHM_VSL_H

#include <vapi/vsl_int.h> /* enum VSL_tag_e (SLT_...), VSL_CLIENTMARKER, VSL_BACKENDMARKER */

#include "base/check.h"
#include "base/param.h"
#include "base/sb.h"
#include "shm/vsc.h"

struct vsl;

/* Makes the log segment in `set`: `bytes` large, at least VSL_BYTES_MIN.  The caller owns *ring,
 * borrowed are params (vsl_mask, vsl_reclen: read at any time) and main (counts shm_...; may be
 * NULL).  rc as in vsm.h. */
MUST_USE enum rc vsl_new(struct vsm_set *set, size_t bytes, const struct params *params,
                         struct vsc_main *main, struct vsl **ring);

/* Ends *ring (may be NULL), before its set; nobody may write any more. */
void vsl_free(struct vsl **ring);

#define VSL_BYTES_MIN 4096

/* Writes one record at once.  For what is rare: records of no transaction (id 0), as CLI's. */
void vsl_now(struct vsl *ring, enum VSL_tag_e tag, uint32_t id, struct str text);
void vsl_nowf(struct vsl *ring, enum VSL_tag_e tag, uint32_t id, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Fields are vsl's own, here only for the inline functions below. */
struct vsl_buf {
    uint32_t *next;  /* where the next record goes */
    uint32_t *end;   /* of the memory */
    uint32_t *batch; /* head of the open batch: consecutive records of one id */
    uint32_t batch_id;
    uint32_t records; /* since the last flush */
    size_t text_max;  /* bytes of a record's text */
    struct vsl *ring;
    const struct params *params;
    uint32_t *mem;
    uint64_t now_s;    /* the second that was last stamped, */
    char now_text[20]; /* as text */
    uint8_t now_len;
};

/* Makes an empty buffer in `mem` (borrowed until the last flush; aligned to 4; at least
 * VSL_BUF_BYTES_MIN).  A full buffer flushes itself. */
void vsl_buf_init(struct vsl_buf *buf, struct vsl *ring, void *mem, size_t bytes);

#define VSL_BUF_BYTES_MIN 256

/* Copies all records into the ring, and leaves the buffer empty.  Open transactions go on. */
void vsl_buf_flush(struct vsl_buf *buf);

/* Moves all records to the end of another buffer of the same ring and thread. */
void vsl_buf_move(struct vsl_buf *from, struct vsl_buf *to);

/* One transaction's pen.  id: a VXID with VSL_CLIENTMARKER, VSL_BACKENDMARKER or neither. */
struct vslb {
    struct vsl_buf *buf;
    uint32_t id;
};

static inline void vslb_open(struct vslb *b, struct vsl_buf *buf, uint32_t id)
{
    b->buf = buf;
    b->id = id;
}

/* Whether records of this tag are wanted at all.  Each function below asks by itself; ask before
 * work that is done only for the log. */
static inline bool vslb_wants(const struct vslb *b, enum VSL_tag_e tag)
{
    return param_bit(b->buf->params, PARAM_BITS_vsl_mask, (unsigned)tag);
}

/* Appends a record with this text.  Texts longer than vsl_reclen - 1 are cut. */
static inline void vslb_str(struct vslb *b, enum VSL_tag_e tag, struct str text);
/* ... with these two texts, one after the other. */
static inline void vslb_str2(struct vslb *b, enum VSL_tag_e tag, struct str one, struct str two);
/* ... with `name: value`. */
static inline void vslb_header(struct vslb *b, enum VSL_tag_e tag, struct str name,
                               struct str value);
/* ... with these bytes as they are, and no NUL: for the H2 frame tags. */
void vslb_bytes(struct vslb *b, enum VSL_tag_e tag, struct str bytes);
void vslb_printf(struct vslb *b, enum VSL_tag_e tag, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* ... Timestamp `label: now now-first now-previous`; all three are real time in nanoseconds. */
void vslb_timestamp(struct vslb *b, struct str label, uint64_t now_ns, uint64_t first_ns,
                    uint64_t previous_ns);

/* Composes a record in place: false when the tag is masked; else append to *sb what the text is,
 * and call vslb_done at once, before anything else is done with the buffer.  What overflows *sb is
 * left out (whole appends, see sb.h). */
MUST_USE bool vslb_claim(struct vslb *b, enum VSL_tag_e tag, struct sb *sb);
void vslb_done(struct vslb *b, enum VSL_tag_e tag, const struct sb *sb);

/* The name of a tag, or NULL when there is none of that number. */
const char *vsl_tag_name(unsigned tag);
/* The tag of that name, in any case; SLT__Bogus when there is none. */
enum VSL_tag_e vsl_tag_by_name(struct str name);

/* Sets vsl_mask to what Varnish logs by default.  A bit that is set means: log this tag. */
void vsl_mask_default(struct params *params);

#include "shm/vsl_inline.h"

#endif
