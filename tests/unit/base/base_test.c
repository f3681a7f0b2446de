/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The small things that everything else stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/digest.h"
#include "base/list.h"
#include "base/param.h"
#include "base/rng.h"
#include "base/sb.h"

static void str_numbers_are_strict(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &v), RC_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), &v), RC_TOO_LONG);
    static const char *const bad[] = {"", "+1", "-1", " 1", "1 ", "0x1", "1a"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(str_to_u64(str_of(bad[i]), &v), RC_MALFORMED);
    }
    assert_int_equal(str_to_u64_hex(STR("fFffffffffffffff"), &v), RC_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(str_to_u64_hex(STR("10000000000000000"), &v), RC_TOO_LONG);
    assert_int_equal(str_to_u64_hex(STR("0x1"), &v), RC_MALFORMED);
}

static void str_cut_tells_absent_from_empty(void **state)
{
    (void)state;
    struct str rest = STR("a,,b");
    assert_true(str_eq(str_cut(&rest, ','), STR("a")));
    struct str empty = str_cut(&rest, ',');
    assert_true(empty.ptr != NULL && empty.len == 0);
    assert_true(str_eq(str_cut(&rest, ','), STR("b")));
    assert_null(rest.ptr);
    assert_true(str_eq(str_trim(STR(" \tx y\t ")), STR("x y")));
    assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
    assert_false(str_eq_nocase(STR("A@"), STR("a`")));
}

static void sb_overflow_sticks_and_keeps_whole_appends(void **state)
{
    (void)state;
    char buf[8];
    struct sb sb = sb_of(buf, sizeof buf);
    sb_lit(&sb, "abc");
    sb_lit(&sb, "defghi");
    assert_true(sb.overflow);
    sb_lit(&sb, "x");
    assert_true(str_eq(sb_str(&sb), STR("abc")));
}

static void sb_writes_numbers(void **state)
{
    (void)state;
    char buf[128];
    static const uint64_t values[] = {0, 9, 10, 99, 100, 12345, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        struct sb sb = sb_of(buf, sizeof buf);
        sb_u64(&sb, values[i]);
        uint64_t back = 0;
        assert_int_equal(str_to_u64(sb_str(&sb), &back), RC_OK);
        assert_true(back == values[i]);
        sb.len = 0;
        sb_hex(&sb, values[i]);
        assert_int_equal(str_to_u64_hex(sb_str(&sb), &back), RC_OK);
        assert_true(back == values[i]);
    }
    struct sb sb = sb_of(buf, sizeof buf);
    sb_seconds(&sb, UINT64_C(1234567890012345678));
    sb_chr(&sb, ' ');
    sb_seconds(&sb, 999);
    assert_true(str_eq(sb_str(&sb), STR("1234567890.012345 0.000000")));
}

static void cursor_failure_sticks(void **state)
{
    (void)state;
    char buf[32];
    struct sb sb = sb_of(buf, sizeof buf);
    put_u8(&sb, 1);
    put_u16(&sb, 0x0203);
    put_u32(&sb, 0x04050607);
    put_u64(&sb, UINT64_C(0x08090a0b0c0d0e0f));
    assert_int_equal((unsigned char)buf[1], 3);
    struct cursor c = cursor_of(buf, sb.len);
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_u16(&c), 0x0203);
    assert_int_equal(cursor_u32(&c), 0x04050607);
    assert_true(cursor_u64(&c) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_int_equal(c.rc, RC_OK);
    c = cursor_of(buf, 3);
    assert_int_equal(cursor_u32(&c), 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_int_equal(c.rc, RC_MALFORMED);
}

static void arena_says_when_it_is_full(void **state)
{
    (void)state;
    _Alignas(16) char block[64];
    struct arena a;
    arena_init(&a, block, sizeof block);
    assert_non_null(arena_alloc(&a, 1));
    char *second = arena_alloc(&a, 16);
    assert_int_equal((uintptr_t)second % 16, 0);
    size_t mark = arena_mark(&a);
    assert_null(arena_dup(&a, (struct str){block, 40}).ptr);
    assert_true(a.overflowed);
    struct str s = arena_printf(&a, "%s", "0123456789");
    assert_int_equal(s.len, 10);
    arena_rewind(&a, mark);
    assert_int_equal(a.used, mark);
}

static void known_digests(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
    struct digest d;
    digest_make(&d, (struct str[]){STR("a"), STR("bc")}, 2);
    static const unsigned char abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    assert_memory_equal(d.bytes, abc, sizeof abc);
    digest_thread_end();
    digest_thread_end();
    struct digest again;
    digest_make(&again, (struct str[]){STR("abc")}, 1);
    assert_true(digest_eq(&d, &again));
    digest_thread_end();
}

static void list_survives_double_removal(void **state)
{
    (void)state;
    struct list head, a, b;
    list_init(&head);
    list_push_back(&head, &a);
    list_push_front(&head, &b);
    assert_ptr_equal(head.next, &b);
    list_remove(&b);
    list_remove(&b);
    assert_ptr_equal(list_pop_front(&head), &a);
    assert_null(list_pop_front(&head));
}

static void every_param_default_is_in_range(void **state)
{
    (void)state;
    static struct params p;
    param_defaults(&p);
    assert_true(param(&p, default_ttl) == 120 * NS_PER_S);
    assert_false(param_bit(&p, PARAM_BITS_vsl_mask, 255));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(str_numbers_are_strict),
        cmocka_unit_test(str_cut_tells_absent_from_empty),
        cmocka_unit_test(sb_overflow_sticks_and_keeps_whole_appends),
        cmocka_unit_test(sb_writes_numbers),
        cmocka_unit_test(cursor_failure_sticks),
        cmocka_unit_test(arena_says_when_it_is_full),
        cmocka_unit_test(known_digests),
        cmocka_unit_test(list_survives_double_removal),
        cmocka_unit_test(every_param_default_is_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
