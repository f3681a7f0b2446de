/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "codec_run.h"

#include <zlib.h>

#include "filter/deflate.h"
#include "filter/states.h"

/* zlib's own opinion of a whole gzip body. */
static struct bytes zlib_gunzip(const void *in, size_t len)
{
    struct bytes out = {NULL, 0, 0};
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = (unsigned)len};
    assert_int_equal(inflateInit2(&z, 31), Z_OK);
    int rc;
    do {
        char buf[4096];
        z.next_out = (Bytef *)buf;
        z.avail_out = sizeof buf;
        rc = inflate(&z, Z_NO_FLUSH);
        bytes_add(&out, buf, sizeof buf - z.avail_out);
    } while (rc == Z_OK);
    assert_int_equal(rc, Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(inflateEnd(&z), Z_OK);
    return out;
}

static void gzip_and_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 10, 4000, 32768, 150000};
    for (unsigned n = 0; n < 6; n++) {
        struct bytes text = text_of(sizes[n], n);
        struct bytes gz = made_by(&codec_gzip, NULL, text.ptr, text.len);
        struct bytes back = zlib_gunzip(gz.ptr, gz.len);
        assert_int_equal(back.len, text.len);
        assert_memory_equal(back.ptr, text.ptr, text.len);
        struct way zip = {.codecs = {&codec_gzip}, .env = WAY_ENV};
        way_all(&zip, text.ptr, text.len, RC_OK, gz.ptr, gz.len);
        struct way unzip = {.codecs = {&codec_gunzip}, .env = WAY_ENV};
        way_all(&unzip, gz.ptr, gz.len, RC_OK, text.ptr, text.len);
        struct way test = {.codecs = {&codec_testgunzip}, .env = WAY_ENV};
        way_all(&test, gz.ptr, gz.len, RC_OK, gz.ptr, gz.len);
        struct way many = {
            .codecs = {&codec_gzip, &codec_testgunzip, &codec_gunzip, &codec_gzip, &codec_gunzip},
            .env = WAY_ENV};
        way_all(&many, text.ptr, text.len, RC_OK, text.ptr, text.len);
        bytes_free(&text);
        bytes_free(&gz);
        bytes_free(&back);
    }
}

static unsigned bit_at(const struct bytes *b, uint64_t bit)
{
    return (unsigned char)b->ptr[bit / 8] >> (bit % 8) & 1;
}

/* What compressing notes is what decompressing finds, for all levels. */
static void bits_tell_where_the_blocks_are(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 5000, 70001, 300000};
    for (unsigned n = 0; n < 6 * 10 * 2; n++) {
        struct bytes text = text_of(sizes[n % 6], n);
        struct way zip = {.codecs = {&codec_gzip}, .env = WAY_ENV, .in_max = n % 2 * 3000};
        zip.env.gzip_level = (int)(n / 6 % 10);
        zip.env.gzip_memlevel = n < 60 ? 8 : 1;
        assert_int_equal(way_run(&zip, text.ptr, text.len), RC_OK);
        struct gzip_bits made = zip.notes.gzip;
        assert_true(made.is_set);
        assert_int_equal(made.in_bytes, text.len);
        assert_int_equal(made.out_bytes, zip.out.len);
        assert_int_equal(made.crc, crc32(0, (Bytef *)text.ptr, (unsigned)text.len));
        assert_int_equal(made.start_bit, 80);
        assert_int_equal(bit_at(&zip.out, made.last_bit), 1);
        assert_int_equal((made.stop_bit + 7) / 8 + 8, zip.out.len);

        struct way test = {.codecs = {&codec_testgunzip}, .env = WAY_ENV, .in_max = n % 3 * 1000};
        assert_int_equal(way_run(&test, zip.out.ptr, zip.out.len), RC_OK);
        struct gzip_bits seen = test.notes.gzip;
        assert_true(seen.is_set);
        assert_int_equal(seen.start_bit, made.start_bit);
        assert_int_equal(seen.last_bit, made.last_bit);
        assert_int_equal(seen.stop_bit, made.stop_bit);
        assert_int_equal(seen.in_bytes, made.in_bytes);
        assert_int_equal(seen.out_bytes, made.out_bytes);
        assert_int_equal(seen.crc, made.crc);
        bytes_free(&text);
        bytes_free(&zip.out);
        bytes_free(&test.out);
    }
}

