/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Parameters as param.show shows them: in a line, at length, in JSON. */
#include "base/check.h"
#include "mgt/priv.h"

enum { TEXT_COLUMN = 8, LINE_WIDTH = 72 };

/* ---- as text ---- */

static void put_value(const struct mgt_params *params, const struct param_row *row,
                      struct cli_text *out)
{
    uint64_t words[PARAM_BITS_WORDS];
    switch (row->kind) {
    case PARAM_ROW_VALUE:
        param_format(param_desc(row->id), atomic_load(&params->shared->value[row->id]), out);
        break;
    case PARAM_ROW_BITS:
        mgt__params_bits(params, row->bits, words);
        param_bits_format(row->bits, words, out);
        break;
    case PARAM_ROW_STRING:
        cli_text_add(out, str_of(params->strings[row->string]));
        break;
    }
}

void mgt__param_preset(const struct mgt_params *params, const struct param_row *row,
                       struct cli_text *out)
{
    uint64_t words[PARAM_BITS_WORDS];
    switch (row->kind) {
    case PARAM_ROW_VALUE:
        param_format(param_desc(row->id), params->preset[row->id], out);
        break;
    case PARAM_ROW_BITS:
        param_bits_preset(row->bits, words);
        param_bits_format(row->bits, words, out);
        break;
    case PARAM_ROW_STRING:
        cli_text_add(out, str_of(param_string_preset(row->string)));
        break;
    }
}

static bool are_bits_preset(const struct mgt_params *params, enum param_bits_id id)
{
    uint64_t words[PARAM_BITS_WORDS];
    uint64_t preset[PARAM_BITS_WORDS];
    mgt__params_bits(params, id, words);
    param_bits_preset(id, preset);
    return memcmp(words, preset, sizeof words) == 0;
}

bool mgt__param_is_preset(const struct mgt_params *params, const struct param_row *row)
{
    switch (row->kind) {
    case PARAM_ROW_VALUE:
        return atomic_load(&params->shared->value[row->id]) == params->preset[row->id];
    case PARAM_ROW_BITS:
        return are_bits_preset(params, row->bits);
    case PARAM_ROW_STRING:
        break;
    }
    return strcmp(params->strings[row->string], param_string_preset(row->string)) == 0;
}

static void put_value_line(const struct mgt_params *params, const struct param_row *row,
                           struct cli_text *out)
{
    put_value(params, row, out);
    if (row->kind == PARAM_ROW_VALUE && param_desc(row->id)->units[0] != '\0') {
        cli_text_printf(out, " [%s]", param_desc(row->id)->units);
    }
    if (mgt__param_is_preset(params, row)) {
        cli_text_add(out, STR(" (default)"));
    }
    cli_text_add(out, STR("\n"));
}

/* Words of a text, in lines of at most LINE_WIDTH, indented. */
static void put_wrapped(const char *text, unsigned indent, struct cli_text *out)
{
    struct str rest = str_of(text);
    size_t column = 0;
    while (rest.ptr != NULL) {
        struct str word = str_cut(&rest, ' ');
        if (column > 0 && column + 1 + word.len > LINE_WIDTH) {
            cli_text_add(out, STR("\n"));
            column = 0;
        }
        if (column == 0) {
            cli_text_printf(out, "%*s", (int)indent, "");
            column = indent;
        } else {
            cli_text_add(out, STR(" "));
            column++;
        }
        cli_text_add(out, word);
        column += word.len;
    }
    cli_text_add(out, STR("\n"));
}

static const struct {
    unsigned flag;
    const char *json;
    const char *text;
} flag_rows[] = {
    {PARAM_RESTART, "must_restart", "NB: A new value takes effect when the worker is started."},
    {PARAM_DELAYED, "delayed_effect",
     "NB: A new value is used for what begins after it was set: new objects, connections, "
     "requests."},
    {PARAM_EXPERIMENTAL, "experimental", "NB: This is an experiment and may go away."},
    {PARAM_INERT, "inert", "NB: The value is kept, and nothing looks at it."},
};

static void put_bit_list(const struct param_bits_desc *desc, struct cli_text *out)
{
    cli_text_printf(out, "\n%*s+NAME sets, -NAME clears a bit; `default` and `none` do for all.\n",
                    TEXT_COLUMN, "");
    for (unsigned i = 0; i < desc->count; i++) {
        if (desc->bit_text != NULL && desc->bit_name(i) != NULL) {
            cli_text_printf(out, "%*s%-26s %s\n", TEXT_COLUMN + 3, "", desc->bit_name(i),
                            desc->bit_text(i));
        }
    }
}

