/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The planner: the chains of the document that it comes from, and each rule that plan.c states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plan_ask.h"

static struct question q;

struct plan_case {
    const char *from;
    const char *candidates;
    const char *plan;
};

static void check_cases(enum filter_side side, const struct plan_case *cases, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        question_of(&q, side, cases[n].from, cases[n].candidates);
        assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
        assert_string_equal(plan_text(&q), cases[n].plan);
    }
}

#define CHECK_CASES(side, cases) check_cases(side, cases, sizeof(cases) / sizeof((cases)[0]))

/* Esi without its counterpart is written out here: it is a filter that does nothing to a plan. */
static const struct plan_case documented[] = {
    {"gzip", "(text)myvfp(text) (text)esi(esitext)",
     "beresp(gzip) > (gzip)gunzip(text) > (text)myvfp(text) > (text)esi(esitext)"
     "; gzip: nothing makes (text,plain,none) after esitext"},
    {"gzip", "(text)myvfp(text) esi",
     "beresp(gzip) > (gzip)gunzip(text) > (text)myvfp(text) > (text)esi_gzip(gzip)"
     "; esi: gave way to esi_gzip; gzip: esi dropped it"},
    {"br", "(text)myvfp(text)",
     "beresp(br) > (br)unbrotli(text) > (text)myvfp(text) > (text)brotli(br)"},
    {"gzip", "regex",
     "beresp(gzip) > (gzip)gunzip(text) > (text)buffer(buffertext) > (buffertext)regex(text) > "
     "(text)gzip(gzip)"},
    {"gzip", "(buffertext)regex(text)",
     "beresp(gzip) > (gzip)gunzip(text) > (text)buffer(buffertext) > (buffertext)regex(text) > "
     "(text)gzip(gzip)"},
};

static void the_document_s_chains(void **state)
{
    (void)state;
    CHECK_CASES(FILTER_VFP, documented);
}

static const struct plan_case encodings[] = {
    {"zstd", "(text)m(text)",
     "beresp(zstd) > (zstd)unzstd(text) > (text)m(text) > (text)zstd(zstd)"},
    {"text", "", "beresp(text)"},
    {"gzip", "", "beresp(gzip)"},
    {"text", "gzip", "beresp(text) > (text)gzip(gzip)"},
    {"gzip", "gunzip", "beresp(gzip) > (gzip)gunzip(text)"},
    {"gzip", "gzip", "beresp(gzip); gzip: the body is gzip already"},
    {"text", "gunzip", "beresp(text); gunzip: the body is text already"},
    {"gzip", "gunzip gzip", "beresp(gzip) > (gzip)gunzip(text); gzip: it would undo gunzip"},
    {"text", "brotli gzip",
     "beresp(text) > (text)brotli(brotli)"
     "; gzip: nothing makes (text,plain,none) after brotli"},
    {"gzip", "gunzip (text)m(text)", "beresp(gzip) > (gzip)gunzip(text) > (text)m(text)"},
    {"gzip", "brotli",
     "beresp(gzip) > (gzip)gunzip(text) > (text)brotli(brotli)"
     "; gzip: nothing makes (text,plain,none) after brotli"},
    /* Opened early, closed late: only gunzip at STEVEDORE is for good. */
    {"gzip", "gunzip@FRONT (text)m(text)",
     "beresp(gzip) > (gzip)gunzip(text) > (text)m(text) > (text)gzip(gzip)"},
    {"gzip", "gunzip@STEVEDORE (text)m(text)", "beresp(gzip) > (gzip)gunzip(text) > (text)m(text)"},
    {"br", "gzip (text)m(text)",
     "beresp(br) > (br)unbrotli(text) > (text)m(text) > (text)gzip(gzip)"
     "; brotli: nothing makes (text,plain,none) after gzip"},
    {"compress", "(text)m(text) gzip",
     "beresp(compress); m: nothing makes (text) after compress"
     "; gzip: nothing makes (text,plain,none) after compress"},
};

static void what_opens_an_encoding_queues_what_closes_it(void **state)
{
    (void)state;
    CHECK_CASES(FILTER_VFP, encodings);
}

