/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The VCLs of a worker, by name: loaded, in use, cold, discarded.  For the thread that talks with
 * the manager; nothing here Yields, but loading resolves names and so blocks. */
#ifndef ENGINE_VCLS_H
#define ENGINE_VCLS_H

#include "base/rc.h"
#include "base/str.h"

struct engine;
struct vcl_program;
struct policy;

/* *message (the caller frees): why not.  RC_EXISTS, RC_INVALID. */
MUST_USE enum rc engine_vcl_load(struct engine *engine, const char *name, struct vcl_program *prog,
                                 char **message);
/* Requests that begin from now on use it.  RC_NOT_FOUND; RC_INVALID: it cannot become warm. */
MUST_USE enum rc engine_vcl_use(struct engine *engine, const char *name, char **message);
/* Goes when the last request that uses it is done.  RC_NOT_FOUND. */
MUST_USE enum rc engine_vcl_discard(struct engine *engine, const char *name);
/* A name that requests can be sent to by return(vcl(label)); moves one that is there. */
MUST_USE enum rc engine_vcl_label(struct engine *engine, const char *label, const char *name);
/* "auto", "warm", "cold". */
MUST_USE enum rc engine_vcl_state(struct engine *engine, const char *name, struct str state,
                                  char **message);
/* Frees what was discarded and is not used any more.  From time to time. */
void engine_vcl_poll(struct engine *engine);
/* How many requests and fetches use it; its temperature. */
struct engine_vcl_row {
    const char *name;
    const char *target; /* of a label */
    uint32_t busy;
    bool is_warm;
    bool is_active;
};
void engine_vcl_each(struct engine *engine, void (*fn)(void *arg, const struct engine_vcl_row *row),
                     void *arg);

/* The policy of those who go by VCL. */
const struct policy *engine_vcl_policy(void);

/* The name of the one in use; "" for none. */
const char *engine_vcl_active(const struct engine *engine);
/* The names of labels, up to a NULL; `max`: how many `names` has room for. */
void engine_labels(struct engine *engine, const char **names, unsigned max);

/* Every backend and director of every VCL: "vcl.name", and what it is. */
struct objm_backend;
void engine_backends_each(struct engine *engine,
                          void (*fn)(void *arg, const char *vcl, struct objm_backend *backend),
                          void *arg);

#endif
