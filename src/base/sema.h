/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Semaphores between threads: for what somebody else is to have done. */
#ifndef BASE_SEMA_H
#define BASE_SEMA_H

#include <errno.h>
#include <semaphore.h>

#include "base/check.h"

static inline void sema_init(sem_t *sema)
{
    CHECK(sem_init(sema, 0, 0) == 0);
}

/* Nobody waits for it any more. */
static inline void sema_fini(sem_t *sema)
{
    CHECK(sem_destroy(sema) == 0);
}

static inline void sema_post(sem_t *sema)
{
    CHECK(sem_post(sema) == 0);
}

/* Blocks the thread; a signal does not end it. */
static inline void sema_wait(sem_t *sema)
{
    while (sem_wait(sema) != 0) {
        CHECK(errno == EINTR);
    }
}

#endif
