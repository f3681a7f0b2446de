/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Stevedores: where bodies and attributes lie.  An engine (memory, transient, later file) sits
 * behind one table of operations; every body it hands out is a range of a file descriptor.
 *
 * Life of an object, seen from here:
 *   newobj -> { alloc -> bytes are written -> commit }* -> final -> touch, ref/rel ... -> dead
 *   -> deleteobj (after the last reader has left)
 * or, when the fetch fails or nothing may be kept: newobj -> ... -> deleteobj, without final.
 *
 * Source: the stevedore API mail of 2014 (newobj, alloc, commit, ref, rel, final, deleteobj, free);
 * two things differ.  The engine, which alone knows where they fit, places the attributes; and
 * since bytes may move while an object grows, a reader asks by body offset, not by segment.
 *
 * Threads: any; one fetch writes an object, any number of readers read it meanwhile. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/digest.h"
#include "base/list.h"
#include "base/rc.h"

struct stevedore;
struct stv_obj; /* one object's place in its stevedore */
struct stv_seg; /* an allocation that readers can hold on to */
struct vault_link;
struct stv_seam; /* for tests; store_priv.h */

/* What can be sent without looking at it. */
struct obj_fd_payload {
    int fd; /* borrowed: do not close */
    uint64_t off;
    uint64_t len;
    uint32_t capabilities; /* OBJ_CAP_... */
    uint32_t variant_id;   /* 0: as fetched */
};
enum obj_cap {
    OBJ_CAP_IDENTITY = 1 << 0,
    OBJ_CAP_GZIP = 1 << 1,
    OBJ_CAP_BR = 1 << 2,
    OBJ_CAP_ZSTD = 1 << 3,
    OBJ_CAP_ESI_FLAT = 1 << 4,
    OBJ_CAP_ESI_RAW = 1 << 5,
    OBJ_CAP_RANGE = 1 << 6,
    OBJ_CAP_SEALED = 1 << 7,
    OBJ_CAP_COMPLETE = 1 << 8,
};

/* A run of body bytes that stays readable until stv_rel, whatever happens to the object. */
struct stv_lease {
    struct stv_seg *seg; /* NULL: it lies elsewhere (a relayed body); stv_rel does nothing */
    const void *ptr;     /* NULL if it was not asked for */
    uint64_t body_off;   /* where in the body it begins: the offset asked for */
    size_t len;          /* to the end of the segment; the caller knows how much is written */
};

/* What the catalog keeps of an object, besides where it lies. */
struct stv_record {
    struct digest digest;
    uint64_t revision;    /* of the whole cache, ever increasing: stv_revision_next */
    uint64_t ban_seq;     /* the newest ban it was tested against */
    uint64_t t_origin_ns; /* real time */
    uint64_t ttl_ns;
    uint64_t grace_ns;
    uint64_t keep_ns;
    bool supersedes; /* written for the whole head: every lower revision of the digest is dead */
};

/* Given for each object found by stv_resurrect. */
struct stv_found {
    struct stv_obj *obj; /* taken by the callback if it returns true, else deleted */
    struct stv_record record;
    struct str oa; /* checked */
    uint64_t body_len;
};
typedef bool stv_found_fn(void *arg, const struct stv_found *found);

/* Eviction asks the owner of an object (stv_set_owner).  grab: under the engine's lock, takes a
 * reference if the owner lives; no locks, no calls back.  evict: without locks, may call stv_dead
 * and stv_entomb; drops the reference. */
struct stv_owner_ops {
    bool (*grab)(void *owner);
    void (*evict)(void *owner);
};

struct stv_conf {
    char name[32];
    enum stv_kind { STV_MEMORY, STV_TRANSIENT } kind;
    uint64_t bytes;
    struct vault_link *vault; /* NULL: nothing is kept for a next worker */
    const struct stv_owner_ops *owner_ops;
    const struct stv_seam *seam; /* NULL but in tests; borrowed for the store's life */
    unsigned files_max;          /* bodies with a descriptor of their own; 0: by RLIMIT_NOFILE */
};

/* "[name=]memory,SIZE" and its aliases malloc and default; Transient=... bounds the transient one.
 * `why` (borrowed static or within errbuf) says what is wrong. RC_INVALID, RC_UNSUPPORTED. */
MUST_USE enum rc stv_conf_parse(struct stv_conf *conf, const char *spec, char *errbuf,
                                size_t errbuf_bytes);

/* Opens an empty store, or, with files of an earlier worker in conf->vault, that worker's.
 * RC_NOSPACE, RC_NOFILES, RC_LIMIT. */
MUST_USE enum rc stv_open(const struct stv_conf *conf, struct stevedore **out);
/* Leases and objects without stv_final must be gone.  What is left of live objects is forgotten
 * here, and kept by the vault, if there is one, for the next worker. */
void stv_close(struct stevedore **stv);

const char *stv_name(const struct stevedore *stv);

/* ---- one object being fetched ---- */

/* RC_NOSPACE: this engine does not want it, try the next one.  `estimate`: body and attributes, 0
 * if unknown.  The caller owns *out until deleteobj. */
MUST_USE enum rc stv_newobj(struct stevedore *stv, uint64_t estimate, struct stv_obj **out);

/* Room for the next body bytes: at most `want` plus rounding, perhaps less; at *len of it at *ptr.
 * One such interim segment at a time.  May evict.  RC_NOSPACE, RC_NOFILES.  Yields. */
YIELDS MUST_USE enum rc stv_alloc(struct stv_obj *obj, uint64_t want, void **ptr, size_t *len);
/* Ends the interim segment with `used` bytes of it; the rest goes back.  Bytes may move. */
void stv_commit(struct stv_obj *obj, size_t used);
/* Instead of stv_alloc and stv_commit: the whole body of `from`, which is final, or was before it
 * died, becomes that of obj too, without being copied; `from` is replaced by obj, and lives (as its
 * owner's reference) until obj is final or deleted.  RC_UNSUPPORTED: copy it. */
