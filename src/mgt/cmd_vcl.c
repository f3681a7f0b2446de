/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The commands vcl.*, in the words of Varnish's manager. */
#include <fnmatch.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/priv.h"
#include "vcl/vcl.h"

static struct mgt *mgt_of(void *ctx)
{
    return ((struct mgt_call *)ctx)->mgt;
}

static bool is_running(const struct mgt *mgt)
{
    return mgt->child.state == MGT_RUNNING;
}

static struct mgt_vcl *find(struct cli *cli, struct mgt *mgt, struct str name)
{
    struct mgt_vcl *v = mgt__vcls_find(mgt, name);
    if (v == NULL) {
        cli_fail(cli, CLI_PARAM, "No VCL named %.*s known\n", STR_ARG(name));
    }
    return v;
}

/* A name that is free and well-formed. */
static bool is_new_name(struct cli *cli, struct mgt *mgt, struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_other = (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!is_letter && !(is_other && i > 0)) {
            if (c > 0x20 && c < 0x7f) {
                cli_fail(cli, CLI_PARAM, "Illegal character in VCL name ('%c')", c);
            } else {
                cli_fail(cli, CLI_PARAM, "Illegal character in VCL name (0x%02x)",
                         (unsigned)(unsigned char)c);
            }
            return false;
        }
    }
    if (mgt__vcls_find(mgt, name) != NULL) {
        cli_fail(cli, CLI_PARAM, "Already a VCL named %.*s", STR_ARG(name));
        return false;
    }
    return true;
}

static const char *state_word(struct cli *cli, struct str word)
{
    static const char *const words[] = {"auto", "cold", "warm"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (str_eq(word, str_of(words[i]))) {
            return words[i];
        }
    }
    cli_fail(cli, CLI_PARAM, "State must be one of auto, cold or warm.");
    return NULL;
}

static void set_state(struct cli *cli, struct mgt *mgt, struct mgt_vcl *v, const char *state)
{
    const char *before = v->state;
    v->state = state;
    if (!is_running(mgt)) {
        return;
    }
    const struct str words[] = {STR("vcl.state"), str_of(v->name), str_of(state)};
    struct cli_text answer = {0};
    unsigned status = CLI_OK;
    enum rc rc = mgt__vcls_ask(mgt, &status, &answer, 3, words);
    if (rc != RC_OK || status != CLI_OK) {
        cli_fail(cli, status, "%.*s", STR_ARG(cli_text_str(&answer)));
        v->state = before;
    }
    cli_text_free(&answer);
}

static void add(struct cli *cli, struct mgt *mgt, const char *source, const struct str *text)
{
    struct str name = cli->req->argv[1];
    const char *state = cli->req->argc > 3 ? state_word(cli, cli->req->argv[3]) : "auto";
    if (state == NULL || !is_new_name(cli, mgt, name)) {
        return;
    }
    struct cli_text out = {0};
    unsigned status = CLI_OK;
    const struct mgt_vcl_new what = {name.ptr, source, text, state};
    if (mgt__vcls_add(mgt, &what, &status, &out) != RC_OK) {
        cli_fail(cli, status, "%.*s", STR_ARG(cli_text_str(&out)));
    } else {
        cli_text_add(cli->text, cli_text_str(&out));
    }
    cli_text_free(&out);
}

void mgt__cmd_vcl_load(struct cli *cli, void *ctx)
{
    add(cli, mgt_of(ctx), cli->req->argv[2].ptr, NULL);
}

void mgt__cmd_vcl_inline(struct cli *cli, void *ctx)
{
    add(cli, mgt_of(ctx), "<vcl.inline>", &cli->req->argv[2]);
}

