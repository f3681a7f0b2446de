/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A body that outgrew its store while it is being read: from there on it goes through a window of
 * fixed size, and is kept nowhere.
 *
 *     0            from                low        written
 *     |--- stored ---|------- gone -----|--- window ---|
 *                                       ^ the reader that is furthest behind
 *
 * The window is a ring: the byte at `off` is at (off - from) % its size.  The writer goes at most
 * that far beyond the reader that is furthest behind, and waits for that one; so a slow client
 * slows the others down until its own time limits end it.  When all are past the stored part, that
 * goes too, for the store has better use for the room.
 *
 * So it has to be known who reads and how far he is: a fiber that looks up an object on its way, or
 * asks for bytes of it, is remembered with the offset it asked for last, until it releases the
 * object.  What it was given is its own up to its next question.
 *
 *   boc --> table by fiber --> reader { fiber, at }          all under the boc's lock */
#include "cache/cache_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"

#define READERS_FIRST 16u
/* Somebody holds the object and has not begun to read: looked at again after this. */
#define BEGIN_WAIT_NS (10 * NS_PER_MS)

struct reader {
    struct reader *next;
    const struct fiber *fiber;
    uint64_t at;
};

struct relay {
    uint64_t from;
    char *ring;
    size_t bytes;
    struct boc *boc;
    struct post post;
    struct loop *loop;
    struct fiber *writer;
    bool is_waiting;
    bool is_told; /* the message is under way, and holds the boc */
};

/* ---- the writer is told ---- */

static void wake_writer(struct post *post, struct loop *loop)
{
    struct relay *relay = CONTAINER_OF(post, struct relay, post);
    struct boc *boc = relay->boc;
    CHECK(relay->loop == loop);
    mutex_lock(&boc->lock);
    relay->is_told = false;
    struct fiber *writer = relay->writer;
    mutex_unlock(&boc->lock);
    if (writer != NULL) {
        fiber_wake(writer);
    }
    boc__release(boc);
}

/* Under the lock: somebody moved or left.  True: tell_writer, after unlocking. */
static bool must_tell(struct boc *boc)
{
    struct relay *relay = boc->relay;
    if (relay == NULL || !relay->is_waiting || relay->is_told) {
        return false;
    }
    relay->is_waiting = false;
    relay->is_told = true;
    boc__ref(boc);
    return true;
}

static void tell_writer(struct boc *boc)
{
    loop_post(boc->relay->loop, &boc->relay->post);
}

/* ---- readers ---- */

static struct reader **place_of(const struct readers *readers, const struct fiber *fiber)
{
    uint64_t hash = (uint64_t)(uintptr_t)fiber * UINT64_C(0x9e3779b97f4a7c15);
    struct reader **at = &readers->bucket[(hash >> 32) % readers->buckets];
    while (*at != NULL && (*at)->fiber != fiber) {
        at = &(*at)->next;
    }
    return at;
}

static void grow(struct readers *readers)
{
    struct readers old = *readers;
    readers->buckets = old.buckets == 0 ? READERS_FIRST : 4 * old.buckets;
    readers->bucket = xcalloc(readers->buckets, sizeof(struct reader *));
    for (size_t i = 0; i < old.buckets; i++) {
        while (old.bucket[i] != NULL) {
            struct reader *reader = old.bucket[i];
            old.bucket[i] = reader->next;
            reader->next = NULL;
            *place_of(readers, reader->fiber) = reader;
        }
    }
    free(old.bucket);
}

void relay__enter(struct boc *boc, uint64_t off)
{
    const struct fiber *fiber = fiber_self();
    if (fiber == NULL) {
        return;
    }
    mutex_lock(&boc->lock);
    if (boc->readers.count >= boc->readers.buckets) {
        grow(&boc->readers);
    }
    struct reader **place = place_of(&boc->readers, fiber);
    if (*place == NULL) {
        *place = xcalloc(1, sizeof **place);
        (*place)->fiber = fiber;
        boc->readers.count++;
    }
    (*place)->at = off;
    bool tells = must_tell(boc);
    mutex_unlock(&boc->lock);
    if (tells) {
        tell_writer(boc);
    }
}

void relay__leave(struct boc *boc)
{
    mutex_lock(&boc->lock);
    struct reader **place = boc->readers.count == 0 ? NULL : place_of(&boc->readers, fiber_self());
    struct reader *reader = place == NULL ? NULL : *place;
    if (reader != NULL) {
        *place = reader->next;
        boc->readers.count--;
    }
    bool tells = must_tell(boc);
    mutex_unlock(&boc->lock);
    free(reader);
    if (tells) {
        tell_writer(boc);
    }
}

void relay__free(struct boc *boc)
{
    struct readers *readers = &boc->readers;
    for (size_t i = 0; i < readers->buckets; i++) {
        while (readers->bucket[i] != NULL) {
            struct reader *reader = readers->bucket[i];
            readers->bucket[i] = reader->next;
            free(reader);
        }
    }
    XFREE(readers->bucket);
    if (boc->relay != NULL) {
        CHECK(!boc->relay->is_told);
        free(boc->relay->ring);
        XFREE(boc->relay);
    }
}

