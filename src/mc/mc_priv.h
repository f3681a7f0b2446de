/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of mc share. */
#ifndef MC_MC_PRIV_H
#define MC_MC_PRIV_H

#include "base/check.h"
#include "mc/mc.h"

/* How a command reads its arguments. */
enum mc_shape {
    MC_SHAPE_KEYS,
    MC_SHAPE_STORE,
    MC_SHAPE_DELETE,
    MC_SHAPE_DELTA,
    MC_SHAPE_TOUCH,
    MC_SHAPE_FLUSH,
    MC_SHAPE_WORDS,
    MC_SHAPE_LEVEL,
    MC_SHAPE_META,
};

/* What follows the letter of a flag. */
enum mc_token {
    MC_TOKEN_NONE,
    MC_TOKEN_TEXT,
    MC_TOKEN_NUMBER,
    MC_TOKEN_FLAGS,
    MC_TOKEN_TIME,
    MC_TOKEN_MODE
};

struct mc_flag_kind {
    char letter;
    enum mc_token token;
    const char *commands;
    const char *text;
};
extern const struct mc_flag_kind mc__flag_kinds[];
extern const unsigned mc__flag_kinds_count;

struct mc_opcode {
    uint8_t code;
    struct str name;
    enum mc_op op;
    uint8_t extras_min, extras_max;
    uint8_t key, value; /* enum mc_has_part */
    unsigned flags;
    const char *text;
};
enum mc_has_part { MC_NO, MC_YES, MC_MAY };
extern const struct mc_opcode mc__opcodes[];
extern const unsigned mc__opcodes_count;

/* Cuts the next word off *rest (blanks between words); an empty one: there is none. */
struct str mc__word(struct str *rest);
bool mc__key_is_good(struct str key);
/* Signed decimals; RC_MALFORMED, RC_TOO_LONG. */
MUST_USE enum rc mc__i64(struct str text, int64_t *value);
MUST_USE enum rc mc__u32(struct str text, uint32_t *value);

/* Says what is wrong with the request, and how the connection goes on. */
void mc__fail(struct mc_request *req, const char *error, enum mc_after after);

/* A meta command whose line is `args` (meta.c). */
void mc__meta(struct str args, struct mc_request *req);
/* Decodes base64 (RFC 4648 section 4, padded).  RC_MALFORMED, RC_TOO_LONG. */
MUST_USE enum rc mc__base64(struct str text, char *out, size_t cap, size_t *len);
/* As mc_parse. */
MUST_USE enum rc mc__binary(const char *buf, size_t len, struct mc_request *req);

#endif
