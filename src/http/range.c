/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One range of a body (RFC 9110 section 14), with the verdicts of Varnish 7.1.
 *
 * A Range field with one range is read strictly: no blanks inside, no unit but `bytes`.  What
 * breaks that is answered 416, which section 14.2 leaves to us, and clients of Varnish know.
 * Several ranges are answered with the whole body, whatever they are: the attacks of that kind (a
 * thousand overlapping parts of a small object) then have nothing to work on.
 *
 * The other half is what a backend says it sent.  A 206, or a Content-Range, that is not what was
 * asked for would be stored or passed on as something that it is not. */
#include "http/http_condition.h"

#include "base/check.h"
#include "http/http_priv.h"

/* Cuts the digits off the front.  False when there are none; RC_TOO_LONG comes out as *is_huge. */
static bool cut_number(struct str *rest, uint64_t *value, bool *is_huge)
{
    size_t n = 0;
    while (n < rest->len && http__is(rest->ptr[n], HTTP__DIGIT)) {
        n++;
    }
    struct str digits = {rest->ptr, n};
    *rest = (struct str){rest->ptr + n, rest->len - n};
    *value = 0;
    if (n == 0) {
        return false;
    }
    /* Positions are computed with as signed numbers in many places of the world. */
    *is_huge |= str_to_u64(digits, value) != RC_OK || *value > INT64_MAX;
    return true;
}

static bool cut_char(struct str *rest, char c)
{
    if (rest->len == 0 || rest->ptr[0] != c) {
        return false;
    }
    *rest = (struct str){rest->ptr + 1, rest->len - 1};
    return true;
}

/* "first-last", "first-" or "-suffix" off the front of *rest; NULL, or what is wrong with it. */
static const char *cut_spec(struct str *rest, struct http_range_spec *spec)
{
    bool is_huge = false;
    spec->has_first = cut_number(rest, &spec->first, &is_huge);
    if (is_huge) {
        return "Low number too big";
    }
    if (!cut_char(rest, '-')) {
        return "Missing hyphen";
    }
    spec->has_last = cut_number(rest, &spec->last, &is_huge);
    if (is_huge) {
        return "High number too big";
    }
    if (!spec->has_first && !spec->has_last) {
        return "Neither high nor low";
    }
    if (!spec->has_first && spec->last == 0) {
        return "No low, high is zero";
    }
    if (spec->has_first && spec->has_last && spec->last < spec->first) {
        return "high smaller than low";
    }
    return NULL;
}

enum rc http_range_read(struct str value, struct http_range_spec *spec, const char **why)
{
    *spec = (struct http_range_spec){.has_first = false};
    struct str rest = value;
    struct str unit = str_cut(&rest, '=');
    *why = NULL;
    if (rest.ptr == NULL) {
        *why = "Missing '='";
    } else if (!str_eq_nocase(unit, STR("bytes"))) {
        *why = "Not Bytes";
    } else {
        *why = cut_spec(&rest, spec);
    }
    if (*why != NULL) {
        return RC_MALFORMED;
    }
    rest = str_trim(rest);
    if (rest.len == 0) {
        return RC_OK;
    }
    if (rest.ptr[0] == ',') {
        return RC_LIMIT;
    }
    *why = "Trailing stuff";
    return RC_MALFORMED;
}

enum rc http_range_settle(const struct http_range_spec *spec, uint64_t size_bytes,
                          struct http_range *range)
{
    CHECK(spec->has_first || spec->has_last);
    *range = (struct http_range){0, 0};
    uint64_t first = spec->first;
    if (!spec->has_first) {
        first = spec->last < size_bytes ? size_bytes - spec->last : 0;
    }
    if (first >= size_bytes) {
        return RC_NOT_FOUND;
    }
    range->first = first;
    range->last = size_bytes - 1;
    if (spec->has_first && spec->has_last && spec->last < range->last) {
        range->last = spec->last;
    }
    return RC_OK;
}

/* ---- what a backend sent ---- */

/* A Content-Range: "bytes first-last/size", with "*" for the size, or "bytes * /size". */
struct content_range {
    bool has_range;
    bool has_size;
    struct http_range range;
    uint64_t size;
};

static bool read_content_range(struct str value, struct content_range *out)
{
    *out = (struct content_range){.has_range = false};
    struct str rest = value;
    bool is_huge = false;
    if (!str_starts_nocase(rest, STR("bytes "))) {
        return false;
    }
    rest = str_trim((struct str){rest.ptr + 6, rest.len - 6});
    if (!cut_char(&rest, '*')) {
        out->has_range = cut_number(&rest, &out->range.first, &is_huge) && cut_char(&rest, '-') &&
                         cut_number(&rest, &out->range.last, &is_huge);
        if (!out->has_range || out->range.last < out->range.first) {
            return false;
        }
    }
    if (!cut_char(&rest, '/')) {
        return false;
    }
    if (!cut_char(&rest, '*')) {
        out->has_size = cut_number(&rest, &out->size, &is_huge) && out->size > 0;
        if (!out->has_size || (out->has_range && out->range.last >= out->size)) {
            return false;
        }
    }
    return !is_huge && rest.len == 0 && (out->has_range || out->has_size);
}

static enum rc expected(struct sb *why, const char *what, uint64_t want, uint64_t got)
{
    sb_printf(why, "Expected %s %llu, got %llu", what, (unsigned long long)want,
              (unsigned long long)got);
    return RC_MALFORMED;
}

static enum rc is_what_was_asked(const struct http_range_spec *asked, const struct http *resp,
                                 const struct http_range *got, struct sb *why)
{
    uint64_t announced = 0;
    struct str length = http_get(resp, HDR_CONTENT_LENGTH);
    uint64_t bytes = got->last - got->first + 1;
    if (length.ptr != NULL && str_to_u64(length, &announced) == RC_OK && announced != bytes) {
        return expected(why, "content length", bytes, announced);
    }
    if (!asked->has_first) {
        return RC_OK; /* counted from an end that only the backend knows */
    }
    if (asked->first != got->first) {
        return expected(why, "low range", got->first, asked->first);
    }
    if (asked->has_last && asked->last < got->last) {
        return expected(why, "minimum high range", got->last, asked->last);
    }
    return RC_OK;
}

enum rc http_content_range_fits(struct str asked_range, const struct http *resp, struct sb *why)
{
    struct http_range_spec asked = {.has_first = false};
    const char *bad = NULL;
    bool is_asked = asked_range.ptr != NULL;
    enum rc rc = is_asked ? http_range_read(asked_range, &asked, &bad) : RC_OK;
    if (rc == RC_MALFORMED) {
        sb_printf(why, "Invalid range header (%s)", bad);
        return RC_MALFORMED;
    }
    struct str text = http_get(resp, HDR_CONTENT_RANGE);
    if (text.ptr == NULL || rc == RC_LIMIT) {
        /* Several ranges come as multipart, or as one that spans them: the client asked for it. */
        return RC_OK;
    }
    struct content_range got;
    if (!read_content_range(text, &got)) {
        sb_printf(why, "Invalid content-range header");
        return RC_MALFORMED;
    }
    if (!is_asked) {
        sb_printf(why, "Unexpected content-range header");
        return RC_MALFORMED;
    }
    if (!got.has_range) {
        if (resp->status == 416) {
            return RC_OK;
        }
        got.range = (struct http_range){0, got.size - 1};
    }
    return is_what_was_asked(&asked, resp, &got.range, why);
}