static const struct plan_case names[] = {
    {"gz", "(text)m(text)", "beresp(gz) > (gz)gunzip(text) > (text)m(text) > (text)gzip(gz)"},
    {"plain", "esi", "beresp(plain) > (plain)esi(esitext)"},
    {"none", "(gzip)z(gzip) gunzip",
     "beresp(none) > (none)gzip(gzip) > (gzip)z(gzip) > (gzip)gunzip(none)"},
    {"x", "(x)a(b,c) (c)d(e)", "beresp(x) > (x)a(b); d: nothing makes (c) after b"},
    {"x", "(x)a(b,c) (b)d(e,x)", "beresp(x) > (x)a(b) > (b)d(x)"},
};

static void a_format_keeps_the_name_it_came_by(void **state)
{
    (void)state;
    CHECK_CASES(FILTER_VFP, names);
}

static const struct plan_case orders[] = {
    {"text", "(text)a(text) (text)b(text) (text)c(text)",
     "beresp(text) > (text)a(text) > (text)b(text) > (text)c(text)"},
    {"text",
     "(text)a(text)@LAST (text)b(text)@MIDDLE (text)c(text)@FRONT (text)d(text)@STEVEDORE "
     "(text)e(text)@FETCH (text)f(text)",
     "beresp(text) > (text)e(text) > (text)c(text) > (text)b(text) > (text)a(text) > "
     "(text)f(text) > (text)d(text)"},
    /* Moved, since otherwise there is no match. */
    {"text", "(b)second(c) (text)first(b)", "beresp(text) > (text)first(b) > (b)second(c)"},
    {"text", "(text)end(x) (text)m(text)", "beresp(text) > (text)m(text) > (text)end(x)"},
    {"text", "esi@FRONT (text)m(text)@LAST", "beresp(text) > (text)m(text) > (text)esi(esitext)"},
    /* Both cannot have a place: who was asked for first. */
    {"text", "(text)end(x) (text)other(y) (text)m(text)",
     "beresp(text) > (text)m(text) > (text)end(x); other: nothing makes (text) after x"},
    /* The gap is at the end, not in the middle: one filter less. */
    {"text", "(gzip)z(gzip)@FRONT (text)m(text)",
     "beresp(text) > (text)m(text) > (text)gzip(gzip) > (gzip)z(gzip)"},
    /* FETCH and STEVEDORE are kept at the price of a longer chain. */
    {"text", "(text)m(text) (gzip)z(gzip)@FETCH",
     "beresp(text) > (text)gzip(gzip) > (gzip)z(gzip) > (gzip)gunzip(text) > (text)m(text)"
     " > (text)gzip(gzip)"},
    {"text", "(gzip)x(text) gzip",
     "beresp(text) > (text)gzip(gzip) > (gzip)x(text) > (text)gzip(gzip)"},
    /* Where that is not possible, they move. */
    {"a", "(a)s(b)@STEVEDORE (b)m(b)", "beresp(a) > (a)s(b) > (b)m(b)"},
    {"a", "(a)m(b) (b)f(b)@FETCH", "beresp(a) > (a)m(b) > (b)f(b)"},
    /* A candidate rather than the same filter once more. */
    {"text", "buffer regex", "beresp(text) > (text)buffer(buffertext) > (buffertext)regex(text)"},
};

static void candidates_move_where_that_makes_a_match(void **state)
{
    (void)state;
    CHECK_CASES(FILTER_VFP, orders);
}

