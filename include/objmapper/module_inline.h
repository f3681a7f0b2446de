/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a module calls: part of objmapper/module.h, which includes it.  Text that a function returns
 * lives as long as the task; what is said to fail has called objm_fail() itself. */
#ifndef OBJMAPPER_MODULE_INLINE_H
#define OBJMAPPER_MODULE_INLINE_H

/* Ends the task's VCL: it answers 503, and `why` is logged (VCL_Error).  The first one counts. */
static inline void objm_fail(struct objm_ctx *ctx, struct objm_str why)
{
    ctx->ops->task_fail(ctx, why);
}

/* Workspace, 16-byte aligned, gone with the task.  NULL when it is full, which has failed the
 * task. */
static inline void *objm_alloc(struct objm_ctx *ctx, size_t bytes)
{
    return ctx->ops->alloc(ctx, bytes);
}

/* Formatted text in the workspace, NUL-terminated; {NULL, 0} when that is full. */
__attribute__((format(printf, 2, 3))) static inline struct objm_str
objm_printf(struct objm_ctx *ctx, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = len < 0 ? NULL : (char *)ctx->ops->alloc(ctx, (size_t)len + 1);
    if (text == NULL) {
        return (struct objm_str){NULL, 0};
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, ap);
    va_end(ap);
    return (struct objm_str){text, (size_t)len};
}

/* A NUL-terminated copy; NULL when the workspace is full. */
static inline const char *objm_cstr(struct objm_ctx *ctx, struct objm_str s)
{
    char *text = (char *)ctx->ops->alloc(ctx, s.len + 1);
    if (text != NULL) {
        if (s.len > 0) {
            memcpy(text, s.ptr, s.len);
        }
        text[s.len] = '\0';
    }
    return text;
}

static inline void objm_log(struct objm_ctx *ctx, enum objm_log tag, struct objm_str text)
{
    ctx->ops->log(ctx, tag, text);
}

/* What the module keeps under this key (any address of its own) for the task, or for the client's
 * request at the top of all sub-requests; made when it is not there.  NULL: workspace full. */
static inline struct objm_priv *objm_priv(struct objm_ctx *ctx, enum objm_scope scope,
                                          const void *key)
{
    return ctx->ops->priv(ctx, scope, key);
}

/* The filter as a value of type VFP or VDP; arg lives as long as the task.  NULL: workspace full.
 */
static inline const struct objm_candidate *
objm_candidate(struct objm_ctx *ctx, const struct objm_filter *filter, const void *arg)
{
    struct objm_candidate *made = (struct objm_candidate *)ctx->ops->alloc(ctx, sizeof *made);
    if (made != NULL) {
        made->filter = filter;
        made->builtin = NULL;
        made->arg = arg;
    }
    return made;
}

/* Runs fn(arg) where blocking is allowed, and waits for it.  Suspends. */
static inline void objm_offload(struct objm_ctx *ctx, void (*fn)(void *), void *arg)
{
    ctx->ops->offload(ctx, fn, arg);
}

/* Suspends. */
static inline void objm_sleep(struct objm_ctx *ctx, double seconds)
{
    ctx->ops->sleep(ctx, seconds);
}

/* In [0, 1); a series that tests can repeat, not for secrets. */
static inline double objm_random(struct objm_ctx *ctx)
{
    return ctx->ops->random(ctx);
}

/* Whether the message exists in this sub. */
static inline bool objm_http_has(struct objm_ctx *ctx, enum objm_http http)
{
    return ctx->ops->http_has(ctx, http);
}

/* The first field of this name; unset when there is none. */
static inline struct objm_str objm_http_get(struct objm_ctx *ctx, enum objm_http http,
                                            struct objm_str name)
{
    return ctx->ops->http_get(ctx, http, name);
}

/* The n-th field, from 0; false behind the last. */
static inline bool objm_http_nth(struct objm_ctx *ctx, enum objm_http http, unsigned n,
                                 struct objm_str *name, struct objm_str *value)
{
    return ctx->ops->http_nth(ctx, http, n, name, value);
}

/* One field of this name remains.  The value is borrowed until the task ends.  False: failed. */
static inline bool objm_http_set(struct objm_ctx *ctx, enum objm_http http, struct objm_str name,
                                 struct objm_str value)
{
    return ctx->ops->http_set(ctx, http, name, value);
}

/* One field more. */
static inline bool objm_http_add(struct objm_ctx *ctx, enum objm_http http, struct objm_str name,
                                 struct objm_str value)
{
    return ctx->ops->http_add(ctx, http, name, value);
}

static inline void objm_http_unset(struct objm_ctx *ctx, enum objm_http http, struct objm_str name)
{
    ctx->ops->http_unset(ctx, http, name);
}

