/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Lookup.  First without locks: who finds a fresh object, a mark that says pass, or a stale object
 * that somebody refreshes already, takes a reference and goes.  Everybody else has to change
 * something, so looks again under the stripe and becomes one of
 *
 *   the one who fetches       nothing will do and nobody fetches
 *   the one who refreshes     what will do is in grace, and nobody refreshes it
 *   one more who fetches      a mark says hit-for-miss, or the request waits for nobody
 *   one who is parked         somebody fetches
 *
 * Finding, matching and taking the reference happen with no suspension in between: what is found
 * stays only until the fiber suspends. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"

enum { OBJ_MARKS = OBJ_HITMISS | OBJ_HITPASS };

uint64_t cache__real_now(void)
{
    const struct loop *loop = loop_self();
    return loop == NULL ? clock_real_ns() : loop_real_ns(loop);
}

static bool matches(const struct lookup_req *req, const struct objcore *oc)
{
    return req->match == NULL || req->match(req->match_arg, oc);
}

static uint64_t now_of(const struct lookup_req *req)
{
    return req->now_ns != 0 ? req->now_ns : cache__real_now();
}

static enum obj_use use_by_times(const struct obj_times *times, uint64_t now_ns)
{
    if (now_ns < times__fresh_until(times)) {
        return OBJ_FRESH;
    }
    return now_ns < times__stale_until(times) ? OBJ_STALE : OBJ_UNUSABLE;
}

/* What is too old only for this asker is not in its grace yet: nobody shall refresh it for others.
 */
static enum obj_use use_within(const struct lookup_bounds *bounds, const struct obj_times *own,
                               uint64_t now_ns)
{
    struct obj_times times = *own;
    times.ttl_ns = times.ttl_ns < bounds->ttl_ns ? times.ttl_ns : bounds->ttl_ns;
    times.grace_ns = times.grace_ns < bounds->grace_ns ? times.grace_ns : bounds->grace_ns;
    enum obj_use use = use_by_times(&times, now_ns);
    return use == OBJ_STALE && now_ns < times__fresh_until(own) ? OBJ_UNUSABLE : use;
}

static enum obj_use use_of(const struct lookup_req *req, const struct objcore *oc, uint64_t now_ns)
{
    if (LIKELY(req->use == NULL)) {
        const struct obj_times times = core__times(oc);
        return LIKELY(req->bounds == NULL) ? use_by_times(&times, now_ns)
                                           : use_within(req->bounds, &times, now_ns);
    }
    return req->use(req->use_arg, oc, now_ns);
}

/* A mark past its TTL, but not past its grace and keep: what it said is still likely, so nobody is
 * made to wait for what most likely is not for him. */
static enum lookup_kind judge_mark(const struct objcore *oc, uint64_t now_ns)
{
    const struct obj_times times = core__times(oc);
    if (now_ns < times__fresh_until(&times)) {
        return oc->flags & OBJ_HITPASS ? LOOKUP_HITPASS : LOOKUP_HITMISS;
    }
    return now_ns < times__kept_until(&times) ? LOOKUP_HITMISS : LOOKUP_MISS;
}

/* What one core is to this request.  LOOKUP_MISS: nothing; *strangers counts what could be used if
 * it were of another variant. */
static enum lookup_kind judge(const struct lookup_req *req, const struct objcore *oc,
                              uint64_t now_ns, unsigned *strangers)
{
    if (UNLIKELY((oc->flags & OBJ_MARKS) != 0)) {
        return matches(req, oc) ? judge_mark(oc, now_ns) : LOOKUP_MISS;
    }
    enum obj_use use = use_of(req, oc, now_ns);
    if (use == OBJ_UNUSABLE) {
        return LOOKUP_MISS;
    }
    if (!matches(req, oc)) {
        ++*strangers;
        return LOOKUP_MISS;
    }
    return use == OBJ_STALE ? LOOKUP_STALE : LOOKUP_HIT;
}

/* Whether an older core could be better. */
static bool is_past(enum lookup_kind kind, const struct objcore *oc, uint64_t now_ns)
{
    if (kind != LOOKUP_HITMISS) {
        return kind == LOOKUP_STALE;
    }
    const struct obj_times times = core__times(oc);
    return now_ns >= times__fresh_until(&times);
}

