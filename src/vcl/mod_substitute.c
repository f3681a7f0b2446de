/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Rules that a task collects for a filter, in the order of the calls; where the filter itself was
 * asked for between them does not matter, since it has a pointer to the list.
 *
 * A task goes on through retries and restarts, and its sub says everything again: each turn begins
 * with an empty list. */
#include "vcl/mod_substitute.h"

#include "base/check.h"
#include "vcl/vm_priv.h"

/* How often the task has begun anew. */
static int64_t turn_of(struct objm_ctx *ctx)
{
    struct vcl_task *task = vcl__task(ctx);
    bool is_fetch = (ctx->where & OBJM_IN_BACKEND) != 0;
    union objm_value value = {0};
    bool is_known =
        task->host->get(task, is_fetch ? VCL_VAR_BEREQ_RETRIES : VCL_VAR_REQ_RESTARTS, &value);
    return is_known ? value.integer : 0;
}

struct substitute_rules *vcl__substitute_rules(struct objm_ctx *ctx, const char *builtin,
                                               size_t bytes)
{
    CHECK(bytes >= sizeof(struct substitute_rules));
    struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, builtin);
    if (priv == NULL) {
        return NULL;
    }
    struct substitute_rules *rules = priv->ptr;
    int64_t turn = turn_of(ctx);
    if (rules == NULL) {
        rules = objm_alloc(ctx, bytes);
        if (rules == NULL) {
            return NULL;
        }
        rules->candidate = (struct objm_candidate){.builtin = builtin};
        rules->turn = turn - 1;
        priv->ptr = rules;
    }
    if (rules->turn != turn) {
        rules->turn = turn;
        rules->count = 0;
    }
    return rules;
}

bool vcl__substitute_has_room(struct objm_ctx *ctx, const struct substitute_rules *rules)
{
    if (rules == NULL) {
        return false;
    }
    if (rules->count == SUBSTITUTE_RULES_MAX) {
        objm_fail(ctx, objm_printf(ctx, "%s.add(): more than %d rules", rules->candidate.builtin,
                                   (int)SUBSTITUTE_RULES_MAX));
        return false;
    }
    return true;
}

bool vcl__substitute_text(struct objm_ctx *ctx, struct objm_str text, struct str *copy)
{
    const char *got = text.len == 0 ? "" : objm_cstr(ctx, text);
    *copy = (struct str){got, text.len};
    return got != NULL;
}
