/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The attribute stream: what goes in comes out, and nothing that was damaged does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cache/oa.h"

static struct str encode(const struct str values[OA__COUNT], char *buf, size_t size)
{
    struct sb sb = sb_of(buf, size);
    oa_encode(values, &sb);
    assert_int_equal(sb.len, oa_size(values));
    return sb_str(&sb);
}

static void assert_str(struct str got, struct str want)
{
    assert_int_equal(got.ptr == NULL, want.ptr == NULL);
    assert_int_equal(got.len, want.len);
    if (want.len > 0) {
        assert_memory_equal(got.ptr, want.ptr, want.len);
    }
}

static const struct str sample[OA__COUNT] = {
    [OA_HTTP] = STR_INIT("HTTP/1.1 200 OK"),
    [OA_VARY] = STR_INIT(""),
    [OA_XID] = STR_INIT("12345678"),
};

static void what_goes_in_comes_out(void **state)
{
    (void)state;
    char buf[256];
    struct str oa = encode(sample, buf, sizeof buf);
    assert_int_equal(oa_check(oa), RC_OK);
    for (unsigned i = 1; i < OA__COUNT; i++) {
        assert_str(oa_find(oa, (enum obj_attr)i), sample[i]);
    }
}

static void values_can_be_read_in_place(void **state)
{
    (void)state;
    _Alignas(8) char buf[256];
    struct str oa = encode(sample, buf, sizeof buf);
    for (unsigned i = 1; i < OA__COUNT; i++) {
        assert_int_equal((uintptr_t)oa_find(oa, (enum obj_attr)i).ptr % 8, 0);
    }
}

static void the_bytes_are_those_of_the_document(void **state)
{
    (void)state;
    static const unsigned char want[] = {'O', 'A', 1, 0, 0, 0, 0, 0, 32,  0,   0,   0, 0, 0, 0, 0,
                                         2,   0,   0, 0, 3, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0};
    const struct str values[OA__COUNT] = {[OA_VARY] = STR_INIT("abc")};
    char buf[64];
    struct str oa = encode(values, buf, sizeof buf);
    assert_int_equal(oa.len, sizeof want);
    assert_memory_equal(oa.ptr, want, 4);
    assert_memory_equal(oa.ptr + 8, want + 8, sizeof want - 8);
    uint32_t crc;
    memcpy(&crc, oa.ptr + 4, sizeof crc);
    assert_int_equal(crc, crc32c(0, want + 8, sizeof want - 8));
}

static void each_flipped_bit_is_found(void **state)
{
    (void)state;
    char buf[256];
    struct str oa = encode(sample, buf, sizeof buf);
    for (size_t bit = 0; bit < oa.len * 8; bit++) {
        buf[bit / 8] = (char)(buf[bit / 8] ^ (1 << bit % 8));
        assert_int_not_equal(oa_check(oa), RC_OK);
        buf[bit / 8] = (char)(buf[bit / 8] ^ (1 << bit % 8));
    }
    assert_int_equal(oa_check(oa), RC_OK);
}

static void each_shorter_stream_is_refused(void **state)
{
    (void)state;
    char buf[256];
    struct str oa = encode(sample, buf, sizeof buf);
    for (size_t len = 0; len < oa.len; len++) {
        char *exact = xmalloc(len + 1); /* so that a read past the end is seen */
        memcpy(exact, oa.ptr, len);
        assert_int_equal(oa_check((struct str){exact, len}), RC_DAMAGED);
        (void)oa_find((struct str){exact, len}, OA_XID);
        free(exact);
    }
}

static void reseal(char *oa, size_t len)
{
    uint32_t crc = crc32c(0, oa + 8, len - 8);
    memcpy(oa + 4, &crc, sizeof crc);
}

static void other_versions_are_not_damage(void **state)
{
    (void)state;
    char buf[256];
    struct str oa = encode(sample, buf, sizeof buf);
    buf[2] = 2;
    assert_int_equal(oa_check(oa), RC_UNSUPPORTED);
    buf[0] = 'X';
    assert_int_equal(oa_check(oa), RC_DAMAGED);
}

static void order_padding_and_twins_are_checked(void **state)
{
    (void)state;
    const struct str values[OA__COUNT] = {[1] = STR_INIT("abc"), [2] = STR_INIT("def")};
    char buf[64];
    struct str oa = encode(values, buf, sizeof buf);
    buf[32] = 1; /* the second is attribute 1 too */
    reseal(buf, oa.len);
    assert_int_equal(oa_check(oa), RC_DAMAGED);
    buf[32] = 0; /* and now it descends */
    reseal(buf, oa.len);
    assert_int_equal(oa_check(oa), RC_DAMAGED);
    buf[32] = 9; /* of a later version of the program: skipped */
    reseal(buf, oa.len);
    assert_int_equal(oa_check(oa), RC_OK);
    assert_str(oa_find(oa, OA_HTTP), STR("abc"));
    buf[27] = 1; /* padding */
    reseal(buf, oa.len);
    assert_int_equal(oa_check(oa), RC_DAMAGED);
}

static void noise_is_harmless(void **state)
{
    (void)state;
    struct rng rng = {.state = 7};
    for (unsigned round = 0; round < 20000; round++) {
        char buf[128];
        struct str oa = encode(sample, buf, sizeof buf);
        for (unsigned i = 0; i < 3; i++) {
            buf[8 + rng_below(&rng, oa.len - 8)] = (char)rng_u64(&rng);
        }
        reseal(buf, oa.len);
        char *exact = xmalloc(oa.len);
        memcpy(exact, buf, oa.len);
        for (unsigned i = 1; i < OA__COUNT; i++) {
            struct str value = oa_find((struct str){exact, oa.len}, (enum obj_attr)i);
            assert_true(value.len <= oa.len);
        }
        enum rc rc = oa_check((struct str){exact, oa.len});
        assert_true(rc == RC_OK || rc == RC_DAMAGED);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(values_can_be_read_in_place),
        cmocka_unit_test(the_bytes_are_those_of_the_document),
        cmocka_unit_test(each_flipped_bit_is_found),
        cmocka_unit_test(each_shorter_stream_is_refused),
        cmocka_unit_test(other_versions_are_not_damage),
        cmocka_unit_test(order_padding_and_twins_are_checked),
        cmocka_unit_test(noise_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
