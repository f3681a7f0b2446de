/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Statistics, by the names that memcached's clients and monitors know.  What has no meaning here
 * is left out, or 0 where a program may divide by it.  Storage has no slab classes that a client
 * could tell apart: all is in class 1. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "front/mc_priv.h"

struct mc_baseline {
    struct vsc_objm objm; /* written and read by words, from any loop */
};

struct mc_baseline *mc__baseline_new(void)
{
    return xcalloc(1, sizeof(struct mc_baseline));
}

void mc__baseline_free(struct mc_baseline **baseline)
{
    XFREE(*baseline);
}

/* ---- one figure ---- */

static YIELDS void put(struct mc *mc, const char *name, const char *value)
{
    struct str n = str_of(name);
    struct str v = str_of(value);
    struct sb sb = mc__room(mc, n.len + v.len + 64);
    if (mc->req.dialect == MC_BINARY) {
        mc_put_head(&sb, &mc->req,
                    &(struct mc_head){.status = MC_STATUS_OK,
                                      .key_len = (uint16_t)n.len,
                                      .body_len = n.len + v.len});
        sb_put(&sb, n);
        sb_put(&sb, v);
    } else {
        sb_lit(&sb, "STAT ");
        sb_put(&sb, n);
        sb_chr(&sb, ' ');
        sb_put(&sb, v);
        sb_lit(&sb, "\r\n");
    }
    mc__put(mc, &sb);
}

static YIELDS void put_figure(struct mc *mc, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    put(mc, name, text);
}

static YIELDS void put_end(struct mc *mc)
{
    if (mc->req.dialect == MC_BINARY) {
        put(mc, "", "");
    } else {
        mc__say(mc, STR("END\r\n"));
    }
}

/* ---- what is counted ---- */

/* By the name that a client knows. */
static const struct {
    const char *name;
    size_t at; /* in struct vsc_objm */
} counted[] = {
#define KV(name)                                                                                   \
    {                                                                                              \
#name, offsetof(struct vsc_objm, kv_##name)                                                \
    }
#define MC(name)                                                                                   \
    {                                                                                              \
#name, offsetof(struct vsc_objm, mc_##name)                                                \
    }
    KV(cmd_get),     KV(cmd_set),     KV(cmd_flush),    KV(cmd_touch),       MC(cmd_meta),
    KV(get_hits),    KV(get_misses),  KV(delete_hits),  KV(delete_misses),   KV(incr_hits),
    KV(incr_misses), KV(decr_hits),   KV(decr_misses),  KV(cas_hits),        KV(cas_misses),
    KV(cas_badval),  KV(touch_hits),  KV(touch_misses), KV(store_too_large), KV(store_no_memory),
    MC(auth_cmds),   MC(auth_errors), MC(bytes_read),   MC(bytes_written),   MC(idle_kicks),
#undef KV
#undef MC
};

static const uint64_t *field(const struct vsc_objm *objm, size_t at)
{
    return (const uint64_t *)(const void *)((const char *)objm + at);
}

/* Of all loops; what this one has counted in this tick is not among it yet. */
static uint64_t total(const struct mc *mc, size_t at)
{
    return vsc_get(field(mc->front->conf.objm, at)) + *field(mc->count, at);
}

static uint64_t since_reset(const struct mc *mc, size_t at)
{
    uint64_t all = total(mc, at);
    uint64_t before = vsc_get(field(&mc->front->baseline->objm, at));
    return all > before ? all - before : 0;
}

static void reset(struct mc *mc)
{
    for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
        size_t at = counted[i].at;
        /* The memory is our own, and not const. */
        vsc_set((uint64_t *)(void *)((char *)&mc->front->baseline->objm + at), total(mc, at));
    }
}

static YIELDS void put_time(struct mc *mc, const char *name, const struct timeval *tv)
{
    char text[48];
    (void)snprintf(text, sizeof text, "%lld.%06lld", (long long)tv->tv_sec, (long long)tv->tv_usec);
    put(mc, name, text);
}

static YIELDS void put_process(struct mc *mc)
{
    struct rusage used = {0};
    (void)getrusage(RUSAGE_SELF, &used);
    uint64_t now_ns = loop_real_ns(mc->sess->door->loop);
    uint64_t began_ns = mc->front->conf.started_ns;
    put_figure(mc, "pid", (uint64_t)getpid());
    put_figure(mc, "uptime", now_ns > began_ns ? (now_ns - began_ns) / NS_PER_S : 0);
    put_figure(mc, "time", now_ns / NS_PER_S);
    put(mc, "version", MC_VERSION);
    put_figure(mc, "pointer_size", 8 * sizeof(void *));
    put_time(mc, "rusage_user", &used.ru_utime);
    put_time(mc, "rusage_system", &used.ru_stime);
}

