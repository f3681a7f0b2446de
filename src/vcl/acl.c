/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Access control lists.
 *
 * The rule with the longest mask decides, whatever the order in the text.  Rules are ranges that
 * either contain each other or do not touch.  So they stand sorted by family, address and mask
 * (short ones first), and each knows the one it lies in:
 *
 *     10.0.0.0/8 <-- 10.1.0.0/16 <-- 10.1.2.0/24       192.0.2.0/24 <-- ! 192.0.2.7
 *
 * A match is one binary search for the last rule that does not begin behind the address, and then a
 * walk outwards until a rule holds it: what lies further out is shorter, so the first one decides.
 * Nothing changes after vcl_acl_done, so any thread may match. */
#include "vcl/acl.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/value.h"

enum { ACL_MAGIC = 0x71c5a0e3, ADDR_BYTES = 16, NONE = -1 };

struct rule {
    uint8_t family;
    uint8_t mask;
    bool is_negated;
    uint8_t addr[ADDR_BYTES];
    int outer; /* index of the rule it lies in */
    unsigned order;
    char *text;
};

struct objm_acl {
    uint32_t magic;
    char *name;
    struct rule *rules;
    unsigned count;
    unsigned cap;
    unsigned added; /* calls of vcl_acl_add */
    bool is_done;
    bool log;
};

struct objm_acl *vcl_acl_new(const char *name)
{
    struct objm_acl *acl = xcalloc(1, sizeof *acl);
    acl->magic = ACL_MAGIC;
    acl->name = xstrdup(name);
    return acl;
}

void vcl_acl_free(struct objm_acl **acl_of)
{
    struct objm_acl *acl = *acl_of;
    if (acl == NULL) {
        return;
    }
    CHECK_OBJ(acl, ACL_MAGIC);
    for (unsigned n = 0; n < acl->count; n++) {
        XFREE(acl->rules[n].text);
    }
    XFREE(acl->rules);
    XFREE(acl->name);
    acl->magic = 0;
    XFREE(*acl_of);
}

const char *vcl_acl_name(const struct objm_acl *acl)
{
    CHECK_OBJ(acl, ACL_MAGIC);
    return acl->name;
}

/* ---- what a name means ---- */

static unsigned family_bits(uint8_t family)
{
    return family == 4 ? 32 : 128;
}

/* "192.168" is 192.168.0.0/16, which getaddrinfo would read as 192.0.0.168. */
static bool net_notation(struct str host, int mask, struct vcl_acl_rule *rule)
{
    uint8_t addr[4] = {0};
    unsigned parts = 0;
    for (struct str rest = host; rest.ptr != NULL;) {
        struct str part = str_cut(&rest, '.');
        uint64_t value;
        if (parts == 4 || str_to_u64(part, &value) != RC_OK || value > 255) {
            return false;
        }
        addr[parts++] = (uint8_t)value;
    }
    rule->family = 4;
    memcpy(rule->addr, addr, sizeof addr);
    rule->mask = mask >= 0 ? (unsigned)mask : 8 * parts;
    return true;
}

static enum rc add_address(const struct addrinfo *ai, int mask, struct vcl_acl_rule *rules,
                           unsigned *count)
{
    if (*count == VCL_ACL_HOST_MAX) {
        return RC_OK;
    }
    struct vcl_acl_rule *rule = &rules[*count];
    if (ai->ai_family == AF_INET) {
        const struct sockaddr_in *sin = (const void *)ai->ai_addr;
        rule->family = 4;
        memcpy(rule->addr, &sin->sin_addr, 4);
    } else if (ai->ai_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const void *)ai->ai_addr;
        rule->family = 6;
        memcpy(rule->addr, &sin6->sin6_addr, ADDR_BYTES);
    } else {
        return RC_OK;
    }
    rule->mask = mask >= 0 ? (unsigned)mask : family_bits(rule->family);
    if (mask >= 0 && *count > 0 && rule->family != rules[0].family) {
        return RC_INVALID;
    }
    (*count)++;
    return rule->mask > family_bits(rule->family) ? RC_LIMIT : RC_OK;
}

