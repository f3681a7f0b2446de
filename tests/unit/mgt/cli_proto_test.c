/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "mgt/cli_proto.h"

static void expect_argv(const char *line, unsigned argc, const char *const *argv)
{
    struct cli_request req;
    size_t used;
    const char *why = NULL;
    assert_int_equal(cli_request_parse(str_of(line), &req, &used, &why), RC_OK);
    assert_int_equal(req.argc, argc);
    for (unsigned i = 0; i < argc; i++) {
        assert_string_equal(req.argv[i].ptr, argv[i]);
        assert_int_equal(req.argv[i].len, strlen(argv[i]));
    }
    assert_null(req.argv[argc].ptr);
    cli_request_free(&req);
}

#define EXPECT_ARGV(line, ...)                                                                     \
    do {                                                                                           \
        const char *const words[] = {__VA_ARGS__};                                                 \
        expect_argv(line, ARRAY_SIZE(words), words);                                               \
    } while (0)

static void test_tokens(void **state)
{
    (void)state;
    EXPECT_ARGV("ping\n", "ping");
    EXPECT_ARGV("  param.set \t default_ttl  3 \r\n", "param.set", "default_ttl", "3");
    EXPECT_ARGV("a \"b c\" \"\"\n", "a", "b c", "");
    EXPECT_ARGV("a \"\\n\\r\\t\\\"\\\\\" \\x41\\x7a \\101\n", "a", "\n\r\t\"\\", "Az", "A");
    EXPECT_ARGV("-stop\n", "stop");
    EXPECT_ARGV("- x\n", "x");
    EXPECT_ARGV("a -b\n", "a", "-b");
    EXPECT_ARGV("\"-stop\"\n", "-stop");
    EXPECT_ARGV("a\"b\n", "a\"b");
}

static enum rc parse(const char *text, size_t *used, const char **why)
{
    struct cli_request req;
    enum rc rc = cli_request_parse(str_of(text), &req, used, why);
    if (rc == RC_OK) {
        cli_request_free(&req);
    }
    return rc;
}

static void test_bad_lines(void **state)
{
    (void)state;
    static const char *const lines[] = {"a \"b\n",   "a \\q\n",  "a \\x4\n", "a \\xg1\n",
                                        "a \\400\n", "a \\18\n", "a \\\n",   "a \"\\\"\n"};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        size_t used = 0;
        const char *why = NULL;
        assert_int_equal(parse(lines[i], &used, &why), RC_MALFORMED);
        assert_int_equal(used, strlen(lines[i]));
        assert_non_null(why);
    }
    struct cli_text many = {0};
    for (int i = 0; i <= CLI_ARGS_MAX; i++) {
        cli_text_add(&many, STR("x "));
    }
    cli_text_printf(&many, "\n%c", 0);
    size_t used;
    const char *why = NULL;
    assert_int_equal(parse(many.ptr, &used, &why), RC_MALFORMED);
    cli_text_free(&many);
}

static void test_incomplete(void **state)
{
    (void)state;
    size_t used = 77;
    const char *why;
    assert_int_equal(parse("", &used, &why), RC_AGAIN);
    assert_int_equal(parse("ping", &used, &why), RC_AGAIN);
    assert_int_equal(parse("vcl.inline a << EOT\nb\nEOT", &used, &why), RC_AGAIN);
    assert_int_equal(used, 0);
    assert_int_equal(parse(" \t\nping\n", &used, &why), RC_EOF);
    assert_int_equal(used, 3);
    struct cli_text huge = {0};
    for (int i = 0; i < (CLI_REQUEST_MAX >> 10) + 1; i++) {
        cli_text_printf(&huge, "%1024s", "x");
    }
    struct cli_request req;
    assert_int_equal(cli_request_parse(cli_text_str(&huge), &req, &used, &why), RC_TOO_LONG);
    cli_text_free(&huge);
}

static void test_here_document(void **state)
{
    (void)state;
    EXPECT_ARGV("vcl.inline vcl1 << %X\nvcl 4.1;\n%X \n x%X\n%X\n", "vcl.inline", "vcl1",
                "vcl 4.1;\n%X \n x%X\n");
    EXPECT_ARGV("a << EOT\nEOT\n", "a", "");
    /* Not in the last two places, or quoted: plain words. */
    EXPECT_ARGV("a << b c\n", "a", "<<", "b", "c");
    EXPECT_ARGV("a \"<<\" b\n", "a", "<<", "b");
    EXPECT_ARGV("<< b\n", "<<", "b");
    size_t used;
    const char *why;
    static const char two[] = "a << E\nx\nE\nping\n";
    assert_int_equal(parse(two, &used, &why), RC_OK);
    assert_int_equal(used, strlen("a << E\nx\nE\n"));
}

