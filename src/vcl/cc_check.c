/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What can be checked only when everything is known: names that were used and never defined or the
 * other way round, returns and variables that are not legal where a sub is called from, recursion.
 *
 * Subs call subs: these walks are recursive, which is bounded by the number of subs, as a sub that
 * is being walked is not entered again, and by CC_DEPTH_MAX.
 * NOLINTBEGIN(misc-no-recursion)
 */
#include "vcl/cc.h"

#include "base/check.h"

static const char *const use_errors[] = {
    [USED_READ] = "Not available",
    [USED_WRITE] = "Cannot be set",
    [USED_UNSET] = "Cannot be unset",
    [USED_ACTION] = "Not a valid action",
};

void vcl__use(struct cc *cc, const struct token *t1, const struct token *t2,
              const struct symbol *sym, enum use_kind kind)
{
    if (cc->cur == NULL) {
        return;
    }
    struct sub_use *use = vcl__alloc(&cc->mem, sizeof *use);
    use->t1 = t1;
    use->t2 = t2 == NULL ? t1->next : t2;
    use->sym = sym;
    use->kind = kind;
    const uint32_t masks[] = {
        [USED_READ] = sym->reads,
        [USED_WRITE] = sym->writes,
        [USED_UNSET] = sym->unsets,
        [USED_ACTION] = sym->acts,
    };
    use->mask = masks[kind];
    *cc->cur->uses_end = use;
    cc->cur->uses_end = &use->next;
}

/* ---- names ---- */

static bool check_reference(struct cc *cc, struct symbol *sym)
{
    if (sym->noref) {
        return true;
    }
    if (sym->defs == 0 && sym->refs != 0) {
        vcl__err(cc, "Undefined %s %.*s, first reference:\n", vcl__kind_name(sym->kind),
                 STR_ARG(token_text(sym->ref)));
        vcl__err_at(cc, sym->ref);
        return false;
    }
    if (sym->defs != 0 && sym->refs == 0) {
        vcl__err(cc, "Unused %s %.*s, defined:\n", vcl__kind_name(sym->kind),
                 STR_ARG(token_text(sym->def)));
        vcl__err_at(cc, sym->def);
        if (cc->conf->allow_unused) {
            vcl__warn(cc);
        }
    }
    return !cc->failed;
}

/* ---- returns ---- */

static void put_name_of(struct cc *cc, const char *intro, const struct sub *sub)
{
    vcl__err(cc, "\n...%s \"%.*s\"\n", intro, STR_ARG(token_text(sub->name)));
}

static bool illegal_returns(struct cc *cc, const struct sub *sub, uint32_t which)
{
    for (unsigned i = 1; i < VCL_RET__COUNT; i++) {
        if ((which >> i & 1) != 0) {
            vcl__err(cc, "Invalid return \"%s\"\n", vcl_return_name(i));
            vcl__err_at(cc, sub->return_tok[i]);
        }
    }
    put_name_of(cc, "in subroutine", sub);
    vcl__err_at(cc, sub->name);
    return false;
}

static uint32_t method_bit(int method)
{
    return method < 0 ? UINT32_C(1) << 31 : UINT32_C(1) << method;
}

static bool check_returns(struct cc *cc, struct sub *sub, int method, unsigned depth);

static bool check_called(struct cc *cc, struct sub *sub, const struct sub_call *call, int method,
                         unsigned depth)
{
    struct sub *to = call->sym->sub;
    if (to == NULL || to->name == NULL) {
        vcl__err(cc, "Subroutine %s does not exist\n", call->sym->node->name);
        vcl__err_at(cc, call->t);
        return false;
    }
    if (!check_returns(cc, to, method, depth + 1)) {
        put_name_of(cc, "called from", sub);
        vcl__err_at(cc, call->t);
        return false;
    }
    return true;
}

/* What was found to be fine for a method is not walked again: else the work would double with each
 * level of subs that call two others. */
static bool check_returns(struct cc *cc, struct sub *sub, int method, unsigned depth)
{
    if (sub->is_active || depth > CC_DEPTH_MAX) {
        vcl__err(cc, sub->is_active ? "Subroutine recurses on\n" : "Nested too deeply.\n");
        vcl__err_at(cc, sub->name);
        return false;
    }
    if ((sub->seen_returns & method_bit(method)) != 0) {
        return true;
    }
    uint32_t legal = method < 0 ? ~UINT32_C(0) : vcl__sub_returns((unsigned)method);
    if ((sub->returns & ~legal) != 0) {
        return illegal_returns(cc, sub, sub->returns & ~legal);
    }
    sub->is_active = true;
    for (const struct sub_call *call = sub->calls; call != NULL; call = call->next) {
        if (!check_called(cc, sub, call, method, depth)) {
            return false;
        }
    }
    sub->is_active = false;
    sub->seen_returns |= method_bit(method);
    return true;
}

