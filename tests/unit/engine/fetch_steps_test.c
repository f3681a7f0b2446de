/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The backend's side: each state, each answer that a policy may give there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"

#define SHORT_ANSWER "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhello"
/* ---- retry ---- */

static void retries_once(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "other");
    expect_trace(rig, "recv hash miss backend_fetch backend_response backend_fetch "
                      "backend_response deliver");
    assert_int_equal(rig_asked(rig), 2);
    rig_settle(rig);
    assert_string_equal(rig_get(rig, "/", NULL).body, "other");
    assert_int_equal(rig_asked(rig), 2);
}

static void a_response_is_asked_for_again(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_BACKEND_RESPONSE, SAYS(RETRY), NULL}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = two_answers, .fn = retries_once});
    const char *const log[] = {"Begin bereq ",
                               "BackendClose ",
                               "Timestamp Retry: ",
                               "Link bereq ",
                               "End ",
                               "Begin bereq ",
                               "Timestamp Start: ",
                               "BereqMethod GET",
                               "BereqHeader X-Varnish: ",
                               "Timestamp Fetch: ",
                               NULL};
    assert_true(rig_log_has(log));
}

static void retries_for_ever(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 503);
    assert_non_null(strstr(got.body, "Backend fetch failed"));
    assert_int_equal(rig_asked(rig), 5); /* max_retries is 4 */
    assert_int_equal(rig_main(rig)->s_fetch, 1);
}

static void retries_have_an_end(void **state)
{
    (void)state;
    static const char *const answers[] = {OK_ANSWER, OK_ANSWER, OK_ANSWER, OK_ANSWER,
                                          OK_ANSWER, OK_ANSWER, NULL};
    const struct line script[] = {
        {HOOK_BACKEND_RESPONSE, SAYS(RETRY), NULL}, {HOOK_BACKEND_RESPONSE, SAYS(RETRY), NULL},
        {HOOK_BACKEND_RESPONSE, SAYS(RETRY), NULL}, {HOOK_BACKEND_RESPONSE, SAYS(RETRY), NULL},
        {HOOK_BACKEND_RESPONSE, SAYS(RETRY), NULL}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = retries_for_ever});
    const char *const log[] = {"VCL_Error Too many retries, delivering 503",
                               "Timestamp Error: ", "BerespStatus 503", "RespStatus 503", NULL};
    assert_true(rig_log_has(log));
}

static void error_retries(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "other");
    expect_trace(rig, "recv hash miss backend_fetch backend_error backend_fetch backend_response "
                      "deliver");
}

static void after_an_error_too(void **state)
{
    (void)state;
    static const char *const answers[] = {"", OTHER_ANSWER, NULL};
    const struct line script[] = {{HOOK_BACKEND_ERROR, SAYS(RETRY), NULL}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = error_retries});
}

static void error_retries_for_ever(void *arg)
{
    struct rig *rig = arg;
    param_set(rig_params(rig), PARAM_max_retries, 1);
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 503);
    assert_non_null(strstr(got.body, "Service Unavailable"));
    expect_trace(rig, "recv hash miss backend_fetch backend_error backend_fetch backend_error "
                      "synth");
}

static void and_that_has_an_end(void **state)
{
    (void)state;
    static const char *const answers[] = {"", "", "", NULL};
    const struct line script[] = {{HOOK_BACKEND_ERROR, SAYS(RETRY), NULL},
                                  {HOOK_BACKEND_ERROR, SAYS(RETRY), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = error_retries_for_ever});
    const char *const log[] = {"VCL_Error Too many retries, failing", NULL};
    assert_true(rig_log_has(log));
}

/* ---- error, abandon ---- */

static void makes_page(struct request *req, struct fetch *f)
{
    (void)req;
    assert_int_equal(synth__add(&f->synth, STR("an error of ours")), RC_OK);
    assert_int_equal(http_set_name(f->beresp, STR("X-Ours"), STR("yes")), RC_OK);
    f->times.ttl_ns = 60 * NS_PER_S;
}

