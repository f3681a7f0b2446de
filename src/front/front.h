/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Front doors: who may come in by which address, and the protocols they speak: HTTP/1, and that of
 * memcached. */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include "auth/auth.h"
#include "engine/engine.h"

struct front;

/* One listening address; text is borrowed as long as the front lives. */
struct front_listen {
    const char *name;     /* "a0" */
    const char *endpoint; /* the address as the operator wrote it */
    const char *addr;     /* numeric host, or a path */
    const char *port;     /* "-" for a Unix socket */
    bool is_unix;
    bool is_proxied; /* each connection begins with a preface of the PROXY protocol */
    bool is_memcached;
    struct auth *auth; /* who may speak memcached's protocol here; NULL: anybody */
    const int *fds;    /* one for each loop, or one for all */
    unsigned fds_count;
};

struct front_conf {
    struct run *run;
    const struct params *params;
    struct engine *engine;
    const struct front_listen *listens; /* borrowed */
    unsigned listens_count;
    /* What all loops have counted, for memcached's statistics. */
    const struct vsc_main *main;
    const struct vsc_objm *objm;
    uint64_t started_ns; /* real time */
};

/* The caller owns it. */
struct front *front_new(const struct front_conf *conf);
void front_free(struct front **front);

/* On each loop's thread, before its first tick: begins to accept.  RC_NOSPACE, RC_LIMIT. */
MUST_USE enum rc front_loop_start(struct front *front, struct loop *loop);
/* After its last: closes what is idle. */
void front_loop_stop(struct front *front, struct loop *loop);

#endif
