/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* filter.list and filter.plan: what filters there are, and which chain the planner would build.
 * Both know the filters of the modules that the VCL in use imports. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/vcls.h"
#include "filter/notation.h"
#include "filter/plan.h"
#include "vcl/filters.h"
#include "worker/worker_priv.h"

enum { ARENA_BYTES = 64 << 10, TEXT_BYTES = 8 << 10 };

static const char *const sides[] = {[FILTER_VFP] = "vfp", [FILTER_VDP] = "vdp"};

static const struct vcl *vcl_of(void *ctx)
{
    return engine_vcl_in_use(((struct worker *)ctx)->engine);
}

static void json_str(struct cli *cli, const char *key, struct str value)
{
    cli_printf(cli, "\"%s\": ", key);
    cli_text_json(cli->text, value);
}

/* ---- filter.list ---- */

struct row {
    enum filter_side side;
    const struct filter *filter;
    bool is_builtin;
    bool fills;
};

static void json_formats(struct cli *cli, const char *key, struct str list)
{
    cli_printf(cli, "\"%s\": [", key);
    for (struct str rest = list; rest.ptr != NULL;) {
        cli_text_json(cli->text, str_cut(&rest, ','));
        cli_printf(cli, "%s", rest.ptr == NULL ? "" : ", ");
    }
    cli_printf(cli, "]");
}

static void list_json(struct cli *cli, const struct row *row, bool is_first)
{
    cli_printf(cli, "%s{\"side\": \"%s\", ", is_first ? "" : ",\n  ", sides[row->side]);
    json_str(cli, "name", row->filter->name);
    cli_printf(cli, ", ");
    json_formats(cli, "in", row->filter->in);
    cli_printf(cli, ", ");
    json_formats(cli, "out", row->filter->out);
    cli_printf(cli, ", ");
    json_str(cli, "position", filter_pos_name(row->side, row->filter->recommended));
    cli_printf(cli, ", \"builtin\": %s, \"fills\": %s}", row->is_builtin ? "true" : "false",
               row->fills ? "true" : "false");
}

static void list_text(struct cli *cli, const struct row *row)
{
    char text[256];
    struct sb sb = sb_of(text, sizeof text);
    filter_print(row->filter, &sb);
    struct str pos = filter_pos_name(row->side, row->filter->recommended);
    cli_printf(cli, "%s  %-48.*s %-10.*s %s%s\n", sides[row->side], STR_ARG(sb_str(&sb)),
               STR_ARG(pos), row->is_builtin ? "built in" : "module",
               row->fills ? ", fills gaps" : "");
}

static void list_row(struct cli *cli, const struct row *row, unsigned *count)
{
    if (cli->json) {
        list_json(cli, row, *count == 0);
    } else {
        list_text(cli, row);
    }
    (*count)++;
}

static bool fills_gaps(const struct vcl_filters *known, const struct filter *filter)
{
    for (unsigned n = 0; n < known->fills_count; n++) {
        if (known->fills[n] == filter) {
            return true;
        }
    }
    return false;
}

static void list_side(struct cli *cli, enum filter_side side, const struct vcl *vcl,
                      unsigned *count)
{
    unsigned all;
    unsigned fills;
    const struct filter *const *builtins = filter_builtins(side, &all, &fills);
    for (unsigned n = 0; n < all; n++) {
        const struct row row = {side, builtins[n], true, n < fills};
        list_row(cli, &row, count);
    }
    const struct vcl_filters *known = vcl_filters_of(vcl, side);
    for (unsigned n = 0; known != NULL && n < known->named_count; n++) {
        const struct filter *filter = known->named[n].filter;
        const struct row row = {side, filter, false, fills_gaps(known, filter)};
        list_row(cli, &row, count);
    }
}

void worker__filter_list(struct cli *cli, void *ctx)
{
    unsigned count = 0;
    if (cli->json) {
        cli_json_open(cli);
    }
    list_side(cli, FILTER_VFP, vcl_of(ctx), &count);
    list_side(cli, FILTER_VDP, vcl_of(ctx), &count);
    if (cli->json) {
        cli_json_close(cli);
    }
}

/* ---- filter.plan ---- */

struct question {
    struct plan_ask ask;
    struct plan_want wants[PLAN_WANTS_MAX];
    struct filter made_up[PLAN_WANTS_MAX];
};

