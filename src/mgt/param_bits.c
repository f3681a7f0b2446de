/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Sets of bits: "+name,-name", "default", "none".
 *
 * debug and feature begin with nothing set and speak of what is set.  vsl_mask begins with most
 * tags logged and speaks of those that are left out: a list of sixty names would tell nobody
 * anything. */
#include "base/check.h"
#include "mgt/param_text.h"
#include "shm/vsl.h"

struct bit_row {
    const char *name;
    const char *text;
};

static const struct bit_row debug_rows[PARAM_DEBUG__COUNT] = {
#define PARAM_DEBUG_BIT(name, text) {#name, text},
#define PARAM_FEATURE_BIT(name, text)
#define PARAM_EXPERIMENTAL_BIT(name, text)
#include "base/param_bits.def"
#undef PARAM_DEBUG_BIT
#undef PARAM_FEATURE_BIT
#undef PARAM_EXPERIMENTAL_BIT
};

static const struct bit_row feature_rows[PARAM_FEATURE__COUNT] = {
#define PARAM_DEBUG_BIT(name, text)
#define PARAM_FEATURE_BIT(name, text) {#name, text},
#define PARAM_EXPERIMENTAL_BIT(name, text)
#include "base/param_bits.def"
#undef PARAM_DEBUG_BIT
#undef PARAM_FEATURE_BIT
#undef PARAM_EXPERIMENTAL_BIT
};

static const struct bit_row experimental_rows[PARAM_EXPERIMENTAL__COUNT] = {
#define PARAM_DEBUG_BIT(name, text)
#define PARAM_FEATURE_BIT(name, text)
#define PARAM_EXPERIMENTAL_BIT(name, text) {#name, text},
#include "base/param_bits.def"
#undef PARAM_DEBUG_BIT
#undef PARAM_FEATURE_BIT
#undef PARAM_EXPERIMENTAL_BIT
};

static const char *debug_name(unsigned bit)
{
    return debug_rows[bit].name;
}

static const char *debug_text(unsigned bit)
{
    return debug_rows[bit].text;
}

static const char *feature_name(unsigned bit)
{
    return feature_rows[bit].name;
}

static const char *feature_text(unsigned bit)
{
    return feature_rows[bit].text;
}

static const char *experimental_name(unsigned bit)
{
    return experimental_rows[bit].name;
}

static const char *experimental_text(unsigned bit)
{
    return experimental_rows[bit].text;
}

#define INERT_ PARAM_INERT
static const struct param_bits_desc table[PARAM_BITS__COUNT] = {
#define PARAM(name, ...)
#define PARAM_BITS(set, tags, bits_flags, bits_text)                                               \
    [PARAM_BITS_##set] = {.name = #set, .flags = (bits_flags), .text = (bits_text), tags},
#define PARAM_DEBUG_BITS .count = PARAM_DEBUG__COUNT, .bit_name = debug_name, .bit_text = debug_text
#define PARAM_FEATURE_BITS                                                                         \
    .count = PARAM_FEATURE__COUNT, .bit_name = feature_name, .bit_text = feature_text
#define PARAM_EXPERIMENTAL_BITS                                                                    \
    .count = PARAM_EXPERIMENTAL__COUNT, .bit_name = experimental_name, .bit_text = experimental_text
#define PARAM_VSL_BITS .count = 64 * PARAM_BITS_WORDS, .bit_name = vsl_tag_name, .shows_clear = true
#include "base/param.def"
#undef PARAM
#undef PARAM_BITS
};

const struct param_bits_desc *param_bits_desc(enum param_bits_id id)
{
    CHECK((unsigned)id < PARAM_BITS__COUNT);
    CHECK(table[id].count <= 64 * PARAM_BITS_WORDS);
    return &table[id];
}

void param_bits_preset(enum param_bits_id id, uint64_t *words)
{
    for (unsigned i = 0; i < PARAM_BITS_WORDS; i++) {
        words[i] = 0;
    }
    if (id == PARAM_BITS_vsl_mask) {
        struct params params;
        param_defaults(&params);
        vsl_mask_default(&params);
        for (unsigned i = 0; i < PARAM_BITS_WORDS; i++) {
            words[i] = params.bits[id][i];
        }
    }
}

static bool is_set(const uint64_t *words, unsigned bit)
{
    return ((words[bit / 64] >> (bit % 64)) & 1) != 0;
}

/* One word of the list.  RC_INVALID. */
static enum rc apply_bit_word(enum param_bits_id id, struct str word, uint64_t *words,
                              struct cli_text *why)
{
    const struct param_bits_desc *desc = &table[id];
    if (str_eq_nocase(word, STR("default")) || str_eq_nocase(word, STR("none"))) {
        param_bits_preset(id, words);
        for (unsigned i = 0; i < desc->count && str_eq_nocase(word, STR("none")); i++) {
            /* "none" of a mask is "leave nothing out". */
            if (desc->shows_clear && desc->bit_name(i) != NULL) {
                words[i / 64] |= UINT64_C(1) << (i % 64);
            } else {
                words[i / 64] &= ~(UINT64_C(1) << (i % 64));
            }
        }
        return RC_OK;
    }
    if (word.len == 0 || (word.ptr[0] != '+' && word.ptr[0] != '-')) {
        cli_text_printf(why, "Missing '+' or '-' (%.*s)", STR_ARG(word));
        return RC_INVALID;
    }
    struct str name = {word.ptr + 1, word.len - 1};
    for (unsigned i = 0; i < desc->count; i++) {
        if (desc->bit_name(i) != NULL && str_eq_nocase(str_of(desc->bit_name(i)), name)) {
            uint64_t bit = UINT64_C(1) << (i % 64);
            words[i / 64] = word.ptr[0] == '+' ? words[i / 64] | bit : words[i / 64] & ~bit;
            return RC_OK;
        }
    }
    cli_text_printf(why, "Unknown %s bit (%.*s)", desc->name, STR_ARG(word));
    return RC_INVALID;
}

enum rc param_bits_parse(enum param_bits_id id, struct str text, uint64_t *words,
                         struct cli_text *why)
{
    uint64_t copy[PARAM_BITS_WORDS];
    memcpy(copy, words, sizeof copy);
    do {
        struct str word = str_trim(str_cut(&text, ','));
        enum rc rc = apply_bit_word(id, word, copy, why);
        if (rc != RC_OK) {
            return rc;
        }
    } while (text.ptr != NULL);
    memcpy(words, copy, sizeof copy);
    return RC_OK;
}

void param_bits_format(enum param_bits_id id, const uint64_t *words, struct cli_text *out)
{
    const struct param_bits_desc *desc = &table[id];
    const char *separator = "";
    for (unsigned i = 0; i < desc->count; i++) {
        if (desc->bit_name(i) == NULL || is_set(words, i) == desc->shows_clear) {
            continue;
        }
        cli_text_printf(out, "%s%c%s", separator, desc->shows_clear ? '-' : '+', desc->bit_name(i));
        separator = ",";
    }
    if (*separator == '\0') {
        cli_text_add(out, STR("none"));
    }
}
