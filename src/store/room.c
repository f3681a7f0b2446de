/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Eviction (SIEVE) and making room.
 *
 *     queue   new -> [o] [v] [ ] [v] [ ] [ ]        v: visited since the hand came by
 *                              <- hand
 *
 * A hit sets one flag and moves nothing.  The hand walks from old to new: it clears flags, and
 * takes the first object without one.  New objects enter in front, so what is asked for once does
 * not push out what is asked for often.
 *
 * Objects belong to the cache, which frees them only after a grace period; so eviction runs ahead
 * of need (to reserve_bytes), and what is dead but not deleted counts as room that comes.  Who
 * still finds none evicts for its own need and waits a little, a bounded number of times.
 *
 * A slot of one class cannot serve another, and pages come back only from whole slabs.  So the need
 * decides: an object of the same class will do for a slot; a file's pages do for anything; else one
 * whole slab goes, the emptiest among those of the next few candidates. */
#include "store/mem_priv.h"

/* liburcu gathers callbacks for 10 ms before it waits for a grace period, so what is evicted comes
 * back after some 10 to 30 ms.  Evicting more meanwhile would only empty the store. */
#define TRIES_MAX 160 /* a third of a second: what a grace period may take on a busy machine */
#define EVICT_EVERY 16
#define CANDIDATES 8
#define WALK_MAX 1024 /* nodes the hand passes at one go, under the lock */
#define BATCH 32
#define AHEAD_MAX 16 /* objects evicted ahead by one allocation */
#define ROUNDS_MAX 16

/* What somebody waits for: a slot of a class, pages, or a descriptor. */
struct need {
    uint32_t cls; /* SLAB_NO_CLASS: pages or a file */
    uint64_t pages_bytes;
    bool file;
};

struct victims {
    size_t count;
    void *owner[BATCH];               /* grabbed, or NULL: then */
    struct mem_obj *unclaimed[BATCH]; /* this one, which nobody knows */
};

/* ---- the queue ---- */

void mem__queue_push(struct mem *m, struct mem_obj *o)
{
    list_push_front(&m->queue, &o->queue);
}

void mem__queue_remove(struct mem *m, struct mem_obj *o)
{
    CHECK(list_is_linked(&o->queue));
    if (m->hand == &o->queue) {
        m->hand = o->queue.prev;
    }
    if (m->seeker == &o->queue) {
        m->seeker = o->queue.next;
    }
    list_remove(&o->queue);
}

static bool is_evictable(const struct mem_obj *o)
{
    return o->unclaimed || atomic_load_explicit(&o->obj.owner, memory_order_acquire) != NULL;
}

/* The next object to go, or NULL. */
static struct mem_obj *sieve_next(struct mem *m)
{
    struct list *at = m->hand;
    struct mem_obj *last = NULL;
    for (unsigned steps = 0; steps < WALK_MAX; steps++) {
        if (at == &m->queue) {
            at = m->queue.prev;
            if (at == &m->queue) {
                break;
            }
        }
        struct mem_obj *o = CONTAINER_OF(at, struct mem_obj, queue);
        at = at->prev;
        if (!is_evictable(o)) {
            continue;
        }
        last = o;
        if (atomic_load_explicit(&o->obj.visited, memory_order_relaxed) == 0) {
            break;
        }
        atomic_store_explicit(&o->obj.visited, 0, memory_order_relaxed);
    }
    m->hand = at;
    return last;
}

/* Under the lock.  False when its owner is gone already, or it is among the victims: the hand may
 * come round to an object that is not evicted yet. */
static bool grab(struct mem *m, struct mem_obj *o, struct victims *v)
{
    CHECK(v->count < BATCH);
    if (o->unclaimed) {
        o->unclaimed = false;
        v->owner[v->count] = NULL;
        v->unclaimed[v->count++] = o;
        return true;
    }
    void *owner = atomic_load_explicit(&o->obj.owner, memory_order_acquire);
    for (size_t i = 0; i < v->count; i++) {
        if (v->owner[i] == owner) {
            return false;
        }
    }
    if (owner == NULL || m->owner_ops == NULL || !m->owner_ops->grab(owner)) {
        return false;
    }
    v->owner[v->count++] = owner;
    return true;
}

