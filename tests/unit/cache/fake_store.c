/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "fake_store.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

enum { SEGS_MAX = 512 };

struct stv_seg {
    _Atomic unsigned refs;
    struct stevedore *stv;
    uint64_t off;
    size_t len;
    char *bytes;
};

struct stv_obj {
    struct stevedore *stv;
    struct list link;
    void *owner;
    bool is_final;
    bool is_dead;
    struct stv_record record;
    char *oa;
    size_t oa_len;
    struct stv_seg *segs[SEGS_MAX];
    unsigned seg_count;
    bool has_interim;
    uint64_t body_len;
};

static void lock(struct stevedore *stv)
{
    pthread_mutex_lock(&stv->lock);
}

static void unlock(struct stevedore *stv)
{
    pthread_mutex_unlock(&stv->lock);
}

static bool must_fail(_Atomic int *left)
{
    if (atomic_load(left) <= 0) {
        return false;
    }
    return atomic_fetch_sub(left, 1) > 0;
}

void fake_init(struct stevedore *stv, const struct stv_owner_ops *ops)
{
    *stv = (struct stevedore){.owner_ops = ops, .alloc_bytes = 4096};
    pthread_mutex_init(&stv->lock, NULL);
    list_init(&stv->objs);
    atomic_store(&stv->revision, 1000);
}

static struct stv_seg *seg_new(struct stevedore *stv, uint64_t off, size_t len)
{
    struct stv_seg *seg = xcalloc(1, sizeof *seg);
    atomic_store(&seg->refs, 1);
    seg->stv = stv;
    seg->off = off;
    seg->len = len;
    seg->bytes = xmalloc(len);
    atomic_fetch_add(&stv->segs, 1);
    return seg;
}

static void seg_unref(struct stv_seg *seg)
{
    if (atomic_fetch_sub(&seg->refs, 1) == 1) {
        atomic_fetch_sub(&seg->stv->segs, 1);
        free(seg->bytes);
        free(seg);
    }
}

static void obj_free(struct stv_obj *obj)
{
    for (unsigned i = 0; i < obj->seg_count; i++) {
        seg_unref(obj->segs[i]);
    }
    atomic_fetch_sub(&obj->stv->objects, 1);
    list_remove(&obj->link);
    free(obj->oa);
    free(obj);
}

void fake_fini(struct stevedore *stv)
{
    LIST_FOREACH_SAFE (node, &stv->objs) {
        struct stv_obj *obj = CONTAINER_OF(node, struct stv_obj, link);
        CHECK(obj->is_final);
        CHECK(!obj->is_dead);
        obj_free(obj);
    }
    CHECK(atomic_load(&stv->objects) == 0);
    CHECK(atomic_load(&stv->segs) == 0);
    pthread_mutex_destroy(&stv->lock);
}

/* ---- fetching ---- */

enum rc stv_newobj(struct stevedore *stv, uint64_t estimate, struct stv_obj **out)
{
    (void)estimate;
    if (must_fail(&stv->fail_newobj)) {
        return RC_NOSPACE;
    }
    struct stv_obj *obj = xcalloc(1, sizeof *obj);
    obj->stv = stv;
    lock(stv);
    list_push_back(&stv->objs, &obj->link);
    unlock(stv);
    atomic_fetch_add(&stv->objects, 1);
    *out = obj;
    return RC_OK;
}

enum rc stv_alloc(struct stv_obj *obj, uint64_t want, void **ptr, size_t *len)
{
    struct stevedore *stv = obj->stv;
    CHECK(!obj->has_interim);
    CHECK(!obj->is_final);
    if (stv->yields && fiber_self() != NULL) {
        fiber_yield();
    }
    if (must_fail(&stv->fail_alloc)) {
        return RC_NOSPACE;
    }
    CHECK(obj->seg_count < SEGS_MAX);
    size_t bytes = want < stv->alloc_bytes ? (size_t)want : stv->alloc_bytes;
    if (stv->alloc_round > 0) {
        bytes += stv->alloc_round - bytes % stv->alloc_round;
    }
    struct stv_seg *seg = seg_new(stv, obj->body_len, bytes);
    memset(seg->bytes, 0xee, bytes);
    lock(stv);
    obj->segs[obj->seg_count++] = seg;
    obj->has_interim = true;
    unlock(stv);
    *ptr = seg->bytes;
    *len = bytes;
    return RC_OK;
}