static YIELDS void put_connections(struct mc *mc)
{
    uint64_t opened = total(mc, offsetof(struct vsc_objm, mc_opened));
    uint64_t closed = total(mc, offsetof(struct vsc_objm, mc_closed));
    put_figure(mc, "max_connections", param(mc->front->conf.params, max_requests));
    put_figure(mc, "curr_connections", opened > closed ? opened - closed : 0);
    put_figure(mc, "total_connections", opened);
    put_figure(mc, "rejected_connections",
               total(mc, offsetof(struct vsc_objm, limit_requests)) +
                   total(mc, offsetof(struct vsc_objm, limit_memory)));
    put_figure(mc, "accepting_conns", 1);
    put_figure(mc, "threads", run_loops(mc->front->conf.run));
    put_figure(mc, "conn_yields", total(mc, offsetof(struct vsc_objm, mc_yields)));
}

static YIELDS void put_general(struct mc *mc)
{
    struct kv_stats s;
    kv_stat(&mc->kv, &s);
    put_process(mc);
    put_connections(mc);
    for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
        put_figure(mc, counted[i].name, since_reset(mc, counted[i].at));
    }
    put_figure(mc, "limit_maxbytes", s.bytes_max);
    put_figure(mc, "bytes", s.bytes);
    put_figure(mc, "curr_items", s.items);
    put_figure(mc, "total_items", s.total_items);
    put_figure(mc, "evictions", s.evictions);
}

static YIELDS void put_items(struct mc *mc)
{
    struct kv_stats s;
    kv_stat(&mc->kv, &s);
    if (s.items == 0) {
        return;
    }
    put_figure(mc, "items:1:number", s.items);
    put_figure(mc, "items:1:mem_requested", s.bytes);
    put_figure(mc, "items:1:age", 0);
    put_figure(mc, "items:1:evicted", s.evictions);
    put_figure(mc, "items:1:evicted_nonzero", 0);
    put_figure(mc, "items:1:evicted_time", 0);
    put_figure(mc, "items:1:outofmemory",
               since_reset(mc, offsetof(struct vsc_objm, kv_store_no_memory)));
    put_figure(mc, "items:1:tailrepairs", 0);
    put_figure(mc, "items:1:reclaimed", 0);
    put_figure(mc, "items:1:expired_unfetched", 0);
    put_figure(mc, "items:1:evicted_unfetched", 0);
}

static YIELDS void put_slabs(struct mc *mc)
{
    static const struct {
        const char *name;
        size_t at;
    } rows[] = {
        {"1:get_hits", offsetof(struct vsc_objm, kv_get_hits)},
        {"1:cmd_set", offsetof(struct vsc_objm, kv_cmd_set)},
        {"1:delete_hits", offsetof(struct vsc_objm, kv_delete_hits)},
        {"1:incr_hits", offsetof(struct vsc_objm, kv_incr_hits)},
        {"1:decr_hits", offsetof(struct vsc_objm, kv_decr_hits)},
        {"1:cas_hits", offsetof(struct vsc_objm, kv_cas_hits)},
        {"1:cas_badval", offsetof(struct vsc_objm, kv_cas_badval)},
        {"1:touch_hits", offsetof(struct vsc_objm, kv_touch_hits)},
    };
    struct kv_stats s;
    kv_stat(&mc->kv, &s);
    put_figure(mc, "1:chunk_size", 1);
    put_figure(mc, "1:chunks_per_page", s.bytes_max);
    put_figure(mc, "1:total_pages", 1);
    put_figure(mc, "1:total_chunks", s.bytes_max);
    put_figure(mc, "1:used_chunks", s.bytes);
    put_figure(mc, "1:free_chunks", s.bytes_max > s.bytes ? s.bytes_max - s.bytes : 0);
    put_figure(mc, "1:free_chunks_end", 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        put_figure(mc, rows[i].name, since_reset(mc, rows[i].at));
    }
    put_figure(mc, "active_slabs", 1);
    put_figure(mc, "total_malloced", s.bytes_max);
}

