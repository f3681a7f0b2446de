/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* vcl.list, in the words and columns that scripts know from Varnish.
 *
 * A worker knows more than the manager: who is warm, how many use it, and those that were discarded
 * and are still in use.  So its rows are shown while there is one, and the manager's otherwise. */
#include <stdio.h>

#include "base/check.h"
#include "mgt/priv.h"

enum { COLUMNS = 7, LINE_WIDTH = 80, GAP_MAX = 3 };

struct row {
    struct str status;
    struct str state;
    struct str temperature;
    struct str busy;   /* a number; STR_NONE: there is no worker to ask */
    struct str labels; /* a number: of a label how many VCLs return to it */
    struct str name;
    struct str target; /* of a label */
};

/* The widest of each column and of the lines, as Varnish counts them. */
struct measure {
    size_t column[COLUMNS];
    size_t line;
    size_t columns;
};

/* ---- rows ---- */

/* What the worker says: lines `status state temperature busy labels name target`. */
static bool ask_worker(struct mgt *mgt, struct cli_text *rows)
{
    unsigned status = CLI_OK;
    const struct str words[] = {STR("vcl.uses")};
    if (mgt->child.state != MGT_RUNNING || mgt__vcls_ask(mgt, &status, rows, 1, words) != RC_OK ||
        status != CLI_OK) {
        cli_text_clear(rows);
        return false;
    }
    return true;
}

static unsigned labels_of(struct mgt *mgt, const struct mgt_vcl *v)
{
    unsigned count = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        count += mgt__vcls_needs(CONTAINER_OF(node, struct mgt_vcl, link), v);
    }
    return count;
}

/* The same in the manager's words: what would be warm if there were a worker. */
static void own_rows(struct mgt *mgt, struct cli_text *rows)
{
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        unsigned labels = labels_of(mgt, v);
        bool is_cold = strcmp(v->state, "cold") == 0;
        cli_text_printf(
            rows, "%s %s %s - %u %s %s\n", v == mgt->vcls.active ? "active" : "available", v->state,
            is_cold ? "cold" : "warm", labels, v->name, v->target == NULL ? "" : v->target->name);
    }
}

static bool next_row(struct str *rest, struct row *row)
{
    if (rest->len == 0) {
        return false;
    }
    struct str line = str_cut(rest, '\n');
    row->status = str_cut(&line, ' ');
    row->state = str_cut(&line, ' ');
    row->temperature = str_cut(&line, ' ');
    row->busy = str_cut(&line, ' ');
    row->labels = str_cut(&line, ' ');
    row->name = str_cut(&line, ' ');
    row->target = line;
    return true;
}

static bool is_label(const struct row *row)
{
    return row->target.len > 0;
}

static bool has_labels(const struct row *row)
{
    return !str_eq(row->labels, STR("0"));
}

/* ---- as a table ---- */

static size_t cells_of(const struct row *row, struct str cells[COLUMNS], char busy[16],
                       char last[64])
{
    const char *many = str_eq(row->labels, STR("1")) ? "" : "s";
    (void)snprintf(busy, 16, "%6.*s", STR_ARG(row->busy));
    cells[0] = row->status;
    cells[1] = row->state;
    cells[2] = row->temperature;
    cells[3] = str_of(busy);
    cells[4] = row->name;
    last[0] = '\0';
    if (is_label(row)) {
        cells[5] = STR("->");
        cells[6] = row->target;
        if (has_labels(row)) {
            (void)snprintf(last, 64, " (%.*s return(vcl)%s)", STR_ARG(row->labels),
                           many[0] == '\0' ? "" : "'s");
        }
        return 7;
    }
    if (!has_labels(row)) {
        return 5;
    }
    (void)snprintf(last, 64, "(%.*s label%s)", STR_ARG(row->labels), many);
    cells[5] = STR("<-");
    cells[6] = STR("");
    return 7;
}

static void print_rows(struct cli *cli, struct str rest, struct measure *m, bool only_measures)
{
    struct row row;
    struct str cells[COLUMNS];
    char busy[16];
    char last[64];
    size_t spare = m->line < LINE_WIDTH && m->columns > 0 ? (LINE_WIDTH - m->line) / m->columns : 0;
    size_t gap = spare < 1 ? 1 : spare > GAP_MAX ? GAP_MAX : spare;
    while (next_row(&rest, &row)) {
        size_t count = cells_of(&row, cells, busy, last);
        size_t line = count - 1 + strlen(last);
        for (size_t i = 0; i < count; i++) {
            line += cells[i].len;
            m->column[i] = cells[i].len > m->column[i] ? cells[i].len : m->column[i];
            if (!only_measures) {
                /* All columns but the first are one wider, as they are there. */
                size_t width = i + 1 == count ? 0 : m->column[i] + gap + (i > 0);
                cli_printf(cli, "%.*s%*s", STR_ARG(cells[i]),
                           width == 0 ? 0 : (int)(width - cells[i].len), "");
            }
        }
        m->line = line > m->line ? line : m->line;
        m->columns = count > m->columns ? count : m->columns;
        if (!only_measures) {
            cli_printf(cli, "%s\n", last);
        }
    }
}

/* ---- as JSON ---- */

static void print_json(struct cli *cli, struct str rest)
{
    struct row row;
    bool is_first = true;
    cli_json_open(cli);
    while (next_row(&rest, &row)) {
        cli_printf(cli, "%s{\n    \"status\": \"%.*s\",\n    \"state\": \"%.*s\",\n",
                   is_first ? "" : ",\n  ", STR_ARG(row.status), STR_ARG(row.state));
        cli_printf(cli, "    \"temperature\": \"%.*s\",\n", STR_ARG(row.temperature));
        if (!str_eq(row.busy, STR("-"))) {
            cli_printf(cli, "    \"busy\": %.*s,\n", STR_ARG(row.busy));
        }
        cli_printf(cli, "    \"name\": \"%.*s\"", STR_ARG(row.name));
        if (is_label(&row)) {
            cli_printf(cli, ",\n    \"label\": {\n      \"name\": \"%.*s\"", STR_ARG(row.target));
            if (has_labels(&row)) {
                cli_printf(cli, ",\n      \"refs\": %.*s", STR_ARG(row.labels));
            }
            cli_printf(cli, "\n    }");
        } else if (has_labels(&row)) {
            cli_printf(cli, ",\n    \"labels\": %.*s", STR_ARG(row.labels));
        }
        cli_printf(cli, "\n  }");
        is_first = false;
    }
    cli_json_close(cli);
}

void mgt__cmd_vcl_list(struct cli *cli, void *ctx)
{
    struct mgt *mgt = ((struct mgt_call *)ctx)->mgt;
    struct cli_text rows = {0};
    if (!ask_worker(mgt, &rows)) {
        own_rows(mgt, &rows);
    }
    if (cli->json) {
        print_json(cli, cli_text_str(&rows));
    } else {
        struct measure m = {{0}, 0, 0};
        print_rows(cli, cli_text_str(&rows), &m, true);
        print_rows(cli, cli_text_str(&rows), &m, false);
    }
    cli_text_free(&rows);
}
