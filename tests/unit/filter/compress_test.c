/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Brotli and Zstandard; and all compressing codecs against the command line tools. */
#include "codec_run.h"

#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filter/states.h"
#include "support/run_fiber.h"

struct pair {
    const char *name;
    const struct codec *pack, *open;
    const char *pack_command, *open_command;
    bool has_checksum;
};
static const struct pair pairs[] = {
    {"br", &codec_brotli, &codec_unbrotli, "brotli -c", "brotli -dc", false},
    {"zstd", &codec_zstd, &codec_unzstd, "zstd -qc", "zstd -qdc", true},
    {"gzip", &codec_gzip, &codec_gunzip, "gzip -c", "gzip -dc", true},
};
enum { PAIRS = 3 };
/* Enough for a state that packs 1 KiB, too little for one that does not know. */
static const size_t p_most[] = {800 << 10, 200 << 10, 100 << 10};

static void there_and_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 3000, 140000};
    for (unsigned n = 0; n < 4 * 2; n++) {
        const struct pair *pair = &pairs[n / 4];
        struct bytes text = text_of(sizes[n % 4], n);
        struct bytes packed = made_by(pair->pack, NULL, text.ptr, text.len);
        assert_true(packed.len < text.len || text.len < 20);
        struct way open = {.codecs = {pair->open}, .env = WAY_ENV};
        way_all(&open, packed.ptr, packed.len, RC_OK, text.ptr, text.len);
        struct way both = {.codecs = {pair->pack, pair->open}, .env = WAY_ENV};
        way_all(&both, text.ptr, text.len, RC_OK, text.ptr, text.len);
        bytes_free(&packed);
        bytes_free(&text);
    }
}

/* What is checked while it passes unchanged: fails where opening it would, and for the same reason.
 */
static void testing_is_opening_without_a_result(void **state)
{
    (void)state;
    static const struct codec *const testers[] = {&codec_testunbrotli, &codec_testunzstd};
    struct bytes text = text_of(100000, 6);
    for (unsigned p = 0; p < 2; p++) {
        struct bytes packed = made_by(pairs[p].pack, NULL, text.ptr, text.len);
        struct way test = {.codecs = {testers[p]}, .env = WAY_ENV};
        way_all(&test, packed.ptr, packed.len, RC_OK, packed.ptr, packed.len);
        bytes_add(&packed, "x", 1);
        for (size_t n = 0; n < 300; n++) {
            size_t len = n == 0 ? packed.len : n * 31 % (packed.len - 1);
            bool flips = n % 2 != 0;
            packed.ptr[len / 2] ^= flips ? 0x55 : 0;
            struct way open = {.codecs = {pairs[p].open}, .env = WAY_ENV, .drops = true};
            enum rc rc = way_run(&open, packed.ptr, len);
            test.is_push = n % 3 == 0;
            test.in_max = n % 5;
            assert_int_equal(way_run(&test, packed.ptr, len), rc);
            assert_string_equal(test.notes.error, open.notes.error);
            bytes_free(&test.out);
            packed.ptr[len / 2] ^= flips ? 0x55 : 0;
        }
        bytes_free(&packed);
    }
    bytes_free(&text);
}

static void what_would_expand_too_much_is_refused(void **state)
{
    (void)state;
    static const struct codec *const testers[] = {&codec_testunbrotli, &codec_testunzstd};
    size_t len = 4 << 20;
    char *zeros = xcalloc(1, len);
    for (unsigned p = 0; p < 2; p++) {
        struct bytes packed = made_by(pairs[p].pack, NULL, zeros, len);
        struct way test = {.codecs = {testers[p]}, .env = WAY_ENV};
        test.env.expand_ratio_max = 100;
        test.env.expand_floor_bytes = len;
        assert_int_equal(way_run(&test, packed.ptr, packed.len), RC_OK);
        bytes_free(&test.out);
        test.env.expand_floor_bytes = len / 2;
        assert_int_equal(way_run(&test, packed.ptr, packed.len), RC_TOO_LONG);
        bytes_free(&test.out);
        struct filter_states *states = filter_states_new(1000, NULL);
        test.env.states = states;
        assert_int_equal(way_run(&test, packed.ptr, packed.len), RC_LIMIT);
        assert_int_equal(filter_states_out_bytes(states), 0);
        filter_states_free(&states);
        bytes_free(&test.out);
        bytes_free(&packed);
    }
    free(zeros);
}

/* What is known to be small takes little memory, on both sides. */
static void a_known_length_makes_small_states(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 1000, 1024, 1025, 20000, 100000};
    for (unsigned n = 0; n < 7 * PAIRS; n++) {
        const struct pair *pair = &pairs[n % PAIRS];
        struct bytes text = text_of(sizes[n / PAIRS], n);
        struct way way = {.codecs = {pair->pack}, .env = WAY_ENV};
        way.env.body_len = text.len;
        assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
        struct bytes packed = way.out;
        struct bytes unaware = made_by(pair->pack, NULL, text.ptr, text.len);
        assert_true(packed.len <= unaware.len + unaware.len / 50 + 16);
        struct way open = {.codecs = {pair->open}, .env = WAY_ENV};
        way_all(&open, packed.ptr, packed.len, RC_OK, text.ptr, text.len);
        bytes_free(&packed);
        if (text.len > 900 && text.len < 1100) {
            struct filter_states *states = filter_states_new(p_most[n % PAIRS], NULL);
            way.env.states = states;
            assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
            bytes_free(&way.out);
            way.env.body_len = SIZE_MAX;
            assert_int_equal(way_run(&way, text.ptr, text.len), RC_LIMIT);
            filter_states_free(&states);
        }
        bytes_free(&unaware);
        bytes_free(&text);
    }
}

