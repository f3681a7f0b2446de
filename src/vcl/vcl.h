/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* VCL, the policy language: compile a text, load it, run its subs.
 *
 *     text --vcl_compile--> struct vcl_program (immutable, counted) --vcl_load--> struct vcl (with
 *     backends and objects) --vcl_run--> a verdict, for each request and each of its subs
 *
 * A program and a VCL are shared by all loops; a struct vcl_task is one request's or fetch's. What
 * a request is, only the caller knows: the table struct vcl_host is how the language reaches it. */
#ifndef VCL_VCL_H
#define VCL_VCL_H

#include "base/arena.h"
#include "base/param.h"
#include "base/rng.h"
#include "base/series.h"
#include "filter/plan.h"
#include "http/http.h"
#include "objmapper/module.h"
#include "shm/vsl.h"

struct vcl_program;
struct vcl;
struct vcl_task;
struct vcl_backends;
struct vcl_priv;
struct regex_scratch;

enum vcl_sub {
#define SUB(lower, UPPER, side, returns) VCL_SUB_##UPPER,
#include "vcl/subs.def"
#undef SUB
    VCL_SUB__COUNT
};
enum vcl_return {
    VCL_RET_NONE,
#define RETURN(lower, UPPER) VCL_RET_##UPPER,
#include "vcl/subs.def"
#undef RETURN
    VCL_RET__COUNT
};
/* "backend_fetch", "deliver". */
const char *vcl_sub_name(unsigned sub);
const char *vcl_return_name(unsigned ret);

enum vcl_var {
#define VAR(name, id, type, read, set, unset, lo, hi) VCL_VAR_##id,
#define VAR_AGAIN(name, id, type, read, set, unset, lo, hi)
#include "vcl/vars.def"
#undef VAR
#undef VAR_AGAIN
    VCL_VAR__COUNT
};

enum vcl_prop {
#define PROPERTY(type, name, result, is_function, id) VCL_PROP_##id,
#include "vcl/properties.def"
#undef PROPERTY
};

/* ---- compiling ---- */

struct vcl_conf {
    const char *vcl_path;      /* folders, by colons; NULL: where we are */
    const char *module_path;   /* alike */
    bool unsafe_path;          /* names of files may have slashes */
    bool allow_unused;         /* what is defined and not used is a warning */
    bool is_interpreted;       /* regular expressions do not become machine code */
    const char *const *stores; /* names for storage.NAME, NULL-terminated; may be NULL */
    const char *const *labels; /* for return(vcl(NAME)), alike */
    /* What files have in them, by their names, instead of the disk: text, then STR_NONE. */
    const struct vcl_file {
        struct str name;
        struct str text;
    } * files;
};

/* Compiles `text`, or the file `name` when it is NULL.  Resolves names of hosts: blocks, and wants
 * a stack of its own size (no fiber).  *messages (the caller frees): errors, or warnings, or empty.
 * RC_INVALID: does not compile; *out is NULL then.  The caller owns *out: one reference. */
MUST_USE enum rc vcl_compile(const struct vcl_conf *conf, const char *name, const struct str *text,
                             struct vcl_program **out, char **messages);
struct vcl_program *vcl_program_ref(struct vcl_program *prog);
void vcl_program_release(struct vcl_program **prog);
/* The n-th source but the built-in one; false behind the last.  The text borrows from prog. */
bool vcl_program_source(const struct vcl_program *prog, unsigned n, struct str *name,
                        struct str *text);
/* The n-th label that it returns to; NULL behind the last. */
const char *vcl_program_label(const struct vcl_program *prog, unsigned n);
/* The built-in VCL's text. */
const char *vcl_builtin(void);

/* ---- backends as VCL declares them ---- */

struct vcl_probe {
    const char *name; /* NULL: has none */
    const char *url;
    const char *request; /* with line ends; NULL: made of the url */
    double timeout;      /* seconds; negative: not given, as below */
    double interval;
    int window;
    int threshold;
    int initial;
    int expected; /* status */
};

struct vcl_backend_decl {
    const char *name;
    bool is_none;
    const char *host;
    const char *port;
    const char *path;
    const char *host_header;
    double connect_timeout; /* seconds; negative: not given */
    double first_byte_timeout;
    double between_bytes_timeout;
    unsigned max_connections;
    unsigned proxy_header;
    struct str preamble;
    const struct vcl_probe *probe;
};

/* ---- loading ---- */

/* Who keeps backends: the engine. */
struct vcl_env {
    /* Makes what the declaration says.  NULL: *why (static) says why not.  Blocks. */
    void *(*backend_new)(void *arg, const char *vcl, const struct vcl_backend_decl *decl,
                         const char **why);
    void (*backend_free)(void *arg, void *take_leaf);
    /* Warm: probes run; cold: they do not, and idle connections are closed. */
    void (*backend_warm)(void *arg, void *leaf, bool is_warm);
    bool (*backend_healthy)(void *arg, void *leaf, double *changed);
    /* The label, referenced, whatever it points at when it is used; NULL: there is none. */
    void *(*label)(void *arg, const char *name);
    void (*unlabel)(void *arg, void *label);
    void *arg;
    struct arena *ws; /* for vcl_init and vcl_fini */
    struct regex_scratch *scratch;
    struct rng *rng;
    struct series *series;       /* as in struct vcl_task */
    const struct vcl_host *host; /* its get, store, ban: for vcl_init and vcl_fini */
    struct vsl *log;             /* records of no task; NULL: none */
};

