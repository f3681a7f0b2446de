/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Small steps of the parser. */
#include "vcl/cc.h"

#include <math.h>

#include "base/check.h"
#include "base/mem.h"

bool vcl__expect(struct cc *cc, unsigned kind)
{
    if (cc->t->kind == kind) {
        return true;
    }
    vcl__err(cc, "Expected ");
    vcl__tok_name(&cc->out, kind);
    vcl__err(cc, " got ");
    vcl__err_token(cc, cc->t);
    vcl__err(cc, "\nat\n");
    vcl__err_at(cc, cc->t);
    return false;
}

void vcl__next(struct cc *cc)
{
    CHECK(cc->t->next != NULL);
    cc->t = cc->t->next;
}

bool vcl__skip(struct cc *cc, unsigned kind)
{
    if (!vcl__expect(cc, kind)) {
        return false;
    }
    vcl__next(cc);
    return true;
}

const struct token *vcl__peek(const struct cc *cc)
{
    CHECK(cc->t->next != NULL);
    return cc->t->next;
}

bool vcl__enter(struct cc *cc)
{
    if (cc->depth < CC_DEPTH_MAX) {
        cc->depth++;
        return true;
    }
    vcl__err(cc, "Nested too deeply.\n");
    vcl__err_at(cc, cc->t);
    return false;
}

void vcl__leave(struct cc *cc)
{
    CHECK(cc->depth > 0);
    cc->depth--;
}

/* The first character that no name may have. */
static const char *bad_in_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_other = (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!is_letter && !(is_other && i > 0)) {
            return name.ptr + i;
        }
    }
    return NULL;
}

bool vcl__expect_name(struct cc *cc, const char *what)
{
    if (!vcl__expect(cc, T_ID)) {
        return false;
    }
    const char *bad = bad_in_name(token_text(cc->t));
    const struct token *end = vcl__peek(cc);
    while (end->kind == '.') {
        bad = ".";
        end = end->next;
        if (end->kind != T_ID) {
            break;
        }
        end = end->next;
    }
    if (bad == NULL) {
        return true;
    }
    vcl__err(cc, "Name of %s, '", what);
    vcl__err_tokens(cc, cc->t, end);
    vcl__err(cc, "', contains illegal character '%c'\n", *bad);
    vcl__err_span(cc, cc->t, end);
    return false;
}

bool vcl__uint(struct cc *cc, unsigned *value)
{
    if (!vcl__expect(cc, T_CNUM)) {
        return false;
    }
    if (cc->t->num > UINT32_MAX) {
        vcl__err(cc, "Number is too large\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    *value = (unsigned)cc->t->num;
    vcl__next(cc);
    return true;
}

static const struct unit {
    const char *name;
    double factor;
} durations[] = {{"ms", 1e-3},   {"s", 1.0},      {"m", 60.0},      {"h", 3600.0},
                 {"d", 86400.0}, {"w", 604800.0}, {"y", 31536000.0}},
  sizes[] = {{"B", 1},           {"KB", 1024},          {"MB", 1048576},
             {"GB", 1073741824}, {"TB", 1099511627776}, {"PB", 1125899906842624}};

bool vcl__duration_unit(struct cc *cc, double *seconds)
{
    CHECK(cc->t->kind == T_ID);
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
        if (str_eq_nocase(token_text(cc->t), str_of(durations[i].name))) {
            *seconds = durations[i].factor;
            vcl__next(cc);
            return true;
        }
    }
    vcl__err(cc, "Unknown duration unit ");
    vcl__err_token(cc, cc->t);
    vcl__err(cc, "\nLegal are 'ms', 's', 'm', 'h', 'd', 'w' and 'y'\n");
    vcl__err_at(cc, cc->t);
    return false;
}

static bool number(struct cc *cc, double *value)
{
    if (cc->t->kind != T_FNUM && !vcl__expect(cc, T_CNUM)) {
        return false;
    }
    *value = cc->t->num;
    vcl__next(cc);
    return true;
}

bool vcl__duration(struct cc *cc, double *seconds)
{
    double value;
    double unit;
    if (!number(cc, &value) || !vcl__expect(cc, T_ID) || !vcl__duration_unit(cc, &unit)) {
        return false;
    }
    *seconds = value * unit;
    return true;
}

bool vcl__bytes(struct cc *cc, int64_t *value)
{
    double amount;
    if (!number(cc, &amount)) {
        return false;
    }
    if (cc->t->kind != T_ID) {
        vcl__err(cc, "Expected BYTES unit (B, KB, MB...) got ");
        vcl__err_token(cc, cc->t);
        vcl__err(cc, "\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        if (str_eq_nocase(token_text(cc->t), str_of(sizes[i].name)) ||
            (i > 0 && str_eq_nocase(token_text(cc->t), (struct str){sizes[i].name, 1}))) {
            double total = round(amount * sizes[i].factor);
            if (total > 9e18) {
                vcl__err(cc, "Too many BYTES\n");
                vcl__err_at(cc, cc->t);
                return false;
            }
            *value = (int64_t)total;
            vcl__next(cc);
            return true;
        }
    }
    vcl__err(cc, "Unknown BYTES unit of measurement ([KMGTP][B])");
    vcl__err_token(cc, cc->t);
    vcl__err_at(cc, cc->t);
    return false;
}

int vcl__flag(struct cc *cc)
{
    const struct token *sign = cc->t;
    if (sign->kind != '-' && sign->kind != '+') {
        return -1;
    }
    if (vcl__peek(cc)->b != sign->e) {
        vcl__err(cc, "Expected a flag at:\n");
        vcl__err_at(cc, sign);
        return -1;
    }
    vcl__next(cc);
    return sign->kind == '+' ? 1 : 0;
}

struct field_seen *vcl__field(struct cc *cc, struct field_seen *fields, size_t count)
{
    if (!vcl__skip(cc, '.') || !vcl__expect(cc, T_ID)) {
        return NULL;
    }
    const struct token *t = cc->t;
    vcl__next(cc);
    if (!vcl__skip(cc, '=')) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!vcl__is(t, fields[i].name)) {
            continue;
        }
        if (fields[i].t == NULL) {
            fields[i].t = t;
            return &fields[i];
        }
        vcl__err(cc, "Field ");
        vcl__err_token(cc, t);
        vcl__err(cc, " redefined at:\n");
        vcl__err_at(cc, t);
        vcl__err(cc, "\nFirst defined at:\n");
        vcl__err_at(cc, fields[i].t);
        return NULL;
    }
    vcl__err(cc, "Unknown field: ");
    vcl__err_token(cc, t);
    vcl__err(cc, " at\n");
    vcl__err_at(cc, t);
    return NULL;
}

bool vcl__only_one(struct cc *cc, const char *what, const struct token **seen,
                   const struct token *field)
{
    if (*seen == NULL) {
        *seen = field;
        return true;
    }
    vcl__err(cc, "%s redefinition at:\n", what);
    vcl__err_at(cc, field);
    vcl__err(cc, "Previous definition:\n");
    vcl__err_at(cc, *seen);
    return false;
}
