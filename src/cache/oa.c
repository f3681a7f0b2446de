/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What is stored of an object beside its body has to outlive the process that wrote it, so it is
 * a stream with a version and a checksum, not a struct.
 *
 *     0  4  magic and version: 'O' 'A' 1 0
 *     4  4  CRC-32C of all that follows this field
 *     8  4  length of the whole stream
 *    12  4  zero
 *    16     { 2 attribute | 2 zero | 4 length | value | 0..7 zeros }*      numbers little-endian
 *
 * Attributes ascend, each at most once; values begin at multiples of 8, so that a value which is
 * itself a table of numbers can be read in place.  Numbers from OA__COUNT on belong to later
 * versions of this program and are skipped. */
#include "cache/oa.h"

#include <endian.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/cursor.h"

enum { OA_MAGIC = 0x0001414f, OA_HEAD_BYTES = 16, OA_CRC_FROM = 8, OA_ITEM_BYTES = 8 };

static size_t padding(size_t len)
{
    return (8 - len % 8) % 8;
}

size_t oa_size(const struct str values[OA__COUNT])
{
    size_t bytes = OA_HEAD_BYTES;
    for (size_t i = 0; i < OA__COUNT; i++) {
        if (values[i].ptr != NULL) {
            bytes += OA_ITEM_BYTES + values[i].len + padding(values[i].len);
        }
    }
    return bytes;
}

static void set_u32(char *at, uint32_t value)
{
    struct sb sb = sb_of(at, sizeof value);
    put_u32(&sb, value);
}

void oa_encode(const struct str values[OA__COUNT], struct sb *sb)
{
    static const char zeros[8];
    size_t bytes = oa_size(values);
    CHECK(bytes <= UINT32_MAX);
    CHECK(!sb->overflow);
    CHECK(sb->cap - sb->len >= bytes);
    char *start = sb->ptr + sb->len;
    put_u32(sb, OA_MAGIC);
    put_u32(sb, 0);
    put_u32(sb, (uint32_t)bytes);
    put_u32(sb, 0);
    for (size_t i = 0; i < OA__COUNT; i++) {
        if (values[i].ptr == NULL) {
            continue;
        }
        put_u16(sb, (uint16_t)i);
        put_u16(sb, 0);
        put_u32(sb, (uint32_t)values[i].len);
        sb_put(sb, values[i]);
        sb_add(sb, zeros, padding(values[i].len));
    }
    CHECK(!sb->overflow);
    CHECK(sb->ptr + sb->len == start + bytes);
    set_u32(start + 4, crc32c(0, start + OA_CRC_FROM, bytes - OA_CRC_FROM));
}

struct oa_item {
    uint32_t attr;
    struct str value;
};

/* False at the end of the stream, or at the first thing that breaks a rule (c->rc tells). */
static bool next_item(struct cursor *c, struct oa_item *item)
{
    if (c->rc != RC_OK || cursor_left(c) == 0) {
        return false;
    }
    item->attr = cursor_u16(c);
    uint16_t zero = cursor_u16(c);
    size_t len = cursor_u32(c);
    item->value = cursor_bytes(c, len);
    struct str pad = cursor_bytes(c, padding(len));
    for (size_t i = 0; i < pad.len; i++) {
        zero = (uint16_t)(zero | (unsigned char)pad.ptr[i]);
    }
    if (zero != 0) {
        c->rc = RC_MALFORMED;
    }
    return c->rc == RC_OK;
}

enum rc oa_check(struct str oa)
{
    if (oa.len < OA_HEAD_BYTES) {
        return RC_DAMAGED;
    }
    struct cursor c = cursor_of(oa.ptr, oa.len);
    uint32_t magic = cursor_u32(&c);
    uint32_t crc = cursor_u32(&c);
    uint32_t bytes = cursor_u32(&c);
    uint32_t zero = cursor_u32(&c);
    if (c.rc != RC_OK) {
        return RC_DAMAGED;
    }
    if (magic != OA_MAGIC) {
        return (magic & 0xffff) == (OA_MAGIC & 0xffff) ? RC_UNSUPPORTED : RC_DAMAGED;
    }
    if (bytes != oa.len || zero != 0 ||
        crc != crc32c(0, oa.ptr + OA_CRC_FROM, oa.len - OA_CRC_FROM)) {
        return RC_DAMAGED;
    }
    struct oa_item item;
    int64_t last = -1;
    while (next_item(&c, &item)) {
        if ((int64_t)item.attr <= last) {
            return RC_DAMAGED;
        }
        last = item.attr;
    }
    return c.rc == RC_OK ? RC_OK : RC_DAMAGED;
}

/* A hit asks for three attributes, so this is written for speed, and not with a cursor.  Attributes
 * ascend: one that is not there is noticed at the next. */
struct str oa_find(struct str oa, enum obj_attr attr)
{
    size_t at = OA_HEAD_BYTES;
    while (at + OA_ITEM_BYTES <= oa.len) {
        uint16_t number;
        uint32_t len;
        memcpy(&number, oa.ptr + at, sizeof number);
        memcpy(&len, oa.ptr + at + 4, sizeof len);
        number = le16toh(number);
        len = le32toh(len);
        at += OA_ITEM_BYTES;
        if (number > attr || len > oa.len - at) {
            break;
        }
        if (number == attr) {
            return (struct str){oa.ptr + at, len};
        }
        at += len + padding(len);
    }
    return STR_NONE;
}
