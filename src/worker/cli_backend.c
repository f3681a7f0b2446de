/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* backend.list and backend.set_health, with the words and columns that scripts know from Varnish.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/vcls.h"
#include "http/http_date.h"
#include "vcl/director.h"
#include "worker/worker_priv.h"

/* ---- which ---- */

/* Patterns match "policy.backend"; those without a dot mean the policy in use. */
static char *whole_pattern(const struct worker *w, struct str pattern)
{
    if (pattern.len == 0 || str_eq(pattern, STR("*"))) {
        return xasprintf("%s.*", w->vcl_name);
    }
    if (str_find(pattern, '.') == pattern.len) {
        return xasprintf("%s.%.*s", w->vcl_name, STR_ARG(pattern));
    }
    return str_dup(pattern);
}

static bool fits(const struct backend *b, const char *pattern)
{
    return fnmatch(pattern, backend_cli_name(b), 0) == 0;
}

/* ---- a table ---- */

enum { COLUMNS = 5, LINE_WIDTH = 80, GAP_MAX = 3 };

struct table {
    size_t width[COLUMNS]; /* of the widest cell */
    size_t line;           /* of the widest line, a gap of one between cells */
};

struct row {
    struct str cell[COLUMNS];
};

static void measure(struct table *t, const struct row *row)
{
    size_t line = COLUMNS - 1;
    for (unsigned i = 0; i < COLUMNS; i++) {
        size_t len = row->cell[i].len;
        t->width[i] = len > t->width[i] ? len : t->width[i];
        line += len;
    }
    t->line = line > t->line ? line : t->line;
}

static void print_row(struct cli *cli, const struct table *t, const struct row *row)
{
    size_t spare = t->line < LINE_WIDTH ? (LINE_WIDTH - t->line) / COLUMNS : 0;
    size_t gap = spare < 1 ? 1 : spare > GAP_MAX ? GAP_MAX : spare;
    for (unsigned i = 0; i + 1 < COLUMNS; i++) {
        /* All columns but the first are one wider, as they are there. */
        int width = (int)(t->width[i] + gap + (i > 0));
        cli_printf(cli, "%.*s%*s", STR_ARG(row->cell[i]), width - (int)row->cell[i].len, "");
    }
    cli_printf(cli, "%.*s", STR_ARG(row->cell[COLUMNS - 1]));
}

/* ---- backend.list ---- */

struct listing {
    struct cli *cli;
    const char *pattern;
    bool has_details;
    bool only_measures;
    struct table table;
    const char *separator; /* JSON: before the next value */
};

static const char *admin_word(const struct backend_status *s)
{
    switch (s->admin) {
    case BACKEND_HEALTHY:
        return "healthy";
    case BACKEND_SICK:
        return "sick";
    case BACKEND_AUTO:
        break;
    }
    return s->has_probe ? "probe" : "healthy";
}

static const char *probe_word(const struct backend_status *s)
{
    return s->is_sick ? "sick" : "healthy";
}

static void print_map(struct cli *cli, char letter, uint64_t map, const char *text)
{
    char dots[65];
    for (unsigned i = 0; i < 64; i++) {
        dots[i] = (map >> (63 - i) & 1) != 0 ? letter : '-';
    }
    dots[64] = '\0';
    cli_printf(cli, "  %s %s\n", dots, text);
}

static void print_details(struct cli *cli, const struct backend_status *s)
{
    cli_printf(cli, "\n Current states  good: %2u threshold: %2u window: %2u\n", s->good,
               s->threshold, s->window);
    cli_printf(cli, "  Average response time of good probes: %.6f\n", s->average_s);
    cli_printf(cli, "  Oldest ================================================== Newest\n");
#define PROBE_MAP(field, letter, text, always)                                                     \
    if ((always) || s->maps.field != 0) {                                                          \
        print_map(cli, letter, s->maps.field, text);                                               \
    }
#include "backend/probe_maps.def"
#undef PROBE_MAP
}

static void list_one(struct backend *b, void *arg)
{
    struct listing *l = arg;
    if (!fits(b, l->pattern)) {
        return;
    }
    struct backend_status s;
    backend_status(b, &s);
    char probe[24];
    (void)snprintf(probe, sizeof probe, "%u/%u", s.good, s.window);
    char date[HTTP_DATE_BYTES];
    http_date_format(s.changed_ns / NS_PER_S, date);
    const struct row row = {{str_of(backend_cli_name(b)),
                             str_of(admin_word(&s)),
                             str_of(probe),
                             str_of(probe_word(&s)),
                             {date, HTTP_DATE_BYTES}}};
    if (l->only_measures) {
        measure(&l->table, &row);
        return;
    }
    print_row(l->cli, &l->table, &row);
    if (l->has_details && s.has_probe) {
        print_details(l->cli, &s);
    }
    cli_printf(l->cli, "\n");
}

/* ---- directors, which stand behind the backends ---- */

