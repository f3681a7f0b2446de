/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Keys that are URLs: the request that a GET for one would be, as far as the lookup.
 *
 *   http://host/path  ->  GET /path, Host: host  ->  vcl_recv, vcl_hash  ->  digest
 *
 * It is parsed as a client's request with an absolute URL is, so that one page has one name however
 * it is reached.  vcl_recv sees a GET, whatever the command: what it does to pages' names and
 * fields it shall do here too.  That it is none is in req.transport, req.mc_command and req.user.
 * Where it says anything but "hash" the page is not for whoever asks: there is no answer to be had
 * from anywhere but the cache. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/kv_priv.h"
#include "engine/policy.h"
#include "engine/rfc9111.h"

enum { FIELDS = 64 };

/* ---- a request of nobody ---- */

static enum rc no_body(struct request *req, void *buf, size_t bytes, size_t *got)
{
    (void)req;
    (void)buf;
    CHECK(bytes > 0);
    *got = 0;
    return RC_EOF;
}

/* Nothing else is asked of it: no response is ever delivered. */
static const struct transport nowhere = {.body = no_body};

/* The head, as if it had come over a connection.  RC_MALFORMED, RC_TOO_LONG, RC_LIMIT. */
static enum rc parse(struct kv_session *s, struct kv_url *u, struct str url)
{
    struct sb sb = arena_builder(&u->arena);
    bool is_https = str_starts(url, STR("https://"));
    if (!http_is_url(url)) {
        return kv__refuse(s, RC_MALFORMED, "bad URL");
    }
    sb_lit(&sb, "GET ");
    sb_put(&sb, str_starts(url, STR("//")) ? STR("http:") : STR(""));
    sb_put(&sb, url);
    sb_lit(&sb, " HTTP/1.1\r\n\r\n");
    struct str text = arena_claim(&u->arena, &sb);
    struct http *h = http_new(&u->arena, FIELDS);
    if (text.ptr == NULL || h == NULL) {
        return RC_LIMIT;
    }
    const struct params *p = s->engine->conf.params;
    struct h1_limits limits = h1_limits_default;
    struct h1_head head;
    limits.flags = h1_flags(param(p, http_strict) != 0, true);
    limits.start_bytes = KV_URL_MAX + 32;
    enum rc rc = h1_parse_request(h, sb.ptr, text.len, 0, &limits, &head);
    if (rc != RC_OK || !http_has(h, HDR_HOST)) {
        return kv__refuse(s, RC_MALFORMED, "bad URL");
    }
    u->req.http = h;
    if (is_https) {
        rc = http_set_own(h, HDR_X_FORWARDED_PROTO, STR("https"));
    }
    return rc == RC_OK ? http_set_own(h, HDR_X_FORWARDED_FOR, s->client_addr) : rc;
}

static void fill(struct kv_session *s, struct kv_url *u, struct str command)
{
    struct engine *engine = s->engine;
    struct wrk *wrk = kv__wrk(s);
    uint64_t now_ns = wrk_real_ns(wrk);
    u->req.transport = &nowhere;
    u->req.arena = &u->arena;
    u->req.vxid = engine_vxid(engine);
    u->req.session_vxid = s->vxid;
    u->req.t_first_ns = now_ns;
    u->req.t_head_ns = now_ns;
    u->req.listener = s->listener;
    u->req.endpoint = s->endpoint;
    u->req.client_addr = u->req.remote_addr = s->client_addr;
    u->req.client_port = u->req.remote_port = s->client_port;
    u->req.server_addr = u->req.local_addr = s->server_addr;
    u->req.server_port = u->req.local_port = s->server_port;
    u->req.is_unix = s->is_unix;
    u->req.mc_command = command;
    u->req.user = s->user;
    u->req.engine = engine;
    u->req.wrk = wrk;
    u->req.policy = engine->conf.policy;
    u->req.policy_name = STR("");
    u->req.backend = engine->conf.backend;
    u->req.is_rfc9111 = rfc9111__is_on(engine);
    u->req.sends_body = true;
    u->req.name = key__hash(http_get(u->req.http, HDR_HOST), u->req.http->url);
}

