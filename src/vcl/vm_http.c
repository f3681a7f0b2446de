/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Messages as VCL sees them.  Every change leaves a record in the log, in the words of varnishlog.
 * Setting a field takes away all of its name and puts one at the end, as in Varnish. */
#include "vcl/vm_priv.h"

static const struct {
    enum VSL_tag_e line[OBJM_REASON + 1];
    enum VSL_tag_e field;
    enum VSL_tag_e unset;
} tags[OBJM_HTTP__COUNT] = {
#define TAGS(id, prefix)                                                                           \
    [id] = {.line = {[OBJM_METHOD] = SLT_##prefix##Method,                                         \
                     [OBJM_URL] = SLT_##prefix##URL,                                               \
                     [OBJM_PROTO] = SLT_##prefix##Protocol,                                        \
                     [OBJM_STATUS] = SLT_##prefix##Status,                                         \
                     [OBJM_REASON] = SLT_##prefix##Reason},                                        \
            .field = SLT_##prefix##Header,                                                         \
            .unset = SLT_##prefix##Unset}
    TAGS(OBJM_REQ, Req),       TAGS(OBJM_REQ_TOP, Req), TAGS(OBJM_BEREQ, Bereq),
    TAGS(OBJM_BERESP, Beresp), TAGS(OBJM_OBJ, Obj),     TAGS(OBJM_RESP, Resp),
#undef TAGS
};

static struct http *message(struct vcl_task *task, enum objm_http http)
{
    return http == OBJM_REQ && task->req != NULL ? task->req : task->host->http(task, http);
}

struct str vcl__field_get(struct vcl_task *task, const struct vcl_field *field)
{
    const struct http *h = message(task, field->header.http);
    if (h == NULL || !http_has(h, field->id)) {
        return STR_NONE;
    }
    return field->id != HDR_OTHER ? http_get(h, field->id)
                                  : http_get_name(h, vcl_str(field->header.name));
}

void vcl__field_unset(struct vcl_task *task, const struct objm_header *field)
{
    struct http *h = message(task, field->http);
    if (h == NULL) {
        return;
    }
    struct str name = vcl_str(field->name);
    if (http_find_name(h, name) == NULL) {
        return;
    }
    for (unsigned i = 0; task->log != NULL && i < h->count; i++) {
        if (str_eq_nocase(h->hdr[i].name, name)) {
            vslb_header(task->log, tags[field->http].unset, h->hdr[i].name, h->hdr[i].value);
        }
    }
    http_unset_name(h, name);
}

bool vcl__own(struct vcl_task *task, struct str *text)
{
    if (text->len == 0 || arena_holds(task->ws, text->ptr)) {
        return true;
    }
    *text = arena_dup(task->ws, *text);
    if (text->ptr == NULL) {
        vcl_fail(task, STR("Workspace overflow (text)"));
    }
    return text->ptr != NULL;
}

void vcl__field_add(struct vcl_task *task, const struct objm_header *field, struct str value)
{
    struct http *h = message(task, field->http);
    if (h == NULL) {
        return;
    }
    struct str name = vcl_str(field->name);
    /* Blanks around a value are not part of it (RFC 9110 section 5.5). */
    value = str_trim(value);
    if (!vcl__own(task, &value)) {
        return;
    }
    enum rc rc = http_add_name(h, name, value.ptr == NULL ? STR("") : value);
    if (rc == RC_OK) {
        if (task->log != NULL) {
            vslb_header(task->log, tags[field->http].field, name, value);
        }
        return;
    }
    if (rc == RC_LIMIT && task->log != NULL) {
        vslb_header(task->log, SLT_LostHeader, name, value);
    }
    char why[160];
    struct sb sb = sb_of(why, sizeof why);
    sb_printf(&sb, rc == RC_LIMIT ? "Too many fields: %.100s" : "Bad header %.100s",
              field->name.ptr);
    vcl_fail(task, sb_str(&sb));
}

void vcl__field_set(struct vcl_task *task, const struct objm_header *field, struct str value)
{
    vcl__field_unset(task, field);
    vcl__field_add(task, field, value);
}

void vcl__line_get(struct vcl_task *task, enum objm_http http, enum objm_line line,
                   union objm_value *out)
{
    const struct http *h = message(task, http);
    *out = (union objm_value){0};
    if (h == NULL) {
        return;
    }
    switch (line) {
    case OBJM_METHOD:
        out->string = vcl_objm_str(h->method);
        break;
    case OBJM_URL:
        out->string = vcl_objm_str(h->url);
        break;
    case OBJM_PROTO:
        out->string = vcl_objm_str(h->proto);
        break;
    case OBJM_STATUS:
        out->integer = h->status;
        break;
    case OBJM_REASON:
        out->string = vcl_objm_str(h->reason);
        break;
    }
}

static void log_line(struct vcl_task *task, enum objm_http http, enum objm_line line,
                     struct str text)
{
    if (task->log != NULL) {
        vslb_str(task->log, tags[http].line[line], text);
    }
}

static void set_status(struct vcl_task *task, enum objm_http http, struct http *h, int64_t status)
{
    char text[64];
    struct sb sb = sb_of(text, sizeof text);
    if (status < 0 || status > 65535) {
        sb_printf(&sb, "%sresp.status %s (%lld)", http == OBJM_BERESP ? "be" : "",
                  status < 0 ? "is negative" : "> 65535", (long long)status);
        vcl_fail(task, sb_str(&sb));
        return;
    }
    if (status % 1000 < 100) {
        sb_printf(&sb, "illegal %sresp.status (%lld) (..0##)", http == OBJM_BERESP ? "be" : "",
                  (long long)status);
        vcl_fail(task, sb_str(&sb));
        return;
    }
    struct str proto = h->proto;
    /* The thousands are VCL's own business, and are cut off when it is sent. */
    http_set_status(h, (unsigned)(status % 1000));
    h->status = (uint16_t)status;
    h->proto = proto;
    sb_printf(&sb, "%lld", (long long)status);
    log_line(task, http, OBJM_STATUS, sb_str(&sb));
    log_line(task, http, OBJM_REASON, h->reason);
}

static const char *const line_names[] = {"method", "url", "proto", "status", "reason"};
static const char *const http_names[] = {"req", "req_top", "bereq", "beresp", "obj", "resp"};

static enum rc set_text(struct http *h, enum objm_line line, struct str text)
{
    switch (line) {
    case OBJM_METHOD:
        return http_set_method(h, text);
    case OBJM_URL:
        return http_set_url(h, text);
    case OBJM_REASON:
        return http_set_reason(h, text);
    case OBJM_PROTO:
        h->proto = text;
        h->version = str_eq(text, STR("HTTP/1.0")) ? 10 : str_eq(text, STR("HTTP/2.0")) ? 20 : 11;
        return RC_OK;
    case OBJM_STATUS:
        break;
    }
    return RC_INVALID;
}

void vcl__line_set(struct vcl_task *task, enum objm_http http, enum objm_line line,
                   const union objm_value *value)
{
    struct http *h = message(task, http);
    if (h == NULL || task->failed) {
        return;
    }
    if (line == OBJM_STATUS) {
        set_status(task, http, h, value->integer);
        return;
    }
    struct str text = vcl_str(value->string);
    char why[96];
    struct sb sb = sb_of(why, sizeof why);
    if (text.len == 0) {
        sb_printf(&sb, "Setting %s.%s to empty string", http_names[http], line_names[line]);
        vcl_fail(task, sb_str(&sb));
        return;
    }
    if (!vcl__own(task, &text)) {
        return;
    }
    if (set_text(h, line, text) != RC_OK) {
        sb_printf(&sb, "Illegal %s.%s", http_names[http], line_names[line]);
        vcl_fail(task, sb_str(&sb));
        return;
    }
    log_line(task, http, line, text);
}
