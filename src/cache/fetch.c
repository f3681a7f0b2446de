/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Phases 2 to 5 of an object's life (cache_priv.h): what a fetch does to its busy core.
 *
 * Everything that only the fetch needs is in the boc: attributes until their size is known, the
 * interim space, those who wait.  When the object stands alone the core lets go of the boc, and
 * readers that looked at it before are through with it a grace period later.
 *
 * Replacement is in an order that no reader and no crash can see through: the new core stands
 * before the old one from phase 3 on; its record goes live; only then the old one dies in the store
 * and leaves the array.  A purge that comes in between takes the new core out of the array and
 * kills it in the store, live or not: stv_dead before stv_live means that it never goes live. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "base/mutex.h"
#include "cache/oa.h"

/* ---- the boc ---- */

struct objcore *boc__new_busy(struct objhead *head, struct replaced *take_replaced)
{
    struct boc *boc = xcalloc(1, sizeof *boc);
    boc->magic = BOC_MAGIC;
    boc->epoch = head->epoch;
    list_init(&boc->link);
    list_init(&boc->parked);
    mutex_init(&boc->lock);
    if (take_replaced != NULL) {
        boc->replaced = *take_replaced;
        *take_replaced = (struct replaced){.v = NULL};
    }
    atomic_store_explicit(&boc->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&boc->state, BOC_FETCHING, memory_order_relaxed);
    struct objcore *oc = core__new(head);
    if (head != &head->cache->nowhere) {
        bans__attach(&head->cache->bans, oc);
    }
    atomic_store_explicit(&oc->boc, boc, memory_order_release);
    return oc;
}

void boc__ref(struct boc *boc)
{
    uint32_t before = atomic_fetch_add_explicit(&boc->refs, 1, memory_order_relaxed);
    CHECK(before > 0);
}

void boc__drop_attrs(struct boc *boc)
{
    for (size_t i = 0; i < OA__COUNT; i++) {
        union {
            const char *text;
            void *owned; /* a copy that obj_set made */
        } at = {.text = boc->attrs[i].ptr};
        free(at.owned);
        boc->attrs[i] = STR_NONE;
    }
    boc->attr_bytes = 0;
}

