/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A program becomes a VCL that requests can use, and ends.
 *
 *     1 backends are made   2 modules are told (LOAD)   3 vcl_init runs, which makes objects
 *     4 all objects must be there
 *
 * and backwards: vcl_fini, objects, modules (DISCARD), backends.  Whatever fails on the way in goes
 * the whole way back, vcl_fini included, since vcl_init may have come halfway.
 */
#include "vcl/program.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "vcl/cc_lex.h"
#include "vcl/vm_priv.h"

static struct vcl_task house_task(struct vcl *vcl)
{
    return (struct vcl_task){
        .ctx = {.ops = &vcl__ops,
                .where = OBJM_IN_INIT,
                .syntax = vcl->prog->syntax,
                .now = (double)clock_real_ns() / 1e9},
        .host = vcl->env->host,
        .arg = vcl->env->arg,
        .vcl = vcl,
        .ws = vcl->env->ws,
        .scratch = vcl->env->scratch,
        .rng = vcl->env->rng,
        .series = vcl->env->series,
    };
}

static bool make_backends(struct vcl *vcl, struct cc_text *out)
{
    const struct vcl_program *prog = vcl->prog;
    vcl->backends = xcalloc(prog->backends.count + 1, sizeof(struct objm_backend *));
    for (unsigned i = 0; i < prog->backends.count; i++) {
        const struct vcl_backend_decl *decl = &prog->backends.at[i];
        const char *why = NULL;
        void *leaf =
            decl->is_none ? NULL : vcl->env->backend_new(vcl->env->arg, vcl->name, decl, &why);
        if (leaf == NULL && !decl->is_none) {
            vcl__addf(out, "Backend %s: %s\n", decl->name, why);
            return false;
        }
        /* `none` is no backend at all, wherever one is asked for. */
        vcl->backends[i] = decl->is_none ? NULL : vcl_backend_add(vcl->set, decl->name, leaf, decl);
    }
    return true;
}

static void free_backend(void *arg, struct objm_backend *backend)
{
    struct vcl *vcl = arg;
    void *leaf = vcl_backend_leaf(backend);
    if (leaf != NULL) {
        vcl->env->backend_free(vcl->env->arg, leaf);
    }
}

static bool get_labels(struct vcl *vcl, struct cc_text *out)
{
    const struct vcl_program *prog = vcl->prog;
    vcl->labels = xcalloc(prog->labels.count + 1, sizeof(void *));
    for (unsigned i = 0; i < prog->labels.count; i++) {
        vcl->labels[i] = vcl->env->label(vcl->env->arg, prog->labels.at[i]);
        if (vcl->labels[i] == NULL) {
            vcl__addf(out, "Label %s is not there\n", prog->labels.at[i]);
            return false;
        }
    }
    return true;
}

/* Tells every module; the first that fails ends it. */
static bool tell_modules(struct vcl *vcl, enum objm_event event, struct cc_text *out)
{
    const struct vcl_program *prog = vcl->prog;
    for (unsigned i = 0; i < prog->imports.count; i++) {
        const struct objm_module *module = prog->imports.at[i].module;
        if (module->event == NULL) {
            continue;
        }
        struct vcl_task task = house_task(vcl);
        module->event(&task.ctx, &vcl->priv_vcl[i], event);
        vcl_task_end(&task);
        if (task.failed) {
            vcl__addf(out, "%.*s\n", STR_ARG(task.message));
            return false;
        }
    }
    return true;
}

static bool run_vcl_init(struct vcl *vcl, struct cc_text *out)
{
    struct vcl_task task = house_task(vcl);
    enum vcl_return verdict = vcl_run(&task, VCL_SUB_INIT);
    vcl_task_end(&task);
    if (verdict != VCL_RET_OK) {
        vcl__addf(out, "%.*s\n", STR_ARG(task.message));
        return false;
    }
    for (unsigned i = 0; i < vcl->prog->instances.count; i++) {
        if (vcl->instances[i] == NULL) {
            vcl__addf(out, "Object %s not initialized\n", vcl->prog->instances.at[i].name);
            return false;
        }
    }
    return true;
}

static void end_objects(struct vcl *vcl)
{
    const struct vcl_program *prog = vcl->prog;
    struct vcl_task task = house_task(vcl);
    task.ctx.where = OBJM_IN_FINI;
    for (unsigned i = prog->instances.count; i-- > 0;) {
        const struct objm_object *object = prog->instances.at[i].object;
        if (vcl->instances[i] != NULL && object->fini != NULL) {
            object->fini(&task.ctx, vcl->instances[i]);
        }
    }
    vcl_task_end(&task);
}

static void end_priv(struct objm_priv *priv)
{
    if (priv->ptr != NULL && priv->fini != NULL) {
        priv->fini(priv->ptr);
    }
}

