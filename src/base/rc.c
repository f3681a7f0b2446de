/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/rc.h"

#include <errno.h>

#include "base/check.h"

static const struct {
    const char *text;
    unsigned http_status;
} codes[RC__COUNT] = {
#define RC(name, text, status) {text, status},
#include "base/rc.def"
#undef RC
};

static const struct {
    int err;
    enum rc rc;
} errnos[] = {
    {0, RC_OK},
    {EAGAIN, RC_AGAIN},
    {ECONNRESET, RC_RESET},
    {EPIPE, RC_RESET},
    {ENOTCONN, RC_RESET},
    {ECONNABORTED, RC_RESET},
    {ECONNREFUSED, RC_REFUSED},
    {ENOENT, RC_NOT_FOUND},
    {EHOSTUNREACH, RC_UNREACHABLE},
    {ENETUNREACH, RC_UNREACHABLE},
    {EADDRNOTAVAIL, RC_UNREACHABLE},
    {ETIMEDOUT, RC_TIMEOUT},
    {ECANCELED, RC_CANCELLED},
    {ENOSPC, RC_NOSPACE},
    {ENOMEM, RC_NOSPACE},
    {EDQUOT, RC_NOSPACE},
    {EFBIG, RC_NOSPACE},
    {EMFILE, RC_NOFILES},
    {ENFILE, RC_NOFILES},
    {ETOOMANYREFS, RC_NOFILES},
    {EACCES, RC_DENIED},
    {EPERM, RC_DENIED},
    {EEXIST, RC_EXISTS},
    {EADDRINUSE, RC_EXISTS},
    {EBUSY, RC_BUSY},
    {EINVAL, RC_INVALID},
};

const char *rc_text(enum rc rc)
{
    CHECK((unsigned)rc < RC__COUNT);
    return codes[rc].text;
}

unsigned rc_http_status(enum rc rc)
{
    CHECK((unsigned)rc < RC__COUNT);
    return codes[rc].http_status;
}

enum rc rc_from_errno(int err)
{
    for (size_t i = 0; i < ARRAY_SIZE(errnos); i++) {
        if (errnos[i].err == err) {
            return errnos[i].rc;
        }
    }
    return RC_IO;
}
