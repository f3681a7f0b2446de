/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Text as pointer and length, by value.  Never NUL-terminated unless a function says so; a struct
 * str borrows its bytes.  {NULL, 0} is "absent", a zero length with a pointer is "empty". */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "base/rc.h"

struct str {
    const char *ptr;
    size_t len;
};

#define STR_NONE ((struct str){NULL, 0})
/* A string literal as a struct str; STR_INIT is for initialisers of static tables. */
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_INIT(lit)                                                                              \
    {                                                                                              \
        "" lit, sizeof(lit) - 1                                                                    \
    }
/* For printf: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_of(const char *cstr)
{
    return (struct str){cstr, cstr == NULL ? 0 : strlen(cstr)};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* memcpy for text that is nearly always short, without a call.  Copies of a fixed size of which the
 * last two overlap make any length. */
static inline void str_copy(char *to, struct str s)
{
    const char *from = s.ptr;
    if (s.len >= 16) {
        const char *last = from + s.len - 16;
        char *last_to = to + s.len - 16;
        for (; from < last; from += 16, to += 16) {
            memcpy(to, from, 16);
        }
        memcpy(last_to, last, 16);
    } else if (s.len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + s.len - 8, from + s.len - 8, 8);
    } else if (s.len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + s.len - 4, from + s.len - 4, 4);
    } else if (s.len > 0) {
        to[0] = from[0];
        to[s.len / 2] = from[s.len / 2];
        to[s.len - 1] = from[s.len - 1];
    }
}

/* ASCII only: names of headers, schemes and tokens, never user text. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/* Without blanks and tabs at both ends (RFC 9110 section 5.6.3, OWS). */
struct str str_trim(struct str s);

/* Cuts the text before the first `sep` off *rest and returns it; *rest becomes what follows, or
 * STR_NONE when there was no separator left. */
struct str str_cut(struct str *rest, char sep);

/* The index of the first `c`, or s.len. */
size_t str_find(struct str s, char c);

/* Digits only, no sign, no blanks.  RC_MALFORMED for anything else, RC_TOO_LONG on overflow. */
MUST_USE enum rc str_to_u64(struct str s, uint64_t *value);
MUST_USE enum rc str_to_u64_hex(struct str s, uint64_t *value);

/* A NUL-terminated copy that the caller frees. */
char *str_dup(struct str s);

#endif
