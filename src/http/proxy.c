/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Prefaces of the PROXY protocol.
 *
 * Version 1 is a line:
 *
 *     PROXY TCP4|TCP6 client-address server-address client-port server-port CRLF
 *
 * Version 2 is binary, its numbers in network order:
 *
 *     12 bytes of signature | version:4 command:4 | family:4 transport:4 | u16 length of the rest
 *     client address, server address, client port, server port     (TCP over IPv4 or IPv6)
 *     { u8 type, u16 length, value } ...                           up to the length
 *
 * What Varnish takes is taken, what it refuses is refused, with the same words in the log: version
 * 2 with addresses of a kind nobody here knows counts as a connection without a proxy; version 1's
 * UNKNOWN does not.  Addresses must be written as inet_pton takes them.  A checksum that is there
 * must be right. */
#include "http/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/check.h"
#include "base/crc32c.h"

static const char SIGNATURE_1[] = {'P', 'R', 'O', 'X', 'Y'};
static const char SIGNATURE_2[] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

enum { HEAD_2 = 16, SSL_HEAD = 5, TLV_HEAD = 3, PROXY_COMMAND = 0x21, LOCAL_COMMAND = 0x20 };
enum { TCP4 = 0x11, TCP6 = 0x21 };

static enum rc refuse(struct proxy_head *head, const char *why)
{
    (void)snprintf(head->garbage, sizeof head->garbage, "PROXY%u: %s", (unsigned)head->version,
                   why);
    return RC_MALFORMED;
}

/* ---- addresses ---- */

static size_t addr_bytes(const struct proxy_addr *addr)
{
    return addr->family == 4 ? 4 : 16;
}

enum rc proxy_addr_parse(struct proxy_addr *addr, struct str host, struct str port)
{
    char text[INET6_ADDRSTRLEN];
    uint64_t number = 0;
    if (host.len >= sizeof text || str_to_u64(port, &number) != RC_OK || number > UINT16_MAX) {
        return RC_MALFORMED;
    }
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (memchr(text, '\0', host.len) != NULL) {
        return RC_MALFORMED;
    }
    *addr = (struct proxy_addr){.port = (uint16_t)number};
    if (inet_pton(AF_INET, text, addr->bytes) == 1) {
        addr->family = 4;
    } else if (inet_pton(AF_INET6, text, addr->bytes) == 1) {
        addr->family = 6;
    }
    return addr->family == 0 ? RC_MALFORMED : RC_OK;
}

void proxy_addr_text(struct sb *sb, const struct proxy_addr *addr)
{
    char text[INET6_ADDRSTRLEN];
    if (addr->family != 0 &&
        inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->bytes, text, sizeof text) != NULL) {
        sb_put(sb, str_of(text));
    }
}

/* ---- version 1 ---- */

static enum rc parse_line(struct str line, struct proxy_head *head)
{
    struct str field[5];
    struct str rest = line;
    (void)str_cut(&rest, ' ');
    for (unsigned i = 0; i < ARRAY_SIZE(field); i++) {
        if (rest.ptr == NULL) {
            return refuse(head, "Too few fields");
        }
        field[i] = str_cut(&rest, ' ');
    }
    if (rest.ptr != NULL) {
        return refuse(head, "Too many fields");
    }
    uint8_t family = str_eq(field[0], STR("TCP4")) ? 4 : str_eq(field[0], STR("TCP6")) ? 6 : 0;
    if (family == 0) {
        return refuse(head, "Wrong TCP[46] field");
    }
    if (proxy_addr_parse(&head->client, field[1], field[3]) != RC_OK ||
        head->client.family != family) {
        return refuse(head, "Cannot resolve source address");
    }
    if (proxy_addr_parse(&head->server, field[2], field[4]) != RC_OK ||
        head->server.family != family) {
        return refuse(head, "Cannot resolve destination address");
    }
    return RC_OK;
}

static enum rc parse_1(struct str in, struct proxy_head *head)
{
    head->version = 1;
    struct str window = {in.ptr, in.len < PROXY_V1_MAX ? in.len : PROXY_V1_MAX};
    size_t lf = str_find(window, '\n');
    if (lf == window.len) {
        return window.len == PROXY_V1_MAX ? RC_TOO_LONG : RC_AGAIN;
    }
    size_t cr = str_find(window, '\r');
    if (cr + 1 != lf) {
        return refuse(head, "Line end is not CRLF");
    }
    head->consumed = lf + 1;
    return parse_line((struct str){in.ptr, cr}, head);
}

/* ---- version 2 ---- */

static unsigned be16(const char *at)
{
    return (unsigned)(uint8_t)at[0] << 8 | (uint8_t)at[1];
}