static bool check_sub_returns(struct cc *cc, struct symbol *sym)
{
    struct sub *sub = sym->sub;
    if (sub == NULL || sub->name == NULL || check_returns(cc, sub, sub->method, 0)) {
        return true;
    }
    if (sub->method < 0) {
        return false;
    }
    vcl__err(cc, "\n...which is the \"vcl_%s\" subroutine\nLegal returns are:",
             vcl_sub_name((unsigned)sub->method));
    for (unsigned i = 1; i < VCL_RET__COUNT; i++) {
        if ((vcl__sub_returns((unsigned)sub->method) >> i & 1) != 0) {
            vcl__err(cc, " \"%s\"", vcl_return_name(i));
        }
    }
    vcl__err(cc, "\n");
    return false;
}

/* ---- variables ---- */

/* A variable that cannot be set at all; NULL after an error was told. */
static struct sub_use *illegal_write(struct cc *cc, struct sub_use *use, uint32_t sub_bit)
{
    if (use->mask != 0 || use->kind != USED_WRITE) {
        return NULL;
    }
    if ((use->sym->reads & sub_bit) == 0 && use->sym->reads != 0) {
        use->kind = USED_READ;
        return use;
    }
    vcl__err_span(cc, use->t1, use->t2);
    vcl__err(cc, use->sym->reads == 0 ? "Variable cannot be set.\n" : "Variable is read only.\n");
    return NULL;
}

static struct sub_use *illegal_use(struct cc *cc, struct sub *sub, int method)
{
    struct sub_use *first = NULL;
    for (struct sub_use *use = sub->uses; use != NULL; use = use->next) {
        sub->ok_mask &= use->mask;
        if (method < 0 || first != NULL) {
            continue;
        }
        uint32_t bit = UINT32_C(1) << method;
        struct sub_use *bad = illegal_write(cc, use, bit);
        if (cc->failed) {
            return NULL;
        }
        if (bad != NULL || (use->mask & bit) == 0) {
            first = use;
        }
    }
    return first;
}

static bool check_uses_below(struct cc *cc, struct sub *sub, int method, bool is_top)
{
    if ((sub->seen_uses & method_bit(method)) != 0) {
        return true;
    }
    const struct sub_use *use = is_top ? NULL : illegal_use(cc, sub, method);
    if (use != NULL) {
        vcl__err_span(cc, use->t1, use->t2);
        vcl__err(cc, "%s from subroutine 'vcl_%s'.\n", use_errors[use->kind],
                 vcl_sub_name((unsigned)method));
        put_name_of(cc, "in subroutine", sub);
        vcl__err_at(cc, sub->name);
        return false;
    }
    if (cc->failed) {
        return false;
    }
    for (const struct sub_call *call = sub->calls; call != NULL; call = call->next) {
        if (!check_uses_below(cc, call->sym->sub, method, false)) {
            put_name_of(cc, "called from", sub);
            vcl__err_at(cc, call->t);
            return false;
        }
        sub->ok_mask &= call->sym->sub->ok_mask;
    }
    sub->seen_uses |= method_bit(method);
    return true;
}

static bool check_sub_uses(struct cc *cc, struct symbol *sym)
{
    struct sub *sub = sym->sub;
    if (sub == NULL || sub->name == NULL) {
        return true;
    }
    const struct sub_use *use = illegal_use(cc, sub, sub->method);
    if (use != NULL) {
        vcl__err_span(cc, use->t1, use->t2);
        vcl__err(cc, "%s in subroutine '%.*s'.\nAt: ", use_errors[use->kind],
                 STR_ARG(token_text(sub->name)));
        return false;
    }
    if (cc->failed) {
        return false;
    }
    if (!check_uses_below(cc, sub, sub->method, true)) {
        if (sub->method >= 0) {
            vcl__err(cc, "\n...which is the \"vcl_%s\" subroutine\n",
                     vcl_sub_name((unsigned)sub->method));
        }
        return false;
    }
    return true;
}

/* A sub that is legal nowhere, which only calls of values could reach. */
static bool check_possible(struct cc *cc, struct symbol *sym)
{
    const struct sub *sub = sym->sub;
    if (sub == NULL || sub->name == NULL || sub->ok_mask != 0) {
        return true;
    }
    vcl__err(cc, "Impossible Subroutine");
    vcl__err_at(cc, sub->name);
    return false;
}

bool vcl__check(struct cc *cc)
{
    if (!vcl__sym_walk(cc, SYM_NONE, check_reference) ||
        !vcl__sym_walk(cc, SYM_SUB, check_sub_returns) ||
        !vcl__sym_walk(cc, SYM_SUB, check_sub_uses) ||
        !vcl__sym_walk(cc, SYM_SUB, check_possible)) {
        return false;
    }
    if (!cc->has_default && cc->first_backend == NULL) {
        vcl__err(cc, "No backends or directors found in VCL program, at least one is necessary.\n");
        return false;
    }
    return true;
}
/* NOLINTEND(misc-no-recursion) */