/* Whatever the words are, put and parse are each other's inverse. */
static void test_round_trip(void **state)
{
    (void)state;
    struct rng rng = {7};
    for (int round = 0; round < 2000; round++) {
        char bytes[CLI_ARGS_MAX][16];
        struct cli_request req = {.argc = 1 + (unsigned)rng_below(&rng, CLI_ARGS_MAX)};
        for (unsigned i = 0; i < req.argc; i++) {
            size_t len = (size_t)rng_below(&rng, sizeof bytes[0]);
            static const char likely[] = "<-\"\\ \n\tab";
            for (size_t b = 0; b < len; b++) {
                uint64_t r = rng_u64(&rng);
                bytes[i][b] = likely[(r >> 8) % (sizeof likely - 1)];
                if (r % 3 == 0) {
                    bytes[i][b] = (char)(r >> 8);
                }
            }
            req.argv[i] = (struct str){bytes[i], len};
        }
        struct cli_text line = {0};
        cli_request_put(&line, &req);
        struct cli_request back;
        size_t used;
        const char *why;
        assert_int_equal(cli_request_parse(cli_text_str(&line), &back, &used, &why), RC_OK);
        assert_int_equal(used, line.len);
        assert_int_equal(back.argc, req.argc);
        for (unsigned i = 0; i < req.argc; i++) {
            assert_true(str_eq(back.argv[i], req.argv[i]));
        }
        cli_request_free(&back);
        cli_text_free(&line);
    }
}

static void test_answers(void **state)
{
    (void)state;
    struct cli_text out = {0};
    cli_answer_put(&out, CLI_OK, STR("PONG"), 100);
    assert_memory_equal(out.ptr, "200 4       \nPONG\n", out.len);
    unsigned status;
    struct str text;
    size_t used;
    for (size_t len = 0; len < out.len; len++) {
        assert_int_equal(cli_answer_parse((struct str){out.ptr, len}, &status, &text, &used),
                         RC_AGAIN);
    }
    assert_int_equal(cli_answer_parse(cli_text_str(&out), &status, &text, &used), RC_OK);
    assert_int_equal(status, 200);
    assert_true(str_eq(text, STR("PONG")));
    assert_int_equal(used, out.len);
    cli_text_clear(&out);
    cli_answer_put(&out, CLI_OK, STR("0123456789"), 4);
    assert_memory_equal(out.ptr, "201 4       \n0123\n", out.len);
    cli_text_clear(&out);
    cli_answer_put(&out, CLI_CANNOT, STR("0123456789"), 4);
    assert_memory_equal(out.ptr, "300 4       \n0123\n", out.len);
    cli_text_free(&out);
    assert_int_equal(cli_answer_parse(STR("20x 4       \nPONG\n"), &status, &text, &used),
                     RC_MALFORMED);
    assert_int_equal(cli_answer_parse(STR("200 4       \nPONGx"), &status, &text, &used),
                     RC_MALFORMED);
}

static void test_json_string(void **state)
{
    (void)state;
    char all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (char)i;
    }
    struct cli_text out = {0};
    cli_text_add(&out, STR("["));
    cli_text_json(&out, (struct str){all, sizeof all});
    cli_text_add(&out, STR("]"));
    json_error_t error;
    json_t *json = json_loadb(out.ptr, out.len, JSON_ALLOW_NUL, &error);
    assert_non_null(json);
    assert_int_equal(json_array_size(json), 1);
    json_decref(json);
    cli_text_free(&out);
}

static void echo(struct cli *cli, void *ctx)
{
    (void)ctx;
    if (cli->json) {
        cli_json_open(cli);
        cli_printf(cli, "%u", cli->req->argc);
        cli_json_close(cli);
        return;
    }
    for (unsigned i = 1; i < cli->req->argc; i++) {
        cli_printf(cli, "[%.*s]", STR_ARG(cli->req->argv[i]));
    }
}

