/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Reference pages as roff. The build writes them into the manual, so the manual cannot drift from
 * the program. */
#include "mgt/dump.h"

#include <stdlib.h>

#include "base/mem.h"
#include "mgt/priv.h"
#include "vcl/vcl.h"

/* A line of text.  A leading dot or quote would be a request, a backslash is roff's, and long lists
 * get places where they may be broken. */
static void put_text(struct cli_text *out, const char *text)
{
    if (text[0] == '.' || text[0] == '\'') {
        cli_text_add(out, STR("\\&"));
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '\\') {
            cli_text_add(out, STR("\\e"));
        } else if (*at == '-') {
            cli_text_add(out, STR("\\-"));
        } else if (*at == ',') {
            cli_text_add(out, STR(",\\:"));
        } else {
            cli_text_add(out, (struct str){at, 1});
        }
    }
    cli_text_add(out, STR("\n"));
}

static void put_head(struct cli_text *out, const char *name, const char *what)
{
    cli_text_printf(out, ".TH %s 7 \"\" \"objmapper %s\"\n.ad l\n.SH NAME\n%s \\- %s\n", name,
                    OBJM_VERSION, name, what);
}

static void put_fact(struct cli_text *out, const char *label, const struct param_desc *desc,
                     uint64_t value)
{
    cli_text_printf(out, "%s ", label);
    param_format(desc, value, out);
}

static void put_param(struct cli_text *out, const struct param_desc *desc)
{
    cli_text_printf(out, ".TP\n.B ");
    put_text(out, desc->name);
    put_text(out, desc->text);
    cli_text_printf(out, ".br\n");
    put_fact(out, "Default", desc, desc->preset);
    if (desc->kind != PARAM_KIND_BOOL) {
        put_fact(out, ", minimum", desc, desc->min);
        put_fact(out, ", maximum", desc, desc->max);
        cli_text_printf(out, " (%s)", desc->units);
    }
    cli_text_add(out, STR(".\n"));
    if ((desc->flags & PARAM_RESTART) != 0) {
        put_text(out, "A new value takes effect when the worker is started.");
    }
    if ((desc->flags & PARAM_DELAYED) != 0) {
        put_text(out, "A new value is used for what begins after it was set.");
    }
    if ((desc->flags & PARAM_EXPERIMENTAL) != 0) {
        put_text(out, "This is an experiment and may go away.");
    }
}

static void put_bits(struct cli_text *out, enum param_bits_id id)
{
    const struct param_bits_desc *desc = param_bits_desc(id);
    uint64_t words[PARAM_BITS_WORDS];
    param_bits_preset(id, words);
    cli_text_printf(out, ".TP\n.B ");
    put_text(out, desc->name);
    put_text(out, desc->text);
    put_text(out,
             "Written as +NAME or -NAME, several with commas; default and none stand for all.");
    cli_text_printf(out, "Default ");
    struct cli_text value = {0};
    param_bits_format(id, words, &value);
    cli_text_add(&value, (struct str){"", 1});
    put_text(out, value.ptr);
    cli_text_free(&value);
    if (desc->bit_text == NULL) {
        return;
    }
    cli_text_add(out, STR(".RS\n"));
    for (unsigned i = 0; i < desc->count; i++) {
        cli_text_printf(out, ".TP\n.B ");
        put_text(out, desc->bit_name(i));
        put_text(out, desc->bit_text(i));
    }
    cli_text_add(out, STR(".RE\n"));
}

static void put_string(struct cli_text *out, const struct param_row *row)
{
    cli_text_printf(out, ".TP\n.B ");
    put_text(out, row->name);
    put_text(out, row->text);
    cli_text_printf(out, "Default ");
    put_text(out, param_string_preset(row->string));
}

static void put_row(struct cli_text *out, const struct param_row *row)
{
    switch (row->kind) {
    case PARAM_ROW_VALUE:
        put_param(out, param_desc(row->id));
        break;
    case PARAM_ROW_BITS:
        put_bits(out, row->bits);
        break;
    case PARAM_ROW_STRING:
        put_string(out, row);
        break;
    }
}

