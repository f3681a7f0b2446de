/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What policies need. */
#include "engine/policy.h"

#include <assert.h>

struct str policy_word(enum policy_action action)
{
    static const struct str words[] = {
        [POLICY_FAIL] = STR_INIT("fail"),       [POLICY_HASH] = STR_INIT("hash"),
        [POLICY_PASS] = STR_INIT("pass"),       [POLICY_PIPE] = STR_INIT("pipe"),
        [POLICY_PURGE] = STR_INIT("purge"),     [POLICY_SYNTH] = STR_INIT("synth"),
        [POLICY_RESTART] = STR_INIT("restart"), [POLICY_DELIVER] = STR_INIT("deliver"),
        [POLICY_FETCH] = STR_INIT("fetch"),     [POLICY_ERROR] = STR_INIT("error"),
        [POLICY_RETRY] = STR_INIT("retry"),     [POLICY_ABANDON] = STR_INIT("abandon"),
    };
    static_assert(ARRAY_SIZE(words) == POLICY__COUNT, "one word for each action");
    CHECK(action < POLICY__COUNT);
    return words[action];
}

void policy_set_ttl(struct fetch *f, uint64_t ttl_ns)
{
    uint64_t now_ns = wrk_real_ns(engine__wrk(f->engine));
    uint64_t age_ns = now_ns > f->times.t_origin_ns ? now_ns - f->times.t_origin_ns : 0;
    f->times.ttl_ns = clock_after(ttl_ns, age_ns);
}
