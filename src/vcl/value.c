/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Values as text, their order and their sums.
 *
 * Users compare what VCL prints with what Varnish printed for years, in headers, logs and cache
 * keys, so each format is Varnish 7.1's to the byte.  INTs beyond fifteen digits and REALs that do
 * not fit twelve before the point have no text: the caller fails the task, as Varnish does. */
#include "vcl/value.h"

#include <arpa/inet.h>
#include <math.h>

#include "base/check.h"
#include "http/http_date.h"
#include "vcl/acl.h"
#include "vcl/director.h"

const char *vcl_type_name(enum objm_type type)
{
    static const char *const names[] = {
        [OBJM_VOID] = "VOID",     [OBJM_BOOL] = "BOOL",         [OBJM_INT] = "INT",
        [OBJM_REAL] = "REAL",     [OBJM_BYTES] = "BYTES",       [OBJM_DURATION] = "DURATION",
        [OBJM_TIME] = "TIME",     [OBJM_STRING] = "STRING",     [OBJM_STRANDS] = "STRANDS",
        [OBJM_BLOB] = "BLOB",     [OBJM_ENUM] = "ENUM",         [OBJM_IP] = "IP",
        [OBJM_ACL] = "ACL",       [OBJM_BACKEND] = "BACKEND",   [OBJM_PROBE] = "PROBE",
        [OBJM_HEADER] = "HEADER", [OBJM_HTTP] = "HTTP",         [OBJM_STEVEDORE] = "STEVEDORE",
        [OBJM_SUB] = "SUB",       [OBJM_REGEX] = "REGEX",       [OBJM_VFP] = "VFP",
        [OBJM_VDP] = "VDP",       [OBJM_INSTANCE] = "INSTANCE",
    };
    CHECK((unsigned)type < OBJM_TYPE__COUNT);
    return names[type];
}

/* ---- to text ---- */

static enum rc int_text(struct sb *sb, int64_t value, struct sb *why)
{
    if (value > VCL_INT_MAX || value < -VCL_INT_MAX) {
        if (why != NULL) {
            sb_printf(why, "INT overflow converting to string (%jX)", (uintmax_t)value);
        }
        return RC_INVALID;
    }
    sb_printf(sb, "%jd", (intmax_t)value);
    return RC_OK;
}

static enum rc real_text(struct sb *sb, double value, struct sb *why)
{
    if (!(fabs(value) <= VCL_REAL_MAX)) {
        if (why != NULL) {
            sb_printf(why, "REAL overflow converting to string (%e)", value);
        }
        return RC_INVALID;
    }
    sb_printf(sb, "%.3f", value);
    return RC_OK;
}

static enum rc time_text(struct sb *sb, double value, struct sb *why)
{
    if (!(value >= 0 && value < 253402300800.0)) { /* the year 10000 */
        if (why != NULL) {
            sb_lit(why, "Unformatable VCL_TIME");
        }
        return RC_INVALID;
    }
    char text[HTTP_DATE_BYTES];
    http_date_format((uint64_t)value, text);
    sb_add(sb, text, sizeof text);
    return RC_OK;
}

void vcl_ip_text(struct sb *sb, const struct objm_ip *ip)
{
    char text[INET6_ADDRSTRLEN] = "0.0.0.0";
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (ip->family == 4) {
        (void)inet_ntop(AF_INET, ip->addr, text, sizeof text);
    } else if (ip->family == 6 && memcmp(ip->addr, mapped, sizeof mapped) == 0) {
        (void)inet_ntop(AF_INET, ip->addr + 12, text, sizeof text);
    } else if (ip->family == 6) {
        (void)inet_ntop(AF_INET6, ip->addr, text, sizeof text);
    }
    sb_put(sb, str_of(text));
}

static enum rc ip_text(struct sb *sb, const struct objm_ip *ip, struct sb *why)
{
    if (ip == NULL) {
        if (why != NULL) {
            sb_lit(why, "VRT_IP_string: Illegal IP");
        }
        return RC_INVALID;
    }
    vcl_ip_text(sb, ip);
    return RC_OK;
}

static void base64_text(struct sb *sb, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < len && !sb->overflow; at += 3) {
        size_t n = len - at < 3 ? len - at : 3;
        uint32_t bits = (uint32_t)bytes[at] << 16;
        bits |= n > 1 ? (uint32_t)bytes[at + 1] << 8 : 0;
        bits |= n > 2 ? (uint32_t)bytes[at + 2] : 0;
        sb_chr(sb, digits[bits >> 18]);
        sb_chr(sb, digits[bits >> 12 & 63]);
        sb_chr(sb, n > 1 ? digits[bits >> 6 & 63] : '=');
        sb_chr(sb, n > 2 ? digits[bits & 63] : '=');
    }
}

