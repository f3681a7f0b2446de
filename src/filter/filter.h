/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a body filter is: how it looks to the planner, what it does to a head, whether a response
 * needs it, and how it works on bytes.
 *
 * A filter is written `(in)name(out)`.  Both sides are lists of formats, names for the same thing
 * in one list: (text,plain,none), (gzip,gz).  The same struct serves on both sides of the cache: as
 * a VFP while an object is fetched, as a VDP while it is delivered. */
#ifndef FILTER_FILTER_H
#define FILTER_FILTER_H

#include "base/arena.h"
#include "base/rc.h"

/* ---- planning ---- */

enum filter_side { FILTER_VFP, FILTER_VDP };

/* Where in the chain a candidate wants to be; FETCH and STEVEDORE are OBJECT and CLIENT for VDPs.
 * DEFAULT: the filter's own recommendation, and LAST if that is DEFAULT too. */
enum filter_pos {
    FILTER_DEFAULT,
    FILTER_FRONT,
    FILTER_MIDDLE,
    FILTER_LAST,
    FILTER_FETCH,
    FILTER_STEVEDORE,
    FILTER_OBJECT = FILTER_FETCH,
    FILTER_CLIENT = FILTER_STEVEDORE,
};

struct planning;
/* Called when the filter has just been placed at `at` of the chain: may look at the chain and the
 * candidates, and add or remove either (plan.h).  Pure. */
typedef void filter_placed_fn(struct planning *planning, unsigned at);

/* ---- the handshake of delivery ---- */

/* What a filter does with the body of this response. */
enum filter_use {
    FILTER_IGNORES,   /* it isn't needed at all: the chain is built without it */
    FILTER_RESTRICTS, /* leaves some bytes out, and looks at none: an offset and a length say it */
    FILTER_NEEDS,     /* looks at the bytes, and leaves them as they are */
    FILTER_CHANGES,
};

/* What is known of a response before its chain is built. */
struct filter_about {
    bool has_body;   /* false: HEAD, 204, 304, an empty body */
    bool has_range;  /* one will be taken out of it */
    bool is_esi;     /* ESI is to be done, and the object has something to do */
    struct str from; /* the format it is stored in */
};
typedef enum filter_use filter_use_fn(const struct filter_about *about);

/* ---- bytes ---- */

/* One step's input and output; the codec advances all of it.  in: what has not been taken yet. */
struct codec_io {
    const char *in;
    size_t in_len;
    bool is_end; /* nothing comes after `in` */
    char *out;
    size_t room;
};

struct filter_env;

/* A codec is a state of `bytes` bytes (zeroed before `begin`), and functions that never suspend.
 * Its memory beside that is bounded, and given back by `end`. */
struct codec {
    size_t bytes;
    /* RC_LIMIT: no memory, or no state left in the pool; RC_INVALID: not with these arguments.
     * NULL: there is nothing to begin. */
    enum rc (*begin)(void *self, const struct filter_env *env);
    /* Takes some, makes some.  RC_OK: wants more input, having taken all there was, or (room == 0)
     * more room; at is_end with all input taken and room left it must not say so: then RC_EOF, all
     * is made.  RC_EOF with input left over: what is left is no part of the body.  RC_MALFORMED:
     * the input is damaged or ends too early; RC_LIMIT, RC_TOO_LONG: a limit was reached (a bomb).
     */
    enum rc (*step)(void *self, struct codec_io *io);
    /* Also after a failed begin or step; NULL: there is nothing to give back. */
    void (*end)(void *self);
    /* In place of `step`, for those that leave all bytes as they are: they pass without a copy.
     * is_end: these are the last.  RC_OK, or why the body is no good. */
    enum rc (*look)(void *self, const char *ptr, size_t len, bool is_end);
    /* Beside `step`, for those that keep everything until the end: what they have, when `step` has
     * said RC_EOF; the next codec gets it in one piece, with is_end.  Stays where it is until
     * `end`.  STR_NONE: all was written to `out` this time. */
    struct str (*whole)(void *self);
    /* Whether a `step` takes many milliseconds: then it runs on an offload thread, and its fiber
     * waits.  It may not log, and its memory is not env->states'.  NULL: it does not. */
    bool (*is_slow)(const void *self);
};

/* Where the parts of a gzip body lie, by which it can be stitched into another
 * (docs/formats/oa.md).
 */
