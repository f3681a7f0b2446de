/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Names to addresses and back, for the sockets of the manager itself. */
#include <netdb.h>
#include <stdio.h>

#include "base/check.h"
#include "mgt/priv.h"

enum rc mgt__resolve(const char *host, const char *port, bool passive, struct mgt_addr *addrs,
                     unsigned *count, struct cli_text *why)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    hints.ai_flags = passive ? AI_PASSIVE : 0;
    int error = getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &found);
    if (error != 0) {
        cli_text_printf(why, "%s:%s: %s", host, port, gai_strerror(error));
        return RC_NOT_FOUND;
    }
    *count = 0;
    for (struct addrinfo *at = found; at != NULL && *count < MGT_ADDRS_MAX; at = at->ai_next) {
        CHECK(at->ai_addrlen <= sizeof addrs[0].sa);
        struct mgt_addr *addr = &addrs[(*count)++];
        *addr = (struct mgt_addr){.len = at->ai_addrlen};
        memcpy(&addr->sa, at->ai_addr, at->ai_addrlen);
    }
    freeaddrinfo(found);
    if (*count == 0) {
        cli_text_printf(why, "%s:%s: has no address", host, port);
        return RC_NOT_FOUND;
    }
    return RC_OK;
}

void mgt__addr_text(const struct mgt_addr *addr, char *host, size_t host_bytes, char *port,
                    size_t port_bytes)
{
    const struct sockaddr *sa = (const struct sockaddr *)(const void *)&addr->sa;
    int error =
        getnameinfo(sa, addr->len, host, (socklen_t)host_bytes, port,
                    port == NULL ? 0 : (socklen_t)port_bytes, NI_NUMERICHOST | NI_NUMERICSERV);
    if (error != 0) {
        (void)snprintf(host, host_bytes, "-");
        if (port != NULL) {
            (void)snprintf(port, port_bytes, "-");
        }
    }
}
