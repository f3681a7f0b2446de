/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Heads of HTTP/1 messages.
 *
 * Two parsers that read the same bytes differently are how requests are smuggled, so there is one
 * rule above all: what is not plainly right is refused, and the little that is tolerated (H1_
 * flags, each with its section of RFC 9112) stands in struct http in its regular form, the only one
 * that is sent on.
 *
 * A head is read in one pass from left to right.  Every decision is taken on bytes up to here, so
 * any beginning of a message gets either RC_AGAIN or the verdict of the whole: splits do not
 * matter. After RC_AGAIN the next call starts from the first byte again, but not before a line has
 * become whole; the alternative, keeping state between calls, would cost the common case (one read,
 * one head) more than it saves the rare one.
 *
 * Unfolding writes blanks over line ends at once, which a second pass reads as it would have read
 * the fold.  Splitting an absolute URL waits until the head is whole and valid. */
#include "http/h1.h"

#include <string.h>

#include "base/check.h"
#include "http/http_list.h"
#include "http/http_priv.h"

const struct h1_limits h1_limits_default = {
    .head_bytes = 32768, .start_bytes = 32768, .hdr_bytes = 8192, .flags = H1_VARNISH};

uint32_t h1_flags(bool is_strict, bool splits_https)
{
    uint32_t flags = is_strict ? 0 : H1_VARNISH;
    return splits_https ? flags | H1_HTTPS_SCHEME : flags;
}

static const struct {
    const char *text;
    enum rc rc;
    unsigned status;
} errors[H1_ERR__COUNT] = {
#define H1_ERROR(name, rc, status, text) [H1_ERR_##name] = {text, RC_##rc, status},
#include "http/h1_errors.def"
#undef H1_ERROR
};

const char *h1_error_text(enum h1_error e)
{
    CHECK(e < H1_ERR__COUNT);
    return errors[e].text;
}

unsigned h1_error_status(enum h1_error e)
{
    CHECK(e < H1_ERR__COUNT);
    return errors[e].status;
}

enum rc h1_error_rc(enum h1_error e)
{
    CHECK(e < H1_ERR__COUNT);
    return errors[e].rc;
}

bool h1_is_blank(const char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (buf[i] != '\r' && buf[i] != '\n' && !http__is(buf[i], HTTP__BLANK)) {
            return false;
        }
    }
    return true;
}

/* Where the pass stands.  Each step returns whether to go on; when not, either `error` says why,
 * or, with H1_ERR_NONE, the bytes are at their end. */
struct pass {
    char *at;
    char *end;
    struct http *h;
    uint32_t flags;
    uint32_t hdr_bytes;
    enum h1_error error;
    bool is_whole;        /* the empty line has been read */
    uint8_t twice;        /* a header id that must not stand twice, and does */
    struct str authority; /* of an absolute URL */
};

static bool refuse(struct pass *p, enum h1_error e)
{
    p->error = e;
    return false;
}

static bool is_allowed(const struct pass *p, uint32_t flag)
{
    return (p->flags & flag) != 0;
}

/* The scans below keep their place in a local: through `p` every step would go to memory. */
static char *skip(char *at, const char *end, unsigned classes)
{
    while (at < end && http__is(*at, classes)) {
        at++;
    }
    return at;
}

/* Passes a line end; p->at stands at the first character that could not be part of the line. */
static inline bool line_end(struct pass *p, enum h1_error otherwise)
{
    if (p->at == p->end) {
        return false;
    }
    if (*p->at == '\n') {
        if (!is_allowed(p, H1_BARE_LF)) {
            return refuse(p, H1_ERR_BARE_LF);
        }
        p->at++;
        return true;
    }
    if (*p->at != '\r') {
        return refuse(p, otherwise);
    }
    if (p->end - p->at < 2) {
        return false;
    }
    if (p->at[1] != '\n') {
        return refuse(p, H1_ERR_BARE_CR);
    }
    p->at += 2;
    return true;
}

static void leading_blanks(struct pass *p)
{
    while (is_allowed(p, H1_LEADING_BLANK) && p->at < p->end && h1_is_blank(p->at, 1)) {
        p->at++;
    }
}

/* Even a strict server ignores one empty line before a request (RFC 9112 section 2.2). */
static bool leading_line(struct pass *p)
{
    leading_blanks(p);
    if (is_allowed(p, H1_LEADING_BLANK) || p->at == p->end || *p->at != '\r') {
        return true;
    }
    return line_end(p, H1_ERR_BAD_METHOD);
}

