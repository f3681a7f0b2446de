/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Who may speak memcached's protocol.
 *
 * It has no encryption and lets whoever speaks it change the cache, so without users it is for this
 * host alone.  The file of users is read here, because the worker may not be able to, and again
 * whenever a worker starts. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/mem.h"
#include "mgt/priv.h"

enum { FILE_MAX_BYTES = 4 << 20 };

static bool is_loopback(const struct mgt_addr *addr)
{
    if (addr->sa.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&addr->sa;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const void *)&addr->sa;
    return addr->sa.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

enum rc mgt__listen_auth_check(const struct mgt_listen *listen, struct cli_text *why)
{
    const struct listen_spec *spec = &listen->spec;
    if (spec->proto != WORKER_PROTO_MEMCACHED || spec->auth[0] != '\0' || spec->is_unix ||
        is_loopback(&listen->addr)) {
        return RC_OK;
    }
    cli_text_printf(why,
                    "-a %s: MEMCACHED without auth= may listen on loopback addresses and Unix "
                    "sockets only",
                    spec->text);
    return RC_DENIED;
}

/* All of the file, with a NUL; NULL with errno. */
static char *read_all(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    char *text = xmalloc(FILE_MAX_BYTES + 1);
    ssize_t n = 1;
    *len = 0;
    while (n > 0 && *len < FILE_MAX_BYTES) {
        n = read(fd, text + *len, FILE_MAX_BYTES - *len);
        *len += n > 0 ? (size_t)n : 0;
    }
    int err = n < 0 ? errno : *len == FILE_MAX_BYTES ? EFBIG : 0;
    (void)close(fd);
    if (err != 0) {
        errno = err;
        XFREE(text);
        return NULL;
    }
    text[*len] = '\0';
    return text;
}

static enum rc check_users(const char *path, struct str text, struct cli_text *why)
{
    struct auth *auth = NULL;
    unsigned line = 0;
    enum rc rc = auth_of_file(&auth, text, &line);
    auth_free(&auth);
    if (rc == RC_OK && memchr(text.ptr, '\0', text.len) != NULL) {
        rc = RC_MALFORMED;
    }
    if (rc == RC_OK) {
        return RC_OK;
    }
    if (rc == RC_NOT_FOUND) {
        cli_text_printf(why, "auth=%s: no user in it", path);
    } else {
        cli_text_printf(why,
                        "auth=%s: line %u: not NAME:HASH (make it with -x mcpasswd), or a "
                        "name that was there before",
                        path, line);
    }
    return RC_INVALID;
}

enum rc mgt__listen_auth_read(struct mgt_listen *listen, struct cli_text *why)
{
    const char *path = listen->spec.auth;
    if (path[0] == '\0') {
        return RC_OK;
    }
    size_t len = 4;
    char *text = strcmp(path, "sasl") == 0 ? xstrdup("sasl") : read_all(path, &len);
    if (text == NULL) {
        cli_text_printf(why, "auth=%s: %s", path, strerror(errno));
        return RC_IO;
    }
    enum rc rc =
        strcmp(path, "sasl") == 0 ? RC_OK : check_users(path, (struct str){text, len}, why);
    if (rc != RC_OK) {
        free(text);
        return rc;
    }
    free(listen->auth);
    listen->auth = text;
    return RC_OK;
}
