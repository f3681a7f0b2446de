/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Members of directors.
 *
 * Picking asks each member for its health, and a member may be a director that asks its own: no
 * lock can be held meanwhile.  So a list is immutable and counted; adding and removing copy it. VCL
 * seldom changes a director after vcl_init, so the copies do not matter. */
#include "vcl/members.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutex.h"
#include "vcl/director.h"

static struct members *members_new(unsigned count)
{
    struct members *list = xmalloc(sizeof *list + count * sizeof list->at[0]);
    atomic_init(&list->refs, 1);
    list->count = count;
    return list;
}

void vcl__members_init(struct member_set *set)
{
    mutex_init(&set->lock);
    set->now = members_new(0);
}

void vcl__members_fini(struct member_set *set)
{
    vcl__members_release(&set->now);
    mutex_fini(&set->lock);
}

struct members *vcl__members_ref(struct member_set *set)
{
    mutex_lock(&set->lock);
    struct members *list = set->now;
    atomic_fetch_add_explicit(&list->refs, 1, memory_order_relaxed);
    mutex_unlock(&set->lock);
    return list;
}

void vcl__members_release(struct members **list_of)
{
    struct members *list = *list_of;
    *list_of = NULL;
    if (atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) == 1) {
        free(list);
    }
}

enum rc vcl__members_add(struct member_set *set, const struct objm_backend *backend, double weight)
{
    CHECK(backend != NULL);
    mutex_lock(&set->lock);
    struct members *old = set->now;
    if (old->count == MEMBERS_MAX) {
        mutex_unlock(&set->lock);
        return RC_LIMIT;
    }
    struct members *list = members_new(old->count + 1);
    memcpy(list->at, old->at, old->count * sizeof old->at[0]);
    list->at[old->count] = (struct member){backend, weight > 0 ? weight : 0};
    set->now = list;
    mutex_unlock(&set->lock);
    vcl__members_release(&old);
    return RC_OK;
}

enum rc vcl__members_remove(struct member_set *set, const struct objm_backend *backend,
                            unsigned *index)
{
    mutex_lock(&set->lock);
    struct members *old = set->now;
    unsigned n = 0;
    while (n < old->count && old->at[n].backend != backend) {
        n++;
    }
    if (n == old->count) {
        mutex_unlock(&set->lock);
        return RC_NOT_FOUND;
    }
    struct members *list = members_new(old->count - 1);
    memcpy(list->at, old->at, n * sizeof old->at[0]);
    memcpy(list->at + n, old->at + n + 1, (list->count - n) * sizeof old->at[0]);
    set->now = list;
    mutex_unlock(&set->lock);
    vcl__members_release(&old);
    *index = n;
    return RC_OK;
}

bool vcl__members_healthy(struct objm_ctx *ctx, const struct members *list, double *changed)
{
    double latest = 0;
    bool is_healthy = false;
    for (unsigned n = 0; n < list->count && !is_healthy; n++) {
        double when;
        is_healthy = vcl_backend_healthy(ctx, list->at[n].backend, &when);
        latest = when > latest ? when : latest;
    }
    if (changed != NULL) {
        *changed = latest;
    }
    return is_healthy;
}

/* One bit a member.  Each is asked once: the answer may be another one the next time. */
struct health {
    uint64_t bits[MEMBERS_MAX / 64];
    double weight; /* of the healthy */
    unsigned count;
};

static void ask_all(struct objm_ctx *ctx, const struct members *list, struct health *health)
{
    memset(health, 0, sizeof *health);
    for (unsigned n = 0; n < list->count; n++) {
        if (vcl_backend_healthy(ctx, list->at[n].backend, NULL)) {
            health->bits[n / 64] |= UINT64_C(1) << (n % 64);
            health->weight += list->at[n].weight;
            health->count++;
        }
    }
}

static bool is_healthy(const struct health *health, unsigned n)
{
    return (health->bits[n / 64] >> (n % 64) & 1) != 0;
}

const struct objm_backend *vcl__members_pick(struct objm_ctx *ctx, const struct members *list,
                                             double at)
{
    struct health health;
    ask_all(ctx, list, &health);
    const struct objm_backend *last = NULL;
    double passed = 0;
    for (unsigned n = 0; n < list->count; n++) {
        if (!is_healthy(&health, n) || !(list->at[n].weight > 0)) {
            continue;
        }
        last = list->at[n].backend;
        passed += list->at[n].weight;
        if (at * health.weight < passed) {
            break;
        }
    }
    return last; /* rounding may have left nothing beyond the last one */
}

void vcl__members_count(struct member_set *set, unsigned *healthy, unsigned *total)
{
    struct members *list = vcl__members_ref(set);
    struct health health;
    ask_all(NULL, list, &health);
    *healthy = health.count;
    *total = list->count;
    vcl__members_release(&list);
}

void vcl__out(objm_out_fn *out, void *out_arg, const char *fmt, ...)
{
    char buf[512];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    CHECK(len >= 0);
    size_t fits = (size_t)len < sizeof buf ? (size_t)len : sizeof buf - 1;
    out(out_arg, (struct objm_str){buf, fits});
}

static void list_one(const struct member *m, bool healthy, double total_weight, bool has_weights,
                     bool is_json, objm_out_fn *out, void *out_arg)
{
    const char *name = vcl_backend_name(m->backend);
    const char *health = healthy ? "healthy" : "sick";
    double weight = healthy ? m->weight : 0;
    if (is_json) {
        vcl__out(out, out_arg, "\"%s\": {\n", name);
        if (has_weights) {
            vcl__out(out, out_arg, "\"weight\": %f,\n", weight);
        }
        vcl__out(out, out_arg, "\"health\": \"%s\"\n}", health);
    } else if (has_weights) {
        double share = total_weight > 0 ? 100 * weight / total_weight : 0;
        vcl__out(out, out_arg, "\t%s\t%6.2f%%\t%s\n", name, share, health);
    } else {
        vcl__out(out, out_arg, "\t%s\t-\t%s\n", name, health);
    }
}

void vcl__members_list(struct member_set *set, bool has_weights, bool is_json, objm_out_fn *out,
                       void *out_arg)
{
    struct members *list = vcl__members_ref(set);
    struct health health;
    ask_all(NULL, list, &health);
    if (!is_json) {
        vcl__out(out, out_arg, "\n\n\tBackend\tWeight\tHealth\n");
    } else if (has_weights) {
        vcl__out(out, out_arg, "{\n\"total_weight\": %f,\n\"backends\": {\n", health.weight);
    } else {
        vcl__out(out, out_arg, "{\n\"backends\": {\n");
    }
    for (unsigned n = 0; n < list->count; n++) {
        if (is_json && n > 0) {
            vcl__out(out, out_arg, ",\n");
        }
        list_one(&list->at[n], is_healthy(&health, n), health.weight, has_weights, is_json, out,
                 out_arg);
    }
    if (is_json) {
        vcl__out(out, out_arg, "\n}\n}");
    }
    vcl__members_release(&list);
}
