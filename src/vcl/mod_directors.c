/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The directors module's table. */
#include "vcl/mod_directors.h"

#include "vcl/mod.h"
#include "vcl/mod_shard.h"

static void lookup(struct objm_ctx *ctx, struct objm_call *call)
{
    if ((ctx->where & OBJM_IN_HOUSE) == 0) {
        objm_fail(ctx, OBJM_STR("lookup() may only be called from vcl_init / vcl_fini"));
        return;
    }
    call->ret.backend = objm_backend_find(ctx, call->arg[0].string);
}

#define ADD_DOC "Adds a backend or director to those it chooses from; at most 1024."
#define REMOVE_DOC "Removes it again; nothing happens when it is not there."
#define BACKEND_DOC "The director as a backend. The choice is made when a fetch needs a connection."

static const struct objm_arg string_args[] = {{OBJM_ARG(STRING, NULL)}};
static const struct objm_arg strands_args[] = {{OBJM_ARG(STRANDS, NULL)}};
static const struct objm_arg backend_args[] = {{OBJM_ARG(BACKEND, NULL)}};
static const struct objm_arg sticky_args[] = {{OBJM_ARG(BOOL, "sticky"), .def = "false"}};
static const struct objm_arg random_args[] = {{OBJM_ARG(BACKEND, NULL)}, {OBJM_ARG(REAL, NULL)}};
static const struct objm_arg hash_args[] = {{OBJM_ARG(BACKEND, NULL)},
                                            {OBJM_ARG(REAL, "weight"), .def = "1.0"}};

static const struct objm_func plain_methods[] = {
    {.name = "add_backend", .fn = vcl__dir_add, OBJM_ARGS(backend_args), .doc = ADD_DOC},
    {.name = "remove_backend", .fn = vcl__dir_remove, OBJM_ARGS(backend_args), .doc = REMOVE_DOC},
    {.name = "backend", .ret = OBJM_BACKEND, .fn = vcl__dir_backend, .doc = BACKEND_DOC},
};
static const struct objm_func random_methods[] = {
    {.name = "add_backend",
     .fn = vcl__dir_add_weighted,
     OBJM_ARGS(random_args),
     .doc = ADD_DOC " Its share is its weight by the sum of all weights of healthy ones."},
    {.name = "remove_backend", .fn = vcl__dir_remove, OBJM_ARGS(backend_args), .doc = REMOVE_DOC},
    {.name = "backend", .ret = OBJM_BACKEND, .fn = vcl__dir_backend, .doc = BACKEND_DOC},
};
static const struct objm_func hash_methods[] = {
    {.name = "add_backend",
     .fn = vcl__dir_add_weighted,
     OBJM_ARGS(hash_args),
     .doc = ADD_DOC " Its share is its weight by the sum of all weights of healthy ones."},
    {.name = "remove_backend", .fn = vcl__dir_remove, OBJM_ARGS(backend_args), .doc = REMOVE_DOC},
    {.name = "backend",
     .ret = OBJM_BACKEND,
     .fn = vcl__dir_hash_backend,
     OBJM_ARGS(strands_args),
     .doc = "The backend for this text: the same text leads to the same one, until one more "
            "becomes sick or healthy. It is chosen now."},
};