enum rc vcl_acl_resolve(struct str host, int mask, struct vcl_acl_rule *rules, unsigned *count,
                        const char **gai_text)
{
    *count = 0;
    memset(rules, 0, VCL_ACL_HOST_MAX * sizeof *rules);
    if (net_notation(host, mask, &rules[0])) {
        *count = 1;
        return rules[0].mask > 32 ? RC_LIMIT : RC_OK;
    }
    char *name = str_dup(host);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(name, "0", &hints, &found);
    XFREE(name);
    if (error != 0) {
        *gai_text = gai_strerror(error);
        return RC_NOT_FOUND;
    }
    enum rc rc = RC_OK;
    for (const struct addrinfo *ai = found; ai != NULL && rc == RC_OK; ai = ai->ai_next) {
        rc = add_address(ai, mask, rules, count);
    }
    freeaddrinfo(found);
    return rc;
}

/* ---- building ---- */

/* Clears what lies behind the mask; whether anything did. */
static bool clear_host_bits(uint8_t *addr, unsigned mask)
{
    bool found = false;
    for (unsigned byte = mask / 8; byte < ADDR_BYTES; byte++) {
        unsigned keep = byte == mask / 8 ? 0xff00U >> (mask % 8) : 0;
        unsigned kept = addr[byte] & keep;
        found = found || kept != addr[byte];
        addr[byte] = (uint8_t)kept;
    }
    return found;
}

static bool holds(const struct rule *r, uint8_t family, const uint8_t *addr)
{
    if (r->family != family || memcmp(r->addr, addr, r->mask / 8) != 0) {
        return false;
    }
    unsigned rest = r->mask % 8;
    return rest == 0 || ((r->addr[r->mask / 8] ^ addr[r->mask / 8]) & (0xff00 >> rest) & 0xff) == 0;
}

enum rc vcl_acl_add(struct objm_acl *acl, struct vcl_acl_rule *rule, unsigned *other)
{
    CHECK_OBJ(acl, ACL_MAGIC);
    CHECK(!acl->is_done);
    CHECK(rule->mask <= family_bits(rule->family));
    unsigned order = acl->added++;
    rule->was_fixed = clear_host_bits(rule->addr, rule->mask);
    for (unsigned n = 0; n < acl->count; n++) {
        const struct rule *r = &acl->rules[n];
        if (r->mask == rule->mask && holds(r, rule->family, rule->addr)) {
            *other = r->order;
            return r->is_negated == rule->is_negated ? RC_OK : RC_EXISTS;
        }
    }
    if (acl->count == acl->cap) {
        acl->cap = acl->cap == 0 ? 8 : 2 * acl->cap;
        acl->rules = xrealloc(acl->rules, acl->cap * sizeof *acl->rules);
    }
    struct rule *r = &acl->rules[acl->count++];
    *r = (struct rule){.family = rule->family,
                       .mask = (uint8_t)rule->mask,
                       .is_negated = rule->is_negated,
                       .order = order,
                       .outer = NONE,
                       .text = str_dup(rule->text)};
    memcpy(r->addr, rule->addr, ADDR_BYTES);
    return RC_OK;
}

static int rule_order(const void *left, const void *right)
{
    const struct rule *a = left;
    const struct rule *b = right;
    if (a->family != b->family) {
        return a->family - b->family;
    }
    int order = memcmp(a->addr, b->addr, ADDR_BYTES);
    return order != 0 ? order : a->mask - b->mask;
}

/* Sorted, a rule lies in the one before it, or in one that that one lies in, or in none. */
static void sort_and_nest(struct objm_acl *acl)
{
    if (acl->count > 0) {
        qsort(acl->rules, acl->count, sizeof *acl->rules, rule_order);
    }
    for (unsigned n = 0; n < acl->count; n++) {
        struct rule *r = &acl->rules[n];
        int outer = (int)n - 1;
        while (outer >= 0 && !holds(&acl->rules[outer], r->family, r->addr)) {
            outer = acl->rules[outer].outer;
        }
        r->outer = outer;
    }
}

static void remove_rule(struct objm_acl *acl, unsigned n)
{
    XFREE(acl->rules[n].text);
    memmove(&acl->rules[n], &acl->rules[n + 1], (acl->count - n - 1) * sizeof *acl->rules);
    acl->count--;
}