static YIELDS void put_settings(struct mc *mc)
{
    const struct front_listen *l = mc->sess->listen;
    const struct params *p = mc->front->conf.params;
    struct kv_stats s;
    kv_stat(&mc->kv, &s);
    put_figure(mc, "maxbytes", s.bytes_max);
    put_figure(mc, "maxconns", param(p, max_requests));
    put(mc, "tcpport", l->is_unix ? "0" : l->port);
    put(mc, "udpport", "0");
    put(mc, "inter", l->is_unix ? "NULL" : l->addr);
    put(mc, "verbosity", "0");
    put(mc, "oldest", "0");
    put(mc, "evictions", "on");
    put(mc, "domain_socket", l->is_unix ? l->addr : "NULL");
    put(mc, "shutdown_command", "no");
    put_figure(mc, "num_threads", run_loops(mc->front->conf.run));
    put(mc, "stat_key_prefix", ":");
    put(mc, "detail_enabled", "no");
    put_figure(mc, "reqs_per_event", 64);
    put(mc, "cas_enabled", "yes");
    put(mc, "binding_protocol", "auto-negotiate");
    put(mc, "auth_enabled_sasl", l->auth != NULL ? "yes" : "no");
    put(mc, "auth_enabled_ascii", l->auth != NULL ? "yes" : "no");
    put_figure(mc, "item_size_max", s.bytes_max);
    put(mc, "maxconns_fast", "yes");
    put_figure(mc, "idle_timeout", param(p, mc_timeout_idle) / NS_PER_S);
    put(mc, "flush_enabled", "yes");
    put(mc, "dump_enabled", "no");
}

static YIELDS void put_conns(struct mc *mc)
{
    const struct sess *sess = mc->sess;
    char name[48];
    char value[128];
    (void)snprintf(name, sizeof name, "%d:addr", sess->sock.fd);
    (void)snprintf(value, sizeof value, "%s:%.*s:%.*s", sess->listen->is_unix ? "unix" : "tcp",
                   (int)sess->remote.addr_len, sess->remote.addr, (int)sess->remote.port_len,
                   sess->remote.port);
    put(mc, name, value);
    (void)snprintf(name, sizeof name, "%d:state", sess->sock.fd);
    put(mc, name, "conn_parse_cmd");
    (void)snprintf(name, sizeof name, "%d:secs_since_last_cmd", sess->sock.fd);
    put(mc, name, "0");
}

/* ---- which ---- */

typedef void put_fn(struct mc *mc); /* YIELDS */

static YIELDS void nothing(struct mc *mc)
{
    (void)mc;
}

static YIELDS void put_sizes(struct mc *mc)
{
    put(mc, "sizes_status", "disabled");
}

static const struct {
    const char *name;
    put_fn *put;
} groups[] = {
    {"", put_general},        {"settings", put_settings}, {"items", put_items},
    {"slabs", put_slabs},     {"sizes", put_sizes},       {"conns", put_conns},
    {"detail dump", nothing},
};

/* Words that are obeyed, and answered by one line. */
static YIELDS bool obey(struct mc *mc, struct str what)
{
    if (mc->req.dialect == MC_BINARY) {
        bool is_known = str_eq(what, STR("reset")) || str_eq(what, STR("detail on")) ||
                        str_eq(what, STR("detail off"));
        if (str_eq(what, STR("reset"))) {
            reset(mc);
        }
        if (is_known) {
            put_end(mc);
        }
        return is_known;
    }
    if (str_eq(what, STR("reset"))) {
        reset(mc);
        mc__say(mc, STR("RESET\r\n"));
    } else if (str_eq(what, STR("detail on")) || str_eq(what, STR("detail off"))) {
        mc__say(mc, STR("OK\r\n"));
    } else if (str_starts(what, STR("detail"))) {
        mc__say(mc, STR("CLIENT_ERROR usage: stats detail on|off|dump\r\n"));
    } else if (str_starts(what, STR("cachedump"))) {
        mc__say(mc, STR("CLIENT_ERROR stats cachedump not allowed\r\n"));
    } else {
        return false;
    }
    return true;
}

void mc__stats(struct mc *mc)
{
    struct str what = str_trim(mc->req.rest);
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (str_eq(what, str_of(groups[i].name))) {
            groups[i].put(mc);
            put_end(mc);
            return;
        }
    }
    if (obey(mc, what)) {
        return;
    }
    if (mc->req.dialect == MC_BINARY) {
        mc__status(mc, MC_STATUS_NOT_FOUND);
    } else {
        mc__say(mc, STR("ERROR\r\n"));
    }
}
