/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Vary (RFC 9111 section 4.1): an object that varies by some request fields is used only for
 * requests in which these fields say the same.
 *
 *   the attribute:  { u8 length of name, name, u16 length of value (0xffff: absent), value }*
 *
 * Accept-Encoding does not count while http_gzip_support is on: fetches for the cache ask for gzip,
 * and who wants it otherwise gets it decompressed.  It is written all the same, for when the
 * parameter is off.
 *
 * Varnish compares bytes.  The RFC also lets values match that mean the same: several fields of one
 * name and the same values in one, and lists that differ in blanks and case only.  That is the
 * normalised form, which is written and compared where RFC 9111 rules. */
#include "base/cursor.h"
#include "engine/engine_priv.h"
#include "http/http_list.h"

#define ABSENT 0xffffu

/* Several fields of one name make one value (RFC 9110 section 5.3); joining them would take memory
 * at every lookup, so such a request varies by something that nobody else sends: it never matches,
 * and what it fetches is not stored. */
static bool is_repeated(const struct http *h, struct str name)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < h->count; i++) {
        seen += str_eq_nocase(h->hdr[i].name, name) ? 1 : 0;
    }
    return seen > 1;
}

/* The next name of beresp's Vary that counts.  RC_NOT_FOUND: that was all. */
static enum rc next_name(struct http_members *it, struct str *name)
{
    while (http_members_next(it, name)) {
        if (str_eq(*name, STR("*"))) {
            return RC_UNSUPPORTED;
        }
        if (!http_is_token(*name)) {
            return RC_MALFORMED;
        }
        return name->len > UINT8_MAX ? RC_TOO_LONG : RC_OK;
    }
    return RC_NOT_FOUND;
}

bool vary__is_legal(const struct http *beresp)
{
    if (LIKELY(!http_has(beresp, HDR_VARY))) {
        return true;
    }
    struct http_members it = http_members(beresp, HDR_VARY);
    struct str name;
    enum rc rc;
    do {
        rc = next_name(&it, &name);
    } while (rc == RC_OK);
    return rc != RC_MALFORMED && rc != RC_TOO_LONG;
}

/* A value without text: the request has no such field. */
static void put_entry(struct sb *sb, struct str name, struct str value)
{
    put_u8(sb, (uint8_t)name.len);
    sb_put(sb, name);
    put_u16(sb, value.ptr == NULL ? ABSENT : (uint16_t)value.len);
    sb_put(sb, value);
}

/* What follows next_name's last word. */
static enum rc made(const struct sb *sb, enum rc rc)
{
    if (rc != RC_NOT_FOUND) {
        return rc;
    }
    return sb->overflow ? RC_TOO_LONG : RC_OK;
}

/* False: nothing is left, or what is left makes no sense (c->rc). */
static bool next_entry(struct cursor *c, struct str *name, struct str *value)
{
    if (cursor_left(c) == 0) {
        return false;
    }
    *name = cursor_bytes(c, cursor_u8(c));
    uint16_t len = cursor_u16(c);
    *value = len == ABSENT ? STR_NONE : cursor_bytes(c, len);
    return c->rc == RC_OK;
}

static bool is_same(struct str want, struct str have)
{
    return (want.ptr == NULL) == (have.ptr == NULL) && str_eq(want, have);
}

/* ---- bytes ---- */

enum rc vary__make(struct sb *sb, const struct http *bereq, const struct http *beresp)
{
    struct http_members it = http_members(beresp, HDR_VARY);
    struct str name;
    enum rc rc;
    while ((rc = next_name(&it, &name)) == RC_OK) {
        if (is_repeated(bereq, name)) {
            return RC_UNSUPPORTED;
        }
        struct str value = http_get_name(bereq, name);
        if (value.len >= ABSENT) {
            return RC_TOO_LONG;
        }
        put_entry(sb, name, value);
    }
    return made(sb, rc);
}

/* Whether what an entry says is none of a comparison's business. */
static bool is_skipped(struct str name, bool by_encoding)
{
    return !by_encoding && str_eq_nocase(name, STR("Accept-Encoding"));
}

bool vary__is_by_more(struct str spec)
{
    struct cursor c = cursor_of(spec.ptr, spec.len);
    struct str name, value;
    while (next_entry(&c, &name, &value)) {
        if (!is_skipped(name, false)) {
            return true;
        }
    }
    return c.rc != RC_OK;
}

bool vary__fits(struct str spec, const struct http *req, bool by_encoding)
{
    struct cursor c = cursor_of(spec.ptr, spec.len);
    struct str name, want;
    while (next_entry(&c, &name, &want)) {
        if (is_skipped(name, by_encoding)) {
            continue;
        }
        if (!is_same(want, http_get_name(req, name)) || is_repeated(req, name)) {
            return false;
        }
    }
    return c.rc == RC_OK;
}

