/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* VCL at work: the policy (policy.h) that workers run by.
 *
 * Each request has a struct req_task, each fetch a struct fetch_task: what VCL said, and the task
 * in which it runs.  A request pins the VCL that it began with; a fetch pins it again, as it may go
 * on without its client. */
#ifndef ENGINE_TASK_H
#define ENGINE_TASK_H

#include <math.h>

#include "engine/policy.h"
#include "vcl/director.h"
#include "regex/regex.h"
#include "vcl/value.h"
#include "vcl/vcl.h"

/* ---- VCLs (vcls.c) ---- */

/* A loaded VCL, and who uses it: each loop counts its own. */
struct loaded {
    uint32_t magic;
    struct list link;
    struct engine *engine;
    struct vcl *vcl;
    /* A label's: the VCL it points at; it has no vcl of its own then.  Moved by the main thread,
     * read by loops. */
    _Atomic(struct loaded *) target;
    char *name;
    bool is_warm;
    bool is_discarded;
    const char *state; /* "auto" (its temperature follows its use), "warm", "cold", "label" */
    uint64_t cools_ns; /* when it becomes cold; 0: not on the way */
    unsigned labels;   /* labels that point here; of a label: VCLs that return to it */
    struct vcl_env env;
    void *ws_mem;
    struct arena ws;
    struct loaded_use {
        _Alignas(64) _Atomic uint32_t busy;
    } use[];
};
#define LOADED_MAGIC 0x81d3f25bu

/* The one in use, pinned.  NULL: none is in use. */
struct loaded *vcls__pin(struct wrk *wrk);
/* The VCL that a label points at now, pinned. */
struct loaded *vcls__pin_label(struct loaded *label);
/* One more use of a pinned one, on the same loop. */
void vcls__pin_again(struct loaded *loaded);
/* Leaves NULL. */
void vcls__unpin(struct loaded **loaded);
/* After the last loop stopped. */
void vcls__end(struct engine *engine);

/* ---- requests (task.c, task_req.c) ---- */

/* req->policy_arg: NULL when there is no VCL in use, or no room. */
struct req_task {
    struct vcl_task task;
    struct request *req;
    struct engine *engine;
    struct loaded *loaded;
    struct loaded *first; /* what it began with, if that is another one */
    /* What VCL set. */
    const struct objm_backend *backend;
    const struct objm_stevedore *storage;
    struct str identity;
    double ttl_s; /* negative: not set */
    double grace_s;
    /* What came of it. */
    bool has_digest;
    bool has_switched;     /* to the VCL that its first one chose */
    struct str hashed;     /* what hash_data was given, with a NUL behind each piece */
    struct http *obj_http; /* unpacked when it is asked for */
    struct http *original; /* the request as it came */
    uint64_t t_resp_ns;
};

/* ---- fetches (task.c, task_fetch.c) ---- */

struct fetch_task {
    struct vcl_task task;
    struct fetch *fetch;
    struct loaded *loaded;
    const struct objm_backend *director; /* as VCL set it */
    const struct objm_backend *backend;  /* what it led to */
    const struct objm_stevedore *storage;
    const struct objm_stevedore *standard; /* that it is if VCL says nothing */
    double connect_s;                      /* negative: not set */
    double first_byte_s;
    double between_bytes_s;
    struct http *original; /* the request before VCL saw it */
    struct str identity;
    struct str client_addr, client_port, server_addr, server_port;
    struct str remote_addr, remote_port, local_addr, local_port;
    struct str listener;
    struct str endpoint;
    struct vcl_client client;
    uint32_t session_vxid;
    struct digest digest;
    uint64_t t_beresp_ns;
    bool is_hitmiss;
    bool is_hitpass;
};

/* ---- filters (task_filter.c) ---- */

bool task__add_filter(struct vcl_task *task, enum filter_side side, const struct plan_want *want);
bool task__remove_filter(struct vcl_task *task, enum filter_side side, struct str name);
/* For hosts without a body. */
bool task__no_add_filter(struct vcl_task *task, enum filter_side side,
                         const struct plan_want *want);
bool task__no_remove_filter(struct vcl_task *task, enum filter_side side, struct str name);

/* ---- tables and helpers ---- */

extern const struct vcl_env task__env; /* without what is each VCL's own */
extern const struct vcl_host task__client_host;
extern const struct vcl_host task__fetch_host;
extern const struct vcl_host task__house_host; /* vcl_init and vcl_fini; their arg is the loaded */

static inline struct req_task *req_of(struct vcl_task *task)
{
    return CONTAINER_OF(task, struct req_task, task);
}
static inline struct fetch_task *fetch_of(struct vcl_task *task)
{
    return CONTAINER_OF(task, struct fetch_task, task);
}

/* ---- what holds for every kind of task (task_value.c) ---- */

/* False: not one of the variables that all have. */
bool task__get(struct vcl_task *task, enum vcl_var var, union objm_value *value);
/* False, and VCL fails, without an original. */
bool task__rollback(struct vcl_task *task, struct http *to, const struct http *original);
bool task__set_body(struct synth_text *synth, struct str text, bool is_more);
bool task__ban(struct vcl_task *task, struct str spec, struct str *error);
struct arena *task__workspace(struct vcl_task *task, enum objm_ws which);
bool task__ip(struct vcl_task *task, struct str addr, struct str port, union objm_value *value);
bool task__number(struct vcl_task *task, uint64_t number, union objm_value *value);
const struct objm_stevedore *task__store(struct vcl_task *task, const char *name);
void task__store_property(struct vcl_task *task, const struct objm_stevedore *store,
                          enum vcl_prop which, union objm_value *value);
/* What holds for this fetch: VCL's word, or the declaration's at this offset; negative: neither. */
double task__timeout_s(const struct fetch_task *p, size_t declared, double said);
/* Borrows what it points at from the request. */
struct vcl_client task__client_of(const struct request *req);
/* For hosts without a request: nothing to hash, to purge, to keep or to switch. */
void task__no_hash(struct vcl_task *task, struct str text);
YIELDS int64_t task__no_purge(struct vcl_task *task, double ttl, double grace, double keep);
YIELDS bool task__no_req_body(struct vcl_task *task, int64_t bytes);
void task__no_misc(struct vcl_task *task, enum vcl_misc what, int64_t value);
double task__seconds(uint64_t ns);
uint64_t task__ns(double seconds);

#endif