struct tlv {
    uint8_t type;
    struct str value;
};

/* RC_EOF behind the last one. */
static enum rc next_tlv(struct str *rest, struct tlv *tlv, const char **why)
{
    if (rest->len == 0) {
        return RC_EOF;
    }
    *why = "TLV Dribble bytes";
    if (rest->len < TLV_HEAD) {
        return RC_MALFORMED;
    }
    size_t len = be16(rest->ptr + 1);
    *why = "TLV Length Error";
    if (len > rest->len - TLV_HEAD) {
        return RC_MALFORMED;
    }
    *tlv = (struct tlv){(uint8_t)rest->ptr[0], {rest->ptr + TLV_HEAD, len}};
    rest->ptr += TLV_HEAD + len;
    rest->len -= TLV_HEAD + len;
    return RC_OK;
}

static struct str behind(struct str s, size_t bytes)
{
    return (struct str){s.ptr + bytes, s.len - bytes};
}

/* The checksum is that of the whole preface with zeros in the checksum's place. */
static bool checksum_fits(struct str preface, struct str at)
{
    static const char zeros[4];
    size_t before = (size_t)(at.ptr - preface.ptr);
    uint32_t sum = crc32c(0, preface.ptr, before);
    sum = crc32c(sum, zeros, sizeof zeros);
    sum = crc32c(sum, at.ptr + sizeof zeros, preface.len - before - sizeof zeros);
    return sum == ((uint32_t)be16(at.ptr) << 16 | be16(at.ptr + 2));
}

static enum rc check_ssl(struct str value, const char **why)
{
    *why = "TLV Length Error";
    if (value.len < SSL_HEAD) {
        return RC_MALFORMED;
    }
    struct str rest = behind(value, SSL_HEAD);
    struct tlv tlv;
    enum rc rc = RC_OK;
    while (rc == RC_OK) {
        rc = next_tlv(&rest, &tlv, why);
    }
    return rc == RC_EOF ? RC_OK : rc;
}

static enum rc check_tlvs(struct str preface, struct proxy_head *head)
{
    struct str rest = head->tlvs;
    struct tlv tlv;
    const char *why = "";
    enum rc rc;
    while ((rc = next_tlv(&rest, &tlv, &why)) == RC_OK) {
        if (tlv.type == PROXY_TLV_SSL && check_ssl(tlv.value, &why) != RC_OK) {
            return refuse(head, why);
        }
        if (tlv.type == PROXY_TLV_CRC32C) {
            if (tlv.value.len != 4) {
                return refuse(head, "TLV Length Error");
            }
            if (!checksum_fits(preface, tlv.value)) {
                return refuse(head, "CRC error");
            }
        }
    }
    return rc == RC_EOF ? RC_OK : refuse(head, why);
}

static void take_addr(struct proxy_addr *addr, uint8_t family, const char *bytes, const char *port)
{
    addr->family = family;
    addr->port = (uint16_t)be16(port);
    memcpy(addr->bytes, bytes, addr_bytes(addr));
}

static enum rc parse_proxied(struct str preface, struct proxy_head *head)
{
    uint8_t kind = (uint8_t)preface.ptr[13];
    struct str rest = behind(preface, HEAD_2);
    size_t len = kind == TCP4 ? 4 : 16;
    size_t need = 2 * (len + 2);
    if (kind == 0) {
        (void)refuse(head, "Ignoring UNSPEC|UNSPEC addresses");
        return RC_OK;
    }
    if (kind != TCP4 && kind != TCP6) {
        (void)snprintf(head->garbage, sizeof head->garbage,
                       "PROXY2: Ignoring unsupported protocol (0x%02x)", kind);
        return RC_OK;
    }
    if (rest.len < need) {
        (void)snprintf(head->garbage, sizeof head->garbage,
                       "PROXY2: Ignoring short %s addresses (%zu)", kind == TCP4 ? "IPv4" : "IPv6",
                       rest.len);
        return RC_OK;
    }
    head->tlvs = behind(rest, need);
    enum rc rc = check_tlvs(preface, head);
    uint8_t family = kind == TCP4 ? 4 : 6;
    take_addr(&head->client, family, rest.ptr, rest.ptr + 2 * len);
    take_addr(&head->server, family, rest.ptr + len, rest.ptr + 2 * len + 2);
    return rc;
}

