/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Front doors: who may come in by which address, and the protocols they speak.  So far HTTP/1. */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

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
    const int *fds;  /* one for each loop, or one for all */
    unsigned fds_count;
};

struct front_conf {
    struct run *run;
    const struct params *params;
    struct engine *engine;
    const struct front_listen *listens; /* borrowed */
    unsigned listens_count;
};

/* The caller owns it. */
struct front *front_new(const struct front_conf *conf);
void front_free(struct front **front);

/* On each loop's thread, before its first tick: begins to accept.  RC_NOSPACE, RC_LIMIT. */
MUST_USE enum rc front_loop_start(struct front *front, struct loop *loop);
/* After its last: closes what is idle. */
void front_loop_stop(struct front *front, struct loop *loop);

#endif
