/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the modules regex and rewrite share: rules that a task collects for one filter. */
#ifndef VCL_MOD_SUBSTITUTE_H
#define VCL_MOD_SUBSTITUTE_H

#include "base/str.h"
#include "vcl/mod.h"

enum { SUBSTITUTE_RULES_MAX = 64 };

/* The list of this kind (`key`, whose name is `builtin`) that the task has, made when it is not
 * there, and emptied when the task begins anew.  `bytes`: of the whole, which begins with a struct
 * substitute_rules.  NULL: workspace full. */
struct substitute_rules {
    int64_t turn; /* which retry or restart they were said in */
    struct objm_candidate candidate;
    unsigned count;
};
struct substitute_rules *vcl__substitute_rules(struct objm_ctx *ctx, const char *builtin,
                                               size_t bytes);
/* Whether there is room for one more; the task has failed otherwise. */
bool vcl__substitute_has_room(struct objm_ctx *ctx, const struct substitute_rules *rules);
/* A copy that lives as long as the task.  False: workspace full. */
bool vcl__substitute_text(struct objm_ctx *ctx, struct objm_str text, struct str *copy);

/* The functions that hand out the filter; fn_ returns its rules' candidate. */
#define SUBSTITUTE_FILTERS(fn_)                                                                    \
    {.name = "vfp",                                                                                \
     .ret = OBJM_VFP,                                                                              \
     .fn = (fn_),                                                                                  \
     .where = OBJM_IN_BACKEND_RESPONSE,                                                            \
     .doc = "The filter, for add_vfp(): it replaces before the object is stored."},                \
    {                                                                                              \
        .name = "vdp", .ret = OBJM_VDP, .fn = (fn_), .where = OBJM_IN_DELIVER | OBJM_IN_SYNTH,     \
        .doc = "The filter, for add_vdp(): it replaces for this client only."                      \
    }

#endif
