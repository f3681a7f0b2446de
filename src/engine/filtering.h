/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Body filters as fetches and deliveries use them:
 *
 *   filtering.c       what holds on both sides: chains that somebody wrote down, heads, records
 *   fetch_filter.c    the chain between a backend and the storage
 *   deliver_filter.c  the chain between the storage and a client
 *
 * Where nothing has to be filtered there is no chain, and nothing of this runs. */
#ifndef ENGINE_FILTERING_H
#define ENGINE_FILTERING_H

#include "engine/engine_priv.h"
#include "engine/filters.h"
#include "filter/chain.h"

/* ---- both sides (filtering.c) ---- */

/* The format of a body with this Content-Encoding (STR_NONE: without one): what it is called itself
 * when nothing here knows it.  Borrowed. */
struct str filtering__format(struct str content_encoding);
/* Whether a format is one of the names in a filter's list ("text,plain,none"). */
bool filtering__is_in(struct str list, struct str format);
/* What is wanted of a body: by the engine, then by VCL. */
struct filtering {
    enum filter_side side;
    struct str from;
    struct plan_want wants[PLAN_WANTS_MAX];
    unsigned count;
    const struct filter_wants *said; /* VCL's; NULL: nothing */
    const struct vcl_filters *known; /* to VCL; NULL: what is built in */
};
/* The engine's own wish, unless VCL has removed that filter.  The filter of this name must be
 * there. */
void filtering__want(struct filtering *ask, struct str name);
/* The chain that names (with blanks between them) say.  What would decode what is not encoded so,
 * or encode what is encoded already, is left out.  RC_NOT_FOUND: *unknown is a name of none;
 * RC_LIMIT. */
MUST_USE enum rc filtering__given(const struct filtering *ask, struct str names,
                                  struct arena *arena, struct plan *out, struct str *unknown);
/* The planner's, of what the engine and VCL want.  RC_LIMIT. */
MUST_USE enum rc filtering__plan(struct wrk *wrk, struct filtering *ask, struct arena *arena,
                                 struct plan *out);
/* Whether a step has a filter of this name. */
bool filtering__has(const struct plan *plan, struct str name);
/* The flags of all steps together. */
unsigned filtering__flags(const struct plan *plan);
/* Makes the head that of the body which leaves the chain, and logs what changes (kind: BERESP or
 * RESP).  Text in the arena.  RC_LIMIT. */
MUST_USE enum rc filtering__head(const struct plan *plan, struct http *h, struct arena *arena,
                                 struct vslb *log, enum log_head kind);
/* An entity tag that stands for other bytes, too.  log: NULL if the head has not been logged yet.
 * RC_LIMIT. */
MUST_USE enum rc filtering__weaken(struct http *h, struct arena *arena, struct vslb *log,
                                   enum log_head kind);
/* Vary says that the encoding depends on who asks.  RC_LIMIT. */
MUST_USE enum rc filtering__vary(struct http *h, struct arena *arena, struct vslb *log,
                                 enum log_head kind);
/* What codecs are told, of the parameters. */
struct filter_env filtering__env(const struct wrk *wrk, struct arena *arena,
                                 struct filter_notes *notes, struct vslb *log);

/* What is kept of a gzip body (OA_GZIPBITS), in text. */
enum { FILTERING_BITS_BYTES = 44 };
struct str filtering__bits(const struct gzip_bits *bits, char text[FILTERING_BITS_BYTES]);
/* What states of compressors may take on one loop. */
#define FILTER_STATES_BYTES_MAX ((size_t)256 << 20)
/* Counts what is about to be done. */
void filtering__count(struct wrk *wrk, const struct plan *plan);
/* The plan in full, for those who debug; and what VCL said and found no place in it. */
void filtering__log_plan(struct vslb *log, const struct plan *plan, const struct filter_wants *said,
                         struct arena *arena);
/* What the codecs have done (VfpAcct, VdpAcct); calls: how often the chain was asked. */
void filtering__log_sums(struct vslb *log, const struct plan *plan, const struct chain *chain,
                         uint64_t calls);

