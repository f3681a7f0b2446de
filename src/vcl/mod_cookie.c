/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* cookie: the cookies of a Cookie field as a list that a policy can look into and change.
 *
 * The list is the task's (PRIV_TASK) and lives in its workspace, so it is never freed; what is
 * taken out is only unlinked.  Text is copied: the field it came from may be changed meanwhile. */
#include "vcl/mod.h"
#include "vcl/value.h"

struct cookie {
    struct cookie *next;
    struct objm_str name;
    struct objm_str value;
};

struct cookies {
    struct cookie *first;
    struct cookie **end;
};

static const char cookies_key = 0;

/* The task's list.  NULL: the workspace is full. */
static struct cookies *cookies_of(struct objm_ctx *ctx)
{
    struct objm_priv *priv = objm_priv(ctx, OBJM_PRIV_TASK, &cookies_key);
    if (priv != NULL && priv->ptr == NULL) {
        struct cookies *list = objm_alloc(ctx, sizeof *list);
        if (list != NULL) {
            *list = (struct cookies){.first = NULL, .end = &list->first};
        }
        priv->ptr = list;
    }
    return priv == NULL ? NULL : priv->ptr;
}

static struct cookie *find(const struct cookies *list, struct objm_str name)
{
    struct cookie *c = list->first;
    while (c != NULL && !str_eq(vcl_str(c->name), vcl_str(name))) {
        c = c->next;
    }
    return c;
}

static void put(struct objm_ctx *ctx, struct cookies *list, struct objm_str name,
                struct objm_str value)
{
    if (name.len == 0 || value.len == 0) {
        return;
    }
    const char *text = objm_cstr(ctx, value);
    if (text == NULL) {
        return;
    }
    struct cookie *c = find(list, name);
    if (c == NULL) {
        const char *name_text = objm_cstr(ctx, name);
        c = name_text == NULL ? NULL : objm_alloc(ctx, sizeof *c);
        if (c == NULL) {
            return;
        }
        *c = (struct cookie){.name = {name_text, name.len}};
        *list->end = c;
        list->end = &c->next;
    }
    c->value = (struct objm_str){text, value.len};
}

/* Whether a cookie stays. */
typedef bool keep_fn(struct objm_ctx *ctx, const struct cookie *c, const union objm_value *arg);

static void keep_if(struct objm_ctx *ctx, struct objm_call *call, keep_fn *keeps, bool wanted)
{
    struct cookies *list = cookies_of(ctx);
    if (list == NULL) {
        return;
    }
    struct cookie **at = &list->first;
    while (*at != NULL) {
        if (keeps(ctx, *at, &call->arg[0]) == wanted) {
            at = &(*at)->next;
        } else {
            *at = (*at)->next;
        }
    }
    list->end = at;
}

static bool is_in_list(struct objm_ctx *ctx, const struct cookie *c, const union objm_value *arg)
{
    (void)ctx;
    for (struct str rest = vcl_str(arg->string); rest.ptr != NULL;) {
        struct str name = str_cut(&rest, ',');
        while (name.len > 0 && (*name.ptr == ' ' || *name.ptr == '\t')) {
            name.ptr++;
            name.len--;
        }
        if (str_eq(name, vcl_str(c->name))) {
            return true;
        }
    }
    return false;
}

static bool matches(struct objm_ctx *ctx, const struct cookie *c, const union objm_value *arg)
{
    return objm_regex_match(ctx, arg->regex, c->name);
}

static bool has_name(struct objm_ctx *ctx, const struct cookie *c, const union objm_value *arg)
{
    (void)ctx;
    return str_eq(vcl_str(arg->string), vcl_str(c->name));
}

/* ---- functions ---- */

static void clean(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)call;
    struct cookies *list = cookies_of(ctx);
    if (list != NULL) {
        *list = (struct cookies){.first = NULL, .end = &list->first};
    }
}

static void parse(struct objm_ctx *ctx, struct objm_call *call)
{
    struct str rest = vcl_str(call->arg[0].string);
    if (rest.len == 0) {
        objm_log(ctx, OBJM_LOG_DEBUG, OBJM_STR("cookie: nothing to parse"));
        return;
    }
    clean(ctx, call);
    struct cookies *list = cookies_of(ctx);
    unsigned count = 0;
    while (list != NULL && rest.ptr != NULL) {
        /* A name ends at its '=', wherever a ';' stands. */
        size_t eq = str_find(rest, '=');
        if (eq == rest.len) {
            break;
        }
        struct str name = {rest.ptr, eq};
        while (name.len > 0 && (*name.ptr == ' ' || (*name.ptr >= '\t' && *name.ptr <= '\r'))) {
            name.ptr++;
            name.len--;
        }
        rest = (struct str){rest.ptr + eq + 1, rest.len - eq - 1};
        put(ctx, list, vcl_objm_str(name), vcl_objm_str(str_cut(&rest, ';')));
        count++;
    }
    objm_log(ctx, OBJM_LOG_DEBUG, objm_printf(ctx, "cookie: parsed %u cookies.", count));
}

static void set(struct objm_ctx *ctx, struct objm_call *call)
{
    struct cookies *list = cookies_of(ctx);
    if (list != NULL) {
        put(ctx, list, call->arg[0].string, call->arg[1].string);
    }
}

static const struct cookie *named(struct objm_ctx *ctx, const struct objm_call *call)
{
    const struct cookies *list = cookies_of(ctx);
    return list == NULL || call->arg[0].string.len == 0 ? NULL : find(list, call->arg[0].string);
}

static void isset(struct objm_ctx *ctx, struct objm_call *call)
{
    call->ret.boolean = named(ctx, call) != NULL;
}

