/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* blob: bytes that are no text, and the encodings that make them one. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/blob_codec.h"
#include "vcl/mod.h"
#include "vcl/value.h"

enum hex_case { CASE_LOWER, CASE_UPPER, CASE_DEFAULT };
#define CASES "LOWER UPPER DEFAULT"

static void fail(struct objm_ctx *ctx, struct objm_str why)
{
    if (why.ptr != NULL) {
        objm_fail(ctx, why);
    }
}

/* The bytes of an encoded text; `length`: of how much of it, all when it is not positive.  False:
 * failed. */
static bool decode_text(struct objm_ctx *ctx, const struct objm_call *call,
                        enum blob_encoding encoding, int64_t length, struct objm_strands strands,
                        struct objm_blob *blob)
{
    struct str text = vcl_str(objm_join(ctx, strands));
    if (length > 0 && (uint64_t)length < text.len) {
        text.len = (size_t)length;
    }
    char *block = objm_alloc(ctx, text.len + 1);
    if (block == NULL) {
        return false;
    }
    struct sb out = sb_of(block, text.len);
    if (vcl__blob_decode(encoding, text, &out) != RC_OK) {
        struct str first = strands.count > 0 ? vcl_str(strands.part[0]) : text;
        const char *what = call->func->name == NULL ? "create blob " : "decode";
        fail(ctx,
             objm_printf(ctx,
                         "vmod blob error: cannot %s%s, illegal encoding beginning with "
                         "\"%.*s\"",
                         what, call->func->name == NULL ? call->instance : "", STR_ARG(first)));
        return false;
    }
    CHECK(!out.overflow);
    *blob = (struct objm_blob){block, out.len};
    return true;
}

static bool case_fits(struct objm_ctx *ctx, enum blob_encoding encoding, enum hex_case wanted)
{
    if (wanted == CASE_DEFAULT || encoding == BLOB_HEX || encoding == BLOB_URL) {
        return true;
    }
    struct str name = vcl_enum_name(BLOB_ENCODINGS, (unsigned)encoding);
    fail(ctx, objm_printf(ctx, "vmod blob error: case %s is illegal with encoding %.*s",
                          wanted == CASE_LOWER ? "LOWER" : "UPPER", STR_ARG(name)));
    return false;
}

static struct objm_str encode_blob(struct objm_ctx *ctx, enum blob_encoding encoding,
                                   enum hex_case wanted, struct objm_blob blob)
{
    size_t room = vcl__blob_encoded_max(encoding, blob.len);
    char *block = objm_alloc(ctx, room + 1);
    if (block == NULL) {
        return (struct objm_str){NULL, 0};
    }
    struct sb out = sb_of(block, room);
    vcl__blob_encode(encoding, wanted == CASE_UPPER, (struct str){blob.ptr, blob.len}, &out);
    CHECK(!out.overflow);
    /* A text ends at its first NUL. */
    return (struct objm_str){block, strnlen(block, out.len)};
}

/* ---- functions ---- */

static void decode(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)decode_text(ctx, call, (enum blob_encoding)call->arg[0].choice, call->arg[1].integer,
                      call->arg[2].strands, &call->ret.blob);
}

static void encode(struct objm_ctx *ctx, struct objm_call *call)
{
    enum blob_encoding encoding = (enum blob_encoding)call->arg[0].choice;
    enum hex_case wanted = (enum hex_case)call->arg[1].choice;
    if (case_fits(ctx, encoding, wanted) && call->arg[2].blob.ptr != NULL) {
        call->ret.string = encode_blob(ctx, encoding, wanted, call->arg[2].blob);
    }
}

static void transcode(struct objm_ctx *ctx, struct objm_call *call)
{
    enum blob_encoding from = (enum blob_encoding)call->arg[0].choice;
    enum blob_encoding to = (enum blob_encoding)call->arg[1].choice;
    enum hex_case wanted = (enum hex_case)call->arg[2].choice;
    struct objm_blob blob;
    if (case_fits(ctx, to, wanted) &&
        decode_text(ctx, call, from, call->arg[3].integer, call->arg[4].strands, &blob)) {
        call->ret.string = encode_blob(ctx, to, wanted, blob);
    }
}