/* Without the lock. */
static void evict(struct mem *m, struct victims *v)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->owner[i] != NULL) {
            m->owner_ops->evict(v->owner[i]);
        } else {
            mem__entomb_older(m, v->unclaimed[i]);
            mem__deleteobj(&v->unclaimed[i]->obj);
        }
    }
    mem_lock(m);
    m->stats.evicted += v->count;
    mem_unlock(m);
    v->count = 0;
}

/* ---- whom to evict for a need ---- */

static bool has_file(const struct mem_obj *o)
{
    return o->body != NULL && o->body->kind == MEM_FILE;
}

static struct slab *slab_of(struct mem *m, const struct mem_obj *o)
{
    return slabs_at(&m->slabs, mem__oa_slot(o)->off);
}

/* All objects of a slab, a batch at a time.  Returns how many went. */
static size_t evict_slab(struct mem *m, struct slab *slab)
{
    size_t gone = 0;
    uint32_t slot = 0;
    struct victims v = {0};
    do {
        mem_lock(m);
        /* It may have been emptied and reopened while we did not look. */
        for (; slab->objs != NULL && slot < slab->slots && v.count < BATCH; slot++) {
            struct stv_obj *obj = slab->objs[slot];
            if (obj != NULL && is_evictable(mem_obj_of(obj))) {
                (void)grab(m, mem_obj_of(obj), &v);
            }
        }
        mem_unlock(m);
        gone += v.count;
        if (v.count == 0) {
            break;
        }
        evict(m, &v);
    } while (true);
    return gone;
}

/* Under the lock: either fills v, or names a slab to empty. */
static struct slab *choose(struct mem *m, const struct need *need, struct victims *v)
{
    struct slab *best = NULL;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < (need->file ? WALK_MAX / 4 : CANDIDATES); i++) {
        struct mem_obj *o = sieve_next(m);
        if (o == NULL) {
            break;
        }
        if (has_file(o)) {
            uint64_t file_bytes = mem_file_of(o->body)->charged_bytes;
            if (grab(m, o, v)) {
                bytes += file_bytes;
            }
            if (v->count == BATCH || (v->count > 0 && bytes >= need->pages_bytes)) {
                return NULL;
            }
            continue;
        }
        if (need->file) {
            continue;
        }
        struct slab *slab = slab_of(m, o);
        if (need->cls != SLAB_NO_CLASS && slab->cls == need->cls && grab(m, o, v)) {
            return NULL;
        }
        if (best == NULL || slab->used < best->used) {
            best = slab;
        }
    }
    return v->count > 0 ? NULL : best;
}

/* Evicts about as much as is needed.  Returns how many objects. */
static size_t evict_for(struct mem *m, const struct need *need)
{
    size_t gone = 0;
    uint64_t bytes = 0;
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        struct victims v = {0};
        mem_lock(m);
        struct slab *slab = choose(m, need, &v);
        mem_unlock(m);
        size_t count = v.count;
        if (count > 0) {
            evict(m, &v);
            return gone + count;
        }
        if (slab == NULL) {
            break;
        }
        count = evict_slab(m, slab);
        gone += count;
        bytes += m->slabs.slab_bytes;
        if (count == 0 || bytes >= need->pages_bytes) {
            break;
        }
    }
    return gone;
}

/* One more try: RC_OK to look again, RC_NOSPACE to give up. */
YIELDS static enum rc make_room(struct mem *m, const struct need *need, unsigned tries)
{
    if (tries >= TRIES_MAX || (tries > 1 && !stv__may_wait())) {
        return RC_NOSPACE;
    }
    if (tries % EVICT_EVERY == 0) {
        mem_lock(m);
        if (m->slabs.empties > 0) {
            slabs_punch(&m->slabs);
        }
        uint64_t dying = m->dying_bytes;
        mem_unlock(m);
        if (evict_for(m, need) == 0 && dying == 0 && tries > 0) {
            return RC_NOSPACE;
        }
        return RC_OK;
    }
    if (UNLIKELY(m->seam != NULL && m->seam->pause != NULL)) {
        m->seam->pause(m->seam->arg);
    } else {
        stv__pause();
    }
    return RC_OK;
}

