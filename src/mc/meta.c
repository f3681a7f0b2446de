/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Meta commands: a key, and flags of one letter each, some with a token behind it. */
#include "mc/mc_priv.h"

const struct mc_flag_kind mc__flag_kinds[] = {
#define MC_FLAG(letter, token, commands, text) {letter, MC_TOKEN_##token, commands, text},
#include "mc/flags.def"
#undef MC_FLAG
};
const unsigned mc__flag_kinds_count = ARRAY_SIZE(mc__flag_kinds);

#define BAD_LINE "CLIENT_ERROR bad command line format"
#define BAD_TOKEN "CLIENT_ERROR bad token in command line format"

static const struct mc_flag_kind *kind_of(char letter)
{
    for (unsigned i = 0; i < mc__flag_kinds_count; i++) {
        if (mc__flag_kinds[i].letter == letter) {
            return &mc__flag_kinds[i];
        }
    }
    return NULL;
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : memchr(digits, c, 64);
    return at == NULL ? -1 : (int)(at - digits);
}

enum rc mc__base64(struct str text, char *out, size_t cap, size_t *len)
{
    *len = 0;
    if (text.len == 0 || text.len % 4 != 0) {
        return RC_MALFORMED;
    }
    size_t pad = text.ptr[text.len - 1] != '=' ? 0 : text.ptr[text.len - 2] != '=' ? 1 : 2;
    if (text.len / 4 * 3 - pad > cap) {
        return RC_TOO_LONG;
    }
    for (size_t i = 0; i < text.len; i += 4) {
        size_t left = i + 4 == text.len ? 4 - pad : 4;
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            int digit = j < left ? digit_of(text.ptr[i + j]) : 0;
            if (digit < 0) {
                return RC_MALFORMED;
            }
            bits = bits << 6 | (uint32_t)digit;
        }
        /* Bits that no byte has would make two texts for one key. */
        if ((bits & (left == 4 ? 0u : left == 3 ? 0xffu : 0xffffu)) != 0) {
            return RC_MALFORMED;
        }
        for (size_t j = 0; j + 1 < left; j++) {
            out[(*len)++] = (char)(uint8_t)(bits >> (16 - 8 * j));
        }
    }
    return RC_OK;
}

/* ---- one flag ---- */

static const char *number_of(char letter, struct str token, struct mc_request *req)
{
    uint64_t value = 0;
    bool is_good = str_to_u64(token, &value) == RC_OK;
    switch (letter) {
    case 'C':
        req->has_cas = is_good;
        req->cas = value;
        break;
    case 'E':
        req->new_cas = value;
        break;
    case 'J':
        req->initial = value;
        return is_good ? NULL : "CLIENT_ERROR invalid numeric initial value";
    default:
        req->delta = value;
        return is_good ? NULL : "CLIENT_ERROR invalid numeric delta value";
    }
    return is_good ? NULL : BAD_TOKEN;
}

static const char *time_of(char letter, struct str token, struct mc_request *req)
{
    int64_t value = 0;
    if (mc__i64(token, &value) != RC_OK) {
        return BAD_TOKEN;
    }
    if (letter == 'T') {
        req->exptime = value;
    } else if (letter == 'N') {
        req->vivify = value;
        req->makes = true;
    } else {
        req->recache = value;
    }
    return NULL;
}

static const char *read_flag(struct str word, struct mc_request *req)
{
    char letter = word.ptr[0];
    struct str token = {word.ptr + 1, word.len - 1};
    const struct mc_flag_kind *kind = kind_of(letter);
    if (kind == NULL) {
        return "CLIENT_ERROR invalid flag";
    }
    if (mc_has(req, letter)) {
        return "CLIENT_ERROR duplicate flag";
    }
    req->has |= mc_bit(letter);
    CHECK(req->flags_count < MC_FLAGS_MAX);
    req->flags[req->flags_count++] = (struct mc_flag){letter, token};
    switch (kind->token) {
    case MC_TOKEN_NUMBER:
        return number_of(letter, token, req);
    case MC_TOKEN_TIME:
        return time_of(letter, token, req);
    case MC_TOKEN_FLAGS:
        return mc__u32(token, &req->client_flags) == RC_OK ? NULL : BAD_LINE;
    case MC_TOKEN_MODE:
        return token.len == 1 ? NULL : "CLIENT_ERROR incorrect length for M token";
    case MC_TOKEN_TEXT:
        return letter == 'O' && word.len > MC_OPAQUE_MAX ? "CLIENT_ERROR opaque token too long"
                                                         : NULL;
    case MC_TOKEN_NONE:
        break;
    }
    return NULL;
}

