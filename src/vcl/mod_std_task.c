/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* std: what is done to the request, the session, the log and the cache. */
#include "vcl/mod_std.h"

#include <math.h>
#include <stdlib.h>
#include <syslog.h>

#include "vcl/value.h"

void vcl__std_healthy(struct objm_ctx *ctx, struct objm_call *call)
{
    call->ret.boolean = objm_backend_healthy(ctx, call->arg[0].backend, NULL);
}

void vcl__std_log(struct objm_ctx *ctx, struct objm_call *call)
{
    objm_log(ctx, OBJM_LOG_VCL, objm_join(ctx, call->arg[0].strands));
}

struct syslog_line {
    int priority;
    const char *text;
};

/* On an offload thread: the socket of the system's log may be full. */
static void write_syslog(void *arg)
{
    const struct syslog_line *line = arg;
    syslog(line->priority, "%s", line->text);
}

void vcl__std_syslog(struct objm_ctx *ctx, struct objm_call *call)
{
    struct syslog_line line = {
        .priority = (int)(call->arg[0].integer & (LOG_PRIMASK | LOG_FACMASK)),
        .text = objm_cstr(ctx, objm_join(ctx, call->arg[1].strands)),
    };
    if (line.text != NULL) {
        objm_offload(ctx, write_syslog, &line);
    }
}

void vcl__std_timestamp(struct objm_ctx *ctx, struct objm_call *call)
{
    if (call->arg[0].string.len > 0) {
        ctx->ops->timestamp(ctx, call->arg[0].string);
    }
}

void vcl__std_syntax(struct objm_ctx *ctx, struct objm_call *call)
{
    /* 4.1 is no number that a double can hold; tenths are. */
    call->ret.boolean = round(call->arg[0].real * 10) <= ctx->syntax;
}

void vcl__std_getenv(struct objm_ctx *ctx, struct objm_call *call)
{
    if (call->arg[0].string.len == 0) {
        return;
    }
    const char *name = objm_cstr(ctx, call->arg[0].string);
    /* Nothing in the worker changes its environment. */
    const char *value = name == NULL ? NULL : getenv(name);
    call->ret.string = vcl_objm_str(str_of(value));
}

void vcl__std_cache_req_body(struct objm_ctx *ctx, struct objm_call *call)
{
    if (ctx->where != OBJM_IN_RECV) {
        vcl__std_fail(ctx, "req.body can only be cached in vcl_recv{}");
        return;
    }
    int64_t bytes = call->arg[0].integer;
    call->ret.boolean = ctx->ops->cache_req_body(ctx, bytes < 0 ? 0 : bytes);
}

void vcl__std_late_100_continue(struct objm_ctx *ctx, struct objm_call *call)
{
    if (ctx->where != OBJM_IN_RECV) {
        objm_log(ctx, OBJM_LOG_VCL_ERROR,
                 OBJM_STR("std.late_100_continue() only valid in vcl_recv{}"));
        return;
    }
    ctx->ops->late_100_continue(ctx, call->arg[0].boolean);
}

void vcl__std_set_ip_tos(struct objm_ctx *ctx, struct objm_call *call)
{
    ctx->ops->set_ip_tos(ctx, (int)(call->arg[0].integer & 0xff));
}

void vcl__std_rollback(struct objm_ctx *ctx, struct objm_call *call)
{
    enum objm_http http = call->arg[0].http;
    if (ctx->where == OBJM_IN_PIPE) {
        vcl__std_fail(ctx, "Cannot rollback in vcl_pipe {}");
        return;
    }
    if (http != OBJM_REQ && http != OBJM_BEREQ) {
        vcl__std_fail(ctx, "std.rollback(): only req and bereq can be rolled back");
        return;
    }
    (void)objm_http_rollback(ctx, http);
}

/* The error of the task's last ban is kept under the address of this. */
static const char ban_key = 0;

void vcl__std_ban(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_str error = OBJM_STR("Null argument");
    bool is_set = call->arg[0].string.ptr != NULL;
    call->ret.boolean = is_set && objm_ban(ctx, call->arg[0].string, &error);
    if (!call->ret.boolean) {
        objm_log(ctx, OBJM_LOG_VCL_ERROR,
                 objm_printf(ctx, "ban(): %.*s", (int)error.len, error.ptr));
    }
    struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, &ban_key);
    if (priv == NULL) {
        vcl__std_fail(ctx, "std.ban(): no priv_task (out of workspace?)");
        return;
    }
    struct objm_str *kept = priv->ptr;
    if (kept == NULL) {
        kept = objm_alloc(ctx, sizeof *kept);
        priv->ptr = kept;
    }
    if (kept != NULL) {
        *kept = call->ret.boolean ? OBJM_STR("") : error;
    }
}

void vcl__std_ban_error(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, &ban_key);
    const struct objm_str *kept = priv == NULL ? NULL : priv->ptr;
    call->ret.string = kept == NULL ? OBJM_STR("") : *kept;
}