static void same(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    struct objm_blob a = call->arg[0].blob;
    struct objm_blob b = call->arg[1].blob;
    /* An empty one has no place. */
    call->ret.boolean = a.len == b.len && (a.ptr == b.ptr || (a.len == 0 && a.ptr && b.ptr));
}

static void equal(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    struct objm_blob a = call->arg[0].blob;
    struct objm_blob b = call->arg[1].blob;
    call->ret.boolean = (a.ptr == NULL) == (b.ptr == NULL) &&
                        vcl_value_equal(OBJM_BLOB, &call->arg[0], &call->arg[1]);
}

static void length(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    call->ret.integer = (int64_t)call->arg[0].blob.len;
}

static void sub(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_blob blob = call->arg[0].blob;
    int64_t bytes = call->arg[1].integer;
    int64_t offset = call->arg[2].integer;
    if (blob.len == 0) {
        fail(ctx, OBJM_STR("vmod blob error: blob is empty in blob.sub()"));
    } else if (bytes < 0 || offset < 0) {
        fail(ctx, OBJM_STR("vmod blob error: size or offset negative in blob.sub()"));
    } else if ((uint64_t)offset > blob.len || (uint64_t)bytes > blob.len - (uint64_t)offset) {
        fail(ctx, objm_printf(ctx,
                              "vmod blob error: size %jd from offset %jd requires more bytes than "
                              "blob length %zd in blob.sub()",
                              (intmax_t)bytes, (intmax_t)offset, blob.len));
    } else {
        call->ret.blob = (struct objm_blob){(const char *)blob.ptr + offset, (size_t)bytes};
    }
}

/* ---- objects ---- */

static void blob_init(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_blob *kept = xcalloc(1, sizeof *kept);
    struct objm_blob blob = {"", 0};
    (void)decode_text(ctx, call, (enum blob_encoding)call->arg[0].choice, 0, call->arg[1].strands,
                      &blob);
    char *bytes = xmalloc(blob.len + 1);
    memcpy(bytes, blob.ptr, blob.len);
    *kept = (struct objm_blob){bytes, blob.len};
    call->self = kept;
}

static void blob_fini(struct objm_ctx *ctx, void *self)
{
    (void)ctx;
    struct objm_blob *kept = self;
    free((void *)(uintptr_t)kept->ptr);
    free(kept);
}

static void blob_get(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    call->ret.blob = *(const struct objm_blob *)call->self;
}

static void blob_encode(struct objm_ctx *ctx, struct objm_call *call)
{
    enum blob_encoding encoding = (enum blob_encoding)call->arg[0].choice;
    enum hex_case wanted = (enum hex_case)call->arg[1].choice;
    if (case_fits(ctx, encoding, wanted)) {
        call->ret.string =
            encode_blob(ctx, encoding, wanted, *(const struct objm_blob *)call->self);
    }
}

/* ---- the table ---- */

