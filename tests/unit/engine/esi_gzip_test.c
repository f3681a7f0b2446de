/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Gzip bodies behind each other, and bytes between them, are one gzip body of all their bytes. */
#include "../filter/codec_run.h"

#include <zlib.h>

#include "engine/esi_gzip.h"
#include "filter/deflate.h"

static enum rc add(void *arg, const void *ptr, size_t len)
{
    bytes_add(arg, ptr, len);
    return RC_OK;
}

/* As any backend might: every level, strategy and kind of block. */
static void pack(const char *text, size_t len, unsigned seed, struct bytes *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text};
    int strategy = (int[]){Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE}[seed / 10 % 4];
    assert_int_equal(deflateInit2(&z, (int)(seed % 10), Z_DEFLATED, MAX_WBITS + 16, 8, strategy),
                     Z_OK);
    struct rng rng = {seed};
    int rc = Z_OK;
    while (rc != Z_STREAM_END) {
        char buf[4096];
        size_t left = len - (size_t)((const char *)z.next_in - text);
        z.avail_in = (unsigned)(left == 0 ? 0 : 1 + rng_below(&rng, left));
        z.next_out = (Bytef *)buf;
        z.avail_out = sizeof buf;
        bool is_last = z.avail_in == left;
        rc = deflate(&z, is_last ? Z_FINISH : rng_below(&rng, 2) == 0 ? Z_NO_FLUSH : Z_BLOCK);
        bytes_add(out, buf, sizeof buf - z.avail_out);
    }
    deflateEnd(&z);
}

static struct gzip_bits bits_of(const struct bytes *body)
{
    struct way way = {.codecs = {&codec_testgunzip}, .env = WAY_ENV};
    assert_int_equal(way_run(&way, body->ptr, body->len), RC_OK);
    assert_true(way.notes.gzip.is_set);
    bytes_free(&way.out);
    return way.notes.gzip;
}

static void random_text(struct rng *rng, struct bytes *text)
{
    uint64_t kinds = 1 + rng_below(rng, 250);
    for (uint64_t n = rng_below(rng, 4) == 0 ? rng_below(rng, 8) : rng_below(rng, 5000); n > 0;
         n--) {
        char c = (char)rng_below(rng, kinds);
        bytes_add(text, &c, 1);
    }
}

static void stitch(const struct bytes *body, size_t step, struct bytes *out, struct gzip_bits *bits)
{
    struct stitch s;
    *bits = bits_of(body);
    assert_true(stitch_begin(&s, bits, body->len));
    for (size_t at = 0; at < body->len; at += step) {
        size_t len = body->len - at < step ? body->len - at : step;
        char *copy = str_dup((struct str){body->ptr + at, len});
        assert_int_equal(stitch_put(&s, copy, len, add, out), RC_OK);
        free(copy);
    }
}

static void check(const struct bytes *out, const struct bytes *want)
{
    z_stream z = {.next_in = (Bytef *)out->ptr, .avail_in = (unsigned)out->len};
    char *back = xmalloc(want->len + 1);
    z.next_out = (Bytef *)back;
    z.avail_out = (unsigned)want->len + 1;
    assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, want->len);
    if (want->len > 0) {
        assert_memory_equal(back, want->ptr, want->len);
    }
    inflateEnd(&z);
    free(back);
}

static void bodies_become_one(void **state)
{
    (void)state;
    struct rng rng = {17};
    unsigned ends = 0; /* in which bit of a byte bodies have ended */
    for (unsigned n = 0; n < 400; n++) {
        struct bytes out = {NULL, 0, 0};
        struct bytes want = {NULL, 0, 0};
        uint32_t crc = 0;
        bytes_add(&out, deflate_head, DEFLATE_HEAD_BYTES);
        for (unsigned k = 0; k < 4; k++) {
            struct bytes text = {NULL, 0, 0};
            struct bytes body = {NULL, 0, 0};
            random_text(&rng, &text);
            if (k == 2) {
                assert_int_equal(stitch_wrap(text.ptr, text.len, add, &out), RC_OK);
                crc = gzip_crc_join(crc, gzip_crc(0, text.ptr, text.len), text.len);
            } else {
                struct gzip_bits bits;
                pack(text.ptr == NULL ? "" : text.ptr, text.len, (unsigned)rng_u64(&rng) % 40,
                     &body);
                stitch(&body, n % 3 == 0 ? 1 : 1 + rng_below(&rng, 2000), &out, &bits);
                assert_int_equal(bits.in_bytes, text.len);
                crc = gzip_crc_join(crc, bits.crc, bits.in_bytes);
                ends |= 1u << bits.stop_bit % 8;
            }
            bytes_add(&want, text.ptr, text.len);
            bytes_free(&text);
            bytes_free(&body);
        }
        char tail[STITCH_TAIL_BYTES];
        stitch_tail(tail, crc, want.len);
        bytes_add(&out, tail, sizeof tail);
        check(&out, &want);
        bytes_free(&out);
        bytes_free(&want);
    }
    assert_int_equal(ends, 0xff);
}

static void long_bytes_are_wrapped(void **state)
{
    (void)state;
    struct bytes out = {NULL, 0, 0};
    struct bytes text = {NULL, 0, 0};
    for (unsigned n = 0; n < 200000; n++) {
        char c = (char)n;
        bytes_add(&text, &c, 1);
    }
    bytes_add(&out, deflate_head, DEFLATE_HEAD_BYTES);
    assert_int_equal(stitch_wrap(text.ptr, text.len, add, &out), RC_OK);
    char tail[STITCH_TAIL_BYTES];
    stitch_tail(tail, gzip_crc(0, text.ptr, text.len), text.len);
    bytes_add(&out, tail, sizeof tail);
    check(&out, &text);
    bytes_free(&out);
    bytes_free(&text);
}

static void impossible_bits_are_refused(void **state)
{
    (void)state;
    const struct gzip_bits good = {
        .start_bit = 80, .last_bit = 80, .stop_bit = 90, .out_bytes = 20, .is_set = true};
    struct stitch s;
    assert_true(stitch_begin(&s, &good, 20));
    assert_false(stitch_begin(&s, &good, 21));
    struct gzip_bits bad[8];
    for (unsigned n = 0; n < 8; n++) {
        bad[n] = good;
    }
    bad[0].is_set = false;
    bad[1].start_bit = 81;
    bad[2].start_bit = 0;
    bad[3].last_bit = 79;
    bad[4].stop_bit = 80;
    bad[5].stop_bit = 97;
    bad[6].stop_bit = UINT64_MAX;
    bad[7].last_bit = UINT64_MAX;
    for (unsigned n = 0; n < 8; n++) {
        assert_false(stitch_begin(&s, &bad[n], 20));
    }
    struct gzip_bits read;
    assert_false(stitch_bits_read(STR_NONE, &read));
    assert_false(stitch_bits_read(STR("0123456789012345678901234567890123456789012"), &read));
    assert_true(stitch_bits_read(STR("01234567890123456789012345678901234567890123"), &read));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_become_one),
        cmocka_unit_test(long_bytes_are_wrapped),
        cmocka_unit_test(impossible_bits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
