/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One compilation, from the first byte to the last instruction. */
#include "vcl/cc.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

const char *vcl_builtin(void)
{
    return vcl__builtin_text;
}

static const char *const type_names[] = {
#define TYPE(name) [VT_##name] = #name,
#include "vcl/types.def"
#undef TYPE
    [VT_STRINGS] = "STRING",
    [VT_BODY] = "BODY",
    [VT_VCL] = "VCL",
};

const char *vcl__type_name(enum vcl_type type)
{
    return type_names[type];
}

static bool compile(struct cc *cc, const char *name, const struct str *text)
{
    return vcl__read(cc, name, text) && vcl__parse(cc) && vcl__check(cc) && vcl__gen(cc);
}

enum rc vcl_compile(const struct vcl_conf *conf, const char *name, const struct str *text,
                    struct vcl_program **out, char **messages)
{
    CHECK(conf != NULL);
    CHECK(name != NULL);
    struct cc cc = {.conf = conf};
    cc.sources_end = &cc.sources;
    cc.subs_end = &cc.subs;
    cc.prog = vcl__prog_new();
    vcl__add(&cc.out, STR(""));
    vcl__sym_init(&cc);
    bool is_fine = compile(&cc, name, text);
    CHECK(is_fine != cc.failed);
    cc.prog->syntax = cc.syntax;
    *messages = cc.out.ptr;
    *out = cc.prog;
    if (is_fine) {
        vcl__filters_finish(cc.prog);
        vcl__lean(cc.prog);
    } else {
        vcl_program_release(out);
    }
    vcl__mem_free(&cc.mem);
    return is_fine ? RC_OK : RC_INVALID;
}
