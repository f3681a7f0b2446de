/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What an earlier worker left.  Only the catalog's LIVE records count, and none is believed further
 * than it can be checked: any byte of the catalog and the slabs may be garbage.
 *
 *   1 read   LIVE records
 *   2 hide   records below a superseding one of the same digest; then drop those whose numbers are
 *            out of range, and poison
 *   3 class  each slab has one; where records disagree the checksums decide, else all of them go
 *   4 claim  slots and files; what two records claim is given to neither
 *   5 build  objects, newest in front of the queue; everything else is free: slabs are punched,
 *            files dropped
 *
 * This happens before the store opens.  Reading all attributes would take longer than a client
 * should wait, so their checksums are tested in stv_resurrect, in the background, before anyone
 * sees the object; and bodies in slots are tested before they are first served (stv_verify).
 *
 * A worker that dies in here leaves no less than it found: all it stores is DEAD. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/mem_priv.h"

#define POISON_FAULTS 2

struct candidate {
    uint64_t revision;
    uint32_t record;
    uint32_t cls;
};

struct recovery {
    struct mem *m;
    struct candidate *found;
    size_t count;
    uint32_t *slab_cls; /* SLAB_NO_CLASS: none yet */
    bool *slab_mixed;
};

static struct cat_record *record_of(const struct recovery *rec, const struct candidate *c)
{
    return &rec->m->cat.record[c->record];
}

static void drop(struct recovery *rec, struct candidate *c)
{
    seam_step(rec->m->seam);
    cat_set_state(record_of(rec, c), CAT_DEAD);
    rec->m->stats.dropped++;
    c->record = CAT_NO_RECORD;
}

/* Closes the gaps that drop leaves. */
static void compact(struct recovery *rec)
{
    size_t kept = 0;
    for (size_t i = 0; i < rec->count; i++) {
        if (rec->found[i].record != CAT_NO_RECORD) {
            rec->found[kept++] = rec->found[i];
        }
    }
    rec->count = kept;
}

/* Where the OA begins in its slot. */
static uint64_t oa_at(const struct cat_record *r)
{
    return r->file_id != 0 ? 0 : round_up(r->body_len, 8);
}

static struct str oa_of(const struct mem *m, const struct cat_record *r)
{
    return (struct str){m->slabs.base + r->slot_off + oa_at(r), r->oa_len};
}

/* ---- 1 read ---- */

/* The class that its content says, or SLAB_NO_CLASS if the numbers make no sense. */
static uint32_t class_of(const struct mem *m, const struct cat_record *r)
{
    const struct slabs *s = &m->slabs;
    if (r->revision >= UINT64_MAX / 2 || r->oa_len == 0 || r->oa_len > s->slab_bytes / 4 ||
        r->body_len > m->bytes_max || (r->file_id != 0 && r->body_len == 0) ||
        (r->flags & ~CAT_SUPERSEDES) != 0 || r->slot_off >= s->file_bytes ||
        (r->file_id == 0 && r->body_len > s->slot_max)) {
        return SLAB_NO_CLASS;
    }
    uint32_t cls = slabs_class(s, oa_at(r) + r->oa_len);
    if (cls == SLAB_NO_CLASS) {
        return SLAB_NO_CLASS;
    }
    uint64_t size = s->class_bytes[cls];
    uint64_t inside = r->slot_off % s->slab_bytes;
    return inside % size == 0 && inside / size < s->slab_bytes / size ? cls : SLAB_NO_CLASS;
}

static void read_records(struct recovery *rec)
{
    struct mem *m = rec->m;
    rec->found = xcalloc(m->cat.records, sizeof *rec->found);
    for (uint32_t i = 0; i < m->cat.records; i++) {
        const struct cat_record *r = &m->cat.record[i];
        if (cat_state(r) == CAT_LIVE) {
            rec->found[rec->count++] =
                (struct candidate){.revision = r->revision, .record = i, .cls = class_of(m, r)};
        }
    }
}

static bool is_poison(const struct cat_record *r)
{
    return atomic_load_explicit(&r->faults, memory_order_relaxed) >= POISON_FAULTS;
}

/* ---- 2 hide ---- */

struct newest {
    const struct digest *digest; /* NULL: free place */
    uint64_t revision;
};

struct newest_table {
    struct newest *places;
    unsigned bits;
    uint64_t secret;
};

