/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The manager's commands.  What it does not know goes to the worker, if one runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mgt/priv.h"

/* ---- who is there ---- */

void mgt__banner(struct mgt *mgt, struct cli_text *text)
{
    static const char rule[] = "-----------------------------\n";
    struct utsname uts = {0};
    (void)uname(&uts);
    cli_text_printf(text, "%sobjmapper CLI 1.0\n%s", rule, rule);
    cli_text_printf(text, "%s,%s,%s\nobjmapperd %s\n\n", uts.sysname, uts.release, uts.machine,
                    OBJM_VERSION);
    cli_text_printf(text, "Type 'help' for command list.\n"
                          "Type 'quit' to close CLI session.\n");
    if (mgt->child.pid == 0) {
        cli_text_printf(text, "Type 'start' to launch worker process.\n");
    }
}

static struct mgt *mgt_of(void *ctx)
{
    return ((struct mgt_call *)ctx)->mgt;
}

static void cmd_banner(struct cli *cli, void *ctx)
{
    mgt__banner(mgt_of(ctx), cli->text);
}

static void cmd_ping(struct cli *cli, void *ctx)
{
    (void)ctx;
    if (cli->json) {
        cli_json_open(cli);
        cli_printf(cli, "\"PONG\"");
        cli_json_close(cli);
    } else {
        cli_printf(cli, "PONG %lld 1.0", (long long)time(NULL));
    }
}

static void cmd_quit(struct cli *cli, void *ctx)
{
    (void)ctx;
    cli->status = CLI_CLOSE;
    cli_printf(cli, "Closing CLI connection");
}

static void cmd_pid(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    long master = (long)getpid();
    long worker = (long)mgt->child.pid;
    if (cli->json) {
        cli_json_open(cli);
        cli_printf(cli, "{\"master\": %ld", master);
        if (worker > 0) {
            cli_printf(cli, ", \"worker\": %ld", worker);
        }
        cli_printf(cli, "}");
        cli_json_close(cli);
        return;
    }
    cli_printf(cli, "Master: %10ld\n", master);
    if (worker > 0) {
        cli_printf(cli, "Worker: %10ld\n", worker);
    }
}

/* ---- authentication ---- */

