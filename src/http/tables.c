/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The tables made from headers.def, methods.def and statuses.def.
 *
 * A header name is looked up with a perfect hash: length, first, middle and last letter give a slot
 * of 256, and no two names of headers.def share one.  So a lookup is a few multiplications, a load
 * and one comparison, and it does not matter what names a peer invents. */
#include "http/http_priv.h"

#include <assert.h>
#include <string.h>

#include "base/check.h"

static_assert(HDR__COUNT <= 128, "struct http has a bit for each id");

enum { P = HTTP__P, F = HTTP__F, I = HTTP__I, S = HTTP__S, K = HTTP__K, ONCE = HTTP__ONCE };

static const struct {
    struct str name;
    uint8_t flags;
} headers[HDR__COUNT] = {
#define HDR(slot, id, name, flags) [HDR_##id] = {STR_INIT(name), flags},
#include "http/headers.def"
#undef HDR
};

static const uint8_t id_in_slot[256] = {
#define HDR(slot, id, name, flags) [slot] = HDR_##id,
#include "http/headers.def"
#undef HDR
};

static inline unsigned hdr_slot(struct str name)
{
    unsigned first = (unsigned char)name.ptr[0] | 0x20U;
    unsigned middle = (unsigned char)name.ptr[name.len / 2] | 0x20U;
    unsigned last = (unsigned char)name.ptr[name.len - 1] | 0x20U;
    return ((unsigned)name.len * 109 + first * 131 + middle * 141 + last * 159) & 0xff;
}

unsigned http__hdr_slot(struct str name)
{
    return hdr_slot(name);
}

static uint64_t load(const char *at, size_t bytes)
{
    uint64_t word = 0;
    memcpy(&word, at, bytes);
    return word;
}

/* Whether two names of equal length agree in all but bit 5 of each byte.  For names of headers.def
 * (letters, digits, "-") that is equality in any case as long as `name` is a token: what else
 * differs only there is a control character. */
static bool agrees(const char *name, const char *known, size_t len)
{
    const uint64_t fold = UINT64_C(0x2020202020202020);
    if (len < 8) {
        uint64_t diff = 0;
        for (size_t i = 0; i < len; i++) {
            diff |= (uint64_t)((unsigned char)name[i] ^ (unsigned char)known[i]);
        }
        return (diff & 0xdf) == 0;
    }
    uint64_t diff = load(name + len - 8, 8) ^ load(known + len - 8, 8);
    for (size_t i = 0; i + 8 < len; i += 8) {
        diff |= load(name + i, 8) ^ load(known + i, 8);
    }
    return (diff & ~fold) == 0;
}

enum http_hdr_id http_hdr_id(struct str name)
{
    if (name.len == 0) {
        return HDR_OTHER;
    }
    enum http_hdr_id id = (enum http_hdr_id)id_in_slot[hdr_slot(name)];
    struct str known = headers[id].name;
    return known.len == name.len && agrees(name.ptr, known.ptr, name.len) ? id : HDR_OTHER;
}

struct str http_hdr_name(enum http_hdr_id id)
{
    CHECK(id > HDR_OTHER);
    CHECK(id < HDR__COUNT);
    return headers[id].name;
}

uint8_t http__hdr_flags(enum http_hdr_id id)
{
    CHECK(id < HDR__COUNT);
    return headers[id].flags;
}

bool http_hdr_is_hop(enum http_hdr_id id)
{
    return (http__hdr_flags(id) & HTTP__K) != 0;
}

static const struct {
    struct str name;
    bool is_safe;
} methods[HTTP_M__COUNT] = {
#define METHOD(name, is_safe) [HTTP_M_##name] = {STR_INIT(#name), is_safe},
#include "http/methods.def"
#undef METHOD
};

enum http_method http_method_id(struct str name)
{
    for (enum http_method m = HTTP_M_OTHER + 1; m < HTTP_M__COUNT; m++) {
        if (str_eq(name, methods[m].name)) {
            return m;
        }
    }
    return HTTP_M_OTHER;
}

bool http_method_is_safe(enum http_method method)
{
    CHECK(method < HTTP_M__COUNT);
    return methods[method].is_safe;
}

struct str http_reason(unsigned status)
{
    static const struct {
        unsigned status;
        struct str reason;
    } reasons[] = {
#define STATUS(code, reason) {code, STR_INIT(reason)},
#include "http/statuses.def"
#undef STATUS
    };
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return STR("Unknown HTTP Status");
}