static struct newest *place_of(const struct newest_table *t, const struct digest *digest)
{
    size_t mask = ((size_t)1 << t->bits) - 1;
    size_t at = digest_place(digest, t->secret, t->bits);
    while (t->places[at].digest != NULL && !digest_eq(t->places[at].digest, digest)) {
        at = (at + 1) & mask;
    }
    return &t->places[at];
}

/* A record that is itself no good still hides what it was to replace. */
static void hide_and_drop(struct recovery *rec)
{
    struct newest_table table = {.bits = 4, .secret = digest_secret()};
    while ((size_t)1 << table.bits < 2 * rec->count) {
        table.bits++;
    }
    table.places = xcalloc((size_t)1 << table.bits, sizeof *table.places);
    for (size_t i = 0; i < rec->count; i++) {
        const struct cat_record *r = record_of(rec, &rec->found[i]);
        if ((r->flags & CAT_SUPERSEDES) != 0) {
            struct newest *n = place_of(&table, &r->digest);
            n->digest = &r->digest;
            n->revision = r->revision > n->revision ? r->revision : n->revision;
        }
    }
    for (size_t i = 0; i < rec->count; i++) {
        struct candidate *c = &rec->found[i];
        const struct cat_record *r = record_of(rec, c);
        const struct newest *n = place_of(&table, &r->digest);
        bool hidden = n->digest != NULL && r->revision < n->revision;
        if (hidden || c->cls == SLAB_NO_CLASS || is_poison(r)) {
            drop(rec, c);
        }
    }
    free(table.places);
    compact(rec);
}

/* ---- 3 class ---- */

static size_t slab_index(const struct recovery *rec, const struct candidate *c)
{
    return record_of(rec, c)->slot_off / rec->m->slabs.slab_bytes;
}

static bool find_classes(struct recovery *rec, bool only_mixed)
{
    bool agreed = true;
    for (size_t i = 0; i < rec->count; i++) {
        const struct candidate *c = &rec->found[i];
        size_t slab = slab_index(rec, c);
        if (only_mixed && !rec->slab_mixed[slab]) {
            continue;
        }
        if (rec->slab_cls[slab] == SLAB_NO_CLASS) {
            rec->slab_cls[slab] = c->cls;
        } else if (rec->slab_cls[slab] != c->cls) {
            agreed = false;
            /* In the second pass this class stays a mark that no record can match. */
            rec->slab_cls[slab] = only_mixed ? SLAB_CLASSES_MAX : rec->slab_cls[slab];
            rec->slab_mixed[slab] = true;
        }
    }
    return agreed;
}

static bool is_sound(const struct mem *m, const struct cat_record *r)
{
    return cat_seal(r, oa_of(m, r)) == r->oa_crc;
}

static void settle_classes(struct recovery *rec)
{
    const struct slabs *s = &rec->m->slabs;
    rec->slab_cls = xmalloc(s->count * sizeof *rec->slab_cls);
    rec->slab_mixed = xcalloc(s->count, sizeof *rec->slab_mixed);
    for (uint32_t i = 0; i < s->count; i++) {
        rec->slab_cls[i] = SLAB_NO_CLASS;
    }
    if (!find_classes(rec, false)) {
        for (size_t i = 0; i < rec->count; i++) {
            struct candidate *c = &rec->found[i];
            if (rec->slab_mixed[slab_index(rec, c)]) {
                rec->slab_cls[slab_index(rec, c)] = SLAB_NO_CLASS;
                if (!is_sound(rec->m, record_of(rec, c))) {
                    drop(rec, c);
                }
            }
        }
        compact(rec);
        (void)find_classes(rec, true);
        for (size_t i = 0; i < rec->count; i++) {
            struct candidate *c = &rec->found[i];
            if (rec->slab_cls[slab_index(rec, c)] != c->cls) {
                drop(rec, c);
            }
        }
        compact(rec);
    }
    XFREE(rec->slab_cls);
    XFREE(rec->slab_mixed);
}

/* ---- 4 claim and 5 build ---- */

static int newest_last(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    return x->revision < y->revision ? -1 : x->revision > y->revision;
}

