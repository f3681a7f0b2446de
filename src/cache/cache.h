/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Objects by digest: lookup without locks, one fetch for many who ask, streaming while it runs,
 * grace with refresh, expiry, purge.  The words are Varnish's: a head holds all objects of one
 * digest, a core is one object.
 *
 * A request:  cache_lookup -> hit (use, obj_release), or a busy core to fetch into:
 * A fetch:    busy core -> obj_store -> obj_set... -> obj_ready -> { obj_space, obj_grown }*
 *             -> obj_finish, or at any point obj_fail; then obj_release.
 *
 * Rules that callers rely on: a head never loses its last usable object while it is replaced; a
 * fetch that began before a purge (or set, delete) of its digest still answers those who wait for
 * it, and is found by nobody else; who waits is woken by success, failure or its deadline. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "base/digest.h"
#include "base/rc.h"
#include "run/run.h"
#include "store/store.h"

struct cache;
struct objcore;

enum expiry_news {
    EXPIRY_IN,   /* an object will expire at when_ns */
    EXPIRY_LOOK, /* it is the next; not before when_ns */
    EXPIRY_OUT   /* it expired */
};
/* Told of each; the object is borrowed, locks may be held: for the log. */
typedef void expiry_news_fn(void *arg, enum expiry_news what, const struct objcore *oc,
                            uint64_t when_ns);

struct cache_conf {
    struct run *run;
    expiry_news_fn *expiry_news; /* or NULL */
    void *expiry_arg;
    uint64_t seed; /* for schedules in tests; 0 otherwise */
    /* How many calls of cache_resurrect will come.  Until the last has returned, what is purged or
     * replaced is remembered, so that no older object of it is taken back. */
    unsigned resurrections;
    /* With what (NULL-terminated; borrowed for the cache's life): told of each purge until then, so
     * that what has not been taken back yet is dead for a later worker too.  NULL: none. */
    struct stevedore *const *recovering;
    /* Where there are several stores: the one that gives the revisions of all (see
     * stv_revision_seen); borrowed.  NULL: each its own. */
    struct stevedore *revisions;
    struct ban_log *ban_log; /* where bans outlive the worker; borrowed, or NULL */
};
/* The caller owns *out.  RC_OK. */
MUST_USE enum rc cache_new(const struct cache_conf *conf, struct cache **out);
/* After run_stop: no request, fetch or reference is left.  Objects stay in their stores. */
void cache_free(struct cache **cache);

/* For stv_conf.owner_ops of every store whose objects this cache owns. */
const struct stv_owner_ops *cache_owner_ops(void);
/* Takes back what an earlier worker left; blocking, on a thread of its own that is not registered
 * with RCU. */
void cache_resurrect(struct cache *cache, struct stevedore *stv);
/* Kills what has expired, some hundreds at most; returns when to come again (monotonic: now if
 * there is more, NEVER if nothing will expire).  Any thread. */
uint64_t cache_expire(struct cache *cache);

struct obj_times {
    uint64_t t_origin_ns; /* real time at which the TTL began, Age taken off */
    uint64_t ttl_ns;
    uint64_t grace_ns;
    uint64_t keep_ns;
};

/* ---- lookup ---- */

/* Whether this request may use the object (Vary); borrowed, does not suspend. */
typedef bool obj_match_fn(void *arg, const struct objcore *oc);

/* What a fetch for this request would most likely vary by, given what the objects of its key that
 * are there vary by (the newest that varies): bytes for obj_fits_fn, borrowed until it is called
 * again, empty if there is no telling; does not suspend. */
typedef struct str obj_predict_fn(void *arg, const struct objcore *oc);
/* Whether this request would have had that fetched as well. */
typedef bool obj_fits_fn(void *arg, struct str prediction);

/* What an object's age makes it to a request that asks for more, or less, than the object's own
 * times say; borrowed, does not suspend. */
enum obj_use { OBJ_UNUSABLE, OBJ_FRESH, OBJ_STALE };
typedef enum obj_use obj_use_fn(void *arg, const struct objcore *oc, uint64_t now_ns);

/* How old the asker lets it be, whatever the object says; UINT64_MAX: no bound of that kind. */
struct lookup_bounds {
    uint64_t ttl_ns;
    uint64_t grace_ns;
};

