/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What -p http_rfc9111=on changes: the engine comes here at a few points, if the parameter is set,
 * and is Varnish otherwise.  What may be stored and for how long is decided before the policy
 * speaks, which may then set times of its own or forbid storing; what a request asks of a lookup,
 * after it.  A policy that has rules of its own reads is_rfc9111, of request or fetch, and leaves
 * to us what we have decided: so does the built-in VCL. */
#ifndef ENGINE_RFC9111_H
#define ENGINE_RFC9111_H

#include "engine/engine_priv.h"
#include "http/http_rfc9111.h"

/* Asked once, when a request begins: one that is half in either mode would store by one rule what
 * was looked up by the other. */
static inline bool rfc9111__is_on(const struct engine *engine)
{
    return UNLIKELY(param(engine->conf.params, http_rfc9111) != 0);
}

/* ---- lookup ---- */

/* Reads the request's wishes and has the lookup heed them; *wish must live as long as *want. */
void rfc9111__want(struct request *req, struct http_9111_wish *wish, struct lookup_req *want);

/* False: nothing that was found will do, and the request may not fetch for the cache; what it found
 * has been let go.  With only_if_cached its answer is 504, else it is passed. */
bool rfc9111__goes_on(const struct http_9111_wish *wish, struct lookup *found);

/* False: the policy wants to pass what may not reach the backend; its answer is 504. */
bool rfc9111__may_pass(const struct request *req);

/* ---- fetch ---- */

/* Cache directives are passed on (section 5.2). */
MUST_USE enum rc rfc9111__bereq(struct fetch *f);
/* Times, and whether the answer may be stored.  Returns its freshness lifetime, which is no TTL if
 * it may not. */
uint64_t rfc9111__times(struct fetch *f);
/* Whether a 304 is about the response that we have, and not about another one (section 4.3.4). */
bool rfc9111__renews(struct fetch *f);
/* Then there is nothing to renew. */
void rfc9111__ask_unconditionally(struct fetch *f);
/* The answer is an error, and something stored may stand in for it. */
bool rfc9111__is_worse_than_stale(struct fetch *f);
/* After a failure: what stands in, referenced; NULL: nothing.  Before the busy core is failed. */
struct objcore *rfc9111__stand_in(struct fetch *f);
/* What is answered then; 0: the usual. */
unsigned rfc9111__failure_status(struct fetch *f);
/* Takes fields that only this client may have out of the head to be stored; the request keeps them.
 * RC_LIMIT: no room for that. */
MUST_USE enum rc rfc9111__withhold(struct fetch *f, struct http *stored);
/* Gives them to this client. */
MUST_USE enum rc rfc9111__give_back(const struct request *req, struct http *resp);

/* After the head of an answer that is passed on: invalidates what it makes doubtful (section 4.4),
 * and renews or invalidates what it describes (4.3.5).  Yields. */
YIELDS void rfc9111__passed(struct request *req, const struct fetch *f);

/* ---- HEAD (rfc9111_head.c) ---- */

/* The head of an answer that is passed on, as it came: if it is one to a HEAD it is remembered. */
void rfc9111__note_head(struct fetch *f);
/* Yields. */
YIELDS void rfc9111__compare_head(struct request *req, const struct fetch *f);

/* obj_match_fn: Vary, in the form that RFC 9111 allows. */
bool rfc9111__match(void *request, const struct objcore *oc);

#endif
