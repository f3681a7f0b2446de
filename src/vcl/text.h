/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Text functions of the std module that are pure: any bytes in, no allocation. */
#ifndef VCL_TEXT_H
#define VCL_TEXT_H

#include "base/sb.h"

/* How many parts (divided by '&') the query of a URL has; 0 without a query. */
size_t vcl__query_parts(struct str url);
/* Appends the URL with the parts of its query in the order of their bytes, without empty ones.
 * `parts` is scratch for vcl__query_parts(url) of them. */
void vcl__querysort(struct str url, struct str *parts, size_t count, struct sb *out);

enum vcl__glob {
    GLOB_PATHNAME = 1, /* only a slash matches a slash */
    GLOB_NOESCAPE = 2, /* a backslash is a character like others */
    GLOB_PERIOD = 4    /* only a period matches a period at the start (with PATHNAME: of a part) */
};
/* fnmatch(3), in the time of pattern times subject at worst, in the C locale. */
bool vcl__glob(struct str pattern, struct str subject, unsigned flags);

#endif
