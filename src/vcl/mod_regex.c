/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* regex: what regular expressions find in a body is replaced. */
#include "filter/filter_regex.h"
#include "vcl/mod_substitute.h"

static const char builtin[] = "regex";

struct regex_list {
    struct substitute_rules base; /* first */
    struct filter_regex arg;
    struct regex_rule rules[SUBSTITUTE_RULES_MAX];
};

static struct regex_list *list_of(struct objm_ctx *ctx)
{
    struct regex_list *list =
        (struct regex_list *)vcl__substitute_rules(ctx, builtin, sizeof(struct regex_list));
    if (list != NULL) {
        list->arg = (struct filter_regex){.rules = list->rules, .rules_count = list->base.count};
        list->base.candidate.arg = &list->arg;
    }
    return list;
}

static void add(struct objm_ctx *ctx, struct objm_call *call)
{
    struct regex_list *list = list_of(ctx);
    struct str by;
    if (list == NULL || !vcl__substitute_has_room(ctx, &list->base) ||
        !vcl__substitute_text(ctx, call->arg[1].string, &by)) {
        return;
    }
    list->rules[list->base.count++] = (struct regex_rule){
        .regex = call->arg[0].regex, .replacement = by, .all = call->arg[2].boolean};
    list->arg.rules_count = list->base.count;
}

static void candidate(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct regex_list *list = list_of(ctx);
    call->ret.filter = list == NULL ? NULL : &list->base.candidate;
}

static const struct objm_arg add_args[] = {
    {OBJM_ARG(REGEX, "regex")},
    {OBJM_ARG(STRING, "by")},
    {OBJM_ARG(BOOL, "all"), .def = "true"},
};

static const struct objm_func funcs[] = {
    SUBSTITUTE_FILTERS(candidate),
    {.name = "add",
     .ret = OBJM_VOID,
     .fn = add,
     OBJM_ARGS(add_args),
     .where = OBJM_IN_BACKEND_RESPONSE | OBJM_IN_DELIVER | OBJM_IN_SYNTH,
     .doc = "One more rule: what the regular expression matches is replaced by the text, in which "
            "\\0 is all that was matched, and \\1 to \\9 are its groups; everywhere, or, with all "
            "= false, where it matches first.\n\nAt most 64 rules. Each works on what the one "
            "before it left. It does not matter whether they are added before or after the filter "
            "is."},
};

const struct objm_module vcl__mod_regex = {
    OBJM_ABI,
    .name = "regex",
    .title = "regular expressions on bodies",
    .doc = "Replaces text in bodies, where regular expressions match:\n\n"
           " import regex;\n"
           " sub vcl_backend_response {\n"
           "     add_vfp(regex.vfp());\n"
           "     regex.add(\"<title>.*</title>\", \"<title>new title</title>\");\n"
           "     regex.add(\"host\", \"newhost\");\n"
           " }\n\n"
           "The filter is (buffertext)regex(text): the planner puts buffer before it, which keeps "
           "the body until it is whole, and gunzip, gzip and the like where they are needed. So "
           "the body must fit in what buffer may hold. What is replaced where it stands, and is "
           "no pattern, costs less with the module rewrite.\n\n"
           "Rules belong to one run of vcl_backend_response, vcl_deliver or vcl_synth.",
    OBJM_FUNCS(funcs),
};
