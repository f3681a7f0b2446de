/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A value becomes a page.
 *
 * Of a body alone: the page that a GET would find keeps its fields, and gets this body; what says
 * of a body which one it is, and how old (ETag, Last-Modified, Date, Expires, Content-Length,
 * digests), is made anew.  Where there is no page (or one that is no 200) a new one is made.  Of a
 * whole response: the page is that.
 *
 * All variants go with the old page.  So a body alone cannot take the place of a page that varies
 * by what clients send: others would get what was made for one.
 *
 * What is made depends on what is there; so it is put in its place only if that is there still, and
 * is made again otherwise. */
#include "base/cursor.h"
#include "cache/cache_swap.h"
#include "engine/kv_priv.h"
#include "http/http_cache.h"
#include "http/http_date.h"
#include "http/http_list.h"

/* ---- fields ---- */

static struct str date_text(struct kv_url *u, uint64_t real_s)
{
    char *text = arena_alloc(&u->arena, HTTP_DATE_BYTES);
    if (text == NULL) {
        return STR_NONE;
    }
    http_date_format(real_s, text);
    return (struct str){text, HTTP_DATE_BYTES};
}

static enum rc set_text(struct http *h, enum http_hdr_id id, struct str text)
{
    return text.ptr == NULL ? RC_LIMIT : http_set_own(h, id, text);
}

/* As far from now as it was from its page's date. */
static enum rc move_expires(struct kv_url *u, struct http *h, uint64_t now_s)
{
    int64_t date_s = 0;
    int64_t expires_s = 0;
    if (!http_has(h, HDR_EXPIRES)) {
        return RC_OK;
    }
    if (http_date_parse(http_get(h, HDR_DATE), &date_s) != RC_OK ||
        http_date_parse(http_get(h, HDR_EXPIRES), &expires_s) != RC_OK) {
        http_unset(h, HDR_EXPIRES);
        return RC_OK;
    }
    int64_t then_s = (int64_t)now_s + (expires_s - date_s);
    return set_text(h, HDR_EXPIRES, date_text(u, then_s > 0 ? (uint64_t)then_s : 0));
}

static void forget_digests(struct http *h)
{
    http_unset(h, HDR_CONTENT_MD5);
    http_unset_name(h, STR("Digest"));
    http_unset_name(h, STR("Content-Digest"));
    http_unset_name(h, STR("Repr-Digest"));
}

/* No two pages ever pushed have the same. */
static struct str new_etag(struct kv_url *u, uint64_t now_ns)
{
    return arena_printf(&u->arena, "\"%llx-%x\"", (unsigned long long)now_ns, u->req.vxid);
}

static enum rc renew(struct kv_url *u, struct http *h, uint64_t body_len)
{
    uint64_t now_ns = clock_real_ns();
    uint64_t now_s = now_ns / NS_PER_S;
    enum rc rc = move_expires(u, h, now_s);
    http_unset(h, HDR_AGE);
    http_unset(h, HDR_WARNING);
    forget_digests(h);
    struct str date = date_text(u, now_s);
    if (rc == RC_OK) {
        rc = set_text(h, HDR_DATE, date);
    }
    if (rc == RC_OK) {
        rc = set_text(h, HDR_LAST_MODIFIED, date);
    }
    if (rc == RC_OK) {
        rc = set_text(h, HDR_ETAG, new_etag(u, now_ns));
    }
    if (rc == RC_OK) {
        rc = set_text(h, HDR_CONTENT_LENGTH,
                      arena_printf(&u->arena, "%llu", (unsigned long long)body_len));
    }
    return rc;
}

/* ---- heads ---- */

/* What vcl_recv left in the request says what the page is; else it is HTML. */
static struct http *fresh_head(struct kv_url *u)
{
    const struct http *asked = u->req.http;
    struct http *h = http_new(&u->arena, 32);
    if (h == NULL) {
        return NULL;
    }
    http_set_status(h, 200);
    struct str type = http_get(asked, HDR_CONTENT_TYPE);
    struct str control = http_get(asked, HDR_CACHE_CONTROL);
    enum rc rc =
        http_set(h, HDR_CONTENT_TYPE, type.len > 0 ? type : STR("text/html; charset=utf-8"));
    if (rc == RC_OK && control.len > 0) {
        rc = http_set(h, HDR_CACHE_CONTROL, control);
    }
    return rc == RC_OK ? h : NULL;
}

static bool is_200(const struct objcore *oc)
{
    char digits[3];
    http_packed_status(obj_get(oc, OA_HTTP), digits);
    return str_eq((struct str){digits, sizeof digits}, STR("200"));
}

static enum rc bad_response(struct kv_session *s, const char *why)
{
    return kv__refuse(s, RC_MALFORMED, "bad response: %s", why);
}

