/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A worker that serves nothing: it answers the command line interface, keeps the shared memory that
 * the tools look for, and can be made to die in the ways that a worker dies.  The manager is tested
 * with it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "mgt/cli_proto.h"
#include "mgt/worker.h"
#include "shm/vsl.h"

struct stub {
    struct worker_conf *conf;
    struct vsl *log;
};

static void cmd_ok(struct cli *cli, void *ctx)
{
    (void)cli;
    (void)ctx;
}

static void cmd_ping(struct cli *cli, void *ctx)
{
    (void)ctx;
    cli_printf(cli, "PONG %lld 1.0", (long long)time(NULL));
}

static void cmd_listen(struct cli *cli, void *ctx)
{
    const struct worker_conf *conf = ((struct stub *)ctx)->conf;
    for (unsigned i = 0; i < conf->listens_count; i++) {
        const struct worker_listen *l = &conf->listens[i];
        cli_printf(cli, "%s %s %s\n", l->name, l->addr, l->port);
    }
}

/* Remembers what it was given, for backend.list. */
static void cmd_vcl_load(struct cli *cli, void *ctx)
{
    (void)ctx;
    (void)cli;
}

static void cmd_backends(struct cli *cli, void *ctx)
{
    (void)ctx;
    if (cli->json) {
        cli_json_open_as(cli, 3);
        cli_printf(cli, "{}");
        cli_json_close(cli);
    }
}

static void cmd_storage(struct cli *cli, void *ctx)
{
    const struct worker_conf *conf = ((struct stub *)ctx)->conf;
    cli_printf(cli, "Storage devices:\n");
    for (unsigned i = 0; i < conf->stores_count; i++) {
        cli_printf(cli, "\tstorage.%s = memory\n", conf->stores[i].name);
    }
}

static void panic(struct worker_conf *conf, const char *text)
{
    int len = snprintf(conf->panic->text, sizeof conf->panic->text, "%s", text);
    atomic_store_explicit(&conf->panic->len, (uint32_t)len, memory_order_release);
}

NORETURN static void cmd_panic(struct cli *cli, void *ctx)
{
    (void)cli;
    panic(((struct stub *)ctx)->conf, "Panic: you asked for it\n");
    (void)signal(SIGABRT, SIG_DFL);
    abort();
}

NORETURN static void cmd_exit(struct cli *cli, void *ctx)
{
    (void)ctx;
    _exit((int)strtol(cli->req->argv[1].ptr, NULL, 10));
}

/* Answers nothing any more and does not die of what can be ignored. */
NORETURN static void cmd_hang(struct cli *cli, void *ctx)
{
    (void)cli;
    (void)ctx;
    (void)signal(SIGQUIT, SIG_IGN);
    for (;;) {
        (void)pause();
    }
}

static void cmd_echo(struct cli *cli, void *ctx)
{
    (void)ctx;
    for (unsigned i = 1; i < cli->req->argc; i++) {
        cli_printf(cli, "[%.*s]\n", STR_ARG(cli->req->argv[i]));
    }
}

static void cmd_say(struct cli *cli, void *ctx)
{
    (void)ctx;
    (void)fprintf(stderr, "%.*s\n", STR_ARG(cli->req->argv[1]));
}

static void cmd_who(struct cli *cli, void *ctx)
{
    const struct worker_conf *conf = ((struct stub *)ctx)->conf;
    cli_printf(cli, "uid %u gid %u generation %u loops %u\n", getuid(), getgid(), conf->generation,
               conf->loops);
}

const struct cli_cmd worker_commands[] = {
    {"start", 0, 0, cmd_ok, 0, "start", "Begin."},
    {"ping", 0, 1, cmd_ping, 0, "ping [<timestamp>]", "Answer."},
    {"backend.list", 0, 2, cmd_backends, CLI_HAS_JSON, "backend.list [-j] [-p] [<backend_pattern>]",
     "Show the argument of -b."},
    {"vcl.load", 2, 5, cmd_vcl_load, CLI_HIDDEN, "vcl.load <name> <texts>", "Do nothing."},
    {"vcl.use", 1, 1, cmd_vcl_load, CLI_HIDDEN, "vcl.use <name>", "Do nothing."},
    {"vcl.uses", 0, 0, cmd_vcl_load, CLI_HIDDEN, "vcl.uses", "Do nothing."},
    {"vcl.label", 2, 2, cmd_vcl_load, CLI_HIDDEN, "vcl.label <label> <name>", "Do nothing."},
    {"vcl.state", 2, 2, cmd_vcl_load, CLI_HIDDEN, "vcl.state <name> <state>", "Do nothing."},
    {"vcl.discard", 1, 1, cmd_vcl_load, CLI_HIDDEN, "vcl.discard <name>", "Do nothing."},
    {"storage.list", 0, 0, cmd_storage, 0, "storage.list", "Show the names of -s."},
    {"debug.listen_address", 0, 0, cmd_listen, CLI_HIDDEN, "debug.listen_address",
     "Show the addresses of -a."},
    {"debug.xid", 0, 2, cmd_ok, CLI_HIDDEN, "debug.xid [<xid> [<chunk>]]", "Do nothing."},
    {"debug.panic.worker", 0, 0, cmd_panic, CLI_HIDDEN, "debug.panic.worker", "Panic."},
    {"stub.exit", 1, 1, cmd_exit, 0, "stub.exit <status>", "Exit."},
    {"stub.hang", 0, 0, cmd_hang, 0, "stub.hang", "Answer nothing any more."},
    {"stub.echo", 0, 60, cmd_echo, 0, "stub.echo <word>...", "Show what arrived."},
    {"stub.say", 1, 1, cmd_say, 0, "stub.say <text>", "Write to stderr."},
    {"stub.who", 0, 0, cmd_who, 0, "stub.who", "Show ids."},
    {NULL, 0, 0, NULL, 0, NULL, NULL},
};

static void traffic(void *ctx, const char *direction, struct str text)
{
    struct stub *stub = ctx;
    vsl_nowf(stub->log, SLT_CLI, 0, "%s %.*s", direction, STR_ARG(text));
}

int worker_main(struct worker_conf *conf)
{
    struct vsm_place place = {.workdir_fd = conf->workdir_fd,
                              .name = VSM_CHILD_DIR,
                              .uid = VSM_SAME_UID,
                              .gid = VSM_SAME_GID};
    struct stub stub = {.conf = conf};
    struct vsm_set *set = NULL;
    struct vsm_seg *counters = NULL;
    struct vault_link *vault = vault_attach(&conf->vault);
    enum rc rc = vsm_set_open(&place, &set);
    CHECK(rc == RC_OK);
    rc = vsc_new(set, &vsc_class_main, "MAIN", &counters);
    CHECK(rc == RC_OK);
    rc = vsl_new(set, param(conf->params, vsl_space), conf->params, vsc_of(counters), &stub.log);
    CHECK(rc == RC_OK);
    rc = cli_serve(conf->cli_fd, worker_commands, traffic, &stub);
    vsl_free(&stub.log);
    vsm_seg_free(&counters);
    vsm_set_free(&set, VSM_KEEP);
    vault_link_free(&vault);
    return rc == RC_OK ? 0 : 1;
}
