/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One HTTP/1 connection while it is being served. */
#ifndef FRONT_H1_PRIV_H
#define FRONT_H1_PRIV_H

#include "front/front_priv.h"
#include "http/h1_reader.h"

struct h1 {
    struct sess *sess;
    struct front *front;
    struct arena arena; /* of the request */
    struct request req;
    struct h1_head head;
    /* Received bytes: buf[at..fill) are not used yet; the head in use ends at head_end. */
    char *buf;
    size_t cap;
    size_t at;
    size_t fill;
    size_t head_end;
    uint64_t t_first_ns;  /* real time of the first byte of the request that is being read */
    uint64_t deadline_ns; /* for its head */
    uint32_t flags;       /* what is tolerated in it (h1_flags) */
    /* The request's body. */
    struct h1_reader body;
    bool wants_continue;
    uint64_t body_waited_ns; /* for it to come */
    /* The response's body. */
    bool head_sent;
    bool is_chunked;
    bool is_length_known;
    uint64_t owed; /* bytes of the announced length that are still to be sent */
    struct sock_limit send_limit;
    bool is_slow_reader; /* a limit on sending ended the response */
};

/* ---- reading bodies (h1_body.c) ---- */
void h1__body_begin(struct h1 *h1);
/* RC_EOF at the end; RC_MALFORMED, RC_TOO_LONG, or as sock_read.  Yields. */
YIELDS MUST_USE enum rc h1__body(struct request *req, void *buf, size_t bytes, size_t *got);
/* As the transport's go_on.  Yields. */
YIELDS MUST_USE enum rc h1__go_on(struct request *req);
/* Reads what nobody wanted, up to a limit.  RC_LIMIT: too much, the connection must end.  Yields.
 */
YIELDS MUST_USE enum rc h1__body_drain(struct h1 *h1);

/* ---- pipes (h1_pipe.c) ---- */
/* As the transport's pipe.  Yields. */
YIELDS MUST_USE enum rc h1__pipe(struct request *req, struct sock *peer, uint64_t idle_ns,
                                 struct request_piped *piped);

/* How long a response that begins now may take (h1.c). */
struct sock_limit h1__send_limit(const struct h1 *h1);

/* ---- sending (h1_send.c) ---- */
extern const struct transport h1__transport;
/* Answers a head that could not be understood, and nothing after it will be.  Yields. */
YIELDS void h1__refuse(struct h1 *h1, unsigned status);

/* The log's records of a response that is only a first line. */
void h1__log_status(struct h1 *h1, unsigned status);

static inline struct h1 *h1__of(const struct request *req)
{
    return req->transport_arg;
}

#endif
