/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The manager process: all of objmapperd but what its worker does. */
#ifndef MGT_MGT_H
#define MGT_MGT_H

#include "mgt/worker.h"

/* main() of a daemon with this worker, which answers these commands.  Returns the exit status: 0; 2
 * when it could not start (stderr says why); else 0x20, 0x40 and 0x80 as a worker ended with an
 * error, by a signal, or with a core file. */
int mgt_main(int argc, char **argv, worker_main_fn *worker, const struct cli_cmd *commands);

#endif
