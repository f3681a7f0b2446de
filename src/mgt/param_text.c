/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Values of parameters: numbers with units, read exactly.
 *
 * A decimal number times a unit is computed in integers: whole part times unit, plus digit by digit
 * of the fraction times what is left of the unit.  Any sum that does not fit is "too large", never
 * something small. */
#include "mgt/param_text.h"

#include <stdlib.h>

#include "base/check.h"

struct unit {
    const char *name;
    uint64_t scale;
};

static const struct unit byte_units[] = {
    {"", 1},
    {"b", 1},
    {"k", UINT64_C(1) << 10},
    {"kb", UINT64_C(1) << 10},
    {"m", UINT64_C(1) << 20},
    {"mb", UINT64_C(1) << 20},
    {"g", UINT64_C(1) << 30},
    {"gb", UINT64_C(1) << 30},
    {"t", UINT64_C(1) << 40},
    {"tb", UINT64_C(1) << 40},
    {NULL, 0},
};

static const struct unit time_units[] = {
    {"", NS_PER_S},
    {"s", NS_PER_S},
    {"ms", NS_PER_MS},
    {"us", NS_PER_US},
    {"m", 60 * NS_PER_S},
    {"h", 3600 * NS_PER_S},
    {"d", 86400 * NS_PER_S},
    {"w", 7 * 86400 * NS_PER_S},
    {"y", 365 * 86400 * NS_PER_S},
    {NULL, 0},
};

static const struct unit plain_units[] = {{"", 1}, {NULL, 0}};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits at the front of *rest. */
static struct str take_digits(struct str *rest)
{
    size_t n = 0;
    while (n < rest->len && is_digit(rest->ptr[n])) {
        n++;
    }
    struct str digits = {rest->ptr, n};
    rest->ptr += n;
    rest->len -= n;
    return digits;
}

/* Adds 0.FRACTION of the unit; digits after the 18th are below anything stored.  The product of two
 * 64-bit numbers needs more than 64 bits.  False if the sum does not fit. */
static bool add_fraction(uint64_t *value, struct str fraction, uint64_t scale)
{
    uint64_t digits = 0;
    uint64_t tens = 1;
    for (size_t i = 0; i < fraction.len && i < 18; i++) {
        digits = digits * 10 + (uint64_t)(fraction.ptr[i] - '0');
        tens *= 10;
    }
    __extension__ unsigned __int128 product = digits;
    product *= scale;
    return !__builtin_add_overflow(*value, (uint64_t)(product / tens), value);
}

/* RC_MALFORMED: not a number with one of the units; RC_TOO_LONG: it does not fit. */
static enum rc scaled_number(struct str text, const struct unit *units, uint64_t *value)
{
    struct str rest = text;
    struct str whole = take_digits(&rest);
    struct str fraction = STR_NONE;
    if (rest.len > 0 && rest.ptr[0] == '.' && units[1].name != NULL) {
        rest.ptr++;
        rest.len--;
        fraction = take_digits(&rest);
    }
    if (whole.len + fraction.len == 0) {
        return RC_MALFORMED;
    }
    rest = str_trim(rest);
    const struct unit *unit = units;
    while (unit->name != NULL && !str_eq_nocase(rest, str_of(unit->name))) {
        unit++;
    }
    if (unit->name == NULL) {
        return RC_MALFORMED;
    }
    uint64_t n = 0;
    enum rc rc = whole.len == 0 ? RC_OK : str_to_u64(whole, &n);
    if (rc != RC_OK) {
        return rc;
    }
    if (__builtin_mul_overflow(n, unit->scale, &n)) {
        return RC_TOO_LONG;
    }
    if (!add_fraction(&n, fraction, unit->scale)) {
        return RC_TOO_LONG;
    }
    *value = n;
    return RC_OK;
}

static bool bool_word(struct str text, uint64_t *value)
{
    static const char on[][8] = {"on", "yes", "true", "enable"};
    static const char off[][8] = {"off", "no", "false", "disable"};
    for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
        if (str_eq_nocase(text, str_of(on[i]))) {
            *value = 1;
            return true;
        }
        if (str_eq_nocase(text, str_of(off[i]))) {
            *value = 0;
            return true;
        }
    }
    return false;
}

/* The word for the largest value, if the parameter may have it. */
static const char *word_for_max(const struct param_desc *desc)
{
    if (desc->max != UINT64_MAX) {
        return NULL;
    }
    return desc->kind == PARAM_KIND_SECONDS ? "never" : "unlimited";
}

static enum rc out_of_bounds(const struct param_desc *desc, bool is_below, struct cli_text *why)
{
    const char *kind = desc->kind == PARAM_KIND_SECONDS
                           ? (is_below ? "greater or equal to" : "less or equal to")
                           : (is_below ? "at least" : "no more than");
    cli_text_printf(why, "Must be %s ", kind);
    param_format(desc, is_below ? desc->min : desc->max, why);
    return RC_INVALID;
}

