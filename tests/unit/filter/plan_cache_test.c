/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A plan from the cache is the plan that would have been made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "plan_ask.h"

static struct question fresh;
static struct question kept;

enum { KEY_TOO_LONG = 1100 };

static void check_same(const struct plan *a, const struct plan *b)
{
    assert_int_equal(a->steps_count, b->steps_count);
    assert_int_equal(a->left_count, b->left_count);
    assert_true(str_eq(a->from, b->from));
    assert_true(str_eq(a->to, b->to));
    for (unsigned n = 0; n < a->steps_count; n++) {
        const struct plan_step *s = &a->steps[n];
        const struct plan_step *t = &b->steps[n];
        assert_true(str_eq(s->filter->name, t->filter->name));
        assert_true(str_eq(s->in, t->in));
        assert_true(str_eq(s->out, t->out));
        assert_int_equal(s->pos, t->pos);
        assert_int_equal(s->is_builtin, t->is_builtin);
        assert_int_equal(s->want, t->want);
        assert_ptr_equal(s->arg, t->arg);
    }
    for (unsigned n = 0; n < a->left_count; n++) {
        assert_string_equal(a->left[n].reason, b->left[n].reason);
        assert_int_equal(a->left[n].want.pos, b->left[n].want.pos);
        assert_true(str_eq(a->left[n].want.filter->name, b->left[n].want.filter->name));
        assert_ptr_equal(a->left[n].want.arg, b->left[n].want.arg);
    }
}

/* Made-up filters lie elsewhere each time; so do the args. */
static void ask_both(struct plan_cache *cache, enum filter_side side, const char *from,
                     const char *candidates)
{
    static int args[2 * ASK_WANTS];
    static unsigned turn;
    question_of(&fresh, side, from, candidates);
    question_of(&kept, side, from, candidates);
    for (unsigned n = 0; n < fresh.ask.wants_count; n++) {
        const void *arg = turn % 3 == 0 ? NULL : &args[(n + turn) % (2 * ASK_WANTS)];
        fresh.wants[n].arg = arg;
        kept.wants[n].arg = arg;
    }
    turn++;
    assert_int_equal(plan_make(&fresh.ask, &fresh.arena, &fresh.plan), RC_OK);
    assert_int_equal(plan_cached(cache, &kept.ask, &kept.arena, &kept.plan), RC_OK);
    check_same(&fresh.plan, &kept.plan);
}

static const char *const questions[] = {
    "",
    "(text)myvfp(text) esi",
    "regex regex rewrite@FRONT",
    "gzip gunzip esi_gzip esi",
    "(text)a(text,b)@FRONT (b)a(text)@FRONT (text)a(text)@MIDDLE",
    "(text)a(text,b)@FRONT (b)a(text)@FRONT (text)a(text)@FRONT",
    "(text)a(b,c) (x,b)d(e,text) (*)any(*)",
    "(text)a(b,c) (x,b)d(text,e) (*)any(*)",
};

enum { QUESTIONS = sizeof(questions) / sizeof(questions[0]) };

static void what_is_kept_is_what_would_be_made(void **state)
{
    (void)state;
    static const char *const formats[] = {"text", "plain", "gzip", "gz", "br", "e", "webp"};
    struct plan_cache *cache = plan_cache_new();
    struct rng rng = {7};
    for (unsigned n = 0; n < 2000; n++) {
        enum filter_side side = rng_below(&rng, 2) == 0 ? FILTER_VFP : FILTER_VDP;
        unsigned which = (unsigned)rng_below(&rng, QUESTIONS);
        if (side == FILTER_VDP && which == 3) {
            which = 2;
        }
        ask_both(cache, side, formats[rng_below(&rng, sizeof(formats) / sizeof(formats[0]))],
                 questions[which]);
    }
    struct plan_cache_sums sums = plan_cache_sums(cache);
    assert_int_equal(sums.hits + sums.misses, 2000);
    assert_in_range(sums.hits, 1000, 1900);
    plan_cache_free(&cache);
    assert_null(cache);
}

static void names_that_are_out_are_part_of_the_question(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new();
    ask_both(cache, FILTER_VFP, "gzip", "(text)m(text)");
    assert_int_equal(kept.plan.steps_count, 3);
    const struct str without = STR("gzip");
    kept.ask.without = &without;
    kept.ask.without_count = 1;
    assert_int_equal(plan_cached(cache, &kept.ask, &kept.arena, &kept.plan), RC_OK);
    assert_int_equal(kept.plan.steps_count, 2);
    plan_cache_free(&cache);
}

/* A request's workspace holds the plan, and not the search for it. */
static void a_plan_takes_little_room(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new();
    question_of(&kept, FILTER_VFP, "gzip", "(text)m(text) esi regex");
    kept.arena.cap = 1024;
    assert_int_equal(plan_cached(cache, &kept.ask, &kept.arena, &kept.plan), RC_OK);
    assert_int_equal(kept.plan.steps_count, 5);
    kept.arena.used = 1000;
    assert_int_equal(plan_cached(cache, &kept.ask, &kept.arena, &kept.plan), RC_LIMIT);
    plan_cache_free(&cache);
}

/* A filter that fills gaps is there for the format alone; another of the same look is not. */
static void a_fill_is_not_its_look_alike(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new();
    ask_both(cache, FILTER_VFP, "a", "(b)x(a)");
    const struct filter *fills[1] = {kept.wants[0].filter};
    struct filter other = *fills[0];
    kept.ask.fills = fills;
    kept.ask.fills_count = 1;
    for (unsigned n = 0; n < 4; n++) {
        kept.wants[0].filter = n % 2 == 0 ? fills[0] : &other;
        assert_int_equal(plan_cached(cache, &kept.ask, &kept.arena, &kept.plan), RC_OK);
        assert_string_equal(kept.plan.left[0].reason,
                            n % 2 == 0 ? "the body is a already" : "nothing makes (b) after a");
    }
    assert_int_equal(plan_cache_sums(cache).hits, 2);
    plan_cache_free(&cache);
}

/* More questions than there is room for: the cache does not grow, and answers right. */
static void it_is_bounded(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new();
    char text[64];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned n = 0; n < 1000; n++) {
            struct sb sb = sb_of(text, sizeof(text));
            sb_printf(&sb, "(text)filter%u(text) gzip%c", n, '\0');
            ask_both(cache, FILTER_VFP, "text", text);
        }
    }
    assert_int_equal(plan_cache_sums(cache).hits, 0);
    ask_both(cache, FILTER_VFP, "text", text);
    assert_int_equal(plan_cache_sums(cache).hits, 1);

    char wide[KEY_TOO_LONG + 32];
    struct sb sb = sb_of(wide, sizeof(wide));
    sb_lit(&sb, "(text");
    while (sb.len < KEY_TOO_LONG) {
        sb_lit(&sb, ",text");
    }
    sb_lit(&sb, ")a(text)");
    sb_chr(&sb, '\0');
    ask_both(cache, FILTER_VFP, "text", wide);
    ask_both(cache, FILTER_VFP, "text", wide);
    assert_int_equal(plan_cache_sums(cache).hits, 1);
    plan_cache_free(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_what_would_be_made),
        cmocka_unit_test(names_that_are_out_are_part_of_the_question),
        cmocka_unit_test(a_plan_takes_little_room),
        cmocka_unit_test(a_fill_is_not_its_look_alike),
        cmocka_unit_test(it_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
