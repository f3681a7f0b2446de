/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Regular expressions (PCRE2), of VCL and of bans: compiled once, matched on any thread with
 * scratch memory that is the thread's own meanwhile.  Nothing Yields. */
#ifndef REGEX_REGEX_H
#define REGEX_REGEX_H

#include <pthread.h>

#include "base/sb.h"

/* What modules know as objm_regex (objmapper/module.h). */
struct objm_regex;

struct regex_error {
    size_t at;      /* offset in the pattern */
    char text[128]; /* what is wrong with it, as PCRE2 says it */
};
/* RC_MALFORMED: *error says where and why.  The pattern is copied; the caller owns *out. */
MUST_USE enum rc regex_new(struct str pattern, bool jit, struct objm_regex **out,
                           struct regex_error *error);
void regex_free(struct objm_regex **regex);
struct str regex_pattern(const struct objm_regex *regex);

/* What matching needs: groups, a stack for compiled code.  One a thread, for as many expressions as
 * there are; never used by two threads. */
struct regex_scratch;
struct regex_scratch *regex_scratch_new(void);
void regex_scratch_free(struct regex_scratch **scratch);
/* How much work one match may be: match_limit, depth_limit of PCRE2. */
void regex_scratch_limits(struct regex_scratch *scratch, uint32_t match, uint32_t depth);

/* Scratch memory for those who have no thread of their own: taken for a match, and given back. */
struct regex_pool {
    pthread_mutex_t lock;
    struct regex_scratch *free;
    uint32_t match_limit;
};
void regex_pool_init(struct regex_pool *pool, uint32_t match_limit);
/* All is given back. */
void regex_pool_fini(struct regex_pool *pool);
struct regex_scratch *regex_pool_take(struct regex_pool *pool);
/* Leaves NULL. */
void regex_pool_give(struct regex_pool *pool, struct regex_scratch **scratch);

/* RC_OK: it matches; RC_NOT_FOUND: it does not; RC_LIMIT: the match was given up, *why (may be
 * NULL) is told why, as VCL_Error has it. */
MUST_USE enum rc regex_match(struct regex_scratch *scratch, const struct objm_regex *regex,
                             struct str subject, struct sb *why);

/* Appends the subject with the first match (or all) replaced; in the replacement \0 to \9 are what
 * was matched, and a backslash before anything else goes.  RC_NOT_FOUND: nothing matched, nothing
 * was appended.  RC_LIMIT as above.  RC_TOO_LONG: `out` is full. */
MUST_USE enum rc regex_sub(struct regex_scratch *scratch, const struct objm_regex *regex, bool all,
                           struct str subject, struct str replacement, struct sb *out,
                           struct sb *why);

#endif
