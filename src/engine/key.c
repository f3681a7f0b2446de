/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Cache keys, remembered.
 *
 * A key is a SHA-256, which costs as much as a fifth of all else that a hit does in user space; and
 * most requests of a second ask for what others just asked for.  So each loop keeps the keys of
 * names that it saw last, each in the one place that a cheap hash of the name gives.  A place is
 * used only if it holds these very bytes, so the cheap hash decides about speed and nothing else.
 *
 * What is hashed is what vcl_hash gave to hash_data, each piece with a NUL behind it, so that (ab,
 * c) and (a, bc) are different keys.
 */
#include "engine/engine_priv.h"

void engine_digest(struct str host, struct str url, struct digest *digest)
{
    const struct str pieces[] = {url, {"", 1}, host, {"", 1}};
    digest_make(digest, pieces, ARRAY_SIZE(pieces));
}

/* FNV-1a, eight bytes a step: spread is all that is asked of it. */
static uint64_t mix(uint64_t hash, struct str s)
{
    const uint64_t prime = UINT64_C(0x100000001b3);
    while (s.len >= sizeof hash) {
        uint64_t word;
        memcpy(&word, s.ptr, sizeof word);
        hash = (hash ^ word) * prime;
        hash ^= hash >> 29;
        s.ptr += sizeof word;
        s.len -= sizeof word;
    }
    for (size_t i = 0; i < s.len; i++) {
        hash = (hash ^ (unsigned char)s.ptr[i]) * prime;
    }
    return hash ^ hash >> 32;
}

uint64_t key__hash(struct str host, struct str url)
{
    return mix(mix(UINT64_C(0xcbf29ce484222325), url), host);
}

/* The same for pieces with a NUL behind each, when they are URL and host. */
uint64_t key__name(struct str hashed)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    while (hashed.len > 0) {
        hash = mix(hash, str_cut(&hashed, '\0'));
    }
    return hash;
}

void key__fetch(const struct wrk *wrk, uint64_t hash)
{
    const char *known = (const char *)&wrk->keys[hash % ARRAY_SIZE(wrk->keys)];
    for (size_t i = 0; i < sizeof wrk->keys[0]; i += 64) {
        __builtin_prefetch(known + i);
    }
}

static bool holds(const struct known_key *known, struct str hashed)
{
    return known->len == hashed.len && memcmp(known->text, hashed.ptr, hashed.len) == 0;
}

void key__make(struct wrk *wrk, uint64_t name, struct str hashed, struct digest *digest)
{
    /* An unused place holds the empty name. */
    if (hashed.len > sizeof wrk->keys[0].text || hashed.len == 0) {
        digest_make(digest, &hashed, 1);
        return;
    }
    /* What the built-in policy hashes has the request's own name; other policies' keys have not. */
    struct known_key *known = &wrk->keys[name % ARRAY_SIZE(wrk->keys)];
    if (!holds(known, hashed)) {
        known = &wrk->keys[key__name(hashed) % ARRAY_SIZE(wrk->keys)];
    }
    if (!holds(known, hashed)) {
        digest_make(&known->digest, &hashed, 1);
        known->len = (uint8_t)hashed.len;
        memcpy(known->text, hashed.ptr, hashed.len);
    }
    *digest = known->digest;
}