/* One SP, or any blanks, between two parts of a start line. */
static bool start_blanks(struct pass *p, enum h1_error otherwise)
{
    if (p->at == p->end) {
        return false;
    }
    if (*p->at != ' ' && !(*p->at == '\t' && is_allowed(p, H1_START_BLANKS))) {
        bool is_line_end = *p->at == '\r' || *p->at == '\n';
        return refuse(p, is_line_end ? H1_ERR_BAD_START : otherwise);
    }
    p->at++;
    if (is_allowed(p, H1_START_BLANKS)) {
        p->at = skip(p->at, p->end, HTTP__BLANK);
    }
    return p->at < p->end;
}

static struct str text_to(const struct pass *p, const char *from)
{
    return (struct str){from, (size_t)(p->at - from)};
}

/* Moves p->at to a place that was found by a scan for reading. */
static void advance(struct pass *p, const char *to)
{
    p->at += to - p->at;
}

/* Reads "HTTP/1.x" of exactly eight characters; proto and version are ours, not the peer's. */
static bool known_proto(struct pass *p, struct str s, bool is_request)
{
    struct str prefix = STR("HTTP/1.");
    bool is_http_1 =
        is_allowed(p, H1_PROTO_CASE) ? str_starts_nocase(s, prefix) : str_starts(s, prefix);
    if (!is_http_1 || s.len != 8 || !http__is(s.ptr[7], HTTP__DIGIT)) {
        return refuse(p, H1_ERR_BAD_PROTO);
    }
    if (s.ptr[7] > '1' && (is_request || !is_allowed(p, H1_NEWER_MINOR))) {
        return refuse(p, H1_ERR_BAD_PROTO);
    }
    p->h->version = s.ptr[7] == '0' ? 10 : 11;
    p->h->proto = s.ptr[7] == '0' ? STR("HTTP/1.0") : STR("HTTP/1.1");
    return true;
}

static bool request_line(struct pass *p)
{
    if (!leading_line(p)) {
        return false;
    }
    const char *from = p->at;
    p->at = skip(p->at, p->end, HTTP__TCHAR);
    p->h->method = text_to(p, from);
    if (p->at < p->end && p->h->method.len == 0) {
        return refuse(p, H1_ERR_BAD_METHOD);
    }
    if (!start_blanks(p, H1_ERR_BAD_METHOD)) {
        return false;
    }
    p->h->method_id = (uint8_t)http_method_id(p->h->method);
    from = p->at;
    advance(p, http__end_of_url(p->at, p->end));
    p->h->url = text_to(p, from);
    if (p->at < p->end && p->h->url.len == 0) {
        return refuse(p, H1_ERR_BAD_START);
    }
    /* A line that ends here is HTTP/0.9. */
    if (!start_blanks(p, H1_ERR_BAD_URL)) {
        return false;
    }
    from = p->at;
    advance(p, http__end_of_url(p->at, p->end));
    struct str proto = text_to(p, from);
    return line_end(p, H1_ERR_BAD_PROTO) && known_proto(p, proto, true);
}

static bool status_line(struct pass *p)
{
    leading_blanks(p);
    const char *from = p->at;
    advance(p, http__end_of_url(p->at, p->end));
    struct str proto = text_to(p, from);
    if (!start_blanks(p, H1_ERR_BAD_PROTO) || !known_proto(p, proto, false)) {
        return false;
    }
    from = p->at;
    p->at = skip(p->at, p->end, HTTP__DIGIT);
    struct str status = text_to(p, from);
    if (p->at == p->end) {
        return false;
    }
    if (status.len != 3 || status.ptr[0] == '0') {
        return refuse(p, H1_ERR_BAD_STATUS);
    }
    p->h->status = (uint16_t)((status.ptr[0] - '0') * 100 + (status.ptr[1] - '0') * 10 +
                              (status.ptr[2] - '0'));
    if (!http__is(*p->at, HTTP__BLANK) && *p->at != '\r' && *p->at != '\n') {
        return refuse(p, H1_ERR_BAD_STATUS);
    }
    /* The reason may be absent, with and without the blank before it (RFC 9112 section 4). */
    from = p->at;
    advance(p, http__end_of_value(p->at, p->end));
    struct str reason = str_trim(text_to(p, from));
    p->h->reason = reason.len > 0 ? reason : http_reason(p->h->status);
    return line_end(p, H1_ERR_BAD_REASON);
}

/* Passes a field's value with its line end, unfolding.  *value_end: where its text ends. */
static bool field_value(struct pass *p, char **value_end)
{
    for (;;) {
        advance(p, http__end_of_value(p->at, p->end));
        *value_end = p->at;
        if (!line_end(p, H1_ERR_BAD_VALUE) || p->at == p->end) {
            return false;
        }
        if (!http__is(*p->at, HTTP__BLANK)) {
            return true;
        }
        if (!is_allowed(p, H1_OBS_FOLD)) {
            return refuse(p, H1_ERR_FOLDED);
        }
        /* Not the blanks that follow: a TAB among them that has not come yet would stay one. */
        memset(*value_end, ' ', (size_t)(p->at - *value_end));
    }
}

