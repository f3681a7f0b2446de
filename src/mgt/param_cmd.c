/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* param.show, param.set, param.reset, and -p and -r.  A value goes to the shared struct at once:
 * each parameter is one atomic word (a set of bits is a few, each of which stands for itself), so
 * the worker sees the old value or the new one. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "mgt/priv.h"

enum { TEXT_COLUMN = 8, LINE_WIDTH = 72 };

void mgt__params_init(struct mgt_params *params)
{
    param_rows(params->rows);
    param_defaults(params->shared);
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        const struct param_row *row = &params->rows[i];
        uint64_t words[PARAM_BITS_WORDS];
        if (row->is_bits) {
            param_bits_preset(row->bits, words);
            for (unsigned w = 0; w < PARAM_BITS_WORDS; w++) {
                atomic_store(&params->shared->bits[row->bits][w], words[w]);
            }
        }
    }
}

static unsigned find_row(const struct mgt_params *params, struct str name)
{
    unsigned i = 0;
    while (i < PARAM_ROWS && !str_eq(str_of(params->rows[i].name), name)) {
        i++;
    }
    return i;
}

static enum rc unknown(struct str name, struct cli_text *why)
{
    cli_text_printf(why, "%s parameter \"%.*s\".",
                    param_is_foreign(name) ? "Not there yet:" : "Unknown", STR_ARG(name));
    return RC_NOT_FOUND;
}

static void load_bits(const struct mgt_params *params, enum param_bits_id id, uint64_t *words)
{
    for (unsigned w = 0; w < PARAM_BITS_WORDS; w++) {
        words[w] = atomic_load(&params->shared->bits[id][w]);
    }
}

static enum rc set_bits(struct mgt_params *params, enum param_bits_id id, struct str value,
                        struct cli_text *why)
{
    uint64_t words[PARAM_BITS_WORDS];
    load_bits(params, id, words);
    enum rc rc = param_bits_parse(id, value, words, why);
    for (unsigned w = 0; w < PARAM_BITS_WORDS && rc == RC_OK; w++) {
        atomic_store(&params->shared->bits[id][w], words[w]);
    }
    return rc;
}

enum rc mgt__params_set(struct mgt_params *params, struct str name, struct str value,
                        struct cli_text *why, struct cli_text *note)
{
    unsigned at = find_row(params, name);
    if (at == PARAM_ROWS) {
        bool is_path = mgt__vcls_set_path(CONTAINER_OF(params, struct mgt, params), name, value);
        return is_path ? RC_OK : unknown(name, why);
    }
    const struct param_row *row = &params->rows[at];
    if (params->is_protected[at]) {
        cli_text_printf(why, "parameter \"%s\" is protected.", row->name);
        return RC_DENIED;
    }
    enum rc rc;
    if (row->is_bits) {
        rc = set_bits(params, row->bits, value, why);
    } else {
        uint64_t n;
        rc = param_parse(param_desc(row->id), value, &n, why);
        if (rc == RC_OK) {
            param_set(params->shared, row->id, n);
        }
    }
    if (rc == RC_OK && note != NULL && (row->flags & PARAM_INERT) != 0) {
        cli_text_printf(note, "%s: %s", row->name, param_desc(row->id)->text);
    } else if (note != NULL && (row->flags & PARAM_RESTART) != 0) {
        cli_text_printf(note, "Takes effect when the worker is started the next time");
    }
    return rc;
}

enum rc mgt__params_protect(struct mgt_params *params, struct str names, struct cli_text *why)
{
    do {
        struct str name = str_cut(&names, ',');
        unsigned at = find_row(params, name);
        if (at == PARAM_ROWS) {
            return unknown(name, why);
        }
        params->is_protected[at] = true;
    } while (names.ptr != NULL);
    return RC_OK;
}

/* ---- as text ---- */

static void put_value(const struct mgt_params *params, const struct param_row *row,
                      struct cli_text *out)
{
    if (row->is_bits) {
        uint64_t words[PARAM_BITS_WORDS];
        load_bits(params, row->bits, words);
        param_bits_format(row->bits, words, out);
    } else {
        param_format(param_desc(row->id), atomic_load(&params->shared->value[row->id]), out);
    }
}

static void put_preset(const struct param_row *row, struct cli_text *out)
{
    if (row->is_bits) {
        uint64_t words[PARAM_BITS_WORDS];
        param_bits_preset(row->bits, words);
        param_bits_format(row->bits, words, out);
    } else {
        param_format(param_desc(row->id), param_desc(row->id)->preset, out);
    }
}

static bool is_preset(const struct mgt_params *params, const struct param_row *row)
{
    if (!row->is_bits) {
        return atomic_load(&params->shared->value[row->id]) == param_desc(row->id)->preset;
    }
    uint64_t words[PARAM_BITS_WORDS];
    uint64_t preset[PARAM_BITS_WORDS];
    load_bits(params, row->bits, words);
    param_bits_preset(row->bits, preset);
    return memcmp(words, preset, sizeof words) == 0;
}

