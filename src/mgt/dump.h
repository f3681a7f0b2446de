/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Reference pages, made from the tables that the code itself uses. */
#ifndef MGT_DUMP_H
#define MGT_DUMP_H

#include "mgt/cli_proto.h"

/* "parameter": objmapper-params(7); "cli": the list of commands in objmapper-cli(7); as roff.
 * RC_NOT_FOUND. */
MUST_USE enum rc dump_page(const char *what, const struct cli_cmd *of_worker, struct cli_text *out);

#endif
