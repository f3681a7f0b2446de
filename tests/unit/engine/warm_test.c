/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What is remembered of a hit belongs to its name, and may outlive its object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "engine/engine_priv.h"
#include "support/run_fiber.h"

static char block[4096];

static struct http *get(struct arena *arena, struct str host, struct str url)
{
    struct http *h = http_new(arena, 4);
    CHECK(h != NULL);
    h->url = url;
    CHECK(http_set(h, HDR_HOST, host) == RC_OK);
    return h;
}

static const struct warm *place_of(const struct wrk *wrk, uint64_t name)
{
    return &wrk->warm[name % ARRAY_SIZE(wrk->warm)];
}

static void notes(void *arg)
{
    (void)arg;
    struct arena arena;
    arena_init(&arena, block, sizeof block);
    struct wrk *wrk = xaligned(_Alignof(struct wrk), sizeof *wrk);
    memset(wrk, 0, sizeof *wrk);
    const struct cache_conf conf = {.run = NULL};
    struct cache *cache = NULL;
    CHECK(cache_new(&conf, &cache) == RC_OK);

    uint64_t name = warm__up(wrk, get(&arena, STR("a.example"), STR("/1")));
    CHECK(warm__up(wrk, get(&arena, STR("a.example"), STR("/1"))) == name);
    CHECK(warm__up(wrk, get(&arena, STR("a.example"), STR("/2"))) != name);
    CHECK(warm__up(wrk, get(&arena, STR("b.example"), STR("/1"))) != name);

    struct objcore *one = cache_private(cache);
    struct objcore *two = cache_private(cache);
    warm__note(wrk, name, one);
    CHECK(place_of(wrk, name)->name == name);
    CHECK(place_of(wrk, name)->lines.core == one);
    /* Another object of that name, then another name in that place. */
    warm__note(wrk, name, two);
    CHECK(place_of(wrk, name)->lines.core == two);
    uint64_t other = name + ARRAY_SIZE(wrk->warm);
    warm__note(wrk, other, one);
    CHECK(place_of(wrk, name)->name == other);
    CHECK(place_of(wrk, name)->lines.core == one);

    /* All of it gone: asking for the lines is harmless. */
    warm__note(wrk, name, two);
    obj_fail(one);
    obj_fail(two);
    obj_release(&one);
    obj_release(&two);
    cache_free(&cache);
    CHECK(warm__up(wrk, get(&arena, STR("a.example"), STR("/1"))) == name);
    free(wrk);
}

static void what_a_hit_read_is_noted_by_name(void **state)
{
    (void)state;
    run_once(notes, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_hit_read_is_noted_by_name),
    };
    return cmocka_run_group_tests_name("engine/warm", tests, NULL, NULL);
}
