/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* probe NAME { ... }, and the same within a backend. */
#include "vcl/cc.h"

#include <stdlib.h>

#define WINDOW_MAX 64

struct probe_parse {
    struct vcl_probe *probe;
    const struct token *request; /* .url or .request, whichever came */
    const struct token *window;
    const struct token *threshold;
};

static bool text(struct cc *cc, const char **out)
{
    if (!vcl__expect(cc, T_CSTR)) {
        return false;
    }
    *out = vcl__prog_text(cc->prog, cc->t->dec).ptr;
    vcl__next(cc);
    return true;
}

/* Lines, each of which ends with CR LF; an empty one ends the request. */
static bool request_text(struct cc *cc, const char **out)
{
    if (!vcl__expect(cc, T_CSTR)) {
        return false;
    }
    struct cc_text lines = {0};
    for (; cc->t->kind == T_CSTR; vcl__next(cc)) {
        vcl__addf(&lines, "%.*s\r\n", STR_ARG(cc->t->dec));
    }
    vcl__add(&lines, STR("\r\n"));
    *out = vcl__prog_text(cc->prog, (struct str){lines.ptr, lines.len}).ptr;
    free(lines.ptr);
    return true;
}

static bool number(struct cc *cc, const struct token **at, int *out)
{
    const struct token *t = cc->t;
    unsigned value;
    if (!vcl__uint(cc, &value)) {
        return false;
    }
    *at = t;
    *out = value > 100000 ? 100000 : (int)value;
    return true;
}

static bool status(struct cc *cc, int *out)
{
    const struct token *t;
    if (!number(cc, &t, out)) {
        return false;
    }
    if (*out < 100 || *out > 999) {
        vcl__err(cc, "Must specify .expected_response with exactly three digits "
                     "(100 <= x <= 999)\n");
        vcl__err_at(cc, cc->t);
        return false;
    }
    return true;
}

static bool field(struct cc *cc, struct probe_parse *p, const struct token *name)
{
    struct vcl_probe *probe = p->probe;
    const struct token *ignored;
    if (vcl__is(name, "url")) {
        return vcl__only_one(cc, "Probe request", &p->request, name) && text(cc, &probe->url);
    }
    if (vcl__is(name, "request")) {
        return vcl__only_one(cc, "Probe request", &p->request, name) &&
               request_text(cc, &probe->request);
    }
    if (vcl__is(name, "timeout")) {
        return vcl__duration(cc, &probe->timeout);
    }
    if (vcl__is(name, "interval")) {
        return vcl__duration(cc, &probe->interval);
    }
    if (vcl__is(name, "window")) {
        return number(cc, &p->window, &probe->window);
    }
    if (vcl__is(name, "threshold")) {
        return number(cc, &p->threshold, &probe->threshold);
    }
    if (vcl__is(name, "initial")) {
        return number(cc, &ignored, &probe->initial);
    }
    return status(cc, &probe->expected);
}

static bool fault(struct cc *cc, const char *text_of_it, const struct token *t)
{
    vcl__err(cc, "%s", text_of_it);
    vcl__err_at(cc, t);
    return false;
}

static bool check_window(struct cc *cc, const struct probe_parse *p)
{
    struct vcl_probe *probe = p->probe;
    if (p->threshold == NULL && p->window == NULL) {
        return true;
    }
    if (p->threshold == NULL) {
        return fault(cc, "Must specify .threshold with .window\n", p->window);
    }
    if (p->window == NULL) {
        if (probe->threshold > WINDOW_MAX) {
            return fault(cc, "Threshold must be 64 or less.\n", p->threshold);
        }
        probe->window = probe->threshold + 1;
        return true;
    }
    if (probe->window > WINDOW_MAX) {
        return fault(cc, "Window must be 64 or less.\n", p->window);
    }
    if (probe->threshold > probe->window) {
        fault(cc, "Threshold can not be greater than window.\n", p->threshold);
        vcl__err_at(cc, p->window);
        return false;
    }
    return true;
}

bool vcl__probe_body(struct cc *cc, struct vcl_probe *probe)
{
    struct field_seen fields[] = {
        {"url", NULL},      {"request", NULL}, {"expected_response", NULL}, {"timeout", NULL},
        {"interval", NULL}, {"window", NULL},  {"threshold", NULL},         {"initial", NULL}};
    struct probe_parse p = {.probe = probe};
    const char *name = probe->name;
    *probe = (struct vcl_probe){.name = name,
                                .timeout = -1,
                                .interval = -1,
                                .window = -1,
                                .threshold = -1,
                                .initial = -1,
                                .expected = -1};
    if (!vcl__skip(cc, '{')) {
        return false;
    }
    while (cc->t->kind != '}') {
        const struct field_seen *f = vcl__field(cc, fields, ARRAY_SIZE(fields));
        if (f == NULL || !field(cc, &p, f->t) || !vcl__skip(cc, ';')) {
            return false;
        }
    }
    if (!check_window(cc, &p)) {
        return false;
    }
    vcl__next(cc);
    return true;
}

bool vcl__parse_probe(struct cc *cc)
{
    vcl__next(cc);
    if (!vcl__expect_name(cc, "backend probe")) {
        return false;
    }
    if (vcl__is(cc->t, "default")) {
        vcl__next(cc);
        cc->has_default_probe = true;
        unsigned index = vcl__prog_probe(cc->prog, "default");
        cc->prog->default_probe = cc->prog->probes.at[index];
        return vcl__probe_body(cc, &cc->prog->default_probe->spec);
    }
    struct symbol *sym = vcl__sym_define(cc, VT_PROBE);
    return sym != NULL && vcl__probe_body(cc, &cc->prog->probes.at[sym->index]->spec);
}