void vcl_unload(struct vcl **vcl_of)
{
    struct vcl *vcl = *vcl_of;
    *vcl_of = NULL;
    CHECK_OBJ(vcl, VCL_MAGIC);
    size_t mark = arena_mark(vcl->env->ws);
    if (vcl->is_inited) {
        struct vcl_task task = house_task(vcl);
        enum vcl_return verdict = vcl_run(&task, VCL_SUB_FINI);
        (void)verdict;
        vcl_task_end(&task);
    }
    end_objects(vcl);
    struct cc_text ignored = {0};
    if (vcl->is_told) {
        bool is_fine = tell_modules(vcl, OBJM_EVENT_DISCARD, &ignored);
        (void)is_fine;
    }
    free(ignored.ptr);
    for (unsigned i = 0; i < vcl->prog->imports.count; i++) {
        end_priv(&vcl->priv_vcl[i]);
    }
    for (unsigned i = 0; i < vcl->prog->priv_calls; i++) {
        end_priv(&vcl->priv_call[i]);
    }
    for (unsigned i = 0; vcl->labels != NULL && i < vcl->prog->labels.count; i++) {
        if (vcl->labels[i] != NULL) {
            vcl->env->unlabel(vcl->env->arg, vcl->labels[i]);
        }
    }
    vcl_backends_each(vcl->set, free_backend, vcl);
    vcl_backends_free(&vcl->set);
    arena_rewind(vcl->env->ws, mark);
    vcl_program_release(&vcl->prog);
    free(vcl->backends);
    free(vcl->instances);
    free(vcl->priv_vcl);
    free(vcl->priv_call);
    free(vcl->labels);
    free(vcl->name);
    vcl->magic = 0;
    free(vcl);
}

static bool load(struct vcl *vcl, struct cc_text *out)
{
    if (!make_backends(vcl, out) || !get_labels(vcl, out)) {
        return false;
    }
    vcl->is_told = true;
    if (!tell_modules(vcl, OBJM_EVENT_LOAD, out)) {
        return false;
    }
    vcl->is_inited = true;
    return run_vcl_init(vcl, out);
}

enum rc vcl_load(struct vcl_program *prog, const char *name, const struct vcl_env *env,
                 struct vcl **out, char **messages)
{
    struct vcl *vcl = xcalloc(1, sizeof *vcl);
    struct cc_text text = {0};
    vcl__add(&text, STR(""));
    vcl->magic = VCL_MAGIC;
    vcl->name = xstrdup(name);
    vcl->prog = vcl_program_ref(prog);
    vcl->env = env;
    vcl->set = vcl_backends_new(vcl->name, env->backend_healthy, env->arg);
    vcl->instances = xcalloc(prog->instances.count + 1, sizeof(void *));
    vcl->priv_vcl = xcalloc(prog->imports.count + 1, sizeof *vcl->priv_vcl);
    vcl->priv_call = xcalloc(prog->priv_calls + 1, sizeof *vcl->priv_call);
    size_t mark = arena_mark(env->ws);
    bool is_fine = load(vcl, &text);
    arena_rewind(env->ws, mark);
    *messages = text.ptr;
    *out = vcl;
    if (!is_fine) {
        vcl_unload(out);
    }
    return is_fine ? RC_OK : RC_INVALID;
}

struct warmth {
    const struct vcl *vcl;
    bool is_warm;
};

static void warm_backend(void *arg, struct objm_backend *backend)
{
    const struct warmth *w = arg;
    void *leaf = vcl_backend_leaf(backend);
    if (leaf != NULL) {
        w->vcl->env->backend_warm(w->vcl->env->arg, leaf, w->is_warm);
    }
}

enum rc vcl_set_warm(struct vcl *vcl, bool is_warm, char **messages)
{
    CHECK_OBJ(vcl, VCL_MAGIC);
    struct cc_text text = {0};
    vcl__add(&text, STR(""));
    bool is_fine = true;
    if (vcl->is_warm != is_warm) {
        size_t mark = arena_mark(vcl->env->ws);
        is_fine = tell_modules(vcl, is_warm ? OBJM_EVENT_WARM : OBJM_EVENT_COLD, &text);
        arena_rewind(vcl->env->ws, mark);
    }
    if (is_fine && vcl->is_warm != is_warm) {
        struct warmth w = {vcl, is_warm};
        vcl_backends_each(vcl->set, warm_backend, &w);
        vcl->is_warm = is_warm;
    }
    *messages = text.ptr;
    return is_fine ? RC_OK : RC_INVALID;
}

const char *vcl_name(const struct vcl *vcl)
{
    CHECK_OBJ(vcl, VCL_MAGIC);
    return vcl->name;
}

const struct vcl_program *vcl_program_of(const struct vcl *vcl)
{
    CHECK_OBJ(vcl, VCL_MAGIC);
    return vcl->prog;
}

const struct objm_backend *vcl_default_backend(const struct vcl *vcl)
{
    CHECK_OBJ(vcl, VCL_MAGIC);
    return vcl->backends[vcl->prog->default_backend];
}

struct vcl_backends *vcl_backends_of(const struct vcl *vcl)
{
    CHECK_OBJ(vcl, VCL_MAGIC);
    return vcl->set;
}
