/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Waiting, wherever the store is called from: a fiber suspends, a plain thread (offload, tests)
 * blocks, and a loop's thread outside its fibers must not wait at all. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "base/clock.h"
#include "store/store_priv.h"

#include "run/run.h"
#include "run/sock.h"

#define PUT_WAIT_NS (2 * NS_PER_S)
#define PAUSE_NS (2 * NS_PER_MS)

bool stv__may_wait(void)
{
    return fiber_self() != NULL || loop_self() == NULL;
}

enum rc stv__wait_writable(int fd)
{
    if (fiber_self() != NULL) {
        return fd_wait_writable(fd, clock_after(clock_mono_ns(), PUT_WAIT_NS));
    }
    if (!stv__may_wait()) {
        return RC_AGAIN;
    }
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int n = poll(&p, 1, (int)(PUT_WAIT_NS / NS_PER_MS));
    return n > 0 || (n < 0 && errno == EINTR) ? RC_OK : RC_TIMEOUT;
}

void stv__pause(void)
{
    if (fiber_self() != NULL) {
        /* Cancelled or not, the caller's tries are counted. */
        (void)!fiber_sleep(PAUSE_NS);
        return;
    }
    if (stv__may_wait()) {
        struct timespec ts = {.tv_nsec = (long)PAUSE_NS};
        (void)nanosleep(&ts, NULL);
    }
}