static bool field(struct pass *p)
{
    char *from = p->at;
    p->at = skip(from, p->end, HTTP__TCHAR);
    if (UNLIKELY(p->at == p->end)) {
        return false;
    }
    if (UNLIKELY(*p->at != ':' || p->at == from)) {
        bool is_line_end = *p->at == '\r' || *p->at == '\n';
        return refuse(p, *p->at == ':' ? H1_ERR_NO_NAME
                         : is_line_end ? H1_ERR_NO_COLON
                                       : H1_ERR_BAD_NAME);
    }
    struct str name = text_to(p, from);
    p->at = skip(p->at + 1, p->end, HTTP__BLANK);
    char *value_from = p->at;
    char *value_end = p->at;
    if (!field_value(p, &value_end)) {
        return false;
    }
    /* A fold may have put blanks before the text. */
    value_from = skip(value_from, value_end, HTTP__BLANK);
    while (value_end > value_from && http__is(value_end[-1], HTTP__BLANK)) {
        value_end--;
    }
    struct str value = {value_from, (size_t)(value_end - value_from)};
    if (UNLIKELY((size_t)(value_end - from) > p->hdr_bytes)) {
        return refuse(p, H1_ERR_HDR_TOO_LONG);
    }
    enum http_hdr_id id = http_hdr_id(name);
    if (UNLIKELY(http_has(p->h, id) && (http__hdr_flags(id) & HTTP__ONCE) != 0)) {
        p->twice = (uint8_t)id;
    }
    if (!http__append(p->h, name, value, id)) {
        return refuse(p, H1_ERR_TOO_MANY_HDRS);
    }
    return true;
}

static bool fields(struct pass *p)
{
    while (p->at < p->end) {
        if (*p->at == '\r' || *p->at == '\n') {
            p->is_whole = line_end(p, H1_ERR_BAD_NAME);
            return p->is_whole;
        }
        if (!field(p)) {
            return false;
        }
    }
    return false;
}

/* --- what can only be said of a whole head --- */

static bool only_once(struct pass *p)
{
    if (p->twice != 0) {
        return refuse(p, p->twice == HDR_HOST ? H1_ERR_MANY_HOSTS : H1_ERR_MANY_LENGTHS);
    }
    return true;
}

/* Splits "http://host/path" into Host and "/path" (RFC 9112 section 3.2.2: the URL's host counts).
 * An empty path is "/"; when a query follows, the host moves a byte to the left to make room for
 * it. */
static bool absolute_url(struct pass *p)
{
    struct str url = p->h->url;
    bool takes_https = is_allowed(p, H1_HTTPS_SCHEME) || !is_allowed(p, H1_ANY_URL);
    size_t skip = 0;
    if (str_starts_nocase(url, STR("http://"))) {
        skip = 7;
    } else if (takes_https && str_starts_nocase(url, STR("https://"))) {
        skip = 8;
    } else {
        return true;
    }
    struct str rest = {url.ptr + skip, url.len - skip};
    size_t len = 0;
    while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?' && rest.ptr[len] != '#') {
        len++;
    }
    p->authority = (struct str){rest.ptr, len};
    if (len == 0 || !http_is_host(p->authority)) {
        return refuse(p, H1_ERR_BAD_HOST);
    }
    p->h->url = (struct str){rest.ptr + len, rest.len - len};
    return true;
}

/* Bytes that RFC 3986 does not know, and targets of no form of RFC 9112 section 3.2. */
static bool regular_url(struct pass *p)
{
    struct str url = p->h->url;
    if (is_allowed(p, H1_ANY_URL)) {
        return true;
    }
    for (size_t i = 0; i < url.len; i++) {
        if ((unsigned char)url.ptr[i] >= 0x80 || url.ptr[i] == '#') {
            return refuse(p, H1_ERR_BAD_URL);
        }
    }
    bool is_regular = p->authority.len > 0 || url.ptr[0] == '/';
    is_regular = is_regular || (p->h->method_id == HTTP_M_OPTIONS && str_eq(url, STR("*")));
    is_regular = is_regular || (p->h->method_id == HTTP_M_CONNECT && http_is_host(url));
    return is_regular ? true : refuse(p, H1_ERR_BAD_URL);
}

static bool host(struct pass *p)
{
    const struct http_hdr *hdr = http_find(p->h, HDR_HOST);
    if (hdr == NULL) {
        bool is_needed = p->h->version >= 11 && !is_allowed(p, H1_NO_HOST);
        return is_needed ? refuse(p, H1_ERR_NO_HOST) : true;
    }
    return http_is_host(hdr->value) ? true : refuse(p, H1_ERR_BAD_HOST);
}

