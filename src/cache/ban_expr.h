/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a ban says: conditions on an object, and on the request that would use it, all of which must
 * hold.  The language is Varnish's. */
#ifndef CACHE_BAN_EXPR_H
#define CACHE_BAN_EXPR_H

#include "base/rc.h"
#include "base/sb.h"
#include "cache/cache.h"

struct ban_expr; /* immutable, so any thread may match */

enum ban_flag {
    BAN_REQ = 1 << 0,   /* looks at the request */
    BAN_OBJ = 1 << 1,   /* looks at the object */
    BAN_NODUP = 1 << 2, /* means something else each time it is said: relative to its moment */
};

/* Words: field, operator, operand, { "&&", field, operator, operand }*.  RC_INVALID: *why tells
 * what is wrong, in Varnish's words.  The caller owns *out. */
MUST_USE enum rc ban_expr_new(const struct str *words, unsigned count, struct sb *why,
                              struct ban_expr **out);
void ban_expr_free(struct ban_expr **expr);
/* The words of a ban that is one text: separated by blanks, "quoted" where they have some.  Borrows
 * from text.  RC_INVALID. */
MUST_USE enum rc ban_words(struct str text, struct str *words, unsigned max, unsigned *count,
                           struct sb *why);

unsigned ban_expr_flags(const struct ban_expr *expr);
bool ban_expr_eq(const struct ban_expr *a, const struct ban_expr *b);
/* As ban.list shows it. */
struct str ban_expr_text(const struct ban_expr *expr);
/* The words behind each other, each preceded by its length (u32): what ban_expr_stored takes back.
 */
struct str ban_expr_bytes(const struct ban_expr *expr);
/* RC_MALFORMED. */
MUST_USE enum rc ban_expr_stored(struct str bytes, struct ban_expr **out);

struct ban_subject {
    const struct http *req; /* NULL only if no condition is on the request */
    struct str head;        /* the object's, packed */
    struct regex_pool *scratch;
    struct obj_times times;
};
/* Whether all conditions hold; adds to *tests how many were looked at.  `since_ns` is the moment of
 * the ban (real time).  A regular expression that costs too much counts as one that holds. */
bool ban_expr_matches(const struct ban_expr *expr, const struct ban_subject *subject,
                      uint64_t since_ns, uint64_t *tests);

#endif
