/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The head of a stored response as bytes.  Little-endian, no padding:
 *
 *     u16 status   u16 count   u32 reason length   reason
 *     count times: u32 header id, u32 name length, u32 value length, name, value
 *
 * The id is a hint for speed only as long as headers.def has not changed: it is taken when it names
 * the same header as the text, and looked up again otherwise, so that storage survives an upgrade.
 * The texts are not checked again: the store verifies their checksum before they come here. */
#include "http/http.h"

#include <endian.h>

#include "base/check.h"
#include "base/cursor.h"
#include "http/http_priv.h"

void http_pack(struct sb *sb, const struct http *h)
{
    CHECK(h->reason.len <= UINT32_MAX);
    put_u16(sb, h->status);
    put_u16(sb, h->count);
    put_u32(sb, (uint32_t)h->reason.len);
    sb_put(sb, h->reason);
    for (unsigned i = 0; i < h->count; i++) {
        const struct http_hdr *hdr = &h->hdr[i];
        CHECK(hdr->name.len <= UINT32_MAX);
        CHECK(hdr->value.len <= UINT32_MAX);
        put_u32(sb, hdr->id);
        put_u32(sb, (uint32_t)hdr->name.len);
        put_u32(sb, (uint32_t)hdr->value.len);
        sb_put(sb, hdr->name);
        sb_put(sb, hdr->value);
    }
}

static enum http_hdr_id trusted_id(unsigned hint, struct str name)
{
    bool fits = hint > HDR_OTHER && hint < HDR__COUNT &&
                str_eq(http_hdr_name((enum http_hdr_id)hint), name);
    return fits ? (enum http_hdr_id)hint : http_hdr_id(name);
}

enum { FIELD_NUMBERS = 3 };

/* Each hit does this for each field, so numbers and texts are taken in two steps, not in five. */
static enum rc unpack_field(struct cursor *c, struct http *h)
{
    uint32_t number[FIELD_NUMBERS];
    struct str head = cursor_bytes(c, sizeof number);
    if (head.ptr == NULL) {
        return RC_DAMAGED;
    }
    memcpy(number, head.ptr, sizeof number);
    unsigned hint = le32toh(number[0]);
    size_t name_len = le32toh(number[1]);
    size_t value_len = le32toh(number[2]);
    struct str both = cursor_bytes(c, name_len + value_len);
    if (both.ptr == NULL || name_len == 0) {
        return RC_DAMAGED;
    }
    struct str name = {both.ptr, name_len};
    struct str value = {both.ptr + name_len, value_len};
    return http__append(h, name, value, trusted_id(hint, name)) ? RC_OK : RC_LIMIT;
}

void http_packed_status(struct str packed, char digits[static 3])
{
    struct cursor c = cursor_of(packed.ptr, packed.len);
    unsigned status = cursor_u16(&c) % 1000;
    for (unsigned i = 3; i > 0; i--) {
        digits[i - 1] = (char)('0' + status % 10);
        status /= 10;
    }
}

struct str http_packed_get(struct str packed, struct str name)
{
    struct cursor c = cursor_of(packed.ptr, packed.len);
    (void)cursor_u16(&c);
    unsigned count = cursor_u16(&c);
    (void)cursor_bytes(&c, cursor_u32(&c));
    for (unsigned i = 0; i < count && c.rc == RC_OK; i++) {
        (void)cursor_u32(&c);
        size_t name_len = cursor_u32(&c);
        size_t value_len = cursor_u32(&c);
        struct str have = cursor_bytes(&c, name_len);
        struct str value = cursor_bytes(&c, value_len);
        if (c.rc == RC_OK && str_eq_nocase(have, name)) {
            return value;
        }
    }
    return STR_NONE;
}

enum rc http_unpack(struct http *h, struct str packed)
{
    struct cursor c = cursor_of(packed.ptr, packed.len);
    http_reset(h);
    unsigned status = cursor_u16(&c);
    unsigned count = cursor_u16(&c);
    struct str reason = cursor_bytes(&c, cursor_u32(&c));
    if (c.rc != RC_OK || status % 1000 < 100) {
        return RC_DAMAGED;
    }
    http_set_status(h, status % 1000);
    h->status = (uint16_t)status; /* policies count in thousands */
    h->reason = reason;
    for (unsigned i = 0; i < count; i++) {
        enum rc rc = unpack_field(&c, h);
        if (rc != RC_OK) {
            return rc;
        }
    }
    return cursor_left(&c) == 0 ? RC_OK : RC_DAMAGED;
}