static void quit(struct cli *cli, void *ctx)
{
    (void)ctx;
    cli_fail(cli, CLI_CLOSE, "bye");
}

static const struct cli_cmd table[] = {
    {"echo", 1, 2, echo, CLI_HAS_JSON, "echo <x> [<y>]", ""},
    {"plain", 0, 0, echo, 0, "plain", ""},
    {"quit", 0, 0, quit, 0, "quit", ""},
    {NULL, 0, 0, NULL, 0, NULL, NULL},
};

static unsigned run(const char *line, struct cli_text *text)
{
    struct cli_request req;
    size_t used;
    const char *why;
    unsigned status = 0;
    cli_text_clear(text);
    assert_int_equal(cli_request_parse(str_of(line), &req, &used, &why), RC_OK);
    const struct cli_cmd *cmd = cli_find(table, req.argv[0]);
    assert_non_null(cmd);
    cli_run(cmd, &req, text, &status, NULL);
    cli_request_free(&req);
    return status;
}

static void test_table(void **state)
{
    (void)state;
    struct cli_text text = {0};
    assert_null(cli_find(table, STR("ech")));
    assert_int_equal(run("echo a b\n", &text), CLI_OK);
    assert_true(str_eq(cli_text_str(&text), STR("[a][b]")));
    assert_int_equal(run("echo\n", &text), CLI_TOO_FEW);
    assert_int_equal(run("echo -j\n", &text), CLI_TOO_FEW);
    assert_int_equal(run("echo 1 2 3\n", &text), CLI_TOO_MANY);
    assert_int_equal(run("plain -j\n", &text), CLI_UNIMPLEMENTED);
    assert_int_equal(run("echo -j \"q\\\"\"\n", &text), CLI_OK);
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, 0, &error);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_array_get(json, 0)), 2);
    json_t *words = json_array_get(json, 1);
    assert_int_equal(json_array_size(words), 3);
    assert_string_equal(json_string_value(json_array_get(words, 1)), "-j");
    assert_string_equal(json_string_value(json_array_get(words, 2)), "q\"");
    json_decref(json);
    cli_text_free(&text);
}

struct served {
    int fd;
    enum rc rc;
    unsigned reads;
    unsigned writes;
};

static void count_traffic(void *ctx, const char *direction, struct str text)
{
    struct served *served = ctx;
    assert_non_null(text.ptr);
    if (direction[0] == 'R') {
        served->reads++;
    } else {
        served->writes++;
    }
}

static void *serve(void *arg)
{
    struct served *served = arg;
    served->rc = cli_serve(served->fd, table, count_traffic, served);
    return NULL;
}

/* Requests in one piece, then byte by byte; the end of the socket ends it. */
static void test_serve(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct served served = {.fd = fds[1]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve, &served), 0);
    static const char requests[] = "echo a\nnosuch\n\necho \"\necho << E\nx\nE\n";
    assert_int_equal(write(fds[0], requests, strlen(requests)), strlen(requests));
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(write(fds[0], &requests[i], 1), 1);
    }
    assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(served.rc, RC_OK);
    assert_int_equal(served.writes, 5);
    (void)close(fds[1]);
    char got[1024];
    size_t len = 0;
    ssize_t n;
    while ((n = read(fds[0], got + len, sizeof got - len)) > 0) {
        len += (size_t)n;
    }
    got[len] = '\0';
    assert_non_null(strstr(got, "200 3       \n[a]\n101 "));
    assert_non_null(strstr(got, "100 25      \nSyntax Error: Missing '\"'\n"));
    assert_non_null(strstr(got, "200 4       \n[x\n]\n200 3       \n[a]\n"));
    (void)close(fds[0]);
}

static void test_serve_close(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[0], "quit\nplain\n", 11), 11);
    assert_int_equal(cli_serve(fds[1], table, NULL, NULL), RC_OK);
    (void)close(fds[1]);
    char got[64] = "";
    assert_int_equal(read(fds[0], got, sizeof got), 17);
    assert_string_equal(got, "500 3       \nbye\n");
    (void)close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),      cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_incomplete),  cmocka_unit_test(test_here_document),
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_answers),
        cmocka_unit_test(test_json_string), cmocka_unit_test(test_table),
        cmocka_unit_test(test_serve),       cmocka_unit_test(test_serve_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
