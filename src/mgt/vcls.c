/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* VCLs in the manager.  It keeps their programs, and with them every source that was read: a worker
 * that starts later gets the same texts, whatever became of the files. */
#include "mgt/vcls.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/priv.h"
#include "vcl/vcl.h"

void mgt__vcls_init(struct mgt_vcls *vcls)
{
    list_init(&vcls->all);
    vcls->vcl_path = xstrdup("/etc/varnish:/usr/share/varnish/vcl");
    vcls->module_path = xstrdup("/usr/lib/objmapper/modules");
}

bool mgt__vcls_set_path(struct mgt *mgt, struct str name, struct str value)
{
    bool is_vcl = str_eq(name, STR("vcl_path"));
    if (!is_vcl && !str_eq(name, STR("vmod_path"))) {
        return false;
    }
    char **path = is_vcl ? &mgt->vcls.vcl_path : &mgt->vcls.module_path;
    free(*path);
    *path = str_dup(value);
    return true;
}

struct mgt_vcl *mgt__vcls_find(struct mgt *mgt, struct str name)
{
    LIST_FOREACH (node, &mgt->vcls.all) {
        struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        if (str_eq(str_of(v->name), name)) {
            return v;
        }
    }
    return NULL;
}

void mgt__vcls_drop(struct mgt *mgt, struct mgt_vcl **vcl_of)
{
    struct mgt_vcl *v = *vcl_of;
    *vcl_of = NULL;
    if (mgt->vcls.active == v) {
        mgt->vcls.active = NULL;
    }
    list_remove(&v->link);
    vcl_program_release(&v->prog);
    free(v->name);
    free(v);
}

void mgt__vcls_end(struct mgt_vcls *vcls)
{
    struct mgt *mgt = CONTAINER_OF(vcls, struct mgt, vcls);
    LIST_FOREACH_SAFE (node, &vcls->all) {
        struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        mgt__vcls_drop(mgt, &v);
    }
    XFREE(vcls->vcl_path);
    XFREE(vcls->module_path);
}

static bool uses_label(const struct vcl_program *prog, const char *label)
{
    for (unsigned i = 0; vcl_program_label(prog, i) != NULL; i++) {
        if (strcmp(vcl_program_label(prog, i), label) == 0) {
            return true;
        }
    }
    return false;
}

bool mgt__vcls_needs(const struct mgt_vcl *from, const struct mgt_vcl *to)
{
    if (from->target != NULL) {
        return from->target == to;
    }
    return to->target != NULL && uses_label(from->prog, to->name);
}

/* ---- compiling ---- */

enum rc mgt__vcls_compile(struct mgt *mgt, const char *name, const struct str *text,
                          struct vcl_program **prog, struct cli_text *out)
{
    const char *stores[MGT_ARGS_EACH_MAX + 2] = {NULL};
    for (unsigned i = 0; i < mgt->stores_count; i++) {
        stores[i] = mgt->stores[i].name;
    }
    unsigned count = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        count++;
    }
    const char **labels = xcalloc(count + 1, sizeof *labels);
    count = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        if (v->target != NULL) {
            labels[count++] = v->name;
        }
    }
    const struct params *p = mgt->params.shared;
    const struct vcl_conf conf = {
        .vcl_path = mgt->vcls.vcl_path,
        .module_path = mgt->vcls.module_path,
        .unsafe_path = param(p, vcc_unsafe_path) != 0,
        .allow_unused = param(p, vcc_err_unref) == 0,
        .stores = stores,
        .labels = labels,
    };
    char *messages = NULL;
    enum rc rc = vcl_compile(&conf, name, text, prog, &messages);
    if (messages[0] != '\0') {
        cli_text_printf(out, "Message from VCC-compiler:\n%s", messages);
    }
    if (rc != RC_OK) {
        cli_text_printf(out, "Running VCC-compiler failed, exited with 2\n"
                             "VCL compilation failed");
    }
    free(messages);
    free(labels);
    return rc;
}

int mgt__vcls_check(struct mgt *mgt, const char *path)
{
    struct cli_text out = {0};
    struct vcl_program *prog = NULL;
    enum rc rc = mgt__vcls_compile(mgt, path, NULL, &prog, &out);
    (void)fprintf(stderr, "%.*s%s", STR_ARG(cli_text_str(&out)), rc == RC_OK ? "" : "\n");
    cli_text_free(&out);
    vcl_program_release(&prog);
    return rc == RC_OK ? 0 : 2;
}

/* ---- the worker ---- */

