/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Storing a value by key.
 *
 * A value that is there is copied to its place and committed, with nothing on the heap.  One that
 * comes in pieces goes straight from the socket to its place; what must be looked at first (it is
 * appended, or belongs to a URL) lies in a store as well, in a place that never becomes an object:
 * so the memory of values on their way is the stores', which have a bound, and not the heap's. */
#include "engine/kv_priv.h"

#include <stdlib.h>

#include "base/mem.h"

/* What a value on its way needs beside struct kv_put. */
struct kv_work {
    struct digest digest;
    struct cache_put put;
    bool is_open;       /* put: commit or abort it */
    struct kv_url *url; /* of a URL */
    enum rc rc;         /* how it ended, for the log */
};

enum { PAGE_TRIES = 100, PAGE_HEAD_BYTES = 1024 };

/* ---- pieces ---- */

enum rc kv__copy_bytes(struct cache_put *put, const char *bytes, uint64_t len)
{
    while (len > 0) {
        void *to = NULL;
        size_t room = 0;
        enum rc rc = cache_put_space(put, len, &to, &room);
        if (rc != RC_OK) {
            return rc;
        }
        memcpy(to, bytes, room);
        cache_put_grown(put, room);
        bytes += room;
        len -= room;
    }
    return RC_OK;
}

YIELDS static enum rc copy_body(struct cache_put *put, struct objcore *oc, uint64_t len)
{
    uint64_t at = 0;
    while (at < len) {
        struct stv_lease lease;
        enum rc rc = obj_next(oc, at, true, NEVER, &lease);
        if (rc != RC_OK) {
            return rc;
        }
        size_t bytes = lease.len < len - at ? lease.len : (size_t)(len - at);
        rc = kv__copy_bytes(put, lease.ptr, bytes);
        stv_rel(&lease);
        if (rc != RC_OK) {
            return rc;
        }
        at += bytes;
    }
    return RC_OK;
}

YIELDS static enum rc copy_pieces(struct cache_put *put, const struct kv_piece *pieces, unsigned n)
{
    enum rc rc = RC_OK;
    for (unsigned i = 0; rc == RC_OK && i < n; i++) {
        const struct kv_piece *piece = &pieces[i];
        rc = piece->bytes != NULL ? kv__copy_bytes(put, piece->bytes, piece->len)
                                  : copy_body(put, piece->oc, piece->len);
    }
    return rc;
}

static enum rc begin(struct kv_session *s, const struct cache_swap *swap, uint64_t len,
                     struct cache_put *put)
{
    struct stevedore *list[KV_STORES_MAX + 1];
    kv__stores(s->engine, &swap->digest, list);
    enum rc rc = cache_put_begin(s->engine->conf.cache, list, len, cache_attr_bytes(swap), put);
    return rc == RC_NOSPACE ? kv__no_room(s->engine, len) : rc;
}

enum rc kv__store_pieces(struct kv_session *s, struct cache_swap *swap,
                         const struct kv_piece *pieces, unsigned n, uint64_t *cas)
{
    uint64_t len = 0;
    for (unsigned i = 0; i < n; i++) {
        if (__builtin_add_overflow(len, pieces[i].len, &len)) {
            return RC_TOO_LONG;
        }
    }
    struct cache_put put;
    enum rc rc = begin(s, swap, len, &put);
    if (rc != RC_OK) {
        return rc;
    }
    rc = copy_pieces(&put, pieces, n);
    if (rc != RC_OK) {
        cache_put_abort(&put);
        return rc == RC_NOFILES ? RC_NOSPACE : rc;
    }
    rc = cache_put_commit(&put, swap, cas);
    kv__wrk(s)->objm.kv_total_items += rc == RC_OK;
    return rc;
}

/* ---- what is to be stored ---- */

static enum cache_when when_of(const struct kv_value *value)
{
    if (value->cas != 0) {
        return CACHE_IF_CAS;
    }
    switch (value->mode) {
    case KV_ADD:
        return CACHE_IF_NONE;
    case KV_REPLACE:
        return CACHE_IF_THERE;
    case KV_SET:
    case KV_APPEND:
    case KV_PREPEND:
        break;
    }
    return CACHE_ALWAYS;
}

