/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Parameters as people write and read them: values with units, bounds, sets of bits.  Pure. */
#ifndef MGT_PARAM_TEXT_H
#define MGT_PARAM_TEXT_H

#include "base/param.h"
#include "mgt/cli_proto.h"

/* A row of either kind; rows are numbered in the order of their names. */
struct param_row {
    const char *name;
    bool is_bits;
    enum param_id id;        /* unless is_bits */
    enum param_bits_id bits; /* if is_bits */
    unsigned flags;
};
enum { PARAM_ROWS = PARAM__COUNT + PARAM_BITS__COUNT };

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

/* Whether Varnish has a parameter of this name that is not there yet. */
bool param_is_foreign(struct str name);

#endif