static const struct plan_case esi[] = {
    {"text", "esi", "beresp(text) > (text)esi(esitext)"},
    {"text", "esi gzip",
     "beresp(text) > (text)esi_gzip(gzip)"
     "; esi: gave way to esi_gzip; gzip: esi dropped it"},
    {"gzip", "esi gunzip", "beresp(gzip) > (gzip)gunzip(text) > (text)esi(esitext)"},
    {"gzip", "testgunzip", "beresp(gzip) > (gzip)testgunzip(gzip)"},
    {"gzip", "testgunzip (text)m(text)",
     "beresp(gzip) > (gzip)gunzip(text) > (text)m(text) > (text)gzip(gzip)"
     "; testgunzip: gunzip dropped it"},
    /* Nothing behind it: it noted where things are in its own output. */
    {"gzip", "esi (text)m(text)@STEVEDORE",
     "beresp(gzip) > (gzip)gunzip(text) > (text)m(text) > (text)esi_gzip(gzip)"
     "; esi: gave way to esi_gzip; gzip: esi dropped it"},
    {"text", "esi_gzip (gzip)z(end)",
     "beresp(text) > (text)esi_gzip(gzip); z: nothing may follow esi_gzip"},
    /* For a brotli answer there is no counterpart. */
    {"br", "esi",
     "beresp(br) > (br)unbrotli(text) > (text)esi(esitext)"
     "; brotli: nothing makes (text,plain,none) after esitext"},
};

static void filters_change_the_plan_when_they_are_placed(void **state)
{
    (void)state;
    CHECK_CASES(FILTER_VFP, esi);
}

static const struct plan_case deliveries[] = {
    {"gzip", "esi gunzip range",
     "obj(gzip) > (gzip)esi(gzip) > (gzip)gunzip(text) > (text)range(text)"},
    {"gzip", "range gunzip", "obj(gzip) > (gzip)gunzip(text) > (text)range(text)"},
    {"text", "range", "obj(text) > (text)range(text)"},
    {"webp", "range", "obj(webp) > (webp)range(webp)"},
    {"esitext", "(text)m(text) esi", "obj(esitext) > (esitext)esi(text) > (text)m(text)"},
    {"gzip", "(text)m(text)@OBJECT range@CLIENT",
     "obj(gzip) > (gzip)gunzip(text) > (text)m(text) > (text)gzip(gzip) > (gzip)range(gzip)"},
    {"gzip", "rewrite gunzip range",
     "obj(gzip) > (gzip)gunzip(text) > (text)rewrite(text) > (text)range(text)"},
    {"br", "gunzip", "obj(br); gunzip: nothing makes (gzip,gz) after br"},
};

static void deliveries_are_planned_by_the_same_rules(void **state)
{
    (void)state;
    CHECK_CASES(FILTER_VDP, deliveries);
}

static void names_that_are_out_are_not_used(void **state)
{
    (void)state;
    const struct str without[] = {STR_INIT("gzip"), STR_INIT("buffer")};
    question_of(&q, FILTER_VFP, "gzip", "(text)m(text) regex");
    q.ask.without = without;
    q.ask.without_count = 2;
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
    assert_string_equal(plan_text(&q), "beresp(gzip) > (gzip)gunzip(text) > (text)m(text)"
                                       "; regex: nothing makes (buffertext) after text");
}

/* ---- what filters may do when they are placed ---- */

static const struct filter leaf = {
    .name = STR_INIT("leaf"), .in = STR_INIT("c"), .out = STR_INIT("c")};

static void add_without_end(struct planning *planning, unsigned at)
{
    const struct filter *self = planning_at(planning, at);
    planning_add_like(planning, self, FILTER_DEFAULT, at);
    planning_add(planning, self, FILTER_FETCH);
}

static void remove_the_first(struct planning *planning, unsigned at)
{
    if (at > 0) {
        planning_remove(planning, 0);
    }
}

static void take_the_other_s_place(struct planning *planning, unsigned at)
{
    planning_add(planning, planning_at(planning, at), FILTER_LAST);
    planning_remove(planning, at);
}

static void orphans_are_candidates_again(void **state)
{
    (void)state;
    /* x reads what first makes; y removes first, so x has no place until z makes b again. */
    question_of(&q, FILTER_VFP, "a", "(a)first(b) (b)x(b) (a,b)y(c) (c)z(b)");
    q.made_up[2].placed = remove_the_first;
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
    assert_string_equal(plan_text(&q),
                        "beresp(a) > (a)y(c) > (c)z(b) > (b)x(b); first: y dropped it");
}

