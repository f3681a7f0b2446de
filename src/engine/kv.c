/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Objects by key (kv.h). */
#include "engine/kv.h"

bool kv_is_url(struct str key)
{
    return str_starts(key, STR("http://")) || str_starts(key, STR("https://")) ||
           str_starts(key, STR("//"));
}

enum rc kv_get(struct kv_session *s, const struct kv_get *ask, struct kv_item *item)
{
    CHECK(s->engine != NULL);
    *item = (struct kv_item){.ttl_s = -1};
    return ask->key.len > KV_KEY_MAX ? RC_TOO_LONG : RC_NOT_FOUND;
}

enum rc kv_next(struct kv_session *s, struct kv_item *item, uint64_t off, struct stv_lease *lease)
{
    CHECK(off < item->len);
    return obj_next(item->oc, off, true, clock_after(clock_mono_ns(), s->wait_ns), lease);
}

enum rc kv_next_payload(struct kv_session *s, struct kv_item *item, uint64_t off,
                        struct obj_fd_payload *payload)
{
    CHECK(off < item->len);
    return obj_next_payload(item->oc, off, clock_after(clock_mono_ns(), s->wait_ns), payload);
}

void kv_release(struct kv_item *item)
{
    if (item->oc != NULL) {
        obj_release(&item->oc);
    }
}

enum rc kv_put_begin(struct kv_session *s, const struct kv_value *value, struct kv_put *put)
{
    *put = (struct kv_put){.s = s, .value = *value};
    return value->key.len > KV_KEY_MAX ? RC_TOO_LONG : RC_NOSPACE;
}

enum rc kv_put_space(struct kv_put *put, void **ptr, size_t *len)
{
    CHECK(put->got < put->value.len);
    *ptr = NULL;
    *len = 0;
    return RC_NOSPACE;
}

void kv_put_grown(struct kv_put *put, size_t bytes)
{
    CHECK(bytes <= put->value.len - put->got);
}

enum rc kv_put_commit(struct kv_put *put, uint64_t *cas)
{
    *cas = 0;
    return put->value.len == put->got ? RC_NOSPACE : RC_INVALID;
}

void kv_put_abort(struct kv_put *put)
{
    *put = (struct kv_put){.s = NULL};
}

enum rc kv_store(struct kv_session *s, const struct kv_value *value, const void *bytes,
                 uint64_t *cas)
{
    CHECK(s->engine != NULL);
    CHECK(bytes != NULL || value->len == 0);
    *cas = 0;
    return RC_NOSPACE;
}

enum rc kv_delete(struct kv_session *s, const struct kv_delete *ask)
{
    CHECK(s->engine != NULL);
    return ask->key.len > KV_KEY_MAX ? RC_TOO_LONG : RC_NOT_FOUND;
}

enum rc kv_touch(struct kv_session *s, struct str key, int64_t exptime)
{
    CHECK(s->engine != NULL);
    return key.len > KV_KEY_MAX || exptime < 0 ? RC_TOO_LONG : RC_NOT_FOUND;
}

enum rc kv_arith(struct kv_session *s, struct kv_arith *ask)
{
    CHECK(s->engine != NULL);
    return ask->key.len > KV_KEY_MAX ? RC_TOO_LONG : RC_NOT_FOUND;
}

void kv_flush_all(struct kv_session *s, int64_t delay)
{
    CHECK(s->engine != NULL);
    (void)delay;
}

void kv_stat(struct kv_session *s, struct kv_stats *out)
{
    CHECK(s->engine != NULL);
    *out = (struct kv_stats){0};
}