/* ---- the normalised form ---- */

/* A value that is longer fits nothing. */
enum { NORMAL_MAX = 1024 };

/* Lists of tokens that know no case. */
static bool is_plain_list(enum http_hdr_id id)
{
    return id == HDR_ACCEPT || id == HDR_ACCEPT_CHARSET || id == HDR_ACCEPT_LANGUAGE;
}

static void put_member(struct sb *sb, struct str member)
{
    bool is_quoted = str_find(member, '"') < member.len;
    for (size_t i = 0; i < member.len; i++) {
        char c = member.ptr[i];
        if (is_quoted) {
            sb_chr(sb, c);
        } else if (c != ' ' && c != '\t') {
            sb_chr(sb, (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c));
        }
    }
}

static void put_list(struct sb *sb, const struct http *h, enum http_hdr_id id)
{
    struct http_members it = http_members(h, id);
    struct str member;
    for (size_t n = 0; http_members_next(&it, &member); n++) {
        if (n > 0) {
            sb_chr(sb, ',');
        }
        put_member(sb, member);
    }
}

/* Without text: there is no such field. */
static struct str normalised(struct sb *sb, const struct http *h, struct str name)
{
    if (http_find_name(h, name) == NULL) {
        return STR_NONE;
    }
    enum http_hdr_id id = http_hdr_id(name);
    if (is_plain_list(id)) {
        put_list(sb, h, id);
        return sb_str(sb);
    }
    bool is_first = true;
    for (unsigned i = 0; i < h->count; i++) {
        if (str_eq_nocase(h->hdr[i].name, name)) {
            sb_put(sb, is_first ? STR("") : STR(", "));
            sb_put(sb, h->hdr[i].value);
            is_first = false;
        }
    }
    return sb_str(sb);
}

enum rc vary__make_normalised(struct sb *sb, const struct http *bereq, const struct http *beresp)
{
    struct http_members it = http_members(beresp, HDR_VARY);
    struct str name;
    enum rc rc;
    while ((rc = next_name(&it, &name)) == RC_OK) {
        char text[NORMAL_MAX];
        struct sb room = sb_of(text, sizeof text);
        struct str value = normalised(&room, bereq, name);
        if (room.overflow) {
            return RC_TOO_LONG;
        }
        put_entry(sb, name, value);
    }
    return made(sb, rc);
}

bool vary__fits_normalised(struct str spec, const struct http *req, bool by_encoding)
{
    struct cursor c = cursor_of(spec.ptr, spec.len);
    struct str name, want;
    while (next_entry(&c, &name, &want)) {
        if (is_skipped(name, by_encoding)) {
            continue;
        }
        char text[NORMAL_MAX];
        struct sb room = sb_of(text, sizeof text);
        struct str have = normalised(&room, req, name);
        if (room.overflow || !is_same(want, have)) {
            return false;
        }
    }
    return c.rc == RC_OK;
}

/* ---- for lookups ---- */

struct str vary__predict(struct str spec, const struct http *req, bool is_normalised,
                         struct arena *arena)
{
    /* The room at the end of the arena is free until the request asks for more. */
    struct sb sb = arena_builder(arena);
    struct cursor c = cursor_of(spec.ptr, spec.len);
    struct str name, value;
    while (next_entry(&c, &name, &value)) {
        char text[NORMAL_MAX];
        struct sb room = sb_of(text, sizeof text);
        struct str own = is_normalised ? normalised(&room, req, name) : http_get_name(req, name);
        if (room.overflow || own.len >= ABSENT) {
            return STR_NONE;
        }
        put_entry(&sb, name, own);
    }
    return c.rc != RC_OK || sb.overflow ? STR_NONE : sb_str(&sb);
}

struct str vary__predicted(void *request, const struct objcore *oc)
{
    const struct request *req = request;
    return vary__predict(obj_get(oc, OA_VARY), req->http, req->is_rfc9111, req->arena);
}

bool vary__by_encoding(const struct request *req)
{
    return param(req->engine->conf.params, http_gzip_support) == 0;
}

bool vary__joins(void *request, struct str prediction)
{
    const struct request *req = request;
    bool by_encoding = vary__by_encoding(req);
    return req->is_rfc9111 ? vary__fits_normalised(prediction, req->http, by_encoding)
                           : vary__fits(prediction, req->http, by_encoding);
}

bool vary__match(void *request, const struct objcore *oc)
{
    const struct request *req = request;
    struct str spec = obj_get(oc, OA_VARY);
    return LIKELY(spec.len == 0) || vary__fits(spec, req->http, vary__by_encoding(req));
}
