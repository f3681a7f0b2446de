/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the machine's files share. */
#ifndef VCL_VM_PRIV_H
#define VCL_VM_PRIV_H

#include "vcl/program.h"

static inline struct vcl_task *vcl__task(struct objm_ctx *ctx)
{
    return CONTAINER_OF(ctx, struct vcl_task, ctx);
}

/* ---- messages (vm_http.c) ---- */

/* Field's value; STR_NONE when there is no such field or no message. */
struct str vcl__field_get(struct vcl_task *task, const struct vcl_field *field);
/* Text that stays becomes the task's own: what it was read from (an answer, a module's memory) may
 * go before.  False: no room, and VCL has failed. */
bool vcl__own(struct vcl_task *task, struct str *text);
void vcl__field_set(struct vcl_task *task, const struct objm_header *field, struct str value);
void vcl__field_add(struct vcl_task *task, const struct objm_header *field, struct str value);
void vcl__field_unset(struct vcl_task *task, const struct objm_header *field);
/* STATUS is an integer, all else text. */
void vcl__line_get(struct vcl_task *task, enum objm_http http, enum objm_line line,
                   union objm_value *out);
void vcl__line_set(struct vcl_task *task, enum objm_http http, enum objm_line line,
                   const union objm_value *value);

/* ---- text (vm_text.c) ---- */

/* The values as one text in the workspace. */
struct str vcl__concat(struct vcl_task *task, const union objm_value *parts, uint32_t count);
struct str vcl__text(struct vcl_task *task, enum objm_type type, const union objm_value *value);
bool vcl__match(struct vcl_task *task, const struct objm_regex *regex, struct str subject);
struct str vcl__regsub(struct vcl_task *task, const struct objm_regex *regex, bool all,
                       struct str subject, struct str replacement);
struct str vcl__case(struct vcl_task *task, struct str text, bool is_upper);
bool vcl__acl(struct vcl_task *task, const struct objm_acl *acl, const struct objm_ip *ip);
/* The workspace is full: the task fails. */
void vcl__overflow(struct vcl_task *task, const char *what);

/* ---- filters (vm_filter.c) ---- */

/* add_* and remove_*: fails the task where the candidate is none, or one too many. */
void vcl__filter_step(struct vcl_task *task, const struct vcl_insn *insn,
                      const struct objm_candidate *candidate);

/* ---- modules (vm_call.c) ---- */

YIELDS void vcl__module_call(struct vcl_task *task, unsigned index, union objm_value *regs);

#endif
