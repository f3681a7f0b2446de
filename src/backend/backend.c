/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A backend's life.
 *
 *   1 made     counters hidden, no probe runs; its policy has the first reference
 *   2 warm     counters listed, the probe runs; and cold again, as often as the policy is
 *   3 unowned  the last reference went: no longer listed, and its name is free.  A message goes
 * round the loops, and that of the probe ends it 4 gone     an offload thread takes the counters
 * away (they are files) and frees it
 *
 * After run_stop nobody carries messages any more: backends_free does what is left of 3 and 4. */
#include "backend/backend_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"
#include "base/sb.h"

/* ---- the set ---- */

struct backends *backends_new(const struct backends_conf *conf)
{
    CHECK(conf->run != NULL);
    struct backends *set = xcalloc(1, sizeof *set);
    set->magic = BACKENDS_MAGIC;
    set->conf = *conf;
    mutex_init(&set->lock);
    list_init(&set->all);
    list_init(&set->conns);
    return set;
}

static bool ref_unless_gone(struct backend *b)
{
    unsigned refs = atomic_load(&b->refs);
    while (refs > 0) {
        if (atomic_compare_exchange_weak(&b->refs, &refs, refs + 1)) {
            return true;
        }
    }
    return false;
}

void backends_each(struct backends *backends, void (*fn)(struct backend *backend, void *arg),
                   void *arg)
{
    CHECK_OBJ(backends, BACKENDS_MAGIC);
    mutex_lock(&backends->lock);
    for (struct list *at = backends->all.next; at != &backends->all; at = at->next) {
        struct backend *b = CONTAINER_OF(at, struct backend, link);
        if (ref_unless_gone(b)) {
            fn(b, arg);
            backend_release(&b);
        }
    }
    mutex_unlock(&backends->lock);
}

void backends_loop_stop(struct backends *backends, struct loop *loop)
{
    CHECK_OBJ(backends, BACKENDS_MAGIC);
    mutex_lock(&backends->lock);
    for (struct list *at = backends->all.next; at != &backends->all; at = at->next) {
        struct backend *b = CONTAINER_OF(at, struct backend, link);
        if (b->probe != NULL) {
            probe__loop_stop(b->probe, loop);
        }
    }
    for (struct list *at = backends->conns.next; at != &backends->conns; at = at->next) {
        conns__drop(CONTAINER_OF(at, struct conns, link));
    }
    mutex_unlock(&backends->lock);
}

/* ---- the end ---- */

/* Nobody counts any more: no connection is in use, and the probe is told here.  Under the set's
 * lock, or alone. */
static void close_counters(struct backend *b)
{
    if (b->probe != NULL) {
        probe__detach(b->probe);
    }
    if (b->seg != NULL) {
        vsc_sub(&b->set->conf.main->n_backend, 1);
        vsm_seg_free(&b->seg);
    }
}

static void destroy(struct backend *b)
{
    close_counters(b);
    if (b->probe != NULL) {
        probe__release(&b->probe);
    }
    XFREE(b->name);
    XFREE(b->cli_name);
    XFREE(b->host_header);
    b->magic = 0;
    free(b);
}

static void destroy_offloaded(void *arg)
{
    struct backend *b = arg;
    CHECK_OBJ(b, BACKEND_MAGIC);
    struct backends *set = b->set;
    mutex_lock(&set->lock);
    list_remove(&b->link);
    close_counters(b);
    mutex_unlock(&set->lock);
    queue__end(&b->queue);
    conns__release(&b->conns);
    destroy(b);
}

static void reap(struct post *post, struct loop *loop)
{
    struct backend *b = CONTAINER_OF(post, struct backend, reaper);
    CHECK_OBJ(b, BACKEND_MAGIC);
    if (b->probe != NULL) {
        probe__loop_stop(b->probe, loop);
    }
    struct run *run = b->set->conf.run;
    b->reaped++;
    if (b->reaped < run_loops(run)) {
        loop_post(run_loop(run, b->reaped), &b->reaper);
    } else {
        offload_detached(run, destroy_offloaded, b);
    }
}

