/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Where a backend is: names become addresses once, when it is made, and addresses become text. */
#include "backend/backend_priv.h"

#include <netdb.h>
#include <sys/un.h>

static enum rc resolve_path(const char *path, struct endpoints *out)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)&out->at[0].sa;
    if (strlen(path) >= sizeof sun->sun_path) {
        return RC_TOO_LONG;
    }
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path, strlen(path) + 1);
    out->at[0].len = sizeof *sun;
    out->count = 1;
    return RC_OK;
}

static bool has_family(const struct endpoints *ends, int family)
{
    return ends->count > 0 && ends->at[0].sa.ss_family == family;
}

static enum rc resolve_name(const struct backend_spec *spec, struct endpoints *out)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    /* `:80` is a port of this machine. */
    const char *host = spec->host[0] == '\0' ? NULL : spec->host;
    if (getaddrinfo(host, spec->port, &hints, &found) != 0) {
        return RC_NOT_FOUND;
    }
    for (const struct addrinfo *at = found; at != NULL && out->count < ENDPOINT_MAX;
         at = at->ai_next) {
        if (has_family(out, at->ai_family) || at->ai_addrlen > sizeof out->at[0].sa) {
            continue;
        }
        struct endpoint *end = &out->at[out->count++];
        memcpy(&end->sa, at->ai_addr, at->ai_addrlen);
        end->len = at->ai_addrlen;
    }
    freeaddrinfo(found);
    if (out->count == 2 && out->at[0].sa.ss_family == AF_INET6) {
        struct endpoint first = out->at[0];
        out->at[0] = out->at[1];
        out->at[1] = first;
    }
    return out->count == 0 ? RC_NOT_FOUND : RC_OK;
}

enum rc endpoint__resolve(const struct backend_spec *spec, struct endpoints *out)
{
    *out = (struct endpoints){0};
    if (spec->path != NULL) {
        return resolve_path(spec->path, out);
    }
    CHECK(spec->host != NULL);
    return resolve_name(spec, out);
}

static bool name_end(const struct sockaddr_storage *sa, socklen_t len, char host[INET6_ADDRSTRLEN],
                     char port[8])
{
    return getnameinfo((const struct sockaddr *)sa, len, host, INET6_ADDRSTRLEN, port, 8,
                       NI_NUMERICHOST | NI_NUMERICSERV) == 0;
}

void endpoint__put(struct sb *sb, const struct sockaddr_storage *sa, socklen_t len)
{
    char host[INET6_ADDRSTRLEN];
    char port[8];
    if (sa->ss_family == AF_UNIX) {
        /* As Varnish logs them: there is no address to tell. */
        sb_lit(sb, "0.0.0.0 0");
    } else if (!name_end(sa, len, host, port)) {
        sb_lit(sb, "- -");
    } else {
        sb_put(sb, str_of(host));
        sb_chr(sb, ' ');
        sb_put(sb, str_of(port));
    }
}

void endpoint__host(struct sb *sb, const struct endpoint *end)
{
    char host[INET6_ADDRSTRLEN];
    char port[8];
    bool has_host = end->sa.ss_family != AF_UNIX && name_end(&end->sa, end->len, host, port);
    sb_put(sb, has_host ? str_of(host) : STR("0.0.0.0"));
}

enum rc endpoint__connect(const struct endpoints *ends, const struct params *params,
                          uint64_t timeout_ns, struct sock *sock, const struct endpoint **which)
{
    bool is_turned = ends->count == 2 && param(params, prefer_ipv6) != 0;
    enum rc rc = RC_UNREACHABLE;
    for (unsigned i = 0; i < ends->count; i++) {
        const struct endpoint *end = &ends->at[is_turned ? 1 - i : i];
        *which = end;
        rc = sock_connect(sock, (const struct sockaddr *)&end->sa, end->len,
                          clock_after(clock_mono_ns(), timeout_ns));
        if (rc == RC_OK || rc == RC_CANCELLED) {
            break;
        }
    }
    /* RC_LIMIT is backend_get's word for something else. */
    return rc == RC_LIMIT ? RC_NOFILES : rc;
}