MUST_USE enum rc stv_adopt(struct stv_obj *obj, struct stv_obj *from);
/* Readers, also while it grows: a lease on the bytes from body_off on.  `map`: the caller needs
 * ptr.  RC_NOT_FOUND: nothing allocated there (yet); RC_NOSPACE: cannot be mapped now. */
MUST_USE enum rc stv_ref(struct stv_obj *obj, uint64_t body_off, bool map, struct stv_lease *out);
void stv_rel(struct stv_lease *lease);

/* Writes attributes and catalog record and makes the object live.  All is committed.
 * The order of stores is in docs/formats/catalog.md.  RC_NOSPACE; RC_STALE: stv_dead came first, it
 * did not go live.  Yields. */
YIELDS MUST_USE enum rc stv_final(struct stv_obj *obj, struct str oa,
                                  const struct stv_record *record);
/* The same in two steps, for who has to draw the revision and make it live in one breath, under a
 * lock of his own.  First all that takes time, with a record whose revision does not count yet; as
 * long as the object is not live nothing of it changes for a next worker.  RC_NOSPACE.  Yields. */
YIELDS MUST_USE enum rc stv_prepare(struct stv_obj *obj, struct str oa,
                                    const struct stv_record *record);
/* Then this, which only stores: RC_STALE as above.  Never suspends, takes no lock but the engine's.
 */
MUST_USE enum rc stv_live(struct stv_obj *obj, uint64_t revision);

/* ---- a live object ---- */

/* Whose object it is. */
struct stevedore *stv_of(const struct stv_obj *obj);
/* The owner is told of eviction; before final. */
void stv_set_owner(struct stv_obj *obj, void *owner);
/* The attributes of a final object; a borrow for as long as the object is not deleted. */
struct str stv_oa(const struct stv_obj *obj);
uint64_t stv_body_len(const struct stv_obj *obj);
/* The whole body of a final object as one mapped run, without taking a lease (the object must not
 * be deleted meanwhile).  NULL when it is not mapped: use stv_ref. */
const void *stv_body_ptr(const struct stv_obj *obj);
/* For sendfile, splice or another process.  RC_UNSUPPORTED for slab ranges, which may leave only by
 * copying (their bytes get rewritten).  Marks the file as lent and, once complete, sealed.  Also
 * while the body grows: what has been committed or written may be sent. */
MUST_USE enum rc stv_payload(struct stv_obj *obj, struct obj_fd_payload *out);
/* A hit: one relaxed store at most. */
void stv_touch(struct stv_obj *obj);
/* False until a body that an earlier worker left has been checked. */
bool stv_is_verified(const struct stv_obj *obj);
/* Checks it, on an offload thread.  RC_DAMAGED.  Yields. */
YIELDS MUST_USE enum rc stv_verify(struct stv_obj *obj);
/* New times, e.g. after a 304 or a soft purge. */
void stv_retime(struct stv_obj *obj, const struct stv_record *record);

/* No later worker will see it; before the purge, replacement or eviction is acknowledged.  Also
 * before or during stv_final.  Done once it returns, also if another thread began it.  Never
 * suspends, takes no lock but the engine's. */
void stv_dead(struct stv_obj *obj);
/* Frees everything that no lease holds.  Takes *obj. */
void stv_deleteobj(struct stv_obj **obj);

/* ---- the store as a whole ---- */

/* Reports live objects of an earlier worker, newest first; on a thread of its own, while traffic is
 * served.  Objects found by then in newer revisions are the callback's to refuse. */
void stv_resurrect(struct stevedore *stv, stv_found_fn *fn, void *arg);
/* What an earlier worker left of this digest, and the callback above has not taken, is dead: no
 * later worker will see it.  None of it is reported any more, but one that is being reported at
 * this moment, which is the callback's to refuse.  Before a purge or replacement is acknowledged;
 * and before an object is declared dead that may have replaced some of it.  `which` (NULL: all)
 * chooses by attributes, which may be garbage; under the engine's lock, no calls back.  O(1), never
 * suspends; nothing to do once stv_resurrect has returned. */
typedef bool stv_which_fn(void *arg, struct str oa);
void stv_entomb(struct stevedore *stv, const struct digest *digest, stv_which_fn *which, void *arg);
/* Monotonic across workers (reserved in blocks in the catalog). */
uint64_t stv_revision_next(struct stevedore *stv);
/* Where there are several stores, one of them gives the revisions for all; told of the others'
 * newest (their stv_revision_next at start), it gives only higher ones. */
void stv_revision_seen(struct stevedore *stv, uint64_t revision);

struct stv_stats {
    uint64_t bytes_max;
    uint64_t bytes_used; /* by st_blocks of our files, what was lent and dropped included */
    uint64_t bytes_lent; /* of dropped bodies still held elsewhere */
    uint64_t objects;
    uint64_t files;
    uint64_t allocs, frees, fails; /* as Varnish's c_req, c_freed, c_fail */
    uint64_t alloc_bytes, free_bytes;
    uint64_t evicted;
    uint64_t recovered, dropped; /* at recovery */
};
void stv_stat(struct stevedore *stv, struct stv_stats *out);
uint64_t stv_lent_max(struct stevedore *stv, uint64_t bytes); /* sets; returns the old one */

/* For a signal handler: the worker dies at a fault while using obj (may be NULL).  At the second
 * such fault recovery drops the object.  Async-signal-safe. */
void stv_note_fault(struct stv_obj *obj);

#endif
