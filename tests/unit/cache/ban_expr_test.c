/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The language of bans: what is read, what is refused and in which words, what matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cache/ban_expr.h"
#include "http/http.h"
#include "regex/regex.h"

#define NOW_NS (1000000 * NS_PER_S)

static struct str words[80];

static unsigned split(const char *text)
{
    char why_text[64];
    struct sb why = sb_of(why_text, sizeof why_text);
    unsigned count = 0;
    assert_int_equal(ban_words(str_of(text), words, ARRAY_SIZE(words), &count, &why), RC_OK);
    return count;
}

/* ---- what is refused ---- */

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } rows[] = {
        {"", "Wrong number of arguments"},
        {"req.url", "Wrong number of arguments"},
        {"req.url ==", "Wrong number of arguments"},
        {"req.url == a &&", "Wrong number of arguments"},
        {"req.url == a and req.url == b", "Found \"and\" expected &&"},
        {"foo == x", "Unknown or unsupported field \"foo\""},
        {"req.method == x", "Unknown or unsupported field \"req.method\""},
        {"req.url > x", "expected conditional (==, !=, ~ or !~) got \">\""},
        {"obj.status = 200", "expected conditional (==, !=, ~ or !~) got \"=\""},
        {"obj.age ~ 1h", "expected conditional (==, !=, >, >=, < or <=) got \"~\""},
        {"obj.age > 1", "expected duration <n.nn>[ms|s|m|h|d|w|y] got \"1\""},
        {"obj.ttl > x1s", "expected duration <n.nn>[ms|s|m|h|d|w|y] got \"x1s\""},
        {"obj.ttl > 1.2.3s", "expected duration <n.nn>[ms|s|m|h|d|w|y] got \"1.2.3s\""},
        {"obj.keep > .s", "expected duration <n.nn>[ms|s|m|h|d|w|y] got \".s\""},
        {"req.url ~ ((", "Regex compile error: missing closing parenthesis"},
        {"req.url == a && obj.http.b !~ [", "Regex compile error: missing terminating ] for "
                                            "character class"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[256];
        struct sb why = sb_of(text, sizeof text);
        struct ban_expr *expr = NULL;
        unsigned n = split(rows[i].text);
        assert_int_equal(ban_expr_new(words, n, &why, &expr), RC_INVALID);
        assert_null(expr);
        sb_chr(&why, '\0');
        assert_string_equal(text, rows[i].why);
    }
}

static void words_of_a_text(void **state)
{
    (void)state;
    assert_int_equal(split("  req.url\t== \"a b\"  && x != \"\"\n"), 7);
    assert_true(str_eq(words[2], STR("a b")));
    assert_true(str_eq(words[3], STR("&&")));
    assert_int_equal(words[6].len, 0);
    /* No escapes: what stands there is meant. */
    assert_int_equal(split("req.url ~ \\.png$"), 3);
    assert_true(str_eq(words[2], STR("\\.png$")));
    char text[64];
    struct sb why = sb_of(text, sizeof text);
    unsigned count = 0;
    assert_int_equal(ban_words(STR("a == \"b"), words, 80, &count, &why), RC_INVALID);
    assert_int_equal(ban_words(STR("a b c"), words, 2, &count, &why), RC_INVALID);
}

/* ---- how it is shown ---- */

static struct ban_expr *expr_of(const char *text)
{
    char why_text[256];
    struct sb why = sb_of(why_text, sizeof why_text);
    struct ban_expr *expr = NULL;
    unsigned n = split(text);
    assert_int_equal(ban_expr_new(words, n, &why, &expr), RC_OK);
    return expr;
}

