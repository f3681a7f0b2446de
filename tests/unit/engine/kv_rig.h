/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What tests of objects by key do all the time. */
#ifndef TESTS_UNIT_ENGINE_KV_RIG_H
#define TESTS_UNIT_ENGINE_KV_RIG_H

#include "engine/kv.h"
#include "rig.h"

struct kv_session kv_test_session(struct rig *rig);
/* With whole values; *cas as cas and new cas. */
YIELDS enum rc kv_test_put(struct kv_session *s, enum kv_mode mode, const char *key,
                           const char *value, uint64_t *cas);
YIELDS enum rc kv_test_set(struct kv_session *s, const char *key, const char *value);
/* The value, or NULL; in memory that the next call uses again. */
YIELDS const char *kv_test_get(struct kv_session *s, const char *key);
YIELDS uint64_t kv_test_cas(struct kv_session *s, const char *key);
/* The bytes of an item, which it releases. */
YIELDS const char *kv_test_body(struct kv_session *s, struct kv_item *item);

#endif
