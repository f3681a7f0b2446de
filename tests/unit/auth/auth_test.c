/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Names and passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/auth.h"

static void a_line_that_was_made_is_understood(void **state)
{
    (void)state;
    char buf[2 * AUTH_LINE_MAX];
    struct sb sb = sb_of(buf, sizeof buf);
    sb_lit(&sb, "# who\n\n");
    assert_int_equal(auth_put_line(&sb, STR("ann"), STR("s3 cret:x")), RC_OK);
    assert_int_equal(auth_put_line(&sb, STR("bob"), STR("p")), RC_OK);
    struct auth *auth;
    unsigned line;
    assert_int_equal(auth_of_file(&auth, sb_str(&sb), &line), RC_OK);
    assert_true(auth_check(auth, STR("ann"), STR("s3 cret:x")));
    assert_true(auth_check(auth, STR("bob"), STR("p")));
    assert_false(auth_check(auth, STR("ann"), STR("p")));
    assert_false(auth_check(auth, STR("bob"), STR("p\0")));
    assert_false(auth_check(auth, STR("bob"), STR("")));
    assert_false(auth_check(auth, STR("an"), STR("s3 cret:x")));
    assert_false(auth_check(auth, STR(""), STR("p")));
    auth_free(&auth);
    assert_null(auth);
}

/* openssl passwd -5 -salt abcdefgh 'right one' */
static void hashes_of_other_tools(void **state)
{
    (void)state;
    struct auth *auth;
    unsigned line;
    assert_int_equal(
        auth_of_file(&auth, STR("u:$5$abcdefgh$nkHbgxuX7kyEO8.FfMmzz6UqwzEVmNA.b3LI0CDLxw3\r\n"),
                     &line),
        RC_OK);
    assert_true(auth_check(auth, STR("u"), STR("right one")));
    assert_false(auth_check(auth, STR("u"), STR("wrong")));
    auth_free(&auth);
}

static void what_no_file_may_hold(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum rc rc;
        unsigned line;
    } bad[] = {
        {"", RC_NOT_FOUND, 0},
        {"# nobody\n", RC_NOT_FOUND, 1},
        {"ann\n", RC_MALFORMED, 1},
        {"ann:\n", RC_MALFORMED, 1},
        {"#\nann:plain\n", RC_MALFORMED, 2},
        {":$5$abcdefgh$x\n", RC_MALFORMED, 1},
        {"a b:$5$abcdefgh$x\n", RC_MALFORMED, 1},
        {"a:$5$abcdefgh$x\na:$5$abcdefgh$x\n", RC_MALFORMED, 2},
        {"a:$nosuch$x$y\n", RC_MALFORMED, 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct auth *auth;
        unsigned line = 99;
        assert_int_equal(auth_of_file(&auth, str_of(bad[i].text), &line), bad[i].rc);
        assert_int_equal(line, bad[i].line);
        assert_null(auth);
    }
    char buf[AUTH_LINE_MAX];
    struct sb sb = sb_of(buf, sizeof buf);
    assert_int_equal(auth_put_line(&sb, STR("a:b"), STR("p")), RC_MALFORMED);
    assert_int_equal(auth_put_line(&sb, STR("a"), STR("")), RC_MALFORMED);
    assert_int_equal(sb.len, 0);
}

static void words_of_clients(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        bool is_plain; /* else "user password" */
        enum rc rc;
        const char *user, *password;
    } rows[] = {
        {STR_INIT("\0ann\0pw"), true, RC_OK, "ann", "pw"},
        {STR_INIT("ann\0ann\0p w"), true, RC_OK, "ann", "p w"},
        {STR_INIT("bob\0ann\0pw"), true, RC_MALFORMED, "", ""},
        {STR_INIT("\0ann\0p\0w"), true, RC_MALFORMED, "", ""},
        {STR_INIT("\0ann"), true, RC_MALFORMED, "", ""},
        {STR_INIT("ann"), true, RC_MALFORMED, "", ""},
        {STR_INIT(""), true, RC_MALFORMED, "", ""},
        {STR_INIT("\0\0pw"), true, RC_MALFORMED, "", ""},
        {STR_INIT("\0ann\0"), true, RC_MALFORMED, "", ""},
        {STR_INIT("ann pw"), false, RC_OK, "ann", "pw"},
        {STR_INIT("ann"), false, RC_MALFORMED, "", ""},
        {STR_INIT(" "), false, RC_MALFORMED, "", ""},
        {STR_INIT(""), false, RC_MALFORMED, "", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct str user, password;
        enum rc rc = rows[i].is_plain ? auth_plain(rows[i].in, &user, &password)
                                      : auth_words(rows[i].in, &user, &password);
        assert_int_equal(rc, rows[i].rc);
        if (rc == RC_OK) {
            assert_true(str_eq(user, str_of(rows[i].user)));
            assert_true(str_eq(password, str_of(rows[i].password)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_that_was_made_is_understood),
        cmocka_unit_test(hashes_of_other_tools),
        cmocka_unit_test(what_no_file_may_hold),
        cmocka_unit_test(words_of_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
