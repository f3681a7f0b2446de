/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Filters of modules, as the planner and the chains see filters.
 *
 * A module describes a filter in the words of its own header (struct objm_filter).  Here each gets
 * a struct filter beside it, and one codec that calls it and holds it to its word: a step that
 * neither takes nor makes anything although it could, or goes on behind the end, has failed. */
#include "vcl/filters.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

#include "base/check.h"
#include "filter/notation.h"
#include "vcl/cc.h"

struct vcl_module_filter {
    struct filter filter; /* first, so that it leads here without a cast of const */
    struct codec codec;
    const struct objm_filter *of;
};
static_assert(offsetof(struct vcl_module_filter, filter) == 0, "one address");

/* ---- the codec ---- */

struct module_state {
    const struct objm_filter *of;
    struct objm_filter_env env;
    char error[128]; /* where nobody takes notes */
    alignas(max_align_t) char self[];
};

static void say(const struct module_state *state, const char *why)
{
    struct sb sb = sb_of(state->env.error, state->env.error_bytes - 1);
    sb_put(&sb, str_of(why));
    state->env.error[sb.len] = '\0';
}

static enum rc rc_of(enum objm_filter_rc got)
{
    switch (got) {
    case OBJM_FILTER_OK:
        return RC_OK;
    case OBJM_FILTER_END:
        return RC_EOF;
    case OBJM_FILTER_BROKEN:
        return RC_MALFORMED;
    case OBJM_FILTER_LIMIT:
        return RC_LIMIT;
    }
    return RC_MALFORMED;
}

static enum rc module_begin(void *self, const struct filter_env *env)
{
    const struct vcl_module_filter *its = (const void *)env->filter;
    struct module_state *state = self;
    state->of = its->of;
    state->env = (struct objm_filter_env){
        .arg = env->arg,
        .body_len = env->body_len,
        .error = env->notes == NULL ? state->error : env->notes->error,
        .error_bytes = sizeof(state->error),
    };
    if (its->of->begin == NULL) {
        return RC_OK;
    }
    enum rc rc = rc_of(its->of->begin(state->self, &state->env));
    return rc == RC_OK || rc == RC_LIMIT ? rc : RC_INVALID;
}

static enum rc module_step(void *self, struct codec_io *io)
{
    struct module_state *state = self;
    struct objm_filter_io its = {io->in, io->in_len, io->is_end, io->out, io->room};
    enum rc rc = rc_of(state->of->step(state->self, &its));
    CHECK(its.in_len <= io->in_len);
    CHECK(its.room <= io->room);
    bool stands_still = its.in_len == io->in_len && its.room == io->room;
    io->in += io->in_len - its.in_len;
    io->in_len = its.in_len;
    io->out += io->room - its.room;
    io->room = its.room;
    if (rc != RC_OK || io->room == 0) {
        return rc;
    }
    if (io->is_end && io->in_len == 0) {
        say(state, "it does not end where the body does");
        return RC_MALFORMED;
    }
    if (stands_still && io->in_len > 0) {
        say(state, "it neither takes nor makes anything");
        return RC_MALFORMED;
    }
    return RC_OK;
}

static void module_end(void *self)
{
    struct module_state *state = self;
    if (state->of != NULL && state->of->end != NULL) {
        state->of->end(state->self);
    }
}

/* ---- what the planner is told ---- */

static enum filter_use use_changes(const struct filter_about *about)
{
    return about->has_body ? FILTER_CHANGES : FILTER_IGNORES;
}

static enum filter_use use_looks(const struct filter_about *about)
{
    return about->has_body ? FILTER_NEEDS : FILTER_IGNORES;
}

static unsigned flags_of(const struct objm_filter *of)
{
    static const struct {
        unsigned theirs, ours;
    } flags[] = {
        {OBJM_FILTER_IS_VFP, FILTER_IS_VFP},
        {OBJM_FILTER_IS_VDP, FILTER_IS_VDP},
        {OBJM_FILTER_KEEPS_FORMAT, FILTER_KEEPS_FORMAT},
        {OBJM_FILTER_VARIES_AE, FILTER_VARIES_AE},
        {OBJM_FILTER_NO_STREAM, FILTER_NO_STREAM},
    };
    unsigned got = 0;
    for (size_t n = 0; n < ARRAY_SIZE(flags); n++) {
        got |= (of->flags & flags[n].theirs) != 0 ? flags[n].ours : 0;
    }
    bool changes = (of->flags & OBJM_FILTER_KEEPS_BYTES) == 0;
    return got | (changes ? (unsigned)FILTER_WEAKENS_ETAG | (unsigned)FILTER_NEW_LENGTH : 0u);
}

static enum filter_pos pos_of(enum objm_filter_pos pos)
{
    static const enum filter_pos ours[] = {
        [OBJM_POS_DEFAULT] = FILTER_DEFAULT, [OBJM_POS_FRONT] = FILTER_FRONT,
        [OBJM_POS_MIDDLE] = FILTER_MIDDLE,   [OBJM_POS_LAST] = FILTER_LAST,
        [OBJM_POS_FETCH] = FILTER_FETCH,     [OBJM_POS_STEVEDORE] = FILTER_STEVEDORE,
    };
    return (unsigned)pos < ARRAY_SIZE(ours) ? ours[pos] : FILTER_DEFAULT;
}

