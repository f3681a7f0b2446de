/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The table of a head: finding, changing, copying, packing; lists and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "http/http.h"
#include "http/http_list.h"
#include "http/http_priv.h"

enum { CAP = 8 };

struct fixture {
    struct http_hdr table[CAP];
    struct http h;
};

static struct http *head(struct fixture *f, const char *const *fields)
{
    http_init(&f->h, f->table, CAP);
    for (; *fields != NULL; fields += 2) {
        assert_int_equal(http_add_name(&f->h, str_of(fields[0]), str_of(fields[1])), RC_OK);
    }
    return &f->h;
}
#define HEAD(f, ...) head((f), (const char *const[]){__VA_ARGS__, NULL})

/* "name=value|..." */
static void check_fields(const struct http *h, const char *expected)
{
    char buf[512];
    struct sb sb = sb_of(buf, sizeof buf);
    for (unsigned i = 0; i < h->count; i++) {
        sb_put(&sb, h->hdr[i].name);
        sb_chr(&sb, '=');
        sb_put(&sb, h->hdr[i].value);
        sb_chr(&sb, '|');
    }
    if (!str_eq(sb_str(&sb), str_of(expected))) {
        fail_msg("%.*s, not %s", STR_ARG(sb_str(&sb)), expected);
    }
}

static void every_known_name_is_found_in_any_case(void **state)
{
    (void)state;
    for (enum http_hdr_id id = HDR_OTHER + 1; id < HDR__COUNT; id++) {
        struct str name = http_hdr_name(id);
        char *text = str_dup(name);
        if (http_hdr_id(name) != id) {
            fail_msg("%.*s belongs into slot %u of headers.def", STR_ARG(name),
                     http__hdr_slot(name));
        }
        for (size_t i = 0; i < name.len; i++) {
            char was = text[i];
            text[i] = (char)(was >= 'a' && was <= 'z' ? was - 32 : was);
            assert_int_equal(http_hdr_id((struct str){text, name.len}), id);
            text[i] = (was | 0x20) == 'x' ? 'y' : 'x';
            assert_int_not_equal(http_hdr_id((struct str){text, name.len}), id);
            text[i] = was;
        }
        assert_int_not_equal(http_hdr_id((struct str){text, name.len - 1}), id);
        free(text);
    }
    assert_int_equal(http_hdr_id(STR("")), HDR_OTHER);
    assert_int_equal(http_hdr_id(STR("Hos")), HDR_OTHER);
}

static void fields_are_found_by_id_and_name(void **state)
{
    (void)state;
    struct fixture f;
    struct http *h = HEAD(&f, "host", "a", "X-Own", "1", "Accept", "b", "accept", "c", "x-own", "");
    assert_true(str_eq(http_get(h, HDR_HOST), STR("a")));
    assert_true(str_eq(http_get_name(h, STR("X-OWN")), STR("1")));
    assert_true(str_eq(http_get_name(h, STR("ACCEPT")), STR("b")));
    assert_int_equal(http_count(h, HDR_ACCEPT), 2);
    assert_null(http_get(h, HDR_VARY).ptr);
    assert_null(http_get_name(h, STR("X-Ow")).ptr);
    http_unset_name(h, STR("x-OWN"));
    check_fields(h, "host=a|Accept=b|accept=c|");
    assert_int_equal(http_set(h, HDR_ACCEPT, STR(" d ")), RC_OK);
    check_fields(h, "host=a|Accept=d|");
    http_unset(h, HDR_HOST);
    assert_null(http_find(h, HDR_HOST));
    assert_false(http_has(h, HDR_HOST));
    assert_int_equal(http_set_name(h, STR("hOsT"), STR("e")), RC_OK);
    assert_true(str_eq(http_get(h, HDR_HOST), STR("e")));
}

static void text_that_would_break_its_line_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct http *h = HEAD(&f, "A", "b");
    static const char *const values[] = {"a\r\nB: c", "a\nb", "a\rb", "\x7f", "\x1b[0m"};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        assert_int_equal(http_add(h, HDR_VIA, str_of(values[i])), RC_INVALID);
        assert_int_equal(http_set_name(h, STR("A"), str_of(values[i])), RC_INVALID);
        assert_int_equal(http_set_reason(h, str_of(values[i])), RC_INVALID);
        assert_int_equal(http_set_url(h, str_of(values[i])), RC_INVALID);
        assert_int_equal(http_set_method(h, str_of(values[i])), RC_INVALID);
        assert_int_equal(http_add_name(h, str_of(values[i]), STR("v")), RC_INVALID);
    }
    assert_int_equal(http_add_name(h, STR("a b"), STR("v")), RC_INVALID);
    assert_int_equal(http_add_name(h, STR(""), STR("v")), RC_INVALID);
    assert_int_equal(http_set_url(h, STR("")), RC_INVALID);
    assert_int_equal(http_set_url(h, STR("/a b")), RC_INVALID);
    check_fields(h, "A=b|");
}

