/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The hooks at which VCL will stand.  Until then there is one policy, with the meaning of Varnish's
 * built-in VCL; the engine asks nothing else about what may be cached or how. */
#ifndef ENGINE_POLICY_H
#define ENGINE_POLICY_H

#include "engine/engine_priv.h"

enum policy_action { POLICY_LOOKUP, POLICY_PASS, POLICY_PIPE, POLICY_SYNTH };

struct policy_verdict {
    enum policy_action action;
    unsigned status; /* for POLICY_SYNTH */
    struct str reason;
};

struct policy {
    /* Logs its own VCL_call and VCL_return records. */
    struct policy_verdict (*recv)(struct request *req);
    void (*hash)(struct str host, struct str url, struct digest *digest);
    void (*hit)(struct request *req);
    void (*miss)(struct request *req);
    void (*pass)(struct request *req);
    /* f->bereq is what will be sent. */
    void (*pipe)(struct request *req, struct fetch *f);
    void (*deliver)(struct request *req, struct http *resp);
    void (*backend_fetch)(struct fetch *f);
    /* Sets times and is_uncacheable. */
    void (*backend_response)(struct fetch *f);
};

extern const struct policy policy_builtin;

#endif
