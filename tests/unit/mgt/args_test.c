/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mgt/args.h"

enum { WORDS_MAX = 64 };

/* Splits at blanks, as a shell would.  The words live as long as `copy`. */
static int split(char *copy, char **argv)
{
    int argc = 0;
    char *rest = copy;
    argv[argc++] = "objmapperd";
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

static struct mgt_args args;
static char copy[512];

static enum rc parse(const char *line, struct cli_text *why)
{
    char *argv[WORDS_MAX + 1];
    assert_true(strlen(line) < sizeof copy);
    memcpy(copy, line, strlen(line) + 1);
    int argc = split(copy, argv);
    return args_parse(&args, argc, argv, why);
}

static void test_all_options(void **state)
{
    (void)state;
    struct cli_text why = {0};
    assert_int_equal(parse("-a :80 -a x=/tmp/s,PROXY,mode=666 -b h:1 -F -h critbit -i id -I file "
                           "-j none -l 2m -M 1:2 -n dir -p a=b -P pid -r c,d -s malloc,1g -S none "
                           "-t 3 -T none -W epoll -p e=f=g",
                           &why),
                     RC_OK);
    assert_int_equal(args.what, ARGS_RUN);
    assert_int_equal(args.listens.count, 2);
    assert_string_equal(args.backend, "h:1");
    assert_true(args.foreground);
    assert_false(args.debug);
    assert_int_equal(args.notes.count, 2);
    assert_string_equal(args.workdir, "dir");
    assert_int_equal(args.params_count, 5);
    assert_true(str_eq(args.params[0].name, STR("vsl_space")));
    assert_true(str_eq(args.params[1].name, STR("a")));
    assert_true(str_eq(args.params[2].value, STR("c,d")));
    assert_null(args.params[2].name.ptr);
    assert_true(str_eq(args.params[3].name, STR("default_ttl")));
    assert_true(str_eq(args.params[4].value, STR("f=g")));
    cli_text_free(&why);
}

static void test_varnishtest_line(void **state)
{
    (void)state;
    struct cli_text why = {0};
    assert_int_equal(parse("-d -n /tmp/v1 -l 2m -p auto_restart=off -p syslog_cli_traffic=off "
                           "-p thread_pool_min=10 -p debug=+vtc_mode -p vsl_mask=+Debug "
                           "-p h2_initial_window_size=1m -p h2_rx_window_low_water=64k "
                           "-a 127.0.0.1:0 -M 127.0.0.1:3 -P /tmp/v1/varnishd.pid -b 127.0.0.1:1",
                           &why),
                     RC_OK);
    assert_true(args.debug);
    assert_int_equal(args.params_count, 8);
    cli_text_free(&why);
}

static void test_information(void **state)
{
    (void)state;
    struct cli_text why = {0};
    assert_int_equal(parse("-V", &why), RC_OK);
    assert_int_equal(args.what, ARGS_VERSION);
    assert_int_equal(parse("--help", &why), RC_OK);
    assert_int_equal(args.what, ARGS_USAGE);
    assert_int_equal(parse("-Z -?", &why), RC_OK);
    assert_int_equal(args.what, ARGS_USAGE);
    assert_int_equal(parse("-x cli", &why), RC_OK);
    assert_int_equal(args.what, ARGS_DUMP);
    assert_string_equal(args.dump, "cli");
    cli_text_free(&why);
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "Neither -b nor -f given. (use -f '' to override)"},
        {"-F", "Neither -b nor -f given. (use -f '' to override)"},
        {"-b x -f y", "Only one of -b or -f can be specified"},
        {"-C", "-C needs either -b <backend> or -f <vcl_file>"},
        {"-b x -Z", "-Z: no such option"},
        {"-b x --frob", "--: no such option"},
        {"-b", "-b: an argument is missing"},
        {"-b x -b y", "-b can be used only once"},
        {"-b x -I a -I b", "-I can be used only once"},
        {"-b x -d -F", "Only one of -d or -F can be specified"},
        {"-b x extra more", "Too many arguments (extra...)"},
        {"-b x -p foo", "-p foo: lacks '='"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cli_text why = {0};
        assert_int_equal(parse(rows[i][0], &why), RC_INVALID);
        cli_text_add(&why, (struct str){"", 1});
        assert_string_equal(why.ptr, rows[i][1]);
        assert_null(strchr(why.ptr, '\n'));
        cli_text_free(&why);
    }
}

static void test_limits(void **state)
{
    (void)state;
    char *argv[2 * MGT_ARGS_PARAMS_MAX + 5] = {"objmapperd"};
    struct cli_text why = {0};
    int argc = 1;
    for (int i = 0; i <= MGT_ARGS_PARAMS_MAX; i++) {
        argv[argc++] = "-p";
        argv[argc++] = "a=b";
    }
    assert_int_equal(args_parse(&args, argc, argv, &why), RC_INVALID);
    for (int i = 0; i <= MGT_ARGS_EACH_MAX; i++) {
        argv[1 + 2 * i] = "-a";
        argv[2 + 2 * i] = ":0";
    }
    assert_int_equal(args_parse(&args, 3 + 2 * MGT_ARGS_EACH_MAX, argv, &why), RC_INVALID);
    cli_text_free(&why);
}

