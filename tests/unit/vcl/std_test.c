/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_ctx.h"
#include "vcl/mod.h"
#include "vcl/value.h"

#define S(lit)                                                                                     \
    {                                                                                              \
        .string = { "" lit, sizeof(lit) - 1 }                                                      \
    }

static union objm_value call(struct fake *f, const char *name, const union objm_value *args,
                             uint32_t given)
{
    return fake_call(f, fake_func(&vcl__mod_std, name), NULL, args, given);
}

static void assert_text(union objm_value v, const char *text)
{
    assert_non_null(v.string.ptr);
    assert_int_equal(v.string.len, strlen(text));
    assert_memory_equal(v.string.ptr, text, v.string.len);
}

static void strings(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    static const struct objm_str parts[] = {{"Ab", 2}, {NULL, 0}, {"\xe4z9", 3}};
    union objm_value strands[1] = {{.strands = {parts, 3}}};
    assert_text(call(f, "toupper", strands, 1), "AB\xe4Z9");
    assert_text(call(f, "tolower", strands, 1), "ab\xe4z9");
    assert_text(call(f, "strstr", (union objm_value[]){S("foobar"), S("b")}, 3), "bar");
    assert_null(call(f, "strstr", (union objm_value[]){S("quux"), S("b")}, 3).string.ptr);
    assert_null(call(f, "strstr", (union objm_value[]){{0}, S("b")}, 3).string.ptr);
    assert_text(call(f, "querysort", (union objm_value[]){S("/?b&a")}, 1), "/?a&b");
    assert_string_equal(f->failed, "");
    fake_free(&f);
}

static void fields_are_collected(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    assert_int_equal(http_add_name(f->req, STR("X-A"), STR("1")), RC_OK);
    assert_int_equal(http_add_name(f->req, STR("Other"), STR("o")), RC_OK);
    assert_int_equal(http_add_name(f->req, STR("x-a"), STR("2")), RC_OK);
    struct objm_header header = {OBJM_REQ, OBJM_STR("x-A")};
    union objm_value args[2] = {{.header = &header}, S("; ")};
    (void)call(f, "collect", args, 3);
    assert_int_equal(f->req->count, 2);
    struct str value = http_get_name(f->req, STR("x-a"));
    assert_true(str_eq(value, STR("1; 2")));
    header.http = OBJM_OBJ;
    (void)call(f, "collect", args, 3);
    assert_string_equal(f->failed, "std.collect(): header argument can not be used here");
    fake_free(&f);
}

static void conversions_want_one_argument(void **state)
{
    (void)state;
    static const char *const names[] = {"duration", "bytes", "integer", "real", "time"};
    for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
        union objm_value args[7] = {S("1"), {.integer = 7}};
        char why[64];
        struct fake *f = fake_new();
        (void)call(f, names[n], args, 2);
        (void)snprintf(why, sizeof why, "std.%s: not enough arguments", names[n]);
        assert_string_equal(f->failed, why);
        fake_free(&f);
        f = fake_new();
        (void)call(f, names[n], args, 5);
        (void)snprintf(why, sizeof why, "std.%s: too many arguments", names[n]);
        assert_string_equal(f->failed, why);
        fake_free(&f);
    }
}

static void conversions_fall_back_or_fail(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    union objm_value args[7] = {S("12"), {.integer = 7}};
    assert_int_equal(call(f, "integer", args, 1).integer, 12);
    args[0] = (union objm_value)S("x");
    assert_int_equal(call(f, "integer", args, 3).integer, 7);
    args[0] = (union objm_value){0}; /* an unset header */
    assert_int_equal(call(f, "integer", args, 3).integer, 7);
    assert_string_equal(f->failed, "");
    (void)call(f, "integer", args, 1);
    assert_string_equal(f->failed, "std.integer: conversion failed");
    args[5].real = -2.9;
    assert_int_equal(call(f, "integer", args, 32).integer, -2);
    args[5].real = 1e18;
    assert_int_equal(call(f, "integer", args, 34).integer, 7);
    args[2].boolean = true;
    assert_int_equal(call(f, "integer", args, 4).integer, 1);
    union objm_value bytes[4] = {{0}, {.integer = 5}, {.real = 10.9}, {.integer = -1}};
    assert_int_equal(call(f, "bytes", bytes, 4).integer, 10);
    assert_int_equal(call(f, "bytes", bytes, 10).integer, 5);
    union objm_value old[2] = {{.real = 1.5}, {.integer = 9}};
    assert_int_equal(call(f, "real2integer", old, 3).integer, 2);
    old[0].real = 1e13;
    assert_int_equal(call(f, "real2integer", old, 3).integer, 9);
    fake_free(&f);
}

