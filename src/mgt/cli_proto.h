/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The command line interface as bytes: requests, answers, and tables of commands.  Spoken between
 * varnishadm and the manager, and between the manager and its worker.  No I/O but in cli_serve.
 *
 * Request: one line of tokens separated by blanks.  A token in double quotes may hold blanks and
 * the escapes \n \r \t \" \\ \ooo \xHH.  A first token that begins with `-` is taken without it.
 * If the last two tokens are `<<` and a nonce, the text up to a line that consists of the nonce
 * alone becomes the last argument.  Answer: 13 bytes "%-3u %-8u\n" (status, length of the text),
 * the text, a newline. */
#ifndef MGT_CLI_PROTO_H
#define MGT_CLI_PROTO_H

#include <stdarg.h>

#include "base/str.h"

enum cli_status {
    CLI_SYNTAX = 100,
    CLI_UNKNOWN = 101,
    CLI_UNIMPLEMENTED = 102,
    CLI_TOO_FEW = 104,
    CLI_TOO_MANY = 105,
    CLI_PARAM = 106,
    CLI_AUTH = 107,
    CLI_OK = 200,
    CLI_TRUNCATED = 201,
    CLI_CANNOT = 300,
    CLI_COMMS = 400,
    CLI_CLOSE = 500,
};

enum {
    CLI_HEAD_BYTES = 13,
    CLI_ARGS_MAX = 64,
    CLI_REQUEST_MAX = 16 << 20, /* bytes of a request, here-document included */
};

/* ---- text that grows: the body of an answer ---- */

/* Zero-initialise; ends with cli_text_free. */
struct cli_text {
    char *ptr;
    size_t len;
    size_t cap;
};
void cli_text_add(struct cli_text *text, struct str s);
void cli_text_printf(struct cli_text *text, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cli_text_vprintf(struct cli_text *text, const char *fmt, va_list ap);
/* As a JSON string, with its quotes. */
void cli_text_json(struct cli_text *text, struct str s);
/* As one token of a request, quoted. */
void cli_text_quote(struct cli_text *text, struct str s);
void cli_text_clear(struct cli_text *text);
void cli_text_free(struct cli_text *text);
static inline struct str cli_text_str(const struct cli_text *text)
{
    return (struct str){text->ptr, text->len};
}

/* ---- requests ---- */

/* argv[0] is the command; each argument has a NUL behind it and may hold others. */
struct cli_request {
    unsigned argc;
    struct str argv[CLI_ARGS_MAX + 1]; /* argv[argc] is STR_NONE */
    char *bytes;                       /* what argv borrows from; cli_request_free */
};

/* Takes a request from the front of `in`.  *used tells how many bytes it has (also on failure:
 * skip them).  RC_AGAIN: it is not complete yet.  RC_EOF: an empty line, no request.
 * RC_MALFORMED: bad quotes or too many tokens, *why says so (static).  RC_TOO_LONG: more than
 * CLI_REQUEST_MAX, close the connection.  The caller owns *req after RC_OK. */
MUST_USE enum rc cli_request_parse(struct str in, struct cli_request *req, size_t *used,
                                   const char **why);
void cli_request_free(struct cli_request *req);
/* The request as a line that cli_request_parse takes back to the same arguments. */
void cli_request_put(struct cli_text *text, const struct cli_request *req);

/* ---- answers ---- */

/* Appends head, text and newline.  A text longer than `limit` is cut, and CLI_OK becomes
 * CLI_TRUNCATED. */
void cli_answer_put(struct cli_text *out, unsigned status, struct str text, size_t limit);
/* Takes an answer from the front of `in`; *text borrows from it.  RC_AGAIN, RC_MALFORMED. */
MUST_USE enum rc cli_answer_parse(struct str in, unsigned *status, struct str *text, size_t *used);

/* ---- tables of commands ---- */

/* One call of a command. */
struct cli {
    const struct cli_request *req; /* without -j */
    bool json;                     /* -j was given: answer between cli_json_open and _close */
    unsigned status;               /* CLI_OK until set otherwise */
    struct cli_text *text;
};
/* Writes cli->text and perhaps cli->status.  ctx is that of the table's user. */
typedef void cli_fn(struct cli *cli, void *ctx);

enum { CLI_HAS_JSON = 1, CLI_HIDDEN = 2 };
struct cli_cmd {
    const char *name; /* NULL ends a table */
    unsigned min;     /* arguments, -j not counted */
    unsigned max;
    cli_fn *fn;
    unsigned flags;
    const char *syntax;
    const char *help;
};

void cli_printf(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Replaces the text, and sets the status. */
void cli_fail(struct cli *cli, unsigned status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* `[ 2, ["cmd", "-j", ...], 1700000000.123,\n  ` up to where the command's own values go. */
void cli_json_open(struct cli *cli);
/* The same with another version than 2 of the command's own format. */
void cli_json_open_as(struct cli *cli, unsigned version);
void cli_json_close(struct cli *cli);

/* NULL if the table has no such command. */
const struct cli_cmd *cli_find(const struct cli_cmd *table, struct str name);
/* Checks the number of arguments, takes -j off, calls the command. */
void cli_run(const struct cli_cmd *cmd, const struct cli_request *req, struct cli_text *text,
             unsigned *status, void *ctx);

/* ---- the worker's side ---- */

/* Told of each request ("Rd") and answer ("Wr"), for the log's CLI records.  Borrows text. */
typedef void cli_traffic_fn(void *ctx, const char *direction, struct str text);

/* Answers requests from `fd` by the table until it ends (RC_OK), fails (RC_IO), or a command set
 * the status CLI_CLOSE.  Blocks the calling thread: not for a loop's. */
MUST_USE enum rc cli_serve(int fd, const struct cli_cmd *table, cli_traffic_fn *traffic, void *ctx);

#endif
