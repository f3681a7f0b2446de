/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Memory for the states of compressors; what their libraries' own allocators are set to. */
#ifndef FILTER_STATES_PRIV_H
#define FILTER_STATES_PRIV_H

#include "filter/states.h"

/* Uninitialised, aligned to 16; NULL: that would be more than may be out.  states may be NULL. */
void *states_alloc(struct filter_states *states, size_t bytes);
/* block may be NULL. */
void states_free(struct filter_states *states, void *block);

/* The same as zlib calls it; opaque: the states. */
void *states_zlib_alloc(void *opaque, unsigned items, unsigned bytes_each);
void states_zlib_free(void *opaque, void *block);

#endif
