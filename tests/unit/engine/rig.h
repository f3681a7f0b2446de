/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* An engine with a policy that follows a script, a backend that answers from a list, and a client
 * that keeps what it gets; and its log, as Varnish's own reader sees it. */
#ifndef TESTS_UNIT_ENGINE_RIG_H
#define TESTS_UNIT_ENGINE_RIG_H

#include "builtin.h"
#include "engine/policy.h"

enum hook {
    HOOK_RECV,
    HOOK_HASH,
    HOOK_HIT,
    HOOK_MISS,
    HOOK_PASS,
    HOOK_PIPE,
    HOOK_PURGE,
    HOOK_DELIVER,
    HOOK_SYNTH,
    HOOK_BACKEND_FETCH,
    HOOK_BACKEND_RESPONSE,
    HOOK_BACKEND_ERROR,
    HOOK__COUNT
};

/* The n-th line of a hook is what it says the n-th time; then it says what the built-in one does.
 * `also` is called first, with the request or the fetch. */
struct line {
    enum hook hook;
    struct policy_verdict verdict;
    void (*also)(struct request *req, struct fetch *f);
};

struct rig;
struct act {
    const struct line *script; /* ends with a line whose hook is HOOK__COUNT; NULL: none */
    const char *const
        *answers; /* of the backend, to one request each; NULL ends.  "" closes, "wait" waits */
    fiber_fn *fn; /* the test; arg is the rig */
    bool is_vcl;  /* the policy is VCL, and none is loaded */
};
void rig_run(const struct act *act);

/* What a client got. */
struct got {
    enum rc rc;
    unsigned status;
    bool close;
    char head[2000]; /* "Name: value\n" */
    char body[2000];
    size_t body_len;
};
/* One request, to its end, with fields "Name: value" (NULL ends).  Yields. */
YIELDS struct got rig_get(struct rig *rig, const char *url, const char *const *fields);
/* Goes on until fetches in the background are over.  Yields. */
YIELDS void rig_settle(struct rig *rig);
/* The hooks that were called since the last time, "recv hash miss backend_fetch ...". */
const char *rig_trace(struct rig *rig);
/* The counters so far.  Yields. */
YIELDS const struct vsc_main *rig_main(struct rig *rig);
YIELDS const struct vsc_objm *rig_objm(struct rig *rig);
struct params *rig_params(struct rig *rig);
struct engine *rig_engine(struct rig *rig);
/* How many requests have reached the backend, and the last of them. */
unsigned rig_asked(struct rig *rig);
const char *rig_last_request(struct rig *rig);

/* After rig_run: whether the records are in the log in this order, of whatever transactions, each a
 * tag and the beginning of its text, "VCL_return restart". */
bool rig_log_has(const char *const *records);

/* ---- words of scripts ---- */

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define OTHER_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
#define END_OF_SCRIPT                                                                              \
    {                                                                                              \
        .hook = HOOK__COUNT                                                                        \
    }
#define SAYS(name)                                                                                 \
    {                                                                                              \
        .action = POLICY_##name                                                                    \
    }
#define SAYS_STATUS(name, code, text)                                                              \
    {                                                                                              \
        .action = POLICY_##name, .status = (code), .reason = STR_INIT(text)                        \
    }
extern const char *const no_answers[];
extern const char *const one_answer[];
extern const char *const two_answers[];
#define expect_trace(rig, text) assert_string_equal(rig_trace(rig), text)

#endif
