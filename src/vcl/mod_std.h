/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The functions of the std module, which stand in several files; its table is mod_std.c. */
#ifndef VCL_MOD_STD_H
#define VCL_MOD_STD_H

#include "objmapper/module.h"

/* mod_std_text.c */
objm_fn vcl__std_toupper, vcl__std_tolower, vcl__std_strstr, vcl__std_fnmatch, vcl__std_querysort,
    vcl__std_collect;
/* mod_std_number.c */
objm_fn vcl__std_random, vcl__std_round, vcl__std_duration, vcl__std_bytes, vcl__std_integer,
    vcl__std_real, vcl__std_time, vcl__std_ip, vcl__std_port, vcl__std_strftime,
    vcl__std_real2integer, vcl__std_real2time, vcl__std_time2integer, vcl__std_time2real;
/* mod_std_file.c */
objm_fn vcl__std_fileread, vcl__std_blobread, vcl__std_file_exists;
/* mod_std_task.c */
objm_fn vcl__std_healthy, vcl__std_log, vcl__std_syslog, vcl__std_timestamp, vcl__std_syntax,
    vcl__std_getenv, vcl__std_cache_req_body, vcl__std_late_100_continue, vcl__std_set_ip_tos,
    vcl__std_rollback, vcl__std_ban, vcl__std_ban_error;

/* Fails the task with a constant text. */
void vcl__std_fail(struct objm_ctx *ctx, const char *text);

#endif
