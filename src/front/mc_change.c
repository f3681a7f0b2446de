/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Commands that delete and count. */
#include "front/mc_priv.h"

/* An answer of meta commands. */
static YIELDS void say_meta(struct mc *mc, const char *code, const struct mc_item *item)
{
    struct sb sb = mc__room(mc, mc->req.wire_key.len + 512);
    mc_put_meta(&sb, &mc->req, code, item);
    mc__put(mc, &sb);
}

static YIELDS void say_ok(struct mc *mc)
{
    struct sb sb = mc__room(mc, MC_HEAD_BYTES);
    mc_put_head(&sb, &mc->req, &(struct mc_head){.status = MC_STATUS_OK});
    mc__put(mc, &sb);
}

void mc__delete(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    bool is_meta = req->dialect == MC_META;
    struct kv_delete ask = {
        .key = req->key,
        .cas = req->has_cas ? req->cas : 0,
        .new_cas = req->new_cas,
        .invalidates = is_meta && mc_has(req, 'I'),
        .empties = is_meta && mc_has(req, 'x'),
        .sets_ttl = req->exptime != MC_TIME_NONE,
        .exptime = req->exptime != MC_TIME_NONE ? req->exptime : 0,
    };
    if (req->has_cas && req->cas == 0) {
        ask.cas = UINT64_MAX; /* 0 is no revision: it never fits */
    }
    enum rc rc = kv_delete(&mc->kv, &ask);
    if (rc != RC_OK && rc != RC_NOT_FOUND && rc != RC_EXISTS) {
        mc__fault(mc, rc);
        return;
    }
    if (req->is_quiet && (rc == RC_OK || req->dialect == MC_TEXT)) {
        return;
    }
    switch (req->dialect) {
    case MC_TEXT:
        mc__say(mc, rc == RC_OK ? STR("DELETED\r\n") : STR("NOT_FOUND\r\n"));
        break;
    case MC_META:
        say_meta(mc, rc == RC_OK ? "HD" : rc == RC_EXISTS ? "EX" : "NF", NULL);
        break;
    case MC_BINARY:
        if (rc == RC_OK) {
            say_ok(mc);
        } else {
            mc__fault(mc, rc);
        }
        break;
    }
}

/* ---- counting ---- */

static YIELDS void counted_meta(struct mc *mc, const struct kv_arith *ask)
{
    const struct mc_request *req = &mc->req;
    char digits[24];
    struct sb number = sb_of(digits, sizeof digits);
    sb_u64(&number, ask->result);
    struct mc_item item = {.bytes = number.len, .cas = ask->result_cas, .ttl_s = ask->result_ttl_s};
    bool has_value = mc_has(req, 'v');
    struct sb sb = mc__room(mc, req->wire_key.len + 512);
    mc_put_meta(&sb, req, has_value ? "VA" : "HD", &item);
    if (has_value) {
        sb_put(&sb, sb_str(&number));
        sb_lit(&sb, "\r\n");
    }
    mc__put(mc, &sb);
}

static YIELDS void counted(struct mc *mc, const struct kv_arith *ask)
{
    const struct mc_request *req = &mc->req;
    if (req->is_quiet) {
        return;
    }
    if (req->dialect == MC_META) {
        counted_meta(mc, ask);
        return;
    }
    struct sb sb = mc__room(mc, MC_HEAD_BYTES + 32);
    if (req->dialect == MC_BINARY) {
        mc_put_head(
            &sb, req,
            &(struct mc_head){.status = MC_STATUS_OK, .body_len = 8, .cas = ask->result_cas});
        mc_put_u64be(&sb, ask->result);
    } else {
        sb_u64(&sb, ask->result);
        sb_lit(&sb, "\r\n");
    }
    mc__put(mc, &sb);
}

static YIELDS void not_counted(struct mc *mc, enum rc rc)
{
    const struct mc_request *req = &mc->req;
    if (req->dialect == MC_BINARY) {
        mc__fault(mc, rc);
    } else if (req->dialect == MC_META && (rc == RC_NOT_FOUND || rc == RC_EXISTS)) {
        say_meta(mc, rc == RC_EXISTS ? "EX" : "NF", NULL);
    } else if (req->dialect == MC_TEXT && req->is_quiet) {
        return;
    } else if (rc == RC_NOT_FOUND) {
        mc__say(mc, STR("NOT_FOUND\r\n"));
    } else if (rc == RC_INVALID) {
        mc__say(mc, STR("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"));
    } else if (rc == RC_NOSPACE) {
        mc__say(mc, STR("SERVER_ERROR out of memory\r\n"));
    } else {
        mc__fault(mc, rc);
    }
}

void mc__arith(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    struct kv_arith ask = {
        .key = req->key,
        .is_decr = req->op == MC_OP_DECR,
        .delta = req->delta,
        .cas = req->has_cas ? req->cas : 0,
        .new_cas = req->new_cas,
        .vivifies = req->makes,
        .initial = req->initial,
        .vivify_exptime = req->makes ? req->vivify : 0,
        .touches = req->dialect == MC_META && req->exptime != MC_TIME_NONE,
        .exptime = req->exptime != MC_TIME_NONE ? req->exptime : 0,
    };
    enum rc rc = kv_arith(&mc->kv, &ask);
    if (rc == RC_OK) {
        counted(mc, &ask);
        return;
    }
    not_counted(mc, rc);
}
