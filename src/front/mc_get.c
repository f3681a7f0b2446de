/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Commands that read: get and its kin, mg, me. */
#include "front/mc_priv.h"

/* Keys after which others get their turn. */
#define KEYS_A_TURN 128

/* The whole response is asked for by wanting its flags, of which one says so. */
static YIELDS enum rc look_up(struct mc *mc, struct str key, struct kv_item *item)
{
    const struct mc_request *req = &mc->req;
    bool is_meta = req->dialect == MC_META;
    struct kv_get ask = {.key = key, .cannot_win = !is_meta || req->op == MC_OP_DEBUG};
    if (req->exptime != MC_TIME_NONE) {
        ask.touches = true;
        ask.exptime = req->exptime;
    }
    if (is_meta) {
        ask.wants_whole = mc_has(req, 'f') && mc_has(req, 'v') && kv_is_url(key);
        ask.is_peek = mc_has(req, 'u') || req->op == MC_OP_DEBUG;
        ask.vivifies = req->makes;
        ask.vivify_exptime = req->vivify;
        ask.recaches = req->recache != MC_TIME_NONE;
        ask.recache_s = ask.recaches ? req->recache : 0;
    }
    enum rc rc = kv_get(&mc->kv, &ask, item);
    /* What is on its way and does not come is not there. */
    return rc == RC_TIMEOUT ? RC_NOT_FOUND : rc;
}

/* The value's bytes: a whole response begins with its head. */
static uint64_t value_bytes(const struct kv_item *item)
{
    return item->head.len + item->len;
}

static YIELDS void put_item(struct mc *mc, struct kv_item *item, struct str tail)
{
    if (item->head.len > MC_COPY_MAX) {
        mc__flush(mc);
    }
    struct str head = item->head;
    while (head.len > 0) {
        struct str part = {head.ptr, head.len < MC_COPY_MAX ? head.len : MC_COPY_MAX};
        mc__say(mc, part);
        head.ptr += part.len;
        head.len -= part.len;
    }
    mc__body(mc, item, tail);
}

/* ---- text ---- */

static YIELDS bool get_text(struct mc *mc, struct str key)
{
    struct kv_item item;
    enum rc rc = look_up(mc, key, &item);
    if (rc == RC_NOT_FOUND) {
        return true;
    }
    if (rc != RC_OK) {
        mc__fault(mc, rc);
        return false;
    }
    struct sb sb = mc__room(mc, key.len + 96);
    mc_put_value(&sb, key, item.flags, value_bytes(&item), mc->req.wants_cas ? &item.cas : NULL);
    mc__put(mc, &sb);
    put_item(mc, &item, STR("\r\n"));
    return mc->sent == RC_OK;
}

static YIELDS void get_all(struct mc *mc)
{
    struct str rest = mc->req.rest;
    struct str key;
    for (unsigned n = 1; mc_next_key(&rest, &key); n++) {
        if (!get_text(mc, key)) {
            /* An error in the place of END; what is left of a long line is not read. */
            mc->end = mc->req.is_part || mc->reader.in_keys != NULL ? SESS_RX_JUNK : mc->end;
            return;
        }
        if (n % KEYS_A_TURN == 0) {
            mc->count->mc_yields++;
            fiber_yield();
        }
    }
    if (!mc->req.is_part) {
        mc__say(mc, STR("END\r\n"));
    }
}

/* ---- meta ---- */

static struct mc_item told(const struct kv_item *item)
{
    return (struct mc_item){
        .bytes = value_bytes(item),
        .cas = item->cas,
        .ttl_s = item->ttl_s,
        .idle_s = item->idle_s,
        .flags = item->flags,
        .was_hit = item->was_hit,
        .is_stale = item->is_stale,
        .has_won = item->has_won,
        .won_once = item->is_won,
    };
}

