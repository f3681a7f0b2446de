/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The machine that runs compiled VCL.
 *
 * One loop over instructions.  There are no jumps backwards and no recursion but through values of
 * type SUB, which the machine refuses; so each run ends.  When is another question, since 30 subs
 * that call each other twice are 2^30 calls: a call costs the length of its sub (nothing in it runs
 * twice), and a run has so much to spend and no more.  What can fail at run time (workspace, limits
 * of regular expressions, arithmetic, modules) sets task->failed; the loop looks after each
 * instruction that can fail, and ends with VCL_RET_FAIL.
 */
#include "vcl/vm_priv.h"

#include "base/check.h"
#include "vcl/cc_lex.h"

/* Static calls nest as deep as the compiler lets them, values of type SUB may add to that. */
#define FRAMES_MAX 128u
#define REGS_ON_STACK 40u
/* Instructions that one run may come to, some milliseconds; every program may run through once. */
#define STEPS_MAX 1000000u

struct machine {
    struct vcl_task *task;
    const struct vcl_program *prog;
    const struct vcl_insn *code; /* as it was generated, or lean */
    union objm_value *r;
    unsigned depth;
    uint32_t steps_left;
    enum vcl_return verdict; /* NONE: goes on */
    bool is_traced;
    /* The first `depth` are set. */
    uint32_t back[FRAMES_MAX];
    uint16_t sub[FRAMES_MAX]; /* that each frame runs */
};

void vcl_fail(struct vcl_task *task, struct str why)
{
    if (!task->failed) {
        task->failed = true;
        task->message = arena_dup(task->ws, why);
        if (task->log != NULL) {
            vslb_str(task->log, SLT_VCL_Error, why);
        }
    }
}

static void log_place(struct machine *m, uint32_t n)
{
    const struct vcl_place *p = &m->prog->places.at[n];
    vslb_printf(m->task->log, SLT_VCL_trace, "%s %u %u.%u.%u", m->task->vcl->name, n + 1, p->source,
                p->line, p->pos);
}

/* ---- operators ---- */

