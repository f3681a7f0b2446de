/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* rewrite: texts in a body are replaced by others as it passes. */
#include "filter/filter_rewrite.h"
#include "vcl/mod_substitute.h"

#include <assert.h>

static const char builtin[] = "rewrite";

static_assert((int)SUBSTITUTE_RULES_MAX <= (int)REWRITE_RULES_MAX, "as many as the filter takes");

struct rewrite_list {
    struct substitute_rules base; /* first */
    struct filter_rewrite arg;
    struct rewrite_rule rules[SUBSTITUTE_RULES_MAX];
};

static struct rewrite_list *list_of(struct objm_ctx *ctx)
{
    struct rewrite_list *list =
        (struct rewrite_list *)vcl__substitute_rules(ctx, builtin, sizeof(struct rewrite_list));
    if (list != NULL) {
        list->arg = (struct filter_rewrite){.rules = list->rules, .rules_count = list->base.count};
        list->base.candidate.arg = &list->arg;
    }
    return list;
}

static void add(struct objm_ctx *ctx, struct objm_call *call)
{
    size_t len = call->arg[0].string.len;
    if (len == 0 || len > REWRITE_FIND_MAX) {
        objm_fail(ctx, objm_printf(ctx, "rewrite.add(): a text of 1 to %d bytes is looked for",
                                   (int)REWRITE_FIND_MAX));
        return;
    }
    struct rewrite_list *list = list_of(ctx);
    struct rewrite_rule rule;
    if (list == NULL || !vcl__substitute_has_room(ctx, &list->base) ||
        !vcl__substitute_text(ctx, call->arg[0].string, &rule.find) ||
        !vcl__substitute_text(ctx, call->arg[1].string, &rule.replace)) {
        return;
    }
    list->rules[list->base.count++] = rule;
    list->arg.rules_count = list->base.count;
}

static void candidate(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct rewrite_list *list = list_of(ctx);
    call->ret.filter = list == NULL ? NULL : &list->base.candidate;
}

static const struct objm_arg add_args[] = {
    {OBJM_ARG(STRING, "find")},
    {OBJM_ARG(STRING, "by")},
};

static const struct objm_func funcs[] = {
    SUBSTITUTE_FILTERS(candidate),
    {.name = "add",
     .ret = OBJM_VOID,
     .fn = add,
     OBJM_ARGS(add_args),
     .where = OBJM_IN_BACKEND_RESPONSE | OBJM_IN_DELIVER | OBJM_IN_SYNTH,
     .doc = "One more rule: this text is replaced by that one wherever it stands. The first place "
            "in the body wins, there the rule that was added first; what was put in is not looked "
            "at again.\n\nAt most 64 rules, texts to look for of at most 1024 bytes. It does not "
            "matter whether they are added before or after the filter is."},
};

const struct objm_module vcl__mod_rewrite = {
    OBJM_ABI,
    .name = "rewrite",
    .title = "replacing texts in bodies",
    .doc = "Replaces texts in bodies by others, as they pass: nothing is kept until the body is "
           "whole.\n\n"
           " import rewrite;\n"
           " sub vcl_deliver {\n"
           "     rewrite.add(\"http://origin.example\", \"https://www.example.com\");\n"
           "     add_vdp(rewrite.vdp());\n"
           " }\n\n"
           "The filter is (text,plain,none)rewrite(text,plain,none); the planner opens and closes "
           "encodings around it. Where patterns are needed, see the module regex.\n\n"
           "Rules belong to one run of vcl_backend_response, vcl_deliver or vcl_synth.",
    OBJM_FUNCS(funcs),
};
