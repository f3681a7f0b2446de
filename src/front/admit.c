/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Who is served, and who is told to come back later.
 *
 * A connection with work costs a fiber, its stack, and the memory of a request.  When one of the
 * limits is reached (max_requests, memory_max, fibers), whoever comes next is answered 503 with
 * Retry-After, right here: without a fiber, without reading more than has come, and without looking
 * at it.  Those who are being served already go on: finishing them is what makes room.  Nobody is
 * queued, since a client that waits without being served costs nearly as much, and may have left by
 * the time it is its turn.
 *
 * Idle connections are served by nobody, but have descriptors.  When those are gone, and clients
 * wait in the kernel's queue, the ones that have been idle for longest give way: to them it is as
 * if timeout_idle were shorter. */
#include "front/front_priv.h"

/* A connection that is closed while bytes of its request are unread is reset, and its client might
 * never see the answer. */
#define SWALLOW_MAX ((size_t)64 << 10)
/* How long a measurement of memory is good for. */
#define MEMORY_CHECK_NS (100 * NS_PER_MS)

/* As many as a tick accepts. */
#define GIVE_WAY 32u

static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
                             "Retry-After: 5\r\n"
                             "Connection: close\r\n"
                             "Content-Length: 0\r\n\r\n";

static const char mc_answer[] = "SERVER_ERROR too much to do, try again later\r\n";

static bool lacks_memory(struct door *door)
{
    uint64_t most = param(door->front->conf.params, memory_max);
    uint64_t now_ns = loop_mono_ns(door->loop);
    if (LIKELY(most == 0)) {
        return false;
    }
    if (now_ns >= door->memory_checked_ns + MEMORY_CHECK_NS) {
        door->memory_checked_ns = now_ns;
        door->lacks_memory = run_memory_bytes() > most;
    }
    return door->lacks_memory;
}

enum shed admit__enter(struct door *door)
{
    if (UNLIKELY(door->serving >= param(door->front->conf.params, max_requests))) {
        return SHED_REQUESTS;
    }
    if (UNLIKELY(lacks_memory(door))) {
        return SHED_MEMORY;
    }
    door->serving++;
    return SHED_NOT;
}

void admit__leave(struct door *door)
{
    CHECK(door->serving > 0);
    door->serving--;
}

static void count(struct engine *engine, enum shed why)
{
    struct vsc_objm *objm = engine_objm_counters(engine);
    engine_counters(engine)->sess_dropped++;
    switch (why) {
    case SHED_REQUESTS:
        objm->limit_requests++;
        break;
    case SHED_MEMORY:
        objm->limit_memory++;
        break;
    case SHED_FIBERS:
        objm->limit_fibers++;
        break;
    case SHED_NOT:
        CHECK(false);
    }
}

static void log_shed(const struct sess *sess, enum shed why)
{
    static const char *const texts[] = {
        [SHED_REQUESTS] = "max_requests are being served",
        [SHED_MEMORY] = "more than memory_max is in use",
        [SHED_FIBERS] = "no fiber is left",
    };
    struct vslb log;
    engine_log_open(sess->door->front->conf.engine, &log, sess->vxid | VSL_CLIENTMARKER);
    vslb_printf(&log, SLT_Error, "answered 503: %s", texts[why]);
}

/* False when the client has left. */
static bool swallow(struct sess *sess)
{
    char bytes[1024];
    size_t all = 0;
    enum rc rc = RC_OK;
    while (rc == RC_OK && all < SWALLOW_MAX) {
        size_t got = 0;
        rc = sock_read_now(&sess->sock, bytes, sizeof bytes, &got);
        all += got;
    }
    return all > 0 || rc == RC_AGAIN;
}

void admit__shed(struct sess **take_sess, enum shed why)
{
    struct sess *sess = *take_sess;
    if (!swallow(sess)) {
        sess__close(take_sess, SESS_REM_CLOSE);
        return;
    }
    count(sess->door->front->conf.engine, why);
    log_shed(sess, why);
    size_t sent = 0;
    if (!sess->listen->is_memcached) {
        sock_write_now(&sess->sock, answer, sizeof answer - 1, &sent);
    } else if (sess->knows_protocol && !sess->is_binary) {
        sock_write_now(&sess->sock, mc_answer, sizeof mc_answer - 1, &sent);
    }
    sock_shut_write(&sess->sock);
    sess__close(take_sess, SESS_OVERLOAD);
}

void admit__make_room(struct door *door)
{
    struct vsc_objm *objm = engine_objm_counters(door->front->conf.engine);
    unsigned closed = 0;
    LIST_FOREACH_SAFE (node, &door->sessions) {
        struct sess *sess = CONTAINER_OF(node, struct sess, link);
        if (closed == GIVE_WAY) {
            break;
        }
        if (sock_is_idle(&sess->sock)) {
            sock_idle_cancel(&sess->sock);
            sess__close(&sess, SESS_OVERLOAD);
            closed++;
        }
    }
    objm->limit_idle += closed;
}
