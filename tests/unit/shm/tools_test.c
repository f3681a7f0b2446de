/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Debian's own varnishstat, varnishlog and varnishncsa, run against a produced directory. */
#include "log_fixture.h"

static char output[256 * 1024];

static const char *run(const struct workdir *dir, const char *format)
{
    char command[512];
    (void)snprintf(command, sizeof command, format, dir->path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t len = fread(output, 1, sizeof output - 1, pipe);
    output[len] = '\0';
    int status = pclose(pipe);
    if (status != 0) {
        print_error("%s: status %d\n%s\n", command, status, output);
    }
    assert_int_equal(status, 0);
    return output;
}

static void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        print_error("not found: %s\nin:\n%s\n", part, text);
    }
    assert_non_null(strstr(text, part));
}

static void log_session(struct log *log)
{
    uint32_t mem[1024];
    struct vsl_buf buf;
    vsl_buf_init(&buf, log->ring, mem, sizeof mem);
    struct vslb s;
    struct vslb q;
    vslb_open(&s, &buf, 1000 | VSL_CLIENTMARKER);
    vslb_open(&q, &buf, 1001 | VSL_CLIENTMARKER);
    uint64_t t = UINT64_C(1700000000) * NS_PER_S;
    vslb_str(&s, SLT_Begin, STR("sess 0 HTTP/1"));
    vslb_str(&s, SLT_SessOpen, STR("127.0.0.1 40000 a0 127.0.0.1 6081 1700000000.000000 20"));
    vslb_str(&s, SLT_Link, STR("req 1001 rxreq"));
    vslb_str(&q, SLT_Begin, STR("req 1000 rxreq"));
    vslb_timestamp(&q, STR("Start"), t, t, t);
    vslb_timestamp(&q, STR("Req"), t, t, t);
    vslb_str(&q, SLT_ReqStart, STR("127.0.0.1 40000 a0"));
    vslb_str(&q, SLT_ReqMethod, STR("GET"));
    vslb_str(&q, SLT_ReqURL, STR("/index.html"));
    vslb_str(&q, SLT_ReqProtocol, STR("HTTP/1.1"));
    vslb_header(&q, SLT_ReqHeader, STR("Host"), STR("example.com"));
    vslb_header(&q, SLT_ReqHeader, STR("User-Agent"), STR("test/1"));
    vslb_str(&q, SLT_VCL_call, STR("RECV"));
    vslb_str(&q, SLT_VCL_return, STR("hash"));
    vslb_str(&q, SLT_Hit, STR("998 119.500000 10.000000 0.000000"));
    vslb_str(&q, SLT_VCL_call, STR("HIT"));
    vslb_str(&q, SLT_VCL_return, STR("deliver"));
    vslb_str(&q, SLT_RespProtocol, STR("HTTP/1.1"));
    vslb_str(&q, SLT_RespStatus, STR("200"));
    vslb_str(&q, SLT_RespReason, STR("OK"));
    vslb_timestamp(&q, STR("Resp"), t + 250 * NS_PER_US, t, t);
    vslb_str(&q, SLT_ReqAcct, STR("80 0 80 200 1024 1224"));
    vslb_str(&q, SLT_End, STR(""));
    vslb_str(&s, SLT_SessClose, STR("REM_CLOSE 0.001"));
    vslb_str(&s, SLT_End, STR(""));
    vsl_buf_flush(&buf);
}

static void tools_read_what_we_write(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    log_open(&log, dir, 1 << 20);
    struct vsm_seg *seg;
    assert_int_equal(vsc_new(log.mgt, &vsc_class_mgt, "MGT", &seg), RC_OK);
    assert_int_equal(vsc_new(log.child, &vsc_class_objm, "OBJM", &seg), RC_OK);
    struct vsc_objm *objm = vsc_of(seg);
    assert_int_equal(vsc_new(log.child, &vsc_class_vbe, "VBE.boot.default", &seg), RC_OK);
    vsc_set(&log.main->uptime, 10);
    vsc_set(&log.main->cache_hit, 4711);
    vsc_set(&objm->delivery_fd_bytes, 815);
    log_session(&log);

    const char *said = run(dir, "varnishstat -1 -n %s 2>&1");
    assert_says(said, " 4711       471.10 Requests answered from the cache\n");
    assert_says(said, "OBJM.delivery.fd_bytes");
    assert_says(said, "MGT.child_start");
    assert_says(said, "VBE.boot.default.happy");
    said = run(dir, "varnishstat -j -n %s 2>&1");
    assert_says(said, "\"MAIN.sess_conn\"");

    said = run(dir, "varnishlog -d -g raw -n %s 2>&1");
    assert_says(said, "      1001 ReqHeader      c Host: example.com\n");
    assert_says(said, "      1001 Timestamp      c Resp: 1700000000.000250 0.000250 0.000250\n");
    said = run(dir, "varnishlog -d -g session -n %s 2>&1");
    assert_says(said, "*   << Session  >> 1000");
    assert_says(said, "**  << Request  >> 1001");
    assert_says(said, "--  ReqURL         /index.html\n");
    said = run(dir, "varnishlog -d -q 'RespStatus == 200' -i ReqURL -n %s 2>&1");
    assert_says(said, "ReqURL         /index.html\n");
    said = run(dir, "varnishncsa -d -n %s 2>&1");
    assert_says(said, "\"GET http://example.com/index.html HTTP/1.1\" 200 1024 \"-\" \"test/1\"\n");
    said = run(dir, "varnishtop -1 -d -i ReqURL -n %s 2>&1");
    assert_says(said, "1.00 ReqURL /index.html\n");
    log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {SHM_TEST(tools_read_what_we_write)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
