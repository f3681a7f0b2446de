/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Addresses as they are written on the command line. */
#include <arpa/inet.h>
#include <stdio.h>

#include "base/check.h"
#include "mgt/args.h"

static enum rc fail(struct cli_text *why, const char *text, struct str what)
{
    cli_text_printf(why, "%.*s: %s", STR_ARG(what), text);
    return RC_INVALID;
}

static bool copy(char *dst, size_t bytes, struct str s)
{
    if (s.len >= bytes) {
        return false;
    }
    memcpy(dst, s.ptr, s.len);
    dst[s.len] = '\0';
    return true;
}

/* With or without a scope (%eth0). */
static bool is_ipv6(struct str text)
{
    char buf[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    text.len = str_find(text, '%');
    return copy(buf, sizeof buf, text) && inet_pton(AF_INET6, buf, &addr) == 1;
}

/* Where host and port meet: *host, and *port or STR_NONE. False: not an address. */
static bool split(struct str text, struct str *host, struct str *port)
{
    *port = STR_NONE;
    *host = text;
    if (text.len > 0 && text.ptr[0] == '[') {
        size_t close = str_find(text, ']');
        if (close == text.len) {
            return false;
        }
        *host = (struct str){text.ptr + 1, close - 1};
        if (!is_ipv6(*host)) {
            return false;
        }
        struct str rest = {text.ptr + close + 1, text.len - close - 1};
        if (rest.len == 0) {
            return true;
        }
        *port = (struct str){rest.ptr + 1, rest.len - 1};
        return rest.ptr[0] == ':' || rest.ptr[0] == ' ';
    }
    size_t blank = str_find(text, ' ');
    if (blank < text.len) {
        *host = (struct str){text.ptr, blank};
        *port = str_trim((struct str){text.ptr + blank + 1, text.len - blank - 1});
        return true;
    }
    size_t colon = str_find(text, ':');
    if (colon == text.len) {
        return true;
    }
    struct str rest = {text.ptr + colon + 1, text.len - colon - 1};
    if (str_find(rest, ':') < rest.len) {
        return is_ipv6(text); /* two colons: then without a port */
    }
    *host = (struct str){text.ptr, colon};
    *port = rest;
    return true;
}

enum rc addr_split(struct str text, const char *port_preset, char *host, size_t host_bytes,
                   char *port, size_t port_bytes, struct cli_text *why)
{
    struct str h;
    struct str p;
    if (!split(text, &h, &p)) {
        return fail(why, "not an address", text);
    }
    if (p.ptr == NULL) {
        p = str_of(port_preset);
    } else if (p.len == 0) {
        return fail(why, "the port is missing", text);
    }
    uint64_t number;
    if (p.ptr[0] >= '0' && p.ptr[0] <= '9' && (str_to_u64(p, &number) != RC_OK || number > 65535)) {
        return fail(why, "not a port", text);
    }
    if (!copy(host, host_bytes, h) || !copy(port, port_bytes, p)) {
        return fail(why, "too long", text);
    }
    return RC_OK;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(struct str s)
{
    if (s.len == 0 || !is_letter(s.ptr[0])) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

static enum rc parse_mode(struct str text, unsigned *mode, struct cli_text *why)
{
    unsigned n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '7' || n > 0777) {
            return fail(why, "mode is an octal number up to 777", text);
        }
        n = n * 8 + (unsigned)(text.ptr[i] - '0');
    }
    if (n == 0 || n > 0777) {
        return fail(why, "mode is an octal number up to 777", text);
    }
    *mode = n;
    return RC_OK;
}

/* One word after the address. */
static enum rc parse_option(struct listen_spec *spec, struct str word, struct cli_text *why)
{
    struct str value = word;
    struct str key = str_cut(&value, '=');
    if (value.ptr == NULL) {
        if (str_eq_nocase(word, STR("HTTP"))) {
            spec->proto = WORKER_PROTO_HTTP;
            return RC_OK;
        }
        if (str_eq_nocase(word, STR("PROXY"))) {
            spec->proto = WORKER_PROTO_PROXY;
            return RC_OK;
        }
        if (str_eq_nocase(word, STR("MEMCACHED"))) {
            spec->proto = WORKER_PROTO_MEMCACHED;
            return RC_OK;
        }
        return fail(why, "unknown protocol (HTTP, PROXY and MEMCACHED are known)", word);
    }
    if (str_eq(key, STR("auth"))) {
        return value.len > 0 && copy(spec->auth, sizeof spec->auth, value)
                   ? RC_OK
                   : fail(why, "a file's path or sasl", word);
    }
    if (!str_eq(key, STR("user")) && !str_eq(key, STR("group")) && !str_eq(key, STR("mode"))) {
        return fail(why, "unknown option (user=, group=, mode= and auth= are known)", word);
    }
    if (!spec->is_unix) {
        return fail(why, "only a Unix socket has user, group and mode", word);
    }
    if (str_eq(key, STR("mode"))) {
        return parse_mode(value, &spec->mode, why);
    }
    bool is_user = str_eq(key, STR("user"));
    if (value.len == 0 || !copy(is_user ? spec->user : spec->group, sizeof spec->user, value)) {
        return fail(why, "not a name", word);
    }
    return RC_OK;
}

enum rc listen_spec_parse(struct listen_spec *spec, const char *arg, unsigned index,
                          struct cli_text *why)
{
    *spec = (struct listen_spec){.proto = WORKER_PROTO_HTTP};
    struct str rest = str_of(arg);
    struct str address = str_cut(&rest, ',');
    struct str after = address;
    struct str name = str_cut(&after, '=');
    if (after.ptr == NULL) {
        (void)snprintf(spec->name, sizeof spec->name, "a%u", index);
    } else if (!is_name(name) || !copy(spec->name, sizeof spec->name, name)) {
        cli_text_printf(why, "invalid -a name \"%.*s\"=[...]", STR_ARG(name));
        return RC_INVALID;
    } else if (after.len == 0) {
        cli_text_printf(why, "Empty named -a argument \"%s\"", arg);
        return RC_INVALID;
    } else {
        address = after;
    }
    if (address.len == 0) {
        return fail(why, "the address is missing", str_of(arg));
    }
    if (!copy(spec->text, sizeof spec->text, address)) {
        return fail(why, "too long", address);
    }
    spec->is_unix = address.ptr[0] == '/';
    if (spec->is_unix) {
        /* What a struct sockaddr_un can hold, with its NUL. */
        if (address.len >= 108 || !copy(spec->host, sizeof spec->host, address)) {
            return fail(why, "too long for the path of a Unix socket", address);
        }
    } else {
        enum rc rc = addr_split(address, "80", spec->host, sizeof spec->host, spec->port,
                                sizeof spec->port, why);
        if (rc != RC_OK) {
            return rc;
        }
    }
    while (rest.ptr != NULL) {
        enum rc rc = parse_option(spec, str_cut(&rest, ','), why);
        if (rc != RC_OK) {
            return rc;
        }
    }
    if (spec->auth[0] != '\0' && spec->proto != WORKER_PROTO_MEMCACHED) {
        return fail(why, "auth= is for MEMCACHED", address);
    }
    return RC_OK;
}

enum rc backend_conf_parse(struct backend_conf *conf, const char *arg, struct cli_text *why)
{
    *conf = (struct backend_conf){0};
    struct str text = str_of(arg);
    if (text.len == 0) {
        cli_text_printf(why, "the backend's address is missing");
        return RC_INVALID;
    }
    if (!copy(conf->text, sizeof conf->text, text)) {
        return fail(why, "too long", text);
    }
    conf->is_none = str_eq_nocase(text, STR("none"));
    conf->is_unix = text.ptr[0] == '/';
    if (conf->is_none) {
        return RC_OK;
    }
    if (conf->is_unix) {
        if (text.len >= 108 || !copy(conf->host, sizeof conf->host, text)) {
            return fail(why, "too long for the path of a Unix socket", text);
        }
        return RC_OK;
    }
    enum rc rc =
        addr_split(text, "80", conf->host, sizeof conf->host, conf->port, sizeof conf->port, why);
    if (rc == RC_OK && conf->host[0] == '\0') {
        return fail(why, "the backend's host is missing", text);
    }
    return rc;
}
