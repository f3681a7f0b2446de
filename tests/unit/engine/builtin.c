/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A policy with the meaning of the built-in VCL, without VCL. */
#include "builtin.h"

#include "http/http_list.h"

static struct policy_verdict recv_returns(struct request *req, enum policy_action action,
                                          unsigned status)
{
    log__vcl(&req->log, STR("RECV"), policy_word(action));
    return (struct policy_verdict){.action = action, .status = status};
}

/* Host names know no case, cache keys do. */
static void lower_host(struct request *req)
{
    struct str host = http_get(req->http, HDR_HOST);
    bool has_upper = false;
    for (size_t i = 0; i < host.len; i++) {
        has_upper |= host.ptr[i] >= 'A' && host.ptr[i] <= 'Z';
    }
    if (!has_upper) {
        return;
    }
    char *copy = arena_alloc(req->arena, host.len);
    if (copy == NULL) {
        return;
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        copy[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    enum rc rc = http_set(req->http, HDR_HOST, (struct str){copy, host.len});
    CHECK(rc == RC_OK);
}

static struct policy_verdict builtin_recv(struct request *req)
{
    const struct http *h = req->http;
    lower_host(req);
    if (!http_has(h, HDR_HOST) && h->version >= 11) {
        return recv_returns(req, POLICY_SYNTH, 400);
    }
    switch ((enum http_method)h->method_id) {
    case HTTP_M_GET:
    case HTTP_M_HEAD:
        break;
    case HTTP_M_PUT:
    case HTTP_M_POST:
    case HTTP_M_TRACE:
    case HTTP_M_OPTIONS:
    case HTTP_M_DELETE:
    case HTTP_M_PATCH:
        return recv_returns(req, POLICY_PASS, 0);
    default:
        if (str_eq(h->method, STR("PRI"))) {
            return recv_returns(req, POLICY_SYNTH, 405);
        }
        return recv_returns(req, POLICY_PIPE, 0);
    }
    if (http_has(h, HDR_AUTHORIZATION) || http_has(h, HDR_COOKIE)) {
        return recv_returns(req, POLICY_PASS, 0);
    }
    return recv_returns(req, POLICY_HASH, 0);
}

static struct policy_verdict builtin_hash(struct request *req)
{
    vslb_str(&req->log, SLT_VCL_call, STR("HASH"));
    struct str host = http_get(req->http, HDR_HOST);
    host = host.ptr == NULL ? req->server_addr : host;
    /* What the key is made of is logged on demand only: Hash is masked by default. */
    if (UNLIKELY(vslb_wants(&req->log, SLT_Hash))) {
        vslb_str(&req->log, SLT_Hash, req->http->url);
        vslb_str(&req->log, SLT_Hash, host);
    }
    engine_digest(host, req->http->url, &req->digest);
    vslb_str(&req->log, SLT_VCL_return, STR("lookup"));
    return policy_says(POLICY_HASH);
}

static struct policy_verdict builtin_hit(struct request *req)
{
    log__vcl(&req->log, STR("HIT"), STR("deliver"));
    return policy_says(POLICY_DELIVER);
}

static struct policy_verdict builtin_miss(struct request *req)
{
    log__vcl(&req->log, STR("MISS"), STR("fetch"));
    return policy_says(POLICY_FETCH);
}

static struct policy_verdict builtin_pass(struct request *req)
{
    log__vcl(&req->log, STR("PASS"), STR("fetch"));
    return policy_says(POLICY_FETCH);
}

static struct policy_verdict builtin_pipe(struct request *req)
{
    log__vcl(&req->log, STR("PIPE"), STR("pipe"));
    return policy_says(POLICY_PIPE);
}

static struct policy_verdict builtin_purge(struct request *req)
{
    log__vcl(&req->log, STR("PURGE"), STR("synth"));
    return (struct policy_verdict){.action = POLICY_SYNTH, .status = 200, .reason = STR("Purged")};
}

static struct policy_verdict builtin_deliver(struct request *req)
{
    log__vcl(&req->log, STR("DELIVER"), STR("deliver"));
    return policy_says(POLICY_DELIVER);
}

#define PAGE                                                                                       \
    "<!DOCTYPE html>\n<html>\n  <head>\n    <title>%u %.*s</title>\n  </head>\n  <body>\n"         \
    "    <h1>Error %u %.*s</h1>\n    <p>%.*s</p>\n    <h3>Guru Meditation:</h3>\n"                 \
    "    <p>XID: %u</p>\n    <hr>\n    <p>objmapper cache server</p>\n  </body>\n</html>\n"

static MUST_USE enum rc make_page(struct synth_text *text, unsigned status, struct str reason,
                                  uint32_t xid)
{
    /* Reasons come from status lines, so they fit; what does not is left out. */
    char page[1800];
    struct sb sb = sb_of(page, sizeof page);
    if (reason.len > 400) {
        reason.len = 400;
    }
    sb_printf(&sb, PAGE, status, STR_ARG(reason), status, STR_ARG(reason), STR_ARG(reason), xid);
    synth__clear(text);
    return synth__add(text, sb_str(&sb));
}

/* The head and body of a page that says what went wrong. */
static MUST_USE enum rc error_page(struct vslb *log, enum log_head kind, struct http *h,
                                   struct synth_text *text, uint32_t xid)
{
    static const struct {
        enum http_hdr_id id;
        struct str value;
    } fields[] = {
        {HDR_CONTENT_TYPE, STR_INIT("text/html; charset=utf-8")},
        {HDR_RETRY_AFTER, STR_INIT("5")},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        enum rc rc = http_set(h, fields[i].id, fields[i].value);
        if (rc != RC_OK) {
            return rc;
        }
        log__field(log, kind, http_find(h, fields[i].id));
    }
    return make_page(text, h->status, h->reason, xid);
}

static struct policy_verdict builtin_synth(struct request *req)
{
    vslb_str(&req->log, SLT_VCL_call, STR("SYNTH"));
    enum rc rc = error_page(&req->log, LOG_RESP, req->resp, &req->synth, req->vxid);
    enum policy_action action = rc == RC_OK ? POLICY_DELIVER : POLICY_FAIL;
    vslb_str(&req->log, SLT_VCL_return, policy_word(action));
    return policy_says(action);
}

static struct policy_verdict builtin_backend_fetch(struct fetch *f)
{
    log__vcl(&f->log, STR("BACKEND_FETCH"), STR("fetch"));
    return policy_says(POLICY_FETCH);
}

/* As a regular expression finds it: anywhere, in any case. */
static bool contains_nocase(struct str text, struct str part)
{
    for (size_t at = 0; at + part.len <= text.len; at++) {
        if (str_eq_nocase((struct str){text.ptr + at, part.len}, part)) {
            return true;
        }
    }
    return false;
}

static bool any_contains(const struct http *h, enum http_hdr_id id, struct str part)
{
    for (unsigned i = 0; i < h->count; i++) {
        if (h->hdr[i].id == id && contains_nocase(h->hdr[i].value, part)) {
            return true;
        }
    }
    return false;
}

static bool control_forbids(const struct http *beresp)
{
    if (http_has(beresp, HDR_SURROGATE_CONTROL)) {
        return any_contains(beresp, HDR_SURROGATE_CONTROL, STR("no-store"));
    }
    return http_has(beresp, HDR_CACHE_CONTROL) &&
           (any_contains(beresp, HDR_CACHE_CONTROL, STR("no-cache")) ||
            any_contains(beresp, HDR_CACHE_CONTROL, STR("no-store")) ||
            any_contains(beresp, HDR_CACHE_CONTROL, STR("private")));
}

/* What the object has left, now that it has come. */
static bool is_stale(const struct fetch *f)
{
    return clock_after(f->times.t_origin_ns, f->times.ttl_ns) <=
           wrk_real_ns(engine__wrk(f->engine));
}

static void log_ttl(struct fetch *f, struct str source, const char *verdict)
{
    vslb_printf(&f->log, SLT_TTL, "%.*s %.0f %.0f %.0f %.0f %s", STR_ARG(source),
                (double)f->times.ttl_ns / 1e9, (double)f->times.grace_ns / 1e9,
                (double)f->times.keep_ns / 1e9, (double)f->times.t_origin_ns / 1e9, verdict);
}

static struct policy_verdict builtin_backend_response(struct fetch *f)
{
    vslb_str(&f->log, SLT_VCL_call, STR("BACKEND_RESPONSE"));
    if (!f->is_uncacheable && !f->is_9111 &&
        (is_stale(f) || http_has(f->beresp, HDR_SET_COOKIE) || control_forbids(f->beresp) ||
         http_has_token(f->beresp, HDR_VARY, STR("*")))) {
        policy_set_ttl(f, POLICY_HITMISS_TTL_NS);
        log_ttl(f, STR("VCL"), "cacheable");
        f->is_uncacheable = true;
        log_ttl(f, STR("VCL"), "uncacheable");
    }
    vslb_str(&f->log, SLT_VCL_return, STR("deliver"));
    return policy_says(POLICY_DELIVER);
}

static struct policy_verdict builtin_backend_error(struct fetch *f)
{
    vslb_str(&f->log, SLT_VCL_call, STR("BACKEND_ERROR"));
    enum rc rc = error_page(&f->log, LOG_BERESP, f->beresp, &f->synth, f->vxid);
    enum policy_action action = rc == RC_OK ? POLICY_DELIVER : POLICY_FAIL;
    vslb_str(&f->log, SLT_VCL_return, policy_word(action));
    return policy_says(action);
}

const struct policy policy_builtin = {
    .recv = builtin_recv,
    .hash = builtin_hash,
    .hit = builtin_hit,
    .miss = builtin_miss,
    .pass = builtin_pass,
    .pipe = builtin_pipe,
    .purge = builtin_purge,
    .deliver = builtin_deliver,
    .synth = builtin_synth,
    .backend_fetch = builtin_backend_fetch,
    .backend_response = builtin_backend_response,
    .backend_error = builtin_backend_error,
};
