/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* RFC 9111 sections 4.3.5 and 4.4: what passes by and makes something stored doubtful.
 *
 * A Location or Content-Location is a URI reference.  It is resolved as RFC 3986 section 5.2 says,
 * as far as it can name something of the same host: scheme and authority are compared and dropped,
 * what is left is the path and query that a request for it would carry.  We do not know by which
 * scheme the client came, so http and https are one origin here; and nobody loses anything by
 * a fetch too many. */
#include "http/http_rfc9111.h"

#include <string.h>

#include "base/check.h"

/* ---- unsafe methods ---- */

bool http_9111_invalidates(enum http_method method, unsigned status)
{
    return !http_method_is_safe(method) && status >= 200 && status < 400;
}

static struct str before_any(struct str s, const char *ends)
{
    size_t at = 0;
    while (at < s.len && strchr(ends, s.ptr[at]) == NULL) {
        at++;
    }
    return (struct str){s.ptr, at};
}

static struct str behind(struct str s, size_t bytes)
{
    CHECK(bytes <= s.len);
    return (struct str){s.ptr + bytes, s.len - bytes};
}

static struct str without_port(struct str host, struct str port)
{
    bool ends_so =
        host.len > port.len && str_eq((struct str){host.ptr + host.len - port.len, port.len}, port);
    return ends_so ? (struct str){host.ptr, host.len - port.len} : host;
}

static struct str without_default_port(struct str host)
{
    return without_port(without_port(host, STR(":80")), STR(":443"));
}

/* Cuts scheme and authority off; false when they name another origin.  *is_whole: they were there.
 */
static bool strip_origin(struct str host, struct str *reference, bool *is_whole)
{
    *is_whole = false;
    struct str first = before_any(*reference, "/?:");
    if (first.len > 0 && first.len < reference->len && reference->ptr[first.len] == ':') {
        if (!str_eq_nocase(first, STR("http")) && !str_eq_nocase(first, STR("https"))) {
            return false;
        }
        *reference = behind(*reference, first.len + 1);
        if (!str_starts(*reference, STR("//"))) {
            return false;
        }
    }
    if (!str_starts(*reference, STR("//"))) {
        return true;
    }
    *reference = behind(*reference, 2);
    struct str authority = before_any(*reference, "/?");
    *reference = behind(*reference, authority.len);
    *is_whole = true;
    return str_eq_nocase(without_default_port(authority), without_default_port(host));
}

/* RFC 3986 section 5.2.4; the path of sb begins at `from`, and at that stands a slash. */
static void drop_last_segment(struct sb *sb, size_t from)
{
    while (sb->len > from && sb->ptr[sb->len - 1] != '/') {
        sb->len--;
    }
    sb->len -= sb->len > from ? 1 : 0;
}

static void put_path(struct sb *sb, struct str path)
{
    size_t from = sb->len;
    while (path.len > 0) {
        path = behind(path, path.ptr[0] == '/' ? 1 : 0);
        struct str segment = before_any(path, "/");
        path = behind(path, segment.len);
        bool is_last = path.len == 0;
        bool is_up = str_eq(segment, STR(".."));
        if (is_up) {
            drop_last_segment(sb, from);
        }
        if (is_up || str_eq(segment, STR("."))) {
            if (is_last) {
                sb_chr(sb, '/');
            }
            continue;
        }
        sb_chr(sb, '/');
        sb_put(sb, segment);
    }
    if (sb->len == from) {
        sb_chr(sb, '/');
    }
}

/* Path of the reference behind the directory of the base's. */
static struct str merged(struct str base_path, struct str path, struct arena *arena)
{
    size_t dir = base_path.len;
    while (dir > 0 && base_path.ptr[dir - 1] != '/') {
        dir--;
    }
    struct str directory = {base_path.ptr, dir};
    return arena_printf(arena, "%.*s%.*s", STR_ARG(directory), STR_ARG(path));
}

enum rc http_9111_target(struct str host, struct str url, struct str reference, struct arena *arena,
                         struct str *out)
{
    CHECK(out != NULL);
    bool is_whole;
    reference = before_any(str_trim(reference), "#");
    if (!strip_origin(host, &reference, &is_whole) || !str_starts(url, STR("/"))) {
        return RC_NOT_FOUND;
    }
    struct str base_path = before_any(url, "?");
    struct str path = before_any(reference, "?");
    struct str query = behind(reference, path.len);
    if (path.len == 0 && is_whole) {
        path = STR("/");
    } else if (path.len == 0) {
        path = base_path;
        query = query.len == 0 ? behind(url, base_path.len) : query;
    } else if (path.ptr[0] != '/') {
        path = merged(base_path, path, arena);
    }
    if (path.ptr == NULL) {
        return RC_LIMIT;
    }
    struct sb sb = arena_builder(arena);
    put_path(&sb, path);
    sb_put(&sb, query);
    *out = arena_claim(arena, &sb);
    return out->ptr == NULL ? RC_LIMIT : RC_OK;
}

/* ---- HEAD ---- */

static bool agrees(const struct http *stored, const struct http *head, enum http_hdr_id id)
{
    return !http_has(head, id) || str_eq(http_get(stored, id), http_get(head, id));
}

bool http_9111_head_concerns(const struct http *stored, const struct http *head)
{
    struct str ours = http_get(stored, HDR_CONTENT_ENCODING);
    struct str theirs = http_get(head, HDR_CONTENT_ENCODING);
    return ours.len == theirs.len && str_eq_nocase(ours, theirs);
}

bool http_9111_head_agrees(const struct http *stored, uint64_t stored_len, const struct http *head)
{
    uint64_t len = 0;
    if (http_has(head, HDR_CONTENT_LENGTH) &&
        (str_to_u64(http_get(head, HDR_CONTENT_LENGTH), &len) != RC_OK || len != stored_len)) {
        return false;
    }
    return agrees(stored, head, HDR_ETAG) && agrees(stored, head, HDR_LAST_MODIFIED);
}
