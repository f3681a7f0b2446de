/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What VCL calls a BACKEND: a real backend, or a director that leads to one.  Each VCL has a set of
 * them, by name; they live as long as it.  Nothing Yields. */
#ifndef VCL_DIRECTOR_H
#define VCL_DIRECTOR_H

#include "base/rc.h"
#include "base/str.h"
#include "objmapper/module.h"

struct vcl_backend_decl;
struct vcl_backends;

/* Whether a real backend (its `leaf`) is healthy, and since when, as vcl_backend_healthy. */
typedef bool vcl_leaf_fn(void *arg, void *leaf, double *changed);

/* The backends of one VCL.  Borrows the VCL's name as long as it lives; the caller owns the set,
 * and with it all that is in it but the leaves. */
struct vcl_backends *vcl_backends_new(const char *vcl, vcl_leaf_fn *is_healthy, void *arg);
void vcl_backends_free(struct vcl_backends **set);

/* Adds a real backend; the name is copied, `leaf` is whatever the caller means by one, and borrowed
 * like decl (may be NULL).  A leaf that is NULL is a backend that never answers ("none"). */
struct objm_backend *vcl_backend_add(struct vcl_backends *set, const char *name, void *leaf,
                                     const struct vcl_backend_decl *decl);
/* Adds a director; the table must live as long as it. */
struct objm_backend *vcl_director_add(struct vcl_backends *set, const char *name,
                                      const struct objm_director *table, void *arg);
/* Takes a director out again and frees it.  Nobody may still use it. */
void vcl_director_remove(struct objm_backend *director);

/* NULL when there is none.  Borrowed until the set is freed. */
struct objm_backend *vcl_backend_find(struct vcl_backends *set, struct str name);
/* Calls fn for each, in the order of their making, with the set locked. */
typedef void vcl_backend_fn(void *arg, struct objm_backend *backend);
void vcl_backends_each(struct vcl_backends *set, vcl_backend_fn *fn, void *arg);

const char *vcl_backend_name(const struct objm_backend *backend);
const char *vcl_backend_vcl(const struct objm_backend *backend);
/* NULL for a director, and for a backend that never answers. */
void *vcl_backend_leaf(const struct objm_backend *backend);
const struct vcl_backend_decl *vcl_backend_decl(const struct objm_backend *backend);
/* NULL for a real one. */
const struct objm_director *vcl_backend_director(const struct objm_backend *backend, void **arg);

/* The real backend that a director leads to, through as many directors as there are (16 at most);
 * NULL: none.  ctx as directors want it. */
const struct objm_backend *vcl_backend_resolve(struct objm_ctx *ctx,
                                               const struct objm_backend *backend);
/* NULL is not healthy.  *changed (may be NULL): since when, real time in seconds; 0: unknown. */
bool vcl_backend_healthy(struct objm_ctx *ctx, const struct objm_backend *backend, double *changed);

/* What backend.set_health says of a director: its members are not asked then. */
enum vcl_admin_health { VCL_HEALTH_AUTO, VCL_HEALTH_HEALTHY, VCL_HEALTH_SICK };
void vcl_director_set_health(struct objm_backend *director, enum vcl_admin_health health,
                             double now);
enum vcl_admin_health vcl_director_admin(const struct objm_backend *director);

#endif
