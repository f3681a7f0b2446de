/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The built-in policy, with the meaning of Varnish 7.1's built-in VCL. */
#include "engine/policy.h"

#include "http/http_cache.h"
#include "http/http_list.h"

/* How long others are told not to wait for an object that turned out not to be cacheable. */
#define HITMISS_TTL_NS (120 * NS_PER_S)

static struct policy_verdict recv_returns(struct request *req, enum policy_action action,
                                          unsigned status)
{
    static const struct str names[] = {
        [POLICY_LOOKUP] = STR_INIT("hash"),
        [POLICY_PASS] = STR_INIT("pass"),
        [POLICY_PIPE] = STR_INIT("pipe"),
        [POLICY_SYNTH] = STR_INIT("synth"),
    };
    log__vcl(&req->log, STR("RECV"), names[action]);
    return (struct policy_verdict){action, status, status == 0 ? STR_NONE : http_reason(status)};
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
        return str_eq(h->method, STR("PRI")) ? recv_returns(req, POLICY_SYNTH, 405)
                                             : recv_returns(req, POLICY_PIPE, 0);
    }
    if (http_has(h, HDR_AUTHORIZATION) || http_has(h, HDR_COOKIE)) {
        return recv_returns(req, POLICY_PASS, 0);
    }
    return recv_returns(req, POLICY_LOOKUP, 0);
}

static void builtin_hash(struct str host, struct str url, struct digest *digest)
{
    /* A NUL, which neither can contain, keeps (ab, c) and (a, bc) apart. */
    const struct str pieces[] = {url, {"", 1}, host, {"", 1}};
    digest_make(digest, pieces, ARRAY_SIZE(pieces));
}

static void builtin_hit(struct request *req)
{
    log__vcl(&req->log, STR("HIT"), STR("deliver"));
}

static void builtin_miss(struct request *req)
{
    log__vcl(&req->log, STR("MISS"), STR("fetch"));
}

static void builtin_pass(struct request *req)
{
    log__vcl(&req->log, STR("PASS"), STR("fetch"));
}

static void builtin_pipe(struct request *req, struct fetch *f)
{
    (void)f;
    log__vcl(&req->log, STR("PIPE"), STR("pipe"));
}

static void builtin_deliver(struct request *req, struct http *resp)
{
    (void)resp;
    log__vcl(&req->log, STR("DELIVER"), STR("deliver"));
}

static void builtin_backend_fetch(struct fetch *f)
{
    log__vcl(&f->log, STR("BACKEND_FETCH"), STR("fetch"));
}

static bool control_forbids(const struct http *beresp)
{
    if (http_has(beresp, HDR_SURROGATE_CONTROL)) {
        return http_has_token(beresp, HDR_SURROGATE_CONTROL, STR("no-store"));
    }
    struct http_cc cc;
    http_cc_parse(beresp, &cc);
    return (cc.bits & (HTTP_CC_NO_CACHE | HTTP_CC_NO_STORE | HTTP_CC_PRIVATE)) != 0;
}

static void log_ttl(struct fetch *f, struct str source, const char *verdict)
{
    vslb_printf(&f->log, SLT_TTL, "%.*s %.0f %.0f %.0f %.0f %s", STR_ARG(source),
                (double)f->times.ttl_ns / 1e9, (double)f->times.grace_ns / 1e9,
                (double)f->times.keep_ns / 1e9, (double)f->times.t_origin_ns / 1e9, verdict);
}

static void builtin_backend_response(struct fetch *f)
{
    vslb_str(&f->log, SLT_VCL_call, STR("BACKEND_RESPONSE"));
    if (!f->is_uncacheable &&
        (f->times.ttl_ns == 0 || http_has(f->beresp, HDR_SET_COOKIE) ||
         control_forbids(f->beresp) || http_has_token(f->beresp, HDR_VARY, STR("*")))) {
        f->times.ttl_ns = HITMISS_TTL_NS;
        log_ttl(f, STR("VCL"), "cacheable");
        f->is_uncacheable = true;
        f->is_marker = true;
        log_ttl(f, STR("VCL"), "uncacheable");
    }
    vslb_str(&f->log, SLT_VCL_return, STR("deliver"));
}

const struct policy policy_builtin = {
    .recv = builtin_recv,
    .hash = builtin_hash,
    .hit = builtin_hit,
    .miss = builtin_miss,
    .pass = builtin_pass,
    .pipe = builtin_pipe,
    .deliver = builtin_deliver,
    .backend_fetch = builtin_backend_fetch,
    .backend_response = builtin_backend_response,
};
