/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Bodies that are stored as they came, and checked as they pass: brotli and zstd, as testgunzip
 * does gzip.  What could not be unpacked later is never taken for a body.
 *
 * The codec that unpacks runs beside the body, into memory that nobody reads.  It is bound as where
 * something is made of its output: a few bytes that stand for gigabytes would hold the loop, and
 * whoever does not take the encoding could not get them anyway. */
#include <string.h>

#include "base/check.h"
#include "filter/codecs_priv.h"
#include "filter/states_priv.h"

enum { SCRATCH_BYTES = 32 * 1024 };

struct testing {
    const struct filter_env *env;
    const struct codec *codec;
    char *self; /* of the codec */
    char *scratch;
    uint64_t in_bytes, out_bytes;
};

static enum rc testing_begin(struct testing *t, const struct codec *codec,
                             const struct filter_env *env)
{
    t->env = env;
    t->self = states_alloc(env->states, codec->bytes);
    t->scratch = states_alloc(env->states, SCRATCH_BYTES);
    if (t->self == NULL || t->scratch == NULL) {
        return RC_LIMIT;
    }
    memset(t->self, 0, codec->bytes);
    t->codec = codec;
    return codec->begin(t->self, env);
}

static enum rc testunbrotli_begin(void *self, const struct filter_env *env)
{
    return testing_begin(self, &codec_unbrotli, env);
}

static enum rc testunzstd_begin(void *self, const struct filter_env *env)
{
    return testing_begin(self, &codec_unzstd, env);
}

static bool is_too_much(const struct testing *t)
{
    const struct filter_env *env = t->env;
    uint64_t ceiling;
    return env->expand_ratio_max != 0 && t->out_bytes > env->expand_floor_bytes &&
           !__builtin_mul_overflow(t->in_bytes, env->expand_ratio_max, &ceiling) &&
           t->out_bytes > ceiling;
}

static enum rc testing_look(void *self, const char *ptr, size_t len, bool is_end)
{
    struct testing *t = self;
    struct codec_io io = {.in = ptr, .in_len = len, .is_end = is_end};
    t->in_bytes += len;
    do {
        io.out = t->scratch;
        io.room = SCRATCH_BYTES;
        enum rc rc = t->codec->step(t->self, &io);
        t->out_bytes += SCRATCH_BYTES - io.room;
        if (rc == RC_EOF) {
            CHECK(io.in_len == 0);
            return RC_OK;
        }
        if (rc != RC_OK) {
            return rc;
        }
        if (is_too_much(t)) {
            return codec_fail(t->env, RC_TOO_LONG, "The body would expand too much");
        }
    } while (io.room == 0);
    CHECK(io.in_len == 0);
    CHECK(!is_end);
    return RC_OK;
}

static void testing_end(void *self)
{
    struct testing *t = self;
    if (t->codec != NULL) {
        t->codec->end(t->self);
    }
    states_free(t->env->states, t->scratch);
    states_free(t->env->states, t->self);
}

const struct codec codec_testunbrotli = {.bytes = sizeof(struct testing),
                                         .begin = testunbrotli_begin,
                                         .look = testing_look,
                                         .end = testing_end};
const struct codec codec_testunzstd = {.bytes = sizeof(struct testing),
                                       .begin = testunzstd_begin,
                                       .look = testing_look,
                                       .end = testing_end};
