/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "fake_ctx.h"
#include "vcl/mod.h"

struct bench {
    struct fake *f;
    const struct objm_object *object;
    void *self;
    struct fake_leaf leaf[3];
    struct objm_backend *be[3];
};

static void start(struct bench *b, const char *kind, bool is_sticky)
{
    memset(b, 0, sizeof *b);
    b->f = fake_new();
    b->object = fake_object(&vcl__mod_directors, kind);
    union objm_value args[1] = {{.boolean = is_sticky}};
    b->self = fake_object_new(b->f, b->object, kind, args, 1);
    for (unsigned n = 0; n < 3; n++) {
        char name[8];
        (void)snprintf(name, sizeof name, "b%u", n + 1);
        b->be[n] = vcl_backend_add(b->f->backends, name, &b->leaf[n], NULL);
        union objm_value add[2] = {{.backend = b->be[n]}, {.real = n == 1 ? 2 : 1}};
        (void)fake_call(b->f, fake_method(b->object, "add_backend"), b->self, add, 3);
    }
}

static void stop(struct bench *b)
{
    b->object->fini(&b->f->ctx, b->self);
    fake_free(&b->f);
}

static const struct objm_backend *director(struct bench *b)
{
    return fake_call(b->f, fake_method(b->object, "backend"), b->self, NULL, 0).backend;
}

/* The number of the backend that the director leads to; 0: none. */
static int pick(struct bench *b)
{
    const struct objm_backend *be = vcl_backend_resolve(&b->f->ctx, director(b));
    for (int n = 0; n < 3; n++) {
        if (be == b->be[n]) {
            return n + 1;
        }
    }
    assert_null(be);
    return 0;
}

static void remove_one(struct bench *b, unsigned n)
{
    union objm_value args[1] = {{.backend = b->be[n]}};
    (void)fake_call(b->f, fake_method(b->object, "remove_backend"), b->self, args, 1);
}

static void round_robin_takes_turns(void **state)
{
    (void)state;
    struct bench b;
    start(&b, "round_robin", false);
    assert_int_equal(pick(&b), 1);
    assert_int_equal(pick(&b), 2);
    assert_int_equal(pick(&b), 3);
    b.leaf[0].is_sick = true;
    assert_int_equal(pick(&b), 2);
    assert_int_equal(pick(&b), 3);
    remove_one(&b, 2);
    assert_int_equal(pick(&b), 2);
    b.leaf[1].is_sick = true;
    assert_int_equal(pick(&b), 0);
    stop(&b);
}

static void fallback_takes_the_first(void **state)
{
    (void)state;
    struct bench b;
    start(&b, "fallback", false);
    assert_int_equal(pick(&b), 1);
    b.leaf[0].is_sick = true;
    assert_int_equal(pick(&b), 2);
    b.leaf[0].is_sick = false;
    assert_int_equal(pick(&b), 1);
    stop(&b);
    start(&b, "fallback", true);
    b.leaf[0].is_sick = true;
    assert_int_equal(pick(&b), 2);
    b.leaf[0].is_sick = false;
    assert_int_equal(pick(&b), 2); /* stays */
    remove_one(&b, 0);
    assert_int_equal(pick(&b), 2); /* though it moved up */
    b.leaf[1].is_sick = true;
    assert_int_equal(pick(&b), 3);
    stop(&b);
}

static void random_goes_by_weight(void **state)
{
    (void)state;
    struct bench b;
    start(&b, "random", false);
    unsigned count[4] = {0};
    for (unsigned n = 0; n < 8000; n++) {
        count[pick(&b)]++;
    }
    assert_in_range(count[1], 1850, 2150);
    assert_in_range(count[2], 3850, 4150);
    assert_in_range(count[3], 1850, 2150);
    b.leaf[1].is_sick = true;
    memset(count, 0, sizeof count);
    for (unsigned n = 0; n < 8000; n++) {
        count[pick(&b)]++;
    }
    assert_int_equal(count[2], 0);
    assert_in_range(count[1], 3850, 4150);
    stop(&b);
}

/* The choices of Varnish 7.1.1 for weights 1, 2, 1. */
static void hash_chooses_as_varnish(void **state)
{
    (void)state;
    struct bench b;
    start(&b, "hash", false);
    static const struct {
        const char *text;
        int backend;
    } rows[] = {{"a", 2}, {"b", 2}, {"c", 3}, {"d", 3},
                {"e", 3}, {"f", 1}, {"g", 1}, {"/index.html", 1}};
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        struct objm_str text = {rows[n].text, strlen(rows[n].text)};
        union objm_value args[1] = {{.strands = {&text, 1}}};
        const struct objm_backend *be =
            fake_call(b.f, fake_method(b.object, "backend"), b.self, args, 1).backend;
        assert_ptr_equal(be, b.be[rows[n].backend - 1]);
    }
    stop(&b);
}

