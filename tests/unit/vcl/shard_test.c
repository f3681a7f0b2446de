/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "fake_ctx.h"
#include "vcl/mod.h"
#include "vcl/mod_shard.h"

enum { HASH, URL, KEY, BLOB };

struct bench {
    struct fake *f;
    const struct objm_object *object;
    void *shard;
    struct fake_leaf leaf[3];
    struct objm_backend *be[3];
};

static const struct objm_func *method(const struct bench *b, const char *name)
{
    return fake_method(b->object, name);
}

static void add(struct bench *b, unsigned n, const char *ident, double weight)
{
    union objm_value args[4] = {{.backend = b->be[n]}};
    uint32_t given = 1;
    if (ident != NULL) {
        args[1].string = (struct objm_str){ident, strlen(ident)};
        given |= 2;
    }
    if (weight > 0) {
        args[3].real = weight;
        given |= 8;
    }
    assert_true(fake_call(b->f, method(b, "add_backend"), b->shard, args, given).boolean);
}

static bool reconfigure(struct bench *b, int64_t replicas)
{
    union objm_value args[1] = {{.integer = replicas}};
    return fake_call(b->f, method(b, "reconfigure"), b->shard, args, 1).boolean;
}

static void start(struct bench *b)
{
    memset(b, 0, sizeof *b);
    b->f = fake_new();
    for (unsigned n = 0; n < 3; n++) {
        char name[8];
        (void)snprintf(name, sizeof name, "b%u", n + 1);
        b->be[n] = vcl_backend_add(b->f->backends, name, &b->leaf[n], NULL);
    }
    b->object = fake_object(&vcl__mod_directors, "shard");
    b->shard = fake_object_new(b->f, b->object, "s", NULL, 0);
}

static void stop(struct bench *b)
{
    fake_end_task(b->f);
    b->object->fini(&b->f->ctx, b->shard);
    fake_free(&b->f);
}

/* Of key 0 the order is 1 2 3. */
static void start_with_three(struct bench *b)
{
    start(b);
    for (unsigned n = 0; n < 3; n++) {
        add(b, n, n == 2 ? "third" : NULL, 0);
    }
    assert_true(reconfigure(b, 25));
}

/* backend(by = KEY, key, alt, healthy): the number of the backend, 0: none. */
static int pick(struct bench *b, uint32_t key, int64_t alt, enum shard_healthy healthy)
{
    union objm_value args[9] = {{.choice = KEY}, {.integer = key}};
    args[3].integer = alt;
    args[6].choice = healthy;
    const struct objm_backend *be = fake_call(b->f, method(b, "backend"), b->shard, args,
                                              ARG_BY | ARG_KEY | ARG_ALT | ARG_HEALTHY)
                                        .backend;
    for (int n = 0; n < 3; n++) {
        if (be == b->be[n]) {
            return n + 1;
        }
    }
    assert_null(be);
    return 0;
}

/* The choices of Varnish 7.1.1 with the same backends. */
static void keys_go_where_varnish_sends_them(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    add(&b, 0, NULL, 0);
    add(&b, 1, NULL, 0);
    add(&b, 2, "third", 0);
    assert_true(reconfigure(&b, 25));
    static const struct {
        uint32_t key;
        int order[3];
    } rows[] = {{0, {1, 2, 3}},
                {1000000000, {3, 2, 1}},
                {2000000000, {2, 1, 3}},
                {3000000000, {2, 3, 1}},
                {4294967295, {2, 1, 3}}};
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        for (int alt = 0; alt < 3; alt++) {
            assert_int_equal(pick(&b, rows[n].key, alt, SHARD_CHOSEN), rows[n].order[alt]);
        }
    }
    b.f->req->url = STR("/abc");
    assert_ptr_equal(fake_call(b.f, method(&b, "backend"), b.shard,
                               (union objm_value[9]){{.choice = URL}}, ARG_BY)
                         .backend,
                     b.be[2]);
    stop(&b);
}

static void weights_are_replicas(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    add(&b, 0, NULL, 2);
    add(&b, 1, NULL, 0);
    assert_true(reconfigure(&b, 67));
    static const int order[] = {1, 1, 2, 1, 2, 2, 1, 1, 1};
    for (uint32_t n = 0; n < ARRAY_SIZE(order); n++) {
        assert_int_equal(pick(&b, n * 500000000, 0, SHARD_CHOSEN), order[n]);
    }
    stop(&b);
}

