/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "vcl/blob_codec.h"

/* What blob.transcode of Varnish 7.1.1 made of these texts, in hexadecimal digits; but for padding
 * with something behind it, which is refused here. */
static void texts_decode(void **state)
{
    (void)state;
    static const struct {
        enum blob_encoding encoding;
        const char *text;
        const char *hex; /* NULL: malformed */
    } rows[] = {
        {BLOB_HEX, "f", "0f"},
        {BLOB_HEX, "0f0", "00f0"},
        {BLOB_HEX, "0g", NULL},
        {BLOB_HEX, "", ""},
        {BLOB_HEX, "0 1", NULL},
        {BLOB_BASE64, "YQ==", "61"},
        {BLOB_BASE64, "YQ=", "61"},
        {BLOB_BASE64, "YQ", "61"},
        {BLOB_BASE64, "Y", ""},
        {BLOB_BASE64, "YWI=", "6162"},
        {BLOB_BASE64, "YWI", "6162"},
        {BLOB_BASE64, "YWJj", "616263"},
        {BLOB_BASE64, "YW=j", NULL},
        {BLOB_BASE64, "YQ==YQ==", NULL},
        {BLOB_BASE64, "====", NULL},
        {BLOB_BASE64, "Y===", NULL},
        {BLOB_BASE64, "YR==", "61"},
        {BLOB_BASE64, "YWJj=", NULL},
        {BLOB_BASE64, "a-_b", NULL},
        {BLOB_BASE64URL, "a-_b", "6befdb"},
        {BLOB_BASE64URLNOPAD, "YQ", "61"},
        {BLOB_BASE64URLNOPAD, "YQ==", NULL},
        {BLOB_BASE64CF, "YQ__", "61"},
        {BLOB_BASE64CF, "a-~b", "6befdb"},
        {BLOB_BASE64CF, "YQ==", NULL},
        {BLOB_URL, "a%20b", "612062"},
        {BLOB_URL, "a%2", NULL},
        {BLOB_URL, "%", NULL},
        {BLOB_URL, "%zz", NULL},
        {BLOB_URL, "a+b", "612b62"},
        {BLOB_URL, "%41%6a%6A", "416a6a"},
        {BLOB_IDENTITY, "abc", "616263"},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        char bytes[32];
        char hex[64];
        struct str text = str_of(rows[n].text);
        struct sb out = sb_of(bytes, text.len); /* never more than the text has */
        enum rc rc = vcl__blob_decode(rows[n].encoding, text, &out);
        assert_int_equal(rc, rows[n].hex == NULL ? RC_MALFORMED : RC_OK);
        assert_false(rc == RC_OK && out.overflow);
        if (rc == RC_OK) {
            struct sb sb = sb_of(hex, sizeof hex - 1);
            vcl__blob_encode(BLOB_HEX, false, sb_str(&out), &sb);
            hex[sb.len] = '\0';
            assert_string_equal(hex, rows[n].hex);
        }
    }
}

static void bytes_encode(void **state)
{
    (void)state;
    static const char odd[] = "\0 ~+-_./%\xc3\xa4*";
    char text[64];
    struct sb sb = sb_of(text, sizeof text - 1);
    vcl__blob_encode(BLOB_URL, false, (struct str){odd, sizeof odd - 1}, &sb);
    text[sb.len] = '\0';
    assert_string_equal(text, "%00%20~%2b-_.%2f%25%c3%a4%2a");
    sb.len = 0;
    vcl__blob_encode(BLOB_URL, true, (struct str){odd, sizeof odd - 1}, &sb);
    text[sb.len] = '\0';
    assert_string_equal(text, "%00%20~%2B-_.%2F%25%C3%A4%2A");
    sb.len = 0;
    vcl__blob_encode(BLOB_BASE64CF, false, STR("\xfb\xff"), &sb);
    text[sb.len] = '\0';
    assert_string_equal(text, "-~8_");
}

static void what_is_encoded_decodes(void **state)
{
    (void)state;
    struct rng rng = {.state = 3};
    for (unsigned round = 0; round < 2000; round++) {
        enum blob_encoding e = (enum blob_encoding)rng_below(&rng, BLOB_ENCODING__COUNT);
        char bytes[40];
        size_t len = rng_below(&rng, sizeof bytes);
        for (size_t n = 0; n < len; n++) {
            bytes[n] = (char)rng_u64(&rng);
        }
        char text[160];
        char back[160];
        struct sb out = sb_of(text, vcl__blob_encoded_max(e, len));
        vcl__blob_encode(e, rng_below(&rng, 2) == 0, (struct str){bytes, len}, &out);
        assert_false(out.overflow);
        struct sb again = sb_of(back, out.len);
        assert_int_equal(vcl__blob_decode(e, sb_str(&out), &again), RC_OK);
        assert_int_equal(again.len, len);
        assert_memory_equal(back, bytes, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_decode),
        cmocka_unit_test(bytes_encode),
        cmocka_unit_test(what_is_encoded_decodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
