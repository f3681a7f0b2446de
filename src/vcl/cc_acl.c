/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* acl NAME [+flags] { [!] "address"[/mask]; ... } */
#include "vcl/cc.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/check.h"

struct acl_flags {
    bool log;
    bool pedantic;
    bool fold;
};

struct entry {
    bool is_negated;
    bool is_optional; /* in brackets: a name that has no address is left out */
    const struct token *t;
    const struct token *mask_t;
    int mask; /* -1: none */
    struct str host;
};

/* The tokens of all rules added so far: for the message about two that contradict. */
struct rules_seen {
    const struct token **t;
    unsigned count;
};

static bool flag(struct cc *cc, struct acl_flags *flags, bool is_on)
{
    if (vcl__is(cc->t, "log")) {
        flags->log = is_on;
    } else if (vcl__is(cc->t, "pedantic")) {
        flags->pedantic = is_on;
    } else if (vcl__is(cc->t, "fold")) {
        flags->fold = is_on;
    } else if (!vcl__is(cc->t, "table")) {
        /* A table or not: here it always is one. */
        vcl__err(cc, "Unknown ACL flag:\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    vcl__next(cc);
    return true;
}

static bool parse_flags(struct cc *cc, struct acl_flags *flags)
{
    for (;;) {
        int sign = vcl__flag(cc);
        if (cc->failed) {
            vcl__err(cc, "Valid ACL flags are `log` and `table`:\n");
            return false;
        }
        if (sign < 0) {
            return true;
        }
        if (!flag(cc, flags, sign == 1)) {
            return false;
        }
    }
}

static bool inner_mask(struct cc *cc, struct entry *e)
{
    struct str rest = e->t->dec;
    e->host = str_cut(&rest, '/');
    if (rest.ptr == NULL) {
        return true;
    }
    uint64_t mask;
    if (str_to_u64(rest, &mask) != RC_OK) {
        vcl__err(cc, ".../mask is not numeric.\n");
        vcl__err_at(cc, e->t);
        return false;
    }
    e->mask = mask > 1000 ? 1000 : (int)mask;
    e->mask_t = e->t;
    if (cc->t->kind == '/') {
        vcl__err(cc, "/mask only allowed once.\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    return true;
}

static bool parse_entry(struct cc *cc, struct entry *e)
{
    *e = (struct entry){.mask = -1};
    if (cc->t->kind == '!') {
        e->is_negated = true;
        vcl__next(cc);
    }
    if (cc->t->kind == '(') {
        e->is_optional = true;
        vcl__next(cc);
    }
    if (!e->is_negated && cc->t->kind == '!') {
        e->is_negated = true;
        vcl__next(cc);
    }
    if (!vcl__expect(cc, T_CSTR)) {
        return false;
    }
    e->t = cc->t;
    vcl__next(cc);
    if (!inner_mask(cc, e)) {
        return false;
    }
    if (cc->t->kind == '/') {
        vcl__next(cc);
        e->mask_t = cc->t;
        unsigned mask;
        if (!vcl__uint(cc, &mask)) {
            return false;
        }
        e->mask = mask > 1000 ? 1000 : (int)mask;
    }
    return !e->is_optional || vcl__skip(cc, ')');
}

static const char *const families[] = {"IPv4", "IPv6"};

static bool unresolved(struct cc *cc, const struct entry *e, enum rc rc, const char *why)
{
    if (rc == RC_LIMIT) {
        bool is_six = str_find(e->host, ':') < e->host.len;
        vcl__err(cc, "Too wide mask (/%d) for %s address\n", e->mask, families[is_six]);
        vcl__err_at(cc, e->mask_t == NULL ? e->t : e->mask_t);
        return false;
    }
    if (rc == RC_INVALID) {
        vcl__err(cc, "Mask (/%d) specified, but string resolves to both IPv4 and IPv6 addresses.\n",
                 e->mask);
        vcl__err_at(cc, e->mask_t);
        return false;
    }
    if (e->is_optional) {
        vcl__addf(&cc->out, "Warning: %.*s ignored\n  -- %s\n", STR_ARG(e->host),
                  why == NULL ? rc_text(rc) : why);
        return true;
    }
    vcl__err(cc, "DNS lookup(%.*s): %s\n", STR_ARG(e->host), why == NULL ? rc_text(rc) : why);
    vcl__err_at(cc, e->t);
    return false;
}

static bool pedantic_fault(struct cc *cc, const struct entry *e, const struct vcl_acl_rule *rule)
{
    char text[INET6_ADDRSTRLEN];
    const char *shown =
        inet_ntop(rule->family == 4 ? AF_INET : AF_INET6, rule->addr, text, sizeof text);
    CHECK(shown != NULL);
    vcl__err(cc, "Non-zero bits in masked part, (maybe use %s/%u ?)\n", shown, rule->mask);
    vcl__err_at(cc, e->t);
    return false;
}

static bool add_rule(struct cc *cc, struct objm_acl *acl, const struct acl_flags *flags,
                     const struct entry *e, struct vcl_acl_rule *rule, struct rules_seen *seen)
{
    char shown[256];
    struct sb sb = sb_of(shown, sizeof shown);
    rule->is_negated = e->is_negated;
    sb_printf(&sb, "\"%.*s\"", STR_ARG(e->mask_t == e->t ? e->t->dec : e->host));
    if (e->mask_t != NULL && e->mask_t != e->t) {
        sb_printf(&sb, "/%d", e->mask);
    }
    rule->text = vcl__prog_text(cc->prog, sb_str(&sb));
    unsigned other = 0;
    enum rc rc = vcl_acl_add(acl, rule, &other);
    if (rc == RC_EXISTS) {
        vcl__err(cc, "Conflicting ACL entries:\n");
        vcl__err_at(cc, other < seen->count ? seen->t[other] : e->t);
        vcl__err(cc, "vs:\n");
        vcl__err_at(cc, e->t);
        return false;
    }
    if ((seen->count & (seen->count + 1)) == 0) {
        const struct token **grown = vcl__alloc(&cc->mem, 2 * (seen->count + 1) * sizeof *seen->t);
        if (seen->count > 0) {
            memcpy(grown, seen->t, seen->count * sizeof *seen->t);
        }
        seen->t = grown;
    }
    seen->t[seen->count++] = e->t;
    return !rule->was_fixed || !flags->pedantic || pedantic_fault(cc, e, rule);
}

static bool add_entry(struct cc *cc, struct objm_acl *acl, const struct acl_flags *flags,
                      const struct entry *e, struct rules_seen *seen)
{
    struct vcl_acl_rule rules[VCL_ACL_HOST_MAX] = {{0}};
    unsigned count = 0;
    const char *why = NULL;
    enum rc rc = vcl_acl_resolve(e->host, e->mask, rules, &count, &why);
    if (rc != RC_OK) {
        return unresolved(cc, e, rc, why);
    }
    for (unsigned i = 0; i < count; i++) {
        if (!add_rule(cc, acl, flags, e, &rules[i], seen)) {
            return false;
        }
    }
    return true;
}

bool vcl__parse_acl(struct cc *cc)
{
    struct acl_flags flags = {.pedantic = true};
    vcl__next(cc);
    if (!vcl__expect_name(cc, "ACL")) {
        return false;
    }
    struct symbol *sym = vcl__sym_define(cc, VT_ACL);
    if (sym == NULL || !parse_flags(cc, &flags) || !vcl__skip(cc, '{')) {
        return false;
    }
    struct objm_acl *acl = cc->prog->acls.at[sym->index];
    struct rules_seen seen = {0};
    while (cc->t->kind != '}') {
        struct entry e;
        if (!parse_entry(cc, &e) || !add_entry(cc, acl, &flags, &e, &seen) || !vcl__skip(cc, ';')) {
            return false;
        }
    }
    vcl__next(cc);
    vcl_acl_done(acl, flags.fold, flags.log);
    return true;
}
