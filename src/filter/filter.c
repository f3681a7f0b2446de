/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The filters that are built in, and what formats are called outside: the names of encodings. */
#include "filter/filter.h"

#include "filter/codecs_priv.h"
#include "filter/filter_priv.h"

static const struct {
    struct str encoding;
    struct str format;
} encodings[] = {
    {STR_INIT(""), STR_INIT("text")},     {STR_INIT("identity"), STR_INIT("text")},
    {STR_INIT("gzip"), STR_INIT("gzip")}, {STR_INIT("x-gzip"), STR_INIT("gzip")},
    {STR_INIT("br"), STR_INIT("br")},     {STR_INIT("zstd"), STR_INIT("zstd")},
};

static const struct {
    struct str format;
    struct str encoding;
} formats[] = {
    {STR_INIT("text"), STR_INIT("")},       {STR_INIT("plain"), STR_INIT("")},
    {STR_INIT("none"), STR_INIT("")},       {STR_INIT("esitext"), STR_INIT("")},
    {STR_INIT("buffertext"), STR_INIT("")}, {STR_INIT("gzip"), STR_INIT("gzip")},
    {STR_INIT("gz"), STR_INIT("gzip")},     {STR_INIT("br"), STR_INIT("br")},
    {STR_INIT("brotli"), STR_INIT("br")},   {STR_INIT("zstd"), STR_INIT("zstd")},
};

struct str filter_format_of(struct str content_encoding)
{
    for (size_t n = 0; n < sizeof(encodings) / sizeof(encodings[0]); n++) {
        if (str_eq_nocase(encodings[n].encoding, content_encoding)) {
            return encodings[n].format;
        }
    }
    return STR_NONE;
}

struct str filter_encoding_of(struct str format)
{
    for (size_t n = 0; n < sizeof(formats) / sizeof(formats[0]); n++) {
        if (str_eq(formats[n].format, format)) {
            return formats[n].encoding;
        }
    }
    return STR_NONE;
}

/* ---- what they do with a response's body ---- */

static enum filter_use use_of_body(const struct filter_about *about)
{
    return about->has_body ? FILTER_CHANGES : FILTER_IGNORES;
}

static enum filter_use look_at_body(const struct filter_about *about)
{
    return about->has_body ? FILTER_NEEDS : FILTER_IGNORES;
}

static enum filter_use use_of_esi(const struct filter_about *about)
{
    return about->has_body && about->is_esi ? FILTER_CHANGES : FILTER_IGNORES;
}

static enum filter_use use_of_range(const struct filter_about *about)
{
    return about->has_body && about->has_range ? FILTER_RESTRICTS : FILTER_IGNORES;
}

/* ---- the table, read three times ---- */

#define ONE(side_id, side_flag, id, in_list, out_list, pos, its_flags, its_placed, its_use,        \
            its_codec, reason)                                                                     \
    static const struct filter side_id##_##id = {                                                  \
        .name = STR_INIT(#id),                                                                     \
        .in = STR_INIT(in_list),                                                                   \
        .out = STR_INIT(out_list),                                                                 \
        .recommended = FILTER_##pos,                                                               \
        .flags = (unsigned)(side_flag) | (unsigned)(its_flags),                                    \
        .placed = (its_placed),                                                                    \
        .use = (its_use),                                                                          \
        .codec = (its_codec),                                                                      \
        .counter_reason = STR_INIT(reason),                                                        \
    };
#define VFP(...) ONE(vfp, FILTER_IS_VFP, __VA_ARGS__)
#define VDP(...) ONE(vdp, FILTER_IS_VDP, __VA_ARGS__)
#define VFP_FILLS_END
#define VDP_FILLS_END
#include "filter/filter_builtins.def"

enum {
#define VFP(id, ...) AT_VFP_##id,
#define VDP(id, ...)
#define VFP_FILLS_END VFP_FILLS, VFP_BEHIND_FILLS = VFP_FILLS - 1,
#define VDP_FILLS_END
#include "filter/filter_builtins.def"
};

enum {
#define VFP(id, ...)
#define VDP(id, ...) AT_VDP_##id,
#define VFP_FILLS_END
#define VDP_FILLS_END VDP_FILLS, VDP_BEHIND_FILLS = VDP_FILLS - 1,
#include "filter/filter_builtins.def"
};

static const struct filter *const all_vfps[] = {
#define VFP(id, ...) [AT_VFP_##id] = &vfp_##id,
#define VDP(id, ...)
#define VFP_FILLS_END
#define VDP_FILLS_END
#include "filter/filter_builtins.def"
};

static const struct filter *const all_vdps[] = {
#define VFP(id, ...)
#define VDP(id, ...) [AT_VDP_##id] = &vdp_##id,
#define VFP_FILLS_END
#define VDP_FILLS_END
#include "filter/filter_builtins.def"
};

const struct filter *const *filter_builtins(enum filter_side side, unsigned *count, unsigned *fills)
{
    if (side == FILTER_VFP) {
        *count = sizeof(all_vfps) / sizeof(all_vfps[0]);
        *fills = VFP_FILLS;
        return all_vfps;
    }
    *count = sizeof(all_vdps) / sizeof(all_vdps[0]);
    *fills = VDP_FILLS;
    return all_vdps;
}

const struct filter *filter_find(enum filter_side side, struct str name)
{
    unsigned count;
    unsigned fills;
    const struct filter *const *all = filter_builtins(side, &count, &fills);
    for (unsigned n = 0; n < count; n++) {
        if (str_eq(all[n]->name, name)) {
            return all[n];
        }
    }
    return NULL;
}
