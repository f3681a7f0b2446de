/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A log in a memfd.
 *
 *     0  8  magic
 *     8  8  bytes that are written, this head included (the last store of an append)
 *    16  8  the next number, when the log was begun
 *    24 40  zero
 *    64     { 4 CRC-32C of what follows in the record | 4 length | 8 number | 8 time | bytes | 0..7
 *             zeros }*
 *
 * A killed worker leaves either the whole record or none, for the length is stored last.  Records
 * are not changed.  When more than half of it is forgotten, the rest is copied to a new file, which
 * takes the old one's place in the vault: a worker killed in between leaves the old one.  A record
 * that does not make sense ends the log: what stood behind it is lost, which is told by a number
 * that is not there. */
#include "store/ban_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/mutex.h"
#include "store/vault_priv.h"

#define LOG_MAGIC UINT64_C(0x31676f6c6e61626f)
#define LOG_STORE "(bans)"
#define LOG_MAX (UINT64_C(256) << 20)
#define STEP_BYTES (UINT64_C(64) << 10)
/* Less than that is not worth a new file. */
#define FORGOTTEN_MIN (UINT64_C(64) << 10)

struct log_head {
    uint64_t magic;
    _Atomic uint64_t written;
    uint64_t next_seq;
    uint64_t zero[5];
};
static_assert(sizeof(struct log_head) == 64, "the format is fixed");

struct log_record {
    uint32_t crc;
    uint32_t len;
    uint64_t seq;
    uint64_t time_ns;
};
static_assert(sizeof(struct log_record) == 24, "the format is fixed");

struct log_file {
    int fd;
    struct log_head *head; /* LOG_MAX are mapped, what is backed is touched */
    uint64_t backed;
};

struct ban_log {
    pthread_mutex_t lock;
    struct vault_link *link;
    struct log_file file;
    uint64_t first;     /* number */
    uint64_t next;      /* number */
    uint64_t forgotten; /* bytes */
};

static uint64_t record_bytes(size_t len)
{
    return (sizeof(struct log_record) + len + 7) / 8 * 8;
}

static struct log_record *record_at(const struct log_file *f, uint64_t at)
{
    return (struct log_record *)(void *)((char *)f->head + at);
}

static uint32_t crc_of(const struct log_record *r, const void *bytes)
{
    const size_t skip = sizeof r->crc;
    return crc32c(crc32c(0, (const char *)r + skip, sizeof *r - skip), bytes, r->len);
}

static uint64_t written(const struct log_file *f)
{
    return atomic_load_explicit(&f->head->written, memory_order_acquire);
}

/* ---- files ---- */

static enum rc file_map(struct log_file *f)
{
    void *base = mmap(NULL, LOG_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, f->fd, 0);
    if (base == MAP_FAILED) {
        return RC_NOSPACE;
    }
    (void)madvise(base, LOG_MAX, MADV_DONTDUMP);
    f->head = base;
    return RC_OK;
}

static void file_close(struct log_file *f)
{
    if (f->head != NULL) {
        CHECK(munmap(f->head, LOG_MAX) == 0);
    }
    if (f->fd >= 0) {
        (void)close(f->fd);
    }
    *f = (struct log_file){.fd = -1};
}

static enum rc file_new(struct log_file *f, uint64_t next_seq)
{
    *f = (struct log_file){.fd = memfd_create("objmapper bans", MFD_CLOEXEC)};
    if (f->fd < 0) {
        return errno == EMFILE || errno == ENFILE ? RC_NOFILES : RC_NOSPACE;
    }
    enum rc rc = store__fallocate(f->fd, 0, 0, STEP_BYTES) ? file_map(f) : RC_NOSPACE;
    if (rc != RC_OK) {
        file_close(f);
        return rc;
    }
    f->backed = STEP_BYTES;
    f->head->next_seq = next_seq;
    f->head->magic = LOG_MAGIC;
    atomic_store_explicit(&f->head->written, sizeof *f->head, memory_order_release);
    return RC_OK;
}

/* Pages first, so that a store cannot fault. */
static bool file_back(struct log_file *f, uint64_t bytes)
{
    if (bytes <= f->backed) {
        return true;
    }
    uint64_t to = (bytes + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
    if (to > LOG_MAX || !store__fallocate(f->fd, 0, f->backed, to - f->backed)) {
        return false;
    }
    f->backed = to;
    return true;
}

static enum rc file_append(struct log_file *f, uint64_t seq, uint64_t time_ns, struct str bytes)
{
    uint64_t at = written(f);
    if (bytes.len > LOG_MAX / 2 || !file_back(f, at + record_bytes(bytes.len))) {
        return RC_NOSPACE;
    }
    struct log_record *r = record_at(f, at);
    memset(r, 0, record_bytes(bytes.len));
    *r = (struct log_record){.len = (uint32_t)bytes.len, .seq = seq, .time_ns = time_ns};
    if (bytes.len > 0) {
        memcpy(r + 1, bytes.ptr, bytes.len);
    }
    r->crc = crc_of(r, r + 1);
    atomic_store_explicit(&f->head->written, at + record_bytes(bytes.len), memory_order_release);
    return RC_OK;
}

/* The record that begins at `at` below `end`, or NULL. */
static const struct log_record *checked(const struct log_file *f, uint64_t at, uint64_t end)
{
    const struct log_record *r = record_at(f, at);
    if (end - at < sizeof *r || r->len > end - at || record_bytes(r->len) > end - at ||
        r->seq >= UINT64_MAX / 2) {
        return NULL;
    }
    return r->crc == crc_of(r, r + 1) ? r : NULL;
}

static bool file_adopt(struct log_file *f, int fd)
{
    *f = (struct log_file){.fd = fd};
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || (uint64_t)st.st_size < STEP_BYTES ||
        (uint64_t)st.st_size > LOG_MAX || file_map(f) != RC_OK) {
        file_close(f);
        return false;
    }
    f->backed = (uint64_t)st.st_size;
    if (f->head->magic != LOG_MAGIC || written(f) > f->backed || written(f) < sizeof *f->head ||
        f->head->next_seq == 0 || f->head->next_seq >= UINT64_MAX / 2) {
        file_close(f);
        return false;
    }
    /* What cannot be read ends here, for good. */
    uint64_t end = written(f);
    uint64_t at = sizeof *f->head;
    uint64_t last = f->head->next_seq - 1;
    while (at < end) {
        const struct log_record *r = checked(f, at, end);
        if (r == NULL || r->seq <= last) {
            break;
        }
        last = r->seq;
        at += record_bytes(r->len);
    }
    atomic_store_explicit(&f->head->written, at, memory_order_release);
    return true;
}