static void a_filter_cannot_keep_the_planner_busy(void **state)
{
    (void)state;
    question_of(&q, FILTER_VFP, "c", "(c)grows(c) (c)m(c)");
    q.made_up[0].placed = add_without_end;
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
    assert_int_equal(q.plan.steps_count, PLAN_STEPS_MAX);
    assert_string_equal(q.plan.left[0].reason, "the chain is full");

    question_of(&q, FILTER_VFP, "c", "(c)phoenix(c)");
    q.made_up[0].placed = take_the_other_s_place;
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
    assert_int_equal(q.plan.from.len, 1);
}

static void look_around(struct planning *planning, unsigned at)
{
    assert_int_equal(planning_side(planning), FILTER_VFP);
    assert_int_equal(at, 1);
    assert_int_equal(planning_count(planning), 2);
    assert_true(planning_is_builtin(planning, 0));
    assert_false(planning_is_builtin(planning, 1));
    assert_true(str_eq(planning_format(planning, 0), STR("text")));
    assert_int_equal(planning_pos(planning, 1), FILTER_MIDDLE);
    assert_true(planning_makes(planning, STR("gz")));
    assert_true(planning_wants(planning, filter_find(FILTER_VFP, STR("gzip"))));
    planning_drop(planning, filter_find(FILTER_VFP, STR("gzip")));
    assert_false(planning_makes(planning, STR("gzip")));
    planning_add(planning, &leaf, FILTER_DEFAULT);
}

static void a_filter_sees_the_chain_and_the_candidates(void **state)
{
    (void)state;
    question_of(&q, FILTER_VFP, "gzip", "(text)m(text)@MIDDLE");
    q.made_up[0].placed = look_around;
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
    assert_string_equal(plan_text(&q), "beresp(gzip) > (gzip)gunzip(text) > (text)m(text)"
                                       "; gzip: m dropped it; leaf: nothing makes (c) after text");
}

/* ---- bounds ---- */

/* Candidates that exclude each other: more orders than can be tried. */
static void a_hard_question_has_an_end(void **state)
{
    (void)state;
    question_of(&q, FILTER_VFP, "a",
                "(a)n1(b) (b)n2(a) (a)n3(c) (c)n4(b) (b)n5(c) (c)n6(a) (a)n7(d) (d)n8(b) (b)n9(e) "
                "(a)m1(b) (b)m2(a) (a)m3(c) (c)m4(b) (b)m5(c) (c)m6(a) (a)m7(d) (d)m8(b) (b)m9(e) "
                "(a)l1(f) (b)l2(f) (c)l3(f) (d)l4(f) (a)l5(g) (b)l6(h)");
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
    assert_int_equal(q.plan.steps_count + q.plan.left_count, 24);
}

static void too_much_is_refused(void **state)
{
    (void)state;
    question_of(&q, FILTER_VFP, "text", "");
    for (unsigned n = 0; n < ASK_WANTS; n++) {
        q.wants[n] = (struct plan_want){.filter = filter_find(FILTER_VFP, STR("rewrite"))};
    }
    q.ask.wants_count = PLAN_WANTS_MAX + 1;
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_LIMIT);
    q.ask.wants_count = PLAN_WANTS_MAX;
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_OK);
    assert_int_equal(q.plan.steps_count, PLAN_STEPS_MAX);
    assert_int_equal(q.plan.left_count, 0);

    char in[PLAN_FORMATS_MAX * 2 + 1];
    for (unsigned n = 0; n < PLAN_FORMATS_MAX; n++) {
        in[2 * n] = (char)(128 + n);
        in[2 * n + 1] = ',';
    }
    q.made_up[0] = (struct filter){
        .name = STR("wide"), .in = {in, 2 * (size_t)PLAN_FORMATS_MAX - 1}, .out = STR("x")};
    q.wants[0].filter = &q.made_up[0];
    assert_int_equal(plan_make(&q.ask, &q.arena, &q.plan), RC_LIMIT);
}

