/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* purge: what return(purge) does, with more to say about it. */
#include "vcl/mod.h"

static void purge(struct objm_ctx *ctx, struct objm_call *call, double ttl, double grace,
                  double keep)
{
    int64_t count = -1;
    if ((ctx->where & (OBJM_IN_HIT | OBJM_IN_MISS)) != 0) {
        count = objm_purge(ctx, ttl, grace, keep);
    }
    if (count < 0) {
        objm_fail(ctx, OBJM_STR("purge can only happen in vcl_hit{} or vcl_miss{}"));
        return;
    }
    call->ret.integer = count;
}

static void hard(struct objm_ctx *ctx, struct objm_call *call)
{
    purge(ctx, call, 0, 0, 0);
}

static void soft(struct objm_ctx *ctx, struct objm_call *call)
{
    purge(ctx, call, call->arg[0].real, call->arg[1].real, call->arg[2].real);
}

static const struct objm_arg soft_args[] = {
    {OBJM_ARG(DURATION, "ttl"), .def = "0s"},
    {OBJM_ARG(DURATION, "grace"), .def = "-1s"},
    {OBJM_ARG(DURATION, "keep"), .def = "-1s"},
};

static const struct objm_func funcs[] = {
    {.name = "hard",
     .ret = OBJM_INT,
     .fn = hard,
     .doc = "Removes all objects of the request's key from the cache, and says how many they "
            "were. Nobody gets one of them after it returned."},
    {.name = "soft",
     .ret = OBJM_INT,
     .fn = soft,
     OBJM_ARGS(soft_args),
     .doc = "Sets what is left of ttl, and grace and keep, of all objects of the request's key; "
            "what is negative stays as it is. All three 0 is hard. Says how many they were."},
};

const struct objm_module vcl__mod_purge = {
    OBJM_ABI,
    .name = "purge",
    .title = "purging from vcl_hit and vcl_miss",
    .doc =
        "A purge by the request's key, with all variants of the object. Both functions can be "
        "called in vcl_hit and vcl_miss only, and usually are called in both; elsewhere the task "
        "fails.",
    OBJM_FUNCS(funcs),
};
