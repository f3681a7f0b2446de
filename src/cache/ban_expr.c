/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The language of bans.
 *
 *     field          operators                 operand
 *     req.url        == != ~ !~                a text, or a regular expression (PCRE2)
 *     req.http.NAME  == != ~ !~
 *     obj.status     == != ~ !~                three digits, compared as text
 *     obj.http.NAME  == != ~ !~
 *     obj.ttl        == != > >= < <=           a duration; the time to live left when the ban came
 *     obj.age        == != > >= < <=           the age at that moment
 *     obj.grace      == != > >= < <=
 *     obj.keep       == != > >= < <=
 *
 * A header that is not there is unlike every text, and neither matches an expression nor fails to
 * match it.  Fields are known by how they begin, so "obj.statusx" is obj.status: as in Varnish,
 * whose users' scripts must keep their meaning. */
#include "cache/ban_expr.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "http/http.h"
#include "regex/regex.h"

enum ban_op { OP_EQ, OP_NE, OP_MATCH, OP_NMATCH, OP_GT, OP_GE, OP_LT, OP_LE, OP__COUNT };

static const struct str op_names[OP__COUNT] = {
    [OP_EQ] = STR_INIT("=="),     [OP_NE] = STR_INIT("!="), [OP_MATCH] = STR_INIT("~"),
    [OP_NMATCH] = STR_INIT("!~"), [OP_GT] = STR_INIT(">"),  [OP_GE] = STR_INIT(">="),
    [OP_LT] = STR_INIT("<"),      [OP_LE] = STR_INIT("<="),
};

enum ban_field_id { F_REQ_URL, F_REQ_HTTP, F_STATUS, F_OBJ_HTTP, F_TTL, F_AGE, F_GRACE, F_KEEP };

static const struct ban_field {
    struct str name;
    enum ban_field_id id;
    unsigned flags;
    bool has_header;
    bool is_duration;
} fields[] = {
    {STR_INIT("req.url"), F_REQ_URL, BAN_REQ, false, false},
    {STR_INIT("req.http."), F_REQ_HTTP, BAN_REQ, true, false},
    {STR_INIT("obj.status"), F_STATUS, BAN_OBJ, false, false},
    {STR_INIT("obj.http."), F_OBJ_HTTP, BAN_OBJ, true, false},
    {STR_INIT("obj.ttl"), F_TTL, BAN_OBJ | BAN_NODUP, false, true},
    {STR_INIT("obj.age"), F_AGE, BAN_OBJ | BAN_NODUP, false, true},
    {STR_INIT("obj.grace"), F_GRACE, BAN_OBJ, false, true},
    {STR_INIT("obj.keep"), F_KEEP, BAN_OBJ, false, true},
};

struct ban_test {
    const struct ban_field *field;
    enum ban_op op;
    struct str header; /* in bytes of the expression */
    struct str text;
    double seconds;
    struct objm_regex *regex;
};

struct ban_expr {
    unsigned flags;
    unsigned count;
    struct str bytes; /* owned */
    struct str text;  /* owned */
    struct ban_test tests[];
};

enum { HEADER_MAX = 126 };

/* ---- durations ---- */

static const struct {
    struct str name;
    double seconds;
} units[] = {
    {STR_INIT("ms"), 1e-3},         {STR_INIT("s"), 1},     {STR_INIT("m"), 60},
    {STR_INIT("h"), 3600},          {STR_INIT("d"), 86400}, {STR_INIT("w"), 7.0 * 86400},
    {STR_INIT("y"), 365.0 * 86400},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Leaves the unit in *s. */
static bool take_number(struct str *s, double *out)
{
    double value = 0;
    double scale = 1;
    size_t digits = 0;
    bool has_point = false;
    bool is_negative = s->len > 0 && s->ptr[0] == '-';
    size_t at = is_negative;
    for (; at < s->len && (is_digit(s->ptr[at]) || (s->ptr[at] == '.' && !has_point)); at++) {
        if (s->ptr[at] == '.') {
            has_point = true;
            continue;
        }
        digits++;
        value = value * 10 + (s->ptr[at] - '0');
        scale = has_point ? scale * 10 : scale;
    }
    *s = (struct str){s->ptr + at, s->len - at};
    *out = is_negative ? -value / scale : value / scale;
    return digits > 0 && digits <= 18;
}

static bool parse_duration(struct str s, double *seconds)
{
    if (!take_number(&s, seconds)) {
        return false;
    }
    s = str_trim(s);
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (str_eq(s, units[i].name)) {
            *seconds *= units[i].seconds;
            return true;
        }
    }
    return false;
}

