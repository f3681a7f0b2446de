/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* memcached's protocols: what is understood, what is refused and how the connection goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "mc/mc.h"

/* However few bytes come at a time, nothing is decided before all is there, and it is the same. */
static enum rc parse(struct str in, struct mc_request *req)
{
    struct mc_reader reader = {0};
    enum rc rc = RC_AGAIN;
    size_t len = 0;
    for (; len <= in.len && rc == RC_AGAIN; len++) {
        rc = mc_parse(&reader, in.ptr, len, req);
    }
    struct mc_reader fresh = {0};
    struct mc_request *whole = xmalloc(sizeof *whole);
    assert_int_equal(mc_parse(&fresh, in.ptr, in.len, whole), rc);
    assert_int_equal(whole->consumed, req->consumed);
    assert_int_equal(whole->op, req->op);
    assert_int_equal(whole->after, req->after);
    assert_true(whole->error == req->error);
    free(whole);
    return rc;
}

/* "op key flags exptime bytes cas quiet", or the error. */
static const char *told(struct str in)
{
    static const char *const ops[] = {
#define MC_OP(name) #name,
#include "mc/ops.def"
#undef MC_OP
    };
    static char out[512];
    static struct mc_request req;
    enum rc rc = parse(in, &req);
    if (rc != RC_OK) {
        (void)snprintf(out, sizeof out, "%s", rc_text(rc));
        return out;
    }
    static const char *const after[] = {"", " swallow", " close"};
    if (req.error != NULL) {
        (void)snprintf(out, sizeof out, "%s%s%s", req.dialect == MC_BINARY ? "status" : req.error,
                       after[req.after], req.is_quiet ? " quiet" : "");
        return out;
    }
    int n = snprintf(out, sizeof out, "%s", ops[req.op]);
    if (req.key.len > 0) {
        n += snprintf(out + n, sizeof out - (size_t)n, " %.*s", STR_ARG(req.key));
    }
    if (req.rest.len > 0 && req.dialect != MC_BINARY) {
        n += snprintf(out + n, sizeof out - (size_t)n, " rest=%.*s", STR_ARG(req.rest));
    }
    if (req.has_value) {
        n += snprintf(out + n, sizeof out - (size_t)n, " f%u n%llu", req.client_flags,
                      (unsigned long long)req.value_bytes);
    }
    if (req.exptime != MC_TIME_NONE) {
        n += snprintf(out + n, sizeof out - (size_t)n, " t%lld", (long long)req.exptime);
    }
    if (req.has_cas) {
        n += snprintf(out + n, sizeof out - (size_t)n, " c%llu", (unsigned long long)req.cas);
    }
    if (req.op == MC_OP_INCR || req.op == MC_OP_DECR) {
        n += snprintf(out + n, sizeof out - (size_t)n, " d%llu", (unsigned long long)req.delta);
    }
    (void)snprintf(out + n, sizeof out - (size_t)n, "%s", req.is_quiet ? " quiet" : "");
    return out;
}

#define BAD "CLIENT_ERROR bad command line format"

struct line {
    const char *in;
    const char *out;
};

static void assert_lines(const struct line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char buf[512];
        (void)snprintf(buf, sizeof buf, "%s\r\n", lines[i].in);
        assert_string_equal(told(str_of(buf)), lines[i].out);
        /* A bare line feed ends a line as well. */
        (void)snprintf(buf, sizeof buf, "%s\n", lines[i].in);
        assert_string_equal(told(str_of(buf)), lines[i].out);
    }
}

