/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Objects of the memory engine, from newobj to deleteobj.
 *
 * A small object ends as one slot, [body][padding to 8][OA]; a large one as a file with the body,
 * and a slot with the OA.  A length that is known is allocated at once, with the room for the
 * attributes; an unknown one begins with 4 KiB and doubles, moving each time, until it is large
 * enough for a file, in which it then grows in place.
 *
 * Phases: 1 growing: one writer; body, body_len and crc advance at commit.  2 final: the slot has
 * the class of its content (recovery relies on that), the record is LIVE, nothing changes any more
 * but times.  3 dead: the record says so, no queue or table has the object.  4 deleted: the bytes
 * go when the last lease does. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/mutex.h"
#include "run/run.h"
#include "store/mem_priv.h"

#define FIRST_BYTES 4096u
#define MAPS_MAX 8192u

static uint64_t oa_at(uint64_t body_in_slot)
{
    return round_up(body_in_slot, 8);
}

static char *slot_ptr(const struct mem *m, const struct mem_slot *slot)
{
    return m->slabs.base + slot->off;
}

/* ---- new objects ---- */

/* Bodies that are being fetched cannot be evicted for each other.  More of them than fit would all
 * come to a stop half way; so the last are refused at once, when they can still be sent unstored.
 */
static bool promise(struct mem *m, uint64_t bytes)
{
    mem_lock(m);
    bool fits = bytes <= m->bytes_max / 4 * 3 - m->promised_bytes;
    if (fits) {
        m->promised_bytes += bytes;
    }
    mem_unlock(m);
    return fits;
}

/* Under the lock: it is final, or gone. */
static void keep_promise(struct mem *m, struct mem_obj *o)
{
    CHECK(o->promised <= m->promised_bytes);
    m->promised_bytes -= o->promised;
    o->promised = 0;
}

struct mem_obj *mem__obj_new(struct mem *m)
{
    struct mem_obj *o = xcalloc(1, sizeof *o);
    o->obj.magic = STV_OBJ_MAGIC;
    o->obj.stv = &m->stv;
    o->record = CAT_NO_RECORD;
    list_init(&o->queue);
    mem_lock(m);
    m->alive++;
    mem_unlock(m);
    return o;
}

static enum rc mem_newobj(struct stevedore *stv, uint64_t estimate, struct stv_obj **out)
{
    struct mem *m = mem_of(stv);
    if (estimate > m->object_max || !promise(m, estimate)) {
        mem_lock(m);
        m->stats.fails++;
        mem_unlock(m);
        return RC_NOSPACE;
    }
    struct mem_obj *o = mem__obj_new(m);
    o->estimate = estimate;
    o->promised = estimate;
    o->obj.is_verified = true;
    *out = &o->obj;
    return RC_OK;
}

/* ---- growing ---- */

/* Readers hold the old segment by their leases; the object turns to the new one. */
static void move_to(struct mem *m, struct mem_obj *o, struct stv_seg *to)
{
    mem_lock(m);
    struct stv_seg *old = o->body;
    o->body = to;
    mem_unlock(m);
    if (old != NULL) {
        mem__seg_unref(old);
    }
}

static uint64_t grown(const struct mem_obj *o, uint64_t body_len)
{
    if (o->body == NULL) {
        return o->estimate > 0 ? o->estimate : FIRST_BYTES;
    }
    uint64_t doubled = 2 * body_len;
    return doubled > FIRST_BYTES ? doubled : FIRST_BYTES;
}

YIELDS static enum rc grow_in_slots(struct mem *m, struct mem_obj *o, uint64_t body_len,
                                    uint64_t bytes)
{
    struct mem_slot *slot = NULL;
    enum rc rc = mem__slot_new(m, bytes, &slot);
    if (rc != RC_OK) {
        return rc;
    }
    if (body_len > 0) {
        memcpy(slot_ptr(m, slot), slot_ptr(m, mem_slot_of(o->body)), body_len);
    }
    move_to(m, o, &slot->seg);
    return RC_OK;
}