static void an_arena_without_room_is_no_plan(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (size_t room = 0; room < sizeof(q.block); room += 8) {
        question_of(&q, FILTER_VFP, "gzip", "(text)myvfp(text) esi regex");
        q.arena.used = sizeof(q.block) - room;
        enum rc rc = plan_make(&q.ask, &q.arena, &q.plan);
        assert_true(rc == RC_OK || rc == RC_LIMIT);
        assert_int_equal(q.arena.cap, sizeof(q.block));
        refused += rc == RC_LIMIT ? 1 : 0;
        if (rc == RC_OK) {
            assert_int_equal(q.plan.steps_count, 5);
            break;
        }
    }
    assert_in_range(refused, 1, sizeof(q.block) / 8 - 1);
}

/* ---- chains that somebody wrote ---- */

static void a_given_chain_is_taken_as_it_is(void **state)
{
    (void)state;
    struct str unknown = STR_NONE;
    struct filter mine = {.name = STR("mine"), .in = STR("text"), .out = STR("text")};
    int arg;
    struct plan_want more = {.filter = &mine, .arg = &arg};
    question_of(&q, FILTER_VFP, "gzip", "");
    assert_int_equal(plan_given(FILTER_VFP, q.ask.from, STR(" gunzip\tmine  esi_gzip "), &more, 1,
                                &q.arena, &q.plan, &unknown),
                     RC_OK);
    assert_string_equal(
        plan_text(&q),
        "beresp(gzip) > (gzip)gunzip(text) > (text)mine(text) > (text)esi_gzip(gzip)");
    assert_ptr_equal(q.plan.steps[1].arg, &arg);
    assert_true(str_eq(q.plan.to, STR("gzip")));
    struct sb sb = sb_of(q.text, sizeof(q.text));
    plan_names(&q.plan, &sb);
    assert_true(str_eq(sb_str(&sb), STR(" gunzip mine esi_gzip")));

    assert_int_equal(plan_given(FILTER_VFP, q.ask.from, STR("gzip gunzip"), NULL, 0, &q.arena,
                                &q.plan, &unknown),
                     RC_OK);
    assert_string_equal(plan_text(&q), "beresp(gzip) > (text)gzip(gzip) > (gzip)gunzip(text)");
    assert_int_equal(plan_given(FILTER_VFP, q.ask.from, STR("gunzip range"), NULL, 0, &q.arena,
                                &q.plan, &unknown),
                     RC_NOT_FOUND);
    assert_true(str_eq(unknown, STR("range")));
    /* What is nothing by its name alone is known when it was asked for otherwise. */
    assert_int_equal(
        plan_given(FILTER_VFP, q.ask.from, STR("regex"), NULL, 0, &q.arena, &q.plan, &unknown),
        RC_NOT_FOUND);
    more.filter = filter_find(FILTER_VFP, STR("regex"));
    assert_int_equal(
        plan_given(FILTER_VFP, q.ask.from, STR("regex"), &more, 1, &q.arena, &q.plan, &unknown),
        RC_OK);
    assert_ptr_equal(q.plan.steps[0].arg, &arg);
    assert_int_equal(
        plan_given(FILTER_VDP, q.ask.from, STR(""), NULL, 0, &q.arena, &q.plan, &unknown), RC_OK);
    assert_string_equal(plan_text(&q), "obj(gzip)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_s_chains),
        cmocka_unit_test(what_opens_an_encoding_queues_what_closes_it),
        cmocka_unit_test(a_format_keeps_the_name_it_came_by),
        cmocka_unit_test(candidates_move_where_that_makes_a_match),
        cmocka_unit_test(filters_change_the_plan_when_they_are_placed),
        cmocka_unit_test(deliveries_are_planned_by_the_same_rules),
        cmocka_unit_test(names_that_are_out_are_not_used),
        cmocka_unit_test(orphans_are_candidates_again),
        cmocka_unit_test(a_filter_cannot_keep_the_planner_busy),
        cmocka_unit_test(a_filter_sees_the_chain_and_the_candidates),
        cmocka_unit_test(a_hard_question_has_an_end),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(an_arena_without_room_is_no_plan),
        cmocka_unit_test(a_given_chain_is_taken_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
