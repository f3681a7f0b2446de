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

struct engine_vcl_load {
    const char *name;
    struct vcl_program *prog; /* referenced, if it is loaded */
    struct str state;         /* "auto", "warm", "cold" */
    bool is_warm;             /* at once */
};
/* *message (the caller frees): why not.  RC_EXISTS, RC_INVALID. */
MUST_USE enum rc engine_vcl_load(struct engine *engine, const struct engine_vcl_load *what,
                                 char **message);
/* Requests that begin from now on use this VCL, or what this label points at when they begin.
 * RC_NOT_FOUND; RC_INVALID: it cannot become warm. */
MUST_USE enum rc engine_vcl_use(struct engine *engine, const char *name, char **message);
/* The name is free at once; what had it goes when the last request that uses it is done, and the
 * last VCL that returns to it.  Without one in use, requests are answered 503.  RC_NOT_FOUND. */
MUST_USE enum rc engine_vcl_discard(struct engine *engine, const char *name);
/* A name that requests can be sent to by return(vcl(label)); moves one that is there, for all that
 * know it.  RC_NOT_FOUND; RC_INVALID: the VCL cannot become warm. */
MUST_USE enum rc engine_vcl_label(struct engine *engine, const char *name, const char *to,
                                  char **message);
/* "auto", "warm", "cold"; cold when the last request has left. */
MUST_USE enum rc engine_vcl_state(struct engine *engine, const char *name, struct str state,
                                  char **message);
/* Frees what was discarded and is not used any more, cools what is due, and counts.  From time to
 * time. */
void engine_vcl_poll(struct engine *engine);
/* In order of loading; borrows until the call returns. */
struct engine_vcl_row {
    const char *name;
    const char *target;      /* of a label; NULL: it is none */
    const char *state;       /* "auto", "warm", "cold", "label" */
    const char *temperature; /* "warm", "cold"; "busy": cold when the last request has left */
    uint32_t busy;           /* requests and fetches that use it */
    unsigned labels;         /* that point at it; of a label: VCLs that return to it */
    bool is_active;
    bool is_discarded;
};
void engine_vcl_each(struct engine *engine, void (*fn)(void *arg, const struct engine_vcl_row *row),
                     void *arg);

/* The policy of those who go by VCL. */
const struct policy *engine_vcl_policy(void);

/* The VCL in use; NULL: none.  Stays until it is discarded or another is used. */
struct vcl;
const struct vcl *engine_vcl_in_use(const struct engine *engine);
/* The name of the VCL in use; "" for none. */
const char *engine_vcl_active(const struct engine *engine);
/* The names of labels, up to a NULL: the caller frees the list, and borrows the names. */
const char **engine_labels(struct engine *engine);

/* Every backend and director of every VCL: "vcl.name", and what it is. */
struct objm_backend;
void engine_backends_each(struct engine *engine,
                          void (*fn)(void *arg, const char *vcl, struct objm_backend *backend),
                          void *arg);

#endif
