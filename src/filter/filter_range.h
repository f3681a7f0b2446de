/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The argument of the range filter: which bytes of what comes in go on. */
#ifndef FILTER_FILTER_RANGE_H
#define FILTER_FILTER_RANGE_H

#include <stdint.h>

struct filter_range {
    uint64_t skip_bytes;
    uint64_t take_bytes; /* UINT64_MAX: all that follow */
};

#endif
