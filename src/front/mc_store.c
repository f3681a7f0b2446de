/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Commands that store.  A value that is in the buffer is stored from there; of a longer one, what
 * has come is copied to its place in the store, and the rest is read right into it. */
#include "front/mc_priv.h"

/* A value that is not there yet is waited for in the buffer up to this. */
#define WAIT_BYTES ((uint64_t)2 << 10)

static enum kv_mode mode_of(enum mc_op op)
{
    switch (op) {
    case MC_OP_ADD:
        return KV_ADD;
    case MC_OP_REPLACE:
        return KV_REPLACE;
    case MC_OP_APPEND:
        return KV_APPEND;
    case MC_OP_PREPEND:
        return KV_PREPEND;
    default:
        return KV_SET;
    }
}

/* Whether it swaps one revision for another, whatever else it is called. */
static bool is_swap(const struct mc_request *req)
{
    return req->has_cas && (req->op == MC_OP_SET || req->op == MC_OP_REPLACE ||
                            (req->op == MC_OP_ADD && req->dialect == MC_BINARY));
}

static struct kv_value value_of(const struct mc_request *req)
{
    bool is_meta = req->dialect == MC_META;
    struct kv_value value = {
        .key = req->key,
        .mode = is_swap(req) ? KV_SET : mode_of(req->op),
        .flags = req->client_flags,
        .exptime = req->exptime == MC_TIME_NONE ? 0 : req->exptime,
        .len = req->value_bytes,
        .new_cas = req->new_cas,
        .invalidates = is_meta && mc_has(req, 'I'),
        .vivifies = is_meta && req->makes,
        .vivify_exptime = req->makes ? req->vivify : 0,
    };
    if (req->has_cas && req->op != MC_OP_ADD) {
        value.cas = req->cas;
    }
    if (is_swap(req)) {
        /* 0 is no revision: it never fits. */
        value.cas = req->cas != 0 ? req->cas : UINT64_MAX;
    }
    return value;
}

/* ---- answers ---- */

/* Which of four words: stored, not stored, exists, not found. */
enum verdict { V_STORED, V_NOT_STORED, V_EXISTS, V_NOT_FOUND };
static enum verdict verdict_of(const struct mc_request *req, enum rc rc)
{
    if (rc == RC_OK) {
        return V_STORED;
    }
    if (rc == RC_EXISTS) {
        return req->op == MC_OP_ADD && !is_swap(req) ? V_NOT_STORED : V_EXISTS;
    }
    return is_swap(req) ? V_NOT_FOUND : V_NOT_STORED;
}

static YIELDS void answer_binary(struct mc *mc, enum rc rc, uint64_t cas)
{
    const struct mc_request *req = &mc->req;
    if (rc == RC_OK) {
        if (!req->is_quiet) {
            struct sb sb = mc__room(mc, MC_HEAD_BYTES);
            mc_put_head(&sb, req, &(struct mc_head){.status = MC_STATUS_OK, .cas = cas});
            mc__put(mc, &sb);
        }
        return;
    }
    bool joins = req->op == MC_OP_APPEND || req->op == MC_OP_PREPEND;
    mc__status(mc, rc == RC_EXISTS ? MC_STATUS_EXISTS
                   : joins         ? MC_STATUS_NOT_STORED
                                   : MC_STATUS_NOT_FOUND);
}

static YIELDS void answer(struct mc *mc, enum rc rc, uint64_t cas)
{
    static const struct str words[] = {STR_INIT("STORED\r\n"), STR_INIT("NOT_STORED\r\n"),
                                       STR_INIT("EXISTS\r\n"), STR_INIT("NOT_FOUND\r\n")};
    static const char *const codes[] = {"HD", "NS", "EX", "NF"};
    const struct mc_request *req = &mc->req;
    if (rc != RC_OK && rc != RC_EXISTS && rc != RC_NOT_FOUND) {
        mc__fault(mc, rc);
        return;
    }
    enum verdict verdict = verdict_of(req, rc);
    if (req->dialect == MC_BINARY) {
        answer_binary(mc, rc, cas);
    } else if (req->dialect == MC_TEXT) {
        mc__say(mc, req->is_quiet ? STR("") : words[verdict]);
    } else if (rc != RC_OK || !req->is_quiet) {
        struct mc_item item = {.bytes = req->value_bytes, .cas = cas};
        struct sb sb = mc__room(mc, req->wire_key.len + 512);
        mc_put_meta(&sb, req, codes[verdict], &item);
        mc__put(mc, &sb);
    }
}

/* A client that could not store what is new must not find what is old. */
static YIELDS void forget(struct mc *mc, enum rc rc)
{
    if ((rc == RC_NOSPACE || rc == RC_TOO_LONG) && mc->req.op == MC_OP_SET && !is_swap(&mc->req)) {
        struct kv_delete ask = {.key = mc->req.key};
        enum rc gone = kv_delete(&mc->kv, &ask);
        (void)gone; /* it may not have been there */
    }
}

/* ---- storing ---- */

/* All of the value but its end is stored, and not committed.  RC_CANCELLED: the connection ends. */
static YIELDS enum rc fill(struct mc *mc, struct kv_put *put)
{
    uint64_t left = mc->req.value_bytes;
    while (left > 0) {
        void *space = NULL;
        size_t len = 0;
        enum rc rc = kv_put_space(put, &space, &len);
        if (rc != RC_OK) {
            /* The rest has to be read all the same. */
            mc->req.value_bytes = left;
            mc__swallow(mc);
            return rc;
        }
        CHECK(len > 0);
        size_t most = len < left ? len : (size_t)left;
        size_t got = 0;
        if (!mc__data_into(mc, space, most, &got)) {
            return RC_CANCELLED;
        }
        kv_put_grown(put, got);
        left -= got;
    }
    return mc__tail(mc) ? RC_OK : RC_CANCELLED;
}

static YIELDS void store_stream(struct mc *mc, const struct kv_value *value)
{
    struct kv_put put;
    uint64_t cas = 0;
    enum rc rc = kv_put_begin(&mc->kv, value, &put);
    if (rc != RC_OK) {
        mc__swallow(mc);
    } else {
        rc = fill(mc, &put);
        if (rc == RC_OK) {
            rc = kv_put_commit(&put, &cas);
        } else {
            kv_put_abort(&put);
        }
    }
    if (rc == RC_CANCELLED || mc->end != SESS__COUNT) {
        mc->end = mc->end == SESS__COUNT ? SESS_RX_BODY : mc->end;
        return;
    }
    forget(mc, rc);
    answer(mc, rc, cas);
}

void mc__store(struct mc *mc)
{
    struct kv_value value = value_of(&mc->req);
    uint64_t need = mc->req.value_bytes + 2;
    bool is_there = need <= mc->fill - mc->at;
    if (!is_there && (need > WAIT_BYTES || need > MC_IN_BYTES - mc->line_end)) {
        store_stream(mc, &value);
        return;
    }
    struct str data;
    if (!mc__data(mc, &data)) {
        return;
    }
    uint64_t cas = 0;
    enum rc rc = kv_store(&mc->kv, &value, data.ptr, &cas);
    forget(mc, rc);
    answer(mc, rc, cas);
}