/* ---- fetches (fetch_filter.c) ---- */

/* The names of what stands between this answer and the storage, as things are now: " gunzip esi".
 * RC_LIMIT. */
MUST_USE enum rc fetch_filter__names(struct fetch *f, struct sb *names);
/* The chain of an answer whose head is settled: plans, logs, changes the head, starts the codecs.
 * RC_OK also when none is needed; else the log says why the fetch has failed. */
MUST_USE enum rc fetch_filter__open(struct fetch *f);
/* As fetch__body.  Yields. */
YIELDS MUST_USE enum rc fetch_filter__pull(struct fetch *f, void *dst, size_t bytes, size_t *got);
/* Whether the body's length stays what the backend said. */
bool fetch_filter__keeps_length(const struct fetch *f);
/* Ends it, if there is one. */
void fetch_filter__close(struct fetch *f);

/* ---- deliveries (deliver_filter.c) ---- */

struct delivery {
    struct plan plan;  /* without what this response does not need */
    struct str reason; /* of the first that has to see the body */
    bool is_esi;       /* other bodies go into this one first of all */
    struct filter_notes notes;
    struct chain *chain;
    uint64_t calls;
    uint64_t from_bytes; /* the body's length before any filter; UINT64_MAX: not known */
};

/* Where body bytes go when their head is out: through the filters, if there are any, and as far as
 * the part goes, to the client. */
struct outlet {
    struct request *req;
    struct part part;
    uint64_t at;   /* bytes that have left the filters */
    uint64_t sent; /* of them, to the client */
};

/* Whether a client takes a body in this format as it is. */
bool deliver_filter__is_welcome(const struct request *req, struct str format);
/* Accept-Encoding, which is there, becomes what matters here: gzip or nothing.  RC_LIMIT. */
MUST_USE enum rc deliver_filter__wash(struct request *req);
/* A new response: nothing is known of its body. */
static inline void deliver_filter__forget(struct request *req)
{
    req->filters = STR_NONE;
    req->body_format = STR_NONE;
    req->is_unwanted = false;
    req->delivery = NULL;
}
/* Notes what is to be delivered, and makes the new head fit what will become of it.  RC_LIMIT. */
MUST_USE enum rc deliver_filter__look_at(struct request *req);
static inline MUST_USE enum rc deliver_filter__look(struct request *req)
{
    deliver_filter__forget(req);
    return LIKELY(!http_has(req->resp, HDR_CONTENT_ENCODING)) ? RC_OK
                                                              : deliver_filter__look_at(req);
}
/* Whether anything is left to plan. */
static inline bool deliver_filter__is_wanted(const struct request *req)
{
    return UNLIKELY(req->filters.ptr != NULL) || UNLIKELY(req->is_unwanted) ||
           UNLIKELY(req->vdps != NULL) ||
           (req->oc != NULL && UNLIKELY((obj_flags(req->oc) & OBJ_ESI) != 0) && req->does_esi);
}
/* The names of what will be done, "range" among them. */
MUST_USE enum rc deliver_filter__names(struct request *req, struct sb *names);
/* Plans and logs; req->delivery, the head and *body_len (UINT64_MAX: not known any more) are then
 * those of what the client gets; by_range: it may get a part of it.  RC_NOT_FOUND: a name in
 * resp.filters is none; RC_LIMIT. */
MUST_USE enum rc deliver_filter__settle(struct request *req, struct http *resp, uint64_t *body_len,
                                        bool *by_range);
/* Starts the codecs.  RC_LIMIT, RC_INVALID: the log says why not. */
MUST_USE enum rc deliver_filter__open(struct request *req);
/* Ends them. */
void deliver_filter__close(struct request *req);

/* The next bytes of the body.  RC_EOF: nobody wants more of it.  Yields. */
YIELDS MUST_USE enum rc outlet__put(struct outlet *outlet, const void *ptr, size_t len);
/* There are no more.  Yields. */
YIELDS MUST_USE enum rc outlet__end(struct outlet *outlet);

#endif