void stv_commit(struct stv_obj *obj, size_t used)
{
    struct stevedore *stv = obj->stv;
    CHECK(obj->has_interim);
    struct stv_seg *old = obj->segs[obj->seg_count - 1];
    CHECK(used <= old->len);
    /* Bytes move: readers that still look at the old ones must have a reference. */
    struct stv_seg *moved = used == 0 ? NULL : seg_new(stv, old->off, used);
    if (moved != NULL) {
        memcpy(moved->bytes, old->bytes, used);
    }
    lock(stv);
    if (moved != NULL) {
        obj->segs[obj->seg_count - 1] = moved;
    } else {
        obj->seg_count--;
    }
    obj->body_len += used;
    obj->has_interim = false;
    unlock(stv);
    seg_unref(old);
}

enum rc stv_ref(struct stv_obj *obj, uint64_t body_off, bool map, struct stv_lease *out)
{
    enum rc rc = RC_NOT_FOUND;
    lock(obj->stv);
    for (unsigned i = 0; i < obj->seg_count; i++) {
        struct stv_seg *seg = obj->segs[i];
        if (body_off >= seg->off && body_off < seg->off + seg->len) {
            atomic_fetch_add(&seg->refs, 1);
            *out = (struct stv_lease){.seg = seg, .body_off = body_off};
            out->ptr = map ? seg->bytes + (body_off - seg->off) : NULL;
            out->len = (size_t)(seg->off + seg->len - body_off);
            rc = RC_OK;
        }
    }
    unlock(obj->stv);
    return rc;
}

enum rc stv_adopt(struct stv_obj *obj, struct stv_obj *from)
{
    (void)obj;
    (void)from;
    return RC_UNSUPPORTED;
}

void stv_rel(struct stv_lease *lease)
{
    if (lease->seg != NULL) {
        seg_unref(lease->seg);
    }
    lease->seg = NULL;
}

enum rc stv_prepare(struct stv_obj *obj, struct str oa, const struct stv_record *record)
{
    struct stevedore *stv = obj->stv;
    CHECK(!obj->has_interim);
    if (stv->yields && fiber_self() != NULL) {
        fiber_yield();
    }
    if (stv->in_final != NULL) {
        stv->in_final(stv->in_final_arg);
    }
    atomic_fetch_add(&stv->finals, 1);
    if (must_fail(&stv->fail_final)) {
        return RC_NOSPACE;
    }
    CHECK(!obj->is_final);
    CHECK(obj->oa == NULL);
    obj->oa = xmalloc(oa.len + 1);
    memcpy(obj->oa, oa.ptr, oa.len);
    obj->oa_len = oa.len;
    obj->record = *record;
    return RC_OK;
}

enum rc stv_live(struct stv_obj *obj, uint64_t revision)
{
    struct stevedore *stv = obj->stv;
    enum rc rc = RC_OK;
    lock(stv);
    CHECK(!obj->is_final);
    CHECK(obj->oa != NULL);
    if (obj->is_dead) {
        rc = RC_STALE;
    } else {
        obj->record.revision = revision;
        obj->is_final = true;
        atomic_fetch_add(&stv->live, 1);
    }
    unlock(stv);
    return rc;
}

/* ---- live ---- */

struct stevedore *stv_of(const struct stv_obj *obj)
{
    return obj->stv;
}

void stv_set_owner(struct stv_obj *obj, void *owner)
{
    lock(obj->stv);
    obj->owner = owner;
    unlock(obj->stv);
}

const void *stv_body_ptr(const struct stv_obj *obj)
{
    (void)obj;
    return NULL;
}

struct str stv_oa(const struct stv_obj *obj)
{
    CHECK(obj->is_final);
    return (struct str){obj->oa, obj->oa_len};
}

uint64_t stv_body_len(const struct stv_obj *obj)
{
    return obj->body_len;
}

enum rc stv_payload(struct stv_obj *obj, struct obj_fd_payload *out)
{
    *out = (struct obj_fd_payload){.fd = 0, .off = 100, .len = obj->body_len};
    return RC_OK;
}

void stv_touch(struct stv_obj *obj)
{
    atomic_fetch_add_explicit(&obj->stv->touched, 1, memory_order_relaxed);
}

