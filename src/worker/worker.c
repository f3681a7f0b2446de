/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The worker process, put together and taken apart.
 *
 * Its main thread only speaks with the manager; all traffic is on the loops.  The order below is
 * that of the floors, and the other way round at the end. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/ban_log.h"
#include "worker/worker_priv.h"

/* ---- shared memory ---- */

static enum rc open_store_counters(struct worker *w)
{
    w->store_segs = xcalloc(w->conf->stores_count, sizeof(struct vsm_seg *));
    enum rc rc = RC_OK;
    for (unsigned i = 0; i < w->conf->stores_count && rc == RC_OK; i++) {
        char ident[64];
        (void)snprintf(ident, sizeof ident, "SMA.%s", w->conf->stores[i].name);
        rc = vsc_new(w->vsm, &vsc_class_sma, ident, &w->store_segs[i]);
    }
    return rc;
}

static enum rc open_shm(struct worker *w)
{
    const struct params *p = w->conf->params;
    const struct vsm_place place = {
        .workdir_fd = w->workdir_fd,
        .name = VSM_CHILD_DIR,
        .uid = VSM_SAME_UID,
        .gid = VSM_SAME_GID,
    };
    enum rc rc = vsm_set_open(&place, &w->vsm);
    if (rc == RC_OK) {
        rc = vsc_new(w->vsm, &vsc_class_main, "MAIN", &w->main_seg);
    }
    if (rc == RC_OK) {
        rc = vsl_new(w->vsm, param(p, vsl_space), p, vsc_of(w->main_seg), &w->log);
    }
    if (rc == RC_OK) {
        rc = vsc_new(w->vsm, &vsc_class_objm, "OBJM", &w->objm_seg);
    }
    return rc == RC_OK ? open_store_counters(w) : rc;
}

/* ---- what the loops run ---- */

static void stalled(unsigned loop, const char *fiber, uint64_t held_ns, void *arg)
{
    struct worker *w = arg;
    vsl_nowf(w->log, SLT_Error, 0, "loop %u: %s held it for %.3f s", loop, fiber,
             (double)held_ns / 1e9);
}

static void loop_started(struct loop *loop, void *arg)
{
    struct worker *w = arg;
    panic__thread_start();
    engine_loop_start(w->engine, loop);
    enum rc rc = front_loop_start(w->front, loop);
    if (rc != RC_OK) {
        vsl_nowf(w->log, SLT_Error, 0, "loop %u does not accept: %s", loop_index(loop),
                 rc_text(rc));
    }
    if (loop_index(loop) == 0) {
        worker__stats_start(w, loop);
    }
}

static void loop_stopped(struct loop *loop, void *arg)
{
    struct worker *w = arg;
    front_loop_stop(w->front, loop);
    engine_loop_stop(w->engine, loop);
    backends_loop_stop(w->backends, loop);
    if (loop_index(loop) == 0) {
        worker__stats_stop(w, loop);
    }
    digest_thread_end();
    panic__thread_stop();
}

static void open_run(struct worker *w)
{
    const struct params *p = w->conf->params;
    const struct run_conf conf = {
        .loops = w->conf->loops,
        .offload_threads = (unsigned)param(p, offload_threads),
        .fibers_max = (unsigned)param(p, max_fibers),
        .stall_ns = param(p, stall_limit),
        .on_stall = stalled,
        .stall_arg = w,
        .on_start = loop_started,
        .on_stop = loop_stopped,
        .hook_arg = w,
    };
    w->run = run_new(&conf);
}

static enum rc open_stores(struct worker *w)
{
    unsigned count = w->conf->stores_count;
    w->vault = vault_attach(&((struct worker_conf *)(uintptr_t)w->conf)->vault);
    w->stores = xcalloc(count + 1, sizeof(struct stevedore *));
    w->object_stores = xcalloc(count + 1, sizeof(struct stevedore *));
    unsigned objects = 0;
    for (unsigned i = 0; i < count; i++) {
        struct stv_conf conf = w->conf->stores[i];
        conf.vault = conf.kind == STV_TRANSIENT ? NULL : w->vault;
        conf.owner_ops = cache_owner_ops();
        enum rc rc = stv_open(&conf, &w->stores[i]);
        if (rc != RC_OK) {
            return rc;
        }
        if (conf.kind == STV_TRANSIENT) {
            w->transient = w->stores[i];
        } else {
            w->object_stores[objects++] = w->stores[i];
        }
    }
    CHECK(w->transient != NULL);
    enum rc rc = ban_log_open(w->vault, &w->ban_log);
    vault_link_settle(w->vault);
    return rc;
}

/* Revisions are those of the first store, above all that any store has given before. */
static enum rc open_cache(struct worker *w)
{
    struct stevedore *first = w->object_stores[0];
    unsigned recoveries = 0;
    for (unsigned i = 0; w->object_stores[i] != NULL; i++) {
        recoveries++;
        if (i > 0) {
            stv_revision_seen(first, stv_revision_next(w->object_stores[i]));
        }
    }
    const struct cache_conf conf = {
        .run = w->run,
        .expiry_news = worker__expiry_news,
        .expiry_arg = w,
        .resurrections = recoveries,
        .recovering = w->object_stores,
        .revisions = first,
        .ban_log = w->ban_log,
    };
    return cache_new(&conf, &w->cache);
}

