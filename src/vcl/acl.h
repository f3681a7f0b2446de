/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Lists of addresses: built when a VCL is compiled, matched by any thread.  Nothing Yields, but
 * vcl_acl_resolve blocks. */
#ifndef VCL_ACL_H
#define VCL_ACL_H

#include "base/sb.h"
#include "objmapper/module.h"

struct objm_acl;

struct vcl_acl_rule {
    uint8_t family;   /* 4, 6 */
    uint8_t addr[16]; /* network order */
    unsigned mask;    /* leading bits that count */
    bool is_negated;
    bool was_fixed;  /* bits behind the mask were set, and are cleared now */
    struct str text; /* for the log: "\"192.0.2.0\"/24"; borrowed until vcl_acl_done */
};

enum { VCL_ACL_HOST_MAX = 16 }; /* addresses that one name may stand for */

/* The name is copied; it must be a NUL-terminated text.  The caller owns the list. */
struct objm_acl *vcl_acl_new(const char *name);
void vcl_acl_free(struct objm_acl **acl);
const char *vcl_acl_name(const struct objm_acl *acl);

/* The addresses that `host` means: "192.168" (its mask is 16 then), numbers of either family, or a
 * name.  mask: -1 when none was given.  Fills family, addr, mask of up to VCL_ACL_HOST_MAX rules.
 * RC_NOT_FOUND: no such name, *gai_text says why.  RC_INVALID: a mask, but both families.
 * RC_LIMIT: the mask is too wide for the family.  Blocks. */
MUST_USE enum rc vcl_acl_resolve(struct str host, int mask, struct vcl_acl_rule *rules,
                                 unsigned *count, const char **gai_text);

/* Adds a rule; clears the bits behind its mask and says so in it.  A rule that is there already is
 * left out; RC_EXISTS: it is there with the other sign, as the rule number *other (in the order of
 * adding). */
MUST_USE enum rc vcl_acl_add(struct objm_acl *acl, struct vcl_acl_rule *rule, unsigned *other);

/* After the last rule, before the first match.  fold: rules that change nothing go, and neighbours
 * of the same sign that make up a whole become one. */
void vcl_acl_done(struct objm_acl *acl, bool fold, bool log);

/* Whether the longest rule that holds the address is not negated. */
bool vcl_acl_match(const struct objm_acl *acl, const struct objm_ip *ip);
/* The same; if the list has the flag `log`, appends what VCL_acl has: "MATCH name rule",
 * "NEG_MATCH name rule" or "NO_MATCH name". */
bool vcl_acl_match_log(const struct objm_acl *acl, const struct objm_ip *ip, struct sb *record);

#endif