static void describe(struct vcl_module_filter *its, const struct objm_filter *of)
{
    its->of = of;
    its->codec = (struct codec){
        .bytes = sizeof(struct module_state) + of->bytes,
        .begin = module_begin,
        .step = module_step,
        .end = module_end,
    };
    its->filter = (struct filter){
        .name = str_of(of->name),
        .in = str_of(of->in),
        .out = str_of(of->out),
        .recommended = pos_of(of->recommended),
        .flags = flags_of(of),
        .use = (of->flags & OBJM_FILTER_KEEPS_BYTES) != 0 ? use_looks : use_changes,
        .codec = &its->codec,
        .counter_reason = STR("filter"),
    };
}

/* ---- a program's filters ---- */

static unsigned count_of(const struct objm_module *module)
{
    return module->abi_minor >= 1 ? module->filter_count : 0;
}

static bool is_on(const struct vcl_module_filter *its, enum filter_side side)
{
    return (its->filter.flags &
            (side == FILTER_VFP ? (unsigned)FILTER_IS_VFP : (unsigned)FILTER_IS_VDP)) != 0;
}

static void list_side(struct vcl_program *prog, enum filter_side side)
{
    struct vcl_filters *out = &prog->filters[side];
    unsigned all;
    out->fills = filter_builtins(side, &all, &out->fills_count);
    if (prog->module_filters_count == 0) {
        return;
    }
    unsigned room = prog->module_filters_count;
    const struct filter **fills =
        vcl__alloc(prog->mem, (out->fills_count + room) * sizeof(struct filter *));
    struct plan_want *named = vcl__alloc(prog->mem, room * sizeof *named);
    memcpy(fills, out->fills, out->fills_count * sizeof(struct filter *));
    unsigned count = out->fills_count;
    for (unsigned n = 0; n < room; n++) {
        const struct vcl_module_filter *its = &prog->module_filters[n];
        if (!is_on(its, side)) {
            continue;
        }
        named[out->named_count++] = (struct plan_want){.filter = &its->filter};
        if ((its->of->flags & OBJM_FILTER_FILLS) != 0 && count < PLAN_FILLS_MAX) {
            fills[count++] = &its->filter;
        }
    }
    /* Where no module adds one, it stays the table that plans are cached by most cheaply. */
    if (count > out->fills_count) {
        out->fills = fills;
        out->fills_count = count;
    }
    out->named = named;
}

void vcl__filters_finish(struct vcl_program *prog)
{
    unsigned count = 0;
    for (unsigned n = 0; n < prog->imports.count; n++) {
        count += count_of(prog->imports.at[n].module);
    }
    if (count > 0) {
        prog->module_filters = vcl__alloc(prog->mem, count * sizeof *prog->module_filters);
    }
    for (unsigned n = 0; n < prog->imports.count; n++) {
        const struct objm_module *module = prog->imports.at[n].module;
        for (unsigned m = 0; m < count_of(module); m++) {
            describe(&prog->module_filters[prog->module_filters_count++], module->filters[m]);
        }
    }
    list_side(prog, FILTER_VFP);
    list_side(prog, FILTER_VDP);
}

const struct objm_filter *vcl__module_filter(const struct vcl_program *prog, enum filter_side side,
                                             struct str name)
{
    unsigned flag = side == FILTER_VFP ? OBJM_FILTER_IS_VFP : OBJM_FILTER_IS_VDP;
    for (unsigned n = 0; n < prog->imports.count; n++) {
        const struct objm_module *module = prog->imports.at[n].module;
        for (unsigned m = 0; m < count_of(module); m++) {
            const struct objm_filter *filter = module->filters[m];
            if (str_eq(str_of(filter->name), name) && (filter->flags & flag) != 0) {
                return filter;
            }
        }
    }
    return NULL;
}

const struct filter *vcl__filter_of(const struct vcl *vcl, enum filter_side side,
                                    const struct objm_candidate *candidate)
{
    if (candidate->filter == NULL) {
        return candidate->builtin == NULL ? NULL : filter_find(side, str_of(candidate->builtin));
    }
    const struct vcl_program *prog = vcl->prog;
    for (unsigned n = 0; n < prog->module_filters_count; n++) {
        const struct vcl_module_filter *its = &prog->module_filters[n];
        if (its->of == candidate->filter && is_on(its, side)) {
            return &its->filter;
        }
    }
    return NULL;
}

const struct vcl_filters *vcl_filters_of(const struct vcl *vcl, enum filter_side side)
{
    return vcl == NULL ? NULL : &vcl->prog->filters[side];
}

const struct filter *vcl_filter_find(const struct vcl *vcl, enum filter_side side, struct str name)
{
    const struct filter *found = filter_find(side, name);
    const struct vcl_filters *known = found == NULL ? vcl_filters_of(vcl, side) : NULL;
    for (unsigned n = 0; known != NULL && n < known->named_count; n++) {
        if (str_eq(known->named[n].filter->name, name)) {
            return known->named[n].filter;
        }
    }
    return found;
}
