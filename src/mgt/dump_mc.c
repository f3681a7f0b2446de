/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* -x memcached and -x mcpasswd. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "mc/mc.h"
#include "mgt/priv.h"

static void put_part(struct cli_text *out, const char *heading, enum mc_part part)
{
    cli_text_printf(out, ".SH %s\n", heading);
    struct mc_doc doc;
    for (unsigned i = 0; mc_doc(part, i, &doc); i++) {
        cli_text_printf(out, ".TP\n.B \"%s\"\n%s\n", doc.what, doc.text);
    }
}

void mgt__dump_mc_page(struct cli_text *out)
{
    cli_text_printf(out,
                    ".TH objmapper-memcached 7 \"\" \"objmapper %s\"\n.ad l\n.SH NAME\n"
                    "objmapper-memcached \\- memcached's protocol as objmapperd speaks it\n"
                    ".SH DESCRIPTION\n"
                    "Spoken where -a says MEMCACHED. What a key and a value are, and who may use "
                    "them, is told in docs/memcached.md.\n",
                    OBJM_VERSION);
    put_part(out, "TEXT AND META COMMANDS", MC_PART_COMMANDS);
    put_part(out, "FLAGS OF META COMMANDS", MC_PART_FLAGS);
    put_part(out, "BINARY REQUESTS", MC_PART_OPCODES);
    cli_text_printf(out, ".SH SEE ALSO\n.BR objmapperd (1)\n");
}

enum rc mgt__dump_mc_passwd(struct cli_text *out)
{
    char line[AUTH_LINE_MAX];
    char made[AUTH_LINE_MAX];
    enum rc rc = RC_OK;
    while (rc == RC_OK && fgets(line, sizeof line, stdin) != NULL) {
        struct str password = {line, strcspn(line, "\n")};
        struct str user = str_cut(&password, ':');
        struct sb sb = sb_of(made, sizeof made);
        rc = password.ptr == NULL ? RC_MALFORMED : auth_put_line(&sb, user, password);
        cli_text_add(out, sb_str(&sb));
    }
    explicit_bzero(line, sizeof line);
    return rc;
}
