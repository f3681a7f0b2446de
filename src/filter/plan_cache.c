/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Plans that were made before.
 *
 * A plan depends on the side, the body's format, the filters that are wanted with their positions,
 * what may fill gaps, and what may not be used; not on what the filters are to be told (`arg`).
 * All that is written into a key, filters of modules by their text, since one may be unloaded and
 * another loaded where it was; so nothing here points at what can go.  A kept plan says where each
 * of its steps comes from in the question, and is put together again for each asker in his arena.
 *
 * A cache belongs to one thread.  It has SETS * WAYS places; the one of a set that was not used
 * last makes room.  Questions with keys longer than KEY_MAX are planned each time, and so are plans
 * with filters that came from elsewhere than the question and the table of built-in ones.
 *
 * What is to be kept is planned in memory of the cache's own: so a request's workspace, which may
 * be small, has to hold the plan alone, and not the search for it. */
#include "filter/plan_priv.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"

enum { SETS = 64, WAYS = 2, KEY_MAX = 1024, BLOCK_BYTES = 64 << 10 };

enum source { FROM_WANT, FROM_FILL, FROM_TABLE };

/* A filter, and where it is found. */
struct origin {
    enum source source;
    unsigned index;               /* of the want or the fill */
    const struct filter *builtin; /* FROM_TABLE */
    uint8_t arg_of;               /* PLAN_NO_WANT: none */
    enum filter_pos pos;
};

struct kept_step {
    struct origin origin;
    bool is_beresp;    /* it makes the body's own format again */
    bool is_unchanged; /* or what it takes */
    size_t out_at;     /* else this part of its list */
    size_t out_len;
};

struct kept_left {
    struct origin origin;
    const char *reason;
};

struct kept {
    size_t key_len;
    char *key;
    struct kept_step *steps;
    unsigned steps_count;
    struct kept_left *left;
    unsigned left_count;
};

struct plan_cache {
    struct kept *places[SETS][WAYS];
    uint8_t last[SETS]; /* which of each set was used last */
    struct plan_cache_sums sums;
    char *block; /* for planning; NULL: there was nothing to plan yet */
};

struct plan_cache *plan_cache_new(void)
{
    return xcalloc(1, sizeof(struct plan_cache));
}

static void kept_free(struct kept **kept)
{
    if (*kept == NULL) {
        return;
    }
    for (unsigned n = 0; n < (*kept)->left_count; n++) {
        free((void *)(uintptr_t)(*kept)->left[n].reason);
    }
    free((*kept)->left);
    free((*kept)->steps);
    free((*kept)->key);
    XFREE(*kept);
}

void plan_cache_free(struct plan_cache **cache)
{
    if (*cache == NULL) {
        return;
    }
    for (unsigned n = 0; n < SETS; n++) {
        for (unsigned m = 0; m < WAYS; m++) {
            kept_free(&(*cache)->places[n][m]);
        }
    }
    free((*cache)->block);
    XFREE(*cache);
}

struct plan_cache_sums plan_cache_sums(const struct plan_cache *cache)
{
    return cache->sums;
}

/* ---- the key ---- */

static bool is_builtin(enum filter_side side, const struct filter *filter)
{
    unsigned count;
    unsigned fills;
    const struct filter *const *all = filter_builtins(side, &count, &fills);
    for (unsigned n = 0; n < count; n++) {
        if (all[n] == filter) {
            return true;
        }
    }
    return false;
}

static void key_text(struct sb *key, struct str text)
{
    sb_put(key, text);
    sb_chr(key, '\0');
}

static void key_filter(struct sb *key, enum filter_side side, const struct filter *filter)
{
    if (is_builtin(side, filter)) {
        sb_chr(key, '\1');
        sb_add(key, &filter, sizeof(filter));
        return;
    }
    key_text(key, filter->name);
    key_text(key, filter->in);
    key_text(key, filter->out);
    sb_add(key, &filter->recommended, sizeof(filter->recommended));
    sb_add(key, &filter->flags, sizeof(filter->flags));
    sb_add(key, &filter->placed, sizeof(filter->placed));
}

/* Which of the fills a wanted filter is, if it is one: that changes what it is for. */
static void key_fill_of(struct sb *key, const struct plan_ask *ask, const struct filter *filter)
{
    unsigned at = 0;
    while (at < ask->fills_count && ask->fills[at] != filter) {
        at++;
    }
    sb_chr(key, (char)at);
}

