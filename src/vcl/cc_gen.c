/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The tree becomes code.
 *
 * A value is computed into the register that its user names; what it needs meanwhile goes into
 * those above.  So operands stand side by side, arguments in a row, and no register outlives its
 * statement: a called sub begins at register 0 again.
 *
 * The tree is as deep as the parser let it become (CC_DEPTH_MAX), and so is the recursion here.
 * NOLINTBEGIN(misc-no-recursion)
 */
#include "vcl/cc.h"

#include "base/check.h"

/* Text of many parts is joined in steps of this many. */
#define PARTS_MAX 32u

static unsigned emit(struct cc *cc, enum vcl_opcode op, unsigned a, unsigned b, uint32_t c)
{
    CHECK(a < VCL_REGS_MAX);
    CHECK(b <= UINT16_MAX);
    struct vcl_insn *insn = VCL_PUSH(cc->prog->code);
    *insn = (struct vcl_insn){(uint8_t)op, (uint8_t)a, (uint16_t)b, c};
    /* Operands may stand one above the result. */
    cc->prog->regs = a + 2 > cc->prog->regs ? a + 2 : cc->prog->regs;
    return cc->prog->code.count - 1;
}

static void land(struct cc *cc, unsigned jump)
{
    cc->prog->code.at[jump].c = cc->prog->code.count;
}

static bool gen_expr(struct cc *cc, const struct expr *e, unsigned reg);

static bool too_large(struct cc *cc)
{
    if (!cc->failed) {
        vcl__err(cc, "Expression is too large.\n");
    }
    return false;
}

/* ---- text ---- */

static bool gen_parts(struct cc *cc, const struct expr *e, unsigned reg, unsigned *count)
{
    unsigned at = 0;
    for (const struct expr *part = e->parts; part != NULL; part = part->next) {
        if (at == PARTS_MAX) {
            emit(cc, VCL_OP_CONCAT, reg, reg, at);
            at = 1;
        }
        if (!gen_expr(cc, part, reg + at)) {
            return false;
        }
        at++;
    }
    *count = at;
    return true;
}

static bool gen_strings(struct cc *cc, const struct expr *e, unsigned reg)
{
    unsigned count;
    if (!gen_parts(cc, e, reg, &count)) {
        return false;
    }
    if (count > 1) {
        emit(cc, VCL_OP_CONCAT, reg, reg, count);
    }
    return true;
}

static bool gen_truth(struct cc *cc, const struct expr *e, unsigned reg)
{
    if (e->a->type != VT_STRINGS) {
        bool is_fine = gen_expr(cc, e->a, reg);
        emit(cc, VCL_OP_TRUTH, reg, reg, e->a->type);
        return is_fine;
    }
    unsigned count;
    if (!gen_parts(cc, e->a, reg, &count)) {
        return false;
    }
    emit(cc, VCL_OP_ANYTEXT, reg, reg, count);
    return true;
}

/* ---- variables ---- */

static const struct line_var {
    enum vcl_var var;
    enum objm_http http;
    enum objm_line line;
} line_vars[] = {
#define LINE(var, http, line) {VCL_VAR_##var, OBJM_##http, OBJM_##line},
#include "vcl/lines.def"
#undef LINE
};

static const struct line_var *line_of(unsigned var)
{
    for (size_t i = 0; i < ARRAY_SIZE(line_vars); i++) {
        if ((unsigned)line_vars[i].var == var) {
            return &line_vars[i];
        }
    }
    return NULL;
}

static enum objm_http http_of(unsigned var)
{
    switch (var) {
    case VCL_VAR_REQ_HTTP:
    case VCL_VAR_REQ:
        return OBJM_REQ;
    case VCL_VAR_REQ_TOP_HTTP:
        return OBJM_REQ_TOP;
    case VCL_VAR_BEREQ_HTTP:
    case VCL_VAR_BEREQ:
        return OBJM_BEREQ;
    case VCL_VAR_BERESP_HTTP:
    case VCL_VAR_BERESP:
        return OBJM_BERESP;
    case VCL_VAR_OBJ_HTTP:
        return OBJM_OBJ;
    default:
        return OBJM_RESP;
    }
}