static const char *read_mode(struct mc_request *req)
{
    static const struct {
        char letter;
        enum mc_op from, to;
    } modes[] = {
        {'E', MC_OP_SET, MC_OP_ADD},     {'A', MC_OP_SET, MC_OP_APPEND},
        {'P', MC_OP_SET, MC_OP_PREPEND}, {'R', MC_OP_SET, MC_OP_REPLACE},
        {'S', MC_OP_SET, MC_OP_SET},     {'e', MC_OP_SET, MC_OP_ADD},
        {'a', MC_OP_SET, MC_OP_APPEND},  {'p', MC_OP_SET, MC_OP_PREPEND},
        {'r', MC_OP_SET, MC_OP_REPLACE}, {'s', MC_OP_SET, MC_OP_SET},
        {'I', MC_OP_INCR, MC_OP_INCR},   {'+', MC_OP_INCR, MC_OP_INCR},
        {'D', MC_OP_INCR, MC_OP_DECR},   {'-', MC_OP_INCR, MC_OP_DECR},
        {'i', MC_OP_INCR, MC_OP_INCR},   {'d', MC_OP_INCR, MC_OP_DECR},
    };
    if (!mc_has(req, 'M') || (req->op != MC_OP_SET && req->op != MC_OP_INCR)) {
        return NULL;
    }
    char letter = '\0';
    for (unsigned i = 0; i < req->flags_count; i++) {
        letter = req->flags[i].letter == 'M' ? req->flags[i].token.ptr[0] : letter;
    }
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        if (modes[i].letter == letter && modes[i].from == req->op) {
            req->op = modes[i].to;
            return NULL;
        }
    }
    return req->op == MC_OP_SET ? "CLIENT_ERROR invalid mode for ms M token"
                                : "CLIENT_ERROR invalid mode for ma M token";
}

static const char *read_flags(struct str rest, struct mc_request *req)
{
    const char *error = NULL;
    for (struct str word = mc__word(&rest); word.len > 0; word = mc__word(&rest)) {
        const char *said = read_flag(word, req);
        /* The first that is wrong is told; those behind it are read for what they say. */
        error = error == NULL ? said : error;
        if (said != NULL && req->flags_count == MC_FLAGS_MAX) {
            break;
        }
    }
    return error != NULL ? error : read_mode(req);
}

static const char *read_key(struct mc_request *req)
{
    if (!mc__key_is_good(req->wire_key)) {
        return BAD_LINE;
    }
    req->key = req->wire_key;
    if (mc_has(req, 'b')) {
        size_t len = 0;
        enum rc rc = mc__base64(req->wire_key, req->key_bytes, sizeof req->key_bytes, &len);
        req->key = (struct str){req->key_bytes, len};
        return rc == RC_OK ? NULL : "CLIENT_ERROR error decoding key";
    }
    return NULL;
}

void mc__meta(struct str rest, struct mc_request *req)
{
    bool stores = req->op == MC_OP_SET;
    req->delta = 1;
    req->wire_key = mc__word(&rest);
    if (stores) {
        if (str_to_u64(mc__word(&rest), &req->value_bytes) != RC_OK ||
            req->value_bytes > INT64_MAX / 2) {
            mc__fail(req, BAD_LINE, MC_CLOSE);
            return;
        }
        req->has_value = true;
    }
    const char *error = read_flags(rest, req);
    const char *key_error = read_key(req);
    error = key_error != NULL ? key_error : error;
    /* Time to live without a flag: ms stores for ever, the others leave it. */
    if (stores && req->exptime == MC_TIME_NONE) {
        req->exptime = 0;
    }
    req->is_quiet = mc_has(req, 'q');
    req->wants_cas = mc_has(req, 'c');
    if (error == NULL) {
        return;
    }
    bool is_about_key = error == key_error || req->op == MC_OP_GET || stores ||
                        (req->op >= MC_OP_SET && req->op <= MC_OP_PREPEND);
    if (!is_about_key && !mc_has(req, 'M') && !mc_has(req, 'O')) {
        error = "CLIENT_ERROR invalid or duplicate flag";
    }
    mc__fail(req, error, stores ? MC_SWALLOW : MC_GO_ON);
}