void mgt__cmd_vcl_use(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    struct mgt_vcl *v = find(cli, mgt, cli->req->argv[1]);
    if (v == NULL || v == mgt->vcls.active) {
        return;
    }
    const struct mgt_vcl *real = v->target == NULL ? v : v->target;
    if (strcmp(real->state, "cold") == 0) {
        cli_fail(cli, CLI_CANNOT, "VCL '%s' is cold - set to auto or warm first", real->name);
        return;
    }
    struct cli_text answer = {0};
    unsigned status = CLI_OK;
    if (is_running(mgt) && mgt__vcls_use(mgt, v, &status, &answer) != RC_OK) {
        cli_fail(cli, status, "%.*s", STR_ARG(cli_text_str(&answer)));
    } else {
        mgt->vcls.active = v;
        cli_printf(cli, "VCL '%s' now active", v->name);
    }
    cli_text_free(&answer);
}

static bool is_labelled(struct mgt *mgt, const struct mgt_vcl *v)
{
    LIST_FOREACH (node, &mgt->vcls.all) {
        if (mgt__vcls_needs(CONTAINER_OF(node, struct mgt_vcl, link), v)) {
            return true;
        }
    }
    return false;
}

void mgt__cmd_vcl_state(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    struct mgt_vcl *v = find(cli, mgt, cli->req->argv[1]);
    const char *state = v == NULL ? NULL : state_word(cli, cli->req->argv[2]);
    if (state == NULL) {
        return;
    }
    if (v->target != NULL) {
        cli_fail(cli, CLI_PARAM, "Labels are always warm");
    } else if (strcmp(state, "cold") == 0 && is_labelled(mgt, v)) {
        cli_fail(cli, CLI_CANNOT, "A labeled VCL cannot be set cold");
    } else if (strcmp(state, "cold") == 0 && v == mgt->vcls.active) {
        cli_fail(cli, CLI_CANNOT, "Cannot set the active VCL cold.");
    } else {
        set_state(cli, mgt, v, state);
    }
}

/* ---- discard ---- */

static bool is_matched(const struct cli_request *req, const char *name)
{
    for (unsigned i = 1; i < req->argc; i++) {
        if (fnmatch(req->argv[i].ptr, name, 0) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_match(struct mgt *mgt, const char *pattern)
{
    LIST_FOREACH (node, &mgt->vcls.all) {
        if (fnmatch(pattern, CONTAINER_OF(node, struct mgt_vcl, link)->name, 0) == 0) {
            return true;
        }
    }
    return false;
}

/* Who needs it and is not to go along. */
static bool is_needed(struct cli *cli, struct mgt *mgt, const struct mgt_vcl *v)
{
    bool is_first = true;
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *from = CONTAINER_OF(node, struct mgt_vcl, link);
        if (!mgt__vcls_needs(from, v) || is_matched(cli->req, from->name)) {
            continue;
        }
        if (is_first && v->target == NULL) {
            cli_fail(cli, CLI_CANNOT, "Cannot discard labeled VCL program %s:\n", v->name);
        } else if (is_first) {
            cli_fail(cli, CLI_CANNOT, "Cannot discard VCL label %s, other VCLs depend on it:\n",
                     v->name);
        }
        cli_printf(cli, "\t%s\n", from->name);
        is_first = false;
    }
    return !is_first;
}

static bool may_discard(struct cli *cli, struct mgt *mgt)
{
    for (unsigned i = 1; i < cli->req->argc; i++) {
        if (!has_match(mgt, cli->req->argv[i].ptr)) {
            cli_fail(cli, CLI_PARAM, "No VCL name matches %.*s\n", STR_ARG(cli->req->argv[i]));
            return false;
        }
    }
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        if (!is_matched(cli->req, v->name)) {
            continue;
        }
        if (v == mgt->vcls.active) {
            cli_fail(cli, CLI_CANNOT, "Cannot discard active VCL program %s\n", v->name);
            return false;
        }
        if (is_needed(cli, mgt, v)) {
            return false;
        }
    }
    return true;
}

static void discard(struct cli *cli, struct mgt *mgt, struct mgt_vcl **v)
{
    struct cli_text answer = {0};
    unsigned status = CLI_OK;
    const struct str words[] = {STR("vcl.discard"), str_of((*v)->name)};
    if (is_running(mgt) &&
        (mgt__vcls_ask(mgt, &status, &answer, 2, words) != RC_OK || status != CLI_OK)) {
        cli_fail(cli, status, "%.*s", STR_ARG(cli_text_str(&answer)));
    }
    cli_text_free(&answer);
    mgt__vcls_drop(mgt, v);
}

void mgt__cmd_vcl_discard(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    if (!may_discard(cli, mgt)) {
        return;
    }
    /* Those that nobody needs first; each round frees others. */
    bool is_any = true;
    while (is_any) {
        is_any = false;
        LIST_FOREACH_SAFE (node, &mgt->vcls.all) {
            struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
            if (is_matched(cli->req, v->name) && !is_labelled(mgt, v)) {
                discard(cli, mgt, &v);
                is_any = true;
                break;
            }
        }
    }
}

/* ---- labels ---- */

static bool has(const struct mgt_vcl *const *set, size_t count, const struct mgt_vcl *v)
{
    for (size_t i = 0; i < count; i++) {
        if (set[i] == v) {
            return true;
        }
    }
    return false;
}

/* Whether a way leads from `v` to `to`, by labels and returns. */
static bool leads_to(struct mgt *mgt, const struct mgt_vcl *v, const struct mgt_vcl *to)
{
    size_t all = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        all++;
    }
    const struct mgt_vcl **reached = xcalloc(all, sizeof *reached);
    size_t count = 1;
    reached[0] = v;
    for (size_t at = 0; at < count; at++) {
        LIST_FOREACH (node, &mgt->vcls.all) {
            const struct mgt_vcl *next = CONTAINER_OF(node, struct mgt_vcl, link);
            if (mgt__vcls_needs(reached[at], next) && !has(reached, count, next)) {
                reached[count++] = next;
            }
        }
    }
    bool is_reached = has(reached, count, to);
    free(reached);
    return is_reached;
}

