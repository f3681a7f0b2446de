/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Chunked bodies: the first byte of an input says how strict to be ('s' or not), the second in
 * which steps to feed the rest. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "http/h1.h"

struct outcome {
    struct h1_chunked end;
    enum rc rc;
    size_t consumed;
    struct sb data;
};

static struct outcome decode(struct str in, size_t step, uint32_t flags)
{
    struct outcome o = {.rc = RC_AGAIN, .data = sb_of(xmalloc(in.len + 1), in.len + 1)};
    h1_chunked_init(&o.end, flags);
    while (o.rc == RC_AGAIN && o.consumed < in.len) {
        size_t len = step < in.len - o.consumed ? step : in.len - o.consumed;
        char *piece = xmalloc(len);
        memcpy(piece, in.ptr + o.consumed, len);
        size_t at = 0;
        do {
            size_t used = 0;
            struct str run;
            o.rc = h1_chunked_next(&o.end, (struct str){piece + at, len - at}, &used, &run);
            at += used;
            CHECK(at <= len);
            CHECK((o.rc == RC_OK) == (run.len > 0));
            sb_put(&o.data, run);
        } while (o.rc == RC_OK);
        CHECK(o.rc != RC_AGAIN || at == len);
        CHECK(o.end.ext_bytes <= H1_EXT_MAX + 1);
        CHECK(o.end.trailer_bytes <= H1_TRAILER_MAX + 1);
        o.consumed += at;
        free(piece);
    }
    CHECK(!o.data.overflow);
    return o;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    CHECK(a->rc == b->rc);
    CHECK(a->consumed == b->consumed);
    CHECK(a->end.error == b->end.error);
    CHECK(a->end.left == b->end.left);
    CHECK(a->end.state == b->end.state);
    CHECK(str_eq(sb_str(&a->data), sb_str(&b->data)));
}

/* The data, encoded again in one chunk, decodes to itself. */
static void check_round(struct str plain)
{
    size_t cap = plain.len + H1_CHUNK_HEAD_MAX + 8;
    struct sb sb = sb_of(xmalloc(cap), cap);
    if (plain.len > 0) {
        sb.len = h1_chunk_head(sb.ptr, plain.len);
        sb_put(&sb, plain);
        sb_lit(&sb, H1_CHUNK_TAIL);
    }
    sb_lit(&sb, H1_CHUNK_END);
    CHECK(!sb.overflow);
    struct outcome o = decode(sb_str(&sb), cap, 0);
    CHECK(o.rc == RC_EOF);
    CHECK(o.consumed == sb.len);
    CHECK(str_eq(sb_str(&o.data), plain));
    free(o.data.ptr);
    free(sb.ptr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct str in = {(const char *)data + 2, size - 2};
    uint32_t flags = data[0] == 's' ? 0 : H1_VARNISH;
    struct outcome whole = decode(in, in.len, flags);
    const size_t steps[] = {1, 1 + (size_t)data[1] % 31};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct outcome split = decode(in, steps[i], flags);
        check_same(&whole, &split);
        free(split.data.ptr);
    }
    if (whole.rc == RC_EOF) {
        check_round(sb_str(&whole.data));
    }
    free(whole.data.ptr);
    return 0;
}