/* ---- the log ---- */

static void log_begin(struct kv_session *s, struct kv_url *u)
{
    struct request *req = &u->req;
    struct vslb session;
    engine_log_open(s->engine, &session, s->vxid | VSL_CLIENTMARKER);
    vslb_printf(&session, SLT_Link, "req %u rxreq", req->vxid);
    engine_log_open(s->engine, &req->log, req->vxid | VSL_CLIENTMARKER);
    vslb_printf(&req->log, SLT_Begin, "req %u rxreq", s->vxid);
    req->t_prev_ns = req->t_first_ns;
    log__timestamp(&req->log, STR("Start"), req->t_first_ns, req->t_first_ns, &req->t_prev_ns);
    log__timestamp(&req->log, STR("Req"), req->t_head_ns, req->t_first_ns, &req->t_prev_ns);
    vslb_str(&req->log, SLT_VCL_use, req->policy_name);
    vslb_printf(&req->log, SLT_ReqStart, "%.*s %.*s %s", STR_ARG(req->client_addr),
                STR_ARG(req->client_port), s->listener);
    log__head(&req->log, LOG_REQ, req->http);
    vslb_printf(&req->log, SLT_VCL_Log, "memcached:%.*s", STR_ARG(req->mc_command));
    if (req->user.len > 0) {
        vslb_printf(&req->log, SLT_VCL_Log, "user:%.*s", STR_ARG(req->user));
    }
}

static unsigned status_of(const struct kv_session *s, enum rc rc)
{
    unsigned status = s->why_status != 0 ? s->why_status : rc_http_status(rc);
    return status != 0 ? status : 503;
}

static void log_end(struct kv_session *s, struct kv_url *u, enum rc rc)
{
    struct request *req = &u->req;
    const char *why = s->why[0] != '\0' && rc != RC_OK ? s->why : rc_text(rc);
    vslb_printf(&req->log, SLT_RespStatus, "%u", status_of(s, rc));
    vslb_printf(&req->log, SLT_RespReason, "%s", why);
    log__timestamp(&req->log, STR("Resp"), clock_real_ns(), req->t_first_ns, &req->t_prev_ns);
    vslb_str(&req->log, SLT_End, STR(""));
}

/* ---- the policy ---- */

static enum rc denied(struct kv_session *s, unsigned status, struct str reason)
{
    s->why_status = status;
    struct str text = reason.ptr == NULL ? http_reason(status) : reason;
    return kv__refuse(s, RC_DENIED, "%u %.*s", status, STR_ARG(text));
}

/* What vcl_recv says, and what that means here. */
YIELDS static enum rc receive(struct kv_session *s, struct request *req)
{
    struct policy_verdict verdict;
    uint64_t restarts_max = param(s->engine->conf.params, max_restarts);
    do {
        verdict = req->policy->recv(req);
    } while (verdict.action == POLICY_RESTART && ++req->restarts <= restarts_max);
    switch (verdict.action) {
    case POLICY_HASH:
        break;
    case POLICY_PURGE:
        /* As good as "hash" to a command that ends what is there; to others it is nonsense. */
        if (!str_eq(req->mc_command, STR("delete"))) {
            return denied(s, 403, STR("The policy purges it"));
        }
        break;
    case POLICY_SYNTH:
        return denied(s, verdict.status, verdict.reason);
    case POLICY_PASS:
    case POLICY_PIPE:
        return denied(s, 403, STR("The policy does not cache it"));
    case POLICY_RESTART:
        return denied(s, 503, STR("Too many restarts"));
    default:
        return denied(s, 503, STR("VCL failed"));
    }
    verdict = req->policy->hash(req);
    return verdict.action == POLICY_HASH ? RC_OK : denied(s, 503, STR("VCL failed"));
}

