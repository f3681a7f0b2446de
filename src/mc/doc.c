/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The reference, from the tables that are obeyed. */
#include "mc/mc_priv.h"

static const char *of_flag(unsigned i, struct sb *sb)
{
    static const char *const tokens[] = {
        [MC_TOKEN_NONE] = "",           [MC_TOKEN_TEXT] = "<text>",
        [MC_TOKEN_NUMBER] = "<number>", [MC_TOKEN_FLAGS] = "<number>",
        [MC_TOKEN_TIME] = "<exptime>",  [MC_TOKEN_MODE] = "<mode>",
    };
    const struct mc_flag_kind *kind = &mc__flag_kinds[i];
    sb_chr(sb, kind->letter);
    sb_put(sb, str_of(tokens[kind->token]));
    sb_printf(sb, " (%s)", kind->commands);
    return kind->text;
}

static const char *of_opcode(unsigned i, struct sb *sb)
{
    const struct mc_opcode *opcode = &mc__opcodes[i];
    sb_printf(sb, "0x%02x %.*s", opcode->code, STR_ARG(opcode->name));
    return opcode->text;
}

bool mc_doc(enum mc_part part, unsigned i, struct mc_doc *doc)
{
    static const unsigned *const counts[] = {&mc_commands_count, &mc__flag_kinds_count,
                                             &mc__opcodes_count};
    if (i >= *counts[part]) {
        return false;
    }
    struct sb sb = sb_of(doc->what, sizeof doc->what - 1);
    switch (part) {
    case MC_PART_COMMANDS:
        sb_put(&sb, mc_commands[i].name);
        sb_printf(&sb, " %s", mc_commands[i].args);
        doc->text = mc_commands[i].text;
        break;
    case MC_PART_FLAGS:
        doc->text = of_flag(i, &sb);
        break;
    case MC_PART_OPCODES:
        doc->text = of_opcode(i, &sb);
        break;
    }
    CHECK(!sb.overflow);
    doc->what[sb.len] = '\0';
    return true;
}