static void text_commands(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"get a", "GET rest= a"},
        {"  get  a   b ", "GET rest=  a   b "},
        {"gets a", "GET rest= a"},
        {"gat 10 a b", "GET rest= a b t10"},
        {"gat x a", "CLIENT_ERROR invalid exptime argument"},
        {"get", "ERROR"},
        {"gat 10", "GET t10"},
        {"set k 1 2 3", "SET k f1 n3 t2"},
        {"set k 4294967295 -1 0 noreply", "SET k f4294967295 n0 t-1 quiet"},
        {"add k 1 2 3 nothing", "ADD k f1 n3 t2"},
        {"replace k 0 0 1", "REPLACE k f0 n1 t0"},
        {"append k 0 0 1", "APPEND k f0 n1 t0"},
        {"prepend k 0 0 1", "PREPEND k f0 n1 t0"},
        {"cas k 0 0 1 18446744073709551615", "SET k f0 n1 t0 c18446744073709551615"},
        {"cas k 0 0 1 0 noreply", "SET k f0 n1 t0 c0 quiet"},
        {"delete k", "DELETE k"},
        {"delete k 0", "DELETE k"},
        {"delete k noreply", "DELETE k quiet"},
        {"delete k 0 noreply", "DELETE k quiet"},
        {"delete k 1", BAD ".  Usage: delete <key> [noreply]"},
        {"delete k 1 noreply", BAD ".  Usage: delete <key> [noreply] quiet"},
        {"incr k 1", "INCR k d1"},
        {"decr k 18446744073709551615 noreply", "DECR k d18446744073709551615 quiet"},
        {"incr k -1", "CLIENT_ERROR invalid numeric delta argument"},
        {"incr k 18446744073709551616", "CLIENT_ERROR invalid numeric delta argument"},
        {"touch k 0", "TOUCH k t0"},
        {"touch k x", "CLIENT_ERROR invalid exptime argument"},
        {"flush_all", "FLUSH t0"},
        {"flush_all 10 noreply", "FLUSH t10 quiet"},
        {"flush_all noreply", "FLUSH t0 quiet"},
        {"flush_all x", "CLIENT_ERROR invalid exptime argument"},
        {"flush_all 1 2 3", "ERROR"},
        {"stats", "STATS"},
        {"stats detail on", "STATS rest= detail on"},
        {"version", "VERSION"},
        {"verbosity 1", "VERBOSITY"},
        {"verbosity", "ERROR"},
        {"verbosity x", BAD},
        {"quit", "QUIT"},
        {"", "ERROR"},
        {"nonsense", "ERROR"},
        {"Get a", "ERROR"},
        {"GET / HTTP/1.1", "malformed"},
        {"POST /x HTTP/1.0", "malformed"},
    };
    assert_lines(lines, ARRAY_SIZE(lines));
}

static void what_a_store_command_may_not_be(void **state)
{
    (void)state;
    static const struct line lines[] = {
        /* Without a length nobody knows what comes next. */
        {"set k 0 0", "ERROR close"},
        {"set", "ERROR close"},
        {"set k 0 0 1 2 3", "ERROR close"},
        {"cas k 0 0 1", "ERROR close"},
        {"set k 0 0 -1", BAD " close"},
        {"set k 0 0 -0", BAD " close"},
        {"set k 0 0 +1", BAD " close"},
        {"set k 0 0 0x10", BAD " close"},
        {"set k 0 0 1k", BAD " close"},
        {"set k 0 0 18446744073709551616", BAD " close"},
        {"set k 0 0 18446744073709551615", BAD " close"},
        {"set k 0 0 noreply", BAD " close quiet"},
        /* With one, the data goes with its command. */
        {"set k x 0 1", BAD " swallow"},
        {"set k -1 0 1", BAD " swallow"},
        {"set k 4294967296 0 1", BAD " swallow"},
        {"set k 0 x 1", BAD " swallow"},
        {"set k 0 99999999999999999999 1", BAD " swallow"},
        {"cas k 0 0 1 x", BAD " swallow"},
        {"set k\tx 0 0 1", BAD " swallow"},
        {"set k\x7f 0 0 1 noreply", BAD " swallow quiet"},
        {"ms k", BAD " close"},
        {"ms k x", BAD " close"},
        {"ms k -1", BAD " close"},
        {"ms", "ERROR close"},
        {"ms k 1 !", "CLIENT_ERROR invalid flag swallow"},
        {"ms k 1 MX", "CLIENT_ERROR invalid mode for ms M token swallow"},
        {"ms k 1 q FX", BAD " swallow quiet"},
    };
    assert_lines(lines, ARRAY_SIZE(lines));
}

