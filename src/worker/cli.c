/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The commands that the worker answers; the manager forwards what it does not know. */
#include <stdio.h>

#include "base/sema.h"
#include "engine/vcls.h"
#include "filter/plan.h"
#include "worker/worker_priv.h"

static void cmd_ping(struct cli *cli, void *ctx)
{
    engine_vcl_poll(((struct worker *)ctx)->engine);
    cli_printf(cli, "PONG %llu 1.0", (unsigned long long)(clock_real_ns() / NS_PER_S));
}

static void cmd_start(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    if (w->runs) {
        cli_fail(cli, CLI_CANNOT, "The worker runs already");
        return;
    }
    enum rc rc = worker__start(w);
    if (rc != RC_OK) {
        cli_fail(cli, CLI_CANNOT, "The worker could not start: %s", rc_text(rc));
    }
}

static void cmd_listen_address(struct cli *cli, void *ctx)
{
    const struct worker_conf *conf = ((struct worker *)ctx)->conf;
    for (unsigned i = 0; i < conf->listens_count; i++) {
        const struct worker_listen *l = &conf->listens[i];
        cli_printf(cli, "%s %s %s\n", l->name, l->addr, l->port);
    }
}

static void cmd_xid(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    const struct cli_request *req = cli->req;
    uint64_t last = 0;
    uint64_t chunk = 1;
    if (req->argc == 1) {
        uint32_t at = 0;
        uint32_t by = 0;
        engine_vxid_where(w->engine, &at, &by);
        cli_printf(cli, "XID is %u chunk %u", at, by);
        return;
    }
    if (str_to_u64(req->argv[1], &last) != RC_OK) {
        cli_fail(cli, CLI_PARAM, "Not a transaction id: %.*s", STR_ARG(req->argv[1]));
        return;
    }
    if (req->argc > 2 &&
        (str_to_u64(req->argv[2], &chunk) != RC_OK || chunk == 0 || chunk > 1 << 20)) {
        cli_fail(cli, CLI_PARAM, "Not a size of blocks: %.*s", STR_ARG(req->argv[2]));
        return;
    }
    engine_vxid_restart(w->engine, (uint32_t)last + 1, (uint32_t)chunk);
    cli_printf(cli, "XID is %llu chunk %llu", (unsigned long long)last, (unsigned long long)chunk);
}

static void cmd_srandom(struct cli *cli, void *ctx)
{
    uint64_t seed = 1;
    if (cli->req->argc > 1 && str_to_u64(cli->req->argv[1], &seed) != RC_OK) {
        cli_fail(cli, CLI_PARAM, "Not a number: %.*s", STR_ARG(cli->req->argv[1]));
        return;
    }
    engine_series_begin(((struct worker *)ctx)->engine, (uint32_t)seed);
    cli_printf(cli, "Random(3) seeded with %u", (unsigned)(uint32_t)seed);
}

static void cmd_panic(struct cli *cli, void *ctx)
{
    (void)cli;
    (void)ctx;
    bool was_asked_to_panic = true;
    CHECK(!was_asked_to_panic);
}

static void cmd_storage_list(struct cli *cli, void *ctx)
{
    const struct worker *w = ctx;
    if (cli->json) {
        cli_json_open(cli);
        for (unsigned i = 0; i < w->conf->stores_count; i++) {
            cli_printf(cli, "%s{\n    \"name\": \"%s\",\n    \"storage\": \"memory\"\n  }",
                       i == 0 ? "" : ",\n  ", w->conf->stores[i].name);
        }
        cli_json_close(cli);
        return;
    }
    cli_printf(cli, "Storage devices:\n");
    for (unsigned i = 0; i < w->conf->stores_count; i++) {
        struct stv_stats s;
        stv_stat(w->stores[i], &s);
        cli_printf(cli, "\tstorage.%s = memory\n", w->conf->stores[i].name);
        cli_printf(cli, "\t\t%llu objects, %llu of %llu bytes, %llu files\n",
                   (unsigned long long)s.objects, (unsigned long long)s.bytes_used,
                   (unsigned long long)s.bytes_max, (unsigned long long)s.files);
    }
}

static void cmd_nothing(struct cli *cli, void *ctx)
{
    (void)cli;
    (void)ctx;
}

struct purge {
    struct post post;
    struct worker *worker;
    struct digest digest;
    unsigned killed;
    sem_t done;
};

/* Heads may only be looked up where RCU knows the thread: on a loop. */
static void purge_on_loop(struct post *post, struct loop *loop)
{
    struct purge *purge = CONTAINER_OF(post, struct purge, post);
    (void)loop;
    purge->killed = cache_purge(purge->worker->cache, &purge->digest);
    sema_post(&purge->done);
}

