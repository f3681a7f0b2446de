/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a proxy says of a connection before the client's first byte (PROXY protocol).
 *
 * The preface is read into the buffer in which the first request is read next, so what came behind
 * it stays where it is.  What it says is kept beside the session, since few sessions have it. */
#include "front/front_priv.h"

#include <stdlib.h>

#include "base/mem.h"

static void put_end(const struct proxy_addr *addr, char *host, size_t host_bytes, uint8_t *host_len,
                    char *port, size_t port_bytes, uint8_t *port_len)
{
    struct sb sb = sb_of(host, host_bytes);
    proxy_addr_text(&sb, addr);
    *host_len = (uint8_t)sb.len;
    sb = sb_of(port, port_bytes);
    sb_u64(&sb, addr->port);
    *port_len = (uint8_t)sb.len;
}

static void keep(struct sess *sess, const struct proxy_head *head)
{
    struct proxied *p = xcalloc(1, sizeof *p + head->tlvs.len);
    struct sess_end_text *c = &p->client;
    struct sess_end_text *s = &p->server;
    put_end(&head->client, c->addr, sizeof c->addr, &c->addr_len, c->port, sizeof c->port,
            &c->port_len);
    put_end(&head->server, s->addr, sizeof s->addr, &s->addr_len, s->port, sizeof s->port,
            &s->port_len);
    p->tlvs_len = head->tlvs.len;
    if (head->tlvs.len > 0) {
        memcpy(p->tlvs, head->tlvs.ptr, head->tlvs.len);
    }
    CHECK(sess->proxied == NULL);
    sess->proxied = p;
}

static void log_preface(struct sess *sess, const struct proxy_head *head, enum rc rc)
{
    struct vslb log;
    engine_log_open(sess->door->front->conf.engine, &log, sess->vxid | VSL_CLIENTMARKER);
    if (head->garbage[0] != '\0') {
        vslb_str(&log, SLT_ProxyGarbage, str_of(head->garbage));
    }
    if (rc != RC_OK) {
        return;
    }
    const struct proxied *p = sess->proxied;
    if (head->is_local) {
        vslb_str(&log, SLT_Proxy, STR("2 local local local local"));
    } else if (p != NULL) {
        vslb_printf(&log, SLT_Proxy, "%u %.*s %.*s %.*s %.*s", (unsigned)head->version,
                    (int)p->client.addr_len, p->client.addr, (int)p->client.port_len,
                    p->client.port, (int)p->server.addr_len, p->server.addr,
                    (int)p->server.port_len, p->server.port);
    }
}

static enum sess_end end_of(enum rc rc)
{
    switch (rc) {
    case RC_MALFORMED:
        return SESS_RX_JUNK;
    case RC_TOO_LONG:
        return SESS_RX_OVERFLOW;
    case RC_EOF:
    case RC_RESET:
        return SESS_REM_CLOSE;
    case RC_TIMEOUT:
        return SESS_RX_TIMEOUT;
    default:
        return SESS_TX_ERROR;
    }
}

/* The connection's age counts, so that a preface in drops does not hold it for long. */
static struct sock_limit preface_limit(const struct sess *sess)
{
    uint64_t most_ns = param(sess->door->front->conf.params, timeout_idle);
    uint64_t now_ns = loop_real_ns(sess->door->loop);
    uint64_t age_ns = now_ns > sess->t_open_ns ? now_ns - sess->t_open_ns : 0;
    uint64_t left_ns = age_ns < most_ns ? most_ns - age_ns : 0;
    return (struct sock_limit){clock_after(loop_mono_ns(sess->door->loop), left_ns), NEVER};
}

enum sess_end preface__read(struct sess *sess, char *buf, size_t cap, struct span *left)
{
    CHECK(cap >= PROXY_MAX);
    struct sock_limit limit = preface_limit(sess);
    struct proxy_head head = {0};
    size_t have = 0;
    enum rc rc = RC_AGAIN;
    while (rc == RC_AGAIN) {
        size_t got = 0;
        rc = sock_read(&sess->sock, buf + have, cap - have, limit, &got);
        if (rc == RC_OK) {
            have += got;
            rc = proxy_parse(buf, have, &head);
        }
    }
    if (rc == RC_OK && head.client.family != 0) {
        keep(sess, &head);
    }
    log_preface(sess, &head, rc);
    if (rc != RC_OK) {
        return end_of(rc);
    }
    sess->awaits_preface = false;
    *left = (struct span){head.consumed, have};
    return SESS__COUNT;
}
