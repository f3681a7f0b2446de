/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Objects by key (kv.h): looking, and what needs no new value.
 *
 * A plain entry is an object as any other, without a head: its body is the value.  So storage,
 * eviction, recovery, expiry and bans are those of pages, and nothing here knows of them.
 *
 * Its digest is that of the key with a tail that ends otherwise than whatever VCL hashes (each
 * piece of which ends with a NUL): no key can be chosen that is a page's. */
#include "engine/kv_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#include "cache/cache_ban.h"

enum { RELATIVE_MAX_S = 60 * 60 * 24 * 30 };
#define TAIL "\1key"

/* ---- what all of them need ---- */

struct wrk *kv__wrk(const struct kv_session *s)
{
    return engine__wrk(s->engine);
}

enum rc kv__refuse(struct kv_session *s, enum rc rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(s->why, sizeof s->why, fmt, args);
    va_end(args);
    return rc;
}

bool kv_is_url(struct str key)
{
    return key.len > 2 && (str_starts(key, STR("//")) || str_starts(key, STR("http://")) ||
                           str_starts(key, STR("https://")));
}

/* What the cache has for a head it does not have: no page has this status. */
static void flush(struct engine *engine)
{
    char text[128];
    struct sb why = sb_of(text, sizeof text);
    (void)!cache_ban(engine->conf.cache, STR("obj.status == 000"), &why);
}

void kv__begin(struct kv_session *s)
{
    s->why[0] = '\0';
    s->why_status = 0;
    _Atomic uint64_t *at_ns = &s->engine->kv_flush_ns;
    uint64_t due_ns = atomic_load_explicit(at_ns, memory_order_relaxed);
    if (UNLIKELY(due_ns != 0 && due_ns <= wrk_real_ns(kv__wrk(s))) &&
        atomic_compare_exchange_strong(at_ns, &due_ns, 0)) {
        flush(s->engine);
    }
}

enum rc kv__digest(struct kv_session *s, struct str key, struct digest *digest)
{
    char hashed[KV_KEY_MAX + sizeof TAIL];
    if (key.len > KV_KEY_MAX) {
        return RC_TOO_LONG;
    }
    if (key.len == 0) {
        return kv__refuse(s, RC_MALFORMED, "the key is empty");
    }
    struct sb sb = sb_of(hashed, sizeof hashed);
    sb_put(&sb, key);
    sb_lit(&sb, TAIL);
    key__make(kv__wrk(s), key__name(sb_str(&sb)), sb_str(&sb), digest);
    return RC_OK;
}

uint64_t kv__ttl_ns(int64_t exptime, uint64_t now_ns)
{
    if (exptime == 0) {
        return NEVER;
    }
    if (exptime < 0) {
        return 0;
    }
    uint64_t seconds = (uint64_t)exptime;
    uint64_t now_s = now_ns / NS_PER_S;
    if (seconds > RELATIVE_MAX_S) {
        seconds = seconds > now_s ? seconds - now_s : 0;
    }
    return seconds > NEVER / NS_PER_S ? NEVER : seconds * NS_PER_S;
}

struct obj_times kv__times(const struct kv_session *s, int64_t exptime)
{
    uint64_t now_ns = wrk_real_ns(kv__wrk(s));
    return (struct obj_times){.t_origin_ns = now_ns, .ttl_ns = kv__ttl_ns(exptime, now_ns)};
}

int64_t kv__ttl_left_s(const struct obj_times *times, uint64_t now_ns)
{
    uint64_t end_ns = clock_after(times->t_origin_ns, times->ttl_ns);
    if (end_ns == NEVER) {
        return -1;
    }
    return end_ns > now_ns ? (int64_t)((end_ns - now_ns + NS_PER_S - 1) / NS_PER_S) : 0;
}

void kv__stores(const struct engine *engine, const struct digest *digest,
                struct stevedore *list[KV_STORES_MAX + 1])
{
    unsigned count = engine->stores_count < KV_STORES_MAX ? engine->stores_count : KV_STORES_MAX;
    unsigned first = count > 1 ? (unsigned)(digest_word(digest) % count) : 0;
    for (unsigned i = 0; i < count; i++) {
        list[i] = engine->conf.stores[(first + i) % count];
    }
    list[count] = NULL;
}

