/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A backend that refuses connections is not asked again at once.
 *
 * Each of thousands of clients may want another object of a backend that has just gone: without
 * this, each would cost it (or the machine that answers for it) a connection, and us one more local
 * port.  So what failed at once is remembered for a moment, and those who come in that moment fail
 * likewise.  After it one of them tries, and until it is known what came of that, the others still
 * fail: so a crowd that waits for the moment to end is no stampede either.  Only what fails at
 * once: a connection that times out says nothing about the next one, and holds its fiber long
 * enough.
 *
 * As in Varnish there are two sorts: the other end's refusal, which may pass quickly, and a refusal
 * of our own system (a firewall's rule, no local address left), which will not. */
#include "backend/holddown.h"

static uint64_t hold_ns(const struct params *params, enum rc why)
{
    switch ((unsigned)why) {
    case RC_REFUSED:
    case RC_NOT_FOUND: /* no such Unix socket */
    case RC_UNREACHABLE:
        return param(params, backend_remote_error_holddown);
    case RC_DENIED:
        return param(params, backend_local_error_holddown);
    default:
        return 0;
    }
}

enum rc holddown__enter(struct holddown *h, uint64_t now_ns)
{
    enum rc why = (enum rc)atomic_load_explicit(&h->why, memory_order_acquire);
    if (why == RC_OK) {
        return RC_OK;
    }
    bool is_over = now_ns >= atomic_load_explicit(&h->until_ns, memory_order_relaxed);
    return is_over && !atomic_exchange(&h->is_tried, true) ? RC_OK : why;
}

void holddown__leave(struct holddown *h, const struct params *params, enum rc outcome,
                     uint64_t now_ns)
{
    uint64_t for_ns = hold_ns(params, outcome);
    if (for_ns > 0) {
        atomic_store_explicit(&h->until_ns, clock_after(now_ns, for_ns), memory_order_relaxed);
        atomic_store_explicit(&h->why, (unsigned)outcome, memory_order_release);
    } else if (outcome != RC_CANCELLED) {
        atomic_store_explicit(&h->why, RC_OK, memory_order_release);
    }
    atomic_store(&h->is_tried, false);
}