static struct cache_swap swap_of(struct kv_session *s, const struct kv_value *value,
                                 const struct digest *digest, char text[OBJ_KEYED_BYTES])
{
    const struct obj_keyed keyed = {.flags = value->flags, .cas = value->new_cas};
    struct cache_swap swap = {
        .digest = *digest,
        .when = when_of(value),
        .cas = value->cas,
        .times = kv__times(s, value->exptime),
    };
    swap.attrs[OA_KEYED] = obj_keyed_pack(&keyed, text);
    return swap;
}

static bool is_joined(const struct kv_value *value)
{
    return value->mode == KV_APPEND || value->mode == KV_PREPEND;
}

/* Meta I: there is a newer one than the client has seen, and still it is stored, as stale.  For the
 * others to see that it is, its number has to be the next after what is there. */
YIELDS static enum rc store_as_stale(struct kv_session *s, const struct kv_value *value,
                                     const struct digest *digest, const struct kv_piece *piece,
                                     uint64_t *cas)
{
    enum rc rc;
    do {
        struct kv_old old;
        rc = kv__find_old(s, digest, &old);
        if (rc != RC_OK) {
            return rc;
        }
        bool is_older = value->cas < old.seen.cas;
        uint64_t seen_cas = old.seen.cas;
        bool was_promised = old.seen.is_promised;
        kv__drop_old(&old);
        if (!is_older && value->cas != seen_cas) {
            return RC_EXISTS;
        }
        char text[OBJ_KEYED_BYTES];
        struct cache_swap swap = swap_of(s, value, digest, text);
        const struct obj_keyed keyed = {
            .flags = value->flags, .cas = value->new_cas, .is_stale = is_older};
        swap.attrs[OA_KEYED] = obj_keyed_pack(&keyed, text);
        swap.cas = seen_cas;
        if (is_older) {
            /* It stands in for what is there, for as long as that would have, and whoever makes a
             * new one goes on. */
            swap.times = old.times;
            swap.is_promised = was_promised;
        }
        rc = kv__store_pieces(s, &swap, piece, 1, cas);
    } while (rc == RC_EXISTS);
    return rc;
}

YIELDS static enum rc store(struct kv_session *s, const struct kv_value *value,
                            const struct digest *digest, const struct kv_piece *piece,
                            uint64_t *cas)
{
    if (is_joined(value)) {
        return kv__join(s, value, digest, piece, cas);
    }
    if (value->invalidates && value->cas != 0) {
        return store_as_stale(s, value, digest, piece, cas);
    }
    char text[OBJ_KEYED_BYTES];
    struct cache_swap swap = swap_of(s, value, digest, text);
    return kv__store_pieces(s, &swap, piece, 1, cas);
}

static void count(struct kv_session *s, const struct kv_value *value, enum rc rc)
{
    struct vsc_objm *n = &kv__wrk(s)->objm;
    n->kv_cmd_set++;
    n->kv_store_too_large += rc == RC_TOO_LONG;
    n->kv_store_no_memory += rc == RC_NOSPACE;
    if (value->cas != 0) {
        n->kv_cas_hits += rc == RC_OK;
        n->kv_cas_badval += rc == RC_EXISTS;
        n->kv_cas_misses += rc == RC_NOT_FOUND;
    }
}

YIELDS static enum rc store_entry(struct kv_session *s, const struct kv_value *value,
                                  const void *bytes, uint64_t *cas)
{
    struct digest digest;
    const struct kv_piece piece = {.bytes = bytes == NULL ? "" : bytes, .len = value->len};
    *cas = 0;
    kv__begin(s);
    enum rc rc = kv__digest(s, value->key, &digest);
    if (rc == RC_OK) {
        rc = store(s, value, &digest, &piece, cas);
    }
    count(s, value, rc);
    return rc;
}

YIELDS static enum rc store_page(struct kv_session *s, const struct kv_value *value,
                                 const void *bytes, uint64_t *cas)
{
    struct kv_put put;
    enum rc rc = kv_put_begin(s, value, &put);
    if (rc != RC_OK) {
        return rc;
    }
    rc = kv__copy_bytes(&put.work->put, bytes, value->len);
    if (rc == RC_OK) {
        put.got = value->len;
        return kv_put_commit(&put, cas);
    }
    rc = rc == RC_NOFILES ? RC_NOSPACE : rc;
    put.work->rc = rc;
    count(s, value, rc);
    kv_put_abort(&put);
    return rc;
}