static unsigned field_of(struct cc *cc, const struct symbol *sym)
{
    return vcl__prog_field(cc->prog, http_of(sym->var), sym->node->name);
}

static void gen_get(struct cc *cc, const struct symbol *sym, unsigned reg)
{
    const struct line_var *line = line_of(sym->var);
    if (sym->is_header) {
        emit(cc, VCL_OP_FIELD, reg, 0, field_of(cc, sym));
    } else if (line != NULL) {
        emit(cc, VCL_OP_LINE, reg, line->http, line->line);
    } else if (sym->type == VT_HTTP) {
        union objm_value value = {.http = http_of(sym->var)};
        emit(cc, VCL_OP_CONST, reg, 0, vcl__prog_const(cc->prog, value));
    } else if (sym->type == VT_STEVEDORE && sym->var == VCL_VAR__COUNT) {
        emit(cc, VCL_OP_STORE, reg, 0, sym->index);
    } else {
        emit(cc, VCL_OP_GET, reg, 0, sym->var);
    }
}

static void gen_put(struct cc *cc, const struct symbol *sym, unsigned reg, bool is_more)
{
    const struct line_var *line = line_of(sym->var);
    if (sym->is_header) {
        emit(cc, VCL_OP_SETFIELD, reg, 0, field_of(cc, sym));
    } else if (line != NULL) {
        emit(cc, VCL_OP_SETLINE, reg, line->http, line->line);
    } else if (sym->type == VT_BODY) {
        emit(cc, VCL_OP_BODY, reg, is_more, sym->var);
    } else {
        emit(cc, VCL_OP_SET, reg, 0, sym->var);
    }
}

/* ---- operators ---- */

static bool gen_two(struct cc *cc, const struct expr *e, unsigned reg)
{
    return gen_expr(cc, e->a, reg) && gen_expr(cc, e->b, reg + 1);
}

static uint32_t arith_of(unsigned op, enum vcl_type a, enum vcl_type b)
{
    static const char ops[] = {
        [VCL_ADD] = '+', [VCL_SUB] = '-', [VCL_MUL] = '*', [VCL_DIV] = '/', [VCL_MOD] = '%'};
    for (uint32_t i = 0; i < sizeof ops; i++) {
        if ((unsigned char)ops[i] == op) {
            return i | (uint32_t)a << 8 | (uint32_t)b << 16;
        }
    }
    CHECK(false);
    return 0;
}

static bool gen_logical(struct cc *cc, const struct expr *e, unsigned reg)
{
    if (!gen_expr(cc, e->a, reg)) {
        return false;
    }
    unsigned jump = emit(cc, e->kind == X_AND ? VCL_OP_JUMPNOT : VCL_OP_JUMPIF, reg, 0, 0);
    bool is_fine = gen_expr(cc, e->b, reg);
    land(cc, jump);
    return is_fine;
}

static void gen_handle(struct cc *cc, const struct expr *e, unsigned reg)
{
    switch (e->type) {
    case VT_BACKEND:
        emit(cc, VCL_OP_BACKEND, reg, 0, e->index);
        break;
    case VT_ACL:
        emit(cc, VCL_OP_ACLREF, reg, 0, e->index);
        break;
    case VT_PROBE:
        emit(cc, VCL_OP_PROBE, reg, 0, e->index);
        break;
    case VT_SUB:
        emit(cc, VCL_OP_SUB, reg, 0, e->sym->sub->index);
        break;
    default:
        CHECK(false);
    }
}

/* ---- calls of modules ---- */

