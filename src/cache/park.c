/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Waiting until the head of an object on its way is known.
 *
 * A waiter stands on the list of the fetch it waits for, under the stripe.  Whoever takes it off
 * owns its wake-up, and writes the answer into it before unlocking.  So a fiber whose deadline
 * passes finds out under the lock which came first: still on the list, it takes itself off and
 * goes; off the list, its answer is there already, and it uses that without waiting for the
 * message.  The message is about memory that is on no stack, and the later of fiber and message
 * frees it; both run on the same loop, so two plain flags are enough.
 *
 * Waiters hang on the fetch, not on the head: a purge detaches a fetch, and those who waited for
 * it are still answered by it, while who comes later waits for the next one. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"

struct waiter *park__enter(struct boc *boc, struct stripe *stripe)
{
    struct waiter *w = xcalloc(1, sizeof *w);
    w->stripe = stripe;
    w->loop = loop_self();
    w->fiber = fiber_self();
    CHECK(w->loop != NULL);
    CHECK(w->fiber != NULL);
    list_push_back(&boc->parked, &w->link);
    return w;
}

enum rc park__wait(struct waiter **take_waiter, uint64_t deadline_ns, struct objcore **oc,
                   struct objcore **busy)
{
    struct waiter *w = *take_waiter;
    *take_waiter = NULL;
    while (!w->has_arrived) {
        enum rc rc = fiber_wait(deadline_ns);
        if (rc == RC_OK) {
            continue;
        }
        stripe__lock(w->stripe);
        bool is_unanswered = list_is_linked(&w->link);
        list_remove(&w->link);
        stripe__unlock(w->stripe);
        if (is_unanswered) {
            free(w);
            return rc;
        }
        break;
    }
    *oc = w->oc;
    *busy = w->busy;
    bool is_refused = w->is_refused;
    CHECK((*oc != NULL) + (*busy != NULL) + is_refused == 1);
    w->has_left = true;
    if (w->has_arrived) {
        free(w);
    }
    return is_refused ? RC_REFUSED : RC_OK;
}

static void arrive(struct post *post, struct loop *loop)
{
    struct waiter *w = CONTAINER_OF(post, struct waiter, post);
    while (w != NULL) {
        struct waiter *next = w->next;
        CHECK(w->loop == loop);
        w->has_arrived = true;
        if (w->has_left) {
            free(w);
        } else {
            fiber_wake(w->fiber);
        }
        w = next;
    }
}

static void wakes_add(struct wakes *wakes, struct waiter *w)
{
    list_remove(&w->link);
    wakes->count++;
    struct waiter *first = wakes->first;
    while (first != NULL && first->loop != w->loop) {
        first = first->next_loop;
    }
    if (first == NULL) {
        w->post.fn = arrive;
        w->next_loop = wakes->first;
        wakes->first = w;
    } else {
        /* Second in the chain: who came first is woken first, the others in any order. */
        w->next = first->next;
        first->next = w;
    }
}

static struct waiter *waiter_of(struct list *node)
{
    return CONTAINER_OF(node, struct waiter, link);
}

void park__answer_all(struct boc *boc, struct objcore *oc, struct wakes *wakes)
{
    LIST_FOREACH_SAFE (node, &boc->parked) {
        struct waiter *w = waiter_of(node);
        core__ref(oc);
        w->oc = oc;
        wakes_add(wakes, w);
    }
}

void park__refuse_all(struct boc *boc, struct wakes *wakes)
{
    LIST_FOREACH_SAFE (node, &boc->parked) {
        struct waiter *w = waiter_of(node);
        w->is_refused = true;
        wakes_add(wakes, w);
    }
}

static struct waiter *draw(struct cache *cache, struct stripe *stripe, struct boc *boc)
{
    struct list *node = boc->parked.next;
    if (cache->is_seeded) {
        for (uint64_t skip = rng_below(&stripe->rng, 8); skip > 0; skip--) {
            node = node->next == &boc->parked ? boc->parked.next : node->next;
        }
    }
    return waiter_of(node);
}

void park__promote(struct objhead *head, struct boc *boc, struct wakes *wakes)
{
    if (list_is_empty(&boc->parked)) {
        return;
    }
    struct boc *heir = NULL;
    /* They waited for what another's fetch will most likely not bring. */
    bool is_own_variant = boc->prediction.len > 0;
    if (!list_is_empty(&head->busies) && !is_own_variant) {
        heir = CONTAINER_OF(head->busies.next, struct boc, link);
    } else {
        struct waiter *w = draw(head->cache, head__stripe(head), boc);
        /* After a purge what the old fetch would have replaced is no ground for a new one. */
        bool is_current = boc->epoch == head->epoch;
        w->busy = boc__new_busy(head, is_current ? &boc->replaced : NULL);
        heir = boc__of_busy(w->busy);
        heir->failed_before = boc->failed_before + 1;
        heir->prediction = boc->prediction;
        boc->prediction = STR_NONE;
        list_push_back(&head->busies, &heir->link);
        wakes_add(wakes, w);
    }
    CHECK(heir != boc);
    for (struct list *node = list_pop_front(&boc->parked); node != NULL;
         node = list_pop_front(&boc->parked)) {
        list_push_back(&heir->parked, node);
    }
}

void park__wake(struct cache *cache, struct wakes *wakes)
{
    const struct loop *here = loop_self();
    count(&cache->woken, wakes->count);
    struct waiter *w = wakes->first;
    while (w != NULL) {
        struct waiter *next = w->next_loop;
        if (w->loop == here) {
            arrive(&w->post, w->loop);
        } else {
            loop_post(w->loop, &w->post);
        }
        w = next;
    }
    wakes->first = NULL;
}
