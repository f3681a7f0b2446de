/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What is written into the log is read from it, record by record, by Varnish's reader library. */
#include "log_fixture.h"

enum { C = (int)VSL_CLIENTMARKER };

static void tags_are_the_readers(void **state)
{
    (void)state;
    unsigned known = 0;
    for (unsigned tag = 0; tag < SLT__Reserved; tag++) {
        const char *name = vsl_tag_name(tag);
        if (tag == 0 || name == NULL) {
            assert_true(tag == 0 || VSL_tags[tag] == NULL);
            continue;
        }
        assert_string_equal(name, VSL_tags[tag]);
        assert_int_equal(vsl_tag_by_name(str_of(name)), tag);
        known++;
    }
    assert_int_equal(known, SLT_VdpAcct);
    assert_int_equal(vsl_tag_by_name(STR("reqheader")), SLT_ReqHeader);
    assert_int_equal(vsl_tag_by_name(STR("ReqHead")), SLT__Bogus);
    assert_int_equal(vsl_tag_by_name(STR("")), SLT__Bogus);
}

static void default_mask_leaves_out_what_varnish_does(void **state)
{
    (void)state;
    struct params params;
    param_defaults(&params);
    vsl_mask_default(&params);
    static const char *const out[] = {"Debug",       "ExpKill",   "H2RxBody",  "H2RxHdr",
                                      "H2TxBody",    "H2TxHdr",   "Hash",      "ObjHeader",
                                      "ObjProtocol", "ObjReason", "ObjStatus", "VCL_trace",
                                      "VdpAcct",     "VfpAcct",   "WorkThread"};
    unsigned logged = 0;
    for (unsigned tag = 0; tag < 256; tag++) {
        logged += param_bit(&params, PARAM_BITS_vsl_mask, tag);
    }
    assert_int_equal(logged, SLT_VdpAcct - ARRAY_SIZE(out));
    for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
        unsigned tag = (unsigned)vsl_tag_by_name(str_of(out[i]));
        assert_int_not_equal(tag, SLT__Bogus);
        assert_false(param_bit(&params, PARAM_BITS_vsl_mask, tag));
    }
}

static void each_kind_of_record(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 1 << 20);
    log_reader_open(&r, dir, 0);
    uint32_t mem[4096];
    memset(mem, 0xff, sizeof mem); /* stale bytes must not get out */
    struct vsl_buf buf;
    vsl_buf_init(&buf, log.ring, mem, sizeof mem);
    struct vslb b;
    vslb_open(&b, &buf, 1001 | C);
    vslb_str(&b, SLT_Begin, STR("req 1000 rxreq"));
    vslb_str(&b, SLT_Debug, STR("masked"));
    vslb_printf(&b, SLT_Debug, "masked %d", 1);
    vslb_str2(&b, SLT_VCL_call, STR("RE"), STR("CV"));
    vslb_header(&b, SLT_ReqHeader, STR("Host"), STR("example.com"));
    vslb_header(&b, SLT_ReqHeader, STR("Empty"), STR(""));
    vslb_str(&b, SLT_ReqURL, STR_NONE);
    vslb_printf(&b, SLT_ReqAcct, "%d %s", 7, "x");
    uint64_t now = 1700000000 * NS_PER_S + 123456789;
    vslb_timestamp(&b, STR("Resp"), now, now - 1500 * NS_PER_US, now + NS_PER_S);
    vslb_timestamp(&b, STR("Long"), now, now - 12 * NS_PER_S - 999999999,
                   now - 9999999 * NS_PER_US);
    vslb_timestamp(&b, STR(""), 0, 0, 0);
    struct sb sb;
    assert_false(vslb_claim(&b, SLT_Debug, &sb));
    for (unsigned len = 0; len < 6; len++) {
        assert_true(vslb_claim(&b, SLT_VCL_Log, &sb));
        sb_add(&sb, "abcdef", len);
        vslb_done(&b, SLT_VCL_Log, &sb);
    }
    expect_end(&r);
    vsl_buf_flush(&buf);
    vsl_buf_flush(&buf);
    vsl_now(log.ring, SLT_CLI, 0, STR("Rd ping"));
    vsl_nowf(log.ring, SLT_CLI, 0, "Wr %d", 200);
    vsl_now(log.ring, SLT_Debug, 0, STR("masked"));

    expect_record(&r, SLT_Begin, 1001 | C, "req 1000 rxreq");
    expect_record(&r, SLT_VCL_call, 1001 | C, "RECV");
    expect_record(&r, SLT_ReqHeader, 1001 | C, "Host: example.com");
    expect_record(&r, SLT_ReqHeader, 1001 | C, "Empty: ");
    expect_record(&r, SLT_ReqURL, 1001 | C, "");
    expect_record(&r, SLT_ReqAcct, 1001 | C, "7 x");
    expect_record(&r, SLT_Timestamp, 1001 | C, "Resp: 1700000000.123456 0.001500 0.000000");
    expect_record(&r, SLT_Timestamp, 1001 | C, "Long: 1700000000.123456 12.999999 9.999999");
    expect_record(&r, SLT_Timestamp, 1001 | C, ": 0.000000 0.000000 0.000000");
    for (int len = 0; len < 6; len++) {
        char text[8];
        (void)snprintf(text, sizeof text, "%.*s", len, "abcdef");
        expect_record(&r, SLT_VCL_Log, 1001 | C, text);
    }
    expect_record(&r, SLT_CLI, 0, "Rd ping");
    expect_record(&r, SLT_CLI, 0, "Wr 200");
    expect_end(&r);
    assert_int_equal(vsc_get(&log.main->shm_records), 17);
    assert_int_equal(vsc_get(&log.main->shm_writes), 3);
    assert_int_equal(vsc_get(&log.main->shm_flushes), 0);
    log_reader_close(&r);
    log_close(&log);
}