static void texts(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"req.url ~ ^/foo", "req.url ~ ^/foo"},
        {"obj.http.X-Y == \"a b\"  &&  req.http.host != c",
         "obj.http.X-Y == a b && req.http.host != c"},
        {"obj.statusx == 3", "obj.status == 3"},
        {"req.http. == 3", "req.http. == 3"},
        {"obj.age > 1h", "obj.age > 1h"},
        {"obj.age > 3600s", "obj.age > 1h"},
        {"obj.age > 90.5s", "obj.age > 90.500s"},
        {"obj.age > 100ms", "obj.age > 100ms"},
        {"obj.age >= 0s", "obj.age >= 0s"},
        {"obj.ttl < 14d", "obj.ttl < 2w"},
        {"obj.keep <= 365d", "obj.keep <= 1y"},
        {"obj.grace == 61m", "obj.grace == 61m"},
        {"obj.grace == 1.5m", "obj.grace == 90s"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct ban_expr *expr = expr_of(rows[i][0]);
        assert_true(str_eq(ban_expr_text(expr), str_of(rows[i][1])));
        /* What is stored is read back as the same. */
        struct ban_expr *again = NULL;
        assert_int_equal(ban_expr_stored(ban_expr_bytes(expr), &again), RC_OK);
        assert_true(ban_expr_eq(expr, again));
        assert_true(str_eq(ban_expr_text(again), ban_expr_text(expr)));
        assert_int_equal(ban_expr_flags(again), ban_expr_flags(expr));
        ban_expr_free(&again);
        for (size_t cut = 0; cut < ban_expr_bytes(expr).len; cut++) {
            struct str less = {ban_expr_bytes(expr).ptr, cut};
            /* Some of its conditions may be whole. */
            if (ban_expr_stored(less, &again) == RC_OK) {
                assert_true(str_starts(ban_expr_text(expr), ban_expr_text(again)));
                ban_expr_free(&again);
            }
            assert_null(again);
        }
        ban_expr_free(&expr);
    }
}

static void flags(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned flags;
    } rows[] = {
        {"req.url == a", BAN_REQ},
        {"obj.status == 200 && req.http.a == b", BAN_REQ | BAN_OBJ},
        {"obj.http.a == b && obj.grace > 1s", BAN_OBJ},
        {"obj.age > 1s", BAN_OBJ | BAN_NODUP},
        {"obj.ttl > 1s", BAN_OBJ | BAN_NODUP},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct ban_expr *expr = expr_of(rows[i].text);
        assert_int_equal(ban_expr_flags(expr), rows[i].flags);
        ban_expr_free(&expr);
    }
}

/* ---- what matches ---- */

enum { MATCH_STEPS = 10000 };

struct subject {
    struct http *req;
    char head[512];
    struct ban_subject is;
    struct regex_pool scratch;
};

static void make_subject(struct subject *s)
{
    static char mem[8192];
    struct arena arena;
    arena_init(&arena, mem, sizeof mem);
    regex_pool_init(&s->scratch, MATCH_STEPS);
    s->req = http_new(&arena, 16);
    s->req->url = STR("/a/b.png?x=1");
    assert_int_equal(http_set_name(s->req, STR("Host"), STR("example.org")), RC_OK);
    assert_int_equal(http_set_name(s->req, STR("X-Empty"), STR("")), RC_OK);
    struct http *resp = http_new(&arena, 16);
    http_set_status(resp, 404);
    resp->reason = STR("Not Found");
    assert_int_equal(http_set_name(resp, STR("X-Tag"), STR("one two")), RC_OK);
    assert_int_equal(http_set_name(resp, STR("Server"), STR("s")), RC_OK);
    struct sb sb = sb_of(s->head, sizeof s->head);
    http_pack(&sb, resp);
    s->is = (struct ban_subject){
        .req = s->req,
        .head = sb_str(&sb),
        .scratch = &s->scratch,
        .times = {.t_origin_ns = NOW_NS - 100 * NS_PER_S,
                  .ttl_ns = 150 * NS_PER_S,
                  .grace_ns = 10 * NS_PER_S,
                  .keep_ns = 20 * NS_PER_S},
    };
}

