/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a failed connection says about the next one.  Within the room only. */
#ifndef BACKEND_HOLDDOWN_H
#define BACKEND_HOLDDOWN_H

#include <stdatomic.h>

#include "base/param.h"
#include "base/rc.h"

/* One a backend; zero-initialise.  Any thread. */
struct holddown {
    _Atomic uint64_t until_ns; /* monotonic */
    _Atomic unsigned why;      /* enum rc; RC_OK: nothing is held */
    _Atomic bool is_tried;     /* somebody finds out whether it is over */
};

/* RC_OK: try to connect, and tell holddown__leave what came of it.  Else why a connection that was
 * tried a moment ago failed: this one would too. */
MUST_USE enum rc holddown__enter(struct holddown *h, uint64_t now_ns);
void holddown__leave(struct holddown *h, const struct params *params, enum rc outcome,
                     uint64_t now_ns);

#endif