YIELDS static enum rc move_to_file(struct mem *m, struct mem_obj *o, uint64_t body_len,
                                   uint64_t want)
{
    struct mem_file *f = NULL;
    enum rc rc = mem__file_new(m, &f);
    while (rc == RC_OK && f->have_bytes <= body_len) {
        rc = mem__file_extend(f, f->have_bytes, body_len - f->have_bytes + want, o->estimate);
    }
    if (rc != RC_OK) {
        if (f != NULL) {
            struct mem_map *map = mem__file_unmap(m, f);
            if (map != NULL) {
                mem__seg_unref(&map->seg);
            }
            mem__seg_unref(&f->seg);
        }
        return rc;
    }
    if (body_len > 0) {
        memcpy(f->map->ptr, slot_ptr(m, mem_slot_of(o->body)), body_len);
    }
    move_to(m, o, &f->seg);
    return RC_OK;
}

YIELDS static enum rc mem_alloc(struct stv_obj *obj, uint64_t want, void **ptr, size_t *len)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    CHECK(o->interim_bytes == 0);
    uint64_t body_len = obj->body_len;
    if (body_len >= m->object_max) {
        return RC_NOSPACE;
    }
    want = want < m->object_max - body_len ? want : m->object_max - body_len;
    enum rc rc = RC_OK;
    if (o->body != NULL && o->body->kind == MEM_FILE) {
        rc = mem__file_extend(mem_file_of(o->body), body_len, want, o->estimate);
    } else if (o->body == NULL || mem_slot_of(o->body)->bytes == body_len) {
        uint64_t bytes = grown(o, body_len);
        rc = bytes >= m->own_file_min ? move_to_file(m, o, body_len, want)
                                      : grow_in_slots(m, o, body_len, bytes);
    }
    if (rc != RC_OK) {
        return rc;
    }
    uint64_t have = 0;
    if (o->body->kind == MEM_FILE) {
        have = mem_file_of(o->body)->have_bytes;
        *ptr = mem_file_of(o->body)->map->ptr + body_len;
    } else {
        have = mem_slot_of(o->body)->bytes;
        *ptr = slot_ptr(m, mem_slot_of(o->body)) + body_len;
    }
    CHECK(have > body_len);
    want = round_up(want, FIRST_BYTES);
    o->interim_bytes = want < have - body_len ? want : have - body_len;
    *len = o->interim_bytes;
    return RC_OK;
}

/* The bytes before body_len + used, as the writer sees them. */
static const char *written(const struct mem *m, const struct mem_obj *o)
{
    return o->body->kind == MEM_FILE ? mem_file_of(o->body)->map->ptr
                                     : slot_ptr(m, mem_slot_of(o->body));
}

static void mem_commit(struct stv_obj *obj, size_t used)
{
    struct mem_obj *o = mem_obj_of(obj);
    CHECK(used <= o->interim_bytes);
    o->interim_bytes = 0;
    if (used == 0) {
        return;
    }
    uint64_t body_len = obj->body_len;
    o->crc = crc32c(o->crc, written(mem_of(obj->stv), o) + body_len, used);
    atomic_store_explicit(&obj->body_len, body_len + used, memory_order_release);
}

/* ---- becoming final ---- */

struct mem_slot *mem__oa_slot(const struct mem_obj *o)
{
    return o->oa != NULL ? o->oa : mem_slot_of(o->body);
}

/* Finds the place of the OA; afterwards all bytes of the object lie where they stay. */
YIELDS static enum rc settle(struct mem *m, struct mem_obj *o, size_t oa_len)
{
    uint64_t body_len = o->obj.body_len;
    if (o->body != NULL && o->body->kind == MEM_FILE) {
        if (o->oa == NULL) {
            enum rc rc = mem__slot_new(m, oa_len, &o->oa);
            if (rc != RC_OK) {
                return rc;
            }
        }
        return mem__file_finish(mem_file_of(o->body), body_len);
    }
    uint64_t total = oa_at(body_len) + oa_len;
    uint32_t cls = slabs_class(&m->slabs, total);
    if (o->body != NULL && cls != SLAB_NO_CLASS &&
        m->slabs.class_bytes[cls] == mem_slot_of(o->body)->bytes) {
        return RC_OK;
    }
    return grow_in_slots(m, o, body_len, total);
}

