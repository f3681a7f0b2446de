/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Between child.c (supervision) and child_fork.c (the fork and what leads to it). */
#ifndef MGT_CHILD_PRIV_H
#define MGT_CHILD_PRIV_H

#include "mgt/priv.h"

/* The two channels to a worker that is about to be forked. */
struct child_ends {
    int cli_ours;
    int cli_theirs;
    int out_ours;
    int out_theirs;
};

/* Opens what the worker will find: sockets, directory, channels.  On failure *why says what was
 * missing and nothing is left open but listening sockets. */
MUST_USE enum rc child__prepare(struct mgt *mgt, struct child_ends *ends, struct cli_text *why);

/* Returns the process id in the parent; the child runs the worker and ends here. */
pid_t child__fork(struct mgt *mgt, struct child_ends *ends);

#endif
