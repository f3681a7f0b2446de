/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of a fetch share:
 *
 *   fetch.c        its life, its request, one exchange with a backend
 *   fetch_steps.c  the states: ask the policy, exchange, retry, error
 *   fetch_cond.c   conditional fetches
 *   fetch_body.c   the body, wherever it comes from, and storing it */
#ifndef ENGINE_FETCH_PRIV_H
#define ENGINE_FETCH_PRIV_H

#include "engine/policy.h"

/* ---- fetch.c ---- */

/* The log begins, and what the policy has of the fetch. */
void fetch__begin(struct fetch *f);
void fetch__stamp(struct fetch *f, struct str label);
/* Sends bereq and reads the answer's head into beresp, on whatever connection.  Yields. */
YIELDS MUST_USE enum rc fetch__exchange(struct fetch *f);
void fetch__drop_connection(struct fetch *f, bool reusable);
/* Both sides keep the connection, and nothing of this answer is left in it. */
bool fetch__is_conn_clean(const struct fetch *f);
/* Its body, if it has one, can still be sent from the beginning. */
bool fetch__may_send_again(const struct fetch *f);
/* X-Varnish says which transaction it is.  RC_LIMIT. */
MUST_USE enum rc fetch__set_xid(struct fetch *f);

/* ---- fetch_steps.c ---- */

/* No fetch: f->beresp says that f->old is still the current response, and gets the place of a 304
 * that was merged.  RC_OK: it can be published and stored.  RC_REFUSED: it may not be stored any
 * more; RC_LIMIT, RC_DAMAGED, RC_CANCELLED (the policy's wish): let it be.  Yields. */
YIELDS MUST_USE enum rc fetch__renew(struct fetch *f);

/* ---- fetch_cond.c ---- */

/* Makes the request conditional, if there is what can be renewed.  RC_LIMIT. */
MUST_USE enum rc fetch__ask_conditionally(struct fetch *f);
/* A 304 to such a request becomes the response that it renews.  RC_LIMIT. */
MUST_USE enum rc fetch__merge_304(struct fetch *f);
/* What an earlier worker left is checked before its body is used.  RC_DAMAGED.  Yields. */
YIELDS MUST_USE enum rc fetch__check_old(struct fetch *f);
YIELDS MUST_USE enum rc fetch__old_body(struct fetch *f, void *dst, size_t bytes, size_t *got);

/* ---- fetch_body.c ---- */

/* The whole body into the busy core, which nobody sees yet.  Yields. */
YIELDS MUST_USE enum rc fetch__store_hidden(struct fetch *f);

#endif
