/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* How people write candidates: a filter's name, or one made up on the spot, `(in,in)name(out)`;
 * behind either, `@POSITION`.  Pure. */
#ifndef FILTER_NOTATION_H
#define FILTER_NOTATION_H

#include "filter/filter.h"

enum { NOTATION_NAME_MAX = 64 };

/* All text is borrowed from what was parsed. */
struct notation {
    struct str name;
    struct str in, out; /* STR_NONE: it was no more than a name */
    enum filter_pos pos;
};

/* RC_MALFORMED: *why says what is wrong with it, RC_TOO_LONG: a name has more than
 * NOTATION_NAME_MAX bytes. */
MUST_USE enum rc notation_parse(enum filter_side side, struct str text, struct notation *out,
                                const char **why);

/* Names of filters and formats: letters, digits, '_', '-', '+' and '.'. */
bool notation_is_name(struct str text);
/* One or more formats with commas between them; "*" is one too. */
bool notation_is_formats(struct str text);

/* "DEFAULT", "FRONT", ...; those that only the other side has are none.  False: it is none. */
bool filter_pos_of(enum filter_side side, struct str name, enum filter_pos *pos);
struct str filter_pos_name(enum filter_side side, enum filter_pos pos);

/* "(gzip,gz)gunzip(text,plain,none)" */
void filter_print(const struct filter *filter, struct sb *sb);

#endif
