/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Lengths stand before the bytes, so that nothing has to be escaped and a reader that is given
 * anything else notices at once. */
#include "mgt/pack.h"

#include "base/check.h"

void pack_put(struct cli_text *pack, const char *word, struct str text)
{
    CHECK(word[0] != '\0');
    CHECK(strpbrk(word, " \n") == NULL);
    cli_text_printf(pack, "%s %zu\n", word, text.len);
    cli_text_add(pack, text);
    cli_text_add(pack, STR("\n"));
}

enum rc pack_next(struct str *rest, struct str *word, struct str *text)
{
    if (rest->len == 0) {
        return RC_EOF;
    }
    size_t head = str_find(*rest, '\n');
    struct str count = {rest->ptr, head};
    struct str name = str_cut(&count, ' ');
    uint64_t len = 0;
    if (head == rest->len || name.len == 0 || str_to_u64(count, &len) != RC_OK) {
        return RC_MALFORMED;
    }
    size_t left = rest->len - head - 1;
    if (len >= left || rest->ptr[head + 1 + len] != '\n') {
        return RC_MALFORMED;
    }
    *word = name;
    *text = (struct str){rest->ptr + head + 1, len};
    rest->ptr += head + len + 2;
    rest->len -= head + len + 2;
    return RC_OK;
}
