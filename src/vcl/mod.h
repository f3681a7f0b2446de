/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The built-in modules' tables, each in a file of its own (mod_NAME.c). */
#ifndef VCL_MOD_H
#define VCL_MOD_H

#include "objmapper/module.h"

extern const struct objm_module vcl__mod_blob;
extern const struct objm_module vcl__mod_cookie;
extern const struct objm_module vcl__mod_directors;
extern const struct objm_module vcl__mod_proxy;
extern const struct objm_module vcl__mod_purge;
extern const struct objm_module vcl__mod_regex;
extern const struct objm_module vcl__mod_rewrite;
extern const struct objm_module vcl__mod_std;
extern const struct objm_module vcl__mod_unix;
extern const struct objm_module vcl__mod_vtc;

/* A random number as objm_random's; of a series that is on it takes one word, and not two. */
double vcl__random31(struct objm_ctx *ctx);

#endif
