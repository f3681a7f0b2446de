/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The engine's own life: what it keeps for each loop, and transaction ids.
 *
 * Ids (VXIDs) are handed to loops in blocks, so that no request touches a word that other loops
 * write.  After `debug.xid` ids must be strictly consecutive over all loops: blocks of one, and the
 * blocks that loops still hold are dropped when they see that the epoch has moved. */
#include "engine/esi.h"
#include "engine/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "cache/cache_ban.h"
#include "engine/filtering.h"
#include "engine/vcls.h"
#include "filter/states.h"
#include "http/http_date.h"

#define LOG_BUF_BYTES ((size_t)256 << 10)
#define VXID_CHUNK 32768u
/* The log keeps 30 bits of an id. */
#define VXID_MAX ((1u << 30) - 1)

/* Storages as VCL names them: storage.s0. */
static void name_stores(struct engine *e)
{
    unsigned count = 0;
    while (e->conf.stores[count] != NULL) {
        count++;
    }
    e->stores_count = (unsigned)count;
    e->vcl_stores = xcalloc(count + 2, sizeof *e->vcl_stores);
    for (unsigned i = 0; i < count; i++) {
        e->vcl_stores[i] = (struct objm_stevedore){stv_name(e->conf.stores[i]), e->conf.stores[i]};
    }
    if (e->conf.transient != NULL) {
        e->vcl_stores[count] =
            (struct objm_stevedore){stv_name(e->conf.transient), e->conf.transient};
    }
}

/* What the operator called this instance stands in every response, and so must fit a field. */
static void name_via(struct engine *e)
{
    e->via_text = xasprintf("1.1 %s (objmapper/" OBJM_VERSION ")", e->conf.identity);
    for (char *at = e->via_text; *at != '\0'; at++) {
        if (!http_is_value((struct str){at, 1})) {
            *at = '_';
        }
    }
    e->via = str_of(e->via_text);
}

#define FETCH_OWN_BYTES ((size_t)4 << 10)

struct engine *engine_new(const struct engine_conf *conf)
{
    CHECK(conf->cache != NULL);
    CHECK(conf->log != NULL);
    struct engine *e = xcalloc(1, sizeof *e);
    e->magic = ENGINE_MAGIC;
    e->conf = *conf;
    if (e->conf.policy == NULL) {
        e->conf.policy = engine_vcl_policy();
    }
    e->slot = run_slot_claim(conf->run);
    name_via(e);
    /* The policy's and the filters' own structs are not what an operator gives room for. */
    size_t block = sizeof(struct fetch) + FETCH_OWN_BYTES + param(conf->params, workspace_backend);
    e->fetch_pool = pool_new(conf->run, "fetch", block, 64);
    e->esi_pool = pool_new(conf->run, "esi", esi__child_bytes(conf->params), 64);
    list_init(&e->vcls);
    e->house_rng.state = clock_mono_ns();
    series_init(&e->series);
    if (gethostname(e->hostname, sizeof e->hostname - 1) != 0) {
        (void)snprintf(e->hostname, sizeof e->hostname, "localhost");
    }
    name_stores(e);
    atomic_init(&e->vxid_next, 1);
    atomic_init(&e->vxid_chunk, VXID_CHUNK);
    atomic_init(&e->vxid_epoch, 0);
    return e;
}

void engine_free(struct engine **engine)
{
    struct engine *e = *engine;
    *engine = NULL;
    if (e == NULL) {
        return;
    }
    CHECK_OBJ(e, ENGINE_MAGIC);
    vcls__end(e);
    pool_free(&e->fetch_pool);
    pool_free(&e->esi_pool);
    series_fini(&e->series);
    XFREE(e->vcl_stores);
    XFREE(e->via_text);
    e->magic = 0;
    free(e);
}

/* Set between requests, so that none of them has to look. */
static void limit_regexes(struct wrk *wrk)
{
    uint64_t match = param(wrk->engine->conf.params, pcre2_match_limit);
    uint64_t depth = param(wrk->engine->conf.params, pcre2_depth_limit);
    if (UNLIKELY(match != wrk->regex_match || depth != wrk->regex_depth)) {
        regex_scratch_limits(wrk->scratch, (uint32_t)match, (uint32_t)depth);
        wrk->regex_match = match;
        wrk->regex_depth = depth;
    }
}

static void tick_end(struct loop *loop, void *arg)
{
    struct wrk *wrk = arg;
    (void)loop;
    limit_regexes(wrk);
    vsl_buf_flush(&wrk->log);
    vsc_flush(&vsc_class_main, wrk->engine->conf.main, &wrk->main);
    vsc_flush(&vsc_class_objm, wrk->engine->conf.objm, &wrk->objm);
}

/* Some megabytes, of which a loop that sees few names uses few: so not cleared by hand, which would
 * touch all of them. */
