/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void *xmalloc(size_t bytes)
{
    void *ptr = malloc(bytes == 0 ? 1 : bytes);
    CHECK(ptr != NULL);
    return ptr;
}

void *xcalloc(size_t count, size_t bytes_each)
{
    void *ptr = calloc(count == 0 ? 1 : count, bytes_each == 0 ? 1 : bytes_each);
    CHECK(ptr != NULL);
    return ptr;
}

void *xrealloc(void *ptr, size_t bytes)
{
    void *grown = realloc(ptr, bytes == 0 ? 1 : bytes);
    CHECK(grown != NULL);
    return grown;
}

void *xaligned(size_t align, size_t bytes)
{
    void *ptr = NULL;
    int err = posix_memalign(&ptr, align, bytes);
    CHECK(err == 0);
    CHECK(ptr != NULL);
    return ptr;
}

char *xstrdup(const char *text)
{
    CHECK(text != NULL);
    char *copy = strdup(text);
    CHECK(copy != NULL);
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int len = vasprintf(&text, fmt, ap);
    va_end(ap);
    CHECK(len >= 0);
    CHECK(text != NULL);
    return text;
}
