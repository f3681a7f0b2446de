/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* ESI documents and programs.  The first byte says which, and how: a document is understood in the
 * same way however it arrives, its program is accepted by the reader and covers it; a program from
 * anywhere says nothing of bytes that its body does not have. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/sb.h"
#include "filter/esi.h"

static struct str parse(struct str doc, unsigned flags, size_t chunk)
{
    struct esi_parser *p = esi_parser_new(STR("/dir/page"), flags);
    struct esi_writer *w = esi_writer_new(false);
    struct esi_event e = {.kind = ESI_MORE};
    for (size_t at = 0; e.kind != ESI_DONE;) {
        size_t len = chunk > doc.len - at ? doc.len - at : chunk;
        char *copy = str_dup((struct str){doc.ptr + at, len});
        struct str in = {copy, len};
        do {
            e = esi_parse(p, &in, at + len == doc.len);
            if (e.kind == ESI_KEEP) {
                esi_writer_keep(w, e.bytes.len, 0, 0);
            } else if (e.kind == ESI_SKIP) {
                esi_writer_skip(w, e.bytes.len);
            } else if (e.kind == ESI_INCLUDE) {
                esi_writer_include(w, e.host, e.url, e.goes_on);
            }
        } while (e.kind != ESI_MORE && e.kind != ESI_DONE);
        CHECK(in.len == 0);
        at += len;
        free(copy);
    }
    esi_parser_free(&p);
    struct str program = STR_NONE;
    char *ptr;
    if (esi_writer_finish(w, &ptr, &program.len) == RC_OK) {
        program.ptr = ptr;
    }
    esi_writer_free(&w);
    return program;
}

static enum rc walk(struct str program, uint64_t body_len)
{
    struct esi_reader r;
    struct esi_op op = {.kind = ESI_MORE};
    enum rc rc = esi_read_begin(&r, program, body_len);
    uint64_t sum = 0;
    while (rc == RC_OK && op.kind != ESI_DONE) {
        rc = esi_read(&r, &op);
        if (rc == RC_OK && op.kind != ESI_INCLUDE) {
            sum += op.len;
            CHECK(sum <= body_len);
        }
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct str text = {(const char *)data + 1, size - 1};
    if ((data[0] & 0x80) != 0) {
        char *copy = str_dup(text);
        (void)walk((struct str){copy, text.len}, (uint64_t)(data[0] & 0x7f) << 6);
        free(copy);
        return 0;
    }
    struct str whole = parse(text, data[0] & 15u, SIZE_MAX);
    struct str parts = parse(text, data[0] & 15u, 1 + (data[0] >> 4 & 7u));
    CHECK(str_eq(whole, parts));
    CHECK(whole.ptr == NULL || walk(whole, text.len) == RC_OK);
    free((void *)(uintptr_t)whole.ptr);
    free((void *)(uintptr_t)parts.ptr);
    return 0;
}
