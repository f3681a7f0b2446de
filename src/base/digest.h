/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* SHA-256 by OpenSSL's libcrypto, which only this file knows.  A cache key is such a digest:
 * a collision would serve one page under another's name, so a fast non-cryptographic hash will
 * not do. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/check.h"
#include "base/str.h"

struct digest {
    unsigned char bytes[32];
};

/* Borrowed pieces are hashed one after the other.  Thread safe, does not allocate after a
 * thread's first call. */
void digest_make(struct digest *out, const struct str *pieces, size_t count);

/* Frees what digest_make keeps for the calling thread, which may begin anew. */
void digest_thread_end(void);

static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* The first eight bytes: evenly spread, and not to be predicted by those who choose the input
 * only as far as SHA-256 is not. */
static inline uint64_t digest_word(const struct digest *d)
{
    uint64_t word;
    memcpy(&word, d->bytes, sizeof word);
    return word;
}

/* For digest_place: odd, another one each time, and known to nobody outside. */
uint64_t digest_secret(void);

/* A place in a table of 2^bits.  Names whose digests have many bits in common can be found by
 * trying (each bit doubles the work); which of them share a place can be told only by who knows the
 * secret. */
static inline size_t digest_place(const struct digest *d, uint64_t secret, unsigned bits)
{
    CHECK(bits - 1 < 63);
    return (size_t)((digest_word(d) * secret) >> (64 - bits));
}

#endif
