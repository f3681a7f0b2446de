/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A whole object takes the place of all that its head has (cache_swap.h).
 *
 *   put        body bytes into a place in a store that has no owner: nobody can find it
 *   prepare    attributes and record, all but the one store that makes it live
 *   exchange   under the stripe, with no suspension: compare; move the epoch, detach what is being
 *              fetched; draw the revision and go live; the others die in the store; the array is
 *              exchanged
 *
 * The new record is live before the old ones are dead, and says that it supersedes them: a worker
 * that dies in between leaves both, and recovery hides the old ones.  It is drawn and made live
 * under the lock under which others compare: so of two writers that compare with one number, one
 * finds it changed, and nothing of the loser was ever live.  Readers see one word change.
 *
 * What was being fetched is in the array (then it leaves, as any other), or on the list of the busy
 * (then it leaves that), or neither: in each case its epoch is old when it wants to go in. */
#include "cache/cache_swap.h"

#include <stdlib.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "cache/cache_priv.h"
#include "cache/oa.h"

enum { KEYED_STALE = 1, KEYED_SHORT_BYTES = 8, SMALL_OA = 512, MARKS = OBJ_HITMISS | OBJ_HITPASS };

/* ---- what is kept by key ---- */

struct str obj_keyed_pack(const struct obj_keyed *keyed, char buf[OBJ_KEYED_BYTES])
{
    if (keyed->flags == 0 && !keyed->is_stale && keyed->cas == 0) {
        return STR_NONE;
    }
    struct sb sb = sb_of(buf, OBJ_KEYED_BYTES);
    put_u32(&sb, keyed->flags);
    put_u32(&sb, keyed->is_stale ? KEYED_STALE : 0);
    if (keyed->cas != 0) {
        put_u64(&sb, keyed->cas);
    }
    return sb_str(&sb);
}

struct obj_keyed obj_keyed(const struct objcore *oc)
{
    struct obj_keyed keyed = {0};
    struct str text = (oc->flags & CORE_SUPERSEDES) == 0 ? STR_NONE : obj_get(oc, OA_KEYED);
    if (text.len >= KEYED_SHORT_BYTES) {
        struct cursor c = cursor_of(text.ptr, text.len);
        keyed.flags = cursor_u32(&c);
        keyed.is_stale = (cursor_u32(&c) & KEYED_STALE) != 0;
        keyed.cas = cursor_left(&c) == 0 ? 0 : cursor_u64(&c);
    }
    return keyed;
}

static bool is_stored(const struct objcore *oc)
{
    return atomic_load_explicit(&oc->is_stored, memory_order_acquire);
}

static uint64_t cas_of(const struct objcore *oc)
{
    uint64_t given = obj_keyed(oc).cas;
    return given != 0 ? given : oc->revision;
}

uint64_t swap__cas(const struct core_set *cores)
{
    const struct objcore *newest = NULL;
    for (size_t i = 0; i < cores->count; i++) {
        const struct objcore *oc = core_at(cores, i);
        if (is_stored(oc) && (newest == NULL || oc->revision > newest->revision)) {
            newest = oc;
        }
    }
    return newest == NULL ? 0 : cas_of(newest);
}

/* ---- comparing ---- */

static bool is_alive(const struct objcore *oc, uint64_t now_ns)
{
    const struct obj_times times = core__times(oc);
    return (oc->flags & MARKS) == 0 && now_ns < times__stale_until(&times);
}

static bool is_banned(struct bans *bans, struct objcore *oc, const struct http *http)
{
    return UNLIKELY(core__ban(oc) != bans__newest(bans)) && bans__test(bans, oc, http);
}

