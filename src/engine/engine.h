/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The engine: what happens to a request, whatever transport it came by.  Straight-line code on the
 * request's fiber: receive, look up, fetch if need be, deliver by one of three lanes. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <sys/uio.h>

#include "backend/backend.h"
#include "base/arena.h"
#include "cache/cache.h"
#include "http/h1.h"
#include "shm/vsc.h"
#include "shm/vsl.h"

struct engine;

struct engine_conf {
    struct run *run;
    const struct params *params;
    struct cache *cache;
    struct backends *backends;       /* of all VCLs */
    struct backend *backend;         /* of fetches for which the policy chooses none; or NULL */
    struct stevedore *const *stores; /* NULL-terminated; where objects go, in this order */
    struct stevedore *transient;
    struct vsl *log;
    struct vsc_main *main;
    struct vsc_objm *objm;
    const char *identity;        /* what Via says */
    const struct policy *policy; /* NULL: VCL (vcls.h) */
};
/* All pointers are borrowed as long as the engine lives.  The caller owns it. */
struct engine *engine_new(const struct engine_conf *conf);
void engine_free(struct engine **engine);

/* On each loop's thread, before and after its ticks. */
void engine_loop_start(struct engine *engine, struct loop *loop);
void engine_loop_stop(struct engine *engine, struct loop *loop);

/* ---- what transports use of a loop ---- */

/* The calling loop's counters, added to the shared ones at the end of the tick. */
struct vsc_main *engine_counters(struct engine *engine);
struct vsc_objm *engine_objm_counters(struct engine *engine);
/* A pen for the transaction in the calling loop's log buffer. */
void engine_log_open(struct engine *engine, struct vslb *log, uint32_t id);
/* The next VXID; in blocks a loop, strictly consecutive after engine_vxid_restart. */
uint32_t engine_vxid(struct engine *engine);
void engine_vxid_restart(struct engine *engine, uint32_t next, uint32_t chunk);
/* From now on what VCL calls random is the series of this seed. */
void engine_series_begin(struct engine *engine, uint32_t seed);
/* The last id before the next block, and how many ids a loop takes at a time. */
void engine_vxid_where(const struct engine *engine, uint32_t *last, uint32_t *chunk);

/* The cache key of a GET for this host and URL. */
void engine_digest(struct str host, struct str url, struct digest *digest);

/* ---- requests ---- */

struct request;

/* Bytes of a pipe: from the client, and to it. */
struct request_piped {
    uint64_t in, out;
};

/* How the engine reaches a client.  Each call Yields and returns RC_OK, or why the client is gone
 * (as sock_writev); after a failure only `ended` follows. */
struct transport {
    /* Bytes of the request's body; RC_EOF at its end, RC_MALFORMED. */
    enum rc (*body)(struct request *req, void *buf, size_t bytes, size_t *got);
    /* Tells a client that waits for it (req->expects_continue) to send its body.  NULL: none does.
     */
    enum rc (*go_on)(struct request *req);
    /* The response's head, and, if `last`, with iov the whole body.  body_len: UINT64_MAX when it
     * is not known.  No body at all: body_len 0 or !req->sends_body. */
    enum rc (*head)(struct request *req, struct http *resp, uint64_t body_len,
                    const struct iovec *iov, unsigned iovs);
    /* The next body bytes; iov is changed. */
    enum rc (*data)(struct request *req, struct iovec *iov, unsigned iovs);
    /* The next body bytes, from a file. */
    enum rc (*file)(struct request *req, int fd, uint64_t off, uint64_t bytes);
    /* After the last byte. */
    enum rc (*end)(struct request *req);
    /* Instead of a response: bytes go both ways between the client and the peer until both have
     * ended, or nothing has moved for idle_ns.  The connection is used up.  NULL: this transport
     * has no stream of its own.  RC_LIMIT: no memory, no fiber. */
    enum rc (*pipe)(struct request *req, struct sock *peer, uint64_t idle_ns,
                    struct request_piped *piped);
    /* Whether `file` can be used, and from which body size on it pays. */
    bool (*takes_files)(const struct request *req, uint64_t *min_bytes);
};

/* A body that a policy makes; grows on the heap. */
struct synth_text {
    char *ptr;
    size_t len;
    size_t cap;
};
enum { SYNTH_BYTES_MAX = 64 << 20 };

struct policy;
struct fetch;

struct request_bytes {
    uint64_t req_head, req_body, resp_head, resp_body;
};

/* One request, filled by the transport; it lives until engine_serve returns. */
/* Why a connection ends that neither side wanted to end. */
enum request_fault { REQUEST_FINE, REQUEST_VCL_FAILED, REQUEST_RANGE_SHORT };

