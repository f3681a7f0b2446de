/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of the engine share. */
#ifndef ENGINE_ENGINE_PRIV_H
#define ENGINE_ENGINE_PRIV_H

#include <assert.h>

#include "engine/engine.h"
#include "http/h1_reader.h"

/* A name and its key (key.c). */
struct known_key {
    struct digest digest;
    uint8_t host_len;
    uint8_t url_len;
    char text[158];
};

/* Where the last hit on a name read (warm.c). */
struct warm {
    uint64_t name;
    struct obj_lines lines;
};
static_assert(sizeof(struct warm) == 64, "one line");

/* What the engine keeps for each loop; touched by that loop alone. */
struct wrk {
    struct engine *engine;
    struct loop *loop;
    struct vsc_main main;
    struct vsc_objm objm;
    struct vsl_buf log;
    void *log_mem;
    uint32_t vxid_next;
    uint32_t vxid_left;
    uint32_t vxid_epoch;
    uint64_t date_s; /* the second that `date` shows */
    char date[32];
    _Alignas(64) struct known_key keys[8192];
    _Alignas(64) struct warm warm[8192];
};

struct engine {
    uint32_t magic;
    struct engine_conf conf;
    unsigned slot;
    struct pool *fetch_pool; /* one block a fetch: its struct and its arena */
    char *via_text;
    struct str via;
    _Atomic unsigned pipes; /* that run */
    _Atomic uint32_t vxid_next;
    _Atomic uint32_t vxid_chunk;
    _Atomic uint32_t vxid_epoch; /* loops drop their blocks when it moves */
};
#define ENGINE_MAGIC 0x1f9b5c53u

/* The calling loop's. */
struct wrk *engine__wrk(const struct engine *engine);
/* The current date as a header value; a borrow until the next call. */
struct str engine__date(struct wrk *wrk);

static inline uint64_t wrk_real_ns(const struct wrk *wrk)
{
    return loop_real_ns(wrk->loop);
}

/* ---- logging (log.c) ---- */

void log__timestamp(struct vslb *log, struct str label, uint64_t now_ns, uint64_t first_ns,
                    uint64_t *prev_ns);
/* The first-line and header records of a head; the tag is that of the method or protocol. */
enum log_head { LOG_REQ, LOG_BEREQ, LOG_BERESP, LOG_RESP };
void log__head(struct vslb *log, enum log_head kind, const struct http *h);
void log__field(struct vslb *log, enum log_head kind, const struct http_hdr *hdr);
void log__vcl(struct vslb *log, struct str sub, struct str action);
/* The response gets another status after its head was logged. */
void log__status(struct vslb *log, struct http *resp, unsigned status);

/* ---- fetching (fetch.c, fetch_body.c) ---- */

enum fetch_kind { FETCH_MISS, FETCH_PASS, FETCH_BACKGROUND, FETCH_PIPE };

struct fetch {
    uint32_t magic;
    enum fetch_kind kind;
    struct engine *engine;
    struct request *req;  /* NULL once the fetch goes on without its client */
    struct objcore *busy; /* owned; NULL for a pass */
    struct arena arena;
    struct http *bereq;
    struct http *beresp;
    struct bconn *conn;
    struct proxy_addr client; /* for a backend that wants a preface */
    struct proxy_addr server;
    bool is_uncacheable;
    bool is_marker;  /* the busy core becomes a hit-for-miss marker */
    bool lost_body;  /* the client's body broke off or made no sense */
    bool got_bytes;  /* of the answer */
    bool keeps_conn; /* both sides said so; the body must have been read too */
    unsigned conn_bits;
    struct obj_times times;
    struct str asked_range; /* the Range that was sent, as the policy found it */
    /* The response's body. */
    struct h1_body body;
    struct h1_reader reader;
    uint64_t body_got;
    char *buf; /* received and not yet used: buf[at..fill) */
    size_t at;
    size_t fill;
    size_t cap;
    /* The log. */
    uint32_t vxid;
    struct vslb log;
    uint64_t t_first_ns;
    uint64_t t_prev_ns;
    struct request_bytes bytes;
    struct request_bytes counted; /* of them, as the backend's */
    bool was_answered;            /* by a connection that has been given back since */
    uint32_t parent_vxid;
};
#define FETCH_MAGIC 0x2f5a9ec1u

/* Takes *take_busy (may be NULL).  NULL when the request does not fit a fetch's memory. */
struct fetch *fetch__new(struct engine *engine, struct request *req, enum fetch_kind kind,
                         struct objcore **take_busy);
