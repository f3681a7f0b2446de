/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What VCL makes of texts at run time: numbers, addresses, queries, patterns, substitutions, and
 * the ELF notes of modules.  The first byte of an input chooses the reader. */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/modules.h"
#include "regex/regex.h"
#include "vcl/text.h"
#include "vcl/value.h"

typedef void read_fn(struct str s);

static void read_numbers(struct str s)
{
    int64_t whole = 0;
    double real = 0;
    if (vcl_int_parse(s, &whole) == RC_OK) {
        CHECK(whole <= VCL_INT_MAX);
        CHECK(whole >= -VCL_INT_MAX);
        CHECK(vcl_real_parse(s, &real) != RC_OK || fabs(real - (double)whole) < 1);
    }
    if (vcl_bytes_parse(s, &whole) == RC_OK) {
        CHECK(whole >= 0);
    }
    if (vcl_duration_parse(s, &real) == RC_OK) {
        CHECK(isfinite(real));
    }
    if (vcl_time_parse(s, &real) == RC_OK) {
        CHECK(isfinite(real));
    }
}

/* What was read reads back the same. */
static void read_ip(struct str s)
{
    struct objm_ip ip;
    if (vcl_ip_parse(s, 80, &ip) != RC_OK) {
        return;
    }
    char text[VCL_TEXT_BYTES];
    struct sb sb = sb_of(text, sizeof text);
    vcl_ip_text(&sb, &ip);
    CHECK(!sb.overflow);
    struct objm_ip again;
    CHECK(vcl_ip_parse(sb_str(&sb), ip.port, &again) == RC_OK);
    CHECK(vcl_ip_equal(&ip, &again) || again.family == 4); /* a mapped one is shown as IPv4 */
}

static struct str sorted(struct str url, struct sb *out)
{
    size_t count = vcl__query_parts(url);
    struct str *parts = xcalloc(count + 1, sizeof *parts);
    vcl__querysort(url, parts, count, out);
    free(parts);
    return sb_str(out);
}

/* Sorting twice is sorting once. */
static void read_query(struct str s)
{
    char *block = xmalloc(2 * s.len + 2);
    struct sb once = sb_of(block, s.len);
    struct sb twice = sb_of(block + s.len, s.len);
    struct str first = sorted(s, &once);
    CHECK(!once.overflow);
    struct str second = sorted(first, &twice);
    /* A single part that is left keeps what stood around it. */
    CHECK(str_eq(first, second));
    free(block);
}

static void read_glob(struct str s)
{
    struct str subject = s;
    struct str pattern = str_cut(&subject, '\n');
    bool strict = vcl__glob(pattern, subject, GLOB_PATHNAME | GLOB_PERIOD);
    bool loose = vcl__glob(pattern, subject, 0);
    CHECK(loose || !strict);
}

static void read_regsub(struct str s)
{
    static struct regex_scratch *scratch;
    if (scratch == NULL) {
        scratch = regex_scratch_new();
        regex_scratch_limits(scratch, 10000, 20);
    }
    struct str subject = s;
    struct str pattern = str_cut(&subject, '\n');
    struct str replacement = str_cut(&subject, '\n');
    struct objm_regex *regex;
    struct regex_error error;
    if (regex_new(pattern, (s.len & 1) != 0, &regex, &error) != RC_OK) {
        CHECK(error.at <= pattern.len);
        return;
    }
    char text[512];
    struct sb out = sb_of(text, sizeof text);
    enum rc match = regex_match(scratch, regex, subject, NULL);
    enum rc rc = regex_sub(scratch, regex, true, subject, replacement, &out, NULL);
    CHECK(match != RC_NOT_FOUND || rc == RC_NOT_FOUND);
    CHECK(rc != RC_OK || !out.overflow);
    regex_free(&regex);
}

static void read_note(struct str s)
{
    uint32_t major;
    uint32_t minor;
    (void)!vcl_elf_note(s.ptr, s.len, &major, &minor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static read_fn *const readers[] = {read_numbers, read_ip,     read_query,
                                       read_glob,    read_regsub, read_note};
    if (size > 0) {
        readers[data[0] % ARRAY_SIZE(readers)]((struct str){(const char *)data + 1, size - 1});
    }
    return 0;
}
