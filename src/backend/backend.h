/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Backends: where fetches go.  A backend keeps, for each loop, the connections that can be used
 * again; a connection belongs to one fetch at a time and never changes loop. */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "base/param.h"
#include "run/sock.h"

struct backend;
struct bconn;
struct vsc_vbe;

struct backend_spec {
    const char *vcl;  /* the policy it belongs to: "boot" */
    const char *name; /* "default" */
    const char *host; /* a name or an address, or the path of a Unix socket */
    const char *port; /* number or service; NULL for a Unix socket */
    struct run *run;
    const struct params *params; /* connect_timeout, backend_idle_timeout */
    struct vsc_vbe *counters;    /* borrowed as long as the backend lives */
    unsigned max_connections;    /* 0: no limit */
};

/* Resolves the name: blocks, so not on a loop.  At most one IPv4 and one IPv6 address are used, the
 * first of each.  The caller owns *out.  RC_NOT_FOUND when the name has no address. */
MUST_USE enum rc backend_new(const struct backend_spec *spec, struct backend **out);
/* After run_stop. */
void backend_free(struct backend **backend);
const char *backend_name(const struct backend *backend);

/* An idle connection, or a new one if there is none or `fresh` is wanted (an idle one may be closed
 * by the peer at any time: whoever gets RC_EOF or RC_RESET before the first byte of an answer on a
 * reused one may try once more with a fresh one).
 * RC_LIMIT: max_connections; else as sock_connect.  Yields. */
YIELDS MUST_USE enum rc backend_get(struct backend *backend, bool fresh, struct bconn **out);
/* Gives the connection back; `reusable`: the last response was read to its end, and both sides
 * keep the connection.  Leaves NULL. */
void backend_put(struct bconn **conn, bool reusable);

struct sock *bconn_sock(struct bconn *conn);
bool bconn_is_reused(const struct bconn *conn);
/* "127.0.0.1 8080 127.0.0.1 45678": remote and local ends, for the log; borrowed. */
struct str bconn_ends(const struct bconn *conn);

/* Closes the calling loop's idle connections: when it stops. */
void backend_drop_idle(struct backend *backend);

/* "healthy" and since when (real time): there are no probes yet. */
uint64_t backend_health_since_ns(const struct backend *backend);

#endif
