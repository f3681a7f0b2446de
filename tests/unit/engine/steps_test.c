/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The client's side: each state, each answer that a policy may give there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"

/* ---- recv ---- */

static void miss_then_hit(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.rc, RC_OK);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body, "hello");
    expect_trace(rig, "recv hash miss backend_fetch backend_response deliver");
    rig_settle(rig);
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "hello");
    expect_trace(rig, "recv hash hit deliver");
    assert_int_equal(rig_main(rig)->cache_hit, 1);
    assert_int_equal(rig_main(rig)->cache_miss, 1);
}

static void what_is_usual(void **state)
{
    (void)state;
    rig_run(&(struct act){.answers = one_answer, .fn = miss_then_hit});
}

static void restarts_for_ever(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 503);
    assert_int_equal(rig_asked(rig), 0);
    /* max_restarts is 4: the fifth is one too many. */
    expect_trace(rig, "recv hash recv hash recv hash recv hash recv hash synth");
}

static void restarts_have_an_end(void **state)
{
    (void)state;
    const struct line script[] = {
        {HOOK_RECV, SAYS(RESTART), NULL}, {HOOK_RECV, SAYS(RESTART), NULL},
        {HOOK_RECV, SAYS(RESTART), NULL}, {HOOK_RECV, SAYS(RESTART), NULL},
        {HOOK_RECV, SAYS(RESTART), NULL}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = no_answers, .fn = restarts_for_ever});
    const char *const log[] = {"Begin req 1 rxreq",
                               "Timestamp Restart: ",
                               "Link req ",
                               "End ",
                               "Begin req ",
                               "Timestamp Start: ",
                               "ReqStart ",
                               "ReqMethod GET",
                               "VCL_Error Too many restarts",
                               "RespStatus 503",
                               "End ",
                               NULL};
    assert_true(rig_log_has(log));
}

static void fails_at_once(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 503);
    assert_true(got.close);
    assert_non_null(strstr(got.body, "503 VCL failed"));
    expect_trace(rig, "recv synth");
}

static void a_policy_that_fails_ends_the_connection(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_RECV, SAYS(FAIL), NULL}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .fn = fails_at_once});
    /* So does one that answers what makes no sense there. */
    const struct line odd[] = {{HOOK_RECV, SAYS(ABANDON), NULL}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = odd, .fn = fails_at_once});
    const char *const log[] = {"VCL_Error Illegal return: abandon", "RespReason VCL failed", NULL};
    assert_true(rig_log_has(log));
}

static void asks_nobody(void *arg)
{
    struct rig *rig = arg;
    for (unsigned i = 0; i < 2; i++) {
        struct got got = rig_get(rig, "/", NULL);
        assert_int_equal(got.status, 503);
        assert_false(got.close);
        assert_non_null(strstr(got.head, "Retry-After: 5\n"));
        assert_non_null(strstr(got.body, "503 Service Unavailable"));
    }
    assert_int_equal(rig_asked(rig), 0);
}

static void without_a_vcl_clients_are_told(void **state)
{
    (void)state;
    rig_run(&(struct act){.fn = asks_nobody, .is_vcl = true});
    const char *const log[] = {"ReqURL /", "VCL_Error No VCL in use", "RespStatus 503", NULL};
    assert_true(rig_log_has(log));
}

static void makes_page(struct request *req, struct fetch *f)
{
    (void)f;
    assert_int_equal(synth__add(&req->synth, STR("a page ")), RC_OK);
    assert_int_equal(synth__add(&req->synth, STR("of ours")), RC_OK);
    assert_int_equal(http_set_name(req->resp, STR("X-Ours"), STR("yes")), RC_OK);
}

static void synthetic(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 750);
    assert_false(got.close);
    assert_string_equal(got.body, "a page of ours");
    assert_non_null(strstr(got.head, "Content-Length: 14\n"));
    assert_non_null(strstr(got.head, "X-Ours: yes\n"));
    assert_null(strstr(got.head, "Age:"));
    expect_trace(rig, "recv hash synth");
    assert_int_equal(rig_main(rig)->s_synth, 1);
    /* The next request has nothing of it. */
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "hello");
}

