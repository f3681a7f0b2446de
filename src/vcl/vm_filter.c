/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* add_vfp, remove_vdp and so on, when they run. */
#include "vcl/vm_priv.h"

void vcl__filter_step(struct vcl_task *task, const struct vcl_insn *insn,
                      const struct objm_candidate *candidate)
{
    enum filter_side side = (enum filter_side)insn->b;
    if (task->failed) {
        return;
    }
    if (candidate == NULL) {
        vcl_fail(task, STR("There is no filter to add or to remove"));
        return;
    }
    const struct filter *filter = vcl__filter_of(task->vcl, side, candidate);
    if (filter == NULL) {
        vcl_fail(task, STR("The filter is not in the table of a module that is imported"));
        return;
    }
    const struct plan_want want = {
        .filter = filter, .pos = (enum filter_pos)insn->c, .arg = candidate->arg};
    bool is_fine = insn->op == VCL_OP_ADDFILTER
                       ? task->host->add_filter(task, side, &want)
                       : task->host->remove_filter(task, side, filter->name);
    if (!is_fine) {
        vcl_fail(task, STR("Too many filters"));
    }
}
