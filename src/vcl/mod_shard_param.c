/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Parameters of the shard director.
 *
 * They come from up to four places, the nearest first; each says only what was set there:
 *
 *     arguments of .backend() -> what this fetch set -> a shard_param object -> built-in defaults
 *
 * What a fetch sets on a shared object goes to a copy of its own (PRIV_TASK, under the object's
 * address), so that no fetch sees another's.  Nothing is merged before it is needed: a default that
 * changes meanwhile counts. */
#include "vcl/mod_shard.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/mod_directors.h"
#include "vcl/value.h"

const struct shard_param vcl__shard_defaults = {
    .magic = SHARD_PARAM_MAGIC,
    .mask = ARGS_KEPT,
    .scope = SCOPE_BUILTIN,
    .name = "builtin defaults",
    .by = BY_HASH,
    .warmup = -1,
    .rampup = true,
    .healthy = SHARD_CHOSEN,
};

static struct objm_str message(struct objm_ctx *ctx, const char *name, const char *fmt, va_list ap)
{
    char text[256];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    return objm_printf(ctx, "vmod_directors: shard %s: %s", name, text);
}

void vcl__shard_fail(struct objm_ctx *ctx, const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct objm_str text = message(ctx, name, fmt, ap);
    va_end(ap);
    if (text.ptr != NULL) {
        objm_fail(ctx, text);
    }
}

void vcl__shard_log(struct objm_ctx *ctx, enum objm_log tag, const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct objm_str text = message(ctx, name, fmt, ap);
    va_end(ap);
    if (text.ptr != NULL) {
        objm_log(ctx, tag, text);
    }
}

/* ---- where they come from ---- */

const struct shard_param *vcl__param_of_task(struct objm_ctx *ctx, const void *id,
                                             const struct shard_param *param)
{
    if (!vcl__shard_is_fetch(ctx)) {
        return param;
    }
    const struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, id);
    if ((priv == NULL || priv->ptr == NULL) && id != param && param->scope == SCOPE_VCL) {
        priv = objm_priv(ctx, OBJM_PRIV_TASK, param);
    }
    return priv == NULL || priv->ptr == NULL ? param : priv->ptr;
}

struct shard_param *vcl__param_for_task(struct objm_ctx *ctx, const void *id,
                                        const struct shard_param *param)
{
    struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, id);
    if (priv == NULL) {
        return NULL;
    }
    if (priv->ptr == NULL) {
        struct shard_param *own = objm_alloc(ctx, sizeof *own);
        if (own == NULL) {
            return NULL;
        }
        memset(own, 0, sizeof *own);
        own->magic = SHARD_PARAM_MAGIC;
        own->scope = SCOPE_TASK;
        own->name = param->name;
        own->defaults = id == param ? param : vcl__param_of_task(ctx, param, param);
        priv->ptr = own;
    }
    return priv->ptr;
}

struct shard_param vcl__param_merged(const struct shard_param *param)
{
    CHECK_OBJ(param, SHARD_PARAM_MAGIC);
    struct shard_param out = *param;
    for (const struct shard_param *from = param->defaults;
         (out.mask & ARGS_KEPT) != ARGS_KEPT && from != NULL; from = from->defaults) {
        CHECK_OBJ(from, SHARD_PARAM_MAGIC);
        uint32_t missing = from->mask & ~out.mask;
        if ((missing & ARG_BY) != 0) {
            out.by = from->by;
            out.key = from->key;
        }
        out.alt = (missing & ARG_ALT) != 0 ? from->alt : out.alt;
        out.warmup = (missing & ARG_WARMUP) != 0 ? from->warmup : out.warmup;
        out.rampup = (missing & ARG_RAMPUP) != 0 ? from->rampup : out.rampup;
        out.healthy = (missing & ARG_HEALTHY) != 0 ? from->healthy : out.healthy;
        out.mask |= from->mask;
    }
    return out;
}

static uint32_t big_endian(const uint8_t *bytes, size_t len)
{
    uint32_t value = 0;
    for (size_t n = 0; n < len; n++) {
        value = value << 8 | bytes[n];
    }
    return value;
}

uint32_t vcl__param_key(struct objm_ctx *ctx, const struct shard_param *param)
{
    if (param->by == BY_KEY || param->by == BY_BLOB) {
        return param->key;
    }
    uint8_t digest[32];
    if (param->by == BY_HASH && vcl__shard_is_fetch(ctx) && objm_digest(ctx, digest)) {
        return big_endian(digest, 4);
    }
    enum objm_http http = objm_http_has(ctx, OBJM_REQ) ? OBJM_REQ : OBJM_BEREQ;
    struct objm_str url = objm_http_line(ctx, http, OBJM_URL);
    return vcl__hash32(&url, 1);
}

/* ---- arguments ---- */

