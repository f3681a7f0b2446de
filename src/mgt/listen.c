/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The sockets that the worker accepts from.  They are the manager's, so that a port goes on
 * answering while a crashed worker is replaced: clients wait in the kernel's queue.
 *
 * Each loop wants a TCP socket of its own (SO_REUSEPORT), but with that option a second daemon on
 * the same port would share its traffic unnoticed.  Linux looks at the options that a socket has
 * when another one wants its port, not at those it was bound with (see inet_csk_bind_conflict;
 * tried on 6.1 and later).  So
 *
 *   reserve_fd   is bound with SO_REUSEADDR alone (to get past TIME_WAIT): fails if anyone has the
 *                port; then loses SO_REUSEADDR and gets SO_REUSEPORT.  It never listens.
 *   fds[loop]    are bound with both, beside it.  They listen while a worker runs or is replaced.
 *
 * and whoever does not set SO_REUSEPORT before its own bind, as a second daemon of ours, is refused
 * as long as reserve_fd lives, whether or not there is a worker.  Only reserve_fd asks for port 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/priv.h"

static enum rc could_not(const struct listen_spec *spec, struct cli_text *why)
{
    int err = errno;
    cli_text_printf(why, "Could not get socket %s: %s", spec->text, strerror(err));
    return rc_from_errno(err);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static bool set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static const struct sockaddr *sa_of(const struct mgt_addr *addr)
{
    return (const struct sockaddr *)(const void *)&addr->sa;
}

/* A bound TCP socket, or -1 with errno. */
static int tcp_bind(const struct mgt_addr *addr, bool is_shared)
{
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    bool is_ok = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (is_ok && addr->sa.ss_family == AF_INET6) {
        is_ok = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (is_ok && is_shared) {
        is_ok = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (!is_ok || bind(fd, sa_of(addr), addr->len) != 0) {
        int err = errno;
        (void)close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

static enum rc reserve_tcp(struct mgt_listen *listen, struct cli_text *why)
{
    listen->reserve_fd = tcp_bind(&listen->addr, false);
    if (listen->reserve_fd < 0) {
        return could_not(&listen->spec, why);
    }
    socklen_t len = sizeof listen->addr.sa;
    struct sockaddr *sa = (struct sockaddr *)(void *)&listen->addr.sa;
    if (!set_option(listen->reserve_fd, SOL_SOCKET, SO_REUSEADDR, 0) ||
        !set_option(listen->reserve_fd, SOL_SOCKET, SO_REUSEPORT, 1) ||
        getsockname(listen->reserve_fd, sa, &len) != 0) {
        return could_not(&listen->spec, why);
    }
    return RC_OK;
}

static bool unix_owner(const struct listen_spec *spec, struct cli_text *why)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    if (spec->user[0] != '\0') {
        struct passwd *user = getpwnam(spec->user);
        if (user == NULL) {
            cli_text_printf(why, "-a %s: unknown user %s", spec->text, spec->user);
            return false;
        }
        uid = user->pw_uid;
    }
    if (spec->group[0] != '\0') {
        struct group *group = getgrnam(spec->group);
        if (group == NULL) {
            cli_text_printf(why, "-a %s: unknown group %s", spec->text, spec->group);
            return false;
        }
        gid = group->gr_gid;
    }
    if (spec->mode != 0 && chmod(spec->host, (mode_t)spec->mode) != 0) {
        cli_text_printf(why, "-a %s: cannot set its mode: %s", spec->text, strerror(errno));
        return false;
    }
    if ((spec->user[0] != '\0' || spec->group[0] != '\0') && chown(spec->host, uid, gid) != 0) {
        cli_text_printf(why, "-a %s: cannot set its owner: %s", spec->text, strerror(errno));
        return false;
    }
    return true;
}

static enum rc bind_unix(struct mgt_listen *listen, struct cli_text *why)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    CHECK(strlen(listen->spec.host) < sizeof sun.sun_path);
    memcpy(sun.sun_path, listen->spec.host, strlen(listen->spec.host) + 1);
    const struct sockaddr *sa = (const struct sockaddr *)&sun;
    listen->reserve_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listen->reserve_fd < 0) {
        return could_not(&listen->spec, why);
    }
    if (bind(listen->reserve_fd, sa, sizeof sun) != 0) {
        if (errno != EADDRINUSE) {
            return could_not(&listen->spec, why);
        }
        /* A socket file outlives its owner.  Only if nobody answers may it be taken away. */
        struct stat st;
        if (lstat(listen->spec.host, &st) != 0 || !S_ISSOCK(st.st_mode) ||
            connect(listen->reserve_fd, sa, sizeof sun) == 0 || errno != ECONNREFUSED) {
            errno = EADDRINUSE;
            return could_not(&listen->spec, why);
        }
        if (unlink(listen->spec.host) != 0 || bind(listen->reserve_fd, sa, sizeof sun) != 0) {
            return could_not(&listen->spec, why);
        }
    }
    listen->is_bound_unix = true;
    return unix_owner(&listen->spec, why) ? RC_OK : RC_INVALID;
}

static struct mgt_listen *next_listen(struct mgt_listens *listens, const struct listen_spec *spec)
{
    struct mgt_listen *listen = &listens->at[listens->count++];
    /* A whole one on the way here would be a frame of more than 2 KB. */
    memset(listen, 0, sizeof *listen);
    listen->spec = *spec;
    listen->reserve_fd = -1;
    return listen;
}

enum rc mgt__listens_add(struct mgt_listens *listens, const struct listen_spec *spec,
                         struct cli_text *why)
{
    struct mgt_addr addrs[MGT_ADDRS_MAX];
    unsigned count = 1;
    if (!spec->is_unix) {
        struct cli_text reason = {0};
        enum rc rc = mgt__resolve(spec->host, spec->port, true, addrs, &count, &reason);
        if (rc != RC_OK) {
            cli_text_printf(why, "Could not get socket %s: %.*s", spec->text,
                            STR_ARG(cli_text_str(&reason)));
            cli_text_free(&reason);
            return rc;
        }
    }
    if (count > MGT_LISTENS_MAX - listens->count) {
        cli_text_printf(why, "-a: more than %d addresses", MGT_LISTENS_MAX);
        return RC_LIMIT;
    }
    if (spec->is_unix) {
        struct mgt_listen *listen = next_listen(listens, spec);
        enum rc rc = mgt__listen_auth_read(listen, why);
        return rc == RC_OK ? bind_unix(listen, why) : rc;
    }
    unsigned bound = 0;
    for (unsigned i = 0; i < count; i++) {
        struct mgt_listen *listen = next_listen(listens, spec);
        listen->addr = addrs[i];
        cli_text_clear(why);
        enum rc rc = mgt__listen_auth_check(listen, why);
        if (rc == RC_OK) {
            rc = mgt__listen_auth_read(listen, why);
        }
        if (rc != RC_OK) {
            return rc;
        }
        rc = reserve_tcp(listen, why);
        if (rc == RC_OK) {
            bound++;
            continue;
        }
        /* A host without IPv6 still resolves to IPv6 addresses: one that works is enough.  But an
         * address that somebody else has is an error, whatever the others say. */
        if (rc == RC_EXISTS || rc == RC_DENIED || bound + (count - i - 1) == 0) {
            return rc;
        }
        close_fd(&listen->reserve_fd);
        XFREE(listen->auth);
        listens->count--;
    }
    cli_text_clear(why);
    return RC_OK;
}

static void shut_tcp(struct mgt_listen *listen)
{
    for (unsigned i = 0; i < listen->fds_count; i++) {
        close_fd(&listen->fds[i]);
    }
    XFREE(listen->fds);
    listen->fds_count = 0;
}

static int depth_of(const struct params *params)
{
    return (int)param(params, listen_depth);
}

static enum rc open_tcp(struct mgt_listen *l, unsigned loops, const struct params *params,
                        struct cli_text *why)
{
    int fastopen_depth = param(params, tcp_fastopen) != 0 ? depth_of(params) : 0;
    if (l->fds_count != loops) {
        shut_tcp(l);
    }
    if (l->fds == NULL) {
        l->fds = xmalloc(loops * sizeof l->fds[0]);
    }
    while (l->fds_count < loops) {
        int fd = tcp_bind(&l->addr, true);
        if (fd < 0) {
            return could_not(&l->spec, why);
        }
        l->fds[l->fds_count++] = fd;
    }
    for (unsigned i = 0; i < loops; i++) {
        mgt__keepalive_apply(params, l->fds[i]);
        /* Of a socket that listens already this sets the depth. */
        if (!set_option(l->fds[i], IPPROTO_TCP, TCP_FASTOPEN, fastopen_depth) ||
            listen(l->fds[i], depth_of(params)) != 0) {
            return could_not(&l->spec, why);
        }
    }
    return RC_OK;
}

static void shut_unix(struct mgt_listen *listen)
{
    close_fd(&listen->reserve_fd);
    if (listen->is_bound_unix) {
        (void)unlink(listen->spec.host);
        listen->is_bound_unix = false;
    }
    XFREE(listen->fds);
    listen->fds_count = 0;
}

static enum rc open_unix(struct mgt_listen *l, const struct params *params, struct cli_text *why)
{
    if (l->reserve_fd < 0) {
        enum rc rc = bind_unix(l, why);
        if (rc != RC_OK) {
            close_fd(&l->reserve_fd);
            return rc;
        }
    }
    if (listen(l->reserve_fd, depth_of(params)) != 0) {
        return could_not(&l->spec, why);
    }
    if (l->fds == NULL) {
        l->fds = xmalloc(sizeof l->fds[0]);
    }
    l->fds[0] = l->reserve_fd;
    l->fds_count = 1;
    return RC_OK;
}

enum rc mgt__listens_open(struct mgt_listens *listens, unsigned loops, const struct params *params,
                          struct cli_text *why)
{
    CHECK(loops > 0);
    CHECK(loops <= MGT_LOOPS_MAX);
    for (unsigned i = 0; i < listens->count; i++) {
        struct mgt_listen *listen = &listens->at[i];
        /* Users may have changed.  A file that is wrong now leaves them as they were. */
        struct cli_text wrong = {0};
        if (mgt__listen_auth_read(listen, &wrong) != RC_OK) {
            mgt__log(MGT_ERROR, "%.*s", STR_ARG(cli_text_str(&wrong)));
        }
        cli_text_free(&wrong);
        enum rc rc = listen->spec.is_unix ? open_unix(listen, params, why)
                                          : open_tcp(listen, loops, params, why);
        if (rc != RC_OK) {
            return rc;
        }
    }
    return RC_OK;
}

void mgt__listens_shut(struct mgt_listens *listens)
{
    for (unsigned i = 0; i < listens->count; i++) {
        if (listens->at[i].spec.is_unix) {
            shut_unix(&listens->at[i]);
        } else {
            shut_tcp(&listens->at[i]);
        }
    }
}

void mgt__listens_end(struct mgt_listens *listens)
{
    mgt__listens_shut(listens);
    for (unsigned i = 0; i < listens->count; i++) {
        close_fd(&listens->at[i].reserve_fd);
        XFREE(listens->at[i].auth);
    }
    listens->count = 0;
}
