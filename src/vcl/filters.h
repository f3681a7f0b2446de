/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The filters that a VCL knows: those built in, and those of the modules that it imports. */
#ifndef VCL_FILTERS_H
#define VCL_FILTERS_H

#include "filter/plan.h"

struct vcl;

/* Of one side of the cache.  All of it lives as long as the VCL. */
struct vcl_filters {
    const struct filter *const
        *fills; /* what may fill gaps: those built in, then those of modules */
    unsigned fills_count;
    const struct plan_want *named; /* those of modules, for plan_given() */
    unsigned named_count;
};

/* NULL when there is no VCL. */
const struct vcl_filters *vcl_filters_of(const struct vcl *vcl, enum filter_side side);
/* By name; vcl may be NULL; a built-in one before one of a module.  NULL: there is none. */
const struct filter *vcl_filter_find(const struct vcl *vcl, enum filter_side side, struct str name);

#endif
