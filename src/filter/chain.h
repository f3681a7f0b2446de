/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The codecs of a plan, running: bytes are pulled through them (a fetch) or pushed (a delivery).
 * Each has one buffer of fixed size behind it, so a chain's memory does not depend on the body's
 * length. */
#ifndef FILTER_CHAIN_H
#define FILTER_CHAIN_H

#include "filter/plan.h"
#include "run/run.h"

struct chain;

/* Body bytes, at least one, or RC_EOF at the end. */
typedef enum rc chain_source_fn(void *arg, void *dst, size_t bytes, size_t *got);
/* Takes the bytes; they are borrowed. */
typedef enum rc chain_sink_fn(void *arg, const void *ptr, size_t bytes);

/* Starts the codecs of the steps from..to-1 of a plan (those with a codec).  `env` is copied, each
 * codec gets its own `arg`; plan and notes are borrowed.  No codec at all is a chain too. RC_LIMIT,
 * RC_INVALID: *failed (may be NULL) is the name. */
MUST_USE enum rc chain_new(const struct plan *plan, unsigned from, unsigned to,
                           const struct filter_env *env, struct chain **out, struct str *failed);
void chain_free(struct chain **chain);

/* The next bytes of what comes out: at least one, or RC_EOF when all is out.  `source` is asked for
 * more when that is needed.  A codec's error, or the source's.  Yields when the source does. */
YIELDS MUST_USE enum rc chain_pull(struct chain *chain, chain_source_fn *source, void *arg,
                                   void *dst, size_t bytes, size_t *got);
/* Gives bytes in, and what comes out by then to the sink; is_end: the last.  A codec's error, or
 * the sink's.  After an error nothing is done any more, it is only said again.  Both yield also
 * after some work, where they run on a fiber. */
YIELDS MUST_USE enum rc chain_push(struct chain *chain, const void *ptr, size_t bytes, bool is_end,
                                   chain_sink_fn *sink, void *arg);
/* All is out: what is still pushed is dropped, and need not be read. */
bool chain_is_done(const struct chain *chain);
/* How many codecs it has; and of the one at this place of them: so far taken in, and made (for
 * VCL's log: VdpAcct, VfpAcct). */
unsigned chain_count(const struct chain *chain);
void chain_sums(const struct chain *chain, unsigned at, uint64_t *in_bytes, uint64_t *out_bytes);
struct str chain_name(const struct chain *chain, unsigned at);
/* After an error: the name of the step that failed (why is in notes->error), STR_NONE: it was the
 * source's or the sink's. */
struct str chain_failed(const struct chain *chain);

#endif