static void key_of(struct sb *key, const struct plan_ask *ask)
{
    unsigned all;
    unsigned fills;
    sb_chr(key, (char)ask->side);
    key_text(key, ask->from);
    for (unsigned n = 0; n < ask->wants_count; n++) {
        const struct plan_want *want = &ask->wants[n];
        sb_chr(key, (char)('a' + want->pos));
        key_filter(key, ask->side, want->filter);
        key_fill_of(key, ask, want->filter);
    }
    sb_chr(key, '\0');
    if (ask->fills == filter_builtins(ask->side, &all, &fills)) {
        sb_chr(key, (char)ask->fills_count);
    } else {
        for (unsigned n = 0; n < ask->fills_count; n++) {
            sb_chr(key, 'f');
            key_filter(key, ask->side, ask->fills[n]);
        }
    }
    for (unsigned n = 0; n < ask->without_count; n++) {
        sb_chr(key, '-');
        key_text(key, ask->without[n]);
    }
}

/* ---- keeping ---- */

/* In: arg_of and pos are set.  False: it came from elsewhere. */
static bool find_origin(const struct plan_ask *ask, const struct filter *filter, uint8_t want,
                        bool fills_gap, struct origin *out)
{
    if (want != PLAN_NO_WANT) {
        out->source = FROM_WANT;
        out->index = want;
        return true;
    }
    if (fills_gap) {
        out->source = FROM_FILL;
        while (ask->fills[out->index] != filter) {
            out->index++;
            CHECK(out->index < ask->fills_count);
        }
        return true;
    }
    out->source = FROM_TABLE;
    out->builtin = filter;
    return is_builtin(ask->side, filter);
}

/* Where a list has this name; the name itself may stand in another list with the same format. */
static size_t find_in(struct str list, struct str name)
{
    for (struct str rest = list; rest.ptr != NULL;) {
        struct str one = str_cut(&rest, ',');
        if (str_eq(one, name)) {
            return (size_t)(one.ptr - list.ptr);
        }
    }
    CHECK(false);
    return 0;
}

static bool keep_step(const struct plan_ask *ask, const struct plan_step *step,
                      struct kept_step *kept)
{
    kept->origin = (struct origin){.arg_of = step->arg_of, .pos = step->pos};
    if (!find_origin(ask, step->filter, step->want, step->is_builtin, &kept->origin)) {
        return false;
    }
    kept->is_beresp = str_eq(step->out, ask->from);
    kept->is_unchanged = !kept->is_beresp && str_eq(step->out, step->in);
    if (!kept->is_beresp && !kept->is_unchanged) {
        kept->out_at = find_in(step->filter->out, step->out);
        kept->out_len = step->out.len;
    }
    return true;
}

static bool keep_left(const struct plan_ask *ask, const struct plan_left *left,
                      struct kept_left *kept)
{
    kept->reason = str_dup(str_of(left->reason));
    kept->origin = (struct origin){.arg_of = left->arg_of, .pos = left->want.pos};
    return find_origin(ask, left->want.filter, left->index, false, &kept->origin);
}

/* NULL: it is not for keeping. */
static struct kept *kept_new(const struct plan_ask *ask, const struct plan *plan, struct str key)
{
    struct kept *kept = xcalloc(1, sizeof(*kept));
    kept->key = str_dup(key);
    kept->key_len = key.len;
    kept->steps = xcalloc(plan->steps_count + 1, sizeof(*kept->steps));
    kept->left = xcalloc(plan->left_count + 1, sizeof(*kept->left));
    kept->steps_count = plan->steps_count;
    kept->left_count = plan->left_count;
    bool is_fine = true;
    for (unsigned n = 0; n < plan->steps_count; n++) {
        is_fine &= keep_step(ask, &plan->steps[n], &kept->steps[n]);
    }
    for (unsigned n = 0; n < plan->left_count; n++) {
        is_fine &= keep_left(ask, &plan->left[n], &kept->left[n]);
    }
    if (!is_fine) {
        kept_free(&kept);
    }
    return kept;
}

/* ---- putting together again ---- */

static const struct filter *filter_of(const struct plan_ask *ask, const struct origin *origin)
{
    switch (origin->source) {
    case FROM_WANT:
        return ask->wants[origin->index].filter;
    case FROM_FILL:
        return ask->fills[origin->index];
    case FROM_TABLE:
        break;
    }
    return origin->builtin;
}