/* A body that zlib makes in one go has its last block anywhere; with a name in its head. */
static void bits_of_others_bodies(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 40; n++) {
        struct bytes text = text_of(n * 997, n);
        z_stream z = {.next_in = (Bytef *)text.ptr, .avail_in = (unsigned)text.len};
        assert_int_equal(deflateInit2(&z, (int)(n % 10), Z_DEFLATED, 31, 1 + (int)(n % 9),
                                      n % 4 == 0 ? Z_FIXED : Z_DEFAULT_STRATEGY),
                         Z_OK);
        gz_header head = {.name = (Bytef *)(uintptr_t) "a name"};
        assert_int_equal(deflateSetHeader(&z, &head), Z_OK);
        static char gz[60000];
        z.next_out = (Bytef *)gz;
        z.avail_out = sizeof gz;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        struct bytes body = {gz, z.total_out, 0};
        assert_int_equal(deflateEnd(&z), Z_OK);
        struct way way = {.codecs = {&codec_testgunzip}, .env = WAY_ENV, .in_max = n};
        assert_int_equal(way_run(&way, body.ptr, body.len), RC_OK);
        struct gzip_bits bits = way.notes.gzip;
        assert_int_equal(bits.start_bit, 8 * 17);
        assert_int_equal((bits.stop_bit + 7) / 8 + 8, body.len);
        assert_true(bits.start_bit <= bits.last_bit);
        assert_true(bits.last_bit < bits.stop_bit);
        assert_int_equal(bit_at(&body, bits.last_bit), 1);
        bytes_free(&way.out);
        /* With that bit off, what stands before the last block's end is a stream that goes on. */
        gz[bits.last_bit / 8] ^= (char)(1 << (bits.last_bit % 8));
        z_stream on = {.next_in = (Bytef *)gz, .avail_in = (unsigned)(bits.stop_bit / 8)};
        assert_int_equal(inflateInit2(&on, 31), Z_OK);
        static char back[60000];
        on.next_out = (Bytef *)back;
        on.avail_out = sizeof back;
        assert_true(inflate(&on, Z_SYNC_FLUSH) == Z_OK);
        assert_int_equal(inflateEnd(&on), Z_OK);
        bytes_free(&text);
    }
}

static void damage_is_found(void **state)
{
    (void)state;
    struct bytes text = text_of(300, 5);
    struct way zip = {.codecs = {&codec_gzip}, .env = WAY_ENV};
    assert_int_equal(way_run(&zip, text.ptr, text.len), RC_OK);
    struct bytes gz = zip.out;
    struct gzip_bits bits = zip.notes.gzip;
    const struct codec *const codecs[] = {&codec_gunzip, &codec_testgunzip};
    for (unsigned n = 0; n < 2; n++) {
        struct way way = {.codecs = {codecs[n]}, .env = WAY_ENV};
        for (size_t len = 0; len < gz.len; len++) {
            way.is_push = len % 2 == 0;
            way.env.body_len = len % 3 == 0 ? len : SIZE_MAX;
            assert_int_equal(way_run(&way, gz.ptr, len), RC_MALFORMED);
            bytes_free(&way.out);
        }
        assert_string_equal(way.notes.error,
                            n == 0 ? "Gunzip error at the very end" : "tGunzip failed");
        for (size_t at = 0; at < gz.len * 8; at++) {
            gz.ptr[at / 8] ^= (char)(1 << (at % 8));
            way.is_push = at % 2 == 0;
            enum rc rc = way_run(&way, gz.ptr, gz.len);
            const struct bytes *want = n == 0 ? &text : &gz;
            if (rc == RC_OK) {
                /* Time and system in the head may be anything, and what fills the last byte; other
                 * forms of the same, which libdeflate takes and zlib does not, end in one CRC. */
                assert_true(n == 0 || at / 8 < 10 ||
                            (at >= bits.stop_bit && at / 8 == bits.stop_bit / 8));
                assert_int_equal(way.out.len, want->len);
                assert_memory_equal(way.out.ptr, want->ptr, want->len);
            }
            bytes_free(&way.out);
            gz.ptr[at / 8] ^= (char)(1 << (at % 8));
        }
    }
    bytes_free(&text);
    bytes_free(&gz);
}

