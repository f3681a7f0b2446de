/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Sets and segments: directories and mapped files, as Varnish's reader library expects them.
 *
 * The reader trusts the index: what stands there is opened, mapped and used without further tests.
 * So a segment is filled first and entered second; it leaves the index first and is unlinked
 * second. File names carry 64 random bits and are never used twice.  A directory is never reused:
 * each process makes a new one, because the changed inode is what tells readers to begin afresh.
 *
 * A mapped file without space behind it kills its writer with SIGBUS when the disk is full.  Space
 * is therefore allocated up front, where failing is still an answer. */
#include "shm/vsm_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutex.h"

static enum rc rc_of_errno(void)
{
    return errno == ENOENT ? RC_NOT_FOUND : rc_from_errno(errno);
}

/* umask must not decide who may read, so mode and owner are set after the making. */
static enum rc set_owner(const struct vsm_place *place, int fd, mode_t mode)
{
    bool is_owned = place->uid != VSM_SAME_UID || place->gid != VSM_SAME_GID;
    if (is_owned && fchown(fd, place->uid, place->gid) != 0) {
        return rc_of_errno();
    }
    return fchmod(fd, mode) == 0 ? RC_OK : rc_of_errno();
}

enum rc vsm__file_create(const struct vsm_set *set, const char *file, int flags, int *fd)
{
    int f = openat(set->dir_fd, file, flags | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f < 0) {
        return rc_of_errno();
    }
    mode_t mode = set->place.file_mode != 0 ? set->place.file_mode : 0640;
    enum rc rc = set_owner(&set->place, f, mode);
    if (rc != RC_OK) {
        (void)close(f);
        (void)unlinkat(set->dir_fd, file, 0);
        return rc;
    }
    *fd = f;
    return RC_OK;
}

static enum rc empty_dir(int dir_fd)
{
    /* fdopendir keeps the descriptor it is given. */
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return rc_of_errno();
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        enum rc err = rc_of_errno();
        (void)close(fd);
        return err;
    }
    enum rc rc = RC_OK;
    const struct dirent *entry;
    while (rc == RC_OK && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (unlinkat(dir_fd, entry->d_name, 0) != 0 && errno != ENOENT) {
            rc = rc_of_errno();
        }
    }
    (void)closedir(dir);
    return rc;
}

enum rc vsm_dir_remove(const struct vsm_place *place)
{
    int fd =
        openat(place->workdir_fd, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) {
            return RC_OK;
        }
        /* A file or a symbolic link of that name is not ours to follow, only to remove. */
        bool is_other = errno == ENOTDIR || errno == ELOOP;
        if (is_other && unlinkat(place->workdir_fd, place->name, 0) == 0) {
            return RC_OK;
        }
        return rc_of_errno();
    }
    /* The index goes first: without it nobody looks for the other files. */
    (void)unlinkat(fd, VSM__INDEX, 0);
    enum rc rc = empty_dir(fd);
    (void)close(fd);
    if (rc == RC_OK && unlinkat(place->workdir_fd, place->name, AT_REMOVEDIR) != 0) {
        rc = rc_of_errno();
    }
    return rc;
}

enum rc vsm_dir_make(const struct vsm_place *place)
{
    CHECK(place->name != NULL);
    enum rc rc = vsm_dir_remove(place);
    if (rc != RC_OK) {
        return rc;
    }
    if (mkdirat(place->workdir_fd, place->name, 0700) != 0) {
        return rc_of_errno();
    }
    int fd =
        openat(place->workdir_fd, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return rc_of_errno();
    }
    rc = set_owner(place, fd, place->dir_mode != 0 ? place->dir_mode : 0750);
    (void)close(fd);
    return rc;
}

