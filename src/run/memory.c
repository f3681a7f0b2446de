/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* How much memory we take: what is resident and not shared (/proc/self/statm).  Stored bodies lie
 * in memfds, which count as shared; they have a limit of their own. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "run/run_priv.h"

uint64_t run_memory_bytes(void)
{
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    char line[128];
    ssize_t n = fd_read(fd, line, sizeof line - 1);
    (void)close(fd);
    line[n > 0 ? n : 0] = 0;
    /* size resident shared ..., in pages */
    char *at = line;
    (void)strtoull(at, &at, 10);
    uint64_t resident = strtoull(at, &at, 10);
    uint64_t shared = strtoull(at, &at, 10);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return resident > shared ? (resident - shared) * page : 0;
}