static bool gen_call(struct cc *cc, const struct cc_call *call, unsigned reg)
{
    const struct objm_func *func = call->sym->func;
    uint32_t given = 0;
    for (unsigned i = 0; i < func->arg_count; i++) {
        const struct expr *arg = call->args[i];
        unsigned at = reg + i;
        if (arg == NULL) {
            emit(cc, VCL_OP_CONST, at, 0, vcl__prog_const(cc->prog, (union objm_value){0}));
            continue;
        }
        given |= UINT32_C(1) << i;
        unsigned count = 0;
        bool is_list = arg->type == VT_STRANDS && arg->kind == X_STRINGS;
        if (is_list ? !gen_parts(cc, arg, at, &count) : !gen_expr(cc, arg, at)) {
            return false;
        }
        if (is_list) {
            emit(cc, VCL_OP_STRANDS, at, at, count);
        }
    }
    struct vcl_callsite *site = VCL_PUSH(cc->prog->calls);
    *site = (struct vcl_callsite){
        .func = func,
        .module = call->sym->module_index,
        .instance = call->instance == NULL ? UINT32_MAX : call->instance->index,
        .given = given,
        .priv = func->has_priv_call ? cc->prog->priv_calls++ : UINT32_MAX,
        .is_new = call->sym->kind == SYM_OBJECT,
    };
    emit(cc, VCL_OP_MODULE, reg, reg, cc->prog->calls.count - 1);
    return true;
}

/* ---- all expressions ---- */

/* Text of the source goes with the compilation; the program has its own. */
static void gen_const(struct cc *cc, const struct expr *e, unsigned reg)
{
    union objm_value value = e->value;
    if (e->type == VT_STRING && value.string.ptr != NULL) {
        value.string = vcl_objm_str(vcl__prog_text(cc->prog, vcl_str(value.string)));
    }
    emit(cc, VCL_OP_CONST, reg, 0, vcl__prog_const(cc->prog, value));
}

static bool gen_binary(struct cc *cc, const struct expr *e, unsigned reg)
{
    if (e->kind == X_MATCH) {
        bool is_fine = gen_expr(cc, e->a, reg);
        emit(cc, VCL_OP_MATCH, reg, reg, e->index | (uint32_t)e->is_negated << 31);
        return is_fine;
    }
    if (!gen_two(cc, e, reg)) {
        return false;
    }
    switch (e->kind) {
    case X_ARITH:
        emit(cc, VCL_OP_ARITH, reg, reg, arith_of(e->op, e->a->type, e->b->type));
        return true;
    case X_COMPARE:
        if (e->a->type == VT_IP) {
            emit(cc, VCL_OP_COMPAREIP, reg, reg, e->op);
        } else {
            emit(cc, VCL_OP_COMPARE, reg, reg, e->op | (uint32_t)e->a->type << 16);
        }
        return true;
    case X_ACL:
        emit(cc, VCL_OP_ACL, reg, reg, e->is_negated);
        return true;
    case X_REGSUB:
        emit(cc, VCL_OP_REGSUB, reg, reg, e->index | e->op << 31);
        return true;
    default:
        CHECK(false);
        return false;
    }
}

static bool gen_unary(struct cc *cc, const struct expr *e, unsigned reg)
{
    if (e->kind == X_TOBOOL) {
        return gen_truth(cc, e, reg);
    }
    if (e->kind == X_TOSTRING && e->a->kind == X_HEADER) {
        gen_get(cc, e->a->sym, reg);
        return true;
    }
    if (!gen_expr(cc, e->a, reg)) {
        return false;
    }
    switch (e->kind) {
    case X_TOSTRING:
        /* A body takes the bytes of a BLOB as they are. */
        if (e->type != VT_BODY) {
            emit(cc, VCL_OP_TEXT, reg, reg, e->a->type);
        }
        return true;
    case X_NEGATE:
        emit(cc, VCL_OP_NEGATE, reg, reg, e->type);
        return true;
    case X_NOT:
        emit(cc, VCL_OP_NOT, reg, reg, 0);
        return true;
    case X_PROPERTY:
        emit(cc, VCL_OP_PROPERTY, reg, reg, e->op);
        return true;
    default:
        CHECK(false);
        return false;
    }
}

