/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bans: their commands, the lurker's timer on loop 0, and their counters. */
#include "worker/worker_priv.h"

#include "base/cursor.h"
#include "cache/cache_ban.h"

/* How soon a new ban is noticed. */
#define LOOK_NS (100 * NS_PER_MS)
#define WHY_BYTES 512

/* ---- the lurker ---- */

static uint32_t xid_of(const struct objcore *oc)
{
    struct str text = obj_get(oc, OA_XID);
    struct cursor c = cursor_of(text.ptr, text.len);
    return cursor_u32(&c);
}

static void killed(void *arg, const struct objcore *oc, bool is_cutoff)
{
    const struct worker *w = arg;
    vsl_nowf(w->log, SLT_ExpBan, 0, "%u %s", xid_of(oc),
             is_cutoff ? "killed for lurker cutoff" : "banned by lurker");
}

static double seconds_to(uint64_t when_ns)
{
    return ((double)when_ns - (double)clock_real_ns()) / 1e9;
}

void worker__expiry_news(void *arg, enum expiry_news what, const struct objcore *oc,
                         uint64_t when_ns)
{
    const struct worker *w = arg;
    unsigned flags = obj_flags(oc);
    const void *p = oc;
    switch (what) {
    case EXPIRY_IN:
        vsl_nowf(w->log, SLT_ExpKill, 0, "EXP_When p=%p e=%.6f f=0x%x", p, (double)when_ns / 1e9,
                 flags);
        break;
    case EXPIRY_LOOK:
        vsl_nowf(w->log, SLT_ExpKill, 0, "EXP_expire p=%p e=%.6f f=0x%x", p, seconds_to(when_ns),
                 flags);
        break;
    case EXPIRY_OUT: {
        const struct obj_times t = obj_times(oc);
        vsl_nowf(w->log, SLT_ExpKill, 0, "EXP_Expired x=%u t=%.0f", xid_of(oc),
                 seconds_to(clock_after(t.t_origin_ns, t.ttl_ns)));
        break;
    }
    }
}

static void lurk(struct timer *timer, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, lurker);
    const struct params *p = w->conf->params;
    uint64_t now_ns = loop_mono_ns(loop);
    uint64_t moves = cache_ban_moves(w->cache);
    /* Parameters may have changed: ban_lurker_age, or _sleep, which turns it off. */
    bool is_due = w->is_banning && now_ns >= clock_after(w->lurked_ns, NS_PER_S);
    if (is_due || now_ns >= w->lurk_at_ns || moves != w->ban_moves) {
        const struct lurk_conf conf = {
            .age_ns = param(p, ban_lurker_age),
            .sleep_ns = param(p, ban_lurker_sleep),
            .holdoff_ns = param(p, ban_lurker_holdoff),
            .batch = (unsigned)param(p, ban_lurker_batch),
            .cutoff = (unsigned)param(p, ban_cutoff),
            .killed = killed,
            .arg = w,
        };
        w->ban_moves = moves;
        w->lurked_ns = now_ns;
        w->lurk_at_ns = cache_lurk(w->cache, &conf);
        if (param_bit(p, PARAM_BITS_debug, PARAM_DEBUG_lurker)) {
            uint64_t wait_ns = w->lurk_at_ns > now_ns ? w->lurk_at_ns - now_ns : 0;
            vsl_nowf(w->log, SLT_Debug, 0, "lurker: sleep = %f", (double)wait_ns / 1e9);
        }
    }
    uint64_t look_ns = clock_after(now_ns, w->is_banning ? LOOK_NS : NS_PER_S);
    timer_arm(loop, timer, w->lurk_at_ns < look_ns ? w->lurk_at_ns : look_ns, lurk);
}

void worker__bans_start(struct worker *w, struct loop *loop)
{
    timer_arm(loop, &w->lurker, loop_mono_ns(loop), lurk);
}

void worker__bans_stop(struct worker *w, struct loop *loop)
{
    timer_disarm(loop, &w->lurker);
}