static enum rc blob_text(struct sb *sb, struct objm_blob blob)
{
    if (blob.ptr == NULL) {
        return RC_NOT_FOUND;
    }
    sb_chr(sb, ':');
    base64_text(sb, blob.ptr, blob.len);
    sb_chr(sb, ':');
    return RC_OK;
}

static enum rc strands_text(struct sb *sb, struct objm_strands s)
{
    bool is_set = s.count == 0;
    for (size_t n = 0; n < s.count; n++) {
        is_set = is_set || s.part[n].ptr != NULL;
        sb_put(sb, vcl_str(s.part[n]));
    }
    return is_set ? RC_OK : RC_NOT_FOUND;
}

static enum rc name_text(struct sb *sb, const char *name)
{
    if (name == NULL) {
        return RC_NOT_FOUND;
    }
    sb_put(sb, str_of(name));
    return RC_OK;
}

enum rc vcl_value_text(struct sb *sb, enum objm_type type, const union objm_value *value,
                       struct sb *why)
{
    switch (type) {
    case OBJM_BOOL:
        return name_text(sb, value->boolean ? "true" : "false");
    case OBJM_INT:
    case OBJM_BYTES:
        return int_text(sb, value->integer, why);
    case OBJM_REAL:
    case OBJM_DURATION:
        return real_text(sb, value->real, why);
    case OBJM_TIME:
        return time_text(sb, value->real, why);
    case OBJM_STRING:
        sb_put(sb, vcl_str(value->string));
        return value->string.ptr == NULL ? RC_NOT_FOUND : RC_OK;
    case OBJM_STRANDS:
        return strands_text(sb, value->strands);
    case OBJM_BLOB:
        return blob_text(sb, value->blob);
    case OBJM_IP:
        return ip_text(sb, value->ip, why);
    case OBJM_ACL:
        return name_text(sb, value->acl == NULL ? NULL : vcl_acl_name(value->acl));
    case OBJM_BACKEND:
        return name_text(sb, value->backend == NULL ? NULL : vcl_backend_name(value->backend));
    case OBJM_STEVEDORE:
        if (value->stevedore != NULL) {
            sb_lit(sb, "storage.");
        }
        return name_text(sb, value->stevedore == NULL ? NULL : value->stevedore->name);
    case OBJM_VOID:
    case OBJM_ENUM:
    case OBJM_PROBE:
    case OBJM_HEADER:
    case OBJM_HTTP:
    case OBJM_SUB:
    case OBJM_REGEX:
    case OBJM_VFP:
    case OBJM_VDP:
    case OBJM_INSTANCE:
    case OBJM_TYPE__COUNT:
        break;
    }
    if (why != NULL) {
        sb_lit(why, "Type has no text");
    }
    return RC_INVALID;
}

/* ---- order ---- */

int vcl_value_order(enum objm_type type, const union objm_value *a, const union objm_value *b)
{
    if (type == OBJM_INT || type == OBJM_BYTES) {
        return (a->integer > b->integer) - (a->integer < b->integer);
    }
    CHECK(type == OBJM_REAL || type == OBJM_DURATION || type == OBJM_TIME);
    return (a->real > b->real) - (a->real < b->real);
}

bool vcl_ip_equal(const struct objm_ip *a, const struct objm_ip *b)
{
    if (a == b) {
        return true;
    }
    /* As in Varnish: the same host, by whatever port. */
    return a != NULL && b != NULL && a->family == b->family &&
           memcmp(a->addr, b->addr, a->family == 4 ? 4 : sizeof a->addr) == 0;
}

bool vcl_value_equal(enum objm_type type, const union objm_value *a, const union objm_value *b)
{
    switch (type) {
    case OBJM_BOOL:
        return a->boolean == b->boolean;
    case OBJM_INT:
    case OBJM_BYTES:
        return a->integer == b->integer;
    case OBJM_REAL:
    case OBJM_DURATION:
    case OBJM_TIME:
        return a->real >= b->real && a->real <= b->real;
    case OBJM_STRING:
        return str_eq(vcl_str(a->string), vcl_str(b->string));
    case OBJM_STRANDS:
        return vcl_strands_order(&a->strands, &b->strands) == 0;
    case OBJM_BLOB:
        return a->blob.len == b->blob.len &&
               (a->blob.len == 0 || memcmp(a->blob.ptr, b->blob.ptr, a->blob.len) == 0);
    case OBJM_ENUM:
        return a->choice == b->choice;
    case OBJM_HTTP:
        return a->http == b->http;
    case OBJM_IP:
        return vcl_ip_equal(a->ip, b->ip);
    case OBJM_VOID:
    case OBJM_ACL:
    case OBJM_BACKEND:
    case OBJM_PROBE:
    case OBJM_HEADER:
    case OBJM_STEVEDORE:
    case OBJM_SUB:
    case OBJM_REGEX:
    case OBJM_VFP:
    case OBJM_VDP:
    case OBJM_INSTANCE:
    case OBJM_TYPE__COUNT:
        break;
    }
    return a->instance == b->instance;
}