/* Whether what the head has is as it is wanted; NULL has nothing.  Under the stripe. */
static enum rc compare(const struct objhead *head, const struct cache_swap *want)
{
    enum cache_when when = want->when;
    if (when == CACHE_ALWAYS) {
        return RC_OK;
    }
    const struct core_set cores = head == NULL ? (struct core_set){0} : head__cores(head);
    uint64_t now_ns = cache__real_now();
    bool is_there = false;
    bool is_coming = false;
    for (size_t i = 0; i < cores.count; i++) {
        struct objcore *oc = core_at(&cores, i);
        bool is_whole = is_stored(oc);
        is_coming = is_coming || !(is_whole || want->ignores_coming);
        is_there = is_there ||
                   (is_whole && is_alive(oc, now_ns) && !bans__has_missed(&head->cache->bans, oc));
    }
    if (!is_there && !is_coming) {
        return when == CACHE_IF_NONE ? RC_OK : RC_NOT_FOUND;
    }
    if (when == CACHE_IF_THERE) {
        return RC_OK;
    }
    bool is_same = when == CACHE_IF_CAS && !is_coming && swap__cas(&cores) == want->cas;
    return is_same ? RC_OK : RC_EXISTS;
}

/* ---- putting ---- */

/* With flags_text as the memory of one of them. */
static void all_attrs(const struct cache_swap *swap, struct str attrs[OA__COUNT],
                      char flags_text[4])
{
    memcpy(attrs, swap->attrs, sizeof swap->attrs);
    CHECK(attrs[OA_FLAGS].ptr == NULL);
    if (swap->obj_flags != 0) {
        struct sb sb = sb_of(flags_text, 4);
        put_u32(&sb, swap->obj_flags);
        attrs[OA_FLAGS] = sb_str(&sb);
    }
}

size_t cache_attr_bytes(const struct cache_swap *swap)
{
    struct str attrs[OA__COUNT];
    char flags_text[4];
    all_attrs(swap, attrs, flags_text);
    return oa_size(attrs);
}

enum rc cache_put_begin(struct cache *cache, struct stevedore *const *list, uint64_t body_len,
                        size_t attr_bytes, struct cache_put *put)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    *put = (struct cache_put){.cache = cache};
    uint64_t bytes = 0;
    if (body_len != UINT64_MAX &&
        (__builtin_add_overflow(body_len, 7, &bytes) ||
         __builtin_add_overflow(bytes & ~UINT64_C(7), attr_bytes, &bytes))) {
        return RC_NOSPACE;
    }
    for (; *list != NULL; list++) {
        if (stv_newobj(*list, bytes, &put->stv) == RC_OK) {
            return RC_OK;
        }
        put->stv = NULL;
    }
    return RC_NOSPACE;
}

static void end_space(struct cache_put *put)
{
    if (put->space != NULL) {
        stv_commit(put->stv, put->space_used);
        put->space = NULL;
    }
}

enum rc cache_put_space(struct cache_put *put, uint64_t want, void **ptr, size_t *len)
{
    CHECK(put->stv != NULL);
    CHECK(want > 0);
    if (put->space != NULL && put->space_used == put->space_bytes) {
        end_space(put);
    }
    if (put->space == NULL) {
        void *space = NULL;
        enum rc rc = stv_alloc(put->stv, want, &space, &put->space_bytes);
        if (rc != RC_OK) {
            return rc;
        }
        put->space = space;
        put->space_used = 0;
    }
    size_t left = put->space_bytes - put->space_used;
    *ptr = put->space + put->space_used;
    *len = left > want ? (size_t)want : left;
    return RC_OK;
}

void cache_put_grown(struct cache_put *put, size_t bytes)
{
    CHECK(put->space != NULL);
    CHECK(bytes <= put->space_bytes - put->space_used);
    put->space_used += bytes;
}

enum rc cache_put_adopt(struct cache_put *put, struct objcore *old)
{
    CHECK(put->space == NULL);
    CHECK(obj_is_complete(old));
    return stv_adopt(put->stv, old->stv);
}

enum rc cache_put_look(struct cache_put *put, struct stv_lease *lease)
{
    end_space(put);
    CHECK(stv_body_len(put->stv) > 0);
    return stv_ref(put->stv, 0, true, lease);
}