static bool take_key(struct objm_ctx *ctx, struct objm_call *call, const char *func, uint32_t args,
                     struct shard_param *p)
{
    struct objm_blob blob = call->arg[2].blob;
    int64_t key = call->arg[1].integer;
    switch (p->by) {
    case BY_KEY:
        if ((args & ARG_KEY) == 0) {
            vcl__shard_fail(ctx, p->name, "%s missing key argument with by=KEY", func);
            return false;
        }
        if (key < 0 || key > UINT32_MAX) {
            vcl__shard_fail(ctx, p->name, "%s invalid key argument %jd with by=KEY", func,
                            (intmax_t)key);
            return false;
        }
        p->key = (uint32_t)key;
        return true;
    case BY_BLOB:
        if ((args & ARG_KEY_BLOB) == 0) {
            vcl__shard_fail(ctx, p->name, "%s missing key_blob argument with by=BLOB", func);
            return false;
        }
        if (blob.len == 0) {
            vcl__shard_log(ctx, OBJM_LOG_ERROR, p->name,
                           "%s by=BLOB but no or empty key_blob - using key 0", func);
        }
        p->key = big_endian(blob.ptr, blob.len < 4 ? blob.len : 4);
        return true;
    case BY_HASH:
    case BY_URL:
        break;
    }
    if ((args & (ARG_KEY | ARG_KEY_BLOB)) != 0) {
        vcl__shard_fail(ctx, p->name, "%s key and key_blob arguments are invalid with by=%s", func,
                        p->by == BY_HASH ? "HASH" : "URL");
        return false;
    }
    return true;
}

bool vcl__param_take(struct objm_ctx *ctx, struct objm_call *call, const char *func, uint32_t args,
                     struct shard_param *p)
{
    p->by = (args & ARG_BY) != 0 ? (enum shard_by)call->arg[0].choice : BY_HASH;
    if (!take_key(ctx, call, func, args, p)) {
        return false;
    }
    int64_t alt = call->arg[3].integer;
    double warmup = call->arg[4].real;
    if ((args & ARG_ALT) != 0 && alt < 0) {
        vcl__shard_fail(ctx, p->name, "%s invalid alt argument %jd", func, (intmax_t)alt);
        return false;
    }
    bool is_default = warmup <= -1 && warmup >= -1;
    if ((args & ARG_WARMUP) != 0 && !is_default && !(warmup >= 0 && warmup <= 1)) {
        vcl__shard_fail(ctx, p->name, "%s invalid warmup argument %f", func, warmup);
        return false;
    }
    p->alt = alt;
    p->warmup = warmup;
    p->rampup = call->arg[5].boolean;
    p->healthy = (enum shard_healthy)call->arg[6].choice;
    p->mask = args & ARGS_KEPT;
    return true;
}

const struct shard_param *vcl__param_of_blob(struct objm_blob blob)
{
    if (blob.ptr == NULL || blob.len != sizeof(struct shard_param)) {
        return NULL;
    }
    const struct shard_param *param = blob.ptr;
    return param->magic == SHARD_PARAM_MAGIC ? param : NULL;
}

/* ---- the object ---- */

void vcl__param_init(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    struct shard_param *p = xcalloc(1, sizeof *p);
    p->magic = SHARD_PARAM_MAGIC;
    p->scope = SCOPE_VCL;
    p->name = call->instance;
    p->defaults = &vcl__shard_defaults;
    call->self = p;
}

void vcl__param_fini(struct objm_ctx *ctx, void *self)
{
    (void)ctx;
    struct shard_param *p = self;
    CHECK_OBJ(p, SHARD_PARAM_MAGIC);
    p->magic = 0;
    free(p);
}

/* The set that a change goes to.  NULL: failed. */
static struct shard_param *to_change(struct objm_ctx *ctx, struct objm_call *call, const char *func)
{
    struct shard_param *p = call->self;
    CHECK_OBJ(p, SHARD_PARAM_MAGIC);
    if ((ctx->where & OBJM_IN_HOUSE) != 0) {
        return p;
    }
    if (!vcl__shard_is_fetch(ctx)) {
        vcl__shard_fail(ctx, p->name, "%s may only be used in vcl_init and in backend/pipe context",
                        func);
        return NULL;
    }
    return vcl__param_for_task(ctx, p, p);
}

void vcl__param_clear(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard_param *p = to_change(ctx, call, "shard_param.clear()");
    if (p != NULL) {
        p->mask = 0;
    }
}

void vcl__param_set(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard_param *p = to_change(ctx, call, "shard_param.set()");
    if (p != NULL) {
        (void)vcl__param_take(ctx, call, "shard_param.set()", call->given & ARGS_SET, p);
    }
}

static struct shard_param read_all(struct objm_ctx *ctx, const struct objm_call *call)
{
    const struct shard_param *p = call->self;
    CHECK_OBJ(p, SHARD_PARAM_MAGIC);
    return vcl__param_merged(vcl__param_of_task(ctx, p, p));
}

void vcl__param_get_by(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard_param p = read_all(ctx, call);
    call->ret.string = vcl_objm_str(vcl_enum_name(SHARD_BY_VALUES, (unsigned)p.by));
}

void vcl__param_get_key(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard_param p = read_all(ctx, call);
    call->ret.integer = vcl__param_key(ctx, &p);
}

void vcl__param_get_alt(struct objm_ctx *ctx, struct objm_call *call)
{
    call->ret.integer = read_all(ctx, call).alt;
}

void vcl__param_get_warmup(struct objm_ctx *ctx, struct objm_call *call)
{
    call->ret.real = read_all(ctx, call).warmup;
}

void vcl__param_get_rampup(struct objm_ctx *ctx, struct objm_call *call)
{
    call->ret.boolean = read_all(ctx, call).rampup;
}

void vcl__param_get_healthy(struct objm_ctx *ctx, struct objm_call *call)
{
    struct shard_param p = read_all(ctx, call);
    call->ret.string = vcl_objm_str(vcl_enum_name(SHARD_HEALTHY_VALUES, (unsigned)p.healthy));
}

void vcl__param_use(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    CHECK_OBJ((struct shard_param *)call->self, SHARD_PARAM_MAGIC);
    call->ret.blob = (struct objm_blob){call->self, sizeof(struct shard_param)};
}
