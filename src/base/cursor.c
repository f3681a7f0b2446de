/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/cursor.h"

#include <endian.h>

#include "base/check.h"
#include "base/sb.h"

struct str cursor_bytes(struct cursor *c, size_t len)
{
    CHECK(c->at <= c->end);
    if (c->rc != RC_OK || len > cursor_left(c)) {
        c->rc = RC_MALFORMED;
        return STR_NONE;
    }
    struct str bytes = {(const char *)c->at, len};
    c->at += len;
    return bytes;
}

uint8_t cursor_u8(struct cursor *c)
{
    struct str b = cursor_bytes(c, 1);
    return b.ptr == NULL ? 0 : (uint8_t)b.ptr[0];
}

uint16_t cursor_u16(struct cursor *c)
{
    uint16_t value = 0;
    struct str b = cursor_bytes(c, sizeof value);
    if (b.ptr != NULL) {
        memcpy(&value, b.ptr, sizeof value);
    }
    return le16toh(value);
}

uint32_t cursor_u32(struct cursor *c)
{
    uint32_t value = 0;
    struct str b = cursor_bytes(c, sizeof value);
    if (b.ptr != NULL) {
        memcpy(&value, b.ptr, sizeof value);
    }
    return le32toh(value);
}

uint64_t cursor_u64(struct cursor *c)
{
    uint64_t value = 0;
    struct str b = cursor_bytes(c, sizeof value);
    if (b.ptr != NULL) {
        memcpy(&value, b.ptr, sizeof value);
    }
    return le64toh(value);
}

void put_u8(struct sb *sb, uint8_t value)
{
    sb_add(sb, &value, sizeof value);
}

void put_u16(struct sb *sb, uint16_t value)
{
    uint16_t le = htole16(value);
    sb_add(sb, &le, sizeof le);
}

void put_u32(struct sb *sb, uint32_t value)
{
    uint32_t le = htole32(value);
    sb_add(sb, &le, sizeof le);
}

void put_u64(struct sb *sb, uint64_t value)
{
    uint64_t le = htole64(value);
    sb_add(sb, &le, sizeof le);
}
