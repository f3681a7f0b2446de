/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* For this room alone: the codecs of the built-in filters, and what they do when they are placed.
 */
#ifndef FILTER_FILTER_PRIV_H
#define FILTER_FILTER_PRIV_H

#include "filter/plan.h"

/* filter_placed.c */
filter_placed_fn filter__gunzip_placed;
filter_placed_fn filter__unbrotli_placed;
filter_placed_fn filter__unzstd_placed;
filter_placed_fn filter__esi_placed;

#endif