static void a_response_of_our_own_with_a_body(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_RECV, SAYS_STATUS(SYNTH, 750, "Ours"), NULL},
                                  {HOOK_SYNTH, SAYS(DELIVER), makes_page},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = one_answer, .fn = synthetic});
    const char *const log[] = {"RespStatus 750", "RespReason Ours", "Timestamp Process: ", NULL};
    assert_true(rig_log_has(log));
}

static void synth_restarts(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body, "hello");
    expect_trace(rig, "recv hash synth recv hash miss backend_fetch backend_response deliver");
}

static void synth_may_restart(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_RECV, SAYS_STATUS(SYNTH, 750, "Ours"), NULL},
                                  {HOOK_SYNTH, SAYS(RESTART), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = one_answer, .fn = synth_restarts});
}

static void synth_fails(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 500);
    assert_true(got.close);
    assert_int_equal(got.body_len, 0);
}

static void synth_may_fail(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_RECV, SAYS_STATUS(SYNTH, 750, "Ours"), NULL},
                                  {HOOK_SYNTH, SAYS(FAIL), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .fn = synth_fails});
}

/* ---- purge ---- */

static void purges(void *arg)
{
    struct rig *rig = arg;
    (void)rig_get(rig, "/", NULL);
    rig_settle(rig);
    (void)rig_trace(rig);
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 200);
    assert_non_null(strstr(got.body, "200 Purged"));
    expect_trace(rig, "recv hash purge synth");
    assert_int_equal(rig_main(rig)->n_purges, 1);
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "other");
    rig_settle(rig);
    (void)rig_trace(rig);
    /* And once more, to fetch at once. */
    got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 200);
    expect_trace(rig, "recv hash purge recv hash miss backend_fetch backend_response deliver");
    assert_int_equal(rig_asked(rig), 3);
}

static void what_recv_purges_is_gone(void **state)
{
    (void)state;
    static const char *const answers[] = {OK_ANSWER, OTHER_ANSWER, OK_ANSWER, NULL};
    const struct line script[] = {{HOOK_RECV, SAYS(HASH), NULL},
                                  {HOOK_RECV, SAYS(PURGE), NULL},
                                  {HOOK_RECV, SAYS(HASH), NULL},
                                  {HOOK_RECV, SAYS(PURGE), NULL},
                                  {HOOK_PURGE, SAYS_STATUS(SYNTH, 200, "Purged"), NULL},
                                  {HOOK_PURGE, SAYS(RESTART), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = purges});
}

/* ---- hit, miss, pass ---- */

static void hit_turns(void *arg)
{
    struct rig *rig = arg;
    (void)rig_get(rig, "/", NULL);
    rig_settle(rig);
    (void)rig_trace(rig);
    assert_int_equal(rig_get(rig, "/", NULL).status, 751);
    expect_trace(rig, "recv hash hit synth");
    struct got got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "other");
    expect_trace(rig, "recv hash hit pass backend_fetch backend_response deliver");
    assert_int_equal(rig_main(rig)->cache_hit, 1);
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "hello");
    expect_trace(rig, "recv hash hit recv hash hit deliver");
}

static void a_hit_may_turn_elsewhere(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_HIT, SAYS_STATUS(SYNTH, 751, "No"), NULL},
                                  {HOOK_HIT, SAYS(PASS), NULL},
                                  {HOOK_HIT, SAYS(RESTART), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = two_answers, .fn = hit_turns});
}

static void miss_turns(void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(rig_get(rig, "/", NULL).status, 751);
    expect_trace(rig, "recv hash miss synth");
    assert_int_equal(rig_main(rig)->cache_miss, 0);
    struct got got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "hello");
    expect_trace(rig, "recv hash miss pass backend_fetch backend_response deliver");
    /* What passed was not stored, and nobody waits for what was given up. */
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "other");
    expect_trace(rig, "recv hash miss recv hash miss backend_fetch backend_response deliver");
}

static void a_miss_may_turn_elsewhere(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_MISS, SAYS_STATUS(SYNTH, 751, "No"), NULL},
                                  {HOOK_MISS, SAYS(PASS), NULL},
                                  {HOOK_MISS, SAYS(RESTART), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = two_answers, .fn = miss_turns});
}

