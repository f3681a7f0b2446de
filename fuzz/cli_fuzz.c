/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Requests and answers of the command line interface, from whoever reaches the port.  A request
 * that was understood, quoted again, means the same; so does an answer. */
#include "fuzz.h"

#include "base/check.h"
#include "mgt/args.h"
#include "mgt/pack.h"
#include "mgt/param_text.h"

static void check_same(const struct cli_request *req)
{
    struct cli_text line = {0};
    struct cli_request back;
    size_t used;
    const char *why = NULL;
    cli_request_put(&line, req);
    enum rc rc = cli_request_parse(cli_text_str(&line), &back, &used, &why);
    CHECK(rc == RC_OK);
    CHECK(used == line.len);
    CHECK(back.argc == req->argc);
    for (unsigned i = 0; i < req->argc; i++) {
        CHECK(str_eq(back.argv[i], req->argv[i]));
        CHECK(req->argv[i].ptr[req->argv[i].len] == '\0');
    }
    cli_request_free(&back);
    cli_text_free(&line);
}

/* What the manager reads from words. */
static void read_words(const struct cli_request *req)
{
    struct cli_text why = {0};
    uint64_t words[PARAM_BITS_WORDS] = {0};
    struct listen_spec spec;
    struct backend_conf backend;
    struct str word = req->argv[req->argc - 1];
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        uint64_t value;
        const struct param_desc *desc = param_desc((enum param_id)i);
        if (param_parse(desc, word, &value, &why) == RC_OK) {
            CHECK(value >= desc->min);
            CHECK(value <= desc->max);
        }
    }
    for (unsigned i = 0; i < PARAM_BITS__COUNT; i++) {
        if (param_bits_parse((enum param_bits_id)i, word, words, &why) != RC_OK) {
            CHECK(why.len > 0);
        }
    }
    if (listen_spec_parse(&spec, word.ptr, 0, &why) == RC_OK) {
        CHECK(spec.is_unix == (spec.host[0] == '/'));
    }
    if (backend_conf_parse(&backend, word.ptr, &why) == RC_OK) {
        CHECK(backend.is_none || backend.host[0] != '\0');
    }
    cli_text_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    while (in.len > 0) {
        struct cli_request req;
        size_t used;
        const char *why = NULL;
        enum rc rc = cli_request_parse(in, &req, &used, &why);
        if (rc == RC_AGAIN || rc == RC_TOO_LONG) {
            break;
        }
        CHECK(used > 0);
        CHECK(used <= in.len);
        if (rc == RC_OK) {
            CHECK(req.argc > 0);
            check_same(&req);
            read_words(&req);
            cli_request_free(&req);
        } else {
            CHECK(rc == RC_EOF || why != NULL);
        }
        in.ptr += used;
        in.len -= used;
    }
    struct str text;
    struct str word;
    struct cli_text pack = {0};
    in = (struct str){(const char *)data, size};
    while (pack_next(&in, &word, &text) == RC_OK) {
        CHECK(word.len > 0);
        CHECK(text.ptr + text.len < (const char *)data + size);
    }
    pack_put(&pack, "text", (struct str){(const char *)data, size});
    in = cli_text_str(&pack);
    CHECK(pack_next(&in, &word, &text) == RC_OK);
    CHECK(str_eq(text, (struct str){(const char *)data, size}));
    cli_text_free(&pack);
    unsigned status;
    size_t used;
    in = (struct str){(const char *)data, size};
    if (cli_answer_parse(in, &status, &text, &used) == RC_OK && status >= 100) {
        struct cli_text out = {0};
        cli_answer_put(&out, status, text, SIZE_MAX);
        CHECK(out.len == used);
        cli_text_free(&out);
    }
    return 0;
}
