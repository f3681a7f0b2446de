/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Several texts as one: `word bytes\n`, so many bytes, `\n`, and so on to the end.  For what goes
 * from one process to another and may hold any byte.  Pure. */
#ifndef MGT_PACK_H
#define MGT_PACK_H

#include "mgt/cli_proto.h"

/* Appends one.  The word has no blanks. */
void pack_put(struct cli_text *pack, const char *word, struct str text);
/* Takes one from the front of *rest; word and text borrow from it.  RC_EOF: there are no more;
 * RC_MALFORMED: these bytes are no pack. */
MUST_USE enum rc pack_next(struct str *rest, struct str *word, struct str *text);

#endif
