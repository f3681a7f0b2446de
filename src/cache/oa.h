/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Object attributes as one stream of bytes; docs/formats/oa.md has the format.  Pure functions. */
#ifndef CACHE_OA_H
#define CACHE_OA_H

#include "base/sb.h"
#include "cache/cache.h"

#define OA_BYTES_MAX ((size_t)1 << 20)

/* Bytes that oa_encode appends for these values; STR_NONE values are left out. */
size_t oa_size(const struct str values[OA__COUNT]);
/* The values are borrowed.  sb has room for oa_size bytes. */
void oa_encode(const struct str values[OA__COUNT], struct sb *sb);
/* Every rule of the format, and the checksum.  RC_UNSUPPORTED: another version; RC_DAMAGED. */
MUST_USE enum rc oa_check(struct str oa);
/* A borrow of one value; STR_NONE when it is not there.  For streams that passed oa_check once: it
 * keeps within the bytes whatever they are, and skips the checksum. */
struct str oa_find(struct str oa, enum obj_attr attr);

#endif
