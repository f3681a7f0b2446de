/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a child that compiles may write, and what it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "mgt/pack.h"
#include "mgt/vcc.h"

static enum rc parse(struct str bytes, struct vcc_output *out, struct cli_text *messages)
{
    struct cli_text pack = {0};
    cli_text_add(&pack, bytes);
    enum rc rc = mgt__vcc_parse(&pack, out, messages);
    assert_null(pack.ptr);
    return rc;
}

static enum rc outcome(struct str bytes)
{
    struct vcc_output out;
    struct cli_text messages = {0};
    enum rc rc = parse(bytes, &out, &messages);
    if (rc != RC_OK) {
        assert_null(out.sources);
        assert_null(out.pack.ptr);
    }
    mgt__vcc_output_free(&out);
    cli_text_free(&messages);
    return rc;
}

#define BYTES(text) ((struct str){text, sizeof text - 1})

static void test_compiled(void **state)
{
    (void)state;
    struct vcc_output out;
    struct cli_text messages = {0};
    assert_int_equal(
        parse(BYTES("compiled 4\nhm.\n\nname 2\na\0\ntext 3\nx\ny\nname 3\nbb\0\ntext 0\n\n"
                    "label 2\nl\0\n"),
              &out, &messages),
        RC_OK);
    assert_true(str_eq(cli_text_str(&messages), STR("hm.\n")));
    assert_int_equal(out.sources_count, 2);
    assert_string_equal(out.sources[0].name, "a");
    assert_true(str_eq(out.sources[0].text, STR("x\ny")));
    assert_string_equal(out.sources[1].name, "bb");
    assert_int_equal(out.sources[1].text.len, 0);
    assert_int_equal(out.labels_count, 1);
    assert_string_equal(out.labels[0], "l");
    mgt__vcc_output_free(&out);
    cli_text_free(&messages);
}

static void test_refused(void **state)
{
    (void)state;
    struct vcc_output out;
    struct cli_text messages = {0};
    assert_int_equal(parse(BYTES("refused 3\nno\n\n"), &out, &messages), RC_INVALID);
    assert_true(str_eq(cli_text_str(&messages), STR("no\n")));
    cli_text_free(&messages);
}

static void test_not_an_answer(void **state)
{
    (void)state;
    static const struct str rows[] = {
        STR_INIT(""),
        STR_INIT("\n"),
        STR_INIT("compiled"),
        STR_INIT("compiled 0\n"),
        STR_INIT("compiled 0\n\n"),
        STR_INIT("compiled -1\n\n"),
        STR_INIT("compiled 18446744073709551615\n\n"),
        STR_INIT("compiled 18446744073709551616\n\n"),
        STR_INIT(" 0\n\n"),
        STR_INIT("refused 0\n\nname 2\na\0\n"),
        STR_INIT("compiled 0\n\nname 2\na\0\n"),
        STR_INIT("compiled 0\n\ntext 1\na\n"),
        STR_INIT("compiled 0\n\nname 1\na\ntext 1\nx\n"),
        STR_INIT("compiled 0\n\nname 1\n\0\ntext 1\nx\n"),
        STR_INIT("compiled 0\n\nname 3\n\0a\0\ntext 1\nx\n"),
        STR_INIT("compiled 0\n\nname 2\na\0\nname 2\nb\0\ntext 1\nx\n"),
        STR_INIT("compiled 0\n\nname 2\na\0\ntext 1\nx\nlabel 0\n\n"),
        STR_INIT("compiled 0\n\nname 2\na\0\ntext 1\nx\nother 0\n\n"),
        STR_INIT("compiled 0\n\nname 2\na\0\ntext 2\nx\n"),
        STR_INIT("compiled 0\n\nname 2\na\0\ntext 0\nx\n"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(outcome(rows[i]), RC_MALFORMED);
    }
}

/* Whatever was put in comes out; what is cut anywhere, does not. */
static void test_pack(void **state)
{
    (void)state;
    struct rng rng = {7};
    for (unsigned round = 0; round < 200; round++) {
        struct cli_text pack = {0};
        char texts[8][32];
        size_t lens[8];
        for (unsigned i = 0; i < 8; i++) {
            lens[i] = rng_below(&rng, sizeof texts[i]);
            for (size_t k = 0; k < lens[i]; k++) {
                texts[i][k] = "\n\0 09a"[rng_below(&rng, 6)];
            }
            pack_put(&pack, "w", (struct str){texts[i], lens[i]});
        }
        struct str rest = cli_text_str(&pack);
        struct str word;
        struct str text;
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(pack_next(&rest, &word, &text), RC_OK);
            assert_true(str_eq(word, STR("w")));
            assert_true(str_eq(text, (struct str){texts[i], lens[i]}));
        }
        assert_int_equal(pack_next(&rest, &word, &text), RC_EOF);
        rest = (struct str){pack.ptr, rng_below(&rng, lens[0] + 3) + 1};
        assert_int_equal(pack_next(&rest, &word, &text), RC_MALFORMED);
        cli_text_free(&pack);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compiled),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_an_answer),
        cmocka_unit_test(test_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
