/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the manager gives a worker.  The worker is a forked child (no exec): all of this is its
 * inherited memory, and stays as it was at the fork except for `params` and `panic`, which both
 * processes map.
 *
 * A worker's life, seen from the manager:
 *   fork -> the child drops its privileges and calls worker_main -> the manager sends `start` over
 *   the CLI socket -> 200 means that it accepts connections -> `ping` every ping_interval ->
 *   the CLI socket ends (stop, or the manager died) -> worker_main returns its exit status.
 * Before `start`, worker_main prepares what may fail, so that the answer to `start` can say why. */
#ifndef MGT_WORKER_H
#define MGT_WORKER_H

#include <assert.h>

#include "base/param.h"
#include "mgt/cli_proto.h"
#include "store/store.h"
#include "store/vault.h"

enum worker_proto { WORKER_PROTO_HTTP, WORKER_PROTO_PROXY, WORKER_PROTO_MEMCACHED };

/* One address.  An -a that resolves to several makes several of these with the same name. */
struct worker_listen {
    char name[64];  /* a0, a1, ..., or as given */
    char text[256]; /* the address as it was given */
    char addr[256]; /* numeric host, or the path of a Unix socket */
    char port[8];   /* "-" for a Unix socket */
    bool is_unix;   /* one descriptor, shared by all loops */
    enum worker_proto proto;
    const char *auth;   /* MEMCACHED: the lines of a file (auth/auth.h), "sasl", or NULL: no user */
    const int *fds;     /* TCP: one for each loop; bound, listening, non-blocking */
    unsigned fds_count; /* worker_conf.loops, or 1 for a Unix socket */
};

/* The one backend of -b. */
struct backend_conf {
    bool is_none;
    bool is_unix;
    char text[256]; /* as it was given */
    char host[256]; /* a name or an address without brackets; the path of a Unix socket */
    char port[32];  /* a number or a service name; "80" if none was given, "" for a Unix socket */
};

/* Written by a dying worker, read by the manager: a panic's report. */
enum { PANIC_AREA_BYTES = 64 << 10 };
struct panic_area {
    _Atomic uint32_t len; /* of text; 0: no panic.  Stored last (release). */
    char text[PANIC_AREA_BYTES - sizeof(uint32_t)];
};
static_assert(sizeof(struct panic_area) == PANIC_AREA_BYTES, "whole pages");

/* Everything is borrowed from the manager's copy and outlives the worker, but for *vault, which
 * vault_attach takes, and the descriptors, which are the worker's own. */
struct worker_conf {
    struct params *params;    /* shared; among them what -l and -t set */
    struct panic_area *panic; /* shared */

    const struct worker_listen *listens;
    unsigned listens_count;
    unsigned loops; /* the parameter `loops`, with 0 resolved; fixed for this worker */

    /* In the order of -s; Transient is always there, last.  Their .vault is NULL: open copies
     * that have what vault_attach(&conf->vault) returned. */
    const struct stv_conf *stores;
    unsigned stores_count;
    struct vault *vault;

    int cli_fd;           /* stream socket to the manager: serve it with cli_serve (cli_proto.h) */
    const char *workdir;  /* absolute; also the current directory */
    int workdir_fd;       /* the worker may not be able to reach it by name: use openat */
    const char *identity; /* -i, or the host's name */
    unsigned generation;  /* 1 for the first worker, 2 for the next, ... */
};

/* Runs the worker until the manager lets go of the CLI socket.  Returns the exit status of the
 * process: 0 for an orderly end. */
typedef int worker_main_fn(struct worker_conf *conf);
worker_main_fn worker_main;

/* What the worker answers, for cli_serve; the manager reads it for its help and manual.  Ends with
 * a row without a name. */
extern const struct cli_cmd worker_commands[];

#endif