static int text_order(struct objm_str a, struct objm_str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool is_text_equal(struct objm_str a, struct objm_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static bool compare(unsigned op, enum vcl_type type, const union objm_value *v)
{
    int order = 0;
    switch (type) {
    case VT_STRING:
    case VT_STRINGS:
        if (op == T_EQ || op == T_NEQ) {
            return is_text_equal(v[0].string, v[1].string) == (op == T_EQ);
        }
        order = text_order(v[0].string, v[1].string);
        break;
    case VT_INT:
    case VT_REAL:
    case VT_BYTES:
    case VT_DURATION:
    case VT_TIME:
        order = vcl_value_order((enum objm_type)type, &v[0], &v[1]);
        break;
    default:
        order = vcl_value_equal((enum objm_type)type, &v[0], &v[1]) ? 0 : 1;
        break;
    }
    switch (op) {
    case T_EQ:
        return order == 0;
    case T_NEQ:
        return order != 0;
    case '<':
        return order < 0;
    case '>':
        return order > 0;
    case T_LEQ:
        return order <= 0;
    default:
        return order >= 0;
    }
}

/* Nothing can be said about an address that is none. */
static bool compare_ip(struct machine *m, unsigned op, const union objm_value *v)
{
    if (v[0].ip == NULL || v[1].ip == NULL) {
        vcl_fail(m->task, STR("VRT_ipcmp: Illegal IP"));
        return op == T_NEQ;
    }
    return compare(op, VT_IP, v);
}

static bool is_true(enum vcl_type type, const union objm_value *v)
{
    switch (type) {
    case VT_BACKEND:
        return v->backend != NULL;
    case VT_INT:
        return v->integer != 0;
    case VT_DURATION:
        return v->real > 0;
    default:
        return v->boolean;
    }
}

static bool any_text(const union objm_value *v, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (v[i].string.ptr != NULL) {
            return true;
        }
    }
    return false;
}

static void arith(struct machine *m, union objm_value *out, const union objm_value *v, uint32_t how)
{
    union objm_value result;
    if (vcl_arith(how & 0xff, how >> 8 & 0xff, &v[0], how >> 16 & 0xff, &v[1], &result) != RC_OK) {
        bool is_zero = (how & 0xff) == VCL_DIV || (how & 0xff) == VCL_MOD;
        vcl_fail(m->task, is_zero ? STR("Division by zero") : STR("Integer overflow"));
        return;
    }
    *out = result;
}

static void negate(union objm_value *out, const union objm_value *v, enum vcl_type type)
{
    if (type == VT_INT || type == VT_BYTES) {
        out->integer = -v->integer;
    } else {
        out->real = -v->real;
    }
}

static void strands(struct machine *m, union objm_value *out, const union objm_value *v,
                    uint32_t count)
{
    struct objm_str *copy = arena_alloc(m->task->ws, (count + 1) * sizeof *copy);
    if (copy == NULL) {
        vcl__overflow(m->task, "strands");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = v[i].string;
    }
    out->strands = (struct objm_strands){copy, count};
}

static void property(struct machine *m, union objm_value *out, const union objm_value *v,
                     uint32_t which)
{
    struct vcl_task *task = m->task;
    switch ((enum vcl_prop)which) {
    case VCL_PROP_RESOLVE:
        out->backend = vcl_backend_resolve(&task->ctx, v->backend);
        break;
    case VCL_PROP_UPPER:
    case VCL_PROP_LOWER:
        out->string = vcl_objm_str(vcl__case(task, vcl_str(v->string), which == VCL_PROP_UPPER));
        break;
    case VCL_PROP_FREE_SPACE:
    case VCL_PROP_USED_SPACE:
    case VCL_PROP_HAPPY:
        task->host->store_property(task, v->stevedore, (enum vcl_prop)which, out);
        break;
    }
}

/* ---- subs ---- */

/* Where the sub begins; it goes on at `back` afterwards. */
static uint32_t call_sub(struct machine *m, unsigned sub, uint32_t back)
{
    if (UNLIKELY(m->depth == FRAMES_MAX)) {
        vcl_fail(m->task, STR("Subs call each other too deeply"));
        return back;
    }
    const struct vcl_subcode *code = &m->prog->subs.at[sub];
    if (UNLIKELY(code->len > m->steps_left)) {
        vcl_fail(m->task, STR("Subs are called too often"));
        return back;
    }
    m->steps_left -= code->len;
    m->back[m->depth] = back;
    m->sub[m->depth] = (uint16_t)sub;
    m->depth++;
    return m->is_traced ? code->start : code->lean;
}

static void refuse_call(struct machine *m, const char *what, const struct objm_sub *sub)
{
    char text[160];
    struct sb sb = sb_of(text, sizeof text);
    sb_printf(&sb, "%s \"sub %.80s{}\"%s", what, sub->name,
              what[0] == 'D' ? " not allowed from here" : " from");
    vcl_fail(m->task, sb_str(&sb));
}

static uint32_t call_value(struct machine *m, const struct objm_sub *sub, uint32_t back)
{
    if (sub == NULL) {
        vcl_fail(m->task, STR("Tried to call NULL SUB"));
        return back;
    }
    const struct vcl_subcode *code = &m->prog->subs.at[sub->index];
    if ((code->ok_mask & m->task->ctx.where) == 0) {
        refuse_call(m, "Dynamic call to", sub);
        return back;
    }
    for (unsigned i = 0; i < m->depth; i++) {
        if (m->sub[i] == sub->index) {
            refuse_call(m, "Recursive dynamic call to", sub);
            return back;
        }
    }
    return call_sub(m, sub->index, back);
}

static uint32_t leave(struct machine *m)
{
    CHECK(m->depth > 0);
    m->depth--;
    if (UNLIKELY(m->depth == 0)) {
        vcl_fail(m->task, STR("The sub ended without a return"));
    }
    return m->back[m->depth];
}

/* ---- the verdict ---- */

static void return_synth(struct machine *m, const struct vcl_insn *i)
{
    struct vcl_task *task = m->task;
    int64_t status = m->r[i->a].integer;
    char text[80];
    struct sb sb = sb_of(text, sizeof text);
    if (status < 0 || status > 65535) {
        sb_printf(&sb, "return(%s()) status code %s (%lld)",
                  i->c == VCL_RET_SYNTH ? "synth" : "error", status < 0 ? "is negative" : "> 65535",
                  (long long)status);
        vcl_fail(task, sb_str(&sb));
        return;
    }
    if (status % 1000 < 100) {
        sb_printf(&sb, "illegal return(%s()) status code (%lld) (..0##)",
                  i->c == VCL_RET_SYNTH ? "synth" : "error", (long long)status);
        vcl_fail(task, sb_str(&sb));
        return;
    }
    task->status = status;
    task->reason = i->b ? vcl_str(m->r[i->a + 1].string) : STR_NONE;
    if (vcl__own(task, &task->reason)) {
        m->verdict = (enum vcl_return)i->c;
    }
}

static void return_vcl(struct machine *m, const struct vcl_insn *i)
{
    m->task->chosen = m->task->vcl->labels[i->c];
    CHECK(m->task->chosen != NULL);
    m->verdict = VCL_RET_VCL;
}

/* ---- groups of instructions ---- */

static void step_message(struct machine *m, const struct vcl_insn *i)
{
    struct vcl_task *task = m->task;
    union objm_value *a = &m->r[i->a];
    switch ((enum vcl_opcode)i->op) {
    case VCL_OP_GET:
        *a = (union objm_value){0};
        if (!task->host->get(task, (enum vcl_var)i->c, a)) {
            vcl_fail(task, STR("A variable could not be read"));
        }
        break;
    case VCL_OP_SET:
        if (!task->host->set(task, (enum vcl_var)i->c, a)) {
            vcl_fail(task, STR("A variable could not be set"));
        }
        break;
    case VCL_OP_UNSET:
        task->host->unset(task, (enum vcl_var)i->c);
        break;
    case VCL_OP_SETLINE:
        vcl__line_set(task, (enum objm_http)i->b, (enum objm_line)i->c, a);
        break;
    case VCL_OP_SETFIELD:
        vcl__field_set(task, &m->prog->fields.at[i->c]->header, vcl_str(a->string));
        break;
    case VCL_OP_UNSETFIELD:
        vcl__field_unset(task, &m->prog->fields.at[i->c]->header);
        break;
    case VCL_OP_BODY:
        task->host->body(task, (enum vcl_var)i->c, vcl_str(a->string), i->b != 0);
        break;
    default:
        task->host->body(task,
                         task->ctx.where == OBJM_IN_SYNTH ? VCL_VAR_RESP_BODY : VCL_VAR_BERESP_BODY,
                         vcl_str(a->string), true);
        break;
    }
}

static void step_handle(struct machine *m, const struct vcl_insn *i)
{
    const struct vcl_program *prog = m->prog;
    const struct vcl *vcl = m->task->vcl;
    union objm_value *a = &m->r[i->a];
    switch ((enum vcl_opcode)i->op) {
    case VCL_OP_BACKEND:
        a->backend = vcl->backends[i->c == VCL_BACKEND_DEFAULT ? prog->default_backend : i->c];
        break;
    case VCL_OP_ACLREF:
        a->acl = prog->acls.at[i->c];
        break;
    case VCL_OP_PROBE:
        a->probe = i->c == VCL_PROBE_DEFAULT ? &prog->default_probe->handle
                                             : &prog->probes.at[i->c]->handle;
        break;
    case VCL_OP_SUB:
        a->sub = &prog->subs.at[i->c].handle;
        break;
    case VCL_OP_STORE:
        a->stevedore = m->task->host->store(m->task, prog->stores.at[i->c]);
        break;
    case VCL_OP_INSTANCE:
        a->instance = vcl->instances[i->c];
        break;
    default:
        a->header = &prog->fields.at[i->c]->header;
        break;
    }
}

static void step_text(struct machine *m, const struct vcl_insn *i)
{
    struct vcl_task *task = m->task;
    union objm_value *a = &m->r[i->a];
    const union objm_value *b = &m->r[i->b];
    const uint32_t index = i->c & ~(UINT32_C(1) << 31);
    const bool bit = i->c >> 31 != 0;
    switch ((enum vcl_opcode)i->op) {
    case VCL_OP_TEXT:
        a->string = vcl_objm_str(vcl__text(task, (enum objm_type)i->c, b));
        break;
    case VCL_OP_CONCAT:
        a->string = vcl_objm_str(vcl__concat(task, b, i->c));
        break;
    case VCL_OP_STRANDS:
        strands(m, a, b, i->c);
        break;
    case VCL_OP_MATCH:
        a->boolean = vcl__match(task, m->prog->regexes.at[index], vcl_str(b->string)) != bit;
        break;
    case VCL_OP_REGSUB:
        a->string = vcl_objm_str(vcl__regsub(task, m->prog->regexes.at[index], bit,
                                             vcl_str(b[0].string), vcl_str(b[1].string)));
        break;
    case VCL_OP_ACL:
        a->boolean = vcl__acl(task, b[1].acl, b[0].ip) != (i->c != 0);
        break;
    default:
        property(m, a, b, i->c);
        break;
    }
}

static void step_logic(struct machine *m, const struct vcl_insn *i)
{
    union objm_value *a = &m->r[i->a];
    const union objm_value *b = &m->r[i->b];
    switch ((enum vcl_opcode)i->op) {
    case VCL_OP_TRUTH:
        a->boolean = is_true((enum vcl_type)i->c, b);
        break;
    case VCL_OP_NOT:
        a->boolean = !b->boolean;
        break;
    case VCL_OP_NEGATE:
        negate(a, b, (enum vcl_type)i->c);
        break;
    case VCL_OP_COMPAREIP:
        a->boolean = compare_ip(m, i->c, b);
        break;
    default:
        arith(m, a, b, i->c);
        break;
    }
}

static void ban(struct machine *m, struct str spec)
{
    struct str error = STR_NONE;
    if (!m->task->host->ban(m->task, spec, &error) && m->task->log != NULL) {
        vslb_str2(m->task->log, SLT_VCL_Error, STR("ban(): "), error);
    }
}

static void step_verdict(struct machine *m, const struct vcl_insn *i)
{
    union objm_value *a = &m->r[i->a];
    switch ((enum vcl_opcode)i->op) {
    case VCL_OP_BAN:
        ban(m, vcl_str(a->string));
        break;
    case VCL_OP_ADDFILTER:
    case VCL_OP_NOFILTER:
        vcl__filter_step(m->task, i, a->filter);
        break;
    case VCL_OP_HASHDATA:
        m->task->host->hash_data(m->task, vcl_str(a->string));
        break;
    case VCL_OP_RETURN:
        if (i->c == VCL_RET_FAIL) {
            vcl_fail(m->task, STR("Failed from VCL"));
        }
        m->verdict = (enum vcl_return)i->c;
        break;
    case VCL_OP_RETURNSYNTH:
        return_synth(m, i);
        break;
    case VCL_OP_RETURNPASS:
        m->task->pass_s = a->real;
        m->verdict = VCL_RET_PASS;
        break;
    case VCL_OP_RETURNFAIL:
        vcl_fail(m->task, vcl_str(a->string));
        break;
    default:
        return_vcl(m, i);
        break;
    }
}

/* What neither jumps nor calls. */
static void step(struct machine *m, const struct vcl_insn *i)
{
    switch ((enum vcl_opcode)i->op) {
    case VCL_OP_GET:
    case VCL_OP_SET:
    case VCL_OP_UNSET:
    case VCL_OP_SETLINE:
    case VCL_OP_SETFIELD:
    case VCL_OP_UNSETFIELD:
    case VCL_OP_BODY:
    case VCL_OP_SYNTHETIC:
        step_message(m, i);
        break;
    case VCL_OP_FIELDREF:
    case VCL_OP_BACKEND:
    case VCL_OP_ACLREF:
    case VCL_OP_PROBE:
    case VCL_OP_SUB:
    case VCL_OP_STORE:
    case VCL_OP_INSTANCE:
        step_handle(m, i);
        break;
    case VCL_OP_TEXT:
    case VCL_OP_CONCAT:
    case VCL_OP_STRANDS:
    case VCL_OP_MATCH:
    case VCL_OP_ACL:
    case VCL_OP_REGSUB:
    case VCL_OP_PROPERTY:
        step_text(m, i);
        break;
    case VCL_OP_TRUTH:
    case VCL_OP_NOT:
    case VCL_OP_NEGATE:
    case VCL_OP_ARITH:
    case VCL_OP_COMPAREIP:
        step_logic(m, i);
        break;
    case VCL_OP_BAN:
    case VCL_OP_ADDFILTER:
    case VCL_OP_NOFILTER:
    case VCL_OP_HASHDATA:
    case VCL_OP_RETURN:
    case VCL_OP_RETURNSYNTH:
    case VCL_OP_RETURNPASS:
    case VCL_OP_RETURNFAIL:
    case VCL_OP_RETURNVCL:
        step_verdict(m, i);
        break;
    default:
        CHECK(false);
    }
}

/* Most of what a hit runs stands here, and so takes one jump; what cannot fail goes on at once. */
static YIELDS void run(struct machine *m, uint32_t pc)
{
    const struct vcl_insn *code = m->code;
    struct vcl_task *task = m->task;
    if (task->failed) {
        return;
    }
    for (;;) {
        const struct vcl_insn *i = &code[pc++];
        union objm_value *a = &m->r[i->a];
        switch ((enum vcl_opcode)i->op) {
        case VCL_OP_PLACE:
            log_place(m, i->c);
            continue;
        case VCL_OP_CONST:
            *a = m->prog->consts.at[i->c];
            continue;
        case VCL_OP_LINE:
            vcl__line_get(task, (enum objm_http)i->b, (enum objm_line)i->c, a);
            continue;
        case VCL_OP_FIELD:
            a->string = vcl_objm_str(vcl__field_get(task, m->prog->fields.at[i->c]));
            continue;
        case VCL_OP_ANYTEXT:
            a->boolean = any_text(&m->r[i->b], i->c);
            continue;
        case VCL_OP_COMPARE:
            a->boolean = compare(i->c & 0xffff, (enum vcl_type)(i->c >> 16), &m->r[i->b]);
            continue;
        case VCL_OP_JUMP:
            pc = i->c;
            continue;
        case VCL_OP_JUMPNOT:
            pc = a->boolean ? pc : i->c;
            continue;
        case VCL_OP_JUMPIF:
            pc = a->boolean ? i->c : pc;
            continue;
        case VCL_OP_CALL:
            pc = call_sub(m, i->c, pc);
            break;
        case VCL_OP_CALLVALUE:
            pc = call_value(m, a->sub, pc);
            break;
        case VCL_OP_LEAVE:
            pc = leave(m);
            break;
        case VCL_OP_MODULE:
            vcl__module_call(task, i->c, a);
            break;
        default:
            step(m, i);
            break;
        }
        if (m->verdict != VCL_RET_NONE || task->failed) {
            return;
        }
    }
}

static const struct str call_names[] = {
#define SUB(lower, UPPER, side, returns) [VCL_SUB_##UPPER] = STR_INIT(#UPPER),
#include "vcl/subs.def"
#undef SUB
};

static const struct str return_names[] = {
    [VCL_RET_NONE] = STR_INIT(""),
#define RETURN(lower, UPPER) [VCL_RET_##UPPER] = STR_INIT(#lower),
#include "vcl/subs.def"
#undef RETURN
};

/* Registers live on the stack where they fit, else in the workspace. */
static union objm_value *registers(struct vcl_task *task, union objm_value *small, unsigned count)
{
    if (count <= REGS_ON_STACK) {
        return small;
    }
    union objm_value *r = arena_alloc(task->ws, count * sizeof *r);
    if (r == NULL) {
        vcl__overflow(task, "registers");
        return small;
    }
    return r;
}

enum vcl_return vcl_run(struct vcl_task *task, enum vcl_sub sub)
{
    CHECK_OBJ(task->vcl, VCL_MAGIC);
    CHECK(task->ws != NULL);
    const struct vcl_program *prog = task->vcl->prog;
    union objm_value small[REGS_ON_STACK];
    struct machine m; /* of which most is seldom needed, and so not cleared */
    task->ctx.ops = &vcl__ops;
    task->ctx.where = 1u << sub;
    task->ctx.syntax = prog->syntax;
    task->failed = false;
    task->message = STR_NONE;
    task->pass_s = -1;
    if (task->log != NULL) {
        vslb_str(task->log, SLT_VCL_call, call_names[sub]);
    }
    m.task = task;
    m.prog = prog;
    m.is_traced = task->log != NULL && vslb_wants(task->log, SLT_VCL_trace);
    m.code = m.is_traced ? prog->code.at : prog->lean;
    m.r = registers(task, small, prog->regs);
    m.depth = 0;
    m.steps_left = prog->code.count > STEPS_MAX ? prog->code.count : STEPS_MAX;
    m.verdict = VCL_RET_NONE;
    run(&m, call_sub(&m, prog->method[sub], UINT32_MAX));
    enum vcl_return verdict = task->failed ? VCL_RET_FAIL : m.verdict;
    if (task->log != NULL) {
        vslb_str(task->log, SLT_VCL_return, return_names[verdict]);
    }
    return verdict;
}
