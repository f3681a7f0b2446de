/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The built-in modules' tables, each in a file of its own (mod_NAME.c). */
#ifndef VCL_MOD_H
#define VCL_MOD_H

#include "objmapper/module.h"

extern const struct objm_module vcl__mod_blob;
extern const struct objm_module vcl__mod_cookie;
extern const struct objm_module vcl__mod_directors;
extern const struct objm_module vcl__mod_purge;
extern const struct objm_module vcl__mod_std;
extern const struct objm_module vcl__mod_vtc;

#endif
