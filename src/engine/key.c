/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Cache keys, remembered.
 *
 * A key is a SHA-256, which costs as much as a fifth of all else that a hit does in user space; and
 * most requests of a second ask for what others just asked for.  So each loop keeps the keys of
 * names that it saw last, each in the one place that a cheap hash of the name gives.  A place is
 * used only if it holds these very bytes, so the cheap hash decides about speed and nothing else.
 */
#include "engine/engine_priv.h"

void key__plain(struct str host, struct str url, struct digest *digest)
{
    /* A NUL, which neither can contain, keeps (ab, c) and (a, bc) apart. */
    const struct str pieces[] = {url, {"", 1}, host, {"", 1}};
    digest_make(digest, pieces, ARRAY_SIZE(pieces));
}

void engine_digest(struct str host, struct str url, struct digest *digest)
{
    key__plain(host, url, digest);
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

static bool holds(const struct known_key *known, struct str host, struct str url)
{
    return known->host_len == host.len && known->url_len == url.len &&
           memcmp(known->text, host.ptr, host.len) == 0 &&
           memcmp(known->text + host.len, url.ptr, url.len) == 0;
}

uint64_t key__hash(struct str host, struct str url)
{
    return mix(mix(UINT64_C(0xcbf29ce484222325), url), host);
}

void key__fetch(const struct wrk *wrk, uint64_t hash)
{
    const char *known = (const char *)&wrk->keys[hash % ARRAY_SIZE(wrk->keys)];
    for (size_t i = 0; i < sizeof wrk->keys[0]; i += 64) {
        __builtin_prefetch(known + i);
    }
}

void key__make(struct wrk *wrk, struct str host, struct str url, struct digest *digest)
{
    /* A URL is never empty, so an unused place holds no name. */
    if (host.len + url.len > sizeof wrk->keys[0].text || host.len == 0 || url.len == 0) {
        key__plain(host, url, digest);
        return;
    }
    uint64_t hash = key__hash(host, url);
    struct known_key *known = &wrk->keys[hash % ARRAY_SIZE(wrk->keys)];
    if (!holds(known, host, url)) {
        key__plain(host, url, &known->digest);
        known->host_len = (uint8_t)host.len;
        known->url_len = (uint8_t)url.len;
        memcpy(known->text, host.ptr, host.len);
        memcpy(known->text + host.len, url.ptr, url.len);
    }
    *digest = known->digest;
}