/* The answer that proves the knowledge of the secret.  False: the file cannot be read. */
static bool expected_answer(const struct mgt *mgt, const char *challenge, struct digest *out)
{
    int fd = open(mgt->dir.secret_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    struct cli_text secret = {0};
    char buf[512];
    ssize_t n;
    while ((n = fd_read(fd, buf, sizeof buf)) > 0 && secret.len < (1 << 20)) {
        cli_text_add(&secret, (struct str){buf, (size_t)n});
    }
    (void)close(fd);
    struct str pieces[] = {str_of(challenge), STR("\n"), cli_text_str(&secret), str_of(challenge),
                           STR("\n")};
    digest_make(out, pieces, ARRAY_SIZE(pieces));
    cli_text_free(&secret);
    return n == 0;
}

static bool is_answer(struct str hex, const struct digest *digest)
{
    static const char digits[] = "0123456789abcdef";
    unsigned difference = hex.len == 2 * sizeof digest->bytes ? 0 : 1;
    /* All of it is compared, so that the time tells nothing about where it differs. */
    for (size_t i = 0; i < 2 * sizeof digest->bytes && i < hex.len; i++) {
        unsigned byte = digest->bytes[i / 2];
        unsigned want = (unsigned char)digits[i % 2 == 0 ? byte >> 4 : byte & 15];
        unsigned got = (unsigned char)hex.ptr[i];
        got |= got >= 'A' && got <= 'F' ? 0x20u : 0;
        difference |= want ^ got;
    }
    return difference == 0;
}

static void cmd_auth(struct cli *cli, void *ctx)
{
    struct mgt_call *call = ctx;
    struct digest digest;
    if (call->conn == NULL || call->mgt->dir.secret_path == NULL) {
        cli_fail(cli, CLI_CANNOT, "Secret file not configured\n");
    } else if (call->conn->is_authed) {
        cmd_banner(cli, ctx);
    } else if (!expected_answer(call->mgt, call->conn->challenge, &digest)) {
        cli_fail(cli, CLI_CANNOT, "Cannot read the secret file\n");
    } else if (!is_answer(cli->req->argv[1], &digest)) {
        mgt__log(MGT_ERROR, "CLI Authentication failure from %s", call->conn->ident);
        cli_fail(cli, CLI_CLOSE, "Wrong answer\n");
    } else {
        call->conn->is_authed = true;
        memset(call->conn->challenge, 0, sizeof call->conn->challenge);
        cmd_banner(cli, ctx);
    }
}

/* ---- the worker's life ---- */

static void fail_state(struct cli *cli, const struct mgt *mgt)
{
    cli_fail(cli, CLI_CANNOT, "Child in state %s", mgt__state_text(mgt->child.state));
}

static void cmd_start(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    if (mgt->child.state != MGT_STOPPED) {
        fail_state(cli, mgt);
    } else if (mgt->vcls.active == NULL) {
        cli_fail(cli, CLI_CANNOT, "No VCL available\n");
    } else {
        struct cli_text why = {0};
        if (mgt__child_start(mgt, &why) != RC_OK) {
            cli_fail(cli, CLI_CANNOT, "Child start failed: %.*s", STR_ARG(cli_text_str(&why)));
        }
        cli_text_free(&why);
    }
}

static void cmd_stop(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    if (mgt->child.state != MGT_RUNNING && mgt->child.state != MGT_DIED) {
        fail_state(cli, mgt);
        return;
    }
    mgt__child_stop(mgt);
}

static void cmd_status(struct cli *cli, void *ctx)
{
    const char *state = mgt__state_text(mgt_of(ctx)->child.state);
    if (cli->json) {
        cli_json_open(cli);
        cli_text_json(cli->text, str_of(state));
        cli_json_close(cli);
    } else {
        cli_printf(cli, "Child in state %s", state);
    }
}

static void cmd_panic_show(struct cli *cli, void *ctx)
{
    const char *panic = mgt_of(ctx)->child.panic;
    if (panic == NULL) {
        cli_fail(cli, CLI_CANNOT, "Child has not panicked or panic has been cleared");
    } else if (cli->json) {
        cli_json_open(cli);
        cli_text_json(cli->text, str_of(panic));
        cli_json_close(cli);
    } else {
        cli_printf(cli, "%s\n", panic);
    }
}

static void cmd_panic_clear(struct cli *cli, void *ctx)
{
    struct mgt *mgt = mgt_of(ctx);
    bool and_counter = cli->req->argc > 1;
    if (and_counter && !str_eq(cli->req->argv[1], STR("-z"))) {
        cli_fail(cli, CLI_PARAM, "Unknown parameter \"%.*s\".", STR_ARG(cli->req->argv[1]));
        return;
    }
    if (mgt->child.panic == NULL && !and_counter) {
        cli_fail(cli, CLI_CANNOT, "No panic to clear");
        return;
    }
    if (and_counter) {
        vsc_set(&mgt->counters->child_panic, 0);
    }
    XFREE(mgt->child.panic);
}

/* ---- what the worker answers better ---- */

static void forward_to_worker(struct mgt *mgt, const struct cli_request *req, struct cli_text *text,
                              unsigned *status)
{
    if (mgt->child.state == MGT_RUNNING) {
        /* The text says what went wrong, for the log as for the peer. */
        (void)!mgt__child_ask(mgt, req, status, text);
    } else {
        *status = CLI_UNKNOWN;
        cli_text_printf(text, "Unknown request in manager process (child not running).\n"
                              "Type 'help' for more info.");
    }
}

/* Without a worker there are no figures, and what was configured all the same. */
static void cmd_storage_list(struct cli *cli, void *ctx)
{
    const struct mgt *mgt = mgt_of(ctx);
    if (cli->json) {
        cli_json_open(cli);
    } else {
        cli_printf(cli, "Storage devices:\n");
    }
    for (unsigned i = 0; i < mgt->stores_count; i++) {
        const char *name = mgt->stores[i].name;
        if (cli->json) {
            cli_printf(cli, "%s{\n    \"name\": \"%s\",\n    \"storage\": \"memory\"\n  }",
                       i > 0 ? ",\n  " : "", name);
        } else {
            cli_printf(cli, "\tstorage.%s = memory\n", name);
        }
    }
    if (cli->json) {
        cli_json_close(cli);
    }
}

/* ---- help ---- */

static cli_fn cmd_help;

const struct cli_cmd mgt__commands[] = {
    {"auth", 1, 1, cmd_auth, 0, "auth <response>", "Authenticate."},
    {"banner", 0, 0, cmd_banner, 0, "banner", "Print the welcome banner."},
    {"help", 0, 1, cmd_help, CLI_HAS_JSON, "help [-j|-a|-d|<command>]",
     "Show what can be asked; -a: all of it, -d: what is for debugging."},
    {"panic.clear", 0, 1, cmd_panic_clear, 0, "panic.clear [-z]",
     "Forget the last panic; with -z set the counter MGT.child_panic to 0, too."},
    {"panic.show", 0, 0, cmd_panic_show, CLI_HAS_JSON, "panic.show [-j]",
     "Show the last panic, if there was one that was not cleared."},
    {"param.reset", 1, 1, mgt__cmd_param_reset, CLI_HAS_JSON, "param.reset [-j] <param>",
     "Set a parameter to its default."},
    {"param.set", 2, 2, mgt__cmd_param_set, CLI_HAS_JSON, "param.set [-j] <param> <value>",
     "Set a parameter."},
    {"param.show", 0, 2, mgt__cmd_param_show, CLI_HAS_JSON, "param.show [-l|-j] [<param>|changed]",
     "Show parameters and their values."},
    {"pid", 0, 0, cmd_pid, CLI_HAS_JSON, "pid [-j]", "Show the ids of manager and worker."},
    {"ping", 0, 1, cmd_ping, CLI_HAS_JSON, "ping [-j] [<timestamp>]", "Keep the connection alive."},
    {"quit", 0, 0, cmd_quit, 0, "quit", "Close the connection."},
    {"start", 0, 0, cmd_start, 0, "start", "Start the worker."},
    {"status", 0, 0, cmd_status, CLI_HAS_JSON, "status [-j]", "Show the worker's state."},
    {"stop", 0, 0, cmd_stop, 0, "stop", "Stop the worker; its cache is emptied."},
    {"storage.list", 0, 0, cmd_storage_list, CLI_HAS_JSON, "storage.list [-j]",
     "List storage devices."},
    {"vcl.deps", 0, 0, mgt__cmd_vcl_deps, CLI_HAS_JSON, "vcl.deps [-j]",
     "List all loaded VCLs and what they need."},
    {"vcl.discard", 1, 60, mgt__cmd_vcl_discard, 0, "vcl.discard <name_pattern>...",
     "Unload VCLs; each goes when the last request that uses it is done."},
    {"vcl.inline", 2, 3, mgt__cmd_vcl_inline, 0,
     "vcl.inline <configname> <quoted_VCLstring> [auto|cold|warm]", "Compile and load a text."},
    {"vcl.label", 2, 2, mgt__cmd_vcl_label, 0, "vcl.label <label> <configname>",
     "Give a VCL another name, which return(vcl(...)) and vcl.use know."},
    {"vcl.list", 0, 0, mgt__cmd_vcl_list, CLI_HAS_JSON, "vcl.list [-j]", "List all loaded VCLs."},
    {"vcl.load", 2, 3, mgt__cmd_vcl_load, 0, "vcl.load <configname> <filename> [auto|cold|warm]",
     "Compile and load a file."},
    {"vcl.show", 0, 2, mgt__cmd_vcl_show, 0, "vcl.show [-v] [<configname>]",
     "Show the text of a VCL; -v: of all that it includes, too."},
    {"vcl.state", 2, 2, mgt__cmd_vcl_state, 0, "vcl.state <configname> auto|cold|warm",
     "Say whether a VCL shall be warm."},
    {"vcl.symtab", 0, 0, mgt__cmd_vcl_symtab, 0, "vcl.symtab", "Show what VCLs take from others."},
    {"vcl.use", 1, 1, mgt__cmd_vcl_use, 0, "vcl.use <configname|label>",
     "Requests that begin from now on use this VCL."},
    {NULL, 0, 0, NULL, 0, NULL, NULL},
};

static int by_name(const void *a, const void *b)
{
    const struct cli_cmd *const *left = a;
    const struct cli_cmd *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static void help_json(struct cli *cli, const struct cli_cmd *cmd, bool is_first)
{
    cli_printf(cli, "%s{\n    \"request\": ", is_first ? "" : ",\n  ");
    cli_text_json(cli->text, str_of(cmd->name));
    cli_printf(cli, ",\n    \"syntax\": ");
    cli_text_json(cli->text, str_of(cmd->syntax));
    cli_printf(cli, ",\n    \"help\": ");
    cli_text_json(cli->text, str_of(cmd->help));
    cli_printf(cli, ",\n    \"minarg\": %u,\n    \"maxarg\": %u,\n    \"flags\": \"%s\",\n",
               cmd->min, cmd->max, (cmd->flags & CLI_HIDDEN) != 0 ? "d" : "");
    cli_printf(cli, "    \"json\": %s\n  }", (cmd->flags & CLI_HAS_JSON) != 0 ? "true" : "false");
}

/* The manager's own, and the worker's that the manager does not have. */
static size_t collect(const struct mgt *mgt, const struct cli_cmd **all, size_t cap)
{
    size_t count = 0;
    for (const struct cli_cmd *cmd = mgt__commands; cmd->name != NULL; cmd++) {
        all[count++] = cmd;
    }
    for (const struct cli_cmd *cmd = mgt->worker_commands; cmd->name != NULL; cmd++) {
        if (mgt->child.pid > 0 && cli_find(mgt__commands, str_of(cmd->name)) == NULL) {
            CHECK(count < cap);
            all[count++] = cmd;
        }
    }
    qsort(all, count, sizeof all[0], by_name);
    return count;
}

/* Of the commands those that have these flags, or all of them. */
static void help_all(struct cli *cli, const struct mgt *mgt, unsigned flags, bool wants_all)
{
    const struct cli_cmd *all[128];
    size_t count = collect(mgt, all, ARRAY_SIZE(all));
    if (cli->json) {
        cli_json_open(cli);
    }
    for (size_t i = 0; i < count; i++) {
        if (cli->json) {
            help_json(cli, all[i], i == 0);
        } else if (wants_all || (all[i]->flags & CLI_HIDDEN) == flags) {
            cli_printf(cli, "%s\n", all[i]->syntax);
        }
    }
    if (cli->json) {
        cli_json_close(cli);
    }
}

static void cmd_help(struct cli *cli, void *ctx)
{
    const struct mgt *mgt = mgt_of(ctx);
    bool wants_all = cli->req->argc > 1 && str_eq(cli->req->argv[1], STR("-a"));
    bool wants_debug = cli->req->argc > 1 && str_eq(cli->req->argv[1], STR("-d"));
    if (cli->req->argc == 1 || wants_all || wants_debug) {
        help_all(cli, mgt, wants_debug ? CLI_HIDDEN : 0, wants_all);
        return;
    }
    const struct cli_cmd *cmd = cli_find(mgt__commands, cli->req->argv[1]);
    if (cmd == NULL && mgt->child.pid > 0) {
        cmd = cli_find(mgt->worker_commands, cli->req->argv[1]);
    }
    if (cmd == NULL) {
        cli_fail(cli, CLI_UNKNOWN, "Unknown request.\nType 'help' for more info.\n");
    } else {
        cli_printf(cli, "%s\n%s", cmd->syntax, cmd->help);
    }
}

/* ---- the way of a request ---- */

/* Open to those who have not said the secret. */
static bool is_public(const struct cli_cmd *cmd)
{
    return cmd != NULL && (cmd->fn == cmd_auth || cmd->fn == cmd_help || cmd->fn == cmd_ping ||
                           cmd->fn == cmd_quit);
}

void mgt__cli_run(struct mgt_call *call, const struct cli_request *req, struct cli_text *text,
                  unsigned *status)
{
    const struct cli_cmd *cmd = cli_find(mgt__commands, req->argv[0]);
    bool is_authed = call->conn == NULL || call->conn->is_authed;
    if (!is_authed && !is_public(cmd)) {
        *status = CLI_AUTH;
        mgt__challenge(call->conn, text);
    } else if (cmd != NULL && !(cmd->fn == cmd_storage_list && call->mgt->child.pid > 0)) {
        cli_run(cmd, req, text, status, call);
    } else {
        forward_to_worker(call->mgt, req, text, status);
    }
}

/* ---- -I ---- */

static enum rc run_text(struct mgt *mgt, struct str rest, struct cli_text *why)
{
    while (rest.len > 0) {
        struct cli_request req;
        struct cli_text text = {0};
        unsigned status = CLI_OK;
        size_t used = 0;
        const char *syntax = NULL;
        bool may_fail = rest.ptr[0] == '-';
        if (rest.ptr[0] == '#') {
            (void)str_cut(&rest, '\n');
            continue;
        }
        enum rc rc = cli_request_parse(rest, &req, &used, &syntax);
        if (rc == RC_OK) {
            struct mgt_call call = {mgt, NULL};
            mgt__cli_run(&call, &req, &text, &status);
        } else if (rc != RC_EOF) {
            cli_text_printf(why, "-I file: %s", rc == RC_MALFORMED ? syntax : "is not complete");
            return RC_INVALID;
        }
        bool is_bad = status != CLI_OK && status != CLI_TRUNCATED && !may_fail;
        if (is_bad) {
            cli_text_printf(why, "-I file CLI command failed (%u): %.*s: %.*s", status,
                            STR_ARG(req.argv[0]), STR_ARG(str_trim(cli_text_str(&text))));
        }
        cli_text_free(&text);
        cli_request_free(&req);
        if (is_bad) {
            return RC_INVALID;
        }
        rest.ptr += used;
        rest.len -= used;
    }
    return RC_OK;
}

enum rc mgt__cli_file(struct mgt *mgt, const char *path, struct cli_text *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_text_printf(why, "Can't open %s: %s", path, strerror(errno));
        return RC_NOT_FOUND;
    }
    struct cli_text text = {0};
    char buf[512];
    ssize_t n;
    while ((n = fd_read(fd, buf, sizeof buf)) > 0 && text.len < CLI_REQUEST_MAX) {
        cli_text_add(&text, (struct str){buf, (size_t)n});
    }
    (void)close(fd);
    if (text.len > 0 && text.ptr[text.len - 1] != '\n') {
        cli_text_add(&text, STR("\n"));
    }
    enum rc rc = run_text(mgt, cli_text_str(&text), why);
    cli_text_free(&text);
    return rc;
}