enum rc kv__no_room(const struct engine *engine, uint64_t bytes)
{
    for (unsigned i = 0; i < engine->stores_count; i++) {
        struct stv_stats stats;
        stv_stat(engine->conf.stores[i], &stats);
        if (bytes < stats.bytes_max / 2) {
            return RC_NOSPACE;
        }
    }
    return RC_TOO_LONG;
}

enum rc kv__verify(struct kv_session *s, struct objcore **oc)
{
    enum rc rc = stv_verify(obj_stv(*oc));
    if (LIKELY(rc == RC_OK)) {
        return rc;
    }
    if (rc == RC_DAMAGED) {
        obj_kill(s->engine->conf.cache, *oc);
        rc = RC_NOT_FOUND;
    }
    obj_release(oc);
    return rc;
}

/* ---- looking ---- */

/* Who shall make a new one: the first who hears that it is time. */
static void promise(const struct kv_get *ask, const struct cache_seen *seen, struct kv_item *item)
{
    bool is_time =
        !ask->cannot_win &&
        (item->is_stale || (ask->recaches && item->ttl_s >= 0 && item->ttl_s < ask->recache_s));
    item->has_won = is_time && obj_promise(item->oc);
    item->is_won = !item->has_won && (is_time || seen->is_promised);
}

void kv__fill(struct kv_session *s, const struct kv_get *ask, const struct cache_seen *seen,
              struct kv_item *item)
{
    struct objcore *oc = seen->oc;
    const struct obj_keyed keyed = obj_keyed(oc);
    const struct obj_times times = obj_times(oc);
    struct stv_obj *stv = obj_stv(oc);
    item->oc = oc;
    item->body = stv_body_ptr(stv);
    item->len = stv_body_len(stv);
    item->flags = keyed.flags;
    item->cas = seen->cas;
    item->ttl_s = kv__ttl_left_s(&times, wrk_real_ns(kv__wrk(s)));
    item->was_hit = seen->was_used;
    item->idle_s = seen->idle_s;
    /* A page may be used past its time. */
    item->is_stale = keyed.is_stale || item->ttl_s == 0;
    promise(ask, seen, item);
}

YIELDS static enum rc get(struct kv_session *s, const struct kv_get *ask, struct kv_item *item)
{
    struct digest digest;
    enum rc rc = kv__digest(s, ask->key, &digest);
    if (rc != RC_OK) {
        return rc;
    }
    const struct cache_ask question = {.digest = digest, .is_use = !ask->is_peek};
    struct cache_seen seen;
    rc = cache_find(s->engine->conf.cache, &question, &seen);
    if (rc == RC_NOT_FOUND && ask->vivifies) {
        rc = kv__vivify(s, &digest, ask->vivify_exptime);
        item->is_vivified = rc == RC_OK;
        if (rc == RC_OK || rc == RC_EXISTS) {
            rc = cache_find(s->engine->conf.cache, &question, &seen);
        }
    }
    if (rc == RC_OK) {
        rc = kv__verify(s, &seen.oc);
    }
    if (rc != RC_OK) {
        return rc;
    }
    if (ask->touches && !item->is_vivified) {
        uint64_t now_ns = wrk_real_ns(kv__wrk(s));
        (void)cache_touch(s->engine->conf.cache, &digest, kv__ttl_ns(ask->exptime, now_ns));
    }
    kv__fill(s, ask, &seen, item);
    if (item->is_vivified) {
        item->has_won = true;
        item->is_won = false;
    }
    return RC_OK;
}

enum rc kv_get(struct kv_session *s, const struct kv_get *ask, struct kv_item *item)
{
    struct vsc_objm *n = &kv__wrk(s)->objm;
    *item = (struct kv_item){.ttl_s = -1};
    kv__begin(s);
    n->kv_cmd_get++;
    n->kv_cmd_touch += ask->touches;
    enum rc rc = kv_is_url(ask->key) ? kv_url__get(s, ask, item) : get(s, ask, item);
    bool is_hit = rc == RC_OK && !item->is_vivified;
    n->kv_get_hits += is_hit;
    n->kv_get_misses += rc == RC_NOT_FOUND || (rc == RC_OK && !is_hit);
    n->kv_touch_hits += ask->touches && is_hit;
    n->kv_touch_misses += ask->touches && rc == RC_NOT_FOUND;
    return rc;
}

