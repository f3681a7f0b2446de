/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the log costs a cache hit: nanoseconds for the records of one typical transaction, from the
 * first append to the copy in the ring.
 *
 * vslb_bench [transactions per tick]
 *
 * A hit with a browser's request and a usual response writes some forty records, as varnishlog
 * shows them.  The ring is as large as the default and every page of it is touched before, so that
 * the kernel's work for new pages, which ends after the first lap, is not measured.  Best of
 * several runs: the machine's other work only ever adds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "shm/vsl.h"

enum { RUNS = 200, TRANSACTIONS = 2000, BUF_BYTES = 64 << 10 };

struct header {
    struct str name;
    struct str value;
};

#define HEADER(name, value)                                                                        \
    {                                                                                              \
        STR_INIT(name), STR_INIT(value)                                                            \
    }

static const struct header request[] = {
    HEADER("Host", "www.example.com"),
    HEADER("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0"),
    HEADER("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    HEADER("Accept-Language", "en-US,en;q=0.5"),
    HEADER("Accept-Encoding", "gzip, deflate, br"),
    HEADER("Connection", "keep-alive"),
    HEADER("X-Forwarded-For", "192.0.2.17"),
};

static const struct header response[] = {
    HEADER("Date", "Fri, 20 Nov 2026 18:00:00 GMT"),
    HEADER("Server", "nginx"),
    HEADER("Content-Type", "text/html; charset=utf-8"),
    HEADER("Content-Length", "1024"),
    HEADER("Last-Modified", "Thu, 19 Nov 2026 12:00:00 GMT"),
    HEADER("ETag", "\"655a1b2c-400\""),
    HEADER("Cache-Control", "max-age=3600"),
    HEADER("X-Varnish", "32770 3"),
    HEADER("Age", "17"),
    HEADER("Via", "1.1 cache (Varnish/7.1)"),
    HEADER("Accept-Ranges", "bytes"),
    HEADER("Connection", "keep-alive"),
};

static void log_acct(struct vslb *b)
{
    struct sb sb;
    if (!vslb_claim(b, SLT_ReqAcct, &sb)) {
        return;
    }
    static const uint64_t bytes[] = {412, 0, 412, 316, 1024, 1340};
    for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
        if (i > 0) {
            sb_chr(&sb, ' ');
        }
        sb_u64(&sb, bytes[i]);
    }
    vslb_done(b, SLT_ReqAcct, &sb);
}

static void log_hit(struct vsl_buf *buf, uint32_t vxid, uint64_t now_ns)
{
    struct vslb b;
    vslb_open(&b, buf, vxid | VSL_CLIENTMARKER);
    vslb_str(&b, SLT_Begin, STR("req 32769 rxreq"));
    vslb_timestamp(&b, STR("Start"), now_ns, now_ns, now_ns);
    vslb_timestamp(&b, STR("Req"), now_ns, now_ns, now_ns);
    vslb_str(&b, SLT_ReqStart, STR("192.0.2.17 52144 a0"));
    vslb_str(&b, SLT_ReqMethod, STR("GET"));
    vslb_str(&b, SLT_ReqURL, STR("/articles/2026/11/how-to-count.html"));
    vslb_str(&b, SLT_ReqProtocol, STR("HTTP/1.1"));
    for (size_t i = 0; i < ARRAY_SIZE(request); i++) {
        vslb_header(&b, SLT_ReqHeader, request[i].name, request[i].value);
    }
    vslb_str(&b, SLT_VCL_call, STR("RECV"));
    vslb_str(&b, SLT_VCL_return, STR("hash"));
    vslb_str(&b, SLT_VCL_call, STR("HASH"));
    vslb_str(&b, SLT_VCL_return, STR("lookup"));
    vslb_str(&b, SLT_Hit, STR("3 3583.123456 10.000000 0.000000"));
    vslb_str(&b, SLT_VCL_call, STR("HIT"));
    vslb_str(&b, SLT_VCL_return, STR("deliver"));
    vslb_str(&b, SLT_RespProtocol, STR("HTTP/1.1"));
    vslb_str(&b, SLT_RespStatus, STR("200"));
    vslb_str(&b, SLT_RespReason, STR("OK"));
    for (size_t i = 0; i < ARRAY_SIZE(response); i++) {
        vslb_header(&b, SLT_RespHeader, response[i].name, response[i].value);
    }
    vslb_str(&b, SLT_VCL_call, STR("DELIVER"));
    vslb_str(&b, SLT_VCL_return, STR("deliver"));
    vslb_timestamp(&b, STR("Process"), now_ns + 20000, now_ns, now_ns);
    vslb_timestamp(&b, STR("Resp"), now_ns + 50000, now_ns, now_ns + 20000);
    log_acct(&b);
    vslb_str(&b, SLT_End, STR(""));
}

static uint64_t run(struct vsl_buf *buf, unsigned per_tick)
{
    uint64_t now_ns = clock_real_ns();
    uint64_t begin_ns = clock_thread_cpu_ns();
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        log_hit(buf, i & VSL_IDENTMASK, now_ns + i);
        if (i % per_tick == 0) {
            vsl_buf_flush(buf);
        }
    }
    vsl_buf_flush(buf);
    return clock_thread_cpu_ns() - begin_ns;
}

int main(int argc, char **argv)
{
    unsigned per_tick = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 16;
    per_tick = per_tick > 0 ? per_tick : 1;
    char path[] = "/dev/shm/vslb_bench.XXXXXX";
    CHECK(mkdtemp(path) != NULL);
    struct vsm_place place = {.workdir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                              .name = VSM_CHILD_DIR,
                              .uid = VSM_SAME_UID,
                              .gid = VSM_SAME_GID};
    CHECK(place.workdir_fd >= 0);
    struct vsm_set *set;
    struct vsm_seg *main_seg;
    struct vsl *ring;
    static struct params params;
    param_defaults(&params);
    vsl_mask_default(&params);
    CHECK(vsm_set_new(&place, &set) == RC_OK);
    CHECK(vsc_new(set, &vsc_class_main, "MAIN", &main_seg) == RC_OK);
    struct vsc_main *counters = vsc_of(main_seg);
    CHECK(vsl_new(set, param(&params, vsl_space), &params, counters, &ring) == RC_OK);
    void *mem = xmalloc(BUF_BYTES);
    struct vsl_buf buf;
    vsl_buf_init(&buf, ring, mem, BUF_BYTES);

    while (vsc_get(&counters->shm_cycles) == 0) {
        (void)run(&buf, per_tick);
    }
    uint64_t records = vsc_get(&counters->shm_records);
    (void)run(&buf, per_tick);
    records = (vsc_get(&counters->shm_records) - records) / TRANSACTIONS;
    uint64_t best_ns = NEVER;
    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t ns = run(&buf, per_tick);
        best_ns = ns < best_ns ? ns : best_ns;
    }
    printf("%u transactions per tick: %.1f ns for %u records\n", per_tick,
           (double)best_ns / TRANSACTIONS, (unsigned)records);

    free(mem);
    vsl_free(&ring);
    vsm_set_free(&set, VSM_REMOVE);
    (void)close(place.workdir_fd);
    CHECK(rmdir(path) == 0);
    return 0;
}
