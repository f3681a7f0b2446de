/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Connections that can be used again, by whatever backend is at the same place: a policy that is
 * loaded anew goes on with the connections of the former.
 *
 * Each loop keeps those that its own fetches gave back, newest first: the one used last is the
 * least likely to have been closed by the peer.  While it is kept a connection is watched
 * (sock_idle): any byte or end of stream, or the time-out, closes it, so that a closed one is
 * seldom handed out.  It can still happen between the peer's close and our noticing it; the fetch
 * deals with that (see backend_get).
 *
 * A loop that keeps none asks another that does: a message goes to the owner, which takes a
 * connection off its epoll, between two of its ticks, and sends it back; from then on it is the
 * asker's.  So a connection is always in one loop's hands and no list has a lock.  The asker waits
 * for the answer but for a short while, since the owner may be held up; a connection that comes too
 * late is closed.  Loops that are busy all the time would hand their connections round and round
 * where a few more would do; so who has had STEALS_MAX of others within a second opens new ones. */
#include "backend/backend_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mutex.h"
#include "base/sb.h"

#define BCONN_MAGIC 0x0ee7c1d3u
#define STEALS_MAX 100u
#define STEAL_WAIT_NS (200 * NS_PER_MS)
/* What a proxy's preface may take to be written: it fits every socket's buffer. */
#define PREFACE_NS NS_PER_S

struct bconn {
    uint32_t magic;
    bool is_reused;
    struct conns *conns;
    struct backend *backend; /* while it is in use */
    struct list link;
    struct sock sock;
    size_t preface_bytes;
    char ends[2 * (INET6_ADDRSTRLEN + 8)];
    size_t ends_len;
};

/* A question to another loop, and its answer.  It belongs to the loop that it is posted to. */
struct steal {
    struct post post;
    struct backend *backend; /* a reference */
    struct loop *home;
    struct fiber *fiber; /* of home alone; NULL when nobody waits any longer */
    struct bconn *conn;  /* the answer; without a descriptor in its sock */
    int fd;
    bool is_answered;
};

static struct pool_share *own_share(struct conns *conns)
{
    CHECK(loop_self() != NULL);
    return &conns->shares[loop_index(loop_self())];
}

static void close_conn(struct bconn *c)
{
    sock_close(&c->sock);
    c->magic = 0;
    free(c);
}

static struct bconn *take_own(struct conns *conns)
{
    struct pool_share *share = own_share(conns);
    struct list *link = list_pop_front(&share->conns);
    if (link == NULL) {
        return NULL;
    }
    atomic_fetch_sub_explicit(&share->count, 1, memory_order_relaxed);
    struct bconn *c = CONTAINER_OF(link, struct bconn, link);
    CHECK_OBJ(c, BCONN_MAGIC);
    sock_idle_cancel(&c->sock);
    c->is_reused = true;
    return c;
}

/* ---- places ---- */

static bool is_same_place(const struct endpoints *a, const struct endpoints *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++) {
        same =
            a->at[i].len == b->at[i].len && memcmp(&a->at[i].sa, &b->at[i].sa, a->at[i].len) == 0;
    }
    return same;
}

static struct conns *find(struct backends *set, const struct endpoints *ends, struct str preamble)
{
    for (struct list *at = set->conns.next; at != &set->conns; at = at->next) {
        struct conns *conns = CONTAINER_OF(at, struct conns, link);
        /* One without references is on its way out. */
        struct str own = {conns->preamble_text, conns->preamble_len};
        if (conns->refs > 0 && is_same_place(&conns->ends, ends) && str_eq(own, preamble)) {
            return conns;
        }
    }
    return NULL;
}

static struct conns *make_conns(struct backends *set, const struct endpoints *ends,
                                struct str preamble)
{
    struct conns *conns = xcalloc(1, sizeof *conns);
    conns->set = set;
    conns->ends = *ends;
    conns->preamble_text = str_dup(preamble);
    conns->preamble_len = preamble.len;
    unsigned loops = run_loops(set->conf.run);
    conns->shares = xaligned(64, loops * sizeof conns->shares[0]);
    for (unsigned i = 0; i < loops; i++) {
        conns->shares[i] = (struct pool_share){.steals = 0};
        list_init(&conns->shares[i].conns);
    }
    list_push_back(&set->conns, &conns->link);
    return conns;
}