static bool may_label(struct cli *cli, struct mgt *mgt, const struct mgt_vcl *label,
                      const struct mgt_vcl *to)
{
    if (to->target != NULL) {
        cli_fail(cli, CLI_CANNOT, "VCL labels cannot point to labels");
    } else if (label != NULL && leads_to(mgt, to, label)) {
        cli_fail(cli, CLI_PARAM, "Pointing label %s at %s would create a loop", label->name,
                 to->name);
    } else if (strcmp(to->state, "cold") == 0) {
        cli_fail(cli, CLI_CANNOT, "VCL '%s' is cold - set to auto or warm first", to->name);
    }
    return cli->status == CLI_OK;
}

void mgt__cmd_vcl_label(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    struct mgt_vcl *label = mgt__vcls_find(mgt, cli->req->argv[1]);
    if (label != NULL && label->target == NULL) {
        cli_fail(cli, CLI_PARAM, "%s is not a label", label->name);
        return;
    }
    if (label == NULL && !is_new_name(cli, mgt, cli->req->argv[1])) {
        return;
    }
    struct mgt_vcl *to = find(cli, mgt, cli->req->argv[2]);
    if (to == NULL || !may_label(cli, mgt, label, to)) {
        return;
    }
    struct cli_text answer = {0};
    unsigned status = CLI_OK;
    const struct str words[] = {STR("vcl.label"), cli->req->argv[1], str_of(to->name)};
    if (is_running(mgt) &&
        (mgt__vcls_ask(mgt, &status, &answer, 3, words) != RC_OK || status != CLI_OK)) {
        cli_fail(cli, status, "%.*s", STR_ARG(cli_text_str(&answer)));
        cli_text_free(&answer);
        return;
    }
    cli_text_free(&answer);
    if (label == NULL) {
        label = xcalloc(1, sizeof *label);
        label->name = xstrdup(cli->req->argv[1].ptr);
        label->state = "label";
        list_push_back(&mgt->vcls.all, &label->link);
    }
    label->target = to;
}

/* ---- looking ---- */

