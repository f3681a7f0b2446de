/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Reading: the rest of a request, and data blocks.
 *
 * The request in use borrows the bytes before in[at], so nothing is moved while it is in use:
 * what comes next is appended. */
#include "front/mc_priv.h"

/* A data block may trickle, but not for ever: what counts is the time that we wait for it. */
static uint64_t patience_ns(const struct mc *mc)
{
    const struct params *p = mc->front->conf.params;
    uint64_t all_ns = param(p, timeout_req_body);
    uint64_t rate = param(p, req_body_min_rate);
    if (rate == 0) {
        return NEVER;
    }
    uint64_t earned_ns = mc->req.value_bytes / rate * NS_PER_S;
    all_ns = clock_after(earned_ns, all_ns);
    return all_ns > mc->data_waited_ns ? all_ns - mc->data_waited_ns : 0;
}

static void lost(struct mc *mc, enum rc rc, bool is_data)
{
    switch (rc) {
    case RC_EOF:
    case RC_RESET:
        mc->end = SESS_REM_CLOSE;
        break;
    case RC_TIMEOUT:
        mc->end = is_data ? SESS_RX_BODY : SESS_RX_TIMEOUT;
        mc->count->limit_slow_bodies += is_data;
        mc->count->limit_slow_heads += !is_data;
        break;
    default:
        mc->end = SESS_TX_ERROR;
        break;
    }
}

static YIELDS enum rc receive(struct mc *mc, void *dst, size_t bytes, struct sock_limit lim,
                              size_t *got)
{
    /* Whoever waits for an answer before it sends more must have it. */
    enum rc rc = sock_read_now(&mc->sess->sock, dst, bytes, got);
    if (rc == RC_AGAIN) {
        mc__flush(mc);
        rc = mc->sent != RC_OK ? mc->sent : sock_read(&mc->sess->sock, dst, bytes, lim, got);
    }
    mc->count->mc_bytes_read += *got;
    return rc;
}

/* Bytes of a data block, straight to where they are wanted. */
static YIELDS enum rc receive_data(struct mc *mc, void *dst, size_t bytes, size_t *got)
{
    uint64_t from_ns = clock_mono_ns();
    struct sock_limit lim = {clock_after(from_ns, patience_ns(mc)),
                             param(mc->front->conf.params, timeout_req_body)};
    enum rc rc = receive(mc, dst, bytes, lim, got);
    mc->data_waited_ns += clock_mono_ns() - from_ns;
    if (rc != RC_OK) {
        lost(mc, rc, true);
    }
    return rc;
}

enum rc mc__more(struct mc *mc)
{
    CHECK(mc->fill < MC_IN_BYTES);
    size_t got = 0;
    struct sock_limit lim = {mc->deadline_ns, NEVER};
    enum rc rc = receive(mc, mc->in + mc->fill, MC_IN_BYTES - mc->fill, lim, &got);
    mc->fill += got;
    if (rc != RC_OK) {
        lost(mc, rc, false);
    }
    return rc;
}

/* What there is of the next `most` bytes, in the buffer; else what can be read. */
static YIELDS enum rc take_some(struct mc *mc, uint64_t most, size_t *got)
{
    *got = 0;
    if (mc->at == mc->fill) {
        /* What lay behind the request has been used. */
        mc->at = mc->fill = mc->line_end;
        size_t more = 0;
        enum rc rc = receive_data(mc, mc->in + mc->fill, MC_IN_BYTES - mc->fill, &more);
        mc->fill += more;
        if (rc != RC_OK) {
            return rc;
        }
    }
    size_t have = mc->fill - mc->at;
    *got = have < most ? have : (size_t)most;
    mc->at += *got;
    return RC_OK;
}

static size_t tail_bytes(const struct mc *mc)
{
    return mc->req.dialect == MC_BINARY ? 0 : 2;
}

void mc__swallow(struct mc *mc)
{
    uint64_t left = mc->req.value_bytes + tail_bytes(mc);
    while (left > 0) {
        size_t got = 0;
        if (take_some(mc, left, &got) != RC_OK) {
            return;
        }
        left -= got;
    }
}

bool mc__tail(struct mc *mc)
{
    char tail[2] = {'\r', '\n'};
    for (size_t i = 0; i < tail_bytes(mc); i++) {
        size_t got = 0;
        if (take_some(mc, 1, &got) != RC_OK) {
            return false;
        }
        tail[i] = mc->in[mc->at - 1];
    }
    if (tail[0] == '\r' && tail[1] == '\n') {
        return true;
    }
    /* The length was wrong, and nobody knows by how much. */
    if (!(mc->req.dialect == MC_TEXT && mc->req.is_quiet)) {
        mc__say(mc, STR("CLIENT_ERROR bad data chunk\r\n"));
    }
    mc->end = SESS_RX_JUNK;
    return false;
}

bool mc__data(struct mc *mc, struct str *data)
{
    CHECK(mc->req.value_bytes <= MC_IN_BYTES - mc->line_end - 2);
    size_t len = (size_t)mc->req.value_bytes;
    size_t begin = mc->at;
    while (mc->fill - begin < len + tail_bytes(mc)) {
        size_t got = 0;
        if (receive_data(mc, mc->in + mc->fill, MC_IN_BYTES - mc->fill, &got) != RC_OK) {
            return false;
        }
        mc->fill += got;
    }
    *data = (struct str){mc->in + begin, len};
    mc->at = begin + len;
    return mc__tail(mc);
}

bool mc__data_into(struct mc *mc, void *dst, size_t most, size_t *got)
{
    size_t have = mc->fill - mc->at;
    if (have == 0) {
        return receive_data(mc, dst, most, got) == RC_OK;
    }
    *got = have < most ? have : most;
    memcpy(dst, mc->in + mc->at, *got);
    mc->at += *got;
    return true;
}
