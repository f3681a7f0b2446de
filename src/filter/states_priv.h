/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Memory for the states of compressors; what their libraries' own allocators are set to. */
#ifndef FILTER_STATES_PRIV_H
#define FILTER_STATES_PRIV_H

#include <stdbool.h>

#include "filter/states.h"

/* Uninitialised, aligned to 16; NULL: that would be more than may be out.  states may be NULL. */
void *states_alloc(struct filter_states *states, size_t bytes);
/* The same, never NULL: for a library that cannot go on without.  Whoever uses it asks afterwards
 * whether that was too much, and ends. */
void *states_alloc_anyway(struct filter_states *states, size_t bytes);
bool states_is_over(const struct filter_states *states);
/* Puts memory on the account that comes from elsewhere, because it is taken on another thread.
 * false: that would be more than may be out, and it was not. */
bool states_charge(struct filter_states *states, size_t bytes);
void states_refund(struct filter_states *states, size_t bytes);
/* block may be NULL. */
void states_free(struct filter_states *states, void *block);

/* The same as zlib calls it; opaque: the states. */
void *states_zlib_alloc(void *opaque, unsigned items, unsigned bytes_each);
void states_zlib_free(void *opaque, void *block);

#endif