/* The largest unit that leaves no rest; fractions in milliseconds. */
static void put_duration(struct sb *sb, double seconds)
{
    uint64_t whole = seconds < 0 ? 0 : (uint64_t)seconds;
    uint64_t ms = seconds < 0 ? 0 : (uint64_t)(seconds * 1e3) % 1000;
    if (whole == 0 && ms != 0) {
        sb_printf(sb, "%llums", (unsigned long long)ms);
        return;
    }
    if (ms != 0) {
        sb_printf(sb, "%llu.%03llus", (unsigned long long)whole, (unsigned long long)ms);
        return;
    }
    size_t unit = whole == 0 ? 1 : ARRAY_SIZE(units) - 1;
    while (unit > 1 && whole % (uint64_t)units[unit].seconds != 0) {
        unit--;
    }
    sb_u64(sb, whole / (uint64_t)units[unit].seconds);
    sb_put(sb, units[unit].name);
}

/* ---- reading ---- */

static const struct ban_field *field_of(struct str word)
{
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        if (str_starts(word, fields[i].name)) {
            return &fields[i];
        }
    }
    return NULL;
}

static bool op_of(struct str word, bool is_duration, enum ban_op *out)
{
    for (unsigned op = 0; op < OP__COUNT; op++) {
        bool is_for_text = op == OP_MATCH || op == OP_NMATCH;
        bool is_for_time = op >= OP_GT;
        if (str_eq(word, op_names[op]) && !(is_duration ? is_for_text : is_for_time)) {
            *out = (enum ban_op)op;
            return true;
        }
    }
    return false;
}

static enum rc compile(struct ban_test *test, struct sb *why)
{
    struct regex_error error;
    if (regex_new(test->text, true, &test->regex, &error) != RC_OK) {
        sb_printf(why, "Regex compile error: %s", error.text);
        return RC_INVALID;
    }
    return RC_OK;
}

/* words: field, operator, operand; kept for as long as the test. */
static enum rc read_test(struct ban_test *test, const struct str *words, struct sb *why)
{
    test->field = field_of(words[0]);
    if (test->field == NULL) {
        sb_printf(why, "Unknown or unsupported field \"%.*s\"", STR_ARG(words[0]));
        return RC_INVALID;
    }
    if (test->field->has_header) {
        size_t begin = test->field->name.len;
        test->header = (struct str){words[0].ptr + begin, words[0].len - begin};
        if (test->header.len > HEADER_MAX) {
            sb_printf(why, "Header name too long");
            return RC_INVALID;
        }
    }
    bool is_duration = test->field->is_duration;
    if (!op_of(words[1], is_duration, &test->op)) {
        sb_printf(why, "expected conditional (%s) got \"%.*s\"",
                  is_duration ? "==, !=, >, >=, < or <=" : "==, !=, ~ or !~", STR_ARG(words[1]));
        return RC_INVALID;
    }
    test->text = words[2];
    if (is_duration && !parse_duration(words[2], &test->seconds)) {
        sb_printf(why, "expected duration <n.nn>[ms|s|m|h|d|w|y] got \"%.*s\"", STR_ARG(words[2]));
        return RC_INVALID;
    }
    bool is_regex = test->op == OP_MATCH || test->op == OP_NMATCH;
    return is_regex ? compile(test, why) : RC_OK;
}

static struct str render(const struct ban_expr *expr)
{
    size_t cap = expr->bytes.len + (size_t)expr->count * 64;
    struct sb sb = sb_of(xmalloc(cap), cap);
    for (unsigned i = 0; i < expr->count; i++) {
        const struct ban_test *test = &expr->tests[i];
        if (i > 0) {
            sb_lit(&sb, " && ");
        }
        sb_put(&sb, test->field->name);
        sb_put(&sb, test->header);
        sb_chr(&sb, ' ');
        sb_put(&sb, op_names[test->op]);
        sb_chr(&sb, ' ');
        if (test->field->is_duration) {
            put_duration(&sb, test->seconds);
        } else {
            sb_put(&sb, test->text);
        }
    }
    CHECK(!sb.overflow);
    return sb_str(&sb);
}

