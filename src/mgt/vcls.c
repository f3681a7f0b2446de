/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* VCLs in the manager.  It keeps every text that a VCL was made of: a worker that starts later gets
 * the same ones, whatever became of the files. */
#include "mgt/vcls.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/pack.h"
#include "mgt/priv.h"

void mgt__vcls_init(struct mgt_vcls *vcls)
{
    list_init(&vcls->all);
}

bool mgt__vcls_is_there(struct mgt *mgt, const char *file)
{
    struct str dirs = file[0] == '/' ? STR("") : str_of(mgt->params.strings[PARAM_STRING_vcl_path]);
    bool is_there = false;
    do {
        struct str dir = str_cut(&dirs, ':');
        char *path = dir.len == 0 ? xstrdup(file) : xasprintf("%.*s/%s", STR_ARG(dir), file);
        is_there = access(path, F_OK) == 0;
        free(path);
    } while (!is_there && dirs.ptr != NULL);
    return is_there;
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
    mgt__vcc_output_free(&v->out);
    free(v->module_path);
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
}

static bool uses_label(const struct vcc_output *out, const char *label)
{
    for (unsigned i = 0; i < out->labels_count; i++) {
        if (strcmp(out->labels[i], label) == 0) {
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
    return to->target != NULL && uses_label(&from->out, to->name);
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

static enum rc feed_program(struct mgt *mgt, struct mgt_vcl *v, bool is_new, unsigned *status,
                            struct cli_text *out)
{
    bool is_auto = strcmp(v->state, "auto") == 0;
    const struct str words[] = {STR("vcl.load"),
                                str_of(v->name),
                                cli_text_str(&v->out.pack),
                                str_of(v->state),
                                is_auto ? (is_new ? STR("warm") : STR("cold")) : str_of(v->state),
                                str_of(v->module_path)};
    /* What it says of a success is for the log. */
    struct cli_text answer = {0};
    enum rc rc = tell(mgt, status, &answer, ARRAY_SIZE(words), words);
    if (rc != RC_OK) {
        cli_text_add(out, cli_text_str(&answer));
    }
    cli_text_free(&answer);
    return rc;
}

static enum rc feed_label(struct mgt *mgt, struct mgt_vcl *v, unsigned *status,
                          struct cli_text *out)
{
    const struct str words[] = {STR("vcl.label"), str_of(v->name), str_of(v->target->name)};
    return tell(mgt, status, out, 3, words);
}

/* A new one that is warm or may become so is warm at once, so that what its modules say against it
 * is an answer to who loads it; one that a later worker gets, when it is used. */
static enum rc feed(struct mgt *mgt, struct mgt_vcl *v, bool is_new, unsigned *status,
                    struct cli_text *out)
{
    enum rc rc = v->target != NULL ? feed_label(mgt, v, status, out)
                                   : feed_program(mgt, v, is_new, status, out);
    v->is_fed = rc == RC_OK;
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
            enum rc rc = feed(mgt, v, false, &status, why);
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

/* What max_vcl and max_vcl_handling have to say.  False: no more of them. */
static bool is_room(struct mgt *mgt, unsigned *status, struct cli_text *out)
{
    uint64_t count = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        count += CONTAINER_OF(node, struct mgt_vcl, link)->target == NULL;
    }
    uint64_t handling = param(mgt->params.shared, max_vcl_handling);
    if (count < param(mgt->params.shared, max_vcl) || handling == 0) {
        return true;
    }
    if (handling == 1) {
        cli_text_printf(out, "%llu VCLs loaded\nRemember to vcl.discard the old/unused VCLs.\n",
                        (unsigned long long)count + 1);
    } else {
        cli_text_printf(out, "Too many (%llu) VCLs already loaded\n", (unsigned long long)count);
        *status = CLI_CANNOT;
    }
    cli_text_printf(out, "(See max_vcl and max_vcl_handling parameters)\n");
    return handling == 1;
}

enum rc mgt__vcls_add(struct mgt *mgt, const struct mgt_vcl_new *what, unsigned *status,
                      struct cli_text *out)
{
    *status = CLI_OK;
    if (!is_room(mgt, status, out)) {
        return RC_LIMIT;
    }
    struct vcc_output output;
    *status = CLI_PARAM;
    enum rc rc = mgt__vcc_compile(mgt, what->source, what->text, &output, out);
    if (rc != RC_OK) {
        return rc;
    }
    struct mgt_vcl *v = xcalloc(1, sizeof *v);
    v->name = xstrdup(what->name);
    v->out = output;
    v->state = what->state;
    v->module_path = xstrdup(mgt->params.strings[PARAM_STRING_vmod_path]);
    list_init(&v->link);
    *status = CLI_OK;
    if (mgt->child.state == MGT_RUNNING) {
        struct cli_text answer = {0};
        rc = feed(mgt, v, true, status, &answer);
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
