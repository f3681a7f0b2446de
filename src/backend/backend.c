/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A backend and its pools.
 *
 * Idle connections are kept newest first: the one used last is the least likely to have been closed
 * by the peer.  While it is idle a connection is watched (sock_idle): any byte or end of stream, or
 * the time-out, closes it, so that a closed one is seldom handed out.  It can still happen between
 * the peer's close and our noticing it; the fetch deals with that (see backend_get).
 *
 * Threads: the pool of a loop is touched by that loop alone; counters are atomic. */
#include "backend/backend.h"

#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "backend/holddown.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/sb.h"
#include "shm/vsc.h"

#define BACKEND_MAGIC 0x64c4c7c6u
#define BCONN_MAGIC 0x0ee7c1d3u
#define ADDRS_MAX 2

struct addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

struct idle_pool {
    struct list conns;
    char pad[64 - sizeof(struct list)]; /* a cache line each: loops do not share them */
};

struct backend {
    uint32_t magic;
    char *name;
    struct run *run;
    const struct params *params;
    struct vsc_vbe *counters;
    unsigned max_connections;
    unsigned addrs;
    struct addr addr[ADDRS_MAX];
    uint64_t health_since_ns;
    _Atomic unsigned in_use;
    struct holddown holddown;
    struct idle_pool *idle; /* one a loop */
};

struct bconn {
    uint32_t magic;
    bool is_reused;
    struct backend *backend;
    struct list link;
    struct sock sock;
    char ends[2 * (INET6_ADDRSTRLEN + 8)];
    size_t ends_len;
};

/* ---- addresses ---- */

static enum rc resolve_unix(struct backend *b, const char *path)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)&b->addr[0].sa;
    if (strlen(path) >= sizeof sun->sun_path) {
        return RC_TOO_LONG;
    }
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path, strlen(path) + 1);
    b->addr[0].len = sizeof *sun;
    b->addrs = 1;
    return RC_OK;
}

static bool has_family(const struct backend *b, int family)
{
    return b->addrs > 0 && b->addr[0].sa.ss_family == family;
}

static enum rc resolve_name(struct backend *b, const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return RC_NOT_FOUND;
    }
    for (const struct addrinfo *at = found; at != NULL && b->addrs < ADDRS_MAX; at = at->ai_next) {
        if (has_family(b, at->ai_family) || at->ai_addrlen > sizeof b->addr[0].sa) {
            continue;
        }
        memcpy(&b->addr[b->addrs].sa, at->ai_addr, at->ai_addrlen);
        b->addr[b->addrs].len = at->ai_addrlen;
        b->addrs++;
    }
    freeaddrinfo(found);
    /* IPv4 first, as with Varnish's prefer_ipv6 at its default. */
    if (b->addrs == 2 && b->addr[0].sa.ss_family == AF_INET6) {
        struct addr first = b->addr[0];
        b->addr[0] = b->addr[1];
        b->addr[1] = first;
    }
    return b->addrs == 0 ? RC_NOT_FOUND : RC_OK;
}

enum rc backend_new(const struct backend_spec *spec, struct backend **out)
{
    CHECK(spec != NULL);
    CHECK(spec->counters != NULL);
    struct backend *b = xcalloc(1, sizeof *b);
    b->magic = BACKEND_MAGIC;
    b->run = spec->run;
    b->params = spec->params;
    b->counters = spec->counters;
    b->max_connections = spec->max_connections;
    b->name = xstrdup(spec->name);
    b->health_since_ns = clock_real_ns();
    unsigned loops = run_loops(spec->run);
    b->idle = xaligned(64, loops * sizeof *b->idle);
    for (unsigned i = 0; i < loops; i++) {
        list_init(&b->idle[i].conns);
    }
    enum rc rc =
        spec->port == NULL ? resolve_unix(b, spec->host) : resolve_name(b, spec->host, spec->port);
    if (rc != RC_OK) {
        backend_free(&b);
    }
    *out = b;
    return rc;
}

void backend_free(struct backend **backend)
{
    struct backend *b = *backend;
    *backend = NULL;
    if (b == NULL) {
        return;
    }
    CHECK_OBJ(b, BACKEND_MAGIC);
    CHECK(atomic_load(&b->in_use) == 0);
    for (unsigned i = 0; i < run_loops(b->run); i++) {
        CHECK(list_is_empty(&b->idle[i].conns));
    }
    XFREE(b->idle);
    XFREE(b->name);
    b->magic = 0;
    free(b);
}

const char *backend_name(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->name;
}

uint64_t backend_health_since_ns(const struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    return backend->health_since_ns;
}

/* ---- connections ---- */