static bool gen_expr(struct cc *cc, const struct expr *e, unsigned reg)
{
    if (reg + PARTS_MAX + 4 >= VCL_REGS_MAX) {
        return too_large(cc);
    }
    switch (e->kind) {
    case X_CONST:
        gen_const(cc, e, reg);
        return true;
    case X_VAR:
        gen_get(cc, e->sym, reg);
        return true;
    case X_HEADER:
        /* For a module, which wants to know the field; its value is asked for by X_TOSTRING. */
        emit(cc, VCL_OP_FIELDREF, reg, 0, field_of(cc, e->sym));
        return true;
    case X_HANDLE:
        gen_handle(cc, e, reg);
        return true;
    case X_INSTANCE:
        emit(cc, VCL_OP_INSTANCE, reg, 0, e->index);
        return true;
    case X_STRINGS:
        return gen_strings(cc, e, reg);
    case X_AND:
    case X_OR:
        return gen_logical(cc, e, reg);
    case X_CALL:
        return gen_call(cc, e->call, reg);
    case X_REGEX:
        emit(
            cc, VCL_OP_CONST, reg, 0,
            vcl__prog_const(cc->prog, (union objm_value){.regex = cc->prog->regexes.at[e->index]}));
        return true;
    case X_TOSTRING:
    case X_TOBOOL:
    case X_NEGATE:
    case X_NOT:
    case X_PROPERTY:
        return gen_unary(cc, e, reg);
    case X_ARITH:
    case X_COMPARE:
    case X_MATCH:
    case X_ACL:
    case X_REGSUB:
        return gen_binary(cc, e, reg);
    }
    CHECK(false);
    return false;
}

/* ---- statements ---- */

static bool gen_list(struct cc *cc, const struct stmt *s);

static bool gen_set(struct cc *cc, const struct stmt *s)
{
    bool is_body = s->sym->type == VT_BODY;
    if (s->op == '=' || is_body) {
        if (!gen_expr(cc, s->expr, 0)) {
            return false;
        }
    } else {
        gen_get(cc, s->sym, 0);
        if (!gen_expr(cc, s->expr, 1)) {
            return false;
        }
        if (s->expr->type == VT_STRING) {
            emit(cc, VCL_OP_CONCAT, 0, 0, 2);
        } else {
            emit(cc, VCL_OP_ARITH, 0, 0, arith_of(s->op, s->sym->type, s->expr->type));
        }
    }
    gen_put(cc, s->sym, 0, is_body && s->op == '+');
    return true;
}

static bool gen_if(struct cc *cc, const struct stmt *s)
{
    /* A chain of else-ifs is a loop here, not a nest. */
    unsigned exits = 0;
    unsigned last_exit = 0;
    for (; s != NULL && s->kind == ST_IF; s = s->other) {
        if (!gen_expr(cc, s->expr, 0)) {
            return false;
        }
        unsigned skip = emit(cc, VCL_OP_JUMPNOT, 0, 0, 0);
        if (!gen_list(cc, s->body)) {
            return false;
        }
        if (s->other != NULL) {
            /* Jumps to the end are chained through their own targets until that is known. */
            last_exit = emit(cc, VCL_OP_JUMP, 0, 0, last_exit);
            exits++;
        }
        land(cc, skip);
    }
    if (s != NULL && !gen_list(cc, s)) {
        return false;
    }
    while (exits-- > 0) {
        unsigned before = cc->prog->code.at[last_exit].c;
        land(cc, last_exit);
        last_exit = before;
    }
    return true;
}

