/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* RFC 9111 section 4.3.5: what the answer to a HEAD says of a stored response to GET.
 *
 * A HEAD that the policy looks up is answered from the cache, or fetched as GET; one that it passes
 * brings the head that a GET would get now.  If that is another response than the one we have, ours
 * ends here.  If it is the same it renews ours, as a 304 would: a core of its own takes the place
 * of the old one, with the fields and times of both, and the old one's body.  No backend is asked;
 * the policy is, about the times.
 *
 * The head is compared as it came, before the policy changed it for its client.  A request that
 * forbids storing what answers it (no-store, Authorization) can end what is stored, not renew it.
 */
#include "engine/fetch_priv.h"
#include "engine/rfc9111.h"

void rfc9111__note_head(struct fetch *f)
{
    f->head_answer = NULL;
    if (!f->is_rfc9111 || f->kind != FETCH_PASS || f->bereq->method_id != HTTP_M_HEAD ||
        f->beresp->status != 200) {
        return;
    }
    struct http *h = http_new(&f->arena, f->beresp->count);
    if (h != NULL && http_copy(h, f->beresp, HTTP_COPY_ALL) == RC_OK) {
        f->head_answer = h;
    }
}

static enum obj_use never(void *arg, const struct objcore *oc, uint64_t now_ns)
{
    (void)arg;
    (void)oc;
    (void)now_ns;
    return OBJ_UNUSABLE;
}

/* A busy core that will replace oc; NULL: something newer will, or did.  What is banned goes. */
static YIELDS struct objcore *begin_to_replace(struct request *req, const struct objcore *oc)
{
    struct lookup_req want = {
        .digest = req->digest,
        .match = rfc9111__match,
        .match_arg = req,
        .use = never,
        .http = req->http,
        .ignore_busy = true,
    };
    struct lookup found = {0};
    if (cache_lookup(req->engine->conf.cache, &want, &found) != RC_OK) {
        return NULL;
    }
    if (found.oc != NULL) {
        obj_release(&found.oc);
    }
    if (found.busy != NULL && obj_replaces(found.busy) != oc) {
        obj_fail(found.busy);
        obj_release(&found.busy);
    }
    return found.busy;
}

static MUST_USE enum rc copy_exchange(struct fetch *f, const struct fetch *head)
{
    enum rc rc = http_copy(f->bereq, head->bereq, HTTP_COPY_ALL);
    if (rc == RC_OK) {
        rc = http_set_method(f->bereq, STR("GET"));
    }
    return rc == RC_OK ? http_copy(f->beresp, head->head_answer, HTTP_COPY_ALL) : rc;
}

static YIELDS MUST_USE enum rc renew(struct request *req, const struct fetch *head,
                                     struct objcore *oc)
{
    struct objcore *busy = begin_to_replace(req, oc);
    if (busy == NULL) {
        return RC_STALE;
    }
    struct fetch *f = fetch__new(req->engine, req, FETCH_BACKGROUND, &busy);
    f->t_first_ns = f->t_prev_ns = head->t_first_ns;
    f->old = oc;
    obj_ref(oc);
    fetch__begin(f);
    enum rc rc = copy_exchange(f, head);
    if (rc == RC_OK) {
        rc = fetch__renew(f);
    }
    if (rc != RC_OK) {
        fetch__fail_busy(f);
    } else {
        rc = fetch__publish(f);
    }
    if (rc == RC_OK) {
        fetch__store(f);
    }
    fetch__free(&f);
    return rc;
}

static void invalidate(struct request *req, struct objcore *oc)
{
    obj_kill(req->engine->conf.cache, oc);
    engine__wrk(req->engine)->objm.rfc9111_invalidated++;
    vslb_str(&req->log, SLT_Debug, STR("OBJM invalidated by HEAD"));
}

static bool may_store(const struct request *req)
{
    struct http_9111_wish wish;
    http_9111_wish(req->http, &wish);
    return !wish.no_store && !http_has(req->http, HDR_AUTHORIZATION);
}

enum verdict { NOTHING, SAME, OTHER };

static enum verdict compare(struct request *req, const struct http *head, const struct objcore *oc)
{
    size_t mark = arena_mark(req->arena);
    enum verdict verdict = NOTHING;
    struct http *stored =
        http_new(req->arena, (unsigned)param(req->engine->conf.params, http_max_hdr) + 8);
    if (stored != NULL && http_unpack(stored, obj_get(oc, OA_HTTP)) == RC_OK &&
        stored->status == 200 && http_9111_head_concerns(stored, head)) {
        verdict = http_9111_head_agrees(stored, obj_len(oc), head) ? SAME : OTHER;
    }
    arena_rewind(req->arena, mark);
    return verdict;
}

void rfc9111__compare_head(struct request *req, const struct fetch *f)
{
    struct lookup_req want = {.digest = req->digest, .match = rfc9111__match, .match_arg = req};
    struct objcore *oc = cache_peek(req->engine->conf.cache, &want);
    if (oc == NULL) {
        return;
    }
    enum verdict verdict = compare(req, f->head_answer, oc);
    if (verdict == OTHER) {
        invalidate(req, oc);
    } else if (verdict == SAME && may_store(req)) {
        enum rc rc = renew(req, f, oc);
        if (rc == RC_OK) {
            engine__wrk(req->engine)->objm.rfc9111_freshened++;
            vslb_str(&req->log, SLT_Debug, STR("OBJM freshened by HEAD"));
        } else if (rc == RC_REFUSED) {
            invalidate(req, oc);
        }
    }
    obj_release(&oc);
}
