/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Comma lists.
 *
 * The only difficulty is the quoted string: a comma inside does not separate, and inside a
 * backslash takes its meaning from the next character.  An unclosed quote is taken to run to the
 * end of its field (never into the next one), so that nothing which a sender hid in it can act as a
 * token. */
#include "http/http_list.h"

#include "base/check.h"
#include "http/http_priv.h"

/* The index behind the quoted string that begins at s.ptr[at], s.len when it is not closed. */
static size_t skip_quoted(struct str s, size_t at)
{
    for (at++; at < s.len; at++) {
        if (s.ptr[at] == '"') {
            return at + 1;
        }
        if (s.ptr[at] == '\\') {
            at++;
        }
    }
    return s.len;
}

bool http_list_next(struct str *rest, char sep, struct str *member)
{
    while (rest->len > 0) {
        size_t at = 0;
        while (at < rest->len && rest->ptr[at] != sep) {
            at = rest->ptr[at] == '"' ? skip_quoted(*rest, at) : at + 1;
        }
        *member = str_trim((struct str){rest->ptr, at});
        at += at < rest->len ? 1 : 0;
        *rest = (struct str){rest->ptr + at, rest->len - at};
        if (member->len > 0) {
            return true;
        }
    }
    *member = STR_NONE;
    return false;
}

struct http_members http_members(const struct http *h, enum http_hdr_id id)
{
    CHECK(id != HDR_OTHER);
    return (struct http_members){.h = h, .rest = STR_NONE, .next = 0, .id = (uint8_t)id};
}

bool http_members_next(struct http_members *it, struct str *member)
{
    for (;;) {
        if (http_list_next(&it->rest, ',', member)) {
            return true;
        }
        while (it->next < it->h->count && it->h->hdr[it->next].id != it->id) {
            it->next++;
        }
        if (it->next >= it->h->count) {
            return false;
        }
        it->rest = it->h->hdr[it->next++].value;
    }
}

static struct str unquoted(struct str s)
{
    if (s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"') {
        return (struct str){s.ptr + 1, s.len - 2};
    }
    return s;
}

void http_split_member(struct str member, struct str *name, struct str *value)
{
    size_t at = 0;
    while (at < member.len && member.ptr[at] != '=' && member.ptr[at] != ';' &&
           !http__is(member.ptr[at], HTTP__BLANK)) {
        at++;
    }
    *name = (struct str){member.ptr, at};
    *value = STR_NONE;
    struct str rest = str_trim((struct str){member.ptr + at, member.len - at});
    if (rest.len > 0 && rest.ptr[0] == '=') {
        *value = unquoted(str_trim((struct str){rest.ptr + 1, rest.len - 1}));
    }
}

bool http_has_token(const struct http *h, enum http_hdr_id id, struct str token)
{
    struct http_members it = http_members(h, id);
    struct str member;
    while (http_members_next(&it, &member)) {
        struct str name;
        struct str value;
        http_split_member(member, &name, &value);
        if (str_eq_nocase(name, token)) {
            return true;
        }
    }
    return false;
}

/* "0", "1", "0.5", "1.000": thousandths, 0 for what is no weight. */
static unsigned weight(struct str s)
{
    if (s.len == 0 || s.len > 5 || (s.ptr[0] != '0' && s.ptr[0] != '1')) {
        return 0;
    }
    unsigned sum = (unsigned)(s.ptr[0] - '0') * 1000;
    if (s.len > 1 && s.ptr[1] != '.') {
        return 0;
    }
    unsigned unit = 100;
    for (size_t i = 2; i < s.len; i++, unit /= 10) {
        if (!http__is(s.ptr[i], HTTP__DIGIT)) {
            return 0;
        }
        sum += (unsigned)(s.ptr[i] - '0') * unit;
    }
    return sum <= 1000 ? sum : 0;
}

unsigned http_qvalue(const struct http *h, enum http_hdr_id id, struct str token)
{
    struct http_members it = http_members(h, id);
    struct str member;
    while (http_members_next(&it, &member)) {
        struct str param;
        if (!http_list_next(&member, ';', &param) || !str_eq_nocase(param, token)) {
            continue;
        }
        while (http_list_next(&member, ';', &param)) {
            struct str name;
            struct str value;
            http_split_member(param, &name, &value);
            if (str_eq_nocase(name, STR("q"))) {
                return weight(value);
            }
        }
        return 1000;
    }
    return 0;
}
