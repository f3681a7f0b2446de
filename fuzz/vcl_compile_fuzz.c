/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The compiler of VCL: any text either compiles or is refused with a message, and leaves nothing
 * behind. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/check.h"
#include "vcl/vcl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const stores[] = {"s0", NULL};
    static const char *const labels[] = {"other", NULL};
    /* Files come from the input alone: it includes itself, which must end too. */
    struct str text = {(const char *)data, size};
    const struct vcl_file files[] = {{STR_INIT("self"), text}, {{NULL, 0}, {NULL, 0}}};
    const struct vcl_conf conf = {.stores = stores, .labels = labels, .files = files};
    struct vcl_program *prog = NULL;
    char *messages = NULL;
    enum rc rc = vcl_compile(&conf, "<vcl.inline>", &text, &prog, &messages);
    CHECK(messages != NULL);
    CHECK((rc == RC_OK) == (prog != NULL));
    CHECK(rc == RC_OK || messages[0] != '\0');
    free(messages);
    if (prog != NULL) {
        vcl_program_release(&prog);
    }
    return 0;
}
