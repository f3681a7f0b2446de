/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What planning costs: nanoseconds of plan_make and of plan_cached for some questions, the first of
 * which is the chain of four that docs/performance.md has a budget for.
 *
 * Lower quartile of many short runs, so that the machine's other work is left out. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "filter/plan.h"

enum { RUNS = 200, PLANS = 500, ARENA_BYTES = 32 << 10, WANTS = 4 };

static const struct filter myvfp = {
    .name = STR_INIT("myvfp"), .in = STR_INIT("text"), .out = STR_INIT("text")};

static const struct {
    const char *what;
    struct str from;
    const char *names[WANTS];
} questions[] = {
    {"gunzip buffer regex gzip", STR_INIT("gzip"), {"regex"}},
    {"gunzip myvfp esi_gzip", STR_INIT("gzip"), {"myvfp", "esi"}},
    {"gzip", STR_INIT("text"), {"gzip"}},
    {"testgunzip", STR_INIT("gzip"), {"testgunzip"}},
    {"gunzip rewrite rewrite rewrite gzip", STR_INIT("gzip"), {"rewrite", "rewrite", "rewrite"}},
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double measure(const struct plan_ask *ask, struct plan_cache *cache)
{
    static _Alignas(16) char block[ARENA_BYTES];
    static double runs[RUNS];
    for (unsigned n = 0; n < RUNS; n++) {
        uint64_t begin = now_ns();
        for (unsigned m = 0; m < PLANS; m++) {
            struct arena arena;
            struct plan plan;
            arena_init(&arena, block, sizeof(block));
            enum rc rc = cache == NULL ? plan_make(ask, &arena, &plan)
                                       : plan_cached(cache, ask, &arena, &plan);
            CHECK(rc == RC_OK);
        }
        runs[n] = (double)(now_ns() - begin) / PLANS;
    }
    qsort(runs, RUNS, sizeof(runs[0]), compare);
    return runs[RUNS / 4];
}

int main(void)
{
    struct plan_cache *cache = plan_cache_new();
    for (size_t n = 0; n < sizeof(questions) / sizeof(questions[0]); n++) {
        struct plan_want wants[WANTS] = {0};
        unsigned all;
        struct plan_ask ask = {.side = FILTER_VFP, .from = questions[n].from, .wants = wants};
        ask.fills = filter_builtins(FILTER_VFP, &all, &ask.fills_count);
        for (unsigned m = 0; m < WANTS && questions[n].names[m] != NULL; m++) {
            const struct filter *found = filter_find(FILTER_VFP, str_of(questions[n].names[m]));
            wants[ask.wants_count++].filter = found == NULL ? &myvfp : found;
        }
        printf("%-36s plan_ns %4.0f cached_ns %4.0f\n", questions[n].what, measure(&ask, NULL),
               measure(&ask, cache));
    }
    plan_cache_free(&cache);
    return 0;
}
