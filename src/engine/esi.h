/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Delivery of ESI documents: a stored body, with other resources in it that sub-requests get.
 *
 *   esi.c        a document: walks its program, starts what it includes, puts all in order
 *   esi_child.c  one include: a request of its own, on a fiber of its own
 *   esi_gzip.c   pieces of gzip bodies behind each other */
#ifndef ENGINE_ESI_H
#define ENGINE_ESI_H

#include "engine/engine_priv.h"

/* Where the bytes of a document go; they are borrowed.  Yields. */
typedef enum rc esi_sink_fn(void *arg, const void *ptr, size_t len);

/* What one include needs: its struct, and workspace as a client's request has it. */
size_t esi__child_bytes(const struct params *params);
/* All of it, in order, into the sink; req->oc is the document.  Its head has gone out.  RC_OK; what
 * the sink returned, or why the body broke off: then the client must be cut off.  Yields. */
YIELDS MUST_USE enum rc esi__deliver(struct request *req, esi_sink_fn *sink, void *arg);

/* The request is an include's, and wants something that those before it may have: waits until it is
 * its turn, when nothing is before it.  False: it is no include, it is its turn already, or nobody
 * wants it any more.  Yields. */
YIELDS bool esi__await_turn(const struct request *req);

#endif