void cache_put_abort(struct cache_put *put)
{
    if (put->stv != NULL) {
        end_space(put);
        stv_deleteobj(&put->stv);
    }
}

YIELDS static enum rc prepare(struct cache_put *put, const struct cache_swap *swap)
{
    struct str attrs[OA__COUNT];
    char flags_text[4];
    char small[SMALL_OA];
    all_attrs(swap, attrs, flags_text);
    size_t bytes = oa_size(attrs);
    if (bytes > OA_BYTES_MAX) {
        return RC_TOO_LONG;
    }
    char *block = bytes <= sizeof small ? small : xmalloc(bytes);
    struct sb sb = sb_of(block, bytes);
    oa_encode(attrs, &sb);
    const struct stv_record record = {
        .digest = swap->digest,
        .ban_seq = bans__newest(&put->cache->bans)->seq,
        .t_origin_ns = swap->times.t_origin_ns,
        .ttl_ns = swap->times.ttl_ns,
        .grace_ns = swap->times.grace_ns,
        .keep_ns = swap->times.keep_ns,
        .supersedes = true,
    };
    enum rc rc = stv_prepare(put->stv, sb_str(&sb), &record);
    if (block != small) {
        free(block);
    }
    return rc;
}

static uint32_t real_s(void)
{
    return (uint32_t)(cache__real_now() / NS_PER_S);
}

/* A core for what is prepared, live, and in the place of all others; with one reference.  Under the
 * stripe. */
static struct objcore *exchange(struct objhead *head, struct cache_put *put,
                                const struct cache_swap *swap, struct objcore **left)
{
    struct cache *cache = head->cache;
    head__clear(head);
    struct objcore *oc = core__new(head);
    bans__attach(&cache->bans, oc);
    oc->times = swap->times;
    oc->flags = (uint16_t)(swap->obj_flags | CORE_SUPERSEDES);
    oc->flags |= swap->attrs[OA_HTTP].ptr == NULL ? (uint16_t)CORE_QUIET : 0;
    atomic_store_explicit(&oc->used_s, real_s(), memory_order_relaxed);
    atomic_store_explicit(&oc->is_promised, swap->is_promised, memory_order_relaxed);
    oc->stv = put->stv;
    put->stv = NULL;
    stv_set_owner(oc->stv, oc);
    enum rc rc = core__go_live(oc);
    CHECK(rc == RC_OK); /* nobody else knows it */
    atomic_store_explicit(&oc->is_stored, true, memory_order_release);
    tomb__add(cache, &head->digest);
    *left = head__rebuild(head, oc, HEAD_FRONT);
    expiry__insert(cache, oc);
    return oc;
}

enum rc cache_put_commit(struct cache_put *put, const struct cache_swap *swap, uint64_t *cas)
{
    struct cache *cache = put->cache;
    CHECK(put->stv != NULL);
    end_space(put);
    enum rc rc = prepare(put, swap);
    if (rc != RC_OK) {
        cache_put_abort(put);
        return rc;
    }
    struct objcore *oc = NULL;
    struct objcore *left = NULL;
    struct stripe *stripe = cache__stripe(cache, &swap->digest);
    stripe__lock(stripe);
    rc = compare(table__find(stripe, &swap->digest), swap);
    if (rc == RC_OK) {
        oc = exchange(head__get(cache, &swap->digest), put, swap, &left);
    }
    stripe__unlock(stripe);
    if (oc == NULL) {
        cache_put_abort(put);
        return rc;
    }
    tomb__in_stores(cache, &swap->digest);
    *cas = cas_of(oc);
    obj_release(&oc);
    (void)core__let_go(cache, left);
    return RC_OK;
}