enum rc vsm_set_open(const struct vsm_place *place, struct vsm_set **set)
{
    CHECK(place->name != NULL);
    CHECK(strlen(place->name) < sizeof((*set)->name));
    int dir_fd =
        openat(place->workdir_fd, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir_fd < 0) {
        return rc_of_errno();
    }
    if (faccessat(dir_fd, VSM__INDEX, F_OK, 0) == 0) {
        (void)close(dir_fd);
        return RC_EXISTS;
    }
    struct vsm_set *s = xcalloc(1, sizeof *s);
    s->magic = VSM__SET_MAGIC;
    s->dir_fd = dir_fd;
    s->index_fd = -1;
    s->place = *place;
    (void)snprintf(s->name, sizeof s->name, "%s", place->name);
    s->place.name = s->name;
    list_init(&s->segs);
    mutex_init(&s->lock);
    mutex_init(&s->doc_lock);
    enum rc rc = vsm__index_create(s);
    if (rc != RC_OK) {
        vsm_set_free(&s, VSM_KEEP);
        return rc;
    }
    *set = s;
    return RC_OK;
}

enum rc vsm_set_new(const struct vsm_place *place, struct vsm_set **set)
{
    enum rc rc = vsm_dir_make(place);
    return rc == RC_OK ? vsm_set_open(place, set) : rc;
}

/* Frees the segment's memory, not its file. */
static void seg_release(struct vsm_seg *seg)
{
    list_remove(&seg->node);
    if (seg->ptr != NULL) {
        int err = munmap(seg->ptr, seg->mapped_bytes);
        CHECK(err == 0);
    }
    XFREE(seg->class);
    XFREE(seg->ident);
    seg->magic = 0;
    XFREE(seg);
}

void vsm_set_free(struct vsm_set **set, enum vsm_end end)
{
    struct vsm_set *s = *set;
    if (s == NULL) {
        return;
    }
    CHECK_OBJ(s, VSM__SET_MAGIC);
    *set = NULL;
    if (end == VSM_DROP_INDEX) {
        (void)unlinkat(s->dir_fd, VSM__INDEX, 0);
    }
    LIST_FOREACH_SAFE (node, &s->segs) {
        seg_release(CONTAINER_OF(node, struct vsm_seg, node));
    }
    if (end == VSM_REMOVE) {
        enum rc rc = vsm_dir_remove(&s->place);
        (void)rc; /* it may have been removed by hand; the next process tries again */
    }
    if (s->index_fd >= 0) {
        (void)close(s->index_fd);
    }
    (void)close(s->dir_fd);
    mutex_fini(&s->lock);
    mutex_fini(&s->doc_lock);
    s->magic = 0;
    XFREE(s);
}

static bool fits_index(const char *word)
{
    /* The longest line a reader takes is 8 kB; nothing of ours comes near, VCL names included. */
    if (strlen(word) > 1024) {
        return false;
    }
    for (const char *at = word; *at != '\0'; at++) {
        bool is_graph = *at > ' ' && *at < 127;
        if (!is_graph || *at == '"' || *at == '\\') {
            return false;
        }
    }
    return true;
}

struct vsm_seg *vsm__seg_find(struct vsm_set *set, const char *class, const char *ident)
{
    LIST_FOREACH (node, &set->segs) {
        struct vsm_seg *seg = CONTAINER_OF(node, struct vsm_seg, node);
        if (!seg->is_withdrawn && strcmp(seg->class, class) == 0 &&
            strcmp(seg->ident, ident) == 0) {
            return seg;
        }
    }
    return NULL;
}

static enum rc seg_map(struct vsm_seg *seg)
{
    int fd = -1;
    enum rc rc = vsm__file_create(seg->set, seg->file, O_RDWR, &fd);
    if (rc != RC_OK) {
        return rc;
    }
    int err;
    do {
        err = posix_fallocate(fd, 0, (off_t)seg->mapped_bytes);
    } while (err == EINTR);
    void *ptr = MAP_FAILED;
    if (err == 0) {
        /* A page fault for every few log records would cost more than writing them. */
        ptr =
            mmap(NULL, seg->mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        err = ptr == MAP_FAILED ? errno : 0;
    }
    (void)close(fd);
    if (err != 0) {
        (void)unlinkat(seg->set->dir_fd, seg->file, 0);
        return rc_from_errno(err);
    }
    seg->ptr = ptr;
    return RC_OK;
}

enum rc vsm_seg_new(struct vsm_set *set, const char *class, const char *ident, size_t bytes,
                    struct vsm_seg **seg)
{
    CHECK_OBJ(set, VSM__SET_MAGIC);
    CHECK(bytes > 0);
    CHECK(bytes <= SIZE_MAX / 2);
    if (class[0] == '\0' || strlen(class) > 16 || !fits_index(class) || !fits_index(ident)) {
        return RC_INVALID;
    }
    uint64_t random;
    ssize_t got = getrandom(&random, sizeof random, 0);
    CHECK(got == (ssize_t)sizeof random);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct vsm_seg *s = xcalloc(1, sizeof *s);
    s->magic = VSM__SEG_MAGIC;
    s->set = set;
    s->class = xstrdup(class);
    s->ident = xstrdup(ident);
    s->bytes = (bytes + 7) & ~(size_t)7;
    s->mapped_bytes = (s->bytes + page - 1) / page * page;
    int n = snprintf(s->file, sizeof s->file, "_.%s.%016" PRIx64, class, random);
    CHECK(n > 0);
    CHECK((size_t)n < sizeof s->file);
    list_init(&s->node);