enum rc kv_url__open(struct kv_session *s, struct str url, struct str command, struct kv_url **out)
{
    *out = NULL;
    if (url.len > KV_URL_MAX) {
        return RC_TOO_LONG;
    }
    size_t room = param(s->engine->conf.params, workspace_client) + 2 * url.len + 1024;
    struct kv_url *u = xmalloc(sizeof *u + room);
    *u = (struct kv_url){.magic = KV_URL_MAGIC};
    arena_init(&u->arena, u + 1, room);
    enum rc rc = parse(s, u, url);
    if (rc != RC_OK) {
        free(u);
        return rc;
    }
    fill(s, u, command);
    if (u->req.policy->begin != NULL) {
        u->req.policy_name = u->req.policy->begin(&u->req);
        u->has_begun = true;
    }
    log_begin(s, u);
    rc = receive(s, &u->req);
    if (rc != RC_OK) {
        kv_url__close(s, &u, rc);
        return rc;
    }
    *out = u;
    return RC_OK;
}

void kv_url__close(struct kv_session *s, struct kv_url **url, enum rc rc)
{
    struct kv_url *u = *url;
    *url = NULL;
    CHECK_OBJ(u, KV_URL_MAGIC);
    log_end(s, u, rc);
    if (u->has_begun && u->req.policy->end != NULL) {
        u->req.policy->end(&u->req);
    }
    u->magic = 0;
    free(u);
}

/* ---- looking ---- */

/* Until what is being fetched is there, or failed. */
YIELDS static enum rc wait_for(struct kv_session *s, struct objcore **take_oc)
{
    uint64_t off = 0;
    uint64_t deadline_ns = clock_after(clock_mono_ns(), s->wait_ns);
    enum rc rc;
    do {
        struct stv_lease lease;
        rc = obj_next(*take_oc, off, false, deadline_ns, &lease);
        if (rc == RC_OK) {
            off += lease.len;
            stv_rel(&lease);
        }
    } while (rc == RC_OK);
    obj_release(take_oc);
    return rc;
}

enum rc kv_url__find(struct kv_session *s, struct kv_url *u, bool is_use, struct cache_seen *seen)
{
    struct request *req = &u->req;
    const struct cache_ask ask = {
        .digest = req->digest,
        .match = req->hash_ignore_vary ? NULL
                 : req->is_rfc9111     ? rfc9111__match
                                       : vary__match,
        .match_arg = req,
        .http = req->http,
        .is_use = is_use,
    };
    enum rc rc = cache_find(s->engine->conf.cache, &ask, seen);
    for (unsigned tries = 0; rc == RC_NOT_FOUND && seen->coming != NULL; tries++) {
        enum rc end = s->wait_ns == 0 ? RC_TIMEOUT : wait_for(s, &seen->coming);
        if (seen->coming != NULL) {
            obj_release(&seen->coming);
        }
        if (end == RC_CANCELLED) {
            return end;
        }
        if (end != RC_EOF || tries == 3) {
            return RC_NOT_FOUND;
        }
        rc = cache_find(s->engine->conf.cache, &ask, seen);
    }
    return rc == RC_OK ? kv__verify(s, &seen->oc) : rc;
}

struct http *kv_url__head_of(struct kv_url *u, const struct objcore *oc)
{
    const struct engine *engine = u->req.engine;
    /* What is renewed comes on top of what was stored. */
    unsigned fields = (unsigned)param(engine->conf.params, http_max_hdr) + 8;
    struct http *h = http_new(&u->arena, fields);
    struct str packed = arena_dup(&u->arena, obj_get(oc, OA_HTTP));
    bool is_there = h != NULL && packed.ptr != NULL && http_unpack(h, packed) == RC_OK;
    return is_there ? h : NULL;
}

/* Status line to empty line; in memory of the item's own. */
static enum rc whole_head(struct kv_url *u, struct kv_item *item)
{
    struct http *h = kv_url__head_of(u, item->oc);
    struct sb number = arena_builder(&u->arena);
    sb_u64(&number, item->len);
    struct str length = arena_claim(&u->arena, &number);
    if (h == NULL || length.ptr == NULL || http_set_own(h, HDR_CONTENT_LENGTH, length) != RC_OK) {
        return RC_LIMIT;
    }
    size_t bytes = h1_build_bytes(h);
    item->mem = xmalloc(bytes);
    struct sb sb = sb_of(item->mem, bytes);
    h1_build_response(&sb, h);
    CHECK(!sb.overflow);
    item->head = sb_str(&sb);
    item->flags |= KV_WHOLE;
    return RC_OK;
}