static void health_goes_through_directors(void **state)
{
    (void)state;
    struct bench b;
    start(&b, "round_robin", false);
    const struct objm_object *fallback = fake_object(&vcl__mod_directors, "fallback");
    union objm_value args[1] = {{.boolean = false}};
    void *outer = fake_object_new(b.f, fallback, "outer", args, 1);
    args[0].backend = director(&b);
    (void)fake_call(b.f, fake_method(fallback, "add_backend"), outer, args, 1);
    const struct objm_backend *be =
        fake_call(b.f, fake_method(fallback, "backend"), outer, NULL, 0).backend;
    assert_true(vcl_backend_healthy(&b.f->ctx, be, NULL));
    for (unsigned n = 0; n < 3; n++) {
        b.leaf[n].is_sick = true;
        b.leaf[n].changed = 10 + n;
    }
    double changed;
    assert_false(vcl_backend_healthy(NULL, be, &changed));
    assert_true(changed > 11.9 && changed < 12.1);
    assert_null(vcl_backend_resolve(&b.f->ctx, be));
    unsigned healthy;
    unsigned total;
    void *arg;
    const struct objm_director *table = vcl_backend_director(director(&b), &arg);
    table->count(arg, &healthy, &total);
    assert_int_equal(healthy, 0);
    assert_int_equal(total, 3);
    /* What the operator says goes before what they say. */
    struct objm_backend *by_name = vcl_backend_find(b.f->backends, STR("outer"));
    assert_ptr_equal(by_name, be);
    vcl_director_set_health(by_name, VCL_HEALTH_HEALTHY, 99);
    assert_true(vcl_backend_healthy(NULL, be, &changed));
    assert_true(changed > 98);
    fallback->fini(&b.f->ctx, outer);
    assert_null(vcl_backend_find(b.f->backends, STR("outer")));
    stop(&b);
}

static void a_circle_of_directors_leads_nowhere(void **state)
{
    (void)state;
    struct bench b;
    start(&b, "fallback", false);
    const struct objm_object *rr = fake_object(&vcl__mod_directors, "round_robin");
    void *other = fake_object_new(b.f, rr, "other", NULL, 0);
    union objm_value args[1] = {{.backend = director(&b)}};
    (void)fake_call(b.f, fake_method(rr, "add_backend"), other, args, 1);
    const struct objm_backend *be =
        fake_call(b.f, fake_method(rr, "backend"), other, NULL, 0).backend;
    args[0].backend = be;
    (void)fake_call(b.f, fake_method(b.object, "add_backend"), b.self, args, 1);
    for (unsigned n = 0; n < 3; n++) {
        b.leaf[n].is_sick = true;
    }
    assert_false(vcl_backend_healthy(&b.f->ctx, be, NULL));
    assert_null(vcl_backend_resolve(&b.f->ctx, be));
    rr->fini(&b.f->ctx, other);
    stop(&b);
}

static void collect(void *arg, struct objm_str text)
{
    struct sb *sb = arg;
    sb_put(sb, (struct str){text.ptr, text.len});
}

static void members_are_listed(void **state)
{
    (void)state;
    struct bench b;
    start(&b, "random", false);
    b.leaf[2].is_sick = true;
    char buf[512];
    struct sb sb = sb_of(buf, sizeof buf - 1);
    void *arg;
    const struct objm_director *table = vcl_backend_director(director(&b), &arg);
    table->list(arg, false, collect, &sb);
    buf[sb.len] = '\0';
    assert_string_equal(buf, "\n\n\tBackend\tWeight\tHealth\n\tb1\t 33.33%\thealthy\n"
                             "\tb2\t 66.67%\thealthy\n\tb3\t  0.00%\tsick\n");
    stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_takes_turns),
        cmocka_unit_test(fallback_takes_the_first),
        cmocka_unit_test(random_goes_by_weight),
        cmocka_unit_test(hash_chooses_as_varnish),
        cmocka_unit_test(health_goes_through_directors),
        cmocka_unit_test(a_circle_of_directors_leads_nowhere),
        cmocka_unit_test(members_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
