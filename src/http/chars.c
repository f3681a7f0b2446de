/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Which character may stand where.
 *
 * One table of 256 bytes, a bit for each class, worked out by the compiler from the definitions
 * below. The long runs (values, URLs) are scanned 16 bytes at a time where there is SSE2; the table
 * gives the same answer a byte at a time, and is what finishes a run. */
#include "http/http_priv.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IS_ALPHA(c) (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'z' && (c) < 0x80)
#define IS_BLANK(c) ((c) == ' ' || (c) == '\t')
#define IS_VALUE(c) (((c) >= 0x20 && (c) != 0x7f) || (c) == '\t')
#define IS_URL(c) ((c) > 0x20 && (c) != 0x7f)
#define IS_TCHAR(c)                                                                                \
    (IS_DIGIT(c) || IS_ALPHA(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' ||         \
     (c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' ||          \
     (c) == '^' || (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define IS_HOST(c)                                                                                 \
    (IS_DIGIT(c) || IS_ALPHA(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' ||         \
     (c) == '%' || (c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' ||          \
     (c) == ')' || (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=' ||           \
     (c) >= 0x80)

#define C1(c)                                                                                      \
    (IS_TCHAR(c) ? HTTP__TCHAR : 0) | (IS_VALUE(c) ? HTTP__VALUE : 0) |                            \
        (IS_URL(c) ? HTTP__URL : 0) | (IS_HOST(c) ? HTTP__HOST : 0) |                              \
        (IS_BLANK(c) ? HTTP__BLANK : 0) | (IS_DIGIT(c) ? HTTP__DIGIT : 0)
#define C4(c) C1(c), C1((c) + 1), C1((c) + 2), C1((c) + 3)
#define C16(c) C4(c), C4((c) + 4), C4((c) + 8), C4((c) + 12)
#define C64(c) C16(c), C16((c) + 16), C16((c) + 32), C16((c) + 48)

const uint8_t http__class[256] = {C64(0), C64(64), C64(128), C64(192)};

#ifdef __SSE2__
/* A bit for each of 16 bytes that is <= top or DEL. */
static inline unsigned low_bytes(const char *at, char top, __m128i *bytes)
{
    *bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(*bytes, _mm_set1_epi8(top)), *bytes);
    __m128i del = _mm_cmpeq_epi8(*bytes, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, del));
}
#endif

const char *http__end_of_value(const char *at, const char *end)
{
#ifdef __SSE2__
    while (end - at >= 16) {
        __m128i bytes;
        unsigned low = low_bytes(at, 0x1f, &bytes);
        low &= ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')));
        if (low != 0) {
            return at + __builtin_ctz(low);
        }
        at += 16;
    }
#endif
    while (at < end && http__is(*at, HTTP__VALUE)) {
        at++;
    }
    return at;
}

const char *http__end_of_url(const char *at, const char *end)
{
#ifdef __SSE2__
    while (end - at >= 16) {
        __m128i bytes;
        unsigned low = low_bytes(at, 0x20, &bytes);
        if (low != 0) {
            return at + __builtin_ctz(low);
        }
        at += 16;
    }
#endif
    while (at < end && http__is(*at, HTTP__URL)) {
        at++;
    }
    return at;
}

bool http_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!http__is(s.ptr[i], HTTP__TCHAR)) {
            return false;
        }
    }
    return s.len > 0;
}

bool http_is_value(struct str s)
{
    return s.len == 0 || http__end_of_value(s.ptr, s.ptr + s.len) == s.ptr + s.len;
}

bool http_is_url(struct str s)
{
    return s.len > 0 && http__end_of_url(s.ptr, s.ptr + s.len) == s.ptr + s.len;
}

static bool is_ip_literal(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c != ':' && !http__is(c, HTTP__HOST)) {
            return false;
        }
    }
    return s.len > 0;
}

bool http_is_host(struct str s)
{
    struct str rest = s;
    if (s.len > 0 && s.ptr[0] == '[') {
        size_t close = str_find(s, ']');
        if (close == s.len || !is_ip_literal((struct str){s.ptr + 1, close - 1})) {
            return false;
        }
        rest = (struct str){s.ptr + close + 1, s.len - close - 1};
    } else {
        size_t n = 0;
        while (n < s.len && http__is(s.ptr[n], HTTP__HOST)) {
            n++;
        }
        rest = (struct str){s.ptr + n, s.len - n};
        if (n == 0 && s.len > 0) {
            return false;
        }
    }
    for (size_t i = 0; i < rest.len; i++) {
        if (i == 0 ? rest.ptr[0] != ':' : !http__is(rest.ptr[i], HTTP__DIGIT)) {
            return false;
        }
    }
    return true;
}
