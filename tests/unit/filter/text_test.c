/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* buffer, regex, rewrite. */
#include "codec_run.h"

#include "filter/filter_regex.h"
#include "filter/filter_rewrite.h"

/* ---- buffer ---- */

static void a_body_is_held_up_to_its_limit(void **state)
{
    (void)state;
    struct bytes text = text_of(100000, 1);
    struct way way = {.codecs = {&codec_buffer}, .env = WAY_ENV};
    way.env.buffer_bytes_max = text.len;
    way_all(&way, text.ptr, text.len, RC_OK, text.ptr, text.len);
    way_all(&way, "", 0, RC_OK, "", 0);
    way.env.buffer_bytes_max = text.len - 1;
    way_all(&way, text.ptr, text.len, RC_TOO_LONG, NULL, 0);
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_TOO_LONG);
    assert_string_equal(way.notes.error, "The body is longer than the 99999 bytes of buffer");
    assert_int_equal(way.out_bytes, 0);
    bytes_free(&text);
}

/* ---- regex ---- */

static struct objm_regex *regex_of(const char *pattern)
{
    struct objm_regex *regex;
    struct regex_error error;
    assert_int_equal(regex_new(str_of(pattern), true, &regex, &error), RC_OK);
    return regex;
}

static void rules_are_applied_one_after_another(void **state)
{
    (void)state;
    struct objm_regex *title = regex_of("<title>(.*)</title>"), *host = regex_of("host");
    struct objm_regex *none = regex_of("nowhere");
    struct regex_rule rules[] = {{none, STR("somewhere"), true},
                                 {title, STR("<title>new \\1 host</title>"), false},
                                 {none, STR("somewhere"), true},
                                 {host, STR("newhost"), true}};
    struct filter_regex arg = {.rules = rules, .rules_count = 4};
    static const char in[] = "<title>old</title><title>x</title> host, host";
    static const char out[] = "<title>new old newhost</title><title>x</title> newhost, newhost";
    struct way way = {
        .codecs = {&codec_buffer, &codec_regex}, .args = {NULL, &arg}, .env = WAY_ENV};
    struct objm_regex *greedy = regex_of("<title>(.*?)</title>");
    rules[1].regex = greedy;
    way_all(&way, in, sizeof in - 1, RC_OK, out, sizeof out - 1);
    way_all(&way, "", 0, RC_OK, "", 0);
    way_all(&way, "nothing of it", 13, RC_OK, "nothing of it", 13);
    struct way zip = {
        .codecs = {&codec_gunzip, &codec_buffer, &codec_regex, &codec_gzip, &codec_gunzip},
        .args = {NULL, NULL, &arg},
        .env = WAY_ENV};
    struct bytes gz = made_by(&codec_gzip, NULL, in, sizeof in - 1);
    way_all(&zip, gz.ptr, gz.len, RC_OK, out, sizeof out - 1);
    bytes_free(&gz);
    regex_free(&title);
    regex_free(&greedy);
    regex_free(&host);
    regex_free(&none);
}

static void what_is_made_has_a_limit_too(void **state)
{
    (void)state;
    struct objm_regex *a = regex_of("a");
    struct regex_rule rules[] = {{a, STR("aaaaaaaaaa"), true}, {a, STR("aaaaaaaaaa"), true}};
    struct filter_regex arg = {.rules = rules, .rules_count = 2};
    struct way way = {
        .codecs = {&codec_buffer, &codec_regex}, .args = {NULL, &arg}, .env = WAY_ENV};
    char body[1000], want[100000];
    memset(body, 'a', sizeof body);
    memset(want, 'a', sizeof want);
    way.env.buffer_bytes_max = sizeof want;
    way_all(&way, body, sizeof body, RC_OK, want, sizeof want);
    way.env.buffer_bytes_max = sizeof want - 1;
    way_all(&way, body, sizeof body, RC_TOO_LONG, NULL, 0);
    regex_free(&a);
}

static void a_pattern_that_takes_too_long_is_given_up(void **state)
{
    (void)state;
    struct objm_regex *slow = regex_of("(a+)+$");
    struct regex_rule rule = {slow, STR("x"), false};
    struct filter_regex arg = {.rules = &rule, .rules_count = 1, .match_limit = 1000};
    struct way way = {
        .codecs = {&codec_buffer, &codec_regex}, .args = {NULL, &arg}, .env = WAY_ENV};
    assert_int_equal(way_run(&way, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 35), RC_LIMIT);
    assert_non_null(strstr(way.notes.error, "regex: "));
    regex_free(&slow);
}

