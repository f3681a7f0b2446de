/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Killing by digest what an earlier worker left and the cache has not heard of yet.
 *
 * Resurrection takes a while.  A purge (or replacement) that comes meanwhile must reach objects
 * that nobody but the store knows, and it must reach their records: remembered in memory only, it
 * would be forgotten when this worker dies too, and the next one would bring back what was purged.
 * So until the resurrection is over, recovered objects hang in a table by digest:
 *
 *     bucket --> object --> object       chained by mem_obj.next_found
 *
 * One stands there from recovery until the callback has taken it or, if it was refused, evicted or
 * unsound, until its record is DEAD.  So whatever is LIVE in the catalog, from an earlier worker,
 * and not the cache's, is found here; all under mem.lock.
 *
 * Storing DEAD is all that is done here.  The object goes when resurrection or eviction comes by,
 * as any other. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/mem_priv.h"

static const struct digest *digest_of(const struct mem *m, const struct mem_obj *o)
{
    CHECK(o->record != CAT_NO_RECORD);
    return &m->cat.record[o->record].digest;
}

static struct mem_obj **bucket(const struct mem *m, const struct digest *digest)
{
    return &m->found[digest_place(digest, m->found_secret, m->found_bits)];
}

void mem__found_begin(struct mem *m, size_t count)
{
    unsigned bits = 4;
    while ((size_t)1 << bits <= count) {
        bits++;
    }
    m->found = xcalloc((size_t)1 << bits, sizeof *m->found);
    m->found_bits = bits;
    m->found_secret = digest_secret();
}

void mem__found_end(struct mem *m)
{
    XFREE(m->found);
}

void mem__found_add(struct mem *m, struct mem_obj *o)
{
    struct mem_obj **at = bucket(m, digest_of(m, o));
    o->next_found = *at;
    *at = o;
    o->is_in_found = true;
}

void mem__found_remove(struct mem *m, const struct digest *digest, const struct mem_obj *o)
{
    if (m->found == NULL) {
        return;
    }
    struct mem_obj **at = bucket(m, digest);
    while (*at != NULL && *at != o) {
        at = &(*at)->next_found;
    }
    if (*at != NULL) {
        struct mem_obj *gone = *at;
        *at = gone->next_found;
        gone->next_found = NULL;
        gone->is_in_found = false;
    }
}

/* Under the lock. */
static void entomb(const struct mem *m, const struct mem_obj *o)
{
    seam_step(m->seam);
    cat_set_state(&m->cat.record[o->record], CAT_DEAD);
    /* Before whatever the caller tells anybody. */
    atomic_thread_fence(memory_order_seq_cst);
}

void mem__entomb_older(struct mem *m, const struct mem_obj *than)
{
    mem_lock(m);
    if (m->found != NULL) {
        const struct digest *digest = digest_of(m, than);
        uint64_t revision = m->cat.record[than->record].revision;
        for (struct mem_obj *o = *bucket(m, digest); o != NULL; o = o->next_found) {
            if (m->cat.record[o->record].revision < revision &&
                digest_eq(digest_of(m, o), digest)) {
                entomb(m, o);
            }
        }
    }
    mem_unlock(m);
}

void mem__entomb(struct stevedore *stv, const struct digest *digest, stv_which_fn *which, void *arg)
{
    struct mem *m = mem_of(stv);
    mem_lock(m);
    if (m->found != NULL) {
        for (struct mem_obj *o = *bucket(m, digest); o != NULL; o = o->next_found) {
            if (digest_eq(digest_of(m, o), digest) && (which == NULL || which(arg, o->obj.oa))) {
                entomb(m, o);
            }
        }
    }
    mem_unlock(m);
    seam_step(m->seam);
}