static void damage_is_found(void **state)
{
    (void)state;
    struct bytes text = text_of(400, 5);
    for (unsigned p = 0; p < 2; p++) {
        struct bytes packed = made_by(pairs[p].pack, NULL, text.ptr, text.len);
        struct way way = {.codecs = {pairs[p].open}, .env = WAY_ENV};
        for (size_t len = 0; len < packed.len; len++) {
            way.is_push = len % 2 == 0;
            way.in_max = len % 3;
            assert_int_equal(way_run(&way, packed.ptr, len), RC_MALFORMED);
        }
        assert_string_equal(way.notes.error,
                            p == 0 ? "Brotli data is truncated" : "Zstd data is truncated");
        for (size_t at = 0; at < packed.len * 8; at++) {
            packed.ptr[at / 8] ^= (char)(1 << (at % 8));
            way.is_push = at % 2 == 0;
            enum rc rc = way_run(&way, packed.ptr, packed.len);
            if (rc == RC_OK && pairs[p].has_checksum) {
                assert_int_equal(way.out.len, text.len);
                assert_memory_equal(way.out.ptr, text.ptr, text.len);
            }
            assert_true(rc == RC_OK || rc == RC_MALFORMED || rc == RC_LIMIT);
            bytes_free(&way.out);
            packed.ptr[at / 8] ^= (char)(1 << (at % 8));
        }
        bytes_add(&packed, "x", 1);
        for (unsigned n = 0; n < 4; n++) {
            way.is_push = n % 2 == 0;
            way.in_max = n / 2;
            assert_int_equal(way_run(&way, packed.ptr, packed.len), RC_MALFORMED);
            assert_string_equal(way.notes.error,
                                p == 0 ? "Junk after Brotli data" : "Junk after Zstd data");
        }
        bytes_free(&packed);
    }
    bytes_free(&text);
}

/* RFC 8878: frames behind each other, some to be skipped, are one body. */
static void zstd_frames_are_joined(void **state)
{
    (void)state;
    struct bytes all = {NULL, 0, 0};
    struct bytes a = made_by(&codec_zstd, NULL, "hello, ", 7);
    struct bytes b = made_by(&codec_zstd, NULL, "world", 5);
    bytes_add(&all, "\x5a\x2a\x4d\x18\x03\0\0\0abc", 11);
    bytes_add(&all, a.ptr, a.len);
    bytes_add(&all, "\x50\x2a\x4d\x18\0\0\0\0", 8);
    bytes_add(&all, b.ptr, b.len);
    struct way way = {.codecs = {&codec_unzstd}, .env = WAY_ENV};
    way_all(&way, all.ptr, all.len, RC_OK, "hello, world", 12);
    /* Of an old version, whatever the library would make of it. */
    all.ptr[0] = 0x27;
    all.ptr[1] = '\xb5';
    way_all(&way, all.ptr, all.len, RC_MALFORMED, NULL, 0);
    bytes_free(&a);
    bytes_free(&b);
    bytes_free(&all);
}

/* A few bytes that ask for a large window. */
static void windows_have_a_ceiling(void **state)
{
    (void)state;
    /* Magic, no sizes, window of 2^(10+w): 8 MiB may be asked for, 16 may not. */
    for (unsigned w = 13; w <= 21; w++) {
        char frame[] = {0x28, '\xb5', 0x2f, '\xfd', 0,  (char)(w << 3), 0x29, 0, 0,
                        'h',  'e',    'l',  'l',    'o'};
        struct filter_states *states = filter_states_new(20 << 20, NULL);
        struct way way = {.codecs = {&codec_unzstd}, .env = WAY_ENV, .in_max = 3};
        way.env.states = states;
        enum rc rc = way_run(&way, frame, sizeof frame);
        assert_int_equal(rc, w == 13 ? RC_OK : RC_LIMIT);
        assert_int_equal(way.out_bytes, w == 13 ? 5 : 0);
        bytes_free(&way.out);
        assert_int_equal(filter_states_out_bytes(states), 0);
        filter_states_free(&states);
    }
    /* Brotli's large window: 00010001, then its size. */
    struct way way = {.codecs = {&codec_unbrotli}, .env = WAY_ENV};
    assert_int_equal(way_run(&way, "\x11\x1e\x03", 3), RC_MALFORMED);
}

