/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bans: what matches is not to be served any more, as of now, however many objects that are.
 *
 *     newest -> [7] -> [6 C] -> [5] -> [4] <- oldest
 *                ^                ^
 *              object           object          each refers to the newest ban that it passed
 *
 * Adding one is O(1) but for the search for duplicates.  A hit compares two pointers; only an
 * object that is behind is tested, against the bans before its own, and then either dies or moves
 * to the newest.  The lurker (lurker.c) does that to objects that nobody asks for.
 *
 * A ban is completed when nothing is left that it could kill: the lurker has been everywhere, or a
 * newer one says the same.  Those at the old end to which no object refers are dropped.  So as long
 * as an object refers to a ban, all newer ones are on the list; who walks from the newest to an
 * object's own does so as an RCU reader without locks.  An object may be moved under the walker's
 * eyes, and its former ban be dropped: it then stands at the end of a shorter list, all of which it
 * has passed, and the walk ends there.
 *
 * A fetch takes its place on the list before its request is sent: what it brings may be older than
 * a ban that comes meanwhile.
 *
 * Before a ban is acknowledged it stands in the log (store/ban_log.h), which outlives the worker;
 * objects have the number of their ban in the catalog.  Until all stores have been gone through no
 * ban is completed or dropped by the lurker. */
#include "cache/bans.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"
#include "cache/cache_priv.h"
#include "store/ban_log.h"

/* How much work one match may be. */
enum { WORDS_MAX = 63, MATCH_STEPS = 100000 };

static struct ban *older_than(const struct ban *ban)
{
    return atomic_load_explicit(&ban->older, memory_order_acquire);
}

static bool is_completed(const struct ban *ban)
{
    return atomic_load_explicit(&ban->is_completed, memory_order_acquire);
}

static unsigned flags_of(const struct ban *ban)
{
    return ban->expr == NULL ? 0 : ban_expr_flags(ban->expr);
}

static void less(_Atomic uint64_t *counter)
{
    atomic_fetch_sub_explicit(counter, 1, memory_order_relaxed);
}

/* ---- the list; under the lock ---- */

static struct ban *ban_new(uint64_t seq, uint64_t time_ns, struct ban_expr *take_expr)
{
    struct ban *ban = xcalloc(1, sizeof *ban);
    ban->seq = seq;
    ban->time_ns = time_ns;
    ban->expr = take_expr;
    return ban;
}

static void push(struct bans *bans, struct ban *ban)
{
    struct ban *second = bans__newest(bans);
    atomic_store_explicit(&ban->older, second, memory_order_relaxed);
    if (second != NULL) {
        CHECK(second->seq < ban->seq);
        second->newer = ban;
    } else {
        bans->oldest = ban;
    }
    unsigned flags = flags_of(ban);
    count(&bans->n.bans, 1);
    count(&bans->n.added, 1);
    count(&bans->n.obj, (flags & BAN_OBJ) != 0);
    count(&bans->n.req, (flags & BAN_REQ) != 0);
    atomic_store_explicit(&bans->newest, ban, memory_order_release);
}

void bans__complete(struct bans *bans, struct ban *ban)
{
    if (!atomic_exchange_explicit(&ban->is_completed, true, memory_order_release)) {
        count(&bans->n.completed, 1);
    }
}

static void complete_dups(struct bans *bans, const struct ban *of)
{
    if ((flags_of(of) & BAN_NODUP) != 0) {
        return;
    }
    for (struct ban *ban = older_than(of); ban != NULL; ban = older_than(ban)) {
        if (!is_completed(ban) && ban->expr != NULL && ban_expr_eq(ban->expr, of->expr)) {
            bans__complete(bans, ban);
            count(&bans->n.dups, 1);
        }
    }
}

static void ban_free(struct rcu_head *rcu)
{
    RCU_AFTER_READERS();
    struct ban *ban = CONTAINER_OF(rcu, struct ban, rcu);
    ban_expr_free(&ban->expr);
    free(ban);
}

void bans__drop_tail(struct bans *bans)
{
    mutex_lock(&bans->lock);
    for (struct ban *ban = bans->oldest; ban->newer != NULL && ban->refs == 0; ban = bans->oldest) {
        bans->oldest = ban->newer;
        atomic_store_explicit(&bans->oldest->older, NULL, memory_order_release);
        unsigned flags = flags_of(ban);
        less(&bans->n.bans);
        count(&bans->n.deleted, 1);
        if (is_completed(ban)) {
            less(&bans->n.completed);
        }
        if ((flags & BAN_OBJ) != 0) {
            less(&bans->n.obj);
        }
        if ((flags & BAN_REQ) != 0) {
            less(&bans->n.req);
        }
        cache__defer(&ban->rcu, ban_free);
    }
    uint64_t first = bans->oldest->seq;
    mutex_unlock(&bans->lock);
    if (bans->log != NULL) {
        ban_log_forget(bans->log, first);
    }
}

/* ---- beginning and end ---- */