static void put_end(struct sb *sb, const struct sockaddr_storage *sa, socklen_t len)
{
    char host[INET6_ADDRSTRLEN];
    char port[8];
    if (sa->ss_family == AF_UNIX) {
        /* As Varnish logs them: there is no address to tell. */
        sb_lit(sb, "0.0.0.0 0");
        return;
    }
    if (getnameinfo((const struct sockaddr *)sa, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        sb_lit(sb, "- -");
        return;
    }
    sb_put(sb, str_of(host));
    sb_chr(sb, ' ');
    sb_put(sb, str_of(port));
}

static void note_ends(struct bconn *c, const struct addr *remote)
{
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    socklen_t len = sizeof local;
    if (getsockname(c->sock.fd, (struct sockaddr *)&local, &len) != 0) {
        len = 0;
    }
    struct sb sb = sb_of(c->ends, sizeof c->ends);
    put_end(&sb, &remote->sa, remote->len);
    sb_chr(&sb, ' ');
    put_end(&sb, &local, len);
    c->ends_len = sb.len;
}

static YIELDS enum rc open_conn(struct backend *b, struct bconn *c)
{
    enum rc rc = RC_UNREACHABLE;
    for (unsigned i = 0; i < b->addrs; i++) {
        uint64_t deadline_ns = clock_after(clock_mono_ns(), param(b->params, connect_timeout));
        rc = sock_connect(&c->sock, (const struct sockaddr *)&b->addr[i].sa, b->addr[i].len,
                          deadline_ns);
        if (rc == RC_OK) {
            note_ends(c, &b->addr[i]);
            return RC_OK;
        }
        if (rc == RC_CANCELLED) {
            return rc;
        }
    }
    return rc;
}

static struct idle_pool *own_pool(struct backend *b)
{
    CHECK(loop_self() != NULL);
    return &b->idle[loop_index(loop_self())];
}

static void close_conn(struct bconn *c)
{
    sock_close(&c->sock);
    c->magic = 0;
    free(c);
}

static void count_failure(struct backend *b, enum rc rc)
{
    vsc_add(&b->counters->fail, 1);
    if (rc == RC_REFUSED) {
        vsc_add(&b->counters->fail_econnrefused, 1);
    } else if (rc == RC_TIMEOUT) {
        vsc_add(&b->counters->fail_etimedout, 1);
    } else if (rc == RC_UNREACHABLE) {
        vsc_add(&b->counters->fail_enetunreach, 1);
    } else if (rc == RC_DENIED) {
        vsc_add(&b->counters->fail_eacces, 1);
    } else {
        vsc_add(&b->counters->fail_other, 1);
    }
}

/* As open_conn, unless that would fail as it just did. */
static YIELDS enum rc try_conn(struct backend *b, struct bconn *c)
{
    enum rc rc = holddown__enter(&b->holddown, clock_mono_ns());
    if (rc != RC_OK) {
        vsc_add(&b->counters->fail, 1);
        vsc_add(&b->counters->helddown, 1);
        return rc;
    }
    rc = open_conn(b, c);
    holddown__leave(&b->holddown, b->params, rc, clock_mono_ns());
    if (rc != RC_OK) {
        count_failure(b, rc);
    }
    return rc;
}

static struct bconn *take_idle(struct backend *b)
{
    struct list *link = list_pop_front(&own_pool(b)->conns);
    if (link == NULL) {
        return NULL;
    }
    struct bconn *c = CONTAINER_OF(link, struct bconn, link);
    CHECK_OBJ(c, BCONN_MAGIC);
    sock_idle_cancel(&c->sock);
    c->is_reused = true;
    return c;
}

enum rc backend_get(struct backend *backend, bool fresh, struct bconn **out)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    *out = NULL;
    if (atomic_fetch_add(&backend->in_use, 1) >= backend->max_connections &&
        backend->max_connections > 0) {
        atomic_fetch_sub(&backend->in_use, 1);
        vsc_add(&backend->counters->busy, 1);
        return RC_LIMIT;
    }
    struct bconn *c = fresh ? NULL : take_idle(backend);
    if (c == NULL) {
        c = xcalloc(1, sizeof *c);
        c->magic = BCONN_MAGIC;
        c->backend = backend;
        list_init(&c->link);
        enum rc rc = try_conn(backend, c);
        if (rc != RC_OK) {
            free(c);
            atomic_fetch_sub(&backend->in_use, 1);
            return rc;
        }
    }
    vsc_add(&backend->counters->conn, 1);
    vsc_add(&backend->counters->req, 1);
    *out = c;
    return RC_OK;
}

/* Whatever happens on an idle connection ends it: a byte now would be an answer to nothing. */
static void idle_ended(struct sock *sock, enum rc why)
{
    struct bconn *c = CONTAINER_OF(sock, struct bconn, sock);
    CHECK_OBJ(c, BCONN_MAGIC);
    (void)why;
    list_remove(&c->link);
    close_conn(c);
}

void backend_put(struct bconn **conn, bool reusable)
{
    struct bconn *c = *conn;
    *conn = NULL;
    CHECK_OBJ(c, BCONN_MAGIC);
    struct backend *b = c->backend;
    atomic_fetch_sub(&b->in_use, 1);
    vsc_sub(&b->counters->conn, 1);
    if (!reusable) {
        close_conn(c);
        return;
    }
    list_push_front(&own_pool(b)->conns, &c->link);
    uint64_t deadline_ns = clock_after(clock_mono_ns(), param(b->params, backend_idle_timeout));
    sock_idle(&c->sock, deadline_ns, idle_ended);
}

struct sock *bconn_sock(struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return &conn->sock;
}

bool bconn_is_reused(const struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return conn->is_reused;
}

struct str bconn_ends(const struct bconn *conn)
{
    CHECK_OBJ(conn, BCONN_MAGIC);
    return (struct str){conn->ends, conn->ends_len};
}

void backend_drop_idle(struct backend *backend)
{
    CHECK_OBJ(backend, BACKEND_MAGIC);
    for (struct bconn *c = take_idle(backend); c != NULL; c = take_idle(backend)) {
        close_conn(c);
    }
}