void mem__obj_live(struct mem *m, struct mem_obj *o)
{
    const struct mem_slot *slot = mem__oa_slot(o);
    struct slab *slab = slabs_at(&m->slabs, slot->off);
    slab->objs[slabs_slot(&m->slabs, slot->off)] = &o->obj;
    o->estimate = slot->bytes;
    if (o->body->kind == MEM_FILE) {
        o->estimate += mem_file_of(o->body)->charged_bytes;
        o->obj.body_ptr = NULL;
    } else {
        o->obj.body_ptr = slot_ptr(m, slot);
    }
    keep_promise(m, o);
    mem__queue_push(m, o);
    m->stats.objects++;
    atomic_store_explicit(&o->obj.is_final, true, memory_order_release);
}

static enum rc take_record(struct mem *m, struct mem_obj *o)
{
    if (!mem_has_catalog(m)) {
        return RC_OK;
    }
    mem_lock(m);
    o->record = catalog_take_record(&m->cat);
    if (o->record == CAT_NO_RECORD) {
        m->stats.fails++;
    }
    mem_unlock(m);
    return o->record == CAT_NO_RECORD ? RC_NOSPACE : RC_OK;
}

static void write_record(struct mem *m, struct mem_obj *o, const struct stv_record *record)
{
    struct cat_record *r = &m->cat.record[o->record];
    seam_step(m->seam);
    cat_fill(r, record);
    r->generation = atomic_load_explicit(&m->cat.head->generation, memory_order_relaxed);
    r->slot_off = mem__oa_slot(o)->off;
    r->body_len = o->obj.body_len;
    r->file_id = o->body->kind == MEM_FILE ? mem_file_of(o->body)->id : 0;
    r->oa_len = (uint32_t)o->obj.oa.len;
    r->body_crc = o->crc;
    seam_step(m->seam);
}

static void seal_record(struct mem *m, struct mem_obj *o, uint64_t revision)
{
    struct cat_record *r = &m->cat.record[o->record];
    r->revision = revision;
    r->oa_crc = cat_seal(r, o->obj.oa);
    seam_step(m->seam);
}

/* Under the lock. */
static void note_revision(struct mem *m, uint64_t revision)
{
    m->next_revision = revision >= m->next_revision ? revision + 1 : m->next_revision;
}

/* One that a purge killed before it was final stays dead: under the lock it is either seen here, or
 * the killer sees that the object is final and takes the record back. */
static enum rc mem_live(struct stv_obj *obj, uint64_t revision)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    CHECK(o->obj.oa.len > 0);
    mem_lock(m);
    note_revision(m, revision);
    bool is_dead = atomic_load(&o->obj.is_dead);
    if (!is_dead && o->record != CAT_NO_RECORD) {
        seal_record(m, o, revision);
    }
    if (!is_dead) {
        mem__inherit(m, o);
    }
    if (!is_dead && o->record != CAT_NO_RECORD) {
        cat_set_state(&m->cat.record[o->record], CAT_LIVE);
    }
    if (!is_dead) {
        mem__obj_live(m, o);
    }
    mem_unlock(m);
    seam_step(m->seam);
    return is_dead ? RC_STALE : RC_OK;
}

YIELDS static enum rc mem_prepare(struct stv_obj *obj, struct str oa,
                                  const struct stv_record *record)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    CHECK(o->interim_bytes == 0);
    if (oa.len > m->slabs.slab_bytes / 4) {
        return RC_NOSPACE;
    }
    enum rc rc = settle(m, o, oa.len);
    if (rc == RC_OK) {
        rc = take_record(m, o);
    }
    if (rc != RC_OK) {
        return rc;
    }
    seam_step(m->seam);
    uint64_t at = o->body->kind == MEM_FILE ? 0 : oa_at(obj->body_len);
    char *to = slot_ptr(m, mem__oa_slot(o)) + at;
    memcpy(to, oa.ptr, oa.len);
    obj->oa = (struct str){to, oa.len};
    if (mem_has_catalog(m)) {
        CHECK(record != NULL);
        write_record(m, o, record);
    }
    return RC_OK;
}

