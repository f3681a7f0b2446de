/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* ESI: the parser of documents, the program that is made of one while it is fetched, and the
 * reader that delivery walks it by (docs/formats/esi.md). */
#ifndef FILTER_ESI_H
#define FILTER_ESI_H

#include "base/str.h"

/* Of filter_env.esi_flags: what operators can choose (the feature bits of these names). */
enum esi_flag {
    ESI_IGNORE_HTTPS = 1 << 0,          /* https:// is taken for http:// */
    ESI_DISABLE_XML_CHECK = 1 << 1,     /* documents need not begin with '<' */
    ESI_IGNORE_OTHER_ELEMENTS = 1 << 2, /* tags are looked for in other tags, too */
    ESI_REMOVE_BOM = 1 << 3,
};

enum {
    ESI_VALUE_MAX = 4096,        /* of an attribute of a tag */
    ESI_URL_MAX = 8192,          /* of an include, with the directory of its document */
    ESI_PROGRAM_MAX = 512 << 10, /* bytes of a program */
};

/* ---- parsing: pure, incremental, of bounded memory ---- */

enum esi_kind {
    ESI_MORE,    /* all that was given is taken */
    ESI_KEEP,    /* these bytes are for the client */
    ESI_SKIP,    /* these are not */
    ESI_INCLUDE, /* here something else goes in */
    ESI_NOTE,    /* something for the log */
    ESI_DONE,    /* the end */
};

enum esi_weight { ESI_PLAIN, ESI_WARNING, ESI_ERROR };

struct esi_event {
    enum esi_kind kind;
    bool goes_on;           /* INCLUDE: onerror="continue" */
    enum esi_weight weight; /* NOTE */
    struct str bytes;       /* KEEP, SKIP */
    struct str host;        /* INCLUDE: STR_NONE: that of the document */
    struct str url;         /* INCLUDE */
    struct str text;        /* NOTE */
    uint64_t after;         /* NOTE: where what it is about begins, in the document */
};

struct esi_parser;

/* The caller owns it.  `url`: of the document, which relative ones begin at; borrowed. */
struct esi_parser *esi_parser_new(struct str url, unsigned flags);
void esi_parser_free(struct esi_parser **parser);
/* The next event; takes what it is about off *in.  Its texts are borrows until the next call. */
struct esi_event esi_parse(struct esi_parser *parser, struct str *in, bool is_end);
/* Whether the document has anything of ESI in it. */
bool esi_parser_found(const struct esi_parser *parser);

/* ---- programs ---- */

struct esi_writer;

/* On the heap; the caller owns it. */
struct esi_writer *esi_writer_new(bool is_gzip);
void esi_writer_free(struct esi_writer **writer);
/* Pieces of the stored body, in their order; neighbours of one kind become one, unless it is gzip.
 * `len`: as stored.  text_len, crc: of what a gzip piece stands for. */
void esi_writer_keep(struct esi_writer *writer, uint64_t len, uint64_t text_len, uint32_t crc);
void esi_writer_skip(struct esi_writer *writer, uint64_t len);
void esi_writer_include(struct esi_writer *writer, struct str host, struct str url, bool goes_on);
/* The program: malloc'ed, the caller owns it.  RC_LIMIT: it would be longer than ESI_PROGRAM_MAX.
 */
MUST_USE enum rc esi_writer_finish(struct esi_writer *writer, char **program, size_t *len);

/* One step of a program; by `kind` (KEEP, SKIP, INCLUDE, DONE). */
struct esi_op {
    enum esi_kind kind;
    bool goes_on;
    uint64_t len;      /* KEEP, SKIP: bytes of the stored body */
    uint64_t text_len; /* KEEP of gzip: what they stand for */
    uint32_t crc;      /* ... and its CRC-32 */
    struct str host;   /* INCLUDE: borrows of the program */
    struct str url;
};

struct esi_reader {
    struct str rest;
    bool is_gzip;
    uint64_t left; /* of the body, which the program must not exceed */
};

/* `body_len`: of the stored body.  RC_UNSUPPORTED: another version; RC_DAMAGED. */
MUST_USE enum rc esi_read_begin(struct esi_reader *reader, struct str program, uint64_t body_len);
/* RC_OK, also for DONE; RC_DAMAGED: what it says cannot be. */
MUST_USE enum rc esi_read(struct esi_reader *reader, struct esi_op *op);

#endif