/* Method, URL, protocol, status (as text), reason. */
static inline struct objm_str objm_http_line(struct objm_ctx *ctx, enum objm_http http,
                                             enum objm_line line)
{
    return ctx->ops->http_line(ctx, http, line);
}

/* The message as it was before VCL changed it: OBJM_REQ and OBJM_BEREQ.  False: failed. */
static inline bool objm_http_rollback(struct objm_ctx *ctx, enum objm_http http)
{
    return ctx->ops->http_rollback(ctx, http);
}

/* What vcl_hash made; false before it ran. */
static inline bool objm_digest(struct objm_ctx *ctx, uint8_t digest[32])
{
    return ctx->ops->digest(ctx, digest);
}

/* Adds a ban; false: *error says why not. */
static inline bool objm_ban(struct objm_ctx *ctx, struct objm_str spec, struct objm_str *error)
{
    return ctx->ops->ban(ctx, spec, error);
}

/* Purges all objects of the request's key; ttl, grace and keep in seconds, negative: as it is.
 * Returns how many; -1: not possible in this sub. */
static inline int64_t objm_purge(struct objm_ctx *ctx, double ttl, double grace, double keep)
{
    return ctx->ops->purge(ctx, ttl, grace, keep);
}

/* "b1"; a director's name is that of its object. */
static inline struct objm_str objm_backend_name(struct objm_ctx *ctx,
                                                const struct objm_backend *backend)
{
    return ctx->ops->backend_name(ctx, backend);
}

/* backend may be NULL, which is never healthy.  *changed (may be NULL): since when, seconds. */
static inline bool objm_backend_healthy(struct objm_ctx *ctx, const struct objm_backend *backend,
                                        double *changed)
{
    return ctx->ops->backend_healthy(ctx, backend, changed);
}

/* What a director leads to; NULL: nothing. */
static inline const struct objm_backend *objm_backend_resolve(struct objm_ctx *ctx,
                                                              const struct objm_backend *backend)
{
    return ctx->ops->backend_resolve(ctx, backend);
}

/* A backend or director of this VCL by name; NULL when there is none. */
static inline const struct objm_backend *objm_backend_find(struct objm_ctx *ctx,
                                                           struct objm_str name)
{
    return ctx->ops->backend_find(ctx, name);
}

/* A director of this VCL; the object that makes it frees it in `fini`.  The table must live as
 * long; the name is copied. */
static inline struct objm_backend *objm_director_new(struct objm_ctx *ctx,
                                                     const struct objm_director *table,
                                                     const char *name, void *arg)
{
    return ctx->ops->director_new(ctx, table, name, arg);
}

static inline void objm_director_free(struct objm_ctx *ctx, struct objm_backend *director)
{
    ctx->ops->director_free(ctx, director);
}

/* Any value as VCL turns it into text; unset when it has none. */
static inline struct objm_str objm_to_string(struct objm_ctx *ctx, enum objm_type type,
                                             const union objm_value *value)
{
    return ctx->ops->to_string(ctx, type, value);
}

static inline bool objm_acl_match(struct objm_ctx *ctx, const struct objm_acl *acl,
                                  const struct objm_ip *ip)
{
    return ctx->ops->acl_match(ctx, acl, ip);
}

/* False too when the match failed (its limits), which fails the task. */
static inline bool objm_regex_match(struct objm_ctx *ctx, const struct objm_regex *regex,
                                    struct objm_str subject)
{
    return ctx->ops->regex_match(ctx, regex, subject);
}

/* The subject with the first or all matches replaced; \0 to \9 stand for what was matched. */
static inline struct objm_str objm_regsub(struct objm_ctx *ctx, const struct objm_regex *regex,
                                          bool all, struct objm_str subject,
                                          struct objm_str replacement)
{
    return ctx->ops->regsub(ctx, regex, all, subject, replacement);
}

/* The parts as one text; part itself when there is one. */
static inline struct objm_str objm_join(struct objm_ctx *ctx, struct objm_strands s)
{
    size_t len = 0;
    size_t filled = 0;
    size_t last = 0;
    for (size_t n = 0; n < s.count; n++) {
        len += s.part[n].len;
        if (s.part[n].len > 0) {
            filled++;
            last = n;
        }
    }
    if (filled == 1) {
        return s.part[last];
    }
    char *text = filled == 0 ? NULL : (char *)ctx->ops->alloc(ctx, len);
    if (text == NULL) {
        return (struct objm_str){filled == 0 ? "" : NULL, 0};
    }
    char *to = text;
    for (size_t n = 0; n < s.count; n++) {
        if (s.part[n].len > 0) {
            memcpy(to, s.part[n].ptr, s.part[n].len);
            to += s.part[n].len;
        }
    }
    return (struct objm_str){text, len};
}

#endif
