/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The codecs of the filters that are built in, for their table, and what they share. */
#ifndef FILTER_CODECS_PRIV_H
#define FILTER_CODECS_PRIV_H

#include "filter/filter.h"

extern const struct codec codec_esi, codec_esi_gzip;
extern const struct codec codec_gzip, codec_gunzip, codec_testgunzip;
extern const struct codec codec_testunbrotli, codec_testunzstd;
extern const struct codec codec_brotli, codec_unbrotli, codec_zstd, codec_unzstd;
extern const struct codec codec_buffer, codec_regex, codec_rewrite;

/* Writes why into the notes; returns rc. */
enum rc codec_fail(const struct filter_env *env, enum rc rc, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The smallest window, as a power of two between these, that a body of this length fits into; most:
 * its length is not known.  What is known to be small gets a small state. */
int codec_window_bits(size_t body_len, int least, int most);

/* A record of Varnish's tag Gzip: what: G (compressed), U (decompressed), u (checked). */
void codec_log_gzip(const struct filter_env *env, char what, const struct gzip_bits *bits);

#endif
