/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of the front share. */
#ifndef FRONT_FRONT_PRIV_H
#define FRONT_FRONT_PRIV_H

#include <netinet/in.h>

#include "front/front.h"
#include "http/proxy.h"

/* One loop's share of the front. */
struct door {
    struct front *front;
    struct loop *loop;
    struct listener **listeners; /* one for each address; NULL where another loop has it */
    struct door_listen *listens;
    struct list sessions; /* all of this loop; the idle ones in the order in which they became so */
    /* admit.c */
    unsigned serving; /* sessions with a fiber */
    uint64_t memory_checked_ns;
    bool lacks_memory;
    struct mc_doorman *doorman; /* mc_login.c; owned */
};

struct door_listen {
    struct door *door;
    const struct front_listen *listen;
    bool was_paused; /* nothing has been accepted since */
};

struct front {
    uint32_t magic;
    struct front_conf conf;
    unsigned slot;
    struct pool *work_pool;       /* one block for each connection that is being served */
    struct pool *mc_pool;         /* the same, for memcached's protocol */
    struct mc_baseline *baseline; /* mc_stats.c; owned */
};
#define FRONT_MAGIC 0x8e5b1f07u

/* Why a session ended; the log's word for it, and whether it counts as an error. */
enum sess_end {
#define SESS_CLOSE(name, stat, is_err, text) SESS_##name,
#include <tbl/sess_close.h>
#undef SESS_CLOSE
    SESS__COUNT
};

/* One end of a connection, as text without a NUL. */
struct sess_end_text {
    char addr[INET6_ADDRSTRLEN];
    char port[6];
    uint8_t addr_len;
    uint8_t port_len;
};

/* What a proxy said: the ends of the connection that it took. */
struct proxied {
    struct sess_end_text client;
    struct sess_end_text server;
    size_t tlvs_len;
    char tlvs[];
};

/* A connection.  Idle it is this struct and a descriptor: no fiber, no buffer. */
struct sess {
    uint32_t magic;
    uint32_t vxid;
    struct door *door;
    const struct front_listen *listen;
    struct list link;
    struct sock sock;
    uint64_t t_open_ns;          /* real time */
    struct sess_end_text remote; /* the ends of this very connection */
    struct sess_end_text local;
    struct proxied *proxied; /* owned; NULL without a proxy that told */
    /* As VCL set them; 0: the parameters. */
    uint64_t idle_send_timeout_ns;
    uint64_t send_timeout_ns;
    uint64_t timeout_idle_ns;
    bool has_sent; /* at least a byte */
    bool has_ids;  /* of the peer's process, at a Unix socket: */
    uint32_t uid, gid;
    bool awaits_preface;
    /* Of memcached's protocol: what the first byte said, and who is there. */
    bool knows_protocol;
    bool is_binary;
    struct mc_login *login; /* owned; NULL: nobody has tried */
};
#define SESS_MAGIC 0x91e2b0d5u

/* Why a session is not served. */
enum shed { SHED_NOT, SHED_REQUESTS, SHED_MEMORY, SHED_FIBERS };
/* Whether one more session may be served: SHED_NOT, and then admit__leave ends it. */
MUST_USE enum shed admit__enter(struct door *door);
void admit__leave(struct door *door);
/* Answers 503 without reading, and closes.  Leaves NULL. */
void admit__shed(struct sess **take_sess, enum shed why);

/* Descriptors are gone: closes those that have been idle for longest. */
void admit__make_room(struct door *door);

/* Begins a session for *take_fd; on failure the descriptor is closed. */
void sess__open(struct door_listen *at, int *take_fd, const struct sockaddr *peer,
                socklen_t peer_len);
/* Closes, logs, frees.  Leaves NULL. */
void sess__close(struct sess **sess, enum sess_end why);
/* Waits for the next request without a fiber. */
void sess__idle(struct sess *sess);

/* Part of a buffer: what has come and is not used yet. */
struct span {
    size_t at;
    size_t fill;
};

/* Reads what a proxy says first (preface.c); *left of buf is the client's.  cap: PROXY_MAX at
 * least.  SESS__COUNT: the connection goes on.  Yields. */
YIELDS MUST_USE enum sess_end preface__read(struct sess *sess, char *buf, size_t cap,
                                            struct span *left);

/* A fiber that serves what has come in (h1.c).  Yields. */
YIELDS void h1__serve(void *sess);
/* The same in memcached's protocol (mc.c).  Yields. */
YIELDS void mc__serve(void *sess);
/* Bytes that mc__serve works with. */
size_t mc__work_bytes(void);
/* Of those who have to say who they are (mc_login.c). */
struct mc_doorman *mc__doorman_new(void);
void mc__doorman_free(struct mc_doorman **doorman);
/* What was counted when statistics were last set to 0 (mc_stats.c). */
struct mc_baseline *mc__baseline_new(void);
void mc__baseline_free(struct mc_baseline **baseline);

#endif
