/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Literals that mean more than their text: regular expressions and addresses.  Names of hosts are
 * looked up here, once, when the VCL is compiled. */
#include "vcl/cc.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include <netinet/in.h>
#include <sys/socket.h>

/* ---- regular expressions ---- */

/* "a" + "b": cc->t stays at the last literal. */
static bool pattern(struct cc *cc, struct cc_text *text)
{
    vcl__add(text, cc->t->dec);
    while (vcl__peek(cc)->kind == '+') {
        vcl__next(cc);
        vcl__next(cc);
        if (!vcl__expect(cc, T_CSTR)) {
            return false;
        }
        vcl__add(text, cc->t->dec);
    }
    return true;
}

bool vcl__regex(struct cc *cc, unsigned *index)
{
    const struct token *from = cc->t;
    struct cc_text text = {0};
    struct objm_regex *regex = NULL;
    struct regex_error error;
    bool is_fine = pattern(cc, &text);
    if (is_fine && regex_new((struct str){text.ptr, text.len}, !cc->conf->is_interpreted, &regex,
                             &error) != RC_OK) {
        vcl__err(cc, "Regexp compilation error:\n\n%s\n\n", error.text);
        vcl__err_span(cc, from, cc->t);
        is_fine = false;
    }
    free(text.ptr);
    if (is_fine) {
        struct objm_regex **slot = VCL_PUSH(cc->prog->regexes);
        *slot = regex;
        *index = cc->prog->regexes.count - 1;
    }
    return is_fine;
}

/* ---- addresses ---- */

static void ip_of(const struct sockaddr *sa, struct objm_ip *ip)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        ip->family = 4;
        ip->port = ntohs(in->sin_port);
        memcpy(ip->addr, &in->sin_addr, 4);
    } else {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)sa;
        ip->family = 6;
        ip->port = ntohs(in->sin6_port);
        memcpy(ip->addr, &in->sin6_addr, 16);
    }
}

/* "host", "host:port", "host port", "[v6]:port", "[v6] port": in two; *port stays when there is
 * none. Returns what is wrong with it, or NULL. */
static const char *split(struct str text, struct str *host, struct str *port)
{
    size_t at;
    if (text.len > 0 && text.ptr[0] == '[') {
        at = str_find(text, ']');
        *host = (struct str){text.ptr + 1, at - 1};
        if (at == text.len) {
            return "IPv6 address lacks ']'";
        }
        at++;
        if (at < text.len && text.ptr[at] != ':' && text.ptr[at] != ' ') {
            return "IPv6 address has wrong port separator";
        }
    } else {
        at = str_find(text, ' ');
        if (at == text.len) {
            at = str_find(text, ':');
            struct str rest = {text.ptr + at + (at < text.len), text.len - at - (at < text.len)};
            at = str_find(rest, ':') < rest.len ? text.len : at;
        }
        *host = (struct str){text.ptr, at};
    }
    if (at < text.len) {
        *port = (struct str){text.ptr + at + 1, text.len - at - 1};
    }
    return NULL;
}

static bool unresolved(struct cc *cc, const struct token *t, const char *what, const char *why)
{
    vcl__err(cc,
             "%s '%.*s' could not be resolved to an IP address:\n"
             "\t%s\n"
             "(Sorry if that error message is gibberish.)\n",
             what, STR_ARG(token_text(t)), why);
    vcl__err_at(cc, t);
    return false;
}

struct addresses {
    struct str host; /* both NUL-terminated */
    struct str port;
    struct addrinfo *all;
    unsigned v4;
    unsigned v6;
};

static void put_all(struct cc *cc, const struct addrinfo *all)
{
    for (const struct addrinfo *ai = all; ai != NULL; ai = ai->ai_next) {
        char host[NI_MAXHOST];
        char port[NI_MAXSERV];
        if (getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof host, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
            vcl__err(cc, "\t%s:%s\n", host, port);
        }
    }
}

static bool resolve(struct cc *cc, const struct token *t, const struct token *port_t,
                    const char *what, struct addresses *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct str host;
    struct str port = STR("80");
    const char *why = split(t->dec, &host, &port);
    if (port_t != NULL) {
        port = port_t->dec;
    }
    if (why == NULL) {
        out->host = vcl__prog_text(cc->prog, host);
        out->port = vcl__prog_text(cc->prog, port);
        int err =
            getaddrinfo(host.len == 0 ? NULL : out->host.ptr, out->port.ptr, &hints, &out->all);
        why = err == 0 ? NULL : gai_strerror(err);
    }
    if (why != NULL) {
        return unresolved(cc, t, what, why);
    }
    for (const struct addrinfo *ai = out->all; ai != NULL; ai = ai->ai_next) {
        out->v4 += ai->ai_family == AF_INET;
        out->v6 += ai->ai_family == AF_INET6;
    }
    return true;
}

static bool too_many(struct cc *cc, const struct token *t, const char *what, const char *and_or,
                     const struct addrinfo *all)
{
    vcl__err(cc,
             "%s %.*s: resolves to too many addresses.\n"
             "Only one IPv4 %s IPv6 are allowed.\n"
             "Please specify which exact address you want to use, we found all of these:\n",
             what, STR_ARG(token_text(t)), and_or);
    put_all(cc, all);
    vcl__err_at(cc, t);
    return false;
}

bool vcl__resolve_backend(struct cc *cc, const struct token *host, const struct token *port,
                          struct vcl_backend_decl *decl)
{
    struct addresses found = {0};
    if (!resolve(cc, host, port, "Backend host", &found)) {
        return false;
    }
    bool is_fine = found.v4 <= 1 && found.v6 <= 1;
    if (!is_fine) {
        too_many(cc, host, "Backend host", "and one", found.all);
    }
    freeaddrinfo(found.all);
    decl->host = found.host.ptr;
    decl->port = found.port.ptr;
    return is_fine;
}

bool vcl__ip_literal(struct cc *cc, union objm_value *value)
{
    const struct token *t = cc->t;
    if (t->dec.len > 0 && t->dec.ptr[0] == '/') {
        vcl__err(cc, "Cannot convert to an IP address: ");
        vcl__err_token(cc, t);
        vcl__err_at(cc, t);
        return false;
    }
    struct addresses found = {0};
    if (!resolve(cc, t, NULL, "IP constant", &found)) {
        return false;
    }
    bool is_fine = found.v4 + found.v6 == 1;
    if (!is_fine) {
        too_many(cc, t, "IP constant", "or", found.all);
    } else {
        struct objm_ip *ip = vcl__alloc(cc->prog->mem, sizeof *ip);
        ip_of(found.all->ai_addr, ip);
        value->ip = ip;
    }
    freeaddrinfo(found.all);
    return is_fine;
}
