/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by ISA-L, which this file is the only one to know.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Start with 0 and feed the result back in to go on. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
