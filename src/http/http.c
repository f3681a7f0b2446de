/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Message heads.
 *
 * A head is looked at far more often than it is changed, and mostly for fields that are not there:
 * so each struct http has a bit for each known id, and only when it is set the table is walked.  A
 * bit may outlive its field (unset by name leaves none, but no code relies on that); a field never
 * lacks its bit.
 *
 * The table holds no text that could break out of its line when it is written: the parsers refuse
 * such text, and every function here that takes text from elsewhere checks it. */
#include "http/http.h"

#include "base/check.h"
#include "http/http_list.h"
#include "http/http_priv.h"

void http_init(struct http *h, struct http_hdr *table, unsigned cap)
{
    CHECK(table != NULL);
    CHECK(cap > 0);
    CHECK(cap <= UINT16_MAX);
    *h = (struct http){.hdr = table, .cap = (uint16_t)cap};
}

struct http *http_new(struct arena *a, unsigned cap)
{
    struct http *h = arena_alloc(a, sizeof *h);
    struct http_hdr *table = arena_alloc(a, sizeof *table * cap);
    if (h == NULL || table == NULL) {
        return NULL;
    }
    http_init(h, table, cap);
    return h;
}

void http_reset(struct http *h)
{
    *h = (struct http){.hdr = h->hdr, .cap = h->cap};
}

/* --- looking --- */

static bool is_named(const struct http_hdr *hdr, enum http_hdr_id id, struct str name)
{
    return hdr->id == id && (id != HDR_OTHER || str_eq_nocase(hdr->name, name));
}

/* The first field from index `at` on, h->count when there is none. */
static unsigned find_from(const struct http *h, unsigned at, enum http_hdr_id id, struct str name)
{
    if (!http_has(h, id)) {
        return h->count;
    }
    while (at < h->count && !is_named(&h->hdr[at], id, name)) {
        at++;
    }
    return at;
}

const struct http_hdr *http_find(const struct http *h, enum http_hdr_id id)
{
    CHECK(id != HDR_OTHER);
    if (!http_has(h, id)) {
        return NULL;
    }
    const struct http_hdr *end = h->hdr + h->count;
    for (const struct http_hdr *hdr = h->hdr; hdr < end; hdr++) {
        if (hdr->id == id) {
            return hdr;
        }
    }
    return NULL;
}

const struct http_hdr *http_find_name(const struct http *h, struct str name)
{
    unsigned at = find_from(h, 0, http_hdr_id(name), name);
    return at < h->count ? &h->hdr[at] : NULL;
}

struct str http_get(const struct http *h, enum http_hdr_id id)
{
    const struct http_hdr *hdr = http_find(h, id);
    return hdr == NULL ? STR_NONE : hdr->value;
}

struct str http_get_name(const struct http *h, struct str name)
{
    const struct http_hdr *hdr = http_find_name(h, name);
    return hdr == NULL ? STR_NONE : hdr->value;
}

unsigned http_count(const struct http *h, enum http_hdr_id id)
{
    CHECK(id != HDR_OTHER);
    unsigned count = 0;
    for (unsigned i = find_from(h, 0, id, STR_NONE); i < h->count; i++) {
        count += h->hdr[i].id == id ? 1 : 0;
    }
    return count;
}

/* --- changing --- */

/* Removes the fields from index `from` on. */
static void remove_from(struct http *h, unsigned from, enum http_hdr_id id, struct str name)
{
    unsigned kept = from;
    for (unsigned i = from; i < h->count; i++) {
        if (!is_named(&h->hdr[i], id, name)) {
            if (kept != i) {
                h->hdr[kept] = h->hdr[i];
            }
            kept++;
        }
    }
    h->count = (uint16_t)kept;
}

/* A value with a pointer, so that it is never taken for an absent one, and without blanks around
 * it, as if it had been received. */
static struct str present(struct str value)
{
    return value.ptr == NULL ? STR("") : str_trim(value);
}

static enum rc add(struct http *h, enum http_hdr_id id, struct str name, struct str value)
{
    if (!http_is_value(value)) {
        return RC_INVALID;
    }
    return http__append(h, name, present(value), id) ? RC_OK : RC_LIMIT;
}

