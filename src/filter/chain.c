/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Chains of codecs.
 *
 *   source --> [taps] stage 0 --> [taps] stage 1 --> ... --> [taps] end
 *
 * A stage is a codec that makes other bytes of what it gets.  A codec that only looks on is no
 * stage: it is a tap on the input of the stage behind it, and sees each run of bytes where it lies.
 * The end is a stage without a codec: what it has been offered is out.
 *
 * Each stage reads one run of bytes, which lies in its own buffer, or with whoever pushes, or (all
 * of a body in one piece) in a codec before it.  It gets the next run when that one is used up, so
 * a buffer is only ever filled from its beginning, and nothing is moved.  When a chain is pulled,
 * the last codec writes to where the caller wants the bytes; when it is pushed, the first one reads
 * the caller's.  Buffers are made when they are first needed, on the account of states, which keeps
 * them for the next chain; they are small beside what it bounds, and are never refused.
 *
 * Pulling asks backwards for input until somebody can run, pushing runs forwards until nobody can
 * any more; both are loops over one index, so the stack does not know how long a chain is. */
#include "filter/chain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "filter/states_priv.h"

enum { CHAIN_MAGIC = 0x7c1d0a35, BUFFER_BYTES = 32 * 1024 };
/* After so many bytes in and out the loop's other fibers get their turn.  So no codec is given more
 * at once than it can do in some milliseconds: of what little may become much, little. */
enum { WORK_BYTES = 128 * 1024, STEP_BYTES = 64 * 1024, LOOK_BYTES = 16 * 1024 };

/* A codec and its account. */
struct link {
    struct str name;
    const struct codec *codec;
    void *self;
    bool is_begun;
    bool is_slow;
    struct filter_env env;
    uint64_t in_bytes, out_bytes;
};

struct stage {
    struct link *link;           /* NULL: the end */
    unsigned taps_from, taps_to; /* links that look at what it is offered */
    char *buf;
    const char *in; /* offered, and not taken yet */
    size_t in_len;
    bool is_end;  /* nothing follows `in` */
    bool is_full; /* its last step ended for want of room */
    bool is_done; /* all that it makes has been made */
};

struct chain {
    uint32_t magic;
    enum rc rc; /* the error that ended it */
    struct link *failed;
    unsigned links_count;
    unsigned end; /* index of the last stage, the end */
    size_t work_bytes;
    struct link *links;
    struct stage *stages;
    struct filter_notes *notes;
    struct filter_states *states;  /* whose memory the buffers are */
    struct filter_notes own_notes; /* where the caller gave none */
};

