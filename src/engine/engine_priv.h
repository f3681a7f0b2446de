/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of the engine share. */
#ifndef ENGINE_ENGINE_PRIV_H
#define ENGINE_ENGINE_PRIV_H

#include <assert.h>

#include "base/rng.h"
#include "base/series.h"
#include "engine/engine.h"
#include "http/h1_reader.h"

/* A name and its key (key.c). */
struct known_key {
    struct digest digest;
    uint8_t len;
    char text[159];
};

/* Where the last hit on a name read (warm.c). */
struct warm {
    uint64_t name;
    struct obj_lines lines;
};
static_assert(sizeof(struct warm) == 64, "one line");

struct loaded;
struct regex_scratch;
struct plan_cache;
struct filter_states;

/* What the engine keeps for each loop; touched by that loop alone. */
struct wrk {
    void *block; /* that it lies in */
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
    struct loaded *active; /* the VCL that requests begin with, or a label of it */
    struct regex_scratch *scratch;
    struct plan_cache *plans;            /* of filters */
    struct filter_states *filter_states; /* of those at work */
    uint64_t regex_match;                /* its limits, as they were last set */
    uint64_t regex_depth;
    struct rng rng;
};

struct objm_stevedore;

struct engine {
    uint32_t magic;
    struct engine_conf conf;
    unsigned slot;
    struct pool *fetch_pool; /* one block a fetch: its struct and its arena */
    struct pool *esi_pool;   /* the same of includes */
    char *via_text;
    struct str via;
    _Atomic unsigned pipes; /* that run */
    _Atomic uint32_t vxid_next;
    _Atomic uint32_t vxid_chunk;
    _Atomic uint32_t vxid_epoch; /* loops drop their blocks when it moves */
    char hostname[256];
    struct objm_stevedore *vcl_stores; /* up to one without a name */
    unsigned stores_count;             /* of conf.stores, the first of vcl_stores */
    _Atomic unsigned store_turn;       /* whose turn it is: objects are spread over all of them */
    /* The main thread's, as all of vcls.c. */
    struct list vcls;
    struct loaded *active;
    struct rng house_rng;
    struct series series;         /* of all loops, once an operator has begun it */
    bool is_running;              /* loops have begun */
    _Atomic uint64_t kv_flush_ns; /* when entries by key are to be forgotten; 0: not */
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

struct policy;

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
    const struct policy *policy;
    void *policy_arg; /* the policy's own */
    bool has_begun;
    /* What policies read and change, with bereq, beresp, times and synth. */
    bool is_uncacheable;
    bool is_always_miss;             /* its request did not look at what there is */
    bool do_stream;                  /* others, and the client, may have the body while it comes */
    bool do_esi, do_gzip, do_gunzip; /* filters that are wanted, or, ... */
    struct str filters;              /* ... STR_NONE: not said, the names of all of them */
    struct stevedore *store;         /* NULL: the engine's choice, ... */
    unsigned first_store;            /* ... of all of them, from this one on */
    struct backend *backend;         /* NULL: every exchange fails */
    bool drops_body;                 /* the client's is not sent along */
    uint64_t connect_ns, first_byte_ns, between_bytes_ns; /* 0: the backend's own */
    /* ... and read. */
    unsigned retries;
    bool was_304; /* the body is that of `old` */
    /* What is to be renewed, if the request is conditional; counted. */
    struct objcore *old;
    bool is_adopted;         /* ... and its body is the busy core's too, without a copy */
    struct objcore *stored;  /* do_stream off: the whole answer; counted */
    struct synth_text synth; /* the body, if is_synth */
    bool is_synth;
    unsigned err_status; /* 0: none was given */
    struct str err_reason;
    bool is_deliberate; /* the error is the policy's wish */
    bool is_hitpass;    /* the busy core becomes a hit-for-pass marker */
    bool is_marker;     /* ... or that, or a hit-for-miss marker */
    bool lost_body;     /* the client's body broke off or made no sense */
    bool got_bytes;     /* of the answer */
    bool keeps_conn;    /* both sides said so; the body must have been read too */
    unsigned conn_bits;
    struct obj_times times;
    struct str asked_range;    /* the Range that was sent, as the policy found it */
    bool is_rfc9111;           /* the request's */
    struct http *head_answer;  /* what is passed on, if it is about what we may have; or NULL */
    bool is_9111;              /* ... and so RFC 9111 has decided what may be stored */
    unsigned obj_flags;        /* of the object to be stored */
    struct filter_wants *vfps; /* asked for (filters.h); NULL: nothing was said */
    /* What stands between the body and whoever takes it (fetch_filter.c); NULL: nothing. */
    struct fetch_filter *filter;
    struct str coded; /* STR_NONE: the encoding is the backend's */
    bool is_encoded;  /* in a way that can be undone */
    bool has_esi;
    /* The response's body. */
    struct h1_body body;
    struct h1_reader reader;
    uint64_t body_got; /* from the backend, ... */
    uint64_t body_out; /* ... and out of the filters */
    char *buf;         /* received and not yet used: buf[at..fill) */
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
/* The states of a fetch, up to a body that can be delivered or stored (fetch_steps.c): that of the
 * backend's answer, of what it renews, or of our own.  False: there is nothing.  After it f->stored
 * is the whole answer, if the policy wanted it whole.  Yields. */
YIELDS MUST_USE bool fetch__head(struct fetch *f);
/* Body bytes into dst, filtered: at least one, or RC_EOF at its orderly end.  Yields. */
YIELDS MUST_USE enum rc fetch__body(struct fetch *f, void *dst, size_t bytes, size_t *got);
/* The same as it comes.  Yields. */
YIELDS MUST_USE enum rc fetch__raw_body(struct fetch *f, void *dst, size_t bytes, size_t *got);
bool fetch__body_is_read(const struct fetch *f);
bool fetch__has_body(const struct fetch *f);
/* Nobody wants the rest of the body: if all of it is here already the connection can be kept. */
void fetch__skip_received(struct fetch *f);
/* Takes a connection and logs it; or logs why there is none.  As backend_get, RC_NOT_FOUND when
 * there is no backend.  Yields. */
YIELDS MUST_USE enum rc fetch__connect(struct fetch *f, bool fresh);
/* Gives the connection back, if there still is one. */
void fetch__let_go(struct fetch *f);
/* Of the body that fetch__body gives; UINT64_MAX when it is not known. */
uint64_t fetch__length(const struct fetch *f);
void fetch__log_body(struct fetch *f);
/* Between two bytes of the answer. */
uint64_t fetch__between_bytes_ns(const struct fetch *f);
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
/* Gives the busy core up. */
void fetch__fail_busy(struct fetch *f);
/* Refreshes in the background, on a fiber of its own.  Takes *take_busy. */
void fetch__background(struct engine *engine, struct request *req, struct objcore **take_busy);

/* ---- delivering (deliver.c, range.c, lane.c, synth.c) ---- */

/* Which bytes of a body go out. */
struct part {
    uint64_t off;
    uint64_t len; /* UINT64_MAX: to an end that nobody knows yet */
    bool is_range;
};

/* Makes req->resp from req->oc or req->fetch.  RC_LIMIT: no room. */
MUST_USE enum rc deliver__head(struct request *req);
/* Conditions, ranges and lengths; then sends it with its body.  Yields. */
YIELDS MUST_USE enum rc deliver__transmit(struct request *req);
/* The transaction that fetched the object. */
uint32_t deliver__object_xid(const struct objcore *oc);
/* Policies may count a status in thousands (12404); clients see the rest (404). */
void deliver__drop_thousands(struct http *resp);
/* Last changes of a head, once the policy has spoken: the part of the body that is wanted, and the
 * length that goes with it.  body_len: UINT64_MAX if it is not known.  RC_LIMIT: no room. */
MUST_USE enum rc deliver__settle(struct request *req, struct http *resp, uint64_t body_len,
                                 struct part *part);
/* A field with one or (two != 0) two numbers; its text in the request's arena.  RC_LIMIT. */
MUST_USE enum rc deliver__number(struct request *req, struct http *resp, enum http_hdr_id id,
                                 uint64_t one, uint64_t two);
/* Makes 206 or 416 of a 200 to a request with a Range.  RC_LIMIT: no room. */
MUST_USE enum rc range__apply(struct request *req, struct http *resp, uint64_t body_len,
                              struct part *part);
/* Sends the head, and the part of the stored body by whichever lane.  Yields. */
YIELDS MUST_USE enum rc lane__send(struct engine *engine, struct request *req, struct http *resp,
                                   struct objcore *oc, const struct part *part);
/* Of a body that lies in no store there is no choice; this logs why: "synthetic", "pass". */
void lane__log_unstored(struct request *req, bool has_body, struct str reason);

/* Makes req->resp of a response of our own.  RC_LIMIT: no room. */
MUST_USE enum rc synth__head(struct request *req);
/* Sends it, with req->synth as body.  Yields. */
YIELDS MUST_USE enum rc synth__transmit(struct request *req);
/* A head and nothing else, for when all else has failed.  The connection ends.  Yields. */
YIELDS MUST_USE enum rc synth__minimal(struct request *req, unsigned status);

/* ---- texts that policies make (synth.c) ---- */

/* RC_LIMIT past SYNTH_BYTES_MAX. */
MUST_USE enum rc synth__add(struct synth_text *text, struct str more);
void synth__clear(struct synth_text *text);

/* ---- the client's side (request.c, reach.c) ---- */

enum req_step {
    REQ_RECV,
    REQ_LOOKUP,
    REQ_PASS,
    REQ_PIPE,
    REQ_PURGE,
    REQ_DELIVER,
    REQ_SYNTH,
    REQ_RESTART,
    REQ_VCLFAIL,
    REQ_DONE
};
typedef struct policy_verdict req_ask_fn(struct request *req);
/* Asks, and makes the step of those answers that mean the same everywhere: synth, restart, pass,
 * fail.  True: go to *next; false: the one answer that remains. */
YIELDS MUST_USE bool req__ask(struct request *req, req_ask_fn *fn, unsigned may,
                              enum req_step *next);
/* States in which an object, or what takes its place, is reached.  Yield. */
YIELDS MUST_USE enum req_step req__lookup(struct request *req);
YIELDS MUST_USE enum req_step req__pass(struct request *req);
/* Connects the client with a backend until both have ended (pipe.c); req->was_piped says that no
 * response was sent and that the connection is used up. */
YIELDS MUST_USE enum req_step req__pipe(struct request *req);
/* Lets go of what was to be delivered. */
void req__drop(struct request *req);

/* Adds a ban; false: *error says why not. */
bool engine__ban(struct engine *engine, struct arena *ws, struct str spec, struct str *error);

/* ---- keys (key.c) ---- */

/* The digest of what vcl_hash gave (each piece with a NUL behind it), perhaps remembered. */
void key__make(struct wrk *wrk, uint64_t name, struct str hashed, struct digest *digest);
/* A cheap hash of a name, which decides about speed and nothing else. */
uint64_t key__hash(struct str host, struct str url);
uint64_t key__name(struct str hashed);
/* Asks for the lines that key__make will read for a name with this hash. */
void key__fetch(const struct wrk *wrk, uint64_t hash);

/* ---- lines of memory asked for ahead (warm.c) ---- */

/* As soon as the head is known; returns what warm__note is to be given. */
uint64_t warm__up(const struct wrk *wrk, const struct http *http);
/* The request with this hash was a hit on oc. */
void warm__note(struct wrk *wrk, uint64_t name, const struct objcore *oc);

/* ---- Vary (vary.c) ---- */

/* Whether beresp's Vary is a list of names, or "*"; without one, too. */
bool vary__is_legal(const struct http *beresp);

/* The request fields that the response varies by, as bytes.  RC_UNSUPPORTED for `*`. */
MUST_USE enum rc vary__make(struct sb *sb, const struct http *bereq, const struct http *beresp);
/* Whether a request fits what vary__make wrote; damaged bytes fit none.  by_encoding: what it says
 * of Accept-Encoding counts. */
bool vary__fits(struct str spec, const struct http *req, bool by_encoding);
/* Whether it does, for this request. */
bool vary__by_encoding(const struct request *req);
/* The same in the form that RFC 9111 allows: what means the same is the same. */
MUST_USE enum rc vary__make_normalised(struct sb *sb, const struct http *bereq,
                                       const struct http *beresp);
bool vary__fits_normalised(struct str spec, const struct http *req, bool by_encoding);
/* Whether it names more than Accept-Encoding; damaged bytes do. */
bool vary__is_by_more(struct str spec);
bool vary__match(void *request, const struct objcore *oc);
/* What this request says to what the object varies by, in the same form; empty: it does not vary,
 * or there is no room for it.  The text lies in the arena's free room until that is used. */
struct str vary__predict(struct str spec, const struct http *req, bool is_normalised,
                         struct arena *arena);
/* For lookups (cache.h). */
struct str vary__predicted(void *request, const struct objcore *oc);
bool vary__joins(void *request, struct str prediction);

#endif