/* ---- the log ---- */

static void lock(struct ban_log *log)
{
    mutex_lock(&log->lock);
}

static void unlock(struct ban_log *log)
{
    mutex_unlock(&log->lock);
}

static void find_numbers(struct ban_log *log)
{
    log->first = 0;
    log->next = log->file.head->next_seq;
    uint64_t end = written(&log->file);
    for (uint64_t at = sizeof *log->file.head; at < end;) {
        const struct log_record *r = record_at(&log->file, at);
        log->first = log->first == 0 ? r->seq : log->first;
        log->next = r->seq + 1;
        at += record_bytes(r->len);
    }
    log->first = log->first == 0 ? log->next : log->first;
}

enum rc ban_log_open(struct vault_link *link, struct ban_log **out)
{
    struct ban_log *log = xcalloc(1, sizeof *log);
    mutex_init(&log->lock);
    log->link = link;
    enum rc rc = RC_OK;
    if (!file_adopt(&log->file, vault_link__take(link, LOG_STORE, VAULT_BANS, 0))) {
        rc = file_new(&log->file, 1);
        if (rc == RC_OK) {
            rc = vault_link__try_put(link, LOG_STORE, VAULT_BANS, 0, log->file.fd);
        }
    }
    if (rc != RC_OK) {
        ban_log_close(&log);
        return rc;
    }
    find_numbers(log);
    *out = log;
    return RC_OK;
}

void ban_log_close(struct ban_log **log)
{
    struct ban_log *gone = *log;
    *log = NULL;
    if (gone == NULL) {
        return;
    }
    file_close(&gone->file);
    mutex_fini(&gone->lock);
    free(gone);
}

enum rc ban_log_append(struct ban_log *log, uint64_t seq, uint64_t time_ns, struct str bytes)
{
    lock(log);
    CHECK(seq >= log->next);
    enum rc rc = file_append(&log->file, seq, time_ns, bytes);
    if (rc == RC_OK) {
        log->first = log->first == log->next ? seq : log->first;
        log->next = seq + 1;
    }
    unlock(log);
    return rc;
}

uint64_t ban_log_first(const struct ban_log *log)
{
    return log->first;
}

void ban_log_read(const struct ban_log *log, ban_log_fn *fn, void *arg)
{
    uint64_t end = written(&log->file);
    for (uint64_t at = sizeof *log->file.head; at < end;) {
        const struct log_record *r = record_at(&log->file, at);
        fn(arg, r->seq, r->time_ns, (struct str){(const char *)(r + 1), r->len});
        at += record_bytes(r->len);
    }
}

/* Under the lock: all from `from` on, in a new file. */
static enum rc copy_rest(struct ban_log *log, uint64_t from, struct log_file *to)
{
    enum rc rc = file_new(to, log->next);
    uint64_t end = written(&log->file);
    for (uint64_t at = from; rc == RC_OK && at < end;) {
        const struct log_record *r = record_at(&log->file, at);
        to->head->next_seq = at == from ? r->seq : to->head->next_seq;
        rc = file_append(to, r->seq, r->time_ns, (struct str){(const char *)(r + 1), r->len});
        at += record_bytes(r->len);
    }
    return rc;
}

static void swap(struct ban_log *log, uint64_t from)
{
    struct log_file to = {.fd = -1};
    enum rc rc = copy_rest(log, from, &to);
    if (rc == RC_OK) {
        rc = vault_link__try_put(log->link, LOG_STORE, VAULT_BANS, 0, to.fd);
    }
    if (rc != RC_OK) {
        file_close(&to); /* another time */
        return;
    }
    file_close(&log->file);
    log->file = to;
    log->forgotten = 0;
}

void ban_log_forget(struct ban_log *log, uint64_t seq)
{
    lock(log);
    uint64_t end = written(&log->file);
    uint64_t at = sizeof *log->file.head + log->forgotten;
    while (at < end && record_at(&log->file, at)->seq < seq) {
        at += record_bytes(record_at(&log->file, at)->len);
    }
    log->forgotten = at - sizeof *log->file.head;
    log->first = at < end ? record_at(&log->file, at)->seq : log->next;
    if (log->forgotten >= FORGOTTEN_MIN && log->forgotten > end / 2) {
        swap(log, at);
    }
    unlock(log);
}

void ban_log_size(struct ban_log *log, uint64_t *bytes, uint64_t *forgotten)
{
    lock(log);
    *bytes = written(&log->file) - sizeof *log->file.head;
    *forgotten = log->forgotten;
    unlock(log);
}
