/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The API for modules of VCL: what `import` brings.
 *
 * A module is one constant table (struct objm_module) of functions and objects.  The compiler
 * checks calls against it, the virtual machine calls what it points at, and the reference page is
 * printed from it.  Built-in modules and those in .so files are made of the same table; a .so file
 * ends with
 *
 *     OBJM_EXPORT(example);           where `const struct objm_module example = { ... };`
 *
 * and has no undefined symbols of the daemon: all that a module can do to a request it does by the
 * inline functions at the end of this header, which call through its context.
 *
 * Rules.  A function runs on a fiber of the loop that serves the request, so it must not block;
 * objm_offload() runs what blocks elsewhere.  Its stack is small (keep buffers in the workspace).
 * Many loops call the same function at the same time: what is not the task's (PRIV_TASK, PRIV_TOP,
 * workspace) needs atomics or a lock that is held for moments.  Text is pointer and length,
 * borrowed until the task ends unless said otherwise; a NULL pointer is "unset", which is not
 * "empty". */
#ifndef OBJMAPPER_MODULE_H
#define OBJMAPPER_MODULE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A module is loaded when its major number is the daemon's and its minor number not higher. */
#define OBJM_ABI_MAJOR 1
#define OBJM_ABI_MINOR 1

/* ---- types and values ---- */

enum objm_type {
    OBJM_VOID,
    OBJM_BOOL,
    OBJM_INT,
    OBJM_REAL,
    OBJM_BYTES,
    OBJM_DURATION,
    OBJM_TIME,
    OBJM_STRING,
    OBJM_STRANDS,
    OBJM_BLOB,
    OBJM_ENUM,
    OBJM_IP,
    OBJM_ACL,
    OBJM_BACKEND,
    OBJM_PROBE,
    OBJM_HEADER,
    OBJM_HTTP,
    OBJM_STEVEDORE,
    OBJM_SUB,
    OBJM_REGEX,
    OBJM_VFP,      /* since 1.1 */
    OBJM_VDP,      /* since 1.1 */
    OBJM_INSTANCE, /* an object made by `new`; only the compiler knows it */
    OBJM_TYPE__COUNT
};

struct objm_str {
    const char *ptr; /* not NUL-terminated; NULL: unset */
    size_t len;
};

/* A literal. */
#define OBJM_STR(lit) ((struct objm_str){"" lit, sizeof(lit) - 1})

struct objm_strands {
    const struct objm_str *part;
    size_t count;
};

struct objm_blob {
    const void *ptr; /* NULL: no blob */
    size_t len;
};

struct objm_ip {
    uint8_t family; /* 4, 6; 0: no address, as that of a Unix socket */
    uint16_t port;
    uint8_t addr[16]; /* network order; the first four bytes of an IPv4 address */
};

/* Which message a HEADER or HTTP means. */
enum objm_http {
    OBJM_REQ,
    OBJM_REQ_TOP,
    OBJM_BEREQ,
    OBJM_BERESP,
    OBJM_OBJ,
    OBJM_RESP,
    OBJM_HTTP__COUNT
};

struct objm_header {
    enum objm_http http;
    struct objm_str name; /* without the colon */
};

/* Of the daemon; modules hold pointers to them and never look inside. */
struct objm_acl;
struct objm_backend;
struct objm_probe;
struct objm_stevedore;
struct objm_sub;
struct objm_regex;

/* A filter, and what it is told: a VFP or VDP (see below). */
struct objm_candidate;

/* One value; its type is known from the table. */
union objm_value {
    bool boolean;
    int64_t integer; /* INT, BYTES */
    double real;     /* REAL; DURATION and TIME in seconds */
    struct objm_str string;
    struct objm_strands strands;
    struct objm_blob blob;
    unsigned choice; /* ENUM: index into objm_arg.values */
    const struct objm_ip *ip;
    const struct objm_acl *acl;
    const struct objm_backend *backend;
    const struct objm_probe *probe;
    const struct objm_header *header;
    enum objm_http http;
    const struct objm_stevedore *stevedore;
    const struct objm_sub *sub;
    const struct objm_regex *regex;
    const struct objm_candidate *filter;
    void *instance;
};

