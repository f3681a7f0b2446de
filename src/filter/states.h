/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What states of compressors (windows, tables) may take together: one account for those who run on
 * one loop.  A few states are kept for the next body while there is traffic, none when it is idle.
 * One thread's, as the chains that use it. */
#ifndef FILTER_STATES_H
#define FILTER_STATES_H

#include <stddef.h>

struct filter_states;
struct loop;

/* No more than bytes_max are out at once: then codecs do not begin (RC_LIMIT).  loop: whose timer
 * frees what is kept unused; NULL: nothing is kept. */
struct filter_states *filter_states_new(size_t bytes_max, struct loop *loop);
/* All chains are freed.  On the loop's thread, or after its end. */
void filter_states_free(struct filter_states **states);
/* Out at present, and kept for later. */
size_t filter_states_out_bytes(const struct filter_states *states);
size_t filter_states_kept_bytes(const struct filter_states *states);

#endif