static void keys_of_texts(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    static const struct objm_str parts[] = {{"/a", 2}, {"b", 1}};
    const struct {
        struct objm_strands text;
        int64_t key;
    } rows[] = {{{(const struct objm_str[]){{"foo", 3}}, 1}, 2934400610},
                {{(const struct objm_str[]){{"", 0}}, 1}, 1438143096},
                {{parts, 2}, 2137751954}};
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        union objm_value args[1] = {{.strands = rows[n].text}};
        assert_int_equal(fake_call(b.f, method(&b, "key"), b.shard, args, 1).integer, rows[n].key);
    }
    stop(&b);
}

static void sick_backends_are_passed_over(void **state)
{
    (void)state;
    struct bench b;
    start_with_three(&b);
    /* The order of key 0 is 1 2 3. */
    b.leaf[0].is_sick = true;
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), 2);
    assert_int_equal(pick(&b, 0, 0, SHARD_IGNORE), 1);
    assert_int_equal(pick(&b, 0, 1, SHARD_CHOSEN), 2); /* passes over the sick one */
    assert_int_equal(pick(&b, 0, 1, SHARD_ALL), 3);    /* passes over a healthy one */
    b.leaf[1].is_sick = true;
    b.leaf[2].is_sick = true;
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), 0);
    assert_int_equal(pick(&b, 0, 2, SHARD_IGNORE), 3);
    b.leaf[0].is_sick = false;
    assert_int_equal(pick(&b, 0, 2, SHARD_CHOSEN), 1); /* the last healthy one that was skipped */
    stop(&b);
}

static void changes_count_at_the_end_of_the_task(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    add(&b, 0, NULL, 0);
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), 0);
    fake_end_task(b.f);
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), 1);
    add(&b, 1, NULL, 0);
    union objm_value args[2] = {{.backend = b.be[0]}};
    assert_true(fake_call(b.f, method(&b, "remove_backend"), b.shard, args, 1).boolean);
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), 1);
    assert_true(reconfigure(&b, 1));
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), 2);
    assert_true(fake_call(b.f, method(&b, "clear"), b.shard, NULL, 0).boolean);
    assert_false(reconfigure(&b, 1));
    assert_non_null(strstr(b.f->logged, "vmod_directors: shard s: .reconfigure() no backends"));
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), 0);
    assert_false(reconfigure(&b, 0));
    stop(&b);
}

/* When one of many goes, only its own keys move. */
static void keys_stay_where_they_were(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    for (unsigned n = 0; n < 3; n++) {
        add(&b, n, NULL, 0);
    }
    assert_true(reconfigure(&b, 67));
    struct rng rng = {.state = 1};
    uint32_t keys[500];
    int before[500];
    unsigned share[4] = {0};
    for (unsigned n = 0; n < 500; n++) {
        keys[n] = (uint32_t)rng_u64(&rng);
        before[n] = pick(&b, keys[n], 0, SHARD_CHOSEN);
        share[before[n]]++;
    }
    assert_true(share[1] > 80 && share[2] > 80 && share[3] > 80);
    b.leaf[1].is_sick = true;
    for (unsigned n = 0; n < 500; n++) {
        int now = pick(&b, keys[n], 0, SHARD_CHOSEN);
        assert_true(now == before[n] || (before[n] == 2 && now != 2));
    }
    stop(&b);
}

static void rampup_and_warmup_share_requests(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    add(&b, 0, NULL, 0);
    add(&b, 1, NULL, 0);
    assert_true(reconfigure(&b, 25));
    int first = pick(&b, 0, 0, SHARD_CHOSEN);
    union objm_value args[1] = {{.real = 10}};
    (void)fake_call(b.f, method(&b, "set_rampup"), b.shard, args, 1);
    /* Healthy for 2.5 s of 10: a quarter of the requests. */
    b.leaf[first - 1].changed = b.f->ctx.now - 2.5;
    unsigned own = 0;
    for (unsigned n = 0; n < 4000; n++) {
        own += pick(&b, 0, 0, SHARD_CHOSEN) == first;
    }
    assert_in_range(own, 850, 1150);
    b.leaf[first - 1].changed = 0;
    assert_int_equal(pick(&b, 0, 0, SHARD_CHOSEN), first);
    args[0].real = 0.2;
    (void)fake_call(b.f, method(&b, "set_warmup"), b.shard, args, 1);
    own = 0;
    for (unsigned n = 0; n < 4000; n++) {
        own += pick(&b, 0, 0, SHARD_CHOSEN) == first;
    }
    assert_in_range(own, 3100, 3300);
    stop(&b);
}