/* Each length takes another way through the copying of short texts. */
static void texts_of_every_length(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 1 << 20);
    log_reader_open(&r, dir, 0);
    uint32_t mem[4096];
    struct vsl_buf buf;
    vsl_buf_init(&buf, log.ring, mem, sizeof mem);
    struct vslb b;
    vslb_open(&b, &buf, 4);
    char alphabet[80];
    for (size_t i = 0; i < sizeof alphabet; i++) {
        alphabet[i] = (char)('0' + i);
    }
    for (size_t len = 0; len < sizeof alphabet; len++) {
        /* From the heap, so that reading past the end is found out. */
        char *exact = xmalloc(len);
        memcpy(exact, alphabet, len);
        vslb_str(&b, SLT_VCL_Log, (struct str){exact, len});
        vslb_header(&b, SLT_VCL_Log, (struct str){exact, len}, (struct str){exact, len / 2});
        vsl_buf_flush(&buf);
        free(exact);
        char want[200];
        (void)snprintf(want, sizeof want, "%.*s", (int)len, alphabet);
        expect_record(&r, SLT_VCL_Log, 4, want);
        (void)snprintf(want, sizeof want, "%.*s: %.*s", (int)len, alphabet, (int)len / 2, alphabet);
        expect_record(&r, SLT_VCL_Log, 4, want);
    }
    log_reader_close(&r);
    log_close(&log);
}

static void binary_records_have_no_nul(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 1 << 20);
    atomic_fetch_or(&log.params.bits[PARAM_BITS_vsl_mask][SLT_H2RxHdr / 64],
                    UINT64_C(1) << (SLT_H2RxHdr % 64));
    log_reader_open(&r, dir, 0);
    uint32_t mem[256];
    struct vsl_buf buf;
    vsl_buf_init(&buf, log.ring, mem, sizeof mem);
    struct vslb b;
    vslb_open(&b, &buf, 5 | C);
    vslb_bytes(&b, SLT_H2RxHdr, (struct str){"\0\1\2\3\4", 5});
    vslb_bytes(&b, SLT_H2RxHdr, (struct str){"\0\1\2\3", 4});
    vslb_str(&b, SLT_End, STR(""));
    vsl_buf_flush(&buf);
    assert_int_equal(VSL_Next(r.cursor), vsl_more);
    assert_int_equal(VSL_LEN(r.cursor->rec.ptr), 5);
    assert_memory_equal(VSL_CDATA(r.cursor->rec.ptr), "\0\1\2\3\4\0\0\0", 8);
    assert_int_equal(VSL_Next(r.cursor), vsl_more);
    assert_int_equal(VSL_LEN(r.cursor->rec.ptr), 4);
    expect_record(&r, SLT_End, 5 | C, "");
    log_reader_close(&r);
    log_close(&log);
}