static void meta_commands(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"mg k", "GET k"},
        {"mg k v T30 q", "GET k t30 quiet"},
        {"mg", "ERROR"},
        {"mg k vv", "GET k"},
        {"mg k v v", "CLIENT_ERROR duplicate flag"},
        {"mg k !", "CLIENT_ERROR invalid flag"},
        {"mg k N", "CLIENT_ERROR bad token in command line format"},
        {"mg k R1x", "CLIENT_ERROR bad token in command line format"},
        {"mg k O1234567890123456789012345678901", "GET k"},
        {"mg k O12345678901234567890123456789012", "CLIENT_ERROR opaque token too long"},
        {"mg Zm9v b", "GET foo"},
        {"mg Zm9vYg== b", "GET foob"},
        {"mg Zm9vYmE= b k", "GET fooba"},
        {"mg Zm9vYh== b", "CLIENT_ERROR error decoding key"},
        {"mg Zm9 b", "CLIENT_ERROR error decoding key"},
        {"mg Zm9- b", "CLIENT_ERROR error decoding key"},
        {"mg ==== b", "CLIENT_ERROR error decoding key"},
        {"ms k 5", "SET k f0 n5 t0"},
        {"ms k 5 F7 T60 ME C9 q", "ADD k f7 n5 t60 c9 quiet"},
        {"ms k 0 MA", "APPEND k f0 n0 t0"},
        {"ms k 0 Mp", "PREPEND k f0 n0 t0"},
        {"ms k 0 MR", "REPLACE k f0 n0 t0"},
        {"ms k 0 MS", "SET k f0 n0 t0"},
        {"md k I T5 q", "DELETE k t5 quiet"},
        {"md k C5", "DELETE k c5"},
        {"md k z", "CLIENT_ERROR invalid or duplicate flag"},
        {"ma k", "INCR k d1"},
        {"ma k D5 M- J3 N60 v", "DECR k d5"},
        {"ma k Dx", "CLIENT_ERROR invalid or duplicate flag"},
        {"ma k MQ", "CLIENT_ERROR invalid mode for ma M token"},
        {"mn", "NOOP"},
        {"me k", "DEBUG k"},
        {"me Zm9v b", "DEBUG foo"},
        {"mx k", "ERROR"},
    };
    assert_lines(lines, ARRAY_SIZE(lines));
}

/* Every command of the table, one argument short, at both ends, and one over. */
static void arity_is_as_the_table_says(void **state)
{
    (void)state;
    for (unsigned i = 0; i < mc_commands_count; i++) {
        const struct mc_command *cmd = &mc_commands[i];
        uint32_t most = cmd->args_max == MC_ANY ? cmd->args_min + 3 : cmd->args_max;
        for (uint32_t args = 0; args <= most + 1; args++) {
            char line[256];
            struct sb sb = sb_of(line, sizeof line);
            sb_put(&sb, cmd->name);
            for (uint32_t a = 0; a < args; a++) {
                /* Good for a key, a number and a flag at once, but for repeated flags. */
                sb_lit(&sb, " 0");
            }
            sb_lit(&sb, "\r\n");
            struct mc_request req;
            assert_int_equal(parse(sb_str(&sb), &req), RC_OK);
            bool fits = args >= cmd->args_min && (args <= cmd->args_max);
            if (!fits) {
                assert_non_null(req.error);
                bool is_ms = req.op == MC_OP_SET && req.dialect == MC_META && args == 1;
                assert_string_equal(req.error, is_ms ? BAD : "ERROR");
                assert_int_equal(req.after == MC_CLOSE, (cmd->flags & MC_F_DATA) != 0);
            } else if (req.error != NULL) {
                assert_string_not_equal(req.error, "ERROR");
            }
            assert_string_equal(req.name, cmd->name.ptr);
        }
    }
}

