/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Counters and their documents are segments of one shape:
 *
 *     0   int32   0 being made, 1 visible, 2 hidden
 *     8   uint64  where the body begins
 *    16   uint64  the document's number
 *    24   body: the counters, or the document as JSON and a NUL
 *
 * The reader asserts that a document comes before the counters that name it, that every element
 * has all its members, and that nothing is "being made" for long.  So a document is published under
 * a lock, once a set, before the first counters of its class, and never removed; and segments are
 * complete before they are entered. */
#include "shm/vsc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutex.h"
#include "base/sb.h"
#include "shm/vsm_priv.h"

enum { READY_VISIBLE = 1, READY_HIDDEN = 2 };

struct vsc_head {
    int32_t ready;
    uint32_t pad;
    uint64_t body_offset;
    uint64_t doc_id;
};
static_assert(sizeof(struct vsc_head) == 24, "readers expect this layout");
static_assert(offsetof(struct vsc_head, body_offset) == 8, "readers expect this layout");

#define COUNTER(field, name, type, level, format, oneliner)                                        \
    {name, #type, #level, #format, oneliner},
static const struct vsc_counter main_counters[] = {
#include "shm/counters/main.def"
};
static const struct vsc_counter mgt_counters[] = {
#include "shm/counters/mgt.def"
};
static const struct vsc_counter objm_counters[] = {
#include "shm/counters/objm.def"
};
static const struct vsc_counter sma_counters[] = {
#include "shm/counters/sma.def"
};
static const struct vsc_counter vbe_counters[] = {
#include "shm/counters/vbe.def"
};
#undef COUNTER

/* Document numbers are opaque to readers; these are 'o', 'b', 'j' and a serial number. */
#define CLASS(class, id, oneliner)                                                                 \
    const struct vsc_class vsc_class_##class = {#class, oneliner, 0x6f626a00 + (id),               \
                                                ARRAY_SIZE(class##_counters), class##_counters}
CLASS(main, 1, "The worker");
CLASS(mgt, 2, "The manager");
CLASS(objm, 3, "Delivery lanes, storage and recovery");
CLASS(sma, 4, "A storage in memory");
CLASS(vbe, 5, "A backend");
#undef CLASS

static void json_member(struct sb *sb, const char *name, const char *text)
{
    CHECK(strpbrk(text, "\"\\") == NULL);
    sb_printf(sb, "\"%s\":\"%s\",", name, text);
}

static void json_document(struct sb *sb, const struct vsc_class *class)
{
    sb_lit(sb, "{\"version\":\"1\",");
    json_member(sb, "name", class->name);
    json_member(sb, "oneliner", class->oneliner);
    json_member(sb, "docs", "");
    sb_printf(sb, "\"order\":%u,\"elements\":%u,\"elem\":{", class->doc_id & 0xff, class->count);
    for (uint32_t i = 0; i < class->count; i++) {
        const struct vsc_counter *c = &class->counters[i];
        sb_printf(sb, "%s\"%s\":{", i > 0 ? "," : "", c->name);
        json_member(sb, "type", c->type);
        json_member(sb, "ctype", "uint64_t");
        json_member(sb, "level", c->level);
        json_member(sb, "oneliner", c->oneliner);
        json_member(sb, "format", c->format);
        json_member(sb, "docs", "");
        json_member(sb, "name", c->name);
        sb_printf(sb, "\"index\":%zu}", i * sizeof(uint64_t));
    }
    sb_lit(sb, "}}");
    sb_chr(sb, '\0');
    CHECK(!sb->overflow);
}

static size_t json_room(const struct vsc_class *class)
{
    size_t bytes = 256;
    for (uint32_t i = 0; i < class->count; i++) {
        const struct vsc_counter *c = &class->counters[i];
        bytes += 192 + 2 * strlen(c->name) + strlen(c->oneliner);
    }
    return bytes;
}

/* A body without pointer is that many zero bytes. */
static enum rc publish(struct vsm_set *set, const struct vsc_class *class, const char *kind,
                       const char *ident, struct str body, struct vsm_seg **seg)
{
    struct vsm_seg *s;
    enum rc rc = vsm_seg_new(set, kind, ident, sizeof(struct vsc_head) + body.len, &s);
    if (rc != RC_OK) {
        return rc;
    }
    struct vsc_head *head = vsm_seg_ptr(s);
    head->body_offset = sizeof *head;
    head->doc_id = class->doc_id;
    if (body.ptr != NULL) {
        memcpy(head + 1, body.ptr, body.len);
    }
    __atomic_store_n(&head->ready, READY_VISIBLE, __ATOMIC_RELEASE);
    rc = vsm_seg_publish(s);
    if (rc != RC_OK) {
        vsm_seg_free(&s);
        return rc;
    }
    *seg = s;
    return RC_OK;
}

static enum rc publish_document(struct vsm_set *set, const struct vsc_class *class)
{
    char ident[24];
    int n = snprintf(ident, sizeof ident, "%" PRIx32, class->doc_id);
    CHECK(n > 0);
    mutex_lock(&set->doc_lock);
    mutex_lock(&set->lock);
    bool is_there = vsm__seg_find(set, "StatDoc", ident) != NULL;
    mutex_unlock(&set->lock);
    enum rc rc = RC_OK;
    if (!is_there) {
        size_t room = json_room(class);
        char *text = xmalloc(room);
        struct sb sb = sb_of(text, room);
        json_document(&sb, class);
        struct vsm_seg *doc;
        rc = publish(set, class, "StatDoc", ident, sb_str(&sb), &doc);
        XFREE(text);
    }
    mutex_unlock(&set->doc_lock);
    return rc;
}

enum rc vsc_new(struct vsm_set *set, const struct vsc_class *class, const char *ident,
                struct vsm_seg **seg)
{
    CHECK_OBJ(set, VSM__SET_MAGIC);
    CHECK(class->count > 0);
    CHECK(ident[0] != '\0');
    enum rc rc = publish_document(set, class);
    if (rc != RC_OK) {
        return rc;
    }
    struct str zeros = {NULL, class->count * sizeof(uint64_t)};
    return publish(set, class, "Stat", ident, zeros, seg);
}

void *vsc_of(const struct vsm_seg *seg)
{
    struct vsc_head *head = vsm_seg_ptr(seg);
    CHECK(head->body_offset == sizeof *head);
    return head + 1;
}

void vsc_show(struct vsm_seg *seg, bool is_shown)
{
    struct vsc_head *head = vsm_seg_ptr(seg);
    CHECK(head->body_offset == sizeof *head);
    __atomic_store_n(&head->ready, is_shown ? READY_VISIBLE : READY_HIDDEN, __ATOMIC_RELEASE);
}

static void flush_each(uint64_t *to, uint64_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (from[i] != 0) {
            vsc_add(&to[i], from[i]);
            from[i] = 0;
        }
    }
}

/* Once a tick; and of some two hundred counters few have moved, most of them neighbours. */
void vsc_flush(const struct vsc_class *class, void *shared, void *local)
{
    uint64_t *to = shared;
    uint64_t *from = local;
    uint32_t left = class->count;
    for (; left >= 8; left -= 8, to += 8, from += 8) {
        uint64_t low = from[0] | from[1] | from[2] | from[3];
        uint64_t high = from[4] | from[5] | from[6] | from[7];
        if ((low | high) != 0) {
            flush_each(to, from, 8);
        }
    }
    flush_each(to, from, left);
}