static enum rc check_response(struct kv_session *s, const struct http *h,
                              const struct h1_head *head, uint64_t body_len)
{
    if (head->conn & HTTP_CONN_BAD) {
        return bad_response(s, "Connection");
    }
    if (h->status < 200 || h->status > 599 || h->status == 206 || h->status == 304) {
        return bad_response(s, "the status cannot be stored");
    }
    if (http_has(h, HDR_TRANSFER_ENCODING)) {
        return bad_response(s, "Transfer-Encoding");
    }
    const struct h1_body body = h1_response_framing(h, HTTP_M_GET);
    uint64_t said = body.framing == H1_BODY_LENGTH ? body.bytes : 0;
    if (body.framing == H1_BODY_ERROR || (body.framing != H1_BODY_EOF && said != body_len)) {
        return bad_response(s, "its length is not that of the value");
    }
    return RC_OK;
}

enum rc kv_page__parse(struct kv_session *s, struct kv_url *u, struct str value,
                       struct kv_whole *whole)
{
    const struct params *p = s->engine->conf.params;
    struct h1_limits limits = {.head_bytes = (uint32_t)param(p, http_resp_size),
                               .start_bytes = (uint32_t)param(p, http_resp_hdr_len),
                               .hdr_bytes = (uint32_t)param(p, http_resp_hdr_len)};
    size_t most = value.len < limits.head_bytes ? value.len : limits.head_bytes;
    struct http *h = http_new(&u->arena, (unsigned)param(p, http_max_hdr));
    struct str text = arena_dup(&u->arena, (struct str){value.ptr, most});
    whole->head = http_new(&u->arena, (unsigned)param(p, http_max_hdr) + 8);
    if (h == NULL || text.ptr == NULL || whole->head == NULL) {
        return RC_LIMIT;
    }
    union {
        const char *text;
        char *buf; /* the copy above */
    } at = {.text = text.ptr};
    struct h1_head head;
    enum rc rc = h1_parse_response(h, at.buf, text.len, 0, &limits, &head);
    if (rc == RC_AGAIN) {
        return bad_response(s, "its head does not end");
    }
    if (rc != RC_OK) {
        return bad_response(s, h1_error_text(head.error));
    }
    whole->body = (struct str){value.ptr + head.consumed, value.len - head.consumed};
    rc = check_response(s, h, &head, whole->body.len);
    if (rc == RC_OK) {
        rc = http_copy(whole->head, h, HTTP_COPY_STORE);
        whole->head->proto = STR("HTTP/1.1");
        whole->has_vary = http_has(whole->head, HDR_VARY);
    }
    return rc;
}

/* ---- times ---- */

static struct obj_times times_of(struct kv_session *s, const struct http *h,
                                 const struct objcore *old, int64_t exptime)
{
    const struct params *p = s->engine->conf.params;
    uint64_t now_ns = wrk_real_ns(kv__wrk(s));
    struct obj_times times = {.t_origin_ns = now_ns};
    if (old != NULL) {
        times = obj_times(old);
        times.t_origin_ns = now_ns;
    } else {
        const struct http_fresh_defaults defaults = {
            .ttl_ns = param(p, default_ttl),
            .grace_ns = param(p, default_grace),
            .keep_ns = param(p, default_keep),
            .clock_skew_s = param(p, clock_skew),
        };
        struct http_fresh fresh;
        http_freshness(h, now_ns, &defaults, &fresh);
        times.t_origin_ns = fresh.origin_ns;
        times.ttl_ns = fresh.ttl_ns < 0 ? 0 : (uint64_t)fresh.ttl_ns;
        times.grace_ns = fresh.grace_ns;
        times.keep_ns = fresh.keep_ns;
    }
    if (exptime != 0) {
        times.t_origin_ns = now_ns;
        times.ttl_ns = kv__ttl_ns(exptime, now_ns);
    }
    if (exptime < 0) {
        times.grace_ns = times.keep_ns = 0;
    }
    return times;
}

/* ---- a page ---- */

static bool is_varied(const struct cache_seen *seen)
{
    return seen->has_siblings || (seen->oc != NULL && vary__is_by_more(obj_get(seen->oc, OA_VARY)));
}

/* RC_UNSUPPORTED: others would get what is not for them. */
static enum rc check_vary(struct kv_session *s, const struct cache_seen *seen,
                          const struct kv_whole *whole)
{
    if (!is_varied(seen)) {
        return RC_OK;
    }
    if (whole != NULL && whole->has_vary) {
        return RC_OK;
    }
    return kv__refuse(s, RC_UNSUPPORTED,
                      "the page varies: push a whole response with its Vary instead");
}

/* What a page that says so varies by, for the request that stands for it. */
static enum rc set_vary(struct kv_session *s, struct kv_url *u, const struct http *h,
                        struct cache_swap *swap)
{
    if (!http_has(h, HDR_VARY)) {
        return RC_OK;
    }
    if (!vary__is_legal(h)) {
        return bad_response(s, "Vary");
    }
    struct sb sb = arena_builder(&u->arena);
    enum rc rc = u->req.is_rfc9111 ? vary__make_normalised(&sb, u->req.http, h)
                                   : vary__make(&sb, u->req.http, h);
    if (rc == RC_UNSUPPORTED) {
        return bad_response(s, "Vary: *");
    }
    if (rc != RC_OK || sb.len == 0) {
        return rc;
    }
    swap->attrs[OA_VARY] = arena_claim(&u->arena, &sb);
    return swap->attrs[OA_VARY].ptr == NULL ? RC_LIMIT : RC_OK;
}

