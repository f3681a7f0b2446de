/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The PROXY protocol, versions 1 and 2: what a proxy in front says about the client's connection,
 * before the first byte that the client sent.  Pure; nothing Yields. */
#ifndef HTTP_PROXY_H
#define HTTP_PROXY_H

#include "base/sb.h"

struct proxy_addr {
    uint8_t family;    /* 4, 6, or 0: none was told, the connection's own holds */
    uint8_t bytes[16]; /* the first 4 or all, as on the wire */
    uint16_t port;
};

struct proxy_head {
    uint8_t version;          /* 1 or 2 */
    bool is_local;            /* the proxy speaks for itself, a health check mostly */
    struct proxy_addr client; /* the source, and ... */
    struct proxy_addr server; /* ... the destination of the connection to the proxy */
    struct str tlvs;          /* of version 2: borrowed from the buffer; well formed */
    size_t consumed;          /* bytes of the preface, when RC_OK */
    /* What the log should say (Varnish's ProxyGarbage), "" for nothing: why it was refused, or,
     * with RC_OK, why its addresses were passed over. */
    char garbage[64];
};

enum {
    PROXY_V1_MAX = 108,  /* the longest line of version 1 that is taken */
    PROXY_V2_MAX = 1024, /* the most that a preface of version 2 may have behind its 16 bytes */
    PROXY_MAX = 16 + PROXY_V2_MAX
};

/* Parses the preface at the beginning of buf[0..len).  The result does not depend on how the bytes
 * were split over calls.  RC_OK; RC_AGAIN: more bytes are needed, never more than PROXY_MAX in all;
 * RC_MALFORMED, RC_TOO_LONG: close the connection, nothing behind it can be trusted. */
MUST_USE enum rc proxy_parse(const char *buf, size_t len, struct proxy_head *head);

/* Types of what version 2 may add. */
enum proxy_tlv_type {
    PROXY_TLV_ALPN = 0x01,
    PROXY_TLV_AUTHORITY = 0x02,
    PROXY_TLV_CRC32C = 0x03,
    PROXY_TLV_NOOP = 0x04,
    PROXY_TLV_UNIQUE_ID = 0x05,
    PROXY_TLV_SSL =
        0x20, /* a byte of flags, 4 of the verification's result, then TLVs of its own: */
    PROXY_TLV_SSL_VERSION = 0x21,
    PROXY_TLV_SSL_CN = 0x22,
    PROXY_TLV_SSL_CIPHER = 0x23,
    PROXY_TLV_SSL_SIG_ALG = 0x24,
    PROXY_TLV_SSL_KEY_ALG = 0x25,
    PROXY_TLV_NETNS = 0x30
};
/* The first value of this type, also among those of SSL; false when there is none.  *value borrows
 * from tlvs. */
bool proxy_tlv(struct str tlvs, uint8_t type, struct str *value);

/* "192.0.2.1" or "2001:db8::1"; nothing when there is no address. */
void proxy_addr_text(struct sb *sb, const struct proxy_addr *addr);
/* From such text.  RC_MALFORMED. */
MUST_USE enum rc proxy_addr_parse(struct proxy_addr *addr, struct str host, struct str port);

/* Writes a preface; the sb's overflow says whether it fitted.  Without addresses of one and the
 * same family version 1 says UNKNOWN, version 2 LOCAL.  authority: may be empty; version 2 only. */
void proxy_write(struct sb *sb, unsigned version, const struct proxy_addr *client,
                 const struct proxy_addr *server, struct str authority);

#endif
