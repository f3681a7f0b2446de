/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Memory from the heap.  Start-up and long-lived budgets use it; requests use arenas.
 * Running out aborts: whatever a peer can make grow has a limit long before. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/attr.h"

/* Each returns memory that the caller owns, never NULL; zeroed by xcalloc. */
void *xmalloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t bytes_each) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *ptr, size_t bytes) __attribute__((returns_nonnull));
void *xaligned(size_t align, size_t bytes) __attribute__((malloc, returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));

/* Frees *ptr_of (may be NULL) and leaves NULL, so that nothing is freed twice. */
#define XFREE(ptr_lvalue)                                                                          \
    do {                                                                                           \
        free(ptr_lvalue);                                                                          \
        (ptr_lvalue) = NULL;                                                                       \
    } while (0)

#endif
