/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Formats as numbers: while a plan is made, each name of a format is a bit, so that "does it take
 * this" is one test, and a set of formats one word.  Number 0 is the body's own. */
#include "filter/plan_priv.h"

#include "base/check.h"

static bool is_any(struct str name)
{
    return name.len == 1 && name.ptr[0] == '*';
}

uint8_t plan__format(struct planning *p, struct str name)
{
    for (unsigned n = 0; n < p->formats_count; n++) {
        struct str known = p->formats[n];
        if (known.len == name.len && memcmp(known.ptr, name.ptr, name.len) == 0) {
            return (uint8_t)n;
        }
    }
    if (p->formats_count == PLAN_FORMATS_MAX) {
        p->formats_overflow = true;
        return PLAN_NO_FORMAT;
    }
    p->formats[p->formats_count] = name;
    return (uint8_t)p->formats_count++;
}

/* The next name of a list, which is cut off *rest. */
static struct str next_name(struct str *rest)
{
    const char *comma = memchr(rest->ptr, ',', rest->len);
    if (comma == NULL) {
        struct str last = *rest;
        *rest = STR_NONE;
        return last;
    }
    struct str name = {rest->ptr, (size_t)(comma - rest->ptr)};
    *rest = (struct str){comma + 1, rest->len - name.len - 1};
    return name;
}

struct shape plan__shape(struct planning *p, const struct filter *filter)
{
    struct shape shape = {.out_default = PLAN_NO_FORMAT};
    for (struct str rest = filter->in; rest.ptr != NULL;) {
        struct str name = next_name(&rest);
        if (is_any(name)) {
            shape.in = UINT64_MAX;
            continue;
        }
        uint8_t format = plan__format(p, name);
        if (format != PLAN_NO_FORMAT) {
            shape.in |= plan__bit(format);
        }
    }
    for (struct str rest = filter->out; rest.ptr != NULL;) {
        struct str name = next_name(&rest);
        if (is_any(name)) {
            shape.keeps_any = true;
            continue;
        }
        uint8_t format = plan__format(p, name);
        if (format == PLAN_NO_FORMAT) {
            continue;
        }
        shape.out |= plan__bit(format);
        if (shape.out_default == PLAN_NO_FORMAT || format == 0) {
            shape.out_default = format;
        }
    }
    return shape;
}

uint8_t plan__out(const struct filter *filter, const struct shape *shape, uint8_t in)
{
    CHECK(in < PLAN_FORMATS_MAX);
    if (shape->keeps_any || shape->out_default == PLAN_NO_FORMAT) {
        return in;
    }
    if ((filter->flags & FILTER_KEEPS_FORMAT) != 0 && (shape->out & plan__bit(in)) != 0) {
        return in;
    }
    return shape->out_default;
}

bool plan__lists(struct str list, struct str name)
{
    for (struct str rest = list; rest.ptr != NULL;) {
        struct str one = next_name(&rest);
        if (str_eq(one, name) || is_any(one)) {
            return true;
        }
    }
    return false;
}
