/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What VCL says about filters, kept until the planner is asked (filters.h). */
#include "engine/task.h"

#include "engine/filters.h"
#include "engine/vcls.h"

/* The list of this side; made when it is said for the first time.  NULL: there is no such side
 * here, or no room. */
static struct filter_wants *list_of(struct vcl_task *task, enum filter_side side)
{
    struct filter_wants **list =
        side == FILTER_VFP ? &fetch_of(task)->fetch->vfps : &req_of(task)->req->vdps;
    if (*list == NULL) {
        *list = arena_alloc(task->ws, sizeof **list);
        if (*list != NULL) {
            (*list)->side = side;
            (*list)->count = 0;
            (*list)->without_count = 0;
        }
    }
    return *list;
}

/* Whoever asks for it has it again. */
static void let_in(struct filter_wants *list, struct str name)
{
    unsigned kept = 0;
    for (unsigned n = 0; n < list->without_count; n++) {
        if (!str_eq(list->without[n], name)) {
            list->without[kept++] = list->without[n];
        }
    }
    list->without_count = kept;
}

bool task__add_filter(struct vcl_task *task, enum filter_side side, const struct plan_want *want)
{
    struct filter_wants *list = list_of(task, side);
    if (list == NULL || list->count == ARRAY_SIZE(list->wants)) {
        return false;
    }
    let_in(list, want->filter->name);
    list->wants[list->count++] = *want;
    return true;
}

bool task__remove_filter(struct vcl_task *task, enum filter_side side, struct str name)
{
    struct filter_wants *list = list_of(task, side);
    if (list == NULL) {
        return false;
    }
    unsigned kept = 0;
    for (unsigned n = 0; n < list->count; n++) {
        if (!str_eq(list->wants[n].filter->name, name)) {
            list->wants[kept++] = list->wants[n];
        }
    }
    list->count = kept;
    if (filter_wants_bar(list, name)) {
        return true;
    }
    if (list->without_count == ARRAY_SIZE(list->without)) {
        return false;
    }
    list->without[list->without_count++] = name;
    return true;
}

bool task__no_add_filter(struct vcl_task *task, enum filter_side side, const struct plan_want *want)
{
    (void)task;
    (void)side;
    (void)want;
    return false;
}

bool task__no_remove_filter(struct vcl_task *task, enum filter_side side, struct str name)
{
    (void)task;
    (void)side;
    (void)name;
    return false;
}

static const struct vcl_filters *known_to(const struct loaded *loaded, enum filter_side side)
{
    return loaded == NULL ? NULL : vcl_filters_of(loaded->vcl, side);
}

const struct vcl_filters *filters__of_fetch(const struct fetch *fetch)
{
    const struct fetch_task *p = fetch->policy == engine_vcl_policy() ? fetch->policy_arg : NULL;
    return p == NULL ? NULL : known_to(p->loaded, FILTER_VFP);
}

const struct vcl_filters *filters__of_request(const struct request *req)
{
    const struct req_task *p = req->policy == engine_vcl_policy() ? req->policy_arg : NULL;
    return p == NULL ? NULL : known_to(p->loaded, FILTER_VDP);
}
