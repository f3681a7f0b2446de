/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Text that grows, and the two quotings of the command line interface: a JSON string, and a token
 * of a request.  Answers are as long as what they tell (a parameter list, a panic), so they come
 * from the heap; what a peer sends is limited before it gets here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/cli_proto.h"

static void reserve(struct cli_text *text, size_t more)
{
    size_t need;
    CHECK(!__builtin_add_overflow(text->len, more, &need));
    if (need <= text->cap) {
        return;
    }
    size_t cap = text->cap == 0 ? 256 : text->cap;
    while (cap < need) {
        CHECK(!__builtin_mul_overflow(cap, 2, &cap));
    }
    text->ptr = xrealloc(text->ptr, cap);
    text->cap = cap;
}

void cli_text_add(struct cli_text *text, struct str s)
{
    if (s.len == 0) {
        return;
    }
    reserve(text, s.len);
    memcpy(text->ptr + text->len, s.ptr, s.len);
    text->len += s.len;
}

void cli_text_vprintf(struct cli_text *text, const char *fmt, va_list ap)
{
    va_list measured;
    va_copy(measured, ap);
    /* The analyzer does not see that callers have begun `ap`. */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    int len = vsnprintf(NULL, 0, fmt, measured);
    va_end(measured);
    CHECK(len >= 0);
    reserve(text, (size_t)len + 1);
    int got = vsnprintf(text->ptr + text->len, (size_t)len + 1, fmt, ap);
    CHECK(got == len);
    text->len += (size_t)len;
}

void cli_text_printf(struct cli_text *text, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cli_text_vprintf(text, fmt, ap);
    va_end(ap);
}

/* Text comes from headers, files and people: what is not ASCII is written as the code point of its
 * Latin-1 reading, so that the answer is valid JSON whatever the bytes are. */
void cli_text_json(struct cli_text *text, struct str s)
{
    cli_text_add(text, STR("\""));
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\') {
            cli_text_printf(text, "\\%c", c);
        } else if (c == '\n') {
            cli_text_add(text, STR("\\n"));
        } else if (c == '\t') {
            cli_text_add(text, STR("\\t"));
        } else if (c < 0x20 || c >= 0x7f) {
            cli_text_printf(text, "\\u%04x", c);
        } else {
            cli_text_add(text, (struct str){s.ptr + i, 1});
        }
    }
    cli_text_add(text, STR("\""));
}

void cli_text_quote(struct cli_text *text, struct str s)
{
    cli_text_add(text, STR("\""));
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\') {
            cli_text_printf(text, "\\%c", c);
        } else if (c == '\n') {
            cli_text_add(text, STR("\\n"));
        } else if (c < 0x20 || c == 0x7f) {
            cli_text_printf(text, "\\x%02x", c);
        } else {
            cli_text_add(text, (struct str){s.ptr + i, 1});
        }
    }
    cli_text_add(text, STR("\""));
}

void cli_text_clear(struct cli_text *text)
{
    text->len = 0;
}

void cli_text_free(struct cli_text *text)
{
    free(text->ptr);
    *text = (struct cli_text){0};
}
