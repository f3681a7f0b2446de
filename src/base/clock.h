/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Two clocks, in nanoseconds: monotonic for deadlines and durations, real for what people and
 * protocols see.  A loop caches both once a tick (loop_mono_ns), so ask it where there is one. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* A deadline that never comes. */
#define NEVER UINT64_MAX

uint64_t clock_mono_ns(void);
uint64_t clock_real_ns(void);
/* CPU time of the calling thread. */
uint64_t clock_thread_cpu_ns(void);

/* now + wait, without wrapping past NEVER. */
static inline uint64_t clock_after(uint64_t now_ns, uint64_t wait_ns)
{
    return wait_ns > NEVER - now_ns ? NEVER : now_ns + wait_ns;
}

#endif