enum rc kv_store(struct kv_session *s, const struct kv_value *value, const void *bytes,
                 uint64_t *cas)
{
    *cas = 0;
    return kv_is_url(value->key) ? store_page(s, value, bytes, cas)
                                 : store_entry(s, value, bytes, cas);
}

/* ---- a value that comes in pieces ---- */

static struct str command_of(const struct kv_value *value)
{
    static const struct str names[] = {
        [KV_SET] = STR_INIT("set"),         [KV_ADD] = STR_INIT("add"),
        [KV_REPLACE] = STR_INIT("replace"), [KV_APPEND] = STR_INIT("append"),
        [KV_PREPEND] = STR_INIT("prepend"),
    };
    return value->cas != 0 ? STR("cas") : names[value->mode];
}

YIELDS static enum rc begin_page(struct kv_put *put)
{
    struct kv_work *work = put->work;
    const struct engine *engine = put->s->engine;
    struct stevedore *list[KV_STORES_MAX + 1];
    if (is_joined(&put->value)) {
        return kv__refuse(put->s, RC_UNSUPPORTED, "a page cannot be added to");
    }
    enum rc rc = kv_url__open(put->s, put->value.key, command_of(&put->value), &work->url);
    if (rc != RC_OK) {
        return rc;
    }
    work->digest = work->url->req.digest;
    kv__stores(engine, &work->digest, list);
    rc = cache_put_begin(engine->conf.cache, list, put->value.len, PAGE_HEAD_BYTES, &work->put);
    work->is_open = rc == RC_OK;
    return rc == RC_NOSPACE ? kv__no_room(engine, put->value.len) : rc;
}

YIELDS static enum rc begin_entry(struct kv_put *put)
{
    struct kv_work *work = put->work;
    enum rc rc = kv__digest(put->s, put->value.key, &work->digest);
    if (rc == RC_OK) {
        char text[OBJ_KEYED_BYTES];
        struct cache_swap swap = swap_of(put->s, &put->value, &work->digest, text);
        rc = begin(put->s, &swap, put->value.len, &work->put);
        work->is_open = rc == RC_OK;
    }
    return rc;
}

/* Straight to where it stays, unless it has to be looked at first. */
static bool goes_straight(const struct kv_value *value)
{
    return !is_joined(value) && !(value->invalidates && value->cas != 0);
}

enum rc kv_put_begin(struct kv_session *s, const struct kv_value *value, struct kv_put *put)
{
    *put = (struct kv_put){.s = s, .value = *value};
    kv__begin(s);
    put->work = xcalloc(1, sizeof *put->work);
    put->work->rc = RC_RESET; /* unless it is committed */
    enum rc rc = kv_is_url(value->key) ? begin_page(put) : begin_entry(put);
    if (rc != RC_OK) {
        put->work->rc = rc;
        count(s, value, rc);
        kv_put_abort(put);
    }
    return rc;
}

enum rc kv_put_space(struct kv_put *put, void **ptr, size_t *len)
{
    CHECK(put->work != NULL);
    CHECK(put->got < put->value.len);
    enum rc rc = cache_put_space(&put->work->put, put->value.len - put->got, ptr, len);
    return rc == RC_NOFILES ? RC_NOSPACE : rc;
}

void kv_put_grown(struct kv_put *put, size_t bytes)
{
    CHECK(bytes <= put->value.len - put->got);
    cache_put_grown(&put->work->put, bytes);
    put->got += bytes;
}

YIELDS static enum rc commit_straight(struct kv_put *put, uint64_t *cas)
{
    struct kv_work *work = put->work;
    char text[OBJ_KEYED_BYTES];
    struct cache_swap swap = swap_of(put->s, &put->value, &work->digest, text);
    work->is_open = false;
    enum rc rc = cache_put_commit(&work->put, &swap, cas);
    kv__wrk(put->s)->objm.kv_total_items += rc == RC_OK;
    return rc;
}

