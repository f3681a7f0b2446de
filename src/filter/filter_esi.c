/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The filters of ESI on the way into the cache: they leave the document as it is, or pack it, and
 * find out what its program is.
 *
 *   (text)esi(esitext)      looks at bytes that pass
 *   (text)esi_gzip(gzip)    packs them so that each piece can be taken out: between two pieces the
 *                           stream is flushed to a byte's border, and a piece that is kept refers
 * to nothing before it
 *
 *     gzip head | kept ... | skipped ... | kept ... | last block, CRC, length
 *               ^ reset    ^ aligned     ^ reset    ^ aligned
 *
 * Skipped pieces are packed too: the whole is a gzip body of the whole document. */
#include <stdio.h>
#include <stdlib.h>
#include <vapi/vsl_int.h>

#include "base/check.h"
#include "base/sb.h"
#include "filter/codecs_priv.h"
#include "filter/deflate.h"
#include "filter/esi.h"

/* A document full of nonsense does not fill the log. */
enum { LOGGED_MAX = 500 };

struct esi_common {
    const struct filter_env *env;
    struct esi_parser *parser;
    struct esi_writer *writer;
};

static void begin_common(struct esi_common *c, const struct filter_env *env, bool is_gzip)
{
    c->env = env;
    c->parser = esi_parser_new(env->url, env->esi_flags);
    c->writer = esi_writer_new(is_gzip);
}

static void end_common(struct esi_common *c)
{
    esi_parser_free(&c->parser);
    esi_writer_free(&c->writer);
}

static void note(struct esi_common *c, const struct esi_event *event, uint64_t after)
{
    struct filter_notes *notes = c->env->notes;
    notes->esi_errors += event->weight == ESI_ERROR;
    notes->esi_warnings += event->weight == ESI_WARNING;
    if (c->env->log == NULL || notes->esi_errors + notes->esi_warnings > LOGGED_MAX) {
        return;
    }
    char text[192];
    struct sb sb = sb_of(text, sizeof text);
    if (event->weight != ESI_PLAIN) {
        sb_put(&sb, event->weight == ESI_ERROR ? STR("ERR after ") : STR("WARN after "));
        sb_u64(&sb, after);
        sb_chr(&sb, ' ');
    }
    sb_put(&sb, event->text);
    c->env->log(c->env->log_arg, SLT_ESI_xmlerror, sb_str(&sb));
}

static enum rc finish(struct esi_common *c)
{
    struct filter_notes *notes = c->env->notes;
    if (!esi_parser_found(c->parser)) {
        return RC_OK;
    }
    CHECK(notes->esi == NULL);
    enum rc rc = esi_writer_finish(c->writer, &notes->esi, &notes->esi_len);
    if (rc != RC_OK) {
        (void)snprintf(notes->error, sizeof notes->error, "ESI program too long");
    }
    return rc;
}

/* ---- esi ---- */

static enum rc plain_begin(void *self, const struct filter_env *env)
{
    begin_common(self, env, false);
    return RC_OK;
}

static enum rc plain_look(void *self, const char *ptr, size_t len, bool is_end)
{
    struct esi_common *c = self;
    struct str in = {ptr, len};
    for (;;) {
        struct esi_event e = esi_parse(c->parser, &in, is_end);
        switch (e.kind) {
        case ESI_KEEP:
            esi_writer_keep(c->writer, e.bytes.len, 0, 0);
            break;
        case ESI_SKIP:
            esi_writer_skip(c->writer, e.bytes.len);
            break;
        case ESI_INCLUDE:
            esi_writer_include(c->writer, e.host, e.url, e.goes_on);
            break;
        case ESI_NOTE:
            note(c, &e, e.after);
            break;
        case ESI_MORE:
            return RC_OK;
        case ESI_DONE:
            return finish(c);
        }
    }
}

static void plain_end(void *self)
{
    end_common(self);
}

const struct codec codec_esi = {
    .bytes = sizeof(struct esi_common),
    .begin = plain_begin,
    .look = plain_look,
    .end = plain_end,
};

/* ---- esi_gzip ---- */

enum phase { PHASE_HEAD, PHASE_PIECES, PHASE_LAST, PHASE_FINISH, PHASE_DONE };

struct esi_gzip {
    struct esi_common common;
    struct deflate *deflate;
    enum phase phase;
    enum esi_kind kind;   /* of the present piece: KEEP, SKIP; MORE: there is none yet */
    enum esi_kind next;   /* ... and of the bytes that wait to be packed */
    const char *held;     /* these, or, if NULL, ... */
    size_t run;           /* ... so many at the begin of the input */
    uint64_t out;         /* bytes made so far, and ... */
    uint64_t piece_begin; /* ... when the present piece began */
    uint64_t text_len;    /* of the present piece */
    uint32_t crc;
};

/* Feeds `len` bytes at ptr (advanced), flushing.  RC_OK with *is_done: all taken and flushed. */
static enum rc feed(struct esi_gzip *g, const char **ptr, size_t *len, enum deflate_flush how,
                    struct codec_io *io, bool *is_done)
{
    struct codec_io part = {.in = *ptr, .in_len = *len, .out = io->out, .room = io->room};
    enum rc rc = deflate_feed(g->deflate, &part, how);
    g->out += io->room - part.room;
    io->out = part.out;
    io->room = part.room;
    *ptr = part.in;
    *len = part.in_len;
    *is_done = rc == RC_EOF || (rc == RC_OK && io->room > 0);
    return rc == RC_EOF ? RC_OK : rc;
}