static void put_value_line(const struct mgt_params *params, const struct param_row *row,
                           struct cli_text *out)
{
    put_value(params, row, out);
    if (!row->is_bits && param_desc(row->id)->units[0] != '\0') {
        cli_text_printf(out, " [%s]", param_desc(row->id)->units);
    }
    if (is_preset(params, row)) {
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

static void show_long(const struct mgt_params *params, const struct param_row *row,
                      struct cli_text *out)
{
    const struct param_desc *desc = row->is_bits ? NULL : param_desc(row->id);
    cli_text_printf(out, "%s\n%*sValue is: ", row->name, TEXT_COLUMN, "");
    put_value_line(params, row, out);
    if (!is_preset(params, row)) {
        cli_text_printf(out, "%*sDefault is: ", TEXT_COLUMN, "");
        put_preset(row, out);
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
    put_wrapped(desc != NULL ? desc->text : param_bits_desc(row->bits)->text, TEXT_COLUMN, out);
    if (row->is_bits) {
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

static void show_short(const struct mgt_params *params, const struct param_row *row,
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

static void show_json(const struct mgt_params *params, const struct param_row *row,
                      struct cli_text *out)
{
    const struct param_desc *desc = row->is_bits ? NULL : param_desc(row->id);
    struct cli_text text = {0};
    cli_text_printf(out, "{\n    \"name\": \"%s\",\n    \"implemented\": %s,\n", row->name,
                    (row->flags & PARAM_INERT) != 0 ? "false" : "true");
    if (desc == NULL) {
        put_value(params, row, &text);
        json_member(out, "value", &text);
    } else {
        cli_text_add(out, STR("    \"value\": "));
        param_format_json(desc, atomic_load(&params->shared->value[row->id]), out);
        cli_text_printf(out, ",\n    \"units\": \"%s\",\n", desc->units);
    }
    cli_text_clear(&text);
    put_preset(row, &text);
    json_member(out, "default", &text);
    if (desc != NULL && desc->kind != PARAM_KIND_BOOL) {
        json_bound(out, "minimum", desc, desc->min);
        if (desc->max != UINT64_MAX) {
            json_bound(out, "maximum", desc, desc->max);
        }
    }
    cli_text_clear(&text);
    cli_text_add(&text, str_of(desc != NULL ? desc->text : param_bits_desc(row->bits)->text));
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

/* ---- commands ---- */

static void fail_unknown(struct cli *cli, struct str name)
{
    struct cli_text why = {0};
    enum rc rc = unknown(name, &why);
    CHECK(rc == RC_NOT_FOUND);
    cli_fail(cli, CLI_PARAM, "%.*s", STR_ARG(cli_text_str(&why)));
    cli_text_free(&why);
}

static void show_many(struct cli *cli, const struct mgt_params *params, bool changed_only,
                      bool is_long)
{
    const char *separator = "";
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        const struct param_row *row = &params->rows[i];
        if (changed_only && is_preset(params, row)) {
            continue;
        }
        if (cli->json) {
            cli_printf(cli, "%s", separator);
            show_json(params, row, cli->text);
            separator = ",\n  ";
        } else if (is_long) {
            show_long(params, row, cli->text);
        } else {
            show_short(params, row, cli->text);
        }
    }
}

void mgt__cmd_param_show(struct cli *cli, void *ctx)
{
    const struct mgt_params *params = &((struct mgt_call *)ctx)->mgt->params;
    const struct cli_request *req = cli->req;
    struct str what = req->argc > 1 ? req->argv[1] : STR_NONE;
    bool is_long = str_eq(what, STR("-l"));
    if (req->argc > 2 && (!is_long || cli->json)) {
        cli_fail(cli, CLI_TOO_MANY, "Too many parameters\n");
        return;
    }
    if (is_long) {
        what = req->argc > 2 ? req->argv[2] : STR_NONE;
    }
    bool is_changed = str_eq(what, STR("changed"));
    unsigned at = what.ptr == NULL || is_changed ? 0 : find_row(params, what);
    if (at == PARAM_ROWS) {
        fail_unknown(cli, what);
        return;
    }
    if (cli->json) {
        cli_json_open(cli);
    }
    if (what.ptr == NULL || is_changed) {
        show_many(cli, params, is_changed, is_long);
    } else if (cli->json) {
        show_json(params, &params->rows[at], cli->text);
    } else {
        show_long(params, &params->rows[at], cli->text);
    }
    if (cli->json) {
        cli_json_close(cli);
    }
}

static void set_and_say(struct cli *cli, struct mgt *mgt, struct str name, struct str value)
{
    struct cli_text why = {0};
    struct cli_text note = {0};
    enum rc rc = mgt__params_set(&mgt->params, name, value, &why, &note);
    if (rc != RC_OK) {
        bool is_protected = rc == RC_DENIED;
        cli_fail(cli, is_protected ? CLI_AUTH : CLI_PARAM, "%.*s", STR_ARG(cli_text_str(&why)));
        if (rc == RC_INVALID || is_protected) {
            cli_printf(cli, "\n\n(attempting to set param '%.*s' to '%.*s')", STR_ARG(name),
                       STR_ARG(value));
        }
    } else if (cli->json) {
        cli_json_open(cli);
        show_json(&mgt->params, &mgt->params.rows[find_row(&mgt->params, name)], cli->text);
        cli_json_close(cli);
    } else if (note.len > 0) {
        cli_printf(cli, "\n%.*s\n", STR_ARG(cli_text_str(&note)));
    }
    cli_text_free(&why);
    cli_text_free(&note);
}

void mgt__cmd_param_set(struct cli *cli, void *ctx)
{
    struct mgt *mgt = ((struct mgt_call *)ctx)->mgt;
    set_and_say(cli, mgt, cli->req->argv[1], cli->req->argv[2]);
}

void mgt__cmd_param_reset(struct cli *cli, void *ctx)
{
    struct mgt *mgt = ((struct mgt_call *)ctx)->mgt;
    unsigned at = find_row(&mgt->params, cli->req->argv[1]);
    if (at == PARAM_ROWS) {
        fail_unknown(cli, cli->req->argv[1]);
        return;
    }
    struct cli_text preset = {0};
    const struct param_row *row = &mgt->params.rows[at];
    if (row->is_bits) {
        cli_text_add(&preset, STR("default"));
    } else {
        put_preset(row, &preset);
    }
    set_and_say(cli, mgt, cli->req->argv[1], cli_text_str(&preset));
    cli_text_free(&preset);
}