/* Whether the two differ in the last bit of their masks alone. */
static bool are_halves(const struct rule *a, const struct rule *b)
{
    if (a->family != b->family || a->mask != b->mask || a->mask == 0 ||
        a->is_negated != b->is_negated) {
        return false;
    }
    struct rule whole = *a;
    whole.mask--;
    return holds(&whole, b->family, b->addr);
}

/* The two rules become one; a rule of that size around them decided nothing, and goes. */
static void join_halves(struct objm_acl *acl, unsigned a, unsigned b)
{
    int outer = acl->rules[a].outer;
    acl->rules[a].mask--;
    (void)clear_host_bits(acl->rules[a].addr, acl->rules[a].mask);
    remove_rule(acl, b);
    if (outer != NONE && acl->rules[outer].mask == acl->rules[a].mask) {
        remove_rule(acl, (unsigned)outer);
    }
}

/* One rule less, if there is one too many. */
static bool fold_once(struct objm_acl *acl)
{
    for (unsigned n = 0; n < acl->count; n++) {
        const struct rule *r = &acl->rules[n];
        if (r->outer != NONE && acl->rules[r->outer].is_negated == r->is_negated) {
            remove_rule(acl, n);
            return true;
        }
        /* The next one that does not lie in this one. */
        unsigned next = n + 1;
        while (next < acl->count && holds(r, acl->rules[next].family, acl->rules[next].addr)) {
            next++;
        }
        if (next < acl->count && are_halves(r, &acl->rules[next])) {
            join_halves(acl, n, next);
            return true;
        }
    }
    return false;
}

/* What was made of several rules has no text of its own yet. */
static void rewrite_text(struct rule *r)
{
    char buf[96];
    struct sb sb = sb_of(buf, sizeof buf);
    struct objm_ip ip = {.family = r->family};
    memcpy(ip.addr, r->addr, ADDR_BYTES);
    sb_chr(&sb, '"');
    vcl_ip_text(&sb, &ip);
    sb_printf(&sb, "\"/%u", r->mask);
    XFREE(r->text);
    r->text = str_dup(sb_str(&sb));
}

void vcl_acl_done(struct objm_acl *acl, bool fold, bool log)
{
    CHECK_OBJ(acl, ACL_MAGIC);
    CHECK(!acl->is_done);
    acl->log = log;
    acl->is_done = true;
    sort_and_nest(acl);
    if (!fold) {
        return;
    }
    while (fold_once(acl)) {
        sort_and_nest(acl);
    }
    for (unsigned n = 0; n < acl->count; n++) {
        rewrite_text(&acl->rules[n]);
    }
}

/* ---- matching ---- */

static const struct rule *find(const struct objm_acl *acl, const struct objm_ip *ip)
{
    uint8_t addr[ADDR_BYTES] = {0};
    memcpy(addr, ip->addr, ip->family == 6 ? ADDR_BYTES : 4);
    unsigned low = 0;
    unsigned high = acl->count; /* rules[high...] begin behind the address */
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        const struct rule *r = &acl->rules[mid];
        int order = r->family - ip->family;
        if (order == 0) {
            order = memcmp(r->addr, addr, ADDR_BYTES);
        }
        if (order <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (int at = (int)low - 1; at >= 0; at = acl->rules[at].outer) {
        if (holds(&acl->rules[at], ip->family, addr)) {
            return &acl->rules[at];
        }
    }
    return NULL;
}

bool vcl_acl_match(const struct objm_acl *acl, const struct objm_ip *ip)
{
    CHECK_OBJ(acl, ACL_MAGIC);
    CHECK(acl->is_done);
    const struct rule *r = find(acl, ip);
    return r != NULL && !r->is_negated;
}

bool vcl_acl_match_log(const struct objm_acl *acl, const struct objm_ip *ip, struct sb *record)
{
    CHECK_OBJ(acl, ACL_MAGIC);
    CHECK(acl->is_done);
    const struct rule *r = find(acl, ip);
    if (acl->log && r == NULL) {
        sb_printf(record, "NO_MATCH %s", acl->name);
    } else if (acl->log) {
        sb_printf(record, "%sMATCH %s %s", r->is_negated ? "NEG_" : "", acl->name, r->text);
    }
    return r != NULL && !r->is_negated;
}