YIELDS static enum rc commit_looked_at(struct kv_put *put, uint64_t *cas)
{
    struct kv_work *work = put->work;
    const char *bytes = "";
    struct stv_lease lease = {0};
    enum rc rc = RC_OK;
    if (put->value.len > 0) {
        rc = cache_put_look(&work->put, &lease);
        bytes = lease.ptr;
    }
    if (rc == RC_OK) {
        CHECK(put->value.len == 0 || lease.len >= put->value.len);
        const struct kv_piece piece = {.bytes = bytes, .len = put->value.len};
        rc = store(put->s, &put->value, &work->digest, &piece, cas);
    }
    stv_rel(&lease);
    return rc;
}

/* One try.  The value stands where it came to, if it needs no change and nobody else was faster. */
YIELDS static enum rc store_made(struct kv_put *put, const struct kv_whole *whole,
                                 const struct kv_piece *piece, uint64_t *cas)
{
    struct kv_work *work = put->work;
    struct cache_swap swap;
    struct kv_code code;
    enum rc rc = kv_page__make(put->s, work->url, &put->value, whole, &swap, &code);
    if (rc != RC_OK) {
        /* That is no race. */
        return rc;
    }
    if (code.plan.steps_count > 0) {
        const struct str body = {piece->bytes, piece->len};
        rc = kv_code__store(put->s, work->url, &code, &swap, body, cas);
    } else if (whole == NULL && work->is_open) {
        work->is_open = false;
        rc = cache_put_commit(&work->put, &swap, cas);
        kv__wrk(put->s)->objm.kv_total_items += rc == RC_OK;
    } else {
        rc = kv__store_pieces(put->s, &swap, piece, 1, cas);
    }
    bool is_final = put->value.cas != 0 || (put->value.mode == KV_ADD && rc == RC_EXISTS);
    return !is_final && (rc == RC_EXISTS || rc == RC_NOT_FOUND) ? RC_AGAIN : rc;
}

YIELDS static enum rc store_until_done(struct kv_put *put, struct str value, uint64_t *cas)
{
    struct arena *arena = &put->work->url->arena;
    struct kv_whole whole;
    bool is_whole = (put->value.flags & KV_WHOLE) != 0;
    enum rc rc = is_whole ? kv_page__parse(put->s, put->work->url, value, &whole) : RC_OK;
    if (rc != RC_OK) {
        return rc;
    }
    const struct str body = is_whole ? whole.body : value;
    const struct kv_piece piece = {.bytes = body.ptr, .len = body.len};
    unsigned tries = 0;
    do {
        size_t mark = arena_mark(arena);
        rc = store_made(put, is_whole ? &whole : NULL, &piece, cas);
        arena_rewind(arena, mark);
    } while (rc == RC_AGAIN && ++tries < PAGE_TRIES);
    return rc == RC_AGAIN ? RC_EXISTS : rc;
}

YIELDS static enum rc commit_page(struct kv_put *put, uint64_t *cas)
{
    struct kv_work *work = put->work;
    struct str value = STR("");
    struct stv_lease lease = {0};
    enum rc rc = RC_OK;
    if (put->value.len > 0) {
        /* So that it can be stored again when the first try is in vain. */
        rc = cache_put_look(&work->put, &lease);
        value = (struct str){lease.ptr, put->value.len};
    }
    if (rc == RC_OK) {
        CHECK(value.len == 0 || lease.len >= value.len);
        rc = store_until_done(put, value, cas);
    }
    stv_rel(&lease);
    return rc;
}

enum rc kv_put_commit(struct kv_put *put, uint64_t *cas)
{
    CHECK(put->work != NULL);
    CHECK(put->got == put->value.len);
    *cas = 0;
    enum rc rc;
    if (put->work->url != NULL) {
        rc = commit_page(put, cas);
    } else if (goes_straight(&put->value)) {
        rc = commit_straight(put, cas);
    } else {
        rc = commit_looked_at(put, cas);
    }
    put->work->rc = rc;
    count(put->s, &put->value, rc);
    kv_put_abort(put);
    return rc;
}

void kv_put_abort(struct kv_put *put)
{
    if (put->work == NULL) {
        return;
    }
    if (put->work->is_open) {
        cache_put_abort(&put->work->put);
    }
    if (put->work->url != NULL) {
        kv_url__close(put->s, &put->work->url, put->work->rc);
    }
    XFREE(put->work);
}
