/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* ESI programs: what was written is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "filter/esi.h"

static struct str finish(struct esi_writer **w)
{
    char *program;
    size_t len;
    assert_int_equal(esi_writer_finish(*w, &program, &len), RC_OK);
    esi_writer_free(w);
    return (struct str){program, len};
}

static void free_text(struct str s)
{
    free((void *)(uintptr_t)s.ptr);
}

static struct str sample(bool is_gzip)
{
    struct esi_writer *w = esi_writer_new(is_gzip);
    esi_writer_skip(w, 10);
    esi_writer_keep(w, 20, 100, 0xcafe);
    esi_writer_include(w, STR("host"), STR("/a"), false);
    esi_writer_skip(w, 5);
    esi_writer_skip(w, 6);
    esi_writer_include(w, STR_NONE, STR("/b"), true);
    esi_writer_keep(w, 7, 8, 9);
    esi_writer_keep(w, 1, 2, 3);
    return finish(&w);
}

static void next(struct esi_reader *r, struct esi_op *op, enum esi_kind kind, uint64_t len)
{
    assert_int_equal(esi_read(r, op), RC_OK);
    assert_int_equal(op->kind, kind);
    assert_int_equal(op->len, len);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    struct str program = sample(false);
    struct esi_reader r;
    struct esi_op op;
    assert_int_equal(esi_read_begin(&r, program, 49), RC_OK);
    assert_false(r.is_gzip);
    next(&r, &op, ESI_SKIP, 10);
    next(&r, &op, ESI_KEEP, 20);
    next(&r, &op, ESI_INCLUDE, 0);
    assert_true(str_eq(op.host, STR("host")) && str_eq(op.url, STR("/a")) && !op.goes_on);
    next(&r, &op, ESI_SKIP, 11);
    next(&r, &op, ESI_INCLUDE, 0);
    assert_true(op.host.len == 0 && str_eq(op.url, STR("/b")) && op.goes_on);
    next(&r, &op, ESI_KEEP, 8);
    next(&r, &op, ESI_DONE, 0);
    free_text(program);
}

static void pieces_of_gzip_stay_apart(void **state)
{
    (void)state;
    struct str program = sample(true);
    struct esi_reader r;
    struct esi_op op;
    assert_int_equal(esi_read_begin(&r, program, 60), RC_OK);
    assert_true(r.is_gzip);
    next(&r, &op, ESI_SKIP, 10);
    next(&r, &op, ESI_KEEP, 20);
    assert_true(op.text_len == 100 && op.crc == 0xcafe);
    next(&r, &op, ESI_INCLUDE, 0);
    next(&r, &op, ESI_SKIP, 11);
    next(&r, &op, ESI_INCLUDE, 0);
    next(&r, &op, ESI_KEEP, 7);
    next(&r, &op, ESI_KEEP, 1);
    assert_true(op.text_len == 2 && op.crc == 3);
    next(&r, &op, ESI_DONE, 0);
    free_text(program);
}

static enum rc walk(struct str program, uint64_t body_len)
{
    struct esi_reader r;
    struct esi_op op = {.kind = ESI_MORE};
    enum rc rc = esi_read_begin(&r, program, body_len);
    uint64_t sum = 0;
    while (rc == RC_OK && op.kind != ESI_DONE) {
        rc = esi_read(&r, &op);
        sum += op.len;
        assert_true(rc != RC_OK || sum <= body_len);
        if (rc == RC_OK && op.kind == ESI_INCLUDE) {
            assert_true(op.url.len > 0 && op.url.ptr > program.ptr);
            assert_true(op.url.ptr + op.url.len <= program.ptr + program.len);
        }
    }
    return rc;
}

static void the_body_has_to_be_as_long(void **state)
{
    (void)state;
    struct str program = sample(false);
    assert_int_equal(walk(program, 49), RC_OK);
    assert_int_equal(walk(program, 48), RC_DAMAGED);
    assert_int_equal(walk(program, 50), RC_DAMAGED);
    free_text(program);
}

static void damaged_programs_are_refused(void **state)
{
    (void)state;
    struct str program = sample(true);
    unsigned refused = 0;
    for (size_t len = 0; len < program.len; len++) {
        char *cut = str_dup((struct str){program.ptr, len});
        refused += walk((struct str){cut, len}, 60) != RC_OK;
        free(cut);
    }
    assert_true(refused > program.len / 2);
    struct rng rng;
    rng.state = 3;
    for (unsigned n = 0; n < 20000; n++) {
        char *copy = str_dup(program);
        for (uint64_t k = 1 + rng_below(&rng, 3); k > 0; k--) {
            copy[rng_below(&rng, program.len)] = (char)rng_u64(&rng);
        }
        (void)walk((struct str){copy, program.len}, 60);
        free(copy);
    }
    free_text(program);
    assert_int_equal(walk(STR("ES\2\0"), 0), RC_UNSUPPORTED);
    assert_int_equal(walk(STR("ES\1\2"), 0), RC_UNSUPPORTED);
    assert_int_equal(walk(STR("ET\1\0"), 0), RC_DAMAGED);
    assert_int_equal(walk(STR("ES\1\0"), 0), RC_OK);
    assert_int_equal(walk(STR("ES\1\0S\0\0\0\0\0\0\0\0"), 0), RC_DAMAGED);
    assert_int_equal(walk(STR("ES\1\0I\0\0\2\0a "), 0), RC_DAMAGED);
    assert_int_equal(walk(STR("ES\1\0I\0\0\2\0ab"), 0), RC_OK);
}

static void programs_are_bounded(void **state)
{
    (void)state;
    struct esi_writer *w = esi_writer_new(false);
    for (unsigned n = 0; n < ESI_PROGRAM_MAX / 8; n++) {
        esi_writer_include(w, STR_NONE, STR("/123"), false);
    }
    char *program;
    size_t len;
    assert_int_equal(esi_writer_finish(w, &program, &len), RC_LIMIT);
    esi_writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(pieces_of_gzip_stay_apart),
        cmocka_unit_test(the_body_has_to_be_as_long),
        cmocka_unit_test(damaged_programs_are_refused),
        cmocka_unit_test(programs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