static void params_page(struct cli_text *out)
{
    /* Too many for a stack. */
    struct param_row *rows = xcalloc(PARAM_ROWS, sizeof rows[0]);
    param_rows(rows);
    put_head(out, "objmapper-params", "parameters of objmapperd");
    cli_text_printf(out, ".SH DESCRIPTION\n");
    put_text(out, "Set at start with -p name=value, or later with the command param.set; shown by "
                  "param.show.");
    put_text(out, "Sizes take the units b, k, m, g, t (powers of 1024); times take ms, s, m, h, d, "
                  "w, y, and are seconds without one.");
    for (int inert = 0; inert < 2; inert++) {
        cli_text_printf(out, inert ? ".SH ACCEPTED WITHOUT EFFECT\n" : ".SH PARAMETERS\n");
        for (unsigned i = 0; i < PARAM_ROWS; i++) {
            if (((rows[i].flags & PARAM_INERT) != 0) != (inert != 0)) {
                continue;
            }
            put_row(out, &rows[i]);
        }
    }
    free(rows);
    cli_text_printf(out, ".SH SEE ALSO\n.BR objmapperd (1),\n.BR objmapper-cli (7)\n");
}

static void commands(struct cli_text *out, const struct cli_cmd *table)
{
    for (const struct cli_cmd *cmd = table; cmd->name != NULL; cmd++) {
        if (table != mgt__commands && cli_find(mgt__commands, str_of(cmd->name)) != NULL) {
            continue; /* what the manager asks the worker itself */
        }
        cli_text_printf(out, ".TP\n.B ");
        put_text(out, cmd->syntax);
        put_text(out, cmd->help);
    }
}

static void cli_page(struct cli_text *out, const struct cli_cmd *of_worker)
{
    put_head(out, "objmapper-cli", "command line interface of objmapperd");
    cli_text_printf(out, ".SH DESCRIPTION\n");
    put_text(out, "Spoken on the ports of -T and -M, on stdin with -d, and by varnishadm(1). A "
                  "request is one line of words; a word in double quotes may hold blanks and the "
                  "escapes \\n \\r \\t \\\" \\\\ \\ooo \\xHH. If the last two words are << and "
                  "another, the lines up to one that consists of that other word become the last "
                  "argument. -j as the first argument asks for JSON where there is any.");
    cli_text_printf(out, ".PP\n");
    put_text(out, "An answer is a line of status and length, the text, and a newline. Status 200 "
                  "is good; 201 too, but the text was cut at cli_limit; 100 syntax, 101 unknown, "
                  "102 not there yet or no JSON, 104 too few and 105 too many arguments, 106 bad "
                  "argument, 107 authentication required, 300 cannot be done now, 400 the worker "
                  "did not answer, 500 the connection is closed.");
    cli_text_printf(out, ".PP\n");
    put_text(out, "Authentication: the first answer, 107, begins with 32 letters. The peer sends "
                  "auth and SHA-256, in hex, of these letters, a newline, the secret file, the "
                  "letters and a newline.");
    cli_text_printf(out, ".SH COMMANDS OF THE MANAGER\n");
    commands(out, mgt__commands);
    cli_text_printf(out, ".SH COMMANDS OF THE WORKER\nThere while it runs.\n");
    commands(out, of_worker);
    cli_text_printf(out, ".SH SEE ALSO\n.BR objmapperd (1),\n.BR objmapper-params (7)\n");
}

enum rc dump_page(const char *what, const struct cli_cmd *of_worker, struct cli_text *out)
{
    if (strcmp(what, "parameter") == 0) {
        params_page(out);
    } else if (strcmp(what, "cli") == 0) {
        cli_page(out, of_worker);
    } else if (strcmp(what, "memcached") == 0) {
        mgt__dump_mc_page(out);
    } else if (strcmp(what, "mcpasswd") == 0) {
        return mgt__dump_mc_passwd(out);
    } else if (strcmp(what, "builtin") == 0) {
        cli_text_add(out, str_of(vcl_builtin()));
    } else {
        return RC_NOT_FOUND;
    }
    return RC_OK;
}
