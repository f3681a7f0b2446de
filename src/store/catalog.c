/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A worker may be killed between any two stores, and the next one must find every acknowledged
 * object and no dead one.  The pages of a shared mapping survive the process, and its stores reach
 * them in program order (a release store each time order matters, so that the compiler keeps it
 * too); so order is all that is needed, and nothing is ever synced.
 *
 *     file  | head, 4096 | record 0, 128 | record 1 | ...      its size says how many there are
 *
 *     FREE/DEAD --take--> WRITING --body, OA, fields, checksum--> LIVE --purge, replace, evict-->
 *     DEAD --the bytes may be used again--> (free)
 *
 * Only LIVE counts at recovery: WRITING is as good as free.  What recovery believes of a LIVE
 * record it checks against the checksum (oa_crc), which covers the attributes and every field that
 * says where bytes lie; times may change in place and are not covered. */
#include "store/catalog.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"

static_assert(sizeof(struct cat_record) == CAT_RECORD_BYTES, "the format is fixed");
static_assert(offsetof(struct cat_record, digest) == 8, "the format is fixed");
static_assert(offsetof(struct cat_record, revision) == 40, "the format is fixed");
static_assert(offsetof(struct cat_record, slot_off) == 88, "the format is fixed");
static_assert(offsetof(struct cat_record, oa_len) == 112, "the format is fixed");
static_assert(offsetof(struct cat_record, flags) == 124, "the format is fixed");
static_assert(offsetof(struct cat_record, faults) == 126, "the format is fixed");
static_assert(offsetof(struct cat_head, store_bytes) == 16, "the format is fixed");
static_assert(offsetof(struct cat_head, revision_reserved) == 32, "the format is fixed");
static_assert(offsetof(struct cat_head, head_crc) == 48, "the format is fixed");
static_assert(sizeof(struct cat_head) == 56, "the format is fixed");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "another process must see whole stores");

#define GROW_RECORDS 512u
#define RESERVE_BLOCK 4096u
/* The smallest object takes a slot of 128 bytes; most take several. */
#define STORE_BYTES_A_RECORD 128u

static uint32_t head_crc(const struct cat_head *h)
{
    return crc32c(0, h, offsetof(struct cat_head, revision_reserved));
}

static uint64_t file_bytes(uint32_t records)
{
    return CAT_HEAD_BYTES + (uint64_t)records * CAT_RECORD_BYTES;
}

static void set_records(struct catalog *c, uint64_t records)
{
    c->records = (uint32_t)records;
    c->free = xrealloc(c->free, records * sizeof *c->free);
}

static void count_pages(struct catalog *c)
{
    struct stat st;
    CHECK(fstat(c->fd, &st) == 0);
    c->pages_bytes = (uint64_t)st.st_blocks * 512;
}

/* The mapping reaches past the file's end, to where it may ever grow; only what the file has is
 * touched. */
static enum rc map(struct catalog *c, uint64_t store_bytes)
{
    uint64_t most = store_bytes / STORE_BYTES_A_RECORD + GROW_RECORDS;
    c->records_max = most < CAT_NO_RECORD ? (uint32_t)most : CAT_NO_RECORD - 1;
    c->map_bytes = (file_bytes(c->records_max) + 4095) / 4096 * 4096;
    void *base = seam_fails(c->seam, STV_CALL_MMAP)
                     ? MAP_FAILED
                     : mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                            c->fd, 0);
    if (base == MAP_FAILED) {
        return RC_NOSPACE;
    }
    (void)madvise(base, c->map_bytes, MADV_DONTDUMP);
    c->head = base;
    c->record = (struct cat_record *)(void *)((char *)base + CAT_HEAD_BYTES);
    return RC_OK;
}

enum rc catalog_make(struct catalog *c, uint64_t store_bytes, uint64_t slab_bytes,
                     const struct stv_seam *seam)
{
    *c = (struct catalog){.fd = -1, .seam = seam};
    if (seam_fails(seam, STV_CALL_MEMFD)) {
        return RC_NOFILES;
    }
    c->fd = memfd_create("objmapper catalog", MFD_CLOEXEC);
    if (c->fd < 0) {
        return errno == EMFILE || errno == ENFILE ? RC_NOFILES : RC_NOSPACE;
    }
    enum rc rc = RC_NOSPACE;
    if (store__fallocate(c->fd, 0, 0, CAT_HEAD_BYTES)) {
        rc = map(c, store_bytes);
    }
    if (rc != RC_OK) {
        catalog_close(c);
        return rc;
    }
    c->head->version = CAT_VERSION;
    c->head->record_bytes = CAT_RECORD_BYTES;
    c->head->store_bytes = store_bytes;
    c->head->slab_bytes = slab_bytes;
    c->head->magic = CAT_MAGIC;
    c->head->head_crc = head_crc(c->head);
    atomic_store(&c->head->revision_reserved, 1);
    atomic_store(&c->head->file_id_reserved, 1);
    atomic_store(&c->head->generation, 1);
    count_pages(c);
    return RC_OK;
}

static bool head_is_ours(const struct cat_head *h, uint64_t store_bytes, uint64_t slab_bytes)
{
    return h->magic == CAT_MAGIC && h->version == CAT_VERSION &&
           h->record_bytes == CAT_RECORD_BYTES && h->store_bytes == store_bytes &&
           h->slab_bytes == slab_bytes && h->head_crc == head_crc(h);
}

