/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Parameters whose values are texts: what they may be, and how they are shown.
 *
 * Numbers within them are written anew, so that what is shown is what was understood. */
#include <stdlib.h>

#include "base/check.h"
#include "mgt/param_text.h"

enum kind { KIND_ANY, KIND_POOL, KIND_SHARE, KIND__COUNT };

static const struct {
    const char *name;
    enum kind kind;
    const char *preset;
    unsigned flags;
    const char *text;
} table[PARAM_STRING__COUNT] = {
#define RESTART_ PARAM_RESTART
#define INERT_ PARAM_INERT
#define PARAM_STRING(name, kind, preset, flags, text) {#name, KIND_##kind, preset, flags, text},
#include "mgt/param_strings.def"
#undef PARAM_STRING
};

struct param_row param_string_row(enum param_string_id id)
{
    CHECK((unsigned)id < PARAM_STRING__COUNT);
    return (struct param_row){.name = table[id].name,
                              .kind = PARAM_ROW_STRING,
                              .string = id,
                              .flags = table[id].flags,
                              .text = table[id].text};
}

const char *param_string_preset(enum param_string_id id)
{
    CHECK((unsigned)id < PARAM_STRING__COUNT);
    return table[id].preset;
}

/* A plain decimal number, at most `max`. */
static bool read_decimal(struct str text, double max, double *value)
{
    char buf[32];
    if (text.len == 0 || text.len >= sizeof buf) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if ((text.ptr[i] < '0' || text.ptr[i] > '9') && text.ptr[i] != '.') {
            return false;
        }
    }
    memcpy(buf, text.ptr, text.len);
    buf[text.len] = '\0';
    char *end = NULL;
    *value = strtod(buf, &end);
    return *end == '\0' && *value <= max;
}

static enum rc read_any(struct str text, struct cli_text *value, struct cli_text *why)
{
    (void)why;
    cli_text_add(value, text);
    return RC_OK;
}

static enum rc read_share(struct str text, struct cli_text *value, struct cli_text *why)
{
    double share = 0;
    if (!read_decimal(text, 1, &share)) {
        cli_text_printf(why, "Must be a number from 0 to 1");
        return RC_INVALID;
    }
    cli_text_printf(value, "%g", share);
    return RC_OK;
}

static enum rc read_pool(struct str text, struct cli_text *value, struct cli_text *why)
{
    struct str rest = text;
    struct str min_text = str_trim(str_cut(&rest, ','));
    struct str max_text = str_trim(str_cut(&rest, ','));
    struct str age_text = str_trim(rest);
    if (age_text.len == 0) {
        cli_text_printf(why, "Three fields required: min_pool, max_pool and max_age");
        return RC_INVALID;
    }
    uint64_t min = 0;
    uint64_t max = 0;
    double age = 0;
    if (str_to_u64(min_text, &min) != RC_OK || str_to_u64(max_text, &max) != RC_OK ||
        max > UINT32_MAX || !read_decimal(age_text, 1e6, &age)) {
        cli_text_printf(why, "Invalid number (%.*s)", STR_ARG(text));
        return RC_INVALID;
    }
    if (min > max) {
        cli_text_printf(why, "min_pool cannot be larger than max_pool");
        return RC_INVALID;
    }
    cli_text_printf(value, "%u,%u,%g", (unsigned)min, (unsigned)max, age);
    return RC_OK;
}

static void json_number(struct str value, struct cli_text *out)
{
    cli_text_add(out, value);
}

static void json_pool(struct str value, struct cli_text *out)
{
    struct str rest = value;
    struct str min = str_cut(&rest, ',');
    struct str max = str_cut(&rest, ',');
    cli_text_printf(out, "{\"min_pool\": %.*s, \"max_pool\": %.*s, \"max_age\": %.*s}",
                    STR_ARG(min), STR_ARG(max), STR_ARG(rest));
}

static void json_any(struct str value, struct cli_text *out)
{
    cli_text_json(out, value);
}

static const struct {
    enum rc (*read)(struct str text, struct cli_text *value, struct cli_text *why);
    void (*json)(struct str value, struct cli_text *out);
} kinds[KIND__COUNT] = {
    [KIND_ANY] = {read_any, json_any},
    [KIND_POOL] = {read_pool, json_pool},
    [KIND_SHARE] = {read_share, json_number},
};

enum rc param_string_read(enum param_string_id id, struct str text, struct cli_text *value,
                          struct cli_text *why)
{
    CHECK((unsigned)id < PARAM_STRING__COUNT);
    return kinds[table[id].kind].read(text, value, why);
}

void param_string_json(enum param_string_id id, struct str value, struct cli_text *out)
{
    CHECK((unsigned)id < PARAM_STRING__COUNT);
    kinds[table[id].kind].json(value, out);
}