static void matches(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool matches;
    } rows[] = {
        {"req.url == /a/b.png?x=1", true},
        {"req.url == /a/b.png", false},
        {"req.url != /a/b.png", true},
        {"req.url ~ \\.png", true},
        {"req.url ~ \\.png$", false},
        {"req.url !~ \\.png$", true},
        {"req.url !~ png", false},
        {"req.http.host == example.org", true},
        {"req.http.HOST ~ ^EXAMPLE", false},
        {"req.http.HOST ~ (?i)^EXAMPLE", true},
        {"req.http.x-empty == \"\"", true},
        {"req.http.x-empty ~ .", false},
        /* What is not there. */
        {"req.http.none == \"\"", false},
        {"req.http.none != x", true},
        {"req.http.none ~ .*", false},
        {"req.http.none !~ x", false},
        {"obj.http.none != x", true},
        {"obj.http.none !~ x", false},
        {"obj.status == 404", true},
        {"obj.status != 404", false},
        {"obj.status ~ ^4", true},
        {"obj.status !~ ^4", false},
        {"obj.status == 0404", false},
        {"obj.http.x-tag ~ two", true},
        {"obj.http.X-TAG == \"one two\"", true},
        {"obj.http.server == s && obj.http.x-tag ~ one", true},
        {"obj.http.server == s && obj.http.x-tag ~ three", false},
        /* Its age is 100 s, it lives 50 s more. */
        {"obj.age == 100s", true},
        {"obj.age > 99.9s", true},
        {"obj.age > 100s", false},
        {"obj.age >= 100s", true},
        {"obj.age < 2m", true},
        {"obj.age != 100s", false},
        {"obj.ttl == 50s", true},
        {"obj.ttl > 1m", false},
        {"obj.ttl <= 50s", true},
        {"obj.ttl < 50s", false},
        {"obj.ttl > -1s", true},
        {"obj.grace == 10s", true},
        {"obj.grace > 9999ms", true},
        {"obj.keep <= 20s", true},
        {"obj.keep < 20s", false},
    };
    struct subject s;
    make_subject(&s);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct ban_expr *expr = expr_of(rows[i].text);
        uint64_t tests = 0;
        if (ban_expr_matches(expr, &s.is, NOW_NS, &tests) != rows[i].matches) {
            fail_msg("%s", rows[i].text);
        }
        assert_true(tests >= 1);
        ban_expr_free(&expr);
    }
    regex_pool_fini(&s.scratch);
}

/* The first that does not hold ends it. */
static void tests_are_counted(void **state)
{
    (void)state;
    struct subject s;
    make_subject(&s);
    uint64_t tests = 0;
    struct ban_expr *expr = expr_of("obj.status == 404 && obj.status == 200 && obj.status == 404");
    assert_false(ban_expr_matches(expr, &s.is, NOW_NS, &tests));
    assert_int_equal(tests, 2);
    ban_expr_free(&expr);
    regex_pool_fini(&s.scratch);
}

/* Nobody can make the cache think for ever; what cannot be decided is banned. */
static void costly_expressions_are_given_up(void **state)
{
    (void)state;
    struct subject s;
    make_subject(&s);
    static char url[4000];
    memset(url, 'a', sizeof url);
    s.req->url = (struct str){url, sizeof url};
    static const char *const rows[] = {"req.url ~ ^(a+)+[bc]$", "req.url !~ ^(a+)+[bc]$"};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t tests = 0;
        struct ban_expr *expr = expr_of(rows[i]);
        assert_true(ban_expr_matches(expr, &s.is, NOW_NS, &tests));
        ban_expr_free(&expr);
    }
    regex_pool_fini(&s.scratch);
}

/* A head of garbage has no status and no fields. */
static void odd_heads(void **state)
{
    (void)state;
    uint64_t tests = 0;
    struct ban_subject none = {.head = STR_NONE};
    struct ban_subject bad = {.head = STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff")};
    struct ban_expr *expr = expr_of("obj.status == 000 && obj.http.a != b");
    assert_true(ban_expr_matches(expr, &none, NOW_NS, &tests));
    (void)ban_expr_matches(expr, &bad, NOW_NS, &tests);
    ban_expr_free(&expr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(words_of_a_text),
        cmocka_unit_test(texts),
        cmocka_unit_test(flags),
        cmocka_unit_test(matches),
        cmocka_unit_test(tests_are_counted),
        cmocka_unit_test(costly_expressions_are_given_up),
        cmocka_unit_test(odd_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