void stv_retime(struct stv_obj *obj, const struct stv_record *record)
{
    lock(obj->stv);
    CHECK(obj->is_final);
    obj->record = *record;
    unlock(obj->stv);
}

bool fake_record(struct stevedore *stv, const struct digest *digest, struct stv_record *out)
{
    bool is_there = false;
    lock(stv);
    for (struct list *at = stv->objs.next; at != &stv->objs; at = at->next) {
        const struct stv_obj *obj = CONTAINER_OF(at, struct stv_obj, link);
        if (obj->is_final && !obj->is_dead && digest_eq(&obj->record.digest, digest)) {
            *out = obj->record;
            is_there = true;
        }
    }
    unlock(stv);
    return is_there;
}

void stv_dead(struct stv_obj *obj)
{
    struct stevedore *stv = obj->stv;
    lock(stv);
    bool is_live = obj->is_final && !obj->is_dead;
    unlock(stv);
    if (is_live && stv->before_dead != NULL) {
        stv->before_dead(stv->before_dead_arg);
    }
    lock(stv);
    if (obj->is_final && !obj->is_dead) {
        atomic_fetch_sub(&obj->stv->live, 1);
    }
    obj->is_dead = true;
    unlock(obj->stv);
}

void stv_deleteobj(struct stv_obj **obj)
{
    struct stv_obj *gone = *obj;
    *obj = NULL;
    struct stevedore *stv = gone->stv;
    if (stv->before_delete != NULL && gone->owner != NULL) {
        stv->before_delete(stv->before_delete_arg, gone->owner);
    }
    stv_dead(gone);
    lock(stv);
    obj_free(gone);
    unlock(stv);
}

bool fake_evict(struct stevedore *stv)
{
    void *owner = NULL;
    lock(stv);
    LIST_FOREACH (node, &stv->objs) {
        struct stv_obj *obj = CONTAINER_OF(node, struct stv_obj, link);
        if (obj->is_final && !obj->is_dead && obj->owner != NULL &&
            stv->owner_ops->grab(obj->owner)) {
            owner = obj->owner;
            break;
        }
    }
    unlock(stv);
    if (owner != NULL) {
        stv->owner_ops->evict(owner);
    }
    return owner != NULL;
}

unsigned fake_live_of(struct stevedore *stv, const struct digest *digest)
{
    unsigned n = 0;
    lock(stv);
    LIST_FOREACH (node, &stv->objs) {
        const struct stv_obj *obj = CONTAINER_OF(node, struct stv_obj, link);
        n += obj->is_final && !obj->is_dead && digest_eq(&obj->record.digest, digest);
    }
    unlock(stv);
    return n;
}

bool fake_is_live(struct stevedore *stv, const struct digest *digest)
{
    return fake_live_of(stv, digest) > 0;
}

/* ---- what an earlier worker left ---- */

struct stv_obj *fake_left_behind(struct stevedore *stv, struct str oa, struct str body)
{
    struct stv_obj *obj = NULL;
    enum rc rc = stv_newobj(stv, 0, &obj);
    CHECK(rc == RC_OK);
    obj->oa = str_dup(oa);
    memcpy(obj->oa, oa.ptr, oa.len);
    obj->oa_len = oa.len;
    if (body.len > 0) {
        obj->segs[0] = seg_new(stv, 0, body.len);
        memcpy(obj->segs[0]->bytes, body.ptr, body.len);
        obj->seg_count = 1;
    }
    obj->body_len = body.len;
    obj->is_final = true;
    atomic_fetch_add(&stv->live, 1);
    return obj;
}

void stv_resurrect(struct stevedore *stv, stv_found_fn *fn, void *arg)
{
    for (size_t i = 0; i < stv->found_count; i++) {
        if (stv->before_found != NULL) {
            stv->before_found(stv->before_found_arg, i);
        }
        struct stv_obj *obj = stv->found[i].obj;
        obj->record = stv->found[i].record;
        if (!fn(arg, &stv->found[i])) {
            stv_deleteobj(&obj);
        }
    }
}

void stv_entomb(struct stevedore *stv, const struct digest *digest, stv_which_fn *which, void *arg)
{
    (void)which;
    (void)arg;
    (void)digest;
    atomic_fetch_add(&stv->entombed, 1);
}

uint64_t stv_revision_next(struct stevedore *stv)
{
    return atomic_fetch_add(&stv->revision, 1);
}
