/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Requests and answers of the command line interface.
 *
 * A request may come from anyone who reaches the port, so parsing is one pass over the line into a
 * copy that is never longer than it: a token loses its separator and gains a NUL.
 *
 *     param.set  "a b" \x41 << EOT      tokens, of which only unquoted ones can be `<<` or lose
 *     text                              a leading `-`: so a request that cli_request_put has
 *     EOT                               quoted means the same everywhere
 */
#include "mgt/cli_proto.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

struct lexer {
    struct str in; /* one line */
    size_t at;
    char *out;
    size_t out_len;
    const char *why;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* The character after a backslash stands at lx->at.  Returns the byte meant, or -1. */
static int lex_escape(struct lexer *lx)
{
    static const char plain[][2] = {
        {'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'"', '"'}, {'\\', '\\'}};
    const char *s = lx->in.ptr + lx->at;
    size_t left = lx->in.len - lx->at;
    if (left == 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        if (s[0] == plain[i][0]) {
            lx->at++;
            return plain[i][1];
        }
    }
    if (left >= 3 && s[0] == 'x' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
        lx->at += 3;
        return hex_digit(s[1]) * 16 + hex_digit(s[2]);
    }
    if (left >= 3 && s[0] <= '3' && is_octal(s[0]) && is_octal(s[1]) && is_octal(s[2])) {
        lx->at += 3;
        return (s[0] - '0') * 64 + (s[1] - '0') * 8 + (s[2] - '0');
    }
    return -1;
}

/* Takes the token that begins at lx->at.  RC_MALFORMED. */
static enum rc lex_token(struct lexer *lx, bool is_quoted, struct str *token)
{
    size_t begin = lx->out_len;
    bool is_closed = !is_quoted;
    while (lx->at < lx->in.len) {
        char c = lx->in.ptr[lx->at];
        if (!is_quoted && is_blank(c)) {
            break;
        }
        lx->at++;
        if (is_quoted && c == '"') {
            is_closed = true;
            break;
        }
        int byte = c == '\\' ? lex_escape(lx) : (unsigned char)c;
        if (byte < 0) {
            lx->why = "Invalid backslash sequence";
            return RC_MALFORMED;
        }
        lx->out[lx->out_len++] = (char)byte;
    }
    if (!is_closed) {
        lx->why = "Missing '\"'";
        return RC_MALFORMED;
    }
    *token = (struct str){lx->out + begin, lx->out_len - begin};
    lx->out[lx->out_len++] = '\0';
    return RC_OK;
}

static void skip_blanks(struct lexer *lx)
{
    while (lx->at < lx->in.len && is_blank(lx->in.ptr[lx->at])) {
        lx->at++;
    }
}

/* Fills req->argv; *is_here tells that the line ends in an unquoted `<<` and one more token. */
static enum rc lex_line(struct lexer *lx, struct cli_request *req, bool *is_here)
{
    unsigned here_at = UINT32_MAX;
    skip_blanks(lx);
    /* In a file of commands it says that this one may fail. */
    bool may_fail = lx->at < lx->in.len && lx->in.ptr[lx->at] == '-';
    lx->at += may_fail ? 1 : 0;
    for (;;) {
        skip_blanks(lx);
        if (lx->at == lx->in.len) {
            break;
        }
        if (req->argc == CLI_ARGS_MAX) {
            lx->why = "Too many words";
            return RC_MALFORMED;
        }
        bool is_quoted = lx->in.ptr[lx->at] == '"';
        lx->at += is_quoted ? 1 : 0;
        struct str *token = &req->argv[req->argc];
        enum rc rc = lex_token(lx, is_quoted, token);
        if (rc != RC_OK) {
            return rc;
        }
        if (!is_quoted && str_eq(*token, STR("<<"))) {
            here_at = req->argc;
        }
        req->argc++;
    }
    if (may_fail && req->argc == 0) {
        lx->why = "Empty CLI command.";
        return RC_MALFORMED;
    }
    *is_here = req->argc >= 3 && here_at == req->argc - 2;
    return RC_OK;
}

/* The body of a here-document: whole lines, up to one that is the nonce.  *used counts that too. */
static enum rc here_body(struct str in, struct str nonce, struct str *body, size_t *used)
{
    size_t at = 0;
    while (at < in.len) {
        struct str rest = {in.ptr + at, in.len - at};
        size_t line_len = str_find(rest, '\n');
        if (line_len == rest.len) {
            break;
        }
        if (str_eq((struct str){rest.ptr, line_len}, nonce)) {
            *body = (struct str){in.ptr, at};
            *used = at + line_len + 1;
            return RC_OK;
        }
        at += line_len + 1;
    }
    return RC_AGAIN;
}

/* Replaces `<< nonce` by the body that follows the line.  RC_AGAIN. */
static enum rc take_here(struct cli_request *req, struct str after, size_t *used)
{
    struct str body;
    size_t body_used;
    enum rc rc = here_body(after, req->argv[req->argc - 1], &body, &body_used);
    if (rc != RC_OK) {
        return rc;
    }
    /* One block holds tokens and body, so that freeing a request is freeing one thing. */
    const char *last = req->argv[req->argc - 1].ptr + req->argv[req->argc - 1].len + 1;
    size_t tokens_len = (size_t)(last - req->bytes);
    char *bytes = xmalloc(tokens_len + body.len + 1);
    memcpy(bytes, req->bytes, tokens_len);
    memcpy(bytes + tokens_len, body.ptr, body.len);
    bytes[tokens_len + body.len] = '\0';
    req->argc--;
    for (unsigned i = 0; i + 1 < req->argc; i++) {
        req->argv[i].ptr = bytes + (req->argv[i].ptr - req->bytes);
    }
    req->argv[req->argc - 1] = (struct str){bytes + tokens_len, body.len};
    free(req->bytes);
    req->bytes = bytes;
    *used += body_used;
    return RC_OK;
}

enum rc cli_request_parse(struct str in, struct cli_request *req, size_t *used, const char **why)
{
    *req = (struct cli_request){0};
    *used = 0;
    size_t line_len = str_find(in, '\n');
    if (line_len == in.len) {
        return in.len >= CLI_REQUEST_MAX ? RC_TOO_LONG : RC_AGAIN;
    }
    if (line_len >= CLI_REQUEST_MAX) {
        return RC_TOO_LONG;
    }
    req->bytes = xmalloc(line_len + 1);
    struct lexer lx = {.in = {in.ptr, line_len}, .out = req->bytes};
    bool is_here = false;
    *used = line_len + 1;
    enum rc rc = lex_line(&lx, req, &is_here);
    CHECK(lx.out_len <= line_len + 1);
    if (rc == RC_OK && req->argc == 0) {
        rc = RC_EOF;
    } else if (rc == RC_OK && is_here) {
        rc = take_here(req, (struct str){in.ptr + *used, in.len - *used}, used);
    }
    if (rc == RC_AGAIN) {
        *used = 0;
        rc = in.len >= CLI_REQUEST_MAX ? RC_TOO_LONG : RC_AGAIN;
    }
    if (rc == RC_MALFORMED) {
        *why = lx.why;
    }
    if (rc != RC_OK) {
        cli_request_free(req);
        return rc;
    }
    req->argv[req->argc] = STR_NONE;
    return RC_OK;
}

void cli_request_free(struct cli_request *req)
{
    free(req->bytes);
    *req = (struct cli_request){0};
}

/* Names of commands are; people look for them in the log as they typed them. */
static bool is_plain(struct str word)
{
    for (size_t n = 0; n < word.len; n++) {
        char c = word.ptr[n];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!is_letter && !(c >= '0' && c <= '9') && c != '.' && c != '_') {
            return false;
        }
    }
    return word.len > 0;
}

void cli_request_put(struct cli_text *text, const struct cli_request *req)
{
    for (unsigned i = 0; i < req->argc; i++) {
        if (i > 0) {
            cli_text_add(text, STR(" "));
        }
        if (i == 0 && is_plain(req->argv[i])) {
            cli_text_add(text, req->argv[i]);
        } else {
            cli_text_quote(text, req->argv[i]);
        }
    }
    cli_text_add(text, STR("\n"));
}

void cli_answer_put(struct cli_text *out, unsigned status, struct str text, size_t limit)
{
    CHECK(status >= 100);
    CHECK(status <= 999);
    if (text.len > limit) {
        text.len = limit;
        status = status == CLI_OK ? CLI_TRUNCATED : status;
    }
    size_t before = out->len;
    cli_text_printf(out, "%-3u %-8u\n", status, (unsigned)text.len);
    CHECK(out->len - before == CLI_HEAD_BYTES);
    cli_text_add(out, text);
    cli_text_add(out, STR("\n"));
}

enum rc cli_answer_parse(struct str in, unsigned *status, struct str *text, size_t *used)
{
    if (in.len < CLI_HEAD_BYTES) {
        return RC_AGAIN;
    }
    uint64_t status_value;
    uint64_t len;
    struct str status_text = {in.ptr, 3};
    struct str len_text = str_trim((struct str){in.ptr + 4, 8});
    if (in.ptr[3] != ' ' || in.ptr[CLI_HEAD_BYTES - 1] != '\n' ||
        str_to_u64(status_text, &status_value) != RC_OK || str_to_u64(len_text, &len) != RC_OK) {
        return RC_MALFORMED;
    }
    if (in.len < CLI_HEAD_BYTES + len + 1) {
        return RC_AGAIN;
    }
    if (in.ptr[CLI_HEAD_BYTES + len] != '\n') {
        return RC_MALFORMED;
    }
    *status = (unsigned)status_value;
    *text = (struct str){in.ptr + CLI_HEAD_BYTES, len};
    *used = CLI_HEAD_BYTES + len + 1;
    return RC_OK;
}
