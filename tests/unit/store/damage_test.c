/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a worker left may be damaged in any byte.  Recovery believes nothing that it cannot check,
 * and never ends the worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"
#include "store/catalog.h"
#include "store/mem_priv.h"
#include "store/vault_priv.h"

#define STORE_BYTES MIB(2)
#define OBJECTS 24

/* Files as the vault would hold them between two workers. */
struct left {
    int cat;
    int slab;
    int body[OBJECTS];
    uint64_t body_id[OBJECTS];
    unsigned bodies;
};

static uint64_t body_len(uint64_t id)
{
    return id % 4 == 3 ? KIB(80) + id : 500 * id;
}

static struct stv_conf conf_of(struct vault_link *link, uint64_t bytes)
{
    return (struct stv_conf){.name = "s0", .kind = STV_MEMORY, .bytes = bytes, .vault = link};
}

/* A store with OBJECTS objects, id and revision i + 1. */
static struct left leave_store(void)
{
    struct left left = {0};
    struct vault_link *link = vault_link__alone();
    struct stv_conf conf = conf_of(link, STORE_BYTES);
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    struct mem *m = mem_of(stv);
    for (uint64_t id = 1; id <= OBJECTS; id++) {
        struct rng rng = {.state = id};
        struct stv_obj *obj = NULL;
        struct stv_record record = model_record(id, id);
        assert_int_equal(model_fetch(stv, &rng, id, id, body_len(id), 0, &obj), RC_OK);
        assert_int_equal(model_final(obj, id, 100 + id, &record), RC_OK);
        struct mem_obj *o = mem_obj_of(obj);
        if (o->body->kind == MEM_FILE) {
            left.body[left.bodies] = dup(mem_file_of(o->body)->fd);
            left.body_id[left.bodies++] = mem_file_of(o->body)->id;
        }
    }
    left.cat = dup(m->cat.fd);
    left.slab = dup(m->slabs.fd);
    stv_close(&stv);
    vault_link_free(&link);
    assert_int_equal(left.bodies, OBJECTS / 4);
    return left;
}

static struct vault_link *inherit(const struct left *left)
{
    struct vault_link *link = vault_link__alone();
    vault_link__inherit(link, "s0", VAULT_CATALOG, 0, left->cat);
    vault_link__inherit(link, "s0", VAULT_SLAB, 0, left->slab);
    for (unsigned i = 0; i < left->bodies; i++) {
        vault_link__inherit(link, "s0", VAULT_BODY, left->body_id[i], left->body[i]);
    }
    return link;
}

struct tally {
    unsigned found, damaged;
    bool seen[OBJECTS + 1];
};

static bool take_tally(void *arg, const struct stv_found *f)
{
    struct tally *t = arg;
    uint64_t id = f->record.revision;
    assert_in_range(id, 1, OBJECTS);
    assert_false(t->seen[id]);
    t->seen[id] = true;
    struct digest d = model_digest(id);
    assert_true(digest_eq(&d, &f->record.digest));
    assert_int_equal(f->body_len, body_len(id));
    assert_true(model_is(OA_ID(id), id, 0, f->oa.ptr, f->oa.len));
    assert_int_equal(stv_is_verified(f->obj), id % 4 == 3);
    t->found++;
    enum rc rc = stv_verify(f->obj);
    if (rc == RC_DAMAGED) {
        assert_false(stv_is_verified(f->obj));
        t->damaged++;
    } else {
        assert_int_equal(rc, RC_OK);
        assert_true(model_check(f->obj, id, id, body_len(id)));
    }
    return false;
}

static struct tally recover(const struct left *left, struct stv_stats *stats)
{
    struct tally t = {0};
    struct vault_link *link = inherit(left);
    struct stv_conf conf = conf_of(link, STORE_BYTES);
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    vault_link_settle(link);
    stv_resurrect(stv, take_tally, &t);
    stv_stat(stv, stats);
    assert_int_equal(stats->objects, 0);
    assert_int_equal(stats->files, 0);
    stv_close(&stv);
    vault_link_free(&link);
    return t;
}

/* ---- ways to damage ---- */

static void *map_file(int fd, size_t *len)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    void *p = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

struct open_left {
    char *cat, *slab;
    size_t cat_len, slab_len;
};

static struct open_left look(const struct left *left)
{
    struct open_left o;
    o.cat = map_file(left->cat, &o.cat_len);
    o.slab = map_file(left->slab, &o.slab_len);
    return o;
}

static void look_away(struct open_left *o)
{
    assert_int_equal(munmap(o->cat, o->cat_len), 0);
    assert_int_equal(munmap(o->slab, o->slab_len), 0);
}

static struct cat_record *record_of(const struct open_left *o, uint64_t revision)
{
    struct cat_record *r = (struct cat_record *)(void *)(o->cat + CAT_HEAD_BYTES);
    while (r->revision != revision || r->state != CAT_LIVE) {
        r++;
        assert_true((char *)r < o->cat + o->cat_len);
    }
    return r;
}

