/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of the directors module share.  Its table is mod_directors.c. */
#ifndef VCL_MOD_DIRECTORS_H
#define VCL_MOD_DIRECTORS_H

#include "base/str.h"
#include "objmapper/module.h"

/* The last four bytes of the SHA-256 of all parts, least significant first: what shards and hashes
 * go by, the same in every daemon and in Varnish. */
uint32_t vcl__hash32(const struct objm_str *parts, size_t count);

/* mod_dir_simple.c: round robin, fallback, random, hash */
objm_fn vcl__dir_round_robin, vcl__dir_fallback, vcl__dir_random, vcl__dir_hash;
objm_fn vcl__dir_add, vcl__dir_add_weighted, vcl__dir_remove, vcl__dir_backend,
    vcl__dir_hash_backend;
void vcl__dir_fini(struct objm_ctx *ctx, void *self);

/* mod_shard.c */
objm_fn vcl__shard_init, vcl__shard_set_warmup, vcl__shard_set_rampup, vcl__shard_associate,
    vcl__shard_add_backend, vcl__shard_remove_backend, vcl__shard_clear, vcl__shard_reconfigure,
    vcl__shard_key, vcl__shard_backend, vcl__shard_debug;
void vcl__shard_fini(struct objm_ctx *ctx, void *self);

/* mod_shard_param.c */
objm_fn vcl__param_init, vcl__param_clear, vcl__param_set, vcl__param_get_by, vcl__param_get_key,
    vcl__param_get_alt, vcl__param_get_warmup, vcl__param_get_rampup, vcl__param_get_healthy,
    vcl__param_use;
void vcl__param_fini(struct objm_ctx *ctx, void *self);

#endif