/* A reader of strands, one byte after the other. */
struct reader {
    const struct objm_strands *s;
    size_t part;
    size_t at;
};

/* The next byte, or -1 at the end. */
static int next_byte(struct reader *r)
{
    while (r->part < r->s->count && r->at == r->s->part[r->part].len) {
        r->part++;
        r->at = 0;
    }
    if (r->part == r->s->count) {
        return -1;
    }
    return (unsigned char)r->s->part[r->part].ptr[r->at++];
}

int vcl_strands_order(const struct objm_strands *a, const struct objm_strands *b)
{
    struct reader ra = {.s = a};
    struct reader rb = {.s = b};
    int ca;
    int cb;
    do {
        ca = next_byte(&ra);
        cb = next_byte(&rb);
    } while (ca == cb && ca >= 0);
    return (ca > cb) - (ca < cb);
}

/* ---- arithmetic ---- */

struct sum {
    enum vcl_op op;
    enum objm_type a, b, out;
};
static const struct sum sums[] = {
    {VCL_ADD, OBJM_BYTES, OBJM_BYTES, OBJM_BYTES},
    {VCL_SUB, OBJM_BYTES, OBJM_BYTES, OBJM_BYTES},
    {VCL_ADD, OBJM_DURATION, OBJM_DURATION, OBJM_DURATION},
    {VCL_SUB, OBJM_DURATION, OBJM_DURATION, OBJM_DURATION},
    {VCL_ADD, OBJM_INT, OBJM_INT, OBJM_INT},
    {VCL_SUB, OBJM_INT, OBJM_INT, OBJM_INT},
    {VCL_ADD, OBJM_INT, OBJM_REAL, OBJM_REAL},
    {VCL_SUB, OBJM_INT, OBJM_REAL, OBJM_REAL},
    {VCL_ADD, OBJM_REAL, OBJM_INT, OBJM_REAL},
    {VCL_SUB, OBJM_REAL, OBJM_INT, OBJM_REAL},
    {VCL_ADD, OBJM_REAL, OBJM_REAL, OBJM_REAL},
    {VCL_SUB, OBJM_REAL, OBJM_REAL, OBJM_REAL},
    {VCL_SUB, OBJM_TIME, OBJM_TIME, OBJM_DURATION},
    {VCL_ADD, OBJM_TIME, OBJM_DURATION, OBJM_TIME},
    {VCL_SUB, OBJM_TIME, OBJM_DURATION, OBJM_TIME},
    {VCL_MUL, OBJM_BYTES, OBJM_INT, OBJM_BYTES},
    {VCL_DIV, OBJM_BYTES, OBJM_INT, OBJM_BYTES},
    {VCL_MUL, OBJM_BYTES, OBJM_REAL, OBJM_BYTES},
    {VCL_DIV, OBJM_BYTES, OBJM_REAL, OBJM_BYTES},
    {VCL_MUL, OBJM_DURATION, OBJM_INT, OBJM_DURATION},
    {VCL_DIV, OBJM_DURATION, OBJM_INT, OBJM_DURATION},
    {VCL_MUL, OBJM_DURATION, OBJM_REAL, OBJM_DURATION},
    {VCL_DIV, OBJM_DURATION, OBJM_REAL, OBJM_DURATION},
    {VCL_MUL, OBJM_INT, OBJM_INT, OBJM_INT},
    {VCL_DIV, OBJM_INT, OBJM_INT, OBJM_INT},
    {VCL_MOD, OBJM_INT, OBJM_INT, OBJM_INT},
    {VCL_MUL, OBJM_REAL, OBJM_INT, OBJM_REAL},
    {VCL_DIV, OBJM_REAL, OBJM_INT, OBJM_REAL},
    {VCL_MUL, OBJM_REAL, OBJM_REAL, OBJM_REAL},
    {VCL_DIV, OBJM_REAL, OBJM_REAL, OBJM_REAL},
};

enum objm_type vcl_arith_type(enum vcl_op op, enum objm_type a, enum objm_type b)
{
    for (size_t n = 0; n < ARRAY_SIZE(sums); n++) {
        if (sums[n].op == op && sums[n].a == a && sums[n].b == b) {
            return sums[n].out;
        }
    }
    return OBJM_VOID;
}