static uint64_t deadline_ns(const struct kv_session *s)
{
    return clock_after(clock_mono_ns(), s->wait_ns);
}

/* Its body is in memory of its own. */
static bool is_unpacked(const struct kv_item *item)
{
    return item->mem != NULL && item->head.ptr == NULL;
}

enum rc kv_next(struct kv_session *s, struct kv_item *item, uint64_t off, struct stv_lease *lease)
{
    CHECK(off < item->len);
    if (is_unpacked(item)) {
        *lease = (struct stv_lease){
            .ptr = item->body + off, .body_off = off, .len = (size_t)(item->len - off)};
        return RC_OK;
    }
    return obj_next(item->oc, off, true, deadline_ns(s), lease);
}

enum rc kv_next_payload(struct kv_session *s, struct kv_item *item, uint64_t off,
                        struct obj_fd_payload *payload)
{
    CHECK(off < item->len);
    if (is_unpacked(item)) {
        return RC_UNSUPPORTED;
    }
    return obj_next_payload(item->oc, off, deadline_ns(s), payload);
}

void kv_release(struct kv_item *item)
{
    if (item->oc != NULL) {
        obj_release(&item->oc);
    }
    XFREE(item->mem);
    item->body = NULL;
    item->head = STR_NONE;
}

/* ---- the rest ---- */

YIELDS static enum rc touch(struct kv_session *s, struct str key, int64_t exptime)
{
    struct digest digest;
    enum rc rc = kv__digest(s, key, &digest);
    if (rc != RC_OK) {
        return rc;
    }
    /* For bans: what they are on is not there. */
    const struct cache_ask ask = {.digest = digest};
    struct cache_seen seen;
    rc = cache_find(s->engine->conf.cache, &ask, &seen);
    if (rc == RC_OK) {
        uint64_t ttl_ns = kv__ttl_ns(exptime, wrk_real_ns(kv__wrk(s)));
        rc = cache_touch(s->engine->conf.cache, &digest, ttl_ns) > 0 ? RC_OK : RC_NOT_FOUND;
        obj_release(&seen.oc);
    }
    return rc;
}

enum rc kv_touch(struct kv_session *s, struct str key, int64_t exptime)
{
    struct vsc_objm *n = &kv__wrk(s)->objm;
    kv__begin(s);
    n->kv_cmd_touch++;
    enum rc rc = kv_is_url(key) ? kv_url__touch(s, key, exptime) : touch(s, key, exptime);
    n->kv_touch_hits += rc == RC_OK;
    n->kv_touch_misses += rc == RC_NOT_FOUND;
    return rc;
}

void kv_flush_all(struct kv_session *s, int64_t delay)
{
    kv__begin(s);
    kv__wrk(s)->objm.kv_cmd_flush++;
    uint64_t now_ns = wrk_real_ns(kv__wrk(s));
    uint64_t wait_ns = delay <= 0 ? 0 : kv__ttl_ns(delay, now_ns);
    if (wait_ns == 0) {
        flush(s->engine);
    } else {
        atomic_store(&s->engine->kv_flush_ns, clock_after(now_ns, wait_ns));
    }
}

void kv_stat(struct kv_session *s, struct kv_stats *out)
{
    struct cache_stats cache;
    cache_stat(s->engine->conf.cache, &cache);
    *out = (struct kv_stats){.items = cache.cores};
    for (unsigned i = 0; i < s->engine->stores_count; i++) {
        struct stv_stats stats;
        stv_stat(s->engine->conf.stores[i], &stats);
        out->bytes += stats.bytes_used;
        out->bytes_max += stats.bytes_max;
        out->evictions += stats.evicted;
    }
    out->total_items = s->engine->conf.objm->kv_total_items;
}
