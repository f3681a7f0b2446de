/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Sorting queries, matching file name patterns.
 *
 * Patterns: libc's fnmatch() takes exponential time for a subject that a client can choose, so this
 * is our own.  One star back is enough: no star can do better than the last one that was passed,
 * for what stands between two of them was matched as early as possible, and a star that may not
 * cross a slash cannot be helped by one before that slash. */
#include "vcl/text.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/check.h"

/* ---- querysort ---- */

static struct str query_of(struct str url)
{
    size_t at = str_find(url, '?');
    return at == url.len ? STR_NONE : (struct str){url.ptr + at + 1, url.len - at - 1};
}

size_t vcl__query_parts(struct str url)
{
    struct str query = query_of(url);
    size_t count = query.ptr == NULL ? 0 : 1;
    for (size_t n = 0; n < query.len; n++) {
        count += query.ptr[n] == '&';
    }
    return count;
}

static int part_order(const void *left, const void *right)
{
    const struct str *a = left;
    const struct str *b = right;
    size_t len = a->len < b->len ? a->len : b->len;
    int order = len == 0 ? 0 : memcmp(a->ptr, b->ptr, len);
    if (order != 0) {
        return order;
    }
    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }
    return (a->ptr > b->ptr) - (a->ptr < b->ptr); /* the same text: as it stood */
}

void vcl__querysort(struct str url, struct str *parts, size_t count, struct sb *out)
{
    struct str query = query_of(url);
    if (count < 2) {
        sb_put(out, url);
        return;
    }
    size_t found = 0;
    for (struct str rest = query; rest.ptr != NULL;) {
        CHECK(found < count);
        parts[found++] = str_cut(&rest, '&');
    }
    qsort(parts, found, sizeof *parts, part_order);
    sb_put(out, (struct str){url.ptr, url.len - query.len});
    bool is_first = true;
    for (size_t n = 0; n < found; n++) {
        if (parts[n].len == 0) {
            continue;
        }
        if (!is_first) {
            sb_chr(out, '&');
        }
        is_first = false;
        sb_put(out, parts[n]);
    }
}

/* ---- patterns ---- */

struct char_class {
    const char *name;
    int (*has)(int c);
};
static const struct char_class classes[] = {
    {"alpha", isalpha}, {"digit", isdigit}, {"alnum", isalnum}, {"upper", isupper},
    {"lower", islower}, {"space", isspace}, {"blank", isblank}, {"punct", ispunct},
    {"print", isprint}, {"graph", isgraph}, {"cntrl", iscntrl}, {"xdigit", isxdigit},
};

/* "[:name:]" at the start of p: its length, 0 when it is none. */
static size_t class_at(struct str p, unsigned char c, bool *matches)
{
    if (p.len < 4 || p.ptr[0] != '[' || p.ptr[1] != ':') {
        return 0;
    }
    for (size_t n = 0; n < ARRAY_SIZE(classes); n++) {
        size_t len = strlen(classes[n].name);
        if (p.len >= len + 4 && memcmp(p.ptr + 2, classes[n].name, len) == 0 &&
            p.ptr[len + 2] == ':' && p.ptr[len + 3] == ']') {
            *matches = *matches || (c < 0x80 && classes[n].has(c) != 0);
            return len + 4;
        }
    }
    return 0;
}

/* One character of a bracket; moves behind it. */
static unsigned char bracket_char(struct str p, size_t *at, unsigned flags)
{
    if (p.ptr[*at] == '\\' && (flags & GLOB_NOESCAPE) == 0 && *at + 1 < p.len) {
        (*at)++;
    }
    return (unsigned char)p.ptr[(*at)++];
}

/* A bracket at the start of p: its length; 0 when it does not end, and is then an ordinary '['. */
static size_t bracket(struct str p, unsigned char c, unsigned flags, bool *matches)
{
    size_t at = 1;
    bool is_negated = at < p.len && (p.ptr[at] == '!' || p.ptr[at] == '^');
    at += is_negated;
    bool found = false;
    for (bool is_first = true; at < p.len && (is_first || p.ptr[at] != ']'); is_first = false) {
        size_t len = class_at((struct str){p.ptr + at, p.len - at}, c, &found);
        if (len > 0) {
            at += len;
            continue;
        }
        unsigned char low = bracket_char(p, &at, flags);
        unsigned char high = low;
        if (at + 1 < p.len && p.ptr[at] == '-' && p.ptr[at + 1] != ']') {
            at++;
            high = bracket_char(p, &at, flags);
        }
        found = found || (c >= low && c <= high);
    }
    if (at >= p.len) {
        return 0;
    }
    *matches = found != is_negated && !(c == '/' && (flags & GLOB_PATHNAME) != 0);
    return at + 1;
}

static bool is_leading_period(struct str subject, size_t at, unsigned flags)
{
    return (flags & GLOB_PERIOD) != 0 && subject.ptr[at] == '.' &&
           (at == 0 || ((flags & GLOB_PATHNAME) != 0 && subject.ptr[at - 1] == '/'));
}

/* Whether what stands at pattern[*p], no star, matches the character; *p moves behind it. */
static bool match_one(struct str pattern, size_t *p, struct str subject, size_t s, unsigned flags)
{
    unsigned char c = (unsigned char)subject.ptr[s];
    bool is_free = !is_leading_period(subject, s, flags);
    char want = pattern.ptr[*p];
    if (want == '?') {
        (*p)++;
        return is_free && !(c == '/' && (flags & GLOB_PATHNAME) != 0);
    }
    if (want == '[') {
        bool matches = false;
        size_t len = bracket((struct str){pattern.ptr + *p, pattern.len - *p}, c, flags, &matches);
        if (len > 0) {
            *p += len;
            return matches && is_free;
        }
    }
    if (want == '\\' && (flags & GLOB_NOESCAPE) == 0) {
        (*p)++;
        if (*p == pattern.len) {
            return false; /* a backslash that escapes nothing matches nothing */
        }
        want = pattern.ptr[*p];
    }
    (*p)++;
    return (unsigned char)want == c;
}

bool vcl__glob(struct str pattern, struct str subject, unsigned flags)
{
    size_t p = 0;
    size_t s = 0;
    bool has_star = false;
    size_t star_p = 0;
    size_t star_s = 0;
    while (s < subject.len || (p < pattern.len && pattern.ptr[p] == '*')) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            if (s < subject.len && is_leading_period(subject, s, flags)) {
                return false;
            }
            has_star = true;
            star_p = ++p;
            star_s = s;
            continue;
        }
        size_t next = p;
        if (p < pattern.len && match_one(pattern, &next, subject, s, flags)) {
            p = next;
            s++;
            continue;
        }
        if (!has_star || ((flags & GLOB_PATHNAME) != 0 && subject.ptr[star_s] == '/')) {
            return false;
        }
        p = star_p;
        s = ++star_s;
    }
    return p == pattern.len;
}
