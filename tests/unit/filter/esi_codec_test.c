/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The filters of ESI: the document stays what it is, packed or not, and the program's pieces of it
 * are what a client shall get. */
#include "codec_run.h"

#include <zlib.h>

#include "filter/deflate.h"
#include "filter/esi.h"

static const char doc[] =
    "<html>first <esi:include src=\"/a\"/><b>second</b><esi:remove>hidden</esi:remove>"
    "first first first second second<!--esi third --><esi:include src='b' onerror='continue'/>"
    "<!-- comment --><esi:bogus/>end</html>";
static const char kept[] = "<html>first {|/a}<b>second</b>first first first second second third "
                           "{|/dir/b}<!-- comment -->end</html>";

/* The gzip body (or the blocks alone) at ptr, unpacked behind *out. */
static bool unpack(const char *ptr, size_t len, int bits, struct bytes *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)ptr, .avail_in = (unsigned)len};
    assert_int_equal(inflateInit2(&z, bits), Z_OK);
    int rc = Z_OK;
    while (rc == Z_OK) {
        char buf[1000];
        z.next_out = (Bytef *)buf;
        z.avail_out = sizeof buf;
        rc = inflate(&z, Z_SYNC_FLUSH);
        bytes_add(out, buf, sizeof buf - z.avail_out);
        if (rc == Z_OK && z.avail_in == 0 && z.avail_out > 0) {
            break; /* blocks without a last one */
        }
    }
    bool is_good = bits < 0 ? rc == Z_OK || rc == Z_BUF_ERROR : rc == Z_STREAM_END;
    is_good = is_good && z.avail_in == 0;
    inflateEnd(&z);
    return is_good;
}

static void check_piece(const struct esi_op *op, const char *at, bool is_gzip, struct bytes *text)
{
    size_t before = text->len;
    if (!is_gzip) {
        bytes_add(text, at, op->len);
        return;
    }
    /* Alone, with nothing known of what stands before it. */
    assert_true(unpack(at, op->len, -MAX_WBITS, text));
    assert_int_equal(text->len - before, op->text_len);
    assert_int_equal(gzip_crc(0, text->ptr + before, op->text_len), op->crc);
}

static void check_program(const struct way *way, const char *want)
{
    struct esi_reader r;
    struct str program = {way->notes.esi, way->notes.esi_len};
    assert_int_equal(esi_read_begin(&r, program, way->out.len), RC_OK);
    struct bytes text = {NULL, 0, 0};
    size_t off = 0;
    for (struct esi_op op = {.kind = ESI_MORE}; op.kind != ESI_DONE;) {
        assert_int_equal(esi_read(&r, &op), RC_OK);
        if (op.kind == ESI_KEEP) {
            check_piece(&op, way->out.ptr + off, r.is_gzip, &text);
        } else if (op.kind == ESI_INCLUDE) {
            bytes_add(&text, "{|", 2);
            bytes_add(&text, op.url.ptr, op.url.len);
            bytes_add(&text, "}", 1);
        }
        off += op.len;
    }
    assert_true(r.is_gzip ? off + 2 + DEFLATE_TAIL_BYTES <= way->out.len : off == way->out.len);
    assert_int_equal(text.len, strlen(want));
    assert_memory_equal(text.ptr, want, text.len);
    bytes_free(&text);
}

static void run_all(const struct codec *codec, const char *text, size_t len, const char *want,
                    void (*check_out)(const struct bytes *out, const char *text, size_t len))
{
    struct bytes first = {NULL, 0, 0};
    static const size_t sizes[] = {0, 1, 3, 20};
    for (unsigned n = 0; n < 32; n++) {
        struct way way = {.codecs = {codec}, .env = WAY_ENV, .seed = n};
        way.env.url = STR("/dir/doc");
        way.is_push = n % 2 == 0;
        way.in_max = sizes[n / 2 % 4];
        way.out_max = sizes[n / 8];
        assert_int_equal(way_run(&way, text, len), RC_OK);
        check_out(&way.out, text, len);
        check_program(&way, want);
        if (n == 0) {
            bytes_add(&first, way.out.ptr, way.out.len);
            bytes_add(&first, way.notes.esi, way.notes.esi_len);
        } else {
            assert_int_equal(first.len, way.out.len + way.notes.esi_len);
            assert_memory_equal(first.ptr, way.out.ptr, way.out.len);
            assert_memory_equal(first.ptr + way.out.len, way.notes.esi, way.notes.esi_len);
        }
        assert_int_equal(way.notes.esi_errors, strstr(text, "bogus") != NULL);
        free(way.notes.esi);
        bytes_free(&way.out);
    }
    bytes_free(&first);
}

