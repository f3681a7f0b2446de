/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The argument of (text)rewrite(text): literal texts that are replaced as the body passes.  The
 * earliest place wins, there the rule that comes first; what was put in is not looked at again. */
#ifndef FILTER_FILTER_REWRITE_H
#define FILTER_FILTER_REWRITE_H

#include "base/str.h"

enum { REWRITE_RULES_MAX = 64, REWRITE_FIND_MAX = 1024 };

struct rewrite_rule {
    struct str find;    /* 1 to REWRITE_FIND_MAX bytes */
    struct str replace; /* may be empty */
};

/* All of it is borrowed until the chain is freed. */
struct filter_rewrite {
    const struct rewrite_rule *rules;
    unsigned rules_count; /* at most REWRITE_RULES_MAX */
};

#endif