static const struct objm_arg warmup_args[] = {{OBJM_ARG(REAL, "probability"), .def = "0.0"}};
static const struct objm_arg rampup_args[] = {{OBJM_ARG(DURATION, "duration"), .def = "0s"}};
static const struct objm_arg associate_args[] = {{OBJM_ARG(BLOB, "param"), .def = "0"}};
static const struct objm_arg shard_add_args[] = {
    {OBJM_ARG(BACKEND, "backend")},
    {OBJM_ARG(STRING, "ident"), .is_optional = true},
    {OBJM_ARG(DURATION, "rampup"), .is_optional = true},
    {OBJM_ARG(REAL, "weight"), .is_optional = true},
};
static const struct objm_arg shard_remove_args[] = {
    {OBJM_ARG(BACKEND, "backend"), .is_optional = true},
    {OBJM_ARG(STRING, "ident"), .is_optional = true},
};
static const struct objm_arg replicas_args[] = {{OBJM_ARG(INT, "replicas"), .def = "67"}};
static const struct objm_arg debug_args[] = {{OBJM_ARG(INT, NULL)}};
/* .set() takes those without the last two; mod_shard.h numbers them. */
static const struct objm_arg shard_backend_args[] = {
    {OBJM_ARG(ENUM, "by"), .values = SHARD_BY_VALUES, .is_optional = true},
    {OBJM_ARG(INT, "key"), .is_optional = true},
    {OBJM_ARG(BLOB, "key_blob"), .is_optional = true},
    {OBJM_ARG(INT, "alt"), .is_optional = true},
    {OBJM_ARG(REAL, "warmup"), .is_optional = true},
    {OBJM_ARG(BOOL, "rampup"), .is_optional = true},
    {OBJM_ARG(ENUM, "healthy"), .values = SHARD_HEALTHY_VALUES, .is_optional = true},
    {OBJM_ARG(BLOB, "param"), .is_optional = true},
    {OBJM_ARG(ENUM, "resolve"), .values = "NOW LAZY", .is_optional = true},
};

static const struct objm_func shard_methods[] = {
    {.name = "set_warmup",
     .fn = vcl__shard_set_warmup,
     OBJM_ARGS(warmup_args),
     .doc = "The share of requests (0 to below 1) that go to the next backend, to warm it up. 0: "
            "none."},
    {.name = "set_rampup",
     .fn = vcl__shard_set_rampup,
     OBJM_ARGS(rampup_args),
     .doc = "How long a backend that became healthy gets fewer requests than it could have."},
    {.name = "associate",
     .fn = vcl__shard_associate,
     OBJM_ARGS(associate_args),
     .doc = "Takes what is not said in backend() from a shard_param object (its use()); without "
            "argument no longer."},
    {.name = "add_backend",
     .ret = OBJM_BOOL,
     .fn = vcl__shard_add_backend,
     OBJM_ARGS(shard_add_args),
     .doc = "Adds a backend. ident stands for its name on the ring, so that one backend can stand "
            "there several times; weight, at least 1, multiplies its replicas."},
    {.name = "remove_backend",
     .ret = OBJM_BOOL,
     .fn = vcl__shard_remove_backend,
     OBJM_ARGS(shard_remove_args),
     .doc = "Removes those with this backend, this ident, or both; one has to be given."},
    {.name = "clear", .ret = OBJM_BOOL, .fn = vcl__shard_clear, .doc = "Removes all backends."},
    {.name = "reconfigure",
     .ret = OBJM_BOOL,
     .fn = vcl__shard_reconfigure,
     OBJM_ARGS(replicas_args),
     .doc = "Makes changes effective now, with so many points on the ring for each new backend. "
            "Without it that happens at the end of vcl_init, or of the request or fetch."},
    {.name = "key",
     .ret = OBJM_INT,
     .fn = vcl__shard_key,
     OBJM_ARGS(strands_args),
     .doc = "A key for backend(by = KEY), of any text."},
    {.name = "backend",
     .ret = OBJM_BACKEND,
     .fn = vcl__shard_backend,
     OBJM_ARGS(shard_backend_args),
     .doc =
         "The backend for a key.\n\n"
         "by says what the key is: HASH (what vcl_hash made; the URL as long as that did not "
         "run), URL, KEY (key) or BLOB (the first four bytes of key_blob). HASH if not given.\n\n"
         "alt is how many backends to pass over, for a retry: alt = bereq.retries.\n\n"
         "healthy: CHOSEN looks for a healthy one, whatever those were that alt passes over; ALL "
         "passes over healthy ones only; IGNORE does not ask. CHOSEN if not given.\n\n"
         "warmup is the share of requests (0 to 1) for the next backend, rampup = false turns off "
         "the slow start of a backend that just became healthy; both only without alt.\n\n"
         "param is a shard_param object's use(), for what is not given.\n\n"
         "resolve: NOW chooses now; LAZY gives the director itself, which chooses when a fetch "
         "needs a connection. In vcl_init LAZY, else NOW if not given. With LAZY other arguments "
         "can be given in a fetch and in vcl_pipe only, and hold for it."},
    {.name = "debug",
     .fn = vcl__shard_debug,
     OBJM_ARGS(debug_args),
     .doc = "Debug records: 1 of each choice, 2 of the ring when it is made; 0 none."},
};

