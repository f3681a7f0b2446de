/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/crc32c.h"

#include <isa-l/crc.h>

#include "base/check.h"

/* ISA-L takes the length as an int. */
#define STEP_BYTES ((size_t)1 << 30)

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    CHECK(bytes != NULL || len == 0);
    union {
        const void *in;
        unsigned char *isal; /* the library's prototype lacks a const; it only reads */
    } at = {.in = bytes};
    uint32_t sum = ~crc;
    while (len > 0) {
        size_t step = len < STEP_BYTES ? len : STEP_BYTES;
        sum = crc32_iscsi(at.isal, (int)step, sum);
        at.isal += step;
        len -= step;
    }
    return ~sum;
}
