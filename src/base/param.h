/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Parameters: one table, param.def, from which the struct, the command line interface and the
 * manual are made.  The struct lies in memory that manager and worker share: the manager writes
 * single words, the worker reads them at any time, so each is atomic and none depends on another.
 */
#ifndef BASE_PARAM_H
#define BASE_PARAM_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/str.h"

enum param_kind { PARAM_KIND_BOOL, PARAM_KIND_UINT, PARAM_KIND_BYTES, PARAM_KIND_SECONDS };

enum param_id {
#define PARAM(name, ...) PARAM_##name,
#define PARAM_BITS(name, ...)
#include "base/param.def"
#undef PARAM
#undef PARAM_BITS
    PARAM__COUNT
};

enum param_bits_id {
#define PARAM(name, ...)
#define PARAM_BITS(name, ...) PARAM_BITS_##name,
#include "base/param.def"
#undef PARAM
#undef PARAM_BITS
    PARAM_BITS__COUNT
};

/* Log tags are numbered by their tag, set meaning logged; debug and feature as in param_bits.def.
 */
#define PARAM_BITS_WORDS 4

/* param_bit(p, PARAM_BITS_debug, PARAM_DEBUG_vtc_mode) */
enum param_debug_bit {
#define PARAM_DEBUG_BIT(name, text) PARAM_DEBUG_##name,
#define PARAM_FEATURE_BIT(name, text)
#define PARAM_EXPERIMENTAL_BIT(name, text)
#include "base/param_bits.def"
#undef PARAM_DEBUG_BIT
#undef PARAM_FEATURE_BIT
#undef PARAM_EXPERIMENTAL_BIT
    PARAM_DEBUG__COUNT
};

enum param_feature_bit {
#define PARAM_DEBUG_BIT(name, text)
#define PARAM_FEATURE_BIT(name, text) PARAM_FEATURE_##name,
#define PARAM_EXPERIMENTAL_BIT(name, text)
#include "base/param_bits.def"
#undef PARAM_DEBUG_BIT
#undef PARAM_FEATURE_BIT
#undef PARAM_EXPERIMENTAL_BIT
    PARAM_FEATURE__COUNT
};

enum param_experimental_bit {
#define PARAM_DEBUG_BIT(name, text)
#define PARAM_FEATURE_BIT(name, text)
#define PARAM_EXPERIMENTAL_BIT(name, text) PARAM_EXPERIMENTAL_##name,
#include "base/param_bits.def"
#undef PARAM_DEBUG_BIT
#undef PARAM_FEATURE_BIT
#undef PARAM_EXPERIMENTAL_BIT
    PARAM_EXPERIMENTAL__COUNT
};

struct params {
    _Atomic uint64_t value[PARAM__COUNT];
    _Atomic uint64_t bits[PARAM_BITS__COUNT][PARAM_BITS_WORDS];
};

/* param(p, default_ttl): the value in the unit of its kind (nanoseconds, bytes, number, 0/1). */
#define param(params, name)                                                                        \
    atomic_load_explicit(&(params)->value[PARAM_##name], memory_order_relaxed)

static inline bool param_bit(const struct params *p, enum param_bits_id set, unsigned bit)
{
    return (atomic_load_explicit(&p->bits[set][bit / 64], memory_order_relaxed) >> (bit % 64)) & 1;
}

/* PARAM_INERT: taken for the sake of existing command lines and ignored. */
enum { PARAM_RESTART = 1, PARAM_DELAYED = 2, PARAM_EXPERIMENTAL = 4, PARAM_INERT = 8 };

struct param_desc {
    const char *name;
    enum param_kind kind;
    uint64_t preset;
    uint64_t min;
    uint64_t max;
    const char *units;
    unsigned flags;
    const char *text;
};

/* The row of a parameter; a borrow of the static table. */
const struct param_desc *param_desc(enum param_id id);

/* Sets every value to its default and clears all bits. */
void param_defaults(struct params *p);

static inline void param_set(struct params *p, enum param_id id, uint64_t value)
{
    atomic_store_explicit(&p->value[id], value, memory_order_relaxed);
}

#endif