/* Puts the parts of an absolute URL where they belong; the head is valid. */
static bool place_authority(struct pass *p, char *buf)
{
    struct str url = p->h->url;
    if (p->authority.len == 0) {
        return true;
    }
    if (url.len == 0) {
        p->h->url = STR("/");
    } else if (url.ptr[0] != '/') {
        char *at = buf + (p->authority.ptr - buf);
        memmove(at - 1, at, p->authority.len);
        p->authority.ptr--;
        at[p->authority.len - 1] = '/';
        p->h->url = (struct str){url.ptr - 1, url.len + 1};
    }
    bool has_room = http_set(p->h, HDR_HOST, p->authority) == RC_OK;
    return has_room ? true : refuse(p, H1_ERR_TOO_MANY_HDRS);
}

static bool connection(struct pass *p, struct h1_head *head)
{
    head->conn = http_connection(p->h);
    return (head->conn & HTTP_CONN_BAD) == 0 ? true : refuse(p, H1_ERR_BAD_CONNECTION);
}

/* Expect is answered here, hop by hop (RFC 9110 section 10.1.1), and means nothing in HTTP/1.0. */
static bool expectation(struct pass *p, struct h1_head *head)
{
    if (!http_has(p->h, HDR_EXPECT)) {
        return true;
    }
    for (unsigned i = 0; i < p->h->count; i++) {
        struct http_hdr *hdr = &p->h->hdr[i];
        if (hdr->id == HDR_EXPECT) {
            if (!str_eq_nocase(hdr->value, STR("100-continue"))) {
                return refuse(p, H1_ERR_BAD_EXPECT);
            }
            hdr->is_hop = true;
        }
    }
    head->expects_continue = p->h->version >= 11;
    return true;
}

static bool framing(struct pass *p, struct h1_head *head)
{
    head->body = h1_request_framing(p->h);
    return head->body.framing != H1_BODY_ERROR ? true : refuse(p, head->body.error);
}

/* --- the doors --- */

static char *min_ptr(char *a, char *b)
{
    return a < b ? a : b;
}

/* Runs the pass over start line and fields. */
static bool scan(struct pass *p, char *buf, size_t len, const struct h1_limits *limits,
                 bool (*start_line)(struct pass *))
{
    char *end = buf + (len < limits->head_bytes ? len : limits->head_bytes);
    p->at = buf;
    p->end = min_ptr(end, buf + limits->start_bytes);
    p->flags = limits->flags;
    p->hdr_bytes = limits->hdr_bytes;
    http_reset(p->h);
    if (!start_line(p)) {
        if (p->error == H1_ERR_NONE && p->end == buf + limits->start_bytes) {
            return refuse(p, H1_ERR_URL_TOO_LONG);
        }
    } else {
        p->end = end;
        if (fields(p)) {
            return true;
        }
    }
    if (p->error == H1_ERR_NONE && len >= limits->head_bytes) {
        return refuse(p, H1_ERR_HEAD_TOO_LONG);
    }
    return false;
}

/* Whether the bytes that came since the last call can have changed anything. */
static bool is_worth_a_pass(const char *buf, size_t len, size_t seen,
                            const struct h1_limits *limits)
{
    CHECK(seen <= len);
    bool fills_line = seen < limits->start_bytes && len >= limits->start_bytes;
    if (seen == 0 || fills_line || len >= limits->head_bytes) {
        return len > 0;
    }
    return len > seen && memchr(buf + seen, '\n', len - seen) != NULL;
}

static enum rc verdict(struct pass *p, char *buf, struct h1_head *head)
{
    if (p->error == H1_ERR_NONE && p->is_whole) {
        head->consumed = (size_t)(p->at - buf);
        return RC_OK;
    }
    http_reset(p->h);
    *head = (struct h1_head){.error = p->error};
    return p->error == H1_ERR_NONE ? RC_AGAIN : h1_error_rc(p->error);
}

enum rc h1_parse_request(struct http *h, char *buf, size_t len, size_t seen,
                         const struct h1_limits *limits, struct h1_head *head)
{
    struct pass p = {.h = h};
    *head = (struct h1_head){.consumed = 0};
    if (is_worth_a_pass(buf, len, seen, limits) && scan(&p, buf, len, limits, request_line)) {
        (void)(only_once(&p) && absolute_url(&p) && regular_url(&p) && host(&p) &&
               framing(&p, head) && expectation(&p, head) && connection(&p, head) &&
               place_authority(&p, buf));
    }
    return verdict(&p, buf, head);
}

enum rc h1_parse_response(struct http *h, char *buf, size_t len, size_t seen,
                          const struct h1_limits *limits, struct h1_head *head)
{
    struct pass p = {.h = h};
    *head = (struct h1_head){.consumed = 0};
    if (is_worth_a_pass(buf, len, seen, limits) && scan(&p, buf, len, limits, status_line)) {
        (void)(only_once(&p) && connection(&p, head));
    }
    return verdict(&p, buf, head);
}