static void long_texts_are_cut_at_reclen(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 1 << 20);
    log_reader_open(&r, dir, 0);
    char text[1000];
    memset(text, 'x', sizeof text);
    struct str all = {text, sizeof text};
    uint32_t mem[1024];
    for (unsigned reclen = 16; reclen <= 270; reclen += 127) {
        char cut[1000];
        param_set(&log.params, PARAM_vsl_reclen, reclen);
        struct vsl_buf buf;
        vsl_buf_init(&buf, log.ring, mem, sizeof mem);
        struct vslb b;
        vslb_open(&b, &buf, 9);
        (void)snprintf(cut, sizeof cut, "%.*s", (int)reclen - 1, text);
        vslb_str(&b, SLT_VCL_Log, all);
        cut[0] = 'H';
        vslb_str2(&b, SLT_VCL_Log, STR("H"), all);
        vslb_str2(&b, SLT_VCL_Log, (struct str){cut, reclen + 5}, all);
        vslb_header(&b, SLT_VCL_Log, (struct str){cut, reclen - 2}, all);
        vslb_printf(&b, SLT_VCL_Log, "H%.*s", STR_ARG(all));
        vsl_buf_flush(&buf);
        cut[0] = 'x';
        vsl_now(log.ring, SLT_VCL_Log, 9, all);
        char colon[1000];
        (void)snprintf(colon, sizeof colon, "H%.*s:", (int)reclen - 3, text);
        expect_record(&r, SLT_VCL_Log, 9, cut);
        cut[0] = 'H';
        expect_record(&r, SLT_VCL_Log, 9, cut);
        expect_record(&r, SLT_VCL_Log, 9, cut);
        expect_record(&r, SLT_VCL_Log, 9, colon);
        expect_record(&r, SLT_VCL_Log, 9, cut);
        cut[0] = 'x';
        expect_record(&r, SLT_VCL_Log, 9, cut);
    }
    /* More than the buffer can hold is cut at the buffer. */
    param_set(&log.params, PARAM_vsl_reclen, 65535);
    struct vsl_buf buf;
    vsl_buf_init(&buf, log.ring, mem, VSL_BUF_BYTES_MIN);
    struct vslb b;
    vslb_open(&b, &buf, 9);
    vslb_str(&b, SLT_VCL_Log, all);
    vsl_buf_flush(&buf);
    assert_int_equal(VSL_Next(r.cursor), vsl_more);
    assert_int_equal(VSL_LEN(r.cursor->rec.ptr), VSL_BUF_BYTES_MIN - 16);
    log_reader_close(&r);
    log_close(&log);
}

/* Interleaved transactions, one of which spans flushes and has a buffer of its own. */
static void transactions_are_put_together(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 1 << 20);
    uint32_t loop_mem[512];
    uint32_t own_mem[512];
    struct vsl_buf loop;
    struct vsl_buf own;
    vsl_buf_init(&loop, log.ring, loop_mem, sizeof loop_mem);
    vsl_buf_init(&own, log.ring, own_mem, sizeof own_mem);
    struct vslb a;
    struct vslb b;
    struct vslb c;
    vslb_open(&a, &loop, 1 | C);
    vslb_open(&b, &loop, 2 | C);
    vslb_open(&c, &own, 3 | C);
    vslb_str(&a, SLT_Begin, STR("sess 0 HTTP/1"));
    vslb_str(&a, SLT_Link, STR("req 2 rxreq"));
    vslb_str(&b, SLT_Begin, STR("req 1 rxreq"));
    vslb_str(&a, SLT_Link, STR("req 3 rxreq"));
    vslb_str(&c, SLT_Begin, STR("req 1 rxreq"));
    vsl_buf_flush(&loop);
    vslb_str(&b, SLT_ReqURL, STR("/b"));
    vslb_str(&c, SLT_ReqURL, STR("/c"));
    vslb_str(&b, SLT_End, STR(""));
    vslb_str(&c, SLT_End, STR(""));
    vsl_buf_move(&own, &loop);
    vslb_str(&a, SLT_End, STR(""));
    vsl_buf_flush(&loop);
    vsl_buf_flush(&own);

    log_reader_open(&r, dir, 0);
    expect_record(&r, SLT_Begin, 1 | C, "sess 0 HTTP/1");
    expect_record(&r, SLT_Link, 1 | C, "req 2 rxreq");
    expect_record(&r, SLT_Begin, 2 | C, "req 1 rxreq");
    expect_record(&r, SLT_Link, 1 | C, "req 3 rxreq");
    expect_record(&r, SLT_ReqURL, 2 | C, "/b");
    expect_record(&r, SLT_End, 2 | C, "");
    expect_record(&r, SLT_Begin, 3 | C, "req 1 rxreq");
    expect_record(&r, SLT_ReqURL, 3 | C, "/c");
    expect_record(&r, SLT_End, 3 | C, "");
    expect_record(&r, SLT_End, 1 | C, "");
    expect_end(&r);
    log_reader_close(&r);

    /* As batches, each of one id only. */
    static const uint32_t ids[] = {1, 2, 1, 2, 3, 1};
    log_reader_open(&r, dir, VSL_COPT_BATCH);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        assert_int_equal(VSL_Next(r.cursor), vsl_more);
        const uint32_t *rec = r.cursor->rec.ptr;
        assert_int_equal(VSL_TAG(rec), SLT__Batch);
        assert_int_equal(VSL_BATCHID(rec), ids[i]);
        const uint32_t *end = rec + VSL_OVERHEAD + VSL_WORDS(VSL_BATCHLEN(rec));
        for (const uint32_t *in = rec + VSL_OVERHEAD; in < end; in = VSL_NEXT(in)) {
            assert_int_equal(VSL_ID(in), ids[i]);
        }
    }
    expect_end(&r);
    log_reader_close(&r);
    log_close(&log);
}

