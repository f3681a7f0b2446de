/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Prefaces of the PROXY protocol: the verdict does not depend on how the bytes arrive, and what was
 * understood can be written and understood again. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "http/proxy.h"

static enum rc parse_copy(const uint8_t *data, size_t size, struct proxy_head *head, char **copy)
{
    *copy = xmalloc(size + 1);
    memcpy(*copy, data, size);
    return proxy_parse(*copy, size, head);
}

static void check_round(const struct proxy_head *head, unsigned version)
{
    char buf[PROXY_MAX];
    struct sb sb = sb_of(buf, sizeof buf);
    proxy_write(&sb, version, &head->client, &head->server, STR_NONE);
    CHECK(!sb.overflow);
    struct proxy_head again;
    CHECK(proxy_parse(buf, sb.len, &again) == RC_OK);
    CHECK(again.consumed == sb.len);
    CHECK(memcmp(&again.client, &head->client, sizeof again.client) == 0);
    CHECK(memcmp(&again.server, &head->server, sizeof again.server) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_head whole;
    char *copy;
    enum rc rc = parse_copy(data, size, &whole, &copy);
    CHECK(rc != RC_AGAIN || size < PROXY_MAX);
    if (rc == RC_OK) {
        CHECK(whole.consumed <= size && whole.consumed <= PROXY_MAX);
        if (whole.client.family != 0) {
            CHECK(whole.client.family == whole.server.family);
            check_round(&whole, 1);
            check_round(&whole, 2);
        }
        struct str value;
        for (unsigned type = 0; type < 256; type++) {
            if (proxy_tlv(whole.tlvs, (uint8_t)type, &value)) {
                CHECK(value.ptr >= whole.tlvs.ptr);
                CHECK(value.ptr + value.len <= whole.tlvs.ptr + whole.tlvs.len);
            }
        }
    }
    free(copy);
    /* Byte by byte: more is asked for until the verdict falls, which is the same. */
    for (size_t len = 0; len <= size; len++) {
        struct proxy_head part;
        enum rc now = parse_copy(data, len, &part, &copy);
        free(copy);
        if (now != RC_AGAIN) {
            CHECK(now == rc);
            CHECK(part.consumed == whole.consumed);
            break;
        }
        CHECK(len < size || rc == RC_AGAIN);
    }
    return 0;
}