/* ---- live, dead, deleted ---- */

static void mem_retime(struct stv_obj *obj, const struct stv_record *record)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    if (o->record != CAT_NO_RECORD) {
        cat_retime(&m->cat.record[o->record], record, m->seam);
        seam_step(m->seam);
    }
}

static void mem_dead(struct stv_obj *obj)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    mem_lock(m);
    bool was_alive = !atomic_exchange(&obj->is_dead, true) && obj->is_final;
    if (!was_alive) {
        mem_unlock(m);
        return;
    }
    /* Before the lock is free: whoever is told that it is dead already can rely on that. */
    if (o->record != CAT_NO_RECORD) {
        seam_step(m->seam);
        cat_set_state(&m->cat.record[o->record], CAT_DEAD);
        /* Nothing that follows, a reuse of the bytes least of all, may be seen before. */
        atomic_thread_fence(memory_order_seq_cst);
        seam_step(m->seam);
    }
    const struct mem_slot *slot = mem__oa_slot(o);
    struct slab *slab = slabs_at(&m->slabs, slot->off);
    slab->objs[slabs_slot(&m->slabs, slot->off)] = NULL;
    mem__queue_remove(m, o);
    m->dying_bytes += o->estimate;
    m->stats.objects--;
    mem_unlock(m);
}

/* Under the lock. */
static void forget(struct mem *m, struct mem_obj *o)
{
    m->alive--;
    keep_promise(m, o);
    struct mem_file *f = o->body != NULL && o->body->kind == MEM_FILE ? mem_file_of(o->body) : NULL;
    if (f != NULL) {
        CHECK(f->owners > 0);
        f->owners--;
    }
    if (!o->obj.is_final) {
        return;
    }
    m->dying_bytes -= o->estimate;
    if (f != NULL && f->owners == 0) {
        f->dropped = true;
        m->stats.bytes_lent += f->lent ? f->charged_bytes : 0;
    }
}

void mem__deleteobj(struct stv_obj *obj)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    mem_dead(obj);
    struct mem_map *map = NULL;
    mem_lock(m);
    forget(m, o);
    if (o->record != CAT_NO_RECORD) {
        if (o->is_in_found) {
            mem__found_remove(m, &m->cat.record[o->record].digest, o);
        }
        catalog_free_record(&m->cat, o->record);
    }
    if (o->body != NULL && o->body->kind == MEM_FILE && mem_file_of(o->body)->owners == 0) {
        map = mem__file_unmap(m, mem_file_of(o->body));
    }
    mem_unlock(m);
    if (map != NULL) {
        mem__seg_unref(&map->seg);
    }
    if (o->oa != NULL) {
        mem__seg_unref(&o->oa->seg);
    }
    if (o->body != NULL) {
        mem__seg_unref(o->body);
    }
    obj->magic = 0;
    free(o);
}

/* ---- checking what an earlier worker left ---- */

struct check_job {
    const void *ptr;
    size_t len;
    uint32_t crc;
};

static void check_run(void *arg)
{
    struct check_job *job = arg;
    job->crc = crc32c(0, job->ptr, job->len);
}

YIELDS static enum rc mem_verify(struct stv_obj *obj)
{
    struct mem *m = mem_of(obj->stv);
    struct mem_obj *o = mem_obj_of(obj);
    struct stv_lease lease = {0};
    struct check_job job = {0};
    if (obj->body_len > 0) {
        enum rc rc = mem__ref(obj, 0, true, &lease);
        if (rc != RC_OK) {
            return rc;
        }
        job = (struct check_job){.ptr = lease.ptr, .len = obj->body_len};
        offload(check_run, &job);
        mem__seg_unref(lease.seg);
    }
    CHECK(o->record != CAT_NO_RECORD);
    if (job.crc != m->cat.record[o->record].body_crc) {
        return RC_DAMAGED;
    }
    atomic_store_explicit(&obj->is_verified, true, memory_order_release);
    return RC_OK;
}

