/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The argument of (buffertext)regex(text): what is replaced, one rule after another, each on what
 * the one before left. */
#ifndef FILTER_FILTER_REGEX_H
#define FILTER_FILTER_REGEX_H

#include "regex/regex.h"

struct regex_rule {
    const struct objm_regex *regex;
    struct str replacement; /* \0 to \9 as in regsub() */
    bool all;               /* as regsuball() */
};

/* All of it is borrowed until the chain is freed. */
struct filter_regex {
    const struct regex_rule *rules;
    unsigned rules_count;
    uint32_t match_limit; /* how much work one match may be; 0: PCRE2's own limit */
};

#endif
