/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the language knows before the first line is read: variables, actions, functions, the subs
 * that a VCL may define, storages, labels. */
#include "vcl/cc.h"

#define M(sub) (UINT32_C(1) << VCL_SUB_##sub)
#define CLIENT                                                                                     \
    (M(RECV) | M(PIPE) | M(PASS) | M(HASH) | M(PURGE) | M(MISS) | M(HIT) | M(DELIVER) | M(SYNTH))
#define BACKEND (M(BACKEND_FETCH) | M(BACKEND_RESPONSE) | M(BACKEND_ERROR))
#define ALL (CLIENT | BACKEND | M(INIT) | M(FINI))
#define ANSWER (M(BACKEND_RESPONSE) | M(BACKEND_ERROR))
#define SENDING (M(PIPE) | BACKEND)
#define RESPONSE (M(DELIVER) | M(SYNTH))
#define FOUND (M(HIT) | M(DELIVER))

static const struct {
    const char *name;
    enum vcl_var var;
    enum vcl_type type;
    uint32_t reads;
    uint32_t writes;
    uint32_t unsets;
    unsigned lo;
    unsigned hi;
} vars[] = {
#define VAR(name, id, type, read, set, unset, lo, hi)                                              \
    {name, VCL_VAR_##id, VT_##type, read, set, unset, lo, hi},
#define VAR_AGAIN(name, id, type, read, set, unset, lo, hi)                                        \
    {name, VCL_VAR_##id, VT_##type, read, set, unset, lo, hi},
#include "vcl/vars.def"
#undef VAR
#undef VAR_AGAIN
};

static const struct {
    const char *name;
    uint32_t returns;
} methods[] = {
#define R(ret) (UINT32_C(1) << R_##ret)
#define R_fail VCL_RET_FAIL
#define R_synth VCL_RET_SYNTH
#define R_restart VCL_RET_RESTART
#define R_pass VCL_RET_PASS
#define R_pipe VCL_RET_PIPE
#define R_hash VCL_RET_HASH
#define R_purge VCL_RET_PURGE
#define R_vcl VCL_RET_VCL
#define R_fetch VCL_RET_FETCH
#define R_lookup VCL_RET_LOOKUP
#define R_deliver VCL_RET_DELIVER
#define R_abandon VCL_RET_ABANDON
#define R_error VCL_RET_ERROR
#define R_retry VCL_RET_RETRY
#define R_ok VCL_RET_OK
#define SUB(lower, UPPER, side, returns) [VCL_SUB_##UPPER] = {#lower, returns},
#include "vcl/subs.def"
#undef SUB
};

static const char *const returns[] = {
    [VCL_RET_NONE] = "none",
#define RETURN(lower, UPPER) [VCL_RET_##UPPER] = #lower,
#include "vcl/subs.def"
#undef RETURN
};

const char *vcl_sub_name(unsigned sub)
{
    return methods[sub].name;
}

const char *vcl_return_name(unsigned ret)
{
    return returns[ret];
}

uint32_t vcl__sub_returns(unsigned sub)
{
    return methods[sub].returns;
}

uint32_t vcl__return_subs(unsigned ret)
{
    uint32_t subs = 0;
    for (unsigned i = 0; i < VCL_SUB__COUNT; i++) {
        subs |= (methods[i].returns >> ret & 1) << i;
    }
    return subs;
}

static void init_vars(struct cc *cc)
{
    for (size_t i = 0; i < ARRAY_SIZE(vars); i++) {
        bool is_headers = vars[i].type == VT_HEADER;
        struct symbol *sym = vcl__sym_make(cc, vars[i].name, is_headers ? SYM_NONE : SYM_VAR,
                                           vars[i].lo, vars[i].hi);
        sym->is_headers = is_headers;
        sym->type = vars[i].type;
        sym->var = vars[i].var;
        sym->reads = vars[i].reads;
        sym->writes = vars[i].writes;
        sym->unsets = vars[i].unsets;
    }
}

static void init_stores(struct cc *cc)
{
    for (const char *const *name = cc->conf->stores; name != NULL && *name != NULL; name++) {
        char dotted[128];
        struct sb sb = sb_of(dotted, sizeof dotted);
        sb_printf(&sb, "storage.%s", *name);
        sb_chr(&sb, '\0');
        if (sb.overflow) {
            continue;
        }
        struct symbol *sym = vcl__sym_make(cc, dotted, SYM_VAR, 0, 99);
        sym->type = VT_STEVEDORE;
        sym->var = VCL_VAR__COUNT;
        sym->reads = ALL;
        const char **slot = VCL_PUSH(cc->prog->stores);
        *slot = vcl__prog_text(cc->prog, str_of(*name)).ptr;
        sym->index = cc->prog->stores.count - 1;
    }
}

static void init_functions(struct cc *cc)
{
    static const struct {
        const char *name;
        enum vcl_type type;
    } functions[] = {{"regsub", VT_STRING},
                     {"regsuball", VT_STRING},
                     {"true", VT_BOOL},
                     {"false", VT_BOOL},
                     {"default", VT_BACKEND}};
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
        vcl__sym_make(cc, functions[i].name, SYM_FUNC, 0, 99)->type = functions[i].type;
    }
}

static void init_methods(struct cc *cc)
{
    for (unsigned i = 0; i < ARRAY_SIZE(methods); i++) {
        char name[32];
        struct sb sb = sb_of(name, sizeof name);
        sb_printf(&sb, "vcl_%s", methods[i].name);
        sb_chr(&sb, '\0');
        struct symbol *sym = vcl__sym_make(cc, name, SYM_SUB, 0, 99);
        sym->sub = vcl__sub_new(cc, sym);
        sym->sub->method = (int)i;
        sym->type = VT_SUB;
    }
}

void vcl__sym_init(struct cc *cc)
{
    vcl__reserve_words(cc);
    init_functions(cc);
    vcl__actions_init(cc);
    init_vars(cc);
    init_stores(cc);
    init_methods(cc);
    for (const char *const *name = cc->conf->labels; name != NULL && *name != NULL; name++) {
        vcl__sym_make(cc, *name, SYM_VCL, 0, 99)->type = VT_VCL;
    }
}