/* A buffer moved into one that has no room, and one that never has: nothing is lost, and the
 * records of each transaction keep their order. */
static void moving_loses_nothing_when_full(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 1 << 20);
    log_reader_open(&r, dir, 0);
    uint32_t small_mem[VSL_BUF_BYTES_MIN / 4];
    uint32_t large_mem[512];
    struct vsl_buf small;
    struct vsl_buf large;
    vsl_buf_init(&small, log.ring, small_mem, sizeof small_mem);
    vsl_buf_init(&large, log.ring, large_mem, sizeof large_mem);
    struct vslb pen[2];
    vslb_open(&pen[0], &small, 0);
    vslb_open(&pen[1], &large, 1);
    unsigned written[2] = {0, 0};
    unsigned read[2] = {0, 0};
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < round % 40; i++) {
            unsigned who = (i + round) % 3 != 0;
            vslb_printf(&pen[who], SLT_VCL_Log, "%u", written[who]++);
        }
        bool is_to_small = round % 2 == 1;
        vsl_buf_move(is_to_small ? &large : &small, is_to_small ? &small : &large);
        vsl_buf_flush(is_to_small ? &small : &large);
        while (VSL_Next(r.cursor) == vsl_more) {
            unsigned who = VSL_ID(r.cursor->rec.ptr);
            assert_in_range(who, 0, 1);
            assert_int_equal(strtoul(VSL_CDATA(r.cursor->rec.ptr), NULL, 10), read[who]++);
        }
        assert_memory_equal(read, written, sizeof read);
    }
    assert_true(vsc_get(&log.main->shm_flushes) > 0);
    assert_int_equal(vsc_get(&log.main->shm_records), written[0] + written[1]);
    log_reader_close(&r);
    log_close(&log);
}

struct sample {
    uint32_t id;
    bool is_direct;
    bool is_flush;
    size_t len;
    char text[256];
};

/* The same seed gives the writer and the checker the same records. */
static void draw(struct rng *rng, struct sample *s)
{
    uint64_t bits = rng_u64(rng);
    s->id = (uint32_t)(bits >> 8) & 3;
    s->is_direct = bits >> 61 == 0;
    s->is_flush = bits >> 62 == 1;
    s->len = bits % 120;
    memset(s->text, 'a' + (int)((bits >> 32) % 26), s->len);
    s->text[s->len] = '\0';
}

static unsigned check_all(struct log_reader *r, struct rng *rng)
{
    unsigned count = 0;
    enum vsl_status status;
    while ((status = VSL_Next(r->cursor)) == vsl_more) {
        struct sample want;
        draw(rng, &want);
        const uint32_t *rec = r->cursor->rec.ptr;
        assert_int_equal(VSL_Check(r->cursor, &r->cursor->rec), vsl_check_valid);
        assert_int_equal(VSL_TAG(rec), SLT_VCL_Log);
        assert_int_equal(rec[1], want.id);
        assert_int_equal(VSL_LEN(rec), want.len + 1);
        assert_memory_equal(VSL_CDATA(rec), want.text, want.len + 1);
        count++;
    }
    assert_int_equal(status, vsl_end);
    return count;
}

