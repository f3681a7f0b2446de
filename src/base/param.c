/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "base/param.h"

#include "base/check.h"

#define SEC(n) ((uint64_t)(n)*NS_PER_S)
#define MSEC(n) ((uint64_t)(n)*NS_PER_MS)
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define RESTART_ PARAM_RESTART
#define DELAYED_ PARAM_DELAYED
#define EXPERIMENTAL_ PARAM_EXPERIMENTAL
#define INERT_ PARAM_INERT

static const struct param_desc table[PARAM__COUNT] = {
#define PARAM(name, kind, preset, min, max, units, flags, text)                                    \
    {#name, PARAM_KIND_##kind, preset, min, max, units, flags, text},
#define PARAM_BITS(name, ...)
#include "base/param.def"
#undef PARAM
#undef PARAM_BITS
};

const struct param_desc *param_desc(enum param_id id)
{
    CHECK((unsigned)id < PARAM__COUNT);
    return &table[id];
}

void param_defaults(struct params *p)
{
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        CHECK(table[i].min <= table[i].preset);
        CHECK(table[i].preset <= table[i].max);
        param_set(p, (enum param_id)i, table[i].preset);
    }
    for (unsigned set = 0; set < PARAM_BITS__COUNT; set++) {
        for (unsigned word = 0; word < PARAM_BITS_WORDS; word++) {
            atomic_store_explicit(&p->bits[set][word], 0, memory_order_relaxed);
        }
    }
}