static void pass_turns(void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(rig_get(rig, "/", NULL).status, 751);
    expect_trace(rig, "recv hash pass synth");
    assert_int_equal(rig_main(rig)->s_pass, 0);
    assert_string_equal(rig_get(rig, "/", NULL).body, "hello");
    expect_trace(rig, "recv hash pass recv hash miss backend_fetch backend_response deliver");
}

static void a_pass_may_turn_elsewhere(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_RECV, SAYS(PASS), NULL},
                                  {HOOK_RECV, SAYS(PASS), NULL},
                                  {HOOK_PASS, SAYS_STATUS(SYNTH, 751, "No"), NULL},
                                  {HOOK_PASS, SAYS(RESTART), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = one_answer, .fn = pass_turns});
}

/* ---- deliver ---- */

static void deliver_turns(void *arg)
{
    struct rig *rig = arg;
    assert_int_equal(rig_get(rig, "/", NULL).status, 751);
    expect_trace(rig, "recv hash miss backend_fetch backend_response deliver synth");
    rig_settle(rig);
    /* What was fetched meanwhile is there. */
    struct got got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "hello");
    expect_trace(rig, "recv hash hit deliver recv hash hit deliver");
    assert_int_equal(rig_asked(rig), 1);
}

static void a_delivery_may_turn_elsewhere(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_DELIVER, SAYS_STATUS(SYNTH, 751, "No"), NULL},
                                  {HOOK_DELIVER, SAYS(RESTART), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = one_answer, .fn = deliver_turns});
}

/* ---- lookup as the policy wants it ---- */

static void always_miss(struct request *req, struct fetch *f)
{
    (void)f;
    req->hash_always_miss = true;
}

static void misses_on_purpose(void *arg)
{
    struct rig *rig = arg;
    assert_string_equal(rig_get(rig, "/", NULL).body, "hello");
    rig_settle(rig);
    assert_string_equal(rig_get(rig, "/", NULL).body, "other");
    assert_null(strstr(rig_last_request(rig), "If-None-Match"));
    rig_settle(rig);
    /* The newer one took its place. */
    assert_string_equal(rig_get(rig, "/", NULL).body, "other");
    assert_int_equal(rig_asked(rig), 2);
}

static void hash_always_miss_replaces(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nhello", OTHER_ANSWER, NULL};
    const struct line script[] = {
        {HOOK_RECV, SAYS(HASH), NULL}, {HOOK_RECV, SAYS(HASH), always_miss}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = misses_on_purpose});
}

static void ignore_vary(struct request *req, struct fetch *f)
{
    (void)f;
    req->hash_ignore_vary = true;
}

static void finds_any_variant(void *arg)
{
    struct rig *rig = arg;
    const char *const blue[] = {"X-Colour: blue", NULL};
    const char *const red[] = {"X-Colour: red", NULL};
    assert_string_equal(rig_get(rig, "/", blue).body, "hello");
    rig_settle(rig);
    assert_string_equal(rig_get(rig, "/", red).body, "hello");
    assert_string_equal(rig_get(rig, "/", red).body, "other");
}

static void hash_ignore_vary_finds_any_variant(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nVary: X-Colour\r\nContent-Length: 5\r\n\r\nhello", OTHER_ANSWER, NULL};
    const struct line script[] = {
        {HOOK_RECV, SAYS(HASH), NULL}, {HOOK_RECV, SAYS(HASH), ignore_vary}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = finds_any_variant});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_usual),
        cmocka_unit_test(restarts_have_an_end),
        cmocka_unit_test(a_policy_that_fails_ends_the_connection),
        cmocka_unit_test(without_a_vcl_clients_are_told),
        cmocka_unit_test(a_response_of_our_own_with_a_body),
        cmocka_unit_test(synth_may_restart),
        cmocka_unit_test(synth_may_fail),
        cmocka_unit_test(what_recv_purges_is_gone),
        cmocka_unit_test(a_hit_may_turn_elsewhere),
        cmocka_unit_test(a_miss_may_turn_elsewhere),
        cmocka_unit_test(a_pass_may_turn_elsewhere),
        cmocka_unit_test(a_delivery_may_turn_elsewhere),
        cmocka_unit_test(hash_always_miss_replaces),
        cmocka_unit_test(hash_ignore_vary_finds_any_variant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