struct conns *conns__of(struct backends *set, const struct endpoints *ends, struct str preamble)
{
    mutex_lock(&set->lock);
    struct conns *conns = find(set, ends, preamble);
    if (conns == NULL) {
        conns = make_conns(set, ends, preamble);
    }
    conns->refs++;
    mutex_unlock(&set->lock);
    return conns;
}

void conns__free(struct conns **conns)
{
    struct conns *c = *conns;
    *conns = NULL;
    XFREE(c->shares);
    XFREE(c->preamble_text);
    free(c);
}

static void free_offloaded(void *arg)
{
    struct conns *conns = arg;
    struct backends *set = conns->set;
    mutex_lock(&set->lock);
    list_remove(&conns->link);
    mutex_unlock(&set->lock);
    conns__free(&conns);
}

static void reap(struct post *post, struct loop *loop)
{
    struct conns *conns = CONTAINER_OF(post, struct conns, reaper);
    (void)loop;
    conns__drop(conns);
    struct run *run = conns->set->conf.run;
    conns->reaped++;
    if (conns->reaped < run_loops(run)) {
        loop_post(run_loop(run, conns->reaped), &conns->reaper);
    } else {
        offload_detached(run, free_offloaded, conns);
    }
}

void conns__release(struct conns **conns)
{
    struct conns *c = *conns;
    *conns = NULL;
    struct backends *set = c->set;
    mutex_lock(&set->lock);
    c->refs--;
    bool is_last = c->refs == 0;
    mutex_unlock(&set->lock);
    if (is_last) {
        c->reaper.fn = reap;
        loop_post(run_loop(set->conf.run, 0), &c->reaper);
    }
}

void conns__drop(struct conns *conns)
{
    for (struct bconn *c = take_own(conns); c != NULL; c = take_own(conns)) {
        close_conn(c);
    }
}

/* ---- from loop to loop ---- */

static void end_steal(struct steal *s)
{
    backend_release(&s->backend);
    free(s);
}

/* At home: the fiber goes on, or nobody wants the answer. */
static void answered(struct post *post, struct loop *loop)
{
    struct steal *s = CONTAINER_OF(post, struct steal, post);
    (void)loop;
    s->is_answered = true;
    if (s->fiber != NULL) {
        fiber_wake(s->fiber);
        return;
    }
    if (s->conn != NULL && sock_open(&s->conn->sock, &s->fd) == RC_OK) {
        sock_close(&s->conn->sock);
    }
    XFREE(s->conn);
    end_steal(s);
}

static void asked(struct post *post, struct loop *loop)
{
    struct steal *s = CONTAINER_OF(post, struct steal, post);
    (void)loop;
    s->conn = take_own(s->backend->conns);
    if (s->conn != NULL) {
        s->fd = sock_detach(&s->conn->sock);
    }
    s->post.fn = answered;
    loop_post(s->home, &s->post);
}

/* Another loop that keeps some, NULL when none does or it is time to have more. */
static struct loop *richest(struct backend *b)
{
    struct pool_share *own = own_share(b->conns);
    uint64_t now_ns = loop_mono_ns(loop_self());
    if (now_ns - own->steals_since_ns >= NS_PER_S) {
        own->steals_since_ns = now_ns;
        own->steals = 0;
    }
    struct run *run = b->set->conf.run;
    unsigned most = 0;
    struct loop *found = NULL;
    for (unsigned i = 0; i < run_loops(run); i++) {
        struct pool_share *share = &b->conns->shares[i];
        unsigned count = atomic_load_explicit(&share->count, memory_order_relaxed);
        if (count > most && share != own) {
            most = count;
            found = run_loop(run, i);
        }
    }
    if (found == NULL || own->steals >= STEALS_MAX) {
        return NULL;
    }
    own->steals++;
    return found;
}

/* The answer becomes this loop's.  NULL: there was none. */
static struct bconn *adopt(struct steal *s)
{
    struct bconn *c = s->conn;
    if (c != NULL && sock_open(&c->sock, &s->fd) != RC_OK) {
        XFREE(c);
    }
    if (c != NULL) {
        vsc_add(&s->backend->set->conf.objm->backend_handed, 1);
    }
    end_steal(s);
    return c;
}