/* Takes the file that the record names from the vault's table. */
static struct mem_file *claim_file(struct mem *m, const struct cat_record *r)
{
    int fd = vault_link__take(m->link, m->stv.name, VAULT_BODY, r->file_id);
    if (fd < 0) {
        return NULL;
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size < r->body_len) {
        vault_link__drop(m->link, m->stv.name, VAULT_BODY, r->file_id);
        (void)close(fd);
        return NULL;
    }
    struct mem_file *f = mem__file_wrap(m, fd, r->file_id);
    f->have_bytes = r->body_len;
    f->final = true;
    f->announced = true;
    /* The worker that died may have had it in flight. */
    f->lent = true;
    m->files++;
    mem__file_count(m, f);
    return f;
}

/* The object found before that has the file, or NULL.  by_file is open addressed, mask + 1 places
 * of which at least half are free. */
static struct mem_obj **file_place(struct mem_obj **by_file, size_t mask, uint64_t id)
{
    size_t at = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;
    while (by_file[at] != NULL && mem_file_of(by_file[at]->body)->id != id) {
        at = (at + 1) & mask;
    }
    return &by_file[at];
}

/* The object found before that has the slot. */
static struct mem_obj *slot_holder(struct mem *m, uint64_t off)
{
    struct stv_obj *obj = slabs_at(&m->slabs, off)->objs[slabs_slot(&m->slabs, off)];
    CHECK(obj != NULL);
    return mem_obj_of(obj);
}

static struct mem_obj *build(struct mem *m, const struct candidate *c, struct mem_file *file)
{
    const struct cat_record *r = &m->cat.record[c->record];
    struct mem_slot *slot = mem__slot_wrap(m, r->slot_off, m->slabs.class_bytes[c->cls]);
    struct mem_obj *o = mem__obj_new(m);
    o->record = c->record;
    o->unclaimed = true;
    mem__found_add(m, o);
    o->obj.oa = oa_of(m, r);
    atomic_init(&o->obj.body_len, r->body_len);
    if (file != NULL) {
        o->oa = slot;
        o->body = &file->seg;
    } else {
        o->body = &slot->seg;
    }
    o->obj.is_verified = file != NULL || r->body_len == 0;
    mem__obj_live(m, o);
    m->stats.recovered++;
    return o;
}

/* One record.  What it shares with one before it makes both drop. */
static void claim(struct recovery *rec, struct candidate *c, struct mem_obj **by_file, size_t mask)
{
    struct mem *m = rec->m;
    const struct cat_record *r = record_of(rec, c);
    struct mem_file *file = NULL;
    if (r->file_id != 0) {
        file = claim_file(m, r);
        if (file == NULL) {
            struct mem_obj *other = *file_place(by_file, mask, r->file_id);
            if (other != NULL) {
                other->overlaps = true;
            }
            drop(rec, c);
            return;
        }
    }
    enum rc rc = slabs_adopt(&m->slabs, c->cls, r->slot_off);
    if (rc != RC_OK) {
        CHECK(rc == RC_EXISTS);
        slot_holder(m, r->slot_off)->overlaps = true;
        drop(rec, c);
        if (file != NULL) {
            mem__seg_unref(&file->seg);
        }
        return;
    }
    struct mem_obj *o = build(m, c, file);
    if (file != NULL) {
        *file_place(by_file, mask, file->id) = o;
        if (file->id >= m->next_file_id && file->id < UINT64_MAX / 4) {
            m->next_file_id = file->id + 1;
        }
    }
}

static void claim_all(struct recovery *rec)
{
    size_t mask = 15;
    while (mask < 2 * rec->count) {
        mask = 2 * mask + 1;
    }
    struct mem_obj **by_file = xcalloc(mask + 1, sizeof(struct mem_obj *));
    for (size_t i = 0; i < rec->count; i++) {
        claim(rec, &rec->found[i], by_file, mask);
    }
    free(by_file);
}

/* Those that were found to overlap with one that came later. */
static void delete_overlapping(struct mem *m)
{
    LIST_FOREACH_SAFE (node, &m->queue) {
        struct mem_obj *o = CONTAINER_OF(node, struct mem_obj, queue);
        if (o->overlaps) {
            m->stats.recovered--;
            m->stats.dropped++;
            mem__deleteobj(&o->obj);
        }
    }
}

static void free_other_records(struct mem *m)
{
    for (uint32_t i = m->cat.records; i > 0; i--) {
        if (cat_state(&m->cat.record[i - 1]) != CAT_LIVE) {
            catalog_free_record(&m->cat, i - 1);
        }
    }
}

static uint64_t number_after(const _Atomic uint64_t *reserved)
{
    uint64_t number = atomic_load_explicit(reserved, memory_order_relaxed);
    return number > 0 && number < UINT64_MAX / 4 ? number : 1;
}

