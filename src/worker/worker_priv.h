/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The worker process: what its files share. */
#ifndef WORKER_WORKER_PRIV_H
#define WORKER_WORKER_PRIV_H

#include "front/front.h"
#include "mgt/cli_proto.h"
#include "mgt/worker.h"

/* All that a worker is made of, in the order in which it is made. */
struct worker {
    const struct worker_conf *conf;
    int workdir_fd;
    struct vsm_set *vsm;
    struct vsm_seg *main_seg;
    struct vsm_seg *objm_seg;
    struct vsm_seg **store_segs; /* one for each store */
    struct vsl *log;
    struct run *run;
    struct cache *cache;
    const char *vcl_name; /* in use; borrowed from the engine */
    struct vault_link *vault;
    struct ban_log *ban_log;          /* NULL: bans end with this worker */
    struct stevedore **stores;        /* as in conf, then NULL */
    struct stevedore **object_stores; /* without Transient, then NULL */
    struct stevedore *transient;
    struct backends *backends;
    struct engine *engine;
    struct front_listen *listens;
    bool lacks_auth; /* users of an address could not be had */
    struct front *front;
    pthread_t recovery;
    bool recovers;
    bool runs;
    uint64_t started_ns; /* monotonic */
    /* Loop 0's housekeeping. */
    struct timer timer;
    uint64_t stats_ns; /* when the gauges were last set */
    struct timer lurker;
    struct post kick; /* to the lurker: there is a new ban */
    _Atomic bool is_kicked;
    uint64_t lurk_at_ns; /* when the lurker wants to go on */
    uint64_t lurked_ns;  /* when it was last at work */
    uint64_t ban_moves;  /* that the lurker has seen */
    bool is_banning;     /* there are bans that do something */
};

void worker__log_cli(void *ctx, const char *direction, struct str text);

/* Brings the loops up; RC_OK, or why not. */
MUST_USE enum rc worker__start(struct worker *w);

/* ---- commands about backends (cli_backend.c) ---- */
void worker__backend_list(struct cli *cli, void *ctx);
void worker__backend_set_health(struct cli *cli, void *ctx);

/* ---- commands about VCLs (cli_vcl.c) ---- */
cli_fn worker__cmd_vcl_load, worker__cmd_vcl_use, worker__cmd_vcl_discard, worker__cmd_vcl_label,
    worker__cmd_vcl_state, worker__cmd_vcl_uses;

/* ---- gauges (stats.c) ---- */
void worker__stats_start(struct worker *w, struct loop *loop);
void worker__stats_stop(struct worker *w, struct loop *loop);

/* ---- bans (bans.c) ---- */
/* Writes ExpKill records. */
expiry_news_fn worker__expiry_news;
void worker__bans_start(struct worker *w, struct loop *loop);
void worker__bans_stop(struct worker *w, struct loop *loop);
/* Brings their counters up to date. */
void worker__bans_count(struct worker *w);
void worker__cmd_ban(struct cli *cli, void *ctx);
void worker__cmd_ban_list(struct cli *cli, void *ctx);
/* cli_filter.c */
void worker__filter_list(struct cli *cli, void *ctx);
void worker__filter_plan(struct cli *cli, void *ctx);

/* ---- panics (panic.c) ---- */
/* Reports go to `area` from now on. */
void panic__install(struct panic_area *area, bool catches_faults);
/* The calling thread can report even when its stack is used up. */
void panic__thread_start(void);
void panic__thread_stop(void);

#endif
