/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/str.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= 'A' && u <= 'Z') ? (unsigned char)(u | 0x20) : u;
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (a.ptr[i] != b.ptr[i] && lower(a.ptr[i]) != lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq((struct str){s.ptr, prefix.len}, prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq_nocase((struct str){s.ptr, prefix.len}, prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           str_eq((struct str){s.ptr + (s.len - suffix.len), suffix.len}, suffix);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

size_t str_find(struct str s, char c)
{
    const char *at = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);
    return at == NULL ? s.len : (size_t)(at - s.ptr);
}

struct str str_cut(struct str *rest, char sep)
{
    CHECK(rest != NULL);
    size_t at = str_find(*rest, sep);
    struct str head = {rest->ptr, at};
    if (at == rest->len) {
        *rest = STR_NONE;
    } else {
        *rest = (struct str){rest->ptr + at + 1, rest->len - at - 1};
    }
    return head;
}

enum rc str_to_u64(struct str s, uint64_t *value)
{
    CHECK(value != NULL);
    uint64_t sum = 0;
    if (s.len == 0) {
        return RC_MALFORMED;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return RC_MALFORMED;
        }
        if (__builtin_mul_overflow(sum, (uint64_t)10, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(s.ptr[i] - '0'), &sum)) {
            return RC_TOO_LONG;
        }
    }
    *value = sum;
    return RC_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    unsigned char l = lower(c);
    return (l >= 'a' && l <= 'f') ? l - 'a' + 10 : -1;
}

enum rc str_to_u64_hex(struct str s, uint64_t *value)
{
    CHECK(value != NULL);
    uint64_t sum = 0;
    if (s.len == 0) {
        return RC_MALFORMED;
    }
    for (size_t i = 0; i < s.len; i++) {
        int digit = hex_digit(s.ptr[i]);
        if (digit < 0) {
            return RC_MALFORMED;
        }
        if (sum >> 60 != 0) {
            return RC_TOO_LONG;
        }
        sum = sum << 4 | (uint64_t)digit;
    }
    *value = sum;
    return RC_OK;
}

char *str_dup(struct str s)
{
    char *copy = xmalloc(s.len + 1);
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return copy;
}