enum rc kv_url__get(struct kv_session *s, const struct kv_get *ask, struct kv_item *item)
{
    struct kv_url *u = NULL;
    enum rc rc = kv_url__open(s, ask->key, ask->touches ? STR("gat") : STR("get"), &u);
    if (rc != RC_OK) {
        return rc;
    }
    struct cache_seen seen;
    rc = kv_url__find(s, u, !ask->is_peek, &seen);
    if (rc == RC_OK) {
        vslb_printf(&u->req.log, SLT_Hit, "%u", deliver__object_xid(seen.oc));
        if (ask->touches) {
            uint64_t now_ns = wrk_real_ns(kv__wrk(s));
            (void)cache_touch(s->engine->conf.cache, &u->req.digest,
                              kv__ttl_ns(ask->exptime, now_ns));
        }
        kv__fill(s, ask, &seen, item);
        rc = ask->wants_whole ? whole_head(u, item) : kv_code__in_the_clear(s, u, item);
    }
    if (rc != RC_OK) {
        kv_release(item);
    }
    kv_url__close(s, &u, rc);
    return rc;
}

/* ---- what needs no value ---- */

/* It stays for its grace, and who asks makes it be fetched. */
static enum rc invalidate(struct kv_session *s, const struct kv_delete *ask,
                          const struct digest *digest)
{
    const struct obj_retime want = {.sets_ttl = true,
                                    .sets_grace = ask->sets_ttl,
                                    .grace_ns = kv__ttl_ns(ask->exptime, wrk_real_ns(kv__wrk(s)))};
    return cache_soft_purge(s->engine->conf.cache, digest, &want) > 0 ? RC_OK : RC_NOT_FOUND;
}

YIELDS static enum rc end_page(struct kv_session *s, struct kv_url *u, const struct kv_delete *ask)
{
    struct cache *cache = s->engine->conf.cache;
    if (ask->empties) {
        return kv__refuse(s, RC_UNSUPPORTED, "a page cannot be emptied");
    }
    if (ask->invalidates) {
        struct cache_seen seen;
        enum rc rc = kv_url__find(s, u, false, &seen);
        if (rc != RC_OK) {
            return rc;
        }
        obj_release(&seen.oc);
        bool is_other = ask->cas != 0 && ask->cas != seen.cas;
        return is_other ? RC_EXISTS : invalidate(s, ask, &u->req.digest);
    }
    kv__wrk(s)->main.n_purges++;
    enum rc rc = cache_remove(cache, &u->req.digest, ask->cas);
    if (rc == RC_NOT_FOUND) {
        /* What is on its way, and what says that it is not cacheable, goes all the same. */
        (void)cache_purge(cache, &u->req.digest);
    }
    return rc;
}

enum rc kv_url__delete(struct kv_session *s, const struct kv_delete *ask)
{
    struct kv_url *u = NULL;
    enum rc rc = kv_url__open(s, ask->key, STR("delete"), &u);
    if (rc != RC_OK) {
        return rc;
    }
    rc = end_page(s, u, ask);
    kv_url__close(s, &u, rc);
    return rc;
}

enum rc kv_url__touch(struct kv_session *s, struct str key, int64_t exptime)
{
    struct kv_url *u = NULL;
    enum rc rc = kv_url__open(s, key, STR("touch"), &u);
    if (rc != RC_OK) {
        return rc;
    }
    struct cache_seen seen;
    rc = kv_url__find(s, u, false, &seen);
    if (rc == RC_OK) {
        obj_release(&seen.oc);
        uint64_t ttl_ns = kv__ttl_ns(exptime, wrk_real_ns(kv__wrk(s)));
        rc = cache_touch(s->engine->conf.cache, &u->req.digest, ttl_ns) > 0 ? RC_OK : RC_NOT_FOUND;
    }
    kv_url__close(s, &u, rc);
    return rc;
}