/* Makes backends and objects, runs vcl_init.  Takes a reference of its own to prog.  RC_INVALID:
 * it failed; *messages (the caller frees) says why.  On the main thread, not on a fiber. */
MUST_USE enum rc vcl_load(struct vcl_program *prog, const char *name, const struct vcl_env *env,
                          struct vcl **out, char **messages);
/* Runs vcl_fini, frees all; nobody may use it any more. */
void vcl_unload(struct vcl **vcl);
/* Warm or cold: modules and probes are told.  RC_INVALID: a module refuses. */
MUST_USE enum rc vcl_set_warm(struct vcl *vcl, bool is_warm, char **messages);

const char *vcl_name(const struct vcl *vcl);
const struct vcl_program *vcl_program_of(const struct vcl *vcl);
const struct objm_backend *vcl_default_backend(const struct vcl *vcl);
/* All backends and directors. */
struct vcl_backends *vcl_backends_of(const struct vcl *vcl);

/* ---- running ---- */

/* What modules ask for, now and then. */
enum vcl_misc { VCL_MISC_LATE_100, VCL_MISC_TOS };

/* The client's connection, as modules ask for it. */
struct vcl_client {
    struct str proxy_tlvs; /* what a proxy added (http/proxy.h); STR_NONE: nothing */
    bool is_unix;          /* by a Unix socket ... */
    bool has_ids;          /* ... whose peer is known: */
    uint32_t uid;
    uint32_t gid;
};

/* How the language reaches a request or fetch; each gets the task, whose `arg` is the caller's.
 * What is not there in a sub is never asked for: the compiler sees to that. */
struct vcl_host {
    /* The message; NULL when there is none now. */
    struct http *(*http)(struct vcl_task *task, enum objm_http which);
    /* Every variable but those of first lines and fields.  False: failed (vcl_fail was called). */
    bool (*get)(struct vcl_task *task, enum vcl_var var, union objm_value *value);
    bool (*set)(struct vcl_task *task, enum vcl_var var, const union objm_value *value);
    void (*unset)(struct vcl_task *task, enum vcl_var var);
    /* resp.body, beresp.body; the text lives in the workspace. */
    bool (*body)(struct vcl_task *task, enum vcl_var var, struct str text, bool is_more);
    void (*hash_data)(struct vcl_task *task, struct str text);
    /* False: *error says why. */
    bool (*ban)(struct vcl_task *task, struct str spec, struct str *error);
    YIELDS int64_t (*purge)(struct vcl_task *task, double ttl, double grace, double keep);
    bool (*rollback)(struct vcl_task *task, enum objm_http which);
    YIELDS bool (*cache_req_body)(struct vcl_task *task, int64_t bytes);
    void (*misc)(struct vcl_task *task, enum vcl_misc what, int64_t value);
    void (*timestamp)(struct vcl_task *task, struct str label);
    bool (*digest)(struct vcl_task *task, uint8_t digest[32]);
    /* NULL: there is no such storage. */
    const struct objm_stevedore *(*store)(struct vcl_task *task, const char *name);
    void (*store_property)(struct vcl_task *task, const struct objm_stevedore *store,
                           enum vcl_prop which, union objm_value *value);
    struct arena *(*workspace)(struct vcl_task *task, enum objm_ws which);
    /* add_vfp() and the like: the body that is fetched or delivered is to go through it, or not.
     * False: too many. */
    bool (*add_filter)(struct vcl_task *task, enum filter_side side, const struct plan_want *want);
    bool (*remove_filter)(struct vcl_task *task, enum filter_side side, struct str name);
    /* NULL: there is no client. */
    void (*client)(struct vcl_task *task, struct vcl_client *out);
};

/* One request's or fetch's VCL.  Zero it, set the first part, keep it as long as it lives. */
struct vcl_task {
    struct objm_ctx ctx; /* ctx.now: seconds; the rest is set here */
    const struct vcl_host *host;
    void *arg;
    struct http *req; /* what host->http says is OBJM_REQ; NULL: it has to be asked */
    struct vcl *vcl;
    struct arena *ws;
    struct vslb *log;              /* NULL: nothing is logged */
    struct regex_scratch *scratch; /* the thread's */
    struct rng *rng;               /* alike */
    struct series *series;         /* takes its place once it is on; may be NULL */
    struct vcl_task *top;          /* of all sub-requests; NULL: this one */
    struct vcl_priv *privs;        /* what modules keep; vcl_task_end ends it */
    /* What the last run said, beside its verdict. */
    bool failed;
    int64_t status;     /* synth, error */
    struct str reason;  /* alike; NULL: the usual one */
    double pass_s;      /* backend_response's pass(duration); negative: none given */
    void *chosen;       /* return (vcl(...)): the label, as vcl_env gave it */
    struct str message; /* why it failed, first of all */
};

/* Runs a method.  VCL_RET_FAIL: it failed, for whatever reason, which is logged.  Yields when a
 * module does. */
YIELDS enum vcl_return vcl_run(struct vcl_task *task, enum vcl_sub sub);
/* The task's VCL fails; the first reason counts. */
void vcl_fail(struct vcl_task *task, struct str why);
/* Whether the VCL, or one that it hands requests to, has calls through which a message may be asked
 * to become again what it was at first. */
bool vcl_may_roll_back(const struct vcl *vcl);
/* Alike, whether it may have a response parsed for ESI. */
bool vcl_may_esi(const struct vcl *vcl);
/* After the task's last run. */
void vcl_task_end(struct vcl_task *task);

#endif
