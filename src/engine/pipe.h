/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Pipes; within the engine only. */
#ifndef ENGINE_PIPE_H
#define ENGINE_PIPE_H

#include "engine/engine_priv.h"

/* Connects the client with a backend until both have ended; req->was_piped says that no response
 * of ours was sent and that the connection is used up, whatever is returned.  Otherwise (a limit,
 * no memory) it was answered.  Yields. */
YIELDS MUST_USE enum rc pipe__serve(struct engine *engine, struct request *req);

#endif
