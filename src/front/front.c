/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Accepting: each loop has its own sockets (or its share of one), and its own sessions. */
#include "front/front_priv.h"

#include <stdlib.h>

#include "base/mem.h"

/* A connection being served needs the head of a request, and memory to answer it. */
static size_t work_bytes(const struct params *p)
{
    size_t head = param(p, http_req_size) < PROXY_MAX ? PROXY_MAX : param(p, http_req_size);
    return head + param(p, workspace_client) + ((size_t)4 << 10);
}

struct front *front_new(const struct front_conf *conf)
{
    CHECK(conf->engine != NULL);
    struct front *f = xcalloc(1, sizeof *f);
    f->magic = FRONT_MAGIC;
    f->conf = *conf;
    f->slot = run_slot_claim(conf->run);
    f->work_pool = pool_new(conf->run, "session work", work_bytes(conf->params), 256);
    f->mc_pool = pool_new(conf->run, "memcached work", mc__work_bytes(), 64);
    f->baseline = mc__baseline_new();
    return f;
}

void front_free(struct front **front)
{
    struct front *f = *front;
    *front = NULL;
    if (f == NULL) {
        return;
    }
    CHECK_OBJ(f, FRONT_MAGIC);
    pool_free(&f->work_pool);
    pool_free(&f->mc_pool);
    mc__baseline_free(&f->baseline);
    f->magic = 0;
    free(f);
}

static void accepted(void *arg, int *take_fd, const struct sockaddr *peer, socklen_t peer_len)
{
    struct door_listen *at = arg;
    if (UNLIKELY(at->was_paused)) {
        at->was_paused = false;
        struct vslb log;
        engine_log_open(at->door->front->conf.engine, &log, 0);
        vslb_printf(&log, SLT_Error, "%s: accepting goes on", at->listen->name);
    }
    sess__open(at, take_fd, peer, peer_len);
}

static void accept_paused(void *arg, enum rc why)
{
    struct door_listen *at = arg;
    struct engine *engine = at->door->front->conf.engine;
    struct vsc_main *main = engine_counters(engine);
    main->sess_fail++;
    engine_objm_counters(engine)->limit_accept++;
    if (why == RC_NOFILES) {
        admit__make_room(at->door);
    }
    if (!at->was_paused) {
        at->was_paused = true;
        struct vslb log;
        engine_log_open(engine, &log, 0);
        vslb_printf(&log, SLT_Error, "%s: accepting pauses: %s", at->listen->name, rc_text(why));
    }
    if (why == RC_NOFILES) {
        main->sess_fail_emfile++;
    } else if (why == RC_NOSPACE) {
        main->sess_fail_enomem++;
    } else {
        main->sess_fail_other++;
    }
}

static enum rc open_listener(struct door *door, unsigned i)
{
    const struct front_listen *listen = &door->front->conf.listens[i];
    door->listens[i] = (struct door_listen){.door = door, .listen = listen};
    unsigned index = loop_index(door->loop);
    int fd = listen->fds[listen->fds_count == 1 ? 0 : index];
    enum rc rc = listener_open(&door->listeners[i], fd, accepted, &door->listens[i], accept_paused);
    if (rc == RC_OK) {
        unsigned reserve = (unsigned)param(door->front->conf.params, fd_reserve);
        listener_keep_free(door->listeners[i], reserve);
    }
    return rc;
}

enum rc front_loop_start(struct front *front, struct loop *loop)
{
    CHECK_OBJ(front, FRONT_MAGIC);
    struct door *door = xcalloc(1, sizeof *door);
    door->front = front;
    door->loop = loop;
    list_init(&door->sessions);
    door->doorman = mc__doorman_new();
    door->listeners = xcalloc(front->conf.listens_count, sizeof(struct listener *));
    door->listens = xcalloc(front->conf.listens_count, sizeof *door->listens);
    loop_slot_set(loop, front->slot, door);
    for (unsigned i = 0; i < front->conf.listens_count; i++) {
        enum rc rc = open_listener(door, i);
        if (rc != RC_OK) {
            return rc;
        }
    }
    return RC_OK;
}

void front_loop_stop(struct front *front, struct loop *loop)
{
    struct door *door = loop_slot(loop, front->slot);
    if (door == NULL) {
        return;
    }
    for (unsigned i = 0; i < front->conf.listens_count; i++) {
        if (door->listeners[i] != NULL) {
            listener_close(&door->listeners[i]);
        }
    }
    while (!list_is_empty(&door->sessions)) {
        struct sess *sess = CONTAINER_OF(door->sessions.next, struct sess, link);
        sock_idle_cancel(&sess->sock);
        sess__close(&sess, SESS_RX_CLOSE_IDLE);
    }
    mc__doorman_free(&door->doorman);
    XFREE(door->listens);
    XFREE(door->listeners);
    loop_slot_set(loop, front->slot, NULL);
    free(door);
}