static void regex_wants_the_whole(void **state)
{
    (void)state;
    struct filter_regex arg = {.rules_count = 0};
    struct way way = {.codecs = {&codec_regex}, .args = {&arg}, .in_max = 2, .env = WAY_ENV};
    assert_int_equal(way_run(&way, "hello", 5), RC_INVALID);
    way.codecs[0] = &codec_regex;
    way.args[0] = NULL;
    assert_int_equal(way_run(&way, "hello", 5), RC_INVALID);
}

/* ---- rewrite ---- */

static void texts_are_replaced_across_pieces(void **state)
{
    (void)state;
    struct rewrite_rule rules[] = {{STR("http://origin.example"), STR("https://www.example")},
                                   {STR("abab"), STR("")},
                                   {STR("ab"), STR("<ab>")},
                                   {STR("<"), STR("&lt;")}};
    struct filter_rewrite arg = {rules, 4};
    struct way way = {.codecs = {&codec_rewrite}, .args = {&arg}, .env = WAY_ENV};
    static const char in[] = "ababab see http://origin.example/ and http://origin.exam <b> aba";
    static const char out[] = "<ab> see https://www.example/ and http://origin.exam &lt;b> <ab>a";
    way_all(&way, in, sizeof in - 1, RC_OK, out, sizeof out - 1);
    way_all(&way, "", 0, RC_OK, "", 0);
    way_all(&way, "http://origin.exampl", 20, RC_OK, "http://origin.exampl", 20);
    arg.rules_count = 0;
    way_all(&way, "anything", 8, RC_OK, "anything", 8);
    rules[0].find = STR("");
    arg.rules_count = 1;
    assert_int_equal(way_run(&way, "a", 1), RC_INVALID);
    rules[0].find.len = REWRITE_FIND_MAX + 1;
    assert_int_equal(way_run(&way, "a", 1), RC_INVALID);
    way.args[0] = NULL;
    assert_int_equal(way_run(&way, "a", 1), RC_INVALID);
}

/* The obvious way, on the whole. */
static struct bytes replaced(const struct filter_rewrite *arg, const char *in, size_t len)
{
    struct bytes out = {NULL, 0, 0};
    for (size_t at = 0; at < len;) {
        unsigned n = 0;
        for (; n < arg->rules_count; n++) {
            struct str find = arg->rules[n].find;
            if (find.len <= len - at && memcmp(find.ptr, in + at, find.len) == 0) {
                break;
            }
        }
        if (n < arg->rules_count) {
            bytes_add(&out, arg->rules[n].replace.ptr, arg->rules[n].replace.len);
            at += arg->rules[n].find.len;
        } else {
            bytes_add(&out, in + at++, 1);
        }
    }
    return out;
}

static void any_cut_gives_what_the_whole_gives(void **state)
{
    (void)state;
    struct rng rng = {42};
    for (unsigned n = 0; n < 300; n++) {
        char finds[6][REWRITE_FIND_MAX], in[3000];
        struct rewrite_rule rules[6];
        struct filter_rewrite arg = {rules, 1 + (unsigned)rng_below(&rng, 6)};
        for (unsigned r = 0; r < arg.rules_count; r++) {
            size_t most = n % 50 == 0 ? REWRITE_FIND_MAX : 8, len = 1 + rng_below(&rng, most);
            for (size_t at = 0; at < len; at++) {
                finds[r][at] = "ab"[n % 50 == 0 ? 0 : rng_below(&rng, 2)];
            }
            static const char *const to[] = {"", "a", "xyz", "abababababab"};
            rules[r] = (struct rewrite_rule){{finds[r], len}, str_of(to[rng_below(&rng, 4)])};
        }
        size_t len = rng_below(&rng, sizeof in);
        for (size_t at = 0; at < len; at++) {
            in[at] = "abc"[rng_below(&rng, n % 50 == 0 ? 500 : 3) % 3];
            in[at] = n % 50 == 0 && rng_below(&rng, 400) != 0 ? 'a' : in[at];
        }
        struct bytes want = replaced(&arg, in, len);
        struct way way = {.codecs = {&codec_rewrite}, .args = {&arg}, .env = WAY_ENV};
        way_all(&way, in, len, RC_OK, want.ptr, want.len);
        bytes_free(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_is_held_up_to_its_limit),
        cmocka_unit_test(rules_are_applied_one_after_another),
        cmocka_unit_test(what_is_made_has_a_limit_too),
        cmocka_unit_test(a_pattern_that_takes_too_long_is_given_up),
        cmocka_unit_test(regex_wants_the_whole),
        cmocka_unit_test(texts_are_replaced_across_pieces),
        cmocka_unit_test(any_cut_gives_what_the_whole_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
