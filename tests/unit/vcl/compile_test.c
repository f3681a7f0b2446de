/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What compiles, what does not, and what is said about it; and that whatever compiles runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "vcl/vcl.h"

#define BACKEND "backend b { .host = \"127.0.0.1\"; }\n"

static enum rc compile(const char *text, struct vcl_program **prog, char **messages)
{
    static const char *const stores[] = {"s0", NULL};
    static const char *const labels[] = {"other", NULL};
    const struct vcl_conf conf = {.unsafe_path = true, .stores = stores, .labels = labels};
    struct str str = str_of(text);
    return vcl_compile(&conf, "<vcl.inline>", &str, prog, messages);
}

static void good_text_compiles(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "vcl 4.0; " BACKEND,
        "vcl 4.1; backend default none;",
        "vcl 4.1; " BACKEND
        "sub vcl_recv { if (req.url ~ \"^/a\" + \"b\" && !req.http.x) { return (pass); } "
        "elseif (req.restarts > 2 || req.http.y == \"z\") { return (synth(404)); } else { } }",
        "vcl 4.1; " BACKEND
        "sub vcl_backend_response { set beresp.ttl = 1h + 5m * 2; set beresp.grace *= 1.5; }",
        "vcl 4.1; " BACKEND
        "sub vcl_deliver { set resp.http.a = \"n \" + now + 5 + true + client.ip + 1.5s; "
        "set resp.http.a += {\"long \" string\"}; unset resp.http.b; }",
        "vcl 4.1; " BACKEND "acl mine +log { \"10.0.0.0\"/8; ! \"10.1.0.0\"/16; \"::1\"; } "
        "sub vcl_recv { if (client.ip ~ mine) { return (hash); } }",
        "vcl 4.1; " BACKEND
        "probe p { .url = \"/\"; .interval = 1s; .window = 8; .threshold = 3; } "
        "backend c { .host = \"::1\"; .port = \"8080\"; .probe = p; .max_connections = 5; } "
        "sub vcl_recv { set req.backend_hint = c; }",
        "vcl 4.1; " BACKEND "sub mine { if (req.url) { return; } set req.http.x = \"1\"; } "
        "sub vcl_recv { call mine; call mine; } sub vcl_recv { return (vcl(other)); }",
        "vcl 4.1; " BACKEND "sub vcl_backend_response { set beresp.storage = storage.s0; "
        "if (storage.s0.free_space > 1MB) { return (pass(10s)); } }",
        "vcl 4.1; " BACKEND
        "sub vcl_recv { set req.http.\"quoted.name\" = regsuball(req.url, \"a\", \"\\0\"); }",
        "vcl 4.1; import std; " BACKEND "sub vcl_recv { std.log(\"x\" + std.tolower(req.url)); }",
        "vcl 4.1; " BACKEND "sub vcl_backend_response { add_vfp(esi); add_vfp(gzip, STEVEDORE); "
        "if (beresp.ttl > 1s) { add_vfp(brotli, FRONT); } remove_vfp(testgunzip); } "
        "sub vcl_deliver { add_vdp(gunzip); add_vdp(brotli, OBJECT); remove_vdp(range); } "
        "sub vcl_synth { add_vdp(gzip, CLIENT); }",
        "vcl 4.1; import directors; " BACKEND
        "sub vcl_init { new d = directors.round_robin(); d.add_backend(b); } "
        "sub vcl_recv { set req.backend_hint = d.backend(); }",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct vcl_program *prog = NULL;
        char *messages = NULL;
        enum rc rc = compile(texts[i], &prog, &messages);
        assert_string_equal(messages, "");
        assert_int_equal(rc, RC_OK);
        vcl_program_release(&prog);
        assert_null(prog);
        free(messages);
    }
}

