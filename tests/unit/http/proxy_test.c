/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Prefaces of the PROXY protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/proxy.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define ADDRS4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x04\xd2\x00\x50"

static enum rc parse(struct str in, struct proxy_head *head)
{
    /* However few bytes come at a time, nothing is decided before all is there or it is wrong. */
    enum rc rc = RC_AGAIN;
    for (size_t len = 0; len <= in.len && rc == RC_AGAIN; len++) {
        rc = proxy_parse(in.ptr, len, head);
    }
    struct proxy_head whole;
    assert_int_equal(proxy_parse(in.ptr, in.len, &whole), rc);
    assert_int_equal(whole.consumed, head->consumed);
    return rc;
}

static void assert_ends(const struct proxy_head *head, const char *text)
{
    char buf[128];
    struct sb sb = sb_of(buf, sizeof buf - 1);
    proxy_addr_text(&sb, &head->client);
    sb_printf(&sb, " %u ", (unsigned)head->client.port);
    proxy_addr_text(&sb, &head->server);
    sb_printf(&sb, " %u", (unsigned)head->server.port);
    buf[sb.len] = '\0';
    assert_string_equal(buf, text);
}

static void both_versions_tell_both_ends(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        unsigned version;
        const char *ends;
    } good[] = {
        {STR_INIT("PROXY TCP4 192.0.2.1 198.51.100.2 1234 80\r\n"), 1,
         "192.0.2.1 1234 198.51.100.2 80"},
        {STR_INIT("PROXY TCP6 2001:db8:0::1 ::2 65535 0\r\n"), 1, "2001:db8::1 65535 ::2 0"},
        {STR_INIT(SIG "\x21\x11\0\x0c" ADDRS4), 2, "192.0.2.1 1234 198.51.100.2 80"},
        {STR_INIT(SIG "\x21\x21\0\x24"
                      "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"
                      "\xff\xff\0\0"),
         2, "2001:db8::1 65535 ::2 0"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct proxy_head head;
        assert_int_equal(parse(good[i].in, &head), RC_OK);
        assert_int_equal(head.version, good[i].version);
        assert_int_equal(head.consumed, good[i].in.len);
        assert_false(head.is_local);
        assert_string_equal(head.garbage, "");
        assert_ends(&head, good[i].ends);
    }
}

static void what_follows_is_left_alone(void **state)
{
    (void)state;
    struct proxy_head head;
    assert_int_equal(parse(STR("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET"), &head), RC_OK);
    assert_int_equal(head.consumed, 32);
    assert_int_equal(parse(STR(SIG "\x20\0\0\0GET"), &head), RC_OK);
    assert_int_equal(head.consumed, 16);
}

static void what_tells_no_address_is_taken_without_one(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        bool is_local;
        const char *garbage;
    } blind[] = {
        {STR_INIT(SIG "\x20\0\0\0"), true, ""},
        {STR_INIT(SIG "\x20\x11\0\x0c" ADDRS4), true, ""},
        {STR_INIT(SIG "\x21\0\0\0"), false, "PROXY2: Ignoring UNSPEC|UNSPEC addresses"},
        {STR_INIT(SIG "\x21\x99\0\0"), false, "PROXY2: Ignoring unsupported protocol (0x99)"},
        {STR_INIT(SIG "\x21\x11\0\x0b"
                      "12345678901"),
         false, "PROXY2: Ignoring short IPv4 addresses (11)"},
        {STR_INIT(SIG "\x21\x21\0\x0c" ADDRS4), false,
         "PROXY2: Ignoring short IPv6 addresses (12)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(blind); i++) {
        struct proxy_head head;
        assert_int_equal(parse(blind[i].in, &head), RC_OK);
        assert_int_equal(head.is_local, blind[i].is_local);
        assert_int_equal(head.client.family, 0);
        assert_int_equal(head.server.family, 0);
        assert_string_equal(head.garbage, blind[i].garbage);
        assert_int_equal(head.consumed, blind[i].in.len);
    }
}

static void garbage_is_refused_and_named(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *garbage;
    } bad[] = {
        {STR_INIT("GET / HTTP/1.1\r\n"), ""},
        {STR_INIT("PROXI"), ""},
        {STR_INIT("\r\n\r\nGET"), ""},
        {STR_INIT("PROXY A B C D\r\n"), "PROXY1: Too few fields"},
        {STR_INIT("PROXY UNKNOWN\r\n"), "PROXY1: Too few fields"},
        {STR_INIT("PROXY A B C D E F\r\n"), "PROXY1: Too many fields"},
        {STR_INIT("PROXY A B C D E\r\n"), "PROXY1: Wrong TCP[46] field"},
        {STR_INIT("PROXY TCP4 B 1.2.3.4 1 2\r\n"), "PROXY1: Cannot resolve source address"},
        {STR_INIT("PROXY TCP4 ::1 ::2 1 2\r\n"), "PROXY1: Cannot resolve source address"},
        {STR_INIT("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n"), "PROXY1: Cannot resolve source address"},
        {STR_INIT("PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n"), "PROXY1: Cannot resolve source address"},
        {STR_INIT("PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n"),
         "PROXY1: Cannot resolve source address"},
        {STR_INIT("PROXY TCP4 1.2.3.4 5.6.7 1 2\r\n"),
         "PROXY1: Cannot resolve destination address"},
        {STR_INIT("PROXY TCP4 1.2.3.4 5.6.7.8 1 x\r\n"),
         "PROXY1: Cannot resolve destination address"},
        {STR_INIT("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"), "PROXY1: Line end is not CRLF"},
        {STR_INIT("PROXY TCP4 1.2.3.4\r 5.6.7.8 1 2\r\n"), "PROXY1: Line end is not CRLF"},
        {STR_INIT(SIG "\x31\x11\0\0"), "PROXY2: bad version (3)"},
        {STR_INIT(SIG "\x22\x11\0\0"), "PROXY2: bad command (2)"},
        {STR_INIT(SIG "\x21\x11\0\x0e" ADDRS4 "\xff\xff"), "PROXY2: TLV Dribble bytes"},
        {STR_INIT(SIG "\x21\x11\0\x10" ADDRS4 "\x02\0\2x"), "PROXY2: TLV Length Error"},
        {STR_INIT(SIG "\x21\x11\0\x13" ADDRS4 "\x20\0\4abcd"), "PROXY2: TLV Length Error"},
        {STR_INIT(SIG "\x21\x11\0\x16" ADDRS4 "\x20\0\7abcde\x21\0"), "PROXY2: TLV Dribble bytes"},
        {STR_INIT(SIG "\x21\x11\0\x12" ADDRS4 "\x03\0\3abc"), "PROXY2: TLV Length Error"},
        {STR_INIT(SIG "\x21\x11\0\x13" ADDRS4 "\x03\0\4abcd"), "PROXY2: CRC error"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct proxy_head head;
        assert_int_equal(parse(bad[i].in, &head), RC_MALFORMED);
        assert_string_equal(head.garbage, bad[i].garbage);
    }
}

