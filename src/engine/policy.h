/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What decides: VCL (task.h), or a test's policy.  The engine has the states and does the
 * work; at each state it asks the policy, which says where to go on.  The engine asks nothing else
 * about what may be cached or how.
 *
 *   client side                                    answers
 *     recv              hash pass pipe purge synth restart fail
 *     hash              (the key; always after recv)
 *     hit               deliver pass synth restart fail
 *     miss              fetch pass synth restart fail
 *     pass              fetch synth restart fail
 *     pipe              pipe synth fail
 *     purge             synth restart fail           after the objects are gone
 *     deliver           deliver synth restart fail
 *     synth             deliver restart fail
 *   backend side
 *     backend_fetch     fetch error abandon fail
 *     backend_response  deliver retry error abandon fail; pass: hit-for-pass for the duration
 *     backend_error     deliver retry abandon fail
 *
 * An answer that does not belong to its state counts as fail.  Each function logs its own VCL_call
 * and VCL_return, and what it changes.  It may Yield, and may change what it is given: heads (text
 * in the arena of the request or fetch), and the fields that struct request and struct fetch list
 * for it. */
#ifndef ENGINE_POLICY_H
#define ENGINE_POLICY_H

#include "engine/engine_priv.h"

enum policy_action {
    POLICY_FAIL, /* of the policy itself: 503 and the connection ends, or the fetch fails */
    POLICY_HASH,
    POLICY_PASS,
    POLICY_PIPE,
    POLICY_PURGE,
    POLICY_SYNTH,
    POLICY_RESTART,
    POLICY_DELIVER,
    POLICY_FETCH,
    POLICY_ERROR,
    POLICY_RETRY,
    POLICY_ABANDON,
    POLICY__COUNT
};

struct policy_verdict {
    enum policy_action action;
    unsigned status;      /* of synth and error */
    struct str reason;    /* ...; STR_NONE: the usual one */
    uint64_t duration_ns; /* of backend_response's pass */
};

struct policy {
    /* Before the first question about a request, and after the last: what holds on to a policy that
     * others may replace meanwhile.  req->policy_arg is the policy's own.  Returns what VCL_use
     * says.  NULL: nothing to do. */
    struct str (*begin)(struct request *req);
    void (*end)(struct request *req);
    /* The same for a fetch, which may outlive its request (that is there at fetch_begin). */
    void (*fetch_begin)(struct fetch *f, const struct request *req);
    void (*fetch_end)(struct fetch *f);

    struct policy_verdict (*recv)(struct request *req);
    struct policy_verdict (*hash)(struct request *req); /* sets req->digest; HASH or FAIL */
    struct policy_verdict (*hit)(struct request *req);  /* the object: req->oc */
    struct policy_verdict (*miss)(struct request *req);
    struct policy_verdict (*pass)(struct request *req);
    struct policy_verdict (*pipe)(struct request *req); /* req->fetch->bereq is what will be sent */
    struct policy_verdict (*purge)(struct request *req);
    struct policy_verdict (*deliver)(struct request *req); /* the head: req->resp */
    struct policy_verdict (*synth)(struct request *req);   /* ... and req->synth */
    struct policy_verdict (*backend_fetch)(struct fetch *f);
    /* Its fields: backend, time-outs, drops_body; then times, is_uncacheable, do_stream, store. */
    struct policy_verdict (*backend_response)(struct fetch *f);
    struct policy_verdict (*backend_error)(struct fetch *f); /* f->beresp and f->synth */
};

/* How long others are told not to wait for an object that turned out not to be cacheable. */
#define POLICY_HITMISS_TTL_NS (120 * NS_PER_S)
/* A TTL from now on, though it is counted from when the response was made. */
void policy_set_ttl(struct fetch *f, uint64_t ttl_ns);

/* A verdict without more to it. */
static inline struct policy_verdict policy_says(enum policy_action action)
{
    return (struct policy_verdict){.action = action};
}

/* The word that VCL_return has for it. */
struct str policy_word(enum policy_action action);

/* Whether the action is one of the mask's (bits by number). */
static inline bool policy_may(unsigned mask, enum policy_action action)
{
    return (mask >> action & 1) != 0;
}
#define POLICY_BIT(action) (1u << (action))

#endif