/* ---- the tests ---- */

static void whole_store_comes_back(void **state)
{
    (void)state;
    struct left left = leave_store();
    struct stv_stats stats;
    struct tally t = recover(&left, &stats);
    assert_int_equal(t.found, OBJECTS);
    assert_int_equal(t.damaged, 0);
    assert_int_equal(stats.recovered, OBJECTS);
    assert_int_equal(stats.dropped, 0);
}

static void flipped_bytes(void **state)
{
    (void)state;
    struct left left = leave_store();
    struct open_left o = look(&left);
    /* In attributes: gone.  In a body: found, and damaged when it is checked. */
    struct cat_record *r = record_of(&o, 2);
    o.slab[r->slot_off + (r->body_len + 7) / 8 * 8 + 5] ^= 1;
    r = record_of(&o, 3);
    o.slab[r->slot_off + 99] ^= 1;
    r = record_of(&o, 5);
    o.slab[r->slot_off + 17] ^= 0x40;
    /* In what the record says of itself: gone. */
    record_of(&o, 6)->digest.bytes[31] ^= 1;
    record_of(&o, 8)->body_crc ^= 1;
    record_of(&o, 9)->oa_crc ^= 1;
    record_of(&o, 10)->body_len += 1;
    record_of(&o, 12)->slot_off += 64;
    record_of(&o, 13)->file_id = 12345;
    record_of(&o, 14)->flags |= 2;
    record_of(&o, 7)->body_len += 4096;
    look_away(&o);
    struct stv_stats stats;
    struct tally t = recover(&left, &stats);
    static const unsigned gone[] = {2, 3, 6, 7, 8, 9, 10, 12, 13, 14};
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
        assert_false(t.seen[gone[i]]);
    }
    assert_int_equal(t.damaged, 1);
    assert_int_equal(t.found, OBJECTS - ARRAY_SIZE(gone));
    assert_int_equal(stats.dropped, ARRAY_SIZE(gone));
}

static void overlapping_records_are_both_dropped(void **state)
{
    (void)state;
    struct left left = leave_store();
    struct open_left o = look(&left);
    struct cat_record *one = record_of(&o, 4);
    struct cat_record *two = record_of(&o, 5);
    struct str oa = {o.slab + one->slot_off + (one->body_len + 7) / 8 * 8, one->oa_len};
    /* A copy of 4 under 5's record, sound by its checksum. */
    memcpy(two, one, sizeof *one);
    two->revision = 5;
    two->oa_crc = cat_seal(two, oa);
    /* Two records with one file. */
    struct cat_record *three = record_of(&o, 7);
    struct cat_record *four = record_of(&o, 11);
    oa = (struct str){o.slab + four->slot_off, four->oa_len};
    four->file_id = three->file_id;
    four->oa_crc = cat_seal(four, oa);
    look_away(&o);
    struct stv_stats stats;
    struct tally t = recover(&left, &stats);
    assert_int_equal(t.found, OBJECTS - 4);
    assert_false(t.seen[4] || t.seen[5] || t.seen[7] || t.seen[11]);
    assert_int_equal(stats.dropped, 4);
}

/* A record that claims another class in a slab does not take the others with it. */
static void a_foreign_class_loses(void **state)
{
    (void)state;
    struct left left = leave_store();
    struct open_left o = look(&left);
    record_of(&o, 1)->slot_off = record_of(&o, 8)->slot_off / KIB(128) * KIB(128);
    look_away(&o);
    struct stv_stats stats;
    struct tally t = recover(&left, &stats);
    assert_int_equal(t.found, OBJECTS - 1);
    assert_false(t.seen[1]);
}

static bool count_found(void *arg, const struct stv_found *f)
{
    (*(unsigned *)arg)++;
    assert_int_equal(f->record.revision, 3);
    return false;
}

/* What it may have replaced does not come back in its place. */
static void a_damaged_one_still_hides_older_ones(void **state)
{
    (void)state;
    struct left left = {0};
    struct vault_link *link = vault_link__alone();
    struct stv_conf conf = conf_of(link, STORE_BYTES);
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    for (uint64_t revision = 1; revision <= 3; revision++) {
        uint64_t id = revision == 3 ? 2 : 1;
        struct rng rng = {.state = id};
        struct stv_obj *obj = NULL;
        struct stv_record record = model_record(id, revision);
        assert_int_equal(model_fetch(stv, &rng, id, revision, 100, 0, &obj), RC_OK);
        assert_int_equal(model_final(obj, id, 100, &record), RC_OK);
        if (revision == 2) {
            mem_of(stv)->cat.record[mem_obj_of(obj)->record].oa_crc ^= 1;
        }
    }
    left.cat = dup(mem_of(stv)->cat.fd);
    left.slab = dup(mem_of(stv)->slabs.fd);
    stv_close(&stv);
    vault_link_free(&link);
    link = inherit(&left);
    conf = conf_of(link, STORE_BYTES);
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    vault_link_settle(link);
    unsigned found = 0;
    stv_resurrect(stv, count_found, &found);
    assert_int_equal(found, 1);
    struct stv_stats stats;
    stv_stat(stv, &stats);
    assert_int_equal(stats.dropped, 2);
    assert_int_equal(stats.objects, 0);
    stv_close(&stv);
    vault_link_free(&link);
}

