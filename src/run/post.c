/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Posting: a lock-free stack that many threads push to and the loop takes whole and turns round, so
 * messages run in the order of their pushes.
 *
 * A loop that runs sees its posts at its next tick, so the eventfd is written only to one that
 * sleeps.  Neither side may miss the other (Dekker):
 *
 *   poster:  push;               if is_asleep: clear it, write eventfd
 *   loop:    is_asleep = true;   if there are posts: do not sleep
 *
 * All four accesses are sequentially consistent, so at least one of them sees the other's store.
 * The poster that clears the flag is the only one that writes.  The eventfd is edge triggered and
 * never read: its count would take centuries to overflow. */
#include "run/run_priv.h"

#include <errno.h>
#include <unistd.h>

void post__nudge(struct loop *loop)
{
    if (loop->event_fd < 0) {
        return; /* it never started */
    }
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(loop->event_fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    CHECK(n == (ssize_t)sizeof(one));
}

void loop_post(struct loop *loop, struct post *post)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(post->fn != NULL);
    struct post *head = atomic_load_explicit(&loop->posts, memory_order_relaxed);
    do {
        post->next = head;
    } while (!atomic_compare_exchange_weak(&loop->posts, &head, post));
    /* The load keeps the line shared while the loop is busy. */
    if (atomic_load(&loop->is_asleep) && atomic_exchange(&loop->is_asleep, false)) {
        post__nudge(loop);
    }
}

unsigned post__run_all(struct loop *loop)
{
    if (LIKELY(atomic_load_explicit(&loop->posts, memory_order_relaxed) == NULL)) {
        return 0;
    }
    struct post *newest = atomic_exchange(&loop->posts, NULL);
    struct post *oldest = NULL;
    while (newest != NULL) {
        struct post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    unsigned count = 0;
    while (oldest != NULL) {
        struct post *post = oldest;
        oldest = post->next; /* fn may free the post, or post it again */
        post->fn(post, loop);
        count++;
    }
    return count;
}
