/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Reading a body, also while it grows.
 *
 * What is written is one atomic number that only rises, so a reader that is behind takes no lock.
 * One that has caught up waits in the group of its loop:
 *
 *   boc --> group of loop 0 --> group of loop 2        under the boc's lock: which groups wait
 *              |                   |
 *           followers           followers              their own loop's thread only: who waits
 *
 * A step of progress sends each group that waits one message, unless one is under way: that one
 * wakes all followers, and they see what was written before they were woken.  The writer stores
 * first and looks at the groups under the lock, a follower enters the group under the lock and
 * looks again at what is written: neither misses the other. */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"

struct follow_group {
    struct post post;
    struct follow_group *next;
    struct follow_group *next_told; /* while follow__progress collects */
    struct boc *boc;
    struct loop *loop;
    bool is_waiting;       /* boc's lock */
    bool is_told;          /* boc's lock: the message is under way, and holds the boc */
    struct list followers; /* the loop's thread */
};

struct follower {
    struct list link;
    struct fiber *fiber;
};

/* ---- progress ---- */

static void wake_group(struct post *post, struct loop *loop)
{
    struct follow_group *group = CONTAINER_OF(post, struct follow_group, post);
    struct boc *boc = group->boc;
    CHECK(group->loop == loop);
    mutex_lock(&boc->lock);
    group->is_told = false;
    mutex_unlock(&boc->lock);
    LIST_FOREACH (node, &group->followers) {
        fiber_wake(CONTAINER_OF(node, struct follower, link)->fiber);
    }
    boc__release(boc);
}

void follow__progress(struct boc *boc)
{
    const struct loop *here = loop_self();
    struct follow_group *told = NULL;
    mutex_lock(&boc->lock);
    for (struct follow_group *group = boc->groups; group != NULL; group = group->next) {
        if (group->is_waiting && !group->is_told) {
            group->is_waiting = false;
            group->is_told = true;
            group->next_told = told;
            told = group;
            boc__ref(boc);
        }
    }
    mutex_unlock(&boc->lock);
    while (told != NULL) {
        struct follow_group *group = told;
        told = group->next_told;
        if (group->loop == here) {
            wake_group(&group->post, group->loop);
        } else {
            loop_post(group->loop, &group->post);
        }
    }
}

void follow__free_groups(struct boc *boc)
{
    while (boc->groups != NULL) {
        struct follow_group *group = boc->groups;
        boc->groups = group->next;
        CHECK(list_is_empty(&group->followers));
        CHECK(!group->is_told);
        free(group);
    }
}

/* ---- followers ---- */

/* The calling loop's group; under the boc's lock. */
static struct follow_group *my_group(struct boc *boc)
{
    struct loop *loop = loop_self();
    CHECK(loop != NULL);
    struct follow_group *group = boc->groups;
    while (group != NULL && group->loop != loop) {
        group = group->next;
    }
    if (group == NULL) {
        group = xcalloc(1, sizeof *group);
        group->post.fn = wake_group;
        group->boc = boc;
        group->loop = loop;
        list_init(&group->followers);
        group->next = boc->groups;
        boc->groups = group;
    }
    return group;
}

/* RC_OK: *end bytes are there, more than off.  RC_AGAIN: not yet. */
static enum rc look(const struct boc *boc, uint64_t off, uint64_t *end)
{
    /* The state first: a finished one's length is final. */
    enum boc_state state = boc__state(boc);
    *end = atomic_load_explicit(&boc->written, memory_order_acquire);
    switch (state) {
    case BOC_FAILED:
        return RC_RESET;
    case BOC_FINISHED:
        return off < *end ? RC_OK : RC_EOF;
    case BOC_FETCHING:
    case BOC_READY:
        break;
    }
    return off < *end ? RC_OK : RC_AGAIN;
}

/* The boc is referenced.  Yields. */
YIELDS static enum rc follow(struct boc *boc, uint64_t off, uint64_t deadline_ns, uint64_t *end)
{
    struct follower me = {.fiber = fiber_self()};
    CHECK(me.fiber != NULL);
    for (;;) {
        mutex_lock(&boc->lock);
        enum rc rc = look(boc, off, end);
        if (rc != RC_AGAIN) {
            mutex_unlock(&boc->lock);
            return rc;
        }
        struct follow_group *group = my_group(boc);
        group->is_waiting = true;
        mutex_unlock(&boc->lock);
        list_push_back(&group->followers, &me.link);
        rc = fiber_wait(deadline_ns);
        list_remove(&me.link);
        if (rc != RC_OK) {
            /* What came at the last moment still counts, except for one who is to end. */
            enum rc last = rc == RC_TIMEOUT ? look(boc, off, end) : RC_AGAIN;
            return last == RC_AGAIN ? rc : last;
        }
    }
}

/* Waits for bytes beyond off; *end: how many the body has by now.  Yields. */
YIELDS static enum rc await_body(const struct objcore *oc, uint64_t off, uint64_t deadline_ns,
                                 uint64_t *end)
{
    CHECK_OBJ(oc, CORE_MAGIC);
    enum rc rc = RC_OK;
    struct boc *boc = NULL;
    NO_YIELD {
        boc = core__boc(oc);
        if (boc != NULL) {
            relay__enter(boc, off);
        }
        if (boc == NULL) {
            *end = stv_body_len(oc->stv);
            rc = off < *end ? RC_OK : RC_EOF;
        } else {
            rc = look(boc, off, end);
        }
        if (rc == RC_AGAIN) {
            boc__ref(boc);
        }
    }
    if (rc == RC_AGAIN) {
        rc = follow(boc, off, deadline_ns, end);
        boc__release(boc);
    }
    return rc;
}

enum rc obj_next(struct objcore *oc, uint64_t off, bool map, uint64_t deadline_ns,
                 struct stv_lease *lease)
{
    uint64_t end;
    enum rc rc = await_body(oc, off, deadline_ns, &end);
    if (rc != RC_OK) {
        return rc;
    }
    rc = RC_NOT_FOUND;
    struct boc *boc = core__boc(oc);
    if (boc == NULL || !relay__next(oc, boc, off, end, map, lease, &rc)) {
        CHECK(oc->stv != NULL);
        rc = stv_ref(oc->stv, off, map, lease);
    }
    if (rc != RC_OK) {
        return rc;
    }
    CHECK(lease->body_off == off);
    CHECK(lease->len > 0);
    if (lease->len > end - off) {
        lease->len = (size_t)(end - off);
    }
    return RC_OK;
}

enum rc obj_next_payload(struct objcore *oc, uint64_t off, uint64_t deadline_ns,
                         struct obj_fd_payload *payload)
{
    uint64_t end;
    enum rc rc = await_body(oc, off, deadline_ns, &end);
    if (rc != RC_OK) {
        return rc;
    }
    struct boc *boc = core__boc(oc);
    if (boc != NULL) {
        end = relay__stored(oc, boc, end);
        if (off >= end) {
            return RC_UNSUPPORTED; /* not in a file of its own */
        }
    }
    CHECK(oc->stv != NULL);
    rc = stv_payload(oc->stv, payload);
    if (rc != RC_OK) {
        return rc;
    }
    payload->off += off;
    payload->len = end - off;
    return RC_OK;
}
