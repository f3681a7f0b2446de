/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A failed check ends the process: continuing with a broken invariant would serve wrong bytes. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

static void report_to_stderr(const char *file, int line, const char *func, const char *cond)
{
    (void)fprintf(stderr, "CHECK failed: %s in %s() at %s:%d\n", cond, func, file, line);
}

/* The one writable global of this folder: whoever owns the process says where reports go. */
static check_report_fn *report = report_to_stderr;

void check_set_report(check_report_fn *fn)
{
    CHECK(fn != NULL);
    report = fn;
}

void check_fail(const char *file, int line, const char *func, const char *cond)
{
    report(file, line, func, cond);
    abort();
}