/* ---- the table ---- */

/* Subs, as bits: where a function may be called. */
enum objm_where {
    OBJM_IN_RECV = 1 << 0,
    OBJM_IN_PIPE = 1 << 1,
    OBJM_IN_PASS = 1 << 2,
    OBJM_IN_HASH = 1 << 3,
    OBJM_IN_PURGE = 1 << 4,
    OBJM_IN_MISS = 1 << 5,
    OBJM_IN_HIT = 1 << 6,
    OBJM_IN_DELIVER = 1 << 7,
    OBJM_IN_SYNTH = 1 << 8,
    OBJM_IN_BACKEND_FETCH = 1 << 9,
    OBJM_IN_BACKEND_RESPONSE = 1 << 10,
    OBJM_IN_BACKEND_ERROR = 1 << 11,
    OBJM_IN_INIT = 1 << 12,
    OBJM_IN_FINI = 1 << 13,
    OBJM_IN_CLIENT = (1 << 9) - 1,
    OBJM_IN_BACKEND = 7 << 9,
    OBJM_IN_HOUSE = 3 << 12
};

struct objm_arg {
    enum objm_type type;
    const char *name;   /* NULL: has none, and cannot be given by name */
    const char *def;    /* what stands for it when it is not given, as it would stand in VCL: "10s",
                           "true", "\", \"" (a string with its quotes), "HASH"; "0" for a type that
                           has no constants: nothing.  NULL: none */
    bool is_optional;   /* may be missing without a default: see objm_given() */
    const char *values; /* ENUM: the values with a blank between them */
};

struct objm_ctx;
struct objm_call;

/* Does the work: arguments in call->arg, the result to call->ret (all zero before).  A function
 * that failed calls objm_fail() and returns; its result is then ignored. */
typedef void objm_fn(struct objm_ctx *ctx, struct objm_call *call);

struct objm_func {
    const char *name;
    enum objm_type ret;
    objm_fn *fn;
    const struct objm_arg *args;
    unsigned arg_count; /* at most 32 */
    unsigned where;     /* OBJM_IN_ bits; 0: everywhere */
    bool has_priv_call; /* wants call->priv_call */
    const char *doc;    /* for the reference page: sentences, paragraphs divided by empty lines */
};

/* Parts of initialisers:
 *     static const struct objm_arg args[] = {{OBJM_ARG(STRING, "s")}, {OBJM_ARG(INT, "n"), .def =
 * "1"}};
 *     {.name = "f", .ret = OBJM_STRING, .fn = f, OBJM_ARGS(args), .doc = "..."} */
#define OBJM_ARG(type_, name_) .type = OBJM_##type_, .name = name_
#define OBJM_ARGS(table) .args = (table), .arg_count = sizeof(table) / sizeof((table)[0])

struct objm_object {
    const char *name;
    struct objm_func init; /* sets call->self; its name is not used */
    /* After the last task of the VCL. */
    void (*fini)(struct objm_ctx *ctx, void *self);
    const struct objm_func *methods; /* get it as call->self */
    unsigned method_count;
    const char *doc;
};

/* ---- filters of bodies (since 1.1) ----
 *
 * A filter is written (in)name(out): it takes a body in one of the formats `in` and makes one in
 * `out`.  add_vfp() and add_vdp() of VCL say that one is wanted, the planner finds its place
 * between others, and puts built-in filters where formats do not match (docs/filters.md). */

/* Where in the chain it is to be when VCL does not say; FETCH and STEVEDORE are OBJECT and CLIENT
 * on the way to the client. */
enum objm_filter_pos {
    OBJM_POS_DEFAULT, /* LAST */
    OBJM_POS_FRONT,
    OBJM_POS_MIDDLE,
    OBJM_POS_LAST,
    OBJM_POS_FETCH,
    OBJM_POS_STEVEDORE
};