static YIELDS struct bconn *steal(struct backend *b)
{
    struct loop *owner = richest(b);
    if (owner == NULL) {
        return NULL;
    }
    struct steal *s = xcalloc(1, sizeof *s);
    *s = (struct steal){.post.fn = asked, .home = loop_self(), .fiber = fiber_self(), .fd = -1};
    s->backend = b;
    backend_ref(b);
    loop_post(owner, &s->post);
    uint64_t deadline_ns = clock_after(clock_mono_ns(), STEAL_WAIT_NS);
    enum rc rc = RC_OK;
    while (rc == RC_OK && !s->is_answered) {
        rc = fiber_wait(deadline_ns);
    }
    if (!s->is_answered) {
        s->fiber = NULL;
        return NULL;
    }
    return adopt(s);
}

/* ---- new ones ---- */

static void note_ends(struct bconn *c, const struct endpoint *remote)
{
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    socklen_t len = sizeof local;
    if (getsockname(c->sock.fd, (struct sockaddr *)&local, &len) != 0) {
        len = 0;
    }
    struct sb sb = sb_of(c->ends, sizeof c->ends);
    endpoint__put(&sb, &remote->sa, remote->len);
    sb_chr(&sb, ' ');
    endpoint__put(&sb, &local, len);
    c->ends_len = sb.len;
}

static YIELDS enum rc send_preface(struct bconn *c, const struct backend_ask *ask)
{
    static const struct proxy_addr nobody;
    char text[PROXY_V1_MAX + 16];
    struct sb sb = sb_of(text, sizeof text);
    if (c->backend->proxy_header != 0) {
        proxy_write(&sb, c->backend->proxy_header, ask->client == NULL ? &nobody : ask->client,
                    ask->server == NULL ? &nobody : ask->server, STR_NONE);
    }
    CHECK(!sb.overflow);
    c->preface_bytes = sb.len;
    struct iovec iov[2] = {{sb.ptr, sb.len}, {c->conns->preamble_text, c->conns->preamble_len}};
    struct sock_limit limit = {clock_after(clock_mono_ns(), PREFACE_NS), NEVER};
    return sock_writev(&c->sock, iov, ARRAY_SIZE(iov), limit, true, NULL);
}

void backend__count_failure(struct backend *b, enum rc rc)
{
    struct vsc_vbe *vbe = b->counters;
    vsc_add(&vbe->fail, 1);
    if (rc == RC_REFUSED) {
        vsc_add(&vbe->fail_econnrefused, 1);
    } else if (rc == RC_TIMEOUT) {
        vsc_add(&vbe->fail_etimedout, 1);
    } else if (rc == RC_UNREACHABLE) {
        vsc_add(&vbe->fail_enetunreach, 1);
    } else if (rc == RC_DENIED) {
        vsc_add(&vbe->fail_eacces, 1);
    } else {
        vsc_add(&vbe->fail_other, 1);
    }
}

/* Connects, unless that would fail as it just did. */
static YIELDS enum rc open_socket(struct backend *b, const struct backend_ask *ask, struct bconn *c)
{
    enum rc rc = holddown__enter(&b->conns->holddown, clock_mono_ns());
    if (rc != RC_OK) {
        vsc_add(&b->counters->fail, 1);
        vsc_add(&b->counters->helddown, 1);
        return rc;
    }
    uint64_t timeout_ns =
        ask->connect_timeout_ns > 0 ? ask->connect_timeout_ns : backend__connect_timeout_ns(b);
    const struct endpoint *remote = NULL;
    rc = endpoint__connect(&b->ends, b->set->conf.params, timeout_ns, &c->sock, &remote);
    holddown__leave(&b->conns->holddown, b->set->conf.params, rc, clock_mono_ns());
    if (rc == RC_OK) {
        note_ends(c, remote);
    } else {
        backend__count_failure(b, rc);
    }
    return rc;
}

static YIELDS enum rc connect_new(struct backend *b, const struct backend_ask *ask,
                                  struct bconn **out)
{
    struct bconn *c = xcalloc(1, sizeof *c);
    c->magic = BCONN_MAGIC;
    c->conns = b->conns;
    c->backend = b;
    list_init(&c->link);
    enum rc rc = open_socket(b, ask, c);
    if (rc != RC_OK) {
        free(c);
        return rc;
    }
    if (b->proxy_header != 0 || b->conns->preamble_len > 0) {
        rc = send_preface(c, ask);
        if (rc != RC_OK) {
            backend__count_failure(b, rc);
            close_conn(c);
            return rc;
        }
    }
    *out = c;
    return RC_OK;
}