static const struct objm_arg decode_args[] = {
    {OBJM_ARG(ENUM, "decoding"), .values = BLOB_ENCODINGS, .def = "IDENTITY"},
    {OBJM_ARG(INT, "length"), .def = "0"},
    {OBJM_ARG(STRANDS, "encoded")},
};
static const struct objm_arg encode_args[] = {
    {OBJM_ARG(ENUM, "encoding"), .values = BLOB_ENCODINGS, .def = "IDENTITY"},
    {OBJM_ARG(ENUM, "case"), .values = CASES, .def = "DEFAULT"},
    {OBJM_ARG(BLOB, "blob")},
};
static const struct objm_arg transcode_args[] = {
    {OBJM_ARG(ENUM, "decoding"), .values = BLOB_ENCODINGS, .def = "IDENTITY"},
    {OBJM_ARG(ENUM, "encoding"), .values = BLOB_ENCODINGS, .def = "IDENTITY"},
    {OBJM_ARG(ENUM, "case"), .values = CASES, .def = "DEFAULT"},
    {OBJM_ARG(INT, "length"), .def = "0"},
    {OBJM_ARG(STRANDS, "encoded")},
};
static const struct objm_arg two_args[] = {{OBJM_ARG(BLOB, NULL)}, {OBJM_ARG(BLOB, NULL)}};
static const struct objm_arg one_args[] = {{OBJM_ARG(BLOB, NULL)}};
static const struct objm_arg sub_args[] = {
    {OBJM_ARG(BLOB, NULL)}, {OBJM_ARG(BYTES, "length")}, {OBJM_ARG(BYTES, "offset"), .def = "0"}};
static const struct objm_arg init_args[] = {
    {OBJM_ARG(ENUM, "decoding"), .values = BLOB_ENCODINGS, .def = "IDENTITY"},
    {OBJM_ARG(STRANDS, "encoded")},
};

static const struct objm_func funcs[] = {
    {.name = "decode",
     .ret = OBJM_BLOB,
     .fn = decode,
     OBJM_ARGS(decode_args),
     .doc = "The bytes that a text stands for. With a positive length only so many bytes of the "
            "text are read. A text that does not fit the encoding fails the task."},
    {.name = "encode",
     .ret = OBJM_STRING,
     .fn = encode,
     OBJM_ARGS(encode_args),
     .doc = "The text for these bytes, up to the first NUL in it; unset for no blob. case is for "
            "HEX and URL only (LOWER if DEFAULT); otherwise the task fails."},
    {.name = "transcode",
     .ret = OBJM_STRING,
     .fn = transcode,
     OBJM_ARGS(transcode_args),
     .doc = "One encoding into another one."},
    {.name = "same",
     .ret = OBJM_BOOL,
     .fn = same,
     OBJM_ARGS(two_args),
     .doc = "Whether both are the same place in memory, or both empty, or both no blob."},
    {.name = "equal",
     .ret = OBJM_BOOL,
     .fn = equal,
     OBJM_ARGS(two_args),
     .doc = "Whether both have the same bytes."},
    {.name = "length",
     .ret = OBJM_INT,
     .fn = length,
     OBJM_ARGS(one_args),
     .doc = "How many bytes."},
    {.name = "sub",
     .ret = OBJM_BLOB,
     .fn = sub,
     OBJM_ARGS(sub_args),
     .doc = "A part of a blob; the task fails when the blob does not have it."},
};

static const struct objm_func methods[] = {
    {.name = "get", .ret = OBJM_BLOB, .fn = blob_get, .doc = "The bytes."},
    {.name = "encode",
     .ret = OBJM_STRING,
     .fn = blob_encode,
     .args = encode_args,
     .arg_count = 2,
     .doc = "The text for them, as the function encode."},
};

static const struct objm_object objects[] = {
    {.name = "blob",
     .init = {.fn = blob_init, OBJM_ARGS(init_args)},
     .fini = blob_fini,
     OBJM_METHODS(methods),
     .doc = "Bytes that are decoded once, when the VCL is loaded."},
};

const struct objm_module vcl__mod_blob = {
    OBJM_ABI,
    .name = "blob",
    .title = "bytes and their encodings",
    .doc = "Encodings: IDENTITY (the text is the bytes), BASE64 and BASE64URL of RFC 4648, "
           "BASE64URLNOPAD without padding, BASE64CF with the digits - and ~ and the padding _, "
           "HEX, and URL (percent encoding). Missing padding is taken as if it were there; an odd "
           "number of hexadecimal digits has a 0 before it.",
    OBJM_FUNCS(funcs),
    OBJM_OBJECTS(objects),
};