void worker__bans_count(struct worker *w)
{
    struct vsc_main *main = vsc_of(w->main_seg);
    struct cache_ban_stats s;
    cache_ban_stat(w->cache, &s);
    w->is_banning = s.bans > 1;
    vsc_set(&main->bans, s.bans);
    vsc_set(&main->bans_completed, s.completed);
    vsc_set(&main->bans_obj, s.obj);
    vsc_set(&main->bans_req, s.req);
    vsc_set(&main->bans_added, s.added);
    vsc_set(&main->bans_deleted, s.deleted);
    vsc_set(&main->bans_tested, s.tested);
    vsc_set(&main->bans_tests_tested, s.tests_tested);
    vsc_set(&main->bans_obj_killed, s.obj_killed);
    vsc_set(&main->bans_dups, s.dups);
    vsc_set(&main->bans_lurker_tested, s.lurker_tested);
    vsc_set(&main->bans_lurker_tests_tested, s.lurker_tests_tested);
    vsc_set(&main->bans_lurker_obj_killed, s.lurker_obj_killed);
    vsc_set(&main->bans_lurker_obj_killed_cutoff, s.lurker_obj_killed_cutoff);
    vsc_set(&main->bans_lurker_contention, s.lurker_contention);
    vsc_set(&main->bans_persisted_bytes, s.persisted_bytes);
    vsc_set(&main->bans_persisted_fragmentation, s.persisted_fragmentation);
    cache_ban_dups(w->cache, param(w->conf->params, ban_dups) != 0);
}

static void kicked(struct post *post, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(post, struct worker, kick);
    atomic_store(&w->is_kicked, false);
    timer_disarm(loop, &w->lurker);
    lurk(&w->lurker, loop);
}

/* Any thread. */
static void kick(struct worker *w)
{
    if (w->runs && !atomic_exchange(&w->is_kicked, true)) {
        w->kick.fn = kicked;
        loop_post(run_loop(w->run, 0), &w->kick);
    }
}

/* ---- commands ---- */

void worker__cmd_ban(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    char text[WHY_BYTES];
    struct sb why = sb_of(text, sizeof text);
    cache_ban_dups(w->cache, param(w->conf->params, ban_dups) != 0);
    enum rc rc = cache_ban_words(w->cache, &cli->req->argv[1], cli->req->argc - 1, &why);
    if (rc != RC_OK) {
        cli_fail(cli, rc == RC_INVALID ? CLI_PARAM : CLI_CANNOT, "%.*s", STR_ARG(sb_str(&why)));
        return;
    }
    kick(w);
}

struct listing {
    struct cli *cli;
    bool is_debug;
    bool has_some;
};

/* A completed ban's words say nothing any more. */
static struct str text_of(const struct ban_info *info)
{
    return info->is_completed ? STR("") : info->text;
}

static void list_one(void *arg, const struct ban_info *info)
{
    struct listing *l = arg;
    cli_printf(l->cli, "%10.6f %5llu %s", (double)info->time_ns / 1e9,
               (unsigned long long)info->refs, info->is_completed ? "C" : "-");
    if (l->is_debug) {
        cli_printf(l->cli, "%s%s %p ", info->tests_req ? "R" : "-", info->tests_obj ? "O" : "-",
                   info->id);
    }
    cli_printf(l->cli, "  %.*s\n", STR_ARG(text_of(info)));
}

static void list_one_json(void *arg, const struct ban_info *info)
{
    struct listing *l = arg;
    cli_printf(l->cli,
               "%s{\n    \"time\": %.6f,\n    \"refs\": %llu,\n    \"completed\": %s,\n"
               "    \"spec\": ",
               l->has_some ? ",\n  " : "", (double)info->time_ns / 1e9,
               (unsigned long long)info->refs, info->is_completed ? "true" : "false");
    cli_text_json(l->cli->text, text_of(info));
    if (l->is_debug) {
        cli_printf(
            l->cli, ",\n    \"req_tests\": %s,\n    \"obj_tests\": %s,\n    \"pointer\": \"%p\"",
            info->tests_req ? "true" : "false", info->tests_obj ? "true" : "false", info->id);
    }
    cli_printf(l->cli, "\n  }");
    l->has_some = true;
}

void worker__cmd_ban_list(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    struct listing l = {
        .cli = cli,
        .is_debug = param_bit(w->conf->params, PARAM_BITS_debug, PARAM_DEBUG_lurker),
    };
    if (cli->json) {
        cli_json_open(cli);
        cache_ban_list(w->cache, list_one_json, &l);
        cli_json_close(cli);
        return;
    }
    cli_printf(cli, "Present bans:\n");
    cache_ban_list(w->cache, list_one, &l);
}
