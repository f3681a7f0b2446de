/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Ranges, entity tags, conditions (RFC 9110 sections 8.8, 13, 14).
 *
 * A range set may be long, overlapping and backwards; a server that answers each part of it can be
 * made to send a small object a thousand times (the range attack of 2011).  So the caller says how
 * many parts it is ready to send, and a field with more of them is ignored, as section 14.2 allows.
 */
#include "http/http_condition.h"

#include "base/check.h"
#include "http/http_date.h"
#include "http/http_list.h"
#include "http/http_priv.h"

/* Digits only; too large a number is as good as the largest.  False when there are none or others.
 */
static bool position(struct str s, uint64_t *value)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!http__is(s.ptr[i], HTTP__DIGIT)) {
            return false;
        }
    }
    *value = UINT64_MAX;
    return s.len > 0 && str_to_u64(s, value) != RC_MALFORMED;
}

/* One part: "first-last", "first-", "-suffix".  RC_NOT_FOUND when it lies outside. */
static enum rc one_range(struct str spec, uint64_t size_bytes, struct http_range *range)
{
    struct str rest = spec;
    struct str first = str_cut(&rest, '-');
    uint64_t from = 0;
    uint64_t to = UINT64_MAX;
    if (rest.ptr == NULL) {
        return RC_MALFORMED;
    }
    if (first.len == 0) {
        uint64_t suffix = 0;
        if (!position(rest, &suffix)) {
            return RC_MALFORMED;
        }
        if (suffix == 0 || size_bytes == 0) {
            return RC_NOT_FOUND;
        }
        from = suffix < size_bytes ? size_bytes - suffix : 0;
    } else if (!position(first, &from) || (rest.len > 0 && !position(rest, &to)) || to < from) {
        return RC_MALFORMED;
    }
    if (from >= size_bytes) {
        return RC_NOT_FOUND;
    }
    *range = (struct http_range){from, to < size_bytes ? to : size_bytes - 1};
    return RC_OK;
}

enum rc http_range_parse(struct str value, uint64_t size_bytes, struct http_range *out,
                         unsigned cap, unsigned *count)
{
    CHECK(cap > 0);
    *count = 0;
    struct str rest = value;
    struct str unit = str_trim(str_cut(&rest, '='));
    if (rest.ptr == NULL) {
        return RC_MALFORMED;
    }
    if (!str_eq_nocase(unit, STR("bytes"))) {
        return RC_UNSUPPORTED;
    }
    unsigned parts = 0;
    struct str spec;
    while (http_list_next(&rest, ',', &spec)) {
        struct http_range range;
        enum rc rc = one_range(spec, size_bytes, &range);
        if (rc == RC_MALFORMED) {
            return rc;
        }
        if (++parts > cap) {
            return RC_LIMIT;
        }
        if (rc == RC_OK) {
            out[(*count)++] = range;
        }
    }
    if (parts == 0) {
        return RC_MALFORMED;
    }
    return *count > 0 ? RC_OK : RC_NOT_FOUND;
}

static bool is_weak(struct str etag)
{
    return str_starts(etag, STR("W/"));
}

static struct str opaque(struct str etag)
{
    return is_weak(etag) ? (struct str){etag.ptr + 2, etag.len - 2} : etag;
}

bool http_etag_is_strong_match(struct str a, struct str b)
{
    return a.len > 0 && !is_weak(a) && !is_weak(b) && str_eq(a, b);
}

bool http_etag_is_weak_match(struct str a, struct str b)
{
    return opaque(a).len > 0 && str_eq(opaque(a), opaque(b));
}

/* Cuts the next tag off a list.  Unlike in a quoted string a backslash means nothing in a tag; tags
 * without quotes are no tags, but origins send them and get them back, so they are compared as they
 * are. */
static bool next_etag(struct str *rest, struct str *etag)
{
    while (rest->len > 0 && (rest->ptr[0] == ',' || http__is(rest->ptr[0], HTTP__BLANK))) {
        *rest = (struct str){rest->ptr + 1, rest->len - 1};
    }
    size_t len = is_weak(*rest) ? 2 : 0;
    if (len < rest->len && rest->ptr[len] == '"') {
        len++;
        len += str_find((struct str){rest->ptr + len, rest->len - len}, '"');
        len += len < rest->len ? 1 : 0;
    } else {
        len = str_find(*rest, ',');
    }
    *etag = str_trim((struct str){rest->ptr, len});
    *rest = (struct str){rest->ptr + len, rest->len - len};
    return etag->len > 0;
}

bool http_etag_list_has(struct str list, struct str etag, bool strong)
{
    if (str_eq(str_trim(list), STR("*"))) {
        return true;
    }
    struct str each;
    while (next_etag(&list, &each)) {
        if (strong ? http_etag_is_strong_match(each, etag) : http_etag_is_weak_match(each, etag)) {
            return true;
        }
    }
    return false;
}

static bool none_match_names(const struct http *req, struct str etag)
{
    /* Bytes of this very representation are asked for: only the same bytes will do. */
    bool strong = http_find(req, HDR_RANGE) != NULL;
    for (unsigned i = 0; i < req->count; i++) {
        if (req->hdr[i].id == HDR_IF_NONE_MATCH &&
            http_etag_list_has(req->hdr[i].value, etag, strong)) {
            return true;
        }
    }
    return false;
}

bool http_is_not_modified(const struct http *req, const struct http *resp, int64_t now_real_s)
{
    if (resp->status != 200) {
        return false;
    }
    if (http_find(req, HDR_IF_NONE_MATCH) != NULL) {
        /* It alone decides, even when If-Modified-Since is there too (RFC 9110 section 13.1.3). */
        struct str etag = http_get(resp, HDR_ETAG);
        return etag.len > 0 && none_match_names(req, etag);
    }
    if (!http_has(req, HDR_IF_MODIFIED_SINCE)) {
        return false;
    }
    int64_t since_s = 0;
    if (http_date_parse(http_get(req, HDR_IF_MODIFIED_SINCE), &since_s) != RC_OK ||
        since_s > now_real_s) {
        return false;
    }
    const struct http_hdr *modified = http_find(resp, HDR_LAST_MODIFIED);
    struct str date = modified != NULL ? modified->value : http_get(resp, HDR_DATE);
    int64_t modified_s = 0;
    return http_date_parse(date, &modified_s) == RC_OK && modified_s <= since_s;
}

bool http_if_range_holds(const struct http *req, const struct http *resp)
{
    struct str validator = http_get(req, HDR_IF_RANGE);
    if (validator.ptr == NULL) {
        return true;
    }
    if (validator.len == 0 || validator.ptr[0] == '"' || is_weak(validator)) {
        return http_etag_is_strong_match(validator, http_get(resp, HDR_ETAG));
    }
    /* A date is strong only for a response that says when it was made, and was not changed after
     * that; Varnish allows a minute for clocks that disagree. */
    int64_t asked_s = 0;
    int64_t modified_s = 0;
    int64_t made_s = 0;
    return http_date_parse(validator, &asked_s) == RC_OK &&
           http_date_parse(http_get(resp, HDR_DATE), &made_s) == RC_OK &&
           http_date_parse(http_get(resp, HDR_LAST_MODIFIED), &modified_s) == RC_OK &&
           modified_s <= made_s + 60 && asked_s == modified_s;
}