/* The newest that is fresh, else the newest in grace, be it a mark.  Not referenced yet.  Or
 * *banned, referenced: it has to go before anything can be told. */
static enum lookup_kind scan(const struct objhead *head, const struct lookup_req *req,
                             struct objcore **found, struct objcore **banned, unsigned *strangers)
{
    struct bans *bans = &head->cache->bans;
    const struct ban *newest = bans__newest(bans);
    const struct core_set cores = head__cores(head);
    uint64_t now_ns = now_of(req);
    *strangers = 0;
    enum lookup_kind best = LOOKUP_MISS;
    for (size_t i = 0; i < cores.count; i++) {
        struct objcore *oc = core_at(&cores, i);
        if (UNLIKELY(core__ban(oc) != newest) && matches(req, oc) &&
            bans__test(bans, oc, req->http)) {
            core__ref(oc);
            *banned = oc;
            return LOOKUP_MISS;
        }
        enum lookup_kind kind = judge(req, oc, now_ns, strangers);
        bool is_last_resort = kind != LOOKUP_MISS && is_past(kind, oc, now_ns);
        if (kind == LOOKUP_MISS || (is_last_resort && best != LOOKUP_MISS)) {
            continue;
        }
        *found = oc;
        best = kind;
        if (!is_last_resort) {
            break;
        }
    }
    return best;
}

static bool is_refreshing(const struct objcore *oc)
{
    return atomic_load_explicit(&oc->is_refreshing, memory_order_relaxed);
}

/* So that nothing that it wants to read goes by, should the body outgrow its store. */
static void note_reader(const struct objcore *oc)
{
    struct boc *boc = core__boc(oc);
    if (boc != NULL) {
        relay__enter(boc, 0);
    }
}

/* Gives the caller a reference to what was found. */
static void use(struct lookup *out, enum lookup_kind kind, struct objcore *oc)
{
    core__ref(oc);
    out->kind = kind;
    out->oc = oc;
    if (kind != LOOKUP_HIT && kind != LOOKUP_STALE) {
        return;
    }
    atomic_fetch_add_explicit(&oc->hits, 1, memory_order_relaxed);
    if (LIKELY(atomic_load_explicit(&oc->is_stored, memory_order_acquire))) {
        stv_touch(oc->stv);
    } else {
        note_reader(oc);
    }
}

/* Whether a lookup without locks was enough. */
static bool look_fast(struct cache *cache, const struct lookup_req *req, struct lookup *out,
                      struct objcore **banned)
{
    if (req->always_miss) {
        return false;
    }
    const struct objhead *head = table__find(cache__stripe(cache, &req->digest), &req->digest);
    if (head == NULL) {
        return false;
    }
    struct objcore *oc = NULL;
    enum lookup_kind kind = scan(head, req, &oc, banned, &out->strangers);
    bool is_enough =
        kind == LOOKUP_HIT || kind == LOOKUP_HITPASS || (kind == LOOKUP_STALE && is_refreshing(oc));
    if (is_enough) {
        use(out, kind, oc);
    }
    return is_enough;
}

/* ---- under the stripe ---- */

/* A busy core for this request, which replaces all that match it, usable or not. */
static struct objcore *new_busy(struct objhead *head, const struct lookup_req *req)
{
    const struct core_set cores = head__cores(head);
    size_t n = cores.count;
    struct replaced replaced = {.v = n == 0 ? NULL : xcalloc(n, sizeof *replaced.v)};
    for (size_t i = 0; i < n; i++) {
        struct objcore *oc = core_at(&cores, i);
        /* One that is being fetched is newer than what this fetch will bring, or as new. */
        if (!atomic_load_explicit(&oc->is_stored, memory_order_acquire) || !matches(req, oc)) {
            continue;
        }
        core__ref(oc);
        bool was_set = atomic_exchange_explicit(&oc->is_refreshing, true, memory_order_relaxed);
        replaced.v[replaced.count++] = (struct replaced_core){.oc = oc, .is_mine = !was_set};
    }
    return boc__new_busy(head, &replaced);
}

