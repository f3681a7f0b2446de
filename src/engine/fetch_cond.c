/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Conditional fetches (RFC 9110 section 13, RFC 9111 section 4.3): the backend is asked whether the
 * object that we still have has changed.
 *
 * What will be replaced and has a validator (it is past its TTL, in grace or keep) gives the fetch
 * If-Modified-Since and If-None-Match.  A 304 then brings the new head: its fields take the place
 * of those of the same name, all others stay, and so do the status and everything about the body.
 * The body is the old one's: the new object takes over its file, or copies it when it is small
 * (fetch__publish).  The old object stays what it is until the new one replaces it, so a purge in
 * between, which moves the epoch, wins as over any other fetch. */
#include "engine/fetch_priv.h"
#include "engine/filtering.h"

static struct http *old_head(struct fetch *f, const struct objcore *old)
{
    unsigned fields = (unsigned)param(f->engine->conf.params, http_max_hdr) + 8;
    struct http *h = http_new(&f->arena, fields);
    if (h == NULL || http_unpack(h, obj_get(old, OA_HTTP)) != RC_OK) {
        return NULL;
    }
    return h;
}

enum rc fetch__ask_conditionally(struct fetch *f)
{
    struct objcore *old = f->busy == NULL ? NULL : obj_replaces(f->busy);
    if (old == NULL || f->req->hash_always_miss || !obj_is_complete(old) || obj_len(old) == 0 ||
        (obj_flags(old) & (OBJ_HITMISS | OBJ_HITPASS)) != 0) {
        return RC_OK;
    }
    size_t mark = arena_mark(&f->arena);
    const struct http *h = old_head(f, old);
    struct str modified = STR_NONE;
    struct str etag = STR_NONE;
    if (h != NULL && h->status == 200) {
        modified = http_get(h, HDR_LAST_MODIFIED);
        etag = http_get(h, HDR_ETAG);
    }
    arena_rewind(&f->arena, mark);
    if (modified.ptr == NULL && etag.ptr == NULL) {
        return RC_OK;
    }
    /* The values lie in the old object, which stays as long as we hold it. */
    f->old = old;
    obj_ref(old);
    enum rc rc = RC_OK;
    if (modified.ptr != NULL) {
        rc = http_set(f->bereq, HDR_IF_MODIFIED_SINCE, modified);
    }
    if (rc == RC_OK && etag.ptr != NULL) {
        rc = http_set(f->bereq, HDR_IF_NONE_MATCH, etag);
    }
    return rc;
}

static void unset_logged(struct fetch *f, enum http_hdr_id id)
{
    const struct http_hdr *hdr;
    while ((hdr = http_find(f->beresp, id)) != NULL) {
        vslb_header(&f->log, SLT_BerespUnset, hdr->name, hdr->value);
        http_unset(f->beresp, id);
    }
}

/* What the 304 does not say is as it was. */
static MUST_USE enum rc merge_fields(struct fetch *f, const struct http *old)
{
    struct http *h = f->beresp;
    unsigned said = h->count;
    for (unsigned i = 0; i < old->count; i++) {
        const struct http_hdr *hdr = &old->hdr[i];
        bool is_said = false;
        for (unsigned k = 0; k < said && !is_said; k++) {
            is_said = str_eq_nocase(h->hdr[k].name, hdr->name);
        }
        if (is_said) {
            continue;
        }
        enum rc rc = http_add_name(h, hdr->name, hdr->value);
        if (rc != RC_OK) {
            return rc;
        }
        log__field(&f->log, LOG_BERESP, &h->hdr[h->count - 1]);
    }
    return RC_OK;
}

enum rc fetch__merge_304(struct fetch *f)
{
    CHECK(f->old != NULL);
    const struct http *old = old_head(f, f->old);
    if (old == NULL) {
        return RC_LIMIT;
    }
    /* The backend's tag is that of what it would have sent. */
    if (obj_get(f->old, OA_CODED).ptr != NULL &&
        filtering__weaken(f->beresp, &f->arena, &f->log, LOG_BERESP) != RC_OK) {
        return RC_LIMIT;
    }
    unset_logged(f, HDR_CONTENT_ENCODING);
    unset_logged(f, HDR_CONTENT_LENGTH);
    f->beresp->status = old->status;
    f->beresp->reason = old->reason;
    f->beresp->proto = old->proto;
    vslb_str(&f->log, SLT_BerespProtocol, old->proto);
    vslb_printf(&f->log, SLT_BerespStatus, "%u", old->status);
    vslb_str(&f->log, SLT_BerespReason, old->reason);
    f->was_304 = true;
    return merge_fields(f, old);
}

enum rc fetch__check_old(struct fetch *f)
{
    enum rc rc = stv_verify(obj_stv(f->old));
    if (rc != RC_OK) {
        vslb_str(&f->log, SLT_FetchError, STR("Template object failed"));
        obj_kill(f->engine->conf.cache, f->old);
    }
    return rc;
}

enum rc fetch__old_body(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    struct stv_lease lease;
    enum rc rc = obj_next(f->old, f->body_got, true, NEVER, &lease);
    if (rc != RC_OK) {
        return rc;
    }
    *got = lease.len < bytes ? lease.len : bytes;
    memcpy(dst, lease.ptr, *got);
    stv_rel(&lease);
    f->body_got += *got;
    return RC_OK;
}