static enum rc int_arith(enum vcl_op op, int64_t a, int64_t b, int64_t *out)
{
    bool overflow = false;
    switch (op) {
    case VCL_ADD:
        overflow = __builtin_add_overflow(a, b, out);
        break;
    case VCL_SUB:
        overflow = __builtin_sub_overflow(a, b, out);
        break;
    case VCL_MUL:
        overflow = __builtin_mul_overflow(a, b, out);
        break;
    case VCL_DIV:
    case VCL_MOD:
        if (b == 0 || (a == INT64_MIN && b == -1)) {
            return RC_INVALID;
        }
        *out = op == VCL_DIV ? a / b : a % b;
        break;
    }
    return overflow ? RC_INVALID : RC_OK;
}

static enum rc real_arith(enum vcl_op op, double a, double b, double *out)
{
    switch (op) {
    case VCL_ADD:
        *out = a + b;
        return RC_OK;
    case VCL_SUB:
        *out = a - b;
        return RC_OK;
    case VCL_MUL:
        *out = a * b;
        return RC_OK;
    case VCL_DIV:
        *out = a / b;
        return isfinite(*out) ? RC_OK : RC_INVALID;
    case VCL_MOD:
        break;
    }
    return RC_INVALID;
}

static bool is_whole(enum objm_type type)
{
    return type == OBJM_INT || type == OBJM_BYTES;
}

enum rc vcl_arith(enum vcl_op op, enum objm_type ta, const union objm_value *a, enum objm_type tb,
                  const union objm_value *b, union objm_value *out)
{
    if (is_whole(ta) && is_whole(tb)) {
        return int_arith(op, a->integer, b->integer, &out->integer);
    }
    double x = is_whole(ta) ? (double)a->integer : a->real;
    double y = is_whole(tb) ? (double)b->integer : b->real;
    double sum;
    enum rc rc = real_arith(op, x, y, &sum);
    if (rc != RC_OK) {
        return rc;
    }
    if (ta != OBJM_BYTES) {
        out->real = sum;
        return RC_OK;
    }
    if (!(fabs(sum) < 9223372036854775808.0)) {
        return RC_INVALID;
    }
    out->integer = (int64_t)sum;
    return RC_OK;
}

/* ---- defaults ---- */

enum rc vcl_enum_parse(const char *values, struct str name, unsigned *index)
{
    struct str rest = str_of(values);
    for (unsigned n = 0; rest.ptr != NULL; n++) {
        if (str_eq(str_cut(&rest, ' '), name)) {
            *index = n;
            return RC_OK;
        }
    }
    return RC_NOT_FOUND;
}

struct str vcl_enum_name(const char *values, unsigned index)
{
    struct str rest = str_of(values);
    for (; index > 0 && rest.ptr != NULL; index--) {
        (void)str_cut(&rest, ' ');
    }
    return rest.ptr == NULL ? rest : str_cut(&rest, ' ');
}

static enum rc string_default(struct str def, struct objm_str *out)
{
    if (str_eq(def, STR("0"))) {
        *out = (struct objm_str){NULL, 0};
        return RC_OK;
    }
    if (def.len < 2 || *def.ptr != '"' || def.ptr[def.len - 1] != '"') {
        return RC_MALFORMED;
    }
    *out = (struct objm_str){def.ptr + 1, def.len - 2};
    return RC_OK;
}

enum rc vcl_default_parse(const struct objm_arg *arg, union objm_value *value)
{
    CHECK(arg->def != NULL);
    struct str def = str_of(arg->def);
    memset(value, 0, sizeof *value);
    switch (arg->type) {
    case OBJM_BOOL:
        value->boolean = str_eq(def, STR("true"));
        return value->boolean || str_eq(def, STR("false")) ? RC_OK : RC_MALFORMED;
    case OBJM_INT:
        return vcl_int_parse(def, &value->integer);
    case OBJM_BYTES:
        return vcl_bytes_parse(def, &value->integer);
    case OBJM_REAL:
        return vcl_real_parse(def, &value->real);
    case OBJM_DURATION:
        return vcl_duration_parse(def, &value->real);
    case OBJM_STRING:
        return string_default(def, &value->string);
    case OBJM_ENUM:
        return vcl_enum_parse(arg->values, def, &value->choice);
    case OBJM_BLOB:
    case OBJM_BACKEND:
    case OBJM_ACL:
    case OBJM_PROBE:
    case OBJM_STEVEDORE:
    case OBJM_SUB:
    case OBJM_REGEX:
    case OBJM_VFP:
    case OBJM_VDP:
    case OBJM_IP:
        return str_eq(def, STR("0")) ? RC_OK : RC_MALFORMED;
    case OBJM_VOID:
    case OBJM_TIME:
    case OBJM_STRANDS:
    case OBJM_HEADER:
    case OBJM_HTTP:
    case OBJM_INSTANCE:
    case OBJM_TYPE__COUNT:
        break;
    }
    return RC_MALFORMED;
}