static void poison_is_dropped_at_the_second_fault(void **state)
{
    (void)state;
    struct left left = leave_store();
    struct open_left o = look(&left);
    record_of(&o, 1)->faults = 1;
    record_of(&o, 2)->faults = 2;
    record_of(&o, 3)->faults = 255;
    look_away(&o);
    struct stv_stats stats;
    struct tally t = recover(&left, &stats);
    assert_int_equal(t.found, OBJECTS - 2);
    assert_true(t.seen[1]);
}

static void faults_are_noted(void **state)
{
    (void)state;
    struct vault_link *link = vault_link__alone();
    struct stv_conf conf = conf_of(link, STORE_BYTES);
    struct stevedore *stv = NULL;
    struct stv_obj *obj = NULL;
    struct rng rng = {.state = 1};
    struct stv_record record = model_record(1, 1);
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    assert_int_equal(model_fetch(stv, &rng, 1, 1, 10, 0, &obj), RC_OK);
    stv_note_fault(NULL);
    stv_note_fault(obj);
    assert_int_equal(model_final(obj, 1, 10, &record), RC_OK);
    const struct mem *m = mem_of(stv);
    const struct cat_record *r = &m->cat.record[mem_obj_of(obj)->record];
    assert_int_equal(r->faults, 0);
    for (unsigned i = 1; i < 300; i++) {
        stv_note_fault(obj);
        assert_int_equal(r->faults, i < 255 ? i : 255);
    }
    stv_deleteobj(&obj);
    stv_close(&stv);
    vault_link_free(&link);
}

/* Files that are missing cost their objects; what cannot be used at all costs the cache. */
static void missing_files(void **state)
{
    (void)state;
    struct stv_stats stats;
    struct left left = leave_store();
    left.bodies--;
    assert_int_equal(close(left.body[left.bodies]), 0);
    assert_int_equal(ftruncate(left.body[0], (off_t)KIB(40)), 0);
    struct tally t = recover(&left, &stats);
    assert_int_equal(t.found, OBJECTS - 2);

    left = leave_store();
    struct open_left o = look(&left);
    ((struct cat_head *)(void *)o.cat)->store_bytes += 4096;
    look_away(&o);
    assert_int_equal(recover(&left, &stats).found, 0);

    left = leave_store();
    assert_int_equal(ftruncate(left.cat, 1000), 0);
    assert_int_equal(recover(&left, &stats).found, 0);

    left = leave_store();
    assert_int_equal(ftruncate(left.slab, (off_t)MIB(1)), 0);
    assert_int_equal(recover(&left, &stats).found, 0);
}

static void another_size_begins_empty(void **state)
{
    (void)state;
    struct left left = leave_store();
    struct tally t = {0};
    struct vault_link *link = inherit(&left);
    struct stv_conf conf = conf_of(link, 2 * STORE_BYTES);
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    stv_resurrect(stv, take_tally, &t);
    assert_int_equal(t.found, 0);
    /* Nothing of it is held any more. */
    assert_int_equal(vault_link__take(link, "s0", VAULT_BODY, left.body_id[0]), -1);
    stv_close(&stv);
    vault_link_free(&link);
}

/* Random bytes over the catalog, a few or many. */
static void garbage(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rng rng = {.state = seed};
        struct left left = leave_store();
        struct open_left o = look(&left);
        uint64_t hits = UINT64_C(1) << rng_below(&rng, 12);
        for (uint64_t i = 0; i < hits; i++) {
            size_t at = CAT_HEAD_BYTES + rng_below(&rng, OBJECTS * CAT_RECORD_BYTES);
            /* Times are not covered, so their change may be seen; leave the revision to the seal.
             */
            o.cat[at] = (char)rng_u64(&rng);
        }
        look_away(&o);
        struct stv_stats stats;
        struct tally t = recover(&left, &stats);
        assert_true(t.found <= OBJECTS);
        assert_true(t.found + hits >= OBJECTS / 2 || hits > OBJECTS / 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_store_comes_back),
        cmocka_unit_test(flipped_bytes),
        cmocka_unit_test(overlapping_records_are_both_dropped),
        cmocka_unit_test(a_foreign_class_loses),
        cmocka_unit_test(a_damaged_one_still_hides_older_ones),
        cmocka_unit_test(poison_is_dropped_at_the_second_fault),
        cmocka_unit_test(faults_are_noted),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(another_size_begins_empty),
        cmocka_unit_test(garbage),
    };
    return cmocka_run_group_tests_name("store/damage", tests, NULL, NULL);
}
