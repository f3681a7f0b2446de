/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Dates of RFC 9110 section 5.6.7, without libc's locale and time zones.  Seconds since 1970. */
#ifndef HTTP_HTTP_DATE_H
#define HTTP_HTTP_DATE_H

#include "base/str.h"

enum { HTTP_DATE_BYTES = 29 };

/* Writes an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT", no NUL; years 1970 to 9999 (later times
 * are written as the last second of 9999).  Costs 30 ns: cache it for a second. */
void http_date_format(uint64_t real_s, char out[HTTP_DATE_BYTES]);

/* IMF-fixdate, RFC 850 (two-digit years from 1969 on, as Varnish reads them) and asctime; exactly,
 * with a weekday that fits, years from 1900.  A leap second reads as the second before.
 * RC_MALFORMED otherwise; *real_s is then unchanged. */
MUST_USE enum rc http_date_parse(struct str s, int64_t *real_s);

#endif
