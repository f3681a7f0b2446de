/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The binary protocol: 24 bytes, extras, a key, a value; all numbers big-endian.
 *
 *   0 magic 0x80   1 opcode   2 key length (2)   4 extras length   5 data type   6 reserved (2)
 *   8 length of all that follows the header (4)   12 opaque (4)   16 revision (8)
 *
 * The three lengths say one thing twice; where they differ nobody knows where the next request
 * begins, and the connection ends with the answer. */
#include "mc/mc_priv.h"

#define NO MC_NO
#define YES MC_YES
#define MAY MC_MAY
const struct mc_opcode mc__opcodes[] = {
#define MC_OPCODE(code, name, op, extras_min, extras_max, key, value, flags, text)                 \
    {code, STR_INIT(#name), MC_OP_##op, extras_min, extras_max, key, value, flags, text},
#include "mc/opcodes.def"
#undef MC_OPCODE
};
#undef NO
#undef YES
#undef MAY
const unsigned mc__opcodes_count = ARRAY_SIZE(mc__opcodes);

static uint64_t big_endian(const unsigned char *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static const struct mc_opcode *opcode_of(uint8_t code)
{
    for (unsigned i = 0; i < mc__opcodes_count; i++) {
        if (mc__opcodes[i].code == code) {
            return &mc__opcodes[i];
        }
    }
    return NULL;
}

static void refuse(struct mc_request *req, enum mc_status status, enum mc_after after)
{
    req->status = status;
    mc__fail(req, "", after);
}

/* 0xffffffff and the like are far in the future, or nothing. */
static int64_t exptime_at(const unsigned char *at)
{
    return (int32_t)(uint32_t)big_endian(at, 4);
}

static void read_extras(const unsigned char *at, unsigned bytes, const struct mc_opcode *opcode,
                        struct mc_request *req)
{
    switch (req->op) {
    case MC_OP_SET:
    case MC_OP_ADD:
    case MC_OP_REPLACE:
        req->client_flags = (uint32_t)big_endian(at, 4);
        req->exptime = exptime_at(at + 4);
        break;
    case MC_OP_INCR:
    case MC_OP_DECR:
        req->delta = big_endian(at, 8);
        req->initial = big_endian(at + 8, 8);
        req->makes = big_endian(at + 16, 4) != UINT32_MAX;
        req->vivify = exptime_at(at + 16);
        break;
    case MC_OP_FLUSH:
        req->exptime = bytes == 4 ? exptime_at(at) : 0;
        break;
    default:
        if ((opcode->flags & MC_F_TOUCH) != 0) {
            req->exptime = exptime_at(at);
        }
        break;
    }
}

static bool fits(unsigned has, bool is_there)
{
    return has == MC_MAY || (has == MC_YES) == is_there;
}

enum rc mc__binary(const char *buf, size_t len, struct mc_request *req)
{
    const unsigned char *at = (const unsigned char *)buf;
    req->dialect = MC_BINARY;
    if (at[0] != 0x80) {
        return RC_MALFORMED;
    }
    if (len < MC_HEAD_BYTES) {
        return RC_AGAIN;
    }
    req->opcode = at[1];
    size_t key_len = big_endian(at + 2, 2);
    unsigned extras_len = at[4];
    uint64_t body_len = big_endian(at + 8, 4);
    memcpy(req->opaque, at + 12, 4);
    req->cas = big_endian(at + 16, 8);
    req->has_cas = req->cas != 0;
    const struct mc_opcode *opcode = opcode_of(req->opcode);
    req->consumed = MC_HEAD_BYTES;
    if (key_len + extras_len > body_len) {
        refuse(req, MC_STATUS_UNKNOWN, MC_CLOSE);
        return RC_OK;
    }
    req->value_bytes = body_len;
    if (opcode == NULL) {
        refuse(req, MC_STATUS_UNKNOWN, MC_SWALLOW);
        return RC_OK;
    }
    req->op = opcode->op;
    req->name = opcode->name.ptr;
    req->is_quiet = (opcode->flags & MC_F_QUIET) != 0;
    req->wants_key = (opcode->flags & MC_F_KEY) != 0;
    uint64_t value_len = body_len - key_len - extras_len;
    bool is_good = extras_len == opcode->extras_min || extras_len == opcode->extras_max;
    is_good = is_good && fits(opcode->key, key_len > 0) && fits(opcode->value, value_len > 0);
    if (!is_good || key_len > MC_URL_MAX) {
        refuse(req, MC_STATUS_INVALID, MC_CLOSE);
        return RC_OK;
    }
    size_t need = MC_HEAD_BYTES + extras_len + key_len;
    if (len < need) {
        return RC_AGAIN;
    }
    req->key = (struct str){buf + MC_HEAD_BYTES + extras_len, key_len};
    if (key_len > MC_KEY_MAX && key_len > mc_key_max(req->key)) {
        refuse(req, MC_STATUS_INVALID, MC_CLOSE);
        return RC_OK;
    }
    req->consumed = need;
    req->value_bytes = value_len;
    req->has_value = opcode->value != MC_NO;
    read_extras(at + MC_HEAD_BYTES, extras_len, opcode, req);
    req->rest = req->key;
    return RC_OK;
}