enum objm_filter_flag {
    OBJM_FILTER_IS_VFP = 1 << 0,       /* may be used while an object is fetched, ... */
    OBJM_FILTER_IS_VDP = 1 << 1,       /* ... while it is delivered */
    OBJM_FILTER_FILLS = 1 << 2,        /* may fill gaps: it is there for the format alone */
    OBJM_FILTER_KEEPS_BYTES = 1 << 3,  /* looks, and changes nothing: ETag and length stay */
    OBJM_FILTER_KEEPS_FORMAT = 1 << 4, /* makes what it was given, where `out` lists that */
    OBJM_FILTER_VARIES_AE = 1 << 5,    /* Vary gets Accept-Encoding */
    OBJM_FILTER_NO_STREAM = 1 << 6     /* nobody may see the body before it is whole */
};

enum objm_filter_rc {
    OBJM_FILTER_OK,     /* wants more input, or more room */
    OBJM_FILTER_END,    /* all is made */
    OBJM_FILTER_BROKEN, /* the body is not what it should be */
    OBJM_FILTER_LIMIT   /* it would take too much */
};

/* What a filter is begun with. */
struct objm_filter_env {
    const void *arg;    /* the candidate's */
    size_t body_len;    /* SIZE_MAX: not known */
    char *error;        /* why it failed, for the log: text with a NUL, ... */
    size_t error_bytes; /* ... in this many bytes, which stay until `end` */
};

/* One step's input and output; the filter advances all of it. */
struct objm_filter_io {
    const char *in;
    size_t in_len;
    bool is_end; /* nothing comes after `in` */
    char *out;
    size_t room;
};

/* Constant.  The functions run on the fiber that has the body, must not block and cannot suspend.
 */
struct objm_filter {
    const char *name; /* letters, digits, '_', '-' */
    const char *in;   /* "text,plain,none"; "*": any */
    const char *out;  /* the first is taken, unless the body came by another of these names */
    enum objm_filter_pos recommended;
    unsigned flags;
    size_t bytes; /* of its state, which is zeroed before `begin` */
    enum objm_filter_rc (*begin)(void *self, const struct objm_filter_env *env); /* may be NULL */
    /* Takes some, makes some.  At is_end, when all is taken and there is room left, it must say
     * END: that all is made, or a failure. */
    enum objm_filter_rc (*step)(void *self, struct objm_filter_io *io);
    void (*end)(void *self); /* also after a failure; may be NULL */
    const char *doc;
};

/* What a function of type VFP or VDP returns: use objm_candidate(). */
struct objm_candidate {
    const struct objm_filter *filter; /* of the table of a module that the VCL imports; NULL: */
    const char *builtin;              /* the built-in filter of this name */
    const void *arg;                  /* for `begin`; built-in ones have none */
};

/* What a module keeps. */
struct objm_priv {
    void *ptr;
    size_t len;
    void (*fini)(void *ptr); /* called with ptr, when both are set, at the end of its scope */
};

enum objm_event { OBJM_EVENT_LOAD, OBJM_EVENT_WARM, OBJM_EVENT_COLD, OBJM_EVENT_DISCARD };

/* Called for each VCL that imports the module.  A call of objm_fail() in LOAD or WARM fails the
 * command that caused it. */
typedef void objm_event_fn(struct objm_ctx *ctx, struct objm_priv *priv_vcl, enum objm_event event);

struct objm_module {
    uint32_t abi_major; /* OBJM_ABI_MAJOR, */
    uint32_t abi_minor; /* OBJM_ABI_MINOR of the header it was built with */
    const char *name;
    const char *title; /* "Standard Module" */
    const char *doc;
    const struct objm_func *funcs;
    unsigned func_count;
    const struct objm_object *objects;
    unsigned object_count;
    objm_event_fn *event; /* NULL: wants none */
    /* Since 1.1: what is not there in a table of an older version is not read. */
    const struct objm_filter *const *filters;
    unsigned filter_count;
};