/* Random records through many laps of a small ring; the reader keeps up and sees each of them. */
static void many_laps(void **state)
{
    struct workdir *dir = *state;
    enum { RECORDS = 20000 };
    static const size_t sizes[] = {VSL_BYTES_MIN, 4097, 5000, 65536};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct log log;
        struct log_reader r;
        log_open(&log, dir, sizes[i]);
        log_reader_open(&r, dir, i % 2 == 0 ? VSL_COPT_TAIL : 0);
        struct rng writer = {99 + i};
        struct rng checker = writer;
        uint32_t mem[256];
        struct vsl_buf buf;
        vsl_buf_init(&buf, log.ring, mem, sizeof mem);
        unsigned read = 0;
        for (unsigned n = 0; n < RECORDS; n++) {
            struct sample s;
            draw(&writer, &s);
            struct str text = {s.text, s.len};
            struct vslb b;
            vslb_open(&b, &buf, s.id);
            if (s.is_direct) {
                vsl_buf_flush(&buf);
                read += check_all(&r, &checker);
                vsl_now(log.ring, SLT_VCL_Log, s.id, text);
            } else {
                vslb_str(&b, SLT_VCL_Log, text);
            }
            if (s.is_flush) {
                read += check_all(&r, &checker);
                vsl_buf_flush(&buf);
            }
            read += check_all(&r, &checker);
        }
        vsl_buf_flush(&buf);
        read += check_all(&r, &checker);
        assert_int_equal(read, RECORDS);
        assert_true(vsc_get(&log.main->shm_cycles) > 4);
        log_reader_close(&r);
        log_close(&log);
    }
}

/* The end marker fits into the last word, or it does not. */
static void records_at_the_very_end(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, VSL_BYTES_MIN);
    log_reader_open(&r, dir, 0);
    const size_t ring_words = (VSL_BYTES_MIN - 88) / 4 / VSL_SEGMENTS * VSL_SEGMENTS;
    struct rng rng = {3};
    char text[256];
    memset(text, 'x', sizeof text);
    size_t at = 0;
    uint64_t laps = 0;
    for (unsigned lap = 0; lap < 600; lap++) {
        /* Until what is left is as many words as this lap's last record, give or take one. */
        size_t last = 3 + lap % 50;
        size_t left = last - 1 + lap / 50 % 3;
        while (at < ring_words - left) {
            size_t room = ring_words - left - at;
            size_t words = 3 + rng_below(&rng, 20);
            words = words + 3 <= room ? words : room;
            if (words < 3) {
                break;
            }
            vsl_now(log.ring, SLT_VCL_Log, 1, (struct str){text, (words - 2) * 4 - 1});
            assert_int_equal(VSL_Next(r.cursor), vsl_more);
            assert_int_equal(VSL_LEN(r.cursor->rec.ptr), (words - 2) * 4);
            at += words;
        }
        vsl_now(log.ring, SLT_VCL_Log, 1, (struct str){text, (last - 2) * 4 - 1});
        assert_int_equal(VSL_Next(r.cursor), vsl_more);
        assert_int_equal(VSL_LEN(r.cursor->rec.ptr), (last - 2) * 4);
        expect_end(&r);
        if (at + last >= ring_words) {
            at = last;
            laps++;
        } else {
            at += last;
        }
        assert_int_equal(vsc_get(&log.main->shm_cycles), laps);
    }
    assert_true(laps > 400);
    log_reader_close(&r);
    log_close(&log);
}

