/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Memory of one compilation: taken piece by piece, given back all at once. */
#include "vcl/cc_lex.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

#define CHUNK_BYTES 32768u
#define ALIGNMENT 16u

struct cc_chunk {
    struct cc_chunk *next;
    _Alignas(ALIGNMENT) char bytes[];
};

void *vcl__alloc(struct cc_mem *mem, size_t bytes)
{
    bytes = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (bytes > mem->left) {
        size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        struct cc_chunk *chunk = xcalloc(1, sizeof *chunk + room);
        chunk->next = mem->chunks;
        mem->chunks = chunk;
        mem->at = chunk->bytes;
        mem->left = room;
    }
    void *got = mem->at;
    mem->at += bytes;
    mem->left -= bytes;
    return got;
}

struct str vcl__dup(struct cc_mem *mem, struct str s)
{
    char *copy = vcl__alloc(mem, s.len + 1);
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    return (struct str){copy, s.len};
}

void vcl__mem_free(struct cc_mem *mem)
{
    while (mem->chunks != NULL) {
        struct cc_chunk *chunk = mem->chunks;
        mem->chunks = chunk->next;
        free(chunk);
    }
    *mem = (struct cc_mem){0};
}

static void need(struct cc_text *text, size_t more)
{
    if (text->cap - text->len <= more) {
        text->cap = (text->len + more + 1) * 2;
        text->ptr = xrealloc(text->ptr, text->cap);
    }
}

void vcl__add(struct cc_text *text, struct str s)
{
    need(text, s.len);
    if (s.len > 0) {
        memcpy(text->ptr + text->len, s.ptr, s.len);
    }
    text->len += s.len;
    text->ptr[text->len] = '\0';
}

void vcl__addv(struct cc_text *text, const char *fmt, va_list ap)
{
    char *line = NULL;
    int len = vasprintf(&line, fmt, ap);
    CHECK(len >= 0);
    vcl__add(text, (struct str){line, (size_t)len});
    free(line);
}

void vcl__addf(struct cc_text *text, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vcl__addv(text, fmt, ap);
    va_end(ap);
}
