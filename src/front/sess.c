/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A session's life: accepted, idle or served, closed.
 *
 *   accept -> idle -(bytes)-> a fiber serves -> idle ... -> close
 *                  -(time-out, end of stream)-> close */
#include "front/front_priv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

static const struct {
    struct str name;
    bool is_err;
    size_t counter; /* its place in struct vsc_main */
} ends[] = {
#define SESS_CLOSE(name, stat, is_err, text)                                                       \
    [SESS_##name] = {STR_INIT(#name), is_err, offsetof(struct vsc_main, sc_##stat)},
#include <tbl/sess_close.h>
#undef SESS_CLOSE
};

/* Writes host and port of an address; those of Unix sockets read as in Varnish. */
static void put_address(const struct sockaddr *sa, struct sess_end_text *end)
{
    const void *bytes = NULL;
    uint16_t number = 0;
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        bytes = &in->sin_addr;
        number = ntohs(in->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        bytes = &in6->sin6_addr;
        number = ntohs(in6->sin6_port);
    }
    if (bytes == NULL || inet_ntop(sa->sa_family, bytes, end->addr, sizeof end->addr) == NULL) {
        memcpy(end->addr, "0.0.0.0", 8);
    }
    end->addr_len = (uint8_t)strlen(end->addr);
    struct sb sb = sb_of(end->port, sizeof end->port);
    sb_u64(&sb, number);
    end->port_len = (uint8_t)sb.len;
}

static void log_open(struct sess *sess)
{
    struct engine *engine = sess->door->front->conf.engine;
    struct vslb log;
    engine_log_open(engine, &log, sess->vxid | VSL_CLIENTMARKER);
    vslb_str(&log, SLT_Begin,
             sess->listen->is_proxied     ? STR("sess 0 PROXY")
             : sess->listen->is_memcached ? STR("sess 0 MEMCACHED")
                                          : STR("sess 0 HTTP/1"));
    struct sb sb;
    if (!vslb_claim(&log, SLT_SessOpen, &sb)) {
        return;
    }
    sb_add(&sb, sess->remote.addr, sess->remote.addr_len);
    sb_chr(&sb, ' ');
    sb_add(&sb, sess->remote.port, sess->remote.port_len);
    sb_chr(&sb, ' ');
    sb_put(&sb, str_of(sess->listen->name));
    sb_chr(&sb, ' ');
    sb_add(&sb, sess->local.addr, sess->local.addr_len);
    sb_chr(&sb, ' ');
    sb_add(&sb, sess->local.port, sess->local.port_len);
    sb_chr(&sb, ' ');
    sb_seconds(&sb, sess->t_open_ns);
    sb_chr(&sb, ' ');
    sb_u64(&sb, (uint64_t)sess->sock.fd);
    vslb_done(&log, SLT_SessOpen, &sb);
}

/* While it is sure that they are those who connected. */
static void note_ids(struct sess *sess)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(sess->sock.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
        sess->has_ids = true;
        sess->uid = peer.uid;
        sess->gid = peer.gid;
    }
}

static void name_ends(struct sess *sess, const struct sockaddr *peer)
{
    put_address(peer, &sess->remote);
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    socklen_t len = sizeof local;
    if (!sess->listen->is_unix) {
        /* A failure leaves the address of a Unix socket: 0.0.0.0. */
        (void)getsockname(sess->sock.fd, (struct sockaddr *)&local, &len);
    }
    put_address((const struct sockaddr *)&local, &sess->local);
    if (sess->listen->is_unix) {
        note_ids(sess);
    }
}

void sess__open(struct door_listen *at, int *take_fd, const struct sockaddr *peer,
                socklen_t peer_len)
{
    static const struct sockaddr unnamed = {.sa_family = AF_UNIX};
    struct door *door = at->door;
    struct engine *engine = door->front->conf.engine;
    struct sess *sess = xcalloc(1, sizeof *sess);
    sess->magic = SESS_MAGIC;
    sess->door = door;
    sess->listen = at->listen;
    sess->awaits_preface = at->listen->is_proxied;
    list_init(&sess->link);
    if (sock_open(&sess->sock, take_fd) != RC_OK) {
        engine_counters(engine)->sess_fail++;
        engine_counters(engine)->sess_fail_other++;
        free(sess);
        return;
    }
    sess->vxid = engine_vxid(engine);
    sess->t_open_ns = loop_real_ns(door->loop);
    name_ends(sess, peer_len == 0 ? &unnamed : peer);
    list_push_back(&door->sessions, &sess->link);
    engine_counters(engine)->sess_conn++;
    engine_objm_counters(engine)->mc_opened += sess->listen->is_memcached;
    log_open(sess);
    sess__idle(sess);
}

void sess__close(struct sess **session, enum sess_end why)
{
    struct sess *sess = *session;
    *session = NULL;
    CHECK_OBJ(sess, SESS_MAGIC);
    CHECK(why < SESS__COUNT);
    struct engine *engine = sess->door->front->conf.engine;
    struct vslb log;
    engine_log_open(engine, &log, sess->vxid | VSL_CLIENTMARKER);
    uint64_t now_ns = clock_real_ns();
    uint64_t age_ns = now_ns > sess->t_open_ns ? now_ns - sess->t_open_ns : 0;
    vslb_printf(&log, SLT_SessClose, "%.*s %.3f", STR_ARG(ends[why].name), (double)age_ns / 1e9);
    vslb_str(&log, SLT_End, STR(""));
    struct vsc_main *main = engine_counters(engine);
    main->sess_closed += ends[why].is_err ? 0 : 1;
    main->sess_closed_err += ends[why].is_err ? 1 : 0;
    ++*(uint64_t *)(void *)((char *)main + ends[why].counter);
    list_remove(&sess->link);
    if (sess->sock.fd >= 0) {
        sock_close(&sess->sock);
    }
    XFREE(sess->proxied);
    XFREE(sess->login);
    engine_objm_counters(engine)->mc_closed += sess->listen->is_memcached;
    sess->magic = 0;
    free(sess);
}

static void woken(struct sock *sock, enum rc why)
{
    struct sess *sess = CONTAINER_OF(sock, struct sess, sock);
    CHECK_OBJ(sess, SESS_MAGIC);
    if (why != RC_OK) {
        if (sess->listen->is_memcached) {
            engine_objm_counters(sess->door->front->conf.engine)->mc_idle_kicks++;
        }
        sess__close(&sess, sess->awaits_preface ? SESS_RX_TIMEOUT : SESS_RX_CLOSE_IDLE);
        return;
    }
    enum shed shed = admit__enter(sess->door);
    bool is_memcached = sess->listen->is_memcached;
    if (shed == SHED_NOT && fiber_start(is_memcached ? mc__serve : h1__serve, sess,
                                        is_memcached ? "mc" : "h1") != RC_OK) {
        admit__leave(sess->door);
        shed = SHED_FIBERS;
    }
    if (UNLIKELY(shed != SHED_NOT)) {
        admit__shed(&sess, shed);
    }
}

void sess__idle(struct sess *sess)
{
    CHECK_OBJ(sess, SESS_MAGIC);
    list_remove(&sess->link);
    list_push_back(&sess->door->sessions, &sess->link);
    const struct params *p = sess->door->front->conf.params;
    uint64_t wait_ns = sess->timeout_idle_ns != 0   ? sess->timeout_idle_ns
                       : sess->listen->is_memcached ? param(p, mc_timeout_idle)
                                                    : param(p, timeout_idle);
    sock_idle(&sess->sock, clock_after(loop_mono_ns(sess->door->loop), wait_ns), woken);
}
