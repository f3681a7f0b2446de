/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A remembered key is the key that would be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/engine_priv.h"

static struct wrk *new_wrk(void)
{
    struct wrk *wrk = xaligned(_Alignof(struct wrk), sizeof *wrk);
    memset(wrk, 0, sizeof *wrk);
    return wrk;
}

static void many_names_keep_their_own_keys(void **state)
{
    (void)state;
    struct wrk *wrk = new_wrk();
    struct rng rng = {.state = 7};
    for (unsigned i = 0; i < 60000; i++) {
        char host[80];
        char url[200];
        /* Few names, so that places are found full, used again and overwritten; lengths on both
         * sides of what a place can hold. */
        unsigned n = (unsigned)rng_below(&rng, 20000);
        int host_len = snprintf(host, sizeof host, "h%u.example", n % 7);
        int url_len = snprintf(url, sizeof url, "/%0*u", (int)(n % 170) + 1, n);
        struct str h = {host, (size_t)host_len};
        struct str u = {url, (size_t)url_len};
        char hashed[300];
        struct sb sb = sb_of(hashed, sizeof hashed);
        sb_put(&sb, u);
        sb_chr(&sb, '\0');
        sb_put(&sb, h);
        sb_chr(&sb, '\0');
        struct digest want;
        struct digest got;
        engine_digest(h, u, &want);
        /* The name is a hint, and may be any. */
        key__make(wrk, i % 3 == 0 ? key__hash(h, u) : i % 5, sb_str(&sb), &got);
        assert_true(digest_eq(&want, &got));
    }
    free(wrk);
}

static void where_host_ends_matters(void **state)
{
    (void)state;
    struct wrk *wrk = new_wrk();
    struct digest one;
    struct digest two;
    key__make(wrk, 0, STR("ab\0c\0"), &one);
    key__make(wrk, 0, STR("a\0bc\0"), &two);
    assert_false(digest_eq(&one, &two));
    key__make(wrk, 0, STR("\0abc\0"), &two);
    assert_false(digest_eq(&one, &two));
    free(wrk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_names_keep_their_own_keys),
        cmocka_unit_test(where_host_ends_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
