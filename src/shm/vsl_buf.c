/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Buffers of records on their way to the ring.
 *
 *     mem                                 batch                       next            end
 *      |[batch a: a a a][batch b: b b][batch a: a][batch c: c c c ...  |               |
 *
 * Consecutive records of one id form a batch, which varnishlog takes as one piece instead of record
 * by record.  A batch has one id, so a record of another id closes it and opens the next; the head
 * of the open batch is completed only then, or by a flush.  Invariant: everything before `batch` is
 * whole; if batch_id is VSL__NO_BATCH no batch is open, and everything before `next` is whole. */
#include "shm/vsl_priv.h"

#include <stdio.h>

/* Of a timestamp: its label, which VCL may choose and which is cut, and a number with its blank. */
enum { LABEL_MAX = 200, SECONDS_MAX = 28 };

void vsl_buf_init(struct vsl_buf *buf, struct vsl *ring, void *mem, size_t bytes)
{
    CHECK(mem != NULL);
    CHECK((uintptr_t)mem % sizeof(uint32_t) == 0);
    CHECK(bytes >= VSL_BUF_BYTES_MIN);
    size_t words = bytes / sizeof(uint32_t);
    size_t max = vsl__copy_max_words(ring);
    /* A buffer goes into the ring in one piece. */
    words = words < max ? words : max;
    *buf = (struct vsl_buf){.next = mem,
                            .end = (uint32_t *)mem + words,
                            .batch_id = VSL__NO_BATCH,
                            .ring = ring,
                            .params = vsl__params(ring),
                            .mem = mem};
    buf->text_max = vsl__text_max(ring, words - VSL_OVERHEAD);
}

size_t vsl__text_max(const struct vsl *ring, size_t words)
{
    CHECK(words > VSL_OVERHEAD);
    size_t reclen = param(vsl__params(ring), vsl_reclen);
    size_t room = (words - VSL_OVERHEAD) * sizeof(uint32_t);
    room = room < VSL_LENMASK ? room : VSL_LENMASK;
    reclen = reclen < room ? reclen : room;
    return reclen > 0 ? reclen - 1 : 0;
}

static void close_batch(struct vsl_buf *buf)
{
    if (buf->batch_id == VSL__NO_BATCH) {
        return;
    }
    CHECK(buf->next >= buf->batch + VSL_OVERHEAD);
    size_t words = (size_t)(buf->next - buf->batch) - VSL_OVERHEAD;
    if (words == 0) {
        buf->next = buf->batch;
    } else {
        buf->batch[0] = (uint32_t)SLT__Batch << 24;
        buf->batch[1] = (uint32_t)(words * sizeof(uint32_t));
    }
    buf->batch_id = VSL__NO_BATCH;
}

static void flush(struct vsl_buf *buf, bool is_early)
{
    close_batch(buf);
    if (buf->next == buf->mem) {
        return;
    }
    struct vsl__tally tally = {buf->records, is_early};
    vsl__write(buf->ring, buf->mem, (size_t)(buf->next - buf->mem), &tally);
    buf->next = buf->mem;
    buf->records = 0;
    size_t words = (size_t)(buf->end - buf->mem) - VSL_OVERHEAD;
    buf->text_max = vsl__text_max(buf->ring, words);
}

void vsl_buf_flush(struct vsl_buf *buf)
{
    flush(buf, false);
}

void vsl__buf_turn(struct vsl_buf *buf, uint32_t id, size_t words)
{
    CHECK(id != VSL__NO_BATCH);
    close_batch(buf);
    if (words + VSL_OVERHEAD > (size_t)(buf->end - buf->next)) {
        flush(buf, true);
    }
    CHECK(words + VSL_OVERHEAD <= (size_t)(buf->end - buf->next));
    buf->batch = buf->next;
    buf->batch_id = id;
    buf->next += VSL_OVERHEAD;
}

void vsl_buf_move(struct vsl_buf *from, struct vsl_buf *to)
{
    CHECK(from != to);
    CHECK(from->ring == to->ring);
    close_batch(from);
    close_batch(to);
    size_t words = (size_t)(from->next - from->mem);
    if (words > (size_t)(to->end - to->next)) {
        flush(to, true);
    }
    if (words > (size_t)(to->end - to->next)) {
        flush(from, true);
        return;
    }
    if (words > 0) {
        memcpy(to->next, from->mem, words * sizeof *to->next);
    }
    to->next += words;
    to->records += from->records;
    from->next = from->mem;
    from->records = 0;
}

/* Begins a record with `len` bytes of payload, which fit text_max with their NUL. */
static char *append(struct vslb *b, enum VSL_tag_e tag, size_t len)
{
    struct vsl_buf *buf = b->buf;
    size_t words = vsl__words(len);
    if (buf->batch_id != b->id || words > (size_t)(buf->end - buf->next)) {
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

static size_t cut(struct str *text, size_t max)
{
    text->len = text->len <= max ? text->len : max;
    return text->len;
}

void vsl__turn_put(struct vslb *b, enum VSL_tag_e tag, struct str one, struct str sep,
                   struct str two)
{
    size_t max = b->buf->text_max;
    max -= cut(&one, max);
    max -= cut(&sep, max);
    (void)cut(&two, max);
    char *to = append(b, tag, one.len + sep.len + two.len + 1);
    str_copy(to, one);
    str_copy(to + one.len, sep);
    str_copy(to + one.len + sep.len, two);
}

void vslb_bytes(struct vslb *b, enum VSL_tag_e tag, struct str bytes)
{
    if (!vslb_wants(b, tag)) {
        return;
    }
    size_t max = b->buf->text_max + 1;
    size_t len = bytes.len <= max ? bytes.len : max;
    /* An empty record has no payload word that could be set to zero. */
    if (len == 0) {
        vslb_str(b, tag, STR(""));
        return;
    }
    memcpy(append(b, tag, len), bytes.ptr, len);
}

bool vslb_claim(struct vslb *b, enum VSL_tag_e tag, struct sb *sb)
{
    if (!vslb_wants(b, tag)) {
        return false;
    }
    struct vsl_buf *buf = b->buf;
    size_t words = vsl__words(buf->text_max + 1);
    if (buf->batch_id != b->id || words > (size_t)(buf->end - buf->next)) {
        vsl__buf_turn(buf, b->id, words);
    }
    *sb = sb_of((char *)(buf->next + VSL_OVERHEAD), buf->text_max);
    return true;
}

void vslb_done(struct vslb *b, enum VSL_tag_e tag, const struct sb *sb)
{
    struct vsl_buf *buf = b->buf;
    uint32_t *rec = buf->next;
    CHECK(buf->batch_id == b->id);
    CHECK(sb->ptr == (char *)(rec + VSL_OVERHEAD));
    CHECK(sb->len <= buf->text_max);
    size_t len = sb->len + 1;
    /* The NUL, and zeros up to the word's end; text_max leaves room for both. */
    for (size_t i = sb->len; i < VSL_BYTES(VSL_WORDS(len)); i++) {
        sb->ptr[i] = '\0';
    }
    rec[0] = (uint32_t)tag << 24 | (uint32_t)len;
    rec[1] = b->id;
    buf->next = rec + vsl__words(len);
    buf->records++;
}

void vslb_printf(struct vslb *b, enum VSL_tag_e tag, const char *fmt, ...)
{
    struct sb sb;
    if (!vslb_claim(b, tag, &sb)) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(sb.ptr, sb.cap + 1, fmt, ap);
    va_end(ap);
    CHECK(n >= 0);
    sb.len = (size_t)n < sb.cap ? (size_t)n : sb.cap;
    vslb_done(b, tag, &sb);
}

/* Two digits at a time, without a loop: a hit writes twelve of these numbers. */
static char *put_pair(char *to, uint32_t value)
{
    memcpy(to, sb_digit_pairs + 2 * (size_t)value, 2);
    return to + 2;
}

static char *put_fraction(char *to, uint32_t us)
{
    uint32_t low = us % 10000;
    *to++ = '.';
    to = put_pair(to, us / 10000);
    to = put_pair(to, low / 100);
    return put_pair(to, low % 100);
}

/* Seconds with six decimals; returns where the text ends. */
static char *put_seconds(char *to, uint64_t ns)
{
    if (ns < NS_PER_US) {
        /* Most differences: a loop reads the clock once a tick. */
        memcpy(to, "0.000000", 8);
        return to + 8;
    }
    uint64_t us = ns / NS_PER_US;
    uint64_t s = us / 1000000;
    if (s < 10) {
        *to++ = (char)('0' + s);
    } else {
        struct sb sb = sb_of(to, SECONDS_MAX);
        sb_u64(&sb, s);
        to += sb.len;
    }
    return put_fraction(to, (uint32_t)(us % 1000000));
}

/* The time of day: the stamps of a second begin alike, so that part is kept. */
static char *put_now(struct vsl_buf *buf, char *to, uint64_t now_ns)
{
    uint64_t us = now_ns / NS_PER_US;
    uint64_t s = us / 1000000;
    if (UNLIKELY(buf->now_s != s || buf->now_len == 0)) {
        struct sb sb = sb_of(buf->now_text, sizeof buf->now_text);
        sb_u64(&sb, s);
        buf->now_len = (uint8_t)sb.len;
        buf->now_s = s;
    }
    memcpy(to, buf->now_text, sizeof buf->now_text);
    return put_fraction(to + buf->now_len, (uint32_t)(us % 1000000));
}

/* Real time may be set back while a request is at work. */
static uint64_t since(uint64_t now_ns, uint64_t then_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

void vslb_timestamp(struct vslb *b, struct str label, uint64_t now_ns, uint64_t first_ns,
                    uint64_t previous_ns)
{
    if (!vslb_wants(b, SLT_Timestamp)) {
        return;
    }
    label.len = label.len <= LABEL_MAX ? label.len : LABEL_MAX;
    char text[LABEL_MAX + 2 + 3 * SECONDS_MAX];
    char *to = text;
    str_copy(to, label);
    to += label.len;
    *to++ = ':';
    *to++ = ' ';
    to = put_now(b->buf, to, now_ns);
    *to++ = ' ';
    to = put_seconds(to, since(now_ns, first_ns));
    *to++ = ' ';
    to = put_seconds(to, since(now_ns, previous_ns));
    vslb_str(b, SLT_Timestamp, (struct str){text, (size_t)(to - text)});
}
