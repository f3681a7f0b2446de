/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Backends: where fetches go.
 *
 * A backend is made and dropped at run time, and lives as long as somebody holds a reference: the
 * policy that it belongs to, and each connection in use.  Connections that can be used again are
 * kept; they are shared by all loops, and a connection belongs to one fetch at a time.  A backend
 * may have a probe (probe.c), a limit of connections and a queue before it (queue.c), and its
 * health, probed or set by the operator, is read without a lock. */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "base/param.h"
#include "http/proxy.h"
#include "run/sock.h"

struct backend;
struct backends;
struct bconn;
struct vsc_main;
struct vsc_vbe;
struct vsl;
struct vsm_set;

/* ---- all backends of a worker ---- */

struct backends_conf {
    struct run *run;
    const struct params *params;
    struct vsm_set *shm;   /* where their counters go */
    struct vsl *log;       /* Backend_health */
    struct vsc_main *main; /* n_backend */
    struct vsc_objm *objm; /* backend.* */
};
/* All pointers are borrowed as long as the set lives.  The caller owns it. */
struct backends *backends_new(const struct backends_conf *conf);
/* After run_stop, when every reference is gone. */
void backends_free(struct backends **backends);
/* On each loop's thread, after its last tick: closes what it keeps. */
void backends_loop_stop(struct backends *backends, struct loop *loop);
/* Calls fn with each backend, in the order of their making; fn may keep it by backend_ref, and may
 * make or drop none. */
void backends_each(struct backends *backends, void (*fn)(struct backend *backend, void *arg),
                   void *arg);

/* ---- one backend ---- */

/* As VCL writes it; zero where VCL gives no value. */
struct probe_spec {
    const char *url;     /* "/" */
    const char *request; /* instead of url: the whole request, with its line ends */
    unsigned expected_response;
    uint64_t timeout_ns;
    uint64_t interval_ns;
    unsigned window;    /* at most 64 */
    unsigned threshold; /* at most window */
    unsigned initial;   /* PROBE_INITIAL_DEFAULT: one less than threshold */
    bool keeps_open;    /* .expect_close = false: an answer is good though the peer stays */
};
#define PROBE_INITIAL_DEFAULT UINT32_MAX

/* Text is copied. */
struct backend_spec {
    const char *vcl;                   /* the policy it belongs to: "boot" */
    const char *name;                  /* "default" */
    const char *host;                  /* a name or an address; NULL with path */
    const char *port;                  /* number or service */
    const char *path;                  /* of a Unix socket */
    const char *host_header;           /* NULL: the first address */
    uint64_t connect_timeout_ns;       /* 0: the parameter */
    uint64_t first_byte_timeout_ns;    /* 0: the parameter */
    uint64_t between_bytes_timeout_ns; /* 0: the parameter */
    unsigned max_connections;          /* 0: no limit */
    unsigned proxy_header;             /* 0, or the version of the PROXY preface that it gets */
    struct str preamble;               /* what its connections begin with, behind the preface */
    const struct probe_spec *probe;    /* NULL: none */
};

/* Makes a cold backend, with its counters (hidden).  Resolving a name takes time: a fiber suspends,
 * any other thread blocks.  At most one IPv4 and one IPv6 address are used, the first of each.  The
 * caller has a reference of *out.  An earlier backend of the same policy and name is not shown any
 * more.  RC_NOT_FOUND: no such name; RC_INVALID: a probe's numbers make no sense; RC_TOO_LONG: the
 * path; others as vsc_new.  Yields. */
YIELDS MUST_USE enum rc backend_new(struct backends *set, const struct backend_spec *spec,
                                    struct backend **out);
/* On any thread.  Who drops the last reference ends it: it is no longer listed, and what it keeps
 * open is closed by the loops in their next ticks. */
void backend_ref(struct backend *backend);
void backend_release(struct backend **backend);

/* Its policy came into use: counters are listed, and its probe begins.  On any thread, as are all
 * functions below that do not Yield. */
void backend_warm(struct backend *backend);
void backend_cold(struct backend *backend);

const char *backend_name(const struct backend *backend);     /* "default" */
const char *backend_cli_name(const struct backend *backend); /* "boot.default" */
const char *backend_host_header(const struct backend *backend);
/* Whether its connections begin with a PROXY preface, for which it wants both addresses. */
bool backend_wants_preface(const struct backend *backend);
uint64_t backend_first_byte_timeout_ns(const struct backend *backend);
uint64_t backend_between_bytes_timeout_ns(const struct backend *backend);
struct vsc_vbe *backend_counters(const struct backend *backend);

/* ---- health ---- */

enum backend_admin { BACKEND_AUTO, BACKEND_HEALTHY, BACKEND_SICK };

void backend_set_admin(struct backend *backend, enum backend_admin admin);
/* What the operator said, or else the probe; without one it is healthy.  *changed_ns (may be NULL):
 * since when, real time. */
bool backend_is_healthy(const struct backend *backend, uint64_t *changed_ns);

/* Each bit is a probe, the newest lowest. */
struct probe_maps {
#define PROBE_MAP(field, letter, text, always) uint64_t field;
#include "backend/probe_maps.def"
#undef PROBE_MAP
};
struct backend_status {
    enum backend_admin admin;
    bool has_probe;
    bool is_sick; /* as the probe says */
    uint64_t changed_ns;
    unsigned good, threshold, window;
    double average_s; /* of good answers */
    struct probe_maps maps;
};
void backend_status(struct backend *backend, struct backend_status *out);

/* ---- connections ---- */

/* What a fetch asks for; all zero for the common case. */
struct backend_ask {
    bool fresh;                  /* not one that was used before */
    uint64_t connect_timeout_ns; /* 0: the backend's */
    /* For the PROXY preface; NULL: nobody's. */
    const struct proxy_addr *client;
    const struct proxy_addr *server;
};
/* A kept connection, or a new one if there is none (a kept one may be closed by the peer at any
 * time: whoever gets RC_EOF or RC_RESET before the first byte of an answer on a reused one may try
 * once more with a fresh one).  The connection holds a reference of the backend.
 * RC_SICK; RC_LIMIT: max_connections, after backend_wait_timeout if there was room to wait; else as
 * sock_connect and, for the preface, sock_writev.  Counters of the backend are counted.  Yields. */
YIELDS MUST_USE enum rc backend_get(struct backend *backend, const struct backend_ask *ask,
                                    struct bconn **out);
/* Gives the connection back, on the loop that got it; `reusable`: the last response was read to its
 * end, and both sides keep the connection.  Leaves NULL. */
void backend_put(struct bconn **conn, bool reusable);
/* What the log calls a failure of backend_get: "fail errno 111 (Connection refused)", "busy". */
const char *backend_failure(enum rc rc);

struct sock *bconn_sock(struct bconn *conn);
struct backend *bconn_backend(const struct bconn *conn);
bool bconn_is_reused(const struct bconn *conn);
/* False when it must not be used again, whatever was agreed: what a PROXY preface said is true of
 * one client. */
bool bconn_may_be_kept(const struct bconn *conn);
/* Bytes of the PROXY preface that went out on it. */
size_t bconn_preface_bytes(const struct bconn *conn);
/* "127.0.0.1 8080 127.0.0.1 45678": remote and local ends, for the log; borrowed. */
struct str bconn_ends(const struct bconn *conn);

#endif