static void show_verbose(struct cli *cli, unsigned at, const char *name, struct str text)
{
    cli_printf(cli, "// VCL.SHOW %u %zu %s\n", at, text.len, name);
    cli_text_add(cli->text, text);
    cli_text_add(cli->text, STR("\n"));
}

static void show(struct cli *cli, const struct vcc_output *out, bool is_verbose)
{
    if (!is_verbose) {
        cli_text_add(cli->text, out->sources[0].text);
        return;
    }
    for (unsigned i = 0; i < out->sources_count; i++) {
        show_verbose(cli, i, out->sources[i].name, out->sources[i].text);
    }
    show_verbose(cli, out->sources_count, "<builtin>", str_of(vcl_builtin()));
}

void mgt__cmd_vcl_show(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    unsigned at = 1;
    bool is_verbose = cli->req->argc > 1 && str_eq(cli->req->argv[1], STR("-v"));
    at += is_verbose;
    struct mgt_vcl *v = mgt->vcls.active;
    if (cli->req->argc > at + 1) {
        cli_fail(cli, CLI_PARAM, "Too many parameters: '%.*s'", STR_ARG(cli->req->argv[at + 1]));
        return;
    }
    if (cli->req->argc > at) {
        v = find(cli, mgt, cli->req->argv[at]);
        if (v == NULL) {
            return;
        }
    }
    if (v == NULL) {
        cli_fail(cli, CLI_PARAM, "No active VCL");
        return;
    }
    show(cli, v->target == NULL ? &v->out : &v->target->out, is_verbose);
}

/* How wide the column of names is, in Varnish's way of spacing. */
static int deps_width(struct mgt *mgt)
{
    enum { LINE_WIDTH = 80, GAP_MAX = 3 };
    size_t name = 0;
    size_t line = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        size_t len = strlen(v->name);
        name = len > name ? len : name;
        LIST_FOREACH (other, &mgt->vcls.all) {
            const struct mgt_vcl *to = CONTAINER_OF(other, struct mgt_vcl, link);
            size_t both = len + 1 + strlen(to->name);
            line = both > line && mgt__vcls_needs(v, to) ? both : line;
        }
    }
    size_t spare = line < LINE_WIDTH ? (LINE_WIDTH - line) / 2 : 0;
    return (int)(name + (spare < 1 ? 1 : spare > GAP_MAX ? GAP_MAX : spare));
}

void mgt__cmd_vcl_deps(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    int width = deps_width(mgt);
    bool is_first = true;
    if (cli->json) {
        cli_json_open_as(cli, 1);
    }
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        bool has_any = false;
        if (cli->json) {
            cli_printf(cli, "%s{\n    \"name\": \"%s\",\n    \"deps\": [", is_first ? "" : ",\n  ",
                       v->name);
        }
        LIST_FOREACH (other, &mgt->vcls.all) {
            const struct mgt_vcl *to = CONTAINER_OF(other, struct mgt_vcl, link);
            if (!mgt__vcls_needs(v, to)) {
                continue;
            }
            if (cli->json) {
                cli_printf(cli, "%s\"%s\"", has_any ? ", " : "", to->name);
            } else {
                cli_printf(cli, "%-*s%s\n", width, v->name, to->name);
            }
            has_any = true;
        }
        if (cli->json) {
            cli_printf(cli, "]\n  }");
        } else if (!has_any) {
            cli_printf(cli, "%s\n", v->name);
        }
        is_first = false;
    }
    if (cli->json) {
        cli_json_close(cli);
    }
}

void mgt__cmd_vcl_symtab(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        if (v->target != NULL) {
            cli_printf(cli, "Label: %s\n  vcl: %s\n", v->name, v->target->name);
            continue;
        }
        cli_printf(cli, "Vcl: %s\n  imports from VCL:\n", v->name);
        LIST_FOREACH (other, &mgt->vcls.all) {
            const struct mgt_vcl *to = CONTAINER_OF(other, struct mgt_vcl, link);
            if (mgt__vcls_needs(v, to)) {
                cli_printf(cli, "    %s\n", to->name);
            }
        }
    }
}
