/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* (buffertext)regex(text): regular expressions over a whole body.
 *
 * Each rule makes a new text of what the one before left; two blocks take turns.  What nothing
 * matches stays where it came from, and is handed on without a copy.  A text may get as long as one
 * that is buffered. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "filter/codecs_priv.h"
#include "filter/filter_regex.h"

struct substitute {
    const struct filter_env *env;
    const struct filter_regex *arg;
    struct regex_scratch *scratch;
    struct str text; /* what was made so far */
    struct sb made[2];
};

static enum rc substitute_begin(void *self, const struct filter_env *env)
{
    struct substitute *s = self;
    s->env = env;
    s->arg = env->arg;
    if (s->arg == NULL) {
        return codec_fail(env, RC_INVALID, "regex has nothing to replace");
    }
    s->scratch = regex_scratch_new();
    if (s->arg->match_limit != 0) {
        regex_scratch_limits(s->scratch, s->arg->match_limit, s->arg->match_limit);
    }
    return RC_OK;
}

/* Makes the block large enough for at least one more byte, if it may be. */
static bool grow(const struct substitute *s, struct sb *sb, size_t text_len)
{
    size_t most = s->env->buffer_bytes_max;
    size_t want = sb->cap == 0 ? text_len + text_len / 4 + 256 : sb->cap * 2;
    want = want < most ? want : most;
    if (want <= sb->cap) {
        return false;
    }
    free(sb->ptr);
    *sb = sb_of(xmalloc(want), want);
    return true;
}

static enum rc apply(struct substitute *s, const struct regex_rule *rule, struct sb *to)
{
    char why_text[96];
    while (true) {
        struct sb why = sb_of(why_text, sizeof why_text);
        to->len = 0;
        to->overflow = false;
        enum rc rc = to->cap == 0 ? RC_TOO_LONG
                                  : regex_sub(s->scratch, rule->regex, rule->all, s->text,
                                              rule->replacement, to, &why);
        if (rc == RC_LIMIT) {
            return codec_fail(s->env, rc, "regex: %.*s", STR_ARG(sb_str(&why)));
        }
        if (rc != RC_TOO_LONG) {
            return rc;
        }
        if (!grow(s, to, s->text.len)) {
            return codec_fail(s->env, rc, "regex makes the body longer than %zu bytes",
                              s->env->buffer_bytes_max);
        }
    }
}

static enum rc substitute_step(void *self, struct codec_io *io)
{
    struct substitute *s = self;
    if (!io->is_end) {
        return codec_fail(s->env, RC_INVALID,
                          "regex wants the whole body: buffer has to be before it");
    }
    s->text = (struct str){io->in, io->in_len};
    io->in += io->in_len;
    io->in_len = 0;
    for (unsigned n = 0; n < s->arg->rules_count; n++) {
        struct sb *to = s->text.ptr == s->made[0].ptr ? &s->made[1] : &s->made[0];
        enum rc rc = apply(s, &s->arg->rules[n], to);
        if (rc == RC_OK) {
            s->text = sb_str(to);
        } else if (rc != RC_NOT_FOUND) {
            return rc;
        }
    }
    return RC_EOF;
}

static struct str substitute_whole(void *self)
{
    return ((const struct substitute *)self)->text;
}

static void substitute_end(void *self)
{
    struct substitute *s = self;
    regex_scratch_free(&s->scratch);
    free(s->made[0].ptr);
    free(s->made[1].ptr);
}

const struct codec codec_regex = {.bytes = sizeof(struct substitute),
                                  .begin = substitute_begin,
                                  .step = substitute_step,
                                  .end = substitute_end,
                                  .whole = substitute_whole};
