/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Gauges that are read off the rooms now and then, and what has to be done now and then. */
#include "worker/worker_priv.h"

/* While there is work, gauges are at most this old; without, one timer keeps them. */
#define STATS_STEP_NS (100 * NS_PER_MS)
#define HOUSEKEEPING_NS NS_PER_S

/* Files that a store keeps in the vault beside those of bodies: its slabs and its catalog. */
#define STORE_FILES 2u

static void set_store(struct stevedore *stv, struct vsc_sma *sma)
{
    struct stv_stats s;
    stv_stat(stv, &s);
    vsc_set(&sma->c_req, s.allocs);
    vsc_set(&sma->c_fail, s.fails);
    vsc_set(&sma->c_bytes, s.alloc_bytes);
    vsc_set(&sma->c_freed, s.free_bytes);
    vsc_set(&sma->g_alloc, s.objects);
    vsc_set(&sma->g_bytes, s.bytes_used);
    vsc_set(&sma->g_space, s.bytes_used < s.bytes_max ? s.bytes_max - s.bytes_used : 0);
}

static void set_all(struct worker *w)
{
    struct vsc_main *main = vsc_of(w->main_seg);
    struct vsc_objm *objm = vsc_of(w->objm_seg);
    struct cache_stats c;
    cache_stat(w->cache, &c);
    uint64_t objects = 0;
    uint64_t evicted = 0;
    uint64_t lent = 0;
    uint64_t dropped = 0;
    uint64_t files = 0;
    for (unsigned i = 0; i < w->conf->stores_count; i++) {
        struct stv_stats s;
        stv_stat(w->stores[i], &s);
        objects += s.objects;
        evicted += s.evicted;
        lent += s.bytes_lent;
        dropped += s.dropped;
        if (w->stores[i] != w->transient) {
            files += s.files + STORE_FILES;
        }
        set_store(w->stores[i], vsc_of(w->store_segs[i]));
        (void)stv_lent_max(w->stores[i], param(w->conf->params, lent_max));
    }
    vsc_set(&main->uptime, (clock_mono_ns() - w->started_ns) / NS_PER_S);
    vsc_set(&main->pools, run_loops(w->run));
    vsc_set(&main->n_object, objects);
    vsc_set(&main->n_objectcore, c.cores);
    vsc_set(&main->n_objecthead, c.heads);
    vsc_set(&main->n_expired, c.expired);
    vsc_set(&main->n_lru_nuked, c.evicted);
    vsc_set(&main->n_obj_purged, c.purged);
    vsc_set(&main->busy_sleep, c.parked);
    vsc_set(&main->busy_wakeup, c.woken);
    worker__bans_count(w);
    files += w->ban_log != NULL;
    vsc_set(&objm->vault_files, files);
    vsc_set(&objm->storage_evicted, evicted);
    vsc_set(&objm->storage_relayed, c.relayed);
    vsc_set(&objm->storage_lent_bytes, lent);
    vsc_set(&objm->recovery_objects, c.resurrected);
    vsc_set(&objm->recovery_dropped, dropped);
}

static void tick_end(struct loop *loop, void *arg)
{
    struct worker *w = arg;
    uint64_t now_ns = loop_mono_ns(loop);
    if (now_ns - w->stats_ns >= STATS_STEP_NS) {
        w->stats_ns = now_ns;
        set_all(w);
    }
}

static void housekeeping(struct timer *timer, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, timer);
    uint64_t next_ns = cache_expire(w->cache);
    uint64_t latest_ns = clock_after(loop_mono_ns(loop), HOUSEKEEPING_NS);
    timer_arm(loop, timer, next_ns < latest_ns ? next_ns : latest_ns, housekeeping);
}

void worker__stats_start(struct worker *w, struct loop *loop)
{
    loop_on_tick_end(loop, tick_end, w);
    timer_arm(loop, &w->timer, loop_mono_ns(loop), housekeeping);
    worker__bans_start(w, loop);
}

void worker__stats_stop(struct worker *w, struct loop *loop)
{
    timer_disarm(loop, &w->timer);
    worker__bans_stop(w, loop);
    set_all(w);
}
