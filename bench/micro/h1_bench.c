/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What HTTP/1 costs a cache hit: nanoseconds to parse a request or a response head, and to write
 * one.
 *
 * The browser's request has 8 fields and some 430 bytes, wrk's has one.  Each parse reads a fresh
 * copy, as bytes from a socket would be; the copy's cost is measured alone and taken off.  Best of
 * several runs: the machine's other work only ever adds. */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "http/h1.h"
#include "http/http_date.h"

enum { RUNS = 30, ROUNDS = 20000, MAX_HDR = 64, BUF_BYTES = 4096 };

static const char browser[] =
    "GET /articles/2026/11/20/a-page-about-nothing.html?utm_source=feed HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=0123456789abcdef\r\n"
    "Cache-Control: max-age=0\r\n"
    "\r\n";

static const char wrk[] = "GET /1k HTTP/1.1\r\nHost: 127.0.0.1:6081\r\n\r\n";

static const char response[] = "HTTP/1.1 200 OK\r\n"
                               "Server: nginx\r\n"
                               "Date: Fri, 20 Nov 2026 18:00:00 GMT\r\n"
                               "Content-Type: text/html; charset=utf-8\r\n"
                               "Content-Length: 1024\r\n"
                               "Last-Modified: Thu, 19 Nov 2026 12:00:00 GMT\r\n"
                               "ETag: \"655a1b2c-400\"\r\n"
                               "Cache-Control: max-age=3600\r\n"
                               "Connection: keep-alive\r\n"
                               "\r\n";

struct work {
    struct http_hdr table[MAX_HDR];
    struct http h;
    struct str text;
    char buf[BUF_BYTES];
    struct http_hdr copy_table[MAX_HDR];
    struct http copy;
};

typedef void step_fn(struct work *w);

static void fresh_copy(struct work *w)
{
    memcpy(w->buf, w->text.ptr, w->text.len);
    __asm__ volatile("" : : "r"(w->buf) : "memory");
}

static void parse_request(struct work *w)
{
    struct h1_head head;
    fresh_copy(w);
    CHECK(h1_parse_request(&w->h, w->buf, w->text.len, 0, &h1_limits_default, &head) == RC_OK);
}

static void parse_response(struct work *w)
{
    struct h1_head head;
    fresh_copy(w);
    CHECK(h1_parse_response(&w->h, w->buf, w->text.len, 0, &h1_limits_default, &head) == RC_OK);
    CHECK(h1_response_framing(&w->h, HTTP_M_GET).framing == H1_BODY_LENGTH);
}

static void build_response(struct work *w)
{
    struct sb sb = sb_of(w->buf, sizeof w->buf);
    h1_build_response(&sb, &w->copy);
    CHECK(!sb.overflow);
    __asm__ volatile("" : : "r"(w->buf) : "memory");
}

static void copy_head(struct work *w)
{
    CHECK(http_copy(&w->copy, &w->h, HTTP_COPY_STORE) == RC_OK);
    __asm__ volatile("" : : "r"(&w->copy) : "memory");
}

static void format_date(struct work *w)
{
    http_date_format(1795190400, w->buf);
    __asm__ volatile("" : : "r"(w->buf) : "memory");
}

static double best_ns(step_fn *step, struct work *w)
{
    uint64_t best = NEVER;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = clock_mono_ns();
        for (int i = 0; i < ROUNDS; i++) {
            step(w);
        }
        uint64_t ns = clock_mono_ns() - start;
        best = ns < best ? ns : best;
    }
    return (double)best / ROUNDS;
}

static void report(const char *what, step_fn *step, struct work *w, struct str text)
{
    w->text = text;
    double copy_ns = text.len > 0 ? best_ns(fresh_copy, w) : 0;
    printf("%-28s %7.1f ns\n", what, best_ns(step, w) - copy_ns);
}

int main(void)
{
    static struct work w;
    http_init(&w.h, w.table, MAX_HDR);
    http_init(&w.copy, w.copy_table, MAX_HDR);
    report("parse request, wrk", parse_request, &w, str_of(wrk));
    report("parse request, browser", parse_request, &w, str_of(browser));
    report("parse response", parse_response, &w, str_of(response));
    report("copy head to store", copy_head, &w, STR_NONE);
    report("build response", build_response, &w, STR_NONE);
    report("format date", format_date, &w, STR_NONE);
    return 0;
}