static void errors_are_worded_as_varnish_does(void **state)
{
    (void)state;
    struct bytes gz = made_by(&codec_gzip, NULL, "hello", 5);
    bytes_add(&gz, gz.ptr, gz.len);
    struct way way = {.codecs = {&codec_gunzip}, .env = WAY_ENV};
    /* A second member is junk, and so is a byte; also when it comes later. */
    for (unsigned n = 0; n < 8; n++) {
        way.codecs[0] = n % 2 == 0 ? &codec_gunzip : &codec_testgunzip;
        way.is_push = n % 4 >= 2;
        way.in_max = n / 4;
        assert_int_equal(way_run(&way, gz.ptr, n < 4 ? gz.len : gz.len / 2 + 1), RC_MALFORMED);
        assert_string_equal(way.notes.error, "Junk after gzip data");
        assert_non_null(strstr(way.log, "G(un)zip error: 1 (junk after VGZ_END)\n"));
        bytes_free(&way.out);
    }
    way_all(&way, "hello, world", 12, RC_MALFORMED, NULL, 0);
    assert_int_equal(way_run(&way, "hello, world", 12), RC_MALFORMED);
    assert_string_equal(way.notes.error, "Invalid Gzip data: incorrect header check");
    assert_non_null(strstr(way.log, "Gunzip error: -3 (incorrect header check)\n"));
    gz.ptr[gz.len / 2 - 8] ^= 1;
    assert_int_equal(way_run(&way, gz.ptr, gz.len / 2), RC_MALFORMED);
    assert_string_equal(way.notes.error, "Invalid Gzip data: incorrect data check");
    bytes_free(&way.out);
    bytes_free(&gz);
}

static void the_log_has_varnishs_records(void **state)
{
    (void)state;
    struct way way = {.codecs = {&codec_gzip, &codec_testgunzip, &codec_gunzip}, .env = WAY_ENV};
    assert_int_equal(way_run(&way, "hello", 5), RC_OK);
    assert_string_equal(way.log, "G F - 5 26 80 130 140\n"
                                 "u F - 26 5 80 130 140\n"
                                 "U F - 26 5 80 130 140\n");
    assert_false(way.notes.gzip.is_set); /* what came out is no gzip */
    bytes_free(&way.out);
}

/* A body that is known to be there as a whole is opened at once: to where it is wanted, or, where
 * there is no room, to memory of its own. */
static void a_whole_body_is_opened_at_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 20000, 32768, 32769, 200000, 262144, 262145};
    for (unsigned n = 0; n < 8 * 4; n++) {
        struct bytes text = text_of(sizes[n % 8], n);
        struct bytes gz = made_by(&codec_gzip, NULL, text.ptr, text.len);
        struct filter_states *states = filter_states_new(500000, NULL);
        struct way way = {.codecs = {n / 8 == 3 ? &codec_testgunzip : &codec_gunzip, &codec_gunzip},
                          .is_push = n / 8 != 1,
                          .late_end = n / 8 == 2,
                          .env = WAY_ENV};
        way.codecs[1] = n / 8 == 3 ? &codec_gunzip : NULL;
        way.env.states = states;
        way.env.body_len = gz.len;
        assert_int_equal(way_run(&way, gz.ptr, gz.len), RC_OK);
        assert_int_equal(way.out.len, text.len);
        assert_memory_equal(way.out.ptr, text.ptr, text.len);
        /* No block was looked at: it was not zlib. */
        bool at_once = strstr(way.log, " 0 0 0\n") != NULL;
        assert_int_equal(at_once, text.len <= 262144 && (way.is_push || gz.len <= 32768));
        bytes_free(&way.out);
        assert_int_equal(filter_states_out_bytes(states), 0);
        filter_states_free(&states);
        /* One byte more or less, or another length than was said. */
        bytes_add(&gz, "x", 1);
        assert_int_equal(
            way_run(&(struct way){.codecs = {&codec_gunzip}, .env = WAY_ENV}, gz.ptr, gz.len),
            RC_MALFORMED);
        way.env.states = NULL;
        assert_int_equal(way_run(&way, gz.ptr, gz.len), RC_MALFORMED);
        assert_string_equal(way.notes.error, "Junk after gzip data");
        way.env.body_len = gz.len;
        assert_int_equal(way_run(&way, gz.ptr, gz.len), RC_MALFORMED);
        assert_int_equal(way_run(&way, gz.ptr, gz.len - 2), RC_MALFORMED);
        bytes_free(&gz);
        bytes_free(&text);
    }
}

/* ---- pieces ---- */

static void feed(struct deflate *d, const char *text, enum deflate_flush flush, size_t room_max,
                 struct bytes *out)
{
    struct codec_io io = {.in = text, .in_len = strlen(text)};
    enum rc rc;
    char buf[1000];
    do {
        io.out = buf;
        io.room = room_max;
        rc = deflate_feed(d, &io, flush);
        bytes_add(out, buf, room_max - io.room);
    } while (rc == RC_OK && io.room == 0);
    assert_int_equal(rc, flush == DEFLATE_FINISH ? RC_EOF : RC_OK);
    assert_int_equal(io.in_len, 0);
}