static const struct param_desc *desc_of(const struct param_row *row)
{
    return row->kind == PARAM_ROW_VALUE ? param_desc(row->id) : NULL;
}

void mgt__param_show_long(const struct mgt_params *params, const struct param_row *row,
                          struct cli_text *out)
{
    const struct param_desc *desc = desc_of(row);
    cli_text_printf(out, "%s\n%*sValue is: ", row->name, TEXT_COLUMN, "");
    put_value_line(params, row, out);
    if (!mgt__param_is_preset(params, row)) {
        cli_text_printf(out, "%*sDefault is: ", TEXT_COLUMN, "");
        mgt__param_preset(params, row, out);
        cli_text_add(out, STR("\n"));
    }
    if (desc != NULL && desc->kind != PARAM_KIND_BOOL) {
        cli_text_printf(out, "%*sMinimum is: ", TEXT_COLUMN, "");
        param_format(desc, desc->min, out);
        cli_text_add(out, STR("\n"));
        if (desc->max != UINT64_MAX) {
            cli_text_printf(out, "%*sMaximum is: ", TEXT_COLUMN, "");
            param_format(desc, desc->max, out);
            cli_text_add(out, STR("\n"));
        }
    }
    cli_text_add(out, STR("\n"));
    put_wrapped(row->text, TEXT_COLUMN, out);
    if (row->kind == PARAM_ROW_BITS) {
        put_bit_list(param_bits_desc(row->bits), out);
    }
    for (size_t i = 0; i < ARRAY_SIZE(flag_rows); i++) {
        if ((row->flags & flag_rows[i].flag) != 0) {
            cli_text_add(out, STR("\n"));
            put_wrapped(flag_rows[i].text, TEXT_COLUMN, out);
        }
    }
    cli_text_add(out, STR("\n"));
}

void mgt__param_show_short(const struct mgt_params *params, const struct param_row *row,
                           struct cli_text *out)
{
    cli_text_printf(out, "%-29s ", row->name);
    put_value_line(params, row, out);
}

/* ---- as JSON ---- */

static void json_member(struct cli_text *out, const char *key, const struct cli_text *value)
{
    cli_text_printf(out, "    \"%s\": ", key);
    cli_text_json(out, cli_text_str(value));
    cli_text_add(out, STR(",\n"));
}

static void json_bound(struct cli_text *out, const char *key, const struct param_desc *desc,
                       uint64_t value)
{
    struct cli_text text = {0};
    param_format(desc, value, &text);
    json_member(out, key, &text);
    cli_text_free(&text);
}

static void json_value(const struct mgt_params *params, const struct param_row *row,
                       struct cli_text *out)
{
    struct cli_text text = {0};
    cli_text_add(out, STR("    \"value\": "));
    switch (row->kind) {
    case PARAM_ROW_VALUE:
        param_format_json(param_desc(row->id), atomic_load(&params->shared->value[row->id]), out);
        cli_text_printf(out, ",\n    \"units\": \"%s\"", param_desc(row->id)->units);
        break;
    case PARAM_ROW_BITS:
        put_value(params, row, &text);
        cli_text_json(out, cli_text_str(&text));
        break;
    case PARAM_ROW_STRING:
        param_string_json(row->string, str_of(params->strings[row->string]), out);
        break;
    }
    cli_text_add(out, STR(",\n"));
    cli_text_free(&text);
}

void mgt__param_show_json(const struct mgt_params *params, const struct param_row *row,
                          struct cli_text *out)
{
    const struct param_desc *desc = desc_of(row);
    struct cli_text text = {0};
    cli_text_printf(out, "{\n    \"name\": \"%s\",\n    \"implemented\": %s,\n", row->name,
                    (row->flags & PARAM_INERT) != 0 ? "false" : "true");
    json_value(params, row, out);
    mgt__param_preset(params, row, &text);
    json_member(out, "default", &text);
    if (desc != NULL && desc->kind != PARAM_KIND_BOOL) {
        json_bound(out, "minimum", desc, desc->min);
        if (desc->max != UINT64_MAX) {
            json_bound(out, "maximum", desc, desc->max);
        }
    }
    cli_text_clear(&text);
    cli_text_add(&text, str_of(row->text));
    json_member(out, "description", &text);
    cli_text_free(&text);
    cli_text_add(out, STR("    \"flags\": ["));
    const char *separator = "";
    for (size_t i = 0; i < ARRAY_SIZE(flag_rows); i++) {
        if ((row->flags & flag_rows[i].flag) != 0) {
            cli_text_printf(out, "%s\n      \"%s\"", separator, flag_rows[i].json);
            separator = ",";
        }
    }
    cli_text_add(out, *separator == '\0' ? STR("]\n  }") : STR("\n    ]\n  }"));
}