static void what_is_too_long_is_refused_before_it_is_all_there(void **state)
{
    (void)state;
    struct proxy_head head;
    char line[PROXY_V1_MAX + 1] = "PROXY TCP4 1.2.3.4 5.6.7.8 1 2";
    memset(line + 30, ' ', sizeof line - 30);
    assert_int_equal(proxy_parse(line, PROXY_V1_MAX - 1, &head), RC_AGAIN);
    assert_int_equal(proxy_parse(line, PROXY_V1_MAX, &head), RC_TOO_LONG);
    assert_int_equal(parse(STR(SIG "\x20\0\x04\x01"), &head), RC_TOO_LONG);
    assert_int_equal(parse(STR(SIG "\x20\0\x04\0"), &head), RC_AGAIN);
}

static void what_version_2_adds_is_found(void **state)
{
    (void)state;
    static const struct str in = STR_INIT(SIG "\x21\x11\0\x34" ADDRS4 "\x01\0\2h2"
                                              "\x03\0\4\x54\x2a\x4e\x16"
                                              "\x02\0\7a.b.org"
                                              "\x20\0\x0f\1\0\0\0\0\x21\0\7TLSv1.3");
    struct proxy_head head;
    struct str value;
    /* The checksum is over all the rest; it was made by another program. */
    assert_int_equal(parse(in, &head), RC_OK);
    assert_true(proxy_tlv(head.tlvs, PROXY_TLV_ALPN, &value));
    assert_true(str_eq(value, STR("h2")));
    assert_true(proxy_tlv(head.tlvs, PROXY_TLV_AUTHORITY, &value));
    assert_true(str_eq(value, STR("a.b.org")));
    assert_true(proxy_tlv(head.tlvs, PROXY_TLV_SSL_VERSION, &value));
    assert_true(str_eq(value, STR("TLSv1.3")));
    assert_true(proxy_tlv(head.tlvs, PROXY_TLV_SSL, &value));
    assert_int_equal(value.len, 15);
    assert_false(proxy_tlv(head.tlvs, PROXY_TLV_SSL_CN, &value));
    assert_false(proxy_tlv(STR_NONE, PROXY_TLV_ALPN, &value));
}

static void what_is_written_is_what_the_protocol_says(void **state)
{
    (void)state;
    struct proxy_addr client;
    struct proxy_addr server;
    const struct proxy_addr none = {0};
    assert_int_equal(proxy_addr_parse(&client, STR("192.0.2.1"), STR("1234")), RC_OK);
    assert_int_equal(proxy_addr_parse(&server, STR("198.51.100.2"), STR("80")), RC_OK);
    static const struct {
        unsigned version;
        bool is_told;
        struct str authority;
        struct str out;
    } cases[] = {
        {1, true, {NULL, 0}, STR_INIT("PROXY TCP4 192.0.2.1 198.51.100.2 1234 80\r\n")},
        {1, false, {NULL, 0}, STR_INIT("PROXY UNKNOWN\r\n")},
        {2, true, {NULL, 0}, STR_INIT(SIG "\x21\x11\0\x0c" ADDRS4)},
        {2, true, STR_INIT("a.b"), STR_INIT(SIG "\x21\x11\0\x12" ADDRS4 "\x02\0\3a.b")},
        {2, false, STR_INIT("a.b"), STR_INIT(SIG "\x20\0\0\0")},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char buf[PROXY_MAX];
        struct sb sb = sb_of(buf, sizeof buf);
        proxy_write(&sb, cases[i].version, cases[i].is_told ? &client : &none, &server,
                    cases[i].authority);
        assert_true(str_eq(sb_str(&sb), cases[i].out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_tell_both_ends),
        cmocka_unit_test(what_follows_is_left_alone),
        cmocka_unit_test(what_tells_no_address_is_taken_without_one),
        cmocka_unit_test(garbage_is_refused_and_named),
        cmocka_unit_test(what_is_too_long_is_refused_before_it_is_all_there),
        cmocka_unit_test(what_version_2_adds_is_found),
        cmocka_unit_test(what_is_written_is_what_the_protocol_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
