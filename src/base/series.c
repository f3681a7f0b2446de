/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/series.h"

#include "base/check.h"
#include "base/mutex.h"

enum { NEAR = 3, WARM_UP = 10 * SERIES_WORDS };

void series_init(struct series *s)
{
    *s = (struct series){.at = 0};
    mutex_init(&s->lock);
}

void series_fini(struct series *s)
{
    mutex_fini(&s->lock);
}

static uint32_t next(struct series *s)
{
    unsigned near = (s->at + SERIES_WORDS - NEAR) % SERIES_WORDS;
    s->word[s->at] += s->word[near];
    uint32_t sum = s->word[s->at];
    s->at = (s->at + 1) % SERIES_WORDS;
    return sum >> 1; /* the lowest bit has the shortest period */
}

/* The first words come from the minimal standard generator, 16807 x mod 2^31 - 1. */
void series_begin(struct series *s, uint32_t seed)
{
    mutex_lock(&s->lock);
    s->word[0] = seed;
    for (unsigned i = 1; i < SERIES_WORDS; i++) {
        uint64_t x = s->word[i - 1] % 0x7ffffffe + 1;
        s->word[i] = (uint32_t)(16807 * x % 0x7fffffff - 1);
    }
    s->at = NEAR;
    for (unsigned i = 0; i < WARM_UP; i++) {
        (void)next(s);
    }
    mutex_unlock(&s->lock);
    atomic_store_explicit(&s->is_on, true, memory_order_release);
}

uint32_t series_next(struct series *s)
{
    mutex_lock(&s->lock);
    uint32_t value = next(s);
    mutex_unlock(&s->lock);
    return value;
}
