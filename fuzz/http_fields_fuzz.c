/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What is read from field values.  The first byte of an input chooses the reader. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "http/http_cache.h"
#include "http/http_condition.h"
#include "http/http_date.h"
#include "http/http_list.h"
#include "http/http_rfc9111.h"

typedef void read_fn(struct str s);

static void read_cache_control(struct str s)
{
    struct http_hdr table[2];
    struct http h;
    struct http_cc cc;
    http_init(&h, table, 2);
    if (http_add(&h, HDR_CACHE_CONTROL, s) != RC_OK) {
        return;
    }
    http_cc_parse(&h, &cc);
    CHECK(cc.max_age_s <= HTTP_CC_MAX_S);
    CHECK(cc.s_maxage_s <= HTTP_CC_MAX_S);
    CHECK((cc.bits & HTTP_CC_MAX_AGE) != 0 || cc.max_age_s == 0);
    CHECK((cc.bits & HTTP_CC_PRIVATE_FIELDS) == 0 || (cc.bits & HTTP_CC_PRIVATE) != 0);
    CHECK((cc.bits & HTTP_CC_NO_CACHE_FIELDS) == 0 || cc.no_cache_fields.ptr != NULL);
    CHECK(http_qvalue(&h, HDR_CACHE_CONTROL, STR("gzip")) <= 1000);
    /* The same directives once more change nothing. */
    struct http_cc twice;
    CHECK(http_add(&h, HDR_CACHE_CONTROL, s) == RC_OK);
    http_cc_parse(&h, &twice);
    CHECK(twice.bits == cc.bits);
    CHECK(twice.max_age_s == cc.max_age_s);
}

/* One field as a request's and a response's Cache-Control. */
static void decide(struct str s)
{
    struct http_hdr table[2][2];
    struct http req;
    struct http resp;
    http_init(&req, table[0], 2);
    http_init(&resp, table[1], 2);
    CHECK(http_set_method(&req, STR("GET")) == RC_OK);
    http_set_status(&resp, 200);
    if (http_add(&req, HDR_CACHE_CONTROL, s) != RC_OK ||
        http_add(&resp, HDR_CACHE_CONTROL, s) != RC_OK) {
        return;
    }
    const struct http_9111_fetch fetch = {
        .req = &req, .resp = &resp, .request_ns = 1, .response_ns = 2, .default_ttl_ns = 9};
    struct http_9111_object object;
    http_9111_store(&fetch, &object);
    CHECK(object.origin_ns <= 2);
    CHECK(object.grace_ns == 0 || !object.is_stale_forbidden);
    struct http_9111_wish wish;
    http_9111_wish(&req, &wish);
    enum http_9111_reuse reuse = http_9111_reuse(&wish, object.ttl_ns, object.ttl_ns,
                                                 object.grace_ns, object.is_stale_forbidden);
    CHECK(reuse == HTTP_9111_NO || (reuse == HTTP_9111_STALE && !object.is_stale_forbidden));
    CHECK(!wish.no_cache || !http_9111_stale_if_error(&req, &resp, 0));
}

static void read_location(struct str s)
{
    char block[256];
    struct arena arena;
    struct str url = STR_NONE;
    arena_init(&arena, block, sizeof block);
    if (http_9111_target(STR("h"), STR("/a/b?c"), s, &arena, &url) == RC_OK) {
        CHECK(str_starts(url, STR("/")));
        CHECK(str_find(url, '#') == url.len);
    }
}

static void read_date(struct str s)
{
    int64_t real_s = 0;
    if (http_date_parse(s, &real_s) != RC_OK) {
        return;
    }
    CHECK(real_s >= -INT64_C(2208988800));
    CHECK(real_s <= INT64_C(253402300799));
    if (real_s >= 0) {
        char text[HTTP_DATE_BYTES];
        int64_t back = -1;
        http_date_format((uint64_t)real_s, text);
        CHECK(http_date_parse((struct str){text, sizeof text}, &back) == RC_OK);
        CHECK(back == real_s);
    }
}

static void read_range(struct str s)
{
    struct http_range out[4];
    unsigned count = 0;
    uint64_t size_bytes = s.len > 0 ? (unsigned char)s.ptr[0] % 50 : 0;
    enum rc rc = http_range_parse(s, size_bytes, out, 4, &count);
    CHECK(count <= 4);
    CHECK(rc != RC_OK || count > 0);
    for (unsigned i = 0; i < count; i++) {
        CHECK(out[i].first <= out[i].last);
        CHECK(out[i].last < size_bytes);
    }
}

static void read_one_range(struct str s)
{
    struct http_range_spec spec;
    struct http_range range;
    const char *why = NULL;
    uint64_t size_bytes = s.len > 0 ? (unsigned char)s.ptr[s.len - 1] % 50 : 0;
    enum rc rc = http_range_read(s, &spec, &why);
    CHECK((rc == RC_MALFORMED) == (why != NULL));
    if (rc == RC_OK && http_range_settle(&spec, size_bytes, &range) == RC_OK) {
        CHECK(range.first <= range.last);
        CHECK(range.last < size_bytes);
    }
    struct http_hdr table[2];
    struct http h;
    char text[128];
    struct sb sb = sb_of(text, sizeof text);
    http_init(&h, table, 2);
    http_set_status(&h, 206);
    if (http_add(&h, HDR_CONTENT_RANGE, s) == RC_OK) {
        rc = http_content_range_fits(STR("bytes=2-5"), &h, &sb);
        CHECK((rc == RC_OK) == (sb.len == 0));
    }
}

static void read_etags(struct str s)
{
    bool weak = http_etag_list_has(s, STR("\"a\""), false);
    bool strong = http_etag_list_has(s, STR("\"a\""), true);
    CHECK(weak || !strong);
}

static void read_list(struct str s)
{
    struct str rest = s;
    struct str member;
    size_t bytes = 0;
    while (http_list_next(&rest, ',', &member)) {
        CHECK(member.len > 0);
        CHECK(str_trim(member).len == member.len);
        struct str name;
        struct str value;
        http_split_member(member, &name, &value);
        CHECK(name.len + value.len <= member.len);
        bytes += member.len;
    }
    CHECK(bytes <= s.len);
}

static void read_packed(struct str s)
{
    struct http_hdr table[4];
    struct http h;
    http_init(&h, table, 4);
    if (http_unpack(&h, s) != RC_OK) {
        return;
    }
    char *block = xmalloc(s.len);
    struct sb sb = sb_of(block, s.len);
    http_pack(&sb, &h);
    CHECK(!sb.overflow);
    CHECK(sb.len == s.len);
    free(block);
}

static void read_host(struct str s)
{
    if (http_is_host(s)) {
        CHECK(http_is_value(s));
        CHECK(str_find(s, ' ') == s.len);
        CHECK(str_find(s, '/') == s.len);
        CHECK(str_find(s, '@') == s.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static read_fn *const readers[] = {
        read_cache_control, read_date, read_range,     read_etags, read_list,
        read_packed,        read_host, read_one_range, decide,     read_location};
    if (size == 0) {
        return 0;
    }
    /* Memory of exactly its size, so that a read too far is seen. */
    char *copy = xmalloc(size);
    memcpy(copy, data + 1, size - 1);
    char *exact = copy + 1;
    memmove(exact, copy, size - 1);
    readers[(data[0] - '0') % ARRAY_SIZE(readers)]((struct str){exact, size - 1});
    free(copy);
    return 0;
}