static uint8_t want_of(const struct origin *origin)
{
    return origin->source == FROM_WANT ? (uint8_t)origin->index : PLAN_NO_WANT;
}

static const void *arg_of(const struct plan_ask *ask, const struct origin *origin)
{
    return origin->arg_of == PLAN_NO_WANT ? NULL : ask->wants[origin->arg_of].arg;
}

static void restore_steps(const struct plan_ask *ask, const struct kept *kept,
                          struct plan_step *steps, struct plan *out)
{
    struct str format = ask->from;
    for (unsigned n = 0; n < kept->steps_count; n++) {
        const struct kept_step *from = &kept->steps[n];
        struct plan_step *step = &steps[n];
        *step = (struct plan_step){
            .filter = filter_of(ask, &from->origin),
            .pos = from->origin.pos,
            .arg = arg_of(ask, &from->origin),
            .in = format,
            .is_builtin = from->origin.source == FROM_FILL,
            .want = want_of(&from->origin),
            .arg_of = from->origin.arg_of,
        };
        if (from->is_beresp) {
            format = ask->from;
        } else if (!from->is_unchanged) {
            format = (struct str){step->filter->out.ptr + from->out_at, from->out_len};
        }
        step->out = format;
    }
    out->steps = steps;
    out->steps_count = kept->steps_count;
    out->to = format;
}

static enum rc restore(const struct plan_ask *ask, const struct kept *kept, struct arena *arena,
                       struct plan *out)
{
    struct plan_step *steps = arena_alloc(arena, kept->steps_count * sizeof(*steps));
    struct plan_left *left = NULL;
    if (steps == NULL) {
        return RC_LIMIT;
    }
    if (kept->left_count > 0) {
        left = arena_alloc(arena, kept->left_count * sizeof(*left));
        if (left == NULL) {
            return RC_LIMIT;
        }
    }
    *out = (struct plan){
        .side = ask->side, .from = ask->from, .left = left, .left_count = kept->left_count};
    restore_steps(ask, kept, steps, out);
    for (unsigned n = 0; n < kept->left_count; n++) {
        const struct kept_left *from = &kept->left[n];
        left[n] = (struct plan_left){
            .want = {.filter = filter_of(ask, &from->origin),
                     .pos = from->origin.pos,
                     .arg = arg_of(ask, &from->origin)},
            .reason = arena_dup(arena, str_of(from->reason)).ptr,
            .index = want_of(&from->origin),
            .arg_of = from->origin.arg_of,
        };
        if (left[n].reason == NULL) {
            return RC_LIMIT;
        }
    }
    return RC_OK;
}

/* A new plan, in a form that can be kept.  NULL: it is not for keeping, or there is none. */
static struct kept *plan_to_keep(struct plan_cache *cache, const struct plan_ask *ask,
                                 struct str key)
{
    struct arena arena;
    struct plan plan;
    if (cache->block == NULL) {
        cache->block = xmalloc(BLOCK_BYTES);
    }
    arena_init(&arena, cache->block, BLOCK_BYTES);
    return plan_make(ask, &arena, &plan) == RC_OK ? kept_new(ask, &plan, key) : NULL;
}

enum rc plan_cached(struct plan_cache *cache, const struct plan_ask *ask, struct arena *arena,
                    struct plan *out)
{
    char text[KEY_MAX];
    struct sb key = sb_of(text, sizeof(text));
    key_of(&key, ask);
    if (key.overflow || ask->wants_count > PLAN_WANTS_MAX) {
        cache->sums.misses++;
        return plan_make(ask, arena, out);
    }
    unsigned set = crc32c(0, text, key.len) % SETS;
    struct kept **places = cache->places[set];
    for (unsigned n = 0; n < WAYS; n++) {
        const struct kept *kept = places[n];
        if (kept != NULL && kept->key_len == key.len && memcmp(kept->key, text, key.len) == 0) {
            cache->last[set] = (uint8_t)n;
            cache->sums.hits++;
            return restore(ask, kept, arena, out);
        }
    }
    cache->sums.misses++;
    struct kept *kept = plan_to_keep(cache, ask, sb_str(&key));
    if (kept == NULL) {
        return plan_make(ask, arena, out);
    }
    unsigned way = (cache->last[set] + 1u) % WAYS;
    kept_free(&places[way]);
    places[way] = kept;
    cache->last[set] = (uint8_t)way;
    return restore(ask, kept, arena, out);
}
