/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Objects by key: what the memcached protocol asks of the cache, whatever words it uses.
 *
 * A key that is a URL (http://host/path, https://host/path, //host/path) names the object that a
 * GET for it would find: vcl_recv and vcl_hash run, and may refuse.  Any other key, of at most
 * KV_KEY_MAX bytes, is an entry in a name space of its own, and no VCL runs.  What the operations
 * mean: docs/memcached.md.
 *
 * A value is stored with struct kv_put, either whole (kv_store) or as it comes in from a socket
 * (kv_put_begin, { kv_put_space, kv_put_grown }*, kv_put_commit or kv_put_abort); nobody sees
 * any of it before the commit, which is atomic: the next lookup finds the new object, readers of
 * the old one read it to its end, and nobody misses.
 *
 * CAS is a number of the whole key: it changes with whatever is put in its place, also by a fetch,
 * and is never given twice.  On loops' threads only; a session and all that comes of it stay on
 * one loop. */
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include "engine/engine.h"

enum {
    KV_KEY_MAX = 250,   /* of a plain key */
    KV_URL_MAX = 8192,  /* of a URL */
    KV_WHOLE = 0x10000, /* client flag: the value is a whole HTTP response */
    KV_WHY_BYTES = 128,
};

/* One connection of a client; filled by the transport, borrowed by every call. */
struct kv_session {
    struct engine *engine;
    struct str user;      /* as whom the client has authenticated; STR_NONE: nobody */
    const char *listener; /* its name, and ... */
    const char *endpoint; /* ... its address as the operator wrote it; may be NULL */
    struct str client_addr, client_port; /* both ends, as those of a request (engine.h) */
    struct str server_addr, server_port;
    bool is_unix;
    uint32_t vxid;    /* of the session: its transactions are linked from it in the log */
    uint64_t wait_ns; /* how long a call may wait for an object on its way; 0: not at all */

    /* After RC_DENIED, RC_MALFORMED or RC_UNSUPPORTED, until the next call: a line of text for the
     * client, without line ends; and the status, if VCL gave one. */
    char why[KV_WHY_BYTES];
    unsigned why_status;
};

/* Whether the key is a URL. */
bool kv_is_url(struct str key);

/* ---- looking ---- */

struct kv_get {
    struct str key;
    bool wants_whole; /* of a URL: the head, too (kv_item.head) */
    bool is_peek;     /* counts as no use */
    bool cannot_win;  /* it would not be told that it has won (text `get`), so it does not */
    bool touches;     /* sets the time to live, by: */
    int64_t exptime;
    bool
        vivifies; /* meta N: if there is nothing, an empty entry is made, and this client has won */
    int64_t vivify_exptime;
    bool recaches; /* meta R: with less than so many seconds left, one client wins */
    int64_t recache_s;
};

struct kv_item {
    struct str head;  /* of a URL asked for whole: status line to empty line; else STR_NONE */
    const char *body; /* all of it, until kv_release; NULL: read it with kv_next */
    uint64_t len;     /* of the body */
    uint32_t flags;   /* the client's; KV_WHOLE if head is given */
    uint64_t cas;
    int64_t ttl_s;    /* left; -1: never expires */
    bool was_hit;     /* before this */
    uint32_t idle_s;  /* since the last access, or since it was stored */
    bool is_stale;    /* X: it was invalidated */
    bool has_won;     /* W: this client shall make a new one */
    bool is_won;      /* Z: another one does so already */
    bool is_vivified; /* made by this call */

    /* kv's own: */
    struct objcore *oc;
    char *mem;
};

/* RC_OK: *item is the caller's until kv_release.  RC_NOT_FOUND; RC_DENIED; RC_TOO_LONG (the key);
 * RC_MALFORMED (the URL); RC_NOSPACE (vivifying); RC_TIMEOUT, RC_CANCELLED.  Yields only for URLs,
 * and to vivify. */
YIELDS MUST_USE enum rc kv_get(struct kv_session *s, const struct kv_get *ask,
                               struct kv_item *item);
/* Body bytes from `off` < item->len on: a lease with at least one, until stv_rel.  RC_RESET,
 * RC_NOSPACE (cannot be mapped), RC_TIMEOUT, RC_CANCELLED.  Yields. */
YIELDS MUST_USE enum rc kv_next(struct kv_session *s, struct kv_item *item, uint64_t off,
                                struct stv_lease *lease);
/* The same for sendfile.  RC_UNSUPPORTED: use kv_next.  Yields. */
YIELDS MUST_USE enum rc kv_next_payload(struct kv_session *s, struct kv_item *item, uint64_t off,
                                        struct obj_fd_payload *payload);
/* Leaves it empty.  One that is empty is left alone. */
void kv_release(struct kv_item *item);

/* ---- storing ---- */

enum kv_mode { KV_SET, KV_ADD, KV_REPLACE, KV_APPEND, KV_PREPEND };

struct kv_value {
    struct str key; /* borrowed until kv_put_commit or kv_put_abort */
    enum kv_mode mode;
    uint32_t flags;
    int64_t exptime;  /* 0: never (a URL: its own policy); up to 30 days: seconds from now; beyond:
                         seconds since 1970; negative: it is stored and gone */
    uint64_t len;     /* of the value */
    uint64_t cas;     /* 0: none is asked for */
    uint64_t new_cas; /* meta E: what it is to be; 0: a new one */
    bool invalidates; /* meta I: a value with a lower cas than there is is stored, as stale */
    bool vivifies;    /* meta N with append or prepend: if there is nothing it is set */
    int64_t vivify_exptime;
};

/* What is being stored; all of it is kv's own. */
struct kv_put {
    struct kv_session *s;
    struct kv_value value;
    uint64_t got;
    struct kv_work *work;
};

/* RC_OK: commit or abort it.  Else the value is not wanted, and the caller reads it away:
 * RC_DENIED, RC_TOO_LONG (the key, or a value that no store takes), RC_MALFORMED, RC_NOSPACE; and
 * what kv_put_commit would say (RC_EXISTS, RC_NOT_FOUND) if that is certain already.  Yields. */
YIELDS MUST_USE enum rc kv_put_begin(struct kv_session *s, const struct kv_value *value,
                                     struct kv_put *put);
/* Room for the next bytes of the value, at least one, at most what is missing.  RC_NOSPACE.
 * Yields. */
YIELDS MUST_USE enum rc kv_put_space(struct kv_put *put, void **ptr, size_t *len);
/* So many bytes were written there. */
void kv_put_grown(struct kv_put *put, size_t bytes);
/* All bytes are there.  RC_OK and the new *cas; RC_EXISTS: `add`, and there is one; or it has
 * another cas.  RC_NOT_FOUND: there is none to replace, append to or compare with.  RC_NOSPACE;
 * RC_TOO_LONG; RC_MALFORMED: no whole response; RC_UNSUPPORTED: the URL varies by more than
 * Accept-Encoding, and this is a body alone.  Ends the put, whatever it returns.  Yields. */
YIELDS MUST_USE enum rc kv_put_commit(struct kv_put *put, uint64_t *cas);
void kv_put_abort(struct kv_put *put);
/* All of that for a value that is there: value->len bytes at `bytes`.  Yields. */
YIELDS MUST_USE enum rc kv_store(struct kv_session *s, const struct kv_value *value,
                                 const void *bytes, uint64_t *cas);

/* ---- the rest ---- */

struct kv_delete {
    struct str key;
    uint64_t cas;     /* 0: none is asked for */
    uint64_t new_cas; /* meta E, with invalidates or empties */
    bool invalidates; /* meta I: it stays, as stale */
    bool empties;     /* meta x: it stays, without value and flags */
    bool sets_ttl;    /* meta T, with invalidates or empties */
    int64_t exptime;
};
/* RC_OK, RC_EXISTS (another cas), RC_NOT_FOUND, RC_DENIED, RC_NOSPACE.  Yields. */
YIELDS MUST_USE enum rc kv_delete(struct kv_session *s, const struct kv_delete *ask);

/* RC_OK, RC_NOT_FOUND, RC_DENIED.  Yields. */
YIELDS MUST_USE enum rc kv_touch(struct kv_session *s, struct str key, int64_t exptime);

struct kv_arith {
    struct str key;
    bool is_decr;
    uint64_t delta;
    uint64_t cas;
    uint64_t new_cas;
    bool vivifies; /* meta N, binary: if there is nothing, it becomes `initial` */
    uint64_t initial;
    int64_t vivify_exptime;
    bool touches;
    int64_t exptime;
    /* Filled in: */
    uint64_t result;
    uint64_t result_cas;
    int64_t result_ttl_s; /* -1: never expires */
    bool was_vivified;
};
/* RC_OK, RC_EXISTS (another cas), RC_NOT_FOUND, RC_INVALID: no number, RC_DENIED, RC_NOSPACE;
 * RC_UNSUPPORTED: a URL.  Yields. */
YIELDS MUST_USE enum rc kv_arith(struct kv_session *s, struct kv_arith *ask);

/* Every plain entry that is there then is gone, `delay_s` seconds from now (or at that time, as
 * exptime).  Pages stay: bans are for those. */
void kv_flush_all(struct kv_session *s, int64_t delay);

struct kv_stats {
    uint64_t items;       /* objects of all kinds */
    uint64_t total_items; /* ever stored */
    uint64_t bytes;       /* that they take */
    uint64_t bytes_max;
    uint64_t evictions;
};
void kv_stat(struct kv_session *s, struct kv_stats *out);

#endif
