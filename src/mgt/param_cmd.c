/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* param.show, param.set, param.reset, and -p and -r.  A value goes to the shared struct at once:
 * each parameter is one atomic word (a set of bits is a few, each of which stands for itself), so
 * the worker sees the old value or the new one. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/priv.h"

void mgt__params_init(struct mgt_params *params)
{
    param_rows(params->rows);
    param_defaults(params->shared);
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        params->preset[i] = param_desc((enum param_id)i)->preset;
    }
    mgt__keepalive_preset(params);
    for (unsigned i = 0; i < PARAM_STRING__COUNT; i++) {
        params->strings[i] = xstrdup(param_string_preset((enum param_string_id)i));
    }
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        const struct param_row *row = &params->rows[i];
        uint64_t words[PARAM_BITS_WORDS];
        if (row->kind == PARAM_ROW_BITS) {
            param_bits_preset(row->bits, words);
            for (unsigned w = 0; w < PARAM_BITS_WORDS; w++) {
                atomic_store(&params->shared->bits[row->bits][w], words[w]);
            }
        }
    }
}

void mgt__params_end(struct mgt_params *params)
{
    for (unsigned i = 0; i < PARAM_STRING__COUNT; i++) {
        XFREE(params->strings[i]);
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
    if (str_eq(name, STR("accept_filter"))) {
        /* As Varnish says on Linux. */
        cli_text_printf(why, "parameter \"accept_filter\" is not available on this platform.");
        return RC_UNSUPPORTED;
    }
    cli_text_printf(why, "Unknown parameter \"%.*s\".", STR_ARG(name));
    return RC_NOT_FOUND;
}

void mgt__params_bits(const struct mgt_params *params, enum param_bits_id id, uint64_t *words)
{
    for (unsigned w = 0; w < PARAM_BITS_WORDS; w++) {
        words[w] = atomic_load(&params->shared->bits[id][w]);
    }
}

static enum rc set_bits(struct mgt_params *params, enum param_bits_id id, struct str value,
                        struct cli_text *why)
{
    uint64_t words[PARAM_BITS_WORDS];
    mgt__params_bits(params, id, words);
    enum rc rc = param_bits_parse(id, value, words, why);
    for (unsigned w = 0; w < PARAM_BITS_WORDS && rc == RC_OK; w++) {
        atomic_store(&params->shared->bits[id][w], words[w]);
    }
    return rc;
}

static enum rc set_value(struct mgt_params *params, enum param_id id, struct str value,
                         struct cli_text *why)
{
    uint64_t n;
    enum rc rc = param_parse(param_desc(id), value, &n, why);
    if (rc == RC_OK) {
        param_set(params->shared, id, n);
        mgt__keepalive_changed(CONTAINER_OF(params, struct mgt, params), id);
    }
    return rc;
}

static enum rc set_string(struct mgt_params *params, enum param_string_id id, struct str value,
                          struct cli_text *why)
{
    struct cli_text kept = {0};
    enum rc rc = param_string_read(id, value, &kept, why);
    if (rc == RC_OK) {
        free(params->strings[id]);
        params->strings[id] = str_dup(cli_text_str(&kept));
    }
    cli_text_free(&kept);
    return rc;
}

static enum rc set_row(struct mgt_params *params, const struct param_row *row, struct str value,
                       struct cli_text *why)
{
    switch (row->kind) {
    case PARAM_ROW_VALUE:
        return set_value(params, row->id, value, why);
    case PARAM_ROW_BITS:
        return set_bits(params, row->bits, value, why);
    case PARAM_ROW_STRING:
        break;
    }
    return set_string(params, row->string, value, why);
}

enum rc mgt__params_set(struct mgt_params *params, struct str name, struct str value,
                        struct cli_text *why, struct cli_text *note)
{
    unsigned at = find_row(params, name);
    if (at == PARAM_ROWS) {
        return unknown(name, why);
    }
    const struct param_row *row = &params->rows[at];
    if (params->is_protected[at]) {
        cli_text_printf(why, "parameter \"%s\" is protected.", row->name);
        return RC_DENIED;
    }
    enum rc rc = set_row(params, row, value, why);
    if (rc == RC_OK && note != NULL && (row->flags & PARAM_INERT) != 0) {
        cli_text_printf(note, "%s: %s", row->name, row->text);
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

/* ---- commands ---- */

static void fail_unknown(struct cli *cli, struct str name)
{
    struct cli_text why = {0};
    enum rc rc = unknown(name, &why);
    cli_fail(cli, rc == RC_UNSUPPORTED ? CLI_CANNOT : CLI_PARAM, "%.*s",
             STR_ARG(cli_text_str(&why)));
    cli_text_free(&why);
}

static void show_many(struct cli *cli, const struct mgt_params *params, bool changed_only,
                      bool is_long)
{
    const char *separator = "";
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        const struct param_row *row = &params->rows[i];
        if (changed_only && mgt__param_is_preset(params, row)) {
            continue;
        }
        if (cli->json) {
            cli_printf(cli, "%s", separator);
            mgt__param_show_json(params, row, cli->text);
            separator = ",\n  ";
        } else if (is_long) {
            mgt__param_show_long(params, row, cli->text);
        } else {
            mgt__param_show_short(params, row, cli->text);
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
        mgt__param_show_json(params, &params->rows[at], cli->text);
    } else {
        mgt__param_show_long(params, &params->rows[at], cli->text);
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
        unsigned status = rc == RC_DENIED        ? CLI_AUTH
                          : rc == RC_UNSUPPORTED ? CLI_CANNOT
                                                 : CLI_PARAM;
        cli_fail(cli, status, "%.*s", STR_ARG(cli_text_str(&why)));
        if (rc == RC_INVALID || rc == RC_DENIED) {
            cli_printf(cli, "\n\n(attempting to set param '%.*s' to '%.*s')", STR_ARG(name),
                       STR_ARG(value));
        }
    } else if (cli->json) {
        cli_json_open(cli);
        mgt__param_show_json(&mgt->params, &mgt->params.rows[find_row(&mgt->params, name)],
                             cli->text);
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
    if (row->kind == PARAM_ROW_BITS) {
        cli_text_add(&preset, STR("default"));
    } else {
        mgt__param_preset(&mgt->params, row, &preset);
    }
    set_and_say(cli, mgt, cli->req->argv[1], cli_text_str(&preset));
    cli_text_free(&preset);
}
