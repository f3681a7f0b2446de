/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* std: strings and header fields.  What does not change a text returns the text itself. */
#include "vcl/mod_std.h"

#include "vcl/text.h"
#include "vcl/value.h"

void vcl__std_fail(struct objm_ctx *ctx, const char *text)
{
    objm_fail(ctx, vcl_objm_str(str_of(text)));
}

static char to_case(char c, char from, int by)
{
    return c >= from && c <= from + 25 ? (char)(c + by) : c;
}

/* All parts as one, letters from `from` on (26 of them) moved by `by`. */
static void change_case(struct objm_ctx *ctx, struct objm_call *call, char from, int by)
{
    struct objm_strands s = call->arg[0].strands;
    size_t len = 0;
    for (size_t n = 0; n < s.count; n++) {
        len += s.part[n].len;
    }
    char *text = objm_alloc(ctx, len + 1);
    if (text == NULL) {
        return;
    }
    size_t at = 0;
    for (size_t n = 0; n < s.count; n++) {
        for (size_t k = 0; k < s.part[n].len; k++) {
            text[at++] = to_case(s.part[n].ptr[k], from, by);
        }
    }
    call->ret.string = (struct objm_str){text, len};
}

void vcl__std_toupper(struct objm_ctx *ctx, struct objm_call *call)
{
    change_case(ctx, call, 'a', 'A' - 'a');
}

void vcl__std_tolower(struct objm_ctx *ctx, struct objm_call *call)
{
    change_case(ctx, call, 'A', 'a' - 'A');
}

void vcl__std_strstr(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    struct objm_str in = call->arg[0].string;
    struct objm_str what = call->arg[1].string;
    if (in.ptr == NULL || what.ptr == NULL) {
        return;
    }
    const char *at = what.len == 0 ? in.ptr : memmem(in.ptr, in.len, what.ptr, what.len);
    if (at != NULL) {
        call->ret.string = (struct objm_str){at, in.len - (size_t)(at - in.ptr)};
    }
}

void vcl__std_fnmatch(struct objm_ctx *ctx, struct objm_call *call)
{
    struct str pattern = vcl_str(call->arg[0].string);
    struct str subject = vcl_str(call->arg[1].string);
    if (pattern.ptr == NULL || subject.ptr == NULL) {
        vcl__std_fail(ctx, pattern.ptr == NULL ? "std.fnmatch(): pattern is NULL"
                                               : "std.fnmatch(): subject is NULL");
        return;
    }
    unsigned flags = 0;
    flags |= call->arg[2].boolean ? GLOB_PATHNAME : 0;
    flags |= call->arg[3].boolean ? GLOB_NOESCAPE : 0;
    flags |= call->arg[4].boolean ? GLOB_PERIOD : 0;
    call->ret.boolean = vcl__glob(pattern, subject, flags);
}

void vcl__std_querysort(struct objm_ctx *ctx, struct objm_call *call)
{
    struct str url = vcl_str(call->arg[0].string);
    call->ret.string = call->arg[0].string;
    size_t count = vcl__query_parts(url);
    if (count < 2) {
        return;
    }
    struct str *parts = objm_alloc(ctx, count * sizeof *parts);
    char *text = parts == NULL ? NULL : objm_alloc(ctx, url.len);
    if (text != NULL) {
        struct sb sb = sb_of(text, url.len);
        vcl__querysort(url, parts, count, &sb);
        call->ret.string = vcl_objm_str(sb_str(&sb));
    }
}

struct fields {
    unsigned count;
    size_t bytes;
};

/* Fields of this name; appends their values to sb (may be NULL). */
static struct fields each_field(struct objm_ctx *ctx, const struct objm_header *header,
                                struct str sep, struct sb *sb)
{
    struct fields fields = {0};
    struct objm_str name;
    struct objm_str value;
    for (unsigned n = 0; objm_http_nth(ctx, header->http, n, &name, &value); n++) {
        if (!str_eq_nocase(vcl_str(name), vcl_str(header->name))) {
            continue;
        }
        if (sb != NULL && fields.count > 0) {
            sb_put(sb, sep);
        }
        if (sb != NULL) {
            sb_put(sb, vcl_str(value));
        }
        fields.count++;
        fields.bytes += value.len + sep.len;
    }
    return fields;
}

void vcl__std_collect(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct objm_header *header = call->arg[0].header;
    struct str sep = vcl_str(call->arg[1].string);
    if (header == NULL || header->http == OBJM_OBJ || !objm_http_has(ctx, header->http)) {
        vcl__std_fail(ctx, header == NULL ? "std.collect(): header argument is NULL"
                                          : "std.collect(): header argument can not be used here");
        return;
    }
    if (sep.len == 0) {
        sep = STR(", ");
    }
    struct fields fields = each_field(ctx, header, sep, NULL);
    if (fields.count < 2) {
        return;
    }
    char *text = objm_alloc(ctx, fields.bytes);
    if (text == NULL) {
        return;
    }
    struct sb sb = sb_of(text, fields.bytes);
    (void)each_field(ctx, header, sep, &sb);
    (void)objm_http_set(ctx, header->http, header->name, vcl_objm_str(sb_str(&sb)));
}
