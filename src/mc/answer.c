/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What answers look like. */
#include "mc/mc_priv.h"

void mc_put_value(struct sb *sb, struct str key, uint32_t flags, uint64_t bytes,
                  const uint64_t *cas)
{
    sb_lit(sb, "VALUE ");
    sb_put(sb, key);
    sb_chr(sb, ' ');
    sb_u64(sb, flags);
    sb_chr(sb, ' ');
    sb_u64(sb, bytes);
    if (cas != NULL) {
        sb_chr(sb, ' ');
        sb_u64(sb, *cas);
    }
    sb_lit(sb, "\r\n");
}

static void put_number(struct sb *sb, char letter, uint64_t value)
{
    sb_chr(sb, ' ');
    sb_chr(sb, letter);
    sb_u64(sb, value);
}

static void put_flag(struct sb *sb, const struct mc_request *req, const struct mc_flag *flag,
                     const struct mc_item *item)
{
    switch (flag->letter) {
    case 'O':
        sb_lit(sb, " O");
        sb_put(sb, flag->token);
        return;
    case 'k':
        sb_lit(sb, " k");
        sb_put(sb, req->wire_key);
        if (mc_has(req, 'b')) {
            sb_lit(sb, " b");
        }
        return;
    default:
        break;
    }
    if (item == NULL) {
        return;
    }
    /* Of what flags ask about, each command can tell its own (flags.def). */
    bool gets = req->op == MC_OP_GET;
    bool counts = req->op == MC_OP_INCR || req->op == MC_OP_DECR;
    switch (flag->letter) {
    case 'c':
        put_number(sb, 'c', item->cas);
        break;
    case 's':
        if (!counts) {
            put_number(sb, 's', item->bytes);
        }
        break;
    case 't':
        if (gets || counts) {
            sb_lit(sb, " t");
            if (item->ttl_s < 0) {
                sb_lit(sb, "-1");
            } else {
                sb_u64(sb, (uint64_t)item->ttl_s);
            }
        }
        break;
    case 'f':
        if (gets) {
            put_number(sb, 'f', item->flags);
        }
        break;
    case 'l':
        if (gets) {
            put_number(sb, 'l', item->idle_s);
        }
        break;
    case 'h':
        if (gets) {
            put_number(sb, 'h', item->was_hit);
        }
        break;
    default:
        break;
    }
}

void mc_put_meta(struct sb *sb, const struct mc_request *req, const char *code,
                 const struct mc_item *item)
{
    sb_add(sb, code, 2);
    if (code[0] == 'V' && item != NULL) {
        sb_chr(sb, ' ');
        sb_u64(sb, item->bytes);
    }
    for (unsigned i = 0; i < req->flags_count; i++) {
        put_flag(sb, req, &req->flags[i], item);
    }
    if (item != NULL && item->won_once) {
        sb_lit(sb, " Z");
    }
    if (item != NULL && item->is_stale) {
        sb_lit(sb, " X");
    }
    if (item != NULL && item->has_won) {
        sb_lit(sb, " W");
    }
    sb_lit(sb, "\r\n");
}

static void put_big_endian(struct sb *sb, uint64_t value, unsigned bytes)
{
    char out[8];
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (char)(uint8_t)(value >> 8 * (bytes - 1 - i));
    }
    sb_add(sb, out, bytes);
}

void mc_put_u32be(struct sb *sb, uint32_t value)
{
    put_big_endian(sb, value, 4);
}

void mc_put_u64be(struct sb *sb, uint64_t value)
{
    put_big_endian(sb, value, 8);
}

void mc_put_head(struct sb *sb, const struct mc_request *req, const struct mc_head *head)
{
    CHECK(head->body_len <= UINT32_MAX);
    sb_chr(sb, (char)0x81);
    sb_chr(sb, (char)req->opcode);
    put_big_endian(sb, head->key_len, 2);
    sb_chr(sb, (char)head->extras_len);
    sb_chr(sb, 0);
    put_big_endian(sb, head->status, 2);
    put_big_endian(sb, head->body_len, 4);
    sb_add(sb, req->opaque, sizeof req->opaque);
    put_big_endian(sb, head->cas, 8);
}

void mc_put_status(struct sb *sb, const struct mc_request *req, enum mc_status status)
{
    static const struct {
        enum mc_status status;
        struct str text;
    } texts[] = {
#define MC_STATUS(code, name, text) {MC_STATUS_##name, STR_INIT(text)},
#include "mc/statuses.def"
#undef MC_STATUS
    };
    struct str text = STR_NONE;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        text = texts[i].status == status ? texts[i].text : text;
    }
    mc_put_head(sb, req, &(struct mc_head){.status = status, .body_len = text.len});
    sb_put(sb, text);
}
