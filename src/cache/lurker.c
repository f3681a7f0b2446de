/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The ban lurker: tests objects that nobody asks for, so that bans come to an end.
 *
 * A pass takes the bans that are old enough and look at objects alone (its targets), and goes
 * through all heads, stripe by stripe.  Each object behind a target is tested against those it has
 * not passed.  It dies, or rises as far as it may: over targets and completed bans, up to the first
 * that looks at requests or is too young.  After the last stripe the targets are completed, and the
 * end of the list to which no object refers is dropped.
 *
 * No object escapes: one that stands in a head when its stripe is gathered is tested; one that
 * comes into a head later was fetched since, and is compared with all newer bans under the stripe
 * (bans__has_missed).  What an earlier worker left is all in heads before the first pass begins.
 *
 * It is a function that does one batch and says when it wants to be called again; always on the
 * same thread of a loop, outside fibers.  Only it drops bans, so what it found on the list stays.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "cache/bans.h"
#include "cache/cache_priv.h"

/* It holds its loop no longer than that, however large the batch. */
#define HOLD_NS NS_PER_MS
/* Without anything to do; new bans are noticed by whoever calls. */
#define IDLE_NS (50 * NS_PER_S)

static struct ban *older_than(const struct ban *ban)
{
    return atomic_load_explicit(&ban->older, memory_order_acquire);
}

static bool looks_at_requests(const struct ban *ban)
{
    return ban->expr != NULL && (ban_expr_flags(ban->expr) & BAN_REQ) != 0;
}

/* ---- a pass begins ---- */

/* Picks the targets; returns the moment (real time) at which the next ban is old enough, or NEVER.
 */
static uint64_t plan(struct bans *bans, const struct lurk_conf *conf, uint64_t now_ns)
{
    struct lurker *lurker = &bans->lurker;
    uint64_t next_ns = NEVER;
    unsigned index = 0;
    struct ban *reach = atomic_load_explicit(&bans->newest, memory_order_acquire);
    for (struct ban *ban = reach; ban != NULL; ban = older_than(ban), index++) {
        bool is_completed = atomic_load_explicit(&ban->is_completed, memory_order_acquire);
        uint64_t ripe_ns = clock_after(ban->time_ns, conf->age_ns);
        ban->index = index;
        ban->is_target = !is_completed && !looks_at_requests(ban) && ripe_ns <= now_ns;
        if (ban->is_target && lurker->top == NULL) {
            lurker->top = ban;
        }
        if (!is_completed && !looks_at_requests(ban) && ripe_ns > now_ns && ripe_ns < next_ns) {
            next_ns = ripe_ns;
        }
        /* Who stands here may go where those may who stand one newer, if that one lets him pass. */
        ban->reach = reach;
        if (!is_completed && !ban->is_target) {
            reach = older_than(ban);
        }
    }
    if (conf->cutoff > 0 && index > conf->cutoff && lurker->top == NULL) {
        lurker->top = atomic_load_explicit(&bans->newest, memory_order_acquire);
    }
    lurker->stripe = 0;
    return next_ns;
}

/* ---- gathering ---- */

static bool is_behind(const struct objcore *oc, const struct ban *top)
{
    const struct ban *ban = core__ban(oc);
    return ban != NULL && ban->seq < top->seq;
}

static void gather_head(void *arg, const struct objhead *head)
{
    struct lurker *lurker = arg;
    const struct core_set cores = head__cores(head);
    for (size_t i = 0; i < cores.count; i++) {
        struct objcore *oc = core_at(&cores, i);
        if (!is_behind(oc, lurker->top)) {
            continue;
        }
        if (lurker->count == lurker->cap) {
            lurker->cap = lurker->cap == 0 ? 256 : 2 * lurker->cap;
            lurker->gathered = xrealloc(lurker->gathered, lurker->cap * sizeof *lurker->gathered);
        }
        core__ref(oc);
        lurker->gathered[lurker->count++] = oc;
    }
}

/* The next stripe's objects.  False: somebody is at work there. */
static bool gather(struct cache *cache, struct lurker *lurker)
{
    struct stripe *stripe = &cache->stripes[lurker->stripe];
    if (pthread_mutex_trylock(&stripe->lock) != 0) {
        count(&cache->bans.n.lurker_contention, 1);
        return false;
    }
    lurker->count = 0;
    lurker->at = 0;
    table__walk(stripe, gather_head, lurker);
    stripe__unlock(stripe);
    lurker->stripe++;
    return true;
}

/* ---- testing ---- */

