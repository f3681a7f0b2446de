/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A kept body lies in blocks of equal size, made as it comes, so that neither an announced length
 * nor a limit costs memory before there are bytes for it. */
#include "engine/req_body.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

#define BLOCK_BYTES ((size_t)64 << 10)

struct req_body {
    uint64_t bytes;
    char **blocks;
    size_t count;
    size_t cap;
};

static void free_kept(struct req_body **kept)
{
    struct req_body *b = *kept;
    *kept = NULL;
    if (b == NULL) {
        return;
    }
    for (size_t i = 0; i < b->count; i++) {
        XFREE(b->blocks[i]);
    }
    XFREE(b->blocks);
    free(b);
}

static void add_block(struct req_body *b)
{
    if (b->count == b->cap) {
        b->cap = b->cap == 0 ? 4 : 2 * b->cap;
        b->blocks = xrealloc(b->blocks, b->cap * sizeof b->blocks[0]);
    }
    b->blocks[b->count++] = xmalloc(BLOCK_BYTES);
}

/* Room behind what is there. */
static char *room(struct req_body *b, size_t *bytes)
{
    size_t used = (size_t)(b->bytes % BLOCK_BYTES);
    if (b->bytes == b->count * BLOCK_BYTES) {
        add_block(b);
    }
    *bytes = BLOCK_BYTES - used;
    return b->blocks[b->count - 1] + used;
}

static YIELDS enum rc read_all(struct request *req, struct req_body *b, uint64_t max_bytes)
{
    for (;;) {
        size_t bytes = 0;
        char *ptr = room(b, &bytes);
        size_t got = 0;
        enum rc rc = req->transport->body(req, ptr, bytes, &got);
        if (rc != RC_OK) {
            return rc == RC_EOF ? RC_OK : rc;
        }
        b->bytes += got;
        if (b->bytes > max_bytes) {
            return RC_LIMIT;
        }
    }
}

static enum rc announce(struct request *req, uint64_t bytes)
{
    struct str text = arena_printf(req->arena, "%llu", (unsigned long long)bytes);
    return text.ptr == NULL ? RC_LIMIT : http_set(req->http, HDR_CONTENT_LENGTH, text);
}

enum rc req_body_keep(struct request *req, uint64_t max_bytes)
{
    if (!req->has_body || req->kept_body != NULL) {
        return RC_OK;
    }
    if (req->is_body_sent || req->is_body_lost) {
        return RC_INVALID;
    }
    if (req->is_body_length_known && req->body_bytes > max_bytes) {
        req->is_body_lost = true;
        return RC_LIMIT;
    }
    struct req_body *b = xcalloc(1, sizeof *b);
    enum rc rc = read_all(req, b, max_bytes);
    if (rc == RC_OK && !req->is_body_length_known) {
        rc = announce(req, b->bytes);
    }
    if (rc != RC_OK) {
        req->is_body_lost = true;
        free_kept(&b);
        return rc;
    }
    req->kept_body = b;
    req->is_body_length_known = true;
    req->body_bytes = b->bytes;
    return RC_OK;
}

bool req_body_is_kept(const struct request *req)
{
    return req->kept_body != NULL;
}

bool req_body_can_be_sent(const struct request *req)
{
    return !req->has_body || req->kept_body != NULL || !(req->is_body_sent || req->is_body_lost);
}

static enum rc next_kept(const struct req_body *b, struct req_body_at *at, char **ptr, size_t *got)
{
    CHECK(at->off <= b->bytes);
    uint64_t left = b->bytes - at->off;
    if (left == 0) {
        return RC_EOF;
    }
    size_t begin = (size_t)(at->off % BLOCK_BYTES);
    size_t most = BLOCK_BYTES - begin;
    *ptr = b->blocks[at->off / BLOCK_BYTES] + begin;
    *got = left < most ? (size_t)left : most;
    at->off += *got;
    return RC_OK;
}

enum rc req_body_next(struct request *req, struct req_body_at *at, char *buf, size_t cap,
                      char **ptr, size_t *got)
{
    if (req->kept_body != NULL) {
        return next_kept(req->kept_body, at, ptr, got);
    }
    if (req->is_body_lost || (at->off == 0 && req->is_body_sent)) {
        return RC_INVALID;
    }
    enum rc rc = req->transport->body(req, buf, cap, got);
    req->is_body_sent = true;
    req->is_body_lost = rc != RC_OK && rc != RC_EOF;
    at->off += rc == RC_OK ? *got : 0;
    *ptr = buf;
    return rc;
}

void req_body_free(struct request *req)
{
    free_kept(&req->kept_body);
}
