/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The code that runs unless somebody traces it.
 *
 * Code as it is generated says at each block where in the text it stands (for VCL_trace, which is
 * masked by default), jumps to jumps where conditions are chained, and calls subs that do nothing.
 * Here a second copy is made without all that.  What is left does the same in the same order, and
 * still jumps forwards only; subs keep their numbers, and each has its start in either copy. */
#include "vcl/cc.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

/* The first instruction from `at` on that does something. */
static unsigned skip_places(const struct vcl_program *prog, unsigned at)
{
    while (prog->code.at[at].op == VCL_OP_PLACE) {
        at++;
    }
    return at;
}

static bool does_nothing(const struct vcl_program *prog, unsigned sub)
{
    unsigned first = skip_places(prog, prog->subs.at[sub].start);
    return prog->code.at[first].op == VCL_OP_LEAVE;
}

static bool is_left_out(const struct vcl_program *prog, const struct vcl_insn *i)
{
    return i->op == VCL_OP_PLACE || (i->op == VCL_OP_CALL && does_nothing(prog, i->c));
}

static bool is_jump(const struct vcl_insn *i)
{
    return i->op == VCL_OP_JUMP || i->op == VCL_OP_JUMPNOT || i->op == VCL_OP_JUMPIF;
}

/* Where a jump ends up: who jumps because r[a] has a value meets the same value at the next jump.
 * Ends because jumps go forwards only. */
static unsigned destination(const struct vcl_program *prog, const struct vcl_insn *jump)
{
    unsigned at = jump->c;
    for (;;) {
        const struct vcl_insn *i = &prog->code.at[at];
        bool is_sure = jump->op != VCL_OP_JUMP && is_jump(i) && i->a == jump->a;
        if (i->op == VCL_OP_PLACE) {
            at++;
        } else if (i->op == VCL_OP_JUMP || (is_sure && i->op == jump->op)) {
            at = i->c;
        } else if (is_sure) {
            at++;
        } else {
            return at;
        }
    }
}

static bool may_roll_back(const struct vcl_program *prog)
{
    for (unsigned i = 0; i < prog->calls.count; i++) {
        const struct vcl_callsite *site = &prog->calls.at[i];
        if (prog->imports.at[site->module].file != NULL ||
            (site->func->name != NULL && strcmp(site->func->name, "rollback") == 0)) {
            return true;
        }
    }
    return false;
}

static bool may_esi(const struct vcl_program *prog)
{
    for (unsigned i = 0; i < prog->code.count; i++) {
        const struct vcl_insn *insn = &prog->code.at[i];
        bool sets_filters = insn->op == VCL_OP_SET &&
                            (insn->c == VCL_VAR_BERESP_DO_ESI || insn->c == VCL_VAR_BERESP_FILTERS);
        if (sets_filters || insn->op == VCL_OP_ADDFILTER) {
            return true;
        }
    }
    return false;
}

void vcl__lean(struct vcl_program *prog)
{
    prog->may_esi = may_esi(prog);
    prog->may_roll_back = may_roll_back(prog);
    unsigned count = prog->code.count;
    uint32_t *place = xcalloc(count + 1, sizeof *place); /* in the copy */
    for (unsigned i = 0; i < count; i++) {
        place[i + 1] = place[i] + !is_left_out(prog, &prog->code.at[i]);
    }
    prog->lean = xcalloc(place[count] + 1, sizeof *prog->lean);
    for (unsigned i = 0; i < count; i++) {
        if (place[i + 1] == place[i]) {
            continue;
        }
        struct vcl_insn *to = &prog->lean[place[i]];
        *to = prog->code.at[i];
        if (is_jump(to)) {
            to->c = place[destination(prog, to)];
            CHECK(to->c > place[i]);
        }
    }
    for (unsigned i = 0; i < prog->subs.count; i++) {
        prog->subs.at[i].lean = place[prog->subs.at[i].start];
    }
    free(place);
}