static void kill(const struct lurk_conf *conf, struct objcore *oc, bool is_cutoff)
{
    struct bans *bans = &oc->head->cache->bans;
    if (core__kill(oc)) {
        count(is_cutoff ? &bans->n.lurker_obj_killed_cutoff : &bans->n.lurker_obj_killed, 1);
        if (conf->killed != NULL) {
            conf->killed(conf->arg, oc, is_cutoff);
        }
    }
}

static void test(struct bans *bans, const struct lurk_conf *conf, struct objcore *oc)
{
    const struct ban *top = bans->lurker.top;
    struct ban *own = core__ban(oc);
    if (own == NULL || own->seq >= top->seq) {
        return; /* a lookup was here before */
    }
    if (conf->cutoff > 0 && own->index > conf->cutoff) {
        kill(conf, oc, true);
        return;
    }
    const struct ban_subject subject = bans__subject(bans, oc, NULL);
    uint64_t tests = 0;
    bool is_banned = false;
    /* Newer ones are added at the other end: from here to `top` nothing changes but marks. */
    for (const struct ban *ban = own; ban != top && !is_banned;) {
        ban = ban->newer;
        if (ban->is_target && !atomic_load_explicit(&ban->is_completed, memory_order_acquire)) {
            is_banned = ban_expr_matches(ban->expr, &subject, ban->time_ns, &tests);
            count(&bans->n.lurker_tested, 1);
        }
    }
    count(&bans->n.lurker_tests_tested, tests);
    if (is_banned) {
        kill(conf, oc, false);
    } else if (own->reach->seq > own->seq) {
        (void)bans__raise(bans, oc, own->reach);
    }
}

static void end_pass(struct bans *bans)
{
    for (struct ban *ban = bans->lurker.top; ban != NULL; ban = older_than(ban)) {
        if (ban->is_target) {
            ban->is_target = false;
            bans__complete(bans, ban);
        }
    }
    bans->lurker.top = NULL;
    bans__drop_tail(bans);
}

/* ---- one call ---- */

/* What is gathered, up to a batch, or until it is late (monotonic).  Returns how many are left of
 * the batch. */
static unsigned test_some(struct bans *bans, const struct lurk_conf *conf, unsigned batch,
                          uint64_t late_ns)
{
    struct lurker *lurker = &bans->lurker;
    for (; batch > 0 && lurker->at < lurker->count; batch--) {
        struct objcore *oc = lurker->gathered[lurker->at++];
        test(bans, conf, oc);
        obj_release(&oc);
        if (clock_mono_ns() >= late_ns) {
            return 0;
        }
    }
    return batch;
}

uint64_t cache_lurk(struct cache *cache, const struct lurk_conf *conf)
{
    CHECK_OBJ(cache, CACHE_MAGIC);
    CHECK(conf->batch > 0);
    struct bans *bans = &cache->bans;
    struct lurker *lurker = &bans->lurker;
    uint64_t now_ns = loop_self() == NULL ? clock_mono_ns() : loop_mono_ns(loop_self());
    if (atomic_load_explicit(&cache->resurrections_left, memory_order_acquire) > 0) {
        return clock_after(now_ns, NS_PER_S / 10);
    }
    if (lurker->top == NULL) {
        bans__drop_tail(bans);
        if (conf->sleep_ns == 0) {
            return clock_after(now_ns, IDLE_NS);
        }
        uint64_t real_ns = cache__real_now();
        uint64_t ripe_ns = plan(bans, conf, real_ns);
        if (lurker->top == NULL) {
            return clock_after(now_ns, ripe_ns == NEVER ? IDLE_NS : ripe_ns - real_ns);
        }
    }
    unsigned left = conf->batch;
    uint64_t late_ns = clock_mono_ns() + HOLD_NS;
    while (left > 0 && clock_mono_ns() < late_ns) {
        left = test_some(bans, conf, left, late_ns);
        if (lurker->at < lurker->count) {
            break;
        }
        if (lurker->stripe == CACHE_STRIPES) {
            /* One only for the cutoff comes again and again while a long fetch holds an old ban. */
            bool is_urgent = lurker->top->is_target;
            end_pass(bans);
            return clock_after(now_ns, is_urgent ? 0 : NS_PER_S);
        }
        if (!gather(cache, lurker)) {
            return clock_after(now_ns, conf->holdoff_ns);
        }
    }
    return clock_after(now_ns, conf->sleep_ns);
}

uint64_t cache_ban_moves(const struct cache *cache)
{
    return atomic_load_explicit(&cache->bans.lurker.generation, memory_order_relaxed);
}

void lurker__fini(struct cache *cache)
{
    struct lurker *lurker = &cache->bans.lurker;
    while (lurker->at < lurker->count) {
        obj_release(&lurker->gathered[lurker->at++]);
    }
    XFREE(lurker->gathered);
}