static void keys_have_a_limit(void **state)
{
    (void)state;
    char line[12000];
    static const struct {
        const char *prefix;
        size_t len;
        bool is_good;
    } keys[] = {
        {"k", 250, true},           {"k", 251, false},    {"http://h/", 8192, true},
        {"http://h/", 8193, false}, {"//h/", 8192, true}, {"HTTPS://h/", 300, false},
        {"http:/h/", 300, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        static const struct {
            const char *before, *after;
            enum mc_after how;
        } commands[] = {
            {"get a ", " b\r\n", MC_GO_ON},  {"set ", " 0 0 5\r\n", MC_SWALLOW},
            {"delete ", "\r\n", MC_GO_ON},   {"mg ", " v\r\n", MC_GO_ON},
            {"ms ", " 5 q\r\n", MC_SWALLOW},
        };
        for (size_t c = 0; c < ARRAY_SIZE(commands); c++) {
            struct sb sb = sb_of(line, sizeof line);
            sb_put(&sb, str_of(commands[c].before));
            size_t at = sb.len;
            sb_put(&sb, str_of(keys[i].prefix));
            while (sb.len < at + keys[i].len) {
                sb_chr(&sb, 'x');
            }
            sb_put(&sb, str_of(commands[c].after));
            struct mc_reader reader = {0};
            struct mc_request req;
            assert_int_equal(mc_parse(&reader, line, sb.len, &req), RC_OK);
            assert_int_equal(req.error == NULL, keys[i].is_good);
            if (!keys[i].is_good) {
                assert_string_equal(req.error, BAD);
                assert_int_equal(req.after, commands[c].how);
            }
        }
    }
}

static void a_long_get_comes_in_parts(void **state)
{
    (void)state;
    enum { KEYS = 4000 };
    char *line = xmalloc(KEYS * 20 + 10);
    struct sb sb = sb_of(line, KEYS * 20 + 10);
    sb_lit(&sb, "gats 7");
    for (unsigned i = 0; i < KEYS; i++) {
        sb_printf(&sb, " key-%u", i);
    }
    sb_lit(&sb, "\r\nmn\r\n");
    struct mc_reader reader = {0};
    struct mc_request req;
    size_t at = 0;
    unsigned next = 0, parts = 0;
    do {
        size_t left = sb.len - at;
        assert_int_equal(
            mc_parse(&reader, line + at, left < MC_LINE_MAX ? left : MC_LINE_MAX, &req), RC_OK);
        assert_null(req.error);
        assert_int_equal(req.op, MC_OP_GET);
        assert_int_equal(req.exptime, 7);
        assert_true(req.wants_cas);
        struct str rest = req.rest, key;
        while (mc_next_key(&rest, &key)) {
            char want[20];
            (void)snprintf(want, sizeof want, "key-%u", next++);
            assert_true(str_eq(key, str_of(want)));
        }
        at += req.consumed;
        parts++;
    } while (req.is_part);
    assert_int_equal(next, KEYS);
    assert_true(parts > 2);
    assert_int_equal(mc_parse(&reader, line + at, sb.len - at, &req), RC_OK);
    assert_int_equal(req.op, MC_OP_NOOP);
    free(line);
}

static void a_line_without_end_is_refused(void **state)
{
    (void)state;
    char *line = xmalloc(MC_LINE_MAX);
    static const char *const begins[] = {"", "set ", "get", "get ", "mg ", "delete k "};
    for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
        memset(line, 'x', MC_LINE_MAX);
        memcpy(line, begins[i], strlen(begins[i]));
        struct mc_reader reader = {0};
        struct mc_request req;
        assert_int_equal(mc_parse(&reader, line, MC_LINE_MAX - 1, &req), RC_AGAIN);
        assert_int_equal(mc_parse(&reader, line, MC_LINE_MAX, &req), RC_TOO_LONG);
    }
    free(line);
}

/* ---- binary ---- */

struct packet {
    uint8_t opcode;
    uint16_t key_len;
    uint8_t extras_len;
    uint32_t body_len;
    uint64_t cas;
    struct str rest;
};

