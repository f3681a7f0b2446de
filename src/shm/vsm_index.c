/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The index of a set: a text file that only grows, one line for each segment made or removed.
 *
 *     # <pid> <time>                              head: tells one incarnation from the next
 *     + <file> 0 <bytes> <class> <ident>          published
 *     - <file> 0 <bytes> <class> <ident>          removed; repeats its line above to the letter
 *
 * Readers poll the file and read what was appended; a malformed line makes them abort.  Hence:
 * - a line is one write(2) on a descriptor with O_APPEND;
 * - a line that was cut by a full disk is taken back before anything else is written.  It has no
 *   newline, so nobody has acted on it; and because a reader may hold its bytes, the next change
 *   writes the index anew, which makes every reader begin at the top;
 * - writing anew means another file and rename(2): the new inode tells readers, and none sees half.
 *   Surviving lines keep their order, by which a reader recognises them.
 * The index is also written anew when removals would otherwise pile up. */
#include "shm/vsm_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"

#define INDEX_NEXT "_.index.next"

/* Varnish's own writer waits as long, and its tests look at the file. */
#define REMOVALS_MIN 10

static char *index_line(const struct vsm_seg *seg, char sign)
{
    return xasprintf("%c %s 0 %zu %s %s\n", sign, seg->file, seg->bytes, seg->class, seg->ident);
}

static enum rc write_whole(int fd, const char *bytes, size_t len)
{
    return fd_write_all(fd, bytes, len) == 0 ? RC_OK : rc_from_errno(errno);
}

static enum rc write_all_lines(const struct vsm_set *set, int fd, off_t *bytes)
{
    enum rc rc = write_whole(fd, set->head_line, strlen(set->head_line));
    *bytes = (off_t)strlen(set->head_line);
    LIST_FOREACH (node, &set->segs) {
        struct vsm_seg *seg = CONTAINER_OF(node, struct vsm_seg, node);
        if (rc != RC_OK || !seg->is_published) {
            continue;
        }
        char *line = index_line(seg, '+');
        rc = write_whole(fd, line, strlen(line));
        *bytes += (off_t)strlen(line);
        XFREE(line);
    }
    return rc;
}

/* Makes the index say what set->segs says. */
static enum rc rewrite(struct vsm_set *set)
{
    int fd;
    (void)unlinkat(set->dir_fd, INDEX_NEXT, 0);
    enum rc rc = vsm__file_create(set, INDEX_NEXT, O_WRONLY | O_APPEND, &fd);
    if (rc != RC_OK) {
        return rc;
    }
    off_t bytes = 0;
    rc = write_all_lines(set, fd, &bytes);
    if (rc == RC_OK && renameat(set->dir_fd, INDEX_NEXT, set->dir_fd, VSM__INDEX) != 0) {
        rc = rc_from_errno(errno);
    }
    if (rc != RC_OK) {
        (void)unlinkat(set->dir_fd, INDEX_NEXT, 0);
        (void)close(fd);
        return rc;
    }
    if (set->index_fd >= 0) {
        (void)close(set->index_fd);
    }
    set->index_fd = fd;
    set->index_bytes = bytes;
    set->removals = 0;
    set->must_rewrite = false;
    return RC_OK;
}

static enum rc append(struct vsm_set *set, const char *line)
{
    CHECK(!set->must_rewrite);
    /* What a segment holds is seen before the line that leads to it. */
    atomic_thread_fence(memory_order_release);
    enum rc rc = write_whole(set->index_fd, line, strlen(line));
    if (rc != RC_OK) {
        set->must_rewrite = true;
        int err = ftruncate(set->index_fd, set->index_bytes);
        (void)err; /* a piece of a line that stays is not read, and the file is soon replaced */
        return rc;
    }
    set->index_bytes += (off_t)strlen(line);
    return RC_OK;
}

enum rc vsm__index_create(struct vsm_set *set)
{
    int n = snprintf(set->head_line, sizeof set->head_line, "# %ld %lld\n", (long)getpid(),
                     (long long)time(NULL));
    CHECK(n > 0);
    CHECK((size_t)n < sizeof set->head_line);
    return rewrite(set);
}

enum rc vsm__index_add(struct vsm_set *set, struct vsm_seg *seg)
{
    CHECK(!seg->is_published);
    enum rc rc;
    if (!set->must_rewrite) {
        char *line = index_line(seg, '+');
        rc = append(set, line);
        XFREE(line);
    } else {
        seg->is_published = true;
        rc = rewrite(set);
        seg->is_published = false;
    }
    if (rc == RC_OK) {
        seg->is_published = true;
        set->live++;
    }
    return rc;
}

void vsm__index_remove(struct vsm_set *set, struct vsm_seg *seg)
{
    CHECK(seg->is_published);
    CHECK(set->live > 0);
    seg->is_published = false;
    set->live--;
    set->removals++;
    bool is_crowded = set->removals >= REMOVALS_MIN && set->removals * 2 >= set->live;
    if ((is_crowded || set->must_rewrite) && rewrite(set) == RC_OK) {
        return;
    }
    if (!set->must_rewrite) {
        char *line = index_line(seg, '-');
        enum rc rc = append(set, line);
        XFREE(line);
        if (rc != RC_OK) {
            /* Readers keep an entry whose file is gone, which they bear.  The next change of the
             * index takes it out. */
            (void)rewrite(set);
        }
    }
}