/* A reader that is too slow learns it, and can go on from where the log is now. */
static void slow_reader_is_told(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 16384);
    log_reader_open(&r, dir, 0);
    vsl_now(log.ring, SLT_VCL_Log, 0, STR("first"));
    expect_record(&r, SLT_VCL_Log, 0, "first");
    unsigned n = 0;
    for (; vsc_get(&log.main->shm_cycles) < 2; n++) {
        vsl_nowf(log.ring, SLT_VCL_Log, 0, "%u", n);
    }
    assert_int_equal(VSL_Next(r.cursor), vsl_e_overrun);
    assert_int_equal(VSL_ResetCursor(r.cursor), vsl_end);
    unsigned long want = 0;
    while (VSL_Next(r.cursor) == vsl_more) {
        unsigned long got = strtoul(VSL_CDATA(r.cursor->rec.ptr), NULL, 10);
        assert_true(want == 0 || got == want);
        want = got + 1;
    }
    assert_int_equal(want, n);
    log_reader_close(&r);
    log_close(&log);
}

/* Readers come at any time: at the tail they see only what is new; else they begin some segments
 * back, at a whole record, and see all from there. */
static void late_readers_begin_well(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    log_open(&log, dir, 16384);
    const size_t ring_words = (16384 - 88) / 4 / VSL_SEGMENTS * VSL_SEGMENTS;
    struct rng rng = {11};
    unsigned n = 0;
    for (unsigned visit = 0; visit < 200; visit++) {
        char text[128];
        for (uint64_t more = rng_below(&rng, 60); more > 0; more--) {
            int pad = (int)rng_below(&rng, 100);
            (void)snprintf(text, sizeof text, "%08u%*s", n++, pad, "");
            vsl_now(log.ring, SLT_VCL_Log, 0, str_of(text));
        }
        struct log_reader r;
        log_reader_open(&r, dir, 0);
        unsigned long want = 0;
        size_t words = 0;
        while (VSL_Next(r.cursor) == vsl_more) {
            unsigned long got = strtoul(VSL_CDATA(r.cursor->rec.ptr), NULL, 10);
            assert_true(words == 0 || got == want);
            want = got + 1;
            words += VSL_OVERHEAD + VSL_WORDS(VSL_LEN(r.cursor->rec.ptr));
        }
        assert_int_equal(want, n);
        /* Five segments back, less what two ends of segments may take. */
        assert_true(vsc_get(&log.main->shm_cycles) == 0 || words > ring_words / 8 * 4);
        log_reader_close(&r);

        log_reader_open(&r, dir, VSL_COPT_TAIL);
        (void)snprintf(text, sizeof text, "%08u", n++);
        expect_end(&r);
        vsl_now(log.ring, SLT_VCL_Log, 0, str_of(text));
        expect_record(&r, SLT_VCL_Log, 0, text);
        expect_end(&r);
        log_reader_close(&r);
    }
    assert_true(vsc_get(&log.main->shm_cycles) > 5);
    log_close(&log);
}

/* The worker is gone, another one comes: the cursor ends, a new one finds the new log. */
static void reader_learns_of_a_new_worker(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    struct log_reader r;
    log_open(&log, dir, 1 << 20);
    log_reader_open(&r, dir, 0);
    vsl_now(log.ring, SLT_CLI, 0, STR("old"));
    expect_record(&r, SLT_CLI, 0, "old");
    expect_end(&r);
    vsl_free(&log.ring);
    vsm_set_free(&log.child, VSM_REMOVE);
    (void)VSM_Status(r.vsm);
    assert_int_equal(VSL_Next(r.cursor), vsl_e_abandon);
    vsm_set_free(&log.mgt, VSM_REMOVE);
    VSL_DeleteCursor(r.cursor);

    log_open(&log, dir, 1 << 20);
    vsl_now(log.ring, SLT_CLI, 0, STR("new"));
    assert_true(VSM_Status(r.vsm) & VSM_WRK_RUNNING);
    r.cursor = VSL_CursorVSM(r.vsl, r.vsm, 0);
    assert_non_null(r.cursor);
    expect_record(&r, SLT_CLI, 0, "new");
    log_reader_close(&r);
    log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_the_readers),
        cmocka_unit_test(default_mask_leaves_out_what_varnish_does),
        SHM_TEST(each_kind_of_record),
        SHM_TEST(texts_of_every_length),
        SHM_TEST(binary_records_have_no_nul),
        SHM_TEST(long_texts_are_cut_at_reclen),
        SHM_TEST(transactions_are_put_together),
        SHM_TEST(moving_loses_nothing_when_full),
        SHM_TEST(many_laps),
        SHM_TEST(records_at_the_very_end),
        SHM_TEST(slow_reader_is_told),
        SHM_TEST(late_readers_begin_well),
        SHM_TEST(reader_learns_of_a_new_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