static void cached_error(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 404);
    assert_string_equal(got.body, "an error of ours");
    assert_non_null(strstr(got.head, "X-Ours: yes\n"));
    expect_trace(rig, "recv hash miss backend_fetch backend_error deliver");
    rig_settle(rig);
    got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 404);
    assert_string_equal(got.body, "an error of ours");
    expect_trace(rig, "recv hash hit deliver");
    assert_int_equal(rig_asked(rig), 0);
    assert_int_equal(rig_main(rig)->fetch_failed, 0);
}

static void an_error_with_a_body_may_be_kept(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_BACKEND_FETCH, SAYS_STATUS(ERROR, 404, "Mine"), NULL},
                                  {HOOK_BACKEND_ERROR, SAYS(DELIVER), makes_page},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = no_answers, .fn = cached_error});
    const char *const log[] = {"Timestamp Error: ", "BerespStatus 404", "BerespReason Mine",
                               "Storage malloc ",   "Length 16",        NULL};
    assert_true(rig_log_has(log));
}

static void error_of_a_response(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 418);
    assert_non_null(strstr(got.body, "418 Teapot"));
    expect_trace(rig, "recv hash miss backend_fetch backend_response backend_error deliver");
    /* Its TTL is 0: the next request asks again. */
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "other");
}

static void a_response_may_be_made_an_error(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_BACKEND_RESPONSE, SAYS_STATUS(ERROR, 418, "Teapot"), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = two_answers, .fn = error_of_a_response});
}

static void abandons(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 503);
    expect_trace(rig, "recv hash miss backend_fetch synth");
    got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 503);
    expect_trace(rig, "recv hash miss backend_fetch backend_response synth");
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "other");
}

static void a_fetch_may_be_abandoned(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_BACKEND_FETCH, SAYS(ABANDON), NULL},
                                  {HOOK_BACKEND_RESPONSE, SAYS(ABANDON), NULL},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = two_answers, .fn = abandons});
}

/* ---- hit-for-pass, hit-for-miss ---- */

static void passes_from_now_on(void *arg)
{
    struct rig *rig = arg;
    assert_string_equal(rig_get(rig, "/", NULL).body, "hello");
    rig_settle(rig);
    (void)rig_trace(rig);
    assert_string_equal(rig_get(rig, "/", NULL).body, "other");
    expect_trace(rig, "recv hash pass backend_fetch backend_response deliver");
    assert_int_equal(rig_main(rig)->cache_hitpass, 1);
    assert_int_equal(rig_main(rig)->cache_hitmiss, 0);
    assert_int_equal(rig_main(rig)->beresp_uncacheable, 1);
}

static void pass_for_a_while(void **state)
{
    (void)state;
    const struct line script[] = {
        {HOOK_BACKEND_RESPONSE, {.action = POLICY_PASS, .duration_ns = 60 * NS_PER_S}, NULL},
        END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = two_answers, .fn = passes_from_now_on});
    const char *const log[] = {"HitPass ", "Begin bereq ", NULL};
    assert_true(rig_log_has(log));
}

static void uncacheable(struct request *req, struct fetch *f)
{
    (void)req;
    f->is_uncacheable = true;
    f->times.ttl_ns = 60 * NS_PER_S;
}

static void misses_from_now_on(void *arg)
{
    struct rig *rig = arg;
    assert_string_equal(rig_get(rig, "/", NULL).body, "hello");
    rig_settle(rig);
    (void)rig_trace(rig);
    assert_string_equal(rig_get(rig, "/", NULL).body, "other");
    expect_trace(rig, "recv hash miss backend_fetch backend_response deliver");
    assert_int_equal(rig_main(rig)->cache_hitmiss, 1);
    rig_settle(rig);
    /* That one was cacheable. */
    assert_string_equal(rig_get(rig, "/", NULL).body, "other");
    assert_int_equal(rig_asked(rig), 2);
}

static void uncacheable_until_it_is_not(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_BACKEND_RESPONSE, SAYS(DELIVER), uncacheable},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = two_answers, .fn = misses_from_now_on});
    const char *const log[] = {"HitMiss ", "VCL_call MISS", NULL};
    assert_true(rig_log_has(log));
}

/* ---- bodies that are shown when they are whole ---- */

static void do_not_stream(struct request *req, struct fetch *f)
{
    (void)req;
    f->do_stream = false;
}