enum rc mgt__vcls_ask(struct mgt *mgt, unsigned *status, struct cli_text *text, unsigned count,
                      const struct str *words)
{
    struct cli_request req = {.argc = count};
    CHECK(count <= CLI_ARGS_MAX);
    memcpy(req.argv, words, count * sizeof words[0]);
    return mgt__child_ask(mgt, &req, status, text);
}

/* The same; any status but CLI_OK is RC_INVALID. */
static enum rc tell(struct mgt *mgt, unsigned *status, struct cli_text *out, unsigned count,
                    const struct str *words)
{
    enum rc rc = mgt__vcls_ask(mgt, status, out, count, words);
    return rc != RC_OK ? rc : *status == CLI_OK ? RC_OK : RC_INVALID;
}

static enum rc feed_program(struct mgt *mgt, struct mgt_vcl *v, unsigned *status,
                            struct cli_text *out)
{
    struct str words[CLI_ARGS_MAX] = {STR("vcl.load"), str_of(v->name)};
    unsigned count = 2;
    for (unsigned i = 0; vcl_program_source(v->prog, i, &words[count], &words[count + 1]); i++) {
        count += 2;
        if (count + 2 > CLI_ARGS_MAX) {
            cli_text_printf(out, "Too many included files");
            *status = CLI_CANNOT;
            return RC_LIMIT;
        }
    }
    return tell(mgt, status, out, count, words);
}

static enum rc feed_label(struct mgt *mgt, struct mgt_vcl *v, unsigned *status,
                          struct cli_text *out)
{
    const struct str words[] = {STR("vcl.label"), str_of(v->name), str_of(v->target->name)};
    return tell(mgt, status, out, 3, words);
}

static enum rc feed(struct mgt *mgt, struct mgt_vcl *v, unsigned *status, struct cli_text *out)
{
    enum rc rc =
        v->target != NULL ? feed_label(mgt, v, status, out) : feed_program(mgt, v, status, out);
    v->is_fed = rc == RC_OK;
    if (rc == RC_OK && v->target == NULL && strcmp(v->state, "auto") != 0) {
        const struct str words[] = {STR("vcl.state"), str_of(v->name), str_of(v->state)};
        rc = tell(mgt, status, out, 3, words);
    }
    return rc;
}

/* Whether all that it needs is with the worker. */
static bool is_ready(struct mgt *mgt, const struct mgt_vcl *v)
{
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *other = CONTAINER_OF(node, struct mgt_vcl, link);
        if (!other->is_fed && mgt__vcls_needs(v, other)) {
            return false;
        }
    }
    return true;
}

enum rc mgt__vcls_feed(struct mgt *mgt, struct cli_text *why)
{
    LIST_FOREACH (node, &mgt->vcls.all) {
        CONTAINER_OF(node, struct mgt_vcl, link)->is_fed = false;
    }
    bool is_any = true;
    while (is_any) {
        is_any = false;
        LIST_FOREACH (node, &mgt->vcls.all) {
            struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
            unsigned status = CLI_OK;
            if (v->is_fed || !is_ready(mgt, v)) {
                continue;
            }
            enum rc rc = feed(mgt, v, &status, why);
            if (rc != RC_OK) {
                return rc;
            }
            cli_text_clear(why);
            is_any = true;
        }
    }
    unsigned status = CLI_OK;
    return mgt->vcls.active == NULL ? RC_OK : mgt__vcls_use(mgt, mgt->vcls.active, &status, why);
}

enum rc mgt__vcls_use(struct mgt *mgt, struct mgt_vcl *vcl, unsigned *status, struct cli_text *out)
{
    const struct str words[] = {STR("vcl.use"), str_of(vcl->name)};
    return tell(mgt, status, out, 2, words);
}

enum rc mgt__vcls_add(struct mgt *mgt, const char *name, const char *source, const struct str *text,
                      unsigned *status, struct cli_text *out)
{
    struct vcl_program *prog = NULL;
    *status = CLI_PARAM;
    enum rc rc = mgt__vcls_compile(mgt, source, text, &prog, out);
    if (rc != RC_OK) {
        return rc;
    }
    struct mgt_vcl *v = xcalloc(1, sizeof *v);
    v->name = xstrdup(name);
    v->prog = prog;
    v->state = "auto";
    list_init(&v->link);
    *status = CLI_OK;
    if (mgt->child.state == MGT_RUNNING) {
        struct cli_text answer = {0};
        rc = feed(mgt, v, status, &answer);
        if (rc != RC_OK) {
            cli_text_add(out, cli_text_str(&answer));
            mgt__vcls_drop(mgt, &v);
        }
        cli_text_free(&answer);
    }
    if (rc == RC_OK) {
        list_push_back(&mgt->vcls.all, &v->link);
        cli_text_printf(out, "VCL compiled.\n");
    }
    return rc;
}