struct gzip_bits {
    uint64_t start_bit; /* of the first deflate block, from the body's begin */
    uint64_t last_bit;  /* of the header of the last block */
    uint64_t stop_bit;  /* behind the last block */
    uint64_t in_bytes;  /* uncompressed */
    uint64_t out_bytes; /* compressed, with head and tail */
    uint32_t crc;       /* of the uncompressed */
    bool is_set;
};

/* What codecs learn on their way, for who runs the chain to keep. */
struct filter_notes {
    struct gzip_bits gzip;
    char *esi; /* the ESI program; on the heap; NULL: none was made */
    size_t esi_len;
    uint64_t esi_errors, esi_warnings;
    char error[128]; /* why a step failed, for the log; "" */
};

struct filter_states; /* states.h */

/* What the codecs of one chain are given; borrowed until the chain is freed. */
struct filter_env {
    struct arena *arena;          /* for what lives as long as the chain; not for buffers */
    struct filter_notes *notes;   /* of this chain */
    struct filter_states *states; /* that bounds what states of compressors take; NULL: the heap */
    const struct filter *filter;  /* of this step; chain_new sets it, as arg and side */
    const void *arg;              /* of this candidate: what VCL or a module said beside its name */
    enum filter_side side;        /* of the cache */
    size_t body_len;              /* of what the codec gets; SIZE_MAX: not known */
    size_t expand_bytes_max;      /* no output is longer; 0: no limit */
    size_t expand_floor_bytes;    /* nor, past so many bytes, ... */
    unsigned expand_ratio_max;    /* ... so many times as long as what was read; 0: no limit */
    int gzip_level, gzip_memlevel;
    unsigned brotli_quality, zstd_level;
    size_t buffer_bytes_max; /* that `buffer` may hold */
    unsigned esi_flags;      /* esi.h */
    struct str url;          /* of the body, which relative includes begin at */
    /* Appends a record to the transaction's log; tag: a VSL tag.  NULL: nobody listens. */
    void (*log)(void *log_arg, unsigned tag, struct str text);
    void *log_arg;
};

/* ---- the filter ---- */

enum filter_flag {
    FILTER_WEAKENS_ETAG = 1 << 0, /* other bytes that mean the same */
    FILTER_NEW_LENGTH = 1 << 1,   /* Content-Length does not hold any more */
    FILTER_VARIES_AE = 1 << 2,    /* Vary gets Accept-Encoding */
    FILTER_NO_STREAM = 1 << 3,    /* nobody may see the body before it is whole */
    FILTER_IS_INNER = 1 << 4,     /* the engine does it itself; there is no codec */
    FILTER_NOT_BY_NAME = 1 << 5,  /* nothing without an arg: not for beresp.filters and the like */
    FILTER_IS_VFP = 1 << 6,       /* may stand on this side, ... */
    FILTER_IS_VDP = 1 << 7,       /* ... or on that one */
    FILTER_IS_LAST = 1 << 8, /* nothing comes after it: what it noted holds for its own output */
    FILTER_KEEPS_FORMAT = 1 << 9, /* makes what it was given, where `out` lists that */
};

/* Immutable; static, or of a module that stays loaded as long as anybody holds it. */
struct filter {
    struct str name;
    struct str in;  /* "text,plain,none"; "*": any */
    struct str out; /* the first is taken, unless the body came by another of these names */
    enum filter_pos recommended;
    unsigned flags;
    filter_placed_fn *placed; /* NULL: nothing to do */
    filter_use_fn *use;       /* NULL: FILTER_CHANGES whatever comes */
    const struct codec *codec;
    struct str counter_reason; /* for lanes: "gzip", "gunzip", "esi", "range"; else "filter" */
};

/* All that are built in, in the order in which the planner takes them to fill gaps; those that fill
 * none come behind `*fills`. */
const struct filter *const *filter_builtins(enum filter_side side, unsigned *count,
                                            unsigned *fills);
/* NULL: there is none by this name on this side. */
const struct filter *filter_find(enum filter_side side, struct str name);

/* The format that a body with this Content-Encoding has ("" and "identity": text); STR_NONE:
 * unknown.  And the Content-Encoding of a format: "" for text and what has the same bytes (esitext,
 * buffertext); STR_NONE for what only a module knows. */
struct str filter_format_of(struct str content_encoding);
struct str filter_encoding_of(struct str format);

#endif
