/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Values of VCL at run time.  They are those of the module API (union objm_value): no tag, since
 * the compiler knows every type.  Nothing here Yields. */
#ifndef VCL_VALUE_H
#define VCL_VALUE_H

#include "base/sb.h"
#include "objmapper/module.h"

struct stevedore;
struct vcl_probe;

/* What the opaque types of the module API are. */
struct objm_stevedore {
    const char *name;
    struct stevedore *store;
};
struct objm_probe {
    const char *name;
    const struct vcl_probe *spec;
};
struct objm_sub {
    const char *name;
    unsigned index; /* in the program */
};

/* Both are pointer and length; the same bytes. */
static inline struct str vcl_str(struct objm_str s)
{
    return (struct str){s.ptr, s.len};
}
static inline struct objm_str vcl_objm_str(struct str s)
{
    return (struct objm_str){s.ptr, s.len};
}

/* What VCL takes for an INT or a REAL where it leaves arithmetic: fifteen digits. */
#define VCL_INT_MAX INT64_C(999999999999999)
#define VCL_REAL_MAX 999999999999.999

/* "STRING"; also in tables of the compiler. */
const char *vcl_type_name(enum objm_type type);

/* ---- to text ---- */

/* Appends the value as VCL shows it: REAL and DURATION with three decimals, TIME as an HTTP date,
 * BYTES and INT as digits, BOOL as true or false, an IP without its port, a BACKEND's name, a BLOB
 * in base64 between colons.  A STRANDS is joined.
 * RC_NOT_FOUND: it is unset (STRING, BACKEND, BLOB ...).  RC_INVALID: it has no text, or is out of
 * range; *why (may be NULL) is then told the reason, as VCL_Error has it.  Overflow of sb is not
 * told by the code. */
MUST_USE enum rc vcl_value_text(struct sb *sb, enum objm_type type, const union objm_value *value,
                                struct sb *why);
void vcl_ip_text(struct sb *sb, const struct objm_ip *ip);
/* Room that is always enough for a type of fixed size (all but STRING, STRANDS, BLOB and names). */
enum { VCL_TEXT_BYTES = 48 };

/* ---- order ---- */

/* Below, equal to, above zero as a is to b: INT, REAL, BYTES, DURATION, TIME.  A NaN is never. */
int vcl_value_order(enum objm_type type, const union objm_value *a, const union objm_value *b);
/* BOOL, numbers, IP, BLOB by content; handles by identity. */
bool vcl_value_equal(enum objm_type type, const union objm_value *a, const union objm_value *b);
/* As VCL compares STRINGs: NULL is like an empty one, unless both are NULL. */
int vcl_strands_order(const struct objm_strands *a, const struct objm_strands *b);
bool vcl_ip_equal(const struct objm_ip *a, const struct objm_ip *b);

/* ---- arithmetic ---- */

enum vcl_op { VCL_ADD, VCL_SUB, VCL_MUL, VCL_DIV, VCL_MOD };

/* The type of `a op b`; OBJM_VOID when VCL has no such sum. */
enum objm_type vcl_arith_type(enum vcl_op op, enum objm_type a, enum objm_type b);
/* Computes it for these types.  RC_INVALID: division by zero, or an INT that left its range. */
MUST_USE enum rc vcl_arith(enum vcl_op op, enum objm_type ta, const union objm_value *a,
                           enum objm_type tb, const union objm_value *b, union objm_value *out);

/* ---- from text: as the std module reads strings (number.c) ---- */

/* A number at the start of *rest: blanks, "-", up to fifteen digits, a point, digits (three of them
 * count; strict: more are malformed), blanks; *rest becomes what follows.  RC_MALFORMED: no digits.
 * RC_LIMIT: too many. */
MUST_USE enum rc vcl_number_parse(struct str *rest, bool strict, double *value);
/* "1.5KB", "10": bytes with an optional K, M, G, T or P, and B.  RC_MALFORMED, RC_LIMIT. */
MUST_USE enum rc vcl_bytes_parse(struct str s, int64_t *bytes);
/* "1.5d": a number with a unit ms, s, m, h, d, w or y, which is required. */
MUST_USE enum rc vcl_duration_parse(struct str s, double *seconds);
/* "-12" or "12.0".  RC_MALFORMED: a fraction, or something behind it.  RC_LIMIT. */
MUST_USE enum rc vcl_int_parse(struct str s, int64_t *value);
MUST_USE enum rc vcl_real_parse(struct str s, double *value);
/* An HTTP date, "1994-11-06T08:49:37", or seconds since 1970 (above zero). */
MUST_USE enum rc vcl_time_parse(struct str s, double *seconds);
/* An address in numbers, "192.0.2.1", "2001:db8::1", with or without a port behind it:
 * "192.0.2.1:80", "192.0.2.1 80", "[::1]:80", "[::1] 80"; `port` where it has none. */
MUST_USE enum rc vcl_ip_parse(struct str s, uint16_t port, struct objm_ip *ip);
/* Cuts "[addr]", "[addr]:port", "addr port" and, for what has one colon, "addr:port" apart; *port
 * is STR_NONE without one.  RC_MALFORMED. */
MUST_USE enum rc vcl_split_port(struct str s, struct str *host, struct str *port);

/* The value of a default (struct objm_arg.def): text as it would stand in VCL.  Borrows the text;
 * an IP is not possible.  RC_MALFORMED. */
MUST_USE enum rc vcl_default_parse(const struct objm_arg *arg, union objm_value *value);
/* The index of an ENUM's value in the list; RC_NOT_FOUND. */
MUST_USE enum rc vcl_enum_parse(const char *values, struct str name, unsigned *index);
/* The value with this index. */
struct str vcl_enum_name(const char *values, unsigned index);

#endif