static void a_full_table_says_so(void **state)
{
    (void)state;
    struct fixture f;
    struct http *h = HEAD(&f, "A", "b");
    for (unsigned i = 1; i < CAP; i++) {
        assert_int_equal(http_add(h, HDR_VIA, STR("x")), RC_OK);
    }
    assert_int_equal(http_add(h, HDR_VIA, STR("x")), RC_LIMIT);
    assert_int_equal(http_set(h, HDR_VARY, STR("x")), RC_LIMIT);
    assert_null(http_find(h, HDR_VARY));
    assert_int_equal(http_set(h, HDR_VIA, STR("x")), RC_OK);
    assert_int_equal(h->count, 2);
    struct http_hdr small[1];
    struct http dst;
    http_init(&dst, small, 1);
    assert_int_equal(http_copy(&dst, h, HTTP_COPY_ALL), RC_LIMIT);
}

static void joining_keeps_the_order(void **state)
{
    (void)state;
    struct fixture f;
    struct arena a;
    char block[64];
    arena_init(&a, block, sizeof block);
    struct http *h = HEAD(&f, "Via", "1", "A", "", "via", "", "VIA", "2, 3", "B", "x");
    assert_int_equal(http_join(h, HDR_VIA, &a), RC_OK);
    check_fields(h, "Via=1, 2, 3|A=|B=x|");
    arena_init(&a, block, 4);
    h = HEAD(&f, "Via", "123", "Via", "456");
    assert_int_equal(http_join(h, HDR_VIA, &a), RC_LIMIT);
    check_fields(h, "Via=123|Via=456|");
}

static void copies_leave_out_what_is_not_theirs(void **state)
{
    (void)state;
    static const struct {
        enum http_copy how;
        const char *fields;
    } cases[] = {
        {HTTP_COPY_ALL, "Connection=foo|Range=r|If-None-Match=e|Foo=1|Age=3|Cache-Control=c|X=y|"},
        {HTTP_COPY_FETCH, "Age=3|X=y|"},
        {HTTP_COPY_PASS, "Range=r|If-None-Match=e|Age=3|Cache-Control=c|X=y|"},
        {HTTP_COPY_STORE, "If-None-Match=e|Cache-Control=c|X=y|"},
        {HTTP_COPY_STORE_PASS, "Range=r|If-None-Match=e|Cache-Control=c|X=y|"},
    };
    struct fixture from;
    struct fixture to;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http *h = HEAD(&from, "Connection", "foo", "Range", "r", "If-None-Match", "e", "Foo",
                              "1", "Age", "3", "Cache-Control", "c", "X", "y");
        http_set_status(h, 404);
        assert_int_equal(http_connection(h), 0);
        http_init(&to.h, to.table, CAP);
        assert_int_equal(http_copy(&to.h, h, cases[i].how), RC_OK);
        check_fields(&to.h, cases[i].fields);
        assert_int_equal(to.h.status, 404);
    }
}

/* Varnish, 2022: a client that lists Host or Content-Length in Connection must not lose them. */
static void connection_strips_no_end_to_end_field(void **state)
{
    (void)state;
    struct fixture from;
    struct fixture to;
    static const char *const options[] = {"host", "Content-Length", "cookie", "X-Forwarded-For",
                                          "Authorization"};
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        struct http *h = HEAD(&from, options[i], "v", "Connection", options[i]);
        assert_int_equal(http_connection(h), HTTP_CONN_BAD);
        assert_false(http_keep_alive(h, HTTP_CONN_BAD));
        http_init(&to.h, to.table, CAP);
        assert_int_equal(http_copy(&to.h, h, HTTP_COPY_PASS), RC_OK);
        assert_int_equal(to.h.count, 1);
    }
}

static void connection_says_whether_to_stay(void **state)
{
    (void)state;
    struct fixture f;
    struct http *h = HEAD(&f, "Connection", "x, \"close\", Keep-Alive", "Connection", ",,upgrade");
    unsigned bits = http_connection(h);
    assert_int_equal(bits, HTTP_CONN_KEEP_ALIVE | HTTP_CONN_UPGRADE);
    h->version = 10;
    assert_true(http_keep_alive(h, bits));
    assert_false(http_keep_alive(h, 0));
    h->version = 11;
    assert_true(http_keep_alive(h, 0));
    assert_false(http_keep_alive(h, HTTP_CONN_CLOSE | HTTP_CONN_KEEP_ALIVE));
}

static void owning_moves_all_text(void **state)
{
    (void)state;
    struct fixture f;
    char source[] = "GET/Vab";
    struct arena a;
    char block[64];
    http_init(&f.h, f.table, CAP);
    assert_int_equal(http_set_method(&f.h, (struct str){source, 3}), RC_OK);
    assert_int_equal(http_set_url(&f.h, (struct str){source + 3, 1}), RC_OK);
    assert_int_equal(http_add_name(&f.h, (struct str){source + 4, 1}, (struct str){source + 5, 2}),
                     RC_OK);
    assert_int_equal(http_add_name(&f.h, STR("E"), (struct str){source + 6, 0}), RC_OK);
    arena_init(&a, block, 7);
    assert_int_equal(http_own(&f.h, &a), RC_LIMIT);
    arena_init(&a, block, sizeof block);
    assert_int_equal(http_own(&f.h, &a), RC_OK);
    memset(source, '#', sizeof source);
    assert_true(str_eq(f.h.method, STR("GET")));
    assert_true(str_eq(f.h.url, STR("/")));
    check_fields(&f.h, "V=ab|E=|");
    assert_non_null(http_get_name(&f.h, STR("E")).ptr);
}

