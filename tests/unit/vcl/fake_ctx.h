/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A context for modules without a daemon: one request with a few header fields, a workspace, a
 * seeded random series, and backends whose health the test says. */
#ifndef TESTS_UNIT_VCL_FAKE_CTX_H
#define TESTS_UNIT_VCL_FAKE_CTX_H

#include "base/arena.h"
#include "base/rng.h"
#include "http/http.h"
#include "objmapper/module.h"
#include "vcl/director.h"

enum { FAKE_PRIVS = 16 };

struct fake {
    struct objm_ctx ctx; /* first */
    struct arena ws;
    struct rng rng;
    struct http *req;
    uint8_t digest[32];
    bool has_digest;
    char failed[256]; /* the first reason */
    char logged[1024];
    struct {
        const void *key;
        struct objm_priv priv;
    } privs[FAKE_PRIVS];
    struct vcl_backends *backends;
    char block[64 * 1024];
};

/* A leaf: whether it is healthy, and since when. */
struct fake_leaf {
    bool is_sick;
    double changed;
};

struct fake *fake_new(void);
void fake_free(struct fake **fake);
/* The end of a task: what modules kept for it is told. */
void fake_end_task(struct fake *fake);

/* Calls a function or method of a module; args may be NULL when it has none.  `given`: bits. */
union objm_value fake_call(struct fake *fake, const struct objm_func *func, void *self,
                           const union objm_value *args, uint32_t given);
const struct objm_func *fake_func(const struct objm_module *module, const char *name);
const struct objm_func *fake_method(const struct objm_object *object, const char *name);
const struct objm_object *fake_object(const struct objm_module *module, const char *name);
void *fake_object_new(struct fake *fake, const struct objm_object *object, const char *name,
                      const union objm_value *args, uint32_t given);

#endif
