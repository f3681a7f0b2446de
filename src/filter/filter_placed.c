/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What built-in filters do to a plan when they are placed.
 *
 * What opens an encoding in order that something else can be done queues what closes it again at
 * STEVEDORE (CLIENT), so that content leaves a chain as it came.  Whoever wants it opened for good
 * says so: with the opener itself at STEVEDORE, or by removing the closer. */
#include "filter/filter_priv.h"

#include "base/check.h"

static void queue_closer(struct planning *planning, unsigned at, struct str closer)
{
    enum filter_side side = planning_side(planning);
    const struct filter *opener = planning_at(planning, at);
    const struct filter *wanted = filter_find(side, closer);
    CHECK(wanted != NULL);
    if (!planning_is_builtin(planning, at) && planning_pos(planning, at) == FILTER_STEVEDORE) {
        return;
    }
    if (planning_wants(planning, opener) || planning_wants(planning, wanted)) {
        return;
    }
    planning_add(planning, wanted, FILTER_STEVEDORE);
}

/* Who opens it tests it. */
static void drop_test(struct planning *planning, unsigned at, struct str name)
{
    if (planning_side(planning) != FILTER_VFP) {
        return;
    }
    const struct filter *test = filter_find(FILTER_VFP, name);
    planning_drop(planning, test);
    if (at > 0 && planning_at(planning, at - 1) == test) {
        planning_remove(planning, at - 1);
    }
}

void filter__gunzip_placed(struct planning *planning, unsigned at)
{
    queue_closer(planning, at, STR("gzip"));
    drop_test(planning, at, STR("testgunzip"));
}

void filter__unbrotli_placed(struct planning *planning, unsigned at)
{
    queue_closer(planning, at, STR("brotli"));
    drop_test(planning, at, STR("testunbrotli"));
}

void filter__unzstd_placed(struct planning *planning, unsigned at)
{
    queue_closer(planning, at, STR("zstd"));
    drop_test(planning, at, STR("testunzstd"));
}

/* Nothing can compress after esi, which notes the places of its includes: where somebody wants the
 * body compressed, its counterpart does both. */
void filter__esi_placed(struct planning *planning, unsigned at)
{
    if (!planning_makes(planning, STR("gzip"))) {
        return;
    }
    const struct filter *both = filter_find(FILTER_VFP, STR("esi_gzip"));
    CHECK(both != NULL);
    planning_add_like(planning, both, planning_pos(planning, at), at);
    if (!planning_wants(planning, both)) {
        return; /* somebody removed it */
    }
    planning_drop(planning, filter_find(FILTER_VFP, STR("gzip")));
    planning_remove(planning, at);
}
