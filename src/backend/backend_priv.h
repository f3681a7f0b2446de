/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of this room share. */
#ifndef BACKEND_BACKEND_PRIV_H
#define BACKEND_BACKEND_PRIV_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/holddown.h"
#include "base/check.h"
#include "shm/vsc.h"
#include "shm/vsl.h"

struct backends {
    uint32_t magic;
    struct backends_conf conf;
    pthread_mutex_t lock; /* of the lists, and of references of struct conns */
    struct list all;
    struct list conns; /* struct conns */
};
#define BACKENDS_MAGIC 0x3a9f60b2u

/* ---- where it is (endpoint.c) ---- */

enum { ENDPOINT_MAX = 2 };
struct endpoint {
    struct sockaddr_storage sa;
    socklen_t len;
};
struct endpoints {
    unsigned count;
    struct endpoint at[ENDPOINT_MAX]; /* IPv4 first, where there are both */
};
/* Blocks. */
MUST_USE enum rc endpoint__resolve(const struct backend_spec *spec, struct endpoints *out);
/* Host and port as the log writes them; "0.0.0.0 0" for a Unix socket. */
void endpoint__put(struct sb *sb, const struct sockaddr_storage *sa, socklen_t len);
/* The host alone. */
void endpoint__host(struct sb *sb, const struct endpoint *end);
/* Connects to the first that answers, in the order that the parameters say; *which tells.  As
 * sock_connect.  Yields. */
YIELDS MUST_USE enum rc endpoint__connect(const struct endpoints *ends, const struct params *params,
                                          uint64_t timeout_ns, struct sock *sock,
                                          const struct endpoint **which);

/* ---- the queue before max_connections (queue.c) ---- */

struct queue {
    unsigned max; /* connections; 0: no limit */
    _Atomic unsigned in_use;
    _Atomic unsigned waiting; /* in the list, or about to be */
    pthread_mutex_t lock;     /* of the list */
    struct list waiters;
};
void queue__init(struct queue *q, unsigned max);
void queue__end(struct queue *q);
/* Takes a place, perhaps after having waited for it with at most wait_limit - 1 others.  RC_LIMIT,
 * RC_CANCELLED.  Yields. */
YIELDS MUST_USE enum rc queue__enter(struct queue *q, uint64_t wait_limit, uint64_t wait_ns,
                                     bool *waited);
/* Gives it to whoever waits longest, or back. */
void queue__leave(struct queue *q);

/* ---- what is kept open (pool.c) ---- */

/* One loop's; the list is touched by that loop alone. */
struct pool_share {
    struct list conns;
    _Atomic unsigned count; /* of the list; others look before they ask */
    unsigned steals;        /* what this loop had from others since steals_since_ns */
    uint64_t steals_since_ns;
    char pad[64 - sizeof(struct list) - 2 * sizeof(unsigned) - sizeof(uint64_t)];
};

/* What is kept to one place, for all backends that are there: a policy that is loaded anew finds
 * the connections of the former. */
struct conns {
    struct backends *set;
    struct list link; /* of set->conns */
    struct endpoints ends;
    char *preamble_text; /* connections that began otherwise are not the same */
    size_t preamble_len;
    struct holddown holddown;
    struct pool_share *shares; /* one a loop */
    unsigned refs;             /* backends; under the set's lock */
    struct post reaper;        /* goes round the loops at the end */
    unsigned reaped;
};
/* Those of this place; a new reference.  Takes the set's lock. */
struct conns *conns__of(struct backends *set, const struct endpoints *ends, struct str preamble);
/* On any thread but a loop's. Takes the set's lock; without the last reference all is closed. */
void conns__release(struct conns **conns);
/* After run_stop. */
void conns__free(struct conns **conns);
/* Closes what the calling loop keeps. */
void conns__drop(struct conns *conns);

/* ---- probes (probe.c) ---- */

struct probe;
/* Begins in the state that the spec says; nothing runs yet.  The caller owns it.  RC_INVALID. */
MUST_USE enum rc probe__new(struct backend *b, const struct probe_spec *spec, struct str preamble,
                            struct probe **out);
/* From now on it runs, or does not; what it knew is forgotten. */
void probe__want(struct probe *p, bool runs);
/* It knows no backend any more, and counts for none. */
void probe__detach(struct probe *p);
/* Ends it if this is its loop (on that loop's thread); the backend may go then. */
void probe__loop_stop(struct probe *p, struct loop *loop);
/* After that, or after run_stop.  Who still probes frees it. */
void probe__release(struct probe **probe);
void probe__status(struct probe *p, struct backend_status *out);

struct backend {
    uint32_t magic;
    struct backends *set;
    struct list link; /* of set->all */
    char *name;
    char *cli_name;
    char *host_header;
    struct endpoints ends;
    struct conns *conns;
    uint64_t connect_timeout_ns;
    uint64_t first_byte_timeout_ns;
    uint64_t between_bytes_timeout_ns;
    unsigned proxy_header;
    struct vsm_seg *seg;
    struct vsc_vbe *counters;
    struct queue queue;
    struct probe *probe;
    /* Written by whoever learns of it, read by every fetch. */
    _Atomic uint32_t admin;
    _Atomic bool is_sick; /* says the probe */
    _Atomic uint64_t admin_changed_ns;
    _Atomic uint64_t probe_changed_ns;
    _Atomic unsigned refs;
    struct post reaper; /* goes round the loops at the end */
    unsigned reaped;
};
#define BACKEND_MAGIC 0x64c4c7c6u

static inline uint64_t backend__connect_timeout_ns(const struct backend *b)
{
    return b->connect_timeout_ns > 0 ? b->connect_timeout_ns
                                     : param(b->set->conf.params, connect_timeout);
}

/* Counts why a connection did not come about. */
void backend__count_failure(struct backend *b, enum rc rc);

#endif
