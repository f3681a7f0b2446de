/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A library to be preloaded into a daemon: its system calls move fewer bytes than they were asked
 * to, or are interrupted.  strace can make a call fail, but not make it do half of its work.
 *
 * What is to happen stands in a file that $OBJM_SHORT_CALLS names and that is mapped for as long as
 * the process lives, so the test that wrote it changes it whenever it likes, and reads there how
 * often something was done; a process that is forked shares it.  Only stream sockets are written
 * short: to a file, an eventfd or a socket of messages the kernel never writes a part. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IOVS_MAX = 64 };

struct control {
    _Atomic uint32_t most;        /* bytes that a write to a stream moves; 0: all */
    _Atomic uint32_t eintr_every; /* of so many calls one is interrupted; 0: none */
    _Atomic uint32_t shortened;   /* calls so far */
    _Atomic uint32_t interrupted;
    _Atomic uint32_t calls;
};

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("OBJM_SHORT_CALLS");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    control = at == MAP_FAILED ? NULL : at;
}

static bool is_interrupted(void)
{
    uint32_t every = control == NULL ? 0 : atomic_load(&control->eintr_every);
    /* Scattered: two calls that take turns would never both be let through. */
    uint32_t n = every == 0 ? 0 : atomic_fetch_add(&control->calls, 1) * 2654435761u >> 16;
    if (every == 0 || n % every != 0) {
        return false;
    }
    atomic_fetch_add(&control->interrupted, 1);
    errno = EINTR;
    return true;
}

static bool is_stream(int fd)
{
    int kept = errno;
    int type = 0;
    socklen_t len = sizeof type;
    bool is = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
    errno = kept;
    return is;
}

/* How much of len is to be written. */
static size_t at_most(int fd, size_t len)
{
    uint32_t most = control == NULL ? 0 : atomic_load(&control->most);
    if (most == 0 || len <= most || !is_stream(fd)) {
        return len;
    }
    atomic_fetch_add(&control->shortened, 1);
    return most;
}

static bool is_shortening(void)
{
    return control != NULL && atomic_load(&control->most) != 0;
}

/* A copy of the array that holds fewer bytes; what is behind IOVS_MAX is not looked at. */
static size_t shorten(int fd, const struct iovec *iov, size_t iovs, struct iovec *out)
{
    size_t total = 0;
    size_t n = 0;
    for (; n < iovs && n < IOVS_MAX; n++) {
        out[n] = iov[n];
        total += iov[n].iov_len;
    }
    size_t left = at_most(fd, total);
    for (size_t i = 0; i < n; i++) {
        if (out[i].iov_len > left) {
            out[i].iov_len = left;
        }
        left -= out[i].iov_len;
    }
    return n;
}

/* The function of this name in the next library. */
#define NEXT(name)                                                                                 \
    static __typeof__(&name) next;                                                                 \
    if (next == NULL) {                                                                            \
        *(void **)&next = dlsym(RTLD_NEXT, #name);                                                 \
    }

/* ---- writing ---- */

ssize_t write(int fd, const void *buf, size_t len)
{
    NEXT(write)
    return is_interrupted() ? -1 : next(fd, buf, at_most(fd, len));
}

ssize_t writev(int fd, const struct iovec *iov, int iovs)
{
    NEXT(writev)
    struct iovec out[IOVS_MAX];
    if (is_interrupted()) {
        return -1;
    }
    return !is_shortening() ? next(fd, iov, iovs)
                            : next(fd, out, (int)shorten(fd, iov, (size_t)iovs, out));
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    NEXT(send)
    return is_interrupted() ? -1 : next(fd, buf, at_most(fd, len), flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    NEXT(sendmsg)
    struct iovec out[IOVS_MAX];
    if (is_interrupted()) {
        return -1;
    }
    if (!is_shortening()) {
        return next(fd, msg, flags);
    }
    struct msghdr copy = *msg;
    copy.msg_iov = out;
    copy.msg_iovlen = shorten(fd, msg->msg_iov, msg->msg_iovlen, out);
    return next(fd, &copy, flags);
}

ssize_t sendfile(int out_fd, int in_fd, off_t *off, size_t len)
{
    NEXT(sendfile)
    return is_interrupted() ? -1 : next(out_fd, in_fd, off, at_most(out_fd, len));
}

ssize_t sendfile64(int out_fd, int in_fd, off64_t *off, size_t len)
{
    NEXT(sendfile64)
    return is_interrupted() ? -1 : next(out_fd, in_fd, off, at_most(out_fd, len));
}

/* What is called by its number (run/sys.h). */
long syscall(long number, ...)
{
    NEXT(syscall)
    long arg[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        arg[i] = va_arg(list, long);
    }
    va_end(list);
    bool is_ours = number == SYS_sendto || number == SYS_recvfrom || number == SYS_epoll_pwait;
    if (is_ours && is_interrupted()) {
        return -1;
    }
    if (number == SYS_sendto) {
        arg[2] = (long)at_most((int)arg[0], (size_t)arg[2]);
    }
    return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* ---- calls that are only interrupted ---- */

ssize_t read(int fd, void *buf, size_t len)
{
    NEXT(read)
    return is_interrupted() ? -1 : next(fd, buf, len);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    NEXT(recv)
    return is_interrupted() ? -1 : next(fd, buf, len, flags);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    NEXT(recvmsg)
    return is_interrupted() ? -1 : next(fd, msg, flags);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    NEXT(accept4)
    return is_interrupted() ? -1 : next(fd, addr, len, flags);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    NEXT(epoll_wait)
    return is_interrupted() ? -1 : next(fd, events, max, timeout);
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    NEXT(poll)
    return is_interrupted() ? -1 : next(fds, n, timeout);
}

int ftruncate(int fd, off_t len)
{
    NEXT(ftruncate)
    return is_interrupted() ? -1 : next(fd, len);
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
    NEXT(fallocate)
    return is_interrupted() ? -1 : next(fd, mode, off, len);
}