struct lookup_req {
    struct digest digest;
    obj_match_fn *match;     /* NULL: every object matches */
    obj_predict_fn *predict; /* NULL: whoever fetches is waited for */
    obj_fits_fn *fits;       /* with predict, and with match's argument, as it */
    void *match_arg;
    obj_use_fn *use; /* NULL: as the object's times say; not asked about marks */
    void *use_arg;
    const struct lookup_bounds *bounds; /* NULL: none; not together with `use` */
    uint64_t now_ns; /* real time that objects are fresh or stale at; 0: when it is looked */
    const struct http *http; /* for bans that look at requests; NULL: they are not tried */
    void (*banned)(void *arg, const struct objcore *oc); /* told of each; or NULL */
    void *banned_arg;
    bool always_miss;
    bool ignore_busy;
    uint64_t deadline_ns; /* for being parked behind a fetch */
};
enum lookup_kind {
    LOOKUP_HIT,     /* oc is fresh, or is being fetched and has its head */
    LOOKUP_STALE,   /* oc is in grace; busy is set for the one who shall refresh it */
    LOOKUP_MISS,    /* busy is set */
    LOOKUP_HITMISS, /* oc says, or said until lately, that this is not cacheable; busy is set:
                       fetch, others do not wait */
    LOOKUP_HITPASS, /* oc says: pass */
};
struct lookup {
    enum lookup_kind kind;
    struct objcore *oc;   /* referenced, or NULL */
    struct objcore *busy; /* owned: finish or fail it, then release; or NULL */
    bool parked;          /* it had to wait */
    unsigned strangers;   /* objects of other variants that it came by */
};
/* RC_OK; RC_TIMEOUT, RC_CANCELLED or RC_REFUSED (see obj_fail_all) while parked.  Yields only when
 * it parks. */
YIELDS MUST_USE enum rc cache_lookup(struct cache *cache, const struct lookup_req *req,
                                     struct lookup *out);
/* The newest stored object that matches, fresh or not, and no mark; referenced, or NULL.  Counts as
 * no use.  Does not suspend. */
struct objcore *cache_peek(struct cache *cache, const struct lookup_req *req);
/* A busy core that nobody else can find, for a pass: fetch into it as into any other (obj_ready
 * returns false).  The caller owns it. */
struct objcore *cache_private(struct cache *cache);
/* What this fetch will replace, newest first to match the request; for a conditional fetch.  NULL:
 * nothing.  Borrowed until obj_finish or obj_fail. */
struct objcore *obj_replaces(const struct objcore *busy);

/* Kills every object of the digest and detaches its fetches; none of them is found by a lookup that
 * begins after this returns, in this worker or a later one.  Returns how many were killed. */
unsigned cache_purge(struct cache *cache, const struct digest *digest);

/* What a soft purge makes of an object's times: the rest of the TTL from now on, grace, keep; those
 * that it does not set stay. */
struct obj_retime {
    bool sets_ttl, sets_grace, sets_keep;
    uint64_t ttl_ns, grace_ns, keep_ns;
};
/* Sets the times of every object of the digest; returns how many there are. */
unsigned cache_soft_purge(struct cache *cache, const struct digest *digest,
                          const struct obj_retime *want);

/* ---- fetching ---- */

/* Attributes: collected while fetching, then stored as one checked stream. */
enum obj_attr {
    OA_HTTP = 1, /* the response's head, as the engine encodes it */
    OA_VARY = 2,
    OA_FLAGS = 3, /* kept by obj_set_flags; not for obj_set */
    OA_XID = 4,
    OA_GZIPBITS = 5, /* these two may also be set late, see obj_set */
    OA_ESI = 6,
    OA_CODED = 7, /* which filters changed its encoding */
    OA_KEYED = 8, /* of what was put there by key: cache_swap.h */
    OA__COUNT = 9
};
enum obj_flag {
    OBJ_HITMISS = 1 << 0,
    OBJ_HITPASS = 1 << 1,
    OBJ_NEVER_STALE =
        1 << 2, /* for obj_use_fn: no request may be answered with it once it is stale */
    OBJ_NEVER_FRESH = 1 << 3, /* it serves for validation only: nobody waits for what replaces it */
    OBJ_FAILED = 1 << 4,      /* what those get who waited for a fetch that failed */
    OBJ_ENCODED = 1 << 5,     /* its Content-Encoding can be taken off again */
    OBJ_ESI = 1 << 6,         /* it has an ESI program */
};

/* Chooses the place: the first stevedore of the list (NULL-terminated) that takes it. `body_len`:
 * UINT64_MAX if unknown.  RC_NOSPACE: none does; fail the core, stream without storing. */
MUST_USE enum rc obj_store(struct objcore *busy, struct stevedore *const *list, uint64_t body_len);
/* Copies.  Before obj_ready; what is only known at the end of the body (OA_GZIPBITS, OA_ESI) also
 * after it, and then obj_get has it once the object is complete.  RC_TOO_LONG past 1 MiB in all. */
MUST_USE enum rc obj_set(struct objcore *busy, enum obj_attr attr, struct str value);
void obj_set_times(struct objcore *busy, const struct obj_times *times);
void obj_set_flags(struct objcore *busy, unsigned obj_flags);
/* The whole body is that of `old`, which is complete and will be replaced by this one; without
 * copying.  After obj_store, before obj_ready, instead of obj_space.  RC_UNSUPPORTED: copy it. */
MUST_USE enum rc obj_adopt(struct objcore *busy, struct objcore *old);
/* Before obj_ready: nobody is to find this object, only who waits for it gets it.  `ends_others`:
 * once it is whole, what it would have replaced goes all the same. */