static size_t aligned(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

/* ---- making one ---- */

static void stage_link(struct chain *chain, unsigned at)
{
    struct link *link = &chain->links[at];
    struct stage *end = &chain->stages[chain->end];
    end->taps_to = at;
    if (link->codec->look != NULL) {
        end->taps_to = at + 1;
        return;
    }
    end->link = link;
    chain->end++;
    chain->stages[chain->end].taps_from = at + 1;
    chain->stages[chain->end].taps_to = at + 1;
}

static struct chain *chain_make(const struct plan *plan, unsigned from, unsigned to)
{
    unsigned count = 0;
    size_t bytes = 0;
    for (unsigned n = from; n < to; n++) {
        const struct codec *codec = plan->steps[n].filter->codec;
        if (codec != NULL) {
            count++;
            bytes += aligned(codec->bytes);
        }
    }
    size_t links_at = aligned(sizeof(struct chain));
    size_t stages_at = links_at + aligned(count * sizeof(struct link));
    size_t selfs_at = stages_at + aligned((count + 1) * sizeof(struct stage));
    char *block = xcalloc(1, selfs_at + bytes);
    struct chain *chain = (void *)block;
    chain->magic = CHAIN_MAGIC;
    chain->links = (void *)(block + links_at);
    chain->stages = (void *)(block + stages_at);
    char *self = block + selfs_at;
    for (unsigned n = from; n < to; n++) {
        const struct filter *filter = plan->steps[n].filter;
        if (filter->codec == NULL) {
            continue;
        }
        struct link *link = &chain->links[chain->links_count];
        *link = (struct link){.name = filter->name, .codec = filter->codec, .self = self};
        link->env.arg = plan->steps[n].arg;
        link->env.filter = filter;
        self += aligned(filter->codec->bytes);
        stage_link(chain, chain->links_count++);
    }
    return chain;
}

static enum rc begin_link(struct chain *chain, struct link *link, enum filter_side side,
                          const struct filter_env *env)
{
    const void *arg = link->env.arg;
    const struct filter *filter = link->env.filter;
    link->env = *env;
    link->env.arg = arg;
    link->env.filter = filter;
    link->env.notes = chain->notes;
    link->env.side = side;
    const struct link *first = chain->stages[0].link;
    if (first != NULL && link > first) {
        link->env.body_len = SIZE_MAX; /* what the first stage makes of it */
    }
    link->is_begun = true;
    enum rc rc = link->codec->begin == NULL ? RC_OK : link->codec->begin(link->self, &link->env);
    link->is_slow = rc == RC_OK && link->codec->is_slow != NULL && link->codec->is_slow(link->self);
    return rc;
}

enum rc chain_new(const struct plan *plan, unsigned from, unsigned to, const struct filter_env *env,
                  struct chain **out, struct str *failed)
{
    CHECK(from <= to);
    CHECK(to <= plan->steps_count);
    *out = NULL;
    struct chain *chain = chain_make(plan, from, to);
    chain->states = env->states;
    chain->notes = env->notes != NULL ? env->notes : &chain->own_notes;
    enum rc rc = RC_OK;
    for (unsigned n = 0; n < chain->links_count && rc == RC_OK; n++) {
        rc = begin_link(chain, &chain->links[n], plan->side, env);
        if (rc != RC_OK && failed != NULL) {
            *failed = chain->links[n].name;
        }
    }
    if (rc != RC_OK) {
        chain_free(&chain);
        return rc;
    }
    *out = chain;
    return RC_OK;
}

void chain_free(struct chain **chain_at)
{
    struct chain *chain = *chain_at;
    if (chain == NULL) {
        return;
    }
    CHECK_OBJ(chain, CHAIN_MAGIC);
    for (unsigned n = 0; n < chain->links_count; n++) {
        struct link *link = &chain->links[n];
        if (link->is_begun && link->codec->end != NULL) {
            link->codec->end(link->self);
        }
    }
    for (unsigned n = 0; n <= chain->end; n++) {
        states_free(chain->states, chain->stages[n].buf);
    }
    free(chain->own_notes.esi);
    chain->magic = 0;
    XFREE(*chain_at);
}

/* ---- one step ---- */

static enum rc fail(struct chain *chain, struct link *link, enum rc rc, const char *why)
{
    if (chain->notes->error[0] == '\0') {
        (void)snprintf(chain->notes->error, sizeof chain->notes->error, "%.*s: %s",
                       STR_ARG(link->name), why);
    }
    chain->failed = link;
    chain->rc = rc;
    return rc;
}

/* The one place where a body's growth is bounded.  What was read is what came into the chain: a
 * codec that makes much of a little may do so to undo what an earlier one did. */
static enum rc check_growth(struct chain *chain, struct link *link)
{
    const struct filter_env *env = &link->env;
    uint64_t made = link->out_bytes, ceiling;
    if (env->expand_bytes_max != 0 && made > env->expand_bytes_max) {
        return fail(chain, link, RC_TOO_LONG, "the body gets too long");
    }
    if (env->expand_ratio_max == 0 || made <= env->expand_floor_bytes) {
        return RC_OK;
    }
    if (__builtin_mul_overflow(chain->stages[0].link->in_bytes, env->expand_ratio_max, &ceiling) ||
        made <= ceiling) {
        return RC_OK;
    }
    return fail(chain, link, RC_TOO_LONG, "the body expands too much");
}

static YIELDS void rest(struct chain *chain)
{
    if (chain->work_bytes >= WORK_BYTES) {
        chain->work_bytes = 0;
        if (fiber_self() != NULL) {
            fiber_yield();
        }
    }
}

/* Shows a run of bytes to a codec that only looks. */
static YIELDS enum rc show(struct chain *chain, struct link *tap, const char *ptr, size_t len,
                           bool is_end)
{
    enum rc rc = RC_OK;
    bool is_last = len == 0 && !is_end;
    while (rc == RC_OK && !is_last) {
        size_t piece = len < LOOK_BYTES ? len : LOOK_BYTES;
        is_last = piece == len;
        rc = tap->codec->look(tap->self, ptr, piece, is_last && is_end);
        tap->in_bytes += piece;
        tap->out_bytes += piece;
        ptr += piece;
        len -= piece;
        /* What it makes of them nobody sees; as much as most make. */
        chain->work_bytes += 4 * piece;
        rest(chain);
    }
    return rc == RC_OK ? RC_OK : fail(chain, tap, rc, rc_text(rc));
}

/* Gives a stage its next run of bytes; the taps before it look first. */
static YIELDS enum rc offer(struct chain *chain, struct stage *stage, const char *ptr, size_t len,
                            bool is_end)
{
    for (unsigned n = stage->taps_from; n < stage->taps_to; n++) {
        enum rc rc = show(chain, &chain->links[n], ptr, len, is_end);
        if (rc != RC_OK) {
            return rc;
        }
    }
    stage->in = ptr;
    stage->in_len = len;
    stage->is_end = is_end;
    return RC_OK;
}

static bool can_run(const struct stage *stage)
{
    return !stage->is_done && (stage->in_len > 0 || stage->is_end || stage->is_full);
}

struct job {
    struct link *link;
    struct codec_io io;
    enum rc rc;
};

static void step(void *arg)
{
    struct job *job = arg;
    job->rc = job->link->codec->step(job->link->self, &job->io);
}

/* Runs one stage; what it makes is offered to the one behind it. */
static YIELDS enum rc run_stage(struct chain *chain, unsigned at, char *out, size_t room)
{
    struct stage *stage = &chain->stages[at];
    struct link *link = stage->link;
    size_t given = stage->in_len;
    if (given > STEP_BYTES && link->codec->whole == NULL) {
        given = STEP_BYTES;
    }
    bool is_end = stage->is_end && given == stage->in_len;
    struct job job = {.link = link, .io = {stage->in, given, is_end, out, room}};
    if (link->is_slow) {
        offload(step, &job);
    } else {
        step(&job);
    }
    const struct codec_io io = job.io;
    enum rc rc = job.rc;
    CHECK(io.in_len <= given);
    CHECK(io.room <= room);
    size_t taken = given - io.in_len, made = room - io.room;
    link->in_bytes += taken;
    link->out_bytes += made;
    chain->work_bytes += taken + made;
    stage->in = io.in;
    stage->in_len -= taken;
    stage->is_full = io.room == 0;
    if (rc != RC_OK && rc != RC_EOF) {
        return fail(chain, link, rc, rc_text(rc));
    }
    if (rc == RC_OK && !stage->is_full && (io.in_len > 0 || is_end)) {
        /* A module's codec that breaks its word must not hold the loop for ever. */
        return fail(chain, link, RC_INVALID, "it takes nothing, and makes nothing");
    }
    stage->is_done = rc == RC_EOF;
    const char *ptr = out;
    if (stage->is_done && link->codec->whole != NULL) {
        struct str whole = link->codec->whole(link->self);
        if (whole.ptr != NULL) {
            CHECK(made == 0);
            ptr = whole.ptr;
            made = whole.len;
            link->out_bytes += made;
        }
    }
    rc = check_growth(chain, link);
    return rc == RC_OK ? offer(chain, &chain->stages[at + 1], ptr, made, stage->is_done) : rc;
}

static char *stage_buf(struct chain *chain, unsigned at)
{
    struct stage *stage = &chain->stages[at];
    CHECK(stage->in_len == 0);
    if (stage->buf == NULL) {
        stage->buf = states_alloc_anyway(chain->states, BUFFER_BYTES);
    }
    return stage->buf;
}

/* ---- pulling ---- */

static YIELDS enum rc read_source(struct chain *chain, chain_source_fn *source, void *arg, char *to,
                                  size_t room)
{
    size_t got = 0;
    enum rc rc = source(arg, to, room, &got);
    if (rc != RC_OK && rc != RC_EOF) {
        chain->rc = rc;
        return rc;
    }
    CHECK(got <= room);
    return offer(chain, &chain->stages[0], to, got, rc == RC_EOF);
}

/* Makes one step towards input for the stage *wanted, and moves *wanted to whose is wanted next. */
static YIELDS enum rc pull_step(struct chain *chain, chain_source_fn *source, void *arg, void *dst,
                                size_t bytes, unsigned *wanted)
{
    unsigned at = *wanted;
    if (at > 0 && !can_run(&chain->stages[at - 1])) {
        (*wanted)--;
        return RC_OK;
    }
    struct stage *stage = &chain->stages[at];
    bool is_last = at == chain->end;
    char *to = is_last ? dst : stage_buf(chain, at);
    size_t room = is_last ? bytes : BUFFER_BYTES;
    if (at > 0 && room > WORK_BYTES) {
        room = WORK_BYTES;
    }
    enum rc rc =
        at == 0 ? read_source(chain, source, arg, to, room) : run_stage(chain, at - 1, to, room);
    if (rc == RC_OK && !is_last && can_run(stage)) {
        (*wanted)++;
    }
    return rc;
}

enum rc chain_pull(struct chain *chain, chain_source_fn *source, void *arg, void *dst, size_t bytes,
                   size_t *got)
{
    CHECK_OBJ(chain, CHAIN_MAGIC);
    CHECK(bytes > 0);
    struct stage *end = &chain->stages[chain->end];
    *got = 0;
    unsigned wanted = chain->end;
    while (chain->rc == RC_OK && end->in_len == 0 && !end->is_end) {
        enum rc rc = pull_step(chain, source, arg, dst, bytes, &wanted);
        if (rc != RC_OK) {
            break;
        }
        rest(chain);
    }
    if (chain->rc != RC_OK || end->in_len == 0) {
        return chain->rc != RC_OK ? chain->rc : RC_EOF;
    }
    size_t len = end->in_len < bytes ? end->in_len : bytes;
    if (end->in != dst) {
        memcpy(dst, end->in, len);
    }
    end->in += len;
    end->in_len -= len;
    *got = len;
    return RC_OK;
}

/* ---- pushing ---- */

static YIELDS enum rc push_out(struct chain *chain, chain_sink_fn *sink, void *arg)
{
    struct stage *end = &chain->stages[chain->end];
    if (end->in_len > 0) {
        size_t len = end->in_len;
        end->in_len = 0;
        chain->rc = sink(arg, end->in, len);
    }
    return chain->rc;
}

enum rc chain_push(struct chain *chain, const void *ptr, size_t bytes, bool is_end,
                   chain_sink_fn *sink, void *arg)
{
    CHECK_OBJ(chain, CHAIN_MAGIC);
    struct stage *end = &chain->stages[chain->end];
    if (chain->rc != RC_OK || end->is_end) {
        return chain->rc;
    }
    CHECK(chain->stages[0].in_len == 0);
    enum rc rc = offer(chain, &chain->stages[0], ptr, bytes, is_end);
    unsigned at = 0;
    while (rc == RC_OK) {
        if (at == chain->end) {
            rc = push_out(chain, sink, arg);
            if (at == 0 || end->is_end) {
                break;
            }
            at--;
        } else if (can_run(&chain->stages[at])) {
            rc = run_stage(chain, at, stage_buf(chain, at + 1), BUFFER_BYTES);
            at++;
            rest(chain);
        } else if (at > 0) {
            at--;
        } else {
            break;
        }
    }
    /* What was given is a borrow that ends here; a stage that is done takes no more of it. */
    chain->stages[0].in_len = 0;
    return rc;
}

/* ---- what it says of itself ---- */

bool chain_is_done(const struct chain *chain)
{
    const struct stage *end = &chain->stages[chain->end];
    return end->is_end && end->in_len == 0;
}

unsigned chain_count(const struct chain *chain)
{
    return chain->links_count;
}

void chain_sums(const struct chain *chain, unsigned at, uint64_t *in_bytes, uint64_t *out_bytes)
{
    CHECK(at < chain->links_count);
    *in_bytes = chain->links[at].in_bytes;
    *out_bytes = chain->links[at].out_bytes;
}

struct str chain_name(const struct chain *chain, unsigned at)
{
    CHECK(at < chain->links_count);
    return chain->links[at].name;
}

struct str chain_failed(const struct chain *chain)
{
    return chain->failed == NULL ? STR_NONE : chain->failed->name;
}