static void mem_note_fault(struct stv_obj *obj)
{
    struct mem_obj *o = CONTAINER_OF(obj, struct mem_obj, obj);
    struct mem *m = CONTAINER_OF(obj->stv, struct mem, stv);
    if (o->record < m->cat.records) {
        _Atomic uint8_t *faults = &m->cat.record[o->record].faults;
        if (atomic_load_explicit(faults, memory_order_relaxed) < UINT8_MAX) {
            atomic_fetch_add_explicit(faults, 1, memory_order_relaxed);
        }
    }
}

/* ---- the store ---- */

static uint64_t mem_revision_next(struct stevedore *stv)
{
    struct mem *m = mem_of(stv);
    mem_lock(m);
    uint64_t revision = cat_reserve(
        &m->next_revision, mem_has_catalog(m) ? &m->cat.head->revision_reserved : NULL, m->seam);
    mem_unlock(m);
    return revision;
}

static void mem_revision_seen(struct stevedore *stv, uint64_t revision)
{
    struct mem *m = mem_of(stv);
    CHECK(revision < UINT64_MAX / 2);
    mem_lock(m);
    if (revision >= m->next_revision) {
        m->next_revision = revision;
        (void)cat_reserve(&m->next_revision,
                          mem_has_catalog(m) ? &m->cat.head->revision_reserved : NULL, m->seam);
    }
    mem_unlock(m);
}

static void mem_stat(struct stevedore *stv, struct stv_stats *out)
{
    struct mem *m = mem_of(stv);
    mem_lock(m);
    *out = m->stats;
    out->bytes_max = m->bytes_max;
    out->bytes_used = mem_used(m);
    out->files = m->files;
    mem_unlock(m);
}

static uint64_t mem_lent_max(struct stevedore *stv, uint64_t bytes)
{
    struct mem *m = mem_of(stv);
    mem_lock(m);
    uint64_t old = m->lent_max;
    m->lent_max = bytes;
    mem_unlock(m);
    return old;
}

/* Without DEAD, drop or truncation: what the vault holds is for the next worker. */
static void leave(struct mem_obj *o)
{
    if (o->body->kind == MEM_FILE) {
        struct mem_file *f = mem_file_of(o->body);
        if (--f->owners == 0) {
            if (f->map != NULL) {
                CHECK(f->map->seg.refs == 1);
                CHECK(munmap(f->map->ptr, f->map->len) == 0);
                free(f->map);
            }
            (void)close(f->fd);
            free(f);
        }
    } else {
        free(mem_slot_of(o->body));
    }
    free(o->oa);
    free(o);
}

static void mem_close(struct stevedore *stv)
{
    struct mem *m = mem_of(stv);
    CHECK(m->alive == m->stats.objects);
    struct list *node;
    while ((node = list_pop_front(&m->queue)) != NULL) {
        leave(CONTAINER_OF(node, struct mem_obj, queue));
    }
    mem__found_end(m);
    slabs_close(&m->slabs);
    catalog_close(&m->cat);
    mutex_fini(&m->lock);
    m->stv.magic = 0;
    free(m);
}

static const struct stv_ops mem_ops = {
    .close = mem_close,
    .newobj = mem_newobj,
    .alloc = mem_alloc,
    .commit = mem_commit,
    .adopt = mem__adopt,
    .ref = mem__ref,
    .rel = mem__seg_unref,
    .prepare = mem_prepare,
    .live = mem_live,
    .payload = mem__payload,
    .verify = mem_verify,
    .retime = mem_retime,
    .dead = mem_dead,
    .deleteobj = mem__deleteobj,
    .resurrect = mem__resurrect,
    .entomb = mem__entomb,
    .revision_next = mem_revision_next,
    .revision_seen = mem_revision_seen,
    .stat = mem_stat,
    .lent_max = mem_lent_max,
    .note_fault = mem_note_fault,
};

