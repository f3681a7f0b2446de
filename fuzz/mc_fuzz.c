/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Streams of memcached requests, text, meta and binary: what is understood does not depend on how
 * the bytes arrive; every request takes some, never more than are there; what it borrows lies in
 * the buffer; data blocks are skipped whole; answers to it fit. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "mc/mc.h"

static bool is_within(struct str s, const char *buf, size_t len)
{
    return s.len == 0 || (s.ptr >= buf && s.ptr + s.len <= buf + len);
}

static void check_answers(const struct mc_request *req)
{
    char *buf = xmalloc(MC_ANSWER_MAX);
    struct mc_item item = {.bytes = UINT64_MAX,
                           .cas = UINT64_MAX,
                           .ttl_s = INT64_MAX,
                           .idle_s = UINT64_MAX,
                           .flags = UINT32_MAX,
                           .was_hit = true,
                           .is_stale = true,
                           .has_won = true,
                           .won_once = true};
    struct sb sb = sb_of(buf, MC_ANSWER_MAX);
    if (req->dialect == MC_BINARY) {
        mc_put_status(&sb, req, req->status);
    } else if (req->dialect == MC_META) {
        mc_put_meta(&sb, req, "VA", &item);
    } else {
        mc_put_value(&sb, req->key, UINT32_MAX, UINT64_MAX, &item.cas);
    }
    CHECK(!sb.overflow);
    free(buf);
}

static void check_request(const struct mc_request *req, const char *buf, size_t len)
{
    CHECK(req->consumed > 0 || req->is_part);
    CHECK(req->consumed <= len);
    if (req->error != NULL) {
        return;
    }
    CHECK(req->op < MC_OP__COUNT);
    CHECK(req->key.len <= mc_key_max(req->key));
    CHECK(req->key.ptr == req->key_bytes || is_within(req->key, buf, req->consumed));
    CHECK(is_within(req->rest, buf, req->consumed));
    CHECK(is_within(req->wire_key, buf, req->consumed));
    for (unsigned i = 0; i < req->flags_count; i++) {
        CHECK(is_within(req->flags[i].token, buf, req->consumed));
    }
    struct str rest = req->rest;
    struct str key;
    while (req->dialect == MC_TEXT && req->op == MC_OP_GET && mc_next_key(&rest, &key)) {
        CHECK(key.len <= mc_key_max(key));
    }
    check_answers(req);
}

/* The same request, byte by byte. */
static void check_splits(struct mc_reader reader, const char *buf, size_t len,
                         const struct mc_request *whole, enum rc rc)
{
    struct mc_request *part = xmalloc(sizeof *part);
    enum rc now = RC_AGAIN;
    size_t have = 0;
    while (now == RC_AGAIN && have < len) {
        have++;
        now = mc_parse(&reader, buf, have, part);
    }
    CHECK(now == rc);
    if (rc == RC_OK) {
        CHECK(part->consumed == whole->consumed);
        CHECK(part->op == whole->op);
        CHECK(part->error == whole->error);
        CHECK(part->after == whole->after);
        CHECK(part->value_bytes == whole->value_bytes);
    }
    free(part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *buf = xmalloc(size + 1);
    memcpy(buf, data, size);
    struct mc_request *req = xmalloc(sizeof *req);
    struct mc_reader reader = {0};
    size_t at = 0;
    for (unsigned turns = 0; at < size && turns < 64; turns++) {
        struct mc_reader before = reader;
        size_t len = size - at < MC_NEED_MAX ? size - at : MC_NEED_MAX;
        enum rc rc = mc_parse(&reader, buf + at, len, req);
        CHECK(rc == RC_OK || rc == RC_TOO_LONG || rc == RC_MALFORMED ||
              (rc == RC_AGAIN && len < MC_NEED_MAX));
        if (len < 600) {
            check_splits(before, buf + at, len, req, rc);
        }
        if (rc != RC_OK) {
            break;
        }
        check_request(req, buf + at, len);
        if (req->after == MC_CLOSE) {
            break;
        }
        at += req->consumed;
        if (req->has_value || req->after == MC_SWALLOW) {
            uint64_t skip = req->value_bytes + (req->dialect == MC_BINARY ? 0 : 2);
            at = skip > size - at ? size : at + (size_t)skip;
        }
    }
    free(req);
    free(buf);
    return 0;
}