struct request {
    const struct transport *transport;
    void *transport_arg;
    struct http *http; /* normalised; its text lives as long as the request */
    struct arena *arena;
    bool has_body;
    bool is_body_length_known;
    uint64_t body_bytes;        /* when it is known */
    struct req_body *kept_body; /* owned by the engine (req_body.h), as are the next two */
    bool is_body_sent;          /* some of it, as it came */
    bool is_body_lost;
    bool sends_body;       /* set by the engine: false for HEAD, 204 and 304 */
    bool body_is_ready;    /* set by the engine: the body follows its head without waiting */
    bool expects_continue; /* the client waits to be told that its body is wanted */
    bool was_piped;        /* set by the engine: there was no response, the connection is used up */
    bool close;            /* the connection ends after the response; either side may set it */
    uint64_t name; /* set by the engine: a hash of host and URL as they came, for speed only */
    uint32_t vxid;
    uint32_t session_vxid;
    uint64_t t_first_ns; /* real time of the first byte */
    uint64_t t_head_ns;  /* ... when the head was whole */
    uint64_t t_prev_ns;  /* of the last Timestamp record */
    const char *listener;
    const char *endpoint; /* the listener's address as the operator wrote it; may be NULL */
    /* Of the session, as VCL set them; 0: the parameters. */
    uint64_t idle_send_timeout_ns;
    uint64_t send_timeout_ns;
    uint64_t timeout_idle_ns;
    /* Both ends as VCL knows them: client and server are what a proxy told, or else the same as
     * remote and local, which are those of the connection itself. */
    struct str client_addr;
    struct str client_port;
    struct str server_addr; /* stands for a missing Host in the hash */
    struct str server_port;
    struct str remote_addr;
    struct str remote_port;
    struct str local_addr;
    struct str local_port;
    struct str proxy_tlvs; /* what the proxy added (http/proxy.h); STR_NONE without one */
    bool is_unix;          /* it came by a Unix socket, and ... */
    bool has_ids;          /* ... the kernel said whose process is at the other end */
    uint32_t uid, gid;
    struct str mc_command, user; /* of memcached's protocol; STR_NONE: HTTP, and nobody */
    struct vslb log;
    struct request_bytes bytes;
    enum request_fault fault; /* set by the engine */

    /* Of a sub-request, which the engine makes itself (esi.h). */
    struct request *top; /* the one that a client sent; NULL: this one */
    uint32_t parent_vxid;
    unsigned esi_level;

    /* The rest is the engine's (zero before).  What policies read and change: */
    bool hash_always_miss; /* nothing that is there will do */
    bool hash_ignore_busy; /* wait for no other's fetch */
    bool hash_ignore_vary; /* any variant will do */
    bool is_bounded;       /* how old an object may be, whatever its own times say: */
    uint64_t ttl_most_ns;  /* UINT64_MAX: no bound */
    uint64_t grace_most_ns;
    bool is_late_100;          /* the client is told to send its body when somebody reads it */
    struct backend *backend;   /* for the fetch; NULL: none */
    unsigned err_status;       /* for a response of our own */
    struct str err_reason;     /* STR_NONE: the usual one */
    struct synth_text synth;   /* its body */
    struct http *resp;         /* in deliver and synth */
    struct filter_wants *vdps; /* asked for there (filters.h); NULL: nothing was said */
    bool does_esi;
    struct str filters;   /* of the response, by name; STR_NONE: what it needs */
    struct digest digest; /* in hash */
    /* ... and read. */
    unsigned restarts;
    bool is_hit, is_hitmiss, is_hitpass;
    uint32_t object_xid; /* of the transaction that fetched what was hit; 0: not looked up yet */
    bool is_rfc9111;     /* http_rfc9111, as it was when the request began */
    struct objcore *oc;  /* in hit, and in deliver unless the answer is passed through; counted */
    /* Neither. */
    struct engine *engine;
    struct wrk *wrk;            /* what the engine keeps for the request's loop */
    struct http *own_fields;    /* of the object, for this client alone; or NULL */
    struct str accept_encoding; /* as the client had it, before it was normalised; or STR_NONE */
    struct str body_format;     /* of the body to be delivered; STR_NONE: text */
    bool is_unwanted;           /* ... and this client does not take it so */
    struct delivery *delivery;  /* filters that have to see the body; NULL: none */
    const struct policy *policy;
    void *policy_arg; /* the policy's own */
    struct str policy_name;
    struct http *original; /* as it came, for what is included; NULL: it was not kept */
    bool is_private;       /* oc was passed, and is nobody else's */
    struct objcore *busy;  /* to be fetched into */
    struct fetch *fetch;   /* whose answer is passed through */
    enum rc rc;            /* how sending ended */
};

/* Answers the request; all records from Begin to End are the engine's, and the counters.  RC_OK:
 * the response went out whole (req->close says whether the connection may go on), else the client
 * is gone or must be cut off.  Yields. */
YIELDS MUST_USE enum rc engine_serve(struct engine *engine, struct request *req);

#endif
