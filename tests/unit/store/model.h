/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the tests of the store share: bodies and attributes that follow from an id and a revision,
 * so that any byte, found anywhere, can be told right or wrong. */
#ifndef TESTS_UNIT_STORE_MODEL_H
#define TESTS_UNIT_STORE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/rng.h"
#include "store/store.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)

static inline uint64_t model_word(uint64_t id, uint64_t revision, uint64_t index)
{
    struct rng r = {.state = id * UINT64_C(0x100000001b3) + revision * 7919 + index * 31};
    return rng_u64(&r);
}

/* Body bytes [at, at + len). */
static inline void model_fill(uint64_t id, uint64_t revision, uint64_t at, void *to, size_t len)
{
    unsigned char *p = to;
    for (size_t i = 0; i < len;) {
        uint64_t word = model_word(id, revision, (at + i) / 8);
        size_t skip = (at + i) % 8;
        size_t n = 8 - skip < len - i ? 8 - skip : len - i;
        memcpy(p + i, (const unsigned char *)&word + skip, n);
        i += n;
    }
}

static inline bool model_is(uint64_t id, uint64_t revision, uint64_t at, const void *have,
                            size_t len)
{
    unsigned char want[512];
    const unsigned char *p = have;
    for (size_t i = 0; i < len;) {
        size_t n = len - i < sizeof want ? len - i : sizeof want;
        model_fill(id, revision, at + i, want, n);
        if (memcmp(want, p + i, n) != 0) {
            return false;
        }
        i += n;
    }
    return true;
}

/* The attributes are the "body" of another id. */
#define OA_ID(id) ((id) ^ UINT64_C(0xa77a))
#define OA_MAX 3000

static inline struct digest model_digest(uint64_t id)
{
    struct digest d;
    model_fill(id, 0, 0, d.bytes, sizeof d.bytes);
    return d;
}

static inline struct stv_record model_record(uint64_t id, uint64_t revision)
{
    return (struct stv_record){.digest = model_digest(id),
                               .revision = revision,
                               .ban_seq = id,
                               .t_origin_ns = 1000 + revision,
                               .ttl_ns = 2000 + revision,
                               .grace_ns = 3000,
                               .keep_ns = 4000};
}

/* Fetches a whole object: allocs of `want`, commits of less.  NULL and the code when it fails. */
static inline enum rc model_fetch(struct stevedore *stv, struct rng *r, uint64_t id,
                                  uint64_t revision, uint64_t body_len, uint64_t estimate,
                                  struct stv_obj **out)
{
    enum rc rc = stv_newobj(stv, estimate, out);
    uint64_t at = 0;
    while (rc == RC_OK && at < body_len) {
        void *ptr = NULL;
        size_t len = 0;
        uint64_t want = 1 + rng_below(r, KIB(64));
        want = want < body_len - at ? want : body_len - at;
        rc = stv_alloc(*out, want, &ptr, &len);
        if (rc == RC_OK) {
            len = len < body_len - at ? len : body_len - at;
            model_fill(id, revision, at, ptr, len);
            stv_commit(*out, len);
            at += len;
        }
    }
    if (rc != RC_OK && *out != NULL) {
        stv_deleteobj(out);
    }
    return rc;
}

static inline enum rc model_final(struct stv_obj *obj, uint64_t id, uint64_t oa_len,
                                  const struct stv_record *record)
{
    static _Thread_local char oa[OA_MAX];
    CHECK(oa_len <= sizeof oa);
    model_fill(OA_ID(id), record->revision, 0, oa, oa_len);
    return stv_final(obj, (struct str){oa, oa_len}, record);
}

/* Every byte of a final object, by leases from random places. */
static inline bool model_check(struct stv_obj *obj, uint64_t id, uint64_t revision,
                               uint64_t body_len)
{
    struct str oa = stv_oa(obj);
    if (!model_is(OA_ID(id), revision, 0, oa.ptr, oa.len) || stv_body_len(obj) != body_len) {
        return false;
    }
    for (uint64_t at = 0; at < body_len;) {
        struct stv_lease lease;
        if (stv_ref(obj, at, true, &lease) != RC_OK) {
            return false;
        }
        size_t len = lease.len < KIB(100) ? lease.len : KIB(100);
        bool right = model_is(id, revision, at, lease.ptr, len) && lease.len <= body_len - at;
        stv_rel(&lease);
        if (!right) {
            return false;
        }
        at += len;
    }
    const void *whole = stv_body_ptr(obj);
    return whole == NULL || model_is(id, revision, 0, whole, body_len);
}

#endif
