/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The working directory: where the tools find us, and what makes us the only one in it.
 *
 *   _.pid      held with flock(2) for as long as we live; a second daemon cannot get it and says so
 *   _.secret   made at start, removed at the end, unless -S names another
 *
 * A relative -n is below /var/lib/varnish because that is compiled into Varnish's tools: with the
 * same -n they find us. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mgt/priv.h"

static const char tools_prefix[] = "/var/lib/varnish";
static const char preset_name[] = "objmapper";

static enum rc failed(struct cli_text *why, const char *what, const char *path)
{
    int err = errno;
    cli_text_printf(why, "%s %s: %s", what, path, strerror(err));
    return rc_from_errno(err);
}

enum rc mgt__workdir_open(struct mgt_workdir *dir, const char *n_arg, struct cli_text *why)
{
    *dir = (struct mgt_workdir){.fd = -1};
    const char *name = n_arg == NULL || n_arg[0] == '\0' ? preset_name : n_arg;
    if (name[0] == '/') {
        dir->path = xstrdup(name);
    } else {
        (void)mkdir(tools_prefix, 0755);
        dir->path = xasprintf("%s/%s", tools_prefix, name);
    }
    if (mkdir(dir->path, 0755) != 0 && errno != EEXIST) {
        return failed(why, "Cannot create working directory", dir->path);
    }
    dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->fd < 0) {
        return failed(why, "Cannot use working directory", dir->path);
    }
    return RC_OK;
}

static bool is_held(const struct mgt_workdir *dir, int fd)
{
    struct stat ours;
    struct stat held;
    if (fstat(fd, &ours) != 0) {
        return false;
    }
    for (unsigned i = 0; i < dir->pids; i++) {
        if (fstat(dir->pid[i].fd, &held) == 0 && held.st_dev == ours.st_dev &&
            held.st_ino == ours.st_ino) {
            return true;
        }
    }
    return false;
}

/* Opens and locks.  A file that its owner unlinked between our open and our lock is not the one
 * that others will find, so try again. */
static int open_locked(const char *path)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int err = errno;
            if (fd >= 0) {
                (void)close(fd);
            }
            errno = err;
            return -1;
        }
        struct stat by_fd;
        struct stat by_path;
        if (fstat(fd, &by_fd) == 0 && stat(path, &by_path) == 0 && by_fd.st_ino == by_path.st_ino &&
            by_fd.st_dev == by_path.st_dev) {
            return fd;
        }
        (void)close(fd);
    }
}

static enum rc already_running(const char *path, struct cli_text *why)
{
    char buf[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : fd_read(fd, buf, sizeof buf - 1);
    if (fd >= 0) {
        (void)close(fd);
    }
    struct str pid = str_trim((struct str){buf, n > 0 ? (size_t)n : 0});
    cli_text_printf(why, "objmapperd is already running (pid=%.*s) (pidfile=%s)", STR_ARG(pid),
                    path);
    return RC_BUSY;
}

enum rc mgt__pidfile_add(struct mgt_workdir *dir, const char *path, struct cli_text *why)
{
    CHECK(dir->pids < MGT_PIDFILES_MAX);
    int probe = open(path, O_RDONLY | O_CLOEXEC);
    bool is_ours = probe >= 0 && is_held(dir, probe);
    if (probe >= 0) {
        (void)close(probe);
    }
    if (is_ours) {
        return RC_OK;
    }
    int fd = open_locked(path);
    if (fd < 0) {
        return errno == EWOULDBLOCK ? already_running(path, why)
                                    : failed(why, "Cannot write pid file", path);
    }
    char text[24];
    int len = snprintf(text, sizeof text, "%ld", (long)getpid());
    CHECK(len > 0);
    if (ftruncate(fd, 0) != 0 || fd_write_all(fd, text, (size_t)len) != 0) {
        enum rc rc = failed(why, "Cannot write pid file", path);
        (void)close(fd);
        return rc;
    }
    /* Absolute, since we leave for the working directory. */
    char *full = realpath(path, NULL);
    dir->pid[dir->pids++] = (struct mgt_pidfile){full == NULL ? xstrdup(path) : full, fd};
    return RC_OK;
}

static enum rc make_secret(struct mgt_workdir *dir, gid_t gid, struct cli_text *why)
{
    unsigned char bytes[256];
    ssize_t got = getrandom(bytes, sizeof bytes, 0);
    CHECK(got == sizeof bytes);
    dir->secret_path = xasprintf("%s/_.secret", dir->path);
    (void)unlink(dir->secret_path);
    int fd = open(dir->secret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) {
        return failed(why, "Cannot create secret file", dir->secret_path);
    }
    dir->is_own_secret = true;
    bool is_ok = fd_write_all(fd, bytes, sizeof bytes) == 0;
    is_ok = is_ok && (gid == VSM_SAME_GID || fchown(fd, (uid_t)-1, gid) == 0);
    enum rc rc = is_ok ? RC_OK : failed(why, "Cannot write secret file", dir->secret_path);
    (void)close(fd);
    return rc;
}

enum rc mgt__secret_open(struct mgt_workdir *dir, const char *secret_arg, gid_t gid,
                         struct cli_text *why)
{
    if (secret_arg == NULL) {
        return make_secret(dir, gid, why);
    }
    if (strcmp(secret_arg, "none") == 0) {
        return RC_OK;
    }
    char *full = realpath(secret_arg, NULL);
    int fd = full == NULL ? -1 : open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        enum rc rc = failed(why, "Cannot open -S file", secret_arg);
        free(full);
        return rc;
    }
    (void)close(fd);
    dir->secret_path = full;
    return RC_OK;
}

void mgt__workdir_end(struct mgt_workdir *dir)
{
    if (dir->is_own_secret) {
        (void)unlink(dir->secret_path);
    }
    XFREE(dir->secret_path);
    for (unsigned i = 0; i < dir->pids; i++) {
        (void)unlink(dir->pid[i].path);
        (void)close(dir->pid[i].fd);
        XFREE(dir->pid[i].path);
    }
    dir->pids = 0;
    if (dir->fd >= 0) {
        (void)close(dir->fd);
        dir->fd = -1;
    }
    XFREE(dir->path);
}
