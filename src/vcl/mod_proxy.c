/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* proxy: what the proxy in front said of the client's connection, beside the addresses. */
#include "http/proxy.h"
#include "vcl/mod.h"
#include "vcl/value.h"
#include "vcl/vm_priv.h"

enum { HAS_SSL = 1, HAS_CERT_CONN = 2, HAS_CERT_SESS = 4 };

/* False, and the task has failed, where there is no client. */
static bool find(struct objm_ctx *ctx, uint8_t type, struct str *value)
{
    struct vcl_task *task = vcl__task(ctx);
    *value = STR_NONE;
    if (task->host->client == NULL) {
        objm_fail(ctx, OBJM_STR("proxy: may not be called in vcl_init or vcl_fini"));
        return false;
    }
    struct vcl_client client = {.proxy_tlvs = STR_NONE};
    task->host->client(task, &client);
    return client.proxy_tlvs.ptr != NULL && proxy_tlv(client.proxy_tlvs, type, value);
}

static bool has_flag(struct objm_ctx *ctx, unsigned flag)
{
    struct str ssl;
    return find(ctx, PROXY_TLV_SSL, &ssl) && ssl.len > 0 && ((uint8_t)ssl.ptr[0] & flag) != 0;
}

#define FLAG(name, flag)                                                                           \
    static void name(struct objm_ctx *ctx, struct objm_call *call)                                 \
    {                                                                                              \
        call->ret.boolean = has_flag(ctx, flag);                                                   \
    }
FLAG(is_ssl, HAS_SSL)
FLAG(client_has_cert_sess, HAS_CERT_SESS)
FLAG(client_has_cert_conn, HAS_CERT_CONN)

static void ssl_verify_result(struct objm_ctx *ctx, struct objm_call *call)
{
    struct str ssl;
    if (find(ctx, PROXY_TLV_SSL, &ssl) && ssl.len >= 5) {
        const unsigned char *at = (const unsigned char *)ssl.ptr + 1;
        call->ret.integer = (int64_t)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
                                      (uint32_t)at[2] << 8 | (uint32_t)at[3]);
    }
}

/* The preface may be gone before the task is: the text is the task's. */
static void text(struct objm_ctx *ctx, struct objm_call *call, uint8_t type)
{
    struct str value;
    if (find(ctx, type, &value)) {
        call->ret.string = objm_printf(ctx, "%.*s", STR_ARG(value));
    }
}

#define TEXT(name, type)                                                                           \
    static void name(struct objm_ctx *ctx, struct objm_call *call)                                 \
    {                                                                                              \
        text(ctx, call, PROXY_TLV_##type);                                                         \
    }
TEXT(alpn, ALPN)
TEXT(authority, AUTHORITY)
TEXT(ssl_version, SSL_VERSION)
TEXT(client_cert_cn, SSL_CN)
TEXT(ssl_cipher, SSL_CIPHER)
TEXT(cert_sign, SSL_SIG_ALG)
TEXT(cert_key, SSL_KEY_ALG)

#define FUNC(f, type, said)                                                                        \
    {                                                                                              \
        .name = #f, .ret = OBJM_##type, .fn = (f), .doc = (said)                                   \
    }

static const struct objm_func funcs[] = {
    FUNC(alpn, STRING, "The protocol that was agreed upon (ALPN)."),
    FUNC(authority, STRING, "The host that the client named (SNI)."),
    FUNC(is_ssl, BOOL, "Whether the client came by TLS."),
    FUNC(client_has_cert_sess, BOOL,
         "Whether it showed a certificate at least once in its TLS session."),
    FUNC(client_has_cert_conn, BOOL, "Whether it showed a certificate on this connection."),
    FUNC(ssl_verify_result, INT,
         "What verifying its certificate gave; 0 is good, or none was told."),
    FUNC(ssl_version, STRING, "The version of TLS, as TLSv1.3."),
    FUNC(client_cert_cn, STRING, "The common name in its certificate."),
    FUNC(ssl_cipher, STRING, "The cipher."),
    FUNC(cert_sign, STRING, "What the server's certificate was signed with."),
    FUNC(cert_key, STRING, "What kind of key the server's certificate has."),
};

const struct objm_module vcl__mod_proxy = {
    OBJM_ABI,
    .name = "proxy",
    .title = "what a proxy says of a connection",
    .doc =
        "What the PROXY preface (version 2) of the client's connection said beside the addresses, "
        "which client.ip and server.ip have. Texts are unset, and the rest is false or 0, when it "
        "said nothing, or there was none. Everywhere but in vcl_init and vcl_fini.",
    OBJM_FUNCS(funcs),
};
