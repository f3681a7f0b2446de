/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Heads as text.
 *
 * Nothing needs to be checked here: struct http holds only text that fits its line (http.c).  Room
 * is tested once for each line, since this runs once or twice for every request. */
#include "http/h1.h"

#include <string.h>

#include "base/check.h"

static char *put(char *at, struct str s)
{
    str_copy(at, s);
    return at + s.len;
}

static char *room(struct sb *sb, size_t bytes)
{
    if (UNLIKELY(sb->overflow || bytes > sb->cap - sb->len)) {
        sb->overflow = true;
        return NULL;
    }
    char *at = sb->ptr + sb->len;
    sb->len += bytes;
    return at;
}

void h1_build_field(struct sb *sb, struct str name, struct str value)
{
    char *at = room(sb, name.len + value.len + 4);
    if (at == NULL) {
        return;
    }
    at = put(at, name);
    *at++ = ':';
    *at++ = ' ';
    at = put(at, value);
    *at++ = '\r';
    *at = '\n';
}

void h1_build_fields(struct sb *sb, const struct http *h)
{
    for (unsigned i = 0; i < h->count; i++) {
        h1_build_field(sb, h->hdr[i].name, h->hdr[i].value);
    }
}

void h1_build_status(struct sb *sb, unsigned status, struct str reason)
{
    CHECK(status >= 100);
    CHECK(status <= 999);
    char *at = room(sb, sizeof "HTTP/1.1 200 \r\n" - 1 + reason.len);
    if (at == NULL) {
        return;
    }
    at = put(at, STR("HTTP/1.1 "));
    *at++ = (char)('0' + status / 100);
    *at++ = (char)('0' + status / 10 % 10);
    *at++ = (char)('0' + status % 10);
    *at++ = ' ';
    at = put(at, reason);
    (void)put(at, STR("\r\n"));
}

void h1_build_request_as(struct sb *sb, const struct http *req, struct str proto)
{
    CHECK(req->method.len > 0);
    CHECK(req->url.len > 0);
    sb_put(sb, req->method);
    sb_chr(sb, ' ');
    sb_put(sb, req->url);
    sb_chr(sb, ' ');
    sb_put(sb, proto);
    sb_lit(sb, "\r\n");
    h1_build_fields(sb, req);
    sb_lit(sb, "\r\n");
}

void h1_build_request(struct sb *sb, const struct http *req)
{
    h1_build_request_as(sb, req, STR("HTTP/1.1"));
}

void h1_build_response(struct sb *sb, const struct http *resp)
{
    h1_build_status(sb, resp->status, resp->reason);
    h1_build_fields(sb, resp);
    sb_lit(sb, "\r\n");
}

size_t h1_build_bytes(const struct http *h)
{
    size_t bytes = h->method.len + h->url.len + h->reason.len + sizeof "HTTP/1.1 200  \r\n\r\n";
    for (unsigned i = 0; i < h->count; i++) {
        bytes += h->hdr[i].name.len + h->hdr[i].value.len + 4;
    }
    return bytes;
}