/* Under the lock: what could be had without evicting more. */
static uint64_t room_bytes(const struct mem *m)
{
    uint64_t taken = m->slabs.taken_bytes + m->cat.pages_bytes + m->file_bytes;
    uint64_t left = taken < m->bytes_max ? m->bytes_max - taken : 0;
    return left + m->dying_bytes;
}

static void evict_ahead(struct mem *m)
{
    struct victims v = {0};
    mem_lock(m);
    uint64_t room = room_bytes(m);
    while (room < m->reserve_bytes && v.count < AHEAD_MAX) {
        struct mem_obj *o = sieve_next(m);
        if (o == NULL) {
            break;
        }
        uint64_t footprint = o->estimate;
        if (!grab(m, o, &v)) {
            break;
        }
        room += footprint;
    }
    mem_unlock(m);
    if (v.count > 0) {
        evict(m, &v);
    }
}

static void count_fail(struct mem *m)
{
    mem_lock(m);
    m->stats.fails++;
    mem_unlock(m);
}

/* ---- what is asked for ---- */

static enum rc take_slot(struct mem *m, uint32_t cls, uint64_t *off)
{
    uint64_t need = slabs_need(&m->slabs, cls);
    if (need > 0 && mem_used(m) + need > m->bytes_max && m->slabs.empties > 0) {
        slabs_punch(&m->slabs);
        need = slabs_need(&m->slabs, cls);
    }
    if (need > 0 && mem_used(m) + need > m->bytes_max) {
        return RC_NOSPACE;
    }
    enum rc rc = slabs_take(&m->slabs, cls, off);
    if (rc == RC_OK) {
        m->stats.allocs++;
        m->stats.alloc_bytes += m->slabs.class_bytes[cls];
    }
    return rc;
}

enum rc mem__slot_new(struct mem *m, uint64_t bytes, struct mem_slot **out)
{
    uint64_t off = 0;
    struct need need = {.cls = slabs_class(&m->slabs, bytes)};
    if (need.cls == SLAB_NO_CLASS) {
        count_fail(m);
        return RC_NOSPACE;
    }
    for (unsigned tries = 0;; tries++) {
        mem_lock(m);
        enum rc rc = take_slot(m, need.cls, &off);
        mem_unlock(m);
        if (rc == RC_OK) {
            break;
        }
        rc = make_room(m, &need, tries);
        if (rc != RC_OK) {
            count_fail(m);
            return rc;
        }
    }
    evict_ahead(m);
    *out = mem__slot_wrap(m, off, m->slabs.class_bytes[need.cls]);
    return RC_OK;
}

enum rc mem__charge(struct mem *m, uint64_t bytes)
{
    struct need need = {.cls = SLAB_NO_CLASS, .pages_bytes = bytes};
    for (unsigned tries = 0;; tries++) {
        mem_lock(m);
        if (mem_used(m) + bytes > m->bytes_max && m->slabs.empties > 0) {
            slabs_punch(&m->slabs);
        }
        bool fits = mem_used(m) + bytes <= m->bytes_max;
        m->file_bytes += fits ? bytes : 0;
        mem_unlock(m);
        if (fits) {
            break;
        }
        enum rc rc = make_room(m, &need, tries);
        if (rc != RC_OK) {
            count_fail(m);
            return rc;
        }
    }
    evict_ahead(m);
    return RC_OK;
}

enum rc mem__count_file(struct mem *m)
{
    struct need need = {.cls = SLAB_NO_CLASS, .file = true};
    for (unsigned tries = 0;; tries++) {
        mem_lock(m);
        bool fits = m->files < m->files_max;
        m->files += fits;
        mem_unlock(m);
        if (fits) {
            return RC_OK;
        }
        if (make_room(m, &need, tries) != RC_OK) {
            count_fail(m);
            return RC_NOFILES;
        }
    }
}