/* Logs what is left to log and gives connection and memory back; busy is NULL by then. */
void fetch__free(struct fetch **fetch);
/* Makes and logs the backend request, first of all.  RC_LIMIT: it does not fit. */
MUST_USE enum rc fetch__prepare(struct fetch *f);
/* Sends the request and reads the head of the answer; then the policy has decided.  Yields. */
YIELDS MUST_USE enum rc fetch__head(struct fetch *f);
/* Body bytes into dst: at least one, or RC_EOF at its orderly end.  Yields. */
YIELDS MUST_USE enum rc fetch__body(struct fetch *f, void *dst, size_t bytes, size_t *got);
bool fetch__body_is_read(const struct fetch *f);
/* Nobody wants the rest of the body: if all of it is here already the connection can be kept. */
void fetch__skip_received(struct fetch *f);
/* Takes a connection and logs it; or logs why there is none.  As backend_get, RC_NOT_FOUND when
 * there is no backend.  Yields. */
YIELDS MUST_USE enum rc fetch__connect(struct fetch *f, bool fresh);
/* Gives the connection back, if there still is one. */
void fetch__let_go(struct fetch *f);
/* Of the answer's body; UINT64_MAX when it is not known. */
uint64_t fetch__length(const struct fetch *f);
void fetch__log_body(struct fetch *f);
/* The whole body into the busy core, which is then finished or failed.  Yields. */
YIELDS void fetch__store(struct fetch *f);
/* The same on a fiber of its own, which ends the fetch; the client follows the core.  Yields only
 * when no fiber is left: then it is done here. */
YIELDS void fetch__store_apart(struct fetch **take_fetch);
/* Makes the busy core known, with attributes and times; RC_NOSPACE, RC_TOO_LONG: it cannot be
 * stored, and has been failed. */
MUST_USE enum rc fetch__publish(struct fetch *f);
/* The busy core becomes a marker that tells others not to wait.  Yields. */
YIELDS void fetch__mark(struct fetch *f);
/* Refreshes in the background, on a fiber of its own.  Takes *take_busy. */
void fetch__background(struct engine *engine, struct request *req, struct objcore **take_busy);

/* ---- delivering (deliver.c, range.c, lane.c, synth.c) ---- */

/* Which bytes of a body go out. */
struct part {
    uint64_t off;
    uint64_t len; /* UINT64_MAX: to an end that nobody knows yet */
    bool is_range;
};

/* Delivers a stored object, complete or still growing.  Yields. */
YIELDS MUST_USE enum rc deliver__object(struct engine *engine, struct request *req,
                                        struct objcore *oc, bool is_hit);
/* Delivers what a fetch brings, byte by byte, without storing it.  Yields. */
YIELDS MUST_USE enum rc deliver__relay(struct engine *engine, struct request *req, struct fetch *f);
/* The transaction that fetched the object. */
uint32_t deliver__object_xid(const struct objcore *oc);
/* Adds what every response says of us. RC_LIMIT: no room. */
MUST_USE enum rc deliver__dress(struct wrk *wrk, struct request *req, struct http *resp,
                                uint64_t object_xid, uint64_t age_s);
/* Last changes of a head, once the policy has spoken: the part of the body that is wanted, and the
 * length that goes with it.  body_len: UINT64_MAX if it is not known.  RC_LIMIT: no room. */
MUST_USE enum rc deliver__settle(struct engine *engine, struct request *req, struct http *resp,
                                 uint64_t body_len, struct part *part);
/* Makes 206 or 416 of a 200 to a request with a Range.  RC_LIMIT: no room. */
MUST_USE enum rc range__apply(struct request *req, struct http *resp, uint64_t body_len,
                              struct part *part);
/* Sends the head, and the part of the stored body by whichever lane.  Yields. */
YIELDS MUST_USE enum rc lane__send(struct engine *engine, struct request *req, struct http *resp,
                                   struct objcore *oc, const struct part *part);
/* A response of our own; `cause` is the fetch's VXID for the page, or the request's.  Yields. */
YIELDS MUST_USE enum rc synth__deliver(struct engine *engine, struct request *req, unsigned status,
                                       struct str reason, uint32_t cause_xid);

/* ---- keys (key.c) ---- */

/* The policy's key for this host and URL, perhaps remembered. */
void key__make(struct wrk *wrk, struct str host, struct str url, struct digest *digest);
/* A cheap hash of a name, which decides about speed and nothing else. */
uint64_t key__hash(struct str host, struct str url);
/* Asks for the lines that key__make will read for a name with this hash. */
void key__fetch(const struct wrk *wrk, uint64_t hash);

/* ---- lines of memory asked for ahead (warm.c) ---- */

/* As soon as the head is known; returns what warm__note is to be given. */
uint64_t warm__up(const struct wrk *wrk, const struct http *http);
/* The request with this hash was a hit on oc. */
void warm__note(struct wrk *wrk, uint64_t name, const struct objcore *oc);

/* ---- Vary (vary.c) ---- */

/* The request fields that the response varies by, as bytes.  RC_UNSUPPORTED for `*`. */
MUST_USE enum rc vary__make(struct sb *sb, const struct http *bereq, const struct http *beresp);
/* Whether a request fits what vary__make wrote; damaged bytes fit none. */
bool vary__fits(struct str spec, const struct http *req);
bool vary__match(void *request, const struct objcore *oc);

#endif