static void whole_or_nothing(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.rc, RC_OK);
    assert_int_equal(got.status, 503);
    expect_trace(rig, "recv hash miss backend_fetch backend_response backend_error deliver");
    got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body, "hello");
    rig_settle(rig);
    (void)rig_trace(rig);
    got = rig_get(rig, "/", NULL);
    assert_string_equal(got.body, "hello");
    expect_trace(rig, "recv hash hit deliver");
}

static void a_body_that_breaks_off_was_never_seen(void **state)
{
    (void)state;
    static const char *const answers[] = {SHORT_ANSWER, OK_ANSWER, NULL};
    const struct line script[] = {{HOOK_BACKEND_RESPONSE, SAYS(DELIVER), do_not_stream},
                                  {HOOK_BACKEND_RESPONSE, SAYS(DELIVER), do_not_stream},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = whole_or_nothing});
    const char *const log[] = {"Fetch_Body 3 length -", "FetchError ", "Timestamp Error: ", NULL};
    assert_true(rig_log_has(log));
}

static void whole_passes(void *arg)
{
    struct rig *rig = arg;
    const char *const cookie[] = {"Cookie: a", NULL};
    struct got got = rig_get(rig, "/", cookie);
    assert_int_equal(got.status, 503);
    got = rig_get(rig, "/", cookie);
    assert_string_equal(got.body, "hello");
    assert_null(strstr(got.head, "Accept-Ranges"));
}

static void nor_one_that_passes(void **state)
{
    (void)state;
    static const char *const answers[] = {SHORT_ANSWER, OK_ANSWER, NULL};
    const struct line script[] = {{HOOK_BACKEND_RESPONSE, SAYS(DELIVER), do_not_stream},
                                  {HOOK_BACKEND_RESPONSE, SAYS(DELIVER), do_not_stream},
                                  END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = whole_passes});
}

/* ---- time-outs ---- */

static void be_quick(struct request *req, struct fetch *f)
{
    (void)req;
    f->first_byte_ns = NS_PER_S / 50;
}

static void waits_briefly(void *arg)
{
    struct rig *rig = arg;
    struct got got = rig_get(rig, "/", NULL);
    assert_int_equal(got.status, 503);
    expect_trace(rig, "recv hash miss backend_fetch backend_error deliver");
}

static void a_fetch_has_time_outs_of_its_own(void **state)
{
    (void)state;
    static const char *const answers[] = {"wait", NULL};
    const struct line script[] = {{HOOK_BACKEND_FETCH, SAYS(FETCH), be_quick}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = answers, .fn = waits_briefly});
    const char *const log[] = {"FetchError first byte timeout", NULL};
    assert_true(rig_log_has(log));
}

/* ---- storage ---- */

static struct stevedore *chosen;

static void choose(struct request *req, struct fetch *f)
{
    (void)req;
    chosen = f->engine->conf.transient;
    f->store = chosen;
}

static void stores_where_told(void *arg)
{
    struct rig *rig = arg;
    assert_string_equal(rig_get(rig, "/", NULL).body, "hello");
    rig_settle(rig);
    struct stv_stats stats;
    stv_stat(chosen, &stats);
    assert_int_equal(stats.objects, 1);
}

static void the_policy_chooses_the_store(void **state)
{
    (void)state;
    const struct line script[] = {{HOOK_BACKEND_RESPONSE, SAYS(DELIVER), choose}, END_OF_SCRIPT};
    rig_run(&(struct act){.script = script, .answers = one_answer, .fn = stores_where_told});
    const char *const log[] = {"Storage malloc Transient", NULL};
    assert_true(rig_log_has(log));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_is_asked_for_again),
        cmocka_unit_test(retries_have_an_end),
        cmocka_unit_test(after_an_error_too),
        cmocka_unit_test(and_that_has_an_end),
        cmocka_unit_test(an_error_with_a_body_may_be_kept),
        cmocka_unit_test(a_response_may_be_made_an_error),
        cmocka_unit_test(a_fetch_may_be_abandoned),
        cmocka_unit_test(pass_for_a_while),
        cmocka_unit_test(uncacheable_until_it_is_not),
        cmocka_unit_test(a_body_that_breaks_off_was_never_seen),
        cmocka_unit_test(nor_one_that_passes),
        cmocka_unit_test(a_fetch_has_time_outs_of_its_own),
        cmocka_unit_test(the_policy_chooses_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
