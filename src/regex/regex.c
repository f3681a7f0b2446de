/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Regular expressions.
 *
 * Patterns are constants of a VCL or a ban, so they are compiled once, to machine code where PCRE2
 * can, and are immutable after that.  What a match writes (groups, the context with its limits, the
 * stack that machine code runs on) belongs to the thread: fibers of one loop share it, which is
 * safe since a match never suspends.  The stack of a fiber would be too small for compiled
 * patterns, which is why they get one of their own.
 *
 * A pattern can be made to take for ever by a client that chooses the subject.  Limits end such a
 * match, and the request that wanted it fails; the worker goes on. */
#include "regex/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutex.h"

enum { REGEX_MAGIC = 0x44d1b06e, SCRATCH_MAGIC = 0x1e9730c5, GROUPS = 10 };
/* The machine stack of compiled patterns: grows to its end when one backtracks deeply. */
enum { JIT_STACK_MIN = 32 * 1024, JIT_STACK_MAX = 512 * 1024 };

struct objm_regex {
    uint32_t magic;
    pcre2_code *code;
    bool is_machine_code;
    char *pattern;
    size_t pattern_len;
};

struct regex_scratch {
    uint32_t magic;
    pcre2_match_context *context;
    pcre2_match_data *data;
    pcre2_jit_stack *stack;
    struct regex_scratch *next; /* in a pool */
};

enum rc regex_new(struct str pattern, bool jit, struct objm_regex **out, struct regex_error *error)
{
    *out = NULL;
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)(pattern.len == 0 ? "" : pattern.ptr),
                                         pattern.len, 0, &code, &at, NULL);
    if (compiled == NULL) {
        error->at = at;
        if (pcre2_get_error_message(code, (PCRE2_UCHAR *)error->text, sizeof error->text) < 0) {
            error->text[0] = '\0';
        }
        return RC_MALFORMED;
    }
    struct objm_regex *regex = xcalloc(1, sizeof *regex);
    regex->magic = REGEX_MAGIC;
    regex->code = compiled;
    /* Where there is no compiler for this machine, the interpreter does it. */
    regex->is_machine_code = jit && pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;
    regex->pattern = str_dup(pattern);
    regex->pattern_len = pattern.len;
    *out = regex;
    return RC_OK;
}

void regex_free(struct objm_regex **regex_of)
{
    struct objm_regex *regex = *regex_of;
    if (regex == NULL) {
        return;
    }
    CHECK_OBJ(regex, REGEX_MAGIC);
    regex->magic = 0;
    pcre2_code_free(regex->code);
    XFREE(regex->pattern);
    XFREE(*regex_of);
}

struct str regex_pattern(const struct objm_regex *regex)
{
    CHECK_OBJ(regex, REGEX_MAGIC);
    return (struct str){regex->pattern, regex->pattern_len};
}

struct regex_scratch *regex_scratch_new(void)
{
    struct regex_scratch *scratch = xcalloc(1, sizeof *scratch);
    scratch->magic = SCRATCH_MAGIC;
    scratch->context = pcre2_match_context_create(NULL);
    scratch->data = pcre2_match_data_create(GROUPS, NULL);
    CHECK(scratch->context != NULL);
    CHECK(scratch->data != NULL);
    /* NULL where PCRE2 was built without a compiler: then nothing needs it. */
    scratch->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    return scratch;
}

void regex_scratch_free(struct regex_scratch **scratch_of)
{
    struct regex_scratch *scratch = *scratch_of;
    if (scratch == NULL) {
        return;
    }
    CHECK_OBJ(scratch, SCRATCH_MAGIC);
    scratch->magic = 0;
    pcre2_jit_stack_free(scratch->stack);
    pcre2_match_data_free(scratch->data);
    pcre2_match_context_free(scratch->context);
    XFREE(*scratch_of);
}

void regex_scratch_limits(struct regex_scratch *scratch, uint32_t match, uint32_t depth)
{
    CHECK_OBJ(scratch, SCRATCH_MAGIC);
    CHECK(pcre2_set_match_limit(scratch->context, match) == 0);
    CHECK(pcre2_set_depth_limit(scratch->context, depth) == 0);
}

void regex_pool_init(struct regex_pool *pool, uint32_t match_limit)
{
    *pool = (struct regex_pool){.match_limit = match_limit};
    mutex_init(&pool->lock);
}

void regex_pool_fini(struct regex_pool *pool)
{
    while (pool->free != NULL) {
        struct regex_scratch *scratch = pool->free;
        pool->free = scratch->next;
        regex_scratch_free(&scratch);
    }
    mutex_fini(&pool->lock);
}

