/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Vary (RFC 9111 section 4.1): an object that varies by some request fields is used only for
 * requests in which these fields say the same.
 *
 *   the attribute:  { u8 length of name, name, u16 length of value (0xffff: absent), value }*
 *
 * Accept-Encoding is left out: fetches for the cache ask for the identity encoding alone, so what
 * it says makes no difference to what is stored. */
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

enum rc vary__make(struct sb *sb, const struct http *bereq, const struct http *beresp)
{
    struct http_members it = http_members(beresp, HDR_VARY);
    struct str name;
    while (http_members_next(&it, &name)) {
        if (str_eq(name, STR("*"))) {
            return RC_UNSUPPORTED;
        }
        if (http_hdr_id(name) == HDR_ACCEPT_ENCODING) {
            continue;
        }
        if (is_repeated(bereq, name)) {
            return RC_UNSUPPORTED;
        }
        struct str value = http_get_name(bereq, name);
        if (name.len > UINT8_MAX || value.len >= ABSENT) {
            return RC_TOO_LONG;
        }
        put_u8(sb, (uint8_t)name.len);
        sb_put(sb, name);
        put_u16(sb, value.ptr == NULL ? ABSENT : (uint16_t)value.len);
        sb_put(sb, value);
    }
    return sb->overflow ? RC_TOO_LONG : RC_OK;
}

bool vary__fits(struct str spec, const struct http *req)
{
    struct cursor c = cursor_of(spec.ptr, spec.len);
    while (cursor_left(&c) > 0) {
        struct str name = cursor_bytes(&c, cursor_u8(&c));
        uint16_t len = cursor_u16(&c);
        struct str want = len == ABSENT ? STR_NONE : cursor_bytes(&c, len);
        if (c.rc != RC_OK) {
            return false;
        }
        struct str have = http_get_name(req, name);
        if ((want.ptr == NULL) != (have.ptr == NULL) || !str_eq(want, have) ||
            is_repeated(req, name)) {
            return false;
        }
    }
    return true;
}

bool vary__match(void *request, const struct objcore *oc)
{
    const struct request *req = request;
    return vary__fits(obj_get(oc, OA_VARY), req->http);
}