const char *backend_failure(enum rc rc)
{
    static const struct {
        enum rc rc;
        const char *text;
    } known[] = {
        {RC_SICK, "unhealthy"},
        {RC_LIMIT, "busy"},
        {RC_REFUSED, "fail errno 111 (Connection refused)"},
        {RC_TIMEOUT, "fail errno 110 (Connection timed out)"},
        {RC_UNREACHABLE, "fail errno 101 (Network is unreachable)"},
        {RC_DENIED, "fail errno 13 (Permission denied)"},
        {RC_NOT_FOUND, "fail errno 2 (No such file or directory)"},
        {RC_NOFILES, "fail errno 24 (Too many open files)"},
        {RC_RESET, "fail errno 104 (Connection reset by peer)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (known[i].rc == rc) {
            return known[i].text;
        }
    }
    return "fail errno 5 (Input/output error)";
}

/* ---- the door ---- */

static YIELDS enum rc wait_for_place(struct backend *b)
{
    const struct params *p = b->set->conf.params;
    struct vsc_objm *objm = b->set->conf.objm;
    bool waited = false;
    enum rc rc = queue__enter(&b->queue, param(p, backend_wait_limit),
                              param(p, backend_wait_timeout), &waited);
    if (waited) {
        vsc_add(&objm->backend_wait, 1);
        vsc_add(&objm->backend_wait_fail, rc != RC_OK);
    }
    if (rc != RC_OK) {
        vsc_add(&b->counters->busy, 1);
    }
    return rc;
}

enum rc backend_get(struct backend *backend, const struct backend_ask *ask, struct bconn **out)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    *out = NULL;
    if (!backend_is_healthy(backend, NULL)) {
        vsc_add(&backend->counters->unhealthy, 1);
        return RC_SICK;
    }
    enum rc rc = wait_for_place(backend);
    if (rc != RC_OK) {
        return rc;
    }
    struct bconn *c = NULL;
    if (!ask->fresh && backend->proxy_header == 0) {
        c = take_own(backend->conns);
        c = c != NULL ? c : steal(backend);
    }
    if (c == NULL) {
        rc = connect_new(backend, ask, &c);
    }
    if (rc != RC_OK) {
        queue__leave(&backend->queue);
        return rc;
    }
    backend_ref(backend);
    c->backend = backend;
    vsc_add(&backend->counters->conn, 1);
    vsc_add(&backend->counters->req, 1);
    *out = c;
    return RC_OK;
}

/* Whatever happens on a connection that is only kept ends it: a byte now would be an answer to
 * nothing. */
static void idle_ended(struct sock *sock, enum rc why)
{
    struct bconn *c = CONTAINER_OF(sock, struct bconn, sock);
    CHECK_OBJ(c, BCONN_MAGIC);
    (void)why;
    list_remove(&c->link);
    atomic_fetch_sub_explicit(&own_share(c->conns)->count, 1, memory_order_relaxed);
    close_conn(c);
}

void backend_put(struct bconn **conn, bool reusable)
{
    struct bconn *c = *conn;
    *conn = NULL;
    CHECK_OBJ(c, BCONN_MAGIC);
    struct backend *b = c->backend;
    if (reusable) {
        CHECK(bconn_may_be_kept(c));
        struct pool_share *share = own_share(c->conns);
        c->backend = NULL;
        list_push_front(&share->conns, &c->link);
        atomic_fetch_add_explicit(&share->count, 1, memory_order_relaxed);
        uint64_t idle_ns = param(b->set->conf.params, backend_idle_timeout);
        sock_idle(&c->sock, clock_after(clock_mono_ns(), idle_ns), idle_ended);
    } else {
        close_conn(c);
    }
    vsc_sub(&b->counters->conn, 1);
    /* The connection first: who waits for a place may then have it. */
    queue__leave(&b->queue);
    backend_release(&b);
}

struct sock *bconn_sock(struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return &conn->sock;
}

struct backend *bconn_backend(const struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return conn->backend;
}

bool bconn_is_reused(const struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return conn->is_reused;
}

bool bconn_may_be_kept(const struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return conn->backend->proxy_header == 0;
}

size_t bconn_preface_bytes(const struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return conn->preface_bytes;
}

struct str bconn_ends(const struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return (struct str){conn->ends, conn->ends_len};
}
