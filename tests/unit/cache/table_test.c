/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The table of heads, and names that were chosen to share a place in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "cache/cache_priv.h"

enum { HEADS = 4096 };

/* All bits that could be chosen by trying for a long time are the same. */
static struct digest chosen(unsigned n)
{
    struct digest d = {{0}};
    memcpy(&d.bytes[5], &n, sizeof n);
    return d;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (const void *const *)a;
    uintptr_t y = (uintptr_t) * (const void *const *)b;
    return x < y ? -1 : x > y;
}

static size_t longest_run(const void **v, size_t count)
{
    size_t longest = 0;
    size_t run = 0;
    qsort(v, count, sizeof *v, by_address);
    for (size_t i = 0; i < count; i++) {
        run = i > 0 && v[i] == v[i - 1] ? run + 1 : 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void add_all(struct stripe *stripe, struct objhead *heads)
{
    for (unsigned i = 0; i < HEADS; i++) {
        heads[i].digest = chosen(i);
        stripe__lock(stripe);
        table__add(stripe, &heads[i]);
        bool is_growing = stripe->is_growing;
        stripe__unlock(stripe);
        if (is_growing) {
            cache__barrier();
        }
    }
}

static void names_cannot_be_chosen_to_share_a_bucket(void **state)
{
    (void)state;
    const struct cache_conf conf = {0};
    struct cache *cache = NULL;
    assert_int_equal(cache_new(&conf, &cache), RC_OK);
    struct stripe *stripe = &cache->stripes[0];
    struct objhead *heads = xcalloc(HEADS, sizeof *heads);
    add_all(stripe, heads);
    const void **buckets = xcalloc(HEADS, sizeof *buckets);
    for (unsigned i = 0; i < HEADS; i++) {
        assert_ptr_equal(table__find(stripe, &heads[i].digest), &heads[i]);
        buckets[i] = table__bucket(stripe, &heads[i].digest);
    }
    /* As many buckets as heads: by chance some eight are together, with bad luck twice as many. */
    assert_in_range(longest_run(buckets, HEADS), 1, 64);
    for (unsigned i = 0; i < HEADS; i++) {
        stripe__lock(stripe);
        table__remove(stripe, &heads[i]);
        stripe__unlock(stripe);
        assert_null(table__find(stripe, &heads[i].digest));
    }
    free(buckets);
    free(heads);
    cache_free(&cache);
}

static void every_table_has_a_secret_of_its_own(void **state)
{
    (void)state;
    uint64_t a = digest_secret();
    uint64_t b = digest_secret();
    assert_true(a != b);
    assert_true((a & b & 1) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_cannot_be_chosen_to_share_a_bucket),
        cmocka_unit_test(every_table_has_a_secret_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
