/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A body changes hands.  When a backend says that nothing changed but the head, the object that
 * takes the place of the old one gets its body's file: no byte is copied, the file is counted once,
 * and it goes with the last object that has it.
 *
 * Two live records may not name one file: recovery would trust neither.  So the old record dies
 * under the same lock, just before the new one becomes live; a worker that is killed between the
 * two leaves neither.  The old object goes on in this worker until its owner lets go of it.
 *
 * Bodies in slots are small, and stand beside their attributes: those are copied. */
#include "store/mem_priv.h"

enum rc mem__adopt(struct stv_obj *to, struct stv_obj *from)
{
    struct mem *m = mem_of(to->stv);
    struct mem_obj *heir = mem_obj_of(to);
    struct mem_obj *old = mem_obj_of(from);
    CHECK(heir->body == NULL);
    if (old->body->kind != MEM_FILE) {
        return RC_UNSUPPORTED;
    }
    struct mem_file *f = mem_file_of(old->body);
    CHECK(f->final);
    mem_lock(m);
    CHECK(f->owners > 0);
    f->owners++;
    mem__seg_ref(&f->seg);
    heir->body = &f->seg;
    heir->takes_from = old;
    heir->crc = old->record == CAT_NO_RECORD ? old->crc : m->cat.record[old->record].body_crc;
    /* What evicting the old one would give back. */
    CHECK(old->estimate >= f->charged_bytes);
    old->estimate -= f->charged_bytes;
    if (atomic_load(&from->is_dead)) {
        m->dying_bytes -= f->charged_bytes;
    }
    mem_unlock(m);
    uint64_t len = atomic_load_explicit(&from->body_len, memory_order_acquire);
    atomic_store_explicit(&to->body_len, len, memory_order_release);
    return RC_OK;
}

void mem__inherit(struct mem *m, struct mem_obj *heir)
{
    const struct mem_obj *old = heir->takes_from;
    heir->takes_from = NULL;
    if (old == NULL || old->record == CAT_NO_RECORD || atomic_load(&old->obj.is_dead)) {
        return;
    }
    seam_step(m->seam);
    cat_set_state(&m->cat.record[old->record], CAT_DEAD);
    atomic_thread_fence(memory_order_seq_cst);
    seam_step(m->seam);
}