static const struct unit *units_of(const struct param_desc *desc)
{
    switch (desc->kind) {
    case PARAM_KIND_BYTES:
        return byte_units;
    case PARAM_KIND_SECONDS:
        return time_units;
    case PARAM_KIND_UINT:
    case PARAM_KIND_BOOL:
        break;
    }
    return plain_units;
}

enum rc param_parse(const struct param_desc *desc, struct str text, uint64_t *value,
                    struct cli_text *why)
{
    const char *max_word = word_for_max(desc);
    bool is_negative = text.len > 1 && text.ptr[0] == '-';
    struct str digits = is_negative ? (struct str){text.ptr + 1, text.len - 1} : text;
    uint64_t n = 0;
    enum rc rc = RC_OK;
    if (desc->kind == PARAM_KIND_BOOL) {
        if (!bool_word(text, &n)) {
            cli_text_printf(why, "use \"on\" or \"off\"");
            return RC_INVALID;
        }
    } else if (max_word != NULL && str_eq_nocase(text, str_of(max_word))) {
        n = UINT64_MAX;
    } else {
        rc = scaled_number(digits, units_of(desc), &n);
    }
    if (rc == RC_MALFORMED) {
        cli_text_printf(why, "Invalid number (%.*s)", STR_ARG(text));
        return RC_INVALID;
    }
    if (rc == RC_OK && (n < desc->min || (is_negative && n > 0))) {
        return out_of_bounds(desc, true, why);
    }
    if (rc != RC_OK || n > desc->max) {
        return out_of_bounds(desc, false, why);
    }
    *value = n;
    return RC_OK;
}

/* In the largest unit of which it is a whole number, or, from 1k on, a multiple of a quarter. */
static void format_bytes(uint64_t value, struct cli_text *out)
{
    static const char units[] = "kMGT";
    if (value % 256 != 0 || value == 0) {
        cli_text_printf(out, "%llub", (unsigned long long)value);
        return;
    }
    for (unsigned i = 0; i < sizeof units - 1; i++) {
        if (value % 1024 != 0) {
            /* Not by way of a double, which has no room for so many digits. */
            cli_text_printf(out, "%llu.%02llu%c", (unsigned long long)(value / 1024),
                            (unsigned long long)(value % 1024 * 100 / 1024), units[i]);
            return;
        }
        value /= 1024;
        if (value % 256 != 0 || i == sizeof units - 2) {
            cli_text_printf(out, "%llu%c", (unsigned long long)value, units[i]);
            return;
        }
    }
}

void param_format(const struct param_desc *desc, uint64_t value, struct cli_text *out)
{
    const char *max_word = word_for_max(desc);
    if (value == UINT64_MAX && max_word != NULL) {
        cli_text_add(out, str_of(max_word));
        return;
    }
    switch (desc->kind) {
    case PARAM_KIND_BOOL:
        cli_text_add(out, value != 0 ? STR("on") : STR("off"));
        break;
    case PARAM_KIND_UINT:
        cli_text_printf(out, "%llu", (unsigned long long)value);
        break;
    case PARAM_KIND_BYTES:
        format_bytes(value, out);
        break;
    case PARAM_KIND_SECONDS:
        cli_text_printf(out, "%llu.%03llu", (unsigned long long)(value / NS_PER_S),
                        (unsigned long long)(value % NS_PER_S / NS_PER_MS));
        break;
    }
}

void param_format_json(const struct param_desc *desc, uint64_t value, struct cli_text *out)
{
    if (value == UINT64_MAX && word_for_max(desc) != NULL) {
        cli_text_json(out, str_of(word_for_max(desc)));
    } else if (desc->kind == PARAM_KIND_BOOL) {
        cli_text_add(out, value != 0 ? STR("true") : STR("false"));
    } else if (desc->kind == PARAM_KIND_BYTES) {
        cli_text_printf(out, "%llu", (unsigned long long)value);
    } else {
        param_format(desc, value, out);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct param_row *left = a;
    const struct param_row *right = b;
    return strcmp(left->name, right->name);
}

void param_rows(struct param_row *rows)
{
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        const struct param_desc *desc = param_desc((enum param_id)i);
        rows[i] = (struct param_row){.name = desc->name,
                                     .kind = PARAM_ROW_VALUE,
                                     .id = (enum param_id)i,
                                     .flags = desc->flags,
                                     .text = desc->text};
    }
    for (unsigned i = 0; i < PARAM_BITS__COUNT; i++) {
        const struct param_bits_desc *desc = param_bits_desc((enum param_bits_id)i);
        rows[PARAM__COUNT + i] = (struct param_row){.name = desc->name,
                                                    .kind = PARAM_ROW_BITS,
                                                    .bits = (enum param_bits_id)i,
                                                    .flags = desc->flags,
                                                    .text = desc->text};
    }
    for (unsigned i = 0; i < PARAM_STRING__COUNT; i++) {
        rows[PARAM__COUNT + PARAM_BITS__COUNT + i] = param_string_row((enum param_string_id)i);
    }
    qsort(rows, PARAM_ROWS, sizeof rows[0], by_name);
}
