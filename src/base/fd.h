/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Blocking reads and writes that a signal does not end.  (Sockets of loops are run/'s.) */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/check.h"

/* As read(2), but for EINTR. */
static inline ssize_t fd_read(int fd, void *buf, size_t bytes)
{
    ssize_t n;
    do {
        n = read(fd, buf, bytes);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* What a call failed with, for which it is only to be made again: a signal came, or the kernel has
 * no memory at this moment. */
static inline bool fd_is_passing(int err)
{
    return err == EINTR || err == ENOMEM || err == ENOBUFS;
}

/* After a failure: a moment, if it was for lack of memory, so that whoever tries again does not
 * take all of a core. */
static inline void fd_pause(int err)
{
    if (err == ENOMEM || err == ENOBUFS) {
        (void)poll(NULL, 0, 10);
    }
}

/* As poll(2), but 0 if the call failed in passing. */
static inline int fd_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int n = poll(fds, count, timeout_ms);
    if (n < 0) {
        CHECK(fd_is_passing(errno));
        fd_pause(errno);
        return 0;
    }
    return n;
}

/* Writes all of it: 0, or -1 and errno. */
static inline int fd_write_all(int fd, const void *buf, size_t bytes)
{
    const char *at = buf;
    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);
        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
        } else if (n == 0) {
            errno = EIO; /* nobody says why nothing was taken */
            return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

#endif