static const struct objm_func param_methods[] = {
    {.name = "clear",
     .fn = vcl__param_clear,
     .doc = "Nothing is set. In vcl_init, in a fetch and in vcl_pipe."},
    {.name = "set",
     .fn = vcl__param_set,
     .args = shard_backend_args,
     .arg_count = 7,
     .doc = "Sets these and nothing else: in vcl_init for the VCL; in a fetch and in vcl_pipe for "
            "it alone. The arguments are those of the shard director's backend()."},
    {.name = "get_by", .ret = OBJM_STRING, .fn = vcl__param_get_by, .doc = "The by that holds."},
    {.name = "get_key", .ret = OBJM_INT, .fn = vcl__param_get_key, .doc = "The key that holds."},
    {.name = "get_alt", .ret = OBJM_INT, .fn = vcl__param_get_alt, .doc = "The alt that holds."},
    {.name = "get_warmup",
     .ret = OBJM_REAL,
     .fn = vcl__param_get_warmup,
     .doc = "The warmup that holds; -1: the director's."},
    {.name = "get_rampup",
     .ret = OBJM_BOOL,
     .fn = vcl__param_get_rampup,
     .doc = "The rampup that holds."},
    {.name = "get_healthy",
     .ret = OBJM_STRING,
     .fn = vcl__param_get_healthy,
     .doc = "The healthy that holds."},
    {.name = "use",
     .ret = OBJM_BLOB,
     .fn = vcl__param_use,
     .doc = "The set itself, for associate() and for the argument param of backend()."},
};

static const struct objm_object objects[] = {
    {.name = "round_robin",
     .init = {.fn = vcl__dir_round_robin},
     .fini = vcl__dir_fini,
     OBJM_METHODS(plain_methods),
     .doc = "One healthy backend after the other."},
    {.name = "fallback",
     .init = {.fn = vcl__dir_fallback, OBJM_ARGS(sticky_args)},
     .fini = vcl__dir_fini,
     OBJM_METHODS(plain_methods),
     .doc = "The first healthy one in the order of adding. A sticky one stays with a backend until "
            "that becomes sick."},
    {.name = "random",
     .init = {.fn = vcl__dir_random},
     .fini = vcl__dir_fini,
     OBJM_METHODS(random_methods),
     .doc = "Any healthy one, by weight."},
    {.name = "hash",
     .init = {.fn = vcl__dir_hash},
     .fini = vcl__dir_fini,
     OBJM_METHODS(hash_methods),
     .doc = "The one that a text leads to."},
    {.name = "shard",
     .init = {.fn = vcl__shard_init},
     .fini = vcl__shard_fini,
     OBJM_METHODS(shard_methods),
     .doc =
         "The one that a key leads to, by consistent hashing: when a backend comes or goes, only "
         "its own keys move. With the same backends, every daemon (and Varnish) chooses the "
         "same one."},
    {.name = "shard_param",
     .init = {.fn = vcl__param_init},
     .fini = vcl__param_fini,
     OBJM_METHODS(param_methods),
     .doc = "Parameters for the choice of shard directors, kept apart from them."},
};

static const struct objm_func funcs[] = {
    {.name = "lookup",
     .ret = OBJM_BACKEND,
     .fn = lookup,
     OBJM_ARGS(string_args),
     .doc = "The backend or director with this name; in vcl_init and vcl_fini only."},
};

const struct objm_module vcl__mod_directors = {
    OBJM_ABI,
    .name = "directors",
    .title = "choosing among backends",
    .doc = "A director is a backend that leads to others, which may be directors too. It is "
           "healthy when one of them is.",
    OBJM_FUNCS(funcs),
    OBJM_OBJECTS(objects),
};
