/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One series of numbers for all threads, which is the same each time it is begun with the same
 * seed: what operators' tests compare with.  An additive generator, x[n] = x[n-3] + x[n-31], as
 * BSD's random(3).  Not for secrets. */
#ifndef BASE_SERIES_H
#define BASE_SERIES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SERIES_WORDS = 31 };

struct series {
    _Atomic bool is_on; /* it has been begun */
    pthread_mutex_t lock;
    uint32_t word[SERIES_WORDS];
    unsigned at; /* of the oldest, which the next replaces */
};

void series_init(struct series *s);
void series_fini(struct series *s);
/* From now on it is on, and begins anew. */
void series_begin(struct series *s, uint32_t seed);
/* The next, below 2^31. */
uint32_t series_next(struct series *s);

static inline bool series_is_on(const struct series *s)
{
    return atomic_load_explicit(&s->is_on, memory_order_relaxed);
}

#endif
