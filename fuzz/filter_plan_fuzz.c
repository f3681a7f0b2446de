/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Candidates as people write them ("vfp gzip (text)a(text)@LAST esi"): whatever is read is planned,
 * the chain's neighbours match, nobody is lost, and the cache says the same. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "filter/notation.h"
#include "filter/plan.h"

enum { ARENA_BYTES = 256 << 10 };

struct question {
    struct plan_ask ask;
    struct plan_want wants[PLAN_WANTS_MAX];
    struct filter made_up[PLAN_WANTS_MAX];
    struct plan plans[2];
    _Alignas(16) char blocks[2][ARENA_BYTES];
};

static void add(struct question *q, struct str word)
{
    struct notation one;
    const char *why = NULL;
    unsigned n = q->ask.wants_count;
    if (notation_parse(q->ask.side, word, &one, &why) != RC_OK) {
        CHECK(why != NULL);
        return;
    }
    CHECK(notation_is_name(one.name));
    const struct filter *filter = filter_find(q->ask.side, one.name);
    if (one.in.ptr != NULL) {
        CHECK(notation_is_formats(one.in) && notation_is_formats(one.out));
        q->made_up[n] = (struct filter){.name = one.name, .in = one.in, .out = one.out};
        filter = &q->made_up[n];
    }
    if (filter != NULL) {
        q->wants[q->ask.wants_count++] = (struct plan_want){.filter = filter, .pos = one.pos};
    }
}

static void check_plan(const struct question *q, const struct plan *plan)
{
    struct str format = q->ask.from;
    unsigned asked = 0;
    for (unsigned n = 0; n < plan->steps_count; n++) {
        CHECK(str_eq(plan->steps[n].in, format));
        format = plan->steps[n].out;
        asked += plan->steps[n].want != PLAN_NO_WANT ? 1 : 0;
    }
    for (unsigned n = 0; n < plan->left_count; n++) {
        CHECK(plan->left[n].reason[0] != '\0');
        asked += plan->left[n].index != PLAN_NO_WANT ? 1 : 0;
    }
    CHECK(str_eq(format, plan->to));
    CHECK(asked == q->ask.wants_count);
}

static void ask_twice(struct question *q)
{
    struct arena arena;
    struct plan_cache *cache = plan_cache_new();
    for (unsigned n = 0; n < 2; n++) {
        arena_init(&arena, q->blocks[n], ARENA_BYTES);
        enum rc rc = plan_cached(cache, &q->ask, &arena, &q->plans[n]);
        CHECK(rc == RC_OK || rc == RC_LIMIT);
        if (rc == RC_LIMIT) {
            break;
        }
        check_plan(q, &q->plans[n]);
        CHECK(n == 0 || q->plans[0].steps_count == q->plans[1].steps_count);
        CHECK(n == 0 || str_eq(q->plans[0].to, q->plans[1].to));
    }
    plan_cache_free(&cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct question *q = xcalloc(1, sizeof *q);
    struct str rest = {(const char *)data, size};
    unsigned all;
    q->ask.side = str_eq(str_cut(&rest, ' '), STR("vdp")) ? FILTER_VDP : FILTER_VFP;
    q->ask.from = rest.ptr == NULL ? STR("text") : str_cut(&rest, ' ');
    q->ask.wants = q->wants;
    q->ask.fills = filter_builtins(q->ask.side, &all, &q->ask.fills_count);
    while (rest.ptr != NULL && q->ask.wants_count < PLAN_WANTS_MAX) {
        add(q, str_cut(&rest, ' '));
    }
    ask_twice(q);
    XFREE(q);
    return 0;
}