static enum rc adopt_files(struct mem *m, uint64_t slab_bytes)
{
    int cat_fd = vault_link__take(m->link, m->stv.name, VAULT_CATALOG, 0);
    int slab_fd = vault_link__take(m->link, m->stv.name, VAULT_SLAB, 0);
    struct stat st;
    enum rc rc = RC_MALFORMED;
    if (cat_fd >= 0 && slab_fd >= 0 && fstat(slab_fd, &st) == 0 &&
        (uint64_t)st.st_size == slabs_file_bytes(m->bytes_max, slab_bytes)) {
        rc = catalog_adopt(&m->cat, m->bytes_max, slab_bytes, &cat_fd, m->seam);
    }
    if (rc == RC_OK) {
        rc = slabs_open(&m->slabs, m->bytes_max, slab_bytes, &slab_fd, m->seam);
        if (rc != RC_OK) {
            catalog_close(&m->cat);
        }
    }
    if (cat_fd >= 0) {
        (void)close(cat_fd);
    }
    if (slab_fd >= 0) {
        (void)close(slab_fd);
    }
    return rc == RC_OK ? RC_OK : RC_NOT_FOUND;
}

enum rc mem__recover(struct mem *m, uint64_t slab_bytes)
{
    enum rc rc = adopt_files(m, slab_bytes);
    if (rc != RC_OK) {
        return rc;
    }
    m->next_revision = number_after(&m->cat.head->revision_reserved);
    m->next_file_id = number_after(&m->cat.head->file_id_reserved);
    struct recovery rec = {.m = m};
    read_records(&rec);
    hide_and_drop(&rec);
    settle_classes(&rec);
    qsort(rec.found, rec.count, sizeof *rec.found, newest_last);
    uint64_t newest = rec.count > 0 ? rec.found[rec.count - 1].revision : 0;
    mem__found_begin(m, rec.count);
    claim_all(&rec);
    if (newest > 0) {
        stv_revision_seen(&m->stv, newest);
    }
    free(rec.found);
    /* Before objects are deleted, each of which frees one more. */
    free_other_records(m);
    delete_overlapping(m);
    vault_link__drop_rest(m->link, m->stv.name);
    rc = slabs_settle(&m->slabs);
    if (rc != RC_OK) {
        /* Some pages could not be had: what lies there would fault.  Begin anew. */
        struct list *node;
        while ((node = m->queue.next) != &m->queue) {
            mem__deleteobj(&CONTAINER_OF(node, struct mem_obj, queue)->obj);
        }
        mem__found_end(m);
        slabs_close(&m->slabs);
        catalog_close(&m->cat);
        return RC_NOT_FOUND;
    }
    m->hand = &m->queue;
    m->seeker = m->queue.next;
    return RC_OK;
}

/* ---- resurrect ---- */

void mem__resurrect(struct stevedore *stv, stv_found_fn *fn, void *arg)
{
    struct mem *m = mem_of(stv);
    for (;;) {
        struct mem_obj *o = NULL;
        mem_lock(m);
        while (o == NULL && m->seeker != &m->queue) {
            struct mem_obj *at = CONTAINER_OF(m->seeker, struct mem_obj, queue);
            m->seeker = m->seeker->next;
            if (at->unclaimed) {
                /* Ours now: eviction passes it by until it has an owner. */
                at->unclaimed = false;
                o = at;
            }
        }
        if (o == NULL) {
            mem__found_end(m);
        }
        mem_unlock(m);
        if (o == NULL) {
            return;
        }
        const struct cat_record *r = &m->cat.record[o->record];
        bool is_entombed = cat_state(r) != CAT_LIVE;
        if (is_entombed || !is_sound(m, r)) {
            /* The callback cannot tell what an unsound one has replaced. */
            mem__entomb_older(m, o);
            mem_lock(m);
            m->stats.recovered--;
            m->stats.dropped++;
            mem_unlock(m);
            mem__deleteobj(&o->obj);
            continue;
        }
        struct stv_found found = {
            .obj = &o->obj, .record = cat_read(r), .oa = o->obj.oa, .body_len = o->obj.body_len};
        if (!fn(arg, &found)) {
            mem__deleteobj(&o->obj);
            continue;
        }
        mem_lock(m);
        mem__found_remove(m, &found.record.digest, o);
        mem_unlock(m);
    }
}
