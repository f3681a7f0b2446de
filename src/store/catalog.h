/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The catalog: one fixed record an object, in a memfd that outlives the process by way of the
 * manager's vault.  Format and order of stores: docs/formats/catalog.md. */
#ifndef STORE_CATALOG_H
#define STORE_CATALOG_H

#include "store/store_priv.h"

#define CAT_MAGIC UINT64_C(0x317461436d6a624f)
#define CAT_VERSION 1u
#define CAT_HEAD_BYTES 4096u
#define CAT_RECORD_BYTES 128u
#define CAT_NO_RECORD UINT32_MAX

/* Not small numbers: a record of garbage shall not look alive. */
enum cat_state {
    CAT_FREE = 0,
    CAT_WRITING = 0x57524954,
    CAT_LIVE = 0x4c495645,
    CAT_DEAD = 0x44454144,
};

enum cat_flag { CAT_SUPERSEDES = 1 << 0 };

struct cat_head {
    uint64_t magic;
    uint32_t version;
    uint32_t record_bytes;
    uint64_t store_bytes;
    uint64_t slab_bytes;
    _Atomic uint64_t revision_reserved; /* no revision from here on was ever given out */
    _Atomic uint64_t file_id_reserved;  /* likewise */
    uint32_t head_crc;                  /* of magic to slab_bytes */
    _Atomic uint32_t generation;        /* how many workers have opened it */
};

struct cat_record {
    _Atomic uint32_t state;
    uint32_t generation;
    struct digest digest;
    uint64_t revision;
    uint64_t ban_seq;
    uint64_t t_origin_ns;
    uint64_t ttl_ns;
    uint64_t grace_ns;
    uint64_t keep_ns;
    uint64_t slot_off; /* in the slab file: [body, if it has no file][padding to 8][OA] */
    uint64_t body_len;
    uint64_t file_id; /* 0: the body is in the slot */
    uint32_t oa_len;
    uint32_t oa_crc; /* of the OA and of what cat_seal adds */
    uint32_t body_crc;
    uint8_t flags;
    uint8_t frequency; /* unused yet; 0 */
    _Atomic uint8_t faults;
    uint8_t reserved;
};

struct catalog {
    int fd; /* -1: this store has no catalog */
    struct cat_head *head;
    struct cat_record *record;
    uint32_t records; /* that the file has room for */
    uint32_t records_max;
    uint32_t *free;
    uint32_t free_count;
    uint64_t map_bytes;
    uint64_t pages_bytes;
    const struct stv_seam *seam;
};

/* A new file.  RC_NOFILES, RC_NOSPACE. */
MUST_USE enum rc catalog_make(struct catalog *c, uint64_t store_bytes, uint64_t slab_bytes,
                              const struct stv_seam *seam);
/* An inherited file; takes *take_fd (left alone on failure).  RC_MALFORMED: not ours, or of
 * another size of store; RC_NOSPACE.  No record is free until catalog_free_record says so. */
MUST_USE enum rc catalog_adopt(struct catalog *c, uint64_t store_bytes, uint64_t slab_bytes,
                               int *take_fd, const struct stv_seam *seam);
void catalog_close(struct catalog *c);

/* A free record, state WRITING, or CAT_NO_RECORD.  Under the store's lock, as the next. */
uint32_t catalog_take_record(struct catalog *c);
void catalog_free_record(struct catalog *c, uint32_t index);

/* The checksum over the OA and what must not change in the record. */
uint32_t cat_seal(const struct cat_record *r, struct str oa);
/* Fills all of a WRITING record but state and checksum. */
void cat_fill(struct cat_record *r, const struct stv_record *from);
void cat_retime(struct cat_record *r, const struct stv_record *from, const struct stv_seam *seam);
struct stv_record cat_read(const struct cat_record *r);

/* Numbers reserved in blocks: *next is in memory, `reserved` in the catalog (may be NULL).  Under
 * the store's lock. */
uint64_t cat_reserve(uint64_t *next, _Atomic uint64_t *reserved, const struct stv_seam *seam);

static inline void cat_set_state(struct cat_record *r, enum cat_state state)
{
    atomic_store_explicit(&r->state, (uint32_t)state, memory_order_release);
}

static inline uint32_t cat_state(const struct cat_record *r)
{
    return atomic_load_explicit(&r->state, memory_order_acquire);
}

#endif
