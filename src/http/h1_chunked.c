/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Chunked bodies (RFC 9112 section 7.1).
 *
 *     size [blanks] [";" extension] CRLF  data CRLF  ...  "0" [...] CRLF  *( name ":" value CRLF )
 * CRLF
 *
 * Bytes come in any pieces, so this is a machine of states: all its memory is struct h1_chunked,
 * and between two bytes it can be put away.  Data runs are handed out in place, everything else is
 * looked at byte by byte.  Line ends are CRLF, nothing else: a decoder that takes a bare LF, or any
 * two bytes after the data, disagrees with its neighbour about where the next chunk begins.  Sizes
 * have at most 16 digits and fit an int64; extensions and trailers, which nobody reads, are
 * checked, counted over the whole body, and dropped. */
#include "http/h1.h"

#include "base/check.h"
#include "http/http_priv.h"

enum state {
    SIZE,      /* in the digits */
    BLANKS,    /* behind them */
    EXTENSION, /* behind ";" */
    SIZE_LF,   /* behind the CR of the size line */
    DATA,      /* c->left bytes to come */
    DATA_CR,   /* at the line end that follows the data */
    DATA_LF,
    LINE, /* at the beginning of a trailer line, or of the last, empty one */
    NAME,
    VALUE,
    VALUE_LF,
    LAST_LF,
    ENDED,
    FAILED
};

void h1_chunked_init(struct h1_chunked *c, uint32_t flags)
{
    *c = (struct h1_chunked){.flags = (uint16_t)(flags & H1_CHUNK_BLANKS), .state = SIZE};
}

static int hex_value(char ch)
{
    if (http__is(ch, HTTP__DIGIT)) {
        return ch - '0';
    }
    char lower = (char)(ch | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static enum state fail(struct h1_chunked *c, enum h1_error error)
{
    c->error = error;
    c->left = 0;
    return FAILED;
}

static enum state expect(struct h1_chunked *c, char ch, char wanted, enum state next)
{
    return ch == wanted ? next : fail(c, H1_ERR_BAD_CHUNK);
}

/* One more byte of what nobody reads. */
static enum state extension(struct h1_chunked *c, char ch)
{
    if (++c->ext_bytes > H1_EXT_MAX) {
        return fail(c, H1_ERR_EXT_TOO_LONG);
    }
    return http__is(ch, HTTP__VALUE) ? EXTENSION : fail(c, H1_ERR_BAD_CHUNK);
}

static enum state behind_size(struct h1_chunked *c, char ch)
{
    if (ch == '\r') {
        return SIZE_LF;
    }
    if (ch == ';') {
        return extension(c, ch);
    }
    if (http__is(ch, HTTP__BLANK) && c->flags != 0) {
        return extension(c, ch) == EXTENSION ? BLANKS : FAILED;
    }
    return fail(c, H1_ERR_BAD_CHUNK);
}

static enum state size_digit(struct h1_chunked *c, char ch)
{
    int digit = hex_value(ch);
    if (digit < 0) {
        return c->digits == 0 ? fail(c, H1_ERR_BAD_CHUNK) : behind_size(c, ch);
    }
    if (++c->digits > 16 || c->size > INT64_MAX >> 4) {
        return fail(c, H1_ERR_CHUNK_TOO_LONG);
    }
    c->size = c->size << 4 | (uint64_t)digit;
    return SIZE;
}

/* The size line is whole. */
static enum state begin_chunk(struct h1_chunked *c, char ch)
{
    if (ch != '\n') {
        return fail(c, H1_ERR_BAD_CHUNK);
    }
    c->left = c->size;
    c->size = 0;
    c->digits = 0;
    return c->left > 0 ? DATA : LINE;
}

static enum state trailer(struct h1_chunked *c, char ch)
{
    if (++c->trailer_bytes > H1_TRAILER_MAX) {
        return fail(c, H1_ERR_TRAILER_TOO_LONG);
    }
    if (c->state == LINE && ch == '\r') {
        return LAST_LF;
    }
    if (c->state == VALUE) {
        return ch == '\r'                  ? VALUE_LF
               : http__is(ch, HTTP__VALUE) ? VALUE
                                           : fail(c, H1_ERR_BAD_VALUE);
    }
    if (c->state == NAME && ch == ':') {
        return VALUE;
    }
    return http__is(ch, HTTP__TCHAR) ? NAME : fail(c, H1_ERR_BAD_NAME);
}

static enum state step(struct h1_chunked *c, char ch)
{
    switch ((enum state)c->state) {
    case SIZE:
        return size_digit(c, ch);
    case BLANKS:
        return behind_size(c, ch);
    case EXTENSION:
        return ch == '\r' ? SIZE_LF : extension(c, ch);
    case SIZE_LF:
        return begin_chunk(c, ch);
    case DATA_CR:
        return expect(c, ch, '\r', DATA_LF);
    case DATA_LF:
        return expect(c, ch, '\n', SIZE);
    case LINE:
    case NAME:
    case VALUE:
        return trailer(c, ch);
    case VALUE_LF:
        return expect(c, ch, '\n', LINE);
    case LAST_LF:
        return expect(c, ch, '\n', ENDED);
    case DATA:
    case ENDED:
    case FAILED:
        break;
    }
    CHECK(false);
    return FAILED;
}

void h1_chunked_took(struct h1_chunked *c, uint64_t bytes)
{
    CHECK(bytes <= c->left);
    c->left -= bytes;
    if (c->state == DATA && c->left == 0) {
        c->state = DATA_CR;
    }
}

enum rc h1_chunked_next(struct h1_chunked *c, struct str in, size_t *used, struct str *data)
{
    *used = 0;
    *data = STR_NONE;
    while (*used < in.len && c->state != DATA && c->state != ENDED && c->state != FAILED) {
        c->state = (uint8_t)step(c, in.ptr[(*used)++]);
    }
    if (c->state == FAILED) {
        return h1_error_rc(c->error);
    }
    if (c->state == ENDED) {
        return RC_EOF;
    }
    size_t run = in.len - *used;
    if (c->state != DATA || run == 0) {
        return RC_AGAIN;
    }
    run = run < c->left ? run : (size_t)c->left;
    *data = (struct str){in.ptr + *used, run};
    *used += run;
    h1_chunked_took(c, run);
    return RC_OK;
}

size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], uint64_t bytes)
{
    /* A chunk of no bytes would end the body. */
    CHECK(bytes > 0);
    struct sb sb = sb_of(out, H1_CHUNK_HEAD_MAX);
    sb_hex(&sb, bytes);
    sb_lit(&sb, "\r\n");
    CHECK(!sb.overflow);
    return sb.len;
}