enum rc catalog_adopt(struct catalog *c, uint64_t store_bytes, uint64_t slab_bytes, int *take_fd,
                      const struct stv_seam *seam)
{
    *c = (struct catalog){.fd = *take_fd, .seam = seam};
    struct stat st;
    enum rc rc = RC_MALFORMED;
    if (fstat(c->fd, &st) == 0 && (uint64_t)st.st_size >= CAT_HEAD_BYTES) {
        rc = map(c, store_bytes);
    }
    if (rc == RC_OK && !head_is_ours(c->head, store_bytes, slab_bytes)) {
        rc = RC_MALFORMED;
    }
    if (rc != RC_OK) {
        c->fd = -1;
        catalog_close(c);
        return rc;
    }
    *take_fd = -1;
    uint64_t records = ((uint64_t)st.st_size - CAT_HEAD_BYTES) / CAT_RECORD_BYTES;
    set_records(c, records < c->records_max ? records : c->records_max);
    atomic_fetch_add(&c->head->generation, 1);
    count_pages(c);
    return RC_OK;
}

void catalog_close(struct catalog *c)
{
    if (c->head != NULL) {
        CHECK(munmap(c->head, c->map_bytes) == 0);
    }
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    free(c->free);
    *c = (struct catalog){.fd = -1};
}

static bool grow(struct catalog *c)
{
    uint64_t records = c->records + (uint64_t)GROW_RECORDS;
    records = records < c->records_max ? records : c->records_max;
    if (records == c->records || seam_fails(c->seam, STV_CALL_FALLOCATE)) {
        return false;
    }
    seam_step(c->seam);
    /* New records are zeros, that is FREE: nothing more to be done in any order.  (But a damaged
     * file may have ended within a record.) */
    if (!store__fallocate(c->fd, 0, 0, file_bytes((uint32_t)records))) {
        return false;
    }
    uint32_t old = c->records;
    set_records(c, records);
    for (uint32_t i = c->records; i > old; i--) {
        cat_set_state(&c->record[i - 1], CAT_FREE);
        c->free[c->free_count++] = i - 1;
    }
    count_pages(c);
    return true;
}

uint32_t catalog_take_record(struct catalog *c)
{
    if (c->free_count == 0 && !grow(c)) {
        return CAT_NO_RECORD;
    }
    uint32_t index = c->free[--c->free_count];
    CHECK(index < c->records);
    CHECK(cat_state(&c->record[index]) != CAT_LIVE);
    seam_step(c->seam);
    cat_set_state(&c->record[index], CAT_WRITING);
    /* The fields are written after this, not before. */
    atomic_thread_fence(memory_order_seq_cst);
    return index;
}

void catalog_free_record(struct catalog *c, uint32_t index)
{
    CHECK(index < c->records);
    CHECK(cat_state(&c->record[index]) != CAT_LIVE);
    CHECK(c->free_count < c->records);
    c->free[c->free_count++] = index;
}

uint32_t cat_seal(const struct cat_record *r, struct str oa)
{
    struct {
        struct digest digest;
        uint64_t revision, slot_off, body_len, file_id;
        uint32_t oa_len, body_crc, generation, flags;
    } sealed = {.digest = r->digest,
                .revision = r->revision,
                .slot_off = r->slot_off,
                .body_len = r->body_len,
                .file_id = r->file_id,
                .oa_len = r->oa_len,
                .body_crc = r->body_crc,
                .generation = r->generation,
                .flags = r->flags};
    static_assert(sizeof sealed == 80, "no padding goes into the checksum");
    return crc32c(crc32c(0, oa.ptr, oa.len), &sealed, sizeof sealed);
}

void cat_fill(struct cat_record *r, const struct stv_record *from)
{
    r->digest = from->digest;
    r->revision = from->revision;
    r->ban_seq = from->ban_seq;
    r->t_origin_ns = from->t_origin_ns;
    r->ttl_ns = from->ttl_ns;
    r->grace_ns = from->grace_ns;
    r->keep_ns = from->keep_ns;
    r->flags = from->supersedes ? CAT_SUPERSEDES : 0;
    r->frequency = 0;
    r->reserved = 0;
    atomic_store_explicit(&r->faults, 0, memory_order_relaxed);
}

static void put(uint64_t *field, uint64_t value, const struct stv_seam *seam)
{
    seam_step(seam);
    __atomic_store_n(field, value, __ATOMIC_RELEASE);
}

void cat_retime(struct cat_record *r, const struct stv_record *from, const struct stv_seam *seam)
{
    /* While old and new are mixed the object has no time to live: a worker that dies here leaves it
     * stale, never fresher than either. */
    put(&r->ttl_ns, 0, seam);
    put(&r->grace_ns, 0, seam);
    put(&r->t_origin_ns, from->t_origin_ns, seam);
    put(&r->keep_ns, from->keep_ns, seam);
    put(&r->ban_seq, from->ban_seq, seam);
    put(&r->grace_ns, from->grace_ns, seam);
    put(&r->ttl_ns, from->ttl_ns, seam);
}

struct stv_record cat_read(const struct cat_record *r)
{
    return (struct stv_record){.digest = r->digest,
                               .revision = r->revision,
                               .ban_seq = r->ban_seq,
                               .t_origin_ns = r->t_origin_ns,
                               .ttl_ns = r->ttl_ns,
                               .grace_ns = r->grace_ns,
                               .keep_ns = r->keep_ns,
                               .supersedes = (r->flags & CAT_SUPERSEDES) != 0};
}

uint64_t cat_reserve(uint64_t *next, _Atomic uint64_t *reserved, const struct stv_seam *seam)
{
    if (reserved != NULL && *next >= atomic_load_explicit(reserved, memory_order_relaxed)) {
        seam_step(seam);
        atomic_store_explicit(reserved, *next + RESERVE_BLOCK, memory_order_release);
    }
    return (*next)++;
}