static void parameters_of_a_fetch_are_its_own(void **state)
{
    (void)state;
    struct bench b;
    start_with_three(&b);
    const struct objm_object *object = fake_object(&vcl__mod_directors, "shard_param");
    void *param = fake_object_new(b.f, object, "p", NULL, 0);
    b.f->ctx.where = OBJM_IN_INIT;
    union objm_value set[7] = {{.choice = KEY}, {.integer = 1000000000}};
    (void)fake_call(b.f, fake_method(object, "set"), param, set, ARG_BY | ARG_KEY);
    union objm_value blob[1] = {fake_call(b.f, fake_method(object, "use"), param, NULL, 0)};
    (void)fake_call(b.f, method(&b, "associate"), b.shard, blob, 1);
    assert_int_equal(
        fake_call(b.f, method(&b, "backend"), b.shard, (union objm_value[9]){{0}}, 0).backend ==
            NULL,
        false);
    /* In a fetch: the order of that key is 3 2 1, and this fetch wants the second. */
    b.f->ctx.where = OBJM_IN_BACKEND_FETCH;
    union objm_value alt[7] = {{.choice = KEY}, {.integer = 1000000000}};
    alt[3].integer = 1;
    const struct objm_func *backend = method(&b, "backend");
    assert_ptr_equal(fake_call(b.f, backend, b.shard, (union objm_value[9]){{0}}, 0).backend,
                     b.be[2]);
    (void)fake_call(b.f, fake_method(object, "set"), param, alt, ARG_BY | ARG_KEY | ARG_ALT);
    assert_int_equal(fake_call(b.f, fake_method(object, "get_alt"), param, NULL, 0).integer, 1);
    assert_int_equal(fake_call(b.f, fake_method(object, "get_key"), param, NULL, 0).integer,
                     1000000000);
    assert_ptr_equal(fake_call(b.f, backend, b.shard, (union objm_value[9]){{0}}, 0).backend,
                     b.be[1]);
    fake_end_task(b.f);
    assert_int_equal(fake_call(b.f, fake_method(object, "get_alt"), param, NULL, 0).integer, 0);
    /* Not on the client's side. */
    b.f->ctx.where = OBJM_IN_RECV;
    (void)fake_call(b.f, fake_method(object, "set"), param, alt, ARG_ALT);
    assert_string_not_equal(b.f->failed, "");
    stop(&b);
    struct objm_ctx none = {0};
    object->fini(&none, param);
}

static void wrong_arguments_fail(void **state)
{
    (void)state;
    static const struct {
        union objm_value args[9];
        uint32_t given;
        const char *why;
    } rows[] = {
        {{{.choice = KEY}},
         ARG_BY,
         "vmod_directors: shard s: shard.backend() missing key argument with by=KEY"},
        {{{.choice = KEY}, {.integer = -1}},
         ARG_BY | ARG_KEY,
         "vmod_directors: shard s: shard.backend() invalid key argument -1 with by=KEY"},
        {{{.choice = URL}, {.integer = 1}},
         ARG_BY | ARG_KEY,
         "vmod_directors: shard s: shard.backend() key and key_blob arguments are invalid with "
         "by=URL"},
        {{[3] = {.integer = -1}},
         ARG_ALT,
         "vmod_directors: shard s: shard.backend() invalid alt argument -1"},
        {{[4] = {.real = 1.5}},
         ARG_WARMUP,
         "vmod_directors: shard s: shard.backend() invalid warmup argument 1.500000"},
        {{[7] = {.blob = {"x", 1}}},
         ARG_PARAM,
         "vmod_directors: shard s: .backend(key_blob) param invalid"},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        struct bench b;
        start(&b);
        add(&b, 0, NULL, 0);
        assert_true(reconfigure(&b, 1));
        assert_null(
            fake_call(b.f, method(&b, "backend"), b.shard, rows[n].args, rows[n].given).backend);
        assert_string_equal(b.f->failed, rows[n].why);
        stop(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_go_where_varnish_sends_them),
        cmocka_unit_test(weights_are_replicas),
        cmocka_unit_test(keys_of_texts),
        cmocka_unit_test(sick_backends_are_passed_over),
        cmocka_unit_test(changes_count_at_the_end_of_the_task),
        cmocka_unit_test(keys_stay_where_they_were),
        cmocka_unit_test(rampup_and_warmup_share_requests),
        cmocka_unit_test(parameters_of_a_fetch_are_its_own),
        cmocka_unit_test(wrong_arguments_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