    mutex_lock(&set->lock);
    enum rc rc = vsm__seg_find(set, class, ident) == NULL ? RC_OK : RC_EXISTS;
    if (rc == RC_OK) {
        list_push_back(&set->segs, &s->node);
    }
    mutex_unlock(&set->lock);
    if (rc == RC_OK) {
        rc = seg_map(s);
    }
    if (rc != RC_OK) {
        mutex_lock(&set->lock);
        seg_release(s);
        mutex_unlock(&set->lock);
        return rc;
    }
    *seg = s;
    return RC_OK;
}

void *vsm_seg_ptr(const struct vsm_seg *seg)
{
    CHECK_OBJ(seg, VSM__SEG_MAGIC);
    return seg->ptr;
}

size_t vsm_seg_len(const struct vsm_seg *seg)
{
    CHECK_OBJ(seg, VSM__SEG_MAGIC);
    return seg->bytes;
}

enum rc vsm_seg_publish(struct vsm_seg *seg)
{
    CHECK_OBJ(seg, VSM__SEG_MAGIC);
    mutex_lock(&seg->set->lock);
    /* Published order is what readers rely on (a document before its counters), so the list, from
     * which the index may be written anew, follows it too. */
    list_remove(&seg->node);
    list_push_back(&seg->set->segs, &seg->node);
    enum rc rc = vsm__index_add(seg->set, seg);
    mutex_unlock(&seg->set->lock);
    return rc;
}

/* Under the lock. */
static void withdraw(struct vsm_seg *seg)
{
    if (seg->is_published) {
        vsm__index_remove(seg->set, seg);
    }
    if (!seg->is_withdrawn) {
        (void)unlinkat(seg->set->dir_fd, seg->file, 0);
    }
    seg->is_withdrawn = true;
}

void vsm_seg_withdraw(struct vsm_seg *seg)
{
    CHECK_OBJ(seg, VSM__SEG_MAGIC);
    mutex_lock(&seg->set->lock);
    withdraw(seg);
    mutex_unlock(&seg->set->lock);
}

void vsm_seg_free(struct vsm_seg **seg)
{
    struct vsm_seg *s = *seg;
    if (s == NULL) {
        return;
    }
    CHECK_OBJ(s, VSM__SEG_MAGIC);
    *seg = NULL;
    struct vsm_set *set = s->set;
    mutex_lock(&set->lock);
    withdraw(s);
    seg_release(s);
    mutex_unlock(&set->lock);
}

enum rc vsm_text(struct vsm_set *set, const char *class, const char *ident, struct str text)
{
    CHECK_OBJ(set, VSM__SET_MAGIC);
    mutex_lock(&set->lock);
    struct vsm_seg *old = vsm__seg_find(set, class, ident);
    CHECK(old == NULL || old->is_text);
    mutex_unlock(&set->lock);
    vsm_seg_free(&old);
    struct vsm_seg *seg;
    enum rc rc = vsm_seg_new(set, class, ident, text.len + 1, &seg);
    if (rc != RC_OK) {
        return rc;
    }
    seg->is_text = true;
    if (text.len > 0) {
        memcpy(seg->ptr, text.ptr, text.len);
    }
    rc = vsm_seg_publish(seg);
    if (rc != RC_OK) {
        vsm_seg_free(&seg);
    }
    return rc;
}