#define OBJM_ABI .abi_major = OBJM_ABI_MAJOR, .abi_minor = OBJM_ABI_MINOR
#define OBJM_FUNCS(table) .funcs = (table), .func_count = sizeof(table) / sizeof((table)[0])
#define OBJM_OBJECTS(table) .objects = (table), .object_count = sizeof(table) / sizeof((table)[0])
#define OBJM_FILTERS(table) .filters = (table), .filter_count = sizeof(table) / sizeof((table)[0])
#define OBJM_METHODS(table) .methods = (table), .method_count = sizeof(table) / sizeof((table)[0])

/* One call.  arg[n] belongs to args[n] of the table; arg[n] of an optional one that was not given
 * is all zero. */
struct objm_call {
    const struct objm_func *func;
    const union objm_value *arg;
    uint32_t given; /* bit n: arg[n] was given, or has a default */
    union objm_value ret;
    void *self;                  /* methods: the object; `init` sets it */
    const char *instance;        /* the object's name in VCL */
    struct objm_priv *priv_vcl;  /* one for this module in this VCL */
    struct objm_priv *priv_call; /* one for this place in the text; shared by all loops */
};

static inline bool objm_given(const struct objm_call *call, unsigned n)
{
    return (call->given >> n & 1) != 0;
}

/* ---- how a .so file is found out before any of its code runs ---- */

/* An ELF note: the daemon reads it from the file, and refuses the file without opening it. */
struct objm_note {
    uint32_t name_bytes;
    uint32_t desc_bytes;
    uint32_t type;
    char name[12];
    uint32_t abi_major;
    uint32_t abi_minor;
};
#define OBJM_NOTE_NAME "objmapper"
#define OBJM_NOTE_TYPE 1
#define OBJM_ENTRY "objm_module_entry"

#define OBJM_EXPORT(table)                                                                         \
    __attribute__((section(".note.objmapper"), used,                                               \
                   aligned(4))) static const struct objm_note objm_module_note = {                 \
        10, 8, OBJM_NOTE_TYPE, OBJM_NOTE_NAME, OBJM_ABI_MAJOR, OBJM_ABI_MINOR};                    \
    extern __attribute__((visibility("default")))                                                  \
    const struct objm_module *const objm_module_entry;                                             \
    const struct objm_module *const objm_module_entry = &(table)

/* ---- what a module can do ---- */

enum objm_log {
    OBJM_LOG_VCL,
    OBJM_LOG_VCL_ERROR,
    OBJM_LOG_ERROR,
    OBJM_LOG_NOTICE,
    OBJM_LOG_DEBUG,
    OBJM_LOG_DEBUG_ALONE /* of no transaction, whoever writes it */
};
enum objm_scope { OBJM_PRIV_TASK, OBJM_PRIV_TOP };
enum objm_line { OBJM_METHOD, OBJM_URL, OBJM_PROTO, OBJM_STATUS, OBJM_REASON };
enum objm_ws { OBJM_WS_CLIENT, OBJM_WS_BACKEND, OBJM_WS_SESSION, OBJM_WS_THREAD };

/* Receives pieces of text, for a director's part of backend.list. */
typedef void objm_out_fn(void *out_arg, struct objm_str text);

/* A director: what a BACKEND can be beside a backend.  All functions run on any loop at any time;
 * ctx is NULL where a command asks. */
struct objm_director {
    const char *type; /* "round-robin" */
    /* The backend (or next director) to use; NULL: none.  Must not suspend. */
    const struct objm_backend *(*resolve)(struct objm_ctx *ctx, void *arg);
    /* *changed: when that last changed (seconds); may be NULL. */
    bool (*is_healthy)(struct objm_ctx *ctx, void *arg, double *changed);
    /* How many of how many are healthy, for backend.list. */
    void (*count)(void *arg, unsigned *healthy, unsigned *total);
    /* The members, for backend.list -p; may be NULL. */
    void (*list)(void *arg, bool is_json, objm_out_fn *out, void *out_arg);
};