static void on_stored(void *arg, uint64_t seq, uint64_t time_ns, struct str bytes)
{
    struct bans *bans = arg;
    struct ban_expr *expr = NULL;
    if (ban_expr_stored(bytes, &expr) != RC_OK) {
        return; /* of a version that knew more; its checksum was right */
    }
    struct ban *ban = ban_new(seq, time_ns, expr);
    push(bans, ban);
    complete_dups(bans, ban);
}

void bans__init(struct bans *bans, struct ban_log *log)
{
    mutex_init(&bans->lock);
    regex_pool_init(&bans->scratch, MATCH_STEPS);
    bans->log = log;
    atomic_store(&bans->has_dups, true);
    /* Below all that an earlier worker left: what was last tested before them stands here. */
    uint64_t first = log == NULL ? 1 : ban_log_first(log);
    struct ban *ban = ban_new(first - 1, clock_real_ns(), NULL);
    bans__complete(bans, ban);
    push(bans, ban);
    if (log != NULL) {
        ban_log_read(log, on_stored, bans);
    }
}

void bans__fini(struct bans *bans)
{
    struct ban *ban = bans__newest(bans);
    while (ban != NULL) {
        struct ban *older = older_than(ban);
        CHECK(ban->refs == 0);
        ban_expr_free(&ban->expr);
        free(ban);
        ban = older;
    }
    regex_pool_fini(&bans->scratch);
    mutex_fini(&bans->lock);
}

/* ---- objects' places ---- */

static void stand(struct objcore *oc, struct ban *ban)
{
    ban->refs++;
    atomic_store_explicit(&oc->ban, ban, memory_order_release);
}

static void leave(struct bans *bans, struct ban *ban)
{
    CHECK(ban->refs > 0);
    ban->refs--;
    if (ban->refs == 0 && ban == bans->oldest) {
        count(&bans->lurker.generation, 1); /* the end of the list can go */
    }
}

void bans__attach(struct bans *bans, struct objcore *oc)
{
    mutex_lock(&bans->lock);
    stand(oc, bans__newest(bans));
    mutex_unlock(&bans->lock);
}

void bans__attach_at(struct bans *bans, struct objcore *oc, uint64_t seq)
{
    mutex_lock(&bans->lock);
    struct ban *ban = bans__newest(bans);
    if (seq > ban->seq) {
        ban = bans->oldest; /* a number that this list never gave: it tells nothing */
    }
    while (ban->seq > seq && older_than(ban) != NULL) {
        ban = older_than(ban);
    }
    stand(oc, ban);
    mutex_unlock(&bans->lock);
}

void bans__detach(struct bans *bans, struct objcore *oc)
{
    mutex_lock(&bans->lock);
    struct ban *ban = core__ban(oc);
    if (ban != NULL) {
        leave(bans, ban);
        atomic_store_explicit(&oc->ban, NULL, memory_order_relaxed);
    }
    mutex_unlock(&bans->lock);
}

bool bans__raise(struct bans *bans, struct objcore *oc, struct ban *to)
{
    CHECK(to != NULL);
    mutex_lock(&bans->lock);
    struct ban *from = core__ban(oc);
    if (from != NULL && from->seq < to->seq) {
        leave(bans, from);
        stand(oc, to);
    }
    mutex_unlock(&bans->lock);
    return from != NULL;
}

/* ---- testing ---- */

struct ban_subject bans__subject(struct bans *bans, const struct objcore *oc,
                                 const struct http *req)
{
    return (struct ban_subject){.req = req,
                                .head = obj_get(oc, OA_HTTP),
                                .scratch = &bans->scratch,
                                .times = core__times(oc)};
}

bool bans__test(struct bans *bans, struct objcore *oc, const struct http *req)
{
    struct ban *top = bans__newest(bans);
    const struct ban *own = core__ban(oc);
    CHECK(top != NULL);
    if (own == NULL) {
        /* It has left since the reader came by: perhaps for a ban that this reader must respect. */
        return true;
    }
    const struct ban_subject subject = bans__subject(bans, oc, req);
    uint64_t tests = 0;
    bool is_banned = false;
    const struct ban *ban = top;
    for (; !is_banned && ban != NULL && ban->seq > own->seq; ban = older_than(ban)) {
        if (is_completed(ban) || (req == NULL && (flags_of(ban) & BAN_REQ) != 0)) {
            continue;
        }
        is_banned = ban_expr_matches(ban->expr, &subject, ban->time_ns, &tests);
    }
    count(&bans->n.tested, 1);
    count(&bans->n.tests_tested, tests);
    if (is_banned) {
        count(&bans->n.obj_killed, 1);
    } else if (!bans__raise(bans, oc, top)) {
        /* The lurker was faster: it has killed this one, and completed the ban that was passed over
         * above. */
        return true;
    }
    return is_banned;
}