void backend_ref(struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    unsigned before = atomic_fetch_add_explicit(&backend->refs, 1, memory_order_relaxed);
    CHECK(before > 0);
}

void backend_release(struct backend **backend)
{
    struct backend *b = *backend;
    *backend = NULL;
    if (b == NULL) {
        return;
    }
    CHECK_OBJ(b, BACKEND_MAGIC);
    if (atomic_fetch_sub(&b->refs, 1) == 1) {
        b->reaper.fn = reap;
        loop_post(run_loop(b->set->conf.run, 0), &b->reaper);
    }
}

void backends_free(struct backends **backends)
{
    struct backends *set = *backends;
    *backends = NULL;
    if (set == NULL) {
        return;
    }
    CHECK_OBJ(set, BACKENDS_MAGIC);
    for (struct list *at = list_pop_front(&set->all); at != NULL; at = list_pop_front(&set->all)) {
        destroy(CONTAINER_OF(at, struct backend, link));
    }
    for (struct list *at = list_pop_front(&set->conns); at != NULL;
         at = list_pop_front(&set->conns)) {
        struct conns *conns = CONTAINER_OF(at, struct conns, link);
        conns__free(&conns);
    }
    mutex_fini(&set->lock);
    set->magic = 0;
    free(set);
}

/* ---- the beginning ---- */

static char *host_header_of(const struct backend_spec *spec, const struct endpoints *ends)
{
    if (spec->host_header != NULL) {
        return xstrdup(spec->host_header);
    }
    char text[INET6_ADDRSTRLEN];
    struct sb sb = sb_of(text, sizeof text);
    endpoint__host(&sb, &ends->at[0]);
    return str_dup(sb_str(&sb));
}

/* Who is there already (of a policy that was discarded) leaves its name to who comes: what it goes
 * on to count is not seen any more. */
static void clear_name(struct backends *set, const char *cli_name)
{
    for (struct list *at = set->all.next; at != &set->all; at = at->next) {
        struct backend *b = CONTAINER_OF(at, struct backend, link);
        if (b->seg != NULL && strcmp(b->cli_name, cli_name) == 0) {
            vsm_seg_withdraw(b->seg);
        }
    }
}

static enum rc open_counters(struct backend *b)
{
    char *ident = xasprintf("VBE.%s", b->cli_name);
    mutex_lock(&b->set->lock);
    clear_name(b->set, b->cli_name);
    enum rc rc = vsc_new(b->set->conf.shm, &vsc_class_vbe, ident, &b->seg);
    mutex_unlock(&b->set->lock);
    XFREE(ident);
    if (rc == RC_OK) {
        vsc_show(b->seg, false);
        b->counters = vsc_of(b->seg);
        vsc_add(&b->set->conf.main->n_backend, 1);
    }
    return rc;
}

static struct backend *make(struct backends *set, const struct backend_spec *spec)
{
    struct backend *b = xcalloc(1, sizeof *b);
    b->magic = BACKEND_MAGIC;
    b->set = set;
    list_init(&b->link);
    b->name = xstrdup(spec->name);
    b->cli_name = xasprintf("%s.%s", spec->vcl, spec->name);
    b->connect_timeout_ns = spec->connect_timeout_ns;
    b->first_byte_timeout_ns = spec->first_byte_timeout_ns;
    b->between_bytes_timeout_ns = spec->between_bytes_timeout_ns;
    b->proxy_header = spec->proxy_header;
    atomic_init(&b->refs, 1);
    atomic_init(&b->admin, BACKEND_AUTO);
    atomic_init(&b->admin_changed_ns, clock_real_ns());
    queue__init(&b->queue, spec->max_connections);
    return b;
}