/* The daemon's side of a context: use the functions below it.  It only ever grows at its end; what
 * `bytes` does not reach is not there. */
struct objm_ops {
    size_t bytes;
    void *(*alloc)(struct objm_ctx *, size_t bytes);
    void (*task_fail)(struct objm_ctx *, struct objm_str why);
    void (*log)(struct objm_ctx *, enum objm_log, struct objm_str text);
    struct objm_priv *(*priv)(struct objm_ctx *, enum objm_scope, const void *key);
    void (*offload)(struct objm_ctx *, void (*fn)(void *), void *arg);
    void (*sleep)(struct objm_ctx *, double seconds);
    double (*random)(struct objm_ctx *);

    bool (*http_has)(struct objm_ctx *, enum objm_http);
    struct objm_str (*http_get)(struct objm_ctx *, enum objm_http, struct objm_str name);
    bool (*http_nth)(struct objm_ctx *, enum objm_http, unsigned n, struct objm_str *name,
                     struct objm_str *value);
    bool (*http_set)(struct objm_ctx *, enum objm_http, struct objm_str name,
                     struct objm_str value);
    bool (*http_add)(struct objm_ctx *, enum objm_http, struct objm_str name,
                     struct objm_str value);
    void (*http_unset)(struct objm_ctx *, enum objm_http, struct objm_str name);
    struct objm_str (*http_line)(struct objm_ctx *, enum objm_http, enum objm_line);
    bool (*http_rollback)(struct objm_ctx *, enum objm_http);
    bool (*digest)(struct objm_ctx *, uint8_t digest[32]);

    bool (*ban)(struct objm_ctx *, struct objm_str spec, struct objm_str *error);
    int64_t (*purge)(struct objm_ctx *, double ttl, double grace, double keep);
    bool (*cache_req_body)(struct objm_ctx *, int64_t bytes);
    void (*late_100_continue)(struct objm_ctx *, bool is_late);
    void (*set_ip_tos)(struct objm_ctx *, int tos);
    void (*timestamp)(struct objm_ctx *, struct objm_str label);

    struct objm_str (*backend_name)(struct objm_ctx *, const struct objm_backend *);
    bool (*backend_healthy)(struct objm_ctx *, const struct objm_backend *, double *changed);
    const struct objm_backend *(*backend_resolve)(struct objm_ctx *, const struct objm_backend *);
    const struct objm_backend *(*backend_find)(struct objm_ctx *, struct objm_str name);
    struct objm_backend *(*director_new)(struct objm_ctx *, const struct objm_director *,
                                         const char *name, void *arg);
    void (*director_free)(struct objm_ctx *, struct objm_backend *);

    bool (*acl_match)(struct objm_ctx *, const struct objm_acl *, const struct objm_ip *);
    bool (*regex_match)(struct objm_ctx *, const struct objm_regex *, struct objm_str subject);
    struct objm_str (*regsub)(struct objm_ctx *, const struct objm_regex *, bool all,
                              struct objm_str subject, struct objm_str replacement);
    struct objm_str (*to_string)(struct objm_ctx *, enum objm_type, const union objm_value *);

    size_t (*ws_free)(struct objm_ctx *, enum objm_ws);
    void *(*ws_alloc)(struct objm_ctx *, enum objm_ws, size_t bytes);
    size_t (*ws_mark)(struct objm_ctx *, enum objm_ws);
    void (*ws_rewind)(struct objm_ctx *, enum objm_ws, size_t mark);
    bool (*ws_overflowed)(struct objm_ctx *, enum objm_ws);
    void (*ws_overflow)(struct objm_ctx *, enum objm_ws);
};

struct objm_ctx {
    const struct objm_ops *ops;
    unsigned where;  /* the OBJM_IN_ bit of the sub that runs */
    unsigned syntax; /* 40 or 41: of this VCL */
    double now;      /* as `now` in VCL: real time, seconds */
};

#include "objmapper/module_inline.h"

#endif
