/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/clock.h"
#include "fuzz.h"
#include "h1_head_check.h"
#include "http/http_cache.h"

static void check_freshness(const struct http *resp)
{
    static const struct http_fresh_defaults defaults = {.ttl_ns = 120 * NS_PER_S};
    const uint64_t now_ns = 784111777 * NS_PER_S;
    struct http_fresh f;
    http_freshness(resp, now_ns, &defaults, &f);
    CHECK(f.ttl_ns >= -(int64_t)NS_PER_S);
    CHECK(f.ttl_ns <= (int64_t)(HTTP_FRESH_MAX_S * NS_PER_S));
    CHECK(f.origin_ns <= now_ns);
}

static void check_pack(const struct head_run *run)
{
    char *block = xmalloc(HEAD_TEXT_MAX);
    struct sb sb = sb_of(block, HEAD_TEXT_MAX);
    http_pack(&sb, &run->h);
    CHECK(!sb.overflow);
    struct http_hdr table[HEAD_MAX_HDR];
    struct http back;
    http_init(&back, table, HEAD_MAX_HDR);
    CHECK(http_unpack(&back, sb_str(&sb)) == RC_OK);
    char *text = xmalloc(HEAD_TEXT_MAX);
    struct sb again = sb_of(text, HEAD_TEXT_MAX);
    h1_build_response(&again, &back);
    CHECK(str_eq(sb_str(&again), sb_str(&run->text)));
    free(text);
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head_run *run = head_check(h1_parse_response, h1_build_response, data, size);
    if (run->rc == RC_OK) {
        CHECK(run->h.status >= 100);
        CHECK(run->h.status <= 999);
        CHECK(http_is_value(run->h.reason));
        struct h1_body get = h1_response_framing(&run->h, HTTP_M_GET);
        struct h1_body head = h1_response_framing(&run->h, HTTP_M_HEAD);
        CHECK(head.framing == (get.framing == H1_BODY_ERROR ? H1_BODY_ERROR : H1_BODY_NONE));
        CHECK((get.framing == H1_BODY_ERROR) == (get.error != H1_ERR_NONE));
        check_freshness(&run->h);
        check_pack(run);
    }
    head_end(run);
    return 0;
}