static enum rc set(struct http *h, enum http_hdr_id id, struct str name, struct str value)
{
    unsigned at = find_from(h, 0, id, name);
    if (at == h->count) {
        return add(h, id, name, value);
    }
    if (!http_is_value(value)) {
        return RC_INVALID;
    }
    h->hdr[at] = (struct http_hdr){.name = name, .value = present(value), .id = (uint8_t)id};
    remove_from(h, at + 1, id, name);
    return RC_OK;
}

enum rc http_set(struct http *h, enum http_hdr_id id, struct str value)
{
    return set(h, id, http_hdr_name(id), value);
}

enum rc http_set_name(struct http *h, struct str name, struct str value)
{
    return http_is_token(name) ? set(h, http_hdr_id(name), name, value) : RC_INVALID;
}

enum rc http_add(struct http *h, enum http_hdr_id id, struct str value)
{
    return add(h, id, http_hdr_name(id), value);
}

enum rc http_add_name(struct http *h, struct str name, struct str value)
{
    return http_is_token(name) ? add(h, http_hdr_id(name), name, value) : RC_INVALID;
}

enum rc http_add_own(struct http *h, enum http_hdr_id id, struct str value)
{
    CHECK(value.ptr != NULL);
    return http__append(h, http_hdr_name(id), value, id) ? RC_OK : RC_LIMIT;
}

enum rc http_set_own(struct http *h, enum http_hdr_id id, struct str value)
{
    return http_has(h, id) ? http_set(h, id, value) : http_add_own(h, id, value);
}

void http_unset(struct http *h, enum http_hdr_id id)
{
    CHECK(id != HDR_OTHER);
    if (http_has(h, id)) {
        remove_from(h, 0, id, STR_NONE);
        h->known[id >> 6] &= ~(UINT64_C(1) << (id & 63));
    }
}

void http_unset_name(struct http *h, struct str name)
{
    enum http_hdr_id id = http_hdr_id(name);
    if (id != HDR_OTHER) {
        http_unset(h, id);
    } else {
        remove_from(h, 0, id, name);
    }
}

enum rc http_join(struct http *h, enum http_hdr_id id, struct arena *a)
{
    CHECK(id != HDR_SET_COOKIE);
    unsigned first = find_from(h, 0, id, STR_NONE);
    if (http_count(h, id) < 2) {
        return RC_OK;
    }
    struct sb sb = arena_builder(a);
    for (unsigned i = first; i < h->count; i++) {
        if (h->hdr[i].id == id && h->hdr[i].value.len > 0) {
            if (sb.len > 0) {
                sb_lit(&sb, ", ");
            }
            sb_put(&sb, h->hdr[i].value);
        }
    }
    struct str joined = arena_claim(a, &sb);
    if (joined.ptr == NULL) {
        return RC_LIMIT;
    }
    h->hdr[first].value = joined;
    remove_from(h, first + 1, id, STR_NONE);
    return RC_OK;
}

enum rc http_set_method(struct http *h, struct str method)
{
    if (!http_is_token(method)) {
        return RC_INVALID;
    }
    h->method = method;
    h->method_id = (uint8_t)http_method_id(method);
    return RC_OK;
}

enum rc http_set_url(struct http *h, struct str url)
{
    if (!http_is_url(url)) {
        return RC_INVALID;
    }
    h->url = url;
    return RC_OK;
}

enum rc http_set_reason(struct http *h, struct str reason)
{
    if (!http_is_value(reason)) {
        return RC_INVALID;
    }
    h->reason = present(reason);
    return RC_OK;
}

void http_set_status(struct http *h, unsigned status)
{
    CHECK(status >= 100);
    CHECK(status <= 999);
    h->status = (uint16_t)status;
    h->reason = http_reason(status);
    h->proto = STR("HTTP/1.1");
    h->version = 11;
}

/* --- Connection --- */

/* Each option is looked for among all fields, so their number must have a bound. */
enum { CONNECTION_MAX = 32 };

