/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/digest.h"

#include <openssl/evp.h>
#include <sys/random.h>

/* One context a thread, made at first use and freed by digest_thread_end: fetching the algorithm
 * anew for each key would cost more than the hash. */
static _Thread_local EVP_MD_CTX *thread_ctx;
static _Thread_local EVP_MD *thread_md;

void digest_make(struct digest *out, const struct str *pieces, size_t count)
{
    CHECK(out != NULL);
    if (thread_ctx == NULL) {
        thread_md = EVP_MD_fetch(NULL, "SHA256", NULL);
        CHECK(thread_md != NULL);
        thread_ctx = EVP_MD_CTX_new();
        CHECK(thread_ctx != NULL);
    }
    int ok = EVP_DigestInit_ex2(thread_ctx, thread_md, NULL);
    for (size_t i = 0; i < count; i++) {
        ok &= EVP_DigestUpdate(thread_ctx, pieces[i].ptr, pieces[i].len);
    }
    unsigned len = 0;
    ok &= EVP_DigestFinal_ex(thread_ctx, out->bytes, &len);
    CHECK(ok == 1);
    CHECK(len == sizeof out->bytes);
}

uint64_t digest_secret(void)
{
    uint64_t secret;
    /* So few bytes always come whole. */
    ssize_t got = getrandom(&secret, sizeof secret, 0);
    CHECK(got == (ssize_t)sizeof secret);
    return secret | 1;
}

void digest_thread_end(void)
{
    EVP_MD_CTX_free(thread_ctx);
    EVP_MD_free(thread_md);
    thread_ctx = NULL;
    thread_md = NULL;
}