static void get(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct cookie *c = named(ctx, call);
    if (c != NULL) {
        call->ret.string = c->value;
    }
}

static void get_re(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct cookies *list = cookies_of(ctx);
    const struct cookie *c = list == NULL ? NULL : list->first;
    while (c != NULL && !matches(ctx, c, &call->arg[0])) {
        c = c->next;
    }
    if (c != NULL) {
        call->ret.string = c->value;
    }
}

static void delete_one(struct objm_ctx *ctx, struct objm_call *call)
{
    keep_if(ctx, call, has_name, false);
}

static void keep(struct objm_ctx *ctx, struct objm_call *call)
{
    keep_if(ctx, call, is_in_list, true);
}

static void filter(struct objm_ctx *ctx, struct objm_call *call)
{
    keep_if(ctx, call, is_in_list, false);
}

static void keep_re(struct objm_ctx *ctx, struct objm_call *call)
{
    keep_if(ctx, call, matches, true);
}

static void filter_re(struct objm_ctx *ctx, struct objm_call *call)
{
    keep_if(ctx, call, matches, false);
}

static void get_string(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct cookies *list = cookies_of(ctx);
    if (list == NULL) {
        return;
    }
    size_t bytes = 1;
    for (const struct cookie *c = list->first; c != NULL; c = c->next) {
        bytes += c->name.len + c->value.len + 3;
    }
    char *text = objm_alloc(ctx, bytes);
    if (text == NULL) {
        return;
    }
    struct sb sb = sb_of(text, bytes);
    for (const struct cookie *c = list->first; c != NULL; c = c->next) {
        if (sb.len > 0) {
            sb_chr(&sb, ' ');
        }
        sb_put(&sb, vcl_str(c->name));
        sb_chr(&sb, '=');
        sb_put(&sb, vcl_str(c->value));
        sb_chr(&sb, ';');
    }
    call->ret.string = vcl_objm_str(sb_str(&sb));
}

static void format_date(struct objm_ctx *ctx, struct objm_call *call)
{
    union objm_value when = {.real = call->arg[0].real + call->arg[1].real};
    call->ret.string = objm_to_string(ctx, OBJM_TIME, &when);
}

/* ---- the table ---- */

static const struct objm_arg name_args[] = {{OBJM_ARG(STRING, "cookiename")}};
static const struct objm_arg list_args[] = {{OBJM_ARG(STRING, "filterstring")}};
static const struct objm_arg regex_args[] = {{OBJM_ARG(REGEX, "expression")}};
static const struct objm_arg header_args[] = {{OBJM_ARG(STRING, "cookieheader")}};
static const struct objm_arg set_args[] = {{OBJM_ARG(STRING, "cookiename")},
                                           {OBJM_ARG(STRING, "value")}};
static const struct objm_arg date_args[] = {{OBJM_ARG(TIME, "now")},
                                            {OBJM_ARG(DURATION, "timedelta")}};

static const struct objm_func funcs[] = {
    {.name = "clean", .fn = clean, .doc = "Empties the list."},
    {.name = "delete", .fn = delete_one, OBJM_ARGS(name_args), .doc = "Takes one cookie out."},
    {.name = "filter",
     .fn = filter,
     OBJM_ARGS(list_args),
     .doc = "Takes out the cookies of a list of names, divided by commas."},
    {.name = "filter_re",
     .fn = filter_re,
     OBJM_ARGS(regex_args),
     .doc = "Takes out the cookies whose names match."},
    {.name = "keep",
     .fn = keep,
     OBJM_ARGS(list_args),
     .doc = "Takes out all but the cookies of a list of names, divided by commas."},
    {.name = "keep_re",
     .fn = keep_re,
     OBJM_ARGS(regex_args),
     .doc = "Takes out all but the cookies whose names match."},
    {.name = "format_date",
     .ret = OBJM_STRING,
     .fn = format_date,
     OBJM_ARGS(date_args),
     .doc = "The time that much later, as Set-Cookie wants it."},
    {.name = "format_rfc1123",
     .ret = OBJM_STRING,
     .fn = format_date,
     OBJM_ARGS(date_args),
     .doc = "The old name of format_date."},
    {.name = "get",
     .ret = OBJM_STRING,
     .fn = get,
     OBJM_ARGS(name_args),
     .doc = "A cookie's value; unset when it is not there."},
    {.name = "get_re",
     .ret = OBJM_STRING,
     .fn = get_re,
     OBJM_ARGS(regex_args),
     .doc = "The value of the first cookie whose name matches; unset when none does."},
    {.name = "get_string",
     .ret = OBJM_STRING,
     .fn = get_string,
     .doc = "All cookies as a Cookie field has them; empty when there are none."},
    {.name = "isset",
     .ret = OBJM_BOOL,
     .fn = isset,
     OBJM_ARGS(name_args),
     .doc = "Whether a cookie is there."},
    {.name = "parse",
     .fn = parse,
     OBJM_ARGS(header_args),
     .doc = "Fills the list from a Cookie field; what was in it goes. Cookies without a name or a "
            "value are left out, the last of one name counts. An empty text changes nothing."},
    {.name = "set",
     .fn = set,
     OBJM_ARGS(set_args),
     .doc = "Sets a cookie's value; one that is not there comes last."},
};

const struct objm_module vcl__mod_cookie = {
    OBJM_ABI,
    .name = "cookie",
    .title = "cookies of a request",
    .doc = "A list of cookies, one for each client request and one for each fetch, which begins "
           "empty.\n\n"
           "    cookie.parse(req.http.cookie);\n"
           "    cookie.keep(\"session,theme\");\n"
           "    set req.http.cookie = cookie.get_string();",
    OBJM_FUNCS(funcs),
};
