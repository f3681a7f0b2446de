/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Regular expressions (PCRE2): compiled with the VCL, matched on any thread with that thread's
 * scratch memory.  Nothing Yields. */
#ifndef VCL_REGEX_H
#define VCL_REGEX_H

#include "base/sb.h"
#include "objmapper/module.h"

struct objm_regex;

struct vcl_regex_error {
    size_t at;      /* offset in the pattern */
    char text[128]; /* what is wrong with it, as PCRE2 says it */
};
/* RC_MALFORMED: *error says where and why.  The pattern is copied; the caller owns *out. */
MUST_USE enum rc vcl_regex_new(struct str pattern, bool jit, struct objm_regex **out,
                               struct vcl_regex_error *error);
void vcl_regex_free(struct objm_regex **regex);
struct str vcl_regex_pattern(const struct objm_regex *regex);

/* What matching needs: groups, a stack for compiled code.  One a thread, for as many expressions as
 * there are; never used by two threads. */
struct vcl_scratch;
struct vcl_scratch *vcl_scratch_new(void);
void vcl_scratch_free(struct vcl_scratch **scratch);
/* How much work one match may be: match_limit, depth_limit of PCRE2. */
void vcl_scratch_limits(struct vcl_scratch *scratch, uint32_t match, uint32_t depth);

/* RC_OK: it matches; RC_NOT_FOUND: it does not; RC_LIMIT: the match was given up, *why (may be
 * NULL) is told why, as VCL_Error has it. */
MUST_USE enum rc vcl_regex_match(struct vcl_scratch *scratch, const struct objm_regex *regex,
                                 struct str subject, struct sb *why);

/* Appends the subject with the first match (or all) replaced; in the replacement \0 to \9 are what
 * was matched, and a backslash before anything else goes.  RC_NOT_FOUND: nothing matched, nothing
 * was appended.  RC_LIMIT as above.  RC_TOO_LONG: `out` is full. */
MUST_USE enum rc vcl_regsub(struct vcl_scratch *scratch, const struct objm_regex *regex, bool all,
                            struct str subject, struct str replacement, struct sb *out,
                            struct sb *why);

#endif
