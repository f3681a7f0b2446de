/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Encodings of pages by key.
 *
 * A body that is pushed is in the clear.  Where it takes the place of one that is stored packed (or
 * has an ESI program), it goes through the filters that made that, into a place of its own; what
 * they learn becomes attributes, as when it is fetched.  A whole response is stored as it comes,
 * but its gzip is looked at.  Who gets a body by key gets it in the clear, unpacked on the heap. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/filtering.h"
#include "engine/kv_priv.h"

enum { UNPACK_STEP = 64 << 10 };

/* ---- packing ---- */

static struct str packer_of(struct str format)
{
    return str_eq(format, STR("br")) ? STR("brotli") : format;
}

static bool is_known(struct str format)
{
    return str_eq(format, STR("gzip")) || str_eq(format, STR("br")) || str_eq(format, STR("zstd"));
}

enum rc kv_code__like(struct kv_session *s, struct kv_url *u, const struct objcore *old,
                      struct str encoding, struct kv_code *code)
{
    struct filtering ask = {.side = FILTER_VFP, .from = STR("text")};
    struct str format = filtering__format(encoding);
    unsigned flags = obj_flags(old);
    if ((flags & OBJ_ESI) != 0) {
        filtering__want(&ask, STR("esi"));
    }
    if ((flags & OBJ_ENCODED) != 0 && is_known(format)) {
        filtering__want(&ask, packer_of(format));
    }
    return filtering__plan(kv__wrk(s), &ask, &u->arena, &code->plan);
}

enum rc kv_code__whole(struct kv_session *s, struct kv_url *u, const struct http *h,
                       struct kv_code *code)
{
    struct filtering ask = {.side = FILTER_VFP};
    struct str encoding = http_get(h, HDR_CONTENT_ENCODING);
    ask.from = filtering__format(encoding);
    if (str_eq(ask.from, STR("gzip"))) {
        filtering__want(&ask, STR("testgunzip"));
    }
    code->is_encoded = encoding.len > 0 && is_known(ask.from);
    return filtering__plan(kv__wrk(s), &ask, &u->arena, &code->plan);
}

enum rc kv_code__head(struct kv_url *u, struct kv_code *code, struct http *h)
{
    if (code->plan.steps_count == 0) {
        return RC_OK;
    }
    struct sb sb = arena_builder(&u->arena);
    plan_names(&code->plan, &sb);
    code->names = arena_claim(&u->arena, &sb);
    code->is_encoded = filter_encoding_of(code->plan.to).len > 0;
    return code->names.ptr == NULL
               ? RC_LIMIT
               : filtering__head(&code->plan, h, &u->arena, &u->req.log, LOG_RESP);
}

YIELDS static enum rc sink(void *arg, const void *ptr, size_t bytes)
{
    return kv__copy_bytes(arg, ptr, bytes);
}

/* What the filters have learnt. */
static enum rc note(struct kv_url *u, const struct kv_code *code, struct cache_swap *swap)
{
    const struct filter_notes *notes = &code->notes;
    swap->obj_flags |= code->is_encoded ? (unsigned)OBJ_ENCODED : 0;
    if (!str_eq(code->plan.from, code->plan.to)) {
        swap->attrs[OA_CODED] = code->names;
    }
    if (notes->gzip.is_set && str_eq(code->plan.to, STR("gzip"))) {
        char *text = arena_alloc(&u->arena, FILTERING_BITS_BYTES);
        if (text == NULL) {
            return RC_LIMIT;
        }
        swap->attrs[OA_GZIPBITS] = filtering__bits(&notes->gzip, text);
    }
    if (notes->esi != NULL) {
        swap->attrs[OA_ESI] = (struct str){notes->esi, notes->esi_len};
        swap->obj_flags |= OBJ_ESI;
    }
    return RC_OK;
}

YIELDS static enum rc filter(struct kv_session *s, struct kv_url *u, struct kv_code *code,
                             struct str body, struct cache_put *put)
{
    struct filter_env env = filtering__env(kv__wrk(s), &u->arena, &code->notes, &u->req.log);
    struct chain *chain = NULL;
    struct str failed = STR_NONE;
    env.body_len = body.len;
    enum rc rc = chain_new(&code->plan, 0, code->plan.steps_count, &env, &chain, &failed);
    if (rc != RC_OK) {
        return rc;
    }
    filtering__count(kv__wrk(s), &code->plan);
    rc = chain_push(chain, body.ptr, body.len, true, sink, put);
    if (rc != RC_OK && chain_failed(chain).len > 0) {
        rc = kv__refuse(s, RC_MALFORMED, "bad body: %s",
                        code->notes.error[0] != '\0' ? code->notes.error : rc_text(rc));
    }
    chain_free(&chain);
    return rc;
}

