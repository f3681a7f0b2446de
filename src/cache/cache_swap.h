/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Objects that are put there whole, not fetched: stored where nobody sees them, then in one
 * exchange in the place of all objects of their digest.
 *
 *   cache_put_begin -> { cache_put_space -> cache_put_grown }* or cache_put_adopt
 *   -> cache_put_commit, or cache_put_abort
 *
 * Rules that callers rely on: a lookup finds what was there before, or the new object, and never
 * nothing; what a commit was told to compare with is still so at the moment of the exchange; what
 * was being fetched when it came still answers those who wait for it, and is found by nobody else;
 * and after a crash there is what was there before an exchange or after it, and after it once
 * cache_put_commit has returned.
 *
 * The CAS of a digest is the highest revision of its objects (or the number that its newest was
 * given): so it changes with whatever comes, and no revision is ever given twice. */
#ifndef CACHE_CACHE_SWAP_H
#define CACHE_CACHE_SWAP_H

#include "cache/cache.h"

/* All fields are the cache's own. */
struct cache_put {
    struct cache *cache;
    struct stv_obj *stv;
    char *space;
    size_t space_bytes;
    size_t space_used;
};

/* What an object by key has beside its body: OA_KEYED. */
struct obj_keyed {
    uint32_t flags; /* the client's */
    bool is_stale;  /* a client said so */
    uint64_t cas;   /* the number that it was given; 0: its revision */
};
enum { OBJ_KEYED_BYTES = 16 };
/* Its text, in buf; STR_NONE if all is zero. */
struct str obj_keyed_pack(const struct obj_keyed *keyed, char buf[OBJ_KEYED_BYTES]);
/* Zeros where the object has none; as obj_get. */
struct obj_keyed obj_keyed(const struct objcore *oc);

enum cache_when {
    CACHE_ALWAYS,
    CACHE_IF_NONE,  /* no object of the digest could be used by anybody */
    CACHE_IF_THERE, /* one could */
    CACHE_IF_CAS    /* one could, and their CAS is this one */
};
struct cache_swap {
    struct digest digest;
    enum cache_when when;
    bool ignores_coming; /* what is being fetched counts as not there (it is detached anyway) */
    uint64_t cas;
    struct str attrs[OA__COUNT]; /* borrowed; OA_FLAGS is not for you */
    struct obj_times times;
    unsigned obj_flags;
    bool is_promised;
};

/* What these attributes take in the store, beside the body. */
size_t cache_attr_bytes(const struct cache_swap *swap);
/* Chooses the place, as obj_store; `attr_bytes` as above, so that nothing has to move; a body of
 * unknown length is UINT64_MAX.  RC_NOSPACE: nothing to abort. */
MUST_USE enum rc cache_put_begin(struct cache *cache, struct stevedore *const *list,
                                 uint64_t body_len, size_t attr_bytes, struct cache_put *put);
/* Room for body bytes, at most `want`, at least one.  RC_NOSPACE, RC_NOFILES.  Yields. */
YIELDS MUST_USE enum rc cache_put_space(struct cache_put *put, uint64_t want, void **ptr,
                                        size_t *len);
void cache_put_grown(struct cache_put *put, size_t bytes);
/* The whole body is that of `old`, which is complete, and will be gone: as obj_adopt. */
MUST_USE enum rc cache_put_adopt(struct cache_put *put, struct objcore *old);
/* What has been written so far, at least one byte, as one run; until stv_rel.  RC_NOSPACE: it
 * cannot be mapped. */
MUST_USE enum rc cache_put_look(struct cache_put *put, struct stv_lease *lease);
/* RC_OK and the new *cas; RC_EXISTS: there is one, or it has another CAS; RC_NOT_FOUND: there is
 * none; RC_NOSPACE.  Ends the put, whatever it returns.  Yields. */
YIELDS MUST_USE enum rc cache_put_commit(struct cache_put *put, const struct cache_swap *swap,
                                         uint64_t *cas);
void cache_put_abort(struct cache_put *put);

/* As cache_purge, if the digest has an object that could be used, and (if `cas` is not 0) it has
 * this CAS.  RC_OK, RC_NOT_FOUND, RC_EXISTS: another one. */
MUST_USE enum rc cache_remove(struct cache *cache, const struct digest *digest, uint64_t cas);

/* ---- looking ---- */

struct cache_ask {
    struct digest digest;
    obj_match_fn *match; /* NULL: every object matches */
    void *match_arg;
    const struct http *http; /* for bans that look at requests; NULL: they are not tried */
    bool is_use;             /* counts as a hit */
};
struct cache_seen {
    struct objcore *oc;     /* the newest stored one that is fresh, or in grace; referenced */
    uint64_t cas;           /* of the digest, at the same moment; 0: nothing is stored */
    struct objcore *coming; /* if there is no oc: one that is being fetched; referenced, or NULL */
    uint32_t idle_s;        /* since its last use by key, or since it was stored; before this one */
    bool was_used;          /* before */
    bool is_promised;       /* obj_promise has been called */
    bool has_siblings;      /* some that do not match could be used by others */
};
/* RC_OK, RC_NOT_FOUND.  Parks behind nobody, and makes nobody wait.  Does not suspend. */
MUST_USE enum rc cache_find(struct cache *cache, const struct cache_ask *ask,
                            struct cache_seen *out);
/* True for one caller alone: it is to make a new one. */
bool obj_promise(struct objcore *oc);
/* The digest's objects expire so long from now (grace and keep stay); returns how many. */
unsigned cache_touch(struct cache *cache, const struct digest *digest, uint64_t ttl_ns);

#endif
