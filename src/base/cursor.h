/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bounded reading and writing of little-endian records.  The first failure sticks: reads after it
 * give zeros and move nothing, so a format is read in whole and tested once. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/str.h"

struct cursor {
    const unsigned char *at;
    const unsigned char *end;
    enum rc rc; /* RC_OK, or RC_MALFORMED once a read went past the end */
};

static inline struct cursor cursor_of(const void *bytes, size_t len)
{
    return (struct cursor){.at = bytes, .end = (const unsigned char *)bytes + len, .rc = RC_OK};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
/* A borrow of the next `len` bytes, STR_NONE when there are fewer. */
struct str cursor_bytes(struct cursor *c, size_t len);

/* The writing side appends to a struct sb. */
struct sb;
void put_u8(struct sb *sb, uint8_t value);
void put_u16(struct sb *sb, uint16_t value);
void put_u32(struct sb *sb, uint32_t value);
void put_u64(struct sb *sb, uint64_t value);

#endif