static bool gen_return(struct cc *cc, const struct stmt *s)
{
    if (s->expr != NULL && !gen_expr(cc, s->expr, 0)) {
        return false;
    }
    if (s->expr2 != NULL && !gen_expr(cc, s->expr2, 1)) {
        return false;
    }
    if (s->ret == VCL_RET_VCL) {
        emit(cc, VCL_OP_RETURNVCL, 0, 0, s->sym->index);
    } else if (s->expr == NULL) {
        emit(cc, VCL_OP_RETURN, 0, 0, s->ret);
    } else if (s->ret == VCL_RET_PASS) {
        emit(cc, VCL_OP_RETURNPASS, 0, 0, s->ret);
    } else if (s->ret == VCL_RET_FAIL) {
        emit(cc, VCL_OP_RETURNFAIL, 0, 0, s->ret);
    } else {
        emit(cc, VCL_OP_RETURNSYNTH, 0, s->expr2 != NULL, s->ret);
    }
    return true;
}

static bool gen_simple(struct cc *cc, const struct stmt *s, enum vcl_opcode op)
{
    bool is_fine = gen_expr(cc, s->expr, 0);
    emit(cc, op, 0, 0, 0);
    return is_fine;
}

/* Each part of a text goes into the key by itself, so that ("a" + "bc") and ("ab" + "c") differ. */
static bool gen_hash_data(struct cc *cc, const struct stmt *s)
{
    unsigned count = 1;
    bool is_list = s->expr->kind == X_STRINGS;
    bool is_fine = is_list ? gen_parts(cc, s->expr, 0, &count) : gen_expr(cc, s->expr, 0);
    for (unsigned i = 0; is_fine && i < count; i++) {
        emit(cc, VCL_OP_HASHDATA, i, 0, 0);
    }
    return is_fine;
}

static bool gen_stmt(struct cc *cc, const struct stmt *s)
{
    switch (s->kind) {
    case ST_BLOCK:
        emit(cc, VCL_OP_PLACE, 0, 0, s->count);
        return s->body == NULL || gen_list(cc, s->body);
    case ST_IF:
        return gen_if(cc, s);
    case ST_SET:
        return gen_set(cc, s);
    case ST_UNSET:
        if (s->sym->is_header) {
            emit(cc, VCL_OP_UNSETFIELD, 0, 0, field_of(cc, s->sym));
        } else {
            emit(cc, VCL_OP_UNSET, 0, 0, s->sym->var);
        }
        return true;
    case ST_CALL:
        emit(cc, VCL_OP_CALL, 0, 0, s->sym->sub->index);
        return true;
    case ST_CALLEX:
        return gen_simple(cc, s, VCL_OP_CALLVALUE);
    case ST_RETURN:
        return gen_return(cc, s);
    case ST_LEAVE:
        emit(cc, VCL_OP_LEAVE, 0, 0, 0);
        return true;
    case ST_BAN:
        return gen_simple(cc, s, VCL_OP_BAN);
    case ST_HASH_DATA:
        return gen_hash_data(cc, s);
    case ST_SYNTHETIC:
        return gen_simple(cc, s, VCL_OP_SYNTHETIC);
    case ST_FILTER:
        if (!gen_expr(cc, s->expr, 0)) {
            return false;
        }
        emit(cc, (enum vcl_opcode)s->op, 0, s->ret, s->count);
        return true;
    case ST_EXPR:
    case ST_NEW:
        return gen_expr(cc, s->expr, 0);
    }
    CHECK(false);
    return false;
}

static bool gen_list(struct cc *cc, const struct stmt *s)
{
    for (; s != NULL; s = s->next) {
        if (!gen_stmt(cc, s)) {
            return false;
        }
    }
    return true;
}

bool vcl__gen(struct cc *cc)
{
    for (const struct sub *sub = cc->subs; sub != NULL; sub = sub->next) {
        struct vcl_subcode *code = &cc->prog->subs.at[sub->index];
        code->start = cc->prog->code.count;
        code->ok_mask = sub->ok_mask;
        if (!gen_list(cc, sub->body)) {
            return false;
        }
        emit(cc, VCL_OP_LEAVE, 0, 0, 0);
        code = &cc->prog->subs.at[sub->index];
        code->len = cc->prog->code.count - code->start;
        if (sub->method >= 0) {
            cc->prog->method[sub->method] = sub->index;
        }
    }
    return true;
}
/* NOLINTEND(misc-no-recursion) */