struct director_row {
    const struct objm_director *table;
    void *arg;
    char *name; /* "vcl1.fb"; to be freed */
    const char *admin;
    const char *health;
    unsigned good;
    unsigned total;
    double changed; /* seconds */
};

/* False: it is a backend, or not asked for. */
static bool director_row(const struct listing *l, const char *vcl, struct objm_backend *backend,
                         struct director_row *row)
{
    static const char *const admin[] = {
        [VCL_HEALTH_AUTO] = "probe", [VCL_HEALTH_HEALTHY] = "healthy", [VCL_HEALTH_SICK] = "sick"};
    *row = (struct director_row){0};
    row->table = vcl_backend_director(backend, &row->arg);
    if (row->table == NULL) {
        return false;
    }
    row->name = xasprintf("%s.%s", vcl, vcl_backend_name(backend));
    if (fnmatch(l->pattern, row->name, 0) != 0) {
        XFREE(row->name);
        return false;
    }
    row->admin = admin[vcl_director_admin(backend)];
    row->health = vcl_backend_healthy(NULL, backend, &row->changed) ? "healthy" : "sick";
    if (row->table->count != NULL) {
        row->table->count(row->arg, &row->good, &row->total);
    }
    return true;
}

static void put_detail(void *arg, struct objm_str text)
{
    struct listing *l = arg;
    cli_printf(l->cli, "%.*s", (int)text.len, text.ptr);
}

static void list_director(void *arg, const char *vcl, struct objm_backend *backend)
{
    struct listing *l = arg;
    struct director_row d;
    if (!director_row(l, vcl, backend, &d)) {
        return;
    }
    char probe[24];
    (void)snprintf(probe, sizeof probe, "%u/%u", d.good, d.total);
    char date[HTTP_DATE_BYTES];
    http_date_format((uint64_t)d.changed, date);
    const struct row row = {{str_of(d.name),
                             str_of(d.admin),
                             str_of(probe),
                             str_of(d.health),
                             {date, HTTP_DATE_BYTES}}};
    if (l->only_measures) {
        measure(&l->table, &row);
    } else {
        print_row(l->cli, &l->table, &row);
        if (l->has_details && d.table->list != NULL) {
            d.table->list(d.arg, false, put_detail, l);
        }
        cli_printf(l->cli, "\n");
    }
    XFREE(d.name);
}

static void list_director_json(void *arg, const char *vcl, struct objm_backend *backend)
{
    struct listing *l = arg;
    struct director_row d;
    if (!director_row(l, vcl, backend, &d)) {
        return;
    }
    cli_printf(l->cli, "%s    ", l->separator);
    l->separator = ",\n";
    cli_text_json(l->cli->text, str_of(d.name));
    cli_printf(l->cli, ": {\n      \"type\": \"%s\",\n", d.table->type);
    cli_printf(l->cli, "      \"admin_health\": \"%s\",\n", d.admin);
    cli_printf(l->cli, "      \"probe_message\": [%u, %u, \"%s\"],\n", d.good, d.total, d.health);
    if (l->has_details && d.table->list != NULL) {
        cli_printf(l->cli, "      \"probe_details\": ");
        d.table->list(d.arg, true, put_detail, l);
        cli_printf(l->cli, ",\n");
    }
    cli_printf(l->cli, "      \"last_change\": %.3f\n    }", d.changed);
    XFREE(d.name);
}

/* Without an engine there is no VCL, and so no director. */
static void directors_each(struct worker *w,
                           void (*fn)(void *arg, const char *vcl, struct objm_backend *backend),
                           void *arg)
{
    if (w->engine != NULL) {
        engine_backends_each(w->engine, fn, arg);
    }
}

static void list_text(struct listing *l, struct worker *w)
{
    static const struct row head = {{STR_INIT("Backend name"), STR_INIT("Admin"), STR_INIT("Probe"),
                                     STR_INIT("Health"), STR_INIT("Last change")}};
    measure(&l->table, &head);
    l->only_measures = true;
    backends_each(w->backends, list_one, l);
    directors_each(w, list_director, l);
    l->only_measures = false;
    print_row(l->cli, &l->table, &head);
    cli_printf(l->cli, "\n");
    backends_each(w->backends, list_one, l);
    directors_each(w, list_director, l);
}

static void print_json_details(struct cli *cli, const struct backend_status *s)
{
    if (!s->has_probe) {
        cli_printf(cli, "      \"probe_details\": {},\n");
        return;
    }
    cli_printf(cli, "      \"probe_details\": {\n");
#define PROBE_MAP(field, letter, text, always)                                                     \
    cli_printf(cli, "        \"bits_%c\": %llu,\n", letter, (unsigned long long)s->maps.field);
#include "backend/probe_maps.def"
#undef PROBE_MAP
    cli_printf(cli, "        \"good\": %u,\n        \"threshold\": %u,\n        \"window\": %u\n",
               s->good, s->threshold, s->window);
    cli_printf(cli, "      },\n");
}