static void addresses(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    static const struct objm_ip other = {4, 1, {9, 9, 9, 9}};
    union objm_value args[4] = {S("[::1] 443"), {.ip = &other}, {.boolean = false}};
    const struct objm_ip *ip = call(f, "ip", args, 5).ip;
    assert_int_equal(ip->family, 6);
    assert_int_equal(ip->port, 443);
    args[0] = (union objm_value)S("nonsense");
    assert_ptr_equal(call(f, "ip", args, 7).ip, &other);
    args[0] = (union objm_value)S("1.2.3.4");
    args[3] = (union objm_value)S("81");
    ip = call(f, "ip", args, 13).ip;
    assert_int_equal(ip->port, 81);
    args[3].string = (struct objm_str){NULL, 0};
    assert_int_equal(call(f, "port", (union objm_value[]){{.ip = &other}}, 1).integer, 1);
    assert_int_equal(call(f, "port", (union objm_value[]){{0}}, 1).integer, 0);
    args[0] = (union objm_value)S("localhost");
    args[2].boolean = true;
    ip = call(f, "ip", args, 5).ip;
    assert_int_equal(ip->port, 80);
    assert_string_equal(f->failed, "");
    args[0] = (union objm_value)S("nonsense");
    args[2].boolean = false;
    (void)call(f, "ip", args, 5);
    assert_string_equal(f->failed, "std.ip: conversion failed");
    fake_free(&f);
}

static void times(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    union objm_value args[2] = {{.real = 1292803200}, S("%Y%m%dT%H%M%SZ")};
    assert_text(call(f, "strftime", args, 3), "20101220T000000Z");
    args[1] = (union objm_value)S("");
    assert_text(call(f, "strftime", args, 3), "");
    args[0].real = 1e300;
    assert_text(call(f, "strftime", args, 3), "");
    fake_free(&f);
}

static void files(void **state)
{
    (void)state;
    char name[] = "/tmp/std_test.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "text\0more", 9), 9);
    assert_int_equal(close(fd), 0);
    struct fake *f = fake_new();
    union objm_value args[1] = {{.string = {name, strlen(name)}}};
    assert_text(call(f, "fileread", args, 1), "text");
    assert_true(call(f, "file_exists", args, 1).boolean);
    assert_int_equal(unlink(name), 0);
    assert_false(call(f, "file_exists", args, 1).boolean);
    assert_null(call(f, "fileread", args, 1).string.ptr);
    assert_non_null(strstr(f->logged, "Could not read file"));
    fake_free(&f);
}

/* The file is read once for a place, whatever becomes of it. */
static void a_file_is_kept_where_it_was_read(void **state)
{
    (void)state;
    char name[] = "/tmp/std_test.XXXXXX";
    int fd = mkstemp(name);
    assert_int_equal(write(fd, "old", 3), 3);
    struct fake *f = fake_new();
    const struct objm_func *func = fake_func(&vcl__mod_std, "fileread");
    struct objm_priv place = {0};
    union objm_value args[1] = {{.string = {name, strlen(name)}}};
    struct objm_call call = {.func = func, .arg = args, .given = 1, .priv_call = &place};
    func->fn(&f->ctx, &call);
    const char *first = call.ret.string.ptr;
    assert_int_equal(pwrite(fd, "new", 3, 0), 3);
    func->fn(&f->ctx, &call);
    assert_ptr_equal(call.ret.string.ptr, first);
    assert_memory_equal(first, "old", 3);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(name), 0);
    place.fini(place.ptr);
    fake_free(&f);
}

static void bans_leave_their_error(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    assert_text(call(f, "ban_error", NULL, 0), "");
    assert_false(call(f, "ban", (union objm_value[]){S("bad")}, 1).boolean);
    assert_text(call(f, "ban_error", NULL, 0), "Expected comparison operator");
    assert_true(call(f, "ban", (union objm_value[]){S("req.url == /long")}, 1).boolean);
    assert_text(call(f, "ban_error", NULL, 0), "");
    fake_free(&f);
}

static void versions_of_vcl(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    assert_true(call(f, "syntax", (union objm_value[]){{.real = 4.0}}, 1).boolean);
    assert_true(call(f, "syntax", (union objm_value[]){{.real = 4.1}}, 1).boolean);
    assert_false(call(f, "syntax", (union objm_value[]){{.real = 4.2}}, 1).boolean);
    fake_free(&f);
}

/* A workspace that is full fails the task, and nothing else. */
static void a_full_workspace_ends_no_worker(void **state)
{
    (void)state;
    static const struct objm_str parts[] = {{"abc", 3}, {"def", 3}};
    struct fake *f = fake_new();
    (void)arena_alloc(&f->ws, f->ws.cap - f->ws.used - 16);
    (void)arena_alloc(&f->ws, 1);
    union objm_value args[7] = {{.strands = {parts, 2}}};
    assert_null(call(f, "toupper", args, 1).string.ptr);
    (void)call(f, "log", args, 1);
    args[0] = (union objm_value)S("/?b&a");
    (void)call(f, "querysort", args, 1);
    (void)call(f, "getenv", args, 1);
    (void)call(f, "fileread", args, 1);
    (void)call(f, "ip", args, 5);
    (void)call(f, "integer", args, 1);
    (void)call(f, "ban", args, 1);
    fake_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),
        cmocka_unit_test(fields_are_collected),
        cmocka_unit_test(conversions_want_one_argument),
        cmocka_unit_test(conversions_fall_back_or_fail),
        cmocka_unit_test(addresses),
        cmocka_unit_test(times),
        cmocka_unit_test(files),
        cmocka_unit_test(a_file_is_kept_where_it_was_read),
        cmocka_unit_test(bans_leave_their_error),
        cmocka_unit_test(versions_of_vcl),
        cmocka_unit_test(a_full_workspace_ends_no_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