static void is_same(const struct bytes *out, const char *text, size_t len)
{
    assert_int_equal(out->len, len);
    assert_memory_equal(out->ptr, text, len);
}

static void is_packed(const struct bytes *out, const char *text, size_t len)
{
    struct bytes back = {NULL, 0, 0};
    assert_true(unpack(out->ptr, out->len, MAX_WBITS + 16, &back));
    assert_int_equal(back.len, len);
    assert_memory_equal(back.ptr, text, len);
    bytes_free(&back);
}

static void the_document_stays_as_it_is(void **state)
{
    (void)state;
    run_all(&codec_esi, doc, strlen(doc), kept, is_same);
}

static void packed_it_comes_in_pieces(void **state)
{
    (void)state;
    run_all(&codec_esi_gzip, doc, strlen(doc), kept, is_packed);
    run_all(&codec_esi_gzip, "<esi:include src='/x'/>", 23, "{|/x}", is_packed);
    run_all(&codec_esi_gzip, "<a><esi:remove>", 15, "<a>", is_packed);
}

static void long_documents_are_packed(void **state)
{
    (void)state;
    struct bytes text = {NULL, 0, 0};
    struct bytes want = {NULL, 0, 0};
    struct rng rng = {5};
    for (unsigned n = 0; n < 60; n++) {
        bytes_add(&text, "<p>", 3);
        bytes_add(&want, "<p>", 3);
        for (uint64_t k = rng_below(&rng, 3000); k > 0; k--) {
            char c = (char)('a' + rng_below(&rng, 20));
            bytes_add(&text, &c, 1);
            bytes_add(&want, &c, 1);
        }
        bytes_add(&text, "<esi:include src='/x'/>", 23);
        bytes_add(&want, "{|/x}", 5);
    }
    bytes_add(&text, "", 1);
    bytes_add(&want, "", 1);
    run_all(&codec_esi_gzip, text.ptr, text.len - 1, want.ptr, is_packed);
    bytes_free(&text);
    bytes_free(&want);
}

static void what_has_no_tags_has_no_program(void **state)
{
    (void)state;
    const struct codec *codecs[] = {&codec_esi, &codec_esi_gzip};
    for (unsigned n = 0; n < 2; n++) {
        struct way way = {.codecs = {codecs[n]}, .env = WAY_ENV};
        way.env.url = STR("/");
        assert_int_equal(way_run(&way, "text", 4), RC_OK);
        assert_null(way.notes.esi);
        assert_int_equal(way.notes.gzip.is_set, n == 1);
        assert_non_null(strstr(way.log, "No ESI processing, first char not '<'"));
        bytes_free(&way.out);
        assert_int_equal(way_run(&way, "", 0), RC_OK);
        assert_null(way.notes.esi);
        bytes_free(&way.out);
    }
}

static void complaints_are_logged_and_bounded(void **state)
{
    (void)state;
    struct bytes text = {NULL, 0, 0};
    for (unsigned n = 0; n < 2000; n++) {
        bytes_add(&text, "<esi:x>", 7);
    }
    struct way way = {.codecs = {&codec_esi}, .env = WAY_ENV};
    way.env.url = STR("/");
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
    assert_int_equal(way.notes.esi_errors, 2000);
    assert_non_null(strstr(way.log, "ERR after 0 ESI 1.0 <esi:bogus> element\n"));
    free(way.notes.esi);
    bytes_free(&way.out);
    bytes_free(&text);
}

static void too_many_includes_fail(void **state)
{
    (void)state;
    struct bytes text = {NULL, 0, 0};
    for (unsigned n = 0; n < ESI_PROGRAM_MAX / 6; n++) {
        bytes_add(&text, "<esi:include src='/x'/>", 23);
    }
    const struct codec *codecs[] = {&codec_esi, &codec_esi_gzip};
    for (unsigned n = 0; n < 2; n++) {
        struct way way = {.codecs = {codecs[n]}, .env = WAY_ENV, .drops = true};
        way.env.url = STR("/");
        assert_int_equal(way_run(&way, text.ptr, text.len), RC_LIMIT);
        assert_null(way.notes.esi);
        bytes_free(&way.out);
    }
    bytes_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_stays_as_it_is),
        cmocka_unit_test(packed_it_comes_in_pieces),
        cmocka_unit_test(long_documents_are_packed),
        cmocka_unit_test(what_has_no_tags_has_no_program),
        cmocka_unit_test(complaints_are_logged_and_bounded),
        cmocka_unit_test(too_many_includes_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