static void expect_listen(const char *text, const char *name, const char *host, const char *port)
{
    struct listen_spec spec;
    struct cli_text why = {0};
    assert_int_equal(listen_spec_parse(&spec, text, 3, &why), RC_OK);
    assert_string_equal(spec.name, name);
    assert_string_equal(spec.host, host);
    assert_string_equal(spec.port, port);
    assert_int_equal(spec.is_unix, host[0] == '/');
    cli_text_free(&why);
}

static void test_listen(void **state)
{
    (void)state;
    expect_listen(":80", "a3", "", "80");
    expect_listen("127.0.0.1:0", "a3", "127.0.0.1", "0");
    expect_listen("host", "a3", "host", "80");
    expect_listen("[::1]:81,PROXY", "a3", "::1", "81");
    expect_listen("[::1]", "a3", "::1", "80");
    expect_listen("::1", "a3", "::1", "80");
    expect_listen("web=localhost:http,http", "web", "localhost", "http");
    expect_listen("/run/x.sock", "a3", "/run/x.sock", "");
    struct listen_spec spec;
    struct cli_text why = {0};
    assert_int_equal(listen_spec_parse(&spec, "s=/x,PROXY,user=u,group=g,mode=660", 0, &why),
                     RC_OK);
    assert_string_equal(spec.name, "s");
    assert_int_equal(spec.proto, WORKER_PROTO_PROXY);
    assert_string_equal(spec.user, "u");
    assert_string_equal(spec.group, "g");
    assert_int_equal(spec.mode, 0660);
    assert_int_equal(listen_spec_parse(&spec, "mc=127.0.0.1:11211,memcached,auth=/x=y", 0, &why),
                     RC_OK);
    assert_int_equal(spec.proto, WORKER_PROTO_MEMCACHED);
    assert_string_equal(spec.auth, "/x=y");
    cli_text_free(&why);
}

static void test_bad_listen(void **state)
{
    (void)state;
    static const char *const rows[] = {"",
                                       "=:80",
                                       "9x=:80",
                                       "x",
                                       "x=",
                                       ":",
                                       "h:",
                                       ":65536",
                                       ":80,FTP",
                                       ":80,",
                                       ":80,user=x",
                                       "/x,mode=8",
                                       "/x,mode=1777",
                                       "/x,mode=",
                                       "/x,color=red",
                                       "/x,user=",
                                       "[::1:80",
                                       "[::1]80",
                                       "[localhost]",
                                       "a:b:c",
                                       ":80,auth=/x",
                                       ":80,MEMCACHED,auth="};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct listen_spec spec;
        struct cli_text why = {0};
        enum rc rc = listen_spec_parse(&spec, rows[i], 0, &why);
        if (strcmp(rows[i], "x") == 0) {
            assert_int_equal(rc, RC_OK); /* a host's name */
        } else if (rc != RC_INVALID || why.len == 0) {
            fail_msg("%s was taken", rows[i]);
        }
        cli_text_free(&why);
    }
    char path[200];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    struct listen_spec spec;
    struct cli_text why = {0};
    assert_int_equal(listen_spec_parse(&spec, path, 0, &why), RC_INVALID);
    path[107] = '\0';
    assert_int_equal(listen_spec_parse(&spec, path, 0, &why), RC_OK);
    cli_text_free(&why);
}

static void test_backend(void **state)
{
    (void)state;
    struct backend_conf conf;
    struct cli_text why = {0};
    assert_int_equal(backend_conf_parse(&conf, "None", &why), RC_OK);
    assert_true(conf.is_none);
    assert_int_equal(backend_conf_parse(&conf, "/run/b", &why), RC_OK);
    assert_true(conf.is_unix);
    assert_string_equal(conf.host, "/run/b");
    assert_int_equal(backend_conf_parse(&conf, "[::1]:8080", &why), RC_OK);
    assert_string_equal(conf.host, "::1");
    assert_string_equal(conf.port, "8080");
    assert_int_equal(backend_conf_parse(&conf, "origin 81", &why), RC_OK);
    assert_string_equal(conf.host, "origin");
    assert_string_equal(conf.port, "81");
    assert_int_equal(backend_conf_parse(&conf, "origin", &why), RC_OK);
    assert_string_equal(conf.port, "80");
    assert_int_equal(backend_conf_parse(&conf, ":80", &why), RC_INVALID);
    assert_int_equal(backend_conf_parse(&conf, "", &why), RC_INVALID);
    assert_int_equal(backend_conf_parse(&conf, "a:b:c", &why), RC_INVALID);
    cli_text_free(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_options), cmocka_unit_test(test_varnishtest_line),
        cmocka_unit_test(test_information), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_listen),
        cmocka_unit_test(test_bad_listen),  cmocka_unit_test(test_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
