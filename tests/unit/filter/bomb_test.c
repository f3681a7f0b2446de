/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Small bodies that want to be large ones: 10 GiB of zeros in each format, and twice in gzip. */
#include "codec_run.h"

#include "filter/deflate.h"
#include "filter/states.h"

enum { PIECE = 1 << 20, PIECES = 10 << 10 };

/* 1 MiB of zeros once, as a piece that refers to nothing before it, then the same again and again.
 */
static struct bytes gzip_bomb(void)
{
    struct filter_env env = WAY_ENV;
    struct deflate *d;
    assert_int_equal(deflate_new(&env, &d), RC_OK);
    char *zeros = xcalloc(1, PIECE), *packed = xmalloc(PIECE);
    struct codec_io io = {.in = zeros, .in_len = PIECE, .out = packed, .room = PIECE};
    assert_int_equal(deflate_feed(d, &io, DEFLATE_RESET), RC_OK);
    assert_int_equal(io.in_len, 0);
    size_t len = PIECE - io.room - DEFLATE_HEAD_BYTES;
    struct bytes all = {NULL, 0, 0};
    bytes_add(&all, deflate_head, DEFLATE_HEAD_BYTES);
    uint32_t one = gzip_crc(0, zeros, PIECE), crc = 0;
    for (unsigned n = 0; n < PIECES; n++) {
        bytes_add(&all, packed + DEFLATE_HEAD_BYTES, len);
        crc = gzip_crc_join(crc, one, PIECE);
    }
    bytes_add(&all, "\x03", 2); /* an empty last block */
    bytes_add(&all, &crc, 4);
    bytes_add(&all, &(uint32_t){(uint32_t)((uint64_t)PIECE * PIECES)}, 4);
    deflate_free(&d);
    free(zeros);
    free(packed);
    return all;
}

/* Blocks of one byte and a count; all but the last 128 KiB long. */
static struct bytes zstd_bomb(void)
{
    struct bytes all = {NULL, 0, 0};
    bytes_add(&all, "\x28\xb5\x2f\xfd\0\x68", 6); /* a window of 8 MiB */
    for (unsigned n = 0; n < 8 * PIECES; n++) {
        bytes_add(&all, n + 1 < 8 * PIECES ? "\x02\0\x10\0" : "\x03\0\x10\0", 4);
    }
    return all;
}

static struct bytes brotli_bomb(void)
{
    struct bytes zeros = {xcalloc(1, 200 << 20), 200 << 20, 0};
    struct way way = {.codecs = {&codec_brotli}, .env = WAY_ENV};
    way.env.brotli_quality = 2;
    assert_int_equal(way_run(&way, zeros.ptr, zeros.len), RC_OK);
    bytes_free(&zeros);
    return way.out;
}

static void bomb(const struct bytes *body, const struct codec *first, const struct codec *second)
{
    /* All that it may take beside the chain's buffers. */
    struct filter_states *states = filter_states_new(20 << 20, NULL);
    for (unsigned n = 0; n < 6; n++) {
        struct way way = {.codecs = {first, second}, .env = WAY_ENV, .drops = true};
        way.env.states = states;
        way.is_push = n % 2 == 0;
        if (n < 2) {
            way.env.expand_bytes_max = 3 << 20;
        } else {
            way.env.expand_floor_bytes = n < 4 ? 8 << 20 : 0;
            way.env.expand_ratio_max = 250;
        }
        assert_int_equal(way_run(&way, body->ptr, body->len), RC_TOO_LONG);
        assert_true(way.out_bytes <= 8 << 20);
        assert_true(body->len - way.in_len <= 1 << 20 || way.is_push);
        assert_non_null(strstr(way.notes.error, n < 2 ? "gets too long" : "expands too much"));
        assert_int_equal(filter_states_out_bytes(states), 0);
    }
    filter_states_free(&states);
}

static void bombs_stop_at_the_limit(void **state)
{
    (void)state;
    struct bytes gz = gzip_bomb();
    struct bytes twice = made_by(&codec_gzip, NULL, gz.ptr, gz.len);
    assert_true(gz.len < 12 << 20);
    assert_true(twice.len < 100 << 10);
    bomb(&gz, &codec_gunzip, NULL);
    bomb(&twice, &codec_gunzip, &codec_gunzip);
    struct bytes zstd = zstd_bomb(), br = brotli_bomb();
    assert_true(zstd.len < 400 << 10);
    assert_true(br.len < 16 << 10);
    bomb(&zstd, &codec_unzstd, NULL);
    bomb(&br, &codec_unbrotli, NULL);
    bytes_free(&gz);
    bytes_free(&twice);
    bytes_free(&zstd);
    bytes_free(&br);
}

/* The same bodies are right ones: what is refused is their size. */
static void a_bomb_in_small_is_a_body(void **state)
{
    (void)state;
    struct bytes zeros = {xcalloc(1, 1 << 20), 1 << 20, 0};
    static const struct codec *const codecs[][2] = {{&codec_gzip, &codec_gunzip},
                                                    {&codec_brotli, &codec_unbrotli},
                                                    {&codec_zstd, &codec_unzstd}};
    for (unsigned n = 0; n < 3; n++) {
        struct bytes packed = made_by(codecs[n][0], NULL, zeros.ptr, zeros.len);
        struct way way = {.codecs = {codecs[n][1]}, .env = WAY_ENV};
        way.env.expand_floor_bytes = zeros.len;
        way.env.expand_bytes_max = zeros.len;
        way.env.expand_ratio_max = 2;
        assert_int_equal(way_run(&way, packed.ptr, packed.len), RC_OK);
        assert_int_equal(way.out.len, zeros.len);
        bytes_free(&way.out);
        bytes_free(&packed);
    }
    bytes_free(&zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bombs_stop_at_the_limit),
        cmocka_unit_test(a_bomb_in_small_is_a_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