/* By what the fetch of this request will likely vary: as the newest object does. */
static void predict(const struct objhead *head, const struct lookup_req *req, struct boc *boc)
{
    const struct core_set cores = head__cores(head);
    for (size_t i = 0; req->predict != NULL && i < cores.count; i++) {
        struct objcore *oc = core_at(&cores, i);
        if (!atomic_load_explicit(&oc->is_stored, memory_order_acquire)) {
            continue;
        }
        struct str text = req->predict(req->match_arg, oc);
        if (text.len > 0) {
            boc->prediction = (struct str){str_dup(text), text.len};
            return;
        }
    }
}

/* Others may park behind this fetch. */
static void let_join(struct objhead *head, const struct lookup_req *req, const struct objcore *busy)
{
    struct boc *boc = boc__of_busy(busy);
    predict(head, req, boc);
    list_push_back(&head->busies, &boc->link);
}

/* The fetch to wait for: the oldest that may well bring what this request asks for. */
static struct boc *joinable(struct objhead *head, const struct lookup_req *req)
{
    for (struct list *at = head->busies.next; at != &head->busies; at = at->next) {
        struct boc *boc = CONTAINER_OF(at, struct boc, link);
        if (boc->prediction.len == 0 || req->fits == NULL ||
            req->fits(req->match_arg, boc->prediction)) {
            return boc;
        }
    }
    return NULL;
}

/* Nobody is made to wait for what each has to ask for himself. */
static bool is_waiting_vain(const struct objhead *head, const struct lookup_req *req)
{
    const struct core_set cores = head__cores(head);
    uint64_t now_ns = cache__real_now();
    for (size_t i = 0; i < cores.count; i++) {
        const struct objcore *oc = core_at(&cores, i);
        const struct obj_times times = core__times(oc);
        if ((oc->flags & OBJ_NEVER_FRESH) != 0 && now_ns < times__kept_until(&times) &&
            matches(req, oc)) {
            return true;
        }
    }
    return false;
}

/* Fills in *out, or returns the waiter to wait with; or *banned, which has to go first. */
static struct waiter *look_locked(struct objhead *head, const struct lookup_req *req, bool may_wait,
                                  struct lookup *out, struct objcore **banned)
{
    struct objcore *oc = NULL;
    enum lookup_kind kind = LOOKUP_MISS;
    if (!req->always_miss) {
        kind = scan(head, req, &oc, banned, &out->strangers);
        if (*banned != NULL) {
            return NULL;
        }
    }
    if (kind != LOOKUP_MISS) {
        use(out, kind, oc);
    }
    switch (kind) {
    case LOOKUP_HIT:
    case LOOKUP_HITPASS:
        return NULL;
    case LOOKUP_HITMISS:
        out->busy = new_busy(head, req);
        return NULL;
    case LOOKUP_STALE:
        if (!is_refreshing(oc)) {
            out->busy = new_busy(head, req);
            let_join(head, req, out->busy);
        }
        return NULL;
    case LOOKUP_MISS:
        break;
    }
    struct boc *boc = may_wait ? joinable(head, req) : NULL;
    if (boc != NULL && !is_waiting_vain(head, req)) {
        count(&head->cache->parked, 1);
        return park__enter(boc, head__stripe(head));
    }
    out->kind = LOOKUP_MISS;
    out->busy = new_busy(head, req);
    let_join(head, req, out->busy);
    return NULL;
}

static void kill_banned(const struct lookup_req *req, struct objcore **take_oc)
{
    if (core__kill(*take_oc) && req->banned != NULL) {
        req->banned(req->banned_arg, *take_oc);
    }
    obj_release(take_oc);
}

static struct waiter *look(struct cache *cache, const struct lookup_req *req, bool may_wait,
                           struct lookup *out)
{
    for (;;) {
        struct objcore *banned = NULL;
        struct waiter *waiter = NULL;
        if (look_fast(cache, req, out, &banned)) {
            return NULL;
        }
        if (LIKELY(banned == NULL)) {
            struct stripe *stripe = cache__stripe(cache, &req->digest);
            stripe__lock(stripe);
            waiter = look_locked(head__get(cache, &req->digest), req, may_wait, out, &banned);
            stripe__unlock(stripe);
        }
        if (LIKELY(banned == NULL)) {
            return waiter;
        }
        kill_banned(req, &banned);
    }
}

