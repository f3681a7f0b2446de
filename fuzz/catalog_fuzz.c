/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Recovery from a catalog of arbitrary bytes.  The first byte chooses what is made right, since no
 * fuzzer guesses a checksum: 1 the head, 2 the checksums of records, 4 states and lengths. Whatever
 * is found must be readable, and the store must then work as any other. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "store/catalog.h"
#include "store/mem_priv.h"
#include "store/vault_priv.h"

#define STORE_BYTES (UINT64_C(1) << 20)
#define BODIES 4
#define BODY_BYTES 40000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int file_of(uint64_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, (off_t)size) == 0);
    return fd;
}

static void mend_record(struct cat_record *r, const char *slabs, uint64_t slabs_bytes, uint8_t how)
{
    if ((how & 4) != 0) {
        r->state = CAT_LIVE;
        r->revision %= 100;
        r->body_len %= 50000;
        r->file_id %= BODIES + 2;
        r->slot_off %= 1 << 20;
        r->slot_off &= ~UINT64_C(63);
        r->oa_len = r->oa_len % 2000 + 1;
        r->flags &= 1;
        r->faults &= 1;
    }
    uint64_t at = r->file_id != 0 ? 0 : (r->body_len + 7) / 8 * 8;
    if ((how & 2) != 0 && r->slot_off < slabs_bytes && at < slabs_bytes &&
        r->slot_off + at + r->oa_len < slabs_bytes) {
        r->oa_crc = cat_seal(r, (struct str){slabs + r->slot_off + at, r->oa_len});
    }
}

static int catalog_of(const uint8_t *bytes, size_t len, uint8_t how, int slab_fd,
                      uint64_t slab_bytes)
{
    int fd = file_of(0);
    CHECK(write(fd, bytes, len) == (ssize_t)len);
    if ((how & 1) == 0 || len < CAT_HEAD_BYTES) {
        CHECK(ftruncate(fd, (off_t)(len + CAT_HEAD_BYTES)) == 0);
        CHECK(pwrite(fd, bytes, len, CAT_HEAD_BYTES) == (ssize_t)len);
        len += CAT_HEAD_BYTES;
    }
    struct cat_head *head = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(head != MAP_FAILED);
    head->magic = CAT_MAGIC;
    head->version = CAT_VERSION;
    head->record_bytes = CAT_RECORD_BYTES;
    head->store_bytes = STORE_BYTES;
    head->slab_bytes = slab_bytes;
    head->head_crc = crc32c(0, head, offsetof(struct cat_head, revision_reserved));
    uint64_t slabs_bytes = slabs_file_bytes(STORE_BYTES, slab_bytes);
    char *slabs = mmap(NULL, slabs_bytes, PROT_READ, MAP_SHARED, slab_fd, 0);
    CHECK(slabs != MAP_FAILED);
    struct cat_record *r = (struct cat_record *)(void *)((char *)head + CAT_HEAD_BYTES);
    for (size_t i = 0; i < (len - CAT_HEAD_BYTES) / CAT_RECORD_BYTES; i++) {
        mend_record(&r[i], slabs, slabs_bytes, how);
    }
    CHECK(munmap(slabs, slabs_bytes) == 0);
    CHECK(munmap(head, len) == 0);
    return fd;
}

struct kept {
    struct stv_obj *obj[64];
    size_t count;
    uint64_t last_revision;
};

static bool keep(void *arg, const struct stv_found *f)
{
    struct kept *k = arg;
    CHECK(f->record.revision <= k->last_revision);
    k->last_revision = f->record.revision;
    CHECK(f->oa.len > 0);
    (void)crc32c(0, f->oa.ptr, f->oa.len);
    (void)!stv_verify(f->obj);
    struct stv_lease lease;
    if (f->body_len > 0 && stv_ref(f->obj, 0, true, &lease) == RC_OK) {
        CHECK(lease.len == f->body_len);
        (void)crc32c(0, lease.ptr, lease.len);
        stv_rel(&lease);
    }
    if (k->count < ARRAY_SIZE(k->obj)) {
        k->obj[k->count++] = f->obj;
        return true;
    }
    return false;
}

static void use(struct stevedore *stv)
{
    static const uint64_t lengths[] = {100, 3000, 40000, 20000};
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        struct stv_obj *obj = NULL;
        struct stv_record record = {.revision = stv_revision_next(stv)};
        void *ptr = NULL;
        size_t len = 0;
        CHECK(stv_newobj(stv, lengths[i], &obj) == RC_OK);
        if (stv_alloc(obj, lengths[i], &ptr, &len) == RC_OK) {
            memset(ptr, (int)i, len);
            stv_commit(obj, len);
            (void)!stv_final(obj, STR("attributes"), &record);
        }
        stv_deleteobj(&obj);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 1 || len > 64 * 1024) {
        return 0;
    }
    uint64_t slab_bytes = 0;
    uint64_t own_file_min = 0;
    slabs_sizes(STORE_BYTES, 100, &slab_bytes, &own_file_min);
    struct vault_link *link = vault_link__alone();
    int slab_fd = file_of(slabs_file_bytes(STORE_BYTES, slab_bytes));
    int cat_fd = catalog_of(bytes + 1, len - 1, bytes[0], slab_fd, slab_bytes);
    vault_link__inherit(link, "s0", VAULT_CATALOG, 0, cat_fd);
    vault_link__inherit(link, "s0", VAULT_SLAB, 0, slab_fd);
    for (uint64_t id = 1; id <= BODIES; id++) {
        vault_link__inherit(link, "s0", VAULT_BODY, id, file_of(BODY_BYTES));
    }
    struct stv_conf conf = {
        .name = "s0", .kind = STV_MEMORY, .bytes = STORE_BYTES, .vault = link, .files_max = 100};
    struct stevedore *stv = NULL;
    CHECK(stv_open(&conf, &stv) == RC_OK);
    vault_link_settle(link);
    struct kept kept = {.last_revision = UINT64_MAX};
    if (len % 2 == 0) {
        stv_resurrect(stv, keep, &kept);
    }
    use(stv);
    for (size_t i = 0; i < kept.count; i++) {
        stv_deleteobj(&kept.obj[i]);
    }
    stv_close(&stv);
    vault_link_free(&link);
    return 0;
}
