/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#ifndef SHM_VSL_PRIV_H
#define SHM_VSL_PRIV_H

#include <pthread.h>

#include "shm/vsl.h"

struct vsl__tally {
    uint32_t records;
    bool is_early; /* the buffer was full */
};

/* Copies whole records and batches into the ring, in one piece: no more than copy_max words. */
void vsl__write(struct vsl *ring, const uint32_t *units, size_t words,
                const struct vsl__tally *tally);

/* The most words that the ring takes in one piece. */
size_t vsl__copy_max_words(const struct vsl *ring);

const struct params *vsl__params(const struct vsl *ring);

/* How long a record's text may be now, where a record may have `words`. */
size_t vsl__text_max(const struct vsl *ring, size_t words);

#endif
