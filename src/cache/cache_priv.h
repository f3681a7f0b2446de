/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of cache/ share.  The life of an object, which the files tell in parts:
 *
 *   1 asked for   lookup.c finds nothing that will do and makes a busy core, a core with a boc
 *   2 fetched     fetch.c collects attributes in the boc; others park behind it (park.c)
 *   3 ready       the head is known: the core goes into its head's array; the parked go on
 *   4 growing     body bytes go to the store, readers follow (follow.c)
 *   5 finished    attributes and record go to the store; what the object replaces leaves; the boc
 *                 goes once nobody can be looking at it
 *   6 used        hits take references and nothing else
 *   7 let go      expired, evicted, purged or replaced: it dies in the store and leaves the array,
 *                 in that order and under one lock, so that nobody can report as gone what a later
 *                 worker might still find; after a grace period the cache's reference is dropped
 *   8 freed       with the last reference its place in the store, and it
 *
 * A body that finds no more room in phase 4 leaves the array at once, and the rest of it goes to
 * those who read it already through a window (relay.c).  A failed fetch goes from 2, 3 or 4 to 7.
 * A fetch whose head's epoch moved skips the array, and 5: it answers those who wait for it from
 * the boc and goes.
 *
 * Locks, in this order, none held while something suspends or waits for a grace period:
 *   stripe   all heads whose digest falls on it: cores, epochs, who is busy, who is parked
 *   boc      who follows a body, and how far they are
 *   bans     the list of bans, and where objects stand on it (also under a stripe)
 *   expiry   the heap (also under a stripe; not together with a boc's)
 * A thread never holds two stripes, so heads may share one freely; that makes a head 40 bytes
 * smaller, and since making and unmaking a head happen under the same lock, a head cannot die
 * between being found under it and being used. */
#ifndef CACHE_CACHE_PRIV_H
#define CACHE_CACHE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/list.h"
#include "base/rng.h"
#include "cache/bans.h"
#include "cache/cache_ban.h"
#include "run/rcu.h"

#define CACHE_MAGIC 0x6a09e667U
#define HEAD_MAGIC 0xbb67ae85U
#define CORE_MAGIC 0x3c6ef372U
#define BOC_MAGIC 0xa54ff53aU

enum {
    CACHE_STRIPES = 1024,
    /* Variants of one digest; past it the oldest goes.  A Vary on something that every client
     * chooses freely would make each lookup walk all of them. */
    HEAD_CORES_MAX = 1000,
};

/* ---- cores and heads ---- */

/* Immutable.  Most heads have one core, and need none of these (struct core_set). */
struct cores {
    size_t count;
    struct objcore *v[];
};

enum core_place {
    CORE_OUTSIDE, /* of its head's array: not there yet, or not any more */
    CORE_INSIDE,
    CORE_LEAVING, /* the next head__rebuild leaves it out */
};

/* Beside enum obj_flag. */
enum core_flag {
    CORE_FOUND = 0x8000,      /* an earlier worker stored it */
    CORE_SUPERSEDES = 0x4000, /* it was put in place of all that its head had (swap.c) */
    CORE_QUIET = 0x2000,      /* the log has nothing about its end: an entry by key, no response */
    CORE__FLAGS = 0xf000,
};

struct boc;

/* The first 64 bytes are what a hit touches. */
struct objcore {
    uint32_t magic;
    /* The array's reference, if it stands there, is dropped a grace period after it left. */
    _Atomic uint32_t refs;
    uint32_t heap_place;        /* expiry lock: 1 + index, 0 outside */
    uint16_t flags;             /* enum obj_flag, enum core_flag; fixed once ready */
    _Atomic bool is_stored;     /* phase 5 is over */
    _Atomic bool is_refreshing; /* written under the stripe: a fetch will replace it */
    struct ban *_Atomic ban;    /* the newest that it has passed; NULL: nobody can find it */
    _Atomic uint64_t hits;
    struct obj_times times; /* once ready, only soft purges change them: core__times */

    struct objhead *head;
    struct stv_obj *stv;
    struct boc *_Atomic boc;  /* until stored; for ever if it never is */
    uint64_t revision;        /* fixed once stored */
    _Atomic uint32_t used_s;  /* real time of its last use by key, or when it was stored that way */
    uint8_t place;            /* stripe: enum core_place */
    _Atomic bool is_promised; /* by key: one client was told to make a new one */
    union {
        struct objcore *next_left; /* leaving: the chain that head__rebuild returns */
        struct rcu_head rcu;       /* let go */
    };
};
/* What malloc gives for 112 as well. */
static_assert(sizeof(struct objcore) <= 120, "memory beside body and headers is budgeted");

/* The first 64 bytes are what a lookup touches. */
struct objhead {
    struct objhead *_Atomic next[2]; /* table.c */
    struct digest digest;
    _Atomic uintptr_t cores; /* as head__cores reads it.  Written under the stripe */
    struct cache *cache;

    uint32_t magic;
    /* All under the stripe: */
    uint32_t epoch;
    uint32_t refs; /* its cores, wherever they are */
    union {
        struct list busies; /* bocs that others may park behind, oldest first */
        struct rcu_head rcu;
    };
};
static_assert(sizeof(struct objhead) <= 96, "memory beside body and headers is budgeted");

struct tomb;
struct stripe {
    _Alignas(64) _Atomic uintptr_t index; /* table.c */
    uint64_t secret;                      /* which bucket a head is in */
    pthread_mutex_t lock;
    size_t heads;
    bool is_growing;
    struct tomb *tombs;
    struct rng rng; /* tests with a seed promote whom it draws */
};

struct expiry_item {
    uint64_t when_ns; /* real time */
    struct objcore *oc;
};
struct expiry {
    pthread_mutex_t lock;
    struct expiry_item *items;
    size_t count;
    size_t cap;
    expiry_news_fn *news; /* or NULL */
    void *news_arg;
};

struct cache {
    uint32_t magic;
    bool is_seeded;
    struct stevedore *revisions; /* NULL: each store gives its own */
    struct stevedore *const *recovering;
    struct stripe stripes[CACHE_STRIPES];
    struct expiry expiry;
    struct bans bans;
    struct objhead nowhere; /* of cores that nobody may find */
    _Atomic unsigned resurrections_left;
    _Atomic uint64_t heads, cores, expired, evicted, parked, woken, purged, stale_fetches,
        resurrected, relayed;
};

/* call_rcu.  fn begins with RCU_AFTER_READERS. */
void cache__defer(struct rcu_head *rcu, void (*fn)(struct rcu_head *rcu));
/* Waits until all that was deferred before has run. */
void cache__barrier(void);

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- head.c ---- */

struct stripe *cache__stripe(struct cache *cache, const struct digest *digest);
static inline struct stripe *head__stripe(struct objhead *head)
{
    return cache__stripe(head->cache, &head->digest);
}
void stripe__lock(struct stripe *stripe);
void stripe__unlock(struct stripe *stripe);

/* Found or made; under the stripe, good until it is unlocked. */
struct objhead *head__get(struct cache *cache, const struct digest *digest);
void head__init(struct objhead *head, struct cache *cache, const struct digest *digest);
/* One reference less; with the last one the head goes.  Without locks. */
void head__unref(struct objhead *head);
/* A core that the caller owns, with one reference, and a reference to the head.  Under the stripe.
 */
struct objcore *core__new(struct objhead *head);
/* The last reference is gone. */
void core__free(struct objcore *oc);
/* One more, of a core that is referenced, or found in an array by an RCU reader. */
void core__ref(struct objcore *oc);

/* What the word in a head says: none, one core (its address, with CORES_ONE), or an array. */
struct core_set {
    size_t count;
    struct objcore *only;
    const struct cores *many; /* NULL unless there are several */
};
#define CORES_ONE ((uintptr_t)1)

/* The cores of a head; under the stripe, or by an RCU reader. */
static inline struct core_set head__cores(const struct objhead *head)
{
    uintptr_t word = atomic_load_explicit(&head->cores, memory_order_acquire);
    if (LIKELY((word & CORES_ONE) != 0)) {
        return (struct core_set){1, (struct objcore *)(word - CORES_ONE), NULL};
    }
    const struct cores *many = (const struct cores *)word;
    return (struct core_set){many == NULL ? 0 : many->count, NULL, many};
}
static inline struct objcore *core_at(const struct core_set *set, size_t i)
{
    return set->many == NULL ? set->only : set->many->v[i];
}
/* Adds a core (may be NULL; the array takes a reference of its own) before or behind those who
 * stay.  Those who leave are dead in the store before; returns them, for core__let_go after
 * unlocking.  Under the stripe. */
enum head_end { HEAD_FRONT, HEAD_BACK };
MUST_USE struct objcore *head__rebuild(struct objhead *head, struct objcore *added,
                                       enum head_end end);
/* Likewise, but in the store they stay alive, for a next worker. */
MUST_USE struct objcore *head__arrange(struct objhead *head, struct objcore *added,
                                       enum head_end end);
/* All that the head has leaves with the next rebuild, and nothing goes into it that is being
 * fetched now.  Under the stripe. */
void head__clear(struct objhead *head);
/* Marks one core and rebuilds; NULL if it was not inside.  Under the stripe. */
MUST_USE struct objcore *head__take_out(struct objcore *oc);
/* The end of phase 7 for a chain; returns how many.  Without locks. */
unsigned core__let_go(struct cache *cache, struct objcore *chain);
/* What is prepared in the store (stv_prepare) gets its revision and is live; RC_STALE.  Under the
 * stripe. */
MUST_USE enum rc core__go_live(struct objcore *oc);
/* Both: takes it out, lets it go.  False if somebody else did.  Without locks. */
bool core__kill(struct objcore *oc);

static inline struct ban *core__ban(const struct objcore *oc)
{
    return atomic_load_explicit(&oc->ban, memory_order_acquire);
}

/* ---- table.c ---- */

void table__init(struct stripe *stripe);
void table__fini(struct stripe *stripe);
/* NULL when there is none.  Under the stripe: exact.  By an RCU reader: one that was added or
 * removed meanwhile may be missed or found; good until the fiber suspends. */
struct objhead *table__find(struct stripe *stripe, const struct digest *digest);
/* Under the stripe.  After removal readers may stand on the head for a grace period. */
void table__add(struct stripe *stripe, struct objhead *head);
void table__remove(struct stripe *stripe, struct objhead *head);
/* Where the chain of this digest begins. */
const void *table__bucket(struct stripe *stripe, const struct digest *digest);
/* All heads; under the stripe. */
void table__walk(struct stripe *stripe, void (*fn)(void *arg, const struct objhead *head),
                 void *arg);
/* Some head, NULL if there is none. */
struct objhead *table__any(struct stripe *stripe);

/* ---- swap.c ---- */

/* The number that stands for all that the head has now, as an RCU reader; 0: nothing is stored. */
uint64_t swap__cas(const struct core_set *cores);

/* ---- resurrect.c ---- */

/* What is found of this digest from now on is too old.  Under the stripe. */
void tomb__add(struct cache *cache, const struct digest *digest);
void tomb__free_all(struct cache *cache);
/* And no later worker finds it either; before the death of what may have replaced it, and before it
 * is acknowledged. */
void tomb__in_stores(struct cache *cache, const struct digest *digest);
/* oc is live: what it replaces and was not found yet is found by no later worker. */
void tomb__replaced(const struct objcore *oc);
/* Whether the stored objects a and b answer the same requests. */
bool core__same_variant(const struct objcore *a, const struct objcore *b);

/* ---- expiry.c ---- */

void expiry__init(struct expiry *expiry);
void expiry__fini(struct expiry *expiry);
/* Under the stripe, while the core is inside: so whoever takes it out finds it here. */
void expiry__insert(struct cache *cache, struct objcore *oc);
void expiry__remove(struct cache *cache, struct objcore *oc);

/* ---- times ---- */

/* Soft purges change them while others read (retime.c). */
static inline struct obj_times core__times(const struct objcore *oc)
{
    const struct obj_times *t = &oc->times;
    return (struct obj_times){
        .t_origin_ns = t->t_origin_ns,
        .ttl_ns = __atomic_load_n(&t->ttl_ns, __ATOMIC_RELAXED),
        .grace_ns = __atomic_load_n(&t->grace_ns, __ATOMIC_RELAXED),
        .keep_ns = __atomic_load_n(&t->keep_ns, __ATOMIC_RELAXED),
    };
}
/* Writes the times of a stored object into its record.  Under the stripe. */
void core__record_times(struct objcore *oc);

static inline uint64_t times__fresh_until(const struct obj_times *t)
{
    return clock_after(t->t_origin_ns, t->ttl_ns);
}
static inline uint64_t times__stale_until(const struct obj_times *t)
{
    return clock_after(times__fresh_until(t), t->grace_ns);
}
static inline uint64_t times__kept_until(const struct obj_times *t)
{
    return clock_after(times__stale_until(t), t->keep_ns);
}
uint64_t cache__real_now(void);

/* ---- boc.c: what an object has while it is fetched ---- */

enum boc_state { BOC_FETCHING, BOC_READY, BOC_FINISHED, BOC_FAILED };

/* The cores that a fetch will replace, newest first, referenced. */
struct replaced {
    struct replaced_core {
        struct objcore *oc;
        bool is_mine; /* this fetch set oc->is_refreshing, and clears it */
    } * v;
    size_t count;
};

struct follow_group;
struct relay;
struct reader;

/* Who reads the body, by fiber. */
struct readers {
    struct reader **bucket;
    size_t buckets;
    size_t count;
};

struct waiter;
/* Waiters that got their answer, by loop. */
struct wakes {
    struct waiter *first;
    unsigned count;
};

struct boc {
    uint32_t magic;
    _Atomic uint32_t refs;    /* the core's (dropped a grace period after the core lets go of it),
                                 followers, messages under way */
    _Atomic unsigned state;   /* enum boc_state */
    _Atomic uint64_t written; /* body bytes that may be read */

    /* Under the stripe: */
    uint32_t epoch;
    bool was_inside;        /* once ready: no purge had come between */
    unsigned failed_before; /* fetches of this object, one after another */
    struct list link;       /* head->busies, if others may park behind it */
    struct str prediction;  /* owned: by what it will likely vary; who differs need not wait */
    bool was_retimed;       /* soft purges came before it was whole */
    bool is_hidden;         /* nobody is to find it, and ... */
    bool ends_others;       /* ... when it is whole, nor what it would have replaced */
    struct list parked;     /* struct waiter */
    bool holds_back;        /* those who got it as it became ready are woken when it is whole: */
    struct wakes held;
    struct replaced replaced;

    /* Of the fetch; attributes are fixed once ready. */
    struct str attrs[OA__COUNT];
    unsigned early_attrs; /* bits: which of them were set when it became ready */
    size_t attr_bytes;
    uint64_t announced; /* the body's length as the fetch gave it; UINT64_MAX if it did not */
    char *space;
    size_t space_bytes;
    size_t space_used;

    pthread_mutex_t lock;
    struct follow_group *groups; /* one for each loop that follows */
    struct readers readers;
    struct relay *relay; /* NULL, but once the body has outgrown its store */
    struct rcu_head rcu;
};

/* A busy core in phase 2, with its boc; takes what is in *replaced (NULL: nothing) and leaves it
 * empty.  Under the stripe. */
struct objcore *boc__new_busy(struct objhead *head, struct replaced *take_replaced);
void boc__ref(struct boc *boc);
void boc__release(struct boc *boc);
/* Of an object that has no place in a store yet, or never gets one. */
void boc__drop_attrs(struct boc *boc);
static inline enum boc_state boc__state(const struct boc *boc)
{
    return (enum boc_state)atomic_load_explicit(&boc->state, memory_order_acquire);
}
static inline struct boc *core__boc(const struct objcore *oc)
{
    return atomic_load_explicit(&oc->boc, memory_order_acquire);
}
/* The boc of a core that is being fetched by the caller. */
struct boc *boc__of_busy(const struct objcore *busy);

/* ---- follow.c ---- */

/* After `written` or `state` moved: sends one message to each loop where somebody waits. */
void follow__progress(struct boc *boc);
void follow__free_groups(struct boc *boc);

/* ---- relay.c: a body that outgrew its store ---- */

/* The calling fiber reads from off on, and needs nothing before it any more. */
void relay__enter(struct boc *boc, uint64_t off);
/* It reads no more. */
void relay__leave(struct boc *boc);
void relay__free(struct boc *boc);
/* On the fetch's fiber; what is written is committed, and the core is outside. */
void relay__begin(struct boc *boc, size_t bytes);
/* RC_NOT_FOUND: nobody reads it; RC_CANCELLED.  Yields. */
YIELDS MUST_USE enum rc relay__space(struct objcore *busy, struct boc *boc, char **ptr,
                                     size_t *len);
/* The fetch is over, well or not. */
void relay__end(struct boc *boc);
/* False: the body is not relayed.  Else *rc is RC_OK and the lease has bytes from off on, of the
 * `end` that are written; or RC_RESET: they are gone. */
bool relay__next(const struct objcore *oc, struct boc *boc, uint64_t off, uint64_t end, bool map,
                 struct stv_lease *lease, enum rc *rc);
/* How many of the first `end` bytes are in the store. */
uint64_t relay__stored(const struct objcore *oc, struct boc *boc, uint64_t end);

/* ---- park.c: waiting for a head to be known ---- */

/* On the heap, since a message about it may be under way when its fiber has gone on already. */
struct waiter {
    struct post post; /* sent for itself and `next` */
    struct list link; /* boc->parked, under the stripe: who unlinks it fills in the answer */
    struct waiter *next;
    struct waiter *next_loop;
    struct stripe *stripe;
    struct loop *loop;
    struct fiber *fiber;
    /* The answer: */
    struct objcore *oc;   /* referenced: look whether it will do */
    struct objcore *busy; /* owned: fetch, for the one before you failed */
    bool is_refused;      /* neither: too many fetches failed */
    /* Only on the loop's thread: */
    bool has_arrived; /* the message */
    bool has_left;    /* the fiber */
};

/* Under the stripe; the calling fiber waits next, with park__wait after unlocking. */
struct waiter *park__enter(struct boc *boc, struct stripe *stripe);
/* The answer of a waiter, which it frees.  RC_OK; RC_REFUSED: there will be none; RC_TIMEOUT and
 * RC_CANCELLED only if no answer was given.  Yields. */
YIELDS MUST_USE enum rc park__wait(struct waiter **take_waiter, uint64_t deadline_ns,
                                   struct objcore **oc, struct objcore **busy);

/* All who are parked behind `boc` get a reference of oc.  Under the stripe. */
void park__answer_all(struct boc *boc, struct objcore *oc, struct wakes *wakes);
/* boc failed: one who is parked gets to fetch, the others wait for that; or for a fetch that runs
 * already.  Under the stripe. */
void park__promote(struct objhead *head, struct boc *boc, struct wakes *wakes);
/* boc failed, and those who are parked behind it are told to give up.  Under the stripe. */
void park__refuse_all(struct boc *boc, struct wakes *wakes);
/* One message to each loop.  Without locks. */
void park__wake(struct cache *cache, struct wakes *wakes);

#endif
