/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Text at run time: made in the task's workspace, whose end is the end of that task alone. */
#include "vcl/vm_priv.h"

void vcl__overflow(struct vcl_task *task, const char *what)
{
    char why[96];
    struct sb sb = sb_of(why, sizeof why);
    task->ws->overflowed = true;
    sb_printf(&sb, "Workspace overflow (%s)", what);
    vcl_fail(task, sb_str(&sb));
}

struct str vcl__concat(struct vcl_task *task, const union objm_value *parts, uint32_t count)
{
    struct sb sb = arena_builder(task->ws);
    for (uint32_t i = 0; i < count; i++) {
        sb_put(&sb, vcl_str(parts[i].string));
    }
    struct str text = arena_claim(task->ws, &sb);
    if (text.ptr == NULL) {
        vcl__overflow(task, "concatenation");
    }
    return text;
}

struct str vcl__text(struct vcl_task *task, enum objm_type type, const union objm_value *value)
{
    if (type == OBJM_STRING) {
        return vcl_str(value->string);
    }
    if (type == OBJM_BOOL) {
        return value->boolean ? STR("true") : STR("false");
    }
    char reason[96];
    struct sb why = sb_of(reason, sizeof reason);
    struct sb sb = arena_builder(task->ws);
    enum rc rc = vcl_value_text(&sb, type, value, &why);
    if (rc == RC_NOT_FOUND) {
        return STR_NONE;
    }
    if (rc != RC_OK) {
        vcl_fail(task, sb_str(&why));
        return STR_NONE;
    }
    struct str text = arena_claim(task->ws, &sb);
    if (text.ptr == NULL) {
        vcl__overflow(task, "conversion");
    }
    return text;
}

bool vcl__match(struct vcl_task *task, const struct objm_regex *regex, struct str subject)
{
    char reason[96];
    struct sb why = sb_of(reason, sizeof reason);
    enum rc rc = regex_match(task->scratch, regex, subject.ptr == NULL ? STR("") : subject, &why);
    if (rc == RC_LIMIT) {
        vcl_fail(task, sb_str(&why));
    }
    return rc == RC_OK;
}

struct str vcl__regsub(struct vcl_task *task, const struct objm_regex *regex, bool all,
                       struct str subject, struct str replacement)
{
    char reason[96];
    struct sb why = sb_of(reason, sizeof reason);
    struct sb sb = arena_builder(task->ws);
    subject = subject.ptr == NULL ? STR("") : subject;
    enum rc rc = regex_sub(task->scratch, regex, all, subject,
                           replacement.ptr == NULL ? STR("") : replacement, &sb, &why);
    if (rc == RC_NOT_FOUND) {
        return subject;
    }
    if (rc == RC_LIMIT) {
        vcl_fail(task, sb_str(&why));
        return subject;
    }
    struct str text = rc == RC_OK ? arena_claim(task->ws, &sb) : STR_NONE;
    if (text.ptr == NULL) {
        vcl__overflow(task, "regsub");
    }
    return text;
}

struct str vcl__case(struct vcl_task *task, struct str text, bool is_upper)
{
    char from = is_upper ? 'a' : 'A';
    char *copy = arena_alloc(task->ws, text.len);
    if (copy == NULL) {
        vcl__overflow(task, "case");
        return STR_NONE;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        copy[i] = (char)(c >= from && c <= from + 25 ? c ^ 0x20 : c);
    }
    return text.ptr == NULL ? STR_NONE : (struct str){copy, text.len};
}

bool vcl__acl(struct vcl_task *task, const struct objm_acl *acl, const struct objm_ip *ip)
{
    if (acl == NULL || ip == NULL) {
        vcl_fail(task, acl == NULL ? STR("Cannot match a null ACL")
                                   : STR("Cannot match a null IP address"));
        return false;
    }
    if (task->log == NULL || !vslb_wants(task->log, SLT_VCL_acl)) {
        return vcl_acl_match(acl, ip);
    }
    char text[256];
    struct sb sb = sb_of(text, sizeof text);
    bool is_in = vcl_acl_match_log(acl, ip, &sb);
    if (sb.len > 0) {
        vslb_str(task->log, SLT_VCL_acl, sb_str(&sb));
    }
    return is_in;
}