enum rc cache_remove(struct cache *cache, const struct digest *digest, uint64_t cas)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    struct objcore *left = NULL;
    struct stripe *stripe = cache__stripe(cache, digest);
    stripe__lock(stripe);
    struct objhead *head = table__find(stripe, digest);
    const struct cache_swap want = {.when = cas == 0 ? CACHE_IF_THERE : CACHE_IF_CAS, .cas = cas};
    enum rc rc = compare(head, &want);
    if (rc == RC_OK) {
        head__clear(head);
        tomb__add(cache, digest);
        left = head__rebuild(head, NULL, HEAD_FRONT);
    }
    stripe__unlock(stripe);
    if (rc == RC_OK) {
        tomb__in_stores(cache, digest);
    }
    (void)core__let_go(cache, left);
    return rc;
}

/* ---- looking ---- */

/* What is found, not referenced yet; or *banned, referenced, which has to go before. */
static struct objcore *scan(const struct core_set *cores, struct cache *cache,
                            const struct cache_ask *ask, struct cache_seen *out,
                            struct objcore **banned)
{
    uint64_t now_ns = cache__real_now();
    struct objcore *stale = NULL;
    for (size_t i = 0; i < cores->count; i++) {
        struct objcore *oc = core_at(cores, i);
        if (ask->match != NULL && !ask->match(ask->match_arg, oc)) {
            out->has_siblings = out->has_siblings || !is_stored(oc) || is_alive(oc, now_ns);
            continue;
        }
        if (UNLIKELY(!is_stored(oc))) {
            out->coming = out->coming == NULL ? oc : out->coming;
            continue;
        }
        if (is_banned(&cache->bans, oc, ask->http)) {
            core__ref(oc);
            *banned = oc;
            return NULL;
        }
        const struct obj_times times = core__times(oc);
        if ((oc->flags & MARKS) == 0 && now_ns < times__fresh_until(&times)) {
            return oc;
        }
        if (stale == NULL && is_alive(oc, now_ns)) {
            stale = oc;
        }
    }
    return stale;
}

static void note_use(struct objcore *oc)
{
    atomic_fetch_add_explicit(&oc->hits, 1, memory_order_relaxed);
    atomic_store_explicit(&oc->used_s, real_s(), memory_order_relaxed);
    stv_touch(oc->stv);
}

static void look(struct cache *cache, const struct cache_ask *ask, struct cache_seen *out,
                 struct objcore **banned)
{
    *out = (struct cache_seen){0};
    const struct objhead *head = table__find(cache__stripe(cache, &ask->digest), &ask->digest);
    if (head == NULL) {
        return;
    }
    const struct core_set cores = head__cores(head);
    out->oc = scan(&cores, cache, ask, out, banned);
    out->cas = swap__cas(&cores);
    if (out->oc == NULL || *banned != NULL) {
        if (out->coming != NULL && *banned == NULL) {
            core__ref(out->coming);
        }
        return;
    }
    struct objcore *oc = out->oc;
    out->coming = NULL;
    core__ref(oc);
    out->was_used = atomic_load_explicit(&oc->hits, memory_order_relaxed) > 0;
    out->is_promised = atomic_load_explicit(&oc->is_promised, memory_order_relaxed);
    uint32_t used_s = atomic_load_explicit(&oc->used_s, memory_order_relaxed);
    uint32_t now_s = real_s();
    out->idle_s = used_s == 0 || used_s > now_s ? 0 : now_s - used_s;
    if (ask->is_use) {
        note_use(oc);
    }
}

enum rc cache_find(struct cache *cache, const struct cache_ask *ask, struct cache_seen *out)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    for (;;) {
        struct objcore *banned = NULL;
        NO_YIELD {
            look(cache, ask, out, &banned);
        }
        if (LIKELY(banned == NULL)) {
            return out->oc == NULL ? RC_NOT_FOUND : RC_OK;
        }
        (void)core__kill(banned);
        obj_release(&banned);
    }
}

bool obj_promise(struct objcore *oc)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    return !atomic_exchange_explicit(&oc->is_promised, true, memory_order_relaxed);
}