static struct wrk *wrk_new(void)
{
    uintptr_t align = _Alignof(struct wrk);
    void *block = xcalloc(1, sizeof(struct wrk) + align - 1);
    struct wrk *wrk = (struct wrk *)(((uintptr_t)block + align - 1) & ~(align - 1));
    wrk->block = block;
    return wrk;
}

void engine_loop_start(struct engine *engine, struct loop *loop)
{
    CHECK_OBJ(engine, ENGINE_MAGIC);
    struct wrk *wrk = wrk_new();
    wrk->engine = engine;
    wrk->loop = loop;
    wrk->active = engine->active;
    wrk->scratch = regex_scratch_new();
    wrk->plans = plan_cache_new();
    wrk->filter_states = filter_states_new(FILTER_STATES_BYTES_MAX, loop);
    limit_regexes(wrk);
    wrk->rng.state = clock_mono_ns() + loop_index(loop);
    engine->is_running = true;
    wrk->log_mem = xmalloc(LOG_BUF_BYTES);
    vsl_buf_init(&wrk->log, engine->conf.log, wrk->log_mem, LOG_BUF_BYTES);
    loop_slot_set(loop, engine->slot, wrk);
    loop_on_tick_end(loop, tick_end, wrk);
}

void engine_loop_stop(struct engine *engine, struct loop *loop)
{
    struct wrk *wrk = loop_slot(loop, engine->slot);
    CHECK(wrk != NULL);
    tick_end(loop, wrk);
    loop_slot_set(loop, engine->slot, NULL);
    regex_scratch_free(&wrk->scratch);
    plan_cache_free(&wrk->plans);
    filter_states_free(&wrk->filter_states);
    free(wrk->log_mem);
    free(wrk->block);
}

struct wrk *engine__wrk(const struct engine *engine)
{
    struct wrk *wrk = loop_slot(loop_self(), engine->slot);
    CHECK(wrk != NULL);
    return wrk;
}

struct vsc_main *engine_counters(struct engine *engine)
{
    return &engine__wrk(engine)->main;
}

struct vsc_objm *engine_objm_counters(struct engine *engine)
{
    return &engine__wrk(engine)->objm;
}

void engine_log_open(struct engine *engine, struct vslb *log, uint32_t id)
{
    vslb_open(log, &engine__wrk(engine)->log, id);
}

uint32_t engine_vxid(struct engine *engine)
{
    struct wrk *wrk = engine__wrk(engine);
    uint32_t epoch = atomic_load_explicit(&engine->vxid_epoch, memory_order_acquire);
    if (wrk->vxid_left == 0 || wrk->vxid_epoch != epoch) {
        uint32_t chunk = atomic_load_explicit(&engine->vxid_chunk, memory_order_relaxed);
        wrk->vxid_next = atomic_fetch_add_explicit(&engine->vxid_next, chunk, memory_order_relaxed);
        wrk->vxid_left = chunk;
        wrk->vxid_epoch = epoch;
    }
    wrk->vxid_left--;
    /* 0 means "no transaction": after 2^30 ids one is given twice instead. */
    uint32_t vxid = wrk->vxid_next++ & VXID_MAX;
    return vxid == 0 ? VXID_MAX : vxid;
}

void engine_series_begin(struct engine *engine, uint32_t seed)
{
    CHECK_OBJ(engine, ENGINE_MAGIC);
    series_begin(&engine->series, seed);
}

void engine_vxid_restart(struct engine *engine, uint32_t next, uint32_t chunk)
{
    CHECK_OBJ(engine, ENGINE_MAGIC);
    CHECK(chunk > 0);
    atomic_store(&engine->vxid_next, next);
    atomic_store(&engine->vxid_chunk, chunk);
    atomic_fetch_add(&engine->vxid_epoch, 1);
}

void engine_vxid_where(const struct engine *engine, uint32_t *last, uint32_t *chunk)
{
    CHECK_OBJ(engine, ENGINE_MAGIC);
    *last = atomic_load(&engine->vxid_next) - 1;
    *chunk = atomic_load(&engine->vxid_chunk);
}

struct str engine__date(struct wrk *wrk)
{
    uint64_t now_s = wrk_real_ns(wrk) / NS_PER_S;
    if (now_s != wrk->date_s) {
        http_date_format(now_s, wrk->date);
        wrk->date_s = now_s;
    }
    return (struct str){wrk->date, HTTP_DATE_BYTES};
}

bool engine__ban(struct engine *engine, struct arena *ws, struct str spec, struct str *error)
{
    struct sb why = arena_builder(ws);
    if (cache_ban(engine->conf.cache, spec, &why) == RC_OK) {
        return true;
    }
    *error = arena_claim(ws, &why);
    return false;
}
