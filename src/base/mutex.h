/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Mutexes of threads.  A lock that cannot be made, taken or given back is our own mistake. */
#ifndef BASE_MUTEX_H
#define BASE_MUTEX_H

#include <pthread.h>

#include "base/check.h"

static inline void mutex_init(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_init(mutex, NULL) == 0);
}

/* Nobody has it. */
static inline void mutex_fini(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_destroy(mutex) == 0);
}

static inline void mutex_lock(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_lock(mutex) == 0);
}

static inline void mutex_unlock(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_unlock(mutex) == 0);
}

#endif
