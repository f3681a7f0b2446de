/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The attribute stream.  The first byte says whether the checksum and the length are made right,
 * so that what is behind them is reached. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "cache/oa.h"

static void seal(char *oa, size_t len)
{
    if (len < 16) {
        return;
    }
    struct sb length = sb_of(oa + 8, 4);
    struct sb crc = sb_of(oa + 4, 4);
    put_u32(&length, (uint32_t)len);
    put_u32(&crc, crc32c(0, oa + 8, len - 8));
}

/* What passes, and has only attributes of this version, is written again byte by byte the same. */
static void same_again(struct str oa)
{
    struct str values[OA__COUNT] = {STR_NONE};
    for (unsigned i = 1; i < OA__COUNT; i++) {
        values[i] = oa_find(oa, (enum obj_attr)i);
    }
    size_t bytes = oa_size(values);
    CHECK(bytes <= oa.len);
    char *again = xmalloc(bytes);
    struct sb sb = sb_of(again, bytes);
    oa_encode(values, &sb);
    CHECK(oa_check(sb_str(&sb)) == RC_OK);
    CHECK(bytes < oa.len || str_eq(sb_str(&sb), oa));
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t len = size - 1;
    char *copy = xmalloc(len + 1);
    memcpy(copy, data + 1, len);
    copy = xrealloc(copy, len > 0 ? len : 1); /* so that a byte past the end is noticed */
    if ((data[0] & 1) != 0) {
        seal(copy, len);
    }
    struct str oa = {copy, len};
    for (unsigned i = 1; i < OA__COUNT; i++) {
        struct str value = oa_find(oa, (enum obj_attr)i);
        CHECK(value.len <= len);
    }
    if (oa_check(oa) == RC_OK) {
        same_again(oa);
    }
    free(copy);
    return 0;
}
