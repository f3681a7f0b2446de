/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Gates: a count of what is under way on one loop, so no atomics. */
#include "run/run_priv.h"

enum rc gate_enter(struct gate *gate)
{
    CHECK(gate != NULL);
    if (gate->closed) {
        return RC_CANCELLED;
    }
    gate->inside++;
    return RC_OK;
}

void gate_leave(struct gate *gate)
{
    CHECK(gate != NULL);
    CHECK(gate->inside > 0);
    gate->inside--;
    if (gate->inside == 0 && gate->closer != NULL) {
        fiber__resume(gate->closer);
    }
}

enum rc gate_close(struct gate *gate, uint64_t deadline_ns)
{
    CHECK(gate != NULL);
    CHECK(gate->closer == NULL);
    gate->closed = true;
    enum rc rc = RC_OK;
    while (gate->inside > 0 && rc == RC_OK) {
        gate->closer = fiber_self();
        rc = fiber__wait(gate->closer, WAIT_RUN, deadline_ns);
        gate->closer = NULL;
    }
    return gate->inside == 0 ? RC_OK : rc;
}
