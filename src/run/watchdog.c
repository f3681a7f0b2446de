/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The watchdog names a fiber that holds its loop.
 *
 * Loops read no clock for it: they publish the name of what runs and a count that moves on each
 * switch.  The watchdog samples both, eight times in stall_ns; a count that did not move while
 * something ran is a stall, told once.  Names are static text, so reading one is always safe. */
#include "run/run_priv.h"

#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "base/mutex.h"

enum { SAMPLES = 8 };

struct watched {
    uint64_t progress;
    uint64_t since_ns;
    bool is_told;
};

static void sample(struct run *run, struct watched *watched, struct loop *loop, uint64_t now_ns)
{
    uint64_t progress = atomic_load_explicit(&loop->progress, memory_order_relaxed);
    const char *name = atomic_load_explicit(&loop->running_name, memory_order_relaxed);
    if (progress != watched->progress || name == NULL) {
        *watched = (struct watched){.progress = progress, .since_ns = now_ns};
        return;
    }
    uint64_t held_ns = now_ns - watched->since_ns;
    if (held_ns >= run->conf.stall_ns && !watched->is_told) {
        watched->is_told = true;
        run->conf.on_stall(loop->index, name, held_ns, run->conf.stall_arg);
    }
}

/* False when the watchdog shall end. */
static bool nap(struct watchdog *dog, uint64_t until_ns)
{
    struct timespec until = {
        .tv_sec = (time_t)(until_ns / NS_PER_S),
        .tv_nsec = (long)(until_ns % NS_PER_S),
    };
    mutex_lock(&dog->lock);
    int err = 0;
    while (!dog->is_stopping && err == 0) {
        err = pthread_cond_clockwait(&dog->wake, &dog->lock, CLOCK_MONOTONIC, &until);
    }
    bool goes_on = !dog->is_stopping;
    mutex_unlock(&dog->lock);
    return goes_on;
}

static void *watchdog_main(void *arg)
{
    struct run *run = arg;
    run__thread_init("watchdog");
    struct watched *watched = xcalloc(run->loop_count, sizeof(*watched));
    uint64_t now_ns = clock_mono_ns();
    do {
        now_ns = clock_mono_ns();
        for (unsigned i = 0; i < run->loop_count; i++) {
            sample(run, &watched[i], run->loops[i], now_ns);
        }
    } while (nap(&run->watchdog, now_ns + run->conf.stall_ns / SAMPLES));
    free(watched);
    return NULL;
}

enum rc watchdog__start(struct run *run)
{
    if (run->conf.stall_ns == 0) {
        return RC_OK;
    }
    CHECK(run->conf.on_stall != NULL);
    if (pthread_create(&run->watchdog.thread, NULL, watchdog_main, run) != 0) {
        return RC_LIMIT;
    }
    run->watchdog.is_running = true;
    return RC_OK;
}

void watchdog__stop(struct run *run)
{
    struct watchdog *dog = &run->watchdog;
    if (!dog->is_running) {
        return;
    }
    mutex_lock(&dog->lock);
    dog->is_stopping = true;
    (void)pthread_cond_signal(&dog->wake);
    mutex_unlock(&dog->lock);
    int err = pthread_join(dog->thread, NULL);
    CHECK(err == 0);
    dog->is_running = false;
}
