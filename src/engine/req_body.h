/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The body of a request, as it comes or kept.
 *
 * Usually a body goes from client to backend through one buffer and is gone: it can be sent once.
 * Kept, it may be sent any number of times, for retries and restarts. */
#ifndef ENGINE_REQ_BODY_H
#define ENGINE_REQ_BODY_H

#include "engine/engine.h"

/* Reads the whole body and keeps it until the request ends; its length is known then, and
 * Content-Length says so.  Nothing happens when it is kept already or there is none.
 * RC_LIMIT: it is longer than max_bytes; it is lost then, as after RC_MALFORMED and what sock_read
 * returns.  RC_INVALID: some of it went to a backend already.  A lost body cannot be sent, and in
 * vcl_recv it ends the connection.  Yields. */
YIELDS MUST_USE enum rc req_body_keep(struct request *req, uint64_t max_bytes);
bool req_body_is_kept(const struct request *req);

/* ---- for those who send it ---- */

/* Where a sender is; zero-initialise for each sending. */
struct req_body_at {
    uint64_t off; /* of a kept body */
};
/* The next bytes: *ptr is a borrow until the next call, of buf or of what is kept.  RC_EOF at the
 * end; RC_INVALID when it is lost, or was sent once and not kept; else as transport->body.  Yields.
 */
YIELDS MUST_USE enum rc req_body_next(struct request *req, struct req_body_at *at, char *buf,
                                      size_t cap, char **ptr, size_t *got);
/* Whether sending it from the beginning is still possible. */
bool req_body_can_be_sent(const struct request *req);

/* At the end of the request. */
void req_body_free(struct request *req);

#endif