static enum rc flush(struct esi_gzip *g, enum deflate_flush how, struct codec_io *io, bool *is_done)
{
    const char *none = "";
    size_t len = 0;
    return feed(g, &none, &len, how, io, is_done);
}

static void end_piece(struct esi_gzip *g)
{
    uint64_t len = g->out - g->piece_begin;
    if (g->kind == ESI_KEEP) {
        esi_writer_keep(g->common.writer, len, g->text_len, g->crc);
    } else if (len > 0) {
        esi_writer_skip(g->common.writer, len);
    }
    g->piece_begin = g->out;
    g->text_len = 0;
    g->crc = 0;
}

/* The bytes that wait: the piece before them ends if it is of the other kind. */
static enum rc pack(struct esi_gzip *g, struct codec_io *io)
{
    bool is_done;
    if (g->next != g->kind) {
        enum deflate_flush how = g->next == ESI_KEEP ? DEFLATE_RESET : DEFLATE_ALIGN;
        enum rc rc = flush(g, how, io, &is_done);
        if (rc != RC_OK || !is_done) {
            return rc;
        }
        end_piece(g);
        g->kind = g->next;
    }
    const char *begin = g->held != NULL ? g->held : io->in;
    const char *ptr = begin;
    size_t len = g->run;
    enum rc rc = feed(g, &ptr, &len, DEFLATE_MORE, io, &is_done);
    size_t taken = g->run - len;
    g->crc = gzip_crc(g->crc, begin, taken);
    g->text_len += taken;
    g->run = len;
    if (g->held != NULL) {
        g->held = ptr;
    } else {
        io->in += taken;
        io->in_len -= taken;
    }
    return rc;
}

/* Makes the next bytes wait, or ends the pieces.  False: more input is needed. */
static bool look_on(struct esi_gzip *g, struct codec_io *io)
{
    struct str in = {io->in, io->in_len};
    struct esi_event e = esi_parse(g->common.parser, &in, io->is_end);
    size_t taken = io->in_len - in.len;
    bool is_held = e.bytes.len > 0 && e.bytes.ptr != io->in;
    switch (e.kind) {
    case ESI_KEEP:
    case ESI_SKIP:
        g->next = e.kind;
        g->run = e.bytes.len;
        g->held = is_held ? e.bytes.ptr : NULL;
        CHECK(is_held || taken == g->run);
        break;
    case ESI_INCLUDE:
        esi_writer_include(g->common.writer, e.host, e.url, e.goes_on);
        break;
    case ESI_NOTE:
        note(&g->common, &e, g->piece_begin);
        break;
    case ESI_DONE:
        g->phase = PHASE_LAST;
        break;
    case ESI_MORE:
        break;
    }
    if (g->run == 0 || is_held) {
        io->in += taken;
        io->in_len -= taken;
    }
    return e.kind != ESI_MORE;
}

static enum rc gzip_begin(void *self, const struct filter_env *env)
{
    struct esi_gzip *g = self;
    begin_common(&g->common, env, true);
    g->kind = ESI_SKIP; /* the gzip head */
    return deflate_new(env, &g->deflate);
}

static enum rc finish_gzip(struct esi_gzip *g)
{
    g->phase = PHASE_DONE;
    deflate_bits(g->deflate, &g->common.env->notes->gzip);
    enum rc rc = finish(&g->common);
    return rc == RC_OK ? RC_EOF : rc;
}

static enum rc gzip_step(void *self, struct codec_io *io)
{
    struct esi_gzip *g = self;
    enum rc rc = RC_OK;
    bool is_done = true;
    while (rc == RC_OK && is_done && io->room > 0) {
        switch (g->phase) {
        case PHASE_HEAD:
            rc = flush(g, DEFLATE_RESET, io, &is_done);
            g->phase = is_done ? PHASE_PIECES : PHASE_HEAD;
            break;
        case PHASE_PIECES:
            if (g->run > 0) {
                rc = pack(g, io);
            } else {
                is_done = look_on(g, io);
            }
            break;
        case PHASE_LAST:
            rc = flush(g, DEFLATE_ALIGN, io, &is_done);
            if (rc == RC_OK && is_done) {
                end_piece(g);
                g->phase = PHASE_FINISH;
            }
            break;
        case PHASE_FINISH:
            rc = flush(g, DEFLATE_FINISH, io, &is_done);
            if (rc == RC_OK && is_done) {
                rc = finish_gzip(g);
            }
            break;
        case PHASE_DONE:
            return RC_EOF;
        }
    }
    return rc;
}

static void gzip_end(void *self)
{
    struct esi_gzip *g = self;
    deflate_free(&g->deflate);
    end_common(&g->common);
}

const struct codec codec_esi_gzip = {
    .bytes = sizeof(struct esi_gzip),
    .begin = gzip_begin,
    .step = gzip_step,
    .end = gzip_end,
};
