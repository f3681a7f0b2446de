/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Return codes: what the world did.  The list, with texts, is rc.def. */
#ifndef BASE_RC_H
#define BASE_RC_H

#include "base/attr.h"

enum rc {
#define RC(name, text, status) RC_##name,
#include "base/rc.def"
#undef RC
    RC__COUNT
};

/* A short text for logs, never NULL. */
const char *rc_text(enum rc rc);

/* The HTTP status to answer with, 0 when the code never reaches a client. */
unsigned rc_http_status(enum rc rc);

/* Translates an errno value; what has no code of its own is RC_IO. */
enum rc rc_from_errno(int err);

#endif
