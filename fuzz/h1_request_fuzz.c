/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "fuzz.h"
#include "h1_head_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head_run *run = head_check(h1_parse_request, h1_build_request, data, size);
    if (run->rc == RC_OK) {
        CHECK(http_is_token(run->h.method));
        CHECK(http_is_url(run->h.url));
        CHECK(run->h.version == 10 || run->h.version == 11);
        CHECK(run->head.body.framing != H1_BODY_EOF);
        CHECK(run->head.body.framing != H1_BODY_ERROR);
        CHECK((run->head.conn & HTTP_CONN_BAD) == 0);
        struct http_hdr table[HEAD_MAX_HDR];
        struct http pass;
        http_init(&pass, table, HEAD_MAX_HDR);
        CHECK(http_copy(&pass, &run->h, HTTP_COPY_PASS) == RC_OK);
        /* What says how long the message is and where it goes can not be stripped by the peer. */
        CHECK(http_count(&pass, HDR_HOST) == http_count(&run->h, HDR_HOST));
        CHECK(http_count(&pass, HDR_CONTENT_LENGTH) == http_count(&run->h, HDR_CONTENT_LENGTH));
        CHECK(http_find(&pass, HDR_CONNECTION) == NULL);
        CHECK(http_find(&pass, HDR_TRANSFER_ENCODING) == NULL);
    }
    head_end(run);
    return 0;
}