void boc__release(struct boc *boc)
{
    CHECK_OBJ(boc, BOC_MAGIC);
    if (atomic_fetch_sub_explicit(&boc->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    CHECK(!list_is_linked(&boc->link));
    CHECK(list_is_empty(&boc->parked));
    CHECK(boc->replaced.v == NULL);
    follow__free_groups(boc);
    relay__free(boc);
    union {
        const char *text;
        void *owned;
    } prediction = {.text = boc->prediction.ptr};
    free(prediction.owned);
    boc__drop_attrs(boc);
    mutex_fini(&boc->lock);
    boc->magic = 0;
    free(boc);
}

static void drop_core_ref(struct rcu_head *rcu)
{
    RCU_AFTER_READERS();
    boc__release(CONTAINER_OF(rcu, struct boc, rcu));
}

struct boc *boc__of_busy(const struct objcore *busy)
{
    CHECK_OBJ(busy, CORE_MAGIC);
    struct boc *boc = core__boc(busy);
    CHECK_OBJ(boc, BOC_MAGIC);
    return boc;
}

static struct boc *boc_in(const struct objcore *busy, enum boc_state state)
{
    struct boc *boc = boc__of_busy(busy);
    CHECK(boc__state(boc) == state);
    return boc;
}

/* A body may grow before others may have it. */
static struct boc *boc_growing(const struct objcore *busy)
{
    struct boc *boc = boc__of_busy(busy);
    CHECK(boc__state(boc) == BOC_READY || boc__state(boc) == BOC_FETCHING);
    return boc;
}

static void boc_advance(struct boc *boc, enum boc_state state)
{
    atomic_store_explicit(&boc->state, state, memory_order_release);
}

/* The fetch is over: nobody refreshes these any more.  Under the stripe. */
static struct replaced take_replaced(struct boc *boc)
{
    struct replaced replaced = boc->replaced;
    boc->replaced = (struct replaced){.v = NULL};
    for (size_t i = 0; i < replaced.count; i++) {
        if (replaced.v[i].is_mine) {
            atomic_store_explicit(&replaced.v[i].oc->is_refreshing, false, memory_order_relaxed);
        }
    }
    return replaced;
}

/* Without locks. */
static void release_replaced(struct replaced *replaced)
{
    for (size_t i = 0; i < replaced->count; i++) {
        obj_release(&replaced->v[i].oc);
    }
    XFREE(replaced->v);
    replaced->count = 0;
}

struct objcore *obj_replaces(const struct objcore *busy)
{
    const struct boc *boc = boc__of_busy(busy);
    return boc->replaced.count == 0 ? NULL : boc->replaced.v[0].oc;
}

/* ---- phase 2: collecting ---- */

enum rc obj_store(struct objcore *busy, struct stevedore *const *list, uint64_t body_len)
{
    struct boc *boc = boc_in(busy, BOC_FETCHING);
    CHECK(busy->stv == NULL);
    uint64_t estimate = body_len == UINT64_MAX ? 0 : body_len;
    if (__builtin_add_overflow(estimate, boc->attr_bytes, &estimate)) {
        return RC_NOSPACE;
    }
    for (; *list != NULL; list++) {
        if (stv_newobj(*list, body_len == UINT64_MAX ? 0 : estimate, &busy->stv) == RC_OK) {
            CHECK(busy->stv != NULL);
            boc->announced = body_len;
            return RC_OK;
        }
        busy->stv = NULL;
    }
    return RC_NOSPACE;
}

enum rc obj_set(struct objcore *busy, enum obj_attr attr, struct str value)
{
    bool is_late_kind = attr == OA_GZIPBITS || attr == OA_ESI;
    struct boc *boc = is_late_kind ? boc_growing(busy) : boc_in(busy, BOC_FETCHING);
    CHECK(attr > 0 && attr < OA__COUNT);
    CHECK(attr != OA_FLAGS);
    CHECK((boc->early_attrs >> attr & 1) == 0);
    CHECK(value.ptr != NULL);
    size_t others = boc->attr_bytes - boc->attrs[attr].len;
    if (value.len > OA_BYTES_MAX - others) {
        return RC_TOO_LONG;
    }
    char *copy = xmalloc(value.len + 1);
    memcpy(copy, value.ptr, value.len);
    union {
        const char *text;
        void *owned;
    } old = {.text = boc->attrs[attr].ptr};
    free(old.owned);
    boc->attrs[attr] = (struct str){copy, value.len};
    boc->attr_bytes = others + value.len;
    return RC_OK;
}

void obj_set_times(struct objcore *busy, const struct obj_times *times)
{
    (void)boc_in(busy, BOC_FETCHING);
    busy->times = *times;
}

void obj_set_flags(struct objcore *busy, unsigned obj_flags)
{
    (void)boc_in(busy, BOC_FETCHING);
    CHECK((obj_flags & CORE__FLAGS) == 0);
    busy->flags = (uint16_t)obj_flags;
}

void obj_hide(struct objcore *busy, bool ends_others)
{
    struct boc *boc = boc_in(busy, BOC_FETCHING);
    boc->is_hidden = true;
    boc->ends_others = ends_others;
}

void obj_hold_back(struct objcore *busy)
{
    boc_in(busy, BOC_FETCHING)->holds_back = true;
}

/* ---- phase 3 ---- */

bool obj_ready(struct objcore *busy)
{
    struct boc *boc = boc_in(busy, BOC_FETCHING);
    struct objhead *head = busy->head;
    struct cache *cache = head->cache;
    struct stripe *stripe = head__stripe(head);
    struct wakes wakes = {.first = NULL};
    struct objcore *left = NULL;
    for (size_t i = 0; i < OA__COUNT; i++) {
        boc->early_attrs |= boc->attrs[i].ptr != NULL ? 1u << i : 0;
    }
    stripe__lock(stripe);
    boc_advance(boc, BOC_READY);
    list_remove(&boc->link);
    bool is_current = boc->epoch == head->epoch && !bans__has_missed(&cache->bans, busy);
    if (is_current && !boc->is_hidden) {
        left = head__rebuild(head, busy, HEAD_FRONT);
        boc->was_inside = true;
    }
    park__answer_all(boc, busy, boc->holds_back ? &boc->held : &wakes);
    stripe__unlock(stripe);
    (void)core__let_go(cache, left);
    park__wake(cache, &wakes);
    if (!is_current && head != &cache->nowhere) {
        count(&cache->stale_fetches, 1);
    }
    return is_current;
}

/* ---- phase 4 ---- */

static void end_space(struct objcore *busy, struct boc *boc)
{
    if (boc->space != NULL) {
        if (boc->relay == NULL) {
            stv_commit(busy->stv, boc->space_used);
        }
        boc->space = NULL;
    }
}

/* The next run of storage, or of the window of a relayed body. */
YIELDS static enum rc next_space(struct objcore *busy, struct boc *boc, uint64_t want)
{
    char *space = NULL;
    size_t bytes = 0;
    enum rc rc;
    if (boc->relay != NULL) {
        rc = relay__space(busy, boc, &space, &bytes);
    } else {
        void *ptr = NULL;
        CHECK(busy->stv != NULL);
        rc = stv_alloc(busy->stv, want, &ptr, &bytes);
        space = ptr;
    }
    if (rc != RC_OK) {
        return rc;
    }
    CHECK(space != NULL);
    CHECK(bytes > 0);
    boc->space = space;
    boc->space_bytes = bytes;
    boc->space_used = 0;
    return RC_OK;
}

enum rc obj_space(struct objcore *busy, uint64_t want, void **ptr, size_t *len)
{
    struct boc *boc = boc_growing(busy);
    CHECK(want > 0);
    if (boc->space != NULL && boc->space_used == boc->space_bytes) {
        end_space(busy, boc);
    }
    if (boc->space == NULL) {
        enum rc rc = next_space(busy, boc, want);
        if (rc != RC_OK) {
            return rc;
        }
    }
    size_t left = boc->space_bytes - boc->space_used;
    *ptr = boc->space + boc->space_used;
    *len = left > want ? (size_t)want : left;
    return RC_OK;
}

void obj_relay(struct objcore *busy, size_t window_bytes)
{
    struct boc *boc = boc_in(busy, BOC_READY);
    struct cache *cache = busy->head->cache;
    struct stripe *stripe = head__stripe(busy->head);
    CHECK(boc->relay == NULL);
    CHECK(window_bytes > 0);
    end_space(busy, boc);
    stripe__lock(stripe);
    struct objcore *left = head__take_out(busy);
    /* Not one of those that a purge met. */
    boc->was_inside = false;
    stripe__unlock(stripe);
    (void)core__let_go(cache, left);
    relay__begin(boc, window_bytes);
    count(&cache->relayed, 1);
}

void obj_grown(struct objcore *busy, size_t bytes)
{
    struct boc *boc = boc_growing(busy);
    CHECK(boc->space != NULL);
    CHECK(bytes <= boc->space_bytes - boc->space_used);
    if (bytes == 0) {
        return;
    }
    boc->space_used += bytes;
    /* Release: who reads the number may read the bytes. */
    atomic_fetch_add_explicit(&boc->written, bytes, memory_order_release);
    follow__progress(boc);
}

/* ---- phase 5 ---- */

/* All that takes time; go_live is the rest. */
YIELDS static enum rc write_final(struct objcore *oc, const struct boc *boc)
{
    char flags[4];
    struct sb flags_sb = sb_of(flags, sizeof flags);
    put_u32(&flags_sb, obj_flags(oc));
    struct str attrs[OA__COUNT];
    memcpy(attrs, boc->attrs, sizeof attrs);
    attrs[OA_FLAGS] = sb_str(&flags_sb);
    size_t bytes = oa_size(attrs);
    char *block = xmalloc(bytes);
    struct sb sb = sb_of(block, bytes);
    oa_encode(attrs, &sb);

    const struct obj_times times = core__times(oc);
    const struct ban *ban = core__ban(oc); /* NULL: purged meanwhile, it will not go live */
    struct stv_record record = {
        .digest = oc->head->digest,
        .ban_seq = ban == NULL ? 0 : ban->seq,
        .t_origin_ns = times.t_origin_ns,
        .ttl_ns = times.ttl_ns,
        .grace_ns = times.grace_ns,
        .keep_ns = times.keep_ns,
    };
    stv_set_owner(oc->stv, oc);
    enum rc rc = stv_prepare(oc->stv, sb_str(&sb), &record);
    free(block);
    return rc;
}

enum rc core__go_live(struct objcore *oc)
{
    struct stevedore *revisions = oc->head->cache->revisions;
    oc->revision = stv_revision_next(revisions != NULL ? revisions : stv_of(oc->stv));
    return stv_live(oc->stv, oc->revision);
}

/* Marks what is older than oc and answers the same requests; or oc itself, if while it was fetched
 * a newer one was finished.  So however many fetch the same at once, one is left. */
static void mark_older(const struct objhead *head, struct objcore *oc, const struct boc *boc)
{
    for (size_t i = 0; i < boc->replaced.count; i++) {
        struct objcore *old = boc->replaced.v[i].oc;
        if (old->place == CORE_INSIDE) {
            old->place = CORE_LEAVING;
        }
    }
    const struct core_set cores = head__cores(head);
    bool is_older = false;
    for (size_t i = 0; i < cores.count; i++) {
        struct objcore *other = core_at(&cores, i);
        if (other == oc) {
            is_older = true;
            continue;
        }
        bool is_stored = atomic_load_explicit(&other->is_stored, memory_order_acquire);
        if (is_stored && other->place == CORE_INSIDE && core__same_variant(oc, other)) {
            (is_older ? other : oc)->place = CORE_LEAVING;
        }
    }
}

static bool is_inside(const struct objcore *oc, struct stripe *stripe)
{
    stripe__lock(stripe);
    bool result = oc->place == CORE_INSIDE;
    stripe__unlock(stripe);
    return result;
}

/* A newer one that nobody may find takes nobody's place: what it replaces just goes. */
static struct objcore *end_replaced(struct objhead *head, const struct boc *boc)
{
    for (size_t i = 0; i < boc->replaced.count; i++) {
        struct objcore *old = boc->replaced.v[i].oc;
        if (old->place == CORE_INSIDE) {
            old->place = CORE_LEAVING;
        }
    }
    return head__rebuild(head, NULL, HEAD_FRONT);
}

/* Makes the record live; or rc says why it cannot be.  True: the object stands alone now. */
static bool settle(struct objcore *oc, struct boc *boc, enum rc rc)
{
    struct objhead *head = oc->head;
    struct stripe *stripe = head__stripe(head);
    struct objcore *left = NULL;
    bool is_alone = false;
    stripe__lock(stripe);
    if (rc == RC_OK && oc->place == CORE_INSIDE) {
        /* Under the lock, so that revisions ascend in the order in which others see them come. */
        rc = core__go_live(oc);
        CHECK(rc == RC_OK); /* it dies when it leaves, under this lock */
    }
    if (rc != RC_OK) {
        left = head__take_out(oc);
    } else if (oc->place == CORE_INSIDE) {
        is_alone = true;
        mark_older(head, oc, boc);
        atomic_store_explicit(&oc->is_stored, true, memory_order_release);
        if (boc->was_retimed) {
            core__record_times(oc);
        }
        if (oc->place == CORE_INSIDE) {
            expiry__insert(head->cache, oc);
        }
        left = head__rebuild(head, NULL, HEAD_FRONT);
    }
    if (rc == RC_OK && boc->is_hidden && boc->ends_others && boc->epoch == head->epoch) {
        left = end_replaced(head, boc);
    }
    bool is_stale = rc == RC_OK && !is_alone && boc->was_inside;
    struct replaced replaced = take_replaced(boc);
    boc_advance(boc, BOC_FINISHED);
    stripe__unlock(stripe);
    count(&head->cache->stale_fetches, is_stale);
    if (is_alone) {
        tomb__replaced(oc);
    }
    (void)core__let_go(head->cache, left);
    release_replaced(&replaced);
    return is_alone;
}

enum rc obj_finish(struct objcore *busy)
{
    struct boc *boc = boc_in(busy, BOC_READY);
    struct objhead *head = busy->head;
    end_space(busy, boc);
    enum rc rc = RC_OK;
    if (is_inside(busy, head__stripe(head))) {
        /* If it is purged meanwhile it never goes live. */
        rc = busy->stv == NULL ? RC_NOSPACE : write_final(busy, boc);
    }
    relay__end(boc);
    bool is_alone = settle(busy, boc, rc);
    park__wake(head->cache, &boc->held);
    follow__progress(boc);
    if (is_alone) {
        atomic_store_explicit(&busy->boc, NULL, memory_order_release);
        cache__defer(&boc->rcu, drop_core_ref);
    }
    return rc;
}

/* ---- at any point ---- */

unsigned obj_failed_before(const struct objcore *busy)
{
    return boc__of_busy(busy)->failed_before;
}

static void fail(struct objcore *busy, bool lets_others_try)
{
    struct boc *boc = boc__of_busy(busy);
    CHECK(boc__state(boc) == BOC_FETCHING || boc__state(boc) == BOC_READY);
    struct objhead *head = busy->head;
    struct stripe *stripe = head__stripe(head);
    struct wakes wakes = {.first = NULL};
    relay__end(boc);
    stripe__lock(stripe);
    boc_advance(boc, BOC_FAILED);
    list_remove(&boc->link);
    struct objcore *left = head__take_out(busy);
    if (lets_others_try) {
        park__promote(head, boc, &wakes);
    } else {
        park__refuse_all(boc, &wakes);
    }
    struct replaced replaced = take_replaced(boc);
    stripe__unlock(stripe);
    (void)core__let_go(head->cache, left);
    release_replaced(&replaced);
    park__wake(head->cache, &wakes);
    park__wake(head->cache, &boc->held);
    follow__progress(boc);
}

void obj_fail(struct objcore *busy)
{
    fail(busy, true);
}

void obj_fail_all(struct objcore *busy)
{
    fail(busy, false);
}