static void list_one_json(struct backend *b, void *arg)
{
    struct listing *l = arg;
    struct cli *cli = l->cli;
    if (!fits(b, l->pattern)) {
        return;
    }
    struct backend_status s;
    backend_status(b, &s);
    cli_printf(cli, "%s    ", l->separator);
    l->separator = ",\n";
    cli_text_json(cli->text, str_of(backend_cli_name(b)));
    cli_printf(cli, ": {\n      \"type\": \"backend\",\n");
    cli_printf(cli, "      \"admin_health\": \"%s\",\n", admin_word(&s));
    cli_printf(cli, "      \"probe_message\": [%u, %u, \"%s\"],\n", s.good, s.window,
               probe_word(&s));
    if (l->has_details) {
        print_json_details(cli, &s);
    }
    cli_printf(cli, "      \"last_change\": %.3f\n    }", (double)s.changed_ns / 1e9);
}

static void list_json(struct listing *l, struct worker *w)
{
    l->separator = "";
    cli_json_open_as(l->cli, 3);
    cli_printf(l->cli, "{\n");
    backends_each(w->backends, list_one_json, l);
    directors_each(w, list_director_json, l);
    cli_printf(l->cli, "\n  }");
    cli_json_close(l->cli);
}

/* Flags, in any grouping.  Returns the index of what follows them, 0 when one is unknown. */
static unsigned take_flags(struct cli *cli, bool *has_details, bool *is_json)
{
    unsigned at = 1;
    *is_json = cli->json;
    for (; at < cli->req->argc && str_starts(cli->req->argv[at], STR("-")); at++) {
        struct str word = cli->req->argv[at];
        for (size_t i = 1; i < word.len; i++) {
            if (word.ptr[i] == 'p') {
                *has_details = !*has_details;
            } else if (word.ptr[i] == 'j') {
                *is_json = true;
            } else {
                cli_fail(cli, CLI_PARAM, "Invalid flag %c", word.ptr[i]);
                return 0;
            }
        }
    }
    return at;
}

void worker__backend_list(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    struct listing l = {.cli = cli};
    bool is_json = false;
    unsigned at = take_flags(cli, &l.has_details, &is_json);
    if (at == 0) {
        return;
    }
    if (at + 1 < cli->req->argc) {
        cli_fail(cli, CLI_PARAM, "Too many arguments");
        return;
    }
    char *pattern = whole_pattern(w, at < cli->req->argc ? cli->req->argv[at] : STR_NONE);
    l.pattern = pattern;
    if (is_json) {
        list_json(&l, w);
    } else {
        list_text(&l, w);
    }
    free(pattern);
}

/* ---- backend.set_health ---- */

struct verdict {
    const char *pattern;
    enum backend_admin admin;
    unsigned count;
};

static void set_one(struct backend *b, void *arg)
{
    struct verdict *v = arg;
    if (fits(b, v->pattern)) {
        backend_set_admin(b, v->admin);
        v->count++;
    }
}

static void set_director(void *arg, const char *vcl, struct objm_backend *backend)
{
    struct verdict *v = arg;
    void *director_arg;
    if (vcl_backend_director(backend, &director_arg) == NULL) {
        return;
    }
    static const enum vcl_admin_health said[] = {[BACKEND_AUTO] = VCL_HEALTH_AUTO,
                                                 [BACKEND_HEALTHY] = VCL_HEALTH_HEALTHY,
                                                 [BACKEND_SICK] = VCL_HEALTH_SICK};
    char *name = xasprintf("%s.%s", vcl, vcl_backend_name(backend));
    if (fnmatch(v->pattern, name, 0) == 0) {
        vcl_director_set_health(backend, said[v->admin], (double)clock_real_ns() / 1e9);
        v->count++;
    }
    free(name);
}

static bool admin_by_word(struct str word, enum backend_admin *admin)
{
    static const struct {
        struct str word;
        enum backend_admin admin;
    } words[] = {{STR_INIT("auto"), BACKEND_AUTO},
                 {STR_INIT("healthy"), BACKEND_HEALTHY},
                 {STR_INIT("sick"), BACKEND_SICK}};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (str_eq_nocase(word, words[i].word)) {
            *admin = words[i].admin;
            return true;
        }
    }
    return false;
}

void worker__backend_set_health(struct cli *cli, void *ctx)
{
    struct worker *w = ctx;
    struct verdict v = {0};
    if (!admin_by_word(cli->req->argv[2], &v.admin)) {
        cli_fail(cli, CLI_PARAM, "Invalid state %.*s", STR_ARG(cli->req->argv[2]));
        return;
    }
    char *pattern = whole_pattern(w, cli->req->argv[1]);
    v.pattern = pattern;
    backends_each(w->backends, set_one, &v);
    directors_each(w, set_director, &v);
    free(pattern);
    if (v.count == 0) {
        cli_fail(cli, CLI_PARAM, "No Backends matches");
    }
}