static YIELDS void get_meta(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    struct kv_item item;
    enum rc rc = look_up(mc, req->key, &item);
    if (rc != RC_OK && rc != RC_NOT_FOUND) {
        mc__fault(mc, rc);
        return;
    }
    struct sb sb = mc__room(mc, req->wire_key.len + 512);
    if (rc == RC_NOT_FOUND) {
        if (!req->is_quiet) {
            mc_put_meta(&sb, req, "EN", NULL);
            mc__put(mc, &sb);
        }
        return;
    }
    bool has_value = mc_has(req, 'v');
    struct mc_item all = told(&item);
    mc_put_meta(&sb, req, has_value ? "VA" : "HD", &all);
    mc__put(mc, &sb);
    if (has_value) {
        put_item(mc, &item, STR("\r\n"));
    } else {
        kv_release(&item);
    }
}

void mc__debug(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    struct kv_item item;
    enum rc rc = look_up(mc, req->key, &item);
    if (rc != RC_OK) {
        if (rc == RC_NOT_FOUND) {
            mc__say(mc, STR("EN\r\n"));
        } else {
            mc__fault(mc, rc);
        }
        return;
    }
    struct sb sb = mc__room(mc, req->wire_key.len + 256);
    sb_lit(&sb, "ME ");
    sb_put(&sb, req->wire_key);
    sb_printf(&sb, " exp=%lld la=%u cas=%llu fetch=%s cls=1 size=%llu\r\n", (long long)item.ttl_s,
              item.idle_s, (unsigned long long)item.cas, item.was_hit ? "yes" : "no",
              (unsigned long long)value_bytes(&item));
    mc__put(mc, &sb);
    kv_release(&item);
}

/* ---- binary ---- */

static YIELDS void miss_binary(struct mc *mc, enum rc rc)
{
    const struct mc_request *req = &mc->req;
    if (rc != RC_NOT_FOUND) {
        mc__fault(mc, rc);
    } else if (req->is_quiet) {
        return;
    } else if (req->wants_key) {
        struct sb sb = mc__room(mc, MC_HEAD_BYTES + req->key.len);
        mc_put_head(&sb, req,
                    &(struct mc_head){.status = MC_STATUS_NOT_FOUND,
                                      .key_len = (uint16_t)req->key.len,
                                      .body_len = req->key.len});
        sb_put(&sb, req->key);
        mc__put(mc, &sb);
    } else {
        mc__status(mc, MC_STATUS_NOT_FOUND);
    }
}

static YIELDS void get_binary(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    bool has_value = req->op == MC_OP_GET;
    struct kv_item item;
    enum rc rc = look_up(mc, req->key, &item);
    if (rc != RC_OK) {
        miss_binary(mc, rc);
        return;
    }
    size_t key_len = req->wants_key ? req->key.len : 0;
    uint64_t body_len = 4 + key_len + (has_value ? value_bytes(&item) : 0);
    if (body_len > UINT32_MAX) {
        kv_release(&item);
        mc__status(mc, MC_STATUS_TOO_LARGE);
        return;
    }
    struct sb sb = mc__room(mc, MC_HEAD_BYTES + 4 + key_len);
    mc_put_head(&sb, req,
                &(struct mc_head){.status = MC_STATUS_OK,
                                  .extras_len = 4,
                                  .key_len = (uint16_t)key_len,
                                  .body_len = body_len,
                                  .cas = item.cas});
    mc_put_u32be(&sb, item.flags);
    sb_put(&sb, (struct str){req->key.ptr, key_len});
    mc__put(mc, &sb);
    if (has_value) {
        put_item(mc, &item, STR(""));
    } else {
        kv_release(&item);
    }
}

void mc__get(struct mc *mc)
{
    switch (mc->req.dialect) {
    case MC_TEXT:
        get_all(mc);
        break;
    case MC_META:
        get_meta(mc);
        break;
    case MC_BINARY:
        get_binary(mc);
        break;
    }
}

void mc__touch(struct mc *mc)
{
    if (mc->req.dialect == MC_BINARY) {
        get_binary(mc);
        return;
    }
    enum rc rc = kv_touch(&mc->kv, mc->req.key, mc->req.exptime);
    if (rc != RC_OK && rc != RC_NOT_FOUND) {
        mc__fault(mc, rc);
    } else if (!mc->req.is_quiet) {
        mc__say(mc, rc == RC_OK ? STR("TOUCHED\r\n") : STR("NOT_FOUND\r\n"));
    }
}
