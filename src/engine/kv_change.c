/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What makes a new value of the old one: append and prepend, counting, invalidating, deleting.
 *
 * Objects do not change: each of these reads what is there, makes a new object of it, and puts that
 * in its place if its CAS is still the one that was read; else it begins again.  So whoever does
 * such a thing at the same time is neither lost nor done twice. */
#include "engine/kv_priv.h"

enum { DIGITS_MAX = 20 };

enum rc kv__find_old(struct kv_session *s, const struct digest *digest, struct kv_old *old)
{
    const struct cache_ask ask = {.digest = *digest};
    enum rc rc = cache_find(s->engine->conf.cache, &ask, &old->seen);
    if (rc != RC_OK) {
        return rc;
    }
    rc = kv__verify(s, &old->seen.oc);
    if (rc != RC_OK) {
        return rc;
    }
    old->keyed = obj_keyed(old->seen.oc);
    old->times = obj_times(old->seen.oc);
    old->len = obj_len(old->seen.oc);
    return RC_OK;
}

void kv__drop_old(struct kv_old *old)
{
    obj_release(&old->seen.oc);
}

/* A successor of what is there; with other times and attributes if the caller sets them. */
static struct cache_swap successor_of(const struct kv_old *old, const struct digest *digest)
{
    return (struct cache_swap){
        .digest = *digest, .when = CACHE_IF_CAS, .cas = old->seen.cas, .times = old->times};
}

/* ---- append, prepend ---- */

YIELDS static enum rc join(struct kv_session *s, const struct kv_value *value,
                           const struct kv_old *old, struct cache_swap *swap,
                           const struct kv_piece *piece, uint64_t *cas)
{
    char text[OBJ_KEYED_BYTES];
    const struct obj_keyed keyed = {.flags = old->keyed.flags, .cas = value->new_cas};
    swap->attrs[OA_KEYED] = obj_keyed_pack(&keyed, text);
    const struct kv_piece both[] = {
        value->mode == KV_PREPEND ? *piece : (struct kv_piece){.oc = old->seen.oc, .len = old->len},
        value->mode == KV_PREPEND ? (struct kv_piece){.oc = old->seen.oc, .len = old->len} : *piece,
    };
    return kv__store_pieces(s, swap, both, ARRAY_SIZE(both), cas);
}

YIELDS static enum rc set_first(struct kv_session *s, const struct kv_value *value,
                                const struct digest *digest, const struct kv_piece *piece,
                                uint64_t *cas)
{
    char text[OBJ_KEYED_BYTES];
    const struct obj_keyed keyed = {.flags = value->flags, .cas = value->new_cas};
    struct cache_swap swap = {
        .digest = *digest, .when = CACHE_IF_NONE, .times = kv__times(s, value->vivify_exptime)};
    swap.attrs[OA_KEYED] = obj_keyed_pack(&keyed, text);
    return kv__store_pieces(s, &swap, piece, 1, cas);
}

enum rc kv__join(struct kv_session *s, const struct kv_value *value, const struct digest *digest,
                 const struct kv_piece *piece, uint64_t *cas)
{
    enum rc rc;
    do {
        struct kv_old old;
        rc = kv__find_old(s, digest, &old);
        if (rc == RC_NOT_FOUND && value->vivifies && value->cas == 0) {
            rc = set_first(s, value, digest, piece, cas);
            continue;
        }
        if (rc != RC_OK) {
            return rc;
        }
        if (value->cas != 0 && value->cas != old.seen.cas) {
            kv__drop_old(&old);
            return RC_EXISTS;
        }
        struct cache_swap swap = successor_of(&old, digest);
        rc = join(s, value, &old, &swap, piece, cas);
        kv__drop_old(&old);
        /* It went between looking and storing: then there is none, or a new one. */
    } while (rc == RC_EXISTS || (rc == RC_NOT_FOUND && value->vivifies));
    return rc;
}

enum rc kv__vivify(struct kv_session *s, const struct digest *digest, int64_t exptime)
{
    uint64_t cas = 0;
    struct cache_swap swap = {.digest = *digest,
                              .when = CACHE_IF_NONE,
                              .times = kv__times(s, exptime),
                              .is_promised = true};
    const struct kv_piece nothing = {.bytes = "", .len = 0};
    return kv__store_pieces(s, &swap, &nothing, 1, &cas);
}

