/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The stevedore API: checks what a caller owes, and hands on to the engine.  What a hit needs is
 * answered here from the object's head, without an indirect call. */
#include "store/store.h"

#include "base/check.h"
#include "store/store_priv.h"

enum rc stv_open(const struct stv_conf *conf, struct stevedore **out)
{
    CHECK(conf != NULL);
    CHECK(conf->bytes > 0);
    *out = NULL;
    switch (conf->kind) {
    case STV_MEMORY:
    case STV_TRANSIENT:
        return mem_open(conf, out);
    }
    return RC_UNSUPPORTED;
}

void stv_close(struct stevedore **stv)
{
    CHECK_OBJ(*stv, STEVEDORE_MAGIC);
    (*stv)->ops->close(*stv);
    *stv = NULL;
}

const char *stv_name(const struct stevedore *stv)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    return stv->name;
}

enum rc stv_newobj(struct stevedore *stv, uint64_t estimate, struct stv_obj **out)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    *out = NULL;
    return stv->ops->newobj(stv, estimate, out);
}

enum rc stv_alloc(struct stv_obj *obj, uint64_t want, void **ptr, size_t *len)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(want > 0);
    CHECK(!obj->is_final);
    return obj->stv->ops->alloc(obj, want, ptr, len);
}

void stv_commit(struct stv_obj *obj, size_t used)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(!obj->is_final);
    obj->stv->ops->commit(obj, used);
}

enum rc stv_ref(struct stv_obj *obj, uint64_t body_off, bool map, struct stv_lease *out)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    return obj->stv->ops->ref(obj, body_off, map, out);
}

enum rc stv_adopt(struct stv_obj *obj, struct stv_obj *from)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK_OBJ(from, STV_OBJ_MAGIC);
    CHECK(!obj->is_final);
    CHECK(from->is_final);
    if (obj->stv != from->stv || from->body_len == 0) {
        return RC_UNSUPPORTED;
    }
    return obj->stv->ops->adopt(obj, from);
}

void stv_rel(struct stv_lease *lease)
{
    struct stv_seg *seg = lease->seg;
    *lease = (struct stv_lease){0};
    if (seg == NULL) {
        return; /* of a body that is not stored: cache/relay.c */
    }
    seg->stv->ops->rel(seg);
}

enum rc stv_prepare(struct stv_obj *obj, struct str oa, const struct stv_record *record)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(!obj->is_final);
    CHECK(oa.len > 0);
    return obj->stv->ops->prepare(obj, oa, record);
}

enum rc stv_live(struct stv_obj *obj, uint64_t revision)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(!obj->is_final);
    return obj->stv->ops->live(obj, revision);
}

enum rc stv_final(struct stv_obj *obj, struct str oa, const struct stv_record *record)
{
    enum rc rc = stv_prepare(obj, oa, record);
    return rc == RC_OK ? stv_live(obj, record == NULL ? 0 : record->revision) : rc;
}

struct stevedore *stv_of(const struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    return obj->stv;
}

void stv_set_owner(struct stv_obj *obj, void *owner)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    atomic_store_explicit(&obj->owner, owner, memory_order_release);
}

struct str stv_oa(const struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(obj->is_final);
    return obj->oa;
}

uint64_t stv_body_len(const struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    return atomic_load_explicit(&obj->body_len, memory_order_acquire);
}

const void *stv_body_ptr(const struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(obj->is_final);
    return obj->body_ptr;
}

enum rc stv_payload(struct stv_obj *obj, struct obj_fd_payload *out)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    return obj->stv->ops->payload(obj, out);
}

void stv_touch(struct stv_obj *obj)
{
    /* Reading first keeps the line shared between cores once it is set. */
    if (atomic_load_explicit(&obj->visited, memory_order_relaxed) == 0) {
        atomic_store_explicit(&obj->visited, 1, memory_order_relaxed);
    }
}

bool stv_is_verified(const struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    return atomic_load_explicit(&obj->is_verified, memory_order_acquire);
}

enum rc stv_verify(struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(obj->is_final);
    return stv_is_verified(obj) ? RC_OK : obj->stv->ops->verify(obj);
}

void stv_retime(struct stv_obj *obj, const struct stv_record *record)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    CHECK(obj->is_final);
    obj->stv->ops->retime(obj, record);
}

void stv_dead(struct stv_obj *obj)
{
    CHECK_OBJ(obj, STV_OBJ_MAGIC);
    obj->stv->ops->dead(obj);
}

void stv_deleteobj(struct stv_obj **obj)
{
    CHECK_OBJ(*obj, STV_OBJ_MAGIC);
    struct stv_obj *gone = *obj;
    *obj = NULL;
    gone->stv->ops->deleteobj(gone);
}

void stv_resurrect(struct stevedore *stv, stv_found_fn *fn, void *arg)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    stv->ops->resurrect(stv, fn, arg);
}

void stv_entomb(struct stevedore *stv, const struct digest *digest, stv_which_fn *which, void *arg)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    stv->ops->entomb(stv, digest, which, arg);
}

uint64_t stv_revision_next(struct stevedore *stv)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    return stv->ops->revision_next(stv);
}

void stv_revision_seen(struct stevedore *stv, uint64_t revision)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    stv->ops->revision_seen(stv, revision);
}

void stv_stat(struct stevedore *stv, struct stv_stats *out)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    stv->ops->stat(stv, out);
}

uint64_t stv_lent_max(struct stevedore *stv, uint64_t bytes)
{
    CHECK_OBJ(stv, STEVEDORE_MAGIC);
    return stv->ops->lent_max(stv, bytes);
}

void stv_note_fault(struct stv_obj *obj)
{
    /* In a signal handler, perhaps with memory in ruins: no check that could abort. */
    if (obj != NULL && obj->magic == STV_OBJ_MAGIC) {
        obj->stv->ops->note_fault(obj);
    }
}