static struct str pack(const struct str *words, unsigned count)
{
    size_t cap = 1;
    for (unsigned i = 0; i < count; i++) {
        cap += 4 + words[i].len;
    }
    struct sb sb = sb_of(xmalloc(cap), cap);
    for (unsigned i = 0; i < count; i++) {
        put_u32(&sb, (uint32_t)words[i].len);
        sb_put(&sb, words[i]);
    }
    CHECK(!sb.overflow);
    return sb_str(&sb);
}

static enum rc check_words(const struct str *words, unsigned count, struct sb *why)
{
    if (count % 4 != 3) {
        sb_printf(why, "Wrong number of arguments");
        return RC_INVALID;
    }
    for (unsigned i = 3; i < count; i += 4) {
        if (!str_eq(words[i], STR("&&"))) {
            sb_printf(why, "Found \"%.*s\" expected &&", STR_ARG(words[i]));
            return RC_INVALID;
        }
    }
    return RC_OK;
}

static void free_text(struct str *s)
{
    union {
        const char *text;
        void *owned;
    } at = {.text = s->ptr};
    free(at.owned);
    *s = STR_NONE;
}

void ban_expr_free(struct ban_expr **expr)
{
    struct ban_expr *gone = *expr;
    *expr = NULL;
    if (gone == NULL) {
        return;
    }
    for (unsigned i = 0; i < gone->count; i++) {
        regex_free(&gone->tests[i].regex);
    }
    free_text(&gone->bytes);
    free_text(&gone->text);
    free(gone);
}

/* How many words there are; 0 if the lengths do not add up. */
static unsigned count_words(struct str bytes)
{
    struct cursor c = cursor_of(bytes.ptr, bytes.len);
    unsigned count = 0;
    while (c.rc == RC_OK && cursor_left(&c) > 0) {
        (void)cursor_bytes(&c, cursor_u32(&c));
        count++;
    }
    return c.rc == RC_OK ? count : 0;
}

/* Takes bytes, which hold a multiple of four words and three more, whatever becomes of it. */
static enum rc read_packed(struct str bytes, unsigned words, struct sb *why, struct ban_expr **out)
{
    unsigned count = (words + 1) / 4;
    struct ban_expr *expr = xcalloc(1, sizeof *expr + count * sizeof expr->tests[0]);
    expr->bytes = bytes;
    struct cursor c = cursor_of(bytes.ptr, bytes.len);
    enum rc rc = RC_OK;
    for (unsigned i = 0; i < count && rc == RC_OK; i++) {
        struct str three[3];
        for (unsigned k = 0; k < 3; k++) {
            three[k] = cursor_bytes(&c, cursor_u32(&c));
        }
        if (i + 1 < count) {
            (void)cursor_bytes(&c, cursor_u32(&c));
        }
        CHECK(c.rc == RC_OK);
        expr->count = i + 1;
        rc = read_test(&expr->tests[i], three, why);
        expr->flags |= rc == RC_OK ? expr->tests[i].field->flags : 0;
    }
    if (rc != RC_OK) {
        ban_expr_free(&expr);
        return rc;
    }
    expr->text = render(expr);
    *out = expr;
    return RC_OK;
}

enum rc ban_expr_new(const struct str *words, unsigned count, struct sb *why, struct ban_expr **out)
{
    *out = NULL;
    enum rc rc = check_words(words, count, why);
    return rc == RC_OK ? read_packed(pack(words, count), count, why, out) : rc;
}

