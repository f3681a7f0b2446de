/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What scripts read: the columns, the JSON, the words of backend.list and backend.set_health. */
#include "rig.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "worker/worker_priv.h"

struct bench {
    struct rig rig;
    struct worker_conf conf;
    struct worker worker;
    struct backend *probed;
    struct backend *plain;
    struct backend *other;
};

/* Two backends in the policy in use, one in another; the probed one presumes a good probe of two.
 */
static void open_bench(struct bench *b)
{
    rig_open(&b->rig, 1);
    b->conf = (struct worker_conf){};
    b->worker = (struct worker){.conf = &b->conf, .vcl_name = "boot", .backends = b->rig.set};
    static const struct probe_spec probe = {
        .window = 5, .threshold = 2, .initial = PROBE_INITIAL_DEFAULT};
    struct backend_spec spec = rig_spec(&b->rig);
    spec.name = "default";
    spec.probe = &probe;
    assert_int_equal(backend_new(b->rig.set, &spec, &b->probed), RC_OK);
    spec.probe = NULL;
    spec.name = "other";
    assert_int_equal(backend_new(b->rig.set, &spec, &b->plain), RC_OK);
    spec.vcl = "former";
    assert_int_equal(backend_new(b->rig.set, &spec, &b->other), RC_OK);
}

static void close_bench(struct bench *b)
{
    backend_release(&b->probed);
    backend_release(&b->plain);
    backend_release(&b->other);
    rig_close(&b->rig);
}

/* The status; the answer is in *text, which ends with a NUL. */
static unsigned ask(struct bench *b, const char *line, struct cli_text *text)
{
    struct cli_request req;
    size_t used = 0;
    const char *why = NULL;
    char wire[128];
    int len = snprintf(wire, sizeof wire, "%s\n", line);
    struct str in = {wire, (size_t)len};
    assert_int_equal(cli_request_parse(in, &req, &used, &why), RC_OK);
    const struct cli_cmd *cmd = cli_find(worker_commands, req.argv[0]);
    assert_non_null(cmd);
    unsigned status = CLI_OK;
    cli_text_clear(text);
    cli_run(cmd, &req, text, &status, &b->worker);
    cli_text_add(text, (struct str){"", 1});
    cli_request_free(&req);
    return status;
}

static void assert_answer(struct bench *b, const char *line, unsigned status, const char *pattern)
{
    struct cli_text text = {0};
    assert_int_equal(ask(b, line, &text), status);
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&re, text.ptr, 0, NULL, 0) != 0) {
        fail_msg("%s: got <%s>", line, text.ptr);
    }
    regfree(&re);
    cli_text_free(&text);
}

#define DATE "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
#define MAP "-----------------------------------------------------------"

static void the_columns_are_those_that_scripts_know(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b);
    assert_answer(&b, "backend.list", CLI_OK,
                  "^Backend name   Admin      Probe    Health     Last change\n"
                  "boot.default   probe      1/5      sick       " DATE "\n"
                  "boot.other     healthy    0/0      healthy    " DATE "\n$");
    assert_answer(&b, "backend.list *.*", CLI_OK, "former.other   healthy    0/0");
    assert_answer(&b, "backend.list def*", CLI_OK, "change\nboot.default .*GMT\n$");
    assert_answer(&b, "backend.list former.nobody", CLI_OK, "^Backend name .*Last change\n$");
    assert_answer(&b, "backend.list -p", CLI_OK,
                  "boot.default   probe      1/5      sick       " DATE "\n"
                  " Current states  good:  1 threshold:  2 window:  5\n"
                  "  Average response time of good probes: 0.000000\n"
                  "  Oldest ================================================== Newest\n"
                  "  " MAP "----H Happy\n"
                  "\n"
                  "boot.other     healthy    0/0      healthy    " DATE "\n$");
    close_bench(&b);
}

static void the_json_is_that_which_scripts_know(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b);
    assert_answer(&b, "backend.list -j", CLI_OK,
                  "^\\[ 3, \\[\"backend.list\", \"-j\"\\], [0-9.]+,\n"
                  "  \\{\n"
                  "    \"boot.default\": \\{\n"
                  "      \"type\": \"backend\",\n"
                  "      \"admin_health\": \"probe\",\n"
                  "      \"probe_message\": \\[1, 5, \"sick\"\\],\n"
                  "      \"last_change\": [0-9]+\\.[0-9]{3}\n"
                  "    \\},\n"
                  "    \"boot.other\": \\{\n"
                  "      \"type\": \"backend\",\n"
                  "      \"admin_health\": \"healthy\",\n"
                  "      \"probe_message\": \\[0, 0, \"healthy\"\\],\n"
                  "      \"last_change\": [0-9]+\\.[0-9]{3}\n"
                  "    \\}\n"
                  "  \\}\n"
                  "\\]\n$");
    assert_answer(&b, "backend.list -pj", CLI_OK,
                  "      \"probe_details\": \\{\n"
                  "        \"bits_4\": 0,\n"
                  "        \"bits_6\": 0,\n"
                  "        \"bits_U\": 0,\n"
                  "        \"bits_x\": 0,\n"
                  "        \"bits_X\": 0,\n"
                  "        \"bits_r\": 0,\n"
                  "        \"bits_R\": 0,\n"
                  "        \"bits_H\": 1,\n"
                  "        \"good\": 1,\n"
                  "        \"threshold\": 2,\n"
                  "        \"window\": 5\n"
                  "      \\},\n"
                  "      \"last_change\": .*"
                  "      \"probe_details\": \\{\\},\n");
    assert_answer(&b, "backend.list -j nobody", CLI_OK, ",\n  \\{\n\n  \\}\n\\]\n$");
    close_bench(&b);
}

static void health_is_what_the_operator_says(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b);
    assert_answer(&b, "backend.set_health default healthy", CLI_OK, "^$");
    assert_true(backend_is_healthy(b.probed, NULL));
    assert_answer(&b, "backend.list default", CLI_OK, "boot.default   healthy    1/5      sick ");
    assert_answer(&b, "backend.set_health *.other sick", CLI_OK, "^$");
    assert_false(backend_is_healthy(b.plain, NULL));
    assert_false(backend_is_healthy(b.other, NULL));
    assert_answer(&b, "backend.list other", CLI_OK, "boot.other +sick +0/0 +healthy ");
    assert_answer(&b, "backend.set_health * Auto", CLI_OK, "^$");
    assert_false(backend_is_healthy(b.probed, NULL));
    assert_true(backend_is_healthy(b.plain, NULL));
    assert_false(backend_is_healthy(b.other, NULL));
    close_bench(&b);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b);
    assert_answer(&b, "backend.list -x", CLI_PARAM, "^Invalid flag x");
    assert_answer(&b, "backend.list a b", CLI_PARAM, "^Too many arguments");
    assert_answer(&b, "backend.set_health nobody sick", CLI_PARAM, "^No Backends matches");
    assert_answer(&b, "backend.set_health default ill", CLI_PARAM, "^Invalid state ill");
    assert_answer(&b, "backend.set_health default", CLI_TOO_FEW, "");
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_columns_are_those_that_scripts_know),
        cmocka_unit_test(the_json_is_that_which_scripts_know),
        cmocka_unit_test(health_is_what_the_operator_says),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