static enum rc parse_2(struct str in, struct proxy_head *head)
{
    head->version = 2;
    if (in.len < HEAD_2) {
        return RC_AGAIN;
    }
    size_t len = be16(in.ptr + 14);
    if (len > PROXY_V2_MAX) {
        return RC_TOO_LONG;
    }
    if (in.len < HEAD_2 + len) {
        return RC_AGAIN;
    }
    uint8_t command = (uint8_t)in.ptr[12];
    head->consumed = HEAD_2 + len;
    if (command >> 4 != 2) {
        (void)snprintf(head->garbage, sizeof head->garbage, "PROXY2: bad version (%d)",
                       command >> 4);
        return RC_MALFORMED;
    }
    if (command == LOCAL_COMMAND) {
        head->is_local = true;
        return RC_OK;
    }
    if (command != PROXY_COMMAND) {
        (void)snprintf(head->garbage, sizeof head->garbage, "PROXY2: bad command (%d)",
                       command & 0x0f);
        return RC_MALFORMED;
    }
    return parse_proxied((struct str){in.ptr, head->consumed}, head);
}

/* Whether what has come of it is that of the signature. */
static bool may_be(struct str in, const char *signature, size_t len)
{
    return memcmp(in.ptr, signature, in.len < len ? in.len : len) == 0;
}

enum rc proxy_parse(const char *buf, size_t len, struct proxy_head *head)
{
    *head = (struct proxy_head){0};
    struct str in = {buf, len};
    if (len == 0) {
        return RC_AGAIN;
    }
    if (may_be(in, SIGNATURE_1, sizeof SIGNATURE_1)) {
        return len <= sizeof SIGNATURE_1 ? RC_AGAIN : parse_1(in, head);
    }
    if (may_be(in, SIGNATURE_2, sizeof SIGNATURE_2)) {
        return len <= sizeof SIGNATURE_2 ? RC_AGAIN : parse_2(in, head);
    }
    return RC_MALFORMED;
}

static bool find_tlv(struct str tlvs, uint8_t type, struct tlv *tlv)
{
    const char *why;
    while (next_tlv(&tlvs, tlv, &why) == RC_OK) {
        if (tlv->type == type) {
            return true;
        }
    }
    return false;
}

bool proxy_tlv(struct str tlvs, uint8_t type, struct str *value)
{
    struct tlv tlv;
    bool found = find_tlv(tlvs, type, &tlv);
    if (!found && find_tlv(tlvs, PROXY_TLV_SSL, &tlv) && tlv.value.len >= SSL_HEAD) {
        found = find_tlv(behind(tlv.value, SSL_HEAD), type, &tlv);
    }
    *value = found ? tlv.value : STR_NONE;
    return found;
}

/* ---- writing ---- */

static void put_be16(struct sb *sb, size_t value)
{
    CHECK(value <= UINT16_MAX);
    sb_chr(sb, (char)(value >> 8));
    sb_chr(sb, (char)(value & 0xff));
}

static void write_1(struct sb *sb, bool told, const struct proxy_addr *client,
                    const struct proxy_addr *server)
{
    if (!told) {
        sb_lit(sb, "PROXY UNKNOWN\r\n");
        return;
    }
    sb_put(sb, client->family == 4 ? STR("PROXY TCP4 ") : STR("PROXY TCP6 "));
    proxy_addr_text(sb, client);
    sb_chr(sb, ' ');
    proxy_addr_text(sb, server);
    sb_chr(sb, ' ');
    sb_u64(sb, client->port);
    sb_chr(sb, ' ');
    sb_u64(sb, server->port);
    sb_lit(sb, "\r\n");
}

static void write_2(struct sb *sb, bool told, const struct proxy_addr *client,
                    const struct proxy_addr *server, struct str authority)
{
    sb_add(sb, SIGNATURE_2, sizeof SIGNATURE_2);
    sb_chr(sb, told ? PROXY_COMMAND : LOCAL_COMMAND);
    if (!told) {
        sb_add(sb, "\0\0\0", 3);
        return;
    }
    size_t len = addr_bytes(client);
    sb_chr(sb, client->family == 4 ? TCP4 : TCP6);
    put_be16(sb, 2 * (len + 2) + (authority.len > 0 ? TLV_HEAD + authority.len : 0));
    sb_add(sb, client->bytes, len);
    sb_add(sb, server->bytes, len);
    put_be16(sb, client->port);
    put_be16(sb, server->port);
    if (authority.len > 0) {
        sb_chr(sb, PROXY_TLV_AUTHORITY);
        put_be16(sb, authority.len);
        sb_put(sb, authority);
    }
}

void proxy_write(struct sb *sb, unsigned version, const struct proxy_addr *client,
                 const struct proxy_addr *server, struct str authority)
{
    bool told = client->family != 0 && client->family == server->family;
    if (version == 1) {
        write_1(sb, told, client, server);
    } else {
        write_2(sb, told, client, server, authority);
    }
}