static void cmd_purge(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    if (!w->runs) {
        cli_fail(cli, CLI_CANNOT, "The worker does not run");
        return;
    }
    struct purge purge = {.post.fn = purge_on_loop, .worker = w};
    engine_digest(cli->req->argv[1], cli->req->argv[2], &purge.digest);
    sema_init(&purge.done);
    loop_post(run_loop(w->run, 0), &purge.post);
    sema_wait(&purge.done);
    sema_fini(&purge.done);
    vsc_add(&((struct vsc_main *)vsc_of(w->main_seg))->n_purges, 1);
    cli_printf(cli, "%u objects purged", purge.killed);
}

const struct cli_cmd worker_commands[] = {
    {"ping", 0, 1, cmd_ping, 0, "ping [<timestamp>]", "Keep the connection alive."},
    {"start", 0, 0, cmd_start, CLI_HIDDEN, "start", "Begin to accept."},
    {"backend.list", 0, 3, worker__backend_list, CLI_HAS_JSON,
     "backend.list [-j] [-p] [<backend_pattern>]", "List backends."},
    {"backend.set_health", 2, 2, worker__backend_set_health, 0,
     "backend.set_health <backend_pattern> [auto|healthy|sick]",
     "Set health status of backend(s) matching <backend_pattern>."},
    {"filter.list", 0, 0, worker__filter_list, CLI_HAS_JSON, "filter.list [-j]",
     "List the filters of bodies: those built in, and those of the modules that the VCL in use "
     "imports."},
    {"filter.plan", 2, 2 + PLAN_WANTS_MAX, worker__filter_plan, CLI_HAS_JSON,
     "filter.plan [-j] vfp|vdp <format> [<candidate>[@<position>] ...]",
     "Show the chain of filters for a body in this format. A candidate is the name of a filter, or "
     "made up on the spot: (format,...)name(format)."},
    {"storage.list", 0, 0, cmd_storage_list, CLI_HAS_JSON, "storage.list [-j]",
     "List storage devices."},
    {"purge", 2, 2, cmd_purge, 0, "purge <host> <url>",
     "Remove all objects of this host and URL, in this worker and for later ones."},
    {"ban", 3, CLI_ARGS_MAX - 1, worker__cmd_ban, 0,
     "ban <field> <operator> <arg> [&& <field> <oper> <arg> ...]",
     "Mark obsolete all objects where all the conditions match."},
    {"ban.list", 0, 0, worker__cmd_ban_list, CLI_HAS_JSON, "ban.list [-j]",
     "List the active bans."},
    {"vcl.load", 2, 5, worker__cmd_vcl_load, CLI_HIDDEN,
     "vcl.load <name> <texts> [<state> [warm|cold [<module path>]]]",
     "Load what the manager compiled."},
    {"vcl.use", 1, 1, worker__cmd_vcl_use, CLI_HIDDEN, "vcl.use <name>", "Use it from now on."},
    {"vcl.discard", 1, 1, worker__cmd_vcl_discard, CLI_HIDDEN, "vcl.discard <name>",
     "Drop it when nobody uses it any more."},
    {"vcl.label", 2, 2, worker__cmd_vcl_label, CLI_HIDDEN, "vcl.label <label> <name>",
     "Point a label at it."},
    {"vcl.state", 2, 2, worker__cmd_vcl_state, CLI_HIDDEN, "vcl.state <name> <state>",
     "Make it warm, cold, or either as need be."},
    {"vcl.uses", 0, 0, worker__cmd_vcl_uses, CLI_HIDDEN, "vcl.uses",
     "Say what there is, one a line."},
    {"debug.listen_address", 0, 0, cmd_listen_address, CLI_HIDDEN, "debug.listen_address",
     "Report the addresses that accept."},
    {"debug.xid", 0, 2, cmd_xid, CLI_HIDDEN, "debug.xid [<xid> [<chunk>]]",
     "Say which transaction id was the last."},
    {"debug.srandom", 0, 1, cmd_srandom, CLI_HIDDEN, "debug.srandom [<seed>]",
     "Make what VCL calls random a series that is always the same."},
    {"debug.fragfetch", 1, 1, cmd_nothing, CLI_HIDDEN, "debug.fragfetch <bytes>",
     "Nothing: in which pieces a body comes or is stored makes no difference."},
    {"debug.panic.worker", 0, 0, cmd_panic, CLI_HIDDEN, "debug.panic.worker",
     "Make the worker panic."},
    {NULL, 0, 0, NULL, 0, NULL, NULL},
};

void worker__log_cli(void *ctx, const char *direction, struct str text)
{
    struct worker *w = ctx;
    vsl_nowf(w->log, SLT_CLI, 0, "%s %.*s", direction, STR_ARG(text));
}