static struct str packed(const struct packet *p)
{
    static char buf[9000];
    struct sb sb = sb_of(buf, sizeof buf);
    sb_chr(&sb, (char)0x80);
    sb_chr(&sb, (char)p->opcode);
    sb_chr(&sb, (char)(p->key_len >> 8));
    sb_chr(&sb, (char)p->key_len);
    sb_chr(&sb, (char)p->extras_len);
    sb_add(&sb, "\0\0\0", 3);
    mc_put_u32be(&sb, p->body_len);
    sb_lit(&sb, "opaq");
    mc_put_u64be(&sb, p->cas);
    sb_put(&sb, p->rest);
    assert_false(sb.overflow);
    return sb_str(&sb);
}

static void binary_requests(void **state)
{
    (void)state;
    static const struct {
        struct packet p;
        const char *out;
    } good[] = {
        {{0x00, 3, 0, 3, 0, STR_INIT("abc")}, "GET abc"},
        {{0x09, 3, 0, 3, 0, STR_INIT("abc")}, "GET abc quiet"},
        {{0x01, 3, 8, 16, 0,
          STR_INIT("\0\0\0\5\0\0\0\x0a"
                   "abc")},
         "SET abc f5 n5 t10"},
        {{0x11, 3, 8, 11, 9,
          STR_INIT("\0\0\0\5\xff\xff\xff\xff"
                   "abc")},
         "SET abc f5 n0 t-1 c9 quiet"},
        {{0x05, 1, 20, 21, 0, STR_INIT("\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\7\0\0\0\0k")}, "INCR k d2"},
        {{0x08, 0, 0, 0, 0, STR_INIT("")}, "FLUSH t0"},
        {{0x08, 0, 4, 4, 0, STR_INIT("\0\0\0\5")}, "FLUSH t5"},
        {{0x0a, 0, 0, 0, 0, STR_INIT("")}, "NOOP"},
        {{0x10, 0, 0, 0, 0, STR_INIT("")}, "STATS"},
        {{0x10, 5, 0, 5, 0, STR_INIT("items")}, "STATS items"},
        {{0x1c, 1, 4, 5, 0, STR_INIT("\0\0\0\5k")}, "TOUCH k t5"},
        {{0x23, 1, 4, 5, 0, STR_INIT("\0\0\0\5k")}, "GET k t5"},
        {{0x21, 5, 0, 9, 0, STR_INIT("PLAIN")}, "SASL_AUTH PLAIN f0 n4"},
        {{0x0e, 1, 0, 3, 0, STR_INIT("k")}, "APPEND k f0 n2"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_string_equal(told(packed(&good[i].p)), good[i].out);
    }
}

static void lengths_that_do_not_fit_end_the_connection(void **state)
{
    (void)state;
    static const struct packet bad[] = {
        {0x00, 3, 0, 2, 0, STR_INIT("abc")}, /* more key than body */
        {0x01, 3, 8, 10, 0, STR_INIT("\0\0\0\5\0\0\0\0abc")},
        {0x00, 0xffff, 0xff, 1, 0, STR_INIT("")},
        {0x21, 0xffff, 0, 5, 0, STR_INIT("")},
        {0x00, 0, 0, 0, 0, STR_INIT("")},     /* no key */
        {0x00, 3, 1, 4, 0, STR_INIT("xabc")}, /* extras that it has not */
        {0x00, 3, 0, 4, 0, STR_INIT("abcd")}, /* a value that it has not */
        {0x01, 3, 4, 9, 0, STR_INIT("")},     /* too few extras */
        {0x08, 0, 2, 2, 0, STR_INIT("\0\0")},
        {0x0a, 1, 0, 1, 0, STR_INIT("k")}, /* a key that it has not */
        {0x00, 251, 0, 251, 0, STR_INIT("")},
        {0x01, 0xffff, 8, 0xffffffff, 0, STR_INIT("")},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct packet p = bad[i];
        static char key[251];
        if (p.key_len == 251) {
            memset(key, 'x', sizeof key);
            p.rest = (struct str){key, sizeof key};
        }
        assert_string_equal(told(packed(&p)), "status close");
    }
    assert_string_equal(told(packed(&(struct packet){.opcode = 0x7f, .body_len = 10})),
                        "status swallow");
    struct mc_reader reader = {0};
    struct mc_request req;
    struct str twice = packed(&(struct packet){.opcode = 0x0a});
    assert_int_equal(mc_parse(&reader, twice.ptr, twice.len, &req), RC_OK);
    assert_int_equal(mc_parse(&reader, "get a\r\n", 7, &req), RC_MALFORMED);
}

/* ---- answers ---- */

static void answers(void **state)
{
    (void)state;
    char buf[1024];
    struct sb sb = sb_of(buf, sizeof buf);
    uint64_t cas = 18446744073709551615u;
    mc_put_value(&sb, STR("k"), 4294967295u, 12, &cas);
    mc_put_value(&sb, STR("k"), 0, 0, NULL);
    assert_true(str_eq(sb_str(&sb), STR("VALUE k 4294967295 12 18446744073709551615\r\n"
                                        "VALUE k 0 0\r\n")));
    struct mc_request req;
    struct mc_item item = {.bytes = 3,
                           .cas = 9,
                           .ttl_s = -1,
                           .idle_s = 4,
                           .flags = 5,
                           .was_hit = true,
                           .is_stale = true,
                           .has_won = true};
    assert_int_equal(parse(STR("mg Zm9v b v Oq1 t c k f l h s N5\r\n"), &req), RC_OK);
    sb.len = 0;
    mc_put_meta(&sb, &req, "VA", &item);
    assert_true(str_eq(sb_str(&sb), STR("VA 3 Oq1 t-1 c9 kZm9v b f5 l4 h1 s3 X W\r\n")));
    sb.len = 0;
    mc_put_meta(&sb, &req, "EN", NULL);
    assert_true(str_eq(sb_str(&sb), STR("EN Oq1 kZm9v b\r\n")));
    assert_int_equal(parse(STR("md k f t h c q\r\n"), &req), RC_OK);
    sb.len = 0;
    item = (struct mc_item){.cas = 1, .won_once = true};
    mc_put_meta(&sb, &req, "HD", NULL);
    assert_true(str_eq(sb_str(&sb), STR("HD\r\n")));
    assert_int_equal(parse(packed(&(struct packet){
                               .opcode = 0x0c, .key_len = 1, .body_len = 1, .rest = STR("k")}),
                           &req),
                     RC_OK);
    sb.len = 0;
    mc_put_head(&sb, &req,
                &(struct mc_head){.status = MC_STATUS_NOT_FOUND,
                                  .extras_len = 4,
                                  .key_len = 0x0102,
                                  .body_len = 0x01020304,
                                  .cas = 5});
    assert_true(str_eq(sb_str(&sb), STR("\x81\x0c\x01\x02\x04\0\0\1\1\2\3\4opaq\0\0\0\0\0\0\0\5")));
    sb.len = 0;
    mc_put_status(&sb, &req, MC_STATUS_AUTH);
    assert_true(str_eq(sb_str(&sb),
                       STR("\x81\x0c\0\0\0\0\0\x20\0\0\0\x0dopaq\0\0\0\0\0\0\0\0Auth failure.")));
}

static void everything_has_a_line_in_the_reference(void **state)
{
    (void)state;
    for (unsigned part = 0; part <= MC_PART_OPCODES; part++) {
        struct mc_doc doc;
        unsigned n = 0;
        while (mc_doc((enum mc_part)part, n, &doc)) {
            assert_true(strlen(doc.what) > 0);
            n++;
        }
        assert_true(n > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_commands),
        cmocka_unit_test(what_a_store_command_may_not_be),
        cmocka_unit_test(meta_commands),
        cmocka_unit_test(arity_is_as_the_table_says),
        cmocka_unit_test(keys_have_a_limit),
        cmocka_unit_test(a_long_get_comes_in_parts),
        cmocka_unit_test(a_line_without_end_is_refused),
        cmocka_unit_test(binary_requests),
        cmocka_unit_test(lengths_that_do_not_fit_end_the_connection),
        cmocka_unit_test(answers),
        cmocka_unit_test(everything_has_a_line_in_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