/* Descriptors are everyone's: connections, backends, logs.  Half is ours at most, and of that the
 * transient store takes the smaller part. */
static uint32_t files_limit(const struct stv_conf *conf)
{
    if (conf->files_max > 0) {
        return conf->files_max;
    }
    struct rlimit lim;
    CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
    uint64_t most = lim.rlim_cur < UINT32_MAX ? lim.rlim_cur : UINT32_MAX;
    return (uint32_t)(most / (conf->kind == STV_TRANSIENT ? 8 : 2)) + 1;
}

static enum rc open_fresh(struct mem *m, uint64_t slab_bytes)
{
    int none = -1;
    enum rc rc = slabs_open(&m->slabs, m->bytes_max, slab_bytes, &none, m->seam);
    if (rc != RC_OK || m->link == NULL) {
        return rc;
    }
    vault_link__drop_store(m->link, m->stv.name);
    rc = catalog_make(&m->cat, m->bytes_max, slab_bytes, m->seam);
    if (rc == RC_OK) {
        seam_step(m->seam);
        rc = vault_link__put(m->link, m->stv.name, VAULT_SLAB, 0, m->slabs.fd);
    }
    if (rc == RC_OK) {
        seam_step(m->seam);
        rc = vault_link__put(m->link, m->stv.name, VAULT_CATALOG, 0, m->cat.fd);
    }
    if (rc != RC_OK) {
        catalog_close(&m->cat);
        slabs_close(&m->slabs);
    }
    return rc;
}

enum rc mem_open(const struct stv_conf *conf, struct stevedore **out)
{
    struct mem *m = xcalloc(1, sizeof *m);
    m->stv.magic = STEVEDORE_MAGIC;
    m->stv.kind = conf->kind;
    m->stv.ops = &mem_ops;
    memcpy(m->stv.name, conf->name, sizeof m->stv.name);
    CHECK(memchr(m->stv.name, '\0', sizeof m->stv.name) != NULL);
    mutex_init(&m->lock);
    m->link = conf->kind == STV_MEMORY ? conf->vault : NULL;
    m->owner_ops = conf->owner_ops;
    m->seam = conf->seam;
    m->bytes_max = round_up(conf->bytes, SLAB_PAGE);
    m->reserve_bytes = m->bytes_max / 64;
    m->reserve_bytes =
        m->reserve_bytes < (UINT64_C(1) << 20) ? UINT64_C(1) << 20 : m->reserve_bytes;
    m->reserve_bytes =
        m->reserve_bytes > (UINT64_C(64) << 20) ? UINT64_C(64) << 20 : m->reserve_bytes;
    m->reserve_bytes = m->reserve_bytes < m->bytes_max / 8 ? m->reserve_bytes : m->bytes_max / 8;
    m->object_max = (m->bytes_max - m->reserve_bytes) / 2;
    m->files_max = files_limit(conf);
    m->maps_max = MAPS_MAX;
    m->lent_max = m->bytes_max / 2;
    m->cat.fd = -1;
    m->next_revision = 1;
    m->next_file_id = 1;
    list_init(&m->queue);
    list_init(&m->mapped);
    m->hand = &m->queue;
    m->seeker = &m->queue;
    uint64_t slab_bytes = 0;
    slabs_sizes(m->bytes_max, m->files_max, &slab_bytes, &m->own_file_min);
    enum rc rc = m->link == NULL ? RC_NOT_FOUND : mem__recover(m, slab_bytes);
    if (rc == RC_NOT_FOUND) {
        rc = open_fresh(m, slab_bytes);
    }
    if (rc != RC_OK) {
        mutex_fini(&m->lock);
        free(m);
        return rc;
    }
    *out = &m->stv;
    return RC_OK;
}
