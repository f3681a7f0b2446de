/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* (text)rewrite(text): literal texts replaced while a body passes.
 *
 * Where a body is cut must not matter.  A text that may begin in one piece and end in the next is
 * undecided: it is carried over, at most as long as the longest text that is looked for, and joined
 * with what comes.  When the front of that is decided, what is left of it and came with the present
 * piece is given back to it, and the scan goes on there in place. */
#include "base/check.h"
#include "filter/codecs_priv.h"
#include "filter/filter_rewrite.h"

struct rewrite {
    const struct filter_env *env;
    const struct filter_rewrite *arg;
    struct str put;           /* of a replacement: not yet out */
    uint64_t by_first[256];   /* rules that begin with this byte; bit 0: the first of them */
    size_t carry_len, joined; /* joined: so many of them are of the present input */
    char carry[2 * REWRITE_FIND_MAX];
};
_Static_assert(REWRITE_RULES_MAX <= 64, "a bit each");

static enum rc rewrite_begin(void *self, const struct filter_env *env)
{
    struct rewrite *r = self;
    r->env = env;
    r->arg = env->arg;
    if (r->arg == NULL || r->arg->rules_count > REWRITE_RULES_MAX) {
        return codec_fail(env, RC_INVALID, "rewrite has nothing, or too much, to replace");
    }
    for (unsigned n = 0; n < r->arg->rules_count; n++) {
        struct str find = r->arg->rules[n].find;
        if (find.len == 0 || find.len > REWRITE_FIND_MAX) {
            return codec_fail(env, RC_INVALID, "rewrite cannot look for %zu bytes", find.len);
        }
        r->by_first[(unsigned char)find.ptr[0]] |= UINT64_C(1) << n;
    }
    return RC_OK;
}

enum found { PLAIN, MATCH, UNDECIDED };

/* What begins at the front of this text; the first rule that might, decides. */
static enum found at_front(const struct rewrite *r, struct str text, bool is_last,
                           const struct rewrite_rule **rule)
{
    for (uint64_t rules = r->by_first[(unsigned char)text.ptr[0]]; rules != 0; rules &= rules - 1) {
        *rule = &r->arg->rules[__builtin_ctzll(rules)];
        struct str find = (*rule)->find;
        bool fits = find.len <= text.len;
        if (memcmp(find.ptr, text.ptr, fits ? find.len : text.len) != 0 || (!fits && is_last)) {
            continue;
        }
        return fits ? MATCH : UNDECIDED;
    }
    return PLAIN;
}

/* How many bytes at the front are plain, and what follows them (PLAIN: nothing does). */
static size_t scan(const struct rewrite *r, struct str text, bool is_last, enum found *found,
                   const struct rewrite_rule **rule)
{
    for (size_t n = 0; n < text.len; n++) {
        if (r->by_first[(unsigned char)text.ptr[n]] == 0) {
            continue;
        }
        *found = at_front(r, (struct str){text.ptr + n, text.len - n}, is_last, rule);
        if (*found != PLAIN) {
            return n;
        }
    }
    *found = PLAIN;
    return text.len;
}

static void put_out(struct codec_io *io, struct str *text)
{
    size_t len = text->len < io->room ? text->len : io->room;
    if (len > 0) {
        memcpy(io->out, text->ptr, len);
        io->out += len;
        io->room -= len;
        text->ptr += len;
        text->len -= len;
    }
}

/* More of the input behind what is carried. */
static void join(struct rewrite *r, struct codec_io *io)
{
    size_t len = sizeof r->carry - r->carry_len;
    len = len < io->in_len ? len : io->in_len;
    if (len > 0) {
        memcpy(r->carry + r->carry_len, io->in, len);
        r->carry_len += len;
        r->joined += len;
        io->in += len;
        io->in_len -= len;
    }
}

/* So many bytes at the front are done with. */
static void pass(struct rewrite *r, struct codec_io *io, size_t len)
{
    if (r->carry_len == 0) {
        io->in += len;
        io->in_len -= len;
        return;
    }
    CHECK(len <= r->carry_len);
    r->carry_len -= len;
    if (r->carry_len <= r->joined) {
        io->in -= r->carry_len;
        io->in_len += r->carry_len;
        r->carry_len = 0;
        r->joined = 0;
        return;
    }
    memmove(r->carry, r->carry + len, r->carry_len);
}

static enum rc rewrite_step(void *self, struct codec_io *io)
{
    struct rewrite *r = self;
    r->joined = 0;
    while (true) {
        put_out(io, &r->put);
        if (io->room == 0) {
            return RC_OK;
        }
        if (r->carry_len > 0) {
            join(r, io);
        }
        struct str text = r->carry_len > 0 ? (struct str){r->carry, r->carry_len}
                                           : (struct str){io->in, io->in_len};
        if (text.len == 0) {
            return io->is_end ? RC_EOF : RC_OK;
        }
        bool is_last = io->is_end && (r->carry_len == 0 || io->in_len == 0);
        enum found found;
        const struct rewrite_rule *rule = NULL;
        struct str plain = {text.ptr, scan(r, text, is_last, &found, &rule)};
        size_t len = plain.len;
        put_out(io, &plain);
        pass(r, io, len - plain.len);
        if (plain.len > 0) {
            return RC_OK;
        }
        if (found == MATCH) {
            pass(r, io, rule->find.len);
            r->put = rule->replace;
        } else if (found == UNDECIDED && r->carry_len == 0) {
            join(r, io);
        }
        if (found == UNDECIDED && io->in_len == 0) {
            return RC_OK;
        }
    }
}

const struct codec codec_rewrite = {
    .bytes = sizeof(struct rewrite), .begin = rewrite_begin, .step = rewrite_step};
