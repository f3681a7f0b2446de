/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The three system calls that each request makes, called without glibc's wrappers: there each of
 * them is a point where a thread may be cancelled, which costs a program with threads two locked
 * instructions, and no thread here is ever cancelled.  Sanitizers watch the wrappers, so they keep
 * them. */
#ifndef RUN_SYS_H
#define RUN_SYS_H

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run/run_priv.h"

#if RUN_ASAN || RUN_TSAN
#define SYS__WRAPPED 1
#else
#define SYS__WRAPPED 0
#endif

static inline ssize_t sys__recv(int fd, void *buf, size_t bytes)
{
#if SYS__WRAPPED
    return recv(fd, buf, bytes, 0);
#else
    return syscall(SYS_recvfrom, fd, buf, bytes, 0, NULL, NULL);
#endif
}

static inline ssize_t sys__send(int fd, const void *buf, size_t bytes, int flags)
{
#if SYS__WRAPPED
    return send(fd, buf, bytes, flags);
#else
    return syscall(SYS_sendto, fd, buf, bytes, flags, NULL, 0);
#endif
}

static inline int sys__epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
#if SYS__WRAPPED
    return epoll_wait(fd, events, max, timeout_ms);
#else
    /* Without a mask it is epoll_wait, which not every architecture has. */
    return (int)syscall(SYS_epoll_pwait, fd, events, max, timeout_ms, NULL, 0);
#endif
}

#endif
