/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Prints the reference page of a built-in module (docs/man), or the names of all of them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "vcl/modules.h"

enum { PAGE_BYTES = 256 * 1024 };

static int print_names(void)
{
    for (unsigned n = 0; vcl_module_nth(n) != NULL; n++) {
        (void)puts(vcl_module_nth(n)->name);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        return print_names();
    }
    const struct objm_module *module = vcl_module_builtin(str_of(argv[1]));
    if (module == NULL) {
        (void)fprintf(stderr, "%s: no such module\n", argv[1]);
        return EXIT_FAILURE;
    }
    char *page = xmalloc(PAGE_BYTES);
    struct sb sb = sb_of(page, PAGE_BYTES);
    vcl_module_page(&sb, module);
    size_t wrote = fwrite(page, 1, sb.len, stdout);
    bool is_whole = wrote == sb.len && !sb.overflow && fflush(stdout) == 0;
    XFREE(page);
    return is_whole ? EXIT_SUCCESS : EXIT_FAILURE;
}
