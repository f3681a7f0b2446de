/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Tables of commands: the number of arguments is checked here, once, so that commands need not. */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "mgt/cli_proto.h"

void cli_printf(struct cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cli_text_vprintf(cli->text, fmt, ap);
    va_end(ap);
}

void cli_fail(struct cli *cli, unsigned status, const char *fmt, ...)
{
    CHECK(status != CLI_OK);
    cli->status = status;
    cli_text_clear(cli->text);
    va_list ap;
    va_start(ap, fmt);
    cli_text_vprintf(cli->text, fmt, ap);
    va_end(ap);
}

void cli_json_open_as(struct cli *cli, unsigned version)
{
    cli_printf(cli, "[ %u, [", version);
    for (unsigned i = 0; i < cli->req->argc; i++) {
        cli_text_json(cli->text, cli->req->argv[i]);
        if (i == 0 && cli->json) {
            cli_printf(cli, ", \"-j\"");
        }
        if (i + 1 < cli->req->argc) {
            cli_printf(cli, ", ");
        }
    }
    uint64_t ms = clock_real_ns() / NS_PER_MS;
    cli_printf(cli, "], %llu.%03llu,\n  ", (unsigned long long)(ms / 1000),
               (unsigned long long)(ms % 1000));
}

void cli_json_open(struct cli *cli)
{
    cli_json_open_as(cli, 2);
}

void cli_json_close(struct cli *cli)
{
    cli_printf(cli, "\n]\n");
}

const struct cli_cmd *cli_find(const struct cli_cmd *table, struct str name)
{
    for (const struct cli_cmd *cmd = table; cmd->name != NULL; cmd++) {
        if (str_eq(name, str_of(cmd->name))) {
            return cmd;
        }
    }
    return NULL;
}

void cli_run(const struct cli_cmd *cmd, const struct cli_request *req, struct cli_text *text,
             unsigned *status, void *ctx)
{
    CHECK(req->argc > 0);
    struct cli_request plain = *req;
    struct cli cli = {.req = &plain, .status = CLI_OK, .text = text};
    if (req->argc > 1 && str_eq(req->argv[1], STR("-j"))) {
        cli.json = true;
        plain.argc--;
        /* With the STR_NONE behind the last one. */
        memmove(&plain.argv[1], &plain.argv[2], plain.argc * sizeof plain.argv[0]);
    }
    unsigned args = plain.argc - 1;
    if (cli.json && (cmd->flags & CLI_HAS_JSON) == 0) {
        cli_fail(&cli, CLI_UNIMPLEMENTED, "JSON unimplemented\n");
    } else if (args < cmd->min) {
        cli_fail(&cli, CLI_TOO_FEW, "Too few parameters\n");
    } else if (args > cmd->max) {
        cli_fail(&cli, CLI_TOO_MANY, "Too many parameters\n");
    } else {
        cmd->fn(&cli, ctx);
    }
    *status = cli.status;
}
