/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the manager says about VCLs. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/vcls.h"
#include "mgt/pack.h"
#include "vcl/vcl.h"
#include "worker/worker_priv.h"

static struct engine *engine_of(void *ctx)
{
    return ((struct worker *)ctx)->engine;
}

static void not_known(struct cli *cli, struct str name)
{
    cli_fail(cli, CLI_PARAM, "No VCL named %.*s known.", STR_ARG(name));
}

/* The texts that the manager packed (mgt/vcc.h), up to an empty one; they borrow from the pack. */
static struct vcl_file *unpack(struct str rest)
{
    unsigned cap = 16;
    unsigned count = 0;
    struct vcl_file *files = xcalloc(cap, sizeof *files);
    struct str word;
    struct str text;
    while (pack_next(&rest, &word, &text) == RC_OK) {
        if (str_eq(word, STR("name")) && files[count].name.ptr == NULL) {
            files[count].name = str_of(text.ptr);
        } else if (str_eq(word, STR("text")) && files[count].name.ptr != NULL) {
            files[count++].text = text;
            if (count + 1 == cap) {
                cap *= 2;
                files = xrealloc(files, cap * sizeof *files);
            }
            files[count] = (struct vcl_file){STR_NONE, STR_NONE};
        }
    }
    return files;
}

static struct vcl_program *compile(struct cli *cli, const struct worker *w)
{
    struct vcl_file *files = unpack(cli->req->argv[2]);
    const char *stores[64] = {NULL};
    for (unsigned i = 0; i < w->conf->stores_count && i < 63; i++) {
        stores[i] = w->conf->stores[i].name;
    }
    /* Labels that are not there fail the load, not the compilation. */
    const char **labels = engine_labels(w->engine);
    const struct vcl_conf conf = {
        .unsafe_path = true,
        .allow_unused = true,
        .is_interpreted = param(w->conf->params, pcre2_jit_compilation) == 0,
        .stores = stores,
        .labels = labels,
        .files = files,
        .module_path = cli->req->argc > 5 ? cli->req->argv[5].ptr : NULL,
    };
    struct vcl_program *prog = NULL;
    char *messages = NULL;
    if (files[0].name.ptr == NULL) {
        cli_fail(cli, CLI_CANNOT, "There is no text");
    } else if (vcl_compile(&conf, files[0].name.ptr, NULL, &prog, &messages) != RC_OK) {
        cli_fail(cli, CLI_CANNOT, "%s", messages);
    }
    free(files);
    free(labels);
    free(messages);
    return prog;
}

void worker__cmd_vcl_load(struct cli *cli, void *ctx)
{
    struct str name = cli->req->argv[1];
    struct vcl_program *prog = compile(cli, ctx);
    if (prog == NULL) {
        return;
    }
    const struct cli_request *req = cli->req;
    const struct engine_vcl_load what = {
        .name = name.ptr,
        .prog = prog,
        .state = req->argc > 3 ? req->argv[3] : STR("auto"),
        .is_warm = req->argc > 4 && str_eq(req->argv[4], STR("warm")),
    };
    char *message = NULL;
    enum rc rc = engine_vcl_load(engine_of(ctx), &what, &message);
    if (rc != RC_OK) {
        cli_fail(cli, CLI_CANNOT, "VCL \"%.*s\" Failed initialization\nMessage:\n\t%s",
                 STR_ARG(name), message == NULL ? rc_text(rc) : message);
    }
    free(message);
    struct str file, text;
    if (rc == RC_OK && vcl_program_source(prog, 0, &file, &text)) {
        cli_printf(cli, "Loaded \"%.*s\" as \"%.*s\"", STR_ARG(file), STR_ARG(name));
    }
    vcl_program_release(&prog);
}

void worker__cmd_vcl_use(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    struct str name = cli->req->argv[1];
    char *message = NULL;
    enum rc rc = engine_vcl_use(engine_of(ctx), name.ptr, &message);
    w->vcl_name = engine_vcl_active(w->engine);
    if (rc == RC_NOT_FOUND) {
        not_known(cli, name);
    } else if (rc != RC_OK) {
        cli_fail(cli, CLI_CANNOT, "VCL \"%.*s\" Failed to become warm\nMessage:\n\t%s",
                 STR_ARG(name), message);
    }
    free(message);
}

void worker__cmd_vcl_discard(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    if (engine_vcl_discard(w->engine, cli->req->argv[1].ptr) != RC_OK) {
        not_known(cli, cli->req->argv[1]);
    }
    w->vcl_name = engine_vcl_active(w->engine);
}

void worker__cmd_vcl_label(struct cli *cli, void *ctx)
{
    const struct str *argv = cli->req->argv;
    struct worker *w = ctx;
    char *message = NULL;
    enum rc rc = engine_vcl_label(w->engine, argv[1].ptr, argv[2].ptr, &message);
    w->vcl_name = engine_vcl_active(w->engine);
    if (rc == RC_NOT_FOUND) {
        not_known(cli, argv[2]);
    } else if (rc != RC_OK) {
        cli_fail(cli, CLI_CANNOT, "VCL \"%.*s\" Failed to become warm\nMessage:\n\t%s",
                 STR_ARG(argv[2]), message);
    }
    free(message);
}

void worker__cmd_vcl_state(struct cli *cli, void *ctx)
{
    struct str name = cli->req->argv[1];
    char *message = NULL;
    enum rc rc = engine_vcl_state(engine_of(ctx), name.ptr, cli->req->argv[2], &message);
    if (rc == RC_NOT_FOUND) {
        not_known(cli, name);
    } else if (rc != RC_OK) {
        cli_fail(cli, CLI_CANNOT, "Failed <vcl.state %.*s %.*s>\nMessage:\n\t%s", STR_ARG(name),
                 STR_ARG(cli->req->argv[2]), message);
    }
    free(message);
}

static void put_use(void *arg, const struct engine_vcl_row *row)
{
    struct cli *cli = arg;
    const char *status = row->is_active ? "active" : row->is_discarded ? "discarded" : "available";
    cli_printf(cli, "%s %s %s %u %u %s %s\n", status, row->state, row->temperature, row->busy,
               row->labels, row->name, row->target == NULL ? "" : row->target);
}

void worker__cmd_vcl_uses(struct cli *cli, void *ctx)
{
    engine_vcl_poll(engine_of(ctx));
    engine_vcl_each(engine_of(ctx), put_use, cli);
}