/* ---- after the wait ---- */

/* Whether what a fetch brought, for which this request waited, will do.  Takes *oc. */
static bool settle(const struct lookup_req *req, struct objcore **take_oc, struct lookup *out)
{
    struct objcore *oc = *take_oc;
    *take_oc = NULL;
    struct objhead *head = oc->head;
    struct bans *bans = &head->cache->bans;
    enum lookup_kind kind = judge(req, oc, now_of(req), &out->strangers);
    if (kind == LOOKUP_MISS || kind == LOOKUP_STALE) {
        obj_release(&oc);
        return false;
    }
    struct ban *own = core__ban(oc);
    /* It may be that it never went into the head, where the lurker looks: then completed bans count
     * too.  One that has left its head has no place among the bans any more (bans__test). */
    if (UNLIKELY(own != bans__newest(bans)) &&
        (bans__has_missed(bans, oc) || bans__test(bans, oc, req->http))) {
        kill_banned(req, &oc);
        return false;
    }
    use(out, kind, oc);
    obj_release(&oc);
    note_reader(out->oc);
    if (kind == LOOKUP_HITMISS) {
        struct stripe *stripe = head__stripe(head);
        stripe__lock(stripe);
        out->busy = new_busy(head, req);
        stripe__unlock(stripe);
    }
    return true;
}

enum rc cache_lookup(struct cache *cache, const struct lookup_req *req, struct lookup *out)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    *out = (struct lookup){.kind = LOOKUP_MISS};
    bool may_wait = !req->always_miss && !req->ignore_busy;
    for (;;) {
        struct waiter *waiter = NULL;
        NO_YIELD {
            waiter = look(cache, req, may_wait, out);
        }
        if (LIKELY(waiter == NULL)) {
            return RC_OK;
        }
        out->parked = true;
        struct objcore *oc = NULL;
        enum rc rc = park__wait(&waiter, req->deadline_ns, &oc, &out->busy);
        if (rc != RC_OK) {
            return rc;
        }
        if (out->busy != NULL) {
            out->kind = LOOKUP_MISS;
            return RC_OK;
        }
        bool will_do = false;
        NO_YIELD {
            /* What came for this very variant and is too old already: the next would be too, and
             * waiting for one after the other would make a queue of those who could all fetch. */
            unsigned ignored = 0;
            may_wait = !matches(req, oc) || judge(req, oc, now_of(req), &ignored) != LOOKUP_MISS;
            will_do = settle(req, &oc, out);
        }
        if (will_do) {
            return RC_OK;
        }
    }
}

static struct objcore *newest_stored(const struct objhead *head, const struct lookup_req *req)
{
    const struct core_set cores = head__cores(head);
    for (size_t i = 0; i < cores.count; i++) {
        struct objcore *oc = core_at(&cores, i);
        bool is_stored = atomic_load_explicit(&oc->is_stored, memory_order_acquire);
        if (is_stored && (oc->flags & OBJ_MARKS) == 0 && matches(req, oc)) {
            core__ref(oc);
            return oc;
        }
    }
    return NULL;
}

struct objcore *cache_peek(struct cache *cache, const struct lookup_req *req)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    struct objcore *found = NULL;
    NO_YIELD {
        const struct objhead *head = table__find(cache__stripe(cache, &req->digest), &req->digest);
        found = head == NULL ? NULL : newest_stored(head, req);
    }
    return found;
}

struct objcore *cache_private(struct cache *cache)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    struct objhead *head = &cache->nowhere;
    struct stripe *stripe = head__stripe(head);
    stripe__lock(stripe);
    struct objcore *busy = boc__new_busy(head, NULL);
    /* As if a purge had come already: it is never found. */
    boc__of_busy(busy)->epoch = head->epoch - 1;
    stripe__unlock(stripe);
    return busy;
}