enum rc ban_expr_stored(struct str bytes, struct ban_expr **out)
{
    *out = NULL;
    unsigned words = count_words(bytes);
    if (words % 4 != 3) {
        return RC_MALFORMED;
    }
    char text[64];
    struct sb why = sb_of(text, sizeof text);
    struct str copy = {str_dup(bytes), bytes.len};
    return read_packed(copy, words, &why, out) == RC_OK ? RC_OK : RC_MALFORMED;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

enum rc ban_words(struct str text, struct str *words, unsigned max, unsigned *count, struct sb *why)
{
    *count = 0;
    size_t at = 0;
    for (;;) {
        while (at < text.len && is_blank(text.ptr[at])) {
            at++;
        }
        if (at == text.len) {
            return RC_OK;
        }
        if (*count == max) {
            sb_printf(why, "Too many conditions");
            return RC_INVALID;
        }
        bool is_quoted = text.ptr[at] == '"';
        at += is_quoted;
        size_t begin = at;
        while (at < text.len && !(is_quoted ? text.ptr[at] == '"' : is_blank(text.ptr[at]))) {
            at++;
        }
        if (is_quoted && at == text.len) {
            sb_printf(why, "Missing '\"'");
            return RC_INVALID;
        }
        words[(*count)++] = (struct str){text.ptr + begin, at - begin};
        at += is_quoted;
    }
}

/* ---- what it is ---- */

unsigned ban_expr_flags(const struct ban_expr *expr)
{
    return expr->flags;
}

bool ban_expr_eq(const struct ban_expr *a, const struct ban_expr *b)
{
    return str_eq(a->bytes, b->bytes);
}

struct str ban_expr_text(const struct ban_expr *expr)
{
    return expr->text;
}

struct str ban_expr_bytes(const struct ban_expr *expr)
{
    return expr->bytes;
}

/* ---- matching ---- */

static bool is_match(const struct ban_test *test, const struct ban_subject *subject,
                     struct str value, bool wanted)
{
    struct regex_scratch *scratch = regex_pool_take(subject->scratch);
    enum rc rc = regex_match(scratch, test->regex, value, NULL);
    regex_pool_give(subject->scratch, &scratch);
    /* Given up?  An object too many costs a fetch, one too few is what the ban was against. */
    return rc == RC_LIMIT ? wanted : rc == RC_OK;
}

static bool text_holds(const struct ban_test *test, const struct ban_subject *subject,
                       struct str value)
{
    bool is_there = value.ptr != NULL;
    switch (test->op) {
    case OP_EQ:
        return is_there && str_eq(value, test->text);
    case OP_NE:
        return !is_there || !str_eq(value, test->text);
    case OP_MATCH:
        return is_there && is_match(test, subject, value, true);
    case OP_NMATCH:
        return is_there && !is_match(test, subject, value, false);
    case OP_GT:
    case OP_GE:
    case OP_LT:
    case OP_LE:
    case OP__COUNT:
        break;
    }
    CHECK(false);
    return false;
}

static bool number_holds(enum ban_op op, double value, double operand)
{
    switch (op) {
    case OP_EQ:
        return !(value < operand) && !(value > operand);
    case OP_NE:
        return value < operand || value > operand;
    case OP_GT:
        return value > operand;
    case OP_GE:
        return value >= operand;
    case OP_LT:
        return value < operand;
    case OP_LE:
        return value <= operand;
    case OP_MATCH:
    case OP_NMATCH:
    case OP__COUNT:
        break;
    }
    CHECK(false);
    return false;
}

static double in_seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static bool holds(const struct ban_test *test, const struct ban_subject *s, uint64_t since_ns)
{
    char digits[4];
    const struct obj_times *t = &s->times;
    /* From the moment of the ban, so that it means the same whenever it is tried. */
    double age = in_seconds(since_ns) - in_seconds(t->t_origin_ns);
    switch (test->field->id) {
    case F_REQ_URL:
        CHECK(s->req != NULL);
        return text_holds(test, s, s->req->url);
    case F_REQ_HTTP:
        CHECK(s->req != NULL);
        return text_holds(test, s, http_get_name(s->req, test->header));
    case F_STATUS:
        http_packed_status(s->head, digits);
        return text_holds(test, s, (struct str){digits, 3});
    case F_OBJ_HTTP:
        return text_holds(test, s, http_packed_get(s->head, test->header));
    case F_TTL:
        return number_holds(test->op, in_seconds(t->ttl_ns) - age, test->seconds);
    case F_AGE:
        return number_holds(test->op, age, test->seconds);
    case F_GRACE:
        return number_holds(test->op, in_seconds(t->grace_ns), test->seconds);
    case F_KEEP:
        return number_holds(test->op, in_seconds(t->keep_ns), test->seconds);
    }
    CHECK(false);
    return false;
}

bool ban_expr_matches(const struct ban_expr *expr, const struct ban_subject *subject,
                      uint64_t since_ns, uint64_t *tests)
{
    for (unsigned i = 0; i < expr->count; i++) {
        ++*tests;
        if (!holds(&expr->tests[i], subject, since_ns)) {
            return false;
        }
    }
    return true;
}