struct regex_scratch *regex_pool_take(struct regex_pool *pool)
{
    mutex_lock(&pool->lock);
    struct regex_scratch *scratch = pool->free;
    if (scratch != NULL) {
        pool->free = scratch->next;
    }
    mutex_unlock(&pool->lock);
    if (scratch == NULL) {
        scratch = regex_scratch_new();
        CHECK(pcre2_set_match_limit(scratch->context, pool->match_limit) == 0);
    }
    return scratch;
}

void regex_pool_give(struct regex_pool *pool, struct regex_scratch **scratch_of)
{
    struct regex_scratch *scratch = *scratch_of;
    CHECK_OBJ(scratch, SCRATCH_MAGIC);
    *scratch_of = NULL;
    mutex_lock(&pool->lock);
    scratch->next = pool->free;
    pool->free = scratch;
    mutex_unlock(&pool->lock);
}

/* The number of groups set, or a negative code of PCRE2. */
static int match(struct regex_scratch *scratch, const struct objm_regex *regex, struct str subject,
                 size_t from, uint32_t options)
{
    CHECK_OBJ(scratch, SCRATCH_MAGIC);
    CHECK_OBJ(regex, REGEX_MAGIC);
    PCRE2_SPTR text = (PCRE2_SPTR)(subject.len == 0 ? "" : subject.ptr);
    int found = regex->is_machine_code ? pcre2_jit_match(regex->code, text, subject.len, from,
                                                         options, scratch->data, scratch->context)
                                       : pcre2_match(regex->code, text, subject.len, from, options,
                                                     scratch->data, scratch->context);
    return found == 0 ? GROUPS : found; /* 0: there were more groups than asked for */
}

static void explain(int code, struct sb *why)
{
    PCRE2_UCHAR text[128];
    if (why != NULL && pcre2_get_error_message(code, text, sizeof text) >= 0) {
        sb_put(why, str_of((const char *)text));
    }
}

enum rc regex_match(struct regex_scratch *scratch, const struct objm_regex *regex,
                    struct str subject, struct sb *why)
{
    int found = match(scratch, regex, subject, 0, 0);
    if (found > 0) {
        return RC_OK;
    }
    if (found == PCRE2_ERROR_NOMATCH) {
        return RC_NOT_FOUND;
    }
    if (why != NULL) {
        sb_lit(why, "Regexp matching failed: ");
    }
    explain(found, why);
    return RC_LIMIT;
}

/* The text of a group of the last match; empty when it took no part. */
static struct str group(const struct regex_scratch *scratch, struct str subject, unsigned n,
                        unsigned found)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(scratch->data);
    if (n >= found || ends[2 * n] == PCRE2_UNSET || ends[2 * n] > ends[2 * n + 1]) {
        return STR("");
    }
    return (struct str){subject.ptr + ends[2 * n], ends[2 * n + 1] - ends[2 * n]};
}

static void put_replacement(const struct regex_scratch *scratch, struct str subject,
                            struct str replacement, unsigned found, struct sb *out)
{
    for (size_t at = 0; at < replacement.len; at++) {
        char c = replacement.ptr[at];
        if (c != '\\' || at + 1 == replacement.len) {
            sb_chr(out, c);
            continue;
        }
        c = replacement.ptr[++at];
        if (c >= '0' && c <= '9') {
            sb_put(out, group(scratch, subject, (unsigned)(c - '0'), found));
        } else {
            sb_chr(out, c);
        }
    }
}

enum rc regex_sub(struct regex_scratch *scratch, const struct objm_regex *regex, bool all,
                  struct str subject, struct str replacement, struct sb *out, struct sb *why)
{
    if (subject.ptr == NULL) {
        subject = STR("");
    }
    size_t from = 0;
    bool is_first = true;
    int found = match(scratch, regex, subject, 0, 0);
    if (found == PCRE2_ERROR_NOMATCH) {
        return RC_NOT_FOUND;
    }
    while (found > 0) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(scratch->data);
        /* \K in a lookaround can put the match before where the search began. */
        size_t begin = ends[0] < from ? from : ends[0];
        size_t end = ends[1] < begin ? begin : ends[1];
        sb_put(out, (struct str){subject.ptr + from, begin - from});
        put_replacement(scratch, subject, replacement, (unsigned)found, out);
        bool is_stuck = !is_first && end == from;
        from = end;
        is_first = false;
        if (!all || out->overflow || is_stuck) {
            break;
        }
        /* Varnish takes an empty match first, but never again. */
        found = match(scratch, regex, subject, from, PCRE2_NOTEMPTY);
    }
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
        if (why != NULL) {
            sb_printf(why, "regsub: Regexp matching returned %d", found);
        }
        return RC_LIMIT;
    }
    sb_put(out, (struct str){subject.ptr + from, subject.len - from});
    return out->overflow ? RC_TOO_LONG : RC_OK;
}
