/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The filters that are built in, and what formats are called outside: the names of encodings. */
#include "filter/filter.h"

static const struct {
    struct str encoding;
    struct str format;
} encodings[] = {
    {STR_INIT(""), STR_INIT("text")},     {STR_INIT("identity"), STR_INIT("text")},
    {STR_INIT("gzip"), STR_INIT("gzip")}, {STR_INIT("x-gzip"), STR_INIT("gzip")},
    {STR_INIT("br"), STR_INIT("br")},     {STR_INIT("zstd"), STR_INIT("zstd")},
};

struct str filter_format_of(struct str content_encoding)
{
    for (size_t n = 0; n < sizeof(encodings) / sizeof(encodings[0]); n++) {
        if (str_eq_nocase(encodings[n].encoding, content_encoding)) {
            return encodings[n].format;
        }
    }
    return STR_NONE;
}