static void packing_and_unpacking_is_the_same_head(void **state)
{
    (void)state;
    struct fixture f;
    struct http *h = HEAD(&f, "ETag", "\"x\"", "etag", "2", "X", "");
    http_set_status(h, 206);
    assert_int_equal(http_set_reason(h, STR("Some")), RC_OK);
    char buf[256];
    struct sb sb = sb_of(buf, sizeof buf);
    http_pack(&sb, h);
    assert_false(sb.overflow);
    struct fixture to;
    http_init(&to.h, to.table, CAP);
    assert_int_equal(http_unpack(&to.h, sb_str(&sb)), RC_OK);
    check_fields(&to.h, "ETag=\"x\"|etag=2|X=|");
    assert_int_equal(http_count(&to.h, HDR_ETAG), 2);
    assert_int_equal(to.h.status, 206);
    assert_true(str_eq(to.h.reason, STR("Some")));
    for (size_t len = 0; len < sb.len; len++) {
        assert_int_equal(http_unpack(&to.h, (struct str){buf, len}), RC_DAMAGED);
    }
    http_init(&to.h, to.table, 2);
    assert_int_equal(http_unpack(&to.h, sb_str(&sb)), RC_LIMIT);
}

static void lists_respect_quotes(void **state)
{
    (void)state;
    struct fixture f;
    struct http *h = HEAD(&f, "Accept", " a ,,b;x=\"1,2\\\",3\" , c", "Via", "no", "accept",
                          "\"d, e", "accept", "f");
    static const char *const members[] = {"a", "b;x=\"1,2\\\",3\"", "c", "\"d, e", "f"};
    struct http_members it = http_members(h, HDR_ACCEPT);
    struct str member;
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        assert_true(http_members_next(&it, &member));
        assert_true(str_eq(member, str_of(members[i])));
    }
    assert_false(http_members_next(&it, &member));
    assert_false(http_members_next(&it, &member));
    assert_true(http_has_token(h, HDR_ACCEPT, STR("B")));
    assert_false(http_has_token(h, HDR_ACCEPT, STR("e")));
    assert_false(http_has_token(h, HDR_VARY, STR("e")));
}

static void weights_are_read_in_thousandths(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        unsigned weight;
    } cases[] = {
        {"gzip", 1000},         {"br, GZIP ; q = 0.5", 500},
        {"gzip;q=0", 0},        {"gzip;q=0.001", 1},
        {"gzip;q=1.000", 1000}, {"gzip;x=\"q=0;\";q=0.2", 200},
        {"gzip;q=1.001", 0},    {"gzip;q=2", 0},
        {"gzip;q=.5", 0},       {"gzip;q=0.0001", 0},
        {"gzip;q=", 0},         {"gzip;q", 0},
        {"gzip;q=1.", 1000},    {"xgzip", 0},
        {"\"gzip\"", 0},        {"gzip;q=-1, gzip", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        struct http *h = HEAD(&f, "Accept-Encoding", cases[i].value);
        unsigned weight = http_qvalue(h, HDR_ACCEPT_ENCODING, STR("gzip"));
        if (weight != cases[i].weight) {
            fail_msg("%s: %u", cases[i].value, weight);
        }
    }
}

static void tables_answer(void **state)
{
    (void)state;
    assert_int_equal(http_method_id(STR("GET")), HTTP_M_GET);
    assert_int_equal(http_method_id(STR("get")), HTTP_M_OTHER);
    assert_true(http_method_is_safe(HTTP_M_HEAD));
    assert_false(http_method_is_safe(HTTP_M_OTHER));
    assert_true(str_eq(http_reason(503), STR("Service Unavailable")));
    assert_true(http_reason(299).len > 0);
    assert_true(http_hdr_is_hop(HDR_TRANSFER_ENCODING));
    assert_false(http_hdr_is_hop(HDR_HOST));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_name_is_found_in_any_case),
        cmocka_unit_test(fields_are_found_by_id_and_name),
        cmocka_unit_test(text_that_would_break_its_line_is_refused),
        cmocka_unit_test(a_full_table_says_so),
        cmocka_unit_test(joining_keeps_the_order),
        cmocka_unit_test(copies_leave_out_what_is_not_theirs),
        cmocka_unit_test(connection_strips_no_end_to_end_field),
        cmocka_unit_test(connection_says_whether_to_stay),
        cmocka_unit_test(owning_moves_all_text),
        cmocka_unit_test(packing_and_unpacking_is_the_same_head),
        cmocka_unit_test(lists_respect_quotes),
        cmocka_unit_test(weights_are_read_in_thousandths),
        cmocka_unit_test(tables_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