static void bad_text_is_explained(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"sub vcl_recv { }", "VCL version declaration missing"},
        {"vcl 4.2;", "VCL version 4.2 not supported."},
        {"vcl 4.1; ", "No backends or directors found in VCL program"},
        {"vcl 4.1; " BACKEND "frob", "Expected one of\n\t'acl', 'sub', 'backend', 'probe', "
                                     "'import',  or 'vcl'\nFound: 'frob' at"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { frob; }", "Symbol not found: 'frob'"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { 5; }", "Expected an action, 'if', '{' or '}'"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { set req.frob = 5; }", "Symbol not found: 'req.frob'"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { set beresp.ttl = 5s; }",
         "Cannot be set in subroutine 'vcl_recv'."},
        {"vcl 4.1; " BACKEND "sub vcl_recv { set req.restarts = 5; }", "Variable is read only."},
        {"vcl 4.1; " BACKEND "sub vcl_recv { return (deliver); }", "Invalid return \"deliver\""},
        {"vcl 4.1; " BACKEND "sub vcl_recv { return (synth); }", "Missing argument."},
        {"vcl 4.1; " BACKEND "sub vcl_recv { if (req.url ~ \"(\") { } }",
         "Regexp compilation error:"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { if (req.restarts == \"1\") { } }",
         "Comparison of different types: INT '==' STRING"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { set req.ttl = 5s + 1; }",
         "DURATION + INT not possible."},
        {"vcl 4.1; " BACKEND "sub vcl_recv { set req.ttl = 5k; }", "Unknown duration unit 'k'"},
        {"vcl 4.1; " BACKEND "sub a { call c; } sub c { call a; } sub vcl_recv { call a; }",
         "Subroutine recurses on"},
        {"vcl 4.1; " BACKEND "sub a { }", "Unused sub a, defined:"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { call a; }", "Undefined sub a, first reference:"},
        {"vcl 4.1; " BACKEND BACKEND, "Backend 'b' redefined."},
        {"vcl 4.1; " BACKEND "sub vcl_frob { }", "The names 'vcl_*' are reserved for subroutines."},
        {"vcl 4.1; " BACKEND "C{ int a; }C", "Inline-C not allowed"},
        {"vcl 4.1; backend b { .host = \"127.0.0.1\"; .frob = 5; }", "Unknown field: 'frob'"},
        {"vcl 4.1; backend b { .port = \"80\"; }", "Expected .host or .path."},
        {"vcl 4.1; " BACKEND "sub vcl_recv { set req.http.a = \"b; }",
         "Unterminated string, starting at"},
        {"vcl 4.1; " BACKEND "/* ", "Unterminated /* ... */ comment, starting at"},
        {"vcl 4.1; " BACKEND "acl a { \"10.0.0.1\"/8; } sub vcl_recv { if (client.ip ~ a) { } }",
         "Non-zero bits in masked part"},
        {"vcl 4.1; import frob; " BACKEND, "Could not find VMOD frob"},
        {"vcl 4.1; " BACKEND "sub vcl_recv { add_vfp(esi); }",
         "Not a valid action in subroutine 'vcl_recv'."},
        {"vcl 4.1; " BACKEND "sub vcl_deliver { add_vfp(esi); }",
         "Not a valid action in subroutine 'vcl_deliver'."},
        {"vcl 4.1; " BACKEND "sub vcl_backend_response { remove_vdp(esi); }",
         "Not a valid action in subroutine 'vcl_backend_response'."},
        {"vcl 4.1; " BACKEND "sub vcl_backend_response { add_vfp(frob); }",
         "Unknown VFP 'frob'.  Expected a filter of a module, or one of:\n\tgunzip\n"},
        {"vcl 4.1; " BACKEND "sub vcl_backend_response { add_vfp(range); }",
         "Unknown VFP 'range'."},
        {"vcl 4.1; " BACKEND "sub vcl_backend_response { add_vfp(esi, CLIENT); }",
         "Unknown position.  Expected one of:\n\tDEFAULT\n\tFRONT\n\tMIDDLE\n\tLAST\n\tFETCH\n"
         "\tSTEVEDORE\n"},
        {"vcl 4.1; " BACKEND "sub vcl_backend_response { remove_vfp(esi, FRONT); }",
         "Expected ')' got ','"},
        {"vcl 4.1; " BACKEND "sub vcl_backend_response { add_vfp(\"esi\"); }", "VFP"},
        {"vcl 4.1; import std; " BACKEND "sub vcl_backend_response { add_vfp(std.random(1, 2)); }",
         "VFP"},
        {"vcl 4.1; " BACKEND "sub vcl_backend_response { add_vfp(); }",
         "Unknown token ')' when looking for VFP"},
        {"vcl 4.0; " BACKEND "sub vcl_recv { set req.http.x = sess.xid; }",
         "(Only available when 4.1 <= VCL syntax)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vcl_program *prog = NULL;
        char *messages = NULL;
        assert_int_equal(compile(rows[i][0], &prog, &messages), RC_INVALID);
        if (strstr(messages, rows[i][1]) == NULL) {
            fail_msg("%s\nsays: %s\nand not: %s", rows[i][0], messages, rows[i][1]);
        }
        assert_null(prog);
        free(messages);
    }
}

/* The place of an error stands below it, tabs and all. */
static void marks_stand_below(void **state)
{
    (void)state;
    struct vcl_program *prog = NULL;
    char *messages = NULL;
    assert_int_equal(compile("vcl 4.1;\n" BACKEND "sub vcl_recv {\n\tset req.http.a = frob;\n}\n",
                             &prog, &messages),
                     RC_INVALID);
    assert_string_equal(messages, "Symbol not found: 'frob'\n"
                                  "At: ('<vcl.inline>' Line 4 Pos 26) -- (Pos 29)\n"
                                  "        set req.http.a = frob;\n"
                                  "-------------------------####-\n\n");
    free(messages);
}

/* Depth has a limit, and so has what a chain of subs costs. */
static void depth_is_bounded(void **state)
{
    (void)state;
    size_t depth = 20000;
    char *text = xmalloc(depth * 2 + 200);
    struct sb sb = sb_of(text, depth * 2 + 200);
    sb_lit(&sb, "vcl 4.1; " BACKEND "sub vcl_recv { if (");
    for (size_t i = 0; i < depth; i++) {
        sb_chr(&sb, '(');
    }
    sb_chr(&sb, '\0');
    struct vcl_program *prog = NULL;
    char *messages = NULL;
    assert_int_equal(compile(text, &prog, &messages), RC_INVALID);
    assert_non_null(strstr(messages, "Nested too deeply."));
    free(messages);
    free(text);

    /* 2^60 ways through sixty subs. */
    text = xmalloc(16384);
    sb = sb_of(text, 16384);
    sb_lit(&sb, "vcl 4.1; " BACKEND "sub s0 { } ");
    for (unsigned i = 1; i < 60; i++) {
        sb_printf(&sb, "sub s%u { call s%u; call s%u; } ", i, i - 1, i - 1);
    }
    sb_lit(&sb, "sub vcl_recv { call s59; }");
    sb_chr(&sb, '\0');
    assert_false(sb.overflow);
    assert_int_equal(compile(text, &prog, &messages), RC_OK);
    vcl_program_release(&prog);
    free(messages);
    free(text);
}

/* Whatever is cut off or changed, the compiler answers. */
static void broken_text_breaks_nothing(void **state)
{
    (void)state;
    const char *good = vcl_builtin();
    size_t len = strlen(good);
    char *text = xmalloc(len + 64);
    struct rng rng = {.state = 11};
    for (unsigned i = 0; i < 400; i++) {
        struct sb sb = sb_of(text, len + 64);
        sb_lit(&sb, "vcl 4.1; " BACKEND);
        sb_add(&sb, good, len);
        sb_chr(&sb, '\0');
        size_t at = rng_below(&rng, len);
        if (i % 2 == 0) {
            text[at] = '\0';
        } else {
            text[at] = "{}();\"!=.~"[rng_below(&rng, 10)];
        }
        struct vcl_program *prog = NULL;
        char *messages = NULL;
        enum rc rc = compile(text, &prog, &messages);
        assert_true((rc == RC_OK) == (prog != NULL));
        assert_true(rc == RC_OK || messages[0] != '\0');
        vcl_program_release(&prog);
        free(messages);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_text_compiles),         cmocka_unit_test(bad_text_is_explained),
        cmocka_unit_test(marks_stand_below),          cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(broken_text_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