static void open_backends(struct worker *w)
{
    const struct backends_conf conf = {
        .run = w->run,
        .params = w->conf->params,
        .shm = w->vsm,
        .log = w->log,
        .main = vsc_of(w->main_seg),
        .objm = vsc_of(w->objm_seg),
    };
    w->backends = backends_new(&conf);
}

static void open_engine(struct worker *w)
{
    const struct engine_conf conf = {
        .run = w->run,
        .params = w->conf->params,
        .cache = w->cache,
        .backends = w->backends,
        .stores = w->object_stores,
        .transient = w->transient,
        .log = w->log,
        .main = vsc_of(w->main_seg),
        .objm = vsc_of(w->objm_seg),
        .identity = w->conf->identity,
    };
    w->engine = engine_new(&conf);
}

/* Who may speak to this address; NULL: anybody.  The manager has looked at the file. */
static struct auth *open_auth(struct worker *w, const struct worker_listen *l)
{
    struct auth *auth = NULL;
    if (l->auth != NULL) {
        unsigned line = 0;
        enum rc rc = strcmp(l->auth, "sasl") == 0 ? auth_of_sasl(&auth)
                                                  : auth_of_file(&auth, str_of(l->auth), &line);
        if (rc != RC_OK) {
            (void)fprintf(stderr, "%s: auth=: %s\n", l->name, rc_text(rc));
            w->lacks_auth = true;
        }
    }
    return auth;
}

static enum rc open_front(struct worker *w)
{
    unsigned count = w->conf->listens_count;
    w->listens = xcalloc(count, sizeof *w->listens);
    for (unsigned i = 0; i < count; i++) {
        const struct worker_listen *l = &w->conf->listens[i];
        w->listens[i] = (struct front_listen){
            .name = l->name,
            .endpoint = l->text,
            .addr = l->addr,
            .port = l->port,
            .is_unix = l->is_unix,
            .is_proxied = l->proto == WORKER_PROTO_PROXY,
            .is_memcached = l->proto == WORKER_PROTO_MEMCACHED,
            .auth = open_auth(w, l),
            .fds = l->fds,
            .fds_count = l->fds_count,
        };
    }
    const struct front_conf conf = {
        .run = w->run,
        .params = w->conf->params,
        .engine = w->engine,
        .listens = w->listens,
        .listens_count = count,
        .main = vsc_of(w->main_seg),
        .objm = vsc_of(w->objm_seg),
        .started_ns = clock_real_ns(),
    };
    w->front = front_new(&conf);
    /* Nobody may come in whom nobody can tell from another. */
    return w->lacks_auth ? RC_UNSUPPORTED : RC_OK;
}

static enum rc open_all(struct worker *w)
{
    enum rc rc = open_shm(w);
    if (rc != RC_OK) {
        return rc;
    }
    open_run(w);
    rc = open_stores(w);
    if (rc == RC_OK) {
        rc = open_cache(w);
    }
    if (rc == RC_OK) {
        open_backends(w);
        open_engine(w);
        rc = open_front(w);
    }
    return rc;
}

/* ---- running ---- */

/* Takes back what an earlier worker left, while traffic is served. */
static void *recover(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; w->object_stores[i] != NULL; i++) {
        cache_resurrect(w->cache, w->object_stores[i]);
    }
    return NULL;
}

enum rc worker__start(struct worker *w)
{
    w->started_ns = clock_mono_ns();
    enum rc rc = run_start(w->run);
    if (rc != RC_OK) {
        return rc;
    }
    w->runs = true;
    w->recovers = pthread_create(&w->recovery, NULL, recover, w) == 0;
    return w->recovers ? RC_OK : RC_LIMIT;
}

static void close_all(struct worker *w)
{
    if (w->recovers) {
        (void)pthread_join(w->recovery, NULL);
    }
    if (w->runs) {
        run_stop(w->run);
    }
    front_free(&w->front);
    engine_free(&w->engine);
    backends_free(&w->backends);
    /* Objects stay in the vault, for the next worker. */
    cache_free(&w->cache);
    for (unsigned i = 0; w->stores != NULL && w->stores[i] != NULL; i++) {
        stv_close(&w->stores[i]);
    }
    ban_log_close(&w->ban_log);
    vault_link_free(&w->vault);
    run_free(&w->run);
    vsl_free(&w->log);
    /* Counters and log stay readable: the manager decides when they go. */
    vsm_set_free(&w->vsm, VSM_KEEP);
    XFREE(w->store_segs);
    XFREE(w->stores);
    XFREE(w->object_stores);
    for (unsigned i = 0; w->listens != NULL && i < w->conf->listens_count; i++) {
        auth_free(&w->listens[i].auth);
    }
    XFREE(w->listens);
    (void)close(w->workdir_fd);
    panic__thread_stop();
}

int worker_main(struct worker_conf *conf)
{
    struct worker w = {.conf = conf, .vcl_name = ""};
    panic__install(conf->panic, param(conf->params, sigsegv_handler));
    panic__thread_start();
    w.workdir_fd = open(conf->workdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum rc rc = w.workdir_fd < 0 ? rc_from_errno(errno) : open_all(&w);
    if (rc != RC_OK) {
        (void)fprintf(stderr, "The worker could not be set up: %s\n", rc_text(rc));
        return 1;
    }
    rc = cli_serve(conf->cli_fd, worker_commands, worker__log_cli, &w);
    close_all(&w);
    return rc == RC_OK ? 0 : 1;
}
