/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Parameters of the shard director's choice, and where they come from. */
#ifndef VCL_MOD_SHARD_H
#define VCL_MOD_SHARD_H

#include "vcl/shard_ring.h"

/* Which parameters are set: bits in the order of the arguments of .backend() and .set(). */
enum shard_arg {
    ARG_BY = 1,
    ARG_KEY = 2,
    ARG_KEY_BLOB = 4,
    ARG_ALT = 8,
    ARG_WARMUP = 16,
    ARG_RAMPUP = 32,
    ARG_HEALTHY = 64,
    ARG_PARAM = 128,
    ARG_RESOLVE = 256,
    ARGS_SET = 127,
    ARGS_KEPT = 127 & ~(ARG_KEY | ARG_KEY_BLOB)
};
enum shard_by { BY_HASH, BY_URL, BY_KEY, BY_BLOB };
#define SHARD_BY_VALUES "HASH URL KEY BLOB"
#define SHARD_HEALTHY_VALUES "CHOSEN IGNORE ALL"

enum shard_scope { SCOPE_BUILTIN, SCOPE_VCL, SCOPE_TASK };

/* A set of parameters; what is not in `mask` is looked for in `defaults`. */
struct shard_param {
    uint32_t magic;
    uint32_t mask;
    enum shard_scope scope;
    const char *name; /* of the object that it belongs to, for messages */
    const struct shard_param *defaults;
    enum shard_by by;
    uint32_t key;
    int64_t alt;
    double warmup;
    bool rampup;
    enum shard_healthy healthy;
};
enum { SHARD_PARAM_MAGIC = 0x6d20be91 };

/* HASH, CHOSEN, alt 0, warmup as the director says, with rampup. */
extern const struct shard_param vcl__shard_defaults;

/* Where the parameters of a fetch live: there, and in vcl_pipe. */
static inline bool vcl__shard_is_fetch(const struct objm_ctx *ctx)
{
    return ctx->where == 0 || (ctx->where & (OBJM_IN_BACKEND | OBJM_IN_PIPE)) != 0;
}

/* What holds for the task: what it set under this id, else what stands behind `param`. */
const struct shard_param *vcl__param_of_task(struct objm_ctx *ctx, const void *id,
                                             const struct shard_param *param);
/* The task's own set under this id, made if need be.  NULL: workspace full. */
struct shard_param *vcl__param_for_task(struct objm_ctx *ctx, const void *id,
                                        const struct shard_param *param);
/* Checks arguments `args` (ARG_ bits) of the call and puts them into p.  False: failed. */
bool vcl__param_take(struct objm_ctx *ctx, struct objm_call *call, const char *func, uint32_t args,
                     struct shard_param *p);
/* A copy with nothing left to be looked for. */
struct shard_param vcl__param_merged(const struct shard_param *param);
/* The sharding key that merged parameters mean for this task. */
uint32_t vcl__param_key(struct objm_ctx *ctx, const struct shard_param *param);
/* What shard_param.use() returned; NULL: it is something else. */
const struct shard_param *vcl__param_of_blob(struct objm_blob blob);

/* Fails, or logs, "vmod_directors: shard NAME: text". */
__attribute__((format(printf, 3, 4))) void vcl__shard_fail(struct objm_ctx *ctx, const char *name,
                                                           const char *fmt, ...);
__attribute__((format(printf, 4, 5))) void vcl__shard_log(struct objm_ctx *ctx, enum objm_log tag,
                                                          const char *name, const char *fmt, ...);

#endif