/* ---- counting ---- */

/* Digits, and blanks behind them.  RC_INVALID. */
static enum rc number_of(struct str text, uint64_t *number)
{
    while (text.len > 0 && text.ptr[text.len - 1] == ' ') {
        text.len--;
    }
    return text.len <= DIGITS_MAX && str_to_u64(text, number) == RC_OK ? RC_OK : RC_INVALID;
}

YIELDS static enum rc old_number(const struct kv_old *old, uint64_t *number)
{
    struct stv_lease lease;
    if (old->len == 0 || old->len > DIGITS_MAX + 4) {
        return RC_INVALID;
    }
    enum rc rc = obj_next(old->seen.oc, 0, true, NEVER, &lease);
    if (rc != RC_OK) {
        return rc;
    }
    rc = lease.len >= old->len ? number_of((struct str){lease.ptr, old->len}, number) : RC_INVALID;
    stv_rel(&lease);
    return rc;
}

static uint64_t counted(const struct kv_arith *ask, uint64_t number)
{
    if (!ask->is_decr) {
        return number + ask->delta; /* wraps, as it does for everybody */
    }
    return number > ask->delta ? number - ask->delta : 0;
}

/* The number in a text that is at least as long as the one before, as clients expect it. */
static struct kv_piece text_of(uint64_t number, uint64_t old_len, char text[DIGITS_MAX + 5])
{
    struct sb sb = sb_of(text, DIGITS_MAX + 5);
    sb_u64(&sb, number);
    while (sb.len < old_len) {
        sb_chr(&sb, ' ');
    }
    return (struct kv_piece){.bytes = text, .len = sb.len};
}

YIELDS static enum rc count_on(struct kv_session *s, struct kv_arith *ask,
                               const struct digest *digest, const struct kv_old *old)
{
    uint64_t number = 0;
    if (ask->cas != 0 && ask->cas != old->seen.cas) {
        return RC_EXISTS;
    }
    enum rc rc = old_number(old, &number);
    if (rc != RC_OK) {
        return rc;
    }
    char digits[DIGITS_MAX + 5];
    char text[OBJ_KEYED_BYTES];
    struct cache_swap swap = successor_of(old, digest);
    const struct obj_keyed keyed = {
        .flags = old->keyed.flags, .cas = ask->new_cas, .is_stale = old->keyed.is_stale};
    swap.attrs[OA_KEYED] = obj_keyed_pack(&keyed, text);
    swap.is_promised = old->seen.is_promised;
    if (ask->touches) {
        swap.times = kv__times(s, ask->exptime);
    }
    ask->result = counted(ask, number);
    ask->result_ttl_s = kv__ttl_left_s(&swap.times, wrk_real_ns(kv__wrk(s)));
    const struct kv_piece piece = text_of(ask->result, old->len, digits);
    return kv__store_pieces(s, &swap, &piece, 1, &ask->result_cas);
}

YIELDS static enum rc begin_count(struct kv_session *s, struct kv_arith *ask,
                                  const struct digest *digest)
{
    char digits[DIGITS_MAX + 5];
    char text[OBJ_KEYED_BYTES];
    const struct obj_keyed keyed = {.cas = ask->new_cas};
    struct cache_swap swap = {
        .digest = *digest, .when = CACHE_IF_NONE, .times = kv__times(s, ask->vivify_exptime)};
    swap.attrs[OA_KEYED] = obj_keyed_pack(&keyed, text);
    ask->result = ask->initial;
    ask->result_ttl_s = kv__ttl_left_s(&swap.times, wrk_real_ns(kv__wrk(s)));
    const struct kv_piece piece = text_of(ask->initial, 0, digits);
    enum rc rc = kv__store_pieces(s, &swap, &piece, 1, &ask->result_cas);
    ask->was_vivified = rc == RC_OK;
    return rc;
}