bool bans__has_missed(struct bans *bans, struct objcore *oc)
{
    const struct ban *own = core__ban(oc);
    const struct ban *ban = bans__newest(bans);
    uint64_t tests = 0;
    if (own == NULL || LIKELY(ban == own)) {
        return false;
    }
    const struct ban_subject subject = bans__subject(bans, oc, NULL);
    for (; ban != NULL && ban->seq > own->seq; ban = older_than(ban)) {
        /* Also completed ones: the lurker has not seen this object. */
        if ((flags_of(ban) & BAN_REQ) == 0 && ban->expr != NULL &&
            ban_expr_matches(ban->expr, &subject, ban->time_ns, &tests)) {
            count(&bans->n.obj_killed, 1);
            return true;
        }
    }
    return false;
}

/* ---- adding ---- */

static enum rc add(struct bans *bans, struct ban_expr *take_expr, struct sb *why)
{
    mutex_lock(&bans->lock);
    uint64_t seq = bans__newest(bans)->seq + 1;
    uint64_t time_ns = cache__real_now();
    enum rc rc = bans->log == NULL
                     ? RC_OK
                     : ban_log_append(bans->log, seq, time_ns, ban_expr_bytes(take_expr));
    if (rc == RC_OK) {
        struct ban *ban = ban_new(seq, time_ns, take_expr);
        push(bans, ban);
        if (atomic_load_explicit(&bans->has_dups, memory_order_relaxed)) {
            complete_dups(bans, ban);
        }
        count(&bans->lurker.generation, 1);
    }
    mutex_unlock(&bans->lock);
    if (rc != RC_OK) {
        sb_printf(why, "No room for another ban: %s", rc_text(rc));
        ban_expr_free(&take_expr);
    }
    return rc;
}

enum rc cache_ban_words(struct cache *cache, const struct str *words, unsigned n, struct sb *why)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    struct ban_expr *expr = NULL;
    enum rc rc = ban_expr_new(words, n, why, &expr);
    return rc == RC_OK ? add(&cache->bans, expr, why) : rc;
}

/* What is wrong behind the last whole condition; NULL: nothing. */
static const char *loose_end(const struct str *words, unsigned n)
{
    static const char *const texts[] = {"No ban conditions found.", "Expected comparison operator.",
                                        "Expected second operand.", NULL};
    for (unsigned i = 3; i < n; i += 4) {
        if (!str_eq(words[i], STR("&&"))) {
            return "Expected && between conditions, found ";
        }
    }
    return texts[n % 4];
}

enum rc cache_ban(struct cache *cache, struct str text, struct sb *why)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    struct str words[WORDS_MAX];
    unsigned n = 0;
    enum rc rc = ban_words(text, words, WORDS_MAX, &n, why);
    if (rc != RC_OK) {
        return rc;
    }
    unsigned whole = 3;
    while (whole + 4 <= n && str_eq(words[whole], STR("&&"))) {
        whole += 4;
    }
    const char *wrong = loose_end(words, n);
    struct ban_expr *expr = NULL;
    /* What is wrong with an earlier condition is told first. */
    rc = n < 3 ? RC_OK : ban_expr_new(words, whole, why, &expr);
    if (rc == RC_OK && wrong != NULL) {
        ban_expr_free(&expr);
        sb_put(why, str_of(wrong));
        if (wrong[strlen(wrong) - 1] == ' ') {
            sb_printf(why, "\"%.*s\"", STR_ARG(words[whole]));
        }
        return RC_INVALID;
    }
    return rc == RC_OK ? add(&cache->bans, expr, why) : rc;
}

void cache_ban_dups(struct cache *cache, bool are_completed)
{
    atomic_store_explicit(&cache->bans.has_dups, are_completed, memory_order_relaxed);
}

/* ---- looking ---- */

void cache_ban_list(struct cache *cache, cache_ban_fn *fn, void *arg)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    struct bans *bans = &cache->bans;
    mutex_lock(&bans->lock);
    for (const struct ban *ban = bans__newest(bans); ban != NULL; ban = older_than(ban)) {
        unsigned flags = flags_of(ban);
        const struct ban_info info = {
            .time_ns = ban->time_ns,
            .refs = ban->refs,
            .is_completed = is_completed(ban),
            .tests_req = (flags & BAN_REQ) != 0,
            .tests_obj = (flags & BAN_OBJ) != 0,
            .id = ban,
            .text = ban->expr == NULL ? STR("") : ban_expr_text(ban->expr),
        };
        fn(arg, &info);
    }
    mutex_unlock(&bans->lock);
}

void cache_ban_stat(const struct cache *cache, struct cache_ban_stats *out)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
#define GET(name) .name = atomic_load_explicit(&cache->bans.n.name, memory_order_relaxed)
    *out = (struct cache_ban_stats){GET(bans),
                                    GET(completed),
                                    GET(obj),
                                    GET(req),
                                    GET(added),
                                    GET(deleted),
                                    GET(tested),
                                    GET(tests_tested),
                                    GET(obj_killed),
                                    GET(dups),
                                    GET(lurker_tested),
                                    GET(lurker_tests_tested),
                                    GET(lurker_obj_killed),
                                    GET(lurker_obj_killed_cutoff),
                                    GET(lurker_contention)};
#undef GET
    if (cache->bans.log != NULL) {
        ban_log_size(cache->bans.log, &out->persisted_bytes, &out->persisted_fragmentation);
    }
}