enum rc kv_code__store(struct kv_session *s, struct kv_url *u, struct kv_code *code,
                       struct cache_swap *swap, struct str body, uint64_t *cas)
{
    struct cache_put put;
    struct stevedore *list[KV_STORES_MAX + 1];
    kv__stores(s->engine, &swap->digest, list);
    enum rc rc = cache_put_begin(s->engine->conf.cache, list, UINT64_MAX, 0, &put);
    if (rc != RC_OK) {
        return kv__no_room(s->engine, body.len);
    }
    rc = filter(s, u, code, body, &put);
    if (rc == RC_OK) {
        rc = note(u, code, swap);
    }
    if (rc == RC_OK) {
        rc = cache_put_commit(&put, swap, cas);
        kv__wrk(s)->objm.kv_total_items += rc == RC_OK;
    } else {
        cache_put_abort(&put);
    }
    XFREE(code->notes.esi);
    return rc;
}

/* ---- unpacking ---- */

struct heap_body {
    char *ptr;
    size_t len;
    size_t cap;
    size_t most;
};

static enum rc keep(void *arg, const void *ptr, size_t bytes)
{
    struct heap_body *b = arg;
    if (bytes > b->most - b->len) {
        return RC_TOO_LONG;
    }
    if (bytes > b->cap - b->len) {
        b->cap = 2 * b->cap + bytes;
        b->ptr = xrealloc(b->ptr, b->cap);
    }
    memcpy(b->ptr + b->len, ptr, bytes);
    b->len += bytes;
    return RC_OK;
}

YIELDS static enum rc unpack(struct kv_item *item, struct chain *chain, struct heap_body *out)
{
    enum rc rc = RC_OK;
    uint64_t off = 0;
    while (rc == RC_OK && off < item->len) {
        struct stv_lease lease;
        rc = obj_next(item->oc, off, true, NEVER, &lease);
        if (rc != RC_OK) {
            break;
        }
        size_t bytes = lease.len < UNPACK_STEP ? lease.len : UNPACK_STEP;
        off += bytes;
        rc = chain_push(chain, lease.ptr, bytes, off == item->len, keep, out);
        stv_rel(&lease);
    }
    return rc;
}

static struct str unpacker_of(struct str format)
{
    return str_eq(format, STR("br"))     ? STR("unbrotli")
           : str_eq(format, STR("zstd")) ? STR("unzstd")
                                         : STR("gunzip");
}

enum rc kv_code__in_the_clear(struct kv_session *s, struct kv_url *u, struct kv_item *item)
{
    struct str encoding = http_packed_get(obj_get(item->oc, OA_HTTP), STR("Content-Encoding"));
    struct filtering ask = {.side = FILTER_VDP, .from = filtering__format(encoding)};
    bool is_packed = (obj_flags(item->oc) & OBJ_ENCODED) != 0 && item->len > 0;
    if (!is_packed || encoding.ptr == NULL || !is_known(ask.from)) {
        return RC_OK;
    }
    struct plan plan;
    struct filter_notes notes = {.esi = NULL};
    struct chain *chain = NULL;
    struct heap_body out = {.most = param(s->engine->conf.params, filter_buffer_max)};
    filtering__want(&ask, unpacker_of(ask.from));
    enum rc rc = filtering__plan(kv__wrk(s), &ask, &u->arena, &plan);
    if (rc != RC_OK) {
        return rc;
    }
    struct filter_env env = filtering__env(kv__wrk(s), &u->arena, &notes, &u->req.log);
    rc = chain_new(&plan, 0, plan.steps_count, &env, &chain, NULL);
    if (rc == RC_OK) {
        rc = unpack(item, chain, &out);
        chain_free(&chain);
    }
    if (rc != RC_OK) {
        free(out.ptr);
        return rc == RC_TOO_LONG ? kv__refuse(s, rc, "its body is too long to be unpacked") : rc;
    }
    item->mem = out.ptr == NULL ? xmalloc(1) : out.ptr;
    item->body = item->mem;
    item->len = out.len;
    return RC_OK;
}
