/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The manager's VCLs: compiled once by a child (vcc.h), so that errors are told at once and to
 * whoever asked for them; fed as text to each worker, which compiles them again. */
#ifndef MGT_VCLS_H
#define MGT_VCLS_H

#include "base/list.h"
#include "mgt/vcc.h"

struct mgt;

struct mgt_vcl {
    struct list link;
    char *name;
    struct vcc_output out;  /* empty: a label */
    struct mgt_vcl *target; /* of a label; NULL: it is none */
    const char *state;      /* "auto", "warm", "cold" */
    char *module_path;      /* vmod_path when it was compiled; NULL: a label */
    bool is_fed;            /* the running worker has it */
};

struct mgt_vcls {
    struct list all; /* in order of loading */
    struct mgt_vcl *active;
};

void mgt__vcls_init(struct mgt_vcls *vcls);
void mgt__vcls_end(struct mgt_vcls *vcls);
/* Whether a file of that name is along vcl_path; errno says why not. */
bool mgt__vcls_is_there(struct mgt *mgt, const char *file);
struct mgt_vcl_new {
    const char *name;
    const char *source;     /* a file, or a name for the text */
    const struct str *text; /* NULL: the file */
    const char *state;      /* "auto", "warm", "cold" */
};
/* Compiles, adds, and gives it to the worker if one runs.  `out`: for the operator.  RC_LIMIT:
 * there are too many.  RC_INVALID; *status is for the CLI. */
MUST_USE enum rc mgt__vcls_add(struct mgt *mgt, const struct mgt_vcl_new *what, unsigned *status,
                               struct cli_text *out);
MUST_USE enum rc mgt__vcls_use(struct mgt *mgt, struct mgt_vcl *vcl, unsigned *status,
                               struct cli_text *out);
struct mgt_vcl *mgt__vcls_find(struct mgt *mgt, struct str name);
/* Whether `from` (a label or a VCL) needs `to`. */
bool mgt__vcls_needs(const struct mgt_vcl *from, const struct mgt_vcl *to);
void mgt__vcls_drop(struct mgt *mgt, struct mgt_vcl **vcl);
/* All of them to a worker that does not accept yet. */
MUST_USE enum rc mgt__vcls_feed(struct mgt *mgt, struct cli_text *why);
/* A request to the worker with these words. */
MUST_USE enum rc mgt__vcls_ask(struct mgt *mgt, unsigned *status, struct cli_text *text,
                               unsigned count, const struct str *words);
cli_fn mgt__cmd_vcl_load, mgt__cmd_vcl_inline, mgt__cmd_vcl_use, mgt__cmd_vcl_state,
    mgt__cmd_vcl_discard, mgt__cmd_vcl_list, mgt__cmd_vcl_label, mgt__cmd_vcl_show,
    mgt__cmd_vcl_deps, mgt__cmd_vcl_symtab;

#endif