static enum rc set_attrs(struct kv_session *s, struct kv_url *u, const struct kv_value *value,
                         const struct http *h, struct cache_swap *swap)
{
    enum rc rc = set_vary(s, u, h, swap);
    if (rc != RC_OK) {
        return rc;
    }
    struct sb sb = arena_builder(&u->arena);
    http_pack(&sb, h);
    swap->attrs[OA_HTTP] = arena_claim(&u->arena, &sb);
    char *keyed_text = arena_alloc(&u->arena, OBJ_KEYED_BYTES);
    sb = arena_builder(&u->arena);
    put_u32(&sb, u->req.vxid);
    swap->attrs[OA_XID] = arena_claim(&u->arena, &sb);
    if (swap->attrs[OA_HTTP].ptr == NULL || swap->attrs[OA_XID].ptr == NULL || keyed_text == NULL) {
        return RC_LIMIT;
    }
    const struct obj_keyed keyed = {.flags = value->flags & ~(uint32_t)KV_WHOLE,
                                    .cas = value->new_cas};
    swap->attrs[OA_KEYED] = obj_keyed_pack(&keyed, keyed_text);
    return RC_OK;
}

/* What the client asked for, of what is there: RC_EXISTS, RC_NOT_FOUND.  And what the exchange
 * shall compare with: that it is so still. */
static enum rc check_there(const struct kv_value *value, const struct cache_seen *seen,
                           struct cache_swap *swap)
{
    swap->when = seen->oc == NULL && !seen->has_siblings ? CACHE_IF_NONE : CACHE_IF_CAS;
    swap->cas = seen->cas;
    swap->ignores_coming = value->cas == 0 && value->mode != KV_ADD;
    if (seen->oc == NULL) {
        return value->cas != 0 || value->mode == KV_REPLACE ? RC_NOT_FOUND : RC_OK;
    }
    bool is_wanted = value->mode != KV_ADD && (value->cas == 0 || value->cas == seen->cas);
    return is_wanted ? RC_OK : RC_EXISTS;
}

/* How the body is to be stored; the head, which says how the old one was, forgets it. */
static enum rc plan_code(struct kv_session *s, struct kv_url *u, struct http *h,
                         const struct objcore *kept, const struct kv_whole *whole, uint64_t len,
                         struct kv_code *code)
{
    struct str encoding = http_get(h, HDR_CONTENT_ENCODING);
    *code = (struct kv_code){.is_encoded = false};
    if (len == 0) {
        http_unset(h, HDR_CONTENT_ENCODING);
        return RC_OK;
    }
    if (whole != NULL) {
        return kv_code__whole(s, u, h, code);
    }
    http_unset(h, HDR_CONTENT_ENCODING);
    return kept == NULL ? RC_OK : kv_code__like(s, u, kept, encoding, code);
}

/* What it takes of what is there: of a page, not of what stands for none. */
static enum rc make_on(struct kv_session *s, struct kv_url *u, const struct kv_value *value,
                       const struct objcore *kept, const struct kv_whole *whole,
                       struct cache_swap *swap, struct kv_code *code)
{
    struct http *h = whole != NULL  ? whole->head
                     : kept != NULL ? kv_url__head_of(u, kept)
                                    : fresh_head(u);
    uint64_t len = whole != NULL ? whole->body.len : value->len;
    if (h == NULL) {
        return RC_LIMIT;
    }
    swap->times = times_of(s, h, kept, value->exptime);
    enum rc rc = plan_code(s, u, h, kept, whole, len, code);
    if (rc == RC_OK && whole == NULL) {
        rc = renew(u, h, len);
    }
    if (rc == RC_OK) {
        rc = kv_code__head(u, code, h);
    }
    swap->obj_flags = code->is_encoded ? OBJ_ENCODED : 0;
    return rc == RC_OK ? set_attrs(s, u, value, h, swap) : rc;
}

static enum rc make(struct kv_session *s, struct kv_url *u, const struct kv_value *value,
                    const struct kv_whole *whole, const struct cache_seen *seen,
                    struct cache_swap *swap, struct kv_code *code)
{
    *swap = (struct cache_swap){.digest = u->req.digest};
    enum rc rc = check_there(value, seen, swap);
    if (rc == RC_OK) {
        rc = check_vary(s, seen, whole);
    }
    if (rc != RC_OK) {
        return rc;
    }
    bool is_kept = whole == NULL && seen->oc != NULL && is_200(seen->oc);
    return make_on(s, u, value, is_kept ? seen->oc : NULL, whole, swap, code);
}

enum rc kv_page__make(struct kv_session *s, struct kv_url *u, const struct kv_value *value,
                      const struct kv_whole *whole, struct cache_swap *swap, struct kv_code *code)
{
    struct cache_seen seen;
    enum rc rc = kv_url__find(s, u, false, &seen);
    if (rc != RC_OK && rc != RC_NOT_FOUND) {
        return rc;
    }
    rc = make(s, u, value, whole, &seen, swap, code);
    if (seen.oc != NULL) {
        obj_release(&seen.oc);
    }
    return rc;
}
