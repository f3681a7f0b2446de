/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A builder of text in a caller's buffer.  The first overflow sticks, as in a cursor: append all,
 * test once. */
#ifndef BASE_SB_H
#define BASE_SB_H

#include <stdarg.h>

#include "base/str.h"

struct sb {
    char *ptr;
    size_t len;
    size_t cap;
    bool overflow; /* something did not fit; what is there is a whole prefix of appends */
};

static inline struct sb sb_of(char *buf, size_t cap)
{
    return (struct sb){.ptr = buf, .cap = cap};
}

static inline struct str sb_str(const struct sb *sb)
{
    return (struct str){sb->ptr, sb->len};
}

static inline void sb_add(struct sb *sb, const void *bytes, size_t len)
{
    if (UNLIKELY(sb->overflow || len > sb->cap - sb->len)) {
        sb->overflow = true;
        return;
    }
    memcpy(sb->ptr + sb->len, bytes, len);
    sb->len += len;
}

static inline void sb_put(struct sb *sb, struct str s)
{
    if (s.len > 0) {
        sb_add(sb, s.ptr, s.len);
    }
}

static inline void sb_chr(struct sb *sb, char c)
{
    sb_add(sb, &c, 1);
}

#define sb_lit(sb, lit) sb_add((sb), "" lit, sizeof(lit) - 1)

/* "00" to "99", without NULs between them. */
extern const char sb_digit_pairs[201];

void sb_u64(struct sb *sb, uint64_t value);
void sb_hex(struct sb *sb, uint64_t value);
/* Nanoseconds as seconds with six decimals, as in Varnish's Timestamp records. */
void sb_seconds(struct sb *sb, uint64_t ns);
void sb_printf(struct sb *sb, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
