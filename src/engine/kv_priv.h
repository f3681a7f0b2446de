/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of objects by key share:
 *
 *   kv.c         looking, and what needs no new value
 *   kv_put.c     storing a value that comes in pieces, or is there
 *   kv_change.c  what makes a new value of the old one
 *   kv_url.c     keys that are URLs
 *   kv_page.c    a value becomes a page
 *   kv_code.c    ... that is stored packed, and is unpacked */
#ifndef ENGINE_KV_PRIV_H
#define ENGINE_KV_PRIV_H

#include "cache/cache_swap.h"
#include "engine/engine_priv.h"
#include "engine/kv.h"
#include "filter/plan.h"

enum { KV_STORES_MAX = 16 };

/* ---- kv.c ---- */

struct wrk *kv__wrk(const struct kv_session *s);
/* Says why, for the client. */
enum rc kv__refuse(struct kv_session *s, enum rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Before each operation: a flush that is due, and what the last one said. */
void kv__begin(struct kv_session *s);
/* RC_TOO_LONG; RC_MALFORMED: no bytes. */
MUST_USE enum rc kv__digest(struct kv_session *s, struct str key, struct digest *digest);
/* memcached's times as ours.  Gone at once: a TTL of 0. */
uint64_t kv__ttl_ns(int64_t exptime, uint64_t now_ns);
struct obj_times kv__times(const struct kv_session *s, int64_t exptime);
/* How many seconds are left; -1: it never expires. */
int64_t kv__ttl_left_s(const struct obj_times *times, uint64_t now_ns);
/* Where entries of this digest go, in turn; NULL-terminated. */
void kv__stores(const struct engine *engine, const struct digest *digest,
                struct stevedore *list[KV_STORES_MAX + 1]);
/* What *item says of what was found, whose reference it takes; and who has won. */
void kv__fill(struct kv_session *s, const struct kv_get *ask, const struct cache_seen *seen,
              struct kv_item *item);
/* What stands behind a failure to find room: RC_NOSPACE, or RC_TOO_LONG: there is no room for that
 * much in any store. */
enum rc kv__no_room(const struct engine *engine, uint64_t bytes);

/* What an earlier worker left is checked before it is used.  RC_NOT_FOUND: it was damaged, and is
 * gone, as the reference is then.  Yields. */
YIELDS MUST_USE enum rc kv__verify(struct kv_session *s, struct objcore **oc);

/* ---- kv_put.c ---- */

/* A value of which the bytes are there: pieces behind each other, from memory or an object. */
struct kv_piece {
    const char *bytes;  /* NULL: from ... */
    struct objcore *oc; /* ... this object's body, which is complete */
    uint64_t len;
};
/* RC_NOSPACE, RC_NOFILES.  Yields. */
YIELDS MUST_USE enum rc kv__copy_bytes(struct cache_put *put, const char *bytes, uint64_t len);
/* Stores them under swap->digest.  As cache_put_commit, and RC_TOO_LONG.  Yields. */
YIELDS MUST_USE enum rc kv__store_pieces(struct kv_session *s, struct cache_swap *swap,
                                         const struct kv_piece *pieces, unsigned n, uint64_t *cas);

/* ---- kv_change.c ---- */

/* What is there under this digest, and what it says of itself.  Yields. */
struct kv_old {
    struct cache_seen seen;
    struct obj_keyed keyed;
    struct obj_times times;
    uint64_t len;
};
YIELDS MUST_USE enum rc kv__find_old(struct kv_session *s, const struct digest *digest,
                                     struct kv_old *old);
void kv__drop_old(struct kv_old *old);
/* Append and prepend: the new value is `piece`.  Yields. */
YIELDS MUST_USE enum rc kv__join(struct kv_session *s, const struct kv_value *value,
                                 const struct digest *digest, const struct kv_piece *piece,
                                 uint64_t *cas);
/* An empty entry for who shall fill it.  Yields. */
YIELDS MUST_USE enum rc kv__vivify(struct kv_session *s, const struct digest *digest,
                                   int64_t exptime);

/* ---- kv_url.c ---- */

/* The request that a GET for a URL would be; and room for what is made of it. */
#define KV_URL_MAGIC 0x6b765f75u
struct kv_url {
    uint32_t magic;
    bool has_begun;
    struct request req;
    struct arena arena;
};
/* vcl_recv and vcl_hash have run, and the digest is in req.  The caller owns *out until
 * kv_url__close, which tells the log how it ended.  RC_DENIED, RC_MALFORMED, RC_TOO_LONG, RC_LIMIT.
 * Yields. */
YIELDS MUST_USE enum rc kv_url__open(struct kv_session *s, struct str url, struct str command,
                                     struct kv_url **out);
void kv_url__close(struct kv_session *s, struct kv_url **url, enum rc rc);
/* As cache_find, for what a GET would find; waits for what is on its way, if there is nothing
 * else.  RC_OK, RC_NOT_FOUND, RC_CANCELLED.  Yields. */
YIELDS MUST_USE enum rc kv_url__find(struct kv_session *s, struct kv_url *u, bool is_use,
                                     struct cache_seen *seen);
/* Its head, with room for more fields; NULL: there is no room at all. */
struct http *kv_url__head_of(struct kv_url *u, const struct objcore *oc);
/* All of these Yield. */
YIELDS MUST_USE enum rc kv_url__get(struct kv_session *s, const struct kv_get *ask,
                                    struct kv_item *item);
YIELDS MUST_USE enum rc kv_url__delete(struct kv_session *s, const struct kv_delete *ask);
YIELDS MUST_USE enum rc kv_url__touch(struct kv_session *s, struct str key, int64_t exptime);

/* ---- kv_page.c ---- */

/* What a body has to go through before it is stored; no steps: nothing. */
struct kv_code {
    struct plan plan;
    struct filter_notes notes;
    struct str names;
    bool is_encoded; /* what is stored can be unpacked again */
};
/* A value that is a whole response. */
struct kv_whole {
    struct http *head; /* as it is stored */
    bool has_vary;     /* ... and as it came */
    struct str body;   /* of the value */
};
/* Strictly, into the arena.  RC_MALFORMED, RC_LIMIT. */
MUST_USE enum rc kv_page__parse(struct kv_session *s, struct kv_url *u, struct str value,
                                struct kv_whole *whole);
/* What is to be put there: `whole`, or (NULL) value->len bytes of body, on top of what is there; in
 * the arena, until it is rewound.  RC_EXISTS, RC_NOT_FOUND, RC_UNSUPPORTED (it varies),
 * RC_MALFORMED, RC_LIMIT.  And what its body has to go through.  Yields. */
YIELDS MUST_USE enum rc kv_page__make(struct kv_session *s, struct kv_url *u,
                                      const struct kv_value *value, const struct kv_whole *whole,
                                      struct cache_swap *swap, struct kv_code *code);

/* ---- kv_code.c ---- */

/* The filters for a body like that of `old`, whose Content-Encoding this is; for one of a whole
 * response.  RC_LIMIT. */
MUST_USE enum rc kv_code__like(struct kv_session *s, struct kv_url *u, const struct objcore *old,
                               struct str encoding, struct kv_code *code);
MUST_USE enum rc kv_code__whole(struct kv_session *s, struct kv_url *u, const struct http *h,
                                struct kv_code *code);
/* Makes the head that of what leaves them.  RC_LIMIT. */
MUST_USE enum rc kv_code__head(struct kv_url *u, struct kv_code *code, struct http *h);
/* The body through the filters (there are some), and there.  As cache_put_commit; RC_MALFORMED: it
 * is not what its head says.  Yields. */
YIELDS MUST_USE enum rc kv_code__store(struct kv_session *s, struct kv_url *u, struct kv_code *code,
                                       struct cache_swap *swap, struct str body, uint64_t *cas);
/* Unpacks what is stored packed, into item->mem.  RC_TOO_LONG, RC_LIMIT, RC_MALFORMED.  Yields. */
YIELDS MUST_USE enum rc kv_code__in_the_clear(struct kv_session *s, struct kv_url *u,
                                              struct kv_item *item);

#endif
