/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Shared memory that Varnish's tools read: a directory of mapped files and an index of them.
 *
 * A process publishes into one set: the manager into `_.vsm_mgt`, the worker into `_.vsm_child`,
 * both below the working directory.  docs/formats/vsm.md describes the files.  All functions may be
 * called from any thread; those that write files block, so they are not for a loop at work.
 *
 * rc of this door: RC_NOSPACE (the disk is full), RC_DENIED (permissions), RC_NOT_FOUND (the
 * working directory is gone), RC_NOFILES, RC_IO (anything else that the file system says). */
#ifndef SHM_VSM_H
#define SHM_VSM_H

#include <sys/types.h>

#include "base/str.h"

#define VSM_MGT_DIR "_.vsm_mgt"
#define VSM_CHILD_DIR "_.vsm_child"

struct vsm_set;
struct vsm_seg;

/* Where a set lives, and whose it is. */
struct vsm_place {
    int workdir_fd;   /* the working directory; must stay open as long as the set */
    const char *name; /* VSM_MGT_DIR or VSM_CHILD_DIR */
    mode_t dir_mode;  /* 0 means 0750; whoever may read here may watch us */
    mode_t file_mode; /* 0 means 0640 */
    uid_t uid;        /* owner and group of directory and files; VSM_SAME_UID keeps our own */
    gid_t gid;        /* VSM_SAME_GID likewise */
};
#define VSM_SAME_UID ((uid_t)-1)
#define VSM_SAME_GID ((gid_t)-1)

/* Removes what a former process left there, with all files in it, and makes an empty directory.
 * The manager calls it for the worker, which may not be allowed to write the working directory. */
MUST_USE enum rc vsm_dir_make(const struct vsm_place *place);

/* Removes the directory with all files in it; one that is not there is fine. */
MUST_USE enum rc vsm_dir_remove(const struct vsm_place *place);

/* Begins a set in the empty directory that vsm_dir_make made: writes the index with its head line.
 * The caller owns *set.  Readers take the process for running from here on, so call it only when
 * the first segments follow at once.  RC_EXISTS: there is an index already. */
MUST_USE enum rc vsm_set_open(const struct vsm_place *place, struct vsm_set **set);

/* vsm_dir_make and vsm_set_open. */
MUST_USE enum rc vsm_set_new(const struct vsm_place *place, struct vsm_set **set);

enum vsm_end {
    VSM_KEEP, /* leave all files: counters and log stay readable (the worker, debug=+vtc_mode) */
    VSM_DROP_INDEX, /* unlink the index: tools see that we are gone (the manager, debug=+vtc_mode)
                     */
    VSM_REMOVE      /* remove files and directory */
};

/* Ends *set (may be NULL) and all its segments: their memory is unmapped and their pointers are
 * no longer valid.  What cannot be removed stays. */
void vsm_set_free(struct vsm_set **set, enum vsm_end end);

/* Makes a segment of `bytes` (rounded up to 8) zero bytes, with its disk space allocated, so that
 * writing to it cannot fail.  Nobody sees it before vsm_seg_publish.  The caller owns *seg; the set
 * must outlive it.  ident may be empty.
 * RC_INVALID: class or ident has bytes that the index cannot hold (blanks, quotes, backslashes,
 * controls).  RC_EXISTS: there is a segment of the same class and ident. */
MUST_USE enum rc vsm_seg_new(struct vsm_set *set, const char *class, const char *ident,
                             size_t bytes, struct vsm_seg **seg);

/* The memory of a segment, page aligned, and its size; valid until vsm_seg_free. */
void *vsm_seg_ptr(const struct vsm_seg *seg);
size_t vsm_seg_len(const struct vsm_seg *seg);

/* Enters the segment into the index.  Everything written to it before is seen by whoever finds it
 * there.  On error it stays unpublished, and may be tried again. */
MUST_USE enum rc vsm_seg_publish(struct vsm_seg *seg);

/* Takes it out of the index and unlinks it, and its class and ident are free; its memory stays, for
 * those who still write to it. */
void vsm_seg_withdraw(struct vsm_seg *seg);

/* Takes *seg (may be NULL) out of the index, unmaps and unlinks it. */
void vsm_seg_free(struct vsm_seg **seg);

/* Publishes a segment with this text and a NUL; the set owns it and ends it.  A segment of the same
 * class and ident that vsm_text made before is replaced.  Class `Arg`: idents -i, -T, -S. */
MUST_USE enum rc vsm_text(struct vsm_set *set, const char *class, const char *ident,
                          struct str text);

#endif
