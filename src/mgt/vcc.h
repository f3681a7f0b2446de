/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Compiling VCL without letting it near the manager. */
#ifndef MGT_VCC_H
#define MGT_VCC_H

#include "mgt/cli_proto.h"

struct mgt;

/* What a compilation leaves: every text that it read, in order, the first being the VCL itself and
 * the built-in one not among them; and the labels that it returns to. */
struct vcc_output {
    struct vcc_source {
        const char *name;
        struct str text;
    } * sources;
    unsigned sources_count;
    const char **labels;
    unsigned labels_count;
    struct cli_text pack; /* all of it as one text, which the rest borrows from; see pack.h */
};

/* Compiles a text, or the file `name` if text is NULL, in a child of its own that has the rights of
 * the jail's user, and waits for it.  *say: what the operator should read, in either case.  RC_OK:
 * the caller owns *out.  RC_INVALID: it does not compile, or the child came to grief. */
MUST_USE enum rc mgt__vcc_compile(struct mgt *mgt, const char *name, const struct str *text,
                                  struct vcc_output *out, struct cli_text *say);
void mgt__vcc_output_free(struct vcc_output *out);

/* Takes apart what the child wrote, which may be anything: `compiled` or `refused` with messages,
 * and after the former, `name` and `text` of each source, and each `label`; names with their NUL.
 * Takes *take_pack.  RC_INVALID: a VCL that does not compile; RC_MALFORMED: bytes that are no
 * answer; *out is empty after both. */
MUST_USE enum rc mgt__vcc_parse(struct cli_text *take_pack, struct vcc_output *out,
                                struct cli_text *messages);

#endif