void obj_hide(struct objcore *busy, bool ends_others);
/* Before obj_ready, of a body that is whole already: who waits for it is woken by obj_finish and
 * not before, so nobody who waited sees less than all of it. */
void obj_hold_back(struct objcore *busy);
/* Before obj_ready: forgets what was stored and set so far. */
void obj_restart(struct objcore *busy);
/* Whether somebody is parked behind this fetch. */
bool obj_is_awaited(const struct objcore *busy);
/* The head is known: those who wait may use it and follow the body.  False: a purge came between,
 * it will answer those and then go. */
bool obj_ready(struct objcore *busy);
/* obj_space and obj_grown may also come before obj_ready, for a body that is shown only when it is
 * whole. */
/* Room for body bytes, at most `want`, at least one.  RC_NOSPACE, RC_NOFILES: obj_relay may help.
 * Of a relayed body also RC_NOT_FOUND: nobody reads it.  Yields. */
YIELDS MUST_USE enum rc obj_space(struct objcore *busy, uint64_t want, void **ptr, size_t *len);
/* After obj_space found no room: the object is found by nobody from now on, and the rest of its
 * body goes, unstored, through so much memory to those who have it already, at the pace of the
 * slowest. On the fiber that will call obj_space. */
void obj_relay(struct objcore *busy, size_t window_bytes);
/* `bytes` more have been written there; readers may have them. */
void obj_grown(struct objcore *busy, size_t bytes);
/* The body is whole.  From now on it stands alone, and what it replaces is dead.  RC_NOSPACE: it
 * could not be kept; readers that follow still get all of it.  Yields. */
YIELDS MUST_USE enum rc obj_finish(struct objcore *busy);
/* The fetch failed: readers get RC_RESET, one of those who wait becomes the next to fetch. */
void obj_fail(struct objcore *busy);
/* The same, but nobody tries again: the lookups of those who wait return RC_REFUSED. */
void obj_fail_all(struct objcore *busy);
/* How many fetches failed, one after another, for those who wait for this one. */
unsigned obj_failed_before(const struct objcore *busy);

/* ---- using ---- */

/* A borrow that ends with the next suspension; copy what must live longer. STR_NONE if not set, or
 * if it was set late and the object is not complete. */
struct str obj_get(const struct objcore *oc, enum obj_attr attr);
struct obj_times obj_times(const struct objcore *oc);
unsigned obj_flags(const struct objcore *oc);
/* All bytes are there and stay.  Then obj_len is the length of the body. */
bool obj_is_complete(const struct objcore *oc);
/* Its fetch has ended well: no more bytes will come, though what is private or was purged is never
 * complete. */
bool obj_is_whole(const struct objcore *oc);
/* The length, as obj_store was told while the fetch runs (UINT64_MAX: not known; a fetch that ends
 * with another length has failed). */
uint64_t obj_len(const struct objcore *oc);
/* The stored place of a complete object, for stv_body_ptr, stv_payload and the like; borrowed as
 * long as oc is referenced. */
struct stv_obj *obj_stv(const struct objcore *oc);
const struct stevedore *obj_stevedore(const struct objcore *oc);
/* Number of uses so far (Varnish's obj.hits). */
uint64_t obj_hits(const struct objcore *oc);

/* Body bytes from `off` on, waiting for them if the fetch still runs: a lease with at least one
 * byte, lease.len is what may be used, until stv_rel and at most until this fiber asks for bytes of
 * the object again or releases it.  RC_EOF past the end, RC_RESET if the fetch failed,
 * RC_TIMEOUT, RC_CANCELLED, RC_NOSPACE (cannot be mapped).  Yields. */
YIELDS MUST_USE enum rc obj_next(struct objcore *oc, uint64_t off, bool map, uint64_t deadline_ns,
                                 struct stv_lease *lease);
/* As obj_next, for the fd lane: how many bytes from off on may be sent from *payload.
 * RC_UNSUPPORTED: this body leaves by copying. Yields. */
YIELDS MUST_USE enum rc obj_next_payload(struct objcore *oc, uint64_t off, uint64_t deadline_ns,
                                         struct obj_fd_payload *payload);

/* Where a hit on a complete object reads: kept to ask the processor for these lines ahead of the
 * next hit (obj_lines_fetch), when the object may be gone.  Never read through. */
struct obj_lines {
    const void *stripe, *bucket, *head, *core, *place, *attrs, *body;
};
void obj_lines(const struct objcore *oc, struct obj_lines *out);
void obj_lines_fetch(const struct obj_lines *lines);

void obj_ref(struct objcore *oc);
/* Leaves NULL. */
void obj_release(struct objcore **oc);

/* Kills this object only (it was found to be damaged, or is refused). */
void obj_kill(struct cache *cache, struct objcore *oc);

/* ---- figures ---- */
struct cache_stats {
    uint64_t heads, cores, expired, evicted, parked, woken, purged, stale_fetches, resurrected;
    uint64_t relayed; /* bodies that outgrew their store on their way */
};
void cache_stat(const struct cache *cache, struct cache_stats *out);

#endif