/* Under the lock: where the one furthest behind is, `written` if there is nobody. */
static uint64_t lowest(const struct boc *boc, uint64_t written)
{
    uint64_t low = written;
    for (size_t i = 0; i < boc->readers.buckets; i++) {
        for (const struct reader *r = boc->readers.bucket[i]; r != NULL; r = r->next) {
            low = r->at < low ? r->at : low;
        }
    }
    return low;
}

/* ---- the writer ---- */

void relay__begin(struct boc *boc, size_t bytes)
{
    struct relay *relay = xcalloc(1, sizeof *relay);
    relay->boc = boc;
    relay->post.fn = wake_writer;
    relay->loop = loop_self();
    relay->writer = fiber_self();
    relay->ring = xmalloc(bytes);
    relay->bytes = bytes;
    relay->from = atomic_load_explicit(&boc->written, memory_order_relaxed);
    CHECK(relay->writer != NULL);
    mutex_lock(&boc->lock);
    CHECK(boc->relay == NULL);
    boc->relay = relay;
    mutex_unlock(&boc->lock);
}

/* Under the lock: room for the next bytes, or *len is 0. */
static void look_for_room(struct objcore *busy, struct boc *boc, char **ptr, size_t *len,
                          struct stv_obj **passed)
{
    struct relay *relay = boc->relay;
    uint64_t written = atomic_load_explicit(&boc->written, memory_order_relaxed);
    uint64_t low = lowest(boc, written);
    if (low >= relay->from) {
        *passed = busy->stv;
        busy->stv = NULL;
    } else {
        low = relay->from;
    }
    uint64_t room = low + relay->bytes - written;
    uint64_t at = (written - relay->from) % relay->bytes;
    *ptr = relay->ring + at;
    *len = (size_t)(room < relay->bytes - at ? room : relay->bytes - at);
}

enum rc relay__space(struct objcore *busy, struct boc *boc, char **ptr, size_t *len)
{
    struct relay *relay = boc->relay;
    CHECK(relay->writer == fiber_self());
    for (;;) {
        struct stv_obj *passed = NULL;
        mutex_lock(&boc->lock);
        bool is_read = boc->readers.count > 0;
        *len = 0;
        if (is_read) {
            look_for_room(busy, boc, ptr, len, &passed);
        }
        relay->is_waiting = *len == 0;
        mutex_unlock(&boc->lock);
        if (passed != NULL) {
            stv_deleteobj(&passed);
        }
        if (*len > 0) {
            return RC_OK;
        }
        if (!is_read && atomic_load_explicit(&busy->refs, memory_order_relaxed) == 1) {
            /* The fetch's own: nobody wants it, and it is not kept. */
            return RC_NOT_FOUND;
        }
        uint64_t until_ns = is_read ? NEVER : clock_after(loop_mono_ns(loop_self()), BEGIN_WAIT_NS);
        enum rc rc = fiber_wait(until_ns);
        if (rc != RC_OK && rc != RC_TIMEOUT) {
            return rc;
        }
    }
}

void relay__end(struct boc *boc)
{
    if (boc->relay != NULL) {
        mutex_lock(&boc->lock);
        boc->relay->is_waiting = false;
        boc->relay->writer = NULL;
        mutex_unlock(&boc->lock);
    }
}

/* ---- reading ---- */

/* Under the lock. */
static enum rc lease_of(const struct objcore *oc, const struct relay *relay, uint64_t off,
                        uint64_t end, bool map, struct stv_lease *lease)
{
    if (off < relay->from) {
        if (oc->stv == NULL) {
            return RC_RESET;
        }
        enum rc rc = stv_ref(oc->stv, off, map, lease);
        if (rc == RC_OK && lease->len > relay->from - off) {
            lease->len = (size_t)(relay->from - off);
        }
        return rc;
    }
    if (end - off > relay->bytes) {
        return RC_RESET; /* it did not say that it reads, and the writer went on */
    }
    uint64_t at = (off - relay->from) % relay->bytes;
    uint64_t len = end - off < relay->bytes - at ? end - off : relay->bytes - at;
    *lease = (struct stv_lease){.ptr = relay->ring + at, .body_off = off, .len = (size_t)len};
    return RC_OK;
}

bool relay__next(const struct objcore *oc, struct boc *boc, uint64_t off, uint64_t end, bool map,
                 struct stv_lease *lease, enum rc *rc)
{
    mutex_lock(&boc->lock);
    const struct relay *relay = boc->relay;
    if (relay != NULL) {
        *rc = lease_of(oc, relay, off, end, map, lease);
    }
    mutex_unlock(&boc->lock);
    return relay != NULL;
}

uint64_t relay__stored(const struct objcore *oc, struct boc *boc, uint64_t end)
{
    mutex_lock(&boc->lock);
    if (boc->relay != NULL) {
        end = oc->stv == NULL ? 0 : boc->relay->from;
    }
    mutex_unlock(&boc->lock);
    return end;
}