static void states_are_on_the_account(void **state)
{
    (void)state;
    struct bytes text = text_of(300000, 7);
    for (unsigned p = 0; p < PAIRS; p++) {
        struct bytes packed = made_by(pairs[p].pack, NULL, text.ptr, text.len);
        bool had_refusal[2] = {false, false}, had_success[2] = {false, false};
        for (size_t most = 1000; most <= 16 << 20; most *= 2) {
            struct filter_states *states = filter_states_new(most, NULL);
            for (unsigned n = 0; n < 2; n++) {
                struct way way = {.codecs = {n == 0 ? pairs[p].pack : pairs[p].open},
                                  .env = WAY_ENV,
                                  .in_max = 5000,
                                  .out_max = 5000};
                way.env.states = states;
                enum rc rc = n == 0 ? way_run(&way, text.ptr, text.len)
                                    : way_run(&way, packed.ptr, packed.len);
                assert_true(rc == RC_OK || rc == RC_LIMIT);
                had_refusal[n] |= rc == RC_LIMIT;
                had_success[n] |= rc == RC_OK;
                assert_int_equal(filter_states_out_bytes(states), 0);
                bytes_free(&way.out);
            }
            filter_states_free(&states);
        }
        assert_true(had_refusal[0] && had_refusal[1] && had_success[0] && had_success[1]);
        bytes_free(&packed);
    }
    bytes_free(&text);
}

/* ---- on another thread ---- */

static void turns(void *arg)
{
    unsigned *count = arg;
    while (*count < UINT_MAX) {
        ++*count;
        fiber_yield();
    }
}

/* One that tries hard does so beside the loop. */
static void hard_work(void *arg)
{
    (void)arg;
    struct bytes text = text_of(150000, 9);
    for (unsigned p = 0; p < 2; p++) {
        struct filter_states *states = filter_states_new(40 << 20, loop_self());
        struct way way = {.codecs = {pairs[p].pack, pairs[p].open}, .env = WAY_ENV};
        way.env.brotli_quality = 11;
        way.env.zstd_level = 19;
        way.env.states = states;
        unsigned count = 0;
        assert_int_equal(fiber_start(turns, &count, "turns"), RC_OK);
        assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
        /* The loop turned many times, while the chain had a handful of steps to do. */
        assert_true(count > 100);
        count = UINT_MAX;
        fiber_yield();
        assert_int_equal(way.out.len, text.len);
        assert_memory_equal(way.out.ptr, text.ptr, text.len);
        assert_int_equal(filter_states_out_bytes(states), 0);
        bytes_free(&way.out);
        filter_states_free(&states);
        states = filter_states_new(10 << 20, NULL);
        way.env.states = states;
        assert_int_equal(way_run(&way, text.ptr, text.len), RC_LIMIT);
        filter_states_free(&states);
    }
    bytes_free(&text);
}

static void hard_work_does_not_hold_the_loop(void **state)
{
    (void)state;
    run_once(hard_work, NULL);
}

/* ---- tools ---- */

static struct bytes piped(const char *command, const struct bytes *in)
{
    char path[] = "/tmp/objm_compress_XXXXXX", line[200];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, in->ptr, in->len), in->len);
    assert_int_equal(close(fd), 0);
    (void)snprintf(line, sizeof line, "%s < %s", command, path);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    struct bytes out = {NULL, 0, 0};
    char buf[4096];
    size_t got;
    while ((got = fread(buf, 1, sizeof buf, pipe)) > 0) {
        bytes_add(&out, buf, got);
    }
    assert_int_equal(pclose(pipe), 0);
    assert_int_equal(unlink(path), 0);
    return out;
}

static void others_read_what_is_made_and_are_read(void **state)
{
    (void)state;
    struct bytes text = text_of(100000, 8);
    for (unsigned p = 0; p < PAIRS; p++) {
        char line[100];
        (void)snprintf(line, sizeof line, "which $(echo %s | cut -d' ' -f1) >/dev/null",
                       pairs[p].pack_command);
        if (system(line) != 0) {
            print_message("no tool for %s\n", pairs[p].name);
            continue;
        }
        struct bytes packed = made_by(pairs[p].pack, NULL, text.ptr, text.len);
        struct bytes back = piped(pairs[p].open_command, &packed);
        assert_int_equal(back.len, text.len);
        assert_memory_equal(back.ptr, text.ptr, text.len);
        bytes_free(&back);
        bytes_free(&packed);
        packed = piped(pairs[p].pack_command, &text);
        back = made_by(pairs[p].open, NULL, packed.ptr, packed.len);
        assert_int_equal(back.len, text.len);
        assert_memory_equal(back.ptr, text.ptr, text.len);
        bytes_free(&back);
        bytes_free(&packed);
    }
    bytes_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(a_known_length_makes_small_states),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(testing_is_opening_without_a_result),
        cmocka_unit_test(what_would_expand_too_much_is_refused),
        cmocka_unit_test(zstd_frames_are_joined),
        cmocka_unit_test(windows_have_a_ceiling),
        cmocka_unit_test(states_are_on_the_account),
        cmocka_unit_test(hard_work_does_not_hold_the_loop),
        cmocka_unit_test(others_read_what_is_made_and_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
