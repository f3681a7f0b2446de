/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The text protocol: a line of words, perhaps a data block after it.
 *
 * What a server does with a line that it cannot use decides whether a client's data can become
 * commands.  So whenever the length of a data block is known, it is skipped with the command that
 * it belongs to; and a command that stores something, but does not tell how much, ends the
 * connection: MC_SWALLOW and MC_CLOSE. */
#include "mc/mc_priv.h"

const struct mc_command mc_commands[] = {
#define MC_COMMAND(name, shape, op, min, max, flags, args, text)                                   \
    {STR_INIT(#name), MC_OP_##op, MC_SHAPE_##shape, min, max, flags, args, text},
#include "mc/commands.def"
#undef MC_COMMAND
};
const unsigned mc_commands_count = ARRAY_SIZE(mc_commands);

#define BAD_LINE "CLIENT_ERROR bad command line format"
#define BAD_EXPTIME "CLIENT_ERROR invalid exptime argument"

struct str mc__word(struct str *rest)
{
    while (rest->len > 0 && rest->ptr[0] == ' ') {
        rest->ptr++;
        rest->len--;
    }
    const char *end = rest->len == 0 ? NULL : memchr(rest->ptr, ' ', rest->len);
    struct str word = {rest->ptr, end == NULL ? rest->len : (size_t)(end - rest->ptr)};
    rest->ptr += word.len;
    rest->len -= word.len;
    return word;
}

size_t mc_key_max(struct str key)
{
    bool is_url = str_starts(key, STR("//")) || str_starts(key, STR("http://")) ||
                  str_starts(key, STR("https://"));
    return is_url ? MC_URL_MAX : MC_KEY_MAX;
}

bool mc__key_is_good(struct str key)
{
    if (key.len == 0 || (key.len > MC_KEY_MAX && key.len > mc_key_max(key))) {
        return false;
    }
    for (size_t i = 0; i < key.len; i++) {
        unsigned char c = (unsigned char)key.ptr[i];
        if (c <= ' ' || c == 0x7f) {
            return false;
        }
    }
    return true;
}

bool mc_next_key(struct str *rest, struct str *key)
{
    *key = mc__word(rest);
    return key->len > 0;
}

enum rc mc__u32(struct str text, uint32_t *value)
{
    uint64_t wide = 0;
    enum rc rc = str_to_u64(text, &wide);
    *value = (uint32_t)wide;
    return rc == RC_OK && wide > UINT32_MAX ? RC_TOO_LONG : rc;
}

enum rc mc__i64(struct str text, int64_t *value)
{
    bool is_negative = text.len > 0 && text.ptr[0] == '-';
    if (is_negative) {
        text.ptr++;
        text.len--;
    }
    uint64_t wide = 0;
    enum rc rc = str_to_u64(text, &wide);
    /* Short of the ends, so that nobody who adds to it has to think of them. */
    if (rc == RC_OK && wide > (uint64_t)INT64_MAX / 4) {
        rc = RC_TOO_LONG;
    }
    *value = rc != RC_OK ? 0 : is_negative ? -(int64_t)wide : (int64_t)wide;
    return rc;
}

void mc__fail(struct mc_request *req, const char *error, enum mc_after after)
{
    req->error = error;
    req->after = after;
}

/* ---- arguments, by shape ---- */

/* All keys, before the first is answered. */
static void read_keys(struct str rest, struct mc_request *req)
{
    req->rest = rest;
    struct str key;
    while (mc_next_key(&rest, &key)) {
        if (!mc__key_is_good(key)) {
            mc__fail(req, BAD_LINE, MC_GO_ON);
            return;
        }
    }
}

static void read_get(struct str rest, const struct mc_command *cmd, struct mc_request *req)
{
    if ((cmd->flags & MC_F_TOUCH) != 0 && mc__i64(mc__word(&rest), &req->exptime) != RC_OK) {
        mc__fail(req, BAD_EXPTIME, MC_GO_ON);
        return;
    }
    read_keys(rest, req);
}

static void read_store(struct str rest, const struct mc_command *cmd, struct mc_request *req)
{
    req->key = mc__word(&rest);
    enum rc flags = mc__u32(mc__word(&rest), &req->client_flags);
    enum rc exptime = mc__i64(mc__word(&rest), &req->exptime);
    if (str_to_u64(mc__word(&rest), &req->value_bytes) != RC_OK ||
        req->value_bytes > INT64_MAX / 2) {
        mc__fail(req, BAD_LINE, MC_CLOSE);
        return;
    }
    req->has_value = true;
    req->has_cas = (cmd->flags & MC_F_CAS) != 0;
    enum rc cas = req->has_cas ? str_to_u64(mc__word(&rest), &req->cas) : RC_OK;
    if (flags != RC_OK || exptime != RC_OK || cas != RC_OK || !mc__key_is_good(req->key)) {
        mc__fail(req, BAD_LINE, MC_SWALLOW);
    }
}

static void read_key(struct str *rest, struct mc_request *req)
{
    req->key = mc__word(rest);
    if (!mc__key_is_good(req->key)) {
        mc__fail(req, BAD_LINE, MC_GO_ON);
    }
}

/* Old clients tell a time during which the key is blocked; only 0 means something. */
static void read_delete(struct str rest, unsigned args, struct mc_request *req)
{
    read_key(&rest, req);
    struct str hold = mc__word(&rest);
    bool is_good = args == 1 || (args == 2 && (req->is_quiet || str_eq(hold, STR("0")))) ||
                   (args == 3 && req->is_quiet && str_eq(hold, STR("0")));
    if (!is_good) {
        mc__fail(req, BAD_LINE ".  Usage: delete <key> [noreply]", MC_GO_ON);
    }
}

static void read_delta(struct str rest, struct mc_request *req)
{
    read_key(&rest, req);
    if (req->error == NULL && str_to_u64(mc__word(&rest), &req->delta) != RC_OK) {
        mc__fail(req, "CLIENT_ERROR invalid numeric delta argument", MC_GO_ON);
    }
}

static void read_touch(struct str rest, struct mc_request *req)
{
    read_key(&rest, req);
    if (req->error == NULL && mc__i64(mc__word(&rest), &req->exptime) != RC_OK) {
        mc__fail(req, BAD_EXPTIME, MC_GO_ON);
    }
}

static void read_flush(struct str rest, unsigned args, struct mc_request *req)
{
    req->exptime = 0;
    if (args > (req->is_quiet ? 1u : 0u) && mc__i64(mc__word(&rest), &req->exptime) != RC_OK) {
        mc__fail(req, BAD_EXPTIME, MC_GO_ON);
    }
}

static void read_level(struct str rest, struct mc_request *req)
{
    uint32_t level = 0;
    if (mc__u32(mc__word(&rest), &level) != RC_OK) {
        mc__fail(req, BAD_LINE, MC_GO_ON);
    }
}

static void read_args(struct str rest, unsigned args, const struct mc_command *cmd,
                      struct mc_request *req)
{
    switch ((enum mc_shape)cmd->shape) {
    case MC_SHAPE_KEYS:
        read_get(rest, cmd, req);
        break;
    case MC_SHAPE_STORE:
        read_store(rest, cmd, req);
        break;
    case MC_SHAPE_DELETE:
        read_delete(rest, args, req);
        break;
    case MC_SHAPE_DELTA:
        read_delta(rest, req);
        break;
    case MC_SHAPE_TOUCH:
        read_touch(rest, req);
        break;
    case MC_SHAPE_FLUSH:
        read_flush(rest, args, req);
        break;
    case MC_SHAPE_LEVEL:
        read_level(rest, req);
        break;
    case MC_SHAPE_META:
        mc__meta(rest, req);
        break;
    case MC_SHAPE_WORDS:
        req->rest = rest;
        break;
    }
}

/* ---- lines ---- */

static const struct mc_command *command_named(struct str name)
{
    for (unsigned i = 0; i < mc_commands_count; i++) {
        if (str_eq(mc_commands[i].name, name)) {
            return &mc_commands[i];
        }
    }
    return NULL;
}

/* How many words there are, and the last of them. */
static unsigned count_words(struct str rest, struct str *last)
{
    unsigned n = 0;
    *last = STR_NONE;
    for (struct str word = mc__word(&rest); word.len > 0; word = mc__word(&rest)) {
        *last = word;
        n++;
    }
    return n;
}

static void begin(const struct mc_command *cmd, struct mc_request *req)
{
    req->op = cmd->op;
    req->name = cmd->name.ptr;
    req->dialect = (cmd->flags & MC_F_META) != 0 ? MC_META : MC_TEXT;
    req->wants_cas = (cmd->flags & MC_F_CAS) != 0 && (cmd->flags & MC_F_DATA) == 0;
}

/* RC_MALFORMED: a browser's request, which a page elsewhere may have made it send. */
static enum rc parse_line(struct str line, struct mc_request *req)
{
    struct str rest = line;
    struct str name = mc__word(&rest);
    const struct mc_command *cmd = command_named(name);
    struct str last;
    unsigned args = count_words(rest, &last);
    if (cmd == NULL) {
        mc__fail(req, "ERROR", MC_GO_ON);
        return str_starts(last, STR("HTTP/")) ? RC_MALFORMED : RC_OK;
    }
    begin(cmd, req);
    if (args < cmd->args_min || args > cmd->args_max) {
        /* As memcached says it: of a set without length nobody knows what follows. */
        bool is_bad = cmd->op == MC_OP_SET && req->dialect == MC_META && args == 1;
        mc__fail(req, is_bad ? BAD_LINE : "ERROR",
                 (cmd->flags & MC_F_DATA) != 0 ? MC_CLOSE : MC_GO_ON);
        return RC_OK;
    }
    if ((cmd->flags & MC_F_NOREPLY) != 0 && args > 0) {
        req->is_quiet = str_eq(last, STR("noreply"));
    }
    read_args(rest, args, cmd, req);
    return RC_OK;
}

/* A get whose line is longer than what is read at once: the keys so far, of which the last may be
 * cut.  RC_TOO_LONG: this is no such line. */
static enum rc take_part(struct mc_reader *reader, struct str part, struct mc_request *req)
{
    size_t end = part.len;
    while (end > 0 && part.ptr[end - 1] != ' ') {
        end--;
    }
    struct str rest = {part.ptr, end};
    const struct mc_command *cmd = reader->in_keys;
    if (cmd == NULL) {
        cmd = command_named(mc__word(&rest));
        if (cmd == NULL || cmd->shape != MC_SHAPE_KEYS) {
            return RC_TOO_LONG;
        }
        begin(cmd, req);
        read_get(rest, cmd, req);
        reader->exptime = req->exptime;
    } else {
        begin(cmd, req);
        req->exptime = reader->exptime;
        read_keys(rest, req);
    }
    struct str first = req->rest;
    if (req->error != NULL || mc__word(&first).len == 0) {
        return RC_TOO_LONG;
    }
    reader->in_keys = cmd;
    reader->scanned = 0;
    req->is_part = true;
    req->consumed = end;
    return RC_OK;
}

static enum rc parse_text(struct mc_reader *reader, const char *buf, size_t len,
                          struct mc_request *req)
{
    CHECK(reader->scanned <= len);
    size_t most = len < MC_LINE_MAX ? len : MC_LINE_MAX;
    const char *end = NULL;
    if (reader->scanned < most) {
        end = memchr(buf + reader->scanned, '\n', most - reader->scanned);
    }
    if (end == NULL) {
        reader->scanned = most;
        return most < MC_LINE_MAX ? RC_AGAIN : take_part(reader, (struct str){buf, most}, req);
    }
    reader->scanned = 0;
    req->consumed = (size_t)(end - buf) + 1;
    struct str line = {buf, (size_t)(end - buf)};
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    const struct mc_command *cmd = reader->in_keys;
    reader->in_keys = NULL;
    if (cmd == NULL) {
        return parse_line(line, req);
    }
    begin(cmd, req);
    req->exptime = reader->exptime;
    read_keys(line, req);
    if (req->error != NULL) {
        /* Some keys have been answered: an error among the values would be taken for one. */
        req->after = MC_CLOSE;
    }
    return RC_OK;
}

enum rc mc_parse(struct mc_reader *reader, const char *buf, size_t len, struct mc_request *req)
{
    memset(req, 0, offsetof(struct mc_request, flags));
    req->exptime = req->vivify = req->recache = MC_TIME_NONE;
    if (len == 0) {
        return RC_AGAIN;
    }
    if (!reader->knows_protocol) {
        reader->knows_protocol = true;
        reader->is_binary = (unsigned char)buf[0] == 0x80;
    }
    return reader->is_binary ? mc__binary(buf, len, req) : parse_text(reader, buf, len, req);
}