YIELDS static enum rc count_until_done(struct kv_session *s, struct kv_arith *ask,
                                       const struct digest *digest)
{
    enum rc rc;
    bool again;
    do {
        struct kv_old old;
        rc = kv__find_old(s, digest, &old);
        if (rc == RC_NOT_FOUND && ask->vivifies) {
            rc = begin_count(s, ask, digest);
            again = rc == RC_EXISTS;
            continue;
        }
        if (rc != RC_OK) {
            return rc;
        }
        rc = count_on(s, ask, digest, &old);
        again = (rc == RC_EXISTS && (ask->cas == 0 || ask->cas == old.seen.cas)) ||
                (rc == RC_NOT_FOUND && ask->vivifies);
        kv__drop_old(&old);
    } while (again);
    return rc;
}

enum rc kv_arith(struct kv_session *s, struct kv_arith *ask)
{
    struct vsc_objm *n = &kv__wrk(s)->objm;
    struct digest digest;
    ask->result = 0;
    ask->result_cas = 0;
    ask->result_ttl_s = -1;
    ask->was_vivified = false;
    kv__begin(s);
    if (kv_is_url(ask->key)) {
        return kv__refuse(s, RC_UNSUPPORTED, "a page is no number");
    }
    enum rc rc = kv__digest(s, ask->key, &digest);
    if (rc == RC_OK) {
        rc = count_until_done(s, ask, &digest);
    }
    bool is_miss = rc == RC_NOT_FOUND || ask->was_vivified;
    *(ask->is_decr ? &n->kv_decr_misses : &n->kv_incr_misses) += is_miss;
    *(ask->is_decr ? &n->kv_decr_hits : &n->kv_incr_hits) += rc == RC_OK && !is_miss;
    return rc;
}

/* ---- deleting ---- */

/* It stays, but not as it was. */
YIELDS static enum rc leave_behind(struct kv_session *s, const struct kv_delete *ask,
                                   const struct digest *digest, const struct kv_old *old)
{
    char text[OBJ_KEYED_BYTES];
    uint64_t cas = 0;
    struct cache_swap swap = successor_of(old, digest);
    const struct obj_keyed keyed = {.flags = ask->empties ? 0 : old->keyed.flags,
                                    .cas = ask->new_cas,
                                    .is_stale = ask->invalidates || old->keyed.is_stale};
    swap.attrs[OA_KEYED] = obj_keyed_pack(&keyed, text);
    swap.is_promised = !ask->invalidates && old->seen.is_promised;
    if (ask->sets_ttl) {
        swap.times = kv__times(s, ask->exptime);
    }
    const struct kv_piece piece = {
        .bytes = ask->empties ? "" : NULL, .oc = old->seen.oc, .len = ask->empties ? 0 : old->len};
    return kv__store_pieces(s, &swap, &piece, 1, &cas);
}

YIELDS static enum rc change(struct kv_session *s, const struct kv_delete *ask,
                             const struct digest *digest)
{
    enum rc rc;
    do {
        struct kv_old old;
        rc = kv__find_old(s, digest, &old);
        if (rc != RC_OK) {
            return rc;
        }
        bool is_other = ask->cas != 0 && ask->cas != old.seen.cas;
        rc = is_other ? RC_EXISTS : leave_behind(s, ask, digest, &old);
        kv__drop_old(&old);
        if (is_other) {
            return rc;
        }
    } while (rc == RC_EXISTS);
    return rc;
}

YIELDS static enum rc end_entry(struct kv_session *s, const struct kv_delete *ask)
{
    struct digest digest;
    enum rc rc = kv__digest(s, ask->key, &digest);
    if (rc != RC_OK) {
        return rc;
    }
    if (ask->invalidates || ask->empties) {
        return change(s, ask, &digest);
    }
    return cache_remove(s->engine->conf.cache, &digest, ask->cas);
}

enum rc kv_delete(struct kv_session *s, const struct kv_delete *ask)
{
    struct vsc_objm *n = &kv__wrk(s)->objm;
    kv__begin(s);
    enum rc rc = kv_is_url(ask->key) ? kv_url__delete(s, ask) : end_entry(s, ask);
    n->kv_delete_hits += rc == RC_OK;
    n->kv_delete_misses += rc == RC_NOT_FOUND;
    return rc;
}