static bool add_candidate(struct cli *cli, const struct vcl *vcl, struct question *q,
                          struct str text)
{
    unsigned n = q->ask.wants_count;
    struct notation one;
    const char *why;
    if (notation_parse(q->ask.side, text, &one, &why) != RC_OK) {
        cli_fail(cli, CLI_PARAM, "Candidate '%.*s': %s\n", STR_ARG(text), why);
        return false;
    }
    const struct filter *filter = &q->made_up[n];
    if (one.in.ptr != NULL) {
        q->made_up[n] = (struct filter){.name = one.name, .in = one.in, .out = one.out};
    } else {
        filter = vcl_filter_find(vcl, q->ask.side, one.name);
    }
    if (filter == NULL) {
        cli_fail(cli, CLI_PARAM,
                 "Unknown filter '%.*s': filter.list has those there are; others are written as "
                 "(FORMAT,...)%.*s(FORMAT)\n",
                 STR_ARG(one.name), STR_ARG(one.name));
        return false;
    }
    q->wants[q->ask.wants_count++] = (struct plan_want){.filter = filter, .pos = one.pos};
    return true;
}

static bool ask_for(struct cli *cli, const struct vcl *vcl, struct question *q)
{
    const struct cli_request *req = cli->req;
    bool is_vfp = str_eq(req->argv[1], STR("vfp"));
    if (!is_vfp && !str_eq(req->argv[1], STR("vdp"))) {
        cli_fail(cli, CLI_PARAM, "Expected vfp or vdp, and not '%.*s'\n", STR_ARG(req->argv[1]));
        return false;
    }
    struct str from = req->argv[2];
    if (!notation_is_name(from) || from.len > NOTATION_NAME_MAX) {
        cli_fail(cli, CLI_PARAM, "Not a format: '%.*s'\n", STR_ARG(from));
        return false;
    }
    q->ask = (struct plan_ask){
        .side = is_vfp ? FILTER_VFP : FILTER_VDP, .from = from, .wants = q->wants};
    const struct vcl_filters *known = vcl_filters_of(vcl, q->ask.side);
    unsigned all;
    if (known != NULL) {
        q->ask.fills = known->fills;
        q->ask.fills_count = known->fills_count;
    } else {
        q->ask.fills = filter_builtins(q->ask.side, &all, &q->ask.fills_count);
    }
    for (unsigned n = 3; n < req->argc; n++) {
        if (!add_candidate(cli, vcl, q, req->argv[n])) {
            return false;
        }
    }
    return true;
}

static void plan_json(struct cli *cli, const struct plan *plan, struct str chain)
{
    cli_json_open(cli);
    cli_printf(cli, "{\n    ");
    json_str(cli, "chain", chain);
    cli_printf(cli, ",\n    ");
    json_str(cli, "from", plan->from);
    cli_printf(cli, ",\n    ");
    json_str(cli, "to", plan->to);
    cli_printf(cli, ",\n    \"steps\": [");
    for (unsigned n = 0; n < plan->steps_count; n++) {
        const struct plan_step *step = &plan->steps[n];
        cli_printf(cli, "%s\n      {", n == 0 ? "" : ",");
        json_str(cli, "name", step->filter->name);
        cli_printf(cli, ", ");
        json_str(cli, "in", step->in);
        cli_printf(cli, ", ");
        json_str(cli, "out", step->out);
        cli_printf(cli, ", \"fills\": %s}", step->is_builtin ? "true" : "false");
    }
    cli_printf(cli, "],\n    \"left\": [");
    for (unsigned n = 0; n < plan->left_count; n++) {
        cli_printf(cli, "%s\n      {", n == 0 ? "" : ",");
        json_str(cli, "name", plan->left[n].want.filter->name);
        cli_printf(cli, ", ");
        json_str(cli, "reason", str_of(plan->left[n].reason));
        cli_printf(cli, "}");
    }
    cli_printf(cli, "]\n  }");
    cli_json_close(cli);
}

static void plan_text(struct cli *cli, const struct plan *plan, struct str chain)
{
    cli_printf(cli, "chain: %.*s\n", STR_ARG(chain));
    for (unsigned n = 0; n < plan->left_count; n++) {
        cli_printf(cli, "left: %.*s: %s\n", STR_ARG(plan->left[n].want.filter->name),
                   plan->left[n].reason);
    }
}

void worker__filter_plan(struct cli *cli, void *ctx)
{
    struct question *q = xcalloc(1, sizeof *q);
    char *block = xmalloc(ARENA_BYTES);
    char *text = xmalloc(TEXT_BYTES);
    struct arena arena;
    struct plan plan;
    arena_init(&arena, block, ARENA_BYTES);
    if (ask_for(cli, vcl_of(ctx), q)) {
        struct sb sb = sb_of(text, TEXT_BYTES);
        if (plan_make(&q->ask, &arena, &plan) != RC_OK) {
            cli_fail(cli, CLI_PARAM, "Too many formats (at most %u), or too long ones\n",
                     (unsigned)PLAN_FORMATS_MAX);
        } else {
            plan_print(&plan, &sb);
            (cli->json ? plan_json : plan_text)(cli, &plan, sb_str(&sb));
        }
    }
    XFREE(text);
    XFREE(block);
    XFREE(q);
}
