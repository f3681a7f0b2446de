/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Offload threads: one queue, a lock, and a post that brings the answer back.
 *
 * A job that a fiber waits for lives on that fiber's stack.  That is safe because such a wait ends
 * only when the job is done (WAIT_HELD).  The threads are registered with RCU and offline: a job
 * that reads under RCU goes online for that time itself, so that a job which waits for a disk does
 * not hold up everybody's frees. */
#include "run/run_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"
#include "run/rcu.h"

static void enqueue(struct run *run, struct offload_job *job)
{
    struct offload_queue *queue = &run->offload;
    mutex_lock(&queue->lock);
    if (queue->first == NULL) {
        queue->first = job;
    } else {
        queue->last->next = job;
    }
    queue->last = job;
    (void)pthread_cond_signal(&queue->wake);
    mutex_unlock(&queue->lock);
}

/* NULL when the threads shall end; what was queued before that is done first. */
static struct offload_job *dequeue(struct offload_queue *queue)
{
    mutex_lock(&queue->lock);
    while (queue->first == NULL && !queue->is_stopping) {
        (void)pthread_cond_wait(&queue->wake, &queue->lock);
    }
    struct offload_job *job = queue->first;
    if (job != NULL) {
        queue->first = job->next;
    }
    mutex_unlock(&queue->lock);
    return job;
}

static void on_done(struct post *post, struct loop *loop)
{
    struct offload_job *job = CONTAINER_OF(post, struct offload_job, post);
    loop->offloads--;
    job->is_done = true;
    fiber__resume(job->fiber);
}

static void *offload_main(void *arg)
{
    struct run *run = arg;
    run__thread_init("offload");
    run__thread_is_patient();
    rcu_register_thread();
    rcu_thread_offline();
    for (struct offload_job *job = dequeue(&run->offload); job != NULL;
         job = dequeue(&run->offload)) {
        job->fn(job->arg);
        if (job->fiber != NULL) {
            loop_post(job->fiber->loop, &job->post);
        } else {
            free(job);
        }
    }
    rcu_unregister_thread();
    return NULL;
}

void offload(offload_fn *fn, void *arg)
{
    CHECK(fn != NULL);
    struct fiber *fiber = fiber_self();
    if (fiber == NULL) {
        fn(arg);
        return;
    }
    CHECK(fiber->pins == 0);
    struct offload_job job = {.post.fn = on_done, .fn = fn, .arg = arg, .fiber = fiber};
    fiber->loop->offloads++;
    enqueue(fiber->loop->run, &job);
    while (!job.is_done) {
        enum rc rc = fiber__wait(fiber, WAIT_HELD, NEVER);
        CHECK(rc == RC_OK);
    }
}

void offload_detached(struct run *run, offload_fn *fn, void *take_arg)
{
    CHECK_OBJ(run, RUN_MAGIC);
    CHECK(fn != NULL);
    struct offload_job *job = xcalloc(1, sizeof(*job));
    job->fn = fn;
    job->arg = take_arg;
    enqueue(run, job);
}

enum rc offload__start(struct run *run)
{
    struct offload_queue *queue = &run->offload;
    queue->threads = xcalloc(run->conf.offload_threads, sizeof(pthread_t));
    while (queue->thread_count < run->conf.offload_threads) {
        if (pthread_create(&queue->threads[queue->thread_count], NULL, offload_main, run) != 0) {
            return RC_LIMIT;
        }
        queue->thread_count++;
    }
    return RC_OK;
}

void offload__stop(struct run *run)
{
    struct offload_queue *queue = &run->offload;
    mutex_lock(&queue->lock);
    queue->is_stopping = true;
    (void)pthread_cond_broadcast(&queue->wake);
    mutex_unlock(&queue->lock);
    for (unsigned i = 0; i < queue->thread_count; i++) {
        int err = pthread_join(queue->threads[i], NULL);
        CHECK(err == 0);
    }
    queue->thread_count = 0;
    XFREE(queue->threads);
}