struct making {
    const struct backend_spec *spec;
    struct backend *backend;
    enum rc rc;
};

/* What blocks: names, and the files of counters. */
static void prepare(void *arg)
{
    struct making *m = arg;
    struct backend *b = m->backend;
    m->rc = endpoint__resolve(m->spec, &b->ends);
    if (m->rc == RC_OK) {
        b->host_header = host_header_of(m->spec, &b->ends);
        m->rc = open_counters(b);
    }
}

enum rc backend_new(struct backends *set, const struct backend_spec *spec, struct backend **out)
{
    CHECK_OBJ(set, BACKENDS_MAGIC);
    CHECK(spec->proxy_header <= 2);
    *out = NULL;
    struct backend *b = make(set, spec);
    struct making m = {.spec = spec, .backend = b};
    offload(prepare, &m);
    enum rc rc = m.rc;
    if (rc == RC_OK && spec->probe != NULL) {
        rc = probe__new(b, spec->probe, spec->preamble, &b->probe);
    }
    if (rc != RC_OK) {
        destroy(b);
        return rc;
    }
    b->conns = conns__of(set, &b->ends, spec->preamble);
    mutex_lock(&set->lock);
    list_push_back(&set->all, &b->link);
    mutex_unlock(&set->lock);
    *out = b;
    return RC_OK;
}

void backend_warm(struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    vsc_show(backend->seg, true);
    if (backend->probe != NULL) {
        probe__want(backend->probe, true);
    }
}

void backend_cold(struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    if (backend->probe != NULL) {
        probe__want(backend->probe, false);
    }
    vsc_show(backend->seg, false);
}

/* ---- what it says of itself ---- */

const char *backend_name(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->name;
}

const char *backend_cli_name(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->cli_name;
}

const char *backend_host_header(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->host_header;
}

bool backend_wants_preface(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->proxy_header != 0;
}

uint64_t backend_first_byte_timeout_ns(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->first_byte_timeout_ns > 0
               ? backend->first_byte_timeout_ns
               : param(backend->set->conf.params, first_byte_timeout);
}

uint64_t backend_between_bytes_timeout_ns(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->between_bytes_timeout_ns > 0
               ? backend->between_bytes_timeout_ns
               : param(backend->set->conf.params, between_bytes_timeout);
}

struct vsc_vbe *backend_counters(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->counters;
}

/* ---- health ---- */

void backend_set_admin(struct backend *backend, enum backend_admin admin)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    if (atomic_exchange(&backend->admin, admin) != (uint32_t)admin) {
        atomic_store(&backend->admin_changed_ns, clock_real_ns());
    }
}

bool backend_is_healthy(const struct backend *backend, uint64_t *changed_ns)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    uint32_t admin = atomic_load_explicit(&backend->admin, memory_order_relaxed);
    bool is_auto = admin == BACKEND_AUTO;
    if (changed_ns != NULL) {
        uint64_t probe_ns = atomic_load(&backend->probe_changed_ns);
        *changed_ns = is_auto && probe_ns > 0 ? probe_ns : atomic_load(&backend->admin_changed_ns);
    }
    return is_auto ? !atomic_load_explicit(&backend->is_sick, memory_order_relaxed)
                   : admin == BACKEND_HEALTHY;
}

void backend_status(struct backend *backend, struct backend_status *out)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    *out = (struct backend_status){
        .admin = (enum backend_admin)atomic_load(&backend->admin),
        .has_probe = backend->probe != NULL,
        .is_sick = atomic_load(&backend->is_sick),
    };
    uint64_t admin_ns = atomic_load(&backend->admin_changed_ns);
    uint64_t probe_ns = atomic_load(&backend->probe_changed_ns);
    out->changed_ns = probe_ns > admin_ns ? probe_ns : admin_ns;
    if (backend->probe != NULL) {
        probe__status(backend->probe, out);
    }
}