/* A piece that begins and ends with DEFLATE_RESET can be left out. */
static void pieces_can_be_taken_out(void **state)
{
    (void)state;
    struct bytes first = {NULL, 0, 0};
    static const size_t rooms[] = {1000, 1, 2, 3, 5, 6, 7, 100};
    for (unsigned n = 0; n < 8; n++) {
        struct filter_env env = WAY_ENV;
        struct deflate *d;
        struct bytes out = {NULL, 0, 0};
        assert_int_equal(deflate_new(&env, &d), RC_OK);
        feed(d, "before, before, before", DEFLATE_RESET, rooms[n], &out);
        size_t from = out.len;
        struct gzip_bits bits;
        deflate_bits(d, &bits);
        assert_int_equal(bits.out_bytes, out.len);
        assert_int_equal(bits.in_bytes, 22);
        assert_false(bits.is_set);
        feed(d, "taken out before", DEFLATE_MORE, rooms[n], &out);
        feed(d, "", DEFLATE_RESET, rooms[n], &out);
        size_t to = out.len;
        feed(d, "before and after", DEFLATE_ALIGN, rooms[n], &out);
        feed(d, "", DEFLATE_FINISH, rooms[n], &out);
        deflate_bits(d, &bits);
        assert_true(bits.is_set);
        struct bytes all = zlib_gunzip(out.ptr, out.len);
        assert_int_equal(all.len, 54);
        assert_memory_equal(all.ptr, "before, before, beforetaken out beforebefore and after", 54);
        bytes_free(&all);
        if (n == 0) {
            bytes_add(&first, out.ptr, out.len);
        }
        assert_int_equal(first.len, out.len);
        assert_memory_equal(first.ptr, out.ptr, out.len);
        memmove(out.ptr + from, out.ptr + to, out.len - to);
        out.len -= to - from;
        uint32_t crc = gzip_crc_join(gzip_crc(0, "before, before, before", 22),
                                     gzip_crc(0, "before and after", 16), 16);
        memcpy(out.ptr + out.len - 8, &crc, 4);
        memcpy(out.ptr + out.len - 4, &(uint32_t){38}, 4);
        all = zlib_gunzip(out.ptr, out.len);
        assert_int_equal(all.len, 38);
        assert_memory_equal(all.ptr, "before, before, beforebefore and after", 38);
        bytes_free(&all);
        bytes_free(&out);
        deflate_free(&d);
        deflate_free(&d);
    }
    bytes_free(&first);
}

static void states_have_a_ceiling(void **state)
{
    (void)state;
    struct filter_states *states = filter_states_new(600000, NULL);
    struct filter_env env = WAY_ENV;
    struct deflate *d[3];
    env.states = states;
    assert_int_equal(deflate_new(&env, &d[0]), RC_OK);
    assert_int_equal(deflate_new(&env, &d[1]), RC_OK);
    assert_true(filter_states_out_bytes(states) > 500000);
    assert_int_equal(deflate_new(&env, &d[2]), RC_LIMIT);
    assert_null(d[2]);
    struct way way = {.codecs = {&codec_gunzip, &codec_gzip}, .env = WAY_ENV};
    way.env.states = states;
    assert_int_equal(way_run(&way, "", 0), RC_LIMIT);
    deflate_free(&d[0]);
    assert_int_equal(deflate_new(&env, &d[0]), RC_OK);
    deflate_free(&d[0]);
    deflate_free(&d[1]);
    assert_int_equal(filter_states_out_bytes(states), 0);
    filter_states_free(&states);

    /* A window that finds no place when it is needed. */
    struct bytes text = text_of(50000, 1);
    struct bytes gz = made_by(&codec_gzip, NULL, text.ptr, text.len);
    states = filter_states_new(20000, NULL);
    way = (struct way){.codecs = {&codec_gunzip}, .out_max = 100, .env = WAY_ENV};
    way.env.states = states;
    assert_int_equal(way_run(&way, gz.ptr, gz.len), RC_LIMIT);
    assert_int_equal(filter_states_out_bytes(states), 0);
    filter_states_free(&states);
    bytes_free(&way.out);
    bytes_free(&text);
    bytes_free(&gz);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_and_back),
        cmocka_unit_test(bits_tell_where_the_blocks_are),
        cmocka_unit_test(bits_of_others_bodies),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(errors_are_worded_as_varnish_does),
        cmocka_unit_test(the_log_has_varnishs_records),
        cmocka_unit_test(a_whole_body_is_opened_at_once),
        cmocka_unit_test(pieces_can_be_taken_out),
        cmocka_unit_test(states_have_a_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