static unsigned connection_option(struct http *h, struct str option)
{
    if (str_eq_nocase(option, STR("close"))) {
        return HTTP_CONN_CLOSE;
    }
    if (str_eq_nocase(option, STR("keep-alive"))) {
        return HTTP_CONN_KEEP_ALIVE;
    }
    enum http_hdr_id id = http_hdr_id(option);
    if (id != HDR_OTHER && (http__hdr_flags(id) & HTTP__P) == 0) {
        return HTTP_CONN_BAD;
    }
    for (unsigned i = find_from(h, 0, id, option); i < h->count; i++) {
        if (is_named(&h->hdr[i], id, option)) {
            h->hdr[i].is_hop = true;
        }
    }
    return id == HDR_UPGRADE ? HTTP_CONN_UPGRADE : 0;
}

unsigned http_connection(struct http *h)
{
    unsigned bits = 0;
    if (!http_has(h, HDR_CONNECTION)) {
        return bits;
    }
    struct http_members it = http_members(h, HDR_CONNECTION);
    struct str option;
    for (unsigned i = 0; http_members_next(&it, &option); i++) {
        if (i == CONNECTION_MAX) {
            return bits | HTTP_CONN_BAD;
        }
        bits |= connection_option(h, option);
    }
    return bits;
}

bool http_keep_alive(const struct http *h, unsigned conn_bits)
{
    if ((conn_bits & (HTTP_CONN_CLOSE | HTTP_CONN_BAD)) != 0) {
        return false;
    }
    return h->version >= 11 || (conn_bits & HTTP_CONN_KEEP_ALIVE) != 0;
}

/* --- copying --- */

enum rc http_copy(struct http *dst, const struct http *src, enum http_copy how)
{
    static const uint8_t left_out[] = {
        [HTTP_COPY_ALL] = 0,         [HTTP_COPY_FETCH] = HTTP__F,      [HTTP_COPY_PASS] = HTTP__P,
        [HTTP_COPY_STORE] = HTTP__I, [HTTP_COPY_STORE_PASS] = HTTP__S, [HTTP_COPY_PIPE] = 0,
    };
    CHECK(dst != src);
    CHECK(how <= HTTP_COPY_PIPE);
    struct http_hdr *table = dst->hdr;
    uint16_t cap = dst->cap;
    *dst = *src;
    dst->hdr = table;
    dst->cap = cap;
    dst->count = 0;
    dst->known[0] = dst->known[1] = 0;
    for (unsigned i = 0; i < src->count; i++) {
        const struct http_hdr *hdr = &src->hdr[i];
        if (how != HTTP_COPY_ALL &&
            (hdr->is_hop || (http__hdr_flags((enum http_hdr_id)hdr->id) & left_out[how]) != 0)) {
            continue;
        }
        if (dst->count == cap) {
            return RC_LIMIT;
        }
        dst->hdr[dst->count++] = *hdr;
        http__mark(dst, hdr->id);
    }
    return RC_OK;
}

static void own(char **at, struct str *s)
{
    if (s->len > 0) {
        memcpy(*at, s->ptr, s->len);
        s->ptr = *at;
        *at += s->len;
    }
}

enum rc http_own(struct http *h, struct arena *a)
{
    struct str *const start[] = {&h->method, &h->url, &h->proto, &h->reason};
    size_t bytes = 0;
    for (size_t i = 0; i < ARRAY_SIZE(start); i++) {
        bytes += start[i]->len;
    }
    for (unsigned i = 0; i < h->count; i++) {
        bytes += h->hdr[i].name.len + h->hdr[i].value.len;
    }
    char *at = arena_alloc(a, bytes);
    if (at == NULL) {
        return RC_LIMIT;
    }
    char *end = at + bytes;
    for (size_t i = 0; i < ARRAY_SIZE(start); i++) {
        own(&at, start[i]);
    }
    for (unsigned i = 0; i < h->count; i++) {
        own(&at, &h->hdr[i].name);
        own(&at, &h->hdr[i].value);
        if (h->hdr[i].value.len == 0) {
            h->hdr[i].value = STR("");
        }
    }
    CHECK(at == end);
    return RC_OK;
}
