/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* memcached's protocols: what clients ask, and how it is answered; no I/O, no allocation.
 * Three dialects, one kind of request: text, meta (mixed with text) and binary. */
#ifndef MC_MC_H
#define MC_MC_H

#include "base/sb.h"

enum {
    MC_KEY_MAX = 250,
    MC_URL_MAX = 8192,   /* of a key that is a URL */
    MC_LINE_MAX = 12288, /* of a line with its end; keys of a longer get come in portions */
    MC_FLAGS_MAX = 26,
    MC_OPAQUE_MAX = 32,        /* with its letter */
    MC_HEAD_BYTES = 24,        /* of a binary request or answer */
    MC_NEED_MAX = MC_LINE_MAX, /* what has to be in the buffer at once, at most */
    MC_ANSWER_MAX = 9216,      /* the longest line or header with key that is built here */
};

/* How many arguments a command may have: any number. */
#define MC_ANY UINT32_MAX
/* Of a time to live that leaves it as it is. */
#define MC_TIME_NONE INT64_MIN

enum mc_op {
#define MC_OP(name) MC_OP_##name,
#include "mc/ops.def"
#undef MC_OP
    MC_OP__COUNT
};

enum mc_dialect { MC_TEXT, MC_META, MC_BINARY };

enum mc_command_flags {
    MC_F_NOREPLY = 1u << 0,
    MC_F_CAS = 1u << 1,
    MC_F_TOUCH = 1u << 2,
    MC_F_DATA = 1u << 3,
    MC_F_META = 1u << 4,
    MC_F_QUIET = 1u << 5,
    MC_F_KEY = 1u << 6,
    MC_F_OPEN = 1u << 7,
};

enum mc_status {
#define MC_STATUS(code, name, text) MC_STATUS_##name = (code),
#include "mc/statuses.def"
#undef MC_STATUS
};

/* What has been understood of a connection so far.  Zero-initialise. */
struct mc_reader {
    bool knows_protocol; /* the first byte has come, and decided: */
    bool is_binary;
    /* A get whose line is longer than the buffer: the command, and what was said before the keys.
     */
    const struct mc_command *in_keys;
    int64_t exptime;
    size_t scanned; /* bytes without an end of line */
};

/* A flag of a meta command and what followed its letter. */
struct mc_flag {
    char letter;
    struct str token;
};

/* How the connection goes on after a request that cannot be carried out. */
enum mc_after {
    MC_GO_ON,
    MC_SWALLOW, /* skip the data block first: value_bytes and, in text, its end of line */
    MC_CLOSE,   /* nothing tells where the next request begins */
};

/* One request.  Text borrows the buffer that was parsed, or key_bytes of this very struct. */
struct mc_request {
    enum mc_op op;
    enum mc_dialect dialect;
    const char *name; /* of the command, for logs and policies; static */
    size_t consumed;  /* bytes of the request, up to its data block */

    /* If it cannot be carried out: the line without its end (text), or the status. */
    const char *error; /* static; NULL: it can */
    enum mc_status status;
    enum mc_after after;

    struct str key;
    struct str rest;      /* more keys of a get (mc_next_key); the words of stats */
    bool is_part;         /* of a long get: the next request goes on with its keys */
    bool is_quiet;        /* noreply, q, or a quiet opcode */
    bool wants_cas;       /* gets */
    bool has_value;       /* a data block follows: */
    uint64_t value_bytes; /* without its end of line */
    uint32_t client_flags;
    int64_t exptime; /* as the client said it; MC_TIME_NONE: nothing */
    bool has_cas;
    uint64_t cas;
    uint64_t delta;
    bool makes; /* a missing number is made: */
    uint64_t initial;

    /* Meta. */
    unsigned flags_count;
    uint64_t has;        /* bit mc_bit(letter) */
    struct str wire_key; /* as it came */
    int64_t vivify;      /* N, and */
    int64_t recache;     /* R; MC_TIME_NONE without */
    uint64_t new_cas;    /* E; 0 without */

    /* Binary. */
    uint8_t opcode;
    uint8_t opaque[4];
    bool wants_key;

    /* What is written before it is read. */
    struct mc_flag flags[MC_FLAGS_MAX];
    char key_bytes[MC_KEY_MAX];
};

static inline uint64_t mc_bit(char letter)
{
    return 1ull << ((unsigned)letter & 63u);
}
static inline bool mc_has(const struct mc_request *req, char letter)
{
    return (req->has & mc_bit(letter)) != 0;
}

/* Reads one request.  RC_OK: *req is filled (perhaps with an error to answer).  RC_AGAIN: more
 * bytes are needed; at most MC_NEED_MAX.  RC_TOO_LONG: a line without end: answer and close.
 * RC_MALFORMED: this is another protocol: close. */
MUST_USE enum rc mc_parse(struct mc_reader *reader, const char *buf, size_t len,
                          struct mc_request *req);
/* Cuts the next key off *rest; false: there is none.  The keys of a request are valid. */
bool mc_next_key(struct str *rest, struct str *key);

/* The longest that a key may be which begins so. */
size_t mc_key_max(struct str key);

/* ---- answers ---- */

/* VALUE <key> <flags> <bytes>[ <cas>]; cas NULL: none. */
void mc_put_value(struct sb *sb, struct str key, uint32_t flags, uint64_t bytes,
                  const uint64_t *cas);

/* What a meta answer may tell of an entry. */
struct mc_item {
    uint64_t bytes;
    uint64_t cas;
    int64_t ttl_s; /* -1: no end */
    uint64_t idle_s;
    uint32_t flags;
    bool was_hit;
    bool is_stale;
    bool has_won;  /* this client is to make it anew */
    bool won_once; /* another one does */
};
/* The line: a code ("HD"), with `bytes` behind it if it is "VA", and what the flags asked for.
 * item NULL: of no entry, so only key and opaque. */
void mc_put_meta(struct sb *sb, const struct mc_request *req, const char *code,
                 const struct mc_item *item);

/* A binary header; what follows it is the caller's. */
struct mc_head {
    enum mc_status status;
    uint8_t extras_len;
    uint16_t key_len;
    uint64_t body_len; /* with extras and key; at most UINT32_MAX */
    uint64_t cas;
};
void mc_put_head(struct sb *sb, const struct mc_request *req, const struct mc_head *head);
/* A header with the status's own text. */
void mc_put_status(struct sb *sb, const struct mc_request *req, enum mc_status status);
void mc_put_u32be(struct sb *sb, uint32_t value);
void mc_put_u64be(struct sb *sb, uint64_t value);

/* ---- the tables, for tests and the reference page ---- */

struct mc_command {
    struct str name;
    enum mc_op op;
    unsigned shape; /* text.c */
    uint32_t args_min, args_max;
    unsigned flags;
    const char *args;
    const char *text;
};
extern const struct mc_command mc_commands[];
extern const unsigned mc_commands_count;

/* Line i of a part of the reference: what is written, and what it does.  False past the end. */
enum mc_part { MC_PART_COMMANDS, MC_PART_FLAGS, MC_PART_OPCODES };
struct mc_doc {
    char what[128];
    const char *text;
};
bool mc_doc(enum mc_part part, unsigned i, struct mc_doc *doc);

#endif
