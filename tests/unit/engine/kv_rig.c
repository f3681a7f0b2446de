/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "kv_rig.h"

#include "base/check.h"

struct kv_session kv_test_session(struct rig *rig)
{
    return (struct kv_session){.engine = rig_engine(rig),
                               .listener = "mc",
                               .client_addr = STR("192.0.2.1"),
                               .client_port = STR("1234"),
                               .server_addr = STR("192.0.2.2"),
                               .server_port = STR("11211"),
                               .vxid = 1,
                               .wait_ns = 5 * NS_PER_S};
}

enum rc kv_test_put(struct kv_session *s, enum kv_mode mode, const char *key, const char *value,
                    uint64_t *cas)
{
    const struct kv_value v = {.key = str_of(key), .mode = mode, .len = strlen(value), .cas = *cas};
    return kv_store(s, &v, value, cas);
}

enum rc kv_test_set(struct kv_session *s, const char *key, const char *value)
{
    uint64_t cas = 0;
    return kv_test_put(s, KV_SET, key, value, &cas);
}

const char *kv_test_body(struct kv_session *s, struct kv_item *item)
{
    static char text[8192];
    size_t at = 0;
    CHECK(item->head.len + item->len < sizeof text);
    if (item->head.len > 0) {
        memcpy(text, item->head.ptr, item->head.len);
        at = item->head.len;
    }
    for (uint64_t off = 0; off < item->len;) {
        struct stv_lease lease;
        CHECK(kv_next(s, item, off, &lease) == RC_OK);
        memcpy(text + at, lease.ptr, lease.len);
        CHECK(item->body == NULL || memcmp(item->body + off, lease.ptr, lease.len) == 0);
        at += lease.len;
        off += lease.len;
        stv_rel(&lease);
    }
    text[at] = '\0';
    kv_release(item);
    return text;
}

const char *kv_test_get(struct kv_session *s, const char *key)
{
    const struct kv_get ask = {.key = str_of(key)};
    struct kv_item item;
    enum rc rc = kv_get(s, &ask, &item);
    if (rc != RC_OK) {
        CHECK(rc == RC_NOT_FOUND);
        return NULL;
    }
    return kv_test_body(s, &item);
}

uint64_t kv_test_cas(struct kv_session *s, const char *key)
{
    const struct kv_get ask = {.key = str_of(key), .is_peek = true};
    struct kv_item item;
    if (kv_get(s, &ask, &item) != RC_OK) {
        return 0;
    }
    uint64_t cas = item.cas;
    kv_release(&item);
    return cas;
}
