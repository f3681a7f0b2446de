/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/sb.h"

#include <stdio.h>

#include "base/check.h"

const char sb_digit_pairs[201] = "00010203040506070809101112131415161718192021222324"
                                 "25262728293031323334353637383940414243444546474849"
                                 "50515253545556575859606162636465666768697071727374"
                                 "75767778798081828384858687888990919293949596979899";

/* Writes backwards from `end`. */
static inline void number_before(char *at, uint64_t value)
{
    while (value >= 100) {
        at -= 2;
        memcpy(at, sb_digit_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(at, sb_digit_pairs + 2 * value, 2);
    } else {
        *--at = (char)('0' + value);
    }
}

static unsigned digits_of(uint64_t value)
{
    for (unsigned digits = 1;; digits += 4, value /= 10000) {
        if (value < 10) {
            return digits;
        }
        if (value < 100) {
            return digits + 1;
        }
        if (value < 1000) {
            return digits + 2;
        }
        if (value < 10000) {
            return digits + 3;
        }
    }
}

void sb_u64(struct sb *sb, uint64_t value)
{
    unsigned digits = digits_of(value);
    if (UNLIKELY(sb->overflow || digits > sb->cap - sb->len)) {
        sb->overflow = true;
        return;
    }
    sb->len += digits;
    number_before(sb->ptr + sb->len, value);
}

void sb_hex(struct sb *sb, uint64_t value)
{
    char buf[16];
    char *at = buf + sizeof buf;
    do {
        *--at = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0);
    sb_add(sb, at, (size_t)(buf + sizeof buf - at));
}

void sb_seconds(struct sb *sb, uint64_t ns)
{
    uint64_t us = ns / 1000;
    size_t before = sb->len;
    sb_u64(sb, us / 1000000);
    if (UNLIKELY(sb->overflow || sb->cap - sb->len < 7)) {
        sb->len = before;
        sb->overflow = true;
        return;
    }
    uint32_t fraction = (uint32_t)(us % 1000000);
    uint32_t low = fraction % 10000;
    char *at = sb->ptr + sb->len;
    at[0] = '.';
    memcpy(at + 1, sb_digit_pairs + 2 * (size_t)(fraction / 10000), 2);
    memcpy(at + 3, sb_digit_pairs + 2 * (size_t)(low / 100), 2);
    memcpy(at + 5, sb_digit_pairs + 2 * (size_t)(low % 100), 2);
    sb->len += 7;
}

void sb_printf(struct sb *sb, const char *fmt, ...)
{
    CHECK(sb->len <= sb->cap);
    if (sb->overflow) {
        return;
    }
    size_t room = sb->cap - sb->len;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(sb->ptr + sb->len, room, fmt, ap);
    va_end(ap);
    CHECK(len >= 0);
    if ((size_t)len >= room) {
        /* vsnprintf needs one byte more for its NUL than we do. */
        sb->overflow = true;
        return;
    }
    sb->len += (size_t)len;
}
