/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Parameters as people write and read them: values with units, bounds, sets of bits.  Pure. */
#ifndef MGT_PARAM_TEXT_H
#define MGT_PARAM_TEXT_H

#include "base/param.h"
#include "mgt/cli_proto.h"

enum param_string_id {
#define PARAM_STRING(name, ...) PARAM_STRING_##name,
#include "mgt/param_strings.def"
#undef PARAM_STRING
    PARAM_STRING__COUNT
};

/* A row of any kind; rows are numbered in the order of their names. */
enum param_row_kind { PARAM_ROW_VALUE, PARAM_ROW_BITS, PARAM_ROW_STRING };
struct param_row {
    const char *name;
    enum param_row_kind kind;
    enum param_id id; /* the one of these that `kind` says */
    enum param_bits_id bits;
    enum param_string_id string;
    unsigned flags;
    const char *text;
};
enum { PARAM_ROWS = PARAM__COUNT + PARAM_BITS__COUNT + PARAM_STRING__COUNT };

/* All rows, sorted; `rows` has PARAM_ROWS places. */
void param_rows(struct param_row *rows);

/* Reads a value in the units of its kind and checks its bounds.  RC_INVALID: *why says what is
 * wrong, in a line for the operator. */
MUST_USE enum rc param_parse(const struct param_desc *desc, struct str text, uint64_t *value,
                             struct cli_text *why);
/* Writes it so that param_parse reads it back: exactly for all but SECONDS, which have three
 * decimals. */
void param_format(const struct param_desc *desc, uint64_t value, struct cli_text *out);
/* As a JSON value: number, true, false, or a string for `unlimited` and `never`. */
void param_format_json(const struct param_desc *desc, uint64_t value, struct cli_text *out);

/* A set of bits: names, texts, and which of the two states is spoken of. */
struct param_bits_desc {
    const char *name;
    unsigned flags;
    const char *text;
    unsigned count;
    const char *(*bit_name)(unsigned bit); /* NULL: the number is not in use */
    const char *(*bit_text)(unsigned bit); /* NULL where bits have no text of their own */
    bool shows_clear;                      /* lists the bits that are not set, as -NAME */
};
const struct param_bits_desc *param_bits_desc(enum param_bits_id id);

/* Applies "+a,-b", "default" or "none" to the words.  RC_INVALID, as param_parse. */
MUST_USE enum rc param_bits_parse(enum param_bits_id id, struct str text, uint64_t *words,
                                  struct cli_text *why);
void param_bits_format(enum param_bits_id id, const uint64_t *words, struct cli_text *out);
/* What `default` means. */
void param_bits_preset(enum param_bits_id id, uint64_t *words);

/* ---- texts (param_string.c) ---- */

struct param_row param_string_row(enum param_string_id id);
const char *param_string_preset(enum param_string_id id);
/* Adds to *value what is to be kept.  RC_INVALID, as param_parse. */
MUST_USE enum rc param_string_read(enum param_string_id id, struct str text, struct cli_text *value,
                                   struct cli_text *why);
/* As a JSON value. */
void param_string_json(enum param_string_id id, struct str value, struct cli_text *out);

#endif
