/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Checks for our own mistakes.  They are on in every build; what the world does is an enum rc. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include "base/attr.h"

/* One condition each, so that the report names the one that failed. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (UNLIKELY(!(cond))) {                                                                   \
            check_fail(__FILE__, __LINE__, __func__, #cond);                                       \
        }                                                                                          \
    } while (0)

/* Long-lived structs begin with `uint32_t magic`, a random constant of their type. */
#define CHECK_OBJ(ptr, magic_value)                                                                \
    do {                                                                                           \
        CHECK((ptr) != NULL);                                                                      \
        CHECK((ptr)->magic == (magic_value));                                                      \
    } while (0)

/* Called once, on the failing thread, before the process aborts; borrows all text. */
typedef void check_report_fn(const char *file, int line, const char *func, const char *cond);

/* Replaces the report (default: one line on stderr).  Not thread safe: set it at start-up. */
void check_set_report(check_report_fn *fn);

COLD NORETURN void check_fail(const char *file, int line, const char *func, const char *cond);

#endif
